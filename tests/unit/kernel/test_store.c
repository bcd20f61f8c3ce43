/* SPDX-License-Identifier: GPL-2.0-only */
/* The loader against the running kernel: every hook, replacement, chains, sets, events, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <cmocka.h>

#include "world.h"

static struct world world;
static bool there;

#define NEED_WORLD() do { if (!there) skip(); } while (0)

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void apply_one(struct policy *policy)
{
	double start = now_ms();
	int error = world_apply(&world, &policy->install, 1, NULL, 0, 0);

	if (error)
		world_print_diags(&world);
	assert_int_equal(error, 0);
	print_message("# apply took %.1f ms\n", now_ms() - start);
}

static void remove_all(const char *const *names, size_t count)
{
	int error = world_apply(&world, NULL, 0, names, count, 0);

	if (error)
		world_print_diags(&world);
	assert_int_equal(error, 0);
	assert_int_equal(world_pins(&world), 0);
}

static void remove_one(const char *name)
{
	remove_all(&name, 1);
}

/* Each hook by itself: A drops, B replaces it, counts carry over, nothing is left. */
static void judge_at(enum hook hook, const char *target)
{
	struct policy a, b;
	struct policy_state state;

	print_message("# %s\n", hook_table[hook].name);
	policy_make(&a, &world, "p", 0);
	policy_make(&b, &world, "p", 1);
	policy_hook(&a, hook, target);
	policy_hook(&b, hook, target);
	assert_true(world_udp(7001));
	apply_one(&a);
	assert_false(world_udp(7001));
	assert_true(world_udp(7002));
	state = world_state(&world, "p");
	assert_int_equal(state.hook_count, 1);
	assert_true(state.hooks[0].attached);
	print_message("# attached as %s\n", state.hooks[0].how);
	assert_int_equal(state.counters[SLOT_RULE(1)].packets, 1);
	apply_one(&b);
	assert_true(world_udp(7001));
	assert_false(world_udp(7002));
	state = world_state(&world, "p");
	assert_int_equal(state.counters[SLOT_RULE(1)].packets, 2);
	remove_one("p");
	assert_true(world_udp(7002));
}

static void every_hook(void **unused)
{
	static const struct { enum hook hook; const char *target;
	} places[] = {
		{HOOK_XDP, "lo"},
		{HOOK_TC_INGRESS, "lo"},
		{HOOK_TC_EGRESS, "lo"},
		{HOOK_CGROUP_INGRESS, NULL},
		{HOOK_CGROUP_EGRESS, NULL},
		{HOOK_NF_PREROUTING, NULL},
		{HOOK_NF_INPUT, NULL},
		{HOOK_NF_OUTPUT, NULL},
		{HOOK_NF_POSTROUTING, NULL},
	};

	(void)unused;
	NEED_WORLD();
	for (size_t i = 0; i < sizeof places / sizeof *places; i++)
		judge_at(places[i].hook, hook_table[places[i].hook].target == TARGET_CGROUP ? world.cgroup :
											   places[i].target);
}

static void clsact(void **unused)
{
	(void)unused;
	NEED_WORLD();
	setenv("WEIR_TEST_CLSACT", "1", 1);
	judge_at(HOOK_TC_INGRESS, "lo");
	judge_at(HOOK_TC_EGRESS, "lo");
	unsetenv("WEIR_TEST_CLSACT");
}

static void four_hooks_at_once(void **unused)
{
	struct policy a;

	(void)unused;
	NEED_WORLD();
	policy_make(&a, &world, "p", 0);
	policy_hook(&a, HOOK_XDP, "v*");
	policy_hook(&a, HOOK_TC_INGRESS, "lo");
	policy_hook(&a, HOOK_CGROUP_EGRESS, world.cgroup);
	policy_hook(&a, HOOK_NF_INPUT, NULL);
	apply_one(&a);
	apply_one(&a);
	assert_int_equal(world_state(&world, "p").hook_count, 5);
	remove_one("p");
}

static void policies_follow_each_other_at_xdp(void **unused)
{
	static const char *const names[] = { "first", "second" };
	struct policy a, b, first_b;

	(void)unused;
	NEED_WORLD();
	policy_make(&a, &world, "first", 0);
	policy_make(&b, &world, "second", 1);
	policy_make(&first_b, &world, "first", 1);
	policy_hook(&a, HOOK_XDP, "lo");
	policy_hook(&b, HOOK_XDP, "lo");
	policy_hook(&first_b, HOOK_XDP, "lo");
	apply_one(&a);
	apply_one(&b);
	assert_false(world_udp(7001));
	assert_false(world_udp(7002));
	apply_one(&first_b);
	assert_true(world_udp(7001));
	assert_false(world_udp(7002));
	/* The first is still before the second, whose counter therefore stands still. */
	assert_int_equal(world_state(&world, "second").counters[SLOT_RULE(1)].packets, 1);
	assert_int_equal(world_state(&world, "first").counters[SLOT_RULE(1)].packets, 2);
	apply_one(&a);
	assert_int_equal(world_apply(&world, NULL, 0, names, 1, 0), 0);
	assert_true(world_udp(7001));
	assert_false(world_udp(7002));
	apply_one(&a);
	assert_int_equal(world_apply(&world, NULL, 0, names + 1, 1, 0), 0);
	assert_false(world_udp(7001));
	assert_true(world_udp(7002));
	remove_one("first");
}

static void many_replacements(void **unused)
{
	struct policy policies[2];

	(void)unused;
	NEED_WORLD();
	for (int i = 0; i < 2; i++) {
		policy_make(&policies[i], &world, "p", i);
		policy_hook(&policies[i], HOOK_NF_INPUT, NULL);
	}
	for (int i = 0; i < 70; i++)
		assert_int_equal(world_apply(&world, &policies[i % 2].install, 1, NULL, 0, 0), 0);
	assert_true(world_udp(7001));
	assert_false(world_udp(7002));
	remove_one("p");
}

static struct kernel *open_store(enum kernel_access access)
{
	struct kernel *kernel;

	assert_int_equal(kernel_open(access, world.diags, &kernel), 0);
	return kernel;
}

static size_t set_size(void)
{
	struct kernel *kernel = open_store(KERNEL_READ);
	struct set_listing listing;

	assert_int_equal(kernel_set_list(kernel, world.arena, "p", "blocked", world.diags, &listing), 0);
	kernel_close(kernel);
	return listing.count;
}

static int change_set(enum set_change change, uint32_t lo, uint32_t hi)
{
	const struct range range = { lo, hi };
	const struct install_set set = { .name = "blocked", .elements = &range, .count = 1 };
	struct kernel *kernel = open_store(KERNEL_WRITE);
	int error = kernel_set_change(kernel, "p", change, &set, 1, world.diags);

	kernel_close(kernel);
	return error;
}

static void sets_change_at_run_time(void **unused)
{
	struct policy a;

	(void)unused;
	NEED_WORLD();
	policy_make(&a, &world, "p", 0);
	policy_hook(&a, HOOK_TC_INGRESS, "lo");
	apply_one(&a);
	assert_int_equal(set_size(), 2);
	assert_true(world_udp(7003));
	assert_int_equal(change_set(SET_ADD, 0x7f000001, 0x7f000001), 0);
	assert_false(world_udp(7003));
	apply_one(&a);
	assert_false(world_udp(7003));
	assert_int_equal(set_size(), 3);
	assert_int_equal(change_set(SET_DELETE, 0x0b000001, 0x0b000001), -ENOENT);
	assert_int_equal(change_set(SET_ADD, 0x0b000000, 0x0b00000e), -ENOSPC);
	assert_int_equal(set_size(), 3);
	assert_int_equal(change_set(SET_REPLACE, 0x0c000000, 0x0c00000f), 0);
	assert_int_equal(set_size(), 16);
	assert_true(world_udp(7003));
	assert_int_equal(change_set(SET_FLUSH, 0, 0), 0);
	assert_int_equal(set_size(), 0);
	assert_int_equal(change_set(SET_ADD, 0x7f000001, 0x7f000001), 0);
	assert_int_equal(world_apply(&world, &a.install, 1, NULL, 0, APPLY_RESET_SETS), 0);
	assert_int_equal(set_size(), 2);
	assert_true(world_udp(7003));
	remove_one("p");
}

static void shared_sets_are_one(void **unused)
{
	static const char *const names[] = { "p", "q" };
	struct policy a, b;

	(void)unused;
	NEED_WORLD();
	policy_make(&a, &world, "p", 0);
	policy_make(&b, &world, "q", 1);
	a.sets[0].shared = b.sets[0].shared = true;
	policy_hook(&a, HOOK_TC_INGRESS, "lo");
	policy_hook(&b, HOOK_CGROUP_EGRESS, world.cgroup);
	apply_one(&a);
	apply_one(&b);
	assert_int_equal(change_set(SET_ADD, 0x7f000001, 0x7f000001), 0);
	assert_false(world_udp(7003));
	assert_int_equal(world_state(&world, "q").counters[SLOT_RULE(2)].packets, 1);
	a.elements[0] = (struct range){ 0x0a000001, 0x0a000005 };
	apply_one(&a);
	assert_int_equal(set_size(), 6);
	remove_all(names, 2);
}

/* --- state maps ------------------------------------------------------------------------------------------------- */

/* Packets that the policy's state map remembers; -ENOENT: there is no such map. */
static int64_t remembered(const char *policy, bool shared)
{
	char path[200];
	const uint32_t port = 7200;
	uint64_t seen = 0;
	int fd;

	snprintf(path, sizeof path, "%s/weir/%s/%s-seen-1", world.folder, policy, shared ? "shared" : "state");
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	bpf_map_lookup_elem(fd, &port, &seen);
	close(fd);
	return (int64_t)seen;
}

static void remember(struct policy *policy, const char *name, int classifier, uint32_t max, bool shared)
{
	policy_make(policy, &world, name, classifier);
	policy_hook(policy, HOOK_TC_INGRESS, "lo");
	policy->states[0].max_elements = max;
	policy->states[0].shared = shared;
}

static void state_outlives_replacements(void **unused)
{
	static const char *const gone[] = { "keeper" };
	struct policy policy;

	(void)unused;
	NEED_WORLD();
	remember(&policy, "keeper", 0, 64, false);
	policy_hook(&policy, HOOK_TC_EGRESS, "lo"); /* both hooks share the map: two a packet */
	assert_int_equal(world_apply(&world, &policy.install, 1, NULL, 0, 0), 0);
	assert_true(world_udp(7200));
	assert_int_equal(remembered("keeper", false), 2);
	remember(&policy, "keeper", 1, 64, false);
	assert_int_equal(world_apply(&world, &policy.install, 1, NULL, 0, 0), 0);
	assert_int_equal(remembered("keeper", false), 2);
	assert_true(world_udp(7200));
	assert_int_equal(remembered("keeper", false), 3);
	remember(&policy, "keeper", 0, 100, false); /* another map, with what the first one held */
	assert_int_equal(world_apply(&world, &policy.install, 1, NULL, 0, 0), 0);
	assert_int_equal(remembered("keeper", false), 3);
	policy.states[0].layout = 2; /* nothing that could be taken over */
	assert_int_equal(world_apply(&world, &policy.install, 1, NULL, 0, 0), 0);
	assert_int_equal(remembered("keeper", false), -ENOENT);
	assert_int_equal(world_apply(&world, NULL, 0, gone, 1, 0), 0);
	assert_int_equal(world_pins(&world), 0);
}

static void shared_state_is_one(void **unused)
{
	static const char *const gone[] = { "one", "two" };
	struct policy one, two, other;
	struct install both[2];

	(void)unused;
	NEED_WORLD();
	remember(&one, "one", 0, 64, true);
	remember(&two, "two", 1, 64, true);
	remember(&other, "other", 1, 32, true);
	both[0] = one.install;
	both[1] = two.install;
	assert_int_equal(world_apply(&world, both, 2, NULL, 0, 0), 0);
	assert_true(world_udp(7200));
	assert_int_equal(remembered("one", true), 2);
	assert_int_equal(remembered("two", true), 2);
	assert_int_equal(world_apply(&world, &other.install, 1, NULL, 0, 0), -EBUSY);
	assert_int_equal(world_apply(&world, NULL, 0, gone, 1, 0), 0);
	assert_int_equal(remembered("two", true), 2);
	assert_int_equal(world_apply(&world, NULL, 0, gone + 1, 1, 0), 0);
	assert_int_equal(world_pins(&world), 0);
}

static void events_come_through(void **unused)
{
	struct policy a;
	struct kernel *kernel;
	struct kernel_events *events, *others;
	struct event event;
	struct event_origin origin;
	uint32_t generations[2];

	(void)unused;
	NEED_WORLD();
	policy_make(&a, &world, "p", 0);
	policy_hook(&a, HOOK_TC_INGRESS, "lo");
	apply_one(&a);
	kernel = open_store(KERNEL_READ);
	assert_int_equal(kernel_events_open(kernel, NULL, world.diags, &events), 0);
	assert_int_equal(kernel_events_open(kernel, "p", world.diags, &others), 0);
	assert_false(world_udp(7100));
	apply_one(&a);
	assert_false(world_udp(7100));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kernel_events_next(events, 1000, &event, &origin), 1);
		assert_string_equal(origin.policy, "p");
		generations[i] = origin.generation;
		assert_int_equal(event.rule, 3);
		assert_int_equal(event.hook, HOOK_TC_INGRESS);
		assert_int_equal(kernel_events_next(others, 1000, &event, &origin), 1);
	}
	assert_int_not_equal(generations[0], generations[1]);
	assert_int_equal(kernel_events_next(events, 10, &event, &origin), 0);
	assert_int_equal(kernel_events_lost(events), 0);
	kernel_events_close(events);
	kernel_events_close(others);
	kernel_close(kernel);
	remove_one("p");
}

static void refusals_leave_all_as_it_was(void **unused)
{
	struct policy a, bad;
	unsigned before;

	(void)unused;
	NEED_WORLD();
	policy_make(&a, &world, "p", 0);
	policy_hook(&a, HOOK_TC_INGRESS, "lo");
	apply_one(&a);
	before = world_pins(&world);
	policy_make(&bad, &world, "p", 1);
	policy_hook(&bad, HOOK_TC_INGRESS, "lo");
	policy_hook(&bad, HOOK_TC_INGRESS, "nosuch0");
	assert_int_equal(world_apply(&world, &bad.install, 1, NULL, 0, 0), -ENODEV);
	world_print_diags(&world);
	bad.hooks[1].hook = HOOK_CGROUP_EGRESS;
	bad.hooks[1].target = "/no/such";
	assert_int_equal(world_apply(&world, &bad.install, 1, NULL, 0, 0), -ENOENT);
	world_print_diags(&world);
	assert_int_equal(system("ip link set dev vb xdpgeneric off"), 0);
	bad.hooks[1].hook = HOOK_XDP;
	bad.hooks[1].target = "lo";
	bad.hooks[1].xdp_mode = XDP_NATIVE;
	assert_true(world_apply(&world, &bad.install, 1, NULL, 0, 0) < 0);
	world_print_diags(&world);
	bad.hooks[1].classifier_size = 100;
	assert_true(world_apply(&world, &bad.install, 1, NULL, 0, 0) < 0);
	world_print_diags(&world);
	assert_int_equal(world_apply(&world, &a.install, 1, NULL, 0, APPLY_DRY_RUN), 0);
	assert_int_equal(world_pins(&world), before);
	assert_false(world_udp(7001));
	assert_true(world_udp(7002));
	remove_one("p");
}

static void verifier_refuses_in_words(void **unused)
{
	const struct diag *diag;
	struct policy broken;

	(void)unused;
	NEED_WORLD();
	policy_make(&broken, &world, "p", 2);
	policy_hook(&broken, HOOK_CGROUP_EGRESS, world.cgroup);
	assert_true(world_apply(&world, &broken.install, 1, NULL, 0, 0) < 0);
	world_print_diags(&world);
	assert_int_equal(world.diags->errors, 1);
	diag = &world.diags->list.items[0];
	assert_non_null(strstr(diag->text, "verifier"));
	assert_non_null(strstr(diag->hint, "the verifier refuses this line"));
	assert_int_equal(world_pins(&world), 0);
}

static void counters_reset(void **unused)
{
	struct policy a;
	struct kernel *kernel;

	(void)unused;
	NEED_WORLD();
	policy_make(&a, &world, "p", 0);
	policy_hook(&a, HOOK_TC_INGRESS, "lo");
	apply_one(&a);
	world_udp(7001);
	kernel = open_store(KERNEL_WRITE);
	assert_int_equal(kernel_counters_reset(kernel, "p", world.diags), 0);
	kernel_close(kernel);
	assert_int_equal(world_state(&world, "p").counters[SLOT_RULE(1)].packets, 0);
	world_udp(7001);
	assert_int_equal(world_state(&world, "p").counters[SLOT_RULE(1)].packets, 1);
	remove_one("p");
}

static void frame_to(uint16_t port, uint8_t *frame)
{
	static const uint8_t head[] = {2, 0, 0, 0, 0,  1,  2, 0, 0,   0, 0, 2, 8,   0, 0x45, 0, 0, 32,
				       0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2,    2, 0, 99};

	memset(frame, 0, 60);
	memcpy(frame, head, sizeof head);
	frame[36] = (uint8_t)(port >> 8);
	frame[37] = (uint8_t)port;
	frame[39] = 12;
}

static void test_runs(void **unused)
{
	uint8_t frame[5000] = { 0 };
	struct plane_trace trace;

	(void)unused;
	NEED_WORLD();
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		struct kernel *kernel = open_store(KERNEL_TEST);
		struct kernel_tester *tester;
		struct policy a;
		struct counter counters[WORLD_SLOTS];

		policy_make(&a, &world, "p", 0);
		policy_hook(&a, (enum hook)hook, NULL);
		if (kernel_tester_new(kernel, &a.install, world.diags, &tester)) {
			world_print_diags(&world);
			fail();
		}
		frame_to(7001, frame);
		assert_int_equal(kernel_tester_run(tester, frame, 60, &trace), 0);
		assert_int_equal(trace.verdict, ANSWER_DROP);
		assert_int_equal(trace.slot, SLOT_RULE(1));
		frame_to(7002, frame);
		assert_int_equal(kernel_tester_run(tester, frame, 60, &trace), 0);
		assert_int_equal(trace.slot, SLOT_DEFAULT);
		assert_int_equal(kernel_tester_run(tester, frame, 5000, &trace), 0);
		assert_int_equal(trace.slot, SLOT_DEFAULT);
		assert_int_equal(kernel_tester_run(tester, frame, 30, &trace), 0);
		assert_int_equal(trace.slot, SLOT_MALFORMED);
		assert_int_equal(kernel_tester_run(tester, frame, 5, &trace), 0);
		assert_int_equal(trace.slot, SLOT_MALFORMED);
		assert_int_equal(kernel_tester_counters(tester, counters, WORLD_SLOTS), 0);
		assert_int_equal(counters[SLOT_MALFORMED].packets, 2);
		assert_int_equal(counters[SLOT_DEFAULT].packets, 2);
		kernel_tester_free(tester);
		kernel_close(kernel);
	}
}

static void benches(void **unused)
{
	uint8_t frame[60];
	const struct bench_frame frames[] = { { frame, sizeof frame } };

	(void)unused;
	NEED_WORLD();
	frame_to(7003, frame);
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		struct kernel *kernel = open_store(KERNEL_TEST);
		struct bench_result result;
		struct policy a;
		int error;

		policy_make(&a, &world, "p", 0);
		policy_hook(&a, (enum hook)hook, NULL);
		error = kernel_bench(kernel, &a.install, frames, 1, 3, 0, world.diags, &result);
		if ((hook >= HOOK_NF_PREROUTING && hook <= HOOK_NF_POSTROUTING) || hook_table[hook].call)
			assert_int_equal(error, -EOPNOTSUPP); /* the kernel has no test run there */
		else
			assert_int_equal(error, 0);
		if (!error)
			print_message("# %s: %.1f ns, empty %.1f\n", hook_table[hook].name, result.ns,
				      result.empty_ns);
		kernel_close(kernel);
	}
}

static void features(void **unused)
{
	const struct kernel_feature *list;
	struct kernel *kernel;
	size_t count;

	(void)unused;
	NEED_WORLD();
	kernel = open_store(KERNEL_TEST);
	assert_int_equal(kernel_features(kernel, world.arena, &list, &count), 0);
	for (size_t i = 0; i < count; i++)
		print_message("# %s: %s\n", list[i].name, list[i].there ? "yes" : "no");
	kernel_close(kernel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_hook),
		cmocka_unit_test(clsact),
		cmocka_unit_test(four_hooks_at_once),
		cmocka_unit_test(policies_follow_each_other_at_xdp),
		cmocka_unit_test(many_replacements),
		cmocka_unit_test(sets_change_at_run_time),
		cmocka_unit_test(shared_sets_are_one),
		cmocka_unit_test(state_outlives_replacements),
		cmocka_unit_test(shared_state_is_one),
		cmocka_unit_test(events_come_through),
		cmocka_unit_test(refusals_leave_all_as_it_was),
		cmocka_unit_test(verifier_refuses_in_words),
		cmocka_unit_test(counters_reset),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(benches),
		cmocka_unit_test(features),
	};
	int failed;

	there = world_make(&world);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	world_remove(&world);
	return failed;
}
