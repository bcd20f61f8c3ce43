/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random policies and packets, judged by the model, by the plan, and by the loaded program (BPF_PROG_TEST_RUN); all must
 * agree on the verdict, on the deciding rule, and on every counter.
 *
 *     differential [--policies N] [--packets N] [--rules N] [--seed N] [--hook NAME] [--plan-only]
 *                  [--classifier auto|diagram|table|list] [--simple] [--rates] [--cache]
 *
 * With --cache, answers are kept where they can be, and frames come again.
 * Prints TAP, one case a hook. A disagreement is made small and printed with its seed, policy and packet.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "api/knock_key.h"
#include "ir/model.h"
#include "tests/lib/packets.h"
#include "tests/lib/policies.h"
#include "tests/lib/random.h"

struct options {
	unsigned policies;
	unsigned packets;
	unsigned rules;
	uint64_t seed;
	int hook; /* -1: all */
	bool plan_only;
	bool simple; /* rules as firewalls mostly have them */
	bool rates;  /* some rules have token buckets */
	bool cache;
	enum classifier classifier;
};

/* What one engine says of a packet. */
struct outcome {
	enum verdict verdict;
	uint32_t slot;
	uint32_t hits[64]; /* slots counted, in order; at most so many are compared */
	size_t hit_count;
	uint64_t knocked; /* bit 8 * i + s: took step s of knock i */
};

/* Packets that come again. */
struct recent {
	unsigned char bytes[PACKET_BYTES_MAX];
	size_t length;
};

enum { RECENT = 16 };

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
	struct model_state state;     /* of the model; the kernel has its own, and the same clock */
	struct model_state plan_state; /* of the plan: its buckets, when a packet is one that the kernel sees, too */
	struct random random;         /* for the clock */
	unsigned long *opened;        /* packets whose source had knocked */
	uint64_t *hits;               /* packets that the kernel answered from a cache */
	struct recent recent[RECENT];
	unsigned char bytes[PACKET_BYTES_MAX]; /* of the packet at hand */
	size_t length;
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

/* The steps of knocks that the packet matches. */
static uint64_t steps_matched(const struct ruleset *ruleset, const struct model_fields *fields)
{
	uint64_t matched = 0;

	for (size_t i = 0; fields->has[FIELD_KNOCKED] && i < ruleset->knock_count; i++)
		for (size_t step = 0; step < ruleset->knocks[i].step_count; step++)
			if (model_holds(ruleset, fields, ruleset->knocks[i].steps[step]))
				matched |= (uint64_t)1 << STEP_OF_KNOCK(i, step);
	return matched;
}

/* The packet's fields, what is remembered of its source included. */
static void read_fields(struct subject *subject, const struct model_packet *packet, struct model_fields *fields)
{
	model_parse(subject->hook, packet, fields);
	if (packet->state && model_tracks(subject->ruleset, subject->hook)) {
		fields->value[FIELD_FLOW] = model_flow(packet->state, fields);
		fields->has[FIELD_FLOW] = fields->value[FIELD_FLOW] != FLOW_UNTRACKED;
	}
	if (!packet->state || !fields->has[FIELD_KNOCKED])
		return;
	fields->value[FIELD_KNOCKED] = model_knocked(packet->state, subject->ruleset, fields);
	*subject->opened += fields->value[FIELD_KNOCKED] != 0;
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

static const struct rule *rule_of_slot(const struct ruleset *ruleset, uint32_t slot)
{
	for (size_t c = 0; c < ruleset->chain_count; c++)
		for (size_t r = 0; r < ruleset->chains[c].rule_count; r++)
			if (SLOT_RULE(ruleset->chains[c].rules[r].number) == slot)
				return &ruleset->chains[c].rules[r];
	return NULL;
}

/* The rate that the rule has by that number, of all rates in the order of rules. */
static const struct rate *rate_of(const struct ruleset *ruleset, const struct rule *rule, uint32_t index)
{
	for (uint32_t number = 1; number < rule->number; number++) {
		const struct rule *before = rule_of_slot(ruleset, SLOT_RULE(number));

		for (size_t i = 0; before && i < before->action_count; i++)
			index -= action_is_rated(&before->actions[i]);
	}
	for (size_t i = 0; i < rule->action_count; i++)
		if (action_is_rated(&rule->actions[i]) && index-- == 0)
			return rule->actions[i].rate;
	abort();
}

static bool has_token(struct subject *subject, const struct step *step, const struct model_packet *packet,
		      const struct model_fields *fields)
{
	const struct rule *rule = rule_of_slot(subject->ruleset, step->slot);

	return model_take_tokens(packet->state ? &subject->plan_state : NULL, rule,
				 rate_of(subject->ruleset, rule, step->a), packet, fields);
}

/* What the plan judges, in all its forms. */
struct input {
	const struct model_packet *model;
	const struct model_fields *fields;
	struct packet packet;
};

/* Takes the steps of a run; true if classify() must be asked again. */
static bool take_steps(struct subject *subject, uint32_t first, struct input *input, struct outcome *outcome)
{
	const struct plan *plan = subject->plan;

	for (uint32_t i = first; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		switch (step->kind) {
		case STEP_COUNT:
			if (step->slot < SLOT_RULES + ruleset_shown(plan->ruleset))
				outcome_hit(outcome, step->slot);
			break;
		case STEP_VERDICT:
			outcome_hit(outcome, step->slot);
			outcome->verdict = step->a;
			outcome->slot = step->slot;
			return false;
		case STEP_RATE:
			if (!has_token(subject, step, input->model, input->fields))
				i = step->b - 1;
			break;
		case STEP_THROTTLE:
			if (has_token(subject, step, input->model, input->fields))
				break;
			outcome_hit(outcome, step->slot);
			outcome->verdict = VERDICT_DROP;
			outcome->slot = step->slot;
			return false;
		case STEP_RESUME:
			input->packet.resume = step->a;
			return true;
		case STEP_KNOCK:
			outcome->knocked |= (uint64_t)1 << step->a;
			break;
		}
	}
	outcome->slot = UINT32_MAX;
	return false;
}

static void ask_plan(struct subject *subject, const struct model_packet *packet, const struct model_fields *fields,
		     struct outcome *outcome)
{
	struct input input = { .model = packet, .fields = fields };
	uint32_t answer;

	*outcome = (struct outcome){ 0 };
	if (fields->malformed) {
		outcome->verdict = subject->ruleset->malformed_accept ? VERDICT_ACCEPT : VERDICT_DROP;
		outcome->slot = SLOT_MALFORMED;
		outcome_hit(outcome, SLOT_MALFORMED);
		return;
	}
	packet_from_fields(fields, &input.packet);
	input.packet.tuned = comparisons_hold(subject->ruleset->comparisons, subject->ruleset->comparison_count,
					      subject->ruleset->tunables, &input.packet);
	do {
		answer = plan_evaluate(subject->plan, &input.packet);
		if (answer & ANSWER_STEPS)
			continue;
		outcome->verdict = answer & 3;
		outcome->slot = answer >> ANSWER_SHIFT;
		outcome_hit(outcome, outcome->slot);
		return;
	} while (take_steps(subject, answer >> ANSWER_SHIFT, &input, outcome));
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

static bool same(struct subject *subject, const char *engine, const struct outcome *model, const struct outcome *other,
		 bool with_hits)
{
	if (model->verdict == other->verdict && model->slot == other->slot &&
	    (!with_hits || (model->knocked == other->knocked && model->hit_count == other->hit_count &&
			    !memcmp(model->hits, other->hits, model->hit_count * sizeof *model->hits))))
		return true;
	snprintf(subject->why, sizeof subject->why,
		 "model: %s by slot %u after %zu counts, steps %#llx; %s: %s by slot %u after %zu counts, steps %#llx",
		 verdict_name(model->verdict), model->slot, model->hit_count, (unsigned long long)model->knocked,
		 engine, verdict_name(other->verdict), other->slot, other->hit_count,
		 (unsigned long long)other->knocked);
	return false;
}

/* 0, also where nothing is loaded; -EOPNOTSUPP: the kernel's test run does not take such a frame. */
static int ask_kernel(struct subject *subject, struct outcome *outcome)
{
	struct plane_trace trace;
	int error;

	*outcome = (struct outcome){ 0 };
	if (!subject->tester)
		return 0;
	error = kernel_tester_clock(subject->tester, subject->state.now_ns);
	if (!error)
		error = kernel_tester_run(subject->tester, subject->bytes, subject->length, &trace);
	if (error)
		return error;
	outcome->verdict = trace.verdict;
	outcome->slot = trace.slot;
	return 0;
}

/* Some time goes by, and the frame is judged. */
static bool agrees(struct subject *subject, struct outcome *ret_model)
{
	struct model_fields fields;
	struct outcome kernel, other;
	struct model_packet packet;
	int error;

	*ret_model = (struct outcome){ 0 };
	subject->state.now_ns += random_below(&subject->random, 3) * (subject->options->rates ? 100000000ull : 1000000000ull);
	if (!subject->options->rates && subject->state.now_ns > 200 * 1000000000ull && random_once_in(&subject->random, 60))
		subject->state.now_ns -= random_below(&subject->random, 90) * 1000000000ull; /* stamps are by a clock that may */
	subject->plan_state.now_ns = subject->state.now_ns;
	if (!frame_for_hook(subject->hook, subject->bytes, subject->length, &packet) ||
	    (!hook_table[subject->hook].frames && packet.data != subject->bytes + 14))
		return true;
	error = ask_kernel(subject, &kernel);
	if (error == -EOPNOTSUPP)
		return true;
	if (error) {
		snprintf(subject->why, sizeof subject->why, "test run: %s", strerror(-error));
		return false;
	}
	packet.state = &subject->state;
	read_fields(subject, &packet, &fields);
	ask_plan(subject, &packet, &fields, &other);
	ask_model(subject, &packet, ret_model); /* which remembers the packet */
	ret_model->knocked = steps_matched(subject->ruleset, &fields);
	if (!same(subject, "plan", ret_model, &other, true))
		return false;
	return !subject->tester || same(subject, "kernel", ret_model, &kernel, false);
}

/* The plan alone, with metadata that no test run can give. */
static bool plan_agrees(struct subject *subject, const struct model_packet *packet)
{
	struct model_fields fields;
	struct outcome model, other;

	read_fields(subject, packet, &fields);
	ask_model(subject, packet, &model);
	model.knocked = steps_matched(subject->ruleset, &fields);
	ask_plan(subject, packet, &fields, &other);
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

/* Where answers can be kept, they are. */
static int plan(struct subject *subject, struct call *call, struct ruleset *ruleset)
{
	size_t diags = call->diags->list.count;

	ruleset->cache = subject->options->cache ? CACHE_YES : CACHE_AUTO;
	if (!plan_build(subject->arena, ruleset, subject->hook, NULL, call->diags, &subject->plan))
		return 0;
	if (!subject->options->cache)
		return -EINVAL;
	call->diags->list.count = diags;
	ruleset->cache = CACHE_AUTO;
	return plan_build(subject->arena, ruleset, subject->hook, NULL, call->diags, &subject->plan);
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
	if (plan(subject, call, copy))
		return -EINVAL;
	kernel_tester_free(subject->tester);
	subject->tester = NULL;
	if (!subject->kernel)
		return 0;
	if (api_install(call, ruleset, subject->hook, &bundle, &install))
		return -EINVAL;
	return kernel_tester_new(subject->kernel, &install, call->diags, &subject->tester);
}

static void print_lines(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		printf("#   %.*s\n", (int)length, text);
		text += length + (text[length] == '\n');
	}
}

static void add_hits(uint64_t *expected, const struct outcome *model)
{
	for (size_t i = 0; i < model->hit_count; i++)
		expected[model->hits[i]]++;
}

/* --- packets that knock ------------------------------------------------------------------------------------------ */

static const struct knock *keyed_knock(struct subject *subject)
{
	const struct ruleset *ruleset = subject->ruleset;
	const struct knock *knock = ruleset->knock_count ?
		&ruleset->knocks[random_below(&subject->random, (uint32_t)ruleset->knock_count)] : NULL;

	return knock && knock->key_file ? knock : NULL;
}

/* Around now, some of them too late or too early, some at the same time as others. */
static uint64_t some_stamp(struct subject *subject, const struct knock *knock)
{
	uint64_t skew = knock->skew_ns / 1000, now = subject->state.now_ns / 1000;
	uint64_t early = random_below(&subject->random, 5) * skew / 2 + random_below(&subject->random, 2);

	return (now + skew > early ? now + skew - early : 0) << KNOCK_COUNTER_BITS |
	       random_below(&subject->random, 3);
}

static size_t put(unsigned char *frame, size_t at, const void *bytes, size_t count)
{
	memcpy(frame + at, bytes, count);
	return at + count;
}

/* Ethernet, now and then a VLAN tag, IPv4 with or without options or IPv6, from one of two addresses. */
static size_t put_headers(struct subject *subject, unsigned char *frame, uint8_t *source, bool *ret_six)
{
	static const unsigned char ether[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 }, tag[4] = { 0x81, 0, 0, 5 };
	unsigned char four[24] = { 0x45, 0, 0, 20 + 32, [8] = 64, [9] = 17, [12] = 10, [15] = 1, [16] = 10, [19] = 2 };
	unsigned char six[40] = { 0x60, [5] = 32, [6] = 17, [7] = 64, [8] = 0xfd, [23] = 1, [24] = 0xfd, [39] = 2 };
	bool options = random_once_in(&subject->random, 3);
	size_t at = put(frame, 0, ether, sizeof ether);

	*ret_six = random_once_in(&subject->random, 2);
	if (hook_table[subject->hook].frames && random_once_in(&subject->random, 3))
		at = put(frame, at, tag, sizeof tag);
	at = put(frame, at, *ret_six ? "\x86\xdd" : "\x08", 2);
	four[15] = six[23] = (unsigned char)random_between(&subject->random, 1, 2);
	four[0] += options;
	four[3] = (unsigned char)(four[3] + 4 * options);
	memset(source, 0, 16);
	memcpy(*ret_six ? source : source + 12, *ret_six ? six + 8 : four + 12, *ret_six ? 16 : 4);
	if (!*ret_six)
		memset(source + 10, 0xff, 2);
	return *ret_six ? put(frame, at, six, sizeof six) : put(frame, at, four, options ? 24 : 20);
}

static void put_payload(struct subject *subject, const struct knock *knock, uint8_t *source, size_t at)
{
	struct knock_packet packet;

	if (random_once_in(&subject->random, 8))
		source[15] ^= 3; /* another's address */
	knock_packet_make(knock->key, some_stamp(subject, knock), random_once_in(&subject->random, 2) ? source : NULL,
			  &packet);
	put(subject->bytes, at, &packet, sizeof packet);
	if (random_once_in(&subject->random, 6))
		subject->bytes[at - 8 + random_below(&subject->random, 32)] ^=
			(unsigned char)(1u << random_below(&subject->random, 8));
}

/*
 * In place of the packet at hand one of few sources, that knows the ports that steps like: most often a good one for a
 * knock with a key.
 */
static void maybe_knock(struct subject *subject)
{
	static const uint16_t ports[] = { 0, 22, 53, 67, 80, 443, 8080, 0x7fff, 0x8000, 0xffff };
	const struct knock *knock = keyed_knock(subject);
	unsigned char udp[32] = { [5] = 32 };
	uint8_t source[16];
	size_t at;
	bool six;

	if (!subject->ruleset->knock_count || random_once_in(&subject->random, 2))
		return;
	at = put_headers(subject, subject->bytes, source, &six);
	for (unsigned side = 0; side < 2; side++) {
		uint16_t port = RANDOM_PICK(&subject->random, ports);

		udp[2 * side] = (unsigned char)(port >> 8);
		udp[2 * side + 1] = (unsigned char)port;
	}
	subject->length = put(subject->bytes, at, udp, sizeof udp);
	if (knock)
		put_payload(subject, knock, source, at + 8);
}

/* One of the last frames in place of the one at hand, now and then but for one bit. */
static void maybe_repeat(struct subject *subject)
{
	struct recent *recent = &subject->recent[random_below(&subject->random, RECENT)];

	if (!subject->options->cache)
		return;
	if (!recent->length || random_once_in(&subject->random, 4)) {
		memcpy(recent->bytes, subject->bytes, subject->length);
		recent->length = subject->length;
		return;
	}
	memcpy(subject->bytes, recent->bytes, recent->length);
	subject->length = recent->length;
	if (subject->length && random_once_in(&subject->random, 4))
		subject->bytes[random_below(&subject->random, (uint32_t)subject->length)] ^=
			(unsigned char)(1u << random_below(&subject->random, 8));
}

static bool count_hits(struct subject *subject)
{
	uint64_t hits;

	if (kernel_tester_hits(subject->tester, &hits)) {
		snprintf(subject->why, sizeof subject->why, "the cache cannot be read");
		return false;
	}
	*subject->hits += hits;
	return true;
}

/*
 * Judges packets by a policy that was built and has judged none, in turn a frame and one with metadata. True if all
 * agree on each; else the last one is left in `subject`.
 */
static bool judge_all(struct subject *subject, const struct ruleset *pool, uint64_t *expected)
{
	struct packet_source source;
	struct outcome model;

	subject->random = random_seed(subject->seed);
	subject->state = (struct model_state){ .now_ns = 1000000000, .arena = subject->arena };
	subject->plan_state = subject->state;
	packets_seed(&source, subject->seed);
	packets_add_ruleset(&source, pool);
	memset(subject->recent, 0, sizeof subject->recent);
	for (unsigned i = 0; i < subject->options->packets; i++) {
		struct model_packet packet;

		subject->length = packets_next(&source, subject->bytes, sizeof subject->bytes);
		maybe_knock(subject);
		maybe_repeat(subject);
		if (!agrees(subject, &model))
			return false;
		add_hits(expected, &model);
		packets_next_at(&source, subject->hook, subject->bytes, sizeof subject->bytes, &packet);
		subject->length = packet.length;
		if (!plan_agrees(subject, &packet))
			return false;
	}
	return !subject->tester || (counters_agree(subject, expected) && count_hits(subject));
}

static uint64_t *no_counts(const struct subject *subject)
{
	return ARENA_ARRAY(subject->arena, uint64_t, SLOT_RULES + subject->ruleset->rule_count);
}

struct failure {
	struct subject *subject;
	struct call *call;
	const struct ruleset *pool; /* whose values the packets are made of */
};

/* All packets again: what a policy remembers of the earlier ones may be part of it. */
static bool still_fails(const struct ruleset *ruleset, void *context)
{
	struct failure *failure = context;
	struct subject *subject = failure->subject;

	return !build(subject, failure->call, ruleset) && !judge_all(subject, failure->pool, no_counts(subject));
}

static void print_failure(struct failure *failure)
{
	struct subject *subject = failure->subject;
	const struct ruleset *small;

	printf("# seed %llu, hook %s: %s\n", (unsigned long long)subject->seed, hook_table[subject->hook].name,
	       subject->why);
	small = policies_shrink(subject->arena, subject->ruleset, still_fails, failure);
	still_fails(small, failure);
	printf("# made small: %s\n", subject->why);
	print_lines(ruleset_print(subject->arena, small));
	printf("# at %llu ns, the packet of %zu bytes:", (unsigned long long)subject->state.now_ns, subject->length);
	for (size_t i = 0; i < subject->length && i < 200; i++)
		printf("%s%02x", i % 32 ? " " : "\n#   ", subject->bytes[i]);
	printf("\n");
}

static int judge_policy(struct call *call, void *context)
{
	struct subject *subject = context;
	struct policy_options options = { .rules = subject->options->rules, .simple = subject->options->simple,
					  .knocks = 3, .tunables = subject->seed % 4, .rates = subject->options->rates };
	struct failure failure = { .subject = subject, .call = call };
	const struct ruleset *ruleset;
	const char *wrong;

	if (subject->options->cache) { /* most rules as those whose answers are kept */
		options.sets = options.knocks = 1;
		options.tunables = 0;
		options.terminal_only = subject->seed % 2;
	}
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
	failure.pool = ruleset;
	if (judge_all(subject, ruleset, no_counts(subject)))
		return 0;
	print_failure(&failure);
	return -1;
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

/* Knocks opened for some packets, unless there were too few policies to be sure of that. */
static int check_opened(const struct options *options, enum hook hook, unsigned long opened)
{
	if (!(field_table[FIELD_KNOCKED].hooks & HOOK_BIT(hook)))
		return 0;
	printf("# %s: %lu packets came from sources that had knocked\n", hook_table[hook].name, opened);
	return options->policies >= 20 && !opened ? -1 : 0;
}

/* Answers did come from caches, where there can be any. */
static int check_hits(const struct options *options, bool loaded, enum hook hook, uint64_t hits)
{
	if (!options->cache || !loaded || (hook != HOOK_XDP && hook != HOOK_TC_INGRESS && hook != HOOK_TC_EGRESS))
		return 0;
	printf("# %s: %llu packets were answered from a cache\n", hook_table[hook].name, (unsigned long long)hits);
	return options->policies >= 5 && !hits ? -1 : 0;
}

static int judge_hook(const struct options *options, struct kernel *kernel, enum hook hook)
{
	struct weir *weir = weir_new();
	unsigned long opened = 0;
	uint64_t hits = 0;
	int status = 0;

	for (unsigned i = 0; i < options->policies && !status; i++) {
		struct subject subject = {
			.options = options, .hook = hook, .seed = options->seed + i,
			.kernel = has_test_run(hook) ? kernel : NULL, .opened = &opened, .hits = &hits,
		};

		status = api_call(weir, NULL, false, judge_policy, &subject);
		kernel_tester_free(subject.tester);
	}
	weir_free(weir);
	if (!status)
		status = check_hits(options, kernel != NULL, hook, hits);
	return status ? status : check_opened(options, hook, opened);
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
		{ "rates", no_argument, NULL, 't' }, { "cache", no_argument, NULL, 'a' },
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
		case 't': options->rates = true; break;
		case 'a': options->cache = true; break;
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
