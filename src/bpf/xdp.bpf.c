/* SPDX-License-Identifier: GPL-2.0-only */
/* The XDP plane: whole frames before the stack. One program a device, further policies behind it through `after`. */
#include <linux/bpf.h>

typedef struct xdp_md plane_context;
enum { PLANE_PREEMPTIBLE = 0 };

#include "bpf/xdp.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} after SEC(".maps");

/* This policy has no objection: the next one's turn. */
static __always_inline int pass_on(struct xdp_md *context)
{
	bpf_tail_call(context, &after, 0);
	return XDP_PASS;
}

SEC("xdp.frags")
int weir_xdp(struct xdp_md *context)
{
	enum turn turn = plane_turn();
	__u32 verdict;

	if (turn == TURN_BEFORE) {
		bpf_tail_call(context, &before, 0);
		return pass_on(context);
	}
	if (turn == TURN_OVER)
		return pass_on(context);
	verdict = judge(context);
	if (verdict == ANSWER_ACCEPT)
		return pass_on(context);
	if (verdict == ANSWER_REJECT)
		return xdp_reject(context);
	return XDP_DROP;
}
