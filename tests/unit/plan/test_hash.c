/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hashes of tables: rules that are in one or beside one, judged as a search rule by rule does; keys that are many, or equal, or
 * chosen so that they meet in one group whatever the factors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bpf/plane_abi.h"
#include "plan/plan.h"
#include "tests/lib/ir_text.h"
#include "tests/lib/random.h"

/* A rule that accepts; 0 in `ttl`: any. */
struct one {
	uint32_t dst, mask;
	uint16_t lo, hi; /* ports */
	uint8_t proto, ttl;
};

enum { RULES_MAX = 4000 };

struct round {
	struct arena *arena;
	struct one rules[RULES_MAX];
	unsigned count;
	size_t hash_min;
	const struct plan *plan;
};

static int make(void *context)
{
	struct round *round = context;
	const struct plan_options options = { .hash_min = round->hash_min };
	char *text = arena_alloc(round->arena, 200 * (size_t)round->count + 200), *end = text;

	end += sprintf(end, "policy \"p\" { attach xdp \"lo\" default drop classifier table chain \"main\" {\n");
	for (unsigned i = 0; i < round->count; i++) {
		const struct one *one = &round->rules[i];
		uint32_t last = one->dst | ~one->mask;

		end += sprintf(end, "rule %u accept if all(proto = %u, ip.dst in {%u.%u.%u.%u-%u.%u.%u.%u}, dst_port in {%u-%u}",
			       i + 1, one->proto, one->dst >> 24, one->dst >> 16 & 255, one->dst >> 8 & 255, one->dst & 255,
			       last >> 24, last >> 16 & 255, last >> 8 & 255, last & 255, one->lo, one->hi);
		end += sprintf(end, one->ttl ? ", ttl = %u)\n" : ")\n", one->ttl);
	}
	sprintf(end, "} }");
	assert_int_equal(plan_build(round->arena, ir_text_parse(round->arena, text), HOOK_XDP, &options,
				    diags_new(round->arena), &round->plan), 0);
	assert_int_equal(round->plan->kind, PLAN_TABLE);
	return 0;
}

static struct round *begin(size_t hash_min)
{
	struct arena *arena = arena_new();
	struct round *round = arena_alloc(arena, sizeof *round);

	*round = (struct round){ .arena = arena, .hash_min = hash_min };
	return round;
}

static bool holds(const struct one *one, const struct packet *packet)
{
	return !((packet->dst4 ^ one->dst) & one->mask) && packet->dst_port >= one->lo && packet->dst_port <= one->hi &&
	       packet->proto == one->proto && (!one->ttl || packet->ttl == one->ttl);
}

static uint32_t decided(const struct round *round, const struct packet *packet)
{
	for (unsigned i = 0; i < round->count; i++)
		if (holds(&round->rules[i], packet))
			return ANSWER(ANSWER_ACCEPT, SLOT_RULE(i + 1));
	return ANSWER(ANSWER_DROP, SLOT_DEFAULT);
}

static struct packet packet_to(uint32_t dst, uint32_t port, uint16_t proto, uint8_t ttl)
{
	return (struct packet){ .family = FAMILY_IPV4, .src4 = 0x0a000001, .dst4 = dst, .src_port = 4000, .dst_port = port,
				.proto = proto, .ttl = ttl, .tcp_flags = ABSENT_FLAGS, .icmp_type = ABSENT_ICMP,
				.icmp_code = ABSENT_ICMP, .vlan = ABSENT_VLAN };
}

static void judge_one(const struct round *round, struct packet packet)
{
	assert_int_equal(plan_evaluate(round->plan, &packet), decided(round, &packet));
}

/* Packets of the rules, and such as differ in one thing. */
static void judge_all(const struct round *round)
{
	for (unsigned i = 0; i < round->count; i++) {
		const struct one *one = &round->rules[i];

		judge_one(round, packet_to(one->dst, one->lo, one->proto, one->ttl));
		judge_one(round, packet_to(one->dst ^ 1, one->lo, one->proto, one->ttl));
		judge_one(round, packet_to(one->dst, one->hi ^ 1u, one->proto, one->ttl));
		judge_one(round, packet_to(one->dst, one->lo, one->proto ^ 6 ^ 17, one->ttl));
		judge_one(round, packet_to(one->dst, ABSENT_PORT, one->proto, one->ttl));
	}
}

static struct one exact(uint32_t dst, uint32_t port)
{
	return (struct one){ .dst = dst, .mask = UINT32_MAX, .lo = (uint16_t)port, .hi = (uint16_t)port, .proto = 6 };
}

static void exact_rules_are_all_in_the_hash(void **state)
{
	struct random random = random_seed(random_setting("WEIR_SEED", 1));
	struct round *round = begin(0);

	(void)state;
	for (; round->count < RULES_MAX; round->count++)
		round->rules[round->count] = exact((uint32_t)random_next(&random), random_below(&random, 0x10000));
	assert_int_equal(arena_run(round->arena, make, round), 0);
	assert_int_equal(round->plan->table.hashed[0], RULES_MAX);
	assert_int_equal(round->plan->table.config.trees4, 0);
	judge_all(round);
	arena_free(round->arena);
}

/* Few addresses and ports: keys that come again, that broader rules hide or that ask for more, in any order. */
static void keys_meet_other_rules(void **state)
{
	unsigned rounds = random_rounds(200);
	uint64_t seed = random_setting("WEIR_SEED", 1);
	size_t hashed = 0;

	(void)state;
	for (unsigned i = 0; i < rounds; i++) {
		struct random random = random_seed(seed + i);
		struct round *round = begin(1 + i % 3);

		while (round->count < 60) {
			struct one *one = &round->rules[round->count++];

			*one = exact(0x0a000000 + random_below(&random, 8), random_below(&random, 3) ? random_below(&random, 8) : 0xffff);
			one->ttl = random_once_in(&random, 6) ? 1 : 0;
			one->proto = random_once_in(&random, 4) ? 17 : 6;
			if (random_once_in(&random, 8))
				one->hi = (uint16_t)random_between(&random, one->lo, 0xffff);
			if (random_once_in(&random, 8)) {
				one->mask <<= random_below(&random, 4);
				one->dst &= one->mask;
			}
		}
		if (arena_run(round->arena, make, round))
			fail_msg("seed %llu", (unsigned long long)(seed + i));
		hashed += round->plan->table.hashed[0] > 0;
		judge_all(round);
		arena_free(round->arena);
	}
	assert_true(hashed > rounds / 2);
}

/* --- keys that are chosen ---------------------------------------------------------------------------------------- */

enum { SEEDS_MOST = 4, MEETING = 60, GROUPS = 4 }; /* more than two of 2^4 groups may have */

/* Ports are all the same: the key of a destination, less that of destination 0. */
static uint64_t factor_of(const struct plan *plan)
{
	const struct table_hash *hash = &plan->table.config.hashes[0];
	uint64_t factor = 0;

	for (unsigned i = 0; i < hash->keys; i++)
		for (unsigned j = 0; j < TABLE_KEY_PARTS; j++)
			if (hash->key[i].masks[j] && hash->key[i].words[j] == offsetof(struct packet, dst4) / 8)
				factor = hash->key[i].factor << hash->key[i].shifts[j];
	return factor;
}

/* Destinations whose keys are in one group or in two, by each of the factors, and some others. */
static void choose(struct round *round, const uint64_t *factors, unsigned count)
{
	uint64_t sums[SEEDS_MOST] = { 0 };
	struct random random = random_seed(count);
	uint32_t dst = 0;

	round->count = 0;
	while (round->count < MEETING) {
		uint64_t all = 0;

		dst++;
		for (unsigned i = 0; i < count; i++)
			all |= sums[i] += factors[i];
		if (!(all >> (64 - GROUPS)))
			round->rules[round->count++] = exact(dst, 443);
	}
	while (round->count < 4 << GROUPS)
		round->rules[round->count++] = exact((uint32_t)random_next(&random) | 0x80000000, 443);
}

static void keys_that_meet_are_tried_otherwise_and_left_out_at_last(void **state)
{
	uint64_t factors[SEEDS_MOST + 1] = { 0 };
	unsigned known = 0;

	(void)state;
	for (;;) {
		struct round *round = begin(8);

		choose(round, factors, known);
		assert_int_equal(arena_run(round->arena, make, round), 0);
		judge_all(round);
		if (round->plan->table.hashed[0] < round->count) {
			arena_free(round->arena);
			break;
		}
		assert_int_equal(round->plan->table.config.trees4, 0);
		assert_true(known < SEEDS_MOST);
		factors[known] = factor_of(round->plan);
		for (unsigned i = 0; i < known; i++)
			assert_true(factors[i] != factors[known]);
		known++;
		arena_free(round->arena);
	}
	assert_int_equal(known, SEEDS_MOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_rules_are_all_in_the_hash),
		cmocka_unit_test(keys_meet_other_rules),
		cmocka_unit_test(keys_that_meet_are_tried_otherwise_and_left_out_at_last),
	};

	return cmocka_run_group_tests_name("plan/hash", tests, NULL, NULL);
}
