/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables changed rule by rule: after each change the newest version decides, counts and marks as the model does with the
 * rules as they are then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/packets.h"
#include "tests/unit/plan/changing.h"
#include "tests/unit/plan/judge.h"

enum { PACKETS = 60 };

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
