/* SPDX-License-Identifier: GPL-2.0-only */
/* Random policies, planned in every way: what the compiler makes of them is proven, or too large, never different. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/ir_text.h"
#include "tests/lib/policies.h"
#include "tests/lib/random.h"
#include "tests/unit/prove/subject.h"

static const struct way {
	const char *name;
	enum classifier classifier;
	struct plan_options options;
} ways[] = {
	{ "diagram", CLASSIFIER_DIAGRAM, { 0 } },
	{ "list", CLASSIFIER_LIST, { 0 } },
	{ "diagram with maps", CLASSIFIER_DIAGRAM, { .inline_set_min = 2 } },
	{ "list with maps", CLASSIFIER_LIST, { .inline_set_min = 2 } },
	{ "table", CLASSIFIER_TABLE, { 0 } },
	{ "table that bisects", CLASSIFIER_TABLE, { .bisect_min = 1 } },
	{ "table with maps", CLASSIFIER_TABLE, { .inline_set_min = 2, .touched_min = 1 } },
	{ "table with a hash", CLASSIFIER_TABLE, { .hash_min = 1 } },
};
enum { WAYS = sizeof ways / sizeof ways[0] };

struct round {
	struct arena *arena;
	uint64_t seed;
	enum hook hook;
	const struct policy_options *options;
	const struct way *way;
	size_t proven, large;
	struct prove_result result;
};

static bool fails(const struct ruleset *ruleset, void *context)
{
	struct round *round = context;
	struct ruleset *copy = arena_copy(round->arena, ruleset, sizeof *ruleset);
	struct prove_input input;
	struct subject subject;

	copy->classifier = round->way->classifier;
	round->result.outcome = PROVE_TOO_LARGE; /* so is what no diagram holds */
	if (subject_make(round->arena, copy, round->hook, &round->way->options, &subject))
		return false;
	input = subject_input(&subject);
	input.node_max = 400000;
	prove_run(round->arena, &input, &round->result);
	return round->result.outcome == PROVE_DIFFERENT || round->result.outcome == PROVE_UNKNOWN;
}

static int run_round(void *context)
{
	struct round *round = context;
	const struct ruleset *ruleset = policies_random(round->arena, round->seed, round->hook, round->options);
	const struct ruleset *small;

	for (size_t i = 0; i < WAYS; i++) {
		const struct prove_result *result = &round->result;

		round->way = &ways[i];
		if (!fails(ruleset, round)) {
			round->proven += result->outcome == PROVE_EQUAL;
			round->large += result->outcome == PROVE_TOO_LARGE;
			continue;
		}
		small = policies_shrink(round->arena, ruleset, fails, round);
		fails(small, round);
		print_error("seed %llu, hook %s, %s: %s\n  packet:  %s\n  rules:   %s\n  program: %s\n%s\n",
			    (unsigned long long)round->seed, hook_table[round->hook].name, round->way->name,
			    result->reason ? result->reason : "different", result->example, result->rules,
			    result->program, ruleset_print(round->arena, small));
		return -1;
	}
	return 0;
}

static void run_rounds(unsigned rounds, const struct policy_options *options)
{
	uint64_t first = random_setting("WEIR_SEED", 1);
	size_t proven = 0, large = 0;

	rounds = random_rounds(rounds);
	for (uint64_t seed = first; seed < first + rounds; seed++) {
		struct arena *arena = arena_new();
		struct round round = { .arena = arena, .seed = seed, .options = options,
				       .hook = (enum hook)(seed % HOOK_COUNT) };

		assert_non_null(arena);
		assert_int_equal(arena_run(arena, run_round, &round), 0);
		proven += round.proven;
		large += round.large;
		arena_free(arena);
	}
	print_message("# %zu proven, %zu too large\n", proven, large);
	assert_true(proven > large);
}

static void small_policies(void **state)
{
	static const struct policy_options options = { .tunables = 3 };

	(void)state;
	run_rounds(60, &options);
}

static void simple_policies(void **state)
{
	static const struct policy_options options = { .rules = 60, .simple = true, .terminal_only = true, .tunables = 2 };

	(void)state;
	run_rounds(15, &options);
}

static void long_policies(void **state)
{
	static const struct policy_options options = { .rules = 60, .chains = 6, .depth = 3, .knocks = 3 };

	(void)state;
	run_rounds(10, &options);
}

static void policies_with_memory(void **state)
{
	static const struct policy_options options = { .memory = true, .depth = 2 };

	(void)state;
	run_rounds(40, &options);
}

static void policies_with_rates(void **state)
{
	static const struct policy_options options = { .rules = 20, .rates = true };

	(void)state;
	run_rounds(40, &options);
}

/* --- harm done to steps that ask for tokens ---------------------------------------------------------------------- */

static const char rated_text[] =
	"policy \"p\" {\n"
	"	attach xdp \"lo\"\n"
	"	default drop\n"
	"	chain \"main\" {\n"
	"		rule 1 rate 10 packets every 1000000000 burst 5, log \"x\", accept if proto = 17\n"
	"		rule 2 rate 10 packets every 1000000000 burst 5, jump \"c\" if proto = 6\n"
	"		rule 3 accept if proto = 1\n"
	"	}\n"
	"	chain \"c\" {\n"
	"		rule 4 drop if dst_port = 80\n"
	"		rule 5 rate 1 packets every 1000000000 burst 5 per src bits 32, 64 max 16, accept\n"
	"	}\n"
	"}\n";

struct harming {
	struct arena *arena;
	const struct ruleset *ruleset;
	enum classifier classifier;
	unsigned harmed, found;
};

static enum prove_outcome outcome(struct harming *harming, const struct prove_input *input)
{
	struct prove_result result;

	prove_run(harming->arena, input, &result);
	return result.outcome;
}

/* Every step that asks: of another rate, for another rule, going on without a token as with one, not asking at all. */
static int harm_steps(void *context)
{
	struct harming *harming = context;
	struct ruleset *copy = arena_copy(harming->arena, harming->ruleset, sizeof *copy);
	struct subject subject = { .hook = HOOK_XDP };
	struct prove_input input;
	struct step *steps;
	struct rate_limit *rates;

	copy->classifier = harming->classifier;
	assert_int_equal(subject_make(harming->arena, copy, HOOK_XDP, NULL, &subject), 0);
	input = subject_input(&subject);
	assert_int_equal(outcome(harming, &input), PROVE_EQUAL);
	steps = arena_copy(harming->arena, input.steps, input.step_count * sizeof *steps);
	input.steps = steps;
	for (size_t i = 0; i < input.step_count; i++) {
		struct step right = steps[i];

		if (right.kind != STEP_RATE)
			continue;
		for (unsigned what = 0; what < 3; what++) {
			if (what == 0)
				steps[i].a++;
			else if (what == 1)
				steps[i].slot++;
			else
				steps[i].b = (uint32_t)i + 1;
			harming->harmed++;
			harming->found += outcome(harming, &input) == PROVE_DIFFERENT;
			steps[i] = right;
		}
		steps[i] = (struct step){ .kind = STEP_COUNT, .slot = right.slot };
		harming->harmed++;
		harming->found += outcome(harming, &input) == PROVE_DIFFERENT;
		steps[i] = right;
	}
	rates = arena_copy(harming->arena, input.rates, input.rate_count * sizeof *rates);
	input.rates = rates;
	rates[1].burst_ns++;
	assert_int_equal(outcome(harming, &input), PROVE_UNKNOWN);
	rates[1].burst_ns--;
	rates[1].reserve_ns++;
	assert_int_equal(outcome(harming, &input), PROVE_UNKNOWN);
	rates[1].reserve_ns--;
	rates[2].bits6--;
	assert_int_equal(outcome(harming, &input), PROVE_UNKNOWN);
	return 0;
}

static void harmed_rates_are_found(void **state)
{
	static const enum classifier classifiers[] = { CLASSIFIER_DIAGRAM, CLASSIFIER_LIST, CLASSIFIER_TABLE };

	(void)state;
	for (size_t i = 0; i < sizeof classifiers / sizeof classifiers[0]; i++) {
		struct arena *arena = arena_new();
		struct harming harming = { .arena = arena, .classifier = classifiers[i] };

		harming.ruleset = ir_text_parse(arena, rated_text);
		assert_int_equal(arena_run(arena, harm_steps, &harming), 0);
		print_message("# %u of %u found\n", harming.found, harming.harmed);
		assert_int_equal(harming.found, harming.harmed);
		arena_free(arena);
	}
}

/* --- what an example says of sets -------------------------------------------------------------------------------- */

/* Rules that drop what the program, made of others, accepts. */
static const struct assumption {
	const char *contents, *condition, *assumed;
} assumptions[] = {
	{ "10.0.0.0/8", "ip.src in set \"s\"", NULL },
	{ "", "ip.src in set \"s\"", "a member in set `s`" },
	{ "0.0.0.0/0 ::/0", "ip.dst in {10.0.0.0/8}, not(ip.src in set \"s\")", "no member in set `s`" },
};

static const struct ruleset *with_verdict(struct arena *arena, const struct assumption *assumption, const char *verdict)
{
	return ir_text_parse(arena, arena_printf(arena,
			     "policy \"p\" { attach xdp \"lo\" default drop set \"s\" prefix max 8 { %s } chain \"main\" {\n"
			     "rule 1 %s if all(proto = 6, %s) } }", assumption->contents, verdict, assumption->condition));
}

static void examples_say_what_sets_hold(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof assumptions / sizeof assumptions[0]; i++) {
		const struct assumption *assumption = &assumptions[i];
		struct arena *arena = arena_new();
		struct subject subject = { .hook = HOOK_XDP }, other = subject;
		struct prove_input input;
		struct prove_result result;

		assert_int_equal(subject_make(arena, with_verdict(arena, assumption, "accept"), HOOK_XDP, NULL, &subject), 0);
		assert_int_equal(subject_make(arena, with_verdict(arena, assumption, "drop"), HOOK_XDP, NULL, &other), 0);
		input = subject_input(&subject);
		input.ruleset = other.plan->ruleset;
		prove_run(arena, &input, &result);
		assert_int_equal(result.outcome, PROVE_DIFFERENT);
		assert_string_equal(result.assumed ? result.assumed : "nothing", assumption->assumed ? assumption->assumed : "nothing");
		arena_free(arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies_with_memory),
		cmocka_unit_test(small_policies),
		cmocka_unit_test(simple_policies),
		cmocka_unit_test(long_policies),
		cmocka_unit_test(policies_with_rates),
		cmocka_unit_test(harmed_rates_are_found),
		cmocka_unit_test(examples_say_what_sets_hold),
	};

	return cmocka_run_group_tests_name("prove/policies", tests, NULL, NULL);
}
