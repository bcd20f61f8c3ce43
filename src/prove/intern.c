/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "prove/work.h"

enum { TABLE_MIN = 64 };

static size_t hash_of(const void *record, size_t size)
{
	const unsigned char *bytes = record;
	uint64_t hash = size, word;

	for (; size >= 8; size -= 8, bytes += 8) {
		memcpy(&word, bytes, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 29;
	}
	for (; size; size--)
		hash = (hash ^ *bytes++) * 0xff51afd7ed558ccdull;
	return (size_t)(hash ^ hash >> 32);
}

void intern_init(struct intern *intern, struct arena *arena, size_t size)
{
	*intern = (struct intern){ .arena = arena, .size = size, .table_size = TABLE_MIN };
	intern->table = ARENA_ARRAY(arena, uint32_t, TABLE_MIN);
}

static void grow(struct intern *intern)
{
	intern->table_size *= 4;
	intern->table = ARENA_ARRAY(intern->arena, uint32_t, intern->table_size);
	for (size_t i = 0; i < intern->records.count; i++) {
		size_t at = hash_of(intern->records.items[i], intern->size) & (intern->table_size - 1);

		while (intern->table[at])
			at = (at + 1) & (intern->table_size - 1);
		intern->table[at] = (uint32_t)i + 1;
	}
}

uint32_t intern_number(struct intern *intern, const void *record)
{
	size_t at = hash_of(record, intern->size) & (intern->table_size - 1);

	for (; intern->table[at]; at = (at + 1) & (intern->table_size - 1))
		if (!memcmp(intern->records.items[intern->table[at] - 1], record, intern->size))
			return intern->table[at] - 1;
	VEC_PUSH(intern->arena, &intern->records) = arena_copy(intern->arena, record, intern->size);
	intern->table[at] = (uint32_t)intern->records.count;
	if (intern->records.count * 2 > intern->table_size)
		grow(intern);
	return (uint32_t)intern->records.count - 1;
}
