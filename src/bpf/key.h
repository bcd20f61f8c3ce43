/* SPDX-License-Identifier: GPL-2.0-only */
/* Words of keys, put together from parts of the packet as struct table_key says. */
#ifndef WEIR_BPF_KEY_H
#define WEIR_BPF_KEY_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/table_abi.h"
#include "packet/packet.h"

enum { KEY_OF_WORDS = TABLE_REST }; /* of struct packet, that keys can have parts of: all that rules look at */
_Static_assert(KEY_OF_WORDS * 8 <= sizeof(struct packet) && KEY_OF_WORDS == 16, "they are words of the packet, in 4 bits");

/*
 * A member, read anew for each use: the packet is in the first-level cache as the stack would be, whose 512 bytes all callers
 * share.
 */
#define FIELD(packet, member) (*(const volatile typeof((packet)->member) *)&(packet)->member)

/* By the lowest six bits, as processors and BPF do it, and C does not. */
static __always_inline __u64 shifted_left(__u64 value, __u64 by)
{
#ifdef __bpf__
	asm("%0 <<= %1" : "+r"(value) : "r"(by));
	return value;
#else
	return value << (by & 63);
#endif
}

/* One word of the packet's key. Parts without a mask are none: the kernel removes them. */
static __always_inline __u64 key_word(const struct packet *packet, const volatile struct table_key *key)
{
	__u64 word = 0, mask;

#pragma unroll
	for (int i = 0; i < TABLE_KEY_PARTS; i++) {
		mask = key->masks[i];
		if (mask)
			word += shifted_left(((const __u64 *)packet)[key->words[i] & (KEY_OF_WORDS - 1)] & mask, key->shifts[i]);
	}
	return word;
}

#endif
