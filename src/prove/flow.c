/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is known of the code without running it: where jumps meet, and which registers matter where. In: prove->insns;
 * out: joins, live and function_end of the walk. Stops the proof at code that is not of the usual form.
 */
#include "prove/walk.h"

static const char *function_at(const struct prove *prove, uint32_t at, uint32_t *ret_offset)
{
	for (size_t i = 0; i < prove->image.function_count; i++) {
		const struct image_function *function = &prove->image.functions[i];

		*ret_offset = at - function->first;
		if (at >= function->first && at < function->first + function->count)
			return function->name;
	}
	*ret_offset = at;
	return "the code";
}

const char *walk_text(const struct walk *walk, uint32_t at, const char *what)
{
	uint32_t offset;
	const char *name = function_at(walk->prove, at, &offset);

	return arena_printf(walk->prove->arena, "instruction %u of %s %s", offset, name, what);
}

void walk_stop(struct walk *walk, uint32_t at, const char *what)
{
	prove_stop(walk->prove, "%s", walk_text(walk, at, what));
}

static bool jumps(const struct insn *insn)
{
	return insn->kind == INSN_GOTO || insn->kind == INSN_BRANCH;
}

static bool good_target(const struct walk *walk, uint32_t at, uint32_t target)
{
	return target > at && target < walk->function_end[at] &&
	       walk->prove->insns[target].kind != INSN_SECOND;
}

static void find_joins(struct walk *walk)
{
	const struct prove *prove = walk->prove;

	for (size_t i = 0; i < prove->image.function_count; i++) {
		const struct image_function *function = &prove->image.functions[i];

		for (uint32_t at = function->first; at < function->first + function->count; at++) {
			if (walk->function_end[at]) {
				walk_stop(walk, at, "belongs to two functions");
				return;
			}
			walk->function_end[at] = function->first + function->count;
		}
	}
	for (uint32_t at = 0; at < prove->image.insn_count; at++) {
		const struct insn *insn = &prove->insns[at];

		if (!jumps(insn))
			continue;
		if (!good_target(walk, at, flow_target(at, insn))) {
			walk_stop(walk, at, "jumps backwards or out of its function");
			return;
		}
		walk->joins[flow_target(at, insn)] = true;
	}
}

static void find_live(struct walk *walk, uint32_t function);

enum { ARGUMENTS = 0x3e, CLOBBERED = 0x3f };

static uint16_t used_by(struct walk *walk, const struct insn *insn)
{
	uint16_t dst = (uint16_t)(1u << insn->dst), src = insn->by_register ? (uint16_t)(1u << insn->src) : 0;

	switch (insn->kind) {
	case INSN_MOVE:
		return src;
	case INSN_AND:
	case INSN_ADD:
	case INSN_STORE:
	case INSN_BRANCH:
		return dst | src;
	case INSN_REVERSE:
	case INSN_CUT:
		return dst;
	case INSN_LOAD:
		return (uint16_t)(1u << insn->src);
	case INSN_HELPER:
		return 1u << 1 | 1u << 2;
	case INSN_LIVES:
		return 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4;
	case INSN_CALL:
		find_live(walk, (uint32_t)insn->number);
		return walk->live[walk->prove->image.functions[insn->number].first] & ARGUMENTS;
	case INSN_EXIT:
		return 1;
	default:
		return 0;
	}
}

static uint16_t set_by(const struct insn *insn)
{
	switch (insn->kind) {
	case INSN_MOVE:
	case INSN_LOAD:
	case INSN_MAP:
		return (uint16_t)(1u << insn->dst);
	case INSN_HELPER:
	case INSN_CALL:
	case INSN_LIVES:
		return CLOBBERED;
	default:
		return 0;
	}
}

static void find_live(struct walk *walk, uint32_t number)
{
	const struct image_function *function = &walk->prove->image.functions[number];

	if (walk->live_known[number] == 1)
		walk_stop(walk, function->first, "calls itself in the end");
	if (walk->live_known[number])
		return;
	walk->live_known[number] = 1;
	for (uint32_t at = function->first + function->count; at-- > function->first;) {
		const struct insn *insn = &walk->prove->insns[at];
		uint16_t after = 0;

		if (insn->kind != INSN_GOTO && insn->kind != INSN_EXIT && at + 1 < function->first + function->count)
			after = walk->live[at + 1];
		if (jumps(insn))
			after |= walk->live[flow_target(at, insn)];
		walk->live[at] = (uint16_t)((after & ~set_by(insn)) | used_by(walk, insn));
	}
	walk->live_known[number] = 2;
}

void flow_find(struct walk *walk)
{
	const struct prove *prove = walk->prove;

	walk->joins = ARENA_ARRAY(prove->arena, bool, prove->image.insn_count + 1);
	walk->live = ARENA_ARRAY(prove->arena, uint16_t, prove->image.insn_count + 1);
	walk->function_end = ARENA_ARRAY(prove->arena, uint32_t, prove->image.insn_count + 1);
	walk->live_known = ARENA_ARRAY(prove->arena, uint8_t, prove->image.function_count);
	find_joins(walk);
	for (uint32_t i = 0; i < prove->image.function_count && !prove_stopped(prove); i++)
		find_live(walk, i);
}
