/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * XDP for measurements: BPF_PROG_TEST_RUN repeats one packet, so each run first writes the next of `frames`
 * over it, in turn. The test run's packet is BENCH_BYTES long at least and stays as long as it is; what a
 * frame's bytes say (IP lengths) must fit in it. Built twice: with EMPTY 1 nothing follows, and the cost of
 * the writing alone is seen.
 */
#include <linux/bpf.h>

typedef struct xdp_md plane_context;
enum { PLANE_PREEMPTIBLE = 0 };
#define PLANE_CACHES

#include "bpf/bench_abi.h"

#if EMPTY
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
#else
#include "bpf/xdp.h"
#endif

/* As many elements as there are frames; user space sets the size and frame_count before load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_slot);
} frames SEC(".maps");

const volatile __u32 frame_count SEC(".rodata.frames") = 1;
__u32 turn_of_frame SEC(".data.turn") = 0;

/*
 * Stores begin where fields do (MAC addresses at 0 and 6, IP addresses at 26 or 22): a field that two stores
 * make up would be waited for, as in no real packet.
 */
static inline __attribute__((always_inline)) void write_frame(void *to, const void *from)
{
	*(__u32 *)to = *(const __u32 *)from;
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
	for (int at = 6; at + 8 <= BENCH_BYTES; at += 8)
		*(__u64 *)(to + at) = *(const __u64 *)(from + at);
}

static inline __attribute__((always_inline)) void next_frame(struct xdp_md *context)
{
	void *to = (void *)(long)context->data;
	const struct bench_slot *slot;
	__u32 next = turn_of_frame;

	slot = bpf_map_lookup_elem(&frames, &next);
	next++;
	turn_of_frame = next >= frame_count ? 0 : next;
	if (slot && to + BENCH_BYTES <= (void *)(long)context->data_end)
		write_frame(to, slot);
}

SEC("xdp.frags")
int weir_bench(struct xdp_md *context)
{
#if EMPTY
	next_frame(context);
	return XDP_PASS;
#else
	struct packet packet;

	next_frame(context);
	return judge(context, &packet) == ANSWER_ACCEPT ? XDP_PASS : XDP_DROP;
#endif
}
