/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The recorder: notes who makes an IP socket, or binds one, for the packets of it. It judges nothing. One program is loaded
 * for each of the kernel's attach types (socket(), bind() of either family).
 *
 * Policies whose packets are asked for their owner have it on their cgroups. Notes are all policies' together, so it does not
 * ask whose turn it is.
 */
#include "bpf/process.h"

enum { RECORD_PASS = 1 };

SEC("cgroup/sock_create")
int weir_record(struct bpf_sock *sk)
{
	struct owner_note *note = bpf_sk_storage_get(&state_owners, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	struct task_struct *task = this_task();

	if (note) {
		take_note(task, note);
		complete_note(task, note);
	}
	if (config.trees)
		leave_lineage(sk, lineage_of(task->tgid));
	return RECORD_PASS;
}
