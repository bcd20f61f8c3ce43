/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets that `capture` copied: read from the kernel, and written as pcapng. */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "api/origin.h"
#include "base/clock.h"
#include "observe/pcapng.h"

enum { NAMES_KEPT = 16 };

/* An interface's name is asked for once: asking takes longer than all the rest of a packet. */
struct kept_name {
	uint32_t index;
	char name[IF_NAMESIZE];
};

/* So are a process's names: packets come many in a row. */
struct kept_process {
	uint32_t generation; /* of the policy */
	uint32_t pid;        /* 0: none */
	uint64_t program;
	uint32_t device;
	char command[COMMAND_BYTES + 1];
	char path[PATH_MAX];
};

struct weir_captures {
	struct kernel *kernel;
	struct kernel_events *reader;
	struct kept_name names[NAMES_KEPT];
	struct descriptions descriptions;
	struct kept_process process;
	struct weir_captured captured;
};

/* --- reading ----------------------------------------------------------------------------------------------------- */

struct opening {
	struct weir_captures *captures;
	const char *policy;
};

static int open_captures(struct call *call, void *context)
{
	struct opening *opening = context;
	struct weir_captures *captures = opening->captures;
	struct policy_state state;
	int error;

	if (!captures)
		return api_fail(call, WEIR_SYSTEM, "out of memory");
	if (kernel_open(KERNEL_READ, call->diags, &captures->kernel))
		return WEIR_SYSTEM;
	captures->descriptions.kernel = captures->kernel;
	if (opening->policy &&
	    kernel_policy(captures->kernel, call->arena, opening->policy, diags_new(call->arena), &state))
		return api_fail(call, WEIR_INPUT, "no policy `%s` is in force", opening->policy);
	error = kernel_captures_open(captures->kernel, opening->policy, call->diags, &captures->reader);
	return error == -ENOENT ? WEIR_INPUT : error ? WEIR_SYSTEM : WEIR_OK;
}

WEIR_EXPORT int weir_captures_open(struct weir *weir, const char *policy, struct weir_captures **ret_captures)
{
	struct opening opening = { calloc(1, sizeof *opening.captures), policy };
	int status = api_call(weir, NULL, false, open_captures, &opening);

	if (status)
		weir_captures_close(opening.captures);
	else
		*ret_captures = opening.captures;
	return status;
}

WEIR_EXPORT void weir_captures_close(struct weir_captures *captures)
{
	if (!captures)
		return;
	descriptions_free(&captures->descriptions);
	if (captures->reader)
		kernel_events_close(captures->reader);
	kernel_close(captures->kernel);
	free(captures);
}

WEIR_EXPORT uint64_t weir_captures_lost(struct weir_captures *captures)
{
	return kernel_events_lost(captures->reader);
}

static const char *interface_name(struct weir_captures *captures, uint32_t index)
{
	struct kept_name *kept = &captures->names[index % NAMES_KEPT];

	if (!index)
		return "";
	if (kept->index == index)
		return kept->name;
	kept->index = index;
	if (!if_indextoname(index, kept->name))
		snprintf(kept->name, sizeof kept->name, "%" PRIu32, index);
	return kept->name;
}

/* The process that a note tells of, if there is one. */
static const struct kept_process *process_of(struct weir *weir, struct weir_captures *captures, const struct event *raw,
					     const struct event_origin *origin)
{
	struct kept_process *kept = &captures->process;

	if (kept->generation == origin->generation && kept->pid == raw->pid && kept->program == raw->program &&
	    kept->device == raw->device && !strncmp(kept->command, raw->command, COMMAND_BYTES))
		return kept;
	kept->generation = origin->generation;
	kept->pid = raw->pid;
	kept->program = raw->program;
	kept->device = raw->device;
	snprintf(kept->command, sizeof kept->command, "%.*s", COMMAND_BYTES, raw->command);
	kept->path[0] = '\0';
	if (raw->pid)
		origin_program(descriptions_find(weir, &captures->descriptions, origin), raw, kept->path);
	return kept;
}

static void fill(struct weir_captures *captures, const struct event *raw, const struct event_origin *origin,
		 const struct kept_process *process)
{
	captures->captured = (struct weir_captured){
		.time_ns = raw->time_ns + clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME),
		.policy = origin->policy,
		.rule = origin_rule(raw, origin),
		.verdict = raw->verdict == LOG_ONLY ? NULL : verdict_name(raw->verdict),
		.hook = raw->hook < HOOK_COUNT ? hook_table[raw->hook].name : "",
		.interface = interface_name(captures, raw->in_iface ? raw->in_iface : raw->out_iface),
		.length = raw->length,
		.user = raw->user == ABSENT_OWNER ? -1 : (int64_t)raw->user,
		.pid = raw->pid ? (int64_t)raw->pid : -1,
		.command = process->command,
		.program = process->path,
		.mark = raw->mark,
		.data = raw->data,
		.captured = raw->captured,
		.frame = raw->frame,
	};
}

static int captures_failed(struct call *call, void *context)
{
	return api_fail(call, WEIR_SYSTEM, "captures cannot be read: %s", strerror(*(int *)context));
}

WEIR_EXPORT int weir_captures_next(struct weir *weir, struct weir_captures *captures, int timeout_ms,
				   const struct weir_captured **ret_captured)
{
	struct event_origin origin;
	const struct event *raw;
	int got = kernel_captures_next(captures->reader, timeout_ms, &raw, &origin);

	if (got < 0) {
		int error = -got;

		return api_call(weir, NULL, false, captures_failed, &error);
	}
	if (!got)
		return 0;
	fill(captures, raw, &origin, process_of(weir, captures, raw, &origin));
	*ret_captured = &captures->captured;
	return 1;
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

/* What packets of one policy, hook and device have in common is an interface of the file. */
struct interface {
	char *policy, *name;
	enum hook hook;
	bool frame;
	uint64_t packets;
};

struct weir_pcapng {
	FILE *stream;
	struct pcapng *writer;
	uint32_t snap;
	struct interface *interfaces;
	uint32_t count;
	char path[1024];
};

struct creating {
	const char *path;
	uint32_t snap;
	struct weir_pcapng *pcapng;
};

static int create_stream(struct call *call, struct creating *creating)
{
	struct weir_pcapng *pcapng = creating->pcapng;

	if (!strcmp(creating->path, "-"))
		pcapng->stream = stdout;
	else
		pcapng->stream = fopen(creating->path, "we");
	if (pcapng->stream)
		return WEIR_OK;
	return api_fail(call, WEIR_SYSTEM, "cannot write `%s`: %s", creating->path, strerror(errno));
}

static int create(struct call *call, void *context)
{
	struct creating *creating = context;
	struct weir_pcapng *pcapng = creating->pcapng;
	struct pcapng_head head = { .os = "Linux" };
	struct utsname name;
	int status;

	if (!pcapng)
		return api_fail(call, WEIR_SYSTEM, "out of memory");
	status = create_stream(call, creating);
	if (status)
		return status;
	if (!uname(&name))
		head.os = arena_printf(call->arena, "%s %s", name.sysname, name.release);
	head.application = arena_printf(call->arena, "weir %s", weir_version());
	pcapng->writer = pcapng_new(pcapng->stream, &head);
	pcapng->snap = creating->snap;
	snprintf(pcapng->path, sizeof pcapng->path, "%s", creating->path);
	return pcapng->writer ? WEIR_OK : api_fail(call, WEIR_SYSTEM, "out of memory");
}

static int pcapng_free_all(struct weir_pcapng *pcapng)
{
	int error = 0;

	if (!pcapng)
		return 0;
	if (pcapng->writer)
		error = pcapng_flush(pcapng->writer);
	if (pcapng->stream && pcapng->stream != stdout && fclose(pcapng->stream))
		error = -EIO;
	for (uint32_t i = 0; i < pcapng->count; i++) {
		free(pcapng->interfaces[i].policy);
		free(pcapng->interfaces[i].name);
	}
	free(pcapng->interfaces);
	pcapng_free(pcapng->writer);
	free(pcapng);
	return error;
}

WEIR_EXPORT int weir_pcapng_create(struct weir *weir, const char *path, uint32_t snap,
				   struct weir_pcapng **ret_pcapng)
{
	struct creating creating = { path, snap, calloc(1, sizeof *creating.pcapng) };
	int status = api_call(weir, NULL, false, create, &creating);

	if (status)
		pcapng_free_all(creating.pcapng);
	else
		*ret_pcapng = creating.pcapng;
	return status;
}

static bool same_interface(const struct interface *interface, const struct weir_captured *captured)
{
	return !strcmp(hook_table[interface->hook].name, captured->hook) && interface->frame == captured->frame &&
	       !strcmp(interface->policy, captured->policy) && !strcmp(interface->name, captured->interface);
}

static struct interface *find_interface(struct weir_pcapng *pcapng, const struct weir_captured *captured)
{
	for (uint32_t i = 0; i < pcapng->count; i++)
		if (same_interface(&pcapng->interfaces[i], captured))
			return &pcapng->interfaces[i];
	return NULL;
}

static void describe_interface(struct weir_pcapng *pcapng, const struct interface *interface)
{
	const char *hook = hook_table[interface->hook].name;
	char description[256];
	const struct pcapng_interface described = {
		.name = interface->name[0] ? interface->name : hook,
		.description = description,
		.link = interface->frame ? PCAPNG_ETHERNET : PCAPNG_RAW_IP,
		.snaplen = pcapng->snap,
	};

	snprintf(description, sizeof description, "weir policy %s at %s", interface->policy, hook);
	pcapng_interface(pcapng->writer, &described);
}

static struct interface *add_interface(struct weir_pcapng *pcapng, const struct weir_captured *captured)
{
	struct interface *interfaces = reallocarray(pcapng->interfaces, pcapng->count + 1, sizeof *interfaces), *added;

	if (!interfaces)
		return NULL;
	pcapng->interfaces = interfaces;
	added = &interfaces[pcapng->count];
	*added = (struct interface){ .policy = strdup(captured->policy), .name = strdup(captured->interface),
				     .hook = (enum hook)hook_by_name(captured->hook), .frame = captured->frame };
	if (!added->policy || !added->name) {
		free(added->policy);
		free(added->name);
		return NULL;
	}
	pcapng->count++;
	describe_interface(pcapng, added);
	return added;
}

/* The format knows what programs at XDP and TC return; other hooks' programs speak as TC's here. */
static void put_verdict(enum hook hook, const char *verdict, struct pcapng_packet *packet)
{
	enum { TC_OK = 0, TC_SHOT = 2, XDP_DROPS = 1, XDP_PASSES = 2 };
	bool accept = verdict && !strcmp(verdict, "accept");

	if (!verdict)
		return;
	packet->verdict_type = hook == HOOK_XDP ? PCAPNG_EBPF_XDP : PCAPNG_EBPF_TC;
	if (hook == HOOK_XDP)
		packet->verdict = accept ? XDP_PASSES : XDP_DROPS;
	else
		packet->verdict = accept ? TC_OK : TC_SHOT;
}

/* A packet's comment; what does not fit is cut. */
struct comment {
	size_t length;
	char text[PATH_MAX + 512];
};

static void add(struct comment *comment, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct comment *comment, const char *format, ...)
{
	size_t room = sizeof comment->text - comment->length;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(comment->text + comment->length, room, format, args);
	va_end(args);
	comment->length += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room - 1;
}

/* A process's name may be anything, and who reads captures may have a terminal. */
static void add_quoted(struct comment *comment, const char *before, const char *text)
{
	size_t from = comment->length;

	if (text[0])
		add(comment, " %s\"%s\"", before, text);
	for (; from < comment->length; from++)
		if ((unsigned char)comment->text[from] < 0x20 || comment->text[from] == 0x7f)
			comment->text[from] = '?';
}

/* As a line of `weir log` says it. */
static void make_comment(const struct weir_captured *captured, struct comment *comment)
{
	comment->length = 0;
	add(comment, "%s:%" PRIu32 " %s", captured->policy, captured->rule,
	    captured->verdict ? captured->verdict : "goes on");
	if (captured->user >= 0)
		add(comment, " user %" PRId64, captured->user);
	if (captured->pid >= 0) {
		add(comment, " pid %" PRId64, captured->pid);
		add_quoted(comment, "", captured->command);
		add_quoted(comment, "program ", captured->program);
	}
	if (captured->mark)
		add(comment, " mark 0x%" PRIx32, captured->mark);
}

WEIR_EXPORT int weir_pcapng_write(struct weir_pcapng *pcapng, const struct weir_captured *captured)
{
	static const enum pcapng_direction directions[] = {
		[DIRECTION_INGRESS] = PCAPNG_INBOUND, [DIRECTION_EGRESS] = PCAPNG_OUTBOUND,
		[DIRECTION_FORWARD] = PCAPNG_UNKNOWN,
	};
	struct interface *interface = find_interface(pcapng, captured);
	struct pcapng_packet packet;
	struct comment comment;

	if (!interface && hook_by_name(captured->hook) >= 0)
		interface = add_interface(pcapng, captured);
	if (!interface)
		return WEIR_SYSTEM;
	packet = (struct pcapng_packet){
		.interface = (uint32_t)(interface - pcapng->interfaces),
		.time_ns = captured->time_ns,
		.data = captured->data,
		.captured = pcapng->snap && pcapng->snap < captured->captured ? pcapng->snap : captured->captured,
		.original = captured->length,
		.direction = directions[hook_table[interface->hook].direction],
		.comment = comment.text,
	};
	make_comment(captured, &comment);
	put_verdict(interface->hook, captured->verdict, &packet);
	pcapng_packet(pcapng->writer, &packet);
	interface->packets++;
	return WEIR_OK;
}

/* Losses are those of all interfaces together, as the ring is: the first one's block tells them. */
static void put_statistics(struct weir_pcapng *pcapng, uint64_t lost)
{
	char text[64];

	snprintf(text, sizeof text, "%" PRIu64 " packets lost at all interfaces together", lost);
	for (uint32_t i = 0; i < pcapng->count; i++) {
		const struct pcapng_statistics statistics = {
			.interface = i,
			.time_ns = clock_ns(CLOCK_REALTIME),
			.received = pcapng->interfaces[i].packets + (i ? 0 : lost),
			.dropped = lost,
			.has_dropped = !i,
			.comment = i || !lost ? NULL : text,
		};

		pcapng_statistics(pcapng->writer, &statistics);
	}
}

static int write_failed(struct call *call, void *context)
{
	return api_fail(call, WEIR_SYSTEM, "cannot write `%s`", (const char *)context);
}

WEIR_EXPORT int weir_pcapng_flush(struct weir *weir, struct weir_pcapng *pcapng)
{
	return pcapng_flush(pcapng->writer) ? api_call(weir, NULL, false, write_failed, pcapng->path) : WEIR_OK;
}

WEIR_EXPORT int weir_pcapng_finish(struct weir *weir, struct weir_pcapng *pcapng, uint64_t lost)
{
	char path[sizeof pcapng->path];

	put_statistics(pcapng, lost);
	strcpy(path, pcapng->path);
	return pcapng_free_all(pcapng) ? api_call(weir, NULL, false, write_failed, path) : WEIR_OK;
}
