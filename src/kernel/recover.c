/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Recovery, which is also the second half of every change. In: the store with a stage in it; out: one without,
 * in which everything is as the epoch says. Each step finds out what is left to do, so it may be killed and
 * begun again at any point.
 *
 * Before the commit (epoch < since): links go back to the programs in force, the stage goes.
 * After it: counts are carried over, links and chains lose what went, folders change places, the stage goes.
 *
 * Packets may still be inside a program that was replaced and on their way to the next one through `before` or
 * `after`; kernel_grace() lets them out before a pin that holds such a map goes.
 */
#include "kernel/recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/attach.h"
#include "kernel/chain.h"
#include "kernel/counters.h"
#include "kernel/object.h"
#include "kernel/sets.h"
#include "kernel/statemap.h"

/* --- what is in force does its work ----------------------------------------------------------------------------- */

/* With its last pin the map is emptied, and predecessors go. */
static int clear_before(const char *folder, uint32_t index)
{
	struct path path;

	path_join(&path, folder, "before_%u", index);
	return unlink(path.text) && errno != ENOENT ? -errno : 0;
}

static int settle_link(struct kernel *kernel, const struct generation *generation, uint32_t index)
{
	const struct place *place = &generation->record->places[index];
	CLEANUP_CLOSE int link = pin_open(generation->folder.text, "link_%u", index);
	CLEANUP_CLOSE int prog = pin_open(generation->folder.text, "prog_%u", index);
	struct link_state state = { .alive = true };
	int error;

	if (prog < 0 || (link < 0 && place->how != HOW_CLSACT))
		return 0; /* nothing that could be set right */
	if (link >= 0 && (attach_state(place, link, &state) || !state.alive || state.prog_id == attach_prog_id(prog)))
		return 0;
	error = attach_update(kernel, place, link, prog);
	return error == -ENOLINK || error == -ENODEV ? 0 : error;
}

static int settle_place(struct kernel *kernel, const struct generation *generation, uint32_t index)
{
	const struct place *place = &generation->record->places[index];
	bool updatable = place->how == HOW_TCX || place->how == HOW_CLSACT ||
			 hook_table[place->hook].target == TARGET_CGROUP;
	int error = control_set(generation->folder.text, index, ~0ull);

	if (error == -ENOENT)
		error = 0;
	if (!error && updatable)
		error = settle_link(kernel, generation, index);
	return error;
}

static int settle(struct kernel *kernel, const struct view *view)
{
	int error = 0;

	for (size_t i = 0; i < view->count; i++)
		for (uint32_t j = 0; !error && j < view->items[i].record->place_count; j++)
			error = settle_place(kernel, &view->items[i], j);
	return error ? error : chain_settle(kernel, view);
}

static int clear_befores(const struct view *view)
{
	int error = 0;

	for (size_t i = 0; i < view->count; i++)
		for (uint32_t j = 0; !error && j < view->items[i].record->place_count; j++)
			error = clear_before(view->items[i].folder.text, j);
	return error;
}

/* --- the stage goes --------------------------------------------------------------------------------------------- */

/* Links, so that their last descriptor is closed here: the kernel then detaches at once, not at some later time. */
struct links {
	int *fds;
	size_t count;
};

static void hold_link(struct links *links, const char *folder, const char *name)
{
	int *fds = reallocarray(links->fds, links->count + 1, sizeof *fds);
	int fd = fds ? pin_open(folder, "%s", name) : -1;

	if (fds)
		links->fds = fds;
	if (fd >= 0)
		links->fds[links->count++] = fd;
}

static void hold_links(struct links *links, const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct path path;

		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && entry->d_name[0] != '@') {
			path_join(&path, folder, "%s", entry->d_name);
			hold_links(links, path.text);
		} else if (!strncmp(entry->d_name, "link_", 5)) {
			hold_link(links, folder, entry->d_name);
		}
	}
	if (dir)
		closedir(dir);
}

static int remove_stage(struct kernel *kernel)
{
	struct links links = { 0 };
	struct path stage;
	int error;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	hold_links(&links, stage.text);
	error = path_remove(stage.text, JOURNAL_NAME);
	for (size_t i = 0; i < links.count; i++)
		close(links.fds[i]);
	free(links.fds);
	return error ? problem_set(kernel, error, "cannot remove %s: %s", stage.text, strerror(-error)) : 0;
}

/* A filter that some policy in force has stays. */
static bool filter_in_force(const struct view *view, const struct place *place)
{
	for (size_t i = 0; i < view->count; i++)
		for (uint32_t j = 0; j < view->items[i].record->place_count; j++) {
			const struct place *other = &view->items[i].record->places[j];

			if (other->how == HOW_CLSACT && place_same(other, place) && other->handle == place->handle)
				return true;
		}
	return false;
}

/* Filters of a generation that is not in force. */
static int remove_filters(struct kernel *kernel, const struct view *view, const struct record *record)
{
	int error = 0;

	for (uint32_t i = 0; !error && i < record->place_count; i++)
		if (record->places[i].how == HOW_CLSACT && !filter_in_force(view, &record->places[i]))
			error = attach_remove_filter(kernel, &record->places[i]);
	return error;
}

/* --- undoing ---------------------------------------------------------------------------------------------------- */

/* A staged program that outlives its stage (a filter that nobody recorded) passes everything for ever. */
static int retire_staged(struct kernel *kernel, const struct view *view, const char *policy)
{
	struct record *record;
	struct path stage, folder, path;
	int error;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	path_join(&folder, stage.text, "%s", policy);
	for (uint32_t i = 0; i < PLACES_MAX && control_set(folder.text, i, 0) != -ENOENT; i++)
		;
	path_join(&path, folder.text, "record");
	if (!path_exists(path.text) || record_load(kernel, folder.text, &record))
		return 0;
	error = remove_filters(kernel, view, record);
	free(record);
	return error;
}

static int roll_back(struct kernel *kernel, const struct view *view)
{
	int error = settle(kernel, view);

	for (uint32_t i = 0; !error && i < view->journal->install_count; i++)
		error = retire_staged(kernel, view, view->journal->names[i]);
	if (!error)
		error = kernel_grace(kernel);
	return error ? error : remove_stage(kernel);
}

/* --- finishing -------------------------------------------------------------------------------------------------- */

/* A generation that is over, while its folder is still in its place. */
struct old {
	const char *folder;
	const struct record *record;
	const struct generation *successor; /* NULL: the policy is removed */
};

typedef int (*old_work)(struct kernel *kernel, const struct view *view, const struct old *old, void *context);

static int for_old(struct kernel *kernel, const struct view *view, struct old old, old_work work, void *context)
{
	struct record *record;
	int error;

	if (!path_exists(old.folder))
		return 0;
	error = record_load(kernel, old.folder, &record);
	if (error)
		return error;
	old.record = record;
	error = work(kernel, view, &old, context);
	free(record);
	return error;
}

static int for_each_old(struct kernel *kernel, const struct view *view, old_work work, void *context)
{
	const struct journal *journal = view->journal;
	int error = 0;

	for (size_t i = 0; !error && i < view->count; i++) {
		const struct old old = { .folder = view->items[i].carry_from.text, .successor = &view->items[i] };

		if (old.folder[0])
			error = for_old(kernel, view, old, work, context);
	}
	for (uint32_t i = 0; !error && i < journal->removal_count; i++) {
		struct path path;
		struct old old = { .folder = path.text };

		path_join(&path, kernel->root.text, "%s", journal->names[journal->install_count + i]);
		error = for_old(kernel, view, old, work, context);
	}
	return error;
}

/* Netfilter places that had to go on until now; see attach_netfilter.c. */
static int end_netfilter(struct kernel *kernel, const struct view *view, const struct old *old, void *context)
{
	int error = 0;

	(void)kernel;
	(void)context;
	for (uint32_t i = 0; !error && i < old->record->place_count; i++)
		if (hook_is_netfilter(old->record->places[i].hook))
			error = control_set(old->folder, i, view->journal->since);
	return error;
}

static int carry_over(struct kernel *kernel, const struct view *view, const struct old *old, void *context)
{
	int error;

	(void)view;
	(void)context;
	if (!old->successor)
		return 0;
	error = counters_carry(kernel, old->folder, old->record, old->successor);
	return error ? error : state_carry(kernel, old->folder, old->successor);
}

static int drop_filters(struct kernel *kernel, const struct view *view, const struct old *old, void *context)
{
	(void)context;
	return remove_filters(kernel, view, old->record);
}

/* What has to be waited for. */
struct remains {
	bool any;   /* programs that may still be running */
	bool chain; /* XDP programs that are in a chain until it is settled */
};

static int find_remains(struct kernel *kernel, const struct view *view, const struct old *old, void *context)
{
	struct remains *remains = context;

	(void)kernel;
	(void)view;
	remains->any = true;
	for (uint32_t i = 0; i < old->record->place_count; i++) {
		const struct place *place = &old->record->places[i];

		if (place->hook == HOOK_XDP && !(old->successor && change_place(old->successor->record, place)))
			remains->chain = true;
	}
	return 0;
}

static int exchange(struct kernel *kernel, const char *policy, const struct path *staged)
{
	struct path path;
	unsigned flags;

	path_join(&path, kernel->root.text, "%s", policy);
	flags = path_exists(path.text) ? RENAME_EXCHANGE : RENAME_NOREPLACE;
	if (!renameat2(AT_FDCWD, staged->text, AT_FDCWD, path.text, flags))
		return 0;
	return problem_set(kernel, -errno, "cannot move %s into place: %s", staged->text, strerror(errno));
}

static int retire_removed(struct kernel *kernel, const char *policy)
{
	struct path stage, from, to;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	path_join(&from, kernel->root.text, "%s", policy);
	path_join(&to, stage.text, "%s", policy);
	if (!rename(from.text, to.text) || errno == ENOENT)
		return 0;
	return problem_set(kernel, -errno, "cannot move %s away: %s", from.text, strerror(errno));
}

static int move_folders(struct kernel *kernel, const struct view *view)
{
	const struct journal *journal = view->journal;
	struct path stage;
	int error = 0;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	for (size_t i = 0; !error && i < view->count; i++) {
		struct path staged;

		path_join(&staged, stage.text, "%s", view->items[i].policy);
		if (!strcmp(staged.text, view->items[i].folder.text))
			error = exchange(kernel, view->items[i].policy, &staged);
	}
	for (uint32_t i = 0; !error && i < journal->removal_count; i++)
		error = retire_removed(kernel, journal->names[journal->install_count + i]);
	return error;
}

/* The old programs have let their last packets go; what they counted and were is passed on. */
static int pass_on(struct kernel *kernel, const struct view *view, const struct remains *remains)
{
	int error = remains->any ? kernel_grace(kernel) : 0;

	if (!error)
		error = for_each_old(kernel, view, carry_over, NULL);
	if (!error)
		error = settle(kernel, view);
	if (!error)
		error = clear_befores(view);
	if (!error)
		error = for_each_old(kernel, view, drop_filters, NULL);
	return error || !remains->chain ? error : kernel_grace(kernel);
}

static int roll_forward(struct kernel *kernel, const struct view *view)
{
	struct remains remains = { 0 };
	int error = for_each_old(kernel, view, end_netfilter, NULL);

	if (!error)
		error = sets_finish(kernel);
	if (!error)
		error = for_each_old(kernel, view, find_remains, &remains);
	if (!error)
		error = pass_on(kernel, view, &remains);
	if (!error)
		error = move_folders(kernel, view);
	if (!error)
		error = sets_collect_garbage(kernel, view);
	return error ? error : remove_stage(kernel);
}

int recover_unarmed(struct kernel *kernel)
{
	struct path stage;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	return path_exists(stage.text) ? remove_stage(kernel) : 0;
}

int recover(struct kernel *kernel)
{
	struct path stage;
	struct view view;
	int error;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	if (!path_exists(stage.text))
		return 0;
	error = view_read(kernel, &view);
	if (error)
		return error;
	if (!view.journal)
		error = remove_stage(kernel);
	else
		error = view.committed ? roll_forward(kernel, &view) : roll_back(kernel, &view);
	view_free(&view);
	return error;
}
