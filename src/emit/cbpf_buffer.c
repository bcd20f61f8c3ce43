/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instructions of classic BPF, the last one first. Conditional jumps reach 255 instructions; what is farther away is
 * reached by a copy nearby: of the return, or a jump there.
 */
#include "emit/cbpf.h"

enum { REACH = 255 };

static place push(struct cbpf_buffer *buffer, struct sock_filter insn)
{
	place here = (place)buffer->insns.count;

	VEC_PUSH(buffer->arena, &buffer->insns) = insn;
	VEC_PUSH(buffer->arena, &buffer->near) = here;
	return here;
}

void cbpf_begin(struct cbpf_buffer *buffer, struct arena *arena, uint32_t accept_value)
{
	*buffer = (struct cbpf_buffer){ .arena = arena };
	buffer->drop = push(buffer, (struct sock_filter){ BPF_RET | BPF_K, 0, 0, 0 });
	buffer->accept = push(buffer, (struct sock_filter){ BPF_RET | BPF_K, 0, 0, accept_value });
}

/* Instructions between the next one to be put and the place. */
static uint32_t distance(const struct cbpf_buffer *buffer, place to)
{
	return (uint32_t)buffer->insns.count - to - 1;
}

/* Puts an instruction that does what the place does: its return, or a jump. */
static place put_copy(struct cbpf_buffer *buffer, place to)
{
	struct sock_filter insn = buffer->insns.items[to];

	if (BPF_CLASS(insn.code) != BPF_RET)
		insn = (struct sock_filter){ BPF_JMP | BPF_JA, 0, 0, distance(buffer, to) };
	buffer->near.items[to] = push(buffer, insn);
	return buffer->near.items[to];
}

/* The place, or a copy of it that is still near enough after `more` further instructions. */
static place reach(struct cbpf_buffer *buffer, place to, uint32_t more)
{
	place near = buffer->near.items[to];

	return distance(buffer, near) + more <= REACH ? near : put_copy(buffer, to);
}

place cbpf_put(struct cbpf_buffer *buffer, uint16_t code, uint32_t k, place next)
{
	if (distance(buffer, next))
		put_copy(buffer, next);
	return push(buffer, (struct sock_filter){ code, 0, 0, k });
}

place cbpf_test(struct cbpf_buffer *buffer, uint16_t test, uint32_t k, place yes, place no)
{
	struct sock_filter insn = { .code = (uint16_t)(BPF_JMP | BPF_K | test), .k = k };

	if (yes == no)
		return yes;
	yes = reach(buffer, yes, 1);
	no = reach(buffer, no, 0);
	insn.jt = (uint8_t)distance(buffer, yes);
	insn.jf = (uint8_t)distance(buffer, no);
	return push(buffer, insn);
}
