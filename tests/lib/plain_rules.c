/* SPDX-License-Identifier: GPL-2.0-only */
#include "tests/lib/plain_rules.h"

static void make_plain(struct arena *arena, struct rule *rule)
{
	const struct action *last = &rule->actions[rule->action_count - 1];
	struct action *never;

	rule->action_count = 1;
	rule->actions = last;
	if (last->kind >= ACTION_VERDICT)
		return;
	never = ARENA_NEW(arena, struct action);
	never->kind = ACTION_VERDICT;
	rule->actions = never;
	rule->cond = cond_new(arena, COND_FALSE, rule->span);
}

const struct ruleset *plain_rules(struct arena *arena, const struct ruleset *ruleset)
{
	struct ruleset *copy = arena_copy(arena, ruleset, sizeof *ruleset);
	struct chain *chains = arena_copy(arena, ruleset->chains, ruleset->chain_count * sizeof *chains);

	for (size_t i = 0; i < ruleset->chain_count; i++) {
		struct rule *rules = arena_copy(arena, chains[i].rules, chains[i].rule_count * sizeof *rules);

		for (size_t j = 0; j < chains[i].rule_count; j++)
			make_plain(arena, &rules[j]);
		chains[i].rules = rules;
	}
	copy->chains = chains;
	return copy;
}
