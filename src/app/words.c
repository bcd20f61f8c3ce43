/* SPDX-License-Identifier: GPL-2.0-only */
/* Sentences about what went wrong, kept until it is safe to queue them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/app.h"

int app_fail(struct app *app, int error, const char *format, ...)
{
	va_list args;

	if (app->problem[0])
		return error;
	va_start(args, format);
	vsnprintf(app->problem, sizeof app->problem, format, args);
	va_end(args);
	return error;
}

void app_hint(struct app *app, const char *format, ...)
{
	va_list args;

	if (app->hint[0])
		return;
	va_start(args, format);
	vsnprintf(app->hint, sizeof app->hint, format, args);
	va_end(args);
}

void app_warn(struct app *app, const char *format, ...)
{
	va_list args;

	if (app->note_count == APP_NOTES_MAX)
		return;
	va_start(args, format);
	vsnprintf(app->notes[app->note_count++], sizeof app->notes[0], format, args);
	va_end(args);
}

int app_report(struct app *app, struct diags *diags, int result)
{
	const struct app said = *app;
	struct diag *diag;

	memset(app, 0, sizeof *app);
	for (unsigned i = 0; i < said.note_count; i++)
		diag_warning(diags, (struct span){ 0 }, "%s", said.notes[i]);
	if (!result)
		return 0;
	diag = diag_error(diags, (struct span){ 0 }, "%s", said.problem[0] ? said.problem : strerror(-result));
	if (said.hint[0])
		diag_hint(diags, diag, "%s", said.hint);
	return result;
}
