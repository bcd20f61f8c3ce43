/* SPDX-License-Identifier: GPL-2.0-only */
/* From which programs the process that makes a system call descends, and the owner of a socket. */
#ifndef WEIR_BPF_LINEAGE_H
#define WEIR_BPF_LINEAGE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/lineage_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LINEAGE_MAX);
	__type(key, __u32);
	__type(value, __u32);
} state_lineage SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u32);
} state_trees SEC(".maps");

static __always_inline __u32 lineage_of(__u32 process)
{
	const __u32 *tree = bpf_map_lookup_elem(&state_lineage, &process);

	return tree ? *tree : 0;
}

#endif
