/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: the state maps of an install; out: maps shared with those who had them before, pinned. A map whose size the
 * policy changes is a new map that takes over what the old one held.
 */
#include "kernel/statemap.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "kernel/flows.h"

enum { BATCH = 4096 };

const struct install_state *state_find(const struct install *install, const char *map)
{
	for (size_t i = 0; i < install->state_count; i++)
		if (!strcmp(install->states[i].map, map))
			return &install->states[i];
	return NULL;
}

static const char *sharing(bool shared)
{
	return shared ? "shared" : "state";
}

static int open_as(const char *folder, bool shared, const char *name, uint32_t layout)
{
	return pin_open(folder, "%s-%s-%u", sharing(shared), name, layout);
}

int state_open(const char *folder, const char *name, uint32_t layout)
{
	int fd = open_as(folder, false, name, layout);

	return fd == -ENOENT ? open_as(folder, true, name, layout) : fd;
}

/* --- before loading --------------------------------------------------------------------------------------------- */

/* The map that some policy, in force or staged earlier in this change, shares by that name; -ENOENT. */
static int open_shared(const struct change *change, const struct install_state *state)
{
	int fd = -ENOENT;

	for (size_t i = 0; fd == -ENOENT && i < change->view.count; i++)
		if (!change_removes(change, change->view.items[i].policy))
			fd = open_as(change->view.items[i].folder.text, true, state->name, state->layout);
	for (size_t i = 0; fd == -ENOENT && i < change->install_count; i++)
		if (change->staged[i].folder.text[0])
			fd = open_as(change->staged[i].folder.text, true, state->name, state->layout);
	return fd;
}

/* What the policy in force has by that name; -ENOENT. */
static int open_former(const struct change *change, const struct install *install, const struct install_state *state)
{
	const struct generation *old = view_find(&change->view, install->policy);

	return old ? state_open(old->folder.text, state->name, state->layout) : -ENOENT;
}

static int refuse_size(struct kernel *kernel, const struct install_state *state, uint32_t there)
{
	problem_set(kernel, -EBUSY, "the shared `%s` is in use with room for %u, not %u", state->name, there,
		    state->max_elements);
	problem_hint(kernel, "delete the policies that share it, or apply them all with the same size");
	return -EBUSY;
}

static uint64_t available_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kilobytes = 0;
	char line[128];

	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "MemAvailable: %llu", &kilobytes) == 1)
			break;
	if (file)
		fclose(file);
	return kilobytes ? kilobytes * 1024 : UINT64_MAX;
}

/* What maps that will be made take, and which of them most. */
struct wants {
	uint64_t bytes, most;
	const char *name, *hint;
};

static void want(struct wants *wants, uint64_t bytes, const char *name, const char *hint)
{
	wants->bytes += bytes;
	if (bytes > wants->most)
		*wants = (struct wants){ wants->bytes, bytes, name, hint };
}

static void want_state(struct wants *wants, const struct install_state *state)
{
	want(wants, state->bytes, state->name, strcmp(state->name, FLOWS_STATE) ?
	     "give it less room: `max N` behind what it is per" : "give it less room: `flows max N`");
}

static void want_sets(struct wants *wants, const struct install *install)
{
	for (size_t i = 0; i < install->set_count; i++)
		if (!install->sets[i].shared)
			want(wants, install->sets[i].bytes, install->sets[i].name,
			     "give it less room: `max N` behind the set's type");
}

/* Said before the kernel finds out half-way. */
static int check_memory(struct kernel *kernel, const struct install *install, const struct wants *wants)
{
	uint64_t available = available_bytes();

	if (wants->bytes <= available)
		return 0;
	problem_set(kernel, -ENOMEM, "policy `%s` wants %llu MiB for its maps, %llu of them for `%s`, and %llu are available",
		    install->policy, (unsigned long long)wants->bytes >> 20, (unsigned long long)wants->most >> 20, wants->name,
		    (unsigned long long)available >> 20);
	problem_hint(kernel, "%s", wants->hint);
	return -ENOMEM;
}

void state_hint_memory(struct kernel *kernel, const struct install *install)
{
	struct wants wants = { 0 };

	for (size_t i = 0; i < install->state_count; i++)
		want_state(&wants, &install->states[i]);
	want_sets(&wants, install);
	if (wants.bytes >> 20)
		problem_hint(kernel, "policy `%s` wants %llu MiB for its maps, %llu of them for `%s`", install->policy,
			     (unsigned long long)wants.bytes >> 20, (unsigned long long)wants.most >> 20, wants.name);
}

static int share_one(struct change *change, const struct install *install, struct generation *staged,
		     const struct install_state *state, struct shares *shares, struct wants *wants)
{
	CLEANUP_CLOSE int fd = state->shared ? open_shared(change, state) : open_former(change, install, state);
	struct bpf_map_info info;
	int error;

	if (fd == -ENOENT) {
		staged->seed |= !strcmp(state->name, FLOWS_STATE);
		want_state(wants, state);
		return 0;
	}
	error = fd < 0 ? fd : map_info(fd, &info);
	if (error)
		return error;
	if (info.max_entries == state->max_elements)
		return shares_add(shares, state->map, fd);
	return state->shared ? refuse_size(change->kernel, state, info.max_entries) : 0;
}

int state_share(struct change *change, const struct install *install, struct generation *staged,
		struct shares *shares)
{
	struct wants wants = { 0 };
	int error = 0;

	want_sets(&wants, install);
	for (size_t i = 0; !error && i < install->state_count; i++)
		error = share_one(change, install, staged, &install->states[i], shares, &wants);
	return error ? error : check_memory(change->kernel, install, &wants);
}

/* --- all elements ----------------------------------------------------------------------------------------------- */

static int each_batch(int fd, void *keys, void *values, state_work work, void *context)
{
	uint64_t cursor = 0;
	bool first = true;
	int error = 0;

	while (!error) {
		uint32_t count = BATCH;

		if (bpf_map_lookup_batch(fd, first ? NULL : &cursor, &cursor, keys, values, &count, NULL))
			error = errno == ENOENT ? 1 : -errno;
		if (error >= 0 && count) {
			int stop = work(context, keys, values, count);

			error = stop ? stop : error;
		}
		first = false;
	}
	return error == 1 ? 0 : error;
}

int state_each(int fd, state_work work, void *context)
{
	struct bpf_map_info info;
	CLEANUP_FREE void *keys = NULL;
	CLEANUP_FREE void *values = NULL;
	int error = map_info(fd, &info);

	if (error)
		return error;
	keys = calloc(BATCH, info.key_size);
	values = calloc(BATCH, info.value_size);
	return keys && values ? each_batch(fd, keys, values, work, context) : -ENOMEM;
}

struct copying {
	int to;
	uint32_t key_size;
	uint32_t value_size;
};

/* What the new map has already is newer. */
static int copy_elements(void *context, const void *keys, const void *values, uint32_t count)
{
	const struct copying *copying = context;

	for (uint32_t i = 0; i < count; i++)
		if (bpf_map_update_elem(copying->to, (const char *)keys + (size_t)i * copying->key_size,
					(const char *)values + (size_t)i * copying->value_size, BPF_NOEXIST) &&
		    errno != EEXIST)
			return -errno;
	return 0;
}

/* Nothing to do if they are one map. */
static int copy_map(int to, int from)
{
	struct bpf_map_info there, here;
	struct copying copying = { .to = to };
	int error = map_info(to, &there);

	if (!error)
		error = map_info(from, &here);
	if (error || there.id == here.id || there.key_size != here.key_size || there.value_size != here.value_size)
		return error;
	copying.key_size = here.key_size;
	copying.value_size = here.value_size;
	return state_each(from, copy_elements, &copying);
}

/* --- after loading ---------------------------------------------------------------------------------------------- */

/* A table of connections that takes over from none knows of those that are open. */
static void seed(struct kernel *kernel, const struct install *install, int fd)
{
	int error = flows_from_sockets(fd, install->flow_timeout_ns);

	if (error)
		problem_note(kernel, "policy `%s`: connections that are open now are not known to it: %s",
			     install->policy, strerror(-error));
}

void state_seed(const struct change *change)
{
	for (size_t i = 0; i < change->install_count; i++) {
		const struct install *install = &change->installs[i];
		const struct generation *staged = &change->staged[i];
		CLEANUP_CLOSE int fd = -1;

		if (!staged->seed)
			continue;
		fd = state_open(staged->folder.text, FLOWS_STATE, FLOW_LAYOUT);
		if (fd >= 0)
			seed(change->kernel, install, fd);
	}
}

static int stage_one(struct change *change, const struct install *install, const struct generation *staged,
		     const struct install_state *state, int fd)
{
	CLEANUP_CLOSE int former = open_former(change, install, state);
	int error = former < 0 ? 0 : copy_map(fd, former);

	if (error)
		return problem_set(change->kernel, error, "cannot take over `%s` of policy `%s`: %s", state->name,
				   install->policy, strerror(-error));
	return pin_make(change->kernel, fd, staged->folder.text, "%s-%s-%u", sharing(state->shared), state->name,
			state->layout);
}

int state_stage(struct change *change, const struct install *install, struct generation *staged,
		const struct shares *loaded)
{
	int error = 0;

	for (size_t i = 0; !error && i < install->state_count; i++) {
		int fd = shares_find(loaded, install->states[i].map);

		if (fd >= 0)
			error = stage_one(change, install, staged, &install->states[i], fd);
	}
	return error;
}

/* --- after the commit ------------------------------------------------------------------------------------------- */

static bool is_state(const char *name)
{
	return !strncmp(name, "state-", 6) || !strncmp(name, "shared-", 7);
}

static int carry_one(const char *folder, const char *pin, const struct generation *successor)
{
	CLEANUP_CLOSE int from = pin_open(folder, "%s", pin);
	CLEANUP_CLOSE int to = pin_open(successor->folder.text, "%s", pin);

	return from < 0 || to < 0 ? 0 : copy_map(to, from);
}

int state_carry(struct kernel *kernel, const char *folder, const struct generation *successor)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int error = 0;

	while (dir && !error && (entry = readdir(dir)))
		if (is_state(entry->d_name))
			error = carry_one(folder, entry->d_name, successor);
	if (dir)
		closedir(dir);
	return error ? problem_set(kernel, error, "cannot take over what a policy remembers: %s", strerror(-error)) : 0;
}
