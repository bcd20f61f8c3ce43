/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests: conditions over dimensions. In: intervals of dimensions; out: small trees without constants inside. Both the
 * diagram and the list start from them. Fails only as the arena does.
 */
#include <stdlib.h>

#include "plan/work.h"

const struct test test_always = { .kind = TEST_AND };
const struct test test_never = { .kind = TEST_OR };

static int compare_intervals(const void *left, const void *right)
{
	const struct interval *a = left, *b = right;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return a->hi < b->hi ? -1 : a->hi > b->hi;
}

static bool is_sorted(const struct interval *intervals, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (intervals[i].lo < intervals[i - 1].lo)
			return false;
	return true;
}

/* Sorts, joins, and cuts off what lies beyond `max`. */
static size_t normalize(struct interval *intervals, size_t count, uint64_t max)
{
	size_t kept = 0;

	if (!is_sorted(intervals, count))
		qsort(intervals, count, sizeof *intervals, compare_intervals);
	for (size_t i = 0; i < count && intervals[i].lo <= max; i++) {
		struct interval *last = kept ? &intervals[kept - 1] : NULL;

		if (intervals[i].hi > max)
			intervals[i].hi = max;
		if (last && (intervals[i].lo <= last->hi || intervals[i].lo - 1 == last->hi)) {
			if (intervals[i].hi > last->hi)
				last->hi = intervals[i].hi;
		} else {
			intervals[kept++] = intervals[i];
		}
	}
	return kept;
}

const struct test *test_in(struct work *work, uint32_t dim, struct interval *intervals, size_t count)
{
	struct test *test;

	count = normalize(intervals, count, work->dims.items[dim].max);
	if (!count)
		return &test_never;
	if (intervals[0].lo == 0 && intervals[0].hi >= work->dims.items[dim].max)
		return &test_always;
	test = ARENA_NEW(work->arena, struct test);
	test->kind = TEST_IN;
	test->in.dim = dim;
	test->in.intervals = intervals;
	test->in.count = count;
	return test;
}

const struct test *test_between(struct work *work, uint32_t dim, uint64_t lo, uint64_t hi)
{
	struct interval *interval = ARENA_NEW(work->arena, struct interval);

	*interval = (struct interval){ lo, hi };
	return test_in(work, dim, interval, 1);
}

static const struct test *complement(struct work *work, const struct test *test)
{
	struct interval *gaps = ARENA_ARRAY(work->arena, struct interval, test->in.count + 1);
	uint64_t max = work->dims.items[test->in.dim].max;
	uint64_t next = 0;
	size_t count = 0;
	bool more = true;

	for (size_t i = 0; i < test->in.count; i++) {
		const struct interval *in = &test->in.intervals[i];

		if (in->lo > next)
			gaps[count++] = (struct interval){ next, in->lo - 1 };
		more = in->hi < max;
		next = in->hi + 1;
	}
	if (more)
		gaps[count++] = (struct interval){ next, max };
	return test_in(work, test->in.dim, gaps, count);
}

const struct test *test_not(struct work *work, const struct test *test)
{
	struct test *negation;

	if (test == &test_always)
		return &test_never;
	if (test == &test_never)
		return &test_always;
	if (test->kind == TEST_NOT)
		return test->inner;
	if (test->kind == TEST_IN)
		return complement(work, test);
	negation = ARENA_NEW(work->arena, struct test);
	negation->kind = TEST_NOT;
	negation->inner = test;
	return negation;
}

/* Both tests are of one dimension. */
static const struct test *intersect(struct work *work, const struct test *left, const struct test *right)
{
	struct interval *both = ARENA_ARRAY(work->arena, struct interval, left->in.count + right->in.count);
	size_t count = 0;

	for (size_t i = 0, j = 0; i < left->in.count && j < right->in.count;) {
		const struct interval *a = &left->in.intervals[i], *b = &right->in.intervals[j];
		uint64_t lo = a->lo > b->lo ? a->lo : b->lo;
		uint64_t hi = a->hi < b->hi ? a->hi : b->hi;

		if (lo <= hi)
			both[count++] = (struct interval){ lo, hi };
		if (a->hi < b->hi)
			i++;
		else
			j++;
	}
	return test_in(work, left->in.dim, both, count);
}

struct flat {
	VEC(const struct test *) items;
};

/* Appends the items, those of nested lists of the same kind instead of the lists. False: the whole is decided. */
static bool flatten(struct work *work, enum test_kind kind, const struct test *const *items, size_t count,
		    struct flat *flat)
{
	const struct test *neutral = kind == TEST_AND ? &test_always : &test_never;
	const struct test *decisive = kind == TEST_AND ? &test_never : &test_always;

	for (size_t i = 0; i < count; i++) {
		const struct test *test = items[i];

		if (test == decisive)
			return false;
		if (test == neutral)
			continue;
		if (test->kind == kind) /* lists are flat already */
			for (size_t j = 0; j < test->list.count; j++)
				VEC_PUSH(work->arena, &flat->items) = test->list.items[j];
		else
			VEC_PUSH(work->arena, &flat->items) = test;
	}
	return true;
}

/* The union of all items from `first` on that test its dimension; they become NULL. */
static const struct test *unite(struct work *work, struct flat *flat, size_t first)
{
	uint32_t dim = flat->items.items[first]->in.dim;
	VEC(struct interval) all = { 0 };

	for (size_t i = first; i < flat->items.count; i++) {
		const struct test *test = flat->items.items[i];

		if (!test || test->kind != TEST_IN || test->in.dim != dim)
			continue;
		for (size_t j = 0; j < test->in.count; j++)
			VEC_PUSH(work->arena, &all) = test->in.intervals[j];
		flat->items.items[i] = NULL;
	}
	return test_in(work, dim, all.items, all.count);
}

static const struct test *intersect_all(struct work *work, struct flat *flat, size_t first)
{
	const struct test *result = flat->items.items[first];
	uint32_t dim = result->in.dim;

	for (size_t i = first + 1; i < flat->items.count; i++) {
		const struct test *test = flat->items.items[i];

		if (!test || test->kind != TEST_IN || test->in.dim != dim)
			continue;
		flat->items.items[i] = NULL;
		result = result == &test_never ? result : intersect(work, result, test);
	}
	return result;
}

static size_t count_dims(const struct flat *flat, uint32_t dim)
{
	size_t count = 0;

	for (size_t i = 0; i < flat->items.count; i++) {
		const struct test *test = flat->items.items[i];

		count += test && test->kind == TEST_IN && test->in.dim == dim;
	}
	return count;
}

/* Joins tests of one dimension; there are few dimensions, so each is looked for once. False: the whole is decided. */
static bool merge(struct work *work, enum test_kind kind, struct flat *flat)
{
	const struct test *decisive = kind == TEST_AND ? &test_never : &test_always;

	for (size_t i = 0; i < flat->items.count; i++) {
		const struct test *test = flat->items.items[i];

		if (!test || test->kind != TEST_IN || count_dims(flat, test->in.dim) < 2)
			continue;
		test = kind == TEST_AND ? intersect_all(work, flat, i) : unite(work, flat, i);
		if (test == decisive)
			return false;
		flat->items.items[i] = test;
	}
	return true;
}

/* Map look-ups cost more than comparisons: they go last. */
static unsigned weight(const struct work *work, const struct test *test)
{
	unsigned most = 0;

	if (test->kind == TEST_IN)
		return work->dims.items[test->in.dim].kind == DIM_SET;
	if (test->kind == TEST_NOT)
		return weight(work, test->inner);
	for (size_t i = 0; i < test->list.count && !most; i++)
		most = weight(work, test->list.items[i]);
	return most;
}

static size_t compact(struct work *work, struct flat *flat)
{
	const struct test **items = ARENA_ARRAY(work->arena, const struct test *, flat->items.count);
	size_t kept = 0;

	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < flat->items.count; i++)
			if (flat->items.items[i] && weight(work, flat->items.items[i]) == pass)
				items[kept++] = flat->items.items[i];
	flat->items.items = items;
	flat->items.count = kept;
	return kept;
}

const struct test *test_join(struct work *work, enum test_kind kind, const struct test *const *items, size_t count)
{
	const struct test *neutral = kind == TEST_AND ? &test_always : &test_never;
	const struct test *decisive = kind == TEST_AND ? &test_never : &test_always;
	struct flat flat = { 0 };
	struct test *test;

	if (!flatten(work, kind, items, count, &flat) || !merge(work, kind, &flat))
		return decisive;
	if (!compact(work, &flat))
		return neutral;
	if (flat.items.count == 1)
		return flat.items.items[0];
	test = ARENA_NEW(work->arena, struct test);
	test->kind = kind;
	test->list.items = flat.items.items;
	test->list.count = flat.items.count;
	return test;
}

const struct test *test_pair(struct work *work, enum test_kind kind, const struct test *left,
			     const struct test *right)
{
	const struct test *items[] = { left, right };

	return test_join(work, kind, items, 2);
}

/* lo .. hi lies in one interval; or meets none: then *ret_none. */
static bool covers(const struct test *test, uint64_t lo, uint64_t hi, bool *ret_none)
{
	*ret_none = true;
	for (size_t i = 0; i < test->in.count; i++) {
		if (test->in.intervals[i].lo <= lo && hi <= test->in.intervals[i].hi)
			return true;
		if (test->in.intervals[i].lo <= hi && lo <= test->in.intervals[i].hi)
			*ret_none = false;
	}
	return false;
}

static const struct test *assume_list(struct work *work, const struct test *test, uint32_t dim, uint64_t lo,
				      uint64_t hi)
{
	const struct test **items = ARENA_ARRAY(work->arena, const struct test *, test->list.count);

	for (size_t i = 0; i < test->list.count; i++)
		items[i] = test_assume(work, test->list.items[i], dim, lo, hi);
	return test_join(work, test->kind, items, test->list.count);
}

const struct test *test_assume(struct work *work, const struct test *test, uint32_t dim, uint64_t lo, uint64_t hi)
{
	bool none;

	if (!test_looks_at(test, dim))
		return test;
	switch (test->kind) {
	case TEST_AND:
	case TEST_OR:
		return assume_list(work, test, dim, lo, hi);
	case TEST_NOT:
		return test_not(work, test_assume(work, test->inner, dim, lo, hi));
	case TEST_IN:
		if (covers(test, lo, hi, &none))
			return &test_always;
		return none ? &test_never : test;
	}
	return test;
}

bool test_looks_at(const struct test *test, uint32_t dim)
{
	switch (test->kind) {
	case TEST_NOT:
		return test_looks_at(test->inner, dim);
	case TEST_IN:
		return test->in.dim == dim;
	default:
		for (size_t i = 0; i < test->list.count; i++)
			if (test_looks_at(test->list.items[i], dim))
				return true;
		return false;
	}
}
