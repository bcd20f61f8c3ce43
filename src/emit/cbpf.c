/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Classic BPF from rules, whole. In: a rule set; out: a program, or why there is none: what it cannot do, or its
 * size and the rules that cost most. A diagram is tried first, then a list, which is smaller where rules have little
 * in common.
 */
#include <errno.h>

#include "emit/cbpf.h"

/* No maps, whatever the number of constants; half of what the planner multiplies without overflow. */
static const struct plan_options options_without_maps = { .inline_set_min = SIZE_MAX / 64 };

/* --- one form ------------------------------------------------------------------------------------ */

static int emit_as(struct arena *arena, const struct ruleset *ruleset, enum classifier classifier,
		   uint32_t accept_value, struct diags *diags, struct cbpf_buffer *ret_buffer)
{
	struct ruleset *copy = arena_copy(arena, ruleset, sizeof *ruleset);
	struct cbpf_entry ipv4, ipv6;
	const struct plan *plan;

	copy->classifier = classifier;
	copy->comparison_count = 0; /* no maps: tunables have the values of now */
	if (plan_build(arena, copy, HOOK_SOCKET, &options_without_maps, diags, &plan))
		return -EINVAL;
	cbpf_begin(ret_buffer, arena, accept_value);
	cbpf_plan(ret_buffer, plan, &ipv4, &ipv6);
	cbpf_parser(ret_buffer, &ipv4, &ipv6);
	return 0;
}

int cbpf_emit(struct arena *arena, const struct ruleset *ruleset, uint32_t accept_value, struct diags *diags,
	      struct cbpf_buffer *ret_buffer)
{
	struct diags *unsaid = diags_new(arena);
	struct cbpf_buffer list;

	if (emit_as(arena, ruleset, CLASSIFIER_DIAGRAM, accept_value, unsaid, ret_buffer))
		return emit_as(arena, ruleset, CLASSIFIER_LIST, accept_value, diags, ret_buffer);
	if (ret_buffer->insns.count > CBPF_INSNS_MAX &&
	    !emit_as(arena, ruleset, CLASSIFIER_LIST, accept_value, unsaid, &list) &&
	    list.insns.count < ret_buffer->insns.count)
		*ret_buffer = list;
	return 0;
}

/* --- sizes --------------------------------------------------------------------------------------- */

/*
 * Instructions of the kernel's own translation (net/core/filter.c, bpf_convert_filter): loads of packets call a
 * function; constants above 2^31 are compared by way of a register; a jump with two targets is two.
 */
static uint32_t translated(const struct sock_filter *insn)
{
	bool ancillary = BPF_MODE(insn->code) == BPF_ABS && insn->k >= (uint32_t)SKF_AD_OFF;
	bool packet = BPF_MODE(insn->code) == BPF_ABS || BPF_MODE(insn->code) == BPF_IND;

	switch (BPF_CLASS(insn->code)) {
	case BPF_LD:
		return ancillary ? 3 : packet ? 9 : 1;
	case BPF_LDX:
		return BPF_MODE(insn->code) == BPF_MSH ? 14 : 1;
	case BPF_RET:
		return 2;
	case BPF_JMP:
		if (BPF_OP(insn->code) == BPF_JA)
			return 1;
		return 1 + (insn->k > INT32_MAX) + (insn->jf && (insn->jt || BPF_OP(insn->code) == BPF_JSET));
	default:
		return 1;
	}
}

enum { TRANSLATION_BEGINS = 6, PROGRAM_BYTES = 72 };

static uint32_t charge_of(const struct sock_filter *insns, size_t count)
{
	uint32_t sum = TRANSLATION_BEGINS;

	for (size_t i = 0; i < count; i++)
		sum += translated(&insns[i]);
	return PROGRAM_BYTES + 8 * sum;
}

static void warn_of_charge(const struct ruleset *ruleset, uint32_t charge, struct diags *diags)
{
	struct diag *diag;

	if (charge <= CBPF_CHARGE_USUAL)
		return;
	diag = diag_warning(diags, ruleset->span,
			    "as classic BPF this takes about %u bytes of a socket's option memory, more than the "
			    "%u that older kernels allow", charge, CBPF_CHARGE_USUAL);
	diag_hint(diags, diag, "`sysctl net.core.optmem_max` shows and sets the limit");
}

/* --- the whole ----------------------------------------------------------------------------------- */

static const struct sock_filter *turn_round(struct arena *arena, const struct cbpf_buffer *buffer)
{
	size_t count = buffer->insns.count;
	struct sock_filter *insns = ARENA_ARRAY(arena, struct sock_filter, count);

	for (size_t i = 0; i < count; i++)
		insns[i] = buffer->insns.items[count - 1 - i];
	return insns;
}

int emit_cbpf(struct arena *arena, const struct ruleset *ruleset, const struct cbpf_options *options,
	      struct diags *diags, struct cbpf_program *ret_program)
{
	const struct cbpf_options given = options ? *options : (struct cbpf_options){ 0 };
	uint32_t limit = given.limit ? given.limit : CBPF_INSNS_MAX;
	const struct ruleset *rules;
	struct cbpf_buffer buffer;
	struct cbpf_program program;
	int error = cbpf_rules(arena, ruleset, given.reuseport, diags, &rules);

	if (!error)
		error = cbpf_emit(arena, rules, given.reuseport ? 1 : UINT32_MAX, diags, &buffer);
	if (error)
		return error;
	if (buffer.insns.count > limit) {
		cbpf_explain_size(arena, rules, buffer.insns.count, limit, diags);
		return -E2BIG;
	}
	program.insns = turn_round(arena, &buffer);
	program.insn_count = (uint16_t)buffer.insns.count;
	program.charge = charge_of(program.insns, program.insn_count);
	warn_of_charge(ruleset, program.charge, diags);
	*ret_program = program;
	return 0;
}
