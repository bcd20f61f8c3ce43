/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef WEIR_KERNEL_LEVELS_H
#define WEIR_KERNEL_LEVELS_H

#include "kernel/internal.h"

/* How many levels the kernel's root of the unified hierarchy is above the one that is mounted: 0 but in a cgroup namespace. */
int levels_above(struct kernel *kernel, unsigned *ret_levels);

#endif
