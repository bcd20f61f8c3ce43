/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model: judges one packet by reading the rules one after another. In: a rule set that ruleset_check() accepts,
 * and a packet. Out: the verdict, who decided and who matched. Fails only as the arena does.
 *
 * Choices:
 * - Rules test the mark that the packet arrived with, whatever earlier rules made of it.
 * - So do they see the sets that the packet came to; what it adds and removes takes effect when it is decided.
 * - On frames that are not IP, a rule acts only if its condition, or that of a jump or goto on the way to it, names
 *   the link layer; jumps, gotos and returns are followed in any case, and then cost no token.
 */
#include "ir/model.h"

/* A chain that is being read. */
struct frame {
	const struct chain *chain;
	size_t next;
	bool named; /* a rule that led here names the link layer */
};

struct judging {
	struct arena *arena;
	const struct ruleset *ruleset;
	const struct model_packet *packet;
	const struct model_state *state; /* the packet's */
	VEC(const struct action *) changes;
	struct model_fields fields;
	VEC(struct frame) calls;
	VEC(uint32_t) hits;
	bool traced;
	VEC(struct model_visit) visits;
	struct model_result result;
};

static bool in_ranges(u128 value, const struct range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (value >= ranges[i].lo && value <= ranges[i].hi)
			return true;
	return false;
}

static bool in_set(const struct judging *judging, enum field field, uint32_t index)
{
	const struct set *set = &judging->ruleset->sets[index];
	u128 value = judging->fields.value[field];

	if (!judging->fields.has[field])
		return false;
	if (judging->state)
		return model_set_has(judging->state, index, field_table[field].bits == 128, value);
	if (field_table[field].bits == 128)
		return in_ranges(value, set->ranges6, set->count6);
	return in_ranges(value, set->ranges, set->count);
}

static bool holds(const struct judging *judging, const struct cond *cond);

/* True if any item's truth is `wanted`. */
static bool any_is(const struct judging *judging, const struct cond *cond, bool wanted)
{
	for (size_t i = 0; i < cond->list.count; i++)
		if (holds(judging, cond->list.items[i]) == wanted)
			return true;
	return false;
}

static bool holds(const struct judging *judging, const struct cond *cond)
{
	switch (cond->kind) {
	case COND_TRUE:
		return true;
	case COND_FALSE:
		return false;
	case COND_AND:
		return !any_is(judging, cond, false);
	case COND_OR:
		return any_is(judging, cond, true);
	case COND_NOT:
		return !holds(judging, cond->inner);
	case COND_MATCH:
		return judging->fields.has[cond->match.field] &&
		       in_ranges(judging->fields.value[cond->match.field] & cond->match.mask, cond->match.ranges,
				 cond->match.count);
	case COND_SET:
		return in_set(judging, cond->set.field, cond->set.set);
	}
	return false;
}

static bool is_ip(const struct judging *judging)
{
	return judging->fields.value[FIELD_FAMILY] == FAMILY_IPV4 ||
	       judging->fields.value[FIELD_FAMILY] == FAMILY_IPV6;
}

static void call(struct judging *judging, uint32_t chain, bool named)
{
	VEC_PUSH(judging->arena, &judging->calls) = (struct frame){ &judging->ruleset->chains[chain], 0, named };
}

/* Takes one action of a rule that matched; true if it decides the packet. */
static bool act(struct judging *judging, const struct rule *rule, const struct action *action, bool named,
		bool applies)
{
	struct model_result *result = &judging->result;

	if (action->left)
		return false;
	switch (action->kind) {
	case ACTION_THROTTLE:
		if (applies && !model_take_tokens(judging->packet->state, rule, action->rate, judging->packet,
						  &judging->fields)) {
			result->verdict = VERDICT_DROP;
			result->rule = (int32_t)rule->number;
			return true;
		}
		return false;
	case ACTION_RATE:
	case ACTION_COUNT:
	case ACTION_LOG:
	case ACTION_CAPTURE:
	case ACTION_KNOCK: /* in hidden rules: see model_knock.c */
		return false;
	case ACTION_MARK:
		if (applies)
			result->mark = (result->mark & ~action->mark.mask) | (action->mark.value & action->mark.mask);
		return false;
	case ACTION_ADD:
	case ACTION_REMOVE:
		if (applies)
			VEC_PUSH(judging->arena, &judging->changes) = action;
		return false;
	case ACTION_VERDICT:
		if (applies) {
			result->verdict = action->verdict;
			result->rule = (int32_t)rule->number;
		}
		return applies;
	case ACTION_GOTO:
		judging->calls.count--;
		call(judging, action->chain, named);
		return false;
	case ACTION_JUMP:
		call(judging, action->chain, named);
		return false;
	case ACTION_RETURN:
		judging->calls.count--;
		return false;
	}
	return false;
}

static bool has_token(struct judging *judging, const struct rule *rule)
{
	return !rule_rate(rule) || model_take_tokens(judging->packet->state, rule, rule_rate(rule), judging->packet,
						     &judging->fields);
}

/* Reads the next rule of the innermost chain; true if it decides the packet. */
static bool step(struct judging *judging)
{
	struct frame *frame = &judging->calls.items[judging->calls.count - 1];
	const struct rule *rule;
	bool named, applies, matches, refused;

	if (frame->next == frame->chain->rule_count) {
		judging->calls.count--;
		return false;
	}
	rule = &frame->chain->rules[frame->next++];
	matches = !rule->cond || holds(judging, rule->cond);
	named = frame->named || rule->names_link;
	applies = named || is_ip(judging);
	refused = matches && applies && !has_token(judging, rule);
	if (judging->traced)
		VEC_PUSH(judging->arena, &judging->visits) =
			(struct model_visit){ rule, matches, matches && applies && !refused, refused };
	if (!matches || refused)
		return false;
	if (applies)
		VEC_PUSH(judging->arena, &judging->hits) = rule->number;
	for (size_t i = 0; i < rule->action_count; i++)
		if (act(judging, rule, &rule->actions[i], named, applies))
			return true;
	return false;
}

static void decide_by_default(struct judging *judging)
{
	const struct ruleset *ruleset = judging->ruleset;
	bool exempt = judging->fields.value[FIELD_FAMILY] == FAMILY_EXEMPT;

	judging->result.rule = DECIDED_DEFAULT;
	judging->result.verdict = ruleset->default_verdict;
	if (exempt || (!is_ip(judging) && ruleset->non_ip_accept)) {
		judging->result.rule = DECIDED_NON_IP;
		judging->result.verdict = VERDICT_ACCEPT;
	}
}

static void judge(struct judging *judging)
{
	if (judging->fields.malformed) {
		judging->result.rule = DECIDED_MALFORMED;
		judging->result.verdict = judging->ruleset->malformed_accept ? VERDICT_ACCEPT : VERDICT_DROP;
		return;
	}
	call(judging, 0, false);
	while (judging->calls.count)
		if (step(judging))
			return;
	decide_by_default(judging);
}

static void judge_packet(struct judging *judging, enum hook hook, const struct model_packet *packet)
{
	bool remembers = packet->state && !packet->state->granted; /* else all is as the caller supposes */
	bool tracked = remembers && model_tracks(judging->ruleset, hook);

	judging->packet = packet;
	judging->result.mark = packet->mark;
	judging->state = packet->state;
	if (packet->state && !packet->state->sets && judging->ruleset->set_count)
		model_sets_begin(packet->state, judging->ruleset);
	model_parse(hook, packet, &judging->fields);
	if (remembers && judging->fields.has[FIELD_KNOCKED])
		judging->fields.value[FIELD_KNOCKED] = model_knocked(packet->state, judging->ruleset, &judging->fields);
	if (tracked) {
		judging->fields.value[FIELD_FLOW] = model_flow(packet->state, &judging->fields);
		judging->fields.has[FIELD_FLOW] = judging->fields.value[FIELD_FLOW] != FLOW_UNTRACKED;
	}
	judge(judging);
	for (size_t i = 0; packet->state && i < judging->changes.count; i++)
		model_set_change(packet->state, judging->ruleset, judging->changes.items[i], &judging->fields, i);
	if (remembers)
		model_knock(judging->ruleset, hook, packet, &judging->fields);
	if (tracked && judging->result.verdict == VERDICT_ACCEPT)
		model_flow_accept(packet->state, judging->ruleset, &judging->fields);
	judging->result.hits = judging->hits.items;
	judging->result.hit_count = judging->hits.count;
}

void model_judge(struct arena *arena, const struct ruleset *ruleset, enum hook hook,
		 const struct model_packet *packet, struct model_result *ret_result)
{
	struct judging judging = { .arena = arena, .ruleset = ruleset };

	judge_packet(&judging, hook, packet);
	*ret_result = judging.result;
}

void model_trace(struct arena *arena, const struct ruleset *ruleset, enum hook hook,
		 const struct model_packet *packet, struct model_trace *ret_trace)
{
	struct judging judging = { .arena = arena, .ruleset = ruleset, .traced = true };

	judge_packet(&judging, hook, packet);
	*ret_trace = (struct model_trace){ .result = judging.result, .fields = judging.fields,
					   .visits = judging.visits.items, .visit_count = judging.visits.count };
}

bool model_holds(const struct ruleset *ruleset, const struct model_fields *fields, const struct cond *cond)
{
	const struct judging judging = { .ruleset = ruleset, .fields = *fields };

	return holds(&judging, cond);
}
