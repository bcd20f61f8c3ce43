/* SPDX-License-Identifier: GPL-2.0-only */
/* Tunables: the numbers in a map that packets are compared with. In: a parsed packet; out: its `tuned`. */
#ifndef WEIR_BPF_TUNE_H
#define WEIR_BPF_TUNE_H

/* Included by plane.h, which has what else this needs. */

const volatile struct plane_comparisons tuned SEC(MAP_TUNED) = { 0 };
volatile struct plane_tunables tunables SEC(MAP_TUNABLES) = { 0 };

enum { WORDS = sizeof(struct packet) / sizeof(__u64) };

/* 1 or 0, without a branch that the verifier would have to go both ways; for numbers below 2^63, as all of fields are. */
static __always_inline __u64 less(__u64 a, __u64 b)
{
	return (a - b) >> 63;
}

static __always_inline __u64 holds(const volatile struct plane_comparison *comparison, __u64 word, __u64 tunable)
{
	__u64 value = word >> (comparison->shift & 63) & comparison->mask;
	__u64 relation = 1 + less(tunable, value) - less(value, tunable); /* 0 below, 1 equal, 2 above */

	return comparison->relation >> relation & 1 & (less(comparison->max, value) ^ 1);
}

/*
 * Each value is read once, so that all comparisons of a packet see the same. Which words are compared is known when the
 * program is loaded, so the verifier follows one path.
 */
static __always_inline __u32 plane_compare(const struct packet *packet)
{
	const __u64 *words = (const __u64 *)packet;
	__u64 tunable = 0;
	__u32 at = PLANE_TUNABLES, bits = 0;

	for (__u32 i = 0; i < PLANE_COMPARISONS && i < tuned.count; i++) {
		const volatile struct plane_comparison *comparison = &tuned.items[i];
		__u32 word = comparison->word;

		if (word >= WORDS)
			break;
		if (comparison->tunable != at) {
			at = comparison->tunable;
			tunable = tunables.values[at % PLANE_TUNABLES];
		}
		bits |= (__u32)holds(comparison, words[word], tunable) << (comparison->bit & 31);
	}
	return bits;
}

#endif
