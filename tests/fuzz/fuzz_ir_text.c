/* SPDX-License-Identifier: GPL-2.0-only */
/* The reader of IR text: what it accepts prints to a text that reads back to the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	struct arena *arena;
	const uint8_t *data;
	size_t size;
};

static char *print_all(struct arena *arena, const struct rulesets *rulesets)
{
	char *text = arena_strndup(arena, "", 0);

	for (size_t i = 0; i < rulesets->count; i++)
		text = arena_printf(arena, "%s%s", text, ruleset_print(arena, &rulesets->items[i]));
	return text;
}

static int parse(struct arena *arena, const char *text, size_t length, const struct rulesets **ret_rulesets)
{
	struct source *source = ARENA_NEW(arena, struct source);
	struct diags *diags = diags_new(arena);
	int error;

	*source = (struct source){ "fuzz", text, length };
	error = ruleset_parse(arena, source, diags, ret_rulesets);
	if (!!error != !!diags->errors)
		abort(); /* silent failure, or an error that was let through */
	for (size_t i = 0; i < diags->list.count; i++)
		diag_format(arena, &diags->list.items[i], true);
	return error;
}

static int round_trip(void *context)
{
	const struct input *input = context;
	const struct rulesets *first, *second;
	char *text = arena_strndup(input->arena, (const char *)input->data, input->size);

	if (parse(input->arena, text, input->size, &first))
		return 0;
	text = print_all(input->arena, first);
	if (parse(input->arena, text, strlen(text), &second) || strcmp(text, print_all(input->arena, second)))
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { arena_new(), data, size };

	if (!input.arena)
		return 0;
	arena_set_limit(input.arena, 256 << 20);
	arena_run(input.arena, round_trip, &input);
	arena_free(input.arena);
	return 0;
}
