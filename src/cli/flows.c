/* SPDX-License-Identifier: GPL-2.0-only */
/* weir flows: the connections that a policy in force knows of. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

enum { OPERANDS = 2 }; /* operation, policy; then the filter */

static const char *const *filter(const struct cli *cli)
{
	return (const char *const *)cli->operands + OPERANDS;
}

static void print_end(const char *address, uint16_t port)
{
	if (strchr(address, ':'))
		printf(port ? "[%s]:%u" : "%s", address, port);
	else
		printf(port ? "%s:%u" : "%s", address, port);
}

static void print_flow(const struct weir_flow *flow)
{
	printf("%s ", flow->protocol);
	print_end(flow->source, flow->source_port);
	printf(" > ");
	print_end(flow->destination, flow->destination_port);
	printf(" %s%s%s, %" PRIu64 " s left\n", flow->state, flow->assured ? " assured" : "",
	       flow->seeded ? " seeded" : "", (flow->left_ms + 999) / 1000);
}

static json_t *json_flow(const struct weir_flow *flow)
{
	return json_pack("{s:o, s:o, s:i, s:o, s:i, s:o, s:b, s:b, s:f, s:f}", "protocol", json_text(flow->protocol),
			 "source", json_text(flow->source), "source_port", flow->source_port, "destination",
			 json_text(flow->destination), "destination_port", flow->destination_port, "state",
			 json_text(flow->state), "assured", flow->assured, "seeded", flow->seeded, "age",
			 (double)flow->age_ms / 1e3, "left", (double)flow->left_ms / 1e3);
}

static json_t *json_list(const struct cli *cli, const struct weir_flows *flows)
{
	json_t *array = json_array();

	for (size_t i = 0; i < weir_flow_count(flows); i++)
		json_array_append_new(array, json_flow(weir_flow(flows, i)));
	return json_pack("{s:o, s:I, s:o, s:o}", "policy", json_text(cli->operands[1]), "count",
			 (json_int_t)weir_flow_count(flows), "totals", json_flow_totals(weir_flows_totals(flows)),
			 "flows", array);
}

static int list(struct cli *cli)
{
	struct weir_flows *flows = NULL;
	json_t *object = NULL;
	int status = weir_flows_list(cli->weir, cli->operands[1], filter(cli), cli->operand_count - OPERANDS, &flows);

	output_diagnostics(cli);
	if (!status && cli->set.json)
		object = json_list(cli, flows);
	for (size_t i = 0; !status && !cli->set.json && i < weir_flow_count(flows); i++)
		print_flow(weir_flow(flows, i));
	weir_flows_free(flows);
	return output_finish(cli, status, object);
}

static int delete(struct cli *cli)
{
	size_t count = 0;
	int status = weir_flows_delete(cli->weir, cli->operands[1], filter(cli), cli->operand_count - OPERANDS, &count);
	json_t *object = NULL;

	output_diagnostics(cli);
	if (!status && cli->set.json)
		object = json_pack("{s:o, s:I}", "policy", json_text(cli->operands[1]), "deleted", (json_int_t)count);
	else if (!status)
		printf("%zu deleted\n", count);
	return output_finish(cli, status, object);
}

static int flows(struct cli *cli)
{
	static const char *const names[] = { "list", "delete", "flush" };
	const char *operation = cli->operands[0];
	size_t words = cli->operand_count - OPERANDS;

	if (!strcmp(operation, "list"))
		return list(cli);
	if (!strcmp(operation, "delete"))
		return words ? delete(cli) : usage_error(cli->command, "`delete` needs a filter; `flush` deletes all");
	if (!strcmp(operation, "flush"))
		return words ? usage_error(cli->command, "unexpected argument `%s`", cli->operands[OPERANDS]) :
			       delete(cli);
	return operation_unknown(cli, names, sizeof names / sizeof names[0]);
}

const struct command command_flows = {
	.name = "flows",
	.synopsis = "list|delete|flush POLICY [FILTER]...",
	.summary = "Show or forget the connections that a policy in force knows of",
	.help = "FILTER: a protocol, a state (new, opening, established, closing, closed), `assured`, `unassured`, `seeded`, "
		"ADDRESS[/LENGTH][:PORT] or a port; all must hold. `delete` needs one, `flush` forgets all.",
	.least = OPERANDS,
	.most = SIZE_MAX,
	.run = flows,
};
