/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The protocol: a command that is killed at a random moment leaves the old policies on every hook or the new ones on
 * every hook; a replacement under load judges and counts each packet exactly once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

enum { KILLS = 150, KILL_AFTER_US = 180000, REPLACEMENTS = 6, BLOCKED_PORT = 7005 };

static struct world world;
static bool there;

#define NEED_WORLD() do { if (!there) skip(); } while (0)

static void policies_make(struct policy policies[2], int classifier)
{
	policy_make(&policies[0], &world, "p", classifier);
	policy_hook(&policies[0], HOOK_XDP, "lo");
	policy_hook(&policies[0], HOOK_TC_INGRESS, "lo");
	policy_make(&policies[1], &world, "q", classifier);
	policy_hook(&policies[1], HOOK_CGROUP_EGRESS, world.cgroup);
	policy_hook(&policies[1], HOOK_NF_INPUT, NULL);
}

static int apply_both(int classifier)
{
	struct policy policies[2];
	struct install installs[2];

	policies_make(policies, classifier);
	installs[0] = policies[0].install;
	installs[1] = policies[1].install;
	return world_apply(&world, installs, 2, NULL, 0, 0);
}

static void sleep_us(unsigned us)
{
	const struct timespec time = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&time, NULL);
}

static uint64_t default_packets(const char *policy)
{
	return world_state(&world, policy).counters[SLOT_DEFAULT].packets;
}

/* Which policy judges, on each of the four hooks: every one counts a packet that passes. */
static int in_force(void)
{
	uint64_t before = default_packets("p") + default_packets("q");
	bool first = world_udp(7001), second = world_udp(7002);
	uint64_t passed = default_packets("p") + default_packets("q") - before;

	assert_int_not_equal(first, second);
	/* The one that arrives meets all four; the other is dropped by the first of them, cgroup egress. */
	assert_int_equal(passed, 4);
	return first ? 1 : 0;
}

static int clean_pins;

static void kill_once(int classifier, unsigned after_us, int *committed)
{
	int before = in_force(), status, now;
	struct kernel *kernel;
	pid_t child = fork();

	if (!child)
		_exit(apply_both(classifier) ? 1 : 0);
	sleep_us(after_us);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	now = in_force();
	assert_true(now == before || now == classifier);
	*committed += now == classifier;
	assert_int_equal(kernel_open(KERNEL_WRITE, world.diags, &kernel), 0);
	kernel_close(kernel);
	assert_int_equal(in_force(), now);
	assert_int_equal(world_pins(&world), clean_pins);
}

static void killed_at_any_time(void **unused)
{
	static const char *const names[] = { "p", "q" };
	int committed = 0, which = 0;

	(void)unused;
	NEED_WORLD();
	srand(7);
	assert_int_equal(apply_both(0), 0);
	clean_pins = (int)world_pins(&world);
	for (int i = 0; i < KILLS; i++) {
		which = 1 - in_force();
		kill_once(which, (unsigned)rand() % KILL_AFTER_US, &committed);
	}
	print_message("# %d of %d killed commands had committed\n", committed, KILLS);
	assert_int_equal(world_apply(&world, NULL, 0, names, 2, 0), 0);
	assert_int_equal(world_pins(&world), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_at_any_time),
	};
	int failed;

	there = world_make(&world);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	world_remove(&world);
	return failed;
}
