/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sets whose elements expire, and sets that packets change. Included by plane.h.
 *
 * In: an element that generated code has found, or a step that changes a set. Out: whether the element counts; the
 * changed set. Nothing waits: an addition to a full set looks for expired elements at most every SWEEP_PERIOD_NS, and is
 * refused and counted where there are none. Elements that have not expired are never pushed out.
 *
 * Tries cannot be walked from a program, so there is no sweeping them: packets change hashes only.
 */
#ifndef WEIR_BPF_SETS_H
#define WEIR_BPF_SETS_H

#include <bpf/bpf_endian.h>

enum { MS = 1000000, SWEEP_PERIOD_NS = 100 * MS, PREFIX4_MAX = 32, PREFIX6_MAX = 128 };

struct address6 {
	__u64 hi, lo;
};

/*
 * The maps have the sizes of their sets; of these only the kind matters. With types, since those have some: Linux 6.1 takes no
 * others in.
 */
#define SET_MAPS(name, map_type, flags, key_type) \
	struct name##_inner { \
		__uint(type, map_type); \
		__uint(map_flags, flags); \
		__uint(max_entries, 1); \
		__type(key, key_type); \
		__type(value, struct set_value); \
	}; \
	struct { \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); \
		__uint(max_entries, 1); \
		__type(key, __u32); \
		__array(values, struct name##_inner); \
	} name SEC(".maps")

SET_MAPS(sets_4, BPF_MAP_TYPE_HASH, 0, __u32);
SET_MAPS(sets_6, BPF_MAP_TYPE_HASH, 0, struct address6);
SET_MAPS(sets_v, BPF_MAP_TYPE_HASH, 0, __u64);
SET_MAPS(tries_4, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct prefix4_key);
SET_MAPS(tries_6, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, struct prefix6_key);

/* Called by nobody, so it is not loaded. Else clang would tell no more of these than their names. */
VERIFIED_ONCE int plane_set_types(const struct prefix4_key *four, const struct prefix6_key *six, const struct address6 *address,
				  const struct set_value *value)
{
	return four && six && address && value;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct set_changes);
} changes SEC(".maps");

static __always_inline bool lives(const struct set_value *element, __u64 now)
{
	return !element->expires_ns || element->expires_ns > now;
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

/*
 * A trie finds the longest prefix. Where that one has expired, shorter ones around it may live: they are asked for by
 * ever shorter keys, which begin with the length. `most`: bits of an address.
 */
static __always_inline int shorter_lives(void *trie, __u32 *key, __u32 most, __u32 length, __u64 now)
{
	for (__u32 i = 0; trie && i < most; i++) {
		const struct set_value *element;

		if (!length || length > most)
			return 0;
		*key = length - 1;
		element = bpf_map_lookup_elem(trie, key);
		if (!element || lives(element, now))
			return element != NULL;
		length = element->reserved;
	}
	return 0;
}

static __always_inline int shorter4_lives(__u32 address, __u32 set, __u32 length, __u64 now)
{
	struct prefix4_key key = { 0 };
	__u32 number = bpf_htonl(address);

	__builtin_memcpy(key.address, &number, sizeof key.address);
	return shorter_lives(bpf_map_lookup_elem(&tries_4, &set), &key.length, PREFIX4_MAX, length, now);
}

static __always_inline int shorter6_lives(__u64 hi, __u64 lo, __u32 set, __u32 length, __u64 now)
{
	struct prefix6_key key = { 0 };
	__u64 halves[2] = { bpf_cpu_to_be64(hi), bpf_cpu_to_be64(lo) };

	__builtin_memcpy(key.address, halves, sizeof key.address);
	return shorter_lives(bpf_map_lookup_elem(&tries_6, &set), &key.length, PREFIX6_MAX, length, now);
}

/* Whether the element that was found counts, or in a trie another one around the field's value. */
VERIFIED_ONCE int element_lives(struct set_value *element, struct packet *packet, __u32 set, __u32 field)
{
	__u64 now;

	if (!config.sets || !element || !packet)
		return 0;
	if (!element->expires_ns)
		return 1;
	now = plane_now();
	if (lives(element, now))
		return 1;
	switch (field) {
	case FIELD_IP_SRC:
		return shorter4_lives(packet->src4, set, element->reserved, now);
	case FIELD_IP_DST:
		return shorter4_lives(packet->dst4, set, element->reserved, now);
	case FIELD_IPV6_SRC:
		return shorter6_lives(packet->src_hi, packet->src_lo, set, element->reserved, now);
	case FIELD_IPV6_DST:
		return shorter6_lives(packet->dst_hi, packet->dst_lo, set, element->reserved, now);
	default:
		return 0;
	}
}

/* --- changing --------------------------------------------------------------------------------------------------- */

static __always_inline void change_refused(__u32 set)
{
	struct set_changes *state = bpf_map_lookup_elem(&changes, &set);

	if (state)
		__sync_fetch_and_add(&state->refused, 1);
}

/* The count is kept in a map, of whose values the verifier assumes nothing. */
struct sweep {
	__u64 now;
	struct set_changes *state;
};

static long sweep_element(void *map, const void *key, struct set_value *value, struct sweep *sweep)
{
	if (!lives(value, sweep->now))
		bpf_map_delete_elem(map, key);
	return ++sweep->state->swept >= SET_CHANGED_MAX;
}

/* Whether it is this packet's turn to look for expired elements: no other did lately. */
static __always_inline bool may_sweep(struct set_changes *state, __u64 now)
{
	__u64 last = *(volatile __u64 *)&state->swept_ns;

	if (last && now < last + SWEEP_PERIOD_NS)
		return false;
	return __sync_val_compare_and_swap(&state->swept_ns, last, now) == last;
}

/* An element that is there gets more time, never less; one that has expired is the packet's. */
static __always_inline void extend(struct set_value *element, __u64 until, __u64 now)
{
	if (!lives(element, now))
		element->origin = ORIGIN_PACKET;
	else if (!element->expires_ns || (until && until <= element->expires_ns))
		return;
	element->expires_ns = until;
}

/* Inlined where the map is of one kind: the kernel wants one map at each place that walks it. */
static __always_inline void change(void *map, const void *key, const struct step *step)
{
	struct set_value fresh = { .origin = ORIGIN_PACKET };
	__u64 now = plane_now();
	__u32 set = step->slot;
	struct sweep sweep = { now, bpf_map_lookup_elem(&changes, &set) };
	struct set_value *there;

	if (step->kind == STEP_REMOVE) {
		bpf_map_delete_elem(map, key);
		return;
	}
	fresh.expires_ns = step->b ? now + (__u64)step->b * MS : 0;
	there = bpf_map_lookup_elem(map, key);
	if (there) {
		extend(there, fresh.expires_ns, now);
		return;
	}
	if (!bpf_map_update_elem(map, key, &fresh, BPF_ANY))
		return;
	if (sweep.state && may_sweep(sweep.state, now)) {
		sweep.state->swept = 0;
		bpf_for_each_map_elem(map, sweep_element, &sweep, 0);
		if (!bpf_map_update_elem(map, key, &fresh, BPF_ANY))
			return;
	}
	change_refused(step->slot);
}

static __always_inline void change4(const struct step *step, __u32 address)
{
	__u32 set = step->slot;
	void *map = bpf_map_lookup_elem(&sets_4, &set);

	if (map)
		change(map, &address, step);
}

static __always_inline void change6(const struct step *step, __u64 hi, __u64 lo)
{
	struct address6 address = { hi, lo };
	__u32 set = step->slot;
	void *map = bpf_map_lookup_elem(&sets_6, &set);

	if (map)
		change(map, &address, step);
}

static __always_inline void change_value(const struct step *step, __u64 value)
{
	__u32 set = step->slot;
	void *map = bpf_map_lookup_elem(&sets_v, &set);

	if (map)
		change(map, &value, step);
}

/* Takes a STEP_ADD or STEP_REMOVE; a packet without the field changes nothing. */
VERIFIED_ONCE int plane_change_set(struct packet *packet, __u32 at)
{
	const struct step *step = bpf_map_lookup_elem(&steps, &at);
	__u32 field;

	if (!config.sets || !packet || !step)
		return 0;
	field = step->a;
	if (packet->family == FAMILY_IPV4 && (field == FIELD_IP_SRC || field == FIELD_IP_DST))
		change4(step, field == FIELD_IP_SRC ? packet->src4 : packet->dst4);
	else if (packet->family == FAMILY_IPV6 && field == FIELD_IPV6_SRC)
		change6(step, packet->src_hi, packet->src_lo);
	else if (packet->family == FAMILY_IPV6 && field == FIELD_IPV6_DST)
		change6(step, packet->dst_hi, packet->dst_lo);
	else if (field == FIELD_SRC_PORT && packet->src_port != ABSENT_PORT)
		change_value(step, packet->src_port);
	else if (field == FIELD_DST_PORT && packet->dst_port != ABSENT_PORT)
		change_value(step, packet->dst_port);
	return 0;
}

#endif
