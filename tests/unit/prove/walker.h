/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walker of tables itself, bpf/table.bpf.c, compiled for this machine: what it does with any blob is what the kernel
 * would do, but that there the verifier would have to agree. Bounded: what tests break may lead round and round.
 */
#ifndef WEIR_TESTS_PROVE_WALKER_H
#define WEIR_TESTS_PROVE_WALKER_H

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "bpf/plane_abi.h"
#include "bpf/table_abi.h"
#include "packet/packet.h"

static void *walker_blob; /* followed by TABLE_SLACK zeros */

static void *walker_lookup(const void *map, const void *key)
{
	(void)map;
	(void)key;
	return walker_blob;
}

/* Its constants are set by tests. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#undef SEC
#define SEC(name)
#define const
#define bpf_map_lookup_elem walker_lookup
volatile __u64 epoch; /* no version of a table comes into force */

#define BOUNDED 1
#include "bpf/table.bpf.c"
#undef bpf_map_lookup_elem
#undef const
#pragma GCC diagnostic pop

#endif
