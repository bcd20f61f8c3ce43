/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Input: a source; output: its tokens. Bytes that start no token are errors; cutting goes on behind them.
 *
 * A word is one long run ("10.0.0.0/8", "tcp.dst_port", "host-unreachable", "fd00::1"): what it means depends on
 * where it stands, so the parser and the checker decide that. A colon belongs to a word only while the word could
 * still be an IPv6 or MAC address, so that `set blocked: prefix` needs no space.
 */
#include "lang/lexer.h"

#include <stdbool.h>
#include <string.h>

struct lexer {
	struct arena *arena;
	struct diags *diags;
	const struct source *source;
	size_t at;
	VEC(struct token) tokens;
};

static const struct {
	char text[3];
	enum token_kind kind;
} operators[] = {
	/* longer ones first */
	{ "==", TOKEN_EQ },     { "!=", TOKEN_NE },     { "<=", TOKEN_LE },     { ">=", TOKEN_GE },
	{ "&&", TOKEN_AND },    { "||", TOKEN_OR },     { "!", TOKEN_NOT },     { "<", TOKEN_LT },
	{ ">", TOKEN_GT },      { "=", TOKEN_ASSIGN },  { "&", TOKEN_MASK },    { "|", TOKEN_PIPE },
	{ "~", TOKEN_TILDE },   { "{", TOKEN_LBRACE },  { "}", TOKEN_RBRACE },  { "(", TOKEN_LPAREN },
	{ ")", TOKEN_RPAREN },  { ",", TOKEN_COMMA },   { ":", TOKEN_COLON },   { "\n", TOKEN_NEWLINE },
};

static const struct {
	const char *text;
	enum token_kind kind;
} keywords[] = {
	{ "and", TOKEN_AND }, { "or", TOKEN_OR }, { "not", TOKEN_NOT }, { "in", TOKEN_IN }, { "if", TOKEN_IF },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool in_address(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.' || c == '-' ||
	       c == '/';
}

static bool in_word(char c)
{
	return is_digit(c) || is_letter(c) || (c && strchr(".-/*?@", c));
}

static bool starts_word(const char *text, size_t length)
{
	char next = length > 1 ? text[1] : '\0';

	if (text[0] == ':')
		return next == ':';
	if (text[0] == '-')
		return is_digit(next);
	return is_digit(text[0]) || is_letter(text[0]) || text[0] == '/' || text[0] == '*' || text[0] == '?';
}

size_t lexer_word_length(const char *text, size_t length)
{
	const char *colon;
	bool address = true;
	size_t used = 0;

	if (!length || !starts_word(text, length))
		return 0;
	while (used < length) {
		char c = text[used];

		if (!in_word(c) && !(c == ':' && address))
			break;
		address = address && in_address(c);
		used++;
	}
	/* "bad:address" is two words, and "bad:" one: addresses have at least two colons */
	colon = memchr(text, ':', used);
	if (colon && !memchr(colon + 1, ':', used - (size_t)(colon + 1 - text)))
		return (size_t)(colon - text);
	return used;
}

static void push(struct lexer *lexer, enum token_kind kind, size_t length)
{
	VEC_PUSH(lexer->arena, &lexer->tokens) = (struct token){ kind, (uint32_t)lexer->at, (uint32_t)length };
	lexer->at += length;
}

static struct span span_here(const struct lexer *lexer, size_t length)
{
	return (struct span){ lexer->source, (uint32_t)lexer->at, (uint32_t)length };
}

static void skip_blank(struct lexer *lexer)
{
	const struct source *source = lexer->source;
	const char *end;

	for (; lexer->at < source->length; lexer->at++) {
		char c = source->text[lexer->at];

		if (c == '#') {
			end = memchr(source->text + lexer->at, '\n', source->length - lexer->at);
			lexer->at = end ? (size_t)(end - source->text) : source->length;
			return;
		}
		if (c != ' ' && c != '\t' && c != '\r')
			return;
	}
}

static enum token_kind word_kind(const char *text, size_t length)
{
	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
		if (strlen(keywords[i].text) == length && !memcmp(keywords[i].text, text, length))
			return keywords[i].kind;
	return TOKEN_WORD;
}

static void string(struct lexer *lexer)
{
	const char *text = lexer->source->text + lexer->at;
	size_t left = lexer->source->length - lexer->at;
	size_t used = 1;

	while (used < left && text[used] != '"' && text[used] != '\n')
		used += text[used] == '\\' && used + 1 < left && text[used + 1] != '\n' ? 2 : 1;
	if (used < left && text[used] == '"') {
		push(lexer, TOKEN_STRING, used + 1);
		return;
	}
	diag_error(lexer->diags, span_here(lexer, used), "this string has no closing quote");
	push(lexer, TOKEN_BAD, used);
}

static bool operator(struct lexer *lexer)
{
	const char *text = lexer->source->text + lexer->at;
	size_t left = lexer->source->length - lexer->at;

	for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
		size_t length = strlen(operators[i].text);

		if (length <= left && !memcmp(operators[i].text, text, length)) {
			push(lexer, operators[i].kind, length);
			return true;
		}
	}
	return false;
}

/* One character of the text; a UTF-8 sequence counts as one. */
static size_t character_length(const char *text, size_t left)
{
	size_t length = 1;

	while (length < left && length < 4 && ((unsigned char)text[length] & 0xc0) == 0x80)
		length++;
	return (unsigned char)text[0] >= 0xc0 ? length : 1;
}

static void bad(struct lexer *lexer)
{
	const char *text = lexer->source->text + lexer->at;
	size_t left = lexer->source->length - lexer->at;
	size_t length = character_length(text, left);
	struct span span = span_here(lexer, length);
	struct diag *diag;

	if ((unsigned char)text[0] < 0x20 || text[0] == 0x7f)
		diag_error(lexer->diags, span, "a control character (0x%02x) has no place here",
			   (unsigned char)text[0]);
	else if (text[0] == ';') {
		diag = diag_error(lexer->diags, span, "`;` means nothing here");
		diag_hint(lexer->diags, diag, "a new line ends a rule");
	} else if (text[0] == '-') {
		diag = diag_error(lexer->diags, span, "`-` means nothing here");
		diag_hint(lexer->diags, diag, "a range is written without spaces: `8000-8999`");
	} else {
		diag_error(lexer->diags, span, "`%.*s` means nothing here", (int)length, text);
	}
	/* the rest of a run of the same trouble is not worth more errors */
	while (length < left && text[length] == text[0])
		length++;
	push(lexer, TOKEN_BAD, length);
}

static void token(struct lexer *lexer)
{
	const char *text = lexer->source->text + lexer->at;
	size_t left = lexer->source->length - lexer->at;
	size_t length = lexer_word_length(text, left);

	if (length)
		push(lexer, word_kind(text, length), length);
	else if (*text == '"')
		string(lexer);
	else if (!operator(lexer))
		bad(lexer);
}

enum { BYTES_PER_TOKEN = 3 }; /* about; the array grows if there are more */

struct tokens lexer_run(struct arena *arena, const struct source *source, struct diags *diags)
{
	struct lexer lexer = { .arena = arena, .diags = diags, .source = source };

	lexer.tokens.capacity = source->length / BYTES_PER_TOKEN + 1;
	lexer.tokens.items = ARENA_ARRAY(arena, struct token, lexer.tokens.capacity);
	for (skip_blank(&lexer); lexer.at < source->length; skip_blank(&lexer))
		token(&lexer);
	push(&lexer, TOKEN_END, 0);
	return (struct tokens){ lexer.tokens.items, lexer.tokens.count };
}
