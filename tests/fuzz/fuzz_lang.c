/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libFuzzer target: the policy language. Input: one byte that says what the text is, then the text. Whatever compiles
 * must hold the invariants of the IR, print in canonical form, and compile again from that to the same IR.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/lang/compile.h"

enum { KINDS = 3 }; /* a file, an expression, elements of a set */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_read(void *context, struct arena *arena, const char *path, const struct source **ret_source)
{
	static const struct source files[] = {
		{ "good.txt", "10.0.0.0/8\nfd00::1 # x\n", 23 },
		{ "bad.txt", "80\n\"x\n10.0.0.1/8\n", 18 },
	};

	(void)context;
	(void)arena;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		if (!strcmp(files[i].name, path)) {
			*ret_source = &files[i];
			return 0;
		}
	return -ENOENT;
}

static int print(void *context)
{
	struct compile *compile = context;
	const char *text = "";

	for (size_t i = 0; i < compile->rulesets->count; i++) {
		if (ruleset_check(compile->arena, &compile->rulesets->items[i]))
			abort();
		text = arena_printf(compile->arena, "%s%s", text,
				    ruleset_print(compile->arena, &compile->rulesets->items[i]));
	}
	compile->messages = text;
	return 0;
}

static struct compile compile(const char *text, size_t size, bool expression, enum compile_job job)
{
	struct compile result = compile_start("fuzz.weir", text, size, expression);

	result.input.read = no_read;
	result.job = job;
	arena_set_limit(result.arena, 1u << 30);
	compile_run(&result);
	return result;
}

static void same_again(const char *text, size_t size, bool expression)
{
	struct compile first = compile(text, size, expression, JOB_COMPILE), printed, again;

	/* not so if the arena's limit was met */
	if (first.rulesets && !arena_run(first.arena, print, &first)) {
		printed = compile(text, size, expression, JOB_FORMAT);
		if (printed.result || !printed.formatted)
			abort();
		again = compile(printed.formatted, strlen(printed.formatted), expression, JOB_COMPILE);
		if (again.result || !again.rulesets || arena_run(again.arena, print, &again) ||
		    strcmp(again.messages, first.messages))
			abort();
		compile_end(&printed);
		compile_end(&again);
	}
	compile_end(&first);
}

struct elements {
	struct arena *arena;
	struct source source;
	enum set_type type;
};

static int elements_work(void *context)
{
	struct elements *elements = context;
	struct set set;

	return lang_elements(elements->arena, &elements->source, &(struct set){ .type = elements->type, .timed = true },
			     &fake_names, diags_new(elements->arena), &set);
}

static void set_elements(const char *text, size_t size, enum set_type type)
{
	struct elements elements = { arena_new(), { "elements", text, size }, type };

	arena_run(elements.arena, elements_work, &elements);
	arena_free(elements.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = malloc(size); /* as long as the text and its NUL, so that reading past it is seen */
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] % KINDS == 2)
		set_elements(text, size - 1, (enum set_type)(data[0] / KINDS % SET_TYPE_COUNT));
	else
		same_again(text, size - 1, data[0] % KINDS == 1);
	free(text);
	return 0;
}
