/* SPDX-License-Identifier: GPL-2.0-only */
/* weir test: what the compiled program, or the model, says to captured packets. One line a packet: N verdict rule. */
#include "cli.h"

#include <string.h>

static int choose_engine(struct cli *cli, enum weir_engine *ret_engine)
{
	const char *name = cli->set.engine;

	if (name && strcmp(name, "kernel") && strcmp(name, "model"))
		return usage_error(cli->command, "`--engine` is `kernel` or `model`, not `%s`", name);
	*ret_engine = name && !strcmp(name, "model") ? WEIR_MODEL : WEIR_KERNEL;
	return 0;
}

static void print_judgement(const struct cli *cli, unsigned long long number, const struct weir_judgement *judgement)
{
	const char *special = output_special_rule(judgement->rule);

	if (cli->set.json)
		output_json_line(json_pack("{s:I, s:s, s:o}", "packet", (json_int_t)number, "verdict",
					   judgement->verdict, "rule",
					   special ? json_string(special) : json_integer(judgement->rule)));
	else if (special)
		printf("%llu %s %s\n", number, judgement->verdict, special);
	else
		printf("%llu %s %d\n", number, judgement->verdict, judgement->rule);
}

static int judge_all(struct cli *cli, struct weir_tester *tester, struct weir_capture *capture)
{
	struct weir_judgement judgement;
	unsigned long long number = 0;
	const void *frame;
	size_t length;
	int status;

	while ((status = weir_capture_next(cli->weir, capture, &frame, &length)) > 0) {
		weir_tester_clock(tester, weir_capture_time(capture));
		status = weir_tester_run(cli->weir, tester, frame, length, &judgement);
		if (status)
			break;
		print_judgement(cli, ++number, &judgement);
	}
	if (status)
		output_diagnostics(cli);
	return status;
}

/* The capture comes from anywhere: its packets are read with no more privileges than judging them needs. */
static int test_program(struct cli *cli, struct weir_program *program, enum weir_engine engine,
			struct weir_capture *capture)
{
	struct weir_tester *tester;
	int error, status = weir_tester_new(cli->weir, program, cli->set.policy, cli->set.hook, engine, &tester);

	output_diagnostics(cli);
	if (status)
		return status;
	error = caps_drop(engine == WEIR_KERNEL ? KEEP_LOADING : 0);
	if (error) {
		output_failure(cli, "cannot drop privileges: %s", strerror(-error));
		status = WEIR_SYSTEM;
	} else {
		status = judge_all(cli, tester, capture);
	}
	weir_tester_free(tester);
	return status;
}

static int test(struct cli *cli)
{
	struct weir_program *program = NULL;
	struct weir_capture *capture = NULL;
	enum weir_engine engine = WEIR_KERNEL;
	enum input_kind kind;
	const char *text;
	int status = input_choose(cli, &kind, &text);

	if (!status)
		status = choose_engine(cli, &engine);
	if (!status && !cli->set.pcap)
		status = usage_error(cli->command, "`--pcap FILE` is missing");
	if (status)
		return status;
	status = input_compile(cli, kind, text, &program);
	output_diagnostics(cli);
	if (!status) {
		status = weir_capture_open(cli->weir, cli->set.pcap, &capture);
		output_diagnostics(cli);
	}
	if (!status)
		status = test_program(cli, program, engine, capture);
	weir_capture_close(capture);
	weir_program_free(program);
	return output_finish(cli, status, NULL);
}

static const struct option test_options[] = {
	TEXT("pcap", 0, "FILE", pcap, "packets, pcap or pcapng; `-` is standard input (required)"),
	TEXT("policy", 0, "NAME", policy, "which policy of the file"),
	TEXT("hook", 0, "HOOK", hook, "at which hook; default: the policy's first"),
	TEXT("engine", 0, "ENGINE", engine, "`kernel` (default): the compiled program; `model`: the plain evaluator"),
	TEXT("expression", 'e', "EXPR", expression, "test a filter expression"),
};

const struct command command_test = {
	.name = "test",
	.synopsis = "--pcap FILE FILE | EXPR",
	.summary = "Judge captured packets; one line a packet: number, verdict, rule",
	.help = "The rule is its number in the order of the text, or `default`, `malformed` or `non_ip`. With\n"
		"--json, each line is an object.",
	OPTIONS(test_options),
	.most = 1,
	.stream = true,
	.run = test,
};
