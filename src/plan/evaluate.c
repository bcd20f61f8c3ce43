/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Evaluation: walks a plan as the emitted code would. In: a plan and a packet; out: what classify() returns. Sets
 * hold what they held at first. Cannot fail.
 */
#include <string.h>

#include "plan/table.h"

static uint64_t load(const struct packet *packet, unsigned offset, unsigned size)
{
	const unsigned char *at = (const unsigned char *)packet + offset;
	uint64_t wide;
	uint32_t word;
	uint16_t half;

	switch (size) {
	case 1:
		return *at;
	case 2:
		memcpy(&half, at, sizeof half);
		return half;
	case 4:
		memcpy(&word, at, sizeof word);
		return word;
	default:
		memcpy(&wide, at, sizeof wide);
		return wide;
	}
}

static uint64_t dim_value(const struct plan *plan, uint32_t index, const struct packet *packet)
{
	const struct dim *dim = &plan->dims[index];
	u128 value;

	if (dim->kind == DIM_VALUE)
		return load(packet, dim->offset, dim->size) & dim->mask;
	value = dim->size == 16 ? u128_make(load(packet, dim->offset, 8), load(packet, dim->offset + 8u, 8)) :
				  load(packet, dim->offset, dim->size);
	return set_contains(&plan->sets[dim->set], value);
}

static diagram_ref follow(const struct diagram_node *node, uint64_t value)
{
	uint32_t first = 0, last = node->edge_count - 1;

	while (first < last) {
		uint32_t middle = first + (last - first) / 2;

		if (value > node->edges[middle].last)
			first = middle + 1;
		else
			last = middle;
	}
	return node->edges[first].to;
}

static uint32_t walk_diagram(const struct plan *plan, const struct packet *packet)
{
	diagram_ref at = plan->diagram.root;

	while (!(at & DIAGRAM_LEAF)) {
		const struct diagram_node *node = &plan->diagram.nodes[at];

		at = follow(node, dim_value(plan, node->dim, packet));
	}
	return plan->answers[at & ~DIAGRAM_LEAF];
}

static bool holds(const struct plan *plan, const struct test *test, const struct packet *packet)
{
	uint64_t value;

	switch (test->kind) {
	case TEST_AND:
	case TEST_OR:
		for (size_t i = 0; i < test->list.count; i++)
			if (holds(plan, test->list.items[i], packet) == (test->kind == TEST_OR))
				return test->kind == TEST_OR;
		return test->kind == TEST_AND;
	case TEST_NOT:
		return !holds(plan, test->inner, packet);
	case TEST_IN:
		value = dim_value(plan, test->in.dim, packet);
		for (size_t i = 0; i < test->in.count; i++)
			if (value >= test->in.intervals[i].lo && value <= test->in.intervals[i].hi)
				return true;
		return false;
	}
	return false;
}

static uint32_t run_list(const struct plan *plan, const struct packet *packet)
{
	size_t at = 0;

	while (packet->resume && plan->items[at].resume != packet->resume)
		at++;
	for (;;) {
		const struct list_item *item = &plan->items[at];

		if (item->test && !holds(plan, item->test, packet))
			at++;
		else if (item->answers)
			return plan->answers[item->answer];
		else
			at = item->target;
	}
}

uint32_t plan_evaluate(const struct plan *plan, const struct packet *packet)
{
	struct table_visits visits = { 0 };

	if (plan->kind == PLAN_TABLE)
		return table_walk(plan, packet, &visits, run_list);
	return plan->kind == PLAN_DIAGRAM ? walk_diagram(plan, packet) : run_list(plan, packet);
}
