/* SPDX-License-Identifier: GPL-2.0-only */
/* Clocks as one number. */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since the clock's beginning. Data planes take their times from CLOCK_MONOTONIC, records from CLOCK_BOOTTIME. */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#endif
