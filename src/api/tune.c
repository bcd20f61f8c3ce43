/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `weir tune`: defines that may change while a policy is in force. In: names and values; out: the policy with another
 * value in one step, everything else kept. Where rules only compare with the tunable, that is a number in the policy's
 * map; else the policy with its text edited is compiled and put in force anew. Either way those who compile, prove and
 * explain meet a text with the present values.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/rule.h"

/* The pinned description's "tuned": an object, by tunable an array of the file's value and the one given since. */
#define TUNED "tuned"

struct weir_tunables {
	struct arena *arena;
	VEC(struct weir_tunable) list;
};

struct tuning {
	const char *policy;
	const char *name, *value;
	struct weir_rule_options options;
	struct weir_tunables *tunables;
	struct kernel *kernel;
	struct bundle bundle; /* in force */
	struct policy_state state;
	struct lang_tunables there;
};

static int read_policy(struct call *call, struct tuning *tuning)
{
	int error = api_policy(call, tuning->kernel, tuning->policy, diags_new(call->arena), &tuning->state);

	if (error == -ENOENT)
		return api_fail(call, WEIR_INPUT, "no policy `%s` is in force", tuning->policy);
	if (error || bundle_decode(call->arena, tuning->state.source, tuning->state.source_size, &tuning->bundle) ||
	    lang_tunables(call->arena, tuning->bundle.files.items[0], tuning->policy, diags_new(call->arena),
			  &tuning->there))
		return api_fail(call, WEIR_SYSTEM, "the pinned text of policy `%s` is damaged", tuning->policy);
	return WEIR_OK;
}

/* --- what there is ----------------------------------------------------------------------------------------------- */

static int list_tunables(struct call *call, void *context)
{
	struct tuning *tuning = context;
	int status = WEIR_SYSTEM;

	if (!kernel_open(KERNEL_READ, call->diags, &tuning->kernel))
		status = read_policy(call, tuning);
	for (size_t i = 0; !status && i < tuning->there.count; i++)
		VEC_PUSH(call->arena, &tuning->tunables->list) =
			(struct weir_tunable){ tuning->there.items[i].name, tuning->there.items[i].text };
	return status;
}

WEIR_EXPORT int weir_tunables_get(struct weir *weir, const char *policy, struct weir_tunables **ret_tunables)
{
	struct weir_tunables *tunables = api_new(sizeof *tunables);
	struct tuning tuning = { .policy = policy, .tunables = tunables };
	int status = api_result(weir, tunables, list_tunables, &tuning);

	kernel_close(tuning.kernel);
	if (!status)
		*ret_tunables = tunables;
	return status;
}

WEIR_EXPORT const struct weir_tunable *weir_tunable(const struct weir_tunables *tunables, size_t index)
{
	return index < tunables->list.count ? &tunables->list.items[index] : NULL;
}

WEIR_EXPORT void weir_tunables_free(struct weir_tunables *tunables)
{
	api_free(tunables);
}

/* --- what was changed -------------------------------------------------------------------------------------------- */

/* The text in the arena; takes the object. */
static const char *take_text(struct call *call, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	const char *copy = text ? arena_strndup(call->arena, text, strlen(text)) : NULL;

	free(text);
	json_decref(object);
	return copy;
}

const char *tune_changes(struct call *call, struct kernel *kernel, const char *policy)
{
	struct policy_state state;
	const char *changes;
	json_t *meta;

	if (api_policy(call, kernel, policy, diags_new(call->arena), &state))
		return NULL;
	meta = meta_decode(state.meta, state.meta_size);
	changes = take_text(call, json_incref(json_object_get(meta, TUNED)));
	json_decref(meta);
	return changes;
}

void tune_note(struct call *call, const char *changes, struct install *install)
{
	json_t *meta = changes ? meta_decode(install->meta, install->meta_size) : NULL;
	const struct meta_rule *rules;
	size_t count;

	if (!meta)
		return;
	json_object_set_new(meta, TUNED, json_loads(changes, 0, NULL));
	rules = meta_rules(install->meta, install->meta_size, &count);
	(void)meta_encode(call->arena, meta, rules, count, &install->meta, &install->meta_size); /* else as it was */
	json_decref(meta);
}

static struct bundle edit_value(struct call *call, const struct bundle *bundle, struct span value, const char *text)
{
	struct text_edit edit = { value.offset, value.offset + value.length, text, 0 };
	struct bundle edited = { 0 };

	for (size_t i = 0; i < bundle->files.count; i++)
		VEC_PUSH(call->arena, &edited.files) = bundle->files.items[i];
	edited.files.items[0] = rule_text_apply(call->arena, edited.files.items[0], &edit);
	return edited;
}

/* One change more among these; what the file says is known from the first change on. */
static void note_change(json_t *changes, const char *name, const char *former, const char *value)
{
	json_t *pair = json_object_get(changes, name);

	if (pair)
		json_array_set_new(pair, 1, json_string(value));
	else
		json_object_set_new(changes, name, json_pack("[s, s]", former, value));
}

/* One value that was given and is not in the text yet goes there, and to `kept`. False: there is none. */
static bool recall_one(struct call *call, const char *policy, json_t *changes, struct bundle *bundle, json_t *kept)
{
	struct lang_tunables there;

	if (lang_tunables(call->arena, bundle->files.items[0], policy, diags_new(call->arena), &there))
		return false;
	for (size_t i = 0; i < there.count; i++) {
		const char *file, *given;

		if (json_unpack(json_object_get(changes, there.items[i].name), "[s, s]", &file, &given) ||
		    strcmp(file, there.items[i].text) || !strcmp(file, given))
			continue;
		*bundle = edit_value(call, bundle, there.items[i].value,
				     arena_strndup(call->arena, given, strlen(given)));
		json_object_set(kept, there.items[i].name, json_object_get(changes, there.items[i].name));
		return true;
	}
	return false;
}

static const char *former_changes(struct call *call, const char *policy)
{
	struct kernel *kernel;
	const char *changes;

	if (kernel_open(KERNEL_READ, diags_new(call->arena), &kernel))
		return NULL;
	changes = tune_changes(call, kernel, policy);
	kernel_close(kernel);
	return changes;
}

struct tuned tune_recall(struct call *call, const struct ruleset *ruleset, const struct bundle *bundle)
{
	const char *changes = former_changes(call, ruleset->name);
	json_t *object = changes ? json_loads(changes, 0, NULL) : NULL;
	struct ruleset *recalled = ARENA_NEW(call->arena, struct ruleset);
	struct bundle *edited = arena_copy(call->arena, bundle, sizeof *bundle);
	struct call quiet = *call;
	json_t *kept = json_object();
	bool any;

	while (object && kept && recall_one(call, ruleset->name, object, edited, kept))
		continue;
	any = json_object_size(kept);
	json_decref(object);
	changes = take_text(call, kept);
	quiet.diags = diags_new(call->arena);
	if (!any)
		return (struct tuned){ ruleset, bundle, NULL };
	if (!api_recompile(&quiet, ruleset->name, edited, recalled))
		return (struct tuned){ recalled, edited, changes };
	diag_warning(call->diags, (struct span){ 0 }, "what was tuned in policy `%s` is wrong in this file: its own values "
		     "are in force", ruleset->name);
	return (struct tuned){ ruleset, bundle, NULL };
}

/* --- what the map says ------------------------------------------------------------------------------------------- */

/* A policy's text and description, as its tunables were changed since. */
struct editing {
	struct call *call;
	const char *policy;
	struct policy_state *state;
	json_t *meta;
	struct meta_rule *rules;
	size_t rule_count;
	struct bundle bundle;
	struct lang_tunables there;
};

static void shift(json_t *object, const char *key, uint32_t behind, int by)
{
	json_t *place = json_object_get(object, key);

	if (place && json_integer_value(place) > (json_int_t)behind)
		json_integer_set(place, json_integer_value(place) + by);
}

/* What lies behind the value in the text has moved; a policy that it lies in has grown. */
static void shift_places(struct editing *editing, uint32_t behind, int by)
{
	json_t *length = json_object_get(editing->meta, "length");
	json_int_t begins = json_integer_value(json_object_get(editing->meta, "offset"));
	struct lang_tunable *items = (struct lang_tunable *)editing->there.items; /* the arena's, and ours */

	if (begins <= (json_int_t)behind && (json_int_t)behind < begins + json_integer_value(length))
		json_integer_set(length, json_integer_value(length) + by);
	shift(editing->meta, "offset", behind, by);
	for (size_t i = 0; i < editing->rule_count; i++)
		if (editing->rules[i].at > behind)
			editing->rules[i].at = (uint32_t)((int)editing->rules[i].at + by);
	for (size_t i = 0; i < editing->there.count; i++)
		if (items[i].value.offset > behind)
			items[i].value.offset = (uint32_t)((int)items[i].value.offset + by);
}

static void edit_one(struct editing *editing, const struct lang_tunable *tunable, const char *text)
{
	struct call *call = editing->call;
	struct span value = tunable->value;
	json_t *changes = json_object_get(editing->meta, TUNED);

	if (!strcmp(tunable->text, text))
		return;
	editing->bundle = edit_value(call, &editing->bundle, value, text);
	shift_places(editing, value.offset, (int)strlen(text) - (int)value.length);
	if (!changes) {
		changes = json_object();
		json_object_set_new(editing->meta, TUNED, changes);
	}
	note_change(changes, tunable->name, tunable->text, text);
}

static void edit_all(struct editing *editing)
{
	json_t *names = json_object_get(editing->meta, "tunables"), *name;
	size_t index;

	json_array_foreach(names, index, name) {
		const struct tunable_form *form = index < PLANE_TUNABLES ?
			tunable_form(editing->state->tunables, (uint32_t)index) : NULL;

		for (size_t i = 0; form && i < editing->there.count; i++)
			if (!strcmp(editing->there.items[i].name, json_string_value(name)))
				edit_one(editing, &editing->there.items[i],
					 arena_strndup(editing->call->arena, form->text,
						       strnlen(form->text, sizeof form->text)));
	}
}

static int run_edit(void *context)
{
	struct editing *editing = context;
	struct arena *arena = editing->call->arena;
	struct policy_state *state = editing->state;
	const struct meta_rule *rules;
	int error;

	if (bundle_decode(arena, state->source, state->source_size, &editing->bundle) ||
	    lang_tunables(arena, editing->bundle.files.items[0], editing->policy, diags_new(arena), &editing->there))
		return -EPROTO;
	rules = meta_rules(state->meta, state->meta_size, &editing->rule_count);
	editing->rules = arena_copy(arena, rules, editing->rule_count * sizeof *rules);
	edit_all(editing);
	error = meta_encode(arena, editing->meta, editing->rules, editing->rule_count, &state->meta, &state->meta_size);
	return error ? error : bundle_encode(arena, &editing->bundle, &state->source, &state->source_size);
}

int tune_edit(struct call *call, const char *policy, struct diags *diags, struct policy_state *state)
{
	struct editing editing = { .call = call, .policy = policy, .state = state };
	bool given = false;
	int error;

	for (uint32_t i = 0; i < PLANE_TUNABLES; i++)
		given = given || tunable_form(state->tunables, i);
	if (!given)
		return 0;
	editing.meta = meta_decode(state->meta, state->meta_size);
	error = editing.meta ? arena_run(call->arena, run_edit, &editing) : -EPROTO;
	json_decref(editing.meta);
	if (error)
		diag_error(diags, (struct span){ 0 }, "the pinned description of policy `%s` is damaged", policy);
	return error;
}

/* --- changing one ------------------------------------------------------------------------------------------------ */

static int find(struct call *call, const struct tuning *tuning, struct span *ret_value)
{
	const char **names = ARENA_ARRAY(call->arena, const char *, tuning->there.count);
	const char *near;
	int status;

	for (size_t i = 0; i < tuning->there.count; i++) {
		names[i] = tuning->there.items[i].name;
		*ret_value = tuning->there.items[i].value;
		if (!strcmp(names[i], tuning->name))
			return WEIR_OK;
	}
	status = api_fail(call, WEIR_INPUT, "policy `%s` has no tunable `%s`", tuning->policy, tuning->name);
	near = nearest_word(tuning->name, strlen(tuning->name), names, tuning->there.count);
	if (near)
		diag_hint(call->diags, &call->diags->list.items[call->diags->list.count - 1], "did you mean `%s`?", near);
	else if (!tuning->there.count)
		diag_hint(call->diags, &call->diags->list.items[call->diags->list.count - 1],
			  "`define %s = ... tunable` makes one", tuning->name);
	return status;
}

/* One word of the language, so that nothing else of the text can change. */
static bool is_word(const char *value)
{
	return *value && !value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/_-")];
}

/* What is said of a policy that is in force was said before, but for what is wrong now. */
static void drop_warnings(struct diags *diags)
{
	size_t kept = 0;

	for (size_t i = 0; i < diags->list.count; i++)
		if (diags->list.items[i].severity == SEVERITY_ERROR)
			diags->list.items[kept++] = diags->list.items[i];
	diags->list.count = kept;
	diags->warnings = 0;
}

/* The changes with one more. */
static const char *add_change(struct call *call, const struct tuning *tuning, const char *former)
{
	const char *changes = tune_changes(call, tuning->kernel, tuning->policy);
	json_t *object = changes ? json_loads(changes, 0, NULL) : NULL;

	if (!object)
		object = json_object();
	note_change(object, tuning->name, former, tuning->value);
	return take_text(call, object);
}

/* The tunable in the map of the programs in force, which ask for the same ones as the ruleset; or -1. */
static int live_index(json_t *meta, const struct ruleset *ruleset, const char *name)
{
	json_t *names = json_object_get(meta, "tunables"), *there;
	int found = -1;
	size_t index;

	if (json_array_size(names) != ruleset->tunable_count)
		return -1;
	json_array_foreach(names, index, there) {
		const struct tunable *tunable = &ruleset->tunables[index];

		if (strcmp(json_string_value(there), tunable->live ? tunable->name : ""))
			return -1;
		if (tunable->live && !strcmp(tunable->name, name))
			found = (int)index;
	}
	return found;
}

/* By one store, if the programs can take it: else `ret_done` stays false. */
static int store(struct call *call, const struct tuning *tuning, const struct ruleset *ruleset, bool *ret_done)
{
	json_t *meta = meta_decode(tuning->state.meta, tuning->state.meta_size);
	int index = meta && tuning->state.tunables && strlen(tuning->value) < TUNABLE_TEXT ?
			    live_index(meta, ruleset, tuning->name) : -1;
	struct kernel_tuning change = { .text = tuning->value };

	json_decref(meta);
	if (index < 0)
		return WEIR_OK;
	change.index = (uint32_t)index;
	change.value = ruleset->tunables[index].value;
	*ret_done = true;
	return kernel_tune(tuning->kernel, tuning->policy, &change, call->diags) ? WEIR_SYSTEM : WEIR_OK;
}

static int rebuild(struct call *call, struct tuning *tuning, const struct ruleset *ruleset, const char *former)
{
	struct install install;
	int status = api_install(call, ruleset, -1, &tuning->bundle, &install);

	drop_warnings(call->diags);
	if (status)
		return status;
	rule_keep_sets(call, &install);
	tune_note(call, add_change(call, tuning, former), &install);
	api_carry_counters(call, tuning->kernel, &install);
	return kernel_apply(tuning->kernel, &install, 1, NULL, 0, 0, call->diags) ? WEIR_SYSTEM : WEIR_OK;
}

static int change(struct call *call, struct tuning *tuning, struct span value)
{
	const char *former = arena_strndup(call->arena, value.source->text + value.offset, value.length);
	struct text_edit edit = { value.offset, value.offset + value.length, tuning->value, 0 };
	struct ruleset *ruleset = ARENA_NEW(call->arena, struct ruleset);
	struct rulesets rulesets = { .items = ruleset, .count = 1 };
	bool done = false;
	int status;

	tuning->bundle.files.items[0] = rule_text_apply(call->arena, tuning->bundle.files.items[0], &edit);
	status = api_recompile(call, tuning->policy, &tuning->bundle, ruleset);
	drop_warnings(call->diags);
	if (!status && session_check(call, &rulesets, tuning->options.force))
		status = WEIR_INPUT;
	if (!status)
		status = store(call, tuning, ruleset, &done);
	return status || done ? status : rebuild(call, tuning, ruleset, former);
}

static int tune(struct call *call, void *context)
{
	struct tuning *tuning = context;
	struct span value = { 0 };
	int status;

	if (kernel_open(KERNEL_WRITE, call->diags, &tuning->kernel))
		return WEIR_SYSTEM;
	status = read_policy(call, tuning);
	if (!status)
		status = find(call, tuning, &value);
	if (!status && !is_word(tuning->value))
		status = api_fail(call, WEIR_INPUT, "`%s` is not a value: one word like `200`, `64k` or `10.0.0.1`",
				  tuning->value);
	return status ? status : change(call, tuning, value);
}

WEIR_EXPORT int weir_tune(struct weir *weir, const char *policy, const char *name, const char *value,
			  const struct weir_rule_options *options)
{
	struct tuning tuning = { .policy = policy, .name = name, .value = value };
	int status;

	if (options)
		memcpy(&tuning.options, options,
		       options->size < sizeof tuning.options ? options->size : sizeof tuning.options);
	status = api_call(weir, NULL, false, tune, &tuning);
	kernel_close(tuning.kernel);
	return status;
}
