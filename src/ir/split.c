/* SPDX-License-Identifier: GPL-2.0-only */
/* See split.h. In: a rule set and a hook; out: what is judged there. Fails only as the arena does. */
#include "ir/split.h"

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMPV6 = 58, PROTO_SCTP = 132, PROTO_UDP_LITE = 136 };

struct splitting {
	struct arena *arena;
	enum hook hook;
};

/* --- what a call does not show ----------------------------------------------------------------------------------- */

static struct cond *constant(const struct splitting *splitting, bool value, struct span span)
{
	return cond_new(splitting->arena, value ? COND_TRUE : COND_FALSE, span);
}

static struct cond *has_value(const struct splitting *splitting, enum field field, u128 value, struct span span)
{
	return cond_match(splitting->arena, field, value, value, span);
}

static struct cond *either(const struct splitting *splitting, const struct cond *a, const struct cond *b,
			   struct span span)
{
	return cond_pair(splitting->arena, COND_OR, a, b, span);
}

/* Any of an array of protocols. */
static struct cond *is_proto(const struct splitting *splitting, const uint8_t *protos, size_t count, struct span span)
{
	struct range ranges[4];

	for (size_t i = 0; i < count; i++)
		ranges[i] = (struct range){ protos[i], protos[i] };
	return cond_match_ranges(splitting->arena, FIELD_PROTO, ranges, count, span);
}

/* bind() to all addresses, or to those of both families. */
static struct cond *is_any_address(const struct splitting *splitting, enum field field, struct span span)
{
	struct cond *any6 = has_value(splitting, FIELD_IPV6_DST, 0, span);

	if (field == FIELD_IPV6_DST)
		return any6;
	return either(splitting, has_value(splitting, FIELD_IP_DST, 0, span), any6, span);
}

/* A field that the hook knows, but not of every call. */
static bool may_be_unclear(enum hook hook, enum field field)
{
	return hook == HOOK_BIND && (field == FIELD_FAMILY || field == FIELD_IP_DST || field == FIELD_IPV6_DST ||
				     field == FIELD_DST_PORT);
}

/* Of which calls not: bind() to no address means all of them, by `::` IPv4's too, to port 0 one that the kernel chooses. */
static struct cond *unclear(const struct splitting *splitting, enum field field, struct span span)
{
	if (field == FIELD_DST_PORT)
		return has_value(splitting, FIELD_DST_PORT, 0, span);
	if (field == FIELD_FAMILY)
		return has_value(splitting, FIELD_IPV6_DST, 0, span);
	return is_any_address(splitting, field, span);
}

/* When the packets behind a call may have a field that the hook does not know. */
static struct cond *may_have(const struct splitting *splitting, enum field field, struct span span)
{
	static const uint8_t icmp[] = { PROTO_ICMP, PROTO_ICMPV6 };
	static const uint8_t tcp[] = { PROTO_TCP };
	static const uint8_t with_ports[] = { PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_UDP_LITE };

	switch (field) {
	case FIELD_ICMP_TYPE:
	case FIELD_ICMP_CODE:
		return is_proto(splitting, icmp, sizeof icmp, span);
	case FIELD_TCP_FLAGS:
		return is_proto(splitting, tcp, sizeof tcp, span);
	case FIELD_SRC_PORT:
		return is_proto(splitting, with_ports, sizeof with_ports, span);
	case FIELD_IN_IFACE:
		return constant(splitting, hook_table[splitting->hook].direction == DIRECTION_INGRESS, span);
	case FIELD_OUT_IFACE:
		return constant(splitting, hook_table[splitting->hook].direction == DIRECTION_EGRESS, span);
	default:
		return constant(splitting, true, span);
	}
}

/* --- conditions -------------------------------------------------------------------------------------------------- */

static bool knows(const struct splitting *splitting, enum field field)
{
	return field_table[field].hooks & HOOK_BIT(splitting->hook);
}

static enum field field_of(const struct cond *cond)
{
	return cond->kind == COND_MATCH ? cond->match.field : cond->set.field;
}

/* Some calls do not show what the test asks. */
static bool test_depends(const struct splitting *splitting, const struct cond *test)
{
	enum field field = field_of(test) == FIELD_ETH_TYPE ? FIELD_FAMILY : field_of(test);

	return !knows(splitting, field) || may_be_unclear(splitting->hook, field);
}

/* Calls are about IP, whose Ethernet types the family tells. */
static const struct cond *split_ether_type(const struct splitting *splitting, const struct cond *test)
{
	static const struct {
		enum packet_family family;
		u128 type;
	} types[] = { { FAMILY_IPV4, 0x0800 }, { FAMILY_IPV6, 0x86dd } };
	struct range families[2];
	size_t count = 0;

	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < test->match.count; j++)
			if ((types[i].type & test->match.mask) >= test->match.ranges[j].lo &&
			    (types[i].type & test->match.mask) <= test->match.ranges[j].hi)
				families[count++] = (struct range){ types[i].family, types[i].family };
	return cond_match_ranges(splitting->arena, FIELD_FAMILY, families, count, test->span);
}

static const struct cond *split_cond(const struct splitting *splitting, const struct cond *cond, bool sure);

/* What holds where the test holds for all packets behind the call (`sure`), or where it may hold for one. */
static const struct cond *split_test(const struct splitting *splitting, const struct cond *test, bool sure)
{
	enum field field = field_of(test);
	struct span span = test->span;
	struct cond *open;

	if (field == FIELD_ETH_TYPE)
		return split_cond(splitting, split_ether_type(splitting, test), sure);
	if (!knows(splitting, field))
		return sure ? constant(splitting, false, span) : may_have(splitting, field, span);
	if (!may_be_unclear(splitting->hook, field))
		return test;
	open = unclear(splitting, field, span);
	if (!sure)
		return either(splitting, test, open, span);
	return cond_pair(splitting->arena, COND_AND, test, cond_not(splitting->arena, open, span), span);
}

static const struct cond *split_cond(const struct splitting *splitting, const struct cond *cond, bool sure)
{
	const struct cond **items;
	struct cond *copy;

	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		items = ARENA_ARRAY(splitting->arena, const struct cond *, cond->list.count);
		for (size_t i = 0; i < cond->list.count; i++)
			items[i] = split_cond(splitting, cond->list.items[i], sure);
		copy = cond_new(splitting->arena, cond->kind, cond->span);
		copy->list.items = items;
		copy->list.count = cond->list.count;
		return copy;
	case COND_NOT:
		return cond_not(splitting->arena, split_cond(splitting, cond->inner, !sure), cond->span);
	case COND_MATCH:
	case COND_SET:
		return split_test(splitting, cond, sure);
	default:
		return cond;
	}
}

/* Some test in it may have to be left. */
static bool depends(const struct splitting *splitting, const struct cond *cond)
{
	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			if (depends(splitting, cond->list.items[i]))
				return true;
		return false;
	case COND_NOT:
		return depends(splitting, cond->inner);
	case COND_MATCH:
	case COND_SET:
		return test_depends(splitting, cond);
	default:
		return false;
	}
}

/* --- rules ------------------------------------------------------------------------------------------------------- */

/* What a call can carry out; everything else that a rule may do is done to packets. */
static bool acts_on_calls(const struct action *action)
{
	return action->kind == ACTION_COUNT || action->kind == ACTION_LOG || action->kind >= ACTION_VERDICT;
}

/* Whether the packets go on or not may depend on an action too: one that this file does not know is taken to. */
static bool is_harmless(const struct action *action)
{
	return acts_on_calls(action) || action->kind == ACTION_MARK || action->kind == ACTION_CAPTURE;
}

static bool rule_depends(const struct splitting *splitting, const struct rule *rule)
{
	for (size_t i = 0; i < rule->action_count; i++)
		if (!is_harmless(&rule->actions[i]))
			return true;
	return rule->cond && depends(splitting, rule->cond);
}

/* A jump, goto or return that may be taken: what comes of it is left, as if it were an `accept`. */
static bool lets_pass(const struct action *last)
{
	return last->kind > ACTION_VERDICT || (last->kind == ACTION_VERDICT && last->verdict == VERDICT_ACCEPT);
}

static void split_actions(const struct splitting *splitting, struct rule *rule, bool depends_on_packet)
{
	struct action *actions = arena_copy(splitting->arena, rule->actions, rule->action_count * sizeof *actions);
	struct action *last = &actions[rule->action_count - 1];
	bool passes = depends_on_packet && lets_pass(last);

	for (size_t i = 0; i < rule->action_count; i++)
		actions[i].left = &actions[i] == last && last->kind >= ACTION_VERDICT ? false :
				  passes || !acts_on_calls(&actions[i]);
	if (passes)
		*last = (struct action){ .kind = ACTION_VERDICT, .span = last->span, .verdict = VERDICT_ACCEPT };
	rule->actions = actions;
}

static bool has_unknown_action(const struct rule *rule)
{
	for (size_t i = 0; i < rule->action_count; i++)
		if (!is_harmless(&rule->actions[i]))
			return true;
	return false;
}

static void split_rule(const struct splitting *splitting, struct rule *rule)
{
	bool open = rule_depends(splitting, rule);
	bool sure = !open || !lets_pass(&rule->actions[rule->action_count - 1]);

	if (rule->cond)
		rule->cond = split_cond(splitting, rule->cond, sure);
	if (open && sure && has_unknown_action(rule))
		rule->cond = constant(splitting, false, rule->span);
	split_actions(splitting, rule, open);
}

static const struct chain *split_chains(const struct splitting *splitting, const struct ruleset *ruleset)
{
	struct chain *chains = arena_copy(splitting->arena, ruleset->chains, ruleset->chain_count * sizeof *chains);

	for (size_t i = 0; i < ruleset->chain_count; i++) {
		struct rule *rules = arena_copy(splitting->arena, chains[i].rules,
						chains[i].rule_count * sizeof *rules);

		for (size_t j = 0; j < chains[i].rule_count; j++)
			split_rule(splitting, &rules[j]);
		chains[i].rules = rules;
	}
	return chains;
}

/* --- policies ---------------------------------------------------------------------------------------------------- */

static bool leaves_to_packets(const struct ruleset *ruleset, enum hook hook)
{
	hook_mask hooks = 0;

	for (size_t i = 0; i < ruleset->attach_count; i++)
		hooks |= HOOK_BIT(ruleset->attaches[i].hook);
	return hook_table[hook].call && hooks_behind(hooks, hook);
}

const struct ruleset *ruleset_at(struct arena *arena, const struct ruleset *ruleset, enum hook hook)
{
	const struct splitting splitting = { arena, hook };
	struct ruleset *copy;

	if (!leaves_to_packets(ruleset, hook))
		return ruleset;
	copy = arena_copy(arena, ruleset, sizeof *ruleset);
	copy->chains = split_chains(&splitting, ruleset);
	return copy;
}

enum split rule_split(const struct ruleset *ruleset, const struct rule *rule, enum hook hook)
{
	const struct splitting splitting = { .hook = hook };

	if (!leaves_to_packets(ruleset, hook))
		return SPLIT_DECIDED;
	return rule_depends(&splitting, rule) ? SPLIT_LEFT : SPLIT_DECIDED;
}
