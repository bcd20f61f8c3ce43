/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hunt for planted bugs: a policy made into a program, a copy of it to harm, and what the prover and random packets say
 * of each harm. The tests say what is harmed and how the harmed copy is run. For tests; one hunt at a time.
 */
#ifndef WEIR_TESTS_PROVE_HUNT_H
#define WEIR_TESTS_PROVE_HUNT_H

#include "tests/lib/ir_text.h"
#include "tests/lib/random.h"
#include "tests/unit/prove/harm.h"
#include "tests/unit/prove/subject.h"

struct hunt_policy {
	const char *name;
	enum hook hook;
	struct plan_options options;
	const char *text;
};

struct tally {
	size_t planted, caught, assumed, same, open;
};

struct hunt {
	struct arena *arena;
	const struct hunt_policy *policy;
	/* Runs the harmed copy; `plan` is the hunt's own (hunt_of()). */
	uint32_t (*run)(const struct plan *plan, const struct packet *packet);
	struct subject subject; /* unharmed */
	struct bpf_insn *insns; /* harmed, as are all of the following */
	struct code code;
	struct step *steps;
	struct plan plan;
	uint64_t *words;        /* a table's; NULL for others */
	struct table_config config;
	struct packet *packets; /* random ones */
	size_t packet_count;
	size_t open_max;        /* bugs that may stay undecided */
	size_t sparse;          /* judges each so many-th bug only (0 is 1), fewer under sanitizers */
	size_t offered;         /* bugs so far, judged or not */
	struct tally tally;
	bool wrong;
};

static inline const struct hunt *hunt_of(const struct plan *plan)
{
	return (const struct hunt *)((const char *)plan - offsetof(struct hunt, plan));
}

static inline bool hunt_differs(struct hunt *hunt, const struct packet *packet)
{
	struct judged right = judge(hunt->subject.plan, *packet, plan_evaluate);
	struct judged harmed = judge(&hunt->plan, *packet, hunt->run);

	return harmed.error || !harm_same(&right, &harmed);
}

static inline bool hunt_some_differ(struct hunt *hunt)
{
	for (size_t i = 0; i < hunt->packet_count; i++)
		if (hunt_differs(hunt, &hunt->packets[i]))
			return true;
	return false;
}

/* --- judging one planted bug ------------------------------------------------------------------------------------ */

struct hunt_proof {
	struct arena *arena;
	struct prove_input input;
	struct prove_result result;
};

static inline int hunt_prove(void *context)
{
	struct hunt_proof *proof = context;

	prove_run(proof->arena, &proof->input, &proof->result);
	return 0;
}

static inline void hunt_blame(struct hunt *hunt, const char *what, size_t at, const struct prove_result *result,
			      const char *why)
{
	print_error("%s: %s at %zu: %s (%s; rules %s, program %s)\n", hunt->policy->name, what, at, why,
		    result->example ? result->example : "no packet", result->rules, result->program);
	hunt->wrong = true;
}

/* What was proven must do the same for random packets; what was refuted, something else for the packet named. */
static inline void hunt_judge(struct hunt *hunt, const char *what, size_t at, const struct prove_result *result)
{
	struct tally *tally = &hunt->tally;

	tally->planted++;
	if (result->outcome == PROVE_EQUAL) {
		tally->same++;
		if (hunt_some_differ(hunt))
			hunt_blame(hunt, what, at, result, "proven, but a packet differs");
	} else if (result->outcome == PROVE_DIFFERENT) {
		tally->caught++;
		tally->assumed += result->assumed != NULL;
		if (!result->assumed && !hunt_differs(hunt, &result->packet))
			hunt_blame(hunt, what, at, result, "the packet does not differ");
	} else if ((result->example && hunt_differs(hunt, &result->packet)) || hunt_some_differ(hunt)) {
		tally->caught++;
	} else if (tally->open++ >= hunt->open_max) {
		hunt_blame(hunt, what, at, result, result->reason);
	}
}

/* Judges the copy as it is now. The object is made anew from it: its bytes differ in what was planted only. */
static inline void hunt_try(struct hunt *hunt, const char *what, size_t at)
{
	struct hunt_proof proof = { .input = subject_input(&hunt->subject) };
	struct object object;

	if (hunt->offered++ % ((hunt->sparse ? hunt->sparse : 1) * RANDOM_SHARE))
		return;
	proof.arena = arena_new();
	assert_int_equal(emit_object(hunt->arena, hunt->subject.plan, &hunt->code, &object), 0);
	proof.input.object = object.data;
	proof.input.object_size = object.size;
	proof.input.steps = hunt->steps;
	if (hunt->words) {
		proof.input.table = &hunt->config;
		proof.input.table_words = hunt->words;
	}
	assert_int_equal(arena_run(proof.arena, hunt_prove, &proof), 0);
	hunt_judge(hunt, what, at, &proof.result);
	arena_free(proof.arena);
}

/* --- the hunt --------------------------------------------------------------------------------------------------- */

/* Makes the policy of `text`, the copy and the packets. */
static inline void hunt_begin(struct hunt *hunt, const char *text, size_t packet_count)
{
	const struct ruleset *ruleset = ir_text_parse(hunt->arena, text);
	const struct plan *plan;

	assert_int_equal(subject_make(hunt->arena, ruleset, hunt->policy->hook, &hunt->policy->options,
				      &hunt->subject), 0);
	plan = hunt->subject.plan;
	hunt->code = *hunt->subject.code;
	hunt->insns = arena_copy(hunt->arena, hunt->code.insns, hunt->code.insn_count * sizeof *hunt->insns);
	hunt->code.insns = hunt->insns;
	hunt->plan = *plan;
	hunt->steps = arena_copy(hunt->arena, plan->steps, plan->step_count * sizeof *hunt->steps);
	hunt->plan.steps = hunt->steps;
	if (plan->kind == PLAN_TABLE) {
		hunt->words = arena_alloc(hunt->arena, plan->table.word_count * 8 + TABLE_SLACK);
		memcpy(hunt->words, plan->table.words, plan->table.word_count * 8);
		hunt->config = plan->table.config;
	}
	hunt->packets = harm_packets(hunt->arena, ruleset, hunt->policy->hook, packet_count);
	hunt->packet_count = packet_count;
}

/* `plant`, a function of arena_run(), has a hunt as its context. Fails where one went wrong, or too few were caught. */
static inline void hunt_all(const struct hunt_policy *policies, size_t count, int (*plant)(void *context))
{
	struct tally all = { 0 };
	bool wrong = false;

	for (size_t i = 0; i < count; i++) {
		struct hunt hunt = { .arena = arena_new(), .policy = &policies[i] };
		const struct tally *tally = &hunt.tally;

		assert_int_equal(arena_run(hunt.arena, plant, &hunt), 0);
		print_message("# %s: %zu planted, %zu caught with a packet (%zu need elements in sets), %zu equal\n",
			      policies[i].name, tally->planted, tally->caught, tally->assumed, tally->same);
		all.caught += tally->caught;
		all.same += tally->same;
		wrong |= hunt.wrong;
		arena_free(hunt.arena);
	}
	print_message("# %zu caught, %zu equal\n", all.caught, all.same);
	assert_false(wrong);
	assert_true(all.caught >= 200 / RANDOM_SHARE);
}

#endif
