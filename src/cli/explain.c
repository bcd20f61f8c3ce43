/* SPDX-License-Identifier: GPL-2.0-only */
/* weir explain: which rule decides about a packet, and why each rule before it did not. */
#include "cli.h"

/* The rule that decided is the last one that was read. */
static bool decides(const struct weir_explanation *explanation, size_t index)
{
	return explanation->rule > 0 && index + 1 == explanation->rule_count;
}

static void print_facts(const struct weir_explained_rule *rule)
{
	if (rule->words[0])
		printf("`%s` is %s", rule->words, rule->matched ? "true" : "false");
	else
		printf("it has no condition");
	if (rule->facts[0])
		printf(": %s", rule->facts);
}

static void print_rule(const struct weir_explanation *explanation, size_t index)
{
	const struct weir_explained_rule *rule = &explanation->rules[index];

	printf("rule %u", rule->number);
	if (rule->line)
		printf(" (line %u)", rule->line);
	if (decides(explanation, index))
		printf(" decides: ");
	else if (rule->acted)
		printf(" acts, and judging goes on: ");
	else if (rule->matched)
		printf(" does not judge frames that are not IP: ");
	else
		printf(": ");
	print_facts(rule);
	if (rule->rate)
		printf("; takes a token of `%s`, without which it would not match", rule->rate);
	if (rule->throttle)
		printf("; what is over `%s` is delayed or dropped", rule->throttle);
	printf("\n");
}

static void print_verdict(const struct weir_explanation *explanation)
{
	const struct weir_explained_rule *last;

	switch (explanation->rule) {
	case WEIR_RULE_DEFAULT:
		printf("%s: by default\n", explanation->verdict);
		return;
	case WEIR_RULE_MALFORMED:
		printf("%s: malformed\n", explanation->verdict);
		return;
	case WEIR_RULE_NON_IP:
		printf("%s: not IP, and no rule names it\n", explanation->verdict);
		return;
	default:
		last = &explanation->rules[explanation->rule_count - 1];
		printf("%s: rule %u", explanation->verdict, last->number);
		if (last->file)
			printf(" (%s:%u)", last->file, last->line);
		printf(": %s\n", last->text);
	}
}

static void print_explanation(const struct weir_explanation *explanation)
{
	printf("%s at %s: %s\n", explanation->policy, explanation->hook, explanation->packet);
	for (size_t i = 0; i < explanation->rule_count; i++)
		print_rule(explanation, i);
	print_verdict(explanation);
}

static json_t *json_rule(const struct weir_explanation *explanation, size_t index)
{
	const struct weir_explained_rule *rule = &explanation->rules[index];
	json_t *object = json_object();

	json_object_set_new(object, "rule", json_number(rule->number));
	json_object_set_new(object, "file", rule->file ? json_text(rule->file) : json_null());
	json_object_set_new(object, "line", json_number(rule->line));
	json_object_set_new(object, "chain", json_text(rule->chain));
	json_object_set_new(object, "text", json_text(rule->text));
	json_object_set_new(object, "matched", json_boolean(rule->matched));
	json_object_set_new(object, "acted", json_boolean(rule->acted));
	json_object_set_new(object, "decides", json_boolean(decides(explanation, index)));
	json_object_set_new(object, "words", json_text(rule->words));
	json_object_set_new(object, "words_line", json_number(rule->words_line));
	json_object_set_new(object, "words_column", json_number(rule->words_column));
	json_object_set_new(object, "facts", json_text(rule->facts));
	json_object_set_new(object, "rate", rule->rate ? json_text(rule->rate) : json_null());
	json_object_set_new(object, "throttle", rule->throttle ? json_text(rule->throttle) : json_null());
	return object;
}

static json_t *json_explanation(const struct weir_explanation *explanation)
{
	const char *special = output_special_rule(explanation->rule);
	json_t *object = json_object(), *rules = json_array();

	for (size_t i = 0; i < explanation->rule_count; i++)
		json_array_append_new(rules, json_rule(explanation, i));
	json_object_set_new(object, "policy", json_text(explanation->policy));
	json_object_set_new(object, "hook", json_text(explanation->hook));
	json_object_set_new(object, "packet", json_text(explanation->packet));
	json_object_set_new(object, "verdict", json_text(explanation->verdict));
	json_object_set_new(object, "rule", special ? json_text(special) : json_integer(explanation->rule));
	json_object_set_new(object, "mark", json_number(explanation->mark));
	json_object_set_new(object, "rules", rules);
	return object;
}

/* The packet is the last operand; before it, or as -e EXPR, what judges it. */
static int take_packet(struct cli *cli, const char **ret_packet)
{
	if (cli->operand_count + (cli->set.expression ? 1 : 0) < 2)
		return usage_error(cli->command, "the packet is missing: 'tcp 10.0.0.1:999 > 10.0.0.2:80'");
	*ret_packet = cli->operands[--cli->operand_count];
	return 0;
}

static int explain(struct cli *cli)
{
	const struct weir_explanation *explanation;
	struct weir_program *program;
	json_t *object = NULL;
	const char *packet = NULL;
	int status = take_packet(cli, &packet);

	if (!status)
		status = input_program(cli, &program);
	if (status)
		return status;
	status = weir_explain(cli->weir, program, cli->set.policy, cli->set.hook, packet, &explanation);
	output_diagnostics(cli);
	if (!status && cli->set.json)
		object = json_explanation(explanation);
	else if (!status)
		print_explanation(explanation);
	weir_program_free(program);
	return output_finish(cli, status, object);
}

static const struct option explain_options[] = {
	TEXT("policy", 0, "NAME", policy, "which policy of the file"),
	TEXT("hook", 0, "HOOK", hook, "at which hook; default: the policy's first"),
	TEXT("expression", 'e', "EXPR", expression, "explain a filter expression"),
};

const struct command command_explain = {
	.name = "explain",
	.synopsis = "FILE | EXPR PACKET",
	.summary = "Say which rule decides about a packet, and why no earlier one does",
	.help = "PACKET is one argument, as a line of `weir log` or a part of it:\n"
		"    tcp 10.0.0.1:999 > 10.0.0.2:80 SA length=60 user=1000 iface=eth0 mark=4 vlan=5\n"
		"    icmp6 fe80::1 > ff02::1 neighbour-solicitation ttl=255\n"
		"    tcp 10.0.0.1:999 > 10.0.0.2:22 established knocked=door\n"
		"What is not said is plain: addresses for documentation, ports 1024, TCP flags S, no VLAN tag, no owner, no\n"
		"connection (a packet is `new`, `established`, `related` or `invalid` if it says so), tokens for every rate.",
	OPTIONS(explain_options),
	.most = 2,
	.run = explain,
};
