/* SPDX-License-Identifier: GPL-2.0-only */
/* `knock NAME { sequence EXPR, EXPR, ... within T open T ... }` or `{ key file "PATH" open T ... }`. See parse.h. */
#include <string.h>

#include "lang/parse.h"
#include "lang/words.h"

/* What a knock is made of, in any order, each at most once. */
static const struct clause {
	const char *word;
	enum knock_clause kind;
	const char *wants; /* NULL: nothing follows */
} clauses[] = {
	{ "sequence", KNOCK_SEQUENCE, "a condition" },
	{ "within", KNOCK_WITHIN, "a time like `10s`" },
	{ "open", KNOCK_OPEN, "a time like `30s`" },
	{ "extend", KNOCK_EXTEND, NULL },
	{ "per", KNOCK_PER, "`src`, `src/32/64` or `src/32/128`" },
	{ "max", KNOCK_MAX, "a number" },
	{ "key", KNOCK_KEY, "the key's file" },
	{ "on", KNOCK_ON, "a condition" },
	{ "skew", KNOCK_SKEW, "a time like `60s`" },
	{ "bind", KNOCK_BIND, NULL },
};

enum { CLAUSE_COUNT = sizeof clauses / sizeof clauses[0] };

static const struct clause *next_clause(struct parser *parser)
{
	for (size_t i = 0; i < CLAUSE_COUNT; i++)
		if (parse_is_word(parser, clauses[i].word))
			return &clauses[i];
	return NULL;
}

static bool sequence(struct parser *parser, struct knock_node *node)
{
	do {
		struct expr *expr = parse_expression(parser);

		if (!expr)
			return false;
		VEC_PUSH(parser->arena, &node->steps) = expr;
	} while (parse_accept(parser, TOKEN_COMMA));
	return true;
}

/* `file "PATH"` */
static bool key(struct parser *parser, struct word *word)
{
	if (!parse_is_word(parser, "file")) {
		parse_unexpected(parser, "`file` and the key's path");
		return false;
	}
	parse_next(parser);
	return parse_word_or_string(parser, "the key's path", word);
}

static const char *wanted(const struct knock_node *node)
{
	if (node->steps.count)
		return "`within`, `open`, `,` or `}`";
	return node->clauses[KNOCK_KEY].text ? "`on`, `open` or `}`" : "`sequence`, `key`, `open` or `}`";
}

static void unknown_clause(struct parser *parser, const struct knock_node *node)
{
	const struct token *token = parse_peek(parser);
	const char *words[CLAUSE_COUNT], *nearest;
	struct diag *diag = parse_unexpected(parser, wanted(node));

	for (size_t i = 0; i < CLAUSE_COUNT; i++)
		words[i] = clauses[i].word;
	nearest = token->kind == TOKEN_WORD ? nearest_word(parser->source->text + token->offset, token->length, words,
							   CLAUSE_COUNT) : NULL;
	if (diag && nearest)
		diag_hint(parser->diags, diag, "did you mean `%s`?", nearest);
}

static bool clause(struct parser *parser, struct knock_node *node)
{
	const struct clause *clause = next_clause(parser);
	const struct token *token = parse_peek(parser);
	struct word *word;
	struct diag *diag;

	if (!clause) {
		unknown_clause(parser, node);
		return false;
	}
	parse_next(parser);
	word = &node->clauses[clause->kind];
	if (word->text) {
		diag = diag_error(parser->diags, parse_span(parser, token), "this is set twice");
		diag_relate(parser->diags, diag, word->span, "first here");
		return false;
	}
	*word = parse_word_token(parser, token);
	if (clause->kind == KNOCK_SEQUENCE)
		return sequence(parser, node);
	if (clause->kind == KNOCK_ON)
		return (node->on = parse_expression(parser)) != NULL;
	if (clause->kind == KNOCK_KEY)
		return key(parser, word);
	return !clause->wants || parse_word(parser, clause->wants, word);
}

/* After an error: past the brace that ends the knock, and what opens on the way. */
static void skip_rest(struct parser *parser)
{
	unsigned open = 1;

	for (; open && parse_peek(parser)->kind != TOKEN_END; parse_next(parser)) {
		open += parse_peek(parser)->kind == TOKEN_LBRACE;
		open -= parse_peek(parser)->kind == TOKEN_RBRACE;
	}
}

static bool clauses_until_brace(struct parser *parser, struct knock_node *node)
{
	unsigned braces = parser->braces;

	while (!parse_accept(parser, TOKEN_RBRACE)) {
		if (clause(parser, node))
			continue;
		for (; parser->braces > braces; parser->braces--) /* of a list that the error left open */
			skip_rest(parser);
		skip_rest(parser);
		return false;
	}
	return true;
}

bool parse_knock(struct parser *parser, struct knock_node *ret_knock)
{
	bool good;

	*ret_knock = (struct knock_node){ .failed = true };
	if (!parse_word(parser, "a name", &ret_knock->name) || !parse_expect(parser, TOKEN_LBRACE, "`{`"))
		return false;
	parser->brackets++;
	good = clauses_until_brace(parser, ret_knock);
	parser->brackets--;
	ret_knock->failed = !good;
	return good;
}
