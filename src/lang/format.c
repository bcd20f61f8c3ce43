/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Canonical form: four blanks a level, one statement a line, operators as words, no parentheses but those needed.
 * Input: a parsed file; output: text that parses to the same. Cannot fail.
 */
#include "lang/format.h"

#include <stdarg.h>
#include <string.h>

#include "lang/words.h"

struct out {
	struct arena *arena;
	VEC(char) text;
	unsigned level;
};

static void put(struct out *out, const char *text)
{
	for (; *text; text++)
		VEC_PUSH(out->arena, &out->text) = *text;
}

static void indent(struct out *out)
{
	for (unsigned i = 0; i < out->level; i++)
		put(out, "    ");
}

static void put_word(struct out *out, const struct word *word)
{
	if (!word->quoted) {
		put(out, word->text);
		return;
	}
	put(out, "\"");
	for (const char *c = word->text; *c; c++) {
		if (*c == '"' || *c == '\\')
			put(out, "\\");
		VEC_PUSH(out->arena, &out->text) = *c;
	}
	put(out, "\"");
}

static void put_option(struct out *out, const char *before, const struct word *word)
{
	if (!word->text)
		return;
	put(out, before);
	put_word(out, word);
}

static void put_value(struct out *out, const struct value *value);

static void put_list(struct out *out, const struct value *value)
{
	put(out, "{");
	for (size_t i = 0; i < value->count; i++) {
		put(out, i ? ", " : " ");
		put_value(out, &value->items[i]);
		if (value->items[i].timeout)
			put_option(out, " timeout ", value->items[i].timeout);
	}
	put(out, " }");
}

static void put_flags(struct out *out, const struct value *value)
{
	put(out, "(");
	for (size_t i = 0; i < value->count; i++) {
		put(out, i ? "|" : "");
		put_value(out, &value->items[i]);
	}
	put(out, ")");
}

static void put_value(struct out *out, const struct value *value)
{
	switch (value->kind) {
	case VALUE_INCLUDE:
		put(out, "include ");
		put_word(out, &value->word);
		return;
	case VALUE_MEMBERS:
		put(out, "members(");
		put_word(out, &value->word);
		put(out, ")");
		return;
	case VALUE_LIST:
		put_list(out, value);
		return;
	case VALUE_FLAGS:
		put_flags(out, value);
		return;
	default:
		put_word(out, &value->word);
	}
}

static const char *const compare_text[] = {
	[COMPARE_EQ] = " == ", [COMPARE_NE] = " != ", [COMPARE_LT] = " < ",  [COMPARE_LE] = " <= ",
	[COMPARE_GT] = " > ",  [COMPARE_GE] = " >= ", [COMPARE_IN] = " in ", [COMPARE_NOT_IN] = " not in ",
	[COMPARE_GLOB] = " ~ ",
};

static void put_rate(struct out *out, const char *before, const struct rate_node *rate)
{
	if (!rate)
		return;
	put_option(out, before, &rate->limit);
	put_option(out, " burst ", &rate->burst);
	put_option(out, " per ", &rate->key);
	put_option(out, " max ", &rate->max);
}

static void put_expr(struct out *out, const struct expr *expr);

static void put_operand(struct out *out, const struct expr *expr, bool parentheses)
{
	put(out, parentheses ? "(" : "");
	put_expr(out, expr);
	put(out, parentheses ? ")" : "");
}

static void put_expr(struct out *out, const struct expr *expr)
{
	switch (expr->kind) {
	case EXPR_AND:
	case EXPR_OR:
		for (size_t i = 0; i < expr->count; i++) {
			enum expr_kind inner = expr->items[i]->kind;

			put(out, !i ? "" : expr->kind == EXPR_AND ? " and " : " or ");
			put_operand(out, expr->items[i], inner == EXPR_OR || inner == expr->kind);
		}
		return;
	case EXPR_NOT:
		put(out, "not ");
		put_operand(out, expr->items[0],
			    expr->items[0]->kind == EXPR_AND || expr->items[0]->kind == EXPR_OR);
		return;
	case EXPR_RATE:
		put_rate(out, "rate <= ", expr->rate);
		return;
	case EXPR_KNOWN:
	case EXPR_WORD:
		put_word(out, &expr->field);
		put(out, expr->kind == EXPR_KNOWN ? " known" : "");
		return;
	case EXPR_KNOCKED:
		put(out, "knocked(");
		put_word(out, &expr->value.word);
		put(out, ")");
		return;
	case EXPR_COMPARE:
		put_word(out, &expr->field);
		if (expr->mask) {
			put(out, " & ");
			put_value(out, expr->mask);
		}
		put(out, compare_text[expr->op]);
		put(out, expr->tree ? "tree of " : "");
		put_value(out, &expr->value);
	}
}

/* What stands before an action's argument. */
static const char *argument_word(enum action_word kind)
{
	switch (kind) {
	case WORD_CAPTURE:
		return " snap ";
	case WORD_ADD:
		return " to ";
	case WORD_REMOVE:
		return " from ";
	default:
		return " ";
	}
}

static void put_rule(struct out *out, const struct rule_node *rule)
{
	for (size_t i = 0; i < rule->action_count; i++) {
		const struct action_node *action = &rule->actions[i];

		put(out, i ? " " : "");
		put(out, action_words[action->kind]);
		put_option(out, " ", &action->field);
		put_option(out, argument_word(action->kind), &action->argument);
		put_option(out, " for ", &action->time);
		put_rate(out, action->kind == WORD_THROTTLE ? " " : " rate ", action->rate);
	}
	put(out, rule->cond || rule->rate ? " if " : "");
	if (rule->cond)
		put_operand(out, rule->cond, rule->rate && rule->cond->kind == EXPR_OR);
	put_rate(out, rule->cond ? " and rate <= " : "rate <= ", rule->rate);
	put(out, "\n");
}

static void put_define(struct out *out, const struct define_node *define)
{
	put(out, "define ");
	put_word(out, &define->name);
	put(out, " = ");
	put_value(out, &define->value);
	put(out, define->tunable ? " tunable\n" : "\n");
}

static void put_set(struct out *out, const struct set_node *set)
{
	put(out, "set ");
	put_word(out, &set->name);
	put_option(out, " : ", &set->type);
	put_option(out, " timeout ", &set->timeout);
	put_option(out, " max ", &set->max);
	put(out, " ");
	put_list(out, &set->elements);
	put(out, "\n");
}

static void put_on(struct out *out, const struct on_node *on)
{
	put(out, on->track ? "track on " : "on ");
	put_word(out, &on->family);
	put_option(out, " ", &on->target);
	put(out, on->optional ? " optional" : "");
	put_option(out, " ", &on->point);
	put_option(out, " ", &on->mode);
	put_option(out, " priority ", &on->priority);
	put(out, "\n");
}

static void put_flows(struct out *out, const struct flows_node *flows)
{
	put(out, "flows ");
	put_word(out, &flows->what);
	put_option(out, " ", &flows->state);
	put_option(out, " ", &flows->value);
	put(out, "\n");
}

static void put_setting(struct out *out, const struct policy_node *policy, size_t kind)
{
	static const char *const names[SETTING_COUNT] = {
		[SETTING_DEFAULT] = "default ", [SETTING_MALFORMED] = "malformed ", [SETTING_NON_IP] = "non_ip ",
		[SETTING_CLASSIFIER] = "classifier = ", [SETTING_CACHE] = "cache = ", [SETTING_CAPTURES] = "captures = ",
	};

	put_option(out, names[kind], &policy->settings[kind]);
	put(out, "\n");
}

static void put_chain(struct out *out, const struct chain_node *chain)
{
	put(out, "chain ");
	put_word(out, &chain->name);
	put(out, " {\n");
	out->level++;
	for (size_t i = 0; i < chain->rules.count; i++) {
		indent(out);
		put_rule(out, &chain->rules.items[i]);
	}
	out->level--;
	indent(out);
	put(out, "}\n");
}

static void put_knock(struct out *out, const struct knock_node *knock)
{
	put(out, "knock ");
	put_word(out, &knock->name);
	put(out, " {");
	for (size_t i = 0; i < knock->steps.count; i++) {
		put(out, i ? ", " : " sequence ");
		put_expr(out, knock->steps.items[i]);
	}
	put_option(out, " key file ", &knock->clauses[KNOCK_KEY]);
	if (knock->on) {
		put(out, " on ");
		put_expr(out, knock->on);
	}
	put_option(out, " within ", &knock->clauses[KNOCK_WITHIN]);
	put_option(out, " open ", &knock->clauses[KNOCK_OPEN]);
	put(out, knock->clauses[KNOCK_EXTEND].text ? " extend" : "");
	put_option(out, " skew ", &knock->clauses[KNOCK_SKEW]);
	put(out, knock->clauses[KNOCK_BIND].text ? " bind" : "");
	put_option(out, " per ", &knock->clauses[KNOCK_PER]);
	put_option(out, " max ", &knock->clauses[KNOCK_MAX]);
	put(out, " }\n");
}

static void put_item(struct out *out, const struct policy_node *policy, const struct item *item)
{
	switch (item->kind) {
	case ITEM_DEFINE:
		put_define(out, &policy->defines.items[item->index]);
		return;
	case ITEM_SET:
		put_set(out, &policy->sets.items[item->index]);
		return;
	case ITEM_ON:
		put_on(out, &policy->ons.items[item->index]);
		return;
	case ITEM_FLOWS:
		put_flows(out, &policy->flows.items[item->index]);
		return;
	case ITEM_SETTING:
		put_setting(out, policy, item->index);
		return;
	case ITEM_CHAIN:
		put_chain(out, &policy->chains.items[item->index]);
		return;
	case ITEM_KNOCK:
		put_knock(out, &policy->knocks.items[item->index]);
		return;
	default:
		put_rule(out, &policy->chains.items[0].rules.items[item->index]);
	}
}

/* A blank line goes between statements of different kinds: head, names, chains, rules. */
static int paragraph(enum item_kind kind)
{
	if (kind == ITEM_ON || kind == ITEM_SETTING || kind == ITEM_FLOWS)
		return 0;
	return kind == ITEM_DEFINE || kind == ITEM_SET || kind == ITEM_KNOCK ? 1 : 2 + (int)kind;
}

static void put_policy(struct out *out, const struct policy_node *policy)
{
	put(out, "policy ");
	put_word(out, &policy->name);
	put(out, policy->observe.text ? " observe {\n" : " {\n");
	out->level++;
	for (size_t i = 0; i < policy->items.count; i++) {
		const struct item *item = &policy->items.items[i];

		if (i && (paragraph(item->kind) != paragraph(item[-1].kind) || item->kind == ITEM_CHAIN))
			put(out, "\n");
		indent(out);
		put_item(out, policy, item);
	}
	out->level--;
	put(out, "}\n");
}

static void put_file_item(struct out *out, const struct file_node *file, const struct item *item)
{
	if (item->kind == ITEM_DEFINE)
		put_define(out, &file->defines.items[item->index]);
	else if (item->kind == ITEM_SET)
		put_set(out, &file->sets.items[item->index]);
	else
		put_policy(out, &file->policies.items[item->index]);
}

char *format_file(struct arena *arena, const struct file_node *file)
{
	struct out out = { .arena = arena };

	if (file->expression) {
		put_expr(&out, file->expression);
		put(&out, "\n");
	}
	for (size_t i = 0; i < file->items.count; i++) {
		const struct item *item = &file->items.items[i];

		if (i && (item->kind == ITEM_POLICY || item[-1].kind == ITEM_POLICY))
			put(&out, "\n");
		put_file_item(&out, file, item);
	}
	VEC_PUSH(arena, &out.text) = '\0';
	return out.text.items;
}
