/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: a condition and the fields of a packet. Out: the part of the condition that decides, and what the packet has
 * there. Of an `and` that fails, the first operand that fails; of an `or` that fails, all operands. What one word of
 * the language became (both families of `src`, the protocol of `tcp.dst_port`) counts as one.
 */
#include "ir/explain.h"

#include <string.h>

#include "ir/value_text.h"
#include "packet/names.h"

enum { FACTS_MAX = 4 };

struct explaining {
	struct arena *arena;
	const struct ruleset *ruleset;
	const struct model_fields *fields;
	const struct explain_names *names;
	const char *facts[FACTS_MAX];
	size_t count; /* of facts; beyond FACTS_MAX only counted */
};

/* --- facts ------------------------------------------------------------------------------------------------------ */

static void add_fact(struct explaining *explaining, const char *fact)
{
	for (size_t i = 0; i < explaining->count && i < FACTS_MAX; i++)
		if (!strcmp(explaining->facts[i], fact))
			return;
	if (explaining->count < FACTS_MAX)
		explaining->facts[explaining->count] = fact;
	explaining->count++;
}

static const char *family_fact(const struct explaining *explaining)
{
	switch ((unsigned)u128_lo(explaining->fields->value[FIELD_FAMILY])) {
	case FAMILY_IPV4:
		return "the packet is IPv4";
	case FAMILY_IPV6:
		return "the packet is IPv6";
	default:
		return "the packet is not IP";
	}
}

static const char *iface_text(const struct explaining *explaining, u128 index)
{
	const struct explain_names *names = explaining->names;

	if (!names || !names->iface)
		return NULL;
	return names->iface(names->context, explaining->arena, (uint32_t)index);
}

/* A name for the value, or NULL. */
static const char *value_name(const struct explaining *explaining, enum field field, u128 value)
{
	static const char *const directions[] = { "ingress", "egress", "forward" };
	static const char *const fragments[] = { "none", "first", "later" };
	char flags[TCP_FLAGS_TEXT];

	switch (field) {
	case FIELD_PROTO:
		return protocol_name((unsigned)value);
	case FIELD_ICMP_TYPE:
		return icmp_type_name(explaining->fields->value[FIELD_FAMILY] == FAMILY_IPV6, (unsigned)value);
	case FIELD_DIRECTION:
		return value < 3 ? directions[value] : NULL;
	case FIELD_FRAGMENT:
		return value < 3 ? fragments[value] : NULL;
	case FIELD_IN_IFACE:
	case FIELD_OUT_IFACE:
		return iface_text(explaining, value);
	case FIELD_TCP_FLAGS:
		tcp_flags_print((unsigned)value, flags);
		return flags[0] ? arena_strndup(explaining->arena, flags, strlen(flags)) : "none";
	default:
		return NULL;
	}
}

static const char *field_name(const struct explaining *explaining, enum field field)
{
	if (field < FIELD_CGROUP_0 || field > FIELD_CGROUP_2)
		return field_table[field].name;
	return arena_printf(explaining->arena, "the cgroup at level %u",
			    explaining->ruleset->cgroup_levels[field - FIELD_CGROUP_0]);
}

static const char *absent_fact(const struct explaining *explaining, enum field field)
{
	if (field == FIELD_FLOW)
		return "the packet is of no connection: neither `new`, `established`, `related` nor `invalid` is given";
	if (field == FIELD_USER || field == FIELD_GROUP || field == FIELD_PROGRAM)
		return "the owner is not known";
	if (field == FIELD_PROTO)
		return "the packet is not IP";
	if (field == FIELD_IP_SRC || field == FIELD_IP_DST || field == FIELD_IPV6_SRC || field == FIELD_IPV6_DST)
		return family_fact(explaining);
	return arena_printf(explaining->arena, "the packet has no %s", field_name(explaining, field));
}

static const char *state_fact(u128 state)
{
	switch ((enum packet_flow)state) {
	case FLOW_NEW: return "its connection is new";
	case FLOW_ESTABLISHED: return "its connection is established";
	case FLOW_RELATED: return "it is related to a connection";
	default: return "it fits no connection";
	}
}

static const char *knocks_fact(const struct explaining *explaining, u128 open)
{
	const char *text = NULL;

	for (size_t i = 0; i < explaining->ruleset->knock_count; i++)
		if (open >> i & 1)
			text = arena_printf(explaining->arena, "%s%s%s", text ? text : "the source has knocked: ",
					    text ? ", " : "", explaining->ruleset->knocks[i].name);
	return text ? text : "the source has not knocked";
}

static const char *tree_fact(const struct explaining *explaining, u128 tree)
{
	const char *text = NULL;

	for (size_t i = 0; i < explaining->ruleset->root_count; i++)
		if (tree & (TREE_IN(i) | TREE_OUT(i)))
			text = arena_printf(explaining->arena, "%s%s in the tree of %s", text ? arena_printf(explaining->arena, "%s,", text) : "the owner is",
					    tree & TREE_IN(i) ? "" : " not", explaining->ruleset->roots[i].path);
	return text ? text : "it is not known from what the owner descends";
}

static void add_field(struct explaining *explaining, enum field field)
{
	u128 value = explaining->fields->value[field];
	struct value_format format = value_format_of(field);
	const char *name = value_name(explaining, field, value);
	char text[RANGE_TEXT_MAX];

	if (field == FIELD_FAMILY) {
		add_fact(explaining, family_fact(explaining));
		return;
	}
	if (!explaining->fields->has[field]) {
		add_fact(explaining, absent_fact(explaining, field));
		return;
	}
	if (field == FIELD_FLOW || field == FIELD_KNOCKED) {
		add_fact(explaining, field == FIELD_FLOW ? state_fact(value) : knocks_fact(explaining, value));
		return;
	}
	if (field == FIELD_TREE) {
		add_fact(explaining, tree_fact(explaining, value));
		return;
	}
	value_print(&format, value, text);
	add_fact(explaining, arena_printf(explaining->arena, "%s is %s", field_name(explaining, field),
					  name ? name : text));
}

static bool holds(const struct explaining *explaining, const struct cond *cond)
{
	return model_holds(explaining->ruleset, explaining->fields, cond);
}

/* --- what decides ----------------------------------------------------------------------------------------------- */

static bool same_words(struct span a, struct span b)
{
	return a.source == b.source && a.offset == b.offset && a.length == b.length;
}

/* Whether the value comes from a field that the packet does not have, or from its family. */
static bool by_absence(const struct explaining *explaining, const struct cond *cond)
{
	switch (cond->kind) {
	case COND_MATCH:
		return cond->match.field == FIELD_FAMILY || !explaining->fields->has[cond->match.field];
	case COND_SET:
		return !explaining->fields->has[cond->set.field];
	case COND_AND:
		for (size_t i = 0; i < cond->list.count; i++)
			if (!holds(explaining, cond->list.items[i]))
				return by_absence(explaining, cond->list.items[i]);
		return false;
	default:
		return false;
	}
}

static void collect(struct explaining *explaining, const struct cond *cond, struct span *words);

/* All operands decide; but of those that were one word, the ones about another family say nothing. */
static void collect_all(struct explaining *explaining, const struct cond *cond)
{
	bool telling = false;
	struct span words;

	for (size_t i = 0; i < cond->list.count; i++)
		telling |= !by_absence(explaining, cond->list.items[i]);
	for (size_t i = 0; i < cond->list.count; i++) {
		const struct cond *item = cond->list.items[i];

		if (telling && same_words(item->span, cond->span) && by_absence(explaining, item))
			continue;
		words = item->span;
		collect(explaining, item, &words);
	}
}

/* The first operand that has that value decides alone; false if there is none. */
static bool collect_first(struct explaining *explaining, const struct cond *cond, bool value, struct span *words)
{
	for (size_t i = 0; i < cond->list.count; i++) {
		if (holds(explaining, cond->list.items[i]) != value)
			continue;
		collect(explaining, cond->list.items[i], words);
		return true;
	}
	return false;
}

static void collect(struct explaining *explaining, const struct cond *cond, struct span *words)
{
	switch (cond->kind) {
	case COND_TRUE:
	case COND_FALSE:
		add_fact(explaining, cond->kind == COND_TRUE ? "it always holds" : "it never holds");
		return;
	case COND_NOT:
		collect(explaining, cond->inner, words);
		if (cond->span.source)
			*words = cond->span;
		return;
	case COND_MATCH:
		add_field(explaining, cond->match.field);
		break;
	case COND_SET:
		add_field(explaining, cond->set.field);
		break;
	case COND_AND:
	case COND_OR:
		if (collect_first(explaining, cond, cond->kind == COND_OR, words))
			return;
		collect_all(explaining, cond);
		break;
	}
	if (cond->span.source)
		*words = cond->span;
}

static const char *join_facts(const struct explaining *explaining)
{
	const char *text = "";

	for (size_t i = 0; i < explaining->count && i < FACTS_MAX; i++)
		text = arena_printf(explaining->arena, "%s%s%s", text, i ? "; " : "", explaining->facts[i]);
	return explaining->count > FACTS_MAX ? arena_printf(explaining->arena, "%s; ...", text) : text;
}

struct explanation cond_explain(struct arena *arena, const struct ruleset *ruleset, const struct model_fields *fields,
				const struct explain_names *names, const struct cond *cond)
{
	struct explaining explaining = { .arena = arena, .ruleset = ruleset, .fields = fields, .names = names };
	struct explanation explanation = { .holds = model_holds(ruleset, fields, cond), .words = cond->span };

	collect(&explaining, cond, &explanation.words);
	explanation.facts = join_facts(&explaining);
	return explanation;
}
