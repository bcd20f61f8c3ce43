/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AST to IR: names, types, hooks. Each function reports what is wrong at its place and returns something harmless, so
 * that all errors of a file come in one go; whoever asked for the result looks at diags->errors first.
 */
#ifndef WEIR_LANG_LOWER_H
#define WEIR_LANG_LOWER_H

#include "lang/ast.h"
#include "lang/lang.h"
#include "lang/words.h"

enum {
	SET_DEFAULT_MAX = 65536,
	DEFINE_COST = 16,
	DEFINE_DEPTH_MAX = 100, /* defines that name defines */
	SET_MAX = 16 * 1024 * 1024, /* elements of a set, and of all lists of one policy together */
};

#define TIMEOUT_MAX_MS (49u * 86400000u) /* as many days as 32 bits hold */

/* A file that was included; read once. */
struct included {
	const char *path;
	const struct source *source; /* NULL: could not be read */
};

enum local_kind { LOCAL_NONE, LOCAL_DEFINE, LOCAL_SET, LOCAL_CHAIN, LOCAL_KNOCK, LOCAL_POLICY };

/* What a name of the file stands for. */
struct local {
	enum local_kind kind;
	const struct word *name;
	struct define_node *define;
	struct set_node *set;
	struct knock_node *knock;
	int chain;    /* its number in the policy */
	unsigned index; /* of the knock in the policy */
	size_t order; /* of giving */
};

/* A tunable that something asks for. */
struct tuned {
	struct define_node *define;
	unsigned uses, compared; /* so often; and so often of these by a comparison of the ruleset */
	uint64_t value;          /* if compared: */
	uint32_t index;          /* among the ruleset's tunables */
};

/* What one compilation knows. */
struct lower {
	struct arena *arena;
	struct diags *diags;
	const struct lang_input *input;
	struct file_node *file;
	VEC(struct included) included;

	/* the policy at hand */
	struct policy_node *policy; /* NULL: a bare expression */
	VEC(struct local) names;    /* of the file and the policy, sorted */
	hook_mask hooks;            /* where it sits; 0: an expression that may go anywhere */
	hook_mask tracks;           /* where it sees connections besides */
	hook_mask possible;         /* then: the hooks that know all fields so far */
	VEC(struct set) sets;
	VEC(struct set_node *) set_nodes; /* beside `sets` */
	VEC(const char *) counters;
	VEC(struct program) programs;
	VEC(struct program) roots;  /* of trees */
	uint8_t levels[PACKET_CGROUPS];
	uint8_t level_count;
	VEC(struct tuned) tuned;    /* the tunables that something asks for */
	unsigned tuned_uses;        /* of all of them */
	VEC(struct comparison) comparisons;
	uint32_t tunable_count;     /* that these compare with */
	size_t elements;            /* of all lists so far; a define costs DEFINE_COST */
	unsigned define_depth;
	const struct span *shorthand; /* inside a short name: the place of it, and no hook is checked */
};

/* --- names of the file and policy (scope.c) ------------------------------------------------------------- */

/* Reports names that are taken or given twice. */
void scope_check_file(struct lower *lower);
void scope_check_policy(struct lower *lower);
struct local scope_find(struct lower *lower, const char *name);
/* Index of the chain in the policy, or -1. */
int scope_chain(struct lower *lower, const char *name);
/* Index of the set in lower->sets, which gets it if it is not there yet. */
uint32_t scope_set(struct lower *lower, struct set_node *node);
void scope_warn_unused_policy(struct lower *lower);
void scope_warn_unused_file(struct lower *lower);
/* The nearest name of that kind, or NULL; LOCAL_NONE: the nearest define or set. */
const char *scope_nearest(struct lower *lower, const char *name, enum local_kind kind);

/* --- values (operand.c) --------------------------------------------------------------------------------- */

struct icmp_pair {
	bool v6;
	uint8_t type;
	uint8_t code;
};

struct cgroup_ref {
	uint8_t slot;
	uint64_t id;
};

/* What stands on the right of a comparison, or a set's elements: values of one type. */
struct operand {
	const struct field_word *field;
	const char *subject; /* "`ip.src`", "the set `blocked`" */
	bool single;         /* `==`: one value, prefix or range, no list */
	bool of_set;         /* a set's elements: no sets among them */
	bool of_tree;        /* programs are roots of trees */
	bool probe;          /* only asks whether there is such a name: nothing is reported */
	bool timed;          /* a set's elements, which may have timeouts: */
	uint32_t timeout_ms; /* those that name none have this one */
	bool failed;
	VEC(struct range) ranges;
	VEC(struct range) ranges6; /* IPv6 addresses, ICMPv6 types */
	VEC(uint32_t) timeouts;    /* of the first ranges, in milliseconds; there are none behind the last */
	VEC(uint32_t) timeouts6;
	VEC(uint32_t) sets;
	VEC(struct icmp_pair) pairs;
	VEC(struct cgroup_ref) cgroups;
};

/* The elements that came since there were `ranges` and `ranges6` have this timeout. */
void operand_timeout(struct lower *lower, struct operand *operand, const struct word *timeout, size_t ranges,
		     size_t ranges6);
void operand_value(struct lower *lower, struct operand *operand, const struct value *value);
/* A literal of `length` bytes: true if it was one, right or wrong; else it may be a name. */
bool operand_literal(struct lower *lower, struct operand *operand, const char *text, size_t length, struct span span);
/* A system name. */
void operand_name(struct lower *lower, struct operand *operand, const struct word *word);
/* The users who are in a group. */
void operand_members(struct lower *lower, struct operand *operand, const struct value *members);
/* What the field's values are: "an IPv4 address". */
const char *operand_needs(const struct operand *operand);
/* The greatest value that the field may be compared with. */
u128 operand_max(const struct field_word *field);
/* `shorthand`'s place instead, if there is one. */
struct span lower_span(const struct lower *lower, struct span span);

/* --- elements (elements.c, sets.c) ---------------------------------------------------------------------- */

/* Adds the elements of a text of one element a line. */
void elements_read(struct lower *lower, struct operand *operand, const struct source *source);
/* Reads the file that a word at that place names; NULL after an error. */
const struct source *elements_include(struct lower *lower, const struct word *path);
/* The IR set of a declaration. */
void set_lower(struct lower *lower, const struct set_node *node, struct set *ret_set);
/* A time of at least a millisecond, or `never`, which is 0; false after an error at the word. */
bool timeout_lower(struct lower *lower, const struct word *word, uint32_t *ret_ms);
/* An operand with the type of a set's elements. */
struct operand set_operand(enum set_type type, const char *subject, bool timed);
void set_fill(struct lower *lower, struct operand *operand, enum set_type type, struct set *ret_set);

/* --- conditions (lower_cond.c, lower_expr.c) ------------------------------------------------------------ */

/* The field is one of the operand's values. With `negate` (owner fields): it is known, and none of them. */
const struct cond *cond_from_operand(struct lower *lower, const struct operand *operand, bool negate,
				     struct span span);
const struct cond *cond_list(struct lower *lower, enum cond_kind kind, const struct cond **items, size_t count,
			     struct span span);
const struct cond *cond_false(struct lower *lower, struct span span);
/* `hooks`: where it is judged, as far as `ingress` and `egress` around it tell. */
const struct cond *lower_expr(struct lower *lower, struct expr *expr, hook_mask hooks, bool negate);
/* The hooks of `hooks` at which the condition can hold, going by `ingress` and `egress` in it. */
hook_mask expr_hooks(const struct expr *expr, hook_mask hooks);
hook_mask hooks_of_direction(enum direction direction);
/*
 * Those of `hooks` that can leave to the policy's packet hooks what they cannot tell: system calls (ir/split.h). Nothing
 * is asked of them.
 */
hook_mask hooks_that_leave(const struct lower *lower, hook_mask hooks);

/* --- tunables (tunable.c) ------------------------------------------------------------------------------- */

/* Something asks for the define, for what need not be known. */
void tunable_used(struct lower *lower, struct define_node *define);
/*
 * The condition that a comparison with one value became (NULL: with others), as one with the tunable that the value came
 * from; as it is, if it did not, or if more than a number is compared. `uses`: lower->tuned_uses before it was read.
 */
const struct cond *tunable_compare(struct lower *lower, const struct expr *expr, const struct field_word *field,
				   const struct range *value, unsigned uses, const struct cond *cond);
/* Gives the ruleset its tunables and comparisons. */
void tunables_finish(struct lower *lower, struct ruleset *ruleset);

/* --- knocks (knock.c) ----------------------------------------------------------------------------------- */

void knocks_lower(struct lower *lower, const struct policy_node *policy, struct ruleset *ruleset);
const struct cond *knocked_lower(struct lower *lower, const struct expr *expr);

/* --- policies (lower_policy.c, chains.c) ---------------------------------------------------------------- */

void policy_lower(struct lower *lower, struct policy_node *policy, struct ruleset *ret_ruleset);
void policy_attaches(struct lower *lower, struct policy_node *policy, struct ruleset *ruleset);
/* Actions of a rule; `hooks` as in lower_expr(). */
void actions_lower(struct lower *lower, const struct rule_node *node, hook_mask hooks, struct rule *rule);
/* The rate that a rule needs, as the first of its actions, or that it throttles to; or NULL after an error. */
const struct rate *rate_lower(struct lower *lower, const struct rate_node *node, bool throttle, hook_mask hooks);
/* "10/s": the time between two of them; false: not one. */
bool rate_parse(const char *text, struct rate *ret_rate);
/* A rate where none can be. */
void rate_misplaced(struct lower *lower, struct span span);
/* The condition tests the Ethernet type: its rule judges frames that are not IP, too. */
bool cond_names_link(const struct cond *cond);
/* `flows ...` of the policy. */
void flows_lower(struct lower *lower, const struct policy_node *policy, struct flow_settings *ret_flows);
/* `established` and its like; NULL: `word` is none of them. */
const struct cond *flow_state(struct lower *lower, const struct word *word, hook_mask hooks);
/* Reports cycles of jumps, and chains that nothing leads to. */
void chains_check(struct lower *lower, const struct ruleset *ruleset);

/* --- warnings (facts.c, guard.c, admit.c) --------------------------------------------------------------- */

/* Warns where operands of `and` exclude each other. */
void facts_warn(struct lower *lower, const struct cond *cond);
/* Warns about negated tests of fields that an accepted packet may lack. */
void guard_warn(struct lower *lower, const struct expr *expr);
/* Warns about what a `default drop` forgot. */
void admit_warn(struct lower *lower, const struct ruleset *ruleset);

#endif
