/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What matters in code that reads ahead: small functions, of which it is known which branches are idle, and which
 * instructions set what nothing depends on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/prove/walker.h"

enum { CODE_MAX = 12 };

/* r0 is returned; r1 is the packet, r2 and r3 are scratch. */
#define SET(register, value) { .kind = INSN_MOVE, .dst = register, .number = value }
#define COPY(to, from) { .kind = INSN_MOVE, .dst = to, .src = from, .by_register = true, .wide = true }
#define SUM(to, from) { .kind = INSN_ADD, .dst = to, .src = from, .by_register = true, .wide = true }
#define LOAD(to, from, at) { .kind = INSN_LOAD, .dst = to, .src = from, .size = 8, .offset = at }
#define STORE(to, at, from) { .kind = INSN_STORE, .dst = to, .src = from, .by_register = true, .size = 8, .offset = at }
#define IF(register, by) { .kind = INSN_BRANCH, .dst = register, .offset = by, .wide = true, .compare = COMPARE_GT, .number = 7 }
#define GOTO(by) { .kind = INSN_GOTO, .offset = by }
#define ASK { .kind = INSN_REST }
#define MAY_END(by) { .kind = INSN_MAY_GOTO, .offset = by }
#define EXIT { .kind = INSN_EXIT }

struct example {
	const char *what;
	uint32_t joins;  /* of the branch that is instruction 2; 0: it matters */
	uint32_t idle;   /* bit i: instruction i sets what does not matter */
	struct insn code[CODE_MAX];
};

static const struct example examples[] = {
	{ "reads ahead", 4, 1 << 1 | 1 << 3,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), LOAD(2, 1, 8), EXIT } },
	{ "what is read is returned", 0, 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), LOAD(0, 1, 8), EXIT } },
	{ "is added to what is returned", 0, 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), SUM(0, 2), EXIT } },
	{ "one way returns", 0, 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), EXIT, SET(0, 1), EXIT } },
	{ "writes to the packet", 0, 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), STORE(1, 8, 0), EXIT } },
	{ "writes to the stack what is read there later", 0, 1 << 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), STORE(10, -8, 2), LOAD(0, 10, -8), EXIT } },
	{ "writes to the stack what is not", 4, 1 << 1,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), STORE(10, -8, 2), EXIT } },
	{ "writes across words of the stack", 0, 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), STORE(10, -12, 2), EXIT } },
	{ "asks something", 0, 1 << 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), ASK, SET(0, 0), EXIT } },
	{ "goes round and round", 0, 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 2), LOAD(2, 1, 8), GOTO(-3), EXIT } },
	{ "ends after many turns", 0, 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), MAY_END(0), EXIT } },
	{ "two ways that meet", 6, 1 << 1 | 1 << 3 | 1 << 5,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 2), LOAD(2, 1, 8), GOTO(1), LOAD(3, 1, 16), EXIT } },
	{ "both set what is returned", 0, 1 << 0,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 2), SET(0, 1), GOTO(1), SET(0, 1), EXIT } },
	{ "a branch within", 7, 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 4), LOAD(3, 1, 8), IF(3, 2), COPY(2, 3), SUM(2, 3), EXIT } },
	{ "a branch within that returns", 0, 1 << 6,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 4), LOAD(3, 1, 8), IF(3, 1), EXIT, SUM(2, 3), SET(0, 1), EXIT } },
	/* What the first one sets only matters to the second, which is idle. */
	{ "one after the other", 4, 1 << 1 | 1 << 3 | 1 << 5,
	  { SET(0, 0), LOAD(2, 1, 0), IF(2, 1), LOAD(3, 1, 8), IF(3, 1), LOAD(2, 1, 16), EXIT } },
	{ "one after the other, and the second matters", 0, 0,
	  { SET(0, 0), LOAD(3, 1, 0), IF(3, 1), LOAD(3, 1, 8), IF(3, 1), SET(0, 1), EXIT } },
};

static size_t code_count(const struct example *example)
{
	size_t count = CODE_MAX;

	while (example->code[count - 1].kind != INSN_EXIT)
		count--;
	return count;
}

struct trial {
	struct arena *arena;
	const struct example *example;
};

static int check(void *context)
{
	const struct trial *trial = context;
	const struct example *example = trial->example;
	struct prove prove = { .arena = trial->arena };
	struct walker walker = { .prove = &prove, .insns = example->code, .image = { .insn_count = code_count(example) } };

	walker_flow(&walker);
	if (walker.joins[2] != example->joins)
		fail_msg("%s: meet at %u", example->what, walker.joins[2]);
	for (uint32_t at = 0; at < walker.image.insn_count; at++)
		if (walker_idles(&walker, at) != (example->idle >> at & 1))
			fail_msg("%s: instruction %u %s", example->what, at, walker_idles(&walker, at) ? "is idle" : "is not idle");
	return 0;
}

static void only_what_makes_no_difference_is_idle(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
		struct trial trial = { .arena = arena_new(), .example = &examples[i] };

		assert_int_equal(arena_run(trial.arena, check, &trial), 0);
		arena_free(trial.arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_makes_no_difference_is_idle),
	};

	return cmocka_run_group_tests_name("prove/walker_flow", tests, NULL, NULL);
}
