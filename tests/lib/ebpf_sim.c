/* SPDX-License-Identifier: GPL-2.0-only */
#include "tests/lib/ebpf_sim.h"

#include <errno.h>
#include <string.h>

/* Where memory appears to the program; far apart, so that a wrong offset hits nothing. */
#define PACKET_AT 0x100000000ull
#define STACK_AT 0x200000000ull
#define VALUE_AT 0x300000000ull

enum { STACK_BYTES = 512, FRAMES_MAX = 3 };

struct frame {
	uint64_t regs[11];
	uint32_t known; /* bit n: register n was written */
	unsigned char stack[STACK_BYTES];
	unsigned char written[STACK_BYTES];
	uint32_t map;   /* index + 1 of the set whose map R1 points to */
	uint32_t found; /* index + 1 of the set that was looked into last */
};

struct machine {
	struct ebpf_sim *sim;
	const struct packet *packet;
	unsigned depth;
};

static int fail(struct machine *machine, size_t at, const char *error)
{
	machine->sim->error = error;
	machine->sim->at = at;
	return -EFAULT;
}

static unsigned access_size(uint8_t code)
{
	switch (BPF_SIZE(code)) {
	case BPF_B:
		return 1;
	case BPF_H:
		return 2;
	case BPF_W:
		return 4;
	default:
		return 8;
	}
}

static uint64_t read_number(const void *from, unsigned size)
{
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	switch (size) {
	case 1:
		return memcpy(&u8, from, 1), u8;
	case 2:
		return memcpy(&u16, from, 2), u16;
	case 4:
		return memcpy(&u32, from, 4), u32;
	default:
		return memcpy(&u64, from, 8), u64;
	}
}

static void write_number(void *to, uint64_t value, unsigned size)
{
	uint8_t u8 = (uint8_t)value;
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;

	memcpy(to, size == 1 ? (void *)&u8 : size == 2 ? (void *)&u16 : size == 4 ? (void *)&u32 : (void *)&value, size);
}

/* Offset in the frame's stack, or -1. */
static long stack_offset(uint64_t address, unsigned size)
{
	if (address < STACK_AT || address - STACK_AT > STACK_BYTES - size || (address - STACK_AT) % size)
		return -1;
	return (long)(address - STACK_AT);
}

static int load(struct machine *machine, struct frame *frame, size_t at, uint64_t address, unsigned size,
		uint64_t *ret_value)
{
	uint64_t offset = address - PACKET_AT;
	long place = stack_offset(address, size);

	if (address >= PACKET_AT && offset <= sizeof *machine->packet - size && offset % size == 0) {
		*ret_value = read_number((const unsigned char *)machine->packet + offset, size);
		return 0;
	}
	if (place < 0 || memchr(frame->written + place, 0, size))
		return fail(machine, at, "bad load");
	*ret_value = read_number(frame->stack + place, size);
	return 0;
}

static int store(struct machine *machine, struct frame *frame, size_t at, uint64_t address, uint64_t value,
		 unsigned size)
{
	long place = stack_offset(address, size);

	if (place < 0)
		return fail(machine, at, "bad store");
	write_number(frame->stack + place, value, size);
	memset(frame->written + place, 1, size);
	return 0;
}

static size_t key_size(const struct plan_set *set)
{
	if (set->key == KEY_VALUE)
		return 8;
	return (set->key == KEY_IPV4 ? 4 : 16) + (set->lpm ? 4 : 0);
}

/* R0 = lookup(R1 map, R2 key); R1 to R5 are gone afterwards. */
static int call_lookup(struct machine *machine, struct frame *frame, size_t at)
{
	uint64_t offset = frame->regs[2] - STACK_AT;
	size_t size;

	if (!frame->map || !(frame->known & 1 << 2))
		return fail(machine, at, "bad arguments of map_lookup_elem");
	size = key_size(&machine->sim->plan->sets[frame->map - 1]);
	if (offset > STACK_BYTES - size || memchr(frame->written + offset, 0, size))
		return fail(machine, at, "bad key");
	frame->regs[0] = machine->sim->lookup(machine->sim->context, frame->map - 1, frame->stack + offset) ?
			 VALUE_AT : 0;
	frame->known = (frame->known | 1) & ~0x3eu;
	frame->found = frame->map;
	frame->map = 0;
	return 0;
}

/* What the plane's function says of the element that was found: `sim->lives`, or that it lives. */
static int call_lives(struct machine *machine, struct frame *frame, size_t at)
{
	const struct plan *plan = machine->sim->plan;
	bool lives = true;

	if (~frame->known & 0x1e || frame->regs[1] != VALUE_AT || frame->regs[2] != PACKET_AT ||
	    !frame->found || plan->sets[frame->found - 1].named != (int32_t)frame->regs[3] ||
	    frame->regs[4] > FIELD_COUNT || plan->sets[frame->found - 1].lpm != (frame->regs[4] < FIELD_COUNT))
		return fail(machine, at, "bad arguments of element_lives");
	if (machine->sim->lives)
		lives = machine->sim->lives(machine->sim->context, frame->found - 1);
	frame->regs[0] = lives;
	frame->known = (frame->known | 1) & ~0x3eu;
	return 0;
}

static int run_function(struct machine *machine, uint32_t function, const uint64_t arguments[2], uint64_t *ret_r0);

static int call_function(struct machine *machine, struct frame *frame, size_t at)
{
	const struct code *code = machine->sim->code;
	uint64_t result;
	int error;

	if (machine->depth == FRAMES_MAX)
		return fail(machine, at, "calls too deep");
	for (size_t i = 0; i < code->call_count; i++) {
		if (code->calls[i].insn != at)
			continue;
		if (code->calls[i].function == CALL_LIVES)
			return call_lives(machine, frame, at);
		if (~frame->known & (code->functions[code->calls[i].function].arguments == 2 ? 6 : 2))
			return fail(machine, at, "unknown arguments");
		error = run_function(machine, code->calls[i].function, &frame->regs[1], &result);
		if (error)
			return error;
		frame->regs[0] = result;
		frame->known = (frame->known | 1) & ~0x3eu;
		return 0;
	}
	return fail(machine, at, "call without a relocation");
}

static uint64_t be_number(uint64_t value, int bits)
{
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		return bits == 32 ? (uint32_t)value : value;
	return bits == 32 ? __builtin_bswap32((uint32_t)value) : __builtin_bswap64(value);
}

static int run_alu(struct machine *machine, struct frame *frame, const struct bpf_insn *insn, size_t at)
{
	bool wide = BPF_CLASS(insn->code) == BPF_ALU64;
	uint64_t source = BPF_SRC(insn->code) == BPF_X ? frame->regs[insn->src_reg] : (uint64_t)(int64_t)insn->imm;
	uint64_t *to = &frame->regs[insn->dst_reg];

	if (BPF_OP(insn->code) == BPF_END) {
		if (wide || BPF_SRC(insn->code) != BPF_TO_BE || !(frame->known & 1u << insn->dst_reg))
			return fail(machine, at, "bad byte swap");
		*to = be_number(*to, insn->imm);
		return 0;
	}
	if (BPF_SRC(insn->code) == BPF_X && !(frame->known & 1u << insn->src_reg))
		return fail(machine, at, "unknown source register");
	if (BPF_OP(insn->code) != BPF_MOV && !(frame->known & 1u << insn->dst_reg))
		return fail(machine, at, "unknown register");
	switch (BPF_OP(insn->code)) {
	case BPF_MOV:
		*to = source;
		break;
	case BPF_ADD:
		*to += source;
		break;
	case BPF_AND:
		*to &= source;
		break;
	default:
		return fail(machine, at, "unknown operation");
	}
	if (!wide)
		*to = (uint32_t)*to;
	frame->known |= 1u << insn->dst_reg;
	return 0;
}

/* What the emitter does not use. */
static int compare_otherwise(const struct bpf_insn *insn, bool half, uint64_t left, uint64_t right, bool *ret_taken)
{
	int64_t a = half ? (int32_t)left : (int64_t)left, b = half ? (int32_t)right : (int64_t)right;

	switch (BPF_OP(insn->code)) {
	case BPF_JGE:
		*ret_taken = left >= right;
		break;
	case BPF_JLT:
		*ret_taken = left < right;
		break;
	case BPF_JSGT:
		*ret_taken = a > b;
		break;
	case BPF_JSLE:
		*ret_taken = a <= b;
		break;
	case BPF_JSLT:
		*ret_taken = a < b;
		break;
	default:
		*ret_taken = (left & right) != 0;
	}
	return 0;
}

static int compare(struct machine *machine, const struct frame *frame, const struct bpf_insn *insn, size_t at,
		   bool *ret_taken)
{
	bool half = BPF_CLASS(insn->code) == BPF_JMP32;
	uint64_t left = frame->regs[insn->dst_reg];
	uint64_t right = BPF_SRC(insn->code) == BPF_X ? frame->regs[insn->src_reg] : (uint64_t)(int64_t)insn->imm;

	if (!(frame->known & 1u << insn->dst_reg) ||
	    (BPF_SRC(insn->code) == BPF_X && !(frame->known & 1u << insn->src_reg)))
		return fail(machine, at, "comparison of an unknown register");
	left = half ? (uint32_t)left : left;
	right = half ? (uint32_t)right : right;
	switch (BPF_OP(insn->code)) {
	case BPF_JEQ:
		*ret_taken = left == right;
		return 0;
	case BPF_JNE:
		*ret_taken = left != right;
		return 0;
	case BPF_JGT:
		*ret_taken = left > right;
		return 0;
	case BPF_JLE:
		*ret_taken = left <= right;
		return 0;
	case BPF_JSGE:
		*ret_taken = half ? (int32_t)left >= (int32_t)right : (int64_t)left >= (int64_t)right;
		return 0;
	default:
		if (machine->sim->any_comparison)
			return compare_otherwise(insn, half, left, right, ret_taken);
		return fail(machine, at, "unknown comparison");
	}
}

static int run_wide(struct machine *machine, struct frame *frame, const struct bpf_insn *insn, size_t at)
{
	const struct code *code = machine->sim->code;

	frame->regs[insn->dst_reg] = (uint64_t)(uint32_t)insn[1].imm << 32 | (uint32_t)insn->imm;
	frame->known |= 1u << insn->dst_reg;
	for (size_t i = 0; i < code->map_count; i++) {
		if (code->maps[i].insn != at)
			continue;
		if (insn->dst_reg != BPF_REG_1)
			return fail(machine, at, "map in another register than R1");
		frame->map = code->maps[i].set + 1;
	}
	return 0;
}

static int run_memory(struct machine *machine, struct frame *frame, const struct bpf_insn *insn, size_t at)
{
	unsigned size = access_size(insn->code);
	bool loads = BPF_CLASS(insn->code) == BPF_LDX;
	unsigned base = loads ? insn->src_reg : insn->dst_reg;
	uint64_t address = frame->regs[base] + (uint64_t)(int64_t)insn->off;
	uint64_t value;
	int error;

	if (BPF_MODE(insn->code) != BPF_MEM || !(frame->known & 1u << base))
		return fail(machine, at, "bad memory access");
	if (loads) {
		error = load(machine, frame, at, address, size, &value);
		if (error)
			return error;
		frame->regs[insn->dst_reg] = value;
		frame->known |= 1u << insn->dst_reg;
		return 0;
	}
	if (BPF_CLASS(insn->code) == BPF_STX && !(frame->known & 1u << insn->src_reg))
		return fail(machine, at, "store of an unknown register");
	value = BPF_CLASS(insn->code) == BPF_STX ? frame->regs[insn->src_reg] : (uint64_t)(int64_t)insn->imm;
	return store(machine, frame, at, address, value, size);
}

/* A call or a jump; `next` is moved. */
static int run_jump(struct machine *machine, struct frame *frame, const struct bpf_insn *insn, size_t at,
		    size_t *next)
{
	bool taken = insn->code == (BPF_JMP | BPF_JA);
	int error = 0;

	if (BPF_OP(insn->code) == BPF_CALL) {
		if (insn->src_reg == BPF_PSEUDO_CALL)
			return call_function(machine, frame, at);
		return insn->imm == BPF_FUNC_map_lookup_elem ? call_lookup(machine, frame, at) :
							      fail(machine, at, "unknown helper");
	}
	if (!taken)
		error = compare(machine, frame, insn, at, &taken);
	if (taken)
		*next += (size_t)insn->off;
	return error;
}

static int run_insn(struct machine *machine, struct frame *frame, const struct bpf_insn *insn, size_t at,
		    size_t *next)
{
	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		return run_alu(machine, frame, insn, at);
	case BPF_LD:
		++*next;
		return run_wide(machine, frame, insn, at);
	case BPF_LDX:
	case BPF_ST:
	case BPF_STX:
		return run_memory(machine, frame, insn, at);
	default:
		return run_jump(machine, frame, insn, at, next);
	}
}

static int run_function(struct machine *machine, uint32_t function, const uint64_t arguments[2], uint64_t *ret_r0)
{
	const struct code *code = machine->sim->code;
	size_t at = code->functions[function].first;
	size_t end = at + code->functions[function].count;
	struct frame frame = { .known = 1u << 10 | 1u << 1 | (code->functions[function].arguments == 2 ? 1u << 2 : 0) };
	int error = 0;

	machine->depth++;
	frame.regs[1] = arguments[0];
	frame.regs[2] = arguments[1];
	frame.regs[10] = STACK_AT + STACK_BYTES;
	while (!error) {
		const struct bpf_insn *insn = &code->insns[at];
		size_t next = at + 1;

		if (at >= end)
			return fail(machine, at, "left the function");
		machine->sim->steps++;
		if (insn->code == (BPF_JMP | BPF_EXIT))
			break;
		error = run_insn(machine, &frame, insn, at, &next);
		at = next;
	}
	machine->depth--;
	*ret_r0 = frame.regs[0];
	return error ? error : frame.known & 1 ? 0 : fail(machine, at, "no answer");
}

int ebpf_sim_run(struct ebpf_sim *sim, const struct packet *packet, uint32_t *ret_answer)
{
	struct machine machine = { .sim = sim, .packet = packet };
	uint64_t arguments[2] = { PACKET_AT, 0 };
	uint64_t result;
	int error = run_function(&machine, 0, arguments, &result);

	if (!error)
		*ret_answer = (uint32_t)result;
	return error;
}

/* --- static check ------------------------------------------------------------------------------ */

/* Marks what the instruction leads to; jumps go forward, so one pass in order sees everything. */
static const char *follow(struct arena *arena, const struct code *code, bool *reached, size_t at, size_t end)
{
	const struct bpf_insn *insn = &code->insns[at];
	unsigned class = BPF_CLASS(insn->code);
	bool jumps = (class == BPF_JMP || class == BPF_JMP32) && BPF_OP(insn->code) != BPF_CALL;
	size_t following = at + 1 + (class == BPF_LD);

	if (insn->code == (BPF_JMP | BPF_EXIT))
		return NULL;
	if (jumps && (insn->off < 0 || at + 1 + (size_t)insn->off >= end))
		return arena_printf(arena, "jump at %zu leads out of its function or back", at);
	if (insn->code == (BPF_JMP | BPF_JA) && insn->off == 0)
		return arena_printf(arena, "jump at %zu leads nowhere", at);
	if (jumps)
		reached[at + 1 + (size_t)insn->off] = true;
	if (insn->code == (BPF_JMP | BPF_JA))
		return NULL;
	if (following >= end)
		return arena_printf(arena, "the function falls off its end at %zu", at);
	reached[following] = true;
	return NULL;
}

static const char *check_function(struct arena *arena, const struct code *code, bool *reached,
				  const struct code_function *function)
{
	size_t end = (size_t)function->first + function->count;
	const char *wrong = NULL;

	reached[function->first] = true;
	for (size_t i = function->first; i < end && !wrong; i++) {
		bool wide = BPF_CLASS(code->insns[i].code) == BPF_LD;

		if (!reached[i])
			return arena_printf(arena, "instruction %zu is never reached", i);
		wrong = follow(arena, code, reached, i, end);
		i += wide;
		if (wide && reached[i])
			return arena_printf(arena, "jump into the wide instruction before %zu", i);
	}
	return wrong;
}

const char *ebpf_sim_check(struct arena *arena, const struct code *code)
{
	bool *reached = ARENA_ARRAY(arena, bool, code->insn_count + 1);
	size_t next = 0;
	const char *wrong = NULL;

	for (size_t i = 0; i < code->function_count && !wrong; i++) {
		if (code->functions[i].first != next)
			return arena_printf(arena, "function %zu does not begin where the last one ended", i);
		next += code->functions[i].count;
		wrong = check_function(arena, code, reached, &code->functions[i]);
	}
	return wrong ? wrong : next == code->insn_count ? NULL : "instructions behind the last function";
}
