/* SPDX-License-Identifier: GPL-2.0-only */
/* From rule sets to what the loader installs, and the calls that change what is in force. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/flows.h"
#include "api/noted.h"
#include "api/rule.h"
#include "base/hash.h"

typedef VEC(struct install_set) install_sets;

static struct install_set install_set(const struct ruleset *ruleset, const struct plan_set *set)
{
	static const uint32_t key_bytes[] = { [KEY_IPV4] = 4, [KEY_IPV6] = 16, [KEY_VALUE] = 8 };
	const struct set *named = set->named < 0 ? NULL : &ruleset->sets[set->named];

	return (struct install_set){
		.map = set->map,
		.name = named ? named->name : NULL,
		.key = (uint8_t)set->key,
		.lpm = set->lpm,
		.shared = named && named->shared,
		.timed = set->timed,
		.index = named ? (uint32_t)set->named : 0,
		.max_elements = set->max_elements,
		.elements = set->elements,
		.timeouts = set->timeouts,
		.count = set->count,
		.bytes = set->lpm ? 0 : set_memory(false, set->max_elements, key_bytes[set->key]),
	};
}

static bool has_map(const install_sets *sets, const char *map)
{
	for (size_t i = 0; i < sets->count; i++)
		if (!strcmp(sets->items[i].map, map))
			return true;
	return false;
}

/* Named sets are the policy's, one map for all its hooks; constants of rules are the hook's own. */
static void collect_sets(struct arena *arena, const struct plan *plan, install_sets *named, install_sets *constants)
{
	for (size_t i = 0; i < plan->set_count; i++) {
		const struct plan_set *set = &plan->sets[i];

		if (set->named < 0)
			VEC_PUSH(arena, constants) = install_set(plan->ruleset, set);
		else if (!has_map(named, set->map))
			VEC_PUSH(arena, named) = install_set(plan->ruleset, set);
	}
}

struct install_set *api_install_sets(struct arena *arena, const struct ruleset *ruleset, size_t *ret_count)
{
	const struct plan_set *sets;
	struct install_set *named;

	plan_sets(arena, ruleset, &sets, ret_count);
	named = ARENA_ARRAY(arena, struct install_set, *ret_count);
	for (size_t i = 0; i < *ret_count; i++)
		named[i] = install_set(ruleset, &sets[i]);
	return named;
}

static bool rejects(const struct plan *plan)
{
	for (size_t i = 0; i < plan->answer_count; i++)
		if (!(plan->answers[i] & ANSWER_STEPS) && (plan->answers[i] & 3) == ANSWER_REJECT)
			return true;
	for (size_t i = 0; i < plan->step_count; i++)
		if (plan->steps[i].kind == STEP_VERDICT && plan->steps[i].a == ANSWER_REJECT)
			return true;
	return false;
}

/* Another number when a rate means something else: buckets are filled by what their rates say. */
static uint32_t rates_layout(const struct plan *plan)
{
	uint64_t hash = hash_bytes(plan->rate_count, plan->rates, plan->rate_count * sizeof *plan->rates);

	return (uint32_t)(hash ^ hash >> 32);
}

_Static_assert(BUCKET_STATE == sizeof(struct bucket_of) + sizeof(struct bucket) &&
	       FLOW_BUCKET_STATE == sizeof(struct bucket_of_flow) + sizeof(struct bucket), "what buckets take");

/* The same by the plan of any of its hooks. */
static void install_rates(struct arena *arena, const struct plan *plan, struct install *install, install_states *states)
{
	uint32_t layout = rates_layout(plan);
	const struct install_state all[] = {
		{ RATES_MAP, "rates", layout, (uint32_t)plan->rate_count, false, 0 },
		{ BUCKETS_MAP, "buckets", layout, plan->buckets, false, state_memory(plan->buckets, BUCKET_STATE) },
		{ FLOW_BUCKETS_MAP, "flow_buckets", layout, plan->flow_buckets, false,
		  state_memory(plan->flow_buckets, FLOW_BUCKET_STATE) },
	};

	install->rates = plan->rates;
	install->rate_count = plan->rate_count;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (all[i].max_elements)
			VEC_PUSH(arena, states) = all[i];
}

static int install_hook(struct call *call, const struct ruleset *ruleset, const struct attach *attach,
			install_sets *sets, struct install *install, struct install_hook *ret_hook,
			const struct plan **ret_plan)
{
	install_sets constants = { 0 };
	struct built built;
	int status = api_build(call, ruleset_at(call->arena, ruleset, attach->hook), attach->hook, &built);

	if (!status && call->proof_milliseconds)
		status = api_require_proof(call, &built, call->proof_milliseconds);
	if (status)
		return status;
	if (call->builts)
		VEC_PUSH(call->arena, call->builts) = built;
	collect_sets(call->arena, built.plan, sets, &constants);
	*ret_hook = (struct install_hook){
		.hook = attach->hook,
		.target = attach->target,
		.priority = attach->priority,
		.xdp_mode = (int)attach->xdp_mode,
		.optional = attach->optional,
		.classifier = built.object.data,
		.classifier_size = built.object.size,
		.table = built.plan->kind == PLAN_TABLE ? &built.plan->table.config : NULL,
		.table_words = built.plan->table.words,
		.table_size = built.plan->table.word_count * sizeof *built.plan->table.words,
		.step_room = built.plan->kind == PLAN_TABLE ? built.plan->table.step_room : 0,
		.needed = built.plan->needed | flows_needed(ruleset, attach->hook),
		.cache = &built.plan->cache,
		.cache_chunks = built.plan->cache_chunks,
		.tuned = built.plan->tuned,
		.no_reject = !rejects(built.plan),
		.steps = built.plan->steps,
		.step_count = built.plan->step_count,
		.sets = constants.items,
		.set_count = constants.count,
	};
	install->slots = built.plan->slots;
	install->logs = built.plan->logs;
	install->log_count = built.plan->log_count;
	*ret_plan = built.plan;
	return WEIR_OK;
}

/* The description as text in the arena. */
static int describe(struct call *call, const struct ruleset *ruleset, const struct plan *plan,
		    const struct bundle *bundle, struct install *install)
{
	if (meta_describe(call->arena, ruleset, plan, bundle->files.items[0]->name, &install->meta, &install->meta_size))
		return api_fail(call, WEIR_SYSTEM, "policy `%s` cannot be described: its text is not UTF-8",
				ruleset->name);
	if (bundle_encode(call->arena, bundle, &install->source, &install->source_size))
		return api_fail(call, WEIR_INPUT, "policy `%s`: its text is too large", ruleset->name);
	return WEIR_OK;
}

_Static_assert((int)TUNABLES_MAX == PLANE_TUNABLES && (int)COMPARISONS_MAX == PLANE_COMPARISONS, "the planes' room");

static struct plane_comparison install_comparison(const struct ruleset *ruleset, uint32_t bit)
{
	const struct comparison *comparison = &ruleset->comparisons[bit];
	const struct field_info *info = &field_table[comparison->field];

	return (struct plane_comparison){
		.mask = (uint64_t)u128_max(info->size * 8u),
		.max = (uint64_t)u128_max(info->bits),
		.word = info->offset / 8,
		.shift = info->offset % 8 * 8,
		.relation = comparison->relation,
		.tunable = (uint8_t)comparison->tunable,
		.bit = (uint8_t)bit,
	};
}

static void install_tunables(const struct ruleset *ruleset, struct install *install)
{
	struct plane_comparisons *to = &install->comparisons;

	install->tunable_count = (uint32_t)ruleset->tunable_count;
	for (size_t i = 0; i < ruleset->tunable_count; i++) {
		install->tunables.values[i] = ruleset->tunables[i].value;
		for (uint32_t bit = 0; bit < ruleset->comparison_count; bit++)
			if (ruleset->comparisons[bit].tunable == i)
				to->items[to->count++] = install_comparison(ruleset, bit);
	}
}

_Static_assert((int)PROGRAMS_MAX == PLANE_PROGRAMS, "planes have room for all of a policy's programs");

/* Whether packets are asked for what only a note tells: calls and recorders are to leave them then. */
static bool install_asks_owners(const struct install *install)
{
	for (size_t i = 0; i < install->hook_count; i++)
		for (int field = 0; field < FIELD_COUNT; field++)
			if (install->hooks[i].needed & FIELD_BIT(field) && field_table[field].noted & HOOK_BIT(install->hooks[i].hook))
				return true;
	return false;
}

/* One for each of the policy's cgroups, as far as their paths tell them apart. */
static void install_recorders(struct install *install, struct install_hook *hooks)
{
	size_t judging = install->hook_count;

	for (size_t i = 0; i < judging; i++) {
		bool seen = hook_table[hooks[i].hook].target != TARGET_CGROUP;

		for (size_t j = judging; !seen && j < install->hook_count; j++)
			seen = !strcmp(hooks[j].target, hooks[i].target);
		if (!seen)
			hooks[install->hook_count++] = (struct install_hook){ .hook = hooks[i].hook,
									      .target = hooks[i].target,
									      .record = true };
	}
}

static struct plane_programs programs_of(const struct program *programs, size_t count)
{
	struct plane_programs named = { .count = (uint32_t)count };

	for (size_t i = 0; i < count; i++) {
		named.items[i].inode = programs[i].inode;
		named.items[i].device = programs[i].device;
		named.items[i].generation = programs[i].generation;
		named.generations |= (uint32_t)programs[i].has_generation << i;
	}
	return named;
}

/* The roots of trees, and the maps of who descends from them: policies that ask for the same roots share these. */
static void install_trees(struct arena *arena, const struct ruleset *ruleset, struct install *install,
			  install_states *states)
{
	const char *name;

	if (!ruleset->root_count)
		return;
	install->roots = programs_of(ruleset->roots, ruleset->root_count);
	name = arena_printf(arena, LINEAGE_PREFIX "%016llx",
			    (unsigned long long)hash_bytes(0xcbf29ce484222325, &install->roots, sizeof install->roots));
	VEC_PUSH(arena, states) = (struct install_state){ .map = LINEAGE_MAP, .name = name, .layout = LINEAGE_LAYOUT,
							  .max_elements = LINEAGE_MAX, .shared = true };
	if (install_asks_owners(install))
		VEC_PUSH(arena, states) = (struct install_state){ .map = TREES_MAP, .name = arena_printf(arena, "trees_%s", name),
								  .layout = LINEAGE_LAYOUT, .shared = true };
}

/* The programs that rules name, and the map of notes. */
static void install_owners(struct arena *arena, const struct ruleset *ruleset, struct install *install,
			   install_states *states)
{
	install->programs = programs_of(ruleset->programs, ruleset->program_count);
	if (install_asks_owners(install))
		VEC_PUSH(arena, states) = (struct install_state){ .map = NOTES_MAP, .name = "owners",
								  .layout = NOTES_LAYOUT, .shared = true };
}

/*
 * Whether single rules may be: every hook has a table with room for it, and judges by all of the rules (ir/split.h). A rule
 * that comes could compare with a tunable as the programs that are there do not.
 */
static bool changes_in_place(const struct install *install)
{
	for (size_t i = 0; i < install->hook_count; i++)
		if (!install->hooks[i].step_room || hook_table[install->hooks[i].hook].call)
			return false;
	return install->hook_count;
}

/* Behind the hooks that judge. They count nothing, so they have as many slots as the others. */
static int install_tracks(struct call *call, const struct ruleset *ruleset, struct install *install,
			  struct install_hook *hooks)
{
	const struct ruleset *tracker = flows_tracker(call->arena, ruleset);
	const struct plan *plan;
	install_sets none = { 0 };

	for (size_t i = 0; i < ruleset->track_count; i++) {
		struct install_hook *hook = &hooks[install->hook_count++];
		struct install ignored = { 0 };
		int status = install_hook(call, tracker, &ruleset->tracks[i], &none, &ignored, hook, &plan);

		if (status)
			return status;
		hook->track = true;
	}
	return WEIR_OK;
}

int api_install(struct call *call, const struct ruleset *ruleset, int only, const struct bundle *bundle,
		struct install *ret_install)
{
	struct attach alone = { .hook = (enum hook)(only < 0 ? 0 : only), .priority = PRIORITY_DEFAULT };
	const struct attach *attaches = only < 0 ? ruleset->attaches : &alone;
	size_t count = only < 0 ? ruleset->attach_count : 1;
	size_t room = count * 2 + ruleset->track_count; /* each may have a recorder beside it */
	struct install_hook *hooks = ARENA_ARRAY(call->arena, struct install_hook, room);
	struct install install = { .policy = ruleset->name, .hooks = hooks, .hook_count = count };
	const struct plan *plan = NULL;
	install_sets sets = { 0 };
	install_states states = { 0 };
	const struct ruleset *keyed;
	int status;

	for (size_t i = 0; i < count; i++) {
		status = install_hook(call, ruleset, &attaches[i], &sets, &install, &hooks[i], &plan);
		if (status)
			return status;
	}
	status = only < 0 ? install_tracks(call, ruleset, &install, hooks) : WEIR_OK;
	if (status)
		return status;
	install.sets = sets.items;
	install.set_count = sets.count;
	if (only < 0 && changes_in_place(&install) && !ruleset->tunable_count)
		install.frame = api_frame(call->arena, ruleset, bundle, &install.frame_size);
	if (install.frame)
		install.index = api_rule_index(call->arena, ruleset, bundle, &install.index_size);
	install.slots += install.frame ? RULE_CHANGES_MAX : 0;
	install.log_room = install.frame ? RULE_CHANGES_MAX : 0;
	install.malformed_accept = ruleset->malformed_accept;
	install.observe = ruleset->observe;
	memcpy(install.levels, ruleset->cgroup_levels, sizeof install.levels);
	install.level_count = ruleset->cgroup_level_count;
	install.captures_size = ruleset->captures_size;
	install_tunables(ruleset, &install);
	install_rates(call->arena, plan, &install, &states);
	status = knocks_load_keys(call, ruleset, &keyed);
	if (status)
		return status;
	install_knocks(call->arena, keyed, &install, &states);
	install_owners(call->arena, ruleset, &install, &states);
	install_trees(call->arena, ruleset, &install, &states);
	if (only < 0 && install_asks_owners(&install))
		install_recorders(&install, hooks);
	install_flows(call->arena, ruleset, &install, &states);
	install.states = states.items;
	install.state_count = states.count;
	status = describe(call, ruleset, plan, bundle, &install);
	if (!status)
		*ret_install = install;
	return status;
}

int api_refuse_captures(struct call *call, const struct ruleset *ruleset)
{
	if (!ruleset->captures_size)
		return WEIR_OK;
	return api_fail(call, WEIR_INPUT, "policy `%s` has `capture`, whose packets could not be read: only a policy in "
			"force, by `weir apply`, has a ring for them", ruleset->name);
}

int api_refuse_notes(struct call *call, const struct install *install)
{
	if (!install_asks_owners(install) && !install->roots.count)
		return WEIR_OK;
	return api_fail(call, WEIR_INPUT, "policy `%s` asks packets for a program or group, which one program by itself cannot "
			"know: only a policy in force, by `weir apply`, has others that note them", install->policy);
}

/* --- what is in force -------------------------------------------------------------------------------------------- */

/* The counts that unchanged rules keep. */
void api_carry_counters(struct call *call, struct kernel *kernel, struct install *install)
{
	struct policy_state state;
	struct described old, now;

	if (api_policy(call, kernel, install->policy, diags_new(call->arena), &state) ||
	    !meta_open(state.meta, state.meta_size, state.source, state.source_size, &old))
		return;
	if (meta_open(install->meta, install->meta_size, install->source, install->source_size, &now)) {
		install->carry = meta_carry(call->arena, &old, &now, install->slots);
		json_decref(now.json);
	}
	json_decref(old.json);
}

struct stale {
	const char *file;
	const struct rulesets *kept;
	VEC(const char *) names;
};

static bool is_kept(const struct rulesets *kept, const char *name)
{
	for (size_t i = 0; i < kept->count; i++)
		if (!strcmp(kept->items[i].name, name))
			return true;
	return false;
}

bool api_came_from(struct call *call, struct kernel *kernel, const char *policy, const char *file)
{
	struct kernel_blob blob;
	struct source first;
	bool same;

	if (kernel_blob_map(kernel, policy, "source", diags_new(call->arena), &blob))
		return false;
	same = bundle_first_is(blob.data, blob.size, file, &first);
	kernel_blob_unmap(&blob);
	return same;
}

/* Policies that came from the same file and are no longer in it. */
static int find_stale(struct call *call, struct kernel *kernel, struct stale *stale)
{
	const char *const *names;
	size_t count;

	if (kernel_policies(kernel, call->arena, call->diags, &names, &count))
		return WEIR_SYSTEM;
	for (size_t i = 0; i < count; i++) {
		if (!is_kept(stale->kept, names[i]) && api_came_from(call, kernel, names[i], stale->file))
			VEC_PUSH(call->arena, &stale->names) = names[i];
	}
	return WEIR_OK;
}

static void warn_stale(struct call *call, const struct stale *stale)
{
	for (size_t i = 0; i < stale->names.count; i++) {
		struct diag *diag = diag_warning(call->diags, (struct span){ 0 },
						 "policy `%s` came from %s, which no longer has it; it stays in force",
						 stale->names.items[i], stale->file);

		diag_hint(call->diags, diag, "`weir delete %s`, or apply with --prune", stale->names.items[i]);
	}
}

struct applying {
	const struct rulesets *rulesets;
	const struct bundle *bundle;
	struct weir_apply_options options;
	struct kernel *kernel;
};

static int install_all(struct call *call, const struct applying *applying, struct ruleset *rulesets,
		       struct install *installs)
{
	for (size_t i = 0; i < applying->rulesets->count; i++) {
		const struct ruleset *ruleset = &applying->rulesets->items[i];
		struct tuned tuned;
		int status;

		if (ruleset->expression)
			return api_fail(call, WEIR_INPUT, "an expression says nothing of where it applies: write a policy "
							  "with `on ...`, or use `weir load`");
		tuned = tune_recall(call, ruleset, applying->bundle);
		rulesets[i] = *tuned.ruleset;
		status = api_install(call, tuned.ruleset, -1, tuned.bundle, &installs[i]);
		if (status)
			return status;
		tune_note(call, tuned.changes, &installs[i]);
	}
	return WEIR_OK;
}

static unsigned apply_flags(const struct weir_apply_options *options)
{
	return (options->dry_run ? APPLY_DRY_RUN : 0) | (options->reset_sets ? APPLY_RESET_SETS : 0);
}

static int commit(struct call *call, struct applying *applying, struct install *installs)
{
	struct stale stale = { .kept = applying->rulesets, .file = applying->bundle->files.items[0]->name };

	if (strcmp(stale.file, "-") && find_stale(call, applying->kernel, &stale))
		return WEIR_SYSTEM;
	if (!applying->options.prune) {
		warn_stale(call, &stale);
		stale.names.count = 0;
	}
	for (size_t i = 0; i < applying->rulesets->count; i++)
		api_carry_counters(call, applying->kernel, &installs[i]);
	return kernel_apply(applying->kernel, installs, applying->rulesets->count, stale.names.items,
			    stale.names.count, apply_flags(&applying->options), call->diags)
		? WEIR_SYSTEM : WEIR_OK;
}

/* A file that differs from the policy in force in a few rules. */
static int apply_in_place(struct call *call, struct applying *applying)
{
	struct stale stale = { .kept = applying->rulesets, .file = applying->bundle->files.items[0]->name };
	const struct diags before = *call->diags;
	int status;

	if (session_check(call, applying->rulesets, applying->options.force))
		return WEIR_INPUT;
	if (kernel_open(KERNEL_WRITE, call->diags, &applying->kernel))
		return WEIR_SYSTEM;
	status = rule_apply_in_place(call, applying->kernel, applying->rulesets->items, applying->bundle);
	if (!status && strcmp(stale.file, "-") && find_stale(call, applying->kernel, &stale))
		status = WEIR_SYSTEM;
	if (status != RULE_REBUILD) {
		warn_stale(call, &stale);
		return status;
	}
	kernel_close(applying->kernel);
	applying->kernel = NULL;
	call->diags->list.count = before.list.count; /* all is said once more */
	call->diags->errors = before.errors;
	call->diags->warnings = before.warnings;
	return RULE_REBUILD;
}

enum { PROOF_MILLISECONDS = 800 }; /* for all programs of an apply together */

static int apply(struct call *call, void *context)
{
	struct applying *applying = context;
	struct install *installs = ARENA_ARRAY(call->arena, struct install, applying->rulesets->count);
	struct ruleset *items = ARENA_ARRAY(call->arena, struct ruleset, applying->rulesets->count);
	const struct rulesets rulesets = { items, applying->rulesets->count };
	unsigned milliseconds = PROOF_MILLISECONDS;
	int status;

	if (!applying->options.dry_run && !applying->options.reset_sets && !applying->options.prune &&
	    applying->rulesets->count == 1 && !applying->rulesets->items[0].expression) {
		status = apply_in_place(call, applying);
		if (status != RULE_REBUILD)
			return status;
	}
	call->proof_milliseconds = applying->options.no_verify ? NULL : &milliseconds;
	status = install_all(call, applying, items, installs);
	if (status)
		return status;
	if (!applying->options.dry_run && session_check(call, &rulesets, applying->options.force))
		return WEIR_INPUT;
	if (kernel_open(KERNEL_WRITE, call->diags, &applying->kernel))
		return WEIR_SYSTEM;
	return commit(call, applying, installs);
}

WEIR_EXPORT int weir_apply(struct weir *weir, struct weir_program *program, const struct weir_apply_options *options)
{
	struct applying applying = { .rulesets = program->rulesets, .bundle = &program->bundle };
	int status;

	if (options)
		memcpy(&applying.options, options,
		       options->size < sizeof applying.options ? options->size : sizeof applying.options);
	status = api_call(weir, program->arena, false, apply, &applying);
	kernel_close(applying.kernel);
	return status;
}

/* --- removing ---------------------------------------------------------------------------------------------------- */

struct removing {
	const char *const *names; /* NULL: all */
	size_t count;
	struct kernel *kernel;
};

static int check_names(struct call *call, const struct removing *removing, const char *const *there, size_t count)
{
	int status = WEIR_OK;

	for (size_t i = 0; i < removing->count; i++) {
		const char *name = removing->names[i], *near;
		size_t found = 0;

		while (found < count && strcmp(there[found], name))
			found++;
		if (found < count)
			continue;
		status = api_fail(call, WEIR_INPUT, "no policy `%s` is in force", name);
		near = nearest_word(name, strlen(name), there, count);
		if (near)
			diag_hint(call->diags, &call->diags->list.items[call->diags->list.count - 1],
				  "did you mean `%s`?", near);
	}
	return status;
}

static int remove_policies(struct call *call, void *context)
{
	struct removing *removing = context;
	const char *const *there;
	size_t count;
	int status;

	if (kernel_open(KERNEL_WRITE, call->diags, &removing->kernel) ||
	    kernel_policies(removing->kernel, call->arena, call->diags, &there, &count))
		return WEIR_SYSTEM;
	status = check_names(call, removing, there, count);
	if (status)
		return status;
	if (removing->names) {
		there = removing->names;
		count = removing->count;
	}
	if (kernel_apply(removing->kernel, NULL, 0, there, count, 0, call->diags))
		return WEIR_SYSTEM;
	return WEIR_OK;
}

static int removal(struct weir *weir, const char *const *names, size_t count)
{
	struct removing removing = { .names = names, .count = count };
	int status = api_call(weir, NULL, false, remove_policies, &removing);

	kernel_close(removing.kernel);
	return status;
}

WEIR_EXPORT int weir_delete(struct weir *weir, const char *const *names, size_t count)
{
	return removal(weir, names, count);
}

WEIR_EXPORT int weir_flush(struct weir *weir)
{
	return removal(weir, NULL, 0);
}

/* --- going back -------------------------------------------------------------------------------------------------- */

/* One policy's former text, or none if it was not there. */
struct former {
	const char *name;
	const void *source;
	size_t source_size;
};

int api_recompile(struct call *call, const char *policy, struct bundle *bundle, struct ruleset *ret_ruleset)
{
	const struct noted *names = bundle->names = noted_new(call->arena);
	struct lang_input input = { .source = bundle->files.items[0], .names = &names->names,
				    .read = api_read_bundle, .read_context = bundle };
	const struct rulesets *rulesets;

	if (lang_compile(call->arena, &input, call->diags, &rulesets))
		return WEIR_INPUT;
	for (size_t i = 0; i < rulesets->count; i++) {
		if (strcmp(rulesets->items[i].name, policy))
			continue;
		*ret_ruleset = rulesets->items[i];
		return WEIR_OK;
	}
	return api_fail(call, WEIR_SYSTEM, "the pinned text of policy `%s` does not hold it", policy);
}

/* The former text compiled again; the policy of that name only, for its file may hold others. */
static int install_former(struct call *call, const struct former *former, struct install *ret_install)
{
	struct ruleset *ruleset = ARENA_NEW(call->arena, struct ruleset);
	struct bundle *bundle = ARENA_NEW(call->arena, struct bundle);
	int status;

	if (bundle_decode(call->arena, former->source, former->source_size, bundle))
		return api_fail(call, WEIR_SYSTEM, "the pinned text of policy `%s` is damaged", former->name);
	status = api_recompile(call, former->name, bundle, ruleset);
	return status ? status : api_install(call, ruleset, -1, bundle, ret_install);
}

struct weir_snapshot {
	struct arena *arena;
	VEC(struct former) policies;
};

struct taking {
	struct weir_snapshot *snapshot;
	const struct weir_program *program;
	struct kernel *kernel;
};

/* Every policy in force is kept too, for --prune may remove any of the file's. */
static int take(struct call *call, void *context)
{
	struct taking *taking = context;
	struct weir_snapshot *snapshot = taking->snapshot;
	const char *const *names;
	size_t count;

	if (kernel_open(KERNEL_READ, call->diags, &taking->kernel) ||
	    kernel_policies(taking->kernel, call->arena, call->diags, &names, &count))
		return WEIR_SYSTEM;
	for (size_t i = 0; i < count; i++) {
		struct former *former = &VEC_PUSH(call->arena, &snapshot->policies);
		struct policy_state state;

		if (api_policy(call, taking->kernel, names[i], call->diags, &state))
			return WEIR_SYSTEM;
		*former = (struct former){ names[i], state.source, state.source_size };
	}
	for (size_t i = 0; i < taking->program->rulesets->count; i++) {
		const char *name = taking->program->rulesets->items[i].name;
		size_t j = 0;

		while (j < count && strcmp(names[j], name))
			j++;
		if (j == count)
			VEC_PUSH(call->arena, &snapshot->policies).name = arena_strndup(call->arena, name, strlen(name));
	}
	return WEIR_OK;
}

WEIR_EXPORT int weir_snapshot_take(struct weir *weir, const struct weir_program *program,
				   struct weir_snapshot **ret_snapshot)
{
	struct weir_snapshot *snapshot = api_new(sizeof *snapshot);
	struct taking taking = { .snapshot = snapshot, .program = program };
	int status = api_result(weir, snapshot, take, &taking);

	kernel_close(taking.kernel);
	if (!status)
		*ret_snapshot = snapshot;
	return status;
}

WEIR_EXPORT void weir_snapshot_free(struct weir_snapshot *snapshot)
{
	api_free(snapshot);
}

struct restoring {
	struct weir_snapshot *snapshot;
	struct kernel *kernel;
};

static int restore(struct call *call, void *context)
{
	struct restoring *restoring = context;
	const struct weir_snapshot *snapshot = restoring->snapshot;
	struct install *installs = ARENA_ARRAY(call->arena, struct install, snapshot->policies.count);
	VEC(const char *) removals = { 0 };
	const char *const *there;
	size_t there_count, count = 0;
	int status = WEIR_OK;

	for (size_t i = 0; i < snapshot->policies.count && !status; i++) {
		if (snapshot->policies.items[i].source)
			status = install_former(call, &snapshot->policies.items[i], &installs[count++]);
	}
	if (status)
		return status;
	if (kernel_open(KERNEL_WRITE, call->diags, &restoring->kernel) ||
	    kernel_policies(restoring->kernel, call->arena, call->diags, &there, &there_count))
		return WEIR_SYSTEM;
	for (size_t i = 0; i < snapshot->policies.count; i++)
		for (size_t j = 0; j < there_count && !snapshot->policies.items[i].source; j++)
			if (!strcmp(snapshot->policies.items[i].name, there[j]))
				VEC_PUSH(call->arena, &removals) = there[j];
	for (size_t i = 0; i < count; i++)
		api_carry_counters(call, restoring->kernel, &installs[i]);
	return kernel_apply(restoring->kernel, installs, count, removals.items, removals.count, 0, call->diags)
		? WEIR_SYSTEM : WEIR_OK;
}

WEIR_EXPORT int weir_snapshot_restore(struct weir *weir, struct weir_snapshot *snapshot)
{
	struct restoring restoring = { .snapshot = snapshot };
	int status = api_call(weir, snapshot->arena, false, restore, &restoring);

	kernel_close(restoring.kernel);
	return status;
}

/* --- names that mean something else by now ----------------------------------------------------------------------- */

struct refreshing {
	const char *const *names; /* NULL: all */
	size_t count;
	struct kernel *kernel;
};

static bool is_attached(const struct policy_state *state)
{
	for (size_t i = 0; i < state->hook_count; i++)
		if (state->hooks[i].attached)
			return true;
	return false;
}

/* A policy whose cgroups or devices are all gone waits for them as it is, unless it was asked for by name. */
static int refresh_policies(struct call *call, struct refreshing *refreshing, const char *const *names, size_t count)
{
	struct install *installs = ARENA_ARRAY(call->arena, struct install, count);
	size_t install_count = 0;

	for (size_t i = 0; i < count; i++) {
		struct policy_state state;
		int status;

		if (api_policy(call, refreshing->kernel, names[i], call->diags, &state))
			return WEIR_SYSTEM;
		if (!refreshing->names && !is_attached(&state))
			continue;
		status = install_former(call, &(struct former){ names[i], state.source, state.source_size },
					&installs[install_count]);
		if (status)
			return status;
		api_carry_counters(call, refreshing->kernel, &installs[install_count++]);
	}
	return kernel_apply(refreshing->kernel, installs, install_count, NULL, 0, 0, call->diags) ? WEIR_SYSTEM
												  : WEIR_OK;
}

/* The texts in force compiled anew, so that users, programs and cgroups are what their names mean now. */
static int refresh(struct call *call, void *context)
{
	struct refreshing *refreshing = context;
	const struct removing wanted = { refreshing->names, refreshing->count, NULL };
	const char *const *names;
	size_t count;
	int status;

	if (kernel_open(KERNEL_WRITE, call->diags, &refreshing->kernel) ||
	    kernel_policies(refreshing->kernel, call->arena, call->diags, &names, &count))
		return WEIR_SYSTEM;
	status = check_names(call, &wanted, names, count);
	if (status)
		return status;
	if (refreshing->names) {
		names = refreshing->names;
		count = refreshing->count;
	}
	return refresh_policies(call, refreshing, names, count);
}

WEIR_EXPORT int weir_refresh(struct weir *weir, const char *const *names, size_t count)
{
	struct refreshing refreshing = { .names = names, .count = count };
	int status = api_call(weir, NULL, false, refresh, &refreshing);

	kernel_close(refreshing.kernel);
	return status;
}

/*
 * The policy as it is, but for one set: the same change that replaces a policy replaces a set, so that a packet meets
 * the old elements or the new ones.
 */
int api_replace_set(struct call *call, struct kernel *kernel, const struct policy_state *state, const char *name,
		    const struct set *elements)
{
	const struct former former = { state->policy, state->source, state->source_size };
	struct install install;
	struct install_set *sets;
	int status = install_former(call, &former, &install);

	if (status)
		return status;
	sets = arena_copy(call->arena, install.sets, install.set_count * sizeof *sets);
	for (size_t i = 0; i < install.set_count; i++) {
		bool six = sets[i].key == KEY_IPV6, given = !strcmp(sets[i].name, name);

		sets[i].filling = given ? SET_AS_GIVEN : SET_AS_IT_IS;
		sets[i].elements = six ? elements->ranges6 : elements->ranges;
		sets[i].timeouts = six ? elements->timeouts6 : elements->timeouts;
		sets[i].count = !given ? 0 : six ? elements->count6 : elements->count;
	}
	install.sets = sets;
	api_carry_counters(call, kernel, &install);
	return kernel_apply(kernel, &install, 1, NULL, 0, 0, call->diags) ? WEIR_SYSTEM : WEIR_OK;
}

/* --- for others to attach ---------------------------------------------------------------------------------------- */

struct pinning {
	struct weir_program *program;
	const char *policy, *hook, *path;
	struct kernel *kernel;
};

static int pin(struct call *call, void *context)
{
	struct pinning *pinning = context;
	const struct ruleset *ruleset;
	struct install install;
	enum hook hook;
	int status = api_select(call, pinning->program, pinning->policy, pinning->hook, &ruleset, &hook);

	if (!status)
		status = api_refuse_captures(call, ruleset);
	if (!status && flows_needed(ruleset, hook))
		status = api_fail(call, WEIR_INPUT, "policy `%s` asks for connections, which one program by itself cannot "
				  "know: use `weir apply`", ruleset->name);
	if (!status)
		status = api_install(call, ruleset, hook, &pinning->program->bundle, &install);
	if (!status)
		status = api_refuse_notes(call, &install);
	if (status)
		return status;
	if (kernel_open(KERNEL_TEST, call->diags, &pinning->kernel) ||
	    kernel_pin(pinning->kernel, &install, pinning->path, call->diags))
		return WEIR_SYSTEM;
	return WEIR_OK;
}

WEIR_EXPORT int weir_pin(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
			 const char *path)
{
	struct pinning pinning = { program, policy, hook, path, NULL };
	int status = api_call(weir, program->arena, false, pin, &pinning);

	kernel_close(pinning.kernel);
	return status;
}
