/* SPDX-License-Identifier: GPL-2.0-only */
/* Hashes for tables and for names of what is kept; none withstands who wants two things to have the same one. */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* The hash of what had that one, and a value behind it. */
static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

/* The same for bytes: FNV-1a, from any hash on. */
static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
	const unsigned char *from = bytes;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ from[i]) * 0x100000001b3;
	return hash;
}

#endif
