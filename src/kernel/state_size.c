/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state maps of a policy in force. In: its folder; out: how full each map is, its elements counted one by one, or the
 * elements of those of one name.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "kernel/statemap.h"

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

typedef int (*map_work)(void *context, const char *name, int fd, const struct bpf_map_info *info);

static int open_map(const char *folder, const char *pin, const char *name, map_work work, void *context)
{
	CLEANUP_CLOSE int fd = pin_open(folder, "%s", pin);
	struct bpf_map_info info;
	int error = fd < 0 ? fd : map_info(fd, &info);

	return error ? error : work(context, name, fd, &info);
}

/* All of the policy's state maps, or those of one name. Errors are set. */
static int each_map(struct kernel *kernel, const struct generation *generation, const char *only, map_work work,
		    void *context)
{
	DIR *dir = opendir(generation->folder.text);
	struct dirent *entry;
	char name[sizeof ((struct kernel_state_size *)0)->name];
	int error = 0;

	if (!dir)
		return -errno;
	while (!error && (entry = readdir(dir)))
		if (name_of(entry->d_name, name, sizeof name) && (!only || !strcmp(name, only)))
			error = open_map(generation->folder.text, entry->d_name, name, work, context);
	closedir(dir);
	return error ? problem_set(kernel, error, "cannot read what policy `%s` remembers: %s", generation->policy,
				   strerror(-error)) : 0;
}

/* --- how full they are --------------------------------------------------------------------------------------------- */

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

uint64_t map_memory(int fd)
{
	char path[64], line[128];
	unsigned long long bytes = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	if (file)
		fclose(file);
	return bytes;
}

/* Arrays have no elements to count. */
static int size_map(void *context, const char *name, int fd, const struct bpf_map_info *info)
{
	struct sizing *sizing = context;
	struct kernel_state_size *size = &sizing->sizes[sizing->count];
	int error;

	if (sizing->count == KERNEL_STATES_MAX ||
	    (info->type != BPF_MAP_TYPE_HASH && info->type != BPF_MAP_TYPE_LRU_HASH))
		return 0;
	*size = (struct kernel_state_size){ .most = info->max_entries, .memory = map_memory(fd) };
	strcpy(size->name, name);
	error = state_each(fd, add_count, &size->elements);
	if (!error)
		sizing->count++;
	return error;
}

int state_sizes(struct kernel *kernel, const struct generation *generation, struct kernel_state_size *ret_sizes,
		size_t *ret_count)
{
	struct sizing sizing = { .sizes = ret_sizes };
	int error = each_map(kernel, generation, NULL, size_map, &sizing);

	if (!error)
		*ret_count = sizing.count;
	return error;
}

/* --- the elements of one map ------------------------------------------------------------------------------------- */

static int add_elements(void *context, const void *keys, const void *values, uint32_t count)
{
	struct kernel_state *state = context;
	char *grown = reallocarray(state->keys, state->count + count, state->key_size);

	state->keys = grown ? grown : state->keys;
	if (!grown)
		return -ENOMEM;
	grown = reallocarray(state->values, state->count + count, state->value_size);
	state->values = grown ? grown : state->values;
	if (!grown)
		return -ENOMEM;
	memcpy(state->keys + state->count * state->key_size, keys, count * state->key_size);
	memcpy(state->values + state->count * state->value_size, values, count * state->value_size);
	state->count += count;
	return 0;
}

static int read_map(void *context, const char *name, int fd, const struct bpf_map_info *info)
{
	struct kernel_state *state = context;

	(void)name;
	if (info->key_size != state->key_size || info->value_size != state->value_size)
		return -EPROTO;
	return state_each(fd, add_elements, state);
}

int state_read(struct kernel *kernel, const struct generation *generation, const char *name, struct kernel_state *state)
{
	return each_map(kernel, generation, name, read_map, state);
}

void kernel_state_free(struct kernel_state *state)
{
	free(state->keys);
	free(state->values);
	state->keys = state->values = NULL;
}
