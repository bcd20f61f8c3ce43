/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Judging with connection tracking: the packet's state goes into packet->flow, rules judge, and what they accept is
 * remembered. Its own function, so that policies without memory carry none of it.
 *
 * The includer has plane.h and parse.h.
 */
#ifndef WEIR_BPF_FLOW_PLANE_H
#define WEIR_BPF_FLOW_PLANE_H

#include "bpf/parse.h"
#include "bpf/plane.h"

typedef plane_context flow_source;

#include "bpf/flow_read.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow_key);
	__type(value, struct flow);
} state_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow_key);
	__type(value, struct flow);
} state_flows_fresh SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_counts);
} state_flow_counts SEC(".maps");

/* --- what flow.h asks for --------------------------------------------------------------------------------------- */

#ifdef PLANE_IN_PLACE
/*
 * Headers that lie in the linear part are read there, in words: a helper's copy is four calls. The verifier wants the
 * offset bounded.
 */
static __always_inline bool read_in_place(flow_source *source, __u32 offset, __u8 *buffer, __u32 size)
{
	const __u8 *data = (const __u8 *)(long)source->data, *end = (const __u8 *)(long)source->data_end;

	barrier_var(offset);
	if (size % 4 || offset >= 1 << 14 || data + offset + size > end)
		return false;
	for (__u32 i = 0; i < size; i += 4)
		*(__u32 *)(buffer + i) = LOAD(__u32, data + offset + i);
	return true;
}
#endif

static __always_inline int flow_copy(flow_source *source, __u32 offset, void *buffer, __u32 size)
{
#ifdef PLANE_IN_PLACE
	if (LIKELY(read_in_place(source, offset, buffer, size)))
		return 0;
#endif
	return plane_copy(source, offset, buffer, size);
}

static __always_inline struct flow *flow_find(bool fresh, const struct flow_key *key)
{
	return fresh ? bpf_map_lookup_elem(&state_flows_fresh, key) : bpf_map_lookup_elem(&state_flows, key);
}

static __always_inline int flow_insert(bool fresh, const struct flow_key *key, const struct flow *flow, bool replace)
{
	__u64 how = replace ? BPF_ANY : BPF_NOEXIST;

	return fresh ? bpf_map_update_elem(&state_flows_fresh, key, flow, how) :
		       bpf_map_update_elem(&state_flows, key, flow, how);
}

static __always_inline void flow_remove(bool fresh, const struct flow_key *key)
{
	if (fresh)
		bpf_map_delete_elem(&state_flows_fresh, key);
	else
		bpf_map_delete_elem(&state_flows, key);
}

static __always_inline __u64 flow_timeout(enum flow_timeout timeout)
{
	return timeout < FLOW_TIMEOUT_COUNT ? flow_config.timeout_ns[timeout] : 0;
}

static __always_inline void flow_count(enum flow_event event)
{
	struct flow_counts *counts;
	__u32 zero = 0;

	counts = bpf_map_lookup_elem(&state_flow_counts, &zero);
	if (!counts)
		return;
	if (event == FLOW_EVENT_CREATED)
		__sync_fetch_and_add(&counts->created, 1);
	else if (event == FLOW_EVENT_ASSURED)
		__sync_fetch_and_add(&counts->assured, 1);
	else if (event == FLOW_EVENT_REFUSED)
		__sync_fetch_and_add(&counts->refused, 1);
	else
		__sync_fetch_and_add(&counts->invalid, 1);
}

VERIFIED_ONCE int plane_syn_scale(plane_context *context, __u32 offset, __u32 size)
{
	if (!plane_tracks())
		return -1;
	return options_scale(context, offset, size);
}

static __always_inline int flow_syn_scale(flow_source *source, __u32 offset, __u32 size)
{
	return plane_syn_scale(source, offset, size);
}

/* --- states ----------------------------------------------------------------------------------------------------- */

/* Of an ICMP error: FLOW_RELATED or FLOW_INVALID. */
VERIFIED_ONCE int plane_quoted_state(plane_context *context, struct packet *packet)
{
	struct flow_work work = { 0 };
	struct flow_quote quote;

	if (!packet || !plane_tracks() || !flow_read_quote(context, packet, &quote))
		return FLOW_INVALID;
	work.now_ns = plane_now();
	return flow_is_related(&quote, flow_alive(&quote.key, &work)) ? FLOW_RELATED : FLOW_INVALID;
}

OUT_OF_LINE void commit_flow(const struct flow_packet *packet, const struct flow_work *work)
{
	flow_commit(packet, work);
}

/* True if the packet may change an entry. Its own function, so that its part of the stack is free while rules judge. */
OUT_OF_LINE int find_state(plane_context *context, struct packet *packet, struct flow_packet *read,
				       struct flow_work *work)
{
	if (!flow_read(context, packet, read))
		return false;
	work->now_ns = plane_now();
	packet->flow = flow_look(read, work);
	return work->change != CHANGE_NONE;
}

/*
 * Of a packet that was parsed: an enum answer_verdict, everything done; or, with ANSWER_STEPS, an answer whose steps the
 * caller takes, where this function's part of the stack is free again, and then plane_accept_flow().
 */
VERIFIED_ONCE int plane_judge_flow(plane_context *context, struct packet *packet)
{
	struct flow_packet read;
	struct flow_work work;
	__u32 answer, verdict = ANSWER_ACCEPT;
	bool tracked = false;

	if (!packet || !plane_tracks())
		return ANSWER_DROP;
	if (UNLIKELY(is_icmp_error(packet)))
		packet->flow = plane_quoted_state(context, packet);
	else
		tracked = find_state(context, packet, &read, &work);
	if (UNLIKELY(packet->flow == FLOW_INVALID))
		flow_count(FLOW_EVENT_INVALID);
	if (!flow_config.track) {
		answer = classify_with_state(packet);
		if (answer & ANSWER_STEPS)
			return answer;
		verdict = settle(answer & 3, answer >> ANSWER_SHIFT, plane_weigh_parsed(context, packet));
	}
	if (verdict == ANSWER_ACCEPT && tracked)
		commit_flow(&read, &work);
	return verdict;
}

/* The steps accepted the packet: it is read again. */
VERIFIED_ONCE int plane_accept_flow(plane_context *context, struct packet *packet)
{
	struct flow_packet read;
	struct flow_work work;

	if (!packet || !plane_tracks() || is_icmp_error(packet))
		return 0;
	if (find_state(context, packet, &read, &work))
		commit_flow(&read, &work);
	return 0;
}

#endif
