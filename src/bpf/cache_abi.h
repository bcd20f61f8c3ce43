/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The answer cache: what classify() said of packets, kept by all that it looks at (bpf/cache.h reads and writes it,
 * plan/cache.c lays it out). One for each CPU: map CACHE_MAP, whose elements are chunks of CACHE_CHUNK bytes.
 *
 * Chunks are sets of two slots each, behind the place of one set in which the first chunk of a family has its account. Slots take
 * 32 bytes, or 64 where a key has more than CACHE_NARROW_WORDS words; each family has chunks of its own. A packet looks into one
 * set. Its key:
 *   IPv4   the addresses in one word
 *   IPv6   the addresses in four words
 *   then   the ports; protocol, TCP flags, ICMP type and code; and `extra` words of whatever else the rules look at, laid out
 *          as those of a table's hash are
 */
#ifndef WEIR_BPF_CACHE_ABI_H
#define WEIR_BPF_CACHE_ABI_H

#include "bpf/table_abi.h"

enum {
	CACHE_CHUNK = 32768,    /* bytes: the most that a CPU can have as one value */
	CACHE_KEY_WORDS = 7,
	CACHE_NARROW_WORDS = 3,
	CACHE_FIXED4 = 3,       /* words of a key without the extra ones */
	CACHE_FIXED6 = 6,
	CACHE_EXTRAS = CACHE_KEY_WORDS - CACHE_FIXED4,
	CACHE_CHUNK_BITS_MAX = 6,
};

/*
 * head:
 *   bits 0-31   the answer, which is a verdict and a counter slot: ANSWER_STEPS is not in it, and its bit says CACHE_HELD
 *   bit  32     CACHE_USED: found since somebody else last wanted the place, who did not get it then
 *   bits 33-63  the epoch, modulo 2^31: that of other rules is no answer
 */
struct cache_slot {
	__u64 head;
	__u64 key[]; /* CACHE_NARROW_WORDS or CACHE_KEY_WORDS */
};
#define CACHE_HELD (1ull << 2)
#define CACHE_USED (1ull << 32)
#define CACHE_EPOCH_AT 33

/*
 * At the beginning of a family's first chunk. Where many packets are not found, looking is a waste: `spent` goes
 * up by CACHE_LOSS for each of them and down by one for each that is found. From CACHE_SPENT_MAX on, where it gets CACHE_DEBT more,
 * only one packet in CACHE_SAMPLE looks, and each of them that is found takes off CACHE_REFUND.
 */
struct cache_account {
	__u64 hits;
	__u64 misses;
	__u32 spent;
	__u32 passed; /* packets that came while it was at its most */
};
enum { CACHE_LOSS = 3, CACHE_SPENT_MAX = 1024, CACHE_DEBT = 64, CACHE_REFUND = 8, CACHE_SAMPLE = 509 };

enum { CACHE_PATIENCE = 64 }; /* of so many packets that find no room, one makes some */

struct cache_family {
	__u32 first;  /* its first chunk */
	__u8 bits;    /* of the number of its chunks */
	__u8 words;   /* of a key; 0: no answers are kept */
	__u8 reserved[2];
	struct table_key extra[CACHE_EXTRAS]; /* `factor` is not used */
};

/* Set before load, in section CACHE_CONFIG. */
struct cache_config {
	struct cache_family families[2]; /* IPv4, IPv6 */
};

#define CACHE_CONFIG ".rodata.cache"
#define CACHE_MAP "cache"

_Static_assert(sizeof(struct cache_account) <= 2 * 32, "it fits where a set would be");
_Static_assert(sizeof(struct cache_config) == 2 * (8 + 4 * 40), "ABI");

#endif
