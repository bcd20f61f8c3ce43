/* SPDX-License-Identifier: GPL-2.0-only */
/* Hashes the first words of its frame, as many as its last byte says, under the key 00 01 ... 0f; the result goes there. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/siphash.h"

enum { FRAME_BYTES = 64, WORDS_MAX = 7 };

SEC("xdp")
int hash_words(struct xdp_md *context)
{
	__u64 *words = (void *)(long)context->data, key0 = 0x0706050403020100, key1 = 0x0f0e0d0c0b0a0908, result = 0;
	unsigned count;

	if ((char *)words + FRAME_BYTES > (char *)(long)context->data_end)
		return XDP_ABORTED;
	count = ((unsigned char *)words)[FRAME_BYTES - 1];
#pragma unroll
	for (unsigned i = 0; i <= WORDS_MAX; i++)
		if (i == count)
			result = siphash_words(key0, key1, words, i);
	words[0] = result;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
