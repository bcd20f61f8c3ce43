/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names that a file gives: defines, sets, chains, policies. Input: the AST; output: errors about names given twice or
 * taken by the language, look-up, warnings about what is never used.
 */
#include <stdlib.h>
#include <string.h>

#include "lang/lower.h"

enum { NAME_MAX_LENGTH = 63 };

/* --- gathering ------------------------------------------------------------------------------------------------ */

static void give(struct lower *lower, struct local local)
{
	local.order = lower->names.count;
	VEC_PUSH(lower->arena, &lower->names) = local;
}

static void give_defines(struct lower *lower, struct define_node *defines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		give(lower, (struct local){ .kind = LOCAL_DEFINE, .define = &defines[i], .name = &defines[i].name });
}

static void give_sets(struct lower *lower, struct set_node *sets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		give(lower, (struct local){ .kind = LOCAL_SET, .set = &sets[i], .name = &sets[i].name });
}

static void give_file(struct lower *lower)
{
	memset(&lower->names, 0, sizeof lower->names);
	give_defines(lower, lower->file->defines.items, lower->file->defines.count);
	give_sets(lower, lower->file->sets.items, lower->file->sets.count);
}

/* --- checking ------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {
	[LOCAL_DEFINE] = "define", [LOCAL_SET] = "set", [LOCAL_CHAIN] = "chain", [LOCAL_KNOCK] = "knock",
	[LOCAL_POLICY] = "policy",
};

static bool is_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t length = strlen(text);

	return strspn(text, letters) > 0 && length <= NAME_MAX_LENGTH &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123456789") == length;
}

static void check_form(struct lower *lower, const struct local *local)
{
	const struct word *word = local->name;
	struct diag *diag;

	if (!is_name(word->text)) {
		diag = diag_error(lower->diags, word->span, "`%s` is not a name", word->text);
		diag_hint(lower->diags, diag,
			  "a name is letters, digits, `_` and `-`, begins with a letter, and is no longer than %d",
			  NAME_MAX_LENGTH);
	} else if (local->kind != LOCAL_POLICY && words_taken(word->text)) {
		diag_error(lower->diags, word->span, "`%s` is a word of the language and cannot name a %s",
			   word->text, kind_names[local->kind]);
	}
}

static int by_name(const void *left, const void *right)
{
	const struct local *a = left, *b = right;
	int order = strcmp(a->name->text, b->name->text);

	return order ? order : (a->order > b->order) - (a->order < b->order);
}

/* Sorts the names; those from `first` on are new and checked: their form, and that nobody had them before. */
static void check_names(struct lower *lower, size_t first)
{
	struct local *names = lower->names.items;
	const struct local *original = names;
	struct diag *diag;

	if (lower->names.count > 1)
		qsort(names, lower->names.count, sizeof *names, by_name);
	for (size_t i = 0; i < lower->names.count; i++) {
		if (strcmp(original->name->text, names[i].name->text))
			original = &names[i];
		if (names[i].order < first)
			continue;
		check_form(lower, &names[i]);
		if (original == &names[i])
			continue;
		diag = diag_error(lower->diags, names[i].name->span, "the name `%s` is given twice",
				  names[i].name->text);
		diag_relate(lower->diags, diag, original->name->span, "this %s has it", kind_names[original->kind]);
	}
}

void scope_check_file(struct lower *lower)
{
	struct policy_node *policies = lower->file->policies.items;

	memset(&lower->names, 0, sizeof lower->names);
	for (size_t i = 0; i < lower->file->policies.count; i++)
		give(lower, (struct local){ .kind = LOCAL_POLICY, .name = &policies[i].name });
	check_names(lower, 0);
	give_file(lower);
	check_names(lower, 0);
}

void scope_check_policy(struct lower *lower)
{
	struct policy_node *policy = lower->policy;
	size_t first;

	give_file(lower);
	first = lower->names.count;
	give_defines(lower, policy->defines.items, policy->defines.count);
	give_sets(lower, policy->sets.items, policy->sets.count);
	for (size_t i = 1; i < policy->chains.count; i++) /* main cannot be jumped to */
		give(lower, (struct local){ .kind = LOCAL_CHAIN, .chain = (int)i,
					    .name = &policy->chains.items[i].name });
	for (size_t i = 0; i < policy->knocks.count; i++)
		give(lower, (struct local){ .kind = LOCAL_KNOCK, .knock = &policy->knocks.items[i],
					    .name = &policy->knocks.items[i].name, .index = (unsigned)i % KNOCKS_MAX });
	check_names(lower, first);
}

/* --- looking up ----------------------------------------------------------------------------------------------- */

static int compare_text(const void *text, const void *local)
{
	return strcmp(text, ((const struct local *)local)->name->text);
}

struct local scope_find(struct lower *lower, const char *name)
{
	const struct local *found = NULL;

	if (lower->names.count)
		found = bsearch(name, lower->names.items, lower->names.count, sizeof *found, compare_text);
	return found ? *found : (struct local){ 0 };
}

int scope_chain(struct lower *lower, const char *name)
{
	struct local local = scope_find(lower, name);

	return local.kind == LOCAL_CHAIN ? local.chain : -1;
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

static bool is_of(const struct local *local, enum local_kind kind)
{
	return kind == LOCAL_NONE ? local->kind == LOCAL_DEFINE || local->kind == LOCAL_SET : local->kind == kind;
}

const char *scope_nearest(struct lower *lower, const char *name, enum local_kind kind)
{
	const char **candidates = ARENA_ARRAY(lower->arena, const char *, lower->names.count);
	size_t count = 0;

	for (size_t i = 0; i < lower->names.count; i++)
		if (is_of(&lower->names.items[i], kind))
			candidates[count++] = lower->names.items[i].name->text;
	return nearest_word(name, strlen(name), candidates, count);
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
	for (size_t i = 0; i < policy->knocks.count; i++)
		if (!policy->knocks.items[i].used)
			diag_warning(lower->diags, policy->knocks.items[i].name.span,
				     "no rule asks who has knocked at `%s`", policy->knocks.items[i].name.text);
}

void scope_warn_unused_file(struct lower *lower)
{
	struct file_node *file = lower->file;

	warn_unused(lower, file->defines.items, file->defines.count, file->sets.items, file->sets.count);
}
