/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instruction buffer: eBPF with labels. All jumps go forward to a label that is bound later; the functions below
 * choose encodings and patch offsets. Arena memory; nothing fails, but a jump that turns out too long sets
 * `overflow`.
 *
 * Labels are numbers: first one for each of the plan's answers, then one for each block (a node of the diagram, an
 * item of the list), then local ones. A label may be bound again once nothing waits for it.
 *
 * Registers: R0 the value looked at and the answer; R1 the packet where no helper is called, else R6; R2 to R5
 * scratch.
 */
#ifndef WEIR_EMIT_BUFFER_H
#define WEIR_EMIT_BUFFER_H

#include "emit/emit.h"

typedef uint32_t label;
#define NO_LABEL UINT32_MAX

struct fixup {
	uint32_t insn;
	uint32_t next; /* index + 1 of the next fixup of the same label; 0: none */
};

struct label_state {
	uint32_t waiting; /* index + 1 of its first fixup; 0: nothing jumps here yet */
	bool listed;      /* in `touched` */
};

struct buffer {
	struct arena *arena;
	VEC(struct bpf_insn) insns;
	VEC(uint32_t) rules;
	VEC(struct label_state) labels;
	VEC(struct fixup) fixups;
	VEC(label) touched; /* answers and blocks that something in this function jumps to */
	VEC(struct map_use) maps;
	VEC(struct call_use) calls;
	VEC(struct code_function) functions;
	const uint32_t *answers;
	const uint32_t *answer_rules;
	const uint32_t *answer_uses; /* how many edges or items lead to each */
	uint32_t answer_count;
	uint32_t block_count;
	uint32_t open_answers, open_blocks; /* that some jump waits for */
	size_t joined;   /* where jumps were last bound, + 1 */
	uint32_t recent; /* index + 1 of the first fixup of those jumps, which go on in `next` */
	uint32_t rule;   /* what the next instructions decide for; see struct code */
	uint8_t base;    /* register that points to the packet */
	const uint32_t *lookups; /* for each dimension: its function, as in struct call_use; 0: looked up in place */
	bool overflow;
};

struct buffer *buffer_new(struct arena *arena, const struct plan *plan, uint32_t block_count);

static inline label answer_label(uint32_t answer)
{
	return answer;
}

static inline label block_label(const struct buffer *buffer, uint32_t block)
{
	return buffer->answer_count + block;
}

label label_new(struct buffer *buffer);
/* The next instruction is where the label is. */
void label_bind(struct buffer *buffer, label here);
/* Whether code put here would ever run, were the label bound here. The verifier refuses what never runs. */
bool label_reached(const struct buffer *buffer, label here);

void emit_insn(struct buffer *buffer, uint8_t code, uint8_t dst, uint8_t src, int16_t offset, int32_t imm);
void emit_wide(struct buffer *buffer, uint8_t dst, uint8_t src, uint64_t imm); /* ld_imm64 */

/* Conditional jump on R0: `operation` BPF_JEQ etc.; compares 64 bits if `wide`, else 32. Clobbers R2 if wide. */
void emit_compare(struct buffer *buffer, uint8_t operation, bool wide, uint64_t value, label to);
/* Jump that leaves the conditions to the caller: `code` in full. */
void emit_jump(struct buffer *buffer, uint8_t code, uint8_t dst, int32_t imm, label to);

/* Answers. */
void emit_answer(struct buffer *buffer, uint32_t answer);
/* Goes to the label, unless it is `next`, which is bound right after; an answer is given in place. */
void emit_goto(struct buffer *buffer, label to, label next);

/* An edge of a comparison: for values after the previous edge's `last`. */
struct edge {
	uint64_t last;
	label to;
};

/*
 * Goes to the edge of the value in R0, all of whose values are at least `first`. What is greater than the last
 * edge's `last` takes that edge. `next`: the label that is bound right after, or NO_LABEL.
 */
void emit_search(struct buffer *buffer, bool wide, uint64_t first, const struct edge *edges, size_t count,
		 label next);

/* Loads a DIM_VALUE into R0 and masks it. */
void emit_load(struct buffer *buffer, const struct dim *dim);
bool dim_is_wide(const struct dim *dim);

/* Calls a function of the code; its number as in struct call_use. The arguments are already in place. */
void emit_call(struct buffer *buffer, uint32_t function);

/* R0 = the element of the DIM_SET's map, or 0. Uses 24 bytes of stack, clobbers R1 to R5. */
void emit_find(struct buffer *buffer, const struct plan *plan, const struct dim *dim);

/* Whether the element in R0 lives, as an int in R0, where the set has timeouts. Clobbers R1 to R5. */
void emit_lives(struct buffer *buffer, const struct plan *plan, const struct dim *dim);

/* Looks a DIM_SET up, in place or by its function, and goes to one of two labels. */
void emit_lookup(struct buffer *buffer, const struct plan *plan, const struct dim *dim, label absent, label present,
		label next);

#endif
