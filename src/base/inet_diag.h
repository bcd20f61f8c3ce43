/* SPDX-License-Identifier: GPL-2.0-only */
/* Questions to the kernel about sockets of this network namespace (NETLINK_SOCK_DIAG; no privileges needed). */
#ifndef WEIR_BASE_INET_DIAG_H
#define WEIR_BASE_INET_DIAG_H

#include <linux/inet_diag.h>
#include <stddef.h>

/* One socket; `length` is that of the message with its attributes. */
typedef void (*inet_diag_visit)(void *context, const struct inet_diag_msg *message, size_t length);

/* Calls visit() for each socket that is asked for. 0 or -errno: -ENOENT where the kernel was built without it. */
int inet_diag_dump(const struct inet_diag_req_v2 *request, inet_diag_visit visit, void *context);

#endif
