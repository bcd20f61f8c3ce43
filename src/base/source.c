/* SPDX-License-Identifier: GPL-2.0-only */
#include "base/source.h"

#include <string.h>

struct position source_position(const struct source *source, size_t offset)
{
	struct position at = { .line = 1, .column = 1 };
	const char *text = source->text;
	const char *end = text + (offset < source->length ? offset : source->length);
	const char *newline;

	while (text < end && (newline = memchr(text, '\n', (size_t)(end - text)))) {
		at.line++;
		text = newline + 1;
	}
	at.column = (uint32_t)(end - text) + 1;
	return at;
}

const char *source_line(const struct source *source, size_t offset, size_t *ret_length)
{
	size_t start = offset < source->length ? offset : source->length;
	size_t end = start;

	while (start > 0 && source->text[start - 1] != '\n')
		start--;
	while (end < source->length && source->text[end] != '\n')
		end++;
	*ret_length = end - start;
	return source->text + start;
}

struct span span_join(struct span first, struct span last)
{
	if (!first.source)
		return last;
	if (!last.source || last.source != first.source)
		return first;
	if (last.offset < first.offset)
		return span_join(last, first);
	if (last.offset + last.length > first.offset + first.length)
		first.length = last.offset + last.length - first.offset;
	return first;
}
