/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Emitted code as text, for `weir compile --emit bpf`. Knows the instructions that the emitter uses; shows others
 * as numbers. Jumps have labels; loads name the field, answers the verdict and the rule.
 */
#include <stdio.h>

#include "emit/bytes.h"
#include "emit/emit.h"
#include "packet/packet.h"

struct listing {
	struct arena *arena;
	const struct plan *plan;
	const struct code *code;
	struct bytes out;
	uint32_t *labels; /* for each instruction: its label's number, 0: nothing jumps here */
};

enum { LINE_BYTES = 128, COMMENT_COLUMN = 40 };

static bool is_jump(uint8_t code)
{
	unsigned class = BPF_CLASS(code);

	return (class == BPF_JMP || class == BPF_JMP32) && BPF_OP(code) != BPF_CALL && BPF_OP(code) != BPF_EXIT;
}

static bool is_wide(uint8_t code)
{
	return code == (BPF_LD | BPF_IMM | BPF_DW);
}

static void number_labels(struct listing *listing)
{
	const struct code *code = listing->code;
	uint32_t count = 0;

	listing->labels = ARENA_ARRAY(listing->arena, uint32_t, code->insn_count + 1);
	for (size_t i = 0; i < code->insn_count; i++)
		if (is_jump(code->insns[i].code))
			listing->labels[i + 1 + (size_t)code->insns[i].off] = 1;
	for (size_t i = 0; i < code->insn_count; i++)
		if (listing->labels[i])
			listing->labels[i] = ++count;
}

/* --- operands -------------------------------------------------------------------------------- */

static const char *const size_names[] = { [BPF_W >> 3] = "u32", [BPF_H >> 3] = "u16", [BPF_B >> 3] = "u8",
					  [BPF_DW >> 3] = "u64" };
static const uint8_t size_bytes[] = { [BPF_W >> 3] = 4, [BPF_H >> 3] = 2, [BPF_B >> 3] = 1, [BPF_DW >> 3] = 8 };

static const char *jump_name(uint8_t code)
{
	static const char *const names[16] = {
		[BPF_JEQ >> 4] = "==", [BPF_JNE >> 4] = "!=", [BPF_JGT >> 4] = ">", [BPF_JGE >> 4] = ">=",
		[BPF_JLT >> 4] = "<", [BPF_JLE >> 4] = "<=", [BPF_JSGE >> 4] = "s>=",
	};
	const char *name = names[BPF_OP(code) >> 4];

	return name ? name : "?";
}

static const char *alu_name(uint8_t code)
{
	static const char *const names[16] = {
		[BPF_MOV >> 4] = "=", [BPF_ADD >> 4] = "+=", [BPF_AND >> 4] = "&=",
	};
	const char *name = names[BPF_OP(code) >> 4];

	return name ? name : "?=";
}

/* "r0 + 8" or "r10 - 8". */
static const char *address(struct listing *listing, unsigned reg, int offset)
{
	return arena_printf(listing->arena, "r%u %c %d", reg, offset < 0 ? '-' : '+', offset < 0 ? -offset : offset);
}

static const char *source_operand(struct listing *listing, const struct bpf_insn *insn, char prefix)
{
	if (BPF_SRC(insn->code) == BPF_X)
		return arena_printf(listing->arena, "%c%u", prefix, insn->src_reg);
	if (prefix == 'w')
		return arena_printf(listing->arena, "%u", (uint32_t)insn->imm);
	return arena_printf(listing->arena, "%d", insn->imm);
}

/* --- instructions ------------------------------------------------------------------------------ */

static const char *print_load_store(struct listing *listing, const struct bpf_insn *insn)
{
	const char *size = size_names[BPF_SIZE(insn->code) >> 3];

	switch (BPF_CLASS(insn->code)) {
	case BPF_LDX:
		return arena_printf(listing->arena, "r%u = *(%s *)(%s)", insn->dst_reg, size,
				    address(listing, insn->src_reg, insn->off));
	case BPF_STX:
		return arena_printf(listing->arena, "*(%s *)(%s) = r%u", size,
				    address(listing, insn->dst_reg, insn->off), insn->src_reg);
	default:
		return arena_printf(listing->arena, "*(%s *)(%s) = %d", size,
				    address(listing, insn->dst_reg, insn->off), insn->imm);
	}
}

static const char *print_alu(struct listing *listing, const struct bpf_insn *insn)
{
	char prefix = BPF_CLASS(insn->code) == BPF_ALU64 ? 'r' : 'w';

	if (BPF_OP(insn->code) == BPF_END)
		return arena_printf(listing->arena, "r%u = be%d r%u", insn->dst_reg, insn->imm, insn->dst_reg);
	return arena_printf(listing->arena, "%c%u %s %s", prefix, insn->dst_reg, alu_name(insn->code),
			    source_operand(listing, insn, prefix));
}

static const char *print_call(struct listing *listing, size_t at)
{
	const struct code *code = listing->code;

	for (size_t i = 0; i < code->call_count; i++)
		if (code->calls[i].insn == at)
			return arena_printf(listing->arena, "call %s",
					    code->calls[i].function == CALL_LIVES ?
					    "element_lives" : code->functions[code->calls[i].function].name);
	if (code->insns[at].imm == BPF_FUNC_map_lookup_elem)
		return "call map_lookup_elem";
	return arena_printf(listing->arena, "call %d", code->insns[at].imm);
}

static const char *print_jump(struct listing *listing, size_t at)
{
	const struct bpf_insn *insn = &listing->code->insns[at];
	char prefix = BPF_CLASS(insn->code) == BPF_JMP ? 'r' : 'w';
	uint32_t number = listing->labels[at + 1 + (size_t)insn->off];

	if (insn->code == (BPF_JMP | BPF_JA))
		return arena_printf(listing->arena, "goto L%u", number);
	return arena_printf(listing->arena, "if %c%u %s %s goto L%u", prefix, insn->dst_reg, jump_name(insn->code),
			    source_operand(listing, insn, prefix), number);
}

static const char *print_wide(struct listing *listing, size_t at)
{
	const struct code *code = listing->code;
	const struct bpf_insn *insn = &code->insns[at];

	for (size_t i = 0; i < code->map_count; i++)
		if (code->maps[i].insn == at)
			return arena_printf(listing->arena, "r%u = map %s", insn->dst_reg,
					    listing->plan->sets[code->maps[i].set].map);
	return arena_printf(listing->arena, "r%u = 0x%llx", insn->dst_reg,
			    (unsigned long long)(uint32_t)insn[1].imm << 32 | (uint32_t)insn->imm);
}

static const char *print_insn(struct listing *listing, size_t at)
{
	const struct bpf_insn *insn = &listing->code->insns[at];

	if (is_wide(insn->code))
		return print_wide(listing, at);
	if (insn->code == (BPF_JMP | BPF_EXIT))
		return "exit";
	if (insn->code == (BPF_JMP | BPF_CALL))
		return print_call(listing, at);
	if (is_jump(insn->code))
		return print_jump(listing, at);
	if (BPF_CLASS(insn->code) == BPF_ALU || BPF_CLASS(insn->code) == BPF_ALU64)
		return print_alu(listing, insn);
	return print_load_store(listing, insn);
}

/* --- comments ---------------------------------------------------------------------------------- */

/* The field at this place of the packet. */
static const char *field_at(struct listing *listing, unsigned offset, unsigned size)
{
	for (int field = 0; field < FIELD_COUNT; field++) {
		const struct field_info *info = &field_table[field];

		if (info->size == 16 && size == 8 && (offset == info->offset || offset == info->offset + 8u))
			return arena_printf(listing->arena, "%s.%s", info->name, offset == info->offset ? "hi" : "lo");
		if (info->size == size && info->offset == offset)
			return info->name;
	}
	return offset == offsetof(struct packet, resume) ? "resume" : NULL;
}

static const char *print_answer(struct listing *listing, uint32_t answer, uint32_t rule)
{
	static const char *const verdicts[] = { "accept", "drop", "reject", "?" };
	const char *who = rule ? arena_printf(listing->arena, "rule %u", rule) : "no rule";

	if (answer >> 31)
		return arena_printf(listing->arena, "goes on at block %u", answer & 0x7fffffff);
	if (answer & ANSWER_STEPS)
		return arena_printf(listing->arena, "steps from %u, %s", answer >> ANSWER_SHIFT, who);
	return arena_printf(listing->arena, "%s, slot %u, %s", verdicts[answer & 3], answer >> ANSWER_SHIFT, who);
}

static const char *comment_on(struct listing *listing, size_t at)
{
	const struct code *code = listing->code;
	const struct bpf_insn *insn = &code->insns[at];

	if (BPF_CLASS(insn->code) == BPF_LDX)
		return field_at(listing, (unsigned)insn->off, size_bytes[BPF_SIZE(insn->code) >> 3]);
	if (insn->code == (BPF_ALU | BPF_MOV | BPF_K) && insn->dst_reg == BPF_REG_0)
		return print_answer(listing, (uint32_t)insn->imm, code->rules[at]);
	return NULL;
}

/* --- lines ------------------------------------------------------------------------------------- */

static void add_line(struct listing *listing, size_t at)
{
	const char *text = print_insn(listing, at);
	const char *comment = comment_on(listing, at);
	char line[LINE_BYTES];
	int length;

	if (listing->labels[at]) {
		length = snprintf(line, sizeof line, "L%u:\n", listing->labels[at]);
		bytes_add(&listing->out, line, (size_t)length);
	}
	length = snprintf(line, sizeof line, "%7zu  %-*s%s%s\n", at, comment ? COMMENT_COLUMN : 0, text,
			  comment ? " ; " : "", comment ? comment : "");
	bytes_add(&listing->out, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

char *emit_disassemble(struct arena *arena, const struct plan *plan, const struct code *code)
{
	struct listing listing = { .arena = arena, .plan = plan, .code = code, .out.arena = arena };

	number_labels(&listing);
	for (size_t f = 0; f < code->function_count; f++) {
		const struct code_function *function = &code->functions[f];
		uint32_t end = function->first + function->count;

		bytes_add(&listing.out, function->name, strlen(function->name));
		bytes_add(&listing.out, ":\n", 2);
		for (uint32_t i = function->first; i < end; i += 1 + is_wide(code->insns[i].code))
			add_line(&listing, i);
	}
	bytes_add(&listing.out, "", 1);
	return (char *)listing.out.data;
}
