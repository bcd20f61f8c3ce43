/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A classifier as emission makes them, in C: the tests' policy A or B. Rule 1 drops UDP to DROP_PORT; rule 2
 * drops what is in set_0_4; rule 3 takes the steps from 0 for port 7100; the default accepts. It remembers port 7200.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/plane_abi.h"
#include "packet/packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct set_value);
} set_0_4 SEC(".maps");

/* How many packets port 7200 got. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} state_seen SEC(".maps");

static void remember(__u32 port)
{
	__u64 first = 1, *seen = bpf_map_lookup_elem(&state_seen, &port);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&state_seen, &port, &first, BPF_NOEXIST);
}

int classify(struct packet *packet)
{
	__u32 source;

	if (!packet)
		return 0;
	if (packet->family == FAMILY_EXEMPT)
		return ANSWER(ANSWER_ACCEPT, SLOT_NON_IP);
	if (packet->dst_port == DROP_PORT)
		return ANSWER(ANSWER_DROP, SLOT_RULE(1));
#ifdef BROKEN
	if (packet->mark)
		return *(int *)((char *)packet + sizeof *packet); /* the verifier refuses this line */
#endif
	source = packet->src4;
	if (packet->family == FAMILY_IPV4 && bpf_map_lookup_elem(&set_0_4, &source))
		return ANSWER(ANSWER_DROP, SLOT_RULE(2));
	if (packet->dst_port == 7200)
		remember(7200);
	if (packet->dst_port == 7100)
		return ANSWER_RUN(0);
	return ANSWER(ANSWER_ACCEPT, SLOT_DEFAULT);
}

char LICENSE[] SEC("license") = "GPL";
