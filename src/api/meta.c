/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is pinned beside a policy: its sources as a bundle (for `show --source` and for going back), and a description (for
 * everything that prints): where the rules are in the text, and JSON of all else.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"

/* --- bundle: for each file, two __u32 lengths, the name, the text ------------------------------------------------ */

static size_t bundle_size(const struct bundle *bundle)
{
	size_t size = 0;

	for (size_t i = 0; i < bundle->files.count; i++)
		size += 2 * sizeof(uint32_t) + strlen(bundle->files.items[i]->name) + bundle->files.items[i]->length;
	return size;
}

static unsigned char *append(unsigned char *to, const void *data, size_t size)
{
	memcpy(to, data, size);
	return to + size;
}

int bundle_encode(struct arena *arena, const struct bundle *bundle, const void **ret_data, size_t *ret_size)
{
	size_t size = bundle_size(bundle);
	unsigned char *data = arena_alloc(arena, size), *to = data;

	for (size_t i = 0; i < bundle->files.count; i++) {
		const struct source *file = bundle->files.items[i];
		uint32_t lengths[2] = { (uint32_t)strlen(file->name), (uint32_t)file->length };

		if (file->length > UINT32_MAX)
			return -EFBIG;
		to = append(to, lengths, sizeof lengths);
		to = append(to, file->name, lengths[0]);
		to = append(to, file->text, lengths[1]);
	}
	*ret_data = data;
	*ret_size = size;
	return 0;
}

/* One file, in place: neither its name nor its text ends in NUL. Returns its bytes; 0: there is none. */
static size_t take_file(const char *from, size_t size, struct source *ret_file, size_t *ret_name_length)
{
	uint32_t lengths[2];

	if (size < sizeof lengths)
		return 0;
	memcpy(lengths, from, sizeof lengths);
	if ((uint64_t)lengths[0] + lengths[1] > size - sizeof lengths)
		return 0;
	*ret_file = (struct source){ from + sizeof lengths, from + sizeof lengths + lengths[0], lengths[1] };
	*ret_name_length = lengths[0];
	return sizeof lengths + lengths[0] + lengths[1];
}

bool bundle_first_is(const void *data, size_t size, const char *name, struct source *ret_file)
{
	size_t length;

	if (!take_file(data, size, ret_file, &length) || length != strlen(name) || memcmp(ret_file->name, name, length))
		return false;
	ret_file->name = name;
	return true;
}

bool bundle_text(const void *data, size_t size, struct source *ret_file)
{
	size_t length;

	if (!take_file(data, size, ret_file, &length))
		return false;
	ret_file->name = "";
	return true;
}

int bundle_decode(struct arena *arena, const void *data, size_t size, struct bundle *ret_bundle)
{
	struct bundle bundle = { 0 };
	const char *from = data;

	while (size) {
		struct source *file = ARENA_NEW(arena, struct source);
		size_t name_length, taken = take_file(from, size, file, &name_length);

		if (!taken)
			return -EINVAL;
		file->name = arena_strndup(arena, file->name, name_length);
		file->text = arena_strndup(arena, file->text, file->length);
		VEC_PUSH(arena, &bundle.files) = file;
		from += taken;
		size -= taken;
	}
	*ret_bundle = bundle;
	return bundle.files.count ? 0 : -EINVAL;
}

/* --- description ------------------------------------------------------------------------------------------------- */

char *span_fold(struct arena *arena, struct span span)
{
	const char *text = span.source ? span.source->text + span.offset : "";
	char *folded = arena_alloc(arena, span.length + 1), *to = folded;
	bool quoted = false;

	for (uint32_t i = 0; i < span.length; i++) {
		char c = text[i];

		if (c == '"')
			quoted = !quoted;
		if (!quoted && c == '#')
			while (i + 1 < span.length && text[i + 1] != '\n')
				i++;
		else if (!quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n' || !c))
			to += to > folded && to[-1] != ' ' ? (*to = ' ', 1) : 0;
		else
			*to++ = c;
	}
	while (to > folded && to[-1] == ' ')
		to--;
	*to = '\0';
	return folded;
}

static uint32_t line_of(struct span span)
{
	return span.source ? source_position(span.source, span.offset).line : 0;
}

/* --- rules: as numbers, for texts are in the source, and JSON of 100,000 takes a second to read -------------------- */

struct head {
	uint32_t rules;
	uint32_t text; /* bytes of JSON behind them */
};

static struct meta_rule describe_rule(const struct rule *rule, size_t chain)
{
	const struct action *last = &rule->actions[rule->action_count - 1];

	return (struct meta_rule){ .at = rule->span.offset, .size = rule->span.length, .slot = SLOT_RULE(rule->number),
				   .chain = (uint32_t)chain,
				   .verdict = last->kind == ACTION_VERDICT ? (uint32_t)last->verdict + 1 : 0 };
}

/* By number, which is the order of the text. */
static const struct meta_rule *describe_rules(struct arena *arena, const struct ruleset *ruleset)
{
	struct meta_rule *rules = ARENA_ARRAY(arena, struct meta_rule, ruleset->rule_count);

	for (size_t c = 0; c < ruleset->chain_count; c++)
		for (size_t r = 0; r < ruleset->chains[c].rule_count; r++)
			rules[ruleset->chains[c].rules[r].number - 1] = describe_rule(&ruleset->chains[c].rules[r], c);
	return rules;
}

const struct meta_rule *meta_rules(const void *data, size_t size, size_t *ret_count)
{
	const struct head *head = data;

	*ret_count = size < sizeof *head || size != sizeof *head + head->rules * sizeof(struct meta_rule) + head->text ?
			     0 : head->rules;
	return (const struct meta_rule *)(head + 1);
}

int meta_encode(struct arena *arena, json_t *meta, const struct meta_rule *rules, size_t count, const void **ret_data,
		size_t *ret_size)
{
	char *text = meta ? json_dumps(meta, JSON_COMPACT) : NULL, *data;
	struct head head = { .rules = (uint32_t)count, .text = text ? (uint32_t)strlen(text) : 0 };
	size_t size = sizeof head + count * sizeof *rules;

	if (!text)
		return -EILSEQ;
	data = arena_alloc(arena, size + head.text);
	memcpy(data, &head, sizeof head);
	memcpy(data + sizeof head, rules, count * sizeof *rules);
	memcpy(data + size, text, head.text);
	free(text);
	*ret_data = data;
	*ret_size = size + head.text;
	return 0;
}

static bool is_ascii(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] & 0x80)
			return false;
	return true;
}

/* Whether all rules' texts can be printed as JSON. */
static bool are_utf8(const struct ruleset *ruleset)
{
	const struct source *source = ruleset->span.source;
	json_t *string = NULL;
	bool good = true;

	if (!source || is_ascii(source->text, source->length))
		return true;
	for (size_t c = 0; c < ruleset->chain_count; c++)
		for (size_t r = 0; good && r < ruleset->chains[c].rule_count; r++) {
			struct span span = ruleset->chains[c].rules[r].span;

			string = json_stringn(span.source->text + span.offset, span.length);
			good = string;
			json_decref(string);
		}
	return good;
}

static json_t *describe_chains(const struct ruleset *ruleset)
{
	json_t *chains = json_array();

	for (size_t i = 0; i < ruleset->chain_count; i++)
		json_array_append_new(chains, json_string(ruleset->chains[i].name));
	return chains;
}

static json_t *describe_counters(const struct ruleset *ruleset)
{
	json_t *counters = json_array();

	for (size_t i = 0; i < ruleset->counter_count; i++)
		json_array_append_new(counters, json_string(ruleset->counters[i]));
	return counters;
}

static json_t *describe_maps(const struct plan *plan, size_t set)
{
	json_t *maps = json_array();

	for (size_t i = 0; i < plan->set_count; i++) {
		const struct plan_set *map = &plan->sets[i];

		if (map->named != (int32_t)set)
			continue;
		json_array_append_new(maps, json_pack("{s:s, s:i, s:b}", "map", map->map, "key", (int)map->key,
						      "lpm", map->lpm));
	}
	return maps;
}

static json_t *describe_sets(const struct ruleset *ruleset, const struct plan *plan)
{
	json_t *sets = json_array();

	for (size_t i = 0; i < ruleset->set_count; i++) {
		const struct set *set = &ruleset->sets[i];

		json_array_append_new(sets, json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:o}", "name", set->name,
						      "type", set_type_names[set->type], "shared", set->shared,
						      "timed", set->timed, "timeout",
						      (json_int_t)set->timeout_ms, "max",
						      (json_int_t)set->max_elements, "maps",
						      describe_maps(plan, i)));
	}
	return sets;
}

static json_t *describe_logs(const struct plan *plan)
{
	json_t *logs = json_array();

	for (size_t i = 0; i < plan->log_count; i++)
		json_array_append_new(logs, json_string(plan->log_texts[i]));
	return logs;
}

/* Those that can be changed in the map, by index. */
static json_t *describe_tunables(const struct ruleset *ruleset)
{
	json_t *tunables = json_array();

	for (size_t i = 0; i < ruleset->tunable_count; i++)
		json_array_append_new(tunables, json_string(ruleset->tunables[i].live ? ruleset->tunables[i].name : ""));
	return tunables;
}

/* In the order of FIELD_KNOCKED's bits. */
static json_t *describe_knocks(const struct ruleset *ruleset)
{
	json_t *knocks = json_array();

	for (size_t i = 0; i < ruleset->knock_count; i++)
		json_array_append_new(knocks, json_pack("{s:s, s:b, s:I}", "name", ruleset->knocks[i].name, "whole",
							ruleset->knocks[i].whole, "within",
							(json_int_t)ruleset->knocks[i].within_ns));
	return knocks;
}

static json_t *describe_programs(const struct program *programs, size_t count)
{
	json_t *described = json_array();

	for (size_t i = 0; i < count; i++) {
		const struct program *program = &programs[i];

		json_array_append_new(described, json_pack("{s:s, s:I, s:I, s:o}", "path", program->path, "inode",
							  (json_int_t)program->inode, "device",
							  (json_int_t)program->device, "generation",
							  program->has_generation ? json_integer(program->generation) :
										    json_null()));
	}
	return described;
}

/* All but the rules. */
static json_t *describe_rest(const struct ruleset *ruleset, const struct plan *plan, const char *file)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:b, s:b, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o}",
			 "policy", ruleset->name, "file", file,
			 "line", (int)line_of(ruleset->span), "offset", (int)ruleset->span.offset,
			 "length", (int)ruleset->span.length, "captures", (int)ruleset->captures_size,
			 "default", verdict_name(ruleset->default_verdict),
			 "malformed_accept", ruleset->malformed_accept, "observe", ruleset->observe,
			 "chains", describe_chains(ruleset),
			 "programs", describe_programs(ruleset->programs, ruleset->program_count),
			 "roots", describe_programs(ruleset->roots, ruleset->root_count),
			 "first_counter", (int)(SLOT_RULES + ruleset->rule_count),
			 "counters", describe_counters(ruleset), "sets", describe_sets(ruleset, plan),
			 "logs", describe_logs(plan), "tunables", describe_tunables(ruleset), "knocks", describe_knocks(ruleset));
}

int meta_describe(struct arena *arena, const struct ruleset *ruleset, const struct plan *plan, const char *file,
		  const void **ret_data, size_t *ret_size)
{
	const struct meta_rule *rules = describe_rules(arena, ruleset);
	json_t *meta = are_utf8(ruleset) ? describe_rest(ruleset, plan, file) : NULL;
	int error = meta_encode(arena, meta, rules, ruleset->rule_count, ret_data, ret_size);

	json_decref(meta);
	return error;
}

json_t *meta_decode(const void *data, size_t size)
{
	size_t count, rules_size;
	json_t *meta;

	meta_rules(data, size, &count);
	rules_size = sizeof(struct head) + count * sizeof(struct meta_rule);
	if (size < rules_size)
		return NULL;
	meta = json_loadb((const char *)data + rules_size, size - rules_size, 0, NULL);
	if (meta && json_is_string(json_object_get(meta, "policy")))
		return meta;
	json_decref(meta);
	return NULL;
}

uint32_t meta_counter_slot(json_t *meta, size_t index)
{
	return (uint32_t)((size_t)json_integer_value(json_object_get(meta, "first_counter")) + index);
}

bool meta_open(const void *meta, size_t meta_size, const void *source, size_t source_size, struct described *ret_described)
{
	*ret_described = (struct described){ .json = meta_decode(meta, meta_size) };
	if (!ret_described->json)
		return false;
	ret_described->rules = meta_rules(meta, meta_size, &ret_described->rule_count);
	if (bundle_text(source, source_size, &ret_described->source))
		return true;
	json_decref(ret_described->json);
	ret_described->json = NULL;
	return false;
}

/* Places that a damaged blob invents are none. */
struct span meta_span(const struct described *described, const struct meta_rule *rule)
{
	const struct source *source = &described->source;
	bool inside = rule->at <= source->length && rule->size <= source->length - rule->at;

	return (struct span){ source, inside ? rule->at : 0, inside ? rule->size : 0 };
}
