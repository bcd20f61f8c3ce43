/* SPDX-License-Identifier: GPL-2.0-only */
/* Values of a field to a condition of the IR. Input: a struct operand; output: a cond. Cannot fail. */
#include "lang/lower.h"

struct conds {
	VEC(const struct cond *) list;
};

const struct cond *cond_false(struct lower *lower, struct span span)
{
	return cond_new(lower->arena, COND_FALSE, span);
}

const struct cond *cond_list(struct lower *lower, enum cond_kind kind, const struct cond **items, size_t count,
			     struct span span)
{
	struct cond *cond;

	if (!count)
		return cond_new(lower->arena, kind == COND_AND ? COND_TRUE : COND_FALSE, span);
	if (count == 1)
		return items[0];
	cond = cond_new(lower->arena, kind, span);
	cond->list.items = items;
	cond->list.count = count;
	return cond;
}

static void push(struct lower *lower, struct conds *conds, const struct cond *cond)
{
	VEC_PUSH(lower->arena, &conds->list) = cond;
}

static const struct cond *is_family(struct lower *lower, bool v6, struct span span)
{
	u128 family = v6 ? FAMILY_IPV6 : FAMILY_IPV4;

	return cond_match(lower->arena, FIELD_FAMILY, family, family, span);
}

static bool is_icmp(const struct operand *operand)
{
	return operand->field->type >= TYPE_ICMP && operand->field->type <= TYPE_ICMP6_CODE;
}

static void push_ranges(struct lower *lower, struct conds *conds, const struct operand *operand, bool v6,
			struct span span)
{
	const struct range *ranges = v6 ? operand->ranges6.items : operand->ranges.items;
	size_t count = v6 ? operand->ranges6.count : operand->ranges.count;
	bool address = operand->field->type == TYPE_ADDRESS;
	enum field field = v6 && address ? operand->field->field6 : operand->field->field;
	const struct cond *cond;

	if (!count)
		return;
	cond = cond_match_ranges(lower->arena, field, ranges, count, span);
	/* types and codes mean different things in the two families; addresses are fields of their own */
	if (is_icmp(operand))
		cond = cond_pair(lower->arena, COND_AND, is_family(lower, v6, span), cond, span);
	push(lower, conds, cond);
}

static void push_set(struct lower *lower, struct conds *conds, enum field field, uint32_t set, struct span span)
{
	struct cond *cond = cond_new(lower->arena, COND_SET, span);

	cond->set.field = field;
	cond->set.set = set;
	push(lower, conds, cond);
}

static void push_sets(struct lower *lower, struct conds *conds, const struct operand *operand, struct span span)
{
	const struct field_word *field = operand->field;

	for (size_t i = 0; i < operand->sets.count; i++) {
		if (field->field < FIELD_COUNT)
			push_set(lower, conds, field->field, operand->sets.items[i], span);
		if (field->field6 < FIELD_COUNT)
			push_set(lower, conds, field->field6, operand->sets.items[i], span);
	}
}

/* An ICMP code's name stands for its type too. */
static void push_pairs(struct lower *lower, struct conds *conds, const struct operand *operand, struct span span)
{
	for (size_t i = 0; i < operand->pairs.count; i++) {
		const struct icmp_pair *pair = &operand->pairs.items[i];
		struct conds parts = { 0 };

		push(lower, &parts, is_family(lower, pair->v6, span));
		push(lower, &parts, cond_match(lower->arena, FIELD_ICMP_TYPE, pair->type, pair->type, span));
		push(lower, &parts, cond_match(lower->arena, FIELD_ICMP_CODE, pair->code, pair->code, span));
		push(lower, conds, cond_list(lower, COND_AND, parts.list.items, parts.list.count, span));
	}
}

static void push_cgroups(struct lower *lower, struct conds *conds, const struct operand *operand, struct span span)
{
	for (size_t i = 0; i < operand->cgroups.count; i++) {
		const struct cgroup_ref *ref = &operand->cgroups.items[i];

		push(lower, conds,
		     cond_match(lower->arena, FIELD_CGROUP_0 + ref->slot, ref->id, ref->id, span));
	}
}

static const struct cond *any_of(struct lower *lower, const struct operand *operand, struct span span)
{
	struct conds conds = { 0 };
	const struct cond *cond, *proto;

	push_ranges(lower, &conds, operand, false, span);
	push_ranges(lower, &conds, operand, true, span);
	push_sets(lower, &conds, operand, span);
	push_pairs(lower, &conds, operand, span);
	push_cgroups(lower, &conds, operand, span);
	cond = cond_list(lower, COND_OR, conds.list.items, conds.list.count, span);
	if (!operand->field->proto || cond->kind == COND_FALSE)
		return cond;
	proto = cond_match(lower->arena, FIELD_PROTO, operand->field->proto, operand->field->proto, span);
	return cond_pair(lower->arena, COND_AND, proto, cond, span);
}

/* --- none of them, for owners --------------------------------------------------------------------------- */

/* All values up to `max` that are in none of the ranges. */
static const struct cond *complement(struct lower *lower, const struct operand *operand, u128 max, struct span span)
{
	struct range *ranges = arena_copy(lower->arena, operand->ranges.items,
					  operand->ranges.count * sizeof *operand->ranges.items);
	size_t count = ranges_normalize(ranges, operand->ranges.count);
	VEC(struct range) gaps = { 0 };
	u128 next = field_table[operand->field->field].absent == 0; /* of values that an owner who is known may have */

	for (size_t i = 0; i < count; i++) {
		if (ranges[i].lo > next)
			VEC_PUSH(lower->arena, &gaps) = (struct range){ next, ranges[i].lo - 1 };
		next = ranges[i].hi + 1;
	}
	if (next <= max)
		VEC_PUSH(lower->arena, &gaps) = (struct range){ next, max };
	return cond_match_ranges(lower->arena, operand->field->field, gaps.items, gaps.count, span);
}

/*
 * The owner is known and is none of these. For users the complement of the ranges says both. For cgroups it would
 * not do, as an owner further up has no ancestor at that level; nor for sets. These stand negated beside a test that
 * the user is known, which it is whenever the cgroup is.
 */
static const struct cond *known_and_none(struct lower *lower, const struct operand *operand, struct span span)
{
	const struct field_word *user = words_field("user");
	struct operand rest = { .field = operand->field };
	struct conds conds = { 0 }, parts = { 0 };

	if (operand->field->field != FIELD_CGROUP_0)
		push(lower, &parts, complement(lower, operand, operand_max(operand->field), span));
	else
		push(lower, &parts, cond_match(lower->arena, FIELD_USER, 0, operand_max(user), span));
	if (parts.list.items[0]->kind == COND_FALSE)
		return parts.list.items[0];
	rest.sets.items = operand->sets.items;
	rest.sets.count = operand->sets.count;
	rest.cgroups.items = operand->cgroups.items;
	rest.cgroups.count = operand->cgroups.count;
	push_sets(lower, &conds, &rest, span);
	push_cgroups(lower, &conds, &rest, span);
	for (size_t i = 0; i < conds.list.count; i++)
		push(lower, &parts, cond_not(lower->arena, conds.list.items[i], span));
	return cond_list(lower, COND_AND, parts.list.items, parts.list.count, span);
}

const struct cond *cond_from_operand(struct lower *lower, const struct operand *operand, bool negate,
				     struct span span)
{
	return negate ? known_and_none(lower, operand, span) : any_of(lower, operand, span);
}
