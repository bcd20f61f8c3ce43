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
};

/* Set before load (`const volatile struct plane_knocks knocks`, map MAP_KNOCKS). */
struct plane_knocks {
	__u32 count;
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
 * State maps, LRU hashes of struct knock_source to struct knock_open and to struct knock_way; and the constants, an
 * array of 1 x struct plane_knocks in a data section.
 */
#define MAP_KNOCK_OPEN "state_knock_open"
#define MAP_KNOCK_WAY "state_knock_way"
#define MAP_KNOCKS ".rodata.knocks"

_Static_assert(sizeof(struct plane_knock) == 24, "ABI");
_Static_assert(sizeof(struct knock_source) == 24, "ABI");
_Static_assert(sizeof(struct knock_open) == 64 && sizeof(struct knock_way) == 64, "ABI");

#endif
