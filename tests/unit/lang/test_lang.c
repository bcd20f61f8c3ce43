/* SPDX-License-Identifier: GPL-2.0-only */
/* The ways in: expressions and hooks, running out of memory at any point, hostile sizes, the names of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lang/compile.h"

static const char medium[] =
	"define web = { 80, 443 }\n"
	"define more = { web, 8000-8999, http }\n"
	"set shared : prefix { 10.0.0.0/8, fd00::/8, 192.0.2.1-192.0.2.6 }\n"
	"policy one {\n"
	"    on tc eth0 ingress\n"
	"    on cgroup \"/system.slice\" egress\n"
	"    default drop\n"
	"    set ports : port max 2000 { more, 22 }\n"
	"    accept if neighbour or icmp_error or loopback or dhcp_client\n"
	"    jump friends if src in shared and not (udp and dst_port in { more, 53 })\n"
	"    accept if udp and rate <= 10/s burst 20 per src/24/56 max 100\n"
	"    accept if (udp or tcp) and rate <= 10mbit\n"
	"    drop if rate <= 1/min per flow\n"
	"    log \"x\" rate 10/s count c reject if egress and user in { root, alice } and cgroup != \"/a/b/c\"\n"
	"    accept if dst_port != 22 and tcp and udp\n"
	"    chain friends {\n"
	"        mark 1/0xff if tcp.flags & (syn|ack) == syn\n"
	"        return if iface == \"veth*\" or dst_port in ports\n"
	"        accept\n"
	"    }\n"
	"}\n"
	"policy two {\n"
	"    on xdp eth0\n"
	"    default drop\n"
	"    drop if user == root or dst_prt == 5 or ip.src == ::1\n"
	"    acept if (tcp\n"
	"}\n";

/* Each allocation fails once; nothing else may happen than -ENOMEM. */
static void fail_every(const char *text, size_t length, enum compile_job job, int expected)
{
	for (long nth = 0;; nth++) {
		struct compile compile = compile_start("medium.weir", text, length, false);
		int result;

		compile.job = job;
		arena_fail_at(compile.arena, nth);
		result = compile_run(&compile);
		compile_end(&compile);
		if (result != -ENOMEM) {
			assert_int_equal(result, expected);
			assert_true(nth > 50);
			return;
		}
	}
}

static void out_of_memory(void **state)
{
	size_t good = (size_t)(strstr(medium, "policy two") - medium);

	(void)state;
	fail_every(medium, good, JOB_COMPILE, 0);
	fail_every(medium, good, JOB_FORMAT, 0);
	fail_every(medium, sizeof medium - 1, JOB_COMPILE, -EINVAL);
}

static void check_expression(const char *text, hook_mask hooks, int expected, const char *message)
{
	struct compile compile = compile_start("expression", text, strlen(text), true);

	compile.input.hooks = hooks;
	assert_int_equal(compile_run(&compile), expected);
	if (message && !strstr(compile.messages, message))
		fail_msg("%s: %s", text, compile.messages);
	compile_end(&compile);
}

static void expression_hooks(void **state)
{
	(void)state;
	check_expression("user == root", 0, 0, NULL);
	check_expression("user == root and arp", 0, 0, NULL); /* tc-egress knows both */
	check_expression("user == root and in_iface == eth0", 0, 0, NULL);
	check_expression("user == root and in_iface == eth0 and arp", 0, -EINVAL, "expression:1:39: error: no hook");
	check_expression("user == root", HOOK_BIT(HOOK_XDP), -EINVAL, "`user` is not known at xdp");
	check_expression("user == root", HOOK_BIT(HOOK_CGROUP_EGRESS), 0, NULL);
	check_expression("iface == eth0", HOOK_BIT(HOOK_NF_FORWARD), -EINVAL, "either of two");
	check_expression("src == ::g", 0, -EINVAL, "expression:1:8: error:");
}

static void one_rule(void **state)
{
	static const char text[] = "arp or udp";
	struct compile compile = compile_start("expression", text, sizeof text - 1, true);
	const struct ruleset *ruleset;

	(void)state;
	assert_int_equal(compile_run(&compile), 0);
	assert_int_equal(compile.rulesets->count, 1);
	ruleset = &compile.rulesets->items[0];
	assert_string_equal(ruleset->name, "expression");
	assert_true(ruleset->expression && !ruleset->attach_count && ruleset->rule_count == 1);
	assert_int_equal(ruleset->default_verdict, VERDICT_DROP);
	assert_true(ruleset->chains[0].rules[0].names_link);
	compile_end(&compile);
}

/* Defines that double each time must not take forever or all memory. */
static void doubling_defines(void **state)
{
	char text[4096];
	size_t length = (size_t)sprintf(text, "define a0 = { 1, 2 }\n");
	struct compile compile;

	(void)state;
	for (int i = 1; i < 60; i++)
		length += (size_t)sprintf(text + length, "define a%d = { a%d, a%d }\n", i, i - 1, i - 1);
	length += (size_t)sprintf(text + length, "policy p {\non xdp eth0\ndefault accept\ndrop if dst_port in a59\n}\n");
	compile = compile_start("p.weir", text, length, false);
	assert_int_equal(compile_run(&compile), -EINVAL);
	assert_non_null(strstr(compile.messages, "too many values"));
	compile_end(&compile);
}

static void deep_defines(void **state)
{
	char *text = malloc(1 << 20);
	size_t length = (size_t)sprintf(text, "define a0 = { 1 }\n");
	struct compile compile;

	(void)state;
	for (int i = 1; i < 20000; i++)
		length += (size_t)sprintf(text + length, "define a%d = { a%d }\n", i, i - 1);
	length += (size_t)sprintf(text + length, "policy p {\non xdp eth0\ndefault accept\ndrop if dst_port in a19999\n}\n");
	compile = compile_start("p.weir", text, length, false);
	assert_int_equal(compile_run(&compile), -EINVAL);
	assert_non_null(strstr(compile.messages, "nested too deeply"));
	compile_end(&compile);
	free(text);
}

/* Rule numbers follow the text, also where chains stand between. */
static void rule_numbers(void **state)
{
	static const char text[] = "policy p {\non xdp eth0\ndefault accept\njump c\nchain c {\ndrop if tcp\ndrop if udp\n}\n"
				   "drop\n}\n";
	struct compile compile = compile_start("p.weir", text, sizeof text - 1, false);
	const struct chain *chains;

	(void)state;
	assert_int_equal(compile_run(&compile), 0);
	chains = compile.rulesets->items[0].chains;
	assert_int_equal(chains[0].rules[0].number, 1);
	assert_int_equal(chains[1].rules[1].number, 3);
	assert_int_equal(chains[0].rules[1].number, 4);
	assert_int_equal(chains[0].rules[0].actions[0].chain, 1);
	compile_end(&compile);
}

static void nothing_is_asked_without_names(void **state)
{
	static const char text[] = "user == root or iface == lo or tcp.dst_port == http or cgroup == \"/\" or proto == x";
	struct compile compile = compile_start("expression", text, sizeof text - 1, true);

	(void)state;
	compile.input.names = NULL;
	assert_int_equal(compile_run(&compile), -EINVAL);
	assert_int_equal(compile.diags->errors, 5);
	compile_end(&compile);
}

static void count_one(void *data, uint32_t index)
{
	*(uint32_t *)data = index;
}

static void names_of_this_machine(void **state)
{
	uint32_t uid = 1, gid = 1, lo = 0;
	uint16_t port;
	uint8_t number, level;
	uint64_t id;

	(void)state;
	assert_int_equal(names_system.user(NULL, "root", &uid), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(names_system.group(NULL, "root", &gid), 0);
	assert_int_equal(gid, 0);
	assert_int_equal(names_system.user(NULL, "no such user", &uid), -ENOENT);
	assert_int_equal(names_system.interfaces(NULL, "l?", count_one, &lo), 1);
	assert_int_equal(lo, 1);
	assert_int_equal(names_system.service(NULL, "no such service", NULL, &port), -ENOENT);
	assert_int_equal(names_system.protocol(NULL, "no such protocol", &number), -ENOENT);
	if (!names_system.cgroup(NULL, "/", &level, &id)) {
		assert_int_equal(level, 0);
		assert_true(id);
	}
	assert_true(names_system.cgroup(NULL, "/no/such/cgroup", &level, &id) < 0);
	assert_true(names_system.cgroup(NULL, "/..", &level, &id) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(out_of_memory), cmocka_unit_test(expression_hooks), cmocka_unit_test(one_rule),
		cmocka_unit_test(doubling_defines), cmocka_unit_test(deep_defines), cmocka_unit_test(rule_numbers),
		cmocka_unit_test(nothing_is_asked_without_names), cmocka_unit_test(names_of_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
