/* SPDX-License-Identifier: GPL-2.0-only */
/* The data planes' parser, compiled for the host: known traps by name, and random packets against the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "host_parse.h"
#include "tests/lib/packets.h"

enum { RANDOM_PACKETS = 300000 };

/* --- a frame under construction -------------------------------------------------------------------------------- */

struct frame {
	unsigned char bytes[512];
	size_t length;
};

static void put(struct frame *frame, const void *bytes, size_t count)
{
	memcpy(frame->bytes + frame->length, bytes, count);
	frame->length += count;
}

#define PUT(frame, ...) \
	put((frame), (const unsigned char[]){ __VA_ARGS__ }, sizeof((const unsigned char[]){ __VA_ARGS__ }))

static void put_zeros(struct frame *frame, size_t count)
{
	memset(frame->bytes + frame->length, 0, count);
	frame->length += count;
}

static struct frame ethernet(unsigned type)
{
	struct frame frame = { .length = 0 };

	PUT(&frame, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, (unsigned char)(type >> 8), (unsigned char)type);
	return frame;
}

/* The IP header of `payload` bytes that are still to come. */
static void put_ipv4(struct frame *frame, unsigned proto, size_t payload, unsigned fragment)
{
	unsigned total = 20 + (unsigned)payload;

	PUT(frame, 0x45, 0, (unsigned char)(total >> 8), (unsigned char)total, 0, 1, (unsigned char)(fragment >> 8),
	    (unsigned char)fragment, 64, (unsigned char)proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2);
}

static void put_ipv6(struct frame *frame, unsigned next, size_t payload)
{
	PUT(frame, 0x60, 0, 0, 0, (unsigned char)(payload >> 8), (unsigned char)payload, (unsigned char)next, 64);
	PUT(frame, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
	PUT(frame, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
}

static void put_tcp(struct frame *frame, unsigned dst_port)
{
	PUT(frame, 0x9c, 0x40, (unsigned char)(dst_port >> 8), (unsigned char)dst_port, 0, 0, 0, 1, 0, 0, 0, 0, 0x50,
	    0x02, 0xff, 0xff, 0, 0, 0, 0);
}

static void put_udp(struct frame *frame, unsigned dst_port, unsigned length)
{
	PUT(frame, 0x9c, 0x40, (unsigned char)(dst_port >> 8), (unsigned char)dst_port, (unsigned char)(length >> 8),
	    (unsigned char)length, 0, 0);
}

/* Both forms; the fast one must agree or leave it to the other. */
static int parse_at(enum hook hook, const struct model_packet *in, struct packet *ret_packet)
{
	struct packet fast;
	int thorough = host_parse(hook, in, in->length, false, ret_packet);
	int status = host_parse(hook, in, in->length, true, &fast);

	assert_int_not_equal(thorough, PARSE_AGAIN);
	assert_int_not_equal(status, PARSE_MALFORMED);
	if (status == PARSE_OK) {
		assert_int_equal(thorough, PARSE_OK);
		fast.whole = 0;
		assert_memory_equal(&fast, ret_packet, sizeof fast);
	}
	return thorough;
}

static struct model_packet as_packet(const struct frame *frame)
{
	return (struct model_packet){ .data = frame->bytes, .length = frame->length, .user = ABSENT_OWNER,
				      .group = ABSENT_OWNER };
}

static int parse(const struct frame *frame, struct packet *ret_packet)
{
	struct model_packet in = as_packet(frame);

	return parse_at(HOOK_XDP, &in, ret_packet);
}

#define ASSERT_MALFORMED(frame) assert_int_equal(parse((frame), &(struct packet){ .family = 0 }), PARSE_MALFORMED)

/* --- traps ----------------------------------------------------------------------------------------------------- */

static void test_udp_with_three_bytes(void **state)
{
	struct frame frame = ethernet(ETHER_IPV4);
	struct packet packet;

	(void)state;
	put_ipv4(&frame, PROTO_UDP, 11, 0);
	put_udp(&frame, 53, 11);
	put_zeros(&frame, 3);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.dst_port, 53);
	put_zeros(&frame, 17); /* as a network card pads it */
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.length, 31);
}

static void test_hop_by_hop_of_16_bytes(void **state)
{
	struct frame frame = ethernet(ETHER_IPV6);
	struct packet packet;

	(void)state;
	put_ipv6(&frame, PROTO_HOP_BY_HOP, 36);
	PUT(&frame, PROTO_TCP, 1, 5, 2, 0, 0, 1, 10, 0, 0, 0, 0, 0, 0, 0, 0);
	put_tcp(&frame, 80);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.proto, PROTO_TCP);
	assert_int_equal(packet.dst_port, 80);
	assert_int_equal(packet.tcp_flags, 2);
}

/* Its length counts 4-byte units and leaves out two, unlike the others'. */
static void test_authentication_header(void **state)
{
	struct frame frame = ethernet(ETHER_IPV6);
	struct packet packet;

	(void)state;
	put_ipv6(&frame, PROTO_AUTH, 24 + 20);
	PUT(&frame, PROTO_TCP, 4, 0, 0, 0, 0, 0, 1);
	put_zeros(&frame, 16);
	put_tcp(&frame, 443);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.dst_port, 443);
}

static void test_ipv6_addresses(void **state)
{
	struct frame frame = ethernet(ETHER_IPV6);
	struct packet packet;

	(void)state;
	put_ipv6(&frame, PROTO_TCP, 20);
	put_tcp(&frame, 80);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_true(packet.src_hi == 0xfd00000000000000 && packet.src_lo == 1);
	assert_true(packet.dst_hi == 0xfd00000000000000 && packet.dst_lo == 2);
}

static void put_options(struct frame *frame, unsigned count, unsigned last)
{
	for (unsigned i = 1; i <= count; i++)
		PUT(frame, (unsigned char)(i == count ? last : PROTO_OPTIONS), 0, 1, 4, 0, 0, 0, 0);
}

static void test_sixteen_extension_headers(void **state)
{
	struct frame frame = ethernet(ETHER_IPV6);
	struct packet packet;

	(void)state;
	put_ipv6(&frame, PROTO_OPTIONS, 16 * 8 + 20);
	put_options(&frame, 16, PROTO_TCP);
	put_tcp(&frame, 80);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.dst_port, 80);

	frame = ethernet(ETHER_IPV6);
	put_ipv6(&frame, PROTO_OPTIONS, 17 * 8 + 20);
	put_options(&frame, 17, PROTO_TCP);
	put_tcp(&frame, 80);
	ASSERT_MALFORMED(&frame);
}

static void test_later_fragments_have_no_ports(void **state)
{
	struct frame frame = ethernet(ETHER_IPV4);
	struct packet packet;

	(void)state;
	put_ipv4(&frame, PROTO_UDP, 8, 100);
	put_udp(&frame, 53, 8);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.fragment, FRAGMENT_LATER);
	assert_int_equal(packet.proto, PROTO_UDP);
	assert_int_equal(packet.dst_port, ABSENT_PORT);

	frame = ethernet(ETHER_IPV6);
	put_ipv6(&frame, PROTO_FRAGMENT, 8 + 8);
	PUT(&frame, PROTO_UDP, 0, 3, 0x20, 0, 0, 0, 1);
	put_udp(&frame, 53, 8);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.fragment, FRAGMENT_LATER);
	assert_int_equal(packet.dst_port, ABSENT_PORT);
}

static void test_tiny_fragments(void **state)
{
	struct frame frame = ethernet(ETHER_IPV4);
	struct packet packet;

	(void)state;
	put_ipv4(&frame, PROTO_TCP, 20, 1); /* overlaps the flags */
	put_zeros(&frame, 20);
	ASSERT_MALFORMED(&frame);

	frame = ethernet(ETHER_IPV4);
	put_ipv4(&frame, PROTO_TCP, 8, IPV4_MORE); /* the flags are elsewhere */
	put_zeros(&frame, 8);
	ASSERT_MALFORMED(&frame);

	frame = ethernet(ETHER_IPV4);
	put_ipv4(&frame, PROTO_UDP, 8, IPV4_MORE); /* the datagram is longer than the fragment */
	put_udp(&frame, 53, 1000);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.fragment, FRAGMENT_FIRST);
	assert_int_equal(packet.dst_port, 53);
}

static void test_atomic_fragment_is_none(void **state)
{
	struct frame frame = ethernet(ETHER_IPV6);
	struct packet packet;

	(void)state;
	put_ipv6(&frame, PROTO_FRAGMENT, 8 + 20);
	PUT(&frame, PROTO_TCP, 0, 0, 0, 0, 0, 0, 1);
	put_tcp(&frame, 22);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.fragment, FRAGMENT_NONE);
	assert_int_equal(packet.dst_port, 22);
}

static void test_vlan_tags(void **state)
{
	struct frame frame = ethernet(ETHER_SERVICE_VLAN);
	struct packet packet;

	(void)state;
	PUT(&frame, 0x20, 7, 0x81, 0, 0, 9, 8, 0);
	put_ipv4(&frame, PROTO_TCP, 20, 0);
	put_tcp(&frame, 80);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.vlan, 7);
	assert_int_equal(packet.dst_port, 80);

	frame = ethernet(ETHER_VLAN);
	PUT(&frame, 0, 7, 0x81, 0, 0, 8, 0x81, 0, 0, 9, 8, 0);
	put_zeros(&frame, 40);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.family, FAMILY_OTHER);
	assert_int_equal(packet.eth_type, ETHER_VLAN);

	frame = ethernet(ETHER_VLAN);
	PUT(&frame, 0, 7, 8);
	ASSERT_MALFORMED(&frame);
}

static void test_metadata_tag_is_the_outermost(void **state)
{
	struct frame frame = ethernet(ETHER_VLAN);
	struct model_packet in;
	struct packet packet;

	(void)state;
	PUT(&frame, 0, 7, 8, 0);
	put_ipv4(&frame, PROTO_TCP, 20, 0);
	put_tcp(&frame, 80);
	in = as_packet(&frame);
	in.vlan_metadata = true;
	in.vlan_tci = 0x2005;
	assert_int_equal(parse_at(HOOK_TC_INGRESS, &in, &packet), PARSE_OK);
	assert_int_equal(packet.vlan, 5);
	assert_int_equal(packet.dst_port, 80);
}

static void test_other_families(void **state)
{
	static const struct { unsigned type; unsigned family; } cases[] = {
		{ ETHER_ARP, FAMILY_EXEMPT }, { ETHER_EAPOL, FAMILY_EXEMPT }, { ETHER_LLDP, FAMILY_EXEMPT },
		{ 0x8863, FAMILY_OTHER }, { 100, FAMILY_OTHER },
	};
	struct packet packet;
	struct frame frame;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		frame = ethernet(cases[i].type);
		assert_int_equal(parse(&frame, &packet), PARSE_OK);
		assert_int_equal(packet.family, cases[i].family);
		assert_int_equal(packet.eth_type, cases[i].type);
		assert_int_equal(packet.proto, ABSENT_PROTO);
	}
	frame = ethernet(38);
	memcpy(frame.bytes, "\x01\x80\xc2\0\0\0", 6);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.family, FAMILY_EXEMPT);
}

static void test_contradictions(void **state)
{
	struct frame frame = ethernet(ETHER_IPV6);

	(void)state;
	put_ipv4(&frame, PROTO_TCP, 20, 0); /* IPv4 where IPv6 was announced */
	put_tcp(&frame, 80);
	put_zeros(&frame, 20);
	ASSERT_MALFORMED(&frame);

	frame = ethernet(ETHER_IPV4);
	put_ipv4(&frame, PROTO_TCP, 21, 0); /* a byte more than there is */
	put_tcp(&frame, 80);
	ASSERT_MALFORMED(&frame);

	frame = ethernet(ETHER_IPV4);
	put_ipv4(&frame, PROTO_TCP, 20, 0);
	put_tcp(&frame, 80);
	frame.bytes[14] = 0x44; /* a header of 16 bytes */
	ASSERT_MALFORMED(&frame);
	frame.bytes[14] = 0x45;
	frame.bytes[14 + 20 + 12] = 0x60; /* TCP options that are not there */
	ASSERT_MALFORMED(&frame);
	frame.bytes[14 + 20 + 12] = 0x40;
	ASSERT_MALFORMED(&frame);

	frame = ethernet(ETHER_IPV4);
	put_ipv4(&frame, PROTO_UDP, 8, 0);
	put_udp(&frame, 53, 9);
	put_zeros(&frame, 10);
	ASSERT_MALFORMED(&frame);
	frame.bytes[14 + 20 + 5] = 7;
	ASSERT_MALFORMED(&frame);
	frame.bytes[14 + 20 + 5] = 0;
	ASSERT_MALFORMED(&frame);
}

/* BIG TCP and jumbograms: no length in the IP header, and none in UDP's. */
static void test_zero_length(void **state)
{
	struct frame frame = ethernet(ETHER_IPV6);
	struct packet packet;

	(void)state;
	put_ipv6(&frame, PROTO_UDP, 0);
	put_udp(&frame, 53, 0);
	put_zeros(&frame, 100);
	assert_int_equal(parse(&frame, &packet), PARSE_OK);
	assert_int_equal(packet.length, 148);
	assert_int_equal(packet.dst_port, 53);
}

/* --- against the model ----------------------------------------------------------------------------------------- */

static void check_random(enum hook hook, const struct model_packet *in, struct random *random)
{
	struct model_fields model;
	struct packet packet, fast;
	int field, status = parse_at(hook, in, &packet);
	size_t linear = random_below(random, (uint32_t)in->length + 1);

	model_parse(hook, in, &model);
	field = status == PARSE_OK ? packet_differs(hook, &packet, &model) : -1;
	if ((status == PARSE_MALFORMED) != model.malformed || field >= 0) {
		packet_dump(in);
		fail_msg("%s: parser says %d, model %d, field %s", hook_table[hook].name, status, model.malformed,
			 field < 0 ? "none" : field_table[field].name);
	}
	/* Headers beyond the linear part change nothing. */
	if (host_parse(hook, in, linear, true, &fast) == PARSE_OK) {
		fast.whole = 0;
		assert_memory_equal(&fast, &packet, sizeof fast);
	}
}

static void test_random_packets(void **state)
{
	static unsigned char buffer[PACKET_BYTES_MAX];
	static struct packet_source source;
	struct model_packet in;

	(void)state;
	packets_seed(&source, 1);
	for (int i = 0; i < RANDOM_PACKETS; i++) {
		enum hook hook = i % HOOK_COUNT;

		packets_next_at(&source, hook, buffer, sizeof buffer, &in);
		check_random(hook, &in, &source.random);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_udp_with_three_bytes),
		cmocka_unit_test(test_hop_by_hop_of_16_bytes),
		cmocka_unit_test(test_authentication_header),
		cmocka_unit_test(test_ipv6_addresses),
		cmocka_unit_test(test_sixteen_extension_headers),
		cmocka_unit_test(test_later_fragments_have_no_ports),
		cmocka_unit_test(test_tiny_fragments),
		cmocka_unit_test(test_atomic_fragment_is_none),
		cmocka_unit_test(test_vlan_tags),
		cmocka_unit_test(test_metadata_tag_is_the_outermost),
		cmocka_unit_test(test_other_families),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_zero_length),
		cmocka_unit_test(test_random_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
