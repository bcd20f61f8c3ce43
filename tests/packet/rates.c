/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two CPUs take tokens from one bucket as fast as they can (BPF_PROG_TEST_RUN in two threads). The test sets the clock: it
 * stands still while both run, then moves on by as much as some tokens are worth, so that what may be let in is known
 * exactly, however slow the machine is. And a program that may delay packets: by departure times (skb->tstamp).
 */
#include <bpf/bpf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel/counters.h"
#include "tests/lib/ir_text.h"
#include "tests/packet/clocked.h"

enum { THREADS = 2, STEPS = 20 };

struct trial {
	const char *name;
	const char *rate;       /* in IR text */
	uint64_t packet_ns;     /* what a token is worth */
	unsigned tokens;        /* that come in each step; as many as the bucket holds */
};

static const struct trial trials[] = {
	{ "1 a second", "rate 1 packets every 1000000000 burst 1", 1000000000, 1 },
	{ "1,000 a second", "rate 1000 packets every 1000000000 burst 100", 1000000, 100 },
	{ "1,000,000 a second", "rate 1000000 packets every 1000000000 burst 20000", 1000, 20000 },
	{ "1,000,000 a second per source",
	  "rate 1000000 packets every 1000000000 burst 20000 per src bits 32, 64 max 1024", 1000, 20000 },
	{ "1,000,000 a second per flow",
	  "rate 1000000 packets every 1000000000 burst 20000 per flow max 1024", 1000, 20000 },
};

static const unsigned char frame[60] = {
	2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0, 0, 53, 0, 26,
};

/* A program that accepts while there are tokens. */
struct subject {
	struct kernel *kernel;
	struct bpf_object *object;
	int prog;
	const struct trial *trial;
	const struct ruleset *ruleset;
};

enum { PACED = 2010 };

static int load_paced(struct call *call, void *context)
{
	struct subject *subject = context;

	return clocked_load(call, subject->kernel, subject->ruleset, HOOK_TC_EGRESS, true, &subject->object,
			    &subject->prog);
}

static int load(struct call *call, void *context)
{
	struct subject *subject = context;

	return clocked_load(call, subject->kernel, subject->ruleset, HOOK_XDP, false, &subject->object, &subject->prog);
}

/* Packets counted by the rule. */
static uint64_t counted(const struct subject *subject)
{
	struct counter counters[SLOT_RULE(1) + 1];

	if (counters_sum(object_map(subject->object, "counters"), SLOT_RULE(1) + 1, counters))
		return 0;
	return counters[SLOT_RULE(1)].packets;
}

struct worker {
	const struct subject *subject;
	pthread_barrier_t *barrier;
	int error;
};

static void *hammer(void *argument)
{
	struct worker *worker = argument;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof frame,
		    .repeat = (int)worker->subject->trial->tokens * 2);

	pthread_barrier_wait(worker->barrier);
	worker->error = bpf_prog_test_run_opts(worker->subject->prog, &options);
	return NULL;
}

static bool hammer_together(const struct subject *subject)
{
	pthread_barrier_t barrier;
	pthread_t threads[THREADS];
	struct worker workers[THREADS];
	bool good = true;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ subject, &barrier, 0 };
		if (pthread_create(&threads[i], NULL, hammer, &workers[i]))
			abort();
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		good = good && !workers[i].error;
	}
	pthread_barrier_destroy(&barrier);
	return good;
}

/* What came in, of what might have; false if the kernel failed. */
static bool run_steps(const struct subject *subject, uint64_t *ret_admitted, uint64_t *ret_due)
{
	uint64_t now_ns = 1000000000000;

	for (int step = 0; step < STEPS; step++) {
		if (!clocked_set(subject->object, now_ns) || !hammer_together(subject))
			return false;
		now_ns += subject->trial->packet_ns * subject->trial->tokens;
	}
	*ret_admitted = counted(subject);
	*ret_due = (uint64_t)STEPS * subject->trial->tokens;
	return true;
}

static const struct ruleset *trial_rules(struct arena *arena, const struct trial *trial)
{
	char text[512];

	snprintf(text, sizeof text, "policy \"p\" {\n attach xdp \"lo\"\n default drop\n chain \"main\" {\n"
				    "  rule 1 %s, accept\n }\n}\n", trial->rate);
	return ir_text_parse(arena, text);
}

static bool try(struct weir *weir, struct kernel *kernel, const struct trial *trial, char *ret_text, size_t size)
{
	struct arena *arena = arena_new();
	struct subject subject = { .kernel = kernel, .trial = trial };
	uint64_t admitted = 0, due = 0;
	bool good;

	subject.ruleset = trial_rules(arena, trial);
	good = !api_call(weir, NULL, false, load, &subject) && run_steps(&subject, &admitted, &due);
	snprintf(ret_text, size, "%llu of %llu", (unsigned long long)admitted, (unsigned long long)due);
	bpf_object__close(subject.object);
	arena_free(arena);
	/* one in a hundred: what may be lost when the other CPU is in the way all the time */
	return good && admitted <= due && admitted * 100 >= due * 99;
}

/* At one moment, each packet leaves a millisecond after the one before; none is delayed by more than two seconds. */
static bool departs_in_time(const struct subject *subject, char *ret_text, size_t size)
{
	const uint64_t now_ns = 5000000000, packet_ns = 1000000;

	if (!clocked_set(subject->object, now_ns))
		return false;
	for (uint64_t i = 0; i < PACED; i++) {
		struct __sk_buff skb = { 0 };
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof frame, .ctx_in = &skb,
			    .ctx_size_in = sizeof skb, .ctx_out = &skb, .ctx_size_out = sizeof skb, .repeat = 1);
		bool passes = i * packet_ns <= PACE_HORIZON_NS;
		uint64_t due = passes && i ? now_ns + i * packet_ns : 0;

		if (bpf_prog_test_run_opts(subject->prog, &options))
			return false;
		snprintf(ret_text, size, "packet %llu is %s and leaves at %llu, not at %llu", (unsigned long long)i,
			 options.retval == 2 ? "dropped" : "passed", (unsigned long long)skb.tstamp,
			 (unsigned long long)due);
		if ((options.retval != 2) != passes || (passes && skb.tstamp != due))
			return false;
	}
	return true;
}

static bool try_pacing(struct weir *weir, struct kernel *kernel, char *ret_text, size_t size)
{
	struct arena *arena = arena_new();
	struct subject subject = { .kernel = kernel };
	bool good;

	subject.ruleset = ir_text_parse(arena, "policy \"p\" {\n attach tc-egress \"lo\"\n default drop\n chain \"main\" {\n"
		"  rule 1 throttle 1000 packets every 1000000000 burst 1, accept\n }\n}\n");
	snprintf(ret_text, size, "it does not load");
	good = !api_call(weir, NULL, false, load_paced, &subject) && departs_in_time(&subject, ret_text, size);
	bpf_object__close(subject.object);
	arena_free(arena);
	return good;
}

int main(void)
{
	enum { COUNT = sizeof trials / sizeof trials[0] };
	struct weir *weir = weir_new();
	struct kernel *kernel = NULL;
	char text[160];
	int failed = 0;
	bool good;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() || kernel_open(KERNEL_TEST, NULL, &kernel)) {
		printf("1..0 # SKIP loading programs needs root\n");
		weir_free(weir);
		return 0;
	}
	printf("1..%d\n", COUNT + 1);
	for (int i = 0; i < COUNT; i++) {
		good = try(weir, kernel, &trials[i], text, sizeof text);

		printf("%sok %d - two CPUs at one bucket, %s: %s let in\n", good ? "" : "not ", i + 1, trials[i].name,
		       text);
		failed += !good;
	}
	good = try_pacing(weir, kernel, text, sizeof text);
	printf("%sok %d - departure times\n", good ? "" : "not ", COUNT + 1);
	if (!good)
		printf("# %s\n", text);
	failed += !good;
	kernel_close(kernel);
	weir_free(weir);
	return failed != 0;
}
