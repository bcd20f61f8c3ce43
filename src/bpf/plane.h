/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The skeleton of every data plane: maps, configuration, whose turn it is, judging, counting, steps.
 *
 * In: a hook's context. Out: the verdict, with everything counted and logged that it took to reach it. What
 * cannot be (an answer out of bounds, a run of steps without end) drops the packet and counts it as malformed.
 *
 * Each hook's file defines, before it includes this: `plane_context` and PLANE_PREEMPTIBLE (see count()); it
 * may define PLANE_CLOCK, and PLANE_CACHES where it is not preemptible; and after it the plane_*() functions declared below.
 */
#ifndef WEIR_BPF_PLANE_H
#define WEIR_BPF_PLANE_H

#include "bpf/flow_abi.h"
#include "bpf/turn.h"

#define OUT_OF_LINE static __attribute__((noinline))

/*
 * A global function: the verifier looks at it once, and not again with each caller's values. Its pointers may
 * be NULL for all that it knows, its packet must be filled (old kernels), and its name may be nobody else's.
 */
#define VERIFIED_ONCE __attribute__((noinline))

#ifndef PLANE_CLOCK
#define PLANE_CLOCK bpf_ktime_get_coarse_ns
#endif

/* --- maps and configuration: see plane_abi.h ------------------------------------------------------------------- */

const volatile struct flow_config flow_config SEC(".rodata.flow") = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOT_RULES);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct counter));
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct step);
} steps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct log_limit);
} logs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 12); /* unless something is captured */
} captures SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plane_status);
} status SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plane_trace);
} trace SEC(".maps");

/* The compiled policy. */
extern int classify(struct packet *packet);

/* --- what each hook's file defines ------------------------------------------------------------------------------ */

/* What a packet adds to a counter. */
struct weight {
	__u64 packets;
	__u64 bytes;
};

/* Fills the whole packet; PARSE_OK or PARSE_MALFORMED. */
static __always_inline int plane_parse(plane_context *context, struct packet *packet);
static __always_inline struct weight plane_weigh(plane_context *context);
/* The same, cheaper by what parsing has noted, where the file defines PLANE_WEIGHS_PARSED. */
static __always_inline struct weight plane_weigh_parsed(plane_context *context, const struct packet *packet);
/* Fills an event's interfaces, owner, mark, length and first bytes. */
static __always_inline void plane_describe(plane_context *context, struct event *event);
/* The same of a packet that is none yet, from what is known of it; where the file defines PLANE_OF_CALLS. */
static __always_inline void plane_describe_parsed(const struct packet *packet, struct event *event);
/* As long as plane_describe() says. */
static __always_inline __u32 plane_length(plane_context *context);
/* Copies bytes of the packet; offset 0 is where plane_describe() begins, `size` at least 1. */
static __always_inline int plane_copy(plane_context *context, __u32 offset, void *buffer, __u32 size);
static __always_inline __u32 plane_mark(plane_context *context);
static __always_inline void plane_set_mark(plane_context *context, __u32 mark);
/* The packet shall not leave before that, in CLOCK_MONOTONIC; where the file defines PLANE_PACES. */
static __always_inline void plane_delay(plane_context *context, __u64 until_ns);
/* Congestion Experienced (RFC 3168), if the packet's sender understands it; where the file defines PLANE_MARKS. */
static __always_inline void plane_mark_congested(plane_context *context);

/*
 * `size` as a number from 1 to `most`, where a helper wants to be sure of that; `most` for 0. Kernels before
 * 6.8 learn nothing from a comparison with 0: the bounds are shown on size - 1.
 */
static __always_inline __u32 bounded(__u32 size, __u32 most)
{
	__u32 last = size - 1;

	barrier_var(last);
	if (last >= most)
		last = most - 1;
	barrier_var(last);
	return last + 1;
}

/* --- counting --------------------------------------------------------------------------------------------------- */

/* This CPU's; NULL if there is no such slot. */
static __always_inline struct counter *counter_at(__u32 slot)
{
	__u32 chunk = slot >> config.chunk_bits;
	struct counter *first;

	if (slot >= config.slots)
		return NULL;
	first = bpf_map_lookup_elem(&counters, &chunk);
	return first ? first + (slot & ((1u << config.chunk_bits) - 1)) : NULL;
}

/*
 * Adds to a counter of this CPU. Where a hook may run in a process that an interrupt can stop half-way, only
 * an atomic addition loses nothing to the packets that the interrupt brings. XDP and TC run with bottom halves
 * disabled: nothing that counts comes in between, and a plain addition next to others' atomic ones is exact
 * too.
 */
static __always_inline bool count(__u32 slot, struct weight weight)
{
	struct counter *counter = counter_at(slot);

	if (!counter)
		return false;
	if (PLANE_PREEMPTIBLE) {
		__sync_fetch_and_add(&counter->packets, weight.packets);
		__sync_fetch_and_add(&counter->bytes, weight.bytes);
	} else {
		counter->packets += weight.packets;
		counter->bytes += weight.bytes;
	}
	return true;
}

/* For `weir test`. */
static __always_inline void trace_write(__u32 verdict, __u32 slot)
{
	struct plane_trace *last;
	__u32 zero = 0;

	if (__builtin_expect(!config.trace, 1))
		return;
	last = bpf_map_lookup_elem(&trace, &zero);
	if (!last)
		return;
	last->verdict = verdict;
	last->slot = slot;
	last->runs++;
}

/* In a test run, the time is the test's. */
static __always_inline __u64 tested_now(void)
{
	struct plane_trace *test;
	__u32 zero = 0;

	test = bpf_map_lookup_elem(&trace, &zero);
	return test ? test->now_ns : 0;
}

/* CLOCK_MONOTONIC in nanoseconds, coarse where the hook can have it so: the time for all that remembers packets. */
static __always_inline __u64 plane_now(void)
{
	return __builtin_expect(!config.trace, 1) ? PLANE_CLOCK() : tested_now();
}

/* The same for who cannot do with a clock that ticks every few milliseconds. It costs six times as much. */
static __always_inline __u64 plane_now_fine(void)
{
	return __builtin_expect(!config.trace, 1) ? bpf_ktime_get_ns() : tested_now();
}

#include "bpf/knock.h"

/* Counts what decided; the verdict, or ANSWER_DROP for an answer that makes no sense. */
static __always_inline __u32 settle(__u32 verdict, __u32 slot, struct weight weight)
{
	if (__builtin_expect(verdict > ANSWER_REJECT || !count(slot, weight), 0)) {
		verdict = ANSWER_DROP;
		slot = SLOT_MALFORMED;
		count(slot, weight);
	}
	trace_write(verdict, slot);
	return verdict;
}

#include "bpf/rate.h"

/* --- logging ---------------------------------------------------------------------------------------------------- */

/* Takes one event from the statement's limit. */
static __always_inline bool limit_allows(struct log_limit *limit)
{
	if (!limit->period_ns || bucket_take(&limit->next_ns, plane_now(), limit->period_ns, limit->burst_ns))
		return true;
	__sync_fetch_and_add(&limit->suppressed, 1);
	return false;
}

static __always_inline struct plane_status *status_of_plane(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&status, &zero);
}

static __always_inline void event_lost(void)
{
	struct plane_status *all = status_of_plane();

	if (all)
		__sync_fetch_and_add(&all->events_lost, 1);
}

#ifndef PLANE_OF_CALLS
static __always_inline void plane_describe_parsed(const struct packet *packet, struct event *event)
{
	(void)packet;
	(void)event;
}
#endif

VERIFIED_ONCE int plane_write_event(plane_context *context, const struct packet *packet, __u32 rule, __u32 log,
				    __u32 verdict)
{
	struct log_limit *limit = bpf_map_lookup_elem(&logs, &log);
	struct event *event;

	if (!packet || !limit || !limit_allows(limit))
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
	if (!event) {
		event_lost();
		return 0;
	}
	__builtin_memset(event, 0, sizeof *event);
	event->time_ns = bpf_ktime_get_boot_ns();
	event->rule = rule;
	event->log = log;
	event->verdict = verdict;
	event->hook = config.hook;
	plane_describe(context, event);
	plane_describe_parsed(packet, event);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* --- capturing -------------------------------------------------------------------------------------------------- */

static __always_inline void capture_lost(void)
{
	struct plane_status *all = status_of_plane();

	if (all)
		__sync_fetch_and_add(&all->captures_lost, 1);
}

static __always_inline __u32 capture_number(void)
{
	struct plane_status *all = status_of_plane();

	return all ? __sync_fetch_and_add(&all->captures, 1) : 0;
}

/* A constant `room` for each call: the kernel reserves no other sizes (and dynptrs cannot be filled by helpers). */
static __always_inline void capture_into(plane_context *context, __u32 room, __u32 size, __u32 rule, __u32 verdict)
{
	struct event *event = bpf_ringbuf_reserve(&captures, offsetof(struct event, data) + room, 0);

	if (!event) {
		capture_lost();
		return;
	}
	__builtin_memset(event, 0, sizeof *event);
	event->time_ns = bpf_ktime_get_boot_ns();
	event->rule = rule;
	event->verdict = verdict;
	event->hook = config.hook;
	plane_describe(context, event);
	if (room > EVENT_BYTES) {
		size = bounded(size, room);
		if (!plane_copy(context, 0, event->data, size))
			event->captured = size;
	} else if (size < event->captured) {
		event->captured = size;
	}
	event->log = capture_number();
	bpf_ringbuf_submit(event, 0);
}

/* Copies the packet's first `snap` bytes, or all of them. */
VERIFIED_ONCE int plane_capture(plane_context *context, __u32 rule, __u32 snap, __u32 verdict)
{
	__u32 size;

	if (!config.captures)
		return 0;
	size = plane_length(context);
	if (!snap || snap > CAPTURE_BYTES_MAX)
		snap = CAPTURE_BYTES_MAX;
	if (size > snap)
		size = snap;
	if (size <= EVENT_BYTES)
		capture_into(context, EVENT_BYTES, size, rule, verdict);
	else if (size <= 512)
		capture_into(context, 512, size, rule, verdict);
	else if (size <= 1536)
		capture_into(context, 1536, size, rule, verdict);
	else if (size <= 4096)
		capture_into(context, 4096, size, rule, verdict);
	else if (size <= 16384)
		capture_into(context, 16384, size, rule, verdict);
	else
		capture_into(context, CAPTURE_BYTES_MAX, size, rule, verdict);
	return 0;
}

#include "bpf/sets.h"
#include "bpf/tune.h"
#ifdef PLANE_CACHES
#include "bpf/cache.h"
#endif

/* --- steps ------------------------------------------------------------------------------------------------------ */

/* One packet's way through its steps. Small: the stack is shared with all that is called from here. */
struct run {
	plane_context *context;
	struct packet *packet;
	struct weight weight;
	__u32 next; /* step */
	__u32 slot;
	__u8 verdict, change_count;
	bool done;
	__u32 changes[CHANGES_MAX]; /* steps that change sets, to be taken at the end */
	__u64 knocked; /* bit 8 * i + s: step s of knock i */
};

enum { RUN_ON = 0, RUN_ENDS = 1 }; /* what a bpf_loop() callback returns */

static __always_inline long run_decide(struct run *run, __u32 verdict, __u32 slot)
{
	run->verdict = verdict;
	run->slot = slot;
	run->done = true;
	return RUN_ENDS;
}

/* On to that step. Most runs end behind their first one, by a verdict: it is taken at once, as every further turn is a call. */
static __always_inline long run_on(struct run *run, __u32 next)
{
	const struct step *step = bpf_map_lookup_elem(&steps, &next);

	if (step && step->kind == STEP_VERDICT)
		return run_decide(run, step->a, step->slot);
	run->next = next;
	return RUN_ON;
}

/* Clang copies a whole structure octet by octet here, over half of the stack. */
static __always_inline void step_count(struct run *run, const struct step *step)
{
	struct weight weight = { .packets = run->weight.packets, .bytes = run->weight.bytes };

	count(step->slot, weight);
}

/* Rules behind it still test the mark that the packet came with: packet->mark stays. */
static __always_inline void step_mark(struct run *run, const struct step *step)
{
	plane_set_mark(run->context, (plane_mark(run->context) & ~step->b) | (step->a & step->b));
}

/* Without a token the rule has not matched: what comes behind it goes on. */
static __always_inline long step_rate(struct run *run, const struct step *step)
{
	__u64 packets = run->weight.packets, bytes = run->weight.bytes;

	return run_on(run, plane_take_tokens(run->packet, step->a, packets, bytes, 0) < 0 ? step->b : run->next + 1);
}

#ifndef PLANE_PACES
static __always_inline void plane_delay(plane_context *context, __u64 until_ns)
{
	(void)context;
	(void)until_ns;
}
#endif

#ifndef PLANE_MARKS
static __always_inline void plane_mark_congested(plane_context *context)
{
	(void)context;
}
#endif

/*
 * What is over the rate leaves later, if the device can do that, or not at all. Where packets are dropped, senders that
 * can hear of congestion do so before.
 */
static __always_inline long step_throttle(struct run *run, const struct step *step)
{
	__u32 horizon = config.paces ? PACE_HORIZON_NS : 0;
	int delay = plane_take_tokens(run->packet, step->a, run->weight.packets, run->weight.bytes, horizon);

	if (delay < 0)
		return run_decide(run, ANSWER_DROP, step->slot);
	if (config.paces && delay) {
		plane_delay(run->context, plane_now_fine() + delay);
	} else if (delay && !config.observe) {
		plane_mark_congested(run->context);
		run->packet->whole |= PACKET_CONGESTED;
	}
	return run_on(run, run->next + 1);
}

/* Judging goes on behind the steps, in the emitted code. */
static __always_inline long step_resume(struct run *run, const struct step *step)
{
	__u32 answer;

	run->packet->resume = step->a;
	answer = classify(run->packet);
	if (!(answer & ANSWER_STEPS))
		return run_decide(run, answer & 3, answer >> ANSWER_SHIFT);
	run->next = answer >> ANSWER_SHIFT;
	return RUN_ON;
}

/* Keeps a step that changes a set for later: rules behind it still see the sets that the packet came to. */
static __always_inline void step_change(struct run *run, __u32 set, __u32 at)
{
	__u32 place = run->change_count;

	barrier_var(place);
	if (place >= CHANGES_MAX) {
		change_refused(set);
		return;
	}
	run->changes[place] = at;
	run->change_count = place + 1;
}

static __always_inline void run_changes(const struct run *run)
{
	for (__u32 i = 0; i < CHANGES_MAX; i++)
		if (i < run->change_count)
			plane_change_set(run->packet, run->changes[i]);
}

static long take_step(__u32 index, struct run *unaligned)
{
	struct run *run = __builtin_assume_aligned(unaligned, 8); /* else it is read byte by byte, by way of the stack */
	__u32 at = run->next;
	const struct step *step = bpf_map_lookup_elem(&steps, &at);

	(void)index;
	if (!step)
		return RUN_ENDS;
	if (step->kind == STEP_VERDICT)
		return run_decide(run, step->a, step->slot);
	if (step->kind == STEP_RESUME)
		return step_resume(run, step);
	if (step->kind == STEP_RATE)
		return step_rate(run, step);
	if (step->kind == STEP_THROTTLE)
		return step_throttle(run, step);
	if (step->kind == STEP_COUNT)
		step_count(run, step);
	else if (step->kind == STEP_LOG)
		plane_write_event(run->context, run->packet, step->slot - (SLOT_RULES - 1), step->a, step->b);
	else if (step->kind == STEP_MARK)
		step_mark(run, step);
	else if (step->kind == STEP_CAPTURE)
		plane_capture(run->context, step->slot - (SLOT_RULES - 1), step->a, step->b);
	else if (config.sets && (step->kind == STEP_ADD || step->kind == STEP_REMOVE))
		step_change(run, step->slot, at);
	else if (step->kind == STEP_KNOCK)
		run->knocked |= 1ull << (step->a & 63);
	else
		return RUN_ENDS;
	return run_on(run, at + 1);
}

VERIFIED_ONCE int plane_run_steps(plane_context *context, struct packet *packet, __u32 first)
{
	struct run run = { .context = context, .packet = packet, .next = first };

	if (!packet)
		return ANSWER_DROP;
	run.weight = plane_weigh_parsed(context, packet);
	bpf_loop(STEPS_MAX, take_step, &run, 0);
	if (!run.done)
		run_decide(&run, ANSWER_DROP, SLOT_MALFORMED);
	if (config.sets)
		run_changes(&run);
	if (knocks.count && run.knocked)
		take_steps_of_knocks(context, packet, run.knocked);
	return settle(run.verdict, run.slot, run.weight);
}

#ifndef PLANE_WEIGHS_PARSED
static __always_inline struct weight plane_weigh_parsed(plane_context *context, const struct packet *packet)
{
	(void)packet;
	return plane_weigh(context);
}
#endif

/* --- judging with memory: flow_plane.h --------------------------------------------------------------------------- */

/* The rules ask for the state of connections. */
static __always_inline bool plane_tracks(void)
{
#ifdef PLANE_OF_CALLS
	return false;
#else
	return config.needed & FIELD_BIT(FIELD_FLOW);
#endif
}

VERIFIED_ONCE int plane_judge_flow(plane_context *context, struct packet *packet);
VERIFIED_ONCE int plane_accept_flow(plane_context *context, struct packet *packet);

/* --- judging ---------------------------------------------------------------------------------------------------- */

/* Fills in what the policy remembers of the packet's source and what is tuned, then asks for the answer. */
static __always_inline __u32 classify_with_state(struct packet *packet)
{
	if (config.needed & FIELD_BIT(FIELD_KNOCKED))
		packet->knocked = knocks_open(packet);
	if (tuned.count)
		packet->tuned = plane_compare(packet);
#ifdef PLANE_CACHES
	return cache_classify(packet);
#else
	return classify(packet);
#endif
}

/* An enum answer_verdict; everything it took is done, but for carrying it out. Fills the packet. */
static __always_inline __u32 decide(plane_context *context, struct packet *packet)
{
	__u32 answer;

	if (__builtin_expect(plane_parse(context, packet), 0)) {
		if (flow_config.track)
			return ANSWER_ACCEPT;
		answer = ANSWER(config.malformed_accept ? ANSWER_ACCEPT : ANSWER_DROP, SLOT_MALFORMED);
	} else if (plane_tracks()) {
		answer = plane_judge_flow(context, packet);
		if (!(answer & ANSWER_STEPS))
			return answer;
		answer = plane_run_steps(context, packet, answer >> ANSWER_SHIFT);
		if (answer == ANSWER_ACCEPT)
			plane_accept_flow(context, packet);
		return answer;
	} else {
		answer = classify_with_state(packet);
	}
	if (__builtin_expect(answer & ANSWER_STEPS, 0))
		return plane_run_steps(context, packet, answer >> ANSWER_SHIFT);
	return settle(answer & 3, answer >> ANSWER_SHIFT, plane_weigh_parsed(context, packet));
}

/* The same, as the plane is to carry it out: a policy that only observes lets everything pass. */
static __always_inline __u32 judge(plane_context *context, struct packet *packet)
{
	__u32 verdict = decide(context, packet);

	return config.observe ? ANSWER_ACCEPT : verdict;
}

#endif
