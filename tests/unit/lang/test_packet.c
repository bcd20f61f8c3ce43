/* SPDX-License-Identifier: GPL-2.0-only */
/* Descriptions of packets: what is understood, what is refused, and that what is printed is read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ir/packet_build.h"
#include "tests/lib/packets.h"
#include "tests/unit/lang/fake.h"

struct reading {
	struct arena *arena;
	const char *text;
	enum hook hook;
	const struct ruleset *ruleset;
	struct model_fields fields;
	const char *printed; /* NULL: wrong, */
	const char *error;   /* which is this */
	unsigned warnings;
};

static const struct ruleset levels = { .cgroup_levels = { 1, 2, 4 }, .cgroup_level_count = 3 };

static int read_packet(void *context)
{
	struct reading *reading = context;
	const struct source source = { "packet", reading->text, strlen(reading->text) };
	struct diags *diags = diags_new(reading->arena);
	struct model_packet packet;

	reading->printed = NULL;
	if (lang_packet(reading->arena, &source, reading->hook, reading->ruleset, &fake_names, diags, &reading->fields))
		reading->error = diags->list.items[0].text;
	else
		reading->error = packet_build(reading->arena, reading->hook, &reading->fields, &packet);
	if (!reading->error)
		reading->printed = packet_print(reading->arena, reading->hook, &packet, reading->ruleset);
	reading->warnings = diags->warnings;
	return 0;
}

static const struct {
	enum hook hook;
	const char *text;
	const char *printed; /* NULL: refused */
} packets[] = {
	{ HOOK_XDP, "tcp 10.0.0.1:999 > 10.0.0.2:80", "tcp 10.0.0.1:999 > 10.0.0.2:80" },
	{ HOOK_XDP, " tcp\t10.0.0.1:999 > 10.0.0.2:80 SA length 60 ", "tcp 10.0.0.1:999 > 10.0.0.2:80 SA length=60" },
	{ HOOK_XDP, "tcp", "tcp 192.0.2.1:1024 > 192.0.2.2:1024" },
	{ HOOK_XDP, "tcp dst_port=22 flags=none", "tcp 192.0.2.1:1024 > 192.0.2.2:22 flags=none" },
	{ HOOK_XDP, "udp [fd00::1]:5 > [fd00::2]:53", "udp [fd00::1]:5 > [fd00::2]:53" },
	{ HOOK_XDP, "udp fd00::1 > fd00::2", "udp [fd00::1]:1024 > [fd00::2]:1024" },
	{ HOOK_XDP, "icmp 10.0.0.1 > 10.0.0.2", "icmp 10.0.0.1 > 10.0.0.2 echo-request" },
	{ HOOK_XDP, "icmp 10.0.0.1 > 10.0.0.2 unreachable code=3", "icmp 10.0.0.1 > 10.0.0.2 unreachable code=3" },
	{ HOOK_XDP, "icmp type=destination-unreachable", "icmp 192.0.2.1 > 192.0.2.2 unreachable" },
	{ HOOK_XDP, "icmp fe80::1 > ff02::1 type=200", "icmp6 fe80::1 > ff02::1 type=200" },
	{ HOOK_XDP, "icmp6", "icmp6 2001:db8::1 > 2001:db8::2 echo-request" },
	{ HOOK_XDP, "47 10.0.0.1 > 10.0.0.2 fragment", "gre 10.0.0.1 > 10.0.0.2 fragment" },
	{ HOOK_XDP, "udp fragment=first ttl=1 dscp=ef ecn=ce vlan=5",
	  "udp 192.0.2.1:1024 > 192.0.2.2:1024 fragment=first vlan=5 ttl=1 dscp=46 ecn=3" },
	{ HOOK_XDP, "arp 10.0.0.1 > 10.0.0.2 request", "arp" },
	{ HOOK_XDP, "0x88b5 02:00:00:00:00:09 > ff:ff:ff:ff:ff:ff",
	  "0x88b5 eth.src=02:00:00:00:00:09 eth.dst=ff:ff:ff:ff:ff:ff" },
	{ HOOK_XDP, "eth0 tcp 10.0.0.1:999 > 10.0.0.2:80", "tcp 10.0.0.1:999 > 10.0.0.2:80 in_iface=2" },
	{ HOOK_TC_EGRESS, "tcp iface=eth1 mark=4", "tcp 192.0.2.1:1024 > 192.0.2.2:1024 out_iface=3 mark=0x4" },
	{ HOOK_NF_FORWARD, "tcp in_iface=eth1 out_iface=7", "tcp 192.0.2.1:1024 > 192.0.2.2:1024 in_iface=3 out_iface=7" },
	{ HOOK_TC_INGRESS, "2026-11-23 03:30:15.123456 drop web:3 \"a \\\"b\\\"\" eth0 udp 10.0.0.1:999 > 10.0.0.2:80 "
			   "length 60 mark 0x1", "udp 10.0.0.1:999 > 10.0.0.2:80 length=60 in_iface=2 mark=0x1" },
	{ HOOK_TC_INGRESS, "drop web:3 udp 10.0.0.1:9 > 10.0.0.2:8", "udp 10.0.0.1:9 > 10.0.0.2:8" },
	{ HOOK_CGROUP_EGRESS, "tcp user=alice", "tcp 192.0.2.1:1024 > 192.0.2.2:1024 user=1000" },
	{ HOOK_CGROUP_EGRESS, "tcp cgroup=/system.slice/ssh.service",
	  "tcp 192.0.2.1:1024 > 192.0.2.2:1024 cgroup.1=10 cgroup.2=11" },
	{ HOOK_CGROUP_EGRESS, "tcp cgroup.4=99 cgroup.9=1", "tcp 192.0.2.1:1024 > 192.0.2.2:1024 cgroup.4=99" },
	{ HOOK_XDP, "tcp user=1000", "tcp 192.0.2.1:1024 > 192.0.2.2:1024" },

	{ HOOK_XDP, "", NULL }, { HOOK_XDP, " > ", NULL }, { HOOK_XDP, "tcp >", NULL }, { HOOK_XDP, "tpc", NULL },
	{ HOOK_XDP, "tcp 10.0.0.1 > fd00::1", NULL }, { HOOK_XDP, "tcp 10.0.0.1:70000 > 10.0.0.1", NULL },
	{ HOOK_XDP, "udp SA", NULL }, { HOOK_XDP, "tcp length=39", NULL }, { HOOK_XDP, "tcp vlan=4096", NULL },
	{ HOOK_XDP, "tcp dst_port=", NULL }, { HOOK_XDP, "tcp dst_prot=5", NULL }, { HOOK_XDP, "tcp fragment=5", NULL },
	{ HOOK_XDP, "a b tcp 10.0.0.1 > 10.0.0.2", NULL }, { HOOK_XDP, "tcp ttl=1 ttl=2", NULL },
	{ HOOK_XDP, "gre 10.0.0.1:5 > 10.0.0.2:6", NULL }, { HOOK_XDP, "nosuch0 tcp 10.0.0.1 > 10.0.0.2", NULL },
	{ HOOK_XDP, "tcp \"", NULL }, { HOOK_XDP, "tcp length=2000000", NULL },
	{ HOOK_NF_INPUT, "arp", NULL }, { HOOK_NF_FORWARD, "tcp iface=eth0", NULL },
	{ HOOK_CGROUP_EGRESS, "tcp user=nosuch", NULL }, { HOOK_CGROUP_EGRESS, "tcp cgroup=/nosuch", NULL },
};

static void packets_are_understood(void **state)
{
	struct arena *arena = arena_new();

	(void)state;
	for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
		struct reading reading = { .arena = arena, .text = packets[i].text, .hook = packets[i].hook,
					   .ruleset = &levels };

		assert_int_equal(arena_run(arena, read_packet, &reading), 0);
		if (!reading.printed != !packets[i].printed)
			print_error("%s: %s\n", packets[i].text, reading.error ? reading.error : reading.printed);
		assert_int_equal(!reading.printed, !packets[i].printed);
		if (packets[i].printed)
			assert_string_equal(reading.printed, packets[i].printed);
	}
	arena_free(arena);
}

static void compare(struct arena *arena, enum hook hook, const struct model_packet *input)
{
	struct model_fields fields, found;
	struct model_packet built;
	struct reading reading = { .arena = arena, .hook = hook, .ruleset = &levels };
	const char *wrong;

	model_parse(hook, input, &fields);
	if (fields.malformed)
		return;
	wrong = packet_build(arena, hook, &fields, &built);
	if (wrong)
		print_error("%s: %s\n", packet_print(arena, hook, input, &levels), wrong);
	assert_null(wrong);
	model_parse(hook, &built, &found);
	fields.transport = found.transport = NULL; /* bytes, not values */
	fields.transport_length = found.transport_length = 0;
	assert_memory_equal(&fields, &found, sizeof fields);

	reading.text = packet_print(arena, hook, &built, &levels);
	read_packet(&reading);
	if (!reading.printed)
		print_error("%s: %s\n", reading.text, reading.error);
	assert_non_null(reading.printed);
	assert_string_equal(reading.printed, reading.text);
	assert_int_equal(reading.warnings, 0);
}

static bool is_later_fragment(const struct model_packet *packet)
{
	struct model_fields fields;

	model_parse(HOOK_CGROUP_EGRESS, packet, &fields);
	return fields.value[FIELD_FRAGMENT] == FRAGMENT_LATER;
}

static int build_random(void *context)
{
	unsigned char buffer[PACKET_BYTES_MAX];
	struct packet_source source;
	struct model_packet packet;

	packets_seed(&source, 7);
	for (int i = 0; i < 4000; i++) {
		enum hook hook = (enum hook)(i % HOOK_COUNT);

		source.well_formed = i % 4;
		packets_next_at(&source, hook, buffer, sizeof buffer, &packet);
		if (hook_table[hook].call && is_later_fragment(&packet))
			continue; /* no call sends one */
		compare(context, hook, &packet);
	}
	return 0;
}

/* What is printed is read back; any packet can be built from its fields. */
static void packets_go_there_and_back(void **state)
{
	struct arena *arena = arena_new();

	(void)state;
	assert_int_equal(arena_run(arena, build_random, arena), 0);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_are_understood),
		cmocka_unit_test(packets_go_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
