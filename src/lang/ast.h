/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A policy file as written: names are not resolved, literals are text, order is kept. Made by the parser, read by the
 * checker and the printer. Everything lives in the compilation's arena.
 */
#ifndef WEIR_LANG_AST_H
#define WEIR_LANG_AST_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/source.h"

struct cond;
struct set;

/* A word or string; `text` NULL: not given. */
struct word {
	const char *text; /* without quotes and escapes, NUL-terminated */
	struct span span;
	bool quoted;
};

enum value_kind {
	VALUE_WORD,
	VALUE_LIST,    /* { a, b, include "f" } */
	VALUE_FLAGS,   /* syn|ack */
	VALUE_INCLUDE, /* word: the path */
	VALUE_MEMBERS, /* members(GROUP); word: the group */
	VALUE_ERROR,   /* already reported */
};

struct value {
	enum value_kind kind;
	struct span span;
	struct word word;          /* WORD, INCLUDE, MEMBERS */
	const struct word *timeout; /* WORD: of an element of a set; or NULL */
	const struct value *items; /* LIST, FLAGS */
	size_t count;
};

enum compare { COMPARE_EQ, COMPARE_NE, COMPARE_LT, COMPARE_LE, COMPARE_GT, COMPARE_GE, COMPARE_IN, COMPARE_NOT_IN,
	       COMPARE_GLOB };

enum expr_kind {
	EXPR_AND,
	EXPR_OR,
	EXPR_NOT,
	EXPR_WORD,    /* `udp`, `neighbour`: a condition of one word */
	EXPR_COMPARE, /* field [& mask] op value, `program in tree of value` */
	EXPR_KNOWN,   /* `user known` */
	EXPR_KNOCKED, /* `knocked(NAME)`; value.word: the name */
	EXPR_RATE,    /* only where it may not stand: of a rule's own the parser makes rule_node.rate */
};

/* `rate <= LIMIT [burst N] [per KEY [max N]]`, `log ... rate LIMIT [burst N]`. */
struct rate_node {
	struct span span;
	struct word limit;
	struct word burst;
	struct word key;
	struct word max;
};

struct expr {
	enum expr_kind kind;
	struct span span;
	struct expr **items; /* AND, OR: two or more; NOT: one */
	size_t count;
	struct word field;   /* WORD, COMPARE, KNOWN, KNOCKED */
	const struct value *mask; /* or NULL */
	enum compare op;
	bool tree;           /* COMPARE: IN, NOT_IN the tree of: those that descend from the program */
	struct span op_span;
	struct value value;
	const struct rate_node *rate; /* RATE */
	const struct cond *cond; /* what it was lowered to; set by the checker */
};

enum action_word {
	WORD_ACCEPT,
	WORD_DROP,
	WORD_REJECT,
	WORD_THROTTLE,
	WORD_COUNT,
	WORD_LOG,
	WORD_MARK,
	WORD_CAPTURE,
	WORD_ADD,
	WORD_REMOVE,
	WORD_JUMP,
	WORD_GOTO,
	WORD_RETURN,
	ACTION_WORD_COUNT,
};

struct action_node {
	enum action_word kind;
	struct span span;
	struct word argument; /* counter, log text, mark, snap length, chain, set */
	struct word field;    /* add, remove: whose value */
	struct word time;     /* add: for how long */
	const struct rate_node *rate; /* throttle; log: or NULL */
};

struct rule_node {
	struct span span;
	const struct action_node *actions;
	size_t action_count;
	struct expr *cond; /* NULL: always */
	const struct rate_node *rate; /* that the rule needs a token of; or NULL */
	uint32_t number;
	bool failed;       /* did not parse: counts, but is not looked at */
};

struct chain_node {
	struct word name;
	VEC(struct rule_node) rules;
};

struct define_node {
	struct word name;
	struct value value;
	size_t order; /* place in the text: a define sees those before it */
	bool tunable; /* `weir tune` may change it */
	bool in_set;  /* elements of a set have it, perhaps of one that policies share */
	bool used;
};

struct set_node {
	struct word name;
	struct word type;
	struct word max;
	struct word timeout;
	struct value elements; /* a LIST */
	bool shared;           /* outside a policy */
	bool failed;           /* did not parse */
	bool used;
	const struct set *lowered; /* set by the checker */
};

enum knock_clause { KNOCK_SEQUENCE, KNOCK_WITHIN, KNOCK_OPEN, KNOCK_EXTEND, KNOCK_PER, KNOCK_MAX, KNOCK_KEY, KNOCK_ON,
		    KNOCK_SKEW, KNOCK_BIND, KNOCK_CLAUSES };

struct knock_node {
	struct word name;
	struct span span;
	VEC(struct expr *) steps;
	struct expr *on;
	struct word clauses[KNOCK_CLAUSES]; /* what follows the word; where nothing or conditions do, the word */
	bool failed; /* did not parse */
	bool used;
};

struct on_node {
	struct span span;
	struct word family; /* xdp, tc, netfilter, cgroup */
	struct word target;
	struct word point;
	struct word mode;
	struct word priority;
	bool optional;
	bool track; /* `track on`: sees connections, judges nothing */
};

/* `flows max N`, `flows shared`, `flows timeout STATE TIME`. */
struct flows_node {
	struct word what;
	struct word state; /* timeout */
	struct word value; /* max, timeout */
};

enum setting_kind { SETTING_DEFAULT, SETTING_MALFORMED, SETTING_NON_IP, SETTING_CLASSIFIER, SETTING_CACHE, SETTING_CAPTURES,
		    SETTING_COUNT };

enum item_kind { ITEM_DEFINE, ITEM_SET, ITEM_ON, ITEM_SETTING, ITEM_FLOWS, ITEM_RULE, ITEM_CHAIN, ITEM_KNOCK,
		 ITEM_POLICY };

/* One statement; `index` into the policy's or file's array of its kind (a rule: of the main chain; setting: kind). */
struct item {
	enum item_kind kind;
	size_t index;
};

struct policy_node {
	struct word name;
	struct span span;
	VEC(struct item) items;
	VEC(struct on_node) ons;
	VEC(struct flows_node) flows;
	VEC(struct define_node) defines;
	VEC(struct set_node) sets;
	VEC(struct chain_node) chains; /* [0]: main */
	VEC(struct knock_node) knocks;
	struct word settings[SETTING_COUNT];
	struct word observe; /* the word, behind the name or inside; text NULL: not there */
	uint32_t rule_count;
	bool broken;    /* something in it did not parse */
	bool broken_on; /* and that was an `on` line: do not complain that there is none */
};

struct file_node {
	VEC(struct item) items;
	VEC(struct define_node) defines;
	VEC(struct set_node) sets;
	VEC(struct policy_node) policies;
	struct expr *expression; /* the whole file is one; else NULL */
};

#endif
