/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `reject` at hooks that see frames: the packet becomes its own answer, a TCP reset (RFC 9293 3.10.7.1) or
 * ICMP "administratively prohibited" (RFC 1812 5.2.7.1, RFC 4443 3.1), with addresses and MAC addresses
 * swapped, VLAN tags kept.
 *
 * Nothing answers a reset, an ICMP error or redirect, a later fragment, a packet to or from more than one
 * host, or from nobody (RFC 1122 3.2.2, RFC 4443 2.4 e): plane_reply() then fails, and so it does where the
 * packet cannot be changed in size; it must then be dropped, for its bytes may be spoiled.
 *
 * The includer defines, besides what parse.h and plane.h ask for:
 *	REPLY_GROWS_IN_FRONT                          whether reply_make_room() leaves the IP packet where it is in memory
 *	reply_make_room(context, ip, head, size)      cuts the IP packet at offset `ip` to `size` bytes, and puts `head` new
 *	                                              ones before it (in front) or behind it; 0 or an error
 *	reply_resize(context, length)                 the whole packet's new length, not more than it is; 0 or an error
 *	reply_write(context, offset, bytes, size)     0 or an error
 *	reply_length(context)                         the packet's length
 */
#ifndef WEIR_BPF_REJECT_H
#define WEIR_BPF_REJECT_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "bpf/icmp.h"
#include "bpf/parse.h"
#include "bpf/plane.h"

static __always_inline int reply_make_room(plane_context *context, __u32 ip, __u32 head, __u32 size);
static __always_inline int reply_resize(plane_context *context, __u32 length);
static __always_inline int reply_write(plane_context *context, __u32 offset, const void *bytes, __u32 size);
static __always_inline __u32 reply_length(plane_context *context);

#define NET16(value) SWAP(16, (__u16)(value))
#define NET32(value) SWAP(32, (__u32)(value))

/* What is answered: where its headers are. */
struct asked {
	__u32 ip;       /* offset of the IP header */
	__u32 transport;
	__u32 end;      /* where the IP length ends */
};

/* Of both versions. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__u32 unused;
};

enum {
	NO_ANSWER = -1,
	REPLY_HOPS = 64,
	IPV4_DONT_FRAGMENT = 0x4000,
	FRAME_MIN = 60,      /* what the wire wants; a longer frame is not cut below it */
	QUOTE_IPV4 = 548,    /* RFC 1812 4.3.2.3: an error has at most 576 bytes */
	QUOTE_IPV6 = 1232,   /* RFC 4443 3.1: at most 1280 */
	CHUNK = 64,
	ICMP_HEADER = sizeof(struct icmp_header),
	ICMP_PROHIBITED = 13,
	ICMPV6_PROHIBITED = 1,
	ICMPV6_FIRST_QUERY = 128,
};

/* An answer from the IP header on. */
struct answer4 {
	struct iphdr ip;
	union {
		struct tcphdr tcp;
		struct icmp_header icmp;
	};
};

struct answer6 {
	struct ipv6hdr ip;
	union {
		struct tcphdr tcp;
		struct icmp_header icmp;
	};
};

/* --- checksums ------------------------------------------------------------------------------------------------ */

/* `size` is a multiple of 4. */
static __always_inline __u32 sum(const void *bytes, __u32 size, __u32 seed)
{
	return bpf_csum_diff(NULL, 0, (void *)bytes, size, seed);
}

static __always_inline __u16 fold(__u32 partial)
{
	partial = (partial & 0xffff) + (partial >> 16);
	partial = (partial & 0xffff) + (partial >> 16);
	return ~partial;
}

static __always_inline __u32 sum_pseudo4(const struct iphdr *ip, __u32 length)
{
	const __u32 pseudo[] = { ip->saddr, ip->daddr, NET32((__u32)ip->protocol << 16 | length) };

	return sum(pseudo, sizeof pseudo, 0);
}

static __always_inline __u32 sum_pseudo6(const struct ipv6hdr *ip, __u32 length)
{
	const __u32 pseudo[] = { NET32(length), NET32(ip->nexthdr) };

	return sum(&ip->saddr, 2 * sizeof ip->saddr, sum(pseudo, sizeof pseudo, 0));
}

/* --- who gets no answer ----------------------------------------------------------------------------------------- */

/* Not one host: 0.0.0.0, multicast, reserved, broadcast. */
static __always_inline bool is_host4(__u32 address)
{
	__u32 value = NET32(address);

	return value && value < 0xe0000000;
}

static __always_inline bool is_host6(const struct in6_addr *address)
{
	const __u32 *words = (const __u32 *)address;

	return (words[0] | words[1] | words[2] | words[3]) && (NET32(words[0]) >> 24) != 0xff;
}

static __always_inline bool icmp_may_be_answered(__u32 type)
{
	return type != ICMP_UNREACHABLE && type != ICMP_SOURCE_QUENCH && type != ICMP_REDIRECT &&
	       type != ICMP_TIME_EXCEEDED && type != ICMP_PARAMETER_PROBLEM;
}

static __always_inline bool icmpv6_may_be_answered(__u32 type)
{
	return type >= ICMPV6_FIRST_QUERY && type != ICMPV6_REDIRECT;
}

/* --- TCP resets ------------------------------------------------------------------------------------------------- */

/* As a closed port answers: with the number that the other side waits for. */
static __always_inline int make_reset(plane_context *context, const struct asked *asked, struct tcphdr *reset)
{
	struct tcphdr tcp;
	__u32 length;

	if (source_copy(context, asked->transport, &tcp, sizeof tcp) || tcp.rst)
		return NO_ANSWER;
	__builtin_memset(reset, 0, sizeof *reset);
	reset->source = tcp.dest;
	reset->dest = tcp.source;
	reset->doff = sizeof *reset / 4;
	reset->rst = 1;
	if (tcp.ack) {
		reset->seq = tcp.ack_seq;
		return 0;
	}
	length = asked->end - asked->transport - tcp.doff * 4 + tcp.syn + tcp.fin;
	reset->ack = 1;
	reset->ack_seq = NET32(NET32(tcp.seq) + length);
	return 0;
}

/*
 * The kernel cuts no skb within its transport header: options and extension headers leave padding behind the
 * answer.
 */
static __always_inline int resize_for_reset(plane_context *context, const struct asked *asked)
{
	__u32 whole = reply_length(context), length = asked->transport + sizeof(struct tcphdr);

	if (length < FRAME_MIN)
		length = whole < FRAME_MIN ? whole : FRAME_MIN;
	return reply_resize(context, length);
}

/* --- ICMP errors ------------------------------------------------------------------------------------------------ */

/* The asked packet's first bytes, to be summed and, unless the room is in front, moved. */
struct move {
	plane_context *context;
	__u32 at;
	__u32 size;
	__u32 shift;
	__u32 sum;    /* of the bytes */
	__u32 chunks;
	bool failed;
};

/* bpf_loop() callback: one chunk, from the last one to the first, since both places overlap. */
static long move_chunk(__u32 index, struct move *move)
{
	__u8 chunk[CHUNK] __attribute__((aligned(8))) = { 0 };
	__u32 from = (move->chunks - 1 - index) * CHUNK, count = bounded(move->size - from, CHUNK);

	move->failed = true;
	if (source_copy(move->context, move->at + from, chunk, count))
		return 1;
	move->sum = sum(chunk, sizeof chunk, move->sum);
	if (move->shift && reply_write(move->context, move->at + from + move->shift, chunk, count))
		return 1;
	move->failed = false;
	return 0;
}

/* Makes room of `head` bytes before the quoted packet, and cuts what is too much of that. */
static __always_inline int quote(plane_context *context, const struct asked *asked, __u32 head, __u32 most,
				 __u32 *ret_size, __u32 *ret_sum)
{
	struct move move = { .context = context, .at = asked->ip, .size = asked->end - asked->ip };

	if (move.size > most)
		move.size = most;
	if (reply_make_room(context, asked->ip, head, move.size))
		return NO_ANSWER;
	if (REPLY_GROWS_IN_FRONT)
		move.at += head;
	else
		move.shift = head;
	move.chunks = (move.size + CHUNK - 1) / CHUNK;
	bpf_loop(move.chunks, move_chunk, &move, 0);
	*ret_size = move.size;
	*ret_sum = move.sum;
	return move.failed ? NO_ANSWER : 0;
}

/* --- IPv4 ------------------------------------------------------------------------------------------------------- */

static __always_inline void finish4(struct answer4 *answer, const struct iphdr *ip, __u32 proto, __u32 length)
{
	answer->ip = (struct iphdr){
		.version = 4,
		.ihl = sizeof *ip / 4,
		.tot_len = NET16(sizeof *ip + length),
		.frag_off = NET16(IPV4_DONT_FRAGMENT),
		.ttl = REPLY_HOPS,
		.protocol = proto,
		.saddr = ip->daddr,
		.daddr = ip->saddr,
	};
	answer->ip.check = fold(sum(&answer->ip, sizeof answer->ip, 0));
}

static __always_inline int reset4(plane_context *context, const struct asked *asked, const struct iphdr *ip)
{
	const __u32 length = sizeof(struct tcphdr);
	struct answer4 answer;

	if (make_reset(context, asked, &answer.tcp) || resize_for_reset(context, asked))
		return NO_ANSWER;
	finish4(&answer, ip, PROTO_TCP, length);
	answer.tcp.check = fold(sum(&answer.tcp, length, sum_pseudo4(&answer.ip, length)));
	return reply_write(context, asked->ip, &answer, sizeof answer.ip + length);
}

static __always_inline int prohibit4(plane_context *context, const struct asked *asked, const struct iphdr *ip)
{
	struct answer4 answer = { .icmp = { .type = ICMP_UNREACHABLE, .code = ICMP_PROHIBITED } };
	__u32 size, partial;

	if (quote(context, asked, sizeof answer.ip + ICMP_HEADER, QUOTE_IPV4, &size, &partial))
		return NO_ANSWER;
	finish4(&answer, ip, PROTO_ICMP, ICMP_HEADER + size);
	answer.icmp.checksum = fold(sum(&answer.icmp, ICMP_HEADER, partial));
	return reply_write(context, asked->ip, &answer, sizeof answer.ip + ICMP_HEADER);
}

/* `at`: offset of the IP header. */
VERIFIED_ONCE int plane_reply4(plane_context *context, struct packet *packet, __u32 at)
{
	struct asked asked = { .ip = at };
	struct iphdr ip;
	__u8 type;

	if (!packet || source_copy(context, at, &ip, sizeof ip) || !is_host4(ip.saddr) || !is_host4(ip.daddr))
		return NO_ANSWER;
	asked.transport = at + ip.ihl * 4;
	asked.end = ip.tot_len ? at + NET16(ip.tot_len) : reply_length(context);
	if (packet->proto == PROTO_TCP)
		return reset4(context, &asked, &ip);
	if (packet->proto == PROTO_ICMP &&
	    (source_copy(context, asked.transport, &type, 1) || !icmp_may_be_answered(type)))
		return NO_ANSWER;
	return prohibit4(context, &asked, &ip);
}

/* --- IPv6 ------------------------------------------------------------------------------------------------------- */

static __always_inline void finish6(struct answer6 *answer, const struct ipv6hdr *ip, __u32 proto, __u32 length)
{
	answer->ip = (struct ipv6hdr){
		.version = 6,
		.payload_len = NET16(length),
		.nexthdr = proto,
		.hop_limit = REPLY_HOPS,
		.saddr = ip->daddr,
		.daddr = ip->saddr,
	};
}

static __always_inline int reset6(plane_context *context, const struct asked *asked, const struct ipv6hdr *ip)
{
	const __u32 length = sizeof(struct tcphdr);
	struct answer6 answer;

	if (make_reset(context, asked, &answer.tcp) || resize_for_reset(context, asked))
		return NO_ANSWER;
	finish6(&answer, ip, PROTO_TCP, length);
	answer.tcp.check = fold(sum(&answer.tcp, length, sum_pseudo6(&answer.ip, length)));
	return reply_write(context, asked->ip, &answer, sizeof answer.ip + length);
}

static __always_inline int prohibit6(plane_context *context, const struct asked *asked, const struct ipv6hdr *ip)
{
	struct answer6 answer = { .icmp = { .type = ICMPV6_UNREACHABLE, .code = ICMPV6_PROHIBITED } };
	__u32 size, partial;

	if (quote(context, asked, sizeof answer.ip + ICMP_HEADER, QUOTE_IPV6, &size, &partial))
		return NO_ANSWER;
	finish6(&answer, ip, PROTO_ICMPV6, ICMP_HEADER + size);
	partial = sum(&answer.icmp, ICMP_HEADER, partial);
	partial = sum(&answer.ip.saddr, 2 * sizeof answer.ip.saddr, partial);
	partial = sum((const __u32[]){ NET32(ICMP_HEADER + size), NET32(PROTO_ICMPV6) }, 8, partial);
	answer.icmp.checksum = fold(partial);
	return reply_write(context, asked->ip, &answer, sizeof answer.ip + ICMP_HEADER);
}

/* Finds the transport header behind extension headers, which parsing has found to be sound. */
static __always_inline int find_transport6(plane_context *context, struct packet *packet, struct asked *asked,
					   __u32 proto)
{
	const struct view view = { .source = context };
	struct ip_walk walk = { .at = asked->ip + IPV6_SIZE, .end = asked->end, .proto = proto };

	if (is_extension(proto) && walk_extensions(&view, packet, &walk) != PARSE_AGAIN)
		return NO_ANSWER;
	asked->transport = walk.at;
	return 0;
}

VERIFIED_ONCE int plane_reply6(plane_context *context, struct packet *packet, __u32 at)
{
	struct asked asked = { .ip = at };
	struct ipv6hdr ip;
	__u8 type;

	if (!packet || source_copy(context, at, &ip, sizeof ip) || !is_host6(&ip.saddr) || !is_host6(&ip.daddr))
		return NO_ANSWER;
	asked.end = ip.payload_len ? at + IPV6_SIZE + NET16(ip.payload_len) : reply_length(context);
	if (find_transport6(context, packet, &asked, ip.nexthdr))
		return NO_ANSWER;
	if (packet->proto == PROTO_TCP)
		return reset6(context, &asked, &ip);
	if (packet->proto == PROTO_ICMPV6 &&
	    (source_copy(context, asked.transport, &type, 1) || !icmpv6_may_be_answered(type)))
		return NO_ANSWER;
	return prohibit6(context, &asked, &ip);
}

/* --- the link layer --------------------------------------------------------------------------------------------- */

/* Swaps the MAC addresses, if the frame was for one station; finds what is behind at most VLAN_TAGS_MAX tags. */
static __always_inline int turn_frame(plane_context *context, __u32 *ret_ip)
{
	__u8 frame[ETHER_SIZE] __attribute__((aligned(8))), turned[2 * ETH_ALEN] __attribute__((aligned(8)));
	__u32 at = ETHER_SIZE;
	__u16 type;

	if (source_copy(context, 0, frame, ETHER_SIZE) || frame[0] & 1)
		return NO_ANSWER;
	type = LOAD(__u16, frame + 2 * ETH_ALEN);
	for (int tags = 0; tags < VLAN_TAGS_MAX && is_vlan(type); tags++) {
		if (source_copy(context, at + 2, &type, sizeof type))
			return NO_ANSWER;
		at += VLAN_SIZE;
	}
	__builtin_memcpy(turned, frame + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(turned + ETH_ALEN, frame, ETH_ALEN);
	*ret_ip = at;
	return reply_write(context, 0, turned, sizeof turned);
}

/* 0: the packet is its answer now. */
VERIFIED_ONCE int plane_reply(plane_context *context, struct packet *packet)
{
	__u32 ip = 0;

	if (!packet || packet->fragment == FRAGMENT_LATER)
		return NO_ANSWER;
	if (packet->family != FAMILY_IPV4 && packet->family != FAMILY_IPV6)
		return NO_ANSWER;
	if (!config.bare && turn_frame(context, &ip))
		return NO_ANSWER;
	if (packet->family == FAMILY_IPV4)
		return plane_reply4(context, packet, ip);
	return plane_reply6(context, packet, ip);
}

#endif
