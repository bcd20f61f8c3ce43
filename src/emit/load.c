/* SPDX-License-Identifier: GPL-2.0-only */
/* From struct packet to a value in R0 (DIM_VALUE) or an answer of a map (DIM_SET). Key layouts: bpf/plane_abi.h. */
#include "emit/buffer.h"

static uint8_t size_code(uint8_t size)
{
	switch (size) {
	case 1:
		return BPF_B;
	case 2:
		return BPF_H;
	case 4:
		return BPF_W;
	default:
		return BPF_DW;
	}
}

static void put_member(struct buffer *buffer, uint8_t dst, uint8_t offset, uint8_t size)
{
	emit_insn(buffer, BPF_LDX | BPF_MEM | size_code(size), dst, buffer->base, offset, 0);
}

static uint64_t size_max(uint8_t size)
{
	return size >= 8 ? UINT64_MAX : ((uint64_t)1 << size * 8) - 1;
}

bool dim_is_wide(const struct dim *dim)
{
	return (size_max(dim->size) & dim->mask) > UINT32_MAX;
}

void emit_load(struct buffer *buffer, const struct dim *dim)
{
	uint64_t mask = dim->mask & size_max(dim->size);

	put_member(buffer, BPF_REG_0, dim->offset, dim->size);
	if (mask == size_max(dim->size))
		return;
	if (mask <= UINT32_MAX) {
		emit_insn(buffer, BPF_ALU | BPF_AND | BPF_K, BPF_REG_0, 0, 0, (int32_t)(uint32_t)mask);
	} else if ((uint64_t)(int64_t)(int32_t)(uint32_t)mask == mask) {
		emit_insn(buffer, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_0, 0, 0, (int32_t)(uint32_t)mask);
	} else {
		emit_wide(buffer, BPF_REG_2, 0, mask);
		emit_insn(buffer, BPF_ALU64 | BPF_AND | BPF_X, BPF_REG_0, BPF_REG_2, 0, 0);
	}
}

/* Copies `size` bytes of the packet to the stack; `big_endian`: as a number in network byte order. */
static void put_key_part(struct buffer *buffer, uint8_t offset, uint8_t size, uint8_t stored, int16_t at,
			 bool big_endian)
{
	put_member(buffer, BPF_REG_2, offset, size);
	if (big_endian)
		emit_insn(buffer, BPF_ALU | BPF_END | BPF_TO_BE, BPF_REG_2, 0, 0, size * 8);
	emit_insn(buffer, BPF_STX | BPF_MEM | size_code(stored), BPF_REG_10, BPF_REG_2, at, 0);
}

/* Builds the key below the frame pointer and returns where it begins. */
static int16_t put_key(struct buffer *buffer, const struct plan_set *set, const struct dim *dim)
{
	int16_t at = -8;

	switch (set->key) {
	case KEY_IPV4:
		at = -4;
		put_key_part(buffer, dim->offset, 4, 4, at, set->lpm);
		break;
	case KEY_IPV6:
		at = -16;
		put_key_part(buffer, dim->offset, 8, 8, -16, set->lpm);
		put_key_part(buffer, (uint8_t)(dim->offset + 8), 8, 8, -8, set->lpm);
		break;
	case KEY_VALUE:
		put_key_part(buffer, dim->offset, dim->size, 8, at, false);
		break;
	}
	if (set->lpm) {
		at = (int16_t)(at - 4);
		emit_insn(buffer, BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, at, set->key == KEY_IPV4 ? 32 : 128);
	}
	return at;
}

void emit_find(struct buffer *buffer, const struct plan *plan, const struct dim *dim)
{
	int16_t at = put_key(buffer, &plan->sets[dim->set], dim);
	struct map_use *use = &VEC_PUSH(buffer->arena, &buffer->maps);

	use->insn = (uint32_t)buffer->insns.count;
	use->set = dim->set;
	emit_wide(buffer, BPF_REG_1, 0, 0);
	emit_insn(buffer, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0);
	emit_insn(buffer, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, at);
	emit_insn(buffer, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
}

void emit_call(struct buffer *buffer, uint32_t function)
{
	struct call_use *call = &VEC_PUSH(buffer->arena, &buffer->calls);

	call->insn = (uint32_t)buffer->insns.count;
	call->function = function;
	emit_insn(buffer, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, -1);
}

static void put_argument(struct buffer *buffer, uint8_t reg, uint32_t number)
{
	emit_insn(buffer, BPF_ALU | BPF_MOV | BPF_K, reg, 0, 0, (int32_t)number);
}

void emit_lives(struct buffer *buffer, const struct plan *plan, const struct dim *dim)
{
	const struct plan_set *set = &plan->sets[dim->set];

	emit_insn(buffer, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_0, 0, 0);
	emit_insn(buffer, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, buffer->base, 0, 0);
	put_argument(buffer, BPF_REG_3, (uint32_t)set->named);
	put_argument(buffer, BPF_REG_4, set->lpm ? dim->field : FIELD_COUNT);
	emit_call(buffer, CALL_LIVES);
}

void emit_lookup(struct buffer *buffer, const struct plan *plan, const struct dim *dim, label absent, label present,
		 label next)
{
	uint32_t function = buffer->lookups[dim - plan->dims];
	uint8_t class = function ? BPF_JMP32 : BPF_JMP; /* a function's result is an int, an element a pointer */

	if (function) {
		emit_insn(buffer, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, buffer->base, 0, 0);
		emit_call(buffer, function);
	} else {
		emit_find(buffer, plan, dim);
	}
	if (!function && plan->sets[dim->set].timed) {
		emit_jump(buffer, class | BPF_JEQ | BPF_K, BPF_REG_0, 0, absent);
		emit_lives(buffer, plan, dim);
		class = BPF_JMP32;
	}
	if (present == next) {
		emit_jump(buffer, class | BPF_JEQ | BPF_K, BPF_REG_0, 0, absent);
		return;
	}
	emit_jump(buffer, class | BPF_JNE | BPF_K, BPF_REG_0, 0, present);
	emit_goto(buffer, absent, next);
}
