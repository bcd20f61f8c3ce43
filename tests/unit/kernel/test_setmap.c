/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/setmap.h"

static void keys_round_trip(void **state)
{
	static const struct setmap_form forms[] = {{0, false}, {1, false}, {2, false}, {0, true}, {1, true}};
	const u128 value = u128_make(0x0123456789abcdef, 0xfedcba9876543210);

	(void)state;
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		unsigned bits = setmap_key_bits(forms[i]);
		char key[SETMAP_KEY_BYTES];
		uint8_t prefix;
		u128 lo;

		setmap_key_encode(forms[i], value & u128_max(bits), bits, key);
		setmap_key_decode(forms[i], key, &lo, &prefix);
		assert_true(lo == (value & u128_max(bits)));
		assert_int_equal(prefix, bits);
	}
}

static void prefix_keys_are_in_network_order(void **state)
{
	const struct setmap_form form = { 0, true };
	struct prefix4_key key;

	(void)state;
	setmap_key_encode(form, 0x0a010200, 24, &key);
	assert_int_equal(key.length, 24);
	assert_memory_equal(key.address, "\x0a\x01\x02\x00", 4);
}

static size_t expand(struct setmap_form form, u128 lo, u128 hi, struct setmap_elements *elements)
{
	const struct range range = { lo, hi };

	const struct install_set set = { .key = form.key, .lpm = form.lpm, .elements = &range, .count = 1 };

	assert_int_equal(setmap_expand(&set, (struct setmap_start){ ORIGIN_FILE, 0 }, 1000, elements), 0);
	return elements->count;
}

static void ranges_become_prefixes(void **state)
{
	const struct setmap_form form = { 0, true }, form6 = { 1, true };
	struct setmap_elements elements;

	(void)state;
	assert_int_equal(expand(form, 0x0a000000, 0x0affffff, &elements), 1);
	assert_int_equal(elements.items[0].prefix, 8);
	setmap_elements_free(&elements);
	assert_int_equal(expand(form, 0, 0xffffffff, &elements), 1);
	assert_int_equal(elements.items[0].prefix, 0);
	setmap_elements_free(&elements);
	assert_int_equal(expand(form6, 0, ~(u128)0, &elements), 1);
	assert_int_equal(elements.items[0].prefix, 0);
	setmap_elements_free(&elements);
	/* 1-6: 1, 2-3, 4-5, 6 */
	assert_int_equal(expand(form, 1, 6, &elements), 4);
	assert_int_equal(elements.items[1].prefix, 31);
	setmap_elements_free(&elements);
	assert_int_equal(expand(form, 0xffffffff, 0xffffffff, &elements), 1);
	setmap_elements_free(&elements);
}

static void hashes_hold_every_value(void **state)
{
	const struct setmap_form form = { 2, false };
	const struct range range = { 10, 19 };
	const uint32_t timeout = 5;
	const struct install_set set = { .key = 2, .elements = &range, .timeouts = &timeout, .count = 1 };
	const struct setmap_start start = { ORIGIN_RUN_TIME, 1000 };
	struct setmap_elements elements;

	(void)state;
	assert_int_equal(expand(form, 10, 19, &elements), 10);
	assert_int_equal((int)elements.items[9].lo, 19);
	setmap_elements_free(&elements);
	assert_int_equal(setmap_expand(&set, start, 9, &elements), -E2BIG);
	assert_int_equal(setmap_expand(&set, start, 10, &elements), 0);
	assert_int_equal(elements.items[0].value.expires_ns, 5001000);
	assert_int_equal(elements.items[9].value.origin, ORIGIN_RUN_TIME);
	assert_true(setmap_lives(&elements.items[0].value, 5000999));
	assert_false(setmap_lives(&elements.items[0].value, 5001000));
	setmap_elements_free(&elements);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_round_trip),
		cmocka_unit_test(prefix_keys_are_in_network_order),
		cmocka_unit_test(ranges_become_prefixes),
		cmocka_unit_test(hashes_hold_every_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
