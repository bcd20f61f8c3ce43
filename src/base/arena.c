/* SPDX-License-Identifier: GPL-2.0-only */
#include "base/arena.h"

#include <errno.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/thread.h"

/*
 * A big compilation (a million rules take gigabytes) gets its memory in chunks that the kernel can back by huge pages:
 * otherwise it spends most of the time on faults.
 */
enum { CHUNK_BYTES = 64 * 1024, BIG_BYTES = 4 << 20, BIG_FROM = 32 << 20, HUGE_PAGE = 2 << 20, GROWTH = 8 };

struct chunk {
	struct chunk *next;
	size_t used;
	size_t size;
	size_t mapped; /* bytes of its mapping; 0: from malloc() */
	alignas(max_align_t) unsigned char data[];
};

/* A big chunk that a thread maps and has the kernel clear meanwhile, so that it is there when the one at hand is full. */
struct ahead {
	bool started;
	pid_t process; /* a child of ours has not got the thread */
	pthread_t thread;
};

struct arena {
	struct chunk *chunks;
	jmp_buf *unwind;
	size_t used;
	size_t limit;
	long fail_at;
	struct ahead ahead;
};

struct arena *arena_new(void)
{
	struct arena *arena = calloc(1, sizeof *arena);

	if (arena)
		arena->fail_at = -1;
	return arena;
}

/* The chunk that is ready, or NULL. */
static struct chunk *take_ahead(struct arena *arena)
{
	void *chunk = NULL;

	if (arena->ahead.started && arena->ahead.process == getpid())
		pthread_join(arena->ahead.thread, &chunk);
	arena->ahead.started = false;
	return chunk;
}

void arena_free(struct arena *arena)
{
	struct chunk *ahead;

	if (!arena)
		return;
	ahead = take_ahead(arena);
	if (ahead)
		munmap(ahead, ahead->mapped);
	for (struct chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
		next = chunk->next;
		if (chunk->mapped)
			munmap(chunk, chunk->mapped);
		else
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

/* Zeroed, with room for at least so much; NULL without memory. */
static struct chunk *map_chunk(size_t room)
{
	size_t bytes = (sizeof(struct chunk) + room + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
	struct chunk *chunk = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (chunk == MAP_FAILED)
		return NULL;
	madvise(chunk, bytes, MADV_HUGEPAGE); /* no matter if it is refused */
	chunk->mapped = bytes;
	chunk->size = bytes - sizeof *chunk;
	return chunk;
}

enum { PAGE = 4096 };

static void *make_ready(void *unused)
{
	struct chunk *chunk = map_chunk(BIG_BYTES - sizeof *chunk);

	(void)unused;
	for (size_t at = 0; chunk && at < chunk->size; at += PAGE)
		((volatile unsigned char *)chunk->data)[at] = 0;
	return chunk;
}

/* No matter if there can be no more threads. */
static void start_ahead(struct arena *arena)
{
	arena->ahead.process = getpid();
	arena->ahead.started = !thread_start(&arena->ahead.thread, make_ready, NULL);
}

/* One like all big chunks. */
static struct chunk *next_big(struct arena *arena)
{
	struct chunk *chunk = take_ahead(arena);

	if (!chunk)
		chunk = map_chunk(BIG_BYTES - sizeof *chunk);
	if (chunk)
		start_ahead(arena);
	return chunk;
}

/* `behind`: for one big object, behind the head, which may have room left. */
static void link_chunk(struct arena *arena, struct chunk *chunk, bool behind)
{
	struct chunk **place = behind && arena->chunks ? &arena->chunks->next : &arena->chunks;

	chunk->next = *place;
	*place = chunk;
}

static struct chunk *add_chunk(struct arena *arena, size_t size)
{
	size_t least = arena->used < BIG_FROM ? CHUNK_BYTES : BIG_BYTES - sizeof(struct chunk);
	size_t room = size > least ? size : least;
	struct chunk *chunk;

	if (room == BIG_BYTES - sizeof *chunk)
		chunk = next_big(arena);
	else if (room >= BIG_BYTES / 2 && room < SIZE_MAX / 2)
		chunk = map_chunk(room);
	else
		chunk = calloc(1, sizeof *chunk + room);
	if (!chunk)
		out_of_memory(arena);
	if (!chunk->mapped)
		chunk->size = room;
	link_chunk(arena, chunk, size > least);
	return chunk;
}

static size_t aligned(size_t size)
{
	const size_t align = alignof(max_align_t);

	return (size + align - 1) / align * align;
}

/* Counts one more allocation of `size` aligned bytes; unwinds if it is one too many. */
static void charge(struct arena *arena, size_t size)
{
	if (arena->fail_at >= 0 && arena->fail_at-- == 0)
		out_of_memory(arena);
	if (arena->limit && size > arena->limit - arena->used)
		out_of_memory(arena);
}

static void *hand_out(struct arena *arena, struct chunk *chunk, size_t size)
{
	void *memory = chunk->data + chunk->used;

	chunk->used += size;
	arena->used += size;
	return memory;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	struct chunk *chunk = arena->chunks;

	if (size > SIZE_MAX / 2)
		out_of_memory(arena);
	size = aligned(size);
	charge(arena, size);
	if (!chunk || chunk->size - chunk->used < size)
		chunk = add_chunk(arena, size);
	return hand_out(arena, chunk, size);
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

/* --- growing arrays ------------------------------------------------------------------------------------------- */

enum { FIRST_BYTES = 64 }; /* of an array; most stay small */

/* The chunk where an array of `size` bytes is the last object. A small one is sought in the head only. */
static struct chunk *chunk_ending(struct arena *arena, const void *items, size_t size)
{
	for (struct chunk *chunk = arena->chunks; chunk; chunk = size < BIG_BYTES ? NULL : chunk->next)
		if (chunk->data + chunk->used == (const unsigned char *)items + aligned(size))
			return chunk;
	return NULL;
}

/* Memory for a big array that can grow where it stands: address space, of which only what is used becomes memory. */
static void *alloc_growing(struct arena *arena, size_t size)
{
	struct chunk *chunk;

	if (size > SIZE_MAX / 2 / GROWTH)
		out_of_memory(arena);
	size = aligned(size);
	charge(arena, size);
	chunk = map_chunk(size * GROWTH);
	if (!chunk)
		out_of_memory(arena);
	link_chunk(arena, chunk, true);
	return hand_out(arena, chunk, size);
}

void *arena_grow(struct arena *arena, void *items, size_t count, size_t *capacity, size_t size)
{
	size_t first = size <= FIRST_BYTES / 8 ? 8 : size < FIRST_BYTES ? FIRST_BYTES / size : 1;
	size_t room = *capacity ? *capacity * 2 : first, old = *capacity * size, bytes;
	struct chunk *chunk = chunk_ending(arena, items, old);
	void *bigger;

	if (__builtin_mul_overflow(room, size, &bytes))
		out_of_memory(arena);
	*capacity = room;
	if (chunk && chunk->size - chunk->used >= aligned(bytes) - aligned(old)) {
		charge(arena, aligned(bytes) - aligned(old));
		hand_out(arena, chunk, aligned(bytes) - aligned(old));
		return items;
	}
	bigger = bytes < BIG_BYTES ? arena_alloc(arena, bytes) : alloc_growing(arena, bytes);
	if (count)
		memcpy(bigger, items, count * size);
	return bigger;
}
