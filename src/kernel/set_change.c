/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `weir set`: changes and lists of sets in force. Additions and deletions are single map operations, undone if
 * one of them fails. What has expired is as if it were not there; it is swept when there is no room without that. A replacement is journaled in the stage first, so that a kill cannot halve it; for the
 * moment that it takes, a packet may meet old and new elements together, but never fewer than both have in
 * common.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/recover.h"
#include "kernel/setmap.h"
#include "kernel/sets.h"
#include "kernel/statemap.h"

/* One family of a set in force. */
struct target {
	const struct generation *generation;
	const struct record_set *set;
	struct setmap_form form;
	int fd; /* owned */
};

static int find_target(struct kernel *kernel, const struct view *view, const char *policy, const char *name,
		       uint8_t key, struct target *ret_target)
{
	const struct generation *generation = view_find(view, policy);
	const struct record_set *set;
	int fd;

	if (!generation)
		return problem_set(kernel, -ENOENT, "there is no policy `%s`", policy);
	set = record_find_set(generation->record, name, key);
	if (!set)
		return problem_set(kernel, -ENOENT, "policy `%s` has no set `%s`%s", policy, name,
				   key == 0   ? " that holds IPv4 addresses"
				   : key == 1 ? " that holds IPv6 addresses"
					      : "");
	fd = pin_open(generation->folder.text, "set-%s", set->map);
	if (fd < 0)
		return problem_set(kernel, fd, "a pin of policy `%s` is gone", policy);
	*ret_target = (struct target){ generation, set, { set->key, set->lpm }, fd };
	return 0;
}

static void print_element(const struct target *target, const struct setmap_element *element, char *buffer,
			  size_t size)
{
	uint8_t bytes[16];
	char text[INET6_ADDRSTRLEN];
	unsigned width = setmap_key_bits(target->form) / 8;

	if (target->form.key > 1) {
		snprintf(buffer, size, "%llu", (unsigned long long)u128_lo(element->lo));
		return;
	}
	for (unsigned i = 0; i < width; i++)
		bytes[i] = (uint8_t)(element->lo >> (8 * (width - 1 - i)));
	inet_ntop(target->form.key ? AF_INET6 : AF_INET, bytes, text, sizeof text);
	if (target->form.lpm)
		snprintf(buffer, size, "%s/%u", text, element->prefix);
	else
		snprintf(buffer, size, "%s", text);
}

/* What was given a time, and is given another; what the policy's text has for ever stays so. */
static bool overwrites(const struct target *target, const struct set_value *there, uint64_t now)
{
	if (!target->set->timed)
		return false;
	return !setmap_lives(there, now) || there->expires_ns || there->origin != ORIGIN_FILE;
}

static int sort_out(const struct target *target, struct setmap_elements *elements, struct setmap_elements *former)
{
	uint64_t now = setmap_now();
	size_t kept = 0;

	for (size_t i = 0; i < elements->count; i++) {
		struct setmap_element there = elements->items[i];

		if (setmap_has(target->fd, target->form, &there, &there.value) > 0) {
			if (!overwrites(target, &there.value, now))
				continue;
			if (setmap_push(former, &there))
				return -ENOMEM;
		}
		elements->items[kept++] = elements->items[i];
	}
	elements->count = kept;
	return 0;
}

static int write_with_room(struct kernel *kernel, const struct target *target, const struct setmap_elements *elements)
{
	int error = setmap_write(kernel, target->fd, target->form, elements->items, elements->count);

	if (error != -ENOSPC || !target->set->timed)
		return error;
	problem_forget(kernel);
	error = setmap_sweep(kernel, target->fd, target->form);
	return error ? error : setmap_write(kernel, target->fd, target->form, elements->items, elements->count);
}

/* Adds those that are not there yet, and gives a new time to those that are; all or none. */
static int add(struct kernel *kernel, const struct target *target, struct setmap_elements *elements)
{
	struct setmap_elements former = { 0 };
	int error = sort_out(target, elements, &former);

	if (!error)
		error = write_with_room(kernel, target, elements);
	if (error) {
		setmap_erase(kernel, target->fd, target->form, elements->items, elements->count);
		setmap_restore(target->fd, target->form, &former);
	}
	setmap_elements_free(&former);
	return error;
}

static int delete(struct kernel *kernel, const struct target *target, struct setmap_elements *elements)
{
	uint64_t now = setmap_now();
	struct set_value value;

	for (size_t i = 0; i < elements->count; i++) {
		char text[80];

		if (setmap_has(target->fd, target->form, &elements->items[i], &value) > 0 && setmap_lives(&value, now))
			continue;
		print_element(target, &elements->items[i], text, sizeof text);
		return problem_set(kernel, -ENOENT, "%s is not in set `%s`; nothing was deleted", text,
				   target->set->name);
	}
	return setmap_erase(kernel, target->fd, target->form, elements->items, elements->count);
}

/* Has the stage hold what the set shall hold. */
static int stage_content(struct kernel *kernel, const struct target *target, const struct setmap_elements *elements)
{
	char name[NAME_LENGTH + 8];
	CLEANUP_CLOSE int fill = sets_create_like(kernel, target->fd);
	int error = fill < 0 ? fill : setmap_write(kernel, fill, target->form, elements->items, elements->count);

	if (error)
		return error;
	snprintf(name, sizeof name, "set-%s", target->set->map);
	return sets_pin_fill(kernel, target->generation->policy, name, fill);
}

static int expand(struct kernel *kernel, const struct target *target, const struct install_set *set,
		  struct setmap_elements *ret_elements)
{
	const struct setmap_start start = { ORIGIN_RUN_TIME, setmap_now() };
	int error = setmap_expand(set, start, (size_t)target->set->max_elements + set->count, ret_elements);

	if (error == -E2BIG)
		problem_set(kernel, error, "these are more elements than set `%s` has room for (%u)", set->name,
			    target->set->max_elements);
	return error;
}

static int change_one(struct kernel *kernel, const struct view *view, const char *policy, enum set_change change,
		      const struct install_set *set)
{
	struct setmap_elements elements = { 0 };
	struct target target = { .fd = -1 };
	int error = find_target(kernel, view, policy, set->name, set->key, &target);

	if (!error && change != SET_FLUSH)
		error = expand(kernel, &target, set, &elements);
	if (error)
		goto out;
	if (change == SET_ADD)
		error = add(kernel, &target, &elements);
	else if (change == SET_DELETE)
		error = delete(kernel, &target, &elements);
	else
		error = stage_content(kernel, &target, &elements);
out:
	setmap_elements_free(&elements);
	close_cleanup(&target.fd);
	return error;
}

/* The journal of a change whose epoch has come already: its being there commits it. */
static int commit_content(struct kernel *kernel)
{
	const struct journal journal = { .version = RECORD_VERSION, .since = store_epoch(kernel) };
	struct path stage;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	return blob_pin(kernel, stage.text, JOURNAL_NAME, &journal, sizeof journal);
}

static int change_all(struct kernel *kernel, const struct view *view, const char *policy, enum set_change change,
		      const struct install_set *sets, size_t count)
{
	bool staged = change == SET_REPLACE || change == SET_FLUSH;
	struct path stage;
	int error = 0;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	if (staged && mkdir(stage.text, 0700))
		return problem_set(kernel, -errno, "cannot make %s: %s", stage.text, strerror(errno));
	for (size_t i = 0; !error && i < count; i++)
		error = change_one(kernel, view, policy, change, &sets[i]);
	if (!staged)
		return error;
	if (!error)
		error = commit_content(kernel);
	if (recover(kernel) && !error)
		error = -EIO;
	return error;
}

int kernel_set_change(struct kernel *kernel, const char *policy, enum set_change change,
		      const struct install_set *sets, size_t count, struct diags *diags)
{
	struct view view = { 0 };
	int error = store_need_write(kernel);

	if (!error)
		error = view_read(kernel, &view);
	if (!error)
		error = change_all(kernel, &view, policy, change, sets, count);
	view_free(&view);
	return problem_report(kernel, diags, error);
}

/* --- listing ---------------------------------------------------------------------------------------------------- */

struct listing {
	struct arena *arena;
	struct setmap_elements elements[3]; /* by key */
	struct set_listing result;
};

static int by_value(const void *a, const void *b)
{
	const struct setmap_element *left = a, *right = b;

	if (left->lo != right->lo)
		return left->lo < right->lo ? -1 : 1;
	return (int)left->prefix - (int)right->prefix;
}

/* What is left of its life, rounded up. */
static uint32_t left_ms(const struct set_value *value, uint64_t now)
{
	return value->expires_ns ? (uint32_t)((value->expires_ns - now + 999999) / 1000000) : 0;
}

static int copy_listing(void *context)
{
	struct listing *listing = context;
	uint64_t now = setmap_now();
	struct set_element *out;
	size_t total = 0, at = 0;

	for (uint8_t key = 0; key < 3; key++)
		total += listing->elements[key].count;
	out = ARENA_ARRAY(listing->arena, struct set_element, total);
	for (uint8_t key = 0; key < 3; key++)
		for (size_t i = 0; i < listing->elements[key].count; i++) {
			const struct setmap_element *element = &listing->elements[key].items[i];

			if (setmap_lives(&element->value, now))
				out[at++] = (struct set_element){ key, element->lo, element->prefix,
								  (uint8_t)element->value.origin,
								  left_ms(&element->value, now) };
		}
	listing->result.elements = out;
	listing->result.count = at;
	return 0;
}

static int read_one(struct kernel *kernel, const struct view *view, const char *policy, const char *set, uint8_t key,
		    struct listing *listing)
{
	struct setmap_elements *ret_elements = &listing->elements[key];
	struct target target;
	int error = find_target(kernel, view, policy, set, key, &target);

	if (error)
		return error;
	error = setmap_read(kernel, target.fd, target.form, ret_elements);
	listing->result.memory[key] = map_memory(target.fd);
	close(target.fd);
	if (!error && ret_elements->count)
		qsort(ret_elements->items, ret_elements->count, sizeof *ret_elements->items, by_value);
	return error;
}

static int read_all(struct kernel *kernel, const char *policy, const char *set, struct listing *listing)
{
	const struct generation *generation;
	struct view view = { 0 };
	bool found = false;
	int error = view_read(kernel, &view);

	if (error)
		return error;
	generation = view_find(&view, policy);
	for (uint8_t key = 0; generation && !error && key < 3; key++) {
		if (!record_find_set(generation->record, set, key))
			continue;
		found = true;
		error = read_one(kernel, &view, policy, set, key, listing);
	}
	if (!error && !found)
		error = problem_set(kernel, -ENOENT, generation ? "policy `%s` has no set `%s` that a rule looks at" :
								  "there is no policy `%s` (set `%s`)", policy, set);
	view_free(&view);
	return error;
}

int kernel_set_list(struct kernel *kernel, struct arena *arena, const char *policy, const char *set,
		    struct diags *diags, struct set_listing *ret_listing)
{
	struct listing listing = { .arena = arena };
	int error = store_lock(kernel);

	if (error == -ENOENT)
		problem_set(kernel, error, "there is no policy `%s`", policy);
	if (!error) {
		error = read_all(kernel, policy, set, &listing);
		store_unlock(kernel);
	}
	if (!error)
		error = arena_run(arena, copy_listing, &listing);
	for (uint8_t key = 0; key < 3; key++)
		setmap_elements_free(&listing.elements[key]);
	if (!error)
		*ret_listing = listing.result;
	return problem_report(kernel, diags, error);
}

static int read_refused(struct kernel *kernel, const char *policy, uint32_t index, uint64_t *ret_count)
{
	const struct generation *generation;
	struct view view = { 0 };
	struct set_changes changes;
	int fd, error = view_read(kernel, &view);

	if (error)
		return error;
	generation = view_find(&view, policy);
	fd = generation ? pin_open(generation->folder.text, "changes") : -ENOENT;
	if (fd >= 0 && !bpf_map_lookup_elem(fd, &index, &changes))
		*ret_count = changes.refused;
	if (fd >= 0)
		close(fd);
	view_free(&view);
	return fd < 0 && fd != -ENOENT ? fd : 0;
}

int kernel_set_refused(struct kernel *kernel, const char *policy, uint32_t index, struct diags *diags,
		       uint64_t *ret_count)
{
	uint64_t count = 0;
	int error = store_lock(kernel);

	if (!error) {
		error = read_refused(kernel, policy, index, &count);
		store_unlock(kernel);
	}
	*ret_count = count;
	return problem_report(kernel, diags, error);
}

static int test_one(struct kernel *kernel, const char *policy, const char *set, uint8_t key, u128 value)
{
	struct target target = { .fd = -1 };
	struct view view = { 0 };
	int error = view_read(kernel, &view);

	if (!error)
		error = find_target(kernel, &view, policy, set, key, &target);
	if (!error)
		error = setmap_covers(target.fd, target.form, value);
	close_cleanup(&target.fd);
	view_free(&view);
	return error;
}

int kernel_set_test(struct kernel *kernel, const char *policy, const char *set, uint8_t key, u128 value,
		    struct diags *diags)
{
	int answer = store_lock(kernel);

	if (!answer) {
		answer = test_one(kernel, policy, set, key, value);
		store_unlock(kernel);
	}
	return answer < 0 ? problem_report(kernel, diags, answer) : answer;
}
