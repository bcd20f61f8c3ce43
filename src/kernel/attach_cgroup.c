/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets and system calls of a cgroup: links on a cgroup of the unified hierarchy, in the order of attachment. Paths are
 * from its root. A system call's hook is several of the kernel's: one for each way to name an address.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/attach.h"
#include "kernel/object.h"

bool attach_cgroup_mount(struct path *ret_path)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	const struct mntent *entry;
	bool found = false;

	while (mounts && !found && (entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_type, "cgroup2")) {
			snprintf(ret_path->text, sizeof ret_path->text, "%s", entry->mnt_dir);
			found = true;
		}
	if (mounts)
		endmntent(mounts);
	return found;
}

bool attach_cgroup_there(const struct place *place)
{
	struct path mount, path;
	struct stat status;

	if (!attach_cgroup_mount(&mount))
		return false;
	path_join(&path, mount.text, "%s", place->target + (place->target[0] == '/'));
	return !stat(path.text, &status) && status.st_ino == place->cgroup;
}

static int open_cgroup(struct kernel *kernel, const char *target)
{
	struct path mount, path;
	int fd, error;

	if (!attach_cgroup_mount(&mount)) {
		problem_set(kernel, -ENOENT, "the unified cgroup hierarchy is not mounted");
		problem_hint(kernel, "as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
		return -ENOENT;
	}
	path_join(&path, mount.text, "%s", target + (target[0] == '/'));
	fd = open(path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	error = -errno;
	problem_set(kernel, error, "there is no cgroup `%s` (%s: %s)", target, path.text, strerror(-error));
	problem_hint(kernel, "a cgroup's path is written from the root of the hierarchy; `systemd-cgls` shows them");
	return error;
}

static const struct {
	enum hook hook;
	uint32_t type; /* enum bpf_attach_type */
} attach_types[] = {
	{ HOOK_CGROUP_INGRESS, BPF_CGROUP_INET_INGRESS },
	{ HOOK_CGROUP_EGRESS, BPF_CGROUP_INET_EGRESS },
	{ HOOK_CONNECT, BPF_CGROUP_INET4_CONNECT },
	{ HOOK_CONNECT, BPF_CGROUP_INET6_CONNECT },
	{ HOOK_CONNECT, BPF_CGROUP_UDP4_SENDMSG },
	{ HOOK_CONNECT, BPF_CGROUP_UDP6_SENDMSG },
	{ HOOK_BIND, BPF_CGROUP_INET4_BIND },
	{ HOOK_BIND, BPF_CGROUP_INET6_BIND },
};

/* Whoever has a socket that sends or receives has made it; and perhaps bound it, if it is older than the policy. */
static const uint32_t record_types[] = { BPF_CGROUP_INET_SOCK_CREATE, BPF_CGROUP_INET4_POST_BIND,
					 BPF_CGROUP_INET6_POST_BIND };

static int add_place(const struct install_hook *hook, uint64_t cgroup, uint32_t type, struct places *places)
{
	struct place *place = places_add(places);

	if (!place)
		return -ENOMEM;
	place->hook = hook->hook;
	place->family = hook_table[hook->hook].call || hook->record ? type : 0;
	place->cgroup = cgroup;
	snprintf(place->target, sizeof place->target, "%s", hook->target);
	return 0;
}

static int resolve(struct kernel *kernel, const struct install_hook *hook, struct places *places)
{
	CLEANUP_CLOSE int fd = open_cgroup(kernel, hook->target);
	struct stat status;
	int error;

	if (fd < 0)
		return fd;
	error = object_check_hook(kernel, hook);
	if (error)
		return error;
	if (fstat(fd, &status))
		return -errno;
	if (strlen(hook->target) >= TARGET_LENGTH)
		return problem_set(kernel, -ENAMETOOLONG, "the path of cgroup `%.60s...` is too long", hook->target);
	for (size_t i = 0; !error && hook->record && i < sizeof record_types / sizeof *record_types; i++)
		error = add_place(hook, status.st_ino, record_types[i], places);
	for (size_t i = 0; !error && !hook->record && i < sizeof attach_types / sizeof *attach_types; i++)
		if (attach_types[i].hook == hook->hook)
			error = add_place(hook, status.st_ino /* that is its id */, attach_types[i].type, places);
	return error;
}

static uint32_t attach_type(const struct place *place)
{
	if (place->family)
		return place->family;
	return place->hook == HOOK_CGROUP_INGRESS ? BPF_CGROUP_INET_INGRESS : BPF_CGROUP_INET_EGRESS;
}

static int attach(struct kernel *kernel, struct place *place, int prog, int *ret_link)
{
	CLEANUP_CLOSE int fd = open_cgroup(kernel, place->target);
	struct link_request request = { .prog = (uint32_t)prog, .target = (uint32_t)fd };
	int link;

	if (fd < 0)
		return fd;
	request.attach_type = attach_type(place);
	link = attach_link_create(&request);
	if (link == -EPERM)
		return problem_set(
			kernel, link,
			"cannot attach to cgroup `%s`: not permitted, or a program above it allows none "
			"below (`bpftool cgroup tree`)",
			place->target);
	if (link == -E2BIG)
		return problem_set(kernel, link, "cgroup `%s` has as many programs as the kernel allows (64)",
				   place->target);
	if (link < 0)
		return problem_set(kernel, link, "cannot attach to cgroup `%s`: %s", place->target, strerror(-link));
	place->how = HOW_LINK;
	*ret_link = link;
	return 0;
}

const struct attach_ops attach_cgroup_ops = { .resolve = resolve, .attach = attach };
