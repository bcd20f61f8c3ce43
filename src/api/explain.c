/* SPDX-License-Identifier: GPL-2.0-only */
/* Which rule decides about a packet, and why each rule before it did not. */
#include <net/if.h>
#include <string.h>

#include "api/api.h"
#include "ir/explain.h"
#include "ir/packet_build.h"

struct explaining {
	struct weir_program *program;
	const char *policy, *hook, *packet;
	const struct weir_explanation *explanation;
};

/* Lines are asked for nearly in the order of the text, which may have 100,000 of them. */
struct cursor {
	const struct source *source;
	uint32_t offset;
	struct position at;
};

static struct position cursor_move(struct cursor *cursor, struct span span)
{
	if (!span.source)
		return (struct position){ 0, 0 };
	if (cursor->source != span.source || cursor->offset > span.offset)
		*cursor = (struct cursor){ span.source, 0, { 1, 1 } };
	for (; cursor->offset < span.offset; cursor->offset++) {
		bool newline = span.source->text[cursor->offset] == '\n';

		cursor->at.line += newline;
		cursor->at.column = newline ? 1 : cursor->at.column + 1;
	}
	return cursor->at;
}

static const char *iface_name(void *context, struct arena *arena, uint32_t index)
{
	char name[IF_NAMESIZE];

	(void)context;
	return if_indextoname(index, name) ? arena_strndup(arena, name, strlen(name)) : NULL;
}

static const struct source *packet_source(struct arena *arena, const char *text)
{
	struct source *source = ARENA_NEW(arena, struct source);

	source->name = "packet";
	source->length = strlen(text);
	source->text = arena_strndup(arena, text, source->length);
	return source;
}

/* A policy on one interface sees packets of that one. */
static void add_iface(const struct ruleset *ruleset, enum hook hook, struct model_fields *fields)
{
	enum field field = hook_table[hook].direction == DIRECTION_INGRESS ? FIELD_IN_IFACE : FIELD_OUT_IFACE;

	if (hook_table[hook].target != TARGET_IFACE || fields->has[field])
		return;
	for (size_t i = 0; i < ruleset->attach_count; i++) {
		unsigned index = ruleset->attaches[i].hook == hook ? if_nametoindex(ruleset->attaches[i].target) : 0;

		if (!index)
			continue;
		fields->has[field] = true;
		fields->value[field] = index;
		return;
	}
}

static int read_packet(struct call *call, const struct explaining *explaining, const struct ruleset *ruleset,
		       enum hook hook, struct model_packet *ret_packet)
{
	const struct source *source = packet_source(call->arena, explaining->packet);
	struct model_fields fields;
	const char *wrong;

	if (lang_packet(call->arena, source, hook, ruleset, &names_system, call->diags, &fields))
		return WEIR_INPUT;
	add_iface(ruleset, hook, &fields);
	wrong = packet_build(call->arena, hook, &fields, ret_packet);
	if (!wrong)
		return WEIR_OK;
	diag_error(call->diags, (struct span){ source, 0, (uint32_t)source->length }, "%s", wrong);
	return WEIR_INPUT;
}

static const char *chain_name(const struct ruleset *ruleset, const struct rule *rule)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		if (rule >= ruleset->chains[i].rules && rule < ruleset->chains[i].rules + ruleset->chains[i].rule_count)
			return ruleset->chains[i].name;
	return "";
}

/* What all rules are explained from. */
struct telling {
	struct arena *arena;
	const struct ruleset *ruleset;
	const struct model_trace *trace;
	struct cursor cursor;
};

static void explain_cond(struct telling *telling, const struct cond *cond, struct weir_explained_rule *to)
{
	const struct explain_names names = { .iface = iface_name };
	struct explanation explanation =
		cond_explain(telling->arena, telling->ruleset, &telling->trace->fields, &names, cond);
	struct position at = cursor_move(&telling->cursor, explanation.words);

	to->words = span_fold(telling->arena, explanation.words);
	to->facts = explanation.facts;
	to->words_line = at.line;
	to->words_column = at.column;
}

static void explain_visit(struct telling *telling, const struct model_visit *visit, struct weir_explained_rule *to)
{
	const struct rule *rule = visit->rule;

	to->number = rule->number;
	to->file = rule->span.source ? rule->span.source->name : NULL;
	to->line = cursor_move(&telling->cursor, rule->span).line;
	to->text = span_fold(telling->arena, rule->span);
	to->chain = chain_name(telling->ruleset, rule);
	to->matched = visit->holds;
	to->acted = visit->applies;
	to->words = to->facts = "";
	if (rule_rate(rule) && visit->applies)
		to->rate = span_fold(telling->arena, rule->actions[0].span);
	for (size_t i = 0; i < rule->action_count && visit->applies; i++)
		if (rule->actions[i].kind == ACTION_THROTTLE)
			to->throttle = span_fold(telling->arena, rule->actions[i].span);
	if (rule->cond)
		explain_cond(telling, rule->cond, to);
}

static const struct weir_explained_rule *explain_visits(struct call *call, const struct ruleset *ruleset,
							const struct model_trace *trace)
{
	struct telling telling = { .arena = call->arena, .ruleset = ruleset, .trace = trace };
	struct weir_explained_rule *rules = ARENA_ARRAY(call->arena, struct weir_explained_rule, trace->visit_count);

	for (size_t i = 0; i < trace->visit_count; i++)
		explain_visit(&telling, &trace->visits[i], &rules[i]);
	return rules;
}

static int explain(struct call *call, void *context)
{
	struct explaining *explaining = context;
	struct weir_explanation *explanation = ARENA_NEW(call->arena, struct weir_explanation);
	const struct ruleset *ruleset;
	struct model_packet packet;
	struct model_trace trace;
	enum hook hook;
	int status = api_select(call, explaining->program, explaining->policy, explaining->hook, &ruleset, &hook);

	if (!status)
		status = read_packet(call, explaining, ruleset, hook, &packet);
	if (status)
		return status;
	model_trace(call->arena, ruleset, hook, &packet, &trace);
	*explanation = (struct weir_explanation){
		.policy = ruleset->name,
		.hook = hook_table[hook].name,
		.packet = packet_print(call->arena, hook, &packet, ruleset),
		.verdict = verdict_name(trace.result.verdict),
		.rule = trace.result.rule,
		.mark = trace.result.mark,
		.rules = explain_visits(call, ruleset, &trace),
		.rule_count = trace.visit_count,
	};
	explaining->explanation = explanation;
	return WEIR_OK;
}

WEIR_EXPORT int weir_explain(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
			     const char *packet, const struct weir_explanation **ret_explanation)
{
	struct explaining explaining = { program, policy, hook, packet, NULL };
	int status = api_call(weir, program->arena, false, explain, &explaining);

	if (!status)
		*ret_explanation = explaining.explanation;
	return status;
}
