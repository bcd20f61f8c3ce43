/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Token buckets. A bucket is one number: the time at which it would be full again (GCRA). Taking tokens moves it
 * onwards by what they cost; it may be ahead of now by what a full bucket is worth, at most. So there is nothing to refill, and
 * one compare-and-swap is all the locking.
 *
 * In: a rate's limit and a packet. Out: whether it may pass; then its tokens are taken. A bucket that cannot be had
 * (no memory) has no tokens.
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

/* What costs more than a full bucket is let in by a full one. */
static __always_inline bool bucket_take(__u64 *next_ns, __u64 now, __u64 cost, __u64 burst)
{
	__u64 least = cost < burst ? cost : burst;

	for (int i = 0; i < BUCKET_TRIES; i++) {
		__u64 next = *(volatile __u64 *)next_ns;
		__u64 from = next > now ? next : now;

		if (from + least > now + burst)
			return false;
		if (__sync_val_compare_and_swap(next_ns, next, from + cost) == next)
			return true;
	}
	return false;
}

/* The bucket of a key, which is made if there is none: two packets that come first at the same time share one. */
static __always_inline struct bucket *bucket_find(void *map, const void *key)
{
	struct bucket *bucket = bpf_map_lookup_elem(map, key);
	struct bucket empty = { 0 };

	if (bucket)
		return bucket;
	bpf_map_update_elem(map, key, &empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

static __always_inline struct bucket *bucket_of_flow(const struct packet *packet, __u32 index)
{
	struct bucket_of_flow key = {
		.src = { packet->src_hi, packet->src_lo },
		.dst = { packet->dst_hi, packet->dst_lo },
		.src_port = (__u16)packet->src_port,
		.dst_port = (__u16)packet->dst_port,
		.proto = (__u16)(packet->proto | packet->family << 12),
		.rate = (__u16)index,
	};

	return bucket_find(&state_flow_buckets, &key);
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

static __always_inline struct bucket *bucket_of(const struct rate_limit *limit, const struct packet *packet, __u32 index)
{
	struct bucket_of key = { .value = bucket_value(limit, packet), .rate = index, .family = packet->family };

	if (limit->key == BUCKET_USER)
		key.family = 0;
	return bucket_find(&state_buckets, &key);
}

/* Takes the packet's tokens of a rate: 1, or 0 if there are not enough. */
VERIFIED_ONCE int plane_take_tokens(const struct packet *packet, __u32 index, __u64 packets, __u64 bytes)
{
	struct rate_limit *limit;
	struct bucket *bucket = NULL;
	__u64 cost, now;

	if (!packet || !config.rated) /* then there are no maps */
		return 0;
	limit = bpf_map_lookup_elem(&state_rates, &index);
	if (!limit)
		return 0;
	now = limit->fine ? plane_now_fine() : plane_now();
	if (packets > RATE_SEGMENTS_MAX)
		packets = RATE_SEGMENTS_MAX;
	cost = (limit->bytes ? bytes : packets) * limit->period >> RATE_SHIFT;
	if (limit->key == BUCKET_ONE)
		return bucket_take(&limit->next_ns, now, cost, limit->burst_ns);
	if (config.rated & BUCKET_BIT(BUCKET_FLOW) && limit->key == BUCKET_FLOW)
		bucket = bucket_of_flow(packet, index);
	else if (config.rated & ~(BUCKET_BIT(BUCKET_FLOW) | BUCKET_BIT(BUCKET_ONE)))
		bucket = bucket_of(limit, packet, index);
	return bucket && bucket_take(&bucket->next_ns, now, cost, limit->burst_ns);
}

#endif
