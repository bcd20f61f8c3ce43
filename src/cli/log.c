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

static void print_address(FILE *stream, const char *address, uint16_t port)
{
	bool brackets = port && strchr(address, ':');

	fprintf(stream, " %s%s%s", brackets ? "[" : "", address[0] ? address : "?", brackets ? "]" : "");
	if (port)
		fprintf(stream, ":%u", port);
}

static void print_flow(FILE *stream, const struct weir_event *event)
{
	if (event->protocol[0])
		fprintf(stream, " %s", event->protocol);
	if (!event->source[0] && !event->destination[0])
		return;
	print_address(stream, event->source, event->source_port);
	fputs(" >", stream);
	print_address(stream, event->destination, event->destination_port);
}

static void print_process(FILE *stream, const struct weir_event *event)
{
	fprintf(stream, " group %" PRId64 " pid %" PRId64 " \"", event->group, event->pid);
	print_escaped(stream, event->command);
	fputs("\"", stream);
	if (event->program[0]) {
		fputs(" program \"", stream);
		print_escaped(stream, event->program);
		fputs("\"", stream);
	}
	if (event->cgroup[0]) {
		fputs(" cgroup \"", stream);
		print_escaped(stream, event->cgroup);
		fputs("\"", stream);
	}
}

/* Users stay numbers: asking a directory service for a name could send packets that are logged in turn. */
static void print_event(FILE *stream, const struct weir_event *event)
{
	fprintf(stream, "%s %s:%u", event->verdict, event->policy, event->rule);
	if (event->text[0]) {
		fputs(" \"", stream);
		print_escaped(stream, event->text);
		fputs("\"", stream);
	}
	if (event->interface[0])
		fprintf(stream, " %s", event->interface);
	print_flow(stream, event);
	if (event->flags[0])
		fprintf(stream, " %s", event->flags);
	fprintf(stream, " length %u", event->length);
	if (event->user >= 0)
		fprintf(stream, " user %" PRId64, event->user);
	if (event->pid >= 0)
		print_process(stream, event);
	if (event->mark)
		fprintf(stream, " mark 0x%x", event->mark);
	if (event->observed)
		fputs(" observed", stream);
	fputs("\n", stream);
}

void print_event_line(FILE *stream, const struct weir_event *event)
{
	char when[40];

	time_text(event->time_ns, 6, when, sizeof when);
	fprintf(stream, "%s ", when);
	print_event(stream, event);
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
	json_object_set_new(object, "observed", json_boolean(event->observed));
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
	json_object_set_new(object, "group", event->group < 0 ? json_null() : json_integer(event->group));
	json_object_set_new(object, "pid", event->pid < 0 ? json_null() : json_integer(event->pid));
	json_object_set_new(object, "command", json_text(event->command));
	json_object_set_new(object, "program", event->program[0] ? json_text(event->program) : json_null());
	json_object_set_new(object, "cgroup", event->cgroup[0] ? json_text(event->cgroup) : json_null());
	json_object_set_new(object, "mark", json_integer(event->mark));
	json_object_set_new(object, "frame", json_boolean(event->frame));
	json_object_set_new(object, "data", json_data(event));
	return object;
}

/* --- the journal ------------------------------------------------------------------------------------------------ */

enum { PRIORITY_NOTICE = 5, PRIORITY_INFO = 6 };

static bool refused(const struct weir_event *event)
{
	return !strcmp(event->verdict, "drop") || !strcmp(event->verdict, "reject");
}

/*
 * OBJECT_PID is a process that the entry is about: journald looks up its unit and more, and shows the entry with the unit's.
 * So it is given only while the process is still in the cgroup that it was in: another one may have its number by now.
 */
static void put_process(struct journal *journal, const struct weir_event *event)
{
	journal_number(journal, "WEIR_GID", (uint64_t)event->group);
	journal_number(journal, "WEIR_PID", (uint64_t)event->pid);
	journal_text(journal, "WEIR_COMMAND", event->command);
	journal_text(journal, "WEIR_PROGRAM", event->program);
	journal_text(journal, "WEIR_CGROUP", event->cgroup);
	if (event->cgroup[0])
		journal_number(journal, "OBJECT_PID", (uint64_t)event->pid);
}

/* journald itself adds who writes (_UID and so on): what the packet's owner was has names of ours. */
static void put_fields(struct journal *journal, const struct weir_event *event)
{
	journal_text(journal, "MESSAGE_ID", "5d0c9bb5f3284aa69a1dd64a1a6a0a6f");
	journal_text(journal, "SYSLOG_IDENTIFIER", "weir");
	journal_number(journal, "PRIORITY", refused(event) ? PRIORITY_NOTICE : PRIORITY_INFO);
	journal_number(journal, "WEIR_TIME_USEC", event->time_ns / 1000);
	journal_text(journal, "WEIR_POLICY", event->policy);
	journal_number(journal, "WEIR_RULE", event->rule);
	journal_text(journal, "WEIR_VERDICT", event->verdict);
	journal_text(journal, "WEIR_TEXT", event->text);
	journal_text(journal, "WEIR_HOOK", event->hook);
	journal_text(journal, "WEIR_INTERFACE", event->interface);
	journal_text(journal, "WEIR_PROTOCOL", event->protocol);
	journal_text(journal, "WEIR_SOURCE", event->source);
	journal_text(journal, "WEIR_DESTINATION", event->destination);
	if (event->source_port || event->destination_port) {
		journal_number(journal, "WEIR_SOURCE_PORT", event->source_port);
		journal_number(journal, "WEIR_DESTINATION_PORT", event->destination_port);
	}
	journal_text(journal, "WEIR_FLAGS", event->flags);
	journal_number(journal, "WEIR_LENGTH", event->length);
	if (event->user >= 0)
		journal_number(journal, "WEIR_UID", (uint64_t)event->user);
	if (event->pid >= 0)
		put_process(journal, event);
	if (event->mark)
		journal_number(journal, "WEIR_MARK", event->mark);
}

static int write_journal(struct cli *cli, const struct weir_event *event)
{
	struct journal *journal = cli->journal;
	int error;

	journal_begin(journal);
	fputs("MESSAGE=", journal->stream);
	print_event(journal->stream, event);
	put_fields(journal, event);
	error = journal_send(journal);
	if (error)
		output_failure(cli, "the journal takes no entries: %s", strerror(-error));
	return error ? WEIR_SYSTEM : WEIR_OK;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static int put(struct cli *cli, const struct weir_event *event)
{
	if (cli->journal)
		return write_journal(cli, event);
	if (cli->set.json)
		output_json_line(json_event(event));
	else
		print_event_line(stdout, event);
	return WEIR_OK;
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
		if (status > 0 && event->time_ns > until)
			return 0;
		if (status > 0 && put(cli, event))
			return WEIR_SYSTEM;
	} while (status > 0 && !ended);
	return status;
}

static int read_all(struct cli *cli, struct weir_events *events)
{
	const struct weir_event *event;
	int status = 0;

	while (!ended && status >= 0 && !ferror(stdout)) {
		status = weir_events_next(cli->weir, events, FOLLOW_MS, &event);
		if (status > 0 && put(cli, event))
			return WEIR_SYSTEM;
		if (!status)
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
	notify_ready();
	status = cli->set.follow ? read_all(cli, events) : read_present(cli, events);
	if (status >= 0 || ended)
		return WEIR_OK; /* a signal is the way to end it */
	output_diagnostics(cli);
	return status;
}

static int show_events(struct cli *cli)
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

static int show_log(struct cli *cli)
{
	struct journal journal;
	int status, error;

	if (!cli->set.journal)
		return show_events(cli);
	if (cli->set.json)
		return usage_error(cli->command, "`--journal` writes to the journal, `--json` to standard output: choose one");
	error = journal_open(&journal);
	if (error) {
		output_failure(cli, "cannot reach the journal: %s", strerror(-error));
		return output_finish(cli, WEIR_SYSTEM, NULL);
	}
	cli->journal = &journal;
	status = show_events(cli);
	cli->journal = NULL;
	journal_close(&journal);
	return status;
}

static const struct option log_options[] = {
	FLAG("follow", 'f', follow, "go on until interrupted"),
	FLAG("journal", 0, journal, "to the systemd journal, with fields, instead of standard output"),
};

const struct command command_log = {
	.name = "log",
	.synopsis = "[NAME]",
	.summary = "Print events of rules with `log`, of one policy or of all",
	.help = "One line an event: time, verdict, policy:rule, text, interface, protocol, addresses and ports,\n"
		"TCP flags or ICMP type, length, user, process, mark. With --json, one object a line. Several may read at the\n"
		"same time. With --journal, `journalctl WEIR_POLICY=NAME` finds them.",
	OPTIONS(log_options),
	.most = 1,
	.stream = true,
	.run = show_log,
};
