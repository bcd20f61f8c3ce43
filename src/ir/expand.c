/* SPDX-License-Identifier: GPL-2.0-only */
/* Hidden rules. In: a rule set as it was written; out: one whose knocks are rules too. Fails only as the arena does. */
#include <string.h>

#include "ir/ir.h"

static size_t count_steps(const struct ruleset *ruleset)
{
	size_t count = 0;

	for (size_t i = 0; i < ruleset->knock_count; i++)
		count += ruleset->knocks[i].step_count;
	return count;
}

/* Who sends knocks at nobody: a step is taken where packets arrive or pass through. */
static const struct cond *arriving(struct arena *arena, const struct cond *step)
{
	const struct range sides[] = { { DIRECTION_INGRESS, DIRECTION_INGRESS },
				       { DIRECTION_FORWARD, DIRECTION_FORWARD } };

	return cond_pair(arena, COND_AND, cond_match_ranges(arena, FIELD_DIRECTION, sides, 2, step->span), step,
			 step->span);
}

static struct rule step_rule(struct arena *arena, const struct knock *knock, size_t index, size_t step, uint32_t number)
{
	struct action *action = ARENA_NEW(arena, struct action);

	action->kind = ACTION_KNOCK;
	action->span = knock->steps[step]->span;
	action->knock.index = (uint8_t)index;
	action->knock.step = (uint8_t)step;
	return (struct rule){ .number = number, .span = action->span, .cond = arriving(arena, knock->steps[step]),
			      .actions = action,
			      .action_count = 1 };
}

const struct ruleset *ruleset_expand(struct arena *arena, const struct ruleset *ruleset)
{
	size_t hidden = count_steps(ruleset), shown = ruleset->chains[0].rule_count, count = 0;
	struct ruleset *expanded;
	struct chain *chains;
	struct rule *rules;

	if (!hidden || ruleset->hidden_count)
		return ruleset;
	expanded = arena_copy(arena, ruleset, sizeof *ruleset);
	chains = arena_copy(arena, ruleset->chains, ruleset->chain_count * sizeof *chains);
	rules = ARENA_ARRAY(arena, struct rule, hidden + shown);
	for (size_t i = 0; i < ruleset->knock_count; i++)
		for (size_t step = 0; step < ruleset->knocks[i].step_count; step++, count++)
			rules[count] = step_rule(arena, &ruleset->knocks[i], i, step,
						 ruleset->rule_count + (uint32_t)count + 1);
	memcpy(rules + hidden, chains[0].rules, shown * sizeof *rules);
	chains[0].rules = rules;
	chains[0].rule_count = hidden + shown;
	expanded->chains = chains;
	expanded->rule_count += (uint32_t)hidden;
	expanded->hidden_count = (uint32_t)hidden;
	return expanded;
}
