/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connection tracking: what state a packet has, and what it changes once it is accepted. Also compiled for the host by
 * tests. docs/flows.md says which checks these are, and why.
 *
 * flow_look() finds the state and changes nothing; flow_commit() brings the change that flow_look() noted. In between,
 * rules judge. An entry that the kernel gives to another flow meanwhile (LRU maps reuse entries at once) takes an update
 * that was another's: it needs an eviction in just these nanoseconds, and may cost that flow its windows.
 *
 * The includer has parse.h, and defines
 *	struct flow *flow_find(bool fresh, const struct flow_key *key)
 *	int flow_insert(bool fresh, const struct flow_key *key, const struct flow *flow, bool replace)
 *	void flow_remove(bool fresh, const struct flow_key *key)
 *	__u64 flow_timeout(enum flow_timeout timeout), in nanoseconds
 *	void flow_count(enum flow_event event)
 */
#ifndef WEIR_BPF_FLOW_H
#define WEIR_BPF_FLOW_H

#include "bpf/flow_abi.h"
#include "bpf/icmp.h"

enum flow_event { FLOW_EVENT_CREATED, FLOW_EVENT_ASSURED, FLOW_EVENT_REFUSED, FLOW_EVENT_INVALID };

static __always_inline struct flow *flow_find(bool fresh, const struct flow_key *key);
static __always_inline int flow_insert(bool fresh, const struct flow_key *key, const struct flow *flow, bool replace);
static __always_inline void flow_remove(bool fresh, const struct flow_key *key);
static __always_inline __u64 flow_timeout(enum flow_timeout timeout);
static __always_inline void flow_count(enum flow_event event);

enum {
	FLAG_FIN = 1, FLAG_SYN = 2, FLAG_RST = 4, FLAG_ACK = 16, FLAG_URG = 32,

	SCTP_INIT = 1, SCTP_INIT_ACK = 2, SCTP_ABORT = 6, SCTP_SHUTDOWN = 7, SCTP_SHUTDOWN_ACK = 8, SCTP_COOKIE_ECHO = 10,
	SCTP_COOKIE_ACK = 11, SCTP_SHUTDOWN_COMPLETE = 14, SCTP_TAG_REFLECTED = 1, SCTP_READ = 16, SCTP_INIT_READ = 20,

	/* Acknowledgements may be as much too old as a window without scaling, and some (Linux: MAXACKWINCONST). */
	ACK_WINDOW_LEAST = 66000,
};

/* What one packet says. */
struct flow_packet {
	struct flow_key key;
	__u32 side;   /* FLOW_A or FLOW_B: who sent it */
	__u32 seq;    /* TCP; SCTP: the verification tag */
	__u32 end;    /* TCP: behind it; SCTP: the tag that an INIT or INIT ACK brings */
	__u32 ack;
	__u32 window; /* as it stands in the header */
	__u8 flags;   /* TCP: flags; SCTP: the first chunk's type */
	__u8 scale;   /* of a SYN: window scaling, and whether it offers it; SCTP: the chunk's flags */
	bool scales;
	bool request; /* begins a flow if there is none */
	bool more;    /* TCP: further fragments follow, which nobody will look at */
};

enum flow_change {
	CHANGE_NONE,
	CHANGE_TOUCH,  /* the entry lives on; TCP: windows move */
	CHANGE_CREATE, /* a new entry takes the place of what there is */
	CHANGE_OPEN,   /* TCP: the side's SYN is noted, maybe once more; a SYN ACK is an answer too */
	CHANGE_REOPEN, /* TCP: the answer to a SYN that came while the connection seemed open */
	CHANGE_AGAIN,  /* TCP: such a SYN */
};

/* What flow_look() found, for flow_commit(). */
struct flow_work {
	struct flow *flow;
	__u64 now_ns;
	__u32 add;    /* flags */
	__u8 change;  /* enum flow_change */
	bool fresh;   /* where the entry is */
	bool taken;   /* there is one under this key, though it may have run out */
};

static __always_inline bool seq_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/*
 * An entry on the stack, for indexing: knowing how it is aligned, the compiler would find its members by `|`, which the
 * verifier does not follow.
 */
static __always_inline struct flow *opaque(struct flow *flow)
{
	asm volatile("" : "+r"(flow));
	return flow;
}

static __always_inline __u32 low_half(__u64 word)
{
	return (__u32)word;
}

static __always_inline __u32 high_half(__u64 word)
{
	return (__u32)(word >> 32);
}

static __always_inline __u64 halves(__u32 high, __u32 low)
{
	return (__u64)high << 32 | low;
}

static __always_inline __u32 seq_max(__u32 a, __u32 b)
{
	return seq_after(a, b) ? a : b;
}

/* --- TCP -------------------------------------------------------------------------------------------------------- */

/* The combinations that stacks send: RFC 9293; urgent are data, and SYNs that bring some. */
static __always_inline bool tcp_flags_good(__u32 flags)
{
	switch (flags & (FLAG_FIN | FLAG_SYN | FLAG_RST | FLAG_ACK | FLAG_URG)) {
	case FLAG_SYN:
	case FLAG_SYN | FLAG_URG:
	case FLAG_SYN | FLAG_ACK:
	case FLAG_RST:
	case FLAG_RST | FLAG_ACK:
	case FLAG_FIN | FLAG_ACK:
	case FLAG_FIN | FLAG_ACK | FLAG_URG:
	case FLAG_ACK:
	case FLAG_ACK | FLAG_URG:
		return true;
	default:
		return false;
	}
}

/* Windows are scaled if both SYNs offered it, except those of the SYNs. */
static __always_inline __u32 tcp_window(__u32 flags, const struct flow_packet *packet)
{
	const __u32 both = FLOW_OF(FLOW_A, FLOW_SCALES) | FLOW_OF(FLOW_B, FLOW_SCALES);

	if (packet->flags & FLAG_SYN || (flags & both) != both)
		return packet->window;
	return packet->window << (flags >> (FLOW_SCALE_SHIFT + packet->side * 4) & 15);
}

/* It acknowledges that side's SYN, and nothing that was not sent. */
static __always_inline bool acks_syn(const struct flow *flow, __u32 side, __u32 ack)
{
	return seq_after(ack, flow->start[side & 1]) && !seq_after(ack, low_half(flow->sent[side & 1]));
}

/* Linux's four tests (net/netfilter/nf_conntrack_proto_tcp.c, tcp_in_window()), without SACK. */
static __always_inline bool tcp_in_window(const struct flow *flow, const struct flow_packet *packet)
{
	__u64 own = flow->sent[packet->side & 1], other = flow->sent[(packet->side ^ 1) & 1];
	__u32 right = high_half(flow->edge[(packet->side ^ 1) & 1]);
	__u32 least = high_half(own) > ACK_WINDOW_LEAST ? high_half(own) : ACK_WINDOW_LEAST;

	if (seq_after(packet->seq, right) || seq_after(low_half(own) - high_half(other) - 1, packet->end))
		return false;
	return !seq_after(packet->ack, low_half(other)) && !seq_after(low_half(other) - least - 1, packet->ack);
}

static __always_inline __u32 tcp_look_syn(const struct flow *flow, const struct flow_packet *packet,
					  struct flow_work *work)
{
	const __u32 both = FLOW_OF(FLOW_A, FLOW_FIN) | FLOW_OF(FLOW_B, FLOW_FIN);
	__u32 flags = flow->flags, side = packet->side & 1;
	bool known = flags & FLOW_OF(side, FLOW_KNOWN), same = known && packet->seq == flow->start[side];

	if (flags & FLOW_CLOSED || (flags & both) == both)
		work->change = CHANGE_CREATE;
	else if (same)
		work->change = flags & FLOW_REPLIED ? CHANGE_NONE : CHANGE_OPEN;
	else if (flags & FLOW_REPLIED)
		work->change = CHANGE_AGAIN;
	else
		work->change = known ? CHANGE_CREATE : CHANGE_OPEN;
	return FLOW_NEW;
}

static __always_inline __u32 tcp_look_syn_ack(const struct flow *flow, const struct flow_packet *packet,
					      struct flow_work *work)
{
	__u32 flags = flow->flags, side = packet->side & 1, other = side ^ 1;
	bool known = flags & FLOW_OF(side, FLOW_KNOWN), same = known && packet->seq == flow->start[side];

	if (flags & FLOW_OF(other, FLOW_AGAIN) && packet->ack == flow->again) {
		work->change = CHANGE_REOPEN;
		return FLOW_ESTABLISHED;
	}
	if ((known && !same) || !(flags & FLOW_OF(other, FLOW_KNOWN)) || !acks_syn(flow, other, packet->ack))
		return FLOW_INVALID;
	if (!(flags & FLOW_REPLIED))
		work->change = CHANGE_OPEN;
	return FLOW_ESTABLISHED;
}

/* RFC 5961 3.2: only the exact next sequence number closes; one in the window has a challenge coming. */
static __always_inline __u32 tcp_look_rst(const struct flow *flow, const struct flow_packet *packet,
					  struct flow_work *work)
{
	const __u32 both = FLOW_OF(FLOW_A, FLOW_KNOWN) | FLOW_OF(FLOW_B, FLOW_KNOWN);
	__u32 flags = flow->flags, side = packet->side & 1, other = side ^ 1;
	__u32 next = low_half(flow->edge[other]), end = low_half(flow->sent[side]);

	/* A refusal of the SYN that came in between; changes nothing, for anybody may have sent that SYN. */
	if (flags & FLOW_OF(other, FLOW_AGAIN) && packet->flags & FLAG_ACK && packet->ack == flow->again)
		return FLOW_ESTABLISHED;
	if (flags & FLOW_REPLIED && (flags & both) != both)
		return flags & FLOW_SEEDED ? FLOW_ESTABLISHED : FLOW_INVALID; /* seeded: not both sides seen yet */
	if (!(flags & FLOW_REPLIED)) {
		if (flags & FLOW_OF(side, FLOW_KNOWN)) {
			if (packet->seq == end)
				work->add = FLOW_CLOSED;
			work->change = packet->seq == end ? CHANGE_TOUCH : CHANGE_NONE;
			return FLOW_NEW;
		}
		if (!(packet->flags & FLAG_ACK) || !acks_syn(flow, other, packet->ack))
			return FLOW_INVALID;
		next = packet->seq; /* refused: RFC 9293 3.10.7.3 */
	}
	if (packet->seq == next || packet->seq == end) {
		work->add = FLOW_CLOSED | FLOW_REPLIED;
		work->change = CHANGE_TOUCH;
		return FLOW_ESTABLISHED;
	}
	return seq_after(next, packet->seq) || seq_after(packet->seq, high_half(flow->edge[other])) ? FLOW_INVALID :
											      FLOW_ESTABLISHED;
}

/* Data, acknowledgements, FIN: all that has ACK and neither SYN nor RST. */
static __always_inline __u32 tcp_look_ack(const struct flow *flow, const struct flow_packet *packet,
					  struct flow_work *work)
{
	const __u32 both = FLOW_OF(FLOW_A, FLOW_KNOWN) | FLOW_OF(FLOW_B, FLOW_KNOWN);
	__u32 flags = flow->flags, side = packet->side & 1, other = side ^ 1;

	if (!(flags & FLOW_REPLIED)) /* a challenge ACK (RFC 9293 3.10.7.4), or nothing that belongs here */
		return flags & FLOW_OF(side, FLOW_KNOWN) || packet->end != packet->seq ? FLOW_INVALID :
											   FLOW_ESTABLISHED;
	if ((flags & both) == both ? !tcp_in_window(flow, packet) : !(flags & FLOW_SEEDED))
		return FLOW_INVALID;
	work->change = CHANGE_TOUCH;
	if (!(flags & FLOW_ASSURED) && side == FLOW_FIRST(flags) && seq_after(packet->ack, flow->start[other]))
		work->add |= FLOW_ASSURED;
	if (packet->flags & FLAG_FIN)
		work->add |= FLOW_OF(side, FLOW_FIN);
	return FLOW_ESTABLISHED;
}

static __always_inline __u32 tcp_look(const struct flow *flow, const struct flow_packet *packet, struct flow_work *work)
{
	__u32 flags = packet->flags;

	if (!tcp_flags_good(flags))
		return FLOW_INVALID;
	if (!flow) {
		if ((flags & (FLAG_SYN | FLAG_ACK)) != FLAG_SYN)
			return FLOW_INVALID;
		work->change = CHANGE_CREATE;
		return FLOW_NEW;
	}
	if (flags & FLAG_RST)
		return tcp_look_rst(flow, packet, work);
	if (!(flags & FLAG_SYN))
		return tcp_look_ack(flow, packet, work);
	return flags & FLAG_ACK ? tcp_look_syn_ack(flow, packet, work) : tcp_look_syn(flow, packet, work);
}

/* What a SYN tells of its side. */
static __always_inline void tcp_start(struct flow *flow, const struct flow_packet *packet, __u32 side)
{
	__u32 window = packet->window ? packet->window : 1;

	flow->start[side & 1] = packet->seq;
	flow->sent[side & 1] = halves(window, packet->end);
}

static __always_inline __u32 tcp_start_flags(const struct flow_packet *packet)
{
	__u32 side = packet->side & 1;
	__u32 scale = packet->scale > FLOW_SCALE_MAX ? FLOW_SCALE_MAX : packet->scale;

	return FLOW_OF(side, FLOW_KNOWN) | (packet->scales ? FLOW_OF(side, FLOW_SCALES) : 0) |
	       scale << (FLOW_SCALE_SHIFT + side * 4);
}

/* A SYN ACK says how far both sides may go from here. */
static __always_inline void tcp_answer(struct flow *flow, const struct flow_packet *packet)
{
	__u32 side = packet->side & 1, other = side ^ 1, window = packet->window ? packet->window : 1;

	flow->edge[side] = halves(packet->ack + window, packet->ack);
	flow->edge[other] = halves(packet->seq + 1 + high_half(flow->sent[other]), packet->seq + 1);
}

/* The greater of what is there and what is new, by both halves; `serial`: the high half is a sequence number too. */
static __always_inline void word_raise(__u64 *word, __u32 high, __u32 low, bool serial)
{
	for (int i = 0; i < 4; i++) {
		__u64 was = *(volatile __u64 *)word;
		__u32 top = serial ? seq_max(high, high_half(was)) : high > high_half(was) ? high : high_half(was);
		__u64 now = halves(top, seq_max(low, low_half(was)));

		if (now == was || __sync_val_compare_and_swap(word, was, now) == was)
			break;
	}
}

/* A SYN of an attempt, or its answer; the same one again may only add. Returns flags to add. */
static __always_inline __u32 tcp_open(struct flow *flow, const struct flow_packet *packet)
{
	__u32 side = packet->side & 1, add = 0;

	if (flow->flags & FLOW_OF(side, FLOW_KNOWN)) {
		word_raise(&flow->sent[side], packet->window, packet->end, false);
	} else {
		tcp_start(flow, packet, side);
		add = tcp_start_flags(packet);
	}
	if (!(packet->flags & FLAG_ACK))
		return add;
	tcp_answer(flow, packet);
	return add | FLOW_REPLIED;
}

/*
 * Behind what the packet brings. How much that is of a segment in fragments, the first one does not say: as much as an IP
 * packet holds, and the other side takes; else what acknowledges it would seem to acknowledge what was not sent.
 */
static __always_inline __u32 tcp_end(const struct flow *flow, const struct flow_packet *packet)
{
	__u32 other = (packet->side ^ 1) & 1, most = packet->seq + 0xffff, edge = high_half(flow->edge[other]);

	if (!packet->more)
		return packet->end;
	if (flow->flags & FLOW_OF(other, FLOW_KNOWN) && seq_after(most, edge))
		most = edge;
	return seq_max(most, packet->end);
}

/* A seeded flow takes the first packet of each side as it is: what it acknowledges has been sent. */
static __always_inline __u32 tcp_learn(struct flow *flow, const struct flow_packet *packet, __u32 window)
{
	__u32 side = packet->side & 1, other = side ^ 1;

	flow->start[side] = packet->seq - 1;
	flow->sent[side] = halves(window, tcp_end(flow, packet));
	flow->edge[side] = halves(packet->ack + window, packet->ack);
	if (!(flow->flags & FLOW_OF(other, FLOW_KNOWN)))
		flow->sent[other] = halves(0, packet->ack);
	return FLOW_OF(side, FLOW_KNOWN);
}

/* Returns flags to add. */
static __always_inline __u32 tcp_touch(struct flow *flow, const struct flow_packet *packet)
{
	__u32 side = packet->side & 1, window = tcp_window(flow->flags, packet);

	if (packet->flags & (FLAG_SYN | FLAG_RST))
		return 0;
	if (!window)
		window = 1;
	if (!(flow->flags & FLOW_OF(side, FLOW_KNOWN)))
		return tcp_learn(flow, packet, window);
	word_raise(&flow->sent[side], window, tcp_end(flow, packet), false);
	word_raise(&flow->edge[side], packet->ack + window, packet->ack, true);
	return 0;
}

/* --- SCTP ------------------------------------------------------------------------------------------------------- */

/* RFC 9260 8.5: a packet carries the tag of the side that it goes to. */
static __always_inline __u32 sctp_look(const struct flow *flow, const struct flow_packet *packet, struct flow_work *work)
{
	__u32 side = packet->side & 1, other = side ^ 1, chunk = packet->flags;
	bool tagged, reflected;

	if (chunk == SCTP_INIT) {
		if (packet->seq)
			return FLOW_INVALID;
		if (!flow || flow->flags & FLOW_CLOSED || !(flow->flags & FLOW_REPLIED))
			work->change = CHANGE_CREATE;
		return FLOW_NEW;
	}
	if (!flow)
		return FLOW_INVALID;
	tagged = flow->flags & FLOW_OF(other, FLOW_KNOWN) && packet->seq == flow->start[other];
	reflected = (chunk == SCTP_ABORT || chunk == SCTP_SHUTDOWN_COMPLETE) && packet->scale & SCTP_TAG_REFLECTED &&
		    flow->flags & FLOW_OF(side, FLOW_KNOWN) && packet->seq == flow->start[side];
	if (flow->flags & FLOW_SEEDED && !(flow->flags & FLOW_OF(other, FLOW_KNOWN)))
		tagged = true;
	if (!tagged && !reflected)
		return FLOW_INVALID;
	if (!(flow->flags & FLOW_REPLIED) &&
	    (side == FLOW_FIRST(flow->flags) || (chunk != SCTP_INIT_ACK && chunk != SCTP_ABORT)))
		return FLOW_INVALID;
	work->change = chunk == SCTP_INIT_ACK ? CHANGE_OPEN : CHANGE_TOUCH;
	if (chunk == SCTP_INIT_ACK && (side == FLOW_FIRST(flow->flags) || flow->flags & FLOW_ASSURED))
		return FLOW_INVALID;
	if (chunk == SCTP_COOKIE_ACK)
		work->add = FLOW_ASSURED;
	else if (chunk == SCTP_SHUTDOWN || chunk == SCTP_SHUTDOWN_ACK)
		work->add = FLOW_OF(side, FLOW_FIN);
	else if (chunk == SCTP_ABORT || chunk == SCTP_SHUTDOWN_COMPLETE)
		work->add = FLOW_CLOSED | FLOW_REPLIED;
	return FLOW_ESTABLISHED;
}

/* --- UDP, ICMP and the others ----------------------------------------------------------------------------------- */

static __always_inline __u32 plain_look(const struct flow *flow, const struct flow_packet *packet, struct flow_work *work)
{
	bool answer;

	if (!flow) {
		if (!packet->request)
			return FLOW_INVALID;
		work->change = CHANGE_CREATE;
		return FLOW_NEW;
	}
	work->change = CHANGE_TOUCH;
	answer = (packet->side & 1) != FLOW_FIRST(flow->flags);
	if (!answer && !(flow->flags & FLOW_REPLIED))
		return FLOW_NEW;
	work->add = FLOW_REPLIED;
	if (packet->key.proto == PROTO_UDP && flow->flags & FLOW_REPLIED &&
	    work->now_ns >= flow->created_ns + FLOW_UDP_ASSURED_AFTER_NS)
		work->add |= FLOW_ASSURED;
	return FLOW_ESTABLISHED;
}

/* --- timeouts --------------------------------------------------------------------------------------------------- */

static __always_inline enum flow_timeout timeout_of(__u32 proto, __u32 flags)
{
	const __u32 fins = FLOW_OF(FLOW_A, FLOW_FIN) | FLOW_OF(FLOW_B, FLOW_FIN);

	if (proto == PROTO_TCP)
		return flags & FLOW_CLOSED ? FLOW_TCP_CLOSED : flags & fins ? FLOW_TCP_CLOSING :
		       flags & FLOW_ASSURED ? FLOW_TCP_ESTABLISHED : FLOW_TCP_OPENING;
	if (proto == PROTO_UDP)
		return flags & FLOW_ASSURED ? FLOW_UDP_ESTABLISHED : FLOW_UDP_NEW;
	if (proto == PROTO_ICMP || proto == PROTO_ICMPV6)
		return FLOW_ICMP;
	if (proto == PROTO_SCTP)
		return flags & (fins | FLOW_CLOSED) ? FLOW_SCTP_CLOSING :
		       flags & FLOW_ASSURED ? FLOW_SCTP_ESTABLISHED : FLOW_SCTP_OPENING;
	return FLOW_OTHER;
}

/* --- looking ---------------------------------------------------------------------------------------------------- */

/* The entry, if it has not run out. One that was neither here nor there may have been on its way between. */
static __always_inline struct flow *flow_alive(const struct flow_key *key, struct flow_work *work)
{
	struct flow *flow = flow_find(false, key);

	work->fresh = false;
	if (!flow) {
		flow = flow_find(true, key);
		work->fresh = flow;
	}
	if (!flow)
		flow = flow_find(false, key);
	work->taken = flow;
	return flow && flow->expires_ns > work->now_ns ? flow : NULL;
}

/* The packet's state: enum packet_flow. */
static __always_inline __u32 flow_look(const struct flow_packet *packet, struct flow_work *work)
{
	__u32 proto = packet->key.proto, state;

	work->add = 0;
	work->change = CHANGE_NONE;
	work->flow = flow_alive(&packet->key, work);
	if (proto == PROTO_TCP)
		state = tcp_look(work->flow, packet, work);
	else if (proto == PROTO_SCTP)
		state = sctp_look(work->flow, packet, work);
	else
		state = plain_look(work->flow, packet, work);
	if (state == FLOW_INVALID)
		work->change = CHANGE_NONE;
	return state;
}

/* --- committing ------------------------------------------------------------------------------------------------- */

static __always_inline void flow_start(struct flow *flow, const struct flow_packet *packet, __u64 now_ns)
{
	__u32 proto = packet->key.proto, side = packet->side & 1;

	__builtin_memset(flow, 0, sizeof *flow);
	flow->created_ns = now_ns;
	flow->flags = side == FLOW_B ? FLOW_B_FIRST : 0;
	if (proto == PROTO_TCP) {
		tcp_start(flow, packet, side);
		flow->flags |= tcp_start_flags(packet);
	} else if (proto == PROTO_SCTP) {
		flow->start[side] = packet->end;
		flow->flags |= FLOW_OF(side, FLOW_KNOWN);
	}
	flow->expires_ns = now_ns + flow_timeout(timeout_of(proto, flow->flags));
}

/*
 * In the place of what was there: an entry of a connection that is over, or expired, which goes when the new one is there.
 * Where nothing was, whoever comes first begins the flow.
 */
static __always_inline void flow_put(const struct flow_packet *packet, const struct flow_work *work,
				     const struct flow *flow)
{
	if (flow_insert(true, &packet->key, flow, work->taken)) {
		flow_count(FLOW_EVENT_REFUSED);
		return;
	}
	if (work->taken && !work->fresh)
		flow_remove(false, &packet->key);
	flow_count(FLOW_EVENT_CREATED);
}

static __always_inline void flow_create(const struct flow_packet *packet, const struct flow_work *work)
{
	struct flow flow;

	flow_start(opaque(&flow), packet, work->now_ns);
	flow_put(packet, work, &flow);
}

/* The connection that the other side asked for again, while this entry took it for open. */
static __always_inline void tcp_reopen(const struct flow_packet *packet, const struct flow_work *work)
{
	__u32 side = packet->side & 1, other = side ^ 1;
	struct flow entry, *flow = opaque(&entry);

	flow_start(flow, packet, work->now_ns);
	flow->flags ^= FLOW_B_FIRST;
	flow->flags |= FLOW_REPLIED | FLOW_OF(other, FLOW_KNOWN) | FLOW_OF(other, FLOW_SCALES) |
		       (__u32)FLOW_SCALE_MAX << (FLOW_SCALE_SHIFT + other * 4); /* its SYN's options were not kept */
	flow->start[other] = packet->ack - 1;
	flow->sent[other] = halves(0xffff, packet->ack);
	tcp_answer(flow, packet);
	flow_put(packet, work, flow);
}

/* From the fresh ones to the assured ones. Mostly no packet of this flow is on another CPU's way just then: the other side
 * waits for this one. */
static __always_inline void flow_promote(const struct flow_packet *packet, const struct flow *flow)
{
	struct flow copy = *flow;

	if (flow_insert(false, &packet->key, &copy, false)) {
		flow_count(FLOW_EVENT_REFUSED);
		return;
	}
	flow_remove(true, &packet->key);
	flow_count(FLOW_EVENT_ASSURED);
}

/*
 * The entry lives on. Whoever has set a flag (reset, FIN) also sets the time that it leaves; a packet on another CPU that
 * saw the flags before must not have the last word.
 */
static __always_inline void flow_renew(struct flow *flow, __u32 proto, __u64 now_ns)
{
	for (int i = 0; i < 4; i++) {
		__u32 flags = *(volatile __u32 *)&flow->flags;
		__u64 expires_ns = now_ns + flow_timeout(timeout_of(proto, flags));

		if (*(volatile __u64 *)&flow->expires_ns == expires_ns)
			return;
		__sync_lock_test_and_set(&flow->expires_ns, expires_ns);
		if (*(volatile __u32 *)&flow->flags == flags)
			return;
	}
}

static __always_inline void flow_touch(const struct flow_packet *packet, const struct flow_work *work)
{
	struct flow *flow = work->flow;
	__u32 add = work->add, side = packet->side & 1;

	if (work->change == CHANGE_OPEN) {
		if (packet->key.proto == PROTO_SCTP) {
			flow->start[side] = packet->end;
			add |= FLOW_OF(side, FLOW_KNOWN) | FLOW_REPLIED;
		} else {
			add |= tcp_open(flow, packet);
		}
	} else if (packet->key.proto == PROTO_TCP) {
		add |= tcp_touch(flow, packet);
	}
	if (add & ~flow->flags)
		__sync_fetch_and_or(&flow->flags, add);
	flow_renew(flow, packet->key.proto, work->now_ns);
	if (work->fresh && flow->flags & FLOW_ASSURED)
		flow_promote(packet, flow);
}

/* The packet was accepted. */
static __always_inline void flow_commit(const struct flow_packet *packet, const struct flow_work *work)
{
	if (work->change == CHANGE_NONE)
		return;
	if (work->change == CHANGE_CREATE) {
		flow_create(packet, work);
		return;
	}
	if (!work->flow)
		return; /* cannot be; for the verifier */
	if (work->change == CHANGE_REOPEN) {
		tcp_reopen(packet, work);
	} else if (work->change == CHANGE_AGAIN) {
		work->flow->again = packet->end;
		__sync_fetch_and_or(&work->flow->flags, FLOW_OF(packet->side & 1, FLOW_AGAIN));
	} else {
		flow_touch(packet, work);
	}
}

#endif
