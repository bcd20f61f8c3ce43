/* SPDX-License-Identifier: GPL-2.0-only */
/* Events of `log` actions, decoded. */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/filter.h"
#include "api/origin.h"
#include "api/rule_places.h"
#include "base/clock.h"
#include "observe/event.h"

struct weir_events {
	struct kernel *kernel;
	struct kernel_events *events;
	struct descriptions descriptions;
	struct event raw;
	struct event_fields fields;
	char interface[IF_NAMESIZE];
	char command[COMMAND_BYTES + 1];
	char program[PATH_MAX], cgroup[PATH_MAX];
	struct weir_event event;
	struct event_origin origin;
};

struct opening {
	struct weir_events *events;
	const char *policy;
};

static int open_events(struct call *call, void *context)
{
	struct opening *opening = context;
	struct policy_state state;

	if (!opening->events)
		return api_fail(call, WEIR_SYSTEM, "out of memory");
	if (kernel_open(KERNEL_READ, call->diags, &opening->events->kernel))
		return WEIR_SYSTEM;
	opening->events->descriptions.kernel = opening->events->kernel;
	if (opening->policy &&
	    api_policy(call, opening->events->kernel, opening->policy, diags_new(call->arena), &state))
		return api_fail(call, WEIR_INPUT, "no policy `%s` is in force", opening->policy);
	if (kernel_events_open(opening->events->kernel, opening->policy, call->diags, &opening->events->events))
		return WEIR_SYSTEM;
	return WEIR_OK;
}

WEIR_EXPORT int weir_events_open(struct weir *weir, const char *policy, struct weir_events **ret_events)
{
	struct opening opening = { calloc(1, sizeof *opening.events), policy };
	int status = api_call(weir, NULL, false, open_events, &opening);

	if (status)
		weir_events_close(opening.events);
	else
		*ret_events = opening.events;
	return status;
}

WEIR_EXPORT void weir_events_close(struct weir_events *events)
{
	if (!events)
		return;
	descriptions_free(&events->descriptions);
	if (events->events)
		kernel_events_close(events->events);
	kernel_close(events->kernel);
	free(events);
}

WEIR_EXPORT uint64_t weir_events_lost(struct weir_events *events)
{
	return kernel_events_lost(events->events);
}

/* --- decoding ---------------------------------------------------------------------------------------------------- */

/* A rule that came in place brought what it says. */
static const char *log_text(json_t *meta, const struct event_origin *origin, uint32_t log)
{
	const char *text = edits_log_text(origin->edits, origin->edits_size, log);

	if (!text)
		text = meta ? json_string_value(json_array_get(json_object_get(meta, "logs"), log)) : NULL;

	return text ? text : "";
}

static void fill_event(struct weir_events *events, json_t *meta)
{
	const struct event *raw = &events->raw;
	const struct event_fields *fields = &events->fields;
	uint32_t index = raw->in_iface ? raw->in_iface : raw->out_iface;

	origin_program(meta, raw, events->program);
	origin_cgroup(raw, events->cgroup);
	snprintf(events->command, sizeof events->command, "%.*s", COMMAND_BYTES, raw->command);
	if (!index || !if_indextoname(index, events->interface))
		events->interface[0] = '\0';
	events->event = (struct weir_event){
		.time_ns = raw->time_ns + clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME),
		.policy = events->origin.policy,
		.rule = origin_rule(raw, &events->origin),
		.text = log_text(meta, &events->origin, raw->log),
		.verdict = verdict_name(raw->verdict),
		.observed = meta && json_is_true(json_object_get(meta, "observe")),
		.hook = raw->hook < HOOK_COUNT ? hook_table[raw->hook].name : "",
		.interface = events->interface,
		.protocol = fields->protocol,
		.source = fields->src,
		.destination = fields->dst,
		.source_port = fields->sport,
		.destination_port = fields->dport,
		.flags = fields->flags,
		.length = raw->length,
		.user = raw->user == ABSENT_OWNER ? -1 : (int64_t)raw->user,
		.pid = raw->pid ? (int64_t)raw->pid : -1,
		.command = events->command,
		.program = events->program,
		.cgroup = events->cgroup,
		.group = raw->pid ? (int64_t)raw->group : -1,
		.mark = raw->mark,
		.data = raw->data,
		.captured = raw->captured,
		.frame = raw->frame,
	};
}

static int events_failed(struct call *call, void *context)
{
	return api_fail(call, WEIR_SYSTEM, "events cannot be read: %s", strerror(*(int *)context));
}

WEIR_EXPORT int weir_events_next(struct weir *weir, struct weir_events *events, int timeout_ms,
				 const struct weir_event **ret_event)
{
	int got = kernel_events_next(events->events, timeout_ms, &events->raw, &events->origin);

	if (got < 0) {
		int error = -got;

		return api_call(weir, NULL, false, events_failed, &error);
	}
	if (!got)
		return 0;
	event_describe(&events->raw, &events->fields);
	if (events->raw.hook < HOOK_COUNT && hook_table[events->raw.hook].call)
		events->fields.src[0] = '\0'; /* not known yet, or at bind the other end's */
	fill_event(events, descriptions_find(weir, &events->descriptions, &events->origin));
	*ret_event = &events->event;
	return 1;
}

/* --- of one command ---------------------------------------------------------------------------------------------- */

struct event_source *run_log_describe(struct run_log *log, const struct install *install)
{
	if (!install->log_count)
		return NULL;
	log->meta = meta_decode(install->meta, install->meta_size);
	return log->meta ? &log->source : NULL;
}

void run_log_close(struct run_log *log)
{
	if (log->source.ring >= 0)
		close(log->source.ring);
	if (log->source.status >= 0)
		close(log->source.status);
	json_decref(log->meta);
	*log = (struct run_log){ NO_EVENT_SOURCE, NULL };
}

static int read_logs(struct weir_events *events, struct run_log *logs, size_t count)
{
	struct event_source *sources = calloc(count, sizeof *sources);
	int error = sources ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !error; i++) {
		const char *name = json_string_value(json_object_get(logs[i].meta, "policy"));

		sources[i] = logs[i].source;
		sources[i].name = name ? name : "filter";
		logs[i].source = NO_EVENT_SOURCE;
	}
	if (!error)
		error = kernel_events_of(sources, count, &events->events);
	free(sources);
	for (size_t i = 0; i < count && !error; i++) {
		if (!descriptions_add(&events->descriptions, kernel_events_generation(events->events, i), logs[i].meta))
			error = -ENOMEM;
		else
			logs[i].meta = NULL;
	}
	return error;
}

struct weir_events *run_log_open(struct run_log *logs, size_t count)
{
	struct weir_events *events = calloc(1, sizeof *events);

	if (events && !read_logs(events, logs, count))
		return events;
	weir_events_close(events);
	return NULL;
}
