/* SPDX-License-Identifier: GPL-2.0-only */
/* Tokens of IR text. */
#ifndef WEIR_IR_LEX_TEXT_H
#define WEIR_IR_LEX_TEXT_H

#include "base/arena.h"
#include "base/diag.h"

enum text_token_kind {
	TEXT_END,
	TEXT_WORD,   /* letters, digits and _ . : / - */
	TEXT_STRING, /* between quotes; `text` is what it means */
	TEXT_SIGN,   /* one of { } ( ) , = & */
	TEXT_ERROR,  /* a diagnostic was queued */
};

struct text_token {
	enum text_token_kind kind;
	const char *text; /* not NUL-terminated, except strings */
	size_t length;
	struct span span;
};

/* Reads the token at or after `*offset` and moves it behind. `#` begins a comment that ends with its line. */
struct text_token text_token_next(struct arena *arena, const struct source *source, size_t *offset,
				  struct diags *diags);

#endif
