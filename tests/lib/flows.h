/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random conversations: packets of a few connections, mostly as real ends would send them, often not. The same seed gives
 * the same frames.
 */
#ifndef WEIR_TESTS_LIB_FLOWS_H
#define WEIR_TESTS_LIB_FLOWS_H

#include <stddef.h>
#include <stdint.h>

#include "tests/lib/random.h"

enum { FLOWS_CONVERSATIONS = 6, FLOWS_FRAME_MAX = 400 };

/* What one end knows. */
struct flows_end {
	uint32_t next;  /* of its own sequence numbers */
	uint32_t got;   /* of the other's */
	uint32_t tag;   /* SCTP */
};

struct flows_source {
	struct random random;
	struct flows_end ends[FLOWS_CONVERSATIONS][2];
	unsigned char last[FLOWS_CONVERSATIONS][2][FLOWS_FRAME_MAX]; /* what each end sent last, */
	size_t last_length[FLOWS_CONVERSATIONS][2];
};

void flows_seed(struct flows_source *source, uint64_t seed);

/* The next frame, Ethernet header first; its length. *ret_pause_ns: how long after the one before. */
size_t flows_next(struct flows_source *source, unsigned char frame[FLOWS_FRAME_MAX], uint64_t *ret_pause_ns);

#endif
