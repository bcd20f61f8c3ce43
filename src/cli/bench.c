/* SPDX-License-Identifier: GPL-2.0-only */
/* weir bench: nanoseconds a packet of a policy, beside an empty program. */
#include "cli.h"

static json_t *json_bench(const struct weir_bench *bench)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:f}", "ns_per_packet", bench->ns, "min_ns_per_packet",
			 bench->min_ns, "max_ns_per_packet", bench->max_ns, "empty_ns_per_packet", bench->empty_ns,
			 "empty_min_ns_per_packet", bench->empty_min_ns, "empty_max_ns_per_packet",
			 bench->empty_max_ns, "packets", (json_int_t)bench->packets, "rounds",
			 (json_int_t)bench->rounds, "cached", bench->cached);
}

static void print_bench(const struct weir_bench *bench)
{
	printf("%zu packet%s, %u rounds, nanoseconds a packet: median (least to most)\n", bench->packets,
	       bench->packets == 1 ? "" : "s", bench->rounds);
	printf("policy  %8.2f  (%.2f to %.2f)\n", bench->ns, bench->min_ns, bench->max_ns);
	printf("empty   %8.2f  (%.2f to %.2f)\n", bench->empty_ns, bench->empty_min_ns, bench->empty_max_ns);
	printf("above   %8.2f\n", bench->ns - bench->empty_ns);
	if (bench->cached > 0)
		printf("cached  %8.2f %%\n", bench->cached * 100);
}

static int bench(struct cli *cli)
{
	struct weir_program *program;
	struct weir_bench result;
	json_t *object = NULL;
	int status;

	if (!cli->set.pcap)
		return usage_error(cli->command, "`--pcap FILE` is missing");
	status = input_program(cli, &program);
	if (status)
		return status;
	status = weir_bench(cli->weir, program, cli->set.policy, cli->set.hook, cli->set.pcap,
			    (unsigned)cli->set.rounds, (uint32_t)cli->set.flows, &result);
	output_diagnostics(cli);
	if (!status && cli->set.json)
		object = json_bench(&result);
	else if (!status)
		print_bench(&result);
	weir_program_free(program);
	return output_finish(cli, status, object);
}

static const struct option bench_options[] = {
	TEXT("pcap", 0, "FILE", pcap, "packets, pcap or pcapng, taken in turn (required)"),
	TEXT("policy", 0, "NAME", policy, "which policy of the file"),
	TEXT("hook", 0, "HOOK", hook, "at which hook; default: the policy's first"),
	NUMBER("rounds", 0, "N", rounds, "how often; default 7", 1, 1000),
	NUMBER("flows", 0, "N", flows, "so many other connections in the table", 0, 16777216),
	TEXT("expression", 'e', "EXPR", expression, "measure a filter expression"),
};

const struct command command_bench = {
	.name = "bench",
	.synopsis = "--pcap FILE FILE | EXPR",
	.summary = "Measure nanoseconds a packet, beside an empty program",
	OPTIONS(bench_options),
	.most = 1,
	.run = bench,
};
