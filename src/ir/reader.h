/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading IR text: the state, and what every part of the grammar is made of. All readers that return bool return
 * true, or false with an error queued, at which reading stops.
 */
#ifndef WEIR_IR_READER_H
#define WEIR_IR_READER_H

#include "ir/ir.h"
#include "ir/lex_text.h"

/* A jump whose chain may come later. */
struct pending {
	struct action *action;
	struct text_token name;
};

struct reader {
	struct arena *arena;
	const struct source *source;
	struct diags *diags;
	size_t offset;
	struct text_token token; /* the next one */
	unsigned depth;
	/* The policy being read. */
	struct ruleset *ruleset;
	VEC(struct attach) attaches;
	VEC(struct attach) tracks;
	VEC(struct chain) chains;
	VEC(struct set) sets;
	VEC(const char *) counters;
	VEC(struct program) programs;
	VEC(struct program) roots;
	VEC(struct knock) knocks;
	VEC(struct tunable) tunables;
	VEC(struct comparison) comparisons;
	VEC(struct pending) pending;
};

/* Queues the error at the token, unless the lexer did. */
bool reader_fail(struct reader *reader, struct text_token token, const char *text);

/* The next token, which is then behind us. */
struct text_token reader_take(struct reader *reader);

bool reader_at_sign(const struct reader *reader, char sign);
bool reader_token_is(struct text_token token, const char *word);

/* Take the sign or the word if it is next; false, and no error, if not. */
bool reader_accept_sign(struct reader *reader, char sign);
bool reader_accept_word(struct reader *reader, const char *word);

/* Take what must be next; `what` names it in the error. */
bool reader_expect_sign(struct reader *reader, char sign);
bool reader_expect_string(struct reader *reader, const char *what, const char **ret_text);
bool reader_expect_number(struct reader *reader, unsigned bits, uint64_t *ret_number);
bool reader_expect_number32(struct reader *reader, uint32_t *ret_number);
bool reader_expect_value(struct reader *reader, enum field field, u128 *ret_value);
bool reader_expect_range(struct reader *reader, enum field field, struct range *ret_range);

/* The index of a word in a table of `count` names. */
bool reader_expect_name(struct reader *reader, const char *what, const char *const *names, size_t count,
			unsigned *ret_index);

extern const char *const reader_verdicts[3];

/* One `rule ...` (read_rule.c). */
bool reader_expect_rule(struct reader *reader, struct rule *rule);
/* One condition. */
bool reader_expect_cond(struct reader *reader, const struct cond **ret_cond);

#endif
