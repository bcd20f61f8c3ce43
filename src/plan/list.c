/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The list form, for what is too big for a diagram: a straight program, with chains laid out where they are jumped
 * to. In: the tests of all rules; out: items whose jumps go forward. IPv4, IPv6 and other frames have a program each,
 * so that none pays for rules that it cannot meet. Fails with a diagnostic if it becomes too long.
 */
#include <errno.h>

#include "plan/work.h"

/* A place that items go to and steps resume at, known once it is laid out. */
typedef uint32_t label;

/* Whether a chain leaves frames alone that are not IP and do not come by a rule that names the link layer. */
enum idle { IDLE_UNKNOWN, IDLE_YES, IDLE_NO };

struct list {
	struct work *work;
	struct answers *answers;
	VEC(struct list_item) items;
	VEC(uint32_t) places;                                /* by label: item index */
	VEC(struct { uint32_t item; label to; }) jumps;
	VEC(struct { size_t step; label to; }) resumes;
	uint8_t *idle;     /* by chain: enum idle */
	uint64_t family_lo, family_hi; /* of the program that is being laid out */
	bool ip;
	const struct chain *too_long; /* the chain in which the limit was reached */
};

/* A chain that is being laid out. */
struct frame {
	const struct chain *chain;
	label end;
	bool named; /* a rule that led here names the link layer */
	bool main;
};

static struct list_item *add_item(struct list *list, const struct frame *frame, const struct test *test,
				  uint32_t rule)
{
	struct list_item *item;

	if (list->items.count >= PLAN_LIST_MAX && !list->too_long)
		list->too_long = frame->chain;
	if (list->too_long) /* from here on the last item is written over and over */
		list->items.count--;
	item = &VEC_PUSH(list->work->arena, &list->items);
	*item = (struct list_item){ .test = test == &test_always ? NULL : test, .rule = rule };
	return item;
}

static void add_answer(struct list *list, const struct frame *frame, const struct test *test, uint32_t answer,
		       uint32_t rule)
{
	struct list_item *item = add_item(list, frame, test, rule);

	item->answers = true;
	item->answer = answer;
}

static label new_label(struct list *list)
{
	VEC_PUSH(list->work->arena, &list->places) = 0;
	return (label)list->places.count - 1;
}

/* The label means the next item. */
static void place(struct list *list, label at)
{
	list->places.items[at] = (uint32_t)list->items.count;
}

static void add_jump(struct list *list, const struct frame *frame, const struct test *test, label to, uint32_t rule)
{
	add_item(list, frame, test, rule);
	VEC_PUSH(list->work->arena, &list->jumps).item = (uint32_t)list->items.count - 1;
	list->jumps.items[list->jumps.count - 1].to = to;
}

static void add_resume_step(struct list *list, label to)
{
	VEC_PUSH(list->work->arena, &list->resumes).step = list->answers->steps.count;
	list->resumes.items[list->resumes.count - 1].to = to;
	answers_step(list->answers, (struct step){ .kind = STEP_RESUME });
}

/* The run from `first` on is what the rule does; if it needs a token and there is none, judging goes on at `without`. */
static void add_run(struct list *list, const struct frame *frame, const struct test *test, const struct rule *rule,
		    size_t first, label without)
{
	if (rule_rate(rule)) {
		answers_otherwise(list->answers, first);
		add_resume_step(list, without);
	}
	add_answer(list, frame, test, answers_run(list->answers, first, 0), rule->number);
}

/* The rule acts, and judging goes on at `to`, or without a token at `without`. */
static void add_resume(struct list *list, const struct frame *frame, const struct test *test,
		       const struct rule *rule, label to, label without)
{
	size_t first = list->answers->steps.count;

	answers_rule_steps(list->answers, rule);
	add_resume_step(list, to);
	add_run(list, frame, test, rule, first, without);
}

/* The rule acts, and the default decides. */
static void add_return_to_default(struct list *list, const struct frame *frame, const struct test *test,
				  const struct rule *rule, label without)
{
	const struct ruleset *ruleset = list->work->ruleset;
	size_t first = list->answers->steps.count;

	answers_rule_steps(list->answers, rule);
	answers_step(list->answers, (struct step){ .kind = STEP_VERDICT, .slot = SLOT_DEFAULT,
						   .a = (uint32_t)ruleset->default_verdict });
	add_run(list, frame, test, rule, first, without);
}

/* --- rules ---------------------------------------------------------------------------------------------- */

static void lay_chain(struct list *list, const struct frame *frame);

static void lay_jump(struct list *list, const struct frame *frame, const struct rule *rule, const struct test *test,
		     bool acts)
{
	const struct action *action = rule_terminal(rule);
	label after = new_label(list), body = new_label(list);
	struct frame inner = {
		.chain = &list->work->ruleset->chains[action->chain],
		.end = new_label(list),
		.named = frame->named || rule->names_link,
	};

	if (test != &test_always)
		add_jump(list, frame, test_not(list->work, test), after, rule->number);
	if (acts)
		add_resume(list, frame, &test_always, rule, body, after);
	place(list, body);
	lay_chain(list, &inner);
	place(list, inner.end);
	if (action->kind == ACTION_GOTO)
		add_jump(list, frame, &test_always, frame->end, rule->number);
	place(list, after);
}

static void lay_return(struct list *list, const struct frame *frame, const struct rule *rule, const struct test *test,
		       bool acts)
{
	label next = new_label(list);

	if (!acts)
		add_jump(list, frame, test, frame->end, rule->number);
	else if (frame->main && list->ip)
		add_return_to_default(list, frame, test, rule, next);
	else
		add_resume(list, frame, test, rule, frame->end, next);
	place(list, next);
}

static void lay_plain(struct list *list, const struct frame *frame, const struct rule *rule, const struct test *test)
{
	size_t first = list->answers->steps.count;
	label next;

	if (rule_terminal(rule) && !rule_rate(rule)) {
		add_answer(list, frame, test, answers_rule(list->answers, rule), rule->number);
		return;
	}
	next = new_label(list);
	if (rule_terminal(rule)) {
		answers_rule_steps(list->answers, rule);
		add_run(list, frame, test, rule, first, next);
	} else {
		add_resume(list, frame, test, rule, next, next);
	}
	place(list, next);
}

/* Nothing in the chain names the link layer, neither here nor further on. */
static bool is_idle(struct list *list, uint32_t chain)
{
	const struct chain *from = &list->work->ruleset->chains[chain];
	bool idle = true;

	if (list->idle[chain] != IDLE_UNKNOWN)
		return list->idle[chain] == IDLE_YES;
	for (size_t i = 0; i < from->rule_count && idle; i++) {
		const struct action *terminal = rule_terminal(&from->rules[i]);

		idle = !from->rules[i].names_link;
		if (idle && terminal && (terminal->kind == ACTION_JUMP || terminal->kind == ACTION_GOTO))
			idle = is_idle(list, terminal->chain);
	}
	list->idle[chain] = idle ? IDLE_YES : IDLE_NO;
	return idle;
}

static void lay_rule(struct list *list, const struct frame *frame, const struct rule *rule)
{
	const struct action *terminal = rule_terminal(rule);
	bool acts = list->ip || frame->named || rule->names_link;
	const struct test *test = test_assume(list->work, list->work->tests[rule->number], dims_family(list->work),
					      list->family_lo, list->family_hi);

	if (test == &test_never)
		return;
	switch (terminal ? terminal->kind : ACTION_COUNT) {
	case ACTION_JUMP:
	case ACTION_GOTO:
		if (acts || !is_idle(list, terminal->chain))
			lay_jump(list, frame, rule, test, acts);
		else if (terminal->kind == ACTION_GOTO)
			lay_return(list, frame, rule, test, acts);
		return;
	case ACTION_RETURN:
		lay_return(list, frame, rule, test, acts);
		return;
	default:
		if (acts)
			lay_plain(list, frame, rule, test);
	}
}

static void lay_chain(struct list *list, const struct frame *frame)
{
	for (size_t i = 0; i < frame->chain->rule_count && !list->too_long; i++)
		lay_rule(list, frame, &frame->chain->rules[i]);
}

/* --- programs ------------------------------------------------------------------------------------------- */

static void lay_default(struct list *list, const struct frame *frame)
{
	const struct ruleset *ruleset = list->work->ruleset;
	uint32_t family = dims_family(list->work);

	if (!list->ip && ruleset->non_ip_accept) {
		add_answer(list, frame, &test_always, answers_non_ip(list->answers), 0);
		return;
	}
	if (!list->ip && hook_table[list->work->hook].frames)
		add_answer(list, frame, test_between(list->work, family, FAMILY_EXEMPT, FAMILY_EXEMPT),
			   answers_non_ip(list->answers), 0);
	add_answer(list, frame, &test_always, answers_default(list->answers), 0);
}

static void lay_program(struct list *list, uint64_t family_lo, uint64_t family_hi)
{
	struct frame frame = { .chain = &list->work->ruleset->chains[0], .end = new_label(list), .main = true };

	list->family_lo = family_lo;
	list->family_hi = family_hi;
	list->ip = family_lo >= FAMILY_IPV4;
	if (list->ip || !is_idle(list, 0))
		lay_chain(list, &frame);
	place(list, frame.end);
	lay_default(list, &frame);
}

/* Whether IPv4 and IPv6 meet different tests. */
static bool families_differ(const struct list *list)
{
	uint32_t family = dims_family(list->work);

	for (uint32_t rule = 1; rule <= list->work->ruleset->rule_count; rule++) {
		const struct test *test = list->work->tests[rule];

		if (test_looks_at(test, family) &&
		    test_looks_at(test_assume(list->work, test, family, FAMILY_IPV4, FAMILY_IPV6), family))
			return true;
	}
	return false;
}

static void lay_all(struct list *list)
{
	const struct frame start = { .chain = &list->work->ruleset->chains[0] };
	uint32_t family = dims_family(list->work);
	bool differ = families_differ(list);
	label other = new_label(list), second = new_label(list);

	add_jump(list, &start, test_between(list->work, family, 0, FAMILY_IPV4 - 1), other, 0);
	if (differ) {
		add_jump(list, &start, test_between(list->work, family, FAMILY_IPV4 + 1, FAMILY_MAX), second, 0);
		lay_program(list, FAMILY_IPV4, FAMILY_IPV4);
		place(list, second);
		lay_program(list, FAMILY_IPV6, FAMILY_IPV6);
	} else {
		lay_program(list, FAMILY_IPV4, FAMILY_IPV6);
	}
	place(list, other);
	lay_program(list, FAMILY_OTHER, FAMILY_EXEMPT);
}

/* Fills in what was not known yet. An item is resumed at by its index + 1. */
static void resolve(struct list *list)
{
	for (size_t i = 0; i < list->jumps.count; i++)
		list->items.items[list->jumps.items[i].item].target = list->places.items[list->jumps.items[i].to];
	for (size_t i = 0; i < list->resumes.count; i++) {
		uint32_t at = list->places.items[list->resumes.items[i].to];

		list->items.items[at].resume = at + 1;
		list->answers->steps.items[list->resumes.items[i].step].a = at + 1;
	}
}

int list_build(struct work *work, struct answers *answers, struct plan *plan)
{
	struct list list = { .work = work, .answers = answers };

	list.idle = ARENA_ARRAY(work->arena, uint8_t, work->ruleset->chain_count);
	lay_all(&list);
	if (list.too_long) {
		diag_error(work->diags, list.too_long->span,
			   "chain `%s` makes the list of tests longer than %d, with all chains laid out where they "
			   "are jumped to", list.too_long->name, PLAN_LIST_MAX);
		return -EINVAL;
	}
	resolve(&list);
	plan->dims = work->dims.items;
	plan->dim_count = work->dims.count;
	plan->items = list.items.items;
	plan->item_count = list.items.count;
	return 0;
}

bool list_build_other(struct work *work, struct answers *answers, struct plan *plan)
{
	struct list list = { .work = work, .answers = answers };

	list.idle = ARENA_ARRAY(work->arena, uint8_t, work->ruleset->chain_count);
	lay_program(&list, FAMILY_OTHER, FAMILY_EXEMPT);
	resolve(&list);
	plan->items = list.items.items;
	plan->item_count = list.items.count;
	return !list.too_long;
}
