/* SPDX-License-Identifier: GPL-2.0-only */
/* Classic BPF as text, in the words of `tcpdump -d`; loads relative to the network header as `net+N`. */
#include <stdio.h>
#include <string.h>

#include "emit/cbpf.h"

static const char *const jumps[] = { "jmp", "jeq", "jgt", "jge", "jset" };
static const char *const operations[] = { "add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor" };
static const char *const sizes[] = { "", "h", "b" };

struct words {
	char name[8];
	char operand[64];
};

static const char *ancillary_name(uint32_t k)
{
	switch (k - (uint32_t)SKF_AD_OFF) {
	case SKF_AD_PROTOCOL:
		return "proto";
	case SKF_AD_IFINDEX:
		return "ifidx";
	case SKF_AD_MARK:
		return "mark";
	default:
		return "?";
	}
}

static void print_load(const struct sock_filter *insn, struct words *words)
{
	bool packet = BPF_MODE(insn->code) == BPF_IND || BPF_MODE(insn->code) == BPF_ABS;
	const char *width = packet ? sizes[BPF_SIZE(insn->code) >> 3] : "";
	const char *base = BPF_CLASS(insn->code) == BPF_LDX ? "ldx" : "ld";
	uint32_t net = insn->k - (uint32_t)NET;

	snprintf(words->name, sizeof words->name, "%s%s", base, width);
	switch (BPF_MODE(insn->code)) {
	case BPF_IMM:
		snprintf(words->operand, sizeof words->operand, "#%#x", insn->k);
		return;
	case BPF_ABS:
		if (insn->k >= (uint32_t)SKF_AD_OFF)
			snprintf(words->operand, sizeof words->operand, "%s", ancillary_name(insn->k));
		else
			snprintf(words->operand, sizeof words->operand, "[net+%u]", net);
		return;
	case BPF_IND:
		snprintf(words->operand, sizeof words->operand, "[x+net+%u]", net);
		return;
	case BPF_MEM:
		snprintf(words->operand, sizeof words->operand, "M[%u]", insn->k);
		return;
	case BPF_LEN:
		snprintf(words->operand, sizeof words->operand, "#pktlen");
		return;
	default:
		snprintf(words->name, sizeof words->name, "ldxb");
		snprintf(words->operand, sizeof words->operand, "4*([net+%u]&0xf)", net);
	}
}

static void print_jump(const struct sock_filter *insn, unsigned at, struct words *words)
{
	snprintf(words->name, sizeof words->name, "%s", jumps[BPF_OP(insn->code) >> 4]);
	if (BPF_OP(insn->code) == BPF_JA)
		snprintf(words->operand, sizeof words->operand, "%u", at + 1 + insn->k);
	else
		snprintf(words->operand, sizeof words->operand, "#%#-14x jt %u\tjf %u", insn->k, at + 1 + insn->jt,
			 at + 1 + insn->jf);
}

static void print_insn(const struct sock_filter *insn, unsigned at, struct words *words)
{
	switch (BPF_CLASS(insn->code)) {
	case BPF_LD:
	case BPF_LDX:
		print_load(insn, words);
		return;
	case BPF_ST:
	case BPF_STX:
		snprintf(words->name, sizeof words->name, BPF_CLASS(insn->code) == BPF_ST ? "st" : "stx");
		snprintf(words->operand, sizeof words->operand, "M[%u]", insn->k);
		return;
	case BPF_JMP:
		print_jump(insn, at, words);
		return;
	case BPF_ALU:
		snprintf(words->name, sizeof words->name, "%s", operations[BPF_OP(insn->code) >> 4]);
		snprintf(words->operand, sizeof words->operand, BPF_SRC(insn->code) == BPF_X ? "x" : "#%#x", insn->k);
		return;
	default:
		snprintf(words->name, sizeof words->name, "ret");
		snprintf(words->operand, sizeof words->operand, "#%u", insn->k);
	}
}

char *cbpf_print(struct arena *arena, const struct cbpf_program *program)
{
	enum { LINE = 96 };
	char *text = arena_alloc(arena, (size_t)program->insn_count * LINE + 1);
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < program->insn_count; i++) {
		struct words words;

		print_insn(&program->insns[i], i, &words);
		used += (size_t)snprintf(text + used, LINE, "(%03u) %-8s %s\n", i, words.name, words.operand);
	}
	return text;
}
