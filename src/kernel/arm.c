/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arming a change. In: staged generations; out: every link runs a staged program, which until the commit calls
 * its predecessor; what cannot be updated, or goes away, is told its last epoch. Nothing changes for packets.
 * Whatever fails or is killed here, recover.c undoes.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/attach.h"
#include "kernel/chain.h"
#include "kernel/object.h"

int control_set(const char *folder, uint32_t index, uint64_t until)
{
	CLEANUP_CLOSE int fd = pin_open(folder, "control_%u", index);
	struct plane_control *control;

	if (fd < 0)
		return fd;
	control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED)
		return -errno;
	__atomic_store_n(&control->until, until, __ATOMIC_SEQ_CST);
	munmap(control, sizeof *control);
	return 0;
}

bool change_removes(const struct change *change, const char *policy)
{
	for (size_t i = 0; i < change->removal_count; i++)
		if (!strcmp(change->removals[i], policy))
			return true;
	return false;
}

struct generation *change_successor(const struct change *change, const char *policy)
{
	for (size_t i = 0; i < change->install_count; i++)
		if (!strcmp(change->installs[i].policy, policy))
			return &change->staged[i];
	return NULL;
}

struct place *change_place(const struct record *record, const struct place *place)
{
	for (uint32_t i = 0; i < record->place_count; i++)
		if (place_same(&record->places[i], place))
			return (struct place *)&record->places[i];
	return NULL;
}

/* One staged place, and the present generation's same place if it has one that is alive. */
struct pair {
	struct generation *staged;
	uint32_t index;
	struct place *place;
	const struct generation *old;
	uint32_t old_index;
	struct place *old_place; /* NULL: none */
	int old_link;            /* owned; -1 */
	int prog;                /* owned */
};

static void pair_close(struct pair *pair)
{
	close_cleanup(&pair->old_link);
	close_cleanup(&pair->prog);
}

static void find_old(const struct change *change, struct pair *pair)
{
	const struct generation *old = view_find(&change->view, pair->staged->policy);
	struct place *place = old ? change_place(old->record, pair->place) : NULL;
	struct link_state state;

	if (!place || place->how == HOW_NONE)
		return;
	pair->old_index = (uint32_t)(place - old->record->places);
	if (place->how != HOW_CLSACT) {
		pair->old_link = pin_open(old->folder.text, "link_%u", pair->old_index);
		if (pair->old_link < 0 || attach_state(place, pair->old_link, &state) || !state.alive)
			return;
	}
	pair->old = old;
	pair->old_place = place;
}

static int set_before(struct kernel *kernel, const struct pair *pair)
{
	const uint32_t zero = 0;
	CLEANUP_CLOSE int before = pin_open(pair->staged->folder.text, "before_%u", pair->index);
	CLEANUP_CLOSE int prog = pin_open(pair->old->folder.text, "prog_%u", pair->old_index);

	if (before < 0 || prog < 0)
		return problem_set(kernel, before < 0 ? before : prog, "a pin of policy `%s` is gone",
				   pair->old->policy);
	if (bpf_map_update_elem(before, &zero, &prog, BPF_ANY))
		return problem_bpf(kernel, -errno, "cannot join the new program to the present one");
	return 0;
}

/* The present link is pinned in the stage too, then given the staged program. */
static int take_over(struct kernel *kernel, const struct pair *pair)
{
	struct place *place = pair->place;
	int error = 0;

	place->how = pair->old_place->how;
	place->handle = pair->old_place->handle;
	place->priority = pair->old_place->priority;
	if (pair->old_link >= 0)
		error = pin_make(kernel, pair->old_link, pair->staged->folder.text, "link_%u", pair->index);
	if (!error)
		error = blob_update(pair->staged->folder.text, "record", pair->staged->record);
	return error ? error : attach_update(kernel, place, pair->old_link, pair->prog);
}

static int attach_new(struct kernel *kernel, const struct pair *pair)
{
	CLEANUP_CLOSE int link = -1;
	int error = attach_ops(pair->place->hook)->attach(kernel, pair->place, pair->prog, &link);

	if (!error && link >= 0)
		error = pin_make(kernel, link, pair->staged->folder.text, "link_%u", pair->index);
	return error ? error : blob_update(pair->staged->folder.text, "record", pair->staged->record);
}

static int64_t netfilter_priority(const struct place *place)
{
	return (int64_t)place->priority + place->handle;
}

/* See attach_netfilter.c. Without room above, the old one goes on until recover.c tells it, after the commit. */
static int arm_netfilter(const struct change *change, struct pair *pair)
{
	int error;

	if (pair->old_place && pair->old_place->priority == pair->place->priority)
		pair->place->handle = pair->old_place->handle + 1;
	error = attach_new(change->kernel, pair);
	if (error || !pair->old_place || netfilter_priority(pair->place) < netfilter_priority(pair->old_place))
		return error;
	return control_set(pair->old->folder.text, pair->old_index, change->since);
}

static int arm_pair(const struct change *change, struct pair *pair)
{
	int error;

	pair->prog = pin_open(pair->staged->folder.text, "prog_%u", pair->index);
	if (pair->prog < 0)
		return pair->prog;
	find_old(change, pair);
	if (hook_is_netfilter(pair->place->hook))
		return arm_netfilter(change, pair);
	error = pair->old_place ? set_before(change->kernel, pair) : 0;
	if (error || pair->place->hook == HOOK_XDP)
		return error; /* its link belongs to the chain */
	return pair->old_place ? take_over(change->kernel, pair) : attach_new(change->kernel, pair);
}

static int arm_generation(const struct change *change, struct generation *staged)
{
	for (uint32_t i = 0; i < staged->record->place_count; i++) {
		struct pair pair = { .staged = staged, .index = i, .place = &staged->record->places[i],
				     .old_link = -1, .prog = -1 };
		int error = arm_pair(change, &pair);

		pair_close(&pair);
		if (error)
			return error;
	}
	return 0;
}

/* Places that nobody takes over are told their last epoch. */
static int end_places(const struct change *change, const struct generation *old)
{
	const struct generation *successor = change_successor(change, old->policy);

	if (!successor && !change_removes(change, old->policy))
		return 0;
	for (uint32_t i = 0; i < old->record->place_count; i++) {
		int error;

		if (successor && change_place(successor->record, &old->record->places[i]))
			continue;
		error = control_set(old->folder.text, i, change->since);
		if (error)
			return problem_set(change->kernel, error, "a pin of policy `%s` is gone", old->policy);
	}
	return 0;
}

static int save_records(const struct change *change)
{
	for (size_t i = 0; i < change->install_count; i++) {
		int error = blob_update(change->staged[i].folder.text, "record", change->staged[i].record);

		if (error)
			return error;
	}
	return 0;
}

int arm(struct change *change)
{
	int error = 0;

	for (size_t i = 0; !error && i < change->install_count; i++)
		error = arm_generation(change, &change->staged[i]);
	if (!error)
		error = chain_arm(change);
	for (size_t i = 0; !error && i < change->view.count; i++)
		error = end_places(change, &change->view.items[i]);
	return error ? error : save_records(change);
}
