/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hashes: entries that fix the same fields of the packet (an address and a port, say) and ask nothing else, each in a slot of
 * its own. In: one family's entries; out: slots and pilots, or NULL. What finds no place, and all other entries, are left to
 * the trees: so whatever the rules are, a packet looks at one slot.
 *
 * Hash and displace: keys are dealt into small groups by a first hash; for one group after the other, the largest first, a
 * number is found (its pilot) by which a second hash puts all of its keys into slots that are free.
 */
#include <string.h>

#include "base/hash.h"
#include "plan/table.h"

enum {
	KEYS_LEAST = 64,
	SHARE = 2,          /* of the entries, one in so many must be in the hash: looking there costs as much as a small tree */
	GROUP = 4,          /* keys, about: 2 to 4 */
	SPARE = 8,          /* one slot for so many is not needed */
	SEEDS = 4,
	PILOTS = 1 << 16,
	PATIENCE = 256,     /* tries for each key, on average, however its pilots are found */
	GROUP_MOST = 24,    /* keys; of a larger group none gets a place */
	NOT_EXACT = 0,      /* set of fields */
};

/* Entries with one value in each of some fields. */
struct hashing {
	struct table_work *table;
	const struct table_family *family;
	struct table_hash hash;
	unsigned fields;    /* bit i: family->fields[i] */
	struct { uint8_t key, shift; } places[TABLE_FIELDS_MAX];
	uint32_t *keys;     /* entries, by order, with different keys */
	uint32_t *first;    /* by entry: the one of the same key that comes first, or itself */
	size_t count;
	uint64_t *sums;     /* of these */
	uint32_t *starts;   /* by group, and one more: where its keys are in `dealt` */
	uint32_t *dealt;    /* indexes of keys, by group */
	size_t groups;
	uint32_t *slots;    /* index of a key + 1; 0: free */
	uint16_t *pilots;
	size_t placed;
	uint64_t tries;     /* that are left */
};

/* --- which fields ----------------------------------------------------------------------------------------------- */

static bool is_exact(const struct hashing *hashing, const struct table_entry *entry, unsigned field, uint64_t *ret_value)
{
	struct interval in;

	if (!entry_interval(hashing->table, hashing->family, entry, field, &in) || in.lo != in.hi)
		return false;
	*ret_value = in.lo;
	return true;
}

/* The tests of a run that are of no such field. */
static unsigned count_other_tests(const struct hashing *hashing, uint32_t first, unsigned fields)
{
	const struct table_test *test = &hashing->table->extras.items[first];
	unsigned count = 1;

	while (test++->more)
		count++;
	for (unsigned i = 0; i < hashing->family->field_count; i++)
		count -= fields >> i & 1 && hashing->family->fields[i].box == BOX_FIELDS;
	return count;
}

/* Whether the entry asks for less than that these fields have one value each. */
static bool asks_nothing_else(const struct hashing *hashing, const struct table_entry *entry, unsigned fields)
{
	unsigned bits = hashing->family->six ? 64 : 32;
	bool proto = false, ports[2] = { false, false }, words[4] = { false, false, false, false };

	for (unsigned i = 0; i < hashing->family->field_count; i++) {
		unsigned box = hashing->family->fields[i].box;

		if (!(fields >> i & 1))
			continue;
		proto |= box == BOX_PROTO;
		if (box == BOX_SRC_PORT || box == BOX_DST_PORT)
			ports[box - BOX_SRC_PORT] = true;
		if (box <= BOX_DST_LO)
			words[box] = true;
	}
	for (unsigned i = 0; i < 4; i++)
		if (!words[i] && entry->shift[i] < bits && (hashing->family->six || i % 2 == 0))
			return false;
	for (unsigned i = 0; i < 2; i++)
		if (!ports[i] && (entry->port_lo[i] || entry->port_hi[i] != 0xffff))
			return false;
	if (entry->mask & TABLE_HAS_PORTS && (!(entry->value & TABLE_HAS_PORTS) || !(ports[0] || ports[1])))
		return false;
	if (!(entry->mask & TABLE_HAS_PORTS) && (ports[0] || ports[1]))
		return false;
	return (proto || !(entry->mask & TABLE_PROTO)) && !(entry->tests && count_other_tests(hashing, entry->tests, fields));
}

/* Bit i: the entry lets in but one value of field i. NOT_EXACT: it asks for more than that. */
static unsigned exact_fields(const struct hashing *hashing, const struct table_entry *entry)
{
	unsigned fields = 0;
	uint64_t value;

	for (unsigned i = 0; i < hashing->family->field_count; i++)
		if (is_exact(hashing, entry, i, &value))
			fields |= 1u << i;
	return asks_nothing_else(hashing, entry, fields) ? fields : NOT_EXACT;
}

/* Those that most entries have. */
static unsigned choose_fields(const struct hashing *hashing, uint16_t *fields)
{
	uint32_t *counts = ARENA_ARRAY(hashing->table->work->arena, uint32_t, 1 << TABLE_FIELDS_MAX);
	unsigned best = NOT_EXACT;

	for (size_t i = 0; i < hashing->family->entries.count; i++) {
		fields[i] = (uint16_t)exact_fields(hashing, &hashing->family->entries.items[i]);
		counts[fields[i]]++;
	}
	for (unsigned i = 1; i < 1 << TABLE_FIELDS_MAX; i++)
		if (counts[i] > (best == NOT_EXACT ? 0 : counts[best]))
			best = i;
	return best;
}

/* --- the layout of keys ----------------------------------------------------------------------------------------- */

/* A port that is absent is another number than each of those. */
static uint64_t field_mask_of(const struct cut_field *field)
{
	bool port = field->box == BOX_SRC_PORT || field->box == BOX_DST_PORT;

	return low_bits(field->width + port) << field->bit;
}

/* Puts the field where key word `at` has room. Fields of one word that are shifted alike share a part. */
static bool lay_part(struct hashing *hashing, unsigned field, unsigned at, unsigned shift, uint64_t used)
{
	struct table_key *key = &hashing->hash.key[at];
	uint64_t mask = field_mask_of(&hashing->family->fields[field]);
	unsigned word = hashing->family->fields[field].word;

	if (mask << shift >> shift != mask || mask << shift & used)
		return false;
	for (unsigned i = 0; i < TABLE_KEY_PARTS; i++) {
		if (key->masks[i] && (key->words[i] != word || key->shifts[i] != shift))
			continue;
		key->masks[i] |= mask;
		key->words[i] = (uint8_t)word;
		key->shifts[i] = (uint8_t)shift;
		hashing->places[field].key = (uint8_t)at;
		hashing->places[field].shift = (uint8_t)shift;
		return true;
	}
	return false;
}

static bool lay_field(struct hashing *hashing, unsigned field)
{
	for (unsigned at = 0; at < TABLE_KEY_WORDS; at++) {
		const struct table_key *key = &hashing->hash.key[at];
		uint64_t used = 0;

		for (unsigned i = 0; i < TABLE_KEY_PARTS; i++)
			used |= key->masks[i] << key->shifts[i];
		for (unsigned shift = 0; shift < 64; shift++) {
			if (!lay_part(hashing, field, at, shift, used))
				continue;
			if (hashing->hash.keys <= at)
				hashing->hash.keys = (uint8_t)(at + 1);
			return true;
		}
	}
	return false;
}

static uint8_t round_up(unsigned words)
{
	uint8_t power = 1;

	while (power < words)
		power = (uint8_t)(2 * power);
	return power;
}

/* False: they make too long a key. */
static bool lay_keys(struct hashing *hashing)
{
	for (unsigned i = 0; i < hashing->family->field_count; i++)
		if (hashing->fields >> i & 1 && !lay_field(hashing, i))
			return false;
	hashing->hash.stride = round_up(1u + hashing->hash.keys);
	return true;
}

static void key_of(const struct hashing *hashing, uint32_t entry, uint64_t ret_key[TABLE_KEY_WORDS])
{
	uint64_t value = 0;

	memset(ret_key, 0, TABLE_KEY_WORDS * sizeof *ret_key);
	for (unsigned i = 0; i < hashing->family->field_count; i++)
		if (hashing->fields >> i & 1 && is_exact(hashing, &hashing->family->entries.items[entry], i, &value))
			ret_key[hashing->places[i].key] |= value << hashing->family->fields[i].bit << hashing->places[i].shift;
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return hash_mix(hash_mix(1, *state), *state >> 32);
}

static void choose_factors(struct hashing *hashing, uint64_t seed)
{
	for (unsigned i = 0; i < TABLE_KEY_WORDS; i++)
		hashing->hash.key[i].factor = next_random(&seed) | 1;
}

static uint64_t sum_of(const struct hashing *hashing, uint32_t entry)
{
	uint64_t key[TABLE_KEY_WORDS], sum = 0;

	key_of(hashing, entry, key);
	for (unsigned i = 0; i < TABLE_KEY_WORDS; i++)
		sum += key[i] * hashing->hash.key[i].factor;
	return sum;
}

static bool same_key(const struct hashing *hashing, uint32_t a, uint32_t b)
{
	uint64_t one[TABLE_KEY_WORDS], other[TABLE_KEY_WORDS];

	key_of(hashing, a, one);
	key_of(hashing, b, other);
	return !memcmp(one, other, sizeof one);
}

static void find_keys(struct hashing *hashing, const uint16_t *fields)
{
	struct arena *arena = hashing->table->work->arena;
	size_t size = 64, count = hashing->family->entries.count;
	uint32_t *index;

	while (size < 2 * count)
		size *= 2;
	index = ARENA_ARRAY(arena, uint32_t, size); /* entry + 1 */
	for (uint32_t i = 0; i < count; i++) {
		size_t at;

		hashing->first[i] = i;
		if (fields[i] != hashing->fields)
			continue;
		at = table_hash_slot(sum_of(hashing, i), 0, size);
		while (index[at] && !same_key(hashing, index[at] - 1, i))
			at = (at + 1) & (size - 1);
		if (index[at]) {
			hashing->first[i] = index[at] - 1;
			continue;
		}
		index[at] = i + 1;
		hashing->keys[hashing->count++] = i;
	}
}

/* --- slots ------------------------------------------------------------------------------------------------------ */

static void deal_keys(struct hashing *hashing)
{
	uint32_t *at = hashing->starts;

	memset(at, 0, (hashing->groups + 1) * sizeof *at);
	for (size_t i = 0; i < hashing->count; i++) {
		hashing->sums[i] = sum_of(hashing, hashing->keys[i]);
		at[hashing->sums[i] >> hashing->hash.shift]++;
	}
	for (size_t i = 0; i < hashing->groups; i++)
		at[i + 1] += at[i]; /* where the group ends */
	for (size_t i = hashing->count; i > 0; i--)
		hashing->dealt[--at[hashing->sums[i - 1] >> hashing->hash.shift]] = (uint32_t)(i - 1);
}

static size_t slot_of(const struct hashing *hashing, uint32_t key, uint32_t pilot)
{
	return table_hash_slot(hashing->sums[key], pilot, hashing->hash.slots);
}

/* Puts the keys into free slots; how many, until one has none. */
static uint32_t put_keys(struct hashing *hashing, const uint32_t *keys, uint32_t count, uint32_t pilot)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t slot = slot_of(hashing, keys[i], pilot);

		if (hashing->slots[slot])
			return i;
		hashing->slots[slot] = keys[i] + 1;
	}
	return count;
}

static void place_group(struct hashing *hashing, size_t group)
{
	const uint32_t *keys = hashing->dealt + hashing->starts[group];
	uint32_t count = hashing->starts[group + 1] - hashing->starts[group];

	for (uint32_t pilot = 0; pilot < PILOTS && hashing->tries; pilot++, hashing->tries--) {
		uint32_t put = put_keys(hashing, keys, count, pilot);

		if (put == count) {
			hashing->pilots[group] = (uint16_t)pilot;
			hashing->placed += count;
			return;
		}
		while (put--)
			hashing->slots[slot_of(hashing, keys[put], pilot)] = 0;
	}
}

/* The largest groups first, while there is most room. */
static void place_groups(struct hashing *hashing)
{
	hashing->placed = 0;
	hashing->tries = (uint64_t)PATIENCE * hashing->count + PILOTS;
	memset(hashing->slots, 0, hashing->hash.slots * sizeof *hashing->slots);
	memset(hashing->pilots, 0, hashing->groups * sizeof *hashing->pilots);
	for (uint32_t size = GROUP_MOST; size > 0; size--)
		for (size_t group = 0; group < hashing->groups; group++)
			if (hashing->starts[group + 1] - hashing->starts[group] == size)
				place_group(hashing, group);
}

static void find_places(struct hashing *hashing)
{
	struct arena *arena = hashing->table->work->arena;
	unsigned bits = 1;

	while ((size_t)GROUP << bits < hashing->count)
		bits++;
	hashing->hash.shift = (uint8_t)(64 - bits);
	hashing->hash.slots = (uint32_t)(hashing->count + hashing->count / SPARE + 1);
	hashing->groups = (size_t)1 << bits;
	hashing->sums = ARENA_ARRAY(arena, uint64_t, hashing->count);
	hashing->dealt = ARENA_ARRAY(arena, uint32_t, hashing->count);
	hashing->starts = ARENA_ARRAY(arena, uint32_t, hashing->groups + 1);
	hashing->slots = ARENA_ARRAY(arena, uint32_t, hashing->hash.slots);
	hashing->pilots = ARENA_ARRAY(arena, uint16_t, hashing->groups);
	for (uint64_t seed = 1; seed <= SEEDS && hashing->placed < hashing->count; seed++) {
		choose_factors(hashing, seed);
		deal_keys(hashing);
		place_groups(hashing);
	}
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

/* Entries instead of keys; in a slot that is free any one. */
static void fill_slots(struct hashing *hashing, bool *taken)
{
	uint32_t any = 0;

	for (size_t i = 0; i < hashing->hash.slots; i++) {
		if (!hashing->slots[i])
			continue;
		any = hashing->keys[hashing->slots[i] - 1];
		taken[any] = true;
		hashing->slots[i] = any + 1;
	}
	for (size_t i = 0; i < hashing->hash.slots; i++)
		hashing->slots[i] = hashing->slots[i] ? hashing->slots[i] - 1 : any;
}

/* Entries of the same key are told apart by nothing. */
static void drop_hidden(const struct hashing *hashing, bool *taken, bool *hides)
{
	for (size_t i = 0; i < hashing->family->entries.count; i++) {
		uint32_t first = hashing->first[i];

		if (first == i || !taken[first] || !hashing->family->entries.items[first].ends)
			continue;
		taken[i] = true;
		hides[first] = true;
	}
}

static const struct hashed *finish(struct hashing *hashing)
{
	struct arena *arena = hashing->table->work->arena;
	struct hashed *hashed = ARENA_NEW(arena, struct hashed);
	uint64_t *words;

	hashed->taken = ARENA_ARRAY(arena, bool, hashing->family->entries.count);
	hashed->hides = ARENA_ARRAY(arena, bool, hashing->family->entries.count);
	fill_slots(hashing, hashed->taken);
	drop_hidden(hashing, hashed->taken, hashed->hides);
	hashed->hash = hashing->hash;
	hashed->count = hashing->placed;
	for (size_t i = 0; i < hashing->family->entries.count; i++)
		hashed->taken_count += hashed->taken[i];
	hashed->pilots = hashing->pilots;
	hashed->words = words = ARENA_ARRAY(arena, uint64_t, (size_t)hashing->hash.slots * hashing->hash.stride);
	for (size_t i = 0; i < hashing->hash.slots; i++, words += hashing->hash.stride) {
		const struct table_entry *entry = &hashing->family->entries.items[hashing->slots[i]];
		const struct table_slot slot = { .order = entry->order, .answer = entry->answer };
		uint64_t key[TABLE_KEY_WORDS];

		key_of(hashing, hashing->slots[i], key);
		memcpy(words, &slot, sizeof slot);
		memcpy(words + sizeof slot / 8, key, hashing->hash.keys * sizeof *key);
	}
	return hashed;
}

static size_t keys_least(const struct table_work *table, size_t entries)
{
	if (table->work->options.hash_min)
		return table->work->options.hash_min;
	return entries / SHARE < KEYS_LEAST ? KEYS_LEAST : entries / SHARE;
}

const struct hashed *hash_build(struct table_work *table, const struct table_family *family)
{
	struct arena *arena = table->work->arena;
	size_t count = family->entries.count, least = keys_least(table, count);
	struct hashing hashing = { .table = table, .family = family };
	uint16_t *fields;

	if (count < least)
		return NULL;
	fields = ARENA_ARRAY(arena, uint16_t, count);
	hashing.first = ARENA_ARRAY(arena, uint32_t, count);
	hashing.keys = ARENA_ARRAY(arena, uint32_t, count);
	hashing.fields = choose_fields(&hashing, fields);
	if (hashing.fields == NOT_EXACT || !lay_keys(&hashing))
		return NULL;
	choose_factors(&hashing, 1);
	find_keys(&hashing, fields);
	if (hashing.count < least)
		return NULL;
	find_places(&hashing);
	return hashing.placed < least ? NULL : finish(&hashing);
}

void hash_put(struct arena *arena, const struct hashed *hashed, struct blob *blob, struct table_hash *ret_hash)
{
	size_t pilots = (size_t)1 << (64 - hashed->hash.shift), words = (size_t)hashed->hash.slots * hashed->hash.stride;

	*ret_hash = hashed->hash;
	ret_hash->base = (uint32_t)blob_extend(arena, blob, words, hashed->hash.stride);
	memcpy(&blob->items[ret_hash->base], hashed->words, words * sizeof *hashed->words);
	ret_hash->pilots = (uint32_t)blob_extend(arena, blob, (pilots + 3) / 4, 8) * 4;
	memcpy((uint16_t *)blob->items + ret_hash->pilots, hashed->pilots, pilots * sizeof *hashed->pilots);
}
