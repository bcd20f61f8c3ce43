/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A plan's decisions in classic BPF. In: a diagram or a list, without maps; out: where judging begins for IPv4 and
 * IPv6. Only verdicts are left of answers, so parts of the diagram that differ in counters alone become one.
 */
#include <string.h>

#include "emit/cbpf.h"

struct decisions {
	struct cbpf_buffer *buffer;
	const struct plan *plan;
	struct cbpf_entry *entries; /* by node of the diagram, or by item of the list */
};

static uint32_t field_bit(const struct plan *plan, uint32_t dim)
{
	return (uint32_t)1 << plan->dims[dim].field;
}

static place verdict_place(const struct cbpf_buffer *buffer, uint32_t verdict)
{
	return verdict == ANSWER_ACCEPT ? buffer->accept : buffer->drop;
}

/* Steps count, which nothing does here; they end in a verdict or lead to a later item. */
static struct cbpf_entry answer_entry(const struct decisions *decisions, uint32_t answer)
{
	const struct plan *plan = decisions->plan;
	uint32_t code = plan->answers[answer];
	const struct step *step;

	if (!(code & ANSWER_STEPS))
		return (struct cbpf_entry){ verdict_place(decisions->buffer, code & 3), 0 };
	step = &plan->steps[code >> ANSWER_SHIFT];
	while (step->kind != STEP_VERDICT && step->kind != STEP_RESUME)
		step++;
	if (step->kind == STEP_RESUME)
		return decisions->entries[step->a - 1];
	return (struct cbpf_entry){ verdict_place(decisions->buffer, step->a), 0 };
}

/* --- diagrams ------------------------------------------------------------------------------------ */

/* Nodes that were emitted, to find equal ones. */
struct emitted {
	const struct cbpf_edge *edges;
	size_t count;
	uint32_t dim;
	place at;
};

struct nodes {
	struct decisions *decisions;
	struct emitted *table; /* open hash table; count 0: empty */
	size_t size;
};

static struct cbpf_entry ref_entry(const struct decisions *decisions, diagram_ref ref)
{
	if (ref & DIAGRAM_LEAF)
		return answer_entry(decisions, ref & ~DIAGRAM_LEAF);
	return decisions->entries[ref];
}

static struct emitted *find(const struct nodes *nodes, uint32_t dim, const struct cbpf_edge *edges, size_t count)
{
	uint64_t hash = dim;
	struct emitted *found;

	for (size_t i = 0; i < count; i++)
		hash = ((hash ^ edges[i].last) * 0x9e3779b97f4a7c15 ^ edges[i].to) * 0x9e3779b97f4a7c15;
	for (size_t at = hash >> 20;; at++) {
		found = &nodes->table[at % nodes->size];
		if (!found->count || (found->count == count && found->dim == dim &&
				      !memcmp(found->edges, edges, count * sizeof *edges)))
			return found;
	}
}

/* The node's edges with neighbours joined; `*needed` grows by what is below. */
static size_t node_edges(const struct decisions *decisions, const struct diagram_node *node, struct cbpf_edge *edges,
			 uint32_t *needed)
{
	size_t count = 0;

	for (uint32_t i = 0; i < node->edge_count; i++) {
		struct cbpf_entry to = ref_entry(decisions, node->edges[i].to);

		if (count && edges[count - 1].to == to.at)
			count--;
		memset(&edges[count], 0, sizeof *edges); /* padding is hashed too */
		edges[count].last = node->edges[i].last;
		edges[count++].to = to.at;
		*needed |= to.needed;
	}
	return count;
}

static struct cbpf_entry put_node(struct nodes *nodes, const struct diagram_node *node)
{
	struct decisions *decisions = nodes->decisions;
	struct cbpf_buffer *buffer = decisions->buffer;
	struct cbpf_edge *edges = ARENA_ARRAY(buffer->arena, struct cbpf_edge, node->edge_count);
	struct cbpf_entry entry = { 0 };
	size_t count = node_edges(decisions, node, edges, &entry.needed);
	struct emitted *same;

	entry.at = edges[0].to;
	if (count == 1)
		return entry;
	same = find(nodes, node->dim, edges, count);
	if (!same->count)
		*same = (struct emitted){ edges, count, node->dim,
					  cbpf_split(buffer, &decisions->plan->dims[node->dim], edges, count) };
	entry.at = same->at;
	entry.needed |= field_bit(decisions->plan, node->dim);
	return entry;
}

static bool splits_family(const struct plan *plan, diagram_ref ref)
{
	return !(ref & DIAGRAM_LEAF) && plan->dims[plan->diagram.nodes[ref].dim].field == FIELD_FAMILY;
}

/* Where a family goes from the root: the parser knows it already. */
static struct cbpf_entry family_entry(const struct decisions *decisions, uint32_t family)
{
	const struct diagram *diagram = &decisions->plan->diagram;
	const struct diagram_edge *edge;

	if (!splits_family(decisions->plan, diagram->root))
		return ref_entry(decisions, diagram->root);
	edge = diagram->nodes[diagram->root].edges;
	while (edge->last < family)
		edge++;
	return ref_entry(decisions, edge->to);
}

static void put_diagram(struct decisions *decisions, struct cbpf_entry *ret_ipv4, struct cbpf_entry *ret_ipv6)
{
	const struct diagram *diagram = &decisions->plan->diagram;
	struct nodes nodes = { .decisions = decisions, .size = 2 * diagram->node_count + 1 };

	nodes.table = ARENA_ARRAY(decisions->buffer->arena, struct emitted, nodes.size);
	decisions->entries = ARENA_ARRAY(decisions->buffer->arena, struct cbpf_entry, diagram->node_count);
	for (uint32_t i = 0; i < diagram->node_count; i++)
		if (i != diagram->root || !splits_family(decisions->plan, i))
			decisions->entries[i] = put_node(&nodes, &diagram->nodes[i]);
	*ret_ipv4 = family_entry(decisions, FAMILY_IPV4);
	*ret_ipv6 = family_entry(decisions, FAMILY_IPV6);
}

/* --- lists --------------------------------------------------------------------------------------- */

static place put_in(const struct decisions *decisions, const struct test *test, place yes, place no)
{
	struct cbpf_buffer *buffer = decisions->buffer;
	struct cbpf_edge *edges = ARENA_ARRAY(buffer->arena, struct cbpf_edge, 2 * test->in.count + 1);
	uint64_t from = 0, max = decisions->plan->dims[test->in.dim].max;
	size_t count = 0;

	for (size_t i = 0; i < test->in.count; i++) {
		const struct interval *interval = &test->in.intervals[i];

		if (interval->lo > from)
			edges[count++] = (struct cbpf_edge){ interval->lo - 1, no };
		edges[count++] = (struct cbpf_edge){ interval->hi, yes };
		from = interval->hi + 1;
	}
	if (edges[count - 1].last < max)
		edges[count++] = (struct cbpf_edge){ max, no };
	return cbpf_split(buffer, &decisions->plan->dims[test->in.dim], edges, count);
}

/* The planner bounds the depth of tests. */
static place put_test(const struct decisions *decisions, const struct test *test, place yes, place no,
		      uint32_t *needed)
{
	place at;

	switch (test->kind) {
	case TEST_NOT:
		return put_test(decisions, test->inner, no, yes, needed);
	case TEST_IN:
		*needed |= field_bit(decisions->plan, test->in.dim);
		return put_in(decisions, test, yes, no);
	default:
		at = test->kind == TEST_AND ? yes : no;
		for (size_t i = test->list.count; i-- > 0;)
			at = test->kind == TEST_AND ? put_test(decisions, test->list.items[i], at, no, needed) :
						      put_test(decisions, test->list.items[i], yes, at, needed);
		return at;
	}
}

static struct cbpf_entry put_item(const struct decisions *decisions, uint32_t index)
{
	const struct list_item *item = &decisions->plan->items[index];
	struct cbpf_entry yes = item->answers ? answer_entry(decisions, item->answer) :
						decisions->entries[item->target];
	struct cbpf_entry no;

	if (!item->test)
		return yes;
	no = decisions->entries[index + 1];
	no.needed |= yes.needed;
	no.at = put_test(decisions, item->test, yes.at, no.at, &no.needed);
	return no;
}

/* Follows the first items, which tell families apart. */
static struct cbpf_entry start_of(const struct decisions *decisions, uint32_t family)
{
	const struct plan *plan = decisions->plan;
	uint32_t index = 0;

	while (plan->items[index].test && !plan->items[index].answers) {
		const struct list_item *item = &plan->items[index];
		const struct test *test = item->test;
		bool inside = false;

		if (test->kind != TEST_IN || plan->dims[test->in.dim].field != FIELD_FAMILY)
			break;
		for (size_t i = 0; i < test->in.count; i++)
			inside |= family >= test->in.intervals[i].lo && family <= test->in.intervals[i].hi;
		index = inside ? item->target : index + 1;
	}
	return decisions->entries[index];
}

static void put_list(struct decisions *decisions, struct cbpf_entry *ret_ipv4, struct cbpf_entry *ret_ipv6)
{
	const struct plan *plan = decisions->plan;

	decisions->entries = ARENA_ARRAY(decisions->buffer->arena, struct cbpf_entry, plan->item_count);
	for (size_t i = plan->item_count; i-- > 0;)
		decisions->entries[i] = put_item(decisions, (uint32_t)i);
	*ret_ipv4 = start_of(decisions, FAMILY_IPV4);
	*ret_ipv6 = start_of(decisions, FAMILY_IPV6);
}

void cbpf_plan(struct cbpf_buffer *buffer, const struct plan *plan, struct cbpf_entry *ret_ipv4,
	       struct cbpf_entry *ret_ipv6)
{
	struct decisions decisions = { .buffer = buffer, .plan = plan };

	if (plan->kind == PLAN_DIAGRAM)
		put_diagram(&decisions, ret_ipv4, ret_ipv6);
	else
		put_list(&decisions, ret_ipv4, ret_ipv6);
}
