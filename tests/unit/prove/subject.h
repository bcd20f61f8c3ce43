/* SPDX-License-Identifier: GPL-2.0-only */
/* A policy made into an object, and what the prover is told of it. For tests. */
#ifndef WEIR_TESTS_PROVE_SUBJECT_H
#define WEIR_TESTS_PROVE_SUBJECT_H

#include <string.h>

#include "emit/emit.h"
#include "prove/prove.h"

struct subject {
	const struct ruleset *ruleset;
	enum hook hook;
	const struct plan *plan;
	const struct code *code;
	struct object object;
	struct prove_map *maps;
};

/* The sets of a plan, as the prover takes them. */
static inline struct prove_map *subject_maps(struct arena *arena, const struct plan *plan)
{
	static const enum prove_key keys[] = { [KEY_IPV4] = PROVE_KEY_IPV4, [KEY_IPV6] = PROVE_KEY_IPV6,
					       [KEY_VALUE] = PROVE_KEY_VALUE };
	struct prove_map *maps = ARENA_ARRAY(arena, struct prove_map, plan->set_count);

	for (size_t i = 0; i < plan->set_count; i++) {
		const struct plan_set *set = &plan->sets[i];

		maps[i] = (struct prove_map){ set->map, keys[set->key], set->lpm, set->named, set->elements,
					      set->count };
	}
	return maps;
}

/* 0, or -1 where no plan or code can be made. */
static inline int subject_make(struct arena *arena, const struct ruleset *ruleset, enum hook hook,
			       const struct plan_options *options, struct subject *ret_subject)
{
	struct diags *diags = diags_new(arena);
	struct subject subject = { .ruleset = ruleset, .hook = hook };

	if (plan_build(arena, ruleset, hook, options, diags, &subject.plan) ||
	    emit_code(arena, subject.plan, diags, &subject.code) ||
	    emit_object(arena, subject.plan, subject.code, &subject.object))
		return -1;
	subject.maps = subject_maps(arena, subject.plan);
	*ret_subject = subject;
	return 0;
}

static inline struct prove_input subject_input(const struct subject *subject)
{
	const struct plan *plan = subject->plan;

	return (struct prove_input){
		.ruleset = plan->ruleset,
		.hook = subject->hook,
		.object = subject->object.data,
		.object_size = subject->object.size,
		.needed = plan->needed,
		.slots = plan->slots,
		.steps = plan->steps,
		.step_count = plan->step_count,
		.logs = plan->logs,
		.log_count = plan->log_count,
		.rates = plan->rates,
		.rate_count = plan->rate_count,
		.maps = subject->maps,
		.map_count = plan->set_count,
		.table = plan->kind == PLAN_TABLE ? &plan->table.config : NULL,
		.table_words = plan->table.words,
		.table_count = plan->table.word_count,
	};
}

#endif
