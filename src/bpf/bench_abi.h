/* SPDX-License-Identifier: GPL-2.0-only */
/* The map `frames` of the bench programs, and the variable `frame_count` in .rodata.frames. */
#ifndef WEIR_BPF_BENCH_ABI_H
#define WEIR_BPF_BENCH_ABI_H

#include <linux/types.h>

enum { BENCH_BYTES = 128 }; /* of each frame's beginning, less the last two; headers are all that is looked at */

struct bench_slot {
	__u64 words[BENCH_BYTES / 8]; /* bytes as in the frame, zeros behind a shorter one */
};

#endif
