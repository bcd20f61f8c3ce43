/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making a failing rule set small. First blocks of rules go, the bigger the better; then every single reduction (an
 * action, a part of a condition, a range, a set element) is tried until none keeps the failure. A candidate that
 * breaks an invariant is skipped.
 */
#include <string.h>

#include "tests/lib/policies.h"

typedef bool (*still_fails_fn)(const struct ruleset *ruleset, void *context);

struct shrinking {
	struct arena *arena;
	still_fails_fn still_fails;
	void *context;
	const struct ruleset *best;
};

/* Accepts the candidate if the failure survives in it. */
static bool try_candidate(struct shrinking *shrinking, const struct ruleset *candidate)
{
	if (ruleset_check(shrinking->arena, candidate) || !shrinking->still_fails(candidate, shrinking->context))
		return false;
	shrinking->best = candidate;
	return true;
}

/* --- blocks of rules ------------------------------------------------------------------------------------------ */

static struct chain *copy_chains(struct arena *arena, const struct ruleset *ruleset)
{
	return arena_copy(arena, ruleset->chains, ruleset->chain_count * sizeof *ruleset->chains);
}

static struct chain chain_without(struct arena *arena, const struct chain *chain, size_t from, size_t count,
				  size_t *position, uint32_t *number)
{
	struct rule *rules = ARENA_ARRAY(arena, struct rule, chain->rule_count);
	struct chain copy = *chain;

	copy.rule_count = 0;
	for (size_t i = 0; i < chain->rule_count; i++, ++*position) {
		if (*position >= from && *position - from < count)
			continue;
		rules[copy.rule_count] = chain->rules[i];
		rules[copy.rule_count++].number = ++*number;
	}
	copy.rules = rules;
	return copy;
}

/* Without `count` rules from the `from`th on, in the order of chains; numbered anew. */
static const struct ruleset *without_rules(struct arena *arena, const struct ruleset *ruleset, size_t from, size_t count)
{
	struct ruleset *copy = arena_copy(arena, ruleset, sizeof *ruleset);
	struct chain *chains = copy_chains(arena, ruleset);
	size_t position = 0;
	uint32_t number = 0;

	for (size_t i = 0; i < ruleset->chain_count; i++)
		chains[i] = chain_without(arena, &ruleset->chains[i], from, count, &position, &number);
	copy->chains = chains;
	copy->rule_count = number;
	return copy;
}

static void drop_rules(struct shrinking *shrinking)
{
	for (size_t block = shrinking->best->rule_count; block; block /= 2)
		for (size_t from = 0; from < shrinking->best->rule_count;)
			if (!try_candidate(shrinking, without_rules(shrinking->arena, shrinking->best, from, block)))
				from += block;
}

/* --- single reductions ---------------------------------------------------------------------------------------- */

/* A copy in which the nth possible reduction is made. */
struct reduction {
	struct arena *arena;
	size_t left; /* possible ones still to be passed over */
	bool made;
};

static bool here(struct reduction *reduction)
{
	if (reduction->made || reduction->left-- > 0)
		return false;
	reduction->made = true;
	return true;
}

static const struct cond *reduce_cond(struct reduction *reduction, const struct cond *cond);

static const struct cond *without_item(struct reduction *reduction, const struct cond *cond, size_t at)
{
	struct cond *copy = arena_copy(reduction->arena, cond, sizeof *cond);

	copy->list.items = arena_copy(reduction->arena, cond->list.items, cond->list.count * sizeof *cond->list.items);
	copy->list.count--;
	memmove(copy->list.items + at, copy->list.items + at + 1, (copy->list.count - at) * sizeof *copy->list.items);
	return copy;
}

static const struct cond *reduce_list(struct reduction *reduction, const struct cond *cond)
{
	for (size_t i = 0; i < cond->list.count; i++) {
		const struct cond *item;
		struct cond *copy;

		if (here(reduction))
			return cond->list.items[i];
		if (cond->list.count > 1 && here(reduction))
			return without_item(reduction, cond, i);
		item = reduce_cond(reduction, cond->list.items[i]);
		if (!reduction->made)
			continue;
		copy = arena_copy(reduction->arena, cond, sizeof *cond);
		copy->list.items = arena_copy(reduction->arena, cond->list.items,
					      cond->list.count * sizeof *cond->list.items);
		copy->list.items[i] = item;
		return copy;
	}
	return cond;
}

static const struct cond *reduce_match(struct reduction *reduction, const struct cond *cond)
{
	u128 full = u128_max(field_table[cond->match.field].bits);
	struct cond *copy = arena_copy(reduction->arena, cond, sizeof *cond);

	for (size_t i = 0; cond->match.count > 1 && i < cond->match.count; i++) {
		if (!here(reduction))
			continue;
		copy->match.comparison = 0;
		copy->match.ranges = &cond->match.ranges[i];
		copy->match.count = 1;
	}
	if (cond->match.count == 1 && cond->match.ranges->lo != cond->match.ranges->hi && here(reduction))
		copy->match.ranges = cond_match(reduction->arena, cond->match.field, cond->match.ranges->lo,
						cond->match.ranges->lo, cond->span)->match.ranges;
	if (cond->match.mask != full && here(reduction))
		copy->match.mask = full;
	return copy;
}

static const struct cond *reduce_cond(struct reduction *reduction, const struct cond *cond)
{
	if (cond->kind == COND_TRUE)
		return cond;
	if (here(reduction))
		return cond_new(reduction->arena, COND_TRUE, cond->span);
	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		return reduce_list(reduction, cond);
	case COND_NOT:
		if (here(reduction))
			return cond->inner;
		return cond_not(reduction->arena, reduce_cond(reduction, cond->inner), cond->span);
	case COND_MATCH:
		return reduce_match(reduction, cond);
	default:
		return cond;
	}
}

static void reduce_actions(struct reduction *reduction, struct rule *rule)
{
	for (size_t i = 0; i < rule->action_count; i++) {
		struct action *actions;
		bool drop = rule->action_count > 1u + (rule_rate(rule) && i) && here(reduction);

		if (!drop && !(rule->actions[i].kind != ACTION_VERDICT && here(reduction)))
			continue;
		actions = arena_copy(reduction->arena, rule->actions, rule->action_count * sizeof *actions);
		if (drop) {
			rule->action_count--;
			memmove(actions + i, actions + i + 1, (rule->action_count - i) * sizeof *actions);
		} else {
			actions[i].kind = ACTION_VERDICT;
			actions[i].verdict = VERDICT_DROP;
		}
		rule->actions = actions;
		return;
	}
}

static bool cond_names_link(const struct cond *cond)
{
	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			if (cond_names_link(cond->list.items[i]))
				return true;
		return false;
	case COND_NOT:
		return cond_names_link(cond->inner);
	case COND_MATCH:
		return cond->match.field == FIELD_ETH_TYPE;
	default:
		return false;
	}
}

static struct rule reduce_rule(struct reduction *reduction, const struct rule *rule)
{
	struct rule copy = *rule;

	if (copy.cond && here(reduction))
		copy.cond = NULL;
	if (copy.cond)
		copy.cond = reduce_cond(reduction, copy.cond);
	reduce_actions(reduction, &copy);
	copy.names_link = copy.cond && cond_names_link(copy.cond);
	return copy;
}

static const struct chain *reduce_chains(struct reduction *reduction, const struct ruleset *ruleset)
{
	struct chain *chains = copy_chains(reduction->arena, ruleset);

	for (size_t i = 0; i < ruleset->chain_count && !reduction->made; i++) {
		for (size_t j = 0; j < chains[i].rule_count && !reduction->made; j++) {
			struct rule reduced = reduce_rule(reduction, &chains[i].rules[j]);
			struct rule *rules;

			if (!reduction->made)
				continue;
			rules = arena_copy(reduction->arena, chains[i].rules, chains[i].rule_count * sizeof *rules);
			rules[j] = reduced;
			chains[i].rules = rules;
		}
	}
	return chains;
}

static const struct range *without_range(struct arena *arena, const struct range *ranges, size_t *count, size_t at)
{
	struct range *copy = arena_copy(arena, ranges, *count * sizeof *ranges);

	--*count;
	memmove(copy + at, copy + at + 1, (*count - at) * sizeof *copy);
	return copy;
}

static const struct set *reduce_sets(struct reduction *reduction, const struct ruleset *ruleset)
{
	struct set *sets = arena_copy(reduction->arena, ruleset->sets, ruleset->set_count * sizeof *sets);

	for (size_t i = 0; i < ruleset->set_count; i++) {
		for (size_t j = 0; j < sets[i].count && !reduction->made; j++)
			if (here(reduction))
				sets[i].ranges = without_range(reduction->arena, sets[i].ranges, &sets[i].count, j);
		for (size_t j = 0; j < sets[i].count6 && !reduction->made; j++)
			if (here(reduction))
				sets[i].ranges6 = without_range(reduction->arena, sets[i].ranges6, &sets[i].count6, j);
	}
	return sets;
}

/* The nth reduction, or NULL if there are not so many. */
static const struct ruleset *reduce(struct arena *arena, const struct ruleset *ruleset, size_t nth)
{
	struct reduction reduction = { .arena = arena, .left = nth };
	struct ruleset *copy = arena_copy(arena, ruleset, sizeof *ruleset);

	copy->chains = reduce_chains(&reduction, ruleset);
	if (!reduction.made)
		copy->sets = reduce_sets(&reduction, ruleset);
	return reduction.made ? copy : NULL;
}

static bool drop_parts(struct shrinking *shrinking)
{
	const struct ruleset *candidate;
	bool any = false;

	for (size_t nth = 0; (candidate = reduce(shrinking->arena, shrinking->best, nth));)
		if (try_candidate(shrinking, candidate))
			any = true;
		else
			nth++;
	return any;
}

const struct ruleset *policies_shrink(struct arena *arena, const struct ruleset *ruleset, still_fails_fn still_fails,
				      void *context)
{
	struct shrinking shrinking = { arena, still_fails, context, ruleset };

	/* A part that is gone may free a rule to go. */
	do
		drop_rules(&shrinking);
	while (drop_parts(&shrinking));
	return shrinking.best;
}
