/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The invariants of ir.h. In: a rule set that some stage built. Out: nothing, or the first thing that is wrong with
 * it: a bug of that stage, or of a text that a person wrote in IR.
 */
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"
#include "ir/limits.h"

struct check {
	struct arena *arena;
	const struct ruleset *ruleset;
	const char *error;
};

/* All checks return true if all is well; the first that is not sets the message. */
static bool fail(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct check *check, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	check->error = arena_vprintf(check->arena, format, args);
	va_end(args);
	return false;
}

/* --- names ---------------------------------------------------------------------------------------------------- */

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Sorts `names`. */
static bool check_names(struct check *check, const char *what, const char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!names[i] || !*names[i])
			return fail(check, "a %s has no name", what);
	if (count > 1)
		qsort(names, count, sizeof *names, compare_names);
	for (size_t i = 1; i < count; i++)
		if (!strcmp(names[i - 1], names[i]))
			return fail(check, "two %ss are called `%s`", what, names[i]);
	return true;
}

static bool check_all_names(struct check *check)
{
	const struct ruleset *ruleset = check->ruleset;
	const char **chains = ARENA_ARRAY(check->arena, const char *, ruleset->chain_count);
	const char **sets = ARENA_ARRAY(check->arena, const char *, ruleset->set_count);
	const char **counters = ARENA_ARRAY(check->arena, const char *, ruleset->counter_count);
	const char **knocks = ARENA_ARRAY(check->arena, const char *, ruleset->knock_count);

	for (size_t i = 0; i < ruleset->chain_count; i++)
		chains[i] = ruleset->chains[i].name;
	for (size_t i = 0; i < ruleset->set_count; i++)
		sets[i] = ruleset->sets[i].name;
	for (size_t i = 0; i < ruleset->counter_count; i++)
		counters[i] = ruleset->counters[i];
	for (size_t i = 0; i < ruleset->knock_count; i++)
		knocks[i] = ruleset->knocks[i].name;
	return check_names(check, "chain", chains, ruleset->chain_count) &&
	       check_names(check, "set", sets, ruleset->set_count) &&
	       check_names(check, "counter", counters, ruleset->counter_count) &&
	       check_names(check, "knock", knocks, ruleset->knock_count);
}

/* --- sets ----------------------------------------------------------------------------------------------------- */


static const struct set_rule {
	unsigned bits; /* of elements; addresses: of IPv4 */
	field_mask fields; /* that may be compared with it */
} set_rules[SET_TYPE_COUNT] = {
	[SET_ADDRESS] = { 32, FIELD_BIT(FIELD_IP_SRC) | FIELD_BIT(FIELD_IP_DST) | FIELD_BIT(FIELD_IPV6_SRC) |
			      FIELD_BIT(FIELD_IPV6_DST) },
	[SET_PREFIX] = { 32, FIELD_BIT(FIELD_IP_SRC) | FIELD_BIT(FIELD_IP_DST) | FIELD_BIT(FIELD_IPV6_SRC) |
			     FIELD_BIT(FIELD_IPV6_DST) },
	[SET_PORT] = { 16, FIELD_BIT(FIELD_SRC_PORT) | FIELD_BIT(FIELD_DST_PORT) },
	[SET_MAC] = { 48, FIELD_BIT(FIELD_ETH_SRC) | FIELD_BIT(FIELD_ETH_DST) },
	[SET_MARK] = { 32, FIELD_BIT(FIELD_MARK) },
	[SET_USER] = { 32, FIELD_BIT(FIELD_USER) | FIELD_BIT(FIELD_GROUP) },
};
_Static_assert(FIELD_COUNT <= 64, "fields fit a mask");

static bool has_families(enum set_type type)
{
	return type == SET_ADDRESS || type == SET_PREFIX;
}

/* A power of two many values, beginning at a multiple of that. */
static bool is_prefix(struct range range)
{
	u128 host = range.hi - range.lo;

	return !(host & (host + 1)) && !(range.lo & host);
}

static bool check_elements(struct check *check, const struct set *set, const struct range *ranges, size_t count,
			   unsigned bits)
{
	for (size_t i = 0; i < count; i++) {
		if (ranges[i].lo > ranges[i].hi || ranges[i].hi > u128_max(bits))
			return fail(check, "set `%s`: element %zu is not a range of %u bits", set->name, i + 1, bits);
		if (i && ranges[i].lo <= ranges[i - 1].hi)
			return fail(check, "set `%s`: elements %zu and %zu overlap or are not sorted", set->name, i,
				    i + 1);
		if (set->type == SET_PREFIX && !is_prefix(ranges[i]))
			return fail(check, "set `%s`: element %zu is not a prefix", set->name, i + 1);
	}
	if (count > set->max_elements)
		return fail(check, "set `%s`: %zu elements are more than its maximum of %u", set->name, count,
			    set->max_elements);
	return true;
}

static bool has_timeout(const uint32_t *timeouts, size_t count)
{
	for (size_t i = 0; timeouts && i < count; i++)
		if (timeouts[i])
			return true;
	return false;
}

static bool check_timeouts(struct check *check, const struct set *set)
{
	if (!set->timed && (set->timeout_ms || has_timeout(set->timeouts, set->count) ||
			    has_timeout(set->timeouts6, set->count6)))
		return fail(check, "set `%s` has timeouts, but is not declared to", set->name);
	return true;
}

static bool check_set(struct check *check, const struct set *set)
{
	if ((unsigned)set->type >= SET_TYPE_COUNT)
		return fail(check, "set `%s`: no such type", set->name);
	if (set->count6 && !has_families(set->type))
		return fail(check, "set `%s`: IPv6 elements in a set of type %s", set->name,
			    set_type_names[set->type]);
	return check_timeouts(check, set) && check_elements(check, set, set->ranges, set->count, set_rules[set->type].bits) &&
	       check_elements(check, set, set->ranges6, set->count6, 128);
}

/* --- conditions ----------------------------------------------------------------------------------------------- */

/* A place in a condition. */
struct place {
	const struct rule *rule;
	const struct cond *parent; /* NULL: none */
	const struct place *up;
	unsigned depth;
	bool negated;
};

static bool check_field(struct check *check, const struct place *place, unsigned field)
{
	if (field >= FIELD_COUNT)
		return fail(check, "rule %u: no such field", place->rule->number);
	if (field >= FIELD_CGROUP_0 && field <= FIELD_CGROUP_2 &&
	    field - FIELD_CGROUP_0 >= check->ruleset->cgroup_level_count)
		return fail(check, "rule %u: %s has no level", place->rule->number, field_table[field].name);
	if (field == FIELD_ETH_TYPE && !place->rule->names_link)
		return fail(check, "rule %u tests eth.type but is not marked as one that names the link layer",
			    place->rule->number);
	return true;
}

static bool check_mask(struct check *check, const struct place *place, const struct cond *cond)
{
	const struct field_info *info = &field_table[cond->match.field];
	u128 full = u128_max(info->bits);

	if (cond->match.mask > full)
		return fail(check, "rule %u: the mask of %s has more than %u bits", place->rule->number, info->name,
			    info->bits);
	if (info->presence != PRESENT_VALUE || info->absent > full)
		return true;
	if (cond->match.mask != full)
		return fail(check, "rule %u: %s cannot be masked", place->rule->number, info->name);
	for (size_t i = 0; i < cond->match.count; i++)
		if (cond->match.ranges[i].lo <= info->absent && info->absent <= cond->match.ranges[i].hi)
			return fail(check, "rule %u: a range of %s holds the value that says it is absent",
				    place->rule->number, info->name);
	return true;
}

static bool is_cgroup(unsigned field)
{
	return field >= FIELD_CGROUP_0 && field <= FIELD_CGROUP_2;
}

/*
 * AND(present, NOT(set)), and for a cgroup AND(user known, NOT(match)): the places where an owner may be negated. An
 * owner further up has no ancestor at the asked level, so a complement would miss it.
 */
static bool is_guarded(const struct place *place, enum field field)
{
	const struct place *up = place->up;
	enum field guard = is_cgroup(field) ? FIELD_USER : field;

	if (!place->parent || place->parent->kind != COND_NOT || !up || up->negated || !up->parent ||
	    up->parent->kind != COND_AND)
		return false;
	for (size_t i = 0; i < up->parent->list.count; i++)
		if (up->parent->list.items[i]->kind == COND_MATCH && up->parent->list.items[i]->match.field == guard)
			return true;
	return false;
}

/* The match says with numbers what the comparison says with the tunable's name. */
static bool check_comparison(struct check *check, const struct place *place, const struct cond *cond)
{
	const struct ruleset *ruleset = check->ruleset;
	const struct comparison *comparison;
	struct range ranges[2];

	if (!cond->match.comparison || !ruleset->comparison_count)
		return true;
	if (cond->match.comparison > ruleset->comparison_count)
		return fail(check, "rule %u: no such comparison", place->rule->number);
	comparison = &ruleset->comparisons[cond->match.comparison - 1];
	if (comparison->field != cond->match.field ||
	    cond->match.mask != u128_max(field_table[comparison->field].bits) ||
	    comparison_ranges(comparison, ruleset->tunables[comparison->tunable].value, ranges) != cond->match.count ||
	    memcmp(ranges, cond->match.ranges, cond->match.count * sizeof *ranges))
		return fail(check, "rule %u: the values of %s are not those of the comparison", place->rule->number,
			    field_table[cond->match.field].name);
	return true;
}

static bool check_match(struct check *check, const struct place *place, const struct cond *cond)
{
	const char *name;

	if (!check_field(check, place, cond->match.field))
		return false;
	name = field_table[cond->match.field].name;
	if (field_table[cond->match.field].owner && place->negated && !is_guarded(place, cond->match.field))
		return fail(check, "rule %u: %s stands under a negation", place->rule->number, name);
	if (!cond->match.count)
		return fail(check, "rule %u: %s is matched with no range", place->rule->number, name);
	for (size_t i = 0; i < cond->match.count; i++) {
		const struct range *range = &cond->match.ranges[i];

		if (range->lo > range->hi || range->hi > cond->match.mask)
			return fail(check, "rule %u: range %zu of %s is empty or not inside the mask",
				    place->rule->number, i + 1, name);
		if (i && (range->lo <= range[-1].hi || range->lo - 1 == range[-1].hi))
			return fail(check, "rule %u: ranges %zu and %zu of %s overlap, touch or are not sorted",
				    place->rule->number, i, i + 1, name);
	}
	return check_mask(check, place, cond) && check_comparison(check, place, cond);
}

static bool check_member(struct check *check, const struct place *place, const struct cond *cond)
{
	if (!check_field(check, place, cond->set.field))
		return false;
	if (cond->set.set >= check->ruleset->set_count)
		return fail(check, "rule %u: no such set", place->rule->number);
	if (!(set_rules[check->ruleset->sets[cond->set.set].type].fields & FIELD_BIT(cond->set.field)))
		return fail(check, "rule %u: %s cannot be in set `%s`", place->rule->number,
			    field_table[cond->set.field].name, check->ruleset->sets[cond->set.set].name);
	if (field_table[cond->set.field].owner && place->negated && !is_guarded(place, cond->set.field))
		return fail(check, "rule %u: %s stands under a negation", place->rule->number,
			    field_table[cond->set.field].name);
	return true;
}

static bool check_cond(struct check *check, const struct place *place, const struct cond *cond);

static bool check_list(struct check *check, const struct place *place, const struct cond *cond)
{
	if (!cond->list.count)
		return fail(check, "rule %u: an empty list in the condition", place->rule->number);
	for (size_t i = 0; i < cond->list.count; i++)
		if (!check_cond(check, place, cond->list.items[i]))
			return false;
	return true;
}

static bool check_cond(struct check *check, const struct place *place, const struct cond *cond)
{
	const struct place inner = { place->rule, cond, place, place->depth + 1,
				     place->negated || (cond && cond->kind == COND_NOT) };

	if (!cond)
		return fail(check, "rule %u: a part of the condition is missing", place->rule->number);
	if (place->depth > IR_DEPTH_MAX)
		return fail(check, "rule %u: the condition is nested more than %d deep", place->rule->number,
			    IR_DEPTH_MAX);
	switch (cond->kind) {
	case COND_TRUE:
	case COND_FALSE:
		return true;
	case COND_AND:
	case COND_OR:
		return check_list(check, &inner, cond);
	case COND_NOT:
		return check_cond(check, &inner, cond->inner);
	case COND_MATCH:
		return check_match(check, place, cond);
	case COND_SET:
		return check_member(check, place, cond);
	}
	return fail(check, "rule %u: no such kind of condition", place->rule->number);
}

/* --- tunables ------------------------------------------------------------------------------------------------- */

/* The field's absent value holds no comparison. */
static bool comparable(enum field field)
{
	const struct field_info *info = &field_table[field];

	return field < FIELD_COUNT && info->size && info->bits <= 64 && !info->owner &&
	       (info->presence != PRESENT_VALUE || info->absent > u128_max(info->bits));
}

static bool check_tunables(struct check *check)
{
	const struct ruleset *ruleset = check->ruleset;
	const char **names = ARENA_ARRAY(check->arena, const char *, ruleset->tunable_count);

	if (ruleset->tunable_count > TUNABLES_MAX || ruleset->comparison_count > COMPARISONS_MAX)
		return fail(check, "more than %d tunables or %d comparisons", TUNABLES_MAX, COMPARISONS_MAX);
	for (size_t i = 0; i < ruleset->tunable_count; i++)
		names[i] = ruleset->tunables[i].name;
	for (size_t i = 0; i < ruleset->comparison_count; i++) {
		const struct comparison *comparison = &ruleset->comparisons[i];

		if (!comparable(comparison->field) || comparison->tunable >= ruleset->tunable_count ||
		    !comparison->relation || comparison->relation >= (1u << RELATION_COUNT) - 1 ||
		    ruleset->tunables[comparison->tunable].value > (uint64_t)u128_max(field_table[comparison->field].bits))
			return fail(check, "comparison %zu is none", i + 1);
	}
	return check_names(check, "tunable", names, ruleset->tunable_count);
}

/* --- rules ---------------------------------------------------------------------------------------------------- */

static bool is_terminal(enum action_kind kind)
{
	return kind >= ACTION_VERDICT;
}

static bool check_rate(struct check *check, const struct rule *rule, const struct action *action)
{
	const char *wrong = action->rate ? rate_check(check->arena, action->rate) : "there is none";

	if (wrong)
		return fail(check, "rule %u: rate: %s", rule->number, wrong);
	return action->kind != ACTION_RATE || action == rule->actions ||
	       fail(check, "rule %u: a rate comes before all other actions", rule->number);
}

static bool check_change(struct check *check, const struct rule *rule, const struct action *action)
{
	const struct set *set;

	if (action->change.set >= check->ruleset->set_count)
		return fail(check, "rule %u: no such set", rule->number);
	set = &check->ruleset->sets[action->change.set];
	if ((unsigned)action->change.field >= FIELD_COUNT || (set->type != SET_ADDRESS && set->type != SET_PORT) ||
	    !(set_rules[set->type].fields & FIELD_BIT(action->change.field)))
		return fail(check, "rule %u: packets cannot change set `%s` so", rule->number, set->name);
	if (action->change.timeout_ms && (action->kind != ACTION_ADD || !set->timed))
		return fail(check, "rule %u: set `%s` has no timeouts", rule->number, set->name);
	if (action->kind == ACTION_ADD && set->max_elements > SET_ADDED_MAX)
		return fail(check, "rule %u: set `%s` is too large to be added to by packets", rule->number, set->name);
	return true;
}

static bool check_action(struct check *check, const struct rule *rule, const struct action *action)
{
	switch (action->kind) {
	case ACTION_RATE:
	case ACTION_THROTTLE:
		return check_rate(check, rule, action);
	case ACTION_COUNT:
		return action->counter < check->ruleset->counter_count ||
		       fail(check, "rule %u: no such counter", rule->number);
	case ACTION_LOG:
		return action->log.text || fail(check, "rule %u: a log without text", rule->number);
	case ACTION_VERDICT:
		return (unsigned)action->verdict <= VERDICT_REJECT ||
		       fail(check, "rule %u: no such verdict", rule->number);
	case ACTION_JUMP:
	case ACTION_GOTO:
		return action->chain < check->ruleset->chain_count ||
		       fail(check, "rule %u: no such chain", rule->number);
	case ACTION_CAPTURE:
		if (!check->ruleset->captures_size)
			return fail(check, "rule %u: a capture, and no ring for it", rule->number);
		return action->snap <= CAPTURE_SNAP_MAX ||
		       fail(check, "rule %u: a capture of more than %d bytes", rule->number, CAPTURE_SNAP_MAX);
	case ACTION_ADD:
	case ACTION_REMOVE:
		return check_change(check, rule, action);
	case ACTION_KNOCK:
		return rule->number > ruleset_shown(check->ruleset) ||
		       fail(check, "rule %u takes a step of a knock", rule->number);
	case ACTION_MARK:
	case ACTION_RETURN:
		return true;
	}
	return fail(check, "rule %u: no such action", rule->number);
}

static bool check_rule(struct check *check, const struct rule *rule)
{
	const struct place top = { .rule = rule };

	if (rule->action_count <= (rule_rate(rule) != NULL))
		return fail(check, "rule %u has no action", rule->number);
	for (size_t i = 0; i < rule->action_count; i++) {
		if (!check_action(check, rule, &rule->actions[i]))
			return false;
		if (is_terminal(rule->actions[i].kind) && rule->actions[i].left)
			return fail(check, "rule %u: a terminal action is left to others", rule->number);
		if (is_terminal(rule->actions[i].kind) && i + 1 < rule->action_count)
			return fail(check, "rule %u: a terminal action is not the last one", rule->number);
	}
	return !rule->cond || check_cond(check, &top, rule->cond);
}

static bool check_chain(struct check *check, const struct chain *chain, bool *seen)
{
	for (size_t i = 0; i < chain->rule_count; i++) {
		uint32_t number = chain->rules[i].number;

		if (number < 1 || number > check->ruleset->rule_count)
			return fail(check, "rule number %u is not from 1 to %u", number, check->ruleset->rule_count);
		if (seen[number])
			return fail(check, "two rules have the number %u", number);
		seen[number] = true;
		if (!check_rule(check, &chain->rules[i]))
			return false;
	}
	return true;
}

static bool check_chains(struct check *check)
{
	const struct ruleset *ruleset = check->ruleset;
	size_t rules = 0;
	bool *seen;

	if (!ruleset->chain_count)
		return fail(check, "there is no chain");
	for (size_t i = 0; i < ruleset->chain_count; i++)
		rules += ruleset->chains[i].rule_count;
	if (rules != ruleset->rule_count)
		return fail(check, "there are %zu rules, but the rule count is %u", rules, ruleset->rule_count);
	if (strcmp(ruleset->chains[0].name, "main"))
		return fail(check, "the first chain is not called `main`");
	seen = ARENA_ARRAY(check->arena, bool, rules + 1);
	for (size_t i = 0; i < ruleset->chain_count; i++)
		if (!check_chain(check, &ruleset->chains[i], seen))
			return false;
	return true;
}

/* --- knocks --------------------------------------------------------------------------------------------------- */

static bool check_steps(struct check *check, const struct knock *knock)
{
	const struct rule rule = { .number = 0 }; /* that names no link layer */
	const struct place top = { .rule = &rule };

	for (size_t i = 0; i < knock->step_count; i++)
		if (!check_cond(check, &top, knock->steps[i]))
			return false;
	return true;
}

static bool check_knocks(struct check *check)
{
	const struct ruleset *ruleset = check->ruleset;

	if (ruleset->program_count > PROGRAMS_MAX)
		return fail(check, "more than %d programs", PROGRAMS_MAX);
	if (ruleset->root_count > TREES_MAX)
		return fail(check, "more than %d roots of trees", TREES_MAX);
	if (ruleset->knock_count > KNOCKS_MAX)
		return fail(check, "more than %d knocks", KNOCKS_MAX);
	for (size_t i = 0; i < ruleset->knock_count; i++) {
		const struct knock *knock = &ruleset->knocks[i];

		if (!knock->step_count || knock->step_count > KNOCK_STEPS_MAX)
			return fail(check, "knock `%s` has not 1 to %d steps", knock->name, KNOCK_STEPS_MAX);
		if (!knock->within_ns == !knock->key_file || !knock->skew_ns != !knock->key_file || !knock->open_ns)
			return fail(check, "knock `%s` has no time", knock->name);
		if (knock->key_file && (knock->step_count > 1 || knock->extend || !*knock->key_file))
			return fail(check, "knock `%s` has a key and more than that", knock->name);
		if (knock->bind && !knock->key_file)
			return fail(check, "knock `%s` binds what it has not", knock->name);
		if (!check_steps(check, knock))
			return false;
	}
	return true;
}

/* --- the chain graph ------------------------------------------------------------------------------------------ */

static bool leads_to(const struct rule *rule, uint32_t *ret_chain)
{
	const struct action *last = &rule->actions[rule->action_count - 1];

	if (last->kind != ACTION_JUMP && last->kind != ACTION_GOTO)
		return false;
	*ret_chain = last->chain;
	return true;
}

/* How many jumps lead to each chain. */
static void count_callers(const struct ruleset *ruleset, size_t *callers)
{
	uint32_t to;

	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			if (leads_to(&ruleset->chains[i].rules[j], &to))
				callers[to]++;
}

/* Takes away chains that nobody jumps to, again and again: what is left when there is none are cycles. */
static bool check_cycles(struct check *check)
{
	const struct ruleset *ruleset = check->ruleset;
	size_t *callers = ARENA_ARRAY(check->arena, size_t, ruleset->chain_count);
	uint32_t *free_chains = ARENA_ARRAY(check->arena, uint32_t, ruleset->chain_count);
	size_t found = 0;
	uint32_t to;

	count_callers(ruleset, callers);
	for (uint32_t i = 0; i < ruleset->chain_count; i++)
		if (!callers[i])
			free_chains[found++] = i;
	for (size_t next = 0; next < found; next++) {
		const struct chain *chain = &ruleset->chains[free_chains[next]];

		for (size_t j = 0; j < chain->rule_count; j++)
			if (leads_to(&chain->rules[j], &to) && !--callers[to])
				free_chains[found++] = to;
	}
	for (size_t i = 0; found < ruleset->chain_count && i < ruleset->chain_count; i++)
		if (callers[i])
			return fail(check, "chain `%s` is on or behind a cycle of jumps", ruleset->chains[i].name);
	return true;
}

/* --- the rest ------------------------------------------------------------------------------------------------- */

static bool target_is_none(enum hook hook)
{
	return hook_table[hook].target == TARGET_NONE || hook_table[hook].target == TARGET_SOCKET;
}

static bool check_places(struct check *check, const char *what, const struct attach *places, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct attach *attach = &places[i];

		if ((unsigned)attach->hook >= HOOK_COUNT)
			return fail(check, "%s %zu: no such hook", what, i + 1);
		if (!attach->target != target_is_none(attach->hook))
			return fail(check, "%s %zu: %s takes %s", what, i + 1, hook_table[attach->hook].name,
				    attach->target ? "no target" : "a target");
	}
	return true;
}

static bool check_attaches(struct check *check)
{
	const struct ruleset *ruleset = check->ruleset;

	if (!ruleset->attach_count && !ruleset->expression)
		return fail(check, "the policy is attached nowhere");
	for (size_t i = 0; i < ruleset->track_count; i++)
		if (!(field_table[FIELD_FLOW].hooks & HOOK_BIT(ruleset->tracks[i].hook)))
			return fail(check, "track %zu: there are no connections", i + 1);
	return check_places(check, "attach", ruleset->attaches, ruleset->attach_count) &&
	       check_places(check, "track", ruleset->tracks, ruleset->track_count);
}

static bool check_flows(struct check *check)
{
	const struct flow_settings *flows = &check->ruleset->flows;

	if (flows->max > FLOWS_MAX)
		return fail(check, "more than %d connections", FLOWS_MAX);
	for (int age = 0; age < AGE_COUNT; age++)
		if (flows->seconds[age] > FLOW_SECONDS_MAX)
			return fail(check, "%s connections for more than a year", flow_ages[age].name);
	return true;
}

static bool check_head(struct check *check)
{
	const struct ruleset *ruleset = check->ruleset;

	if (!ruleset->name || !*ruleset->name)
		return fail(check, "the policy has no name");
	if ((unsigned)ruleset->default_verdict > VERDICT_REJECT)
		return fail(check, "the default is no verdict");
	if (ruleset->cgroup_level_count > PACKET_CGROUPS)
		return fail(check, "more than %d cgroup levels", PACKET_CGROUPS);
	if (ruleset->captures_size &&
	    (ruleset->captures_size < CAPTURES_SIZE_LEAST || ruleset->captures_size > CAPTURES_SIZE_MOST ||
	     ruleset->captures_size & (ruleset->captures_size - 1)))
		return fail(check, "a ring of captures cannot have %u bytes", ruleset->captures_size);
	return check_attaches(check) && check_flows(check);
}

static bool check_sets(struct check *check)
{
	for (size_t i = 0; i < check->ruleset->set_count; i++)
		if (!check_set(check, &check->ruleset->sets[i]))
			return false;
	return true;
}

const char *ruleset_check(struct arena *arena, const struct ruleset *ruleset)
{
	struct check check = { .arena = arena, .ruleset = ruleset };

	if (check_head(&check) && check_all_names(&check) && check_sets(&check) && check_knocks(&check) && check_tunables(&check) &&
	    check_chains(&check) && check_cycles(&check))
		return NULL;
	return check.error;
}
