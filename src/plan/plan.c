/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Planning: prepares a rule set, tries orders of dimensions, chooses between diagram and list. In: a rule set and a
 * hook; out: a plan. Fails with a diagnostic.
 */
#include <errno.h>

#include "plan/table.h"

enum {
	CHAIN_DEPTH_MAX = 200,
	TRIAL_RULES = 256,      /* about so many rules decide on the order of dimensions */
	FULL_ATTEMPTS = 2,      /* orders tried on a rule set longer than that */
	EFFORT_PER_EDGE = 16,   /* how much more than the budget may be made on the way */
	EFFORT_MIN = 16000,
	DIAGRAM_DIMS_MAX = 256,
	DIAGRAM_RULES_MAX = 20000, /* from which on no diagram is tried: it would hardly fit, and a table is faster */
	TABLE_NS_LEAST = 30,    /* no table is tried where a diagram takes so little */
	TABLE_NS_GOOD = 120,    /* no heavy diagram is tried where a table takes no more */
	LIGHT_EDGES = 4096,     /* of a diagram that the kernel checks in some 50 ms, at each change of a rule */
};

/* --- preparation ---------------------------------------------------------------------------------------- */

static void collect_rules(struct work *work)
{
	const struct ruleset *ruleset = work->ruleset;

	work->rules = ARENA_ARRAY(work->arena, const struct rule *, ruleset->rule_count + 1);
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			work->rules[ruleset->chains[i].rules[j].number] = &ruleset->chains[i].rules[j];
}

static bool is_log(const struct action *action)
{
	return action->kind == ACTION_LOG;
}

static uint32_t count_actions(const struct rule *rule, bool (*wanted)(const struct action *action))
{
	uint32_t count = 0;

	for (size_t i = 0; i < rule->action_count; i++)
		count += wanted(&rule->actions[i]);
	return count;
}

/* By rule number, how many such actions come before; behind the last rule, how many there are. */
static uint32_t *number_actions(struct work *work, bool (*wanted)(const struct action *action))
{
	uint32_t *first = ARENA_ARRAY(work->arena, uint32_t, work->ruleset->rule_count + 2);
	uint32_t next = 0;

	for (uint32_t i = 1; i <= work->ruleset->rule_count; i++) {
		first[i] = next;
		next += count_actions(work->rules[i], wanted);
	}
	first[work->ruleset->rule_count + 1] = next;
	return first;
}

/* How many chains are entered one inside the other from this one on; `depths` 0: not known yet. */
static unsigned chain_depth(const struct ruleset *ruleset, uint32_t chain, unsigned *depths, unsigned above)
{
	unsigned deepest = 0;

	if (depths[chain] || above > CHAIN_DEPTH_MAX)
		return depths[chain];
	for (size_t i = 0; i < ruleset->chains[chain].rule_count; i++) {
		const struct action *terminal = rule_terminal(&ruleset->chains[chain].rules[i]);
		unsigned depth;

		if (!terminal || (terminal->kind != ACTION_JUMP && terminal->kind != ACTION_GOTO))
			continue;
		depth = chain_depth(ruleset, terminal->chain, depths, above + 1);
		deepest = depth > deepest ? depth : deepest;
	}
	/* Not yet final if the descent was cut short, but then too deep in any case. */
	depths[chain] = deepest + 1;
	return depths[chain];
}

static int check_depth(struct work *work)
{
	unsigned *depths = ARENA_ARRAY(work->arena, unsigned, work->ruleset->chain_count);

	if (chain_depth(work->ruleset, 0, depths, 0) <= CHAIN_DEPTH_MAX)
		return 0;
	diag_error(work->diags, work->ruleset->chains[0].span, "chains jump more than %d deep", CHAIN_DEPTH_MAX);
	return -EINVAL;
}

int work_prepare(struct work *work)
{
	if (!work->options.diagram_budget)
		work->options.diagram_budget = PLAN_DIAGRAM_BUDGET;
	if (!work->options.inline_set_min)
		work->options.inline_set_min = PLAN_INLINE_SET_MIN;
	if (!work->options.bisect_min)
		work->options.bisect_min = PLAN_BISECT_MIN;
	if (!work->options.touched_min)
		work->options.touched_min = PLAN_TOUCHED_MIN;
	if (check_depth(work))
		return -EINVAL;
	work->dims.count = 0;
	work->sets.count = 0;
	collect_rules(work);
	work->first_log = number_actions(work, is_log);
	work->first_rate = number_actions(work, action_is_rated);
	sets_collect(work);
	dims_family(work);
	work->tests = ARENA_ARRAY(work->arena, const struct test *, work->ruleset->rule_count + 1);
	for (uint32_t i = 1; i <= work->ruleset->rule_count; i++)
		if (!(work->tests[i] = dims_condition(work, work->rules[i]->cond)))
			return -EINVAL;
	return 0;
}

bool work_fits_diagram(const struct work *work)
{
	return work->dims.count <= DIAGRAM_DIMS_MAX;
}

/* --- attempts ------------------------------------------------------------------------------------------- */

static size_t effort_max(size_t budget)
{
	return budget > SIZE_MAX / EFFORT_PER_EDGE / 2 ? SIZE_MAX : budget * EFFORT_PER_EDGE + EFFORT_MIN;
}

/* Sorts the orders by what a part of the rules costs in each. */
static void try_orders(struct work *work, size_t budget, unsigned *ret_orders)
{
	size_t cap = TRIAL_RULES / work->ruleset->chain_count;
	size_t costs[ORDER_COUNT];

	for (unsigned i = 0; i < ORDER_COUNT; i++) {
		struct attempt *attempt = attempt_new(work, i, effort_max(budget) / 4);
		size_t cost, at = i;

		attempt->rule_cap = cap > 8 ? cap : 8;
		cost = attempt_build(attempt, budget) ? attempt->cost : SIZE_MAX;
		for (; at > 0 && costs[at - 1] > cost; at--) {
			costs[at] = costs[at - 1];
			ret_orders[at] = ret_orders[at - 1];
		}
		costs[at] = cost;
		ret_orders[at] = i;
	}
}

static struct attempt *full_attempt(struct work *work, unsigned order, size_t budget)
{
	struct attempt *attempt = attempt_new(work, order, effort_max(budget));

	return attempt_build(attempt, budget) ? attempt : NULL;
}

static struct attempt *best_of_all(struct work *work, size_t budget)
{
	struct attempt *best = NULL;

	for (unsigned i = 0; i < ORDER_COUNT; i++) {
		struct attempt *attempt = full_attempt(work, i, budget);

		if (attempt && (!best || attempt->cost < best->cost))
			best = attempt;
	}
	return best;
}

/* A diagram of so many edges at most, or NULL. */
static struct attempt *find_diagram(struct work *work, size_t budget)
{
	unsigned by_cost[ORDER_COUNT];
	struct attempt *attempt = NULL;

	if (!work_fits_diagram(work))
		return NULL;
	if (work->ruleset->rule_count <= TRIAL_RULES)
		return best_of_all(work, budget);
	if (work->ruleset->rule_count > budget) /* a rule needs an edge */
		return NULL;
	try_orders(work, budget, by_cost);
	for (unsigned i = 0; i < FULL_ATTEMPTS && !attempt; i++)
		attempt = full_attempt(work, by_cost[i], budget);
	return attempt;
}

/* --- the diagram in its final form ---------------------------------------------------------------------- */

struct finishing {
	const struct diagrams *from;
	struct arena *arena;
	struct answers *answers;
	uint32_t *moved;      /* by node of the store: index in `nodes` + 1 */
	uint32_t *answer_of;  /* by list: index of its answer + 1 */
	VEC(struct diagram_node) nodes;
	size_t edges;
};

static diagram_ref move_leaf(struct finishing *finishing, uint32_t list)
{
	uint32_t *answer = &finishing->answer_of[list];

	if (!*answer)
		*answer = answers_list(finishing->answers, finishing->from, list) + 1;
	return DIAGRAM_LEAF | (*answer - 1);
}

/* Children first. */
static diagram_ref move(struct finishing *finishing, diagram_ref ref)
{
	struct diagram_node node;
	struct diagram_edge *edges;

	if (ref & DIAGRAM_LEAF)
		return move_leaf(finishing, ref & ~DIAGRAM_LEAF);
	if (finishing->moved[ref])
		return finishing->moved[ref] - 1;
	node = finishing->from->nodes.items[ref];
	edges = ARENA_ARRAY(finishing->arena, struct diagram_edge, node.edge_count);
	for (uint32_t i = 0; i < node.edge_count; i++) {
		edges[i].last = node.edges[i].last;
		edges[i].to = move(finishing, node.edges[i].to);
	}
	node.edges = edges;
	finishing->edges += node.edge_count;
	VEC_PUSH(finishing->arena, &finishing->nodes) = node;
	finishing->moved[ref] = (uint32_t)finishing->nodes.count;
	return finishing->moved[ref] - 1;
}

void diagram_finish(struct attempt *attempt, struct answers *answers, struct plan *plan)
{
	struct arena *arena = attempt->work->arena;
	struct finishing finishing = {
		.from = attempt->diagrams,
		.arena = arena,
		.answers = answers,
		.moved = ARENA_ARRAY(arena, uint32_t, attempt->diagrams->nodes.count),
		.answer_of = ARENA_ARRAY(arena, uint32_t, attempt->diagrams->cells.count),
	};

	answers->starts = ARENA_ARRAY(arena, uint32_t, attempt->diagrams->cells.count);
	plan->diagram.root = move(&finishing, attempt->root);
	plan->diagram.nodes = finishing.nodes.items;
	plan->diagram.node_count = finishing.nodes.count;
	plan->diagram.edge_count = finishing.edges;
	plan->dims = attempt->dims;
	plan->dim_count = attempt->work->dims.count;
}

/* --- dimensions in use ---------------------------------------------------------------------------------- */

static void mark_test(const struct test *test, bool *used)
{
	switch (test->kind) {
	case TEST_IN:
		used[test->in.dim] = true;
		break;
	case TEST_NOT:
		mark_test(test->inner, used);
		break;
	default:
		for (size_t i = 0; i < test->list.count; i++)
			mark_test(test->list.items[i], used);
	}
}

static void mark_dims(const struct plan *plan, bool *used)
{
	for (size_t i = 0; i < plan->diagram.node_count; i++)
		used[plan->diagram.nodes[i].dim] = true;
	for (size_t i = 0; i < plan->item_count; i++)
		if (plan->items[i].test)
			mark_test(plan->items[i].test, used);
}

static const struct test *renumber_test(struct arena *arena, const struct test *test, const uint32_t *to)
{
	struct test *copy = arena_copy(arena, test, sizeof *test);
	const struct test **items;

	if (test->kind == TEST_IN) {
		copy->in.dim = to[test->in.dim];
	} else if (test->kind == TEST_NOT) {
		copy->inner = renumber_test(arena, test->inner, to);
	} else {
		items = ARENA_ARRAY(arena, const struct test *, test->list.count);
		for (size_t i = 0; i < test->list.count; i++)
			items[i] = renumber_test(arena, test->list.items[i], to);
		copy->list.items = items;
	}
	return copy;
}

static void renumber(struct arena *arena, struct plan *plan, const uint32_t *to)
{
	struct diagram_node *nodes = arena_copy(arena, plan->diagram.nodes,
						plan->diagram.node_count * sizeof *nodes);
	struct list_item *items = arena_copy(arena, plan->items, plan->item_count * sizeof *items);

	for (size_t i = 0; i < plan->diagram.node_count; i++)
		nodes[i].dim = to[nodes[i].dim];
	for (size_t i = 0; i < plan->item_count; i++)
		if (items[i].test)
			items[i].test = renumber_test(arena, items[i].test, to);
	plan->diagram.nodes = nodes;
	plan->items = items;
}

/* What steps take from a packet to put it into a set. */
static void mark_changes(struct plan *plan)
{
	for (size_t i = 0; i < plan->step_count; i++)
		if (plan->steps[i].kind == STEP_ADD || plan->steps[i].kind == STEP_REMOVE)
			plan->needed |= FIELD_BIT(plan->steps[i].a);
}

/* Drops dimensions that nothing looks at in the end, and says what is needed of a packet. */
static void drop_unused(struct arena *arena, struct plan *plan)
{
	bool *used = ARENA_ARRAY(arena, bool, plan->dim_count);
	uint32_t *to = ARENA_ARRAY(arena, uint32_t, plan->dim_count);
	struct dim *dims = ARENA_ARRAY(arena, struct dim, plan->dim_count);
	uint32_t kept = 0;

	mark_dims(plan, used);
	for (uint32_t i = 0; i < plan->dim_count; i++) {
		if (!used[i])
			continue;
		to[i] = kept;
		dims[kept++] = plan->dims[i];
		plan->needed |= FIELD_BIT(plan->dims[i].field);
		plan->tuned |= plan->dims[i].tuned ? (uint32_t)plan->dims[i].mask : 0;
	}
	if (kept != plan->dim_count)
		renumber(arena, plan, to);
	plan->dims = dims;
	plan->dim_count = kept;
}

_Static_assert(FIELD_COUNT <= 64, "plan.needed has 64 bits");

/* --- logs ----------------------------------------------------------------------------------------------- */

static uint64_t times(uint64_t period, uint32_t burst)
{
	uint64_t product;

	return __builtin_mul_overflow(period, burst, &product) ? UINT64_MAX : product;
}

struct log_limit plan_log_limit(const struct action *action)
{
	return (struct log_limit){ .period_ns = action->log.period_ns,
				   .burst_ns = times(action->log.period_ns, action->log.burst) };
}

static void describe_logs(struct work *work, struct plan *plan)
{
	size_t count = work->first_log[work->ruleset->rule_count + 1], log = 0;
	struct log_limit *limits = ARENA_ARRAY(work->arena, struct log_limit, count);
	const char **texts = ARENA_ARRAY(work->arena, const char *, count);
	uint32_t *rules = ARENA_ARRAY(work->arena, uint32_t, count);

	for (uint32_t i = 1; i <= work->ruleset->rule_count; i++)
		for (size_t j = 0; j < work->rules[i]->action_count; j++) {
			const struct action *action = &work->rules[i]->actions[j];

			if (action->kind != ACTION_LOG)
				continue;
			limits[log] = plan_log_limit(action);
			texts[log] = action->log.text;
			rules[log++] = i;
		}
	plan->logs = limits;
	plan->log_texts = texts;
	plan->log_rules = rules;
	plan->log_count = count;
}

/* --- rates ---------------------------------------------------------------------------------------------- */

/* What the keys of buckets are made of. */
static const field_mask key_fields[RATE_KEY_COUNT] = {
	[RATE_KEY_SRC] = FIELD_BIT(FIELD_FAMILY) | FIELD_BIT(FIELD_IP_SRC) | FIELD_BIT(FIELD_IPV6_SRC),
	[RATE_KEY_DST] = FIELD_BIT(FIELD_FAMILY) | FIELD_BIT(FIELD_IP_DST) | FIELD_BIT(FIELD_IPV6_DST),
	[RATE_KEY_FLOW] = FIELD_BIT(FIELD_FAMILY) | FIELD_BIT(FIELD_IP_SRC) | FIELD_BIT(FIELD_IPV6_SRC) | FIELD_BIT(FIELD_IP_DST) |
			  FIELD_BIT(FIELD_IPV6_DST) | FIELD_BIT(FIELD_PROTO) | FIELD_BIT(FIELD_SRC_PORT) | FIELD_BIT(FIELD_DST_PORT),
	[RATE_KEY_USER] = FIELD_BIT(FIELD_USER),
};

static const uint8_t bucket_keys[RATE_KEY_COUNT] = {
	[RATE_KEY_NONE] = BUCKET_ONE,   [RATE_KEY_SRC] = BUCKET_SRC,   [RATE_KEY_DST] = BUCKET_DST,
	[RATE_KEY_FLOW] = BUCKET_FLOW, [RATE_KEY_USER] = BUCKET_USER,
};

static void add_rate(struct plan *plan, struct rate_limit *limit, const struct rate *rate)
{
	*limit = (struct rate_limit){
		.period = rate_period(rate),
		.burst_ns = rate_burst_ns(rate),
		.reserve_ns = rate_reserve_ns(rate),
		.key = bucket_keys[rate->key],
		.bytes = rate->unit == RATE_BYTES,
		.fine = rate_burst_ns(rate) < RATE_COARSE_NS,
		.bits4 = rate->bits4,
		.bits6 = rate->bits6,
	};
	plan->needed |= key_fields[rate->key];
}

static void describe_rates(struct work *work, struct plan *plan)
{
	size_t count = work->first_rate[work->ruleset->rule_count + 1], next = 0;
	struct rate_limit *rates = ARENA_ARRAY(work->arena, struct rate_limit, count);
	const struct state_needs needs = state_needs(work->ruleset);

	for (uint32_t i = 1; i <= work->ruleset->rule_count; i++)
		for (size_t j = 0; j < work->rules[i]->action_count; j++)
			if (action_is_rated(&work->rules[i]->actions[j]))
				add_rate(plan, &rates[next++], work->rules[i]->actions[j].rate);
	plan->rates = rates;
	plan->rate_count = count;
	plan->buckets = needs.buckets;
	plan->flow_buckets = needs.flow_buckets;
}

/* --- the choice ----------------------------------------------------------------------------------------- */

/* `no_table`: why there is none, or NULL. */
static int take_list(struct work *work, struct answers *answers, struct plan *plan, const char *no_table)
{
	plan->kind = PLAN_LIST;
	work->for_list = true;
	if (work_prepare(work))
		return -EINVAL;
	if (work->ruleset->classifier == CLASSIFIER_LIST)
		plan->reason = "the policy asks for a list";
	else if (!work_fits_diagram(work))
		plan->reason = "too many different masks and sets for a diagram";
	else
		plan->reason = arena_printf(work->arena, "a diagram would need more than %zu edges%s%s",
					    work->options.diagram_budget, no_table ? ", and for a table: " : "",
					    no_table ? no_table : "");
	return list_build(work, answers, plan);
}

static void take_diagram(struct work *work, struct attempt *attempt, struct answers *answers, struct plan *plan)
{
	plan->kind = PLAN_DIAGRAM;
	diagram_finish(attempt, answers, plan);
	plan->reason = arena_printf(work->arena, "its %zu edges are within the budget of %zu",
				    plan->diagram.edge_count, work->options.diagram_budget);
}

/* Because the policy asks for it. */
static int take_table(struct work *work, struct answers *answers, struct plan *plan)
{
	const char *why;
	struct diag *diag;

	plan->reason = "the policy asks for a table";
	if (table_build(work, answers, plan, &why))
		return 0;
	diag = diag_error(work->diags, work->ruleset->span, "the policy cannot be a table: %s", why);
	diag_hint(work->diags, diag, "leave `classifier = table` out");
	return -EINVAL;
}

/* What a packet costs in a diagram: 45 ns at 8,000 edges and 68 at 75,000 were measured; each doubling adds as much. */
static double diagram_ns(size_t edges)
{
	double ns = 10;

	for (size_t reach = 256; reach < edges; reach *= 2)
		ns += 7;
	return ns;
}

/* A table, and the answers made for it, which become the plan's if it is taken. */
struct candidate {
	struct answers answers;
	struct plan plan;
};

static bool try_table(struct work *work, const struct plan *plan, struct candidate *ret_table, const char **ret_why)
{
	ret_table->plan = *plan;
	answers_init(&ret_table->answers, work);
	return table_build(work, &ret_table->answers, &ret_table->plan, ret_why);
}

static const char *why_table(struct work *work, const struct attempt *attempt, size_t tried)
{
	if (attempt)
		return arena_printf(work->arena, "a diagram of %zu edges would take about %.0f ns", attempt->edges,
				    diagram_ns(attempt->edges));
	return arena_printf(work->arena, "a diagram would need more than %zu edges", tried);
}

static int refuse_diagram(struct work *work)
{
	struct diag *diag = diag_error(work->diags, work->ruleset->span,
				       "the policy's diagram would need more than %zu edges",
				       work->options.diagram_budget);

	diag_hint(work->diags, diag, "leave `classifier = diagram` out");
	return -EINVAL;
}

/*
 * A light diagram that is fast; else a table; else, if the table would be slow or there is none, whatever diagram fits. So a
 * heavy diagram, for which each change takes as long as the first time, is made only if it is worth that.
 */
static int choose_freely(struct work *work, struct answers *answers, struct plan *plan)
{
	bool diagrams = work->ruleset->rule_count <= DIAGRAM_RULES_MAX, has_table = false;
	size_t most = work->options.diagram_budget, tried = diagrams && most > LIGHT_EDGES ? LIGHT_EDGES : most;
	struct attempt *attempt = diagrams ? find_diagram(work, tried) : NULL;
	struct candidate table;
	const char *why = NULL;

	if (!attempt || diagram_ns(attempt->edges) > TABLE_NS_LEAST)
		has_table = try_table(work, plan, &table, &why);
	if (!attempt && tried < most && (!has_table || table.plan.table.ns > TABLE_NS_GOOD)) {
		tried = most;
		attempt = find_diagram(work, tried);
	}
	if (has_table && (!attempt || table.plan.table.ns < diagram_ns(attempt->edges))) {
		table.plan.reason = why_table(work, attempt, tried);
		*answers = table.answers;
		*plan = table.plan;
		return 0;
	}
	if (!attempt)
		return take_list(work, answers, plan, why);
	take_diagram(work, attempt, answers, plan);
	return 0;
}

static int choose(struct work *work, struct answers *answers, struct plan *plan)
{
	struct attempt *attempt;

	switch (work->ruleset->classifier) {
	case CLASSIFIER_TABLE:
		return take_table(work, answers, plan);
	case CLASSIFIER_LIST:
		return take_list(work, answers, plan, NULL);
	case CLASSIFIER_DIAGRAM:
		attempt = find_diagram(work, work->options.diagram_budget);
		if (!attempt)
			return refuse_diagram(work);
		take_diagram(work, attempt, answers, plan);
		return 0;
	default:
		return choose_freely(work, answers, plan);
	}
}

int plan_build(struct arena *arena, const struct ruleset *ruleset, enum hook hook, const struct plan_options *options,
	       struct diags *diags, const struct plan **ret_plan)
{
	struct work work = { .arena = arena, .ruleset = ruleset_expand(arena, ruleset), .hook = hook, .diags = diags };
	struct plan *plan = ARENA_NEW(arena, struct plan);
	struct answers answers;

	if (options)
		work.options = *options;
	plan->hook = hook;
	plan->ruleset = work.ruleset;
	if (work_prepare(&work))
		return -EINVAL;
	answers_init(&answers, &work);
	if (choose(&work, &answers, plan))
		return -EINVAL;
	plan->sets = work.sets.items;
	plan->set_count = work.sets.count;
	answers_finish(&answers, plan);
	describe_logs(&work, plan);
	describe_rates(&work, plan);
	drop_unused(arena, plan);
	mark_changes(plan);
	if (cache_choose(&work, plan))
		return -EINVAL;
	*ret_plan = plan;
	return 0;
}
