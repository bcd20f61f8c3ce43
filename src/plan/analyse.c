/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Analyses: rules that can never match. In: a rule set; out: warnings. A rule can never match if no leaf of the
 * whole diagram has it in its list, at any hook of the policy. Where a diagram does not fit its budget, nothing is
 * said.
 */
#include "plan/work.h"

enum {
	ANALYSIS_BUDGET = 100000, /* edges */
	ANALYSIS_EFFORT = 800000, /* about 150 ms */
	HIDER_EFFORT = 100000,    /* more of it for finding out who hides */
	WARNINGS_MAX = 100,       /* then the rest is counted */
};

/* What was found out at all hooks together; by rule number. */
struct findings {
	struct arena *arena;
	const struct ruleset *ruleset;
	bool *matches;   /* at some hook */
	bool *satisfied; /* some packet meets its condition, at some hook */
	struct attempt *attempt; /* at the last hook that was looked at */
};

static void mark_list(const struct diagrams *diagrams, uint32_t list, bool *seen, bool *matches)
{
	/* Behind a list that was seen, all was seen. */
	for (; list >= LIST_ENDS && !seen[list]; list = diagrams->cells.items[list].tail) {
		seen[list] = true;
		matches[diagrams->cells.items[list].rule] = true;
		if (diagrams->cells.items[list].otherwise != LIST_NONE)
			mark_list(diagrams, diagrams->cells.items[list].otherwise, seen, matches);
	}
}

static void mark_nodes(const struct diagrams *diagrams, diagram_ref ref, bool *seen_nodes, bool *seen_lists,
		       bool *matches)
{
	const struct diagram_node *node;

	if (ref & DIAGRAM_LEAF) {
		mark_list(diagrams, ref & ~DIAGRAM_LEAF, seen_lists, matches);
		return;
	}
	if (seen_nodes[ref])
		return;
	seen_nodes[ref] = true;
	node = &diagrams->nodes.items[ref];
	for (uint32_t i = 0; i < node->edge_count; i++)
		mark_nodes(diagrams, node->edges[i].to, seen_nodes, seen_lists, matches);
}

static bool is_satisfiable(struct attempt *attempt, uint32_t rule)
{
	return diagram_prune(attempt->diagrams, attempt_condition(attempt, rule)) != REF_NO;
}

static bool build_any(struct work *work, struct attempt **ret_attempt)
{
	for (unsigned order = 0; order < ORDER_COUNT; order++) {
		*ret_attempt = attempt_new(work, order, ANALYSIS_EFFORT);
		if (attempt_build(*ret_attempt, ANALYSIS_BUDGET))
			return true;
	}
	return false;
}

/* False: not known. */
static bool look(struct findings *findings, enum hook hook)
{
	struct work *work = ARENA_NEW(findings->arena, struct work);
	const struct diagrams *diagrams;
	struct attempt *attempt;

	*work = (struct work){ .arena = findings->arena, .ruleset = findings->ruleset, .hook = hook, .exact = true,
			       .diags = diags_new(findings->arena) };
	if (work_prepare(work) || !work_fits_diagram(work) || !build_any(work, &attempt))
		return false;
	diagrams = attempt->diagrams;
	mark_nodes(diagrams, attempt->root, ARENA_ARRAY(findings->arena, bool, diagrams->nodes.count),
		   ARENA_ARRAY(findings->arena, bool, diagrams->cells.count), findings->matches);
	attempt->diagrams->effort_max += HIDER_EFFORT;
	for (uint32_t rule = 1; rule <= findings->ruleset->rule_count; rule++)
		if (!findings->matches[rule] && !findings->satisfied[rule])
			findings->satisfied[rule] = is_satisfiable(attempt, rule);
	findings->attempt = attempt;
	return !attempt->diagrams->over;
}

/* --- who hides ------------------------------------------------------------------------------------------ */

static const struct chain *chain_of(const struct ruleset *ruleset, uint32_t rule, size_t *ret_index)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			if (ruleset->chains[i].rules[j].number == rule) {
				*ret_index = j;
				return &ruleset->chains[i];
			}
	return NULL;
}

/* A condition: the packets that go no further than this. */
static diagram_ref taken(struct diagrams *diagrams, diagram_ref ref)
{
	const struct diagram_edge *edges;
	uint32_t dim, count;
	diagram_ref result;
	size_t base;

	if (ref & DIAGRAM_LEAF)
		return diagrams->cells.items[ref & ~DIAGRAM_LEAF].ends & LIST_END(LIST_FALL) ? REF_NO : REF_YES;
	if (diagrams->over || diagram_recall(diagrams, OP_TAKEN, ref, 0, &result))
		return diagrams->over ? REF_NO : result;
	edges = diagrams->nodes.items[ref].edges;
	count = diagrams->nodes.items[ref].edge_count;
	dim = diagrams->nodes.items[ref].dim;
	base = diagram_begin(diagrams);
	for (uint32_t i = 0; i < count; i++)
		diagram_push(diagrams, base, edges[i].last, taken(diagrams, edges[i].to));
	result = diagram_make(diagrams, dim, base);
	diagram_remember(diagrams, OP_TAKEN, ref, 0, result);
	return result;
}

static diagram_ref without(struct diagrams *diagrams, diagram_ref from, diagram_ref what)
{
	diagram_ref rest = diagram_apply(diagrams, OP_NOT, what, REF_NO);

	return diagram_prune(diagrams, diagram_apply(diagrams, OP_AND, from, rest));
}

/* Rules that together take every packet that a rule asks for. */
struct hiders {
	VEC(const struct rule *) rules;
	VEC(diagram_ref) taken; /* what each of them takes */
	diagram_ref own;        /* what is asked for */
	bool cover;             /* all of it is taken */
};

/* The packets left over by all but one of them; all of them: `except` is their count. */
static diagram_ref left_by(struct diagrams *diagrams, const struct hiders *hiders, size_t except)
{
	diagram_ref rest = hiders->own;

	for (size_t i = 0; i < hiders->taken.count; i++)
		if (i != except)
			rest = without(diagrams, rest, hiders->taken.items[i]);
	return rest;
}

/* Those without which the others do as well are none. */
static void thin_out(struct diagrams *diagrams, struct hiders *hiders)
{
	for (size_t i = hiders->rules.count; i-- > 0 && hiders->rules.count > 1;) {
		if (left_by(diagrams, hiders, i) != REF_NO || diagrams->over)
			continue;
		hiders->rules.count--;
		hiders->taken.count--;
		for (size_t j = i; j < hiders->rules.count; j++) {
			hiders->rules.items[j] = hiders->rules.items[j + 1];
			hiders->taken.items[j] = hiders->taken.items[j + 1];
		}
	}
}

static void add_hider(struct arena *arena, struct hiders *hiders, const struct rule *rule, diagram_ref what)
{
	VEC_PUSH(arena, &hiders->rules) = rule;
	VEC_PUSH(arena, &hiders->taken) = what;
}

/* One rule of the chain that takes all, or else those that each take something. */
static struct hiders find_hiders(const struct findings *findings, const struct chain *chain, size_t index)
{
	struct attempt *attempt = findings->attempt;
	struct diagrams *diagrams = attempt->diagrams;
	const struct rule *rule = &chain->rules[index];
	struct hiders hiders = { .own = attempt_condition(attempt, rule->number) }, alone = { .cover = true };
	diagram_ref rest;

	if (!rule->names_link)
		hiders.own = diagram_apply(diagrams, OP_AND, hiders.own, attempt->ip);
	hiders.own = rest = diagram_prune(diagrams, hiders.own);
	for (size_t i = 0; i < index && !diagrams->over; i++) {
		diagram_ref what = taken(diagrams, attempt_rule(attempt, &chain->rules[i], false));
		diagram_ref then = without(diagrams, rest, what);

		if (without(diagrams, hiders.own, what) == REF_NO && !diagrams->over) {
			add_hider(findings->arena, &alone, &chain->rules[i], what);
			return alone;
		}
		if (then != rest)
			add_hider(findings->arena, &hiders, &chain->rules[i], what);
		rest = then;
	}
	hiders.cover = rest == REF_NO && !diagrams->over;
	if (hiders.cover)
		thin_out(diagrams, &hiders);
	return hiders;
}

/* --- warnings ------------------------------------------------------------------------------------------- */

static bool inside(struct span inner, struct span outer)
{
	return inner.source == outer.source && inner.offset >= outer.offset &&
	       inner.offset + inner.length <= outer.offset + outer.length;
}

/* A front may have said already, and more exactly, what is wrong with the condition. */
static bool is_warned(const struct diags *diags, struct span span)
{
	for (size_t i = 0; i < diags->list.count; i++)
		if (inside(diags->list.items[i].span, span))
			return true;
	return false;
}

static void warn_unsatisfied(struct diags *diags, const struct rule *rule)
{
	struct span span = rule->cond ? rule->cond->span : rule->span;

	if (!is_warned(diags, span))
		diag_warning(diags, span, "no packet can satisfy this condition");
}

/* "an earlier rule takes", "rules 3 and 5 together take", "rules 3, 5 and 2 more together take" */
static const char *who_takes(struct arena *arena, const struct hiders *hiders)
{
	const struct rule *const *rules = hiders->rules.items;

	if (hiders->rules.count == 1)
		return "an earlier rule takes";
	if (hiders->rules.count == 2)
		return arena_printf(arena, "rules %u and %u together take", rules[0]->number, rules[1]->number);
	return arena_printf(arena, "rules %u, %u and %zu more together take", rules[0]->number, rules[1]->number,
			    hiders->rules.count - 2);
}

static void warn_hidden(const struct findings *findings, struct diags *diags, uint32_t number)
{
	size_t index = 0;
	const struct chain *chain = chain_of(findings->ruleset, number, &index);
	const struct rule *rule = &chain->rules[index];
	const struct hiders hiders = find_hiders(findings, chain, index);
	bool alone = hiders.rules.count == 1;
	struct diag *diag;

	if (!hiders.cover) {
		diag_warning(diags, rule->span, "rule can never match: no packet that it may judge reaches it");
		return;
	}
	diag = diag_warning(diags, rule->span, "rule can never match: %s every packet it asks for",
			    who_takes(findings->arena, &hiders));
	for (size_t i = 0; i < hiders.rules.count && i < DIAG_RELATED_MAX; i++)
		diag_relate(diags, diag, hiders.rules.items[i]->span, alone ? "this rule takes them" :
			    "rule %u takes some of them", hiders.rules.items[i]->number);
}

/* Chains that are reached from main; rules of others are somebody else's error. */
static void mark_reached(const struct ruleset *ruleset, uint32_t chain, bool *reached)
{
	if (reached[chain])
		return;
	reached[chain] = true;
	for (size_t i = 0; i < ruleset->chains[chain].rule_count; i++) {
		const struct action *terminal = rule_terminal(&ruleset->chains[chain].rules[i]);

		if (terminal && (terminal->kind == ACTION_JUMP || terminal->kind == ACTION_GOTO))
			mark_reached(ruleset, terminal->chain, reached);
	}
}

static void report_rule(const struct findings *findings, struct diags *diags, const struct rule *rule)
{
	if (!findings->satisfied[rule->number])
		warn_unsatisfied(diags, rule);
	else
		warn_hidden(findings, diags, rule->number);
}

static void report(const struct findings *findings, struct diags *diags)
{
	const struct ruleset *ruleset = findings->ruleset;
	bool *reached = ARENA_ARRAY(findings->arena, bool, ruleset->chain_count);
	size_t count = 0;

	mark_reached(ruleset, 0, reached);
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; reached[i] && j < ruleset->chains[i].rule_count; j++) {
			const struct rule *rule = &ruleset->chains[i].rules[j];

			if (!findings->matches[rule->number] && count++ < WARNINGS_MAX)
				report_rule(findings, diags, rule);
		}
	if (count > WARNINGS_MAX)
		diag_warning(diags, ruleset->span, "%zu more rules can never match", count - WARNINGS_MAX);
}

/* What the policy is attached to, if the hook asked for is one of that; else only this hook. */
static hook_mask hooks_of(const struct ruleset *ruleset, enum hook hook)
{
	hook_mask hooks = 0;

	for (size_t i = 0; i < ruleset->attach_count; i++)
		hooks |= HOOK_BIT(ruleset->attaches[i].hook);
	return hooks & HOOK_BIT(hook) ? hooks : HOOK_BIT(hook);
}

/* What is left there to the packet hooks says nothing that those do not say. */
static bool is_split(hook_mask hooks, enum hook hook)
{
	return hook_table[hook].call && hooks_behind(hooks, hook);
}

void plan_warn(struct arena *arena, const struct ruleset *ruleset, enum hook hook, struct diags *diags)
{
	hook_mask hooks = hooks_of(ruleset, hook);
	struct findings findings = { .arena = arena, .ruleset = ruleset };

	/* Asked for every hook of a policy, it speaks once. */
	if (hooks != HOOK_BIT(hook) && hook != ruleset->attaches[0].hook)
		return;
	if (ruleset->rule_count > ANALYSIS_BUDGET)
		return;
	findings.matches = ARENA_ARRAY(arena, bool, ruleset->rule_count + 1);
	findings.satisfied = ARENA_ARRAY(arena, bool, ruleset->rule_count + 1);
	for (unsigned at = 0; at < HOOK_COUNT; at++)
		if (hooks & HOOK_BIT(at) && !is_split(hooks, (enum hook)at) && !look(&findings, (enum hook)at))
			return;
	report(&findings, diags);
}
