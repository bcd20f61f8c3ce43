/* SPDX-License-Identifier: GPL-2.0-only */
/* Files, policies and their statements. See parse.h. */
#include <string.h>

#include "lang/parse.h"
#include "lang/words.h"

/* Where statements go: a file, or a policy of it, or a chain of that. */
struct place {
	struct file_node *file;
	struct policy_node *policy; /* NULL: outside */
	struct chain_node *chain;   /* not NULL: inside a chain other than main */
};

static struct item *item_add(struct parser *parser, struct place *place, enum item_kind kind, size_t index)
{
	struct item *item = place->policy ? &VEC_PUSH(parser->arena, &place->policy->items) :
					    &VEC_PUSH(parser->arena, &place->file->items);

	*item = (struct item){ .kind = kind, .index = index };
	return item;
}

/* --- define and set ------------------------------------------------------------------------------------------ */

static bool tunable(struct parser *parser, struct define_node *node)
{
	if (!parse_is_word(parser, "tunable"))
		return true;
	node->tunable = true;
	if (node->value.kind == VALUE_WORD) {
		parse_next(parser);
		return true;
	}
	diag_error(parser->diags, parse_span(parser, parse_peek(parser)), "a tunable has one value, not a list");
	return false;
}

static bool define(struct parser *parser, struct place *place)
{
	struct define_node node = { 0 };
	bool good;

	if (!parse_word(parser, "a name", &node.name))
		return false;
	node.order = parser->at;
	/* a name whose value is wrong is still known, so that its uses are no further errors */
	good = parse_expect(parser, TOKEN_ASSIGN, "`=`") && parse_value(parser, &node.value) && tunable(parser, &node);
	if (!good)
		node.value = (struct value){ .kind = VALUE_ERROR };
	if (place->policy) {
		item_add(parser, place, ITEM_DEFINE, place->policy->defines.count);
		VEC_PUSH(parser->arena, &place->policy->defines) = node;
	} else {
		item_add(parser, place, ITEM_DEFINE, place->file->defines.count);
		VEC_PUSH(parser->arena, &place->file->defines) = node;
	}
	return good;
}

static bool set_options(struct parser *parser, struct set_node *node)
{
	while (parse_peek(parser)->kind == TOKEN_WORD) {
		bool timeout = parse_is_word(parser, "timeout");
		struct word *word = timeout ? &node->timeout : &node->max;

		if ((!timeout && !parse_is_word(parser, "max")) || word->text)
			break;
		parse_next(parser);
		if (!parse_word(parser, timeout ? "a time like `1h`, or `never`" : "a number", word))
			return false;
	}
	return true;
}

/* `: TYPE [timeout TIME] [max N] { ... }` */
static bool set_body(struct parser *parser, struct set_node *node)
{
	if (!parse_expect(parser, TOKEN_COLON, "`:` and the set's type") ||
	    !parse_word(parser, "the set's type", &node->type) || !set_options(parser, node))
		return false;
	if (parse_peek(parser)->kind != TOKEN_LBRACE) {
		parse_unexpected(parser, "`{` and the set's elements");
		return false;
	}
	return parse_list(parser, &node->elements);
}

static bool set(struct parser *parser, struct place *place)
{
	struct set_node node = { .shared = !place->policy };

	if (!parse_word(parser, "a name", &node.name))
		return false;
	node.failed = !set_body(parser, &node);
	if (place->policy) {
		item_add(parser, place, ITEM_SET, place->policy->sets.count);
		VEC_PUSH(parser->arena, &place->policy->sets) = node;
	} else {
		item_add(parser, place, ITEM_SET, place->file->sets.count);
		VEC_PUSH(parser->arena, &place->file->sets) = node;
	}
	return !node.failed;
}

/* --- on ------------------------------------------------------------------------------------------------------ */

static bool on_xdp(struct parser *parser, struct on_node *node)
{
	static const char *const modes[] = { "native", "generic", "offload" };

	if (!parse_word_or_string(parser, "an interface", &node->target))
		return false;
	while (parse_peek(parser)->kind == TOKEN_WORD) {
		bool known = false;

		for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
			known = known || parse_is_word(parser, modes[i]);
		if (!known && !parse_is_word(parser, "optional"))
			break;
		if (known)
			node->mode = parse_word_token(parser, parse_next(parser));
		else
			node->optional = parse_next(parser);
	}
	return true;
}

static bool on_side(struct parser *parser, struct on_node *node)
{
	if (!parse_is_word(parser, "ingress") && !parse_is_word(parser, "egress")) {
		parse_unexpected(parser, "`ingress` or `egress`");
		return false;
	}
	node->point = parse_word_token(parser, parse_next(parser));
	return true;
}

static bool on_optional(struct parser *parser, struct on_node *node)
{
	if (parse_is_word(parser, "optional"))
		node->optional = parse_next(parser);
	return true;
}

static bool on_tc(struct parser *parser, struct on_node *node)
{
	return parse_word_or_string(parser, "an interface", &node->target) && on_optional(parser, node) &&
	       on_side(parser, node) && on_optional(parser, node);
}

static bool on_call(struct parser *parser, struct on_node *node)
{
	struct diag *diag;

	if (!parse_word_or_string(parser, "a cgroup's path", &node->target))
		return false;
	if (node->target.text[0] == '/')
		return true;
	diag = diag_error(parser->diags, node->target.span, "a cgroup's path begins with `/`");
	diag_hint(parser->diags, diag, "`/` is the root of the cgroup hierarchy, not of the file system");
	return false;
}

static bool on_cgroup(struct parser *parser, struct on_node *node)
{
	return on_call(parser, node) && on_side(parser, node);
}

static bool on_netfilter(struct parser *parser, struct on_node *node)
{
	static const char *const points[] = { "prerouting", "input", "forward", "output", "postrouting" };

	for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
		if (parse_is_word(parser, points[i]))
			node->point = parse_word_token(parser, parse_next(parser));
	if (!node->point.text) {
		parse_unexpected(parser, "`prerouting`, `input`, `forward`, `output` or `postrouting`");
		return false;
	}
	if (!parse_is_word(parser, "priority"))
		return true;
	parse_next(parser);
	return parse_word(parser, "a number", &node->priority);
}

/* Which sockets is said by whoever attaches it. */
static bool on_socket(struct parser *parser, struct on_node *node)
{
	(void)parser;
	(void)node;
	return true;
}

static const struct {
	const char *name;
	bool (*parse)(struct parser *parser, struct on_node *node); /* NULL: not supported yet */
} hook_words[] = {
	{ "xdp", on_xdp }, { "tc", on_tc }, { "netfilter", on_netfilter }, { "cgroup", on_cgroup },
	{ "connect", on_call }, { "bind", on_call }, { "socket", on_socket }, { "stream", NULL }, { "tls", NULL },
};

static void unknown_hook(struct parser *parser, const struct word *word)
{
	static const char *const names[] = { "xdp", "tc", "netfilter", "cgroup", "connect", "bind", "socket" };
	const char *nearest = nearest_word(word->text, strlen(word->text), names, sizeof names / sizeof names[0]);
	struct diag *diag = diag_error(parser->diags, word->span, "unknown hook `%s`", word->text);

	if (nearest)
		diag_hint(parser->diags, diag, "did you mean `%s`?", nearest);
	else
		diag_hint(parser->diags, diag, "hooks are `xdp`, `tc`, `netfilter`, `cgroup`, `connect`, `bind` and `socket`");
}

static bool on_words(struct parser *parser, struct on_node *node)
{
	if (!parse_word(parser, "a hook", &node->family))
		return false;
	for (size_t i = 0; i < sizeof hook_words / sizeof hook_words[0]; i++) {
		if (strcmp(node->family.text, hook_words[i].name))
			continue;
		if (hook_words[i].parse)
			return hook_words[i].parse(parser, node);
		diag_error(parser->diags, node->family.span, "the hook `%s` is not supported yet", node->family.text);
		return false;
	}
	unknown_hook(parser, &node->family);
	return false;
}

static bool on_or_track(struct parser *parser, struct place *place, bool track, uint32_t offset)
{
	struct on_node node = { .track = track };

	if (!on_words(parser, &node)) {
		place->policy->broken_on = true;
		return false;
	}
	node.span = parse_span_since(parser, offset);
	item_add(parser, place, ITEM_ON, place->policy->ons.count);
	VEC_PUSH(parser->arena, &place->policy->ons) = node;
	return true;
}

static bool on(struct parser *parser, struct place *place)
{
	return on_or_track(parser, place, false, parser->tokens.items[parser->at - 1].offset);
}

static bool track(struct parser *parser, struct place *place)
{
	uint32_t offset = parser->tokens.items[parser->at - 1].offset;

	if (!parse_is_word(parser, "on")) {
		parse_unexpected(parser, "`on` and a hook");
		return false;
	}
	parse_next(parser);
	return on_or_track(parser, place, true, offset);
}

/* --- flows --------------------------------------------------------------------------------------------------- */

static bool flows_words(struct parser *parser, struct flows_node *node)
{
	if (!parse_is_word(parser, "max") && !parse_is_word(parser, "shared") && !parse_is_word(parser, "timeout")) {
		parse_unexpected(parser, "`max`, `shared` or `timeout`");
		return false;
	}
	node->what = parse_word_token(parser, parse_next(parser));
	if (!strcmp(node->what.text, "shared"))
		return true;
	if (!strcmp(node->what.text, "max"))
		return parse_word(parser, "a number", &node->value);
	return parse_word(parser, "a state like `tcp.established`", &node->state) &&
	       parse_word(parser, "a time", &node->value);
}

static bool flows(struct parser *parser, struct place *place)
{
	struct flows_node node = { 0 };

	if (!flows_words(parser, &node))
		return false;
	item_add(parser, place, ITEM_FLOWS, place->policy->flows.count);
	VEC_PUSH(parser->arena, &place->policy->flows) = node;
	return true;
}

/* --- settings ------------------------------------------------------------------------------------------------ */

static bool setting(struct parser *parser, struct place *place, enum setting_kind kind, const char *what)
{
	struct word *value = &place->policy->settings[kind];
	struct word word;
	struct diag *diag;

	if (!parse_word(parser, what, &word))
		return false;
	if (value->text) {
		diag = diag_error(parser->diags, word.span, "this is set twice");
		diag_relate(parser->diags, diag, value->span, "first here");
		return true;
	}
	*value = word;
	item_add(parser, place, ITEM_SETTING, kind);
	return true;
}

static bool setting_default(struct parser *parser, struct place *place)
{
	return setting(parser, place, SETTING_DEFAULT, "`accept`, `drop` or `reject`");
}

static bool setting_malformed(struct parser *parser, struct place *place)
{
	return setting(parser, place, SETTING_MALFORMED, "`accept` or `drop`");
}

static bool setting_non_ip(struct parser *parser, struct place *place)
{
	return setting(parser, place, SETTING_NON_IP, "`accept` or `default`");
}

static bool observe(struct parser *parser, struct place *place)
{
	struct word *word = &place->policy->observe;
	struct span span = parse_span(parser, parse_peek(parser) - 1);
	struct diag *diag;

	if (word->text) {
		diag = diag_error(parser->diags, span, "this is said twice");
		diag_relate(parser->diags, diag, word->span, "first here");
		return true;
	}
	*word = (struct word){ .text = "observe", .span = span };
	return true;
}

static bool setting_classifier(struct parser *parser, struct place *place)
{
	return parse_expect(parser, TOKEN_ASSIGN, "`=`") &&
	       setting(parser, place, SETTING_CLASSIFIER, "`auto`, `diagram`, `table` or `list`");
}

static bool setting_cache(struct parser *parser, struct place *place)
{
	return parse_expect(parser, TOKEN_ASSIGN, "`=`") && setting(parser, place, SETTING_CACHE, "`auto`, `yes` or `no`");
}

static bool setting_captures(struct parser *parser, struct place *place)
{
	return parse_expect(parser, TOKEN_ASSIGN, "`=`") &&
	       setting(parser, place, SETTING_CAPTURES, "a size like `16M`");
}

/* --- knock --------------------------------------------------------------------------------------------------- */

static bool knock(struct parser *parser, struct place *place)
{
	uint32_t offset = parser->tokens.items[parser->at - 1].offset;
	struct knock_node node;
	bool good = parse_knock(parser, &node);

	if (!node.name.text)
		return false;
	node.span = parse_span_since(parser, offset);
	item_add(parser, place, ITEM_KNOCK, place->policy->knocks.count);
	VEC_PUSH(parser->arena, &place->policy->knocks) = node;
	return good;
}

/* --- statements ---------------------------------------------------------------------------------------------- */

static bool chain(struct parser *parser, struct place *place);
static bool policy(struct parser *parser, struct place *place);

enum { IN_FILE = 1, IN_POLICY = 2 };

static const struct statement {
	const char *word;
	unsigned where;
	bool (*parse)(struct parser *parser, struct place *place); /* NULL: not supported yet */
} statements[] = {
	{ "policy", IN_FILE, policy },
	{ "define", IN_FILE | IN_POLICY, define },
	{ "set", IN_FILE | IN_POLICY, set },
	{ "tunable", IN_FILE | IN_POLICY, NULL },
	{ "on", IN_POLICY, on },
	{ "default", IN_POLICY, setting_default },
	{ "malformed", IN_POLICY, setting_malformed },
	{ "non_ip", IN_POLICY, setting_non_ip },
	{ "classifier", IN_POLICY, setting_classifier },
	{ "cache", IN_POLICY, setting_cache },
	{ "captures", IN_POLICY, setting_captures },
	{ "chain", IN_POLICY, chain },
	{ "track", IN_POLICY, track },
	{ "observe", IN_POLICY, observe },
	{ "knock", IN_POLICY, knock },
	{ "flows", IN_POLICY, flows },
};

enum { STATEMENT_COUNT = sizeof statements / sizeof statements[0] };

static const struct statement *statement_word(struct parser *parser)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		if (parse_is_word(parser, statements[i].word))
			return &statements[i];
	return NULL;
}

/* The nearest word that could begin a statement here. */
static const char *nearest_statement(struct parser *parser, const struct token *token, const struct place *place)
{
	const char *candidates[STATEMENT_COUNT + ACTION_WORD_COUNT];
	size_t count = 0;

	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		if (statements[i].parse && !place->chain &&
		    (statements[i].where & (place->policy ? IN_POLICY : IN_FILE)))
			candidates[count++] = statements[i].word;
	for (size_t i = 0; place->policy && i < ACTION_WORD_COUNT; i++)
		candidates[count++] = action_words[i];
	return nearest_word(parser->source->text + token->offset, token->length, candidates, count);
}

/* What helps someone who began a statement with that. */
static void hint_statement(struct parser *parser, const struct token *token, const struct place *place,
			   struct diag *diag)
{
	const char *text = parser->source->text + token->offset;
	const char *nearest = token->kind == TOKEN_WORD ? nearest_statement(parser, token, place) : NULL;

	if (token->kind == TOKEN_IF)
		diag_hint(parser->diags, diag, "a rule begins with what it does: `accept if udp`");
	else if (token->kind == TOKEN_AND || token->kind == TOKEN_OR)
		diag_hint(parser->diags, diag, "a rule goes on in the next line only after an operator");
	else if (parse_is_word(parser, "include"))
		diag_hint(parser->diags, diag, "`include` stands inside a list: `{ include \"file\" }`");
	else if (nearest)
		diag_hint(parser->diags, diag, "did you mean `%s`?", nearest);
	else if (!place->policy && token->kind == TOKEN_WORD && words_action(text, token->length) >= 0)
		diag_hint(parser->diags, diag, "rules stand inside a `policy NAME { ... }`");
}

static bool unknown_statement(struct parser *parser, struct place *place)
{
	const struct token *token = parse_peek(parser);
	struct diag *diag;

	diag = parse_unexpected(parser, !place->policy ? "`policy`, `define` or `set`" :
				place->chain ? "a rule or `}`" : "a rule, a statement or `}`");
	if (diag)
		hint_statement(parser, token, place, diag);
	return false;
}

/* Takes the statement's word and parses the rest. */
static bool known_statement(struct parser *parser, struct place *place, const struct statement *statement)
{
	const struct token *token = parse_peek(parser);
	struct span span = parse_span(parser, token);

	if (!(statement->where & (place->policy ? IN_POLICY : IN_FILE)) || place->chain) {
		diag_error(parser->diags, span, place->chain ? "`%s` cannot stand inside a chain" :
			   place->policy ? "`%s` cannot stand inside a policy" : "`%s` belongs inside a policy",
			   statement->word);
		return false;
	}
	if (!statement->parse) {
		diag_error(parser->diags, span, "`%s` is not supported yet", statement->word);
		return false;
	}
	parse_next(parser);
	return statement->parse(parser, place);
}

static bool rule(struct parser *parser, struct place *place)
{
	struct chain_node *target = place->chain ? place->chain : &place->policy->chains.items[0];
	struct rule_node node;
	bool good = parse_rule(parser, &node);

	if (!place->chain)
		item_add(parser, place, ITEM_RULE, target->rules.count);
	VEC_PUSH(parser->arena, &target->rules) = node;
	return good;
}

static bool begins_rule(struct parser *parser)
{
	const struct token *token = parse_peek(parser);

	return token->kind == TOKEN_WORD && words_action(parser->source->text + token->offset, token->length) >= 0;
}

/* One statement up to its end; after an error, the rest of it is skipped. */
static void statement(struct parser *parser, struct place *place)
{
	size_t start = parser->at;
	const struct statement *known = statement_word(parser);
	bool good;

	if (known)
		good = known_statement(parser, place, known);
	else if (place->policy && begins_rule(parser))
		good = rule(parser, place);
	else
		good = unknown_statement(parser, place);
	if (good && !parse_statement_end(parser)) {
		parse_unexpected(parser, "the end of the line");
		good = false;
	}
	if (!good)
		parse_recover(parser, start);
}

/* Says so, and goes on as if it were there: the brace of this line, if there is one, else NULL. */
static const struct token *missing_brace(struct parser *parser)
{
	const struct token *token = parse_peek(parser);
	bool same_line = parser->at && token[-1].kind != TOKEN_NEWLINE;

	parse_unexpected(parser, "`{`");
	while (same_line && token->kind != TOKEN_LBRACE && token->kind != TOKEN_NEWLINE && token->kind != TOKEN_END) {
		parse_next(parser);
		token = parse_peek(parser);
	}
	return parse_accept(parser, TOKEN_LBRACE) ? token : NULL;
}

/* `{ statements }` of a policy or chain. */
static bool block(struct parser *parser, struct place *place, const struct word *name)
{
	const struct token *opening;
	struct diag *diag;

	parse_skip_newlines(parser);
	opening = parse_peek(parser);
	if (!parse_accept(parser, TOKEN_LBRACE))
		opening = missing_brace(parser);
	for (parse_skip_newlines(parser); parse_peek(parser)->kind != TOKEN_END; parse_skip_newlines(parser)) {
		if (parse_accept(parser, TOKEN_RBRACE))
			return true;
		statement(parser, place);
	}
	diag = opening ? parse_unexpected(parser, "`}`") : NULL;
	if (diag)
		diag_relate(parser->diags, diag, parse_span(parser, opening), "to close this one, of `%s`",
			    name->text);
	return true;
}

static bool chain(struct parser *parser, struct place *place)
{
	struct chain_node node = { 0 };
	struct place inside = *place;
	bool good;

	if (!parse_word(parser, "a name", &node.name))
		return false;
	inside.chain = &node;
	good = block(parser, &inside, &node.name);
	item_add(parser, place, ITEM_CHAIN, place->policy->chains.count);
	VEC_PUSH(parser->arena, &place->policy->chains) = node;
	return good;
}

static bool policy(struct parser *parser, struct place *place)
{
	uint32_t offset = parser->tokens.items[parser->at - 1].offset;
	struct policy_node node = { 0 };
	struct place inside = { .file = place->file, .policy = &node };
	unsigned errors = parser->diags->errors;
	bool good;

	if (!parse_word(parser, "the policy's name", &node.name))
		return false;
	VEC_PUSH(parser->arena, &node.chains).name = (struct word){ .text = "main", .span = node.name.span };
	parser->rule_count = 0;
	if (parse_is_word(parser, "observe")) {
		parse_next(parser);
		observe(parser, &inside);
	}
	good = block(parser, &inside, &node.name);
	node.rule_count = parser->rule_count;
	node.broken = parser->diags->errors != errors;
	node.span = parse_span_since(parser, offset);
	item_add(parser, place, ITEM_POLICY, place->file->policies.count);
	VEC_PUSH(parser->arena, &place->file->policies) = node;
	return good;
}

/*
 * A file that begins with a statement's word is one of policies, and so is one whose first two tokens are words (a
 * misspelt `policy web`): an expression never begins so, but for `user known`.
 */
bool parse_is_file(struct parser *parser)
{
	const struct token *first, *second;

	parse_skip_newlines(parser);
	first = parse_peek(parser);
	second = parse_peek_second(parser);
	if (first->kind == TOKEN_END || statement_word(parser))
		return true;
	if (first->kind != TOKEN_WORD)
		return false;
	if (second->kind == TOKEN_WORD && second->length == strlen("known") &&
	    !memcmp(parser->source->text + second->offset, "known", second->length))
		return false;
	return second->kind == TOKEN_WORD || second->kind == TOKEN_STRING || second->kind == TOKEN_IF ||
	       second->kind == TOKEN_LBRACE;
}

void parse_file(struct parser *parser, struct file_node *ret_file)
{
	struct place place = { .file = ret_file };

	parse_skip_newlines(parser);
	while (parse_peek(parser)->kind != TOKEN_END) {
		size_t before = parser->at;

		statement(parser, &place);
		parse_skip_newlines(parser);
		if (parser->at == before) { /* a stray `}` */
			parse_next(parser);
			parse_skip_newlines(parser);
		}
	}
	if (!ret_file->policies.count && !parser->diags->errors)
		diag_error(parser->diags, (struct span){ parser->source, 0, 0 }, "this file has no policy");
}
