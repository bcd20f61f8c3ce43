/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The order of bits in diagrams. Only speed depends on it: the code of a diagram becomes a diagram of its own size if
 * both look at things in the same order. In: decoded instructions; out: level_of_bit, atom_levels.
 *
 * Units are the members of struct packet that fields name (the first half of an IPv6 address cut in two, as an IPv4
 * address is one of the parts) and the lookups, told apart by map and by the member that the key begins with.
 */
#include <stddef.h>
#include <string.h>

#include "prove/work.h"

enum { UNITS_MAX = 192, SHORT_FUNCTION = 40 };

_Static_assert(UNITS_MAX >= LOOKUPS_MAX + 50, "units for all members and lookups");

struct unit {
	uint8_t offset, size; /* 0: a lookup */
	uint32_t map, member; /* of a lookup: member's unit */
};

struct unit_set {
	uint64_t bits[UNITS_MAX / 64];
};

struct ordering {
	struct prove *prove;
	struct unit units[UNITS_MAX];
	uint32_t count, lookups;
	struct unit_set before[UNITS_MAX]; /* units that come first on some path */
	uint32_t rank[UNITS_MAX];          /* where nothing else decides */
	struct unit_set *reached;          /* by instruction: units looked at before */
};

static void set_add(struct unit_set *set, uint32_t unit)
{
	set->bits[unit / 64] |= (uint64_t)1 << unit % 64;
}

static bool set_has(const struct unit_set *set, uint32_t unit)
{
	return set->bits[unit / 64] >> unit % 64 & 1;
}

static void set_join(struct unit_set *set, const struct unit_set *other)
{
	for (unsigned i = 0; i < UNITS_MAX / 64; i++)
		set->bits[i] |= other->bits[i];
}

/* --- units ---------------------------------------------------------------------------------------------- */

static void add_unit(struct ordering *ordering, unsigned offset, unsigned size)
{
	uint32_t unit = ordering->count++;

	ordering->units[unit] = (struct unit){ .offset = (uint8_t)offset, .size = (uint8_t)size };
	ordering->rank[unit] = unit;
	for (unsigned i = 0; i < size; i++)
		ordering->prove->units[offset + i] = unit;
}

/* resume first; the fields in the order of their table; then the rest. */
static void add_members(struct ordering *ordering)
{
	bool known[PACKET_BYTES] = { false };

	add_unit(ordering, offsetof(struct packet, resume), 4);
	memset(known + offsetof(struct packet, resume), 1, 4);
	for (int field = 0; field < FIELD_COUNT; field++) {
		const struct field_info *info = &field_table[field];

		if (!info->size || info->presence == PRESENT_IPV4)
			continue;
		memset(known + info->offset, 1, info->size);
		if (info->size != 16) {
			add_unit(ordering, info->offset, info->size);
			continue;
		}
		add_unit(ordering, info->offset + 4u, 4);
		add_unit(ordering, info->offset, 4);
		add_unit(ordering, info->offset + 8u, 8);
	}
	for (unsigned i = 0; i < PACKET_BYTES; i++)
		if (!known[i])
			add_unit(ordering, i, 1);
}

static uint32_t lookup_unit(struct ordering *ordering, uint32_t map, uint32_t member)
{
	for (uint32_t i = 0; i < ordering->count; i++)
		if (!ordering->units[i].size && ordering->units[i].map == map && ordering->units[i].member == member)
			return i;
	if (ordering->count == UNITS_MAX || ordering->lookups == LOOKUPS_MAX)
		return UNITS_MAX;
	ordering->lookups++;
	ordering->units[ordering->count] = (struct unit){ .map = map, .member = member };
	ordering->rank[ordering->count] = member;
	return ordering->count++;
}

/* --- what comes before what ----------------------------------------------------------------------------- */

static void look_at(struct ordering *ordering, struct unit_set *seen, uint32_t unit)
{
	set_join(&ordering->before[unit], seen);
	set_add(seen, unit);
}

/* The more significant bytes first. */
static void look_at_member(struct ordering *ordering, struct unit_set *seen, const struct insn *insn)
{
	struct unit_set now = *seen;

	for (int i = insn->size - 1; i >= 0; i--) {
		int at = insn->offset + i;

		if (at >= 0 && at < PACKET_BYTES)
			look_at(ordering, &now, ordering->prove->units[at]);
	}
	*seen = now;
}

/* A guess from the text before a call of a helper: what is looked up where. */
static void look_at_lookup(struct ordering *ordering, struct unit_set *seen, uint32_t at)
{
	const struct insn *insns = ordering->prove->insns;
	uint32_t first = at > 12 ? at - 12 : 0, map = UINT32_MAX, unit;

	for (uint32_t i = at; i > first && map == UINT32_MAX; i--)
		if (insns[i - 1].kind == INSN_MAP)
			map = (uint32_t)insns[i - 1].number;
	for (uint32_t i = at; i > first; i--) {
		if (insns[i - 1].kind != INSN_LOAD || insns[i - 1].offset < 0 ||
		    insns[i - 1].offset >= PACKET_BYTES)
			continue;
		unit = lookup_unit(ordering, map, ordering->prove->units[insns[i - 1].offset]);
		if (unit < UNITS_MAX)
			look_at(ordering, seen, unit);
		return;
	}
}

static void pass_on(struct ordering *ordering, const struct image_function *function, uint32_t to,
		    const struct unit_set *seen)
{
	if (to >= function->first && to < function->first + function->count)
		set_join(&ordering->reached[to], seen);
}

static struct unit_set scan_function(struct ordering *ordering, const struct image_function *function);

/* A load for a key is not a comparison. */
static bool is_key_part(const struct insn *insns, uint32_t at, uint32_t end)
{
	uint32_t next = at + 1 < end && (insns[at + 1].kind == INSN_REVERSE) ? at + 2 : at + 1;

	return next < end && insns[next].kind == INSN_STORE;
}

static void scan_insn(struct ordering *ordering, const struct image_function *function, uint32_t at,
		      struct unit_set *seen)
{
	const struct insn *insns = ordering->prove->insns, *insn = &insns[at];
	const struct image_function *called;
	struct unit_set inside;

	if (insn->kind == INSN_LOAD && !is_key_part(insns, at, function->first + function->count))
		look_at_member(ordering, seen, insn);
	if (insn->kind == INSN_HELPER)
		look_at_lookup(ordering, seen, at);
	if (insn->kind != INSN_CALL)
		return;
	called = &ordering->prove->image.functions[insn->number];
	if (called->count > SHORT_FUNCTION || called == function)
		return;
	set_join(&ordering->reached[called->first], seen);
	inside = scan_function(ordering, called);
	set_join(seen, &inside);
}

/* Everything that it looks at. Jumps go forward, so once is enough. */
static struct unit_set scan_function(struct ordering *ordering, const struct image_function *function)
{
	struct unit_set all = { { 0 } };

	for (uint32_t at = function->first; at < function->first + function->count; at++) {
		const struct insn *insn = &ordering->prove->insns[at];
		struct unit_set seen = ordering->reached[at];

		if (insn->kind == INSN_CALL &&
		    ordering->prove->image.functions[insn->number].count <= SHORT_FUNCTION &&
		    function->count <= SHORT_FUNCTION)
			continue; /* no deeper */
		scan_insn(ordering, function, at, &seen);
		set_join(&all, &seen);
		if (insn->kind == INSN_GOTO || insn->kind == INSN_BRANCH)
			pass_on(ordering, function, (uint32_t)((int64_t)at + 1 + insn->offset), &seen);
		if (insn->kind != INSN_GOTO && insn->kind != INSN_EXIT)
			pass_on(ordering, function, at + 1, &seen);
	}
	return all;
}

/* --- the order ------------------------------------------------------------------------------------------ */

static unsigned count_before(const struct ordering *ordering, uint32_t unit, const struct unit_set *done)
{
	unsigned count = 0;

	for (unsigned i = 0; i < UNITS_MAX / 64; i++)
		count += (unsigned)__builtin_popcountll(ordering->before[unit].bits[i] & ~done->bits[i]);
	return count - (set_has(&ordering->before[unit], unit) && !set_has(done, unit));
}

/* The unit for which least is missing; of several the one with the least rank. */
static uint32_t next_unit(const struct ordering *ordering, const struct unit_set *done)
{
	uint32_t best = UINT32_MAX;
	unsigned least = 0;

	for (uint32_t i = 0; i < ordering->count; i++) {
		unsigned missing = count_before(ordering, i, done);

		if (set_has(done, i))
			continue;
		if (best == UINT32_MAX || missing < least ||
		    (missing == least && ordering->rank[i] < ordering->rank[best])) {
			best = i;
			least = missing;
		}
	}
	return best;
}

static void place_unit(struct ordering *ordering, const struct unit *unit)
{
	struct prove *prove = ordering->prove;

	if (!unit->size) {
		prove->lookups[prove->lookup_count++] = (struct lookup_place){ unit->map, unit->member,
									       prove->next_level, 0 };
		prove->next_level += ATOMS_A_LOOKUP;
		return;
	}
	for (int byte = unit->size - 1; byte >= 0; byte--)
		for (int bit = 7; bit >= 0; bit--)
			prove->level_of_bit[(unit->offset + byte) * 8 + bit] = prove->next_level++;
}

void order_choose(struct prove *prove)
{
	struct ordering *ordering = ARENA_NEW(prove->arena, struct ordering);
	struct unit_set done = { { 0 } };

	ordering->prove = prove;
	ordering->reached = ARENA_ARRAY(prove->arena, struct unit_set, prove->image.insn_count + 1);
	add_members(ordering);
	for (size_t i = 0; i < prove->image.function_count; i++)
		scan_function(ordering, &prove->image.functions[i]);
	prove->lookups = ARENA_ARRAY(prove->arena, struct lookup_place, LOOKUPS_MAX);
	for (uint32_t i = 0; i < ordering->count; i++) {
		uint32_t unit = next_unit(ordering, &done);

		set_add(&done, unit);
		place_unit(ordering, &ordering->units[unit]);
	}
}

uint32_t order_atom(struct prove *prove, const struct atom *atom)
{
	uint32_t unit = UINT32_MAX;

	for (unsigned i = 0; i < KEY_BYTES * 8; i++)
		if (atom->key[i] >= SOURCE_PACKET)
			unit = prove->units[(atom->key[i] - SOURCE_PACKET) / 8];
	for (size_t i = 0; i < prove->lookup_count; i++) {
		struct lookup_place *place = &prove->lookups[i];

		if (place->map == atom->map && place->unit == unit && place->used < ATOMS_A_LOOKUP)
			return place->level + place->used++;
	}
	return prove->next_level++;
}
