/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libFuzzer target: the metadata service study's YAML. Whatever is read must be able to stand in a policy, and every error
 * has a place in the text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "import/endpoints.h"
#include "lang/literal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
	struct arena *arena;
	struct source source;
	struct document *document;
};

static void check_quotable(const struct endpoint_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (!list->items[i][0] || strpbrk(list->items[i], "\"\\\n\r\t"))
			abort();
}

static void check(const struct endpoints *endpoints)
{
	for (size_t i = 0; i < endpoints->count; i++) {
		const struct endpoint *endpoint = &endpoints->items[i];

		if (!endpoint->name || !endpoint->interfaces.count || !endpoint->ranges.count)
			abort();
		check_quotable(&endpoint->interfaces);
		check_quotable(&endpoint->users);
		for (size_t j = 0; j < endpoint->ranges.count; j++) {
			struct literal literal = literal_parse(endpoint->ranges.items[j], strlen(endpoint->ranges.items[j]));

			if (literal.fault || (literal.kind != LITERAL_IPV4 && literal.kind != LITERAL_IPV6))
				abort();
		}
	}
}

static int work(void *context)
{
	struct reading *reading = context;
	struct diags *diags = diags_new(reading->arena);
	struct endpoints endpoints;

	if (!endpoints_read(reading->arena, &reading->source, reading->document, diags, &endpoints)) {
		check(&endpoints);
		return 0;
	}
	if (!diags->errors)
		abort();
	for (size_t i = 0; i < diags->list.count; i++) {
		if (diags->list.items[i].span.source != &reading->source ||
		    diags->list.items[i].span.offset > reading->source.length)
			abort();
		diag_format(reading->arena, &diags->list.items[i], false);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading reading = { arena_new(), { .name = "fuzz.yml", .length = size }, NULL };
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	reading.source.text = text;
	reading.document = document_load(text, size);
	arena_set_limit(reading.arena, 1u << 28);
	if (reading.document)
		arena_run(reading.arena, work, &reading);
	document_free(reading.document);
	arena_free(reading.arena);
	free(text);
	return 0;
}
