/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parser in classic BPF. In: where judging begins for IPv4 and for IPv6, and the fields it looks at; out: the
 * program's beginning, which leaves those fields in scratch memory. Nothing that no rule asks for is parsed.
 *
 * A packet that is not as a socket gets it, or that the unrolled walk of extension headers does not see the end of,
 * is dropped. X is the offset of the transport header from the IP header on.
 */
#include <linux/if_ether.h>
#include <netinet/in.h>

#include "emit/cbpf.h"

#define BIT(field) ((uint32_t)1 << (field))
#define PORTS (BIT(FIELD_SRC_PORT) | BIT(FIELD_DST_PORT))
#define ICMP (BIT(FIELD_ICMP_TYPE) | BIT(FIELD_ICMP_CODE))
#define TRANSPORT (PORTS | ICMP | BIT(FIELD_TCP_FLAGS))
/* What is known only behind the IP headers. */
#define BEHIND (TRANSPORT | BIT(FIELD_PROTO) | BIT(FIELD_FRAGMENT) | BIT(FIELD_LENGTH))

enum {
	PROTO_ICMPV6 = 58,
	PROTO_MOBILITY = 135,
	IPV4_FRAGMENT = 0x3fff,  /* more to come, or an offset */
	IPV6_FRAGMENT = 0xfff9,
	IPV6_BYTES = 40,
};

static place load_behind(struct cbpf_buffer *buffer, uint16_t size, uint32_t offset, place next)
{
	return cbpf_put(buffer, BPF_LD | BPF_IND | size, (uint32_t)NET + offset, next);
}

static place compute(struct cbpf_buffer *buffer, uint16_t operation, uint32_t k, place next)
{
	return cbpf_put(buffer, BPF_ALU | BPF_K | operation, k, next);
}

/* --- transport: A is the protocol ---------------------------------------------------------------- */

static place put_ports(struct cbpf_buffer *buffer, uint32_t needed, place next)
{
	if (needed & BIT(FIELD_DST_PORT))
		next = load_behind(buffer, BPF_H, 2, cbpf_keep(buffer, KEPT_DST_PORT, next));
	if (needed & BIT(FIELD_SRC_PORT))
		next = load_behind(buffer, BPF_H, 0, cbpf_keep(buffer, KEPT_SRC_PORT, next));
	return next;
}

static place put_tcp(struct cbpf_buffer *buffer, uint32_t needed, place ports)
{
	if (!(needed & BIT(FIELD_TCP_FLAGS)))
		return ports;
	return load_behind(buffer, BPF_B, 13, cbpf_keep(buffer, KEPT_TCP_FLAGS, ports));
}

static place put_icmp(struct cbpf_buffer *buffer, uint32_t needed, place next)
{
	if (needed & BIT(FIELD_ICMP_CODE))
		next = load_behind(buffer, BPF_B, 1, cbpf_keep(buffer, KEPT_ICMP_CODE, next));
	if (needed & BIT(FIELD_ICMP_TYPE))
		next = load_behind(buffer, BPF_B, 0, cbpf_keep(buffer, KEPT_ICMP_TYPE, next));
	return next;
}

/* A length of 0 (BIG TCP, jumbograms) is that of the packet. */
static place put_length(struct cbpf_buffer *buffer, place next)
{
	place restore = cbpf_recall(buffer, KEPT_SPARE, next);
	place at = cbpf_keep(buffer, KEPT_LENGTH, restore);

	at = cbpf_put(buffer, BPF_ALU | BPF_ADD | BPF_X, 0, at);
	at = cbpf_put(buffer, BPF_LD | BPF_W | BPF_LEN, 0, at);
	at = cbpf_test(buffer, BPF_JEQ, 0, at, restore);
	return cbpf_keep(buffer, KEPT_SPARE, cbpf_recall(buffer, KEPT_LENGTH, at));
}

static place put_transport(struct cbpf_buffer *buffer, uint32_t needed, uint32_t icmp, place next)
{
	place at = next, ports = put_ports(buffer, needed, next), tcp = put_tcp(buffer, needed, ports);

	at = cbpf_test(buffer, BPF_JEQ, icmp, put_icmp(buffer, needed, next), at);
	at = cbpf_test(buffer, BPF_JEQ, IPPROTO_SCTP, ports, at);
	at = cbpf_test(buffer, BPF_JEQ, IPPROTO_UDPLITE, ports, at);
	at = cbpf_test(buffer, BPF_JEQ, IPPROTO_UDP, ports, at);
	at = cbpf_test(buffer, BPF_JEQ, IPPROTO_TCP, tcp, at);
	if (needed & BIT(FIELD_PROTO))
		at = cbpf_keep(buffer, KEPT_PROTO, at);
	return needed & BIT(FIELD_LENGTH) ? put_length(buffer, at) : at;
}

/* --- IPv6 extension headers: A is the next header, X where it begins ------------------------------- */

/* A = how far the header reaches; then on to the next one. */
static place put_step(struct cbpf_buffer *buffer, place next)
{
	place at = cbpf_put(buffer, BPF_LDX | BPF_MEM, KEPT_SPARE, next);

	at = load_behind(buffer, BPF_B, 0, at);
	at = cbpf_keep(buffer, KEPT_SPARE, at);
	return cbpf_put(buffer, BPF_ALU | BPF_ADD | BPF_X, 0, at);
}

/* Atomic fragments are none; others never reach a socket. */
static place put_fragment(struct cbpf_buffer *buffer, place step)
{
	place at = cbpf_test(buffer, BPF_JSET, IPV6_FRAGMENT, buffer->drop, cbpf_number(buffer, 8, step));

	return load_behind(buffer, BPF_H, 2, at);
}

/* A length octet in units of 1 << `shift` bytes, `less` units short. */
static place put_sized(struct cbpf_buffer *buffer, uint32_t less, uint32_t shift, place step)
{
	return load_behind(buffer, BPF_B, 1, compute(buffer, BPF_ADD, less, compute(buffer, BPF_LSH, shift, step)));
}

/* Tells extension headers from transport protocols. */
static place put_kinds(struct cbpf_buffer *buffer, place transport, place plain, place fragment, place auth)
{
	const struct cbpf_edge edges[] = {
		{ IPPROTO_HOPOPTS, plain },
		{ IPPROTO_ROUTING - 1, transport },
		{ IPPROTO_ROUTING, plain },
		{ IPPROTO_FRAGMENT, fragment },
		{ IPPROTO_AH - 1, transport },
		{ IPPROTO_AH, auth },
		{ IPPROTO_DSTOPTS - 1, transport },
		{ IPPROTO_DSTOPTS, plain },
		{ PROTO_MOBILITY - 1, transport },
		{ PROTO_MOBILITY, plain },
		{ UINT32_MAX, transport },
	};

	return cbpf_search(buffer, edges, sizeof edges / sizeof *edges);
}

static place put_extensions(struct cbpf_buffer *buffer, place transport)
{
	place at = put_kinds(buffer, transport, buffer->drop, buffer->drop, buffer->drop);

	for (int i = 0; i < CBPF_EXTENSIONS_MAX; i++) {
		place step = put_step(buffer, at);
		place fragment = put_fragment(buffer, step);
		place auth = put_sized(buffer, 2, 2, step);

		at = put_kinds(buffer, transport, put_sized(buffer, 1, 3, step), fragment, auth);
	}
	return at;
}

/* --- IP ------------------------------------------------------------------------------------------ */

static place put_family(struct cbpf_buffer *buffer, uint32_t needed, uint32_t family, place next)
{
	if (!(needed & BIT(FIELD_FAMILY)))
		return next;
	return cbpf_number(buffer, family, cbpf_keep(buffer, KEPT_FAMILY, next));
}

static place put_details4(struct cbpf_buffer *buffer, uint32_t needed, place next)
{
	if (needed & BIT(FIELD_TTL))
		next = cbpf_load(buffer, BPF_B, 8, cbpf_keep(buffer, KEPT_TTL, next));
	if (needed & BIT(FIELD_DSCP))
		next = cbpf_load(buffer, BPF_B, 1,
				 compute(buffer, BPF_RSH, 2, cbpf_keep(buffer, KEPT_DSCP, next)));
	if (needed & BIT(FIELD_ECN))
		next = cbpf_load(buffer, BPF_B, 1, compute(buffer, BPF_AND, 3, cbpf_keep(buffer, KEPT_ECN, next)));
	if (needed & BIT(FIELD_LENGTH))
		next = cbpf_load(buffer, BPF_H, 2, cbpf_keep(buffer, KEPT_LENGTH, next));
	return next;
}

/* Bits of the first halfword: version, traffic class, flow label. */
static place put_class6(struct cbpf_buffer *buffer, uint32_t shift, uint32_t mask, place next)
{
	return cbpf_load(buffer, BPF_H, 0, compute(buffer, BPF_RSH, shift, compute(buffer, BPF_AND, mask, next)));
}

static place put_details6(struct cbpf_buffer *buffer, uint32_t needed, place next)
{
	place keep;

	if (needed & BIT(FIELD_TTL))
		next = cbpf_load(buffer, BPF_B, 7, cbpf_keep(buffer, KEPT_TTL, next));
	if (needed & BIT(FIELD_DSCP))
		next = put_class6(buffer, 6, 0x3f, cbpf_keep(buffer, KEPT_DSCP, next));
	if (needed & BIT(FIELD_ECN))
		next = put_class6(buffer, 4, 3, cbpf_keep(buffer, KEPT_ECN, next));
	if (needed & BIT(FIELD_LENGTH)) {
		keep = cbpf_keep(buffer, KEPT_LENGTH, next);
		next = cbpf_test(buffer, BPF_JEQ, 0, keep, compute(buffer, BPF_ADD, IPV6_BYTES, keep));
		next = cbpf_load(buffer, BPF_H, 4, next);
	}
	return next;
}

static bool is_return(const struct cbpf_buffer *buffer, place at)
{
	return BPF_CLASS(buffer->insns.items[at].code) == BPF_RET;
}

static place put_ipv4(struct cbpf_buffer *buffer, const struct cbpf_entry *entry)
{
	place at = entry->at;

	if (is_return(buffer, at))
		return at;
	if (entry->needed & BEHIND) {
		at = put_transport(buffer, entry->needed, IPPROTO_ICMP, at);
		at = cbpf_load(buffer, BPF_B, 9, at);
		at = cbpf_put(buffer, BPF_LDX | BPF_B | BPF_MSH, (uint32_t)NET, at);
		at = cbpf_test(buffer, BPF_JSET, IPV4_FRAGMENT, buffer->drop, at);
		at = cbpf_load(buffer, BPF_H, 6, at);
	}
	at = put_details4(buffer, entry->needed, at);
	at = put_family(buffer, entry->needed, FAMILY_IPV4, at);
	at = cbpf_test(buffer, BPF_JGE, 4 << 4 | 5, at, buffer->drop);
	at = cbpf_test(buffer, BPF_JGT, 4 << 4 | 15, buffer->drop, at);
	return cbpf_load(buffer, BPF_B, 0, at);
}

static place put_ipv6(struct cbpf_buffer *buffer, const struct cbpf_entry *entry)
{
	place at = entry->at;

	if (is_return(buffer, at))
		return at;
	if (entry->needed & BEHIND) {
		at = put_extensions(buffer, put_transport(buffer, entry->needed, PROTO_ICMPV6, at));
		at = cbpf_load(buffer, BPF_B, 6, at);
		at = cbpf_put(buffer, BPF_LDX | BPF_IMM, IPV6_BYTES, at);
	}
	at = put_details6(buffer, entry->needed, at);
	at = put_family(buffer, entry->needed, FAMILY_IPV6, at);
	at = cbpf_test(buffer, BPF_JEQ, 6 << 4, at, buffer->drop);
	return cbpf_load(buffer, BPF_B, 0, compute(buffer, BPF_AND, 0xf0, at));
}

/* --- the whole ----------------------------------------------------------------------------------- */

/* What the transport fields hold where there are none. */
static place put_absent(struct cbpf_buffer *buffer, uint32_t needed, place next)
{
	static const struct {
		enum field field;
		enum kept kept;
	} fields[] = {
		{ FIELD_SRC_PORT, KEPT_SRC_PORT },   { FIELD_DST_PORT, KEPT_DST_PORT },
		{ FIELD_TCP_FLAGS, KEPT_TCP_FLAGS }, { FIELD_ICMP_TYPE, KEPT_ICMP_TYPE },
		{ FIELD_ICMP_CODE, KEPT_ICMP_CODE },
	};

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (needed & BIT(fields[i].field))
			next = cbpf_number(buffer, (uint32_t)field_table[fields[i].field].absent,
					   cbpf_keep(buffer, fields[i].kept, next));
	return next;
}

void cbpf_parser(struct cbpf_buffer *buffer, const struct cbpf_entry *ipv4, const struct cbpf_entry *ipv6)
{
	place four = put_ipv4(buffer, ipv4), six = put_ipv6(buffer, ipv6), at;

	if (is_return(buffer, four) && is_return(buffer, six) &&
	    buffer->insns.items[four].k == buffer->insns.items[six].k) {
		buffer->insns.items[0] = buffer->insns.items[four];
		buffer->insns.count = 1;
		return;
	}
	at = cbpf_test(buffer, BPF_JEQ, ETH_P_IPV6, six, buffer->drop);
	at = cbpf_test(buffer, BPF_JEQ, ETH_P_IP, four, at);
	at = cbpf_put(buffer, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL), at);
	put_absent(buffer, ipv4->needed | ipv6->needed, at);
}
