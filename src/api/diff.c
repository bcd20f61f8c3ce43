/* SPDX-License-Identifier: GPL-2.0-only */
/* Which packets two programs treat differently: matches policies and hooks, and has each pair compared. */
#include <string.h>

#include "api/api.h"
#include "plan/diff.h"

struct diffing {
	struct call *call;
	struct weir_program *programs[DIFF_SIDES];
	const char *policy, *hook;
	VEC(struct weir_difference) differences;
	VEC(const char *) changes;
	VEC(const char *) notes;
	const char *unknown;
	bool compared; /* something was */
	const struct weir_diff *diff;
};

/* --- policies --------------------------------------------------------------------------------------------------- */

static const struct ruleset *find_policy(const struct weir_program *program, const char *name)
{
	for (size_t i = 0; i < program->rulesets->count; i++)
		if (!strcmp(program->rulesets->items[i].name, name))
			return &program->rulesets->items[i];
	return NULL;
}

/* An expression has no name of its own: it is compared with the only policy there is. */
static const struct ruleset *find_partner(const struct diffing *diffing, const struct ruleset *ruleset, unsigned side)
{
	const struct rulesets *others = diffing->programs[side]->rulesets;
	const struct ruleset *partner = find_policy(diffing->programs[side], ruleset->name);

	if (partner || others->count != 1 || diffing->programs[!side]->rulesets->count != 1)
		return partner;
	return ruleset->expression || others->items[0].expression ? &others->items[0] : NULL;
}

static void add_change(struct diffing *diffing, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_change(struct diffing *diffing, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	VEC_PUSH(diffing->call->arena, &diffing->changes) = arena_vprintf(diffing->call->arena, format, args);
	va_end(args);
}

static void add_note(struct diffing *diffing, const char *note)
{
	for (size_t i = 0; i < diffing->notes.count; i++)
		if (!strcmp(diffing->notes.items[i], note))
			return;
	VEC_PUSH(diffing->call->arena, &diffing->notes) = note;
}

/* --- hooks ------------------------------------------------------------------------------------------------------ */

static const char *attach_text(struct arena *arena, const struct attach *attach)
{
	static const char *const modes[] = { "", " native", " generic", " offload" };
	const char *text = arena_printf(arena, "%s%s%s%s%s", hook_table[attach->hook].name, attach->target ? " " : "",
					attach->target ? attach->target : "", modes[attach->xdp_mode],
					attach->optional ? " optional" : "");

	return attach->priority == PRIORITY_DEFAULT ? text :
						      arena_printf(arena, "%s priority %d", text, attach->priority);
}

static bool is_attached(struct arena *arena, const struct ruleset *ruleset, const char *text)
{
	for (size_t i = 0; i < ruleset->attach_count; i++)
		if (!strcmp(attach_text(arena, &ruleset->attaches[i]), text))
			return true;
	return false;
}

static void compare_attaches(struct diffing *diffing, const struct ruleset *here, const struct ruleset *there,
			     const char *what)
{
	struct arena *arena = diffing->call->arena;

	if (here->expression || there->expression)
		return;
	for (size_t i = 0; i < here->attach_count; i++) {
		const char *text = attach_text(arena, &here->attaches[i]);

		if (!is_attached(arena, there, text))
			add_change(diffing, "policy `%s` is %s on %s", here->name, what, text);
	}
}

/* Rules are compared as if they asked for the same: for the bits of knocks in their order. */
static void compare_knocks(struct diffing *diffing, const struct ruleset *old, const struct ruleset *new)
{
	struct arena *arena = diffing->call->arena;

	if (strcmp(knocks_text(arena, old, true), knocks_text(arena, new, true)))
		add_change(diffing, "policy `%s` has other knocks", old->name);
}

static hook_mask hooks_of(const struct ruleset *ruleset)
{
	hook_mask hooks = 0;

	for (size_t i = 0; i < ruleset->attach_count; i++)
		hooks |= HOOK_BIT(ruleset->attaches[i].hook);
	return ruleset->expression ? HOOK_BIT(HOOK_COUNT) - 1 : hooks;
}

/* --- what is told ----------------------------------------------------------------------------------------------- */

static const struct rule *find_rule(const struct ruleset *ruleset, uint32_t number)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			if (ruleset->chains[i].rules[j].number == number)
				return &ruleset->chains[i].rules[j];
	return NULL;
}

static struct weir_diff_side tell_side(struct arena *arena, const struct ruleset *ruleset,
				       const struct diff_side *side)
{
	const struct rule *rule = side->rule > 0 ? find_rule(ruleset, (uint32_t)side->rule) : NULL;
	struct span span = rule ? rule->span : ruleset->span;

	return (struct weir_diff_side){
		.verdict = verdict_name(side->verdict),
		.rule = side->rule,
		.file = span.source ? span.source->name : NULL,
		.line = span.source ? source_position(span.source, span.offset).line : 0,
		.text = rule ? span_fold(arena, span) : "",
	};
}

/* The same kind at another hook of the policy. */
static bool is_told(const struct diffing *diffing, const char *policy, const struct weir_difference *difference)
{
	for (size_t i = 0; i < diffing->differences.count; i++) {
		const struct weir_difference *told = &diffing->differences.items[i];

		if (!strcmp(told->policy, policy) && told->old_side.rule == difference->old_side.rule &&
		    told->new_side.rule == difference->new_side.rule &&
		    !strcmp(told->old_side.verdict, difference->old_side.verdict) &&
		    !strcmp(told->new_side.verdict, difference->new_side.verdict))
			return true;
	}
	return false;
}

static void tell(struct diffing *diffing, const struct ruleset *const *rulesets, enum hook hook,
		 const struct diff *diff)
{
	struct arena *arena = diffing->call->arena;

	for (size_t i = 0; i < diff->kind_count; i++) {
		const struct diff_kind *kind = &diff->kinds[i];
		struct weir_difference difference = {
			.policy = rulesets[DIFF_NEW]->name,
			.hook = hook_table[hook].name,
			.old_side = tell_side(arena, rulesets[DIFF_OLD], &kind->sides[DIFF_OLD]),
			.new_side = tell_side(arena, rulesets[DIFF_NEW], &kind->sides[DIFF_NEW]),
			.packet = kind->packet,
			.given = kind->given,
		};

		if (!is_told(diffing, difference.policy, &difference))
			VEC_PUSH(arena, &diffing->differences) = difference;
	}
	for (size_t i = 0; i < diff->note_count; i++)
		add_note(diffing, diff->notes[i]);
	if (diff->unknown)
		diffing->unknown = diff->unknown;
}

/* --- comparing -------------------------------------------------------------------------------------------------- */

/* Both rule sets at a hook; an expression is compiled for it. Errors are dropped: it cannot be there then. */
static bool select_both(const struct diffing *diffing, const struct ruleset *const *policies, enum hook hook,
			const struct ruleset **ret_rulesets)
{
	struct call probe = *diffing->call;
	enum hook found;

	probe.diags = diags_new(probe.arena);
	for (unsigned side = 0; side < DIFF_SIDES; side++)
		if (api_select(&probe, diffing->programs[side], policies[side]->name, hook_table[hook].name,
			       &ret_rulesets[side], &found))
			return false;
	return true;
}

static bool is_wanted(const struct diffing *diffing, enum hook hook)
{
	return !diffing->hook || hook_by_name(diffing->hook) == (int)hook;
}

static void compare_pair(struct diffing *diffing, const struct ruleset *const *policies)
{
	hook_mask hooks = hooks_of(policies[DIFF_OLD]) & hooks_of(policies[DIFF_NEW]);
	bool expressions = policies[DIFF_OLD]->expression && policies[DIFF_NEW]->expression;
	const struct ruleset *rulesets[DIFF_SIDES];
	struct diff diff;

	for (unsigned hook = 0; hook < HOOK_COUNT; hook++) {
		if (!(hooks & HOOK_BIT(hook)) || !is_wanted(diffing, (enum hook)hook) ||
		    !select_both(diffing, policies, (enum hook)hook, rulesets))
			continue;
		plan_diff(diffing->call->arena, rulesets[DIFF_OLD], rulesets[DIFF_NEW], (enum hook)hook, &diff);
		tell(diffing, rulesets, (enum hook)hook, &diff);
		diffing->compared = true;
		if (expressions) /* one hook stands for all */
			return;
	}
}

static bool is_asked(const struct diffing *diffing, const struct ruleset *ruleset)
{
	return !diffing->policy || !strcmp(ruleset->name, diffing->policy);
}

static void compare_policies(struct diffing *diffing)
{
	const struct rulesets *old = diffing->programs[DIFF_OLD]->rulesets, *new = diffing->programs[DIFF_NEW]->rulesets;

	for (size_t i = 0; i < old->count; i++) {
		const struct ruleset *pair[DIFF_SIDES] = { &old->items[i] };

		if (!is_asked(diffing, pair[DIFF_OLD]))
			continue;
		pair[DIFF_NEW] = find_partner(diffing, pair[DIFF_OLD], DIFF_NEW);
		if (!pair[DIFF_NEW]) {
			add_change(diffing, "policy `%s` is removed", pair[DIFF_OLD]->name);
			continue;
		}
		if (pair[DIFF_OLD]->observe != pair[DIFF_NEW]->observe)
			add_change(diffing, "policy `%s` %s only observes", pair[DIFF_OLD]->name,
				   pair[DIFF_NEW]->observe ? "now" : "no longer");
		compare_attaches(diffing, pair[DIFF_OLD], pair[DIFF_NEW], "no longer");
		compare_attaches(diffing, pair[DIFF_NEW], pair[DIFF_OLD], "now");
		compare_knocks(diffing, pair[DIFF_OLD], pair[DIFF_NEW]);
		compare_pair(diffing, pair);
	}
	for (size_t i = 0; i < new->count; i++)
		if (is_asked(diffing, &new->items[i]) && !find_partner(diffing, &new->items[i], DIFF_OLD))
			add_change(diffing, "policy `%s` is added", new->items[i].name);
}

static int check_request(struct call *call, const struct diffing *diffing)
{
	if (diffing->hook && hook_by_name(diffing->hook) < 0)
		return api_fail(call, WEIR_INPUT, "no hook `%s`", diffing->hook);
	if (diffing->policy && !find_policy(diffing->programs[DIFF_OLD], diffing->policy) &&
	    !find_policy(diffing->programs[DIFF_NEW], diffing->policy))
		return api_fail(call, WEIR_INPUT, "no policy `%s` in either of the two", diffing->policy);
	return WEIR_OK;
}

static enum weir_diff_result result_of(const struct diffing *diffing)
{
	if (diffing->differences.count || diffing->changes.count)
		return WEIR_DIFF_DIFFERENT;
	return diffing->unknown ? WEIR_DIFF_NOT_KNOWN : WEIR_DIFF_EQUIVALENT;
}

static int compare(struct call *call, void *context)
{
	struct diffing *diffing = context;
	struct weir_diff *diff = ARENA_NEW(call->arena, struct weir_diff);
	int status = check_request(call, diffing);

	if (status)
		return status;
	diffing->call = call;
	compare_policies(diffing);
	if (!diffing->compared && !diffing->changes.count)
		return api_fail(call, WEIR_INPUT, "the two have no hook in common at which they can be compared");
	*diff = (struct weir_diff){
		.result = result_of(diffing),
		.differences = diffing->differences.items,
		.difference_count = diffing->differences.count,
		.changes = diffing->changes.items,
		.change_count = diffing->changes.count,
		.notes = diffing->notes.items,
		.note_count = diffing->notes.count,
		.unknown = diffing->unknown,
	};
	diffing->diff = diff;
	return WEIR_OK;
}

WEIR_EXPORT int weir_diff(struct weir *weir, struct weir_program *old_program, struct weir_program *new_program,
			  const char *policy, const char *hook, const struct weir_diff **ret_diff)
{
	struct diffing diffing = { .programs = { old_program, new_program }, .policy = policy, .hook = hook };
	int status = api_call(weir, new_program->arena, false, compare, &diffing);

	if (!status)
		*ret_diff = diffing.diff;
	return status;
}
