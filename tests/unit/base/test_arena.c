/* SPDX-License-Identifier: GPL-2.0-only */
/* Arenas: zeroed memory, growing arrays, limits. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

typedef VEC(uint64_t) numbers;

static void in_arena(int (*work)(void *arena), int expected)
{
	struct arena *arena = arena_new();

	assert_non_null(arena);
	assert_int_equal(arena_run(arena, work, arena), expected);
	arena_free(arena);
}

/* Pushes until there are `count`; each must have been zero. */
static void push_to(struct arena *arena, numbers *list, size_t count)
{
	while (list->count < count) {
		uint64_t *last = &VEC_PUSH(arena, list);

		assert_int_equal(*last, 0);
		*last = list->count;
	}
}

static void assert_counted(const numbers *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i] != i + 1)
			fail_msg("item %zu is %llu", i, (unsigned long long)list->items[i]);
}

static int grow_in_turn(void *arena)
{
	numbers one = { 0 }, two = { 0 };

	for (size_t count = 1; count < 3000000; count = count * 3 / 2 + 1) {
		push_to(arena, &one, count);
		push_to(arena, &two, count / 2);
		assert_counted(&one);
		assert_counted(&two);
	}
	return 0;
}

static void arrays_keep_what_they_hold(void **state)
{
	(void)state;
	in_arena(grow_in_turn, 0);
}

static int grow_last(void *arena)
{
	numbers list = { 0 };
	size_t first = (push_to(arena, &list, 1000), arena_used(arena));
	const uint64_t *items = list.items;

	push_to(arena, &list, 2000);
	assert_ptr_equal(list.items, items);
	assert_true(arena_used(arena) < 2 * first + 64);
	return 0;
}

static void the_last_array_grows_where_it_stands(void **state)
{
	(void)state;
	in_arena(grow_last, 0);
}

/* Of two that begin as one, each keeps its own. */
static int fork_array(void *arena)
{
	numbers one = { 0 }, two;

	push_to(arena, &one, 8);
	two = one;
	VEC_PUSH(arena, &one) = 100;
	VEC_PUSH(arena, &two) = 200;
	assert_int_equal(one.items[8], 100);
	assert_int_equal(two.items[8], 200);
	return 0;
}

static void copies_of_an_array_part(void **state)
{
	(void)state;
	in_arena(fork_array, 0);
}

static int grow_beyond(void *arena)
{
	numbers list = { 0 };

	arena_set_limit(arena, 64 << 20);
	push_to(arena, &list, (64 << 20) / sizeof *list.items);
	fail_msg("more than the limit");
	return 0;
}

static void growth_ends_at_the_limit(void **state)
{
	(void)state;
	in_arena(grow_beyond, -ENOMEM);
}

static int fail_third(void *arena)
{
	numbers list = { 0 };

	arena_fail_at(arena, 2);
	push_to(arena, &list, 1000);
	fail_msg("a growth too many");
	return 0;
}

static void growth_in_place_can_fail(void **state)
{
	(void)state;
	in_arena(fail_third, -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays_keep_what_they_hold),
		cmocka_unit_test(the_last_array_grows_where_it_stands),
		cmocka_unit_test(copies_of_an_array_part),
		cmocka_unit_test(growth_ends_at_the_limit),
		cmocka_unit_test(growth_in_place_can_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
