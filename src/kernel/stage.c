/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Staging. In: installs; out: their programs loaded, their maps filled, all pinned under @stage/POLICY, attached to
 * nothing. Fails with the reason; recover.c removes what was pinned until then.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "kernel/attach.h"
#include "kernel/counters.h"
#include "kernel/qdisc.h"
#include "kernel/rules.h"
#include "kernel/sets.h"
#include "kernel/statemap.h"

/* One policy being staged. */
struct staging {
	struct change *change;
	const struct install *install;
	struct generation *generation;
	struct places places;
	struct shares shares; /* maps that every program of the policy uses */
};

/* --- places ----------------------------------------------------------------------------------------------------- */

static bool seen(const struct places *places, size_t before, const struct place *place)
{
	for (size_t i = 0; i < before; i++)
		if (place_same(&places->items[i], place))
			return true;
	return false;
}

/* A name and a glob may mean the same interface: it is judged once, by the hook named first. */
static void drop_repeats(struct places *places, size_t from, uint32_t source)
{
	size_t kept = from;

	for (size_t i = from; i < places->count; i++) {
		if (seen(places, kept, &places->items[i]))
			continue;
		places->items[kept] = places->items[i];
		places->items[kept++].source = source;
	}
	places->count = kept;
}

static bool throttles(const struct install_hook *hook)
{
	for (size_t i = 0; i < hook->step_count; i++)
		if (hook->steps[i].kind == STEP_THROTTLE)
			return true;
	return false;
}

/* Where the policy throttles what leaves by a device, packets are delayed if its qdisc can do that. */
static void find_pacing(struct staging *staging)
{
	for (size_t i = 0; i < staging->places.count; i++) {
		struct place *place = &staging->places.items[i];

		if (place->hook != HOOK_TC_EGRESS || !throttles(&staging->install->hooks[place->source]))
			continue;
		place->paces = qdisc_paces(place->ifindex);
		if (!place->paces)
			problem_note(staging->change->kernel, "policy `%s`: %s has no fq qdisc, so `throttle` drops what is "
				     "over the rate; with `tc qdisc replace dev %s root fq`, and applied again, it delays it",
				     staging->install->policy, place->target, place->target);
	}
}

static int resolve(struct staging *staging)
{
	const struct install *install = staging->install;
	struct kernel *kernel = staging->change->kernel;

	for (size_t i = 0; i < install->hook_count; i++) {
		const struct attach_ops *ops = attach_ops(install->hooks[i].hook);
		size_t before = staging->places.count;
		int error;

		if (!ops)
			return problem_set(kernel, -EOPNOTSUPP, "a policy cannot be put at hook %s; use `weir load`",
					   hook_table[install->hooks[i].hook].name);
		error = ops->resolve(kernel, &install->hooks[i], &staging->places);
		if (error)
			return error;
		drop_repeats(&staging->places, before, (uint32_t)i);
	}
	find_pacing(staging);
	if (staging->places.count > PLACES_MAX)
		return problem_set(kernel, -E2BIG, "policy `%s` has more than %d places to attach to",
				   install->policy, PLACES_MAX);
	return 0;
}

/* --- maps that a policy's programs share ------------------------------------------------------------------------ */

static const char *const policy_maps[] = { "counters", "events", "captures", "status", "logs", "changes",
					    "tunables" };

static int share_first(struct staging *staging)
{
	int error = shares_add(&staging->shares, "epoch", staging->change->kernel->epoch_fd);

	if (!error)
		error = sets_share(staging->change, staging->install, &staging->shares);
	return error ? error : state_share(staging->change, staging->install, staging->generation, &staging->shares);
}

static int share_map(struct shares *shares, const struct bpf_object *object, const char *name)
{
	int fd = object_map(object, name);

	return fd < 0 || shares_find(shares, name) >= 0 ? 0 : shares_add(shares, name, fd);
}

/* From the first program on, the others use its maps. */
static int share_loaded(struct staging *staging, const struct bpf_object *object)
{
	const struct install *install = staging->install;
	int error = 0;

	for (size_t i = 0; !error && i < sizeof policy_maps / sizeof *policy_maps; i++)
		error = share_map(&staging->shares, object, policy_maps[i]);
	for (size_t i = 0; !error && i < install->set_count; i++)
		error = share_map(&staging->shares, object, install->sets[i].map);
	for (size_t i = 0; !error && i < install->state_count; i++)
		error = share_map(&staging->shares, object, install->states[i].map);
	return error;
}

/* Among the places of one hook, its steps, table and constants too. */
static int share_hook(struct shares *shares, const struct install_hook *hook, const struct bpf_object *object)
{
	int error = share_map(shares, object, "steps");

	if (!error && hook->table)
		error = share_map(shares, object, "table");
	for (size_t i = 0; !error && i < hook->set_count; i++)
		error = share_map(shares, object, hook->sets[i].map);
	return error;
}

static void unshare_hook(struct shares *shares, size_t count)
{
	while (shares->count > count)
		close(shares->items[--shares->count].fd);
}

/* --- pins ------------------------------------------------------------------------------------------------------- */

static int pin_policy_maps(struct staging *staging)
{
	struct kernel *kernel = staging->change->kernel;
	const char *folder = staging->generation->folder.text;
	int error = 0;

	for (size_t i = 0; !error && i < sizeof policy_maps / sizeof *policy_maps; i++) {
		int fd = shares_find(&staging->shares, policy_maps[i]);

		if (!strcmp(policy_maps[i], "captures") && !staging->install->captures_size)
			continue;
		if (!strcmp(policy_maps[i], "tunables") && !staging->install->tunable_count)
			continue;
		if (fd >= 0)
			error = pin_make(kernel, fd, folder, "%s", policy_maps[i]);
	}
	if (!error)
		error = counters_make_base(kernel, folder, staging->install->slots);
	if (!error)
		error = state_stage(staging->change, staging->install, staging->generation, &staging->shares);
	return error ? error : sets_stage(staging->change, staging->install, staging->generation, &staging->shares);
}

static int pin_hook(struct staging *staging, uint32_t source, const struct bpf_object *object)
{
	struct kernel *kernel = staging->change->kernel;
	const char *folder = staging->generation->folder.text;
	int error = pin_make(kernel, object_map(object, "table"), folder, "table_%u", source);

	return error ? error : pin_make(kernel, object_map(object, "steps"), folder, "steps_%u", source);
}

static int pin_place(struct staging *staging, uint32_t index, const struct bpf_object *object, int prog)
{
	static const char *const maps[] = { "control", "before", "after" };
	struct kernel *kernel = staging->change->kernel;
	const char *folder = staging->generation->folder.text;
	int error = pin_make(kernel, prog, folder, "prog_%u", index);

	for (size_t i = 0; !error && i < sizeof maps / sizeof *maps; i++) {
		int fd = object_map(object, maps[i]);

		if (fd >= 0)
			error = pin_make(kernel, fd, folder, "%s_%u", maps[i], index);
	}
	return error;
}

/* --- loading ---------------------------------------------------------------------------------------------------- */

/* A netfilter program has nothing of its own place in it: both families run the same one. */
static bool one_program_will_do(const struct install_hook *hook)
{
	return hook_is_netfilter(hook->hook);
}

/* The attach type that a program is loaded for which is one of several of its hook. */
static uint32_t place_call(const struct place *place)
{
	return hook_table[place->hook].target == TARGET_CGROUP ? place->family : 0;
}

/* Loads the hook's program once for each of its places (none yet: once, to see that it loads). */
static int load_places(struct staging *staging, uint32_t source, const struct elf *elf)
{
	const struct install_hook *hook = &staging->install->hooks[source];
	struct bpf_object *object = NULL;
	struct shares *shares = &staging->shares;
	size_t shared = 0;
	int error = 0, prog = -1;

	for (uint32_t i = 0; !error && i <= staging->places.count; i++) {
		bool ours = i < staging->places.count && staging->places.items[i].source == source;
		const struct load load = { .install = staging->install, .hook = hook, .plane = hook->hook,
					   .since = staging->change->since, .shares = shares,
					   .bare = ours && staging->places.items[i].bare,
					   .paces = ours && staging->places.items[i].paces,
					   .call = ours ? place_call(&staging->places.items[i]) : 0 };

		if (!ours && (i < staging->places.count || object))
			continue;
		if (!object || !one_program_will_do(hook)) {
			bpf_object__close(object);
			object = NULL;
			error = object_load(staging->change->kernel, elf, &load, &object, &prog);
			if (!error)
				error = share_loaded(staging, object);
			if (!error && !shared && staging->install->frame && !hook->record)
				error = pin_hook(staging, source, object);
			if (!shared)
				shared = shares->count;
			if (!error)
				error = share_hook(shares, hook, object);
		}
		if (!error && ours)
			error = pin_place(staging, i, object, prog);
	}
	bpf_object__close(object);
	if (shared)
		unshare_hook(shares, shared);
	return error;
}

static int load_hook(struct staging *staging, uint32_t source)
{
	const struct install_hook *hook = &staging->install->hooks[source];
	const struct plane_object *plane = hook->record ? plane_record() : object_plane(hook);
	struct elf elf;
	int error = object_link(staging->change->kernel, plane, hook, &elf);

	if (error)
		return error;
	error = load_places(staging, source, &elf);
	free(elf.data);
	return error;
}

/* --- one policy ------------------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Room for all sets; sets_stage() counts those that exist. */
static int make_record(struct staging *staging)
{
	const struct install *install = staging->install;
	struct record *record = record_new((uint32_t)staging->places.count, (uint32_t)install->set_count);

	if (!record)
		return -ENOMEM;
	if (staging->places.count)
		memcpy(record->places, staging->places.items, staging->places.count * sizeof *record->places);
	record->set_count = 0;
	record->since = staging->change->since;
	record->loaded_ns = now_ns();
	record->slots = install->slots;
	record->source_size = (uint32_t)install->source_size;
	record->meta_size = (uint32_t)install->meta_size;
	record->carry_count = install->carry ? install->slots : 0;
	staging->generation->record = record;
	return 0;
}

static int pin_blobs(struct staging *staging)
{
	struct kernel *kernel = staging->change->kernel;
	const struct install *install = staging->install;
	struct record *record = staging->generation->record;
	const char *folder = staging->generation->folder.text;
	int error = blob_pin(kernel, folder, "source", install->source, install->source_size);

	if (!error)
		error = blob_pin(kernel, folder, "meta", install->meta, install->meta_size);
	if (!error)
		error = rules_stage(kernel, folder, install);
	if (!error)
		error = blob_pin(kernel, folder, "carry", install->carry,
				 record->carry_count * sizeof *install->carry);
	record->size = (uint32_t)((char *)&record_sets(record)[record->set_count] - (char *)record);
	return error ? error : blob_pin(kernel, folder, "record", record, record->size);
}

static int stage_policy(struct staging *staging)
{
	const struct install *install = staging->install;
	struct generation *generation = staging->generation;
	int error;

	snprintf(generation->policy, sizeof generation->policy, "%s", install->policy);
	path_join(&generation->folder, staging->change->stage.text, "%s", install->policy);
	if (mkdir(generation->folder.text, 0700))
		return problem_set(staging->change->kernel, -errno, "cannot make %s: %s", generation->folder.text,
				   strerror(errno));
	error = resolve(staging);
	if (!error)
		error = make_record(staging);
	if (!error)
		error = share_first(staging);
	for (uint32_t i = 0; !error && i < install->hook_count; i++)
		error = load_hook(staging, i);
	if (!error)
		error = pin_policy_maps(staging);
	return error ? error : pin_blobs(staging);
}

int stage_make(struct change *change)
{
	int error = 0;

	for (size_t i = 0; !error && i < change->install_count; i++) {
		struct staging staging = { .change = change, .install = &change->installs[i],
					   .generation = &change->staged[i] };

		error = stage_policy(&staging);
		shares_free(&staging.shares);
		places_free(&staging.places);
	}
	return error;
}
