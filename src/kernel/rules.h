/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Single rules of tables changed in place: what is pinned for it, and what a killed command left.
 *
 *   frame, index  the caller's blobs
 *   edits      struct rules_edit, one after the other, the last followed by one of size 0; mapped
 *   table_N    the table of hook N; mapped
 *   steps_N    its steps
 */
#ifndef WEIR_KERNEL_RULES_H
#define WEIR_KERNEL_RULES_H

#include "kernel/generation.h"

/* Pins frame and an empty edits, if the install has a frame. */
int rules_stage(struct kernel *kernel, const char *folder, const struct install *install);

/* Bytes of mapped edits that are in force in this epoch. */
size_t rules_committed(const void *edits, size_t size, uint64_t epoch);

/* A malloc()ed copy of the edits in force; none: size 0. */
int rules_edits(struct kernel *kernel, const char *folder, void **ret_edits, size_t *ret_size);

/* Takes back changes that were not committed. The store's lock is held. */
int rules_recover(struct kernel *kernel);

#endif
