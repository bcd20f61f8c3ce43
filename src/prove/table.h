/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Proof of tables: what its files share. A table is a blob of trees and records that a fixed program walks
 * (bpf/table_abi.h); how it is laid out is known to table_read.c only.
 */
#ifndef WEIR_PROVE_TABLE_H
#define WEIR_PROVE_TABLE_H

#include "prove/work.h"

enum { PACKET_WORDS = TABLE_REST }; /* those that a table can name */

/* --- reading the blob (table_read.c) -------------------------------------------------------------------- */

/* (word & mask) is in lo .. hi; `wraps`: at least lo or at most hi. */
struct bound {
	uint64_t mask, lo, hi;
	uint8_t word; /* of struct packet */
	bool wraps;
};

enum { BOUNDS_MAX = 48, QUESTIONS_MAX = 32 };

/* A record as the walker takes it. */
struct record {
	uint32_t order, answer;
	bool never; /* no packet agrees */
	bool last;  /* the leaf ends here */
	unsigned bound_count, question_count;
	unsigned own_count; /* of the bounds: the record's own, which are looked at before its order is; the others are tests' */
	bool own_never;     /* no packet agrees with these */
	struct bound bounds[BOUNDS_MAX];
	uint32_t questions[QUESTIONS_MAX]; /* asked of classify_rest() by these numbers */
};

struct table_hash;
struct known;

struct table_node {
	bool nowhere;    /* no such word */
	unsigned bits;   /* 0: a leaf */
	unsigned word, shift;
	uint64_t bound;  /* nothing below is of a lower order, it says */
	uint64_t base;   /* 0 in a leaf: nothing is read */
};

struct table {
	struct prove *prove;
	const uint64_t *words;
	size_t count;
	uint32_t limit;      /* the last index that is read */
	uint32_t scale;
	bool resumes, tests;
	uint64_t start;      /* what a search begins with: order << 32 | answer */
	uint32_t tag;        /* of the version in force; 0: there is none */
	struct table_trees {
		const uint32_t *roots;
		unsigned count;
		uint32_t changed;    /* root of one more tree, that of rules that were changed; 0: there is none */
		size_t longest;  /* most records of a leaf that are read */
		const struct table_hash *hash; /* NULL: none */
	} families[2];       /* IPv4, IPv6 */
};

/*
 * Trees have numbers: those that were built, and TREE_CHANGED, which is searched before them and the hash. Whether there is the
 * tree, and its root; most records of its leaves that are read.
 */
enum { TREE_CHANGED = TABLE_TREES, TREES_ALL };
bool table_tree(const struct table_trees *trees, unsigned tree, uint32_t *ret_root);
size_t table_longest(const struct table_trees *trees, unsigned tree);

/* Checks what is not of a tree; NULL if the proof was stopped. */
const struct table *table_read(struct prove *prove);
struct table_node table_node(const struct table *table, uint64_t index);
/* False: the index is beyond what is read. */
bool table_record(const struct table *table, bool six, uint64_t index, struct record *ret_record);
/* What the hash looks at of each word of a packet is added. */
void table_key_bits(const struct table_hash *hash, uint64_t looked[PACKET_WORDS]);
/*
 * The slot where packets are looked for of which that is known. False: it is not known, or there is none. The record in that
 * slot; false: it is beyond what is read.
 */
bool table_slot_of(const struct table *table, bool six, const struct known *known, uint64_t *ret_slot);
bool table_slot(const struct table *table, bool six, uint64_t slot, struct record *ret_record);
/* The size of a record in words. */
unsigned table_stride(bool six);
/* Its bytes, as far as they tell it from others, for interning; in all `table_stride()` words. */
void table_raw(const struct table *table, bool six, uint64_t index, uint64_t *ret_words);

enum { TABLE_FOREVER = TABLE_DEPTH_MAX };
/* Stops the proof if a path has more nodes than are counted: what is found there depends on the kernel's loops. */
void table_deep(struct prove *prove, unsigned depth);

/* --- the walker as diagrams (table_walk.c) -------------------------------------------------------------- */

bdd_ref bound_set(struct prove *prove, const struct bound *bound);
/* Whether packets that agree with what is in the slot are looked for there; all others find nothing in it. */
bool is_at_home(struct prove *prove, const struct table *table, bool six, uint64_t slot, struct record *ret_record);
/* Where the record agrees. */
bdd_ref record_set(struct prove *prove, const struct record *record);
/* What the walker's classify() returns; program_at() for tables. Exact, but large. */
bdd_ref table_program(struct prove *prove, uint32_t resume);

/* --- rules in a row (table_items.c) --------------------------------------------------------------------- */

/* Conditions of the jumps that lead to a chain. */
struct context {
	const struct cond *cond; /* NULL: none */
	uint32_t outer;          /* NO_CONTEXT */
};
#define NO_CONTEXT UINT32_MAX

/*
 * One thing that happens to packets, in order: of the items whose conditions hold, the first one from where judging goes
 * on. It ends the judging, or judging goes on at item `next`; behind all items the default decides. If its rule needs a
 * token and gets none, it does nothing, and judging goes on at item `without`.
 */
struct item {
	const struct rule *rule; /* NULL: the end of a chain that was gone to */
	uint32_t context;
	uint32_t next, without;
	bool decides;
};

struct items {
	VEC(struct item) list;
	VEC(struct context) contexts;
};

/* Lays the rules out for packets that are IP. False, with the proof stopped, if they are too many. */
bool items_lay(struct prove *prove, struct items *ret_items);
/* Where the item holds. Not kept. */
bdd_ref item_set(struct prove *prove, const struct items *items, const struct item *item);
/* Whether the answer (with a token, for which it has `asked`, or NULL) says what the item does; where it resumes apart. */
bool item_is(struct prove *prove, const struct items *items, const struct item *item, const struct answer_run *asked,
	     const struct answer_run *run);

/* --- the proof (table.c) -------------------------------------------------------------------------------- */

/* Like compare_fully(), for all packets. Leaves `fixed` at what the difference is for. */
bool table_compare(struct prove *prove, bdd_ref *ret_different);
/* Notes the bits of struct packet, by word, that the walker looks at. Whether packet.resume is among them. */
bool table_note(struct prove *prove, const uint64_t *looked);

/* From now on only packets of the family count, and those that are known so (NULL: all). */
struct known;
void table_fix(struct prove *prove, bool six, const struct known *known);
/* One packet of the set, any. */
struct known table_pick(struct prove *prove, bdd_ref set, uint64_t *random);

/* --- one family (table_match.c) ------------------------------------------------------------------------- */

/* Some bits of a packet, by word. */
struct known {
	uint64_t mask[PACKET_WORDS], bits[PACKET_WORDS];
};

/* Packets for which it was not shown that the table does what the rules say. */
struct suspects {
	VEC(struct known) list;
	bool all; /* too many */
};

void suspect(struct prove *prove, struct suspects *suspects, const struct known *known);
/* The bits that all numbers within the bound have in common; they are as in bound->lo. */
uint64_t bound_told(const struct bound *bound);
void known_add(struct known *known, unsigned word, uint64_t mask, uint64_t bits);
/* What the record's bounds say of single bits. */
void known_record(struct known *known, const struct record *record);
bdd_ref known_set(struct prove *prove, const struct known *known);
/* The bits that all packets of the set have in common. */
void known_of_set(struct prove *prove, bdd_ref set, struct known *ret_known);

/* A record of the blob, wherever it stands; those of one order stand together. */
struct member {
	struct record record;
	bool hides;  /* where it agrees, nothing of a higher order matters */
	bool masked; /* it is taken by no packet that is no suspect, because of what is in the tree of changes */
	uint32_t item;
	unsigned trees; /* bit i: it is in that tree; none: it is in the hash */
};
#define NO_ITEM UINT32_MAX

static inline bool is_changed(const struct member *member)
{
	return member->trees >> TREE_CHANGED & 1;
}

struct family {
	struct prove *prove;
	const struct table *table;
	bool six;
	bdd_ref packets;     /* that there are */
	bdd_ref likely;      /* as maps of constants are; packets that are not do not count either */
	struct intern raws;  /* what table_raw() says: the number is the member's index in `members` */
	VEC(struct member *) members; /* those of the trees, then those of the hash */
	uint32_t *at_slot;   /* by slot: the member that packets may find there + 1, or 0 */
	uint32_t *by_order;  /* indexes of members, by order ascending */
	size_t mark;         /* of the diagrams */
	uint64_t looked[PACKET_WORDS]; /* bits of struct packet that decide where to go, or are compared */
	struct suspects suspects;
};

/* Reads all trees. */
void family_collect(struct family *family);
/* Shows it for all packets but the suspects. */
void family_prove(struct family *family);
/* Forgets diagrams, if they have become many, that were made since the mark. */
void family_tidy(struct family *family);
/* Those of the packets that count. */
bdd_ref family_real(const struct family *family, bdd_ref packets);
/* Shows that each tree finds all of its records where they matter (table_deal.c). */
void family_deal(struct family *family);
/* The part of the packets that no record which hides, of an item before that one, agrees with (table_deal.c). */
bdd_ref family_left(struct family *family, bdd_ref packets, uint32_t item);
/* The same, of those in the tree of changes alone. */
bdd_ref family_left_changed(struct family *family, bdd_ref packets, uint32_t item);

#endif
