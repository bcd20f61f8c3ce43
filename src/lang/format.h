/* SPDX-License-Identifier: GPL-2.0-only */
/* The AST as text again. */
#ifndef WEIR_LANG_FORMAT_H
#define WEIR_LANG_FORMAT_H

#include "lang/ast.h"

/* Canonical text, in the arena; parses to the same AST. Comments are not kept. */
char *format_file(struct arena *arena, const struct file_node *file);

#endif
