/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TC: tcx links, or before Linux 6.6 filters of a clsact qdisc.
 *
 * What is weaker with clsact: a filter is not owned by its pins, so removing weir's folder by hand leaves it
 * judging; a command killed while it attaches one may leave a filter behind that passes everything; an emptied
 * clsact qdisc stays; a filter of a lower priority that answers TC_ACT_OK ends the judging before weir's.
 * WEIR_TEST_CLSACT in the environment chooses clsact, for tests.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "kernel/attach.h"
#include "kernel/object.h"

enum { ATTACH_TCX_INGRESS = 46, ATTACH_TCX_EGRESS = 47, FILTER_PRIORITY = 1, FILTER_TRIES = 256 };

static void describe(const struct place *place, struct bpf_tc_hook *hook)
{
	memset(hook, 0, sizeof *hook);
	hook->sz = sizeof *hook;
	hook->ifindex = (int)place->ifindex;
	hook->attach_point = place->hook == HOOK_TC_INGRESS ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

static int try_handle(const struct bpf_tc_hook *hook, struct place *place, int prog, uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = prog, .handle = handle, .priority = FILTER_PRIORITY);
	int error = bpf_tc_attach(hook, &options);

	if (!error) {
		place->handle = handle;
		place->priority = FILTER_PRIORITY;
		place->how = HOW_CLSACT;
	}
	return error;
}

static int attach_clsact(struct kernel *kernel, struct place *place, int prog)
{
	struct bpf_tc_hook hook;
	int error;

	describe(place, &hook);
	error = bpf_tc_hook_create(&hook);
	if (error == -EEXIST)
		error = 0;
	for (uint32_t i = 1; !error && i <= FILTER_TRIES; i++) {
		error = try_handle(&hook, place, prog, i);
		if (error != -EEXIST)
			break;
		error = i < FILTER_TRIES ? 0 : error;
	}
	if (error)
		problem_set(
			kernel, error,
			"cannot attach a filter to %s: %s (a clsact qdisc with room at priority %d is needed)",
			place->target, strerror(-error), FILTER_PRIORITY);
	return error;
}

static int attach(struct kernel *kernel, struct place *place, int prog, int *ret_link)
{
	struct link_request request = { .prog = (uint32_t)prog, .target = place->ifindex };
	int link = -EINVAL;

	request.attach_type = place->hook == HOOK_TC_INGRESS ? ATTACH_TCX_INGRESS : ATTACH_TCX_EGRESS;
	if (!secure_getenv("WEIR_TEST_CLSACT"))
		link = attach_link_create(&request);
	if (link == -EINVAL) {
		*ret_link = -1;
		return attach_clsact(kernel, place, prog);
	}
	if (link == -EPERM)
		return problem_bpf(kernel, link, "cannot attach to tc");
	if (link < 0)
		return problem_set(kernel, link, "cannot attach to tc on %s: %s", place->target, strerror(-link));
	place->how = HOW_TCX;
	*ret_link = link;
	return 0;
}

static int update_filter(const struct place *place, int prog)
{
	LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = prog, .handle = place->handle,
		    .priority = (uint32_t)place->priority, .flags = BPF_TC_F_REPLACE);
	struct bpf_tc_hook hook;

	if (place->netns != attach_netns())
		return -ENOLINK;
	describe(place, &hook);
	return bpf_tc_attach(&hook, &options);
}

int attach_update(struct kernel *kernel, const struct place *place, int link, int prog)
{
	int error = 0;

	if (place->how == HOW_CLSACT)
		error = update_filter(place, prog);
	else if (bpf_link_update(link, prog, NULL))
		error = -errno;
	if (error && error != -ENOLINK)
		problem_set(kernel, error, "cannot switch the program at %s %s: %s", hook_table[place->hook].name,
			    place->target, strerror(-error));
	return error;
}

int attach_remove_filter(struct kernel *kernel, const struct place *place)
{
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = place->handle, .priority = (uint32_t)place->priority);
	struct bpf_tc_hook hook;
	int error;

	if (place->netns != attach_netns()) {
		problem_note(kernel,
			     "the filter on %s is in another network namespace; it passes everything now, and "
			     "goes with "
			     "`tc filter del` or the device",
			     place->target);
		return 0;
	}
	describe(place, &hook);
	error = bpf_tc_detach(&hook, &options);
	return error == -ENOENT || error == -EINVAL || error == -ENODEV ? 0 : error;
}

uint32_t attach_filter_prog(const struct place *place)
{
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = place->handle, .priority = (uint32_t)place->priority);
	struct bpf_tc_hook hook;

	describe(place, &hook);
	return place->netns != attach_netns() || bpf_tc_query(&hook, &options) ? 0 : options.prog_id;
}

bool attach_filter_there(const struct place *place)
{
	return place->netns != attach_netns() || attach_filter_prog(place);
}

const struct attach_ops attach_tc_ops = { .resolve = attach_resolve_interfaces, .attach = attach };
