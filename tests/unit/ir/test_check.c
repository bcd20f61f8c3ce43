/* SPDX-License-Identifier: GPL-2.0-only */
/* Each invariant of a rule set, broken; and the helpers that build conditions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ir/ir.h"
#include "tests/lib/ir_text.h"
#include "tests/lib/policies.h"

static struct arena *arena;

static int open_arena(void **state)
{
	(void)state;
	arena = arena_new();
	return arena ? 0 : -1;
}

static int close_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

/* What reading finds wrong with an expression of these statements. */
static void expect_text(const char *statements, const char *error)
{
	char text[1024];
	const char *found;

	assert_true((size_t)snprintf(text, sizeof text, "expression \"x\" { %s }", statements) < sizeof text);
	found = ir_text_error(arena, text);
	if (!error)
		assert_null(found);
	else if (!found)
		fail_msg("no error: %s", statements);
	else
		assert_string_equal(found, error);
}

static const struct {
	const char *statements, *error;
} cases[] = {
	{ "chain \"main\" { }", NULL },
	{ "tunable \"t\" 80 chain \"main\" { rule 1 drop if dst_port in {81-65535} by \"t\" above }", NULL },
	{ "tunable \"t\" 80 chain \"main\" { rule 1 drop if dst_port in {0-79, 81-65535} by \"t\" below above }", NULL },
	{ "tunable \"t\" 80 chain \"main\" { rule 1 drop if dst_port in {80-65535} by \"t\" above }",
	  "rule 1: the values of dst_port are not those of the comparison" },
	{ "tunable \"t\" 80 chain \"main\" { rule 1 drop if dst_port = 80 by \"t\" }", "comparison 1 is none" },
	{ "tunable \"t\" 80 chain \"main\" { rule 1 drop if user = 80 by \"t\" equal }", "comparison 1 is none" },
	{ "tunable \"t\" 80000 chain \"main\" { rule 1 drop if dst_port = 80 by \"t\" equal }", "comparison 1 is none" },
	{ "tunable \"t\" 1 tunable \"t\" 2 chain \"main\" { }", "two tunables are called `t`" },
	{ "chain \"main\" { rule 1 drop if dst_port = 80 by \"t\" equal }", "no tunable of that name so far" },
	{ "chain \"first\" { }", "the first chain is not called `main`" },
	{ "chain \"main\" { } chain \"main\" { }", "two chains are called `main`" },
	{ "chain \"main\" { } chain \"\" { }", "a chain has no name" },
	{ "counter \"a\" counter \"b\" counter \"a\" chain \"main\" { }", "two counters are called `a`" },
	{ "set \"s\" port max 1 { } set \"s\" mac max 1 { } chain \"main\" { }", "two sets are called `s`" },
	{ "set \"s\" port max 1 { 1 2 } chain \"main\" { }",
	  "set `s`: 2 elements are more than its maximum of 1" },
	{ "set \"s\" port max 9 { 2 1 } chain \"main\" { }", "set `s`: elements 1 and 2 overlap or are not sorted" },
	{ "set \"s\" port max 9 { 1-3 3 } chain \"main\" { }", "set `s`: elements 1 and 2 overlap or are not sorted" },
	{ "set \"s\" port max 9 { 1-3 4 } chain \"main\" { }", NULL },
	{ "set \"s\" prefix max 9 { 10.0.0.1-10.0.0.2 } chain \"main\" { }", "set `s`: element 1 is not a prefix" },
	{ "set \"s\" prefix max 9 { 10.0.0.0-10.0.0.3 ::/0 } chain \"main\" { }", NULL },
	{ "chain \"main\" { rule 2 drop }", "rule number 2 is not from 1 to 1" },
	{ "chain \"main\" { rule 0 drop }", "rule number 0 is not from 1 to 1" },
	{ "chain \"main\" { rule 1 drop rule 1 drop }", "two rules have the number 1" },
	{ "chain \"main\" { rule 2 drop rule 1 drop }", NULL },
	{ "chain \"main\" { rule 1 drop, accept }", "rule 1: a terminal action is not the last one" },
	{ "chain \"main\" { rule 1 return, log \"x\" }", "rule 1: a terminal action is not the last one" },
	{ "chain \"main\" { rule 1 drop if eth.type = 1 }",
	  "rule 1 tests eth.type but is not marked as one that names the link layer" },
	{ "chain \"main\" { rule 1 link drop if eth.type = 1 }", NULL },
	{ "chain \"main\" { rule 1 link drop if proto = 1 }", NULL },
	{ "chain \"main\" { rule 1 drop if cgroup.0 = 1 }", "rule 1: cgroup.0 has no level" },
	{ "cgroup_levels 1, 2 chain \"main\" { rule 1 drop if cgroup.1 = 1 }", NULL },
	{ "cgroup_levels 1, 2 chain \"main\" { rule 1 drop if cgroup.2 = 1 }", "rule 1: cgroup.2 has no level" },
	{ "chain \"main\" { rule 1 drop if proto in {1, 2} }",
	  "rule 1: ranges 1 and 2 of proto overlap, touch or are not sorted" },
	{ "chain \"main\" { rule 1 drop if proto in {3, 1} }",
	  "rule 1: ranges 1 and 2 of proto overlap, touch or are not sorted" },
	{ "chain \"main\" { rule 1 drop if tcp.flags & 0x2 = 0x3 }",
	  "rule 1: range 1 of tcp.flags is empty or not inside the mask" },
	{ "chain \"main\" { rule 1 drop if in_iface in {0-1} }",
	  "rule 1: a range of in_iface holds the value that says it is absent" },
	{ "chain \"main\" { rule 1 drop if in_iface & 1 = 1 }", "rule 1: in_iface cannot be masked" },
	{ "chain \"main\" { rule 1 drop if user = 4294967295 }",
	  "rule 1: a range of user holds the value that says it is absent" },
	{ "chain \"main\" { rule 1 drop if not(user = 1) }", "rule 1: user stands under a negation" },
	{ "chain \"main\" { rule 1 drop if not(not(any(proto = 1, user = 1))) }", "rule 1: user stands under a negation" },
	{ "chain \"main\" { rule 1 drop if all(not(proto = 1), user = 1) }", NULL },
	{ "set \"u\" user max 1 { } chain \"main\" { rule 1 drop if user in set \"u\" }", NULL },
	{ "set \"u\" user max 1 { } chain \"main\" { rule 1 drop if not(user in set \"u\") }",
	  "rule 1: user stands under a negation" },
	{ "set \"u\" user max 1 { } chain \"main\" { rule 1 drop if all(user in {0-9}, not(user in set \"u\")) }", NULL },
	{ "set \"u\" user max 1 { } chain \"main\" { rule 1 drop if not(all(user in {0-9}, not(user in set \"u\"))) }",
	  "rule 1: user stands under a negation" },
	{ "set \"u\" user max 1 { } chain \"main\" { rule 1 drop if proto in set \"u\" }",
	  "rule 1: proto cannot be in set `u`" },
	{ "chain \"main\" { rule 1 jump \"main\" }", "chain `main` is on or behind a cycle of jumps" },
	{ "chain \"main\" { rule 1 jump \"a\" } chain \"a\" { rule 2 goto \"b\" } chain \"b\" { rule 3 jump \"a\" }",
	  "chain `a` is on or behind a cycle of jumps" },
	{ "chain \"main\" { rule 1 jump \"a\" rule 2 jump \"a\" } chain \"a\" { rule 3 goto \"b\" } chain \"b\" { }", NULL },
	{ "attach xdp chain \"main\" { }", "attach 1: xdp takes a target" },
	{ "attach netfilter-input \"lo\" chain \"main\" { }", "attach 1: netfilter-input takes no target" },
};

static void test_invariants(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		expect_text(cases[i].statements, cases[i].error);
}

/* What the text form cannot say. */
static int break_things(void *context)
{
	struct action action = { .kind = ACTION_VERDICT, .verdict = VERDICT_DROP };
	struct rule rule = { .number = 1, .actions = &action, .action_count = 1 };
	struct chain chain = { .name = "main", .rules = &rule, .rule_count = 1 };
	struct ruleset ruleset = { .name = "x", .expression = true, .chains = &chain, .chain_count = 1, .rule_count = 1 };
	struct cond cond = { .kind = COND_MATCH, .match = { .field = FIELD_PROTO, .mask = 255 } };

	(void)context;
	assert_null(ruleset_check(arena, &ruleset));
	ruleset.rule_count = 2;
	assert_string_equal(ruleset_check(arena, &ruleset), "there are 1 rules, but the rule count is 2");
	ruleset.rule_count = 1;
	rule.action_count = 0;
	assert_string_equal(ruleset_check(arena, &ruleset), "rule 1 has no action");
	rule.action_count = 1;
	rule.cond = &cond;
	assert_string_equal(ruleset_check(arena, &ruleset), "rule 1: proto is matched with no range");
	cond = (struct cond){ .kind = COND_AND };
	assert_string_equal(ruleset_check(arena, &ruleset), "rule 1: an empty list in the condition");
	cond = (struct cond){ .kind = COND_NOT };
	assert_string_equal(ruleset_check(arena, &ruleset), "rule 1: a part of the condition is missing");
	cond = (struct cond){ .kind = COND_SET, .set = { .field = FIELD_DST_PORT, .set = 0 } };
	assert_string_equal(ruleset_check(arena, &ruleset), "rule 1: no such set");
	cond = (struct cond){ .kind = COND_TRUE };
	action = (struct action){ .kind = ACTION_JUMP, .chain = 1 };
	assert_string_equal(ruleset_check(arena, &ruleset), "rule 1: no such chain");
	action = (struct action){ .kind = ACTION_COUNT };
	assert_string_equal(ruleset_check(arena, &ruleset), "rule 1: no such counter");
	ruleset.expression = false;
	assert_string_equal(ruleset_check(arena, &ruleset), "the policy is attached nowhere");
	return 0;
}

static void test_broken_structures(void **state)
{
	(void)state;
	assert_int_equal(arena_run(arena, break_things, NULL), 0);
}

static void expect_ranges(const struct range *ranges, size_t count, const uint64_t *wanted)
{
	for (size_t i = 0; i < count; i++) {
		assert_true(ranges[i].lo == wanted[2 * i]);
		assert_true(ranges[i].hi == wanted[2 * i + 1]);
	}
}

static void test_normalize(void **state)
{
	struct range ranges[] = { { 8, 9 }, { 1, 2 }, { 3, 3 }, { 0, 0 }, { 20, 30 }, { 25, 26 }, { 12, 12 } };
	struct range top[] = { { 5, ~(u128)0 }, { 0, 0 }, { ~(u128)0, ~(u128)0 } };
	const uint64_t wanted[] = { 0, 3, 8, 9, 12, 12, 20, 30 };

	(void)state;
	assert_int_equal(ranges_normalize(ranges, 7), 4);
	expect_ranges(ranges, 4, wanted);
	assert_int_equal(ranges_normalize(top, 3), 2);
	assert_true(top[1].lo == 5 && top[1].hi == ~(u128)0);
	assert_int_equal(ranges_normalize(top, 0), 0);
}

static int build_conditions(void *context)
{
	const struct range ranges[] = { { 9, 9 }, { 1, 2 }, { 3, 4 } };
	const uint64_t wanted[] = { 1, 4, 9, 9 };
	const struct span nowhere = { 0 };
	const struct cond *cond = cond_match_ranges(arena, FIELD_DST_PORT, ranges, 3, nowhere);
	const struct cond *pair = cond_pair(arena, COND_OR, cond, cond_not(arena, cond, nowhere), nowhere);

	(void)context;
	assert_int_equal(cond->match.count, 2);
	assert_true(cond->match.mask == 0xffff);
	expect_ranges(cond->match.ranges, 2, wanted);
	assert_true(ranges[0].lo == 9); /* a private copy was sorted */
	assert_int_equal(cond_match_ranges(arena, FIELD_TTL, ranges, 0, nowhere)->kind, COND_FALSE);
	assert_int_equal(pair->list.count, 2);
	assert_ptr_equal(pair->list.items[1]->inner, cond);
	return 0;
}

static void test_helpers(void **state)
{
	(void)state;
	assert_int_equal(arena_run(arena, build_conditions, NULL), 0);
}

static bool drops_port_22(const struct ruleset *ruleset, void *context)
{
	(void)context;
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++) {
			const struct cond *cond = ruleset->chains[i].rules[j].cond;
			const char *text = cond ? ruleset_print(arena, ruleset) : "";

			if (strstr(text, "dst_port = 22"))
				return true;
		}
	return false;
}

static int shrink(void *context)
{
	const struct ruleset *ruleset = context, *small = policies_shrink(arena, ruleset, drops_port_22, NULL);

	assert_int_equal(small->rule_count, 1);
	assert_non_null(strstr(ruleset_print(arena, small), "rule 1 drop if dst_port = 22\n"));
	return 0;
}

/* The shrinker finds the one thing that matters. */
static void test_shrink(void **state)
{
	const struct ruleset *ruleset = ir_text_parse(
		arena, "expression \"x\" { counter \"c\" set \"s\" port max 9 { 1 2 3 } chain \"main\" {"
		       "rule 1 accept if proto = 6 rule 2 count \"c\" rule 3 jump \"a\" if ttl in {1-9} } chain \"a\" {"
		       "rule 4 log \"x\" if dst_port in set \"s\""
		       "rule 5 count \"c\", drop if all(proto = 6, not(any(ttl = 3, all(dst_port = 22, dscp in {3, 5})))) } }");

	(void)state;
	assert_int_equal(arena_run(arena, shrink, (void *)ruleset), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_invariants, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_broken_structures, open_arena, close_arena),
		cmocka_unit_test(test_normalize),
		cmocka_unit_test_setup_teardown(test_helpers, open_arena, close_arena),
		cmocka_unit_test_setup_teardown(test_shrink, open_arena, close_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
