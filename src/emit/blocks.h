/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Blocks: the pieces of code that functions are filled with, in an order in which every jump goes forward. A block
 * looks at nothing but the packet, so any may begin a function. A diagram's nodes and a list's items become blocks.
 */
#ifndef WEIR_EMIT_BLOCKS_H
#define WEIR_EMIT_BLOCKS_H

#include "emit/buffer.h"

enum { TEST_DEPTH_MAX = 1000 }; /* nesting of a list's tests */

/* A block where a call with packet.resume = `resume` begins. */
struct start {
	uint32_t resume;
	uint32_t block;
};

/* A node of a diagram, or a part of a big one: edges for values from `first` on. */
struct node_block {
	const struct diagram_edge *edges; /* NULL: `parts` edges to the following blocks */
	uint32_t edge_count;
	uint32_t dim;
	uint64_t first;
};

struct blocks {
	const struct plan *plan;
	uint32_t count;           /* 0: the answer is always answers[constant] */
	uint32_t constant;
	const struct start *starts; /* by resume, ascending; the first is { 0, 0 } */
	size_t start_count;
	const struct node_block *nodes; /* PLAN_DIAGRAM */
	const uint32_t *node_blocks;    /* block of each node of the diagram */
};

/* An upper bound of what one block takes. */
struct block_cost {
	size_t insns;    /* with answers that only it needs; SIZE_MAX: cannot be emitted */
	size_t branches; /* that the verifier may have to keep in mind at once when it walks past the block */
};

void blocks_from_diagram(struct arena *arena, const struct plan *plan, struct blocks *ret_blocks);
void blocks_from_list(struct arena *arena, const struct plan *plan, struct blocks *ret_blocks);

struct block_cost blocks_cost(const struct blocks *blocks, uint32_t block);
/* Emits one; `next` as in emit_search(). */
void blocks_put(const struct blocks *blocks, struct buffer *buffer, uint32_t block, label next);

/* Adds to `counts` how often each dimension is looked up in a set. */
void node_count_lookups(const struct blocks *blocks, uint32_t block, uint32_t *counts);
void item_count_lookups(const struct blocks *blocks, uint32_t block, uint32_t *counts);

struct block_cost node_cost(const struct blocks *blocks, uint32_t block);
void node_put(const struct blocks *blocks, struct buffer *buffer, uint32_t block, label next);
struct block_cost item_cost(const struct blocks *blocks, uint32_t block);
void item_put(const struct blocks *blocks, struct buffer *buffer, uint32_t block, label next);

/* Upper bounds for comparing with `edges` edges, and for a lookup. */
static inline size_t search_insns(size_t edges)
{
	return 8 * edges + 8; /* a wide comparison 3, an answer in place 2, one at the end 2 */
}

enum { LOOKUP_INSNS = 24 };

#endif
