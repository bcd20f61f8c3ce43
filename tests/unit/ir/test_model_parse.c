/* SPDX-License-Identifier: GPL-2.0-only */
/* The model's packet parser on hand-made packets: values, presence, and what is malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ir/model.h"
#include "tests/lib/bytes.h"
#include "tests/lib/packets.h"

static struct model_fields parse_at(enum hook hook, const struct bytes *bytes, unsigned ethertype)
{
	const struct model_packet packet = { .data = bytes->data, .length = bytes->length,
					     .ethertype = (uint16_t)ethertype, .user = ABSENT_OWNER,
					     .group = ABSENT_OWNER };
	struct model_fields fields;

	model_parse(hook, &packet, &fields);
	return fields;
}

static struct model_fields parse(const struct bytes *bytes)
{
	return parse_at(HOOK_XDP, bytes, 0);
}

static bool malformed(const struct bytes *bytes)
{
	return parse(bytes).malformed;
}

static void expect(const struct model_fields *fields, enum field field, u128 value)
{
	if (!fields->has[field])
		fail_msg("no %s", field_table[field].name);
	if (fields->value[field] != value)
		fail_msg("%s is %llx, not %llx", field_table[field].name,
			 (unsigned long long)u128_lo(fields->value[field]), (unsigned long long)u128_lo(value));
}

static void expect_absent(const struct model_fields *fields, enum field field)
{
	if (fields->malformed || fields->has[field])
		fail_msg("%s is there, or the packet is malformed", field_table[field].name);
}

/* An IPv4 packet up to its transport header. */
static struct bytes ipv4(unsigned payload, unsigned fragment, unsigned proto)
{
	struct bytes bytes = { .length = 0 };

	bytes_ether(&bytes, 0x0800);
	bytes_ipv4(&bytes, 20 + payload, fragment, proto);
	return bytes;
}

static struct bytes ipv6(unsigned payload, unsigned next)
{
	struct bytes bytes = { .length = 0 };

	bytes_ether(&bytes, 0x86dd);
	bytes_ipv6(&bytes, payload, next);
	return bytes;
}

static void test_tcp4(void **state)
{
	struct bytes bytes = ipv4(20, 0x4000, 6);
	struct model_fields fields;

	(void)state;
	bytes.data[15] = 0xb9; /* DSCP 46, ECN 1 */
	bytes_tcp(&bytes, 1234, 80, 0x12);
	fields = parse(&bytes);
	expect(&fields, FIELD_FAMILY, FAMILY_IPV4);
	expect(&fields, FIELD_ETH_TYPE, 0x0800);
	expect(&fields, FIELD_ETH_SRC, 0x020000000001);
	expect(&fields, FIELD_ETH_DST, 0x020000000002);
	expect(&fields, FIELD_PROTO, 6);
	expect(&fields, FIELD_SRC_PORT, 1234);
	expect(&fields, FIELD_DST_PORT, 80);
	expect(&fields, FIELD_TCP_FLAGS, 0x12);
	expect(&fields, FIELD_FRAGMENT, FRAGMENT_NONE);
	expect(&fields, FIELD_IP_SRC, 0x0a000001);
	expect(&fields, FIELD_IP_DST, 0x0a000002);
	expect(&fields, FIELD_TTL, 64);
	expect(&fields, FIELD_DSCP, 46);
	expect(&fields, FIELD_ECN, 1);
	expect(&fields, FIELD_LENGTH, 40);
	expect(&fields, FIELD_DIRECTION, DIRECTION_INGRESS);
	expect_absent(&fields, FIELD_VLAN);
	expect_absent(&fields, FIELD_ICMP_TYPE);
	expect_absent(&fields, FIELD_IPV6_DST);
}

static void test_options_shift_the_ports(void **state)
{
	struct bytes bytes = ipv4(24, 0, 17);
	struct model_fields fields;

	(void)state;
	bytes.data[14] = 0x4f;
	bytes.data[17] = 60 + 8;
	bytes_fill(&bytes, 1, 40);
	bytes_udp(&bytes, 53, 4000, 8);
	fields = parse(&bytes);
	expect(&fields, FIELD_DST_PORT, 4000);
	bytes.data[14] = 0x44;
	assert_true(malformed(&bytes));
}

static void test_small_udp(void **state)
{
	struct bytes bytes = ipv4(11, 0, 17);
	struct model_fields fields;

	(void)state;
	bytes_udp(&bytes, 4000, 53, 11);
	bytes_hex(&bytes, "616263");
	fields = parse(&bytes);
	assert_false(fields.malformed);
	expect(&fields, FIELD_DST_PORT, 53);
}

static void test_udp_length(void **state)
{
	static const struct { unsigned length, total; bool malformed; } cases[] = {
		{ 8, 38, false }, { 18, 38, false }, { 19, 38, true }, { 7, 38, true }, { 0, 38, true }, { 0, 0, false },
		{ 18, 0, false }, { 19, 0, true }, { 8, 37, false }, { 18, 37, true }, { 0, 27, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes bytes = ipv4(0, 0, 17);

		bytes.data[17] = (unsigned char)cases[i].total;
		bytes_udp(&bytes, 1, 2, cases[i].length);
		bytes_fill(&bytes, 0, 10);
		if (malformed(&bytes) != cases[i].malformed)
			fail_msg("case %zu", i);
	}
}

static void test_udp_length_of_a_fragment_is_the_datagrams(void **state)
{
	struct bytes bytes = ipv4(8, 0x2000, 17);
	struct model_fields fields;

	(void)state;
	bytes_udp(&bytes, 1, 2, 3000);
	fields = parse(&bytes);
	expect(&fields, FIELD_FRAGMENT, FRAGMENT_FIRST);
	expect(&fields, FIELD_DST_PORT, 2);
}

static void test_udp_lite_length_is_coverage(void **state)
{
	struct bytes bytes = ipv4(8, 0, 136);
	struct model_fields fields;

	(void)state;
	bytes_udp(&bytes, 1, 2, 9999);
	fields = parse(&bytes);
	expect(&fields, FIELD_DST_PORT, 2);
}

static void test_second_fragment_has_no_ports(void **state)
{
	struct bytes bytes = ipv4(20, 185, 17);
	struct model_fields fields;

	(void)state;
	bytes_udp(&bytes, 1234, 53, 20);
	bytes_fill(&bytes, 0, 12);
	fields = parse(&bytes);
	expect(&fields, FIELD_FRAGMENT, FRAGMENT_LATER);
	expect(&fields, FIELD_PROTO, 17);
	expect_absent(&fields, FIELD_DST_PORT);
	expect_absent(&fields, FIELD_SRC_PORT);
}

static void test_later_fragment_needs_no_header(void **state)
{
	struct bytes bytes = ipv4(1, 2, 6);
	struct model_fields fields;

	(void)state;
	bytes_fill(&bytes, 0, 1);
	fields = parse(&bytes);
	expect(&fields, FIELD_FRAGMENT, FRAGMENT_LATER);
	expect_absent(&fields, FIELD_TCP_FLAGS);
}

static void test_tiny_fragments(void **state)
{
	struct bytes first = ipv4(8, 0x2000, 6), overlap = ipv4(20, 1, 6), udp = ipv4(20, 1, 17);
	struct bytes overlap6 = ipv6(28, 44);

	(void)state;
	bytes_udp(&first, 1, 2, 0);
	assert_true(malformed(&first));
	bytes_tcp(&overlap, 1, 2, 0);
	assert_true(malformed(&overlap));
	bytes_tcp(&udp, 1, 2, 0);
	assert_false(malformed(&udp));
	bytes_hex(&overlap6, "06 00 0008 00000001");
	bytes_tcp(&overlap6, 1, 2, 0);
	assert_true(malformed(&overlap6));
}

static void test_tcp_data_offset(void **state)
{
	(void)state;
	for (unsigned words = 0; words < 16; words++) {
		struct bytes bytes = ipv4(28, 0, 6);

		bytes_tcp(&bytes, 1, 2, 2);
		bytes_fill(&bytes, 0, 8);
		bytes.data[14 + 20 + 12] = (unsigned char)(words << 4);
		assert_int_equal(malformed(&bytes), words < 5 || words > 7);
	}
}

static void test_icmp(void **state)
{
	struct bytes four = ipv4(8, 0, 1), six = ipv6(8, 58), wrong4 = ipv4(8, 0, 58), wrong6 = ipv6(1, 1);
	struct model_fields fields;

	(void)state;
	bytes_hex(&four, "0300 0000 00000000");
	fields = parse(&four);
	expect(&fields, FIELD_ICMP_TYPE, 3);
	expect(&fields, FIELD_ICMP_CODE, 0);
	bytes_hex(&six, "8104 0000 00000000");
	fields = parse(&six);
	expect(&fields, FIELD_ICMP_TYPE, 129);
	expect(&fields, FIELD_ICMP_CODE, 4);
	bytes_hex(&wrong4, "8100 0000 00000000");
	fields = parse(&wrong4);
	expect(&fields, FIELD_PROTO, 58);
	expect_absent(&fields, FIELD_ICMP_TYPE);
	bytes_hex(&wrong6, "08");
	fields = parse(&wrong6);
	expect(&fields, FIELD_PROTO, 1);
	expect_absent(&fields, FIELD_ICMP_TYPE);
}

/* Least lengths of transport headers. */
static void test_minima(void **state)
{
	static const struct { unsigned proto, least; bool ipv6; } cases[] = {
		{ 6, 20, false }, { 17, 8, false }, { 136, 8, false }, { 132, 12, false }, { 1, 8, false },
		{ 6, 20, true },  { 17, 8, true },  { 136, 8, true },  { 132, 12, true },  { 58, 4, true },
		{ 47, 0, false }, { 50, 0, true },  { 51, 0, false },  { 59, 0, true },	   { 58, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (unsigned length = 0; length < 24; length++) {
			struct bytes bytes = cases[i].ipv6 ? ipv6(length, cases[i].proto) : ipv4(length, 0, cases[i].proto);
			struct bytes whole = { .length = 0 };

			bytes_tcp(&whole, 1, length, 2); /* in UDP its third field is 0: no check of the length */
			whole.data[4] = (unsigned char)(length >> 8);
			whole.data[5] = (unsigned char)length;
			bytes_fill(&whole, 0, 10);
			memcpy(bytes.data + bytes.length, whole.data, length);
			bytes.length += length;
			if (cases[i].ipv6 && !length)
				continue; /* a payload length of 0 is the packet's own */
			if (malformed(&bytes) != (length < cases[i].least))
				fail_msg("protocol %u, %u bytes", cases[i].proto, length);
		}
	}
}

static void test_ipv6_addresses(void **state)
{
	struct bytes bytes = ipv6(20, 6);
	struct model_fields fields;

	(void)state;
	bytes_tcp(&bytes, 1, 80, 2);
	fields = parse(&bytes);
	expect(&fields, FIELD_IPV6_SRC, u128_make(0xfd00000000000000, 1));
	expect(&fields, FIELD_IPV6_DST, u128_make(0xfd00000000000000, 2));
	expect(&fields, FIELD_LENGTH, 60);
	expect(&fields, FIELD_DST_PORT, 80);
	expect_absent(&fields, FIELD_IP_DST);
}

/* A header of 16 bytes before TCP to port 80, for each kind that has a length in units of 8. */
static void test_http_behind_long_extension(void **state)
{
	static const unsigned kinds[] = { 0, 43, 60, 135 };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct bytes bytes = ipv6(36, kinds[i]);
		struct model_fields fields;

		bytes_hex(&bytes, "06 01 0000 00000000 0000000000000000");
		bytes_tcp(&bytes, 1, 80, 2);
		fields = parse(&bytes);
		expect(&fields, FIELD_PROTO, 6);
		expect(&fields, FIELD_DST_PORT, 80);
		expect(&fields, FIELD_TCP_FLAGS, 2);
	}
}

static void test_ah_counts_words(void **state)
{
	struct bytes six = ipv6(24 + 20, 51), four = ipv4(24 + 20, 0, 51);
	struct model_fields fields;

	(void)state;
	bytes_hex(&six, "06 04 0000 00000001 00000001 000000000000000000000000");
	bytes_tcp(&six, 1, 80, 2);
	fields = parse(&six);
	expect(&fields, FIELD_DST_PORT, 80);
	bytes_hex(&four, "06 04 0000 00000001 00000001 000000000000000000000000");
	bytes_tcp(&four, 1, 80, 2);
	fields = parse(&four);
	expect(&fields, FIELD_PROTO, 51); /* in IPv4 it is a protocol like another */
	expect_absent(&fields, FIELD_DST_PORT);
}

static void test_fragment_header(void **state)
{
	struct bytes atomic = ipv6(28, 44), first = ipv6(28, 44), later = ipv6(28, 44), hidden = ipv6(28, 44);
	struct model_fields fields;

	(void)state;
	bytes_hex(&atomic, "06 00 0000 00000001");
	bytes_tcp(&atomic, 1, 22, 2);
	fields = parse(&atomic);
	expect(&fields, FIELD_FRAGMENT, FRAGMENT_NONE);
	expect(&fields, FIELD_TCP_FLAGS, 2);
	bytes_hex(&first, "06 00 0001 00000001");
	bytes_tcp(&first, 1, 22, 2);
	fields = parse(&first);
	expect(&fields, FIELD_FRAGMENT, FRAGMENT_FIRST);
	expect(&fields, FIELD_DST_PORT, 22);
	bytes_hex(&later, "06 00 0010 00000001");
	bytes_tcp(&later, 1, 22, 2);
	fields = parse(&later);
	expect(&fields, FIELD_FRAGMENT, FRAGMENT_LATER);
	expect(&fields, FIELD_PROTO, 6);
	expect_absent(&fields, FIELD_DST_PORT);
	bytes_hex(&hidden, "3c 00 0010 00000001"); /* no walk behind a later fragment's header */
	bytes_tcp(&hidden, 1, 22, 2);
	fields = parse(&hidden);
	expect(&fields, FIELD_PROTO, 60);
}

static void test_many_extensions(void **state)
{
	(void)state;
	for (unsigned count = 1; count < 20; count++) {
		struct bytes bytes = ipv6(count * 8 + 20, 60);
		struct model_fields fields;

		for (unsigned i = 1; i < count; i++)
			bytes_hex(&bytes, "3c 00 010400000000");
		bytes_hex(&bytes, "06 00 010400000000");
		bytes_tcp(&bytes, 1, 22, 2);
		fields = parse(&bytes);
		if (count <= 16)
			expect(&fields, FIELD_TCP_FLAGS, 2);
		else
			assert_true(fields.malformed);
	}
}

static void test_truncation_is_malformed(void **state)
{
	struct bytes six = ipv6(8 + 24 + 16 + 20, 44), tagged = { .length = 0 };

	(void)state;
	bytes_hex(&six, "33 00 0001 00000001 00 04 0000 00000001 00000001 000000000000000000000000 06 01 0000 00000000");
	bytes_fill(&six, 0, 8);
	bytes_tcp(&six, 1, 22, 2);
	assert_false(malformed(&six));
	for (size_t length = six.length; length-- > 0;) {
		struct bytes cut = six;

		cut.length = length;
		assert_true(malformed(&cut));
	}
	for (unsigned payload = 1; payload < 68; payload++) {
		six.data[14 + 5] = (unsigned char)payload;
		assert_true(malformed(&six));
	}
	bytes_hex(&tagged, "020000000002 020000000001 88a8 0001 8100 0002 88cc");
	assert_false(malformed(&tagged));
	while (tagged.length-- > 0)
		assert_true(malformed(&tagged));
}

static void test_ip_lengths(void **state)
{
	struct bytes four = ipv4(20, 0, 6), six = ipv6(20, 6);
	struct model_fields fields;

	(void)state;
	bytes_tcp(&four, 1, 2, 2);
	bytes_fill(&four, 0xff, 6); /* padding */
	fields = parse(&four);
	expect(&fields, FIELD_LENGTH, 40);
	four.data[17] = 0;
	fields = parse(&four);
	expect(&fields, FIELD_LENGTH, 46);
	four.data[17] = 47;
	assert_true(malformed(&four));
	four.data[17] = 19;
	assert_true(malformed(&four));
	bytes_tcp(&six, 1, 2, 2);
	six.data[14 + 5] = 0;
	fields = parse(&six);
	expect(&fields, FIELD_LENGTH, 60);
	six.data[14 + 5] = 21;
	assert_true(malformed(&six));
}

static void test_version_contradicts_type(void **state)
{
	struct bytes four = ipv4(20, 0, 6), six = ipv6(20, 6);

	(void)state;
	bytes_tcp(&four, 1, 2, 2);
	bytes_tcp(&six, 1, 2, 2);
	four.data[14] = 0x65;
	six.data[14] = 0x40;
	assert_true(malformed(&four));
	assert_true(malformed(&six));
}

static struct model_fields parse_tagged(const char *tags, bool metadata)
{
	struct bytes bytes = { .length = 0 };
	struct model_packet packet = { .data = bytes.data, .vlan_metadata = metadata, .vlan_tci = 0xe007,
				       .user = ABSENT_OWNER };
	struct model_fields fields;

	bytes_hex(&bytes, "020000000002 020000000001 %s 0800", tags);
	bytes_ipv4(&bytes, 28, 0, 17);
	bytes_udp(&bytes, 1, 53, 8);
	packet.length = bytes.length;
	model_parse(HOOK_TC_INGRESS, &packet, &fields);
	return fields;
}

static void test_vlan(void **state)
{
	struct model_fields fields = parse_tagged("8100 6005", false);

	(void)state;
	expect(&fields, FIELD_VLAN, 5);
	expect(&fields, FIELD_DST_PORT, 53);
	fields = parse_tagged("88a8 0005 8100 0006", false);
	expect(&fields, FIELD_VLAN, 5);
	expect(&fields, FIELD_ETH_TYPE, 0x0800);
	fields = parse_tagged("88a8 0005 8100 0006 8100 0007", false);
	expect(&fields, FIELD_ETH_TYPE, 0x8100);
	expect(&fields, FIELD_FAMILY, FAMILY_OTHER);
	expect_absent(&fields, FIELD_PROTO);
	fields = parse_tagged("8100 0005", true);
	expect(&fields, FIELD_VLAN, 7);
	expect(&fields, FIELD_DST_PORT, 53);
	fields = parse_tagged("88a8 0005 8100 0006", true); /* as it was before the tag moved */
	expect(&fields, FIELD_VLAN, 7);
	expect(&fields, FIELD_ETH_TYPE, 0x8100);
}

static void test_families(void **state)
{
	static const struct { const char *frame; unsigned family; } cases[] = {
		{ "ffffffffffff 020000000001 0806", FAMILY_EXEMPT },
		{ "0180c2000003 020000000001 888e", FAMILY_EXEMPT },
		{ "0180c200000e 020000000001 88cc", FAMILY_EXEMPT },
		{ "0180c2000000 020000000001 0026", FAMILY_EXEMPT },
		{ "0180c2000000 020000000001 05ff", FAMILY_EXEMPT },
		{ "0180c2000000 020000000001 0600", FAMILY_OTHER },
		{ "0180c2000001 020000000001 0026", FAMILY_OTHER },
		{ "020000000002 020000000001 8864", FAMILY_OTHER },
		{ "ffffffffffff 020000000001 8100 0001 0806", FAMILY_EXEMPT },
		{ "ffffffffffff 020000000001 9100 0001 0806", FAMILY_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes bytes = { .length = 0 };
		struct model_fields fields;

		bytes_hex(&bytes, "%s", cases[i].frame);
		fields = parse(&bytes);
		expect(&fields, FIELD_FAMILY, cases[i].family);
		expect_absent(&fields, FIELD_FRAGMENT);
		expect_absent(&fields, FIELD_LENGTH);
	}
}

static void test_hooks_without_frames(void **state)
{
	struct bytes bytes = { .length = 0 };
	struct model_fields fields;

	(void)state;
	bytes_ipv4(&bytes, 28, 0, 17);
	bytes_udp(&bytes, 1, 53, 8);
	fields = parse_at(HOOK_CGROUP_EGRESS, &bytes, 0x0800);
	expect(&fields, FIELD_DST_PORT, 53);
	expect(&fields, FIELD_DIRECTION, DIRECTION_EGRESS);
	expect_absent(&fields, FIELD_ETH_TYPE);
	expect_absent(&fields, FIELD_ETH_SRC);
	expect_absent(&fields, FIELD_VLAN);
	assert_true(parse_at(HOOK_NF_INPUT, &bytes, 0x86dd).malformed);
}

static void test_metadata(void **state)
{
	struct bytes bytes = ipv4(8, 0, 17);
	struct model_packet packet = { .data = bytes.data, .in_iface = 2, .out_iface = 3, .mark = 7, .user = 1000,
				       .group = 100, .program = 3, .cgroup = { 11, 0, 13 } };
	struct model_fields fields;

	(void)state;
	bytes_udp(&bytes, 1, 53, 8);
	packet.length = bytes.length;
	model_parse(HOOK_TC_EGRESS, &packet, &fields);
	expect(&fields, FIELD_OUT_IFACE, 3);
	expect(&fields, FIELD_MARK, 7);
	expect(&fields, FIELD_USER, 1000);
	expect(&fields, FIELD_CGROUP_0, 11);
	expect(&fields, FIELD_CGROUP_2, 13);
	expect_absent(&fields, FIELD_CGROUP_1);
	expect_absent(&fields, FIELD_IN_IFACE);
	expect(&fields, FIELD_GROUP, 100);
	expect(&fields, FIELD_PROGRAM, 3);
	model_parse(HOOK_XDP, &packet, &fields);
	expect(&fields, FIELD_IN_IFACE, 2);
	expect_absent(&fields, FIELD_MARK);
	expect_absent(&fields, FIELD_USER);
}

/* The generator keeps its promise, and the parser reads nothing behind the packet (under the address sanitizer). */
static void test_random(void **state)
{
	struct packet_source source;
	unsigned good = 0, bad = 0;

	(void)state;
	packets_seed(&source, 7);
	for (unsigned i = 0; i < 50000; i++) {
		unsigned char buffer[PACKET_BYTES_MAX], *copy;
		struct model_packet packet;
		struct model_fields fields;

		source.well_formed = i % 2;
		packets_next_at(&source, (enum hook)(i % HOOK_COUNT), buffer, sizeof buffer, &packet);
		copy = test_malloc(packet.length + !packet.length);
		memcpy(copy, buffer, packet.length);
		packet.data = copy;
		model_parse((enum hook)(i % HOOK_COUNT), &packet, &fields);
		test_free(copy);
		if (source.well_formed && fields.malformed)
			fail_msg("packet %u is malformed", i);
		*(fields.malformed ? &bad : &good) += 1;
	}
	assert_true(bad > 4000 && good > 30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp4),
		cmocka_unit_test(test_options_shift_the_ports),
		cmocka_unit_test(test_small_udp),
		cmocka_unit_test(test_udp_length),
		cmocka_unit_test(test_udp_length_of_a_fragment_is_the_datagrams),
		cmocka_unit_test(test_udp_lite_length_is_coverage),
		cmocka_unit_test(test_second_fragment_has_no_ports),
		cmocka_unit_test(test_later_fragment_needs_no_header),
		cmocka_unit_test(test_tiny_fragments),
		cmocka_unit_test(test_tcp_data_offset),
		cmocka_unit_test(test_icmp),
		cmocka_unit_test(test_minima),
		cmocka_unit_test(test_ipv6_addresses),
		cmocka_unit_test(test_http_behind_long_extension),
		cmocka_unit_test(test_ah_counts_words),
		cmocka_unit_test(test_fragment_header),
		cmocka_unit_test(test_many_extensions),
		cmocka_unit_test(test_truncation_is_malformed),
		cmocka_unit_test(test_ip_lengths),
		cmocka_unit_test(test_version_contradicts_type),
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_hooks_without_frames),
		cmocka_unit_test(test_metadata),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
