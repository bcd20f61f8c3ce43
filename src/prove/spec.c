/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rules say, as diagrams, straight from docs/architecture.md, "What a rule set means". In: the rule set; out:
 * for a place in it, what the rules from there on do with each packet, up to the first that acts or leaves the chain.
 *
 * A leaf of such a diagram is a rule, acting or only followed (on frames that are not IP), or the end of the chain;
 * what follows then is another place, with another diagram.
 */
#include <stddef.h>
#include <string.h>

#include "bpf/knock_abi.h"
#include "prove/work.h"

/* A stretch of a chain's rules: what is asked for again and again. Zeroed before it is filled. */
struct stretch {
	uint32_t chain, named, from, to;
};

struct spec {
	struct intern places;
	struct intern stretches;
	VEC(bdd_ref) diagrams;     /* by stretch */
	bdd_ref *conditions;       /* by rule number; UNKNOWN */
	const struct rule **rules; /* by rule number */
	uint32_t *first_log;       /* by rule number */
	uint32_t *rates;           /* by rule number: the index of its rate, if it has one */
	struct range **constants;  /* by map: its elements, adjacent ones joined; NULL: not yet */
	size_t *constant_counts;
	bdd_ref ip;
};
#define UNKNOWN UINT32_MAX

/* Leaf values. Rules count from 1: number 0 is the end of the main chain. */
enum { LEAF_FALL = LEAF_FIRST };

static uint32_t rule_leaf(uint32_t number, bool acts)
{
	return LEAF_FIRST + 1 + number * 2 + acts;
}

/* --- conditions ----------------------------------------------------------------------------------------- */

static bdd_ref condition(struct prove *prove, const struct cond *cond);

static bool visible(const struct prove *prove, enum field field)
{
	return field_table[field].hooks & HOOK_BIT(prove->input->hook);
}

static bdd_ref direction(const struct prove *prove, const struct cond *match)
{
	u128 value = hook_table[prove->input->hook].direction & match->match.mask;

	for (size_t i = 0; i < match->match.count; i++)
		if (value >= match->match.ranges[i].lo && value <= match->match.ranges[i].hi)
			return BDD_TRUE;
	return BDD_FALSE;
}

struct atom expected_atom(const struct prove *prove, uint32_t number, enum field field)
{
	const struct prove_map *map = &prove->input->maps[number];
	unsigned size = field_table[field].size, at = map->lpm ? 4 : 0;
	struct atom atom;

	memset(&atom, 0, sizeof atom);
	atom.map = number;
	if (map->lpm)
		for (unsigned bit = 0; bit < 32; bit++)
			atom.key[bit] = size * 8 >> bit & 1 ? SOURCE_1 : SOURCE_0;
	for (unsigned byte = 0; byte < size; byte++) {
		unsigned half = byte / 8 * 8, within = byte % 8, width = size < 8 ? size : 8;
		unsigned from = map->lpm ? half + width - 1 - within : byte;

		for (unsigned bit = 0; bit < 8; bit++)
			atom.key[(at + byte) * 8 + bit] = (source_bit)(SOURCE_PACKET +
				(field_table[field].offset + from) * 8 + bit);
	}
	return atom;
}

static bdd_ref in_map(struct prove *prove, uint32_t number, enum field field)
{
	struct atom atom = expected_atom(prove, number, field);

	atom.lives = map_timed(prove, number);
	return bdd_and(prove->bdd, field_present(prove, field), atom_set(prove, &atom));
}

static enum prove_key key_of(enum field field)
{
	if (field_table[field].form == FORM_IPV4)
		return PROVE_KEY_IPV4;
	return field_table[field].form == FORM_IPV6 ? PROVE_KEY_IPV6 : PROVE_KEY_VALUE;
}

static bool named_map(const struct prove_map *map, const struct cond *cond, bool lpm)
{
	return map->named == (int32_t)cond->set.set && map->key == key_of(cond->set.field) && map->lpm == lpm;
}

static bdd_ref in_set(struct prove *prove, const struct cond *cond)
{
	bool lpm = prove->input->ruleset->sets[cond->set.set].type == SET_PREFIX;

	for (uint32_t i = 0; i < prove->input->map_count; i++)
		if (named_map(&prove->input->maps[i], cond, lpm))
			return in_map(prove, i, cond->set.field);
	prove_stop(prove, "set `%s` has no map of the kind that a test of %s needs",
		   prove->input->ruleset->sets[cond->set.set].name, field_table[cond->set.field].name);
	return BDD_FALSE;
}

/* A map of constants that holds exactly what the rule lists, or -1: compare with the constants then. */
static int constant_map(struct prove *prove, const struct cond *cond)
{
	struct spec *spec = prove->spec;

	for (size_t i = 0; i < prove->input->map_count; i++) {
		const struct prove_map *map = &prove->input->maps[i];

		if (map->named >= 0 || map->key != key_of(cond->match.field))
			continue;
		if (!spec->constants[i]) {
			spec->constants[i] = arena_copy(prove->arena, map->elements,
							map->count * sizeof *map->elements);
			spec->constant_counts[i] = ranges_normalize(spec->constants[i], map->count);
		}
		if (spec->constant_counts[i] == cond->match.count &&
		    !memcmp(spec->constants[i], cond->match.ranges, cond->match.count * sizeof(struct range)))
			return (int)i;
	}
	return -1;
}

/* What the plane has compared with a tunable, whatever its value. An absent value holds no comparison. */
static bdd_ref tuned(struct prove *prove, const struct cond *cond)
{
	const struct field_info *info = &field_table[cond->match.field];
	const source_bit bit = (source_bit)(SOURCE_PACKET + offsetof(struct packet, tuned) * 8 +
					    cond->match.comparison - 1);
	bdd_ref holds = bit_set(prove, bit);

	return info->presence == PRESENT_VALUE ? holds :
						 bdd_and(prove->bdd, field_present(prove, cond->match.field), holds);
}

static bdd_ref match(struct prove *prove, const struct cond *cond)
{
	enum field field = cond->match.field;
	bdd_ref bits[128];
	unsigned count;
	int map = -1;

	if (!visible(prove, field))
		return BDD_FALSE;
	if (field == FIELD_DIRECTION)
		return direction(prove, cond);
	if (cond->match.comparison)
		return tuned(prove, cond);
	if (cond->match.mask == u128_max(field_table[field].bits))
		map = constant_map(prove, cond);
	if (map >= 0)
		return in_map(prove, (uint32_t)map, field);
	count = field_bits(prove, field, bits);
	for (unsigned i = 0; i < count; i++)
		if (!(cond->match.mask >> (count - 1 - i) & 1))
			bits[i] = BDD_FALSE;
	return bdd_and(prove->bdd, field_present(prove, field),
		       bits_in(prove, bits, count, cond->match.ranges, cond->match.count));
}

/* Halves rather than one after the other: long lists make large diagrams. */
static bdd_ref list(struct prove *prove, const struct cond *cond, size_t from, size_t to)
{
	size_t middle = from + (to - from) / 2;
	bdd_ref left, right;

	if (to - from == 1)
		return condition(prove, cond->list.items[from]);
	left = list(prove, cond, from, middle);
	right = list(prove, cond, middle, to);
	return cond->kind == COND_AND ? bdd_and(prove->bdd, left, right) : bdd_or(prove->bdd, left, right);
}

/* Nesting was bounded when the rule set was made. */
static bdd_ref condition(struct prove *prove, const struct cond *cond)
{
	switch (cond->kind) {
	case COND_TRUE:
		return BDD_TRUE;
	case COND_FALSE:
		return BDD_FALSE;
	case COND_AND:
	case COND_OR:
		return list(prove, cond, 0, cond->list.count);
	case COND_NOT:
		return bdd_not(prove->bdd, condition(prove, cond->inner));
	case COND_MATCH:
		return match(prove, cond);
	case COND_SET:
		return visible(prove, cond->set.field) ? in_set(prove, cond) : BDD_FALSE;
	}
	return BDD_FALSE;
}

/* --- diagrams of rules ---------------------------------------------------------------------------------- */

static const struct action *last_action(const struct rule *rule)
{
	const struct action *action = &rule->actions[rule->action_count - 1];

	return action->kind >= ACTION_VERDICT ? action : NULL;
}

/* Does the rule lead elsewhere even where it does not act? */
static bool leads(const struct rule *rule)
{
	const struct action *action = last_action(rule);

	return action && action->kind != ACTION_VERDICT;
}

bdd_ref spec_condition(struct prove *prove, const struct cond *cond)
{
	return condition(prove, cond);
}

static bdd_ref rule_diagram(struct prove *prove, const struct rule *rule, bool named)
{
	struct spec *spec = prove->spec;
	struct bdd *bdd = prove->bdd;
	bdd_ref *holds = &spec->conditions[rule->number];
	bdd_ref acts = named || rule->names_link ? BDD_TRUE : spec->ip;
	bdd_ref fall = bdd_leaf(bdd, LEAF_FALL), otherwise = fall;

	if (acts == BDD_FALSE && !leads(rule))
		return fall;
	if (*holds == UNKNOWN)
		*holds = rule->cond ? condition(prove, rule->cond) : BDD_TRUE;
	if (leads(rule))
		otherwise = bdd_leaf(bdd, rule_leaf(rule->number, false));
	return bdd_ite(bdd, *holds,
		       bdd_ite(bdd, acts, bdd_leaf(bdd, rule_leaf(rule->number, true)), otherwise), fall);
}

/* Where to cut, so that stretches to the end of a chain share their parts. */
static uint32_t cut(uint32_t from, uint32_t to)
{
	unsigned bit = 31u - (unsigned)__builtin_clz(from ^ (to - 1));

	return (to - 1) >> bit << bit;
}

static bdd_ref stretch_diagram(struct prove *prove, uint32_t chain, bool named, uint32_t from, uint32_t to)
{
	const struct chain *rules = &prove->input->ruleset->chains[chain];
	struct spec *spec = prove->spec;
	struct stretch stretch;
	uint32_t number, middle;
	bdd_ref first, rest;

	if (from == to || prove_stopped(prove))
		return bdd_leaf(prove->bdd, LEAF_FALL);
	if (to - from == 1)
		return rule_diagram(prove, &rules->rules[from], named);
	memset(&stretch, 0, sizeof stretch);
	stretch = (struct stretch){ chain, named, from, to };
	number = intern_number(&spec->stretches, &stretch);
	if (number < spec->diagrams.count && spec->diagrams.items[number] != UNKNOWN)
		return spec->diagrams.items[number];
	if (number == spec->diagrams.count)
		VEC_PUSH(prove->arena, &spec->diagrams) = UNKNOWN;
	middle = cut(from, to);
	first = stretch_diagram(prove, chain, named, from, middle);
	rest = stretch_diagram(prove, chain, named, middle, to);
	first = bdd_then(prove->bdd, first, bdd_leaf(prove->bdd, LEAF_FALL), rest);
	spec->diagrams.items[number] = first;
	return first;
}

/* Behind all rules: leaves "rule 0", acting: the default; not acting: not IP and passed. */
static bdd_ref end_diagram(struct prove *prove)
{
	const struct spec *spec = prove->spec;
	struct bdd *bdd = prove->bdd;
	bdd_ref by_default = bdd_leaf(bdd, rule_leaf(0, true)), non_ip = bdd_leaf(bdd, rule_leaf(0, false));
	bdd_ref passes = bdd_not(bdd, spec->ip);

	if (!prove->input->ruleset->non_ip_accept)
		passes = field_between(prove, FIELD_FAMILY, FAMILY_EXEMPT, FAMILY_EXEMPT);
	return bdd_ite(bdd, passes, non_ip, by_default);
}

static const struct rule *next_rule(const struct prove *prove, const struct place *place)
{
	return &prove->input->ruleset->chains[place->chain].rules[place->next];
}

bdd_ref spec_diagram(struct prove *prove, uint32_t number)
{
	struct place place;

	if (number == PLACE_END)
		return end_diagram(prove);
	place = *(const struct place *)intern_at(&prove->spec->places, number);
	if (place.granted)
		return bdd_leaf(prove->bdd, rule_leaf(next_rule(prove, &place)->number, true));
	return stretch_diagram(prove, place.chain, place.named, place.next,
			       (uint32_t)prove->input->ruleset->chains[place.chain].rule_count);
}

/* --- leaves --------------------------------------------------------------------------------------------- */

uint32_t spec_slot(const struct prove *prove, const struct rule *rule)
{
	const struct prove_changed *changed = prove->input->changed;

	return changed && rule->number <= ruleset_shown(prove->input->ruleset) ? changed->slots[rule->number] :
										 SLOT_RULE(rule->number);
}

uint32_t spec_rule(const struct prove_input *input, uint32_t slot)
{
	uint32_t rules = ruleset_shown(input->ruleset);

	if (!input->changed)
		return slot >= SLOT_RULES && slot <= SLOT_RULE(rules) ? slot - SLOT_RULES + 1 : 0;
	for (uint32_t i = 1; i <= rules; i++)
		if (input->changed->slots[i] == slot)
			return i;
	return 0;
}

static uint32_t first_counter(const struct prove_input *input)
{
	return input->changed ? input->changed->counters : SLOT_RULE(ruleset_shown(input->ruleset) + 1);
}

static struct effect effect_of(const struct prove *prove, const struct rule *rule, const struct action *action,
			       uint32_t log, uint32_t rate)
{
	const struct action *last = last_action(rule);

	switch (action->kind) {
	case ACTION_COUNT:
		return (struct effect){ STEP_COUNT, first_counter(prove->input) + action->counter, 0, 0 };
	case ACTION_LOG:
		return (struct effect){ STEP_LOG, spec_slot(prove, rule), log,
					last && last->kind == ACTION_VERDICT ? (uint32_t)last->verdict : LOG_ONLY };
	case ACTION_THROTTLE:
		return (struct effect){ STEP_THROTTLE, spec_slot(prove, rule), rate, 0 };
	case ACTION_CAPTURE:
		return (struct effect){ STEP_CAPTURE, spec_slot(prove, rule), action->snap,
					last && last->kind == ACTION_VERDICT ? (uint32_t)last->verdict : LOG_ONLY };
	case ACTION_MARK:
		return (struct effect){ STEP_MARK, 0, action->mark.value & action->mark.mask, action->mark.mask };
	case ACTION_ADD:
	case ACTION_REMOVE:
		return (struct effect){ action->kind == ACTION_ADD ? STEP_ADD : STEP_REMOVE, action->change.set,
					action->change.field, action->change.timeout_ms };
	case ACTION_KNOCK:
		return (struct effect){ STEP_KNOCK, 0, STEP_OF_KNOCK(action->knock.index, action->knock.step), 0 };
	default: /* the rule's own counter */
		return (struct effect){ STEP_COUNT, spec_slot(prove, rule), 0, 0 };
	}
}

_Static_assert((int)VERDICT_ACCEPT == ANSWER_ACCEPT && (int)VERDICT_DROP == ANSWER_DROP &&
	       (int)VERDICT_REJECT == ANSWER_REJECT, "verdicts are answers");

/* What an acting rule does before judging ends or goes on: all actions, and unless it decides, its count. */
static void fill_effects(struct prove *prove, const struct rule *rule, struct spec_leaf *leaf)
{
	struct effect *effects = ARENA_ARRAY(prove->arena, struct effect, rule->action_count + 1);
	uint32_t log = prove->spec->first_log[rule->number], rate = prove->spec->rates[rule->number];

	for (size_t i = 0; i < rule->action_count; i++) {
		if (rule->actions[i].kind >= ACTION_VERDICT)
			break;
		if (rule->actions[i].kind == ACTION_RATE) { /* was asked before */
			rate++;
			continue;
		}
		if (!rule->actions[i].left)
			effects[leaf->effect_count++] = effect_of(prove, rule, &rule->actions[i], log, rate);
		log += rule->actions[i].kind == ACTION_LOG;
		rate += rule->actions[i].kind == ACTION_THROTTLE;
	}
	if (!leaf->decided && rule->number <= ruleset_shown(prove->input->ruleset))
		effects[leaf->effect_count++] = (struct effect){ STEP_COUNT, spec_slot(prove, rule), 0, 0 };
	leaf->effects = effects;
}

uint32_t spec_rate(const struct prove *prove, const struct rule *rule)
{
	return prove->spec->rates[rule->number];
}

const struct effect *spec_effects(struct prove *prove, const struct rule *rule, bool decides, size_t *ret_count)
{
	struct spec_leaf leaf = { .decided = decides };

	fill_effects(prove, rule, &leaf);
	*ret_count = leaf.effect_count;
	return leaf.effects;
}

static uint32_t place_number(struct prove *prove, uint32_t chain, uint32_t next, uint32_t named, uint32_t outer)
{
	struct place place = { chain, next, named, outer, 0 };

	return intern_number(&prove->spec->places, &place);
}

/* Where judging goes on behind a rule. */
static uint32_t place_after(struct prove *prove, const struct place *place, const struct rule *rule)
{
	const struct chain *chain = &prove->input->ruleset->chains[place->chain];
	const struct action *action = last_action(rule);
	uint32_t next = (uint32_t)(rule - chain->rules) + 1;
	uint32_t named = place->named || rule->names_link, outer;

	switch (action ? action->kind : ACTION_COUNT) {
	case ACTION_JUMP:
		outer = place_number(prove, place->chain, next, place->named, place->outer);
		return place_number(prove, action->chain, 0, named, outer);
	case ACTION_GOTO:
		return place_number(prove, action->chain, 0, named, place->outer);
	case ACTION_RETURN:
		return place->outer;
	default:
		return place_number(prove, place->chain, next, place->named, place->outer);
	}
}

/* The rule acts if it has a token, else what comes behind it goes on. */
static struct spec_leaf asking_leaf(struct prove *prove, const struct place *place, const struct rule *rule)
{
	uint32_t index = (uint32_t)(rule - prove->input->ruleset->chains[place->chain].rules);
	struct place granted = { place->chain, index, place->named, place->outer, 1 };

	return (struct spec_leaf){
		.asks = true,
		.rate = prove->spec->rates[rule->number],
		.slot = spec_slot(prove, rule),
		.place = intern_number(&prove->spec->places, &granted),
		.without = place_number(prove, place->chain, index + 1, place->named, place->outer),
	};
}

static struct spec_leaf end_leaf(const struct prove *prove, bool by_default)
{
	return (struct spec_leaf){
		.decided = true,
		.verdict = by_default ? (uint32_t)prove->input->ruleset->default_verdict : ANSWER_ACCEPT,
		.slot = by_default ? SLOT_DEFAULT : SLOT_NON_IP,
	};
}

struct spec_leaf spec_leaf(struct prove *prove, uint32_t number, uint32_t value)
{
	uint32_t code = value - LEAF_FIRST - 1;
	struct spec_leaf leaf = { .decided = false };
	const struct action *action;
	const struct rule *rule;
	struct place place;

	if (number == PLACE_END)
		return end_leaf(prove, code & 1);
	place = *(const struct place *)intern_at(&prove->spec->places, number);
	if (value == LEAF_FALL)
		return (struct spec_leaf){ .place = place.outer };
	rule = prove->spec->rules[code / 2];
	action = last_action(rule);
	if (code & 1 && rule_rate(rule) && !place.granted)
		return asking_leaf(prove, &place, rule);
	if (code & 1 && action && action->kind == ACTION_VERDICT) {
		leaf.decided = true;
		leaf.verdict = (uint32_t)action->verdict;
		leaf.slot = spec_slot(prove, rule);
	} else {
		leaf.place = place_after(prove, &place, rule);
	}
	if (code & 1)
		fill_effects(prove, rule, &leaf);
	return leaf;
}

/* --- places --------------------------------------------------------------------------------------------- */

static unsigned depth_of(const struct spec *spec, uint32_t place)
{
	unsigned depth = 0;

	for (; place != PLACE_END; place = ((const struct place *)intern_at(&spec->places, place))->outer)
		depth++;
	return depth;
}

static uint32_t outer_of(const struct spec *spec, uint32_t place, unsigned levels)
{
	while (levels--)
		place = ((const struct place *)intern_at(&spec->places, place))->outer;
	return place;
}

int spec_compare(struct prove *prove, uint32_t left, uint32_t right)
{
	const struct spec *spec = prove->spec;
	unsigned left_depth = depth_of(spec, left), right_depth = depth_of(spec, right);

	for (unsigned depth = 1; depth <= left_depth && depth <= right_depth; depth++) {
		const struct place *a = intern_at(&spec->places, outer_of(spec, left, left_depth - depth));
		const struct place *b = intern_at(&spec->places, outer_of(spec, right, right_depth - depth));

		if (a->next != b->next && a->chain == b->chain)
			return a->next < b->next ? -1 : 1;
		if (a->granted != b->granted && a->chain == b->chain)
			return a->granted < b->granted ? -1 : 1;
	}
	return left_depth == right_depth ? 0 : left_depth > right_depth ? -1 : 1; /* called chains come first */
}

uint32_t spec_start(struct prove *prove)
{
	return place_number(prove, 0, 0, 0, PLACE_END);
}

/* --- preparation ---------------------------------------------------------------------------------------- */

/* Every field that some rule names, as the contract of packets is wanted before all rules are met. */
static void note_fields(struct prove *prove, const struct cond *cond)
{
	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			note_fields(prove, cond->list.items[i]);
		break;
	case COND_NOT:
		note_fields(prove, cond->inner);
		break;
	case COND_MATCH:
		if (visible(prove, cond->match.field) && cond->match.field != FIELD_DIRECTION)
			prove->fields |= FIELD_BIT(cond->match.field);
		break;
	case COND_SET:
		if (visible(prove, cond->set.field))
			prove->fields |= FIELD_BIT(cond->set.field);
		break;
	default:
		break;
	}
}

static void find_rules(struct prove *prove, struct spec *spec)
{
	const struct ruleset *ruleset = prove->input->ruleset;

	for (size_t c = 0; c < ruleset->chain_count; c++)
		for (size_t r = 0; r < ruleset->chains[c].rule_count; r++) {
			const struct rule *rule = &ruleset->chains[c].rules[r];

			spec->rules[rule->number] = rule;
			if (rule->cond)
				note_fields(prove, rule->cond);
		}
}

static void check_log(struct prove *prove, uint32_t log, const struct action *action)
{
	uint64_t period = action->log.period_ns, burst;

	if (__builtin_mul_overflow(period, (uint64_t)action->log.burst, &burst))
		burst = UINT64_MAX;
	if (log >= prove->input->log_count || prove->input->logs[log].period_ns != period ||
	    prove->input->logs[log].burst_ns != burst)
		prove_stop(prove, "the table of logs does not say what log statement %u says", log + 1);
}

/* Of those that come with a knock, which have neither logs nor rates, it does not matter. */
static uint32_t place_of(const struct prove *prove, const uint32_t *places, uint32_t rule)
{
	return rule <= ruleset_shown(prove->input->ruleset) ? places[rule] : 0;
}

/* Log statements have numbers in the order of rules, unless rules were changed. */
static void count_logs(struct prove *prove, struct spec *spec)
{
	const struct prove_changed *changed = prove->input->changed;
	uint32_t log = 0;

	for (uint32_t i = 1; i <= prove->input->ruleset->rule_count; i++) {
		log = changed ? place_of(prove, changed->logs, i) : log;
		spec->first_log[i] = log;
		for (size_t a = 0; a < spec->rules[i]->action_count; a++)
			if (spec->rules[i]->actions[a].kind == ACTION_LOG)
				check_log(prove, log++, &spec->rules[i]->actions[a]);
	}
	if (!changed && log != prove->input->log_count)
		prove_stop(prove, "the table of logs has %zu entries for %u log statements",
			   prove->input->log_count, log);
}

static void check_rate(struct prove *prove, uint32_t index, const struct rate *rate)
{
	static const uint8_t keys[RATE_KEY_COUNT] = { BUCKET_ONE, BUCKET_SRC, BUCKET_DST, BUCKET_FLOW, BUCKET_USER };
	const struct rate_limit *limit = index < prove->input->rate_count ? &prove->input->rates[index] : NULL;

	if (!limit || limit->period != rate_period(rate) || limit->burst_ns != rate_burst_ns(rate) ||
	    limit->reserve_ns != rate_reserve_ns(rate) ||
	    limit->key != keys[rate->key] || limit->bytes != (rate->unit == RATE_BYTES) ||
	    limit->bits4 != rate->bits4 || limit->bits6 != rate->bits6 ||
	    limit->fine != (limit->burst_ns < RATE_COARSE_NS))
		prove_stop(prove, "the table of rates does not say what rate %u says", index + 1);
}

/* The data plane must fill in what keys are made of. */
static void check_key(struct prove *prove, const struct rate *rate)
{
	static const enum field by_key[RATE_KEY_COUNT][7] = {
		[RATE_KEY_SRC] = { FIELD_IP_SRC, FIELD_IPV6_SRC },
		[RATE_KEY_DST] = { FIELD_IP_DST, FIELD_IPV6_DST },
		[RATE_KEY_FLOW] = { FIELD_IP_SRC, FIELD_IPV6_SRC, FIELD_IP_DST, FIELD_IPV6_DST, FIELD_SRC_PORT,
				    FIELD_DST_PORT, FIELD_PROTO },
		[RATE_KEY_USER] = { FIELD_USER },
	};

	for (size_t i = 0; i < 7; i++)
		if (by_key[rate->key][i] != FIELD_FAMILY && !(prove->input->needed >> by_key[rate->key][i] & 1))
			prove_stop(prove, "the key of a rate is read, but the data plane need not fill %s in",
				   field_table[by_key[rate->key][i]].name);
}

/* Rates have numbers in the order of rules, too. */
static void count_rates(struct prove *prove, struct spec *spec)
{
	const struct prove_changed *changed = prove->input->changed;
	uint32_t next = 0;

	for (uint32_t i = 1; i <= prove->input->ruleset->rule_count; i++) {
		next = changed ? place_of(prove, changed->rates, i) : next;
		spec->rates[i] = next;
		for (size_t a = 0; a < spec->rules[i]->action_count; a++) {
			if (!action_is_rated(&spec->rules[i]->actions[a]))
				continue;
			check_rate(prove, next++, spec->rules[i]->actions[a].rate);
			check_key(prove, spec->rules[i]->actions[a].rate);
		}
	}
	if (!changed && next != prove->input->rate_count)
		prove_stop(prove, "the table of rates has %zu entries for %u rates", prove->input->rate_count, next);
}

void spec_init(struct prove *prove)
{
	const struct ruleset *ruleset = prove->input->ruleset;
	size_t rules = (size_t)ruleset->rule_count + 1;
	struct spec *spec = ARENA_NEW(prove->arena, struct spec);

	intern_init(&spec->places, prove->arena, sizeof(struct place));
	intern_init(&spec->stretches, prove->arena, sizeof(struct stretch));
	spec->conditions = ARENA_ARRAY(prove->arena, bdd_ref, rules);
	memset(spec->conditions, 0xff, rules * sizeof *spec->conditions);
	spec->rules = ARENA_ARRAY(prove->arena, const struct rule *, rules);
	spec->first_log = ARENA_ARRAY(prove->arena, uint32_t, rules);
	spec->rates = ARENA_ARRAY(prove->arena, uint32_t, rules);
	spec->constants = ARENA_ARRAY(prove->arena, struct range *, prove->input->map_count);
	spec->constant_counts = ARENA_ARRAY(prove->arena, size_t, prove->input->map_count);
	spec->ip = bdd_or(prove->bdd, field_between(prove, FIELD_FAMILY, FAMILY_IPV4, FAMILY_IPV4),
			  field_between(prove, FIELD_FAMILY, FAMILY_IPV6, FAMILY_IPV6));
	prove->spec = spec;
	find_rules(prove, spec);
	count_logs(prove, spec);
	count_rates(prove, spec);
}

void spec_init_other(struct prove *prove)
{
	spec_init(prove);
	prove->spec->ip = BDD_FALSE;
}
