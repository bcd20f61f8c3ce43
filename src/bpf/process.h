/* SPDX-License-Identifier: GPL-2.0-only */
/* The process that makes a system call: for programs that run in it. */
#ifndef WEIR_BPF_PROCESS_H
#define WEIR_BPF_PROCESS_H

#include "bpf/lineage.h"
#include "bpf/note.h"
#include "bpf/task.h"

static __always_inline struct task_struct *this_task(void)
{
	return (struct task_struct *)bpf_get_current_task_btf();
}

/* For the packets of the socket. */
static __always_inline void leave_lineage(struct bpf_sock *sk, __u32 tree)
{
	__u32 *there = bpf_sk_storage_get(&state_trees, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (there)
		*there = tree;
}

/* What rules ask for. Read where the kernel keeps it: each helper is a call, which costs more. */
static __always_inline void take_note(struct task_struct *task, struct owner_note *note)
{
	struct inode *inode = task_program(task);

	note->program = inode ? inode->i_ino : 0;
	note->device = inode ? inode->i_sb->s_dev : 0;
	note->generation = inode ? inode->i_generation : 0;
	note->group = task->cred->gid.val;
}

/* The rest, which events want. */
static __always_inline void complete_note(struct task_struct *task, struct owner_note *note)
{
	note->cgroup = task->cgroups->dfl_cgrp->kn->id;
	note->pid = task->tgid;
	bpf_get_current_comm(note->command, sizeof note->command);
}

#endif
