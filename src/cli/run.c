/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * weir run: a command behind filters. Ends as the command does, since it becomes the command; before that with the
 * usual exit status for bad input and refusals, 125 if no way was found to put a filter on a socket.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char *const backends[] = { "auto", "ebpf", "pinned", "cbpf", "reuseport" };

enum { BACKEND_COUNT = sizeof backends / sizeof backends[0], ACCEPT_LIMIT = 64 };

int backend_choose(struct cli *cli, enum weir_backend *ret_backend)
{
	const char *wanted = cli->set.backend;

	*ret_backend = cli->set.pinned && !wanted ? WEIR_BACKEND_PINNED : WEIR_BACKEND_AUTO;
	for (int i = 0; wanted && i < BACKEND_COUNT; i++) {
		if (strcmp(backends[i], wanted))
			continue;
		*ret_backend = (enum weir_backend)i;
		if (*ret_backend == WEIR_BACKEND_PINNED && !cli->set.pinned)
			return usage_error(cli->command, "`--backend pinned` needs `--pinned PATH`");
		return 0;
	}
	if (wanted)
		return usage_error(cli->command, "`--backend` is auto, ebpf, pinned, cbpf or reuseport, not `%s`",
				   wanted);
	return 0;
}

/* --- filters ----------------------------------------------------------------------------------------------------- */

/* What was compiled for one run. */
struct plan {
	struct weir_run_filter *filters;
	size_t count;
	struct weir_program *ingress, *egress;
	enum weir_backend backend;
};

/* No expression begins like a path, though many have a slash in them. */
static bool is_file(const char *text)
{
	size_t length = strlen(text);

	return text[0] == '/' || !strncmp(text, "./", 2) || !strncmp(text, "../", 3) ||
	       (length > 5 && !strcmp(text + length - 5, ".weir"));
}

static void add_filter(struct plan *plan, const char *socket, struct weir_filter *filter)
{
	plan->filters = memory_grow(plan->filters, plan->count + 1, sizeof *plan->filters);
	plan->filters[plan->count++] = (struct weir_run_filter){ socket, filter };
}

/* NAME=EXPR; an expression has `==` there. */
static char *take_name(const char **text)
{
	size_t length = strcspn(*text, "=!<> {(/");
	char *name;

	if (!length || (*text)[length] != '=' || (*text)[length + 1] == '=')
		return NULL;
	name = text_print("%.*s", (int)length, *text);
	*text += length + 1;
	return name;
}

static int check_twice(struct cli *cli, const struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->count; i++) {
		const char *other = plan->filters[i].socket;

		if (name && other && !strcmp(name, other)) {
			output_failure(cli, "two filters for the socket `%s`", name);
			return WEIR_INPUT;
		}
		if (!name && !other) {
			output_failure(cli, "two filters for all sockets; join them with `&&`, or name the sockets");
			return WEIR_INPUT;
		}
	}
	return WEIR_OK;
}

static int add_text(struct cli *cli, struct plan *plan, const char *text)
{
	char *name = take_name(&text);
	struct weir_filter *filter;
	int status = check_twice(cli, plan, name);

	if (!status) {
		status = is_file(text) ? weir_filter_compile_file(cli->weir, text, NULL, &filter)
				       : weir_filter_compile(cli->weir, text, &filter);
		output_diagnostics(cli);
	}
	if (status)
		free(name);
	else
		add_filter(plan, name, filter);
	return status;
}

/* The application's own rules are those of `--filter`; the user's files come before them. */
static int add_app(struct cli *cli, struct plan *plan)
{
	const char *text = cli->set.filters.count ? cli->set.filters.items[0] : NULL;
	struct weir_filter *filter = NULL;
	int status;

	if (cli->set.filters.count > 1) {
		output_failure(cli, "with `--app` there is one filter, for all sockets");
		return WEIR_INPUT;
	}
	status = weir_filter_for_app(cli->weir, cli->set.app, NULL, &filter);
	output_diagnostics(cli);
	if (!status && filter)
		add_filter(plan, NULL, filter);
	else if (!status && text)
		status = add_text(cli, plan, text);
	return status;
}

/* One policy is for all sockets; of several, each for the socket of its name. */
static int add_policies(struct cli *cli, struct plan *plan)
{
	struct weir_program *program;
	int status = weir_compile_file(cli->weir, cli->set.policy, &program);

	output_diagnostics(cli);
	if (status)
		return status;
	for (size_t i = 0; !status && i < weir_policy_count(program); i++) {
		const char *name = weir_policy_count(program) > 1 ? weir_policy(program, i)->name : NULL;
		struct weir_filter *filter;

		status = check_twice(cli, plan, name);
		if (status)
			break;
		status = weir_filter_compile_file(cli->weir, cli->set.policy, name, &filter);
		if (status)
			output_diagnostics(cli);
		else
			add_filter(plan, name ? text_print("%s", name) : NULL, filter);
	}
	weir_program_free(program);
	return status;
}

static int choose_backend(struct cli *cli, struct plan *plan)
{
	struct weir_filter *filter;
	int status = WEIR_OK;

	if (!plan->count && cli->set.pinned) {
		status = weir_filter_pinned(cli->weir, cli->set.pinned, &filter);
		output_diagnostics(cli);
		if (status)
			return status;
		add_filter(plan, NULL, filter);
	}
	for (size_t i = 0; !status && i < plan->count; i++)
		status = weir_filter_choose(cli->weir, plan->filters[i].filter, plan->backend, cli->set.pinned);
	return status;
}

static int compile_cgroup(struct cli *cli, const char *text, struct weir_program **ret_program)
{
	int status;

	if (!text)
		return WEIR_OK;
	status = is_file(text) ? weir_compile_file(cli->weir, text, ret_program)
			       : weir_compile_expression(cli->weir, text, ret_program);
	output_diagnostics(cli);
	return status;
}

static int compile(struct cli *cli, struct plan *plan)
{
	int status = WEIR_OK;

	if (cli->set.app)
		status = add_app(cli, plan);
	for (size_t i = 0; !cli->set.app && !status && i < cli->set.filters.count; i++)
		status = add_text(cli, plan, cli->set.filters.items[i]);
	if (!status && cli->set.policy)
		status = add_policies(cli, plan);
	if (!status)
		status = choose_backend(cli, plan);
	if (!status)
		status = compile_cgroup(cli, cli->set.ingress, &plan->ingress);
	if (!status)
		status = compile_cgroup(cli, cli->set.egress, &plan->egress);
	return status;
}

static void plan_free(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		weir_filter_free(plan->filters[i].filter);
		free((void *)(uintptr_t)plan->filters[i].socket);
	}
	free(plan->filters);
	weir_program_free(plan->ingress);
	weir_program_free(plan->egress);
}

/* --- running ----------------------------------------------------------------------------------------------------- */

static void describe(const struct weir_run *run)
{
	for (size_t i = 0; i < weir_run_socket_count(run); i++) {
		const struct weir_run_socket socket = weir_run_socket(run, i);

		fprintf(stderr, "weir: %s%s%s: %s\n", socket.name, socket.name[0] ? " " : "", socket.address,
			socket.backend == WEIR_BACKEND_AUTO ? "no filter" : weir_backend_name(socket.backend));
	}
}

/* In a process of its own, beside the command's. */
static void print_log(void *context, const struct weir_event *event)
{
	(void)context;
	print_event_line(stderr, event);
	fflush(stderr);
}

static int prepare(struct cli *cli, const struct plan *plan, struct weir_run **ret_run)
{
	const struct settings *set = &cli->set;
	const struct weir_listen_options listening = {
		.size = sizeof listening, .backlog = (int)set->backlog, .reuse_port = set->reuse_port,
		.freebind = set->freebind, .no_lock = set->no_lock,
	};
	const struct weir_run_options options = {
		.size = sizeof options, .listen = set->listen.items, .listen_count = set->listen.count,
		.filters = plan->filters, .filter_count = plan->count, .listening = &listening,
		.ingress = plan->ingress, .egress = plan->egress, .user = set->user, .group = set->group,
		.drop_caps = set->drop_caps,
		.log = set->log ? print_log : NULL,
		.accept = set->accept || set->inetd ? (unsigned)(set->limit ? set->limit : ACCEPT_LIMIT) : 0,
	};
	int status = weir_run_new(cli->weir, &options, ret_run);

	output_diagnostics(cli);
	return status;
}

/* Does not come back if all is well, but from serving. */
static int execute(struct cli *cli, struct weir_run *run)
{
	int exit_status;
	int status;

	if (cli->set.verbose)
		describe(run);
	fflush(NULL);
	status = weir_run_exec(cli->weir, run, cli->operands, &exit_status);
	output_diagnostics(cli);
	weir_run_free(run);
	if (status)
		output_finish(cli, status, NULL);
	return exit_status;
}

static int run_command(struct cli *cli)
{
	struct plan plan = { 0 };
	struct weir_run *run;
	bool unfiltered = false;
	int status = backend_choose(cli, &plan.backend);

	if (status)
		return status;
	status = compile(cli, &plan);
	if (!status) {
		status = prepare(cli, &plan, &run);
		unfiltered = status && weir_unfiltered(cli->weir);
	}
	plan_free(&plan);
	if (!status)
		return execute(cli, run);
	status = output_finish(cli, status, NULL);
	return unfiltered ? WEIR_RUN_FAILED : status;
}

static const struct option run_options[] = {
	TEXTS("listen", 'l', "ADDR", listen, "listen on [NAME=]tcp:[ADDR:]PORT, udp:..., sctp:... or unix:PATH"),
	TEXTS("filter", 'f', "[NAME=]EXPR", filters, "who may talk to the sockets, or to the one of that name; or a file"),
	TEXT("policy", 0, "FILE", policy, "policies `on socket`: one for all sockets, or each for the one of its name"),
	TEXT("app", 0, "NAME", app, "the user's own file for that application comes before --filter"),
	TEXT("ingress", 0, "EXPR", ingress, "what the command and its children may receive (needs privileges)"),
	TEXT("egress", 0, "EXPR", egress, "what they may send (needs privileges)"),
	TEXT("user", 'u', "USER", user, "run the command as that user"),
	TEXT("group", 'g', "GROUP", group, "and in that group; default: the user's"),
	FLAG("drop-caps", 0, drop_caps, "give all capabilities up for good"),
	FLAG("accept", 0, accept, "one process a connection, which is its standard input and output"),
	FLAG("inetd", 0, inetd, "the same"),
	NUMBER("limit", 0, "N", limit, "with --accept: most processes at once (64)", 1, 65536),
	FLAG("reuse-port", 0, reuse_port, "other processes may listen on the same port (SO_REUSEPORT)"),
	FLAG("freebind", 0, freebind, "listen on addresses that are not there yet"),
	NUMBER("backlog", 0, "N", backlog, "connections that may wait", 1, 65535),
	TEXT("backend", 0, "NAME", backend, "auto, ebpf, pinned, cbpf or reuseport: how filters sit on sockets"),
	TEXT("pinned", 0, "PATH", pinned, "a program that `weir load` pinned for sockets, as the filter"),
	FLAG("no-lock", 0, no_lock, "let the command change its filters"),
	FLAG("log", 0, log, "print events of rules with `log` to standard error while the command runs (eBPF only)"),
	FLAG("verbose", 'v', verbose, "say how each socket is filtered"),
};

const struct command command_run = {
	.name = "run",
	.synopsis = "[--] COMMAND [ARGUMENT]...",
	.summary = "Run a command behind filters",
	.help = "Listening sockets are passed to the command from descriptor 3 on, as systemd does (LISTEN_FDS); those\n"
		"that weir was given itself are filtered and passed on first. --filter needs no privileges.",
	OPTIONS(run_options),
	.least = 1,
	.most = SIZE_MAX,
	.command = true,
	.run = run_command,
};
