/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The graph of chains. Input: a lowered policy; output: an error for a cycle of jumps, naming it, and for each chain
 * that no path from main leads to.
 */
#include "lang/lower.h"

enum state { UNSEEN, OPEN, DONE };

/* A chain on the path from main, and how far its rules have been followed. */
struct step {
	uint32_t chain;
	size_t next;
	const struct action *jump; /* that led here; NULL: main */
};

struct walk {
	struct lower *lower;
	const struct ruleset *ruleset;
	enum state *states;
	struct step *path; /* at most one step a chain */
	size_t depth;
};

static const struct action *jump_of(const struct rule *rule)
{
	const struct action *last;

	if (!rule->action_count)
		return NULL;
	last = &rule->actions[rule->action_count - 1];
	return last->kind == ACTION_JUMP || last->kind == ACTION_GOTO ? last : NULL;
}

static void report_cycle(struct walk *walk, const struct action *jump)
{
	struct arena *arena = walk->lower->arena;
	const struct chain *chains = walk->ruleset->chains;
	size_t start = walk->depth;
	const char *text;

	while (start > 0 && walk->path[start - 1].chain != jump->chain)
		start--;
	text = arena_printf(arena, "`%s`", chains[jump->chain].name);
	for (size_t i = start; i < walk->depth; i++)
		text = arena_printf(arena, "%s, `%s`", text, chains[walk->path[i].chain].name);
	diag_error(walk->lower->diags, jump->span, "these jumps never end: %s, `%s`", text, chains[jump->chain].name);
}

static void enter(struct walk *walk, uint32_t chain, const struct action *jump)
{
	walk->states[chain] = OPEN;
	walk->path[walk->depth++] = (struct step){ .chain = chain, .jump = jump };
}

/* Follows one rule of the innermost chain, or leaves that chain. */
static void advance(struct walk *walk)
{
	struct step *step = &walk->path[walk->depth - 1];
	const struct chain *chain = &walk->ruleset->chains[step->chain];
	const struct action *jump;

	if (step->next == chain->rule_count) {
		walk->states[step->chain] = DONE;
		walk->depth--;
		return;
	}
	jump = jump_of(&chain->rules[step->next++]);
	if (!jump)
		return;
	if (walk->states[jump->chain] == OPEN)
		report_cycle(walk, jump);
	else if (walk->states[jump->chain] == UNSEEN)
		enter(walk, jump->chain, jump);
}

void chains_check(struct lower *lower, const struct ruleset *ruleset)
{
	struct walk walk = {
		.lower = lower,
		.ruleset = ruleset,
		.states = ARENA_ARRAY(lower->arena, enum state, ruleset->chain_count),
		.path = ARENA_ARRAY(lower->arena, struct step, ruleset->chain_count),
	};

	enter(&walk, 0, NULL);
	while (walk.depth)
		advance(&walk);
	for (size_t i = 1; i < ruleset->chain_count; i++)
		if (walk.states[i] == UNSEEN)
			diag_error(lower->diags, ruleset->chains[i].span, "nothing leads to the chain `%s`",
				   ruleset->chains[i].name);
}
