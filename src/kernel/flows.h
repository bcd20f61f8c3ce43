/* SPDX-License-Identifier: GPL-2.0-only */
/* Tables of connections, from user space. */
#ifndef WEIR_KERNEL_FLOWS_H
#define WEIR_KERNEL_FLOWS_H

#include "kernel/internal.h"

#define FLOWS_STATE "flows"
#define FLOWS_FRESH_STATE "flows_fresh"
#define FLOW_COUNTS_STATE "flow_counts"

/* The data planes' clock. */
uint64_t flows_now(void);

/* Adds the connections of open sockets that the table does not have. */
int flows_from_sockets(int fd, const uint64_t timeout_ns[FLOW_TIMEOUT_COUNT]);

#endif
