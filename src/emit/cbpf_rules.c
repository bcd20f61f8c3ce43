/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules as classic BPF can have them. In: a rule set; out: one whose named sets are constants, or diagnostics where
 * rules do what only eBPF can, or, for a choice between listeners, look at what differs between the packets of a
 * connection.
 */
#include <errno.h>

#include "emit/cbpf.h"

struct rules {
	struct arena *arena;
	const struct ruleset *from;
	struct diags *diags;
	bool reuseport;
	bool failed;
};

/* --- conditions ---------------------------------------------------------------------------------- */

/* A word may stand for a condition or action of each address family: one error is enough. */
static bool said_before(const struct rules *rules, struct span span)
{
	const struct diags *diags = rules->diags;
	const struct diag *last = diags->list.count ? &diags->list.items[diags->list.count - 1] : NULL;

	return rules->failed && last && last->span.source == span.source && last->span.offset == span.offset;
}

/* A set's elements as a match. Prefixes may nest in the file, never here: ranges are disjoint. */
static const struct cond *from_set(struct rules *rules, const struct cond *cond)
{
	const struct set *set = &rules->from->sets[cond->set.set];
	bool ipv6 = field_table[cond->set.field].bits == 128;
	size_t count = ipv6 ? set->count6 : set->count;
	struct diag *diag;

	if (set->timed && !said_before(rules, cond->span)) {
		diag = diag_error(rules->diags, cond->span, "classic BPF knows no time: elements of `%s` may expire",
				  set->name);
		diag_relate(rules->diags, diag, set->span, "it is declared here");
		diag_hint(rules->diags, diag, "leave out the set's `timeout`; eBPF can do it, with CAP_BPF");
		rules->failed = true;
	}
	if (!count)
		return cond_new(rules->arena, COND_FALSE, cond->span);
	return cond_match_ranges(rules->arena, cond->set.field, ipv6 ? set->ranges6 : set->ranges, count, cond->span);
}

/* The condition without sets. Its depth was limited by whoever made it; the planner's limit comes after. */
static const struct cond *without_sets(struct rules *rules, const struct cond *cond)
{
	struct cond *copy;
	const struct cond **items;

	switch (cond->kind) {
	case COND_SET:
		return from_set(rules, cond);
	case COND_NOT:
		return cond_not(rules->arena, without_sets(rules, cond->inner), cond->span);
	case COND_AND:
	case COND_OR:
		copy = arena_copy(rules->arena, cond, sizeof *cond);
		items = ARENA_ARRAY(rules->arena, const struct cond *, cond->list.count);
		for (size_t i = 0; i < cond->list.count; i++)
			items[i] = without_sets(rules, cond->list.items[i]);
		copy->list.items = items;
		return copy;
	default:
		return cond;
	}
}

/* --- what opens a connection --------------------------------------------------------------------- */

enum { FLAG_FIN = 1, FLAG_SYN = 2, FLAG_RST = 4, FLAG_ACK = 16 };

/* Whether the match holds for flags that open a connection: 1 for all, 0 for none, -1 for some. */
static int flags_of_opening(const struct cond *match)
{
	unsigned held = 0, all = 0;

	for (unsigned flags = 0; flags < 256; flags++) {
		u128 value = flags & match->match.mask;

		if ((flags & (FLAG_FIN | FLAG_SYN | FLAG_RST | FLAG_ACK)) != FLAG_SYN)
			continue;
		all++;
		for (size_t i = 0; i < match->match.count; i++)
			held += value >= match->match.ranges[i].lo && value <= match->match.ranges[i].hi;
	}
	return held == all ? 1 : held ? -1 : 0;
}

static bool varies(enum field field)
{
	return field == FIELD_LENGTH || field == FIELD_TTL || field == FIELD_DSCP || field == FIELD_ECN ||
	       field == FIELD_FRAGMENT || field == FIELD_MARK;
}

static void refuse(struct rules *rules, const struct cond *cond, const char *why)
{
	struct diag *diag = diag_error(rules->diags, cond->span, "`%s` %s", field_table[cond->match.field].name, why);

	diag_hint(rules->diags, diag, "without privileges, TCP listeners are filtered by choosing who may connect; "
		  "later packets are not seen");
	rules->failed = true;
}

/* `positive`: not under a negation. */
static void check_opening(struct rules *rules, const struct cond *cond, bool positive)
{
	switch (cond->kind) {
	case COND_NOT:
		check_opening(rules, cond->inner, !positive);
		return;
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			check_opening(rules, cond->list.items[i], positive);
		return;
	case COND_MATCH:
		if (varies(cond->match.field))
			refuse(rules, cond, "may differ in each packet of a connection, of which only the first is "
			       "judged");
		else if (cond->match.field == FIELD_TCP_FLAGS && flags_of_opening(cond) != positive)
			refuse(rules, cond, "asks for packets that do not open a connection, and no others are judged");
		return;
	default:
		return;
	}
}

/* --- actions ------------------------------------------------------------------------------------- */

static const char *const needs_ebpf[] = {
	[ACTION_RATE] = "keep to a rate", [ACTION_THROTTLE] = "throttle", [ACTION_COUNT] = "count", [ACTION_LOG] = "log", [ACTION_MARK] = "mark",
	[ACTION_CAPTURE] = "capture",
	[ACTION_ADD] = "add",	  [ACTION_REMOVE] = "remove",
};

static void check_action(struct rules *rules, const struct action *action)
{
	struct diag *diag;

	if (action->kind >= ACTION_VERDICT || said_before(rules, action->span))
		return;
	diag = diag_error(rules->diags, action->span, "classic BPF cannot `%s`", needs_ebpf[action->kind]);
	diag_hint(rules->diags, diag, "it only accepts or drops, and has no counters; eBPF can, with CAP_BPF");
	rules->failed = true;
}

/* --- knocks -------------------------------------------------------------------------------------- */

static void check_knocks(struct rules *rules, const struct ruleset *ruleset)
{
	struct diag *diag;

	if (!ruleset->knock_count)
		return;
	diag = diag_error(rules->diags, ruleset->knocks[0].span, "classic BPF cannot remember who has knocked");
	diag_hint(rules->diags, diag, "it has no memory between packets; eBPF has, with CAP_BPF");
	rules->failed = true;
}

static void check_observe(struct rules *rules, const struct ruleset *ruleset)
{
	if (!ruleset->observe)
		return;
	diag_error(rules->diags, ruleset->span, "classic BPF cannot observe: it has no counters and no log");
	rules->failed = true;
}

/* --- rules --------------------------------------------------------------------------------------- */

static void convert_rule(struct rules *rules, const struct rule *from, struct rule *to)
{
	*to = *from;
	for (size_t i = 0; i < from->action_count; i++)
		check_action(rules, &from->actions[i]);
	if (!from->cond)
		return;
	to->cond = without_sets(rules, from->cond);
	if (rules->reuseport)
		check_opening(rules, to->cond, true);
}

int cbpf_rules(struct arena *arena, const struct ruleset *ruleset, bool reuseport, struct diags *diags,
	       const struct ruleset **ret_ruleset)
{
	struct rules rules = { arena, ruleset, diags, reuseport, false };
	struct ruleset *copy = arena_copy(arena, ruleset, sizeof *ruleset);
	struct chain *chains = arena_copy(arena, ruleset->chains, ruleset->chain_count * sizeof *chains);

	for (size_t i = 0; i < ruleset->chain_count; i++) {
		struct rule *converted = ARENA_ARRAY(arena, struct rule, chains[i].rule_count);

		for (size_t j = 0; j < chains[i].rule_count; j++)
			convert_rule(&rules, &chains[i].rules[j], &converted[j]);
		chains[i].rules = converted;
	}
	check_knocks(&rules, ruleset);
	check_observe(&rules, ruleset);
	copy->chains = chains;
	copy->sets = NULL;
	copy->set_count = 0;
	if (rules.failed)
		return -EINVAL;
	*ret_ruleset = copy;
	return 0;
}
