/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: sets of an install; out: maps pinned under the names that `weir set` finds them by. Elements added at run time
 * survive a replacement. A shared set is one map; its new contents come in after the commit, element by element.
 */
#include "kernel/sets.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/setmap.h"

static int make_folder(struct kernel *kernel, const char *parent, const char *name, struct path *ret_path)
{
	path_join(ret_path, parent, "%s", name);
	if (!mkdir(ret_path->text, 0700) || errno == EEXIST)
		return 0;
	return problem_set(kernel, -errno, "cannot make %s: %s", ret_path->text, strerror(errno));
}

static void shared_name(const char *name, uint8_t key, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s_%u", name, key);
}

/* --- shared sets ------------------------------------------------------------------------------------------------ */

static struct setmap_form form_of(const struct bpf_map_info *info)
{
	struct setmap_form form = { .key = 2, .lpm = info->type == BPF_MAP_TYPE_LPM_TRIE };

	if (form.lpm)
		form.key = info->key_size == sizeof(struct prefix6_key);
	else if (info->key_size != 8)
		form.key = info->key_size == 16;
	return form;
}

/* A policy that stays as it is takes the set for one with timeouts, or without, and this one does not. */
static bool timed_elsewhere(const struct change *change, const struct install_set *set)
{
	for (size_t i = 0; i < change->view.count; i++) {
		const struct generation *generation = &change->view.items[i];
		const struct record_set *other = record_find_set(generation->record, set->name, set->key);

		if (other && other->shared && !other->timed == set->timed &&
		    !change_successor(change, generation->policy) && !change_removes(change, generation->policy))
			return true;
	}
	return false;
}

static int check_timed(struct change *change, const struct install_set *set)
{
	if (!timed_elsewhere(change, set))
		return 0;
	problem_set(change->kernel, -EBUSY, "the shared set `%s` is in use %s timeouts", set->name,
		    set->timed ? "without" : "with");
	problem_hint(change->kernel, "apply all policies that share it in one file");
	return -EBUSY;
}

static int check_shared(struct kernel *kernel, const struct install_set *set, int fd)
{
	struct bpf_map_info info;
	struct setmap_form form;
	int error = map_info(fd, &info);

	if (error)
		return error;
	form = form_of(&info);
	if (form.key == set->key && form.lpm == set->lpm && info.max_entries >= set->max_elements &&
	    info.max_entries >= set->count)
		return 0;
	problem_set(kernel, -EBUSY, "the shared set `%s` is in use with another type or a smaller size (%u)",
		    set->name, info.max_entries);
	problem_hint(kernel, "delete the policies that share it, then apply");
	return -EBUSY;
}

/* The shared set as it is in force or as another policy of this change made it; -ENOENT. */
static int open_shared(const struct change *change, const struct install_set *set, bool *ret_in_force)
{
	char name[NAME_LENGTH + 8];
	struct path folder;
	int fd;

	shared_name(set->name, set->key, name, sizeof name);
	path_join(&folder, change->kernel->root.text, SETS_NAME);
	fd = pin_open(folder.text, "%s", name);
	*ret_in_force = fd >= 0;
	if (fd != -ENOENT)
		return fd;
	path_join(&folder, change->stage.text, SETS_NAME);
	return pin_open(folder.text, "%s", name);
}

int sets_share(struct change *change, const struct install *install, struct shares *shares)
{
	int error = 0;

	for (size_t i = 0; !error && i < install->set_count; i++) {
		const struct install_set *set = &install->sets[i];
		CLEANUP_CLOSE int fd = -1;
		bool in_force;

		if (!set->name || !set->shared)
			continue;
		fd = open_shared(change, set, &in_force);
		if (fd == -ENOENT)
			continue;
		error = fd < 0 ? fd : check_shared(change->kernel, set, fd);
		if (!error && in_force)
			error = check_timed(change, set);
		if (!error)
			error = shares_add(shares, set->map, fd);
	}
	return error;
}

int sets_create_like(struct kernel *kernel, int live)
{
	LIBBPF_OPTS(bpf_map_create_opts, options);
	struct bpf_map_info info;
	int fd, error = map_info(live, &info);

	if (error)
		return error;
	options.map_flags = info.map_flags;
	fd = bpf_map_create((enum bpf_map_type)info.type, "weir_fill", info.key_size, info.value_size,
			    info.max_entries, &options);
	return fd < 0 ? problem_bpf(kernel, -errno, "cannot create a BPF map") : fd;
}

int sets_pin_fill(struct kernel *kernel, const char *folder, const char *name, int fd)
{
	struct path stage, fills, path;
	int error;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	error = make_folder(kernel, stage.text, FILL_NAME, &fills);
	if (!error)
		error = make_folder(kernel, fills.text, folder, &path);
	return error ? error : pin_make(kernel, fd, path.text, "%s", name);
}

static bool has_fill(struct kernel *kernel, const char *folder, const char *name)
{
	struct path path;

	path_join(&path, kernel->root.text, STAGE_NAME "/" FILL_NAME "/%s/%s", folder, name);
	return path_exists(path.text);
}

static int refill_shared(struct change *change, const struct install_set *set, int live, const char *name)
{
	const struct setmap_form form = { set->key, set->lpm };
	CLEANUP_CLOSE int fill = -1;
	int error;

	if (has_fill(change->kernel, SETS_NAME, name))
		return 0;
	fill = sets_create_like(change->kernel, live);
	if (fill < 0)
		return fill;
	error = setmap_fill(change->kernel, fill, set, (struct setmap_start){ ORIGIN_FILE, setmap_now() });
	if (!error && !(change->flags & APPLY_RESET_SETS))
		error = setmap_keep_run_time(change->kernel, fill, form, set->timed, live, form);
	return error ? error : sets_pin_fill(change->kernel, SETS_NAME, name, fill);
}

static int stage_shared(struct change *change, const struct install_set *set, int fd)
{
	char name[NAME_LENGTH + 8];
	struct path folder;
	bool in_force;
	CLEANUP_CLOSE int present = open_shared(change, set, &in_force);

	shared_name(set->name, set->key, name, sizeof name);
	if (present >= 0)
		return in_force && set->filling == SET_FROM_TEXT ? refill_shared(change, set, present, name) : 0;
	if (present != -ENOENT)
		return present;
	if (set->filling == SET_AS_IT_IS && setmap_fill(change->kernel, fd, set, (struct setmap_start){ ORIGIN_FILE, setmap_now() }))
		return -EIO;
	if (make_folder(change->kernel, change->stage.text, SETS_NAME, &folder))
		return -EIO;
	return pin_make(change->kernel, fd, folder.text, "%s", name);
}

/* --- a policy's own --------------------------------------------------------------------------------------------- */

static int keep_elements(struct change *change, const struct install *install, const struct install_set *set, int fd)
{
	const struct setmap_form form = { set->key, set->lpm };
	const struct generation *old = view_find(&change->view, install->policy);
	const struct record_set *before = old ? record_find_set(old->record, set->name, set->key) : NULL;
	CLEANUP_CLOSE int from = before ? pin_open(old->folder.text, "set-%s", before->map) : -1;

	if (from < 0 && set->filling == SET_AS_IT_IS) /* no rule has looked at it so far */
		return setmap_fill(change->kernel, fd, set, (struct setmap_start){ ORIGIN_FILE, setmap_now() });
	if (from < 0 || set->filling == SET_AS_GIVEN || (change->flags & APPLY_RESET_SETS))
		return 0;
	if (set->filling == SET_AS_IT_IS)
		return setmap_assign(change->kernel, fd, from, form);
	return setmap_keep_run_time(change->kernel, fd, form, set->timed, from, (struct setmap_form){ before->key, before->lpm });
}

static int stage_set(struct change *change, const struct install *install, const struct generation *staged,
		     const struct install_set *set, int fd)
{
	struct record_set *entry = &record_sets(staged->record)[staged->record->set_count++];
	int error;

	snprintf(entry->map, sizeof entry->map, "%s", set->map);
	snprintf(entry->name, sizeof entry->name, "%s", set->name);
	entry->key = set->key;
	entry->lpm = set->lpm;
	entry->shared = set->shared;
	entry->timed = set->timed;
	entry->max_elements = set->max_elements;
	error = set->shared ? stage_shared(change, set, fd) : keep_elements(change, install, set, fd);
	return error ? error : pin_make(change->kernel, fd, staged->folder.text, "set-%s", set->map);
}

int sets_stage(struct change *change, const struct install *install, const struct generation *staged,
	       const struct shares *loaded)
{
	int error = 0;

	for (size_t i = 0; !error && i < install->set_count; i++) {
		const struct install_set *set = &install->sets[i];
		int fd = shares_find(loaded, set->map);

		if (!set->name || fd < 0)
			continue; /* a constant, or no rule looks at it */
		if (strlen(set->name) >= NAME_LENGTH)
			return problem_set(change->kernel, -ENAMETOOLONG,
					   "the name of set `%.40s...` is too long", set->name);
		error = stage_set(change, install, staged, set, fd);
		if (error)
			problem_set(change->kernel, error, "cannot set up set `%s`: %s", set->name, strerror(-error));
	}
	return error;
}

/* --- after the commit ------------------------------------------------------------------------------------------- */

typedef int (*pin_work)(struct kernel *kernel, const char *folder, const char *name, void *context);

/* Calls `work` for each name in the folder; 0 if there is no such folder. */
static int for_each_name(struct kernel *kernel, const char *folder, pin_work work, void *context)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int error = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (!error && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			error = work(kernel, folder, entry->d_name, context);
	closedir(dir);
	return error;
}

static int move_new(struct kernel *kernel, const char *folder, const char *name, void *context)
{
	struct path sets, from, to;
	int error = make_folder(kernel, kernel->root.text, SETS_NAME, &sets);

	(void)context;
	path_join(&from, folder, "%s", name);
	path_join(&to, sets.text, "%s", name);
	if (!error && rename(from.text, to.text))
		error = problem_set(kernel, -errno, "cannot move %s: %s", from.text, strerror(errno));
	return error;
}

static int assign(struct kernel *kernel, const char *folder, const char *name, void *context)
{
	const char *target = context;
	CLEANUP_CLOSE int from = pin_open(folder, "%s", name);
	CLEANUP_CLOSE int to = pin_open(target, "%s", name);
	struct bpf_map_info info;
	int error = from < 0 ? from : to;

	if (error >= 0)
		error = map_info(to, &info);
	if (!error)
		error = setmap_assign(kernel, to, from, form_of(&info));
	return error < 0 ? problem_set(kernel, error, "cannot fill %s/%s: %s", target, name, strerror(-error)) : 0;
}

static int assign_folder(struct kernel *kernel, const char *folder, const char *name, void *context)
{
	struct path from, to;

	(void)context;
	path_join(&from, folder, "%s", name);
	path_join(&to, kernel->root.text, "%s", name);
	return for_each_name(kernel, from.text, assign, to.text);
}

int sets_finish(struct kernel *kernel)
{
	struct path path;
	int error;

	path_join(&path, kernel->root.text, STAGE_NAME "/" SETS_NAME);
	error = for_each_name(kernel, path.text, move_new, NULL);
	if (error)
		return error;
	path_join(&path, kernel->root.text, STAGE_NAME "/" FILL_NAME);
	return for_each_name(kernel, path.text, assign_folder, NULL);
}

static bool shared_in_use(const struct view *view, const char *pin)
{
	for (size_t i = 0; i < view->count; i++)
		for (uint32_t j = 0; j < view->items[i].record->set_count; j++) {
			const struct record_set *set = &record_sets(view->items[i].record)[j];
			char name[NAME_LENGTH + 8];

			shared_name(set->name, set->key, name, sizeof name);
			if (set->shared && !strcmp(name, pin))
				return true;
		}
	return false;
}

static int drop_unused(struct kernel *kernel, const char *folder, const char *name, void *context)
{
	struct path path;

	(void)kernel;
	path_join(&path, folder, "%s", name);
	return shared_in_use(context, name) ? 0 : path_remove(path.text, NULL);
}

int sets_collect_garbage(struct kernel *kernel, const struct view *view)
{
	struct path path;
	int error;

	path_join(&path, kernel->root.text, SETS_NAME);
	error = for_each_name(kernel, path.text, drop_unused, (void *)view);
	rmdir(path.text); /* if nothing is left */
	return error;
}
