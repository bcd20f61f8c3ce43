/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Proofs of what is in force. In: a policy's name; out: whether what is loaded does what the policy's text says, changes in place
 * included. The programs must be those that the text as it was applied becomes once more; what they find in their maps (a table
 * with its changes, steps, limits) is read from the kernel, and proven against the rules of now.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/noted.h"
#include "api/rule.h"
#include "api/rule_places.h"
#include "api/verify.h"

struct weir_verifications {
	struct arena *arena;
	VEC(struct weir_verification) list;
};

/* One policy. */
struct checking {
	struct call *call;
	const char *policy;
	const char *hook; /* NULL: all */
	unsigned milliseconds;
	struct weir_verifications *results;
	struct kernel *kernel;
	struct kernel_loaded *loaded;
	struct policy_state state;     /* as it was applied, then as it is now */
	struct ruleset built, now;
	struct install install;        /* of what was built */
	builts programs;               /* one for each hook that has a classifier */
	struct rules_now rules;
	struct prove_changed changed;
	bool edited;                   /* rules were changed in place, or a change was left unfinished */
	const char *amiss;             /* why nothing can be proven, or NULL */
};

/* --- the rules of then and of now ------------------------------------------------------------------------------- */

static int compile(struct checking *checking, struct ruleset *ret_ruleset, struct bundle *bundle)
{
	struct call *call = checking->call;

	if (bundle_decode(call->arena, checking->state.source, checking->state.source_size, bundle))
		return api_fail(call, WEIR_SYSTEM, "the pinned text of policy `%s` is damaged", checking->policy);
	return api_recompile(call, checking->policy, bundle, ret_ruleset);
}

static int build(struct checking *checking)
{
	struct call *call = checking->call;
	struct bundle *bundle = ARENA_NEW(call->arena, struct bundle);
	int status = compile(checking, &checking->built, bundle);

	call->builts = &checking->programs;
	if (!status)
		status = api_install(call, &checking->built, -1, bundle, &checking->install);
	call->builts = NULL;
	checking->now = checking->built;
	return status;
}

static int build_now(struct checking *checking)
{
	struct call *call = checking->call;
	struct bundle *bundle = ARENA_NEW(call->arena, struct bundle);
	int status;

	if (rules_edit_policy(call, &checking->state, &checking->rules))
		return api_fail(call, WEIR_SYSTEM, "the pinned description of policy `%s` is damaged", checking->policy);
	status = compile(checking, &checking->now, bundle);
	if (status || checking->rules.count == checking->now.rule_count)
		return status;
	return api_fail(call, WEIR_SYSTEM, "the pinned edits of policy `%s` are damaged", checking->policy);
}

/* --- sets: code calls them by the numbers that they had then ----------------------------------------------------- */

static uint32_t set_then(struct checking *checking, uint32_t set)
{
	for (size_t i = 0; i < checking->built.set_count; i++)
		if (!strcmp(checking->built.sets[i].name, checking->now.sets[set].name))
			return (uint32_t)i;
	checking->amiss = "its rules look at a set that they did not know when they were built";
	return 0;
}

static const struct cond *cond_then(struct checking *checking, const struct cond *cond)
{
	struct cond *copy = arena_copy(checking->call->arena, cond, sizeof *cond);
	const struct cond **items;

	switch (cond->kind) {
	case COND_AND: case COND_OR:
		items = ARENA_ARRAY(checking->call->arena, const struct cond *, cond->list.count);
		for (size_t i = 0; i < cond->list.count; i++)
			items[i] = cond_then(checking, cond->list.items[i]);
		copy->list.items = items;
		break;
	case COND_NOT:
		copy->inner = cond_then(checking, cond->inner);
		break;
	case COND_SET:
		copy->set.set = set_then(checking, cond->set.set);
		break;
	default:
		break;
	}
	return copy;
}

static struct rule rule_then(struct checking *checking, struct rule rule)
{
	struct action *actions = arena_copy(checking->call->arena, rule.actions, rule.action_count * sizeof *actions);

	for (size_t i = 0; i < rule.action_count; i++)
		if (actions[i].kind == ACTION_ADD || actions[i].kind == ACTION_REMOVE)
			actions[i].change.set = set_then(checking, actions[i].change.set);
	rule.actions = actions;
	rule.cond = rule.cond ? cond_then(checking, rule.cond) : NULL;
	return rule;
}

static bool sets_stayed(const struct checking *checking)
{
	bool same = checking->now.set_count <= checking->built.set_count;

	for (size_t i = 0; same && i < checking->now.set_count; i++)
		same = !strcmp(checking->built.sets[i].name, checking->now.sets[i].name);
	return same;
}

static void number_sets(struct checking *checking)
{
	struct arena *arena = checking->call->arena;
	struct ruleset *now = &checking->now;
	struct chain *chains = arena_copy(arena, now->chains, now->chain_count * sizeof *chains);

	for (size_t c = 0; c < now->chain_count && !sets_stayed(checking); c++) {
		struct rule *rules = ARENA_ARRAY(arena, struct rule, chains[c].rule_count + 1);

		for (size_t r = 0; r < chains[c].rule_count; r++)
			rules[r] = rule_then(checking, chains[c].rules[r]);
		chains[c].rules = rules;
	}
	now->chains = chains;
	now->sets = checking->built.sets;
	now->set_count = checking->built.set_count;
}

/* --- counters, log statements and rates -------------------------------------------------------------------------- */

static const struct rule **rules_by_number(struct arena *arena, const struct ruleset *ruleset)
{
	const struct rule **rules = ARENA_ARRAY(arena, const struct rule *, ruleset->rule_count + 1ul);

	for (size_t c = 0; c < ruleset->chain_count; c++)
		for (size_t r = 0; r < ruleset->chains[c].rule_count; r++)
			rules[ruleset->chains[c].rules[r].number] = &ruleset->chains[c].rules[r];
	return rules;
}

/* What the log statement of a rule that came says is kept with the edit. */
static void check_text(struct checking *checking, const struct rule *rule, uint32_t log)
{
	const char *text = edits_log_text(checking->state.edits, checking->state.edits_size, log);

	for (size_t i = 0; i < rule->action_count; i++)
		if (rule->actions[i].kind == ACTION_LOG && (!text || strcmp(text, rule->actions[i].log.text)))
			checking->amiss = "a log statement says something else than its rule";
}

/* By number then: the first log statement and the first rate. */
static void count_places(struct checking *checking, uint32_t *logs, uint32_t *rates)
{
	const struct rule **rules = rules_by_number(checking->call->arena, &checking->built);
	uint32_t log = 0, rate = 0;

	for (uint32_t i = 1; i <= checking->built.rule_count; i++) {
		logs[i] = log;
		rates[i] = rate;
		for (size_t a = 0; a < rules[i]->action_count; a++) {
			log += rules[i]->actions[a].kind == ACTION_LOG;
			rate += action_is_rated(&rules[i]->actions[a]);
		}
	}
}

static void number_places(struct checking *checking)
{
	struct arena *arena = checking->call->arena;
	size_t built = checking->built.rule_count + 1ul, now = checking->now.rule_count + 1ul;
	uint32_t *logs_then = ARENA_ARRAY(arena, uint32_t, built), *rates_then = ARENA_ARRAY(arena, uint32_t, built);
	uint32_t *logs = ARENA_ARRAY(arena, uint32_t, now), *rates = ARENA_ARRAY(arena, uint32_t, now);
	const struct rule **rules = rules_by_number(arena, &checking->now);

	count_places(checking, logs_then, rates_then);
	for (uint32_t i = 1; i < now; i++) {
		uint32_t then = checking->rules.built[i];

		logs[i] = then ? logs_then[then] : checking->rules.ops[i]->log;
		rates[i] = then ? rates_then[then] : 0;
		if (!then)
			check_text(checking, rules[i], logs[i]);
	}
	checking->changed = (struct prove_changed){ .epoch = kernel_loaded_epoch(checking->loaded),
						    .slots = checking->rules.slots,
						    .counters = SLOT_RULE(checking->built.rule_count + 1),
						    .logs = logs, .rates = rates };
}

/* --- one hook ---------------------------------------------------------------------------------------------------- */

static void add_result(struct checking *checking, const struct weir_verification *verification)
{
	VEC_PUSH(checking->call->arena, &checking->results->list) = *verification;
}

static void add_unproven(struct checking *checking, const struct install_hook *hook, const char *reason)
{
	const struct weir_verification verification = { .policy = checking->policy, .hook = hook_table[hook->hook].name,
							.proof = WEIR_NOT_PROVEN, .reason = reason,
							.rules = checking->now.rule_count };

	add_result(checking, &verification);
}

/* A map that the program never looks at is not among those that are read; then it does not matter what is in it. */
static struct prove_input input_of(struct checking *checking, const struct built *built, const struct loaded_hook *there)
{
	struct arena *arena = checking->call->arena;
	struct prove_input input = verify_input(arena, built);

	input.milliseconds = checking->milliseconds;
	input.slots = kernel_loaded_slots(checking->loaded);
	if (there->steps) {
		input.steps = there->steps;
		input.step_count = there->step_count;
	}
	if (there->logs)
		input.logs = there->logs;
	if (there->rates)
		input.rates = there->rates;
	if (input.table) {
		input.table = there->config;
		input.table_words = there->words;
		input.table_count = there->word_count;
	}
	if (!checking->edited)
		return input;
	input.ruleset = ruleset_expand(arena, ruleset_at(arena, &checking->now, input.hook));
	input.log_count = there->logs ? there->log_count : 0;
	input.changed = &checking->changed;
	return input;
}

/* What is read has room for all that was installed. */
static bool is_complete(const struct plan *plan, const struct loaded_hook *there)
{
	return there && (!there->steps || there->step_count >= plan->step_count) &&
	       (!there->logs || there->log_count >= plan->log_count) && (!there->rates || there->rate_count >= plan->rate_count) &&
	       (plan->kind != PLAN_TABLE || (there->words && there->word_count >= plan->table.word_count));
}

static void prove_hook(struct checking *checking, const struct install_hook *hook, const struct built *built,
		       const struct loaded_hook *there)
{
	struct weir_verification verification;
	struct prove_input input;

	if (!is_complete(built->plan, there)) {
		add_unproven(checking, hook, "not all that its text becomes is there");
		return;
	}
	input = input_of(checking, built, there);
	verify_run(checking->call, &input, true, &verification);
	add_result(checking, &verification);
}

/* `judges`: it is one of those that the text names, and not what only notes things for them. */
static int check_hook(struct checking *checking, size_t index, const struct built *built, bool judges)
{
	const struct install_hook *hook = &checking->install.hooks[index];
	const char *reason, *target = NULL;
	int error = kernel_loaded_check(checking->loaded, &checking->install, index, checking->call->diags, &reason, &target);

	if (error)
		return WEIR_SYSTEM;
	if (!target && judges)
		add_unproven(checking, hook, "it is attached nowhere");
	if (!target)
		return WEIR_OK;
	if (reason && *target)
		reason = arena_printf(checking->call->arena, "its program at `%s` %s", target, reason);
	else if (reason)
		reason = arena_printf(checking->call->arena, "its program %s", reason);
	if (!reason)
		reason = checking->amiss;
	if (reason)
		add_unproven(checking, hook, reason);
	else if (judges)
		prove_hook(checking, hook, built, kernel_loaded_hook(checking->loaded, index));
	return WEIR_OK;
}

static int check_hooks(struct checking *checking)
{
	size_t program = 0;
	int status = WEIR_OK;

	for (size_t i = 0; i < checking->install.hook_count && !status; i++) {
		const struct install_hook *hook = &checking->install.hooks[i];
		const struct built *built = hook->record ? NULL : &checking->programs.items[program++];

		if (!checking->hook || !strcmp(checking->hook, hook_table[hook->hook].name))
			status = check_hook(checking, i, built, built && !hook->track);
	}
	return status;
}

/* --- one policy -------------------------------------------------------------------------------------------------- */

/* Warnings were told when the policy was applied. */
static int prepare(struct checking *checking)
{
	struct diags *diags = checking->call->diags;
	int status;

	checking->call->diags = diags_new(checking->call->arena);
	status = build(checking);
	if (!status && checking->edited)
		status = build_now(checking);
	if (status)
		*diags = *checking->call->diags;
	checking->call->diags = diags;
	return status;
}

/* Tables begin with where their newest version is. */
static bool has_versions(const struct kernel_loaded *loaded)
{
	const struct loaded_hook *hook;
	bool found = false;

	for (size_t i = 0; i < kernel_loaded_hooks(loaded); i++) {
		hook = kernel_loaded_hook(loaded, i);
		found |= hook && hook->config && ((const struct table_config *)hook->config)->changes && hook->word_count &&
			 *(const uint64_t *)hook->words;
	}
	return found;
}

static int check_policy(struct checking *checking)
{
	int status, error = kernel_loaded_read(checking->kernel, checking->call->arena, checking->policy, checking->call->diags,
					       &checking->state, &checking->loaded);

	if (error)
		return error == -ENOENT ? WEIR_INPUT : WEIR_SYSTEM;
	checking->edited = checking->state.edits_size || has_versions(checking->loaded);
	status = prepare(checking);
	if (status)
		return status;
	if (checking->edited) {
		number_sets(checking);
		number_places(checking);
	}
	return check_hooks(checking);
}

static int check(struct call *call, void *context)
{
	struct checking *checking = context;
	const struct checking blank = *checking;
	const char *const *names = &blank.policy;
	size_t count = 1;
	int status = WEIR_OK;

	if (kernel_open(KERNEL_READ, call->diags, &checking->kernel))
		return WEIR_SYSTEM;
	if (!checking->policy && kernel_policies(checking->kernel, call->arena, call->diags, &names, &count))
		return WEIR_SYSTEM;
	for (size_t i = 0; i < count && !status; i++) {
		struct kernel *kernel = checking->kernel;

		kernel_loaded_free(checking->loaded);
		*checking = blank;
		checking->call = call;
		checking->kernel = kernel;
		checking->policy = names[i];
		status = check_policy(checking);
	}
	if (!status && checking->hook && !checking->results->list.count)
		status = api_fail(call, WEIR_INPUT, "no policy in force is at hook `%s`", checking->hook);
	return status;
}

WEIR_EXPORT int weir_verify_loaded(struct weir *weir, const char *policy, const char *hook, unsigned milliseconds,
				   struct weir_verifications **ret_verifications)
{
	struct weir_verifications *results = api_new(sizeof *results);
	struct checking checking = { .policy = policy, .hook = hook, .milliseconds = milliseconds, .results = results };
	int status = api_result(weir, results, check, &checking);

	kernel_loaded_free(checking.loaded);
	kernel_close(checking.kernel);
	if (!status)
		*ret_verifications = results;
	return status;
}

WEIR_EXPORT const struct weir_verification *weir_verifications_at(const struct weir_verifications *verifications, size_t index)
{
	return index < verifications->list.count ? &verifications->list.items[index] : NULL;
}

WEIR_EXPORT void weir_verifications_free(struct weir_verifications *verifications)
{
	api_free(verifications);
}
