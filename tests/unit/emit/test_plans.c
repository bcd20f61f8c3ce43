/* SPDX-License-Identifier: GPL-2.0-only */
/* Real plans of random policies: the emitted code, interpreted, judges packets as the plan itself does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "emit/emit.h"
#include "tests/lib/ebpf_sim.h"
#include "tests/lib/packets.h"
#include "tests/lib/policies.h"
#include "tests/unit/emit/random_plan.h"
#include "tests/unit/plan/judge.h"

/* A plan with its code: what judge() hands to its callbacks begins with the plan. */
struct subject {
	struct plan plan;
	const struct code *code;
};

struct round {
	struct arena *arena;
	uint64_t seed;
	enum hook hook;
	const struct policy_options *options;
	size_t judged, diagrams;
};

static const struct way {
	enum classifier classifier;
	struct plan_options options;
} ways[] = {
	{ CLASSIFIER_AUTO, { 0 } },
	{ CLASSIFIER_LIST, { 0 } },
	{ CLASSIFIER_AUTO, { .inline_set_min = 2 } },
	{ CLASSIFIER_LIST, { .inline_set_min = 2 } },
};
enum { WAYS = sizeof ways / sizeof ways[0], PACKETS = 100 };

static uint32_t run_code(const struct plan *plan, const struct packet *packet)
{
	const struct subject *subject = (const struct subject *)plan;
	struct ebpf_sim sim = { .plan = plan, .code = subject->code, .lookup = lookup, .context = (void *)plan };
	uint32_t answer = 0;
	int error = ebpf_sim_run(&sim, packet, &answer);

	if (error)
		print_error("%s at instruction %zu\n", sim.error, sim.at);
	assert_int_equal(error, 0);
	return answer;
}

static void compare(const struct subject *subject, const struct packet *packet)
{
	struct judged walked = judge(&subject->plan, *packet, plan_evaluate);
	struct judged run = judge(&subject->plan, *packet, run_code);

	assert_null(run.error);
	assert_int_equal(run.verdict, walked.verdict);
	assert_int_equal(run.slot, walked.slot);
	assert_int_equal(run.mark, walked.mark);
	assert_int_equal(run.runs, walked.runs);
	assert_int_equal(run.hit_count, walked.hit_count);
	assert_memory_equal(run.hits, walked.hits, walked.hit_count * sizeof walked.hits[0]);
}

static void judge_packets(struct round *round, const struct subject *subject)
{
	unsigned char buffer[PACKET_BYTES_MAX];
	const struct ruleset *ruleset = subject->plan.ruleset;
	struct packet_source source;

	packets_seed(&source, round->seed);
	packets_add_ruleset(&source, subject->plan.ruleset);
	source.well_formed = true;
	for (int i = 0; i < PACKETS; i++) {
		struct model_packet input;
		struct model_fields fields;
		struct packet packet;

		packets_next_at(&source, round->hook, buffer, sizeof buffer, &input);
		model_parse(round->hook, &input, &fields);
		if (fields.malformed)
			continue;
		judge_fill(&packet, &fields);
		packet.tuned = comparisons_hold(ruleset->comparisons, ruleset->comparison_count, ruleset->tunables, &packet);
		compare(subject, &packet);
		round->judged++;
	}
}

static void check_way(struct round *round, const struct ruleset *ruleset, const struct way *way)
{
	struct ruleset *copy = arena_copy(round->arena, ruleset, sizeof *ruleset);
	struct diags *diags = diags_new(round->arena);
	struct subject subject;
	struct object object;
	const struct plan *plan;
	const char *wrong;

	copy->classifier = way->classifier;
	assert_int_equal(plan_build(round->arena, copy, round->hook, &way->options, diags, &plan), 0);
	assert_int_equal(emit_code(round->arena, plan, diags, &subject.code), 0);
	wrong = ebpf_sim_check(round->arena, subject.code);
	if (wrong)
		print_error("seed %llu: %s\n", (unsigned long long)round->seed, wrong);
	assert_null(wrong);
	assert_int_equal(emit_object(round->arena, plan, subject.code, &object), 0);
	assert_non_null(emit_disassemble(round->arena, plan, subject.code));
	subject.plan = *plan;
	round->diagrams += plan->kind == PLAN_DIAGRAM;
	if (plan->kind != PLAN_TABLE) /* whose walker is no emitted code */
		judge_packets(round, &subject);
}

static int run_round(void *context)
{
	struct round *round = context;
	const struct ruleset *ruleset = policies_random(round->arena, round->seed, round->hook, round->options);

	for (size_t i = 0; i < WAYS; i++)
		check_way(round, ruleset, &ways[i]);
	return 0;
}

static void run_rounds(unsigned rounds, const struct policy_options *options)
{
	uint64_t first = random_setting("WEIR_SEED", 1);
	size_t judged = 0, diagrams = 0;

	rounds *= (unsigned)random_setting("WEIR_ROUNDS", 1);
	for (uint64_t seed = first; seed < first + rounds; seed++) {
		struct arena *arena = arena_new();
		struct round round = { .arena = arena, .seed = seed, .options = options,
				       .hook = (enum hook)(seed % HOOK_COUNT) };

		assert_non_null(arena);
		assert_int_equal(arena_run(arena, run_round, &round), 0);
		judged += round.judged;
		diagrams += round.diagrams;
		arena_free(arena);
	}
	print_message("# %zu packets judged, %zu diagrams\n", judged, diagrams);
}

static void small_policies(void **state)
{
	static const struct policy_options options = { .tunables = 3 };

	(void)state;
	run_rounds(150, &options);
}

static void simple_policies(void **state)
{
	static const struct policy_options options = { .rules = 80, .simple = true };

	(void)state;
	run_rounds(40, &options);
}

static void long_policies(void **state)
{
	static const struct policy_options options = { .rules = 150, .chains = 8, .depth = 3 };

	(void)state;
	run_rounds(20, &options);
}

static void policies_with_memory(void **state)
{
	static const struct policy_options options = { .memory = true };

	(void)state;
	run_rounds(60, &options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies_with_memory),
		cmocka_unit_test(small_policies),
		cmocka_unit_test(simple_policies),
		cmocka_unit_test(long_policies),
	};

	return cmocka_run_group_tests_name("emit/plans", tests, NULL, NULL);
}
