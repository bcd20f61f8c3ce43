/* SPDX-License-Identifier: GPL-2.0-only */
/* The process that makes a system call: for programs that run in it. */
#ifndef WEIR_BPF_PROCESS_H
#define WEIR_BPF_PROCESS_H

#include "bpf/kernel.h"
#include "bpf/note.h"

struct super_block {
	__u32 s_dev;
} KERNEL;

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
	__u32 i_generation;
} KERNEL;

struct file {
	struct inode *f_inode;
} KERNEL;

struct mm_struct {
	struct file *exe_file;
} KERNEL;

struct task_struct {
	struct mm_struct *mm;
} KERNEL;

static __always_inline void take_note(struct owner_note *note)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct mm_struct *mm = task->mm;
	struct file *file = mm ? mm->exe_file : NULL;
	struct inode *inode = file ? file->f_inode : NULL;

	note->program = inode ? inode->i_ino : 0;
	note->device = inode ? inode->i_sb->s_dev : 0;
	note->cgroup = bpf_get_current_cgroup_id();
	note->pid = bpf_get_current_pid_tgid() >> 32;
	note->group = bpf_get_current_uid_gid() >> 32;
	note->generation = inode ? inode->i_generation : 0;
	bpf_get_current_comm(note->command, sizeof note->command);
}

#endif
