/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A library that only pretends, so that the command line's own behaviour can be tested without a kernel: output to the
 * byte, confirmation, roll back. The "kernel" is the folder $WEIR_STUB: `policy` holds the text in force, `set` the
 * elements of a set. Words in a policy's text choose what happens: ERROR, WARNING, REFUSE, KILL, STUCK, SLOW.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weir/weir.h>

struct weir {
	struct weir_diagnostic diagnostics[4];
	size_t count;
	char text[4][512];
	char printed[1024];
};

struct weir_program {
	char text[4096];
	struct weir_policy policy;
	bool expression;
};

struct weir_snapshot {
	char text[4096];
	bool there;
};

struct weir_views {
	size_t count;
};

struct weir_capture {
	size_t at;
};

struct weir_events {
	size_t at;
};

struct weir_captures {
	unsigned left;
	struct weir_captured captured;
};

struct weir_pcapng {
	FILE *stream;
};

struct weir_tester {
	size_t at;
};

static const struct weir_hook hooks[] = {
	{ .name = "tc-ingress", .target = "eth0" },
	{ .name = "netfilter-input" },
};

static const struct weir_hook attached[] = {
	{ .name = "tc-ingress", .target = "eth0", .how = "tcx", .attached = true, .cached = 7 },
	{ .name = "netfilter-input", .how = "link", .attached = true },
	{ .name = "xdp", .target = "eth9", .how = "generic", .attached = false },
};

static const char source[] = "policy web {\n\ton tc eth0 ingress\t# here\n\n\taccept if tcp\n\tchain x { drop if udp }\n}\n";

static const struct weir_rule_view rules[] = {
	{ 1, 4, "accept if tcp", "accept", { 12, 840 } },
	{ 2, 5, "drop if udp", "drop", { 3, 18446744073709551615u } },
};

static const struct weir_named_counter counters[] = { { "hits", { 1, 60 } } };

static const struct weir_view views[] = { {
	.name = "web", .file = "web.weir", .source = source, .source_line = 1, .loaded_ns = 1700000000000000000,
	.hooks = attached, .hook_count = 3, .default_verdict = "drop", .malformed_verdict = "drop", .rules = rules, .rule_count = 2,
	.counters = counters, .counter_count = 1, .by_default = { 5, 300 }, .malformed = { 1, 20 },
	.judged = { 21, 1160 }, .dropped = { 9, 320 }, .events_lost = 2,
}, {
	.name = "a-policy-with-a-long-name", .file = "b\xff.weir", .source = "", .default_verdict = "accept",
	.malformed_verdict = "drop",
} };

static const struct weir_event events[] = {
	{ .time_ns = 1700000000123456789, .policy = "web", .rule = 3, .text = "say \"hi\"\033[31m", .verdict = "drop",
	  .hook = "tc-ingress", .interface = "eth0", .protocol = "tcp", .source = "10.0.0.1", .destination = "10.0.0.2",
	  .source_port = 1234, .destination_port = 80, .flags = "S", .length = 60,
	  .user = 1000, .group = 100, .pid = 7, .command = "curl", .program = "/usr/bin/curl",
	  .cgroup = "/a.slice", .mark = 7,
	  .data = (const unsigned char *)"\x45\xff", .captured = 2 },
	{ .time_ns = 1700000001000000000, .policy = "web", .rule = 4, .text = "", .verdict = "log", .hook = "cgroup-egress",
	  .interface = "", .protocol = "udp", .source = "fd00::1", .destination = "fd00::2", .source_port = 53,
	  .destination_port = 5353, .flags = "", .length = 90,
	  .user = -1, .group = -1, .pid = -1, .command = "", .program = "", .cgroup = "" },
	{ .time_ns = 1700000002000000000, .policy = "web", .rule = 4, .text = "", .verdict = "reject", .hook = "xdp",
	  .interface = "eth0", .protocol = "", .source = "", .destination = "", .flags = "", .length = 14,
	  .user = -1, .group = -1, .pid = -1, .command = "", .program = "", .cgroup = "" },
};

struct weir *weir_new(void)
{
	return calloc(1, sizeof(struct weir));
}

void weir_free(struct weir *weir)
{
	free(weir);
}

const char *weir_version(void)
{
	return "0.0.0";
}

static void clear(struct weir *weir)
{
	weir->count = 0;
}

static int say(struct weir *weir, enum weir_severity severity, const char *file, const char *text, int status)
{
	size_t i = weir->count++;

	snprintf(weir->text[i], sizeof weir->text[i], "%s", text);
	weir->diagnostics[i] = (struct weir_diagnostic){
		severity, file, file ? 2 : 0, file ? 3 : 0, file ? 5 : 0, weir->text[i], file ? "a hint" : NULL,
	};
	return status;
}

size_t weir_diagnostic_count(const struct weir *weir)
{
	return weir->count;
}

static size_t count_of(const struct weir *weir, enum weir_severity severity)
{
	size_t count = 0;

	for (size_t i = 0; i < weir->count; i++)
		count += weir->diagnostics[i].severity == severity;
	return count;
}

size_t weir_error_count(const struct weir *weir)
{
	return count_of(weir, WEIR_ERROR);
}

size_t weir_warning_count(const struct weir *weir)
{
	return count_of(weir, WEIR_WARNING);
}

const struct weir_diagnostic *weir_diagnostic(const struct weir *weir, size_t index)
{
	return &weir->diagnostics[index];
}

const char *weir_diagnostic_text(struct weir *weir, size_t index, bool colour)
{
	const struct weir_diagnostic *d = &weir->diagnostics[index];

	snprintf(weir->printed, sizeof weir->printed, "%s%s: %s: %s\n", colour ? "\033[1m" : "",
		 d->file ? d->file : "weir", d->severity == WEIR_ERROR ? "error" : "warning", d->text);
	return weir->printed;
}

static int compile(struct weir *weir, const char *name, const char *text, struct weir_program **ret_program)
{
	struct weir_program *program;

	clear(weir);
	if (strstr(text, "ERROR"))
		return say(weir, WEIR_ERROR, name, "this is wrong", WEIR_INPUT);
	if (strstr(text, "WARNING"))
		say(weir, WEIR_WARNING, name, "this is doubtful", 0);
	program = calloc(1, sizeof *program);
	snprintf(program->text, sizeof program->text, "%s", text);
	program->policy = (struct weir_policy){ "web", 7, hooks, 2 };
	*ret_program = program;
	return 0;
}

static size_t read_file(const char *path, char *text, size_t size)
{
	FILE *stream = strcmp(path, "-") ? fopen(path, "r") : stdin;
	size_t length;

	if (!stream)
		return SIZE_MAX;
	length = fread(text, 1, size - 1, stream);
	text[length] = '\0';
	if (stream != stdin)
		fclose(stream);
	return length;
}

int weir_compile_file(struct weir *weir, const char *path, struct weir_program **ret_program)
{
	char text[4096];

	clear(weir);
	if (read_file(path, text, sizeof text) == SIZE_MAX)
		return say(weir, WEIR_ERROR, NULL, "cannot read it", WEIR_INPUT);
	return compile(weir, path, text, ret_program);
}

int weir_compile_text(struct weir *weir, const char *name, const char *text, size_t length,
		      struct weir_program **ret_program)
{
	(void)length;
	return compile(weir, name, text, ret_program);
}

int weir_compile_expression(struct weir *weir, const char *text, struct weir_program **ret_program)
{
	int status = compile(weir, "expression", text, ret_program);

	if (!status)
		(*ret_program)->policy = (struct weir_policy){ "expression", 1, NULL, 0 };
	return status;
}

void weir_program_free(struct weir_program *program)
{
	free(program);
}

int weir_analyse(struct weir *weir, struct weir_program *program)
{
	(void)weir;
	(void)program;
	return 0;
}

size_t weir_policy_count(const struct weir_program *program)
{
	(void)program;
	return 1;
}

const struct weir_policy *weir_policy(const struct weir_program *program, size_t index)
{
	(void)index;
	return &program->policy;
}

int weir_emit(struct weir *weir, struct weir_program *program, const char *policy, const char *hook, const char *stage,
	      const char **ret_text)
{
	(void)program;
	(void)stage;
	clear(weir);
	if (policy && strcmp(policy, "web"))
		return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	*ret_text = hook ? "stage at a hook\n" : "stage\n";
	return 0;
}

int weir_emit_object(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
		     const void **ret_data, size_t *ret_size)
{
	(void)program;
	(void)policy;
	(void)hook;
	clear(weir);
	*ret_data = "\177ELF\0object";
	*ret_size = 11;
	return 0;
}

static const char *state(const char *name)
{
	static char path[512];

	snprintf(path, sizeof path, "%s/%s", getenv("WEIR_STUB"), name);
	return path;
}

static int write_state(const char *name, const char *text)
{
	FILE *stream = fopen(state(name), "w");

	if (!stream)
		return -errno;
	fputs(text, stream);
	return fclose(stream);
}

int weir_apply_difference(struct weir *weir, const char *path, const struct weir_apply_options *options,
			  struct weir_program **ret_program)
{
	(void)path;
	(void)options;
	clear(weir);
	*ret_program = NULL;
	return 0;
}

int weir_apply(struct weir *weir, struct weir_program *program, const struct weir_apply_options *options)
{
	clear(weir);
	if (strstr(program->text, "REFUSE"))
		return say(weir, WEIR_ERROR, NULL, "the kernel refused", WEIR_SYSTEM);
	if (strstr(program->text, "SESSION") && !options->force)
		return say(weir, WEIR_ERROR, NULL, "this would cut your session", WEIR_INPUT);
	if (options->dry_run)
		return 0;
	if (strstr(program->text, "SLOW"))
		usleep(1500000);
	write_state("policy", program->text);
	if (strstr(program->text, "KILL"))
		raise(SIGKILL);
	return 0;
}

int weir_delete(struct weir *weir, const char *const *names, size_t count)
{
	clear(weir);
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], "web"))
			return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	unlink(state("policy"));
	return 0;
}

int weir_flush(struct weir *weir)
{
	clear(weir);
	unlink(state("policy"));
	return 0;
}

int weir_refresh(struct weir *weir, const char *const *names, size_t count)
{
	clear(weir);
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], "web"))
			return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	return 0;
}

int weir_import_file(struct weir *weir, const char *path, struct weir_import **ret_import)
{
	(void)ret_import;
	clear(weir);
	return say(weir, WEIR_ERROR, path, "no configuration", WEIR_INPUT);
}

size_t weir_import_count(const struct weir_import *import)
{
	(void)import;
	return 0;
}

const struct weir_endpoint *weir_import_endpoint(const struct weir_import *import, size_t index)
{
	(void)import;
	(void)index;
	return NULL;
}

void weir_import_free(struct weir_import *import)
{
	(void)import;
}

int weir_snapshot_take(struct weir *weir, const struct weir_program *program, struct weir_snapshot **ret_snapshot)
{
	struct weir_snapshot *snapshot = calloc(1, sizeof *snapshot);

	(void)program;
	clear(weir);
	snapshot->there = read_file(state("policy"), snapshot->text, sizeof snapshot->text) != SIZE_MAX;
	*ret_snapshot = snapshot;
	return 0;
}

int weir_snapshot_restore(struct weir *weir, struct weir_snapshot *snapshot)
{
	char now[4096] = "";

	clear(weir);
	read_file(state("policy"), now, sizeof now);
	if (strstr(now, "STUCK")) {
		/* Once: the next try succeeds. */
		write_state("policy", "was stuck");
		return say(weir, WEIR_ERROR, NULL, "busy", WEIR_SYSTEM);
	}
	if (snapshot->there)
		write_state("policy", snapshot->text);
	else
		unlink(state("policy"));
	return 0;
}

void weir_snapshot_free(struct weir_snapshot *snapshot)
{
	free(snapshot);
}

static int new_views(struct weir_views **ret_views, size_t count)
{
	*ret_views = calloc(1, sizeof **ret_views);
	(*ret_views)->count = count;
	return 0;
}

int weir_list(struct weir *weir, struct weir_views **ret_views)
{
	clear(weir);
	return new_views(ret_views, access(state("none"), F_OK) ? 2 : 0);
}

int weir_show(struct weir *weir, const char *name, struct weir_views **ret_views)
{
	clear(weir);
	if (strcmp(name, "web"))
		return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	return new_views(ret_views, 1);
}

size_t weir_view_count(const struct weir_views *all)
{
	return all->count;
}

const struct weir_view *weir_view(const struct weir_views *all, size_t index)
{
	(void)all;
	return &views[index];
}

void weir_views_free(struct weir_views *all)
{
	free(all);
}

int weir_counters_reset(struct weir *weir, const char *name)
{
	clear(weir);
	return write_state("reset", name);
}

int weir_pin(struct weir *weir, struct weir_program *program, const char *policy, const char *hook, const char *path)
{
	(void)program;
	(void)policy;
	clear(weir);
	return write_state("pin", path) || write_state("hook", hook ? hook : "");
}

int weir_tunables_get(struct weir *weir, const char *policy, struct weir_tunables **ret_tunables)
{
	clear(weir);
	if (strcmp(policy, "web"))
		return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	*ret_tunables = calloc(1, 1); /* all there is stands in a table */
	return 0;
}

const struct weir_tunable *weir_tunable(const struct weir_tunables *tunables, size_t index)
{
	static const struct weir_tunable all[] = { { "mtu", "100" }, { "gate", "10.0.0.1" } };

	(void)tunables;
	return index < 2 ? &all[index] : NULL;
}

void weir_tunables_free(struct weir_tunables *tunables)
{
	free(tunables);
}

int weir_tune(struct weir *weir, const char *policy, const char *name, const char *value,
	      const struct weir_rule_options *options)
{
	char all[256];

	clear(weir);
	if (strcmp(name, "mtu"))
		return say(weir, WEIR_ERROR, NULL, "no such tunable", WEIR_INPUT);
	snprintf(all, sizeof all, "%s %s=%s%s", policy, name, value, options && options->force ? " force" : "");
	return write_state("tune", all);
}

int weir_rule_change(struct weir *weir, const char *policy, enum weir_rule_operation operation, uint32_t number,
		     const char *text, const struct weir_rule_options *options, struct weir_rule_result *ret_result)
{
	static const char *const operations[] = { "add", "delete", "replace" };
	char all[4096];

	clear(weir);
	if (strcmp(policy, "web"))
		return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	if (text && strstr(text, "bad"))
		return say(weir, WEIR_ERROR, "rule", "not a rule", WEIR_INPUT);
	*ret_result = (struct weir_rule_result){ number ? number : 3, 3, true };
	snprintf(all, sizeof all, "%s %u %s%s", operations[operation], number, text ? text : "-",
		 options->force ? " force" : "");
	return write_state("rule", all);
}

int weir_set_change(struct weir *weir, const char *policy, const char *set, enum weir_set_operation operation,
		    const char *name, const char *text, size_t length, const char *timeout)
{
	static const char *const operations[] = { "add", "delete", "replace", "flush" };
	char all[4096];

	clear(weir);
	if (strcmp(policy, "web"))
		return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	if (strstr(text, "bad"))
		return say(weir, WEIR_ERROR, name, "not an address", WEIR_INPUT);
	snprintf(all, sizeof all, "%s %s %s%s%s\n%.*s", operations[operation], set, name, timeout ? " timeout " : "",
		 timeout ? timeout : "", (int)length, text);
	return write_state("set", all);
}

struct weir_set_listing {
	size_t next;
};

static const struct weir_set_element elements[] = { { "10.0.0.0/8", "file", 0 }, { "192.0.2.1", "packet", 61000 },
						    { "192.0.2.2", "run-time", 0 } };
enum { ELEMENTS = sizeof elements / sizeof elements[0] };

int weir_set_list(struct weir *weir, const char *policy, const char *set, struct weir_set_listing **ret_listing)
{
	(void)policy;
	clear(weir);
	if (strcmp(set, "blocked"))
		return say(weir, WEIR_ERROR, NULL, "no such set", WEIR_INPUT);
	*ret_listing = calloc(1, sizeof **ret_listing);
	return 0;
}

size_t weir_set_count(const struct weir_set_listing *listing)
{
	(void)listing;
	return ELEMENTS;
}

uint64_t weir_set_refused(const struct weir_set_listing *listing)
{
	(void)listing;
	return 7;
}

bool weir_set_next(struct weir_set_listing *listing, struct weir_set_element *ret_element)
{
	if (listing->next == ELEMENTS)
		return false;
	*ret_element = elements[listing->next++];
	return true;
}

void weir_set_rewind(struct weir_set_listing *listing)
{
	listing->next = 0;
}

void weir_set_listing_free(struct weir_set_listing *listing)
{
	free(listing);
}

int weir_knockers_list(struct weir *weir, const char *policy, struct weir_knockers **ret_knockers)
{
	clear(weir);
	(void)policy;
	*ret_knockers = NULL; /* all there is stands in a table */
	return WEIR_OK;
}

const struct weir_knocker *weir_knocker(const struct weir_knockers *knockers, size_t index)
{
	static const struct weir_knocker all[] = { { "door", "192.0.2.1", 0, 29500 }, { "door", "2001:db8::/64", 2, 900 } };

	(void)knockers;
	return index < 2 ? &all[index] : NULL;
}

void weir_knockers_free(struct weir_knockers *knockers)
{
	(void)knockers;
}

struct weir_set_sizes {
	size_t count;
};

int weir_set_sizes(struct weir *weir, const char *policy, struct weir_set_sizes **ret_sizes)
{
	clear(weir);
	*ret_sizes = calloc(1, sizeof **ret_sizes);
	(*ret_sizes)->count = strcmp(policy, "web") ? 0 : 3;
	return 0;
}

const struct weir_set_size *weir_set_size(const struct weir_set_sizes *sizes, size_t index)
{
	static const struct weir_set_size all[] = {
		{ "blocked", "ipv4", false, 2, 1024 }, { "blocked", "ipv6", false, 0, 1024 }, { "buckets", "", true, 7, 9, 2048 },
	};

	return sizes && index < sizes->count ? &all[index] : NULL;
}

void weir_set_sizes_free(struct weir_set_sizes *sizes)
{
	free(sizes);
}

int weir_set_test(struct weir *weir, const char *policy, const char *set, const char *element)
{
	(void)policy;
	(void)set;
	clear(weir);
	if (!strcmp(element, "bad"))
		return say(weir, WEIR_ERROR, "argument", "not an address", WEIR_INPUT);
	return strcmp(element, "192.0.2.1") ? WEIR_INPUT : WEIR_OK;
}

struct weir_flows {
	size_t count;
};

int weir_flows_list(struct weir *weir, const char *policy, const char *const *filter, size_t words,
		    struct weir_flows **ret_flows)
{
	clear(weir);
	if (strcmp(policy, "web"))
		return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	*ret_flows = calloc(1, sizeof **ret_flows);
	(*ret_flows)->count = words && !strcmp(filter[0], "udp") ? 1 : 2;
	return 0;
}

size_t weir_flow_count(const struct weir_flows *flows)
{
	return flows->count;
}

const struct weir_flow *weir_flow(const struct weir_flows *flows, size_t index)
{
	static const struct weir_flow both[] = {
		{ "udp", "192.0.2.1", "192.0.2.2", 5000, 53, "new", false, false, 1000, 29500 },
		{ "tcp", "2001:db8::1", "2001:db8::2", 40000, 22, "established", true, true, 2000, 60000 },
	};

	(void)flows;
	return &both[index];
}

const struct weir_flow_totals *weir_flows_totals(const struct weir_flows *flows)
{
	static const struct weir_flow_totals totals = { 1000, 4096, 3, 2, 1, 0 };

	(void)flows;
	return &totals;
}

void weir_flows_free(struct weir_flows *flows)
{
	free(flows);
}

int weir_flows_delete(struct weir *weir, const char *policy, const char *const *filter, size_t words,
		      size_t *ret_count)
{
	(void)policy;
	(void)filter;
	clear(weir);
	*ret_count = words ? 1 : 2;
	return 0;
}

int weir_events_open(struct weir *weir, const char *policy, struct weir_events **ret_events)
{
	clear(weir);
	if (policy && strcmp(policy, "web"))
		return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	*ret_events = calloc(1, sizeof **ret_events);
	return 0;
}

int weir_events_next(struct weir *weir, struct weir_events *all, int timeout_ms, const struct weir_event **ret_event)
{
	clear(weir);
	if (all->at == sizeof events / sizeof events[0]) {
		usleep((useconds_t)timeout_ms * 1000);
		return 0;
	}
	*ret_event = &events[all->at++];
	return 1;
}

uint64_t weir_events_lost(struct weir_events *all)
{
	(void)all;
	return 2;
}

void weir_events_close(struct weir_events *all)
{
	free(all);
}

int weir_captures_open(struct weir *weir, const char *policy, struct weir_captures **ret_captures)
{
	clear(weir);
	if (policy && strcmp(policy, "web"))
		return say(weir, WEIR_ERROR, NULL, "no such policy", WEIR_INPUT);
	*ret_captures = calloc(1, sizeof **ret_captures);
	(*ret_captures)->left = 3;
	return 0;
}

int weir_captures_next(struct weir *weir, struct weir_captures *captures, int timeout_ms,
		       const struct weir_captured **ret_captured)
{
	clear(weir);
	if (!captures->left) {
		usleep((useconds_t)timeout_ms * 1000);
		return 0;
	}
	captures->captured = (struct weir_captured){ .rule = captures->left-- };
	*ret_captured = &captures->captured;
	return 1;
}

uint64_t weir_captures_lost(struct weir_captures *captures)
{
	(void)captures;
	return 2;
}

void weir_captures_close(struct weir_captures *captures)
{
	free(captures);
}

int weir_pcapng_create(struct weir *weir, const char *path, uint32_t snap, struct weir_pcapng **ret_pcapng)
{
	FILE *stream = strcmp(path, "-") ? fopen(path, "w") : stdout;

	clear(weir);
	if (!stream)
		return say(weir, WEIR_ERROR, NULL, "cannot write it", WEIR_SYSTEM);
	*ret_pcapng = calloc(1, sizeof **ret_pcapng);
	(*ret_pcapng)->stream = stream;
	fprintf(stream, "snap %u\n", snap);
	return 0;
}

int weir_pcapng_write(struct weir_pcapng *pcapng, const struct weir_captured *captured)
{
	fprintf(pcapng->stream, "packet %u\n", captured->rule);
	return 0;
}

int weir_pcapng_flush(struct weir *weir, struct weir_pcapng *pcapng)
{
	clear(weir);
	return fflush(pcapng->stream) ? say(weir, WEIR_ERROR, NULL, "cannot write it", WEIR_SYSTEM) : 0;
}

int weir_pcapng_finish(struct weir *weir, struct weir_pcapng *pcapng, uint64_t lost)
{
	bool failed;

	clear(weir);
	fprintf(pcapng->stream, "lost %u\n", (unsigned)lost);
	failed = fflush(pcapng->stream);
	if (pcapng->stream != stdout)
		fclose(pcapng->stream);
	free(pcapng);
	return failed ? say(weir, WEIR_ERROR, NULL, "cannot write it", WEIR_SYSTEM) : 0;
}

int weir_capture_open(struct weir *weir, const char *path, struct weir_capture **ret_capture)
{
	clear(weir);
	if (access(path, R_OK))
		return say(weir, WEIR_ERROR, NULL, "cannot read it", WEIR_INPUT);
	*ret_capture = calloc(1, sizeof **ret_capture);
	return 0;
}

int weir_capture_next(struct weir *weir, struct weir_capture *capture, const void **ret_frame, size_t *ret_length)
{
	clear(weir);
	*ret_frame = "frame";
	*ret_length = 5;
	return capture->at++ < 4;
}

uint64_t weir_capture_time(const struct weir_capture *capture)
{
	return capture->at;
}

void weir_capture_close(struct weir_capture *capture)
{
	free(capture);
}

int weir_tester_new(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
		    enum weir_engine engine, struct weir_tester **ret_tester)
{
	(void)program;
	(void)policy;
	clear(weir);
	if (hook && strcmp(hook, "xdp"))
		return say(weir, WEIR_ERROR, NULL, "no such hook", WEIR_INPUT);
	*ret_tester = calloc(1, sizeof **ret_tester);
	(*ret_tester)->at = engine == WEIR_MODEL;
	return 0;
}

void weir_tester_clock(struct weir_tester *tester, uint64_t time_ns)
{
	(void)tester;
	(void)time_ns;
}

int weir_tester_run(struct weir *weir, struct weir_tester *tester, const void *frame, size_t length,
		    struct weir_judgement *ret_judgement)
{
	static const struct weir_judgement judgements[] = {
		{ "accept", 3 }, { "drop", WEIR_RULE_DEFAULT }, { "drop", WEIR_RULE_MALFORMED },
		{ "accept", WEIR_RULE_NON_IP }, { "reject", 12 },
	};

	(void)frame;
	(void)length;
	clear(weir);
	*ret_judgement = judgements[tester->at++];
	return 0;
}

void weir_tester_free(struct weir_tester *tester)
{
	free(tester);
}

int weir_explain(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
		 const char *packet, const struct weir_explanation **ret_explanation)
{
	static const struct weir_explained_rule met[] = {
		{ 1, "a.weir", 4, "accept if tcp", "main", false, false, "tcp", 4, 12, "proto is udp" },
		{ 2, "a.weir", 5, "log", "main", true, true, "", 0, 0, "" },
		{ 3, NULL, 0, "drop if udp", "x", true, true, "udp", 0, 0, "proto is udp" },
	};
	static const struct weir_explanation explanations[] = {
		{ "web", "xdp", "udp", "drop", 3, 0, met, 3 },
		{ "web", "xdp", "tcp", "accept", WEIR_RULE_DEFAULT, 7, met, 1 },
	};

	(void)program;
	(void)policy;
	(void)hook;
	clear(weir);
	if (!strcmp(packet, "bad"))
		return say(weir, WEIR_ERROR, "packet", "no packet", WEIR_INPUT);
	*ret_explanation = &explanations[!strcmp(packet, "tcp")];
	return 0;
}

int weir_verify(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
		unsigned milliseconds, const struct weir_verification **ret_verification)
{
	static const struct weir_verification verifications[] = {
		{ "web", "tc-ingress", WEIR_PROVEN, NULL, NULL, NULL, NULL, NULL, 3, 42, 1500000 },
		{ "web", "xdp", WEIR_DISPROVEN, NULL, "tcp 10.0.0.1:1 > 10.0.0.2:2", "a member in set `s`", "accept (default)",
		  "drop (rule 1)", 1, 7, 0 },
	};

	(void)program;
	(void)policy;
	(void)milliseconds;
	clear(weir);
	*ret_verification = &verifications[hook && !strcmp(hook, "xdp")];
	return 0;
}

int weir_verify_loaded(struct weir *weir, const char *policy, const char *hook, unsigned milliseconds,
		       struct weir_verifications **ret_verifications)
{
	(void)hook;
	(void)milliseconds;
	clear(weir);
	if (policy && strcmp(policy, "web"))
		return say(weir, WEIR_ERROR, NULL, "no policy `nosuch` is in force", WEIR_INPUT);
	*ret_verifications = NULL;
	return 0;
}

const struct weir_verification *weir_verifications_at(const struct weir_verifications *verifications, size_t index)
{
	static const struct weir_verification shown[] = {
		{ "web", "xdp", WEIR_PROVEN, NULL, NULL, NULL, NULL, NULL, 3, 42, 1500000 },
		{ "web", "tc-ingress", WEIR_NOT_PROVEN, "its program at `eth0` is not attached", NULL, NULL, NULL, NULL, 3 },
	};

	(void)verifications;
	return index < 2 ? &shown[index] : NULL;
}

void weir_verifications_free(struct weir_verifications *verifications)
{
	(void)verifications;
}

int weir_diff(struct weir *weir, struct weir_program *old_program, struct weir_program *new_program,
	      const char *policy, const char *hook, const struct weir_diff **ret_diff)
{
	static const struct weir_difference differences[] = {
		{ "web", "xdp", { "accept", 3, "a.weir", 7, "accept if tcp" }, { "drop", WEIR_RULE_DEFAULT, "b.weir", 1, "" },
		  "tcp 192.0.2.1:1024 > 192.0.2.2:22", NULL },
		{ "web", "xdp", { "drop", 1, NULL, 0, "" }, { "reject", 2, NULL, 0, "" }, "udp", "the set `s` holds 192.0.2.1" },
	};
	static const char *const changes[] = { "policy `x` is added" }, *const notes[] = { "a note" };
	static const struct weir_diff diffs[] = {
		{ .result = WEIR_DIFF_EQUIVALENT },
		{ WEIR_DIFF_DIFFERENT, differences, 2, changes, 1, notes, 1, "too large" },
		{ .result = WEIR_DIFF_NOT_KNOWN, .unknown = "too large" },
	};

	(void)policy;
	(void)hook;
	clear(weir);
	*ret_diff = &diffs[strstr(new_program->text, "LARGE") ? 2 : strcmp(old_program->text, new_program->text) != 0];
	return 0;
}

int weir_knock(struct weir *weir, const struct weir_knock *knock, size_t *ret_addresses)
{
	clear(weir);
	if (!strcmp(knock->host, "nowhere"))
		return say(weir, WEIR_ERROR, NULL, "Name or service not known", WEIR_INPUT);
	*ret_addresses = strcmp(knock->host, "one") ? 2 : 1;
	return WEIR_OK;
}

int weir_knock_new_key(struct weir *weir, const char *path)
{
	clear(weir);
	return strcmp(path, "there") ? WEIR_OK : say(weir, WEIR_ERROR, NULL, "File exists", WEIR_SYSTEM);
}

int weir_bench(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
	       const char *capture, unsigned rounds, uint32_t flows, struct weir_bench *ret_bench)
{
	(void)program;
	(void)policy;
	(void)hook;
	(void)capture;
	clear(weir);
	*ret_bench = (struct weir_bench){ 12.5, 12, 14.25, 7.5, 7, 8, 1 + flows, rounds ? rounds : 7 };
	return 0;
}

int weir_features(struct weir *weir, const struct weir_feature **ret_features, size_t *ret_count)
{
	static const struct weir_feature features[] = { { "tcx", true, "6.6" }, { "netfilter link", false, "6.4" } };

	clear(weir);
	*ret_features = features;
	*ret_count = 2;
	return 0;
}

/* --- applications: a run prints what it was asked for -------------------------------------------------------------- */

struct weir_filter {
	char text[512];
	enum weir_backend backend;
};

struct weir_run {
	struct weir_run_options options;
};

static int make_filter(struct weir *weir, const char *kind, const char *text, struct weir_filter **ret_filter)
{
	struct weir_filter *filter;

	clear(weir);
	if (strstr(text, "ERROR"))
		return say(weir, WEIR_ERROR, "expression", "unknown field", WEIR_INPUT);
	filter = calloc(1, sizeof *filter);
	if (!filter)
		return WEIR_SYSTEM;
	snprintf(filter->text, sizeof filter->text, "%s%s", kind, text);
	*ret_filter = filter;
	return 0;
}

const char *weir_backend_name(enum weir_backend backend)
{
	static const char *const names[] = { "auto", "ebpf", "pinned", "cbpf", "reuseport" };

	return names[backend];
}

int weir_filter_compile(struct weir *weir, const char *text, struct weir_filter **ret_filter)
{
	return make_filter(weir, "", text, ret_filter);
}

int weir_filter_compile_file(struct weir *weir, const char *path, const char *policy, struct weir_filter **ret_filter)
{
	return make_filter(weir, policy ? policy : "file ", path, ret_filter);
}

int weir_filter_for_app(struct weir *weir, const char *app, const char *text, struct weir_filter **ret_filter)
{
	(void)text;
	if (!strcmp(app, "known"))
		return make_filter(weir, "override ", app, ret_filter);
	clear(weir);
	*ret_filter = NULL;
	return 0;
}

int weir_filter_pinned(struct weir *weir, const char *path, struct weir_filter **ret_filter)
{
	return make_filter(weir, "pin ", path, ret_filter);
}

int weir_filter_choose(struct weir *weir, struct weir_filter *filter, enum weir_backend backend, const char *pinned)
{
	(void)pinned;
	clear(weir);
	filter->backend = backend;
	return 0;
}

void weir_filter_free(struct weir_filter *filter)
{
	free(filter);
}

int weir_filter_attach(struct weir *weir, struct weir_filter *filter, int fd)
{
	(void)fd;
	clear(weir);
	return strstr(filter->text, "REFUSE") ? say(weir, WEIR_ERROR, NULL, "no way", WEIR_SYSTEM) : 0;
}

enum weir_backend weir_filter_backend(const struct weir_filter *filter)
{
	return filter->backend;
}

int weir_filter_lock(struct weir *weir, int fd)
{
	(void)fd;
	clear(weir);
	return 0;
}

int weir_filter_detach(struct weir *weir, int fd)
{
	(void)fd;
	clear(weir);
	return 0;
}

bool weir_unfiltered(const struct weir *weir)
{
	return weir->count && !strcmp(weir->text[0], "no way");
}

int weir_run_new(struct weir *weir, const struct weir_run_options *options, struct weir_run **ret_run)
{
	struct weir_run *run;

	clear(weir);
	for (size_t i = 0; i < options->filter_count; i++)
		if (strstr(options->filters[i].filter->text, "REFUSE"))
			return say(weir, WEIR_ERROR, NULL, "no way", WEIR_SYSTEM);
	for (size_t i = 0; i < options->filter_count; i++)
		printf("filter %s: %s by %s\n", options->filters[i].socket ? options->filters[i].socket : "*",
		       options->filters[i].filter->text, weir_backend_name(options->filters[i].filter->backend));
	for (size_t i = 0; i < options->listen_count; i++)
		printf("listen %s\n", options->listen[i]);
	if (options->accept)
		printf("accept %u\n", options->accept);
	if (options->user)
		printf("user %s\n", options->user);
	run = calloc(1, sizeof *run);
	if (!run)
		return WEIR_SYSTEM;
	run->options = *options;
	*ret_run = run;
	return 0;
}

size_t weir_run_socket_count(const struct weir_run *run)
{
	return run->options.listen_count;
}

struct weir_run_socket weir_run_socket(const struct weir_run *run, size_t index)
{
	return (struct weir_run_socket){ "web", run->options.listen[index], 3, WEIR_BACKEND_CBPF };
}

int weir_run_exec(struct weir *weir, struct weir_run *run, char *const *argv, int *ret_status)
{
	(void)run;
	clear(weir);
	*ret_status = 0;
	for (size_t i = 0; argv[i]; i++)
		printf("%s%s", i ? " " : "", argv[i]);
	printf("\n");
	if (strcmp(argv[0], "missing"))
		return 0;
	*ret_status = WEIR_RUN_NOT_FOUND;
	return say(weir, WEIR_ERROR, NULL, "`missing`: command not found", WEIR_SYSTEM);
}

void weir_run_free(struct weir_run *run)
{
	free(run);
}
