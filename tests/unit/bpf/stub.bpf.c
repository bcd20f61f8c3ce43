/* SPDX-License-Identifier: GPL-2.0-only */
/* A classifier for tests of the planes: keeps a copy of the packet, and answers what the test wrote. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/plane_abi.h"
#include "packet/packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} seen SEC(".maps");

/* Answer by packet.resume. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} answers SEC(".maps");

int classify(struct packet *packet)
{
	__u32 zero = 0, resume, *answer;
	struct packet *copy;

	if (!packet)
		return 0;
	copy = bpf_map_lookup_elem(&seen, &zero);
	if (copy)
		*copy = *packet;
	resume = packet->resume; /* Linux 6.1 wants keys on the stack */
	answer = bpf_map_lookup_elem(&answers, &resume);
	return answer ? *answer : 0;
}
