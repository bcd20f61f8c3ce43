/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules in a row: what happens to IP packets, as one list without chains. In: the rule set; out: items, chains laid out
 * where they are jumped to, under the conditions of the jumps. Says the same as spec.c, in another form: there a packet
 * is followed from place to place, here everything stands in the order in which it can happen.
 */
#include <string.h>

#include "prove/table.h"

enum { ITEMS_MAX = 8000000 };

/* Where judging goes on, known once that is reached. */
typedef uint32_t label;

struct laying {
	struct prove *prove;
	struct items *items;
	VEC(uint32_t) places; /* by label */
};

/* A chain under way. */
struct frame {
	const struct chain *chain;
	uint32_t context;
	label end;
};

static label new_label(struct laying *laying)
{
	VEC_PUSH(laying->prove->arena, &laying->places) = 0;
	return (label)laying->places.count - 1;
}

static void place(struct laying *laying, label at)
{
	laying->places.items[at] = (uint32_t)laying->items->list.count;
}

static void add_item(struct laying *laying, const struct rule *rule, uint32_t context, bool decides, label next,
		     label without)
{
	struct item item = { .rule = rule, .context = context, .next = next, .without = without, .decides = decides };

	if (laying->items->list.count >= ITEMS_MAX)
		prove_stop(laying->prove, "the rules are too many once chains are laid out");
	else
		VEC_PUSH(laying->prove->arena, &laying->items->list) = item;
}

static uint32_t under(struct laying *laying, const struct cond *cond, uint32_t outer)
{
	struct context context = { cond, outer };

	VEC_PUSH(laying->prove->arena, &laying->items->contexts) = context;
	return (uint32_t)laying->items->contexts.count - 1;
}

static void lay_chain(struct laying *laying, const struct frame *frame);

static void lay_jump(struct laying *laying, const struct frame *frame, const struct rule *rule,
		     const struct action *action)
{
	label body = new_label(laying);
	struct frame inner = {
		.chain = &laying->prove->input->ruleset->chains[action->chain],
		.context = under(laying, rule->cond, frame->context),
		.end = new_label(laying),
	};
	label after = new_label(laying);

	add_item(laying, rule, frame->context, false, body, after);
	place(laying, body);
	lay_chain(laying, &inner);
	place(laying, inner.end);
	if (action->kind == ACTION_GOTO)
		add_item(laying, NULL, inner.context, false, frame->end, frame->end);
	place(laying, after);
}

static void lay_rule(struct laying *laying, const struct frame *frame, const struct rule *rule)
{
	const struct action *action = &rule->actions[rule->action_count - 1];
	label next;

	if (action->kind == ACTION_JUMP || action->kind == ACTION_GOTO) {
		lay_jump(laying, frame, rule, action);
		return;
	}
	next = new_label(laying);
	add_item(laying, rule, frame->context, action->kind == ACTION_VERDICT,
		 action->kind == ACTION_RETURN ? frame->end : next, next);
	place(laying, next);
}

static void lay_chain(struct laying *laying, const struct frame *frame)
{
	for (size_t i = 0; i < frame->chain->rule_count && !prove_stopped(laying->prove); i++)
		lay_rule(laying, frame, &frame->chain->rules[i]);
}

bool items_lay(struct prove *prove, struct items *ret_items)
{
	struct laying laying = { .prove = prove, .items = ret_items };
	struct frame frame = { .chain = &prove->input->ruleset->chains[0], .context = NO_CONTEXT };

	memset(ret_items, 0, sizeof *ret_items);
	frame.end = new_label(&laying);
	lay_chain(&laying, &frame);
	place(&laying, frame.end);
	for (size_t i = 0; i < ret_items->list.count; i++) {
		struct item *item = &ret_items->list.items[i];

		item->next = laying.places.items[item->next];
		item->without = laying.places.items[item->without];
	}
	return !prove_stopped(prove);
}

bdd_ref item_set(struct prove *prove, const struct items *items, const struct item *item)
{
	bdd_ref set = item->rule && item->rule->cond ? spec_condition(prove, item->rule->cond) : BDD_TRUE;

	for (uint32_t at = item->context; at != NO_CONTEXT && set != BDD_FALSE; at = items->contexts.items[at].outer)
		if (items->contexts.items[at].cond)
			set = bdd_and(prove->bdd, set, spec_condition(prove, items->contexts.items[at].cond));
	return set;
}

/* --- answers -------------------------------------------------------------------------------------------- */

static bool decided_by_default(const struct prove *prove, const struct answer_run *run)
{
	return run->verdict == (uint32_t)prove->input->ruleset->default_verdict && run->slot == SLOT_DEFAULT;
}

static bool ends_alike(const struct prove *prove, const struct items *items, const struct item *item,
		       const struct answer_run *run)
{
	const struct action *action;

	if (run->resumes)
		return !item->decides;
	if (!item->decides)
		return item->next == items->list.count && decided_by_default(prove, run);
	action = &item->rule->actions[item->rule->action_count - 1];
	return run->verdict == (uint32_t)action->verdict && run->slot == spec_slot(prove, item->rule);
}

/* Asks for the token that the item needs, or for none. */
static bool asks_alike(const struct prove *prove, const struct item *item, const struct answer_run *asked)
{
	bool needs = item->rule && rule_rate(item->rule);

	if (!needs || !asked)
		return !needs && !asked;
	return asked->rate == spec_rate(prove, item->rule) && asked->slot == spec_slot(prove, item->rule);
}

bool item_is(struct prove *prove, const struct items *items, const struct item *item, const struct answer_run *asked,
	     const struct answer_run *run)
{
	const struct effect *effects = NULL;
	size_t count = 0;

	if (!asks_alike(prove, item, asked) || !ends_alike(prove, items, item, run))
		return false;
	if (item->rule)
		effects = spec_effects(prove, item->rule, item->decides, &count);
	return run->effect_count == count && (!count || !memcmp(run->effects, effects, count * sizeof *effects));
}
