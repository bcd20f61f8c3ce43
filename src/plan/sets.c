/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sets: which maps a plan has. In: the rule set's named sets, and matches with many constants; out: work.sets, whose
 * elements are prefixes for LPM tries. Fails only as the arena does.
 */
#include <stdio.h>

#include "plan/work.h"

enum { INLINE_VALUES_MAX = 1 << 20 }; /* single values that one hash of constants may hold */

static const struct set_kind {
	bool address; /* has an IPv4 and an IPv6 map */
	bool lpm;
} set_kinds[SET_TYPE_COUNT] = {
	[SET_ADDRESS] = { .address = true },
	[SET_PREFIX] = { .address = true, .lpm = true },
};

/* --- prefixes ------------------------------------------------------------------------------------------- */

/* The last value of the widest prefix that begins at `from` and ends at `to` or before. */
static u128 prefix_end(u128 from, u128 to)
{
	u128 low = 0;

	while (low != ~(u128)0) {
		u128 wider = low << 1 | 1;

		if ((from & wider) || (from | wider) > to)
			break;
		low = wider;
	}
	return from | low;
}

struct prefixes {
	VEC(struct range) items;
};

static void split_range(struct arena *arena, struct prefixes *prefixes, struct range range)
{
	for (;;) {
		u128 end = prefix_end(range.lo, range.hi);

		VEC_PUSH(arena, &prefixes->items) = (struct range){ range.lo, end };
		if (end == range.hi)
			return;
		range.lo = end + 1;
	}
}

static size_t count_prefixes(const struct range *ranges, size_t count, size_t most)
{
	size_t prefixes = 0;

	for (size_t i = 0; i < count && prefixes <= most; i++)
		for (u128 from = ranges[i].lo;; from++) {
			prefixes++;
			from = prefix_end(from, ranges[i].hi);
			if (from == ranges[i].hi)
				break;
		}
	return prefixes;
}

/* Points the map at the ranges, which are split into prefixes where they are none. */
static void fill(struct work *work, struct plan_set *set, const struct range *ranges, size_t count)
{
	struct prefixes prefixes = { 0 };

	set->elements = ranges;
	set->count = count;
	if (!set->lpm || count_prefixes(ranges, count, count) == count)
		return;
	for (size_t i = 0; i < count; i++)
		split_range(work->arena, &prefixes, ranges[i]);
	set->elements = prefixes.items.items;
	set->count = prefixes.items.count;
}

/* --- named sets ----------------------------------------------------------------------------------------- */

static void add_map(struct work *work, uint32_t index, enum set_key key)
{
	static const char suffix[] = { [KEY_IPV4] = '4', [KEY_IPV6] = '6', [KEY_VALUE] = 'v' };
	const struct set *set = &work->ruleset->sets[index];
	struct plan_set map = {
		.named = (int32_t)index,
		.key = key,
		.lpm = set_kinds[set->type].lpm,
		.timed = set->timed,
		.max_elements = set->max_elements,
		.timeouts = key == KEY_IPV6 ? set->timeouts6 : set->timeouts, /* fill() keeps prefixes as they are */
	};

	snprintf(map.map, sizeof map.map, "set_%u_%c", index, suffix[key]);
	if (key == KEY_IPV6)
		fill(work, &map, set->ranges6, set->count6);
	else
		fill(work, &map, set->ranges, set->count);
	if (map.lpm && map.count > map.max_elements)
		map.max_elements = (uint32_t)map.count;
	VEC_PUSH(work->arena, &work->sets) = map;
}

void sets_collect(struct work *work)
{
	work->named_sets = ARENA_ARRAY(work->arena, uint32_t, work->ruleset->set_count);
	for (uint32_t i = 0; i < work->ruleset->set_count; i++) {
		work->named_sets[i] = (uint32_t)work->sets.count;
		if (set_kinds[work->ruleset->sets[i].type].address) {
			add_map(work, i, KEY_IPV4);
			add_map(work, i, KEY_IPV6);
		} else {
			add_map(work, i, KEY_VALUE);
		}
	}
}

void plan_sets(struct arena *arena, const struct ruleset *ruleset, const struct plan_set **ret_sets, size_t *ret_count)
{
	struct work work = { .arena = arena, .ruleset = ruleset };

	sets_collect(&work);
	*ret_sets = work.sets.items;
	*ret_count = work.sets.count;
}

/* --- constants of a rule -------------------------------------------------------------------------------- */

static enum set_key key_of(enum field field)
{
	if (field_table[field].form == FORM_IPV4)
		return KEY_IPV4;
	return field_table[field].form == FORM_IPV6 ? KEY_IPV6 : KEY_VALUE;
}

/* How many values the ranges hold, or something greater than `most`. */
static size_t count_values(const struct range *ranges, size_t count, size_t most)
{
	size_t values = 0;

	for (size_t i = 0; i < count; i++) {
		u128 width = ranges[i].hi - ranges[i].lo;

		if (width >= most - values)
			return most + 1;
		values += (size_t)width + 1;
	}
	return values;
}

static bool same_elements(const struct plan_set *set, const struct range *ranges, size_t count)
{
	if (set->count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (set->elements[i].lo != ranges[i].lo || set->elements[i].hi != ranges[i].hi)
			return false;
	return true;
}

static int add_inline(struct work *work, struct plan_set *map, const struct cond *match, size_t elements)
{
	unsigned inlined = 0;

	fill(work, map, match->match.ranges, match->match.count);
	for (size_t i = 0; i < work->sets.count; i++) {
		const struct plan_set *other = &work->sets.items[i];

		if (other->named >= 0)
			continue;
		if (other->key == map->key && other->lpm == map->lpm &&
		    same_elements(other, map->elements, map->count))
			return (int)i;
		inlined++;
	}
	if (work->sets.count >= PLAN_INLINE_MAPS_MAX)
		return -1;
	snprintf(map->map, sizeof map->map, "inline_%u", inlined);
	map->max_elements = (uint32_t)elements;
	VEC_PUSH(work->arena, &work->sets) = *map;
	return (int)work->sets.count - 1;
}

int sets_inline(struct work *work, const struct cond *match)
{
	const struct field_info *info = &field_table[match->match.field];
	size_t least = work->options.inline_set_min;
	size_t least_lpm = work->for_list ? least : least * (PLAN_INLINE_LPM_MIN / PLAN_INLINE_SET_MIN);
	bool few_values = work->for_list && info->bits <= 16; /* any ranges of ports fit a hash */
	struct plan_set map = { .named = -1, .key = key_of(match->match.field) };
	size_t count = match->match.count, values, prefixes;

	if (match->match.mask != u128_max(info->bits) || info->bits < 16)
		return -1;
	values = count_values(match->match.ranges, count, INLINE_VALUES_MAX);
	/* Where nearly all are single values; a few wide ranges are better compared. */
	if (values >= least && count >= least / 2 && (values <= 2 * count || few_values))
		return add_inline(work, &map, match, values);
	if (map.key == KEY_VALUE || count < least_lpm)
		return -1;
	prefixes = count_prefixes(match->match.ranges, count, INLINE_VALUES_MAX);
	if (prefixes > INLINE_VALUES_MAX)
		return -1;
	map.lpm = true;
	return add_inline(work, &map, match, prefixes);
}

bool set_contains(const struct plan_set *set, u128 value)
{
	size_t first = 0, last = set->count;

	while (first < last) {
		size_t middle = first + (last - first) / 2;

		if (value > set->elements[middle].hi)
			first = middle + 1;
		else if (value < set->elements[middle].lo)
			last = middle;
		else
			return true;
	}
	return false;
}
