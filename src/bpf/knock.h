/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Knocks: what a plane remembers of sources, and how they get on. In: a packet, and the steps of knocks that it
 * matched; out: which knocks are open for its source, and the maps changed. ir/ir.h says what a knock means.
 *
 * There are two maps, so that a flood of first steps from invented sources pushes out others that are on their way,
 * but never one that has arrived. Where a map is full, the source not heard of for the longest time is forgotten.
 */
#ifndef WEIR_BPF_KNOCK_H
#define WEIR_BPF_KNOCK_H

#include "bpf/knock_abi.h"

/* Included by plane.h, which has what else this needs. */

const volatile struct plane_knocks knocks SEC(MAP_KNOCKS) = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KNOCK_SOURCES);
	__type(key, struct knock_source);
	__type(value, struct knock_open);
} state_knock_open SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KNOCK_SOURCES);
	__type(key, struct knock_source);
	__type(value, struct knock_way);
} state_knock_way SEC(".maps");

/* --- who ------------------------------------------------------------------------------------------------------ */

static __always_inline bool from_ip(const struct packet *packet)
{
	return packet->family == FAMILY_IPV4 || packet->family == FAMILY_IPV6;
}

/* An IPv4 packet has nothing behind the first half. */
static __always_inline struct knock_source source_of(const struct packet *packet, bool whole)
{
	return (struct knock_source){ .hi = packet->src_hi, .lo = whole ? packet->src_lo : 0,
				      .family = packet->family };
}

/* Of the knocks with a key whose step the packet matches, those that it opens: bit i for knock i (knock_key.h). */
int plane_knock_keys(plane_context *context, struct packet *packet, __u64 matched);

/* --- asking --------------------------------------------------------------------------------------------------- */

/* Of the knocks in `asked`, those that are open. */
static __always_inline __u8 open_of(struct knock_source source, __u8 asked)
{
	const struct knock_open *open = bpf_map_lookup_elem(&state_knock_open, &source);
	__u8 result = 0;
	__u64 now;

	if (__builtin_expect(!open, 1))
		return 0;
	now = plane_now();
	for (__u32 i = 0; i < KNOCK_SLOTS; i++)
		if (i < knocks.count && asked & 1 << i && now < open->until_ns[i])
			result |= 1 << i;
	return result;
}

/* The value of packet->knocked. Its own function, so that its part of the stack is free while rules judge. */
OUT_OF_LINE __u8 knocks_open(const struct packet *packet)
{
	__u8 whole = knocks.whole, all = (1u << knocks.count) - 1;

	if (!knocks.count || !from_ip(packet))
		return 0;
	if (!whole || whole == all || packet->family == FAMILY_IPV4)
		return open_of(source_of(packet, whole), all);
	return open_of(source_of(packet, false), all & ~whole) | open_of(source_of(packet, true), whole);
}

/* --- getting on ----------------------------------------------------------------------------------------------- */

/* The value of a map for the source, which gets one of zeros if it has none. */
#define FIND_OR_ADD(map, source) ({ \
	void *found = bpf_map_lookup_elem((map), (source)); \
	if (!found) { \
		bpf_map_update_elem((map), (source), (const void *)knocks.nothing, BPF_NOEXIST); \
		found = bpf_map_lookup_elem((map), (source)); \
	} \
	found; })

static __always_inline void knock_opens(const struct knock_source *source, __u32 index, __u64 now)
{
	struct knock_open *open = FIND_OR_ADD(&state_knock_open, source);

	if (open)
		*(volatile __u64 *)&open->until_ns[index] = now + knocks.items[index].open_ns;
}

/* Where a source is that has come to `way` and matches these steps; KNOCK_ARRIVED behind the last one. */
static __always_inline __u64 knock_next(const volatile struct plane_knock *knock, __u64 way, __u8 matches, __u64 now)
{
	__u64 began = way >> KNOCK_STEP_BITS;
	__u32 next = way & KNOCK_STEP_MASK;

	if (next && now > began + knock->within_ns)
		next = 0;
	if (!(matches >> next & 1)) {
		if (next >= 2 && matches >> (next - 1) & 1) /* sent again, or seen at two hooks */
			return way;
		if (!(matches & 1))
			return 0;
		next = 0;
	}
	if (!next)
		began = now;
	return next + 1 >= knock->steps ? KNOCK_ARRIVED : began << KNOCK_STEP_BITS | (next + 1);
}

enum { KNOCK_TRIES = 4 }; /* packets of one source on several CPUs */

static __always_inline void knock_walk(const struct knock_source *source, __u32 index, __u8 matches, __u64 now)
{
	struct knock_way *ways = bpf_map_lookup_elem(&state_knock_way, source);

	if (!ways && matches & 1) /* nobody sets out by another step */
		ways = FIND_OR_ADD(&state_knock_way, source);
	if (!ways)
		return;
	for (int i = 0; i < KNOCK_TRIES; i++) {
		__u64 way = *(volatile __u64 *)&ways->at[index];
		__u64 next = knock_next(&knocks.items[index], way, matches, now);

		if (__sync_val_compare_and_swap(&ways->at[index], way, next == KNOCK_ARRIVED ? 0 : next) != way)
			continue;
		if (next == KNOCK_ARRIVED)
			knock_opens(source, index, now);
		return;
	}
}

/* The packet matches steps of one knock. */
static __always_inline void knock_take(const struct knock_source *source, __u32 index, __u8 matches)
{
	const struct knock_open *open = bpf_map_lookup_elem(&state_knock_open, source);
	__u64 now = plane_now();

	if (open && now < open->until_ns[index] && !knocks.items[index].extend)
		return;
	knock_walk(source, index, matches, now);
}

/* Bit 8 * i + s of `matched`: the packet matches step s of knock i. Bit i of `opened`: its key has opened that one. */
VERIFIED_ONCE int plane_knock(struct packet *packet, __u64 matched, __u32 opened)
{
	if (!packet || !from_ip(packet))
		return 0;
	for (__u32 i = 0; i < KNOCK_SLOTS; i++) {
		struct knock_source source = source_of(packet, knocks.whole >> i & 1);

		if (i >= knocks.count || !(__u8)(matched >> i * KNOCK_SLOT_STEPS))
			continue;
		if (!(knocks.keyed >> i & 1))
			knock_take(&source, i, matched >> i * KNOCK_SLOT_STEPS);
		else if (opened >> i & 1)
			knock_opens(&source, i, plane_now());
	}
	return 0;
}

/* One after the other, not one in the other: the stack is short. */
static __always_inline void take_steps_of_knocks(plane_context *context, struct packet *packet, __u64 matched)
{
	plane_knock(packet, matched, knocks.keyed ? plane_knock_keys(context, packet, matched) : 0);
}

#endif
