/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory that rules make the planes take for what they remember. In: a rule set; out: elements and bytes. */
#include "ir/ir.h"

/* The kernel's own: an element of a hash, and a bucket, of which there is one for each element, rounded up. */
enum { ELEMENT_BYTES = 48, BUCKET_BYTES = 16 };

uint64_t state_memory(uint32_t max, uint32_t bytes)
{
	uint64_t buckets = 1;

	while (buckets < max)
		buckets *= 2;
	return max ? (uint64_t)max * (ELEMENT_BYTES + bytes) + buckets * BUCKET_BYTES : 0;
}

/* A node of a trie, of which `max` prefixes may need twice as many, comes from the allocator's next size of 32. */
enum { NODE_BYTES = 40 };

uint64_t set_memory(bool prefixes, uint32_t max, uint32_t key_bytes)
{
	if (prefixes)
		return 2 * (uint64_t)max * ((NODE_BYTES + key_bytes + SET_VALUE_BYTES + 31) / 32 * 32);
	return state_memory(max, (key_bytes + 7) / 8 * 8 + SET_VALUE_BYTES);
}

static uint32_t add_up(uint32_t left, uint32_t right)
{
	return left > UINT32_MAX - right ? UINT32_MAX : left + right;
}

static void add_rates(const struct rule *rule, struct state_needs *needs)
{
	for (size_t i = 0; i < rule->action_count; i++) {
		const struct rate *rate = action_is_rated(&rule->actions[i]) ? rule->actions[i].rate : NULL;

		if (rate && rate->key == RATE_KEY_FLOW)
			needs->flow_buckets = add_up(needs->flow_buckets, rate->max);
		else if (rate)
			needs->buckets = add_up(needs->buckets, rate->max);
	}
}

static void add_sets(const struct ruleset *ruleset, struct state_needs *needs)
{
	for (size_t i = 0; i < ruleset->set_count; i++) {
		const struct set *set = &ruleset->sets[i];

		if (set->type == SET_PREFIX)
			needs->prefixes += set_memory(true, set->max_elements, 4) + set_memory(true, set->max_elements, 16);
		else if (set->type == SET_ADDRESS)
			needs->sets += set_memory(false, set->max_elements, 4) + set_memory(false, set->max_elements, 16);
		else
			needs->sets += set_memory(false, set->max_elements, 8);
	}
}

struct state_needs state_needs(const struct ruleset *ruleset)
{
	struct state_needs needs = { 0 };

	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			add_rates(&ruleset->chains[i].rules[j], &needs);
	for (size_t i = 0; i < ruleset->knock_count; i++)
		if (ruleset->knocks[i].max_sources > needs.knockers)
			needs.knockers = ruleset->knocks[i].max_sources;
	if (ruleset->knock_count && !needs.knockers)
		needs.knockers = KNOCKERS_DEFAULT;
	add_sets(ruleset, &needs);
	return needs;
}
