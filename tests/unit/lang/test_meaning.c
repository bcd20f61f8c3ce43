/* SPDX-License-Identifier: GPL-2.0-only */
/* What expressions mean: compiled and judged by the model on packets made by hand, at one hook each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/model.h"
#include "tests/unit/lang/compile.h"

enum { TCP = 6, UDP = 17, ICMP = 1, ICMP6 = 58 };

/* Zero: not there, or the least. Addresses: 10.0.0.<src> > 10.0.0.<dst>, fd00::<src> > fd00::<dst>. */
struct shape {
	bool v6;
	bool arp;
	bool later; /* a later fragment, IPv4 */
	uint8_t proto;
	uint8_t src, dst;
	uint16_t sport, dport; /* ICMP: type, code */
	uint8_t flags;
	uint8_t ttl;
	uint32_t in, out;
	uint32_t user;      /* with `owner` */
	uint64_t cgroup[3]; /* ids at the levels that the expression asks for, in its order */
	bool owner;
	uint16_t tree;
};

static void put16(unsigned char *at, uint16_t value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
}

static size_t transport(const struct shape *shape, unsigned char *at)
{
	if (shape->later)
		return 16;
	if (shape->proto == ICMP || shape->proto == ICMP6) {
		at[0] = (unsigned char)shape->sport;
		at[1] = (unsigned char)shape->dport;
		return 8;
	}
	put16(at, shape->sport);
	put16(at + 2, shape->dport);
	if (shape->proto == UDP) {
		put16(at + 4, 8);
		return 8;
	}
	at[12] = 5 << 4;
	at[13] = shape->flags;
	return 20;
}

static size_t network(const struct shape *shape, unsigned char *at)
{
	size_t header = shape->v6 ? 40 : 20;
	size_t length = header + transport(shape, at + header);

	if (shape->v6) {
		at[0] = 0x60;
		put16(at + 4, (uint16_t)(length - header));
		at[6] = shape->proto;
		at[7] = shape->ttl;
		at[8] = at[24] = 0xfd;
		at[23] = shape->src;
		at[39] = shape->dst;
		return length;
	}
	at[0] = 0x45;
	put16(at + 2, (uint16_t)length);
	put16(at + 6, shape->later ? 100 : 0);
	at[8] = shape->ttl;
	at[9] = shape->proto;
	at[12] = at[16] = 10;
	at[15] = shape->src;
	at[19] = shape->dst;
	return length;
}

struct judging {
	struct compile *compile;
	enum hook hook;
	struct model_packet packet;
	struct model_result result;
};

static int judge_work(void *context)
{
	struct judging *judging = context;

	model_judge(judging->compile->arena, &judging->compile->rulesets->items[0], judging->hook, &judging->packet,
		    &judging->result);
	return 0;
}

static bool accepts(const char *text, enum hook hook, const struct shape *shape)
{
	struct compile compile = compile_start("expression", text, strlen(text), true);
	unsigned char data[128] = { 0 };
	struct judging judging = { .compile = &compile, .hook = hook };
	size_t link = hook_table[hook].frames ? 14 : 0;

	compile.input.hooks = HOOK_BIT(hook);
	if (compile_run(&compile))
		fail_msg("%s", compile.messages);
	put16(data + 12, shape->arp ? 0x0806 : shape->v6 ? 0x86dd : 0x0800);
	data[0] = data[6] = 2;
	judging.packet = (struct model_packet){
		.data = link ? data : data + 14,
		.length = link + (shape->arp ? 28 : network(shape, data + 14)),
		.ethertype = shape->v6 ? 0x86dd : 0x0800,
		.in_iface = shape->in,
		.out_iface = shape->out,
		.user = shape->owner ? shape->user : ABSENT_OWNER,
		.group = ABSENT_OWNER,
		.tree = shape->tree,
	};
	memcpy(judging.packet.cgroup, shape->cgroup, sizeof shape->cgroup);
	assert_int_equal(arena_run(compile.arena, judge_work, &judging), 0);
	assert_int_not_equal(judging.result.rule, DECIDED_MALFORMED);
	compile_end(&compile);
	return judging.result.verdict == VERDICT_ACCEPT;
}

static void expect(const char *text, enum hook hook, const struct shape shape, bool expected)
{
	if (accepts(text, hook, &shape) != expected)
		fail_msg("`%s` should be %s", text, expected ? "true" : "false");
}

#define YES(text, hook, ...) expect(text, HOOK_##hook, (struct shape){ __VA_ARGS__ }, true)
#define NO(text, hook, ...) expect(text, HOOK_##hook, (struct shape){ __VA_ARGS__ }, false)

static void port_firewall(void **state)
{
	static const char text[] = "icmp || (udp && dst_port == 53) || (tcp && dst_port == 80)";

	(void)state;
	YES(text, CGROUP_INGRESS, .proto = ICMP, .sport = 8);
	YES(text, CGROUP_INGRESS, .v6 = true, .proto = ICMP6, .sport = 128);
	NO(text, CGROUP_INGRESS, .v6 = true, .proto = ICMP, .sport = 8);
	YES(text, CGROUP_INGRESS, .proto = UDP, .dport = 53);
	NO(text, CGROUP_INGRESS, .proto = UDP, .dport = 80);
	YES(text, CGROUP_INGRESS, .v6 = true, .proto = TCP, .dport = 80);
	YES("!udp || dst_port == 53", CGROUP_INGRESS, .proto = ICMP);
	YES("!udp || dst_port == 53", CGROUP_INGRESS, .proto = TCP, .dport = 1);
	NO("!udp || dst_port == 53", CGROUP_INGRESS, .proto = UDP, .dport = 54);
}

static void absent_fields(void **state)
{
	(void)state;
	YES("dst_port != 22", TC_INGRESS, .proto = ICMP);
	YES("dst_port != 22", TC_INGRESS, .proto = TCP, .dport = 22, .later = true);
	NO("dst_port != 22", TC_INGRESS, .proto = TCP, .dport = 22);
	NO("tcp and dst_port != 22", TC_INGRESS, .proto = ICMP);
	YES("tcp.dst_port != 22", TC_INGRESS, .proto = UDP, .dport = 22);
	YES("ip.src != 10.0.0.1", TC_INGRESS, .v6 = true, .proto = TCP);
	NO("src != 10.0.0.1", TC_INGRESS, .proto = TCP, .src = 1);
	NO("src not in { 10.0.0.1, fd00::1 }", TC_INGRESS, .v6 = true, .proto = TCP, .src = 1);
	YES("not tcp.syn", TC_INGRESS, .proto = UDP);
	NO("tcp.flags & (syn|ack) == 0", TC_INGRESS, .proto = UDP);
}

static void masks(void **state)
{
	(void)state;
	YES("tcp.flags & (syn|ack) == syn", XDP, .proto = TCP, .flags = 0x42);
	NO("tcp.flags & (syn|ack) == syn", XDP, .proto = TCP, .flags = 0x12);
	YES("tcp.flags == syn|ack", XDP, .proto = TCP, .flags = 0x12);
	NO("tcp.flags == syn|ack", XDP, .proto = TCP, .flags = 0x52);
	YES("tcp.syn and not tcp.ack", XDP, .proto = TCP, .flags = 0xc2);
	YES("ip.src & 0.0.0.3 == 0.0.0.1", XDP, .proto = TCP, .src = 5);
	NO("ip.src & 0.0.0.3 == 0.0.0.1", XDP, .proto = TCP, .src = 6);
}

static void binding(void **state)
{
	(void)state;
	YES("not udp and tcp or icmp", XDP, .proto = TCP);
	YES("udp or tcp and dst_port == 5", XDP, .proto = UDP, .dport = 9);
	NO("(udp or tcp) and dst_port == 5", XDP, .proto = UDP, .dport = 9);
	YES("not dst_port == 5 and tcp", XDP, .proto = TCP, .dport = 6);
	NO("not dst_port == 5 and tcp", XDP, .proto = TCP, .dport = 5);
}

static void non_ip(void **state)
{
	(void)state;
	YES("udp", XDP, .arp = true); /* exempt: no rule names it, so it passes */
	YES("not tcp", XDP, .arp = true);
	YES("arp", XDP, .arp = true);
	YES("not arp", XDP, .arp = true); /* named, but not accepted; then exempt */
	NO("arp", XDP, .proto = TCP);
}

static void owners(void **state)
{
	static const char not_in[] = "not (user == root or user in { alice, 5-10 })";

	(void)state;
	YES("user == root", CGROUP_EGRESS, .proto = TCP, .owner = true);
	NO("user == root", CGROUP_EGRESS, .proto = TCP);
	NO("user != root", CGROUP_EGRESS, .proto = TCP);
	NO("not (user == root)", CGROUP_EGRESS, .proto = TCP);
	YES("user != root", CGROUP_EGRESS, .proto = TCP, .owner = true, .user = 5);
	NO(not_in, CGROUP_EGRESS, .proto = TCP, .owner = true, .user = 7);
	NO(not_in, CGROUP_EGRESS, .proto = TCP, .owner = true, .user = 1000);
	YES(not_in, CGROUP_EGRESS, .proto = TCP, .owner = true, .user = 11);
	NO(not_in, CGROUP_EGRESS, .proto = TCP);
	YES("user known", CGROUP_EGRESS, .proto = TCP, .owner = true, .user = 4294967294u);
	NO("user known", CGROUP_EGRESS, .proto = TCP);
	YES("not (user == root and udp)", CGROUP_EGRESS, .proto = TCP); /* it is no UDP, whoever owns it */
}

static void cgroups(void **state)
{
	(void)state;
	YES("cgroup == \"/a/b/c\"", CGROUP_EGRESS, .proto = TCP, .owner = true, .cgroup = { 13 });
	NO("cgroup != \"/a/b/c\"", CGROUP_EGRESS, .proto = TCP, .owner = true, .cgroup = { 13 });
	YES("cgroup != \"/a/b/c\"", CGROUP_EGRESS, .proto = TCP, .owner = true, .cgroup = { 99 });
	/* an owner further up has no ancestor at that level, and is surely not in it */
	YES("cgroup != \"/a/b/c\"", CGROUP_EGRESS, .proto = TCP, .owner = true, .cgroup = { 0 });
	NO("cgroup != \"/a/b/c\"", CGROUP_EGRESS, .proto = TCP);
	NO("cgroup == \"/a/b/c\"", CGROUP_EGRESS, .proto = TCP);
	NO("cgroup not in { \"/a/b/c\", \"/system.slice\" }", CGROUP_EGRESS, .proto = TCP, .owner = true,
	   .cgroup = { 0, 10 });
}

/* In one of several trees, or in none of them; of what is not known neither is true. */
static void trees(void **state)
{
	static const char of_two[] = "program in tree of { \"/programs/1\", \"/programs/2\" }";
	static const char of_none[] = "program not in tree of { \"/programs/1\", \"/programs/2\" }";

	(void)state;
	YES("program in tree of \"/programs/1\"", CONNECT, .proto = TCP, .tree = TREE_IN(0));
	NO("program in tree of \"/programs/1\"", CONNECT, .proto = TCP, .tree = TREE_OUT(0));
	NO("program in tree of \"/programs/1\"", CONNECT, .proto = TCP);
	NO("not program in tree of \"/programs/1\"", CONNECT, .proto = TCP);
	NO("not program in tree of \"/programs/1\"", CONNECT, .proto = TCP, .tree = TREE_IN(0));
	YES("not (program in tree of \"/programs/1\" and tcp)", CONNECT, .proto = TCP, .tree = TREE_OUT(0));
	YES("not program not in tree of \"/programs/1\"", CONNECT, .proto = TCP, .tree = TREE_IN(0));
	YES(of_two, CONNECT, .proto = TCP, .tree = TREE_OUT(0) | TREE_IN(1));
	YES(of_two, CONNECT, .proto = TCP, .tree = TREE_IN(0));
	NO(of_two, CONNECT, .proto = TCP, .tree = TREE_OUT(0) | TREE_OUT(1));
	YES(of_none, CONNECT, .proto = TCP, .tree = TREE_OUT(0) | TREE_OUT(1));
	NO(of_none, CONNECT, .proto = TCP, .tree = TREE_OUT(0));
	NO(of_none, CONNECT, .proto = TCP, .tree = TREE_OUT(0) | TREE_IN(1));
}

static void interfaces(void **state)
{
	(void)state;
	YES("iface == eth0", TC_INGRESS, .proto = TCP, .in = 2);
	NO("iface == eth0", TC_INGRESS, .proto = TCP, .in = 3);
	YES("iface == eth0", TC_EGRESS, .proto = TCP, .out = 2);
	YES("iface == \"veth*\"", NF_INPUT, .proto = TCP, .in = 5);
	YES("loopback", NF_INPUT, .proto = TCP, .in = 1);
	NO("loopback", NF_FORWARD, .proto = TCP, .in = 2, .out = 3);
	YES("ingress", NF_INPUT, .proto = TCP);
	NO("ingress or egress", NF_FORWARD, .proto = TCP);
}

static void short_names(void **state)
{
	(void)state;
	YES("neighbour", XDP, .v6 = true, .proto = ICMP6, .sport = 135, .ttl = 255);
	NO("neighbour", XDP, .v6 = true, .proto = ICMP6, .sport = 135, .ttl = 254);
	NO("neighbour", XDP, .v6 = true, .proto = ICMP6, .sport = 128, .ttl = 255);
	YES("icmp_error", XDP, .proto = ICMP, .sport = 3, .dport = 4);
	NO("icmp_error", XDP, .proto = ICMP, .sport = 3, .dport = 3);
	YES("icmp_error", XDP, .proto = ICMP, .sport = 11);
	YES("icmp_error", XDP, .v6 = true, .proto = ICMP6, .sport = 2);
	NO("icmp_error", XDP, .v6 = true, .proto = ICMP6, .sport = 1);
	YES("dhcp_client", XDP, .proto = UDP, .sport = 67, .dport = 68);
	NO("dhcp_client", XDP, .v6 = true, .proto = UDP, .sport = 67, .dport = 68);
	YES("dhcp_client", XDP, .v6 = true, .proto = UDP, .sport = 547, .dport = 546);
	YES("icmp.type == host-unreachable", XDP, .v6 = true, .proto = ICMP6, .sport = 1, .dport = 3);
	NO("icmp.type == echo-request", XDP, .v6 = true, .proto = ICMP6, .sport = 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_firewall), cmocka_unit_test(absent_fields), cmocka_unit_test(masks),
		cmocka_unit_test(binding),       cmocka_unit_test(non_ip),        cmocka_unit_test(owners),
		cmocka_unit_test(cgroups),       cmocka_unit_test(trees),
		     cmocka_unit_test(interfaces),    cmocka_unit_test(short_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
