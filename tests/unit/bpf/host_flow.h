/* SPDX-License-Identifier: GPL-2.0-only */
/* The data planes' connection tracking on the host, with tables that are searched from their beginning. For tests. */
#ifndef WEIR_TESTS_HOST_FLOW_H
#define WEIR_TESTS_HOST_FLOW_H

#include "host_parse.h"
#include "ir/ir.h"

typedef struct host_source flow_source;

#include "bpf/flow_read.h"

enum { HOST_FLOWS_MAX = 64 };

static struct host_table {
	struct {
		bool used;
		struct flow_key key;
		struct flow flow;
	} items[HOST_FLOWS_MAX];
} host_tables[2]; /* assured, fresh */

static inline int flow_copy(flow_source *source, __u32 offset, void *buffer, __u32 size)
{
	return source_copy(source, offset, buffer, size);
}

static inline int flow_syn_scale(flow_source *source, __u32 offset, __u32 size)
{
	return options_scale(source, offset, size);
}

static inline struct flow *flow_find(bool fresh, const struct flow_key *key)
{
	for (int i = 0; i < HOST_FLOWS_MAX; i++)
		if (host_tables[fresh].items[i].used && !memcmp(&host_tables[fresh].items[i].key, key, sizeof *key))
			return &host_tables[fresh].items[i].flow;
	return NULL;
}

static inline int flow_insert(bool fresh, const struct flow_key *key, const struct flow *flow, bool replace)
{
	struct flow *there = flow_find(fresh, key);

	if (there && !replace)
		return -1;
	for (int i = 0; i < HOST_FLOWS_MAX && !there; i++) {
		if (host_tables[fresh].items[i].used)
			continue;
		host_tables[fresh].items[i].used = true;
		host_tables[fresh].items[i].key = *key;
		there = &host_tables[fresh].items[i].flow;
	}
	if (!there)
		return -1;
	*there = *flow;
	return 0;
}

static inline void flow_remove(bool fresh, const struct flow_key *key)
{
	for (int i = 0; i < HOST_FLOWS_MAX; i++)
		if (host_tables[fresh].items[i].used && !memcmp(&host_tables[fresh].items[i].key, key, sizeof *key))
			host_tables[fresh].items[i].used = false;
}

static inline __u64 flow_timeout(enum flow_timeout timeout)
{
	return flow_ages[timeout].seconds * 1000000000ull;
}

static inline void flow_count(enum flow_event event)
{
	(void)event;
}

static inline void host_flows_reset(void)
{
	memset(host_tables, 0, sizeof host_tables);
}

/* Flows that have not run out. */
static inline size_t host_flow_count(uint64_t now_ns)
{
	size_t count = 0;

	for (int fresh = 0; fresh < 2; fresh++)
		for (int i = 0; i < HOST_FLOWS_MAX; i++)
			count += host_tables[fresh].items[i].used &&
				 host_tables[fresh].items[i].flow.expires_ns > now_ns;
	return count;
}

struct host_flow_verdict {
	enum packet_flow state;
	bool tracked;
	struct flow_packet read;
	struct flow_work work;
};

static inline enum packet_flow host_quoted(struct host_source *source, const struct packet *packet, uint64_t now_ns)
{
	struct flow_work work = { .now_ns = now_ns };
	struct flow_quote quote;

	if (!flow_read_quote(source, packet, &quote))
		return FLOW_INVALID;
	return flow_is_related(&quote, flow_alive(&quote.key, &work)) ? FLOW_RELATED : FLOW_INVALID;
}

/* What flow_plane.h does before the rules judge. */
static inline void host_flow_look(const struct model_packet *in, uint64_t now_ns, struct host_flow_verdict *ret)
{
	struct host_source source = { in->data, in->length };
	struct packet packet;

	memset(ret, 0, sizeof *ret);
	ret->work.now_ns = now_ns;
	if (host_parse(HOOK_XDP, in, in->length, false, &packet))
		return;
	if (is_icmp_error(&packet)) {
		ret->state = host_quoted(&source, &packet, now_ns);
	} else if (flow_read(&source, &packet, &ret->read)) {
		ret->tracked = true;
		ret->state = (enum packet_flow)flow_look(&ret->read, &ret->work);
	}
}

static inline void host_flow_accept(const struct host_flow_verdict *verdict)
{
	if (verdict->tracked)
		flow_commit(&verdict->read, &verdict->work);
}

#endif
