/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Printing: plans as text for people, and for Graphviz. In: a plan; out: text in the arena, the same for the same
 * plan. Fails only as the arena does.
 */
#include "plan/table.h"

struct text {
	struct arena *arena;
	VEC(char) bytes;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
	va_list args;
	char *piece;

	va_start(args, format);
	piece = arena_vprintf(text->arena, format, args);
	va_end(args);
	for (; *piece; piece++)
		VEC_PUSH(text->arena, &text->bytes) = *piece;
}

static char *finish(struct text *text)
{
	VEC_PUSH(text->arena, &text->bytes) = '\0';
	return text->bytes.items;
}

/* --- values and answers --------------------------------------------------------------------------------- */

static void add_value(struct text *text, const struct dim *dim, uint64_t value)
{
	const struct field_info *info = &field_table[dim->field];
	bool whole = dim->kind == DIM_VALUE && dim->mask == ~0ull;

	if (whole && info->presence == PRESENT_VALUE && value == info->absent)
		add(text, "absent");
	else if (whole && info->form == FORM_IPV4)
		add(text, "%u.%u.%u.%u", (unsigned)(value >> 24 & 255), (unsigned)(value >> 16 & 255),
		    (unsigned)(value >> 8 & 255), (unsigned)(value & 255));
	else if (info->form == FORM_NUMBER && dim->field != FIELD_ETH_TYPE && whole)
		add(text, "%llu", (unsigned long long)value);
	else
		add(text, "%#llx", (unsigned long long)value);
}

static void add_interval(struct text *text, const struct dim *dim, uint64_t lo, uint64_t hi)
{
	if (dim->kind == DIM_SET || dim->tuned) {
		add(text, lo ? "yes" : "no");
		return;
	}
	add_value(text, dim, lo);
	if (lo == hi)
		return;
	add(text, "-");
	add_value(text, dim, hi);
}

static const char *verdict_name(uint32_t verdict)
{
	static const char *const names[] = { [ANSWER_ACCEPT] = "accept", [ANSWER_DROP] = "drop",
					     [ANSWER_REJECT] = "reject" };

	return verdict < sizeof names / sizeof names[0] ? names[verdict] : "?";
}

static void add_slot(struct text *text, const struct plan *plan, uint32_t slot)
{
	static const char *const fixed[] = { [SLOT_DEFAULT] = "default", [SLOT_MALFORMED] = "malformed",
					     [SLOT_NON_IP] = "non-ip" };

	if (slot < SLOT_RULES)
		add(text, "%s", fixed[slot]);
	else if (slot <= SLOT_RULE(ruleset_shown(plan->ruleset)))
		add(text, "rule %u", slot - SLOT_RULES + 1);
	else
		add(text, "counter %s", plan->ruleset->counters[slot - SLOT_RULES - ruleset_shown(plan->ruleset)]);
}

static void add_step(struct text *text, const struct plan *plan, const struct step *step)
{
	switch (step->kind) {
	case STEP_COUNT:
		add(text, "count ");
		add_slot(text, plan, step->slot);
		break;
	case STEP_THROTTLE:
		add(text, "throttle by rate %u", step->a);
		break;
	case STEP_LOG:
		add(text, "log %u", step->a);
		break;
	case STEP_CAPTURE:
		add(text, step->a ? "capture %u bytes by " : "capture by ", step->a);
		add_slot(text, plan, step->slot);
		break;
	case STEP_MARK:
		add(text, "mark %#x/%#x", step->a, step->b);
		break;
	case STEP_ADD:
	case STEP_REMOVE:
		add(text, step->kind == STEP_ADD ? "add %s to %s" : "remove %s from %s", field_table[step->a].name,
		    plan->ruleset->sets[step->slot].name);
		if (step->kind == STEP_ADD && step->b)
			add(text, " for %u ms", step->b);
		break;
	case STEP_KNOCK:
		add(text, "step %u of knock %u", step->a % KNOCK_SLOT_STEPS + 1, step->a / KNOCK_SLOT_STEPS + 1);
		break;
	case STEP_VERDICT:
		add(text, "%s by ", verdict_name(step->a));
		add_slot(text, plan, step->slot);
		break;
	default:
		add(text, "go on at item %u", step->a - 1);
	}
}

enum { TOLD_DEPTH = 8 }; /* tokens on the way of a packet that are told of */

/* The steps from `first` on. */
static void add_run(struct text *text, const struct plan *plan, uint32_t first, unsigned depth)
{
	const struct step *step;

	if (depth > TOLD_DEPTH) {
		add(text, "...");
		return;
	}
	for (step = &plan->steps[first];; step++) {
		if (step->kind == STEP_RATE)
			break;
		add_step(text, plan, step);
		if (step->kind == STEP_VERDICT || step->kind == STEP_RESUME)
			return;
		add(text, ", ");
	}
	add(text, "with a token of ");
	add_slot(text, plan, step->slot);
	add(text, " (");
	add_run(text, plan, (uint32_t)(step - plan->steps) + 1, depth + 1);
	add(text, "), else ");
	add_run(text, plan, step->b, depth + 1);
}

static void add_answer(struct text *text, const struct plan *plan, uint32_t answer)
{
	uint32_t code = plan->answers[answer];

	if (code & ANSWER_STEPS) {
		add_run(text, plan, code >> ANSWER_SHIFT, 0);
		return;
	}
	add(text, "%s by ", verdict_name(code & 3));
	add_slot(text, plan, code >> ANSWER_SHIFT);
}

/* --- diagram -------------------------------------------------------------------------------------------- */

static void add_place(struct text *text, const struct plan *plan, diagram_ref to)
{
	if (to & DIAGRAM_LEAF)
		add_answer(text, plan, to & ~DIAGRAM_LEAF);
	else
		add(text, "node %u", to);
}

static void add_node(struct text *text, const struct plan *plan, uint32_t index)
{
	const struct diagram_node *node = &plan->diagram.nodes[index];
	const struct dim *dim = &plan->dims[node->dim];
	uint64_t lo = 0;

	add(text, "node %u: %s\n", index, dim->name);
	for (uint32_t i = 0; i < node->edge_count; i++) {
		add(text, "    ");
		add_interval(text, dim, lo, node->edges[i].last);
		add(text, " -> ");
		add_place(text, plan, node->edges[i].to);
		add(text, "\n");
		lo = node->edges[i].last + 1;
	}
}

/* --- list ----------------------------------------------------------------------------------------------- */

static void add_test(struct text *text, const struct plan *plan, const struct test *test)
{
	const struct dim *dim;

	switch (test->kind) {
	case TEST_NOT:
		add(text, "not (");
		add_test(text, plan, test->inner);
		add(text, ")");
		return;
	case TEST_IN:
		dim = &plan->dims[test->in.dim];
		add(text, "%s", dim->name);
		for (size_t i = 0; i < test->in.count; i++) {
			add(text, i ? ", " : " = ");
			add_interval(text, dim, test->in.intervals[i].lo, test->in.intervals[i].hi);
		}
		return;
	default:
		for (size_t i = 0; i < test->list.count; i++) {
			bool nested = test->list.items[i]->kind == TEST_AND || test->list.items[i]->kind == TEST_OR;

			add(text, "%s%s", i ? test->kind == TEST_AND ? " and " : " or " : "", nested ? "(" : "");
			add_test(text, plan, test->list.items[i]);
			add(text, nested ? ")" : "");
		}
	}
}

static void add_item(struct text *text, const struct plan *plan, size_t index)
{
	const struct list_item *item = &plan->items[index];

	add(text, "%s%zu: ", item->resume ? "resume " : "item ", index);
	if (item->test) {
		add(text, "if ");
		add_test(text, plan, item->test);
		add(text, ": ");
	}
	if (item->answers)
		add_answer(text, plan, item->answer);
	else
		add(text, "go to %u", item->target);
	add(text, "\n");
}

char *plan_print_diagram(struct arena *arena, const struct plan *plan)
{
	struct text text = { .arena = arena };

	if (plan->kind != PLAN_DIAGRAM) {
		for (size_t i = 0; i < plan->item_count; i++)
			add_item(&text, plan, i);
		return finish(&text);
	}
	add(&text, "root: ");
	add_place(&text, plan, plan->diagram.root);
	add(&text, "\n");
	for (size_t i = plan->diagram.node_count; i > 0; i--)
		add_node(&text, plan, (uint32_t)i - 1);
	return finish(&text);
}

/* --- summary -------------------------------------------------------------------------------------------- */

static void add_set(struct text *text, const struct plan *plan, const struct plan_set *set)
{
	static const char *const keys[] = { [KEY_IPV4] = "IPv4 address", [KEY_IPV6] = "IPv6 address",
					    [KEY_VALUE] = "number" };

	add(text, "set %s: %s of %s, %zu range%s, room for %u", set->map, set->lpm ? "prefixes" : "hash",
	    keys[set->key], set->count, set->count == 1 ? "" : "s", set->max_elements);
	if (set->named >= 0)
		add(text, ", set `%s`%s", plan->ruleset->sets[set->named].name,
		    set->timed ? ", with timeouts" : "");
	add(text, "\n");
}

/* Whether keys have some of the field. Both families' addresses are at the same place. */
static bool is_hashed(const struct table_hash *hash, enum field field, bool six)
{
	const struct field_info *info = &field_table[field];
	uint64_t mask = low_bits(info->size * 8u);

	if (!info->size || info->presence == (six ? PRESENT_IPV4 : PRESENT_IPV6))
		return false;
	for (unsigned i = 0; i < hash->keys; i++)
		for (unsigned j = 0; j < TABLE_KEY_PARTS; j++) {
			unsigned word = hash->key[i].words[j], first = info->offset / 8u, last = (info->offset + info->size - 1u) / 8;

			if (hash->key[i].masks[j] & mask << info->offset % 8 * 8 && word >= first && word <= last)
				return true;
		}
	return false;
}

static void add_hash(struct text *text, const struct plan_table *table, bool six)
{
	const char *between = "by ";

	add(text, "%zu in a hash ", table->hashed[six]);
	for (int field = 0; field < FIELD_COUNT; field++)
		if (is_hashed(&table->config.hashes[six], (enum field)field, six)) {
			add(text, "%s%s", between, field_table[field].name);
			between = " and ";
		}
	add(text, ", ");
}

static void add_table(struct text *text, const struct plan_table *table)
{
	add(text, "table of %zu entries, ", table->entries[0] + table->entries[1]);
	for (unsigned six = 0; six < 2; six++)
		if (table->hashed[six])
			add_hash(text, table, six);
	add(text, "%u trees for IPv4, %u for IPv6, %zu bytes: about %.1f nodes and %.1f records a packet, %.0f ns%s",
	    table->config.trees4, table->config.trees6, table->tree_words * sizeof *table->words, table->nodes, table->records,
	    table->ns, table->bisects ? ", large since ranges overlap" : "");
}

static void add_cache(struct text *text, const struct plan *plan)
{
	const struct cache_family *families = plan->cache.families;

	if (!plan->cache_chunks)
		return;
	add(text, "cache of answers, %u KiB a CPU: keys of", plan->cache_chunks * (CACHE_CHUNK / 1024));
	for (unsigned six = 0; six < 2; six++)
		if (families[six].words)
			add(text, "%s %u bytes for %s", six && families[0].words ? "," : "", families[six].words * 8, six ? "IPv6" : "IPv4");
	add(text, "\n");
}

char *plan_print_summary(struct arena *arena, const struct plan *plan)
{
	struct text text = { .arena = arena };

	add(&text, "policy %s at %s\n", plan->ruleset->name, hook_table[plan->hook].name);
	if (plan->kind == PLAN_DIAGRAM)
		add(&text, "diagram of %zu nodes, %zu edges", plan->diagram.node_count, plan->diagram.edge_count);
	else if (plan->kind == PLAN_TABLE)
		add_table(&text, &plan->table);
	else
		add(&text, "list of %zu items", plan->item_count);
	add(&text, ": %s\n", plan->reason);
	add_cache(&text, plan);
	add(&text, "%zu answers, %zu steps, %u counters, %zu logs\n", plan->answer_count, plan->step_count,
	    plan->slots, plan->log_count);
	if (plan->rate_count)
		add(&text, "%zu rates, room for %u buckets and %u of flows\n", plan->rate_count, plan->buckets,
		    plan->flow_buckets);
	for (size_t i = 0; i < plan->dim_count; i++)
		add(&text, "looks at %s\n", plan->dims[i].name);
	for (size_t i = 0; i < plan->set_count; i++)
		add_set(&text, plan, &plan->sets[i]);
	return finish(&text);
}

/* --- Graphviz ------------------------------------------------------------------------------------------- */

static void add_dot_leaves(struct text *text, const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->answer_count; i++) {
		add(text, "\ta%u [shape=box, label=\"", i);
		add_answer(text, plan, i);
		add(text, "\"];\n");
	}
}

static void add_dot_edge(struct text *text, const struct plan *plan, uint32_t index, uint64_t lo,
			 const struct diagram_edge *edge)
{
	add(text, "\tn%u -> %c%u [label=\"", index, edge->to & DIAGRAM_LEAF ? 'a' : 'n', edge->to & ~DIAGRAM_LEAF);
	add_interval(text, &plan->dims[plan->diagram.nodes[index].dim], lo, edge->last);
	add(text, "\"];\n");
}

static void add_dot_node(struct text *text, const struct plan *plan, uint32_t index)
{
	const struct diagram_node *node = &plan->diagram.nodes[index];
	uint64_t lo = 0;

	add(text, "\tn%u [label=\"%s\"];\n", index, plan->dims[node->dim].name);
	for (uint32_t i = 0; i < node->edge_count; i++) {
		add_dot_edge(text, plan, index, lo, &node->edges[i]);
		lo = node->edges[i].last + 1;
	}
}

static void add_dot_items(struct text *text, const struct plan *plan)
{
	for (size_t i = 0; i < plan->item_count; i++) {
		const struct list_item *item = &plan->items[i];

		add(text, "\tn%zu [label=\"", i);
		if (item->test)
			add_test(text, plan, item->test);
		else
			add(text, "always");
		add(text, "\"];\n\tn%zu -> %c%u [label=\"yes\"];\n", i, item->answers ? 'a' : 'n',
		    item->answers ? item->answer : item->target);
		if (item->test)
			add(text, "\tn%zu -> n%zu [label=\"no\"];\n", i, i + 1);
	}
}

char *plan_print_dot(struct arena *arena, const struct plan *plan)
{
	struct text text = { .arena = arena };

	add(&text, "digraph plan {\n");
	add_dot_leaves(&text, plan);
	if (plan->kind != PLAN_DIAGRAM)
		add_dot_items(&text, plan);
	for (size_t i = plan->diagram.node_count; i > 0; i--)
		add_dot_node(&text, plan, (uint32_t)i - 1);
	add(&text, "}\n");
	return finish(&text);
}
