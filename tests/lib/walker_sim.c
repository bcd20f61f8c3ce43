/* SPDX-License-Identifier: GPL-2.0-only */
#include "tests/lib/walker_sim.h"

#include <elf.h>
#include <string.h>

enum { STACK_BYTES = 512, FRAMES_MAX = 5, STEPS_MAX = 1000000 };

/* Kinds of memory, in the upper half of addresses. */
enum { AT_PACKET = 0x11, AT_BLOB = 0x22, AT_CONFIG = 0x33, AT_EPOCH = 0x44, AT_MAP = 0x55, AT_STACK = 0x66 };
#define ADDRESS(kind) ((uint64_t)(kind) << 40)

struct elf_view {
	const char *data;
	const Elf64_Ehdr *header;
	const Elf64_Shdr *sections;
	const Elf64_Shdr *text, *symbols, *relocations;
};

struct machine {
	struct walker_sim *sim;
	struct elf_view elf;
	const struct bpf_insn *code;
	size_t count;
	struct packet packet;
	unsigned depth, steps;
};

struct frame {
	uint64_t regs[11];
	unsigned known; /* bit n: register n was written */
	unsigned char stack[STACK_BYTES], written[STACK_BYTES];
};

static bool open_elf(const void *object, size_t size, struct elf_view *elf)
{
	const char *data = object;

	memset(elf, 0, sizeof *elf);
	if (size < sizeof(Elf64_Ehdr))
		return false;
	elf->data = data;
	elf->header = object;
	elf->sections = (const void *)(data + elf->header->e_shoff);
	for (unsigned i = 1; i < elf->header->e_shnum; i++) {
		const Elf64_Shdr *section = &elf->sections[i];

		if (section->sh_flags & SHF_EXECINSTR && section->sh_size)
			elf->text = section;
		if (section->sh_type == SHT_SYMTAB)
			elf->symbols = section;
		if (section->sh_type == SHT_REL && elf->sections[section->sh_info].sh_flags & SHF_EXECINSTR)
			elf->relocations = section;
	}
	return elf->text && elf->symbols && elf->relocations;
}

struct bpf_insn *walker_sim_code(void *object, size_t size, size_t *ret_count)
{
	struct elf_view elf;

	if (!open_elf(object, size, &elf))
		return NULL;
	*ret_count = elf.text->sh_size / sizeof(struct bpf_insn);
	return (void *)((char *)object + elf.text->sh_offset);
}

static const char *symbol_name(const struct elf_view *elf, const Elf64_Sym *symbol)
{
	return elf->data + elf->sections[elf->symbols->sh_link].sh_offset + symbol->st_name;
}

/* The symbol that the instruction refers to, or NULL. */
static const Elf64_Sym *symbol_at(const struct elf_view *elf, size_t at)
{
	const Elf64_Rel *relocations = (const void *)(elf->data + elf->relocations->sh_offset);
	const Elf64_Sym *symbols = (const void *)(elf->data + elf->symbols->sh_offset);

	for (size_t i = 0; i < elf->relocations->sh_size / sizeof *relocations; i++)
		if (relocations[i].r_offset == at * sizeof(struct bpf_insn))
			return &symbols[ELF64_R_SYM(relocations[i].r_info)];
	return NULL;
}

static bool fail(struct machine *machine, const char *error)
{
	if (!machine->sim->error)
		machine->sim->error = error;
	return false;
}

static unsigned size_of(uint8_t code)
{
	static const uint8_t sizes[] = { [BPF_W >> 3] = 4, [BPF_H >> 3] = 2, [BPF_B >> 3] = 1, [BPF_DW >> 3] = 8 };

	return sizes[BPF_SIZE(code) >> 3];
}

/* What is there; NULL: nothing, or nothing that may be written to. */
static unsigned char *memory(struct machine *machine, struct frame *frame, uint64_t address, unsigned size, bool write)
{
	static uint64_t epoch;
	struct walker_sim *sim = machine->sim;
	uint64_t offset = address & (ADDRESS(1) - 1);
	size_t length;
	const void *there;

	switch (address >> 40) {
	case AT_PACKET:
		there = &machine->packet;
		length = sizeof machine->packet;
		break;
	case AT_BLOB:
		there = sim->words;
		length = sim->count * 8 + TABLE_SLACK;
		break;
	case AT_CONFIG:
		there = sim->config;
		length = sizeof *sim->config;
		break;
	case AT_EPOCH:
		there = &epoch;
		length = sizeof epoch;
		break;
	case AT_STACK:
		there = frame->stack;
		length = sizeof frame->stack;
		break;
	default:
		return NULL;
	}
	if (offset > length || size > length - offset || offset % size ||
	    (write && address >> 40 != AT_PACKET && address >> 40 != AT_STACK))
		return NULL;
	return (unsigned char *)there + offset;
}

static bool run_memory(struct machine *machine, struct frame *frame, const struct bpf_insn *insn)
{
	unsigned class = BPF_CLASS(insn->code), size = size_of(insn->code);
	unsigned base = class == BPF_LDX ? insn->src_reg : insn->dst_reg;
	uint64_t address = frame->regs[base] + (uint64_t)(int64_t)insn->off, value = 0;
	unsigned char *there;

	if (BPF_MODE(insn->code) != BPF_MEM || !(frame->known >> base & 1) ||
	    (class == BPF_STX && !(frame->known >> insn->src_reg & 1)))
		return fail(machine, "bad memory access");
	there = memory(machine, frame, address, size, class != BPF_LDX);
	if (!there)
		return fail(machine, "bad address");
	if (class != BPF_LDX) {
		value = class == BPF_STX ? frame->regs[insn->src_reg] : (uint64_t)(int64_t)insn->imm;
		memcpy(there, &value, size); /* little-endian */
		if (address >> 40 == AT_STACK)
			memset(frame->written + (there - frame->stack), 1, size);
		return true;
	}
	if (address >> 40 == AT_STACK && memchr(frame->written + (there - frame->stack), 0, size))
		return fail(machine, "reads of the stack what was never written");
	memcpy(&value, there, size);
	frame->regs[insn->dst_reg] = value;
	frame->known |= 1u << insn->dst_reg;
	return insn->dst_reg < 10 || fail(machine, "writes the frame pointer");
}

static bool run_alu(struct machine *machine, struct frame *frame, const struct bpf_insn *insn)
{
	bool wide = BPF_CLASS(insn->code) == BPF_ALU64, by_register = BPF_SRC(insn->code) == BPF_X;
	uint64_t a = frame->regs[insn->dst_reg], b = by_register ? frame->regs[insn->src_reg] : (uint64_t)(int64_t)insn->imm;
	unsigned by = b & (wide ? 63 : 31);

	if ((by_register && !(frame->known >> insn->src_reg & 1)) ||
	    (BPF_OP(insn->code) != BPF_MOV && !(frame->known >> insn->dst_reg & 1)) || insn->dst_reg >= 10 || insn->off)
		return fail(machine, "bad arithmetic");
	switch (BPF_OP(insn->code)) {
	case BPF_MOV: a = b; break;
	case BPF_ADD: a += b; break;
	case BPF_SUB: a -= b; break;
	case BPF_MUL: a *= b; break;
	case BPF_AND: a &= b; break;
	case BPF_OR: a |= b; break;
	case BPF_XOR: a ^= b; break;
	case BPF_NEG: a = -a; break;
	case BPF_LSH: a <<= by; break;
	case BPF_RSH: a = (wide ? a : (uint32_t)a) >> by; break;
	case BPF_ARSH: a = wide ? (uint64_t)((int64_t)a >> by) : (uint64_t)((int32_t)a >> by); break;
	default: return fail(machine, "unknown arithmetic");
	}
	frame->regs[insn->dst_reg] = wide ? a : (uint32_t)a;
	frame->known |= 1u << insn->dst_reg;
	return true;
}

static bool run_branch(struct machine *machine, const struct frame *frame, const struct bpf_insn *insn, bool *taken)
{
	bool half = BPF_CLASS(insn->code) == BPF_JMP32, by_register = BPF_SRC(insn->code) == BPF_X;
	uint64_t a = frame->regs[insn->dst_reg], b = by_register ? frame->regs[insn->src_reg] : (uint64_t)(int64_t)insn->imm;
	int64_t x = half ? (int32_t)a : (int64_t)a, y = half ? (int32_t)b : (int64_t)b;

	if (!(frame->known >> insn->dst_reg & 1) || (by_register && !(frame->known >> insn->src_reg & 1)))
		return fail(machine, "bad comparison");
	a = half ? (uint32_t)a : a;
	b = half ? (uint32_t)b : b;
	switch (BPF_OP(insn->code)) {
	case BPF_JEQ: *taken = a == b; break;
	case BPF_JNE: *taken = a != b; break;
	case BPF_JGT: *taken = a > b; break;
	case BPF_JGE: *taken = a >= b; break;
	case BPF_JLT: *taken = a < b; break;
	case BPF_JLE: *taken = a <= b; break;
	case BPF_JSET: *taken = a & b; break;
	case BPF_JSGT: *taken = x > y; break;
	case BPF_JSGE: *taken = x >= y; break;
	case BPF_JSLT: *taken = x < y; break;
	case BPF_JSLE: *taken = x <= y; break;
	default: return fail(machine, "unknown jump");
	}
	return true;
}

static bool run_function(struct machine *machine, size_t at, const uint64_t *arguments, uint64_t *ret_r0);

static bool run_call(struct machine *machine, struct frame *frame, const struct bpf_insn *insn, size_t at)
{
	const Elf64_Sym *symbol = symbol_at(&machine->elf, at);
	const char *name = symbol ? symbol_name(&machine->elf, symbol) : "";
	struct walker_sim *sim = machine->sim;

	frame->known = (frame->known | 1) & ~0x3eu;
	if (insn->src_reg == 0) {
		frame->regs[0] = ADDRESS(AT_BLOB);
		return (insn->imm == BPF_FUNC_map_lookup_elem && frame->regs[1] == ADDRESS(AT_MAP) &&
			frame->regs[2] == ADDRESS(AT_CONFIG) + offsetof(struct table_config, zero)) ||
		       fail(machine, "unknown lookup");
	}
	if (!strcmp(name, "classify_rest")) {
		frame->regs[0] = sim->rest(sim->context, &machine->packet);
		return frame->regs[1] == ADDRESS(AT_PACKET) || fail(machine, "no packet");
	}
	if (!symbol || symbol->st_shndx == SHN_UNDEF)
		return fail(machine, "unknown function");
	return run_function(machine, symbol->st_value / sizeof *insn, frame->regs, &frame->regs[0]);
}

static bool run_wide(struct machine *machine, struct frame *frame, const struct bpf_insn *insn, size_t at)
{
	const Elf64_Sym *symbol = symbol_at(&machine->elf, at);
	const char *name = symbol ? symbol_name(&machine->elf, symbol) : "";
	unsigned kind = !strcmp(name, "table") ? AT_MAP : !strcmp(name, "table_config") ? AT_CONFIG :
			!strcmp(name, "epoch") ? AT_EPOCH : 0;

	frame->regs[insn->dst_reg] = symbol ? ADDRESS(kind) + (uint32_t)insn->imm :
					      ((uint64_t)(uint32_t)insn[1].imm << 32 | (uint32_t)insn->imm);
	frame->known |= 1u << insn->dst_reg;
	return insn->dst_reg < 10 || fail(machine, "writes the frame pointer");
}

static bool run_one(struct machine *machine, struct frame *frame, size_t *at)
{
	const struct bpf_insn *insn = &machine->code[*at];
	bool taken = false;

	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		++*at;
		return run_alu(machine, frame, insn);
	case BPF_LD:
		*at += 2;
		return run_wide(machine, frame, insn, *at - 2);
	case BPF_LDX:
	case BPF_ST:
	case BPF_STX:
		++*at;
		return run_memory(machine, frame, insn);
	}
	if (insn->code == (BPF_JMP | BPF_CALL))
		return run_call(machine, frame, insn, (*at)++);
	if (insn->code == (BPF_JMP | BPF_JA))
		taken = true;
	else if (insn->code != 0xe5 && !run_branch(machine, frame, insn, &taken)) /* may_goto does not go */
		return false;
	*at += 1 + (taken ? (size_t)(long)insn->off : 0);
	return true;
}

static bool run_function(struct machine *machine, size_t at, const uint64_t *arguments, uint64_t *ret_r0)
{
	struct frame frame = { .known = 1u << 10 | 0xe };

	memcpy(&frame.regs[1], arguments + 1, 3 * sizeof *arguments);
	frame.regs[10] = ADDRESS(AT_STACK) + STACK_BYTES;
	if (++machine->depth > FRAMES_MAX)
		return fail(machine, "calls too deep");
	while (at < machine->count && machine->code[at].code != (BPF_JMP | BPF_EXIT)) {
		if (++machine->steps > STEPS_MAX)
			return fail(machine, "runs for ever");
		if (machine->sim->reached)
			machine->sim->reached[at] = true;
		if (!run_one(machine, &frame, &at))
			return false;
	}
	machine->depth--;
	*ret_r0 = frame.regs[0];
	return (at < machine->count && frame.known & 1) || fail(machine, "no answer");
}

bool walker_sim_run(struct walker_sim *sim, const struct packet *packet, uint32_t *ret_answer)
{
	struct machine machine = { .sim = sim, .packet = *packet };
	const uint64_t arguments[4] = { [1] = ADDRESS(AT_PACKET) };
	const Elf64_Sym *symbols;
	uint64_t result;

	sim->error = NULL;
	if (!open_elf(sim->object, sim->object_size, &machine.elf))
		return fail(&machine, "no such object");
	machine.code = (const void *)(machine.elf.data + machine.elf.text->sh_offset);
	machine.count = machine.elf.text->sh_size / sizeof *machine.code;
	symbols = (const void *)(machine.elf.data + machine.elf.symbols->sh_offset);
	for (size_t i = 0; i < machine.elf.symbols->sh_size / sizeof *symbols; i++) {
		if (strcmp(symbol_name(&machine.elf, &symbols[i]), "classify"))
			continue;
		if (!run_function(&machine, symbols[i].st_value / sizeof *machine.code, arguments, &result))
			return false;
		*ret_answer = (uint32_t)result;
		return true;
	}
	return fail(&machine, "no function that classifies");
}
