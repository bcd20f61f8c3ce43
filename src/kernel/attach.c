/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all hooks' attaching has in common: targets, links, their state. In: a place; out: a link. Fails with a
 * sentence for a target that is not there.
 */
#include "kernel/attach.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fnmatch.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "kernel/object.h"

static const struct attach_ops *const ops_table[HOOK_COUNT] = {
	[HOOK_XDP] = &attach_xdp_ops,
	[HOOK_TC_INGRESS] = &attach_tc_ops,
	[HOOK_TC_EGRESS] = &attach_tc_ops,
	[HOOK_NF_PREROUTING] = &attach_netfilter_ops,
	[HOOK_NF_INPUT] = &attach_netfilter_ops,
	[HOOK_NF_FORWARD] = &attach_netfilter_ops,
	[HOOK_NF_OUTPUT] = &attach_netfilter_ops,
	[HOOK_NF_POSTROUTING] = &attach_netfilter_ops,
	[HOOK_CGROUP_INGRESS] = &attach_cgroup_ops,
	[HOOK_CGROUP_EGRESS] = &attach_cgroup_ops,
	[HOOK_CONNECT] = &attach_cgroup_ops,
	[HOOK_BIND] = &attach_cgroup_ops,
};

const struct attach_ops *attach_ops(uint32_t hook)
{
	return ops_table[hook];
}

const char *attach_how_name(uint32_t how)
{
	static const char *const names[] = { "none", "native", "generic", "tcx", "clsact", "link" };

	return how < sizeof names / sizeof *names ? names[how] : "unknown";
}

struct place *places_add(struct places *places)
{
	if (places->count == places->capacity) {
		size_t capacity = places->capacity ? places->capacity * 2 : 8;
		struct place *items = reallocarray(places->items, capacity, sizeof *items);

		if (!items)
			return NULL;
		places->items = items;
		places->capacity = capacity;
	}
	memset(&places->items[places->count], 0, sizeof *places->items);
	return &places->items[places->count++];
}

void places_free(struct places *places)
{
	free(places->items);
	memset(places, 0, sizeof *places);
}

uint64_t attach_netns(void)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof cookie;
	struct stat status;
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && !getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size))
		return cookie;
	return stat("/proc/self/ns/net", &status) ? 0 : status.st_ino;
}

/* Tunnels (tun, WireGuard, IP in IP) carry packets that begin with the IP header. */
static bool has_ethernet_header(const char *name)
{
	struct ifreq request = { 0 };
	CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request))
		return true;
	return request.ifr_hwaddr.sa_family == ARPHRD_ETHER || request.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
}

static int add_interface(const struct install_hook *hook, uint32_t ifindex, const char *name, uint64_t netns,
			 struct places *places)
{
	struct place *place = places_add(places);

	if (!place)
		return -ENOMEM;
	place->hook = hook->hook;
	place->netns = netns;
	place->ifindex = ifindex;
	place->xdp_mode = hook->xdp_mode;
	place->bare = !has_ethernet_header(name);
	snprintf(place->target, sizeof place->target, "%s", name);
	return 0;
}

static int add_matching(const struct install_hook *hook, struct places *places)
{
	struct if_nameindex *all = if_nameindex();
	uint64_t netns = attach_netns();
	int error = 0;

	if (!all)
		return -errno;
	for (size_t i = 0; !error && all[i].if_index; i++)
		if (!fnmatch(hook->target, all[i].if_name, 0))
			error = add_interface(hook, all[i].if_index, all[i].if_name, netns, places);
	if_freenameindex(all);
	return error;
}

int attach_resolve_interfaces(struct kernel *kernel, const struct install_hook *hook, struct places *places)
{
	size_t before = places->count;
	int error = add_matching(hook, places);

	if (error)
		return problem_set(kernel, error, "cannot list the interfaces: %s", strerror(-error));
	if (places->count > before)
		return 0;
	if (hook->optional) {
		problem_note(kernel,
			     "there is no interface `%s`: nothing is judged there; apply the policy again when "
			     "it has come",
			     hook->target);
		return 0;
	}
	problem_set(kernel, -ENODEV, "there is no interface `%s`", hook->target);
	problem_hint(kernel, "`ip link` lists them; write `%s optional` if it may come later", hook->target);
	return -ENODEV;
}

int attach_link_create(const struct link_request *request)
{
	int fd = (int)syscall(__NR_bpf, BPF_LINK_CREATE, request, sizeof *request);

	return fd < 0 ? -errno : fd;
}

int attach_state(const struct place *place, int link, struct link_state *ret_state)
{
	struct bpf_link_info info = { 0 };
	uint32_t size = sizeof info;

	if (bpf_obj_get_info_by_fd(link, &info, &size))
		return -errno;
	ret_state->id = info.id;
	ret_state->prog_id = info.prog_id;
	ret_state->alive = true;
	if (place->how == HOW_TCX || place->hook == HOOK_XDP)
		ret_state->alive = info.xdp.ifindex != 0; /* tcx has it at the same place */
	else if (hook_table[place->hook].target == TARGET_CGROUP)
		ret_state->alive = info.cgroup.cgroup_id != 0;
	return 0;
}

void attach_prog_name(uint32_t id, char *buffer, size_t size)
{
	struct bpf_prog_info info = { 0 };
	uint32_t info_size = sizeof info;
	CLEANUP_CLOSE int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &info_size) || !info.name[0])
		snprintf(buffer, size, "a program without a name (id %u)", id);
	else
		snprintf(buffer, size, "program `%s` (id %u)", info.name, id);
}

uint32_t attach_prog_id(int prog)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof info;

	return bpf_obj_get_info_by_fd(prog, &info, &size) ? 0 : info.id;
}
