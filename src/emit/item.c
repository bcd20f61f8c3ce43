/* SPDX-License-Identifier: GPL-2.0-only */
/* A list as blocks: item i is block i, its test short-circuited; each value is loaded anew, for a linear verifier. */
#include <stdlib.h>

#include "emit/blocks.h"

static int by_resume(const void *left, const void *right)
{
	const struct start *a = left, *b = right;

	return (a->resume > b->resume) - (a->resume < b->resume);
}

void blocks_from_list(struct arena *arena, const struct plan *plan, struct blocks *ret_blocks)
{
	VEC(struct start) starts = { 0 };

	VEC_PUSH(arena, &starts) = (struct start){ 0, 0 };
	for (size_t i = 0; i < plan->item_count; i++)
		if (plan->items[i].resume)
			VEC_PUSH(arena, &starts) = (struct start){ plan->items[i].resume, (uint32_t)i };
	qsort(starts.items, starts.count, sizeof *starts.items, by_resume);
	*ret_blocks = (struct blocks){ .plan = plan, .count = (uint32_t)plan->item_count, .starts = starts.items,
				       .start_count = starts.count };
}

/* --- cost ---------------------------------------------------------------------------------------- */

static void add_test(const struct plan *plan, const struct test *test, unsigned depth, struct block_cost *cost)
{
	if (depth > TEST_DEPTH_MAX)
		cost->insns = SIZE_MAX;
	if (cost->insns == SIZE_MAX)
		return;
	switch (test->kind) {
	case TEST_AND:
	case TEST_OR:
		for (size_t i = 0; i < test->list.count; i++)
			add_test(plan, test->list.items[i], depth + 1, cost);
		break;
	case TEST_NOT:
		add_test(plan, test->inner, depth + 1, cost);
		break;
	case TEST_IN:
		cost->insns += plan->dims[test->in.dim].kind == DIM_SET ? LOOKUP_INSNS :
			       search_insns(2 * test->in.count + 1);
		cost->branches += 2 * test->in.count < 24 ? 2 * test->in.count : 24;
		break;
	}
}

struct block_cost item_cost(const struct blocks *blocks, uint32_t block)
{
	struct block_cost cost = { .insns = 4, .branches = 1 };

	if (blocks->plan->items[block].test)
		add_test(blocks->plan, blocks->plan->items[block].test, 0, &cost);
	return cost;
}

static void count_lookups(const struct plan *plan, const struct test *test, uint32_t *counts)
{
	switch (test->kind) {
	case TEST_AND:
	case TEST_OR:
		for (size_t i = 0; i < test->list.count; i++)
			count_lookups(plan, test->list.items[i], counts);
		break;
	case TEST_NOT:
		count_lookups(plan, test->inner, counts);
		break;
	case TEST_IN:
		counts[test->in.dim] += plan->dims[test->in.dim].kind == DIM_SET;
		break;
	}
}

/* Depth was limited by item_cost(), as for the functions below. */
void item_count_lookups(const struct blocks *blocks, uint32_t block, uint32_t *counts)
{
	if (blocks->plan->items[block].test)
		count_lookups(blocks->plan, blocks->plan->items[block].test, counts);
}

/* --- code ---------------------------------------------------------------------------------------- */

/* The intervals of a test as edges that cover everything. */
static size_t fill_edges(const struct test *test, uint64_t max, label yes, label no, struct edge *edges)
{
	uint64_t from = 0;
	size_t count = 0;

	for (size_t i = 0; i < test->in.count; i++) {
		const struct interval *interval = &test->in.intervals[i];

		if (interval->lo > from)
			edges[count++] = (struct edge){ interval->lo - 1, no };
		edges[count++] = (struct edge){ interval->hi, yes };
		from = interval->hi + 1;
	}
	if (edges[count - 1].last < max)
		edges[count++] = (struct edge){ max, no };
	return count;
}

static void put_in(const struct plan *plan, struct buffer *buffer, const struct test *test, label yes, label no,
		   label next)
{
	const struct dim *dim = &plan->dims[test->in.dim];
	struct edge *edges = ARENA_ARRAY(buffer->arena, struct edge, 2 * test->in.count + 1);
	size_t count = fill_edges(test, dim->max, yes, no, edges);

	if (dim->kind == DIM_SET) {
		emit_lookup(buffer, plan, dim, edges[0].to, edges[count - 1].to, next);
		return;
	}
	if (count > 1)
		emit_load(buffer, dim);
	emit_search(buffer, dim_is_wide(dim), 0, edges, count, next);
}

static void put_test(const struct plan *plan, struct buffer *buffer, const struct test *test, label yes, label no,
		     label next);

/* All but the last go on at the following one when they do not decide. */
static void put_test_list(const struct plan *plan, struct buffer *buffer, const struct test *test, label yes,
			  label no, label next)
{
	size_t last = test->list.count - 1;

	for (size_t i = 0; i < last; i++) {
		label after = label_new(buffer);

		put_test(plan, buffer, test->list.items[i], test->kind == TEST_AND ? after : yes,
			 test->kind == TEST_AND ? no : after, after);
		if (!label_reached(buffer, after))
			return; /* a test that always holds, or never */
		label_bind(buffer, after);
	}
	put_test(plan, buffer, test->list.items[last], yes, no, next);
}

static void put_test(const struct plan *plan, struct buffer *buffer, const struct test *test, label yes, label no,
		     label next)
{
	switch (test->kind) {
	case TEST_AND:
	case TEST_OR:
		put_test_list(plan, buffer, test, yes, no, next);
		break;
	case TEST_NOT:
		put_test(plan, buffer, test->inner, no, yes, next);
		break;
	case TEST_IN:
		put_in(plan, buffer, test, yes, no, next);
		break;
	}
}

void item_put(const struct blocks *blocks, struct buffer *buffer, uint32_t block, label next)
{
	const struct list_item *item = &blocks->plan->items[block];
	label yes = item->answers ? answer_label(item->answer) : block_label(buffer, item->target);
	label no = block_label(buffer, block + 1);

	buffer->rule = item->rule;
	if (item->test && yes != no)
		put_test(blocks->plan, buffer, item->test, yes, no, next);
	else
		emit_goto(buffer, yes, next);
	buffer->rule = 0;
}
