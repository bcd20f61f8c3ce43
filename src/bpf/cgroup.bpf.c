/* SPDX-License-Identifier: GPL-2.0-only */
/* The cgroup plane: IP packets of a cgroup's sockets. Built twice, with EGRESS 0 and 1. */
#include <linux/bpf.h>

typedef struct __sk_buff plane_context;
enum { PLANE_PREEMPTIBLE = 1 };
#define PLANE_MARKS

#include "bpf/skb.h"

#if EGRESS
#define SECTION "cgroup_skb/egress"
#else
#define SECTION "cgroup_skb/ingress"
#endif

/*
 * What the kernel makes of the answer (include/linux/bpf-cgroup.h). At egress a dropped packet is dropped in
 * silence, as on the wire; a rejected one is an error of the sender's system call.
 */
enum { CGROUP_REFUSE = 0, CGROUP_PASS = 1, CGROUP_EGRESS_DROP = 2, CGROUP_EGRESS_CONGESTED = 3 };

VERIFIED_ONCE int plane_parse_again(struct __sk_buff *skb, struct packet *packet)
{
	struct view view = skb_view(skb, false);

	if (!packet)
		return PARSE_MALFORMED;
	return parse_network(&view, packet, skb->protocol, 0, NULL);
}

static __always_inline int plane_parse(struct __sk_buff *skb, struct packet *packet)
{
	struct view view = skb_view(skb, true);
	int done;

	packet_clear(packet);
	set_metadata(skb, packet, EGRESS);
	set_owner(skb, packet);
	done = parse_network(&view, packet, skb->protocol, 0, NULL);
	if (LIKELY(done != PARSE_AGAIN))
		return done;
	set_addresses4(packet, 0, 0);
	return plane_parse_again(skb, packet);
}

static __always_inline void plane_describe(struct __sk_buff *skb, struct event *event)
{
	event->user = skb_owner(skb);
	describe_noted(skb, event);
	describe_skb(skb, event, EGRESS, false);
}

static __always_inline void plane_mark_congested(struct __sk_buff *skb)
{
	bpf_skb_ecn_set_ce(skb);
}

SEC(SECTION)
int weir_cgroup(struct __sk_buff *skb)
{
	enum turn turn = plane_turn();
	struct packet packet;
	__u32 verdict;

	if (turn == TURN_BEFORE)
		bpf_tail_call(skb, &before, 0);
	if (turn != TURN_OURS)
		return CGROUP_PASS;
	verdict = judge(skb, &packet);
	if (verdict == ANSWER_ACCEPT)
		return EGRESS && config.rated && packet.whole & PACKET_CONGESTED ? CGROUP_EGRESS_CONGESTED : CGROUP_PASS;
	return EGRESS && verdict == ANSWER_DROP ? CGROUP_EGRESS_DROP : CGROUP_REFUSE;
}
