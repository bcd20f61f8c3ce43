/* SPDX-License-Identifier: GPL-2.0-only */
/* See facts.h. Input: a condition; output: facts, and warnings about conjunctions that nothing meets. Cannot fail. */
#include "lang/facts.h"

#include <string.h>

static const struct range port_protos[] = { { 6, 6 }, { 17, 17 }, { 132, 132 }, { 136, 136 } };
static const struct range tcp_protos[] = { { 6, 6 } };
static const struct range icmp_protos[] = { { 1, 1 }, { 58, 58 } };
static const struct range ip_families[] = { { FAMILY_IPV4, FAMILY_IPV4 }, { FAMILY_IPV6, FAMILY_IPV6 } };
static const struct range link_families[] = { { FAMILY_OTHER, FAMILY_EXEMPT } };
static const struct range not_later[] = { { FRAGMENT_NONE, FRAGMENT_FIRST } };

/* A packet that has `field` has these values of another one. */
static const struct implication {
	enum field field;
	enum field other;
	const struct range *ranges;
	size_t count;
} implications[] = {
	{ FIELD_SRC_PORT, FIELD_PROTO, port_protos, 4 },
	{ FIELD_DST_PORT, FIELD_PROTO, port_protos, 4 },
	{ FIELD_TCP_FLAGS, FIELD_PROTO, tcp_protos, 1 },
	{ FIELD_ICMP_TYPE, FIELD_PROTO, icmp_protos, 2 },
	{ FIELD_ICMP_CODE, FIELD_PROTO, icmp_protos, 2 },
	{ FIELD_SRC_PORT, FIELD_FRAGMENT, not_later, 1 },
	{ FIELD_DST_PORT, FIELD_FRAGMENT, not_later, 1 },
	{ FIELD_TCP_FLAGS, FIELD_FRAGMENT, not_later, 1 },
	{ FIELD_ICMP_TYPE, FIELD_FRAGMENT, not_later, 1 },
	{ FIELD_ICMP_CODE, FIELD_FRAGMENT, not_later, 1 },
	{ FIELD_PROTO, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_SRC_PORT, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_DST_PORT, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_TCP_FLAGS, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_ICMP_TYPE, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_ICMP_CODE, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_IP_SRC, FIELD_FAMILY, &ip_families[0], 1 },
	{ FIELD_IP_DST, FIELD_FAMILY, &ip_families[0], 1 },
	{ FIELD_IPV6_SRC, FIELD_FAMILY, &ip_families[1], 1 },
	{ FIELD_IPV6_DST, FIELD_FAMILY, &ip_families[1], 1 },
	{ FIELD_TTL, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_DSCP, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_ECN, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_LENGTH, FIELD_FAMILY, ip_families, 2 },
	{ FIELD_FRAGMENT, FIELD_FAMILY, ip_families, 2 },
};

enum { IMPLICATIONS = sizeof implications / sizeof implications[0] };

/* --- one field's values --------------------------------------------------------------------------------- */

struct values {
	const struct range *ranges;
	size_t count;
};

static bool same(struct values a, const struct range *ranges, size_t count)
{
	if (a.count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (a.ranges[i].lo != ranges[i].lo || a.ranges[i].hi != ranges[i].hi)
			return false;
	return true;
}

/* What is in both; from FACTS_RANGES pieces on, the last one takes in the rest. Mostly it is one of the two. */
static struct values both(struct lower *lower, struct values a, struct values b)
{
	struct range out[FACTS_RANGES];
	size_t count = 0, i = 0, j = 0;

	while (i < a.count && j < b.count) {
		u128 lo = a.ranges[i].lo > b.ranges[j].lo ? a.ranges[i].lo : b.ranges[j].lo;
		u128 hi = a.ranges[i].hi < b.ranges[j].hi ? a.ranges[i].hi : b.ranges[j].hi;

		if (lo <= hi && count < FACTS_RANGES)
			out[count++] = (struct range){ lo, hi };
		else if (lo <= hi)
			out[count - 1].hi = hi;
		if (a.ranges[i].hi < b.ranges[j].hi)
			i++;
		else
			j++;
	}
	if (same(a, out, count))
		return a;
	if (same(b, out, count))
		return b;
	return (struct values){ arena_copy(lower->arena, out, count * sizeof *out), count };
}

/* One range around both: enough for what follows an `or`, unless they are the same few. */
static struct values either(struct lower *lower, struct values a, struct values b)
{
	struct range *out;

	if (same(a, b.ranges, b.count))
		return a;
	if (a.count + b.count <= FACTS_RANGES) {
		out = ARENA_ARRAY(lower->arena, struct range, FACTS_RANGES);
		memcpy(out, a.ranges, a.count * sizeof *out);
		memcpy(out + a.count, b.ranges, b.count * sizeof *out);
		return (struct values){ out, ranges_normalize(out, a.count + b.count) };
	}
	out = ARENA_NEW(lower->arena, struct range);
	out->lo = a.ranges[0].lo < b.ranges[0].lo ? a.ranges[0].lo : b.ranges[0].lo;
	out->hi = a.ranges[a.count - 1].hi > b.ranges[b.count - 1].hi ? a.ranges[a.count - 1].hi :
								       b.ranges[b.count - 1].hi;
	return (struct values){ out, 1 };
}

static void restrict_field(struct lower *lower, struct facts *facts, enum field field, struct values values)
{
	if (facts->known >> field & 1)
		values = both(lower, (struct values){ facts->fields[field].ranges, facts->fields[field].count }, values);
	facts->known |= FIELD_BIT(field);
	facts->fields[field].ranges = values.ranges;
	facts->fields[field].count = values.count;
	if (!values.count)
		facts->impossible = true;
}

/* --- facts ---------------------------------------------------------------------------------------------- */

void facts_copy(struct facts *facts, const struct facts *from)
{
	facts->impossible = from->impossible;
	facts->known = from->known;
	for (field_mask left = from->known; left; left &= left - 1)
		facts->fields[__builtin_ctzll(left)] = from->fields[__builtin_ctzll(left)];
}

void facts_meet(struct lower *lower, struct facts *facts, const struct facts *other)
{
	facts->impossible = facts->impossible || other->impossible;
	for (field_mask left = other->known; left; left &= left - 1) {
		enum field field = (enum field)__builtin_ctzll(left);

		restrict_field(lower, facts, field,
			       (struct values){ other->fields[field].ranges, other->fields[field].count });
	}
}

static void join(struct lower *lower, struct facts *facts, const struct facts *other)
{
	facts->known &= other->known;
	for (field_mask left = facts->known; left; left &= left - 1) {
		int field = __builtin_ctzll(left);
		struct values a = { facts->fields[field].ranges, facts->fields[field].count };
		struct values b = { other->fields[field].ranges, other->fields[field].count };
		struct values joined = either(lower, a, b);

		facts->fields[field].ranges = joined.ranges;
		facts->fields[field].count = joined.count;
	}
}

static void present(struct lower *lower, struct facts *facts, enum field field)
{
	for (size_t i = 0; i < IMPLICATIONS; i++)
		if (implications[i].field == field)
			restrict_field(lower, facts, implications[i].other,
				       (struct values){ implications[i].ranges, implications[i].count });
}

static bool holds(const struct cond *cond, u128 value)
{
	for (size_t i = 0; i < cond->match.count; i++)
		if (cond->match.ranges[i].lo <= value && value <= cond->match.ranges[i].hi)
			return true;
	return false;
}

/* An Ethernet type says which family it is. */
static void eth_type(struct lower *lower, struct facts *facts, const struct cond *cond)
{
	if (!holds(cond, 0x0800) && !holds(cond, 0x86dd))
		restrict_field(lower, facts, FIELD_FAMILY, (struct values){ link_families, 1 });
	if (cond->match.count == 1 && cond->match.ranges[0].lo == cond->match.ranges[0].hi)
		for (int v6 = 0; v6 < 2; v6++)
			if (holds(cond, v6 ? 0x86dd : 0x0800))
				restrict_field(lower, facts, FIELD_FAMILY, (struct values){ &ip_families[v6], 1 });
}

static void match(struct lower *lower, const struct cond *cond, struct facts *facts)
{
	enum field field = cond->match.field;
	struct values values = { cond->match.ranges, cond->match.count };
	bool whole = cond->match.mask == u128_max(field_table[field].bits);

	if (whole && values.count > FACTS_RANGES) {
		struct range *around = ARENA_NEW(lower->arena, struct range);

		*around = (struct range){ values.ranges[0].lo, values.ranges[values.count - 1].hi };
		values = (struct values){ around, 1 };
	}
	if (whole)
		restrict_field(lower, facts, field, values);
	if (whole && field == FIELD_ETH_TYPE)
		eth_type(lower, facts, cond);
	present(lower, facts, field);
}

static const char *quote(struct lower *lower, struct span span)
{
	enum { QUOTE_MAX = 48 };
	const char *text = span.source->text + span.offset;
	size_t length = span.length;

	if (length > QUOTE_MAX || memchr(text, '\n', length))
		return NULL;
	return arena_printf(lower->arena, "`%.*s`", (int)length, text);
}

/* Operand `last` is the first that cannot be met beside the ones before it: say which of them. */
static void warn_conflict(struct lower *lower, const struct cond *cond, size_t last, const struct facts *last_facts)
{
	struct span later = cond->list.items[last]->span;
	struct diag *diag;

	for (size_t i = 0; i < last; i++) {
		struct span earlier = cond->list.items[i]->span;
		struct facts facts;

		facts_of(lower, cond->list.items[i], false, &facts);
		facts_meet(lower, &facts, last_facts);
		if (!facts.impossible)
			continue;
		if (quote(lower, earlier) && quote(lower, later))
			diag = diag_warning(lower->diags, later, "no packet meets this: %s and %s exclude each other",
					    quote(lower, earlier), quote(lower, later));
		else
			diag = diag_warning(lower->diags, later, "no packet meets this and what it is joined with");
		diag_relate(lower->diags, diag, earlier, "the other one");
		return;
	}
	diag_warning(lower->diags, cond->span, "no packet meets all of this");
}

static void conjunction(struct lower *lower, const struct cond *cond, bool warn, struct facts *facts)
{
	for (size_t i = 0; i < cond->list.count; i++) {
		struct facts item;
		bool before = facts->impossible;

		facts_of(lower, cond->list.items[i], warn, &item);
		facts_meet(lower, facts, &item);
		if (warn && !before && facts->impossible && !item.impossible)
			warn_conflict(lower, cond, i, &item);
	}
}

static void disjunction(struct lower *lower, const struct cond *cond, bool warn, struct facts *facts)
{
	bool first = true;

	for (size_t i = 0; i < cond->list.count; i++) {
		struct facts item;

		facts_of(lower, cond->list.items[i], warn, &item);
		if (item.impossible)
			continue;
		if (first)
			facts_copy(facts, &item);
		else
			join(lower, facts, &item);
		first = false;
	}
	facts->impossible = first;
}

void facts_of(struct lower *lower, const struct cond *cond, bool warn, struct facts *ret_facts)
{
	ret_facts->impossible = false;
	ret_facts->known = 0;
	switch (cond->kind) {
	case COND_AND:
		conjunction(lower, cond, warn, ret_facts);
		return;
	case COND_OR:
		disjunction(lower, cond, warn, ret_facts);
		return;
	case COND_MATCH:
		match(lower, cond, ret_facts);
		return;
	case COND_SET:
		present(lower, ret_facts, cond->set.field);
		return;
	case COND_FALSE:
		ret_facts->impossible = true;
		return;
	case COND_TRUE:
	case COND_NOT: /* also holds for packets without the field */
		return;
	}
}

/* All values that are possible are among those. */
static bool within(const struct facts *facts, enum field field, const struct range *ranges, size_t count)
{
	if (!(facts->known >> field & 1))
		return false;
	for (size_t i = 0; i < facts->fields[field].count; i++) {
		const struct range *value = &facts->fields[field].ranges[i];
		bool inside = false;

		for (size_t j = 0; j < count; j++)
			inside = inside || (ranges[j].lo <= value->lo && value->hi <= ranges[j].hi);
		if (!inside)
			return false;
	}
	return true;
}

bool facts_imply(const struct facts *facts, enum field field)
{
	bool asked = false;

	if (facts->impossible || facts->known >> field & 1)
		return true;
	for (size_t i = 0; i < IMPLICATIONS; i++) {
		if (implications[i].field != field || implications[i].other == FIELD_FRAGMENT)
			continue;
		/* the protocol is enough: it is of a family */
		if (within(facts, implications[i].other, implications[i].ranges, implications[i].count) &&
		    (field == FIELD_PROTO || implications[i].other == FIELD_PROTO || field_table[field].presence !=
		     PRESENT_VALUE))
			return true;
		asked = true;
	}
	return !asked && field != FIELD_VLAN;
}

void facts_warn(struct lower *lower, const struct cond *cond)
{
	struct facts facts;

	facts_of(lower, cond, true, &facts);
}
