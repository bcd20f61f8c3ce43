/* SPDX-License-Identifier: GPL-2.0-only */
#include "base/arena.h"

#include <errno.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 * 1024 };

struct chunk {
	struct chunk *next;
	size_t used;
	size_t size;
	alignas(max_align_t) unsigned char data[];
};

struct arena {
	struct chunk *chunks;
	jmp_buf *unwind;
	size_t used;
	size_t limit;
	long fail_at;
};

struct arena *arena_new(void)
{
	struct arena *arena = calloc(1, sizeof *arena);

	if (arena)
		arena->fail_at = -1;
	return arena;
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	for (struct chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	free(arena);
}

void arena_cleanup(struct arena **arena)
{
	arena_free(*arena);
}

int arena_run(struct arena *arena, int (*work)(void *context), void *context)
{
	jmp_buf here;
	jmp_buf *outer = arena->unwind;
	int result;

	if (setjmp(here)) {
		arena->unwind = outer;
		return -ENOMEM;
	}
	arena->unwind = &here;
	result = work(context);
	arena->unwind = outer;
	return result;
}

void arena_set_limit(struct arena *arena, size_t bytes)
{
	arena->limit = bytes;
}

size_t arena_used(const struct arena *arena)
{
	return arena->used;
}

void arena_fail_at(struct arena *arena, long nth)
{
	arena->fail_at = nth;
}

static _Noreturn void out_of_memory(struct arena *arena)
{
	if (!arena->unwind)
		abort(); /* an allocation outside arena_run() is a bug of the caller */
	longjmp(*arena->unwind, 1);
}

static struct chunk *add_chunk(struct arena *arena, size_t size)
{
	size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
	struct chunk *chunk = calloc(1, sizeof *chunk + room);

	if (!chunk)
		out_of_memory(arena);
	chunk->size = room;
	/* A chunk made for one big object goes behind the head, which may have room left. */
	if (size > CHUNK_BYTES && arena->chunks) {
		chunk->next = arena->chunks->next;
		arena->chunks->next = chunk;
	} else {
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct chunk *chunk = arena->chunks;
	void *memory;

	if (size > SIZE_MAX / 2 || (arena->fail_at >= 0 && arena->fail_at-- == 0))
		out_of_memory(arena);
	size = (size + align - 1) / align * align;
	if (arena->limit && size > arena->limit - arena->used)
		out_of_memory(arena);
	if (!chunk || chunk->size - chunk->used < size)
		chunk = add_chunk(arena, size);
	memory = chunk->data + chunk->used;
	chunk->used += size;
	arena->used += size;
	return memory;
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		out_of_memory(arena);
	return arena_alloc(arena, bytes);
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
	void *copy = arena_alloc(arena, size);

	if (size)
		memcpy(copy, data, size);
	return copy;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
	char *copy = arena_alloc(arena, length + 1);

	if (length)
		memcpy(copy, text, length);
	return copy;
}

char *arena_vprintf(struct arena *arena, const char *format, va_list args)
{
	va_list again;
	char *text;
	int length;

	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length < 0)
		out_of_memory(arena);
	text = arena_alloc(arena, (size_t)length + 1);
	vsnprintf(text, (size_t)length + 1, format, args);
	return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = arena_vprintf(arena, format, args);
	va_end(args);
	return text;
}

void *arena_grow(struct arena *arena, void *items, size_t count, size_t *capacity, size_t size)
{
	size_t room = *capacity ? *capacity * 2 : 8;
	void *bigger = arena_alloc_array(arena, room, size);

	if (count)
		memcpy(bigger, items, count * size);
	*capacity = room;
	return bigger;
}
