/* SPDX-License-Identifier: GPL-2.0-only */
#include "packet/hook.h"

#include <stdio.h>
#include <string.h>

#define NETFILTER(name, dir, rej) \
	{ "netfilter-" name, "netfilter", name, dir, TARGET_NONE, rej, .frames = false, .mark = false }

const struct hook_info hook_table[HOOK_COUNT] = {
	[HOOK_XDP] = { "xdp", "xdp", NULL, DIRECTION_INGRESS, TARGET_IFACE, REJECT_REPLY, .frames = true,
		       .mark = false, .caches = true },
	[HOOK_TC_INGRESS] = { "tc-ingress", "tc", "ingress", DIRECTION_INGRESS, TARGET_IFACE, REJECT_REPLY,
			      .frames = true, .mark = true, .caches = true },
	[HOOK_TC_EGRESS] = { "tc-egress", "tc", "egress", DIRECTION_EGRESS, TARGET_IFACE, REJECT_REPLY,
			     .frames = true, .mark = true, .caches = true },
	[HOOK_NF_PREROUTING] = NETFILTER("prerouting", DIRECTION_INGRESS, REJECT_NEVER),
	[HOOK_NF_INPUT] = NETFILTER("input", DIRECTION_INGRESS, REJECT_NEVER),
	[HOOK_NF_FORWARD] = NETFILTER("forward", DIRECTION_FORWARD, REJECT_NEVER),
	[HOOK_NF_OUTPUT] = NETFILTER("output", DIRECTION_EGRESS, REJECT_EPERM),
	[HOOK_NF_POSTROUTING] = NETFILTER("postrouting", DIRECTION_EGRESS, REJECT_NEVER),
	[HOOK_CGROUP_INGRESS] = { "cgroup-ingress", "cgroup", "ingress", DIRECTION_INGRESS, TARGET_CGROUP,
				  REJECT_NEVER, .frames = false, .mark = true },
	[HOOK_CGROUP_EGRESS] = { "cgroup-egress", "cgroup", "egress", DIRECTION_EGRESS, TARGET_CGROUP,
				 REJECT_EPERM, .frames = false, .mark = true },
	[HOOK_CONNECT] = { "connect", "connect", NULL, DIRECTION_EGRESS, TARGET_CGROUP, REJECT_CALL, .frames = false,
			   .mark = false, .call = true },
	[HOOK_BIND] = { "bind", "bind", NULL, DIRECTION_INGRESS, TARGET_CGROUP, REJECT_CALL, .frames = false,
			.mark = false, .call = true },
	[HOOK_SOCKET] = { "socket", "socket", NULL, DIRECTION_INGRESS, TARGET_SOCKET, REJECT_NEVER, .frames = false,
			  .mark = false },
};

int hook_by_name(const char *name)
{
	char word[32];

	if (strlen(name) >= sizeof word)
		return -1;
	strcpy(word, name);
	for (char *c = word; *c; c++)
		if (*c == ' ')
			*c = '-';
	for (int hook = 0; hook < HOOK_COUNT; hook++)
		if (!strcmp(word, hook_table[hook].name))
			return hook;
	return -1;
}

hook_mask hooks_behind(hook_mask hooks, enum hook call)
{
	hook_mask behind = 0;

	for (int hook = 0; hook < HOOK_COUNT; hook++)
		if (!hook_table[hook].call && hook_table[hook].direction == hook_table[call].direction)
			behind |= HOOK_BIT(hook);
	return hooks & behind;
}

int hook_mask_print(hook_mask mask, char *buffer, size_t size)
{
	size_t used = 0;
	int left = __builtin_popcount(mask);

	if (size)
		buffer[0] = '\0';
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		if (!(mask & HOOK_BIT(hook)))
			continue;
		left--;
		used += (size_t)snprintf(used < size ? buffer + used : NULL, used < size ? size - used : 0, "%s%s",
					 hook_table[hook].name, left > 1 ? ", " : left == 1 ? " and " : "");
	}
	return (int)used;
}
