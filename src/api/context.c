/* SPDX-License-Identifier: GPL-2.0-only */
/* The context: diagnostics, and the frame around every public call. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"

void *api_new(size_t size)
{
	struct arena **object = calloc(1, size);

	if (!object)
		return NULL;
	*object = arena_new();
	if (*object)
		return object;
	free(object);
	return NULL;
}

void api_free(void *object)
{
	if (!object)
		return;
	arena_free(*(struct arena **)object);
	free(object);
}

WEIR_EXPORT struct weir *weir_new(void)
{
	return api_new(sizeof(struct weir));
}

WEIR_EXPORT void weir_free(struct weir *weir)
{
	api_free(weir);
}

WEIR_EXPORT const char *weir_version(void)
{
	return WEIR_VERSION;
}

static const struct report out_of_memory = {
	.diagnostic = { .severity = WEIR_ERROR, .text = "out of memory" },
	.plain = "weir: error: out of memory\n",
	.colour = "weir: error: out of memory\n",
};

static const struct report *report_at(const struct weir *weir, size_t index)
{
	return weir->reports.items ? &weir->reports.items[index] : &out_of_memory;
}

WEIR_EXPORT size_t weir_diagnostic_count(const struct weir *weir)
{
	return weir->reports.count;
}

WEIR_EXPORT size_t weir_error_count(const struct weir *weir)
{
	return weir->errors;
}

WEIR_EXPORT size_t weir_warning_count(const struct weir *weir)
{
	return weir->warnings;
}

WEIR_EXPORT const struct weir_diagnostic *weir_diagnostic(const struct weir *weir, size_t index)
{
	return index < weir->reports.count ? &report_at(weir, index)->diagnostic : NULL;
}

WEIR_EXPORT const char *weir_diagnostic_text(struct weir *weir, size_t index, bool colour)
{
	const struct report *report;

	if (index >= weir->reports.count)
		return "";
	report = report_at(weir, index);
	return colour ? report->colour : report->plain;
}

/* Drops what the last call left. */
static int reports_clear(struct weir *weir)
{
	struct arena *arena = arena_new();

	if (!arena)
		return -ENOMEM;
	arena_free(weir->arena);
	memset(weir, 0, sizeof *weir);
	weir->arena = arena;
	return 0;
}

static void report_out_of_memory(struct weir *weir)
{
	weir->reports.items = NULL;
	weir->reports.count = 1;
	weir->errors = 1;
}

struct copying {
	struct weir *weir;
	const struct diags *diags;
};

static void copy_report(struct weir *weir, const struct diag *diag)
{
	struct arena *arena = weir->arena;
	struct report *report = &VEC_PUSH(arena, &weir->reports);
	struct weir_diagnostic *to = &report->diagnostic;

	to->severity = (enum weir_severity)diag->severity;
	to->text = arena_strndup(arena, diag->text, strlen(diag->text));
	to->hint = diag->hint ? arena_strndup(arena, diag->hint, strlen(diag->hint)) : NULL;
	if (diag->span.source) {
		struct position at = source_position(diag->span.source, diag->span.offset);

		to->file = arena_strndup(arena, diag->span.source->name, strlen(diag->span.source->name));
		to->line = at.line;
		to->column = at.column;
		to->length = diag->span.length;
	}
	report->plain = diag_format(arena, diag, false);
	report->colour = diag_format(arena, diag, true);
}

static int copy_reports(void *context)
{
	struct copying *copying = context;

	for (size_t i = 0; i < copying->diags->list.count; i++)
		copy_report(copying->weir, &copying->diags->list.items[i]);
	copying->weir->errors += copying->diags->errors;
	copying->weir->warnings += copying->diags->warnings;
	return 0;
}

struct running {
	struct call call;
	int (*work)(struct call *call, void *context);
	void *context;
};

static int run(void *context)
{
	struct running *running = context;

	running->call.diags = diags_new(running->call.arena);
	return running->work(&running->call, running->context);
}

int api_call(struct weir *weir, struct arena *arena, bool append, int (*work)(struct call *call, void *context),
	     void *context)
{
	__attribute__((cleanup(arena_cleanup))) struct arena *temporary = arena ? NULL : arena_new();
	struct running running = { { weir, arena ? arena : temporary, NULL }, work, context };
	struct copying copying;
	int status;

	if (!running.call.arena || (!append && reports_clear(weir))) {
		report_out_of_memory(weir);
		return WEIR_SYSTEM;
	}
	status = arena_run(running.call.arena, run, &running);
	copying = (struct copying){ weir, running.call.diags };
	if (running.call.diags && arena_run(weir->arena, copy_reports, &copying))
		status = -ENOMEM;
	if (status != -ENOMEM)
		return status;
	report_out_of_memory(weir);
	return WEIR_SYSTEM;
}

int api_result(struct weir *weir, void *object, int (*work)(struct call *call, void *context), void *context)
{
	int status = object ? api_call(weir, *(struct arena **)object, false, work, context) : api_out_of_memory(weir);

	if (status)
		api_free(object);
	return status;
}

int api_fail(struct call *call, int status, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = arena_vprintf(call->arena, format, args);
	va_end(args);
	diag_error(call->diags, (struct span){ 0 }, "%s", text);
	return status;
}

const char *verdict_name(unsigned verdict)
{
	static const char *const names[] = { "accept", "drop", "reject" };

	return verdict < 3 ? names[verdict] : "log";
}
