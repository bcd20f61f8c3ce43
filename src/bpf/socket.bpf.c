/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket plane: what one socket receives, as an eBPF socket filter (SO_ATTACH_BPF). The data begins at the
 * transport header and cannot be read in place; all is copied relative to the IP header.
 *
 * Before a filter runs, the kernel has checked the IP header, joined fragments, and cut the packet to its IP length,
 * UDP even to its own (which may be less). So an IP length that is not 0 is taken as it is. In test runs
 * (config.bare) the packet begins with the IP header, and has been checked by nobody.
 */
#include <linux/bpf.h>

typedef struct __sk_buff plane_context;
enum { PLANE_PREEMPTIBLE = 1 };

#define SKB_OF_SOCKET
#define SKB_LENGTH(skb) ((skb)->cb[0]) /* from the IP header on; kept there by plane_parse() */
#include "bpf/skb.h"

/* Accepting keeps the whole packet: what is returned is the length that the kernel trims it to. */
enum { SOCKET_DROP = 0, SOCKET_WHOLE = 0xffffffff };

/* The length of a packet whose IP header says 0: up to the transport header, and what follows. */
OUT_OF_LINE __u32 length_of_big(struct __sk_buff *skb, struct packet *packet, __u32 proto)
{
	struct view view = { .source = skb };
	struct ip_walk walk = { .at = IPV6_SIZE, .end = ~0u >> 1, .proto = proto };

	walk_extensions(&view, packet, &walk);
	return walk.at + skb->len;
}

static __always_inline __u32 length_of(struct __sk_buff *skb, struct packet *packet)
{
	BUFFER(8);
	__u32 length;

	if (config.bare || source_copy(skb, 0, buffer, sizeof buffer))
		return skb->len;
	if (buffer[0] >> 4 == 6) {
		length = get16(buffer + 4);
		return length ? IPV6_SIZE + length : length_of_big(skb, packet, buffer[6]);
	}
	length = get16(buffer + 2);
	return length ? length : (buffer[0] & 15) * 4u + skb->len;
}

OUT_OF_LINE int parse_thoroughly(struct __sk_buff *skb, struct packet *packet)
{
	struct view view = { .source = skb, .length = skb->cb[0], .needed = config.needed };

	return parse_network(&view, packet, skb->protocol, 0, NULL);
}

static __always_inline int plane_parse(struct __sk_buff *skb, struct packet *packet)
{
	packet_clear(packet);
	skb->cb[0] = length_of(skb, packet);
	set_metadata(skb, packet, false);
	return parse_thoroughly(skb, packet);
}

static __always_inline void plane_describe(struct __sk_buff *skb, struct event *event)
{
	event->user = ABSENT_OWNER;
	describe_skb(skb, event, false, false);
}

SEC("socket")
int weir_socket(struct __sk_buff *skb)
{
	enum turn turn = plane_turn();
	struct packet packet;

	if (turn == TURN_BEFORE)
		bpf_tail_call(skb, &before, 0);
	if (turn != TURN_OURS)
		return SOCKET_WHOLE;
	return judge(skb, &packet) == ANSWER_ACCEPT ? SOCKET_WHOLE : SOCKET_DROP;
}
