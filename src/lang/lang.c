/* SPDX-License-Identifier: GPL-2.0-only */
/* The ways in. See lang.h. */
#include "lang/lang.h"

#include <errno.h>
#include <string.h>

#include "lang/format.h"
#include "lang/lower.h"
#include "lang/parse.h"

enum { SOURCE_MAX = 1u << 30 };

static bool source_fits(const struct source *source, struct diags *diags)
{
	if (source->length <= SOURCE_MAX)
		return true;
	diag_error(diags, (struct span){ source, 0, 0 }, "this text is too large");
	return false;
}

/* A file of policies, or one expression. */
static struct file_node *parse(struct arena *arena, const struct lang_input *input, struct diags *diags)
{
	struct file_node *file = ARENA_NEW(arena, struct file_node);
	struct parser parser;

	if (!source_fits(input->source, diags))
		return file;
	parser = parse_start(arena, input->source, diags);
	if (!input->expression && parse_is_file(&parser))
		parse_file(&parser, file);
	else
		file->expression = parse_only_expression(&parser);
	return file;
}

/* `accept if EXPR`, else drop. */
static void expression_lower(struct lower *lower, struct expr *expr, struct ruleset *ret_ruleset)
{
	struct action *action = ARENA_NEW(lower->arena, struct action);
	struct chain *chain = ARENA_NEW(lower->arena, struct chain);
	struct rule *rule = ARENA_NEW(lower->arena, struct rule);

	lower->hooks = lower->input->hooks;
	lower->possible = HOOK_BIT(HOOK_COUNT) - 1;
	*action = (struct action){ .kind = ACTION_VERDICT, .span = expr->span, .verdict = VERDICT_ACCEPT };
	*rule = (struct rule){ .number = 1, .span = expr->span, .actions = action, .action_count = 1 };
	rule->cond = lower_expr(lower, expr, lower->hooks ? lower->hooks : HOOK_BIT(HOOK_COUNT) - 1, false);
	rule->names_link = cond_names_link(rule->cond);
	*chain = (struct chain){ .name = "main", .span = expr->span, .rules = rule, .rule_count = 1 };
	*ret_ruleset = (struct ruleset){ .name = "expression", .span = expr->span, .expression = true,
					 .chains = chain, .chain_count = 1, .rule_count = 1,
					 .default_verdict = VERDICT_DROP,
					 .programs = lower->programs.items,
					 .program_count = lower->programs.count,
					 .cgroup_level_count = lower->level_count };
	memcpy(ret_ruleset->cgroup_levels, lower->levels, sizeof ret_ruleset->cgroup_levels);
	if (lower->diags->errors)
		return;
	facts_warn(lower, rule->cond);
	guard_warn(lower, expr);
}

static void lower_all(struct lower *lower, struct rulesets *rulesets)
{
	struct file_node *file = lower->file;
	struct ruleset *items;

	rulesets->count = file->expression ? 1 : file->policies.count;
	items = ARENA_ARRAY(lower->arena, struct ruleset, rulesets->count);
	rulesets->items = items;
	if (file->expression) {
		expression_lower(lower, file->expression, items);
		return;
	}
	scope_check_file(lower);
	for (size_t i = 0; i < file->policies.count; i++)
		policy_lower(lower, &file->policies.items[i], &items[i]);
	if (!lower->diags->errors)
		scope_warn_unused_file(lower);
}

/*
 * In the order of the text: the stages report one after the other. What lies in an included file stays behind what
 * came before it. Insertion, as nearly all of it is in order and there are few.
 */
static void sort_diags(struct diags *diags, size_t first, const struct source *source)
{
	struct diag *list = diags->list.items;

	for (size_t i = first + 1; i < diags->list.count; i++) {
		struct diag diag = list[i];
		size_t at = i;

		if (diag.span.source != source)
			continue;
		while (at > first && list[at - 1].span.source == source &&
		       list[at - 1].span.offset > diag.span.offset) {
			list[at] = list[at - 1];
			at--;
		}
		list[at] = diag;
	}
}

int lang_compile(struct arena *arena, const struct lang_input *input, struct diags *diags,
		 const struct rulesets **ret_rulesets)
{
	struct lower lower = { .arena = arena, .diags = diags, .input = input };
	struct rulesets *rulesets = ARENA_NEW(arena, struct rulesets);
	unsigned errors = diags->errors;
	size_t first = diags->list.count;

	lower.file = parse(arena, input, diags);
	lower_all(&lower, rulesets);
	sort_diags(diags, first, input->source);
	if (diags->errors != errors)
		return -EINVAL;
	*ret_rulesets = rulesets;
	return 0;
}

int lang_format(struct arena *arena, const struct lang_input *input, struct diags *diags, char **ret_text)
{
	unsigned errors = diags->errors;
	const struct file_node *file = parse(arena, input, diags);

	if (diags->errors != errors)
		return -EINVAL;
	*ret_text = format_file(arena, file);
	return 0;
}

int lang_timeout(struct arena *arena, const struct source *source, struct diags *diags, uint32_t *ret_ms)
{
	struct lower lower = { .arena = arena, .diags = diags };
	struct word word = { .text = arena_strndup(arena, source->text, source->length),
			     .span = { source, 0, (uint32_t)source->length } };

	return timeout_lower(&lower, &word, ret_ms) ? 0 : -EINVAL;
}

int lang_elements(struct arena *arena, const struct source *source, const struct set *like, const struct names *names,
		  struct diags *diags, struct set *ret_set)
{
	const struct lang_input input = { .source = source, .names = names };
	struct file_node *file = ARENA_NEW(arena, struct file_node);
	struct lower lower = { .arena = arena, .diags = diags, .input = &input, .file = file };
	struct operand operand = set_operand(like->type, arena_printf(arena, "a set of type `%s`",
								      set_type_names[like->type]), like->timed);
	struct set set = { .name = "", .type = like->type, .timed = like->timed };
	unsigned errors = diags->errors;

	operand.timeout_ms = like->timeout_ms;

	if (source_fits(source, diags))
		elements_read(&lower, &operand, source);
	if (diags->errors != errors)
		return -EINVAL;
	set_fill(&lower, &operand, like->type, &set);
	*ret_set = set;
	return 0;
}
