/* SPDX-License-Identifier: GPL-2.0-only */
/* A rule: actions, then `if` and a condition. See parse.h. */
#include <string.h>

#include "lang/parse.h"
#include "lang/words.h"

/* An option: the word `name`, then what it is about. */
static bool option(struct parser *parser, const char *name, const char *what, struct word *ret_word)
{
	if (!parse_is_word(parser, name))
		return true;
	parse_next(parser);
	return parse_word(parser, what, ret_word);
}

struct rate_node *parse_rate(struct parser *parser, bool keyed)
{
	uint32_t offset = parse_peek(parser)->offset;
	struct rate_node *rate = ARENA_NEW(parser->arena, struct rate_node);

	if (!parse_word(parser, "a rate like `10/s`", &rate->limit) ||
	    !option(parser, "burst", "a number", &rate->burst))
		return NULL;
	if (keyed && (!option(parser, "per", "`src`, `dst`, `flow` or `user`", &rate->key) ||
		      (rate->key.text && !option(parser, "max", "a number", &rate->max))))
		return NULL;
	rate->span = parse_span_since(parser, offset);
	return rate;
}

static bool log_rate(struct parser *parser, struct action_node *action)
{
	if (!parse_is_word(parser, "rate"))
		return true;
	parse_next(parser);
	action->rate = parse_rate(parser, false);
	return action->rate;
}

static bool log_action(struct parser *parser, struct action_node *action)
{
	if (parse_peek(parser)->kind == TOKEN_STRING &&
	    !parse_word_or_string(parser, "a text", &action->argument))
		return false;
	return log_rate(parser, action);
}

static bool throttle_action(struct parser *parser, struct action_node *action)
{
	action->rate = parse_rate(parser, true);
	return action->rate;
}

static bool count_action(struct parser *parser, struct action_node *action)
{
	return parse_word(parser, "a counter's name", &action->argument);
}

static bool mark_action(struct parser *parser, struct action_node *action)
{
	return parse_word(parser, "a mark like `1` or `0x10/0xff`", &action->argument);
}

static bool capture_action(struct parser *parser, struct action_node *action)
{
	if (!parse_is_word(parser, "snap"))
		return true;
	parse_next(parser);
	return parse_word(parser, "a number of bytes", &action->argument);
}

static bool chain_action(struct parser *parser, struct action_node *action)
{
	return parse_word(parser, "a chain's name", &action->argument);
}

/* FIELD to SET [for TIME], FIELD from SET */
static bool change_action(struct parser *parser, struct action_node *action)
{
	const char *word = action->kind == WORD_ADD ? "to" : "from";

	if (!parse_word(parser, "a field like `src`", &action->field))
		return false;
	if (!parse_is_word(parser, word)) {
		parse_unexpected(parser, action->kind == WORD_ADD ? "`to` and a set" : "`from` and a set");
		return false;
	}
	parse_next(parser);
	if (!parse_word(parser, "a set's name", &action->argument))
		return false;
	if (action->kind != WORD_ADD || !parse_is_word(parser, "for"))
		return true;
	parse_next(parser);
	return parse_word(parser, "a time like `10min`", &action->time);
}

/* What follows the action's word; NULL: nothing. */
static bool (*const action_arguments[ACTION_WORD_COUNT])(struct parser *parser, struct action_node *action) = {
	[WORD_THROTTLE] = throttle_action,
	[WORD_COUNT] = count_action,     [WORD_LOG] = log_action,   [WORD_MARK] = mark_action,
	[WORD_CAPTURE] = capture_action, [WORD_JUMP] = chain_action, [WORD_GOTO] = chain_action,
	[WORD_ADD] = change_action,      [WORD_REMOVE] = change_action,
};

static bool action(struct parser *parser, int kind, struct action_node *ret_action)
{
	const struct token *token = parse_next(parser);

	*ret_action = (struct action_node){ .kind = (enum action_word)kind };
	if (action_arguments[kind] && !action_arguments[kind](parser, ret_action))
		return false;
	ret_action->span = parse_span_since(parser, token->offset);
	return true;
}

static int next_action(struct parser *parser)
{
	const struct token *token = parse_peek(parser);

	if (token->kind != TOKEN_WORD)
		return -1;
	return words_action(parser->source->text + token->offset, token->length);
}

static bool actions(struct parser *parser, struct rule_node *rule)
{
	int kind;

	parser->actions.count = 0;
	while ((kind = next_action(parser)) >= 0) {
		struct action_node node;

		if (!action(parser, kind, &node))
			return false;
		VEC_PUSH(parser->arena, &parser->actions) = node;
	}
	rule->action_count = parser->actions.count;
	rule->actions = arena_copy(parser->arena, parser->actions.items,
				   rule->action_count * sizeof *rule->actions);
	return true;
}

/* After the actions and the condition only the line's end may come. */
static bool rule_end(struct parser *parser, bool condition)
{
	const struct token *token = parse_peek(parser);
	const char *text = parser->source->text + token->offset;
	struct diag *diag;

	if (parse_statement_end(parser))
		return true;
	diag = parse_unexpected(parser, condition ? "`and`, `or` or the end of the rule" :
						    "an action, `if` or the end of the rule");
	if (diag && condition && next_action(parser) >= 0)
		diag_hint(parser->diags, diag, "actions come before `if`: `accept if udp`");
	else if (diag && !condition && words_is_condition(text, token->length))
		diag_hint(parser->diags, diag, "a condition begins with `if`");
	else if (diag && condition)
		parse_hint_after(parser, diag);
	return false;
}

/* The rule's own rate: the condition, or an operand of the `and` that it is. What is left is the condition. */
static void take_rate(struct parser *parser, struct rule_node *rule)
{
	struct expr *cond = rule->cond;
	size_t kept = 0;

	if (cond->kind == EXPR_RATE) {
		rule->rate = cond->rate;
		rule->cond = NULL;
		return;
	}
	for (size_t i = 0; cond->kind == EXPR_AND && i < cond->count; i++) {
		struct expr *item = cond->items[i];
		struct diag *diag;

		if (item->kind != EXPR_RATE) {
			cond->items[kept++] = item;
		} else if (!rule->rate) {
			rule->rate = item->rate;
		} else {
			diag = diag_error(parser->diags, item->span, "a rule has one rate only");
			diag_relate(parser->diags, diag, rule->rate->span, "the first one is here");
		}
	}
	if (!kept)
		rule->cond = cond->kind == EXPR_AND ? NULL : cond;
	else if (kept == 1)
		rule->cond = cond->items[0];
	else
		cond->count = kept;
}

bool parse_rule(struct parser *parser, struct rule_node *ret_rule)
{
	uint32_t offset = parse_peek(parser)->offset;
	bool conditional;

	*ret_rule = (struct rule_node){ .number = ++parser->rule_count, .failed = true };
	if (!actions(parser, ret_rule))
		return false;
	if (parse_accept(parser, TOKEN_IF)) {
		parse_skip_newlines(parser);
		ret_rule->cond = parse_expression(parser);
		if (!ret_rule->cond)
			return false;
	}
	conditional = ret_rule->cond;
	if (conditional)
		take_rate(parser, ret_rule);
	if (!rule_end(parser, conditional))
		return false;
	ret_rule->failed = false;
	ret_rule->span = parse_span_since(parser, offset);
	return true;
}
