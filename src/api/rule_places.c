/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers and orders of rules that are changed in place. See rule_places.h. */
#include "api/rule_places.h"

#include <string.h>

/* --- ops --------------------------------------------------------------------------------------------------------- */

size_t op_size(uint32_t length)
{
	return sizeof(struct rule_op) + ((size_t)length + 7) / 8 * 8;
}

const char *op_text(const struct rule_op *op)
{
	return (const char *)(op + 1);
}

const struct rule_op *op_next(struct op_cursor *cursor)
{
	const char *end, *at;

	if (cursor->op) {
		at = (const char *)cursor->op + op_size(cursor->op->length);
		end = (const char *)(cursor->edit + 1) + cursor->edit->size;
		if (at < end)
			return cursor->op = (const struct rule_op *)at;
	}
	cursor->edit = rules_edit_next(cursor->edits, cursor->size, cursor->edit);
	cursor->op = cursor->edit ? (const struct rule_op *)(cursor->edit + 1) : NULL;
	return cursor->op;
}

const char *edits_log_text(const void *edits, size_t size, uint32_t log)
{
	struct op_cursor cursor = { .edits = edits, .size = size };
	const struct rule_op *op;

	while ((op = op_next(&cursor)))
		if (op->operation == RULE_LOG && op->number == log && op->length && !op_text(op)[op->length - 1])
			return op_text(op);
	return NULL;
}

/* --- places ------------------------------------------------------------------------------------------------------ */

struct rule_places places_built(struct arena *arena, uint32_t rules, uint32_t stride)
{
	struct rule_places places = { .arena = arena, .stride = stride, .built = rules, .count = rules };

	if (rules)
		VEC_PUSH(arena, &places.runs) = (struct rule_run){ .first = 1, .count = rules };
	return places;
}

/* Makes a run begin with the rule of that number; its index. */
static size_t split(struct rule_places *places, uint32_t number)
{
	uint32_t before = 0;
	size_t i = 0;

	while (i < places->runs.count && before + places->runs.items[i].count < number)
		before += places->runs.items[i++].count;
	if (i == places->runs.count || number == before + 1)
		return i;
	VEC_PUSH(places->arena, &places->runs) = (struct rule_run){ 0 };
	memmove(&places->runs.items[i + 1], &places->runs.items[i],
		(places->runs.count - 1 - i) * sizeof *places->runs.items);
	places->runs.items[i].count = number - 1 - before;
	places->runs.items[i + 1].first += number - 1 - before;
	places->runs.items[i + 1].count -= number - 1 - before;
	return i + 1;
}

static void take_out(struct rule_places *places, uint32_t number)
{
	size_t i = split(places, number);

	split(places, number + 1);
	memmove(&places->runs.items[i], &places->runs.items[i + 1],
		(places->runs.count - 1 - i) * sizeof *places->runs.items);
	places->runs.count--;
	places->count--;
}

static void put_in(struct rule_places *places, uint32_t number, uint32_t order, uint32_t slot)
{
	size_t i = split(places, number);

	VEC_PUSH(places->arena, &places->runs) = (struct rule_run){ 0 };
	memmove(&places->runs.items[i + 1], &places->runs.items[i],
		(places->runs.count - 1 - i) * sizeof *places->runs.items);
	places->runs.items[i] = (struct rule_run){ .count = 1, .order = order, .slot = slot };
	places->count++;
	places->came++;
}

void places_apply(struct rule_places *places, const struct rule_op *op)
{
	if (!op_is_of_rule(op))
		return;
	if (op->operation != WEIR_RULE_ADD)
		take_out(places, op->number);
	if (op->operation != WEIR_RULE_DELETE)
		put_in(places, op->number, op->order, op->slot);
}

static uint32_t moved(uint32_t number, const struct rule_op *op)
{
	if (op->operation == WEIR_RULE_ADD)
		return number + (op->number <= number);
	return number - (op->operation == WEIR_RULE_DELETE && op->number < number);
}

uint32_t places_number(const void *edits, size_t size, uint32_t slot)
{
	struct op_cursor cursor = { .edits = edits, .size = size };
	uint32_t number = slot - SLOT_RULES + 1;
	const struct rule_op *op;
	bool gone = false;

	while ((op = op_next(&cursor))) {
		bool brings = op->operation == WEIR_RULE_ADD || op->operation == WEIR_RULE_REPLACE;

		if (brings && op->slot == slot) {
			number = op->number;
			gone = false;
		} else if (op_is_of_rule(op) && !gone) {
			gone = op->operation != WEIR_RULE_ADD && op->number == number;
			number = moved(number, op);
		}
	}
	return number;
}

struct rule_run *places_find(const struct rule_places *places, uint32_t number, uint32_t *ret_index)
{
	uint32_t before = 0;

	for (size_t i = 0; number && i < places->runs.count; i++) {
		struct rule_run *run = &places->runs.items[i];

		*ret_index = number - before - 1;
		if (number <= before + run->count)
			return run;
		before += run->count;
	}
	return NULL;
}

uint32_t places_order(const struct rule_places *places, uint32_t number)
{
	uint32_t index;
	const struct rule_run *run = places_find(places, number, &index);

	if (!number)
		return places->first;
	if (!run)
		return (places->built + 1) * places->stride;
	return run->first ? (run->first + index) * places->stride : run->order;
}

enum { NEAR = 16 }; /* rules that come one after the other in one place are put so near each other */

uint32_t places_between(const struct rule_places *places, uint32_t before, uint32_t behind)
{
	uint32_t gap = behind - before, near = gap / 2 < NEAR ? gap / 2 : NEAR, order = before + gap / 2;
	bool built_before = before == places->first || before % places->stride == 0, built_behind = behind % places->stride == 0;

	if (gap < 2)
		return 0;
	if (built_before && !built_behind)
		order = behind - near;
	else if (built_behind && !built_before)
		order = before + near;
	if (order % places->stride)
		return order;
	/* That of a rule that was built and went. */
	return order + 1 < behind ? order + 1 : order - 1 > before ? order - 1 : 0;
}
