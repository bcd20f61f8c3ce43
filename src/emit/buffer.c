/* SPDX-License-Identifier: GPL-2.0-only */
#include "emit/buffer.h"

/* Which answers are common: a rare one is given where it is found, a common one is jumped to. */
static const uint32_t *count_uses(struct arena *arena, const struct plan *plan)
{
	uint32_t *uses = ARENA_ARRAY(arena, uint32_t, plan->answer_count);
	const struct diagram *diagram = &plan->diagram;

	for (size_t i = 0; plan->kind != PLAN_DIAGRAM && i < plan->item_count; i++)
		uses[plan->items[i].answer] += plan->items[i].answers;
	if (plan->kind != PLAN_DIAGRAM)
		return uses;
	for (size_t n = 0; n < diagram->node_count; n++)
		for (uint32_t e = 0; e < diagram->nodes[n].edge_count; e++)
			if (diagram->nodes[n].edges[e].to & DIAGRAM_LEAF)
				uses[diagram->nodes[n].edges[e].to & ~DIAGRAM_LEAF]++;
	return uses;
}

struct buffer *buffer_new(struct arena *arena, const struct plan *plan, uint32_t block_count)
{
	struct buffer *buffer = ARENA_NEW(arena, struct buffer);

	buffer->arena = arena;
	buffer->answers = plan->answers;
	buffer->answer_rules = plan->answer_rules;
	buffer->answer_uses = count_uses(arena, plan);
	buffer->answer_count = (uint32_t)plan->answer_count;
	buffer->block_count = block_count;
	buffer->base = BPF_REG_1;
	buffer->labels.capacity = buffer->labels.count = plan->answer_count + block_count;
	buffer->labels.items = ARENA_ARRAY(arena, struct label_state, buffer->labels.count);
	return buffer;
}

label label_new(struct buffer *buffer)
{
	VEC_PUSH(buffer->arena, &buffer->labels).waiting = 0;
	return (label)(buffer->labels.count - 1);
}

/* Counts labels that jumps wait for. */
static void count_open(struct buffer *buffer, label which, int change)
{
	if (which < buffer->answer_count)
		buffer->open_answers += (uint32_t)change;
	else if (which < buffer->answer_count + buffer->block_count)
		buffer->open_blocks += (uint32_t)change;
}

/* Takes back a `goto` to the very next instruction, which skipped blocks leave behind. */
static void drop_goto(struct buffer *buffer, struct label_state *state)
{
	const struct fixup *latest = &buffer->fixups.items[state->waiting - 1];
	size_t last = buffer->insns.count - 1;

	if (latest->insn != last || buffer->insns.items[last].code != (BPF_JMP | BPF_JA))
		return;
	if (buffer->joined == last + 2) {
		buffer->joined--;
		for (uint32_t at = buffer->recent; at; at = buffer->fixups.items[at - 1].next)
			buffer->insns.items[buffer->fixups.items[at - 1].insn].off--;
	}
	buffer->insns.count--;
	buffer->rules.count--;
	state->waiting = latest->next;
}

void label_bind(struct buffer *buffer, label here)
{
	struct label_state *state = &buffer->labels.items[here];
	size_t target;

	if (!state->waiting)
		return;
	drop_goto(buffer, state);
	target = buffer->insns.count;
	if (buffer->joined != target + 1)
		buffer->recent = 0;
	for (uint32_t at = state->waiting, next; at; at = next) {
		struct fixup *fixup = &buffer->fixups.items[at - 1];
		size_t distance = target - fixup->insn - 1;

		buffer->overflow |= distance > INT16_MAX;
		buffer->insns.items[fixup->insn].off = (int16_t)distance;
		next = fixup->next;
		fixup->next = buffer->recent;
		buffer->recent = at;
	}
	state->waiting = 0;
	buffer->joined = target + 1;
	count_open(buffer, here, -1);
}

bool label_reached(const struct buffer *buffer, label here)
{
	size_t count = buffer->insns.count;
	uint8_t code = count ? buffer->insns.items[count - 1].code : 0;

	if (buffer->labels.items[here].waiting || buffer->joined == count + 1)
		return true;
	return code != (BPF_JMP | BPF_JA) && code != (BPF_JMP | BPF_EXIT);
}

static void wait_for(struct buffer *buffer, label to)
{
	struct label_state *state = &buffer->labels.items[to];
	struct fixup *fixup = &VEC_PUSH(buffer->arena, &buffer->fixups);

	fixup->insn = (uint32_t)buffer->insns.count - 1;
	fixup->next = state->waiting;
	if (!state->waiting)
		count_open(buffer, to, 1);
	state->waiting = (uint32_t)buffer->fixups.count;
	if (state->listed || to >= buffer->answer_count + buffer->block_count)
		return;
	state->listed = true;
	VEC_PUSH(buffer->arena, &buffer->touched) = to;
}

void emit_insn(struct buffer *buffer, uint8_t code, uint8_t dst, uint8_t src, int16_t offset, int32_t imm)
{
	struct bpf_insn *insn = &VEC_PUSH(buffer->arena, &buffer->insns);

	insn->code = code;
	insn->dst_reg = dst & 15;
	insn->src_reg = src & 15;
	insn->off = offset;
	insn->imm = imm;
	VEC_PUSH(buffer->arena, &buffer->rules) = buffer->rule;
}

void emit_wide(struct buffer *buffer, uint8_t dst, uint8_t src, uint64_t imm)
{
	emit_insn(buffer, BPF_LD | BPF_IMM | BPF_DW, dst, src, 0, (int32_t)(uint32_t)imm);
	emit_insn(buffer, 0, 0, 0, 0, (int32_t)(uint32_t)(imm >> 32));
}

void emit_jump(struct buffer *buffer, uint8_t code, uint8_t dst, int32_t imm, label to)
{
	emit_insn(buffer, code, dst, 0, 0, imm);
	wait_for(buffer, to);
}

/* Whether the kernel's sign extension of the immediate gives the value back. */
static bool fits_immediate(uint64_t value)
{
	return (uint64_t)(int64_t)(int32_t)(uint32_t)value == value;
}

void emit_compare(struct buffer *buffer, uint8_t operation, bool wide, uint64_t value, label to)
{
	if (!wide) {
		emit_jump(buffer, BPF_JMP32 | operation | BPF_K, BPF_REG_0, (int32_t)(uint32_t)value, to);
	} else if (fits_immediate(value)) {
		emit_jump(buffer, BPF_JMP | operation | BPF_K, BPF_REG_0, (int32_t)(uint32_t)value, to);
	} else {
		emit_wide(buffer, BPF_REG_2, 0, value);
		emit_insn(buffer, BPF_JMP | operation | BPF_X, BPF_REG_0, BPF_REG_2, 0, 0);
		wait_for(buffer, to);
	}
}

void emit_answer(struct buffer *buffer, uint32_t answer)
{
	uint32_t rule = buffer->rule;

	buffer->rule = buffer->answer_rules[answer];
	emit_insn(buffer, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, (int32_t)buffer->answers[answer]);
	emit_insn(buffer, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	buffer->rule = rule;
}

void emit_goto(struct buffer *buffer, label to, label next)
{
	if (to == next)
		return;
	if (to < buffer->answer_count) {
		label_bind(buffer, to); /* what waits for this answer may as well come here */
		emit_answer(buffer, to);
	} else {
		emit_jump(buffer, BPF_JMP | BPF_JA, 0, 0, to);
	}
}
