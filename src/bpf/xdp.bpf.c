/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The XDP plane: whole frames before the stack. One program a device, further policies behind it through
 * `after`.
 */
#include <linux/bpf.h>

typedef struct xdp_md plane_context;
enum { PLANE_PREEMPTIBLE = 0 };
#define PLANE_CACHES

/* Drivers keep room in front of a frame, but not always behind it: veth's small packets fill their buffers. */
enum { REPLY_GROWS_IN_FRONT = 1 };

#include "bpf/xdp.h"
#include "bpf/reject.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} after SEC(".maps");

enum { LINK_MAX = ETHER_SIZE + VLAN_TAGS_MAX * VLAN_SIZE + 2 }; /* a multiple of 8 */

static __always_inline __u32 reply_length(struct xdp_md *context)
{
	return bpf_xdp_get_buff_len(context);
}

static __always_inline int reply_resize(struct xdp_md *context, __u32 length)
{
	return bpf_xdp_adjust_tail(context, (int)length - (int)reply_length(context));
}

static __always_inline int reply_write(struct xdp_md *context, __u32 offset, const void *bytes, __u32 size)
{
	return bpf_xdp_store_bytes(context, offset, (void *)bytes, size);
}

/* The link-layer header goes to the front; what follows it there is overwritten by the answer. */
static __always_inline int reply_make_room(struct xdp_md *context, __u32 ip, __u32 head, __u32 size)
{
	__u8 link[LINK_MAX] __attribute__((aligned(8)));

	if (reply_resize(context, ip + size) || bpf_xdp_adjust_head(context, -(int)head))
		return -1;
	if (source_copy(context, head, link, sizeof link))
		return -1;
	return reply_write(context, 0, link, sizeof link);
}

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
	struct packet packet;
	__u32 verdict;

	if (turn == TURN_BEFORE) {
		bpf_tail_call(context, &before, 0);
		return pass_on(context);
	}
	if (turn == TURN_OVER)
		return pass_on(context);
	verdict = judge(context, &packet);
	if (LIKELY(verdict == ANSWER_ACCEPT))
		return pass_on(context);
	if (verdict == ANSWER_REJECT && !config.no_reject && !plane_reply(context, &packet))
		return XDP_TX;
	return XDP_DROP;
}
