/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a data plane tells the classifier about one packet. Shared by BPF C and user space.
 *
 * All values are in host byte order; no member is a pointer into the packet. A member whose comment names an
 * "absent" value holds that value when the packet (or the hook) has no such field; no test of a rule ever
 * accepts it, so a test of an absent field is false without a test of presence. The others are guarded by
 * `family` (see the field table in packet/field.c). A data plane zeroes the whole structure, then sets every
 * member that has an absent value, and need not fill members that its policy never looks at.
 */
#ifndef WEIR_PACKET_PACKET_H
#define WEIR_PACKET_PACKET_H

#include <linux/types.h>

/* struct packet's `family`. */
enum packet_family {
	FAMILY_OTHER = 0,  /* not IP; judged by rules that name `arp` or `eth.type`, then by the default */
	FAMILY_EXEMPT = 1, /* ARP, EAPOL (0x888e), LLDP (0x88cc), STP: as above, but passes instead of the default */
	FAMILY_IPV4 = 4,
	FAMILY_IPV6 = 6,
};

/* struct packet's `fragment`. An IPv6 atomic fragment (offset 0, no more) is FRAGMENT_NONE. */
enum packet_fragment { FRAGMENT_NONE = 0, FRAGMENT_FIRST = 1, FRAGMENT_LATER = 2 };

/* struct packet's `flow`: the state of the connection that the packet belongs to (docs/flows.md). */
enum packet_flow {
	FLOW_UNTRACKED = 0, /* absent: not IP, a later fragment, ICMP of no connection; or no rule asks */
	FLOW_NEW = 1,
	FLOW_ESTABLISHED = 2,
	FLOW_RELATED = 3,
	FLOW_INVALID = 4,
};

#define ABSENT_PORT 0x10000u
#define ABSENT_PROTO 256u
#define ABSENT_ICMP 256u
#define ABSENT_FLAGS 0xffffu
#define ABSENT_VLAN 0xffffu
#define ABSENT_MAC (~0ull)
#define ABSENT_OWNER 0xffffffffu
#define ABSENT_CGROUP 0ull
#define ABSENT_IFACE 0u

/* struct packet's `program`: a place in the policy's table of programs from PROGRAM_FIRST on, or one of these. */
#define ABSENT_PROGRAM 0u
#define PROGRAM_OTHER 1u /* known, and none that the policy names */
#define PROGRAM_FIRST 2u
enum { PROGRAMS_MAX = 16 };

/*
 * struct packet's `tree`, for each root of the policy (`program in tree of`): whether the owner descends from a process that
 * ran it. Neither bit: that is not known.
 */
enum { TREES_MAX = 8 };
#define TREE_IN(root) (1u << (root))
#define TREE_OUT(root) (1u << TREES_MAX << (root))

enum { PACKET_CGROUPS = 3 }; /* ancestor levels of the owner's cgroup that one policy may ask about */

/* struct packet's `whole`: a throttle is about to drop packets like this one. */
#define PACKET_CONGESTED 0x80u

struct packet {
	/* Addresses: IPv6 as two halves, most significant first; IPv4 in src4/dst4, the rest of the 16 bytes zero. */
	union { __u64 src_hi; __u32 src4; };
	__u64 src_lo;
	union { __u64 dst_hi; __u32 dst4; };
	__u64 dst_lo;
	__u64 eth_src; /* 48 bits, first octet most significant; absent: ABSENT_MAC */
	__u64 eth_dst;
	__u64 cgroup[PACKET_CGROUPS]; /* id of the owner's ancestor at each asked level; absent: 0 */
	__u32 src_port; /* TCP, UDP, UDP-Lite, SCTP, not in later fragments; absent: ABSENT_PORT */
	__u32 dst_port;
	__u32 length;    /* bytes from the IP header on: IPv4 total length, IPv6 40 + payload; IP only */
	__u32 in_iface;  /* interface index; absent: 0 */
	__u32 out_iface;
	__u32 mark;
	__u32 user;  /* uid of the local socket's owner; absent: ABSENT_OWNER */
	__u32 group; /* gid; absent: ABSENT_OWNER */
	__u16 eth_type;  /* behind up to two VLAN tags; an 802.3 length is given as it is; 0 at hooks without frames */
	__u16 vlan;      /* outermost VLAN id, from the frame or the skb's metadata; absent: ABSENT_VLAN */
	__u16 proto;     /* transport protocol behind IPv6 extension headers; absent: ABSENT_PROTO */
	__u16 tcp_flags; /* the flags octet, FIN 1 ... CWR 128; absent: ABSENT_FLAGS */
	__u16 icmp_type; /* ICMP in IPv4 or ICMPv6 in IPv6; absent: ABSENT_ICMP */
	__u16 icmp_code;
	__u8 family;   /* enum packet_family */
	__u8 ttl;      /* IPv4 TTL, IPv6 hop limit; IP only */
	__u8 dscp;     /* IP only */
	__u8 ecn;      /* IP only */
	__u8 fragment; /* enum packet_fragment; IP only */
	__u8 whole;    /* the data plane's own notes. Bit 0: the linear part ends with the IP packet; PACKET_CONGESTED */
	__u8 flow;     /* enum packet_flow */
	__u8 knocked;  /* bit i: knock i of the policy is open for this source; 0 of what is not IP */
	__u16 program; /* the executable of the local socket's owner; absent: ABSENT_PROGRAM */
	__u16 tree;    /* TREE_IN(), TREE_OUT(): from what that descends; 0: not known */
	__u32 tuned;  /* bit i: comparison i of the policy with a tunable holds; 0 where its field is not there */
	__u32 resume; /* where classify() goes on after STEP_RESUME (bpf/plane_abi.h); first 0 */
	__u32 transport; /* the data plane's own notes, if a rule asks for `flow`: offset of the transport header, */
	__u32 end;       /* and of the IP packet's end */
};

_Static_assert(sizeof(struct packet) == 144, "struct packet is an ABI");

#endif
