/* SPDX-License-Identifier: GPL-2.0-only */
/* Tables of connections, from user space. */
#ifndef WEIR_KERNEL_FLOWS_H
#define WEIR_KERNEL_FLOWS_H

#include "kernel/internal.h"

/* Adds the connections of open sockets that the table does not have. */
int flows_from_sockets(int fd, const uint64_t timeout_ns[FLOW_TIMEOUT_COUNT]);

#endif
