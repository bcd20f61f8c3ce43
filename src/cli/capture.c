/* SPDX-License-Identifier: GPL-2.0-only */
/* weir capture: packets of rules with `capture`, as pcapng. */
#include "cli.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum {
	FOLLOW_MS = 250, /* how often a signal is looked for */
	NOW_MS = 200,    /* --now: how long packets that are on their way have */
	FLUSH_PACKETS = 4096,
	SNAP_MAX = 65535,
};

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = end };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

struct capturing {
	struct cli *cli;
	struct weir_captures *captures;
	struct weir_pcapng *output;
	uint64_t packets;
};

static bool wanted(const struct capturing *capturing)
{
	const struct settings *set = &capturing->cli->set;

	return !ended && (!set->count || capturing->packets < set->count);
}

/* Writes what is there; 0 when nothing is left, 1 when FLUSH_PACKETS came, or a weir_status. */
static int copy_some(struct capturing *capturing)
{
	const struct weir_captured *captured;

	for (unsigned i = 0; i < FLUSH_PACKETS && wanted(capturing); i++) {
		int got = weir_captures_next(capturing->cli->weir, capturing->captures, 0, &captured);

		if (got > 0)
			got = weir_pcapng_write(capturing->output, captured) ? WEIR_SYSTEM : 1;
		if (got <= 0)
			return got;
		capturing->packets++;
	}
	return 1;
}

/* Waits for the next packet and writes it; 1 if one came. */
static int copy_next(struct capturing *capturing, int timeout_ms)
{
	const struct weir_captured *captured;
	int got = weir_captures_next(capturing->cli->weir, capturing->captures, timeout_ms, &captured);

	if (got <= 0)
		return got;
	capturing->packets++;
	return weir_pcapng_write(capturing->output, captured) ? WEIR_SYSTEM : 1;
}

/* Whoever read standard output has closed it: the next write would say so, but there may be none for a long time. */
static bool reader_gone(void)
{
	struct pollfd output = { .fd = STDOUT_FILENO };

	return poll(&output, 1, 0) > 0 && output.revents & POLLERR;
}

/* Each packet is on its way to whoever reads the output before the next one is waited for. */
static int copy_all(struct capturing *capturing)
{
	struct cli *cli = capturing->cli;
	int status = WEIR_OK;

	while (!status && wanted(capturing)) {
		int got = copy_some(capturing);

		if (got < 0)
			return got;
		status = weir_pcapng_flush(cli->weir, capturing->output);
		if (status || got || !wanted(capturing))
			continue;
		got = copy_next(capturing, cli->set.now ? NOW_MS : FOLLOW_MS);
		if (got < 0)
			return ended ? WEIR_OK : got;
		if (!got && (cli->set.now || reader_gone()))
			break;
	}
	return status;
}

static int run_capture(struct capturing *capturing)
{
	struct cli *cli = capturing->cli;
	int error = caps_drop(KEEP_EVENTS);

	if (error) {
		output_failure(cli, "cannot drop privileges: %s", strerror(-error));
		return WEIR_SYSTEM;
	}
	catch_signals();
	return copy_all(capturing);
}

static void summarise(struct cli *cli, uint64_t packets, uint64_t lost, json_t **ret_object)
{
	if (!cli->set.json) {
		fprintf(stderr, "%" PRIu64 " packet%s captured, %" PRIu64 " lost\n", packets, packets == 1 ? "" : "s",
			lost);
		return;
	}
	*ret_object = json_object();
	json_object_set_new(*ret_object, "packets", json_number(packets));
	json_object_set_new(*ret_object, "lost", json_number(lost));
}

static int capture_to(struct cli *cli, const char *path, const char *policy)
{
	struct capturing capturing = { .cli = cli };
	json_t *object = NULL;
	uint64_t lost;
	int status = weir_captures_open(cli->weir, policy, &capturing.captures), finished;

	if (!status) {
		output_diagnostics(cli);
		status = weir_pcapng_create(cli->weir, path, (uint32_t)cli->set.snap, &capturing.output);
	}
	output_diagnostics(cli);
	if (!capturing.output) {
		weir_captures_close(capturing.captures);
		return output_finish(cli, status, NULL);
	}
	status = run_capture(&capturing);
	if (status)
		output_diagnostics(cli);
	lost = weir_captures_lost(capturing.captures);
	finished = weir_pcapng_finish(cli->weir, capturing.output, lost);
	if (finished && !status)
		output_diagnostics(cli);
	weir_captures_close(capturing.captures);
	summarise(cli, capturing.packets, lost, &object);
	return output_finish(cli, status ? status : finished, object);
}

static int capture(struct cli *cli)
{
	const char *path = cli->set.output ? cli->set.output : "-";

	if (!strcmp(path, "-") && isatty(STDOUT_FILENO))
		return usage_error(cli->command, "packets are not for a terminal: give `-w FILE`, or pipe them into a "
				   "program");
	if (!strcmp(path, "-") && cli->set.json)
		return usage_error(cli->command, "`--json` needs `-w FILE`: standard output is for packets");
	return capture_to(cli, path, cli->operand_count ? cli->operands[0] : NULL);
}

static const struct option capture_options[] = {
	TEXT("write", 'w', "FILE", output, "write to FILE; `-` or none: standard output"),
	NUMBER("count", 'c', "N", count, "end after N packets", 1, UINT64_MAX),
	NUMBER("snap", 's', "N", snap, "write the first N bytes of a packet at most", 1, SNAP_MAX),
	FLAG("now", 0, now, "write what has been captured so far, and end"),
};

const struct command command_capture = {
	.name = "capture",
	.synopsis = "[NAME]",
	.summary = "Write packets of rules with `capture`, of one policy or of all, as pcapng",
	.help = "Goes on until interrupted. Each packet comes with its interface, direction, verdict, and as a comment\n"
		"policy:rule, verdict and user. With Wireshark: `weir capture NAME | wireshark -k -i -`.",
	OPTIONS(capture_options),
	.most = 1,
	.run = capture,
};
