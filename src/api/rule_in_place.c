/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single rules of tables, in place. In: the change; out: a version of each hook's table with it, put in force in one step,
 * and the edit kept beside it. Neither the policy's text nor its other rules are looked at: the new rule is compiled with
 * the policy's frame, which is its file without rules.
 */
#include <errno.h>
#include <string.h>

#include "api/rule.h"
#include "api/rule_places.h"

/* --- the frame --------------------------------------------------------------------------------------------------- */

enum { FRAME_MAX = 256 << 10 };

static bool is_blank(const char *text, size_t from, size_t to)
{
	while (from < to && strchr(" \t\r\n", text[from]))
		from++;
	return from == to;
}

/* The text without the rules; what is between them and blank goes, too. */
static struct source *without_rules(struct arena *arena, const struct ruleset *ruleset)
{
	const struct source *source = ruleset->span.source;
	struct source *frame = ARENA_NEW(arena, struct source);
	const struct chain *main = &ruleset->chains[0];
	char *text = arena_alloc(arena, source->length + 1);
	size_t at = 0, length = 0;

	for (size_t i = 0; i <= main->rule_count; i++) {
		size_t end = i < main->rule_count ? main->rules[i].span.offset : source->length;

		if (!at || i == main->rule_count || !is_blank(source->text, at, end)) {
			memcpy(text + length, source->text + at, end - at);
			length += end - at;
		}
		if (i < main->rule_count)
			at = end + main->rules[i].span.length;
	}
	*frame = (struct source){ source->name, text, length };
	return frame;
}

/* First the place of the policy's closing brace. */
const void *api_frame(struct arena *arena, const struct ruleset *ruleset, const struct bundle *bundle, size_t *ret_size)
{
	const struct source *source = ruleset->span.source;
	size_t behind = source ? source->length - (ruleset->span.offset + ruleset->span.length) : 0;
	struct bundle frame = { 0 };
	const void *data;
	size_t size;
	uint64_t brace;
	char *blob;

	if (ruleset->chain_count > 1 || !source || source != bundle->files.items[0])
		return NULL;
	VEC_PUSH(arena, &frame.files) = without_rules(arena, ruleset);
	for (size_t i = 1; i < bundle->files.count; i++)
		VEC_PUSH(arena, &frame.files) = bundle->files.items[i];
	if (bundle_encode(arena, &frame, &data, &size) || size > FRAME_MAX)
		return NULL;
	brace = frame.files.items[0]->length - behind - 1;
	blob = arena_alloc(arena, sizeof brace + size);
	memcpy(blob, &brace, sizeof brace);
	memcpy(blob + sizeof brace, data, size);
	*ret_size = sizeof brace + size;
	return blob;
}

/* The frame with one rule in it. */
static int compile_rule(struct call *call, const struct rules_state *state, const char *policy, struct span rule,
			struct ruleset *ret_ruleset)
{
	struct bundle bundle;
	struct text_edit edit = { .text = NULL };
	const struct source *frame, *edited;
	uint64_t brace;
	int status;

	memcpy(&brace, state->frame, sizeof brace);
	if (bundle_decode(call->arena, (const char *)state->frame + sizeof brace, state->frame_size - sizeof brace, &bundle))
		return RULE_REBUILD;
	frame = bundle.files.items[0];
	edit.from = edit.to = brace;
	edit.text = arena_printf(call->arena, "\n%.*s\n", (int)rule.length, rule.source->text + rule.offset);
	edited = rule_text_apply(call->arena, frame, &edit);
	bundle.files.items[0] = edited;
	status = api_recompile(call, policy, &bundle, ret_ruleset);
	rule_point(call->diags, edited, brace + 1, rule);
	return status;
}

/* --- the change -------------------------------------------------------------------------------------------------- */

struct in_place {
	struct call *call;
	const char *policy;
	const struct rule_change *change;
	struct kernel_rules *rules;
	const struct rules_state *state;
	struct rule_places places;
	struct rule_op op;
	struct ruleset ruleset; /* of the new rule */
	uint32_t gone;          /* order */
	struct plan_delta delta;
};

static const struct table_header *header_of(const struct in_place *in_place, size_t table)
{
	return (const struct table_header *)in_place->state->tables[table].words;
}

static void read_places(struct in_place *in_place)
{
	struct op_cursor cursor = { .edits = in_place->state->edits, .size = in_place->state->edits_size };
	const struct table_header *header = header_of(in_place, 0);
	const struct rule_op *op;

	in_place->places = places_built(in_place->call->arena, header->rules, header->stride);
	while ((op = op_next(&cursor)))
		places_apply(&in_place->places, op);
}

/* The messages of a wrong number are those of the long way. */
static bool good_number(const struct in_place *in_place)
{
	const struct rule_change *change = in_place->change;

	return change->number <= in_place->places.count && (change->number || change->operation == WEIR_RULE_ADD);
}

static uint32_t ending_verdict(const struct rule *rule)
{
	const struct action *last = &rule->actions[rule->action_count - 1];

	return last->kind == ACTION_VERDICT ? (uint32_t)last->verdict + 1 : 0;
}

static int prepare_rule(struct in_place *in_place)
{
	struct rule_op *op = &in_place->op;
	const struct rule_places *places = &in_place->places;
	bool replaces = op->operation == WEIR_RULE_REPLACE;
	int status = compile_rule(in_place->call, in_place->state, in_place->policy, in_place->change->rule,
				  &in_place->ruleset);

	if (status)
		return status;
	op->order = places_between(places, places_order(places, replaces ? op->number : op->number - 1),
				   places_order(places, replaces ? op->number + 1 : op->number));
	op->slot = in_place->state->slots - RULE_CHANGES_MAX + places->came;
	op->verdict = ending_verdict(&in_place->ruleset.chains[0].rules[0]);
	op->length = in_place->change->rule.length;
	return op->order && places->came < RULE_CHANGES_MAX ? WEIR_OK : RULE_REBUILD;
}

static int prepare(struct in_place *in_place)
{
	struct arena *arena = in_place->call->arena;
	struct rule_op *op = &in_place->op;
	uint32_t *orders = ARENA_ARRAY(arena, uint32_t, 2), *slots = ARENA_ARRAY(arena, uint32_t, 2);
	int status = WEIR_OK;

	op->operation = in_place->change->operation;
	op->number = in_place->change->number ? in_place->change->number : in_place->places.count + 1;
	if (op->operation != WEIR_RULE_DELETE)
		status = prepare_rule(in_place);
	if (status)
		return status;
	in_place->gone = places_order(&in_place->places, op->number);
	orders[1] = op->order;
	slots[1] = op->slot;
	in_place->delta = (struct plan_delta){ .gone = &in_place->gone, .orders = orders, .slots = slots };
	in_place->delta.gone_count = op->operation != WEIR_RULE_ADD;
	in_place->delta.rules = op->operation != WEIR_RULE_DELETE ? &in_place->ruleset : NULL;
	return WEIR_OK;
}

static int patch_table(struct in_place *in_place, size_t index, bool settled, struct rules_version *ret_version)
{
	struct plan_patch patch;
	const char *reason;
	int error = plan_patch(in_place->call->arena, in_place->state->tables[index].words, in_place->state->epoch,
			       settled, &in_place->delta, &patch, &reason);

	if (error)
		return error;
	*ret_version = (struct rules_version){
		.words = patch.words, .start = patch.start, .end = patch.end, .index = patch.index,
		.steps = patch.steps, .steps_start = patch.steps_start, .step_count = patch.step_count,
	};
	return 0;
}

static int patch_all(struct in_place *in_place, bool settled, struct rules_version *versions)
{
	int error = 0;

	for (size_t i = 0; !error && i < in_place->state->table_count; i++)
		error = patch_table(in_place, i, settled, &versions[i]);
	return error;
}

static int commit(struct in_place *in_place, const struct rules_version *versions)
{
	struct call *call = in_place->call;
	size_t size = op_size(in_place->op.length);
	char *edit = arena_alloc(call->arena, size);
	struct span rule = in_place->change->rule;

	memcpy(edit, &in_place->op, sizeof in_place->op);
	if (in_place->op.length)
		memcpy(edit + sizeof in_place->op, rule.source->text + rule.offset, rule.length);
	if (size + 2 * sizeof(struct rules_edit) > in_place->state->edits_room)
		return RULE_REBUILD;
	return kernel_rules_commit(in_place->rules, versions, edit, size, call->diags) ? WEIR_SYSTEM : WEIR_OK;
}

static int change(struct in_place *in_place, struct weir_rule_result *ret_result)
{
	struct call *call = in_place->call;
	struct rules_version *versions = ARENA_ARRAY(call->arena, struct rules_version, in_place->state->table_count);
	int status, error;

	read_places(in_place);
	status = good_number(in_place) ? prepare(in_place) : RULE_REBUILD;
	if (status)
		return status;
	error = patch_all(in_place, false, versions);
	if (error == -EAGAIN) {
		if (kernel_rules_settle(in_place->rules, call->diags))
			return WEIR_SYSTEM;
		error = patch_all(in_place, true, versions);
	}
	status = error ? RULE_REBUILD : commit(in_place, versions);
	if (status)
		return status;
	places_apply(&in_place->places, &in_place->op);
	*ret_result = (struct weir_rule_result){ .number = in_place->op.number, .rules = in_place->places.count,
						 .in_place = true };
	return WEIR_OK;
}

struct changing {
	struct in_place in_place;
	struct weir_rule_result *result;
	int status;
};

static int run_change(void *context)
{
	struct changing *changing = context;

	changing->status = change(&changing->in_place, changing->result);
	return 0;
}

int rule_in_place(struct call *call, struct kernel *kernel, const char *policy, const struct rule_change *rule_change,
		  struct weir_rule_result *ret_result)
{
	struct changing changing = { .in_place = { .call = call, .policy = policy, .change = rule_change },
				     .result = ret_result };
	int error = kernel_rules_open(kernel, policy, call->diags, &changing.in_place.rules);

	if (error)
		return error == -ENOENT || error == -EOPNOTSUPP ? RULE_REBUILD : WEIR_SYSTEM;
	changing.in_place.state = kernel_rules_state(changing.in_place.rules);
	error = arena_run(call->arena, run_change, &changing); /* comes back before anything is closed */
	kernel_rules_close(changing.in_place.rules);
	return error ? error : changing.status;
}

/* --- what is in force then --------------------------------------------------------------------------------------- */

/* A policy's text and description, edited as its rules were. */
struct editing {
	struct call *call;
	struct policy_state *state;
	json_t *meta;
	struct bundle bundle;
	VEC(struct lang_rule) rules;
	uint32_t line; /* of the policy */
};

static void load_rules(struct editing *editing)
{
	json_t *rule;
	size_t index;

	json_array_foreach(json_object_get(editing->meta, "rules"), index, rule) {
		struct lang_rule *to = &VEC_PUSH(editing->call->arena, &editing->rules);

		to->main = true;
		to->span = (struct span){ .source = editing->bundle.files.items[0],
					  .offset = (uint32_t)json_integer_value(json_object_get(rule, "at")),
					  .length = (uint32_t)json_integer_value(json_object_get(rule, "size")) };
		json_object_set_new(rule, "slot", json_integer(meta_slot(rule)));
	}
}

static struct span policy_span(const struct editing *editing)
{
	return (struct span){ editing->bundle.files.items[0],
			      (uint32_t)json_integer_value(json_object_get(editing->meta, "offset")),
			      (uint32_t)json_integer_value(json_object_get(editing->meta, "length")) };
}

static json_t *describe_op(struct editing *editing, const struct rule_op *op, struct span rule)
{
	return json_pack("{s:s, s:s, s:i}", "text", span_fold(editing->call->arena, rule), "verdict",
			 op->verdict ? verdict_name(op->verdict - 1) : "", "slot", (int)op->slot);
}

/* The list of rules as the edited text has them. */
static void move_rules(struct editing *editing, const struct rule_op *op, const struct text_edit *edit,
		       const struct source *edited)
{
	json_t *rules = json_object_get(editing->meta, "rules");
	size_t at = op->number - 1;
	int64_t grown = (int64_t)strlen(edit->text) - (int64_t)(edit->to - edit->from);
	struct lang_rule new = { { edited, (uint32_t)edit->rule, op->length }, true };

	if (op->operation != WEIR_RULE_ADD) {
		memmove(&editing->rules.items[at], &editing->rules.items[at + 1],
			(editing->rules.count - at - 1) * sizeof new);
		editing->rules.count--;
		json_array_remove(rules, at);
	}
	for (size_t i = 0; i < editing->rules.count; i++) {
		editing->rules.items[i].span.source = edited;
		if (i >= at)
			editing->rules.items[i].span.offset = (uint32_t)(editing->rules.items[i].span.offset + grown);
	}
	json_object_set_new(editing->meta, "length", json_integer(json_integer_value(json_object_get(editing->meta, "length")) + grown));
	if (op->operation == WEIR_RULE_DELETE)
		return;
	VEC_PUSH(editing->call->arena, &editing->rules) = new;
	memmove(&editing->rules.items[at + 1], &editing->rules.items[at], (editing->rules.count - at - 1) * sizeof new);
	editing->rules.items[at] = new;
	json_array_insert_new(rules, at, describe_op(editing, op, new.span));
}

static void edit_once(struct editing *editing, const struct rule_op *op)
{
	struct source rule = { "rule", op_text(op), op->length };
	const struct rule_change change = { .operation = (enum weir_rule_operation)op->operation,
					    .number = op->operation == WEIR_RULE_ADD && op->number > editing->rules.count ?
						      0 : op->number,
					    .rule = { &rule, 0, op->length } };
	const struct lang_rules rules = { policy_span(editing), editing->rules.items, editing->rules.count };
	struct text_edit edit = rule_text_edit(editing->call->arena, &rules, &change);
	const struct source *edited = rule_text_apply(editing->call->arena, editing->bundle.files.items[0], &edit);

	move_rules(editing, op, &edit, edited);
	editing->bundle.files.items[0] = edited;
}

static int finish(struct editing *editing)
{
	struct arena *arena = editing->call->arena;
	struct policy_state *state = editing->state;
	char *text;

	meta_number(arena, editing->meta, editing->rules.items);
	text = json_dumps(editing->meta, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	state->meta_size = strlen(text);
	state->meta = arena_copy(arena, text, state->meta_size);
	free(text);
	return bundle_encode(arena, &editing->bundle, &state->source, &state->source_size);
}

static int edit_all(struct editing *editing)
{
	struct op_cursor cursor = { .edits = editing->state->edits, .size = editing->state->edits_size };
	const struct rule_op *op;

	if (bundle_decode(editing->call->arena, editing->state->source, editing->state->source_size, &editing->bundle))
		return -EPROTO;
	load_rules(editing);
	while ((op = op_next(&cursor)))
		edit_once(editing, op);
	return finish(editing);
}

static int run_edit(void *context)
{
	return edit_all(context);
}

int api_policy(struct call *call, struct kernel *kernel, const char *policy, struct diags *diags,
	       struct policy_state *ret_state)
{
	struct editing editing = { .call = call, .state = ret_state };
	int error = kernel_policy(kernel, call->arena, policy, diags, ret_state);

	if (error || !ret_state->edits_size)
		return error;
	editing.meta = meta_decode(ret_state->meta, ret_state->meta_size);
	error = editing.meta ? arena_run(call->arena, run_edit, &editing) : -EPROTO;
	json_decref(editing.meta);
	if (error)
		diag_error(diags, (struct span){ 0 }, "the pinned description of policy `%s` is damaged", policy);
	return error;
}
