/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections, the slow and obvious way: a list, searched from its beginning. A second implementation of what bpf/flow.h
 * does, from docs/flows.md; shares no code with it. In: a packet; out: its state, and what it changes.
 */
#include <string.h>

#include "ir/model.h"

enum { TCP = 6, UDP = 17, ICMP = 1, ICMPV6 = 58, SCTP = 132, UDP_LITE = 136, FIN = 1, SYN = 2, RST = 4, ACK = 16,
       URG = 32 };

enum phase { OPENING, ANSWERED, OPEN, CLOSING, OVER };

/* One end of a connection. */
struct end {
	u128 address;
	uint32_t port;
	bool heard;      /* TCP: its SYN was seen, or (seeded) any packet; SCTP: its tag is known */
	bool finished;
	bool offers_scale;
	uint8_t scale;
	uint32_t first;  /* sequence number of its SYN; SCTP: its tag */
	uint32_t sent;   /* what it sent ends there */
	uint32_t window; /* the largest it offered */
	uint32_t acked;  /* the most it acknowledged */
	uint32_t limit;  /* up to where the other may send */
};

struct model_flow {
	struct model_flow *next;
	unsigned family, proto;
	uint32_t kind; /* ICMP: the request's type */
	struct end ends[2]; /* [0] began */
	bool answered, assured, over;
	bool asked_again[2]; /* the end sent a SYN while the connection was open, */
	uint32_t again;      /* which ends there */
	uint64_t created_ns, expires_ns;
};

/* One packet, as tracking sees it. */
struct seen {
	bool tracked;
	unsigned family, proto;
	u128 src, dst;
	uint32_t src_port, dst_port, kind;
	bool request;
	const unsigned char *transport;
	size_t length;
	uint32_t seq, end, ack, window;
	unsigned flags;
	int scale; /* -1: not offered */
	bool cut;  /* a first fragment */
	uint32_t tag;
};

/* What a packet does once it is accepted. */
struct change {
	enum { NOTHING, BEGIN, LIVE, ANSWER, ALSO_OPEN, BEGIN_AGAIN, ASK_AGAIN } kind;
	bool assures, ends, closes;
};

static unsigned get16(const unsigned char *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static uint32_t get32(const unsigned char *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* How far `b` is behind `a`, as sequence numbers go. */
static int32_t ahead(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static int scale_option(const unsigned char *tcp, size_t header)
{
	for (size_t at = 20; at + 1 < header && tcp[at];) {
		if (tcp[at] == 1) {
			at++;
			continue;
		}
		if (tcp[at] == 3 && tcp[at + 1] == 3 && at + 2 < header)
			return tcp[at + 2];
		if (tcp[at + 1] < 2)
			break;
		at += tcp[at + 1];
	}
	return -1;
}

static void read_tcp(struct seen *seen)
{
	size_t header = (seen->transport[12] >> 4) * 4u;

	seen->flags = seen->transport[13];
	seen->seq = get32(seen->transport + 4);
	seen->ack = get32(seen->transport + 8);
	seen->window = get16(seen->transport + 14);
	seen->end = seen->seq + (uint32_t)(seen->length - header) + !!(seen->flags & SYN) + !!(seen->flags & FIN);
	seen->scale = seen->flags & SYN ? scale_option(seen->transport, header) : -1;
}

static bool read_sctp(struct seen *seen)
{
	if (seen->length < 16)
		return false;
	seen->tag = get32(seen->transport + 4);
	seen->flags = seen->transport[12];
	if ((seen->flags == 1 || seen->flags == 2) && seen->length < 20)
		return false;
	if (seen->flags == 1 || seen->flags == 2)
		seen->end = get32(seen->transport + 16);
	return true;
}

/* The request of an ICMP message; 0: neither request nor answer. */
static unsigned icmp_kind(unsigned proto, unsigned type, bool *ret_request)
{
	static const struct {
		unsigned proto, request, answer;
	} kinds[] = { { ICMP, 8, 0 }, { ICMP, 13, 14 }, { ICMPV6, 128, 129 } };

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (kinds[i].proto != proto || (type != kinds[i].request && type != kinds[i].answer))
			continue;
		*ret_request = type == kinds[i].request;
		return kinds[i].request;
	}
	return 0;
}

static bool read_icmp(struct seen *seen)
{
	if (seen->length < 8)
		return false;
	seen->kind = icmp_kind(seen->proto, seen->transport[0], &seen->request);
	seen->src_port = seen->dst_port = get16(seen->transport + 4);
	return seen->kind;
}

static bool read_transport(struct seen *seen)
{
	switch (seen->proto) {
	case TCP:
		read_tcp(seen);
		return true;
	case SCTP:
		return read_sctp(seen);
	case ICMP:
		return seen->family != FAMILY_IPV4 || read_icmp(seen);
	case ICMPV6:
		return seen->family != FAMILY_IPV6 || read_icmp(seen);
	default:
		return true;
	}
}

static bool is_error(const struct seen *seen)
{
	unsigned type = seen->length ? seen->transport[0] : 0;

	if (seen->family == FAMILY_IPV6)
		return seen->proto == ICMPV6 && type >= 1 && type <= 4;
	return seen->proto == ICMP && (type == 3 || type == 11 || type == 12);
}

static void read_packet(const struct model_fields *fields, struct seen *seen)
{
	memset(seen, 0, sizeof *seen);
	seen->family = (unsigned)fields->value[FIELD_FAMILY];
	if (fields->malformed || (seen->family != FAMILY_IPV4 && seen->family != FAMILY_IPV6) || !fields->transport)
		return;
	seen->proto = (unsigned)fields->value[FIELD_PROTO];
	seen->src = fields->value[seen->family == FAMILY_IPV4 ? FIELD_IP_SRC : FIELD_IPV6_SRC];
	seen->dst = fields->value[seen->family == FAMILY_IPV4 ? FIELD_IP_DST : FIELD_IPV6_DST];
	seen->src_port = (uint32_t)fields->value[FIELD_SRC_PORT];
	seen->dst_port = (uint32_t)fields->value[FIELD_DST_PORT];
	seen->transport = fields->transport;
	seen->length = fields->transport_length;
	seen->cut = fields->value[FIELD_FRAGMENT] == FRAGMENT_FIRST;
	seen->request = true;
	seen->tracked = is_error(seen) || read_transport(seen);
}

/* --- finding ---------------------------------------------------------------------------------------------------- */

/* From [0] to [1], or back? -1: another connection. */
static int side_of(const struct model_flow *flow, const struct seen *seen)
{
	const struct end *ends = flow->ends;
	bool there, back;

	if (flow->family != seen->family || flow->proto != seen->proto || flow->kind != seen->kind)
		return -1;
	there = ends[0].address == seen->src && ends[0].port == seen->src_port && ends[1].address == seen->dst &&
		ends[1].port == seen->dst_port;
	back = ends[1].address == seen->src && ends[1].port == seen->src_port && ends[0].address == seen->dst &&
	       ends[0].port == seen->dst_port;
	if (seen->kind)
		return seen->request ? (there ? 0 : -1) : (back ? 1 : -1);
	return there ? 0 : back ? 1 : -1;
}

static struct model_flow *find(const struct model_state *state, const struct seen *seen, int *ret_side)
{
	for (struct model_flow *flow = state->flows; flow; flow = flow->next) {
		int side = side_of(flow, seen);

		if (side < 0 || flow->expires_ns <= state->now_ns)
			continue;
		*ret_side = side;
		return flow;
	}
	return NULL;
}

/* --- TCP -------------------------------------------------------------------------------------------------------- */

static uint32_t offered(const struct model_flow *flow, const struct end *from, const struct seen *seen)
{
	bool scaled = flow->ends[0].offers_scale && flow->ends[1].offers_scale && !(seen->flags & SYN);
	uint32_t window = scaled ? seen->window << from->scale : seen->window;

	return window ? window : 1;
}

static enum packet_flow look_syn(const struct model_flow *flow, int side, const struct seen *seen,
				 struct change *change)
{
	const struct end *from = &flow->ends[side];
	bool repeated = from->heard && from->first == seen->seq;

	if (flow->over || (flow->ends[0].finished && flow->ends[1].finished))
		change->kind = BEGIN;
	else if (repeated)
		change->kind = flow->answered ? NOTHING : ALSO_OPEN;
	else if (flow->answered)
		change->kind = ASK_AGAIN;
	else
		change->kind = from->heard ? BEGIN : ALSO_OPEN;
	return FLOW_NEW;
}

/* Acknowledges the SYN of `to`, and at most what it sent. */
static bool answers_syn(const struct end *to, uint32_t ack)
{
	return to->heard && ahead(ack, to->first) > 0 && ahead(ack, to->sent) <= 0;
}

static enum packet_flow look_syn_ack(const struct model_flow *flow, int side, const struct seen *seen,
				     struct change *change)
{
	const struct end *from = &flow->ends[side], *to = &flow->ends[!side];

	if (flow->asked_again[!side] && seen->ack == flow->again) {
		change->kind = BEGIN_AGAIN;
		return FLOW_ESTABLISHED;
	}
	if (from->heard && from->first != seen->seq)
		return FLOW_INVALID;
	if (!answers_syn(to, seen->ack))
		return FLOW_INVALID;
	if (!flow->answered)
		change->kind = ANSWER;
	return FLOW_ESTABLISHED;
}

/* A reset while only the one who began was heard. */
static enum packet_flow look_early_rst(const struct model_flow *flow, int side, const struct seen *seen,
				       struct change *change)
{
	if (flow->ends[side].heard) {
		change->closes = seen->seq == flow->ends[side].sent;
		change->kind = change->closes ? LIVE : NOTHING;
		return FLOW_NEW;
	}
	if (!(seen->flags & ACK) || !answers_syn(&flow->ends[!side], seen->ack))
		return FLOW_INVALID;
	change->closes = true;
	change->kind = LIVE;
	return FLOW_ESTABLISHED;
}

static enum packet_flow look_rst(const struct model_flow *flow, int side, const struct seen *seen,
				 struct change *change)
{
	const struct end *from = &flow->ends[side], *to = &flow->ends[!side];

	if (flow->asked_again[!side] && seen->flags & ACK && seen->ack == flow->again)
		return FLOW_ESTABLISHED; /* that SYN is refused; whoever sent it */
	if (!flow->answered)
		return look_early_rst(flow, side, seen, change);
	if (!from->heard || !to->heard)
		return FLOW_INVALID;
	if (seen->seq == to->acked || seen->seq == from->sent) {
		change->closes = true;
		change->kind = LIVE;
		return FLOW_ESTABLISHED;
	}
	return ahead(seen->seq, to->acked) < 0 || ahead(seen->seq, to->limit) > 0 ? FLOW_INVALID : FLOW_ESTABLISHED;
}

static bool in_window(const struct end *from, const struct end *to, const struct seen *seen)
{
	uint32_t late = from->window > 66000 ? from->window : 66000;

	return ahead(seen->seq, to->limit) <= 0 &&                     /* not beyond what it may send */
	       ahead(seen->end, from->sent - to->window - 1) >= 0 &&   /* not older than a window */
	       ahead(seen->ack, to->sent) <= 0 &&                      /* nothing that was not sent */
	       ahead(seen->ack, to->sent - late - 1) >= 0;             /* not long ago */
}

static enum packet_flow look_ack(const struct model_flow *flow, int side, const struct seen *seen,
				 struct change *change)
{
	const struct end *from = &flow->ends[side], *to = &flow->ends[!side];

	if (!flow->answered)
		return from->heard || seen->end != seen->seq ? FLOW_INVALID : FLOW_ESTABLISHED;
	if (!from->heard || !to->heard || !in_window(from, to, seen))
		return FLOW_INVALID;
	change->kind = LIVE;
	change->ends = seen->flags & FIN;
	change->assures = side == 0 && ahead(seen->ack, to->first) > 0;
	return FLOW_ESTABLISHED;
}

static enum packet_flow look_tcp(const struct model_flow *flow, int side, const struct seen *seen,
				 struct change *change)
{
	unsigned flags = seen->flags & (FIN | SYN | RST | ACK);
	bool urgent = seen->flags & URG;

	if (flags != SYN && flags != (SYN | ACK) && flags != RST && flags != (RST | ACK) && flags != (FIN | ACK) &&
	    flags != ACK)
		return FLOW_INVALID;
	if (urgent && (flags & RST || flags == (SYN | ACK)))
		return FLOW_INVALID;
	if (!flow && flags != SYN)
		return FLOW_INVALID;
	if (!flow) {
		change->kind = BEGIN;
		return FLOW_NEW;
	}
	if (flags == SYN)
		return look_syn(flow, side, seen, change);
	if (flags == (SYN | ACK))
		return look_syn_ack(flow, side, seen, change);
	return flags & RST ? look_rst(flow, side, seen, change) : look_ack(flow, side, seen, change);
}

/* --- SCTP (RFC 9260 3.2, 8.5) ----------------------------------------------------------------------------------- */

enum { INIT = 1, INIT_ACK = 2, ABORT = 6, SHUTDOWN = 7, SHUTDOWN_ACK = 8, COOKIE_ACK = 11, SHUTDOWN_COMPLETE = 14 };

static enum packet_flow look_sctp(const struct model_flow *flow, int side, const struct seen *seen,
				  struct change *change)
{
	bool may_reflect = seen->flags == ABORT || seen->flags == SHUTDOWN_COMPLETE, right;

	if (seen->flags == INIT) {
		if (seen->tag)
			return FLOW_INVALID;
		change->kind = !flow || flow->over || !flow->answered ? BEGIN : NOTHING;
		return FLOW_NEW;
	}
	if (!flow)
		return FLOW_INVALID;
	right = flow->ends[!side].heard && flow->ends[!side].first == seen->tag;
	if (may_reflect && seen->transport[13] & 1 && flow->ends[side].heard && flow->ends[side].first == seen->tag)
		right = true;
	if (!right)
		return FLOW_INVALID;
	if (seen->flags == INIT_ACK) {
		if (side == 0 || flow->assured)
			return FLOW_INVALID;
		change->kind = ANSWER;
		return FLOW_ESTABLISHED;
	}
	if (!flow->answered && (side == 0 || seen->flags != ABORT))
		return FLOW_INVALID;
	change->kind = LIVE;
	change->assures = seen->flags == COOKIE_ACK;
	change->ends = seen->flags == SHUTDOWN || seen->flags == SHUTDOWN_ACK;
	change->closes = may_reflect;
	return FLOW_ESTABLISHED;
}

/* --- the others ------------------------------------------------------------------------------------------------- */

static enum packet_flow look_plain(const struct model_state *state, const struct model_flow *flow, int side,
				   const struct seen *seen, struct change *change)
{
	if (!flow) {
		change->kind = seen->request ? BEGIN : NOTHING;
		return seen->request ? FLOW_NEW : FLOW_INVALID;
	}
	change->kind = side ? ANSWER : LIVE;
	change->assures = seen->proto == UDP && flow->answered && state->now_ns >= flow->created_ns + 2000000000;
	return side || flow->answered ? FLOW_ESTABLISHED : FLOW_NEW;
}

/* --- ICMP errors ------------------------------------------------------------------------------------------------ */

/* What stands behind the quoted IP header, IPv6 with at most four extension headers; NULL: something else. */
static const unsigned char *quoted_transport6(const unsigned char *at, const unsigned char *end, unsigned *proto)
{
	*proto = at[6];
	at += 40;
	for (int i = 0; i < 4; i++) {
		if (*proto != 0 && *proto != 43 && *proto != 44 && *proto != 51 && *proto != 60 && *proto != 135)
			break;
		if (end - at < 4 || (*proto == 44 && get16(at + 2) >> 3))
			return NULL;
		unsigned size = *proto == 44 ? 8 : *proto == 51 ? (at[1] + 2u) * 4 : (at[1] + 1u) * 8;

		*proto = at[0];
		if ((size_t)(end - at) < size)
			return NULL;
		at += size;
	}
	return at;
}

static const unsigned char *quoted_transport(const struct seen *error, struct seen *quoted)
{
	const unsigned char *ip = error->transport + 8, *end = error->transport + error->length;
	size_t left = error->length < 8 ? 0 : error->length - 8;

	if (error->family == FAMILY_IPV4) {
		if (left < 20 || ip[0] >> 4 != 4 || (ip[0] & 15) < 5 || get16(ip + 6) & 0x1fff)
			return NULL;
		quoted->src = get32(ip + 12);
		quoted->dst = get32(ip + 16);
		quoted->proto = ip[9];
		return left < (ip[0] & 15) * 4u ? NULL : ip + (ip[0] & 15) * 4;
	}
	if (left < 40 || ip[0] >> 4 != 6)
		return NULL;
	for (int i = 0; i < 16; i++) {
		quoted->src = quoted->src << 8 | ip[8 + i];
		quoted->dst = quoted->dst << 8 | ip[24 + i];
	}
	return quoted_transport6(ip, end, &quoted->proto);
}

static bool read_quoted(const struct seen *error, struct seen *quoted)
{
	const unsigned char *at;
	unsigned proto;

	memset(quoted, 0, sizeof *quoted);
	quoted->family = error->family;
	at = quoted_transport(error, quoted);
	if (!at || error->transport + error->length - at < 8 || quoted->src != error->dst)
		return false;
	proto = quoted->proto;
	if (proto == TCP || proto == UDP || proto == UDP_LITE || proto == SCTP) {
		quoted->src_port = get16(at);
		quoted->dst_port = get16(at + 2);
		quoted->seq = get32(at + 4);
	} else if (proto == ICMP || proto == ICMPV6) {
		quoted->kind = icmp_kind(proto, at[0], &quoted->request);
		quoted->src_port = quoted->dst_port = get16(at + 4);
		return quoted->kind;
	}
	return true;
}

static enum packet_flow look_error(const struct model_state *state, const struct seen *error)
{
	const struct model_flow *flow;
	const struct end *from, *to;
	struct seen quoted;
	uint32_t window;
	int side;

	if (!read_quoted(error, &quoted))
		return FLOW_INVALID;
	flow = find(state, &quoted, &side);
	if (!flow)
		return FLOW_INVALID;
	from = &flow->ends[side];
	to = &flow->ends[!side];
	if (flow->proto != TCP || !from->heard)
		return FLOW_RELATED;
	window = to->window > 0xffff ? to->window : 0xffff;
	return ahead(quoted.seq, from->sent) <= 0 && ahead(quoted.seq, from->sent - window - 1) >= 0 ? FLOW_RELATED :
													FLOW_INVALID;
}

/* --- looking ---------------------------------------------------------------------------------------------------- */

static enum packet_flow look(const struct model_state *state, const struct seen *seen, struct model_flow **ret_flow,
			     int *ret_side, struct change *change)
{
	enum packet_flow result;

	*ret_side = 0;
	*ret_flow = NULL;
	memset(change, 0, sizeof *change);
	if (!seen->tracked)
		return FLOW_UNTRACKED;
	if (is_error(seen))
		return look_error(state, seen);
	*ret_flow = find(state, seen, ret_side);
	if (seen->proto == TCP)
		result = look_tcp(*ret_flow, *ret_side, seen, change);
	else if (seen->proto == SCTP)
		result = look_sctp(*ret_flow, *ret_side, seen, change);
	else
		result = look_plain(state, *ret_flow, *ret_side, seen, change);
	if (result == FLOW_INVALID)
		change->kind = NOTHING;
	return result;
}

bool model_tracks(const struct ruleset *ruleset, enum hook hook)
{
	return field_table[FIELD_FLOW].hooks & HOOK_BIT(hook) && flows_used(ruleset);
}

enum packet_flow model_flow(const struct model_state *state, const struct model_fields *fields)
{
	struct model_flow *flow;
	struct change change;
	struct seen seen;
	int side;

	read_packet(fields, &seen);
	return look(state, &seen, &flow, &side, &change);
}

/* --- accepting -------------------------------------------------------------------------------------------------- */

static enum flow_age age_of(const struct model_flow *flow)
{
	bool finishing = flow->ends[0].finished || flow->ends[1].finished;

	switch (flow->proto) {
	case TCP:
		return flow->over ? AGE_TCP_CLOSED : finishing ? AGE_TCP_CLOSING :
		       flow->assured ? AGE_TCP_ESTABLISHED : AGE_TCP_OPENING;
	case UDP:
		return flow->assured ? AGE_UDP_ESTABLISHED : AGE_UDP_NEW;
	case SCTP:
		return flow->over || finishing ? AGE_SCTP_CLOSING :
		       flow->assured ? AGE_SCTP_ESTABLISHED : AGE_SCTP_OPENING;
	case ICMP:
	case ICMPV6:
		return AGE_ICMP;
	default:
		return AGE_OTHER;
	}
}

static void renew(const struct model_state *state, const struct ruleset *ruleset, struct model_flow *flow)
{
	flow->expires_ns = state->now_ns + flows_seconds(&ruleset->flows, age_of(flow)) * 1000000000ull;
}

/* The SYN that was heard already tells nothing new but how large its window may be. */
static void hear_syn(struct end *end, const struct seen *seen)
{
	if (end->heard) {
		end->sent = ahead(seen->end, end->sent) > 0 ? seen->end : end->sent;
		end->window = seen->window > end->window ? seen->window : end->window;
		return;
	}
	end->heard = true;
	end->first = seen->seq;
	end->sent = seen->end;
	end->window = seen->window ? seen->window : 1;
	end->offers_scale = seen->scale >= 0;
	end->scale = seen->scale < 0 ? 0 : seen->scale > 14 ? 14 : (uint8_t)seen->scale;
}

static void hear_answer(struct end *from, struct end *to, const struct seen *seen)
{
	from->acked = seen->ack;
	from->limit = seen->ack + (seen->window ? seen->window : 1);
	to->acked = seen->seq + 1;
	to->limit = seen->seq + 1 + to->window;
}

static void forget(struct model_state *state, const struct seen *seen)
{
	struct model_flow **at = &state->flows;

	while (*at)
		if (side_of(*at, seen) >= 0)
			*at = (*at)->next;
		else
			at = &(*at)->next;
}

static struct model_flow *begin(struct model_state *state, const struct seen *seen)
{
	struct model_flow *flow = ARENA_NEW(state->arena, struct model_flow);

	forget(state, seen);
	flow->next = state->flows;
	state->flows = flow;
	flow->family = seen->family;
	flow->proto = seen->proto;
	flow->kind = seen->kind;
	flow->ends[0].address = seen->src;
	flow->ends[0].port = seen->src_port;
	flow->ends[1].address = seen->dst;
	flow->ends[1].port = seen->dst_port;
	flow->created_ns = state->now_ns;
	if (seen->proto == TCP)
		hear_syn(&flow->ends[0], seen);
	flow->ends[0].heard |= seen->proto == SCTP;
	if (seen->proto == SCTP)
		flow->ends[0].first = seen->end;
	return flow;
}

/* The one who answers stands behind: the other began. Of whose SYN little is known any more. */
static struct model_flow *begin_again(struct model_state *state, const struct seen *seen)
{
	struct model_flow *flow = begin(state, seen);
	struct end answering = flow->ends[0], asking = flow->ends[1];

	asking.heard = true;
	asking.first = seen->ack - 1;
	asking.sent = seen->ack;
	asking.window = 0xffff;
	asking.offers_scale = true;
	asking.scale = 14;
	hear_answer(&answering, &asking, seen);
	flow->ends[0] = asking;
	flow->ends[1] = answering;
	flow->answered = true;
	return flow;
}

static void answer(struct model_flow *flow, int side, const struct seen *seen)
{
	struct end *from = &flow->ends[side];

	flow->answered = true;
	if (seen->proto == TCP) {
		hear_syn(from, seen);
		hear_answer(from, &flow->ends[!side], seen);
	} else if (seen->proto == SCTP) {
		from->heard = true;
		from->first = seen->end;
	}
}

/* Fragments that are not seen may bring the rest of 64 KiB, if the other end takes it. */
static uint32_t brought_up_to(const struct end *to, const struct seen *seen)
{
	uint32_t all = seen->seq + 65535;

	if (!seen->cut)
		return seen->end;
	all = ahead(to->limit, all) < 0 ? to->limit : all;
	return ahead(seen->end, all) > 0 ? seen->end : all;
}

static void hear_segment(struct model_flow *flow, int side, const struct seen *seen)
{
	struct end *from = &flow->ends[side];
	uint32_t window = offered(flow, from, seen), end = brought_up_to(&flow->ends[!side], seen);

	if (seen->proto != TCP || seen->flags & (SYN | RST))
		return;
	if (ahead(end, from->sent) > 0)
		from->sent = end;
	if (window > from->window)
		from->window = window;
	if (ahead(seen->ack, from->acked) > 0)
		from->acked = seen->ack;
	if (ahead(seen->ack + window, from->limit) > 0)
		from->limit = seen->ack + window;
}

static void bring(struct model_state *state, const struct ruleset *ruleset, struct model_flow *flow, int side,
		  const struct seen *seen, const struct change *change)
{
	switch (change->kind) {
	case NOTHING:
		return;
	case BEGIN:
		flow = begin(state, seen);
		break;
	case BEGIN_AGAIN:
		flow = begin_again(state, seen);
		break;
	case ASK_AGAIN:
		flow->asked_again[side] = true;
		flow->again = seen->end;
		return;
	case ALSO_OPEN:
		hear_syn(&flow->ends[side], seen);
		break;
	case ANSWER:
		answer(flow, side, seen);
		break;
	case LIVE:
		hear_segment(flow, side, seen);
		break;
	}
	flow->assured |= change->assures;
	flow->ends[side].finished |= change->ends;
	flow->over |= change->closes;
	flow->answered |= change->closes && (flow->proto == SCTP || !flow->ends[side].heard);
	renew(state, ruleset, flow);
}

void model_flow_accept(struct model_state *state, const struct ruleset *ruleset, const struct model_fields *fields)
{
	struct model_flow *flow;
	struct change change;
	struct seen seen;
	int side;

	read_packet(fields, &seen);
	look(state, &seen, &flow, &side, &change);
	bring(state, ruleset, flow, side, &seen, &change);
}

size_t model_flow_count(const struct model_state *state)
{
	size_t count = 0;

	for (const struct model_flow *flow = state->flows; flow; flow = flow->next)
		count += flow->expires_ns > state->now_ns;
	return count;
}
