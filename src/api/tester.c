/* SPDX-License-Identifier: GPL-2.0-only */
/* Trying a policy out: captures, single judgements by the kernel or the model, benchmarks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "ir/model.h"
#include "observe/capture.h"

/* --- captures ---------------------------------------------------------------------------------------------------- */

struct weir_capture {
	struct capture *capture;
	uint64_t time_ns; /* of the last frame */
};

struct opening {
	const char *path;
	struct weir_capture *capture;
};

static int open_capture(struct call *call, void *context)
{
	struct opening *opening = context;
	char error[300];

	if (!opening->capture)
		return api_fail(call, WEIR_SYSTEM, "out of memory");
	if (capture_open(opening->path, error, sizeof error, &opening->capture->capture))
		return api_fail(call, WEIR_INPUT, "%s", error);
	return WEIR_OK;
}

WEIR_EXPORT int weir_capture_open(struct weir *weir, const char *path, struct weir_capture **ret_capture)
{
	struct opening opening = { path, calloc(1, sizeof *opening.capture) };
	int status = api_call(weir, NULL, false, open_capture, &opening);

	if (status)
		free(opening.capture);
	else
		*ret_capture = opening.capture;
	return status;
}

static int broken_capture(struct call *call, void *context)
{
	return api_fail(call, WEIR_INPUT, "the capture is broken: %s", strerror(*(int *)context));
}

WEIR_EXPORT int weir_capture_next(struct weir *weir, struct weir_capture *capture, const void **ret_frame,
				  size_t *ret_length)
{
	struct frame frame;
	int got = capture_next(capture->capture, &frame);

	if (got < 0) {
		int error = -got;

		return api_call(weir, NULL, false, broken_capture, &error);
	}
	if (got) {
		*ret_frame = frame.data;
		*ret_length = frame.length;
		capture->time_ns = frame.time_ns;
	}
	return got;
}

WEIR_EXPORT uint64_t weir_capture_time(const struct weir_capture *capture)
{
	return capture->time_ns;
}

WEIR_EXPORT void weir_capture_close(struct weir_capture *capture)
{
	if (!capture)
		return;
	capture_close(capture->capture);
	free(capture);
}

/* --- frames at hooks that see only IP ---------------------------------------------------------------------------- */

enum { ETHERNET = 14, VLAN_TAG = 4, VLAN_TAGS = 2 };

static uint16_t be16(const unsigned char *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* Where the IP header begins behind Ethernet and VLAN tags, and its type; 0 if it is not IP. */
static size_t ip_offset(const unsigned char *frame, size_t length, uint16_t *ret_type)
{
	size_t offset = ETHERNET;
	uint16_t type;

	if (length < ETHERNET)
		return 0;
	type = be16(frame + 12);
	for (int tags = 0; (type == 0x8100 || type == 0x88a8) && tags < VLAN_TAGS; tags++) {
		if (length < offset + VLAN_TAG)
			return 0;
		type = be16(frame + offset + 2);
		offset += VLAN_TAG;
	}
	if (type != 0x0800 && type != 0x86dd)
		return 0;
	*ret_type = type;
	return offset;
}

bool frame_for_hook(enum hook hook, const void *frame, size_t length, struct model_packet *ret_packet)
{
	struct model_packet packet = { .data = frame, .length = length, .user = ABSENT_OWNER, .group = ABSENT_OWNER };

	if (!hook_table[hook].frames) {
		size_t offset = ip_offset(frame, length, &packet.ethertype);

		if (!offset)
			return false;
		packet.data += offset;
		packet.length -= offset;
	}
	*ret_packet = packet;
	return true;
}

/* --- testers ----------------------------------------------------------------------------------------------------- */

struct weir_tester {
	bool remembers;            /* some rule asks what came before */
	uint64_t first_ns;         /* the first packet's time, when the clock begins; 0: not known */
	struct arena *arena;       /* of `state`, which grows with what it remembers; NULL: nothing is */
	struct model_state state;  /* the model's; its clock is that of both engines */
	enum weir_engine engine;
	const struct ruleset *ruleset;
	enum hook hook;
	struct kernel *kernel;
	struct kernel_tester *tester;
	unsigned char *frame; /* scratch: a frame without VLAN tags */
	size_t room;
};

struct preparing {
	struct weir_tester *tester;
	struct weir_program *program;
	const char *policy, *hook;
};

static bool rule_has_memory(const struct rule *rule)
{
	for (size_t i = 0; i < rule->action_count; i++)
		if (action_is_rated(&rule->actions[i]) || rule->actions[i].kind == ACTION_ADD ||
		    rule->actions[i].kind == ACTION_REMOVE)
			return true;
	return false;
}

/* Some rule asks what came before, or how much time went by. */
static bool has_memory(const struct ruleset *ruleset)
{
	if (ruleset->knock_count || flows_used(ruleset))
		return true;
	for (size_t i = 0; i < ruleset->set_count; i++)
		if (ruleset->sets[i].timed)
			return true;
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			if (rule_has_memory(&ruleset->chains[i].rules[j]))
				return true;
	return false;
}

static int prepare(struct call *call, void *context)
{
	struct preparing *preparing = context;
	struct weir_tester *tester = preparing->tester;
	struct install install;
	int status = api_select(call, preparing->program, preparing->policy, preparing->hook, &tester->ruleset,
				&tester->hook);

	if (status)
		return status;
	tester->remembers = has_memory(tester->ruleset);
	if (tester->engine == WEIR_MODEL && tester->remembers) {
		tester->arena = tester->state.arena = arena_new();
		if (!tester->arena)
			return api_fail(call, WEIR_SYSTEM, "out of memory");
	}
	if (tester->engine == WEIR_MODEL)
		return knocks_load_keys(call, tester->ruleset, &tester->ruleset);
	status = api_install(call, tester->ruleset, tester->hook, &preparing->program->bundle, &install);
	if (status)
		return status;
	if (kernel_open(KERNEL_TEST, call->diags, &tester->kernel) ||
	    kernel_tester_new(tester->kernel, &install, call->diags, &tester->tester))
		return WEIR_SYSTEM;
	return WEIR_OK;
}

WEIR_EXPORT int weir_tester_new(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
				enum weir_engine engine, struct weir_tester **ret_tester)
{
	struct weir_tester *tester = calloc(1, sizeof *tester);
	struct preparing preparing = { tester, program, policy, hook };
	int status;

	if (!tester)
		return WEIR_SYSTEM;
	tester->engine = engine;
	tester->state.now_ns = KERNEL_TESTER_START_NS;
	status = api_call(weir, program->arena, false, prepare, &preparing);
	if (status)
		weir_tester_free(tester);
	else
		*ret_tester = tester;
	return status;
}

WEIR_EXPORT void weir_tester_free(struct weir_tester *tester)
{
	if (!tester)
		return;
	kernel_tester_free(tester->tester);
	kernel_close(tester->kernel);
	arena_free(tester->arena);
	free(tester->frame);
	free(tester);
}

static const struct weir_judgement never_met = { "accept", WEIR_RULE_NON_IP };

struct judging {
	struct weir_tester *tester;
	struct model_packet packet;
	const void *frame;
	size_t length;
	struct weir_judgement judgement;
};

static int judge_by_model(struct call *call, void *context)
{
	struct judging *judging = context;
	struct model_result result;

	if (judging->tester->arena)
		judging->packet.state = &judging->tester->state;
	model_judge(call->arena, judging->tester->ruleset, judging->tester->hook, &judging->packet, &result);
	judging->judgement = (struct weir_judgement){ verdict_name(result.verdict), result.rule };
	return WEIR_OK;
}

static int32_t rule_of_slot(uint32_t slot)
{
	switch (slot) {
	case SLOT_DEFAULT: return WEIR_RULE_DEFAULT;
	case SLOT_MALFORMED: return WEIR_RULE_MALFORMED;
	case SLOT_NON_IP: return WEIR_RULE_NON_IP;
	default: return (int32_t)(slot - SLOT_RULES + 1);
	}
}

/* Hooks that see only IP are given frames without VLAN tags: the stack has taken them off by then. */
static int plain_frame(struct judging *judging)
{
	struct weir_tester *tester = judging->tester;
	size_t length = ETHERNET + judging->packet.length;
	unsigned char *frame = tester->frame;

	if (hook_table[tester->hook].frames || judging->packet.data == (const unsigned char *)judging->frame + ETHERNET)
		return 0;
	if (length > tester->room) {
		frame = realloc(frame, length);
		if (!frame)
			return -ENOMEM;
		tester->frame = frame;
		tester->room = length;
	}
	memcpy(frame, judging->frame, 12);
	frame[12] = (unsigned char)(judging->packet.ethertype >> 8);
	frame[13] = (unsigned char)judging->packet.ethertype;
	memcpy(frame + ETHERNET, judging->packet.data, judging->packet.length);
	judging->frame = frame;
	judging->length = length;
	return 0;
}

static int judge_by_kernel(struct call *call, void *context)
{
	struct judging *judging = context;
	struct plane_trace trace;
	int error = plain_frame(judging);

	if (!error && judging->tester->remembers)
		error = kernel_tester_clock(judging->tester->tester, judging->tester->state.now_ns);
	if (!error)
		error = kernel_tester_run(judging->tester->tester, judging->frame, judging->length, &trace);
	if (error)
		return api_fail(call, WEIR_SYSTEM, "the kernel's test run refuses this frame of %zu bytes: %s",
				judging->length, strerror(-error));
	judging->judgement = (struct weir_judgement){ verdict_name(trace.verdict), rule_of_slot(trace.slot) };
	return WEIR_OK;
}

WEIR_EXPORT void weir_tester_clock(struct weir_tester *tester, uint64_t time_ns)
{
	uint64_t now;

	if (!tester->first_ns)
		tester->first_ns = time_ns;
	now = KERNEL_TESTER_START_NS + (time_ns > tester->first_ns ? time_ns - tester->first_ns : 0);
	if (now > tester->state.now_ns)
		tester->state.now_ns = now;
}

WEIR_EXPORT int weir_tester_run(struct weir *weir, struct weir_tester *tester, const void *frame, size_t length,
				struct weir_judgement *ret_judgement)
{
	struct judging judging = { .tester = tester, .frame = frame, .length = length };
	int status;

	if (!frame_for_hook(tester->hook, frame, length, &judging.packet)) {
		*ret_judgement = never_met;
		return WEIR_OK;
	}
	status = api_call(weir, tester->arena, false, tester->engine == WEIR_MODEL ? judge_by_model : judge_by_kernel, &judging);
	if (!status)
		*ret_judgement = judging.judgement;
	return status;
}

/* --- benchmarks -------------------------------------------------------------------------------------------------- */

enum { BENCH_ROUNDS = 7, BENCH_BYTES_MAX = 1 << 30 };

struct benching {
	struct weir_program *program;
	const char *policy, *hook, *path;
	unsigned rounds;
	uint32_t flows;
	struct capture *capture;
	struct kernel *kernel;
	struct bench_result result;
};

static int read_frames(struct call *call, struct benching *benching, const struct bench_frame **ret_frames,
		       size_t *ret_count)
{
	VEC(struct bench_frame) frames = { 0 };
	char error[300];
	struct frame frame;
	size_t bytes = 0;
	int got;

	if (capture_open(benching->path, error, sizeof error, &benching->capture))
		return api_fail(call, WEIR_INPUT, "%s", error);
	while ((got = capture_next(benching->capture, &frame)) > 0) {
		bytes += frame.length;
		if (bytes > BENCH_BYTES_MAX)
			return api_fail(call, WEIR_INPUT, "%s: more than 1 GiB of packets", benching->path);
		VEC_PUSH(call->arena, &frames) = (struct bench_frame){
			arena_copy(call->arena, frame.data, frame.length), frame.length };
	}
	if (got < 0)
		return api_fail(call, WEIR_INPUT, "%s is broken: %s", benching->path, strerror(-got));
	if (!frames.count)
		return api_fail(call, WEIR_INPUT, "%s holds no packet", benching->path);
	*ret_frames = frames.items;
	*ret_count = frames.count;
	return WEIR_OK;
}

static int bench(struct call *call, void *context)
{
	struct benching *benching = context;
	const struct bench_frame *frames = NULL;
	const struct ruleset *ruleset;
	struct install install;
	enum hook hook;
	size_t count = 0;
	int status = api_select(call, benching->program, benching->policy, benching->hook, &ruleset, &hook);

	if (!status)
		status = read_frames(call, benching, &frames, &count);
	if (!status)
		status = api_install(call, ruleset, hook, &benching->program->bundle, &install);
	if (status)
		return status;
	if (kernel_open(KERNEL_TEST, call->diags, &benching->kernel) ||
	    kernel_bench(benching->kernel, &install, frames, count, benching->rounds, benching->flows,
			 call->diags, &benching->result))
		return WEIR_SYSTEM;
	return WEIR_OK;
}

WEIR_EXPORT int weir_bench(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
			   const char *capture, unsigned rounds, uint32_t flows, struct weir_bench *ret_bench)
{
	struct benching benching = { .program = program, .policy = policy, .hook = hook, .path = capture,
				     .rounds = rounds ? rounds : BENCH_ROUNDS, .flows = flows };
	const struct bench_result *result = &benching.result;
	int status = api_call(weir, NULL, false, bench, &benching);

	capture_close(benching.capture);
	kernel_close(benching.kernel);
	if (status)
		return status;
	*ret_bench = (struct weir_bench){
		.ns = result->ns, .min_ns = result->min_ns, .max_ns = result->max_ns,
		.empty_ns = result->empty_ns, .empty_min_ns = result->empty_min_ns,
		.empty_max_ns = result->empty_max_ns, .packets = result->packets, .rounds = result->rounds,
		.cached = result->cached,
	};
	return WEIR_OK;
}

/* --- features ---------------------------------------------------------------------------------------------------- */

struct probing {
	struct kernel *kernel;
	size_t count;
};

static int probe(struct call *call, void *context)
{
	struct probing *probing = context;
	const struct kernel_feature *features;

	if (kernel_open(KERNEL_TEST, call->diags, &probing->kernel) ||
	    kernel_features(probing->kernel, call->arena, &features, &probing->count))
		return WEIR_SYSTEM;
	if (probing->count > FEATURES_MAX)
		probing->count = FEATURES_MAX;
	for (size_t i = 0; i < probing->count; i++) /* the strings are the loader's constants */
		call->weir->features[i] =
			(struct weir_feature){ features[i].name, features[i].there, features[i].since };
	return WEIR_OK;
}

WEIR_EXPORT int weir_features(struct weir *weir, const struct weir_feature **ret_features, size_t *ret_count)
{
	struct probing probing = { 0 };
	int status = api_call(weir, NULL, false, probe, &probing);

	kernel_close(probing.kernel);
	if (status)
		return status;
	*ret_features = weir->features;
	*ret_count = probing.count;
	return WEIR_OK;
}
