/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random tables, changed rule by rule as commands change them. For tests: they say what is to hold after each change.
 */
#ifndef WEIR_TESTS_PLAN_CHANGING_H
#define WEIR_TESTS_PLAN_CHANGING_H

#include <errno.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/lib/policies.h"
#include "tests/lib/random.h"

enum { RULES = 40, EDITS = 25, SLOTS = 400, LIST_MAX = RULES + EDITS };

/* A rule that is there now. Those that were built do all that rules can do; of those that come, what does not fit is left out. */
struct entry {
	const struct rule *rule;
	bool came;
	uint32_t chain;
	uint32_t order, slot; /* order 0: it is judged in several places, or nowhere */
	uint32_t log, rate;   /* indexes of its first log statement and of its first rate */
};

struct round {
	struct arena *arena;
	uint64_t seed;
	enum hook hook;
	struct random random;
	const struct ruleset *all; /* the first half is built, the others may come */
	struct entry list[LIST_MAX];
	size_t count, next;
	uint32_t came, built;
	bool granted[LIST_MAX + 1]; /* by number: whether there is a token, */
	bool granted_slots[SLOTS];  /* and by slot - SLOT_RULES + 1 */
	const struct plan *first;  /* as it was built */
	struct plan plan;          /* what is in force: words and steps are written to */
	struct table_header *header;
	struct step *steps;
	uint32_t *log_rules;
	struct log_limit *logs;
	size_t done, refused, settled;
	const char *wrong;
};

/* --- rule sets --------------------------------------------------------------------------------------------------- */

/* Of a rule that comes: what is never in place. */
static inline bool is_possible(const struct action *action)
{
	return action->kind == ACTION_MARK || action->kind == ACTION_VERDICT || action->kind == ACTION_RETURN ||
	       action->kind == ACTION_COUNT || action->kind == ACTION_LOG || action->kind == ACTION_CAPTURE;
}

static inline void keep_possible(struct arena *arena, struct rule *rule)
{
	struct action *actions = ARENA_ARRAY(arena, struct action, rule->action_count + 1);
	size_t kept = 0;

	for (size_t i = 0; i < rule->action_count; i++)
		if (is_possible(&rule->actions[i]))
			actions[kept++] = rule->actions[i];
	if (!kept)
		actions[kept++] = (struct action){ .kind = ACTION_VERDICT, .verdict = VERDICT_DROP };
	rule->actions = actions;
	rule->action_count = kept;
}

/* These rules, which are in the order of the chains, numbered anew. */
static inline const struct ruleset *ruleset_of(struct round *round, const struct entry *list, size_t count, size_t chain_count)
{
	struct ruleset *ruleset = arena_copy(round->arena, round->all, sizeof *ruleset);
	struct chain *chains = arena_copy(round->arena, round->all->chains, chain_count * sizeof *chains);
	struct rule *rules = ARENA_ARRAY(round->arena, struct rule, count + 1);

	for (size_t i = 0; i < chain_count; i++)
		chains[i].rule_count = 0;
	for (size_t i = 0; i < count; i++) {
		struct chain *chain = &chains[chain_count > 1 ? list[i].chain : 0];

		if (!chain->rule_count++)
			chain->rules = &rules[i];
		rules[i] = *list[i].rule;
		rules[i].number = (uint32_t)i + 1;
		if (list[i].came)
			keep_possible(round->arena, &rules[i]);
	}
	ruleset->chains = chains;
	ruleset->chain_count = chain_count;
	ruleset->rule_count = (uint32_t)count;
	ruleset->classifier = CLASSIFIER_TABLE;
	return ruleset;
}

/* In several places, or none: 0. */
static inline uint32_t order_of_site(const struct round *round, uint32_t rule, uint32_t chain)
{
	const struct table_header *header = round->header;
	const struct table_site *sites = (const struct table_site *)(round->plan.table.words + header->sites);
	uint32_t found = 0;

	if (!header->sites)
		return (rule ? rule : header->site_count) * header->stride;
	for (uint32_t i = 0; i < header->site_count; i++) {
		if (sites[i].rule != rule || sites[i].chain != chain)
			continue;
		if (found)
			return 0;
		found = i + 1;
	}
	return found * header->stride;
}

static inline void list_rules(struct round *round)
{
	for (uint32_t c = 0; c < round->all->chain_count; c++) {
		const struct chain *chain = &round->all->chains[c];
		size_t count = c ? chain->rule_count : chain->rule_count / 2;

		for (size_t i = 0; i < count; i++)
			round->list[round->count++] = (struct entry){ .rule = &chain->rules[i], .chain = c };
	}
	round->built = (uint32_t)round->count;
	round->next = round->all->chains[0].rule_count / 2;
}

static inline void place_built(struct round *round)
{
	uint32_t log = 0, rate = 0;

	for (size_t i = 0; i < round->count; i++) {
		struct entry *entry = &round->list[i];

		entry->order = order_of_site(round, (uint32_t)i + 1, entry->chain);
		entry->slot = SLOT_RULE((uint32_t)i + 1);
		entry->log = log;
		entry->rate = rate;
		for (size_t a = 0; a < entry->rule->action_count; a++) {
			log += entry->rule->actions[a].kind == ACTION_LOG;
			rate += action_is_rated(&entry->rule->actions[a]);
		}
	}
}

static inline bool build(struct round *round)
{
	const struct policy_options options = { .rules = RULES, .chains = round->seed % 5 < 2 ? 3 : 1, .exact_rules = true,
						.simple = round->seed % 2, .terminal_only = round->seed % 3 == 0,
						.depth = 2, .rates = round->seed % 2 };
	const struct plan_options how = { .hash_min = round->seed % 4 / 2 };
	const struct plan *plan;
	struct ruleset *wide;

	round->all = policies_random(round->arena, round->seed, round->hook, &options);
	list_rules(round);
	if (plan_build(round->arena, ruleset_of(round, round->list, round->count, round->all->chain_count), round->hook, &how,
		       diags_new(round->arena), &plan) || !plan->table.step_room)
		return false;
	round->first = plan;
	round->plan = *plan;
	round->plan.table.words = arena_copy(round->arena, plan->table.words, plan->table.word_count * 8 + TABLE_SLACK);
	round->header = (struct table_header *)round->plan.table.words;
	round->steps = ARENA_ARRAY(round->arena, struct step, plan->step_count + plan->table.step_room);
	if (plan->step_count)
		memcpy(round->steps, plan->steps, plan->step_count * sizeof *plan->steps);
	round->log_rules = ARENA_ARRAY(round->arena, uint32_t, plan->log_count + EDITS);
	if (plan->log_count)
		memcpy(round->log_rules, plan->log_rules, plan->log_count * sizeof *plan->log_rules);
	round->plan.log_rules = round->log_rules;
	round->logs = ARENA_ARRAY(round->arena, struct log_limit, plan->log_count + EDITS);
	if (plan->log_count)
		memcpy(round->logs, plan->logs, plan->log_count * sizeof *plan->logs);
	round->plan.logs = round->logs;
	round->plan.log_count += EDITS;
	round->plan.steps = round->steps;
	round->plan.step_count += plan->table.step_room;
	wide = arena_copy(round->arena, plan->ruleset, sizeof *wide);
	wide->rule_count = SLOTS - SLOT_RULES;
	round->plan.ruleset = wide;
	round->plan.slots = SLOTS;
	place_built(round);
	if (round->seed % 4 == 0) /* so little that versions must be settled */
		round->header->room_end = round->header->room + 600;
	return true;
}

/* --- changes ----------------------------------------------------------------------------------------------------- */

static inline void install(struct round *round, const struct plan_patch *patch)
{
	memcpy((uint64_t *)round->plan.table.words + patch->start, patch->words, (patch->end - patch->start) * 8);
	if (patch->step_count)
		memcpy(round->steps + patch->steps_start, patch->steps, patch->step_count * sizeof *patch->steps);
	round->header->latest = patch->index;
}

static inline bool change(struct round *round, const struct plan_delta *delta)
{
	struct plan_patch patch;
	const char *reason;
	int error = plan_patch(round->arena, round->plan.table.words, round->done, false, delta, &patch, &reason);

	if (error == -EAGAIN) {
		round->settled++;
		error = plan_patch(round->arena, round->plan.table.words, round->done, true, delta, &patch, &reason);
	}
	round->refused += error != 0;
	round->done += !error;
	if (!error)
		install(round, &patch);
	return !error;
}

static inline void drop_one(struct round *round)
{
	size_t at = random_below(&round->random, (uint32_t)round->count);
	const struct plan_delta delta = { .gone = &round->list[at].order, .gone_count = 1 };

	if (!round->list[at].order || !change(round, &delta))
		return;
	round->count--;
	memmove(&round->list[at], &round->list[at + 1], (round->count - at) * sizeof *round->list);
}

/* Any order right before that one that was not a built rule's. */
static inline uint32_t order_before(struct round *round, uint32_t behind)
{
	uint32_t stride = round->header->stride, before = behind ? (behind - 1) / stride * stride : 0;

	for (size_t i = 0; i < round->count; i++)
		if (round->list[i].order < behind && round->list[i].order > before)
			before = round->list[i].order;
	return behind - before < 2 ? 0 : before + 1 + random_below(&round->random, behind - before - 1);
}

/* Before the rule at `at`, or at the end of the chain that ends there. */
static inline struct entry entry_at(struct round *round, size_t at)
{
	bool ends = at == round->count || (at && random_below(&round->random, 4) == 0);
	uint32_t chain = round->count ? round->list[at - (at && ends)].chain : 0;
	uint32_t behind = at < round->count && chain == round->list[at].chain ? round->list[at].order :
										order_of_site(round, 0, chain);

	return (struct entry){ .rule = &round->all->chains[0].rules[round->next], .came = true, .chain = chain,
			       .order = order_before(round, behind), .log = (uint32_t)round->plan.log_count - EDITS + round->came,
			       .slot = SLOT_RULE(round->built + 1 + (uint32_t)round->all->counter_count + round->came) };
}

static inline void add_one(struct round *round)
{
	size_t at = random_below(&round->random, (uint32_t)round->count + 1);
	struct entry entry = entry_at(round, at);
	const uint32_t orders[] = { 0, entry.order }, slots[] = { 0, entry.slot }, logs[] = { 0, entry.log };
	const struct plan_delta delta = { .rules = ruleset_of(round, &entry, 1, 1), .orders = orders, .slots = slots,
					  .logs = logs };

	if (!entry.order || !change(round, &delta))
		return;
	round->log_rules[entry.log] = entry.slot - SLOT_RULES + 1;
	for (size_t i = 0; i < entry.rule->action_count; i++)
		if (entry.rule->actions[i].kind == ACTION_LOG)
			round->logs[entry.log] = plan_log_limit(&entry.rule->actions[i]);
	memmove(&round->list[at + 1], &round->list[at], (round->count - at) * sizeof *round->list);
	round->list[at] = entry;
	round->count++;
	round->came++;
}

static inline void change_one(struct round *round)
{
	if (round->count && random_below(&round->random, 2))
		drop_one(round);
	else if (round->next < round->all->chains[0].rule_count)
		add_one(round), round->next++;
}

#endif
