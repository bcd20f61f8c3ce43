/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables: rule sets too big for a diagram, as data. In: prepared rules; out: PLAN_TABLE, or why there is none. Several
 * tables are built, in different shapes; the one is kept whose walks are predicted to be the shortest.
 */
#include <string.h>

#include "base/thread.h"
#include "plan/table.h"

enum {
	SAMPLES = 2000,                /* packets a prediction is made from */
	TRIAL_ENTRIES = 150000,        /* entries up to which all shapes are tried, beyond them two */
	THREAD_ENTRIES = 2048,         /* from which on a second thread builds half of them */
	BISECT_TRIES = 3,
	WORDS_LEAST = 1 << 12,
	ROOM_LEAST = 1 << 15,          /* words for versions of the table: at least so many, */
	ROOM_MOST = 1 << 19,           /* at most so many, */
	ROOM_ENTRY = 1,                /* else so many for an entry */
	ROOM_STEPS = 4096,
};

/* How large a table may become: what there is for an entry, and in all. */
struct budget {
	size_t entry_bytes, words;
};

static const struct budget budget_usual = { 64, TABLE_BASE_MAX };
static const struct budget budget_most = { 256, TABLE_BASE_MAX };
static const struct budget budget_bisected = { 4096, 1 << 23 };

/* What the prediction adds up, in ns; docs/classifier.md says how it was measured. */
static const double ns_base = 10, ns_node = 7, ns_record = 3, ns_miss = 5;

/* A little more than that in a small table; but a hash is where the trees beside it, being small, find room in caches. */
static const double ns_slot = 6;

/* The part of the packets that must enter a tree that is read ahead. */
static const double touched_least = 0.4;

/* Bytes from which on part of the visits miss the second and the last-level cache. */
static const double bytes_near = 1 << 20, bytes_far = 16 << 20;

/* --- fields to cut ---------------------------------------------------------------------------------------------- */

#define WORD_OF(member) offsetof(struct packet, member) / 8, offsetof(struct packet, member) % 8 * 8

static const struct cut_field fields4[] = {
	{ WORD_OF(src4), 32, BOX_SRC }, { WORD_OF(dst4), 32, BOX_DST }, { WORD_OF(src_port), 16, BOX_SRC_PORT },
	{ WORD_OF(dst_port), 16, BOX_DST_PORT }, { WORD_OF(proto), 9, BOX_PROTO },
};

static const struct cut_field fields6[] = {
	{ WORD_OF(src_hi), 64, BOX_SRC }, { WORD_OF(src_lo), 64, BOX_SRC_LO }, { WORD_OF(dst_hi), 64, BOX_DST },
	{ WORD_OF(dst_lo), 64, BOX_DST_LO }, { WORD_OF(src_port), 16, BOX_SRC_PORT },
	{ WORD_OF(dst_port), 16, BOX_DST_PORT }, { WORD_OF(proto), 9, BOX_PROTO },
};

/* Further tests of whole fields can be cut too. */
static void add_test_field(struct table_family *family, const struct table_test *test)
{
	unsigned bit, width;

	if (test->word == TABLE_REST || !test->mask || family->field_count == TABLE_FIELDS_MAX)
		return;
	bit = (unsigned)__builtin_ctzll(test->mask);
	width = 64 - (unsigned)__builtin_clzll(test->mask) - bit;
	if (test->mask >> bit != low_bits(width))
		return;
	for (unsigned i = 0; i < family->field_count; i++) {
		const struct cut_field *field = &family->fields[i];

		if (field->word == test->word && field->bit == bit && field->width == width &&
		    field->box == BOX_FIELDS)
			return;
	}
	family->fields[family->field_count++] =
		(struct cut_field){ (uint8_t)test->word, (uint8_t)bit, (uint8_t)width, BOX_FIELDS };
}

void table_fields(struct table_family *family)
{
	const struct cut_field *from = family->six ? fields6 : fields4;
	unsigned count = family->six ? sizeof fields6 / sizeof *fields6 : sizeof fields4 / sizeof *fields4;

	for (unsigned i = 0; i < count; i++)
		family->fields[family->field_count++] = from[i];
}

static void find_fields(const struct table_work *table, struct table_family *family)
{
	table_fields(family);
	for (size_t i = 1; i < table->extras.count; i++)
		add_test_field(family, &table->extras.items[i]);
}

/* --- one table -------------------------------------------------------------------------------------------------- */

/* A finished attempt, and what it is expected to cost. */
struct attempt_table {
	struct table_config config;
	struct blob blob;
	const bool *hides[2];
	double nodes, records, slots, ns;
	bool bisects;
};

static unsigned find_scale(uint32_t order)
{
	unsigned scale = 0;

	while (order >> scale >= TABLE_BOUND_MAX)
		scale++;
	return scale;
}

static void put_extras(struct table_work *table, struct blob *blob)
{
	size_t header = TABLE_HEADER / sizeof(struct table_test);
	size_t count = table->extras.count ? table->extras.count : header;

	blob->count = blob->capacity = count * (sizeof(struct table_test) / 8);
	blob->items = ARENA_ARRAY(table->work->arena, uint64_t, blob->capacity);
	if (table->extras.count)
		memcpy(blob->items, table->extras.items, table->extras.count * sizeof(struct table_test));
}

static size_t entry_count(const struct table_work *table)
{
	return table->families[0].entries.count + table->families[1].entries.count;
}

/* Before the trees, where an index of tests reaches it. */
static size_t room_words(const struct table_work *table)
{
	size_t words = entry_count(table) * ROOM_ENTRY;

	if (!table->stride)
		return 0;
	return words < ROOM_LEAST ? ROOM_LEAST : words > ROOM_MOST ? ROOM_MOST : words;
}

static bool build_one(struct table_work *table, const struct tree_shape *shape, struct attempt_table *attempt)
{
	struct table_hash hashes[2] = { { 0 } };
	struct trees trees[2];
	unsigned scale = find_scale(table->order);
	uint64_t end = (uint64_t)TABLE_BOUND_MAX << scale;
	uint32_t by_default = answers_default(table->answers); /* before `codes` is looked at: it may grow */
	uint32_t code = table->answers->codes.items[by_default];

	*attempt = (struct attempt_table){ 0 };
	put_extras(table, &attempt->blob);
	blob_extend(table->work->arena, &attempt->blob, room_words(table), 1);
	for (unsigned i = 0; i < 2; i++)
		if (shape->hash && table->hashed[i])
			hash_put(table->work->arena, table->hashed[i], &attempt->blob, &hashes[i]);
	for (unsigned i = 0; i < 2; i++)
		if (!trees_build(table, &table->families[i], shape, scale, &attempt->blob, &trees[i]))
			return false;
	attempt->config = (struct table_config){
		.trees4 = trees[0].count, .trees6 = trees[1].count, .scale = scale, .start = end << 32 | code,
		.limit = (uint32_t)attempt->blob.count, .resumes = table->resumes || table->stride,
		.tests = table->extras.count || table->stride, .changes = table->stride != 0,
		.long4 = trees[0].longest > TABLE_SCAN_MAX, .long6 = trees[1].longest > TABLE_SCAN_MAX,
	};
	attempt->hides[0] = trees[0].hides;
	attempt->hides[1] = trees[1].hides;
	memcpy(attempt->config.roots4, trees[0].roots, trees[0].count * sizeof *trees[0].roots);
	memcpy(attempt->config.roots6, trees[1].roots, trees[1].count * sizeof *trees[1].roots);
	memcpy(attempt->config.hashes, hashes, sizeof hashes);
	return true;
}

/*
 * The trees to read ahead: those that many packets enter, if there are several: one alone is waited for as well without.
 * A root that is a leaf leads to no node.
 */
static uint8_t choose_touched(const struct attempt_table *attempt, const struct table_visits *visits, bool six)
{
	const uint32_t *roots = six ? attempt->config.roots6 : attempt->config.roots4;
	unsigned trees = 0;

	for (unsigned i = 0; i < TABLE_TREES; i++)
		if (visits->entered[six][i] && table_node_bits(attempt->blob.items[roots[i]]) &&
		    (double)visits->entered[six][i] >= touched_least * (double)visits->packets[six])
			trees |= 1u << i;
	return (uint8_t)(trees & (trees - 1) ? trees : 0);
}

static void predict(const struct table_work *table, struct plan *plan, struct attempt_table *attempt)
{
	double bytes = (double)(attempt->blob.count - room_words(table)) * 8, misses = 0, packets;
	struct table_visits visits;

	plan->table.config = attempt->config;
	plan->table.words = attempt->blob.items;
	table_sample(table, plan, SAMPLES, &visits);
	packets = (double)(visits.packets[0] + visits.packets[1]);
	attempt->nodes = packets > 0 ? (double)visits.nodes / packets : 0;
	attempt->records = packets > 0 ? (double)visits.records / packets : 0;
	attempt->slots = packets > 0 ? (double)visits.slots / packets : 0;
	if (bytes >= (double)table->work->options.touched_min) {
		attempt->config.touch4 = choose_touched(attempt, &visits, false);
		attempt->config.touch6 = choose_touched(attempt, &visits, true);
	}
	if (bytes > bytes_near)
		misses += 1 - bytes_near / bytes;
	if (bytes > bytes_far)
		misses += 4 * (1 - bytes_far / bytes);
	attempt->ns = ns_base + ns_slot * attempt->slots + ns_node * attempt->nodes + ns_record * attempt->records +
		      ns_miss * misses * (attempt->nodes + attempt->slots + attempt->records / 2) / 2;
}

/* --- the choice ------------------------------------------------------------------------------------------------- */

static const struct tree_shape shapes[] = {
	{ .threshold = 12, .growth = 2, .leaf = 4 },
	{ .threshold = 1, .growth = 2, .leaf = 4 },
	{ .threshold = 0, .growth = 2, .leaf = 4 },
	{ .threshold = 24, .growth = 1.5, .leaf = 4 },
	{ .threshold = 12, .growth = 1.2, .leaf = 5 },
	{ .threshold = 1, .growth = 1.2, .leaf = 5 },
};

/* IPv6 entries count twice. */
static size_t words_within(const struct table_work *table, const struct budget *budget)
{
	size_t units = table->families[0].entries.count + 2 * table->families[1].entries.count;
	size_t words = units * budget->entry_bytes / 8 + table->extras.count * (sizeof(struct table_test) / 8) + room_words(table) +
		       WORDS_LEAST;

	return words < budget->words ? words : budget->words;
}

/* Keeps the better one in *best. */
static bool try_shape(struct table_work *table, struct plan *plan, struct tree_shape shape, const struct budget *budget,
		      struct attempt_table *best)
{
	struct attempt_table attempt;

	shape.words_max = words_within(table, budget);
	if (!build_one(table, &shape, &attempt))
		return false;
	attempt.bisects = shape.bisects;
	predict(table, plan, &attempt);
	if (!best->blob.count || attempt.ns < best->ns)
		*best = attempt;
	return true;
}

static bool has_hash(const struct table_work *table)
{
	return table->hashed[0] || table->hashed[1];
}

/* Whether the trees have nothing to do then. */
static bool hash_has_all(const struct table_work *table)
{
	for (unsigned i = 0; i < 2; i++)
		if (table->families[i].entries.count > (table->hashed[i] ? table->hashed[i]->taken_count : 0))
			return false;
	return has_hash(table);
}

/* With a hash, if there can be one, and without. */
static void try_both(struct table_work *table, struct plan *plan, struct tree_shape shape, struct attempt_table *best)
{
	shape.hash = has_hash(table);
	if (shape.hash)
		try_shape(table, plan, shape, &budget_usual, best);
	if (best->blob.count && (hash_has_all(table) || table->work->options.hash_min))
		return;
	shape.hash = false;
	try_shape(table, plan, shape, &budget_usual, best);
}

/* Some of the shapes, with memory of their own. */
struct trial {
	struct table_work table;
	struct work work;
	struct plan plan;
	struct attempt_table best;
	size_t first, behind;
};

static int run_trial(void *context)
{
	struct trial *trial = context;

	for (size_t i = trial->first; i < trial->behind; i++)
		try_both(&trial->table, &trial->plan, shapes[i], &trial->best);
	return 0;
}

static void *run_thread(void *context)
{
	struct trial *trial = context;

	if (arena_run(trial->work.arena, run_trial, trial))
		trial->best.blob.count = 0;
	return NULL;
}

struct halves {
	struct trial near, far;
};

static int take_far(void *context)
{
	struct halves *halves = context;
	struct attempt_table *best = &halves->near.best, far = halves->far.best;
	struct arena *arena = halves->near.work.arena;

	if (!far.blob.count || (best->blob.count && best->ns <= far.ns))
		return 0;
	far.blob.items = arena_copy(arena, far.blob.items, far.blob.count * sizeof *far.blob.items);
	far.blob.capacity = far.blob.count;
	for (unsigned i = 0; i < 2; i++)
		far.hides[i] = arena_copy(arena, far.hides[i], halves->near.table.families[i].entries.count);
	*best = far;
	return 0;
}

/* With many entries, the second half of the shapes is tried by a thread. The best is the first of the best, whoever was quicker. */
static void try_by_threads(struct table_work *table, struct plan *plan, size_t count, struct attempt_table *best)
{
	struct trial all = { .table = *table, .work = *table->work, .plan = *plan, .behind = count };
	struct halves halves = { all, all };
	pthread_t thread;
	bool started;

	answers_default(table->answers); /* it is there for both */
	halves.near.table.work = &halves.near.work;
	halves.far.table.work = &halves.far.work;
	halves.far.work.arena = entry_count(table) < THREAD_ENTRIES ? NULL : arena_new();
	halves.far.first = count / 2;
	started = halves.far.work.arena && !thread_start(&thread, run_thread, &halves.far);
	halves.near.behind = started ? count / 2 : count;
	run_thread(&halves.near);
	if (started)
		pthread_join(thread, NULL);
	if (started && arena_run(table->work->arena, take_far, &halves))
		halves.near.best.blob.count = 0;
	arena_free(halves.far.work.arena);
	*best = halves.near.best;
}

/*
 * For ranges that overlap so that no cut alone makes a leaf shorter. The shortest leaves that do not outgrow the limit are
 * best; where there is a table already, it is the first or none.
 */
static void try_bisecting(struct table_work *table, struct plan *plan, struct attempt_table *best)
{
	struct tree_shape shape = { .bisects = true, .leaf = 2 * table->work->options.bisect_min };
	unsigned tries = best->blob.count ? 1 : BISECT_TRIES;

	for (unsigned i = 0; i < tries && !try_shape(table, plan, shape, &budget_bisected, best); i++)
		shape.leaf *= 4;
}

/* Within the target if any shape is, then with more memory, at last without copies: then leaves are long lists. */
static void try_shapes(struct table_work *table, struct plan *plan, struct attempt_table *best)
{
	size_t count = entry_count(table) <= TRIAL_ENTRIES ? sizeof shapes / sizeof *shapes : 2;

	if (hash_has_all(table))
		count = 1; /* all are the same */
	try_by_threads(table, plan, count, best);
	for (size_t i = 0; i < count && !best->blob.count; i++)
		try_shape(table, plan, shapes[i], &budget_most, best);
	if (!best->blob.count)
		try_shape(table, plan, (struct tree_shape){ .threshold = 1, .growth = 1.05, .leaf = 8 }, &budget_most, best);
	if (!best->blob.count)
		try_shape(table, plan, (struct tree_shape){ .growth = 1, .leaf = UINT32_MAX }, &budget_most, best);
	if (!best->blob.count || best->records > table->work->options.bisect_min)
		try_bisecting(table, plan, best);
}

/* --- for later changes of single rules -------------------------------------------------------------------------- */

static bool names_link(const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++)
			if (ruleset->chains[i].rules[j].names_link)
				return true;
	return false;
}

/* What is not IP is judged by code, if any rule names the link layer. Every `return` ends that, too. */
static bool meets_link(const struct rule *rule)
{
	const struct action *terminal = rule_terminal(rule);

	return rule->names_link || (terminal && terminal->kind == ACTION_RETURN);
}

static void note_link(const struct rule *rule, struct table_header *header)
{
	if (!meets_link(rule))
		return;
	if (header->link_count == TABLE_LINKS)
		header->stride = 0;
	else
		header->links[header->link_count++] = rule->number;
}

static void note_links(const struct ruleset *ruleset, struct table_header *header)
{
	header->link = names_link(ruleset);
	for (size_t i = 0; i < ruleset->chains[0].rule_count && header->stride && header->link; i++)
		note_link(&ruleset->chains[0].rules[i], header);
}

static void put_entries(const struct table_work *table, struct attempt_table *best, unsigned index,
			struct table_header *header)
{
	const struct table_family *family = &table->families[index];
	size_t words = entry_words(family->six);
	size_t at = blob_extend(table->work->arena, &best->blob, family->entries.count * words, words);

	header->entries[index] = (uint32_t)at;
	header->entry_count[index] = (uint32_t)family->entries.count;
	for (size_t i = 0; i < family->entries.count; i++) {
		struct table_entry entry = family->entries.items[i];

		entry.value |= (best->hides[index][i] ? TABLE_HIDES : 0) | (entry.ends ? 0 : TABLE_OPEN);
		entry_put(&best->blob.items[at + i * words], &entry, family->six, false);
	}
}

static void add_name(struct table_work *table, struct attempt_table *best, struct table_header *header, const char *text,
		     struct table_name name)
{
	size_t words = sizeof name / 8, at;

	if (strlen(text) >= sizeof name.text)
		return;
	at = blob_extend(table->work->arena, &best->blob, words, 1);
	header->names = header->name_count++ ? header->names : (uint32_t)at;
	strcpy(name.text, text);
	memcpy(&best->blob.items[at], &name, sizeof name);
}

static void name_question(struct table_work *table, struct attempt_table *best, struct table_header *header, uint32_t rest)
{
	struct table_name name;
	const char *set = table_asks(table->work, table->rests.items[rest], &name);

	if (!set)
		return;
	name.number = table_question(table, rest);
	add_name(table, best, header, set, name);
}

static void put_names(struct table_work *table, struct attempt_table *best, struct table_header *header)
{
	const struct ruleset *ruleset = table->work->ruleset;

	for (uint32_t i = 0; i < table->rests.count; i++)
		name_question(table, best, header, i);
	for (uint32_t i = 0; i < ruleset->counter_count; i++)
		add_name(table, best, header, ruleset->counters[i],
			 (struct table_name){ .number = SLOT_RULES + header->rules + i, .kind = TABLE_COUNTER });
}

static void put_sites(struct table_work *table, struct attempt_table *best, struct table_header *header)
{
	size_t words = sizeof(struct table_site) / 8, count = table->sites.count;

	if (!count)
		return;
	header->sites = (uint32_t)blob_extend(table->work->arena, &best->blob, count * words, 1);
	memcpy(&best->blob.items[header->sites], table->sites.items, count * sizeof(struct table_site));
}

static bool rejects(const struct answers *answers)
{
	for (size_t i = 0; i < answers->codes.count; i++)
		if (!(answers->codes.items[i] & ANSWER_STEPS) && (answers->codes.items[i] & 3) == ANSWER_REJECT)
			return true;
	for (size_t i = 0; i < answers->steps.count; i++)
		if (answers->steps.items[i].kind == STEP_VERDICT && answers->steps.items[i].a == ANSWER_REJECT)
			return true;
	return false;
}

uint32_t table_levels(const struct ruleset *ruleset)
{
	uint32_t levels = ruleset->cgroup_level_count;

	for (unsigned i = 0; i < ruleset->cgroup_level_count; i++)
		levels |= (uint32_t)ruleset->cgroup_levels[i] << 8 * (i + 1);
	return levels;
}

/* Whether single rules can be changed in place. */
static bool put_header(struct table_work *table, const struct plan *plan, struct attempt_table *best)
{
	const struct ruleset *ruleset = table->work->ruleset;
	size_t steps = table->answers->steps.count, room = room_words(table);
	size_t start = table->extras.count * (sizeof(struct table_test) / 8);
	struct table_header header = {
		.stride = table->stride, .rules = ruleset_shown(ruleset), .first = ruleset->hidden_count,
		.site_count = table->site_count, .scale = best->config.scale,
		.hook = table->work->hook, .needed = plan->needed, .rejects = rejects(table->answers), .captures = ruleset->captures_size != 0,
		.levels = table_levels(ruleset),
		.steps = (uint32_t)steps, .steps_end = (uint32_t)steps + ROOM_STEPS,
	};

	header.room = (uint32_t)(start ? start : TABLE_HEADER / 8);
	header.room_end = header.room + (uint32_t)room;
	note_links(ruleset, &header);
	for (unsigned i = 0; i < 2 && header.stride; i++)
		put_entries(table, best, i, &header);
	if (header.stride) {
		put_names(table, best, &header);
		put_sites(table, best, &header);
	}
	memcpy(best->blob.items, &header, sizeof header);
	return header.stride;
}

static void mark_needed(const struct work *work, struct plan *plan)
{
	for (size_t i = 0; i < work->dims.count; i++)
		plan->needed |= FIELD_BIT(work->dims.items[i].field);
}

bool table_build(struct work *work, struct answers *answers, struct plan *plan, const char **ret_reason)
{
	struct table_work table = { .work = work, .answers = answers, .refused = NULL };
	struct attempt_table best = { .ns = 0 };
	size_t tree_words;
	bool changes;

	entries_build(&table, plan);
	if (!table.refused) {
		find_fields(&table, &table.families[0]);
		find_fields(&table, &table.families[1]);
		for (unsigned i = 0; i < 2; i++)
			table.hashed[i] = hash_build(&table, &table.families[i]);
		try_shapes(&table, plan, &best);
		if (!best.blob.count)
			table.refused = "too many rules overlap: a table would need too much memory, or leaves too long";
	}
	if (table.refused) {
		*ret_reason = table.refused;
		return false;
	}
	mark_needed(work, plan);
	tree_words = best.blob.count - room_words(&table);
	changes = table.stride && put_header(&table, plan, &best);
	plan->kind = PLAN_TABLE;
	plan->table = (struct plan_table){
		.config = best.config, .words = best.blob.items, .word_count = best.blob.count,
		.tree_words = tree_words, .step_room = changes ? ROOM_STEPS : 0,
		.entries = { table.families[0].entries.count, table.families[1].entries.count },
		.bisects = best.bisects, .nodes = best.nodes, .records = best.records, .ns = best.ns,
	};
	for (unsigned i = 0; i < 2; i++)
		plan->table.hashed[i] = best.config.hashes[i].slots ? table.hashed[i]->count : 0;
	plan->items = table.items.items;
	plan->item_count = table.items.count;
	plan->dims = work->dims.items;
	plan->dim_count = work->dims.count;
	return true;
}
