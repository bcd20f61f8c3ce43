/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reads a table as the walker in the kernel does (bpf/table.bpf.c), from bpf/table_abi.h alone. In: the blob and its
 * constants, that nobody vouches for; out: nodes and records. What is read outside of the blob is zero, as the map's value
 * ends in some zeros. The only file here that knows the layout.
 */
#include <stddef.h>
#include <string.h>

#include "bpf/table_abi.h"
#include "prove/table.h"

#define WORD_OF(member) (offsetof(struct packet, member) / 8)
#define BIT_OF(member) (offsetof(struct packet, member) % 8 * 8)

enum { NO_PORTS = 16 }; /* the bit of a port that says that there is none */

_Static_assert(ABSENT_PORT == 1u << NO_PORTS && TABLE_HAS_PORTS == 1 << (NO_PORTS - 7), "what the walker shifts");

/* --- the whole ------------------------------------------------------------------------------------------ */

/* What is added must be told apart again. */
static void check_keys(struct prove *prove, const struct table_hash *hash)
{
	for (unsigned i = 0; i < TABLE_KEY_WORDS && i < hash->keys; i++) {
		uint64_t used = 0;

		for (unsigned p = 0; p < TABLE_KEY_PARTS; p++) {
			uint64_t mask = hash->key[i].masks[p], part = mask << (hash->key[i].shifts[p] & 63);

			if (part >> (hash->key[i].shifts[p] & 63) != mask || part & used)
				prove_stop(prove, "parts of a key in the table overlap");
			used |= part;
		}
	}
}

static void read_family(struct table *table, bool six, const struct table_config *config)
{
	struct table_trees *trees = &table->families[six];

	trees->roots = six ? config->roots6 : config->roots4;
	trees->count = six ? config->trees6 : config->trees4;
	trees->longest = (six ? config->long6 : config->long4) ? TABLE_LEAF_MAX : TABLE_SCAN_MAX;
	trees->hash = config->hashes[six].slots ? &config->hashes[six] : NULL;
	if (trees->hash)
		check_keys(table->prove, trees->hash);
}

static uint64_t word_at(const struct table *table, uint64_t index)
{
	return index < table->count ? table->words[index] : 0;
}

static bool is_leaf(const struct table *table, uint64_t index)
{
	return !(word_at(table, index) >> TABLE_BITS_AT & 15);
}

static void copy_words(const struct table *table, uint64_t index, void *to, size_t bytes)
{
	for (size_t i = 0; i < bytes / 8; i++) {
		uint64_t word = word_at(table, index + i);

		memcpy((char *)to + i * 8, &word, 8);
	}
}

/* As the walker finds it: none if it would lie beyond what is read. */
static bool read_version(const struct table *table, uint64_t index, struct table_version *ret_version)
{
	if (!index || index > table->limit)
		return false;
	copy_words(table, index, ret_version, sizeof *ret_version);
	return true;
}

/* A packet whose judging goes on must find the version that it began with, by the tag. */
static void check_tag(struct table *table, const struct table_version *version, const struct table_version *latest)
{
	table->tag = version->tag;
	if (!version->tag || version->tag > TABLE_TAGS)
		prove_stop(table->prove, "the version of the table that is in force has no tag");
	if (version != latest && version->tag == latest->tag)
		prove_stop(table->prove, "two versions of the table have the same tag");
}

static void read_changes(struct table *table, const struct prove_changed *changed)
{
	struct table_version latest, before, *version = &latest;
	bool there = read_version(table, word_at(table, 0), &latest);

	if (there && changed->epoch < latest.since) {
		version = &before;
		there = read_version(table, latest.before, &before);
	}
	if (!there)
		return;
	check_tag(table, version, &latest);
	for (unsigned six = 0; six < 2; six++)
		table->families[six].changed = version->roots[six];
}

bool table_tree(const struct table_trees *trees, unsigned tree, uint32_t *ret_root)
{
	*ret_root = tree == TREE_CHANGED ? trees->changed : tree < trees->count ? trees->roots[tree] : 0;
	return tree == TREE_CHANGED ? trees->changed : tree < trees->count;
}

/* Of longer leaves, changes are asked for what is no answer (BOUNDED). */
size_t table_longest(const struct table_trees *trees, unsigned tree)
{
	return tree == TREE_CHANGED ? TABLE_SCAN_MAX : trees->longest;
}

const struct table *table_read(struct prove *prove)
{
	const struct table_config *config = prove->input->table;
	struct table *table = ARENA_NEW(prove->arena, struct table);

	*table = (struct table){
		.prove = prove, .words = prove->input->table_words, .count = prove->input->table_count, .limit = config->limit,
		.scale = config->scale, .resumes = config->resumes, .tests = config->tests, .start = config->start,
	};
	read_family(table, false, config);
	read_family(table, true, config);
	if (table->limit > table->count || table->scale > 63)
		prove_stop(prove, "the table's constants contradict its size");
	if (config->trees4 > TABLE_TREES || config->trees6 > TABLE_TREES)
		prove_stop(prove, "the table has more trees than are walked");
	if (config->changes && prove->input->changed)
		read_changes(table, prove->input->changed);
	else if (config->changes && word_at(table, 0))
		prove_stop(prove, "the table begins with changes");
	for (unsigned six = 0; six < 2; six++)
		for (unsigned i = 0; i < TABLE_TREES; i++)
			if ((six ? config->touch6 : config->touch4) >> i & 1 && is_leaf(table, table->families[six].roots[i]))
				prove_stop(prove, "a tree that is read ahead is a leaf alone");
	if (table->start & TABLE_GOES_ON)
		prove_stop(prove, "a search in the table begins with what is no order");
	return prove->why ? NULL : table;
}

struct table_node table_node(const struct table *table, uint64_t index)
{
	uint64_t word = word_at(table, index);

	if (index > table->limit)
		return (struct table_node){ .nowhere = true };
	return (struct table_node){
		.bits = word >> TABLE_BITS_AT & 15 ? 16 - (word >> TABLE_BITS_AT & 15) : 0,
		.shift = word >> TABLE_SHIFT_AT & 63,
		.word = word >> TABLE_WORD_AT & (PACKET_WORDS - 1),
		.bound = word >> TABLE_BOUND_AT << table->scale,
		.base = word >> TABLE_BASE_AT & TABLE_BASE_MAX,
	};
}

void table_deep(struct prove *prove, unsigned depth)
{
	if (depth >= TABLE_FOREVER)
		prove_stop(prove, "a tree of the table is deeper than is walked");
}

/* --- hashes --------------------------------------------------------------------------------------------- */

static unsigned key_words(const struct table_hash *hash)
{
	return hash->keys < TABLE_KEY_WORDS ? hash->keys : TABLE_KEY_WORDS;
}

void table_key_bits(const struct table_hash *hash, uint64_t looked[PACKET_WORDS])
{
	for (unsigned i = 0; i < key_words(hash); i++)
		for (unsigned p = 0; p < TABLE_KEY_PARTS; p++)
			looked[hash->key[i].words[p] & (PACKET_WORDS - 1)] |= hash->key[i].masks[p];
}

static uint64_t key_of(const struct table_key *key, const uint64_t words[PACKET_WORDS])
{
	uint64_t sum = 0;

	for (unsigned p = 0; p < TABLE_KEY_PARTS; p++)
		sum += (words[key->words[p] & (PACKET_WORDS - 1)] & key->masks[p]) << (key->shifts[p] & 63);
	return sum;
}

bool table_slot_of(const struct table *table, bool six, const struct known *known, uint64_t *ret_slot)
{
	const struct table_hash *hash = table->families[six].hash;
	uint64_t looked[PACKET_WORDS] = { 0 }, sum = 0, pilot;

	table_key_bits(hash, looked);
	for (unsigned word = 0; word < PACKET_WORDS; word++)
		if (looked[word] & ~known->mask[word])
			return false;
	for (unsigned i = 0; i < key_words(hash); i++)
		sum += key_of(&hash->key[i], known->bits) * hash->key[i].factor;
	pilot = hash->pilots + (sum >> (hash->shift & 63));
	if (pilot > (uint64_t)table->limit * 4)
		return false;
	*ret_slot = table_hash_slot(sum, word_at(table, pilot / 4) >> pilot % 4 * 16 & 0xffff, hash->slots);
	return true;
}

/* --- records -------------------------------------------------------------------------------------------- */

static struct bound *add_bound(struct record *record, unsigned word, uint64_t mask)
{
	struct bound *bound = &record->bounds[record->bound_count++];

	*bound = (struct bound){ .word = (uint8_t)word, .mask = mask };
	return bound;
}

static void add_equal(struct record *record, unsigned word, uint64_t mask, uint64_t value)
{
	struct bound *bound = add_bound(record, word, mask);

	bound->lo = bound->hi = value & mask;
}

/* The bits of an address from the shifted ones on. */
static void add_address(struct record *record, unsigned word, unsigned width, unsigned shift, uint64_t value)
{
	uint64_t full = width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;

	if (shift < width)
		add_equal(record, word, full >> shift << shift, value);
}

/* Of a port, 16 bits are compared, round and round. */
static void add_port(struct record *record, unsigned word, unsigned bit, uint64_t lo, uint64_t span)
{
	struct bound *bound;

	if (span == 0xffff)
		return;
	bound = add_bound(record, word, (uint64_t)0xffff << bit);
	bound->wraps = lo + span > 0xffff;
	bound->lo = lo << bit;
	bound->hi = ((lo + span) & 0xffff) << bit;
}

/* Protocol, and whether there are ports. */
static void add_rest(struct record *record, uint16_t value, uint16_t mask)
{
	const uint16_t others = (uint16_t)~(TABLE_PROTO | TABLE_HAS_PORTS);

	record->last = value & TABLE_LAST;
	record->never |= (value & mask & others) != 0;
	if (mask & TABLE_PROTO)
		add_equal(record, WORD_OF(proto), (uint64_t)(mask & TABLE_PROTO) << BIT_OF(proto),
			  (uint64_t)value << BIT_OF(proto));
	if (mask & TABLE_HAS_PORTS)
		add_equal(record, WORD_OF(dst_port), (uint64_t)1 << (BIT_OF(dst_port) + NO_PORTS),
			  value & TABLE_HAS_PORTS ? 0 : UINT64_MAX);
}

/* One further test: a word, masked, from `lo` on at most `span` further, round and round. */
static void add_test(struct record *record, const struct table_test *test)
{
	struct bound *bound;

	if (test->word >= PACKET_WORDS) {
		record->questions[record->question_count++] = (uint32_t)test->lo;
		return;
	}
	bound = add_bound(record, test->word, test->mask);
	bound->lo = test->lo;
	bound->hi = test->lo + test->span;
	bound->wraps = bound->hi < bound->lo;
}

static void add_tests(const struct table *table, struct record *record, uint64_t first)
{
	for (unsigned i = 0; i < TABLE_TESTS_MAX; i++) {
		struct table_test test;
		uint64_t index = (first + i) * (sizeof test / 8);

		if (index > table->limit) {
			record->never = true;
			return;
		}
		copy_words(table, index, &test, sizeof test);
		add_test(record, &test);
		if (!test.more)
			return;
	}
	record->never = true;
	prove_stop(table->prove, "a record of the table has more tests than are counted");
}

_Static_assert((int)BOUNDS_MAX >= 8 + (int)TABLE_TESTS_MAX, "room for all bounds of a record");
_Static_assert((int)QUESTIONS_MAX >= (int)TABLE_TESTS_MAX, "and for all questions");

/* What comes from now on is a test's. */
static void end_own(struct record *record)
{
	record->own_count = record->bound_count;
	record->own_never = record->never;
}

static void read4(const struct table *table, uint64_t index, struct record *record)
{
	struct table_record4 four;
	uint32_t tests;

	copy_words(table, index, &four, sizeof four);
	record->order = four.order;
	record->answer = four.answer;
	add_address(record, WORD_OF(src4), 32, four.src_shift & 63, four.src);
	add_address(record, WORD_OF(dst4), 32, four.dst_shift & 63, four.dst);
	add_rest(record, four.value, four.mask);
	add_port(record, WORD_OF(src_port), BIT_OF(src_port), four.src_port, four.src_span);
	add_port(record, WORD_OF(dst_port), BIT_OF(dst_port), four.dst_port, four.dst_span);
	tests = (uint32_t)four.tests | (uint32_t)(four.src_shift >> 6) << 16 | (uint32_t)(four.dst_shift >> 6) << 18;
	end_own(record);
	if (table->tests && tests)
		add_tests(table, record, tests);
}

static void read6(const struct table *table, uint64_t index, struct record *record)
{
	static const uint8_t words[] = { WORD_OF(src_hi), WORD_OF(src_lo), WORD_OF(dst_hi), WORD_OF(dst_lo) };
	struct table_record6 six;

	copy_words(table, index, &six, sizeof six);
	record->order = six.order;
	record->answer = six.answer;
	for (unsigned i = 0; i < 4; i++)
		add_address(record, words[i], 64, (six.shifts[2 * i] & 63u) + (six.shifts[2 * i + 1] & 63u),
			    six.addresses[i]);
	add_rest(record, six.value, six.mask);
	add_port(record, WORD_OF(src_port), BIT_OF(src_port), six.src_port, six.src_span);
	add_port(record, WORD_OF(dst_port), BIT_OF(dst_port), six.dst_port, six.dst_span);
	end_own(record);
	if (table->tests && six.tests)
		add_tests(table, record, six.tests);
}

bool table_record(const struct table *table, bool six, uint64_t index, struct record *ret_record)
{
	ret_record->never = false;
	ret_record->bound_count = ret_record->question_count = 0;
	if (index > table->limit)
		return false;
	if (six)
		read6(table, index, ret_record);
	else
		read4(table, index, ret_record);
	return true;
}

static void read_key(const struct table_key *key, uint64_t value, struct record *record)
{
	for (unsigned p = 0; p < TABLE_KEY_PARTS; p++) {
		uint64_t mask = key->masks[p];
		unsigned shift = key->shifts[p] & 63;

		if (mask)
			add_equal(record, key->words[p] & (PACKET_WORDS - 1), mask, value >> shift);
		value &= ~(mask << shift);
	}
	record->never |= value != 0;
}

_Static_assert((int)BOUNDS_MAX >= (int)TABLE_KEY_WORDS * (int)TABLE_KEY_PARTS, "room for all parts of a key");

bool table_slot(const struct table *table, bool six, uint64_t slot, struct record *ret_record)
{
	const struct table_hash *hash = table->families[six].hash;
	uint64_t index = hash->base + slot * hash->stride;
	struct table_slot head;

	*ret_record = (struct record){ .last = true };
	if (index > table->limit)
		return false;
	copy_words(table, index, &head, sizeof head);
	ret_record->order = head.order;
	ret_record->answer = head.answer;
	for (unsigned i = 0; i < key_words(hash); i++)
		read_key(&hash->key[i], word_at(table, index + sizeof head / 8 + i), ret_record);
	end_own(ret_record);
	return true;
}

unsigned table_stride(bool six)
{
	return (six ? sizeof(struct table_record6) : sizeof(struct table_record4)) / 8;
}

/* All but the mark of the leaf's end, unless that is compared. */
void table_raw(const struct table *table, bool six, uint64_t index, uint64_t *ret_words)
{
	size_t value = six ? offsetof(struct table_record6, value) : offsetof(struct table_record4, value);
	size_t mask = six ? offsetof(struct table_record6, mask) : offsetof(struct table_record4, mask);
	uint16_t bits, compared;

	copy_words(table, index, ret_words, table_stride(six) * 8ul);
	memcpy(&bits, (char *)ret_words + value, sizeof bits);
	memcpy(&compared, (char *)ret_words + mask, sizeof compared);
	bits &= (uint16_t)(compared | ~TABLE_LAST);
	memcpy((char *)ret_words + value, &bits, sizeof bits);
}
