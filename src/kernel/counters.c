/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: generations; out: totals a slot. Arithmetic wraps, so a base below zero is fine: zeroing sets it to minus
 * what the CPUs have counted, and no packet is lost.
 */
#include "kernel/counters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

unsigned counters_chunk_bits(uint32_t slots)
{
	unsigned bits = 0;

	while (bits < COUNTER_CHUNK_BITS_MAX && slots > 1u << bits)
		bits++;
	return bits;
}

uint32_t counters_chunks(uint32_t slots)
{
	return ((slots - 1) >> counters_chunk_bits(slots)) + 1;
}

/* Counters in a chunk of the map; 0, with errno, if it cannot be asked. */
static uint32_t chunk_size(int fd)
{
	struct bpf_map_info info;

	if (map_info(fd, &info))
		return 0;
	return info.value_size / (uint32_t)sizeof(struct counter);
}

static void add_each(struct counter *to, const struct counter *what, uint32_t slots)
{
	for (uint32_t i = 0; i < slots; i++) {
		to[i].packets += what[i].packets;
		to[i].bytes += what[i].bytes;
	}
}

int counters_sum(int fd, uint32_t slots, struct counter *ret_counters)
{
	int cpus = libbpf_num_possible_cpus();
	CLEANUP_FREE struct counter *values = NULL;
	uint32_t size = chunk_size(fd);

	if (cpus < 1 || !size)
		return cpus < 0 ? cpus : -errno;
	values = calloc((size_t)cpus * size, sizeof *values);
	if (!values)
		return -ENOMEM;
	memset(ret_counters, 0, slots * sizeof *ret_counters);
	for (uint32_t chunk = 0, slot = 0; slot < slots; chunk++, slot += size) {
		if (bpf_map_lookup_elem(fd, &chunk, values))
			return -errno;
		for (int cpu = 0; cpu < cpus; cpu++)
			add_each(&ret_counters[slot], &values[(size_t)cpu * size], slots - slot < size ? slots - slot : size);
	}
	return 0;
}

static int read_base(int fd, uint32_t slots, struct counter *ret_counters)
{
	for (uint32_t slot = 0; slot < slots; slot++)
		if (bpf_map_lookup_elem(fd, &slot, &ret_counters[slot]))
			return -errno;
	return 0;
}

static int open_counts(struct kernel *kernel, const char *folder, const char *name)
{
	int fd = pin_open(folder, "%s", name);

	return fd < 0 ? problem_set(kernel, fd, "cannot read %s/%s: %s", folder, name, strerror(-fd)) : fd;
}

static int read_sums(struct kernel *kernel, const char *folder, uint32_t slots, struct counter *ret_counters)
{
	CLEANUP_CLOSE int fd = open_counts(kernel, folder, "counters");

	return fd < 0 ? fd : counters_sum(fd, slots, ret_counters);
}

int counters_read(struct kernel *kernel, const char *folder, uint32_t slots, struct counter *ret_counters)
{
	CLEANUP_FREE struct counter *start = calloc(slots, sizeof *start);
	CLEANUP_CLOSE int fd = open_counts(kernel, folder, "base");
	int error = fd < 0 ? fd : 0;

	if (!start)
		return -ENOMEM;
	if (!error)
		error = read_base(fd, slots, start);
	if (!error)
		error = read_sums(kernel, folder, slots, ret_counters);
	if (!error)
		add_each(ret_counters, start, slots);
	return error;
}

/* What the successor's slots start from. */
static int carried(struct kernel *kernel, const char *folder, const struct record *record,
		   const struct generation *successor, struct counter *ret_start)
{
	const struct record *now = successor->record;
	CLEANUP_FREE struct counter *old = calloc(record->slots, sizeof *old);
	CLEANUP_FREE int32_t *table = NULL;
	int error;

	memset(ret_start, 0, now->slots * sizeof *ret_start);
	if (!now->carry_count)
		return 0;
	if (!old)
		return -ENOMEM;
	error = blob_load(kernel, successor->folder.text, "carry", now->carry_count * sizeof *table, (void **)&table);
	if (!error)
		error = counters_read(kernel, folder, record->slots, old);
	for (uint32_t i = 0; !error && i < now->carry_count && i < now->slots; i++)
		if (table[i] >= 0 && (uint32_t)table[i] < record->slots)
			ret_start[i] = old[table[i]];
	return error;
}

static int write_base(struct kernel *kernel, const char *folder, const struct counter *start, uint32_t slots)
{
	CLEANUP_CLOSE int fd = open_counts(kernel, folder, "base");

	for (uint32_t slot = 0; fd >= 0 && slot < slots; slot++)
		if (bpf_map_update_elem(fd, &slot, &start[slot], BPF_ANY))
			return -errno;
	return fd < 0 ? fd : 0;
}

/* --- lost events and captures ----------------------------------------------------------------------------------- */

static int read_lost(const char *folder, const struct record *record, struct lost *ret_lost)
{
	struct plane_status status = { 0 };
	const uint32_t zero = 0;
	CLEANUP_CLOSE int fd = pin_open(folder, "status");

	if (fd < 0)
		return fd;
	if (bpf_map_lookup_elem(fd, &zero, &status))
		return -errno;
	ret_lost->events = record->lost_before + status.events_lost;
	ret_lost->captures = record->captures_lost_before + status.captures_lost;
	return 0;
}

static int carry_lost(const char *folder, const struct record *record, const struct generation *successor)
{
	struct record *now = successor->record;
	struct lost lost;
	int error = read_lost(folder, record, &lost);

	if (error || (lost.events == now->lost_before && lost.captures == now->captures_lost_before))
		return error;
	now->lost_before = lost.events;
	now->captures_lost_before = lost.captures;
	return blob_update(successor->folder.text, "record", now);
}

int counters_lost(struct kernel *kernel, const struct generation *generation, struct lost *ret_lost)
{
	CLEANUP_FREE struct record *old = NULL;
	struct lost lost, before = { 0 };
	int error = read_lost(generation->folder.text, generation->record, &lost);

	if (!error && generation->carry_from.text[0]) {
		error = record_load(kernel, generation->carry_from.text, &old);
		if (!error)
			error = read_lost(generation->carry_from.text, old, &before);
		lost.events -= generation->record->lost_before;
		lost.captures -= generation->record->captures_lost_before;
	}
	if (error)
		return problem_set(kernel, error, "cannot read the status of policy `%s`: %s", generation->policy,
				   strerror(-error));
	ret_lost->events = lost.events + before.events;
	ret_lost->captures = lost.captures + before.captures;
	return 0;
}

/* --- carrying over ---------------------------------------------------------------------------------------------- */

int counters_carry(struct kernel *kernel, const char *folder, const struct record *record,
		   const struct generation *successor)
{
	CLEANUP_FREE struct counter *start = calloc(successor->record->slots, sizeof *start);
	int error;

	if (!start)
		return -ENOMEM;
	error = carried(kernel, folder, record, successor, start);
	if (!error)
		error = write_base(kernel, successor->folder.text, start, successor->record->slots);
	return error ? error : carry_lost(folder, record, successor);
}

int counters_total(struct kernel *kernel, const struct generation *generation, struct counter *ret_counters)
{
	const struct record *record = generation->record;
	CLEANUP_FREE struct counter *start = NULL;
	CLEANUP_FREE struct record *old = NULL;
	int error;

	if (!generation->carry_from.text[0])
		return counters_read(kernel, generation->folder.text, record->slots, ret_counters);
	start = calloc(record->slots, sizeof *start);
	if (!start)
		return -ENOMEM;
	error = record_load(kernel, generation->carry_from.text, &old);
	if (!error)
		error = carried(kernel, generation->carry_from.text, old, generation, start);
	if (!error)
		error = read_sums(kernel, generation->folder.text, record->slots, ret_counters);
	if (!error)
		add_each(ret_counters, start, record->slots);
	return error;
}

int counters_make_base(struct kernel *kernel, const char *folder, uint32_t slots)
{
	CLEANUP_CLOSE int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_base", sizeof(uint32_t),
					      sizeof(struct counter), slots, NULL);

	if (fd < 0)
		return problem_bpf(kernel, -errno, "cannot create a BPF map");
	return pin_make(kernel, fd, folder, "base");
}

int counters_zero(struct kernel *kernel, const struct generation *generation)
{
	uint32_t slots = generation->record->slots;
	CLEANUP_FREE struct counter *counts = calloc(slots, sizeof *counts);
	int error;

	if (!counts)
		return -ENOMEM;
	error = read_sums(kernel, generation->folder.text, slots, counts);
	for (uint32_t i = 0; i < slots; i++) {
		counts[i].packets = -counts[i].packets;
		counts[i].bytes = -counts[i].bytes;
	}
	return error ? error : write_base(kernel, generation->folder.text, counts, slots);
}
