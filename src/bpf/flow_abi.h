/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections as the data planes remember them, for user space too: keys, entries, timeouts. Host byte order. What the
 * states mean and which checks they pass: docs/flows.md.
 */
#ifndef WEIR_BPF_FLOW_ABI_H
#define WEIR_BPF_FLOW_ABI_H

#include <linux/types.h>

/* Of the two ends the one with the lesser address (then port) is `a`, so that both directions have one key. */
struct flow_key {
	__u64 a_hi; /* IPv4: as struct packet's src_hi, the rest zero */
	__u64 a_lo;
	__u64 b_hi;
	__u64 b_lo;
	__u16 a_port; /* ICMP: the identifier; other protocols without ports: 0 */
	__u16 b_port; /* ICMP: the request's type, times 2, plus 1 if `b` asks */
	__u8 family;  /* enum packet_family */
	__u8 proto;
	__u16 zero;
};

enum { FLOW_A = 0, FLOW_B = 1 };

/*
 * An entry. Only atomic operations and stores of whole words change it, for both directions may be on different CPUs;
 * flags are only ever added. SCTP uses of the sequence numbers `start` alone: the verification tag that the side chose.
 */
struct flow {
	__u64 sent[2];      /* TCP, by side: low half: end of what it sent; high: the largest window it offered */
	__u64 edge[2];      /* TCP, by side: low half: the most it acknowledged; high: up to where it lets the other send */
	__u32 start[2];     /* TCP, by side: its first sequence number */
	__u64 expires_ns;   /* as plane_now() */
	__u64 created_ns;
	__u32 flags;        /* FLOW_* below */
	__u32 again;        /* TCP: end of a SYN that came while the connection was open, see FLOW_AGAIN */
};

enum {
	FLOW_B_FIRST = 1 << 0,     /* side `b` sent the first packet */
	FLOW_REPLIED = 1 << 1,     /* the other side answered */
	FLOW_ASSURED = 1 << 2,     /* TCP, SCTP: the handshake is complete; UDP: a conversation goes on */
	FLOW_CLOSED = 1 << 3,      /* reset, aborted, shut down */
	FLOW_SEEDED = 1 << 4,      /* from a socket that was open before the policy came */
	FLOW_KNOWN = 1 << 5,       /* by side: `sent` and `start` hold */
	FLOW_FIN = 1 << 7,         /* by side */
	FLOW_AGAIN = 1 << 9,       /* by side: it sent `again` */
	FLOW_SCALES = 1 << 11,     /* by side: it offered window scaling */
	FLOW_SCALE_SHIFT = 16,     /* by side, four bits: by how much */
};
#define FLOW_OF(side, flag) ((__u32)(flag) << (side))
#define FLOW_FIRST(flags) ((flags) & FLOW_B_FIRST ? FLOW_B : FLOW_A)

enum { FLOW_SCALE_MAX = 14 }; /* RFC 7323 2.3 */

enum flow_timeout {
	FLOW_TCP_OPENING,
	FLOW_TCP_ESTABLISHED,
	FLOW_TCP_CLOSING,
	FLOW_TCP_CLOSED,
	FLOW_UDP_NEW,
	FLOW_UDP_ESTABLISHED,
	FLOW_ICMP,
	FLOW_SCTP_OPENING,
	FLOW_SCTP_ESTABLISHED,
	FLOW_SCTP_CLOSING,
	FLOW_OTHER,
	FLOW_TIMEOUT_COUNT,
};

/* Set before load (`const volatile struct flow_config flow_config`, map FLOW_CONFIG). */
struct flow_config {
	__u64 timeout_ns[FLOW_TIMEOUT_COUNT];
	__u8 track; /* the program sees and never judges */
	__u8 reserved[7];
};
#define FLOW_CONFIG ".rodata.flow"

/* A UDP conversation is one that still goes on then. */
#define FLOW_UDP_ASSURED_AFTER_NS 2000000000ull

/* Map `state_flow_counts`, per CPU. */
struct flow_counts {
	__u64 created;
	__u64 assured;
	__u64 refused; /* no room could be made, or somebody else was faster */
	__u64 invalid; /* packets */
};

/*
 * State maps:
 *   state_flows        LRU hash, flow_key to flow: assured ones
 *   state_flows_fresh  the same: the others, so that a flood of them pushes out none of the first
 *   state_flow_counts  per-CPU array, 1 x struct flow_counts
 */
enum { FLOW_LAYOUT = 1 };

/* The names that maps of connections are pinned under. */
#define FLOWS_STATE "flows"
#define FLOWS_FRESH_STATE "flows_fresh"
#define FLOW_COUNTS_STATE "flow_counts"

_Static_assert(sizeof(struct flow_key) == 40, "ABI");
_Static_assert(sizeof(struct flow) == 64, "ABI");
_Static_assert(sizeof(struct flow_config) == 8 * FLOW_TIMEOUT_COUNT + 8, "ABI");

#endif
