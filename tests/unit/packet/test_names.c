/* SPDX-License-Identifier: GPL-2.0-only */
/* Names for numbers, there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "packet/names.h"

static void names_go_there_and_back(void **state)
{
	size_t named = 0;

	(void)state;
	for (unsigned number = 0; number < 256; number++) {
		const char *name = protocol_name(number);

		if (name)
			assert_int_equal(protocol_by_name(name), number);
		for (int ipv6 = 0; ipv6 < 2; ipv6++) {
			name = icmp_type_name(ipv6, number);
			if (name)
				assert_int_equal(icmp_type_by_name(ipv6, name), number);
			named += name != NULL;
		}
	}
	assert_int_equal(named, 26);
	assert_int_equal(protocol_by_name("tcpp"), -1);
	assert_int_equal(icmp_type_by_name(false, "neighbour-solicitation"), -1);
	assert_null(icmp_type_name(false, 256));
}

static void flags_go_there_and_back(void **state)
{
	char text[TCP_FLAGS_TEXT];

	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		tcp_flags_print(flags, text);
		assert_int_equal(tcp_flags_parse(text), flags);
	}
	tcp_flags_print(0x12, text);
	assert_string_equal(text, "SA");
	assert_int_equal(tcp_flags_parse("AS"), 0x12);
	assert_int_equal(tcp_flags_parse("SS"), -1);
	assert_int_equal(tcp_flags_parse("SX"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_go_there_and_back),
		cmocka_unit_test(flags_go_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
