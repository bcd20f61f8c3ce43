/* SPDX-License-Identifier: GPL-2.0-only */
/* IR text for tests: ir_text.h says how it fails. */
#include "tests/lib/ir_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
	struct arena *arena;
	const char *text;
	struct diags *diags;
	const struct rulesets *rulesets;
};

static int parse(void *context)
{
	struct work *work = context;
	struct source *source = ARENA_NEW(work->arena, struct source);

	source->name = "text";
	source->text = work->text;
	source->length = strlen(work->text);
	work->diags = diags_new(work->arena);
	return ruleset_parse(work->arena, source, work->diags, &work->rulesets);
}

const char *ir_text_error(struct arena *arena, const char *text)
{
	struct work work = { .arena = arena, .text = text };

	if (!arena_run(arena, parse, &work))
		return NULL;
	if (!work.diags->errors)
		abort();
	return work.diags->list.items[0].text;
}

const struct ruleset *ir_text_parse(struct arena *arena, const char *text)
{
	struct work work = { .arena = arena, .text = text };

	if (!arena_run(arena, parse, &work))
		return &work.rulesets->items[0];
	fprintf(stderr, "%s\n", work.diags->errors ? work.diags->list.items[0].text : "?");
	abort();
}
