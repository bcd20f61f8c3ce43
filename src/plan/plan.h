/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Plan: how one rule set will be decided at one hook. Input: a ruleset; output: dimensions (what of a packet is
 * looked at), map-backed sets, and a decision diagram, a table or a first-match list. Fails with a diagnostic.
 *
 * A plan is specific to a hook: fields that the hook cannot see are absent, `direction` is a constant.
 */
#ifndef WEIR_PLAN_PLAN_H
#define WEIR_PLAN_PLAN_H

#include "bpf/cache_abi.h"
#include "bpf/knock_abi.h"
#include "bpf/plane_abi.h"
#include "bpf/table_abi.h"
#include "ir/ir.h"

/* What one test looks at: a number of at most 64 bits. */
enum dim_kind {
	DIM_VALUE, /* (load(offset, size) & mask), compared with intervals */
	DIM_SET,   /* 1 if load(offset, size) is in plan.sets[set], else 0 */
};

struct dim {
	enum dim_kind kind;
	enum field field;
	uint8_t offset; /* in struct packet; IPv6 addresses are two dimensions for DIM_VALUE, one (size 16) for DIM_SET */
	uint8_t size;   /* 1, 2, 4, 8; DIM_SET also 16 */
	uint64_t mask;  /* DIM_VALUE: ~0 if nothing is masked */
	uint64_t max;   /* greatest value it can have, the absent value included */
	uint32_t set;
	const char *name; /* for people: "ip.src", "ipv6.src.hi", "mark & 0xff", "ip.src in blocked" */
	bool tuned;     /* of struct packet's `tuned`: a comparison of `field`, which does not stand at `offset` then */
};

enum set_key { KEY_IPV4, KEY_IPV6, KEY_VALUE }; /* key layouts in bpf/plane_abi.h */

/* One BPF map with elements to look up. */
struct plan_set {
	char map[16];      /* its name in the object: "set_0_4", "set_0_6", "inline_3" */
	int32_t named;     /* index into ruleset.sets, or -1: constants of a rule */
	enum set_key key;
	bool lpm;          /* LPM trie with struct prefix*_key, else hash */
	uint32_t max_elements;
	const struct range *elements; /* what it holds at first: prefixes for an LPM; for a hash each single value */
	size_t count;                 /* of ranges; a hash holds every value of each range */
	bool timed;                   /* elements may expire */
	const uint32_t *timeouts;     /* milliseconds for each range, 0: never; or NULL */
};

/* A node of the diagram, or with DIAGRAM_LEAF set, an index into plan.answers. */
typedef uint32_t diagram_ref;
#define DIAGRAM_LEAF 0x80000000u

struct diagram_edge {
	uint64_t last; /* the edge is taken for values after the previous edge's `last`, up to this one, inclusive */
	diagram_ref to;
};

/* Edges ascend; the last one's `last` is the dimension's max; neighbours lead to different places; at least two. */
struct diagram_node {
	uint32_t dim; /* smaller than that of every node below: a path tests each dimension at most once */
	uint32_t edge_count;
	const struct diagram_edge *edges;
};

/* Children come before parents in `nodes`. Only nodes that the root reaches. */
struct diagram {
	const struct diagram_node *nodes;
	size_t node_count;
	diagram_ref root;
	size_t edge_count; /* over all nodes */
};

/* A test of the list form. */
enum test_kind { TEST_AND, TEST_OR, TEST_NOT, TEST_IN };

struct interval {
	uint64_t lo, hi; /* inclusive */
};

struct test {
	enum test_kind kind;
	union {
		struct {
			const struct test **items;
			size_t count; /* at least 1 */
		} list;
		const struct test *inner;
		struct {
			uint32_t dim;
			const struct interval *intervals; /* sorted, disjoint, not adjacent */
			size_t count;
		} in;
	};
};

/*
 * The list form: a straight program. Runs from items[0], or from the item whose `resume` equals packet.resume when
 * that is not 0; every jump goes forward; the last item always answers.
 */
struct list_item {
	const struct test *test; /* NULL: always */
	bool answers;            /* if the test holds: answer; else: go on at `target` */
	uint32_t answer;         /* index into plan.answers */
	uint32_t target;         /* item index, greater than this one's */
	uint32_t resume;         /* 0, or the value of packet.resume that starts here */
	uint32_t rule;           /* number of the rule this comes from, 0: none */
};

/*
 * The table form: trees in a blob, which a fixed program walks (bpf/table_abi.h). The items are the program of
 * classify_rest() then, a list in two parts: from items[0] on it judges what is not IP; each item with a `resume` begins
 * the answer (TABLE_YES or not) to a question that records ask by that number.
 */
struct plan_table {
	struct table_config config;
	const uint64_t *words;
	size_t word_count;
	size_t tree_words;     /* without the room for changed rules and the list of entries */
	size_t step_room;      /* steps to be kept free behind the plan's own; 0: rules cannot be changed in place */
	size_t entries[2];     /* IPv4, IPv6 */
	bool bisects;          /* so that ranges overlap less, at the cost of memory */
	size_t hashed[2];      /* of them, IPv4's and IPv6's that are in a hash */
	double nodes, records; /* visited on average, as predicted */
	double ns;             /* a packet, as predicted */
};

enum plan_kind { PLAN_DIAGRAM, PLAN_LIST, PLAN_TABLE };

struct plan {
	enum plan_kind kind;
	enum hook hook;
	const struct ruleset *ruleset; /* as ruleset_expand() makes it */
	const struct dim *dims; /* in the diagram's order */
	size_t dim_count;
	field_mask needed;      /* bit f: some dimension or key of a rate looks at enum field f */
	uint32_t tuned;         /* bit i: and at comparison i with a tunable */
	const struct plan_set *sets;
	size_t set_count;
	const uint32_t *answers; /* as classify() returns them (bpf/plane_abi.h) */
	size_t answer_count;
	const uint32_t *answer_rules; /* for each answer, number of the deciding rule, or 0 */
	const struct step *steps;
	size_t step_count;
	const struct log_limit *logs; /* one for each log statement, in the order of rules */
	const uint32_t *log_rules;    /* rule number of each */
	const char *const *log_texts;
	size_t log_count;
	const struct rate_limit *rates; /* one for each rate, in the order of rules */
	size_t rate_count;
	uint32_t buckets, flow_buckets; /* that are kept for them */
	uint32_t slots;          /* counter slots: SLOT_RULES + rules + named counters */
	struct diagram diagram;  /* PLAN_DIAGRAM */
	const struct list_item *items; /* PLAN_LIST, PLAN_TABLE */
	size_t item_count;
	struct plan_table table;       /* PLAN_TABLE */
	struct cache_config cache;     /* by what answers are kept, for each family */
	uint32_t cache_chunks;         /* that a CPU has for them; 0: none are kept */
	const char *reason;      /* one sentence: why this kind */
};

struct plan_options {
	size_t diagram_budget; /* most diagram edges before the list is taken; 0: PLAN_DIAGRAM_BUDGET */
	size_t inline_set_min; /* constants in one condition from which a map is used; 0: PLAN_INLINE_SET_MIN */
	size_t touched_min;    /* bytes of a table from which on trees are read ahead; 0: PLAN_TOUCHED_MIN */
	unsigned bisect_min;    /* records a packet from which on trees bisect, for ranges that overlap; 0: PLAN_BISECT_MIN */
	size_t hash_min;       /* keys from which on a table has a hash; 0: where it is expected to be faster */
};

/*
 * Plans one policy for one hook. -EINVAL with a diagnostic if it cannot be done (a policy's own `classifier =` asks
 * for what does not fit). Only inside arena_run().
 */
int plan_build(struct arena *arena, const struct ruleset *ruleset, enum hook hook, const struct plan_options *options,
	       struct diags *diags, const struct plan **ret_plan);

/* The maps of the policy's named sets, as any plan for it has them. Only inside arena_run(). */
void plan_sets(struct arena *arena, const struct ruleset *ruleset, const struct plan_set **ret_sets, size_t *ret_count);

/* What is to change in a table in force: rules that go, by order, and rules that come. */
struct plan_delta {
	const uint32_t *gone;
	size_t gone_count;
	const struct ruleset *rules; /* one chain; NULL: none comes */
	const uint32_t *orders, *slots; /* of these by number; counted in which slot */
	const uint32_t *logs; /* and index of their log statement, if they have one; NULL: there is no room for any */
};

/* A new version of the table, as words and steps to be put into its room (bpf/table_abi.h). */
struct plan_patch {
	const uint64_t *words;
	uint32_t start, end, index;
	const struct step *steps;
	uint32_t steps_start, step_count;
};

/* What a log statement begins with. */
struct log_limit plan_log_limit(const struct action *action);

/*
 * Makes the version that will be in force from the epoch behind `epoch` on. `settled`: no packet meets other versions than
 * the newest. -EAGAIN: only if that is so; -EOPNOTSUPP: the table must be built anew; *ret_reason then.
 */
int plan_patch(struct arena *arena, const uint64_t *words, uint64_t epoch, bool settled,
	       const struct plan_delta *delta, struct plan_patch *ret_patch, const char **ret_reason);

/*
 * Warns about rules that can never match, naming (related place) a rule that hides them, exact where the diagram
 * fits its budget, and about conditions that no packet meets. Says nothing where it does not know.
 */
void plan_warn(struct arena *arena, const struct ruleset *ruleset, enum hook hook, struct diags *diags);

/* What classify() would return for the packet: the plan walked directly. A step between model and code. */
uint32_t plan_evaluate(const struct plan *plan, const struct packet *packet);

/* Text for `weir compile --emit diagram` and `--emit plan`, and Graphviz for `--emit dot`. In the arena. */
char *plan_print_diagram(struct arena *arena, const struct plan *plan);
char *plan_print_summary(struct arena *arena, const struct plan *plan);
char *plan_print_dot(struct arena *arena, const struct plan *plan);

#endif
