/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How deep a cgroup is for the kernel. Paths count from the root that is mounted; in a cgroup namespace that one is below
 * the kernel's own, and nothing in the file system tells how far. A program can ask: for a packet of this process, whose
 * cgroup is below the mounted root, at which level that root is.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/attach.h"
#include "kernel/levels.h"

enum { DEPTH_MAX = 64, PER_LEVEL = 5, FRAME = 64 };

/* Answers with the level of the packet's ancestor that has this id, or -1. */
static int load_search(uint64_t id)
{
	struct bpf_insn code[3 + DEPTH_MAX * PER_LEVEL + 3] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_7, .imm = (int)id },
		{ .imm = (int)(id >> 32) },
	};
	size_t count = 3;

	for (int level = 0; level < DEPTH_MAX; level++) {
		const struct bpf_insn step[PER_LEVEL] = {
			{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_6 },
			{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = level },
			{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_8, .imm = level },
			{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_ancestor_cgroup_id },
			{ .code = BPF_JMP | BPF_JEQ | BPF_X, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_7,
			  .off = (short)((DEPTH_MAX - 1 - level) * PER_LEVEL + 1) },
		};

		memcpy(&code[count], step, sizeof step);
		count += PER_LEVEL;
	}
	code[count++] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_8, .imm = -1 };
	code[count++] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_8 };
	code[count++] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "weir_levels", "GPL", code, count, NULL);
}

static int search(uint64_t id)
{
	static const unsigned char frame[FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof frame);
	CLEANUP_CLOSE int prog = load_search(id);

	if (prog < 0 || bpf_prog_test_run_opts(prog, &options))
		return -errno;
	return (int)options.retval < 0 ? -ENOENT : (int)options.retval;
}

int levels_above(struct kernel *kernel, unsigned *ret_levels)
{
	struct path mount, events;
	struct stat status;
	int found = 0;

	if (!attach_cgroup_mount(&mount))
		return problem_set(kernel, -ENOENT, "the unified cgroup hierarchy is not mounted");
	path_join(&events, mount.text, "cgroup.events"); /* all but the kernel's own root have it */
	if (path_exists(events.text))
		found = stat(mount.text, &status) ? -errno : search(status.st_ino);
	if (found < 0)
		return problem_set(kernel, found, "in this cgroup namespace it cannot be told how deep `%s` is, so rules cannot "
				   "ask for cgroups: %s", mount.text, strerror(-found));
	*ret_levels = (unsigned)found;
	return 0;
}
