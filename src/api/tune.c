/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `weir tune`: defines that may change while a policy is in force. In: names and values; out: the policy with its text
 * edited, compiled and put in force in one step, everything else kept. So a tunable is a constant to all who compile,
 * prove and explain, and costs a packet nothing.
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
	struct lang_tunables there;
};

static int read_policy(struct call *call, struct tuning *tuning)
{
	struct policy_state state;
	int error = api_policy(call, tuning->kernel, tuning->policy, diags_new(call->arena), &state);

	if (error == -ENOENT)
		return api_fail(call, WEIR_INPUT, "no policy `%s` is in force", tuning->policy);
	if (error || bundle_decode(call->arena, state.source, state.source_size, &tuning->bundle) ||
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
	struct weir_tunables *tunables = calloc(1, sizeof *tunables);
	struct tuning tuning = { .policy = policy, .tunables = tunables };
	int status = WEIR_SYSTEM;

	if (tunables)
		tunables->arena = arena_new();
	if (tunables && tunables->arena)
		status = api_call(weir, tunables->arena, false, list_tunables, &tuning);
	kernel_close(tuning.kernel);
	if (status)
		weir_tunables_free(tunables);
	else
		*ret_tunables = tunables;
	return status;
}

WEIR_EXPORT const struct weir_tunable *weir_tunable(const struct weir_tunables *tunables, size_t index)
{
	return index < tunables->list.count ? &tunables->list.items[index] : NULL;
}

WEIR_EXPORT void weir_tunables_free(struct weir_tunables *tunables)
{
	if (!tunables)
		return;
	arena_free(tunables->arena);
	free(tunables);
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
	const char *text;

	if (!meta)
		return;
	json_object_set_new(meta, TUNED, json_loads(changes, 0, NULL));
	text = take_text(call, meta);
	if (!text)
		return;
	install->meta = text;
	install->meta_size = strlen(text);
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

/* The changes with one more; what the file says is known from the first change on. */
static const char *add_change(struct call *call, const struct tuning *tuning, const char *former)
{
	const char *changes = tune_changes(call, tuning->kernel, tuning->policy);
	json_t *object = changes ? json_loads(changes, 0, NULL) : NULL;
	json_t *pair;

	if (!object)
		object = json_object();
	pair = json_object_get(object, tuning->name);
	if (pair)
		json_array_set_new(pair, 1, json_string(tuning->value));
	else
		json_object_set_new(object, tuning->name, json_pack("[s, s]", former, tuning->value));
	return take_text(call, object);
}

static int rebuild(struct call *call, struct tuning *tuning, struct span value)
{
	const char *former = arena_strndup(call->arena, value.source->text + value.offset, value.length);
	struct text_edit edit = { value.offset, value.offset + value.length, tuning->value, 0 };
	struct ruleset *ruleset = ARENA_NEW(call->arena, struct ruleset);
	struct rulesets rulesets = { .items = ruleset, .count = 1 };
	struct install install;
	int status;

	tuning->bundle.files.items[0] = rule_text_apply(call->arena, tuning->bundle.files.items[0], &edit);
	status = api_recompile(call, tuning->policy, &tuning->bundle, ruleset);
	if (!status)
		status = api_install(call, ruleset, -1, &tuning->bundle, &install);
	drop_warnings(call->diags);
	if (!status && session_check(call, &rulesets, tuning->options.force))
		status = WEIR_INPUT;
	if (status)
		return status;
	rule_keep_sets(call, &install);
	tune_note(call, add_change(call, tuning, former), &install);
	api_carry_counters(call, tuning->kernel, &install);
	return kernel_apply(tuning->kernel, &install, 1, NULL, 0, 0, call->diags) ? WEIR_SYSTEM : WEIR_OK;
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
	return status ? status : rebuild(call, tuning, value);
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
