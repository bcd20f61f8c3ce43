/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Building conditions. In: fields and ranges from a front; out: nodes in the arena. Fails only as the arena does.
 */
#include <stdlib.h>

#include "ir/ir.h"

const char *const set_type_names[SET_TYPE_COUNT] = {
	[SET_ADDRESS] = "address", [SET_PREFIX] = "prefix", [SET_PORT] = "port",
	[SET_MAC] = "mac",	   [SET_MARK] = "mark",	    [SET_USER] = "user",
};

struct cond *cond_new(struct arena *arena, enum cond_kind kind, struct span span)
{
	struct cond *cond = ARENA_NEW(arena, struct cond);

	cond->kind = kind;
	cond->span = span;
	return cond;
}

struct cond *cond_not(struct arena *arena, const struct cond *inner, struct span span)
{
	struct cond *cond = cond_new(arena, COND_NOT, span);

	cond->inner = inner;
	return cond;
}

struct cond *cond_pair(struct arena *arena, enum cond_kind kind, const struct cond *left, const struct cond *right,
		       struct span span)
{
	struct cond *cond = cond_new(arena, kind, span);

	cond->list.items = ARENA_ARRAY(arena, const struct cond *, 2);
	cond->list.items[0] = left;
	cond->list.items[1] = right;
	cond->list.count = 2;
	return cond;
}

struct cond *cond_match(struct arena *arena, enum field field, u128 lo, u128 hi, struct span span)
{
	const struct range range = { lo, hi };

	return cond_match_ranges(arena, field, &range, 1, span);
}

struct cond *cond_match_ranges(struct arena *arena, enum field field, const struct range *ranges, size_t count,
			       struct span span)
{
	struct cond *cond;
	struct range *copy;

	if (!count) /* no value at all: a match needs at least one range */
		return cond_new(arena, COND_FALSE, span);
	cond = cond_new(arena, COND_MATCH, span);
	copy = arena_copy(arena, ranges, count * sizeof *ranges);
	cond->match.field = field;
	cond->match.mask = u128_max(field_table[field].bits);
	cond->match.count = ranges_normalize(copy, count);
	cond->match.ranges = copy;
	return cond;
}

static int compare_ranges(const void *left, const void *right)
{
	const struct range *a = left, *b = right;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return a->hi < b->hi ? -1 : a->hi > b->hi;
}

size_t ranges_normalize(struct range *ranges, size_t count)
{
	size_t kept = 0;

	if (count > 1)
		qsort(ranges, count, sizeof *ranges, compare_ranges);
	for (size_t i = 0; i < count; i++) {
		struct range *last = kept ? &ranges[kept - 1] : NULL;

		/* `lo - 1` cannot wrap: if lo is 0, so is the last one's, and lo <= hi holds. */
		if (last && (ranges[i].lo <= last->hi || ranges[i].lo - 1 == last->hi)) {
			if (ranges[i].hi > last->hi)
				last->hi = ranges[i].hi;
		} else {
			ranges[kept++] = ranges[i];
		}
	}
	return kept;
}
