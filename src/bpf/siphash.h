/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SipHash-2-4 (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012), for messages of whole 64-bit words in
 * BPF, and of any length on the host. A word is 8 bytes of the message, the first of them least significant, whatever
 * the machine's order; so are the key's two words and the result.
 */
#ifndef WEIR_BPF_SIPHASH_H
#define WEIR_BPF_SIPHASH_H

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 sip_rotate(__u64 value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static __always_inline void sip_round(struct sip *sip)
{
	sip->v0 += sip->v1;
	sip->v2 += sip->v3;
	sip->v1 = sip_rotate(sip->v1, 13) ^ sip->v0;
	sip->v3 = sip_rotate(sip->v3, 16) ^ sip->v2;
	sip->v0 = sip_rotate(sip->v0, 32);
	sip->v2 += sip->v1;
	sip->v0 += sip->v3;
	sip->v1 = sip_rotate(sip->v1, 17) ^ sip->v2;
	sip->v3 = sip_rotate(sip->v3, 21) ^ sip->v0;
	sip->v2 = sip_rotate(sip->v2, 32);
}

static __always_inline struct sip sip_start(__u64 key0, __u64 key1)
{
	return (struct sip){ key0 ^ 0x736f6d6570736575, key1 ^ 0x646f72616e646f6d, key0 ^ 0x6c7967656e657261,
			     key1 ^ 0x7465646279746573 };
}

static __always_inline void sip_word(struct sip *sip, __u64 word)
{
	sip->v3 ^= word;
	sip_round(sip);
	sip_round(sip);
	sip->v0 ^= word;
}

/* `last`: the bytes that make no whole word, and in its highest byte the message's length modulo 256. */
static __always_inline __u64 sip_end(struct sip *sip, __u64 last)
{
	sip_word(sip, last);
	sip->v2 ^= 0xff;
	sip_round(sip);
	sip_round(sip);
	sip_round(sip);
	sip_round(sip);
	return sip->v0 ^ sip->v1 ^ sip->v2 ^ sip->v3;
}

/* The hash of `count` words, which is a constant where the kernel's verifier reads this. */
static __always_inline __u64 siphash_words(__u64 key0, __u64 key1, const __u64 *words, unsigned count)
{
	struct sip sip = sip_start(key0, key1);

	for (unsigned i = 0; i < count; i++)
		sip_word(&sip, words[i]);
	return sip_end(&sip, (__u64)count << 59);
}

#ifndef __bpf__
/* The hash of `length` bytes. */
static inline __u64 siphash_bytes(const __u64 key[2], const void *data, __kernel_size_t length)
{
	const __u8 *at = data;
	struct sip sip = sip_start(key[0], key[1]);
	__u64 word = 0;

	for (__kernel_size_t i = 0; i < length; i++) {
		word |= (__u64)at[i] << 8 * (i % 8);
		if (i % 8 != 7)
			continue;
		sip_word(&sip, word);
		word = 0;
	}
	return sip_end(&sip, word | (__u64)length << 56);
}
#endif

#endif
