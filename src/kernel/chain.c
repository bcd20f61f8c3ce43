/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: generations in force or staged; out: `after` maps and links that say the same. Program arrays stay pinned
 * as long as packets may come through them (generation.h).
 */
#include "kernel/chain.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "kernel/attach.h"

enum { CHAIN_MAX = 16 }; /* two tail calls each at most, of the kernel's 33 */

struct member {
	const struct generation *generation;
	struct place *place;
	uint32_t index;
	bool staged;
	bool linked;             /* the device has a link, pinned here: */
	const char *link_folder;
	uint32_t link_index;
};

struct members {
	struct member *items;
	size_t count;
};

static struct member *add(struct members *members, const struct generation *generation, uint32_t index, bool staged)
{
	struct member *items = reallocarray(members->items, members->count + 1, sizeof *items);

	if (!items)
		return NULL;
	members->items = items;
	items[members->count] = (struct member){.generation = generation,
						.place = &generation->record->places[index],
						.index = index,
						.staged = staged};
	return &items[members->count++];
}

/* By device, then by rank. */
static int compare(const void *a, const void *b)
{
	const struct place *left = ((const struct member *)a)->place, *right = ((const struct member *)b)->place;

	if (left->netns != right->netns)
		return left->netns < right->netns ? -1 : 1;
	if (left->ifindex != right->ifindex)
		return left->ifindex < right->ifindex ? -1 : 1;
	return left->order < right->order ? -1 : left->order > right->order;
}

static bool same_device(const struct place *a, const struct place *b)
{
	return a->netns == b->netns && a->ifindex == b->ifindex;
}

/* One past the last member of the device that begins at `from`. */
static size_t device_end(const struct members *members, size_t from)
{
	size_t end = from + 1;

	while (end < members->count && same_device(members->items[from].place, members->items[end].place))
		end++;
	return end;
}

static int open_link(const struct generation *generation, uint32_t index, struct link_state *ret_state)
{
	int error, link = pin_open(generation->folder.text, "link_%u", index);

	if (link < 0)
		return link;
	error = attach_state(&generation->record->places[index], link, ret_state);
	if (error || !ret_state->alive) {
		close(link);
		return error ? error : -ENOLINK;
	}
	return link;
}

static int set_after(struct kernel *kernel, const struct member *member, const struct member *next)
{
	const uint32_t zero = 0;
	uint32_t now = 0;
	CLEANUP_CLOSE int after = pin_open(member->generation->folder.text, "after_%u", member->index);
	CLEANUP_CLOSE int prog = -1;

	if (after < 0)
		return problem_set(kernel, after, "a pin of policy `%s` is gone", member->generation->policy);
	if (bpf_map_lookup_elem(after, &zero, &now))
		now = 0;
	if (!next) {
		if (now && bpf_map_delete_elem(after, &zero) && errno != ENOENT)
			return problem_bpf(kernel, -errno, "cannot end an XDP chain");
		return 0;
	}
	prog = pin_open(next->generation->folder.text, "prog_%u", next->index);
	if (prog < 0)
		return problem_set(kernel, prog, "a pin of policy `%s` is gone", next->generation->policy);
	if (now && now == attach_prog_id(prog))
		return 0;
	if (bpf_map_update_elem(after, &zero, &prog, BPF_ANY))
		return problem_bpf(kernel, -errno, "cannot join an XDP chain");
	return 0;
}

/* From the last to the first: whoever is reached is complete. */
static int set_afters(struct kernel *kernel, const struct member *members, size_t count)
{
	int error = 0;

	for (size_t i = count; !error && i-- > 0;)
		error = set_after(kernel, &members[i], i + 1 < count ? &members[i + 1] : NULL);
	return error;
}

static int update_head(struct kernel *kernel, const struct member *head, int link, const struct link_state *state)
{
	CLEANUP_CLOSE int prog = pin_open(head->generation->folder.text, "prog_%u", head->index);
	int error;

	if (prog < 0)
		return problem_set(kernel, prog, "a pin of policy `%s` is gone", head->generation->policy);
	if (attach_prog_id(prog) == state->prog_id)
		return 0;
	error = attach_update(kernel, head->place, link, prog);
	return error == -ENOLINK ? 0 : error;
}

/* --- settling --------------------------------------------------------------------------------------------------- */

static int collect_linked(const struct generation *generation, struct members *members)
{
	const struct record *record = generation->record;

	for (uint32_t i = 0; i < record->place_count; i++) {
		struct link_state state;
		int link;

		if (record->places[i].hook != HOOK_XDP)
			continue;
		link = open_link(generation, i, &state);
		if (link < 0)
			continue; /* the device is gone */
		close(link);
		if (!add(members, generation, i, false))
			return -ENOMEM;
	}
	return 0;
}

static int settle_device(struct kernel *kernel, const struct member *members, size_t count)
{
	struct link_state state;
	CLEANUP_CLOSE int link = open_link(members->generation, members->index, &state);
	int error = set_afters(kernel, members, count);

	if (error || link < 0)
		return error;
	return update_head(kernel, members, link, &state);
}

int chain_settle(struct kernel *kernel, const struct view *view)
{
	struct members members = { 0 };
	int error = 0;

	for (size_t i = 0; !error && i < view->count; i++)
		error = collect_linked(&view->items[i], &members);
	if (members.count)
		qsort(members.items, members.count, sizeof *members.items, compare);
	for (size_t from = 0, end; !error && from < members.count; from = end) {
		end = device_end(&members, from);
		error = settle_device(kernel, members.items + from, end - from);
	}
	free(members.items);
	return error;
}

/* --- looking ---------------------------------------------------------------------------------------------------- */

/* The id of the program that comes after that one; 0: none. */
static uint32_t next_id(uint32_t id)
{
	const uint32_t zero = 0;
	CLEANUP_CLOSE int prog = bpf_prog_get_fd_by_id(id);
	CLEANUP_CLOSE int after = prog < 0 ? -1 : prog_map(prog, "after");
	struct bpf_map_info info;
	uint32_t next;

	if (after < 0 || map_info(after, &info) || info.type != BPF_MAP_TYPE_PROG_ARRAY ||
	    bpf_map_lookup_elem(after, &zero, &next))
		return 0;
	return next;
}

bool chain_leads(uint32_t from, uint32_t to)
{
	for (int i = 0; from && from != to && i < CHAIN_MAX; i++)
		from = next_id(from);
	return from && from == to;
}

/* --- arming ----------------------------------------------------------------------------------------------------- */

/* The member that stands at an old place's rank: its successor, or itself (unchanged, or going away). */
static int add_present(struct change *change, const struct generation *old, uint32_t index, struct members *members)
{
	struct generation *successor = change_successor(change, old->policy);
	struct place *place = &old->record->places[index];
	struct place *next = successor ? change_place(successor->record, place) : NULL;
	struct link_state state;
	struct member *member;
	int link = open_link(old, index, &state);

	if (link < 0)
		return 0; /* dead: a successor begins anew */
	close(link);
	if (next) {
		next->order = place->order;
		next->how = place->how;
		member = add(members, successor, (uint32_t)(next - successor->record->places), true);
	} else {
		member = add(members, old, index, false);
	}
	if (!member)
		return -ENOMEM;
	member->linked = true;
	member->link_folder = old->folder.text;
	member->link_index = index;
	return 0;
}

static int add_new(struct change *change, struct generation *staged, struct members *members)
{
	struct record *record = staged->record;

	for (uint32_t i = 0; i < record->place_count; i++) {
		if (record->places[i].hook != HOOK_XDP || record->places[i].order)
			continue;
		record->places[i].order = ++change->next_order;
		if (!add(members, staged, i, true))
			return -ENOMEM;
	}
	return 0;
}

static int collect(struct change *change, struct members *members)
{
	int error = 0;

	for (size_t i = 0; !error && i < change->view.count; i++) {
		const struct generation *old = &change->view.items[i];

		for (uint32_t j = 0; !error && j < old->record->place_count; j++)
			if (old->record->places[j].hook == HOOK_XDP)
				error = add_present(change, old, j, members);
	}
	for (size_t i = 0; !error && i < change->install_count; i++)
		error = add_new(change, &change->staged[i], members);
	if (members->count)
		qsort(members->items, members->count, sizeof *members->items, compare);
	return error;
}

/* All programs of a device run in the same mode. */
static int check_mode(struct kernel *kernel, const struct place *place, uint32_t how)
{
	const char *asked = place->xdp_mode == XDP_NATIVE ? "native" : "generic";

	if (place->xdp_mode == XDP_ANY || (place->xdp_mode == XDP_NATIVE && how == HOW_NATIVE) ||
	    (place->xdp_mode == XDP_GENERIC && how == HOW_GENERIC))
		return 0;
	problem_set(kernel, -EBUSY, "XDP on %s runs in %s mode already, and %s was asked for", place->target,
		    attach_how_name(how), asked);
	problem_hint(kernel, "delete the policies on %s first, or leave the mode out", place->target);
	return -EBUSY;
}

static int pin_links(struct kernel *kernel, const struct member *members, size_t count, int link, uint32_t how)
{
	for (size_t i = 0; i < count; i++) {
		int error;

		if (!members[i].staged)
			continue;
		members[i].place->how = how;
		error = check_mode(kernel, members[i].place, how);
		if (!error)
			error = pin_make(kernel, link, members[i].generation->folder.text, "link_%u",
					 members[i].index);
		if (error)
			return error;
	}
	return 0;
}

static int arm_present(struct kernel *kernel, const struct member *members, size_t count, const struct member *linked)
{
	struct link_state state;
	CLEANUP_CLOSE int link = pin_open(linked->link_folder, "link_%u", linked->link_index);
	int error = link < 0 ? link : attach_state(linked->place, link, &state);

	if (!error)
		error = pin_links(kernel, members, count, link, linked->place->how);
	if (!error)
		error = set_afters(kernel, members, count);
	return error ? error : update_head(kernel, members, link, &state);
}

static int arm_new(struct kernel *kernel, const struct member *members, size_t count)
{
	CLEANUP_CLOSE int prog = pin_open(members->generation->folder.text, "prog_%u", members->index);
	CLEANUP_CLOSE int link = -1;
	int error = prog < 0 ? prog : set_afters(kernel, members, count);

	if (!error)
		error = attach_xdp_ops.attach(kernel, members->place, prog, &link);
	return error ? error : pin_links(kernel, members, count, link, members->place->how);
}

static int arm_device(struct kernel *kernel, const struct member *members, size_t count)
{
	const struct member *linked = NULL;
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		any |= members[i].staged;
		if (members[i].linked)
			linked = &members[i];
	}
	if (!any)
		return 0;
	if (count > CHAIN_MAX)
		return problem_set(kernel, -E2BIG, "more than %d policies at XDP on %s", CHAIN_MAX,
				   members->place->target);
	return linked ? arm_present(kernel, members, count, linked) : arm_new(kernel, members, count);
}

int chain_arm(struct change *change)
{
	struct members members = { 0 };
	int error = collect(change, &members);

	for (size_t from = 0, end; !error && from < members.count; from = end) {
		end = device_end(&members, from);
		error = arm_device(change->kernel, members.items + from, end - from);
	}
	free(members.items);
	return error;
}
