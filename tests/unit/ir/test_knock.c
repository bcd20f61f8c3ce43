/* SPDX-License-Identifier: GPL-2.0-only */
/* What a knock means, by the model: packets in an order, at times, from sources; and who is let in then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ir/model.h"

enum { PORTS = 8 };

static const uint64_t second = 1000000000;

/* One sequence of destination ports, written as letters. */
struct knocking {
	struct arena *arena;
	struct ruleset ruleset;
	struct knock knock;
	const struct cond *steps[KNOCK_STEPS_MAX];
	struct model_state state;
	const char *sequence, *packets;
	uint8_t open; /* after the last packet */
};

static struct model_fields packet(uint64_t source_hi, uint64_t source_lo, unsigned port)
{
	struct model_fields fields = { .malformed = false };

	fields.has[FIELD_FAMILY] = fields.has[FIELD_DST_PORT] = fields.has[FIELD_KNOCKED] = true;
	fields.has[FIELD_IPV6_SRC] = fields.has[FIELD_PROTO] = true;
	fields.value[FIELD_FAMILY] = FAMILY_IPV6;
	fields.value[FIELD_IPV6_SRC] = u128_make(source_hi, source_lo);
	fields.value[FIELD_DST_PORT] = port;
	fields.value[FIELD_PROTO] = 6;
	return fields;
}

static void send(struct knocking *knocking, uint64_t hi, uint64_t lo, unsigned port)
{
	const struct model_packet nothing = { .state = &knocking->state };
	const struct model_fields fields = packet(hi, lo, port);

	model_knock(&knocking->ruleset, HOOK_XDP, &nothing, &fields);
}

static bool is_open(struct knocking *knocking, uint64_t hi, uint64_t lo)
{
	const struct model_fields fields = packet(hi, lo, 22);

	return model_knocked(&knocking->state, &knocking->ruleset, &fields);
}

static void make(struct knocking *knocking, const char *sequence)
{
	knocking->state.arena = knocking->arena;
	for (; sequence[knocking->knock.step_count]; knocking->knock.step_count++) {
		unsigned port = 7000 + (unsigned char)sequence[knocking->knock.step_count];

		knocking->steps[knocking->knock.step_count] =
			cond_match(knocking->arena, FIELD_DST_PORT, port, port, (struct span){ 0 });
	}
	knocking->knock.name = "door";
	knocking->knock.steps = knocking->steps;
	knocking->knock.within_ns = 10 * second;
	knocking->knock.open_ns = 30 * second;
	knocking->ruleset.knocks = &knocking->knock;
	knocking->ruleset.knock_count = 1;
}

/* A digit lets so many seconds go by, a dash minutes; letters are packets. */
static int play(void *context)
{
	struct knocking *knocking = context;
	bool extend = knocking->sequence[0] == '+';

	make(knocking, knocking->sequence + extend);
	knocking->knock.extend = extend;
	for (const char *at = knocking->packets; *at; at++) {
		if (*at >= '0' && *at <= '9')
			knocking->state.now_ns += (uint64_t)(*at - '0') * second;
		else if (*at == '-')
			knocking->state.now_ns += 60 * second;
		else
			send(knocking, 1, 2, 7000 + (unsigned char)*at);
	}
	knocking->open = is_open(knocking, 1, 2);
	return 0;
}

static void test_orders(void **unused)
{
	static const struct {
		const char *sequence, *packets;
		bool open;
	} rows[] = {
		{ "abc", "abc", true },      { "abc", "ab", false },       { "abc", "acb", false },
		{ "abc", "cba", false },     { "abc", "xaxxbxcx", true },  { "abc", "aabbc", true },
		{ "abc", "abac", false },    { "abc", "ababc", true },     { "abc", "abcc", true },
		{ "abc", "acbc", false },    { "abc", "ab-c", false },     { "abc", "a55bc", true },
		{ "abc", "a551bc", false },  { "abc", "a9a9bc", true },    { "abc", "a9ab9bc", true },
		{ "abc", "a5b5b1c", false }, { "abc", "abc9991", true },   { "abc", "abc999", true },
		{ "abc", "abc9993", false }, { "abc", "abc9abc993", false }, { "+abc", "abc9abc993", true },
		{ "abc", "abc-abc", true },  { "abc", "abc9ab999c", false }, { "a", "a", true },
		{ "a", "b", false },         { "a", "a9a993", false },     { "+a", "a9a993", true },
		{ "aab", "aab", true },      { "aab", "ab", false },       { "aba", "abab", true },
		{ "abcdefgh", "abcdefgh", true }, { "abcdefgh", "abcdefg", false },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct knocking knocking = { .arena = arena_new(), .sequence = rows[i].sequence,
					     .packets = rows[i].packets };

		assert_int_equal(arena_run(knocking.arena, play, &knocking), 0);
		if (knocking.open != rows[i].open)
			fail_msg("%s: after %s it is %s", rows[i].sequence, rows[i].packets,
				 knocking.open ? "open" : "shut");
		arena_free(knocking.arena);
	}
}

static int play_sources(void *context)
{
	struct knocking *knocking = context;

	make(knocking, "ab");
	send(knocking, 1, 2, 7000 + 'a');
	send(knocking, 2, 2, 7000 + 'b');
	assert_false(is_open(knocking, 1, 2) || is_open(knocking, 2, 2));
	send(knocking, 1, 3, 7000 + 'b'); /* of the same /64 */
	assert_true(is_open(knocking, 1, 2) && is_open(knocking, 1, 9));
	assert_false(is_open(knocking, 2, 2));
	knocking->knock.whole = true;
	assert_false(is_open(knocking, 1, 2));
	send(knocking, 1, 2, 7000 + 'a');
	send(knocking, 1, 3, 7000 + 'b');
	assert_false(is_open(knocking, 1, 2) || is_open(knocking, 1, 3));
	send(knocking, 1, 2, 7000 + 'b');
	assert_true(is_open(knocking, 1, 2));
	assert_false(is_open(knocking, 1, 3));
	return 0;
}

static void test_sources(void **unused)
{
	struct knocking knocking = { .arena = arena_new() };

	(void)unused;
	assert_int_equal(arena_run(knocking.arena, play_sources, &knocking), 0);
	arena_free(knocking.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_orders), cmocka_unit_test(test_sources) };

	return cmocka_run_group_tests_name("ir/knock", tests, NULL, NULL);
}
