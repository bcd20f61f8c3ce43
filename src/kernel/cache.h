/* SPDX-License-Identifier: GPL-2.0-only */
/* The cache of answers of a loaded program (bpf/cache_abi.h). */
#ifndef WEIR_KERNEL_CACHE_H
#define WEIR_KERNEL_CACHE_H

#include "kernel/internal.h"

/* Chunks that a hook's program has for answers; 0: none are kept, at least not on this kernel. */
uint32_t cache_chunks(const struct install_hook *hook);

/* Packets answered from the cache so far, on all CPUs. -errno. */
int cache_hits(int map, uint64_t *ret_hits);

/* The same of a loaded program; 0, too, if it has no cache or cannot be asked. */
uint64_t cache_hits_of(int prog);

#endif
