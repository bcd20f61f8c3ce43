/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Witnesses. In: demands on dimensions; out: field values or that there are none. What is asked of one field is solved
 * apart, bit by bit where masks are asked about; the kinds of packets, which decide what fields there are, are tried
 * one by one. Gives up, and says so, where that takes too many steps.
 */
#include "plan/witness.h"

#include "ir/packet_build.h"
#include "plan/work.h"

enum {
	MASKS_MAX = 16,       /* demands on one field */
	BIT_STEPS_MAX = 50000,
	JUMPS_MAX = 2000,     /* from set element to set element */
	PROTO_COUNT = 256,
	TYPE_ARP = 0x0806,
	TYPE_EAPOL = 0x888e,
	TYPE_LLDP = 0x88cc,
	TYPE_VLAN = 0x8100,
	TYPE_SERVICE_VLAN = 0x88a8,
	TYPE_LOCAL = 0x88b5,  /* IEEE 802 local experimental */
	TYPES_BEGIN = 1536,   /* below: an IEEE 802.3 length */
};
#define BRIDGES ((u128)0x0180c2000000) /* the spanning tree's address */

/* (value & mask) in lo .. hi. */
struct masked {
	u128 mask, lo, hi;
};

struct member {
	const struct plan_set *set;
	bool inside;
};

/* All that is asked of one field. */
struct domain {
	enum field field;
	bool asked;
	u128 lo, hi; /* of the whole value */
	struct masked masks[MASKS_MAX];
	size_t mask_count;
	struct member members[MASKS_MAX];
	size_t member_count;
	bool absent;       /* its absent value will do */
	bool unknown;      /* too much is asked */
};

/* --- one field -------------------------------------------------------------------------------------------------- */

static bool is_low_half(const struct dim *dim)
{
	return dim->offset != field_table[dim->field].offset;
}

static void add_masked(struct domain *domain, u128 mask, u128 lo, u128 hi)
{
	if (domain->mask_count == MASKS_MAX)
		domain->unknown = true;
	else
		domain->masks[domain->mask_count++] = (struct masked){ mask, lo, hi };
}

static void add_value(struct domain *domain, const struct demand *demand)
{
	const struct field_info *info = &field_table[domain->field];
	u128 mask = demand->dim->mask, lo = demand->in.lo, hi = demand->in.hi;
	uint64_t absent = info->absent & demand->dim->mask;

	if (info->presence != PRESENT_VALUE || absent < demand->in.lo || absent > demand->in.hi)
		domain->absent = false;
	if (info->bits == 128 && is_low_half(demand->dim)) {
		add_masked(domain, (u128)(uint64_t)mask, lo, hi);
	} else if (info->bits == 128) {
		add_masked(domain, mask << 64, lo << 64, hi << 64);
	} else if (mask != ~0ull) {
		add_masked(domain, mask, lo, hi);
	} else {
		domain->lo = lo > domain->lo ? lo : domain->lo;
		domain->hi = hi < domain->hi ? hi : domain->hi;
	}
}

/* A field that is absent is no element. */
static void add_member(struct domain *domain, const struct demands *demands, const struct demand *demand)
{
	bool inside = demand->in.lo == 1;

	if (demand->in.lo != demand->in.hi)
		return;
	if (inside)
		domain->absent = false;
	if (demands->open && demands->open[demand->dim->set])
		return;
	if (domain->member_count == MASKS_MAX)
		domain->unknown = true;
	else
		domain->members[domain->member_count++] =
			(struct member){ &demands->sets[demand->dim->set], inside };
}

static void collect(const struct demands *demands, enum field field, struct domain *domain)
{
	*domain = (struct domain){ .field = field, .hi = u128_max(field_table[field].bits), .absent = true };
	for (size_t i = 0; i < demands->count; i++) {
		const struct demand *demand = &demands->items[i];

		if (demand->dim->field != field)
			continue;
		domain->asked = true;
		if (demand->dim->kind == DIM_SET)
			add_member(domain, demands, demand);
		else
			add_value(domain, demand);
	}
}

/* A number that is being put together from its highest bit on. */
struct digits {
	const struct domain *domain;
	u128 least; /* the result's bound; its upper one is the domain's */
	unsigned steps;
};

/* Whether the bits chosen so far, and any below, can keep lo <= value <= hi under the mask. */
static bool fits(u128 value, unsigned left, u128 mask, u128 lo, u128 hi)
{
	u128 below = u128_max(left);
	u128 smallest = value & mask, greatest = (value | below) & mask;

	return greatest >= lo && smallest <= hi;
}

static bool all_fit(const struct digits *digits, u128 value, unsigned left)
{
	const struct domain *domain = digits->domain;

	if (!fits(value, left, ~(u128)0, digits->least, domain->hi))
		return false;
	for (size_t i = 0; i < domain->mask_count; i++)
		if (!fits(value, left, domain->masks[i].mask, domain->masks[i].lo, domain->masks[i].hi))
			return false;
	return true;
}

/* The smallest number with these upper bits; tries 0 before 1. */
static bool choose_bits(struct digits *digits, u128 value, unsigned left, u128 *ret_value)
{
	if (digits->steps >= BIT_STEPS_MAX || !all_fit(digits, value, left))
		return false;
	digits->steps++;
	if (!left) {
		*ret_value = value;
		return true;
	}
	return choose_bits(digits, value, left - 1, ret_value) ||
	       choose_bits(digits, value | (u128)1 << (left - 1), left - 1, ret_value);
}

/* The smallest value from `least` on that the masks allow. */
static enum witness_found next_masked(const struct domain *domain, u128 least, u128 *ret_value)
{
	struct digits digits = { domain, least > domain->lo ? least : domain->lo, 0 };

	if (digits.least > domain->hi)
		return WITNESS_NONE;
	if (!domain->mask_count) {
		*ret_value = digits.least;
		return WITNESS_FOUND;
	}
	if (choose_bits(&digits, 0, field_table[domain->field].bits, ret_value))
		return WITNESS_FOUND;
	return digits.steps >= BIT_STEPS_MAX ? WITNESS_UNKNOWN : WITNESS_NONE;
}

/* The first range that ends at the value or behind it, or NULL. */
static const struct range *range_from(const struct plan_set *set, u128 value)
{
	size_t first = 0, last = set->count;

	while (first < last) {
		size_t middle = first + (last - first) / 2;

		if (set->elements[middle].hi < value)
			first = middle + 1;
		else
			last = middle;
	}
	return first < set->count ? &set->elements[first] : NULL;
}

/* Where the search has to go on for the member's sake: the value itself if it will do. False: nowhere. */
static bool next_member(const struct member *member, u128 value, u128 *ret_value)
{
	const struct range *range = range_from(member->set, value);
	bool inside = range && range->lo <= value;

	*ret_value = value;
	if (inside == member->inside)
		return true;
	if (member->inside) {
		*ret_value = range ? range->lo : 0;
		return range;
	}
	*ret_value = range->hi + 1;
	return range->hi != ~(u128)0;
}

static enum witness_found next_value(const struct domain *domain, u128 least, u128 *ret_value)
{
	u128 value = least;

	if (domain->unknown)
		return WITNESS_UNKNOWN;
	for (unsigned jumps = 0; jumps < JUMPS_MAX; jumps++) {
		enum witness_found found = next_masked(domain, value, &value);
		u128 next = value;

		if (found != WITNESS_FOUND)
			return found;
		for (size_t i = 0; i < domain->member_count && next == value; i++)
			if (!next_member(&domain->members[i], value, &next))
				return WITNESS_NONE;
		if (next == value) {
			*ret_value = value;
			return WITNESS_FOUND;
		}
		value = next;
	}
	return WITNESS_UNKNOWN;
}

/* --- plain values ----------------------------------------------------------------------------------------------- */

/* What a field may have so that people are not surprised: tried in this order, then the smallest value. */
static const struct {
	enum field field;
	uint64_t hi; /* upper half of the value, for IPv6 */
	uint64_t from, to;
} liked[] = {
	{ FIELD_IP_SRC, 0, 0xc0000201, 0xc00002fe },     /* 192.0.2.1 */
	{ FIELD_IP_SRC, 0, 0xc6336401, 0xc63364fe },     /* 198.51.100.1 */
	{ FIELD_IP_SRC, 0, 0xcb007101, 0xcb0071fe },     /* 203.0.113.1 */
	{ FIELD_IP_SRC, 0, 0x0a000001, 0x0afffffe },
	{ FIELD_IP_SRC, 0, 0x01000001, 0xdfffffff },
	{ FIELD_IP_DST, 0, 0xc0000202, 0xc00002fe },
	{ FIELD_IP_DST, 0, 0xc6336401, 0xc63364fe },
	{ FIELD_IP_DST, 0, 0xcb007101, 0xcb0071fe },
	{ FIELD_IP_DST, 0, 0x0a000001, 0x0afffffe },
	{ FIELD_IP_DST, 0, 0x01000001, 0xdfffffff },
	{ FIELD_IPV6_SRC, 0x20010db800000000, 1, ~0ull }, /* 2001:db8::1 */
	{ FIELD_IPV6_DST, 0x20010db800000000, 2, ~0ull },
	{ FIELD_SRC_PORT, 0, PLAIN_PORT, 65535 },
	{ FIELD_DST_PORT, 0, PLAIN_PORT, 65535 },
	{ FIELD_DST_PORT, 0, 1, 65535 },
	{ FIELD_TCP_FLAGS, 0, PLAIN_FLAGS, PLAIN_FLAGS },
	{ FIELD_TTL, 0, PLAIN_TTL, PLAIN_TTL },
	{ FIELD_USER, 0, 1000, 60000 },
	{ FIELD_ETH_SRC, 0, 0x020000000001, 0x020000000001 },
	{ FIELD_ETH_DST, 0, 0x020000000002, 0x020000000002 },
	{ FIELD_IN_IFACE, 0, 1, 1000000 },
	{ FIELD_OUT_IFACE, 0, 1, 1000000 },
};

static enum witness_found plain_value(const struct domain *domain, u128 *ret_value)
{
	struct domain narrow = *domain;
	u128 lo, hi;

	for (size_t i = 0; i < sizeof liked / sizeof *liked; i++) {
		if (liked[i].field != domain->field)
			continue;
		lo = u128_make(liked[i].hi, liked[i].from);
		hi = u128_make(liked[i].hi, liked[i].to);
		narrow.lo = lo > domain->lo ? lo : domain->lo;
		narrow.hi = hi < domain->hi ? hi : domain->hi;
		if (next_value(&narrow, 0, ret_value) == WITNESS_FOUND)
			return WITNESS_FOUND;
	}
	return next_value(domain, 0, ret_value);
}

/* --- the packet ------------------------------------------------------------------------------------------------- */

struct choice {
	struct domain domain;
	enum witness_found found; /* a present value */
	u128 value;
};

struct finding {
	const struct demands *demands;
	struct choice choices[FIELD_COUNT];
	struct model_fields fields;
	enum packet_family family;
	unsigned proto;
	enum packet_fragment fragment;
	bool unknown;
};

/* The present value that must not be the absent one. */
static void choose(struct finding *finding, enum field field)
{
	const struct field_info *info = &field_table[field];
	struct choice *choice = &finding->choices[field];

	collect(finding->demands, field, &choice->domain);
	if (info->presence == PRESENT_VALUE && info->absent == 0 && !choice->domain.lo)
		choice->domain.lo = 1;
	if (info->presence == PRESENT_VALUE && info->absent == (uint64_t)choice->domain.hi)
		choice->domain.hi--;
	if (choice->domain.lo > choice->domain.hi && info->bits < 128)
		choice->found = WITNESS_NONE;
	else
		choice->found = plain_value(&choice->domain, &choice->value);
}

static bool sees(const struct finding *finding, enum field field)
{
	return field_table[field].hooks & HOOK_BIT(finding->demands->hook);
}

static void take(struct finding *finding, enum field field, u128 value)
{
	if (!sees(finding, field))
		return;
	finding->fields.has[field] = true;
	finding->fields.value[field] = value;
}

static bool take_present(struct finding *finding, enum field field)
{
	const struct choice *choice = &finding->choices[field];

	if (!choice->domain.asked)
		return true;
	finding->unknown |= choice->found == WITNESS_UNKNOWN;
	if (choice->found == WITNESS_FOUND)
		take(finding, field, choice->value);
	return choice->found == WITNESS_FOUND;
}

static bool take_absent(struct finding *finding, enum field field)
{
	return finding->choices[field].domain.absent;
}

static bool take_if(struct finding *finding, enum field field, bool present)
{
	return present ? take_present(finding, field) : take_absent(finding, field);
}

/* What a packet may have or not: rather not, but it comes through some interface. */
static bool take_either(struct finding *finding, enum field field)
{
	bool iface = field == FIELD_IN_IFACE || field == FIELD_OUT_IFACE;

	if (!sees(finding, field))
		return true;
	if (iface)
		return take_present(finding, field) || take_absent(finding, field);
	return take_absent(finding, field) || take_present(finding, field);
}

static bool allows(const struct choice *choice, u128 value)
{
	struct domain domain = choice->domain;
	u128 found;

	if (!domain.asked)
		return true;
	if (value < domain.lo || value > domain.hi)
		return false;
	domain.lo = domain.hi = value;
	return next_value(&domain, 0, &found) == WITNESS_FOUND;
}

static bool is_ip(enum packet_family family)
{
	return family == FAMILY_IPV4 || family == FAMILY_IPV6;
}

static bool has_ports(unsigned proto)
{
	return proto == 6 || proto == 17 || proto == 132 || proto == 136;
}

/* Extension headers are walked, and so no packet's protocol; but in later fragments nothing is walked. */
static bool is_extension(unsigned proto)
{
	return proto == 0 || proto == 43 || proto == 44 || proto == 51 || proto == 60 || proto == 135;
}

static bool take_transport(struct finding *finding)
{
	bool whole = is_ip(finding->family) && finding->fragment != FRAGMENT_LATER;
	bool ports = whole && has_ports(finding->proto);
	bool icmp = whole && finding->proto == (finding->family == FAMILY_IPV6 ? 58 : 1);

	return take_if(finding, FIELD_SRC_PORT, ports) && take_if(finding, FIELD_DST_PORT, ports) &&
	       take_if(finding, FIELD_TCP_FLAGS, whole && finding->proto == 6) &&
	       take_if(finding, FIELD_ICMP_TYPE, icmp) && take_if(finding, FIELD_ICMP_CODE, icmp);
}

static bool take_length(struct finding *finding)
{
	struct domain domain = finding->choices[FIELD_LENGTH].domain;
	enum witness_found found;
	u128 value;

	if (!domain.asked)
		return true;
	if (domain.hi > BUILT_LENGTH_MAX)
		domain.hi = BUILT_LENGTH_MAX;
	found = next_value(&domain, built_length_min(finding->family, finding->proto, finding->fragment), &value);
	finding->unknown |= found == WITNESS_UNKNOWN;
	if (found == WITNESS_FOUND)
		take(finding, FIELD_LENGTH, value);
	return found == WITNESS_FOUND;
}

static bool take_ip(struct finding *finding)
{
	bool ipv6 = finding->family == FAMILY_IPV6;

	if (ipv6 && finding->fragment != FRAGMENT_LATER && is_extension(finding->proto))
		return false;
	take(finding, FIELD_PROTO, finding->proto);
	take(finding, FIELD_FRAGMENT, finding->fragment);
	return take_present(finding, ipv6 ? FIELD_IPV6_SRC : FIELD_IP_SRC) &&
	       take_present(finding, ipv6 ? FIELD_IPV6_DST : FIELD_IP_DST) && take_present(finding, FIELD_TTL) &&
	       take_present(finding, FIELD_DSCP) && take_present(finding, FIELD_ECN) &&
	       take_present(finding, FIELD_KNOCKED) && take_length(finding) && take_transport(finding);
}

/* --- the link layer --------------------------------------------------------------------------------------------- */

static bool is_exempt_type(u128 type)
{
	return type == TYPE_ARP || type == TYPE_EAPOL || type == TYPE_LLDP;
}

/* The address that is no bridges' one, or only that. */
static bool take_destination(struct finding *finding, bool bridges, bool others)
{
	const struct choice *choice = &finding->choices[FIELD_ETH_DST];
	struct domain domain = choice->domain;
	u128 value = choice->value;
	bool found = !domain.asked || choice->found == WITNESS_FOUND;

	if (bridges && !others) {
		take(finding, FIELD_ETH_DST, BRIDGES);
		return allows(choice, BRIDGES);
	}
	if (!bridges && found && domain.asked && value == BRIDGES)
		found = next_value(&domain, BRIDGES + 1, &value) == WITNESS_FOUND;
	if (found && domain.asked)
		take(finding, FIELD_ETH_DST, value);
	return found;
}

/* Behind two tags there may be the type of a third one; that is a field value as any other, but needs the tags. */
static bool take_vlan(struct finding *finding, u128 type)
{
	if (type == TYPE_VLAN || type == TYPE_SERVICE_VLAN) {
		if (!finding->choices[FIELD_VLAN].domain.asked)
			take(finding, FIELD_VLAN, 0);
		return take_present(finding, FIELD_VLAN);
	}
	return take_either(finding, FIELD_VLAN);
}

static bool try_type(struct finding *finding, u128 type)
{
	bool length = type < TYPES_BEGIN;
	bool exempt = finding->family == FAMILY_EXEMPT;

	if (!allows(&finding->choices[FIELD_ETH_TYPE], type) || !take_vlan(finding, type))
		return false;
	take(finding, FIELD_ETH_TYPE, type);
	return take_present(finding, FIELD_ETH_SRC) && take_destination(finding, !length || exempt, !length || !exempt);
}

/* Tries the smallest type in the range that belongs to no other family; all of them are alike but for the tags'. */
static bool try_types(struct finding *finding, u128 from, u128 to)
{
	struct domain domain = finding->choices[FIELD_ETH_TYPE].domain;
	u128 type = from;

	domain.hi = to < domain.hi ? to : domain.hi;
	for (; next_value(&domain, type, &type) == WITNESS_FOUND; type++)
		if (type != 0x0800 && type != 0x86dd && !is_exempt_type(type) && type != TYPE_VLAN &&
		    type != TYPE_SERVICE_VLAN)
			return try_type(finding, type);
	return false;
}

static bool try_other_types(struct finding *finding)
{
	return try_types(finding, TYPE_LOCAL, 0xffff) || try_types(finding, TYPES_BEGIN, 0xffff) ||
	       try_types(finding, 0, TYPES_BEGIN - 1) || try_type(finding, TYPE_VLAN) ||
	       try_type(finding, TYPE_SERVICE_VLAN);
}

static bool take_link(struct finding *finding)
{
	static const u128 exempt[] = { TYPE_ARP, TYPE_EAPOL, TYPE_LLDP };
	struct domain lengths = finding->choices[FIELD_ETH_TYPE].domain;
	u128 type;

	if (!hook_table[finding->demands->hook].frames)
		return true;
	if (is_ip(finding->family))
		return try_type(finding, finding->family == FAMILY_IPV4 ? 0x0800 : 0x86dd);
	if (finding->family == FAMILY_OTHER)
		return try_other_types(finding);
	for (size_t i = 0; i < 3; i++)
		if (try_type(finding, exempt[i]))
			return true;
	if (lengths.hi >= TYPES_BEGIN)
		lengths.hi = TYPES_BEGIN - 1;
	return next_value(&lengths, 0, &type) == WITNESS_FOUND && try_type(finding, type);
}

static bool take_metadata(struct finding *finding)
{
	static const enum field fields[] = { FIELD_FLOW, FIELD_IN_IFACE, FIELD_OUT_IFACE, FIELD_USER, FIELD_GROUP,
					     FIELD_PROGRAM, FIELD_CGROUP_0,
					     FIELD_CGROUP_1, FIELD_CGROUP_2 };

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (finding->choices[fields[i]].domain.asked && !take_either(finding, fields[i]))
			return false;
	return take_present(finding, FIELD_MARK) && take_present(finding, FIELD_TREE);
}

/* --- trying all kinds of packets -------------------------------------------------------------------------------- */

static bool try_packet(struct finding *finding, enum packet_family family, enum packet_fragment fragment,
		       unsigned proto)
{
	finding->fields = (struct model_fields){ 0 };
	finding->family = family;
	finding->fragment = fragment;
	finding->proto = proto;
	take(finding, FIELD_FAMILY, family);
	if (!take_link(finding) || !take_metadata(finding))
		return false;
	return is_ip(family) ? take_ip(finding) : take_transport(finding);
}

/* Well-known protocols first. */
static bool try_protocols(struct finding *finding, enum packet_family family, enum packet_fragment fragment)
{
	static const uint8_t first[] = { 6, 17, 1, 58, 132, 136, 47 };

	for (size_t i = 0; i < sizeof first; i++)
		if (allows(&finding->choices[FIELD_PROTO], first[i]) &&
		    try_packet(finding, family, fragment, first[i]))
			return true;
	for (unsigned proto = 0; proto < PROTO_COUNT; proto++)
		if (allows(&finding->choices[FIELD_PROTO], proto) && try_packet(finding, family, fragment, proto))
			return true;
	return false;
}

static bool try_family(struct finding *finding, enum packet_family family)
{
	static const enum packet_fragment fragments[] = { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

	if (!allows(&finding->choices[FIELD_FAMILY], family))
		return false;
	if (!is_ip(family))
		return hook_table[finding->demands->hook].frames && take_absent(finding, FIELD_PROTO) &&
		       try_packet(finding, family, FRAGMENT_NONE, 0);
	for (size_t i = 0; i < (sees(finding, FIELD_FRAGMENT) ? 3 : 1); i++)
		if (allows(&finding->choices[FIELD_FRAGMENT], fragments[i]) &&
		    try_protocols(finding, family, fragments[i]))
			return true;
	return false;
}

enum witness_found witness_field(const struct demands *demands, enum field field)
{
	struct domain domain;
	u128 value;

	collect(demands, field, &domain);
	if (domain.absent || field == FIELD_FAMILY)
		return WITNESS_FOUND;
	return next_value(&domain, 0, &value);
}

enum witness_found witness_find(const struct demands *demands, struct model_fields *ret_fields)
{
	static const enum packet_family families[] = { FAMILY_IPV4, FAMILY_IPV6, FAMILY_EXEMPT, FAMILY_OTHER };
	struct finding finding = { .demands = demands };

	for (int field = 0; field < FIELD_COUNT; field++)
		choose(&finding, (enum field)field);
	for (size_t i = 0; i < 4; i++) {
		if (!try_family(&finding, families[i]))
			continue;
		*ret_fields = finding.fields;
		return WITNESS_FOUND;
	}
	return finding.unknown ? WITNESS_UNKNOWN : WITNESS_NONE;
}
