/* SPDX-License-Identifier: GPL-2.0-only */
/* weir diff: packets that two policies treat differently, one example a kind. Exit status as diff(1)'s. */
#include "cli.h"

#include <string.h>

/* "accept (web.weir:7)", "drop (default)" */
static void print_side(const struct weir_diff_side *side)
{
	const char *special = output_special_rule(side->rule);

	printf("%s (", side->verdict);
	if (special)
		printf("%s)", special);
	else if (side->file)
		printf("%s:%u)", side->file, side->line);
	else
		printf("rule %d)", side->rule);
}

static void print_difference(const struct weir_difference *difference)
{
	printf("  ");
	print_side(&difference->old_side);
	printf(" -> ");
	print_side(&difference->new_side);
	printf(": %s", difference->packet);
	if (difference->given)
		printf(", if %s", difference->given);
	printf("\n");
}

static bool same_place(const struct weir_difference *a, const struct weir_difference *b)
{
	return !strcmp(a->policy, b->policy) && !strcmp(a->hook, b->hook);
}

static void print_diff(const struct weir_diff *diff)
{
	for (size_t i = 0; i < diff->change_count; i++)
		printf("%s\n", diff->changes[i]);
	for (size_t i = 0; i < diff->difference_count; i++) {
		if (!i || !same_place(&diff->differences[i - 1], &diff->differences[i]))
			printf("%s at %s:\n", diff->differences[i].policy, diff->differences[i].hook);
		print_difference(&diff->differences[i]);
	}
	for (size_t i = 0; i < diff->note_count; i++)
		printf("note: %s\n", diff->notes[i]);
	if (diff->result == WEIR_DIFF_EQUIVALENT)
		printf("equivalent\n");
	else if (diff->unknown)
		printf("%s: %s\n", diff->difference_count || diff->change_count ? "there may be more" : "not known",
		       diff->unknown);
}

static json_t *json_side(const struct weir_diff_side *side)
{
	const char *special = output_special_rule(side->rule);
	json_t *object = json_object();

	json_object_set_new(object, "verdict", json_text(side->verdict));
	json_object_set_new(object, "rule", special ? json_text(special) : json_integer(side->rule));
	json_object_set_new(object, "file", side->file ? json_text(side->file) : json_null());
	json_object_set_new(object, "line", json_number(side->line));
	json_object_set_new(object, "text", json_text(side->text));
	return object;
}

static json_t *json_difference(const struct weir_difference *difference)
{
	json_t *object = json_object();

	json_object_set_new(object, "policy", json_text(difference->policy));
	json_object_set_new(object, "hook", json_text(difference->hook));
	json_object_set_new(object, "old", json_side(&difference->old_side));
	json_object_set_new(object, "new", json_side(&difference->new_side));
	json_object_set_new(object, "packet", json_text(difference->packet));
	json_object_set_new(object, "given", difference->given ? json_text(difference->given) : json_null());
	return object;
}

static json_t *json_strings(const char *const *texts, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_text(texts[i]));
	return array;
}

static json_t *json_diff(const struct weir_diff *diff)
{
	static const char *const results[] = { "equivalent", "different", "not known" };
	json_t *object = json_object(), *differences = json_array();

	for (size_t i = 0; i < diff->difference_count; i++)
		json_array_append_new(differences, json_difference(&diff->differences[i]));
	json_object_set_new(object, "result", json_text(results[diff->result]));
	json_object_set_new(object, "differences", differences);
	json_object_set_new(object, "changes", json_strings(diff->changes, diff->change_count));
	json_object_set_new(object, "notes", json_strings(diff->notes, diff->note_count));
	json_object_set_new(object, "unknown", diff->unknown ? json_text(diff->unknown) : json_null());
	return object;
}

static int status_of(const struct weir_diff *diff)
{
	static const int statuses[] = { WEIR_OK, WEIR_INPUT, WEIR_SYSTEM };

	return statuses[diff->result];
}

/* Compiles the next operand. Warnings are for `weir check`. */
static int next_program(struct cli *cli, struct weir_program **ret_program)
{
	enum input_kind kind;
	const char *text;
	int status = input_choose(cli, &kind, &text);

	if (status)
		return status;
	cli->operands++;
	cli->operand_count--;
	status = input_compile(cli, kind, text, ret_program);
	if (status)
		output_diagnostics(cli);
	return status ? WEIR_SYSTEM : WEIR_OK;
}

static int compare(struct cli *cli, struct weir_program *old, struct weir_program *new, json_t **ret_object)
{
	const struct weir_diff *diff;
	int status = weir_diff(cli->weir, old, new, cli->set.policy, cli->set.hook, &diff);

	if (status) {
		output_diagnostics(cli);
		return WEIR_SYSTEM;
	}
	if (cli->set.json)
		*ret_object = json_diff(diff);
	else
		print_diff(diff);
	return status_of(diff);
}

static int diff_programs(struct cli *cli)
{
	struct weir_program *old = NULL, *new = NULL;
	json_t *object = NULL;
	int status;

	if (cli->operand_count != 2)
		return usage_error(cli->command, "two policies or expressions are compared");
	status = next_program(cli, &old);
	if (!status)
		status = next_program(cli, &new);
	if (!status)
		status = compare(cli, old, new, &object);
	weir_program_free(old);
	weir_program_free(new);
	return output_finish(cli, status, object);
}

static const struct option diff_options[] = {
	TEXT("policy", 0, "NAME", policy, "only this policy"),
	TEXT("hook", 0, "HOOK", hook, "only at this hook"),
};

const struct command command_diff = {
	.name = "diff",
	.synopsis = "OLD NEW",
	.summary = "Show which packets two policies treat differently",
	.help = "OLD and NEW are files or expressions. One example packet is shown for each kind of difference.\n"
		"Exit status: 0 they are proven equivalent, 1 they differ, 2 trouble, or it is not known.",
	OPTIONS(diff_options),
	.most = 2,
	.run = diff_programs,
};
