/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Comparisons in classic BPF: a dimension's value to one of many places. In: edges over values of up to 64 bits;
 * out: a balanced tree on A, whose leaves tell single values apart by equality; 64 bits are two such trees, one
 * below the other.
 */
#include "emit/cbpf.h"

enum { CHAIN_MAX = 4 }; /* equality tests in a row */

struct search {
	struct cbpf_buffer *buffer;
	const struct cbpf_edge *edges; /* of 32 bits */
	size_t count;
};

static bool is_single(const struct search *search, size_t edge)
{
	uint64_t first = edge ? search->edges[edge - 1].last + 1 : 0;

	return search->edges[edge].last == first;
}

/* The edge that is left when single values are told apart from it, or `to`: that is not so, or too many. */
static size_t chain_rest(const struct search *search, size_t from, size_t to)
{
	const struct cbpf_edge *edges = search->edges;
	size_t rest = to, elsewhere = 0;

	if (to - from > 2 * CHAIN_MAX + 1)
		return to;
	for (size_t i = from; i < to; i++) {
		if (is_single(search, i))
			continue;
		if (rest < to && edges[rest].to != edges[i].to)
			return to;
		rest = i;
	}
	if (rest == to)
		rest = to - 1;
	for (size_t i = from; i < to; i++)
		elsewhere += edges[i].to != edges[rest].to;
	return elsewhere <= CHAIN_MAX ? rest : to;
}

static place put_range(const struct search *search, size_t from, size_t to)
{
	const struct cbpf_edge *edges = search->edges;
	size_t rest = chain_rest(search, from, to);
	size_t middle = from + (to - from) / 2;
	place at, above;

	if (rest < to) {
		at = edges[rest].to;
		for (size_t i = from; i < to; i++)
			if (edges[i].to != edges[rest].to)
				at = cbpf_test(search->buffer, BPF_JEQ, (uint32_t)edges[i].last, edges[i].to, at);
		return at;
	}
	above = put_range(search, middle, to);
	at = put_range(search, from, middle);
	return cbpf_test(search->buffer, BPF_JGT, (uint32_t)edges[middle - 1].last, above, at);
}

place cbpf_search(struct cbpf_buffer *buffer, const struct cbpf_edge *edges, size_t count)
{
	const struct search search = { buffer, edges, count };

	return put_range(&search, 0, count);
}

/* --- loading ------------------------------------------------------------------------------------- */

static const struct load {
	uint16_t code;
	uint32_t k;
} loads[FIELD_COUNT] = {
	[FIELD_FAMILY] = { BPF_LD | BPF_MEM, KEPT_FAMILY },
	[FIELD_PROTO] = { BPF_LD | BPF_MEM, KEPT_PROTO },
	[FIELD_SRC_PORT] = { BPF_LD | BPF_MEM, KEPT_SRC_PORT },
	[FIELD_DST_PORT] = { BPF_LD | BPF_MEM, KEPT_DST_PORT },
	[FIELD_TCP_FLAGS] = { BPF_LD | BPF_MEM, KEPT_TCP_FLAGS },
	[FIELD_ICMP_TYPE] = { BPF_LD | BPF_MEM, KEPT_ICMP_TYPE },
	[FIELD_ICMP_CODE] = { BPF_LD | BPF_MEM, KEPT_ICMP_CODE },
	[FIELD_TTL] = { BPF_LD | BPF_MEM, KEPT_TTL },
	[FIELD_DSCP] = { BPF_LD | BPF_MEM, KEPT_DSCP },
	[FIELD_ECN] = { BPF_LD | BPF_MEM, KEPT_ECN },
	[FIELD_LENGTH] = { BPF_LD | BPF_MEM, KEPT_LENGTH },
	[FIELD_FRAGMENT] = { BPF_LD | BPF_IMM, FRAGMENT_NONE },
	[FIELD_IN_IFACE] = { BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX) },
	[FIELD_MARK] = { BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_MARK) },
	[FIELD_IP_SRC] = { BPF_LD | BPF_W | BPF_ABS, (uint32_t)(NET + 12) },
	[FIELD_IP_DST] = { BPF_LD | BPF_W | BPF_ABS, (uint32_t)(NET + 16) },
	[FIELD_IPV6_SRC] = { BPF_LD | BPF_W | BPF_ABS, (uint32_t)(NET + 8) },
	[FIELD_IPV6_DST] = { BPF_LD | BPF_W | BPF_ABS, (uint32_t)(NET + 24) },
};

/* Loads 32 bits, `word` of them on in an address, then compares them. */
static place put_load(struct cbpf_buffer *buffer, const struct dim *dim, unsigned word, uint32_t mask,
		      const struct cbpf_edge *edges, size_t count)
{
	const struct load *load = &loads[dim->field];
	place before = (place)buffer->insns.count;
	place at = cbpf_search(buffer, edges, count);

	if (buffer->insns.count == before)
		return at; /* all values go to one place */
	if (mask != UINT32_MAX)
		at = cbpf_put(buffer, BPF_ALU | BPF_AND | BPF_K, mask, at);
	return cbpf_put(buffer, load->code, load->k + 4 * word, at);
}

/* --- 64 bits ------------------------------------------------------------------------------------- */

struct halves {
	struct cbpf_buffer *buffer;
	const struct dim *dim;
	unsigned word; /* of the address: the more significant half's first */
	const struct cbpf_edge *edges;
	size_t count;
};

/* For the upper half `high`: the edges from `from` on, compared by the lower half. `*ret_next`: what follows. */
static place put_low(const struct halves *halves, uint32_t high, size_t from, size_t *ret_next)
{
	struct cbpf_buffer *buffer = halves->buffer;
	uint64_t last = (uint64_t)high << 32 | UINT32_MAX;
	VEC(struct cbpf_edge) low = { 0 };

	while (halves->edges[from].last < last) {
		VEC_PUSH(buffer->arena, &low) = (struct cbpf_edge){ (uint32_t)halves->edges[from].last,
								    halves->edges[from].to };
		from++;
	}
	VEC_PUSH(buffer->arena, &low) = (struct cbpf_edge){ UINT32_MAX, halves->edges[from].to };
	*ret_next = from + (halves->edges[from].last == last);
	return put_load(buffer, halves->dim, halves->word + 1, (uint32_t)halves->dim->mask, low.items, low.count);
}

static place put_halves(const struct halves *halves)
{
	struct cbpf_buffer *buffer = halves->buffer;
	VEC(struct cbpf_edge) high = { 0 };
	uint64_t from = 0; /* upper half from which on nothing has been said yet */

	for (size_t i = 0; i < halves->count;) {
		uint32_t last = (uint32_t)(halves->edges[i].last >> 32);
		bool whole = (uint32_t)halves->edges[i].last == UINT32_MAX;
		place to = halves->edges[i].to;

		if (whole || last > from)
			VEC_PUSH(buffer->arena, &high) = (struct cbpf_edge){ whole ? last : last - 1, to };
		if (whole)
			i++;
		else
			VEC_PUSH(buffer->arena, &high) = (struct cbpf_edge){ last, put_low(halves, last, i, &i) };
		from = (uint64_t)last + 1;
	}
	return put_load(buffer, halves->dim, halves->word, (uint32_t)(halves->dim->mask >> 32), high.items,
			high.count);
}

/* --- a dimension --------------------------------------------------------------------------------- */

place cbpf_split(struct cbpf_buffer *buffer, const struct dim *dim, const struct cbpf_edge *edges, size_t count)
{
	struct cbpf_edge *all = arena_copy(buffer->arena, edges, count * sizeof *edges);
	struct halves halves = { .buffer = buffer, .dim = dim, .edges = all, .count = count };

	if (field_table[dim->field].bits != 128) {
		all[count - 1].last = UINT32_MAX;
		return put_load(buffer, dim, 0, (uint32_t)dim->mask, all, count);
	}
	all[count - 1].last = UINT64_MAX;
	halves.word = dim->offset == field_table[dim->field].offset ? 0 : 2;
	return put_halves(&halves);
}
