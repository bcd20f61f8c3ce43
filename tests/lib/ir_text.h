/* SPDX-License-Identifier: GPL-2.0-only */
/* Rule sets from IR text, for tests. */
#ifndef WEIR_TESTS_LIB_IR_TEXT_H
#define WEIR_TESTS_LIB_IR_TEXT_H

#include "ir/ir.h"

/* The first policy of the text; prints the error and aborts if there is one. May be called outside arena_run(). */
const struct ruleset *ir_text_parse(struct arena *arena, const char *text);

/* Its error message, or NULL if there is none. May be called outside arena_run(). */
const char *ir_text_error(struct arena *arena, const char *text);

#endif
