/* SPDX-License-Identifier: GPL-2.0-only */
/* A policy's text and rules as changes in place have left them: replays ops. See rule_places.h. */
#include <string.h>

#include "api/rule.h"
#include "api/rule_places.h"

/* All behind the edit moves; what is inside it goes. */
static void move(struct edited *edited, const struct text_edit *edit, const struct source *source)
{
	int64_t grown = (int64_t)strlen(edit->text) - (int64_t)(edit->to - edit->from);

	for (size_t i = 0; i < edited->rules.count; i++) {
		struct span *span = &edited->rules.items[i].span;

		span->source = source;
		if (span->offset >= edit->to)
			span->offset = (uint32_t)(span->offset + grown);
	}
	edited->policy.source = source;
	if (edited->policy.offset >= edit->to)
		edited->policy.offset = (uint32_t)(edited->policy.offset + grown);
	else if (edit->from < edited->policy.offset + edited->policy.length)
		edited->policy.length = (uint32_t)(edited->policy.length + grown);
	edited->source = source;
}

static void edit_text(struct edited *edited, const struct text_edit *edit)
{
	move(edited, edit, rule_text_apply(edited->arena, edited->source, edit));
}

/* The text as a person would edit it; where the new rule begins then. */
static uint32_t edit_for(struct edited *edited, const struct rule_op *op)
{
	struct source rule = { "rule", op_text(op), op->length };
	struct lang_rule *places = ARENA_ARRAY(edited->arena, struct lang_rule, edited->rules.count);
	const struct lang_rules rules = { edited->policy, places, edited->rules.count };
	bool last = op->operation == WEIR_RULE_ADD && op->number > edited->rules.count;
	const struct rule_change change = { .operation = (enum weir_rule_operation)op->operation,
					    .number = last ? 0 : op->number, .rule = { &rule, 0, op->length } };
	struct text_edit edit;

	for (size_t i = 0; i < edited->rules.count; i++)
		places[i] = (struct lang_rule){ edited->rules.items[i].span, true };
	edit = rule_text_edit(edited->arena, &rules, &change);
	edit_text(edited, &edit);
	return (uint32_t)edit.rule;
}

static void take_out(struct edited *edited, uint32_t number)
{
	memmove(&edited->rules.items[number - 1], &edited->rules.items[number],
		(edited->rules.count - number) * sizeof *edited->rules.items);
	edited->rules.count--;
}

static void put_in(struct edited *edited, const struct rule_op *op, uint32_t at, uint32_t size)
{
	size_t index = op->number - 1;

	VEC_PUSH(edited->arena, &edited->rules) = (struct edited_rule){ .slot = 0 };
	memmove(&edited->rules.items[index + 1], &edited->rules.items[index],
		(edited->rules.count - index - 1) * sizeof *edited->rules.items);
	edited->rules.items[index] = (struct edited_rule){
		.span = { edited->source, at, size }, .slot = op->slot, .verdict = op->verdict, .came = true,
		.hash = op->hash,
	};
}

void edited_apply(struct edited *edited, const struct rule_op *op)
{
	const struct text_edit edit = { .from = op->number, .to = op->order };
	uint32_t at = op->placed - 1, size = op->size;

	if (op->operation == RULE_TEXT) {
		struct text_edit text = edit;

		text.text = arena_strndup(edited->arena, op_text(op), op->length);
		edit_text(edited, &text);
		return;
	}
	if (!op->placed) {
		at = edit_for(edited, op);
		size = op->length;
	}
	if (op->operation != WEIR_RULE_ADD)
		take_out(edited, op->number);
	if (op->operation != WEIR_RULE_DELETE)
		put_in(edited, op, at, size);
}

/* --- what a rule means ------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

static uint64_t mix_wide(uint64_t hash, u128 value)
{
	return mix(mix(hash, u128_hi(value)), u128_lo(value));
}

static uint64_t cond_hash(uint64_t hash, const struct cond *cond)
{
	hash = mix(hash, cond->kind);
	switch (cond->kind) {
	case COND_TRUE: case COND_FALSE:
		return hash;
	case COND_AND: case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			hash = cond_hash(hash, cond->list.items[i]);
		return mix(hash, cond->list.count);
	case COND_NOT:
		return cond_hash(hash, cond->inner);
	case COND_MATCH:
		hash = mix_wide(mix(hash, cond->match.field), cond->match.mask);
		for (size_t i = 0; i < cond->match.count; i++)
			hash = mix_wide(mix_wide(hash, cond->match.ranges[i].lo), cond->match.ranges[i].hi);
		return hash;
	case COND_SET:
		return mix(mix(hash, cond->set.field), cond->set.set);
	}
	return hash;
}

/* Actions are told apart by the rule's text. */
uint64_t rule_hash(const struct rule *rule)
{
	const char *text = rule->span.source->text + rule->span.offset;
	uint64_t hash = 17;

	for (uint32_t i = 0; i < rule->span.length; i++)
		hash = mix(hash, (unsigned char)text[i]);
	return rule->cond ? cond_hash(hash, rule->cond) : hash;
}
