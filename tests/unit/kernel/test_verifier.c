/* SPDX-License-Identifier: GPL-2.0-only */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/verifier.h"

static void last_words_and_line(void **state)
{
	static const char log[] = "func#0 @0\n"
				  "; accept if tcp.dst_port == 22\n"
				  "0: (b7) r0 = 1\n"
				  "; drop if src in blocked\n"
				  "1: (95) exit\n"
				  "R0 !read_ok\n"
				  "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0\n";
	char line[64], words[64];

	(void)state;
	verifier_pick(log, line, sizeof line, words, sizeof words);
	assert_string_equal(line, "drop if src in blocked");
	assert_string_equal(words, "R0 !read_ok");
}

static void nothing_to_say(void **state)
{
	char line[8], words[8];

	(void)state;
	verifier_pick("", line, sizeof line, words, sizeof words);
	assert_string_equal(line, "");
	assert_string_equal(words, "");
	verifier_pick("; a line longer than the buffer", line, sizeof line, words, sizeof words);
	assert_string_equal(line, "a line ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_words_and_line),
		cmocka_unit_test(nothing_to_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
