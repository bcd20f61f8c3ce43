/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tokens to AST. Recursive descent, one token of look-ahead (two to tell a file from an expression). An error is
 * reported once, then the parser goes on at the end of the statement.
 */
#ifndef WEIR_LANG_PARSE_H
#define WEIR_LANG_PARSE_H

#include "base/diag.h"
#include "lang/ast.h"
#include "lang/lexer.h"

enum { PARSE_DEPTH_MAX = 200 }; /* parentheses, `not` and lists within each other */

struct parser {
	struct arena *arena;
	struct diags *diags;
	const struct source *source;
	struct tokens tokens;
	size_t at;
	unsigned brackets; /* inside them a newline is only a space */
	unsigned braces;   /* lists that are open */
	unsigned depth;
	uint32_t rule_count;
	VEC(struct action_node) actions; /* of the rule at hand, before they are copied */
};

/* The next token, newlines skipped where they mean nothing; the one after it. */
const struct token *parse_peek(struct parser *parser);
const struct token *parse_peek_second(struct parser *parser);
const struct token *parse_next(struct parser *parser);
/* Takes the next token if it is of that kind. */
bool parse_accept(struct parser *parser, enum token_kind kind);
bool parse_expect(struct parser *parser, enum token_kind kind, const char *after);
void parse_skip_newlines(struct parser *parser);

struct span parse_span(const struct parser *parser, const struct token *token);
struct span parse_span_since(const struct parser *parser, uint32_t offset);
/* "`accept`", "the end of the line": for messages. */
const char *parse_describe(struct parser *parser, const struct token *token);
/* "expected WHAT, found ..." at the next token; silent if the lexer has reported it. NULL if silent. */
struct diag *parse_unexpected(struct parser *parser, const char *what);

/* The next token is this very word. */
bool parse_is_word(struct parser *parser, const char *text);
/* Takes a word, or a word or string. False with an error "expected WHAT". */
bool parse_word(struct parser *parser, const char *what, struct word *ret_word);
bool parse_word_or_string(struct parser *parser, const char *what, struct word *ret_word);
struct word parse_word_token(struct parser *parser, const struct token *token);

/* Opens and closes one level of nesting; false with an error at the limit. */
bool parse_enter(struct parser *parser, const struct token *opening);
void parse_leave(struct parser *parser);

/* Skips to the end of the statement: a newline or closing brace outside the brackets that open on the way. */
void parse_recover(struct parser *parser, size_t start);
/* A statement is over: newline, closing brace or end; else an error and recovery. */
bool parse_statement_end(struct parser *parser);

/* NULL after an error. */
struct expr *parse_expression(struct parser *parser);
/* LIMIT [burst N], and with `keyed` [per KEY [max N]]; NULL after an error. */
struct rate_node *parse_rate(struct parser *parser, bool keyed);
/* Helps with a token that cannot follow a condition. */
void parse_hint_after(struct parser *parser, struct diag *diag);
bool parse_value(struct parser *parser, struct value *ret_value);
/* `{ ... }`, the brace being next. */
bool parse_list(struct parser *parser, struct value *ret_value);

/* What follows `knock`; its span is the caller's. */
bool parse_knock(struct parser *parser, struct knock_node *ret_knock);
bool parse_rule(struct parser *parser, struct rule_node *ret_rule);
/* The text is a file of policies, going by its first words. */
bool parse_is_file(struct parser *parser);
void parse_file(struct parser *parser, struct file_node *ret_file);

struct parser parse_start(struct arena *arena, const struct source *source, struct diags *diags);
/* The text as one expression and nothing else; NULL after an error. */
struct expr *parse_only_expression(struct parser *parser);

#endif
