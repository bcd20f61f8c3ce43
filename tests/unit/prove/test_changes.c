/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables whose rules were changed one by one: what is in force then is proven to be the rules of then; and bugs planted in the
 * newest version are found. What is shown has a packet that the harmed table judges otherwise than the unharmed one; what is
 * still proven judges random packets alike. (That versions are the rules is tested with the model, tests/unit/plan/test_patch.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/ebpf_sim.h"
#include "tests/unit/plan/changing.h"
#include "tests/unit/prove/harm.h"
#include "tests/unit/prove/subject.h"
#include "tests/unit/prove/walker.h"

enum {
	PACKETS = 200,
	ALIKE = 3,  /* bugs of one form that are planted in a round */
	FORMS = 32,
	NODES = 1000000, NODES_PLANTED = 100000,
};

/* A form of bugs, and how many of it were planted. */
struct form {
	const char *what;
	unsigned planted;
};

/* What the prover is told of a round. */
struct proof {
	struct arena *arena;
	struct prove_input input;
	struct prove_result result;
};

struct proving {
	struct round round;
	struct subject subject; /* the code, and the plan as it was built */
	struct packet *packets;
	struct plan sound;      /* an unharmed copy */
	struct form forms[FORMS];
	size_t proven, slow, planted, caught, same, open;
	const char *wrong;
};

static const struct prove_changed *changed_of(const struct round *round)
{
	struct prove_changed *changed = ARENA_NEW(round->arena, struct prove_changed);
	uint32_t *slots = ARENA_ARRAY(round->arena, uint32_t, round->count + 1);
	uint32_t *logs = ARENA_ARRAY(round->arena, uint32_t, round->count + 1);
	uint32_t *rates = ARENA_ARRAY(round->arena, uint32_t, round->count + 1);

	for (size_t i = 0; i < round->count; i++) {
		slots[i + 1] = round->list[i].slot;
		logs[i + 1] = round->list[i].log;
		rates[i + 1] = round->list[i].rate;
	}
	*changed = (struct prove_changed){ .epoch = round->done, .slots = slots, .counters = SLOT_RULE(round->built + 1),
					   .logs = logs, .rates = rates };
	return changed;
}

static struct prove_input input_of(struct proving *proving)
{
	struct round *round = &proving->round;
	struct prove_input input = subject_input(&proving->subject);

	input.ruleset = ruleset_of(round, round->list, round->count, round->all->chain_count);
	input.slots = SLOTS;
	input.steps = round->steps;
	input.step_count = round->plan.step_count;
	input.logs = round->logs;
	input.log_count = round->plan.log_count;
	input.table_words = round->plan.table.words;
	input.changed = changed_of(round);
	input.node_max = proving->packets ? NODES_PLANTED : NODES;
	return input;
}

static int run_proof(void *context)
{
	struct proof *proof = context;

	prove_run(proof->arena, &proof->input, &proof->result);
	return 0;
}

/* Texts are gone with the arena. */
static struct prove_result prove(struct proving *proving)
{
	struct proof proof = { .arena = arena_new(), .input = input_of(proving) };

	assert_int_equal(arena_run(proof.arena, run_proof, &proof), 0);
	if (proof.result.outcome != PROVE_EQUAL)
		proof.result.reason = arena_printf(proving->round.arena, "%s: for %s, given %s, the rules say %s, the table %s",
						   proof.result.reason ? proof.result.reason : "different", proof.result.example,
						   proof.result.assumed, proof.result.rules, proof.result.program);
	proof.result.assumed = proof.result.assumed ? "something" : NULL;
	arena_free(proof.arena);
	return proof.result;
}

/* --- running ----------------------------------------------------------------------------------------------------- */

static const struct proving *running;

int classify_rest(struct packet *packet)
{
	const struct subject *subject = &running->subject;
	struct ebpf_sim sim = { .plan = subject->plan, .code = subject->code, .lookup = harm_find,
				.context = (void *)subject->plan, .any_comparison = true };
	uint32_t answer;

	return ebpf_sim_run(&sim, packet, &answer) ? (int)ANSWER(3, 0) : (int)answer;
}

/* The walker itself, on the plan's blob; it notes in the packet, which is the caller's own, with which version it began. */
static uint32_t run_walker(const struct plan *plan, const struct packet *packet)
{
	walker_blob = (void *)plan->table.words;
	table_config = plan->table.config;
	epoch = running->round.done;
	return (uint32_t)classify((struct packet *)packet);
}

/* --- planting ---------------------------------------------------------------------------------------------------- */

/* With some tokens: none, all, or any. */
static bool differs_granted(const struct proving *proving, const struct packet *packet, unsigned tokens)
{
	bool granted[SLOTS];
	struct judged right, harmed;

	for (unsigned i = 0; i < SLOTS; i++)
		granted[i] = tokens < 2 ? tokens : (tokens * 2654435761u >> i % 24 ^ i) & 1;
	running = proving;
	right = judge_granting(&proving->sound, *packet, run_walker, granted);
	harmed = judge_granting(&proving->round.plan, *packet, run_walker, granted);
	return harmed.error || right.steps != harmed.steps || !harm_same(&right, &harmed);
}

enum { TOKENS_TRIED = 64 };

static bool differs(const struct proving *proving, const struct packet *packet)
{
	unsigned tries = proving->subject.plan->rate_count ? TOKENS_TRIED : 1;
	bool found = false;

	for (unsigned tokens = 0; tokens < tries && !found; tokens++)
		found = differs_granted(proving, packet, tokens);
	return found;
}

static bool some_differ(const struct proving *proving)
{
	for (size_t i = 0; i < PACKETS; i++)
		if (differs(proving, &proving->packets[i]))
			return true;
	return false;
}

static bool is_enough(struct proving *proving, const char *what)
{
	struct form *form = proving->forms;

	while (form->what && strcmp(form->what, what))
		form++;
	assert_true(form < &proving->forms[FORMS - 1]);
	form->what = what;
	return form->planted++ >= ALIKE;
}

static void try_harm(struct proving *proving, const char *what)
{
	struct prove_result result;

	if (is_enough(proving, what))
		return;
	result = prove(proving);
	proving->planted++;
	if (result.outcome == PROVE_EQUAL && some_differ(proving))
		proving->wrong = arena_printf(proving->round.arena, "%s: proven, but a packet differs", what);
	else if (result.outcome == PROVE_DIFFERENT && !result.assumed && !differs(proving, &result.packet))
		proving->wrong = arena_printf(proving->round.arena, "%s: the packet does not differ: %s", what, result.reason);
	proving->same += result.outcome == PROVE_EQUAL;
	proving->caught += result.outcome == PROVE_DIFFERENT;
	proving->open += result.outcome != PROVE_EQUAL && result.outcome != PROVE_DIFFERENT;
}

static void try_word(struct proving *proving, size_t at, uint64_t harmed, const char *what)
{
	uint64_t *words = (uint64_t *)proving->round.plan.table.words, old = words[at];

	if (proving->wrong || old == harmed)
		return;
	words[at] = harmed;
	try_harm(proving, what);
	words[at] = old;
}

static uint64_t changed_half(uint64_t word, unsigned half, uint32_t value)
{
	uint32_t parts[2];

	memcpy(parts, &word, sizeof parts);
	parts[half] = value;
	memcpy(&word, parts, sizeof word);
	return word;
}

/* A record is the same word for word as in the lists: it begins with order and answer. */
static void harm_record(struct proving *proving, size_t at, bool six, uint32_t other)
{
	const uint64_t *words = proving->round.plan.table.words;
	uint32_t stride = proving->round.header->stride, head[2];
	struct table_record4 four;
	struct table_record6 wide;
	uint64_t copy[8];

	memcpy(head, &words[at], sizeof head);
	try_word(proving, at, changed_half(words[at], 0, head[0] + 1), "order");
	try_word(proving, at, changed_half(words[at], 0, head[0] - stride), "order of another rule");
	try_word(proving, at, changed_half(words[at], 1, head[1] ^ 1), "verdict, or step");
	try_word(proving, at, changed_half(words[at], 1, head[1] + ANSWER(0, 1)), "slot, or step");
	try_word(proving, at, changed_half(words[at], 1, other), "answer of another record");
	try_word(proving, at, changed_half(words[at], 0, UINT32_MAX), "record that is not taken");
	memcpy(copy, &words[at], six ? sizeof wide : sizeof four);
	memcpy(&four, copy, sizeof four);
	memcpy(&wide, copy, sizeof wide);
	if (six)
		wide.dst_span++, wide.mask ^= 1;
	else
		four.dst_span++, four.src ^= 1;
	memcpy(copy, six ? (void *)&wide : (void *)&four, six ? sizeof wide : sizeof four);
	for (size_t i = 0; i < (six ? sizeof wide : sizeof four) / 8; i++)
		try_word(proving, at + i, copy[i], "what a record asks");
}

static void harm_leaf(struct proving *proving, uint64_t index, bool six)
{
	const uint64_t *words = proving->round.plan.table.words;
	size_t stride = six ? 8 : 4;
	uint32_t before = 0;
	uint16_t value;

	for (size_t i = 0; i < TABLE_SCAN_MAX; i++, index += stride) {
		const char *record = (const char *)&words[index];

		harm_record(proving, index, six, before);
		memcpy(&before, record + 4, sizeof before);
		memcpy(&value, record + (six ? offsetof(struct table_record6, value) : offsetof(struct table_record4, value)),
		       sizeof value);
		if (value & TABLE_LAST)
			break;
	}
}

static void harm_node(struct proving *proving, uint64_t index, bool six)
{
	uint64_t node = proving->round.plan.table.words[index], base = table_node_base(node);

	try_word(proving, index, node + ((uint64_t)1 << TABLE_BOUND_AT), "bound of a node");
	try_word(proving, index, node | (uint64_t)TABLE_BOUND_MAX << TABLE_BOUND_AT, "dropped part of a tree");
	try_word(proving, index, node + ((uint64_t)1 << TABLE_BASE_AT), "where a node leads");
	if (!table_node_bits(node) && base) {
		try_word(proving, index, node + ((uint64_t)(six ? 8 : 4) << TABLE_BASE_AT), "leaf without its first record");
		if (random_below(&proving->round.random, 3) == 0)
			harm_leaf(proving, base, six);
	}
	for (uint64_t i = 0; table_node_bits(node) && i < (uint64_t)1 << table_node_bits(node) && !proving->wrong; i++)
		if (random_below(&proving->round.random, 3) == 0)
			harm_node(proving, base + i, six);
}

/* The version as such, and what it is found by. */
static void harm_version(struct proving *proving)
{
	struct round *round = &proving->round;
	struct table_version *version = (struct table_version *)(round->plan.table.words + round->header->latest);
	const struct table_version old = *version;
	const uint64_t latest = round->header->latest;
	struct prove_result early, before;

	for (unsigned six = 0; six < 2; six++) {
		if (old.roots[six])
			harm_node(proving, old.roots[six], six);
		version->roots[six] = 0;
		try_harm(proving, "version without a tree");
		*version = old;
	}
	version->since++; /* not in force yet */
	early = prove(proving);
	*version = old;
	round->header->latest = old.before;
	before = prove(proving);
	round->header->latest = latest;
	assert_int_equal(early.outcome, before.outcome);
	version->tag = 0;
	assert_int_equal(prove(proving).outcome, PROVE_UNKNOWN);
	*version = old;
	try_word(proving, 0, 0, "no version");
	for (uint32_t i = old.steps_start; i < old.steps_end; i++) {
		struct step step = round->steps[i];

		round->steps[i].a++;
		try_harm(proving, "step");
		round->steps[i] = step;
	}
}

/* --- rounds ------------------------------------------------------------------------------------------------------ */

static bool begin(struct proving *proving)
{
	struct round *round = &proving->round;

	round->random = random_seed(round->seed);
	if (!build(round))
		return false;
	proving->subject = (struct subject){ .hook = round->hook, .plan = round->first };
	assert_int_equal(emit_code(round->arena, round->first, diags_new(round->arena), &proving->subject.code), 0);
	assert_int_equal(emit_object(round->arena, round->first, proving->subject.code, &proving->subject.object), 0);
	proving->subject.maps = subject_maps(round->arena, round->first);
	return true;
}

static void show(struct proving *proving)
{
	struct prove_result result = prove(proving);

	proving->proven += result.outcome == PROVE_EQUAL;
	proving->slow += result.suspect_count != 0;
	if (result.outcome != PROVE_EQUAL)
		proving->wrong = result.reason;
}

enum { APART = 4 }; /* changes from proof to proof */

static int prove_each(void *context)
{
	struct proving *proving = context;

	if (!begin(proving))
		return 0;
	show(proving);
	for (int i = 0; i < EDITS && !proving->wrong; i++) {
		change_one(&proving->round);
		if (i % APART == 0)
			show(proving);
	}
	return 0;
}

static void copy_sound(struct proving *proving)
{
	struct round *round = &proving->round;
	struct plan *sound = &proving->sound;

	*sound = round->plan;
	sound->table.words = arena_copy(round->arena, sound->table.words, sound->table.word_count * 8 + TABLE_SLACK);
	sound->steps = arena_copy(round->arena, sound->steps, sound->step_count * sizeof *sound->steps);
}

static int plant(void *context)
{
	struct proving *proving = context;
	struct round *round = &proving->round;

	if (!begin(proving))
		return 0;
	for (int i = 0; i < EDITS; i++)
		change_one(round);
	if (!round->header->latest)
		return 0;
	copy_sound(proving);
	proving->packets = harm_packets(round->arena, round->all, round->hook, PACKETS);
	harm_version(proving);
	return 0;
}

static struct proving run(uint64_t seed, int (*work)(void *context))
{
	static const enum hook hooks[] = { HOOK_XDP, HOOK_TC_INGRESS, HOOK_CGROUP_EGRESS, HOOK_NF_INPUT };
	struct proving proving = { .round = { .arena = arena_new(), .seed = seed, .hook = hooks[seed % 4] } };

	assert_int_equal(arena_run(proving.round.arena, work, &proving), 0);
	if (proving.wrong)
		fail_msg("seed %llu, after %zu changes: %s", (unsigned long long)seed, proving.round.done, proving.wrong);
	arena_free(proving.round.arena);
	return proving;
}

static void versions_are_proven(void **state)
{
	uint64_t rounds = 6 * random_setting("WEIR_ROUNDS", 1), seed = random_setting("WEIR_SEED", 1);
	size_t done = 0, proven = 0, slow = 0; /* slow: diagrams of the whole walk were needed */

	(void)state;
	for (uint64_t i = 0; i < rounds; i++) {
		struct proving proving = run(seed + i, prove_each);

		done += proving.round.done;
		proven += proving.proven;
		slow += proving.slow;
	}
	print_message("# seed %llu: %zu changes, %zu proofs, %zu of them slow\n", (unsigned long long)seed, done, proven, slow);
	assert_true(done > rounds * EDITS / 4 && proven >= done / APART);
	assert_int_equal(slow, 0); /* records alone show it */
}

static void planted_bugs_are_found(void **state)
{
	uint64_t rounds = 3 * random_setting("WEIR_ROUNDS", 1), seed = random_setting("WEIR_SEED", 1);
	struct proving all = { .planted = 0 };

	(void)state;
	for (uint64_t i = 0; i < rounds; i++) {
		struct proving proving = run(seed + i, plant);

		all.planted += proving.planted;
		all.caught += proving.caught;
		all.same += proving.same;
		all.open += proving.open;
	}
	print_message("# seed %llu: %zu planted, %zu caught with a packet, %zu equal, %zu undecided\n", (unsigned long long)seed,
		      all.planted, all.caught, all.same, all.open);
	assert_true(all.caught > all.planted / 4 && all.open < all.planted / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_are_proven),
		cmocka_unit_test(planted_bugs_are_found),
	};

	return cmocka_run_group_tests_name("prove/changes", tests, NULL, NULL);
}
