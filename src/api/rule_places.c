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
	struct rule_places places = { .arena = arena, .stride = stride, .site_count = rules + 1, .built = rules,
				      .count = rules };

	if (rules)
		VEC_PUSH(arena, &places.runs) = (struct rule_run){ .first = 1, .count = rules };
	return places;
}

void places_take_sites(struct rule_places *places, const struct table_site *sites, uint32_t count)
{
	bool *seen = ARENA_ARRAY(places->arena, bool, (size_t)places->built + 1);

	places->sites = sites;
	places->site_count = count;
	places->site_of = ARENA_ARRAY(places->arena, uint32_t, (size_t)places->built + 1);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t rule = sites[i].rule;

		if (rule && rule <= places->built) {
			places->site_of[rule] = seen[rule] ? 0 : i + 1;
			seen[rule] = true;
		}
	}
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

static void put_in(struct rule_places *places, uint32_t number, const struct rule_op *op)
{
	size_t i = split(places, number);

	VEC_PUSH(places->arena, &places->runs) = (struct rule_run){ 0 };
	memmove(&places->runs.items[i + 1], &places->runs.items[i],
		(places->runs.count - 1 - i) * sizeof *places->runs.items);
	places->runs.items[i] = (struct rule_run){ .count = 1, .order = op->order, .slot = op->slot, .chain = op->chain };
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
		put_in(places, op->number, op);
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

/* The main chain's rules are judged in one place. */
static bool is_main(const struct rule_places *places, const struct rule_run *run, uint32_t index)
{
	uint32_t site;

	if (!places->sites)
		return true;
	if (!run->first)
		return !run->chain;
	site = places->site_of[run->first + index];
	return site && !places->sites[site - 1].chain;
}

uint32_t places_last(const struct rule_places *places)
{
	uint32_t number = places->count;

	for (size_t i = places->runs.count; i-- > 0;)
		for (uint32_t index = places->runs.items[i].count; index-- > 0; number--)
			if (is_main(places, &places->runs.items[i], index))
				return number + 1;
	return !places->count;
}

uint32_t places_order(const struct rule_places *places, uint32_t number)
{
	uint32_t index;
	const struct rule_run *run = places_find(places, number, &index);

	if (!run)
		return places->site_count * places->stride;
	if (!run->first)
		return run->order;
	return (places->sites ? places->site_of[run->first + index] : run->first + index) * places->stride;
}

/* The greatest order below that one, of what was built or is there now. */
static uint32_t order_below(const struct rule_places *places, uint32_t behind)
{
	uint32_t below = (behind - 1) / places->stride * places->stride;

	below = below > places->first ? below : places->first;
	for (size_t i = 0; i < places->runs.count; i++) {
		const struct rule_run *run = &places->runs.items[i];

		if (!run->first && run->order > below && run->order < behind)
			below = run->order;
	}
	return below;
}

enum { NEAR = 16 }; /* rules that come one after the other in one place are put so near each other */

uint32_t places_before(const struct rule_places *places, uint32_t behind)
{
	uint32_t before = order_below(places, behind), gap = behind - before, near = gap / 2 < NEAR ? gap / 2 : NEAR;
	bool built_before = before == places->first || before % places->stride == 0, built_behind = behind % places->stride == 0;

	if (!behind || gap < 2)
		return 0;
	if (built_before && !built_behind)
		return behind - near;
	return built_behind && !built_before ? before + near : before + gap / 2;
}

uint32_t places_end(const struct rule_places *places, uint32_t chain)
{
	uint32_t found = 0;

	if (!places->sites)
		return places->site_count * places->stride;
	for (uint32_t i = 0; i < places->site_count; i++) {
		if (places->sites[i].rule || places->sites[i].chain != chain)
			continue;
		if (found)
			return 0;
		found = (i + 1) * places->stride;
	}
	return found;
}

uint32_t places_chain(const struct rule_places *places, uint32_t order)
{
	return places->sites ? places->sites[order / places->stride].chain : 0;
}
