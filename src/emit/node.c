/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A diagram as blocks: every node once, parents before children, a node near the one that reaches it. A node with
 * very many edges is cut into parts under one more level of search, so that no block outgrows a function.
 */
#include "emit/blocks.h"

enum { PART_EDGES = 1024 };

/* --- order --------------------------------------------------------------------------------------- */

struct visit {
	uint32_t node;
	uint32_t edge; /* next edge to follow */
};

/* The diagram's nodes in reverse postorder: the root first. */
static uint32_t *node_order(struct arena *arena, const struct diagram *diagram)
{
	uint32_t *order = ARENA_ARRAY(arena, uint32_t, diagram->node_count);
	bool *seen = ARENA_ARRAY(arena, bool, diagram->node_count);
	VEC(struct visit) stack = { 0 };
	size_t place = diagram->node_count;

	VEC_PUSH(arena, &stack).node = diagram->root;
	seen[diagram->root] = true;
	while (stack.count) {
		struct visit *top = &stack.items[stack.count - 1];
		const struct diagram_node *node = &diagram->nodes[top->node];
		diagram_ref to;

		if (top->edge == node->edge_count) {
			order[--place] = top->node;
			stack.count--;
			continue;
		}
		to = node->edges[top->edge++].to;
		if (to & DIAGRAM_LEAF || seen[to])
			continue;
		seen[to] = true;
		struct visit *visit = &VEC_PUSH(arena, &stack);

		visit->node = to;
		visit->edge = 0; /* the place may have been used before */
	}
	return order;
}

/* --- blocks -------------------------------------------------------------------------------------- */

static uint32_t part_count(const struct diagram_node *node)
{
	return node->edge_count > PART_EDGES ? (node->edge_count + PART_EDGES - 1) / PART_EDGES : 0;
}

/* Fills in the node's block and those of its parts; returns how many. */
static uint32_t fill(struct node_block *blocks, const struct diagram_node *node)
{
	uint32_t parts = part_count(node);

	blocks[0] = (struct node_block){ .edges = parts ? NULL : node->edges, .dim = node->dim,
					 .edge_count = parts ? parts : node->edge_count };
	for (uint32_t i = 0; i < parts; i++) {
		uint32_t from = i * PART_EDGES;

		blocks[i + 1] = (struct node_block){
			.edges = node->edges + from, .dim = node->dim,
			.edge_count = i + 1 < parts ? PART_EDGES : node->edge_count - from,
			.first = from ? node->edges[from - 1].last + 1 : 0,
		};
	}
	return parts + 1;
}

void blocks_from_diagram(struct arena *arena, const struct plan *plan, struct blocks *ret_blocks)
{
	static const struct start begin[] = { { 0, 0 } };
	const struct diagram *diagram = &plan->diagram;
	struct node_block *nodes;
	uint32_t *node_blocks, *order;
	uint32_t count = 0;

	*ret_blocks = (struct blocks){ .plan = plan, .starts = begin, .start_count = 1 };
	if (diagram->root & DIAGRAM_LEAF) {
		ret_blocks->constant = diagram->root & ~DIAGRAM_LEAF;
		return;
	}
	order = node_order(arena, diagram);
	node_blocks = ARENA_ARRAY(arena, uint32_t, diagram->node_count);
	for (size_t i = 0; i < diagram->node_count; i++)
		count += part_count(&diagram->nodes[i]) + 1;
	nodes = ARENA_ARRAY(arena, struct node_block, count);
	count = 0;
	for (size_t i = 0; i < diagram->node_count; i++) {
		node_blocks[order[i]] = count;
		count += fill(nodes + count, &diagram->nodes[order[i]]);
	}
	ret_blocks->count = count;
	ret_blocks->nodes = nodes;
	ret_blocks->node_blocks = node_blocks;
}

/* --- code ---------------------------------------------------------------------------------------- */

struct block_cost node_cost(const struct blocks *blocks, uint32_t block)
{
	const struct node_block *node = &blocks->nodes[block];
	bool lookup = blocks->plan->dims[node->dim].kind == DIM_SET;

	/* What a node leaves open is closed again when its children have been walked. */
	return (struct block_cost){ .insns = search_insns(node->edge_count) + (lookup ? LOOKUP_INSNS : 0) };
}

void node_count_lookups(const struct blocks *blocks, uint32_t block, uint32_t *counts)
{
	uint32_t dim = blocks->nodes[block].dim;

	counts[dim] += blocks->plan->dims[dim].kind == DIM_SET;
}

static label label_of(const struct blocks *blocks, const struct buffer *buffer, diagram_ref ref)
{
	if (ref & DIAGRAM_LEAF)
		return answer_label(ref & ~DIAGRAM_LEAF);
	return block_label(buffer, blocks->node_blocks[ref]);
}

/* The edges of a cut node lead to its parts, each up to where the following one begins. */
static struct edge edge_of(const struct blocks *blocks, const struct buffer *buffer, uint32_t block, uint32_t edge)
{
	const struct node_block *node = &blocks->nodes[block];

	if (node->edges)
		return (struct edge){ node->edges[edge].last, label_of(blocks, buffer, node->edges[edge].to) };
	return (struct edge){ node[edge + 1].edges[node[edge + 1].edge_count - 1].last,
			      block_label(buffer, block + edge + 1) };
}

void node_put(const struct blocks *blocks, struct buffer *buffer, uint32_t block, label next)
{
	const struct node_block *node = &blocks->nodes[block];
	const struct dim *dim = &blocks->plan->dims[node->dim];
	struct edge *edges = ARENA_ARRAY(buffer->arena, struct edge, node->edge_count);

	for (uint32_t i = 0; i < node->edge_count; i++)
		edges[i] = edge_of(blocks, buffer, block, i);
	if (dim->kind == DIM_SET) {
		emit_lookup(buffer, blocks->plan, dim, edges[0].to, edges[1].to, next);
		return;
	}
	emit_load(buffer, dim);
	emit_search(buffer, dim_is_wide(dim), node->first, edges, node->edge_count, next);
}
