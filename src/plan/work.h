/* SPDX-License-Identifier: GPL-2.0-only */
/* What the planner's files share. Nothing here is for other stages. */
#ifndef WEIR_PLAN_WORK_H
#define WEIR_PLAN_WORK_H

#include "plan/plan.h"

/*
 * Most edges of a diagram. 10,000 rules of two prefixes and a port: 80,000 edges, 134 ms to plan, 153,000
 * instructions, 113 ms to load; as a list they cost 16 us a packet. An edge makes 1.5 to 4 instructions, of which the
 * kernel takes 1,000,000.
 */
enum { PLAN_DIAGRAM_BUDGET = 100000 };

/*
 * Constants in one condition from which a map is looked up instead of a comparison tree. Tree of 256 leaves: 34 ns on
 * random values, 7 on a repeated one; hash of 1,000: 21 and 12; LPM trie of 1,000: 89, tree of 4,096 leaves: 53.
 */
enum { PLAN_INLINE_SET_MIN = 256, PLAN_INLINE_LPM_MIN = 2048 };
enum { PLAN_BISECT_MIN = 32 };
enum { PLAN_TOUCHED_MIN = 1 << 19 };   /* bytes: the second-level cache of small processors */

enum { PLAN_INLINE_MAPS_MAX = 32 };  /* maps, named ones included, from which on constants are compared */
enum { PLAN_DEPTH_MAX = 1000 };      /* nesting of conditions */
enum { PLAN_LIST_MAX = 1000000 };    /* items of a list */
enum { PLAN_STEPS_MAX = 1000000 };   /* steps of all answers together */

/* Families as dimension values: those between the named ones do not occur. */
enum { FAMILY_MAX = FAMILY_IPV6 };

/* One planning. */
struct work {
	struct arena *arena;
	const struct ruleset *ruleset;
	enum hook hook;
	struct plan_options options;
	struct diags *diags;
	bool exact;                /* one dimension a field, so that no relation between values is lost */
	bool for_list;             /* tests must stay small: more constants go to maps */
	VEC(struct dim) dims;      /* as they come up; the diagram has them in an order of its own */
	VEC(struct plan_set) sets;
	uint32_t *named_sets;      /* index into `sets` of each named set: its IPv4 or only map; IPv6 follows */
	const struct test **tests; /* by rule number: the rule's condition */
	const struct rule **rules; /* by rule number */
	uint32_t *first_log;       /* by rule number: index of its first log statement */
	uint32_t *first_rate;      /* by rule number: index of its first rate */
};

/* Collects rules, sets and conditions, also anew after `for_list` was set. -EINVAL with a diagnostic. */
int work_prepare(struct work *work);
/* Whether there are few enough dimensions for diagrams, whose walks nest as deep. */
bool work_fits_diagram(const struct work *work);

/* --- tests ---------------------------------------------------------------------------------------------- */

/* The two constant tests; no finished plan has them. Compared by address. */
extern const struct test test_always, test_never;

/* Takes ownership of nothing: intervals are sorted and merged in place and kept. */
const struct test *test_in(struct work *work, uint32_t dim, struct interval *intervals, size_t count);
const struct test *test_between(struct work *work, uint32_t dim, uint64_t lo, uint64_t hi);
const struct test *test_not(struct work *work, const struct test *test);
/* AND or OR: flattened, constants folded, tests of one dimension joined. */
const struct test *test_join(struct work *work, enum test_kind kind, const struct test *const *items, size_t count);
const struct test *test_pair(struct work *work, enum test_kind kind, const struct test *left,
			     const struct test *right);
/* The test, knowing that the dimension's value is in lo .. hi. */
const struct test *test_assume(struct work *work, const struct test *test, uint32_t dim, uint64_t lo, uint64_t hi);
bool test_looks_at(const struct test *test, uint32_t dim);

/* --- dimensions and sets -------------------------------------------------------------------------------- */

uint32_t dims_family(struct work *work);
/* The condition over dimensions, which are added as needed. NULL is always true. */
const struct test *dims_condition(struct work *work, const struct cond *cond);

void sets_collect(struct work *work);
/* The map for a match that is better looked up, as an index into work.sets, or -1. */
int sets_inline(struct work *work, const struct cond *match);
bool set_contains(const struct plan_set *set, u128 value);

/* --- diagrams ------------------------------------------------------------------------------------------- */

enum { REF_NO = DIAGRAM_LEAF, REF_YES = DIAGRAM_LEAF | 1 };

enum diagram_op {
	OP_AND = 1, /* of conditions: leaves REF_NO, REF_YES */
	OP_OR,
	OP_NOT,     /* one operand */
	OP_GUARD,   /* condition, decision: the decision where the condition holds, else LIST_FALL */
	OP_THEN,    /* decision, decision: the second goes on where the first falls through */
	OP_RETURNS, /* one operand: LIST_RETURN becomes LIST_FALL */
	OP_LEAVES,  /* one operand: LIST_FALL becomes LIST_RETURN */
	OP_PRUNE,   /* not for diagram_apply() */
	OP_CELL,
	OP_PAIR,
	OP_CHOICE,
	OP_ASK,     /* decision, rule as a leaf: see diagram_ask() */
	OP_ALIKE,
	OP_DIFFER,
	OP_TAKEN,
	OP_CHANGE,  /* and the enum list_end after it */
};

/*
 * Leaves of decisions: lists of rules that matched, hash-consed. The first ones are ends without a rule; others are a
 * rule before another list. LIST_DECIDED: the last rule's verdict decides. Where the rule needs a token, the list goes on in
 * either of two ways.
 */
enum list_end { LIST_FALL, LIST_RETURN, LIST_DECIDED, LIST_DEFAULT, LIST_NON_IP, LIST_ENDS };

struct list_cell {
	uint32_t rule; /* number */
	uint32_t tail;
	uint32_t otherwise; /* without a token; LIST_NONE: the rule needs none */
	uint32_t length; /* rules in it, at most */
	uint32_t ends;   /* bit e: it may end in enum list_end e */
};
#define LIST_END(end) (1u << (end))
#define LIST_NONE UINT32_MAX

struct memo {
	uint32_t op, left, right, result;
};

struct diagrams {
	struct arena *arena;
	const struct dim *dims;
	size_t dim_count;
	VEC(struct diagram_node) nodes;
	VEC(struct diagram_edge) scratch;
	VEC(struct list_cell) cells;
	uint32_t pair_count;  /* of lists that a token decides between */
	uint32_t *unique;     /* open hash table of node index + 1 */
	size_t unique_size;
	struct memo *memos;   /* open hash table; op 0: empty */
	size_t memo_size, memo_count;
	size_t effort, effort_max; /* edges, leaves and steps made so far; over the limit all results are void */
	bool over;
};

static inline bool is_leaf(diagram_ref ref)
{
	return ref & DIAGRAM_LEAF;
}

static inline uint32_t top_dim(const struct diagrams *diagrams, diagram_ref ref)
{
	return is_leaf(ref) ? UINT32_MAX : diagrams->nodes.items[ref].dim;
}

/* An empty store of diagrams over dimensions that are in their final order. */
struct diagrams *diagrams_new(struct arena *arena, const struct dim *dims, size_t dim_count, size_t effort_max);

diagram_ref diagram_apply(struct diagrams *diagrams, enum diagram_op op, diagram_ref left, diagram_ref right);
/* The node that leads to `inside` for values in the intervals, else to `outside`. */
diagram_ref diagram_split(struct diagrams *diagrams, uint32_t dim, const struct interval *intervals, size_t count,
			  diagram_ref inside, diagram_ref outside);
/* The leaf: a rule, then the list that leaf `tail` stands for. */
diagram_ref diagram_cons(struct diagrams *diagrams, uint32_t rule, diagram_ref tail);

/* The decision if the rule gets its token, else LIST_FALL. */
diagram_ref diagram_ask(struct diagrams *diagrams, uint32_t rule, diagram_ref decision);

/* For building nodes: push edges from diagram_begin() on, then make. Equal neighbours are joined. */
size_t diagram_begin(const struct diagrams *diagrams);
void diagram_push(struct diagrams *diagrams, size_t base, uint64_t last, diagram_ref to);
diagram_ref diagram_make(struct diagrams *diagrams, uint32_t dim, size_t base);

bool diagram_recall(const struct diagrams *diagrams, uint32_t op, uint32_t left, uint32_t right, uint32_t *ret);
void diagram_remember(struct diagrams *diagrams, uint32_t op, uint32_t left, uint32_t right, uint32_t result);

/* Counts effort; false if that was too much. */
bool diagram_spend(struct diagrams *diagrams, size_t effort);

/* Drops what no packet can meet: see prune.c for the relations between fields that it uses. */
diagram_ref diagram_prune(struct diagrams *diagrams, diagram_ref root);

/* --- building ------------------------------------------------------------------------------------------- */

/* One attempt: the rule set as a diagram in one order of dimensions. */
struct attempt {
	struct work *work;
	struct diagrams *diagrams;
	uint32_t *level_of;     /* by work dimension: its index in the diagram's order */
	struct dim *dims;       /* in the diagram's order */
	size_t rule_cap;        /* most rules of a chain to look at; for trials */
	bool deciders;          /* lists hold no rule but the one that decides */
	diagram_ref *conds;     /* by rule number; REF_UNKNOWN until asked for */
	diagram_ref *chains[2]; /* by `named`, then chain */
	diagram_ref ip;         /* condition: the packet is IP */
	diagram_ref root;
	unsigned order;
	size_t edges;           /* in the finished diagram */
	size_t cost;            /* to compare orders by */
};
#define REF_UNKNOWN 0xffffffffu

enum { ORDER_COUNT = 5 };

/* Sets up an attempt with the given order (0 .. ORDER_COUNT - 1) of the work's dimensions. */
struct attempt *attempt_new(struct work *work, unsigned order, size_t effort_max);
diagram_ref attempt_condition(struct attempt *attempt, uint32_t rule);
/* What a packet meets at this rule; `named`: a rule on the way to it names the link layer. */
diagram_ref attempt_rule(struct attempt *attempt, const struct rule *rule, bool named);
/* What a packet meets that is judged by this chain and what comes behind it, with these defaults. */
diagram_ref attempt_policy(struct attempt *attempt, uint32_t chain, const struct ruleset *defaults);
/* Builds and prunes the whole; false if over budget. */
bool attempt_build(struct attempt *attempt, size_t edge_budget);

/* The terminal action of a rule (VERDICT, JUMP, GOTO, RETURN), or NULL. */
const struct action *rule_terminal(const struct rule *rule);

/* --- answers -------------------------------------------------------------------------------------------- */

struct answers {
	struct work *work;
	VEC(uint32_t) codes;
	VEC(uint32_t) rules;
	VEC(struct step) steps;
	uint32_t *plain; /* by slot: index + 1 of the plain answer that counts there */
	uint32_t *starts; /* by list of a diagram: index + 1 of the step at which it begins */
};

void answers_init(struct answers *answers, struct work *work);
uint32_t answers_verdict(struct answers *answers, enum verdict verdict, uint32_t slot);
uint32_t answers_default(struct answers *answers);
uint32_t answers_non_ip(struct answers *answers);
/*
 * Appends what a matched rule does; a verdict ends the run. A rule that needs a token: the first step asks for it, and
 * answers_otherwise() says where to go on without.
 */
void answers_rule_steps(struct answers *answers, const struct rule *rule);
/* Without a token, the run that began at `first` goes on at the step that comes next. */
void answers_otherwise(struct answers *answers, size_t first);
void answers_step(struct answers *answers, struct step step);
/* An answer that runs the steps from `first` on. */
uint32_t answers_run(struct answers *answers, size_t first, uint32_t rule);
/* The rule's own answer if it ends in a verdict. */
uint32_t answers_rule(struct answers *answers, const struct rule *rule);
/* The answer for a leaf of a decision diagram. */
uint32_t answers_list(struct answers *answers, const struct diagrams *diagrams, uint32_t list);
/* Moves answers, steps and logs into the plan. */
void answers_finish(struct answers *answers, struct plan *plan);

/* --- cache.c ---------------------------------------------------------------------------------------------- */

/* Fills in the cache of answers, if there is to be one. -EINVAL with a diagnostic if the policy asks for what cannot be. */
int cache_choose(struct work *work, struct plan *plan);

/* --- the two forms -------------------------------------------------------------------------------------- */

/* Fills in dims and diagram from a finished attempt. */
void diagram_finish(struct attempt *attempt, struct answers *answers, struct plan *plan);
/* Fills in dims and items. -EINVAL with a diagnostic if it becomes too long. */
int list_build(struct work *work, struct answers *answers, struct plan *plan);
/* Fills in the items that judge what is not IP, and no more. False if they are too many. */
bool list_build_other(struct work *work, struct answers *answers, struct plan *plan);

#endif
