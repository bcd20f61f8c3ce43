/* SPDX-License-Identifier: GPL-2.0-only */
/* Connection tracking of the data planes, compiled for the host: random conversations against the model's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "host_flow.h"
#include "tests/lib/flows.h"

enum { SEQUENCES = 3000, PACKETS = 200 };

/* One packet of a sequence that is tried. */
struct step {
	unsigned char frame[FLOWS_FRAME_MAX];
	size_t length;
	uint64_t pause_ns;
	bool accepted;
};

struct sequence {
	struct step steps[PACKETS];
	size_t count;
};

static unsigned states_met[FLOW_INVALID + 1];

static void make(struct sequence *sequence, uint64_t seed)
{
	struct flows_source source;

	flows_seed(&source, seed);
	sequence->count = PACKETS;
	for (size_t i = 0; i < PACKETS; i++) {
		struct step *step = &sequence->steps[i];

		step->length = flows_next(&source, step->frame, &step->pause_ns);
		step->accepted = !random_once_in(&source.random, 8);
	}
}

/* The first step at which the two differ, or -1. */
static long differs(const struct sequence *sequence)
{
	static const struct ruleset ruleset; /* all timeouts as they are by themselves */
	struct model_state state = { .arena = arena_new() };
	long wrong = -1;

	host_flows_reset();
	for (size_t i = 0; i < sequence->count && wrong < 0; i++) {
		const struct step *step = &sequence->steps[i];
		const struct model_packet packet = { .data = step->frame, .length = step->length };
		struct host_flow_verdict host;
		struct model_fields fields;
		enum packet_flow model;

		state.now_ns += step->pause_ns;
		host_flow_look(&packet, state.now_ns, &host);
		model_parse(HOOK_XDP, &packet, &fields);
		model = model_flow(&state, &fields);
		states_met[model]++;
		if (host.state != model)
			wrong = (long)i;
		if (step->accepted) {
			host_flow_accept(&host);
			model_flow_accept(&state, &ruleset, &fields);
		}
		if (host_flow_count(state.now_ns) != model_flow_count(&state))
			wrong = (long)i;
	}
	arena_free(state.arena);
	return wrong;
}

static void without(struct sequence *sequence, size_t index)
{
	sequence->steps[index + 1 < sequence->count ? index + 1 : index].pause_ns += sequence->steps[index].pause_ns;
	memmove(&sequence->steps[index], &sequence->steps[index + 1],
		(sequence->count - index - 1) * sizeof *sequence->steps);
	sequence->count--;
}

static void shrink(struct sequence *sequence)
{
	static struct sequence shorter;

	for (size_t i = 0; i < sequence->count;) {
		shorter = *sequence;
		without(&shorter, i);
		if (differs(&shorter) >= 0)
			*sequence = shorter;
		else
			i++;
	}
}

static void print(const struct sequence *sequence, uint64_t seed)
{
	print_error("seed %llu; made small:\n", (unsigned long long)seed);
	for (size_t i = 0; i < sequence->count; i++) {
		const struct step *step = &sequence->steps[i];

		print_error("after %llu ms, %s:", (unsigned long long)step->pause_ns / 1000000,
			    step->accepted ? "accepted" : "dropped");
		for (size_t at = 14; at < step->length; at++)
			print_error("%s%02x", at % 4 == 2 ? " " : "", step->frame[at]);
		print_error("\n");
	}
}

static void random_conversations(void **unused)
{
	static struct sequence sequence;
	uint64_t first = random_setting("WEIR_SEED", 1), rounds = SEQUENCES * random_setting("WEIR_ROUNDS", 1);

	(void)unused;
	for (uint64_t seed = first; seed < first + rounds; seed++) {
		make(&sequence, seed);
		if (differs(&sequence) < 0)
			continue;
		shrink(&sequence);
		print(&sequence, seed);
		fail();
	}
	for (int state = FLOW_UNTRACKED; state <= FLOW_INVALID; state++) {
		print_message("# state %d: %u packets\n", state, states_met[state]);
		assert_true(states_met[state] > 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(random_conversations) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
