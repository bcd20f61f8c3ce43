/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Text to rule sets; docs/ir.md describes the form. In: a source. Out: rule sets that ruleset_check() accepts, or
 * one queued error, at which reading stops.
 */
#include <errno.h>
#include <string.h>

#include "ir/reader.h"
#include "ir/value_text.h"

/* --- statements of a policy ----------------------------------------------------------------------------------- */

static bool expect_chain(struct reader *reader)
{
	struct chain chain = { .span = reader->token.span };
	VEC(struct rule) rules = { 0 };

	if (!reader_expect_string(reader, "the chain's name", &chain.name) || !reader_expect_sign(reader, '{'))
		return false;
	while (!reader_accept_sign(reader, '}'))
		if (!reader_expect_rule(reader, &VEC_PUSH(reader->arena, &rules)))
			return false;
	chain.rules = rules.items;
	chain.rule_count = rules.count;
	reader->ruleset->rule_count += (uint32_t)rules.count;
	VEC_PUSH(reader->arena, &reader->chains) = chain;
	return true;
}

static bool expect_elements(struct reader *reader, struct set *set)
{
	bool families = set->type == SET_ADDRESS || set->type == SET_PREFIX;
	VEC(struct range) ranges = { 0 };
	VEC(struct range) ranges6 = { 0 };
	VEC(uint32_t) timeouts = { 0 };
	VEC(uint32_t) timeouts6 = { 0 };
	bool any = false;

	while (!reader_accept_sign(reader, '}')) {
		bool ipv6 = families && reader->token.kind == TEXT_WORD &&
			    memchr(reader->token.text, ':', reader->token.length);
		struct range range;
		uint32_t timeout = 0;

		if (!reader_expect_range(reader, ipv6 ? FIELD_IPV6_SRC : set_element_field(set->type), &range))
			return false;
		if (reader_accept_word(reader, "timeout") && !reader_expect_number32(reader, &timeout))
			return false;
		any |= timeout != 0;
		if (ipv6) {
			VEC_PUSH(reader->arena, &ranges6) = range;
			VEC_PUSH(reader->arena, &timeouts6) = timeout;
		} else {
			VEC_PUSH(reader->arena, &ranges) = range;
			VEC_PUSH(reader->arena, &timeouts) = timeout;
		}
	}
	set->timeouts = any ? timeouts.items : NULL;
	set->timeouts6 = any ? timeouts6.items : NULL;
	set->ranges = ranges.items;
	set->count = ranges.count;
	set->ranges6 = ranges6.items;
	set->count6 = ranges6.count;
	return true;
}

static bool expect_set_statement(struct reader *reader)
{
	struct set set = { .span = reader->token.span };
	unsigned type;

	if (!reader_expect_string(reader, "the set's name", &set.name) ||
	    !reader_expect_name(reader, "a set type", set_type_names, SET_TYPE_COUNT, &type))
		return false;
	set.type = (enum set_type)type;
	if (!reader_accept_word(reader, "max"))
		return reader_fail(reader, reader->token, "expected `max`");
	if (!reader_expect_number32(reader, &set.max_elements))
		return false;
	set.timed = reader_accept_word(reader, "timeout");
	if (set.timed && !reader_expect_number32(reader, &set.timeout_ms))
		return false;
	set.shared = reader_accept_word(reader, "shared");
	if (!reader_expect_sign(reader, '{') || !expect_elements(reader, &set))
		return false;
	VEC_PUSH(reader->arena, &reader->sets) = set;
	return true;
}

static bool expect_steps(struct reader *reader, struct knock *knock)
{
	VEC(const struct cond *) steps = { 0 };

	while (!reader_accept_sign(reader, '}')) {
		if (!reader_accept_word(reader, "step"))
			return reader_fail(reader, reader->token, "expected `step` or `}`");
		if (!reader_expect_cond(reader, &VEC_PUSH(reader->arena, &steps)))
			return false;
	}
	knock->steps = steps.items;
	knock->step_count = steps.count;
	return true;
}

static bool expect_key_or_within(struct reader *reader, struct knock *knock)
{
	if (reader_accept_word(reader, "within"))
		return reader_expect_number(reader, 64, &knock->within_ns);
	if (!reader_accept_word(reader, "key"))
		return reader_fail(reader, reader->token, "expected `within` or `key`");
	if (!reader_expect_string(reader, "the key's file", &knock->key_file))
		return false;
	knock->bind = reader_accept_word(reader, "bind");
	if (!reader_accept_word(reader, "skew"))
		return reader_fail(reader, reader->token, "expected `skew`");
	return reader_expect_number(reader, 64, &knock->skew_ns);
}

static bool expect_knock_statement(struct reader *reader)
{
	struct knock knock = { .span = reader->token.span };

	if (!reader_expect_string(reader, "the knock's name", &knock.name))
		return false;
	if (!expect_key_or_within(reader, &knock))
		return false;
	if (!reader_accept_word(reader, "open"))
		return reader_fail(reader, reader->token, "expected `open`");
	if (!reader_expect_number(reader, 64, &knock.open_ns))
		return false;
	if (reader_accept_word(reader, "max") && !reader_expect_number32(reader, &knock.max_sources))
		return false;
	knock.extend = reader_accept_word(reader, "extend");
	knock.whole = reader_accept_word(reader, "whole");
	if (!reader_expect_sign(reader, '{') || !expect_steps(reader, &knock))
		return false;
	VEC_PUSH(reader->arena, &reader->knocks) = knock;
	return true;
}

static bool expect_priority(struct reader *reader, int32_t *ret_priority)
{
	const struct value_format format = { .form = FORM_NUMBER, .bits = 31 };
	struct text_token token = reader_take(reader);
	bool negative = token.kind == TEXT_WORD && *token.text == '-';
	u128 value;

	if (token.kind != TEXT_WORD ||
	    !value_parse(&format, token.text + negative, token.length - negative, &value))
		return reader_fail(reader, token, "expected a priority");
	*ret_priority = negative ? -(int32_t)value : (int32_t)value;
	return true;
}

static bool expect_attach_options(struct reader *reader, struct attach *attach)
{
	static const char *const modes[] = { "any", "native", "generic", "offload" };
	unsigned mode;

	if (reader_accept_word(reader, "priority") && !expect_priority(reader, &attach->priority))
		return false;
	if (reader_accept_word(reader, "mode")) {
		if (!reader_expect_name(reader, "an XDP mode", modes, 4, &mode))
			return false;
		attach->xdp_mode = (enum xdp_mode)mode;
	}
	attach->optional = reader_accept_word(reader, "optional");
	return true;
}

static bool expect_place(struct reader *reader, struct attach *ret_attach)
{
	struct attach attach = { .span = reader->token.span, .priority = PRIORITY_DEFAULT };
	const char *names[HOOK_COUNT];
	unsigned hook;

	for (int i = 0; i < HOOK_COUNT; i++)
		names[i] = hook_table[i].name;
	if (!reader_expect_name(reader, "a hook", names, HOOK_COUNT, &hook))
		return false;
	attach.hook = (enum hook)hook;
	if (reader->token.kind == TEXT_STRING)
		attach.target = reader_take(reader).text;
	if (!expect_attach_options(reader, &attach))
		return false;
	*ret_attach = attach;
	return true;
}

static bool expect_attach(struct reader *reader)
{
	struct attach attach;

	if (!expect_place(reader, &attach))
		return false;
	VEC_PUSH(reader->arena, &reader->attaches) = attach;
	return true;
}

static bool expect_track(struct reader *reader)
{
	struct attach attach;

	if (!expect_place(reader, &attach))
		return false;
	VEC_PUSH(reader->arena, &reader->tracks) = attach;
	return true;
}

static bool expect_flows(struct reader *reader)
{
	struct flow_settings *flows = &reader->ruleset->flows;
	const char *names[AGE_COUNT];
	unsigned age;

	if (reader_accept_word(reader, "shared")) {
		flows->shared = true;
		return true;
	}
	if (reader_accept_word(reader, "max"))
		return reader_expect_number32(reader, &flows->max);
	for (int i = 0; i < AGE_COUNT; i++)
		names[i] = flow_ages[i].name;
	if (!reader_accept_word(reader, "timeout"))
		return reader_fail(reader, reader->token, "expected `max`, `shared` or `timeout`");
	return reader_expect_name(reader, "a state of connections", names, AGE_COUNT, &age) &&
	       reader_expect_number32(reader, &flows->seconds[age]);
}

static bool expect_default(struct reader *reader)
{
	unsigned verdict;

	if (!reader_expect_name(reader, "a verdict", reader_verdicts, 3, &verdict))
		return false;
	reader->ruleset->default_verdict = (enum verdict)verdict;
	return true;
}

static bool expect_observe(struct reader *reader)
{
	reader->ruleset->observe = true;
	return true;
}

static bool expect_malformed(struct reader *reader)
{
	static const char *const words[] = { "drop", "accept" };
	unsigned accept;

	if (!reader_expect_name(reader, "`accept` or `drop`", words, 2, &accept))
		return false;
	reader->ruleset->malformed_accept = accept;
	return true;
}

static bool expect_non_ip(struct reader *reader)
{
	static const char *const words[] = { "default", "accept" };
	unsigned accept;

	if (!reader_expect_name(reader, "`accept` or `default`", words, 2, &accept))
		return false;
	reader->ruleset->non_ip_accept = accept;
	return true;
}

static bool expect_classifier(struct reader *reader)
{
	static const char *const words[] = { "auto", "diagram", "table", "list" };
	unsigned classifier;

	if (!reader_expect_name(reader, "a classifier", words, 4, &classifier))
		return false;
	reader->ruleset->classifier = (enum classifier)classifier;
	return true;
}

static bool expect_cache(struct reader *reader)
{
	static const char *const words[] = { "auto", "yes", "no" };
	unsigned cache;

	if (!reader_expect_name(reader, "`auto`, `yes` or `no`", words, 3, &cache))
		return false;
	reader->ruleset->cache = (enum cache_choice)cache;
	return true;
}

static bool expect_captures(struct reader *reader)
{
	return reader_expect_number32(reader, &reader->ruleset->captures_size);
}

static bool expect_levels(struct reader *reader)
{
	struct ruleset *ruleset = reader->ruleset;
	uint64_t level;

	do {
		if (ruleset->cgroup_level_count == PACKET_CGROUPS)
			return reader_fail(reader, reader->token, "too many cgroup levels");
		if (!reader_expect_number(reader, 8, &level))
			return false;
		ruleset->cgroup_levels[ruleset->cgroup_level_count++] = (uint8_t)level;
	} while (reader_accept_sign(reader, ','));
	return true;
}

static bool expect_counter_statement(struct reader *reader)
{
	return reader_expect_string(reader, "the counter's name", &VEC_PUSH(reader->arena, &reader->counters));
}

static bool expect_program(struct reader *reader, struct program *program)
{
	if (!reader_expect_string(reader, "the program's path", &program->path) ||
	    !reader_expect_number32(reader, &program->device) || !reader_expect_number(reader, 64, &program->inode))
		return false;
	program->has_generation = reader_accept_word(reader, "generation");
	return !program->has_generation || reader_expect_number32(reader, &program->generation);
}

static bool expect_program_statement(struct reader *reader)
{
	return expect_program(reader, &VEC_PUSH(reader->arena, &reader->programs));
}

static bool expect_tree_statement(struct reader *reader)
{
	return expect_program(reader, &VEC_PUSH(reader->arena, &reader->roots));
}

static bool expect_tunable(struct reader *reader)
{
	struct tunable *tunable = &VEC_PUSH(reader->arena, &reader->tunables);

	if (!reader_expect_string(reader, "the tunable's name", &tunable->name) ||
	    !reader_expect_number(reader, 64, &tunable->value))
		return false;
	tunable->live = reader_accept_word(reader, "live");
	return true;
}

static const struct statement {
	const char *word;
	bool (*read)(struct reader *reader);
} statements[] = {
	{ "attach", expect_attach },
	{ "track", expect_track },
	{ "flows", expect_flows },
	{ "observe", expect_observe },
	{ "default", expect_default },
	{ "program", expect_program_statement },
	{ "tree", expect_tree_statement },
	{ "malformed", expect_malformed },
	{ "non_ip", expect_non_ip },
	{ "classifier", expect_classifier },
	{ "cache", expect_cache },
	{ "captures", expect_captures },
	{ "cgroup_levels", expect_levels },
	{ "counter", expect_counter_statement },
	{ "tunable", expect_tunable },
	{ "set", expect_set_statement },
	{ "knock", expect_knock_statement },
	{ "chain", expect_chain },
};

static bool expect_statement(struct reader *reader)
{
	for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
		if (reader_accept_word(reader, statements[i].word))
			return statements[i].read(reader);
	return reader_fail(reader, reader->token, "expected a statement or `}`");
}

/* --- policies ------------------------------------------------------------------------------------------------- */

static bool resolve_chains(struct reader *reader)
{
	for (size_t i = 0; i < reader->pending.count; i++) {
		struct pending *pending = &reader->pending.items[i];
		size_t chain = 0;

		while (chain < reader->chains.count && strcmp(pending->name.text, reader->chains.items[chain].name))
			chain++;
		if (chain == reader->chains.count)
			return reader_fail(reader, pending->name, "no chain of that name in this policy");
		pending->action->chain = (uint32_t)chain;
	}
	return true;
}

static bool finish_policy(struct reader *reader, struct text_token head)
{
	struct ruleset *ruleset = reader->ruleset;
	const char *error;

	ruleset->attaches = reader->attaches.items;
	ruleset->attach_count = reader->attaches.count;
	ruleset->tracks = reader->tracks.items;
	ruleset->track_count = reader->tracks.count;
	ruleset->chains = reader->chains.items;
	ruleset->chain_count = reader->chains.count;
	ruleset->sets = reader->sets.items;
	ruleset->set_count = reader->sets.count;
	ruleset->programs = reader->programs.items;
	ruleset->program_count = reader->programs.count;
	ruleset->roots = reader->roots.items;
	ruleset->root_count = reader->roots.count;
	ruleset->counters = reader->counters.items;
	ruleset->counter_count = reader->counters.count;
	ruleset->knocks = reader->knocks.items;
	ruleset->knock_count = reader->knocks.count;
	ruleset->tunables = reader->tunables.items;
	ruleset->tunable_count = reader->tunables.count;
	ruleset->comparisons = reader->comparisons.items;
	ruleset->comparison_count = reader->comparisons.count;
	if (!resolve_chains(reader))
		return false;
	error = ruleset_check(reader->arena, ruleset);
	return !error || reader_fail(reader, head, error);
}

static bool expect_policy(struct reader *reader, struct ruleset *ruleset)
{
	struct text_token head = reader->token;

	reader->ruleset = ruleset;
	ruleset->expression = reader_accept_word(reader, "expression");
	if (!ruleset->expression && !reader_accept_word(reader, "policy"))
		return reader_fail(reader, head, "expected `policy` or `expression`");
	if (!reader_expect_string(reader, "the policy's name", &ruleset->name) || !reader_expect_sign(reader, '{'))
		return false;
	while (!reader_at_sign(reader, '}'))
		if (!expect_statement(reader))
			return false;
	ruleset->span = span_join(head.span, reader_take(reader).span);
	return finish_policy(reader, head);
}

int ruleset_parse(struct arena *arena, const struct source *source, struct diags *diags,
		  const struct rulesets **ret_rulesets)
{
	struct rulesets *rulesets = ARENA_NEW(arena, struct rulesets);
	struct reader reader = { .arena = arena, .source = source, .diags = diags };
	VEC(struct ruleset) items = { 0 };

	if (source->length > UINT32_MAX)
		return -E2BIG;
	reader_take(&reader); /* the first one, for the END that the reader begins with */
	do {
		struct reader fresh = { .arena = arena, .source = source, .diags = diags, .offset = reader.offset,
					.token = reader.token };

		reader = fresh;
		if (!expect_policy(&reader, &VEC_PUSH(arena, &items)))
			return -EINVAL;
	} while (reader.token.kind != TEXT_END);
	rulesets->items = items.items;
	rulesets->count = items.count;
	*ret_rulesets = rulesets;
	return 0;
}
