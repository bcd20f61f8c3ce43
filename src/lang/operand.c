/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Values of a field's type. Input: words, lists and literals; output: ranges, sets, ... in a struct operand. What
 * does not fit the type is reported at its place and marks the operand as failed.
 */
#include <string.h>

#include "lang/literal.h"
#include "lang/lower.h"

struct span lower_span(const struct lower *lower, struct span span)
{
	return lower->shorthand ? *lower->shorthand : span;
}

static const char *shown(struct lower *lower, const char *text, size_t length)
{
	enum { SHOWN_MAX = 60 };

	if (length > SHOWN_MAX)
		return arena_printf(lower->arena, "%.*s...", SHOWN_MAX, text);
	return arena_strndup(lower->arena, text, length);
}

u128 operand_max(const struct field_word *field)
{
	const struct field_info *info;

	if (field->type == TYPE_ADDRESS)
		return field->families == FAMILY4 ? u128_max(32) : u128_max(128);
	if (field->field >= FIELD_COUNT)
		return u128_max(32);
	info = &field_table[field->field];
	/* a value that means "absent" cannot be named */
	return info->owner && info->absent ? (u128)info->absent - 1 : u128_max(info->bits);
}

static bool within_budget(struct lower *lower, struct operand *operand, size_t cost, struct span span)
{
	if (lower->elements < SET_MAX) {
		lower->elements += cost;
		return true;
	}
	if (!operand->failed)
		diag_error(lower->diags, span, "too many values in one policy (at most %d)", SET_MAX);
	operand->failed = true;
	return false;
}

static void add_range(struct lower *lower, struct operand *operand, bool v6, u128 lo, u128 hi, struct span span)
{
	if (!within_budget(lower, operand, 1, span))
		return;
	if (v6)
		VEC_PUSH(lower->arena, &operand->ranges6) = (struct range){ lo, hi };
	else
		VEC_PUSH(lower->arena, &operand->ranges) = (struct range){ lo, hi };
}

/* --- literals ------------------------------------------------------------------------------------------------ */

const char *operand_needs(const struct operand *operand)
{
	const struct field_word *field = operand->field;

	if (field->type == TYPE_ADDRESS && field->families != (FAMILY4 | FAMILY6))
		return field->families == FAMILY4 ? "an IPv4 address" : "an IPv6 address";
	return type_table[field->type].what;
}

static void report_fault(struct lower *lower, const struct literal *literal, const char *text, struct span span)
{
	char lo[LITERAL_TEXT], hi[LITERAL_TEXT];
	struct diag *diag;

	literal_print(literal->kind, literal->lo, lo);
	literal_print(literal->kind, literal->hi, hi);
	switch (literal->fault) {
	case FAULT_HOST_BITS:
		diag = diag_error(lower->diags, span, "`%s` has bits set behind its prefix length", text);
		diag_hint(lower->diags, diag, "the network is `%s/%u`", lo, literal->prefix_length);
		return;
	case FAULT_LENGTH:
		diag_error(lower->diags, span, "the prefix length of `%s` is too large (at most %d)", text,
			   literal->kind == LITERAL_IPV4 ? 32 : 128);
		return;
	case FAULT_REVERSED:
		diag = diag_error(lower->diags, span, "the range `%s` ends before it begins", text);
		diag_hint(lower->diags, diag, "write `%s-%s`", hi, lo);
		return;
	case FAULT_MIXED:
		diag_error(lower->diags, span, "the ends of the range `%s` are of different kinds", text);
		return;
	default:
		diag_error(lower->diags, span, "a range is of single values, not of prefixes: `%s`", text);
	}
}

static void report_kind(struct lower *lower, struct operand *operand, const struct literal *literal, const char *text,
			struct span span)
{
	enum value_type type = operand->field->type;
	struct diag *diag = diag_error(lower->diags, span, "`%s` is %s, but %s needs %s", text,
				       literal_kind_name(literal->kind), operand->subject, operand_needs(operand));

	if (type == TYPE_ICMP && literal->kind == LITERAL_NUMBER)
		diag_hint(lower->diags, diag,
			  "numbers differ between the families: use `icmp4.type` or `icmp6.type`");
	else if (type == TYPE_IFACE && literal->kind == LITERAL_NUMBER)
		diag_hint(lower->diags, diag, "quote the name of an interface that looks like a number");
}

static bool fits_kind(const struct operand *operand, const struct literal *literal)
{
	const struct field_word *field = operand->field;

	switch (literal->kind) {
	case LITERAL_NUMBER:
		return type_table[field->type].numeric;
	case LITERAL_IPV4:
		return field->type == TYPE_ADDRESS && field->families & FAMILY4;
	case LITERAL_IPV6:
		return field->type == TYPE_ADDRESS && field->families & FAMILY6;
	case LITERAL_MAC:
		return field->type == TYPE_MAC;
	default:
		return false;
	}
}

/* An unsigned number as text; only those above 64 bits in hexadecimal. */
static const char *number_text(struct lower *lower, u128 value)
{
	if (u128_hi(value))
		return arena_printf(lower->arena, "0x%llx%016llx", (unsigned long long)u128_hi(value),
				    (unsigned long long)u128_lo(value));
	return arena_printf(lower->arena, "%llu", (unsigned long long)u128_lo(value));
}

static bool fits_limit(struct lower *lower, struct operand *operand, const struct literal *literal, struct span span)
{
	u128 max = operand_max(operand->field);

	if (literal->kind != LITERAL_NUMBER || literal->hi <= max)
		return true;
	diag_error(lower->diags, span, "%s is too large for %s (at most %s)", number_text(lower, literal->hi),
		   operand->subject, number_text(lower, max));
	return false;
}

static bool range_allowed(struct lower *lower, struct operand *operand, const struct literal *literal,
			  struct span span)
{
	enum value_type type = operand->field->type;

	if (!literal->range || type_table[type].ordered || type == TYPE_ADDRESS)
		return true;
	diag_error(lower->diags, span, "there are no ranges of %s",
		   type == TYPE_FLAGS ? "TCP flags" : "MAC addresses");
	return false;
}

static void accept_literal(struct lower *lower, struct operand *operand, const struct literal *literal,
			   const char *text, struct span span)
{
	if (!fits_kind(operand, literal))
		report_kind(lower, operand, literal, text, span);
	else if (literal->fault)
		report_fault(lower, literal, text, span);
	else if (fits_limit(lower, operand, literal, span) && range_allowed(lower, operand, literal, span)) {
		bool v6 = literal->kind == LITERAL_IPV6 || operand->field->type == TYPE_ICMP6_TYPE ||
			  operand->field->type == TYPE_ICMP6_CODE;

		add_range(lower, operand, v6, literal->lo, literal->hi, span);
		return;
	}
	operand->failed = true;
}

bool operand_literal(struct lower *lower, struct operand *operand, const char *text, size_t length, struct span span)
{
	struct literal literal = literal_parse(text, length);
	u128 size;

	if (literal.kind == LITERAL_NONE && operand->field->type == TYPE_LENGTH && literal_size(text, length, &size))
		literal = (struct literal){ .kind = LITERAL_NUMBER, .lo = size, .hi = size };
	if (literal.kind == LITERAL_NONE)
		return false;
	if (!literal.fault && fits_kind(operand, &literal) && literal.kind != LITERAL_NUMBER && !literal.range)
		add_range(lower, operand, literal.kind == LITERAL_IPV6, literal.lo, literal.hi, span);
	else
		accept_literal(lower, operand, &literal, shown(lower, text, length), span);
	return true;
}

/* --- words and lists ----------------------------------------------------------------------------------------- */

static void operand_word(struct lower *lower, struct operand *operand, const struct word *word, size_t before);

static void value(struct lower *lower, struct operand *operand, const struct value *node, size_t before);

static void list(struct lower *lower, struct operand *operand, const struct value *node, size_t before)
{
	struct diag *diag;

	if (operand->single) {
		diag = diag_error(lower->diags, node->span, "a comparison takes one value, not a list");
		diag_hint(lower->diags, diag, "write `in` or `not in`");
		operand->failed = true;
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		size_t ranges = operand->ranges.count, ranges6 = operand->ranges6.count;

		value(lower, operand, &node->items[i], before);
		if (node->items[i].timeout)
			operand_timeout(lower, operand, node->items[i].timeout, ranges, ranges6);
	}
}

/* syn|ack */
static void flags(struct lower *lower, struct operand *operand, const struct value *node, size_t before)
{
	struct operand part = { .field = operand->field, .subject = operand->subject, .single = true };
	u128 bits = 0;

	if (operand->field->type != TYPE_FLAGS) {
		diag_error(lower->diags, node->span, "`|` joins TCP flags only");
		operand->failed = true;
		return;
	}
	for (size_t i = 0; i < node->count; i++)
		value(lower, &part, &node->items[i], before);
	for (size_t i = 0; i < part.ranges.count; i++)
		bits |= part.ranges.items[i].lo;
	operand->failed = operand->failed || part.failed;
	add_range(lower, operand, false, bits, bits, node->span);
}

static void include(struct lower *lower, struct operand *operand, const struct value *node)
{
	const struct source *source;

	if (operand->single) {
		diag_error(lower->diags, node->span, "a comparison takes one value, not a file of them");
		operand->failed = true;
		return;
	}
	source = elements_include(lower, &node->word);
	if (source)
		elements_read(lower, operand, source);
	else
		operand->failed = true;
}

/* Defines see those before them: `before` is the order up to which they are known. */
static void value(struct lower *lower, struct operand *operand, const struct value *node, size_t before)
{
	switch (node->kind) {
	case VALUE_WORD:
		operand_word(lower, operand, &node->word, before);
		return;
	case VALUE_LIST:
		list(lower, operand, node, before);
		return;
	case VALUE_FLAGS:
		flags(lower, operand, node, before);
		return;
	case VALUE_INCLUDE:
		include(lower, operand, node);
		return;
	case VALUE_MEMBERS:
		operand_members(lower, operand, node);
		return;
	case VALUE_ERROR:
		operand->failed = true;
	}
}

static void fill_timeouts(struct arena *arena, struct operand *operand, bool six, size_t from, size_t to, uint32_t ms)
{
	while ((six ? operand->timeouts6.count : operand->timeouts.count) < to) {
		size_t at = six ? operand->timeouts6.count : operand->timeouts.count;
		uint32_t value = at < from ? operand->timeout_ms : ms;

		if (six)
			VEC_PUSH(arena, &operand->timeouts6) = value;
		else
			VEC_PUSH(arena, &operand->timeouts) = value;
	}
}

void operand_timeout(struct lower *lower, struct operand *operand, const struct word *timeout, size_t ranges,
		     size_t ranges6)
{
	struct diag *diag;
	uint32_t ms = 0;

	if (!operand->timed) {
		diag = diag_error(lower->diags, timeout->span, "%s has no timeouts",
				  operand->subject ? operand->subject : "a list");
		if (operand->of_set)
			diag_hint(lower->diags, diag, "declare it with a default: `timeout 1h`, or `timeout never`");
		operand->failed = true;
		return;
	}
	if (!timeout_lower(lower, timeout, &ms))
		operand->failed = true;
	if (operand->ranges.count > ranges)
		fill_timeouts(lower->arena, operand, false, ranges, operand->ranges.count, ms);
	if (operand->ranges6.count > ranges6)
		fill_timeouts(lower->arena, operand, true, ranges6, operand->ranges6.count, ms);
}

void operand_value(struct lower *lower, struct operand *operand, const struct value *node)
{
	value(lower, operand, node, SIZE_MAX);
}

static bool set_fits(const struct set_node *set, const struct field_word *field)
{
	for (int type = 0; type < SET_TYPE_COUNT; type++)
		if (!strcmp(set->type.text, set_type_names[type]))
			return type_table[field->type].sets & 1u << type;
	return true; /* there is no such type: said where it is declared */
}

static void use_set(struct lower *lower, struct operand *operand, const struct word *word, struct set_node *set)
{
	struct diag *diag;

	set->used = true;
	if (set->failed) { /* said where it is declared */
		operand->failed = true;
		return;
	}
	if (operand->of_set) {
		diag_error(lower->diags, word->span, "a set holds no other sets");
	} else if (operand->single) {
		diag = diag_error(lower->diags, word->span, "`%s` is a set, but a comparison takes one value",
				  word->text);
		diag_hint(lower->diags, diag, "write `in %s` or `not in %s`", word->text, word->text);
	} else if (!set_fits(set, operand->field)) {
		diag = diag_error(lower->diags, word->span, "`%s` is a set of type `%s`, but %s needs %s", word->text,
				  set->type.text, operand->subject, operand_needs(operand));
		diag_relate(lower->diags, diag, set->name.span, "it is declared here");
	} else {
		VEC_PUSH(lower->arena, &operand->sets) = scope_set(lower, set);
		return;
	}
	operand->failed = true;
}

static void use_define(struct lower *lower, struct operand *operand, const struct word *word,
		       struct define_node *define, size_t before)
{
	struct diag *diag;

	if (define->order >= before) {
		diag = diag_error(lower->diags, word->span, "`%s` is not defined before this place", word->text);
		diag_relate(lower->diags, diag, define->name.span, "but here");
		operand->failed = true;
		return;
	}
	define->used = true;
	if (define->tunable)
		tunable_used(lower, define);
	define->in_set |= operand->of_set;
	if (lower->define_depth == DEFINE_DEPTH_MAX) {
		diag_error(lower->diags, word->span, "defines are nested too deeply (at most %d levels)",
			   DEFINE_DEPTH_MAX);
		operand->failed = true;
		return;
	}
	if (operand->single && (define->value.kind == VALUE_LIST || define->value.kind == VALUE_MEMBERS)) {
		diag = diag_error(lower->diags, word->span, "`%s` is a list, but a comparison takes one value",
				  word->text);
		diag_hint(lower->diags, diag, "write `in %s` or `not in %s`", word->text, word->text);
		operand->failed = true;
		return;
	}
	if (!within_budget(lower, operand, DEFINE_COST, word->span))
		return;
	lower->define_depth++;
	value(lower, operand, &define->value, define->order);
	lower->define_depth--;
}

/* A name that is both: nobody should have to guess. */
static bool ambiguous(struct lower *lower, struct operand *operand, const struct word *word,
		      const struct local *local)
{
	struct operand probe = { .field = operand->field, .probe = true };
	struct diag *diag;

	operand_name(lower, &probe, word);
	if (probe.failed)
		return false;
	diag = diag_error(lower->diags, word->span, "`%s` is both a %s of this file and the name of a system's %s",
			  word->text, local->kind == LOCAL_SET ? "set" : "define",
			  type_table[operand->field->type].system);
	diag_relate(lower->diags, diag, local->name->span, "defined here");
	diag_hint(lower->diags, diag, "write \"%s\" in quotes for the system's, or rename the %s", word->text,
		  local->kind == LOCAL_SET ? "set" : "define");
	operand->failed = true;
	return true;
}

static void operand_word(struct lower *lower, struct operand *operand, const struct word *word, size_t before)
{
	struct span span = lower_span(lower, word->span);
	struct local local = { 0 };

	if (!word->quoted && operand_literal(lower, operand, word->text, strlen(word->text), span))
		return;
	if (!word->quoted && !lower->shorthand)
		local = scope_find(lower, word->text);
	if (local.kind != LOCAL_DEFINE && local.kind != LOCAL_SET) {
		operand_name(lower, operand, word);
		return;
	}
	if (ambiguous(lower, operand, word, &local))
		return;
	if (local.kind == LOCAL_SET)
		use_set(lower, operand, word, local.set);
	else
		use_define(lower, operand, word, local.define, before);
}
