/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Token buckets. A bucket is one number: the time at which it would be full again (GCRA). Taking tokens moves it
 * onwards by what they cost; it may be ahead of now by what a full bucket is worth, at most. So there is nothing to refill, and
 * one compare-and-swap is all the locking. A bucket that has become full was not used for long: it begins with the burst.
 *
 * In: a rate's limit and a packet. Out: whether it may pass, or when; then its tokens are taken. A bucket that cannot be
 * had (no memory) has no tokens.
 */
#ifndef WEIR_BPF_RATE_H
#define WEIR_BPF_RATE_H

#define BUCKET_BIT(key) (1u << (key))
enum { BUCKET_TRIES = 16 }; /* others' packets that may come in between */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rate_limit);
} state_rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct bucket_of);
	__type(value, struct bucket);
} state_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct bucket_of_flow);
	__type(value, struct bucket);
} state_flow_buckets SEC(".maps");

/*
 * Takes tokens, also such as will have come within `horizon`: then how long that is in nanoseconds. -1: it would be longer.
 * `full`: what a full bucket is worth, at least the burst; what costs more than the burst is let in by that much.
 * Without a horizon: whether less than half of the burst is left.
 */
static __always_inline int bucket_reserve(__u64 *next_ns, __u64 now, __u64 cost, __u64 burst, __u64 full, __u32 horizon)
{
	__u64 least = cost < burst ? cost : burst;

	for (int i = 0; i < BUCKET_TRIES; i++) {
		__u64 next = *(volatile __u64 *)next_ns;
		__u64 from = next > now ? next : now + full - burst;
		__u64 delay = from + least > now + full ? from + least - (now + full) : 0;

		if (delay > horizon)
			return -1;
		if (__sync_val_compare_and_swap(next_ns, next, from + cost) == next)
			return horizon ? (int)delay : from + cost > now + full - burst / 2;
	}
	return -1;
}

static __always_inline bool bucket_take(__u64 *next_ns, __u64 now, __u64 cost, __u64 burst)
{
	return bucket_reserve(next_ns, now, cost, burst, burst, 0) >= 0;
}

/* On the stack, which is short: the one or the other. */
union bucket_keys {
	struct bucket_of one;
	struct bucket_of_flow flow;
};

/* The bucket of a key, which is made if there is none: two packets that come first at the same time share one. */
static __always_inline struct bucket *bucket_find(void *map, const union bucket_keys *key)
{
	struct bucket *bucket = bpf_map_lookup_elem(map, key);
	struct bucket empty;

	if (bucket)
		return bucket;
	empty.next_ns = 0;
	bpf_map_update_elem(map, key, &empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

static __always_inline void key_of_flow(const struct packet *packet, __u32 index, struct bucket_of_flow *key)
{
	key->src[0] = packet->src_hi;
	key->src[1] = packet->src_lo;
	key->dst[0] = packet->dst_hi;
	key->dst[1] = packet->dst_lo;
	key->src_port = (__u16)packet->src_port;
	key->dst_port = (__u16)packet->dst_port;
	key->proto = (__u16)(packet->proto | packet->family << 12);
	key->rate = (__u16)index;
}

/* The upper `bits` of a number of `width` bits. */
static __always_inline __u64 upper(__u64 value, __u32 width, __u32 bits)
{
	return bits >= width ? value : value >> ((width - bits) & 63) << ((width - bits) & 63);
}

static __always_inline __u64 bucket_value(const struct rate_limit *limit, const struct packet *packet)
{
	__u64 address = limit->key == BUCKET_SRC ? packet->src_hi : packet->dst_hi;

	if (limit->key == BUCKET_USER)
		return packet->user;
	if (packet->family == FAMILY_IPV4)
		return limit->bits4 ? upper((__u32)address, 32, limit->bits4) : 0;
	return limit->bits6 ? upper(address, 64, limit->bits6) : 0;
}

static __always_inline void key_of(const struct rate_limit *limit, const struct packet *packet, __u32 index,
				   struct bucket_of *key)
{
	key->value = bucket_value(limit, packet);
	key->rate = index;
	key->family = limit->key == BUCKET_USER ? 0 : packet->family;
}

static __always_inline struct bucket *bucket_of(const struct rate_limit *limit, const struct packet *packet, __u32 index)
{
	union bucket_keys key;

	if (config.rated & BUCKET_BIT(BUCKET_FLOW) && limit->key == BUCKET_FLOW) {
		key_of_flow(packet, index, &key.flow);
		return bucket_find(&state_flow_buckets, &key);
	}
	if (!(config.rated & ~(BUCKET_BIT(BUCKET_FLOW) | BUCKET_BIT(BUCKET_ONE))))
		return NULL;
	key_of(limit, packet, index, &key.one);
	return bucket_find(&state_buckets, &key);
}

/* Takes the packet's tokens of a rate: see bucket_reserve(). `horizon` is less than 2^31. */
VERIFIED_ONCE int plane_take_tokens(const struct packet *packet, __u32 index, __u64 packets, __u64 bytes, __u32 horizon)
{
	struct rate_limit *limit;
	struct bucket *bucket;
	__u64 cost, now, full;

	if (!packet || !config.rated) /* then there are no maps */
		return -1;
	limit = bpf_map_lookup_elem(&state_rates, &index);
	if (!limit)
		return -1;
	now = limit->fine || horizon ? plane_now_fine() : plane_now();
	if (packets > RATE_SEGMENTS_MAX)
		packets = RATE_SEGMENTS_MAX;
	cost = (limit->bytes ? bytes : packets) * limit->period >> RATE_SHIFT;
	full = horizon ? limit->burst_ns : limit->reserve_ns; /* who is delayed does not pause */
	if (limit->key == BUCKET_ONE)
		return bucket_reserve(&limit->next_ns, now, cost, limit->burst_ns, full, horizon);
	bucket = bucket_of(limit, packet, index);
	return bucket ? bucket_reserve(&bucket->next_ns, now, cost, limit->burst_ns, full, horizon) : -1;
}

#endif
