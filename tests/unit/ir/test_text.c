/* SPDX-License-Identifier: GPL-2.0-only */
/* IR text: round trips, the document's example, errors and their places, allocation failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/ir_text.h"
#include "tests/lib/policies.h"

struct work {
	struct arena *arena;
	uint64_t seed;
	const char *text;
	struct diags *diags;
	const struct rulesets *rulesets;
	char *printed;
};

static int parse(void *context)
{
	struct work *work = context;
	struct source *source = ARENA_NEW(work->arena, struct source);

	*source = (struct source){ "text", work->text, strlen(work->text) };
	work->diags = diags_new(work->arena);
	return ruleset_parse(work->arena, source, work->diags, &work->rulesets);
}

static int parse_and_print(void *context)
{
	struct work *work = context;
	int error = parse(work);

	work->printed = arena_printf(work->arena, "%s", "");
	for (size_t i = 0; !error && i < work->rulesets->count; i++)
		work->printed = arena_printf(work->arena, "%s%s", work->printed,
					     ruleset_print(work->arena, &work->rulesets->items[i]));
	return error;
}

static int random_round_trip(void *context)
{
	struct work *work = context;
	const struct policy_options options = { .rules = work->seed % 50 ? 0 : 300, .simple = work->seed % 5 == 0,
						.terminal_only = work->seed % 7 == 0, .rates = work->seed % 3 == 0,
						.memory = work->seed % 4 == 0, .tunables = work->seed % 3,
						.knocks = work->seed % 2 ? 3 : 0 };
	const struct ruleset *ruleset =
		policies_random(work->arena, work->seed, (enum hook)(work->seed % HOOK_COUNT), &options);
	struct ruleset *copy = arena_copy(work->arena, ruleset, sizeof *ruleset);
	const char *error = ruleset_check(work->arena, ruleset);

	if (error)
		fail_msg("seed %llu: %s", (unsigned long long)work->seed, error);
	copy->observe = work->seed % 3 == 0;
	work->text = ruleset_print(work->arena, copy);
	if (parse_and_print(work))
		fail_msg("seed %llu: %s", (unsigned long long)work->seed, work->diags->list.items[0].text);
	assert_string_equal(work->text, work->printed);
	return 0;
}

static void test_random_round_trips(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 1000; seed++) {
		struct work work = { .arena = arena_new(), .seed = seed };

		assert_int_equal(arena_run(work.arena, random_round_trip, &work), 0);
		arena_free(work.arena);
	}
}

/* Prints what it reads, for texts in the printed form. */
static void expect_same(const char *text)
{
	struct work work = { .arena = arena_new(), .text = text };

	if (arena_run(work.arena, parse_and_print, &work))
		fail_msg("%s", work.diags->list.items[0].text);
	assert_string_equal(work.printed, text);
	arena_free(work.arena);
}

static void test_everything_in_one(void **state)
{
	(void)state;
	expect_same("policy \"web\" {\n"
		    "\tattach xdp \"eth*\" mode generic optional\n"
		    "\tattach netfilter-input priority -2147483647\n"
		    "\tattach cgroup-egress \"/a \\\"b\\\"\"\n"
		    "\tdefault reject\n"
		    "\tmalformed accept\n"
		    "\tnon_ip accept\n"
		    "\t# sets: their room takes 2 KiB\n"
		    "\t# sets: prefixes take up to 3 KiB, as they come\n"
		    "\tclassifier list\n"
		    "\tcgroup_levels 0, 255\n"
		    "\tprogram \"/a\" 8388609 7\n"
		    "\tprogram \"/b\" 8388609 7 generation 4294967295\n"
		    "\tcounter \"c\\x0ad\"\n"
		    "\tset \"hosts\" address max 10 shared {\n"
		    "\t\t10.0.0.1\n"
		    "\t\tfd00::1\n"
		    "\t}\n"
		    "\tset \"nets\" prefix max 10 {\n"
		    "\t\t10.0.0.0/8\n"
		    "\t\t::/1\n"
		    "\t}\n"
		    "\tset \"macs\" mac max 1 {\n"
		    "\t\t02:00:00:00:00:01\n"
		    "\t}\n"
		    "\tchain \"main\" {\n"
		    "\t\trule 2 jump \"later\" if any(eth.src in set \"macs\", ip.src = 0.0.0.0)\n"
		    "\t\trule 3 link count \"c\\x0ad\", log \"\" every 18446744073709551615 burst 4294967295 if eth.type = 0x806\n"
		    "\t\trule 4 mark 0xffffffff/0x1, goto \"later\" if not(tcp.flags & 0x12 in {0x0, 0x10-0x12})\n"
		    "\t}\n"
		    "\tchain \"later\" {\n"
		    "\t\trule 1 return if all(true, false, ipv6.dst & ffff:: = fd00::, ipv6.src in {::/0})\n"
		    "\t\trule 5 reject if cgroup.1 in {1-18446744073709551615}\n"
		    "\t}\n"
		    "}\n"
		    "expression \"expression\" {\n"
		    "\tdefault drop\n"
		    "\tchain \"main\" {\n"
		    "\t\trule 1 accept if ip.dst in {10.0.0.1-10.0.0.2, 10.0.1.0/24}\n"
		    "\t}\n"
		    "}\n");
}

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 65536);

	if (!file || !text || !fread(text, 1, 65535, file))
		fail_msg("cannot read %s", path);
	fclose(file);
	return text;
}

/* The example of docs/ir.md: what stands between the first ```weir-ir and the next ```. */
static void test_the_documents_example(void **state)
{
	const char *root = getenv("WEIR_SOURCE");
	char path[4096], *text, *start, *end;

	(void)state;
	if (!root)
		skip(); /* not run by meson */
	snprintf(path, sizeof path, "%s/docs/ir.md", root);
	text = read_file(path);
	start = strstr(text, "```weir-ir\n");
	assert_non_null(start);
	start += strlen("```weir-ir\n");
	end = strstr(start, "```");
	assert_non_null(end);
	*end = '\0';
	expect_same(start);
	free(text);
}

static const struct {
	const char *text, *error;
} errors[] = {
	{ "", "expected `policy` or `expression`" },
	{ "# nothing", "expected `policy` or `expression`" },
	{ "policy web {}", "expected the policy's name in quotes" },
	{ "policy \"web\n\" {}", "the quoted text has no end on its line" },
	{ "policy \"\\q\" {}", "bad character or escape in the quoted text" },
	{ "policy \"\\x00\" {}", "bad character or escape in the quoted text" },
	{ "policy \"\\x1", "the quoted text has no end on its line" },
	{ "policy \"p\\", "the quoted text has no end on its line" },
	{ "policy \"p\" ;", "no word, text or sign of IR begins here" },
	{ "policy \"p\" }", "expected `{`" },
	{ "policy \"p\" {", "expected a statement or `}`" },
	{ "policy \"p\" { bogus }", "expected a statement or `}`" },
	{ "policy \"p\" { default maybe }", "expected a verdict" },
	{ "policy \"p\" { attach eth0 }", "expected a hook" },
	{ "policy \"p\" { attach netfilter-input priority 2147483648 }", "expected a priority" },
	{ "policy \"p\" { attach xdp \"lo\" mode fast }", "expected an XDP mode" },
	{ "policy \"p\" { classifier magic }", "expected a classifier" },
	{ "policy \"p\" { malformed maybe }", "expected `accept` or `drop`" },
	{ "policy \"p\" { non_ip maybe }", "expected `accept` or `default`" },
	{ "policy \"p\" { cgroup_levels 1, 2, 3, 4 }", "too many cgroup levels" },
	{ "policy \"p\" { cgroup_levels 256 }", "expected a number of 8 bits" },
	{ "policy \"p\" { set \"s\" colour }", "expected a set type" },
	{ "policy \"p\" { set \"s\" port {", "expected `max`" },
	{ "policy \"p\" { set \"s\" port max 3 { 65536 } }", "expected a value or range of src_port" },
	{ "policy \"p\" { set \"s\" prefix max 3 { 10.0.0.1/8 } }", "expected a value or range of ip.src" },
	{ "policy \"p\" { set \"s\" prefix max 3 { fd00::/129 } }", "expected a value or range of ipv6.src" },
	{ "policy \"p\" { chain \"main\" { accept } }", "expected `rule` or `}`" },
	{ "policy \"p\" { chain \"main\" { rule one accept } }", "expected a number of 32 bits" },
	{ "policy \"p\" { chain \"main\" { rule 1 if true } }", "expected an action" },
	{ "policy \"p\" { chain \"main\" { rule 1 count \"c\" } }", "no counter of that name so far" },
	{ "policy \"p\" { chain \"main\" { rule 1 mark 3 } }", "expected VALUE/MASK" },
	{ "policy \"p\" { chain \"main\" { rule 1 log } }", "expected the log's text in quotes" },
	{ "policy \"p\" { chain \"main\" { rule 1 jump \"a\", drop } }", "a jump must be the last action" },
	{ "policy \"p\" { chain \"main\" { rule 1 jump \"a\", jump \"a\" } }", "a jump must be the last action" },
	{ "policy \"p\" { chain \"main\" { rule 1 jump \"a\" } }", "no chain of that name in this policy" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if } }", "expected a field, or one of all, any, not, true, false" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if port = 3 } }",
	  "expected a field, or one of all, any, not, true, false" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if proto } }", "expected `=`, `&` or `in`" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if proto = 256 } }", "expected a value of proto" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if ip.src = ::1 } }", "expected a value of ip.src" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if eth.src = 02:00 } }", "expected a value of eth.src" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if dst_port in {9-8} } }", "expected a value or range of dst_port" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if dst_port in set \"s\" } }", "no set of that name so far" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if all() } }", "expected a field, or one of all, any, not, true, false" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop if not(true, true) } }", "expected `)`" },
	{ "policy \"p\" { chain \"main\" { rule 1 drop } }", "the policy is attached nowhere" },
	{ "expression \"p\" { }", "there is no chain" },
};

static void test_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		struct arena *arena = arena_new();
		const char *error = ir_text_error(arena, errors[i].text);

		if (!error)
			fail_msg("no error: %s", errors[i].text);
		assert_string_equal(error, errors[i].error);
		arena_free(arena);
	}
}

static void test_place_of_an_error(void **state)
{
	struct work work = { .arena = arena_new(), .text = "policy \"p\" {\n\tdefault  maybe\n}" };
	struct span span;

	(void)state;
	assert_int_equal(arena_run(work.arena, parse, &work), -EINVAL);
	assert_int_equal(work.diags->errors, 1);
	span = work.diags->list.items[0].span;
	assert_int_equal(source_position(span.source, span.offset).line, 2);
	assert_int_equal(source_position(span.source, span.offset).column, 11);
	assert_int_equal(span.length, 5);
	arena_free(work.arena);
}

/* `depth` negations of a protocol test. */
static char *nested(size_t depth)
{
	const char *head = "expression \"x\" { chain \"main\" { rule 1 drop if ";
	char *text = calloc(1, strlen(head) + depth * 5 + 64), *at = text + sprintf(text, "%s", head);

	for (size_t i = 0; i < depth; i++)
		at += sprintf(at, "not(");
	at += sprintf(at, "proto = 6");
	memset(at, ')', depth);
	strcpy(at + depth, " } }");
	return text;
}

static void test_nesting(void **state)
{
	struct arena *arena = arena_new();
	char *good = nested(900), *deep = nested(100000);

	(void)state;
	assert_null(ir_text_error(arena, good));
	assert_string_equal(ir_text_error(arena, deep), "the condition is nested too deep");
	arena_free(arena);
	free(good);
	free(deep);
}

static void test_allocation_failure(void **state)
{
	const char *text = "expression \"x\" { counter \"c\" set \"s\" port max 3 { 1 2 } chain \"main\" {"
			   "rule 1 count \"c\", drop if all(proto = 6, not(dst_port in set \"s\")) rule 2 jump \"a\" }"
			   "chain \"a\" { } }";
	long nth = 0;
	int error;

	(void)state;
	do {
		struct work work = { .arena = arena_new(), .text = text };

		arena_fail_at(work.arena, nth++);
		error = arena_run(work.arena, parse_and_print, &work);
		assert_true(error == 0 || error == -ENOMEM);
		arena_free(work.arena);
	} while (error);
	assert_true(nth > 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_round_trips), cmocka_unit_test(test_everything_in_one),
		cmocka_unit_test(test_the_documents_example), cmocka_unit_test(test_errors),
		cmocka_unit_test(test_place_of_an_error), cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_allocation_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
