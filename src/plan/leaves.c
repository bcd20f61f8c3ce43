/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Answers: what classify() returns. In: deciding rules and lists of matched rules; out: plain answers (a verdict and
 * a counter) where that says all, else runs of steps. Fails only as the arena does.
 */
#include "plan/work.h"

static const uint8_t answer_verdicts[] = {
	[VERDICT_ACCEPT] = ANSWER_ACCEPT, [VERDICT_DROP] = ANSWER_DROP, [VERDICT_REJECT] = ANSWER_REJECT,
};

static uint32_t slot_count(const struct ruleset *ruleset)
{
	return SLOT_RULES + ruleset_shown(ruleset) + (uint32_t)ruleset->counter_count;
}

void answers_init(struct answers *answers, struct work *work)
{
	*answers = (struct answers){ .work = work };
	answers->plain = ARENA_ARRAY(work->arena, uint32_t, slot_count(work->ruleset));
}

static uint32_t add_answer(struct answers *answers, uint32_t code, uint32_t rule)
{
	VEC_PUSH(answers->work->arena, &answers->codes) = code;
	VEC_PUSH(answers->work->arena, &answers->rules) = rule;
	return (uint32_t)answers->codes.count - 1;
}

/* A slot has one verdict, so one plain answer. */
uint32_t answers_verdict(struct answers *answers, enum verdict verdict, uint32_t slot)
{
	if (!answers->plain[slot])
		answers->plain[slot] = add_answer(answers, ANSWER(answer_verdicts[verdict], slot),
						  slot >= SLOT_RULES ? slot - SLOT_RULES + 1 : 0) + 1;
	return answers->plain[slot] - 1;
}

uint32_t answers_default(struct answers *answers)
{
	return answers_verdict(answers, answers->work->ruleset->default_verdict, SLOT_DEFAULT);
}

uint32_t answers_non_ip(struct answers *answers)
{
	return answers_verdict(answers, VERDICT_ACCEPT, SLOT_NON_IP);
}

void answers_step(struct answers *answers, struct step step)
{
	VEC_PUSH(answers->work->arena, &answers->steps) = step;
}

uint32_t answers_run(struct answers *answers, size_t first, uint32_t rule)
{
	return add_answer(answers, ANSWER_RUN(first), rule);
}

static bool is_verdict(const struct action *action)
{
	return action && action->kind == ACTION_VERDICT;
}

static void action_step(struct answers *answers, const struct rule *rule, const struct action *action, uint32_t log,
			uint32_t rate)
{
	const struct ruleset *ruleset = answers->work->ruleset;
	const struct action *terminal = rule_terminal(rule);
	struct step step = { .slot = SLOT_RULE(rule->number) };

	switch (action->kind) {
	case ACTION_RATE:
		step.kind = STEP_RATE;
		step.a = rate;
		break;
	case ACTION_THROTTLE:
		step.kind = STEP_THROTTLE;
		step.a = rate;
		break;
	case ACTION_COUNT:
		step.kind = STEP_COUNT;
		step.slot = SLOT_RULES + ruleset_shown(ruleset) + action->counter;
		break;
	case ACTION_LOG:
		step.kind = STEP_LOG;
		step.a = log;
		step.b = is_verdict(terminal) ? answer_verdicts[terminal->verdict] : LOG_ONLY;
		break;
	case ACTION_CAPTURE:
		step.kind = STEP_CAPTURE;
		step.a = action->snap;
		step.b = is_verdict(terminal) ? answer_verdicts[terminal->verdict] : LOG_ONLY;
		break;
	case ACTION_MARK:
		step = (struct step){ .kind = STEP_MARK, .a = action->mark.value, .b = action->mark.mask };
		break;
	case ACTION_ADD:
	case ACTION_REMOVE:
		step = (struct step){ .kind = action->kind == ACTION_ADD ? STEP_ADD : STEP_REMOVE,
				      .slot = action->change.set, .a = action->change.field,
				      .b = action->change.timeout_ms };
		break;
	case ACTION_KNOCK:
		step = (struct step){ .kind = STEP_KNOCK, .a = STEP_OF_KNOCK(action->knock.index, action->knock.step) };
		break;
	default:
		return;
	}
	answers_step(answers, step);
}

void answers_rule_steps(struct answers *answers, const struct rule *rule)
{
	const struct action *terminal = rule_terminal(rule);
	uint32_t log = answers->work->first_log[rule->number], rate = answers->work->first_rate[rule->number];

	for (size_t i = 0; i < rule->action_count; i++) {
		if (!rule->actions[i].left)
			action_step(answers, rule, &rule->actions[i], log, rate);
		log += rule->actions[i].kind == ACTION_LOG;
		rate += action_is_rated(&rule->actions[i]);
	}
	if (is_verdict(terminal))
		answers_step(answers, (struct step){ .kind = STEP_VERDICT, .slot = SLOT_RULE(rule->number),
						     .a = answer_verdicts[terminal->verdict] });
	else if (rule->number <= ruleset_shown(answers->work->ruleset))
		answers_step(answers, (struct step){ .kind = STEP_COUNT, .slot = SLOT_RULE(rule->number) });
}

void answers_otherwise(struct answers *answers, size_t first)
{
	answers->steps.items[first].b = (uint32_t)answers->steps.count;
}

uint32_t answers_rule(struct answers *answers, const struct rule *rule)
{
	size_t first = answers->steps.count;

	if (rule->action_count == 1)
		return answers_verdict(answers, rule->actions[0].verdict, SLOT_RULE(rule->number));
	answers_rule_steps(answers, rule);
	return answers_run(answers, first, rule->number);
}

static void end_steps(struct answers *answers, enum list_end end)
{
	const struct ruleset *ruleset = answers->work->ruleset;
	struct step step = { .kind = STEP_VERDICT, .slot = SLOT_DEFAULT,
			     .a = answer_verdicts[ruleset->default_verdict] };

	if (end == LIST_DECIDED) /* the last rule said so */
		return;
	if (end == LIST_NON_IP) {
		step.slot = SLOT_NON_IP;
		step.a = ANSWER_ACCEPT;
	}
	answers_step(answers, step);
}

static void list_steps(struct answers *answers, const struct diagrams *diagrams, uint32_t list);

/* Where to go on without a token: in the middle of what is there already, or behind it. */
static void otherwise_steps(struct answers *answers, const struct diagrams *diagrams, uint32_t otherwise,
			    size_t asking)
{
	if (otherwise >= LIST_ENDS && answers->starts[otherwise]) {
		answers->steps.items[asking].b = answers->starts[otherwise] - 1;
		return;
	}
	answers_otherwise(answers, asking);
	list_steps(answers, diagrams, otherwise);
}

/* Appends all steps of a list. */
static void list_steps(struct answers *answers, const struct diagrams *diagrams, uint32_t list)
{
	const struct list_cell *cells = diagrams->cells.items;
	VEC(struct { uint32_t list; size_t step; }) asking = { 0 };

	for (; list >= LIST_ENDS; list = cells[list].tail) {
		size_t first = answers->steps.count;

		answers->starts[list] = (uint32_t)first + 1;
		answers_rule_steps(answers, answers->work->rules[cells[list].rule]);
		if (cells[list].otherwise == LIST_NONE)
			continue;
		VEC_PUSH(answers->work->arena, &asking).list = cells[list].otherwise;
		asking.items[asking.count - 1].step = first;
	}
	end_steps(answers, (enum list_end)list);
	while (asking.count--)
		otherwise_steps(answers, diagrams, asking.items[asking.count].list, asking.items[asking.count].step);
}

/* The rule whose verdict ends the list, if that is the only way it can end. */
static uint32_t list_decider(const struct diagrams *diagrams, uint32_t list)
{
	const struct list_cell *cells = diagrams->cells.items;

	if (cells[list].ends != LIST_END(LIST_DECIDED))
		return 0;
	while (cells[list].tail != LIST_DECIDED && cells[list].otherwise == LIST_NONE)
		list = cells[list].tail;
	return cells[list].otherwise == LIST_NONE ? cells[list].rule : 0;
}

uint32_t answers_list(struct answers *answers, const struct diagrams *diagrams, uint32_t list)
{
	const struct list_cell *cells = diagrams->cells.items;
	size_t first = answers->steps.count;

	if (list < LIST_ENDS)
		return list == LIST_NON_IP ? answers_non_ip(answers) : answers_default(answers);
	if (cells[list].tail == LIST_DECIDED && cells[list].otherwise == LIST_NONE)
		return answers_rule(answers, answers->work->rules[cells[list].rule]);
	list_steps(answers, diagrams, list);
	return answers_run(answers, first, list_decider(diagrams, list));
}

void answers_finish(struct answers *answers, struct plan *plan)
{
	plan->answers = answers->codes.items;
	plan->answer_count = answers->codes.count;
	plan->answer_rules = answers->rules.items;
	plan->steps = answers->steps.items;
	plan->step_count = answers->steps.count;
	plan->slots = slot_count(answers->work->ruleset);
}
