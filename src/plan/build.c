/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Building: rules become one decision diagram. In: the tests of all rules; out: a pruned diagram whose leaves are
 * lists of matched rules. Halves of a chain are built apart and put one behind the other, so that the work for rules
 * that have little to do with each other grows as n log n. Fails by going over the effort allowed.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/work.h"

#define FALL (DIAGRAM_LEAF | LIST_FALL)
#define LEAF(list) ((diagram_ref)(DIAGRAM_LEAF | (list)))

/* --- orders of dimensions ------------------------------------------------------------------------------- */

/*
 * An order: fields in front; the others follow in that of the field table. Look-ups go last, as they cost most, and a
 * path that is decided without them need not pay; or else right behind the family, which makes less code of rules
 * behind a set that all packets are looked up in.
 */
static const struct order {
	bool sets_first;
	uint8_t fields[8]; /* ended by a 0, or all */
} orders[ORDER_COUNT] = {
	{ .fields = { 0 } },
	{ .fields = { FIELD_IP_DST, FIELD_IP_SRC, FIELD_IPV6_DST, FIELD_IPV6_SRC, FIELD_PROTO } },
	{ .fields = { FIELD_PROTO, FIELD_IP_SRC, FIELD_IP_DST, FIELD_IPV6_SRC, FIELD_IPV6_DST, FIELD_DST_PORT } },
	{ .fields = { FIELD_PROTO, FIELD_IP_DST, FIELD_IPV6_DST, FIELD_DST_PORT, FIELD_IP_SRC, FIELD_IPV6_SRC } },
	{ .fields = { 0 }, .sets_first = true },
};

enum { SETS_FIRST_FACTOR = 2 }; /* how much cheaper look-ups in front must be to be taken */

static uint64_t rank(const struct order *order, const struct dim *dim)
{
	unsigned place = 0, group = 1;

	while (place < sizeof order->fields && order->fields[place] && order->fields[place] != dim->field)
		place++;
	if (place == sizeof order->fields || !order->fields[place])
		place = 64 + (unsigned)dim->field;
	if (dim->field == FIELD_FAMILY)
		group = 0;
	else if (dim->kind == DIM_SET)
		group = order->sets_first ? 0 : 2;
	return (uint64_t)group << 40 | (uint64_t)(dim->kind == DIM_SET) << 32 | place << 16 |
	       (dim->mask != ~0ull) << 8 | dim->offset;
}

_Static_assert(FIELD_FAMILY == 0, "0 ends an order, and the family is always in front");

struct ranked {
	uint64_t rank;
	uint32_t dim;
};

static int compare_ranked(const void *left, const void *right)
{
	const struct ranked *a = left, *b = right;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return a->dim < b->dim ? -1 : a->dim > b->dim;
}

static void put_in_order(struct attempt *attempt, unsigned order)
{
	const struct work *work = attempt->work;
	size_t count = work->dims.count;
	struct ranked *ranked = ARENA_ARRAY(work->arena, struct ranked, count);

	for (uint32_t i = 0; i < count; i++)
		ranked[i] = (struct ranked){ rank(&orders[order], &work->dims.items[i]), i };
	if (count > 1)
		qsort(ranked, count, sizeof *ranked, compare_ranked);
	for (uint32_t i = 0; i < count; i++) {
		attempt->dims[i] = work->dims.items[ranked[i].dim];
		attempt->level_of[ranked[i].dim] = i;
	}
}

static diagram_ref *unknown_refs(struct arena *arena, size_t count)
{
	diagram_ref *refs = ARENA_ARRAY(arena, diagram_ref, count);

	memset(refs, 0xff, count * sizeof *refs);
	return refs;
}

struct attempt *attempt_new(struct work *work, unsigned order, size_t effort_max)
{
	struct attempt *attempt = ARENA_NEW(work->arena, struct attempt);
	const struct test *ip;

	ip = test_between(work, dims_family(work), FAMILY_IPV4, FAMILY_IPV6);
	attempt->work = work;
	attempt->rule_cap = SIZE_MAX;
	attempt->order = order;
	attempt->level_of = ARENA_ARRAY(work->arena, uint32_t, work->dims.count);
	attempt->dims = ARENA_ARRAY(work->arena, struct dim, work->dims.count);
	put_in_order(attempt, order);
	attempt->diagrams = diagrams_new(work->arena, attempt->dims, work->dims.count, effort_max);
	attempt->conds = unknown_refs(work->arena, work->ruleset->rule_count + 1);
	for (unsigned named = 0; named < 2; named++)
		attempt->chains[named] = unknown_refs(work->arena, work->ruleset->chain_count);
	attempt->ip = diagram_split(attempt->diagrams, attempt->level_of[ip->in.dim], ip->in.intervals,
				    ip->in.count, REF_YES, REF_NO);
	return attempt;
}

/* --- conditions ----------------------------------------------------------------------------------------- */

static diagram_ref test_diagram(struct attempt *attempt, const struct test *test);

/* Halves first: joining many alternatives one by one would walk the growing result again and again. */
static diagram_ref join_diagram(struct attempt *attempt, enum diagram_op op, const struct test *const *items,
				size_t count)
{
	size_t half = count / 2;

	if (count == 1)
		return test_diagram(attempt, items[0]);
	return diagram_apply(attempt->diagrams, op, join_diagram(attempt, op, items, half),
			     join_diagram(attempt, op, items + half, count - half));
}

static diagram_ref test_diagram(struct attempt *attempt, const struct test *test)
{
	if (test == &test_always)
		return REF_YES;
	if (test == &test_never)
		return REF_NO;
	switch (test->kind) {
	case TEST_AND:
		return join_diagram(attempt, OP_AND, test->list.items, test->list.count);
	case TEST_OR:
		return join_diagram(attempt, OP_OR, test->list.items, test->list.count);
	case TEST_NOT:
		return diagram_apply(attempt->diagrams, OP_NOT, test_diagram(attempt, test->inner), REF_NO);
	case TEST_IN:
		return diagram_split(attempt->diagrams, attempt->level_of[test->in.dim], test->in.intervals,
				     test->in.count, REF_YES, REF_NO);
	}
	return REF_NO;
}

diagram_ref attempt_condition(struct attempt *attempt, uint32_t rule)
{
	if (attempt->conds[rule] == REF_UNKNOWN)
		attempt->conds[rule] = test_diagram(attempt, attempt->work->tests[rule]);
	return attempt->conds[rule];
}

/* --- rules ---------------------------------------------------------------------------------------------- */

const struct action *rule_terminal(const struct rule *rule)
{
	const struct action *last = &rule->actions[rule->action_count - 1];

	return last->kind >= ACTION_VERDICT ? last : NULL;
}

static diagram_ref apply(struct attempt *attempt, enum diagram_op op, diagram_ref left, diagram_ref right)
{
	return diagram_apply(attempt->diagrams, op, left, right);
}

/* The packets for which the rule acts, given that it is read: all, or those that are IP. */
static diagram_ref acting(struct attempt *attempt, bool named)
{
	return named ? REF_YES : attempt->ip;
}

/* Where the rule acts, judging goes on with `next` only if it has a token. */
static diagram_ref asked(struct attempt *attempt, const struct rule *rule, bool named, diagram_ref next)
{
	diagram_ref acts = acting(attempt, named);
	diagram_ref with = apply(attempt, OP_GUARD, acts, diagram_ask(attempt->diagrams, rule->number, next));
	diagram_ref without = apply(attempt, OP_GUARD, apply(attempt, OP_NOT, acts, REF_NO), next);

	return apply(attempt, OP_THEN, with, without);
}

/* The rule is counted (and logs and so on), then judging goes on with `next`. */
static diagram_ref counted(struct attempt *attempt, const struct rule *rule, bool named, diagram_ref next)
{
	diagram_ref hit;

	if (rule_rate(rule))
		return asked(attempt, rule, named, next);
	if (attempt->deciders)
		return next;
	hit = diagram_cons(attempt->diagrams, rule->number, FALL);
	return apply(attempt, OP_THEN, apply(attempt, OP_GUARD, acting(attempt, named), hit), next);
}

static diagram_ref chain_diagram(struct attempt *attempt, uint32_t chain, bool named);

/* What a packet meets that the rule's condition lets in. */
static diagram_ref effect(struct attempt *attempt, const struct rule *rule, bool named)
{
	const struct action *terminal = rule_terminal(rule);
	diagram_ref chain;

	switch (terminal ? terminal->kind : ACTION_COUNT) {
	case ACTION_VERDICT:
		if (rule_rate(rule))
			return apply(attempt, OP_GUARD, acting(attempt, named),
				     diagram_ask(attempt->diagrams, rule->number, LEAF(LIST_DECIDED)));
		return apply(attempt, OP_GUARD, acting(attempt, named),
			     diagram_cons(attempt->diagrams, rule->number, LEAF(LIST_DECIDED)));
	case ACTION_RETURN:
		return counted(attempt, rule, named, LEAF(LIST_RETURN));
	case ACTION_JUMP:
		chain = chain_diagram(attempt, terminal->chain, named);
		return counted(attempt, rule, named, apply(attempt, OP_RETURNS, chain, REF_NO));
	case ACTION_GOTO:
		chain = chain_diagram(attempt, terminal->chain, named);
		return counted(attempt, rule, named, apply(attempt, OP_LEAVES, chain, REF_NO));
	default:
		return attempt->deciders ? FALL : counted(attempt, rule, named, FALL);
	}
}

diagram_ref attempt_rule(struct attempt *attempt, const struct rule *rule, bool named)
{
	diagram_ref condition = attempt_condition(attempt, rule->number);

	if (condition == REF_NO)
		return FALL;
	return apply(attempt, OP_GUARD, condition, effect(attempt, rule, named || rule->names_link));
}

static diagram_ref rules_diagram(struct attempt *attempt, const struct rule *rules, size_t count, bool named)
{
	size_t half = count / 2;
	diagram_ref first;

	if (!count || attempt->diagrams->over)
		return FALL;
	if (count == 1)
		return attempt_rule(attempt, rules, named);
	first = rules_diagram(attempt, rules, half, named);
	return apply(attempt, OP_THEN, first, rules_diagram(attempt, rules + half, count - half, named));
}

static diagram_ref chain_diagram(struct attempt *attempt, uint32_t chain, bool named)
{
	const struct chain *from = &attempt->work->ruleset->chains[chain];
	diagram_ref *known = &attempt->chains[named][chain];
	size_t count = from->rule_count < attempt->rule_cap ? from->rule_count : attempt->rule_cap;

	if (*known == REF_UNKNOWN)
		*known = rules_diagram(attempt, from->rules, count, named);
	return *known;
}

/* What happens to packets that no rule decides. */
static diagram_ref default_diagram(struct attempt *attempt, const struct ruleset *ruleset)
{
	bool frames = hook_table[attempt->work->hook].frames;
	size_t base = diagram_begin(attempt->diagrams);
	diagram_ref other = LEAF(ruleset->non_ip_accept ? LIST_NON_IP : LIST_DEFAULT);
	uint32_t family = attempt->level_of[dims_family(attempt->work)];

	diagram_push(attempt->diagrams, base, FAMILY_OTHER, other);
	/* Where there are no frames there is no ARP; nothing is said about it, so that nothing needs a test. */
	diagram_push(attempt->diagrams, base, FAMILY_EXEMPT, frames ? LEAF(LIST_NON_IP) : other);
	diagram_push(attempt->diagrams, base, FAMILY_MAX, LEAF(LIST_DEFAULT));
	return diagram_make(attempt->diagrams, family, base);
}

diagram_ref attempt_policy(struct attempt *attempt, uint32_t chain, const struct ruleset *defaults)
{
	diagram_ref rules = apply(attempt, OP_RETURNS, chain_diagram(attempt, chain, false), REF_NO);

	return diagram_prune(attempt->diagrams,
			     apply(attempt, OP_THEN, rules, default_diagram(attempt, defaults)));
}

/* --- the whole ------------------------------------------------------------------------------------------ */

struct tally {
	const struct diagrams *diagrams;
	bool *seen, *seen_lists;
	size_t edges, cost, edge_max;
	size_t steps; /* about as many as the leaves' runs have */
};

enum { LOOKUP_COST = 8 }; /* edges that a map look-up is worth, in code and time */

static void count_leaf(struct tally *tally, uint32_t list)
{
	if (!tally->seen_lists[list])
		tally->steps += tally->diagrams->cells.items[list].length;
	tally->seen_lists[list] = true;
}

static void count_nodes(struct tally *tally, diagram_ref ref)
{
	const struct diagram_node *node;

	if (ref & DIAGRAM_LEAF) {
		count_leaf(tally, ref & ~DIAGRAM_LEAF);
		return;
	}
	if (tally->seen[ref] || tally->edges > tally->edge_max)
		return;
	tally->seen[ref] = true;
	node = &tally->diagrams->nodes.items[ref];
	tally->edges += node->edge_count;
	tally->cost += node->edge_count;
	if (tally->diagrams->dims[node->dim].kind == DIM_SET)
		tally->cost += LOOKUP_COST;
	for (uint32_t i = 0; i < node->edge_count; i++)
		count_nodes(tally, node->edges[i].to);
}

bool attempt_build(struct attempt *attempt, size_t edge_budget)
{
	struct diagrams *diagrams = attempt->diagrams;
	struct tally tally = { .diagrams = diagrams, .edge_max = edge_budget };

	attempt->root = attempt_policy(attempt, 0, attempt->work->ruleset);
	if (diagrams->over)
		return false;
	tally.seen = ARENA_ARRAY(attempt->work->arena, bool, diagrams->nodes.count);
	tally.seen_lists = ARENA_ARRAY(attempt->work->arena, bool, diagrams->cells.count);
	count_nodes(&tally, attempt->root);
	attempt->edges = tally.edges;
	attempt->cost = tally.cost * (orders[attempt->order].sets_first ? SETS_FIRST_FACTOR : 1);
	return attempt->edges <= edge_budget && tally.steps <= PLAN_STEPS_MAX;
}
