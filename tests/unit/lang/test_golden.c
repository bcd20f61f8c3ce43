/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tests/golden/errors: malformed policies and their exact messages. tests/golden/lang: good ones, their warnings and
 * what they become in IR; these are also printed in canonical form and compiled again, which must change nothing.
 * WEIR_GOLDEN_UPDATE=1 writes the expectations instead; read the difference before it is committed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>

#include "tests/unit/lang/compile.h"
#include "tests/unit/lang/golden.h"

enum { CASES_MAX = 1000, PATH_LENGTH = 512 };

struct golden {
	char folder[PATH_LENGTH];
	char name[128]; /* NNN-name.weir */
	bool good;
};

static bool is_expression(const struct golden *golden)
{
	return strstr(golden->name, ".expr");
}

static int print_ir(void *context)
{
	struct compile *compile = context;

	for (size_t i = 0; compile->rulesets && i < compile->rulesets->count; i++) {
		const struct ruleset *ruleset = &compile->rulesets->items[i];
		const char *wrong = ruleset_check(compile->arena, ruleset);

		compile->messages = arena_printf(compile->arena, "%s%s%s%s", compile->messages,
						 wrong ? "INVALID: " : "", wrong ? wrong : "",
						 ruleset_print(compile->arena, ruleset));
	}
	return 0;
}

static struct compile compile_text(const struct golden *golden, const char *text, size_t length, enum compile_job job)
{
	struct compile compile = compile_start(is_expression(golden) ? "expression" : golden->name, text, length,
					       is_expression(golden));

	compile.job = job;
	compile_run(&compile);
	assert_int_equal(arena_run(compile.arena, print_ir, &compile), 0);
	return compile;
}

/* Where the messages, which show places, end. */
static const char *ir_of(const struct compile *compile)
{
	const char *policy = strstr(compile->messages, "policy \"");
	const char *ir = strstr(compile->messages, "expression \"");

	ir = ir && (!policy || ir < policy) ? ir : policy;
	return ir ? ir : "";
}

static void round_trip(const struct golden *golden, const char *text, size_t length)
{
	struct compile first = compile_text(golden, text, length, JOB_COMPILE);
	struct compile printed = compile_text(golden, text, length, JOB_FORMAT);
	struct compile again, twice;

	assert_non_null(printed.formatted);
	again = compile_text(golden, printed.formatted, strlen(printed.formatted), JOB_COMPILE);
	twice = compile_text(golden, printed.formatted, strlen(printed.formatted), JOB_FORMAT);
	assert_string_equal(twice.formatted, printed.formatted);
	assert_int_equal(again.result, 0);
	assert_string_equal(ir_of(&again), ir_of(&first));
	compile_end(&first);
	compile_end(&printed);
	compile_end(&again);
	compile_end(&twice);
}

static void run_case(void **state)
{
	const struct golden *golden = *state;
	struct compile compile;
	size_t length = 0;
	char *text;

	assert_int_equal(chdir(golden->folder), 0);
	text = fake_slurp(golden->name, &length);
	assert_non_null(text);
	compile = compile_text(golden, text, length, JOB_COMPILE);
	golden_compare(golden->name, compile.messages);
	assert_int_equal(compile.result, golden->good ? 0 : -EINVAL);
	assert_null(strstr(compile.messages, "INVALID"));
	if (golden->good)
		round_trip(golden, text, length);
	compile_end(&compile);
	free(text);
}

static int by_name(const void *left, const void *right)
{
	return strcmp(((const struct golden *)left)->name, ((const struct golden *)right)->name);
}

static size_t gather(const char *part, bool good, struct golden *cases, size_t room)
{
	const char *root = getenv("WEIR_SOURCE");
	char folder[PATH_LENGTH];
	struct dirent *entry;
	size_t count = 0;
	DIR *directory;

	snprintf(folder, sizeof folder, "%s/tests/golden/%s", root ? root : ".", part);
	directory = opendir(folder);
	while (directory && (entry = readdir(directory))) {
		const char *dot = strrchr(entry->d_name, '.');

		if (!dot || (strcmp(dot, ".weir") && strcmp(dot, ".expr")) || count == room)
			continue;
		snprintf(cases[count].name, sizeof cases[count].name, "%.100s", entry->d_name);
		strcpy(cases[count].folder, folder);
		cases[count++].good = good;
	}
	if (directory)
		closedir(directory);
	qsort(cases, count, sizeof *cases, by_name);
	return count;
}

int main(void)
{
	static struct golden cases[CASES_MAX];
	static struct CMUnitTest tests[CASES_MAX];
	size_t count = gather("errors", false, cases, CASES_MAX);

	if (count < 100) {
		fprintf(stderr, "only %zu malformed policies found: is WEIR_SOURCE set?\n", count);
		return 1;
	}
	count += gather("lang", true, cases + count, CASES_MAX - count);
	for (size_t i = 0; i < count; i++)
		tests[i] = (struct CMUnitTest){ .name = cases[i].name, .test_func = run_case,
						.initial_state = &cases[i] };
	return _cmocka_run_group_tests("golden", tests, count, NULL, NULL);
}
