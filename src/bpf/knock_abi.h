/* SPDX-License-Identifier: GPL-2.0-only */
/* What the data planes and user space agree on about knocks: constants, and what is remembered of sources. */
#ifndef WEIR_BPF_KNOCK_ABI_H
#define WEIR_BPF_KNOCK_ABI_H

#include <linux/types.h>

enum { KNOCK_SLOTS = 8, KNOCK_SLOT_STEPS = 8 }; /* knocks of a policy, steps of one */
enum { KNOCK_SOURCES = 16384 }; /* that are remembered, unless the policy says otherwise */
#define STEP_OF_KNOCK(knock, step) ((knock) * KNOCK_SLOT_STEPS + (step))

struct plane_knock {
	__u64 within_ns; /* from the first step to the last */
	__u64 open_ns;   /* from the last step on */
	__u32 steps;
	__u32 extend;    /* steps count while it is open, too */
	__u64 key[2];    /* of a knock with a key: see struct knock_packet */
	__u64 skew_us;   /* most difference between a stamp and the time */
	__u32 bind;      /* only packets with KNOCK_BOUND open it */
	__u32 reserved;
};

/* Set before load (`const volatile struct plane_knocks knocks`, map MAP_KNOCKS). */
struct plane_knocks {
	__u32 count;
	__u32 keyed; /* bit i: knock i has a key */
	__u32 reserved;
	__s64 tai_ahead_ns; /* of UTC, when the policy was loaded */
	__u32 whole; /* bit i: for knock i an IPv6 source is an address, else its /64 */
	struct plane_knock items[KNOCK_SLOTS];
	__u64 nothing[KNOCK_SLOTS]; /* a new element of either map */
};

/* Keys of both maps, as in struct packet; what a source leaves out of its address is 0. */
struct knock_source {
	__u64 hi, lo;
	__u32 family; /* enum packet_family */
	__u32 reserved;
};

struct knock_open {
	__u64 until_ns[KNOCK_SLOTS]; /* on the plane's clock (CLOCK_MONOTONIC) */
};

/* How far a source is: the time of its first step in all bits but the last three, which are the step it takes next. */
struct knock_way {
	__u64 at[KNOCK_SLOTS];
};
#define KNOCK_STEP_BITS 3
#define KNOCK_STEP_MASK 7u
#define KNOCK_ARRIVED (~0ull) /* no way of a source */

/*
 * The payload of a UDP packet that opens a knock with a key. Its stamp is the time, in microseconds since 1970 (UTC),
 * shifted by KNOCK_COUNTER_BITS, and a counter for packets of the same microsecond; in network byte order. The MAC, as
 * SipHash-2-4 has it, is over the 16 bytes before it and 16 more: the source address (IPv4 as ::ffff:a.b.c.d) if flag
 * KNOCK_BOUND says so, else zeros.
 */
struct knock_packet {
	__u8 magic[2];
	__u8 version;
	__u8 flags;
	__u8 reserved[4]; /* zero, but whatever is there is not looked at */
	__u8 stamp[8];
	__u8 mac[8];
};
enum { KNOCK_MAGIC_0 = 'w', KNOCK_MAGIC_1 = 'k', KNOCK_VERSION = 1, KNOCK_BOUND = 1, KNOCK_COUNTER_BITS = 12 };

/* State map, an array of one: the latest stamp that opened each knock; at first the time when the map was made. */
struct knock_stamps {
	__u64 at[KNOCK_SLOTS];
};
#define MAP_KNOCK_STAMPS "state_knock_stamps"

/*
 * State maps, LRU hashes of struct knock_source to struct knock_open and to struct knock_way; and the constants, an
 * array of 1 x struct plane_knocks in a data section.
 */
#define MAP_KNOCK_OPEN "state_knock_open"
#define MAP_KNOCK_WAY "state_knock_way"
#define MAP_KNOCKS ".rodata.knocks"

_Static_assert(sizeof(struct plane_knock) == 56, "ABI");
_Static_assert(sizeof(struct knock_packet) == 24, "ABI");
_Static_assert(sizeof(struct knock_source) == 24, "ABI");
_Static_assert(sizeof(struct knock_open) == 64 && sizeof(struct knock_way) == 64, "ABI");

#endif
