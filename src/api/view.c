/* SPDX-License-Identifier: GPL-2.0-only */
/* What is in force: policies, rules, counters; and run-time sets. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"

struct weir_views {
	struct arena *arena;
	VEC(struct weir_view) list;
};

static struct weir_counter counter_at(const struct policy_state *state, uint32_t slot)
{
	if (slot >= state->slots)
		return (struct weir_counter){ 0 };
	return (struct weir_counter){ state->counters[slot].packets, state->counters[slot].bytes };
}

static void counter_add(struct weir_counter *sum, struct weir_counter counter)
{
	sum->packets += counter.packets;
	sum->bytes += counter.bytes;
}

static const char *copy_string(struct arena *arena, json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? arena_strndup(arena, text, strlen(text)) : "";
}

static uint64_t number(json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* Adds what a rule with a verdict decided: that is all it counted. */
static void add_decided(struct weir_view *view, struct weir_counter counter, const char *verdict)
{
	if (!*verdict)
		return;
	counter_add(&view->judged, counter);
	if (strcmp(verdict, "accept"))
		counter_add(&view->dropped, counter);
}

/* Rules come in the order of the text, so lines are counted on from the last one's. */
static void view_rules(struct arena *arena, const struct described *policy, const struct policy_state *state,
		       struct weir_view *view)
{
	struct weir_rule_view *views = ARENA_ARRAY(arena, struct weir_rule_view, policy->rule_count);
	const char *at = policy->source.text, *newline;
	uint32_t line = 1;

	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct meta_rule *rule = &policy->rules[i];
		struct span span = meta_span(policy, rule);
		const char *begin = policy->source.text + span.offset;

		for (; at < begin && (newline = memchr(at, '\n', (size_t)(begin - at))); at = newline + 1)
			line++;
		views[i] = (struct weir_rule_view){
			.number = (uint32_t)i + 1,
			.line = line - view->source_line + 1,
			.text = span_fold(arena, span),
			.verdict = rule->verdict ? verdict_name(rule->verdict - 1) : "",
			.counter = counter_at(state, rule->slot),
		};
		add_decided(view, views[i].counter, views[i].verdict);
	}
	view->rules = views;
	view->rule_count = policy->rule_count;
}

static void view_counters(struct arena *arena, json_t *meta, const struct policy_state *state, struct weir_view *view)
{
	json_t *names = json_object_get(meta, "counters"), *name;
	struct weir_named_counter *counters = ARENA_ARRAY(arena, struct weir_named_counter, json_array_size(names));
	size_t index;

	json_array_foreach(names, index, name) {
		const char *text = json_string_value(name);

		counters[index].name = arena_strndup(arena, text, strlen(text));
		counters[index].counter = counter_at(state, meta_counter_slot(meta, index));
	}
	view->counters = counters;
	view->counter_count = json_array_size(names);
}

static void view_hooks(struct arena *arena, const struct policy_state *state, struct weir_view *view)
{
	struct weir_hook *hooks = ARENA_ARRAY(arena, struct weir_hook, state->hook_count);

	for (size_t i = 0; i < state->hook_count; i++) {
		const struct policy_hook *hook = &state->hooks[i];

		hooks[i] = (struct weir_hook){ hook_table[hook->hook].name, hook->target, hook->how, hook->attached, hook->cached };
	}
	view->hooks = hooks;
	view->hook_count = state->hook_count;
}

static const char *policy_source(struct arena *arena, const struct described *policy)
{
	uint64_t offset = number(policy->json, "offset"), length = number(policy->json, "length");
	const struct source *file = &policy->source;

	if (offset > file->length || length > file->length - offset)
		return arena_strndup(arena, file->text, file->length);
	return arena_strndup(arena, file->text + offset, length);
}

static void fill_view(struct arena *arena, const struct described *policy, const struct policy_state *state,
		      struct weir_view *view)
{
	json_t *meta = policy->json;

	view->name = arena_strndup(arena, state->policy, strlen(state->policy));
	view->file = copy_string(arena, meta, "file");
	view->source = policy_source(arena, policy);
	view->source_line = (uint32_t)number(meta, "line");
	view->loaded_ns = state->loaded_ns;
	view->default_verdict = copy_string(arena, meta, "default");
	view->observe = json_is_true(json_object_get(meta, "observe"));
	view->events_lost = state->events_lost;
	view->captures_lost = state->captures_lost;
	view->captures_size = number(meta, "captures");
	view_hooks(arena, state, view);
	view_rules(arena, policy, state, view);
	view_counters(arena, meta, state, view);
	view->by_default = counter_at(state, SLOT_DEFAULT);
	view->malformed = counter_at(state, SLOT_MALFORMED);
	view->non_ip = counter_at(state, SLOT_NON_IP);
	add_decided(view, view->by_default, view->default_verdict);
	view->malformed_verdict = json_is_true(json_object_get(meta, "malformed_accept")) ? "accept" : "drop";
	add_decided(view, view->malformed, view->malformed_verdict);
	add_decided(view, view->non_ip, "accept");
}

struct viewing {
	struct weir_views *views;
	const char *name; /* NULL: all */
	struct kernel *kernel;
	struct described policy; /* at hand; its JSON is outside the arena, so freed by the caller */
};

/* What the policy knows of connections, if it does. */
static const struct weir_flow_totals *view_flows(struct call *call, struct kernel *kernel, const char *name)
{
	struct weir_flow_totals *totals = ARENA_NEW(call->arena, struct weir_flow_totals);
	struct kernel_flows flows;

	if (kernel_flows_read(kernel, name, FLOWS_IF_ANY, call->diags, &flows))
		return NULL;
	*totals = api_flow_totals(&flows);
	kernel_flows_free(&flows);
	return totals;
}

/* An upgrade puts another file into a program's place, and rules go on to mean the old one. */
static void warn_of_program(struct call *call, const char *policy, json_t *program)
{
	const char *path = json_string_value(json_object_get(program, "path"));
	json_t *generation = json_object_get(program, "generation"); /* null: not known */
	struct program now = { 0 };
	bool there = !names_system.program(names_system.context, path, &now);
	struct diag *diag;

	if (there && json_integer_value(json_object_get(program, "inode")) == (json_int_t)now.inode &&
	    json_integer_value(json_object_get(program, "device")) == now.device &&
	    (!json_is_integer(generation) || json_integer_value(generation) == now.generation))
		return;
	diag = diag_warning(call->diags, (struct span){ 0 }, there ? "policy `%s`: `%s` is another file now, but rules mean the "
			    "one that was there" : "policy `%s`: there is no program `%s` any more, but rules mean the one that "
			    "was there", policy, path);
	if (there)
		diag_hint(call->diags, diag, "`weir refresh %s`", policy);
}

/* What is known of processes grows old. */
static void warn_of_lineage(struct call *call, const char *policy)
{
	struct diag *diag = diag_warning(call->diags, (struct span){ 0 }, "policy `%s`: processes are not followed any more, so "
					 "`program in tree of` goes wrong: somebody has removed a link", policy);

	diag_hint(call->diags, diag, "`weir refresh %s` begins anew", policy);
}

static int view_one(struct call *call, struct viewing *viewing, const char *name)
{
	struct policy_state state;
	struct weir_view *view;
	json_t *program;
	size_t index;
	int error = api_policy(call, viewing->kernel, name, call->diags, &state);

	if (error == -ENOENT)
		return api_fail(call, WEIR_INPUT, "no policy `%s` is in force", name);
	if (error)
		return WEIR_SYSTEM;
	json_decref(viewing->policy.json);
	if (!meta_open(state.meta, state.meta_size, state.source, state.source_size, &viewing->policy))
		return api_fail(call, WEIR_SYSTEM, "the pinned description of policy `%s` is damaged", name);
	view = &VEC_PUSH(call->arena, &viewing->views->list);
	fill_view(call->arena, &viewing->policy, &state, view);
	view->flows = view_flows(call, viewing->kernel, name);
	json_array_foreach(json_object_get(viewing->policy.json, "programs"), index, program)
		warn_of_program(call, name, program);
	json_array_foreach(json_object_get(viewing->policy.json, "roots"), index, program)
		warn_of_program(call, name, program);
	if (state.unfollowed)
		warn_of_lineage(call, name);
	return WEIR_OK;
}

static int view_all(struct call *call, void *context)
{
	struct viewing *viewing = context;
	const char *const *names = &viewing->name;
	size_t count = 1;
	int status = WEIR_OK;

	if (kernel_open(KERNEL_READ, call->diags, &viewing->kernel))
		return WEIR_SYSTEM;
	if (!viewing->name && kernel_policies(viewing->kernel, call->arena, call->diags, &names, &count))
		return WEIR_SYSTEM;
	for (size_t i = 0; i < count && !status; i++)
		status = view_one(call, viewing, names[i]);
	return status;
}

static int views_get(struct weir *weir, const char *name, struct weir_views **ret_views)
{
	struct weir_views *views = api_new(sizeof *views);
	struct viewing viewing = { .views = views, .name = name };
	int status = api_result(weir, views, view_all, &viewing);

	kernel_close(viewing.kernel);
	json_decref(viewing.policy.json);
	if (!status)
		*ret_views = views;
	return status;
}

WEIR_EXPORT int weir_list(struct weir *weir, struct weir_views **ret_views)
{
	return views_get(weir, NULL, ret_views);
}

WEIR_EXPORT int weir_show(struct weir *weir, const char *name, struct weir_views **ret_views)
{
	return views_get(weir, name, ret_views);
}

WEIR_EXPORT size_t weir_view_count(const struct weir_views *views)
{
	return views->list.count;
}

WEIR_EXPORT const struct weir_view *weir_view(const struct weir_views *views, size_t index)
{
	return index < views->list.count ? &views->list.items[index] : NULL;
}

WEIR_EXPORT void weir_views_free(struct weir_views *views)
{
	api_free(views);
}

struct resetting {
	const char *name;
	struct kernel *kernel;
};

static int reset(struct call *call, void *context)
{
	struct resetting *resetting = context;
	int error;

	if (kernel_open(KERNEL_WRITE, call->diags, &resetting->kernel))
		return WEIR_SYSTEM;
	error = kernel_counters_reset(resetting->kernel, resetting->name, call->diags);
	return error == -ENOENT ? WEIR_INPUT : error ? WEIR_SYSTEM : WEIR_OK;
}

WEIR_EXPORT int weir_counters_reset(struct weir *weir, const char *name)
{
	struct resetting resetting = { name, NULL };
	int status = api_call(weir, NULL, false, reset, &resetting);

	kernel_close(resetting.kernel);
	return status;
}
