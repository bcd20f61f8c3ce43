/* SPDX-License-Identifier: GPL-2.0-only */
/* A process in the kernel's own structures. */
#ifndef WEIR_BPF_TASK_H
#define WEIR_BPF_TASK_H

#include "bpf/kernel.h"

struct super_block {
	__u32 s_dev;
} KERNEL;

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
	__u32 i_generation;
} KERNEL;

typedef struct {
	__u32 val;
} kgid_t;

struct cred {
	kgid_t gid;
} KERNEL;

struct file {
	struct inode *f_inode;
	const struct cred *f_cred; /* of who opened it, and of a socket, who made it */
} KERNEL;

struct mm_struct {
	struct file *exe_file;
} KERNEL;

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live; /* threads that have not ended */
	unsigned int flags;
} KERNEL;

struct css_set {
	struct cgroup *dfl_cgrp; /* of the unified hierarchy */
} KERNEL;

struct task_struct {
	unsigned int flags;
	struct mm_struct *mm;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct signal_struct *signal;
	struct css_set *cgroups;
	const struct cred *cred;
} KERNEL;

/* Its executable; NULL: it has none, or has ended. */
static __always_inline struct inode *task_program(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	struct file *file = mm ? mm->exe_file : NULL;

	return file ? file->f_inode : NULL;
}

#endif
