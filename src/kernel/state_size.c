/* SPDX-License-Identifier: GPL-2.0-only */
/* How full the state maps of a policy in force are. In: its folder; out: the elements of each map, counted one by one. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "kernel/statemap.h"

struct sizing {
	struct kernel_state_size *sizes;
	size_t count;
};

static int add_count(void *context, const void *keys, const void *values, uint32_t count)
{
	uint64_t *sum = context;

	(void)keys;
	(void)values;
	*sum += count;
	return 0;
}

/* "state-NAME-LAYOUT" or "shared-NAME-LAYOUT". */
static bool name_of(const char *pin, char *name, size_t size)
{
	const char *begin = strchr(pin, '-'), *end = strrchr(pin, '-');

	if (strncmp(pin, "state-", 6) && strncmp(pin, "shared-", 7))
		return false;
	if (end <= begin + 1 || (size_t)(end - begin) > size)
		return false;
	snprintf(name, size, "%.*s", (int)(end - begin - 1), begin + 1);
	return true;
}

/* Arrays have no elements to count. */
static int size_map(const char *folder, const char *pin, struct sizing *sizing)
{
	struct kernel_state_size *size = &sizing->sizes[sizing->count];
	CLEANUP_CLOSE int fd = -1;
	struct bpf_map_info info = { 0 };
	uint32_t info_size = sizeof info;
	int error;

	if (sizing->count == KERNEL_STATES_MAX || !name_of(pin, size->name, sizeof size->name))
		return 0;
	fd = pin_open(folder, "%s", pin);
	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &info_size))
		return -errno;
	if (info.type != BPF_MAP_TYPE_HASH && info.type != BPF_MAP_TYPE_LRU_HASH)
		return 0;
	size->elements = 0;
	size->most = info.max_entries;
	error = state_each(fd, add_count, &size->elements);
	if (!error)
		sizing->count++;
	return error;
}

int state_sizes(struct kernel *kernel, const struct generation *generation, struct kernel_state_size *ret_sizes,
		size_t *ret_count)
{
	struct sizing sizing = { .sizes = ret_sizes };
	DIR *dir = opendir(generation->folder.text);
	struct dirent *entry;
	int error = 0;

	if (!dir)
		return -errno;
	while (!error && (entry = readdir(dir)))
		error = size_map(generation->folder.text, entry->d_name, &sizing);
	closedir(dir);
	if (error)
		return problem_set(kernel, error, "cannot read what policy `%s` remembers: %s", generation->policy,
				   strerror(-error));
	*ret_count = sizing.count;
	return 0;
}
