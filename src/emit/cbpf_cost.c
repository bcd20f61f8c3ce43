/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Why rules do not fit: the error says by how much, and names the rules that cost most. What a rule costs is how many
 * instructions it takes alone; together they share some, and split others.
 */
#include <stdlib.h>

#include "emit/cbpf.h"

enum { MEASURED_MAX = 32 }; /* rules that are emitted one by one: those with the most constants */

struct cost {
	const struct rule *rule;
	size_t constants;
	size_t insns;
};

static size_t count_constants(const struct cond *cond)
{
	size_t count = 0;

	switch (cond->kind) {
	case COND_MATCH:
		return cond->match.count;
	case COND_NOT:
		return count_constants(cond->inner);
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			count += count_constants(cond->list.items[i]);
		return count;
	default:
		return 0;
	}
}

static int by_cost(const void *left, const void *right)
{
	const struct cost *a = left, *b = right;

	if (a->insns != b->insns)
		return a->insns < b->insns ? 1 : -1;
	if (a->constants != b->constants)
		return a->constants < b->constants ? 1 : -1;
	return (a->rule->number > b->rule->number) - (a->rule->number < b->rule->number);
}

/* The instructions of a program with this rule only; 0: it cannot be told. */
static size_t cost_alone(struct arena *arena, const struct ruleset *ruleset, const struct rule *rule)
{
	static const struct action accept = { .kind = ACTION_VERDICT, .verdict = VERDICT_ACCEPT };
	const struct rule alone = { .number = 1, .span = rule->span, .cond = rule->cond, .actions = &accept,
				    .action_count = 1 };
	const struct chain chain = { .name = "main", .rules = &alone, .rule_count = 1 };
	struct ruleset small = *ruleset;
	struct cbpf_buffer buffer;

	small.chains = &chain;
	small.chain_count = 1;
	small.rule_count = 1;
	small.default_verdict = VERDICT_DROP;
	return cbpf_emit(arena, &small, UINT32_MAX, diags_new(arena), &buffer) ? 0 : buffer.insns.count;
}

static struct cost *measure(struct arena *arena, const struct ruleset *ruleset, size_t *ret_count)
{
	struct cost *costs = ARENA_ARRAY(arena, struct cost, ruleset->rule_count);
	size_t count = 0;

	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++) {
			const struct rule *rule = &ruleset->chains[i].rules[j];

			costs[count++] = (struct cost){ rule, rule->cond ? count_constants(rule->cond) : 0, 0 };
		}
	qsort(costs, count, sizeof *costs, by_cost);
	if (count > MEASURED_MAX)
		count = MEASURED_MAX;
	for (size_t i = 0; i < count; i++)
		costs[i].insns = cost_alone(arena, ruleset, costs[i].rule);
	qsort(costs, count, sizeof *costs, by_cost);
	*ret_count = count;
	return costs;
}

void cbpf_explain_size(struct arena *arena, const struct ruleset *ruleset, size_t insns, size_t limit,
		       struct diags *diags)
{
	struct diag *diag;
	struct cost *costs;
	size_t count;

	diag = diag_error(diags, ruleset->span, "the rules need %zu instructions of classic BPF, %zu more than the %zu "
			  "that fit", insns, insns - limit, limit);
	diag_hint(diags, diag, "let eBPF judge (it needs CAP_BPF, or a program pinned by `weir load`), or leave "
		  "rules out");
	costs = measure(arena, ruleset, &count);
	for (size_t i = 0; i < count && i < DIAG_RELATED_MAX; i++)
		if (costs[i].insns)
			diag_relate(diags, diag, costs[i].rule->span, "rule %u alone needs %zu",
				    costs[i].rule->number, costs[i].insns);
}
