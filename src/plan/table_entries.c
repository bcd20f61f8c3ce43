/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entries: rules in the form of tables. In: the tests of all rules; out: for IPv4 and for IPv6 a list of entries, chains
 * laid out where they are jumped to, each under the conditions of the jumps that lead to it. A rule that does not end the
 * judging is answered by steps whose last resumes at the next order; `return` and the end of a `goto` resume at an order
 * further on. What is not IP is judged by a list, which also answers the questions of entries.
 */
#include "plan/table.h"

enum { STRIDE_MAX = 4096, SITES_RULE = 4, SITES_LEAST = 200000 };
static const uint32_t orders_max = 0x78000000; /* below TABLE_GOES_ON */

/* A place that steps resume at, known once it is reached. */
typedef uint32_t label;

struct laying {
	struct table_work *table;
	struct table_family *family;
	uint64_t number;                               /* of the family */
	uint32_t site;                                 /* of the rule being laid, if rules have orders by their sites */
	VEC(uint32_t) places;                          /* by label: order */
	VEC(struct { size_t step; label to; uint32_t from; }) resumes;
};

/* A chain that is being laid out. */
struct frame {
	const struct chain *chain;
	struct boxes boxes; /* the packets that get here */
	label end;
	bool main;
};

static label new_label(struct laying *laying)
{
	VEC_PUSH(laying->table->work->arena, &laying->places) = 0;
	return (label)laying->places.count - 1;
}

static uint32_t code_of(const struct laying *laying, uint32_t answer)
{
	return laying->table->answers->codes.items[answer];
}

static void enter(struct laying *laying, const struct boxes *boxes, uint32_t order, uint32_t answer, bool ends)
{
	for (size_t i = 0; i < boxes->count; i++)
		boxes_enter(laying->table, laying->family, &boxes->items[i], order, code_of(laying, answer), ends);
}

static void add_resume_step(struct laying *laying, label to)
{
	struct table_work *table = laying->table;

	VEC_PUSH(table->work->arena, &laying->resumes).step = table->answers->steps.count;
	laying->resumes.items[laying->resumes.count - 1].to = to;
	laying->resumes.items[laying->resumes.count - 1].from = table->order;
	answers_step(table->answers, (struct step){ .kind = STEP_RESUME });
	table->resumes = true;
}

/*
 * The run from `first` on is what the rule (NULL: none) does; if it needs a token and there is none, judging goes on at
 * `without`.
 */
static void enter_run(struct laying *laying, const struct boxes *boxes, const struct rule *rule, size_t first, bool ends,
		      label without)
{
	struct table_work *table = laying->table;

	if (rule && rule_rate(rule)) {
		answers_otherwise(table->answers, first);
		add_resume_step(laying, without);
		ends = false;
	}
	enter(laying, boxes, table->order++, answers_run(table->answers, first, rule ? rule->number : 0), ends);
}

/* The rule acts, and judging goes on at `to`, or without a token at `without`. */
static void enter_resume(struct laying *laying, const struct boxes *boxes, const struct rule *rule, label to,
			 label without)
{
	size_t first = laying->table->answers->steps.count;

	if (rule)
		answers_rule_steps(laying->table->answers, rule);
	add_resume_step(laying, to);
	enter_run(laying, boxes, rule, first, false, without);
}

/* --- sites ------------------------------------------------------------------------------------------------------ */

static const struct action *jump_of(const struct rule *rule)
{
	const struct action *action = rule_terminal(rule);

	return action && (action->kind == ACTION_JUMP || action->kind == ACTION_GOTO) ? action : NULL;
}

static bool is_hidden(const struct table_work *table, const struct rule *rule)
{
	return rule->number > ruleset_shown(table->work->ruleset);
}

/* How many the rule takes: one, and those of the chain that it leads to. */
static uint32_t rule_sites(const struct table_work *table, const struct rule *rule)
{
	const struct action *jump = jump_of(rule);

	return !is_hidden(table, rule) + (jump ? table->chain_sites[jump->chain] : 0);
}

static bool by_sites(const struct laying *laying)
{
	return laying->table->stride && !laying->table->orders;
}

/* What is judged next has the order of the next site. */
static void next_site(struct laying *laying)
{
	if (by_sites(laying))
		laying->table->order = ++laying->site * laying->table->stride;
}

/* Hidden rules are in front of the first site. */
static void place_rule(struct laying *laying, const struct rule *rule)
{
	struct table_work *table = laying->table;

	if (table->orders)
		table->order = table->orders[rule->number];
	else if (by_sites(laying))
		table->order = is_hidden(table, rule) ? rule->number - ruleset_shown(table->work->ruleset) :
							laying->site * table->stride;
}

/* --- rules ------------------------------------------------------------------------------------------------------ */

static void lay_chain(struct laying *laying, const struct frame *frame);

static void place(struct laying *laying, label at)
{
	laying->places.items[at] = laying->table->order;
}

static void lay_jump(struct laying *laying, const struct frame *frame, const struct rule *rule,
		     const struct boxes *boxes)
{
	const struct action *action = rule_terminal(rule);
	label body = new_label(laying);
	struct frame inner = {
		.chain = &laying->table->work->ruleset->chains[action->chain],
		.boxes = *boxes,
		.end = new_label(laying),
	};
	label after = new_label(laying);

	enter_resume(laying, boxes, rule, body, after);
	place(laying, body);
	lay_chain(laying, &inner);
	next_site(laying);
	place(laying, inner.end);
	if (action->kind == ACTION_GOTO)
		enter_resume(laying, boxes, NULL, frame->end, frame->end);
	place(laying, after);
}

/* The rule acts, and the default decides. */
static void lay_return_to_default(struct laying *laying, const struct rule *rule, const struct boxes *boxes,
				  label without)
{
	struct answers *answers = laying->table->answers;
	size_t first = answers->steps.count;

	answers_rule_steps(answers, rule);
	answers_step(answers, (struct step){ .kind = STEP_VERDICT, .slot = SLOT_DEFAULT,
					     .a = (uint32_t)laying->table->work->ruleset->default_verdict });
	enter_run(laying, boxes, rule, first, true, without);
}

static void lay_return(struct laying *laying, const struct frame *frame, const struct rule *rule,
		       const struct boxes *boxes)
{
	label next = new_label(laying);

	if (frame->main)
		lay_return_to_default(laying, rule, boxes, next);
	else
		enter_resume(laying, boxes, rule, frame->end, next);
	place(laying, next);
}

static void lay_plain(struct laying *laying, const struct rule *rule, const struct boxes *boxes)
{
	size_t first = laying->table->answers->steps.count;
	label next;

	if (rule_terminal(rule) && !rule_rate(rule)) {
		enter(laying, boxes, laying->table->order++, answers_rule(laying->table->answers, rule), true);
		return;
	}
	next = new_label(laying);
	if (rule_terminal(rule)) {
		answers_rule_steps(laying->table->answers, rule);
		enter_run(laying, boxes, rule, first, true, next);
	} else {
		enter_resume(laying, boxes, rule, next, next);
	}
	place(laying, next);
}

static void lay_rule(struct laying *laying, const struct frame *frame, const struct rule *rule)
{
	struct work *work = laying->table->work;
	const struct action *terminal = rule_terminal(rule);
	const struct test *test = test_assume(work, work->tests[rule->number], dims_family(work), laying->number,
					      laying->number);
	struct boxes boxes = test == &test_always ? frame->boxes : (struct boxes){ 0 };

	if (test == &test_never)
		return;
	if (test != &test_always)
		boxes = boxes_meet(laying->table, &frame->boxes, test);
	if (!boxes.count)
		return;
	place_rule(laying, rule);
	switch (terminal ? terminal->kind : ACTION_COUNT) {
	case ACTION_JUMP:
	case ACTION_GOTO:
		lay_jump(laying, frame, rule, &boxes);
		return;
	case ACTION_RETURN:
		lay_return(laying, frame, rule, &boxes);
		return;
	default:
		lay_plain(laying, rule, &boxes);
	}
}

static void lay_chain(struct laying *laying, const struct frame *frame)
{
	for (size_t i = 0; i < frame->chain->rule_count && !laying->table->refused; i++) {
		const struct rule *rule = &frame->chain->rules[i];
		uint32_t last = by_sites(laying) ? laying->site + rule_sites(laying->table, rule) : 0;

		laying->site += by_sites(laying) && !is_hidden(laying->table, rule);
		lay_rule(laying, frame, rule);
		laying->site = last;
	}
}

/* --- families --------------------------------------------------------------------------------------------------- */

/* Steps get the orders they resume at. */
static void resolve(struct laying *laying)
{
	for (size_t i = 0; i < laying->resumes.count; i++)
		laying->table->answers->steps.items[laying->resumes.items[i].step].a =
			laying->places.items[laying->resumes.items[i].to];
}

/* Counted in sites, if orders are given by them. */
static uint32_t step_of(const struct laying *laying, uint32_t order, bool next)
{
	uint32_t stride = by_sites(laying) ? laying->table->stride : 1;

	return (order + (next ? stride - 1 : 0)) / stride;
}

/* An entry that a step jumps over hides nothing. */
static void find_jumped(struct laying *laying)
{
	struct table_work *table = laying->table;
	int32_t *over = ARENA_ARRAY(table->work->arena, int32_t, (size_t)step_of(laying, table->order, true) + 3);
	int32_t open = 0;
	uint32_t step = 0;

	for (size_t i = 0; i < laying->resumes.count; i++) {
		over[step_of(laying, laying->resumes.items[i].from, false) + 1]++;
		over[step_of(laying, laying->places.items[laying->resumes.items[i].to], true)]--;
	}
	for (size_t i = 0; i < laying->family->entries.count; i++) {
		struct table_entry *entry = &laying->family->entries.items[i];

		while (step <= step_of(laying, entry->order, false))
			open += over[step++];
		entry->ends &= !open;
	}
}

void entries_lay(struct table_work *table, struct table_family *family)
{
	struct laying laying = { .table = table, .family = family, .number = family->six ? FAMILY_IPV6 : FAMILY_IPV4 };
	struct frame frame = { .chain = &table->work->ruleset->chains[0], .main = true, .boxes = boxes_all(table) };

	frame.end = new_label(&laying);
	table->order = 1;
	lay_chain(&laying, &frame);
	if (table->orders)
		table->order = table->orders[ruleset_shown(table->work->ruleset)] + table->stride;
	next_site(&laying);
	place(&laying, frame.end);
	resolve(&laying);
	if (table->work->ruleset->chain_count > 1)
		find_jumped(&laying);
}

/* --- orders ----------------------------------------------------------------------------------------------------- */

/* How many sites each chain takes; chains lead to no chain that leads to them. */
static uint64_t count_sites(const struct table_work *table, uint32_t chain, uint32_t *counts)
{
	const struct chain *from = &table->work->ruleset->chains[chain];
	uint64_t count = 1;

	for (size_t i = 0; i < from->rule_count && !counts[chain] && count < orders_max; i++) {
		const struct action *jump = jump_of(&from->rules[i]);

		count += !is_hidden(table, &from->rules[i]) + (jump ? count_sites(table, jump->chain, counts) : 0);
	}
	if (!counts[chain])
		counts[chain] = count < orders_max ? (uint32_t)count : orders_max;
	return counts[chain];
}

static void list_sites(struct table_work *table, uint32_t chain, uint32_t jump)
{
	const struct chain *from = &table->work->ruleset->chains[chain];
	struct arena *arena = table->work->arena;

	for (size_t i = 0; i < from->rule_count; i++) {
		const struct action *action = jump_of(&from->rules[i]);

		if (is_hidden(table, &from->rules[i]))
			continue;
		VEC_PUSH(arena, &table->sites) = (struct table_site){ from->rules[i].number, jump, chain, 0 };
		if (action)
			list_sites(table, action->chain, (uint32_t)table->sites.count);
	}
	VEC_PUSH(arena, &table->sites) = (struct table_site){ 0, jump, chain, 0 };
}

/*
 * Sites get orders with room between them, for rules that come later. Hidden rules, whose numbers come last, are in front of them
 * all. Chains that are jumped to from everywhere would make too many.
 */
static void give_orders(struct table_work *table)
{
	const struct ruleset *ruleset = table->work->ruleset;
	uint32_t *counts = ARENA_ARRAY(table->work->arena, uint32_t, ruleset->chain_count);
	uint64_t sites = count_sites(table, 0, counts);
	uint32_t stride = orders_max / ((uint32_t)sites + 1);

	if (sites > SITES_LEAST + (uint64_t)ruleset->rule_count * SITES_RULE)
		return;
	stride = stride < STRIDE_MAX ? stride : STRIDE_MAX;
	if (ruleset->hidden_count >= stride / 2)
		return;
	table->stride = stride;
	table->chain_sites = counts;
	table->site_count = (uint32_t)sites;
	if (ruleset->chain_count > 1)
		list_sites(table, 0, 0);
}

/* --- what classify_rest() does ---------------------------------------------------------------------------------- */

static void add_item(struct table_work *table, const struct test *test, uint32_t answer, uint32_t resume)
{
	VEC_PUSH(table->work->arena, &table->items) =
		(struct list_item){ .test = test, .answers = true, .answer = answer, .resume = resume };
}

static uint32_t add_code(struct table_work *table, uint32_t code)
{
	VEC_PUSH(table->work->arena, &table->answers->codes) = code;
	VEC_PUSH(table->work->arena, &table->answers->rules) = 0;
	return (uint32_t)table->answers->codes.count - 1;
}

uint32_t table_question(const struct table_work *table, uint64_t rest)
{
	return table->questions + 2 * (uint32_t)rest;
}

const char *table_asks(const struct work *work, const struct test *test, struct table_name *ret_name)
{
	const struct dim *dim = test->kind == TEST_IN ? &work->dims.items[test->in.dim] : NULL;
	int32_t set = dim && dim->kind == DIM_SET ? work->sets.items[dim->set].named : -1;

	if (set < 0)
		return NULL;
	*ret_name = (struct table_name){ .kind = TABLE_QUESTION, .field = (uint8_t)dim->field,
					 .value = (uint8_t)test->in.intervals[0].lo };
	return work->ruleset->sets[set].name;
}

/* What any rule asks of a named set, a rule that comes later may ask, or the opposite. */
static void ask_of_sets(struct table_work *table)
{
	struct work *work = table->work;

	for (uint32_t i = 0; i < work->dims.count; i++)
		if (work->dims.items[i].kind == DIM_SET && work->sets.items[work->dims.items[i].set].named >= 0)
			for (uint64_t value = 0; value < 2; value++)
				boxes_question(table, test_between(work, i, value, value));
}

/* Each question is two items: yes if the test holds, else no. */
static void add_questions(struct table_work *table)
{
	table->questions = (uint32_t)table->items.count + 1;
	if (table->stride)
		ask_of_sets(table);
	if (!table->rests.count)
		return;
	table->yes = add_code(table, TABLE_YES);
	table->no = add_code(table, 0);
	for (size_t i = 0; i < table->rests.count; i++) {
		add_item(table, table->rests.items[i], table->yes, (uint32_t)table->items.count + 1);
		add_item(table, NULL, table->no, 0);
	}
	for (size_t i = 1; i < table->extras.count; i++)
		if (table->extras.items[i].word == TABLE_REST)
			table->extras.items[i].lo = table_question(table, table->extras.items[i].lo);
}

void entries_build(struct table_work *table, struct plan *plan)
{
	uint32_t order;

	table->families[1].six = true;
	give_orders(table);
	entries_lay(table, &table->families[0]);
	order = table->order;
	if (!table->refused)
		entries_lay(table, &table->families[1]);
	if (table->order < order)
		table->order = order;
	if (table->refused)
		return;
	if (!list_build_other(table->work, table->answers, plan))
		table->refused = "the rules for what is not IP are too many";
	for (size_t i = 0; i < plan->item_count; i++)
		VEC_PUSH(table->work->arena, &table->items) = plan->items[i];
	add_questions(table);
}
