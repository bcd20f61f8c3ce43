/* SPDX-License-Identifier: GPL-2.0-only */
/* weir rule: adds, deletes or replaces one rule of a policy in force. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the operands say. */
struct request {
	enum weir_rule_operation operation;
	const char *number; /* or NULL */
	const char *rule;
};

/* `add NAME [before N] RULE`, `delete NAME N`, `replace NAME N RULE`; with operands in vain or missing: false. */
static bool take_operands(const struct cli *cli, struct request *request)
{
	char **rest = cli->operands + 2;
	size_t count = cli->operand_count - 2;

	switch (request->operation) {
	case WEIR_RULE_DELETE:
		request->number = rest[0];
		return count == 1;
	case WEIR_RULE_REPLACE:
		if (count != 2)
			return false;
		request->number = rest[0];
		request->rule = rest[1];
		return true;
	case WEIR_RULE_ADD:
		break;
	}
	if (count == 3 && !strcmp(rest[0], "before"))
		request->number = rest[1];
	request->rule = rest[count - 1];
	return count == 1 || request->number;
}

static const struct operation {
	const char *name;
	enum weir_rule_operation operation;
	const char *usage;
} operations[] = {
	{ "add", WEIR_RULE_ADD, "add NAME [before N] 'RULE'" },
	{ "delete", WEIR_RULE_DELETE, "delete NAME N" },
	{ "replace", WEIR_RULE_REPLACE, "replace NAME N 'RULE'" },
};

enum { OPERATION_COUNT = sizeof operations / sizeof operations[0] };

static const struct operation *find_operation(const char *name)
{
	for (size_t i = 0; i < OPERATION_COUNT; i++)
		if (!strcmp(operations[i].name, name))
			return &operations[i];
	return NULL;
}

static int unknown_operation(struct cli *cli)
{
	const char *names[OPERATION_COUNT];

	for (size_t i = 0; i < OPERATION_COUNT; i++)
		names[i] = operations[i].name;
	return operation_unknown(cli, names, OPERATION_COUNT);
}

/* 0: not a rule's number. */
static uint32_t read_number(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits && digits < 10 && !text[digits] ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static int rule(struct cli *cli)
{
	const struct operation *operation = find_operation(cli->operands[0]);
	const struct weir_rule_options options = { .size = sizeof options, .force = cli->set.force };
	struct weir_rule_result result;
	struct request request = { .number = NULL };
	uint32_t number = 0;
	int status;

	if (!operation)
		return unknown_operation(cli);
	request.operation = operation->operation;
	if (!take_operands(cli, &request))
		return usage_error(cli->command, "it is `%s`, the rule in quotes", operation->usage);
	if (request.number && !(number = read_number(request.number)))
		return usage_error(cli->command, "`%s` is not a rule's number", request.number);
	status = weir_rule_change(cli->weir, cli->operands[1], request.operation, number, request.rule, &options,
				  &result);
	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	return output_finish(cli, status, json_pack("{s:o, s:I, s:I, s:b}", "policy", json_text(cli->operands[1]), "rule",
						    (json_int_t)result.number, "rules", (json_int_t)result.rules,
						    "in_place", result.in_place));
}

static const struct option rule_options[] = {
	FLAG("force", 0, force, "even if it cuts this remote session"),
};

const struct command command_rule = {
	.name = "rule",
	.synopsis = "add NAME [before N] RULE | delete NAME N | replace NAME N RULE",
	.summary = "Change single rules of a policy in force",
	.help = "Numbers are those of `weir show --json` and of `weir log`. Without `before`, a rule is added behind the last "
		"one of the main chain. `weir show --source NAME` prints the text as changed.",
	OPTIONS(rule_options),
	.least = 3,
	.most = 5,
	.run = rule,
};
