/* SPDX-License-Identifier: GPL-2.0-only */
/* Ages of connections: Linux's where it has such a state (net/netfilter/nf_conntrack_proto_*.c). */
#include "ir/ir.h"

const struct flow_age_info flow_ages[AGE_COUNT] = {
	[AGE_TCP_OPENING] = { "tcp.opening", 60 },
	[AGE_TCP_ESTABLISHED] = { "tcp.established", 5 * 86400 },
	[AGE_TCP_CLOSING] = { "tcp.closing", 120 },
	[AGE_TCP_CLOSED] = { "tcp.closed", 10 },
	[AGE_UDP_NEW] = { "udp.new", 30 },
	[AGE_UDP_ESTABLISHED] = { "udp.established", 120 },
	[AGE_ICMP] = { "icmp", 30 },
	[AGE_SCTP_OPENING] = { "sctp.opening", 10 },
	[AGE_SCTP_ESTABLISHED] = { "sctp.established", 210 },
	[AGE_SCTP_CLOSING] = { "sctp.closing", 10 },
	[AGE_OTHER] = { "other", 600 },
};

static bool asks(const struct cond *cond)
{
	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			if (asks(cond->list.items[i]))
				return true;
		return false;
	case COND_NOT:
		return asks(cond->inner);
	case COND_MATCH:
		return cond->match.field == FIELD_FLOW;
	default:
		return false;
	}
}

bool flows_used(const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			if (ruleset->chains[i].rules[j].cond && asks(ruleset->chains[i].rules[j].cond))
				return true;
	return ruleset->track_count;
}

enum { FRESH_LEAST = 1024, FLOW_BYTES = 40 + 64 }; /* key and value (bpf/flow_abi.h) */

uint32_t flows_fresh_max(uint32_t max)
{
	return max / 2 > FRESH_LEAST ? max / 2 : FRESH_LEAST;
}

uint64_t flows_memory(const struct flow_settings *flows)
{
	uint32_t max = flows_max(flows);

	return state_memory(max, FLOW_BYTES) + state_memory(flows_fresh_max(max), FLOW_BYTES);
}
