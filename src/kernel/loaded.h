/* SPDX-License-Identifier: GPL-2.0-only */
/* What is loaded, read back. See loaded.c. */
#ifndef WEIR_KERNEL_LOADED_H
#define WEIR_KERNEL_LOADED_H

#include "kernel/generation.h"
#include "kernel/object.h"

/* Under the lock. Free with kernel_loaded_free(). */
int loaded_read(struct kernel *kernel, const struct generation *generation, struct kernel_loaded **ret_loaded);

#endif
