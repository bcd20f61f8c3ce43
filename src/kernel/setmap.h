/* SPDX-License-Identifier: GPL-2.0-only */
/* Elements of sets in BPF maps: keys, batches, copies. */
#ifndef WEIR_KERNEL_SETMAP_H
#define WEIR_KERNEL_SETMAP_H

#include "kernel/internal.h"

enum { SETMAP_KEY_BYTES = 20 };

/* How a set's map stores its elements. */
struct setmap_form {
	uint8_t key; /* as in install_set */
	bool lpm;
};

/* One element: a prefix of an LPM, or a single value (`prefix` is the whole width). */
struct setmap_element {
	u128 lo;
	uint8_t prefix;
	struct set_value value;
};

struct setmap_elements {
	struct setmap_element *items;
	size_t count;
	size_t capacity;
};

unsigned setmap_key_size(struct setmap_form form);
unsigned setmap_key_bits(struct setmap_form form);
void setmap_key_encode(struct setmap_form form, u128 lo, unsigned prefix, void *ret_key);
void setmap_key_decode(struct setmap_form form, const void *key, u128 *ret_lo, uint8_t *ret_prefix);

/* Where elements come from, and when their time begins. */
struct setmap_start {
	enum set_origin origin;
	uint64_t now_ns;
};

/* The clock of elements that expire. */
uint64_t setmap_now(void);
bool setmap_lives(const struct set_value *value, uint64_t now_ns);

/* A set's ranges as elements: single values, or for an LPM the prefixes that cover each range. -E2BIG past `limit`. */
int setmap_expand(const struct install_set *set, struct setmap_start start, size_t limit,
		  struct setmap_elements *ret_elements);

/* Adds or overwrites. -ENOSPC with a sentence when the map is full. */
int setmap_write(struct kernel *kernel, int fd, struct setmap_form form, const struct setmap_element *elements,
		 size_t count);
int setmap_erase(struct kernel *kernel, int fd, struct setmap_form form, const struct setmap_element *elements,
		 size_t count);
/* Erases what has expired. */
int setmap_sweep(struct kernel *kernel, int fd, struct setmap_form form);
/* All elements of a map, expired ones too, in no order. malloc()ed, also when it fails half-way. */
int setmap_read(struct kernel *kernel, int fd, struct setmap_form form, struct setmap_elements *ret_elements);
/* Whether the key is there; -errno. */
/* Whether those that came from a file, and these alone, are the set's as given. 1 if so, 0 if not. */
int setmap_as_given(struct kernel *kernel, int fd, const struct install_set *set);
int setmap_has(int fd, struct setmap_form form, const struct setmap_element *element, struct set_value *ret_value);
/* Appends one; -ENOMEM. */
int setmap_push(struct setmap_elements *elements, const struct setmap_element *element);
/* Writes elements with all of their values, as they once were; what cannot be is left. */
void setmap_restore(int fd, struct setmap_form form, const struct setmap_elements *elements);
/* Whether a value is found, and lives: in a trie by a prefix around it. 1, 0 or -errno. */
int setmap_covers(int fd, struct setmap_form form, u128 value);
void setmap_elements_free(struct setmap_elements *elements);

int setmap_fill(struct kernel *kernel, int fd, const struct install_set *set, struct setmap_start start);

/* Makes `to` hold exactly what lives in `from`: first adds, then takes away. Can be repeated. */
int setmap_assign(struct kernel *kernel, int to, int from, struct setmap_form form);
/* Adds what was added to `from` at run time, and lives. What will expire has no place where `timed` is false. */
int setmap_keep_run_time(struct kernel *kernel, int to, struct setmap_form to_form, bool timed, int from,
			 struct setmap_form from_form);

#endif
