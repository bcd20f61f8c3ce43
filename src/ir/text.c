/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rule set to text; docs/ir.md describes the form, parse_text.c reads it. In: a rule set that ruleset_check()
 * accepts. Out: text in the arena, the same for equal rule sets. Fails only as the arena does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ir/ir.h"
#include "ir/value_text.h"

struct printer {
	struct arena *arena;
	const struct ruleset *ruleset;
	VEC(char) text;
};

static void put(struct printer *printer, const char *text)
{
	for (; *text; text++)
		VEC_PUSH(printer->arena, &printer->text) = *text;
}

static void put_number(struct printer *printer, const char *before, uint64_t number)
{
	char digits[24];

	snprintf(digits, sizeof digits, "%" PRIu64, number);
	put(printer, before);
	put(printer, digits);
}

static void put_hex(struct printer *printer, const char *before, uint32_t number)
{
	char digits[16];

	snprintf(digits, sizeof digits, "0x%" PRIx32, number);
	put(printer, before);
	put(printer, digits);
}

/* Quoted; control characters as \xHH, so that a text is one line. */
static void put_string(struct printer *printer, const char *before, const char *string)
{
	char escaped[8];

	put(printer, before);
	put(printer, "\"");
	for (; *string; string++) {
		unsigned char c = (unsigned char)*string;

		if (c == '"' || c == '\\')
			snprintf(escaped, sizeof escaped, "\\%c", c);
		else if (c < ' ' || c == 127)
			snprintf(escaped, sizeof escaped, "\\x%02x", c);
		else
			snprintf(escaped, sizeof escaped, "%c", c);
		put(printer, escaped);
	}
	put(printer, "\"");
}

/* --- head ----------------------------------------------------------------------------------------------------- */

static const char *const verdict_names[] = { "accept", "drop", "reject" };
static const char *const classifier_names[] = { "auto", "diagram", "table", "list" };
static const char *const mode_names[] = { "any", "native", "generic", "offload" };

static void put_priority(struct printer *printer, int32_t priority)
{
	bool negative = priority < 0;

	put_number(printer, negative ? " priority -" : " priority ",
		   negative ? (uint64_t)-(int64_t)priority : (uint64_t)priority);
}

static void put_attach(struct printer *printer, const char *word, const struct attach *attach)
{
	put(printer, word);
	put(printer, hook_table[attach->hook].name);
	if (attach->target)
		put_string(printer, " ", attach->target);
	if (attach->priority != PRIORITY_DEFAULT)
		put_priority(printer, attach->priority);
	if (attach->xdp_mode != XDP_ANY) {
		put(printer, " mode ");
		put(printer, mode_names[attach->xdp_mode]);
	}
	put(printer, attach->optional ? " optional\n" : "\n");
}

static void put_flows(struct printer *printer, const struct flow_settings *flows)
{
	if (flows_used(printer->ruleset)) {
		put_number(printer, "\t# flows: room for ", flows_max(flows));
		put_number(printer, " assured ones and ", flows_fresh_max(flows_max(flows)));
		put_number(printer, " others takes ", flows_memory(flows) >> 10);
		put(printer, " KiB\n");
	}
	if (flows->max) {
		put_number(printer, "\tflows max ", flows->max);
		put(printer, "\n");
	}
	put(printer, flows->shared ? "\tflows shared\n" : "");
	for (int age = 0; age < AGE_COUNT; age++) {
		if (!flows->seconds[age])
			continue;
		put(printer, "\tflows timeout ");
		put(printer, flow_ages[age].name);
		put_number(printer, " ", flows->seconds[age]);
		put(printer, "\n");
	}
}

static void put_program(struct printer *printer, const char *before, const struct program *program)
{
	put_string(printer, before, program->path);
	put_number(printer, " ", program->device);
	put_number(printer, " ", program->inode);
	if (program->has_generation)
		put_number(printer, " generation ", program->generation);
	put(printer, "\n");
}

static void put_needs(struct printer *printer)
{
	struct state_needs needs = state_needs(printer->ruleset);

	if (needs.buckets || needs.flow_buckets) {
		put_number(printer, "\t# rates: room for ", (uint64_t)needs.buckets + needs.flow_buckets);
		put_number(printer, " buckets takes ", (state_memory(needs.buckets, BUCKET_STATE) +
							state_memory(needs.flow_buckets, FLOW_BUCKET_STATE)) >> 10);
		put(printer, " KiB\n");
	}
	if (needs.sets) {
		put_number(printer, "\t# sets: their room takes ", needs.sets >> 10);
		put(printer, " KiB\n");
	}
	if (needs.prefixes) {
		put_number(printer, "\t# sets: prefixes take up to ", needs.prefixes >> 10);
		put(printer, " KiB, as they come\n");
	}
	if (needs.knockers) {
		put_number(printer, "\t# knocks: room for ", needs.knockers);
		put_number(printer, " sources on their way and as many that are let in takes ",
			   2 * state_memory(needs.knockers, KNOCKER_STATE) >> 10);
		put(printer, " KiB\n");
	}
}

static void put_head(struct printer *printer)
{
	const struct ruleset *ruleset = printer->ruleset;

	put_string(printer, ruleset->expression ? "expression " : "policy ", ruleset->name);
	put(printer, " {\n");
	for (size_t i = 0; i < ruleset->attach_count; i++)
		put_attach(printer, "\tattach ", &ruleset->attaches[i]);
	for (size_t i = 0; i < ruleset->track_count; i++)
		put_attach(printer, "\ttrack ", &ruleset->tracks[i]);
	put(printer, ruleset->observe ? "\tobserve\n" : "");
	put(printer, "\tdefault ");
	put(printer, verdict_names[ruleset->default_verdict]);
	put(printer, ruleset->malformed_accept ? "\n\tmalformed accept\n" : "\n");
	put(printer, ruleset->non_ip_accept ? "\tnon_ip accept\n" : "");
	put_flows(printer, &ruleset->flows);
	put_needs(printer);
	if (ruleset->classifier != CLASSIFIER_AUTO) {
		put(printer, "\tclassifier ");
		put(printer, classifier_names[ruleset->classifier]);
		put(printer, "\n");
	}
	if (ruleset->cache != CACHE_AUTO)
		put(printer, ruleset->cache == CACHE_YES ? "\tcache yes\n" : "\tcache no\n");
	if (ruleset->captures_size) {
		put_number(printer, "\tcaptures ", ruleset->captures_size);
		put(printer, "\n");
	}
	for (size_t i = 0; i < ruleset->cgroup_level_count; i++)
		put_number(printer, i ? ", " : "\tcgroup_levels ", ruleset->cgroup_levels[i]);
	put(printer, ruleset->cgroup_level_count ? "\n" : "");
	for (size_t i = 0; i < ruleset->program_count; i++)
		put_program(printer, "\tprogram ", &ruleset->programs[i]);
	for (size_t i = 0; i < ruleset->root_count; i++)
		put_program(printer, "\ttree ", &ruleset->roots[i]);
	for (size_t i = 0; i < ruleset->tunable_count; i++) {
		put_string(printer, "\ttunable ", ruleset->tunables[i].name);
		put_number(printer, " ", ruleset->tunables[i].value);
		put(printer, ruleset->tunables[i].live ? " live\n" : "\n");
	}
	for (size_t i = 0; i < ruleset->counter_count; i++) {
		put_string(printer, "\tcounter ", ruleset->counters[i]);
		put(printer, "\n");
	}
}

/* --- sets ----------------------------------------------------------------------------------------------------- */

static void put_elements(struct printer *printer, struct value_format format, const struct range *ranges,
			 size_t count, const uint32_t *timeouts)
{
	char text[RANGE_TEXT_MAX];

	for (size_t i = 0; i < count; i++) {
		range_print(&format, ranges[i], text);
		put(printer, "\t\t");
		put(printer, text);
		if (timeouts && timeouts[i])
			put_number(printer, " timeout ", timeouts[i]);
		put(printer, "\n");
	}
}

static void put_set(struct printer *printer, const struct set *set)
{
	put_string(printer, "\tset ", set->name);
	put(printer, " ");
	put(printer, set_type_names[set->type]);
	put_number(printer, " max ", set->max_elements);
	if (set->timed)
		put_number(printer, " timeout ", set->timeout_ms);
	put(printer, set->shared ? " shared {\n" : " {\n");
	put_elements(printer, value_format_of(set_element_field(set->type)), set->ranges, set->count,
		     set->timeouts);
	put_elements(printer, value_format_of(FIELD_IPV6_SRC), set->ranges6, set->count6, set->timeouts6);
	put(printer, "\t}\n");
}

/* --- conditions ----------------------------------------------------------------------------------------------- */

static void put_ranges(struct printer *printer, const struct value_format *format, const struct range *ranges,
		       size_t count)
{
	char text[RANGE_TEXT_MAX];

	put(printer, " in {");
	for (size_t i = 0; i < count; i++) {
		range_print(format, ranges[i], text);
		put(printer, i ? ", " : "");
		put(printer, text);
	}
	put(printer, "}");
}

static void put_comparison(struct printer *printer, uint32_t number)
{
	const struct comparison *comparison = &printer->ruleset->comparisons[number - 1];

	put_string(printer, " by ", printer->ruleset->tunables[comparison->tunable].name);
	for (size_t i = 0; i < RELATION_COUNT; i++)
		if (comparison->relation >> i & 1) {
			put(printer, " ");
			put(printer, relation_names[i]);
		}
}

static void put_match(struct printer *printer, const struct cond *cond)
{
	struct value_format format = value_format_of(cond->match.field), mask_format = format;
	const struct range *first = cond->match.ranges;
	char text[RANGE_TEXT_MAX];

	put(printer, field_table[cond->match.field].name);
	if (cond->match.mask != u128_max(format.bits)) {
		mask_format.hexadecimal = true;
		value_print(&mask_format, cond->match.mask, text);
		put(printer, " & ");
		put(printer, text);
	}
	if (cond->match.count == 1 && first->lo == first->hi) {
		value_print(&format, first->lo, text);
		put(printer, " = ");
		put(printer, text);
	} else {
		put_ranges(printer, &format, first, cond->match.count);
	}
	if (cond->match.comparison && printer->ruleset->comparison_count)
		put_comparison(printer, cond->match.comparison);
}

static void put_cond(struct printer *printer, const struct cond *cond);

static void put_list(struct printer *printer, const char *word, const struct cond *const *items, size_t count)
{
	put(printer, word);
	for (size_t i = 0; i < count; i++) {
		put(printer, i ? ", " : "(");
		put_cond(printer, items[i]);
	}
	put(printer, ")");
}

static void put_cond(struct printer *printer, const struct cond *cond)
{
	switch (cond->kind) {
	case COND_TRUE:
		put(printer, "true");
		return;
	case COND_FALSE:
		put(printer, "false");
		return;
	case COND_AND:
		put_list(printer, "all", cond->list.items, cond->list.count);
		return;
	case COND_OR:
		put_list(printer, "any", cond->list.items, cond->list.count);
		return;
	case COND_NOT:
		put_list(printer, "not", &cond->inner, 1);
		return;
	case COND_MATCH:
		put_match(printer, cond);
		return;
	case COND_SET:
		put(printer, field_table[cond->set.field].name);
		put_string(printer, " in set ", printer->ruleset->sets[cond->set.set].name);
		return;
	}
}

/* --- rules ---------------------------------------------------------------------------------------------------- */

static void put_log(struct printer *printer, const struct action *action)
{
	put_string(printer, "log ", action->log.text);
	if (action->log.period_ns)
		put_number(printer, " every ", action->log.period_ns);
	if (action->log.burst)
		put_number(printer, " burst ", action->log.burst);
}

static void put_rate(struct printer *printer, const char *word, const struct rate *rate)
{
	put_number(printer, word, rate->amount);
	put(printer, " ");
	put(printer, rate_unit_names[rate->unit]);
	put_number(printer, " every ", rate->period_ns);
	put_number(printer, " burst ", rate->burst);
	if (rate->reserve)
		put_number(printer, " reserve ", rate->reserve);
	if (rate->key == RATE_KEY_NONE)
		return;
	put(printer, " per ");
	put(printer, rate_key_names[rate->key]);
	if (rate->key == RATE_KEY_SRC || rate->key == RATE_KEY_DST) {
		put_number(printer, " bits ", rate->bits4);
		put_number(printer, ", ", rate->bits6);
	}
	put_number(printer, " max ", rate->max);
}

static void put_change(struct printer *printer, const struct action *action)
{
	put(printer, action->kind == ACTION_ADD ? "add " : "remove ");
	put(printer, field_table[action->change.field].name);
	put_string(printer, action->kind == ACTION_ADD ? " to " : " from ",
		   printer->ruleset->sets[action->change.set].name);
	if (action->change.timeout_ms)
		put_number(printer, " for ", action->change.timeout_ms);
}

static void put_action(struct printer *printer, const struct action *action)
{
	const struct ruleset *ruleset = printer->ruleset;

	put(printer, action->left ? "left " : "");
	switch (action->kind) {
	case ACTION_RATE:
	case ACTION_THROTTLE:
		put_rate(printer, action->kind == ACTION_RATE ? "rate " : "throttle ", action->rate);
		return;
	case ACTION_COUNT:
		put_string(printer, "count ", ruleset->counters[action->counter]);
		return;
	case ACTION_LOG:
		put_log(printer, action);
		return;
	case ACTION_MARK:
		put_hex(printer, "mark ", action->mark.value);
		put_hex(printer, "/", action->mark.mask);
		return;
	case ACTION_CAPTURE:
		put(printer, "capture");
		if (action->snap)
			put_number(printer, " snap ", action->snap);
	case ACTION_KNOCK: /* hidden rules are not printed */
		return;
	case ACTION_ADD:
	case ACTION_REMOVE:
		put_change(printer, action);
		return;
	case ACTION_VERDICT:
		put(printer, verdict_names[action->verdict]);
		return;
	case ACTION_JUMP:
		put_string(printer, "jump ", ruleset->chains[action->chain].name);
		return;
	case ACTION_GOTO:
		put_string(printer, "goto ", ruleset->chains[action->chain].name);
		return;
	case ACTION_RETURN:
		put(printer, "return");
		return;
	}
}

static void put_rule(struct printer *printer, const struct rule *rule)
{
	put_number(printer, "\t\trule ", rule->number);
	put(printer, rule->names_link ? " link " : " ");
	for (size_t i = 0; i < rule->action_count; i++) {
		put(printer, i ? ", " : "");
		put_action(printer, &rule->actions[i]);
	}
	if (rule->cond) {
		put(printer, " if ");
		put_cond(printer, rule->cond);
	}
	put(printer, "\n");
}

static void put_chain(struct printer *printer, const struct chain *chain)
{
	put_string(printer, "\tchain ", chain->name);
	put(printer, " {\n");
	for (size_t i = 0; i < chain->rule_count; i++)
		if (chain->rules[i].number <= ruleset_shown(printer->ruleset))
			put_rule(printer, &chain->rules[i]);
	put(printer, "\t}\n");
}

/* --- knocks --------------------------------------------------------------------------------------------------- */

static void put_knock(struct printer *printer, const struct knock *knock)
{
	put_string(printer, "\tknock ", knock->name);
	if (knock->key_file) {
		put_string(printer, " key ", knock->key_file);
		put_number(printer, knock->bind ? " bind skew " : " skew ", knock->skew_ns);
	} else {
		put_number(printer, " within ", knock->within_ns);
	}
	put_number(printer, " open ", knock->open_ns);
	if (knock->max_sources)
		put_number(printer, " max ", knock->max_sources);
	put(printer, knock->extend ? " extend" : "");
	put(printer, knock->whole ? " whole {\n" : " {\n");
	for (size_t i = 0; i < knock->step_count; i++) {
		put(printer, "\t\tstep ");
		put_cond(printer, knock->steps[i]);
		put(printer, "\n");
	}
	put(printer, "\t}\n");
}

char *ruleset_print(struct arena *arena, const struct ruleset *ruleset)
{
	struct printer printer = { .arena = arena, .ruleset = ruleset };

	put_head(&printer);
	for (size_t i = 0; i < ruleset->set_count; i++)
		put_set(&printer, &ruleset->sets[i]);
	for (size_t i = 0; i < ruleset->knock_count; i++)
		put_knock(&printer, &ruleset->knocks[i]);
	for (size_t i = 0; i < ruleset->chain_count; i++)
		put_chain(&printer, &ruleset->chains[i]);
	put(&printer, "}\n");
	VEC_PUSH(arena, &printer.text) = '\0';
	return printer.text.items;
}
