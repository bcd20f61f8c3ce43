/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables changed rule by rule: after each change the newest version decides, counts and marks as the model does with the
 * rules as they are then.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plan/plan.h"
#include "tests/lib/packets.h"
#include "tests/lib/policies.h"
#include "tests/lib/random.h"
#include "tests/unit/plan/judge.h"

enum { RULES = 40, EDITS = 25, PACKETS = 60, SLOTS = 400, LIST_MAX = RULES + EDITS };

/* A rule that is there now. Those that were built do all that rules can do; of those that come, what does not fit is left out. */
struct entry {
	const struct rule *rule;
	bool came;
	uint32_t chain;
	uint32_t order, slot; /* order 0: it is judged in several places, or nowhere */
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
	struct plan plan;          /* what is in force: words and steps are written to */
	struct table_header *header;
	struct step *steps;
	uint32_t *log_rules;
	size_t done, refused, settled;
	const char *wrong;
};

/* --- rule sets --------------------------------------------------------------------------------------------------- */

/* Of a rule that comes: what is never in place. */
static bool is_possible(const struct action *action)
{
	return action->kind == ACTION_MARK || action->kind == ACTION_VERDICT || action->kind == ACTION_RETURN ||
	       action->kind == ACTION_COUNT || action->kind == ACTION_LOG || action->kind == ACTION_CAPTURE;
}

static void keep_possible(struct arena *arena, struct rule *rule)
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
static const struct ruleset *ruleset_of(struct round *round, const struct entry *list, size_t count, size_t chain_count)
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
static uint32_t order_of_site(const struct round *round, uint32_t rule, uint32_t chain)
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

static void list_rules(struct round *round)
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

static bool build(struct round *round)
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
	round->plan = *plan;
	round->plan.table.words = arena_copy(round->arena, plan->table.words, (plan->table.word_count + 16) * 8);
	round->header = (struct table_header *)round->plan.table.words;
	round->steps = ARENA_ARRAY(round->arena, struct step, plan->step_count + plan->table.step_room);
	if (plan->step_count)
		memcpy(round->steps, plan->steps, plan->step_count * sizeof *plan->steps);
	round->log_rules = ARENA_ARRAY(round->arena, uint32_t, plan->log_count + EDITS);
	if (plan->log_count)
		memcpy(round->log_rules, plan->log_rules, plan->log_count * sizeof *plan->log_rules);
	round->plan.log_rules = round->log_rules;
	round->plan.log_count += EDITS;
	round->plan.steps = round->steps;
	round->plan.step_count += plan->table.step_room;
	wide = arena_copy(round->arena, plan->ruleset, sizeof *wide);
	wide->rule_count = SLOTS - SLOT_RULES;
	round->plan.ruleset = wide;
	round->plan.slots = SLOTS;
	for (size_t i = 0; i < round->count; i++) {
		round->list[i].order = order_of_site(round, (uint32_t)i + 1, round->list[i].chain);
		round->list[i].slot = SLOT_RULE((uint32_t)i + 1);
	}
	if (round->seed % 4 == 0) /* so little that versions must be settled */
		round->header->room_end = round->header->room + 600;
	return true;
}

/* --- changes ----------------------------------------------------------------------------------------------------- */

static void install(struct round *round, const struct plan_patch *patch)
{
	memcpy((uint64_t *)round->plan.table.words + patch->start, patch->words, (patch->end - patch->start) * 8);
	if (patch->step_count)
		memcpy(round->steps + patch->steps_start, patch->steps, patch->step_count * sizeof *patch->steps);
	round->header->latest = patch->index;
}

static bool change(struct round *round, const struct plan_delta *delta)
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

static void drop_one(struct round *round)
{
	size_t at = random_below(&round->random, (uint32_t)round->count);
	const struct plan_delta delta = { .gone = &round->list[at].order, .gone_count = 1 };

	if (!round->list[at].order || !change(round, &delta))
		return;
	round->count--;
	memmove(&round->list[at], &round->list[at + 1], (round->count - at) * sizeof *round->list);
}

/* Any order right before that one that was not a built rule's. */
static uint32_t order_before(struct round *round, uint32_t behind)
{
	uint32_t stride = round->header->stride, before = behind ? (behind - 1) / stride * stride : 0;

	for (size_t i = 0; i < round->count; i++)
		if (round->list[i].order < behind && round->list[i].order > before)
			before = round->list[i].order;
	return behind - before < 2 ? 0 : before + 1 + random_below(&round->random, behind - before - 1);
}

/* Before the rule at `at`, or at the end of the chain that ends there. */
static struct entry entry_at(struct round *round, size_t at)
{
	bool ends = at == round->count || (at && random_below(&round->random, 4) == 0);
	uint32_t chain = round->count ? round->list[at - (at && ends)].chain : 0;
	uint32_t behind = at < round->count && chain == round->list[at].chain ? round->list[at].order :
										order_of_site(round, 0, chain);

	return (struct entry){ &round->all->chains[0].rules[round->next], true, chain, order_before(round, behind),
			       SLOT_RULE(round->built + 1 + (uint32_t)round->all->counter_count + round->came) };
}

static void add_one(struct round *round)
{
	size_t at = random_below(&round->random, (uint32_t)round->count + 1);
	struct entry entry = entry_at(round, at);
	uint32_t log = (uint32_t)round->plan.log_count - EDITS + round->came;
	const uint32_t orders[] = { 0, entry.order }, slots[] = { 0, entry.slot }, logs[] = { 0, log };
	const struct plan_delta delta = { .rules = ruleset_of(round, &entry, 1, 1), .orders = orders, .slots = slots,
					  .logs = logs };

	if (!entry.order || !change(round, &delta))
		return;
	round->log_rules[log] = entry.slot - SLOT_RULES + 1;
	memmove(&round->list[at + 1], &round->list[at], (round->count - at) * sizeof *round->list);
	round->list[at] = entry;
	round->count++;
	round->came++;
}

static void change_one(struct round *round)
{
	if (round->count && random_below(&round->random, 2))
		drop_one(round);
	else if (round->next < round->all->chains[0].rule_count)
		add_one(round), round->next++;
}

/* --- judging ----------------------------------------------------------------------------------------------------- */

static uint32_t slot_of(const struct round *round, int32_t rule)
{
	return rule == DECIDED_DEFAULT ? (uint32_t)SLOT_DEFAULT :
	       rule == DECIDED_NON_IP ? (uint32_t)SLOT_NON_IP : round->list[rule - 1].slot;
}

/* Named counters have the slots behind the rules' that were built. What was counted there goes from the hits. */
static size_t take_named(const struct round *round, struct judged *judged)
{
	uint32_t first = SLOT_RULE(round->built + 1);
	size_t kept = 0, sum = 0;

	for (size_t i = 0; i < judged->hit_count; i++) {
		uint32_t slot = SLOT_RULE(judged->hits[i]);

		if (slot >= first && slot < first + round->all->counter_count)
			sum += slot + 1;
		else
			judged->hits[kept++] = judged->hits[i];
	}
	judged->hit_count = kept;
	return sum;
}

static size_t named_by(const struct round *round, const struct model_result *truth)
{
	size_t sum = 0;

	for (size_t i = 0; i < truth->hit_count; i++) {
		const struct rule *rule = round->list[truth->hits[i] - 1].rule;

		for (size_t j = 0; j < rule->action_count; j++)
			if (rule->actions[j].kind == ACTION_COUNT)
				sum += SLOT_RULE(round->built + 1) + rule->actions[j].counter + 1;
	}
	return sum;
}

static const char *compare(const struct round *round, const struct model_result *truth, struct judged *judged)
{
	size_t named = take_named(round, judged);

	if (judged->error)
		return judged->error;
	if (judged->verdict != (uint32_t)truth->verdict)
		return "another verdict";
	if (judged->slot != slot_of(round, truth->rule))
		return arena_printf(round->arena, "slot %u, not %u", judged->slot, slot_of(round, truth->rule));
	if (judged->mark != truth->mark)
		return "another mark";
	if (named != named_by(round, truth))
		return "other named counters";
	if (judged->hit_count != truth->hit_count)
		return arena_printf(round->arena, "%zu hits, not %zu", judged->hit_count, truth->hit_count);
	for (size_t i = 0; i < truth->hit_count; i++)
		if (SLOT_RULE(judged->hits[i]) != slot_of(round, (int32_t)truth->hits[i]))
			return "another hit";
	return NULL;
}

static void draw_tokens(struct round *round)
{
	for (size_t i = 0; i < round->count; i++)
		round->granted[i + 1] = round->granted_slots[round->list[i].slot - SLOT_RULES + 1] =
			random_once_in(&round->random, 2);
}

static void judge_packets(struct round *round)
{
	const struct ruleset *ruleset = ruleset_of(round, round->list, round->count, round->all->chain_count);
	struct model_state state = { .arena = round->arena, .granted = round->granted };
	unsigned char buffer[PACKET_BYTES_MAX];
	struct packet_source source;

	packets_seed(&source, round->seed + round->done);
	source.well_formed = true;
	packets_add_ruleset(&source, round->all);
	for (int i = 0; i < PACKETS && !round->wrong; i++) {
		struct model_packet input;
		struct model_fields fields;
		struct model_result truth;
		struct packet packet;
		struct judged judged;

		packets_next_at(&source, round->hook, buffer, sizeof buffer, &input);
		model_parse(round->hook, &input, &fields);
		if (fields.malformed)
			continue;
		judge_fill(&packet, &fields);
		draw_tokens(round);
		input.state = &state;
		model_judge(round->arena, ruleset, round->hook, &input, &truth);
		judged = judge_granting(&round->plan, packet, plan_evaluate, round->granted_slots);
		judged.mark = fields.has[FIELD_MARK] ? judged.mark : truth.mark;
		round->wrong = compare(round, &truth, &judged);
	}
}

static int run_round(void *context)
{
	struct round *round = context;

	round->random = random_seed(round->seed);
	if (!build(round))
		return 0;
	judge_packets(round);
	for (int i = 0; i < EDITS && !round->wrong; i++) {
		change_one(round);
		judge_packets(round);
	}
	return 0;
}

static void versions_are_the_rules(void **state)
{
	static const enum hook hooks[] = { HOOK_XDP, HOOK_TC_INGRESS, HOOK_CGROUP_EGRESS, HOOK_NF_INPUT };
	uint64_t rounds = 60 * random_setting("WEIR_ROUNDS", 1), seed = random_setting("WEIR_SEED", 1);
	size_t done = 0, refused = 0, settled = 0;

	(void)state;
	for (uint64_t i = 0; i < rounds; i++) {
		struct round round = { .arena = arena_new(), .seed = seed + i, .hook = hooks[(seed + i) % 4] };

		assert_int_equal(arena_run(round.arena, run_round, &round), 0);
		if (round.wrong)
			fail_msg("seed %llu, after %zu changes: %s", (unsigned long long)(seed + i), round.done, round.wrong);
		done += round.done;
		refused += round.refused;
		settled += round.settled;
		arena_free(round.arena);
	}
	print_message("# %zu changes, %zu refused, %zu settled\n", done, refused, settled);
	assert_true(done > rounds * EDITS / 4);
	assert_true(settled > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_are_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
