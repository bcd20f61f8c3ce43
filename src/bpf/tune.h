/* SPDX-License-Identifier: GPL-2.0-only */
/* Tunables: the numbers in a map that packets are compared with. In: a parsed packet; out: its `tuned`. */
#ifndef WEIR_BPF_TUNE_H
#define WEIR_BPF_TUNE_H

/* Included by plane.h, which has what else this needs. */

const volatile struct plane_comparisons tuned SEC(MAP_TUNED) = { 0 };
volatile struct plane_tunables tunables SEC(MAP_TUNABLES) = { 0 };

enum { WORDS = sizeof(struct packet) / sizeof(__u64) };

/* Each value is read once, so that all comparisons of a packet see the same. A function of its own, as knocks_open() is. */
VERIFIED_ONCE int plane_compare(const struct packet *packet)
{
	const __u64 *words = (const __u64 *)packet;
	__u64 tunable = 0;
	__u32 at = PLANE_TUNABLES, bits = 0;

	if (!packet)
		return 0;
	for (__u32 i = 0; i < PLANE_COMPARISONS && i < tuned.count; i++) {
		const volatile struct plane_comparison *comparison = &tuned.items[i];
		__u32 word = comparison->word, relation;
		__u64 value;

		if (word >= WORDS)
			break;
		value = words[word] >> (comparison->shift & 63) & comparison->mask;
		if (comparison->tunable != at) {
			at = comparison->tunable;
			tunable = tunables.values[at % PLANE_TUNABLES];
		}
		relation = value < tunable ? 1 : value == tunable ? 2 : 4;
		if (value <= comparison->max && comparison->relation & relation)
			bits |= 1u << (comparison->bit & 31);
	}
	return (int)bits;
}

#endif
