/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables: rule sets too big for a diagram, as data. In: prepared rules; out: PLAN_TABLE, or why there is none. Several
 * tables are built, in different shapes; the one is kept whose walks are predicted to be the shortest.
 */
#include <string.h>

#include "plan/table.h"

enum {
	SAMPLES = 2000,                /* packets a prediction is made from */
	TRIAL_ENTRIES = 150000,        /* entries up to which all shapes are tried */
	BYTES_TARGET = 64,             /* for an entry */
	BYTES_MAX = 256,
	WORDS_LEAST = 1 << 12,
};

/* What the prediction adds up, in ns; docs/classifier.md says how it was measured. */
static const double ns_base = 10, ns_node = 7, ns_record = 3, ns_miss = 5;

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
	if (test->mask >> bit != (width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1))
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

static void find_fields(const struct table_work *table, struct table_family *family)
{
	const struct cut_field *from = family->six ? fields6 : fields4;
	unsigned count = family->six ? sizeof fields6 / sizeof *fields6 : sizeof fields4 / sizeof *fields4;

	for (unsigned i = 0; i < count; i++)
		family->fields[family->field_count++] = from[i];
	for (size_t i = 1; i < table->extras.count; i++)
		add_test_field(family, &table->extras.items[i]);
}

/* --- one table -------------------------------------------------------------------------------------------------- */

/* A finished attempt, and what it is expected to cost. */
struct attempt_table {
	struct table_config config;
	struct blob blob;
	double nodes, records, ns;
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
	size_t count = table->extras.count ? table->extras.count : 1;

	blob->count = blob->capacity = count * (sizeof(struct table_test) / 8);
	blob->items = ARENA_ARRAY(table->work->arena, uint64_t, blob->capacity);
	if (table->extras.count)
		memcpy(blob->items, table->extras.items, table->extras.count * sizeof(struct table_test));
}

static bool build_one(struct table_work *table, const struct tree_shape *shape, struct attempt_table *attempt)
{
	struct trees trees[2];
	unsigned scale = find_scale(table->order);
	uint64_t end = (uint64_t)TABLE_BOUND_MAX << scale;
	uint32_t by_default = answers_default(table->answers); /* before `codes` is looked at: it may grow */
	uint32_t code = table->answers->codes.items[by_default];

	*attempt = (struct attempt_table){ 0 };
	put_extras(table, &attempt->blob);
	for (unsigned i = 0; i < 2; i++)
		if (!trees_build(table, &table->families[i], shape, scale, &attempt->blob, &trees[i]))
			return false;
	attempt->config = (struct table_config){
		.trees4 = trees[0].count, .trees6 = trees[1].count, .scale = scale, .start = end << 32 | code,
		.limit = (uint32_t)attempt->blob.count, .resumes = table->resumes, .tests = table->extras.count > 1,
		.long4 = trees[0].longest > TABLE_SCAN_MAX, .long6 = trees[1].longest > TABLE_SCAN_MAX,
	};
	memcpy(attempt->config.roots4, trees[0].roots, trees[0].count * sizeof *trees[0].roots);
	memcpy(attempt->config.roots6, trees[1].roots, trees[1].count * sizeof *trees[1].roots);
	return true;
}

static void predict(const struct table_work *table, struct plan *plan, struct attempt_table *attempt)
{
	double bytes = (double)attempt->blob.count * 8, misses = 0;

	plan->table.config = attempt->config;
	plan->table.words = attempt->blob.items;
	table_sample(table, plan, SAMPLES, &attempt->nodes, &attempt->records);
	if (bytes > bytes_near)
		misses += 1 - bytes_near / bytes;
	if (bytes > bytes_far)
		misses += 4 * (1 - bytes_far / bytes);
	attempt->ns = ns_base + ns_node * attempt->nodes + ns_record * attempt->records +
		      ns_miss * misses * (attempt->nodes + attempt->records / 2) / 2;
}

/* --- the choice ------------------------------------------------------------------------------------------------- */

static const struct tree_shape shapes[] = {
	{ .threshold = 12, .growth = 2, .leaf = 4 },
	{ .threshold = 0, .growth = 2, .leaf = 4 },
	{ .threshold = 1, .growth = 2, .leaf = 4 },
	{ .threshold = 24, .growth = 1.5, .leaf = 4 },
	{ .threshold = 12, .growth = 1.2, .leaf = 5 },
	{ .threshold = 1, .growth = 1.2, .leaf = 5 },
};

static size_t entry_count(const struct table_work *table)
{
	return table->families[0].entries.count + table->families[1].entries.count;
}

/* In words: so much an entry, IPv6 ones twice. */
static size_t words_for(const struct table_work *table, size_t bytes)
{
	size_t units = table->families[0].entries.count + 2 * table->families[1].entries.count;
	size_t words = units * bytes / 8 + table->extras.count * (sizeof(struct table_test) / 8) + WORDS_LEAST;

	return words < TABLE_BASE_MAX ? words : TABLE_BASE_MAX;
}

/* Keeps the better one in *best. */
static bool try_shape(struct table_work *table, struct plan *plan, struct tree_shape shape, size_t bytes,
		      struct attempt_table *best)
{
	struct attempt_table attempt;

	shape.words_max = words_for(table, bytes);
	if (!build_one(table, &shape, &attempt))
		return false;
	predict(table, plan, &attempt);
	if (!best->blob.count || attempt.ns < best->ns)
		*best = attempt;
	return true;
}

/* Within the target if any shape is, then with more memory, at last without copies: then leaves are long lists. */
static void try_shapes(struct table_work *table, struct plan *plan, struct attempt_table *best)
{
	size_t count = entry_count(table) <= TRIAL_ENTRIES ? sizeof shapes / sizeof *shapes : 1;

	for (size_t i = 0; i < count; i++)
		try_shape(table, plan, shapes[i], BYTES_TARGET, best);
	for (size_t i = 0; i < count && !best->blob.count; i++)
		try_shape(table, plan, shapes[i], BYTES_MAX, best);
	if (!best->blob.count)
		try_shape(table, plan, (struct tree_shape){ .threshold = 1, .growth = 1.05, .leaf = 8 }, BYTES_MAX,
			  best);
	if (!best->blob.count)
		try_shape(table, plan, (struct tree_shape){ .growth = 1, .leaf = UINT32_MAX }, BYTES_MAX, best);
}

static void mark_needed(const struct work *work, struct plan *plan)
{
	for (size_t i = 0; i < work->dims.count; i++)
		plan->needed |= (uint32_t)1 << work->dims.items[i].field;
}

bool table_build(struct work *work, struct answers *answers, struct plan *plan, const char **ret_reason)
{
	struct table_work table = { .work = work, .answers = answers, .refused = NULL };
	struct attempt_table best = { .ns = 0 };

	entries_build(&table, plan);
	if (!table.refused) {
		find_fields(&table, &table.families[0]);
		find_fields(&table, &table.families[1]);
		try_shapes(&table, plan, &best);
		if (!best.blob.count)
			table.refused = "too many rules overlap: a table would need too much memory, or leaves too long";
	}
	if (table.refused) {
		*ret_reason = table.refused;
		return false;
	}
	plan->kind = PLAN_TABLE;
	plan->table = (struct plan_table){
		.config = best.config, .words = best.blob.items, .word_count = best.blob.count,
		.entries = entry_count(&table), .nodes = best.nodes, .records = best.records, .ns = best.ns,
	};
	plan->items = table.items.items;
	plan->item_count = table.items.count;
	plan->dims = work->dims.items;
	plan->dim_count = work->dims.count;
	mark_needed(work, plan);
	return true;
}
