/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Follows processes, for `program in tree of`: who descends from a process that ran one of the programs. It judges nothing.
 *
 * weir_lineage is loaded once for each of three trace points: a new process has its parent's lineage, one that runs a root
 * from then on its own, and so have all that it starts, whatever they run. What a process is in stays with it.
 *
 * weir_ancestors looks at the processes that are there already. Their parents may have ended, and then they have others; so
 * of these it finds out only who does descend from a root, by a chain of parents that is there still. It is run until it
 * finds nobody new. Who is in no element is one of whom nothing is known.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "bpf/lineage.h"
#include "bpf/task.h"

enum { EVENT_FORK, EVENT_EXEC, EVENT_EXIT };
enum { KERNEL_THREAD = 0x00200000 /* PF_KTHREAD */, OF_INIT = 0x40 /* SIGNAL_UNKILLABLE */ };

const volatile struct plane_programs roots SEC(MAP_ROOTS) = { 0 };
const volatile __u32 event SEC(".rodata.event") = 0;
__u64 found SEC(".data.found") = 0;

/* The roots that the process runs. */
static __always_inline __u32 roots_run(struct task_struct *task)
{
	struct inode *inode = task_program(task);
	__u32 run = 0;

	if (!inode)
		return 0;
	for (__u32 i = 0; i < TREES_MAX && i < roots.count; i++)
		if (plane_program_is(&roots, i, inode->i_ino, inode->i_sb->s_dev, inode->i_generation))
			run |= TREE_IN(i);
	return run;
}

static __always_inline __u32 outside_of_all(void)
{
	return TREE_OUT(roots.count) - TREE_OUT(0);
}

/* Whether that was not known. */
static __always_inline bool put_in(__u32 process, __u32 run)
{
	__u32 *tree = bpf_map_lookup_elem(&state_lineage, &process);

	if (!tree && !bpf_map_update_elem(&state_lineage, &process, &run, BPF_NOEXIST))
		return true;
	tree = bpf_map_lookup_elem(&state_lineage, &process);
	if (!tree || (*tree & run) == run)
		return false;
	__sync_fetch_and_or(tree, run);
	__sync_fetch_and_and(tree, ~(run << TREES_MAX));
	return true;
}

static __always_inline void forked(struct task_struct *parent, struct task_struct *child)
{
	__u32 from = parent->tgid, to = child->tgid;
	const __u32 *tree;

	if (child->pid != child->tgid) /* a thread */
		return;
	tree = bpf_map_lookup_elem(&state_lineage, &from);
	if (!tree || bpf_map_update_elem(&state_lineage, &to, tree, BPF_ANY))
		bpf_map_delete_elem(&state_lineage, &to);
}

static __always_inline void ran(struct task_struct *task)
{
	__u32 run = roots_run(task);

	if (run)
		put_in(task->tgid, run);
}

static __always_inline void ended(struct task_struct *task)
{
	__u32 process = task->tgid;

	if (!task->signal->live.counter)
		bpf_map_delete_elem(&state_lineage, &process);
}

SEC("tp_btf/sched_process_fork")
int weir_lineage(unsigned long long *context)
{
	struct task_struct *task = (struct task_struct *)context[0];

	if (event == EVENT_FORK)
		forked(task, (struct task_struct *)context[1]);
	else if (event == EVENT_EXEC)
		ran(task);
	else
		ended(task);
	return 0;
}

struct bpf_iter_meta;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} KERNEL;

/*
 * Parents are ancestors, also those that came in place of others, but for the first process of a pid namespace: it gets
 * the orphans of all in it, wherever they came from.
 */
static __always_inline __u32 roots_of_parent(struct task_struct *task)
{
	struct task_struct *parent = task->real_parent;
	__u32 process = parent->tgid;
	const __u32 *tree;

	if (parent->signal->flags & OF_INIT)
		return 0;
	tree = bpf_map_lookup_elem(&state_lineage, &process);
	return tree ? *tree & outside_of_all() >> TREES_MAX : 0;
}

SEC("iter/task")
int weir_ancestors(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	__u32 process, run, outside = outside_of_all();

	if (!task)
		return 0;
	process = task->tgid;
	run = roots_run(task);
	/* Of these nobody else is an ancestor. */
	if (process == 1 || task->flags & KERNEL_THREAD) {
		outside &= ~(run << TREES_MAX);
		outside |= run;
		bpf_map_update_elem(&state_lineage, &process, &outside, BPF_NOEXIST);
		return 0;
	}
	run |= roots_of_parent(task);
	if (run && put_in(process, run))
		found++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
