/* SPDX-License-Identifier: GPL-2.0-only */
/* The process that makes a system call: for programs that run in it. */
#ifndef WEIR_BPF_PROCESS_H
#define WEIR_BPF_PROCESS_H

#include "bpf/lineage.h"
#include "bpf/note.h"
#include "bpf/task.h"

/* For the packets of the socket. */
static __always_inline void leave_lineage(struct bpf_sock *sk, __u32 tree)
{
	__u32 *there = bpf_sk_storage_get(&state_trees, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (there)
		*there = tree;
}

static __always_inline void take_note(struct owner_note *note)
{
	struct inode *inode = task_program((struct task_struct *)bpf_get_current_task_btf());

	note->program = inode ? inode->i_ino : 0;
	note->device = inode ? inode->i_sb->s_dev : 0;
	note->cgroup = bpf_get_current_cgroup_id();
	note->pid = bpf_get_current_pid_tgid() >> 32;
	note->group = bpf_get_current_uid_gid() >> 32;
	note->generation = inode ? inode->i_generation : 0;
	bpf_get_current_comm(note->command, sizeof note->command);
}

#endif
