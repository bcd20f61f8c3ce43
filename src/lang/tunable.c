/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tunables. In: conditions as they are with the present values; out: those that compare a number with a tunable marked
 * as such, and which tunables nothing else asks for. A tunable stays a constant wherever it is more than a number.
 */
#include <string.h>

#include "lang/lower.h"

static struct tuned *find(struct lower *lower, const struct define_node *define)
{
	for (size_t i = 0; i < lower->tuned.count; i++)
		if (lower->tuned.items[i].define == define)
			return &lower->tuned.items[i];
	return NULL;
}

void tunable_used(struct lower *lower, struct define_node *define)
{
	struct tuned *tuned = find(lower, define);

	if (!tuned) {
		tuned = &VEC_PUSH(lower->arena, &lower->tuned);
		*tuned = (struct tuned){ .define = define };
	}
	tuned->uses++;
	lower->tuned_uses++;
}

/* The tunable that is all of the comparison's right side: not one that another define names. */
static struct tuned *compared_with(struct lower *lower, const struct expr *expr, unsigned uses)
{
	struct local local = { 0 };

	if (lower->tuned_uses == uses + 1 && expr->value.kind == VALUE_WORD && !expr->value.word.quoted)
		local = scope_find(lower, expr->value.word.text);
	return local.kind == LOCAL_DEFINE ? find(lower, local.define) : NULL;
}

static uint8_t relation_of(enum compare op)
{
	switch (op) {
	case COMPARE_EQ:
	case COMPARE_NE: /* the condition is negated as a whole */
		return RELATION_EQUAL;
	case COMPARE_LT:
		return RELATION_BELOW;
	case COMPARE_LE:
		return RELATION_BELOW | RELATION_EQUAL;
	case COMPARE_GT:
		return RELATION_ABOVE;
	case COMPARE_GE:
		return RELATION_ABOVE | RELATION_EQUAL;
	default:
		return 0;
	}
}

static bool comparable(const struct field_word *field)
{
	bool number = type_table[field->type].numeric || field->type == TYPE_MAC || field->type == TYPE_ADDRESS;
	bool icmp = field->type >= TYPE_ICMP && field->type <= TYPE_ICMP6_CODE; /* the family goes with the value */

	return number && !icmp && field->field < FIELD_COUNT && !field_table[field->field].owner;
}

/* Its number from 1 on; 0: there are too many. */
static uint32_t comparison_number(struct lower *lower, struct comparison wanted)
{
	const struct comparison *items = lower->comparisons.items;

	for (uint32_t i = 0; i < lower->comparisons.count; i++)
		if (items[i].field == wanted.field && items[i].relation == wanted.relation &&
		    items[i].tunable == wanted.tunable)
			return i + 1;
	if (lower->comparisons.count == COMPARISONS_MAX)
		return 0;
	VEC_PUSH(lower->arena, &lower->comparisons) = wanted;
	return (uint32_t)lower->comparisons.count;
}

/* A copy whose match of the field names the comparison; the match stands alone or behind a protocol. */
static const struct cond *name_comparison(struct lower *lower, const struct cond *cond, enum field field, uint32_t number)
{
	struct cond *named = arena_copy(lower->arena, cond, sizeof *cond);

	if (cond->kind == COND_MATCH && cond->match.field == field) {
		named->match.comparison = number;
	} else if (cond->kind == COND_AND) {
		const struct cond **items = arena_copy(lower->arena, cond->list.items, cond->list.count * sizeof *items);

		for (size_t i = 0; i < cond->list.count; i++)
			items[i] = name_comparison(lower, items[i], field, number);
		named->list.items = items;
	}
	return named;
}

/* Takes a place among those of the ruleset. False: there is none, or the word is another number here. */
static bool take_value(struct lower *lower, struct tuned *tuned, uint64_t value)
{
	if (tuned->compared)
		return tuned->value == value;
	if (lower->tunable_count == TUNABLES_MAX)
		return false;
	tuned->index = lower->tunable_count++;
	tuned->value = value;
	return true;
}

const struct cond *tunable_compare(struct lower *lower, const struct expr *expr, const struct field_word *field,
				   const struct range *value, unsigned uses, const struct cond *cond)
{
	struct tuned *tuned = compared_with(lower, expr, uses);
	uint8_t relation = relation_of(expr->op);
	uint32_t number = 0;

	if (!tuned || !value || value->lo != value->hi || !relation || !comparable(field) || cond->kind == COND_FALSE)
		return cond;
	if (take_value(lower, tuned, (uint64_t)value->lo))
		number = comparison_number(lower, (struct comparison){ field->field, relation, tuned->index });
	if (!number)
		return cond;
	tuned->compared++;
	return name_comparison(lower, cond, field->field, number);
}

void tunables_finish(struct lower *lower, struct ruleset *ruleset)
{
	struct tunable *tunables = ARENA_ARRAY(lower->arena, struct tunable, lower->tunable_count);

	for (size_t i = 0; i < lower->tuned.count; i++) {
		const struct tuned *tuned = &lower->tuned.items[i];

		if (tuned->compared)
			tunables[tuned->index] = (struct tunable){
				.name = tuned->define->name.text, .value = tuned->value,
				.live = tuned->uses == tuned->compared && !tuned->define->in_set,
			};
	}
	ruleset->tunables = tunables;
	ruleset->tunable_count = lower->tunable_count;
	ruleset->comparisons = lower->comparisons.items;
	ruleset->comparison_count = lower->comparisons.count;
}
