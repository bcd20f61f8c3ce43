/* SPDX-License-Identifier: GPL-2.0-only */
/* The TC plane, ingress and egress, as a tcx link or a clsact filter. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

typedef struct __sk_buff plane_context;
enum { PLANE_PREEMPTIBLE = 0 };

#include "bpf/skb.h"

static __always_inline bool leaving(void)
{
	return config.hook == HOOK_TC_EGRESS;
}

OUT_OF_LINE int parse_thoroughly(struct __sk_buff *skb, struct packet *packet)
{
	struct view view = skb_view(skb, false);

	return parse_frame(&view, packet, skb->vlan_present);
}

static __always_inline int plane_parse(struct __sk_buff *skb, struct packet *packet)
{
	struct view view = skb_view(skb, true);
	bool tagged = skb->vlan_present;
	int done;

	packet_clear(packet);
	set_metadata(skb, packet, leaving());
	if (leaving())
		set_owner(skb, packet, view.needed);
	if (tagged && view.needed & NEEDS(FIELD_VLAN))
		packet->vlan = skb->vlan_tci & 0xfff;
	done = parse_frame(&view, packet, tagged);
	return done == PARSE_AGAIN ? parse_thoroughly(skb, packet) : done;
}

static __always_inline void plane_describe(struct __sk_buff *skb, struct event *event)
{
	event->user = leaving() ? skb_owner(skb) : ABSENT_OWNER;
	describe_skb(skb, event, leaving(), true);
}

SEC("tc")
int weir_tc(struct __sk_buff *skb)
{
	enum turn turn = plane_turn();
	__u32 verdict;

	if (turn == TURN_BEFORE)
		bpf_tail_call(skb, &before, 0);
	if (turn != TURN_OURS)
		return TC_ACT_UNSPEC;
	verdict = judge(skb);
	if (verdict == ANSWER_ACCEPT)
		return TC_ACT_UNSPEC;
	return TC_ACT_SHOT;
}
