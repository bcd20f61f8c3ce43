/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The proof of tables. In: the object with classify_rest(), the blob, the rules; out: equal, or packets that are judged
 * differently. What is not IP is judged by classify_rest() alone. Each family of IP is shown record by record and leaf by
 * leaf (table_match.c), which says nothing of a few packets (suspects) if something is amiss; for those, diagrams of
 * walker and rules are compared, as they are for code.
 */
#include <stddef.h>
#include <string.h>

#include "prove/table.h"

enum {
	SMALL = 4096, /* words of a blob up to which diagrams of all of it are tried */
	TRIES = 64,   /* packets that are tried where diagrams are too large; */
	TRIES_SMALL = 2000, /* or for a small blob */
};

/* Both ports are filled in if either is needed. */
static bool is_filled(const struct prove *prove, enum field field)
{
	const field_mask ports = FIELD_BIT(FIELD_SRC_PORT) | FIELD_BIT(FIELD_DST_PORT), needed = prove->input->needed;

	return (needed & ports ? needed | ports : needed) >> field & 1;
}

/* What is not filled in may hold anything: nothing is promised of it, and it must not matter. */
static void note(struct prove *prove, int byte)
{
	for (int field = 0; field < FIELD_COUNT; field++)
		if (byte >= field_table[field].offset && byte < field_table[field].offset + field_table[field].size &&
		    is_filled(prove, (enum field)field))
			prove->fields |= FIELD_BIT(field);
}

bool table_note(struct prove *prove, const uint64_t *looked)
{
	bool resume = false;

	for (int byte = 0; byte < PACKET_WORDS * 8; byte++) {
		if (!(looked[byte / 8] >> byte % 8 * 8 & 0xff))
			continue;
		note(prove, byte);
		resume |= byte >= (int)offsetof(struct packet, resume);
	}
	return resume;
}

void table_fix(struct prove *prove, bool six, const struct known *known)
{
	uint8_t *fixed = ARENA_ARRAY(prove->arena, uint8_t, PACKET_BITS);
	const unsigned family = offsetof(struct packet, family) * 8;

	for (unsigned bit = 0; bit < PACKET_BITS; bit++)
		fixed[bit] = known && bit < PACKET_WORDS * 64 && known->mask[bit / 64] >> bit % 64 & 1 ?
				     known->bits[bit / 64] >> bit % 64 & 1 : 2;
	for (unsigned bit = 0; bit < 8; bit++)
		fixed[family + bit] = (six ? FAMILY_IPV6 : FAMILY_IPV4) >> bit & 1;
	prove->fixed = fixed;
	spec_init(prove);
}

static bool compare_known(struct prove *prove, bool six, const struct known *known, bdd_ref *ret_different)
{
	table_fix(prove, six, known);
	return compare_fully(prove, contract_packets(prove, false), ret_different);
}

static uint64_t next_random(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return *random >> 33;
}

struct known table_pick(struct prove *prove, bdd_ref set, uint64_t *random)
{
	const struct bdd *bdd = prove->bdd;
	bool levels[LEVELS];
	struct known known;

	for (unsigned level = 0; level < LEVELS; level++)
		levels[level] = next_random(random) >> 8 & 1;
	while (!bdd_is_leaf(bdd, set)) {
		const struct bdd_node *node = &bdd->nodes.items[set];

		if (node->high == BDD_FALSE || node->low == BDD_FALSE)
			levels[node->level] = node->low == BDD_FALSE;
		set = levels[node->level] ? node->high : node->low;
	}
	memset(&known, 0, sizeof known);
	for (unsigned bit = 0; bit < PACKET_WORDS * 64; bit++)
		known_add(&known, bit / 64, (uint64_t)1 << bit % 64,
			  (uint64_t)levels[prove->level_of_bit[bit]] << bit % 64);
	return known;
}

/* Packets that there are of those; and that some rule is for, if there are. */
static bdd_ref some_packets(struct prove *prove, const struct items *items, uint64_t *random)
{
	bdd_ref packets = contract_packets(prove, true), chosen = BDD_FALSE;

	if (items->list.count)
		chosen = bdd_and(prove->bdd, packets, item_set(prove, items, &items->list.items[next_random(random) %
											    items->list.count]));
	return chosen == BDD_FALSE ? packets : chosen;
}

/* What is too large to be compared is tried: some packets of those suspects. */
static bool try_packets(struct prove *prove, bool six, const struct known *known, bdd_ref *ret_different)
{
	size_t mark = prove->bdd->nodes.count;
	unsigned tries = prove->table->count <= SMALL ? TRIES_SMALL : TRIES;
	struct items items;
	uint64_t random = 1;

	items_lay(prove, &items);
	for (unsigned i = 0; i < tries && !prove_stopped(prove); i++) {
		struct known packet;

		table_fix(prove, six, known);
		packet = table_pick(prove, some_packets(prove, &items, &random), &random);
		if (!compare_known(prove, six, &packet, ret_different))
			return false;
		bdd_release(prove->bdd, mark);
		bdd_look(prove->bdd);
	}
	prove->bdd->over = true;
	return true;
}

/* False: it is too large, and nothing is known; but work can go on. */
static bool fits(struct prove *prove, bool six, const struct known *known, bool *ret_equal, bdd_ref *ret_different)
{
	struct bdd *bdd = prove->bdd;
	size_t mark = bdd->nodes.count;

	*ret_equal = compare_known(prove, six, known, ret_different);
	if (!bdd->over || prove->why || (bdd->deadline && bdd_clock() > bdd->deadline))
		return true;
	bdd_release(bdd, mark);
	bdd->over = false;
	return false;
}

/* All of a small table, as its most ordinary example is wanted; else suspect by suspect. */
static bool compare_suspects(struct prove *prove, bool six, const struct suspects *suspects, bdd_ref *ret_different)
{
	bool equal = true;

	if (!suspects->all && !suspects->list.count)
		return true;
	prove->suspect_count += suspects->all ? 1 : suspects->list.count;
	if ((suspects->all || prove->table->count <= SMALL) && fits(prove, six, NULL, &equal, ret_different))
		return equal;
	if (suspects->all)
		return try_packets(prove, six, NULL, ret_different);
	for (size_t i = 0; i < suspects->list.count && !prove_stopped(prove); i++) {
		if (!fits(prove, six, &suspects->list.items[i], &equal, ret_different))
			equal = try_packets(prove, six, &suspects->list.items[i], ret_different);
		if (!equal || prove->troubled != BDD_FALSE)
			return equal;
	}
	return true;
}

static bool compare_other(struct prove *prove, bdd_ref *ret_different)
{
	bdd_ref ip = bdd_or(prove->bdd, field_between(prove, FIELD_FAMILY, FAMILY_IPV4, FAMILY_IPV4),
			    field_between(prove, FIELD_FAMILY, FAMILY_IPV6, FAMILY_IPV6));
	const struct table *table = prove->table;
	bool equal;

	spec_init_other(prove);
	prove->table = NULL; /* the program is what classify_rest() says */
	equal = compare_fully(prove, bdd_ite(prove->bdd, ip, BDD_FALSE, contract_packets(prove, false)), ret_different);
	prove->table = table;
	return equal;
}

bool table_compare(struct prove *prove, bdd_ref *ret_different)
{
	struct family *families = ARENA_ARRAY(prove->arena, struct family, 2);
	bool equal;

	for (unsigned six = 0; six < 2; six++) {
		families[six] = (struct family){ .prove = prove, .table = prove->table, .six = six };
		family_collect(&families[six]);
		prove->record_count += families[six].members.count;
	}
	equal = compare_other(prove, ret_different);
	for (unsigned six = 0; six < 2 && equal && prove->troubled == BDD_FALSE && !prove_stopped(prove); six++) {
		table_fix(prove, six, NULL);
		family_prove(&families[six]);
		if (!prove_stopped(prove))
			equal = compare_suspects(prove, six, &families[six].suspects, ret_different);
	}
	return equal;
}
