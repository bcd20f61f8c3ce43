/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences of random pairs of policies, one a little changed: every difference that random packets meet is among
 * the kinds, every example is one when it is read back, and what is equivalent has none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/packet_build.h"
#include "lang/lang.h"
#include "plan/diff.h"
#include "tests/lib/packets.h"
#include "tests/lib/policies.h"

enum { PACKETS = 300 };

struct round {
	struct arena *arena;
	uint64_t seed;
	enum hook hook;
	const struct policy_options *options;
	const struct ruleset *old, *new;
	struct diff diff;
	uint64_t tokens; /* bits: which rates have tokens */
	size_t equivalent, different, unknown, found, given;
	const char *wrong;
};

/* --- changing a policy a little --------------------------------------------------------------------------------- */

static const struct cond *change_cond(struct arena *arena, struct random *random, const struct cond *cond)
{
	struct cond *changed = arena_copy(arena, cond, sizeof *cond);
	const struct cond **items;
	struct range *ranges;
	size_t at;

	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		items = arena_copy(arena, cond->list.items, cond->list.count * sizeof *items);
		at = random_below(random, (uint32_t)cond->list.count);
		items[at] = change_cond(arena, random, items[at]);
		changed->list.items = items;
		break;
	case COND_NOT:
		changed->inner = change_cond(arena, random, cond->inner);
		break;
	case COND_MATCH:
		ranges = arena_copy(arena, cond->match.ranges, cond->match.count * sizeof *ranges);
		at = random_below(random, (uint32_t)cond->match.count);
		if (ranges[at].lo < ranges[at].hi)
			ranges[at].hi--;
		changed->match.ranges = ranges;
		break;
	default:
		break;
	}
	return changed;
}

static void change_rule(struct arena *arena, struct random *random, struct rule *rule)
{
	struct action *actions = arena_copy(arena, rule->actions, rule->action_count * sizeof *actions);
	struct action *last = &actions[rule->action_count - 1];

	if (rule_rate(rule) && random_once_in(random, 2)) {
		struct rate *rate = arena_copy(arena, rule_rate(rule), sizeof *rate);

		rate->burst++;
		actions[0].rate = rate;
		rule->actions = actions;
	} else if (rule->cond && random_below(random, 3)) {
		rule->cond = change_cond(arena, random, rule->cond);
	} else if (last->kind == ACTION_VERDICT) {
		last->verdict = last->verdict == VERDICT_ACCEPT ? VERDICT_DROP : VERDICT_ACCEPT;
		rule->actions = actions;
	}
}

static void swap_rules(struct rule *rules, size_t at)
{
	struct rule first = rules[at];
	uint32_t number = rules[at].number;

	rules[at] = rules[at + 1];
	rules[at].number = number;
	first.number = rules[at + 1].number;
	rules[at + 1] = first;
}

static const struct ruleset *change(struct round *round, struct random *random)
{
	struct ruleset *changed = arena_copy(round->arena, round->old, sizeof *round->old);
	struct chain *chains = arena_copy(round->arena, changed->chains, changed->chain_count * sizeof *chains);
	struct chain *chain = &chains[random_below(random, (uint32_t)changed->chain_count)];
	struct rule *rules = arena_copy(round->arena, chain->rules, chain->rule_count * sizeof *rules);
	size_t at;

	changed->chains = chains;
	if (!chain->rule_count)
		return changed;
	at = random_below(random, (uint32_t)chain->rule_count);
	chain->rules = rules;
	if (at + 1 < chain->rule_count && random_once_in(random, 3))
		swap_rules(rules, at);
	else
		change_rule(round->arena, random, &rules[at]);
	return changed;
}

/* --- checking --------------------------------------------------------------------------------------------------- */

/* Whether rates of some kind have tokens: rates that are the same are treated alike. */
static const bool *tokens(const struct round *round, const struct ruleset *ruleset)
{
	bool *granted = ARENA_ARRAY(round->arena, bool, (size_t)ruleset->rule_count + 1);

	for (size_t c = 0; c < ruleset->chain_count; c++)
		for (size_t r = 0; r < ruleset->chains[c].rule_count; r++) {
			const struct rule *rule = &ruleset->chains[c].rules[r];
			const struct rate *rate = rule_rate(rule);

			granted[rule->number] = true; /* what throttles drop is not compared */
			if (rate)
				granted[rule->number] = round->tokens >>
					((rate->amount * 7 + rate->burst * 3 + rate->key + rate->bits4) % 64) & 1;
		}
	return granted;
}

static struct diff_side judge(const struct round *round, const struct ruleset *ruleset,
			      const struct model_packet *packet)
{
	struct model_state state = { .arena = round->arena, .granted = tokens(round, ruleset) };
	struct model_packet remembered = *packet;
	struct model_result result;

	remembered.state = &state;
	model_judge(round->arena, ruleset, round->hook, &remembered, &result);
	return (struct diff_side){ result.verdict, result.rule };
}

static bool is_listed(const struct diff *diff, struct diff_side old, struct diff_side new)
{
	for (size_t i = 0; i < diff->kind_count; i++) {
		const struct diff_side *sides = diff->kinds[i].sides;

		if (sides[DIFF_OLD].verdict == old.verdict && sides[DIFF_OLD].rule == old.rule &&
		    sides[DIFF_NEW].verdict == new.verdict && sides[DIFF_NEW].rule == new.rule)
			return true;
	}
	return false;
}

static void check_packet(struct round *round, const struct model_packet *packet)
{
	struct diff_side old = judge(round, round->old, packet), new = judge(round, round->new, packet);

	if (old.verdict == new.verdict)
		return;
	round->found++;
	if (!round->diff.unknown &&
	    (round->options->rates ? !round->diff.kind_count : !is_listed(&round->diff, old, new)))
		round->wrong = arena_printf(round->arena, "%s: rule %d against %d is no kind",
					    packet_print(round->arena, round->hook, packet, round->old), old.rule,
					    new.rule);
}

static void check_packets(struct round *round)
{
	unsigned char buffer[PACKET_BYTES_MAX];
	struct packet_source source;
	struct model_packet packet;

	packets_seed(&source, round->seed);
	packets_add_ruleset(&source, round->old);
	packets_add_ruleset(&source, round->new);
	for (int i = 0; i < PACKETS && !round->wrong; i++) {
		source.well_formed = i % 4;
		packets_next_at(&source, round->hook, buffer, sizeof buffer, &packet);
		round->tokens = random_next(&source.random);
		check_packet(round, &packet);
	}
}

enum { TOKENS_TRIED = 200 };

static void check_example(struct round *round, const struct diff_kind *kind)
{
	static const struct names no_names = { .context = NULL };
	const struct source source = { "packet", kind->packet, strlen(kind->packet) };
	struct random random = random_seed(round->seed);
	struct diff_side old, new;
	struct model_fields fields;
	struct model_packet packet;

	if (lang_packet(round->arena, &source, round->hook, round->old, &no_names, diags_new(round->arena), &fields) ||
	    packet_build(round->arena, round->hook, &fields, &packet)) {
		round->wrong = arena_printf(round->arena, "%s: cannot be read", kind->packet);
		return;
	}
	/* For some state of the buckets: which one, the text does not say. */
	for (int i = 0; i < TOKENS_TRIED; i++) {
		round->tokens = i ? random_next(&random) : ~0ull;
		old = judge(round, round->old, &packet);
		new = judge(round, round->new, &packet);
		if (old.rule == kind->sides[DIFF_OLD].rule && new.rule == kind->sides[DIFF_NEW].rule)
			break;
	}
	if (old.rule != kind->sides[DIFF_OLD].rule || new.rule != kind->sides[DIFF_NEW].rule ||
	    old.verdict == new.verdict)
		round->wrong = arena_printf(round->arena, "%s: rule %d against %d, not %d against %d", kind->packet,
					    old.rule, new.rule, kind->sides[DIFF_OLD].rule, kind->sides[DIFF_NEW].rule);
}

static int run_round(void *context)
{
	struct round *round = context;
	struct random random;

	random = random_seed(round->seed);
	round->old = policies_random(round->arena, round->seed, round->hook, round->options);
	round->new = change(round, &random);
	plan_diff(round->arena, round->old, round->new, round->hook, &round->diff);
	check_packets(round);
	for (size_t i = 0; i < round->diff.kind_count && !round->wrong; i++)
		if (round->diff.kinds[i].given)
			round->given++;
		else
			check_example(round, &round->diff.kinds[i]);
	round->different += round->diff.kind_count > 0;
	round->unknown += round->diff.unknown != NULL;
	round->equivalent += !round->diff.kind_count && !round->diff.unknown;
	if (!round->wrong)
		return 0;
	print_error("seed %llu, hook %s: %s\n%s%s\n", (unsigned long long)round->seed, hook_table[round->hook].name,
		    round->wrong, ruleset_print(round->arena, round->old), ruleset_print(round->arena, round->new));
	return -1;
}

static void run_rounds(unsigned rounds, const struct policy_options *options)
{
	uint64_t first = random_setting("WEIR_SEED", 1);
	struct round sum = { .options = options };

	rounds = random_rounds(rounds);
	for (uint64_t i = 0; i < rounds; i++) {
		struct round round = sum;

		round.arena = arena_new();
		round.seed = first + i;
		round.hook = (enum hook)(round.seed % HOOK_COUNT);
		assert_int_equal(arena_run(round.arena, run_round, &round), 0);
		arena_free(round.arena);
		sum = round;
	}
	print_message("# %zu equivalent, %zu different, %zu not known; %zu packets differ; %zu kinds given sets\n",
		      sum.equivalent, sum.different, sum.unknown, sum.found, sum.given);
	assert_true(sum.equivalent > rounds / 20);
	assert_true(sum.different > rounds / 20);
	assert_true(sum.unknown <= rounds / 50);
}

static void small_policies(void **state)
{
	static const struct policy_options options = { .rules = 6, .knocks = 2 };

	(void)state;
	run_rounds(300, &options);
}

static void simple_policies(void **state)
{
	static const struct policy_options options = { .rules = 40, .simple = true, .terminal_only = true };

	(void)state;
	run_rounds(60, &options);
}

/* One kind stands for all that tokens make of a pair of rules: that there is one is asked. */
static void policies_with_rates(void **state)
{
	static const struct policy_options options = { .rules = 6, .rates = true };

	(void)state;
	run_rounds(200, &options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_policies),
		cmocka_unit_test(simple_policies),
		cmocka_unit_test(policies_with_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
