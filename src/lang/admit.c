/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a `default drop` forgot. Input: a lowered policy; output: warnings when no rule accepts neighbour discovery,
 * without which there is no IPv6, what follows the first packets of a connection, or loopback. Judged by a packet of which
 * only some fields are known.
 */
#include <string.h>

#include "lang/lower.h"

struct sample {
	bool known[FIELD_COUNT]; /* `value` holds; a value no test accepts stands for an absent field */
	u128 value[FIELD_COUNT];
};

enum answer { NO, MAYBE, YES };
enum { PROTO_TCP = 6, PROTO_UDP = 17 };

static enum answer match(const struct sample *sample, const struct cond *cond)
{
	u128 value = sample->value[cond->match.field] & cond->match.mask;

	if (!sample->known[cond->match.field])
		return MAYBE;
	if (sample->value[cond->match.field] > u128_max(field_table[cond->match.field].bits))
		return NO; /* absent */
	for (size_t i = 0; i < cond->match.count; i++)
		if (cond->match.ranges[i].lo <= value && value <= cond->match.ranges[i].hi)
			return YES;
	return NO;
}

static enum answer judge(const struct sample *sample, const struct cond *cond)
{
	enum answer answer = cond->kind == COND_AND ? YES : NO;

	switch (cond->kind) {
	case COND_TRUE:
		return YES;
	case COND_FALSE:
		return NO;
	case COND_NOT:
		return YES - judge(sample, cond->inner);
	case COND_MATCH:
		return match(sample, cond);
	case COND_SET:
		return MAYBE;
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++) {
			enum answer item = judge(sample, cond->list.items[i]);

			if (cond->kind == COND_AND ? item < answer : item > answer)
				answer = item;
		}
	}
	return answer;
}

/* Some accepting rule holds for the packet, at least as sure as that. */
static bool accepted(const struct ruleset *ruleset, const struct sample *sample, enum answer sure)
{
	for (size_t i = 0; i < ruleset->chain_count; i++) {
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++) {
			const struct rule *rule = &ruleset->chains[i].rules[j];
			const struct action *last = &rule->actions[rule->action_count - 1];

			if (last->kind == ACTION_VERDICT && last->verdict == VERDICT_ACCEPT &&
			    (!rule->cond || judge(sample, rule->cond) >= sure))
				return true;
		}
	}
	return false;
}

static void know(struct sample *sample, enum field field, u128 value)
{
	sample->known[field] = true;
	sample->value[field] = value;
}

/* Neighbour solicitation and advertisement. */
static bool admits_neighbour(const struct ruleset *ruleset)
{
	for (unsigned type = 135; type <= 136; type++) {
		struct sample sample = { 0 };

		know(&sample, FIELD_FAMILY, FAMILY_IPV6);
		know(&sample, FIELD_DIRECTION, DIRECTION_INGRESS);
		know(&sample, FIELD_PROTO, 58);
		know(&sample, FIELD_ICMP_TYPE, type);
		know(&sample, FIELD_ICMP_CODE, 0);
		know(&sample, FIELD_TTL, 255);
		know(&sample, FIELD_FRAGMENT, FRAGMENT_NONE);
		know(&sample, FIELD_ETH_TYPE, 0x86dd);
		know(&sample, FIELD_SRC_PORT, ABSENT_PORT);
		know(&sample, FIELD_DST_PORT, ABSENT_PORT);
		know(&sample, FIELD_TCP_FLAGS, ABSENT_FLAGS);
		know(&sample, FIELD_IP_SRC, ~(u128)0);
		know(&sample, FIELD_IP_DST, ~(u128)0);
		know(&sample, FIELD_FLOW, ~(u128)0); /* it belongs to no connection */
		if (!accepted(ruleset, &sample, MAYBE))
			return false;
	}
	return true;
}

static void found_lo(void *data, uint32_t index)
{
	*(uint32_t *)data = index;
}

/* Of a connection of the host with itself, all packets. */
static bool admits_loopback(struct lower *lower, const struct ruleset *ruleset)
{
	const struct names *names = lower->input->names;
	uint32_t lo = 1; /* as it is in every network namespace */
	struct sample sample = { 0 };

	if (names && names->interfaces)
		names->interfaces(names->context, "lo", found_lo, &lo);
	know(&sample, FIELD_FAMILY, FAMILY_IPV4);
	know(&sample, FIELD_IN_IFACE, lo);
	know(&sample, FIELD_DIRECTION, DIRECTION_INGRESS);
	know(&sample, FIELD_IP_SRC, 0x7f000001);
	know(&sample, FIELD_IP_DST, 0x7f000001);
	for (enum packet_flow state = FLOW_NEW; state <= FLOW_ESTABLISHED; state++) {
		know(&sample, FIELD_FLOW, state);
		if (!accepted(ruleset, &sample, YES))
			return false;
	}
	return true;
}

/* Whose first packets are accepted, those that follow are. */
static bool admits_established(const struct ruleset *ruleset, unsigned proto)
{
	struct sample sample = { 0 };

	know(&sample, FIELD_FAMILY, FAMILY_IPV4);
	know(&sample, FIELD_PROTO, proto);
	know(&sample, FIELD_FLOW, FLOW_NEW);
	if (!accepted(ruleset, &sample, MAYBE))
		return true;
	know(&sample, FIELD_FLOW, FLOW_ESTABLISHED);
	return accepted(ruleset, &sample, MAYBE);
}

/* Neighbour discovery comes through there; a cgroup sees only what has found its socket. */
static bool sees_neighbours(const struct attach *attach)
{
	switch (attach->hook) {
	case HOOK_XDP:
	case HOOK_TC_INGRESS:
	case HOOK_NF_PREROUTING:
	case HOOK_NF_INPUT:
		return true;
	default:
		return false;
	}
}

static bool sees_loopback(const struct attach *attach)
{
	return attach->hook == HOOK_NF_INPUT ||
	       (attach->hook == HOOK_CGROUP_INGRESS && !strcmp(attach->target, "/"));
}

void admit_warn(struct lower *lower, const struct ruleset *ruleset)
{
	struct span span = lower->policy->settings[SETTING_DEFAULT].span;
	bool neighbours = false, loopback = false;
	struct diag *diag;

	if (ruleset->default_verdict == VERDICT_ACCEPT)
		return;
	for (size_t i = 0; i < ruleset->attach_count; i++) {
		neighbours = neighbours || sees_neighbours(&ruleset->attaches[i]);
		loopback = loopback || sees_loopback(&ruleset->attaches[i]);
	}
	if (neighbours && !admits_neighbour(ruleset)) {
		diag = diag_warning(lower->diags, span,
				    "no rule accepts IPv6 neighbour discovery: there will be no IPv6");
		diag_hint(lower->diags, diag, "add `accept if neighbour`");
	}
	if (flows_used(ruleset) && (!admits_established(ruleset, PROTO_TCP) || !admits_established(ruleset, PROTO_UDP))) {
		diag = diag_warning(lower->diags, span, "no rule accepts more of a connection than its first packets");
		diag_hint(lower->diags, diag, "add `accept if established or related`");
	}
	if (loopback && !admits_loopback(lower, ruleset)) {
		diag = diag_warning(lower->diags, span, "no rule accepts what the host sends to itself");
		diag_hint(lower->diags, diag, "add `accept if loopback`");
	}
}
