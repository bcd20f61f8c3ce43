/* SPDX-License-Identifier: GPL-2.0-only */
/* Values of fields: unsigned, host order, wide enough for an IPv6 address. */
#ifndef WEIR_BASE_U128_H
#define WEIR_BASE_U128_H

#include <stdint.h>

__extension__ typedef unsigned __int128 u128;

/* Inclusive. */
struct range {
	u128 lo;
	u128 hi;
};

static inline u128 u128_make(uint64_t hi, uint64_t lo)
{
	return (u128)hi << 64 | lo;
}

static inline uint64_t u128_hi(u128 value)
{
	return (uint64_t)(value >> 64);
}

static inline uint64_t u128_lo(u128 value)
{
	return (uint64_t)value;
}

/* The greatest value of `bits` bits; bits from 0 to 128. */
static inline u128 u128_max(unsigned bits)
{
	return bits == 128 ? ~(u128)0 : ((u128)1 << bits) - 1;
}

#endif
