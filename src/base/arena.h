/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arena: memory that lives exactly as long as one compilation.
 *
 * Everything between a policy's text and its object (AST, IR, diagram, code) is allocated here and freed at
 * once. Callers never see a failed allocation: the arena unwinds to the arena_run() that encloses the work,
 * which returns -ENOMEM. So nothing that owns anything but arena memory may be open across an allocation.
 */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena;

/* A new, empty arena, or NULL without memory. The caller frees it with arena_free(). Not for use by two threads. */
struct arena *arena_new(void);

/* Frees the arena and all that was allocated from it. NULL is allowed. */
void arena_free(struct arena *arena);

/* For `__attribute__((cleanup(arena_cleanup))) struct arena *a`. */
void arena_cleanup(struct arena **arena);

/*
 * Runs work(context) and returns what it returns; -ENOMEM if an allocation inside failed or the arena's limit was
 * reached. May nest: the innermost one catches.
 */
int arena_run(struct arena *arena, int (*work)(void *context), void *context);

/* Most bytes the arena may hand out before it counts as out of memory; 0 (the default) is no limit. */
void arena_set_limit(struct arena *arena, size_t bytes);

/* Bytes handed out so far. */
size_t arena_used(const struct arena *arena);

/* For tests: let the nth allocation from now (0: the next) fail; a negative n turns it off. */
void arena_fail_at(struct arena *arena, long nth);

/* Zeroed memory, aligned for any type. Only inside arena_run(); never NULL. `size` 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t size);

/* Zeroed memory for `count` objects of `size`; the product is checked. */
void *arena_alloc_array(struct arena *arena, size_t count, size_t size);

/* A copy of `size` bytes, and a NUL-terminated copy of `length` characters. */
void *arena_copy(struct arena *arena, const void *data, size_t size);
char *arena_strndup(struct arena *arena, const char *text, size_t length);

/* Formatted text, NUL-terminated, as long as it needs to be. */
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_alloc_array((arena), (count), sizeof(type)))

/*
 * A growing array inside an arena: any struct with members `items`, `count` and `capacity` (size_t).
 * VEC_PUSH is an lvalue expression for the new, zeroed last element.
 */
#define VEC(type) struct { type *items; size_t count; size_t capacity; }
#define VEC_PUSH(arena, vec) \
	(*(((vec)->count == (vec)->capacity ? \
	    (void)((vec)->items = arena_grow((arena), (vec)->items, (vec)->count, &(vec)->capacity, \
					     sizeof *(vec)->items)) : (void)0), \
	   &(vec)->items[(vec)->count++]))

/* VEC_PUSH's helper: doubles the capacity, keeps `count` elements. */
void *arena_grow(struct arena *arena, void *items, size_t count, size_t *capacity, size_t size);

#endif
