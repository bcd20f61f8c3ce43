/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What need not be compared. In: two rule sets; out: the rules that may matter. Rules that both have in the same order
 * are partners; a packet that meets only such rules is decided alike. So only packets that meet a rule without a
 * partner can be decided differently, and partners that none of those packets can meet are left out. What cannot be
 * told at a glance is kept, so that the result is exact.
 */
#include <string.h>

#include "plan/diff_work.h"

enum {
	LOOK_AHEAD = 48, /* rules that may have been added or deleted in one place */
	LONERS_MAX = 256, /* rules without a partner beyond which all rules are kept */
};

struct region {
	struct arena *arena;
	const struct ruleset *sides[DIFF_SIDES];
	bool *keep[DIFF_SIDES]; /* by rule number */
	uint8_t *same_chains;   /* by old chain, new chain: 0 not known, 1 different, 2 equal */
	VEC(const struct rule *) loners;
	VEC(const struct rule *) partners[DIFF_SIDES];
};

/* --- equality --------------------------------------------------------------------------------------------------- */

static bool same_ranges(const struct range *a, size_t a_count, const struct range *b, size_t b_count)
{
	return a_count == b_count && (!a_count || !memcmp(a, b, a_count * sizeof *a));
}

bool diff_same_set(const struct set *a, const struct set *b)
{
	return a->type == b->type && !strcmp(a->name, b->name) &&
	       same_ranges(a->ranges, a->count, b->ranges, b->count) &&
	       same_ranges(a->ranges6, a->count6, b->ranges6, b->count6);
}

static bool same_field(const struct region *region, enum field old, enum field new)
{
	bool cgroup = old >= FIELD_CGROUP_0 && old <= FIELD_CGROUP_2 && new >= FIELD_CGROUP_0 && new <= FIELD_CGROUP_2;

	if (!cgroup)
		return old == new;
	return region->sides[DIFF_OLD]->cgroup_levels[old - FIELD_CGROUP_0] ==
	       region->sides[DIFF_NEW]->cgroup_levels[new - FIELD_CGROUP_0];
}

static bool same_cond(const struct region *region, const struct cond *old, const struct cond *new);

static bool same_lists(const struct region *region, const struct cond *old, const struct cond *new)
{
	if (old->list.count != new->list.count)
		return false;
	for (size_t i = 0; i < old->list.count; i++)
		if (!same_cond(region, old->list.items[i], new->list.items[i]))
			return false;
	return true;
}

static bool same_cond(const struct region *region, const struct cond *old, const struct cond *new)
{
	if (!old || !new || old->kind != new->kind)
		return old == new;
	switch (old->kind) {
	case COND_AND:
	case COND_OR:
		return same_lists(region, old, new);
	case COND_NOT:
		return same_cond(region, old->inner, new->inner);
	case COND_MATCH:
		return same_field(region, old->match.field, new->match.field) && old->match.mask == new->match.mask &&
		       same_ranges(old->match.ranges, old->match.count, new->match.ranges, new->match.count);
	case COND_SET:
		return same_field(region, old->set.field, new->set.field) &&
		       diff_same_set(&region->sides[DIFF_OLD]->sets[old->set.set],
				     &region->sides[DIFF_NEW]->sets[new->set.set]);
	default:
		return true;
	}
}

static bool same_chain(struct region *region, uint32_t old, uint32_t new);

static bool same_rate(const struct rule *old, const struct rule *new)
{
	const struct rate *a = rule_rate(old), *b = rule_rate(new);

	return a && b ? rate_equal(a, b) : a == b;
}

static bool same_rule(struct region *region, const struct rule *old, const struct rule *new)
{
	const struct action *a = rule_terminal(old), *b = rule_terminal(new);

	if (!a || !b || a->kind != b->kind || old->names_link != new->names_link)
		return false;
	if (a->kind == ACTION_VERDICT && a->verdict != b->verdict)
		return false;
	if (!same_cond(region, old->cond, new->cond) || !same_rate(old, new))
		return false;
	return (a->kind != ACTION_JUMP && a->kind != ACTION_GOTO) || same_chain(region, a->chain, b->chain);
}

/* All rules, also those that decide nothing: few are different in just that. */
static bool compare_chains(struct region *region, const struct chain *old, const struct chain *new)
{
	if (old->rule_count != new->rule_count)
		return false;
	for (size_t i = 0; i < old->rule_count; i++) {
		bool deciding = rule_terminal(&old->rules[i]) || rule_terminal(&new->rules[i]);

		if (deciding && !same_rule(region, &old->rules[i], &new->rules[i]))
			return false;
	}
	return true;
}

/* Chains do not jump in circles. */
static bool same_chain(struct region *region, uint32_t old, uint32_t new)
{
	const struct ruleset *news = region->sides[DIFF_NEW];
	uint8_t *known = &region->same_chains[old * news->chain_count + new];

	if (!*known)
		*known = 1 + compare_chains(region, &region->sides[DIFF_OLD]->chains[old], &news->chains[new]);
	return *known == 2;
}

/* --- partners --------------------------------------------------------------------------------------------------- */

/* The rules of the main chain that lead anywhere. */
struct deciders {
	VEC(const struct rule *) rules;
};

static struct deciders deciders_of(struct arena *arena, const struct ruleset *ruleset)
{
	struct deciders deciders = { 0 };

	for (size_t i = 0; i < ruleset->chains[0].rule_count; i++)
		if (rule_terminal(&ruleset->chains[0].rules[i]))
			VEC_PUSH(arena, &deciders.rules) = &ruleset->chains[0].rules[i];
	return deciders;
}

/* How many rules to skip on either side to meet equal ones again; false: not in sight. */
static bool look_ahead(struct region *region, const struct deciders *old, size_t at, const struct deciders *new,
		       size_t new_at, size_t *ret_skip)
{
	for (size_t distance = 1; distance <= LOOK_AHEAD; distance++)
		for (size_t skip = 0; skip <= distance; skip++) {
			size_t a = at + skip, b = new_at + distance - skip;

			if (a >= old->rules.count || b >= new->rules.count ||
			    !same_rule(region, old->rules.items[a], new->rules.items[b]))
				continue;
			ret_skip[DIFF_OLD] = skip;
			ret_skip[DIFF_NEW] = distance - skip;
			return true;
		}
	return false;
}

static void add_loners(struct region *region, const struct deciders *from, size_t at, size_t count)
{
	for (size_t i = at; i < at + count && i < from->rules.count; i++)
		VEC_PUSH(region->arena, &region->loners) = from->rules.items[i];
}

static void find_partners(struct region *region)
{
	struct deciders old = deciders_of(region->arena, region->sides[DIFF_OLD]);
	struct deciders new = deciders_of(region->arena, region->sides[DIFF_NEW]);
	size_t a = 0, b = 0;

	while (a < old.rules.count && b < new.rules.count && region->loners.count <= LONERS_MAX) {
		size_t skip[DIFF_SIDES] = { 1, 1 };

		if (same_rule(region, old.rules.items[a], new.rules.items[b])) {
			VEC_PUSH(region->arena, &region->partners[DIFF_OLD]) = old.rules.items[a++];
			VEC_PUSH(region->arena, &region->partners[DIFF_NEW]) = new.rules.items[b++];
			continue;
		}
		look_ahead(region, &old, a, &new, b, skip);
		add_loners(region, &old, a, skip[DIFF_OLD]);
		add_loners(region, &new, b, skip[DIFF_NEW]);
		a += skip[DIFF_OLD];
		b += skip[DIFF_NEW];
	}
	add_loners(region, &old, a, LONERS_MAX + 1);
	add_loners(region, &new, b, LONERS_MAX + 1);
}

/* --- disjoint at a glance --------------------------------------------------------------------------------------- */

static bool ranges_apart(const struct cond *a, const struct cond *b)
{
	for (size_t i = 0, j = 0; i < a->match.count && j < b->match.count;) {
		const struct range *left = &a->match.ranges[i], *right = &b->match.ranges[j];

		if (left->lo <= right->hi && right->lo <= left->hi)
			return false;
		if (left->hi < right->lo)
			i++;
		else
			j++;
	}
	return true;
}

static unsigned family_of(enum field field)
{
	if (field_table[field].presence == PRESENT_IPV4)
		return FAMILY_IPV4;
	return field_table[field].presence == PRESENT_IPV6 ? FAMILY_IPV6 : 0;
}

static bool matches_apart(const struct cond *a, const struct cond *b)
{
	unsigned left = family_of(a->match.field), right = family_of(b->match.field);

	if (left && right && left != right)
		return true;
	/* cgroup slots of the two sides may be of different levels */
	return a->match.field == b->match.field && !field_table[a->match.field].owner &&
	       a->match.mask == b->match.mask && ranges_apart(a, b);
}

static bool apart(const struct cond *a, const struct cond *b)
{
	const struct cond *list = a->kind == COND_AND || a->kind == COND_OR ? a :
				  b->kind == COND_AND || b->kind == COND_OR ? b : NULL;
	const struct cond *other = list == a ? b : a;

	if (a->kind == COND_FALSE || b->kind == COND_FALSE)
		return true;
	if (!list)
		return a->kind == COND_MATCH && b->kind == COND_MATCH && matches_apart(a, b);
	for (size_t i = 0; i < list->list.count; i++)
		if (apart(list->list.items[i], other) == (list->kind == COND_AND))
			return list->kind == COND_AND;
	return list->kind == COND_OR;
}

static bool matters(const struct region *region, const struct rule *partner)
{
	for (size_t i = 0; i < region->loners.count; i++) {
		const struct rule *loner = region->loners.items[i];

		if (!partner->cond || !loner->cond || !apart(partner->cond, loner->cond))
			return true;
	}
	return false;
}

static void drop_partners(struct region *region)
{
	for (size_t i = 0; i < region->partners[DIFF_OLD].count; i++) {
		if (matters(region, region->partners[DIFF_OLD].items[i]))
			continue;
		for (unsigned side = 0; side < DIFF_SIDES; side++)
			region->keep[side][region->partners[side].items[i]->number] = false;
	}
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

/* Rules that only count, log or mark decide nothing. */
static void keep_deciders(struct region *region)
{
	for (unsigned side = 0; side < DIFF_SIDES; side++) {
		const struct ruleset *ruleset = region->sides[side];

		region->keep[side] = ARENA_ARRAY(region->arena, bool, ruleset->rule_count + 1);
		for (size_t i = 0; i < ruleset->chain_count; i++)
			for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
				region->keep[side][ruleset->chains[i].rules[j].number] =
					rule_terminal(&ruleset->chains[i].rules[j]);
	}
}

void diff_region(struct arena *arena, const struct ruleset *const *sides, bool **ret_keep)
{
	const struct ruleset *old = sides[DIFF_OLD], *new = sides[DIFF_NEW];
	struct region region = { .arena = arena, .sides = { old, new } };

	keep_deciders(&region);
	ret_keep[DIFF_OLD] = region.keep[DIFF_OLD];
	ret_keep[DIFF_NEW] = region.keep[DIFF_NEW];
	if (old->default_verdict != new->default_verdict || old->non_ip_accept != new->non_ip_accept)
		return;
	region.same_chains = ARENA_ARRAY(arena, uint8_t, old->chain_count * new->chain_count);
	find_partners(&region);
	if (region.loners.count <= LONERS_MAX)
		drop_partners(&region);
}
