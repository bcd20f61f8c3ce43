/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * XDP: one link a device, whose program is that of the first policy; the others follow by `after` (chain.c).
 * Native if the driver can, else generic. A device with somebody else's program is an error that names it.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>

#include "kernel/attach.h"

static int create(const struct place *place, int prog, uint32_t flags)
{
	const struct link_request request = { (uint32_t)prog, place->ifindex, BPF_XDP, flags, { { 0 } } };

	return attach_link_create(&request);
}

static int say_taken(struct kernel *kernel, const struct place *place, int error)
{
	char name[64] = "another program";
	uint32_t id = 0;

	if (!bpf_xdp_query_id((int)place->ifindex, 0, &id) && id)
		attach_prog_name(id, name, sizeof name);
	problem_set(kernel, error, "XDP on %s is taken by %s", place->target, name);
	problem_hint(kernel, "detach it (`ip link set dev %s xdp off`, `bpftool link list`), or hook at tc",
		     place->target);
	return error;
}

static int say_failed(struct kernel *kernel, const struct place *place, int error)
{
	if (error == -EBUSY || error == -EEXIST)
		return say_taken(kernel, place, error);
	if (place->xdp_mode == XDP_NATIVE) {
		problem_set(kernel, error, "the driver of %s refuses native XDP: %s", place->target,
			    strerror(-error));
		problem_hint(kernel,
			     "leave `native` out to fall back to generic XDP; a large MTU is a frequent cause");
		return error;
	}
	if (error == -EPERM)
		return problem_bpf(kernel, error, "cannot attach XDP");
	return problem_set(kernel, error, "cannot attach XDP to %s: %s", place->target, strerror(-error));
}

static int attach(struct kernel *kernel, struct place *place, int prog, int *ret_link)
{
	int link = -EOPNOTSUPP;

	if (place->xdp_mode == XDP_OFFLOAD)
		return problem_set(kernel, -EOPNOTSUPP, "XDP offload to the card is not supported yet; use `native`");
	if (place->xdp_mode != XDP_GENERIC) {
		link = create(place, prog, XDP_FLAGS_DRV_MODE);
		place->how = HOW_NATIVE;
	}
	if (link < 0 && link != -EBUSY && link != -EEXIST && place->xdp_mode != XDP_NATIVE) {
		link = create(place, prog, XDP_FLAGS_SKB_MODE);
		place->how = HOW_GENERIC;
	}
	if (link < 0)
		return say_failed(kernel, place, link);
	*ret_link = link;
	return 0;
}

/* The XDP plane reads Ethernet. */
static int resolve(struct kernel *kernel, const struct install_hook *hook, struct places *places)
{
	size_t before = places->count;
	int error = attach_resolve_interfaces(kernel, hook, places);

	for (size_t i = before; !error && i < places->count; i++)
		if (places->items[i].bare)
			error = problem_set(
				kernel, -EOPNOTSUPP,
				"the packets of %s have no Ethernet header, which xdp needs; hook at "
				"tc instead",
				places->items[i].target);
	return error;
}

const struct attach_ops attach_xdp_ops = { .resolve = resolve, .attach = attach };
