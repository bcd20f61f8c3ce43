/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program on a cgroup for as long as that exists: attached without a link, so that no process and no pin has to hold
 * it, and none that dies can open the filter. In: descriptors of both. Fails with a sentence.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "kernel/internal.h"

int kernel_cgroup_attach(struct kernel *kernel, int cgroup, enum hook hook, int prog, struct diags *diags)
{
	enum bpf_attach_type type = hook == HOOK_CGROUP_INGRESS ? BPF_CGROUP_INET_INGRESS : BPF_CGROUP_INET_EGRESS;
	int error = bpf_prog_attach(prog, cgroup, type, BPF_F_ALLOW_MULTI) ? -errno : 0;

	if (error)
		problem_set(kernel, error, "the filter cannot be attached to the command's cgroup: %s",
			    strerror(-error));
	return problem_report(kernel, diags, error);
}
