/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside the classic BPF emitter. Code is written from its end to its beginning: when an instruction is put, all
 * that it leads to is there already, and every distance is known. A place in the code is counted from the end.
 */
#ifndef WEIR_EMIT_CBPF_H
#define WEIR_EMIT_CBPF_H

#include "emit/emit.h"

typedef uint32_t place;

struct cbpf_buffer {
	struct arena *arena;
	VEC(struct sock_filter) insns; /* the program's last one first */
	VEC(place) near; /* for each place: itself, or the last put instruction that goes or does the same */
	place accept, drop;
};

/* Scratch memory: fields that the parser leaves there. */
enum kept {
	KEPT_FAMILY,
	KEPT_PROTO,
	KEPT_SRC_PORT,
	KEPT_DST_PORT,
	KEPT_TCP_FLAGS,
	KEPT_ICMP_TYPE,
	KEPT_ICMP_CODE,
	KEPT_TTL,
	KEPT_DSCP,
	KEPT_ECN,
	KEPT_LENGTH,
	KEPT_SPARE,
	KEPT_COUNT,
};

_Static_assert(KEPT_COUNT <= BPF_MEMWORDS, "scratch memory");

enum { NET = SKF_NET_OFF }; /* the IP header */

void cbpf_begin(struct cbpf_buffer *buffer, struct arena *arena, uint32_t accept_value);

/* Each puts code that goes on at `next`, and returns where it begins. */
place cbpf_put(struct cbpf_buffer *buffer, uint16_t code, uint32_t k, place next);
/* `test`: BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET of A and k. Nothing is put if both ways are one. */
place cbpf_test(struct cbpf_buffer *buffer, uint16_t test, uint32_t k, place yes, place no);

/* Shorthands of cbpf_put(). */
static inline place cbpf_load(struct cbpf_buffer *buffer, uint16_t size, uint32_t offset, place next)
{
	return cbpf_put(buffer, BPF_LD | BPF_ABS | size, (uint32_t)NET + offset, next);
}

static inline place cbpf_recall(struct cbpf_buffer *buffer, enum kept kept, place next)
{
	return cbpf_put(buffer, BPF_LD | BPF_MEM, kept, next);
}

static inline place cbpf_keep(struct cbpf_buffer *buffer, enum kept kept, place next)
{
	return cbpf_put(buffer, BPF_ST, kept, next);
}

static inline place cbpf_number(struct cbpf_buffer *buffer, uint32_t number, place next)
{
	return cbpf_put(buffer, BPF_LD | BPF_IMM, number, next);
}

/* An edge of a comparison: for values after the previous edge's `last`. The last edge takes all the rest. */
struct cbpf_edge {
	uint64_t last;
	place to;
};

/* Goes to the edge of the value in A. */
place cbpf_search(struct cbpf_buffer *buffer, const struct cbpf_edge *edges, size_t count);
/* Loads a dimension and goes to its value's edge. */
place cbpf_split(struct cbpf_buffer *buffer, const struct dim *dim, const struct cbpf_edge *edges, size_t count);

/* Where judging begins for each family, and which fields it looks at from there on. */
struct cbpf_entry {
	place at;
	uint32_t needed; /* bit f: enum field f */
};

/* The plan's decisions. Plans must have no maps. */
void cbpf_plan(struct cbpf_buffer *buffer, const struct plan *plan, struct cbpf_entry *ret_ipv4,
	       struct cbpf_entry *ret_ipv6);

/* The parser, before everything else. */
void cbpf_parser(struct cbpf_buffer *buffer, const struct cbpf_entry *ipv4, const struct cbpf_entry *ipv6);

/*
 * The rule set as classic BPF can have it: sets become constants, counters go. -EINVAL with diagnostics for what
 * cannot be left out: log, mark, count; with `reuseport` also tests of what differs from packet to packet.
 */
int cbpf_rules(struct arena *arena, const struct ruleset *ruleset, bool reuseport, struct diags *diags,
	       const struct ruleset **ret_ruleset);

/* Plans and emits whatever its size; -errno with diagnostics if that cannot be done. */
int cbpf_emit(struct arena *arena, const struct ruleset *ruleset, uint32_t accept_value, struct diags *diags,
	      struct cbpf_buffer *ret_buffer);

/* The error for a program of `insns` instructions where `limit` fit. */
void cbpf_explain_size(struct arena *arena, const struct ruleset *ruleset, size_t insns, size_t limit,
		       struct diags *diags);

#endif
