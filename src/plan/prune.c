/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pruning: edges that no packet takes are dropped. In: a diagram; out: one that answers the same for every packet,
 * and perhaps differently for what is none. Used relations, which struct packet's contract guarantees:
 *
 * - family is 0, 1, 4 or 6; proto is absent exactly if it is 0 or 1, and then nothing of the transport is there;
 * - ports are present exactly with proto 6, 17, 132 and 136, not in later fragments;
 * - tcp.flags are present exactly with proto 6, icmp.* with proto 1 in IPv4 and 58 in IPv6, not in later fragments;
 * - where frames are seen, eth.type is 0x0800 exactly in family 4 and 0x86dd exactly in family 6; family 1 has
 *   0x0806, 0x888e, 0x88cc or less than 1536, family 0 none of the five.
 */
#include "plan/work.h"

/* What is known of a packet on the way to a node: which values are left. */
enum {
	KNOW_OTHER = 1 << 0, /* family */
	KNOW_EXEMPT = 1 << 1,
	KNOW_IPV4 = 1 << 2,
	KNOW_IPV6 = 1 << 3,
	KNOW_NO_PROTO = 1 << 4, /* proto */
	KNOW_TCP = 1 << 5,
	KNOW_PORTS = 1 << 6, /* UDP, SCTP, UDP-Lite */
	KNOW_ICMP4 = 1 << 7, /* the number 1, in either family */
	KNOW_ICMP6 = 1 << 8,
	KNOW_PLAIN = 1 << 9, /* any other */
	KNOW_START = 1 << 10, /* fragment: not one, or the first */
	KNOW_LATER = 1 << 11,

	KNOW_IP = KNOW_IPV4 | KNOW_IPV6,
	KNOW_FAMILIES = KNOW_OTHER | KNOW_EXEMPT | KNOW_IP,
	KNOW_HAS_PORTS = KNOW_TCP | KNOW_PORTS,
	KNOW_PROTOS = KNOW_NO_PROTO | KNOW_HAS_PORTS | KNOW_ICMP4 | KNOW_ICMP6 | KNOW_PLAIN,
	KNOW_FRAGMENTS = KNOW_START | KNOW_LATER,
	KNOW_NOTHING = KNOW_FAMILIES | KNOW_PROTOS | KNOW_FRAGMENTS,
};

static const struct {
	uint16_t value;
	uint32_t know;
} protos[] = {
	{ 1, KNOW_ICMP4 },  { 6, KNOW_TCP },	 { 17, KNOW_PORTS },
	{ 58, KNOW_ICMP6 }, { 132, KNOW_PORTS }, { 136, KNOW_PORTS },
};
enum { PROTO_COUNT = sizeof protos / sizeof protos[0] };

static bool has(struct interval in, uint64_t value)
{
	return in.lo <= value && value <= in.hi;
}

static uint32_t family_know(struct interval in)
{
	return (has(in, FAMILY_OTHER) ? KNOW_OTHER : 0) | (has(in, FAMILY_EXEMPT) ? KNOW_EXEMPT : 0) |
	       (has(in, FAMILY_IPV4) ? KNOW_IPV4 : 0) | (has(in, FAMILY_IPV6) ? KNOW_IPV6 : 0);
}

static uint32_t proto_know(struct interval in)
{
	uint32_t know = has(in, ABSENT_PROTO) ? KNOW_NO_PROTO : 0;
	uint64_t last = in.hi < 255 ? in.hi : 255;
	uint64_t named = 0;

	for (size_t i = 0; i < PROTO_COUNT; i++)
		if (has(in, protos[i].value)) {
			know |= protos[i].know;
			named++;
		}
	if (in.lo <= last && last - in.lo + 1 > named)
		know |= KNOW_PLAIN;
	return know;
}

static uint32_t fragment_know(struct interval in)
{
	return (in.lo <= FRAGMENT_FIRST ? KNOW_START : 0) | (has(in, FRAGMENT_LATER) ? KNOW_LATER : 0);
}

/* Draws what follows from what is known; 0 in any of the three parts: impossible. */
static uint32_t conclude(uint32_t know)
{
	if (!(know & KNOW_IP))
		know &= ~(uint32_t)((KNOW_PROTOS & ~KNOW_NO_PROTO) | KNOW_LATER);
	if (!(know & (KNOW_OTHER | KNOW_EXEMPT)))
		know &= ~(uint32_t)KNOW_NO_PROTO;
	if (!(know & (KNOW_PROTOS & ~KNOW_NO_PROTO)))
		know &= ~(uint32_t)KNOW_IP;
	if (!(know & KNOW_NO_PROTO))
		know &= ~(uint32_t)(KNOW_OTHER | KNOW_EXEMPT);
	return know;
}

static bool possible(uint32_t know)
{
	return (know & KNOW_FAMILIES) && (know & KNOW_PROTOS) && (know & KNOW_FRAGMENTS);
}

/* The protocols with which a transport field is there, given the families. */
static uint32_t carriers(enum field field, uint32_t know)
{
	switch (field) {
	case FIELD_DST_PORT:
	case FIELD_SRC_PORT:
		return KNOW_HAS_PORTS;
	case FIELD_TCP_FLAGS:
		return KNOW_TCP;
	default:
		return (know & KNOW_IPV4 ? KNOW_ICMP4 : 0) | (know & KNOW_IPV6 ? KNOW_ICMP6 : 0);
	}
}

/* The protocols with which it is there for certain, fragments apart. */
static uint32_t certain_carriers(enum field field, uint32_t know)
{
	bool icmp = field == FIELD_ICMP_TYPE || field == FIELD_ICMP_CODE;

	if (!icmp)
		return carriers(field, know);
	if ((know & KNOW_FAMILIES) == KNOW_IPV4)
		return KNOW_ICMP4;
	return (know & KNOW_FAMILIES) == KNOW_IPV6 ? KNOW_ICMP6 : 0;
}

/* What is known once a transport field's value is in the interval. */
static uint32_t transport_know(const struct dim *dim, struct interval in, uint32_t know)
{
	const struct field_info *info = &field_table[dim->field];
	bool absent = has(in, info->absent);
	bool present = in.lo <= (uint64_t)u128_max(info->bits);

	if (present && absent)
		return know;
	if (present)
		return know & ~(uint32_t)(KNOW_LATER | (KNOW_PROTOS & ~carriers(dim->field, know)));
	if (!absent)
		return 0;
	return know & KNOW_LATER ? know : know & ~certain_carriers(dim->field, know);
}

/* Types that tell the family; of the exempt ones, STP is told by its address behind an 802.3 length. */
static const struct {
	uint16_t value;
	uint32_t know;
} eth_types[] = {
	{ 0x0800, KNOW_IPV4 },	 { 0x86dd, KNOW_IPV6 },	  { 0x0806, KNOW_EXEMPT },
	{ 0x888e, KNOW_EXEMPT }, { 0x88cc, KNOW_EXEMPT },
};
enum { ETH_TYPE_COUNT = sizeof eth_types / sizeof eth_types[0], ETH_LENGTHS = 1536 };

static uint32_t eth_type_know(struct interval in)
{
	uint32_t know = in.lo < ETH_LENGTHS ? KNOW_EXEMPT : 0;
	uint64_t named = 0;

	for (size_t i = 0; i < ETH_TYPE_COUNT; i++)
		if (has(in, eth_types[i].value)) {
			know |= eth_types[i].know;
			named++;
		}
	return in.hi - in.lo + 1 > named ? know | KNOW_OTHER : know;
}

/* What is known on the edge; 0: no packet takes it. */
static uint32_t narrow(const struct dim *dim, struct interval in, uint32_t know)
{
	if (dim->kind != DIM_VALUE || dim->mask != ~0ull)
		return know;
	switch (dim->field) {
	case FIELD_FAMILY:
		know &= family_know(in) | (uint32_t)~KNOW_FAMILIES;
		break;
	case FIELD_PROTO:
		know &= proto_know(in) | (uint32_t)~KNOW_PROTOS;
		break;
	case FIELD_FRAGMENT:
		know &= fragment_know(in) | (uint32_t)~KNOW_FRAGMENTS;
		break;
	case FIELD_ETH_TYPE:
		know &= eth_type_know(in) | (uint32_t)~KNOW_FAMILIES;
		break;
	case FIELD_DST_PORT:
	case FIELD_SRC_PORT:
	case FIELD_TCP_FLAGS:
	case FIELD_ICMP_TYPE:
	case FIELD_ICMP_CODE:
		know = transport_know(dim, in, know);
		break;
	default:
		return know;
	}
	know = conclude(know);
	return possible(know) ? know : 0;
}

/* --- rebuilding ----------------------------------------------------------------------------------------- */

static diagram_ref prune(struct diagrams *diagrams, diagram_ref ref, uint32_t know);

/* An edge that is taken. */
struct branch {
	uint64_t last;
	uint32_t know;
	diagram_ref to; /* pruned */
};

struct branches {
	VEC(struct branch) items;
};

static void collect(struct diagrams *diagrams, const struct diagram_node *node, uint32_t know,
		    struct branches *branches)
{
	const struct dim *dim = &diagrams->dims[node->dim];
	uint64_t lo = 0;

	for (uint32_t i = 0; i < node->edge_count; i++) {
		const struct diagram_edge *edge = &node->edges[i];
		uint32_t then = narrow(dim, (struct interval){ lo, edge->last }, know);

		lo = edge->last + 1;
		if (!then)
			continue;
		VEC_PUSH(diagrams->arena, &branches->items) =
			(struct branch){ edge->last, then, prune(diagrams, edge->to, then) };
	}
}

/* Whether packets of this branch may as well go to `other`. */
static bool may_take(struct diagrams *diagrams, const struct branch *branch, diagram_ref other)
{
	return branch->to == other || prune(diagrams, other, branch->know) == branch->to;
}

/* A place where all branches may go, so that the node is not needed; or REF_UNKNOWN. */
static diagram_ref common_place(struct diagrams *diagrams, const struct branches *branches)
{
	for (size_t i = 0; i < branches->items.count; i++) {
		diagram_ref place = branches->items.items[i].to;
		size_t agree = 0;

		while (agree < branches->items.count &&
		       may_take(diagrams, &branches->items.items[agree], place))
			agree++;
		if (agree == branches->items.count)
			return place;
	}
	return REF_UNKNOWN;
}

/* Lets families share a branch with the next one up or down. */
static void join_neighbours(struct diagrams *diagrams, struct branches *branches)
{
	for (size_t i = 0; i + 1 < branches->items.count; i++) {
		struct branch *branch = &branches->items.items[i], *next = branch + 1;

		if (may_take(diagrams, branch, next->to))
			branch->to = next->to;
		else if (may_take(diagrams, next, branch->to))
			next->to = branch->to;
	}
}

/* Fields whose value decides what else can be there. */
static bool governs(const struct dim *dim)
{
	return dim->kind == DIM_VALUE &&
	       (dim->field == FIELD_FAMILY || dim->field == FIELD_PROTO || dim->field == FIELD_FRAGMENT);
}

enum { BRANCHES_MAX = 32 }; /* beyond, looking for a common place would be quadratic */

static diagram_ref rebuild(struct diagrams *diagrams, uint32_t dim, struct branches *branches)
{
	size_t base;

	if (governs(&diagrams->dims[dim]) && branches->items.count <= BRANCHES_MAX) {
		diagram_ref place = common_place(diagrams, branches);

		if (place != REF_UNKNOWN)
			return place;
		if (diagrams->dims[dim].field == FIELD_FAMILY)
			join_neighbours(diagrams, branches);
	}
	base = diagram_begin(diagrams);
	for (size_t i = 0; i < branches->items.count; i++)
		diagram_push(diagrams, base, branches->items.items[i].last, branches->items.items[i].to);
	/* Values behind the last edge do not occur. */
	diagrams->scratch.items[diagrams->scratch.count - 1].last = diagrams->dims[dim].max;
	return diagram_make(diagrams, dim, base);
}

static diagram_ref prune(struct diagrams *diagrams, diagram_ref ref, uint32_t know)
{
	struct branches branches = { 0 };
	diagram_ref result;

	if (ref & DIAGRAM_LEAF || diagrams->over)
		return ref;
	if (diagram_recall(diagrams, OP_PRUNE, ref, know, &result))
		return result;
	collect(diagrams, &diagrams->nodes.items[ref], know, &branches);
	diagram_spend(diagrams, branches.items.count / 8 + 1);
	/* Some value is possible in what is known, so there is a branch. */
	result = branches.items.count ? rebuild(diagrams, diagrams->nodes.items[ref].dim, &branches) : ref;
	if (!diagrams->over)
		diagram_remember(diagrams, OP_PRUNE, ref, know, result);
	return result;
}

diagram_ref diagram_prune(struct diagrams *diagrams, diagram_ref root)
{
	return prune(diagrams, root, KNOW_NOTHING);
}
