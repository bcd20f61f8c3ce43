/* SPDX-License-Identifier: GPL-2.0-only */
/* What the texts have in common that `weir preset` and `weir import` write. */
#include "cli.h"

#include <errno.h>
#include <string.h>

int guard_write(struct cli *cli, void (*put)(FILE *out, const struct cli *cli, const void *data), const void *data)
{
	FILE *out = cli->set.output ? fopen(cli->set.output, "wxe") : stdout;

	if (!out) {
		output_failure(cli, "cannot write %s: %s", cli->set.output, strerror(errno));
		return WEIR_SYSTEM;
	}
	put(out, cli, data);
	if (out == stdout || !fclose(out))
		return WEIR_OK;
	output_failure(cli, "cannot write %s: %s", cli->set.output, strerror(errno));
	return WEIR_SYSTEM;
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
