/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: installs with a map of lineages; out: links at the kernel's trace points of processes, pinned as link_EVENT-NAME in the
 * folder of each policy that has the state NAME. Without them the map would tell of processes that are no more, so a map
 * whose links are gone begins anew.
 */
#include "kernel/lineage.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "kernel/object.h"
#include "kernel/statemap.h"
#include "kernel/verifier.h"

enum { EVENTS = 3, ROUNDS_MAX = 64 };
static const char *const events[EVENTS] = { "fork", "exec", "exit" };

struct tracking {
	struct kernel *kernel;
	const struct install *install;
	const struct install_state *state;
	const char *folder; /* of the staged policy */
	bool try;
	int map;
	int links[EVENTS];
};

/* --- those that are there ---------------------------------------------------------------------------------------- */

static void close_links(int links[EVENTS])
{
	for (size_t i = 0; i < EVENTS; i++)
		close_cleanup(&links[i]);
}

static bool open_links(const char *folder, const char *name, int links[EVENTS])
{
	bool all = true;

	for (size_t i = 0; i < EVENTS; i++) {
		links[i] = pin_open(folder, "link_%s-%s", events[i], name);
		all = all && links[i] >= 0;
	}
	if (!all)
		close_links(links);
	return all;
}

/* Of a policy in force, or one that was staged before. */
static bool find_links(const struct change *change, const char *name, int links[EVENTS])
{
	for (size_t i = 0; i < change->view.count; i++)
		if (open_links(change->view.items[i].folder.text, name, links))
			return true;
	for (size_t i = 0; i < change->install_count; i++)
		if (change->staged[i].folder.text[0] && open_links(change->staged[i].folder.text, name, links))
			return true;
	return false;
}

static int pin_links(const struct tracking *tracking)
{
	int error = 0;

	for (size_t i = 0; !error && i < EVENTS; i++)
		error = pin_make(tracking->kernel, tracking->links[i], tracking->folder, "link_%s-%s", events[i],
				 tracking->state->name);
	return error;
}

bool lineage_attached(const char *folder)
{
	const char *prefix = "shared-" LINEAGE_PREFIX;
	DIR *dir = opendir(folder);
	struct dirent *entry;
	bool attached = true;

	while (dir && (entry = readdir(dir))) {
		int links[EVENTS];
		char name[64];

		if (strncmp(entry->d_name, prefix, strlen(prefix)) ||
		    sscanf(entry->d_name, "shared-%63[^-]", name) != 1)
			continue;
		attached = open_links(folder, name, links);
		if (attached)
			close_links(links);
	}
	if (dir)
		closedir(dir);
	return attached;
}

/* --- new ones ----------------------------------------------------------------------------------------------------- */

static void *constant(struct bpf_object *object, const char *section, size_t size)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(object, section);
	size_t there = 0;
	void *value = map ? (void *)bpf_map__initial_value((struct bpf_map *)map, &there) : NULL;

	return there >= size ? value : NULL;
}

static int configure(const struct tracking *tracking, struct bpf_object *object, uint32_t event)
{
	struct plane_programs *roots = constant(object, MAP_ROOTS, sizeof *roots);
	uint32_t *number = constant(object, ".rodata.event", sizeof *number);
	struct bpf_map *map = bpf_object__find_map_by_name(object, LINEAGE_MAP);
	struct bpf_map *sockets = bpf_object__find_map_by_name(object, TREES_MAP);
	struct bpf_program *program = bpf_object__find_program_by_name(object, "weir_lineage");
	struct bpf_program *ancestors = bpf_object__find_program_by_name(object, "weir_ancestors");
	char point[32];
	int error;

	if (!roots || !number || !map || !program || !ancestors)
		return -EINVAL;
	*roots = tracking->install->roots;
	*number = event;
	snprintf(point, sizeof point, "sched_process_%s", events[event]);
	error = bpf_program__set_attach_target(program, 0, point);
	if (!error && sockets)
		error = bpf_map__set_autocreate(sockets, false);
	if (!error)
		error = bpf_map__reuse_fd(map, tracking->map);
	if (!error)
		error = bpf_program__set_autoload(ancestors, event == EVENTS - 1);
	return error ? error : verifier_log_attach(tracking->kernel, program);
}

static int refuse(struct kernel *kernel, int error)
{
	if (error == -EPERM || error == -EACCES)
		problem_set(kernel, error, "`program in tree of` needs CAP_BPF and CAP_PERFMON, to see which process starts "
			    "which");
	else
		problem_set(kernel, error, "`program in tree of` cannot be judged: processes cannot be followed: %s%s",
			    strerror(-error), verifier_messages());
	problem_hint(kernel, "`weir doctor` says what is missing; `unit == \"NAME.service\"` keeps a program and all that it "
		     "starts together without that");
	return error;
}

static int load(const struct tracking *tracking, uint32_t event, struct bpf_object **ret_object)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "weir");
	const struct plane_object *plane = plane_lineage();
	struct bpf_object *object;
	int error;

	verifier_messages_clear();
	object = bpf_object__open_mem(plane->data, plane->size, &options);
	if (!object)
		return -errno;
	error = configure(tracking, object, event);
	if (!error)
		error = bpf_object__load(object);
	if (error)
		bpf_object__close(object);
	else
		*ret_object = object;
	return error;
}

/* --- who is there already ----------------------------------------------------------------------------------------- */

static int read_all(int fd)
{
	char buffer[64];
	ssize_t got;

	while ((got = read(fd, buffer, sizeof buffer)) > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)))
		;
	return got < 0 ? -errno : 0;
}

/* How many have been found in all. */
static uint64_t found_so_far(const struct bpf_object *object)
{
	const uint32_t zero = 0;
	uint64_t found = 0;
	int fd = bpf_object__find_map_fd_by_name(object, ".data.found");

	if (fd >= 0)
		bpf_map_lookup_elem(fd, &zero, &found);
	return found;
}

/* Each round finds children of those that the last one has found, or that were forked meanwhile. */
static int find_ancestors(struct bpf_object *object)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, "weir_ancestors");
	struct bpf_link *link = bpf_program__attach_iter(program, NULL);
	uint64_t before, found = 0;
	int error = link ? 0 : -errno;

	for (unsigned i = 0; !error && i < ROUNDS_MAX; i++) {
		CLEANUP_CLOSE int fd = bpf_iter_create(bpf_link__fd(link));

		before = found;
		error = fd < 0 ? -errno : read_all(fd);
		found = found_so_far(object);
		if (found == before)
			break;
	}
	bpf_link__destroy(link);
	return error;
}

static int forget_all(int map)
{
	uint32_t process;

	while (!bpf_map_get_next_key(map, NULL, &process))
		if (bpf_map_delete_elem(map, &process) && errno != ENOENT)
			return -errno;
	return 0;
}

static int attach(struct tracking *tracking, uint32_t event, struct bpf_object *object)
{
	const struct bpf_program *program = bpf_object__find_program_by_name(object, "weir_lineage");

	tracking->links[event] = bpf_raw_tracepoint_open(NULL, bpf_program__fd(program));
	if (tracking->links[event] < 0)
		return -errno;
	/* Looked for when all that comes later is followed. */
	return event == EVENTS - 1 ? find_ancestors(object) : 0;
}

static int make_links(struct tracking *tracking)
{
	int error = tracking->try ? 0 : forget_all(tracking->map);

	for (uint32_t i = 0; !error && i < EVENTS; i++) {
		struct bpf_object *object = NULL;

		error = load(tracking, i, &object);
		if (!error && !tracking->try)
			error = attach(tracking, i, object);
		bpf_object__close(object);
	}
	return error ? refuse(tracking->kernel, error) : 0;
}

static int start_one(struct change *change, struct tracking *tracking)
{
	int error = 0;

	if (!find_links(change, tracking->state->name, tracking->links))
		error = make_links(tracking);
	return error || tracking->try ? error : pin_links(tracking);
}

int lineage_start(struct change *change, bool try)
{
	int error = 0;

	for (size_t i = 0; !error && i < change->install_count; i++) {
		const struct install_state *state = state_find(&change->installs[i], LINEAGE_MAP);
		const char *folder = change->staged[i].folder.text;
		struct tracking tracking = { change->kernel, &change->installs[i], state, folder, try, -1, { -1, -1, -1 } };

		if (!state)
			continue;
		tracking.map = state_open(folder, state->name, state->layout);
		error = tracking.map < 0 ? tracking.map : start_one(change, &tracking);
		close_links(tracking.links);
		close_cleanup(&tracking.map);
	}
	return error;
}
