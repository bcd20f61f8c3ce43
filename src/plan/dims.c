/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dimensions: what of a packet a policy looks at. In: conditions over fields; out: tests over numbers of at most 64
 * bits, with presence written out and what the hook fixes (its direction, fields it cannot see) folded away. IPv6
 * addresses become two halves. Fails with a diagnostic if conditions nest too deep.
 */
#include "plan/work.h"

static uint32_t find_dim(struct work *work, const struct dim *wanted)
{
	for (uint32_t i = 0; i < work->dims.count; i++) {
		const struct dim *dim = &work->dims.items[i];

		if (dim->kind == wanted->kind && dim->offset == wanted->offset && dim->size == wanted->size &&
		    dim->mask == wanted->mask && dim->set == wanted->set && dim->field == wanted->field)
			return i;
	}
	VEC_PUSH(work->arena, &work->dims) = *wanted;
	return (uint32_t)work->dims.count - 1;
}

/* Which part of a field: all of it, or one half of an IPv6 address. */
enum part { PART_ALL, PART_HI, PART_LO };

static unsigned part_bits(enum field field, enum part part)
{
	return part == PART_ALL ? field_table[field].bits : 64;
}

static uint64_t part_full(enum field field, enum part part)
{
	return (uint64_t)u128_max(part_bits(field, part));
}

/* Greatest value that the part can have, masks and absence included. */
static uint64_t part_max(enum field field, enum part part, bool masked, uint64_t mask)
{
	const struct field_info *info = &field_table[field];
	uint64_t full = part_full(field, part);

	if (masked)
		return mask;
	if (field == FIELD_FAMILY)
		return FAMILY_MAX;
	return info->presence == PRESENT_VALUE && info->absent > full ? info->absent : full;
}

static const char *part_name(struct work *work, enum field field, enum part part, bool masked, uint64_t mask)
{
	static const char *const suffix[] = { [PART_ALL] = "", [PART_HI] = ".hi", [PART_LO] = ".lo" };
	const char *name = arena_printf(work->arena, "%s%s", field_table[field].name, suffix[part]);

	return masked ? arena_printf(work->arena, "%s & 0x%llx", name, (unsigned long long)mask) : name;
}

/* `mask` within the part; all of it means no mask. */
static uint32_t value_dim(struct work *work, enum field field, enum part part, uint64_t mask)
{
	const struct field_info *info = &field_table[field];
	bool masked = mask != part_full(field, part);
	struct dim dim = {
		.kind = DIM_VALUE,
		.field = field,
		.offset = (uint8_t)(info->offset + (part == PART_LO ? 8 : 0)),
		.size = part == PART_ALL ? info->size : 8,
		.mask = masked ? mask : ~0ull,
		.max = part_max(field, part, masked, mask),
	};
	size_t known = work->dims.count;
	uint32_t index = find_dim(work, &dim);

	if (index == known)
		work->dims.items[index].name = part_name(work, field, part, masked, mask);
	return index;
}

static uint32_t set_dim(struct work *work, enum field field, uint32_t set)
{
	const struct field_info *info = &field_table[field];
	const struct plan_set *map = &work->sets.items[set];
	struct dim dim = {
		.kind = DIM_SET, .field = field, .offset = info->offset, .size = info->size,
		.mask = ~0ull,	 .max = 1,	 .set = set,
	};
	size_t known = work->dims.count;
	uint32_t index = find_dim(work, &dim);

	if (index == known)
		work->dims.items[index].name =
			arena_printf(work->arena, "%s in %s", info->name,
				     map->named < 0 ? map->map : work->ruleset->sets[map->named].name);
	return index;
}

uint32_t dims_family(struct work *work)
{
	return value_dim(work, FIELD_FAMILY, PART_ALL, part_full(FIELD_FAMILY, PART_ALL));
}

/* One bit of what the plane has compared with tunables. */
static uint32_t tuned_dim(struct work *work, const struct cond *match)
{
	static const char *const relations[] = { [RELATION_BELOW] = "<", [RELATION_EQUAL] = "==",
						 [RELATION_BELOW | RELATION_EQUAL] = "<=", [RELATION_ABOVE] = ">",
						 [RELATION_BELOW | RELATION_ABOVE] = "!=",
						 [RELATION_EQUAL | RELATION_ABOVE] = ">=" };
	uint32_t bit = match->match.comparison - 1;
	const struct comparison *comparison = &work->ruleset->comparisons[bit];
	const struct dim dim = {
		.kind = DIM_VALUE,
		.field = comparison->field,
		.offset = offsetof(struct packet, tuned),
		.size = sizeof(((struct packet *)0)->tuned),
		.mask = (uint64_t)1 << bit,
		.max = (uint64_t)1 << bit,
		.tuned = true,
	};
	size_t known = work->dims.count;
	uint32_t index = find_dim(work, &dim);

	if (index == known)
		work->dims.items[index].name =
			arena_printf(work->arena, "%s %s %s", field_table[comparison->field].name,
				     relations[comparison->relation],
				     work->ruleset->tunables[comparison->tunable].name);
	return index;
}

/* --- presence ------------------------------------------------------------------------------------------- */

/* That the field is there, as far as its value does not say so by itself. */
static const struct test *family_guard(struct work *work, enum field field)
{
	switch (field_table[field].presence) {
	case PRESENT_IP:
		return test_between(work, dims_family(work), FAMILY_IPV4, FAMILY_IPV6);
	case PRESENT_IPV4:
		return test_between(work, dims_family(work), FAMILY_IPV4, FAMILY_IPV4);
	case PRESENT_IPV6:
		return test_between(work, dims_family(work), FAMILY_IPV6, FAMILY_IPV6);
	default:
		return &test_always;
	}
}

/* That a field with an absent value is there. */
static const struct test *value_guard(struct work *work, enum field field)
{
	const struct field_info *info = &field_table[field];
	uint32_t dim;

	if (info->presence != PRESENT_VALUE)
		return &test_always;
	dim = value_dim(work, field, PART_ALL, part_full(field, PART_ALL));
	return test_not(work, test_between(work, dim, info->absent, info->absent));
}

/* --- matches -------------------------------------------------------------------------------------------- */

static bool is_prefix_mask(uint64_t mask, uint64_t full)
{
	uint64_t low = ~mask & full;

	return (low & (low + 1)) == 0;
}

/* The values v with (v & mask) in lo .. hi, for a mask of high bits. Appends at most one interval. */
static size_t widen(struct interval *intervals, size_t count, struct interval in, uint64_t mask, uint64_t full)
{
	uint64_t low = ~mask & full;

	if (in.lo & low) {
		if ((in.lo | low) == full)
			return count;
		in.lo = (in.lo | low) + 1;
	}
	in.hi = (in.hi & mask) | low;
	if (in.lo <= in.hi)
		intervals[count++] = in;
	return count;
}

static bool in_intervals(uint64_t value, const struct interval *intervals, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (value >= intervals[i].lo && value <= intervals[i].hi)
			return true;
	return false;
}

enum { ENUMERATED_MAX = 4 }; /* intervals up to which values are compared with no mask */

/* A small masked field, value by value; NULL if that makes many intervals, which cost more than another dimension. */
static const struct test *enumerate(struct work *work, enum field field, uint64_t mask,
				    const struct interval *intervals, size_t count)
{
	uint64_t full = part_full(field, PART_ALL);
	size_t most = work->exact ? full / 2 + 1 : ENUMERATED_MAX; /* every other value at most begins an interval */
	struct interval *found = ARENA_ARRAY(work->arena, struct interval, most);
	size_t found_count = 0;

	for (uint64_t value = 0; value <= full; value++) {
		if (!in_intervals(value & mask, intervals, count))
			continue;
		if (found_count && found[found_count - 1].hi + 1 == value)
			found[found_count - 1].hi = value;
		else if (found_count == most)
			return NULL;
		else
			found[found_count++] = (struct interval){ value, value };
	}
	return test_in(work, value_dim(work, field, PART_ALL, full), found, found_count);
}

/* A masked field as a dimension of its own. Presence is asked for only where the masked absent value is let in. */
static const struct test *masked_test(struct work *work, enum field field, enum part part, uint64_t mask,
				      struct interval *intervals, size_t count)
{
	const struct field_info *info = &field_table[field];
	const struct test *test = test_in(work, value_dim(work, field, part, mask), intervals, count);

	if (info->presence != PRESENT_VALUE || !in_intervals(info->absent & mask, intervals, count))
		return test;
	return test_pair(work, TEST_AND, value_guard(work, field), test);
}

/* (part & mask) in the intervals; presence apart. */
static const struct test *part_test(struct work *work, enum field field, enum part part, uint64_t mask,
				    struct interval *intervals, size_t count)
{
	uint64_t full = part_full(field, part);
	const struct test *test;
	size_t kept = 0;

	mask &= full;
	if (!mask)
		return in_intervals(0, intervals, count) ? &test_always : &test_never;
	if (is_prefix_mask(mask, full)) {
		for (size_t i = 0; i < count; i++)
			kept = widen(intervals, kept, intervals[i], mask, full);
		return test_in(work, value_dim(work, field, part, full), intervals, kept);
	}
	test = part_bits(field, part) <= 8 ? enumerate(work, field, mask, intervals, count) : NULL;
	return test ? test : masked_test(work, field, part, mask, intervals, count);
}

static const struct test *one_interval(struct work *work, enum field field, enum part part, uint64_t mask,
				       uint64_t lo, uint64_t hi)
{
	struct interval *interval = ARENA_NEW(work->arena, struct interval);

	*interval = (struct interval){ lo, hi };
	return part_test(work, field, part, mask, interval, 1);
}

/* High halves that stand under one condition on the low half. */
struct box {
	struct interval high;
	VEC(struct interval) low; /* none: any */
};

struct boxes {
	VEC(struct box) items;
	uint64_t low_max;
};

static void add_box(struct work *work, struct boxes *boxes, struct interval high, struct interval low)
{
	struct box *box = boxes->items.count ? &boxes->items.items[boxes->items.count - 1] : NULL;
	bool any = low.lo == 0 && low.hi == boxes->low_max;

	/* Ranges are sorted, so what belongs together comes together. */
	if (!box || any || !box->low.count || box->high.lo != high.lo || box->high.hi != high.hi) {
		box = &VEC_PUSH(work->arena, &boxes->items);
		box->high = high;
	}
	if (!any)
		VEC_PUSH(work->arena, &box->low) = low;
}

static void split_range(struct work *work, struct boxes *boxes, const struct range *range)
{
	uint64_t first = u128_hi(range->lo), last = u128_hi(range->hi);
	uint64_t from = u128_lo(range->lo), to = u128_lo(range->hi);
	uint64_t max = boxes->low_max;

	if (first == last) {
		add_box(work, boxes, (struct interval){ first, first }, (struct interval){ from, to });
		return;
	}
	if (from) {
		add_box(work, boxes, (struct interval){ first, first }, (struct interval){ from, max });
		first++;
	}
	if (to < max) {
		if (first < last)
			add_box(work, boxes, (struct interval){ first, last - 1 }, (struct interval){ 0, max });
		add_box(work, boxes, (struct interval){ last, last }, (struct interval){ 0, to });
	} else {
		add_box(work, boxes, (struct interval){ first, last }, (struct interval){ 0, max });
	}
}

static const struct test *box_test(struct work *work, const struct cond *match, struct box *box)
{
	enum field field = match->match.field;
	const struct test *high = one_interval(work, field, PART_HI, u128_hi(match->match.mask), box->high.lo,
					       box->high.hi);

	if (!box->low.count)
		return high;
	return test_pair(work, TEST_AND, high, part_test(work, field, PART_LO, u128_lo(match->match.mask),
							 box->low.items, box->low.count));
}

static const struct test *wide_match(struct work *work, const struct cond *match)
{
	struct boxes boxes = { .low_max = u128_lo(match->match.mask) };
	const struct test **tests;

	for (size_t i = 0; i < match->match.count; i++)
		split_range(work, &boxes, &match->match.ranges[i]);
	tests = ARENA_ARRAY(work->arena, const struct test *, boxes.items.count);
	for (size_t i = 0; i < boxes.items.count; i++)
		tests[i] = box_test(work, match, &boxes.items.items[i]);
	return test_join(work, TEST_OR, tests, boxes.items.count);
}

/* Ranges never name the absent value, but might reach over it: a cgroup or interface of 0, a user of 2^32-1. */
static size_t without_absent(struct interval *intervals, size_t count, struct interval in,
			     const struct field_info *info)
{
	uint64_t absent = info->absent;

	if (info->presence != PRESENT_VALUE || absent < in.lo || absent > in.hi) {
		intervals[count++] = in;
		return count;
	}
	if (absent > in.lo)
		intervals[count++] = (struct interval){ in.lo, absent - 1 };
	if (absent < in.hi)
		intervals[count++] = (struct interval){ absent + 1, in.hi };
	return count;
}

static const struct test *narrow_match(struct work *work, const struct cond *match)
{
	const struct field_info *info = &field_table[match->match.field];
	struct interval *intervals = ARENA_ARRAY(work->arena, struct interval, 2 * match->match.count);
	uint64_t mask = u128_lo(match->match.mask), full = part_full(match->match.field, PART_ALL);
	const struct test *guard = &test_always;
	size_t count = 0;

	for (size_t i = 0; i < match->match.count; i++) {
		struct interval in = { u128_lo(match->match.ranges[i].lo), u128_lo(match->match.ranges[i].hi) };

		if ((mask & full) == full)
			count = without_absent(intervals, count, in, info);
		else
			intervals[count++] = in;
	}
	/* Masks of high bits become intervals, which might reach over the absent value; a mask of 0 lets all in. */
	if ((mask & full) != full && (is_prefix_mask(mask & full, full) || !(mask & full)))
		guard = value_guard(work, match->match.field);
	return test_pair(work, TEST_AND, guard,
			 part_test(work, match->match.field, PART_ALL, mask, intervals, count));
}

static const struct test *direction_match(struct work *work, const struct cond *match)
{
	u128 direction = hook_table[work->hook].direction & match->match.mask;

	for (size_t i = 0; i < match->match.count; i++)
		if (direction >= match->match.ranges[i].lo && direction <= match->match.ranges[i].hi)
			return &test_always;
	return &test_never;
}

static const struct test *set_test(struct work *work, enum field field, uint32_t set)
{
	const struct field_info *info = &field_table[field];
	const struct test *guard = family_guard(work, field);

	/* An absent value that fits the field might be an element. */
	if (info->absent <= (uint64_t)u128_max(info->bits))
		guard = test_pair(work, TEST_AND, guard, value_guard(work, field));
	return test_pair(work, TEST_AND, guard, test_between(work, set_dim(work, field, set), 1, 1));
}

/* An absent value is no number that the plane has compared; that of an absent family might be. */
static const struct test *tuned_test(struct work *work, const struct cond *match)
{
	uint64_t bit = (uint64_t)1 << (match->match.comparison - 1);

	return test_pair(work, TEST_AND, family_guard(work, match->match.field),
			 test_between(work, tuned_dim(work, match), bit, bit));
}

static bool sees(const struct work *work, enum field field)
{
	return field_table[field].hooks & HOOK_BIT(work->hook);
}

static const struct test *match_condition(struct work *work, const struct cond *match)
{
	enum field field = match->match.field;
	int set;

	if (!sees(work, field))
		return &test_never;
	if (field == FIELD_DIRECTION)
		return direction_match(work, match);
	if (match->match.comparison && work->ruleset->comparison_count)
		return tuned_test(work, match);
	set = sets_inline(work, match);
	if (set >= 0)
		return set_test(work, field, (uint32_t)set);
	return test_pair(work, TEST_AND, family_guard(work, field),
			 field_table[field].bits == 128 ? wide_match(work, match) : narrow_match(work, match));
}

static const struct test *set_condition(struct work *work, const struct cond *cond)
{
	uint32_t set = work->named_sets[cond->set.set];

	if (!sees(work, cond->set.field))
		return &test_never;
	return set_test(work, cond->set.field, field_table[cond->set.field].bits == 128 ? set + 1 : set);
}

/* --- conditions ----------------------------------------------------------------------------------------- */

static const struct test *condition(struct work *work, const struct cond *cond, unsigned depth);

static const struct test *list_condition(struct work *work, const struct cond *cond, unsigned depth)
{
	const struct test **items = ARENA_ARRAY(work->arena, const struct test *, cond->list.count);

	for (size_t i = 0; i < cond->list.count; i++)
		if (!(items[i] = condition(work, cond->list.items[i], depth + 1)))
			return NULL;
	return test_join(work, cond->kind == COND_AND ? TEST_AND : TEST_OR, items, cond->list.count);
}

static const struct test *condition(struct work *work, const struct cond *cond, unsigned depth)
{
	const struct test *inner;

	if (depth > PLAN_DEPTH_MAX) {
		diag_error(work->diags, cond->span, "the condition nests deeper than %d", PLAN_DEPTH_MAX);
		return NULL;
	}
	switch (cond->kind) {
	case COND_TRUE:
		return &test_always;
	case COND_FALSE:
		return &test_never;
	case COND_AND:
	case COND_OR:
		return list_condition(work, cond, depth);
	case COND_NOT:
		inner = condition(work, cond->inner, depth + 1);
		return inner ? test_not(work, inner) : NULL;
	case COND_MATCH:
		return match_condition(work, cond);
	case COND_SET:
		return set_condition(work, cond);
	}
	return NULL;
}

const struct test *dims_condition(struct work *work, const struct cond *cond)
{
	return cond ? condition(work, cond, 0) : &test_always;
}
