/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is pinned beside a policy: its sources as a bundle (for `show --source` and for going back), and a JSON
 * description (for everything that prints). Both are read by later versions too: unknown keys are ignored.
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
		else if (!quoted && strchr(" \t\r\n", c))
			to += to > folded && to[-1] != ' ' ? (*to = ' ', 1) : 0;
		else
			*to++ = c;
	}
	while (to > folded && to[-1] == ' ')
		to--;
	*to = '\0';
	return folded;
}

static const char *ending_verdict(const struct rule *rule)
{
	const struct action *last = &rule->actions[rule->action_count - 1];

	return last->kind == ACTION_VERDICT ? verdict_name(last->verdict) : "";
}

static uint32_t line_of(struct span span)
{
	return span.source ? source_position(span.source, span.offset).line : 0;
}

/* Rules come in the order of the text: their lines are counted on from the last one's. */
struct line_cursor {
	const struct source *source;
	size_t offset;
	uint32_t line;
};

static uint32_t next_line(struct line_cursor *cursor, struct span span)
{
	const char *newline, *end;

	if (cursor->source != span.source || span.offset < cursor->offset) {
		cursor->line = line_of(span);
	} else if (span.source) {
		end = span.source->text + span.offset;
		for (newline = span.source->text + cursor->offset;
		     (newline = memchr(newline, '\n', (size_t)(end - newline))); newline++)
			cursor->line++;
	}
	cursor->source = span.source;
	cursor->offset = span.offset;
	return cursor->line;
}

/* How often each text has come: a hash table, its size a power of two and more than twice the number of texts. */
struct seen {
	struct { const char *text; uint32_t times; } *items;
	size_t size;
};

static struct seen seen_new(struct arena *arena, size_t count)
{
	struct seen seen = { .size = 4 };

	while (seen.size <= 2 * count)
		seen.size *= 2;
	seen.items = arena_alloc_array(arena, seen.size, sizeof *seen.items);
	return seen;
}

/* The text is borrowed. Returns its times, this one counted. */
static uint32_t seen_count(struct seen *seen, const char *text)
{
	uint64_t hash = 0xcbf29ce484222325;
	size_t at;

	for (const char *c = text; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	for (at = hash & (seen->size - 1); seen->items[at].text && strcmp(seen->items[at].text, text);)
		at = (at + 1) & (seen->size - 1);
	seen->items[at].text = text;
	return ++seen->items[at].times;
}

/* Equal rules of one chain are told apart by their order. */
static const char *rule_key(struct arena *arena, struct seen *seen, const char *chain, const char *text)
{
	char *key = arena_printf(arena, "%s: %s", chain, text);
	uint32_t times = seen_count(seen, key);

	return times == 1 ? key : arena_printf(arena, "%s #%u", key, times);
}

/* A rule and the chain that it is in. */
struct placed {
	const struct chain *chain;
	const struct rule *rule;
};

/* By number, which is the order of the text. */
static const struct placed *place_rules(struct arena *arena, const struct ruleset *ruleset)
{
	struct placed *rules = ARENA_ARRAY(arena, struct placed, ruleset->rule_count);

	for (size_t c = 0; c < ruleset->chain_count; c++) {
		const struct chain *chain = &ruleset->chains[c];

		for (size_t r = 0; r < chain->rule_count; r++)
			rules[chain->rules[r].number - 1] = (struct placed){ chain, &chain->rules[r] };
	}
	return rules;
}

/* --- rules as text: a value a field for each of 100,000 rules would take longer than to compile them ------------- */

struct json_text {
	struct arena *arena;
	VEC(char) text;
	bool failed; /* not UTF-8 */
};

static void put(struct json_text *out, const char *text, size_t length)
{
	while (out->text.capacity - out->text.count < length)
		out->text.items = arena_grow(out->arena, out->text.items, out->text.count, &out->text.capacity, 1);
	memcpy(out->text.items + out->text.count, text, length);
	out->text.count += length;
}

static void put_text(struct json_text *out, const char *text)
{
	put(out, text, strlen(text));
}

static void put_number(struct json_text *out, const char *name, uint32_t number)
{
	char text[40];

	put(out, text, (size_t)snprintf(text, sizeof text, "\"%s\":%u,", name, number));
}

static bool is_plain(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\')
			return false;
	return true;
}

static void put_escaped(struct json_text *out, const char *text)
{
	json_t *string = json_string(text);
	char escape[8];

	out->failed = out->failed || !string;
	json_decref(string);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			put_text(out, "\\");
		if (*text >= 0 && *text < ' ')
			put(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*text));
		else
			put(out, text, 1);
	}
}

static void put_string(struct json_text *out, const char *name, const char *text, const char *after)
{
	put_text(out, "\"");
	put_text(out, name);
	put_text(out, "\":\"");
	if (is_plain(text))
		put_text(out, text);
	else
		put_escaped(out, text);
	put_text(out, "\"");
	put_text(out, after);
}

static void put_rules(struct json_text *out, const struct ruleset *ruleset)
{
	const struct placed *placed = place_rules(out->arena, ruleset);
	struct seen seen = seen_new(out->arena, ruleset->rule_count);
	struct line_cursor cursor = { 0 };

	put_text(out, "\"rules\":[");
	for (size_t i = 0; i < ruleset->rule_count; i++) {
		const struct rule *rule = placed[i].rule;
		const char *text = span_fold(out->arena, rule->span);

		put_text(out, i ? ",{" : "{");
		put_number(out, "n", rule->number);
		put_number(out, "line", next_line(&cursor, rule->span));
		put_number(out, "at", rule->span.offset);
		put_number(out, "size", rule->span.length);
		put_string(out, "verdict", ending_verdict(rule), ",");
		put_string(out, "text", text, ",");
		put_string(out, "key", rule_key(out->arena, &seen, placed[i].chain->name, text), "}");
	}
	put_text(out, "]");
}

void meta_number(struct arena *arena, json_t *meta, const struct lang_rule *rules)
{
	json_t *list = json_object_get(meta, "rules"), *rule;
	struct seen seen = seen_new(arena, json_array_size(list));
	struct line_cursor cursor = { 0 };
	size_t index;

	json_array_foreach(list, index, rule) {
		struct span span = rules[index].span;

		json_object_set_new(rule, "n", json_integer((json_int_t)index + 1));
		json_object_set_new(rule, "line", json_integer(next_line(&cursor, span)));
		json_object_set_new(rule, "at", json_integer(span.offset));
		json_object_set_new(rule, "size", json_integer(span.length));
		json_object_set_new(rule, "key", json_string(rule_key(arena, &seen, "main",
								      json_string_value(json_object_get(rule, "text")))));
	}
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

static json_t *describe_programs(const struct ruleset *ruleset)
{
	json_t *programs = json_array();

	for (size_t i = 0; i < ruleset->program_count; i++) {
		const struct program *program = &ruleset->programs[i];

		json_array_append_new(programs, json_pack("{s:s, s:I, s:I, s:o}", "path", program->path, "inode",
							  (json_int_t)program->inode, "device",
							  (json_int_t)program->device, "generation",
							  program->has_generation ? json_integer(program->generation) :
										    json_null()));
	}
	return programs;
}

/* All but the rules. */
static json_t *describe_rest(const struct ruleset *ruleset, const struct plan *plan, const char *file)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:b, s:b, s:o, s:i, s:o, s:o, s:o, s:o, s:o}",
			 "policy", ruleset->name, "file", file,
			 "line", (int)line_of(ruleset->span), "offset", (int)ruleset->span.offset,
			 "length", (int)ruleset->span.length, "captures", (int)ruleset->captures_size,
			 "default", verdict_name(ruleset->default_verdict),
			 "malformed_accept", ruleset->malformed_accept, "observe", ruleset->observe,
			 "programs", describe_programs(ruleset),
			 "first_counter", (int)(SLOT_RULES + ruleset->rule_count),
			 "counters", describe_counters(ruleset), "sets", describe_sets(ruleset, plan),
			 "logs", describe_logs(plan), "tunables", describe_tunables(ruleset), "knocks", describe_knocks(ruleset));
}

int meta_describe(struct arena *arena, const struct ruleset *ruleset, const struct plan *plan, const char *file,
		  const char **ret_text, size_t *ret_size)
{
	struct json_text out = { .arena = arena };
	json_t *rest = describe_rest(ruleset, plan, file);
	char *head = rest ? json_dumps(rest, JSON_COMPACT) : NULL;

	json_decref(rest);
	if (!head)
		return -EILSEQ;
	put(&out, head, strlen(head) - 1); /* its closing brace comes last */
	free(head);
	put_text(&out, ",");
	put_rules(&out, ruleset);
	put_text(&out, "}");
	*ret_text = out.text.items;
	*ret_size = out.text.count;
	return out.failed ? -EILSEQ : 0;
}

json_t *meta_decode(const void *data, size_t size)
{
	json_t *meta = json_loadb(data, size, 0, NULL);

	if (meta && json_is_array(json_object_get(meta, "rules")) && json_is_string(json_object_get(meta, "policy")))
		return meta;
	json_decref(meta);
	return NULL;
}

uint32_t meta_slot(json_t *rule)
{
	json_t *slot = json_object_get(rule, "slot");

	return slot ? (uint32_t)json_integer_value(slot) : SLOT_RULE((uint32_t)json_integer_value(json_object_get(rule, "n")));
}

uint32_t meta_counter_slot(json_t *meta, size_t index)
{
	json_t *first = json_object_get(meta, "first_counter");
	json_int_t rules = (json_int_t)json_array_size(json_object_get(meta, "rules"));

	return (uint32_t)((first ? json_integer_value(first) : SLOT_RULES + rules) + (json_int_t)index);
}

/* Adds `key -> slot` for everything of a policy that counts. */
static void index_slots(json_t *meta, json_t *slots)
{
	json_t *rules = json_object_get(meta, "rules"), *counters = json_object_get(meta, "counters"), *item;
	size_t index;
	char name[300];

	json_array_foreach(rules, index, item)
		json_object_set_new(slots, json_string_value(json_object_get(item, "key")),
				    json_integer(meta_slot(item)));
	json_array_foreach(counters, index, item) {
		snprintf(name, sizeof name, "counter %s", json_string_value(item));
		json_object_set_new(slots, name, json_integer(meta_counter_slot(meta, index)));
	}
	snprintf(name, sizeof name, "default %s", json_string_value(json_object_get(meta, "default")));
	json_object_set_new(slots, name, json_integer(SLOT_DEFAULT));
	json_object_set_new(slots, "malformed", json_integer(SLOT_MALFORMED));
	json_object_set_new(slots, "non_ip", json_integer(SLOT_NON_IP));
}

const int32_t *meta_carry(struct arena *arena, json_t *old, json_t *now, uint32_t slots)
{
	int32_t *carry = ARENA_ARRAY(arena, int32_t, slots);
	json_t *old_slots = json_object(), *now_slots = json_object(), *slot;
	const char *key;

	for (uint32_t i = 0; i < slots; i++)
		carry[i] = -1;
	index_slots(old, old_slots);
	index_slots(now, now_slots);
	json_object_foreach(now_slots, key, slot) {
		json_t *was = json_object_get(old_slots, key);

		if (was && json_integer_value(slot) < (json_int_t)slots)
			carry[json_integer_value(slot)] = (int32_t)json_integer_value(was);
	}
	json_decref(old_slots);
	json_decref(now_slots);
	return carry;
}
