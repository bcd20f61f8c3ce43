/* SPDX-License-Identifier: GPL-2.0-only */
#include "prove/bdd.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum bdd_op { OP_NONE, OP_ITE, OP_MEET, OP_FIRST_FREE = 16 };

enum { TABLE_MIN = 1 << 12, MEMO_MAX = 1 << 22, NODES_A_LOOK = 1 << 14 };

uint64_t bdd_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t mix(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	uint64_t hash = a * 0x9e3779b97f4a7c15ull;

	hash = (hash ^ b) * 0xff51afd7ed558ccdull;
	hash = (hash ^ hash >> 29 ^ c) * 0xc4ceb9fe1a85ec53ull;
	hash = (hash ^ hash >> 31 ^ d) * 0x9e3779b97f4a7c15ull;
	return (uint32_t)(hash >> 32);
}

static uint32_t node_hash(const struct bdd_node *node)
{
	return mix(node->level, node->high, node->low, 0);
}

struct bdd *bdd_new(struct arena *arena, size_t node_max, uint64_t deadline)
{
	struct bdd *bdd = ARENA_NEW(arena, struct bdd);

	bdd->arena = arena;
	bdd->node_max = node_max;
	bdd->deadline = deadline;
	bdd->op = OP_FIRST_FREE;
	bdd->unique_size = bdd->memo_size = TABLE_MIN;
	bdd->unique = ARENA_ARRAY(arena, uint32_t, bdd->unique_size);
	bdd->memos = ARENA_ARRAY(arena, struct bdd_memo, bdd->memo_size);
	bdd_leaf(bdd, 0);
	bdd_leaf(bdd, 1);
	return bdd;
}

/* --- nodes ---------------------------------------------------------------------------------------------- */

static void grow_unique(struct bdd *bdd)
{
	size_t mask;

	bdd->unique_size *= 4;
	mask = bdd->unique_size - 1;
	bdd->unique = ARENA_ARRAY(bdd->arena, uint32_t, bdd->unique_size);
	for (size_t i = 0; i < bdd->nodes.count; i++) {
		size_t at = node_hash(&bdd->nodes.items[i]) & mask;

		while (bdd->unique[at])
			at = (at + 1) & mask;
		bdd->unique[at] = (uint32_t)i + 1;
	}
}

/* Forgetting is allowed; starting small keeps small proofs small. */
static void grow_memos(struct bdd *bdd)
{
	struct bdd_memo *old = bdd->memos;
	size_t old_size = bdd->memo_size;

	bdd->memo_size *= 4;
	bdd->memos = ARENA_ARRAY(bdd->arena, struct bdd_memo, bdd->memo_size);
	for (size_t i = 0; i < old_size; i++)
		if (old[i].op)
			bdd->memos[mix(old[i].op, old[i].a, old[i].b, old[i].c) & (bdd->memo_size - 1)] = old[i];
}

static bdd_ref add_node(struct bdd *bdd, const struct bdd_node *node, size_t at)
{
	if (bdd->nodes.count >= bdd->node_max ||
	    (bdd->deadline && bdd->nodes.count % NODES_A_LOOK == 0 && bdd_clock() > bdd->deadline))
		bdd->over = true;
	if (bdd->over)
		return BDD_FALSE;
	VEC_PUSH(bdd->arena, &bdd->nodes) = *node;
	bdd->unique[at] = (uint32_t)bdd->nodes.count;
	if (bdd->nodes.count * 2 > bdd->unique_size)
		grow_unique(bdd);
	if (bdd->nodes.count > bdd->memo_size && bdd->memo_size < MEMO_MAX)
		grow_memos(bdd);
	return (bdd_ref)bdd->nodes.count - 1;
}

static bdd_ref find_node(struct bdd *bdd, struct bdd_node node)
{
	size_t mask = bdd->unique_size - 1, at = node_hash(&node) & mask;

	for (; bdd->unique[at]; at = (at + 1) & mask) {
		const struct bdd_node *there = &bdd->nodes.items[bdd->unique[at] - 1];

		if (there->level == node.level && there->high == node.high && there->low == node.low)
			return bdd->unique[at] - 1;
	}
	return add_node(bdd, &node, at);
}

/* The last ones that came are the first to go, so that what is left is where it was. */
void bdd_release(struct bdd *bdd, size_t node_count)
{
	size_t mask = bdd->unique_size - 1;

	for (size_t i = bdd->nodes.count; i > node_count; i--) {
		size_t at = node_hash(&bdd->nodes.items[i - 1]) & mask;

		while (bdd->unique[at] != i)
			at = (at + 1) & mask;
		bdd->unique[at] = 0;
	}
	bdd->nodes.count = node_count;
	memset(bdd->memos, 0, bdd->memo_size * sizeof *bdd->memos);
}

enum { LOOKS_A_CLOCK = 256 };

void bdd_look(struct bdd *bdd)
{
	if (bdd->deadline && ++bdd->looks % LOOKS_A_CLOCK == 0 && bdd_clock() > bdd->deadline)
		bdd->over = true;
}

bdd_ref bdd_leaf(struct bdd *bdd, uint32_t value)
{
	return find_node(bdd, (struct bdd_node){ BDD_LEAF, value, 0 });
}

bdd_ref bdd_make(struct bdd *bdd, uint32_t level, bdd_ref high, bdd_ref low)
{
	return high == low ? high : find_node(bdd, (struct bdd_node){ level, high, low });
}

/* --- memory of results ---------------------------------------------------------------------------------- */

static struct bdd_memo *memo_place(const struct bdd *bdd, uint32_t op, uint32_t a, uint32_t b, uint32_t c)
{
	return &bdd->memos[mix(op, a, b, c) & (bdd->memo_size - 1)];
}

static bool recall(const struct bdd *bdd, uint32_t op, uint32_t a, uint32_t b, uint32_t c, bdd_ref *ret)
{
	const struct bdd_memo *memo = memo_place(bdd, op, a, b, c);

	if (memo->op != op || memo->a != a || memo->b != b || memo->c != c)
		return false;
	*ret = memo->result;
	return true;
}

static bdd_ref keep(struct bdd *bdd, uint32_t op, uint32_t a, uint32_t b, uint32_t c, bdd_ref result)
{
	if (!bdd->over)
		*memo_place(bdd, op, a, b, c) = (struct bdd_memo){ op, a, b, c, result };
	return result;
}

static uint32_t level_of(const struct bdd *bdd, bdd_ref ref)
{
	return bdd->nodes.items[ref].level;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static bdd_ref high_of(const struct bdd *bdd, bdd_ref ref, uint32_t level)
{
	return level_of(bdd, ref) == level ? bdd->nodes.items[ref].high : ref;
}

static bdd_ref low_of(const struct bdd *bdd, bdd_ref ref, uint32_t level)
{
	return level_of(bdd, ref) == level ? bdd->nodes.items[ref].low : ref;
}

/* --- operations ----------------------------------------------------------------------------------------- */

/* All of these recurse once a level at most. */
bdd_ref bdd_ite(struct bdd *bdd, bdd_ref set, bdd_ref g, bdd_ref h)
{
	bdd_ref result, high, low;
	uint32_t level;

	if (set == BDD_TRUE || g == h)
		return g;
	if (set == BDD_FALSE)
		return h;
	if (g == BDD_TRUE && h == BDD_FALSE)
		return set;
	if (bdd->over)
		return BDD_FALSE;
	if (recall(bdd, OP_ITE, set, g, h, &result))
		return result;
	level = least(level_of(bdd, set), least(level_of(bdd, g), level_of(bdd, h)));
	high = bdd_ite(bdd, high_of(bdd, set, level), high_of(bdd, g, level), high_of(bdd, h, level));
	low = bdd_ite(bdd, low_of(bdd, set, level), low_of(bdd, g, level), low_of(bdd, h, level));
	return keep(bdd, OP_ITE, set, g, h, bdd_make(bdd, level, high, low));
}

bdd_ref bdd_and(struct bdd *bdd, bdd_ref f, bdd_ref g)
{
	return bdd_ite(bdd, f, g, BDD_FALSE);
}

bdd_ref bdd_or(struct bdd *bdd, bdd_ref f, bdd_ref g)
{
	return bdd_ite(bdd, f, BDD_TRUE, g);
}

bdd_ref bdd_not(struct bdd *bdd, bdd_ref f)
{
	return bdd_ite(bdd, f, BDD_FALSE, BDD_TRUE);
}

bool bdd_meet(struct bdd *bdd, bdd_ref f, bdd_ref g)
{
	bdd_ref result;
	uint32_t level;

	if (f == BDD_FALSE || g == BDD_FALSE || bdd->over)
		return false;
	if (f == BDD_TRUE || g == BDD_TRUE || f == g)
		return true;
	if (recall(bdd, OP_MEET, f, g, 0, &result))
		return result;
	level = least(level_of(bdd, f), level_of(bdd, g));
	result = bdd_meet(bdd, high_of(bdd, f, level), high_of(bdd, g, level)) ||
		 bdd_meet(bdd, low_of(bdd, f, level), low_of(bdd, g, level));
	return keep(bdd, OP_MEET, f, g, 0, result);
}

static bdd_ref then(struct bdd *bdd, uint32_t op, bdd_ref f, bdd_ref fall, bdd_ref g)
{
	bdd_ref result, high, low;
	uint32_t level;

	if (f == fall || f == g)
		return g;
	if (g == fall || bdd_is_leaf(bdd, f) || bdd->over)
		return f;
	if (recall(bdd, op, f, fall, g, &result))
		return result;
	level = least(level_of(bdd, f), level_of(bdd, g));
	high = then(bdd, op, high_of(bdd, f, level), fall, high_of(bdd, g, level));
	low = then(bdd, op, low_of(bdd, f, level), fall, low_of(bdd, g, level));
	return keep(bdd, op, f, fall, g, bdd_make(bdd, level, high, low));
}

bdd_ref bdd_then(struct bdd *bdd, bdd_ref f, bdd_ref fall, bdd_ref g)
{
	return then(bdd, ++bdd->op, f, fall, g);
}

struct replacing {
	struct bdd *bdd;
	uint32_t op;
	const bdd_ref *from, *to;
	size_t count;
};

static size_t find_leaf(const struct replacing *replacing, bdd_ref leaf)
{
	size_t first = 0, last = replacing->count - 1;

	while (first < last) {
		size_t middle = first + (last - first) / 2;

		if (replacing->from[middle] < leaf)
			first = middle + 1;
		else
			last = middle;
	}
	return first;
}

static bdd_ref replace(const struct replacing *replacing, bdd_ref f)
{
	struct bdd *bdd = replacing->bdd;
	struct bdd_node node = bdd->nodes.items[f];
	bdd_ref result, high, low;

	if (bdd->over)
		return BDD_FALSE;
	if (node.level == BDD_LEAF)
		return replacing->to[find_leaf(replacing, f)];
	if (recall(bdd, replacing->op, f, 0, 0, &result))
		return result;
	high = replace(replacing, node.high);
	low = replace(replacing, node.low);
	result = bdd_ite(bdd, bdd_make(bdd, node.level, BDD_TRUE, BDD_FALSE), high, low);
	return keep(bdd, replacing->op, f, 0, 0, result);
}

bdd_ref bdd_replace(struct bdd *bdd, bdd_ref f, const bdd_ref *from, const bdd_ref *to, size_t count)
{
	struct replacing replacing = { bdd, ++bdd->op, from, to, count };

	return replace(&replacing, f);
}

static bdd_ref restrict_to(struct bdd *bdd, uint32_t op, bdd_ref f, const uint8_t *bits, size_t level_count)
{
	struct bdd_node node = bdd->nodes.items[f];
	bdd_ref result, high, low;

	if (node.level == BDD_LEAF || bdd->over)
		return f;
	if (recall(bdd, op, f, 0, 0, &result))
		return result;
	if (node.level < level_count && bits[node.level] <= 1) {
		result = restrict_to(bdd, op, bits[node.level] ? node.high : node.low, bits, level_count);
	} else {
		high = restrict_to(bdd, op, node.high, bits, level_count);
		low = restrict_to(bdd, op, node.low, bits, level_count);
		result = bdd_make(bdd, node.level, high, low);
	}
	return keep(bdd, op, f, 0, 0, result);
}

bdd_ref bdd_restrict(struct bdd *bdd, bdd_ref f, const uint8_t *bits, size_t level_count)
{
	return restrict_to(bdd, ++bdd->op, f, bits, level_count);
}

bdd_ref bdd_rename(struct bdd *bdd, uint32_t op, bdd_ref f, const bdd_ref *to)
{
	struct bdd_node node = bdd->nodes.items[f];
	bdd_ref result, high, low;

	if (node.level == BDD_LEAF || bdd->over)
		return f;
	if (recall(bdd, op, f, 0, 0, &result))
		return result;
	high = bdd_rename(bdd, op, node.high, to);
	low = bdd_rename(bdd, op, node.low, to);
	if (to[node.level] == BDD_NONE || high == BDD_NONE || low == BDD_NONE)
		return keep(bdd, op, f, 0, 0, BDD_NONE);
	return keep(bdd, op, f, 0, 0, bdd_ite(bdd, to[node.level], high, low));
}

uint32_t bdd_op(struct bdd *bdd)
{
	return ++bdd->op;
}

static bdd_ref where(struct bdd *bdd, uint32_t op, bdd_ref f, bdd_ref leaf)
{
	struct bdd_node node = bdd->nodes.items[f];
	bdd_ref result, high, low;

	if (f == leaf)
		return BDD_TRUE;
	if (node.level == BDD_LEAF || bdd->over)
		return BDD_FALSE;
	if (recall(bdd, op, f, leaf, 0, &result))
		return result;
	high = where(bdd, op, node.high, leaf);
	low = where(bdd, op, node.low, leaf);
	return keep(bdd, op, f, leaf, 0, bdd_make(bdd, node.level, high, low));
}

bdd_ref bdd_where(struct bdd *bdd, bdd_ref f, bdd_ref leaf)
{
	return where(bdd, ++bdd->op, f, leaf);
}

struct joining {
	struct bdd *bdd;
	uint32_t op;
	bdd_ref (*join)(void *context, uint32_t f, uint32_t g);
	void *context;
};

static bdd_ref join(const struct joining *joining, bdd_ref set, bdd_ref f, bdd_ref g)
{
	struct bdd *bdd = joining->bdd;
	bdd_ref result, high, low;
	uint32_t level;

	if (set == BDD_FALSE || bdd->over)
		return BDD_FALSE;
	level = least(level_of(bdd, f), level_of(bdd, g));
	if (level == BDD_LEAF) {
		if (!recall(bdd, joining->op, UINT32_MAX, f, g, &result))
			result = keep(bdd, joining->op, UINT32_MAX, f, g,
				      joining->join(joining->context, bdd_value(bdd, f), bdd_value(bdd, g)));
		return bdd_ite(bdd, set, result, BDD_FALSE);
	}
	if (recall(bdd, joining->op, set, f, g, &result))
		return result;
	level = least(level, level_of(bdd, set));
	high = join(joining, high_of(bdd, set, level), high_of(bdd, f, level), high_of(bdd, g, level));
	low = join(joining, low_of(bdd, set, level), low_of(bdd, f, level), low_of(bdd, g, level));
	return keep(bdd, joining->op, set, f, g, bdd_make(bdd, level, high, low));
}

bdd_ref bdd_join(struct bdd *bdd, bdd_ref set, bdd_ref f, bdd_ref g,
		 bdd_ref (*function)(void *context, uint32_t f, uint32_t g), void *context)
{
	struct joining joining = { bdd, ++bdd->op, function, context };

	return join(&joining, set, f, g);
}

/* --- looking at diagrams -------------------------------------------------------------------------------- */

struct visiting {
	struct bdd *bdd;
	VEC(bdd_ref) leaves;
	bool *levels;
};

static void visit(struct visiting *visiting, bdd_ref ref)
{
	struct bdd *bdd = visiting->bdd;
	struct bdd_node node = bdd->nodes.items[ref];

	if (bdd->stamps[ref] == bdd->stamp)
		return;
	bdd->stamps[ref] = bdd->stamp;
	if (node.level == BDD_LEAF) {
		VEC_PUSH(bdd->arena, &visiting->leaves) = ref;
		return;
	}
	if (visiting->levels)
		visiting->levels[node.level] = true;
	visit(visiting, node.high);
	visit(visiting, node.low);
}

/* Room for a mark on every node that is there. */
static void begin_visit(struct bdd *bdd)
{
	if (bdd->stamp_count < bdd->nodes.count) {
		bdd->stamp_count = bdd->nodes.capacity;
		bdd->stamps = ARENA_ARRAY(bdd->arena, uint32_t, bdd->stamp_count);
		bdd->stamp = 0;
	}
	bdd->stamp++;
}

static int by_ref(const void *left, const void *right)
{
	const bdd_ref *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

const bdd_ref *bdd_leaves(struct bdd *bdd, bdd_ref f, size_t *ret_count)
{
	struct visiting visiting = { .bdd = bdd };

	begin_visit(bdd);
	visit(&visiting, f);
	if (visiting.leaves.count > 1)
		qsort(visiting.leaves.items, visiting.leaves.count, sizeof *visiting.leaves.items, by_ref);
	*ret_count = visiting.leaves.count;
	return visiting.leaves.items;
}

void bdd_support(struct bdd *bdd, bdd_ref f, bool *levels)
{
	struct visiting visiting = { .bdd = bdd, .levels = levels };

	begin_visit(bdd);
	visit(&visiting, f);
}

uint32_t bdd_follow(const struct bdd *bdd, bdd_ref f, const uint8_t *bits)
{
	while (!bdd_is_leaf(bdd, f))
		f = bits[bdd->nodes.items[f].level] ? bdd->nodes.items[f].high : bdd->nodes.items[f].low;
	return bdd_value(bdd, f);
}
