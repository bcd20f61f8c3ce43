/* SPDX-License-Identifier: GPL-2.0-only */
/* weir delete, weir flush: policies are detached and removed, in one step. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static json_t *json_names(const char *const *names, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_text(names[i]));
	return json_pack("{s:o}", "deleted", array);
}

static int delete_names(struct cli *cli, const char *const *names, size_t count)
{
	int status = weir_delete(cli->weir, names, count);

	output_diagnostics(cli);
	return output_finish(cli, status, cli->set.json && !status ? json_names(names, count) : NULL);
}

/* All that were loaded from the file, by the name that it had then. */
static int delete_of_file(struct cli *cli)
{
	struct weir_views *views;
	const char **names;
	size_t count = 0;
	int status = weir_list(cli->weir, &views);

	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	names = memory_grow(NULL, weir_view_count(views) + 1, sizeof *names);
	for (size_t i = 0; i < weir_view_count(views); i++)
		if (!strcmp(weir_view(views, i)->file, cli->set.file))
			names[count++] = weir_view(views, i)->name;
	if (count) {
		status = delete_names(cli, names, count);
	} else {
		output_failure(cli, "no policy from %s is in force", cli->set.file);
		status = output_finish(cli, WEIR_INPUT, NULL);
	}
	free(names);
	weir_views_free(views);
	return status;
}

static int delete(struct cli *cli)
{
	if (cli->set.file && cli->operand_count)
		return usage_error(cli->command, "policies by name and `--file` at once");
	if (cli->set.file)
		return delete_of_file(cli);
	if (!cli->operand_count)
		return usage_error(cli->command, "an argument is missing");
	return delete_names(cli, (const char *const *)cli->operands, cli->operand_count);
}

static const struct option delete_options[] = {
	TEXT("file", 'f', "FILE", file, "all policies that were loaded from FILE"),
};

const struct command command_delete = {
	.name = "delete",
	.synopsis = "NAME... | --file FILE",
	.summary = "Detach and remove policies",
	OPTIONS(delete_options),
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
