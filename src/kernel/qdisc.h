/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef WEIR_KERNEL_QDISC_H
#define WEIR_KERNEL_QDISC_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the device, in this network namespace, holds packets back until their departure time. */
bool qdisc_paces(uint32_t ifindex);

#endif
