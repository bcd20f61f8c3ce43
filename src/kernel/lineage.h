/* SPDX-License-Identifier: GPL-2.0-only */
/* Who descends from which program: state maps (kernel/statemap.h) that programs at trace points keep. */
#ifndef WEIR_KERNEL_LINEAGE_H
#define WEIR_KERNEL_LINEAGE_H

#include "kernel/change.h"

/*
 * After staging: what follows processes for the staged policies is loaded, and unless `try`, attached, pinned beside the map and
 * told of the processes that are there. Policies that ask for the same programs share it; it goes with the last of them.
 */
int lineage_start(struct change *change, bool try);

/* Whether what follows processes for the policy in that folder is there; true if it asks for none. */
bool lineage_attached(const char *folder);

#endif
