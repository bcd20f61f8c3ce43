/* SPDX-License-Identifier: GPL-2.0-only */
/* The model's judging, on rule sets written as IR text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ir/model.h"
#include "tests/lib/bytes.h"
#include "tests/lib/ir_text.h"

static struct arena *arena;

static int open_arena(void **state)
{
	(void)state;
	arena = arena_new();
	return arena ? 0 : -1;
}

static int close_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

struct work {
	const struct ruleset *ruleset;
	enum hook hook;
	struct model_packet packet;
	struct model_result result;
};

static int run(void *context)
{
	struct work *work = context;

	model_judge(arena, work->ruleset, work->hook, &work->packet, &work->result);
	return 0;
}

static struct model_result judge_at(const char *text, enum hook hook, const struct model_packet *packet)
{
	struct work work = { .ruleset = ir_text_parse(arena, text), .hook = hook, .packet = *packet };

	assert_int_equal(arena_run(arena, run, &work), 0);
	return work.result;
}

static struct model_result judge(const char *text, const struct bytes *bytes)
{
	const struct model_packet packet = { .data = bytes->data, .length = bytes->length, .user = ABSENT_OWNER,
					     .group = ABSENT_OWNER };

	return judge_at(text, HOOK_XDP, &packet);
}

static void expect(struct model_result result, enum verdict verdict, int rule)
{
	assert_int_equal(result.rule, rule);
	assert_int_equal(result.verdict, verdict);
}

/* Hits as "1 2 2". */
static void expect_hits(struct model_result result, const char *wanted)
{
	char text[256] = "";

	for (size_t i = 0; i < result.hit_count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), i ? " %u" : "%u", result.hits[i]);
	assert_string_equal(text, wanted);
}

static struct bytes tcp(unsigned dport)
{
	struct bytes bytes = { .length = 0 };

	bytes_ether(&bytes, 0x0800);
	bytes_ipv4(&bytes, 40, 0, 6);
	bytes_tcp(&bytes, 4000, dport, 2);
	return bytes;
}

static struct bytes icmp6(void)
{
	struct bytes bytes = { .length = 0 };

	bytes_ether(&bytes, 0x86dd);
	bytes_ipv6(&bytes, 8, 58);
	bytes_hex(&bytes, "8000 0000 0001 0001");
	return bytes;
}

static struct bytes frame(unsigned type)
{
	struct bytes bytes = { .length = 0 };

	bytes_ether(&bytes, type);
	bytes_fill(&bytes, 0, 46);
	return bytes;
}

/* A policy at XDP with these chains, default drop. */
#define POLICY(chains) "policy \"p\" {\n attach xdp \"lo\"\n default drop\n counter \"c\"\n" chains "}\n"
#define MAIN(rules) "chain \"main\" {\n" rules "}\n"
#define CHAIN(name, rules) "chain \"" name "\" {\n" rules "}\n"

static void test_first_match(void **state)
{
	const char *text = POLICY(MAIN("rule 1 drop if dst_port = 22\n"
				       "rule 2 accept if proto = 6\n"
				       "rule 3 drop if dst_port = 80\n"));
	struct bytes ssh = tcp(22), web = tcp(80), ping = icmp6();

	(void)state;
	expect(judge(text, &ssh), VERDICT_DROP, 1);
	expect(judge(text, &web), VERDICT_ACCEPT, 2);
	expect(judge(text, &ping), VERDICT_DROP, DECIDED_DEFAULT);
	expect_hits(judge(text, &ping), "");
}

static void test_absent_fields(void **state)
{
	struct bytes ping = icmp6(), web = tcp(80);

	(void)state;
	expect(judge(POLICY(MAIN("rule 1 accept if dst_port in {0-65535}")), &ping), VERDICT_DROP, DECIDED_DEFAULT);
	expect(judge(POLICY(MAIN("rule 1 accept if not(dst_port = 22)")), &ping), VERDICT_ACCEPT, 1);
	expect(judge(POLICY(MAIN("rule 1 accept if dst_port & 0 = 0")), &ping), VERDICT_DROP, DECIDED_DEFAULT);
	expect(judge(POLICY(MAIN("rule 1 accept if ipv6.src & :: = ::")), &web), VERDICT_DROP, DECIDED_DEFAULT);
	expect(judge(POLICY(MAIN("rule 1 accept if mark = 0")), &web), VERDICT_DROP, DECIDED_DEFAULT);
	expect(judge(POLICY(MAIN("rule 1 accept if not(any(ip.src = 0.0.0.0, icmp.type = 128))")), &ping), VERDICT_DROP,
	       DECIDED_DEFAULT);
}

static void test_conditions(void **state)
{
	struct bytes web = tcp(80);

	(void)state;
	expect(judge(POLICY(MAIN("rule 1 accept if true")), &web), VERDICT_ACCEPT, 1);
	expect(judge(POLICY(MAIN("rule 1 accept if false")), &web), VERDICT_DROP, DECIDED_DEFAULT);
	expect(judge(POLICY(MAIN("rule 1 accept if all(proto = 6, dst_port = 81)")), &web), VERDICT_DROP, 0);
	expect(judge(POLICY(MAIN("rule 1 accept if any(proto = 17, dst_port in {1, 79-81})")), &web), VERDICT_ACCEPT, 1);
	expect(judge(POLICY(MAIN("rule 1 accept if tcp.flags & 0x12 = 0x2")), &web), VERDICT_ACCEPT, 1);
	expect(judge(POLICY(MAIN("rule 1 accept if tcp.flags & 0x12 = 0x12")), &web), VERDICT_DROP, 0);
	expect(judge(POLICY(MAIN("rule 1 accept if ip.src in {10.0.0.0/30}")), &web), VERDICT_ACCEPT, 1);
	expect(judge(POLICY(MAIN("rule 1 reject if eth.src = 02:00:00:00:00:01")), &web), VERDICT_REJECT, 1);
}

static void test_sets(void **state)
{
	const char *text = POLICY("set \"hosts\" prefix max 9 { 10.0.0.0/30 fd00::/64 }\n"
				  "set \"ports\" port max 9 { 22 8000-8999 }\n"
				  MAIN("rule 1 accept if ip.src in set \"hosts\"\n"
				       "rule 2 drop if ipv6.dst in set \"hosts\"\n"));
	struct bytes web = tcp(80), ping = icmp6(), high = tcp(8500);

	(void)state;
	expect(judge(text, &web), VERDICT_ACCEPT, 1);
	expect(judge(text, &ping), VERDICT_DROP, 2);
	text = POLICY("set \"ports\" port max 9 { 22 8000-8999 }\n" MAIN("rule 1 accept if dst_port in set \"ports\"\n"));
	expect(judge(text, &web), VERDICT_DROP, 0);
	expect(judge(text, &high), VERDICT_ACCEPT, 1);
	text = POLICY("set \"ports\" port max 9 { }\n" MAIN("rule 1 accept if not(dst_port in set \"ports\")\n"));
	expect(judge(text, &ping), VERDICT_ACCEPT, 1);
}

static void test_non_terminal_rules(void **state)
{
	const char *text = POLICY(MAIN("rule 1 count \"c\" if proto = 6\n"
				       "rule 2 log \"x\", count \"c\"\n"
				       "rule 3 log \"y\" if proto = 17\n"
				       "rule 4 count \"c\", accept\n"));
	struct bytes web = tcp(80);
	struct model_result result = judge(text, &web);

	(void)state;
	expect(result, VERDICT_ACCEPT, 4);
	expect_hits(result, "1 2 4");
}

static void test_jump_and_return(void **state)
{
	const char *text = POLICY(MAIN("rule 1 jump \"a\" if proto = 6\n"
				       "rule 2 accept if dst_port = 80\n")
				  CHAIN("a", "rule 3 return if dst_port = 80\n"
					     "rule 4 jump \"b\"\n"
					     "rule 5 drop if dst_port = 22\n")
				  CHAIN("b", "rule 6 count \"c\"\n"));
	struct bytes web = tcp(80), ssh = tcp(22), ping = icmp6(), other = tcp(1);
	struct model_result result = judge(text, &web);

	(void)state;
	expect(result, VERDICT_ACCEPT, 2);
	expect_hits(result, "1 3 2");
	result = judge(text, &ssh);
	expect(result, VERDICT_DROP, 5);
	expect_hits(result, "1 4 6 5");
	expect_hits(judge(text, &other), "1 4 6");
	expect(judge(text, &other), VERDICT_DROP, DECIDED_DEFAULT);
	expect_hits(judge(text, &ping), "");
}

/* The end of a chain that was reached by goto returns to the caller of the chain that had the goto. */
static void test_goto(void **state)
{
	const char *text = POLICY(MAIN("rule 1 jump \"a\"\n"
				       "rule 2 goto \"b\" if dst_port = 22\n"
				       "rule 3 accept\n")
				  CHAIN("a", "rule 4 goto \"b\"\n"
					     "rule 5 drop\n")
				  CHAIN("b", "rule 6 count \"c\"\n"));
	struct bytes web = tcp(80), ssh = tcp(22);

	(void)state;
	expect(judge(text, &web), VERDICT_ACCEPT, 3);
	expect_hits(judge(text, &web), "1 4 6 3");
	expect(judge(text, &ssh), VERDICT_DROP, DECIDED_DEFAULT);
	expect_hits(judge(text, &ssh), "1 4 6 2 6");
}

static void test_return_at_the_top(void **state)
{
	const char *text = POLICY(MAIN("rule 1 return if proto = 6\n"
				       "rule 2 accept\n"));
	struct bytes web = tcp(80);
	struct model_result result = judge(text, &web);

	(void)state;
	expect(result, VERDICT_DROP, DECIDED_DEFAULT);
	expect_hits(result, "1");
}

static void test_malformed(void **state)
{
	struct bytes web = tcp(80);
	struct model_result result;

	(void)state;
	web.length--;
	result = judge(POLICY(MAIN("rule 1 accept\n")), &web);
	expect(result, VERDICT_DROP, DECIDED_MALFORMED);
	expect_hits(result, "");
	expect(judge(POLICY("malformed accept\n" MAIN("rule 1 drop\n")), &web), VERDICT_ACCEPT, DECIDED_MALFORMED);
}

static void test_non_ip_frames(void **state)
{
	struct bytes arp = frame(0x0806), pppoe = frame(0x8864);
	const char *text = POLICY(MAIN("rule 1 count \"c\"\n"
				       "rule 2 drop if not(proto = 6)\n"
				       "rule 3 accept\n"));

	(void)state;
	expect(judge(text, &arp), VERDICT_ACCEPT, DECIDED_NON_IP);
	expect(judge(text, &pppoe), VERDICT_DROP, DECIDED_DEFAULT);
	expect_hits(judge(text, &pppoe), "");
	text = POLICY("non_ip accept\n" MAIN("rule 1 drop\n"));
	expect(judge(text, &arp), VERDICT_ACCEPT, DECIDED_NON_IP);
	expect(judge(text, &pppoe), VERDICT_ACCEPT, DECIDED_NON_IP);
	text = POLICY("non_ip accept\n" MAIN("rule 1 link drop if eth.type in {0x806, 0x8864}\n"));
	expect(judge(text, &arp), VERDICT_DROP, 1);
	expect(judge(text, &pppoe), VERDICT_DROP, 1);
}

static void test_non_ip_frames_on_chains(void **state)
{
	struct bytes arp = frame(0x0806), pppoe = frame(0x8864), web = tcp(80);
	const char *text = POLICY(MAIN("rule 1 jump \"a\"\n"
				       "rule 2 link jump \"a\" if eth.type = 0x806\n"
				       "rule 3 count \"c\"\n"
				       "rule 4 link log \"x\" if not(eth.type = 0x806)\n")
				  CHAIN("a", "rule 5 count \"c\"\n"
					     "rule 6 jump \"b\"\n"
					     "rule 7 count \"c\", return\n"
					     "rule 8 drop\n")
				  CHAIN("b", "rule 9 drop if family in {0-1}\n"));
	struct model_result result = judge(text, &arp);

	(void)state;
	expect(result, VERDICT_DROP, 9); /* not on the first way, but behind the rule that names ARP */
	expect_hits(result, "2 5 6 9");
	result = judge(text, &pppoe);
	expect(result, VERDICT_DROP, DECIDED_DEFAULT);
	expect_hits(result, "4");
	expect_hits(judge(text, &web), "1 5 6 7 3 4");
}

static void test_mark(void **state)
{
	const char *text = "policy \"p\" {\n attach tc-ingress \"lo\"\n default accept\n chain \"main\" {\n"
			   "rule 1 mark 0x10/0xf0\n"
			   "rule 2 mark 0xff/0x1, drop if mark & 0xf0 = 0x10\n"
			   "rule 3 mark 0x3/0x3 if mark = 0x44\n"
			   "} }";
	struct bytes web = tcp(80);
	const struct model_packet packet = { .data = web.data, .length = web.length, .mark = 0x44 };
	struct model_result result = judge_at(text, HOOK_TC_INGRESS, &packet);

	(void)state;
	expect(result, VERDICT_ACCEPT, DECIDED_DEFAULT); /* rules test the mark of the arrival */
	assert_int_equal(result.mark, 0x17);
	expect_hits(result, "1 3");
}

static void test_direction(void **state)
{
	const char *text = "policy \"p\" {\n attach tc-ingress \"lo\"\n attach tc-egress \"lo\"\n default drop\n"
			   "chain \"main\" {\n rule 1 accept if direction = 1\n } }";
	struct bytes web = tcp(80);
	const struct model_packet packet = { .data = web.data, .length = web.length };

	(void)state;
	expect(judge_at(text, HOOK_TC_INGRESS, &packet), VERDICT_DROP, DECIDED_DEFAULT);
	expect(judge_at(text, HOOK_TC_EGRESS, &packet), VERDICT_ACCEPT, 1);
}

static void test_owner(void **state)
{
	const char *text = "policy \"p\" {\n attach tc-egress \"lo\"\n default drop\n set \"s\" user max 9 { 7 }\n"
			   "chain \"main\" {\n"
			   "rule 1 accept if user in {0-999, 1001-4294967294}\n" /* user != 1000 */
			   "rule 2 reject if all(user in {0-4294967294}, not(user in set \"s\"))\n"
			   "} }";
	struct bytes web = tcp(80);
	struct model_packet packet = { .data = web.data, .length = web.length, .user = 7 };

	(void)state;
	expect(judge_at(text, HOOK_TC_EGRESS, &packet), VERDICT_ACCEPT, 1);
	packet.user = 1000;
	expect(judge_at(text, HOOK_TC_EGRESS, &packet), VERDICT_REJECT, 2);
	packet.user = ABSENT_OWNER;
	expect(judge_at(text, HOOK_TC_EGRESS, &packet), VERDICT_DROP, DECIDED_DEFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_match, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_absent_fields, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_conditions, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_sets, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_non_terminal_rules, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_jump_and_return, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_goto, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_return_at_the_top, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_malformed, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_non_ip_frames, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_non_ip_frames_on_chains, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_mark, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_direction, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_owner, open_arena, close_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
