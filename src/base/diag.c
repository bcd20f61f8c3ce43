/* SPDX-License-Identifier: GPL-2.0-only */
#include "base/diag.h"

#include <string.h>

static const char *const severity_names[] = { "error", "warning", "note" };
static const char *const severity_colours[] = { "\033[1;31m", "\033[1;35m", "\033[1;36m" };

struct diags *diags_new(struct arena *arena)
{
	struct diags *diags = ARENA_NEW(arena, struct diags);

	diags->arena = arena;
	return diags;
}

static struct diag *queue(struct diags *diags, enum severity severity, struct span span, const char *format,
			  va_list args)
{
	struct diag *diag;

	if (diags->list.count >= DIAG_ERRORS_MAX)
		diag = ARENA_NEW(diags->arena, struct diag);
	else
		diag = &VEC_PUSH(diags->arena, &diags->list);
	diag->severity = severity;
	diag->span = span;
	diag->text = arena_vprintf(diags->arena, format, args);
	return diag;
}

struct diag *diag_error(struct diags *diags, struct span span, const char *format, ...)
{
	struct diag *diag;
	va_list args;

	va_start(args, format);
	diag = queue(diags, SEVERITY_ERROR, span, format, args);
	va_end(args);
	diags->errors++;
	return diag;
}

struct diag *diag_warning(struct diags *diags, struct span span, const char *format, ...)
{
	struct diag *diag;
	va_list args;

	va_start(args, format);
	diag = queue(diags, SEVERITY_WARNING, span, format, args);
	va_end(args);
	diags->warnings++;
	return diag;
}

void diag_hint(struct diags *diags, struct diag *diag, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	diag->hint = arena_vprintf(diags->arena, format, args);
	va_end(args);
}

void diag_relate(struct diags *diags, struct diag *diag, struct span span, const char *format, ...)
{
	struct related *related;
	va_list args;

	if (diag->related_count == DIAG_RELATED_MAX)
		return;
	related = &diag->related[diag->related_count++];
	related->span = span;
	va_start(args, format);
	related->text = arena_vprintf(diags->arena, format, args);
	va_end(args);
}

/* "    source line\n    ^~~~\n"; a tab before the caret is kept, so that it stays under its word. */
static char *excerpt(struct arena *arena, struct span span)
{
	size_t length, column = source_position(span.source, span.offset).column - 1;
	const char *line = source_line(span.source, span.offset, &length);
	size_t width = span.length ? span.length : 1;
	char *pad, *tail;

	if (width > length - column)
		width = length > column ? length - column : 1;
	pad = arena_strndup(arena, line, column);
	for (size_t i = 0; i < column; i++)
		if (pad[i] != '\t')
			pad[i] = ' ';
	tail = arena_alloc(arena, width);
	memset(tail, '~', width - 1);
	return arena_printf(arena, "    %.*s\n    %s^%s\n", (int)length, line, pad, tail);
}

static char *place(struct arena *arena, struct span span)
{
	struct position at;

	if (!span.source)
		return arena_strndup(arena, "weir: ", 6);
	at = source_position(span.source, span.offset);
	return arena_printf(arena, "%s:%u:%u: ", span.source->name, at.line, at.column);
}

char *diag_format(struct arena *arena, const struct diag *diag, bool colour)
{
	char *text = arena_printf(arena, "%s%s%s%s: %s\n%s", place(arena, diag->span),
				  colour ? severity_colours[diag->severity] : "", severity_names[diag->severity],
				  colour ? "\033[0m" : "", diag->text,
				  diag->span.source ? excerpt(arena, diag->span) : "");

	for (unsigned i = 0; i < diag->related_count; i++) {
		const struct related *related = &diag->related[i];

		text = arena_printf(arena, "%s%snote: %s\n%s", text, place(arena, related->span), related->text,
				    related->span.source ? excerpt(arena, related->span) : "");
	}
	return diag->hint ? arena_printf(arena, "%shint: %s\n", text, diag->hint) : text;
}

enum { WORD_MAX = 32 };

/* Edit distance with transpositions, words of at most WORD_MAX characters. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= a_length; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= b_length; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		for (size_t j = 1; j <= b_length; j++) {
			size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[a_length][b_length];
}

const char *nearest_word(const char *word, size_t length, const char *const *candidates, size_t count)
{
	const char *best = NULL;
	size_t best_distance = length / 3 + 1;

	if (length == 0 || length > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t candidate_length = strlen(candidates[i]);
		size_t d;

		if (candidate_length > WORD_MAX)
			continue;
		d = distance(word, length, candidates[i], candidate_length);
		if (d < best_distance || (d == best_distance && !best)) {
			best = candidates[i];
			best_distance = d;
		}
	}
	return best;
}
