/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random policies and packets, judged by the model, by the plan, and by the loaded program (BPF_PROG_TEST_RUN); all must
 * agree on the verdict, on the deciding rule, and on every counter.
 *
 *     differential [--policies N] [--packets N] [--rules N] [--seed N] [--hook NAME] [--plan-only]
 *                  [--classifier auto|diagram|table|list] [--simple]
 *
 * Prints TAP, one case a hook. A disagreement is made small and printed with its seed, policy and packet.
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

struct options {
	unsigned policies;
	unsigned packets;
	unsigned rules;
	uint64_t seed;
	int hook; /* -1: all */
	bool plan_only;
	bool simple; /* rules as firewalls mostly have them */
	enum classifier classifier;
};

/* What one engine says of a packet. */
struct outcome {
	enum verdict verdict;
	uint32_t slot;
	uint32_t hits[64]; /* slots counted, in order; at most so many are compared */
	size_t hit_count;
};

/* One policy under test. */
struct subject {
	const struct options *options;
	struct arena *arena;
	struct kernel *kernel;
	enum hook hook;
	uint64_t seed;
	const struct ruleset *ruleset;
	const struct plan *plan;
	struct kernel_tester *tester; /* NULL: not loaded */
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

static void outcome_hit(struct outcome *outcome, uint32_t slot)
{
	if (outcome->hit_count < sizeof outcome->hits / sizeof *outcome->hits)
		outcome->hits[outcome->hit_count++] = slot;
}

static void ask_model(struct subject *subject, const struct model_packet *packet, struct outcome *outcome)
{
	struct model_result result;

	*outcome = (struct outcome){ 0 };
	model_judge(subject->arena, subject->ruleset, subject->hook, packet, &result);
	outcome->verdict = result.verdict;
	outcome->slot = slot_of_rule(result.rule);
	for (size_t i = 0; i < result.hit_count; i++)
		outcome_hit(outcome, SLOT_RULE(result.hits[i]));
	if (result.rule <= 0)
		outcome_hit(outcome, outcome->slot);
}

/* --- the plan ---------------------------------------------------------------------------------------------------- */

static void store(struct packet *packet, size_t offset, size_t size, u128 value)
{
	uint64_t low = u128_lo(value), high = u128_hi(value);

	if (size == 16) {
		memcpy((char *)packet + offset, &high, 8);
		memcpy((char *)packet + offset + 8, &low, 8);
	} else {
		memcpy((char *)packet + offset, &low, size); /* little-endian machine */
	}
}

/* struct packet from what the model's parser found, by the contract in packet/packet.h. */
static void packet_from_fields(const struct model_fields *fields, struct packet *packet)
{
	memset(packet, 0, sizeof *packet);
	for (int f = 0; f < FIELD_COUNT; f++) {
		const struct field_info *field = &field_table[f];

		if (!field->size)
			continue;
		if (fields->has[f])
			store(packet, field->offset, field->size, fields->value[f]);
		else if (field->presence == PRESENT_VALUE)
			store(packet, field->offset, field->size, field->absent);
	}
}

/* Takes the steps of a run; true if classify() must be asked again. */
static bool take_steps(const struct plan *plan, uint32_t first, struct packet *packet, struct outcome *outcome)
{
	for (uint32_t i = first; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		switch (step->kind) {
		case STEP_COUNT:
			if (step->slot < SLOT_RULES + plan->ruleset->rule_count)
				outcome_hit(outcome, step->slot);
			break;
		case STEP_VERDICT:
			outcome_hit(outcome, step->slot);
			outcome->verdict = step->a;
			outcome->slot = step->slot;
			return false;
		case STEP_RESUME:
			packet->resume = step->a;
			return true;
		}
	}
	outcome->slot = UINT32_MAX;
	return false;
}

static void ask_plan(struct subject *subject, const struct model_packet *model_packet, struct outcome *outcome)
{
	struct model_fields fields;
	struct packet packet;
	uint32_t answer;

	*outcome = (struct outcome){ 0 };
	model_parse(subject->hook, model_packet, &fields);
	if (fields.malformed) {
		outcome->verdict = subject->ruleset->malformed_accept ? VERDICT_ACCEPT : VERDICT_DROP;
		outcome->slot = SLOT_MALFORMED;
		outcome_hit(outcome, SLOT_MALFORMED);
		return;
	}
	packet_from_fields(&fields, &packet);
	do {
		answer = plan_evaluate(subject->plan, &packet);
		if (answer & ANSWER_STEPS)
			continue;
		outcome->verdict = answer & 3;
		outcome->slot = answer >> ANSWER_SHIFT;
		outcome_hit(outcome, outcome->slot);
		return;
	} while (take_steps(subject->plan, answer >> ANSWER_SHIFT, &packet, outcome));
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

static bool same(struct subject *subject, const char *engine, const struct outcome *model, const struct outcome *other,
		 bool with_hits)
{
	if (model->verdict == other->verdict && model->slot == other->slot &&
	    (!with_hits || (model->hit_count == other->hit_count &&
			    !memcmp(model->hits, other->hits, model->hit_count * sizeof *model->hits))))
		return true;
	snprintf(subject->why, sizeof subject->why,
		 "model: %s by slot %u after %zu counts; %s: %s by slot %u after %zu counts",
		 verdict_name(model->verdict), model->slot, model->hit_count, engine, verdict_name(other->verdict),
		 other->slot, other->hit_count);
	return false;
}

static bool kernel_agrees(struct subject *subject, const struct outcome *model, const unsigned char *frame,
			  size_t length)
{
	struct plane_trace trace;
	struct outcome outcome = { 0 };
	int error = kernel_tester_run(subject->tester, frame, length, &trace);

	if (error == -EOPNOTSUPP)
		return true;
	if (error) {
		snprintf(subject->why, sizeof subject->why, "test run: %s", strerror(-error));
		return false;
	}
	outcome.verdict = trace.verdict;
	outcome.slot = trace.slot;
	return same(subject, "kernel", model, &outcome, false);
}

static bool agrees(struct subject *subject, const unsigned char *frame, size_t length, struct outcome *ret_model)
{
	struct outcome other;
	struct model_packet packet;

	if (!frame_for_hook(subject->hook, frame, length, &packet) ||
	    (!hook_table[subject->hook].frames && packet.data != frame + 14)) {
		ret_model->hit_count = 0;
		return true;
	}
	ask_model(subject, &packet, ret_model);
	ask_plan(subject, &packet, &other);
	if (!same(subject, "plan", ret_model, &other, true))
		return false;
	return !subject->tester || kernel_agrees(subject, ret_model, frame, length);
}

/* The plan alone, with metadata that no test run can give. */
static bool plan_agrees(struct subject *subject, const struct model_packet *packet)
{
	struct outcome model, other;

	ask_model(subject, packet, &model);
	ask_plan(subject, packet, &other);
	return same(subject, "plan", &model, &other, true);
}

static bool counters_agree(struct subject *subject, const uint64_t *expected)
{
	uint32_t slots = subject->plan->slots;
	struct counter *counters = ARENA_ARRAY(subject->arena, struct counter, slots);

	if (kernel_tester_counters(subject->tester, counters, slots)) {
		snprintf(subject->why, sizeof subject->why, "counters cannot be read");
		return false;
	}
	for (uint32_t slot = 0; slot < SLOT_RULES + subject->ruleset->rule_count; slot++) {
		if (counters[slot].packets == expected[slot])
			continue;
		snprintf(subject->why, sizeof subject->why, "slot %u counted %llu packets, the model %llu", slot,
			 (unsigned long long)counters[slot].packets, (unsigned long long)expected[slot]);
		return false;
	}
	return true;
}

/* --- one policy -------------------------------------------------------------------------------------------------- */

static void print_diags(struct arena *arena, const struct diags *diags)
{
	for (size_t i = 0; i < diags->list.count; i++)
		printf("# %s", diag_format(arena, &diags->list.items[i], false));
}

static int build(struct subject *subject, struct call *call, const struct ruleset *ruleset)
{
	static const struct source no_source = { "random", "", 0 };
	const struct source *file = &no_source;
	struct bundle bundle = { .files = { &file, 1, 1 } };
	struct ruleset *copy = arena_copy(subject->arena, ruleset, sizeof *ruleset);
	struct install install;

	copy->classifier = subject->options->classifier;
	subject->ruleset = ruleset = copy;
	if (plan_build(subject->arena, ruleset, subject->hook, NULL, call->diags, &subject->plan))
		return -EINVAL;
	kernel_tester_free(subject->tester);
	subject->tester = NULL;
	if (!subject->kernel)
		return 0;
	if (api_install(call, ruleset, subject->hook, &bundle, &install))
		return -EINVAL;
	return kernel_tester_new(subject->kernel, &install, call->diags, &subject->tester);
}

struct failure {
	struct subject *subject;
	struct call *call;
	const unsigned char *frame;
	size_t length;
	const struct model_packet *packet; /* instead of the frame */
};

static bool still_fails(const struct ruleset *ruleset, void *context)
{
	struct failure *failure = context;
	struct outcome model;

	if (build(failure->subject, failure->call, ruleset))
		return false;
	if (failure->packet)
		return !plan_agrees(failure->subject, failure->packet);
	return !agrees(failure->subject, failure->frame, failure->length, &model);
}

static void print_lines(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		printf("#   %.*s\n", (int)length, text);
		text += length + (text[length] == '\n');
	}
}

static void print_failure(struct failure *failure)
{
	struct subject *subject = failure->subject;
	const unsigned char *data = failure->packet ? failure->packet->data : failure->frame;
	size_t length = failure->packet ? failure->packet->length : failure->length;
	const struct ruleset *small;

	printf("# seed %llu, hook %s: %s\n", (unsigned long long)subject->seed, hook_table[subject->hook].name,
	       subject->why);
	small = policies_shrink(subject->arena, subject->ruleset, still_fails, failure);
	still_fails(small, failure);
	printf("# made small: %s\n", subject->why);
	print_lines(ruleset_print(subject->arena, small));
	printf("# packet of %zu bytes:", length);
	for (size_t i = 0; i < length && i < 200; i++)
		printf("%s%02x", i % 32 ? " " : "\n#   ", data[i]);
	printf("\n");
}

static void add_hits(uint64_t *expected, const struct outcome *model)
{
	for (size_t i = 0; i < model->hit_count; i++)
		expected[model->hits[i]]++;
}

static int judge_packets(struct subject *subject, struct call *call)
{
	struct arena *arena = subject->arena;
	uint64_t *expected = ARENA_ARRAY(arena, uint64_t, SLOT_RULES + subject->ruleset->rule_count);
	unsigned char buffer[PACKET_BYTES_MAX];
	struct packet_source source;
	struct outcome model;
	struct failure failure = { .subject = subject, .call = call, .frame = buffer };

	packets_seed(&source, subject->seed);
	packets_add_ruleset(&source, subject->ruleset);
	for (unsigned i = 0; i < subject->options->packets; i++) {
		struct model_packet packet;

		failure.length = packets_next(&source, buffer, sizeof buffer);
		failure.packet = NULL;
		if (!agrees(subject, buffer, failure.length, &model)) {
			print_failure(&failure);
			return -1;
		}
		add_hits(expected, &model);
		packets_next_at(&source, subject->hook, buffer, sizeof buffer, &packet);
		failure.packet = &packet;
		if (!plan_agrees(subject, &packet)) {
			print_failure(&failure);
			return -1;
		}
	}
	if (subject->tester && !counters_agree(subject, expected)) {
		printf("# seed %llu, hook %s: %s\n", (unsigned long long)subject->seed, hook_table[subject->hook].name,
		       subject->why);
		print_lines(ruleset_print(arena, subject->ruleset));
		return -1;
	}
	return 0;
}

static int judge_policy(struct call *call, void *context)
{
	struct subject *subject = context;
	struct policy_options options = { .rules = subject->options->rules, .simple = subject->options->simple };
	const struct ruleset *ruleset;
	const char *wrong;

	subject->arena = call->arena;
	ruleset = policies_random(call->arena, subject->seed, subject->hook, &options);
	wrong = ruleset_check(call->arena, ruleset);
	if (wrong) {
		printf("# seed %llu: not a rule set: %s\n", (unsigned long long)subject->seed, wrong);
		return -1;
	}
	if (build(subject, call, ruleset)) {
		printf("# seed %llu, hook %s: cannot be built\n", (unsigned long long)subject->seed,
		       hook_table[subject->hook].name);
		print_diags(call->arena, call->diags);
		print_lines(ruleset_print(call->arena, ruleset));
		return -1;
	}
	return judge_packets(subject, call);
}

/* --- one hook ---------------------------------------------------------------------------------------------------- */

static struct kernel *open_kernel(const char **ret_reason)
{
	struct arena *arena = arena_new();
	struct kernel *kernel = NULL;

	*ret_reason = NULL;
	if (geteuid() != 0)
		*ret_reason = "loading programs needs root";
	else if (kernel_open(KERNEL_TEST, NULL, &kernel))
		*ret_reason = "the kernel cannot be opened";
	arena_free(arena);
	return kernel;
}

static bool has_test_run(enum hook hook)
{
	return hook == HOOK_XDP || hook_table[hook].target == TARGET_CGROUP ||
	       hook == HOOK_TC_INGRESS || hook == HOOK_TC_EGRESS || hook == HOOK_SOCKET;
}

static int judge_hook(const struct options *options, struct kernel *kernel, enum hook hook)
{
	struct weir *weir = weir_new();
	int status = 0;

	for (unsigned i = 0; i < options->policies && !status; i++) {
		struct subject subject = {
			.options = options, .hook = hook, .seed = options->seed + i,
			.kernel = has_test_run(hook) ? kernel : NULL,
		};

		status = api_call(weir, NULL, false, judge_policy, &subject);
		kernel_tester_free(subject.tester);
	}
	weir_free(weir);
	return status;
}

static bool read_classifier(const char *text, enum classifier *ret_classifier)
{
	static const char *const names[] = { "auto", "diagram", "table", "list" };

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(names[i], text)) {
			*ret_classifier = (enum classifier)i;
			return true;
		}
	return false;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {
		{ "policies", required_argument, NULL, 'p' }, { "packets", required_argument, NULL, 'n' },
		{ "rules", required_argument, NULL, 'r' },    { "seed", required_argument, NULL, 's' },
		{ "hook", required_argument, NULL, 'h' },     { "plan-only", no_argument, NULL, 'o' },
		{ "classifier", required_argument, NULL, 'c' }, { "simple", no_argument, NULL, 'i' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (option) {
		case 'p': options->policies = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'n': options->packets = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'r': options->rules = (unsigned)strtoul(optarg, NULL, 0); break;
		case 's': options->seed = strtoull(optarg, NULL, 0); break;
		case 'h': options->hook = hook_by_name(optarg); break;
		case 'o': options->plan_only = true; break;
		case 'i': options->simple = true; break;
		case 'c':
			if (!read_classifier(optarg, &options->classifier))
				return -1;
			break;
		default: return -1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = { .policies = 100, .packets = 400, .seed = 1, .hook = -1 };
	const char *reason = NULL;
	struct kernel *kernel;
	int number = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (parse_options(argc, argv, &options))
		return 3;
	kernel = options.plan_only ? NULL : open_kernel(&reason);
	printf("1..%d\n", options.hook < 0 ? HOOK_COUNT : 1);
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		bool bad;

		if (options.hook >= 0 && options.hook != hook)
			continue;
		bad = judge_hook(&options, kernel, (enum hook)hook) != 0;
		failed += bad;
		printf("%sok %d - %s: %u policies, %u packets each, seed %llu%s%s\n", bad ? "not " : "", ++number,
		       hook_table[hook].name, options.policies, options.packets, (unsigned long long)options.seed,
		       kernel && has_test_run((enum hook)hook) ? ", loaded" : ", plan only",
		       !bad && reason && has_test_run((enum hook)hook) ? " # SKIP loading programs needs root" : "");
	}
	kernel_close(kernel);
	return failed != 0;
}
