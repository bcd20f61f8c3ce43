/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Boxes: conditions in the form that table records have. In: tests over dimensions; out: unions of boxes, each a
 * product of intervals and further tests; what is no comparison (sets, alternatives beyond a limit) becomes a question to
 * classify_rest(). Exact. Fails only as the arena does; too much of anything sets table->refused.
 */
#include <string.h>

#include "base/hash.h"
#include "plan/table.h"

#define NO_BOX BOX_FIELDS

/* --- fields ----------------------------------------------------------------------------------------------------- */

static enum box_field box_field(const struct dim *dim)
{
	if (dim->kind != DIM_VALUE || dim->mask != ~0ull)
		return NO_BOX;
	switch (dim->field) {
	case FIELD_IP_SRC: return BOX_SRC;
	case FIELD_IP_DST: return BOX_DST;
	case FIELD_IPV6_SRC: return dim->offset == offsetof(struct packet, src_hi) ? BOX_SRC : BOX_SRC_LO;
	case FIELD_IPV6_DST: return dim->offset == offsetof(struct packet, dst_hi) ? BOX_DST : BOX_DST_LO;
	case FIELD_SRC_PORT: return BOX_SRC_PORT;
	case FIELD_DST_PORT: return BOX_DST_PORT;
	case FIELD_PROTO: return BOX_PROTO;
	default: return NO_BOX;
	}
}

struct boxes boxes_all(struct table_work *table)
{
	struct box *box = ARENA_NEW(table->work->arena, struct box);

	for (int i = 0; i < BOX_FIELDS; i++)
		box->in[i].hi = UINT64_MAX;
	return (struct boxes){ box, 1 };
}

/* --- further tests ---------------------------------------------------------------------------------------------- */

static uint64_t test_hash(const struct test *test, unsigned depth)
{
	uint64_t hash = hash_mix(7, test->kind);

	if (depth > 8)
		return hash;
	switch (test->kind) {
	case TEST_NOT:
		return hash_mix(hash, test_hash(test->inner, depth + 1));
	case TEST_IN:
		hash = hash_mix(hash, test->in.dim);
		for (size_t i = 0; i < test->in.count; i++)
			hash = hash_mix(hash_mix(hash, test->in.intervals[i].lo), test->in.intervals[i].hi);
		return hash;
	default:
		for (size_t i = 0; i < test->list.count; i++)
			hash = hash_mix(hash, test_hash(test->list.items[i], depth + 1));
		return hash;
	}
}

static bool test_equal(const struct test *a, const struct test *b)
{
	if (a == b)
		return true;
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case TEST_NOT:
		return test_equal(a->inner, b->inner);
	case TEST_IN:
		return a->in.dim == b->in.dim && a->in.count == b->in.count &&
		       !memcmp(a->in.intervals, b->in.intervals, a->in.count * sizeof *a->in.intervals);
	default:
		if (a->list.count != b->list.count)
			return false;
		for (size_t i = 0; i < a->list.count; i++)
			if (!test_equal(a->list.items[i], b->list.items[i]))
				return false;
		return true;
	}
}

static void rehash_rests(struct table_work *table)
{
	table->rest_size = table->rest_size ? 2 * table->rest_size : 64;
	table->rest_index = ARENA_ARRAY(table->work->arena, uint32_t, table->rest_size);
	for (uint32_t i = 0; i < table->rests.count; i++) {
		size_t at = test_hash(table->rests.items[i], 0) & (table->rest_size - 1);

		while (table->rest_index[at])
			at = (at + 1) & (table->rest_size - 1);
		table->rest_index[at] = i + 1;
	}
}

uint32_t boxes_question(struct table_work *table, const struct test *test)
{
	size_t at;

	if (2 * table->rests.count >= table->rest_size)
		rehash_rests(table);
	at = test_hash(test, 0) & (table->rest_size - 1);
	for (; table->rest_index[at]; at = (at + 1) & (table->rest_size - 1))
		if (test_equal(table->rests.items[table->rest_index[at] - 1], test))
			return table->rest_index[at] - 1;
	VEC_PUSH(table->work->arena, &table->rests) = test;
	table->rest_index[at] = (uint32_t)table->rests.count;
	return (uint32_t)table->rests.count - 1;
}

static void add_part(struct table_work *table, struct box *box, struct table_test test)
{
	struct part *part = ARENA_NEW(table->work->arena, struct part);

	part->next = box->parts;
	part->test = test;
	box->parts = part;
}

/* The question is resumed at by its item, which is not laid out yet: `lo` is its number for now. */
static void add_rest(struct table_work *table, struct boxes *boxes, const struct test *test)
{
	struct table_test question = { .lo = boxes_question(table, test), .word = TABLE_REST };

	for (size_t i = 0; i < boxes->count; i++)
		add_part(table, &boxes->items[i], question);
}

/* A comparison of any value: its bits are where they are in the word. */
static struct table_test compare(unsigned offset, unsigned size, uint64_t mask, struct interval in)
{
	unsigned bit = offset % 8 * 8;
	uint64_t full = size == 8 ? UINT64_MAX : ((uint64_t)1 << size * 8) - 1;

	return (struct table_test){ .mask = (mask & full) << bit, .lo = in.lo << bit, .span = (in.hi - in.lo) << bit,
				    .word = offset / 8 };
}

/* --- meeting ---------------------------------------------------------------------------------------------------- */

static struct boxes meet(struct table_work *table, const struct boxes *boxes, const struct test *test, bool own);

static struct boxes copy_boxes(struct table_work *table, const struct boxes *boxes, size_t room)
{
	struct boxes copy = { ARENA_ARRAY(table->work->arena, struct box, room ? room : 1), boxes->count };

	memcpy(copy.items, boxes->items, boxes->count * sizeof *boxes->items);
	return copy;
}

static bool narrow(struct box *box, enum box_field field, struct interval in)
{
	struct interval *own = &box->in[field];

	own->lo = own->lo > in.lo ? own->lo : in.lo;
	own->hi = own->hi < in.hi ? own->hi : in.hi;
	return own->lo <= own->hi;
}

/* In place: one interval, or the least that holds all. */
static void narrow_all(struct boxes *boxes, enum box_field field, struct interval in)
{
	size_t kept = 0;

	for (size_t i = 0; i < boxes->count; i++) {
		boxes->items[kept] = boxes->items[i];
		kept += narrow(&boxes->items[kept], field, in);
	}
	boxes->count = kept;
}

static struct boxes each_interval(struct table_work *table, const struct boxes *boxes, const struct test *test)
{
	const struct dim *dim = &table->work->dims.items[test->in.dim];
	enum box_field field = box_field(dim);
	struct boxes out = { ARENA_ARRAY(table->work->arena, struct box, boxes->count * test->in.count + 1), 0 };

	for (size_t i = 0; i < boxes->count; i++)
		for (size_t j = 0; j < test->in.count; j++) {
			struct box *box = &out.items[out.count];

			*box = boxes->items[i];
			if (field == NO_BOX)
				add_part(table, box, compare(dim->offset, dim->size, dim->mask, test->in.intervals[j]));
			else if (!narrow(box, field, test->in.intervals[j]))
				continue;
			out.count++;
		}
	return out;
}

static struct boxes meet_in(struct table_work *table, const struct boxes *boxes, const struct test *test, bool own)
{
	const struct dim *dim = &table->work->dims.items[test->in.dim];
	enum box_field field = box_field(dim);
	struct interval hull = { test->in.intervals[0].lo, test->in.intervals[test->in.count - 1].hi };
	struct boxes out;

	if (dim->kind == DIM_VALUE && test->in.count > 1 && boxes->count * test->in.count <= TABLE_BOXES_MAX)
		return each_interval(table, boxes, test);
	out = own ? *boxes : copy_boxes(table, boxes, boxes->count);
	if (field != NO_BOX)
		narrow_all(&out, field, hull);
	if (dim->kind == DIM_SET || dim->tuned || test->in.count > 1) /* `tuned` is in no word that records can name */
		add_rest(table, &out, test);
	else if (field == NO_BOX)
		for (size_t i = 0; i < out.count; i++)
			add_part(table, &out.items[i], compare(dim->offset, dim->size, dim->mask, hull));
	return out;
}

static struct boxes meet_any(struct table_work *table, const struct boxes *boxes, const struct test *const *items,
			     size_t count, bool negated, const struct test *whole)
{
	VEC(struct box) all = { 0 };
	struct boxes out;

	for (size_t i = 0; i < count && boxes->count; i++) {
		const struct test *item = negated ? test_not(table->work, items[i]) : items[i];
		struct boxes one = meet(table, boxes, item, false);

		if (all.count + one.count > TABLE_BOXES_MAX) {
			out = copy_boxes(table, boxes, boxes->count);
			add_rest(table, &out, whole);
			return out;
		}
		for (size_t j = 0; j < one.count; j++)
			VEC_PUSH(table->work->arena, &all) = one.items[j];
	}
	return (struct boxes){ all.items, all.count };
}

/* Sets come last in a list of tests, so alternatives have been made when they are added. */
static struct boxes meet_all(struct table_work *table, const struct boxes *boxes, const struct test *const *items,
			     size_t count, bool negated)
{
	struct boxes out = copy_boxes(table, boxes, boxes->count);

	for (size_t i = 0; i < count && out.count; i++)
		out = meet(table, &out, negated ? test_not(table->work, items[i]) : items[i], true);
	return out;
}

/* `own`: the boxes may be changed. */
static struct boxes meet(struct table_work *table, const struct boxes *boxes, const struct test *test, bool own)
{
	const struct test *inner = test->kind == TEST_NOT ? test->inner : NULL;

	switch (test->kind) {
	case TEST_IN:
		return meet_in(table, boxes, test, own);
	case TEST_AND:
		return meet_all(table, boxes, test->list.items, test->list.count, false);
	case TEST_OR:
		return meet_any(table, boxes, test->list.items, test->list.count, false, test);
	case TEST_NOT:
		if (inner->kind == TEST_OR)
			return meet_all(table, boxes, inner->list.items, inner->list.count, true);
		if (inner->kind == TEST_AND)
			return meet_any(table, boxes, inner->list.items, inner->list.count, true, test);
		break;
	}
	return meet(table, boxes, test_not(table->work, inner), own);
}

struct boxes boxes_meet(struct table_work *table, const struct boxes *boxes, const struct test *test)
{
	return meet(table, boxes, test, false);
}

/* --- entering --------------------------------------------------------------------------------------------------- */

/* A box on its way to entries: each address word as aligned blocks. */
struct entering {
	struct table_work *table;
	struct table_family *family;
	struct box box;
	struct { uint64_t at[TABLE_BLOCKS_MAX]; uint8_t shift[TABLE_BLOCKS_MAX]; unsigned count; } blocks[4];
	struct table_entry entry;
};

static unsigned word_bits(const struct table_family *family)
{
	return family->six ? 64 : 32;
}

/* Bits below the first one in which the two differ. */
static unsigned free_bits(uint64_t a, uint64_t b)
{
	return a == b ? 0 : 64 - (unsigned)__builtin_clzll(a ^ b);
}

static bool is_block(uint64_t lo, uint64_t hi)
{
	uint64_t differ = lo ^ hi;

	return !(differ & (differ + 1)) && !(lo & differ);
}

/* Splits lo .. hi into blocks; false if there are too many. */
static bool split_blocks(struct entering *entering, unsigned word, uint64_t lo, uint64_t hi)
{
	unsigned count = 0;

	for (;;) {
		unsigned shift = lo ? (unsigned)__builtin_ctzll(lo) : 64;

		while (shift && (low_bits(shift) > hi - lo))
			shift--;
		if (count == TABLE_BLOCKS_MAX)
			return false;
		entering->blocks[word].at[count] = lo;
		entering->blocks[word].shift[count++] = (uint8_t)shift;
		entering->blocks[word].count = count;
		if (hi - lo <= low_bits(shift))
			return true;
		lo += low_bits(shift) + 1;
	}
}

static void fill_blocks(struct entering *entering, unsigned word)
{
	static const uint8_t offsets[] = { offsetof(struct packet, src_hi), offsetof(struct packet, src_lo),
					   offsetof(struct packet, dst_hi), offsetof(struct packet, dst_lo) };
	struct interval in = entering->box.in[word];
	uint64_t full = low_bits(word_bits(entering->family));
	unsigned shift;

	in.hi = in.hi < full ? in.hi : full;
	if (split_blocks(entering, word, in.lo, in.hi))
		return;
	shift = free_bits(in.lo, in.hi);
	entering->blocks[word].at[0] = in.lo & ~low_bits(shift);
	entering->blocks[word].shift[0] = (uint8_t)shift;
	entering->blocks[word].count = 1;
	add_part(entering->table, &entering->box,
		 compare(offsets[word], entering->family->six ? 8 : 4, UINT64_MAX, in));
}

static size_t count_products(const struct entering *entering)
{
	return (size_t)entering->blocks[0].count * entering->blocks[1].count * entering->blocks[2].count *
	       entering->blocks[3].count;
}

static void fill_proto(struct entering *entering)
{
	struct interval in = entering->box.in[BOX_PROTO];
	unsigned shift;

	if (in.hi >= ABSENT_PROTO && in.lo == 0)
		return;
	in.hi = in.hi < ABSENT_PROTO ? in.hi : ABSENT_PROTO;
	shift = free_bits(in.lo, in.hi);
	entering->entry.mask |= (uint16_t)(TABLE_PROTO & ~low_bits(shift));
	entering->entry.value |= (uint16_t)(in.lo & ~low_bits(shift));
	if (!is_block(in.lo, in.hi))
		add_part(entering->table, &entering->box, compare(offsetof(struct packet, proto), 2, UINT64_MAX, in));
}

static bool same_run(const struct table_work *table, uint32_t first, const struct part *parts)
{
	for (const struct table_test *test = &table->extras.items[first]; parts; parts = parts->next, test++) {
		const struct table_test *wanted = &parts->test;

		if (test->mask != wanted->mask || test->lo != wanted->lo || test->span != wanted->span ||
		    test->word != wanted->word || test->more != (parts->next != NULL))
			return false;
	}
	return true;
}

static uint64_t run_hash(const struct part *parts)
{
	uint64_t hash = 11;

	for (; parts; parts = parts->next)
		hash = hash_mix(hash_mix(hash_mix(hash_mix(hash, parts->test.mask), parts->test.lo),
					 parts->test.span), parts->test.word);
	return hash;
}

static uint32_t add_run(struct table_work *table, const struct part *parts)
{
	uint32_t first = (uint32_t)table->extras.count;
	unsigned length = 0;

	for (; parts; parts = parts->next, length++) {
		struct table_test *test = &VEC_PUSH(table->work->arena, &table->extras);

		*test = parts->test;
		test->more = parts->next != NULL;
	}
	if (length > TABLE_TESTS_MAX)
		table->refused = "a rule makes more tests than a table record may have";
	return first;
}

/* Where the box's tests are; the same ones are kept once. */
static uint32_t find_run(struct table_work *table, const struct part *parts)
{
	size_t at = run_hash(parts) & (TABLE_EXTRA_HASH - 1);

	if (!parts)
		return 0;
	if (!table->extra_index)
		table->extra_index = ARENA_ARRAY(table->work->arena, uint32_t, TABLE_EXTRA_HASH);
	while (table->extras.count < TABLE_HEADER / sizeof(struct table_test)) /* are none */
		VEC_PUSH(table->work->arena, &table->extras) = (struct table_test){ 0 };
	for (; table->extra_index[at]; at = (at + 1) & (TABLE_EXTRA_HASH - 1))
		if (same_run(table, table->extra_index[at], parts))
			return table->extra_index[at];
	table->extra_index[at] = add_run(table, parts);
	if (table->extras.count > TABLE_EXTRAS_MAX)
		table->refused = "too many different conditions beside addresses, ports and protocols";
	return table->extra_index[at];
}

static void enter_blocks(struct entering *entering)
{
	struct table_entry *entry = &entering->entry;
	unsigned at[4] = { 0 };

	entry->tests = find_run(entering->table, entering->box.parts);
	entry->ends &= !entry->tests;
	for (size_t i = 0, count = count_products(entering); i < count; i++) {
		size_t rest = i;

		for (unsigned word = 0; word < 4; word++) {
			at[word] = (unsigned)(rest % entering->blocks[word].count);
			rest /= entering->blocks[word].count;
			entry->address[word] = entering->blocks[word].at[at[word]];
			entry->shift[word] = entering->blocks[word].shift[at[word]];
		}
		VEC_PUSH(entering->table->work->arena, &entering->family->entries) = *entry;
	}
}

/* `there`: for packets that have ports, else for those that have none. */
static void enter_ports(struct entering *entering, bool any, bool there)
{
	struct entering copy = *entering;

	for (unsigned i = 0; i < 2; i++) {
		struct interval in = entering->box.in[BOX_SRC_PORT + i];

		if (!any && (there ? in.lo >= ABSENT_PORT : in.hi < ABSENT_PORT))
			return;
		copy.entry.port_lo[i] = any || !there ? 0 : (uint16_t)in.lo;
		copy.entry.port_hi[i] = any || !there || in.hi >= ABSENT_PORT ? 0xffff : (uint16_t)in.hi;
	}
	if (!any) {
		copy.entry.mask |= TABLE_HAS_PORTS;
		copy.entry.value |= there ? TABLE_HAS_PORTS : 0;
	}
	enter_blocks(&copy);
}

static size_t entries_max(const struct table_work *table)
{
	size_t most = TABLE_ENTRIES_LEAST + (size_t)table->work->ruleset->rule_count * TABLE_ENTRIES_RULE;

	return most < TABLE_ENTRIES_MAX ? most : TABLE_ENTRIES_MAX;
}

static bool any_port(struct interval in)
{
	return in.lo == 0 && in.hi >= ABSENT_PORT;
}

void boxes_enter(struct table_work *table, struct table_family *family, const struct box *box, uint32_t order,
		 uint32_t answer, bool ends)
{
	struct entering entering = { .table = table, .family = family, .box = *box };

	entering.entry = (struct table_entry){ .order = order, .answer = answer, .ends = ends };
	if (table->refused)
		return;
	for (unsigned word = 0; word < 4; word++)
		fill_blocks(&entering, word);
	fill_proto(&entering);
	if (any_port(box->in[BOX_SRC_PORT]) && any_port(box->in[BOX_DST_PORT])) {
		enter_ports(&entering, true, true);
	} else {
		enter_ports(&entering, false, true);
		enter_ports(&entering, false, false);
	}
	if (table->families[0].entries.count + table->families[1].entries.count > entries_max(table))
		table->refused = "the rules make too many table entries";
}

/* --- for trees -------------------------------------------------------------------------------------------------- */

static bool test_interval(const struct table_work *table, uint32_t first, const struct cut_field *field,
			  struct interval *ret)
{
	uint64_t mask = low_bits(field->width) << field->bit;

	for (const struct table_test *test = &table->extras.items[first];; test++) {
		if (test->word == field->word && test->mask == mask) {
			*ret = (struct interval){ test->lo >> field->bit, (test->lo + test->span) >> field->bit };
			return true;
		}
		if (!test->more)
			return false;
	}
}

bool entry_interval(const struct table_work *table, const struct table_family *family,
		    const struct table_entry *entry, unsigned index, struct interval *ret)
{
	const struct cut_field *field = &family->fields[index];
	unsigned port = field->box - BOX_SRC_PORT, shift;

	switch (field->box) {
	case BOX_SRC: case BOX_SRC_LO: case BOX_DST: case BOX_DST_LO:
		shift = entry->shift[field->box];
		*ret = (struct interval){ entry->address[field->box], entry->address[field->box] | low_bits(shift) };
		return shift < field->width;
	case BOX_SRC_PORT: case BOX_DST_PORT:
		*ret = (struct interval){ entry->port_lo[port], entry->port_hi[port] };
		return ret->lo || ret->hi != 0xffff;
	case BOX_PROTO:
		*ret = (struct interval){ entry->value & TABLE_PROTO, (entry->value & TABLE_PROTO) |
					  (TABLE_PROTO & ~entry->mask) };
		return entry->mask & TABLE_PROTO;
	default:
		return entry->tests && test_interval(table, entry->tests, field, ret);
	}
}
