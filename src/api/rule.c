/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `weir rule`: single rules of a policy in force. In: the policy's name, what to change; out: the policy with its text
 * edited, compiled and put in force by the same change that replaces policies, all counts kept.
 */
#include <errno.h>
#include <string.h>

#include "api/rule.h"

struct changing {
	const char *policy;
	struct rule_change change;
	struct source text; /* of the new rule */
	struct weir_rule_options options;
	struct weir_rule_result result;
	struct kernel *kernel;
	struct bundle bundle;    /* in force */
	struct lang_rules rules; /* of its first file */
	VEC(uint32_t) slots;
};

static bool brings_rule(const struct changing *changing)
{
	return changing->change.operation != WEIR_RULE_DELETE;
}

/* --- what is asked for ------------------------------------------------------------------------------------------- */

static int check_number(struct call *call, const struct changing *changing)
{
	size_t count = changing->rules.count;
	uint32_t number = changing->change.number;

	if (number <= count && (number || changing->change.operation == WEIR_RULE_ADD))
		return WEIR_OK;
	if (!count)
		return api_fail(call, WEIR_INPUT, "policy `%s` has no rules", changing->policy);
	return api_fail(call, WEIR_INPUT, "policy `%s` has no rule %u: its rules are 1 to %zu", changing->policy, number,
			count);
}

/* Where each rule is counted, by number - 1: after changes in place that is no longer its number's. */
static void read_slots(struct call *call, struct changing *changing, const struct policy_state *state)
{
	size_t count;
	const struct meta_rule *rules = meta_rules(state->meta, state->meta_size, &count);

	for (size_t i = 0; i < count; i++)
		VEC_PUSH(call->arena, &changing->slots) = rules[i].slot;
}

static int read_policy(struct call *call, struct changing *changing)
{
	struct policy_state state;
	int error = api_policy(call, changing->kernel, changing->policy, diags_new(call->arena), &state);

	if (error == -ENOENT)
		return api_fail(call, WEIR_INPUT, "no policy `%s` is in force", changing->policy);
	if (error || bundle_decode(call->arena, state.source, state.source_size, &changing->bundle) ||
	    lang_rules(call->arena, changing->bundle.files.items[0], changing->policy, diags_new(call->arena),
		       &changing->rules))
		return api_fail(call, WEIR_SYSTEM, "the pinned text of policy `%s` is damaged", changing->policy);
	read_slots(call, changing, &state);
	return check_number(call, changing);
}

/* --- diagnostics ------------------------------------------------------------------------------------------------- */

/* Where the new rule is in the edited text, and where it came from. */
struct origin {
	const struct source *edited;
	size_t at;
	struct span rule;
};

static bool from_rule(const struct origin *origin, struct span *span)
{
	if (span->source != origin->edited || span->offset < origin->at ||
	    span->offset + span->length > origin->at + origin->rule.length)
		return false;
	span->source = origin->rule.source;
	span->offset = (uint32_t)(span->offset - origin->at + origin->rule.offset);
	return true;
}

/* What is said of the new rule points into the text as given; other rules' warnings were told when they were applied. */
void rule_point(struct diags *diags, const struct source *edited, size_t at, struct span rule)
{
	const struct origin origin = { edited, at, rule };
	size_t kept = 0;

	for (size_t i = 0; i < diags->list.count; i++) {
		struct diag diag = diags->list.items[i];
		bool ours = from_rule(&origin, &diag.span);

		for (unsigned j = 0; j < diag.related_count; j++)
			from_rule(&origin, &diag.related[j].span);
		if (ours || diag.severity == SEVERITY_ERROR)
			diags->list.items[kept++] = diag;
		else
			diags->warnings -= diag.severity == SEVERITY_WARNING;
	}
	diags->list.count = kept;
}

/* --- the whole policy anew --------------------------------------------------------------------------------------- */

/* Rules are known by their place, not by their text: equal ones keep their own counts. */
static void carry_by_number(struct call *call, const struct changing *changing, struct install *install, uint32_t rules)
{
	int32_t *carry = arena_copy(call->arena, install->carry, install->slots * sizeof *carry);
	enum weir_rule_operation operation = changing->change.operation;
	uint32_t number = changing->result.number;

	for (uint32_t i = 1; i <= rules; i++) {
		uint32_t was = i;

		if (i >= number)
			was += operation == WEIR_RULE_DELETE ? 1 : operation == WEIR_RULE_ADD ? UINT32_MAX : 0;
		carry[SLOT_RULE(i)] = (i == number && operation != WEIR_RULE_DELETE) || was > changing->slots.count ?
					      -1 : (int32_t)changing->slots.items[was - 1];
	}
	install->carry = carry;
}

void rule_keep_sets(struct call *call, struct install *install)
{
	struct install_set *sets = arena_copy(call->arena, install->sets, install->set_count * sizeof *sets);

	for (size_t i = 0; i < install->set_count; i++)
		sets[i].filling = SET_AS_IT_IS;
	install->sets = sets;
}

static int rebuild(struct call *call, struct changing *changing)
{
	struct text_edit edit = rule_text_edit(call->arena, &changing->rules, &changing->change);
	struct source *edited = (struct source *)rule_text_apply(call->arena, changing->bundle.files.items[0], &edit);
	struct ruleset *ruleset = ARENA_NEW(call->arena, struct ruleset);
	struct rulesets rulesets = { .items = ruleset, .count = 1 };
	struct install install;
	int status;

	changing->bundle.files.items[0] = edited;
	changing->result.number = rule_text_number(&changing->rules, &changing->change);
	status = api_recompile(call, changing->policy, &changing->bundle, ruleset);
	if (!status)
		status = api_install(call, ruleset, -1, &changing->bundle, &install);
	rule_point(call->diags, edited, edit.rule, changing->change.rule);
	if (!status && session_check(call, &rulesets, changing->options.force))
		status = WEIR_INPUT;
	if (status)
		return status;
	rule_keep_sets(call, &install);
	tune_note(call, tune_changes(call, changing->kernel, changing->policy), &install);
	api_carry_counters(call, changing->kernel, &install);
	if (install.carry)
		carry_by_number(call, changing, &install, ruleset->rule_count);
	changing->result.rules = ruleset->rule_count;
	return kernel_apply(changing->kernel, &install, 1, NULL, 0, 0, call->diags) ? WEIR_SYSTEM : WEIR_OK;
}

/* What may cut the caller's own session is judged with all rules. */
static int change_in_place(struct call *call, struct changing *changing)
{
	const struct diags before = *call->diags;
	int status = RULE_REBUILD;

	if (changing->options.force || !session_there(call))
		status = rule_in_place(call, changing->kernel, changing->policy, &changing->change, &changing->result);
	if (status != RULE_REBUILD)
		return status;
	call->diags->list.count = before.list.count; /* all is said once more */
	call->diags->errors = before.errors;
	call->diags->warnings = before.warnings;
	return status;
}

static int change_rule(struct call *call, void *context)
{
	struct changing *changing = context;
	int status;

	if (brings_rule(changing) && lang_rule(call->arena, &changing->text, call->diags, &changing->change.rule))
		return WEIR_INPUT;
	if (kernel_open(KERNEL_WRITE, call->diags, &changing->kernel))
		return WEIR_SYSTEM;
	status = change_in_place(call, changing);
	if (status != RULE_REBUILD)
		return status;
	status = read_policy(call, changing);
	return status ? status : rebuild(call, changing);
}

WEIR_EXPORT int weir_rule_change(struct weir *weir, const char *policy, enum weir_rule_operation operation,
				 uint32_t number, const char *text, const struct weir_rule_options *options,
				 struct weir_rule_result *ret_result)
{
	struct changing changing = { .policy = policy, .change = { .operation = operation, .number = number },
				     .text = { "rule", text ? text : "", text ? strlen(text) : 0 } };
	int status;

	if (options)
		memcpy(&changing.options, options,
		       options->size < sizeof changing.options ? options->size : sizeof changing.options);
	status = api_call(weir, NULL, false, change_rule, &changing);
	kernel_close(changing.kernel);
	if (!status && ret_result)
		*ret_result = changing.result;
	return status;
}
