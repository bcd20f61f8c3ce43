/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the walker of tables does, as a diagram: every path through every tree, whatever the blob says. In: a table; out:
 * the number that classify() returns. Exact, and as large as the table; for small ones, or few packets.
 */
#include <stddef.h>
#include <string.h>

#include "bpf/table_abi.h"
#include "prove/table.h"

/* One search: a tree, and the best that was found in the trees before. */
struct search {
	struct prove *prove;
	const struct table *table;
	bool six;
	uint32_t resume;
	uint64_t best; /* order << 32 | answer */
	size_t longest; /* leaf of the tree */
	size_t visits;
};

enum { VISITS_MAX = 400000 };

/* --- records -------------------------------------------------------------------------------------------- */

bdd_ref bound_set(struct prove *prove, const struct bound *bound)
{
	const struct range inside = { bound->lo, bound->hi };
	const struct range around[2] = { { 0, bound->hi }, { bound->lo, UINT64_MAX } };
	bdd_ref bits[64];

	for (unsigned i = 0; i < 64; i++)
		bits[63 - i] = bound->mask >> i & 1 ?
				       bit_set(prove, (source_bit)(SOURCE_PACKET + bound->word * 64 + i)) : BDD_FALSE;
	return bits_in(prove, bits, 64, bound->wraps ? around : &inside, bound->wraps ? 2 : 1);
}

/* Where the number that is returned means yes; it may be a part of the packet. */
static bdd_ref means_yes(struct prove *prove, uint64_t number)
{
	const struct value *yes = value_at(prove, value_number(prove, TABLE_YES));

	if (number & TROUBLE) {
		prove_stop(prove, "%s", prove->troubles.items[number & ~TROUBLE]);
		return BDD_FALSE;
	}
	if (number & NO_ANSWER)
		return value_compare(prove, COMPARE_EQ, false, value_at(prove, (uint32_t)number), yes);
	return (uint32_t)number == TABLE_YES ? BDD_TRUE : BDD_FALSE;
}

/* Where classify_rest() says yes. */
static bdd_ref answers_yes(struct prove *prove, uint32_t question)
{
	bdd_ref program = rest_at(prove, question), set = BDD_FALSE;
	size_t count;
	const bdd_ref *leaves = bdd_leaves(prove->bdd, program, &count);

	for (size_t i = 0; i < count; i++) {
		bdd_ref yes = means_yes(prove, number_of_leaf(prove, leaves[i]));

		if (yes != BDD_FALSE)
			set = bdd_or(prove->bdd, set, bdd_and(prove->bdd, bdd_where(prove->bdd, program, leaves[i]), yes));
	}
	return set;
}

static bdd_ref bounds_set(struct prove *prove, const struct record *record)
{
	bdd_ref set = record->never ? BDD_FALSE : BDD_TRUE;

	for (unsigned i = 0; i < record->bound_count && set != BDD_FALSE; i++)
		set = bdd_and(prove->bdd, bound_set(prove, &record->bounds[i]), set);
	return set;
}

bdd_ref record_set(struct prove *prove, const struct record *record)
{
	bdd_ref set = bounds_set(prove, record);

	for (unsigned i = 0; i < record->question_count && set != BDD_FALSE; i++)
		set = bdd_and(prove->bdd, set, answers_yes(prove, record->questions[i]));
	return set;
}

/* --- leaves --------------------------------------------------------------------------------------------- */

static bdd_ref outcome(const struct search *search, uint64_t number)
{
	return leaf_of_number(search->prove, number);
}

/* What the record makes of packets, if `rest` becomes of those that it lets by. */
static bdd_ref with_record(const struct search *search, const struct record *record, bdd_ref rest)
{
	bdd_ref found = outcome(search, (uint64_t)record->order << 32 | record->answer);
	struct record plain = *record;
	bdd_ref agrees;

	/* The order is looked at before the further tests are. */
	plain.never = record->own_never;
	plain.bound_count = record->own_count;
	plain.question_count = 0;
	if (record->order >= search->best >> 32)
		return bdd_ite(search->prove->bdd, record_set(search->prove, &plain), outcome(search, search->best),
			       rest);
	if (search->table->resumes && record->order < search->resume)
		return rest;
	agrees = record_set(search->prove, record);
	return bdd_ite(search->prove->bdd, agrees, found, rest);
}

static bdd_ref scan(const struct search *search, uint64_t index)
{
	const struct table *table = search->table;
	unsigned stride = table_stride(search->six);
	size_t longest = search->longest, count = 0;
	struct record record = { .last = false };
	bdd_ref result = outcome(search, search->best);

	while (count < longest && !record.last && table_record(table, search->six, index + count * stride, &record))
		count++;
	if (count == longest && !record.last)
		result = outcome(search, TABLE_GOES_ON | (index + count * stride));
	for (size_t i = count; i && !prove_stopped(search->prove); i--) {
		table_record(table, search->six, index + (i - 1) * stride, &record);
		result = with_record(search, &record, result);
	}
	return result;
}

/* --- the hash ------------------------------------------------------------------------------------------- */

bool is_at_home(struct prove *prove, const struct table *table, bool six, uint64_t slot, struct record *ret_record)
{
	struct known known;
	uint64_t home;

	memset(&known, 0, sizeof known);
	if (!table_slot(table, six, slot, ret_record) || ret_record->never)
		return false;
	known_record(&known, ret_record);
	bdd_look(prove->bdd);
	return table_slot_of(table, six, &known, &home) && home == slot;
}

/* Each packet finds one slot at most, so it does not matter in which order they are gone through. */
static bdd_ref look_up(const struct search *search, bdd_ref result)
{
	const struct table_hash *hash = search->table->families[search->six].hash;
	struct record record;

	for (uint64_t slot = 0; hash && slot < hash->slots && !prove_stopped(search->prove); slot++)
		if (is_at_home(search->prove, search->table, search->six, slot, &record))
			result = with_record(search, &record, result);
	return result;
}

/* --- trees ---------------------------------------------------------------------------------------------- */

static bdd_ref walk(struct search *search, uint64_t index, unsigned depth);

/* Children from `first` on, told apart by so many of the node's bits. */
static bdd_ref choose(struct search *search, const struct table_node *node, unsigned bits, uint64_t first, unsigned depth)
{
	unsigned bit = node->shift + bits - 1;
	bdd_ref set, high = BDD_FALSE, low = BDD_FALSE;

	if (!bits)
		return walk(search, node->base + first, depth + 1);
	set = bit < 64 ? bit_set(search->prove, (source_bit)(SOURCE_PACKET + node->word * 64 + bit)) : BDD_FALSE;
	if (set != BDD_TRUE)
		low = choose(search, node, bits - 1, first, depth);
	if (set != BDD_FALSE)
		high = choose(search, node, bits - 1, first + ((uint64_t)1 << (bits - 1)), depth);
	return bdd_ite(search->prove->bdd, set, high, low);
}

static bdd_ref walk(struct search *search, uint64_t index, unsigned depth)
{
	struct table_node node = table_node(search->table, index);

	if (++search->visits > VISITS_MAX)
		search->prove->bdd->over = true;
	table_deep(search->prove, depth);
	if (prove_stopped(search->prove))
		return BDD_FALSE;
	if (node.nowhere || node.bound >= search->best >> 32)
		return outcome(search, search->best);
	if (node.bits)
		return choose(search, &node, node.bits, 0, depth);
	return node.base ? scan(search, node.base) : outcome(search, search->best);
}

/* What the tree makes of what was found so far, or the hash (`tree` is TREES_ALL). */
static bdd_ref walk_one(struct search *search, unsigned tree, bdd_ref found)
{
	const struct table_trees *trees = &search->table->families[search->six];
	struct prove *prove = search->prove;
	size_t count;
	const bdd_ref *leaves = bdd_leaves(prove->bdd, found, &count);
	bdd_ref *to = ARENA_ARRAY(prove->arena, bdd_ref, count);
	uint32_t root;

	if (tree < TREES_ALL && !table_tree(trees, tree, &root))
		return found;
	search->longest = table_longest(trees, tree);
	for (size_t i = 0; i < count && !prove_stopped(prove); i++) {
		search->best = number_of_leaf(prove, leaves[i]);
		to[i] = tree < TREES_ALL ? walk(search, root, 0) : look_up(search, leaves[i]);
	}
	return prove_stopped(prove) ? found : bdd_replace(prove->bdd, found, leaves, to, count);
}

/* One after the other: each goes on from what the ones before have found. */
static bdd_ref walk_family(struct prove *prove, const struct table *table, bool six, uint32_t resume)
{
	struct search search = { .prove = prove, .table = table, .six = six, .resume = resume };
	bdd_ref result = leaf_of_number(prove, table->start);

	result = walk_one(&search, TREE_CHANGED, result);
	if (table->families[six].hash)
		result = walk_one(&search, TREES_ALL, result);
	for (unsigned tree = 0; tree < TABLE_TREES && !prove_stopped(prove); tree++)
		result = walk_one(&search, tree, result);
	return result;
}

/* Only the lower half of what was found is returned. */
static bdd_ref answers_of(struct prove *prove, bdd_ref found)
{
	size_t count;
	const bdd_ref *leaves = bdd_leaves(prove->bdd, found, &count);
	bdd_ref *to = ARENA_ARRAY(prove->arena, bdd_ref, count);

	if (prove_stopped(prove))
		return BDD_FALSE;
	for (size_t i = 0; i < count; i++)
		to[i] = leaf_of_number(prove, (uint32_t)number_of_leaf(prove, leaves[i]));
	return bdd_replace(prove->bdd, found, leaves, to, count);
}

/* The walker may look at packet.resume as at any other word. */
static bdd_ref resumed_at(struct prove *prove, bdd_ref program, uint32_t resume)
{
	uint8_t bits[LEVELS];

	memset(bits, 2, sizeof bits);
	for (unsigned i = 0; i < 32; i++)
		bits[prove->level_of_bit[offsetof(struct packet, resume) * 8 + i]] = resume >> i & 1;
	return bdd_restrict(prove->bdd, program, bits, LEVELS);
}

bdd_ref table_program(struct prove *prove, uint32_t resume)
{
	bdd_ref four = field_between(prove, FIELD_FAMILY, FAMILY_IPV4, FAMILY_IPV4);
	bdd_ref six = field_between(prove, FIELD_FAMILY, FAMILY_IPV6, FAMILY_IPV6);
	bdd_ref result = BDD_FALSE, found;

	if (four != BDD_TRUE && six != BDD_TRUE)
		result = rest_at(prove, resume);
	if (six != BDD_FALSE) {
		found = walk_family(prove, prove->table, true, resume);
		result = bdd_ite(prove->bdd, six, answers_of(prove, found), result);
	}
	if (four != BDD_FALSE) {
		found = walk_family(prove, prove->table, false, resume);
		result = bdd_ite(prove->bdd, four, answers_of(prove, found), result);
	}
	return prove_stopped(prove) ? BDD_FALSE : resumed_at(prove, result, resume);
}
