/* SPDX-License-Identifier: GPL-2.0-only */
/* Compiling a text in tests: everything inside one arena_run(). */
#ifndef WEIR_TESTS_UNIT_LANG_COMPILE_H
#define WEIR_TESTS_UNIT_LANG_COMPILE_H

#include "tests/unit/lang/fake.h"

enum compile_job { JOB_COMPILE, JOB_FORMAT };

struct compile {
	struct arena *arena; /* freed by compile_end() */
	struct source source;
	struct lang_input input;
	enum compile_job job;
	struct diags *diags;
	const struct rulesets *rulesets; /* NULL after an error */
	char *formatted;
	const char *messages; /* all diagnostics, formatted */
	int result;
};

static inline int compile_work(void *context)
{
	struct compile *compile = context;
	const char *text = "";

	compile->diags = diags_new(compile->arena);
	compile->result = compile->job == JOB_FORMAT ?
				  lang_format(compile->arena, &compile->input, compile->diags, &compile->formatted) :
				  lang_compile(compile->arena, &compile->input, compile->diags, &compile->rulesets);
	for (size_t i = 0; i < compile->diags->list.count; i++)
		text = arena_printf(compile->arena, "%s%s", text,
				    diag_format(compile->arena, &compile->diags->list.items[i], false));
	compile->messages = text;
	return compile->result;
}

/* `text` is borrowed. */
static inline struct compile compile_start(const char *name, const char *text, size_t length, bool expression)
{
	struct compile compile = { .arena = arena_new(), .source = { name, text, length } };

	compile.input = (struct lang_input){ .expression = expression, .names = &fake_names, .read = fake_read };
	return compile;
}

static inline int compile_run(struct compile *compile)
{
	compile->input.source = &compile->source;
	return arena_run(compile->arena, compile_work, compile);
}

static inline void compile_end(struct compile *compile)
{
	arena_free(compile->arena);
}

#endif
