/* SPDX-License-Identifier: GPL-2.0-only */
/* weir tune: lists a policy's tunables, or changes some. */
#include "cli.h"

#include <string.h>

static json_t *tunables_json(const struct weir_tunables *tunables)
{
	json_t *object = json_object();

	for (size_t i = 0; weir_tunable(tunables, i); i++)
		json_object_set_new(object, weir_tunable(tunables, i)->name, json_text(weir_tunable(tunables, i)->value));
	return object;
}

static int list(struct cli *cli, const char *policy)
{
	struct weir_tunables *tunables;
	json_t *object = NULL;
	int status = weir_tunables_get(cli->weir, policy, &tunables);

	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	if (cli->set.json)
		object = json_pack("{s:o, s:o}", "policy", json_text(policy), "tunables", tunables_json(tunables));
	for (size_t i = 0; !cli->set.json && weir_tunable(tunables, i); i++)
		printf("%s=%s\n", weir_tunable(tunables, i)->name, weir_tunable(tunables, i)->value);
	weir_tunables_free(tunables);
	return output_finish(cli, status, object);
}

static int change(struct cli *cli, const char *policy, char *assignment)
{
	const struct weir_rule_options options = { .size = sizeof options, .force = cli->set.force };
	char *value = strchr(assignment, '=');
	int status;

	*value++ = '\0';
	status = weir_tune(cli->weir, policy, assignment, value, &options);
	output_diagnostics(cli);
	return status;
}

static int tune(struct cli *cli)
{
	const char *policy = cli->operands[0];
	int status = 0;

	if (cli->operand_count == 1)
		return list(cli, policy);
	for (size_t i = 1; i < cli->operand_count; i++)
		if (!strchr(cli->operands[i], '='))
			return usage_error(cli->command, "`%s` is not like `mtu=200`", cli->operands[i]);
	for (size_t i = 1; i < cli->operand_count && !status; i++)
		status = change(cli, policy, cli->operands[i]);
	if (status || !cli->set.json)
		return output_finish(cli, status, NULL);
	return list(cli, policy);
}

static const struct option tune_options[] = {
	FLAG("force", 0, force, "even if it cuts this remote session"),
};

const struct command command_tune = {
	.name = "tune",
	.synopsis = "NAME [TUNABLE=VALUE]...",
	.summary = "List or change the tunables of a policy in force",
	.help = "`define mtu = 100 tunable` makes one. The rest of the policy stays as it is, counters and elements of sets "
		"included. `weir apply` keeps what was tuned, as long as the file says what it said.",
	OPTIONS(tune_options),
	.least = 1,
	.most = 64,
	.run = tune,
};
