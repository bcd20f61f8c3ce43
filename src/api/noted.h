/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a compilation asked the machine's names, and what it was told: whoever keeps that can tell later, without compiling
 * again, whether rules would still mean the same.
 */
#ifndef WEIR_API_NOTED_H
#define WEIR_API_NOTED_H

#include "api/api.h"

struct noted_name;

struct noted {
	struct names names; /* names_system, whose answers are noted; refers to this object */
	struct arena *arena;
	struct noted_name *slots; /* a hash table; its size is a power of two */
	size_t count, size;
};

struct noted *noted_new(struct arena *arena);

/* As bytes, to keep. */
const void *noted_encode(struct arena *arena, const struct noted *noted, size_t *ret_size);
/* Whether all of these are answered as they were then. */
bool noted_still(struct arena *arena, const void *data, size_t size);
/* Whether all that was asked is among those, answered alike. */
bool noted_among(const struct noted *noted, const void *data, size_t size);

#endif
