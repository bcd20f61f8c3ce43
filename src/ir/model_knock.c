/* SPDX-License-Identifier: GPL-2.0-only */
/* What the model remembers of knocks. In: what a packet is; out: what is open, and what it changes. */
#include "ir/model.h"

/* Who sends knocks at nobody, and what is malformed has no family. */
static bool may_knock(const struct model_fields *fields)
{
	return fields->value[FIELD_DIRECTION] != DIRECTION_EGRESS &&
	       (fields->value[FIELD_FAMILY] == FAMILY_IPV4 || fields->value[FIELD_FAMILY] == FAMILY_IPV6);
}

/* Who knocks: an IPv4 address, a /64, or an IPv6 address. */
static u128 source_of(const struct knock *knock, const struct model_fields *fields)
{
	if (fields->value[FIELD_FAMILY] == FAMILY_IPV4)
		return fields->value[FIELD_IP_SRC];
	return knock->whole ? fields->value[FIELD_IPV6_SRC] : u128_make(u128_hi(fields->value[FIELD_IPV6_SRC]), 0);
}

/* NULL: it is not known. */
static struct model_knocker *find(const struct model_state *state, const struct ruleset *ruleset, size_t knock,
				  const struct model_fields *fields)
{
	u128 source = source_of(&ruleset->knocks[knock], fields);

	for (size_t i = 0; i < state->knockers.count; i++) {
		struct model_knocker *knocker = &state->knockers.items[i];

		if (knocker->knock == knock && knocker->source == source &&
		    knocker->family == fields->value[FIELD_FAMILY])
			return knocker;
	}
	return NULL;
}

static struct model_knocker *find_or_add(struct model_state *state, const struct ruleset *ruleset, size_t knock,
					 const struct model_fields *fields)
{
	struct model_knocker *found = find(state, ruleset, knock, fields);

	if (found)
		return found;
	found = &VEC_PUSH(state->arena, &state->knockers);
	*found = (struct model_knocker){ .knock = (uint8_t)knock, .family = (uint8_t)fields->value[FIELD_FAMILY],
					 .source = source_of(&ruleset->knocks[knock], fields) };
	return found;
}

uint8_t model_knocked(const struct model_state *state, const struct ruleset *ruleset,
		      const struct model_fields *fields)
{
	uint8_t open = 0;

	for (size_t i = 0; may_knock(fields) && i < ruleset->knock_count; i++) {
		const struct model_knocker *knocker = find(state, ruleset, i, fields);

		if (knocker && state->now_ns < knocker->until_ns)
			open |= (uint8_t)(1u << i);
	}
	return open;
}

static void go_on(const struct knock *knock, struct model_knocker *knocker, uint64_t now)
{
	if (!knocker->next)
		knocker->began_ns = now;
	knocker->next++;
	if (knocker->next < knock->step_count)
		return;
	knocker->next = 0;
	knocker->until_ns = now + knock->open_ns;
}

/* `matches`: by step. */
static void take(const struct knock *knock, struct model_knocker *knocker, const bool *matches, uint64_t now)
{
	if (now < knocker->until_ns && !knock->extend)
		return;
	if (knocker->next && now > knocker->began_ns + knock->within_ns)
		knocker->next = 0;
	if (matches[knocker->next]) {
		go_on(knock, knocker, now);
	} else if (knocker->next < 2 || !matches[knocker->next - 1]) {
		knocker->next = 0;
		if (matches[0])
			go_on(knock, knocker, now);
	}
}

void model_knock(struct model_state *state, const struct ruleset *ruleset, const struct model_fields *fields)
{
	for (size_t i = 0; may_knock(fields) && i < ruleset->knock_count; i++) {
		const struct knock *knock = &ruleset->knocks[i];
		bool matches[KNOCK_STEPS_MAX] = { false }, any = false;

		for (size_t step = 0; step < knock->step_count; step++) {
			matches[step] = model_holds(ruleset, fields, knock->steps[step]);
			any = any || matches[step];
		}
		if (any)
			take(knock, find_or_add(state, ruleset, i, fields), matches, state->now_ns);
	}
}
