/* SPDX-License-Identifier: GPL-2.0-only */
/* An emitted object, joined with the test's plane and loaded. */
#ifndef WEIR_TESTS_EMIT_LOAD_H
#define WEIR_TESTS_EMIT_LOAD_H

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "emit/emit.h"
#include "random_plan.h"

/* In milliseconds. */
static inline double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Joins the object with the plane through memory files; NULL on failure. */
static inline struct bpf_object *link_object(const struct object *object)
{
	int in = memfd_create("classifier", MFD_CLOEXEC), out = memfd_create("linked", MFD_CLOEXEC);
	char in_path[40], out_path[40];
	struct bpf_linker *linker;
	struct bpf_object *linked = NULL;

	snprintf(in_path, sizeof in_path, "/proc/self/fd/%d", in);
	snprintf(out_path, sizeof out_path, "/proc/self/fd/%d", out);
	linker = bpf_linker__new(out_path, NULL);
	if (write(in, object->data, object->size) == (ssize_t)object->size &&
	    !bpf_linker__add_file(linker, PLANE_OBJECT, NULL) && !bpf_linker__add_file(linker, in_path, NULL) &&
	    !bpf_linker__finalize(linker))
		linked = bpf_object__open_file(out_path, NULL);
	bpf_linker__free(linker);
	close(in);
	close(out);
	return linked;
}

/* Key of one element, as the emitted code builds it; returns its size. */
static inline void element_key(const struct plan_set *set, u128 value, unsigned prefix, unsigned char key[20])
{
	struct prefix4_key *v4 = (struct prefix4_key *)key;
	struct prefix6_key *v6 = (struct prefix6_key *)key;
	uint64_t halves[2] = { u128_hi(value), u128_lo(value) };
	uint32_t number = (uint32_t)value;

	if (set->lpm && set->key == KEY_IPV4) {
		v4->length = prefix;
		for (int i = 0; i < 4; i++)
			v4->address[i] = (uint8_t)(value >> (24 - 8 * i));
	} else if (set->lpm) {
		v6->length = prefix;
		for (int i = 0; i < 16; i++)
			v6->address[i] = (uint8_t)(value >> (120 - 8 * i));
	} else if (set->key == KEY_IPV4) {
		memcpy(key, &number, sizeof number);
	} else if (set->key == KEY_IPV6) {
		memcpy(key, halves, sizeof halves);
	} else {
		memcpy(key, &halves[1], sizeof halves[1]);
	}
}

/* The test's LPM ranges are prefixes, its hash ranges short. */
static inline int fill_set(const struct plan_set *set, int map)
{
	const struct set_value value = { 0 };
	unsigned bits = set->key == KEY_IPV4 ? 32 : 128;

	for (size_t i = 0; i < set->count; i++) {
		const struct range *range = &set->elements[i];
		unsigned prefix = bits;
		u128 last = set->lpm ? range->lo : range->hi;

		while (set->lpm && prefix && (range->hi - range->lo) >> (bits - prefix))
			prefix--;
		for (u128 element = range->lo; element <= last; element++) {
			unsigned char key[20];

			element_key(set, element, prefix, key);
			if (bpf_map_update_elem(map, key, &value, BPF_ANY))
				return -1;
		}
	}
	return 0;
}

static inline int fill_sets(const struct plan *plan, struct bpf_object *object)
{
	for (size_t i = 0; i < plan->set_count; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, plan->sets[i].map);

		if (map && fill_set(&plan->sets[i], bpf_map__fd(map)))
			return -1;
	}
	return 0;
}

static inline int program_of(struct bpf_object *object, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(object, name));
}

static inline int run_program(int program, const struct packet *packet, uint32_t *ret_answer)
{
	unsigned char frame[sizeof *packet];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof frame);
	int error;

	memcpy(frame, packet, sizeof frame);
	error = bpf_prog_test_run_opts(program, &options);
	*ret_answer = options.retval;
	return error;
}

#endif
