/* SPDX-License-Identifier: GPL-2.0-only */
/* Emitted code, run by the interpreter, answers as the plan does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "emit/blocks.h"
#include "random_plan.h"
#include "tests/lib/ebpf_sim.h"

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

static int run(int (*work)(void *))
{
	return arena_run(arena, work, NULL);
}

static const struct code *emitted(const struct plan *plan)
{
	const struct code *code = NULL;
	const char *wrong;

	assert_int_equal(emit_code(arena, plan, diags_new(arena), &code), 0);
	wrong = ebpf_sim_check(arena, code);
	if (wrong)
		print_error("%s\n", wrong);
	if (wrong && getenv("LISTING"))
		fputs(emit_disassemble(arena, plan, code), stderr);
	assert_null(wrong);
	return code;
}

static void compare_one(const struct plan *plan, const struct code *code, const struct packet *packet)
{
	struct ebpf_sim sim = { .plan = plan, .code = code, .lookup = lookup, .context = (void *)plan };
	uint32_t answer = 0;
	int error = ebpf_sim_run(&sim, packet, &answer);

	if (error)
		print_error("%s at instruction %zu\n", sim.error, sim.at);
	assert_int_equal(error, 0);
	assert_int_equal(answer, evaluate(plan, packet));
}

static const struct code *compare(struct random_plan *random, unsigned packets)
{
	const struct code *code = emitted(random->plan);

	for (unsigned i = 0; i < packets; i++) {
		struct packet packet;

		random_packet(random, &packet);
		compare_one(random->plan, code, &packet);
	}
	return code;
}

/* --- diagrams ---------------------------------------------------------------------------------- */

static int small_diagrams(void *context)
{
	struct random_plan random;

	(void)context;
	for (uint64_t seed = 0; seed < 400; seed++) {
		random_diagram(&random, arena, seed, 1 + (uint32_t)seed % 40, 0);
		compare(&random, 200);
	}
	return 0;
}

static int fans(void *context)
{
	static const uint32_t sizes[] = { 1023, 1024, 1025, 2049, 5000, 10000, 20000 };
	struct random_plan random;

	(void)context;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		random_diagram(&random, arena, 7000 + i, 10, sizes[i]);
		compare(&random, 5000);
	}
	return 0;
}

/* Too big for one function: parts that go on at one another's blocks. */
static int big_diagrams(void *context)
{
	struct random_plan random;
	const struct code *code;

	(void)context;
	for (uint64_t seed = 0; seed < 3; seed++) {
		random_diagram(&random, arena, 100 + seed, 20000, seed == 1 ? 20000 : 0);
		code = compare(&random, 5000);
		print_message("# %zu edges: %zu instructions in %zu functions\n", random.plan->diagram.edge_count,
			      code->insn_count, code->function_count);
	}
	return 0;
}

static int constant_diagram(void *context)
{
	struct random_plan random;
	const struct code *code;

	(void)context;
	random_diagram(&random, arena, 1, 1, 0);
	random.plan->diagram = (struct diagram){ .root = DIAGRAM_LEAF | 7 };
	code = compare(&random, 1);
	assert_int_equal(code->insn_count, 2);
	return 0;
}

/* A layer of nodes each of which reaches all of the next: every one is emitted once. */
static int shared_nodes(void *context)
{
	enum { LAYERS = 8, WIDTH = 50 };
	struct random_plan random;
	struct diagram_node *nodes = ARENA_ARRAY(arena, struct diagram_node, LAYERS * WIDTH + 1);
	const struct code *code;

	(void)context;
	random_plan_begin(&random, arena, 5, PLAN_DIAGRAM);
	for (uint32_t n = 0; n <= LAYERS * WIDTH; n++) {
		uint32_t layer = n / WIDTH;
		struct diagram_edge *edges = ARENA_ARRAY(arena, struct diagram_edge, WIDTH);

		for (uint32_t e = 0; e < WIDTH; e++) {
			edges[e].last = e + 1 < WIDTH ? e : all_dims[LAYERS - layer].max;
			edges[e].to = layer ? (layer - 1) * WIDTH + (e + n) % WIDTH : DIAGRAM_LEAF | (e + n) % ANSWERS;
		}
		pool_add(&random, n % WIDTH);
		nodes[n] = (struct diagram_node){ LAYERS - layer, WIDTH, edges };
		if (layer == LAYERS)
			nodes[n].dim = 0;
		if (all_dims[nodes[n].dim].max < WIDTH)
			nodes[n].edge_count = 2, edges[1].last = all_dims[nodes[n].dim].max;
	}
	finish_diagram(&random, nodes, LAYERS * WIDTH + 1);
	code = compare(&random, 20000);
	assert_true(code->insn_count < 3 * random.plan->diagram.edge_count);
	return 0;
}

/* --- lists ------------------------------------------------------------------------------------- */

static int small_lists(void *context)
{
	struct random_plan random;

	(void)context;
	for (uint64_t seed = 0; seed < 400; seed++) {
		random_list(&random, arena, seed, 1 + (uint32_t)seed % 60, (unsigned)seed % 5);
		compare(&random, 200);
	}
	return 0;
}

static int big_lists(void *context)
{
	struct random_plan random;
	const struct code *code;

	(void)context;
	for (uint64_t seed = 0; seed < 3; seed++) {
		random_list(&random, arena, 200 + seed, 12000, (unsigned)seed);
		code = compare(&random, 2000);
		print_message("# %zu items: %zu instructions in %zu functions\n", random.plan->item_count,
			      code->insn_count, code->function_count);
		assert_true(code->function_count > 1);
	}
	return 0;
}

/* --- limits ------------------------------------------------------------------------------------ */

static int too_many_items(void *context)
{
	struct random_plan random;
	struct diags *diags = diags_new(arena);
	const struct code *code = NULL;

	(void)context;
	random_list(&random, arena, 1, 120000, 2);
	assert_int_equal(emit_code(arena, random.plan, diags, &code), -E2BIG);
	assert_null(code);
	assert_int_equal(diags->errors, 1);
	return 0;
}

/* A program may use 64 maps, the plane's among them. */
static int too_many_maps(void *context)
{
	enum { MAPS = 60 };
	struct random_plan random;
	struct diags *diags = diags_new(arena);
	const struct code *code = NULL;
	struct dim *dims = ARENA_ARRAY(arena, struct dim, MAPS);
	struct plan_set *sets = ARENA_ARRAY(arena, struct plan_set, MAPS);
	struct diagram_node *nodes = ARENA_ARRAY(arena, struct diagram_node, MAPS);

	(void)context;
	random_plan_begin(&random, arena, 1, PLAN_DIAGRAM);
	for (uint32_t i = 0; i < MAPS; i++) {
		struct diagram_edge *edges = ARENA_ARRAY(arena, struct diagram_edge, 2);

		sets[i] = random.plan->sets[0];
		dims[i] = (struct dim){ DIM_SET, FIELD_IP_SRC, MEMBER_AT(src4), ~0ull, 1, i, "ip.src in x" };
		edges[0] = (struct diagram_edge){ 0, i ? i - 1 : DIAGRAM_LEAF };
		edges[1] = (struct diagram_edge){ 1, DIAGRAM_LEAF | 1 };
		nodes[i] = (struct diagram_node){ MAPS - 1 - i, 2, edges };
	}
	random.plan->dims = dims;
	random.plan->dim_count = MAPS;
	random.plan->sets = sets;
	random.plan->set_count = MAPS;
	random.plan->diagram = (struct diagram){ nodes, MAPS, MAPS - 1, 2 * MAPS };
	assert_int_equal(emit_code(arena, random.plan, diags, &code), -E2BIG);
	assert_int_equal(diags->errors, 1);
	random.plan->diagram = (struct diagram){ nodes, 40, 39, 80 };
	assert_int_equal(emit_code(arena, random.plan, diags, &code), 0);
	return 0;
}

static int too_deep(void *context)
{
	struct random_plan random;
	struct diags *diags = diags_new(arena);
	const struct code *code = NULL;
	struct list_item *items;
	const struct test *test;

	(void)context;
	random_list(&random, arena, 1, 2, 0);
	items = (struct list_item *)random.plan->items;
	test = items[0].test = random_in(&random);
	for (int i = 0; i < TEST_DEPTH_MAX + 1; i++) {
		struct test *outer = ARENA_NEW(arena, struct test);

		*outer = (struct test){ .kind = TEST_NOT, .inner = test };
		test = outer;
	}
	items[0].test = test;
	assert_int_equal(emit_code(arena, random.plan, diags, &code), -E2BIG);
	assert_int_equal(diags->errors, 1);
	items[0].test = test->inner;
	assert_int_equal(emit_code(arena, random.plan, diags, &code), 0);
	return 0;
}

/* Every failing allocation ends in -ENOMEM, and none of them in a crash. */
static int small_work(void *context)
{
	struct random_plan random;
	const struct code *code;
	struct object object;

	(void)context;
	random_diagram(&random, arena, 3, 20, 0);
	if (emit_code(arena, random.plan, diags_new(arena), &code))
		return -1;
	emit_disassemble(arena, random.plan, code);
	return emit_object(arena, random.plan, code, &object);
}

static void test_out_of_memory(void **state)
{
	long nth = 0;
	int result;

	(void)state;
	do {
		arena_fail_at(arena, nth++);
		result = run(small_work);
		assert_true(result == 0 || result == -ENOMEM);
	} while (result);
	arena_fail_at(arena, -1);
	assert_true(nth > 100);
}

#define TEST(name) static void test_##name(void **state) { (void)state; assert_int_equal(run(name), 0); }
TEST(small_diagrams)
TEST(fans)
TEST(big_diagrams)
TEST(constant_diagram)
TEST(shared_nodes)
TEST(small_lists)
TEST(big_lists)
TEST(too_many_items)
TEST(too_many_maps)
TEST(too_deep)

#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(small_diagrams), CASE(fans), CASE(big_diagrams), CASE(constant_diagram), CASE(shared_nodes),
		CASE(small_lists), CASE(big_lists), CASE(too_many_items), CASE(too_many_maps), CASE(too_deep), CASE(out_of_memory),
	};

	return cmocka_run_group_tests_name("emit/code", tests, NULL, NULL);
}
