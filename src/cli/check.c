/* SPDX-License-Identifier: GPL-2.0-only */
/* weir check: what is wrong with a policy or an expression. Nothing is loaded. */
#include "cli.h"

static size_t rule_count(const struct weir_program *program)
{
	size_t rules = 0;

	for (size_t i = 0; i < weir_policy_count(program); i++)
		rules += weir_policy(program, i)->rules;
	return rules;
}

static void print_count(size_t count, const char *one, const char *many)
{
	printf("%zu %s", count, count == 1 ? one : many);
}

static void print_policies(const struct weir_program *program)
{
	for (size_t i = 0; i < weir_policy_count(program); i++) {
		const struct weir_policy *policy = weir_policy(program, i);

		printf("policy %s: ", policy->name);
		print_count(policy->rules, "rule", "rules");
		printf(", on ");
		print_hooks(stdout, policy->hooks, policy->hook_count);
		printf("\n");
	}
}

static void print_result(const struct cli *cli, const char *name, enum input_kind kind,
			 const struct weir_program *program)
{
	printf("%s: ", name);
	if (kind == INPUT_FILE) {
		print_count(weir_policy_count(program), "policy", "policies");
		printf(", ");
	}
	print_count(rule_count(program), "rule", "rules");
	if (cli->warnings)
		printf(", %zu warning%s\n", cli->warnings, cli->warnings == 1 ? "" : "s");
	else
		printf(", no warnings\n");
	if (cli->set.verbose && kind == INPUT_FILE)
		print_policies(program);
}

static json_t *json_policies(const struct weir_program *program)
{
	json_t *array = json_array();

	for (size_t i = 0; program && i < weir_policy_count(program); i++) {
		const struct weir_policy *policy = weir_policy(program, i);
		json_t *object = json_object();

		json_object_set_new(object, "name", json_text(policy->name));
		json_object_set_new(object, "rules", json_number(policy->rules));
		json_object_set_new(object, "hooks", json_hooks(policy->hooks, policy->hook_count));
		json_array_append_new(array, object);
	}
	return array;
}

static int check(struct cli *cli)
{
	struct weir_program *program = NULL;
	enum input_kind kind;
	json_t *object = NULL;
	const char *text, *name;
	int status = input_choose(cli, &kind, &text);

	if (status)
		return status;
	name = input_name(kind, text);
	status = input_compile(cli, kind, text, &program);
	if (!status)
		status = weir_analyse(cli->weir, program);
	output_diagnostics(cli);
	if (!status && cli->set.strict && cli->warnings) {
		if (!cli->set.json)
			fprintf(stderr, "weir: %s: warnings are errors with --strict\n", name);
		status = WEIR_INPUT;
	}
	if (cli->set.json)
		object = json_pack("{s:o, s:o}", "file", json_text(name), "policies", json_policies(program));
	else if (!status)
		print_result(cli, name, kind, program);
	weir_program_free(program);
	return output_finish(cli, status, object);
}

static const struct option check_options[] = {
	FLAG("strict", 0, strict, "warnings are errors"),
	FLAG("verbose", 'v', verbose, "also list the policies and their hooks"),
	TEXT("expression", 'e', "EXPR", expression, "check a filter expression"),
};

const struct command command_check = {
	.name = "check",
	.synopsis = "FILE | EXPR",
	.summary = "Find errors and warn of doubtful rules; load nothing",
	.help = "An argument with a `/` or ending in `.weir` is a file, `-` is standard input, any other\n"
		"an expression.",
	OPTIONS(check_options),
	.most = 1,
	.run = check,
};
