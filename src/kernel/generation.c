/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Generations in bpffs: pins, blobs, records. In: folders; out: malloc()ed copies. A record of another version of
 * weir is -EPROTO with a sentence.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/generation.h"

int map_info(int fd, struct bpf_map_info *ret_info)
{
	uint32_t size = sizeof *ret_info;

	memset(ret_info, 0, sizeof *ret_info);
	return bpf_obj_get_info_by_fd(fd, ret_info, &size) ? -errno : 0;
}

enum { MAPS_MAX = 64 }; /* that a program of ours has */

int prog_map(int prog, const char *name)
{
	uint32_t ids[MAPS_MAX];
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)ids };
	uint32_t size = sizeof info;
	struct bpf_map_info map;

	if (bpf_obj_get_info_by_fd(prog, &info, &size))
		return -errno;
	for (uint32_t i = 0; i < info.nr_map_ids && i < MAPS_MAX; i++) {
		int fd = bpf_map_get_fd_by_id(ids[i]);

		if (fd >= 0 && !map_info(fd, &map) && !strcmp(map.name, name))
			return fd;
		close_cleanup(&fd);
	}
	return -ENOENT;
}

int pin_open(const char *folder, const char *format, ...)
{
	struct path path;
	char name[NAME_LENGTH];
	va_list args;
	int fd;

	va_start(args, format);
	vsnprintf(name, sizeof name, format, args);
	va_end(args);
	path_join(&path, folder, "%s", name);
	fd = bpf_obj_get(path.text);
	return fd < 0 ? -errno : fd;
}

int pin_make(struct kernel *kernel, int fd, const char *folder, const char *format, ...)
{
	struct path path;
	char name[NAME_LENGTH];
	va_list args;

	va_start(args, format);
	vsnprintf(name, sizeof name, format, args);
	va_end(args);
	path_join(&path, folder, "%s", name);
	if (!bpf_obj_pin(fd, path.text))
		return 0;
	return problem_set(kernel, -errno, "cannot pin %s: %s", path.text, strerror(errno));
}

int blob_pin(struct kernel *kernel, const char *folder, const char *name, const void *data, size_t size)
{
	const uint32_t zero = 0;
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	CLEANUP_CLOSE int fd = -1;

	if (!size)
		return 0;
	if (size > INT32_MAX / 2)
		return problem_set(kernel, -E2BIG, "the policy's %s is too large to keep in the kernel", name);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_blob", sizeof zero, (uint32_t)size, 1, &options);
	if (fd < 0 || bpf_map_update_elem(fd, &zero, data, BPF_ANY))
		return problem_bpf(kernel, -errno, "cannot keep the policy in a BPF map");
	return pin_make(kernel, fd, folder, "%s", name);
}

int blob_update(const char *folder, const char *name, const void *data)
{
	const uint32_t zero = 0;
	CLEANUP_CLOSE int fd = pin_open(folder, "%s", name);

	if (fd < 0)
		return fd;
	return bpf_map_update_elem(fd, &zero, data, BPF_ANY) ? -errno : 0;
}

/* `size` 0: whatever it has, at least `least` bytes. */
static int load_value(int fd, size_t size, size_t least, void **ret_data)
{
	struct bpf_map_info info;
	const uint32_t zero = 0;
	int error = map_info(fd, &info);
	void *data;

	if (error)
		return error;
	if (info.value_size < least || (size && info.value_size != size))
		return -EPROTO;
	data = malloc(info.value_size);
	if (!data)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &zero, data)) {
		error = -errno;
		free(data);
		return error;
	}
	*ret_data = data;
	return 0;
}

int value_map(int fd, int protection, void **ret_data, size_t *ret_size)
{
	struct bpf_map_info info;
	int error = map_info(fd, &info);
	void *data;

	if (error)
		return error;
	data = mmap(NULL, info.value_size, protection, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	*ret_data = data;
	*ret_size = info.value_size;
	return 0;
}

int blob_map(struct kernel *kernel, const char *folder, const char *name, struct kernel_blob *ret_blob)
{
	CLEANUP_CLOSE int fd = pin_open(folder, "%s", name);
	void *data = NULL;
	size_t size = 0;
	int error = fd < 0 ? fd : value_map(fd, PROT_READ, &data, &size);

	if (!error)
		*ret_blob = (struct kernel_blob){ data, size };
	return error ? problem_set(kernel, error, "cannot read %s/%s: %s", folder, name, strerror(-error)) : 0;
}

void kernel_blob_unmap(struct kernel_blob *blob)
{
	if (blob->data)
		munmap((void *)blob->data, blob->size);
	*blob = (struct kernel_blob){ 0 };
}

int blob_load(struct kernel *kernel, const char *folder, const char *name, size_t size, void **ret_data)
{
	CLEANUP_CLOSE int fd = pin_open(folder, "%s", name);
	int error = fd < 0 ? fd : load_value(fd, size, 1, ret_data);

	return error ? problem_set(kernel, error, "cannot read %s/%s: %s", folder, name, strerror(-error)) : 0;
}

struct record *record_new(uint32_t places, uint32_t sets)
{
	size_t size = sizeof(struct record) + places * sizeof(struct place) + sets * sizeof(struct record_set);
	struct record *record = calloc(1, size);

	if (!record)
		return NULL;
	record->version = RECORD_VERSION;
	record->size = (uint32_t)size;
	record->place_count = places;
	record->set_count = sets;
	return record;
}

static bool record_fits(const struct record *record, size_t value_size)
{
	return record->version == RECORD_VERSION && record->size == value_size &&
	       record->size == sizeof *record + (uint64_t)record->place_count * sizeof(struct place) +
			       (uint64_t)record->set_count * sizeof(struct record_set);
}

int record_load(struct kernel *kernel, const char *folder, struct record **ret_record)
{
	struct bpf_map_info info;
	CLEANUP_CLOSE int fd = pin_open(folder, "record");
	void *data = NULL;
	int error = fd < 0 ? fd : load_value(fd, 0, sizeof(struct record), &data);

	if (!error && (map_info(fd, &info) || !record_fits(data, info.value_size)))
		error = -EPROTO;
	if (error) {
		free(data);
		problem_set(kernel, error, "%s was not made by this version of weir, or is damaged: %s", folder,
			    strerror(-error));
		problem_hint(kernel, "remove the folder (the policy ends with it) and apply the policy again");
		return error;
	}
	*ret_record = data;
	return 0;
}

bool place_same(const struct place *a, const struct place *b)
{
	return a->hook == b->hook && a->family == b->family && a->netns == b->netns && a->cgroup == b->cgroup &&
	       a->ifindex == b->ifindex;
}

const struct record_set *record_find_set(const struct record *record, const char *name, uint8_t key)
{
	const struct record_set *sets = record_sets(record);

	for (uint32_t i = 0; i < record->set_count; i++)
		if (sets[i].key == key && !strcmp(sets[i].name, name))
			return &sets[i];
	return NULL;
}
