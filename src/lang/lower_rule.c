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
	const struct word *limit, *word;
	u128 burst = LOG_BURST;
	struct rate rate;

	action->kind = ACTION_LOG;
	action->log.text = node->argument.text ? node->argument.text : "";
	if (!node->rate)
		return;
	limit = &node->rate->limit;
	word = &node->rate->burst;
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

		if (!(hooks & ~hooks_that_leave(lower, hooks) & HOOK_BIT(hook)) || hook_table[hook].mark)
			continue;
		diag = diag_error(lower->diags, node->span, "`mark` cannot be set at %s", hook_table[hook].name);
		diag_hint(lower->diags, diag, "tc and cgroup hooks can");
		return;
	}
}

static void check_capture_hooks(struct lower *lower, const struct action_node *node, hook_mask hooks)
{
	for (int hook = 0; hook < HOOK_COUNT; hook++)
		if (hooks & ~hooks_that_leave(lower, hooks) & HOOK_BIT(hook) && hook_table[hook].call) {
			diag_error(lower->diags, node->span, "there is no packet to capture at %s",
				   hook_table[hook].name);
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
			  "xdp and tc answer; connect, bind, netfilter-output and cgroup-egress fail the system call");
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

/* --- sets that packets change --- */

static const struct set *changed_set(struct lower *lower, const struct action_node *node, uint32_t *ret_index)
{
	struct local local = scope_find(lower, node->argument.text);
	const char *nearest;
	struct diag *diag;

	if (local.kind == LOCAL_SET && local.set->failed)
		return NULL; /* said where it is declared */
	if (local.kind == LOCAL_SET) {
		*ret_index = scope_set(lower, local.set);
		return &lower->sets.items[*ret_index];
	}
	nearest = scope_nearest(lower, node->argument.text, false);
	diag = diag_error(lower->diags, node->argument.span, "there is no set `%s`", node->argument.text);
	if (nearest)
		diag_hint(lower->diags, diag, "did you mean `%s`?", nearest);
	return NULL;
}

static const struct field_word *changed_field(struct lower *lower, const struct action_node *node)
{
	const struct field_word *field = words_field(node->field.text);
	struct diag *diag;

	if (field && !node->field.quoted && !field->proto &&
	    (field->type == TYPE_ADDRESS || field->type == TYPE_PORT))
		return field;
	diag = diag_error(lower->diags, node->field.span, "`%s` is nothing that a packet can put into a set",
			  node->field.text);
	diag_hint(lower->diags, diag, "addresses and ports are: `src`, `dst`, `src_port`, `dst_port`");
	return NULL;
}

static bool fits_set(struct lower *lower, const struct action_node *node, const struct field_word *field,
		     const struct set *set)
{
	struct diag *diag;

	if (set->type == SET_PREFIX && field->type == TYPE_ADDRESS) {
		diag = diag_error(lower->diags, node->argument.span, "packets cannot change `%s`: it is a set of prefixes",
				  node->argument.text);
		diag_hint(lower->diags, diag, "a packet has single addresses: keep them in a set of type `address`");
	} else if (!(type_table[field->type].sets & 1u << set->type)) {
		diag = diag_error(lower->diags, node->field.span, "`%s` does not fit `%s`, a set of type `%s`",
				  node->field.text, node->argument.text, set_type_names[set->type]);
	} else if (node->kind == WORD_ADD && set->max_elements > SET_ADDED_MAX) {
		diag = diag_error(lower->diags, node->argument.span,
				  "`%s` is too large for packets to add to it (at most `max %d`)", node->argument.text,
				  SET_ADDED_MAX);
	} else if (node->time.text && !set->timed) {
		diag = diag_error(lower->diags, node->time.span, "the set `%s` has no timeouts", node->argument.text);
		diag_hint(lower->diags, diag, "declare it with a default: `timeout 1h`, or `timeout never`");
	} else {
		return true;
	}
	diag_relate(lower->diags, diag, set->span, "it is declared here");
	return false;
}

/* A call has no source. */
static void check_change_hooks(struct lower *lower, const struct action_node *node, hook_mask hooks)
{
	const struct field_word *field = words_field(node->field.text);
	enum field which = !field ? FIELD_FAMILY : field->field < FIELD_COUNT ? field->field : field->field6;

	if (which >= FIELD_COUNT)
		return;
	hooks &= ~hooks_that_leave(lower, hooks) & ~field_table[which].hooks;
	for (int hook = 0; hook < HOOK_COUNT; hook++)
		if (hooks & HOOK_BIT(hook)) {
			diag_error(lower->diags, node->field.span, "`%s` is not known at %s", node->field.text,
				   hook_table[hook].name);
			return;
		}
}

/* One action for each family of addresses, into `actions`; returns how many: at least one, if only for its place. */
static size_t change_action(struct lower *lower, const struct action_node *node, struct action *actions)
{
	const struct field_word *field = changed_field(lower, node);
	uint32_t index = 0, timeout = 0;
	const struct set *set = changed_set(lower, node, &index);
	size_t count = 0;

	actions[0] = (struct action){ .kind = ACTION_REMOVE, .span = node->span };
	if (!field || !set || !fits_set(lower, node, field, set))
		return 1;
	if (node->kind == WORD_ADD)
		timeout = set->timeout_ms;
	if (node->time.text)
		timeout_lower(lower, &node->time, &timeout);
	for (int six = 0; six < 2; six++) {
		enum field which = six ? field->field6 : field->field;

		if (which >= FIELD_COUNT)
			continue;
		actions[count] = (struct action){ .kind = node->kind == WORD_ADD ? ACTION_ADD : ACTION_REMOVE,
						  .span = node->span };
		actions[count].change.field = which;
		actions[count].change.set = index;
		actions[count++].change.timeout_ms = timeout;
	}
	return count;
}

/* --- actions that end a rule --- */

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

/* Returns how many actions of the intermediate form it takes: one or two. */
static size_t action_lower(struct lower *lower, const struct action_node *node, hook_mask hooks,
			   struct action *action)
{
	action->span = node->span;
	switch (node->kind) {
	case WORD_ADD:
	case WORD_REMOVE:
		check_change_hooks(lower, node, hooks);
		return change_action(lower, node, action);
	case WORD_COUNT:
		count_action(lower, node, action);
		break;
	case WORD_LOG:
		log_action(lower, node, action);
		break;
	case WORD_THROTTLE:
		action->kind = ACTION_THROTTLE;
		action->rate = rate_lower(lower, node->rate, true, hooks);
		break;
	case WORD_MARK:
		check_mark_hooks(lower, node, hooks);
		mark_action(lower, node, action);
		break;
	case WORD_CAPTURE:
		check_capture_hooks(lower, node, hooks);
		capture_action(lower, node, action);
		break;
	case WORD_JUMP:
	case WORD_GOTO:
		chain_action(lower, node, action);
		break;
	case WORD_RETURN:
		action->kind = ACTION_RETURN;
		break;
	case WORD_REJECT:
		check_reject_hooks(lower, node, hooks);
		verdict_action(node, action);
		break;
	default:
		verdict_action(node, action);
	}
	return 1;
}

static bool is_terminal(enum action_word kind)
{
	return kind <= WORD_REJECT || kind >= WORD_JUMP;
}

void actions_lower(struct lower *lower, const struct rule_node *node, hook_mask hooks, struct rule *rule)
{
	bool rated = node->rate;
	struct action *actions = ARENA_ARRAY(lower->arena, struct action, 2 * node->action_count + rated);
	const struct action_node *ended = NULL;
	size_t count = 0;
	struct diag *diag;

	if (rated)
		actions[count++] = (struct action){ .kind = ACTION_RATE, .span = node->rate->span,
					  .rate = rate_lower(lower, node->rate, false, hooks) };
	for (size_t i = 0; i < node->action_count; i++) {
		count += action_lower(lower, &node->actions[i], hooks, &actions[count]);
		if (ended || !is_terminal(node->actions[i].kind) || i + 1 == node->action_count)
			continue;
		ended = &node->actions[i];
		diag = diag_error(lower->diags, ended[1].span, "nothing comes after `%s`", action_words[ended->kind]);
		diag_relate(lower->diags, diag, ended->span, "which ends the rule");
	}
	rule->actions = actions;
	rule->action_count = count;
}
