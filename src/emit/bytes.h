/* SPDX-License-Identifier: GPL-2.0-only */
/* A growing run of bytes in an arena, for the object's sections. Offsets are 32 bits: no section outgrows that. */
#ifndef WEIR_EMIT_BYTES_H
#define WEIR_EMIT_BYTES_H

#include <stdint.h>
#include <string.h>

#include "base/arena.h"

struct bytes {
	struct arena *arena;
	unsigned char *data;
	size_t size;
	size_t capacity;
};

/* Appends `size` bytes (zeros if data is NULL) and returns their offset. */
static inline uint32_t bytes_add(struct bytes *bytes, const void *data, size_t size)
{
	uint32_t at = (uint32_t)bytes->size;

	if (bytes->capacity - bytes->size < size) {
		size_t room = (bytes->capacity ? bytes->capacity * 2 : 256) + size;
		unsigned char *bigger = arena_alloc(bytes->arena, room);

		if (bytes->size)
			memcpy(bigger, bytes->data, bytes->size);
		bytes->data = bigger;
		bytes->capacity = room;
	}
	if (data && size)
		memcpy(bytes->data + bytes->size, data, size);
	else
		memset(bytes->data + bytes->size, 0, size);
	bytes->size += size;
	return at;
}

static inline uint32_t bytes_add_u32(struct bytes *bytes, uint32_t value)
{
	return bytes_add(bytes, &value, sizeof value);
}

/* Appends `length` characters and a NUL. */
static inline uint32_t bytes_add_string(struct bytes *bytes, const char *text, size_t length)
{
	uint32_t at = bytes_add(bytes, text, length);

	bytes_add(bytes, "", 1);
	return at;
}

static inline void bytes_align(struct bytes *bytes, size_t align)
{
	size_t over = bytes->size % align;

	if (over)
		bytes_add(bytes, NULL, align - over);
}

#endif
