/* SPDX-License-Identifier: GPL-2.0-only */
/* What the texts have in common that `weir preset` and `weir import` write. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Names of users, programs, cgroups and interfaces that mean nothing here. */
static void warn_of_names(struct cli *cli, const char *text, size_t length)
{
	struct weir_program *program;

	if (!weir_compile_text(cli->weir, "policy", text, length, &program)) {
		weir_program_free(program);
		return;
	}
	for (size_t i = 0; i < weir_diagnostic_count(cli->weir); i++) {
		const struct weir_diagnostic *diagnostic = weir_diagnostic(cli->weir, i);

		if (diagnostic->severity == WEIR_ERROR)
			output_warning(cli, "not for this machine: line %u: %s", (unsigned)diagnostic->line, diagnostic->text);
	}
}

static int write_text(struct cli *cli, const char *text)
{
	FILE *out = cli->set.output ? fopen(cli->set.output, "wxe") : stdout;

	if (out && fputs(text, out) >= 0 && (out == stdout || !fclose(out)))
		return WEIR_OK;
	output_failure(cli, "cannot write %s: %s", cli->set.output ? cli->set.output : "to standard output", strerror(errno));
	return WEIR_SYSTEM;
}

int guard_write(struct cli *cli, void (*put)(FILE *out, const struct cli *cli, const void *data), const void *data)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);
	int status;

	if (!stream)
		return WEIR_SYSTEM;
	put(stream, cli, data);
	fclose(stream);
	status = write_text(cli, text);
	if (!status)
		warn_of_names(cli, text, length);
	free(text);
	return status;
}

void guard_put_advice(FILE *out, const struct cli *cli, const char *policy)
{
	fprintf(out, "#     weir check FILE && weir apply FILE     `weir log -f %s` shows who was refused\n", policy);
	if (cli->set.observe)
		fprintf(out, "# It only observes: nothing is refused until the word `observe` is taken away.\n");
	fprintf(out, "\n");
}

void guard_put_begin(FILE *out, const struct cli *cli, const char *policy)
{
	fprintf(out, "policy %s %s{\n", policy, cli->set.observe ? "observe " : "");
}

void guard_put_name(FILE *out, const char *name)
{
	bool number = strspn(name, "0123456789") == strlen(name);

	fprintf(out, number ? "%s" : "\"%s\"", name);
}

void guard_put_refusal(FILE *out, const char *log, const char *cond)
{
	fprintf(out, "    log \"%s\" rate 10/s burst 20 reject%s%s\n", log, cond ? "  if " : "", cond ? cond : "");
}
