/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instructions from bytes, after the instruction set's document (Linux, Documentation/bpf/standardization). In: the
 * text of an image; out: its instructions. What is not known, or has something in a field that must be 0, is INSN_ODD.
 */
#include <string.h>

#include "prove/work.h"

/* Bytes of an instruction. */
struct raw {
	uint8_t code;
	uint8_t registers; /* little-endian hosts: destination in the low half */
	int16_t offset;
	int32_t number;
};

enum class { CLASS_LD, CLASS_LDX, CLASS_ST, CLASS_STX, CLASS_ALU, CLASS_JMP, CLASS_JMP32, CLASS_ALU64 };
enum { MODE_IMM = 0x00, MODE_MEM = 0x60, SIZE_DOUBLE = 0x18, FROM_REGISTER = 0x08 };
enum { MAP_BY_RELOCATION = 0, CALL_LOCAL = 1 };
enum { JUMP_ALWAYS = 0x0, JUMP_CALL = 0x8, JUMP_EXIT = 0x9, MAY_GOTO = 0xe5, NEGATE = 0x8 };

/* By the operation's four bits, in both jump classes. */
static const struct {
	bool known;
	enum compare compare;
} compares[16] = {
	[0x1] = { true, COMPARE_EQ },  [0x2] = { true, COMPARE_GT },  [0x3] = { true, COMPARE_GE },
	[0x4] = { true, COMPARE_SET }, [0x5] = { true, COMPARE_NE },  [0x6] = { true, COMPARE_SGT },
	[0x7] = { true, COMPARE_SGE }, [0xa] = { true, COMPARE_LT },  [0xb] = { true, COMPARE_LE },
	[0xc] = { true, COMPARE_SLT }, [0xd] = { true, COMPARE_SLE },
};

static const uint8_t sizes[4] = { 4, 2, 1, 8 }; /* by bits 3 and 4 of the code */

static struct raw raw_at(const struct image *image, size_t at)
{
	const unsigned char *bytes = image->text + at * 8;
	struct raw raw = { .code = bytes[0], .registers = bytes[1] };

	memcpy(&raw.offset, bytes + 2, sizeof raw.offset);
	memcpy(&raw.number, bytes + 4, sizeof raw.number);
	return raw;
}

static uint64_t sign_extended(int32_t number)
{
	return (uint64_t)(int64_t)number;
}

static void decode_arithmetic(const struct raw *raw, struct insn *insn)
{
	static const uint8_t kinds[16] = { [0x0] = INSN_ADD, [0x1] = INSN_SUB, [0x2] = INSN_MULTIPLY, [0x4] = INSN_OR, [0x5] = INSN_AND,
					   [0x6] = INSN_LEFT, [0x7] = INSN_RIGHT, [NEGATE] = INSN_NEGATE,
					   [0xa] = INSN_XOR, [0xb] = INSN_MOVE, [0xc] = INSN_RIGHT_SIGNED };
	uint8_t operation = raw->code >> 4;

	insn->wide = (raw->code & 7) == CLASS_ALU64;
	insn->by_register = raw->code & FROM_REGISTER;
	insn->number = sign_extended(raw->number);
	if (!insn->wide)
		insn->number = (uint32_t)insn->number;
	if (operation == 0xd) { /* to little or (by bit 3) big endian */
		if (insn->wide || insn->src || raw->offset ||
		    (raw->number != 16 && raw->number != 32 && raw->number != 64))
			return;
		insn->size = (uint8_t)(raw->number / 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		insn->kind = insn->by_register ? INSN_REVERSE : INSN_CUT;
#else
		insn->kind = insn->by_register ? INSN_CUT : INSN_REVERSE;
#endif
		return;
	}
	if (raw->offset || (insn->by_register ? raw->number != 0 : insn->src != 0) ||
	    (operation == NEGATE && (insn->by_register || raw->number)))
		return;
	insn->kind = kinds[operation];
}

static void decode_jump(const struct raw *raw, const struct image_use *use, struct insn *insn)
{
	uint8_t operation = raw->code >> 4;

	insn->wide = (raw->code & 7) == CLASS_JMP;
	insn->by_register = raw->code & FROM_REGISTER;
	insn->number = sign_extended(raw->number);
	insn->offset = raw->offset;
	if (compares[operation].known) {
		insn->compare = (uint8_t)compares[operation].compare;
		if (insn->by_register ? raw->number == 0 : insn->src == 0)
			insn->kind = INSN_BRANCH;
		return;
	}
	if (raw->code == MAY_GOTO && !insn->dst && !insn->src && !raw->number)
		insn->kind = INSN_MAY_GOTO;
	if (!insn->wide || insn->by_register || insn->dst)
		return;
	if (operation == JUMP_ALWAYS && !insn->src && !raw->number)
		insn->kind = INSN_GOTO;
	if (raw->offset)
		return;
	if (operation == JUMP_EXIT && !insn->src && !raw->number)
		insn->kind = INSN_EXIT;
	if (operation == JUMP_CALL && !insn->src)
		insn->kind = INSN_HELPER;
	/* -1 from the symbol: where the function begins. */
	if (operation == JUMP_CALL && insn->src == CALL_LOCAL && use->lives && raw->number == -1)
		insn->kind = INSN_LIVES;
	if (operation == JUMP_CALL && insn->src == CALL_LOCAL && use->rest && raw->number == -1)
		insn->kind = INSN_REST;
	if (operation == JUMP_CALL && insn->src == CALL_LOCAL && use->call && raw->number == -1) {
		insn->kind = INSN_CALL;
		insn->number = use->call - 1;
	}
}

static void decode_memory(const struct raw *raw, struct insn *insn)
{
	uint8_t class = raw->code & 7;

	if ((raw->code & 0xe0) != MODE_MEM)
		return;
	insn->size = sizes[raw->code >> 3 & 3];
	insn->offset = raw->offset;
	insn->number = sign_extended(raw->number);
	insn->by_register = class == CLASS_STX;
	if (class == CLASS_ST ? insn->src != 0 : raw->number != 0)
		return;
	insn->kind = class == CLASS_LDX ? INSN_LOAD : INSN_STORE;
}

/* A number of 64 bits, or a map's address; returns true if it takes two places. */
static bool decode_wide(const struct image *image, size_t at, const struct raw *raw, const struct image_use *use,
			struct insn *insn)
{
	struct raw second;

	if (raw->code != (CLASS_LD | MODE_IMM | SIZE_DOUBLE) || at + 1 >= image->insn_count || raw->offset)
		return false;
	second = raw_at(image, at + 1);
	if (second.code || second.registers || second.offset || insn->src != MAP_BY_RELOCATION)
		return false;
	insn->wide = true;
	insn->number = (uint64_t)(uint32_t)second.number << 32 | (uint32_t)raw->number;
	insn->kind = INSN_MOVE;
	if (use->map && insn->number == 0) {
		insn->kind = INSN_MAP;
		insn->number = use->map - 1;
	} else if (use->place && insn->number == 0) {
		insn->kind = INSN_PLACE;
		insn->number = use->place;
	} else if (use->map || use->place) {
		insn->kind = INSN_ODD;
	}
	return insn->kind != INSN_ODD;
}

/* A relocation changes the instruction: it must be of a kind that is meant for it. */
static bool fits(const struct insn *insn, const struct image_use *use)
{
	return (!use->map || insn->kind == INSN_MAP) && (!use->call || insn->kind == INSN_CALL) &&
	       (!use->lives || insn->kind == INSN_LIVES) && (!use->rest || insn->kind == INSN_REST) &&
	       (!use->place || insn->kind == INSN_PLACE);
}

static bool decode(const struct image *image, size_t at, struct insn *insn)
{
	const struct raw raw = raw_at(image, at);
	const struct image_use *use = &image->uses[at];
	bool two = false;

	*insn = (struct insn){ .dst = raw.registers & 15, .src = raw.registers >> 4 };
	if (insn->dst >= REGISTERS || insn->src >= REGISTERS)
		return false;
	switch (raw.code & 7) {
	case CLASS_ALU:
	case CLASS_ALU64:
		decode_arithmetic(&raw, insn);
		break;
	case CLASS_JMP:
	case CLASS_JMP32:
		decode_jump(&raw, use, insn);
		break;
	case CLASS_LDX:
	case CLASS_ST:
	case CLASS_STX:
		decode_memory(&raw, insn);
		break;
	default:
		two = decode_wide(image, at, &raw, use, insn);
	}
	if (!fits(insn, use))
		insn->kind = INSN_ODD;
	return two;
}

struct insn *decode_all(struct arena *arena, const struct image *image)
{
	struct insn *insns = ARENA_ARRAY(arena, struct insn, image->insn_count);

	for (size_t at = 0; at < image->insn_count; at++)
		if (decode(image, at, &insns[at]))
			insns[++at].kind = INSN_SECOND;
	return insns;
}
