/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Diagnostics: what is wrong with an input, and where. Stages queue them; only the command line prints them.
 */
#ifndef WEIR_BASE_DIAG_H
#define WEIR_BASE_DIAG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/source.h"

enum severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE };

enum { DIAG_RELATED_MAX = 2 };

/* A second place that explains the first: "`web` was first defined here". */
struct related {
	struct span span;
	const char *text;
};

struct diag {
	enum severity severity;
	struct span span;   /* what the caret underlines; no source: about the whole input */
	const char *text;   /* one sentence, lower case, no full stop */
	const char *hint;   /* or NULL */
	struct related related[DIAG_RELATED_MAX];
	unsigned related_count;
};

/* The queue of one compilation. Everything in it lives in `arena`. */
struct diags {
	struct arena *arena;
	VEC(struct diag) list;
	unsigned errors;
	unsigned warnings;
};

enum { DIAG_ERRORS_MAX = 1000 }; /* past it, further errors are counted, not kept */

struct diags *diags_new(struct arena *arena);

/* Queues one; the text is formatted into the arena. The result stays valid until the next call, to add a hint. */
struct diag *diag_error(struct diags *diags, struct span span, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
struct diag *diag_warning(struct diags *diags, struct span span, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void diag_hint(struct diags *diags, struct diag *diag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void diag_relate(struct diags *diags, struct diag *diag, struct span span, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * The diagnostic as text, in the arena, each line ended by a newline:
 *
 *     web.weir:3:12: error: unknown field `dst_prot`
 *         accept if dst_prot == 22
 *                   ^~~~~~~~
 *     hint: did you mean `dst_port`?
 *
 * `colour` adds ANSI colours.
 */
char *diag_format(struct arena *arena, const struct diag *diag, bool colour);

/* The candidate nearest to `word` by edit distance, or NULL if none is near enough to be meant. */
const char *nearest_word(const char *word, size_t length, const char *const *candidates, size_t count);

#endif
