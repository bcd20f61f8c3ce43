/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Planted bugs: single changes in finished objects and in the tables beside them. A bug must be found, with a packet
 * for which the changed program, interpreted, does something else than the plan. What the prover still calls proven is
 * judged with random packets: none may show a difference. Of what it does not understand, one must.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/ebpf_sim.h"
#include "tests/unit/prove/hunt.h"

static const struct hunt_policy policies[] = {
	{ "ports", HOOK_XDP, { 0 },
	  "policy \"p\" { attach xdp \"lo\" default drop chain \"main\" {\n"
	  "rule 1 accept if all(proto = 6, dst_port in {22, 80, 443, 8000-8999})\n"
	  "rule 2 reject if all(proto = 17, dst_port = 53, not(ip.src in {10.0.0.0/8}))\n"
	  "rule 3 accept if icmp.type in {8, 128} } }" },
	{ "addresses", HOOK_TC_INGRESS, { 0 },
	  "policy \"p\" { attach tc-ingress \"lo\" default accept chain \"main\" {\n"
	  "rule 1 drop if ip.src in {192.0.2.0/24, 198.51.100.7}\n"
	  "rule 2 drop if ipv6.src in {2001:db8::/32, fe80::1-fe80::ff}\n"
	  "rule 3 reject if all(ipv6.dst = 2001:db8:1::1, dst_port = 25)\n"
	  "rule 4 link drop if eth.type = 0x88cc\n"
	  "rule 5 drop if eth.src = 02:00:00:00:00:66 } }" },
	{ "masks", HOOK_NF_INPUT, { 0 },
	  "policy \"p\" { attach netfilter-input default drop chain \"main\" {\n"
	  "rule 1 accept if mark & 0xff00ff = 0x120034\n"
	  "rule 2 drop if tcp.flags & 0x12 = 0x2\n"
	  "rule 3 accept if any(tcp.flags & 0x7 in {1, 4}, ttl in {1, 255}, dscp = 46)\n"
	  "rule 4 drop if length in {1500-4294967295} } }" },
	{ "sets", HOOK_TC_EGRESS, { 0 },
	  "policy \"p\" { attach tc-egress \"lo\" default accept\n"
	  "set \"blocked\" prefix max 64 { 192.0.2.0/24 198.51.100.7 2001:db8::/32 }\n"
	  "set \"hosts\" address max 64 { 10.0.0.1 10.0.0.2 fd00::1 }\n"
	  "set \"others\" address max 64 { 10.0.0.3 fd00::3 }\n"
	  "set \"ports\" port max 64 { 22 80 8080 }\n"
	  "chain \"main\" {\n"
	  "rule 1 drop if any(ip.dst in set \"blocked\", ipv6.dst in set \"blocked\")\n"
	  "rule 2 accept if all(any(ip.src in set \"hosts\", ipv6.src in set \"hosts\"), dst_port in set \"ports\")\n"
	  "rule 3 drop if any(ip.src in set \"others\", ipv6.src in set \"others\") } }" },
	{ "actions", HOOK_TC_INGRESS, { 0 },
	  "policy \"p\" { attach tc-ingress \"lo\" default drop counter \"web\" chain \"main\" {\n"
	  "rule 1 log \"seen\" every 1000000 burst 5 if ip.src in {10.0.0.0/8}\n"
	  "rule 2 mark 0x10/0xf0 if proto = 17\n"
	  "rule 3 jump \"tcp\" if proto = 6\n"
	  "rule 4 count \"web\", accept if ttl in {64-255} }\n"
	  "chain \"tcp\" {\n"
	  "rule 5 return if not(dst_port in {80, 443, 8000-8999})\n"
	  "rule 6 count \"web\", accept if tcp.flags & 0x12 = 0x2 } }" },
	{ "list", HOOK_CGROUP_EGRESS, { 0 },
	  "policy \"p\" { attach cgroup-egress \"/\" default drop classifier list chain \"main\" {\n"
	  "rule 1 log \"seen\" if ip.dst in {10.0.0.0/8}\n"
	  "rule 2 mark 0x1/0xff if dst_port in {1024-65535}\n"
	  "rule 3 jump \"user\" if user in {1000-1999}\n"
	  "rule 4 accept if proto in {6, 17} }\n"
	  "chain \"user\" {\n"
	  "rule 5 reject if dst_port = 25\n"
	  "rule 6 return if dst_port in {80, 443} \n"
	  "rule 7 drop if ip.dst in {192.168.0.0/16} } }" },
	{ "constants in maps", HOOK_XDP, { .inline_set_min = 2 },
	  "policy \"p\" { attach xdp \"lo\" default drop chain \"main\" {\n"
	  "rule 1 accept if all(proto = 6, dst_port in {22, 80, 443, 8080})\n"
	  "rule 2 drop if ip.src in {10.0.0.1, 10.0.0.3, 10.0.0.9}\n"
	  "rule 3 accept if ipv6.src in {fd00::1, fd00::3, fd00::7}\n"
	  "rule 4 accept if ip.dst in {10.0.0.1, 10.0.0.3, 10.0.0.9} } }" },
};
enum { POLICIES = sizeof policies / sizeof policies[0], PACKETS = 10000 };

/* --- running -------------------------------------------------------------------------------------------- */

static uint32_t run_harmed(const struct plan *plan, const struct packet *packet)
{
	struct ebpf_sim sim = { .plan = plan, .code = &hunt_of(plan)->code, .lookup = harm_find, .context = (void *)plan,
				.any_comparison = true };
	uint32_t answer;

	/* What cannot be run is an answer like none else. */
	return ebpf_sim_run(&sim, packet, &answer) ? ANSWER(3, 0) : answer;
}

/* --- planting ------------------------------------------------------------------------------------------- */

static bool is_branch(const struct bpf_insn *insn)
{
	uint8_t class = BPF_CLASS(insn->code), operation = BPF_OP(insn->code);

	return (class == BPF_JMP || class == BPF_JMP32) && operation != BPF_JA && operation != BPF_CALL &&
	       operation != BPF_EXIT;
}

static bool is_wide(const struct bpf_insn *insn)
{
	return insn->code == (BPF_LD | BPF_IMM | BPF_DW);
}

/* Not the check for NULL at the beginning of a function, which no packet fails. */
static bool is_test(const struct hunt *hunt, size_t at)
{
	for (size_t i = 0; i < hunt->code.function_count; i++)
		if (hunt->code.functions[i].first == at)
			return false;
	return is_branch(&hunt->insns[at]);
}

static void try_code(struct hunt *hunt, size_t at, uint8_t code, const char *what)
{
	uint8_t old = hunt->insns[at].code;

	hunt->insns[at].code = code;
	hunt_try(hunt, what, at);
	hunt->insns[at].code = old;
}

static void try_number(struct hunt *hunt, size_t at, int32_t number, const char *what)
{
	int32_t old = hunt->insns[at].imm;

	if (number == old)
		return;
	hunt->insns[at].imm = number;
	hunt_try(hunt, what, at);
	hunt->insns[at].imm = old;
}

static void try_offset(struct hunt *hunt, size_t at, int offset, const char *what)
{
	int16_t old = hunt->insns[at].off;

	hunt->insns[at].off = (int16_t)offset;
	hunt_try(hunt, what, at);
	hunt->insns[at].off = old;
}

static void harm_branch(struct hunt *hunt, size_t at)
{
	static const struct {
		uint8_t from, to;
		const char *what;
	} turns[] = {
		{ BPF_JEQ, BPF_JNE, "turned condition" }, { BPF_JNE, BPF_JEQ, "turned condition" },
		{ BPF_JGT, BPF_JLE, "turned condition" }, { BPF_JLE, BPF_JGT, "turned condition" },
		{ BPF_JGT, BPF_JGE, "bound" },		  { BPF_JLE, BPF_JLT, "bound" },
		{ BPF_JGT, BPF_JSGT, "signed condition" }, { BPF_JLE, BPF_JSLE, "signed condition" },
	};
	struct bpf_insn *insn = &hunt->insns[at];

	for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++)
		if (BPF_OP(insn->code) == turns[i].from)
			try_code(hunt, at, (uint8_t)((insn->code & ~0xf0) | turns[i].to), turns[i].what);
	try_code(hunt, at, insn->code ^ (BPF_JMP ^ BPF_JMP32), "width of a comparison");
	if (BPF_SRC(insn->code) == BPF_K) {
		try_number(hunt, at, insn->imm + 1, "bound");
		try_number(hunt, at, insn->imm - 1, "bound");
		try_number(hunt, at, (int32_t)__builtin_bswap32((uint32_t)insn->imm), "byte order of a bound");
	}
	try_offset(hunt, at, 0, "dropped jump");
	if (!is_wide(&hunt->insns[at + 1 + (size_t)insn->off]))
		try_offset(hunt, at, insn->off + 1, "target of a jump");
}

static void harm_load(struct hunt *hunt, size_t at)
{
	static const int sizes[] = { [BPF_B >> 3] = 1, [BPF_H >> 3] = 2, [BPF_W >> 3] = 4, [BPF_DW >> 3] = 8 };
	struct bpf_insn *insn = &hunt->insns[at];
	int size = sizes[BPF_SIZE(insn->code) >> 3];

	try_offset(hunt, at, insn->off + size, "wrong member");
	if (insn->off >= size)
		try_offset(hunt, at, insn->off - size, "wrong member");
	if (size > 1)
		try_code(hunt, at, (uint8_t)(BPF_LDX | BPF_MEM | (size == 2 ? BPF_B : size == 4 ? BPF_H : BPF_W)),
			 "half a member");
}

static void harm_answer(struct hunt *hunt, size_t at)
{
	const struct plan *plan = hunt->subject.plan;
	uint32_t answer = (uint32_t)hunt->insns[at].imm;

	try_number(hunt, at, (int32_t)(answer ^ 1), "verdict");
	try_code(hunt, at, BPF_ALU64 | BPF_MOV | BPF_K, "width of an answer");
	hunt->insns[at].code = BPF_ALU64 | BPF_MOV | BPF_K;
	try_number(hunt, at, -1, "answer of all ones");
	hunt->insns[at].code = BPF_ALU | BPF_MOV | BPF_K;
	try_number(hunt, at, (int32_t)(answer + (1 << ANSWER_SHIFT)), "slot or step");
	for (size_t i = 0; i < plan->answer_count; i++)
		if (plan->answers[i] == answer) {
			try_number(hunt, at, (int32_t)plan->answers[(i + 1) % plan->answer_count], "exchanged answer");
			return;
		}
}

static void harm_insn(struct hunt *hunt, size_t at)
{
	struct bpf_insn *insn = &hunt->insns[at];

	if (is_test(hunt, at)) {
		harm_branch(hunt, at);
	} else if (BPF_CLASS(insn->code) == BPF_LDX) {
		harm_load(hunt, at);
	} else if (insn->code == (BPF_ALU | BPF_AND | BPF_K)) {
		try_number(hunt, at, insn->imm ^ 2, "mask");
		try_number(hunt, at, insn->imm >> 1, "mask");
	} else if (insn->code == (BPF_ALU | BPF_END | BPF_TO_BE)) {
		try_code(hunt, at, BPF_ALU | BPF_END | BPF_TO_LE, "byte order");
	} else if (insn->code == (BPF_ALU | BPF_MOV | BPF_K) && at > 2) {
		harm_answer(hunt, at);
	} else if (insn->code == (BPF_ST | BPF_MEM | BPF_W)) {
		try_number(hunt, at, insn->imm - 1, "length of a prefix");
	} else if (is_wide(insn) && insn->imm) {
		try_number(hunt, at, insn->imm + 1, "wide bound");
	}
}

static void harm_maps(struct hunt *hunt)
{
	struct map_use *uses = arena_copy(hunt->arena, hunt->code.maps, hunt->code.map_count * sizeof *uses);
	const struct plan_set *sets = hunt->subject.plan->sets;

	hunt->code.maps = uses;
	for (size_t i = 0; i < hunt->code.map_count; i++)
		for (uint32_t other = 0; other < hunt->subject.plan->set_count; other++) {
			uint32_t old = uses[i].set;

			if (other == old || sets[other].key != sets[old].key || sets[other].lpm != sets[old].lpm)
				continue;
			uses[i].set = other;
			hunt_try(hunt, "wrong map", uses[i].insn);
			uses[i].set = old;
		}
}

static void harm_steps(struct hunt *hunt)
{
	for (size_t i = 0; i < hunt->plan.step_count; i++) {
		struct step old = hunt->steps[i];

		hunt->steps[i].slot++;
		hunt_try(hunt, "slot of a step", i);
		hunt->steps[i] = old;
		hunt->steps[i].a ^= 1;
		hunt_try(hunt, "number of a step", i);
		hunt->steps[i] = old;
	}
}

static int plant(void *context)
{
	struct hunt *hunt = context;

	hunt->run = run_harmed;
	hunt_begin(hunt, hunt->policy->text, PACKETS);
	for (size_t at = 0; at < hunt->code.insn_count; at++) {
		harm_insn(hunt, at);
		at += is_wide(&hunt->insns[at]);
	}
	harm_maps(hunt);
	harm_steps(hunt);
	return 0;
}

static void planted_bugs_are_found(void **state)
{
	(void)state;
	hunt_all(policies, POLICIES, plant);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(planted_bugs_are_found),
	};

	return cmocka_run_group_tests_name("prove/mutation", tests, NULL, NULL);
}
