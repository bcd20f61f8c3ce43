/* SPDX-License-Identifier: GPL-2.0-only */
/* Source text and places in it. */
#ifndef WEIR_BASE_SOURCE_H
#define WEIR_BASE_SOURCE_H

#include <stddef.h>
#include <stdint.h>

/* One text: a policy file, an included file or an expression. Borrowed; lives in the compilation's arena. */
struct source {
	const char *name; /* as shown in errors: a path, "-" for stdin, or "expression" */
	const char *text; /* `length` bytes, NUL after them, which is not part of the text */
	size_t length;
};

/* A half-open range of bytes of a source. A NULL source is "no place". */
struct span {
	const struct source *source;
	uint32_t offset;
	uint32_t length;
};

/* Line and column from 1; a column counts bytes, a tab is one. */
struct position {
	uint32_t line;
	uint32_t column;
};

/* The position of a byte offset (clamped to the text). Linear in the text's length. */
struct position source_position(const struct source *source, size_t offset);

/* The line that holds `offset`, without its newline. */
const char *source_line(const struct source *source, size_t offset, size_t *ret_length);

/* The smallest span that covers both; the one that has a place if only one does. */
struct span span_join(struct span first, struct span last);

#endif
