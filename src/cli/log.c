/* SPDX-License-Identifier: GPL-2.0-only */
/* weir log: events of rules with `log`, one line each. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	WAIT_MS = 200,   /* without -f: how long events that are on their way have */
	FOLLOW_MS = 250, /* with -f: how often a signal is looked for */
};

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void print_address(const char *address, uint16_t port)
{
	bool brackets = port && strchr(address, ':');

	printf(" %s%s%s", brackets ? "[" : "", address[0] ? address : "?", brackets ? "]" : "");
	if (port)
		printf(":%u", port);
}

static void print_flow(const struct weir_event *event)
{
	if (event->protocol[0])
		printf(" %s", event->protocol);
	if (!event->source[0] && !event->destination[0])
		return;
	print_address(event->source, event->source_port);
	printf(" >");
	print_address(event->destination, event->destination_port);
}

/* Users stay numbers: asking a directory service for a name could send packets that are logged in turn. */
static void print_event(const struct weir_event *event)
{
	char when[40];

	time_text(event->time_ns, 6, when, sizeof when);
	printf("%s %s %s:%u", when, event->verdict, event->policy, event->rule);
	if (event->text[0]) {
		printf(" \"");
		print_escaped(stdout, event->text);
		printf("\"");
	}
	if (event->interface[0])
		printf(" %s", event->interface);
	print_flow(event);
	if (event->flags[0])
		printf(" %s", event->flags);
	printf(" length %u", event->length);
	if (event->user >= 0)
		printf(" user %" PRId64, event->user);
	if (event->mark)
		printf(" mark 0x%x", event->mark);
	printf("\n");
}

static json_t *json_data(const struct weir_event *event)
{
	static const char hex[] = "0123456789abcdef";
	char *text = memory_grow(NULL, event->captured * 2 + 1, 1);
	json_t *string;

	for (size_t i = 0; i < event->captured; i++) {
		text[2 * i] = hex[event->data[i] >> 4];
		text[2 * i + 1] = hex[event->data[i] & 15];
	}
	string = json_stringn(text, event->captured * 2);
	free(text);
	return string;
}

static json_t *json_event(const struct weir_event *event)
{
	json_t *object = json_object();

	json_object_set_new(object, "time", json_real((double)event->time_ns / 1e9));
	json_object_set_new(object, "verdict", json_text(event->verdict));
	json_object_set_new(object, "policy", json_text(event->policy));
	json_object_set_new(object, "rule", json_integer(event->rule));
	json_object_set_new(object, "text", json_text(event->text));
	json_object_set_new(object, "hook", json_text(event->hook));
	json_object_set_new(object, "interface", json_text(event->interface));
	json_object_set_new(object, "protocol", json_text(event->protocol));
	json_object_set_new(object, "source", json_text(event->source));
	json_object_set_new(object, "source_port", json_integer(event->source_port));
	json_object_set_new(object, "destination", json_text(event->destination));
	json_object_set_new(object, "destination_port", json_integer(event->destination_port));
	json_object_set_new(object, "flags", json_text(event->flags));
	json_object_set_new(object, "length", json_integer(event->length));
	json_object_set_new(object, "user", event->user < 0 ? json_null() : json_integer(event->user));
	json_object_set_new(object, "mark", json_integer(event->mark));
	json_object_set_new(object, "frame", json_boolean(event->frame));
	json_object_set_new(object, "data", json_data(event));
	return object;
}

static void put(const struct cli *cli, const struct weir_event *event)
{
	if (cli->set.json)
		output_json_line(json_event(event));
	else
		print_event(event);
}

/* What is there now, and what comes within WAIT_MS; a steady stream must not keep it for ever. */
static int read_present(struct cli *cli, struct weir_events *events)
{
	uint64_t until = now_ns() + WAIT_MS * 1000000ull, now;
	const struct weir_event *event;
	int status;

	do {
		now = now_ns();
		status = weir_events_next(cli->weir, events, now < until ? (int)((until - now) / 1000000) + 1 : 0,
					  &event);
		if (status > 0 && event->time_ns <= until)
			put(cli, event);
		else if (status > 0)
			return 0;
	} while (status > 0 && !ended);
	return status;
}

static int read_all(struct cli *cli, struct weir_events *events)
{
	const struct weir_event *event;
	int status = 0;

	while (!ended && status >= 0 && !ferror(stdout)) {
		status = weir_events_next(cli->weir, events, FOLLOW_MS, &event);
		if (status > 0)
			put(cli, event);
		else
			fflush(stdout);
	}
	return status;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = end };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int read_events(struct cli *cli, struct weir_events *events)
{
	int status, error = caps_drop(KEEP_EVENTS);

	if (error) {
		output_failure(cli, "cannot drop privileges: %s", strerror(-error));
		return WEIR_SYSTEM;
	}
	catch_signals();
	status = cli->set.follow ? read_all(cli, events) : read_present(cli, events);
	if (status >= 0 || ended)
		return WEIR_OK; /* a signal is the way to end it */
	output_diagnostics(cli);
	return status;
}

static int show_log(struct cli *cli)
{
	const char *policy = cli->operand_count ? cli->operands[0] : NULL;
	struct weir_events *events;
	uint64_t lost;
	int status = weir_events_open(cli->weir, policy, &events);

	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	status = read_events(cli, events);
	lost = weir_events_lost(events);
	weir_events_close(events);
	status = output_finish(cli, status, NULL);
	if (lost)
		fprintf(stderr, "weir: %" PRIu64 " event%s lost\n", lost, lost == 1 ? "" : "s");
	return status;
}

static const struct option log_options[] = {
	FLAG("follow", 'f', follow, "go on until interrupted"),
};

const struct command command_log = {
	.name = "log",
	.synopsis = "[NAME]",
	.summary = "Print events of rules with `log`, of one policy or of all",
	.help = "One line an event: time, verdict, policy:rule, text, interface, protocol, addresses and ports,\n"
		"TCP flags or ICMP type, length, user, mark. With --json, one object a line. Each event is given to\n"
		"one reader.",
	OPTIONS(log_options),
	.most = 1,
	.stream = true,
	.run = show_log,
};
