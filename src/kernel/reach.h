/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether a policy's program judges what comes to its place. See reach.c. */
#ifndef WEIR_KERNEL_REACH_H
#define WEIR_KERNEL_REACH_H

#include "kernel/generation.h"

/*
 * Why packets that come to the generation's place of that index are not judged by the program, whose descriptor is `prog`; NULL:
 * they are. In words that go on after "its program ". Under the lock.
 */
const char *reach_problem(struct kernel *kernel, const struct generation *generation, uint32_t index, int prog);

#endif
