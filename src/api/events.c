/* SPDX-License-Identifier: GPL-2.0-only */
/* Events of `log` actions, decoded. */
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/filter.h"
#include "observe/event.h"

/* A policy's description, as it was when the first event of this generation came. */
struct described {
	struct described *next;
	uint32_t generation;
	json_t *meta;
};

struct weir_events {
	struct kernel *kernel;
	struct kernel_events *events;
	struct described *described;
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
	for (struct described *at = events->described, *next; at; at = next) {
		next = at->next;
		json_decref(at->meta);
		free(at);
	}
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

static const char *log_text(const struct described *described, uint32_t log)
{
	const char *text = described ? json_string_value(json_array_get(json_object_get(described->meta, "logs"), log))
				     : NULL;

	return text ? text : "";
}

static struct described *find_described(struct weir_events *events, uint32_t generation)
{
	struct described *at = events->described;

	while (at && at->generation != generation)
		at = at->next;
	return at;
}

struct describing {
	struct weir_events *events;
	json_t *meta;
};

static int read_meta(struct call *call, void *context)
{
	struct describing *describing = context;
	struct weir_events *events = describing->events;
	struct policy_state state;

	if (!api_policy(call, events->kernel, events->origin.policy, call->diags, &state))
		describing->meta = meta_decode(state.meta, state.meta_size);
	return WEIR_OK;
}

static bool add_described(struct weir_events *events, uint32_t generation, json_t *meta)
{
	struct described *added = calloc(1, sizeof *added);

	if (!added)
		return false;
	*added = (struct described){ events->described, generation, meta };
	events->described = added;
	return true;
}

/* NULL if the policy is gone meanwhile: the event is told without its text then. */
static const struct described *describe(struct weir *weir, struct weir_events *events)
{
	struct described *found = find_described(events, events->origin.generation);
	struct describing describing = { events, NULL };

	if (found || !events->kernel)
		return found;
	api_call(weir, NULL, false, read_meta, &describing);
	if (describing.meta && add_described(events, events->origin.generation, describing.meta))
		return events->described;
	json_decref(describing.meta);
	return NULL;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A program that the policy names; false if it is none of those. */
static bool find_named(const struct described *described, const struct event *raw, char path[PATH_MAX])
{
	json_t *item;
	size_t index;

	json_array_foreach(described ? json_object_get(described->meta, "programs") : NULL, index, item) {
		if ((uint64_t)json_integer_value(json_object_get(item, "inode")) != raw->program ||
		    json_integer_value(json_object_get(item, "device")) != raw->device)
			continue;
		snprintf(path, PATH_MAX, "%s", json_string_value(json_object_get(item, "path")));
		return true;
	}
	return false;
}

/* Where the process's executable is: one that the policy names, or the same file still, and the caller may know. */
static void find_program(const struct described *described, const struct event *raw, char path[PATH_MAX])
{
	struct stat status;
	char link[40];
	ssize_t length;

	if (raw->pid && find_named(described, raw, path))
		return;
	snprintf(link, sizeof link, "/proc/%u/exe", raw->pid);
	length = raw->pid && !stat(link, &status) && status.st_ino == raw->program ? readlink(link, path, PATH_MAX - 1) : 0;
	path[length > 0 ? length : 0] = '\0';
}

/* Where its cgroup is, if it is still in it. */
static void find_cgroup(const struct event *raw, char path[PATH_MAX])
{
	char name[40], line[PATH_MAX + 4];
	uint64_t id = 0;
	uint8_t level;
	FILE *file;

	path[0] = '\0';
	snprintf(name, sizeof name, "/proc/%u/cgroup", raw->pid);
	file = raw->pid ? fopen(name, "re") : NULL;
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, "0::", 3))
			snprintf(path, PATH_MAX, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
	if (file)
		fclose(file);
	if (!path[0] || names_system.cgroup(names_system.context, path, &level, &id) || id != raw->cgroup)
		path[0] = '\0';
}

static void fill_event(struct weir_events *events, const struct described *described)
{
	const struct event *raw = &events->raw;
	const struct event_fields *fields = &events->fields;
	uint32_t index = raw->in_iface ? raw->in_iface : raw->out_iface;

	find_program(described, raw, events->program);
	find_cgroup(raw, events->cgroup);
	snprintf(events->command, sizeof events->command, "%.*s", COMMAND_BYTES, raw->command);
	if (!index || !if_indextoname(index, events->interface))
		events->interface[0] = '\0';
	events->event = (struct weir_event){
		.time_ns = raw->time_ns + clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME),
		.policy = events->origin.policy,
		.rule = raw->rule,
		.text = log_text(described, raw->log),
		.verdict = verdict_name(raw->verdict),
		.observed = described && json_is_true(json_object_get(described->meta, "observe")),
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
	fill_event(events, describe(weir, events));
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
		if (!add_described(events, kernel_events_generation(events->events, i), logs[i].meta))
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
