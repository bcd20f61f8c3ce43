/* SPDX-License-Identifier: GPL-2.0-only */
/* What all of the parser uses: looking at tokens, messages, recovery. See parse.h. */
#include "lang/parse.h"

#include <string.h>

struct parser parse_start(struct arena *arena, const struct source *source, struct diags *diags)
{
	return (struct parser){
		.arena = arena,
		.diags = diags,
		.source = source,
		.tokens = lexer_run(arena, source, diags),
	};
}

const struct token *parse_peek(struct parser *parser)
{
	if (parser->brackets)
		parse_skip_newlines(parser);
	return &parser->tokens.items[parser->at];
}

const struct token *parse_peek_second(struct parser *parser)
{
	const struct token *first = parse_peek(parser);

	return first->kind == TOKEN_END ? first : first + 1;
}

const struct token *parse_next(struct parser *parser)
{
	const struct token *token = parse_peek(parser);

	if (token->kind != TOKEN_END)
		parser->at++;
	return token;
}

bool parse_accept(struct parser *parser, enum token_kind kind)
{
	if (parse_peek(parser)->kind != kind)
		return false;
	parse_next(parser);
	return true;
}

void parse_skip_newlines(struct parser *parser)
{
	while (parser->tokens.items[parser->at].kind == TOKEN_NEWLINE)
		parser->at++;
}

/* The end of the text is where its last token ends: what is missing is missing there. */
struct span parse_span(const struct parser *parser, const struct token *token)
{
	const struct token *last = token;

	while (token->kind == TOKEN_END && last > parser->tokens.items) {
		last--;
		if (last->kind != TOKEN_NEWLINE)
			return (struct span){ parser->source, last->offset + last->length, 0 };
	}
	return (struct span){ parser->source, token->offset, token->length };
}

/* From `offset` to the end of the token taken last. */
struct span parse_span_since(const struct parser *parser, uint32_t offset)
{
	size_t last = parser->at ? parser->at - 1 : 0;
	const struct token *token;

	while (last > 0 && parser->tokens.items[last].kind == TOKEN_NEWLINE)
		last--;
	token = &parser->tokens.items[last];
	if (token->offset + token->length < offset)
		return (struct span){ parser->source, offset, 0 };
	return (struct span){ parser->source, offset, token->offset + token->length - offset };
}

enum { SHOWN_MAX = 40 }; /* characters of a token in a message */

const char *parse_describe(struct parser *parser, const struct token *token)
{
	const char *text = parser->source->text + token->offset;

	if (token->kind == TOKEN_END)
		return "the end of the text";
	if (token->kind == TOKEN_NEWLINE)
		return "the end of the line";
	if (token->length > SHOWN_MAX)
		return arena_printf(parser->arena, "`%.*s...`", SHOWN_MAX, text);
	return arena_printf(parser->arena, "`%.*s`", (int)token->length, text);
}

struct diag *parse_unexpected(struct parser *parser, const char *what)
{
	const struct token *token = parse_peek(parser);

	if (token->kind == TOKEN_BAD)
		return NULL;
	return diag_error(parser->diags, parse_span(parser, token), "expected %s, found %s", what,
			  parse_describe(parser, token));
}

bool parse_expect(struct parser *parser, enum token_kind kind, const char *what)
{
	if (parse_accept(parser, kind))
		return true;
	parse_unexpected(parser, what);
	return false;
}

bool parse_is_word(struct parser *parser, const char *text)
{
	const struct token *token = parse_peek(parser);

	const char *word = parser->source->text + token->offset;

	return token->kind == TOKEN_WORD && word[0] == text[0] && strlen(text) == token->length &&
	       !memcmp(word, text, token->length);
}

static char *unescape(struct arena *arena, const char *text, size_t length)
{
	char *plain = arena_alloc(arena, length + 1);
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\\' && i + 1 < length && (text[i + 1] == '"' || text[i + 1] == '\\'))
			i++;
		plain[used++] = text[i];
	}
	return plain;
}

struct word parse_word_token(struct parser *parser, const struct token *token)
{
	const char *text = parser->source->text + token->offset;
	struct word word = { .span = parse_span(parser, token), .quoted = token->kind == TOKEN_STRING };

	word.text = word.quoted ? unescape(parser->arena, text + 1, token->length - 2) :
				  arena_strndup(parser->arena, text, token->length);
	return word;
}

bool parse_word(struct parser *parser, const char *what, struct word *ret_word)
{
	if (parse_peek(parser)->kind != TOKEN_WORD) {
		parse_unexpected(parser, what);
		return false;
	}
	*ret_word = parse_word_token(parser, parse_next(parser));
	return true;
}

/* A NUL byte would cut a string short in all that comes after. */
static bool has_nul(const struct parser *parser, const struct token *token)
{
	return memchr(parser->source->text + token->offset, '\0', token->length);
}

bool parse_word_or_string(struct parser *parser, const char *what, struct word *ret_word)
{
	const struct token *token = parse_peek(parser);

	if (token->kind != TOKEN_STRING)
		return parse_word(parser, what, ret_word);
	if (has_nul(parser, token)) {
		diag_error(parser->diags, parse_span(parser, token), "a string cannot hold a NUL byte");
		return false;
	}
	*ret_word = parse_word_token(parser, parse_next(parser));
	return true;
}

bool parse_enter(struct parser *parser, const struct token *opening)
{
	if (parser->depth < PARSE_DEPTH_MAX) {
		parser->depth++;
		return true;
	}
	diag_error(parser->diags, parse_span(parser, opening), "nested too deeply (at most %d levels)",
		   PARSE_DEPTH_MAX);
	return false;
}

void parse_leave(struct parser *parser)
{
	parser->depth--;
}

static bool starts_line(const struct parser *parser)
{
	return parser->at > 0 && parser->tokens.items[parser->at - 1].kind == TOKEN_NEWLINE;
}

/*
 * `start` is the token index where the statement began. An error noticed at the first token of a later line (a
 * parenthesis that was never closed) does not eat that line.
 */
void parse_recover(struct parser *parser, size_t start)
{
	unsigned open = parser->braces;

	parser->brackets = 0;
	parser->braces = 0;
	parser->depth = 0;
	if (parser->at > start && starts_line(parser))
		return;
	for (;; parser->at++) {
		switch (parser->tokens.items[parser->at].kind) {
		case TOKEN_END:
			return;
		case TOKEN_NEWLINE:
			if (!open)
				return;
			break;
		case TOKEN_LBRACE:
			open++;
			break;
		case TOKEN_RBRACE:
			if (!open)
				return;
			open--;
			break;
		default:
			break;
		}
	}
}

bool parse_statement_end(struct parser *parser)
{
	enum token_kind kind = parse_peek(parser)->kind;

	return kind == TOKEN_NEWLINE || kind == TOKEN_RBRACE || kind == TOKEN_END;
}
