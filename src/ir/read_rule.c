/* SPDX-License-Identifier: GPL-2.0-only */
/* Rules of IR text: conditions, actions. In: tokens. Out: a rule; the chains it jumps to are still pending. */
#include <string.h>

#include "ir/limits.h"
#include "ir/reader.h"
#include "ir/value_text.h"

/* --- conditions ----------------------------------------------------------------------------------------------- */

static bool expect_list(struct reader *reader, struct cond *cond)
{
	VEC(const struct cond *) items = { 0 };

	if (!reader_expect_sign(reader, '('))
		return false;
	do
		if (!reader_expect_cond(reader, &VEC_PUSH(reader->arena, &items)))
			return false;
	while (reader_accept_sign(reader, ','));
	cond->list.items = items.items;
	cond->list.count = items.count;
	return reader_expect_sign(reader, ')');
}

static bool expect_not(struct reader *reader, struct cond *cond)
{
	const struct cond *inner;

	if (!reader_expect_sign(reader, '(') || !reader_expect_cond(reader, &inner))
		return false;
	cond->inner = inner;
	return reader_expect_sign(reader, ')');
}

static bool expect_field(struct reader *reader, enum field *ret_field)
{
	struct text_token token = reader_take(reader);

	for (int field = 0; field < FIELD_COUNT; field++) {
		if (reader_token_is(token, field_table[field].name)) {
			*ret_field = (enum field)field;
			return true;
		}
	}
	return reader_fail(reader, token, "expected a field, or one of all, any, not, true, false");
}

static bool expect_set(struct reader *reader, uint32_t *ret_set)
{
	struct text_token token = reader->token;
	const char *name;

	if (!reader_expect_string(reader, "the name of a set", &name))
		return false;
	for (size_t i = 0; i < reader->sets.count; i++) {
		if (!strcmp(name, reader->sets.items[i].name)) {
			*ret_set = (uint32_t)i;
			return true;
		}
	}
	return reader_fail(reader, token, "no set of that name so far");
}

static bool expect_ranges(struct reader *reader, struct cond *cond)
{
	VEC(struct range) ranges = { 0 };

	if (!reader_expect_sign(reader, '{'))
		return false;
	do
		if (!reader_expect_range(reader, cond->match.field, &VEC_PUSH(reader->arena, &ranges)))
			return false;
	while (reader_accept_sign(reader, ','));
	cond->match.ranges = ranges.items;
	cond->match.count = ranges.count;
	return reader_expect_sign(reader, '}');
}

static bool expect_one_value(struct reader *reader, struct cond *cond)
{
	struct range *range = ARENA_NEW(reader->arena, struct range);

	if (!reader_expect_value(reader, cond->match.field, &range->lo))
		return false;
	range->hi = range->lo;
	cond->match.ranges = range;
	cond->match.count = 1;
	return true;
}

static uint32_t comparison_number(struct reader *reader, struct comparison wanted)
{
	const struct comparison *items = reader->comparisons.items;
	uint32_t number = 0;

	while (number < reader->comparisons.count &&
	       (items[number].field != wanted.field || items[number].relation != wanted.relation ||
		items[number].tunable != wanted.tunable))
		number++;
	if (number == reader->comparisons.count)
		VEC_PUSH(reader->arena, &reader->comparisons) = wanted;
	return number + 1;
}

/* by "TUNABLE" RELATION ..., behind the values that this comes to at present. */
static bool accept_comparison(struct reader *reader, struct cond *cond)
{
	struct comparison comparison = { .field = cond->match.field };
	struct text_token name;
	const char *text;

	if (!reader_accept_word(reader, "by"))
		return true;
	name = reader->token;
	if (!reader_expect_string(reader, "the name of a tunable", &text))
		return false;
	while (comparison.tunable < reader->tunables.count &&
	       strcmp(text, reader->tunables.items[comparison.tunable].name))
		comparison.tunable++;
	if (comparison.tunable == reader->tunables.count)
		return reader_fail(reader, name, "no tunable of that name so far");
	for (size_t i = 0; i < RELATION_COUNT; i++)
		if (reader_accept_word(reader, relation_names[i]))
			comparison.relation |= (uint8_t)(1u << i);
	cond->match.comparison = comparison_number(reader, comparison);
	return true;
}

/* FIELD = VALUE, FIELD in { ... }, either with & MASK, or by "TUNABLE"; or FIELD in set "NAME" */
static bool expect_test(struct reader *reader, struct cond *cond)
{
	enum field field = FIELD_FAMILY;

	if (!expect_field(reader, &field))
		return false;
	cond->kind = COND_MATCH;
	cond->match.field = field;
	cond->match.mask = u128_max(field_table[field].bits);
	if (reader_accept_sign(reader, '&') && !reader_expect_value(reader, field, &cond->match.mask))
		return false;
	if (reader_accept_sign(reader, '='))
		return expect_one_value(reader, cond) && accept_comparison(reader, cond);
	if (!reader_accept_word(reader, "in"))
		return reader_fail(reader, reader->token, "expected `=`, `&` or `in`");
	if (!reader_accept_word(reader, "set"))
		return expect_ranges(reader, cond) && accept_comparison(reader, cond);
	if (cond->match.mask != u128_max(field_table[field].bits))
		return reader_fail(reader, reader->token, "a masked value cannot be in a set");
	cond->kind = COND_SET;
	cond->set.field = field;
	return expect_set(reader, &cond->set.set);
}

static bool expect_cond_inside(struct reader *reader, struct cond *cond)
{
	static const char *const words[] = { "true", "false", "all", "any", "not" };
	static const enum cond_kind kinds[] = { COND_TRUE, COND_FALSE, COND_AND, COND_OR, COND_NOT };
	size_t i = 0;

	while (i < 5 && !reader_accept_word(reader, words[i]))
		i++;
	if (i == 5)
		return expect_test(reader, cond);
	cond->kind = kinds[i];
	if (cond->kind == COND_AND || cond->kind == COND_OR)
		return expect_list(reader, cond);
	return cond->kind != COND_NOT || expect_not(reader, cond);
}

bool reader_expect_cond(struct reader *reader, const struct cond **ret_cond)
{
	struct cond *cond = cond_new(reader->arena, COND_TRUE, reader->token.span);
	bool good;

	if (reader->depth == IR_DEPTH_MAX)
		return reader_fail(reader, reader->token, "the condition is nested too deep");
	reader->depth++;
	good = expect_cond_inside(reader, cond);
	reader->depth--;
	*ret_cond = cond;
	return good;
}

/* --- actions -------------------------------------------------------------------------------------------------- */

static bool expect_counter(struct reader *reader, struct action *action)
{
	struct text_token token = reader->token;
	const char *name;

	action->kind = ACTION_COUNT;
	if (!reader_expect_string(reader, "the name of a counter", &name))
		return false;
	for (size_t i = 0; i < reader->counters.count; i++) {
		if (!strcmp(name, reader->counters.items[i])) {
			action->counter = (uint32_t)i;
			return true;
		}
	}
	return reader_fail(reader, token, "no counter of that name so far");
}

static bool expect_log(struct reader *reader, struct action *action)
{
	action->kind = ACTION_LOG;
	if (!reader_expect_string(reader, "the log's text", &action->log.text))
		return false;
	if (reader_accept_word(reader, "every") && !reader_expect_number(reader, 64, &action->log.period_ns))
		return false;
	return !reader_accept_word(reader, "burst") || reader_expect_number32(reader, &action->log.burst);
}

static bool expect_word(struct reader *reader, const char *word)
{
	return reader_accept_word(reader, word) ||
	       reader_fail(reader, reader->token, arena_printf(reader->arena, "expected `%s`", word));
}

static bool expect_bits(struct reader *reader, uint8_t *ret_bits)
{
	uint64_t bits;

	if (!reader_expect_number(reader, 8, &bits))
		return false;
	*ret_bits = (uint8_t)bits;
	return true;
}

/* KEY [bits N, N] max N */
static bool expect_key(struct reader *reader, struct rate *rate)
{
	unsigned key;

	if (!reader_expect_name(reader, "src, dst, flow or user", rate_key_names + 1, RATE_KEY_COUNT - 1, &key))
		return false;
	rate->key = (enum rate_key)(key + 1);
	if ((rate->key == RATE_KEY_SRC || rate->key == RATE_KEY_DST) &&
	    !(expect_word(reader, "bits") && expect_bits(reader, &rate->bits4) && reader_expect_sign(reader, ',') &&
	      expect_bits(reader, &rate->bits6)))
		return false;
	return expect_word(reader, "max") && reader_expect_number32(reader, &rate->max);
}

/* AMOUNT UNIT every NS burst N [reserve N] [per KEY] */
static bool expect_rate(struct reader *reader, struct action *action, enum action_kind kind)
{
	struct rate *rate = ARENA_NEW(reader->arena, struct rate);
	unsigned unit;

	action->kind = kind;
	action->rate = rate;
	if (!reader_expect_number(reader, 64, &rate->amount) ||
	    !reader_expect_name(reader, "packets or bytes", rate_unit_names, RATE_UNIT_COUNT, &unit))
		return false;
	rate->unit = (enum rate_unit)unit;
	return expect_word(reader, "every") && reader_expect_number(reader, 64, &rate->period_ns) &&
	       expect_word(reader, "burst") && reader_expect_number(reader, 64, &rate->burst) &&
	       (!reader_accept_word(reader, "reserve") || reader_expect_number(reader, 64, &rate->reserve)) &&
	       (!reader_accept_word(reader, "per") || expect_key(reader, rate));
}

/* VALUE/MASK is one word. */
static bool expect_mark(struct reader *reader, struct action *action)
{
	const struct value_format format = { .form = FORM_NUMBER, .bits = 32 };
	struct text_token token = reader_take(reader);
	const char *slash = token.kind == TEXT_WORD ? memchr(token.text, '/', token.length) : NULL;
	u128 value, mask;

	action->kind = ACTION_MARK;
	if (!slash || !value_parse(&format, token.text, (size_t)(slash - token.text), &value) ||
	    !value_parse(&format, slash + 1, token.length - (size_t)(slash + 1 - token.text), &mask))
		return reader_fail(reader, token, "expected VALUE/MASK");
	action->mark.value = (uint32_t)value;
	action->mark.mask = (uint32_t)mask;
	return true;
}

static bool expect_capture(struct reader *reader, struct action *action)
{
	action->kind = ACTION_CAPTURE;
	return !reader_accept_word(reader, "snap") || reader_expect_number32(reader, &action->snap);
}

/* FIELD to "SET" [for MILLISECONDS], FIELD from "SET" */
static bool expect_change(struct reader *reader, struct action *action, enum action_kind kind)
{
	const char *word = kind == ACTION_ADD ? "to" : "from";

	action->kind = kind;
	if (!expect_field(reader, &action->change.field))
		return false;
	if (!reader_accept_word(reader, word))
		return reader_fail(reader, reader->token, arena_printf(reader->arena, "expected `%s`", word));
	if (!expect_set(reader, &action->change.set))
		return false;
	return kind != ACTION_ADD || !reader_accept_word(reader, "for") ||
	       reader_expect_number32(reader, &action->change.timeout_ms);
}

/* The chain is looked up when all of them are known. */
static bool expect_chain_name(struct reader *reader, struct action *action, enum action_kind kind)
{
	struct text_token name = reader->token;
	const char *text;

	action->kind = kind;
	if (!reader_expect_string(reader, "the name of a chain", &text))
		return false;
	VEC_PUSH(reader->arena, &reader->pending).name = name;
	return true;
}

static bool expect_action(struct reader *reader, struct action *action)
{
	action->span = reader->token.span;
	action->left = reader_accept_word(reader, "left");
	if (reader_accept_word(reader, "rate"))
		return expect_rate(reader, action, ACTION_RATE);
	if (reader_accept_word(reader, "throttle"))
		return expect_rate(reader, action, ACTION_THROTTLE);
	if (reader_accept_word(reader, "count"))
		return expect_counter(reader, action);
	if (reader_accept_word(reader, "log"))
		return expect_log(reader, action);
	if (reader_accept_word(reader, "mark"))
		return expect_mark(reader, action);
	if (reader_accept_word(reader, "capture"))
		return expect_capture(reader, action);
	if (reader_accept_word(reader, "add"))
		return expect_change(reader, action, ACTION_ADD);
	if (reader_accept_word(reader, "remove"))
		return expect_change(reader, action, ACTION_REMOVE);
	if (reader_accept_word(reader, "jump"))
		return expect_chain_name(reader, action, ACTION_JUMP);
	if (reader_accept_word(reader, "goto"))
		return expect_chain_name(reader, action, ACTION_GOTO);
	action->kind = ACTION_RETURN;
	if (reader_accept_word(reader, "return"))
		return true;
	action->kind = ACTION_VERDICT;
	for (int i = 0; i < 3; i++) {
		action->verdict = (enum verdict)i;
		if (reader_accept_word(reader, reader_verdicts[i]))
			return true;
	}
	return reader_fail(reader, reader->token, "expected an action");
}

/* The actions have their place now: tells it to the jump among them, which must be the last one. */
static bool place_pending(struct reader *reader, size_t from, struct action *last)
{
	bool jumps = last->kind == ACTION_JUMP || last->kind == ACTION_GOTO;

	if (reader->pending.count == from)
		return true;
	if (reader->pending.count > from + 1 || !jumps)
		return reader_fail(reader, reader->pending.items[from].name, "a jump must be the last action");
	reader->pending.items[from].action = last;
	return true;
}

bool reader_expect_rule(struct reader *reader, struct rule *rule)
{
	size_t pending = reader->pending.count;
	VEC(struct action) actions = { 0 };

	rule->span = reader->token.span;
	if (!reader_accept_word(reader, "rule"))
		return reader_fail(reader, reader->token, "expected `rule` or `}`");
	if (!reader_expect_number32(reader, &rule->number))
		return false;
	rule->names_link = reader_accept_word(reader, "link");
	do
		if (!expect_action(reader, &VEC_PUSH(reader->arena, &actions)))
			return false;
	while (reader_accept_sign(reader, ','));
	rule->actions = actions.items;
	rule->action_count = actions.count;
	return place_pending(reader, pending, &actions.items[actions.count - 1]) &&
	       (!reader_accept_word(reader, "if") || reader_expect_cond(reader, &rule->cond));
}
