/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections: their states as conditions, and the settings of their table. AST to IR. */
#include <string.h>

#include "lang/literal.h"
#include "lang/lower.h"

/* --- states -------------------------------------------------------------------------------------------------- */

static const struct {
	const char *word;
	enum packet_flow state;
} states[] = {
	{ "new", FLOW_NEW }, { "established", FLOW_ESTABLISHED }, { "related", FLOW_RELATED }, { "invalid", FLOW_INVALID },
};

/* At forward, and where both sides are, the answers come by. */
static bool sees_both(hook_mask seen)
{
	seen &= field_table[FIELD_FLOW].hooks;
	return seen & hooks_of_direction(DIRECTION_FORWARD) ||
	       (seen & hooks_of_direction(DIRECTION_INGRESS) && seen & hooks_of_direction(DIRECTION_EGRESS));
}

/* Where the answers to what a hook sees go by: `track on` that. */
static const char *other_side(struct lower *lower, hook_mask hooks)
{
	const struct policy_node *policy = lower->policy;
	const struct on_node *on = policy && policy->ons.count ? &policy->ons.items[0] : NULL;
	bool egress = hooks & hooks_of_direction(DIRECTION_EGRESS);

	if (on && !strcmp(on->family.text, "netfilter"))
		return egress ? "track on netfilter input" : "track on netfilter output";
	if (on && !strcmp(on->family.text, "cgroup"))
		return arena_printf(lower->arena, "track on cgroup \"%s\" %s", on->target.text,
				    egress ? "ingress" : "egress");
	return arena_printf(lower->arena, "track on tc %s %s", on && on->target.text ? on->target.text : "eth0",
			    egress ? "ingress" : "egress");
}

static void check_seen(struct lower *lower, const struct word *word)
{
	struct diag *diag;

	if (!lower->policy) {
		diag = diag_error(lower->diags, word->span, "`%s` needs a policy that sees both directions", word->text);
		diag_hint(lower->diags, diag, "write a policy with `on ...`, and apply it");
		return;
	}
	if (lower->policy->broken_on || !lower->hooks || sees_both(lower->hooks | lower->tracks))
		return;
	diag = diag_error(lower->diags, word->span, "`%s`: this policy sees one direction only, so it would know of no "
			  "answers", word->text);
	diag_hint(lower->diags, diag, "add `%s`", other_side(lower, lower->hooks));
}

static bool known_there(struct lower *lower, const struct word *word, hook_mask hooks)
{
	hook_mask missing = hooks & ~field_table[FIELD_FLOW].hooks;
	char text[200];

	if (!missing)
		return true;
	hook_mask_print(missing, text, sizeof text);
	diag_error(lower->diags, word->span, "`%s` is not known at %s", word->text, text);
	return false;
}

const struct cond *flow_state(struct lower *lower, const struct word *word, hook_mask hooks)
{
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		if (strcmp(states[i].word, word->text))
			continue;
		if (known_there(lower, word, hooks))
			check_seen(lower, word);
		return cond_match(lower->arena, FIELD_FLOW, states[i].state, states[i].state,
				  lower_span(lower, word->span));
	}
	return NULL;
}

/* --- settings ------------------------------------------------------------------------------------------------ */

static void set_twice(struct lower *lower, const struct flows_node *node, uint32_t before)
{
	if (before)
		diag_error(lower->diags, node->what.span, "this is set twice");
}

static void set_max(struct lower *lower, const struct flows_node *node, struct flow_settings *flows)
{
	u128 number;

	set_twice(lower, node, flows->max);
	if (!literal_number(node->value.text, strlen(node->value.text), &number) || !number || number > FLOWS_MAX)
		diag_error(lower->diags, node->value.span, "`%s` is not a number of connections (from 1 to %d)",
			   node->value.text, FLOWS_MAX);
	else
		flows->max = (uint32_t)number;
}

static int age_by_name(const char *name)
{
	for (int age = 0; age < AGE_COUNT; age++)
		if (!strcmp(flow_ages[age].name, name))
			return age;
	return -1;
}

static void unknown_state(struct lower *lower, const struct word *state)
{
	struct diag *diag = diag_error(lower->diags, state->span, "`%s` is no state of a connection", state->text);
	const char *names[AGE_COUNT], *nearest;

	for (int age = 0; age < AGE_COUNT; age++)
		names[age] = flow_ages[age].name;
	nearest = nearest_word(state->text, strlen(state->text), names, AGE_COUNT);
	if (nearest)
		diag_hint(lower->diags, diag, "did you mean `%s`?", nearest);
	else
		diag_hint(lower->diags, diag, "states are like `tcp.established`, `udp.new` or `icmp`: weir.policy(5)");
}

static void set_timeout(struct lower *lower, const struct flows_node *node, struct flow_settings *flows)
{
	int age = age_by_name(node->state.text);
	uint64_t ns, seconds = 0;

	if (age < 0) {
		unknown_state(lower, &node->state);
		return;
	}
	set_twice(lower, node, flows->seconds[age]);
	if (literal_time(node->value.text, strlen(node->value.text), &ns))
		seconds = ns / 1000000000;
	if (!seconds || seconds > FLOW_SECONDS_MAX)
		diag_error(lower->diags, node->value.span,
			   "`%s` is not a time like `30s`, `5min`, `1h` or `5d` (a year at most)", node->value.text);
	else
		flows->seconds[age] = (uint32_t)seconds;
}

void flows_lower(struct lower *lower, const struct policy_node *policy, struct flow_settings *ret_flows)
{
	for (size_t i = 0; i < policy->flows.count; i++) {
		const struct flows_node *node = &policy->flows.items[i];

		if (!strcmp(node->what.text, "max"))
			set_max(lower, node, ret_flows);
		else if (!strcmp(node->what.text, "timeout"))
			set_timeout(lower, node, ret_flows);
		else
			ret_flows->shared = true;
	}
}
