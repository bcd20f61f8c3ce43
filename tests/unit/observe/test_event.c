/* SPDX-License-Identifier: GPL-2.0-only */
/* Events as people read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "observe/event.h"
#include "packet/packet.h"
#include "tests/lib/bytes.h"
#include "tests/lib/packets.h"

static struct event event_of(const struct bytes *bytes, bool frame)
{
	struct event event = { .rule = 3, .verdict = ANSWER_DROP, .user = ABSENT_OWNER, .frame = frame };

	event.length = (uint32_t)bytes->length;
	event.captured = (uint16_t)(bytes->length < EVENT_BYTES ? bytes->length : EVENT_BYTES);
	memcpy(event.data, bytes->data, event.captured);
	return event;
}

/* The line of an event with these bytes, policy `web`, at eth0. */
static void expect_line(const struct bytes *bytes, bool frame, const char *wanted)
{
	struct event event = event_of(bytes, frame);
	struct event_fields fields;
	char line[256];

	assert_int_equal(event_describe(&event, &fields), 0);
	event_line(&event, &fields, "web", "eth0", line, sizeof line);
	assert_string_equal(line, wanted);
}

static void test_tcp(void **state)
{
	struct bytes bytes = { .length = 0 }, frame = { .length = 0 };

	(void)state;
	bytes_ipv4(&bytes, 40, 0, 6);
	bytes_tcp(&bytes, 999, 80, 0x12);
	expect_line(&bytes, false, "drop web:3 eth0 tcp 10.0.0.1:999 > 10.0.0.2:80 SA length 40");
	bytes_hex(&frame, "020000000002 020000000001 8100 0005 86dd");
	bytes_ipv6(&frame, 20, 6);
	bytes_tcp(&frame, 999, 80, 0xff);
	expect_line(&frame, true, "drop web:3 eth0 tcp [fd00::1]:999 > [fd00::2]:80 FSRPAUEW length 78");
}

static void test_extensions(void **state)
{
	struct bytes bytes = { .length = 0 };

	(void)state;
	bytes_ipv6(&bytes, 44, 0);
	bytes_hex(&bytes, "33 01 0000 00000000 0000000000000000");
	bytes_hex(&bytes, "11 02 0000 00000001 00000001 00000000");
	bytes_udp(&bytes, 4000, 53, 8);
	expect_line(&bytes, false, "drop web:3 eth0 udp [fd00::1]:4000 > [fd00::2]:53 length 80");
}

static void test_fragments(void **state)
{
	struct bytes four = { .length = 0 }, six = { .length = 0 };

	(void)state;
	bytes_ipv4(&four, 28, 185, 17);
	bytes_fill(&four, 9, 8);
	expect_line(&four, false, "drop web:3 eth0 udp 10.0.0.1 > 10.0.0.2 fragment length 28");
	bytes_ipv6(&six, 16, 44);
	bytes_hex(&six, "06 00 0010 00000001");
	bytes_fill(&six, 9, 8);
	expect_line(&six, false, "drop web:3 eth0 tcp fd00::1 > fd00::2 fragment length 56");
}

static void test_icmp(void **state)
{
	struct bytes four = { .length = 0 }, six = { .length = 0 }, odd = { .length = 0 };

	(void)state;
	bytes_ipv4(&four, 28, 0, 1);
	bytes_hex(&four, "0800 0000 00000000");
	expect_line(&four, false, "drop web:3 eth0 icmp 10.0.0.1 > 10.0.0.2 echo-request length 28");
	bytes_ipv6(&six, 8, 58);
	bytes_hex(&six, "8800 0000 00000000");
	expect_line(&six, false, "drop web:3 eth0 icmp6 fd00::1 > fd00::2 neighbour-advertisement length 48");
	bytes_ipv4(&odd, 28, 0, 1);
	bytes_hex(&odd, "fe00 0000 00000000");
	expect_line(&odd, false, "drop web:3 eth0 icmp 10.0.0.1 > 10.0.0.2 254 length 28");
}

static void test_not_ip(void **state)
{
	struct bytes arp = { .length = 0 }, pppoe = { .length = 0 };

	(void)state;
	bytes_ether(&arp, 0x0806);
	bytes_hex(&arp, "0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002");
	expect_line(&arp, true, "drop web:3 eth0 arp 10.0.0.1 > 10.0.0.2 request length 42");
	bytes_ether(&pppoe, 0x8864);
	expect_line(&pppoe, true, "drop web:3 eth0 0x8864 02:00:00:00:00:01 > 02:00:00:00:00:02 length 14");
}

static void test_other_protocol(void **state)
{
	struct bytes bytes = { .length = 0 };

	(void)state;
	bytes_ipv4(&bytes, 20, 0, 200);
	expect_line(&bytes, false, "drop web:3 eth0 200 10.0.0.1 > 10.0.0.2 length 20");
}

static void test_line(void **state)
{
	struct bytes bytes = { .length = 0 };
	struct event_fields fields;
	struct event event;
	char line[256], small[8];

	(void)state;
	bytes_ipv4(&bytes, 28, 0, 17);
	bytes_udp(&bytes, 1, 53, 8);
	event = event_of(&bytes, false);
	event.user = 1000;
	event.verdict = LOG_ONLY;
	event_describe(&event, &fields);
	event_line(&event, &fields, "web", "", line, sizeof line);
	assert_string_equal(line, "log web:3 udp 10.0.0.1:1 > 10.0.0.2:53 length 28 user 1000");
	assert_int_equal(event_line(&event, &fields, "web", "", small, sizeof small), (int)strlen(line));
	assert_string_equal(small, "log web");
}

static void test_too_short(void **state)
{
	struct bytes bytes = { .length = 0 };
	struct event_fields fields;
	struct event event;
	char line[256];

	(void)state;
	bytes_ipv4(&bytes, 28, 0, 17);
	for (bytes.length = 0; bytes.length < 20; bytes.length++) {
		event = event_of(&bytes, false);
		assert_int_equal(event_describe(&event, &fields), -EINVAL);
	}
	event_line(&event, &fields, "web", "eth0", line, sizeof line);
	assert_string_equal(line, "drop web:3 eth0 ? ? > ? length 19");
}

/* Any bytes give some text. */
static void test_random(void **state)
{
	struct packet_source source;

	(void)state;
	packets_seed(&source, 3);
	for (unsigned i = 0; i < 20000; i++) {
		struct bytes bytes;
		struct event_fields fields;
		struct event event;
		char line[256];

		bytes.length = packets_next(&source, bytes.data, sizeof bytes.data);
		event = event_of(&bytes, i % 2);
		event_describe(&event, &fields);
		assert_true(event_line(&event, &fields, "web", "eth0", line, sizeof line) < (int)sizeof line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),	   cmocka_unit_test(test_extensions), cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_icmp),	   cmocka_unit_test(test_not_ip),     cmocka_unit_test(test_other_protocol),
		cmocka_unit_test(test_line),	   cmocka_unit_test(test_too_short),  cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
