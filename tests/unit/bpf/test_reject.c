/* SPDX-License-Identifier: GPL-2.0-only */
/* What `reject` answers at XDP and TC: whom, with which bytes, and whom never. By test runs; needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "host_parse.h"
#include "plane_load.h"
#include "tests/lib/packets.h"

enum { RANDOM_FRAMES = 20000, NO_RUN = -1000, FLAG_FIN = 1, FLAG_SYN = 2, FLAG_RST = 4, FLAG_ACK = 16 };

static const enum hook hooks[] = { HOOK_XDP, HOOK_TC_INGRESS, HOOK_TC_EGRESS };

enum { HOOKS = sizeof hooks / sizeof *hooks };

/* A frame and its answer, and where their IP headers begin. */
struct exchange {
	unsigned char asked[PACKET_BYTES_MAX];
	size_t asked_length;
	unsigned char answer[PACKET_BYTES_MAX + 256];
	size_t answer_length;
	size_t ip;
	int retval;
	struct packet packet; /* what was asked */
};

static void open_rejecting(enum hook hook, struct plane *ret_plane)
{
	struct plane_config config = { .hook = hook, .slots = SLOT_RULES, .steps = 1 };
	__u32 zero = 0, answer = ANSWER(ANSWER_REJECT, SLOT_DEFAULT);

	assert_int_equal(plane_load(plane_for_hook(hook), STUB_OBJECT, &config, ret_plane), 0);
	assert_int_equal(bpf_map_update_elem(plane_map(ret_plane, "answers"), &zero, &answer, 0), 0);
}

/* False: not a frame that the kernel's test run takes, or malformed. */
static bool ask(const struct plane *plane, struct exchange *exchange)
{
	struct model_packet in = { .data = exchange->asked, .length = exchange->asked_length };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = exchange->asked,
		    .data_size_in = (__u32)exchange->asked_length, .data_out = exchange->answer,
		    .data_size_out = sizeof exchange->answer, .repeat = 1);

	if (host_parse(HOOK_XDP, &in, in.length, false, &exchange->packet) != PARSE_OK)
		return false;
	if (bpf_prog_test_run_opts(plane->fd, &options))
		return false;
	exchange->retval = (int)options.retval;
	exchange->answer_length = options.data_size_out;
	exchange->ip = ETHER_SIZE;
	while (is_vlan(LOAD(__u16, exchange->asked + exchange->ip - 2)))
		exchange->ip += VLAN_SIZE;
	return true;
}

static bool answered(const struct exchange *exchange)
{
	return exchange->retval == XDP_TX || exchange->retval == TC_ACT_REDIRECT;
}

/* --- who may be answered ---------------------------------------------------------------------------------------- */

static bool is_one_host(const struct packet *packet)
{
	if (packet->family == FAMILY_IPV4)
		return packet->src4 && packet->src4 < 0xe0000000 && packet->dst4 && packet->dst4 < 0xe0000000;
	return (packet->src_hi || packet->src_lo) && packet->src_hi >> 56 != 0xff &&
	       (packet->dst_hi || packet->dst_lo) && packet->dst_hi >> 56 != 0xff;
}

static bool is_error(const struct packet *packet)
{
	static const unsigned char errors4[] = { 3, 4, 5, 11, 12 };

	if (packet->tcp_flags != ABSENT_FLAGS)
		return packet->tcp_flags & FLAG_RST;
	if (packet->icmp_type == ABSENT_ICMP)
		return false;
	if (packet->family == FAMILY_IPV6)
		return packet->icmp_type < 128 || packet->icmp_type == 137;
	return memchr(errors4, packet->icmp_type, sizeof errors4);
}

static bool may_be_answered(const struct exchange *exchange)
{
	const struct packet *packet = &exchange->packet;

	return (packet->family == FAMILY_IPV4 || packet->family == FAMILY_IPV6) && !(exchange->asked[0] & 1) &&
	       packet->fragment != FRAGMENT_LATER && is_one_host(packet) && !is_error(packet);
}

/* --- what the answer must be ------------------------------------------------------------------------------------ */

static uint32_t sum16(const unsigned char *bytes, size_t length, uint32_t sum)
{
	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static unsigned folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The transport checksum of an answer, right if 0xffff. */
static unsigned transport_sum(const unsigned char *ip, size_t header, size_t length, unsigned proto)
{
	uint32_t sum = 0;

	if (header == IPV6_SIZE)
		sum = sum16(ip + 8, 32, (uint32_t)length + proto);
	else if (proto == PROTO_TCP)
		sum = sum16(ip + 12, 8, (uint32_t)length + proto);
	return folded(sum16(ip + header, length, sum));
}

static void check_reset(const struct exchange *exchange, const unsigned char *tcp, const struct packet *answer)
{
	const struct packet *asked = &exchange->packet;

	(void)tcp;
	assert_int_equal(answer->proto, PROTO_TCP);
	assert_int_equal(answer->tcp_flags, asked->tcp_flags & FLAG_ACK ? FLAG_RST : FLAG_RST | FLAG_ACK);
	assert_int_equal(answer->src_port, asked->dst_port);
	assert_int_equal(answer->dst_port, asked->src_port);
}

static void check_error(const struct exchange *exchange, const unsigned char *icmp, const struct packet *answer)
{
	bool ipv6 = answer->family == FAMILY_IPV6;
	size_t header = ipv6 ? IPV6_SIZE : IPV4_SIZE, quoted = answer->length - header - 8;
	size_t limit = ipv6 ? 1232 : 548, whole = exchange->packet.length;

	assert_int_equal(answer->icmp_type, ipv6 ? 1 : 3);
	assert_int_equal(answer->icmp_code, ipv6 ? 1 : 13);
	assert_int_equal(quoted, whole < limit ? whole : limit);
	assert_memory_equal(icmp + 8, exchange->asked + exchange->ip, quoted);
}

static void check_answer(const struct exchange *exchange)
{
	struct model_packet in = { .data = exchange->answer, .length = exchange->answer_length };
	const unsigned char *ip = exchange->answer + exchange->ip;
	const struct packet *asked = &exchange->packet;
	struct packet answer;
	size_t header;

	assert_int_equal(host_parse(HOOK_XDP, &in, in.length, false, &answer), PARSE_OK);
	assert_memory_equal(exchange->answer, exchange->asked + 6, 6);
	assert_memory_equal(exchange->answer + 6, exchange->asked, 6);
	assert_memory_equal(exchange->answer + 12, exchange->asked + 12, exchange->ip - 12);
	assert_true(answer.src_hi == asked->dst_hi && answer.dst_hi == asked->src_hi);
	assert_true(answer.src_lo == asked->dst_lo && answer.dst_lo == asked->src_lo);
	header = answer.family == FAMILY_IPV6 ? IPV6_SIZE : IPV4_SIZE;
	if (header == IPV4_SIZE)
		assert_int_equal(folded(sum16(ip, IPV4_SIZE, 0)), 0xffff);
	assert_int_equal(transport_sum(ip, header, answer.length - header, answer.proto), 0xffff);
	if (asked->proto == PROTO_TCP)
		check_reset(exchange, ip + header, &answer);
	else
		check_error(exchange, ip + header, &answer);
}

static void test_random_frames(void **state)
{
	static struct exchange exchange;
	static struct packet_source source;
	struct plane plane;
	int answers;

	(void)state;
	for (int i = 0; i < HOOKS; i++) {
		open_rejecting(hooks[i], &plane);
		packets_seed(&source, 3);
		source.well_formed = true;
		answers = 0;
		for (int j = 0; j < RANDOM_FRAMES; j++) {
			exchange.asked_length = packets_next(&source, exchange.asked, sizeof exchange.asked);
			if (!ask(&plane, &exchange))
				continue;
			if (answered(&exchange))
				check_answer(&exchange);
			if (answered(&exchange) != may_be_answered(&exchange)) {
				struct model_packet in = { .data = exchange.asked, .length = exchange.asked_length };

				packet_dump(&in);
				fail_msg("%s: answered %d", hook_table[hooks[i]].name, answered(&exchange));
			}
			answers += answered(&exchange);
		}
		assert_in_range(answers, RANDOM_FRAMES / 20, RANDOM_FRAMES);
		plane_close(&plane);
	}
}

/* --- sequence numbers -------------------------------------------------------------------------------------------- */

static void put32(unsigned char *at, uint32_t value)
{
	at[0] = value >> 24;
	at[1] = value >> 16 & 255;
	at[2] = value >> 8 & 255;
	at[3] = value & 255;
}

/* RFC 9293 3.10.7.1; `data` bytes behind a header of 24. */
static void check_numbers(const struct plane *plane, unsigned flags, size_t data, uint32_t seq, uint32_t ack)
{
	static struct exchange exchange;
	unsigned char *tcp = exchange.asked + 34, *reset = exchange.answer + 34;

	memset(&exchange, 0, sizeof exchange);
	exchange.asked_length = 58 + data;
	memcpy(exchange.asked, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0\x45\0\0\0\0\0\0\0\x40\6\0\0\x0a\0\0\1\x0a\0\0\2", 34);
	exchange.asked[17] = (unsigned char)(44 + data);
	put32(tcp + 4, 0xfffffff0);
	put32(tcp + 8, 0x11223344);
	tcp[12] = 0x60;
	tcp[13] = (unsigned char)flags;
	assert_true(ask(plane, &exchange));
	assert_true(answered(&exchange));
	assert_int_equal(get32(reset + 4), seq);
	assert_int_equal(get32(reset + 8), ack);
}

static void test_sequence_numbers(void **state)
{
	struct plane plane;

	(void)state;
	for (int i = 0; i < HOOKS; i++) {
		open_rejecting(hooks[i], &plane);
		check_numbers(&plane, FLAG_SYN, 0, 0, 0xfffffff1);
		check_numbers(&plane, FLAG_SYN, 40, 0, 0x19);
		check_numbers(&plane, FLAG_SYN | FLAG_FIN, 0, 0, 0xfffffff2);
		check_numbers(&plane, 0, 20, 0, 4);
		check_numbers(&plane, FLAG_ACK, 20, 0x11223344, 0);
		check_numbers(&plane, FLAG_SYN | FLAG_ACK, 0, 0x11223344, 0);
		plane_close(&plane);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_frames),
		cmocka_unit_test(test_sequence_numbers),
	};

	if (geteuid()) {
		printf("1..0 # SKIP loading programs needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
