/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections of a policy in force. In: its pins; out: copies of the entries, malloc()ed, or fewer entries. */
#include "kernel/flows.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "kernel/statemap.h"

/* The maps, opened. Descriptors are owned. */
struct tables {
	int assured, fresh, counts;
};

static void tables_close(struct tables *tables)
{
	close_cleanup(&tables->assured);
	close_cleanup(&tables->fresh);
	close_cleanup(&tables->counts);
}

static int open_in(struct kernel *kernel, const char *policy, struct tables *ret_tables)
{
	const struct generation *generation;
	struct view view;
	int error = view_read(kernel, &view);

	if (error)
		return error;
	generation = view_find(&view, policy);
	if (!generation)
		error = problem_set(kernel, -ENOENT, "there is no policy `%s`", policy);
	if (!error) {
		const char *folder = generation->folder.text;

		ret_tables->assured = state_open(folder, FLOWS_STATE, FLOW_LAYOUT);
		ret_tables->fresh = state_open(folder, FLOWS_FRESH_STATE, FLOW_LAYOUT);
		ret_tables->counts = state_open(folder, FLOW_COUNTS_STATE, FLOW_LAYOUT);
		if (ret_tables->assured < 0 || ret_tables->fresh < 0 || ret_tables->counts < 0)
			error = problem_set(kernel, -ENODATA, "policy `%s` does not track connections: no rule asks "
					    "for `established` or the like", policy);
	}
	view_free(&view);
	return error;
}

static int tables_open(struct kernel *kernel, const char *policy, struct tables *ret_tables)
{
	int error = store_lock(kernel);

	*ret_tables = (struct tables){ -1, -1, -1 };
	if (error)
		return error == -ENOENT ? problem_set(kernel, -ENOENT, "there is no policy `%s`", policy) : error;
	error = open_in(kernel, policy, ret_tables);
	store_unlock(kernel);
	return error;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

struct collecting {
	struct kernel_flows *flows;
	size_t room;
};

/* What has run out is gone, though its place is only taken when it is needed. */
static int collect(void *context, const void *keys, const void *values, uint32_t count)
{
	struct collecting *collecting = context;
	struct kernel_flows *flows = collecting->flows;
	const struct flow_key *key = keys;
	const struct flow *flow = values;

	for (uint32_t i = 0; i < count; i++) {
		if (flow[i].expires_ns <= flows->now_ns)
			continue;
		if (flows->count == collecting->room) {
			size_t room = collecting->room ? collecting->room * 2 : 1024;
			struct kernel_flow *items = reallocarray(flows->items, room, sizeof *items);

			if (!items)
				return -ENOMEM;
			flows->items = items;
			collecting->room = room;
		}
		flows->items[flows->count++] = (struct kernel_flow){ key[i], flow[i] };
	}
	return 0;
}

static int read_counts(int fd, struct flow_counts *ret_counts)
{
	int cpus = libbpf_num_possible_cpus();
	CLEANUP_FREE struct flow_counts *each = cpus > 0 ? calloc((size_t)cpus, sizeof *each) : NULL;
	const uint32_t zero = 0;

	if (!each || bpf_map_lookup_elem(fd, &zero, each))
		return -errno;
	for (int i = 0; i < cpus; i++) {
		ret_counts->created += each[i].created;
		ret_counts->assured += each[i].assured;
		ret_counts->refused += each[i].refused;
		ret_counts->invalid += each[i].invalid;
	}
	return 0;
}

static int read_tables(const struct tables *tables, unsigned what, struct kernel_flows *flows)
{
	struct collecting collecting = { .flows = flows };
	struct bpf_map_info info = { 0 };
	int error = read_counts(tables->counts, &flows->counts);

	if (!error)
		error = map_info(tables->assured, &info);
	flows->max = info.max_entries;
	flows->memory = map_memory(tables->assured) + map_memory(tables->fresh);
	if (!error && what & FLOWS_ENTRIES)
		error = state_each(tables->assured, collect, &collecting);
	if (!error && what & FLOWS_ENTRIES)
		error = state_each(tables->fresh, collect, &collecting);
	return error;
}

int kernel_flows_read(struct kernel *kernel, const char *policy, unsigned what, struct diags *diags,
		      struct kernel_flows *ret_flows)
{
	struct kernel_flows flows = { .now_ns = clock_ns(CLOCK_MONOTONIC) };
	struct tables tables;
	int error = tables_open(kernel, policy, &tables);

	if (!error) {
		error = read_tables(&tables, what, &flows);
		if (error)
			problem_set(kernel, error, "cannot read the connections of policy `%s`: %s", policy,
				    strerror(-error));
	}
	tables_close(&tables);
	if (error)
		kernel_flows_free(&flows);
	else
		*ret_flows = flows;
	if (error == -ENODATA && what & FLOWS_IF_ANY) {
		problem_forget(kernel);
		return error;
	}
	return problem_report(kernel, diags, error);
}

void kernel_flows_free(struct kernel_flows *flows)
{
	free(flows->items);
	memset(flows, 0, sizeof *flows);
}

/* --- deleting --------------------------------------------------------------------------------------------------- */

int kernel_flows_delete(struct kernel *kernel, const char *policy, const struct flow_key *keys, size_t count,
			struct diags *diags)
{
	struct tables tables;
	int error = tables_open(kernel, policy, &tables);

	for (size_t i = 0; !error && i < count; i++) {
		bpf_map_delete_elem(tables.assured, &keys[i]); /* gone already: all the better */
		bpf_map_delete_elem(tables.fresh, &keys[i]);
	}
	tables_close(&tables);
	return problem_report(kernel, diags, error);
}
