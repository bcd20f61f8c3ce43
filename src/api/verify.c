/* SPDX-License-Identifier: GPL-2.0-only */
/* Proofs of what was compiled: hands the prover the finished object and what the loader would install beside it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/verify.h"
#include "bpf/objects.h"

/* The proof has an arena of its own, which is gone before anything else is allocated. */
enum { TEXT_MAX = 1000 };

struct proof {
	struct arena *arena;
	struct prove_input input;
	struct prove_result result;
	char reason[TEXT_MAX], example[TEXT_MAX], rules[TEXT_MAX], program[TEXT_MAX], assumed[TEXT_MAX];
};

static const struct prove_map *maps_of(struct arena *arena, const struct plan *plan)
{
	static const enum prove_key keys[] = { [KEY_IPV4] = PROVE_KEY_IPV4, [KEY_IPV6] = PROVE_KEY_IPV6,
					       [KEY_VALUE] = PROVE_KEY_VALUE };
	struct prove_map *maps = ARENA_ARRAY(arena, struct prove_map, plan->set_count);

	for (size_t i = 0; i < plan->set_count; i++) {
		const struct plan_set *set = &plan->sets[i];

		maps[i] = (struct prove_map){ .name = set->map, .key = keys[set->key], .lpm = set->lpm,
					      .named = set->named, .elements = set->elements, .count = set->count };
	}
	return maps;
}

static struct prove_object object_of(const struct plane_object *object)
{
	return (struct prove_object){ object->name, object->data, object->size };
}

struct prove_input verify_input(struct arena *arena, const struct built *built)
{
	const struct plan *plan = built->plan;

	return (struct prove_input){
		.ruleset = plan->ruleset,
		.hook = plan->hook,
		.object = built->object.data,
		.object_size = built->object.size,
		.needed = plan->needed,
		.slots = plan->slots,
		.steps = plan->steps,
		.step_count = plan->step_count,
		.logs = plan->logs,
		.log_count = plan->log_count,
		.rates = plan->rates,
		.rate_count = plan->rate_count,
		.maps = maps_of(arena, plan),
		.map_count = plan->set_count,
		.table = plan->kind == PLAN_TABLE ? &plan->table.config : NULL,
		.table_words = plan->table.words,
		.table_count = plan->table.word_count,
		.cache = &plan->cache,
	};
}

/* Which of them walks a table is known where it is loaded. */
static void add_walkers(struct prove_input *input)
{
	input->walkers[0] = object_of(plane_table());
	input->walkers[1] = object_of(plane_table_bounded());
}

static void keep(char to[TEXT_MAX], const char *text)
{
	snprintf(to, TEXT_MAX, "%s", text ? text : "");
}

static int run_proof(void *context)
{
	struct proof *proof = context;

	prove_run(proof->arena, &proof->input, &proof->result);
	keep(proof->reason, proof->result.reason);
	keep(proof->example, proof->result.example);
	keep(proof->rules, proof->result.rules);
	keep(proof->program, proof->result.program);
	keep(proof->assumed, proof->result.assumed);
	return 0;
}

static const char *text_of(struct arena *arena, const char *text)
{
	return *text ? arena_strndup(arena, text, strlen(text)) : NULL;
}

void verify_run(struct call *call, const struct prove_input *input, bool walkers, struct weir_verification *ret_verification)
{
	static const enum weir_proof proofs[] = {
		[PROVE_EQUAL] = WEIR_PROVEN, [PROVE_DIFFERENT] = WEIR_DISPROVEN,
		[PROVE_TOO_LARGE] = WEIR_NOT_PROVEN, [PROVE_UNKNOWN] = WEIR_NOT_PROVEN,
	};
	struct proof *proof = ARENA_NEW(call->arena, struct proof);

	proof->input = *input;
	if (walkers)
		add_walkers(&proof->input);
	proof->arena = arena_new();
	if (!proof->arena || arena_run(proof->arena, run_proof, proof)) {
		proof->result.outcome = PROVE_TOO_LARGE;
		keep(proof->reason, "out of memory");
	}
	arena_free(proof->arena);
	*ret_verification = (struct weir_verification){
		.policy = input->ruleset->name,
		.hook = hook_table[input->hook].name,
		.proof = proofs[proof->result.outcome],
		.reason = text_of(call->arena, proof->reason),
		.example = text_of(call->arena, proof->example),
		.assumed = text_of(call->arena, proof->assumed),
		.by_rules = text_of(call->arena, proof->rules),
		.by_program = text_of(call->arena, proof->program),
		.rules = ruleset_shown(input->ruleset),
		.instructions = proof->result.insn_count,
		.nanoseconds = proof->result.nanoseconds,
		.walker_steps = proof->result.walker_steps,
	};
}

void api_prove(struct call *call, const struct built *built, unsigned milliseconds, bool walkers,
	       struct weir_verification *ret_verification)
{
	struct prove_input input = verify_input(call->arena, built);

	input.milliseconds = milliseconds;
	verify_run(call, &input, walkers, ret_verification);
}

static void warn_unproven(struct call *call, const struct built *built, const char *reason)
{
	struct diag *diag = diag_warning(call->diags, (struct span){ 0 },
					 "policy `%s` at %s is not proven to do what its rules say: %s",
					 built->plan->ruleset->name, hook_table[built->plan->hook].name, reason);

	diag_hint(call->diags, diag, "`weir verify` takes more time; `--no-verify` does without");
}

static void spend(unsigned *milliseconds, uint64_t nanoseconds)
{
	uint64_t spent = nanoseconds / 1000000;

	*milliseconds -= spent < *milliseconds ? (unsigned)spent : *milliseconds;
}

int api_require_proof(struct call *call, const struct built *built, unsigned *milliseconds)
{
	struct weir_verification verification = { .proof = WEIR_NOT_PROVEN, .reason = "it takes too long" };
	struct diag *diag;

	if (*milliseconds)
		api_prove(call, built, *milliseconds, false, &verification);
	spend(milliseconds, verification.nanoseconds);
	if (verification.proof == WEIR_NOT_PROVEN)
		warn_unproven(call, built, verification.reason);
	if (verification.proof != WEIR_DISPROVEN)
		return WEIR_OK;
	diag = diag_error(call->diags, (struct span){ 0 },
			  "a bug in weir: at %s policy `%s` does not do what its rules say: for %s the rules say %s, "
			  "the program %s", verification.hook, verification.policy, verification.example,
			  verification.by_rules, verification.by_program);
	diag_hint(call->diags, diag, "please report it; `classifier = list` may avoid it");
	return WEIR_SYSTEM;
}

/* --- weir_verify() ----------------------------------------------------------------------------------------------- */

struct verifying {
	struct weir_program *program;
	const char *policy, *hook;
	unsigned milliseconds;
	struct weir_verification *verification;
};

static int verify(struct call *call, void *context)
{
	struct verifying *verifying = context;
	const struct ruleset *ruleset;
	struct built built;
	enum hook hook;
	int status = api_select(call, verifying->program, verifying->policy, verifying->hook, &ruleset, &hook);

	if (!status)
		status = api_build(call, ruleset, hook, &built);
	if (status)
		return status;
	verifying->verification = ARENA_NEW(call->arena, struct weir_verification);
	api_prove(call, &built, verifying->milliseconds, true, verifying->verification);
	return WEIR_OK;
}

WEIR_EXPORT int weir_verify(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
			    unsigned milliseconds, const struct weir_verification **ret_verification)
{
	struct verifying verifying = { .program = program, .policy = policy, .hook = hook,
				       .milliseconds = milliseconds };
	int status = api_call(weir, program->arena, false, verify, &verifying);

	if (!status)
		*ret_verification = verifying.verification;
	return status;
}
