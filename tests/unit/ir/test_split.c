/* SPDX-License-Identifier: GPL-2.0-only */
/* What calls decide of a policy: never more than its packet hooks would, and what they can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/model.h"
#include "ir/split.h"
#include "tests/lib/ir_text.h"
#include "tests/lib/packets.h"
#include "tests/lib/policies.h"
#include "tests/lib/random.h"

enum { PACKETS = 60, POLICIES = 400, HEADER4 = 20, DST4_AT = 16, DST6_AT = 24 };

/* --- against the packet hooks ----------------------------------------------------------------------------------- */

struct round {
	struct arena *arena;
	uint64_t seed;
	enum hook call, behind;
	size_t refused, let_pass; /* calls */
};

/* The same rules at a call and at a packet hook behind it. */
static const struct ruleset *at_both(struct round *round, const struct ruleset *ruleset)
{
	struct ruleset *copy = arena_copy(round->arena, ruleset, sizeof *ruleset);
	struct attach *attaches = ARENA_ARRAY(round->arena, struct attach, 2);

	attaches[0] = (struct attach){ .hook = round->call, .target = "/", .priority = PRIORITY_DEFAULT };
	attaches[1] = (struct attach){ .hook = round->behind, .target = "/", .priority = PRIORITY_DEFAULT };
	copy->attaches = attaches;
	copy->attach_count = 2;
	return copy;
}

static bool has_ports(const struct model_fields *fields)
{
	return fields->has[FIELD_DST_PORT];
}

/* The call that may lead to the packet: as exact as it, or with the address or the port left open. */
static void make_call(struct random *random, const struct model_fields *fields, const struct model_packet *packet,
		      unsigned char *copy, bool may_leave)
{
	bool six = packet->ethertype == 0x86dd;
	size_t ports = six ? 40 : (packet->data[0] & 15u) * 4;

	memcpy(copy, packet->data, packet->length);
	if (!may_leave)
		return;
	if (random_once_in(random, 2))
		memset(copy + (six ? DST6_AT : DST4_AT), 0, six ? 16 : 4);
	if (has_ports(fields) && random_once_in(random, 2) && (!six || packet->data[6] == 6 || packet->data[6] == 17))
		memset(copy + ports + 2, 0, 2);
}

static int run_round(void *context)
{
	struct round *round = context;
	const struct ruleset *whole = at_both(round, policies_random(round->arena, round->seed, round->behind, NULL));
	const struct ruleset *split = ruleset_at(round->arena, whole, round->call);
	unsigned char buffer[PACKET_BYTES_MAX], copy[PACKET_BYTES_MAX];
	struct packet_source source;
	struct random random = random_seed(round->seed);

	assert_ptr_not_equal(split, whole);
	assert_ptr_equal(ruleset_at(round->arena, whole, round->behind), whole);
	assert_null(ruleset_check(round->arena, split));
	packets_seed(&source, round->seed);
	packets_add_ruleset(&source, whole);
	source.well_formed = true;
	for (int i = 0; i < PACKETS; i++) {
		struct model_packet packet, call;
		struct model_fields fields;
		struct model_result by_call, by_packet;

		packets_next_at(&source, round->behind, buffer, sizeof buffer, &packet);
		model_parse(round->behind, &packet, &fields);
		if (fields.malformed || !fields.has[FIELD_PROTO] || fields.value[FIELD_FRAGMENT] == FRAGMENT_LATER)
			continue;
		make_call(&random, &fields, &packet, copy, round->call == HOOK_BIND);
		call = packet;
		call.data = copy;
		model_judge(round->arena, split, round->call, &call, &by_call);
		model_judge(round->arena, whole, round->behind, &packet, &by_packet);
		if (by_call.verdict != VERDICT_ACCEPT && by_packet.verdict == VERDICT_ACCEPT)
			fail_msg("seed %llu, packet %d: %s refuses by rule %d what rule %d of %s accepts\n%s\nas split:\n%s",
				 (unsigned long long)round->seed, i, hook_table[round->call].name, by_call.rule,
				 by_packet.rule, hook_table[round->behind].name, ruleset_print(round->arena, whole),
				 ruleset_print(round->arena, split));
		*(by_call.verdict == VERDICT_ACCEPT ? &round->let_pass : &round->refused) += 1;
	}
	return 0;
}

static void agree(enum hook call, enum hook behind)
{
	struct round round = { .call = call, .behind = behind };

	for (uint64_t i = 0; i < POLICIES; i++) {
		round.arena = arena_new();
		round.seed = i + 1;
		assert_int_equal(arena_run(round.arena, run_round, &round), 0);
		arena_free(round.arena);
	}
	assert_true(round.refused > POLICIES && round.let_pass > POLICIES);
}

static void test_connect_refuses_what_packets_would_be(void **state)
{
	(void)state;
	agree(HOOK_CONNECT, HOOK_CGROUP_EGRESS);
}

static void test_bind_refuses_what_packets_would_be(void **state)
{
	(void)state;
	agree(HOOK_BIND, HOOK_CGROUP_INGRESS);
}

/* --- in words --------------------------------------------------------------------------------------------------- */

struct work {
	struct arena *arena;
	const char *rules;
	const char *printed; /* the rules as connect judges them */
	const struct ruleset *ruleset;
};

static int split_text(void *context)
{
	struct work *work = context;
	const char *text = arena_printf(work->arena,
					"policy \"t\" {\n\tattach connect \"/\"\n\tattach cgroup-egress \"/\"\n"
					"\tdefault accept\n\tchain \"main\" {\n%s\t}\n\tchain \"other\" {\n"
					"\t\trule 2 drop\n\t}\n}\n", work->rules);
	const char *from, *to;

	work->ruleset = ir_text_parse(work->arena, text);
	text = ruleset_print(work->arena, ruleset_at(work->arena, work->ruleset, HOOK_CONNECT));
	from = strstr(text, "main\" {\n") + strlen("main\" {\n");
	to = strstr(from, "\t}\n");
	work->printed = arena_strndup(work->arena, from, (size_t)(to - from));
	return 0;
}

static void expect(const char *rule, const char *printed)
{
	struct work work = { .arena = arena_new() };

	work.rules = arena_printf(work.arena, "\t\trule 1 %s\n", rule);
	assert_int_equal(arena_run(work.arena, split_text, &work), 0);
	printed = arena_printf(work.arena, "\t\trule 1 %s\n", printed);
	assert_string_equal(work.printed, printed);
	arena_free(work.arena);
}

static void test_rules(void **state)
{
	(void)state;
	expect("drop if dst_port = 25", "drop if dst_port = 25");
	expect("accept if ttl = 1", "accept if true");
	expect("drop if ttl = 1", "drop if false");
	expect("drop if not(ttl = 1)", "drop if not(true)");
	expect("accept if not(ttl = 1)", "accept if not(false)");
	expect("accept if tcp.flags = 16", "accept if proto = 6");
	expect("accept if in_iface = 1", "accept if false");
	expect("link accept if eth.type = 0x800", "link accept if family = 4");
	expect("log \"x\", accept if ttl = 1", "left log \"x\", accept if true");
	expect("log \"x\", drop if ttl = 1", "log \"x\", drop if false");
	expect("log \"x\", accept if proto = 6", "log \"x\", accept if proto = 6");
	expect("mark 0x1/0xff, accept", "left mark 0x1/0xff, accept");
	expect("jump \"other\" if proto = 6", "jump \"other\" if proto = 6");
	expect("jump \"other\" if ttl = 1", "accept if true");
	expect("return if ttl = 1", "accept if true");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect_refuses_what_packets_would_be),
		cmocka_unit_test(test_bind_refuses_what_packets_would_be),
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
