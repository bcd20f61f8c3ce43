/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single rules of tables, in place. In: the change; out: a version of each hook's table with it, put in force in one step,
 * and the edit kept beside it. Neither the policy's text nor its other rules are looked at: the new rule is compiled with
 * the policy's frame, which is its file without rules.
 */
#include <errno.h>
#include <string.h>

#include "api/noted.h"
#include "api/rule.h"
#include "api/rule_places.h"

/* --- the frame --------------------------------------------------------------------------------------------------- */

enum { FRAME_MAX = 4 << 20 }; /* with the elements of sets that the file lists */

/* Behind blanks and comments. */
static size_t skip_blank(const char *text, size_t from, size_t to)
{
	bool comment = false;

	for (; from < to && (comment || strchr(" \t\r\n#", text[from])); from++)
		comment = text[from] == '#' || (comment && text[from] != '\n');
	return from;
}

/* Before the lines at the end that are blank or comments. */
static size_t drop_blank(const char *text, size_t to)
{
	for (;;) {
		size_t start = to;

		while (start && text[start - 1] != '\n')
			start--;
		if (!start || skip_blank(text, start, to) != to)
			return to;
		to = start - 1;
	}
}

/* In the order of the text. */
static const struct span *rule_spans(struct arena *arena, const struct ruleset *ruleset)
{
	struct span *spans = ARENA_ARRAY(arena, struct span, ruleset->rule_count);

	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			spans[ruleset->chains[i].rules[j].number - 1] = ruleset->chains[i].rules[j].span;
	return spans;
}

/* The text without the rules; what is between them and blank goes, too. */
static struct source *without_rules(struct arena *arena, const struct ruleset *ruleset)
{
	const struct source *source = ruleset->span.source;
	struct source *frame = ARENA_NEW(arena, struct source);
	const struct span *rules = rule_spans(arena, ruleset);
	char *text = arena_alloc(arena, source->length + 1);
	size_t at = 0, length = 0;

	for (size_t i = 0; i <= ruleset->rule_count; i++) {
		size_t end = i < ruleset->rule_count ? rules[i].offset : source->length;
		size_t from = i ? skip_blank(source->text, at, end) : 0;
		size_t to = !i && ruleset->rule_count ? drop_blank(source->text, end) : end;

		if (from < to) {
			text[length] = '\n';
			length += i != 0;
			memcpy(text + length, source->text + from, to - from);
			length += to - from;
		}
		at = i < ruleset->rule_count ? end + rules[i].length : end;
	}
	*frame = (struct source){ source->name, text, length };
	return frame;
}

/* Something must lead to each chain, of which there is nothing left but its name. */
static const char *jumps_to_all(struct arena *arena, const struct ruleset *ruleset)
{
	const char *jumps = "";

	for (size_t i = 1; i < ruleset->chain_count; i++)
		jumps = arena_printf(arena, "%s\njump %s\n", jumps, ruleset->chains[i].name);
	return jumps;
}

/* First the place of the policy's closing brace. */
const void *api_frame(struct arena *arena, const struct ruleset *ruleset, const struct bundle *bundle, size_t *ret_size)
{
	const struct source *source = ruleset->span.source;
	size_t behind = source ? source->length - (ruleset->span.offset + ruleset->span.length) : 0;
	struct bundle frame = { 0 };
	struct text_edit edit = { .text = "" };
	const struct source *text;
	const void *data;
	size_t size;
	uint64_t brace;
	char *blob;

	if (!source || source != bundle->files.items[0])
		return NULL;
	text = without_rules(arena, ruleset);
	edit.from = edit.to = text->length - behind - 1;
	edit.text = jumps_to_all(arena, ruleset);
	text = rule_text_apply(arena, text, &edit);
	VEC_PUSH(arena, &frame.files) = text;
	for (size_t i = 1; i < bundle->files.count; i++)
		VEC_PUSH(arena, &frame.files) = bundle->files.items[i];
	if (bundle_encode(arena, &frame, &data, &size) || size > FRAME_MAX)
		return NULL;
	brace = text->length - behind - 1;
	blob = arena_alloc(arena, sizeof brace + size);
	memcpy(blob, &brace, sizeof brace);
	memcpy(blob + sizeof brace, data, size);
	*ret_size = sizeof brace + size;
	return blob;
}

/* The last rule of the main chain, as if there were no other. */
static void keep_last(struct arena *arena, struct ruleset *ruleset)
{
	struct chain *main = arena_copy(arena, ruleset->chains, sizeof *main);
	struct rule *rule = arena_copy(arena, &main->rules[main->rule_count - 1], sizeof *rule);

	rule->number = 1;
	main->rules = rule;
	main->rule_count = ruleset->chain_count = ruleset->rule_count = 1;
	ruleset->chains = main;
}

/* The frame with one rule in it. `ret_named`: the machine was asked for names. */
static int compile_rule(struct call *call, const struct rules_state *state, const char *policy, struct span rule,
			struct ruleset *ret_ruleset, bool *ret_named)
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
	*ret_named = bundle.names->count;
	if (status || ret_ruleset->comparison_count) /* of tunables: no program asks yet */
		return status ? status : RULE_REBUILD;
	keep_last(call->arena, ret_ruleset);
	return WEIR_OK;
}

/* --- changes --------------------------------------------------------------------------------------------------- */

struct one {
	struct in_place in_place;
	const struct rule_change *change;
	struct rule_op op;
	struct ruleset ruleset; /* of the new rule */
	uint32_t gone, behind;  /* orders: of the rule that goes, and of what the new one comes before */
	struct weir_rule_result *result;
	int status;
};

static const struct table_header *header_of(const struct in_place *in_place, size_t table)
{
	return (const struct table_header *)in_place->state->tables[table].words;
}

void in_place_read(struct in_place *in_place)
{
	struct op_cursor cursor = { .edits = in_place->state->edits, .size = in_place->state->edits_size };
	const struct table_header *header = header_of(in_place, 0);
	const struct rule_op *op;

	in_place->places = places_built(in_place->call->arena, header->rules, header->stride);
	in_place->places.first = header->first;
	if (header->sites)
		places_take_sites(&in_place->places, (const void *)(in_place->state->tables[0].words + header->sites), header->site_count);
	while ((op = op_next(&cursor)))
		places_apply(&in_place->places, op);
}

bool in_place_give(struct in_place *in_place, uint32_t behind, struct rule_op *op)
{
	bool takes_over = op->operation == WEIR_RULE_REPLACE && behind % in_place->places.stride;

	op->order = !behind || takes_over ? behind : places_before(&in_place->places, behind);
	op->chain = op->order ? places_chain(&in_place->places, op->order) : 0;
	op->slot = in_place->state->slots - RULE_CHANGES_MAX + in_place->places.came;
	op->log = in_place->state->logs - RULE_CHANGES_MAX + in_place->places.came;
	return op->order && in_place->places.came < RULE_CHANGES_MAX;
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

void in_place_put(struct in_place *in_place, const struct rule_op *op, const char *text)
{
	struct arena *arena = in_place->call->arena;
	const char *bytes = (const char *)op;
	size_t size = op_size(op->length);

	for (size_t i = 0; i < size; i++)
		VEC_PUSH(arena, &in_place->edit) = i < sizeof *op ? bytes[i] :
						   i < sizeof *op + op->length ? text[i - sizeof *op] : 0;
}

void in_place_put_logs(struct in_place *in_place, const struct rule_op *op, const struct rule *rule)
{
	for (size_t i = 0; i < rule->action_count; i++) {
		const struct action *action = &rule->actions[i];
		struct rule_op log = { .operation = RULE_LOG, .number = op->log };

		if (action->kind != ACTION_LOG)
			continue;
		log.length = (uint32_t)strlen(action->log.text) + 1;
		in_place_put(in_place, &log, action->log.text);
		VEC_PUSH(in_place->call->arena, &in_place->logs) = (struct rules_log){ op->log, plan_log_limit(action) };
	}
}

int in_place_commit(struct in_place *in_place)
{
	struct call *call = in_place->call;
	struct rules_version *versions = ARENA_ARRAY(call->arena, struct rules_version, in_place->state->table_count);
	struct rules_change change;
	int error;

	if (in_place->edit.count + 2 * sizeof(struct rules_edit) > in_place->state->edits_room)
		return RULE_REBUILD;
	error = patch_all(in_place, false, versions);
	if (error == -EAGAIN) {
		if (kernel_rules_settle(in_place->rules, call->diags))
			return WEIR_SYSTEM;
		error = patch_all(in_place, true, versions);
	}
	if (error)
		return RULE_REBUILD;
	change = (struct rules_change){ .versions = versions, .edit = in_place->edit.items, .edit_size = in_place->edit.count,
					.logs = in_place->logs.items, .log_count = in_place->logs.count };
	return kernel_rules_commit(in_place->rules, &change, call->diags) ? WEIR_SYSTEM : WEIR_OK;
}

/* --- one rule ---------------------------------------------------------------------------------------------------- */

/* The messages of a wrong number are those of the long way. */
static bool good_number(const struct one *one)
{
	const struct rule_change *change = one->change;

	return change->number <= one->in_place.places.count && (change->number || change->operation == WEIR_RULE_ADD);
}

uint32_t rule_ending_verdict(const struct rule *rule)
{
	const struct action *last = &rule->actions[rule->action_count - 1];

	return last->kind == ACTION_VERDICT ? (uint32_t)last->verdict + 1 : 0;
}

static int prepare_rule(struct one *one)
{
	struct rule_op *op = &one->op;
	bool named;
	int status = compile_rule(one->in_place.call, one->in_place.state, one->in_place.policy, one->change->rule,
				  &one->ruleset, &named);

	if (status)
		return status;
	op->named = named;
	op->verdict = rule_ending_verdict(&one->ruleset.chains[0].rules[0]);
	op->length = one->change->rule.length;
	if (!in_place_give(&one->in_place, one->behind, op))
		return RULE_REBUILD;
	op->hash = rule_hash(&one->ruleset, &one->ruleset.chains[0].rules[0], op->chain);
	return WEIR_OK;
}

static int prepare(struct one *one)
{
	struct in_place *in_place = &one->in_place;
	uint32_t *orders = ARENA_ARRAY(in_place->call->arena, uint32_t, 2);
	uint32_t *slots = ARENA_ARRAY(in_place->call->arena, uint32_t, 2);
	uint32_t *logs = ARENA_ARRAY(in_place->call->arena, uint32_t, 2);
	struct rule_op *op = &one->op;
	int status = WEIR_OK;

	op->operation = one->change->operation;
	op->last = !one->change->number;
	op->number = op->last ? places_last(&in_place->places) : one->change->number;
	one->gone = places_order(&in_place->places, op->number);
	one->behind = op->last ? places_order(&in_place->places, in_place->places.count + 1) : one->gone;
	if (!op->number || !one->behind)
		return RULE_REBUILD;
	if (op->operation != WEIR_RULE_DELETE)
		status = prepare_rule(one);
	if (status)
		return status;
	orders[1] = op->order;
	slots[1] = op->slot;
	logs[1] = op->log;
	in_place->delta = (struct plan_delta){ .gone = &one->gone, .orders = orders, .slots = slots, .logs = logs };
	in_place->delta.gone_count = op->operation != WEIR_RULE_ADD;
	in_place->delta.rules = op->operation != WEIR_RULE_DELETE ? &one->ruleset : NULL;
	return WEIR_OK;
}

static int commit(struct one *one)
{
	struct span rule = one->change->rule;

	in_place_put(&one->in_place, &one->op, one->op.length ? rule.source->text + rule.offset : NULL);
	if (one->op.operation != WEIR_RULE_DELETE)
		in_place_put_logs(&one->in_place, &one->op, &one->ruleset.chains[0].rules[0]);
	return in_place_commit(&one->in_place);
}

static int change(struct one *one)
{
	int status;

	in_place_read(&one->in_place);
	status = good_number(one) ? prepare(one) : RULE_REBUILD;
	if (!status)
		status = commit(one);
	if (status)
		return status;
	places_apply(&one->in_place.places, &one->op);
	*one->result = (struct weir_rule_result){ .number = one->op.number, .rules = one->in_place.places.count,
						  .in_place = true };
	return WEIR_OK;
}

static int run_change(void *context)
{
	struct one *one = context;

	one->status = change(one);
	return 0;
}

int in_place_open(struct in_place *in_place, struct kernel *kernel)
{
	int error = kernel_rules_open(kernel, in_place->policy, in_place->call->diags, &in_place->rules);

	if (error)
		return error == -ENOENT || error == -EOPNOTSUPP ? RULE_REBUILD : WEIR_SYSTEM;
	in_place->state = kernel_rules_state(in_place->rules);
	return WEIR_OK;
}

int rule_in_place(struct call *call, struct kernel *kernel, const char *policy, const struct rule_change *rule_change,
		  struct weir_rule_result *ret_result)
{
	struct one one = { .in_place = { .call = call, .policy = policy }, .change = rule_change, .result = ret_result };
	int status = in_place_open(&one.in_place, kernel), error;

	if (status)
		return status;
	error = arena_run(call->arena, run_change, &one); /* comes back before anything is closed */
	kernel_rules_close(one.in_place.rules);
	return error ? error : one.status;
}

/* --- what is in force then --------------------------------------------------------------------------------------- */

/* A policy's text and description, edited as its rules were. */
struct editing {
	struct call *call;
	struct policy_state *state;
	json_t *meta;
	const struct meta_rule *rules; /* as they were built */
	struct bundle bundle;
	struct edited edited;
	struct rules_now now;
};

static uint32_t number_of(json_t *object, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(object, key));
}

static void replay(struct editing *editing)
{
	struct op_cursor cursor = { .edits = editing->state->edits, .size = editing->state->edits_size };
	const struct source *file = editing->bundle.files.items[0];
	struct span policy = { file, number_of(editing->meta, "offset"), number_of(editing->meta, "length") };
	struct rule_mark *marks;
	const struct rule_op *op;
	size_t count;

	editing->rules = meta_rules(editing->state->meta, editing->state->meta_size, &count);
	marks = ARENA_ARRAY(editing->call->arena, struct rule_mark, count);
	for (size_t i = 0; i < count; i++)
		marks[i] = (struct rule_mark){ .at = editing->rules[i].at, .size = editing->rules[i].size };
	editing->edited = edited_built(editing->call->arena, file, policy, marks, (uint32_t)count);
	while ((op = op_next(&cursor)))
		edited_apply(&editing->edited, op);
}

static void note_rules(struct editing *editing, const struct edited_rule *rules, uint32_t count)
{
	struct arena *arena = editing->call->arena;
	uint32_t *built = ARENA_ARRAY(arena, uint32_t, count + 1ul), *slots = ARENA_ARRAY(arena, uint32_t, count + 1ul);
	const struct rule_op **ops = ARENA_ARRAY(arena, const struct rule_op *, count + 1ul);

	for (uint32_t i = 0; i < count; i++) {
		built[i + 1] = rules[i].op ? 0 : rules[i].built;
		slots[i + 1] = rules[i].op ? rules[i].op->slot : SLOT_RULE(rules[i].built);
		ops[i + 1] = rules[i].op;
	}
	editing->now = (struct rules_now){ count, built, slots, ops };
}

static const struct meta_rule *describe_rules(struct editing *editing)
{
	const struct edited *edited = &editing->edited;
	struct arena *arena = editing->call->arena;
	uint32_t count = edited->places.count, *begins = ARENA_ARRAY(arena, uint32_t, count);
	struct edited_rule *now = ARENA_ARRAY(arena, struct edited_rule, count);
	struct meta_rule *rules = ARENA_ARRAY(arena, struct meta_rule, count);

	edited_rules(edited, 1, count, now, begins);
	note_rules(editing, now, count);
	for (uint32_t i = 0; i < count; i++) {
		rules[i] = now[i].op ? (struct meta_rule){ .slot = now[i].op->slot, .verdict = now[i].op->verdict,
							   .chain = now[i].op->chain } :
				       editing->rules[now[i].built - 1];
		rules[i].at = begins[i];
		rules[i].size = now[i].size;
	}
	return rules;
}

static int finish(struct editing *editing)
{
	struct arena *arena = editing->call->arena;
	struct policy_state *state = editing->state;
	const struct edited *edited = &editing->edited;
	const struct source *source = edited_source(edited);
	const struct meta_rule *rules = describe_rules(editing);
	int error;

	json_object_set_new(editing->meta, "offset", json_integer((json_int_t)edited->policy));
	json_object_set_new(editing->meta, "length", json_integer((json_int_t)edited->policy_size));
	json_object_set_new(editing->meta, "line", json_integer(source_position(source, edited->policy).line));
	error = meta_encode(arena, editing->meta, rules, edited->places.count, &state->meta, &state->meta_size);
	editing->bundle.files.items[0] = source;
	return error ? error : bundle_encode(arena, &editing->bundle, &state->source, &state->source_size);
}

static int run_edit(void *context)
{
	struct editing *editing = context;

	if (bundle_decode(editing->call->arena, editing->state->source, editing->state->source_size, &editing->bundle))
		return -EPROTO;
	replay(editing);
	return finish(editing);
}

int rules_edit_policy(struct call *call, struct policy_state *state, struct rules_now *ret_now)
{
	struct editing editing = { .call = call, .state = state, .meta = meta_decode(state->meta, state->meta_size) };
	int error = editing.meta ? arena_run(call->arena, run_edit, &editing) : -EPROTO;

	json_decref(editing.meta);
	*ret_now = editing.now;
	return error;
}

int api_policy(struct call *call, struct kernel *kernel, const char *policy, struct diags *diags,
	       struct policy_state *ret_state)
{
	struct rules_now now;
	int error = kernel_policy(kernel, call->arena, policy, diags, ret_state);

	if (!error && ret_state->tunables)
		return tune_edit(call, policy, diags, ret_state);
	if (error || !ret_state->edits_size)
		return error;
	error = rules_edit_policy(call, ret_state, &now);
	if (error)
		diag_error(diags, (struct span){ 0 }, "the pinned description of policy `%s` is damaged", policy);
	return error;
}
