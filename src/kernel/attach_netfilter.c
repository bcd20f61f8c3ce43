/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Netfilter: a link for IPv4 and one for IPv6, each at a priority of its own.
 *
 * Such a link cannot be given another program, so a replacement is a new link beside the old one. Both read the epoch
 * by themselves; so that no packet meets neither, the new one comes after the old one: whoever finds the old one over
 * then finds the new one begun. Priorities drift upwards so, PRIORITY_ROOM at most; then the new link takes a lower
 * one, and the old one goes on until the change is complete (for an instant both judge: never more open than either).
 */
#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>

#include "kernel/attach.h"
#include "kernel/object.h"

enum { PRIORITY_NORMAL = 0, PRIORITY_ROOM = 32 };

static const uint32_t hook_numbers[HOOK_COUNT] = {
	[HOOK_NF_PREROUTING] = NF_INET_PRE_ROUTING,
	[HOOK_NF_INPUT] = NF_INET_LOCAL_IN,
	[HOOK_NF_FORWARD] = NF_INET_FORWARD,
	[HOOK_NF_OUTPUT] = NF_INET_LOCAL_OUT,
	[HOOK_NF_POSTROUTING] = NF_INET_POST_ROUTING,
};

static int resolve(struct kernel *kernel, const struct install_hook *hook, struct places *places)
{
	static const uint32_t families[] = { NFPROTO_IPV4, NFPROTO_IPV6 };
	int error = object_check_hook(kernel, hook);
	uint64_t netns = attach_netns();

	for (size_t i = 0; !error && i < 2; i++) {
		struct place *place = places_add(places);

		if (!place)
			return -ENOMEM;
		place->hook = hook->hook;
		place->family = families[i];
		place->netns = netns;
		place->priority = hook->priority == PRIORITY_DEFAULT ? PRIORITY_NORMAL : hook->priority;
	}
	return error;
}

static int try_priority(const struct place *place, int prog, int64_t priority)
{
	struct link_request request = { .prog = (uint32_t)prog, .attach_type = WEIR_ATTACH_NETFILTER };

	if (priority <= INT32_MIN || priority >= INT32_MAX)
		return -EBUSY;
	request.netfilter.pf = place->family;
	request.netfilter.hook = hook_numbers[place->hook];
	request.netfilter.priority = (int32_t)priority;
	return attach_link_create(&request);
}

/* place->priority: the wanted one; place->handle: how far above it to begin (where a predecessor is). */
static int attach(struct kernel *kernel, struct place *place, int prog, int *ret_link)
{
	unsigned start = place->handle < PRIORITY_ROOM ? place->handle : 0;
	int link = -EBUSY;

	for (unsigned i = 0; link == -EBUSY && i < PRIORITY_ROOM; i++) {
		unsigned offset = (start + i) % PRIORITY_ROOM;

		link = try_priority(place, prog, (int64_t)place->priority + offset);
		if (link >= 0)
			place->handle = offset;
	}
	if (link == -EAFNOSUPPORT && place->family == NFPROTO_IPV6) {
		place->how = HOW_NONE; /* a kernel without IPv6 */
		*ret_link = -1;
		return 0;
	}
	if (link == -EBUSY)
		return problem_set(
			kernel, link,
			"no free netfilter priority from %d to %d at %s; give another with `priority N`",
			place->priority, place->priority + PRIORITY_ROOM - 1, hook_table[place->hook].name);
	if (link == -EPERM)
		return problem_bpf(kernel, link, "cannot attach to netfilter");
	if (link < 0)
		return problem_set(kernel, link,
				   "cannot attach to %s: %s (it needs CONFIG_NETFILTER_BPF_LINK, Linux 6.4)",
				   hook_table[place->hook].name, strerror(-link));
	place->how = HOW_LINK;
	*ret_link = link;
	return 0;
}

const struct attach_ops attach_netfilter_ops = { .resolve = resolve, .attach = attach };
