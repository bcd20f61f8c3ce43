/* SPDX-License-Identifier: GPL-2.0-only */
/* Configuration of other programs, from its text to lists. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "import/endpoints.h"

struct weir_import {
	struct arena *arena;
	struct weir_endpoint *endpoints;
	size_t count;
};

struct importing {
	struct weir_import *import;
	struct source source; /* outlives the call, whose diagnostics point into it */
	const struct document *document;
};

WEIR_EXPORT void weir_import_free(struct weir_import *import)
{
	api_free(import);
}

/* The document goes when the call ends. */
static struct weir_names copy_names(struct arena *arena, const struct endpoint_list *list)
{
	const char **items = ARENA_ARRAY(arena, const char *, list->count);

	for (size_t i = 0; i < list->count; i++)
		items[i] = arena_strndup(arena, list->items[i], strlen(list->items[i]));
	return (struct weir_names){ items, list->count };
}

static int read_import(struct call *call, void *context)
{
	const struct importing *importing = context;
	struct weir_import *import = importing->import;
	struct endpoints endpoints;

	if (endpoints_read(call->arena, &importing->source, importing->document, call->diags, &endpoints))
		return WEIR_INPUT;
	import->count = endpoints.count;
	import->endpoints = ARENA_ARRAY(call->arena, struct weir_endpoint, endpoints.count);
	for (size_t i = 0; i < endpoints.count; i++)
		import->endpoints[i] = (struct weir_endpoint){
			.name = arena_strndup(call->arena, endpoints.items[i].name, strlen(endpoints.items[i].name)),
			.interfaces = copy_names(call->arena, &endpoints.items[i].interfaces),
			.ranges = copy_names(call->arena, &endpoints.items[i].ranges),
			.users = copy_names(call->arena, &endpoints.items[i].users),
		};
	return WEIR_OK;
}

static int import_text(struct weir *weir, const char *path, const char *text, size_t length,
		       struct weir_import **ret_import)
{
	struct document *document = document_load(text, length);
	struct importing importing = { api_new(sizeof *importing.import), { path, text, length }, document };
	int status;

	if (!document || !importing.import)
		status = api_out_of_memory(weir);
	else
		status = api_call(weir, importing.import->arena, false, read_import, &importing);
	document_free(document);
	if (status)
		weir_import_free(importing.import);
	else
		*ret_import = importing.import;
	return status;
}

WEIR_EXPORT int weir_import_file(struct weir *weir, const char *path, struct weir_import **ret_import)
{
	size_t length;
	char *text;
	int error = api_read_path(path, &text, &length), status;

	if (!error && length > DOCUMENT_BYTES_MAX) {
		free(text);
		error = -EFBIG;
	}
	if (error)
		return error == -ENOMEM ? api_out_of_memory(weir) : api_unreadable(weir, path, error);
	status = import_text(weir, path, text, length, ret_import);
	free(text);
	return status;
}

WEIR_EXPORT size_t weir_import_count(const struct weir_import *import)
{
	return import->count;
}

WEIR_EXPORT const struct weir_endpoint *weir_import_endpoint(const struct weir_import *import, size_t index)
{
	return index < import->count ? &import->endpoints[index] : NULL;
}
