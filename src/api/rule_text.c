/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single rules in a policy's text. In: the text, where its rules are, what is to change; out: which bytes become which,
 * as a person would edit them: a new rule gets a line of its own, indented as its neighbour, a rule that goes takes its
 * line and the comment behind it along.
 */
#include <string.h>

#include "api/rule.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static size_t line_start(const char *text, size_t at)
{
	while (at && text[at - 1] != '\n')
		at--;
	return at;
}

static size_t skip_blanks(const char *text, size_t at, size_t end)
{
	while (at < end && is_blank(text[at]))
		at++;
	return at;
}

/* Where the line ends (its newline, or the text's end) if nothing but a comment follows; else `at`. */
static size_t rest_of_line(const struct source *source, size_t at)
{
	const char *text = source->text;
	size_t end = skip_blanks(text, at, source->length);

	if (end < source->length && text[end] == '#')
		while (end < source->length && text[end] != '\n')
			end++;
	return end == source->length || text[end] == '\n' ? end : at;
}

static struct text_edit edit(struct arena *arena, size_t from, size_t to, const char *before, struct span rule,
			     const char *after)
{
	const char *text = rule.length ? rule.source->text + rule.offset : "";

	return (struct text_edit){
		.from = from, .to = to,
		.text = arena_printf(arena, "%s%.*s%s", before, (int)rule.length, text, after),
		.rule = from + strlen(before),
	};
}

/* The blanks that the line of `at` begins with. */
static const char *indent_of(struct arena *arena, const struct source *source, size_t at)
{
	size_t start = line_start(source->text, at);

	return arena_strndup(arena, source->text + start, skip_blanks(source->text, start, at) - start);
}

static struct text_edit edit_before(struct arena *arena, const struct source *source, struct span neighbour,
				    struct span rule)
{
	const char *indent = indent_of(arena, source, neighbour.offset);

	return edit(arena, neighbour.offset, neighbour.offset, "", rule, arena_printf(arena, "\n%s", indent));
}

static struct text_edit edit_behind(struct arena *arena, const struct source *source, struct span neighbour,
				    struct span rule)
{
	const char *indent = indent_of(arena, source, neighbour.offset);
	size_t at = rest_of_line(source, neighbour.offset + neighbour.length);

	return edit(arena, at, at, arena_printf(arena, "\n%s", indent), rule, "");
}

/* The first rule of its policy. */
static struct text_edit edit_into(struct arena *arena, const struct source *source, struct span policy,
				  struct span rule)
{
	size_t brace = policy.offset + policy.length - 1, start = line_start(source->text, brace);
	const char *indent = indent_of(arena, source, brace);

	if (skip_blanks(source->text, start, brace) == brace)
		return edit(arena, start, start, arena_printf(arena, "%s\t", indent), rule, "\n");
	return edit(arena, brace, brace, arena_printf(arena, "\n%s\t", indent), rule,
		    arena_printf(arena, "\n%s", indent));
}

static struct text_edit edit_out(struct arena *arena, const struct source *source, struct span gone)
{
	size_t start = line_start(source->text, gone.offset), to = gone.offset + gone.length;
	size_t end = rest_of_line(source, to);
	bool alone = skip_blanks(source->text, start, gone.offset) == gone.offset &&
		     (end == source->length || source->text[end] == '\n');

	if (!alone)
		return edit(arena, gone.offset, to, "", (struct span){ 0 }, "");
	return edit(arena, start, end + (end < source->length), "", (struct span){ 0 }, "");
}

struct text_edit rule_text_edit(struct arena *arena, const struct lang_rules *rules, const struct rule_change *change)
{
	const struct source *source = rules->policy.source;
	const struct lang_rule *at = change->number ? &rules->items[change->number - 1] : NULL;

	switch (change->operation) {
	case WEIR_RULE_REPLACE:
		return edit(arena, at->span.offset, at->span.offset + at->span.length, "", change->rule, "");
	case WEIR_RULE_DELETE:
		return edit_out(arena, source, at->span);
	case WEIR_RULE_ADD:
		break;
	}
	if (at)
		return edit_before(arena, source, at->span, change->rule);
	for (size_t i = rules->count; i > 0; i--)
		if (rules->items[i - 1].main)
			return edit_behind(arena, source, rules->items[i - 1].span, change->rule);
	return edit_into(arena, source, rules->policy, change->rule);
}

uint32_t rule_text_number(const struct lang_rules *rules, const struct rule_change *change)
{
	if (change->number)
		return change->number;
	for (size_t i = rules->count; i > 0; i--)
		if (rules->items[i - 1].main)
			return (uint32_t)i + 1;
	return (uint32_t)rules->count + 1;
}

const struct source *rule_text_apply(struct arena *arena, const struct source *source, const struct text_edit *edit)
{
	struct source *result = ARENA_NEW(arena, struct source);
	size_t added = strlen(edit->text);
	char *text = arena_alloc(arena, source->length + added + 1);

	memcpy(text, source->text, edit->from);
	memcpy(text + edit->from, edit->text, added);
	memcpy(text + edit->from + added, source->text + edit->to, source->length - edit->to);
	*result = (struct source){ source->name, text, edit->from + added + source->length - edit->to };
	return result;
}
