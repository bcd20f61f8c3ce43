/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * XDP chains: a device has one link; the policies on it follow each other through `after`, in the order in which they
 * were first applied there. A replacement keeps its policy's rank.
 */
#ifndef WEIR_KERNEL_CHAIN_H
#define WEIR_KERNEL_CHAIN_H

#include "kernel/change.h"

/* Puts the staged programs into their devices' chains; each still calls its predecessor. Pins links in the stage. */
int chain_arm(struct change *change);

/* Makes every chain that of the policies in force. Can be repeated. */
int chain_settle(struct kernel *kernel, const struct view *view);

/* Whether packets that come to a program by the one id get to that of the other, unless others on the way drop them. */
bool chain_leads(uint32_t from, uint32_t to);

#endif
