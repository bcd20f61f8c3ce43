/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Diagrams: ordered, hash-consed decision diagrams with interval edges, and the operations that join them. In: leaves
 * and nodes of one store; out: references that are equal exactly if the functions are. Fails by `over`, once the
 * effort allowed is spent: every result is then void (but a valid reference).
 */
#include <string.h>

#include "base/hash.h"
#include "plan/work.h"

enum { UNIQUE_MIN = 1024, MEMO_MIN = 4096 }; /* powers of two */

struct diagrams *diagrams_new(struct arena *arena, const struct dim *dims, size_t dim_count, size_t effort_max)
{
	struct diagrams *diagrams = ARENA_NEW(arena, struct diagrams);

	diagrams->arena = arena;
	diagrams->dims = dims;
	diagrams->dim_count = dim_count;
	diagrams->effort_max = effort_max;
	diagrams->unique_size = UNIQUE_MIN;
	diagrams->unique = ARENA_ARRAY(arena, uint32_t, UNIQUE_MIN);
	diagrams->memo_size = MEMO_MIN;
	diagrams->memos = ARENA_ARRAY(arena, struct memo, MEMO_MIN);
	for (uint32_t end = 0; end < LIST_ENDS; end++)
		VEC_PUSH(arena, &diagrams->cells) =
			(struct list_cell){ .otherwise = LIST_NONE, .ends = LIST_END(end) };
	return diagrams;
}

bool diagram_spend(struct diagrams *diagrams, size_t effort)
{
	diagrams->effort += effort;
	if (diagrams->effort > diagrams->effort_max)
		diagrams->over = true;
	return !diagrams->over;
}

/* --- memory of results ---------------------------------------------------------------------------------- */

static size_t memo_home(const struct diagrams *diagrams, uint32_t op, uint32_t left, uint32_t right)
{
	return hash_mix(hash_mix(op, left), right) & (diagrams->memo_size - 1);
}

/* The entry of this key, or the empty one where it belongs. */
static struct memo *memo_find(const struct diagrams *diagrams, uint32_t op, uint32_t left, uint32_t right)
{
	size_t at = memo_home(diagrams, op, left, right);

	for (;; at = (at + 1) & (diagrams->memo_size - 1)) {
		struct memo *memo = &diagrams->memos[at];

		if (!memo->op || (memo->op == op && memo->left == left && memo->right == right))
			return memo;
	}
}

static void memo_grow(struct diagrams *diagrams)
{
	struct memo *old = diagrams->memos;
	size_t old_size = diagrams->memo_size;
	struct memo *bigger = ARENA_ARRAY(diagrams->arena, struct memo, old_size * 4);

	diagrams->memos = bigger;
	diagrams->memo_size = old_size * 4;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].op)
			*memo_find(diagrams, old[i].op, old[i].left, old[i].right) = old[i];
}

bool diagram_recall(const struct diagrams *diagrams, uint32_t op, uint32_t left, uint32_t right, uint32_t *ret)
{
	const struct memo *memo = memo_find(diagrams, op, left, right);

	if (memo->op)
		*ret = memo->result;
	return memo->op;
}

void diagram_remember(struct diagrams *diagrams, uint32_t op, uint32_t left, uint32_t right, uint32_t result)
{
	struct memo *memo;

	if (diagrams->memo_count * 2 > diagrams->memo_size)
		memo_grow(diagrams);
	memo = memo_find(diagrams, op, left, right);
	diagrams->memo_count += !memo->op;
	*memo = (struct memo){ op, left, right, result };
}

/* --- nodes ---------------------------------------------------------------------------------------------- */

size_t diagram_begin(const struct diagrams *diagrams)
{
	return diagrams->scratch.count;
}

void diagram_push(struct diagrams *diagrams, size_t base, uint64_t last, diagram_ref to)
{
	size_t count = diagrams->scratch.count;

	if (count > base && diagrams->scratch.items[count - 1].to == to)
		diagrams->scratch.items[count - 1].last = last;
	else
		VEC_PUSH(diagrams->arena, &diagrams->scratch) = (struct diagram_edge){ last, to };
}

static uint64_t hash_node(uint32_t dim, const struct diagram_edge *edges, size_t count)
{
	uint64_t hash = hash_mix(dim, count);

	for (size_t i = 0; i < count; i++)
		hash = hash_mix(hash_mix(hash, edges[i].last), edges[i].to);
	return hash;
}

static bool same_node(const struct diagram_node *node, uint32_t dim, const struct diagram_edge *edges, size_t count)
{
	if (node->dim != dim || node->edge_count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (node->edges[i].last != edges[i].last || node->edges[i].to != edges[i].to)
			return false;
	return true;
}

static void unique_grow(struct diagrams *diagrams)
{
	size_t size = diagrams->unique_size * 4;
	uint32_t *unique = ARENA_ARRAY(diagrams->arena, uint32_t, size);

	for (size_t i = 0; i < diagrams->nodes.count; i++) {
		const struct diagram_node *node = &diagrams->nodes.items[i];
		size_t at = hash_node(node->dim, node->edges, node->edge_count) & (size - 1);

		while (unique[at])
			at = (at + 1) & (size - 1);
		unique[at] = (uint32_t)i + 1;
	}
	diagrams->unique = unique;
	diagrams->unique_size = size;
}

static uint32_t *unique_find(struct diagrams *diagrams, uint32_t dim, const struct diagram_edge *edges, size_t count)
{
	size_t mask = diagrams->unique_size - 1;
	size_t at = hash_node(dim, edges, count) & mask;

	while (diagrams->unique[at] &&
	       !same_node(&diagrams->nodes.items[diagrams->unique[at] - 1], dim, edges, count))
		at = (at + 1) & mask;
	return &diagrams->unique[at];
}

static diagram_ref add_node(struct diagrams *diagrams, uint32_t dim, const struct diagram_edge *edges, size_t count)
{
	uint32_t *home;

	if (diagrams->nodes.count * 2 > diagrams->unique_size)
		unique_grow(diagrams);
	home = unique_find(diagrams, dim, edges, count);
	if (*home)
		return *home - 1;
	if (!diagram_spend(diagrams, count))
		return REF_NO;
	VEC_PUSH(diagrams->arena, &diagrams->nodes) = (struct diagram_node){
		.dim = dim,
		.edge_count = (uint32_t)count,
		.edges = arena_copy(diagrams->arena, edges, count * sizeof *edges),
	};
	*home = (uint32_t)diagrams->nodes.count;
	return *home - 1;
}

diagram_ref diagram_make(struct diagrams *diagrams, uint32_t dim, size_t base)
{
	const struct diagram_edge *edges = diagrams->scratch.items + base;
	size_t count = diagrams->scratch.count - base;

	diagrams->scratch.count = base;
	if (diagrams->over)
		return REF_NO;
	return count == 1 ? edges[0].to : add_node(diagrams, dim, edges, count);
}

diagram_ref diagram_split(struct diagrams *diagrams, uint32_t dim, const struct interval *intervals, size_t count,
			  diagram_ref inside, diagram_ref outside)
{
	size_t base = diagram_begin(diagrams);
	uint64_t max = diagrams->dims[dim].max;

	for (size_t i = 0; i < count; i++) {
		if (intervals[i].lo > 0)
			diagram_push(diagrams, base, intervals[i].lo - 1, outside);
		diagram_push(diagrams, base, intervals[i].hi, inside);
	}
	if (!count || intervals[count - 1].hi < max)
		diagram_push(diagrams, base, max, outside);
	return diagram_make(diagrams, dim, base);
}

/* --- lists of matched rules ----------------------------------------------------------------------------- */

static uint32_t add_cell(struct diagrams *diagrams, uint32_t rule, uint32_t tail, uint32_t otherwise)
{
	struct list_cell cell = { .rule = rule, .tail = tail, .otherwise = otherwise };
	uint64_t length = (uint64_t)diagrams->cells.items[tail].length + 1;

	cell.ends = diagrams->cells.items[tail].ends;
	if (otherwise != LIST_NONE) {
		length += diagrams->cells.items[otherwise].length + 1;
		cell.ends |= diagrams->cells.items[otherwise].ends;
	}
	cell.length = length < UINT32_MAX ? (uint32_t)length : UINT32_MAX;
	VEC_PUSH(diagrams->arena, &diagrams->cells) = cell;
	return (uint32_t)diagrams->cells.count - 1;
}

diagram_ref diagram_cons(struct diagrams *diagrams, uint32_t rule, diagram_ref tail)
{
	uint32_t list = tail & ~DIAGRAM_LEAF, cell;

	if (diagram_recall(diagrams, OP_CELL, rule, list, &cell))
		return DIAGRAM_LEAF | cell;
	if (!diagram_spend(diagrams, 1))
		return REF_NO;
	cell = add_cell(diagrams, rule, list, LIST_NONE);
	diagram_remember(diagrams, OP_CELL, rule, list, cell);
	return DIAGRAM_LEAF | cell;
}

/* Cells are found by two numbers: that of the pair of lists is one of them. */
static diagram_ref cons_choice(struct diagrams *diagrams, uint32_t rule, uint32_t tail, uint32_t otherwise)
{
	uint32_t pair, cell;

	if (!diagram_recall(diagrams, OP_PAIR, tail, otherwise, &pair)) {
		pair = diagrams->pair_count++;
		diagram_remember(diagrams, OP_PAIR, tail, otherwise, pair);
	}
	if (diagram_recall(diagrams, OP_CHOICE, rule, pair, &cell))
		return DIAGRAM_LEAF | cell;
	if (!diagram_spend(diagrams, 1))
		return REF_NO;
	cell = add_cell(diagrams, rule, tail, otherwise);
	diagram_remember(diagrams, OP_CHOICE, rule, pair, cell);
	return DIAGRAM_LEAF | cell;
}

static diagram_ref change_list(struct diagrams *diagrams, uint32_t list, enum list_end from, uint32_t tail);

static diagram_ref change_choice(struct diagrams *diagrams, uint32_t list, enum list_end from, uint32_t tail)
{
	struct list_cell cell = diagrams->cells.items[list];
	diagram_ref result;
	uint32_t op = OP_CHANGE + from;

	if (diagram_recall(diagrams, op, list, tail, &result))
		return result;
	result = change_list(diagrams, cell.tail, from, tail);
	result = cons_choice(diagrams, cell.rule, result & ~DIAGRAM_LEAF,
			     change_list(diagrams, cell.otherwise, from, tail) & ~DIAGRAM_LEAF);
	if (!diagrams->over)
		diagram_remember(diagrams, op, list, tail, result);
	return result;
}

/* The list with `tail` put where it ended in `from`. */
static diagram_ref change_list(struct diagrams *diagrams, uint32_t list, enum list_end from, uint32_t tail)
{
	VEC(uint32_t) rules = { 0 };
	diagram_ref result;

	for (; list >= LIST_ENDS && diagrams->cells.items[list].otherwise == LIST_NONE &&
	       (diagrams->cells.items[list].ends & LIST_END(from)); list = diagrams->cells.items[list].tail)
		VEC_PUSH(diagrams->arena, &rules) = diagrams->cells.items[list].rule;
	if (!diagram_spend(diagrams, rules.count))
		return REF_NO;
	if (list >= LIST_ENDS && (diagrams->cells.items[list].ends & LIST_END(from)))
		result = change_choice(diagrams, list, from, tail);
	else
		result = DIAGRAM_LEAF | (list == (uint32_t)from ? tail : list);
	while (rules.count)
		result = diagram_cons(diagrams, rules.items[--rules.count], result);
	return result;
}

static bool may_end(const struct diagrams *diagrams, diagram_ref leaf, enum list_end end)
{
	return diagrams->cells.items[leaf & ~DIAGRAM_LEAF].ends & LIST_END(end);
}

/* --- operations ----------------------------------------------------------------------------------------- */

#define FALL (DIAGRAM_LEAF | LIST_FALL)

static bool and_leaf(diagram_ref left, diagram_ref right, diagram_ref *ret)
{
	if (left == REF_NO || right == REF_NO)
		*ret = REF_NO;
	else if (left == REF_YES || left == right)
		*ret = right;
	else if (right == REF_YES)
		*ret = left;
	else
		return false;
	return true;
}

static bool or_leaf(diagram_ref left, diagram_ref right, diagram_ref *ret)
{
	if (left == REF_YES || right == REF_YES)
		*ret = REF_YES;
	else if (left == REF_NO || left == right)
		*ret = right;
	else if (right == REF_NO)
		*ret = left;
	else
		return false;
	return true;
}

static bool then_leaf(struct diagrams *diagrams, diagram_ref left, diagram_ref right, diagram_ref *ret)
{
	if (right == FALL)
		*ret = left;
	else if (left == FALL)
		*ret = right;
	else if (is_leaf(left) && !may_end(diagrams, left, LIST_FALL))
		*ret = left;
	else if (is_leaf(left) && is_leaf(right))
		*ret = change_list(diagrams, left & ~DIAGRAM_LEAF, LIST_FALL, right & ~DIAGRAM_LEAF);
	else
		return false;
	return true;
}

static bool change_end(struct diagrams *diagrams, diagram_ref left, enum list_end from, enum list_end to,
		       diagram_ref *ret)
{
	if (!is_leaf(left))
		return false;
	*ret = change_list(diagrams, left & ~DIAGRAM_LEAF, from, to);
	return true;
}

static bool ask_leaf(struct diagrams *diagrams, diagram_ref decision, diagram_ref rule, diagram_ref *ret)
{
	if (is_leaf(decision))
		*ret = cons_choice(diagrams, rule & ~DIAGRAM_LEAF, decision & ~DIAGRAM_LEAF, LIST_FALL);
	return is_leaf(decision);
}

/* The result where no node needs to be opened for it. */
static bool at_leaf(struct diagrams *diagrams, enum diagram_op op, diagram_ref left, diagram_ref right,
		    diagram_ref *ret)
{
	switch (op) {
	case OP_AND:
		return and_leaf(left, right, ret);
	case OP_OR:
		return or_leaf(left, right, ret);
	case OP_NOT:
		*ret = left == REF_NO ? REF_YES : REF_NO;
		return is_leaf(left);
	case OP_GUARD:
		*ret = left == REF_NO ? FALL : right;
		return is_leaf(left) || right == FALL;
	case OP_THEN:
		return then_leaf(diagrams, left, right, ret);
	case OP_RETURNS:
		return change_end(diagrams, left, LIST_RETURN, LIST_FALL, ret);
	case OP_LEAVES:
		return change_end(diagrams, left, LIST_FALL, LIST_RETURN, ret);
	case OP_ASK:
		return ask_leaf(diagrams, left, right, ret);
	default:
		*ret = REF_NO;
		return true;
	}
}

/* An operand while its edges are walked; an operand that does not test the dimension has one edge for all values. */
struct walk {
	struct diagram_edge all;
	const struct diagram_edge *edge;
};

static void walk_begin(struct walk *walk, const struct diagrams *diagrams, diagram_ref ref, uint32_t dim)
{
	walk->all = (struct diagram_edge){ diagrams->dims[dim].max, ref };
	walk->edge = top_dim(diagrams, ref) == dim ? diagrams->nodes.items[ref].edges : &walk->all;
}

static diagram_ref open_nodes(struct diagrams *diagrams, enum diagram_op op, diagram_ref left, diagram_ref right)
{
	uint32_t left_dim = top_dim(diagrams, left), right_dim = top_dim(diagrams, right);
	uint32_t dim = left_dim < right_dim ? left_dim : right_dim;
	size_t base = diagram_begin(diagrams), steps = 0;
	struct walk a, b;
	uint64_t last;

	walk_begin(&a, diagrams, left, dim);
	walk_begin(&b, diagrams, right, dim);
	do {
		last = a.edge->last < b.edge->last ? a.edge->last : b.edge->last;
		diagram_push(diagrams, base, last, diagram_apply(diagrams, op, a.edge->to, b.edge->to));
		a.edge += a.edge->last == last;
		b.edge += b.edge->last == last;
		steps++;
	} while (last < diagrams->dims[dim].max && !diagrams->over);
	diagram_spend(diagrams, steps / 8 + 1); /* walking costs less than making */
	return diagram_make(diagrams, dim, base);
}

diagram_ref diagram_apply(struct diagrams *diagrams, enum diagram_op op, diagram_ref left, diagram_ref right)
{
	diagram_ref result;

	if (diagrams->over)
		return REF_NO;
	if (at_leaf(diagrams, op, left, right, &result))
		return result;
	if ((op == OP_AND || op == OP_OR) && left > right) {
		result = left;
		left = right;
		right = result;
	}
	if (diagram_recall(diagrams, op, left, right, &result))
		return result;
	result = open_nodes(diagrams, op, left, right);
	if (!diagrams->over)
		diagram_remember(diagrams, op, left, right, result);
	return result;
}

diagram_ref diagram_ask(struct diagrams *diagrams, uint32_t rule, diagram_ref decision)
{
	return diagram_apply(diagrams, OP_ASK, decision, DIAGRAM_LEAF | rule);
}
