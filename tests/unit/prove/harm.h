/* SPDX-License-Identifier: GPL-2.0-only */
/* For tests that plant bugs: packets to judge, and maps that answer as the kernel's do, whatever key they are given. */
#ifndef WEIR_TESTS_PROVE_HARM_H
#define WEIR_TESTS_PROVE_HARM_H

#include "tests/lib/packets.h"
#include "tests/unit/plan/judge.h"

static inline u128 harm_big_endian(const unsigned char *octets, unsigned size)
{
	u128 value = 0;

	for (unsigned i = 0; i < size; i++)
		value = value << 8 | octets[i];
	return value;
}

/* An LPM trie finds elements that are no longer than what is asked for. */
static inline bool harm_in_trie(const struct plan_set *set, const unsigned char *key)
{
	unsigned bits = set->key == KEY_IPV4 ? 32 : 128;
	u128 value = harm_big_endian(key + 4, bits / 8);
	uint32_t length;

	memcpy(&length, key, sizeof length);
	for (size_t i = 0; i < set->count && length <= bits; i++) {
		u128 span = set->elements[i].hi - set->elements[i].lo;

		if (value >= set->elements[i].lo && value <= set->elements[i].hi &&
		    (length == bits || span >= u128_max(bits - length)))
			return true;
	}
	return false;
}

/* The context is the plan. */
static inline bool harm_find(void *context, uint32_t number, const void *key)
{
	const struct plan *plan = context;
	const struct plan_set *set = &plan->sets[number];
	uint64_t parts[2] = { 0, 0 };
	u128 value;

	if (set->lpm)
		return harm_in_trie(set, key);
	memcpy(parts, key, set->key == KEY_IPV6 ? 16 : set->key == KEY_IPV4 ? 4 : 8);
	value = set->key == KEY_IPV6 ? u128_make(parts[0], parts[1]) : parts[0];
	for (size_t i = 0; i < set->count; i++)
		if (value >= set->elements[i].lo && value <= set->elements[i].hi)
			return true;
	return false;
}

/* Random packets near what the rules name, none malformed. */
static inline struct packet *harm_packets(struct arena *arena, const struct ruleset *ruleset, enum hook hook,
					  size_t count)
{
	struct packet *packets = ARENA_ARRAY(arena, struct packet, count);
	unsigned char buffer[PACKET_BYTES_MAX];
	struct packet_source source;

	packets_seed(&source, 7);
	packets_add_ruleset(&source, ruleset);
	source.well_formed = true;
	for (size_t i = 0; i < count;) {
		struct model_packet input;
		struct model_fields fields;

		packets_next_at(&source, hook, buffer, sizeof buffer, &input);
		model_parse(hook, &input, &fields);
		if (!fields.malformed)
			judge_fill(&packets[i++], &fields);
	}
	return packets;
}

/* Whether the two did the same. */
static inline bool harm_same(const struct judged *a, const struct judged *b)
{
	return !a->error == !b->error && a->logs == b->logs && a->others == b->others && a->verdict == b->verdict &&
	       a->slot == b->slot && a->mark == b->mark && a->hit_count == b->hit_count &&
	       !memcmp(a->hits, b->hits, a->hit_count * sizeof a->hits[0]);
}

#endif
