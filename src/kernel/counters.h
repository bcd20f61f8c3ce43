/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters of a generation: what it started from (map `base`) and what each CPU counted since. */
#ifndef WEIR_KERNEL_COUNTERS_H
#define WEIR_KERNEL_COUNTERS_H

#include "kernel/generation.h"

/* Of a map for so many counters: the bits of an index in a chunk. */
unsigned counters_chunk_bits(uint32_t slots);
/* Its elements. */
uint32_t counters_chunks(uint32_t slots);

/* Sums over CPUs of a counters map, whatever its chunks. */
int counters_sum(int fd, uint32_t slots, struct counter *ret_counters);

/* A generation's totals. */
int counters_read(struct kernel *kernel, const char *folder, uint32_t slots, struct counter *ret_counters);

/* Those of a policy in force, with what is still to be carried over. */
int counters_total(struct kernel *kernel, const struct generation *generation, struct counter *ret_counters);

struct lost {
	uint64_t events;
	uint64_t captures;
};

/* What a policy in force has lost, its former generations included. */
int counters_lost(struct kernel *kernel, const struct generation *generation, struct lost *ret_lost);

/* Has the successor start from the totals of `folder`, slot by slot as its table says. Can be repeated. */
int counters_carry(struct kernel *kernel, const char *folder, const struct record *record,
		   const struct generation *successor);

/* A map `base` of zeros, pinned. */
int counters_make_base(struct kernel *kernel, const char *folder, uint32_t slots);

/* Has the totals be zero now. */
int counters_zero(struct kernel *kernel, const struct generation *generation);

#endif
