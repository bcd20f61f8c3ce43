/* SPDX-License-Identifier: GPL-2.0-only */
/* What is in force, for list and show. In: the store, locked for the moment; out: copies in the caller's arena. */
#include <errno.h>
#include <string.h>

#include "kernel/attach.h"
#include "kernel/cache.h"
#include "kernel/counters.h"
#include "kernel/lineage.h"
#include "kernel/loaded.h"
#include "kernel/rules.h"
#include "kernel/statemap.h"
#include "kernel/tunables.h"

/* --- names ------------------------------------------------------------------------------------------------------ */

struct names_call {
	struct arena *arena;
	const struct view *view;
	const char *const *names;
};

static int copy_names(void *context)
{
	struct names_call *call = context;
	const char **names = ARENA_ARRAY(call->arena, const char *, call->view->count);

	for (size_t i = 0; i < call->view->count; i++)
		names[i] = arena_strndup(call->arena, call->view->items[i].policy,
					 strlen(call->view->items[i].policy));
	call->names = names;
	return 0;
}

/* The view under the lock; an empty one if there is no store. */
static int read_view(struct kernel *kernel, struct view *ret_view)
{
	int error = store_lock(kernel);

	memset(ret_view, 0, sizeof *ret_view);
	if (error)
		return error == -ENOENT ? 0 : error;
	error = view_read(kernel, ret_view);
	store_unlock(kernel);
	return error;
}

int kernel_policies(struct kernel *kernel, struct arena *arena, struct diags *diags, const char *const **ret_names,
		    size_t *ret_count)
{
	struct view view;
	struct names_call call = { arena, &view, NULL };
	int error = read_view(kernel, &view);

	if (!error)
		error = arena_run(arena, copy_names, &call);
	if (!error) {
		*ret_names = call.names;
		*ret_count = view.count;
	}
	view_free(&view);
	return problem_report(kernel, diags, error);
}

/* --- one policy ------------------------------------------------------------------------------------------------- */

/* All of it. */
struct snapshot {
	const struct generation *generation;
	bool *attached; /* by place */
	uint64_t *cached; /* by place */
	struct counter *counters;
	struct kernel_blob source, meta;
	struct lost lost;
	struct plane_tunables *tunables;
	void *edits;
	size_t edits_size;
};

static void snapshot_free(struct snapshot *snapshot)
{
	free(snapshot->attached);
	free(snapshot->cached);
	free(snapshot->counters);
	kernel_blob_unmap(&snapshot->source);
	kernel_blob_unmap(&snapshot->meta);
	free(snapshot->tunables);
	free(snapshot->edits);
}

bool place_attached(const char *folder, const struct record *record, uint32_t index)
{
	const struct place *place = &record->places[index];
	CLEANUP_CLOSE int link = -1;
	struct link_state state;

	if (place->how == HOW_CLSACT)
		return attach_filter_there(place);
	if (hook_table[place->hook].target == TARGET_CGROUP && !attach_cgroup_there(place))
		return false;
	link = pin_open(folder, "link_%u", index);
	return link >= 0 && !attach_state(place, link, &state) && state.alive;
}

static uint64_t place_cached(const char *folder, const struct record *record, uint32_t index)
{
	CLEANUP_CLOSE int prog = -1;

	if (!hook_table[record->places[index].hook].caches)
		return 0;
	prog = pin_open(folder, "prog_%u", index);
	return cache_hits_of(prog);
}

static int take(struct kernel *kernel, const struct generation *generation, struct snapshot *snapshot)
{
	const struct record *record = generation->record;
	const char *folder = generation->folder.text;
	int error;

	snapshot->generation = generation;
	snapshot->attached = calloc(record->place_count + 1, sizeof *snapshot->attached);
	snapshot->counters = calloc(record->slots + 1, sizeof *snapshot->counters);
	snapshot->cached = calloc(record->place_count + 1, sizeof *snapshot->cached);
	if (!snapshot->attached || !snapshot->counters || !snapshot->cached)
		return -ENOMEM;
	for (uint32_t i = 0; i < record->place_count; i++) {
		snapshot->attached[i] = place_attached(folder, record, i);
		snapshot->cached[i] = place_cached(folder, record, i);
	}
	error = counters_total(kernel, generation, snapshot->counters);
	if (!error)
		error = counters_lost(kernel, generation, &snapshot->lost);
	if (!error && record->source_size)
		error = blob_map(kernel, folder, "source", &snapshot->source);
	if (!error && record->meta_size)
		error = blob_map(kernel, folder, "meta", &snapshot->meta);
	if (!error)
		error = tunables_read(kernel, folder, &snapshot->tunables);
	if (!error)
		error = rules_edits(kernel, folder, &snapshot->edits, &snapshot->edits_size);
	return error;
}

struct state_call {
	struct arena *arena;
	const struct snapshot *snapshot;
	struct policy_state state;
};

static char *copy_text(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

/* Netfilter has a place for each family, a system call several, a recorder comes with another one: one hook to users. */
static struct policy_hook *find_hook(struct policy_hook *hooks, size_t count, const struct place *place)
{
	for (size_t i = 0; i < count; i++)
		if (hooks[i].hook == place->hook && (hook_table[place->hook].target == TARGET_NONE ||
						     (hook_table[place->hook].target == TARGET_CGROUP &&
						      !strcmp(hooks[i].target, place->target))))
			return &hooks[i];
	return NULL;
}

static void copy_hooks(struct state_call *call)
{
	const struct record *record = call->snapshot->generation->record;
	struct policy_hook *hooks = ARENA_ARRAY(call->arena, struct policy_hook, record->place_count);
	size_t count = 0;

	for (uint32_t i = 0; i < record->place_count; i++) {
		const struct place *place = &record->places[i];
		struct policy_hook *hook = find_hook(hooks, count, place);

		if (hook && place->how != HOW_NONE)
			hook->attached &= call->snapshot->attached[i];
		if (hook || place->how == HOW_NONE)
			continue;
		hooks[count].hook = (enum hook)place->hook;
		if (hook_table[place->hook].target != TARGET_NONE)
			hooks[count].target = copy_text(call->arena, place->target);
		hooks[count].how = attach_how_name(place->how);
		hooks[count].attached = call->snapshot->attached[i];
		hooks[count++].cached = call->snapshot->cached[i];
	}
	call->state.hooks = hooks;
	call->state.hook_count = count;
}

static int copy_state(void *context)
{
	struct state_call *call = context;
	const struct snapshot *snapshot = call->snapshot;
	const struct record *record = snapshot->generation->record;
	struct policy_state *state = &call->state;

	state->policy = copy_text(call->arena, snapshot->generation->policy);
	copy_hooks(call);
	state->counters = arena_copy(call->arena, snapshot->counters, record->slots * sizeof *snapshot->counters);
	state->slots = record->slots;
	state->events_lost = snapshot->lost.events;
	state->captures_lost = snapshot->lost.captures;
	state->loaded_ns = record->loaded_ns;
	state->source = arena_copy(call->arena, snapshot->source.data, snapshot->source.size);
	state->source_size = snapshot->source.size;
	state->meta = arena_copy(call->arena, snapshot->meta.data, snapshot->meta.size);
	state->meta_size = snapshot->meta.size;
	if (snapshot->tunables)
		state->tunables = arena_copy(call->arena, snapshot->tunables, sizeof *snapshot->tunables);
	state->edits = arena_copy(call->arena, snapshot->edits ? snapshot->edits : "", snapshot->edits_size);
	state->edits_size = snapshot->edits_size;
	state->unfollowed = !lineage_attached(snapshot->generation->folder.text);
	return 0;
}

/* Calls `work` for the policy's generation, under the lock. */
typedef int (*generation_work)(struct kernel *kernel, const struct generation *generation, void *context);

static int with_policy(struct kernel *kernel, const char *policy, generation_work work, void *context)
{
	const struct generation *generation;
	struct view view;
	int error = store_lock(kernel);

	if (error)
		return error == -ENOENT ? problem_set(kernel, error, "there is no policy `%s`", policy) : error;
	error = view_read(kernel, &view);
	if (!error) {
		generation = view_find(&view, policy);
		error = generation ? work(kernel, generation, context) :
				     problem_set(kernel, -ENOENT, "there is no policy `%s`", policy);
		view_free(&view);
	}
	store_unlock(kernel);
	return error;
}

/* Only arena_run() unwinds here, and comes back before anything is freed. */
static int take_and_copy(struct kernel *kernel, const struct generation *generation, void *context)
{
	struct state_call *call = context;
	struct snapshot snapshot = { 0 };
	int error = take(kernel, generation, &snapshot);

	call->snapshot = &snapshot;
	if (!error)
		error = arena_run(call->arena, copy_state, call);
	snapshot_free(&snapshot);
	return error;
}

int kernel_policy(struct kernel *kernel, struct arena *arena, const char *policy, struct diags *diags,
		  struct policy_state *ret_state)
{
	struct state_call call = { .arena = arena };
	int error = with_policy(kernel, policy, take_and_copy, &call);

	if (!error)
		*ret_state = call.state;
	return problem_report(kernel, diags, error);
}

struct loaded_call {
	struct state_call state;
	struct kernel_loaded *loaded;
};

static int take_loaded(struct kernel *kernel, const struct generation *generation, void *context)
{
	struct loaded_call *call = context;
	int error = take_and_copy(kernel, generation, &call->state);

	return error ? error : loaded_read(kernel, generation, &call->loaded);
}

int kernel_loaded_read(struct kernel *kernel, struct arena *arena, const char *policy, struct diags *diags,
		       struct policy_state *ret_state, struct kernel_loaded **ret_loaded)
{
	struct loaded_call call = { .state.arena = arena };
	int error = with_policy(kernel, policy, take_loaded, &call);

	if (!error) {
		*ret_state = call.state.state;
		*ret_loaded = call.loaded;
	}
	return problem_report(kernel, diags, error);
}

static int zero(struct kernel *kernel, const struct generation *generation, void *context)
{
	(void)context;
	return counters_zero(kernel, generation);
}

int kernel_counters_reset(struct kernel *kernel, const char *policy, struct diags *diags)
{
	int error = store_need_write(kernel);

	if (!error)
		error = with_policy(kernel, policy, zero, NULL);
	return problem_report(kernel, diags, error);
}

int kernel_tune(struct kernel *kernel, const char *policy, const struct kernel_tuning *tuning, struct diags *diags)
{
	int error = store_need_write(kernel);

	if (!error)
		error = with_policy(kernel, policy, tunables_change, (void *)tuning);
	return problem_report(kernel, diags, error);
}

struct sizes_call {
	struct kernel_state_size *sizes;
	size_t count;
};

static int size_states(struct kernel *kernel, const struct generation *generation, void *context)
{
	struct sizes_call *call = context;

	return state_sizes(kernel, generation, call->sizes, &call->count);
}

int kernel_state_sizes(struct kernel *kernel, const char *policy, struct diags *diags,
		       struct kernel_state_size *ret_sizes, size_t *ret_count)
{
	struct sizes_call call = { ret_sizes, 0 };
	int error = with_policy(kernel, policy, size_states, &call);

	if (!error)
		*ret_count = call.count;
	return problem_report(kernel, diags, error);
}

struct read_call {
	const char *name;
	struct kernel_state *state;
};

static int read_state(struct kernel *kernel, const struct generation *generation, void *context)
{
	const struct read_call *call = context;

	return state_read(kernel, generation, call->name, call->state);
}

int kernel_state_read(struct kernel *kernel, const char *policy, const char *name, struct diags *diags,
		      struct kernel_state *state)
{
	struct read_call call = { name, state };

	return problem_report(kernel, diags, with_policy(kernel, policy, read_state, &call));
}
