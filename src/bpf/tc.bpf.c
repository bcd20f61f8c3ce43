/* SPDX-License-Identifier: GPL-2.0-only */
/* The TC plane, ingress and egress, as a tcx link or a clsact filter. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

typedef struct __sk_buff plane_context;
enum { PLANE_PREEMPTIBLE = 0, REPLY_GROWS_IN_FRONT = 0 };
#define PLANE_CACHES
#define PLANE_PACES
#define PLANE_MARKS

#define PLANE_FRAMES
#include "bpf/skb.h"
#include "bpf/reject.h"

static __always_inline bool leaving(void)
{
	return config.hook == HOOK_TC_EGRESS;
}

static __always_inline int parse_whole(struct __sk_buff *skb, const struct view *view, struct packet *packet)
{
	if (config.bare) {
		packet->eth_type = SWAP(16, (__u16)skb->protocol);
		return parse_network(view, packet, skb->protocol, 0, NULL);
	}
	return parse_frame(view, packet, skb->vlan_present);
}

VERIFIED_ONCE int plane_parse_again(struct __sk_buff *skb, struct packet *packet)
{
	struct view view = skb_view(skb, false);

	if (!packet)
		return PARSE_MALFORMED;
	return parse_whole(skb, &view, packet);
}

static __always_inline int plane_parse(struct __sk_buff *skb, struct packet *packet)
{
	struct view view = skb_view(skb, true);
	int done;

	packet_clear(packet);
	set_metadata(skb, packet, leaving());
	if (leaving())
		set_owner(skb, packet);
	if (view.needed & NEEDS(FIELD_VLAN) && skb->vlan_present)
		packet->vlan = skb->vlan_tci & 0xfff;
	done = parse_whole(skb, &view, packet);
	if (LIKELY(done != PARSE_AGAIN))
		return done;
	set_addresses4(packet, 0, 0);
	return plane_parse_again(skb, packet);
}

static __always_inline void plane_describe(struct __sk_buff *skb, struct event *event)
{
	event->user = leaving() ? skb_owner(skb) : ABSENT_OWNER;
	if (leaving())
		describe_noted(skb, event);
	describe_skb(skb, event, leaving(), !config.bare);
}

/* TCP may have set a later time already. */
static __always_inline void plane_delay(struct __sk_buff *skb, __u64 until_ns)
{
	if (skb->tstamp < until_ns)
		skb->tstamp = until_ns;
}

static __always_inline void plane_mark_congested(struct __sk_buff *skb)
{
	bpf_skb_ecn_set_ce(skb);
}

static __always_inline int reply_resize(struct __sk_buff *skb, __u32 length)
{
	return bpf_skb_change_tail(skb, length, 0);
}

static __always_inline int reply_write(struct __sk_buff *skb, __u32 offset, const void *bytes, __u32 size)
{
	return bpf_skb_store_bytes(skb, offset, bytes, size, 0);
}

static __always_inline int reply_make_room(struct __sk_buff *skb, __u32 ip, __u32 head, __u32 size)
{
	return reply_resize(skb, ip + head + size);
}

static __always_inline __u32 reply_length(struct __sk_buff *skb)
{
	return skb->len;
}

/*
 * At ingress the answer leaves by the device that the packet came by. At egress it arrives there, as if the
 * other side had sent it: its MAC addresses are swapped, so the kernel takes it as the host's own.
 */
static __always_inline int answer(struct __sk_buff *skb, struct packet *packet)
{
	if (plane_reply(skb, packet))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, leaving() ? BPF_F_INGRESS : 0);
}

SEC("tc")
int weir_tc(struct __sk_buff *skb)
{
	enum turn turn = plane_turn();
	struct packet packet;
	__u32 verdict;

	if (turn == TURN_BEFORE)
		bpf_tail_call(skb, &before, 0);
	if (turn != TURN_OURS)
		return TC_ACT_UNSPEC;
	verdict = judge(skb, &packet);
	if (verdict == ANSWER_ACCEPT)
		return TC_ACT_UNSPEC;
	return verdict == ANSWER_REJECT && !config.no_reject ? answer(skb, &packet) : TC_ACT_SHOT;
}
