/* SPDX-License-Identifier: GPL-2.0-only */
/* Knocks: AST to IR. Checks that all is said that must be, and that the policy's hooks see who knocks. */
#include <string.h>

#include "lang/literal.h"
#include "lang/lower.h"

enum { SOURCES_MAX = 1 << 20 };

static const uint64_t year_ns = 365ull * 24 * 3600 * 1000000000;

/* A time that must be given. 1 in its place after an error. */
static uint64_t needed_time(struct lower *lower, const struct knock_node *node, enum knock_clause kind,
			    const char *what)
{
	const struct word *word = &node->clauses[kind];
	uint64_t time;
	struct diag *diag;

	if (!word->text) {
		diag = diag_error(lower->diags, node->name.span, "the knock `%s` does not say %s", node->name.text, what);
		diag_hint(lower->diags, diag, "`sequence` EXPR, EXPR ... `within` TIME `open` TIME");
		return 1;
	}
	if (!literal_time(word->text, strlen(word->text), &time)) {
		diag_error(lower->diags, word->span, "`%s` is not a time like `500ms`, `30s`, `5min` or `1h`",
			   word->text);
		return 1;
	}
	if (time && time <= year_ns)
		return time;
	diag_error(lower->diags, word->span, "`%s` is no time from 1ms to 365d", word->text);
	return 1;
}

static bool whole_address(struct lower *lower, const struct word *word)
{
	struct diag *diag;

	if (!word->text || !strcmp(word->text, "src") || !strcmp(word->text, "src/32/64"))
		return false;
	if (!strcmp(word->text, "src/32/128"))
		return true;
	diag = diag_error(lower->diags, word->span, "a knock cannot be kept per `%s`", word->text);
	diag_hint(lower->diags, diag, "`src` is an IPv4 address or an IPv6 /64; `src/32/128` a whole address of either");
	return false;
}

static uint32_t most_sources(struct lower *lower, const struct word *word)
{
	u128 number;

	if (!word->text)
		return 0;
	if (literal_number(word->text, strlen(word->text), &number) && number && number <= SOURCES_MAX)
		return (uint32_t)number;
	diag_error(lower->diags, word->span, "`%s` is not a number of sources from 1 to %d", word->text, SOURCES_MAX);
	return 0;
}

/* Only packets that arrive have knocked; without any other hook there would be nobody to open. */
static void check_hooks(struct lower *lower, const struct knock_node *node)
{
	hook_mask known = field_table[FIELD_KNOCKED].hooks;
	struct diag *diag;

	if (!lower->hooks || lower->hooks & known)
		return;
	diag = diag_error(lower->diags, node->name.span, "nobody knocks at the hooks of this policy");
	diag_hint(lower->diags, diag, "knocks are seen where packets arrive: xdp, tc ingress, cgroup ingress, socket, "
		  "netfilter prerouting, input and forward");
}

static const struct cond *step(struct lower *lower, struct expr *expr)
{
	const struct cond *cond = lower_expr(lower, expr, lower->hooks & field_table[FIELD_KNOCKED].hooks, false);

	if (cond_names_link(cond))
		diag_error(lower->diags, expr->span,
			   "a step cannot name the link layer: who knocks has an IP address");
	return cond;
}

static void steps(struct lower *lower, const struct knock_node *node, struct knock *knock)
{
	const struct cond **conds = ARENA_ARRAY(lower->arena, const struct cond *, node->steps.count);

	for (size_t i = 0; i < node->steps.count; i++)
		conds[i] = step(lower, node->steps.items[i]);
	knock->steps = conds;
	knock->step_count = node->steps.count;
	if (node->steps.count > KNOCK_STEPS_MAX)
		diag_error(lower->diags, node->steps.items[KNOCK_STEPS_MAX]->span, "a sequence has at most %d steps",
			   KNOCK_STEPS_MAX);
	if (!node->steps.count)
		diag_error(lower->diags, node->name.span, "the knock `%s` has no `sequence`", node->name.text);
}

static void knock_lower(struct lower *lower, const struct knock_node *node, struct knock *knock)
{
	*knock = (struct knock){ .name = node->name.text, .span = node->span };
	check_hooks(lower, node);
	steps(lower, node, knock);
	knock->within_ns = needed_time(lower, node, KNOCK_WITHIN, "within what time");
	knock->open_ns = needed_time(lower, node, KNOCK_OPEN, "for how long it opens");
	knock->extend = node->clauses[KNOCK_EXTEND].text;
	knock->whole = whole_address(lower, &node->clauses[KNOCK_PER]);
	knock->max_sources = most_sources(lower, &node->clauses[KNOCK_MAX]);
}

void knocks_lower(struct lower *lower, const struct policy_node *policy, struct ruleset *ruleset)
{
	struct knock *knocks = ARENA_ARRAY(lower->arena, struct knock, policy->knocks.count);

	if (policy->knocks.count > KNOCKS_MAX)
		diag_error(lower->diags, policy->knocks.items[KNOCKS_MAX].name.span, "a policy has at most %d knocks",
			   KNOCKS_MAX);
	for (size_t i = 0; i < policy->knocks.count; i++)
		if (!policy->knocks.items[i].failed)
			knock_lower(lower, &policy->knocks.items[i], &knocks[i]);
	ruleset->knocks = knocks;
	ruleset->knock_count = policy->knocks.count;
}

const struct cond *knocked_lower(struct lower *lower, const struct expr *expr)
{
	const struct word *name = &expr->value.word;
	struct local local = scope_find(lower, name->text);
	const char *nearest;
	struct diag *diag;
	struct cond *cond;

	if (local.kind != LOCAL_KNOCK) {
		diag = diag_error(lower->diags, name->span, lower->policy ? "there is no knock `%s` in this policy" :
				  "there is no knock `%s`: an expression has none", name->text);
		nearest = scope_nearest(lower, name->text, LOCAL_KNOCK);
		if (nearest)
			diag_hint(lower->diags, diag, "did you mean `%s`?", nearest);
		else
			diag_hint(lower->diags, diag, "`knock %s { sequence ... }` in a policy makes one", name->text);
		return cond_false(lower, expr->span);
	}
	local.knock->used = true;
	cond = cond_match(lower->arena, FIELD_KNOCKED, (u128)1 << local.index, (u128)1 << local.index, expr->span);
	cond->match.mask = (u128)1 << local.index;
	return cond;
}
