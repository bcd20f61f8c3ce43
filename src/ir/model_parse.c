/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model's packet parser, byte by byte from the RFCs. In: the bytes that a hook meets. Out: field values, or
 * `malformed`, and then no fields. Never fails otherwise, never reads outside the packet.
 *
 * Choices that the RFCs leave open:
 * - A VLAN tag in the metadata counts as one of the two tags that are looked behind, as if it still stood in the
 *   frame: a packet means the same before and after the kernel moved the tag.
 * - A later fragment says no more than its protocol: for IPv6 the fragment header's next header, even if that is
 *   the number of another extension header.
 * - With several fragment headers, a packet is a first fragment if any of them says so.
 */
#include <string.h>

#include "ir/model.h"

enum {
	ETHER_BYTES = 14,
	VLAN_TAGS_MAX = 2,
	EXTENSIONS_MAX = 16,

	TYPE_IPV4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_VLAN = 0x8100,
	TYPE_IPV6 = 0x86dd,
	TYPE_EAPOL = 0x888e,
	TYPE_SERVICE_VLAN = 0x88a8,
	TYPE_LLDP = 0x88cc,
	TYPES_BEGIN = 1536, /* below: an IEEE 802.3 length */

	NUMBER_HOP_BY_HOP = 0,
	NUMBER_ICMP = 1,
	NUMBER_TCP = 6,
	NUMBER_UDP = 17,
	NUMBER_ROUTING = 43,
	NUMBER_FRAGMENT = 44,
	NUMBER_AUTH = 51,
	NUMBER_ICMPV6 = 58,
	NUMBER_OPTIONS = 60,
	NUMBER_SCTP = 132,
	NUMBER_MOBILITY = 135,
	NUMBER_UDP_LITE = 136,
};

/* The rest of a packet: from `at` on, `left` bytes. */
struct view {
	const unsigned char *at;
	size_t left;
};

struct parse {
	hook_mask hook;
	struct model_fields *fields;
	bool zero_length; /* the IP header's length is 0: the packet's own */
	enum packet_fragment fragment;
};

static unsigned get16(const unsigned char *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static u128 get_number(const unsigned char *at, unsigned bytes)
{
	u128 value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static struct view skip(struct view view, size_t bytes)
{
	return (struct view){ view.at + bytes, view.left - bytes };
}

static void set(struct parse *parse, enum field field, u128 value)
{
	if (!(field_table[field].hooks & parse->hook))
		return;
	parse->fields->has[field] = true;
	parse->fields->value[field] = value;
}

/* Kept beside the fields, for not every hook sees it. */
static void set_fragment(struct parse *parse, enum packet_fragment fragment)
{
	parse->fragment = fragment;
	set(parse, FIELD_FRAGMENT, fragment);
}

static bool fragment_is(const struct parse *parse, enum packet_fragment fragment)
{
	return parse->fragment == fragment;
}

/* --- transport: each returns false if the header is malformed ------------------------------------------------- */

static void set_ports(struct parse *parse, struct view view)
{
	set(parse, FIELD_SRC_PORT, get16(view.at));
	set(parse, FIELD_DST_PORT, get16(view.at + 2));
}

/* RFC 9293 3.1: the data offset counts 4-byte words from the header's start. */
static bool parse_tcp(struct parse *parse, struct view view)
{
	unsigned header;

	if (view.left < 20)
		return false;
	header = (view.at[12] >> 4) * 4u;
	if (header < 20 || header > view.left)
		return false;
	set_ports(parse, view);
	set(parse, FIELD_TCP_FLAGS, view.at[13]);
	return true;
}

/* RFC 768; RFC 2675 4: a length of 0 in jumbograms. A first fragment's length is the whole datagram's. */
static bool parse_udp(struct parse *parse, struct view view)
{
	unsigned length;

	if (view.left < 8)
		return false;
	length = get16(view.at + 4);
	if (fragment_is(parse, FRAGMENT_NONE) && !(length == 0 && parse->zero_length) &&
	    (length < 8 || length > view.left))
		return false;
	set_ports(parse, view);
	return true;
}

/* RFC 3828: the length field is a checksum coverage. */
static bool parse_udp_lite(struct parse *parse, struct view view)
{
	if (view.left < 8)
		return false;
	set_ports(parse, view);
	return true;
}

/* RFC 9260 3.1 */
static bool parse_sctp(struct parse *parse, struct view view)
{
	if (view.left < 12)
		return false;
	set_ports(parse, view);
	return true;
}

static bool parse_icmp(struct parse *parse, struct view view, size_t minimum)
{
	if (view.left < minimum)
		return false;
	set(parse, FIELD_ICMP_TYPE, view.at[0]);
	set(parse, FIELD_ICMP_CODE, view.at[1]);
	return true;
}

static bool parse_transport(struct parse *parse, unsigned number, struct view view)
{
	bool ipv6 = parse->fields->value[FIELD_FAMILY] == FAMILY_IPV6;

	set(parse, FIELD_PROTO, number);
	parse->fields->transport = view.at;
	parse->fields->transport_length = view.left;
	if (number == NUMBER_TCP)
		return parse_tcp(parse, view);
	if (number == NUMBER_UDP)
		return parse_udp(parse, view);
	if (number == NUMBER_UDP_LITE)
		return parse_udp_lite(parse, view);
	if (number == NUMBER_SCTP)
		return parse_sctp(parse, view);
	if (number == NUMBER_ICMP && !ipv6)
		return parse_icmp(parse, view, 8);
	if (number == NUMBER_ICMPV6 && ipv6)
		return parse_icmp(parse, view, 4);
	return true;
}

/* A fragment at offset 8 would overwrite the flags of a TCP header (RFC 3128). */
static bool parse_later_fragment(struct parse *parse, unsigned number, unsigned offset)
{
	set_fragment(parse, FRAGMENT_LATER);
	set(parse, FIELD_PROTO, number);
	return !(number == NUMBER_TCP && offset == 1);
}

/* --- IP ------------------------------------------------------------------------------------------------------- */

static void set_traffic_class(struct parse *parse, unsigned octet)
{
	set(parse, FIELD_DSCP, octet >> 2);
	set(parse, FIELD_ECN, octet & 3);
}

/* RFC 791 3.1; a total length of 0 is the kernel's BIG TCP. Bytes behind the total length are padding. */
static bool parse_ipv4(struct parse *parse, struct view view)
{
	const unsigned char *ip = view.at;
	unsigned header, total, offset;

	if (view.left < 20 || ip[0] >> 4 != 4)
		return false;
	header = (ip[0] & 15) * 4u;
	total = get16(ip + 2);
	parse->zero_length = total == 0;
	if (total > view.left)
		return false;
	if (total)
		view.left = total;
	if (header < 20 || header > view.left)
		return false;
	set(parse, FIELD_LENGTH, view.left);
	set_traffic_class(parse, ip[1]);
	set(parse, FIELD_TTL, ip[8]);
	set(parse, FIELD_IP_SRC, get_number(ip + 12, 4));
	set(parse, FIELD_IP_DST, get_number(ip + 16, 4));
	offset = get16(ip + 6) & 0x1fff;
	if (offset)
		return parse_later_fragment(parse, ip[9], offset);
	set_fragment(parse, get16(ip + 6) & 0x2000 ? FRAGMENT_FIRST : FRAGMENT_NONE);
	return parse_transport(parse, ip[9], skip(view, header));
}

static bool is_extension(unsigned number)
{
	return number == NUMBER_HOP_BY_HOP || number == NUMBER_ROUTING || number == NUMBER_FRAGMENT ||
	       number == NUMBER_AUTH || number == NUMBER_OPTIONS || number == NUMBER_MOBILITY;
}

/* RFC 8200 4: 8-byte units beyond the first; RFC 4302 2.2: 4-byte units minus 2. */
static size_t extension_bytes(unsigned number, const unsigned char *at)
{
	if (number == NUMBER_FRAGMENT)
		return 8;
	if (number == NUMBER_AUTH)
		return (at[1] + 2u) * 4;
	return (at[1] + 1u) * 8;
}

static bool parse_extensions(struct parse *parse, unsigned number, struct view view)
{
	for (unsigned walked = 0; is_extension(number); walked++) {
		const unsigned char *at = view.at;
		unsigned next;

		if (walked == EXTENSIONS_MAX || view.left < 2 || extension_bytes(number, at) > view.left)
			return false;
		next = at[0];
		if (number == NUMBER_FRAGMENT) {
			if (get16(at + 2) >> 3)
				return parse_later_fragment(parse, next, get16(at + 2) >> 3);
			if (at[3] & 1)
				set_fragment(parse, FRAGMENT_FIRST);
		}
		view = skip(view, extension_bytes(number, at));
		number = next;
	}
	return parse_transport(parse, number, view);
}

/* RFC 8200 3; a payload length of 0 is a jumbogram's (RFC 2675) or the kernel's BIG TCP. */
static bool parse_ipv6(struct parse *parse, struct view view)
{
	const unsigned char *ip = view.at;
	unsigned payload;

	if (view.left < 40 || ip[0] >> 4 != 6)
		return false;
	payload = get16(ip + 4);
	parse->zero_length = payload == 0;
	if (40 + payload > view.left)
		return false;
	if (payload)
		view.left = 40 + payload;
	set(parse, FIELD_LENGTH, view.left);
	set_traffic_class(parse, (ip[0] & 15u) << 4 | ip[1] >> 4);
	set(parse, FIELD_TTL, ip[7]);
	set(parse, FIELD_IPV6_SRC, get_number(ip + 8, 16));
	set(parse, FIELD_IPV6_DST, get_number(ip + 24, 16));
	set_fragment(parse, FRAGMENT_NONE);
	return parse_extensions(parse, ip[6], skip(view, 40));
}

static bool parse_network(struct parse *parse, unsigned type, struct view view)
{
	if (type == TYPE_IPV4) {
		set(parse, FIELD_FAMILY, FAMILY_IPV4);
		return parse_ipv4(parse, view);
	}
	if (type == TYPE_IPV6) {
		set(parse, FIELD_FAMILY, FAMILY_IPV6);
		return parse_ipv6(parse, view);
	}
	return true;
}

/* --- the link layer ------------------------------------------------------------------------------------------- */

/* Frames that the host itself lives from: ARP, EAPOL, LLDP, and the bridges' spanning tree (IEEE 802.1D 7.12.3). */
static bool is_exempt(unsigned type, const unsigned char *destination)
{
	static const unsigned char bridges[6] = { 0x01, 0x80, 0xc2, 0, 0, 0 };

	return type == TYPE_ARP || type == TYPE_EAPOL || type == TYPE_LLDP ||
	       (type < TYPES_BEGIN && !memcmp(destination, bridges, 6));
}

static bool parse_frame(struct parse *parse, const struct model_packet *packet, struct view view)
{
	unsigned tags = packet->vlan_metadata ? 1 : 0;
	const unsigned char *frame = view.at;
	unsigned type;

	if (view.left < ETHER_BYTES)
		return false;
	set(parse, FIELD_ETH_DST, get_number(frame, 6));
	set(parse, FIELD_ETH_SRC, get_number(frame + 6, 6));
	if (packet->vlan_metadata)
		set(parse, FIELD_VLAN, packet->vlan_tci & 0xfff);
	type = get16(frame + 12);
	view = skip(view, ETHER_BYTES);
	while ((type == TYPE_VLAN || type == TYPE_SERVICE_VLAN) && tags < VLAN_TAGS_MAX) {
		if (view.left < 4)
			return false;
		if (!tags)
			set(parse, FIELD_VLAN, get16(view.at) & 0xfff);
		type = get16(view.at + 2);
		view = skip(view, 4);
		tags++;
	}
	set(parse, FIELD_ETH_TYPE, type);
	set(parse, FIELD_FAMILY, is_exempt(type, frame) ? FAMILY_EXEMPT : FAMILY_OTHER);
	return parse_network(parse, type, view);
}

/* --- what the kernel knows beside the bytes ------------------------------------------------------------------- */

static void set_unless(struct parse *parse, enum field field, uint64_t value, uint64_t absent)
{
	if (value != absent)
		set(parse, field, value);
}

static void set_metadata(struct parse *parse, enum hook hook, const struct model_packet *packet)
{
	set(parse, FIELD_DIRECTION, hook_table[hook].direction);
	set_unless(parse, FIELD_IN_IFACE, packet->in_iface, ABSENT_IFACE);
	set_unless(parse, FIELD_OUT_IFACE, packet->out_iface, ABSENT_IFACE);
	set_unless(parse, FIELD_FLOW, packet->flow, FLOW_UNTRACKED);
	set(parse, FIELD_MARK, packet->mark);
	set_unless(parse, FIELD_USER, packet->user, ABSENT_OWNER);
	set_unless(parse, FIELD_GROUP, packet->group, ABSENT_OWNER);
	set_unless(parse, FIELD_PROGRAM, packet->program, ABSENT_PROGRAM);
	set(parse, FIELD_TREE, packet->tree);
	for (int slot = 0; slot < PACKET_CGROUPS; slot++)
		set_unless(parse, (enum field)(FIELD_CGROUP_0 + slot), packet->cgroup[slot], ABSENT_CGROUP);
}

void model_parse(enum hook hook, const struct model_packet *packet, struct model_fields *ret_fields)
{
	struct parse parse = { .hook = HOOK_BIT(hook), .fields = ret_fields };
	const struct view view = { packet->data, packet->length };
	bool good;

	memset(ret_fields, 0, sizeof *ret_fields);
	set_metadata(&parse, hook, packet);
	if (hook_table[hook].frames) {
		good = parse_frame(&parse, packet, view);
	} else {
		set(&parse, FIELD_FAMILY, FAMILY_OTHER);
		good = parse_network(&parse, packet->ethertype, view);
	}
	if (good && ret_fields->has[FIELD_FRAGMENT]) /* it is IP */
		set(&parse, FIELD_KNOCKED, packet->knocked);
	if (good)
		return;
	memset(ret_fields, 0, sizeof *ret_fields);
	ret_fields->malformed = true;
}
