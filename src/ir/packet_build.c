/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: values of some fields. Out: a packet's bytes and what the kernel knows beside them, plain where nothing was said.
 * The model's parser has the last word: if it finds other values, there is no such packet.
 */
#include "ir/packet_build.h"

#include <string.h>

#include "ir/value_text.h"

enum {
	ETHER_BYTES = 14,
	TAG_BYTES = 4,
	TAGS_MAX = 2,
	FRAGMENT_BYTES = 8,
	TYPE_IPV4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_VLAN = 0x8100,
	TYPE_SERVICE_VLAN = 0x88a8,
	TYPE_IPV6 = 0x86dd,
	TYPE_LOCAL = 0x88b5, /* IEEE 802 local experimental */
	NUMBER_ICMP = 1,
	NUMBER_TCP = 6,
	NUMBER_UDP = 17,
	NUMBER_FRAGMENT = 44,
	NUMBER_ICMPV6 = 58,
	NUMBER_SCTP = 132,
	NUMBER_UDP_LITE = 136,
	LATER_OFFSET = 185, /* in units of 8 bytes: the second fragment at an MTU of 1500 */
	LENGTH_FIELD_MAX = 65535,
};

struct building {
	enum hook hook;
	struct model_fields fields; /* all that the packet will have */
	unsigned char *bytes;
	size_t used;
};

static void plain(struct building *building, enum field field, u128 value)
{
	if (!building->fields.has[field]) {
		building->fields.has[field] = true;
		building->fields.value[field] = value;
	}
}

static uint64_t get(const struct building *building, enum field field)
{
	return u128_lo(building->fields.value[field]);
}

static void put(struct building *building, u128 value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		building->bytes[building->used++] = (unsigned char)(value >> 8 * (bytes - 1 - i));
}

static bool has_ports(unsigned proto)
{
	return proto == NUMBER_TCP || proto == NUMBER_UDP || proto == NUMBER_SCTP || proto == NUMBER_UDP_LITE;
}

/* --- what is not said ------------------------------------------------------------------------------------------- */

static enum packet_family family_of(const struct building *building)
{
	const struct model_fields *fields = &building->fields;

	if (fields->has[FIELD_FAMILY])
		return (enum packet_family)get(building, FIELD_FAMILY);
	if (fields->has[FIELD_ETH_TYPE] && get(building, FIELD_ETH_TYPE) != TYPE_IPV4)
		return get(building, FIELD_ETH_TYPE) == TYPE_IPV6 ? FAMILY_IPV6 : FAMILY_OTHER;
	if (fields->has[FIELD_IPV6_SRC] || fields->has[FIELD_IPV6_DST] ||
	    (fields->has[FIELD_PROTO] && get(building, FIELD_PROTO) == NUMBER_ICMPV6 && !fields->has[FIELD_IP_SRC] &&
	     !fields->has[FIELD_IP_DST]))
		return FAMILY_IPV6;
	return FAMILY_IPV4;
}

static unsigned proto_of(const struct building *building, enum packet_family family)
{
	const struct model_fields *fields = &building->fields;

	if (fields->has[FIELD_ICMP_TYPE] || fields->has[FIELD_ICMP_CODE])
		return family == FAMILY_IPV6 ? NUMBER_ICMPV6 : NUMBER_ICMP;
	return NUMBER_TCP;
}

static void complete_transport(struct building *building, unsigned proto, bool ipv6)
{
	if (has_ports(proto)) {
		plain(building, FIELD_SRC_PORT, PLAIN_PORT);
		plain(building, FIELD_DST_PORT, PLAIN_PORT);
	}
	if (proto == NUMBER_TCP)
		plain(building, FIELD_TCP_FLAGS, PLAIN_FLAGS);
	if (proto == (ipv6 ? NUMBER_ICMPV6 : NUMBER_ICMP)) {
		plain(building, FIELD_ICMP_TYPE, ipv6 ? 128 : 8);
		plain(building, FIELD_ICMP_CODE, 0);
	}
}

static void complete_ip(struct building *building, enum packet_family family)
{
	bool ipv6 = family == FAMILY_IPV6;

	plain(building, FIELD_ETH_TYPE, ipv6 ? TYPE_IPV6 : TYPE_IPV4);
	plain(building, FIELD_PROTO, proto_of(building, family));
	plain(building, FIELD_FRAGMENT, FRAGMENT_NONE);
	plain(building, FIELD_TTL, PLAIN_TTL);
	plain(building, FIELD_DSCP, 0);
	plain(building, FIELD_ECN, 0);
	if (ipv6) {
		plain(building, FIELD_IPV6_SRC, u128_make(0x20010db800000000, 1));
		plain(building, FIELD_IPV6_DST, u128_make(0x20010db800000000, 2));
	} else {
		plain(building, FIELD_IP_SRC, 0xc0000201);
		plain(building, FIELD_IP_DST, 0xc0000202);
	}
	if (get(building, FIELD_FRAGMENT) != FRAGMENT_LATER)
		complete_transport(building, (unsigned)get(building, FIELD_PROTO), ipv6);
	plain(building, FIELD_LENGTH, built_length_min(family, (unsigned)get(building, FIELD_PROTO),
						       (enum packet_fragment)get(building, FIELD_FRAGMENT)));
}

static void complete(struct building *building)
{
	enum packet_family family = family_of(building);

	plain(building, FIELD_FAMILY, family);
	plain(building, FIELD_ETH_SRC, u128_make(0, 0x020000000001));
	plain(building, FIELD_ETH_DST, u128_make(0, 0x020000000002));
	if (family == FAMILY_IPV4 || family == FAMILY_IPV6)
		complete_ip(building, family);
	else
		plain(building, FIELD_ETH_TYPE, family == FAMILY_EXEMPT ? TYPE_ARP : TYPE_LOCAL);
}

/* --- bytes ------------------------------------------------------------------------------------------------------ */

static uint32_t transport_min(enum packet_family family, unsigned proto)
{
	switch (proto) {
	case NUMBER_TCP:
		return 20;
	case NUMBER_UDP:
	case NUMBER_UDP_LITE:
		return 8;
	case NUMBER_SCTP:
		return 12;
	case NUMBER_ICMP:
		return family == FAMILY_IPV4 ? 8 : 0;
	case NUMBER_ICMPV6:
		return family == FAMILY_IPV6 ? 4 : 0;
	default:
		return 0;
	}
}

uint32_t built_length_min(enum packet_family family, unsigned proto, enum packet_fragment fragment)
{
	uint32_t header = family == FAMILY_IPV4 ? 20 : fragment == FRAGMENT_NONE ? 40 : 40 + FRAGMENT_BYTES;

	return header + (fragment == FRAGMENT_LATER ? 0 : transport_min(family, proto));
}

static void put_tags(struct building *building, uint64_t type)
{
	/* A tag's number as the type behind the tags is only seen behind two of them. */
	unsigned tags = type == TYPE_VLAN || type == TYPE_SERVICE_VLAN ? TAGS_MAX :
			building->fields.has[FIELD_VLAN] ? 1 : 0;

	for (unsigned i = 0; i < tags; i++) {
		put(building, TYPE_VLAN, 2);
		put(building, get(building, FIELD_VLAN), 2);
	}
}

static void put_frame(struct building *building)
{
	uint64_t type = get(building, FIELD_ETH_TYPE);

	put(building, get(building, FIELD_ETH_DST), 6);
	put(building, get(building, FIELD_ETH_SRC), 6);
	put_tags(building, type);
	put(building, type, 2);
}

static void put_ipv4(struct building *building)
{
	uint64_t length = get(building, FIELD_LENGTH), fragment = get(building, FIELD_FRAGMENT);

	put(building, 0x45, 1);
	put(building, get(building, FIELD_DSCP) << 2 | get(building, FIELD_ECN), 1);
	put(building, length > LENGTH_FIELD_MAX ? 0 : length, 2);
	put(building, 0, 2);
	put(building, fragment == FRAGMENT_LATER ? LATER_OFFSET : fragment == FRAGMENT_FIRST ? 0x2000 : 0, 2);
	put(building, get(building, FIELD_TTL), 1);
	put(building, get(building, FIELD_PROTO), 1);
	put(building, 0, 2);
	put(building, building->fields.value[FIELD_IP_SRC], 4);
	put(building, building->fields.value[FIELD_IP_DST], 4);
}

static void put_ipv6(struct building *building)
{
	uint64_t payload = get(building, FIELD_LENGTH) - 40, fragment = get(building, FIELD_FRAGMENT);
	uint64_t octet = get(building, FIELD_DSCP) << 2 | get(building, FIELD_ECN);

	put(building, 6ull << 28 | octet << 20, 4);
	put(building, payload > LENGTH_FIELD_MAX ? 0 : payload, 2);
	put(building, fragment == FRAGMENT_NONE ? get(building, FIELD_PROTO) : NUMBER_FRAGMENT, 1);
	put(building, get(building, FIELD_TTL), 1);
	put(building, building->fields.value[FIELD_IPV6_SRC], 16);
	put(building, building->fields.value[FIELD_IPV6_DST], 16);
	if (fragment == FRAGMENT_NONE)
		return;
	put(building, get(building, FIELD_PROTO), 1);
	put(building, 0, 1);
	put(building, fragment == FRAGMENT_LATER ? LATER_OFFSET << 3 : 1, 2);
	put(building, 0, 4);
}

/* Header fields that no rule looks at stay zero. */
static void put_transport(struct building *building, unsigned proto, size_t left)
{
	unsigned char *header = building->bytes + building->used;
	bool ipv6 = get(building, FIELD_FAMILY) == FAMILY_IPV6;

	if (has_ports(proto)) {
		put(building, get(building, FIELD_SRC_PORT), 2);
		put(building, get(building, FIELD_DST_PORT), 2);
	}
	if (proto == NUMBER_TCP) {
		header[12] = 5 << 4;
		header[13] = (unsigned char)get(building, FIELD_TCP_FLAGS);
	}
	if (proto == NUMBER_UDP)
		put(building, left > LENGTH_FIELD_MAX ? 0 : left, 2);
	if (proto == (ipv6 ? NUMBER_ICMPV6 : NUMBER_ICMP)) {
		put(building, get(building, FIELD_ICMP_TYPE), 1);
		put(building, get(building, FIELD_ICMP_CODE), 1);
	}
}

static void put_ip(struct building *building)
{
	size_t start = building->used, end = start + get(building, FIELD_LENGTH);

	if (get(building, FIELD_FAMILY) == FAMILY_IPV4)
		put_ipv4(building);
	else
		put_ipv6(building);
	if (get(building, FIELD_FRAGMENT) != FRAGMENT_LATER)
		put_transport(building, (unsigned)get(building, FIELD_PROTO), end - building->used);
	building->used = end;
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

static bool is_ip(const struct building *building)
{
	return get(building, FIELD_FAMILY) == FAMILY_IPV4 || get(building, FIELD_FAMILY) == FAMILY_IPV6;
}

static const char *check_length(struct arena *arena, const struct building *building)
{
	uint32_t least;

	if (!is_ip(building))
		return NULL;
	least = built_length_min((enum packet_family)get(building, FIELD_FAMILY),
				 (unsigned)get(building, FIELD_PROTO),
				 (enum packet_fragment)get(building, FIELD_FRAGMENT));
	if (get(building, FIELD_LENGTH) < least)
		return arena_printf(arena, "such a packet is at least %u bytes long", least);
	if (get(building, FIELD_LENGTH) > BUILT_LENGTH_MAX)
		return arena_printf(arena, "packets are at most %d bytes long", BUILT_LENGTH_MAX);
	return NULL;
}

static void metadata(const struct building *building, struct model_packet *packet)
{
	const struct model_fields *fields = &building->fields;

	packet->in_iface = fields->has[FIELD_IN_IFACE] ? (uint32_t)get(building, FIELD_IN_IFACE) : ABSENT_IFACE;
	packet->out_iface = fields->has[FIELD_OUT_IFACE] ? (uint32_t)get(building, FIELD_OUT_IFACE) : ABSENT_IFACE;
	packet->flow = (uint8_t)get(building, FIELD_FLOW);
	packet->mark = (uint32_t)get(building, FIELD_MARK);
	packet->knocked = (uint8_t)get(building, FIELD_KNOCKED);
	packet->user = fields->has[FIELD_USER] ? (uint32_t)get(building, FIELD_USER) : ABSENT_OWNER;
	packet->program = fields->has[FIELD_PROGRAM] ? (uint16_t)get(building, FIELD_PROGRAM) : ABSENT_PROGRAM;
	packet->tree = (uint16_t)get(building, FIELD_TREE);
	packet->group = fields->has[FIELD_GROUP] ? (uint32_t)get(building, FIELD_GROUP) : ABSENT_OWNER;
	for (int i = 0; i < PACKET_CGROUPS; i++)
		packet->cgroup[i] = fields->has[FIELD_CGROUP_0 + i] ? get(building, FIELD_CGROUP_0 + i) : ABSENT_CGROUP;
}

static const char *field_text(struct arena *arena, enum field field, u128 value)
{
	struct value_format format = value_format_of(field);
	char text[RANGE_TEXT_MAX];

	value_print(&format, value, text);
	return arena_printf(arena, "%s %s", field_table[field].name, text);
}

/* Compares what was asked for with what is there. */
static const char *check_fields(struct arena *arena, enum hook hook, const struct model_fields *asked,
				const struct model_packet *packet)
{
	struct model_fields found;

	model_parse(hook, packet, &found);
	if (found.malformed)
		return "such a packet is malformed";
	for (int i = 0; i < FIELD_COUNT; i++) {
		enum field field = (enum field)i;

		if (!asked->has[field] || (found.has[field] && found.value[field] == asked->value[field]))
			continue;
		if (!(field_table[field].hooks & HOOK_BIT(hook)))
			return arena_printf(arena, "%s cannot be seen at %s", field_table[field].name,
					    hook_table[hook].name);
		return arena_printf(arena, "there is no such packet with %s",
				    field_text(arena, field, asked->value[field]));
	}
	return NULL;
}

const char *packet_build(struct arena *arena, enum hook hook, const struct model_fields *fields,
			 struct model_packet *ret_packet)
{
	struct building building = { .hook = hook, .fields = *fields };
	struct model_packet packet = { .ethertype = 0 };
	const char *wrong;

	complete(&building);
	wrong = check_length(arena, &building);
	if (wrong)
		return wrong;
	building.bytes = arena_alloc(arena, ETHER_BYTES + TAGS_MAX * TAG_BYTES + get(&building, FIELD_LENGTH));
	if (hook_table[hook].frames)
		put_frame(&building);
	if (is_ip(&building))
		put_ip(&building);
	packet.data = building.bytes;
	packet.length = building.used;
	packet.ethertype = hook_table[hook].frames ? 0 : (uint16_t)get(&building, FIELD_ETH_TYPE);
	metadata(&building, &packet);
	wrong = check_fields(arena, hook, fields, &packet);
	if (!wrong)
		*ret_packet = packet;
	return wrong;
}

void packet_build_malformed(struct arena *arena, enum hook hook, struct model_packet *ret_packet)
{
	const struct model_fields none = { 0 };
	size_t link = hook_table[hook].frames ? ETHER_BYTES : 0;

	packet_build(arena, hook, &none, ret_packet);
	ret_packet->length = link + 8;
}
