/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random policies that remember packets, and sequences of packets under a clock that the test drives, judged by the
 * model and by the loaded program (BPF_PROG_TEST_RUN). Both must agree on each packet's verdict and deciding rule, and
 * on all counters in the end. The packets are few and come again and again.
 *
 *     sequences [--policies N] [--packets N] [--seed N] [--hook NAME] [--classifier auto|diagram|table|list]
 *
 * Prints TAP, one case a hook. A disagreement is made small and printed with its seed, policy and last packet.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "ir/model.h"
#include "tests/lib/packets.h"
#include "tests/lib/policies.h"

enum { FRAMES = 16 };

struct options {
	unsigned policies;
	unsigned packets;
	uint64_t seed;
	int hook; /* -1: all */
	enum classifier classifier;
};

struct frame {
	unsigned char data[PACKET_BYTES_MAX];
	size_t length;
	bool possible; /* at this hook */
	struct model_packet packet;
};

struct subject {
	const struct options *options;
	struct arena *arena;
	struct call *call;
	struct kernel *kernel;
	enum hook hook;
	uint64_t seed;
	struct frame frames[FRAMES];
	size_t last; /* the frame that was judged differently */
	uint64_t now_ns;
	char why[512];
};

static uint32_t slot_of_rule(int32_t rule)
{
	switch (rule) {
	case DECIDED_DEFAULT: return SLOT_DEFAULT;
	case DECIDED_MALFORMED: return SLOT_MALFORMED;
	case DECIDED_NON_IP: return SLOT_NON_IP;
	default: return SLOT_RULE((uint32_t)rule);
	}
}

/* --- one run through a sequence ---------------------------------------------------------------------------------- */

struct sequence {
	struct subject *subject;
	const struct ruleset *ruleset;
	struct kernel_tester *tester;
	struct model_state state;
	struct random random;
	uint64_t *expected; /* by counter slot */
};

static int load(struct sequence *sequence)
{
	static const struct source no_source = { "random", "", 0 };
	const struct source *file = &no_source;
	struct bundle bundle = { .files = { &file, 1, 1 } };
	struct subject *subject = sequence->subject;
	struct install install;

	if (api_install(subject->call, sequence->ruleset, subject->hook, &bundle, &install))
		return -EINVAL;
	return kernel_tester_new(subject->kernel, &install, subject->call->diags, &sequence->tester);
}

/* The clock stands still, or goes on by as much as timeouts last. */
static int step_clock(struct sequence *sequence)
{
	static const uint64_t steps_ms[] = { 0, 0, 0, 1, 49, 100, 100, 300, 700 };
	struct subject *subject = sequence->subject;

	subject->now_ns += RANDOM_PICK(&sequence->random, steps_ms) * 1000000;
	sequence->state.now_ns = subject->now_ns;
	return kernel_tester_clock(sequence->tester, subject->now_ns);
}

static void count(struct sequence *sequence, const struct model_result *model)
{
	for (size_t i = 0; i < model->hit_count; i++)
		sequence->expected[SLOT_RULE(model->hits[i])]++;
	if (model->rule <= 0)
		sequence->expected[slot_of_rule(model->rule)]++;
}

/* One packet; 0 or, with subject->why, -1. */
static int judge(struct sequence *sequence, size_t at)
{
	struct subject *subject = sequence->subject;
	const struct frame *frame = &subject->frames[at];
	struct model_packet packet = frame->packet;
	struct model_result model;
	struct plane_trace trace;
	int error;

	packet.state = &sequence->state;
	if (!frame->possible)
		return 0;
	error = kernel_tester_run(sequence->tester, frame->data, frame->length, &trace);
	if (error == -EOPNOTSUPP)
		return 0;
	if (error) {
		snprintf(subject->why, sizeof subject->why, "test run: %s", strerror(-error));
		return -1;
	}
	model_judge(subject->arena, sequence->ruleset, subject->hook, &packet, &model);
	count(sequence, &model);
	if (trace.verdict == (uint32_t)model.verdict && trace.slot == slot_of_rule(model.rule))
		return 0;
	snprintf(subject->why, sizeof subject->why, "model: %s by slot %u; kernel: %s by slot %u",
		 verdict_name(model.verdict), slot_of_rule(model.rule), verdict_name(trace.verdict), trace.slot);
	return -1;
}

static int compare_counters(struct sequence *sequence)
{
	struct subject *subject = sequence->subject;
	uint32_t slots = SLOT_RULES + sequence->ruleset->rule_count;
	struct counter *counters = ARENA_ARRAY(subject->arena, struct counter, slots);

	if (kernel_tester_counters(sequence->tester, counters, slots)) {
		snprintf(subject->why, sizeof subject->why, "counters cannot be read");
		return -1;
	}
	for (uint32_t slot = 0; slot < slots; slot++) {
		if (counters[slot].packets == sequence->expected[slot])
			continue;
		snprintf(subject->why, sizeof subject->why, "slot %u counted %llu packets, the model %llu", slot,
			 (unsigned long long)counters[slot].packets, (unsigned long long)sequence->expected[slot]);
		return -1;
	}
	return 0;
}

/* 0: they agree; -1: they do not; -EINVAL: it cannot be loaded. */
static int run_sequence(struct subject *subject, const struct ruleset *ruleset)
{
	struct sequence sequence = { .subject = subject, .ruleset = ruleset, .random = random_seed(subject->seed) };
	int error = load(&sequence);

	if (error) {
		snprintf(subject->why, sizeof subject->why, "it cannot be loaded");
		return -EINVAL;
	}
	subject->now_ns = sequence.state.now_ns = KERNEL_TESTER_START_NS;
	sequence.state.arena = subject->arena;
	model_sets_begin(&sequence.state, ruleset);
	sequence.expected = ARENA_ARRAY(subject->arena, uint64_t, SLOT_RULES + ruleset->rule_count);
	for (unsigned i = 0; i < subject->options->packets && !error; i++) {
		subject->last = random_below(&sequence.random, FRAMES);
		error = step_clock(&sequence);
		if (!error)
			error = judge(&sequence, subject->last);
	}
	if (!error)
		error = compare_counters(&sequence);
	kernel_tester_free(sequence.tester);
	return error;
}

/* --- one policy -------------------------------------------------------------------------------------------------- */

static void make_frames(struct subject *subject, const struct ruleset *ruleset)
{
	struct packet_source source;

	packets_seed(&source, subject->seed);
	packets_add_ruleset(&source, ruleset);
	for (size_t i = 0; i < FRAMES; i++) {
		struct frame *frame = &subject->frames[i];

		source.well_formed = source.plain = i % 4 != 0;
		frame->length = packets_next(&source, frame->data, sizeof frame->data);
		frame->possible = frame_for_hook(subject->hook, frame->data, frame->length, &frame->packet) &&
				  (hook_table[subject->hook].frames || frame->packet.data == frame->data + 14);
	}
}

static bool still_fails(const struct ruleset *ruleset, void *context)
{
	return run_sequence(context, ruleset) == -1;
}

static void print_lines(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		printf("#   %.*s\n", (int)length, text);
		text += length + (text[length] == '\n');
	}
}

static void print_failure(struct subject *subject, const struct ruleset *ruleset)
{
	const struct ruleset *small;
	const struct frame *frame;

	printf("# seed %llu, hook %s: %s\n", (unsigned long long)subject->seed, hook_table[subject->hook].name,
	       subject->why);
	for (size_t i = 0; i < subject->call->diags->list.count; i++)
		printf("# %s", diag_format(subject->arena, &subject->call->diags->list.items[i], false));
	small = policies_shrink(subject->arena, ruleset, still_fails, subject);
	run_sequence(subject, small);
	printf("# made small: %s, at %llu ms\n", subject->why, (unsigned long long)subject->now_ns / 1000000);
	print_lines(ruleset_print(subject->arena, small));
	frame = &subject->frames[subject->last];
	printf("# packet of %zu bytes:", frame->length);
	for (size_t i = 0; i < frame->length && i < 200; i++)
		printf("%s%02x", i % 32 ? " " : "\n#   ", frame->data[i]);
	printf("\n");
}

static int judge_policy(struct call *call, void *context)
{
	const struct policy_options options = { .memory = true, .depth = 2 };
	struct subject *subject = context;
	struct ruleset *ruleset;
	const char *wrong;

	subject->arena = call->arena;
	subject->call = call;
	ruleset = arena_copy(call->arena, policies_random(call->arena, subject->seed, subject->hook, &options),
			     sizeof *ruleset);
	ruleset->classifier = subject->options->classifier;
	wrong = ruleset_check(call->arena, ruleset);
	if (wrong) {
		printf("# seed %llu: not a rule set: %s\n", (unsigned long long)subject->seed, wrong);
		return -1;
	}
	make_frames(subject, ruleset);
	if (!run_sequence(subject, ruleset))
		return 0;
	print_failure(subject, ruleset);
	return -1;
}

/* --- hooks ------------------------------------------------------------------------------------------------------- */

static bool has_test_run(enum hook hook)
{
	return hook == HOOK_XDP || hook_table[hook].target == TARGET_CGROUP || hook == HOOK_TC_INGRESS ||
	       hook == HOOK_TC_EGRESS || hook == HOOK_SOCKET;
}

static int judge_hook(const struct options *options, struct kernel *kernel, enum hook hook)
{
	struct weir *weir = weir_new();
	int status = 0;

	for (unsigned i = 0; i < options->policies && !status; i++) {
		struct subject *subject = calloc(1, sizeof *subject);

		*subject = (struct subject){ .options = options, .kernel = kernel, .hook = hook,
					     .seed = options->seed + i };
		status = api_call(weir, NULL, false, judge_policy, subject);
		free(subject);
	}
	weir_free(weir);
	return status;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const char *const classifiers[] = { "auto", "diagram", "table", "list" };
	static const struct option longs[] = {
		{ "policies", required_argument, NULL, 'p' }, { "packets", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },     { "hook", required_argument, NULL, 'h' },
		{ "classifier", required_argument, NULL, 'c' }, { 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (option) {
		case 'p': options->policies = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'n': options->packets = (unsigned)strtoul(optarg, NULL, 0); break;
		case 's': options->seed = strtoull(optarg, NULL, 0); break;
		case 'h': options->hook = hook_by_name(optarg); break;
		case 'c':
			for (unsigned i = 0; i < 4; i++)
				if (!strcmp(classifiers[i], optarg))
					options->classifier = (enum classifier)i;
			break;
		default: return -1;
		}
	}
	return 0;
}

static int count_hooks(const struct options *options)
{
	int hooks = 0;

	for (int hook = 0; hook < HOOK_COUNT; hook++)
		hooks += has_test_run((enum hook)hook) && (options->hook < 0 || options->hook == hook);
	return hooks;
}

int main(int argc, char **argv)
{
	struct options options = { .policies = 40, .packets = 300, .seed = random_setting("WEIR_SEED", 1), .hook = -1 };
	struct kernel *kernel = NULL;
	int number = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (parse_options(argc, argv, &options))
		return 3;
	options.policies *= (unsigned)random_setting("WEIR_ROUNDS", 1);
	if (geteuid() != 0 || kernel_open(KERNEL_TEST, NULL, &kernel)) {
		printf("1..0 # SKIP loading programs needs root\n");
		return 0;
	}
	printf("1..%d\n", count_hooks(&options));
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		bool bad;

		if (!has_test_run((enum hook)hook) || (options.hook >= 0 && options.hook != hook))
			continue;
		bad = judge_hook(&options, kernel, (enum hook)hook) != 0;
		failed += bad;
		printf("%sok %d - %s: %u policies, %u packets each, seed %llu\n", bad ? "not " : "", ++number,
		       hook_table[hook].name, options.policies, options.packets, (unsigned long long)options.seed);
	}
	kernel_close(kernel);
	return failed != 0;
}
