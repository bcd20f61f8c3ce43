/* SPDX-License-Identifier: GPL-2.0-only */
/* Actions of a rule: AST to IR, with what the hooks can do of them. */
#include <string.h>

#include "lang/literal.h"
#include "lang/lower.h"

enum {
	LOG_BURST = 5, /* of a limited log that names none, as of the limits of iptables and nftables */
	LOG_RATE_MAX = 1000000000,
};

static void log_action(struct lower *lower, const struct action_node *node, struct action *action)
{
	const struct word *limit = &node->rate.limit, *word = &node->rate.burst;
	u128 burst = LOG_BURST;
	struct rate rate;

	action->kind = ACTION_LOG;
	action->log.text = node->argument.text ? node->argument.text : "";
	if (!limit->text)
		return;
	if (!rate_parse(limit->text, &rate) || rate.unit != RATE_PACKETS || rate.amount > LOG_RATE_MAX)
		diag_error(lower->diags, limit->span, "`%s` is not a rate like `10/s`, `10/min` or `10/h`", limit->text);
	else
		action->log.period_ns = rate.period_ns / rate.amount;
	if (word->text && (!literal_number(word->text, strlen(word->text), &burst) || !burst || burst > UINT16_MAX))
		diag_error(lower->diags, word->span, "`%s` is not a number from 1 to %d", word->text, UINT16_MAX);
	action->log.burst = (uint32_t)burst;
}

/* N or N/MASK */
static void mark_action(struct lower *lower, const struct action_node *node, struct action *action)
{
	const char *text = node->argument.text;
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	u128 number = 0, mask = UINT32_MAX;

	action->kind = ACTION_MARK;
	if (!literal_number(text, length, &number) || (slash && !literal_number(slash + 1, strlen(slash + 1), &mask)))
		diag_error(lower->diags, node->argument.span, "`%s` is not a mark like `1` or `0x10/0xff`", text);
	else if (number > UINT32_MAX || mask > UINT32_MAX)
		diag_error(lower->diags, node->argument.span,
			   "`%s` is too large for a mark (at most 0xffffffff)", text);
	else if (number & ~mask)
		diag_error(lower->diags, node->argument.span, "the mark `%s` has bits outside its mask", text);
	action->mark.value = (uint32_t)number;
	action->mark.mask = (uint32_t)mask;
}

static void capture_action(struct lower *lower, const struct action_node *node, struct action *action)
{
	const char *text = node->argument.text;
	u128 snap = 0;

	action->kind = ACTION_CAPTURE;
	if (text && (!literal_number(text, strlen(text), &snap) || !snap || snap > CAPTURE_SNAP_MAX))
		diag_error(lower->diags, node->argument.span, "`%s` is not a number of bytes from 1 to %d", text,
			   CAPTURE_SNAP_MAX);
	action->snap = (uint32_t)snap;
}

static void check_mark_hooks(struct lower *lower, const struct action_node *node, hook_mask hooks)
{
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		struct diag *diag;

		if (!(hooks & HOOK_BIT(hook)) || hook_table[hook].mark)
			continue;
		diag = diag_error(lower->diags, node->span, "`mark` cannot be set at %s", hook_table[hook].name);
		diag_hint(lower->diags, diag, "tc and cgroup hooks can");
		return;
	}
}

static void check_reject_hooks(struct lower *lower, const struct action_node *node, hook_mask hooks)
{
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		struct diag *diag;

		if (!(hooks & HOOK_BIT(hook)) || hook_table[hook].reject != REJECT_NEVER)
			continue;
		diag = diag_error(lower->diags, node->span, "`reject` cannot tell the sender at %s: use `drop`",
				  hook_table[hook].name);
		diag_hint(lower->diags, diag,
			  "xdp and tc answer; netfilter-output and cgroup-egress fail the system call");
		return;
	}
}

static uint32_t counter(struct lower *lower, const char *name)
{
	for (size_t i = 0; i < lower->counters.count; i++)
		if (!strcmp(lower->counters.items[i], name))
			return (uint32_t)i;
	VEC_PUSH(lower->arena, &lower->counters) = name;
	return (uint32_t)(lower->counters.count - 1);
}

static void count_action(struct lower *lower, const struct action_node *node, struct action *action)
{
	const char *text = node->argument.text;
	struct diag *diag;

	action->kind = ACTION_COUNT;
	if (words_taken(text) || strlen(text) > 63 || strpbrk(text, ".:/*?@")) {
		diag = diag_error(lower->diags, node->argument.span, "`%s` cannot name a counter", text);
		diag_hint(lower->diags, diag,
			  "every rule has a counter of its own; `count NAME` is for one with a name");
	}
	action->counter = counter(lower, text);
}

static void chain_action(struct lower *lower, const struct action_node *node, struct action *action)
{
	int chain = scope_chain(lower, node->argument.text);
	const char *nearest;
	struct diag *diag;

	action->kind = node->kind == WORD_JUMP ? ACTION_JUMP : ACTION_GOTO;
	if (chain >= 0) {
		action->chain = (uint32_t)chain;
		return;
	}
	nearest = scope_nearest(lower, node->argument.text, LOCAL_CHAIN);
	action->kind = ACTION_RETURN;
	diag = diag_error(lower->diags, node->argument.span, "there is no chain `%s` in this policy",
			  node->argument.text);
	if (nearest)
		diag_hint(lower->diags, diag, "did you mean `%s`?", nearest);
}

static void verdict_action(const struct action_node *node, struct action *action)
{
	action->kind = ACTION_VERDICT;
	action->verdict = node->kind == WORD_ACCEPT ? VERDICT_ACCEPT :
			  node->kind == WORD_DROP   ? VERDICT_DROP :
						      VERDICT_REJECT;
}

static void action_lower(struct lower *lower, const struct action_node *node, hook_mask hooks, struct action *action)
{
	action->span = node->span;
	switch (node->kind) {
	case WORD_COUNT:
		count_action(lower, node, action);
		return;
	case WORD_LOG:
		log_action(lower, node, action);
		return;
	case WORD_THROTTLE:
		action->kind = ACTION_THROTTLE;
		action->rate = rate_lower(lower, &node->rate, hooks);
		return;
	case WORD_MARK:
		check_mark_hooks(lower, node, hooks);
		mark_action(lower, node, action);
		return;
	case WORD_CAPTURE:
		capture_action(lower, node, action);
		return;
	case WORD_JUMP:
	case WORD_GOTO:
		chain_action(lower, node, action);
		return;
	case WORD_RETURN:
		action->kind = ACTION_RETURN;
		return;
	case WORD_REJECT:
		check_reject_hooks(lower, node, hooks);
		verdict_action(node, action);
		return;
	default:
		verdict_action(node, action);
	}
}

static bool is_terminal(enum action_word kind)
{
	return kind != WORD_COUNT && kind != WORD_LOG && kind != WORD_MARK && kind != WORD_CAPTURE &&
	       kind != WORD_THROTTLE;
}

void actions_lower(struct lower *lower, const struct rule_node *node, hook_mask hooks, struct rule *rule)
{
	bool rated = node->rate.limit.text;
	struct action *all = ARENA_ARRAY(lower->arena, struct action, node->action_count + rated);
	struct action *actions = all + rated;
	struct diag *diag;

	if (rated)
		all[0] = (struct action){ .kind = ACTION_RATE, .span = node->rate.span,
					  .rate = rate_lower(lower, &node->rate, hooks) };
	for (size_t i = 0; i < node->action_count; i++) {
		action_lower(lower, &node->actions[i], hooks, &actions[i]);
		if (!is_terminal(node->actions[i].kind) || i + 1 == node->action_count)
			continue;
		diag = diag_error(lower->diags, node->actions[i + 1].span, "nothing comes after `%s`",
				  action_words[node->actions[i].kind]);
		diag_relate(lower->diags, diag, node->actions[i].span, "which ends the rule");
		for (size_t j = i + 1; j < node->action_count; j++)
			action_lower(lower, &node->actions[j], hooks, &actions[j]);
		break;
	}
	rule->actions = all;
	rule->action_count = node->action_count + rated;
}
