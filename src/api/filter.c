/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Filters of applications: text in, a filter on a socket out. The compiler's side of app/'s ladder: each rung asks for
 * its form of the rules when its turn comes, and says why there is none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/filter.h"
#include "ir/model.h"

int app_status(int error)
{
	switch (-error) {
	case 0:
		return WEIR_OK;
	case EINVAL:
	case ENOENT:
	case ENOTSOCK:
	case EISCONN:
	case EBADF:
	case EOPNOTSUPP:
		return WEIR_INPUT;
	default:
		return WEIR_SYSTEM;
	}
}

/* --- what the rungs ask for -------------------------------------------------------------------------------------- */

/* Work in the filter's arena with diagnostics of its own, whose first error is the reason of a failure. */
struct asking {
	struct weir_filter *filter;
	struct app *app;
	bool steering;
	int (*work)(struct call *call, struct asking *asking);
};

static int ask(void *context)
{
	struct asking *asking = context;
	struct arena *arena = asking->filter->program->arena;
	struct call call = { asking->filter->weir, arena, diags_new(arena) };
	int error = asking->work(&call, asking);

	for (size_t i = 0; error && i < call.diags->list.count; i++)
		if (call.diags->list.items[i].severity == SEVERITY_ERROR)
			return app_fail(asking->app, error, "%s", call.diags->list.items[i].text);
	return error ? app_fail(asking->app, error, "%s", strerror(-error)) : 0;
}

static int run_asking(struct asking *asking)
{
	int error = arena_run(asking->filter->program->arena, ask, asking);

	return error == -ENOMEM ? app_fail(asking->app, error, "out of memory") : error;
}

static int load(struct call *call, struct asking *asking)
{
	struct weir_filter *filter = asking->filter;
	struct install install;
	int error = 0;

	if (api_refuse_captures(call, filter->ruleset) ||
	    api_install(call, filter->ruleset, HOOK_SOCKET, &filter->program->bundle, &install))
		return -EINVAL;
	if (!filter->kernel)
		error = kernel_open(KERNEL_TEST, call->diags, &filter->kernel);
	if (error)
		return error;
	return kernel_socket_load(filter->kernel, &install, call->diags, &filter->prog,
				  run_log_describe(&filter->log, &install));
}

static int program(void *context, struct app *app, int *ret_prog)
{
	struct weir_filter *filter = context;
	struct asking asking = { .filter = filter, .app = app, .work = load };
	int error = filter->prog < 0 ? run_asking(&asking) : 0;

	if (!error)
		*ret_prog = filter->prog;
	return error;
}

static int emit(struct call *call, struct asking *asking)
{
	const struct cbpf_options options = { .reuseport = asking->steering };
	struct cbpf_program made;
	int error = emit_cbpf(call->arena, asking->filter->ruleset, &options, call->diags, &made);

	if (!error)
		asking->filter->classic[asking->steering] =
			(struct sock_fprog){ made.insn_count, (struct sock_filter *)(uintptr_t)made.insns };
	return error;
}

static int classic(void *context, struct app *app, bool steering, struct sock_fprog *ret_program)
{
	struct weir_filter *filter = context;
	struct asking asking = { .filter = filter, .app = app, .steering = steering, .work = emit };
	int error = filter->classic[steering].len ? 0 : run_asking(&asking);

	if (!error)
		*ret_program = filter->classic[steering];
	return error;
}

struct judging {
	struct weir_filter *filter;
	struct arena *arena;
	const struct app_packet *packet;
	bool accepted;
};

/* A packet whose interface nobody knows is refused if a rule could ask for it. */
static int judge_packet(void *context)
{
	struct judging *judging = context;
	const struct app_packet *from = judging->packet;
	unsigned char *data = arena_alloc(judging->arena, from->length);
	struct model_packet packet = { .data = data, .length = from->length, .ethertype = from->ethertype,
				       .in_iface = from->interface, .user = ABSENT_OWNER, .group = ABSENT_OWNER };
	const struct plan *plan;
	struct model_result result;

	if (!from->interface) {
		if (plan_build(judging->arena, judging->filter->ruleset, HOOK_SOCKET, NULL, diags_new(judging->arena),
			       &plan) || plan->needed & FIELD_BIT(FIELD_IN_IFACE))
			return -EINVAL;
	}
	memcpy(data, from->data, from->length < sizeof from->data ? from->length : sizeof from->data);
	model_judge(judging->arena, judging->filter->ruleset, HOOK_SOCKET, &packet, &result);
	judging->accepted = result.verdict == VERDICT_ACCEPT;
	return 0;
}

static bool judge(void *context, const struct app_packet *packet)
{
	struct judging judging = { context, arena_new(), packet, false };
	bool accepted = judging.arena && !arena_run(judging.arena, judge_packet, &judging) && judging.accepted;

	arena_free(judging.arena);
	return accepted;
}

static int open_pinned(void *context, struct app *app, const char *path, int *ret_prog)
{
	struct weir_filter *filter = context;
	struct arena *arena = arena_new();
	struct diags *diags = arena ? diags_new(arena) : NULL;
	int error = diags ? 0 : -ENOMEM;

	if (!error && !filter->kernel)
		error = kernel_open(KERNEL_TEST, diags, &filter->kernel);
	if (!error)
		error = kernel_socket_open(filter->kernel, path, diags, ret_prog);
	if (error)
		app_fail(app, error, "%s", diags && diags->list.count ? diags->list.items[0].text : strerror(-error));
	arena_free(arena);
	return error;
}

/* --- making them ------------------------------------------------------------------------------------------------- */

static struct weir_filter *filter_new(void)
{
	struct weir_filter *filter = calloc(1, sizeof *filter);

	if (!filter)
		return NULL;
	filter->prog = -1;
	filter->log.source = NO_EVENT_SOURCE;
	filter->app = (struct app_filter){ .context = filter, .open_pinned = open_pinned };
	return filter;
}

WEIR_EXPORT void weir_filter_free(struct weir_filter *filter)
{
	if (!filter)
		return;
	if (filter->prog >= 0)
		close(filter->prog);
	run_log_close(&filter->log);
	kernel_close(filter->kernel);
	weir_program_free(filter->program);
	free(filter->pinned);
	free(filter);
}

struct binding {
	struct weir_filter *filter;
	const char *policy;
};

static int bind_rules(struct call *call, void *context)
{
	struct binding *binding = context;
	struct weir_filter *filter = binding->filter;
	enum hook hook;
	int status = api_select(call, filter->program, binding->policy, "socket", &filter->ruleset, &hook);

	if (status)
		return status;
	filter->app.program = program;
	filter->app.classic = classic;
	filter->app.judge = judge;
	return WEIR_OK;
}

static int out_of_memory(struct call *call, void *context)
{
	(void)context;
	return api_fail(call, WEIR_SYSTEM, "out of memory");
}

/* Takes the program. */
static int filter_make(struct weir *weir, struct weir_program *program_, const char *policy,
		       struct weir_filter **ret_filter)
{
	struct weir_filter *filter = filter_new();
	struct binding binding = { filter, policy };
	int status;

	if (!filter) {
		weir_program_free(program_);
		return api_call(weir, NULL, false, out_of_memory, NULL);
	}
	filter->program = program_;
	status = api_call(weir, program_->arena, true, bind_rules, &binding);
	if (status)
		weir_filter_free(filter);
	else
		*ret_filter = filter;
	return status;
}

WEIR_EXPORT int weir_filter_compile(struct weir *weir, const char *text, struct weir_filter **ret_filter)
{
	struct weir_program *compiled;
	int status = weir_compile_text(weir, "expression", text, strlen(text), &compiled);

	return status ? status : filter_make(weir, compiled, NULL, ret_filter);
}

WEIR_EXPORT int weir_filter_compile_file(struct weir *weir, const char *path, const char *policy,
					 struct weir_filter **ret_filter)
{
	struct weir_program *compiled;
	int status = weir_compile_file(weir, path, &compiled);

	return status ? status : filter_make(weir, compiled, policy, ret_filter);
}

WEIR_EXPORT int weir_filter_pinned(struct weir *weir, const char *path, struct weir_filter **ret_filter)
{
	struct weir_filter *filter = filter_new();

	if (filter)
		filter->pinned = strdup(path);
	if (!filter || !filter->pinned) {
		weir_filter_free(filter);
		return api_call(weir, NULL, false, out_of_memory, NULL);
	}
	filter->app.pinned = filter->pinned;
	*ret_filter = filter;
	return WEIR_OK;
}

/* --- the user's last word ---------------------------------------------------------------------------------------- */

static int bad_name(struct call *call, void *context)
{
	return api_fail(call, WEIR_INPUT, "`%s` is no application's name: letters, digits, `-`, `_` and `.`",
			(const char *)context);
}

static bool good_name(const char *app)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

	return app[0] && app[0] != '.' && !app[strspn(app, good)];
}

/* secure_getenv(): whoever starts a program with more rights than his own does not choose its rules. */
static bool override_path(const char *app, bool own, char *path, size_t size)
{
	const char *folder = own ? secure_getenv("XDG_CONFIG_HOME") : "/etc/weir/apps", *below = "";

	if (own && folder && folder[0] == '/')
		below = "/weir";
	else if (own) {
		folder = secure_getenv("HOME");
		below = "/.config/weir";
	}
	if (!folder || folder[0] != '/')
		return false;
	return snprintf(path, size, "%s%s/%s.weir", folder, below, app) < (int)size && !access(path, F_OK);
}

WEIR_EXPORT int weir_filter_for_app(struct weir *weir, const char *app, const char *text,
				    struct weir_filter **ret_filter)
{
	char path[4096];

	if (!good_name(app))
		return api_call(weir, NULL, false, bad_name, (void *)(uintptr_t)app);
	if (override_path(app, true, path, sizeof path) || override_path(app, false, path, sizeof path))
		return weir_filter_compile_file(weir, path, NULL, ret_filter);
	if (text)
		return weir_filter_compile(weir, text, ret_filter);
	*ret_filter = NULL;
	return WEIR_OK;
}

/* --- using them -------------------------------------------------------------------------------------------------- */

WEIR_EXPORT const char *weir_backend_name(enum weir_backend backend)
{
	return (unsigned)backend < APP_BACKEND_COUNT ? app_backend_names[backend] : "none";
}

WEIR_EXPORT int weir_filter_choose(struct weir *weir, struct weir_filter *filter, enum weir_backend backend,
				   const char *pinned)
{
	char *copy = pinned ? strdup(pinned) : NULL;

	if (pinned && !copy)
		return api_call(weir, NULL, false, out_of_memory, NULL);
	filter->wanted = (enum app_backend)backend;
	if (!pinned)
		return WEIR_OK;
	free(filter->pinned);
	filter->pinned = copy;
	filter->app.pinned = copy;
	return WEIR_OK;
}

WEIR_EXPORT enum weir_backend weir_filter_backend(const struct weir_filter *filter)
{
	return (enum weir_backend)filter->used;
}

struct app_listen app_listening(const struct weir_listen_options *options, const struct weir_filter *filter)
{
	struct weir_listen_options given = { 0 };

	if (options)
		memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
	return (struct app_listen){
		.reuse_port = given.reuse_port,
		.freebind = given.freebind,
		.no_lock = given.no_lock,
		.backlog = given.backlog ? given.backlog : SOMAXCONN,
		.wanted = filter ? filter->wanted : APP_AUTO,
	};
}

struct using {
	struct weir_filter *filter;
	const char *address;
	const struct weir_listen_options *options;
	struct app_socket socket;
	int fd;
};

static int attach(struct call *call, void *context)
{
	static const struct weir_listen_options no_lock = { .size = sizeof no_lock, .no_lock = true };
	struct using *using = context;
	struct app_listen listening = app_listening(&no_lock, using->filter);
	struct app app = { 0 };
	int error;

	using->filter->weir = call->weir;
	using->socket = (struct app_socket){ .fd = -1 };
	error = socket_describe(&app, using->fd, &using->socket);
	if (!error)
		error = socket_protect(&app, &using->socket, &using->filter->app, &listening, true);
	if (!error)
		using->filter->used = using->socket.backend;
	call->weir->unfiltered = error == -EPERM;
	return app_status(app_report(&app, call->diags, error));
}

WEIR_EXPORT bool weir_unfiltered(const struct weir *weir)
{
	return weir->unfiltered;
}

WEIR_EXPORT int weir_filter_attach(struct weir *weir, struct weir_filter *filter, int fd)
{
	struct using using = { .filter = filter, .fd = fd };

	return api_call(weir, NULL, false, attach, &using);
}

static int lock(struct call *call, void *context)
{
	struct app app = { 0 };

	return app_status(app_report(&app, call->diags, ladder_lock(&app, *(int *)context)));
}

WEIR_EXPORT int weir_filter_lock(struct weir *weir, int fd)
{
	return api_call(weir, NULL, false, lock, &fd);
}

static int detach(struct call *call, void *context)
{
	struct app app = { 0 };

	return app_status(app_report(&app, call->diags, ladder_detach(&app, *(int *)context)));
}

WEIR_EXPORT int weir_filter_detach(struct weir *weir, int fd)
{
	return api_call(weir, NULL, false, detach, &fd);
}

static int listen_on(struct call *call, void *context)
{
	struct using *using = context;
	struct app_listen listening = app_listening(using->options, using->filter);
	struct app_address address;
	struct app app = { 0 };
	int error = address_parse(&app, using->address, &address);

	if (using->filter)
		using->filter->weir = call->weir;
	if (!error)
		error = app_listen(&app, &address, using->filter ? &using->filter->app : NULL, &listening,
				   &using->socket);
	if (!error && using->filter)
		using->filter->used = using->socket.backend;
	call->weir->unfiltered = error == -EPERM;
	return app_status(app_report(&app, call->diags, error));
}

WEIR_EXPORT int weir_listen(struct weir *weir, const char *address, struct weir_filter *filter,
			    const struct weir_listen_options *options, int *ret_fd)
{
	struct using using = { .filter = filter, .address = address, .options = options, .socket.fd = -1 };
	int status = api_call(weir, NULL, false, listen_on, &using);

	if (!status)
		*ret_fd = using.socket.fd;
	else if (using.socket.fd >= 0)
		close(using.socket.fd);
	return status;
}
