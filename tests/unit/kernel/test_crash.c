/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The protocol: a command that is killed at a random moment leaves the old policies on every hook or the new ones on
 * every hook; a replacement under load judges and counts each packet exactly once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

enum { KILLS = 60, RECOVERY_STOPS = 700, REPLACEMENTS = 6, BLOCKED_PORT = 7005 };

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

static unsigned clean_pins;

/* --- killed commands -------------------------------------------------------------------------------------------- */

typedef int (*command)(int argument);

/* Finishes or undoes what a killed command left. */
static int recover_only(int argument)
{
	struct kernel *kernel;
	int error = kernel_open(KERNEL_WRITE, world.diags, &kernel);

	(void)argument;
	if (!error)
		kernel_close(kernel);
	return error;
}

/*
 * Runs the command in a child that is killed at its `last`th stop, entering or leaving a system call: whatever the
 * kernel keeps of it was done by one. Returns the stops that it came to; fewer than `last`: it ended by itself.
 */
static unsigned run_killed(command run, int argument, unsigned last)
{
	unsigned stops = 0;
	int status;
	pid_t child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(run(argument) ? 1 : 0);
	}
	waitpid(child, &status, 0);
	while (WIFSTOPPED(status) && stops < last) {
		stops++;
		ptrace(PTRACE_SYSCALL, child, NULL, NULL);
		waitpid(child, &status, 0);
	}
	if (WIFSTOPPED(status)) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	} else {
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	return stops;
}

/* Applies the other policy, is killed; recovers, is killed in that, too; recovers. */
static void kill_both(unsigned apply_at, unsigned recover_at, unsigned *committed)
{
	int before = in_force(), now;

	run_killed(apply_both, 1 - before, apply_at);
	now = in_force();
	*committed += now != before;
	run_killed(recover_only, 0, recover_at);
	assert_int_equal(in_force(), now);
	assert_int_equal(recover_only(0), 0);
	assert_int_equal(in_force(), now);
	assert_int_equal(world_pins(&world), clean_pins);
}

/* Spread over all, denser towards the end: loading comes first, arming, committing and tidying up last. */
static unsigned kill_point(unsigned total, unsigned nth, unsigned kills)
{
	double left = 1 - (nth + 1.0) / (kills + 1.0);

	return (unsigned)(total * (1 - left * left));
}

static void killed_at_any_system_call(void **unused)
{
	static const char *const names[] = { "p", "q" };
	unsigned total, committed = 0, kills = getenv("WEIR_KILLS") ? (unsigned)atoi(getenv("WEIR_KILLS")) : KILLS;

	(void)unused;
	NEED_WORLD();
	assert_int_equal(apply_both(0), 0);
	clean_pins = world_pins(&world);
	total = run_killed(apply_both, 1, UINT_MAX);
	for (unsigned i = 0; i < kills; i++)
		kill_both(kill_point(total, i, kills), i * 7 % RECOVERY_STOPS, &committed);
	print_message("# %u stops; %u of %u killed commands had committed\n", total, committed, kills);
	assert_int_equal(world_apply(&world, NULL, 0, names, 2, 0), 0);
	assert_int_equal(world_pins(&world), 0);
}

/* --- replacement under load ------------------------------------------------------------------------------------- */

/* Shared with the sender. */
struct flood {
	volatile bool over;
	volatile uint64_t sent;
};

/* From 127.0.0.9, which the set of both policies blocks. */
static void send_flood(struct flood *flood)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = { htonl(0x7f000009) } };
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(BLOCKED_PORT), .sin_addr = {htonl(0x7f000001)}};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char byte = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from))
		_exit(1);
	while (!flood->over) {
		ssize_t sent = sendto(fd, &byte, 1, 0, (struct sockaddr *)&to, sizeof to);

		if (sent == 1 || errno == EPERM)
			flood->sent++;
	}
	_exit(0);
}

static int receiver_open(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(BLOCKED_PORT),
				       .sin_addr = { htonl(0x7f000001) } };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void replace_under_load(enum hook hook, const char *target)
{
	struct flood *flood = mmap(NULL, sizeof *flood, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static const char *const name = "p";
	struct policy policies[2];
	int receiver = receiver_open();
	char byte;
	pid_t sender;

	for (int i = 0; i < 2; i++) {
		policy_make(&policies[i], &world, name, i);
		policies[i].elements[0] = (struct range){ 0x7f000009, 0x7f000009 };
		policy_hook(&policies[i], hook, target);
	}
	assert_int_equal(world_apply(&world, &policies[0].install, 1, NULL, 0, 0), 0);
	sender = fork();
	if (!sender)
		send_flood(flood);
	for (int i = 1; i <= REPLACEMENTS; i++)
		assert_int_equal(world_apply(&world, &policies[i % 2].install, 1, NULL, 0, 0), 0);
	flood->over = true;
	waitpid(sender, NULL, 0);
	print_message("# %s: %llu packets\n", hook_table[hook].name, (unsigned long long)flood->sent);
	assert_int_equal(recv(receiver, &byte, 1, 0), -1);
	assert_int_equal(world_state(&world, name).counters[SLOT_RULE(2)].packets, flood->sent);
	close(receiver);
	munmap(flood, sizeof *flood);
	assert_int_equal(world_apply(&world, NULL, 0, &name, 1, 0), 0);
}

static void no_packet_escapes_a_replacement(void **unused)
{
	(void)unused;
	NEED_WORLD();
	replace_under_load(HOOK_XDP, "lo");
	replace_under_load(HOOK_TC_INGRESS, "lo");
	replace_under_load(HOOK_TC_EGRESS, "lo");
	replace_under_load(HOOK_CGROUP_INGRESS, world.cgroup);
	replace_under_load(HOOK_CGROUP_EGRESS, world.cgroup);
	replace_under_load(HOOK_NF_INPUT, NULL);
	replace_under_load(HOOK_NF_OUTPUT, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_at_any_system_call),
		cmocka_unit_test(no_packet_escapes_a_replacement),
	};
	int failed;

	there = world_make(&world);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	world_remove(&world);
	return failed;
}
