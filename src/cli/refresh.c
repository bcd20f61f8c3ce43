/* SPDX-License-Identifier: GPL-2.0-only */
/* weir refresh: policies in force are compiled anew, for the names in them may mean something else by now. */
#include "cli.h"

static int refresh(struct cli *cli)
{
	const char *const *names = cli->operand_count ? (const char *const *)cli->operands : NULL;
	int status = weir_refresh(cli->weir, names, cli->operand_count);

	output_diagnostics(cli);
	return output_finish(cli, status, NULL);
}

const struct command command_refresh = {
	.name = "refresh",
	.synopsis = "[NAME]...",
	.summary = "Look up the users, programs and cgroups of policies in force anew",
	.help = "For after a change of users, or an upgrade of programs that rules name; weir-refresh.path does it.\n"
		"If a name means nothing any more, the policies stay as they are.",
	.most = SIZE_MAX,
	.run = refresh,
};
