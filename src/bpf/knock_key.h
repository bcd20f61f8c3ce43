/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single-packet authorisation: a UDP packet whose payload opens a knock. In: a packet that a knock with a key looks at;
 * out: whether it is genuine and new. Costs the same whatever is wrong with a packet of the right form; nothing is
 * remembered of any that is not genuine.
 *
 * Included where a hook's file has included parse.h.
 */
#ifndef WEIR_BPF_KNOCK_KEY_H
#define WEIR_BPF_KNOCK_KEY_H

#include "bpf/siphash.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct knock_stamps);
} state_knock_stamps SEC(".maps");

/* --- the payload ---------------------------------------------------------------------------------------------- */

/* Where the IP header begins. */
static __always_inline __u32 find_ip(plane_context *context)
{
#ifdef PLANE_FRAMES
	__u32 at = ETHER_SIZE;
	__u16 type = 0;

	if (config.bare)
		return 0;
	for (int i = 0; i <= VLAN_TAGS_MAX; i++) {
		if (plane_copy(context, at - sizeof type, &type, sizeof type) || !is_vlan(type))
			break;
		at += VLAN_SIZE;
	}
	return at;
#else
	(void)context;
	return 0;
#endif
}

/* Behind the IP header, of a packet that is no fragment; IPv6 without extension headers. 0: there is none. */
static __always_inline __u32 find_udp(plane_context *context, const struct packet *packet)
{
	__u32 at = find_ip(context);
	__u8 byte = 0;

	if (packet->proto != PROTO_UDP || packet->fragment != FRAGMENT_NONE)
		return 0;
	if (packet->family == FAMILY_IPV4)
		return plane_copy(context, at, &byte, 1) ? 0 : at + (byte & 15) * 4u;
	return plane_copy(context, at + 6, &byte, 1) || byte != PROTO_UDP ? 0 : at + IPV6_SIZE;
}

/* A UDP header, and the payload of a knock. */
struct knock_datagram {
	__u8 header[UDP_SIZE];
	struct knock_packet packet;
} __attribute__((aligned(8)));

/* Of the right length, kind and version. */
static __always_inline bool find_knock(plane_context *context, const struct packet *packet,
				       struct knock_datagram *ret_datagram)
{
	__u32 at = find_udp(context, packet);

	return at && !plane_copy(context, at, ret_datagram, sizeof *ret_datagram) &&
	       get16(ret_datagram->header + 4) == sizeof *ret_datagram &&
	       ret_datagram->packet.magic[0] == KNOCK_MAGIC_0 && ret_datagram->packet.magic[1] == KNOCK_MAGIC_1 &&
	       ret_datagram->packet.version == KNOCK_VERSION;
}

/* --- is it genuine? ------------------------------------------------------------------------------------------- */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LITTLE64(value) (value)
#else
#define LITTLE64(value) __builtin_bswap64(value)
#endif

/* An IPv4 address is written as IPv6 maps it (RFC 4291 2.5.5.2). The word that SipHash makes of bytes in network order. */
static __always_inline void source_words(const struct packet *packet, __u64 *words)
{
	bool four = packet->family == FAMILY_IPV4;

	words[0] = four ? 0 : __builtin_bswap64(packet->src_hi);
	words[1] = __builtin_bswap64(four ? 0xffff00000000 | packet->src4 : packet->src_lo);
}

static __always_inline bool is_genuine(const struct packet *packet, const volatile struct plane_knock *knock,
				       const struct knock_packet *from)
{
	__u64 words[4] = { LITTLE64(LOAD(__u64, from->magic)), LITTLE64(LOAD(__u64, from->stamp)) };

	if (from->flags & KNOCK_BOUND)
		source_words(packet, words + 2);
	else if (knock->bind)
		return false;
	return siphash_words(knock->key[0], knock->key[1], words, 4) == LITTLE64(LOAD(__u64, from->mac));
}

/* --- is it new? ----------------------------------------------------------------------------------------------- */

/* Microseconds of UTC. In a test run the time is the test's. */
static __always_inline __u64 wall_us(void)
{
	return (config.trace ? plane_now() : bpf_ktime_get_tai_ns() - knocks.tai_ahead_ns) / 1000;
}

/*
 * Of the stamps that a key has opened with, only the latest is kept: a packet must be later than that one, so none
 * opens twice, from whatever address. One that is later than any could have been taken by now is from before the clock was
 * set back, and counts for nothing.
 */
static __always_inline bool is_new(__u32 index, __u64 stamp, __u64 now, __u64 skew)
{
	struct knock_stamps *latest;
	__u32 zero = 0;

	latest = bpf_map_lookup_elem(&state_knock_stamps, &zero);
	if (!latest)
		return false;
	for (int i = 0; i < KNOCK_TRIES; i++) {
		__u64 last = *(volatile __u64 *)&latest->at[index & (KNOCK_SLOTS - 1)];

		if (stamp <= last && last >> KNOCK_COUNTER_BITS <= now + skew)
			return false;
		if (__sync_val_compare_and_swap(&latest->at[index & (KNOCK_SLOTS - 1)], last, stamp) == last)
			return true;
	}
	return false;
}

/* The packet opens that knock. */
static __always_inline bool opens(const struct packet *packet, __u32 index, const struct knock_packet *from)
{
	const volatile struct plane_knock *knock = &knocks.items[index];
	__u64 stamp = get64(from->stamp), then = stamp >> KNOCK_COUNTER_BITS, now;

	if (!is_genuine(packet, knock, from))
		return false;
	now = wall_us();
	return then <= now + knock->skew_us && then + knock->skew_us >= now && is_new(index, stamp, now, knock->skew_us);
}

VERIFIED_ONCE int plane_knock_keys(plane_context *context, struct packet *packet, __u64 matched)
{
	struct knock_datagram datagram;
	__u32 opened = 0;

	if (!packet || !knocks.keyed || !find_knock(context, packet, &datagram))
		return 0;
	for (__u32 i = 0; i < KNOCK_SLOTS; i++)
		if (knocks.keyed >> i & 1 && (__u8)(matched >> i * KNOCK_SLOT_STEPS) &&
		    opens(packet, i, &datagram.packet))
			opened |= 1u << i;
	return opened;
}

#endif
