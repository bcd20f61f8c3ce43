/* SPDX-License-Identifier: GPL-2.0-only */
/* The map of a policy's tunables: struct plane_tunables (bpf/plane_abi.h), pinned as `tunables`. */
#ifndef WEIR_KERNEL_TUNABLES_H
#define WEIR_KERNEL_TUNABLES_H

#include "kernel/generation.h"

/* A malloc()ed copy; none is pinned: NULL. */
int tunables_read(struct kernel *kernel, const char *folder, struct plane_tunables **ret_tunables);

/* Work for a generation; `tuning` is a struct kernel_tuning, whose text fits. */
int tunables_change(struct kernel *kernel, const struct generation *generation, void *tuning);

#endif
