/* SPDX-License-Identifier: GPL-2.0-only */
/* The data planes in the kernel, by test runs: what they parse, count, log, and whose turn it is. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <linux/bpf.h>
#include <linux/netfilter.h>
#include <linux/pkt_cls.h>

#include "host_parse.h"
#include "plane_load.h"
#include "tests/lib/packets.h"

enum { RANDOM_FRAMES = 20000, LOOPBACK = 1, SLOTS = 8, STEPS = 8, NO_VERDICT = -1000 };

static const enum hook runnable[] = { HOOK_XDP, HOOK_TC_INGRESS, HOOK_TC_EGRESS, HOOK_CGROUP_INGRESS, HOOK_NF_INPUT,
				      HOOK_CGROUP_EGRESS };

static const unsigned char tcp_frame[] = {
	2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0,
	0, 2, 0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
};

static void for_each_hook(void (*work)(enum hook hook))
{
	for (size_t i = 0; i < sizeof runnable / sizeof *runnable; i++)
		if (plane_possible(runnable[i]))
			work(runnable[i]);
}

static struct plane_config config_of(enum hook hook)
{
	const field_mask needed = NEEDS_ALL & (FIELD_BIT(FIELD_COUNT) - 1) & ~NEEDS(FIELD_FLOW); /* there are no tables here */

	return (struct plane_config){ .hook = hook, .needed = needed, .slots = SLOTS, .steps = STEPS,
				      .levels = { 0, 1, 2 }, .level_count = 3 };
}

static void open_plane(enum hook hook, const struct plane_config *config, struct plane *ret_plane)
{
	assert_int_equal(plane_load(plane_for_hook(hook), STUB_OBJECT, config, ret_plane), 0);
}

static void set_answer(const struct plane *plane, __u32 resume, __u32 answer)
{
	assert_int_equal(bpf_map_update_elem(plane_map(plane, "answers"), &resume, &answer, 0), 0);
}

static void set_step(const struct plane *plane, __u32 index, struct step step)
{
	assert_int_equal(bpf_map_update_elem(plane_map(plane, "steps"), &index, &step, 0), 0);
}

static bool is_netfilter(const struct plane *plane)
{
	return bpf_program__type(plane->program) == TYPE_NETFILTER;
}

/*
 * The program's return value, or NO_VERDICT if the kernel's test run does not take such a frame. Netfilter's wants the
 * hook and the family, the beginning of a struct nf_hook_state.
 */
static int run_frame(const struct plane *plane, const unsigned char *frame, size_t length)
{
	unsigned char state[8] = { NF_INET_LOCAL_IN, get16(frame + 12) == ETHER_IPV6 ? NFPROTO_IPV6 : NFPROTO_IPV4 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = (__u32)length, .repeat = 1);

	if (is_netfilter(plane)) {
		options.ctx_in = state;
		options.ctx_size_in = sizeof state;
	}
	return bpf_prog_test_run_opts(plane->fd, &options) ? NO_VERDICT : (int)options.retval;
}

static int run_tcp(const struct plane *plane)
{
	return run_frame(plane, tcp_frame, sizeof tcp_frame);
}

static struct packet last_seen(const struct plane *plane)
{
	struct packet packet;
	__u32 zero = 0;

	assert_int_equal(bpf_map_lookup_elem(plane_map(plane, "seen"), &zero, &packet), 0);
	return packet;
}

/* The packet's mark behind a program that sees skbs, when it came with `mark`. */
static __u32 mark_behind(const struct plane *plane, __u32 mark)
{
	struct __sk_buff in = { .mark = mark }, out = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = tcp_frame, .data_size_in = sizeof tcp_frame, .repeat = 1,
		    .ctx_in = &in, .ctx_size_in = sizeof in, .ctx_out = &out, .ctx_size_out = sizeof out);

	assert_int_equal(bpf_prog_test_run_opts(plane->fd, &options), 0);
	return out.mark;
}

/* --- loading --------------------------------------------------------------------------------------------------- */

static void test_loads_with_any_needs(void **state)
{
	struct plane plane;

	(void)state;
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		struct plane_config config = config_of(hook);

		if (!plane_possible(hook))
			continue;
		open_plane(hook, &config, &plane);
		plane_close(&plane);
		config.needed = 0;
		config.trace = 1;
		config.malformed_accept = 1;
		open_plane(hook, &config, &plane);
		plane_close(&plane);
		for (int field = 0; field < FIELD_COUNT; field += 3) {
			config.needed = NEEDS(field);
			open_plane(hook, &config, &plane);
			plane_close(&plane);
		}
	}
}

/* --- parsing --------------------------------------------------------------------------------------------------- */

/* The model's view of a test run: all of it runs on loopback. */
static struct model_packet as_met(enum hook hook, const unsigned char *frame, size_t length, const struct packet *seen)
{
	struct model_packet in = { .data = frame, .length = length, .user = seen->user, .group = seen->group };

	if (hook == HOOK_NF_INPUT)
		in.in_iface = seen->in_iface; /* Linux 6.18's test run names the device as the outgoing one only */
	else if (hook_table[hook].direction == DIRECTION_INGRESS)
		in.in_iface = LOOPBACK;
	else
		in.out_iface = LOOPBACK;
	memcpy(in.cgroup, seen->cgroup, sizeof in.cgroup);
	if (!hook_table[hook].frames) {
		in.data += ETHER_SIZE;
		in.length -= ETHER_SIZE;
		in.ethertype = (uint16_t)get16(frame + 12);
	}
	return in;
}

static void compare_frame(enum hook hook, const struct plane *plane, const unsigned char *frame, size_t length)
{
	struct counter before = plane_counter(plane, SLOT_MALFORMED), after;
	struct model_packet in;
	struct model_fields model;
	struct packet seen;
	bool malformed;
	int field;

	if (run_frame(plane, frame, length) == NO_VERDICT)
		return;
	after = plane_counter(plane, SLOT_MALFORMED);
	malformed = after.packets != before.packets;
	seen = last_seen(plane);
	in = as_met(hook, frame, length, &seen);
	model_parse(hook, &in, &model);
	field = malformed ? -1 : packet_differs(hook, &seen, &model);
	if (malformed != model.malformed || field >= 0) {
		packet_dump(&in);
		fail_msg("%s: plane says %d, model %d, field %s", hook_table[hook].name, malformed, model.malformed,
			 field < 0 ? "none" : field_table[field].name);
	}
	if (malformed)
		assert_int_equal(after.bytes - before.bytes, in.length);
}

static void random_frames_at(enum hook hook)
{
	static unsigned char frame[PACKET_BYTES_MAX];
	static struct packet_source source;
	struct plane_config config = config_of(hook);
	struct plane plane;

	open_plane(hook, &config, &plane);
	packets_seed(&source, 7);
	for (int i = 0; i < RANDOM_FRAMES; i++) {
		size_t length = packets_next(&source, frame, sizeof frame);

		if (length >= ETHER_SIZE)
			compare_frame(hook, &plane, frame, length);
	}
	plane_close(&plane);
}

static void test_random_frames(void **state)
{
	(void)state;
	for_each_hook(random_frames_at);
}

/* A frame whose headers lie beyond the linear part, as drivers with page pools make them. */
static void test_frame_in_pieces(void **state)
{
	static unsigned char frame[9000];
	struct plane_config config = config_of(HOOK_XDP);
	struct xdp_md context = { .data_end = 20 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof frame, .repeat = 1,
		    .ctx_in = &context, .ctx_size_in = sizeof context);
	struct plane plane;

	(void)state;
	memcpy(frame, tcp_frame, sizeof tcp_frame);
	frame[16] = (sizeof frame - ETHER_SIZE) >> 8;
	frame[17] = (sizeof frame - ETHER_SIZE) & 255;
	open_plane(HOOK_XDP, &config, &plane);
	if (bpf_prog_test_run_opts(plane.fd, &options)) {
		context.data_end = sizeof frame; /* older kernels cut where a page ends, and only there */
		assert_int_equal(bpf_prog_test_run_opts(plane.fd, &options), 0);
	}
	assert_int_equal(options.retval, XDP_PASS);
	assert_int_equal(last_seen(&plane).length, sizeof frame - ETHER_SIZE);
	assert_int_equal(last_seen(&plane).dst_port, 80);
	assert_int_equal(plane_counter(&plane, SLOT_DEFAULT).bytes, sizeof frame);
	plane_close(&plane);
}

/* --- verdicts and counters ------------------------------------------------------------------------------------- */

static void test_verdicts(void **state)
{
	static const struct { enum hook hook; int accept, drop; } cases[] = {
		{ HOOK_XDP, XDP_PASS, XDP_DROP },
		{ HOOK_TC_INGRESS, TC_ACT_UNSPEC, TC_ACT_SHOT },
		{ HOOK_TC_EGRESS, TC_ACT_UNSPEC, TC_ACT_SHOT },
		{ HOOK_CGROUP_INGRESS, 1, 0 },
		{ HOOK_CGROUP_EGRESS, 1, 2 },
	};
	struct plane plane;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct plane_config config = config_of(cases[i].hook);
		size_t bytes = hook_table[cases[i].hook].frames ? sizeof tcp_frame : sizeof tcp_frame - ETHER_SIZE;

		open_plane(cases[i].hook, &config, &plane);
		set_answer(&plane, 0, ANSWER(ANSWER_ACCEPT, SLOT_RULE(1)));
		assert_int_equal(run_tcp(&plane), cases[i].accept);
		set_answer(&plane, 0, ANSWER(ANSWER_DROP, SLOT_RULE(2)));
		assert_int_equal(run_tcp(&plane), cases[i].drop);
		assert_int_equal(run_tcp(&plane), cases[i].drop);
		assert_int_equal(plane_counter(&plane, SLOT_RULE(1)).packets, 1);
		assert_int_equal(plane_counter(&plane, SLOT_RULE(2)).packets, 2);
		assert_int_equal(plane_counter(&plane, SLOT_RULE(2)).bytes, 2 * bytes);
		plane_close(&plane);
	}
}

static void test_senseless_answers_drop(void **state)
{
	static const __u32 answers[] = { ANSWER(ANSWER_ACCEPT, SLOTS), ANSWER(3, SLOT_DEFAULT), ANSWER_RUN(STEPS), ~0u };
	struct plane_config config = config_of(HOOK_XDP);
	struct plane plane;

	(void)state;
	open_plane(HOOK_XDP, &config, &plane);
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		set_answer(&plane, 0, answers[i]);
		assert_int_equal(run_tcp(&plane), XDP_DROP);
		assert_int_equal(plane_counter(&plane, SLOT_MALFORMED).packets, i + 1);
	}
	plane_close(&plane);
}

/* The last chunk has more counters than there are slots: what is beyond them is none. */
static void test_chunks_of_counters(void **state)
{
	static const __u32 slots[] = { SLOT_RULE(1), 2047, 2048, 4999 };
	struct plane_config config = config_of(HOOK_XDP);
	struct plane plane;

	(void)state;
	config.slots = 5000;
	config.chunk_bits = COUNTER_CHUNK_BITS_MAX;
	open_plane(HOOK_XDP, &config, &plane);
	for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
		set_answer(&plane, 0, ANSWER(ANSWER_ACCEPT, slots[i]));
		assert_int_equal(run_tcp(&plane), XDP_PASS);
		assert_int_equal(plane_counter(&plane, slots[i]).packets, 1);
		assert_int_equal(plane_counter(&plane, slots[i]).bytes, sizeof tcp_frame);
	}
	set_answer(&plane, 0, ANSWER(ANSWER_ACCEPT, 5000));
	assert_int_equal(run_tcp(&plane), XDP_DROP);
	assert_int_equal(plane_counter(&plane, SLOT_MALFORMED).packets, 1);
	for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
		assert_int_equal(plane_counter(&plane, slots[i]).packets, 1);
	plane_close(&plane);
}

static void test_malformed_accept(void **state)
{
	struct plane_config config = config_of(HOOK_XDP);
	unsigned char frame[sizeof tcp_frame];
	struct plane plane;

	(void)state;
	memcpy(frame, tcp_frame, sizeof frame);
	frame[14] = 0x44;
	for (int accept = 0; accept < 2; accept++) {
		config.malformed_accept = accept;
		open_plane(HOOK_XDP, &config, &plane);
		assert_int_equal(run_frame(&plane, frame, sizeof frame), accept ? XDP_PASS : XDP_DROP);
		assert_int_equal(plane_counter(&plane, SLOT_MALFORMED).packets, 1);
		plane_close(&plane);
	}
}

/* --- steps ----------------------------------------------------------------------------------------------------- */

static void test_steps_at(enum hook hook)
{
	struct plane_config config = config_of(hook);
	struct plane_trace trace;
	struct plane plane;
	__u32 zero = 0;

	config.trace = 1;
	open_plane(hook, &config, &plane);
	set_answer(&plane, 0, ANSWER_RUN(0));
	set_answer(&plane, 5, ANSWER_RUN(3));
	set_step(&plane, 0, (struct step){ STEP_COUNT, SLOT_RULE(1), 0, 0 });
	set_step(&plane, 1, (struct step){ STEP_MARK, 0, 0x1234, 0xff });
	set_step(&plane, 2, (struct step){ STEP_RESUME, 0, 5, 0 });
	set_step(&plane, 3, (struct step){ STEP_COUNT, SLOT_RULE(2), 0, 0 });
	set_step(&plane, 4, (struct step){ STEP_VERDICT, SLOT_RULE(3), ANSWER_DROP, 0 });
	run_tcp(&plane);
	for (int rule = 1; rule <= 3; rule++)
		assert_int_equal(plane_counter(&plane, SLOT_RULE(rule)).packets, 1);
	assert_int_equal(last_seen(&plane).resume, 5);
	assert_int_equal(last_seen(&plane).mark, 0); /* as it came: what rules test */
	assert_int_equal(bpf_map_lookup_elem(plane_map(&plane, "trace"), &zero, &trace), 0);
	assert_int_equal(trace.verdict, ANSWER_DROP);
	assert_int_equal(trace.slot, SLOT_RULE(3));
	assert_int_equal(trace.runs, 1);
	if (hook_table[hook].mark)
		assert_int_equal(mark_behind(&plane, 0xff00), 0xff34);
	plane_close(&plane);
}

static void test_steps(void **state)
{
	(void)state;
	for_each_hook(test_steps_at);
}

static void test_endless_steps_drop(void **state)
{
	struct plane_config config = config_of(HOOK_XDP);
	struct plane plane;

	(void)state;
	open_plane(HOOK_XDP, &config, &plane);
	set_answer(&plane, 0, ANSWER_RUN(0));
	set_step(&plane, 0, (struct step){ STEP_COUNT, SLOT_RULE(1), 0, 0 });
	set_step(&plane, 1, (struct step){ STEP_RESUME, 0, 0, 0 });
	assert_int_equal(run_tcp(&plane), XDP_DROP);
	assert_int_equal(plane_counter(&plane, SLOT_RULE(1)).packets, STEPS_MAX / 2);
	assert_int_equal(plane_counter(&plane, SLOT_MALFORMED).packets, 1);
	plane_close(&plane);
}

/* --- events ---------------------------------------------------------------------------------------------------- */

struct taken {
	struct event last;
	unsigned count;
};

static int take_event(void *context, void *data, size_t size)
{
	struct taken *taken = context;

	assert_int_equal(size, sizeof taken->last);
	memcpy(&taken->last, data, sizeof taken->last);
	taken->count++;
	return 0;
}

static void test_log_at(enum hook hook)
{
	struct plane_config config = config_of(hook);
	bool frames = hook_table[hook].frames;
	size_t skipped = frames ? 0 : ETHER_SIZE;
	struct taken taken = { .count = 0 };
	struct ring_buffer *ring;
	struct plane plane;

	open_plane(hook, &config, &plane);
	set_answer(&plane, 0, ANSWER_RUN(0));
	set_step(&plane, 0, (struct step){ STEP_LOG, SLOT_RULE(2), 0, ANSWER_DROP });
	set_step(&plane, 1, (struct step){ STEP_VERDICT, SLOT_RULE(2), ANSWER_DROP, 0 });
	ring = ring_buffer__new(plane_map(&plane, "events"), take_event, &taken, NULL);
	assert_non_null(ring);
	run_tcp(&plane);
	assert_int_equal(ring_buffer__consume(ring), 1);
	assert_int_equal(taken.last.rule, 2);
	assert_int_equal(taken.last.verdict, ANSWER_DROP);
	assert_int_equal(taken.last.hook, hook);
	assert_int_equal(taken.last.frame, frames);
	assert_int_equal(taken.last.length, sizeof tcp_frame - skipped);
	assert_int_equal(taken.last.captured, sizeof tcp_frame - skipped);
	assert_memory_equal(taken.last.data, tcp_frame + skipped, sizeof tcp_frame - skipped);
	assert_int_equal(taken.last.in_iface + taken.last.out_iface, LOOPBACK);
	ring_buffer__free(ring);
	plane_close(&plane);
}

static void test_log(void **state)
{
	(void)state;
	for_each_hook(test_log_at);
}

static void test_log_limit(void **state)
{
	struct log_limit limit = { .period_ns = 3600000000000, .burst_ns = 5 * 3600000000000 };
	struct plane_config config = config_of(HOOK_XDP);
	struct taken taken = { .count = 0 };
	struct ring_buffer *ring;
	struct plane plane;
	__u32 zero = 0;

	(void)state;
	open_plane(HOOK_XDP, &config, &plane);
	bpf_map_update_elem(plane_map(&plane, "logs"), &zero, &limit, 0);
	set_answer(&plane, 0, ANSWER_RUN(0));
	set_step(&plane, 0, (struct step){ STEP_LOG, SLOT_RULE(1), 0, LOG_ONLY });
	set_step(&plane, 1, (struct step){ STEP_VERDICT, SLOT_DEFAULT, ANSWER_ACCEPT, 0 });
	ring = ring_buffer__new(plane_map(&plane, "events"), take_event, &taken, NULL);
	for (int i = 0; i < 20; i++)
		assert_int_equal(run_tcp(&plane), XDP_PASS);
	ring_buffer__consume(ring);
	assert_int_equal(taken.count, 5);
	assert_int_equal(bpf_map_lookup_elem(plane_map(&plane, "logs"), &zero, &limit), 0);
	assert_int_equal(limit.suppressed, 15);
	ring_buffer__free(ring);
	plane_close(&plane);
}

static void test_lost_events_are_counted(void **state)
{
	struct plane_config config = config_of(HOOK_XDP);
	const unsigned runs = 4000, fits = (1 << 18) / (sizeof(struct event) + 8);
	struct plane_status status;
	struct plane plane;
	__u32 zero = 0;

	(void)state;
	open_plane(HOOK_XDP, &config, &plane);
	set_answer(&plane, 0, ANSWER_RUN(0));
	set_step(&plane, 0, (struct step){ STEP_LOG, SLOT_RULE(1), 0, LOG_ONLY });
	set_step(&plane, 1, (struct step){ STEP_VERDICT, SLOT_DEFAULT, ANSWER_ACCEPT, 0 });
	for (unsigned i = 0; i < runs; i++)
		run_tcp(&plane);
	assert_int_equal(bpf_map_lookup_elem(plane_map(&plane, "status"), &zero, &status), 0);
	assert_in_range(status.events_lost, runs - fits - 1, runs - fits + 1);
	plane_close(&plane);
}

/* --- captures --------------------------------------------------------------------------------------------------- */

struct captured {
	union {
		struct event event;
		unsigned char bytes[sizeof(struct event) + CAPTURE_BYTES_MAX];
	} last;
	unsigned count;
};

static int take_capture(void *context, void *data, size_t size)
{
	struct captured *captured = context;

	assert_in_range(size, sizeof(struct event), sizeof captured->last);
	memcpy(&captured->last, data, size);
	assert_true(captured->last.event.captured <= size - offsetof(struct event, data));
	captured->count++;
	return 0;
}

/* A UDP packet of `length` bytes, link-layer header included, that go on counting. */
static void make_frame(unsigned char *frame, size_t length)
{
	size_t ip = length - ETHER_SIZE, udp = ip - 20;

	for (size_t i = sizeof tcp_frame; i < length; i++)
		frame[i] = (unsigned char)i;
	memcpy(frame, tcp_frame, sizeof tcp_frame);
	frame[16] = (unsigned char)(ip >> 8);
	frame[17] = (unsigned char)ip;
	frame[23] = 17;
	frame[38] = (unsigned char)(udp >> 8);
	frame[39] = (unsigned char)udp;
}

static void expect_capture(const struct plane *plane, struct ring_buffer *ring, struct captured *captured,
			   enum hook hook, size_t length, __u32 snap)
{
	size_t skipped = hook_table[hook].frames ? 0 : ETHER_SIZE, whole = length - skipped;
	const struct event *event = &captured->last.event;
	static unsigned char frame[CAPTURE_BYTES_MAX];
	__u32 number = captured->count;

	make_frame(frame, length);
	set_step(plane, 0, (struct step){ STEP_CAPTURE, SLOT_RULE(2), snap, ANSWER_DROP });
	if (run_frame(plane, frame, length) == NO_VERDICT)
		return; /* as long as that */
	assert_int_equal(ring_buffer__consume(ring), 1);
	assert_int_equal(event->rule, 2);
	assert_int_equal(event->log, number);
	assert_int_equal(event->verdict, ANSWER_DROP);
	assert_int_equal(event->hook, hook);
	assert_int_equal(event->length, whole);
	assert_int_equal(event->captured, snap && snap < whole ? snap : whole);
	assert_memory_equal(event->data, frame + skipped, event->captured);
	assert_int_equal(event->in_iface + event->out_iface, LOOPBACK);
}

static void capture_config(struct plane_config *config, enum hook hook)
{
	*config = config_of(hook);
	config->captures = 1;
}

static void test_capture_at(enum hook hook)
{
	static const size_t lengths[] = { 60, 127, 128, 129, 142, 143, 512, 513, 1514, 2000, 3000, 9000, 20000, 60000 };
	static const __u32 snaps[] = { 0, 1, 14, 128, 129, 1000, 65535 };
	struct captured *captured = calloc(1, sizeof *captured);
	struct plane_config config;
	struct ring_buffer *ring;
	struct plane plane;

	capture_config(&config, hook);
	open_plane(hook, &config, &plane);
	set_answer(&plane, 0, ANSWER_RUN(0));
	set_step(&plane, 1, (struct step){ STEP_VERDICT, SLOT_RULE(2), ANSWER_DROP, 0 });
	ring = ring_buffer__new(plane_map(&plane, "captures"), take_capture, captured, NULL);
	assert_non_null(ring);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		for (size_t j = 0; j < sizeof snaps / sizeof *snaps; j++)
			expect_capture(&plane, ring, captured, hook, lengths[i], snaps[j]);
	assert_true(captured->count >= 10 * sizeof snaps / sizeof *snaps);
	ring_buffer__free(ring);
	plane_close(&plane);
	free(captured);
}

static void test_capture(void **state)
{
	(void)state;
	for_each_hook(test_capture_at);
}

static void test_lost_captures_are_counted(void **state)
{
	const unsigned runs = 4000;
	struct captured *captured = calloc(1, sizeof *captured);
	struct plane_config config;
	struct plane_status status;
	struct ring_buffer *ring;
	struct plane plane;
	__u32 zero = 0;

	(void)state;
	capture_config(&config, HOOK_XDP);
	open_plane(HOOK_XDP, &config, &plane);
	set_answer(&plane, 0, ANSWER_RUN(0));
	set_step(&plane, 0, (struct step){ STEP_CAPTURE, SLOT_RULE(1), 0, LOG_ONLY });
	set_step(&plane, 1, (struct step){ STEP_VERDICT, SLOT_DEFAULT, ANSWER_ACCEPT, 0 });
	for (unsigned i = 0; i < runs; i++)
		assert_int_equal(run_tcp(&plane), XDP_PASS);
	ring = ring_buffer__new(plane_map(&plane, "captures"), take_capture, captured, NULL);
	assert_non_null(ring);
	ring_buffer__consume(ring);
	assert_int_equal(bpf_map_lookup_elem(plane_map(&plane, "status"), &zero, &status), 0);
	assert_true(captured->count > 0 && status.captures_lost > 0);
	assert_int_equal(status.captures, captured->count);
	assert_int_equal(status.captures + status.captures_lost, runs);
	assert_int_equal(status.events_lost, 0);
	ring_buffer__free(ring);
	plane_close(&plane);
	free(captured);
}

/* --- whose turn it is ------------------------------------------------------------------------------------------ */

static void set_word(const struct plane *plane, const char *map, __u64 value)
{
	__u32 zero = 0;

	assert_int_equal(bpf_map_update_elem(plane_map(plane, map), &zero, &value, 0), 0);
}

static void set_program(const struct plane *plane, const char *map, const struct plane *target)
{
	__u32 zero = 0;

	assert_int_equal(bpf_map_update_elem(plane_map(plane, map), &zero, &target->fd, 0), 0);
}

static void test_epochs_at(enum hook hook)
{
	struct plane_config config = config_of(hook);
	struct plane old, new;
	int pass, drop;

	open_plane(hook, &config, &old);
	config.since = 10;
	open_plane(hook, &config, &new);
	set_answer(&old, 0, ANSWER(ANSWER_DROP, SLOT_DEFAULT));
	drop = run_tcp(&old);
	set_word(&new, MAP_EPOCH, 9);
	pass = run_tcp(&new); /* nobody before it */
	assert_int_not_equal(pass, drop);
	assert_int_equal(plane_counter(&new, SLOT_DEFAULT).packets, 0);
	set_program(&new, "before", &old);
	assert_int_equal(run_tcp(&new), drop);
	assert_int_equal(plane_counter(&old, SLOT_DEFAULT).packets, 2);
	set_word(&new, MAP_EPOCH, 10);
	assert_int_equal(run_tcp(&new), pass);
	assert_int_equal(plane_counter(&new, SLOT_DEFAULT).packets, 1);
	set_answer(&new, 0, ANSWER(ANSWER_DROP, SLOT_DEFAULT));
	set_word(&new, MAP_CONTROL, 10);
	assert_int_equal(run_tcp(&new), pass);
	assert_int_equal(plane_counter(&new, SLOT_DEFAULT).packets, 1);
	plane_close(&new);
	plane_close(&old);
}

static void test_epochs(void **state)
{
	(void)state;
	for_each_hook(test_epochs_at);
}

/* XDP: policies one behind the other; each abstains on its own. */
static void test_chain(void **state)
{
	struct plane_config config = config_of(HOOK_XDP);
	struct plane first, second;

	(void)state;
	open_plane(HOOK_XDP, &config, &first);
	open_plane(HOOK_XDP, &config, &second);
	set_program(&first, "after", &second);
	set_answer(&second, 0, ANSWER(ANSWER_DROP, SLOT_DEFAULT));
	assert_int_equal(run_tcp(&first), XDP_DROP);
	assert_int_equal(plane_counter(&first, SLOT_DEFAULT).packets, 1);
	set_word(&first, MAP_CONTROL, 0);
	assert_int_equal(run_tcp(&first), XDP_DROP);
	assert_int_equal(plane_counter(&first, SLOT_DEFAULT).packets, 1);
	assert_int_equal(plane_counter(&second, SLOT_DEFAULT).packets, 2);
	plane_close(&second);
	plane_close(&first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads_with_any_needs),
		cmocka_unit_test(test_random_frames),
		cmocka_unit_test(test_frame_in_pieces),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_senseless_answers_drop),
		cmocka_unit_test(test_chunks_of_counters),
		cmocka_unit_test(test_malformed_accept),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_endless_steps_drop),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_log_limit),
		cmocka_unit_test(test_lost_events_are_counted),
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_lost_captures_are_counted),
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_chain),
	};

	if (geteuid()) {
		printf("1..0 # SKIP loading programs needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
