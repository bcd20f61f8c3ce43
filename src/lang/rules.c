/* SPDX-License-Identifier: GPL-2.0-only */
/* Single rules: one given alone, and where those of a policy stand in its file. Parsed only, not checked. See lang.h. */
#include <errno.h>
#include <string.h>

#include "lang/lang.h"
#include "lang/parse.h"
#include "lang/words.h"

static bool begins_rule(struct parser *parser)
{
	const struct token *token = parse_peek(parser);
	const char *text = parser->source->text + token->offset;

	return token->kind == TOKEN_WORD && words_action(text, token->length) >= 0;
}

static void refuse_start(struct parser *parser)
{
	struct diag *diag = parse_unexpected(parser, "an action");

	if (diag)
		diag_hint(parser->diags, diag, "a rule is like `drop if udp`");
}

int lang_rule(struct arena *arena, const struct source *source, struct diags *diags, struct span *ret_span)
{
	struct parser parser = parse_start(arena, source, diags);
	unsigned errors = diags->errors;
	struct rule_node node;
	struct diag *diag;
	bool good = false;

	parse_skip_newlines(&parser);
	if (begins_rule(&parser))
		good = parse_rule(&parser, &node);
	else
		refuse_start(&parser);
	parse_skip_newlines(&parser);
	if (good && diags->errors == errors && parse_peek(&parser)->kind != TOKEN_END) {
		diag = parse_unexpected(&parser, "the end of the rule");
		if (diag)
			diag_hint(diags, diag, "one rule at a time");
	}
	if (diags->errors != errors)
		return -EINVAL;
	*ret_span = node.span;
	return 0;
}

static const struct policy_node *find_policy(const struct file_node *file, const char *name)
{
	for (size_t i = 0; i < file->policies.count; i++)
		if (!strcmp(file->policies.items[i].name.text, name))
			return &file->policies.items[i];
	return NULL;
}

/* Numbers count over all chains in the order of the text. */
static void collect(const struct policy_node *policy, struct lang_rule *rules)
{
	for (size_t i = 0; i < policy->chains.count; i++) {
		const struct chain_node *chain = &policy->chains.items[i];

		for (size_t j = 0; j < chain->rules.count; j++)
			rules[chain->rules.items[j].number - 1] =
				(struct lang_rule){ .span = chain->rules.items[j].span, .main = i == 0 };
	}
}

/* 0 and the policy in a file that is right as far as parsing tells. */
static int parse_policy_of(struct arena *arena, const struct source *source, const char *policy, struct diags *diags,
			   struct file_node **ret_file, const struct policy_node **ret_policy)
{
	struct file_node *file = ARENA_NEW(arena, struct file_node);
	struct parser parser = parse_start(arena, source, diags);
	unsigned errors = diags->errors;

	parse_file(&parser, file);
	if (diags->errors != errors)
		return -EINVAL;
	*ret_file = file;
	*ret_policy = find_policy(file, policy);
	return *ret_policy ? 0 : -ENOENT;
}

int lang_rules(struct arena *arena, const struct source *source, const char *policy, struct diags *diags,
	       struct lang_rules *ret_rules)
{
	const struct policy_node *node;
	struct lang_rule *rules;
	struct file_node *file;
	int error = parse_policy_of(arena, source, policy, diags, &file, &node);

	if (error)
		return error;
	rules = ARENA_ARRAY(arena, struct lang_rule, node->rule_count);
	collect(node, rules);
	*ret_rules = (struct lang_rules){ .policy = node->span, .items = rules, .count = node->rule_count };
	return 0;
}

static size_t collect_tunables(const struct define_node *defines, size_t count, struct lang_tunable *to)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		if (defines[i].tunable)
			to[found++] = (struct lang_tunable){ defines[i].name.text, defines[i].value.word.text,
							     defines[i].value.word.span };
	return found;
}

int lang_tunables(struct arena *arena, const struct source *source, const char *policy, struct diags *diags,
		  struct lang_tunables *ret_tunables)
{
	const struct policy_node *node;
	struct lang_tunable *tunables;
	struct file_node *file;
	size_t count;
	int error = parse_policy_of(arena, source, policy, diags, &file, &node);

	if (error)
		return error;
	tunables = ARENA_ARRAY(arena, struct lang_tunable, file->defines.count + node->defines.count);
	count = collect_tunables(file->defines.items, file->defines.count, tunables);
	count += collect_tunables(node->defines.items, node->defines.count, tunables + count);
	*ret_tunables = (struct lang_tunables){ tunables, count };
	return 0;
}
