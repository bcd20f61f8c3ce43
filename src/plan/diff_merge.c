/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Merging: two rule sets become one with the chains of both, so that they can be compared in one store. In: two rule
 * sets; out: one, whose rule, chain, set and cgroup slot numbers are moved. Sets of one name with the same elements
 * become one set. Fails if they ask about too many cgroup levels.
 */
#include <string.h>

#include "plan/diff_work.h"

struct merging {
	struct arena *arena;
	struct merged *merged;
	struct chain *chains;
	struct set *sets;
	size_t set_count;
	bool *keep[DIFF_SIDES]; /* by rule number */
};

/* --- sets ------------------------------------------------------------------------------------------------------- */

static const struct set *find_set(const struct ruleset *ruleset, const struct set *like, size_t *ret_index)
{
	for (size_t i = 0; i < ruleset->set_count; i++)
		if (ruleset->sets[i].type == like->type && !strcmp(ruleset->sets[i].name, like->name)) {
			*ret_index = i;
			return &ruleset->sets[i];
		}
	return NULL;
}

static void add_set(struct merging *merging, unsigned side, size_t index)
{
	struct merged *merged = merging->merged;
	const struct set *set = &merged->sides[side]->sets[index];
	size_t twin_index = 0;
	const struct set *twin = find_set(merged->sides[!side], set, &twin_index);
	bool same = twin && diff_same_set(set, twin);

	if (side == DIFF_NEW && same) {
		merged->set_of[side][index] = merged->set_of[DIFF_OLD][twin_index];
		return;
	}
	if (side == DIFF_NEW && twin)
		VEC_PUSH(merging->arena, &merged->notes) =
			arena_printf(merging->arena, "the set `%s` has other elements: both are taken as they are "
				     "written, without what was added at run time", set->name);
	merged->open[merging->set_count] = !twin || same;
	merged->set_of[side][index] = (uint32_t)merging->set_count;
	merging->sets[merging->set_count++] = *set;
}

static void add_sets(struct merging *merging)
{
	struct merged *merged = merging->merged;
	size_t count = merged->sides[DIFF_OLD]->set_count + merged->sides[DIFF_NEW]->set_count;

	merging->sets = ARENA_ARRAY(merging->arena, struct set, count);
	merged->open = ARENA_ARRAY(merging->arena, bool, count);
	for (unsigned side = 0; side < DIFF_SIDES; side++) {
		merged->set_of[side] = ARENA_ARRAY(merging->arena, uint32_t, merged->sides[side]->set_count);
		for (size_t i = 0; i < merged->sides[side]->set_count; i++)
			add_set(merging, side, i);
	}
	merged->ruleset.sets = merging->sets;
	merged->ruleset.set_count = merging->set_count;
}

/* --- cgroups ---------------------------------------------------------------------------------------------------- */

static bool add_level(struct merged *merged, unsigned side, unsigned slot)
{
	struct ruleset *ruleset = &merged->ruleset;
	uint8_t level = merged->sides[side]->cgroup_levels[slot];
	uint8_t at = 0;

	while (at < ruleset->cgroup_level_count && ruleset->cgroup_levels[at] != level)
		at++;
	if (at == PACKET_CGROUPS)
		return false;
	if (at == ruleset->cgroup_level_count)
		ruleset->cgroup_levels[ruleset->cgroup_level_count++] = level;
	merged->slot_of[side][slot] = at;
	return true;
}

static bool add_levels(struct merged *merged)
{
	for (unsigned side = 0; side < DIFF_SIDES; side++)
		for (unsigned slot = 0; slot < merged->sides[side]->cgroup_level_count; slot++)
			if (!add_level(merged, side, slot))
				return false;
	return true;
}

static enum field move_field(const struct merged *merged, unsigned side, enum field field)
{
	if (field < FIELD_CGROUP_0 || field > FIELD_CGROUP_2)
		return field;
	return (enum field)(FIELD_CGROUP_0 + merged->slot_of[side][field - FIELD_CGROUP_0]);
}

/* --- rules ------------------------------------------------------------------------------------------------------ */

/* As deep as the front let it be. */
static const struct cond *move_cond(struct merging *merging, unsigned side, const struct cond *cond)
{
	const struct merged *merged = merging->merged;
	struct cond *moved = arena_copy(merging->arena, cond, sizeof *cond);
	const struct cond **items;

	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		items = ARENA_ARRAY(merging->arena, const struct cond *, cond->list.count);
		for (size_t i = 0; i < cond->list.count; i++)
			items[i] = move_cond(merging, side, cond->list.items[i]);
		moved->list.items = items;
		break;
	case COND_NOT:
		moved->inner = move_cond(merging, side, cond->inner);
		break;
	case COND_MATCH:
		moved->match.field = move_field(merged, side, cond->match.field);
		break;
	case COND_SET:
		moved->set.field = move_field(merged, side, cond->set.field);
		moved->set.set = merged->set_of[side][cond->set.set];
		break;
	default:
		break;
	}
	return moved;
}

static const struct action *move_actions(struct merging *merging, unsigned side, const struct rule *rule)
{
	struct action *actions = arena_copy(merging->arena, rule->actions, rule->action_count * sizeof *rule->actions);
	struct action *last = &actions[rule->action_count - 1];

	for (size_t i = 0; i < rule->action_count; i++)
		if (actions[i].kind == ACTION_ADD || actions[i].kind == ACTION_REMOVE)
			actions[i].change.set = merging->merged->set_of[side][actions[i].change.set];
	if (last->kind == ACTION_JUMP || last->kind == ACTION_GOTO)
		last->chain += merging->merged->first_chain[side];
	return actions;
}

static void note_throttles(struct merging *merging)
{
	for (unsigned side = 0; side < DIFF_SIDES; side++)
		for (size_t i = 0; i < merging->merged->sides[side]->chain_count; i++) {
			const struct chain *chain = &merging->merged->sides[side]->chains[i];

			for (size_t j = 0; j < chain->rule_count; j++)
				for (size_t a = 0; a < chain->rules[j].action_count; a++)
					if (chain->rules[j].actions[a].kind == ACTION_THROTTLE) {
						VEC_PUSH(merging->arena, &merging->merged->notes) =
							"what `throttle` drops or delays is not compared";
						return;
					}
		}
}

static void add_rule(struct merging *merging, unsigned side, const struct rule *rule, struct rule *to)
{
	struct merged *merged = merging->merged;

	*to = *rule;
	to->number = ++merged->ruleset.rule_count;
	to->cond = rule->cond ? move_cond(merging, side, rule->cond) : NULL;
	to->actions = move_actions(merging, side, rule);
	merged->origin[to->number] = rule->number;
	merged->side_of[to->number] = (uint8_t)side;
}

static bool changes_sets(const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			for (size_t k = 0; k < ruleset->chains[i].rules[j].action_count; k++) {
				enum action_kind kind = ruleset->chains[i].rules[j].actions[k].kind;

				if (kind == ACTION_ADD || kind == ACTION_REMOVE)
					return true;
			}
	return false;
}

static void add_chain(struct merging *merging, unsigned side, size_t index)
{
	const struct chain *chain = &merging->merged->sides[side]->chains[index];
	struct rule *rules = ARENA_ARRAY(merging->arena, struct rule, chain->rule_count);
	struct chain *to = &merging->chains[merging->merged->first_chain[side] + index];

	*to = *chain;
	to->rules = rules;
	to->rule_count = 0;
	for (size_t i = 0; i < chain->rule_count; i++)
		if (merging->keep[side][chain->rules[i].number])
			add_rule(merging, side, &chain->rules[i], &rules[to->rule_count++]);
}

/* The main chain jumps to both, so that whoever walks the chains finds all. */
static void add_main(struct merging *merging)
{
	struct merged *merged = merging->merged;
	struct rule *rules = ARENA_ARRAY(merging->arena, struct rule, DIFF_SIDES);

	for (unsigned side = 0; side < DIFF_SIDES; side++) {
		struct action *jump = ARENA_NEW(merging->arena, struct action);

		*jump = (struct action){ .kind = ACTION_JUMP, .chain = merged->first_chain[side] };
		rules[side] = (struct rule){ .number = ++merged->ruleset.rule_count, .actions = jump,
					     .action_count = 1 };
	}
	merging->chains[0] = (struct chain){ .name = "main", .rules = rules, .rule_count = DIFF_SIDES };
}

bool merged_init(struct arena *arena, const struct ruleset *const *sides, struct merged *ret_merged)
{
	const struct ruleset *old = sides[DIFF_OLD], *new = sides[DIFF_NEW];
	struct merging merging = { .arena = arena, .merged = ret_merged };

	*ret_merged = (struct merged){ .sides = { old, new } };
	/* For their names alone: both sides' are the same in the same places, or the caller has said that they are not. */
	ret_merged->ruleset.knocks = new->knock_count ? new->knocks : old->knocks;
	ret_merged->ruleset.knock_count = new->knock_count ? new->knock_count : old->knock_count;
	if (!add_levels(ret_merged))
		return false;
	ret_merged->first_chain[DIFF_OLD] = 1;
	ret_merged->first_chain[DIFF_NEW] = 1 + (uint32_t)old->chain_count;
	ret_merged->ruleset.name = new->name;
	ret_merged->ruleset.chain_count = 1 + old->chain_count + new->chain_count;
	ret_merged->origin = ARENA_ARRAY(arena, uint32_t, (size_t)old->rule_count + new->rule_count + 1 + DIFF_SIDES);
	ret_merged->side_of = ARENA_ARRAY(arena, uint8_t, (size_t)old->rule_count + new->rule_count + 1 + DIFF_SIDES);
	diff_region(arena, sides, merging.keep);
	merging.chains = ARENA_ARRAY(arena, struct chain, ret_merged->ruleset.chain_count);
	ret_merged->ruleset.chains = merging.chains;
	add_sets(&merging);
	note_throttles(&merging);
	add_main(&merging);
	for (unsigned side = 0; side < DIFF_SIDES; side++)
		for (size_t i = 0; i < sides[side]->chain_count; i++)
			add_chain(&merging, side, i);
	if (changes_sets(old) || changes_sets(new))
		VEC_PUSH(arena, &ret_merged->notes) =
			"packets change sets: compared is what each packet meets when both policies' sets hold the same";
	return true;
}
