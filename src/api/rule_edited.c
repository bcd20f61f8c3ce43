/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A policy's text and rules as changes in place have left them: replays ops. The text is kept in pieces and rules in runs, so
 * that an op takes no longer in a long text than in a short one. See rule_places.h.
 */
#include <string.h>

#include "api/rule.h"
#include "api/rule_places.h"
#include "base/hash.h"

/* --- the text ---------------------------------------------------------------------------------------------------- */

/* Makes a piece begin there; its index. */
static size_t divide(struct edited *edited, size_t at)
{
	size_t i = 0;

	while (i < edited->pieces.count && edited->pieces.items[i].size <= at)
		at -= edited->pieces.items[i++].size;
	if (!at || i == edited->pieces.count)
		return i;
	VEC_PUSH(edited->arena, &edited->pieces) = (struct piece){ 0 };
	memmove(&edited->pieces.items[i + 1], &edited->pieces.items[i],
		(edited->pieces.count - 1 - i) * sizeof *edited->pieces.items);
	edited->pieces.items[i].size = at;
	edited->pieces.items[i + 1].text += at;
	edited->pieces.items[i + 1].size -= at;
	return i + 1;
}

/* The policy moves or grows. The text is borrowed. */
static void edit_text(struct edited *edited, size_t from, size_t to, const char *text, size_t size)
{
	size_t first = divide(edited, from), behind = divide(edited, to), count;

	VEC_PUSH(edited->arena, &edited->pieces) = (struct piece){ 0 };
	count = edited->pieces.count - 1 - behind;
	memmove(&edited->pieces.items[first + 1], &edited->pieces.items[behind], count * sizeof *edited->pieces.items);
	edited->pieces.items[first] = (struct piece){ text, size };
	edited->pieces.count = first + 1 + count;
	edited->length += size - (to - from);
	if (edited->policy >= to)
		edited->policy += size - (to - from);
	else if (from < edited->policy + edited->policy_size)
		edited->policy_size += size - (to - from);
}

const char *edited_byte(const struct edited *edited, size_t at)
{
	for (size_t i = 0; i < edited->pieces.count; i++) {
		if (at < edited->pieces.items[i].size)
			return edited->pieces.items[i].text + at;
		at -= edited->pieces.items[i].size;
	}
	return NULL;
}

/* All lines that from .. to touch, as a source; where the first begins. */
static struct source *copy_lines(const struct edited *edited, size_t from, size_t to, size_t *ret_start)
{
	struct source *lines = ARENA_NEW(edited->arena, struct source);
	char *text;

	while (from && *edited_byte(edited, from - 1) != '\n')
		from--;
	while (to < edited->length && *edited_byte(edited, to) != '\n')
		to++;
	to += to < edited->length;
	text = arena_alloc(edited->arena, to - from + 1);
	for (size_t i = from; i < to; i++)
		text[i - from] = *edited_byte(edited, i);
	*lines = (struct source){ edited->name, text, to - from };
	*ret_start = from;
	return lines;
}

/* --- rules ------------------------------------------------------------------------------------------------------- */

static struct edited_rule rule_of(const struct edited *edited, const struct rule_run *run, uint32_t index)
{
	const struct rule_mark *mark;

	if (!run->first)
		return (struct edited_rule){ .text = run->text, .size = run->size, .op = run->op, .hash = run->op->hash };
	mark = &edited->marks[run->first + index - 1];
	return (struct edited_rule){ .text = edited->built + mark->at, .size = mark->size, .built = run->first + index,
				     .hash = mark->hash };
}

struct edited_rule edited_rule(const struct edited *edited, uint32_t number)
{
	uint32_t index;
	const struct rule_run *run = places_find(&edited->places, number, &index);

	return rule_of(edited, run, index);
}

static bool lies_in(const struct piece *piece, const char *text)
{
	return (uintptr_t)text - (uintptr_t)piece->text < piece->size;
}

size_t edited_place(const struct edited *edited, const struct edited_rule *rule)
{
	size_t at = 0;

	for (size_t i = 0; i < edited->pieces.count; i++) {
		const struct piece *piece = &edited->pieces.items[i];

		if (lies_in(piece, rule->text))
			return at + (size_t)(rule->text - piece->text);
		at += piece->size;
	}
	return at;
}

/* Changes the text as a person would edit it; where the new rule begins then. */
static size_t edit_for(struct edited *edited, const struct rule_op *op)
{
	uint32_t count = edited->places.count, number = op->number;
	bool last = op->operation == WEIR_RULE_ADD && op->last;
	struct source given = { "rule", op_text(op), op->length };
	struct rule_change change = { .operation = (enum weir_rule_operation)op->operation, .number = !last,
				      .rule = { &given, 0, op->length } };
	struct lang_rule neighbour = { .main = true };
	struct lang_rules rules = { .items = &neighbour, .count = count != 0 };
	size_t brace = edited->policy + edited->policy_size - 1, at = brace, size = 1, start;
	const struct source *lines;
	struct text_edit edit;

	if (count) {
		const struct edited_rule rule = edited_rule(edited, last ? number - 1 : number);

		at = edited_place(edited, &rule);
		size = rule.size;
	}
	lines = copy_lines(edited, at, at + size, &start);
	neighbour.span = (struct span){ lines, (uint32_t)(at - start), (uint32_t)size };
	rules.policy = (struct span){ lines, 0, (uint32_t)(brace + 1 - start) };
	edit = rule_text_edit(edited->arena, &rules, &change);
	edit_text(edited, start + edit.from, start + edit.to, edit.text, strlen(edit.text));
	return start + edit.rule;
}

void edited_apply(struct edited *edited, const struct rule_op *op)
{
	size_t at = op->placed - 1, size = op->size;
	struct rule_run *run;
	uint32_t index;

	if (op->operation == RULE_TEXT) {
		edit_text(edited, op->number, op->order, op_text(op), op->length);
		return;
	}
	if (!op_is_of_rule(op))
		return;
	if (!op->placed) {
		at = edit_for(edited, op);
		size = op->length;
	}
	places_apply(&edited->places, op);
	if (op->operation == WEIR_RULE_DELETE)
		return;
	run = places_find(&edited->places, op->number, &index);
	run->op = op;
	run->text = edited_byte(edited, at);
	run->size = (uint32_t)size;
}

/* --- from and to the whole --------------------------------------------------------------------------------------- */

struct edited edited_built(struct arena *arena, const struct source *file, struct span policy, const struct rule_mark *marks,
			   uint32_t rules)
{
	struct edited edited = { .arena = arena, .name = file->name, .length = file->length, .policy = policy.offset,
				 .policy_size = policy.length, .built = file->text, .marks = marks };

	VEC_PUSH(arena, &edited.pieces) = (struct piece){ file->text, file->length };
	edited.places = places_built(arena, rules, 1);
	return edited;
}

const struct source *edited_source(const struct edited *edited)
{
	struct source *source = ARENA_NEW(edited->arena, struct source);
	char *text = arena_alloc(edited->arena, edited->length + 1), *to = text;

	for (size_t i = 0; i < edited->pieces.count; i++) {
		memcpy(to, edited->pieces.items[i].text, edited->pieces.items[i].size);
		to += edited->pieces.items[i].size;
	}
	*source = (struct source){ edited->name, text, edited->length };
	return source;
}

/* Rules are in the order of the text, so all runs and pieces are passed once. */
void edited_rules(const struct edited *edited, uint32_t first, uint32_t count, struct edited_rule *rules, uint32_t *places)
{
	const struct piece *piece = edited->pieces.items;
	const struct rule_run *run;
	size_t before = 0;
	uint32_t index;

	if (!count)
		return;
	run = places_find(&edited->places, first, &index);
	for (uint32_t i = 0; i < count; i++, index++) {
		for (; index == run->count; run++)
			index = 0;
		rules[i] = rule_of(edited, run, index);
		while (before + piece->size < edited->length && !lies_in(piece, rules[i].text))
			before += piece++->size;
		places[i] = (uint32_t)(before + (size_t)(rules[i].text - piece->text));
	}
}

/* --- what a rule means ------------------------------------------------------------------------------------------- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
	return hash_mix(hash, hash_bytes(17, text, strlen(text)));
}

static uint64_t mix_wide(uint64_t hash, u128 value)
{
	return hash_mix(hash_mix(hash, u128_hi(value)), u128_lo(value));
}

/* Sets by name: their index tells which rule looks at them first. */
static uint64_t cond_hash(uint64_t hash, const struct ruleset *ruleset, const struct cond *cond)
{
	hash = hash_mix(hash, cond->kind);
	switch (cond->kind) {
	case COND_TRUE: case COND_FALSE:
		return hash;
	case COND_AND: case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			hash = cond_hash(hash, ruleset, cond->list.items[i]);
		return hash_mix(hash, cond->list.count);
	case COND_NOT:
		return cond_hash(hash, ruleset, cond->inner);
	case COND_MATCH:
		hash = mix_wide(hash_mix(hash, cond->match.field), cond->match.mask);
		for (size_t i = 0; i < cond->match.count; i++)
			hash = mix_wide(mix_wide(hash, cond->match.ranges[i].lo), cond->match.ranges[i].hi);
		return hash;
	case COND_SET:
		return hash_text(hash_mix(hash, cond->set.field), ruleset->sets[cond->set.set].name);
	}
	return hash;
}

/* Actions are told apart by the rule's text. */
uint64_t rule_hash(const struct ruleset *ruleset, const struct rule *rule, uint32_t chain)
{
	const char *text = rule->span.source->text + rule->span.offset;
	uint64_t hash = 17 + chain;

	for (uint32_t i = 0; i < rule->span.length; i++)
		hash = hash_mix(hash, (unsigned char)text[i]);
	return rule->cond ? cond_hash(hash, ruleset, rule->cond) : hash;
}
