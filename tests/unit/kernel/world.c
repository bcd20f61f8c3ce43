/* SPDX-License-Identifier: GPL-2.0-only */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <mntent.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void *read_file(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "rb");
	char *data = malloc(1 << 20);

	if (!file || !data)
		abort();
	*ret_size = fread(data, 1, 1 << 20, file);
	fclose(file);
	return data;
}

static bool make_cgroup(struct world *world)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	const struct mntent *entry;
	bool made = false;

	while (mounts && !made && (entry = getmntent(mounts))) {
		if (strcmp(entry->mnt_type, "cgroup2"))
			continue;
		snprintf(world->cgroup, sizeof world->cgroup, "/weir-test-%d", getpid());
		snprintf(world->cgroup_folder, sizeof world->cgroup_folder, "%.150s%s", entry->mnt_dir,
			 world->cgroup);
		made = !mkdir(world->cgroup_folder, 0755);
	}
	if (mounts)
		endmntent(mounts);
	return made;
}

static bool join_cgroup(const char *folder)
{
	char path[300];
	FILE *file;

	snprintf(path, sizeof path, "%s/cgroup.procs", folder);
	file = fopen(path, "w");
	if (!file)
		return false;
	fprintf(file, "%d\n", getpid());
	return !fclose(file);
}

bool world_make(struct world *world)
{
	memset(world, 0, sizeof *world);
	strcpy(world->folder, "/tmp/weir-test-XXXXXX");
	if (geteuid() || unshare(CLONE_NEWNS | CLONE_NEWNET) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	if (!make_cgroup(world) || !join_cgroup(world->cgroup_folder))
		return false;
	if (!mkdtemp(world->folder) || mount("bpf", world->folder, "bpf", 0, "mode=700"))
		return false;
	setenv("WEIR_BPFFS", world->folder, 1);
	if (system("ip link set lo up && ip link add va type veth peer name vb && ip link set va up && ip link "
		   "set vb up"))
		return false;
	world->classifiers[0] = read_file(CLASSIFY_A, &world->sizes[0]);
	world->classifiers[1] = read_file(CLASSIFY_B, &world->sizes[1]);
	world->classifiers[2] = read_file(CLASSIFY_BROKEN, &world->sizes[2]);
	world->arena = arena_new();
	return true;
}

void world_remove(struct world *world)
{
	char above[300];

	snprintf(above, sizeof above, "%s/..", world->cgroup_folder);
	if (world->cgroup_folder[0]) {
		join_cgroup(above);
		rmdir(world->cgroup_folder);
	}
	umount2(world->folder, MNT_DETACH);
	rmdir(world->folder);
	for (int i = 0; i < 3; i++)
		free(world->classifiers[i]);
	arena_free(world->arena);
}

void policy_make(struct policy *policy, const struct world *world, const char *name, int classifier)
{
	memset(policy, 0, sizeof *policy);
	policy->elements[0] = (struct range){ 0x0a000001, 0x0a000002 };
	policy->sets[0] = (struct install_set){ .map = "set_0_4", .name = "blocked", .max_elements = 16,
						.elements = policy->elements, .count = 1 };
	policy->states[0] = (struct install_state){ .map = "state_seen", .name = "seen", .layout = 1,
						    .max_elements = 64 };
	policy->steps[0] = (struct step){ STEP_LOG, SLOT_RULE(3), 0, ANSWER_DROP };
	policy->steps[1] = (struct step){ STEP_VERDICT, SLOT_RULE(3), ANSWER_DROP, 0 };
	for (int i = 0; i < WORLD_SLOTS; i++)
		policy->carry[i] = i;
	policy->install = (struct install){.policy = name,
					   .hooks = policy->hooks,
					   .sets = policy->sets,
					   .set_count = 1,
					   .states = policy->states,
					   .state_count = 1,
					   .slots = WORLD_SLOTS,
					   .logs = policy->logs,
					   .log_count = 1,
					   .source = world->classifiers[classifier],
					   .source_size = 100,
					   .carry = policy->carry};
	for (size_t i = 0; i < 12; i++) {
		policy->hooks[i].classifier = world->classifiers[classifier];
		policy->hooks[i].classifier_size = world->sizes[classifier];
		policy->hooks[i].needed = (FIELD_BIT(FIELD_KNOCKED) - 1) & ~FIELD_BIT(FIELD_FLOW);
		policy->hooks[i].priority = PRIORITY_DEFAULT;
		policy->hooks[i].steps = policy->steps;
		policy->hooks[i].step_count = 2;
	}
}

void policy_hook(struct policy *policy, enum hook hook, const char *target)
{
	struct install_hook *row = &policy->hooks[policy->install.hook_count++];

	row->hook = hook;
	row->target = target;
}

static int run_nothing(void *context)
{
	struct world *world = context;

	world->diags = diags_new(world->arena);
	return 0;
}

static int print(void *context)
{
	struct world *world = context;

	for (size_t i = 0; i < world->diags->list.count; i++)
		fprintf(stderr, "# %s", diag_format(world->arena, &world->diags->list.items[i], false));
	return 0;
}

void world_print_diags(struct world *world)
{
	arena_run(world->arena, print, world);
}

int world_apply(struct world *world, const struct install *installs, size_t count, const char *const *removals,
		size_t removal_count, unsigned flags)
{
	struct kernel *kernel;
	int error;

	arena_run(world->arena, run_nothing, world);
	error = kernel_open(KERNEL_WRITE, world->diags, &kernel);
	if (error)
		return error;
	error = kernel_apply(kernel, installs, count, removals, removal_count, flags, world->diags);
	kernel_close(kernel);
	return error;
}

struct policy_state world_state(struct world *world, const char *policy)
{
	struct policy_state state = { 0 };
	struct kernel *kernel;

	arena_run(world->arena, run_nothing, world);
	if (kernel_open(KERNEL_READ, world->diags, &kernel))
		abort();
	if (kernel_policy(kernel, world->arena, policy, world->diags, &state))
		world_print_diags(world);
	kernel_close(kernel);
	return state;
}

bool world_udp(uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(0x7f000001)}};
	const struct timeval patience = { 0, 20000 };
	int receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
	    sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char byte = 1;
	bool arrived;

	setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (bind(receiver, (struct sockaddr *)&address, sizeof address))
		abort();
	arrived = sendto(sender, &byte, 1, 0, (struct sockaddr *)&address, sizeof address) == 1 &&
		  recv(receiver, &byte, 1, 0) == 1;
	close(receiver);
	close(sender);
	return arrived;
}

static unsigned pins;

static int count_pin(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)path;
	(void)status;
	(void)type;
	(void)where;
	pins++;
	return 0;
}

unsigned world_pins(const struct world *world)
{
	char path[100];

	pins = 0;
	snprintf(path, sizeof path, "%s/weir", world->folder);
	nftw(path, count_pin, 8, FTW_PHYS);
	return pins;
}
