/* SPDX-License-Identifier: GPL-2.0-only */
/* A command behind filters: sockets, a cgroup, another user, and then the command in place of this process. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/filter.h"

enum { EVENTS_MS = 100 }; /* how often the command is looked for */

struct weir_run {
	struct app_socket *sockets;
	size_t count, room;
	struct app_identity identity;
	struct app_cgroup cgroup;
	unsigned accept;
	struct run_log *logs; /* what is to be printed while the command runs */
	size_t log_count;
	void (*log)(void *context, const struct weir_event *event);
	void *log_context;
};

/* What making one needs besides. */
struct making {
	struct weir_run *run;
	struct weir_run_options options;
	struct app_address *addresses; /* malloc()ed: app/ uses no arena */
	bool *used;                    /* for each filter */
	struct kernel *kernel;
	int prog;
	struct app app;
};

/* --- which filter for which socket ------------------------------------------------------------------------------- */

static struct weir_filter *find_filter(struct making *making, const char *name, bool network)
{
	const struct weir_run_options *options = &making->options;
	struct weir_filter *common = NULL;

	for (size_t i = 0; i < options->filter_count; i++) {
		const struct weir_run_filter *filter = &options->filters[i];

		if (filter->socket && strcmp(filter->socket, name))
			continue;
		if (!filter->socket && !network)
			continue;
		making->used[i] = true;
		if (filter->socket)
			return filter->filter;
		common = filter->filter;
	}
	return common;
}

static bool for_all_sockets(const struct making *making)
{
	for (size_t i = 0; i < making->options.filter_count; i++)
		if (!making->options.filters[i].socket)
			return true;
	return false;
}

static int check_filters_used(struct making *making)
{
	for (size_t i = 0; i < making->options.filter_count; i++) {
		const char *name = making->options.filters[i].socket;

		if (making->used[i])
			continue;
		if (name)
			return app_fail(&making->app, -EINVAL, "no socket is named `%.100s`, as a filter says", name);
		app_hint(&making->app, "sockets come from `--listen`, or from who started weir (LISTEN_FDS)");
		return app_fail(&making->app, -EINVAL, "there is no socket to put the filter on");
	}
	return 0;
}

/* --- sockets ----------------------------------------------------------------------------------------------------- */

static void say_unfiltered(struct making *making, const struct app_socket *socket)
{
	if (for_all_sockets(making) && !socket_is_network(socket))
		app_warn(&making->app, "%s is no socket of the network: the filter is not for it", socket->text);
}

static int protect_passed(struct making *making, struct weir *weir)
{
	struct weir_run *run = making->run;
	int error = 0;

	for (size_t i = 0; !error && i < run->count; i++) {
		struct app_socket *socket = &run->sockets[i];
		struct weir_filter *filter = find_filter(making, socket->name, socket_is_network(socket));
		struct app_listen listening = app_listening(making->options.listening, filter);

		if (!filter) {
			say_unfiltered(making, socket);
			continue;
		}
		filter->weir = weir;
		error = socket_protect(&making->app, socket, &filter->app, &listening, true);
	}
	return error;
}

static int listen_all(struct making *making, struct weir *weir)
{
	struct weir_run *run = making->run;
	int error = 0;

	for (size_t i = 0; !error && i < making->options.listen_count; i++) {
		const struct app_address *address = &making->addresses[i];
		struct weir_filter *filter = find_filter(making, address->name, address->kind != APP_UNIX);
		struct app_listen listening = app_listening(making->options.listening, filter);

		if (filter)
			filter->weir = weir;
		error = app_listen(&making->app, address, filter ? &filter->app : NULL, &listening,
				   &run->sockets[run->count]);
		if (error)
			break;
		if (!filter)
			say_unfiltered(making, &run->sockets[run->count]);
		run->count++;
	}
	return error;
}

/* Everything that can be wrong with the words is found before anything is made. */
static int parse(struct making *making)
{
	const struct weir_run_options *options = &making->options;
	size_t passed = 0;
	int error = 0;

	making->addresses = calloc(options->listen_count + 1, sizeof *making->addresses);
	making->used = calloc(options->filter_count + 1, sizeof *making->used);
	if (!making->addresses || !making->used)
		return -ENOMEM;
	for (size_t i = 0; !error && i < options->listen_count; i++)
		error = address_parse(&making->app, options->listen[i], &making->addresses[i]);
	if (!error)
		error = identity_find(&making->app, options->user, options->group, &making->run->identity);
	if (!error)
		error = activation_count(&making->app, &passed);
	if (error)
		return error;
	making->run->sockets = calloc(passed + options->listen_count + 1, sizeof *making->run->sockets);
	if (!making->run->sockets)
		return -ENOMEM;
	error = activation_sockets(&making->app, making->run->sockets, passed);
	if (!error)
		making->run->count = passed;
	return error;
}

/* Names are checked first: nothing may be bound, and no passed socket drained, for a command that will not run. */
static int check_names(struct making *making)
{
	for (size_t i = 0; i < making->run->count; i++)
		find_filter(making, making->run->sockets[i].name, socket_is_network(&making->run->sockets[i]));
	for (size_t i = 0; i < making->options.listen_count; i++)
		find_filter(making, making->addresses[i].name, making->addresses[i].kind != APP_UNIX);
	return check_filters_used(making);
}

static int check(struct making *making)
{
	int error = parse(making);

	if (!error)
		error = check_names(making);
	if (!error && making->options.accept && !making->run->count && !making->options.listen_count)
		error = app_fail(&making->app, -EINVAL, "there is no socket to accept connections from");
	return error;
}

static int make_sockets(struct making *making, struct weir *weir)
{
	int error = protect_passed(making, weir);

	return error ? error : listen_all(making, weir);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

/* Takes the log. */
static int keep_log(struct making *making, struct run_log *log)
{
	struct weir_run *run = making->run;
	struct run_log *logs = reallocarray(run->logs, run->log_count + 1, sizeof *logs);

	if (!logs)
		return app_fail(&making->app, -ENOMEM, "out of memory");
	run->logs = logs;
	logs[run->log_count++] = *log;
	*log = (struct run_log){ NO_EVENT_SOURCE, NULL };
	return 0;
}

static bool has_log(const struct weir_filter *filter)
{
	const struct ruleset *ruleset = filter->ruleset;

	for (size_t c = 0; ruleset && c < ruleset->chain_count; c++)
		for (size_t r = 0; r < ruleset->chains[c].rule_count; r++)
			for (size_t a = 0; a < ruleset->chains[c].rules[r].action_count; a++)
				if (ruleset->chains[c].rules[r].actions[a].kind == ACTION_LOG)
					return true;
	return false;
}

static int keep_socket_log(struct making *making, const struct app_socket *socket)
{
	struct weir_filter *filter = find_filter(making, socket->name, socket_is_network(socket));

	if (!filter || !has_log(filter))
		return 0;
	if (socket->backend != APP_EBPF) {
		app_hint(&making->app, "only programs of weir's own write events; `--backend ebpf` says why there is none");
		return app_fail(&making->app, -EOPNOTSUPP, "`--log` cannot tell of %s: its filter is %s", socket->text,
				app_backend_names[socket->backend]);
	}
	return filter->log.meta ? keep_log(making, &filter->log) : 0;
}

static int keep_logs(struct making *making)
{
	struct weir_run *run = making->run;
	int error = 0;

	if (!making->options.log)
		return 0;
	for (size_t i = 0; i < run->count && !error; i++)
		error = keep_socket_log(making, &run->sockets[i]);
	if (!error && !run->log_count) {
		app_hint(&making->app, "a file of rules for `on socket` can say `log \"TEXT\" if ...`");
		error = app_fail(&making->app, -EINVAL, "`--log`: no filter has a rule with `log`");
	}
	run->log = making->options.log;
	run->log_context = making->options.log_context;
	return error;
}

/* --- the cgroup -------------------------------------------------------------------------------------------------- */

static int attach_to_cgroup(struct call *call, struct making *making, struct weir_program *program, enum hook hook)
{
	struct run_log log = { NO_EVENT_SOURCE, NULL };
	const struct ruleset *ruleset;
	struct install install;
	enum hook chosen;
	int status, error;

	if (!program)
		return WEIR_OK;
	status = api_select(call, program, NULL, hook_table[hook].name, &ruleset, &chosen);
	if (!status)
		status = api_refuse_captures(call, ruleset);
	if (!status)
		status = api_install(call, ruleset, hook, &program->bundle, &install);
	if (!status)
		status = api_refuse_notes(call, &install);
	if (status)
		return status;
	error = kernel_socket_load(making->kernel, &install, call->diags, &making->prog,
				   making->options.log ? run_log_describe(&log, &install) : NULL);
	if (!error)
		error = kernel_cgroup_attach(making->kernel, making->run->cgroup.fd, hook, making->prog, call->diags);
	if (!error && log.meta)
		error = app_report(&making->app, call->diags, keep_log(making, &log));
	run_log_close(&log);
	if (making->prog >= 0)
		close(making->prog);
	making->prog = -1;
	return error ? WEIR_SYSTEM : WEIR_OK;
}

static int make_cgroup(struct call *call, struct making *making)
{
	const struct weir_run_options *options = &making->options;
	int status;

	if (!options->ingress && !options->egress)
		return WEIR_OK;
	if (app_report(&making->app, call->diags, cgroup_make(&making->app, &making->run->cgroup)))
		return WEIR_SYSTEM;
	if (kernel_open(KERNEL_TEST, call->diags, &making->kernel))
		return WEIR_SYSTEM;
	status = attach_to_cgroup(call, making, options->ingress, HOOK_CGROUP_INGRESS);
	if (!status)
		status = attach_to_cgroup(call, making, options->egress, HOOK_CGROUP_EGRESS);
	if (status)
		return status;
	if (making->run->count)
		app_warn(&making->app, "the sockets that were passed in are of another cgroup: --ingress and --egress "
				       "are not for them");
	return app_report(&making->app, call->diags, cgroup_enter(&making->app, &making->run->cgroup)) ? WEIR_SYSTEM
												      : WEIR_OK;
}

/* --- the public calls -------------------------------------------------------------------------------------------- */

/* The cgroup first: a socket belongs to the one that its maker is in. */
static int make(struct call *call, void *context)
{
	struct making *making = context;
	int error = app_report(&making->app, call->diags, check(making));
	int status = error ? app_status(error) : make_cgroup(call, making);

	if (status)
		return status;
	error = make_sockets(making, call->weir);
	call->weir->unfiltered = error == -EPERM;
	if (!error)
		error = keep_logs(making);
	return app_status(app_report(&making->app, call->diags, error));
}

WEIR_EXPORT int weir_run_new(struct weir *weir, const struct weir_run_options *options, struct weir_run **ret_run)
{
	struct making making = { .run = calloc(1, sizeof *making.run), .prog = -1 };
	int status;

	if (!making.run)
		return WEIR_SYSTEM;
	memcpy(&making.options, options,
	       options->size < sizeof making.options ? options->size : sizeof making.options);
	making.run->identity.drop_caps = making.options.drop_caps;
	making.run->accept = making.options.accept;
	status = api_call(weir, NULL, false, make, &making);
	kernel_close(making.kernel);
	free(making.addresses);
	free(making.used);
	if (status)
		weir_run_free(making.run);
	else
		*ret_run = making.run;
	return status;
}

WEIR_EXPORT size_t weir_run_socket_count(const struct weir_run *run)
{
	return run->count;
}

WEIR_EXPORT struct weir_run_socket weir_run_socket(const struct weir_run *run, size_t index)
{
	const struct app_socket *socket = &run->sockets[index];

	return (struct weir_run_socket){ socket->name, socket->text, socket->fd, (enum weir_backend)socket->backend };
}

/* Until the command has ended, and what is there then. */
static void tell_events(const int *kept, const void *context)
{
	const struct weir_run *run = context;
	struct weir_events *events = run_log_open(run->logs, run->log_count);
	struct pollfd command = { .fd = kept[1], .events = POLLIN };
	const struct weir_event *event;
	struct weir *weir = weir_new();
	bool ended = false;
	int got = 1;

	dup2(kept[0], STDERR_FILENO);
	while (weir && events && got >= 0 && (got || !ended)) {
		got = weir_events_next(weir, events, ended ? 0 : EVENTS_MS, &event);
		if (got > 0)
			run->log(run->log_context, event);
		else
			ended = poll(&command, 1, 0) > 0;
	}
}

/* A process of its own, which is not the command's child. */
static int start_log(struct app *app, const struct weir_run *run)
{
	const struct app_hold how = { .name = "weir-log", .hold = tell_events, .context = run };
	int keep[APP_KEEP_MAX], error;
	size_t count = 2;

	if (!run->log_count)
		return 0;
	if (2 + 2 * run->log_count > APP_KEEP_MAX)
		return app_fail(app, -E2BIG, "`--log` cannot tell of that many filters");
	keep[0] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	keep[1] = (int)syscall(SYS_pidfd_open, getpid(), 0);
	for (size_t i = 0; i < run->log_count; i++) {
		keep[count++] = run->logs[i].source.ring;
		if (run->logs[i].source.status >= 0)
			keep[count++] = run->logs[i].source.status;
	}
	if (keep[0] < 0 || keep[1] < 0)
		error = app_fail(app, -errno, "events cannot be told: %s", strerror(errno));
	else
		error = hold_start(app, &how, keep, count);
	close(keep[0]);
	close(keep[1]);
	return error;
}

struct executing {
	struct weir_run *run;
	char *const *argv;
	int status;
};

static int become(struct app *app, struct executing *executing)
{
	struct weir_run *run = executing->run;
	const struct app_serve serve = { run->sockets, run->count, run->accept, executing->argv };
	int error = identity_become(app, &run->identity);

	if (!error)
		error = start_log(app, run);
	if (!error)
		error = activation_pass(app, run->sockets, run->accept ? 0 : run->count);
	if (error)
		return error;
	if (run->accept)
		return app_serve(app, &serve, &executing->status);
	error = app_exec(app, executing->argv);
	executing->status = error == -ENOENT ? WEIR_RUN_NOT_FOUND : WEIR_RUN_NOT_EXECUTABLE;
	return error;
}

static int execute(struct call *call, void *context)
{
	struct app app = { 0 };
	int error = become(&app, context);

	return app_report(&app, call->diags, error) ? WEIR_SYSTEM : WEIR_OK;
}

WEIR_EXPORT int weir_run_exec(struct weir *weir, struct weir_run *run, char *const *argv, int *ret_status)
{
	struct executing executing = { run, argv, WEIR_RUN_FAILED };
	int status = api_call(weir, NULL, false, execute, &executing);

	*ret_status = executing.status;
	return status;
}

WEIR_EXPORT void weir_run_free(struct weir_run *run)
{
	if (!run)
		return;
	for (size_t i = 0; i < run->count; i++)
		if (run->sockets[i].fd >= 0)
			close(run->sockets[i].fd);
	cgroup_close(&run->cgroup);
	for (size_t i = 0; i < run->log_count; i++)
		run_log_close(&run->logs[i]);
	free(run->logs);
	free(run->sockets);
	free(run);
}
