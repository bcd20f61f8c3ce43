/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connection tracking in the kernel (BPF_PROG_TEST_RUN):
 *
 *     flows [--sequences N] [--seed N] [--assured N] [--flood N]
 *
 * Random conversations, judged by the loaded program and by the model, which must agree on every packet's state; a
 * disagreement is made small and printed with its seed. Then a flood of SYNs from invented sources, which must push out
 * none of the assured connections; the defaults are small, the figures of docs/flows.md are by larger numbers.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "ir/model.h"
#include "tests/lib/flows.h"
#include "tests/lib/ir_text.h"

enum { PACKETS = 200 };

/* The rule that accepts tells the state; what is to be dropped has a TTL of 13. */
static const char policy_text[] =
	"policy \"flows\" {\n\tattach xdp \"lo\"\n\tdefault accept\n\tflows max %u\n\tchain \"main\" {\n"
	"\t\trule 1 drop if ttl = 13\n\t\trule 2 accept if flow = 1\n\t\trule 3 accept if flow = 2\n"
	"\t\trule 4 accept if flow = 3\n\t\trule 5 accept if flow = 4\n\t}\n}\n";

struct options {
	unsigned sequences, assured, flood;
	uint64_t seed;
};

struct subject {
	const struct options *options;
	struct kernel *kernel;
	struct weir *weir;
	enum hook hook;
	uint32_t max;
	const struct ruleset *ruleset;
	struct kernel_tester *tester;
	uint64_t now_ns;
};

struct turn {
	unsigned char frame[FLOWS_FRAME_MAX];
	size_t length;
	uint64_t pause_ns;
};

struct sequence {
	struct turn steps[PACKETS];
	size_t count;
};

/* --- loading ----------------------------------------------------------------------------------------------------- */

static int load(struct call *call, void *context)
{
	static const struct source no_source = { "flows", "", 0 };
	const struct source *file = &no_source;
	struct bundle bundle = { .files = { &file, 1, 1 } };
	struct subject *subject = context;
	struct source source = { .name = "flows" };
	const struct rulesets *rulesets;
	struct install install;

	source.text = arena_printf(call->arena, policy_text, subject->max);
	source.length = strlen(source.text);
	if (ruleset_parse(call->arena, &source, call->diags, &rulesets) ||
	    api_install(call, &rulesets->items[0], (int)subject->hook, &bundle, &install) ||
	    kernel_tester_new(subject->kernel, &install, call->diags, &subject->tester))
		return -1;
	subject->ruleset = &rulesets->items[0];
	return 0;
}

/* The arena holds the rule set. */
static bool open_subject(struct subject *subject, struct arena *arena)
{
	subject->tester = NULL;
	subject->now_ns = 0;
	return !api_call(subject->weir, arena, true, load, subject);
}

/* --- conversations ----------------------------------------------------------------------------------------------- */

static void make(struct sequence *sequence, uint64_t seed)
{
	struct flows_source source;

	flows_seed(&source, seed);
	sequence->count = PACKETS;
	for (size_t i = 0; i < PACKETS; i++)
		sequence->steps[i].length = flows_next(&source, sequence->steps[i].frame, &sequence->steps[i].pause_ns);
}

static uint32_t slot_of(int32_t rule)
{
	return rule > 0 ? SLOT_RULE((uint32_t)rule) : rule == DECIDED_MALFORMED ? SLOT_MALFORMED : SLOT_DEFAULT;
}

struct comparing {
	struct subject *subject;
	const struct sequence *sequence;
	uint64_t now_ns;
	bool differs;
};

static int compare(void *context)
{
	struct comparing *comparing = context;
	struct subject *subject = comparing->subject;
	struct arena *arena = arena_new();
	struct model_state state = { .arena = arena, .now_ns = comparing->now_ns };

	for (size_t i = 0; i < comparing->sequence->count && !comparing->differs; i++) {
		const struct turn *step = &comparing->sequence->steps[i];
		struct model_packet packet;
		struct model_result model;
		struct plane_trace trace;

		state.now_ns += step->pause_ns;
		frame_for_hook(subject->hook, step->frame, step->length, &packet);
		packet.state = &state;
		model_judge(arena, subject->ruleset, subject->hook, &packet, &model);
		comparing->differs = kernel_tester_clock(subject->tester, state.now_ns) ||
				     kernel_tester_run(subject->tester, step->frame, step->length, &trace) ||
				     trace.slot != slot_of(model.rule);
	}
	arena_free(arena);
	return 0;
}

/* Later than all that was before, so that the table is as good as empty. */
static bool differs(struct subject *subject, const struct sequence *sequence)
{
	struct comparing comparing = { .subject = subject, .sequence = sequence };

	subject->now_ns += 100ull * 86400 * 1000000000;
	comparing.now_ns = subject->now_ns;
	compare(&comparing);
	return comparing.differs;
}

static void shrink(struct subject *subject, struct sequence *sequence)
{
	static struct sequence shorter;

	for (size_t i = 0; i < sequence->count;) {
		shorter = *sequence;
		if (i + 1 < shorter.count)
			shorter.steps[i + 1].pause_ns += shorter.steps[i].pause_ns;
		memmove(&shorter.steps[i], &shorter.steps[i + 1], (shorter.count - i - 1) * sizeof *shorter.steps);
		shorter.count--;
		if (differs(subject, &shorter))
			*sequence = shorter;
		else
			i++;
	}
}

static void print(const struct sequence *sequence, uint64_t seed)
{
	printf("# seed %llu; made small:\n", (unsigned long long)seed);
	for (size_t i = 0; i < sequence->count; i++) {
		printf("#   after %llu ms:", (unsigned long long)sequence->steps[i].pause_ns / 1000000);
		for (size_t at = 14; at < sequence->steps[i].length; at++)
			printf("%s%02x", at % 4 == 2 ? " " : "", sequence->steps[i].frame[at]);
		printf("\n");
	}
}

static bool conversations_agree(struct subject *subject)
{
	static struct sequence sequence;
	struct arena *arena = arena_new();
	bool good = arena && open_subject(subject, arena);

	for (unsigned i = 0; good && i < subject->options->sequences; i++) {
		make(&sequence, subject->options->seed + i);
		if (!differs(subject, &sequence))
			continue;
		shrink(subject, &sequence);
		print(&sequence, subject->options->seed + i);
		good = false;
	}
	kernel_tester_free(subject->tester);
	arena_free(arena);
	return good;
}

/* --- flood ------------------------------------------------------------------------------------------------------- */

static void put32(unsigned char *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* A TCP segment without data between client `number`'s address and one server. */
static void put_segment(unsigned char frame[60], uint32_t number, bool answer, unsigned flags, uint32_t seq, uint32_t ack)
{
	static const unsigned char head[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6 };

	memset(frame, 0, 60);
	memcpy(frame, head, sizeof head);
	put32(frame + (answer ? 30 : 26), number);
	put32(frame + (answer ? 26 : 30), 0xc0000201);
	put32(frame + 34, answer ? 80u << 16 | 40000 : 40000u << 16 | 80);
	put32(frame + 38, seq);
	put32(frame + 42, ack);
	frame[46] = 5 << 4;
	frame[47] = (unsigned char)flags;
	frame[48] = 0x20;
}

/* The rule that met the segment; 0: none, or an error. */
static uint32_t run_segment(struct subject *subject, uint32_t number, bool answer, unsigned flags, uint32_t seq,
			    uint32_t ack)
{
	struct plane_trace trace;
	unsigned char frame[60];

	put_segment(frame, number, answer, flags, seq, ack);
	if (kernel_tester_run(subject->tester, frame, sizeof frame, &trace) || trace.slot < SLOT_RULES)
		return 0;
	return trace.slot - SLOT_RULES + 1;
}

enum { SYN = 2, ACK = 16, RULE_NEW = 2, RULE_ESTABLISHED = 3 };

static bool handshake(struct subject *subject, uint32_t number)
{
	return run_segment(subject, number, false, SYN, 100, 0) == RULE_NEW &&
	       run_segment(subject, number, true, SYN | ACK, 500, 101) == RULE_ESTABLISHED &&
	       run_segment(subject, number, false, ACK, 101, 501) == RULE_ESTABLISHED;
}

static bool flood_spares_the_assured(struct subject *subject)
{
	uint32_t assured = subject->options->assured, survivors = 0;
	struct arena *arena = arena_new();
	bool good = arena && open_subject(subject, arena) && !kernel_tester_clock(subject->tester, 1000000000);

	for (uint32_t i = 0; good && i < assured; i++)
		good = handshake(subject, 0x0a000000 + i);
	for (uint32_t i = 0; good && i < subject->options->flood; i++)
		good = run_segment(subject, 0x20000000 + i * 7, false, SYN, i, 0) == RULE_NEW;
	for (uint32_t i = 0; good && i < assured; i++)
		survivors += run_segment(subject, 0x0a000000 + i, true, ACK, 501, 101) == RULE_ESTABLISHED;
	printf("# %u of %u assured connections survived %u SYNs\n", survivors, assured, subject->options->flood);
	kernel_tester_free(subject->tester);
	arena_free(arena);
	return good && survivors == assured;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option table[] = { { "sequences", required_argument, NULL, 'n' },
					       { "seed", required_argument, NULL, 's' },
					       { "assured", required_argument, NULL, 'a' },
					       { "flood", required_argument, NULL, 'f' }, { 0 } };

	for (int letter; (letter = getopt_long(argc, argv, "", table, NULL)) >= 0;) {
		uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;

		if (letter == 'n')
			options->sequences = (unsigned)number;
		else if (letter == 's')
			options->seed = number;
		else if (letter == 'a')
			options->assured = (unsigned)number;
		else if (letter == 'f')
			options->flood = (unsigned)number;
		else
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const enum hook hooks[] = { HOOK_XDP, HOOK_TC_INGRESS, HOOK_TC_EGRESS, HOOK_CGROUP_INGRESS,
					   HOOK_CGROUP_EGRESS };
	enum { HOOKS = sizeof hooks / sizeof *hooks };
	struct options options = { .sequences = 60, .assured = 2000, .flood = 40000, .seed = 1 };
	struct subject subject = { .options = &options, .max = 1000, .weir = weir_new() };
	bool root = geteuid() == 0;
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (parse_options(argc, argv, &options))
		return 3;
	if (!root || kernel_open(KERNEL_TEST, NULL, &subject.kernel)) {
		printf("1..0 # SKIP loading programs needs root\n");
		weir_free(subject.weir);
		return 0;
	}
	printf("1..%d\n", HOOKS + 1);
	for (int i = 0; i < HOOKS; i++) {
		bool good;

		subject.hook = hooks[i];
		good = conversations_agree(&subject);
		failed += !good;
		printf("%sok %d - %s: %u conversations, seed %llu\n", good ? "" : "not ", i + 1, hook_table[hooks[i]].name,
		       options.sequences, (unsigned long long)options.seed);
	}
	subject.hook = HOOK_XDP;
	subject.max = options.assured + options.assured / 4 + 1000; /* LRU maps begin to make room before they are full */
	if (flood_spares_the_assured(&subject)) {
		printf("ok %d - a flood spares the assured\n", HOOKS + 1);
	} else {
		printf("not ok %d - a flood spares the assured\n", HOOKS + 1);
		failed++;
	}
	kernel_close(subject.kernel);
	weir_free(subject.weir);
	return failed != 0;
}
