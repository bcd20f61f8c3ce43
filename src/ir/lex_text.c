/* SPDX-License-Identifier: GPL-2.0-only */
/* Source bytes to tokens of IR text. A byte that begins no token and a bad string are TEXT_ERROR and a diagnostic. */
#include "ir/lex_text.h"

#include <string.h>

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("_.:/-", c));
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_blanks(const struct source *source, size_t offset)
{
	bool comment = false;

	for (; offset < source->length; offset++) {
		char c = source->text[offset];

		if (comment ? c == '\n' : c == '#')
			comment = !comment;
		else if (!comment && !is_blank(c))
			break;
	}
	return offset;
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The character after a backslash at `*offset`, or -1; moves behind it. */
static int read_escape(const struct source *source, size_t *offset)
{
	const char *at = source->text + *offset;
	int high, low;

	if (*offset >= source->length)
		return -1;
	if (*at == '"' || *at == '\\') {
		++*offset;
		return *at;
	}
	if (*at != 'x' || source->length - *offset < 3)
		return -1;
	high = hex_digit(at[1]);
	low = hex_digit(at[2]);
	*offset += 3;
	if (high < 0 || low < 0 || !(high | low)) /* NUL would end the string early */
		return -1;
	return high << 4 | low;
}

static struct text_token bad(struct text_token token, size_t length, struct diags *diags, const char *text)
{
	token.kind = TEXT_ERROR;
	token.span.length = (uint32_t)length;
	diag_error(diags, token.span, "%s", text);
	return token;
}

static struct text_token read_string(struct arena *arena, const struct source *source, size_t *offset,
				     struct text_token token, struct diags *diags)
{
	size_t start = *offset, at = start + 1, end = at, length = 0;
	char *text;

	while (end < source->length && source->text[end] != '"' && source->text[end] != '\n')
		end += source->text[end] == '\\' ? 2 : 1;
	if (end >= source->length || source->text[end] != '"')
		return bad(token, 1, diags, "the quoted text has no end on its line");
	text = arena_alloc(arena, end - at + 1);
	while (at < end) {
		int c = (unsigned char)source->text[at++];

		if (c == '\\')
			c = read_escape(source, &at);
		if (c <= 0)
			return bad(token, end + 1 - start, diags, "bad character or escape in the quoted text");
		text[length++] = (char)c;
	}
	*offset = end + 1;
	token.kind = TEXT_STRING;
	token.text = text;
	token.length = length;
	token.span.length = (uint32_t)(end + 1 - start);
	return token;
}

static struct text_token read_word(const struct source *source, size_t *offset, struct text_token token)
{
	size_t end = *offset;

	while (end < source->length && is_word(source->text[end]))
		end++;
	token.kind = TEXT_WORD;
	token.length = end - *offset;
	token.span.length = (uint32_t)token.length;
	*offset = end;
	return token;
}

struct text_token text_token_next(struct arena *arena, const struct source *source, size_t *offset,
				  struct diags *diags)
{
	struct text_token token = { TEXT_END };
	char c;

	*offset = skip_blanks(source, *offset);
	token.text = source->text + *offset;
	token.span = (struct span){ source, (uint32_t)*offset, 0 };
	if (*offset >= source->length)
		return token;
	c = *token.text;
	if (c == '"')
		return read_string(arena, source, offset, token, diags);
	if (is_word(c))
		return read_word(source, offset, token);
	if (!c || !strchr("{}(),=&", c))
		return bad(token, 1, diags, "no word, text or sign of IR begins here");
	token.kind = TEXT_SIGN;
	token.length = 1;
	token.span.length = 1;
	++*offset;
	return token;
}
