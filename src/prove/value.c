/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Symbolic values, bit by bit: where each comes from. Every load, mask and change of byte order that classifiers make
 * only moves bits, so nothing is approximated. In: values; out: sets of packets.
 */
#include <stddef.h>
#include <string.h>

#include "prove/work.h"

uint32_t value_number(struct prove *prove, uint64_t number)
{
	struct value value;

	memset(&value, 0, sizeof value);
	value.kind = VALUE_BITS;
	for (unsigned i = 0; i < 64; i++)
		value.bits[i] = number >> i & 1 ? SOURCE_1 : SOURCE_0;
	return intern_number(&prove->values, &value);
}

uint32_t value_simple(struct prove *prove, enum value_kind kind, int32_t number)
{
	struct value value;

	memset(&value, 0, sizeof value);
	value.kind = kind;
	value.number = number;
	return intern_number(&prove->values, &value);
}

const struct value *value_at(const struct prove *prove, uint32_t value)
{
	return intern_at(&prove->values, value);
}

bool value_known(const struct value *value, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (value->kind != VALUE_BITS)
		return false;
	for (unsigned i = 0; i < 64; i++) {
		if (value->bits[i] > SOURCE_1)
			return false;
		number |= (uint64_t)(value->bits[i] == SOURCE_1) << i;
	}
	*ret_number = number;
	return true;
}

bdd_ref bit_set(struct prove *prove, source_bit bit)
{
	if (bit < SOURCE_PACKET)
		return bit == SOURCE_1 ? BDD_TRUE : BDD_FALSE;
	if (prove->fixed && prove->fixed[bit - SOURCE_PACKET] <= 1)
		return prove->fixed[bit - SOURCE_PACKET] ? BDD_TRUE : BDD_FALSE;
	return bdd_make(prove->bdd, prove->level_of_bit[bit - SOURCE_PACKET], BDD_TRUE, BDD_FALSE);
}

/* --- comparisons ---------------------------------------------------------------------------------------- */

/* From the least significant bit on; `swap_last`: the last bit is a sign. Equal numbers give `equal`. */
static bdd_ref less(struct prove *prove, const struct value *left, const struct value *right, unsigned bits,
		    bool swap_last, bdd_ref equal)
{
	struct bdd *bdd = prove->bdd;
	bdd_ref result = equal;

	for (unsigned i = 0; i < bits; i++) {
		bool swap = swap_last && i + 1 == bits;
		bdd_ref a = bit_set(prove, swap ? right->bits[i] : left->bits[i]);
		bdd_ref b = bit_set(prove, swap ? left->bits[i] : right->bits[i]);

		result = bdd_ite(bdd, a, bdd_ite(bdd, b, result, BDD_FALSE), bdd_ite(bdd, b, BDD_TRUE, result));
	}
	return result;
}

static bdd_ref equal(struct prove *prove, const struct value *left, const struct value *right, unsigned bits)
{
	struct bdd *bdd = prove->bdd;
	bdd_ref result = BDD_TRUE;

	for (unsigned i = 0; i < bits; i++) {
		bdd_ref a = bit_set(prove, left->bits[i]), b = bit_set(prove, right->bits[i]);

		result = bdd_ite(bdd, a, bdd_ite(bdd, b, result, BDD_FALSE), bdd_ite(bdd, b, BDD_FALSE, result));
	}
	return result;
}

static bdd_ref share_a_bit(struct prove *prove, const struct value *left, const struct value *right, unsigned bits)
{
	bdd_ref result = BDD_FALSE;

	for (unsigned i = 0; i < bits; i++)
		result = bdd_or(prove->bdd, result, bdd_and(prove->bdd, bit_set(prove, left->bits[i]),
							    bit_set(prove, right->bits[i])));
	return result;
}

bdd_ref value_compare(struct prove *prove, enum compare compare, bool wide, const struct value *left,
		      const struct value *right)
{
	unsigned bits = wide ? 64 : 32;

	switch (compare) {
	case COMPARE_EQ:
		return equal(prove, left, right, bits);
	case COMPARE_NE:
		return bdd_not(prove->bdd, equal(prove, left, right, bits));
	case COMPARE_LT:
		return less(prove, left, right, bits, false, BDD_FALSE);
	case COMPARE_LE:
		return less(prove, left, right, bits, false, BDD_TRUE);
	case COMPARE_GT:
		return less(prove, right, left, bits, false, BDD_FALSE);
	case COMPARE_GE:
		return less(prove, right, left, bits, false, BDD_TRUE);
	case COMPARE_SLT:
		return less(prove, left, right, bits, true, BDD_FALSE);
	case COMPARE_SLE:
		return less(prove, left, right, bits, true, BDD_TRUE);
	case COMPARE_SGT:
		return less(prove, right, left, bits, true, BDD_FALSE);
	case COMPARE_SGE:
		return less(prove, right, left, bits, true, BDD_TRUE);
	case COMPARE_SET:
		return share_a_bit(prove, left, right, bits);
	}
	return BDD_FALSE;
}

/* --- ranges --------------------------------------------------------------------------------------------- */

/* Numbers from `base` on, of as many as `count` bits make. All ranges reach into them. */
static bdd_ref within(struct prove *prove, const bdd_ref *bits, unsigned count, u128 base,
		      const struct range *ranges, size_t range_count)
{
	u128 last = base + u128_max(count), middle;
	size_t lower, upper = 0;
	bdd_ref low = BDD_FALSE, high = BDD_FALSE;

	if (!range_count)
		return BDD_FALSE;
	if (ranges[0].lo <= base && ranges[0].hi >= last)
		return BDD_TRUE;
	middle = base + ((u128)1 << (count - 1));
	for (lower = range_count; lower && ranges[lower - 1].lo >= middle;)
		lower--;
	while (upper < range_count && ranges[upper].hi < middle)
		upper++;
	if (bits[0] != BDD_TRUE)
		low = within(prove, bits + 1, count - 1, base, ranges, lower);
	if (bits[0] != BDD_FALSE)
		high = within(prove, bits + 1, count - 1, middle, ranges + upper, range_count - upper);
	return bdd_ite(prove->bdd, bits[0], high, low);
}

bdd_ref bits_in(struct prove *prove, const bdd_ref *bits, unsigned count, const struct range *ranges,
		size_t range_count)
{
	size_t first = 0, end = range_count;

	while (first < end && ranges[end - 1].lo > u128_max(count))
		end--;
	return within(prove, bits, count, 0, ranges + first, end - first);
}

/* --- fields --------------------------------------------------------------------------------------------- */

static unsigned member_bits(struct prove *prove, unsigned offset, unsigned size, bdd_ref *bits)
{
	for (unsigned i = 0; i < size * 8; i++)
		bits[size * 8 - 1 - i] = bit_set(prove, (source_bit)(SOURCE_PACKET + offset * 8 + i));
	return size * 8;
}

unsigned field_bits(struct prove *prove, enum field field, bdd_ref bits[128])
{
	const struct field_info *info = &field_table[field];

	if (info->size != 16)
		return member_bits(prove, info->offset, info->size, bits);
	member_bits(prove, info->offset, 8, bits);
	member_bits(prove, info->offset + 8u, 8, bits + 64);
	return 128;
}

bdd_ref field_between(struct prove *prove, enum field field, u128 lo, u128 hi)
{
	const struct range range = { lo, hi };
	bdd_ref bits[128];
	unsigned count = field_bits(prove, field, bits);

	return bits_in(prove, bits, count, &range, 1);
}

static bdd_ref family_is(struct prove *prove, enum packet_family family)
{
	return field_between(prove, FIELD_FAMILY, family, family);
}

bdd_ref field_present(struct prove *prove, enum field field)
{
	const struct field_info *info = &field_table[field];

	switch (info->presence) {
	case PRESENT_ALWAYS:
		return BDD_TRUE;
	case PRESENT_IP:
		return bdd_or(prove->bdd, family_is(prove, FAMILY_IPV4), family_is(prove, FAMILY_IPV6));
	case PRESENT_IPV4:
		return family_is(prove, FAMILY_IPV4);
	case PRESENT_IPV6:
		return family_is(prove, FAMILY_IPV6);
	case PRESENT_VALUE:
		return bdd_not(prove->bdd, field_between(prove, field, info->absent, info->absent));
	}
	return BDD_FALSE;
}

/* --- lookups -------------------------------------------------------------------------------------------- */

unsigned key_bytes(const struct prove_map *map)
{
	static const uint8_t plain[] = { [PROVE_KEY_IPV4] = 4, [PROVE_KEY_IPV6] = 16, [PROVE_KEY_VALUE] = 8 };

	return plain[map->key] + (map->lpm ? 4u : 0);
}

bool map_timed(const struct prove *prove, uint32_t map)
{
	int32_t named = prove->input->maps[map].named;

	return named >= 0 && prove->input->ruleset->sets[named].timed;
}

bdd_ref atom_set(struct prove *prove, const struct atom *atom)
{
	size_t known = prove->atoms.records.count;
	uint32_t number = intern_number(&prove->atoms, atom);

	if (number < ATOMS_MAX && number == known)
		prove->atom_levels[number] = order_atom(prove, atom);
	if (number >= ATOMS_MAX) {
		prove_stop(prove, "the program looks up more than %d different things", ATOMS_MAX);
		return BDD_FALSE;
	}
	return bdd_make(prove->bdd, prove->atom_levels[number], BDD_TRUE, BDD_FALSE);
}

/* Which byte of a key is the nth of the number that it holds, from the most significant on. */
static unsigned significant_byte(const struct prove_map *map, unsigned n)
{
	if (map->lpm)
		return 4 + n; /* network byte order */
	if (map->key == PROVE_KEY_IPV6)
		return n < 8 ? 7 - n : 23 - n;
	return key_bytes(map) - 1 - n;
}

/* The length that a key for an LPM trie asks for, or -1. */
static int64_t asked_length(const struct atom *atom)
{
	int64_t length = 0;

	for (unsigned i = 0; i < 32; i++) {
		if (atom->key[i] > SOURCE_1)
			return -1;
		length |= (int64_t)(atom->key[i] == SOURCE_1) << i;
	}
	return length;
}

/* Elements of a trie that are no longer than what is asked for. */
static size_t short_prefixes(struct arena *arena, const struct prove_map *map, unsigned full, int64_t length,
			     const struct range **ret_ranges)
{
	struct range *kept = ARENA_ARRAY(arena, struct range, map->count);
	size_t count = 0;

	for (size_t i = 0; i < map->count; i++)
		if (length >= full || map->elements[i].hi - map->elements[i].lo >= u128_max(full - (unsigned)length))
			kept[count++] = map->elements[i];
	*ret_ranges = kept;
	return count;
}

/* The number in the key, most significant bit first; returns how many bits. */
static unsigned key_number(struct prove *prove, const struct atom *atom, bdd_ref bits[128])
{
	const struct prove_map *map = &prove->input->maps[atom->map];
	unsigned bytes = key_bytes(map) - (map->lpm ? 4 : 0);

	for (unsigned i = 0; i < bytes * 8; i++)
		bits[i] = bit_set(prove, atom->key[significant_byte(map, i / 8) * 8 + 7 - i % 8]);
	return bytes * 8;
}

bdd_ref atom_possible(struct prove *prove, const struct atom *atom)
{
	static const uint8_t type_bits[SET_TYPE_COUNT] = {
		[SET_ADDRESS] = 128, [SET_PREFIX] = 128, [SET_PORT] = 16,
		[SET_MAC] = 48,	     [SET_MARK] = 32,	 [SET_USER] = 32,
	};
	const struct prove_map *map = &prove->input->maps[atom->map];
	struct range range = { 0, 0 };
	bdd_ref bits[128];

	if (map->key != PROVE_KEY_VALUE)
		return BDD_TRUE;
	if (map->named >= 0)
		range.hi = u128_max(type_bits[prove->input->ruleset->sets[map->named].type]);
	else if (map->count)
		range.hi = map->elements[map->count - 1].hi;
	return bits_in(prove, bits, key_number(prove, atom, bits), &range, 1);
}

int64_t atom_meaning(struct prove *prove, const struct atom *atom)
{
	const struct prove_map *map = &prove->input->maps[atom->map];
	const struct range *ranges = map->elements;
	size_t count = map->count;
	bdd_ref bits[128];
	unsigned width = key_number(prove, atom, bits);

	if (map->lpm) {
		int64_t length = asked_length(atom);

		if (length < 0)
			return -1;
		if (length > width)
			return BDD_FALSE;
		count = short_prefixes(prove->arena, map, width, length, &ranges);
	}
	return bits_in(prove, bits, width, ranges, count);
}
