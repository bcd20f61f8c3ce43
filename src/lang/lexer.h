/* SPDX-License-Identifier: GPL-2.0-only */
/* Text to tokens. */
#ifndef WEIR_LANG_LEXER_H
#define WEIR_LANG_LEXER_H

#include "base/arena.h"
#include "base/diag.h"

enum token_kind {
	TOKEN_END,
	TOKEN_NEWLINE,
	TOKEN_BAD,    /* already reported */
	TOKEN_WORD,   /* names, numbers, addresses, prefixes, ranges, rates: one run of characters */
	TOKEN_STRING, /* the span includes the quotes */
	TOKEN_LBRACE,
	TOKEN_RBRACE,
	TOKEN_LPAREN,
	TOKEN_RPAREN,
	TOKEN_COMMA,
	TOKEN_COLON,
	TOKEN_ASSIGN,
	TOKEN_EQ,
	TOKEN_NE,
	TOKEN_LT,
	TOKEN_LE,
	TOKEN_GT,
	TOKEN_GE,
	TOKEN_AND,
	TOKEN_OR,
	TOKEN_NOT,
	TOKEN_IN,
	TOKEN_IF,
	TOKEN_MASK,
	TOKEN_PIPE,
	TOKEN_TILDE,
	TOKEN_KIND_COUNT,
};

struct token {
	enum token_kind kind;
	uint32_t offset;
	uint32_t length;
};

struct tokens {
	const struct token *items; /* the last one is TOKEN_END */
	size_t count;
};

/* Cuts the whole text; characters that belong to nothing are reported once a run and become TOKEN_BAD. */
struct tokens lexer_run(struct arena *arena, const struct source *source, struct diags *diags);

/* Length of the word that begins at text[0] (0: none does), looking at no more than `length` bytes. */
size_t lexer_word_length(const char *text, size_t length);

#endif
