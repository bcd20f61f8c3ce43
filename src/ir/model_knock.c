/* SPDX-License-Identifier: GPL-2.0-only */
/* What the model remembers of knocks. In: what a packet is; out: what is open, and what it changes. */
#include <string.h>

#include "ir/model.h"

/* Who sends knocks at nobody, and what is malformed has no family. */
static bool may_knock(const struct model_fields *fields)
{
	return fields->value[FIELD_DIRECTION] != DIRECTION_EGRESS &&
	       (fields->value[FIELD_FAMILY] == FAMILY_IPV4 || fields->value[FIELD_FAMILY] == FAMILY_IPV6);
}

/* Who knocks: an IPv4 address, a /64, or an IPv6 address. */
static u128 source_of(const struct knock *knock, const struct model_fields *fields)
{
	if (fields->value[FIELD_FAMILY] == FAMILY_IPV4)
		return fields->value[FIELD_IP_SRC];
	return knock->whole ? fields->value[FIELD_IPV6_SRC] : u128_make(u128_hi(fields->value[FIELD_IPV6_SRC]), 0);
}

/* NULL: it is not known. */
static struct model_knocker *find(const struct model_state *state, const struct ruleset *ruleset, size_t knock,
				  const struct model_fields *fields)
{
	u128 source = source_of(&ruleset->knocks[knock], fields);

	for (size_t i = 0; i < state->knockers.count; i++) {
		struct model_knocker *knocker = &state->knockers.items[i];

		if (knocker->knock == knock && knocker->source == source &&
		    knocker->family == fields->value[FIELD_FAMILY])
			return knocker;
	}
	return NULL;
}

static struct model_knocker *find_or_add(struct model_state *state, const struct ruleset *ruleset, size_t knock,
					 const struct model_fields *fields)
{
	struct model_knocker *found = find(state, ruleset, knock, fields);

	if (found)
		return found;
	found = &VEC_PUSH(state->arena, &state->knockers);
	*found = (struct model_knocker){ .knock = (uint8_t)knock, .family = (uint8_t)fields->value[FIELD_FAMILY],
					 .source = source_of(&ruleset->knocks[knock], fields) };
	return found;
}

uint8_t model_knocked(const struct model_state *state, const struct ruleset *ruleset,
		      const struct model_fields *fields)
{
	uint8_t open = 0;

	for (size_t i = 0; may_knock(fields) && i < ruleset->knock_count; i++) {
		const struct model_knocker *knocker = find(state, ruleset, i, fields);

		if (knocker && state->now_ns < knocker->until_ns)
			open |= (uint8_t)(1u << i);
	}
	return open;
}

static void go_on(const struct knock *knock, struct model_knocker *knocker, uint64_t now)
{
	if (!knocker->next)
		knocker->began_ns = now;
	knocker->next++;
	if (knocker->next < knock->step_count)
		return;
	knocker->next = 0;
	knocker->until_ns = now + knock->open_ns;
}

/* `matches`: by step. */
static void take(const struct knock *knock, struct model_knocker *knocker, const bool *matches, uint64_t now)
{
	if (now < knocker->until_ns && !knock->extend)
		return;
	if (knocker->next && now > knocker->began_ns + knock->within_ns)
		knocker->next = 0;
	if (matches[knocker->next]) {
		go_on(knock, knocker, now);
	} else if (knocker->next < 2 || !matches[knocker->next - 1]) {
		knocker->next = 0;
		if (matches[0])
			go_on(knock, knocker, now);
	}
}

/* --- keys ----------------------------------------------------------------------------------------------------- */

static uint64_t big_endian(const unsigned char *bytes, size_t count)
{
	uint64_t value = 0;

	while (count--)
		value = value << 8 | *bytes++;
	return value;
}

static uint64_t little_endian(const unsigned char *bytes)
{
	uint64_t value = 0;

	for (size_t i = 8; i--;)
		value = value << 8 | bytes[i];
	return value;
}

static uint64_t rotate(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static void rounds(uint64_t v[4], unsigned count)
{
	while (count--) {
		v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
		v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
	}
}

/* SipHash-2-4 of 32 bytes. */
static uint64_t mac_of(const uint64_t key[2], const unsigned char *message)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
			  key[1] ^ 0x7465646279746573 };

	for (unsigned i = 0; i < 5; i++) {
		uint64_t word = i < 4 ? little_endian(message + 8 * i) : (uint64_t)32 << 56;

		v[3] ^= word;
		rounds(v, 2);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The UDP header of a packet that has one right behind its IP header; NULL: it has none. */
static const unsigned char *find_udp(enum hook hook, const struct model_packet *packet,
				     const struct model_fields *fields)
{
	const unsigned char *ip = packet->data;

	if (fields->value[FIELD_PROTO] != 17 || fields->value[FIELD_FRAGMENT] != FRAGMENT_NONE)
		return NULL;
	if (hook_table[hook].frames) {
		ip += 14;
		for (unsigned type; type = (unsigned)big_endian(ip - 2, 2), type == 0x8100 || type == 0x88a8;)
			ip += 4;
	}
	if (fields->value[FIELD_FAMILY] == FAMILY_IPV4)
		return ip + (ip[0] & 15) * 4;
	return ip[6] == 17 ? ip + 40 : NULL;
}

static void source_bytes(const struct model_fields *fields, unsigned char *bytes)
{
	u128 address = fields->value[FIELD_IPV6_SRC];

	if (fields->value[FIELD_FAMILY] == FAMILY_IPV4)
		address = fields->value[FIELD_IP_SRC] | (u128)0xffff << 32;
	for (unsigned i = 16; i--; address >>= 8)
		bytes[i] = (unsigned char)address;
}

enum { PAYLOAD = 24, BOUND = 1 };

/* Whether the payload is one that the key's owner made for this source. */
static bool is_genuine(const struct knock *knock, const struct model_fields *fields, const unsigned char *payload)
{
	unsigned char message[32] = { 0 };

	memcpy(message, payload, 16);
	if (payload[3] & BOUND)
		source_bytes(fields, message + 16);
	else if (knock->bind)
		return false;
	return mac_of(knock->key, message) == little_endian(payload + 16);
}

/* `last`: the latest stamp so far; the new one goes there. */
static bool is_new(const struct knock *knock, uint64_t now_us, uint64_t stamp, uint64_t *last)
{
	uint64_t skew = knock->skew_ns / 1000;

	if ((stamp >> 12) > now_us + skew || (stamp >> 12) + skew < now_us)
		return false;
	if (stamp <= *last && *last >> 12 <= now_us + skew)
		return false;
	*last = stamp;
	return true;
}

static void try_key(size_t index, const struct ruleset *ruleset, enum hook hook, const struct model_packet *packet,
		    const struct model_fields *fields)
{
	const struct knock *knock = &ruleset->knocks[index];
	const unsigned char *udp = find_udp(hook, packet, fields), *payload;
	struct model_state *state = packet->state;

	if (!udp || packet->data + packet->length - udp < 8 + PAYLOAD || big_endian(udp + 4, 2) != 8 + PAYLOAD)
		return;
	payload = udp + 8;
	if (payload[0] != 'w' || payload[1] != 'k' || payload[2] != 1)
		return;
	if (is_genuine(knock, fields, payload) &&
	    is_new(knock, state->now_ns / 1000, big_endian(payload + 8, 8), &state->stamps[index]))
		find_or_add(state, ruleset, index, fields)->until_ns = state->now_ns + knock->open_ns;
}

/* --- all knocks ----------------------------------------------------------------------------------------------- */

void model_knock(const struct ruleset *ruleset, enum hook hook, const struct model_packet *packet,
		 const struct model_fields *fields)
{
	struct model_state *state = packet->state;

	for (size_t i = 0; may_knock(fields) && i < ruleset->knock_count; i++) {
		const struct knock *knock = &ruleset->knocks[i];
		bool matches[KNOCK_STEPS_MAX] = { false }, any = false;

		for (size_t step = 0; step < knock->step_count; step++) {
			matches[step] = model_holds(ruleset, fields, knock->steps[step]);
			any = any || matches[step];
		}
		if (any && knock->key_file)
			try_key(i, ruleset, hook, packet, fields);
		else if (any)
			take(knock, find_or_add(state, ruleset, i, fields), matches, state->now_ns);
	}
}
