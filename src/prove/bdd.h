/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Diagrams over single bits: functions from packets to numbers, hash-consed, so that equal functions are the same
 * node. Sets of packets have the leaves 0 and 1. Arena memory; when the budget of nodes or of time is used up, `over`
 * is set and results mean nothing from then on.
 */
#ifndef WEIR_PROVE_BDD_H
#define WEIR_PROVE_BDD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

typedef uint32_t bdd_ref;
enum { BDD_FALSE = 0, BDD_TRUE = 1 }; /* the leaves of value 0 and 1 */

#define BDD_LEAF UINT32_MAX

struct bdd_node {
	uint32_t level; /* smaller than those below; BDD_LEAF */
	bdd_ref high;   /* where the bit is 1; a leaf's value */
	bdd_ref low;
};

struct bdd_memo {
	uint32_t op, a, b, c;
	bdd_ref result;
};

struct bdd {
	struct arena *arena;
	VEC(struct bdd_node) nodes;
	uint32_t *unique;       /* open hash table of node index + 1 */
	size_t unique_size;
	struct bdd_memo *memos; /* each place holds the last one that came there; op 0: none */
	size_t memo_size;
	size_t node_max;
	uint64_t deadline;      /* CLOCK_MONOTONIC in ns; 0: none */
	uint32_t *stamps;       /* by node: the last visit that came there */
	size_t stamp_count;
	uint32_t stamp;
	uint32_t op;            /* the last one given out for a call with a table or a function */
	uint32_t looks;         /* bdd_look() calls */
	bool over;
};

struct bdd *bdd_new(struct arena *arena, size_t node_max, uint64_t deadline);
uint64_t bdd_clock(void);

/* Forgets all nodes but the first so many. */
void bdd_release(struct bdd *bdd, size_t node_count);
/* Notices that time is up where no nodes are made. */
void bdd_look(struct bdd *bdd);

bdd_ref bdd_leaf(struct bdd *bdd, uint32_t value);
bdd_ref bdd_make(struct bdd *bdd, uint32_t level, bdd_ref high, bdd_ref low);

static inline bool bdd_is_leaf(const struct bdd *bdd, bdd_ref ref)
{
	return bdd->nodes.items[ref].level == BDD_LEAF;
}

static inline uint32_t bdd_value(const struct bdd *bdd, bdd_ref leaf)
{
	return bdd->nodes.items[leaf].high;
}

/* g where the set has the packet, else h. */
bdd_ref bdd_ite(struct bdd *bdd, bdd_ref set, bdd_ref g, bdd_ref h);
bdd_ref bdd_and(struct bdd *bdd, bdd_ref f, bdd_ref g);
bdd_ref bdd_or(struct bdd *bdd, bdd_ref f, bdd_ref g);
bdd_ref bdd_not(struct bdd *bdd, bdd_ref f);

/* Whether two sets share a packet. Makes no nodes. */
bool bdd_meet(struct bdd *bdd, bdd_ref f, bdd_ref g);

/* f, but g where f has the leaf `fall`. */
bdd_ref bdd_then(struct bdd *bdd, bdd_ref f, bdd_ref fall, bdd_ref g);

/* f, but `to[i]` where f has the leaf `from[i]`: all of bdd_leaves(f), in their order. */
bdd_ref bdd_replace(struct bdd *bdd, bdd_ref f, const bdd_ref *from, const bdd_ref *to, size_t count);

/* f where the bits of some levels are known: `bits[level]` is 0, 1, or anything else for not known. */
bdd_ref bdd_restrict(struct bdd *bdd, bdd_ref f, const uint8_t *bits, size_t level_count);

/*
 * f with `to[level]` in place of each bit; BDD_NONE where it looks at one that is so there. With the same `to`, `op` may be
 * the same: one from bdd_op().
 */
bdd_ref bdd_rename(struct bdd *bdd, uint32_t op, bdd_ref f, const bdd_ref *to);
uint32_t bdd_op(struct bdd *bdd);
#define BDD_NONE UINT32_MAX

/* The set of packets for which f has the leaf. */
bdd_ref bdd_where(struct bdd *bdd, bdd_ref f, bdd_ref leaf);

/*
 * Within the set, what `join` says of the leaves of f and g (it returns a leaf); BDD_FALSE outside. `join` may be asked
 * of pairs that no packet of the set meets, unless it is BDD_FALSE for them, and must answer alike each time.
 */
bdd_ref bdd_join(struct bdd *bdd, bdd_ref set, bdd_ref f, bdd_ref g,
		 bdd_ref (*join)(void *context, uint32_t f, uint32_t g), void *context);

/* The leaves of f, each once, ascending. In the arena. */
const bdd_ref *bdd_leaves(struct bdd *bdd, bdd_ref f, size_t *ret_count);

/* Marks the levels that f looks at. */
void bdd_support(struct bdd *bdd, bdd_ref f, bool *levels);

/* The value of the leaf for one packet, given as a bit for each level. */
uint32_t bdd_follow(const struct bdd *bdd, bdd_ref f, const uint8_t *bits);

#endif
