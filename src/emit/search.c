/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Comparison code: from a value in R0 to one of many labels. A binary search by `>` down to a few edges; those are
 * told apart by `==` where all but some single values lead to one place.
 */
#include "emit/buffer.h"

/*
 * Most equality tests in a row. A test not taken costs 0.15 ns, a level of the search a misprediction now and
 * then; 4 in a row also make the smallest code for scattered single values (facts: docs/performance.md).
 */
enum { CHAIN_MAX = 4 };

struct search {
	struct buffer *buffer;
	const struct edge *edges;
	size_t count;
	uint64_t first;
	bool wide;
};

static uint64_t edge_first(const struct search *search, size_t edge)
{
	return edge ? search->edges[edge - 1].last + 1 : search->first;
}

/* Whether the edge has one value only. The last of all also takes what should not be: it never counts as one. */
static bool is_single(const struct search *search, size_t edge)
{
	return edge + 1 < search->count && search->edges[edge].last == edge_first(search, edge);
}

/* Of edges from..to-1: one that leads where all wider ones do; `to` if those disagree, the last if all are single. */
static size_t widest_target(const struct search *search, size_t from, size_t to)
{
	size_t rest = to;

	for (size_t i = from; i < to; i++) {
		if (is_single(search, i))
			continue;
		if (rest < to && search->edges[rest].to != search->edges[i].to)
			return to;
		rest = i;
	}
	return rest < to ? rest : to - 1;
}

/* The edge that remains when at most CHAIN_MAX single values are told apart from it, or `to`: too many. */
static size_t chain_rest(const struct search *search, size_t from, size_t to)
{
	size_t rest, elsewhere = 0;

	if (to - from > 2 * CHAIN_MAX + 1)
		return to;
	rest = widest_target(search, from, to);
	if (rest == to)
		return to;
	for (size_t i = from; i < to; i++)
		elsewhere += search->edges[i].to != search->edges[rest].to;
	return elsewhere <= CHAIN_MAX ? rest : to;
}

/* Whether the code after the last comparison is better that of `last` than that of `rest`. */
static bool ends_with(const struct buffer *buffer, label last, label rest, label next)
{
	if (last == next || rest == next)
		return last == next;
	return last < buffer->answer_count && rest < buffer->answer_count &&
	       buffer->answer_uses[last] < buffer->answer_uses[rest];
}

static void put_chain(const struct search *search, size_t from, size_t to, size_t rest, label next)
{
	const struct edge *edges = search->edges;
	size_t last = to;

	for (size_t i = from; i < to; i++) {
		if (edges[i].to == edges[rest].to)
			continue;
		if (last < to)
			emit_compare(search->buffer, BPF_JEQ, search->wide, edges[last].last, edges[last].to);
		last = i;
	}
	if (last < to && ends_with(search->buffer, edges[last].to, edges[rest].to, next)) {
		emit_compare(search->buffer, BPF_JNE, search->wide, edges[last].last, edges[rest].to);
		emit_goto(search->buffer, edges[last].to, next);
		return;
	}
	if (last < to)
		emit_compare(search->buffer, BPF_JEQ, search->wide, edges[last].last, edges[last].to);
	emit_goto(search->buffer, edges[rest].to, next);
}

static bool leads_to(const struct search *search, size_t from, size_t to, label where)
{
	for (size_t i = from; i < to; i++)
		if (search->edges[i].to == where)
			return true;
	return false;
}

static void put_range(const struct search *search, size_t from, size_t to, label next);

/* Splits before edge `middle`; the half that ends in `next` comes last. */
static void put_split(const struct search *search, size_t from, size_t middle, size_t to, label next)
{
	uint64_t boundary = search->edges[middle - 1].last;
	bool left_last = middle - from > 1 && (to - middle == 1 || leads_to(search, from, middle, next));
	label second;

	if (middle - from == 1 && to - middle == 1)
		left_last = search->edges[from].to == next;
	if (left_last) {
		second = to - middle == 1 ? search->edges[middle].to : NO_LABEL;
		if (second != NO_LABEL) {
			emit_compare(search->buffer, BPF_JGT, search->wide, boundary, second);
		} else {
			second = label_new(search->buffer);
			emit_compare(search->buffer, BPF_JLE, search->wide, boundary, second);
			put_range(search, middle, to, NO_LABEL);
			label_bind(search->buffer, second);
		}
		put_range(search, from, middle, next);
		return;
	}
	second = middle - from == 1 ? search->edges[from].to : NO_LABEL;
	if (second != NO_LABEL) {
		emit_compare(search->buffer, BPF_JLE, search->wide, boundary, second);
	} else {
		second = label_new(search->buffer);
		emit_compare(search->buffer, BPF_JGT, search->wide, boundary, second);
		put_range(search, from, middle, NO_LABEL);
		label_bind(search->buffer, second);
	}
	put_range(search, middle, to, next);
}

static void put_range(const struct search *search, size_t from, size_t to, label next)
{
	size_t rest = chain_rest(search, from, to);

	if (rest < to)
		put_chain(search, from, to, rest, next);
	else
		put_split(search, from, from + (to - from) / 2, to, next);
}

void emit_search(struct buffer *buffer, bool wide, uint64_t first, const struct edge *edges, size_t count,
		 label next)
{
	struct search search = { .buffer = buffer, .edges = edges, .count = count, .first = first, .wide = wide };

	put_range(&search, 0, count, next);
}
