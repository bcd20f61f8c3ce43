/* SPDX-License-Identifier: GPL-2.0-only */
/* The vocabulary: fields, short names, actions, and the words that values of a field may have. Const tables. */
#ifndef WEIR_LANG_WORDS_H
#define WEIR_LANG_WORDS_H

#include "ir/ir.h"
#include "lang/ast.h"

/* Types of values. What they accept and how they are named is in type_table. */
enum value_type {
	TYPE_NUMBER,
	TYPE_LENGTH, /* a number that may end in k, m or g */
	TYPE_PORT,
	TYPE_PROTO,
	TYPE_ADDRESS,
	TYPE_MAC,
	TYPE_ETHERTYPE,
	TYPE_MARK,
	TYPE_USER,
	TYPE_GROUP,
	TYPE_PROGRAM,
	TYPE_CGROUP,
	TYPE_UNIT, /* of systemd: the cgroup that it has */
	TYPE_IFACE,
	TYPE_ICMP,      /* names only; for both families */
	TYPE_ICMP4_TYPE,
	TYPE_ICMP6_TYPE,
	TYPE_ICMP4_CODE, /* a name implies its type */
	TYPE_ICMP6_CODE,
	TYPE_FLAGS,
	TYPE_DSCP,
	TYPE_ECN,
	TYPE_FRAGMENT,
	TYPE_FLOW,
	TYPE_COUNT,
};

struct type_info {
	const char *what;   /* "a port" */
	const char *system; /* what a word is looked up as: "service"; NULL: there are no names */
	bool numeric;       /* plain numbers are literals of it */
	bool ordered;       /* < <= > >= and ranges make sense */
	bool maskable;
	uint8_t sets;       /* bit t: may be in a set of enum set_type t */
};
extern const struct type_info type_table[TYPE_COUNT];

/* A word that names a field to compare. */
struct field_word {
	const char *name;
	const char *quoted; /* for messages */
	enum value_type type;
	enum field field;
	enum field field6; /* TYPE_ADDRESS: the IPv6 field; else FIELD_COUNT */
	uint8_t families;  /* FAMILY4, FAMILY6: which the values may be of (addresses, ICMP) */
	uint8_t proto;     /* implied transport protocol, or 0 */
	const char *service; /* protocol of service names, or NULL */
};
enum { FAMILY4 = 1, FAMILY6 = 2 };
#define NAMED(text) text, "`" text "`" /* both names */

const struct field_word *words_field(const char *name);

/*
 * A word that is a condition by itself, and what it stands for in the language. An empty text: lowered by hand.
 */
struct predicate_word {
	const char *name;
	const char *meaning;
};
const struct predicate_word *words_predicate(const char *name);

/* Is (the start of) a condition, supported or not. */
bool words_is_condition(const char *text, size_t length);
/* All field and predicate words, for hints. */
const char *words_nearest_condition(const char *text);

extern const char *const action_words[ACTION_WORD_COUNT];
/* enum action_word, or -1. */
int words_action(const char *text, size_t length);

/* What later versions bring. */
bool words_reserved_condition(const char *text, size_t length);

/* Has a meaning of its own, so that no define, set, chain may be called so. */
bool words_taken(const char *text);

/* --- names of values ----------------------------------------------------------------------------------------- */

struct value_name {
	const char *name;
	uint16_t value;
};
/* Built-in names of a type's values; -1 if there is none. Not for ICMP types and codes. */
int words_value(enum value_type type, const char *name);

/* An ICMP type or code by name; what a family has no number for is -1. */
struct icmp_name {
	const char *name;
	int16_t type4;
	int16_t code4; /* -1: a name of the whole type */
	int16_t type6;
	int16_t code6;
};
const struct icmp_name *words_icmp(const char *name);
/* The built-in name nearest to `name` for that type, or NULL. */
const char *words_nearest_value(enum value_type type, const char *name);

#endif
