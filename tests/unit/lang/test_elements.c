/* SPDX-License-Identifier: GPL-2.0-only */
/* Elements of sets: lang_elements(), and files of a million. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/lang/compile.h"

struct elements {
	struct arena *arena;
	struct source source;
	enum set_type type;
	bool timed;
	uint32_t timeout_ms;
	struct diags *diags;
	struct set set;
};

static int work(void *context)
{
	struct elements *elements = context;

	const struct set like = { .type = elements->type, .timed = elements->timed, .timeout_ms = elements->timeout_ms };

	elements->diags = diags_new(elements->arena);
	return lang_elements(elements->arena, &elements->source, &like, &fake_names, elements->diags,
			     &elements->set);
}

static struct elements read_elements(const char *text, enum set_type type, int expected)
{
	struct elements elements = { .arena = arena_new(), .source = { "elements", text, strlen(text) },
				     .type = type };

	assert_int_equal(arena_run(elements.arena, work, &elements), expected);
	return elements;
}

static void prefixes(void **state)
{
	struct elements e = read_elements("10.1.0.0/16 10.0.0.0/8, fd00::/8\n# c\n192.168.0.1-192.168.0.2", SET_PREFIX, 0);

	(void)state;
	assert_int_equal(e.set.count, 3);
	assert_true(e.set.ranges[0].lo == 0x0a000000 && e.set.ranges[0].hi == 0x0affffff);
	assert_true(e.set.ranges[1].lo == 0xc0a80001 && e.set.ranges[1].hi == 0xc0a80001);
	assert_true(e.set.ranges[2].lo == 0xc0a80002 && e.set.ranges[2].hi == 0xc0a80002);
	assert_int_equal(e.set.count6, 1);
	arena_free(e.arena);
}

/* Split ranges cover exactly the range, in prefixes. */
static void range_to_prefixes(void **state)
{
	struct elements e = read_elements("0.0.0.1-255.255.255.254 ::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", SET_PREFIX, 0);
	u128 next = 1;

	(void)state;
	assert_int_equal(e.set.count, 62);
	assert_int_equal(e.set.count6, 254);
	for (size_t i = 0; i < e.set.count6; i++) {
		u128 host = e.set.ranges6[i].hi - e.set.ranges6[i].lo;

		assert_true(e.set.ranges6[i].lo == next && !(host & (host + 1)) && !(next & host));
		next = e.set.ranges6[i].hi + 1;
	}
	assert_true(next == ~(u128)0);
	arena_free(e.arena);
}

static void names_and_numbers(void **state)
{
	struct elements users = read_elements("alice \"bob\" 5", SET_USER, 0);
	struct elements ports = read_elements("https\n8000-8999\n80 80 8500", SET_PORT, 0);

	(void)state;
	assert_int_equal(users.set.count, 3);
	assert_true(users.set.ranges[2].lo == 1001);
	assert_int_equal(ports.set.count, 3);
	assert_int_equal(ports.set.max_elements, 65536);
	arena_free(users.arena);
	arena_free(ports.arena);
}

static void errors(void **state)
{
	struct elements e = read_elements("80\n\n  10.0.0.1 # x\n70000", SET_PORT, -EINVAL);

	(void)state;
	assert_int_equal(e.diags->errors, 2);
	assert_int_equal(e.diags->list.items[0].span.offset, 6);
	arena_free(e.arena);
	e = read_elements("mallory", SET_USER, -EINVAL);
	arena_free(e.arena);
}

static char *million(size_t *ret_length)
{
	char *text = malloc(20u << 20);
	size_t length = 0;
	uint64_t seed = 7;

	assert_non_null(text);
	for (int i = 0; i < 1000000; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		length += (size_t)sprintf(text + length, "%u.%u.%u.%u\n", 1 + (unsigned)(seed >> 60),
					  (unsigned)(seed >> 50 & 255), (unsigned)(seed >> 40 & 255),
					  (unsigned)(seed >> 30 & 255));
	}
	*ret_length = length;
	return text;
}

static int no_file(void *context, struct arena *arena, const char *path, const struct source **ret_source)
{
	(void)arena;
	(void)path;
	*ret_source = context;
	return 0;
}

/* "1,000,000 lines in under 2 s"; sanitizers and a busy machine get more. */
static void a_million_lines(void **state)
{
	static const char text[] = "policy p {\n on xdp eth0\n default accept\n"
				   " set s : address max 2000000 { include \"million\" }\n drop if src in s\n}\n";
	struct compile compile = compile_start("p.weir", text, sizeof text - 1, false);
	struct source source = { .name = "million" };
	clock_t start;
	double seconds;

	(void)state;
	source.text = million(&source.length);
	compile.input.read = no_file;
	compile.input.read_context = &source;
	start = clock();
	assert_int_equal(compile_run(&compile), 0);
	seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
	print_message("# %.2f s for a million elements\n", seconds);
	assert_true(compile.rulesets->items[0].sets[0].count > 900000);
#if !defined(__SANITIZE_ADDRESS__)
	assert_true(seconds < 2);
#endif
	compile_end(&compile);
	free((char *)source.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes), cmocka_unit_test(range_to_prefixes), cmocka_unit_test(names_and_numbers),
		cmocka_unit_test(errors), cmocka_unit_test(a_million_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
