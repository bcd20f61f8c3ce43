/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model's sets: what they hold while packets change them and time goes by. Everything is looked through from the
 * first element to the last. Fails only as the arena does.
 */
#include "ir/model.h"

/* As bpf/plane_abi.h and bpf/sets.h have them. */
enum { CHANGES_OF_A_PACKET = 8, SWEEP_PERIOD_MS = 100 };

static const uint64_t ms = 1000000;

/* An element of a set that may change; ranges are split into values, but for prefixes. */
struct model_element {
	struct range range;
	bool six;
	uint64_t expires_ns; /* 0: never */
};

struct model_set {
	VEC(struct model_element) elements; /* expired ones too, until they are swept */
	uint64_t refused;
	uint64_t swept_ns;
};

static bool lives(const struct model_state *state, const struct model_element *element)
{
	return !element->expires_ns || element->expires_ns > state->now_ns;
}

static void fill(struct model_state *state, const struct ruleset *ruleset, uint32_t set, bool six)
{
	const struct set *text = &ruleset->sets[set];
	const struct range *ranges = six ? text->ranges6 : text->ranges;
	const uint32_t *timeouts = six ? text->timeouts6 : text->timeouts;

	for (size_t i = 0; i < (six ? text->count6 : text->count); i++) {
		struct model_element element = { ranges[i], six, 0 };

		if (timeouts && timeouts[i])
			element.expires_ns = state->now_ns + timeouts[i] * ms;
		for (u128 value = ranges[i].lo; text->type != SET_PREFIX && value < ranges[i].hi; value++) {
			element.range = (struct range){ value, value };
			VEC_PUSH(state->arena, &state->sets[set].elements) = element;
		}
		if (text->type != SET_PREFIX)
			element.range = (struct range){ ranges[i].hi, ranges[i].hi };
		VEC_PUSH(state->arena, &state->sets[set].elements) = element;
	}
}

void model_sets_begin(struct model_state *state, const struct ruleset *ruleset)
{
	state->sets = ARENA_ARRAY(state->arena, struct model_set, ruleset->set_count);
	for (uint32_t i = 0; i < ruleset->set_count; i++) {
		fill(state, ruleset, i, false);
		fill(state, ruleset, i, true);
	}
}

uint64_t model_sets_refused(const struct model_state *state, uint32_t set)
{
	return state->sets[set].refused;
}

bool model_set_has(const struct model_state *state, uint32_t set, bool six, u128 value)
{
	const struct model_set *found = &state->sets[set];

	for (size_t i = 0; i < found->elements.count; i++) {
		const struct model_element *element = &found->elements.items[i];

		if (element->six == six && lives(state, element) && value >= element->range.lo &&
		    value <= element->range.hi)
			return true;
	}
	return false;
}

static void drop_element(struct model_set *set, size_t at)
{
	set->elements.items[at] = set->elements.items[--set->elements.count];
}

static void sweep(struct model_state *state, struct model_set *set, bool six)
{
	set->swept_ns = state->now_ns;
	for (size_t i = set->elements.count; i--;)
		if (set->elements.items[i].six == six && !lives(state, &set->elements.items[i]))
			drop_element(set, i);
}

static size_t count_of(const struct model_set *set, bool six)
{
	size_t count = 0;

	for (size_t i = 0; i < set->elements.count; i++)
		count += set->elements.items[i].six == six;
	return count;
}

static bool has_room(struct model_state *state, struct model_set *set, uint32_t max, bool six)
{
	if (count_of(set, six) < max)
		return true;
	if (!set->swept_ns || state->now_ns >= set->swept_ns + SWEEP_PERIOD_MS * ms)
		sweep(state, set, six);
	return count_of(set, six) < max;
}

/* More time, never less. */
static void extend(const struct model_state *state, struct model_element *element, uint64_t until)
{
	if (!lives(state, element) || !until || (element->expires_ns && until > element->expires_ns))
		element->expires_ns = until;
}

static void add(struct model_state *state, struct model_set *set, uint32_t max, struct model_element fresh)
{
	for (size_t i = 0; i < set->elements.count; i++) {
		struct model_element *element = &set->elements.items[i];

		if (element->six == fresh.six && element->range.lo == fresh.range.lo) {
			extend(state, element, fresh.expires_ns);
			return;
		}
	}
	if (has_room(state, set, max, fresh.six))
		VEC_PUSH(state->arena, &set->elements) = fresh;
	else
		set->refused++;
}

void model_set_change(struct model_state *state, const struct ruleset *ruleset, const struct action *action,
		      const struct model_fields *fields, size_t nth)
{
	struct model_set *set = &state->sets[action->change.set];
	u128 value = fields->value[action->change.field];
	struct model_element element = { { value, value }, field_table[action->change.field].bits == 128, 0 };

	if (nth >= CHANGES_OF_A_PACKET) {
		set->refused++;
		return;
	}
	if (!fields->has[action->change.field])
		return;
	if (action->change.timeout_ms)
		element.expires_ns = state->now_ns + action->change.timeout_ms * ms;
	if (action->kind == ACTION_ADD) {
		add(state, set, ruleset->sets[action->change.set].max_elements, element);
		return;
	}
	for (size_t i = set->elements.count; i--;)
		if (set->elements.items[i].six == element.six && set->elements.items[i].range.lo == value)
			drop_element(set, i);
}
