/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the table planner share: boxes, entries, trees. See table.c. */
#ifndef WEIR_PLAN_TABLE_H
#define WEIR_PLAN_TABLE_H

#include "bpf/table_abi.h"
#include "plan/work.h"

enum {
	TABLE_BOXES_MAX = 64,         /* that one rule may become under one jump; beyond, tests are asked apart */
	TABLE_BLOCKS_MAX = 8,         /* prefixes that a range of addresses becomes */
	TABLE_ENTRIES_MAX = 4000000,  /* of both families together; */
	TABLE_ENTRIES_LEAST = 200000, /* or this and so many for a rule, if that is fewer */
	TABLE_ENTRIES_RULE = 4,
	TABLE_EXTRAS_MAX = 200000,    /* record.tests has 20 bits, and the hash 2^18 places */
	TABLE_EXTRA_HASH = 1 << 18,
	TABLE_FIELDS_MAX = 16,        /* that trees may cut */
};

static inline uint64_t low_bits(unsigned bits)
{
	return bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
}

/* What records compare. Words are 64 bits; IPv4 addresses use the first words only. */
enum box_field { BOX_SRC, BOX_SRC_LO, BOX_DST, BOX_DST_LO, BOX_SRC_PORT, BOX_DST_PORT, BOX_PROTO, BOX_FIELDS };

/* Further tests, one behind the other. */
struct part {
	const struct part *next;
	struct table_test test;
};

/* A set of packets: intervals of dimension values, and further tests. */
struct box {
	struct interval in[BOX_FIELDS];
	const struct part *parts;
};

/* What becomes one record in each leaf it gets into. Addresses are aligned blocks of 2^shift values. */
struct table_entry {
	uint64_t address[4];
	uint8_t shift[4];
	uint16_t port_lo[2], port_hi[2]; /* source, destination */
	uint16_t value, mask;
	uint32_t tests;
	bool ends;      /* nothing behind it matters where it holds: no test, decides, and is never skipped */
	uint32_t order;
	uint32_t answer;
};

/* A part of the packet that trees may cut. */
struct cut_field {
	uint8_t word, bit, width;
	uint8_t box;    /* enum box_field; BOX_FIELDS: found in the further tests */
};

/* One family's entries, by order ascending. */
struct table_family {
	bool six;
	VEC(struct table_entry) entries;
	struct cut_field fields[TABLE_FIELDS_MAX];
	unsigned field_count;
};

struct blob {
	uint64_t *items;
	size_t count, capacity;
};

struct table_work {
	struct work *work;
	struct answers *answers;
	struct table_family families[2];
	VEC(struct table_test) extras;      /* the tests of all entries; [0] is none */
	VEC(struct list_item) items;        /* for classify_rest() */
	VEC(const struct test *) rests;     /* tests that it answers */
	uint32_t *rest_index;               /* hash of them: index + 1 */
	size_t rest_size;
	uint32_t *extra_index;              /* hash of runs of tests: first */
	size_t extra_size, extra_runs;
	uint32_t yes, no;                   /* answers */
	uint32_t questions;                 /* number that the first of the rests is asked by; each has two */
	uint32_t order;                     /* the next one */
	uint32_t *orders;                   /* by rule number, where each rule's is given (no chains but the main one); or NULL */
	const uint32_t *chain_sites;        /* by chain: how many it takes, its end included */
	uint32_t site_count;                /* of all that is judged, the end included */
	uint32_t stride;                    /* between sites as they are built; 0: rules cannot be changed in place */
	VEC(struct table_site) sites;       /* if there are chains */
	bool resumes;
	const struct hashed *hashed[2];     /* or NULL */
	const char *refused;                /* why no table can be made, or NULL */
};

/* --- table_boxes.c: conditions to boxes ------------------------------------------------------------------------- */

struct boxes {
	struct box *items;
	size_t count;
};

/* All packets. */
struct boxes boxes_all(struct table_work *table);
/* Has classify_rest() answer it; its index among the rests. */
uint32_t boxes_question(struct table_work *table, const struct test *test);
/* Those of `boxes` for which the test holds; at most TABLE_BOXES_MAX. */
struct boxes boxes_meet(struct table_work *table, const struct boxes *boxes, const struct test *test);
/* Adds the records' form of a box. */
void boxes_enter(struct table_work *table, struct table_family *family, const struct box *box, uint32_t order,
		 uint32_t answer, bool ends);
/* The values of a field that the entry lets in; false: no interval. */
bool entry_interval(const struct table_work *table, const struct table_family *family,
		    const struct table_entry *entry, unsigned field, struct interval *ret);

/* --- table_entries.c: rules to entries -------------------------------------------------------------------------- */

/* Lays out the rules of a rule set with one chain for one family, in the orders given. */
void entries_lay(struct table_work *table, struct table_family *family);

/* The number that the question of that index among the rests is asked by. */
uint32_t table_question(const struct table_work *table, uint64_t rest);
/* The named set that a test asks, or NULL; and what a question of that set is found by, but for its number and the set's name. */
const char *table_asks(const struct work *work, const struct test *test, struct table_name *ret_name);

/* Lays out the rules for both families, and the program of classify_rest(). */
void entries_build(struct table_work *table, struct plan *plan);

/* --- table_hash.c: entries to a hash ---------------------------------------------------------------------------- */

/* Entries of one family that fix the same fields. */
struct hashed {
	struct table_hash hash; /* without its places in the blob */
	size_t count;           /* entries in it */
	size_t taken_count;     /* and with those that it hides */
	const uint64_t *words;  /* its slots */
	const uint16_t *pilots;
	bool *taken;            /* by entry: it is in the hash, or hidden by one that is: trees need not have it */
	bool *hides;            /* by entry: it hides one that is nowhere */
};

/* NULL: there are too few such entries for it to be faster. */
const struct hashed *hash_build(struct table_work *table, const struct table_family *family);
/* Appends it to the blob. */
void hash_put(struct arena *arena, const struct hashed *hashed, struct blob *blob, struct table_hash *ret_hash);

/* --- table_tree.c: entries to trees ----------------------------------------------------------------------------- */

/* How to build. */
struct tree_shape {
	unsigned threshold;   /* prefixes shorter than this are short; 0: all entries in one tree */
	double growth;        /* most copies of an entry that one cut may make, on average */
	unsigned leaf;        /* entries up to which nothing is cut */
	bool bisects;         /* fields one after the other, whatever cuts promise: for ranges that overlap */
	size_t words_max;     /* of the blob */
	bool hash;            /* use table_work.hashed */
};

struct trees {
	uint32_t roots[TABLE_TREES];
	unsigned count;
	size_t longest; /* leaf, in records */
	bool *hides;    /* by entry: nodes lack what stands behind it */
};

/* So many words at the end of the blob, beginning at a multiple of `align`; their index. */
size_t blob_extend(struct arena *arena, struct blob *blob, size_t count, size_t align);
/* Entries as records, and back. Which of them end the judging is found again where they hold no test. */
void entry_put(uint64_t *to, const struct table_entry *entry, bool six, bool last);
void entry_get(const uint64_t *from, bool six, struct table_entry *ret_entry);
size_t entry_words(bool six);

/* Appends the family's trees to the blob; false if that or a leaf grew beyond its limit. */
bool trees_build(struct table_work *table, const struct table_family *family, const struct tree_shape *shape,
		 unsigned scale, struct blob *blob, struct trees *ret_trees);

/* --- table_walk.c: the walker in user space --------------------------------------------------------------------- */

struct table_visits {
	size_t nodes, records, slots;
	size_t packets[2];              /* by family */
	size_t entered[2][TABLE_TREES]; /* of them, those that went beyond the root */
};

/* What table_walk4/6() and classify() of bpf/table.bpf.c do. */
uint32_t table_walk(const struct plan *plan, const struct packet *packet, struct table_visits *visits,
		    uint32_t (*rest)(const struct plan *plan, const struct packet *packet));
/* Visits of about `count` packets drawn from the entries. */
void table_sample(const struct table_work *table, const struct plan *plan, unsigned count,
		  struct table_visits *ret_visits);

/* Cgroup levels that fields look at, as in struct table_header. */
uint32_t table_levels(const struct ruleset *ruleset);
/* What trees may always cut. */
void table_fields(struct table_family *family);

/* --- table.c ---------------------------------------------------------------------------------------------------- */

/* Fills the plan as PLAN_TABLE; false, with *ret_reason, if no table can be made. */
bool table_build(struct work *work, struct answers *answers, struct plan *plan, const char **ret_reason);

#endif
