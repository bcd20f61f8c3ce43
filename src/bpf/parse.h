/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The packet parser of every data plane, also compiled for the host by tests and the fuzzer.
 *
 * In: a view of the bytes that a hook meets. Out: struct packet, or PARSE_MALFORMED for a packet whose headers
 * are cut off or contradict themselves, whatever the policy looks at. Two forms of the same code: the fast one
 * reads the linear part in place, and says PARSE_AGAIN where that does not settle it (headers beyond the
 * linear part, options, extension headers, fragments, anything odd); the thorough one copies header by header
 * and always settles it. What is tested and stored in the fast one is all that most packets cost: count the
 * instructions when changing it. It notes in packet->whole that the IP packet ends where the linear part
 * does, but for padding.
 *
 * The includer defines, before: `parse_source`, the type that bytes are copied from (a hook's context), and
 *	static int source_copy(parse_source *source, __u32 offset, void *buffer, __u32 size)
 * which copies `size` bytes from `offset` on and returns 0, or an error beyond the packet's end.
 */
#ifndef WEIR_BPF_PARSE_H
#define WEIR_BPF_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "packet/field.h"
#include "packet/packet.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Keeps TCP and UDP over IPv4 and IPv6 in one line of code; the rest jumps away. */
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

enum parse_status { PARSE_OK, PARSE_MALFORMED, PARSE_AGAIN };

#define NEEDS(field) FIELD_BIT(field)
#define NEEDS_PORTS (NEEDS(FIELD_SRC_PORT) | NEEDS(FIELD_DST_PORT))
#define NEEDS_ICMP (NEEDS(FIELD_ICMP_TYPE) | NEEDS(FIELD_ICMP_CODE))
#define NEEDS_IPV4 (NEEDS(FIELD_IP_SRC) | NEEDS(FIELD_IP_DST))
#define NEEDS_IPV6 (NEEDS(FIELD_IPV6_SRC) | NEEDS(FIELD_IPV6_DST))
#define NEEDS_MACS (NEEDS(FIELD_ETH_SRC) | NEEDS(FIELD_ETH_DST))
#define NEEDS_IP_DETAILS \
	(NEEDS(FIELD_LENGTH) | NEEDS(FIELD_TTL) | NEEDS(FIELD_DSCP) | NEEDS(FIELD_ECN))
#define NEEDS_CGROUPS (NEEDS(FIELD_CGROUP_0) | NEEDS(FIELD_CGROUP_1) | NEEDS(FIELD_CGROUP_2))
#define NEEDS_OWNER (NEEDS(FIELD_USER) | NEEDS(FIELD_GROUP) | NEEDS(FIELD_PROGRAM) | NEEDS(FIELD_TREE) | NEEDS_CGROUPS)

struct view {
	parse_source *source;
	const __u8 *data; /* the linear part, for the fast form */
	const __u8 *end;
	__u32 length;     /* of the packet, the nonlinear part included */
	field_mask needed; /* bit f: struct packet's member for enum field f is wanted */
	bool fast;
};

/* One IP packet on the way to its transport header. */
struct ip_walk {
	__u32 at;         /* offset of what comes next */
	__u32 end;        /* offset where the IP length ends */
	__u32 proto;
	__u32 fragment;   /* enum packet_fragment */
	bool zero_length; /* the IP header says 0: BIG TCP, jumbograms */
};

enum {
	ETHER_SIZE = 14,
	VLAN_SIZE = 4,
	IPV4_SIZE = 20,
	IPV6_SIZE = 40,
	EXTENSION_SIZE = 8, /* the least that any has */
	TCP_SIZE = 20,
	TCP_FLAGS_AT = 13,
	UDP_SIZE = 8,
	SCTP_SIZE = 12,
	ICMP_SIZE = 8,
	ICMPV6_SIZE = 4,
	TRAILER_MAX = 128, /* what a frame may have behind the IP packet: padding, and what switches add */

	VLAN_TAGS_MAX = 2,
	EXTENSIONS_MAX = 16,

	ETHER_IPV4 = 0x0800,
	ETHER_ARP = 0x0806,
	ETHER_VLAN = 0x8100,
	ETHER_IPV6 = 0x86dd,
	ETHER_EAPOL = 0x888e,
	ETHER_SERVICE_VLAN = 0x88a8,
	ETHER_LLDP = 0x88cc,
	ETHER_TYPES_BEGIN = 1536, /* below: an IEEE 802.3 length */

	PROTO_HOP_BY_HOP = 0,
	PROTO_ICMP = 1,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_AUTH = 51,
	PROTO_ICMPV6 = 58,
	PROTO_OPTIONS = 60,
	PROTO_SCTP = 132,
	PROTO_MOBILITY = 135,
	PROTO_UDP_LITE = 136,

	IPV4_MORE = 0x2000,
	IPV4_OFFSET = 0x1fff,
};

/* --- bytes ---------------------------------------------------------------------------------------------------- */

/*
 * In BPF one load each; the compiler would otherwise read byte by byte. Packets may be read unaligned, copies
 * on the stack may not: every header's copy begins aligned (BUFFER), and every value is aligned within its
 * header.
 */
#ifdef __bpf__
#define LOAD(type, at) (*(const type *)(at))
#else
#define LOAD(type, at) ({ type load_value; __builtin_memcpy(&load_value, (at), sizeof load_value); load_value; })
#endif

#define BUFFER(size) __u8 buffer[size] __attribute__((aligned(8)))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SWAP(bits, value) __builtin_bswap##bits(value)
#else
#define SWAP(bits, value) (value)
#endif

static __always_inline __u32 get16(const __u8 *at)
{
	return SWAP(16, LOAD(__u16, at));
}

static __always_inline __u32 get32(const __u8 *at)
{
	return SWAP(32, LOAD(__u32, at));
}

static __always_inline __u64 get64(const __u8 *at)
{
	return SWAP(64, LOAD(__u64, at));
}

/* The raw value of 16 bits in network byte order, for comparisons without swapping. */
#define RAW16(value) ((__u16)SWAP(16, (__u16)(value)))

/* Where the linear part ends; an includer may know where to read it. */
#ifndef VIEW_END
#define VIEW_END(view) ((view)->end)
#endif

/* `size` bytes from `offset` on: in place, or copied to `buffer`; NULL if the form cannot have them. */
static __always_inline const __u8 *view_at(const struct view *view, __u32 offset, __u32 size, __u8 *buffer)
{
	if (!view->fast)
		return source_copy(view->source, offset, buffer, size) ? NULL : buffer;
#ifdef __bpf__
	return view->data + offset + size > VIEW_END(view) ? NULL : view->data + offset;
#else
	return (size_t)(view->end - view->data) < (size_t)offset + size ? NULL : view->data + offset;
#endif
}

/* What to say of a packet that looks wrong: the fast form leaves the judgement to the thorough one. */
static __always_inline int view_bad(const struct view *view)
{
	return view->fast ? PARSE_AGAIN : PARSE_MALFORMED;
}

/*
 * Words of struct packet, in one store each: the classifier reads whole words, too, and a processor waits for what stands in
 * several stores that are under way.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define QUARTER(place, value) ((__u64)(value) << 16 * (place))
#define HALVES(a, b) ((__u64)(a) | (__u64)(b) << 32)
#else
#define QUARTER(place, value) ((__u64)(value) << (48 - 16 * (place)))
#define HALVES(a, b) ((__u64)(a) << 32 | (__u64)(b))
#endif
#define WORD(a, b, c, d) (QUARTER(0, a) | QUARTER(1, b) | QUARTER(2, c) | QUARTER(3, d))

typedef __u64 packet_word __attribute__((may_alias));

#define PACKET_WORD(packet, member) \
	(*(packet_word *)((char *)(packet) + offsetof(struct packet, member)))

/* --- transport ------------------------------------------------------------------------------------------------ */

static __always_inline void set_ports(const struct view *view, struct packet *packet, const __u8 *at)
{
	if (UNLIKELY(!(view->needed & NEEDS_PORTS)))
		return;
	PACKET_WORD(packet, src_port) = HALVES(get16(at), get16(at + 2));
}

static __always_inline int parse_tcp(const struct view *view, struct packet *packet, const struct ip_walk *ip)
{
	BUFFER(TCP_SIZE);
	const __u8 *tcp = view_at(view, ip->at, TCP_SIZE, buffer);
	__u32 size;

	if (UNLIKELY(!tcp))
		return view_bad(view);
	size = (tcp[12] >> 4) * 4u;
	if (UNLIKELY(size < TCP_SIZE || ip->at + size > ip->end))
		return view_bad(view);
	set_ports(view, packet, tcp);
	if (view->needed & NEEDS(FIELD_TCP_FLAGS))
		packet->tcp_flags = tcp[TCP_FLAGS_AT];
	return PARSE_OK;
}

/* A fragment's length field is that of the whole datagram; 0 stands for a datagram over 64 KiB. */
static __always_inline int parse_udp(const struct view *view, struct packet *packet, const struct ip_walk *ip)
{
	BUFFER(UDP_SIZE);
	const __u8 *udp = view_at(view, ip->at, UDP_SIZE, buffer);
	__u32 length;

	if (UNLIKELY(!udp || ip->at + UDP_SIZE > ip->end))
		return view_bad(view);
	length = get16(udp + 4);
	if (ip->fragment == FRAGMENT_NONE && !(length == 0 && ip->zero_length) &&
	    (length < UDP_SIZE || ip->at + length > ip->end))
		return view_bad(view);
	set_ports(view, packet, udp);
	return PARSE_OK;
}

/* UDP-Lite (its length field is a checksum coverage) and SCTP: nothing but ports and a least size. */
static __always_inline int parse_ports(const struct view *view, struct packet *packet, const struct ip_walk *ip,
				       __u32 size)
{
	BUFFER(4);
	const __u8 *ports = view_at(view, ip->at, sizeof buffer, buffer);

	if (!ports || ip->at + size > ip->end)
		return view_bad(view);
	set_ports(view, packet, ports);
	return PARSE_OK;
}

static __always_inline int parse_icmp(const struct view *view, struct packet *packet, const struct ip_walk *ip,
				      __u32 size)
{
	BUFFER(2);
	const __u8 *icmp = view_at(view, ip->at, sizeof buffer, buffer);

	if (!icmp || ip->at + size > ip->end)
		return view_bad(view);
	if (view->needed & NEEDS_ICMP) {
		packet->icmp_type = icmp[0];
		packet->icmp_code = icmp[1];
	}
	return PARSE_OK;
}

/* Behind the IP headers; `icmp` is the ICMP of this IP version, `icmp_size` its least size. */
static __always_inline int parse_transport(const struct view *view, struct packet *packet, const struct ip_walk *ip,
					   __u32 icmp, __u32 icmp_size)
{
	packet->proto = ip->proto;
	if (!view->fast)
		packet->fragment = ip->fragment;
	if (UNLIKELY(view->needed & NEEDS(FIELD_FLOW))) {
		packet->transport = ip->at;
		packet->end = ip->end;
	}
	if (LIKELY(ip->proto == PROTO_TCP))
		return parse_tcp(view, packet, ip);
	if (LIKELY(ip->proto == PROTO_UDP))
		return parse_udp(view, packet, ip);
	if (ip->proto == icmp)
		return parse_icmp(view, packet, ip, icmp_size);
	if (ip->proto == PROTO_UDP_LITE)
		return parse_ports(view, packet, ip, UDP_SIZE);
	if (ip->proto == PROTO_SCTP)
		return parse_ports(view, packet, ip, SCTP_SIZE);
	return PARSE_OK;
}

/* TCP at offset 1 (8 bytes) would overwrite the flags of the first fragment (RFC 3128). */
static __always_inline int parse_later_fragment(const struct view *view, struct packet *packet, __u32 proto,
						__u32 offset)
{
	packet->proto = proto;
	packet->fragment = FRAGMENT_LATER;
	return proto == PROTO_TCP && offset == 1 ? view_bad(view) : PARSE_OK;
}

/* --- IP ------------------------------------------------------------------------------------------------------- */

static __always_inline void set_details(const struct view *view, struct packet *packet, __u32 length, __u32 hops,
					__u32 traffic_class)
{
	if (LIKELY(!(view->needed & NEEDS_IP_DETAILS)))
		return;
	packet->length = length;
	packet->ttl = hops;
	packet->dscp = traffic_class >> 2;
	packet->ecn = traffic_class & 3;
}

/* The first member of a union of four and eight bytes, the rest zero, in one store. */
#define FIRST_HALF(value) HALVES(value, 0)

static __always_inline void set_addresses4(struct packet *packet, __u32 source, __u32 destination)
{
	packet->src_hi = FIRST_HALF(source);
	packet->dst_hi = FIRST_HALF(destination);
	packet->src_lo = packet->dst_lo = 0;
}

static __always_inline int parse_ipv4(const struct view *view, struct packet *packet, __u32 at)
{
	struct ip_walk walk = { .fragment = FRAGMENT_NONE };
	BUFFER(IPV4_SIZE);
	const __u8 *ip = view_at(view, at, IPV4_SIZE, buffer);
	__u32 header = IPV4_SIZE, total, fragment, left = view->length - at;

	if (UNLIKELY(!ip))
		return view_bad(view);
	fragment = LOAD(__u16, ip + 6) & RAW16(IPV4_MORE | IPV4_OFFSET);
	total = get16(ip + 2);
	if (view->fast) {
		if (UNLIKELY(ip[0] != (4 << 4 | IPV4_SIZE / 4) || fragment || total < IPV4_SIZE || total > left))
			return PARSE_AGAIN;
		packet->whole = left - total <= TRAILER_MAX;
		walk.zero_length = false;
	} else {
		header = (ip[0] & 15) * 4u;
		walk.zero_length = total == 0;
		if (ip[0] >> 4 != 4 || total > left)
			return PARSE_MALFORMED;
		if (!total)
			total = left;
		if (header < IPV4_SIZE || header > total)
			return PARSE_MALFORMED;
	}
	packet->family = FAMILY_IPV4;
	set_details(view, packet, total, ip[8], ip[1]);
	set_addresses4(packet, get32(ip + 12), get32(ip + 16));
	walk.at = at + header;
	walk.end = at + total;
	walk.proto = ip[9];
	if (UNLIKELY(fragment & RAW16(IPV4_OFFSET)))
		return parse_later_fragment(view, packet, walk.proto, SWAP(16, (__u16)fragment) & IPV4_OFFSET);
	if (fragment)
		walk.fragment = FRAGMENT_FIRST;
	return parse_transport(view, packet, &walk, PROTO_ICMP, ICMP_SIZE);
}

static __always_inline bool is_extension(__u32 proto)
{
	return proto == PROTO_HOP_BY_HOP || proto == PROTO_ROUTING || proto == PROTO_FRAGMENT ||
	       proto == PROTO_AUTH || proto == PROTO_OPTIONS || proto == PROTO_MOBILITY;
}

/* The walk over IPv6 extension headers. */
struct extensions {
	parse_source *source;
	struct packet *packet;
	struct ip_walk *ip;
	int outcome; /* PARSE_AGAIN: at the transport header; PARSE_OK: in a later fragment */
};

enum { WALK_ON = 0, WALK_ENDS = 1 }; /* what a bpf_loop() callback returns */

/* A fragment header: whether it ends the walk. */
static __always_inline long walk_fragment(struct extensions *walk, __u32 next, __u32 fragment)
{
	const struct view thorough = { .fast = false };

	if (fragment >> 3) {
		walk->outcome = parse_later_fragment(&thorough, walk->packet, next, fragment >> 3);
		return WALK_ENDS;
	}
	if (fragment & 1)
		walk->ip->fragment = FRAGMENT_FIRST;
	return WALK_ON;
}

static long walk_extension(__u32 index, struct extensions *walk)
{
	__u8 header[EXTENSION_SIZE] __attribute__((aligned(8)));
	__u32 size = EXTENSION_SIZE, proto = walk->ip->proto;

	if (!is_extension(proto)) {
		walk->outcome = PARSE_AGAIN;
		return WALK_ENDS;
	}
	if (index == EXTENSIONS_MAX || source_copy(walk->source, walk->ip->at, header, EXTENSION_SIZE))
		return WALK_ENDS;
	if (proto == PROTO_AUTH)
		size = (header[1] + 2u) * 4;
	else if (proto != PROTO_FRAGMENT)
		size = (header[1] + 1u) * 8;
	if (walk->ip->at + size > walk->ip->end)
		return WALK_ENDS;
	if (proto == PROTO_FRAGMENT && walk_fragment(walk, header[0], get16(header + 2)) == WALK_ENDS)
		return WALK_ENDS;
	walk->ip->at += size;
	walk->ip->proto = header[0];
	return WALK_ON;
}

/* In BPF a callback for each header: the verifier then looks at one, not at each of them and what may follow. */
static __always_inline int walk_extensions(const struct view *view, struct packet *packet, struct ip_walk *ip)
{
	struct extensions walk = { .source = view->source, .packet = packet, .ip = ip, .outcome = PARSE_MALFORMED };

#ifdef __bpf__
	bpf_loop(EXTENSIONS_MAX + 1, walk_extension, &walk, 0);
#else
	for (__u32 i = 0; i <= EXTENSIONS_MAX && walk_extension(i, &walk) == WALK_ON; i++)
		;
#endif
	return walk.outcome;
}

static __always_inline void set_addresses6(struct packet *packet, const __u8 *ip)
{
	packet->src_hi = get64(ip + 8);
	packet->src_lo = get64(ip + 16);
	packet->dst_hi = get64(ip + 24);
	packet->dst_lo = get64(ip + 32);
}

static __always_inline int parse_ipv6(const struct view *view, struct packet *packet, __u32 at)
{
	struct ip_walk walk = { .at = at + IPV6_SIZE, .fragment = FRAGMENT_NONE };
	BUFFER(IPV6_SIZE);
	const __u8 *ip = view_at(view, at, IPV6_SIZE, buffer);
	__u32 payload, left = view->length - at;

	if (UNLIKELY(!ip || ip[0] >> 4 != 6))
		return view_bad(view);
	payload = get16(ip + 4);
	if (view->fast && !payload)
		return PARSE_AGAIN;
	walk.zero_length = payload == 0;
	if (UNLIKELY(IPV6_SIZE + payload > left))
		return view_bad(view);
	if (view->fast)
		packet->whole = left - (IPV6_SIZE + payload) <= TRAILER_MAX;
	if (payload)
		left = IPV6_SIZE + payload;
	packet->family = FAMILY_IPV6;
	set_details(view, packet, left, ip[7], (ip[0] & 15) << 4 | ip[1] >> 4);
	set_addresses6(packet, ip);
	walk.end = at + left;
	walk.proto = ip[6];
	if (UNLIKELY(is_extension(walk.proto))) {
		int outcome;

		if (view->fast)
			return PARSE_AGAIN;
		outcome = walk_extensions(view, packet, &walk);
		if (outcome != PARSE_AGAIN)
			return outcome;
	}
	return parse_transport(view, packet, &walk, PROTO_ICMPV6, ICMPV6_SIZE);
}

/* --- the link layer ------------------------------------------------------------------------------------------- */

/* Types as they stand in the frame. */
static __always_inline bool is_vlan(__u16 raw_type)
{
	return raw_type == RAW16(ETHER_VLAN) || raw_type == RAW16(ETHER_SERVICE_VLAN);
}

static __always_inline __u64 frame_destination(const __u8 *frame)
{
	return (__u64)get32(frame) << 16 | get16(frame + 4);
}

static __always_inline __u64 frame_source(const __u8 *frame)
{
	return (__u64)get16(frame + 6) << 32 | get32(frame + 8);
}

/*
 * Frames that the host itself lives from: ARP, EAPOL, LLDP, and the bridges' spanning tree (IEEE 802.1D
 * 7.12.3).
 */
static __always_inline __u8 family_of_other(__u32 type, __u64 destination)
{
	if (type == ETHER_ARP || type == ETHER_EAPOL || type == ETHER_LLDP)
		return FAMILY_EXEMPT;
	return type < ETHER_TYPES_BEGIN && destination == 0x0180c2000000 ? FAMILY_EXEMPT : FAMILY_OTHER;
}

/*
 * From the IP header on, at `at`. Of other types only the family is told, from the frame (NULL: there is
 * none).
 */
static __always_inline int parse_network(const struct view *view, struct packet *packet, __u16 raw_type, __u32 at,
					 const __u8 *frame)
{
	if (LIKELY(raw_type == RAW16(ETHER_IPV4)))
		return parse_ipv4(view, packet, at);
	if (LIKELY(raw_type == RAW16(ETHER_IPV6)))
		return parse_ipv6(view, packet, at);
	set_addresses4(packet, 0, 0);
	if (frame)
		packet->family = family_of_other(SWAP(16, raw_type), frame_destination(frame));
	return PARSE_OK;
}

/* Skips one VLAN tag that stands at *at; `outer`: its id is the packet's. */
static __always_inline int parse_tag(const struct view *view, struct packet *packet, __u32 *at, __u16 *raw_type,
				     bool outer)
{
	BUFFER(VLAN_SIZE);
	const __u8 *tag = view_at(view, *at, VLAN_SIZE, buffer);

	if (!tag)
		return view_bad(view);
	if (outer)
		packet->vlan = get16(tag) & 0xfff;
	*raw_type = LOAD(__u16, tag + 2);
	*at += VLAN_SIZE;
	return PARSE_OK;
}

/* A whole frame. `tagged`: the outermost tag is in the metadata, and packet->vlan already set. */
static __always_inline int parse_frame(const struct view *view, struct packet *packet, bool tagged)
{
	BUFFER(ETHER_SIZE);
	const __u8 *frame = view_at(view, 0, ETHER_SIZE, buffer);
	__u32 at = ETHER_SIZE;
	__u16 type;

	if (UNLIKELY(!frame))
		return view_bad(view);
	if (UNLIKELY(view->needed & NEEDS_MACS)) {
		packet->eth_dst = frame_destination(frame);
		packet->eth_src = frame_source(frame);
	}
	type = LOAD(__u16, frame + 12);
	/* Twice the code, but with constant offsets. */
	if (view->fast && LIKELY(!is_vlan(type))) {
		packet->eth_type = SWAP(16, type);
		return parse_network(view, packet, type, ETHER_SIZE, frame);
	}
	if (is_vlan(type) && parse_tag(view, packet, &at, &type, !tagged))
		return view_bad(view);
	if (!tagged && is_vlan(type) && parse_tag(view, packet, &at, &type, false))
		return view_bad(view);
	packet->eth_type = SWAP(16, type);
	return parse_network(view, packet, type, at, frame);
}

/*
 * Every member that has one to its absent value, the others to zero, with as few stores as can be; the
 * addresses are left to parsing.
 */
static __always_inline void packet_clear(struct packet *packet)
{
	packet->eth_src = packet->eth_dst = ABSENT_MAC;
	packet->cgroup[0] = packet->cgroup[1] = packet->cgroup[2] = ABSENT_CGROUP;
	PACKET_WORD(packet, src_port) = HALVES(ABSENT_PORT, ABSENT_PORT);
	PACKET_WORD(packet, length) = 0;    /* in_iface */
	PACKET_WORD(packet, out_iface) = 0; /* mark */
	PACKET_WORD(packet, user) = HALVES(ABSENT_OWNER, ABSENT_OWNER);
	PACKET_WORD(packet, eth_type) = WORD(0, ABSENT_VLAN, ABSENT_PROTO, ABSENT_FLAGS);
	PACKET_WORD(packet, icmp_type) = WORD(ABSENT_ICMP, ABSENT_ICMP, 0, 0); /* family, ttl, dscp, ecn */
	PACKET_WORD(packet, fragment) = 0; /* whole, flow, knocked, program */
	PACKET_WORD(packet, tuned) = 0;     /* resume */
	PACKET_WORD(packet, transport) = 0; /* end */
}

#endif
