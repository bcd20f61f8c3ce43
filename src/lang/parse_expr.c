/* SPDX-License-Identifier: GPL-2.0-only */
/* Conditions and values. Binding, tightest first: `&`, comparisons and `in`, `not`, `and`, `or`. See parse.h. */
#include <string.h>

#include "lang/parse.h"
#include "lang/words.h"

static struct expr *expr_new(struct parser *parser, enum expr_kind kind, uint32_t offset)
{
	struct expr *expr = ARENA_NEW(parser->arena, struct expr);

	expr->kind = kind;
	expr->span = parse_span_since(parser, offset);
	return expr;
}

/* --- values -------------------------------------------------------------------------------------------------- */

static bool include(struct parser *parser, struct value *ret_value)
{
	uint32_t offset = parse_next(parser)->offset;

	ret_value->kind = VALUE_INCLUDE;
	if (!parse_word_or_string(parser, "a file name", &ret_value->word))
		return false;
	ret_value->span = parse_span_since(parser, offset);
	return true;
}

static bool word_value(struct parser *parser, struct value *ret_value)
{
	*ret_value = (struct value){ .kind = VALUE_WORD };
	if (!parse_word_or_string(parser, "a value", &ret_value->word))
		return false;
	ret_value->span = ret_value->word.span;
	return true;
}

/* syn|ack, perhaps in parentheses, which are not part of it; most often one word */
static bool flags(struct parser *parser, struct value *ret_value)
{
	uint32_t offset = parse_peek(parser)->offset;
	VEC(struct value) items = { 0 };

	if (!word_value(parser, ret_value))
		return false;
	if (parse_peek(parser)->kind != TOKEN_PIPE)
		return true;
	VEC_PUSH(parser->arena, &items) = *ret_value;
	while (parse_accept(parser, TOKEN_PIPE)) {
		struct value item;

		parse_skip_newlines(parser);
		if (!word_value(parser, &item))
			return false;
		VEC_PUSH(parser->arena, &items) = item;
	}
	*ret_value = (struct value){ .kind = VALUE_FLAGS, .span = parse_span_since(parser, offset),
				     .items = items.items, .count = items.count };
	return true;
}

/* members("wheel") */
static bool members(struct parser *parser, struct value *ret_value)
{
	uint32_t offset = parse_next(parser)->offset;
	bool good;

	parse_next(parser);
	*ret_value = (struct value){ .kind = VALUE_MEMBERS };
	parser->brackets++;
	good = parse_word_or_string(parser, "a group", &ret_value->word) && parse_expect(parser, TOKEN_RPAREN, "`)`");
	parser->brackets--;
	ret_value->span = parse_span_since(parser, offset);
	return good;
}

/* One element of a list, or an operand without braces. */
static bool single(struct parser *parser, struct value *ret_value)
{
	const struct token *token = parse_peek(parser);

	if (parse_is_word(parser, "members") && parse_peek_second(parser)->kind == TOKEN_LPAREN)
		return members(parser, ret_value);
	if (token->kind == TOKEN_LPAREN) {
		bool good;

		parse_next(parser);
		parser->brackets++;
		good = flags(parser, ret_value) && parse_expect(parser, TOKEN_RPAREN, "`|` or `)`");
		parser->brackets--;
		return good;
	}
	return flags(parser, ret_value);
}

/* An element's own `timeout TIME`; that only those of sets have one is the checker's business. */
static bool element_timeout(struct parser *parser, struct value *item)
{
	struct word *timeout;

	if (item->kind != VALUE_WORD || !parse_is_word(parser, "timeout"))
		return true;
	parse_next(parser);
	timeout = ARENA_NEW(parser->arena, struct word);
	item->timeout = timeout;
	return parse_word(parser, "a time like `10min`, or `never`", timeout);
}

static bool list_items(struct parser *parser, struct value *ret_value)
{
	VEC(struct value) items = { 0 };

	while (parse_peek(parser)->kind != TOKEN_RBRACE) {
		struct value item = { 0 };

		if (parse_is_word(parser, "include") ? !include(parser, &item) :
			    !single(parser, &item) || !element_timeout(parser, &item))
			return false;
		VEC_PUSH(parser->arena, &items) = item;
		/* an element ends at a comma, and after an included file nothing is needed */
		if (!parse_accept(parser, TOKEN_COMMA) && item.kind != VALUE_INCLUDE)
			break;
	}
	ret_value->items = items.items;
	ret_value->count = items.count;
	return parse_expect(parser, TOKEN_RBRACE, "`,` or `}`");
}

bool parse_list(struct parser *parser, struct value *ret_value)
{
	uint32_t offset = parse_next(parser)->offset;
	bool good;

	ret_value->kind = VALUE_LIST;
	parser->brackets++;
	parser->braces++;
	good = list_items(parser, ret_value);
	parser->brackets--;
	parser->braces -= good; /* else it is open when the parser recovers */
	ret_value->span = parse_span_since(parser, offset);
	return good;
}

bool parse_value(struct parser *parser, struct value *ret_value)
{
	const struct token *token = parse_peek(parser);

	*ret_value = (struct value){ .kind = VALUE_ERROR };
	if (token->kind == TOKEN_LBRACE)
		return parse_list(parser, ret_value);
	return single(parser, ret_value);
}

/* --- conditions ---------------------------------------------------------------------------------------------- */

static const struct {
	enum token_kind token;
	enum compare op;
} comparisons[] = {
	{ TOKEN_EQ, COMPARE_EQ }, { TOKEN_NE, COMPARE_NE }, { TOKEN_LT, COMPARE_LT },     { TOKEN_LE, COMPARE_LE },
	{ TOKEN_GT, COMPARE_GT }, { TOKEN_GE, COMPARE_GE }, { TOKEN_IN, COMPARE_IN },
	{ TOKEN_TILDE, COMPARE_GLOB },
};

static bool comparison(struct parser *parser, enum compare *ret_op, struct span *ret_span)
{
	const struct token *token = parse_peek(parser);
	const struct token *first = token;

	if (token->kind == TOKEN_NOT && parse_peek_second(parser)->kind == TOKEN_IN) {
		parse_next(parser);
		token = parse_next(parser);
		*ret_op = COMPARE_NOT_IN;
		*ret_span = span_join(parse_span(parser, first), parse_span(parser, token));
		return true;
	}
	for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++) {
		if (comparisons[i].token != token->kind)
			continue;
		parse_next(parser);
		*ret_op = comparisons[i].op;
		*ret_span = parse_span(parser, token);
		return true;
	}
	return false;
}

/* `=` where `==` is meant: say so once and read it as `==`. */
static bool single_equals(struct parser *parser, struct expr *expr)
{
	const struct token *token = parse_peek(parser);
	struct diag *diag;

	if (token->kind != TOKEN_ASSIGN)
		return false;
	diag = diag_error(parser->diags, parse_span(parser, token), "`=` does not compare");
	diag_hint(parser->diags, diag, "write `==`");
	parse_next(parser);
	expr->op = COMPARE_EQ;
	expr->op_span = parse_span(parser, token);
	return true;
}

static bool mask(struct parser *parser, struct expr *expr)
{
	struct value *value;

	if (!parse_accept(parser, TOKEN_MASK))
		return true;
	value = ARENA_NEW(parser->arena, struct value);
	parse_skip_newlines(parser);
	if (!single(parser, value))
		return false;
	expr->mask = value;
	return true;
}

static void needs_comparison(struct parser *parser, const struct expr *expr)
{
	struct diag *diag = parse_unexpected(parser, "a comparison after the mask");

	if (diag && expr->mask->kind == VALUE_WORD)
		diag_hint(parser->diags, diag, "`%s & %s == %s` holds when all bits of the mask are set",
			  expr->field.text, expr->mask->word.text, expr->mask->word.text);
}

/* `user known` */
static struct expr *word_condition(struct parser *parser, struct expr *expr)
{
	if (parse_is_word(parser, "known")) {
		parse_next(parser);
		expr->kind = EXPR_KNOWN;
	} else {
		expr->kind = EXPR_WORD;
	}
	expr->span = parse_span_since(parser, expr->field.span.offset);
	return expr;
}

/* What a later version brings. The whole rule is left: what follows the word may be of any form. */
static bool reserved(struct parser *parser, const struct token *token)
{
	const char *text = parser->source->text + token->offset;

	if (!words_reserved_condition(text, token->length))
		return false;
	diag_error(parser->diags, parse_span(parser, token), "`%.*s` is not supported yet", (int)token->length, text);
	return true;
}

/* `knocked(NAME)`, after the word. */
static struct expr *knocked(struct parser *parser, struct expr *expr)
{
	expr->kind = EXPR_KNOCKED;
	if (!parse_expect(parser, TOKEN_LPAREN, "`(` and the name of a knock"))
		return NULL;
	if (!parse_word(parser, "the name of a knock", &expr->value.word) || !parse_expect(parser, TOKEN_RPAREN, "`)`"))
		return NULL;
	expr->span = parse_span_since(parser, expr->field.span.offset);
	return expr;
}

/* `rate <= LIMIT ...` */
static struct expr *rate_condition(struct parser *parser)
{
	const struct token *token = parse_next(parser);
	struct expr *expr = expr_new(parser, EXPR_RATE, token->offset);
	struct rate_node *rate;
	struct diag *diag;

	expr->field = parse_word_token(parser, token);
	if (!parse_accept(parser, TOKEN_LE)) {
		diag = parse_unexpected(parser, "`<=` after `rate`");
		if (diag)
			diag_hint(parser->diags, diag, "`rate <= 10/s` holds while there are tokens; for what is over, write "
				  "a rule behind it");
		return NULL;
	}
	parse_skip_newlines(parser);
	rate = parse_rate(parser, true);
	if (!rate)
		return NULL;
	expr->span = rate->span = parse_span_since(parser, token->offset);
	expr->rate = rate;
	return expr;
}

/* `tree of`, after `in`. */
static bool tree_of(struct parser *parser)
{
	const struct token *next = parse_peek_second(parser);

	if (!parse_is_word(parser, "tree") || next->kind != TOKEN_WORD || next->length != 2 ||
	    memcmp(parser->source->text + next->offset, "of", 2))
		return false;
	parse_next(parser);
	parse_next(parser);
	parse_skip_newlines(parser);
	return true;
}

static struct expr *condition(struct parser *parser)
{
	const struct token *token = parse_peek(parser);
	struct expr *expr;
	struct diag *diag;

	if (token->kind == TOKEN_WORD && reserved(parser, token))
		return NULL;
	if (parse_is_word(parser, "rate"))
		return rate_condition(parser);
	if (token->kind != TOKEN_WORD) {
		diag = parse_unexpected(parser, "a condition");
		if (diag && token->kind == TOKEN_STRING)
			diag_hint(parser->diags, diag, "the field comes first: `user == \"alice\"`");
		return NULL;
	}
	parse_next(parser);
	expr = expr_new(parser, EXPR_COMPARE, token->offset);
	expr->field = parse_word_token(parser, token);
	if (!strcmp(expr->field.text, "knocked"))
		return knocked(parser, expr);
	if (!mask(parser, expr))
		return NULL;
	if (!comparison(parser, &expr->op, &expr->op_span) && !single_equals(parser, expr)) {
		if (!expr->mask)
			return word_condition(parser, expr);
		needs_comparison(parser, expr);
		return NULL;
	}
	parse_skip_newlines(parser);
	expr->tree = (expr->op == COMPARE_IN || expr->op == COMPARE_NOT_IN) && tree_of(parser);
	if (!parse_value(parser, &expr->value))
		return NULL;
	expr->span = parse_span_since(parser, token->offset);
	return expr;
}

static struct expr *parenthesis(struct parser *parser)
{
	const struct token *opening = parse_next(parser);
	struct expr *expr;
	struct diag *diag;

	if (!parse_enter(parser, opening))
		return NULL;
	parser->brackets++;
	expr = parse_expression(parser);
	if (expr && !parse_accept(parser, TOKEN_RPAREN)) {
		diag = parse_unexpected(parser, "`)`");
		if (diag)
			diag_relate(parser->diags, diag, parse_span(parser, opening), "to close this one");
		expr = NULL;
	}
	parser->brackets--;
	if (expr)
		parse_leave(parser);
	return expr;
}

static struct expr *negation(struct parser *parser)
{
	const struct token *token = parse_peek(parser);
	struct expr *inner, *expr;

	if (token->kind == TOKEN_LPAREN)
		return parenthesis(parser);
	if (token->kind != TOKEN_NOT)
		return condition(parser);
	parse_next(parser);
	parse_skip_newlines(parser);
	if (!parse_enter(parser, token))
		return NULL;
	inner = negation(parser);
	if (!inner)
		return NULL;
	parse_leave(parser);
	expr = expr_new(parser, EXPR_NOT, token->offset);
	expr->items = ARENA_ARRAY(parser->arena, struct expr *, 1);
	expr->items[0] = inner;
	expr->count = 1;
	return expr;
}

static struct expr *operands(struct parser *parser, enum expr_kind kind);

static struct expr *operand(struct parser *parser, enum expr_kind kind)
{
	return kind == EXPR_AND ? negation(parser) : operands(parser, EXPR_AND);
}

/* One or more operands of `and` (of `or`, whose operands are those of `and`). */
static struct expr *operands(struct parser *parser, enum expr_kind kind)
{
	enum token_kind token = kind == EXPR_AND ? TOKEN_AND : TOKEN_OR;
	uint32_t offset = parse_peek(parser)->offset;
	struct expr *expr = operand(parser, kind);
	VEC(struct expr *) items = { 0 };

	if (!expr || parse_peek(parser)->kind != token)
		return expr;
	VEC_PUSH(parser->arena, &items) = expr;
	while (parse_accept(parser, token)) {
		parse_skip_newlines(parser);
		expr = operand(parser, kind);
		if (!expr)
			return NULL;
		VEC_PUSH(parser->arena, &items) = expr;
	}
	expr = expr_new(parser, kind, offset);
	expr->items = items.items;
	expr->count = items.count;
	return expr;
}

struct expr *parse_expression(struct parser *parser)
{
	return operands(parser, EXPR_OR);
}

void parse_hint_after(struct parser *parser, struct diag *diag)
{
	switch (parse_peek(parser)->kind) {
	case TOKEN_EQ:
	case TOKEN_NE:
	case TOKEN_LT:
	case TOKEN_LE:
	case TOKEN_GT:
	case TOKEN_GE:
		diag_hint(parser->diags, diag, "comparisons do not chain: join them with `and`");
		return;
	case TOKEN_PIPE:
		diag_hint(parser->diags, diag, "`|` joins TCP flags; conditions are joined with `or` or `||`");
		return;
	case TOKEN_IF:
		diag_hint(parser->diags, diag, "an expression is the condition alone; rules stand in a policy");
		return;
	default:
		return;
	}
}

static void trailing(struct parser *parser)
{
	struct diag *diag = parse_unexpected(parser, "`and`, `or` or the end");

	if (diag)
		parse_hint_after(parser, diag);
}

struct expr *parse_only_expression(struct parser *parser)
{
	struct expr *expr;

	parser->brackets = 1; /* a newline never ends it */
	if (parse_peek(parser)->kind == TOKEN_END) {
		diag_error(parser->diags, parse_span(parser, parse_peek(parser)),
			   "expected a condition, found nothing");
		return NULL;
	}
	expr = parse_expression(parser);
	if (expr && parse_peek(parser)->kind != TOKEN_END) {
		trailing(parser);
		return NULL;
	}
	return expr;
}
