/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What connection tracking reads of a packet beside struct packet. In: a parsed packet, the bytes it came from; out:
 * struct flow_packet, or false for what belongs to no connection. Also compiled for the host by tests.
 *
 * The includer defines flow_source, and
 *	int flow_copy(flow_source *source, __u32 offset, void *buffer, __u32 size)
 * which copies as source_copy() in parse.h does, and
 *	int flow_syn_scale(flow_source *source, __u32 offset, __u32 size)
 * which is options_scale() below, in a function of its own if it likes.
 */
#ifndef WEIR_BPF_FLOW_READ_H
#define WEIR_BPF_FLOW_READ_H

#include "bpf/flow.h"

static __always_inline int flow_copy(flow_source *source, __u32 offset, void *buffer, __u32 size);
static __always_inline int flow_syn_scale(flow_source *source, __u32 offset, __u32 size);

/* --- keys ------------------------------------------------------------------------------------------------------- */

/* One packet's ends, as a key wants them. */
struct flow_ends {
	__u64 src_hi, src_lo, dst_hi, dst_lo;
	__u16 src_port, dst_port;
};

static __always_inline bool source_is_less(const struct flow_ends *ends)
{
	if (ends->src_hi != ends->dst_hi)
		return ends->src_hi < ends->dst_hi;
	if (ends->src_lo != ends->dst_lo)
		return ends->src_lo < ends->dst_lo;
	return ends->src_port <= ends->dst_port;
}

/* Sets addresses and ports; returns the side of the sender. */
static __always_inline __u32 key_set(struct flow_key *key, const struct flow_ends *ends)
{
	if (source_is_less(ends)) {
		key->a_hi = ends->src_hi;
		key->a_lo = ends->src_lo;
		key->b_hi = ends->dst_hi;
		key->b_lo = ends->dst_lo;
		key->a_port = ends->src_port;
		key->b_port = ends->dst_port;
		return FLOW_A;
	}
	key->a_hi = ends->dst_hi;
	key->a_lo = ends->dst_lo;
	key->b_hi = ends->src_hi;
	key->b_lo = ends->src_lo;
	key->a_port = ends->dst_port;
	key->b_port = ends->src_port;
	return FLOW_B;
}

/* The request that an ICMP message is or answers; 0: neither. ICMPv6 errors have types below 128, requests not. */
static __always_inline __u32 icmp_request(__u32 proto, __u32 type, bool *ret_request)
{
	*ret_request = type == (proto == PROTO_ICMP ? ICMP_ECHO : ICMPV6_ECHO) ||
		       (proto == PROTO_ICMP && type == ICMP_TIMESTAMP);
	if (*ret_request)
		return type;
	if (proto == PROTO_ICMPV6)
		return type == ICMPV6_ECHO_REPLY ? ICMPV6_ECHO : 0;
	return type == ICMP_ECHO_REPLY ? ICMP_ECHO : type == ICMP_TIMESTAMP_REPLY ? ICMP_TIMESTAMP : 0;
}

/* Between one pair of addresses, each side's requests are flows of their own; a host that asks itself is side `a`. */
static __always_inline void icmp_key(struct flow_key *key, __u32 *side, __u32 kind, bool request, __u16 id)
{
	bool same = key->a_hi == key->b_hi && key->a_lo == key->b_lo;
	__u32 asking;

	if (same)
		*side = request ? FLOW_A : FLOW_B;
	asking = request ? *side : *side ^ 1;
	key->a_port = id;
	key->b_port = kind * 2 + (asking & 1);
}

static __always_inline void ends_of(const struct packet *packet, struct flow_ends *ends)
{
	bool ports = packet->src_port != ABSENT_PORT;

	ends->src_hi = packet->src_hi;
	ends->src_lo = packet->src_lo;
	ends->dst_hi = packet->dst_hi;
	ends->dst_lo = packet->dst_lo;
	ends->src_port = ports ? packet->src_port : 0;
	ends->dst_port = ports ? packet->dst_port : 0;
}

/* --- TCP and SCTP ----------------------------------------------------------------------------------------------- */

enum { OPTIONS_MAX = 40, OPTION_END = 0, OPTION_NOTHING = 1, OPTION_SCALE = 3 };

/* The shift that a SYN's options offer, or -1 (RFC 7323 2.2). `size`: bytes of options. */
static __always_inline int options_scale(flow_source *source, __u32 offset, __u32 size)
{
	__u8 options[OPTIONS_MAX + 8] __attribute__((aligned(8)));
	__u32 at = 0;

	if (size < 3 || size > OPTIONS_MAX)
		return -1;
	__builtin_memset(options, 0, sizeof options);
	/* Always a multiple of 4. */
	for (__u32 i = 0; i < OPTIONS_MAX / 4; i++)
		if (i * 4 < size && flow_copy(source, offset + i * 4, options + i * 4, 4))
			return -1;
	for (int i = 0; i < OPTIONS_MAX && at < OPTIONS_MAX; i++) {
		__u8 kind = options[at], length = options[at + 1];

		if (kind == OPTION_END)
			return -1;
		if (kind == OPTION_SCALE && length == 3)
			return options[at + 2];
		if (kind != OPTION_NOTHING && length < 2)
			return -1;
		at += kind == OPTION_NOTHING ? 1 : length;
	}
	return -1;
}

static __always_inline bool read_tcp(flow_source *source, const struct packet *packet, struct flow_packet *flow)
{
	BUFFER(TCP_SIZE);
	__u32 size, behind;
	int scale;

	if (flow_copy(source, packet->transport, buffer, TCP_SIZE))
		return false;
	size = (buffer[12] >> 4) * 4u;
	behind = packet->transport + size;
	flow->flags = buffer[TCP_FLAGS_AT];
	flow->seq = get32(buffer + 4);
	flow->ack = get32(buffer + 8);
	flow->window = get16(buffer + 14);
	flow->more = packet->fragment == FRAGMENT_FIRST;
	flow->end = flow->seq + (packet->end > behind ? packet->end - behind : 0) +
		    (flow->flags & FLAG_SYN ? 1 : 0) + (flow->flags & FLAG_FIN ? 1 : 0);
	if (flow->flags & FLAG_SYN) {
		scale = flow_syn_scale(source, packet->transport + TCP_SIZE, size - TCP_SIZE);
		flow->scales = scale >= 0;
		flow->scale = scale < 0 ? 0 : scale;
	}
	return true;
}

/* The first chunk alone: those that change a connection's state come alone or first (RFC 9260 6.10). */
static __always_inline bool read_sctp(flow_source *source, const struct packet *packet, struct flow_packet *flow)
{
	BUFFER(24);

	if (packet->end < packet->transport + SCTP_READ ||
	    flow_copy(source, packet->transport, buffer, SCTP_READ))
		return false;
	flow->seq = get32(buffer + 4);
	flow->flags = buffer[12];
	flow->scale = buffer[13];
	if (flow->flags != SCTP_INIT && flow->flags != SCTP_INIT_ACK)
		return true;
	if (packet->end < packet->transport + SCTP_INIT_READ ||
	    flow_copy(source, packet->transport + SCTP_READ, buffer + SCTP_READ, 4))
		return false;
	flow->end = get32(buffer + SCTP_READ);
	return true;
}

/* --- ICMP ------------------------------------------------------------------------------------------------------- */

static __always_inline bool read_icmp(flow_source *source, const struct packet *packet, struct flow_packet *flow)
{
	__u32 kind = icmp_request(packet->proto, packet->icmp_type, &flow->request);
	__u8 id[2];

	if (!kind || packet->end < packet->transport + 8 || flow_copy(source, packet->transport + 4, id, sizeof id))
		return false;
	icmp_key(&flow->key, &flow->side, kind, flow->request, (__u16)(id[0] << 8 | id[1]));
	return true;
}

/* Errors about a packet that they quote. A redirect changes routes: it is never related. */
static __always_inline bool is_icmp_error(const struct packet *packet)
{
	__u32 type = packet->icmp_type;

	if (packet->proto == PROTO_ICMPV6)
		return packet->family == FAMILY_IPV6 && type > 0 && type <= ICMPV6_PARAMETER_PROBLEM;
	return packet->proto == PROTO_ICMP && packet->family == FAMILY_IPV4 &&
	       (type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM);
}

/* What an ICMP error quotes. */
struct flow_quote {
	struct flow_key key;
	__u32 side; /* of the quoted packet's sender */
	__u32 seq;
};

enum { QUOTE_AT = 8, QUOTE_PORTS = 8, QUOTE_EXTENSIONS = 4 };

static __always_inline bool quote_network4(flow_source *source, __u32 *at, struct flow_quote *quote,
					   struct flow_ends *ends)
{
	BUFFER(IPV4_SIZE + 4);

	if (flow_copy(source, *at, buffer, IPV4_SIZE) || buffer[0] >> 4 != 4 || (buffer[0] & 15) < 5 ||
	    LOAD(__u16, buffer + 6) & RAW16(IPV4_OFFSET))
		return false;
	ends->src_hi = FIRST_HALF(get32(buffer + 12));
	ends->dst_hi = FIRST_HALF(get32(buffer + 16));
	ends->src_lo = ends->dst_lo = 0;
	quote->key.proto = buffer[9];
	*at += (buffer[0] & 15) * 4u;
	return true;
}

static __always_inline bool quote_network6(flow_source *source, __u32 *at, struct flow_quote *quote,
					   struct flow_ends *ends)
{
	BUFFER(IPV6_SIZE);

	if (flow_copy(source, *at, buffer, IPV6_SIZE) || buffer[0] >> 4 != 6)
		return false;
	ends->src_hi = get64(buffer + 8);
	ends->src_lo = get64(buffer + 16);
	ends->dst_hi = get64(buffer + 24);
	ends->dst_lo = get64(buffer + 32);
	quote->key.proto = buffer[6];
	*at += IPV6_SIZE;
	for (int i = 0; i < QUOTE_EXTENSIONS && is_extension(quote->key.proto); i++) {
		__u8 head[4];

		if (flow_copy(source, *at, head, sizeof head))
			return false;
		if (quote->key.proto == PROTO_FRAGMENT && (head[2] || head[3] & 0xf8))
			return false;
		*at += quote->key.proto == PROTO_FRAGMENT ? 8 :
		       quote->key.proto == PROTO_AUTH ? (head[1] + 2u) * 4 : (head[1] + 1u) * 8;
		quote->key.proto = head[0];
	}
	return true;
}

static __always_inline bool has_ports(__u32 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_UDP_LITE || proto == PROTO_SCTP;
}

/* The quoted transport header's first eight bytes are always there (RFC 792, RFC 4443 2.4). */
static __always_inline bool quote_transport(flow_source *source, __u32 at, const struct packet *packet,
					    struct flow_quote *quote, struct flow_ends *ends)
{
	BUFFER(QUOTE_PORTS);
	__u32 proto = quote->key.proto, kind;
	bool request;

	ends->src_port = ends->dst_port = 0;
	if (at + QUOTE_PORTS > packet->end || flow_copy(source, at, buffer, QUOTE_PORTS))
		return false;
	if (has_ports(proto)) {
		ends->src_port = get16(buffer);
		ends->dst_port = get16(buffer + 2);
		quote->seq = get32(buffer + 4);
	}
	quote->side = key_set(&quote->key, ends);
	if (proto != PROTO_ICMP && proto != PROTO_ICMPV6)
		return true;
	kind = icmp_request(proto, buffer[0], &request);
	icmp_key(&quote->key, &quote->side, kind, request, get16(buffer + 4));
	return kind;
}

/* The error goes to who sent what it quotes. */
static __always_inline bool flow_read_quote(flow_source *source, const struct packet *packet, struct flow_quote *quote)
{
	__u32 at = packet->transport + QUOTE_AT;
	struct flow_ends ends;
	bool good;

	__builtin_memset(quote, 0, sizeof *quote);
	quote->key.family = packet->family;
	good = packet->family == FAMILY_IPV4 ? quote_network4(source, &at, quote, &ends) :
					       quote_network6(source, &at, quote, &ends);
	if (!good || ends.src_hi != packet->dst_hi || ends.src_lo != packet->dst_lo)
		return false;
	return quote_transport(source, at, packet, quote, &ends);
}

/*
 * The flow that an error is about is there, and of TCP has sent what is quoted, no longer ago than a window
 * (RFC 5927 4).
 */
static __always_inline bool flow_is_related(const struct flow_quote *quote, const struct flow *flow)
{
	__u32 end, window;

	if (!flow)
		return false;
	if (quote->key.proto != PROTO_TCP || !(flow->flags & FLOW_OF(quote->side & 1, FLOW_KNOWN)))
		return true;
	end = low_half(flow->sent[quote->side & 1]);
	window = high_half(flow->sent[(quote->side ^ 1) & 1]);
	if (window < 0xffff)
		window = 0xffff;
	return !seq_after(quote->seq, end) && !seq_after(end - window - 1, quote->seq);
}

/* --- packets ---------------------------------------------------------------------------------------------------- */

/* False: belongs to no connection. ICMP errors are not for this function. */
static __always_inline bool flow_read(flow_source *source, const struct packet *packet, struct flow_packet *flow)
{
	struct flow_ends ends;

	__builtin_memset(flow, 0, sizeof *flow);
	if ((packet->family != FAMILY_IPV4 && packet->family != FAMILY_IPV6) || packet->fragment == FRAGMENT_LATER)
		return false;
	ends_of(packet, &ends);
	flow->side = key_set(&flow->key, &ends);
	flow->key.family = packet->family;
	flow->key.proto = packet->proto;
	flow->request = true;
	if (packet->proto == PROTO_TCP)
		return read_tcp(source, packet, flow);
	if (packet->proto == PROTO_UDP)
		return true;
	if (packet->proto == (packet->family == FAMILY_IPV4 ? PROTO_ICMP : PROTO_ICMPV6))
		return read_icmp(source, packet, flow);
	if (packet->proto == PROTO_SCTP)
		return read_sctp(source, packet, flow);
	return true;
}

#endif
