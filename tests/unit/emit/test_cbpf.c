/* SPDX-License-Identifier: GPL-2.0-only */
/* Classic BPF: the emitted program, interpreted, judges what reaches a socket as the model does. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "emit/cbpf.h"
#include "tests/lib/cbpf_sim.h"
#include "tests/lib/ir_text.h"
#include "tests/lib/packets.h"
#include "tests/lib/plain_rules.h"
#include "tests/lib/policies.h"

enum { SEEDS = 300, PACKETS = 120 };

struct round {
	struct arena *arena;
	uint64_t seed;
	const struct policy_options *options;
	bool plain;
	size_t judged, accepted, too_deep, refused, longest;
};

/* --- random policies and packets --------------------------------------------------------------------------------- */

/* Headers before the transport header; only the first few are walked. */
static unsigned count_extensions(const struct cbpf_packet *packet)
{
	const unsigned char *ip = packet->network;
	unsigned count = 0, number = ip[6];

	if (packet->protocol != 0x86dd)
		return 0;
	for (size_t at = 40; at < packet->data; count++) {
		size_t bytes = number == 44 ? 8 : number == 51 ? (ip[at + 1] + 2u) * 4 : (ip[at + 1] + 1u) * 8;

		number = ip[at];
		at += bytes;
	}
	return count;
}

static void judge_one(struct round *round, const struct ruleset *ruleset, const struct cbpf_program *program,
		      const struct model_packet *input, struct cbpf_packet *packet)
{
	struct model_result expected;
	uint32_t got;

	packet->interface = input->in_iface ? input->in_iface : 1;
	packet->mark = input->mark;
	got = cbpf_run(program->insns, program->insn_count, packet);
	assert_true(got == 0 || got == UINT32_MAX);
	if (count_extensions(packet) > CBPF_EXTENSIONS_MAX && !got) {
		round->too_deep++;
		return;
	}
	model_judge(round->arena, ruleset, HOOK_SOCKET, input, &expected);
	if ((got != 0) != (expected.verdict == VERDICT_ACCEPT)) {
		print_error("seed %llu: model rule %d\n%s%s", (unsigned long long)round->seed, expected.rule,
			    ruleset_print(round->arena, ruleset), cbpf_print(round->arena, program));
		fail();
	}
	round->judged++;
	round->accepted += got != 0;
}

static void judge_packets(struct round *round, const struct ruleset *ruleset, const struct cbpf_program *program)
{
	unsigned char buffer[PACKET_BYTES_MAX];
	struct packet_source source;

	packets_seed(&source, round->seed);
	packets_add_ruleset(&source, ruleset);
	source.well_formed = true;
	source.plain = round->plain;
	for (int i = 0; i < PACKETS; i++) {
		struct model_packet input;
		struct cbpf_packet packet;

		packets_next_at(&source, HOOK_SOCKET, buffer, sizeof buffer, &input);
		if (!input.in_iface)
			input.in_iface = 1;
		if (cbpf_receive(input.data, input.length, input.ethertype, &packet))
			judge_one(round, ruleset, program, &input, &packet);
	}
}

/* The list form, which emit_cbpf() takes only where it is smaller. */
static void judge_list(struct round *round, const struct ruleset *ruleset)
{
	static const struct plan_options no_maps = { .inline_set_min = SIZE_MAX / 64 };
	struct diags *diags = diags_new(round->arena);
	const struct ruleset *without_sets;
	struct cbpf_program program = { 0 };
	struct sock_filter *insns;
	struct cbpf_buffer buffer;
	struct cbpf_entry ipv4, ipv6;
	struct ruleset *copy;
	const struct plan *plan;

	assert_int_equal(cbpf_rules(round->arena, ruleset, false, diags, &without_sets), 0);
	copy = arena_copy(round->arena, without_sets, sizeof *copy);
	copy->classifier = CLASSIFIER_LIST;
	assert_int_equal(plan_build(round->arena, copy, HOOK_SOCKET, &no_maps, diags, &plan), 0);
	cbpf_begin(&buffer, round->arena, UINT32_MAX);
	cbpf_plan(&buffer, plan, &ipv4, &ipv6);
	cbpf_parser(&buffer, &ipv4, &ipv6);
	if (buffer.insns.count > CBPF_INSNS_MAX)
		return;
	insns = ARENA_ARRAY(round->arena, struct sock_filter, buffer.insns.count);
	for (size_t i = 0; i < buffer.insns.count; i++)
		insns[i] = buffer.insns.items[buffer.insns.count - 1 - i];
	program.insns = insns;
	program.insn_count = (uint16_t)buffer.insns.count;
	assert_null(cbpf_check(program.insns, program.insn_count));
	judge_packets(round, ruleset, &program);
}

static int run_round(void *context)
{
	struct round *round = context;
	const struct ruleset *ruleset = plain_rules(round->arena, policies_random(round->arena, round->seed,
										  HOOK_SOCKET, round->options));
	struct diags *diags = diags_new(round->arena);
	struct cbpf_program program;
	int error = emit_cbpf(round->arena, ruleset, NULL, diags, &program);
	const char *wrong;

	if (error == -E2BIG) {
		round->refused++;
		return 0;
	}
	assert_int_equal(error, 0);
	wrong = cbpf_check(program.insns, program.insn_count);
	if (wrong)
		print_error("seed %llu: %s\n%s", (unsigned long long)round->seed, wrong,
			    cbpf_print(round->arena, &program));
	assert_null(wrong);
	if (program.insn_count > round->longest)
		round->longest = program.insn_count;
	judge_packets(round, ruleset, &program);
	judge_list(round, ruleset);
	return 0;
}

static void run_seeds(const struct policy_options *options, bool plain)
{
	struct round total = { .options = options, .plain = plain };

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		total.arena = arena_new();
		total.seed = seed;
		assert_int_equal(arena_run(total.arena, run_round, &total), 0);
		arena_free(total.arena);
	}
	printf("# %zu packets judged, %zu accepted, %zu behind too many headers; %zu policies too big, longest program "
	       "%zu\n", total.judged, total.accepted, total.too_deep, total.refused, total.longest);
	assert_true(total.judged > SEEDS * PACKETS / 8);
	assert_true(total.accepted > total.judged / 10 && total.accepted < total.judged * 9 / 10);
}

static void test_random(void **state)
{
	static const struct policy_options options = { 0 };

	(void)state;
	run_seeds(&options, false);
}

static void test_random_plain(void **state)
{
	static const struct policy_options options = { .rules = 30, .simple = true, .terminal_only = true };

	(void)state;
	run_seeds(&options, true);
}

/* --- written ones ------------------------------------------------------------------------------------------------ */

struct written {
	struct arena *arena;
	const char *text;
	const struct cbpf_options *options;
	struct diags *diags;
	struct cbpf_program program;
	int error;
};

static int emit_written(void *context)
{
	struct written *written = context;
	const struct ruleset *ruleset = ir_text_parse(written->arena, written->text);

	written->diags = diags_new(written->arena);
	written->error = emit_cbpf(written->arena, ruleset, written->options, written->diags, &written->program);
	return 0;
}

static struct written emit_text(const char *text, const struct cbpf_options *options)
{
	struct written written = { .arena = arena_new(), .text = text, .options = options };

	assert_int_equal(arena_run(written.arena, emit_written, &written), 0);
	return written;
}

static void expect_error(const char *text, const struct cbpf_options *options, int error, const char *words)
{
	struct written written = emit_text(text, options);

	assert_int_equal(written.error, error);
	assert_true(written.diags->errors >= 1);
	if (!strstr(written.diags->list.items[0].text, words))
		print_error("%s\n", written.diags->list.items[0].text);
	assert_non_null(strstr(written.diags->list.items[0].text, words));
	arena_free(written.arena);
}

/* Whether a SYN from there is accepted. */
static bool accepts(const struct cbpf_program *program, uint32_t source)
{
	unsigned char syn[40] = { 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, (unsigned char)(source >> 24),
				  (unsigned char)(source >> 16), (unsigned char)(source >> 8), (unsigned char)source,
				  192, 0, 2, 1, 4, 0, 0, 80, [32] = 0x50, 2 };
	struct cbpf_packet packet;

	assert_true(cbpf_receive(syn, sizeof syn, 0x0800, &packet));
	return cbpf_run(program->insns, program->insn_count, &packet) == UINT32_MAX;
}

#define POLICY(rules) "policy \"p\" {\n\tattach socket\n\tdefault drop\n\tchain \"main\" {\n" rules "\t}\n}\n"

static void test_constants(void **state)
{
	struct written written = emit_text(POLICY("\t\trule 1 accept\n"), NULL);

	(void)state;
	assert_int_equal(written.error, 0);
	assert_int_equal(written.program.insn_count, 1);
	assert_int_equal(written.program.insns[0].k, UINT32_MAX);
	arena_free(written.arena);
}

static void test_only_verdicts(void **state)
{
	(void)state;
	expect_error("policy \"p\" {\n\tattach socket\n\tdefault drop\n\tcounter \"web\"\n\tchain \"main\" {\n"
		     "\t\trule 1 count \"web\", accept\n\t}\n}\n", NULL, -EINVAL, "cannot `count`");
	expect_error(POLICY("\t\trule 1 log \"x\", accept\n"), NULL, -EINVAL, "cannot `log`");
}

static const struct cbpf_options steering = { .reuseport = true };

static void test_steering(void **state)
{
	struct written written = emit_text(POLICY("\t\trule 1 accept if all(ip.src in {10.0.0.0/8}, "
						  "tcp.flags & 18 = 2)\n"), &steering);
	unsigned char syn[40] = { 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 1, 2, 3, 192, 0, 2, 1, 4, 0, 0, 80,
				  [32] = 0x50, 2 };
	struct cbpf_packet packet;

	(void)state;
	assert_int_equal(written.error, 0);
	assert_true(cbpf_receive(syn, sizeof syn, 0x0800, &packet));
	packet.interface = 1;
	packet.data += 20; /* the kernel pulls the TCP header before it steers */
	packet.length -= 20;
	assert_int_equal(cbpf_run(written.program.insns, written.program.insn_count, &packet), 1);
	syn[12] = 11;
	assert_int_equal(cbpf_run(written.program.insns, written.program.insn_count, &packet), 0);
	arena_free(written.arena);
}

static void test_steering_sees_openings_only(void **state)
{
	(void)state;
	expect_error(POLICY("\t\trule 1 accept if tcp.flags & 16 = 16\n"), &steering, -EINVAL,
		     "packets that do not open a connection");
	expect_error(POLICY("\t\trule 1 accept if not(tcp.flags & 18 = 2)\n"), &steering, -EINVAL,
		     "packets that do not open a connection");
	expect_error(POLICY("\t\trule 1 accept if length in {0-100}\n"), &steering, -EINVAL,
		     "only the first is judged");
}

static uint32_t nth_prefix(uint32_t n)
{
	return (11u << 24) + n * 0xb3a700;
}

/* 300 prefixes fit what an ordinary user may attach; each one's ends are judged right. */
static void test_many_prefixes(void **state)
{
	char text[300 * 48];
	size_t used = (size_t)snprintf(text, sizeof text, "policy \"p\" {\n\tattach socket\n\tdefault drop\n"
				       "\tchain \"main\" {\n\t\trule 1 accept if ip.src in {");
	struct written written;

	(void)state;
	for (uint32_t i = 0; i < 300; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%u.%u.%u.0/24", i ? ", " : "",
					 nth_prefix(i) >> 24, nth_prefix(i) >> 16 & 255, nth_prefix(i) >> 8 & 255);
	snprintf(text + used, sizeof text - used, "}\n\t}\n}\n");
	written = emit_text(text, NULL);
	assert_int_equal(written.error, 0);
	printf("# 300 prefixes: %u instructions, %u bytes\n", written.program.insn_count, written.program.charge);
	assert_true(written.program.charge < CBPF_CHARGE_USUAL);
	assert_int_equal(written.diags->warnings, 0);
	for (uint32_t i = 0; i < 300; i++) {
		assert_true(accepts(&written.program, nth_prefix(i)));
		assert_true(accepts(&written.program, nth_prefix(i) + 255));
		assert_false(accepts(&written.program, nth_prefix(i) + 256));
		assert_false(accepts(&written.program, nth_prefix(i) - 1));
	}
	arena_free(written.arena);
}

/* A limit below what is needed: by how much, and which rule. */
static void test_too_big(void **state)
{
	static const struct cbpf_options small = { .limit = 20 };
	struct written written = emit_text(POLICY("\t\trule 1 accept if dst_port = 22\n"
						  "\t\trule 2 accept if ip.src in {10.0.0.1, 10.0.0.3, 10.0.0.5}\n"),
					   &small);
	const struct diag *diag = &written.diags->list.items[0];

	(void)state;
	assert_int_equal(written.error, -E2BIG);
	assert_non_null(strstr(diag->text, "instructions of classic BPF"));
	assert_non_null(strstr(diag->text, "than the 20 that fit"));
	assert_int_equal(diag->related_count, 2);
	assert_non_null(strstr(diag->related[0].text, " alone needs "));
	arena_free(written.arena);
}

/* What an SCTP socket's filter gets begins behind the common header, or with it: ports are read from the network header. */
static void test_sctp(void **state)
{
	struct written written = emit_text(POLICY("\t\trule 1 accept if all(proto = 132, dst_port = 4242, "
						  "ip.src in {10.0.0.0/8})\n"), NULL);
	unsigned char packet[48] = { [0] = 0x45, [3] = 48, [8] = 64, [9] = 132, [12] = 10, [16] = 10,
				     [20] = 0x12, [21] = 0x34, [22] = 4242 >> 8, [23] = 4242 & 255 };

	(void)state;
	assert_int_equal(written.error, 0);
	for (size_t data = 20; data <= 32; data += 12) {
		struct cbpf_packet input = { .network = packet, .size = sizeof packet, .data = data,
					     .length = (uint32_t)(sizeof packet - data), .protocol = 0x0800 };

		packet[12] = 10;
		packet[23] = 4242 & 255;
		assert_int_equal(cbpf_run(written.program.insns, written.program.insn_count, &input), UINT32_MAX);
		packet[23]++;
		assert_int_equal(cbpf_run(written.program.insns, written.program.insn_count, &input), 0);
		packet[23]--;
		packet[12] = 11;
		assert_int_equal(cbpf_run(written.program.insns, written.program.insn_count, &input), 0);
	}
	arena_free(written.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_random_plain),
		cmocka_unit_test(test_constants),
		cmocka_unit_test(test_only_verdicts),
		cmocka_unit_test(test_steering),
		cmocka_unit_test(test_steering_sees_openings_only),
		cmocka_unit_test(test_many_prefixes),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_sctp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
