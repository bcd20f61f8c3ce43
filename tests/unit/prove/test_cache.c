/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keys of the cache of answers: what the planner lays out tells apart whatever the rules look at, by a reading of its own here
 * and by the prover's; and every key that lacks or mixes something of it is refused by the prover.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/ir_text.h"
#include "tests/lib/policies.h"
#include "tests/lib/random.h"
#include "tests/unit/prove/subject.h"

static const enum hook hooks[] = { HOOK_XDP, HOOK_TC_INGRESS, HOOK_TC_EGRESS };

struct round {
	struct arena *arena;
	struct random random;
	struct subject subject;
	struct cache_config cache; /* the plan's, and then a harmed one */
	unsigned kept, harmed;
};

static enum prove_outcome proof(struct round *round, const char **ret_reason)
{
	struct prove_input input = subject_input(&round->subject);
	struct prove_result result;

	input.cache = &round->cache;
	input.node_max = 400000;
	prove_run(round->arena, &input, &result);
	*ret_reason = result.reason;
	return result.outcome;
}

/* --- keys ----------------------------------------------------------------------------------------------------------- */

static void key_of(const struct cache_family *family, bool six, const struct packet *packet, uint64_t key[CACHE_KEY_WORDS])
{
	unsigned at = 0;
	uint64_t words[18];

	memcpy(words, packet, sizeof words);
	memset(key, 0, CACHE_KEY_WORDS * sizeof *key);
	if (six) {
		for (; at < 4; at++)
			key[at] = words[at];
	} else {
		key[at++] = (uint64_t)packet->src4 << 32 | packet->dst4;
	}
	key[at++] = (uint64_t)packet->src_port << 32 | packet->dst_port;
	key[at++] = (uint64_t)packet->proto << 48 | (uint64_t)packet->tcp_flags << 32 | (uint32_t)packet->icmp_type << 16 | packet->icmp_code;
	for (const struct table_key *extra = family->extra; at < family->words; extra++, at++)
		for (unsigned i = 0; i < TABLE_KEY_PARTS; i++)
			key[at] += (words[extra->words[i]] & extra->masks[i]) << extra->shifts[i];
}

/* Any one bit of what the rules look at makes another key. */
static void assert_told_apart(struct round *round, bool six)
{
	const struct cache_family *family = &round->cache.families[six];

	for (int field = 0; field < FIELD_COUNT; field++) {
		const struct field_info *info = &field_table[field];
		uint64_t one[CACHE_KEY_WORDS], other[CACHE_KEY_WORDS];
		struct packet packet;
		unsigned bit;

		if (!(round->subject.plan->needed & FIELD_BIT(field)) || !info->size || field == FIELD_FAMILY ||
		    info->presence == (six ? PRESENT_IPV4 : PRESENT_IPV6))
			continue;
		for (size_t i = 0; i < sizeof packet; i++)
			((uint8_t *)&packet)[i] = (uint8_t)random_below(&round->random, 256);
		key_of(family, six, &packet, one);
		bit = random_below(&round->random, info->size * 8u);
		((uint8_t *)&packet)[info->offset + bit / 8] ^= (uint8_t)(1u << bit % 8);
		key_of(family, six, &packet, other);
		assert_memory_not_equal(one, other, sizeof one);
	}
}

/* --- harm ----------------------------------------------------------------------------------------------------------- */

static bool asks_for(const struct round *round, unsigned word, uint64_t mask)
{
	for (int field = 0; field < FIELD_COUNT; field++) {
		const struct field_info *info = &field_table[field];
		uint64_t bits = info->size < 8 ? ((uint64_t)1 << info->size * 8) - 1 : UINT64_MAX;

		if (round->subject.plan->needed & FIELD_BIT(field) && info->size && info->offset / 8u == word &&
		    bits << info->offset % 8 * 8 & mask)
			return true;
	}
	return false;
}

/* One way to spoil a key; false if this key has nothing to be spoiled so. */
static bool harm(struct round *round, struct cache_family *family, bool six)
{
	unsigned extras = family->words - (six ? CACHE_FIXED6 : CACHE_FIXED4);
	struct table_key *key = &family->extra[random_below(&round->random, extras ? extras : 1)];
	unsigned part = random_below(&round->random, TABLE_KEY_PARTS);
	uint64_t bit = (uint64_t)1 << random_below(&round->random, 64);

	switch (random_below(&round->random, 4)) {
	case 0:
		family->words = (uint8_t)(random_once_in(&round->random, 2) ? family->words - 1 : CACHE_KEY_WORDS + 1);
		return family->words;
	case 1: /* a bit less */
		if (!extras || !(key->masks[part] & bit) || !asks_for(round, key->words[part], bit))
			return false;
		key->masks[part] &= ~bit;
		return true;
	case 2: /* another word */
		if (!extras || !key->masks[part])
			return false;
		key->words[part] = (uint8_t)((key->words[part] + 1) % TABLE_REST);
		return true;
	default: /* some of it lost, or on top of another part */
		if (!extras || !key->masks[part])
			return false;
		key->shifts[part] = (uint8_t)(64 - (unsigned)__builtin_clzll(key->masks[part]) + key->shifts[part]);
		return key->shifts[part] < 64 && key->masks[part] >> (64 - key->shifts[part]);
	}
}

static void assert_refused(struct round *round)
{
	const struct cache_config good = round->cache;
	const char *reason;

	for (unsigned i = 0; i < 12; i++) {
		bool six = random_once_in(&round->random, 2);

		round->cache = good;
		if (!round->cache.families[six].words || !harm(round, &round->cache.families[six], six))
			continue;
		assert_int_equal(proof(round, &reason), PROVE_UNKNOWN);
		assert_non_null(strstr(reason, "cache of answers"));
		round->harmed++;
	}
	round->cache = good;
}

/* --- rounds --------------------------------------------------------------------------------------------------------- */

static int run_round(void *context)
{
	static const struct policy_options options = { .sets = 1, .simple = true };
	struct round *round = context;
	enum hook hook = hooks[random_below(&round->random, sizeof hooks / sizeof hooks[0])];
	struct ruleset *ruleset = arena_copy(round->arena, policies_random(round->arena, round->random.state, hook, &options),
					     sizeof *ruleset);
	const char *reason;
	enum prove_outcome outcome;

	ruleset->cache = CACHE_YES;
	if (subject_make(round->arena, ruleset, hook, NULL, &round->subject))
		return 0; /* its answers cannot be kept */
	round->cache = round->subject.plan->cache;
	outcome = proof(round, &reason);
	if (outcome == PROVE_TOO_LARGE)
		return 0;
	assert_int_equal(outcome, PROVE_EQUAL);
	round->kept++;
	for (unsigned six = 0; six < 2; six++) {
		assert_true(round->cache.families[six].words);
		assert_told_apart(round, six);
	}
	assert_refused(round);
	return 0;
}

static void random_keys(void **state)
{
	uint64_t first = random_setting("WEIR_SEED", 1);
	unsigned kept = 0, harmed = 0;

	(void)state;
	print_message("# seed %llu\n", (unsigned long long)first);
	for (uint64_t seed = first; seed < first + 60; seed++) {
		struct round round = { .arena = arena_new(), .random = random_seed(seed) };

		assert_non_null(round.arena);
		assert_int_equal(arena_run(round.arena, run_round, &round), 0);
		kept += round.kept;
		harmed += round.harmed;
		arena_free(round.arena);
	}
	print_message("# %u policies, %u harmed keys\n", kept, harmed);
	assert_true(kept >= 10 && harmed >= 50);
}

/* --- what must not be kept ------------------------------------------------------------------------------------------ */

static const char *const changing[] = {
	"\tset \"s\" address max 1024 {\n\t\t10.0.0.1\n\t}\n\tchain \"main\" {\n\t\trule 1 accept if ip.src in set \"s\"\n\t}\n",
	"\ttunable \"t\" 100\n\tchain \"main\" {\n\t\trule 1 accept if length in {0-99} by \"t\" below\n\t}\n",
};

static int run_changing(void *context)
{
	struct arena *arena = ((struct round *)context)->arena;

	for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++) {
		struct round round = { .arena = arena };
		const char *text = arena_printf(arena, "policy \"p\" {\n\tattach xdp \"lo\"\n\tdefault drop\n%s}\n", changing[i]);
		struct ruleset *ruleset = arena_copy(arena, ir_text_parse(arena, text), sizeof *ruleset);
		const char *reason;

		ruleset->cache = CACHE_YES;
		assert_int_equal(subject_make(arena, ruleset, HOOK_XDP, NULL, &round.subject), -1);
		ruleset->cache = CACHE_AUTO;
		assert_int_equal(subject_make(arena, ruleset, HOOK_XDP, NULL, &round.subject), 0);
		assert_int_equal(round.subject.plan->cache_chunks, 0);
		round.cache.families[0].words = CACHE_FIXED4;
		assert_int_equal(proof(&round, &reason), PROVE_UNKNOWN);
		assert_non_null(strstr(reason, "answers are kept that depend on"));
	}
	return 0;
}

static void what_changes(void **state)
{
	struct round round = { .arena = arena_new() };

	(void)state;
	assert_non_null(round.arena);
	assert_int_equal(arena_run(round.arena, run_changing, &round), 0);
	arena_free(round.arena);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(random_keys), cmocka_unit_test(what_changes) };

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
