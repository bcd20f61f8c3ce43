/* SPDX-License-Identifier: GPL-2.0-only */
/* For the kernel's own structures: a plane declares what it uses of one, and the loader finds where that is. */
#ifndef WEIR_BPF_KERNEL_H
#define WEIR_BPF_KERNEL_H

#define KERNEL __attribute__((preserve_access_index))

#include <linux/types.h>

struct kernfs_node {
	__u64 id;
} KERNEL;

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[];
} KERNEL;

#endif
