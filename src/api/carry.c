/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which counts a policy takes over from the one that it replaces. In: both descriptions and texts; out: for each slot the old
 * one. Rules are known by their chain and text, equal ones by their order.
 */
#include <string.h>

#include "api/api.h"
#include "base/hash.h"

struct counted {
	const char *chain, *text; /* of a rule; else what is counted, and a name */
	uint32_t times;           /* so many like it came before */
	uint32_t slot;
};

/* A hash table; its size is a power of two and more than twice what is in it. `items[i].text` NULL: none there. */
struct slots {
	struct counted *items;
	size_t size;
};

static struct slots slots_new(struct arena *arena, size_t count)
{
	struct slots slots = { .size = 4 };

	while (slots.size <= 2 * count)
		slots.size *= 2;
	slots.items = ARENA_ARRAY(arena, struct counted, slots.size);
	return slots;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	hash = hash_bytes(hash, text, strlen(text));
	return hash ^ hash >> 29;
}

/* Where the like of it is, or would come. */
static struct counted *slots_find(const struct slots *slots, const struct counted *wanted)
{
	uint64_t hash = hash_text(hash_text(0xcbf29ce484222325 + wanted->times * 0x9e3779b97f4a7c15, wanted->chain), wanted->text);

	for (size_t at = hash & (slots->size - 1);; at = (at + 1) & (slots->size - 1)) {
		struct counted *item = &slots->items[at];

		if (!item->text || (item->times == wanted->times && !strcmp(item->text, wanted->text) &&
				    !strcmp(item->chain, wanted->chain)))
			return item;
	}
}

/* Everything of a policy that counts. */
struct counts {
	struct counted *items;
	size_t count;
};

static void add(struct counts *counts, const char *what, const char *name, uint32_t slot)
{
	counts->items[counts->count++] = (struct counted){ .chain = what, .text = name ? name : "", .slot = slot };
}

static void add_rules(struct arena *arena, const struct described *policy, struct counts *counts)
{
	struct slots seen = slots_new(arena, policy->rule_count);

	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct meta_rule *rule = &policy->rules[i];
		struct counted counted = {
			.chain = json_string_value(json_array_get(json_object_get(policy->json, "chains"), rule->chain)),
			.text = span_fold(arena, meta_span(policy, rule)),
		};
		struct counted *before = slots_find(&seen, &counted);

		if (!before->text)
			*before = counted;
		counted.times = before->slot++; /* in that table, how many there were */
		counted.slot = rule->slot;
		counts->items[counts->count++] = counted;
	}
}

static struct counts collect(struct arena *arena, const struct described *policy)
{
	json_t *counters = json_object_get(policy->json, "counters"), *counter;
	struct counts counts = { .count = 0 };
	size_t index;

	counts.items = ARENA_ARRAY(arena, struct counted, policy->rule_count + json_array_size(counters) + 3);
	add_rules(arena, policy, &counts);
	json_array_foreach(counters, index, counter)
		add(&counts, " counter", json_string_value(counter), meta_counter_slot(policy->json, index));
	add(&counts, " default", json_string_value(json_object_get(policy->json, "default")), SLOT_DEFAULT);
	add(&counts, " malformed", "", SLOT_MALFORMED);
	add(&counts, " non_ip", "", SLOT_NON_IP);
	return counts;
}

const int32_t *meta_carry(struct arena *arena, const struct described *old, const struct described *now, uint32_t slots)
{
	int32_t *carry = ARENA_ARRAY(arena, int32_t, slots);
	struct counts was = collect(arena, old), is = collect(arena, now);
	struct slots olds = slots_new(arena, was.count);

	for (size_t i = 0; i < was.count; i++)
		*slots_find(&olds, &was.items[i]) = was.items[i];
	memset(carry, 0xff, slots * sizeof *carry); /* -1 */
	for (size_t i = 0; i < is.count; i++) {
		const struct counted *found = slots_find(&olds, &is.items[i]);

		if (found->text && is.items[i].slot < slots)
			carry[is.items[i].slot] = (int32_t)found->slot;
	}
	return carry;
}
