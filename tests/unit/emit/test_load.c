/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel takes emitted objects, joined with a plane by libbpf, and answers as the plan does. Needs root. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <errno.h>

#include "load.h"

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_new();
	return arena ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static int check(struct random_plan *random, unsigned packets)
{
	const struct code *code;
	struct object object;
	struct bpf_object *loaded;
	double begin = now_ms(), emitted, linked, end;

	assert_int_equal(emit_code(arena, random->plan, diags_new(arena), &code), 0);
	assert_int_equal(emit_object(arena, random->plan, code, &object), 0);
	emitted = now_ms();
	loaded = link_object(&object);
	linked = now_ms();
	assert_non_null(loaded);
	assert_int_equal(bpf_object__load(loaded), 0);
	end = now_ms();
	if (code->insn_count > 1000)
		print_message("# %zu instructions, %zu functions: emit %.2f ms, link %.2f ms, load %.2f ms\n",
			      code->insn_count, code->function_count, emitted - begin, linked - emitted, end - linked);
	assert_int_equal(fill_sets(random->plan, loaded), 0);
	for (unsigned i = 0; i < packets; i++) {
		struct packet packet;
		uint32_t answer;

		random_packet(random, &packet);
		assert_int_equal(run_program(program_of(loaded, "plane"), &packet, &answer), 0);
		assert_int_equal(answer, evaluate(random->plan, &packet));
	}
	bpf_object__close(loaded);
	return 0;
}

static int diagrams(void *context)
{
	struct random_plan random;

	(void)context;
	for (uint64_t seed = 0; seed < 25; seed++) {
		random_diagram(&random, arena, 500 + seed, 1 + (uint32_t)seed * 3, 0);
		check(&random, 500);
	}
	return 0;
}

static int big_diagrams(void *context)
{
	struct random_plan random;

	(void)context;
	random_diagram(&random, arena, 102, 20000, 0);
	check(&random, 2000);
	random_diagram(&random, arena, 901, 20000, 20000);
	check(&random, 2000);
	return 0;
}

static int constant_diagram(void *context)
{
	struct random_plan random;

	(void)context;
	random_diagram(&random, arena, 1, 1, 0);
	random.plan->diagram = (struct diagram){ .root = DIAGRAM_LEAF | 7 };
	return check(&random, 1);
}

static int lists(void *context)
{
	struct random_plan random;

	(void)context;
	for (uint64_t seed = 0; seed < 25; seed++) {
		random_list(&random, arena, 600 + seed, 1 + (uint32_t)seed * 4, (unsigned)seed % 5);
		check(&random, 500);
	}
	return 0;
}

static int big_lists(void *context)
{
	struct random_plan random;

	(void)context;
	random_list(&random, arena, 700, 3000, 1);
	check(&random, 2000);
	random_list(&random, arena, 701, 12000, 2);
	return check(&random, 1000);
}

#define TEST(name) \
	static void test_##name(void **state) \
	{ \
		(void)state; \
		if (geteuid()) \
			skip(); \
		assert_int_equal(arena_run(arena, name, NULL), 0); \
	}
TEST(diagrams)
TEST(big_diagrams)
TEST(constant_diagram)
TEST(lists)
TEST(big_lists)

#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { CASE(diagrams), CASE(big_diagrams), CASE(constant_diagram), CASE(lists),
					    CASE(big_lists) };

	return cmocka_run_group_tests_name("emit/load", tests, NULL, NULL);
}
