/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Named sets: a declaration's elements, or those of a command, to sorted and disjoint ranges. Elements keep their
 * boundaries, as they can be taken out of the set later; what lies inside another element goes.
 */
#include <stdlib.h>
#include <string.h>

#include "lang/literal.h"
#include "lang/lower.h"

/* An element is checked as if it were compared with a field of its set's type. */
static const struct field_word element_fields[SET_TYPE_COUNT] = {
	[SET_ADDRESS] = { NAMED("address"), TYPE_ADDRESS, FIELD_IP_SRC, FIELD_IPV6_SRC, FAMILY4 | FAMILY6, 0, NULL },
	[SET_PREFIX] = { NAMED("prefix"), TYPE_ADDRESS, FIELD_IP_SRC, FIELD_IPV6_SRC, FAMILY4 | FAMILY6, 0, NULL },
	[SET_PORT] = { NAMED("port"), TYPE_PORT, FIELD_DST_PORT, FIELD_COUNT, 0, 0, NULL },
	[SET_MAC] = { NAMED("mac"), TYPE_MAC, FIELD_ETH_SRC, FIELD_COUNT, 0, 0, NULL },
	[SET_MARK] = { NAMED("mark"), TYPE_MARK, FIELD_MARK, FIELD_COUNT, 0, 0, NULL },
	[SET_USER] = { NAMED("user"), TYPE_USER, FIELD_USER, FIELD_COUNT, 0, 0, NULL },
};

struct operand set_operand(enum set_type type, const char *subject, bool timed)
{
	return (struct operand){ .field = &element_fields[type], .subject = subject, .of_set = true, .timed = timed };
}

bool timeout_lower(struct lower *lower, const struct word *word, uint32_t *ret_ms)
{
	uint64_t time;

	*ret_ms = 0;
	if (!word->quoted && !strcmp(word->text, "never"))
		return true;
	if (word->quoted || !literal_time(word->text, strlen(word->text), &time) || !time) {
		diag_error(lower->diags, word->span, "`%s` is not a time like `30s`, `10min`, `1h30min` or `never`",
			   word->text);
		return false;
	}
	if (time / 1000000 > TIMEOUT_MAX_MS) {
		diag_error(lower->diags, word->span, "a timeout is at most %u days", TIMEOUT_MAX_MS / 86400000);
		return false;
	}
	*ret_ms = (uint32_t)(time / 1000000);
	return true;
}

/* --- order --------------------------------------------------------------------------------------------------- */

/* By first value, the larger first. */
static int compare(const void *left, const void *right)
{
	const struct range *a = left, *b = right;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return a->hi > b->hi ? -1 : a->hi < b->hi;
}

static bool is_sorted(const struct range *ranges, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (compare(&ranges[i - 1], &ranges[i]) > 0)
			return false;
	return true;
}

/* Sorts, drops what is inside another, joins what overlaps; returns how many are left. */
static size_t arrange(struct range *ranges, size_t count)
{
	size_t kept = 0;

	if (!is_sorted(ranges, count))
		qsort(ranges, count, sizeof *ranges, compare);
	for (size_t i = 0; i < count; i++) {
		if (!kept || ranges[i].lo > ranges[kept - 1].hi)
			ranges[kept++] = ranges[i];
		else if (ranges[i].hi > ranges[kept - 1].hi)
			ranges[kept - 1].hi = ranges[i].hi;
	}
	return kept;
}

/* --- elements that expire --------------------------------------------------------------------------------------- */

/* An element and its life in milliseconds; never to expire is the longest. */
struct timed {
	struct range range;
	uint64_t life;
};

struct timed_list {
	VEC(struct timed) list;
};

static int compare_timed(const void *left, const void *right)
{
	const struct timed *a = left, *b = right;
	int order = compare(&a->range, &b->range);

	return order ? order : (a->life < b->life) - (a->life > b->life);
}

/* Puts a remainder where it belongs among those to come; there are as many as elements lie within each other. */
static void put_back(struct arena *arena, struct timed_list *later, struct timed timed)
{
	size_t at = later->list.count;

	if (timed.range.lo > timed.range.hi)
		return;
	VEC_PUSH(arena, &later->list) = timed;
	for (; at && compare_timed(&later->list.items[at - 1], &timed) < 0; at--)
		later->list.items[at] = later->list.items[at - 1];
	later->list.items[at] = timed;
}

/* Lays an element over the last one where they overlap: of each value, the longer life counts. */
static void lay(struct arena *arena, struct timed_list *out, struct timed_list *later, struct timed next)
{
	struct timed *last = out->list.count ? &out->list.items[out->list.count - 1] : NULL;
	struct timed rest;

	if (!last || next.range.lo > last->range.hi) {
		VEC_PUSH(arena, &out->list) = next;
		return;
	}
	if (next.life <= last->life) {
		if (next.range.hi <= last->range.hi)
			return;
		next.range.lo = last->range.hi + 1;
		put_back(arena, later, next);
		return;
	}
	rest = *last;
	if (rest.range.hi > next.range.hi) {
		rest.range.lo = next.range.hi + 1;
		put_back(arena, later, rest);
	}
	if (last->range.lo == next.range.lo)
		out->list.count--;
	else
		last->range.hi = next.range.lo - 1;
	VEC_PUSH(arena, &out->list) = next;
}

/* Sorted and disjoint, each value with the longest life that an element gives it. */
static struct timed_list arrange_timed(struct arena *arena, const struct range *ranges, const uint32_t *timeouts,
				       size_t count)
{
	struct timed *items = ARENA_ARRAY(arena, struct timed, count);
	struct timed_list out = { 0 }, later = { 0 };
	size_t next = 0;

	for (size_t i = 0; i < count; i++)
		items[i] = (struct timed){ ranges[i], timeouts[i] ? timeouts[i] : UINT64_MAX };
	if (count)
		qsort(items, count, sizeof *items, compare_timed);
	while (next < count || later.list.count) {
		const struct timed *back = later.list.count ? &later.list.items[later.list.count - 1] : NULL;

		if (back && (next == count || compare_timed(back, &items[next]) <= 0)) {
			struct timed first = *back;

			later.list.count--;
			lay(arena, &out, &later, first);
		} else {
			lay(arena, &out, &later, items[next++]);
		}
	}
	return out;
}

/* --- prefixes ------------------------------------------------------------------------------------------------ */

struct ranges {
	VEC(struct range) list;
};

static bool is_prefix(struct range range)
{
	u128 host = range.hi - range.lo;

	return !(host & (host + 1)) && !(range.lo & host);
}

/* The largest prefix that begins at `lo` and does not pass `hi`. */
static struct range first_prefix(u128 lo, u128 hi)
{
	struct range range = { lo, lo };

	while (range.hi < hi) {
		u128 host = (range.hi - lo) << 1 | 1;

		if (lo & host || host > hi - lo)
			break;
		range.hi = lo | host;
	}
	return range;
}

static void split(struct lower *lower, struct ranges *out, struct range range)
{
	for (;;) {
		struct range prefix = first_prefix(range.lo, range.hi);

		VEC_PUSH(lower->arena, &out->list) = prefix;
		if (prefix.hi >= range.hi)
			return;
		range.lo = prefix.hi + 1;
	}
}

/* An LPM map holds prefixes only; a range becomes as few as it takes. */
static size_t to_prefixes(struct lower *lower, struct range **ranges, size_t count)
{
	struct ranges out = { 0 };
	size_t whole = 0;

	while (whole < count && is_prefix((*ranges)[whole]))
		whole++;
	if (whole == count)
		return count;
	for (size_t i = 0; i < count; i++)
		split(lower, &out, (*ranges)[i]);
	*ranges = out.list.items;
	return out.list.count;
}

/* --- a set --------------------------------------------------------------------------------------------------- */

/* How many entries the map has: an LPM map one for each prefix, a hash one for each value. */
static u128 entries(enum set_type type, const struct range *ranges, size_t count)
{
	u128 sum = 0;

	if (type == SET_PREFIX)
		return count;
	for (size_t i = 0; i < count && sum <= SET_MAX; i++)
		sum += ranges[i].hi - ranges[i].lo < SET_MAX ? ranges[i].hi - ranges[i].lo + 1 : (u128)SET_MAX + 1;
	return sum;
}

static uint32_t default_max(u128 count)
{
	uint32_t max = SET_DEFAULT_MAX;

	while (max < count * 2 && max < SET_MAX)
		max *= 2;
	return max;
}

static u128 most_entries(const struct set *set)
{
	u128 first = entries(set->type, set->ranges, set->count);
	u128 second = entries(set->type, set->ranges6, set->count6);

	return first > second ? first : second;
}

/* One family of a set whose elements may have timeouts: ranges, and beside them their timeouts. */
static size_t fill_timed(struct lower *lower, enum set_type type, struct range **ranges, uint32_t *given,
			 size_t given_count, uint32_t otherwise, size_t count, const uint32_t **ret_timeouts)
{
	uint32_t *all = ARENA_ARRAY(lower->arena, uint32_t, count);
	struct timed_list list;
	struct ranges out = { 0 };
	VEC(uint32_t) timeouts = { 0 };

	for (size_t i = 0; i < count; i++)
		all[i] = i < given_count ? given[i] : otherwise;
	list = arrange_timed(lower->arena, *ranges, all, count);
	for (size_t i = 0; i < list.list.count; i++) {
		const struct timed *timed = &list.list.items[i];

		if (type == SET_PREFIX)
			split(lower, &out, timed->range);
		else
			VEC_PUSH(lower->arena, &out.list) = timed->range;
		while (timeouts.count < out.list.count)
			VEC_PUSH(lower->arena, &timeouts) = timed->life == UINT64_MAX ? 0 : (uint32_t)timed->life;
	}
	*ranges = out.list.items;
	*ret_timeouts = timeouts.items;
	return out.list.count;
}

static void set_fill_timed(struct lower *lower, struct operand *operand, struct set *set)
{
	struct range *ranges = operand->ranges.items, *ranges6 = operand->ranges6.items;

	set->count = fill_timed(lower, set->type, &ranges, operand->timeouts.items, operand->timeouts.count,
				operand->timeout_ms, operand->ranges.count, &set->timeouts);
	set->count6 = fill_timed(lower, set->type, &ranges6, operand->timeouts6.items, operand->timeouts6.count,
				 operand->timeout_ms, operand->ranges6.count, &set->timeouts6);
	set->ranges = ranges;
	set->ranges6 = ranges6;
	set->max_elements = default_max(most_entries(set));
}

void set_fill(struct lower *lower, struct operand *operand, enum set_type type, struct set *ret_set)
{
	struct range *ranges = operand->ranges.items, *ranges6 = operand->ranges6.items;

	ret_set->type = type;
	if (operand->timeouts.count || operand->timeouts6.count || operand->timeout_ms) {
		set_fill_timed(lower, operand, ret_set);
		return;
	}
	ret_set->count = arrange(ranges, operand->ranges.count);
	ret_set->count6 = arrange(ranges6, operand->ranges6.count);
	if (type == SET_PREFIX) {
		ret_set->count = to_prefixes(lower, &ranges, ret_set->count);
		ret_set->count6 = to_prefixes(lower, &ranges6, ret_set->count6);
	}
	ret_set->ranges = ranges;
	ret_set->ranges6 = ranges6;
	ret_set->max_elements = default_max(most_entries(ret_set));
}

static int type_by_name(struct lower *lower, const struct word *word)
{
	const char *nearest = nearest_word(word->text, strlen(word->text), set_type_names, SET_TYPE_COUNT);
	struct diag *diag;

	for (int type = 0; type < SET_TYPE_COUNT; type++)
		if (!strcmp(word->text, set_type_names[type]))
			return type;
	diag = diag_error(lower->diags, word->span, "there are no sets of type `%s`", word->text);
	if (nearest)
		diag_hint(lower->diags, diag, "did you mean `%s`?", nearest);
	else
		diag_hint(lower->diags, diag, "types are address, prefix, port, mac, mark and user");
	return -1;
}

static void apply_max(struct lower *lower, const struct set_node *node, struct set *set)
{
	u128 max;

	if (!node->max.text)
		return;
	if (!literal_number(node->max.text, strlen(node->max.text), &max) || !max)
		diag_error(lower->diags, node->max.span, "`%s` is not a number of elements", node->max.text);
	else if (max > SET_MAX)
		diag_error(lower->diags, node->max.span, "a set has at most %d elements", SET_MAX);
	else
		set->max_elements = (uint32_t)max;
}

static void check_room(struct lower *lower, const struct set_node *node, const struct set *set)
{
	struct diag *diag;
	u128 count = most_entries(set);

	if (count <= set->max_elements)
		return;
	if (count > SET_MAX)
		diag = diag_error(lower->diags, node->name.span, "the set `%s` is too large (at most %d elements)",
				  node->name.text, SET_MAX);
	else
		diag = diag_error(lower->diags, node->max.text ? node->max.span : node->name.span,
				  "the set `%s` already begins with %llu elements", node->name.text,
				  (unsigned long long)count);
	if (set->type == SET_ADDRESS)
		diag_hint(lower->diags, diag, "a set of type `prefix` holds ranges and networks in few elements");
}

void set_lower(struct lower *lower, const struct set_node *node, struct set *ret_set)
{
	int type = type_by_name(lower, &node->type);
	struct operand operand;

	*ret_set = (struct set){ .name = node->name.text, .shared = node->shared, .span = node->name.span };
	if (type < 0)
		return;
	ret_set->timed = node->timeout.text;
	if (node->timeout.text)
		timeout_lower(lower, &node->timeout, &ret_set->timeout_ms);
	operand = set_operand((enum set_type)type,
			      arena_printf(lower->arena, "the set `%s`", node->name.text), ret_set->timed);
	operand_value(lower, &operand, &node->elements);
	set_fill(lower, &operand, (enum set_type)type, ret_set);
	apply_max(lower, node, ret_set);
	if (!operand.failed)
		check_room(lower, node, ret_set);
}
