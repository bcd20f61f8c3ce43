/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: ranges of values; out: elements of hash and LPM maps, moved in batches where the kernel has them (a million
 * elements take about a second). Key layouts: bpf/plane_abi.h.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "kernel/setmap.h"

enum { BATCH = 8192, KERNEL_ENOTSUPP = 524 };

/* --- time ------------------------------------------------------------------------------------------------------- */

uint64_t setmap_now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

bool setmap_lives(const struct set_value *value, uint64_t now_ns)
{
	return !value->expires_ns || value->expires_ns > now_ns;
}

/* Drops what has expired from the list; the others keep their order. */
static void drop_expired(struct setmap_elements *elements)
{
	uint64_t now = setmap_now();
	size_t kept = 0;

	for (size_t i = 0; i < elements->count; i++)
		if (setmap_lives(&elements->items[i].value, now))
			elements->items[kept++] = elements->items[i];
	elements->count = kept;
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

unsigned setmap_key_size(struct setmap_form form)
{
	if (form.lpm)
		return form.key == 1 ? sizeof(struct prefix6_key) : sizeof(struct prefix4_key);
	return form.key == 0 ? 4 : form.key == 1 ? 16 : 8;
}

unsigned setmap_key_bits(struct setmap_form form)
{
	return form.key == 0 ? 32 : form.key == 1 ? 128 : 64;
}

static void put_bytes(uint8_t *to, u128 value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static u128 get_bytes(const uint8_t *from, unsigned bytes)
{
	u128 value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | from[i];
	return value;
}

void setmap_key_encode(struct setmap_form form, u128 lo, unsigned prefix, void *ret_key)
{
	const uint64_t halves[2] = { u128_hi(lo), u128_lo(lo) };
	const uint32_t small = (uint32_t)lo, length = prefix;

	if (form.lpm) {
		memcpy(ret_key, &length, sizeof length);
		put_bytes((uint8_t *)ret_key + sizeof length, lo, setmap_key_bits(form) / 8);
	} else if (form.key == 0) {
		memcpy(ret_key, &small, sizeof small);
	} else if (form.key == 1) {
		memcpy(ret_key, halves, sizeof halves);
	} else {
		memcpy(ret_key, &halves[1], sizeof halves[1]);
	}
}

void setmap_key_decode(struct setmap_form form, const void *key, u128 *ret_lo, uint8_t *ret_prefix)
{
	uint64_t halves[2] = { 0 };
	uint32_t small;

	*ret_prefix = (uint8_t)setmap_key_bits(form);
	if (form.lpm) {
		memcpy(&small, key, sizeof small);
		*ret_prefix = (uint8_t)small;
		*ret_lo = get_bytes((const uint8_t *)key + sizeof small, setmap_key_bits(form) / 8);
	} else if (form.key == 0) {
		memcpy(&small, key, sizeof small);
		*ret_lo = small;
	} else {
		memcpy(form.key == 1 ? halves : halves + 1, key, form.key == 1 ? 16 : 8);
		*ret_lo = u128_make(halves[0], halves[1]);
	}
}

/* --- elements --------------------------------------------------------------------------------------------------- */

static struct setmap_element *push(struct setmap_elements *elements)
{
	if (elements->count == elements->capacity) {
		size_t capacity = elements->capacity ? elements->capacity * 2 : 64;
		struct setmap_element *items = reallocarray(elements->items, capacity, sizeof *items);

		if (!items)
			return NULL;
		elements->items = items;
		elements->capacity = capacity;
	}
	return &elements->items[elements->count++];
}

int setmap_push(struct setmap_elements *elements, const struct setmap_element *element)
{
	struct setmap_element *place = push(elements);

	if (!place)
		return -ENOMEM;
	*place = *element;
	return 0;
}

void setmap_restore(int fd, struct setmap_form form, const struct setmap_elements *elements)
{
	for (size_t i = 0; i < elements->count; i++) {
		char key[SETMAP_KEY_BYTES];

		setmap_key_encode(form, elements->items[i].lo, elements->items[i].prefix, key);
		bpf_map_update_elem(fd, key, &elements->items[i].value, BPF_ANY);
	}
}

void setmap_elements_free(struct setmap_elements *elements)
{
	free(elements->items);
	memset(elements, 0, sizeof *elements);
}

/* The longest run of addresses that begins at `lo`, ends by `hi` and is one prefix: its host bits. */
static unsigned prefix_host_bits(u128 lo, u128 hi, unsigned bits)
{
	unsigned host = 0;

	while (host < bits && !(lo >> host & 1) && (lo | u128_max(host + 1)) <= hi)
		host++;
	return host;
}

static int expand_range(struct setmap_form form, const struct range *range, struct set_value value, size_t limit,
			struct setmap_elements *elements)
{
	unsigned bits = setmap_key_bits(form);
	u128 lo = range->lo;

	for (;;) {
		unsigned host = form.lpm ? prefix_host_bits(lo, range->hi, bits) : 0;
		struct setmap_element *element;
		u128 last = lo | u128_max(host);

		if (elements->count >= limit)
			return -E2BIG;
		element = push(elements);
		if (!element)
			return -ENOMEM;
		*element = (struct setmap_element){ lo, (uint8_t)(bits - host), value };
		if (last >= range->hi)
			return 0;
		lo = last + 1;
	}
}

int setmap_expand(const struct install_set *set, struct setmap_start start, size_t limit,
		  struct setmap_elements *ret_elements)
{
	const struct setmap_form form = { set->key, set->lpm };
	struct setmap_elements elements = { 0 };

	for (size_t i = 0; i < set->count; i++) {
		struct set_value value = { .origin = start.origin };
		int error;

		if (set->timeouts && set->timeouts[i])
			value.expires_ns = start.now_ns + set->timeouts[i] * (uint64_t)1000000;
		error = expand_range(form, &set->elements[i], value, limit, &elements);
		if (error) {
			setmap_elements_free(&elements);
			return error;
		}
	}
	*ret_elements = elements;
	return 0;
}

/* --- moving them ------------------------------------------------------------------------------------------------ */

/* Room for one batch. */
struct batch {
	char *keys;
	struct set_value *values;
};

static int batch_make(struct batch *batch)
{
	batch->keys = malloc((size_t)BATCH * SETMAP_KEY_BYTES);
	batch->values = malloc((size_t)BATCH * sizeof *batch->values);
	return batch->keys && batch->values ? 0 : -ENOMEM;
}

static void batch_free(struct batch *batch)
{
	free(batch->keys);
	free(batch->values);
}

#define CLEANUP_BATCH __attribute__((cleanup(batch_free)))

static void batch_load(struct batch *batch, struct setmap_form form, const struct setmap_element *elements,
		       uint32_t count)
{
	unsigned size = setmap_key_size(form);

	for (uint32_t i = 0; i < count; i++) {
		setmap_key_encode(form, elements[i].lo, elements[i].prefix, batch->keys + (size_t)i * size);
		batch->values[i] = elements[i].value;
		batch->values[i].reserved = form.lpm ? elements[i].prefix : 0;
	}
}

static bool no_batches(int error)
{
	return error == -EINVAL || error == -KERNEL_ENOTSUPP || error == -EOPNOTSUPP;
}

static int write_batch(int fd, const struct batch *batch, unsigned size, uint32_t count)
{
	uint32_t done = count;

	if (!bpf_map_update_batch(fd, batch->keys, batch->values, &done, NULL))
		return 0;
	if (!no_batches(-errno))
		return -errno;
	for (uint32_t i = 0; i < count; i++)
		if (bpf_map_update_elem(fd, batch->keys + (size_t)i * size, &batch->values[i], BPF_ANY))
			return -errno;
	return 0;
}

static int full(struct kernel *kernel, int error)
{
	if (error != -E2BIG && error != -ENOSPC)
		return error;
	problem_set(kernel, -ENOSPC, "the set is full");
	problem_hint(kernel, "give it more room with `max N` in the policy and apply it again");
	return -ENOSPC;
}

int setmap_write(struct kernel *kernel, int fd, struct setmap_form form, const struct setmap_element *elements,
		 size_t count)
{
	CLEANUP_BATCH struct batch batch = { 0 };
	int error = count ? batch_make(&batch) : 0;

	for (size_t i = 0; !error && i < count; i += BATCH) {
		uint32_t now = (uint32_t)(count - i < BATCH ? count - i : BATCH);

		batch_load(&batch, form, elements + i, now);
		error = write_batch(fd, &batch, setmap_key_size(form), now);
	}
	return full(kernel, error);
}

int setmap_erase(struct kernel *kernel, int fd, struct setmap_form form, const struct setmap_element *elements,
		 size_t count)
{
	(void)kernel;
	for (size_t i = 0; i < count; i++) {
		char key[SETMAP_KEY_BYTES];

		setmap_key_encode(form, elements[i].lo, elements[i].prefix, key);
		if (bpf_map_delete_elem(fd, key) && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int take(struct setmap_elements *elements, struct setmap_form form, const void *key,
		const struct set_value *value)
{
	struct setmap_element *element = push(elements);

	if (!element)
		return -ENOMEM;
	setmap_key_decode(form, key, &element->lo, &element->prefix);
	element->value = *value;
	return 0;
}

static int read_batches(int fd, struct setmap_form form, struct batch *batch, struct setmap_elements *elements)
{
	char place[2][SETMAP_KEY_BYTES];
	unsigned size = setmap_key_size(form);
	bool first = true, last = false;

	for (unsigned at = 0; !last; at ^= 1) {
		uint32_t count = BATCH;
		int error = 0;

		if (bpf_map_lookup_batch(fd, first ? NULL : place[at], place[at ^ 1], batch->keys,
					 batch->values, &count, NULL)) {
			if (errno != ENOENT)
				return -errno;
			last = true;
		}
		for (uint32_t i = 0; !error && i < count; i++)
			error = take(elements, form, batch->keys + (size_t)i * size, &batch->values[i]);
		if (error)
			return error;
		first = false;
	}
	return 0;
}

static int read_singly(int fd, struct setmap_form form, struct setmap_elements *elements)
{
	char key[SETMAP_KEY_BYTES], next[SETMAP_KEY_BYTES];
	struct set_value value;
	bool first = true;

	elements->count = 0;
	while (!bpf_map_get_next_key(fd, first ? NULL : key, next)) {
		memcpy(key, next, sizeof key);
		first = false;
		if (!bpf_map_lookup_elem(fd, key, &value) && take(elements, form, key, &value))
			return -ENOMEM;
	}
	return errno == ENOENT ? 0 : -errno;
}

int setmap_read(struct kernel *kernel, int fd, struct setmap_form form, struct setmap_elements *ret_elements)
{
	CLEANUP_BATCH struct batch batch = { 0 };
	int error = batch_make(&batch);

	(void)kernel;
	memset(ret_elements, 0, sizeof *ret_elements);
	if (!error)
		error = read_batches(fd, form, &batch, ret_elements);
	if (no_batches(error) || error == -ENOSPC)
		error = read_singly(fd, form, ret_elements);
	return error;
}

int setmap_sweep(struct kernel *kernel, int fd, struct setmap_form form)
{
	struct setmap_elements elements;
	uint64_t now = setmap_now();
	int error = setmap_read(kernel, fd, form, &elements);

	for (size_t i = 0; !error && i < elements.count; i++)
		if (!setmap_lives(&elements.items[i].value, now))
			error = setmap_erase(kernel, fd, form, &elements.items[i], 1);
	setmap_elements_free(&elements);
	return error;
}

int setmap_has(int fd, struct setmap_form form, const struct setmap_element *element, struct set_value *ret_value)
{
	char key[SETMAP_KEY_BYTES];
	struct set_value value;

	setmap_key_encode(form, element->lo, element->prefix, key);
	if (bpf_map_lookup_elem(fd, key, &value))
		return errno == ENOENT ? 0 : -errno;
	if (form.lpm && value.reserved != element->prefix)
		return 0; /* a shorter prefix around it */
	*ret_value = value;
	return 1;
}

int setmap_covers(int fd, struct setmap_form form, u128 value)
{
	unsigned length = setmap_key_bits(form);
	uint64_t now = setmap_now();
	char key[SETMAP_KEY_BYTES];
	struct set_value found;

	for (;;) {
		setmap_key_encode(form, value, length, key);
		if (bpf_map_lookup_elem(fd, key, &found))
			return errno == ENOENT ? 0 : -errno;
		if (setmap_lives(&found, now))
			return 1;
		if (!form.lpm || !found.reserved || found.reserved > length)
			return 0;
		length = found.reserved - 1; /* what has expired hides shorter prefixes */
	}
}

int setmap_fill(struct kernel *kernel, int fd, const struct install_set *set, struct setmap_start start)
{
	const struct setmap_form form = { set->key, set->lpm };
	struct setmap_elements elements;
	int error = setmap_expand(set, start, UINT32_MAX, &elements);

	if (error)
		return error;
	error = setmap_write(kernel, fd, form, elements.items, elements.count);
	setmap_elements_free(&elements);
	return error;
}

static int compare(const void *a, const void *b)
{
	const struct setmap_element *left = a, *right = b;

	if (left->lo != right->lo)
		return left->lo < right->lo ? -1 : 1;
	return (int)left->prefix - (int)right->prefix;
}

/* Erases from the map those of `there` that `wanted` has not. Both sorted. */
static int erase_others(struct kernel *kernel, int fd, struct setmap_form form, const struct setmap_elements *there,
			const struct setmap_elements *wanted)
{
	size_t at = 0;

	for (size_t i = 0; i < there->count; i++) {
		int error;

		while (at < wanted->count && compare(&wanted->items[at], &there->items[i]) < 0)
			at++;
		if (at < wanted->count && !compare(&wanted->items[at], &there->items[i]))
			continue;
		error = setmap_erase(kernel, fd, form, &there->items[i], 1);
		if (error)
			return error;
	}
	return 0;
}

static void sort(struct setmap_elements *elements)
{
	if (elements->count)
		qsort(elements->items, elements->count, sizeof *elements->items, compare);
}

int setmap_assign(struct kernel *kernel, int to, int from, struct setmap_form form)
{
	struct setmap_elements wanted = { 0 }, there = { 0 };
	bool crowded = false;
	int error = setmap_read(kernel, from, form, &wanted);

	if (!error) {
		drop_expired(&wanted);
		error = setmap_read(kernel, to, form, &there);
	}
	if (!error)
		error = setmap_write(kernel, to, form, wanted.items, wanted.count);
	if (error == -ENOSPC) { /* both together are too many: room first */
		problem_forget(kernel);
		crowded = true;
		error = 0;
	}
	if (!error && there.count) {
		sort(&wanted);
		sort(&there);
		error = erase_others(kernel, to, form, &there, &wanted);
	}
	if (!error && crowded)
		error = setmap_write(kernel, to, form, wanted.items, wanted.count);
	setmap_elements_free(&wanted);
	setmap_elements_free(&there);
	return error;
}

static size_t keep_file(struct setmap_elements *elements)
{
	size_t kept = 0;

	for (size_t i = 0; i < elements->count; i++)
		if (elements->items[i].value.origin == ORIGIN_FILE)
			elements->items[kept++] = elements->items[i];
	return kept;
}

static bool same_elements(struct setmap_elements *a, struct setmap_elements *b)
{
	if (a->count != b->count)
		return false;
	sort(a);
	sort(b);
	for (size_t i = 0; i < a->count; i++)
		if (compare(&a->items[i], &b->items[i]) || a->items[i].value.expires_ns != b->items[i].value.expires_ns)
			return false;
	return true;
}

int setmap_as_given(struct kernel *kernel, int fd, const struct install_set *set)
{
	const struct setmap_form form = { set->key, set->lpm };
	struct setmap_elements given = { 0 }, there = { 0 };
	int result = setmap_expand(set, (struct setmap_start){ ORIGIN_FILE, 0 }, UINT32_MAX, &given);

	if (!result)
		result = setmap_read(kernel, fd, form, &there);
	if (!result) {
		there.count = keep_file(&there);
		result = same_elements(&given, &there);
	}
	setmap_elements_free(&given);
	setmap_elements_free(&there);
	return result;
}

int setmap_keep_run_time(struct kernel *kernel, int to, struct setmap_form to_form, bool timed, int from,
			 struct setmap_form from_form)
{
	struct setmap_elements elements = { 0 };
	int error = setmap_read(kernel, from, from_form, &elements);
	size_t kept = 0;

	if (!error)
		drop_expired(&elements);
	for (size_t i = 0; !error && i < elements.count; i++) {
		struct setmap_element *element = &elements.items[i];
		struct set_value value;

		if (element->value.origin == ORIGIN_FILE || (element->value.expires_ns && !timed))
			continue;
		if (!to_form.lpm && element->prefix != setmap_key_bits(to_form))
			continue; /* a prefix does not fit into a set of addresses */
		if (setmap_has(to, to_form, element, &value) > 0)
			continue; /* the file has it now */
		elements.items[kept++] = *element;
	}
	if (!error)
		error = setmap_write(kernel, to, to_form, elements.items, kept);
	setmap_elements_free(&elements);
	return error;
}
