/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names that a file gives: defines, sets, chains, policies. Input: the AST; output: errors about names given twice or
 * taken by the language, look-up, warnings about what is never used.
 */
#include <string.h>

#include "lang/lower.h"

enum { NAME_MAX_LENGTH = 63 };

/* One given name; they are gathered to be compared. */
struct given {
	const struct word *word;
	const char *what;
};

struct names_given {
	VEC(struct given) list;
};

static bool is_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t length = strlen(text);

	return strspn(text, letters) > 0 && length <= NAME_MAX_LENGTH &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123456789") == length;
}

static void check_form(struct lower *lower, const struct given *given)
{
	const struct word *word = given->word;
	struct diag *diag;

	if (!is_name(word->text)) {
		diag = diag_error(lower->diags, word->span, "`%s` is not a name", word->text);
		diag_hint(lower->diags, diag,
			  "a name is letters, digits, `_` and `-`, begins with a letter, and is no longer than %d",
			  NAME_MAX_LENGTH);
	} else if (strcmp(given->what, "policy") && words_taken(word->text)) {
		diag_error(lower->diags, word->span, "`%s` is a word of the language and cannot name a %s",
			   word->text,
			   given->what);
	}
}

static void give(struct lower *lower, struct names_given *given, const struct word *word, const char *what)
{
	VEC_PUSH(lower->arena, &given->list) = (struct given){ word, what };
}

/* Names from `first` on are new: their form is checked, and that they are not among those before them. */
static void check_given(struct lower *lower, const struct names_given *given, size_t first)
{
	struct diag *diag;

	for (size_t i = first; i < given->list.count; i++) {
		const struct given *later = &given->list.items[i];

		check_form(lower, later);
		for (size_t j = 0; j < i; j++) {
			const struct given *earlier = &given->list.items[j];

			if (strcmp(earlier->word->text, later->word->text))
				continue;
			diag = diag_error(lower->diags, later->word->span, "the name `%s` is given twice",
					  later->word->text);
			diag_relate(lower->diags, diag, earlier->word->span, "this %s has it", earlier->what);
			break;
		}
	}
}

static void give_file(struct lower *lower, struct names_given *given)
{
	for (size_t i = 0; i < lower->file->defines.count; i++)
		give(lower, given, &lower->file->defines.items[i].name, "define");
	for (size_t i = 0; i < lower->file->sets.count; i++)
		give(lower, given, &lower->file->sets.items[i].name, "set");
}

void scope_check_file(struct lower *lower)
{
	struct names_given names = { 0 }, policies = { 0 };

	give_file(lower, &names);
	check_given(lower, &names, 0);
	for (size_t i = 0; i < lower->file->policies.count; i++)
		give(lower, &policies, &lower->file->policies.items[i].name, "policy");
	check_given(lower, &policies, 0);
}

void scope_check_policy(struct lower *lower)
{
	struct policy_node *policy = lower->policy;
	struct names_given names = { 0 };
	size_t first;

	give_file(lower, &names);
	first = names.list.count;
	for (size_t i = 0; i < policy->defines.count; i++)
		give(lower, &names, &policy->defines.items[i].name, "define");
	for (size_t i = 0; i < policy->sets.count; i++)
		give(lower, &names, &policy->sets.items[i].name, "set");
	for (size_t i = 1; i < policy->chains.count; i++)
		give(lower, &names, &policy->chains.items[i].name, "chain");
	check_given(lower, &names, first);
}

static struct local find_define(struct define_node *defines, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(defines[i].name.text, name))
			return (struct local){ LOCAL_DEFINE, &defines[i], NULL, &defines[i].name };
	return (struct local){ 0 };
}

static struct local find_set(struct set_node *sets, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(sets[i].name.text, name))
			return (struct local){ LOCAL_SET, NULL, &sets[i], &sets[i].name };
	return (struct local){ 0 };
}

int scope_chain(const struct lower *lower, const char *name)
{
	/* main cannot be jumped to */
	for (size_t i = 1; lower->policy && i < lower->policy->chains.count; i++)
		if (!strcmp(lower->policy->chains.items[i].name.text, name))
			return (int)i;
	return -1;
}

struct local scope_find(struct lower *lower, const char *name)
{
	struct policy_node *policy = lower->policy;
	struct local local = { 0 };
	int chain = scope_chain(lower, name);

	if (policy)
		local = find_define(policy->defines.items, policy->defines.count, name);
	if (policy && !local.kind)
		local = find_set(policy->sets.items, policy->sets.count, name);
	if (!local.kind && chain >= 0)
		local = (struct local){ LOCAL_CHAIN, NULL, NULL, &policy->chains.items[chain].name };
	if (!local.kind)
		local = find_define(lower->file->defines.items, lower->file->defines.count, name);
	if (!local.kind)
		local = find_set(lower->file->sets.items, lower->file->sets.count, name);
	return local;
}

uint32_t scope_set(struct lower *lower, struct set_node *node)
{
	struct set *set;

	/* sets that did not parse are never asked for */
	for (size_t i = 0; i < lower->set_nodes.count; i++)
		if (lower->set_nodes.items[i] == node)
			return (uint32_t)i;
	if (!node->lowered) { /* a shared set is used by several policies */
		set = ARENA_NEW(lower->arena, struct set);
		node->lowered = set;
		set_lower(lower, node, set);
	}
	VEC_PUSH(lower->arena, &lower->set_nodes) = node;
	VEC_PUSH(lower->arena, &lower->sets) = *node->lowered;
	return (uint32_t)(lower->sets.count - 1);
}

const char *scope_nearest(struct lower *lower, const char *name)
{
	struct names_given given = { 0 };
	const char **candidates;

	give_file(lower, &given);
	for (size_t i = 0; lower->policy && i < lower->policy->defines.count; i++)
		give(lower, &given, &lower->policy->defines.items[i].name, "define");
	for (size_t i = 0; lower->policy && i < lower->policy->sets.count; i++)
		give(lower, &given, &lower->policy->sets.items[i].name, "set");
	candidates = ARENA_ARRAY(lower->arena, const char *, given.list.count);
	for (size_t i = 0; i < given.list.count; i++)
		candidates[i] = given.list.items[i].word->text;
	return nearest_word(name, strlen(name), candidates, given.list.count);
}

static void warn_unused(struct lower *lower, const struct define_node *defines, size_t define_count,
			const struct set_node *sets, size_t set_count)
{
	for (size_t i = 0; i < define_count; i++)
		if (!defines[i].used)
			diag_warning(lower->diags, defines[i].name.span, "`%s` is never used", defines[i].name.text);
	for (size_t i = 0; i < set_count; i++)
		if (!sets[i].used)
			diag_warning(lower->diags, sets[i].name.span, "the set `%s` is never looked at",
				     sets[i].name.text);
}

void scope_warn_unused_policy(struct lower *lower)
{
	struct policy_node *policy = lower->policy;

	warn_unused(lower, policy->defines.items, policy->defines.count, policy->sets.items, policy->sets.count);
}

void scope_warn_unused_file(struct lower *lower)
{
	struct file_node *file = lower->file;

	warn_unused(lower, file->defines.items, file->defines.count, file->sets.items, file->sets.count);
}
