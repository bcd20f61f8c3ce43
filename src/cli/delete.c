/* SPDX-License-Identifier: GPL-2.0-only */
/* weir delete, weir flush: policies are detached and removed, in one step. */
#include "cli.h"

static json_t *json_names(const struct cli *cli)
{
	json_t *array = json_array();

	for (size_t i = 0; i < cli->operand_count; i++)
		json_array_append_new(array, json_text(cli->operands[i]));
	return json_pack("{s:o}", "deleted", array);
}

static int delete(struct cli *cli)
{
	int status = weir_delete(cli->weir, (const char *const *)cli->operands, cli->operand_count);

	output_diagnostics(cli);
	return output_finish(cli, status, cli->set.json && !status ? json_names(cli) : NULL);
}

const struct command command_delete = {
	.name = "delete",
	.synopsis = "NAME...",
	.summary = "Detach and remove policies",
	.least = 1,
	.most = SIZE_MAX,
	.run = delete,
};

static int flush(struct cli *cli)
{
	int status;

	if (!cli->set.all)
		return usage_error(cli->command, "this removes every policy: say `weir flush --all`");
	status = weir_flush(cli->weir);
	output_diagnostics(cli);
	return output_finish(cli, status, NULL);
}

static const struct option flush_options[] = {
	FLAG("all", 0, all, "every policy (required)"),
};

const struct command command_flush = {
	.name = "flush",
	.synopsis = "--all",
	.summary = "Detach and remove every policy",
	OPTIONS(flush_options),
	.run = flush,
};
