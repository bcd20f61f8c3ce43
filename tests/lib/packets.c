/* SPDX-License-Identifier: GPL-2.0-only */
/* Random packets: packets.h says what comes out. A frame is written front to back; lengths are patched afterwards. */
#include "tests/lib/packets.h"

#include <string.h>

enum { MARKS_MAX = 64 };

/* A packet in the making. `marks` are the places where headers begin or end. */
struct draft {
	struct packet_source *source;
	struct random *random;
	unsigned char bytes[PACKET_BYTES_MAX];
	size_t length;
	size_t marks[MARKS_MAX];
	size_t mark_count;
	bool fragment;
	bool zero_length; /* the IP length stays 0: the packet's own length */
};

/* --- the pool ------------------------------------------------------------------------------------------------- */

void packets_seed(struct packet_source *source, uint64_t seed)
{
	memset(source, 0, sizeof *source);
	source->random = random_seed(seed);
}

void packets_add(struct packet_source *source, enum field field, u128 value)
{
	uint32_t at = source->pool[field].count;

	for (uint32_t i = 0; i < source->pool[field].count; i++)
		if (source->pool[field].values[i] == value)
			return;
	if (at == PACKETS_POOL_MAX)
		at = random_below(&source->random, PACKETS_POOL_MAX);
	else
		source->pool[field].count++;
	source->pool[field].values[at] = value;
}

static void add_ranges(struct packet_source *source, enum field field, const struct range *ranges, size_t count)
{
	u128 max = u128_max(field_table[field].bits);

	for (size_t i = 0; i < count; i++) {
		packets_add(source, field, ranges[i].lo & max);
		packets_add(source, field, ranges[i].hi & max);
		packets_add(source, field, (ranges[i].lo - 1) & max);
		packets_add(source, field, (ranges[i].hi + 1) & max);
	}
}

static void add_set(struct packet_source *source, enum field field, const struct set *set)
{
	if (field_table[field].bits == 128)
		add_ranges(source, field, set->ranges6, set->count6);
	else
		add_ranges(source, field, set->ranges, set->count);
}

static void add_cond(struct packet_source *source, const struct ruleset *ruleset, const struct cond *cond)
{
	switch (cond->kind) {
	case COND_TRUE:
	case COND_FALSE:
		return;
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			add_cond(source, ruleset, cond->list.items[i]);
		return;
	case COND_NOT:
		add_cond(source, ruleset, cond->inner);
		return;
	case COND_MATCH:
		add_ranges(source, cond->match.field, cond->match.ranges, cond->match.count);
		return;
	case COND_SET:
		add_set(source, cond->set.field, &ruleset->sets[cond->set.set]);
		return;
	}
}

void packets_add_ruleset(struct packet_source *source, const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			if (ruleset->chains[i].rules[j].cond)
				add_cond(source, ruleset, ruleset->chains[i].rules[j].cond);
	for (size_t i = 0; i < ruleset->knock_count; i++)
		for (size_t j = 0; j < ruleset->knocks[i].step_count; j++)
			add_cond(source, ruleset, ruleset->knocks[i].steps[j]);
}

static u128 random_u128(struct random *random)
{
	uint64_t hi = random_next(random);

	return u128_make(hi, random_next(random));
}

/* A value of the pool two times in three if there is one, else `otherwise`. */
static u128 pick(struct packet_source *source, enum field field, u128 otherwise)
{
	uint32_t count = source->pool[field].count;

	if (!count || random_once_in(&source->random, 3))
		return otherwise;
	return source->pool[field].values[random_below(&source->random, count)];
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static void put(struct draft *draft, u128 value, unsigned bytes)
{
	for (unsigned i = bytes; i-- > 0;)
		if (draft->length < sizeof draft->bytes)
			draft->bytes[draft->length++] = (unsigned char)(value >> (8 * i));
}

static void put_random(struct draft *draft, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		put(draft, random_next(draft->random) >> 56, 1);
}

static void patch16(struct draft *draft, size_t at, size_t value)
{
	if (at + 2 > draft->length)
		return;
	draft->bytes[at] = (unsigned char)(value >> 8);
	draft->bytes[at + 1] = (unsigned char)value;
}

static void mark(struct draft *draft)
{
	if (draft->mark_count < MARKS_MAX)
		draft->marks[draft->mark_count++] = draft->length;
}

/* True once in `n` times, but never in packets that shall be well formed. */
static bool spoil(struct draft *draft, uint32_t n)
{
	return !draft->source->well_formed && random_once_in(draft->random, n);
}

/* The right length, or one that is off by one, zero, doubled or anything. */
static size_t some_length(struct draft *draft, size_t right)
{
	if (!spoil(draft, 12))
		return right;
	switch (random_below(draft->random, 6)) {
	case 0:
		return right + 1;
	case 1:
		return right ? right - 1 : 0;
	case 2:
		return 0;
	case 3:
		return right * 2;
	case 4:
		return random_below(draft->random, 0x10000);
	default:
		return random_below(draft->random, 48);
	}
}

/* Cuts the packet at or beside a place where a header begins or ends, but not before `from`. */
static void cut(struct draft *draft, size_t from)
{
	size_t at = draft->marks[random_below(draft->random, (uint32_t)draft->mark_count)];

	at += random_below(draft->random, 3);
	at -= at ? 1 : 0;
	if (random_once_in(draft->random, 4))
		at = random_below(draft->random, (uint32_t)draft->length + 1);
	if (at >= from && at < draft->length)
		draft->length = at;
}

/* --- transport ------------------------------------------------------------------------------------------------ */

static uint16_t some_port(struct draft *draft, enum field field)
{
	static const uint16_t known[] = { 0, 1, 22, 53, 67, 68, 80, 443, 8080, 0x7fff, 0x8000, 0xffff };
	uint16_t port = random_once_in(draft->random, 2) ? RANDOM_PICK(draft->random, known) :
							   (uint16_t)random_next(draft->random);

	return (uint16_t)pick(draft->source, field, port);
}

static void put_ports(struct draft *draft)
{
	mark(draft);
	put(draft, some_port(draft, FIELD_SRC_PORT), 2);
	put(draft, some_port(draft, FIELD_DST_PORT), 2);
}

static void put_payload(struct draft *draft)
{
	static const uint8_t sizes[] = { 0, 0, 1, 3, 8, 11, 12, 20, 40, 120 };

	mark(draft);
	put_random(draft, RANDOM_PICK(draft->random, sizes));
}

static void put_tcp(struct draft *draft)
{
	static const uint8_t flags[] = { 0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x00, 0xff, 0x29, 0xc2 };
	unsigned words = 5, options;
	uint8_t octet = random_once_in(draft->random, 3) ? (uint8_t)random_next(draft->random) :
							   RANDOM_PICK(draft->random, flags);

	if (random_once_in(draft->random, 3))
		words = random_between(draft->random, 5, 15);
	options = (words - 5) * 4;
	if (spoil(draft, 12))
		words = random_below(draft->random, 16);
	put_ports(draft);
	put_random(draft, 8);
	put(draft, words << 4 | random_below(draft->random, 16), 1);
	put(draft, pick(draft->source, FIELD_TCP_FLAGS, octet), 1);
	mark(draft);
	put_random(draft, 6);
	mark(draft);
	put_random(draft, options);
	put_payload(draft);
}

static void put_udp(struct draft *draft)
{
	size_t start = draft->length;

	put_ports(draft);
	put_random(draft, 4);
	put_payload(draft);
	patch16(draft, start + 4, some_length(draft, draft->length - start));
	if (draft->fragment && random_once_in(draft->random, 2)) /* the whole datagram's */
		patch16(draft, start + 4, random_between(draft->random, 8, 0xffff));
	if (draft->zero_length && random_once_in(draft->random, 2))
		patch16(draft, start + 4, 0);
}

static void put_udp_lite(struct draft *draft)
{
	put_ports(draft);
	put(draft, random_once_in(draft->random, 2) ? 8 : random_below(draft->random, 0x10000), 2);
	put_random(draft, 2);
	put_payload(draft);
}

static void put_sctp(struct draft *draft)
{
	put_ports(draft);
	put_random(draft, 8);
	put_payload(draft);
}

static void put_icmp(struct draft *draft)
{
	static const uint8_t types[] = { 0, 3, 5, 8, 11, 12, 1, 2, 4, 128, 129, 133, 134, 135, 136, 137, 255 };

	mark(draft);
	put(draft, pick(draft->source, FIELD_ICMP_TYPE, RANDOM_PICK(draft->random, types)), 1);
	put(draft, pick(draft->source, FIELD_ICMP_CODE, random_below(draft->random, 16)), 1);
	put_random(draft, 2);
	mark(draft);
	put_random(draft, 4);
	put_payload(draft);
}

static void put_other(struct draft *draft)
{
	put_random(draft, 4);
	put_payload(draft);
}

static void put_transport(struct draft *draft, unsigned number)
{
	mark(draft);
	switch (number) {
	case 6:
		put_tcp(draft);
		break;
	case 17:
		put_udp(draft);
		break;
	case 136:
		put_udp_lite(draft);
		break;
	case 132:
		put_sctp(draft);
		break;
	case 1:
	case 58:
		put_icmp(draft);
		break;
	default:
		put_other(draft);
	}
	mark(draft);
}

static unsigned some_transport(struct draft *draft, unsigned icmp)
{
	static const uint8_t others[] = { 136, 132, 1, 58, 47, 50, 51, 59, 2, 4, 41, 89, 255 };
	uint32_t choice = random_below(draft->random, 10);
	unsigned number = choice < 4 ? 6u : choice < 7 ? 17u : choice < 8 ? icmp : RANDOM_PICK(draft->random, others);

	return (unsigned)pick(draft->source, FIELD_PROTO, number);
}

/* --- IP ------------------------------------------------------------------------------------------------------- */

static unsigned some_traffic_class(struct draft *draft)
{
	u128 dscp = pick(draft->source, FIELD_DSCP, random_once_in(draft->random, 2) ? 0 : 46);

	return (unsigned)(dscp << 2 | pick(draft->source, FIELD_ECN, random_below(draft->random, 4))) & 0xff;
}

static unsigned some_ttl(struct draft *draft)
{
	static const uint8_t known[] = { 0, 1, 64, 128, 255 };

	return (unsigned)pick(draft->source, FIELD_TTL, RANDOM_PICK(draft->random, known));
}

static u128 some_ipv4(struct draft *draft, enum field field)
{
	static const uint32_t known[] = { 0, 0x7f000001, 0x0a000001, 0xc0a80101, 0xe0000001, 0xffffffff, 0xa9fea9fe };

	return pick(draft->source, field, random_once_in(draft->random, 2) ? RANDOM_PICK(draft->random, known) :
									    (uint32_t)random_next(draft->random));
}

static u128 some_ipv6(struct draft *draft, enum field field)
{
	static const uint64_t known[] = { 0, 0xfe80000000000000, 0xff02000000000000, 0xfd00000000000000,
					  0x20010db800000000 };
	u128 address = random_u128(draft->random);

	if (random_once_in(draft->random, 2))
		address = u128_make(RANDOM_PICK(draft->random, known), random_below(draft->random, 3));
	return pick(draft->source, field, address);
}

/* Flags and offset of a fragment: first, later (often with the offsets that matter), last; DF now and then. */
static unsigned some_fragment(struct draft *draft, unsigned more)
{
	unsigned offset = 0;

	switch (random_below(draft->random, 4)) {
	case 0:
		return more;
	case 1:
		offset = draft->source->well_formed ? 2 : 1;
		break;
	case 2:
		offset = random_between(draft->random, 2, 0x1fff);
		break;
	default:
		offset = random_between(draft->random, 2, 5);
	}
	return offset | (random_once_in(draft->random, 2) ? more : 0);
}

static bool wants_fragment(struct draft *draft)
{
	return !draft->source->plain && random_once_in(draft->random, 5);
}

/* Cuts somewhere behind `payload`, so that the IP length agrees with what is left; sets it, counted from `from`. */
static void finish_ip(struct draft *draft, size_t payload, size_t length_at, size_t from)
{
	if (spoil(draft, 8))
		cut(draft, payload);
	patch16(draft, length_at, draft->zero_length ? 0 : some_length(draft, draft->length - from));
}

static bool wants_zero_length(struct draft *draft)
{
	return !draft->source->plain && random_once_in(draft->random, 30);
}

static void put_ipv4(struct draft *draft)
{
	size_t start = draft->length;
	unsigned words = random_once_in(draft->random, 4) ? random_between(draft->random, 5, 15) : 5;
	unsigned written = spoil(draft, 20) ? random_below(draft->random, 16) : words;
	unsigned number = some_transport(draft, 1);
	unsigned fragment = wants_fragment(draft) ? some_fragment(draft, 0x2000) : 0;

	if (random_once_in(draft->random, 3))
		fragment |= 0x4000;
	draft->fragment = fragment & 0x3fff;
	draft->zero_length = wants_zero_length(draft);
	put(draft, (spoil(draft, 30) ? random_below(draft->random, 16) : 4u) << 4 | written, 1);
	put(draft, some_traffic_class(draft), 1);
	put(draft, 0, 2);
	put_random(draft, 2);
	put(draft, fragment, 2);
	put(draft, some_ttl(draft), 1);
	put(draft, number, 1);
	put_random(draft, 2);
	put(draft, some_ipv4(draft, FIELD_IP_SRC), 4);
	put(draft, some_ipv4(draft, FIELD_IP_DST), 4);
	mark(draft);
	put_random(draft, (words - 5) * 4);
	put_transport(draft, number);
	finish_ip(draft, start + words * 4, start + 2, start);
}

/* One extension header of kind `number`; its next header is patched in by the caller, at its first byte. */
static void put_extension(struct draft *draft, unsigned number)
{
	unsigned units = random_once_in(draft->random, 3) ? random_below(draft->random, 4) : 0;
	unsigned fragment = 0;

	mark(draft);
	put(draft, 0, 1);
	switch (number) {
	case 44:
		if (random_once_in(draft->random, 2))
			fragment = some_fragment(draft, 0x10000);
		draft->fragment = draft->fragment || fragment;
		put_random(draft, 1);
		put(draft, (fragment & 0x1fff) << 3 | fragment >> 16, 2);
		put_random(draft, 4);
		break;
	case 51:
		units = units ? units : 1 + random_below(draft->random, 4); /* lengths that are no multiple of 8, too */
		put(draft, some_length(draft, units) & 0xff, 1);
		put_random(draft, (units + 2) * 4 - 2);
		break;
	default:
		put(draft, some_length(draft, units) & 0xff, 1);
		put_random(draft, (units + 1) * 8 - 2);
	}
}

static unsigned some_extension_count(struct draft *draft)
{
	static const uint8_t many[] = { 4, 7, 8, 15, 16, 17, 18 };
	uint32_t choice = random_below(draft->random, 20);

	if (draft->source->plain || choice < 11)
		return 0;
	if (choice < 18)
		return random_between(draft->random, 1, 3);
	return draft->source->well_formed ? random_between(draft->random, 4, 16) : RANDOM_PICK(draft->random, many);
}

/* Writes the chain of headers; `next_at` is where the first one's number goes. */
static void put_extensions(struct draft *draft, size_t next_at)
{
	static const uint8_t kinds[] = { 0, 43, 44, 51, 60, 135 };
	unsigned count = some_extension_count(draft);
	bool fragmented = false;
	unsigned number;

	for (unsigned i = 0; i < count; i++) {
		number = RANDOM_PICK(draft->random, kinds);
		if (number == 44 && draft->source->well_formed && fragmented)
			number = 60;
		fragmented = fragmented || number == 44;
		draft->bytes[next_at] = (unsigned char)number;
		next_at = draft->length;
		put_extension(draft, number);
	}
	number = some_transport(draft, 58);
	if (draft->source->well_formed && memchr(kinds, (int)number, sizeof kinds))
		number = 59; /* a pool may hold the number of an extension header */
	draft->bytes[next_at] = (unsigned char)number;
	put_transport(draft, number);
}

static void put_ipv6(struct draft *draft)
{
	size_t start = draft->length;
	unsigned class = some_traffic_class(draft);

	draft->fragment = false;
	draft->zero_length = wants_zero_length(draft);
	put(draft, (spoil(draft, 30) ? random_below(draft->random, 16) : 6u) << 4 | class >> 4, 1);
	put(draft, (class & 15) << 4 | random_below(draft->random, 16), 1);
	put_random(draft, 2);
	put(draft, 0, 3);
	put(draft, some_ttl(draft), 1);
	put(draft, some_ipv6(draft, FIELD_IPV6_SRC), 16);
	put(draft, some_ipv6(draft, FIELD_IPV6_DST), 16);
	mark(draft);
	put_extensions(draft, start + 6);
	finish_ip(draft, start + 40, start + 4, start + 40);
}

/* --- frames --------------------------------------------------------------------------------------------------- */

static u128 some_mac(struct draft *draft, enum field field)
{
	static const uint64_t known[] = { 0x020000000001, 0x020000000002, 0xffffffffffff, 0x0180c2000000,
					  0x01005e000001, 0x333300000001, 0 };

	return pick(draft->source, field, RANDOM_PICK(draft->random, known));
}

static void put_tags(struct draft *draft)
{
	uint32_t choice = random_below(draft->random, 20);
	unsigned count = choice < 13 ? 0 : choice < 17 ? 1 : choice < 19 ? 2 : 3;

	if (draft->source->plain)
		return;
	for (unsigned i = 0; i < count; i++) {
		unsigned id = (unsigned)pick(draft->source, FIELD_VLAN, random_below(draft->random, 4)) & 0xfff;

		put(draft, random_once_in(draft->random, 3) ? 0x88a8 : 0x8100, 2);
		put(draft, random_below(draft->random, 16) << 12 | id, 2);
		mark(draft);
	}
}

static unsigned some_type(struct draft *draft)
{
	static const uint16_t others[] = { 0x0806, 0x888e, 0x88cc, 0x8864, 0x8847, 0x0026, 0x05ff, 0x0600,
					   0x0000, 0x8100, 0x88a8, 0x9100, 0xffff };
	uint32_t choice = random_below(draft->random, 9);
	unsigned type;

	if (choice < 4)
		return 0x0800;
	if (choice < 8)
		return 0x86dd;
	type = (unsigned)pick(draft->source, FIELD_ETH_TYPE, RANDOM_PICK(draft->random, others));
	if (draft->source->well_formed && (type == 0x8100 || type == 0x88a8))
		return 0x88cc;
	return type;
}

static void put_network(struct draft *draft, unsigned type)
{
	if (type == 0x0800)
		put_ipv4(draft);
	else if (type == 0x86dd)
		put_ipv6(draft);
	else
		put_random(draft, 46);
}

/* Cut or padded behind the IP length, as a driver or an attacker would. */
static void finish(struct draft *draft)
{
	mark(draft);
	if (spoil(draft, 16))
		cut(draft, 0);
	else if (random_once_in(draft->random, 8))
		put_random(draft, random_between(draft->random, 1, 20));
}

static void start(struct draft *draft, struct packet_source *source)
{
	memset(draft, 0, sizeof *draft);
	draft->source = source;
	draft->random = &source->random;
}

static size_t copy_out(const struct draft *draft, unsigned char *buffer, size_t size)
{
	size_t length = draft->length < size ? draft->length : size;

	memcpy(buffer, draft->bytes, length);
	return length;
}

size_t packets_next(struct packet_source *source, unsigned char *buffer, size_t size)
{
	struct draft draft;
	unsigned type;

	start(&draft, source);
	put(&draft, some_mac(&draft, FIELD_ETH_DST), 6);
	put(&draft, some_mac(&draft, FIELD_ETH_SRC), 6);
	put_tags(&draft);
	type = some_type(&draft);
	put(&draft, type, 2);
	mark(&draft);
	put_network(&draft, type);
	finish(&draft);
	return copy_out(&draft, buffer, size);
}

/* --- packets with metadata ------------------------------------------------------------------------------------ */

static size_t next_ip(struct packet_source *source, unsigned char *buffer, size_t size, uint16_t *ret_type)
{
	struct draft draft;

	start(&draft, source);
	*ret_type = random_once_in(draft.random, 2) ? 0x0800 : 0x86dd;
	mark(&draft);
	put_network(&draft, *ret_type);
	finish(&draft);
	return copy_out(&draft, buffer, size);
}

static void add_metadata(struct packet_source *source, struct model_packet *packet)
{
	packet->in_iface = (uint32_t)pick(source, FIELD_IN_IFACE, random_below(&source->random, 4));
	packet->out_iface = (uint32_t)pick(source, FIELD_OUT_IFACE, random_below(&source->random, 4));
	packet->flow = (uint8_t)(random_below(&source->random, FLOW_INVALID + 1));
	packet->mark = (uint32_t)pick(source, FIELD_MARK, random_below(&source->random, 4));
	packet->user = (uint32_t)pick(source, FIELD_USER, random_once_in(&source->random, 2) ? 0 : ABSENT_OWNER);
	packet->group = (uint32_t)pick(source, FIELD_GROUP, random_once_in(&source->random, 2) ? 0 : ABSENT_OWNER);
	packet->program = (uint16_t)pick(source, FIELD_PROGRAM, random_below(&source->random, 4));
	packet->tree = (uint16_t)pick(source, FIELD_TREE, random_below(&source->random, 4));
	packet->knocked = (uint8_t)pick(source, FIELD_KNOCKED, random_below(&source->random, 256));
	for (int slot = 0; slot < PACKET_CGROUPS; slot++)
		packet->cgroup[slot] = (uint64_t)pick(source, (enum field)(FIELD_CGROUP_0 + slot),
						      random_below(&source->random, 3));
}

void packets_next_at(struct packet_source *source, enum hook hook, unsigned char *buffer, size_t size,
		     struct model_packet *ret_packet)
{
	bool tc = hook == HOOK_TC_INGRESS || hook == HOOK_TC_EGRESS;

	memset(ret_packet, 0, sizeof *ret_packet);
	ret_packet->data = buffer;
	if (hook_table[hook].frames)
		ret_packet->length = packets_next(source, buffer, size);
	else
		ret_packet->length = next_ip(source, buffer, size, &ret_packet->ethertype);
	add_metadata(source, ret_packet);
	if (tc && !source->plain && random_once_in(&source->random, 6)) {
		ret_packet->vlan_metadata = true;
		ret_packet->vlan_tci = (uint16_t)pick(source, FIELD_VLAN, random_below(&source->random, 0x10000));
	}
}
