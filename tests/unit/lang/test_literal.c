/* SPDX-License-Identifier: GPL-2.0-only */
/* Literals, compared with what inet_pton() says, and their faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lang/literal.h"

static struct literal parse(const char *text)
{
	return literal_parse(text, strlen(text));
}

static bool pton6(const char *text, u128 *ret_value)
{
	struct in6_addr address;
	u128 value = 0;

	if (inet_pton(AF_INET6, text, &address) != 1)
		return false;
	for (int i = 0; i < 16; i++)
		value = value << 8 | address.s6_addr[i];
	*ret_value = value;
	return true;
}

static void check6(const char *text)
{
	u128 expected = 0, got = 0;
	bool good = pton6(text, &expected);

	if (literal_ipv6(text, strlen(text), &got) != good)
		fail_msg("%s: inet_pton says %d", text, good);
	assert_true(!good || got == expected);
}

static void ipv6_like_inet_pton(void **state)
{
	static const char *const texts[] = {
		"::", "::1", "1::", "1::8", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1::", "1::2::3",
		":::", ":", "1:", ":1", "1:::2", "::ffff:10.0.0.1", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4",
		"1::1.2.3.4", "::1.2.3", "::1.2.3.4.5", "1.2.3.4::", "12345::", "g::", "fe80::1%lo", "0:0:0:0:0:0:0:0",
		"1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::3:4:5:6:7:8", "FD00::aB", "00001::", "::0001", "", "1.2.3.4",
		"1:2:3:4:5:6:1.2.3.400", "::01.2.3.4",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		check6(texts[i]);
}

/* Random strings of the letters that addresses are made of. */
static void random_like_inet_pton(void **state)
{
	static const char letters[] = "0123af::::...";
	uint64_t seed = 42;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		char text[24];
		size_t length = 0;
		struct in_addr address;
		u128 got = 0;
		bool good;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		for (uint64_t bits = seed; bits && length < sizeof text - 1 && length < 3 + seed % 20; bits /= 13)
			text[length++] = letters[bits % 13];
		text[length] = '\0';
		check6(text);
		good = inet_pton(AF_INET, text, &address) == 1;
		if (literal_ipv4(text, length, &got) != good)
			fail_msg("%s: inet_pton says %d", text, good);
		assert_true(!good || got == ntohl(address.s_addr));
	}
}

static void ipv4(void **state)
{
	static const char *const bad[] = { "1.2.3", "1.2.3.4.", ".1.2.3.4", "1..2.3", "256.1.1.1", "01.2.3.4",
					   "1.2.3.00", "1.2.3.4.5", "1.2.3.-4", "1.2.3.4x" };
	u128 value;

	(void)state;
	assert_true(literal_ipv4("0.0.0.0", 7, &value) && value == 0);
	assert_true(literal_ipv4("255.255.255.255", 15, &value) && value == 0xffffffff);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(literal_ipv4(bad[i], strlen(bad[i]), &value));
}

static void numbers(void **state)
{
	u128 value;

	(void)state;
	assert_true(literal_number("0", 1, &value) && value == 0);
	assert_true(literal_number("0xfF", 4, &value) && value == 255);
	assert_true(literal_number("340282366920938463463374607431768211455", 39, &value) && value == ~(u128)0);
	assert_false(literal_number("340282366920938463463374607431768211456", 39, &value));
	assert_false(literal_number("00", 2, &value));
	assert_false(literal_number("0x", 2, &value));
	assert_false(literal_number("", 0, &value));
	assert_false(literal_number("1a", 2, &value));
	assert_true(literal_size("64k", 3, &value) && value == 65536);
	assert_true(literal_size("1g", 2, &value) && value == 1 << 30);
	assert_true(literal_size("5", 1, &value) && value == 5);
	assert_false(literal_size("k", 1, &value));
}

static void macs(void **state)
{
	u128 value;

	(void)state;
	assert_true(literal_mac("02:00:00:aB:Cd:0f", 17, &value) && value == 0x020000abcd0full);
	assert_false(literal_mac("2:00:00:aB:Cd:0ff", 17, &value));
	assert_false(literal_mac("02-00-00-00-00-01", 17, &value));
	assert_int_equal(parse("02:00:00:00:00:01").kind, LITERAL_MAC);
	assert_int_equal(parse("02:00:00:00:00:01:02:03").kind, LITERAL_IPV6);
}

static void prefixes(void **state)
{
	struct literal all = parse("::/0"), net = parse("10.0.0.0/8"), host = parse("10.0.0.1/8");

	(void)state;
	assert_true(all.prefix && all.lo == 0 && all.hi == ~(u128)0 && !all.fault);
	assert_true(net.kind == LITERAL_IPV4 && net.lo == 0x0a000000 && net.hi == 0x0affffff);
	assert_int_equal(host.fault, FAULT_HOST_BITS);
	assert_true(host.lo == 0x0a000000);
	assert_int_equal(parse("10.0.0.0/33").fault, FAULT_LENGTH);
	assert_int_equal(parse("::/129").fault, FAULT_LENGTH);
	assert_int_equal(parse("10.0.0.0/").kind, LITERAL_NONE);
	assert_int_equal(parse("10.0.0.0/8/8").kind, LITERAL_NONE);
	assert_int_equal(parse("80/8").kind, LITERAL_NONE);
	assert_int_equal(parse("02:00:00:00:00:01/8").kind, LITERAL_NONE);
	assert_int_equal(parse("0.0.0.0/0").hi == 0xffffffff, 1);
	assert_int_equal(parse("1.2.3.4/32").fault, FAULT_NONE);
}

static void ranges(void **state)
{
	struct literal ports = parse("80-90");

	(void)state;
	assert_true(ports.range && ports.lo == 80 && ports.hi == 90 && ports.kind == LITERAL_NUMBER);
	assert_int_equal(parse("90-80").fault, FAULT_REVERSED);
	assert_int_equal(parse("1-10.0.0.1").fault, FAULT_MIXED);
	assert_int_equal(parse("10.0.0.0/8-11.0.0.0").fault, FAULT_RANGE_PREFIX);
	assert_int_equal(parse("fd00::1-fd00::9").kind, LITERAL_IPV6);
	assert_int_equal(parse("1-2-3").kind, LITERAL_NONE);
	assert_int_equal(parse("-5").kind, LITERAL_NONE);
	assert_int_equal(parse("5-").kind, LITERAL_NONE);
	assert_int_equal(parse("dead-beef").kind, LITERAL_NONE);
	assert_int_equal(parse("echo-request").kind, LITERAL_NONE);
	assert_int_equal(parse("").kind, LITERAL_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv6_like_inet_pton), cmocka_unit_test(random_like_inet_pton), cmocka_unit_test(ipv4),
		cmocka_unit_test(numbers), cmocka_unit_test(macs), cmocka_unit_test(prefixes), cmocka_unit_test(ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
