/* SPDX-License-Identifier: GPL-2.0-only */
/* weir check: what is wrong with a policy or an expression. Nothing is loaded. */
#include "cli.h"

#include <string.h>

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

static void print_left(const struct weir_left *left)
{
	printf("  %s leaves rule %u (line %u) to %s: ", left->hook, left->rule, left->line, left->to);
	print_escaped(stdout, left->text);
	printf("\n");
}

/* Which rules are decided at the system call, where there is one. */
static void print_calls(const struct weir_policy *policy)
{
	static const char *const calls[] = { "connect", "bind" };

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		size_t left = 0;
		bool there = false;

		for (size_t j = 0; j < policy->hook_count; j++)
			there = there || !strcmp(policy->hooks[j].name, calls[i]);
		for (size_t j = 0; j < policy->left_count; j++)
			left += !strcmp(policy->left[j].hook, calls[i]);
		if (!there)
			continue;
		printf("  %s decides %zu of ", calls[i], policy->rules - left);
		print_count(policy->rules, "rule", "rules");
		printf("\n");
		for (size_t j = 0; j < policy->left_count; j++)
			if (!strcmp(policy->left[j].hook, calls[i]))
				print_left(&policy->left[j]);
	}
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
		print_calls(policy);
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

static json_t *json_left(const struct weir_policy *policy)
{
	json_t *array = json_array();

	for (size_t i = 0; i < policy->left_count; i++) {
		const struct weir_left *left = &policy->left[i];

		json_array_append_new(array, json_pack("{s:o, s:o, s:o, s:o, s:o}", "hook", json_text(left->hook), "to",
						       json_text(left->to), "rule", json_number(left->rule), "line",
						       json_number(left->line), "text", json_text(left->text)));
	}
	return array;
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
		json_object_set_new(object, "left", json_left(policy));
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
	FLAG("verbose", 'v', verbose, "also list the policies, their hooks, and which rules a system call leaves to packets"),
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
