/* SPDX-License-Identifier: GPL-2.0-only */
/* Random policies and packets: plans, in every form, decide, count and mark as the model does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ir/model.h"
#include "plan/plan.h"
#include "tests/lib/packets.h"
#include "tests/lib/policies.h"
#include "tests/unit/plan/judge.h"

/* One way to plan. */
struct way {
	const char *name;
	enum classifier classifier;
	struct plan_options options;
};

static const struct way ways[] = {
	{ "diagram", CLASSIFIER_AUTO, { 0 } },
	{ "list", CLASSIFIER_LIST, { 0 } },
	{ "diagram with maps", CLASSIFIER_AUTO, { .inline_set_min = 2 } },
	{ "list with maps", CLASSIFIER_LIST, { .inline_set_min = 2 } },
	{ "table", CLASSIFIER_TABLE, { 0 } },
	{ "table with maps", CLASSIFIER_TABLE, { .inline_set_min = 2, .touched_min = 1 } },
	{ "table that bisects", CLASSIFIER_TABLE, { .bisect_min = 1 } },
	{ "table with a hash", CLASSIFIER_TABLE, { .hash_min = 1 } },
	{ "small budget", CLASSIFIER_AUTO, { .diagram_budget = 40 } },
};
enum { WAYS = sizeof ways / sizeof ways[0], PACKETS = 120 };

struct round {
	struct arena *arena;
	uint64_t seed;
	enum hook hook;
	const struct policy_options *options;
	const struct ruleset *ruleset;
	const struct way *way;
	size_t judged, diagrams, hashes;
	const char *wrong; /* what differs, or NULL */
};

static const char *compare(const struct round *round, const struct model_result *truth, const struct judged *judged)
{
	uint32_t slot = truth->rule == DECIDED_DEFAULT ? (uint32_t)SLOT_DEFAULT :
			truth->rule == DECIDED_NON_IP ? (uint32_t)SLOT_NON_IP : SLOT_RULE((uint32_t)truth->rule);

	if (judged->error)
		return judged->error;
	if (judged->verdict != (uint32_t)truth->verdict)
		return arena_printf(round->arena, "verdict %u, not %u", judged->verdict, (unsigned)truth->verdict);
	if (judged->slot != slot)
		return arena_printf(round->arena, "slot %u, not %u", judged->slot, slot);
	if (judged->mark != truth->mark)
		return arena_printf(round->arena, "mark %#x, not %#x", judged->mark, truth->mark);
	if (judged->hit_count != truth->hit_count)
		return arena_printf(round->arena, "%zu hits, not %zu", judged->hit_count, truth->hit_count);
	for (size_t i = 0; i < truth->hit_count; i++)
		if (judged->hits[i] != truth->hits[i])
			return arena_printf(round->arena, "hit %zu is rule %u, not %u", i, judged->hits[i],
					    truth->hits[i]);
	return NULL;
}

static const struct plan *make_plan(struct round *round, const struct ruleset *ruleset)
{
	struct ruleset *copy = arena_copy(round->arena, ruleset, sizeof *ruleset);
	struct diags *diags = diags_new(round->arena);
	const struct plan *plan = NULL;

	copy->classifier = round->way->classifier;
	if (plan_build(round->arena, copy, round->hook, &round->way->options, diags, &plan))
		round->wrong = diags->list.count ? diags->list.items[0].text : "no plan and no diagnostic";
	return plan;
}

/* Which rates have tokens when the next packet comes. */
static void draw_tokens(struct random *random, bool *granted, uint32_t rules)
{
	for (uint32_t rule = 1; rule <= rules; rule++)
		granted[rule] = random_once_in(random, 2);
}

static void judge_packets(struct round *round, const struct ruleset *ruleset, const struct plan *plan)
{
	unsigned char buffer[PACKET_BYTES_MAX];
	struct packet_source source;
	struct random random = random_seed(round->seed);
	bool *granted = ARENA_ARRAY(round->arena, bool, (size_t)ruleset->rule_count + 1);
	struct model_state state = { .arena = round->arena, .granted = granted };

	packets_seed(&source, round->seed);
	packets_add_ruleset(&source, ruleset);
	for (int i = 0; i < PACKETS && !round->wrong; i++) {
		struct model_packet input;
		struct model_fields fields;
		struct model_result truth;
		struct packet packet;
		struct judged judged;

		source.well_formed = i % 4;
		packets_next_at(&source, round->hook, buffer, sizeof buffer, &input);
		model_parse(round->hook, &input, &fields);
		if (fields.malformed)
			continue;
		judge_fill(&packet, &fields);
		packet.tuned = comparisons_hold(ruleset->comparisons, ruleset->comparison_count, ruleset->tunables, &packet);
		draw_tokens(&random, granted, ruleset->rule_count);
		input.state = &state;
		model_judge(round->arena, ruleset, round->hook, &input, &truth);
		judged = judge_granting(plan, packet, plan_evaluate, granted);
		judged.mark = fields.has[FIELD_MARK] ? judged.mark : truth.mark;
		round->wrong = compare(round, &truth, &judged);
		round->judged++;
	}
}

static bool fails(const struct ruleset *ruleset, void *context)
{
	struct round *round = context;
	const struct plan *plan;

	round->wrong = NULL;
	plan = make_plan(round, ruleset);
	if (plan) {
		round->diagrams += plan->kind == PLAN_DIAGRAM;
		round->hashes += plan->kind == PLAN_TABLE && plan->table.hashed[0] + plan->table.hashed[1];
		judge_packets(round, ruleset, plan);
	}
	return round->wrong;
}

static int run_round(void *context)
{
	struct round *round = context;
	const struct ruleset *small;

	round->ruleset = policies_random(round->arena, round->seed, round->hook, round->options);
	for (size_t i = 0; i < WAYS; i++) {
		round->way = &ways[i];
		if (!fails(round->ruleset, round))
			continue;
		small = policies_shrink(round->arena, round->ruleset, fails, round);
		fails(small, round);
		print_error("seed %llu, hook %s, %s: %s\n%s\n", (unsigned long long)round->seed,
			    hook_table[round->hook].name, round->way->name, round->wrong,
			    ruleset_print(round->arena, small));
		return -1;
	}
	return 0;
}

static void run_rounds(unsigned rounds, const struct policy_options *options)
{
	uint64_t first = random_setting("WEIR_SEED", 1);
	size_t judged = 0, diagrams = 0, hashes = 0;

	rounds = random_rounds(rounds);
	for (uint64_t seed = first; seed < first + rounds; seed++) {
		struct arena *arena = arena_new();
		struct round round = { .arena = arena, .seed = seed, .options = options,
				       .hook = (enum hook)(seed % HOOK_COUNT) };

		assert_non_null(arena);
		assert_int_equal(arena_run(arena, run_round, &round), 0);
		judged += round.judged;
		diagrams += round.diagrams;
		hashes += round.hashes;
		arena_free(arena);
	}
	print_message("# %zu packets judged, %zu diagrams, %zu hashes\n", judged, diagrams, hashes);
	assert_true(judged > rounds * 100);
	assert_true(hashes > rounds / 4);
}

static void small_policies_agree(void **state)
{
	static const struct policy_options options = { .tunables = 3 };

	(void)state;
	run_rounds(300, &options);
}

static void simple_policies_agree(void **state)
{
	static const struct policy_options options = { .rules = 60, .simple = true, .terminal_only = true };

	(void)state;
	run_rounds(60, &options);
}

static void long_policies_agree(void **state)
{
	static const struct policy_options options = { .rules = 100, .chains = 8, .depth = 3, .tunables = 4 };

	(void)state;
	run_rounds(40, &options);
}

static void policies_with_rates_agree(void **state)
{
	static const struct policy_options options = { .rules = 30, .rates = true };

	(void)state;
	run_rounds(200, &options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_policies_agree),
		cmocka_unit_test(simple_policies_agree),
		cmocka_unit_test(long_policies_agree),
		cmocka_unit_test(policies_with_rates_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
