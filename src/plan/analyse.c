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

/* Whether packets do not come past the rule where its condition holds. */
static bool stops(const struct rule *rule)
{
	const struct action *terminal = rule_terminal(rule);

	return terminal && terminal->kind != ACTION_JUMP;
}

static bool overlaps(struct attempt *attempt, uint32_t rule, uint32_t earlier, bool *ret_covers)
{
	struct diagrams *diagrams = attempt->diagrams;
	diagram_ref own = attempt_condition(attempt, rule), other = attempt_condition(attempt, earlier);
	diagram_ref both = diagram_prune(diagrams, diagram_apply(diagrams, OP_AND, own, other));

	*ret_covers = !diagrams->over && both == diagram_prune(diagrams, own);
	return !diagrams->over && both != REF_NO;
}

/* An earlier rule of the chain that hides all of the rule, or else the first that hides some of it, or NULL. */
static const struct rule *find_hider(const struct findings *findings, const struct chain *chain, size_t index,
				     bool *ret_covers)
{
	const struct rule *first = NULL;

	for (size_t i = 0; i < index; i++) {
		const struct rule *earlier = &chain->rules[i];

		if (!stops(earlier) || !overlaps(findings->attempt, chain->rules[index].number, earlier->number,
						 ret_covers))
			continue;
		if (*ret_covers)
			return earlier;
		first = first ? first : earlier;
	}
	*ret_covers = false;
	return first;
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

static void warn_hidden(const struct findings *findings, struct diags *diags, uint32_t number)
{
	size_t index = 0;
	const struct chain *chain = chain_of(findings->ruleset, number, &index);
	const struct rule *rule = &chain->rules[index];
	bool covers = false;
	const struct rule *hider = find_hider(findings, chain, index, &covers);
	struct diag *diag;

	if (!hider && !findings->attempt->diagrams->over) {
		diag_warning(diags, rule->span, "rule can never match: no packet that it may judge reaches it");
		return;
	}
	diag = diag_warning(diags, rule->span, "rule can never match: %s it asks for",
			    covers ? "an earlier rule takes every packet" : "earlier rules take all the packets");
	if (hider)
		diag_relate(diags, diag, hider->span, "%s",
			    covers ? "this rule takes them" : "this rule is the first of them");
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
		if (hooks & HOOK_BIT(at) && !look(&findings, (enum hook)at))
			return;
	report(&findings, diags);
}
