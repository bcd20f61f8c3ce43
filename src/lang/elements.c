/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Element files: one element a line (blanks and commas separate too), `#` comments; after an element, `timeout TIME`
 * may say when it expires. A million lines are usual, so
 * nothing is kept of an element but its value. Errors point into the file; after a few of them it is left.
 */
#include <errno.h>
#include <string.h>

#include "lang/literal.h"
#include "lang/lower.h"

enum { FILE_ERRORS_MAX = 20 };

static bool is_separator(char c)
{
	return c == '\n' || c == ' ' || c == '\t' || c == '\r' || c == ',';
}

/* The offset of the next element's first byte, or the text's length. */
static size_t next_element(const struct source *source, size_t at)
{
	while (at < source->length) {
		const char *text = source->text + at, *newline;

		if (*text == '#') {
			newline = memchr(text, '\n', source->length - at);
			at = newline ? (size_t)(newline - source->text) : source->length;
		} else if (is_separator(*text)) {
			at++;
		} else {
			break;
		}
	}
	return at;
}

static size_t element_length(const char *text, size_t left)
{
	size_t length = 0;

	if (text[0] == '"') {
		for (length = 1; length < left && text[length] != '"' && text[length] != '\n'; length++)
			;
		return length < left && text[length] == '"' ? length + 1 : length;
	}
	while (length < left && !is_separator(text[length]) && text[length] != '#')
		length++;
	return length;
}

static void element_name(struct lower *lower, struct operand *operand, const char *text, struct span span)
{
	struct word word = { .span = span };
	size_t length = span.length;

	if (text[0] == '"') {
		if (length < 2 || text[length - 1] != '"') {
			diag_error(lower->diags, span, "this string has no closing quote");
			operand->failed = true;
			return;
		}
		word.quoted = true;
		text++;
		length -= 2;
	}
	if (memchr(text, '\0', length)) {
		diag_error(lower->diags, span, "a NUL byte has no place here");
		operand->failed = true;
		return;
	}
	word.text = arena_strndup(lower->arena, text, length);
	operand_name(lower, operand, &word);
}

/* `timeout TIME` behind an element that ends at `end`; returns where it ends itself. */
static size_t element_timeout(struct lower *lower, struct operand *operand, const struct source *source, size_t end,
			      size_t ranges, size_t ranges6)
{
	static const char keyword[] = "timeout";
	const size_t length = sizeof keyword - 1;
	size_t at = next_element(source, end), time;
	struct word word = { .text = NULL };

	if (at >= source->length || element_length(source->text + at, source->length - at) != length ||
	    memcmp(source->text + at, keyword, length))
		return end;
	time = next_element(source, at + length);
	word.span = (struct span){ source, (uint32_t)at, (uint32_t)length };
	if (time < source->length) {
		size_t time_length = element_length(source->text + time, source->length - time);

		word.span = (struct span){ source, (uint32_t)time, (uint32_t)time_length };
		end = time + time_length;
	} else {
		end = time;
	}
	word.text = time < source->length ? arena_strndup(lower->arena, source->text + time, word.span.length) : "";
	operand_timeout(lower, operand, &word, ranges, ranges6);
	return end;
}

void elements_read(struct lower *lower, struct operand *operand, const struct source *source)
{
	unsigned errors = lower->diags->errors;
	size_t length;

	for (size_t at = next_element(source, 0); at < source->length; at = next_element(source, at + length)) {
		const char *text = source->text + at;
		size_t ranges = operand->ranges.count, ranges6 = operand->ranges6.count;
		struct span span;

		length = element_length(text, source->length - at);
		span = (struct span){ source, (uint32_t)at, (uint32_t)length };
		if (text[0] == '"' || !operand_literal(lower, operand, text, length, span))
			element_name(lower, operand, text, span);
		if (operand->of_set)
			length = element_timeout(lower, operand, source, at + length, ranges, ranges6) - at;
		if (lower->diags->errors - errors >= FILE_ERRORS_MAX) {
			diag_error(lower->diags, span, "too many errors in this file");
			return;
		}
		if (lower->elements >= SET_MAX && operand->failed) /* said so */
			return;
	}
}

/* `path` as the file that includes it means it. */
static char *relative_to(struct lower *lower, const struct source *source, const char *path)
{
	const char *slash = source ? strrchr(source->name, '/') : NULL;

	if (path[0] == '/' || !slash)
		return arena_strndup(lower->arena, path, strlen(path));
	return arena_printf(lower->arena, "%.*s/%s", (int)(slash - source->name), source->name, path);
}

static struct included *find_included(struct lower *lower, const char *path)
{
	for (size_t i = 0; i < lower->included.count; i++)
		if (!strcmp(lower->included.items[i].path, path))
			return &lower->included.items[i];
	return NULL;
}

const struct source *elements_include(struct lower *lower, const struct word *word)
{
	const char *path = relative_to(lower, word->span.source, word->text);
	const struct included *known = find_included(lower, path);
	struct included included = { .path = path };
	int error = -ENOENT;

	if (known)
		return known->source;
	if (lower->input->read)
		error = lower->input->read(lower->input->read_context, lower->arena, path, &included.source);
	if (error) {
		included.source = NULL;
		diag_error(lower->diags, word->span, "cannot read `%s`: %s", path, strerror(-error));
	} else if (included.source->length > UINT32_MAX / 2) {
		included.source = NULL;
		diag_error(lower->diags, word->span, "`%s` is too large", path);
	}
	VEC_PUSH(lower->arena, &lower->included) = included;
	return included.source;
}
