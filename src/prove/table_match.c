/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables against rules, for one family. In: the rules in a row and all records of the table; out: nothing is left to
 * show, or the packets for which something is (suspects).
 *
 * For a packet that is no suspect:
 *  1. All records of one order give one answer, that of an item, and agree only with packets for which the item holds.
 *     Orders are those of the items. Where an answer resumes, the orders from there on are the items from there on.
 *  2. If an item holds, one of its records agrees, unless an item before it hides it: one whose record agrees, that
 *     decides, and that no answer resumes behind, so that a packet which meets it gets no further.
 *  3. What is in the hash is in the slot where its packets are looked for: all else there is not taken for a record.
 *     In each tree the packet's leaf has every record of the tree that agrees, unless it is hidden there (table_deal.c);
 *     leaves are in order, and bounds let nothing be skipped that is better.
 * So the least order that agrees is the first item that holds, and so on after each resumption: the table does what the
 * rules say.
 *
 * If rules were changed, one more tree is searched before all others, so its records are taken before those of the same order.
 * Where a rule went, they agree with whatever its records agree with, and go on at the next order; but not where something
 * before them in that tree hides them, or all of them. Its records are put aside, as if they were not there, and each is shown to
 * be taken by no packet, once it is known what hides. What is in that tree need not be found in others, but still hides there.
 */
#include <stdlib.h>
#include <string.h>

#include "bpf/table_abi.h"
#include "prove/table.h"

/* The records of one order. */
struct group {
	uint32_t order;
	uint32_t first, count; /* in by_order; those that are masked come behind them */
	bool gap;              /* a rule that is no more: judging goes on with the next group */
	uint32_t item;         /* or NO_ITEM */
	struct answer_run run; /* if it asks for a token: with it */
	struct answer_run asked, without; /* then, what asks, and where it goes on without */
};

/* A record that no packet may take: one of the same order in the tree of changes is taken before it, or one there hides it. */
struct aside {
	struct member *member;
	const struct group *group;
	uint32_t item; /* what is of items before it may hide the member */
};

struct matching {
	struct family *family;
	struct prove *prove;
	struct items items;
	VEC(struct group) groups;
	bool *done; /* by item: its records are all of it */
	VEC(struct aside) aside;
};

enum { SUSPECTS_MAX = 24, SPARE_NODES = 1 << 14, LOOKS_MAX = 64 };

/* --- packets that are known in part --------------------------------------------------------------------- */

void known_add(struct known *known, unsigned word, uint64_t mask, uint64_t bits)
{
	known->mask[word] |= mask;
	known->bits[word] = (known->bits[word] & ~mask) | (bits & mask);
}

uint64_t bound_told(const struct bound *bound)
{
	uint64_t differ = bound->lo ^ bound->hi;
	unsigned top = differ ? 64 - (unsigned)__builtin_clzll(differ) : 0;

	if (bound->wraps || top == 64)
		return 0;
	return bound->mask >> top << top;
}

void known_record(struct known *known, const struct record *record)
{
	for (unsigned i = 0; i < record->bound_count; i++)
		known_add(known, record->bounds[i].word, bound_told(&record->bounds[i]), record->bounds[i].lo);
}

bdd_ref known_set(struct prove *prove, const struct known *known)
{
	bdd_ref set = BDD_TRUE;

	for (unsigned word = 0; word < PACKET_WORDS; word++) {
		const struct bound bound = { .word = (uint8_t)word, .mask = known->mask[word],
					     .lo = known->bits[word] & known->mask[word],
					     .hi = known->bits[word] & known->mask[word] };

		if (bound.mask)
			set = bdd_and(prove->bdd, set, bound_set(prove, &bound));
	}
	return set;
}

void suspect(struct prove *prove, struct suspects *suspects, const struct known *known)
{
	for (size_t i = 0; i < suspects->list.count; i++)
		if (!memcmp(&suspects->list.items[i], known, sizeof *known))
			return;
	if (suspects->list.count >= SUSPECTS_MAX)
		suspects->all = true;
	else
		VEC_PUSH(prove->arena, &suspects->list) = *known;
}

static void suspect_member(struct family *family, const struct member *member)
{
	struct known known;

	memset(&known, 0, sizeof known);
	known_record(&known, &member->record);
	if (!member->record.never)
		suspect(family->prove, &family->suspects, &known);
}

static void suspect_group(struct matching *matching, const struct group *group)
{
	const struct family *family = matching->family;

	for (uint32_t i = 0; i < group->count; i++)
		suspect_member(matching->family, family->members.items[family->by_order[group->first + i]]);
}

void known_of_set(struct prove *prove, bdd_ref set, struct known *ret_known)
{
	bool levels[LEVELS] = { false };

	memset(ret_known, 0, sizeof *ret_known);
	bdd_support(prove->bdd, set, levels);
	for (unsigned bit = 0; bit < PACKET_WORDS * 64 && !prove_stopped(prove); bit++) {
		uint64_t mask = (uint64_t)1 << bit % 64;
		bdd_ref one;

		if (!levels[prove->level_of_bit[bit]])
			continue;
		one = bdd_and(prove->bdd, set, bit_set(prove, (source_bit)(SOURCE_PACKET + bit)));
		if (one == set || one == BDD_FALSE)
			known_add(ret_known, bit / 64, mask, one == set ? mask : 0);
	}
}

static void suspect_set(struct family *family, bdd_ref set)
{
	struct known known;

	known_of_set(family->prove, set, &known);
	suspect(family->prove, &family->suspects, &known);
}

/* --- records by order ----------------------------------------------------------------------------------- */

static void collect_leaf(struct family *family, uint64_t index, unsigned tree)
{
	const struct table *table = family->table;
	size_t longest = table_longest(&table->families[family->six], tree);
	struct record record = { .last = false };
	uint64_t raw[8];

	for (size_t i = 0; i < longest && !record.last; i++) {
		uint64_t at = index + i * table_stride(family->six);
		uint32_t number;

		if (!table_record(table, family->six, at, &record))
			break;
		table_raw(table, family->six, at, raw);
		number = intern_number(&family->raws, raw);
		if (number == family->members.count) {
			struct member *member = ARENA_NEW(family->prove->arena, struct member);

			member->record = record;
			member->item = NO_ITEM;
			VEC_PUSH(family->prove->arena, &family->members) = member;
		}
		family->members.items[number]->trees |= 1u << tree;
	}
	if (tree == TREE_CHANGED && !record.last)
		prove_stop(family->prove, "a leaf of changed rules in the table has no end where one is looked for");
}

/* Counts down: trees that share their parts without end are not gone through. */
static void collect_node(struct family *family, uint64_t index, unsigned tree, unsigned depth, size_t *left)
{
	struct table_node node = table_node(family->table, index);

	if (depth >= TABLE_FOREVER || node.nowhere || node.bound >= family->table->start >> 32 || !*left)
		return;
	--*left;
	if (node.bits)
		family->looked[node.word] |= (((uint64_t)1 << node.bits) - 1) << node.shift;
	if (!node.bits && node.base)
		collect_leaf(family, node.base, tree);
	for (uint64_t child = 0; node.bits && child < (uint64_t)1 << node.bits; child++)
		collect_node(family, node.base + child, tree, depth + 1, left);
}

/* What is in a slot and is looked for elsewhere is found by no packet. */
static void collect_hash(struct family *family)
{
	const struct table_hash *hash = family->table->families[family->six].hash;
	struct arena *arena = family->prove->arena;
	struct record record;

	if (!hash)
		return;
	table_key_bits(hash, family->looked);
	if (hash->slots > family->table->count) {
		prove_stop(family->prove, "the table has more slots than words");
		return;
	}
	family->at_slot = ARENA_ARRAY(arena, uint32_t, hash->slots);
	for (uint64_t slot = 0; slot < hash->slots; slot++) {
		struct member *member;

		if (!is_at_home(family->prove, family->table, family->six, slot, &record))
			continue;
		member = ARENA_NEW(arena, struct member);
		member->record = record;
		member->item = NO_ITEM;
		VEC_PUSH(arena, &family->members) = member;
		family->at_slot[slot] = (uint32_t)family->members.count;
	}
}

static int by_order(const void *left, const void *right, void *context)
{
	const struct family *family = context;
	const struct record *a = &family->members.items[*(const uint32_t *)left]->record;
	const struct record *b = &family->members.items[*(const uint32_t *)right]->record;

	return a->order != b->order ? (a->order < b->order ? -1 : 1) :
	       (*(const uint32_t *)left > *(const uint32_t *)right) - (*(const uint32_t *)left < *(const uint32_t *)right);
}

/* Where to go must not depend on where judging resumes. */
static void note_members(struct family *family)
{
	for (size_t i = 0; i < family->members.count; i++) {
		const struct record *record = &family->members.items[i]->record;

		for (unsigned b = 0; b < record->bound_count; b++)
			family->looked[record->bounds[b].word] |= record->bounds[b].mask;
	}
	if (table_note(family->prove, family->looked))
		family->suspects.all = true;
}

void family_collect(struct family *family)
{
	const struct table_trees *trees = &family->table->families[family->six];
	struct arena *arena = family->prove->arena;
	size_t left = 2 * family->table->count + 1000;
	uint32_t root;

	intern_init(&family->raws, arena, table_stride(family->six) * 8ul);
	for (unsigned tree = 0; tree < TREES_ALL; tree++)
		if (table_tree(trees, tree, &root))
			collect_node(family, root, tree, 0, &left);
	if (!left)
		family->suspects.all = true;
	collect_hash(family);
	family->by_order = ARENA_ARRAY(arena, uint32_t, family->members.count);
	for (uint32_t i = 0; i < family->members.count; i++)
		family->by_order[i] = i;
	if (family->members.count)
		qsort_r(family->by_order, family->members.count, sizeof *family->by_order, by_order, family);
	note_members(family);
}

static void make_groups(struct matching *matching)
{
	const struct family *family = matching->family;

	for (uint32_t i = 0; i < family->members.count; i++) {
		const struct record *record = &family->members.items[family->by_order[i]]->record;
		struct group *last = matching->groups.count ? &matching->groups.items[matching->groups.count - 1] : NULL;

		if (last && last->order == record->order) {
			last->count++;
			continue;
		}
		VEC_PUSH(matching->prove->arena, &matching->groups) =
			(struct group){ .order = record->order, .first = i, .count = 1, .item = NO_ITEM };
	}
}

/* --- what changes mask ---------------------------------------------------------------------------------- */

static struct member *member_of(const struct matching *matching, const struct group *group, uint32_t index)
{
	const struct family *family = matching->family;

	return family->members.items[family->by_order[group->first + index]];
}

/* Where some record of the group in the tree of changes agrees. */
static bdd_ref changed_set(struct matching *matching, const struct group *group)
{
	struct prove *prove = matching->prove;
	bdd_ref set = BDD_FALSE;

	for (uint32_t i = 0; i < group->count; i++) {
		const struct member *member = member_of(matching, group, i);

		if (is_changed(member))
			set = bdd_or(prove->bdd, set, record_set(prove, &member->record));
	}
	return set;
}

/* The answer of the group's changes, if it has any. */
static bool changed_answer(const struct matching *matching, const struct group *group, uint32_t *ret_answer)
{
	for (uint32_t i = 0; i < group->count; i++)
		if (is_changed(member_of(matching, group, i))) {
			*ret_answer = member_of(matching, group, i)->record.answer;
			return true;
		}
	return false;
}

/* It is checked later that the member is never taken (check_aside()). */
static void put_aside(struct matching *matching, const struct group *group, struct member *member, uint32_t item)
{
	member->masked = true;
	VEC_PUSH(matching->prove->arena, &matching->aside) = (struct aside){ .member = member, .group = group, .item = item };
}

/* Those that are masked come last, and no longer belong to the group. */
static void part_masked(struct matching *matching, struct group *group)
{
	uint32_t *numbers = &matching->family->by_order[group->first];
	uint32_t *masked = ARENA_ARRAY(matching->prove->arena, uint32_t, group->count), count = 0, kept = 0;

	for (uint32_t i = 0; i < group->count; i++)
		if (member_of(matching, group, i)->masked)
			masked[count++] = numbers[i];
		else
			numbers[kept++] = numbers[i];
	memcpy(numbers + kept, masked, count * sizeof *masked);
	group->count = kept;
}

/* What says something else than the changes of the same order. */
static void mask_group(struct matching *matching, struct group *group, uint32_t item)
{
	uint32_t answer;

	if (!changed_answer(matching, group, &answer))
		return;
	for (uint32_t i = 0; i < group->count; i++) {
		struct member *member = member_of(matching, group, i);

		if (!is_changed(member) && member->record.answer != answer)
			put_aside(matching, group, member, item);
	}
	part_masked(matching, group);
}

/* No item is what the group says. */
static void mask_all(struct matching *matching, struct group *group, uint32_t item)
{
	for (uint32_t i = 0; i < group->count; i++)
		put_aside(matching, group, member_of(matching, group, i), item);
	group->count = 0;
}

/* --- which item an order is ----------------------------------------------------------------------------- */

void family_tidy(struct family *family)
{
	struct bdd *bdd = family->prove->bdd;

	if (bdd->nodes.count > family->mark + SPARE_NODES)
		bdd_release(bdd, family->mark);
	bdd_look(bdd);
}

static bdd_ref group_set(struct matching *matching, const struct group *group)
{
	const struct family *family = matching->family;
	struct bdd *bdd = matching->prove->bdd;
	bdd_ref set = BDD_FALSE;

	for (uint32_t i = 0; i < group->count; i++) {
		const struct member *member = family->members.items[family->by_order[group->first + i]];

		set = bdd_or(bdd, set, record_set(matching->prove, &member->record));
	}
	return bdd_and(bdd, set, family->packets);
}

static bdd_ref packets_of(struct matching *matching, uint32_t item)
{
	struct prove *prove = matching->prove;

	return bdd_and(prove->bdd, item_set(prove, &matching->items, &matching->items.list.items[item]),
		       matching->family->packets);
}

static bool one_answer(const struct matching *matching, const struct group *group)
{
	const struct family *family = matching->family;
	uint32_t answer = family->members.items[family->by_order[group->first]]->record.answer;

	for (uint32_t i = 1; i < group->count; i++)
		if (family->members.items[family->by_order[group->first + i]]->record.answer != answer)
			return false;
	return true;
}

/* Of those packets that count, which are few where something is amiss. */
bdd_ref family_real(const struct family *family, bdd_ref packets)
{
	return packets == BDD_FALSE ? packets : bdd_and(family->prove->bdd, packets, family->likely);
}

/* The next item that does what the answer says, if its records agree with none but its packets. */
static uint32_t find_item(struct matching *matching, const struct group *group, uint32_t from)
{
	struct bdd *bdd = matching->prove->bdd;
	bdd_ref agreed = group_set(matching, group);
	unsigned looks = 0;

	for (uint32_t i = from; i < matching->items.list.count && looks < LOOKS_MAX; i++) {
		bdd_ref held;

		if (!item_is(matching->prove, &matching->items, &matching->items.list.items[i],
			     group->asked.asks ? &group->asked : NULL, &group->run))
			continue;
		looks++;
		held = packets_of(matching, i);
		if (family_real(matching->family, bdd_ite(bdd, held, BDD_FALSE, agreed)) != BDD_FALSE)
			continue;
		matching->done[i] = family_real(matching->family, bdd_ite(bdd, agreed, BDD_FALSE, held)) == BDD_FALSE;
		return i;
	}
	return NO_ITEM;
}

/* An answer that asks for one token before anything else, and without it only resumes, or that does not ask. */
static bool read_answer(const struct matching *matching, struct group *group, uint32_t answer)
{
	group->run = answer_read(matching->prove, answer);
	if (!group->run.asks || group->run.broken)
		return !group->run.broken;
	group->asked = group->run;
	group->run = answer_read(matching->prove, ANSWER_RUN(group->asked.with));
	group->without = answer_read(matching->prove, ANSWER_RUN(group->asked.without));
	return !group->asked.effect_count && !group->run.broken && !group->run.asks && !group->without.broken &&
	       group->without.resumes && !group->without.effect_count;
}

/* The first group of that order or a higher one. */
static size_t group_from(const struct matching *matching, uint32_t order)
{
	size_t low = 0, high = matching->groups.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (matching->groups.items[middle].order < order)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* An answer that does nothing: judging goes on with the next group. */
static bool is_gap(const struct matching *matching, const struct group *group)
{
	size_t next = (size_t)(group - matching->groups.items) + 1;

	return matching->family->table->resumes && group->run.resumes && !group->asked.asks && !group->run.effect_count &&
	       group->run.resume > group->order && group_from(matching, group->run.resume) == next;
}

/* A rule that went has no item; where all of its records were hidden, nothing is masked. */
static void match_changed(struct matching *matching, struct group *group, uint32_t next, bool masks)
{
	group->gap = masks && is_gap(matching, group);
	if (!group->gap)
		group->item = find_item(matching, group, next);
	if (group->item == NO_ITEM)
		group->gap = is_gap(matching, group);
}

static void match_group(struct matching *matching, struct group *group, uint32_t *next)
{
	struct family *family = matching->family;
	uint32_t all = group->count, answer;

	mask_group(matching, group, *next);
	answer = member_of(matching, group, 0)->record.answer;
	if (read_answer(matching, group, answer) && one_answer(matching, group) && group->order < family->table->start >> 32) {
		if (changed_answer(matching, group, &answer))
			match_changed(matching, group, *next, group->count < all);
		else
			group->item = find_item(matching, group, *next);
	}
	if (group->gap)
		return;
	if (group->item == NO_ITEM) {
		mask_all(matching, group, *next);
		return;
	}
	*next = group->item + 1;
	for (uint32_t i = 0; i < group->count; i++)
		member_of(matching, group, i)->item = group->item;
}

static void match_groups(struct matching *matching)
{
	uint32_t next = 0;

	for (size_t i = 0; i < matching->groups.count && !prove_stopped(matching->prove); i++) {
		match_group(matching, &matching->groups.items[i], &next);
		family_tidy(matching->family);
		if (matching->family->suspects.all)
			return;
	}
}

/* --- where answers resume, and what hides others -------------------------------------------------------- */

/* Before that group are the items before `item`, and behind it those behind. */
static bool parts_at(const struct matching *matching, size_t at, uint32_t item)
{
	const struct group *groups = matching->groups.items;
	size_t before = at, behind = at;

	while (before && groups[before - 1].item == NO_ITEM)
		before--;
	while (behind < matching->groups.count && groups[behind].item == NO_ITEM)
		behind++;
	return (!before || groups[before - 1].item < item) &&
	       (behind == matching->groups.count || groups[behind].item >= item);
}

static bool resumes_at(const struct matching *matching, const struct group *group, const struct answer_run *run,
		       uint32_t item)
{
	return !run->resumes || (matching->family->table->resumes && run->resume > group->order &&
				 parts_at(matching, group_from(matching, run->resume), item));
}

static void check_resumption(struct matching *matching, const struct group *group)
{
	const struct item *item;

	if (group->item == NO_ITEM)
		return;
	item = &matching->items.list.items[group->item];
	if (!resumes_at(matching, group, &group->run, item->next) ||
	    !resumes_at(matching, group, &group->without, item->without))
		suspect_group(matching, group);
}

static void note_jump(const struct matching *matching, const struct answer_run *run, size_t from, int32_t *over)
{
	size_t to = run->resumes ? group_from(matching, run->resume) : 0;

	if (to <= from + 1)
		return;
	over[from + 1]++;
	over[to]--;
}

/* `over[i]`: so many more answers than at i - 1 lead from before group i to behind it. */
static void find_hiding(struct matching *matching)
{
	const struct family *family = matching->family;
	size_t count = matching->groups.count;
	int32_t *over = ARENA_ARRAY(matching->prove->arena, int32_t, count + 2), open = 0;

	for (size_t i = 0; i < count; i++) {
		if (matching->groups.items[i].item == NO_ITEM)
			continue; /* never taken, or no further than to the next */
		note_jump(matching, &matching->groups.items[i].run, i, over);
		note_jump(matching, &matching->groups.items[i].without, i, over);
	}
	for (size_t i = 0; i < count; i++) {
		const struct group *group = &matching->groups.items[i];

		open += over[i];
		for (uint32_t m = 0; m < group->count; m++)
			family->members.items[family->by_order[group->first + m]]->hides =
				!open && group->item != NO_ITEM && !group->run.resumes &&
				!group->asked.asks;
	}
}

/* --- what was put aside ----------------------------------------------------------------------------------- */

static void check_aside(struct matching *matching, const struct aside *aside)
{
	struct prove *prove = matching->prove;
	bdd_ref changed = is_changed(aside->member) ? BDD_FALSE : changed_set(matching, aside->group);
	bdd_ref left = bdd_and(prove->bdd, record_set(prove, &aside->member->record), matching->family->packets);

	left = family_real(matching->family, bdd_ite(prove->bdd, changed, BDD_FALSE, left));
	if (left != BDD_FALSE)
		left = family_left_changed(matching->family, left, aside->item);
	if (left != BDD_FALSE && !prove_stopped(prove))
		suspect_member(matching->family, aside->member);
	family_tidy(matching->family);
}

static void check_all_aside(struct matching *matching)
{
	for (size_t i = 0; i < matching->aside.count; i++)
		if (!matching->family->suspects.all && !prove_stopped(matching->prove))
			check_aside(matching, &matching->aside.items[i]);
}

/* --- what has no records -------------------------------------------------------------------------------- */

static void show_rest(struct matching *matching, uint32_t item, bdd_ref shown)
{
	struct bdd *bdd = matching->prove->bdd;
	bdd_ref left = family_real(matching->family, bdd_ite(bdd, shown, BDD_FALSE, packets_of(matching, item)));

	if (left != BDD_FALSE)
		left = family_left(matching->family, left, item);
	if (left != BDD_FALSE && !prove_stopped(matching->prove))
		suspect_set(matching->family, left);
	family_tidy(matching->family);
}

/* Items without records, or with records of a part of them. */
static void show_hidden(struct matching *matching)
{
	size_t group = 0;

	for (uint32_t i = 0; i < matching->items.list.count && !prove_stopped(matching->prove); i++) {
		while (group < matching->groups.count &&
		       (matching->groups.items[group].item == NO_ITEM || matching->groups.items[group].item < i))
			group++;
		if (matching->done[i] || matching->family->suspects.all)
			continue;
		if (group < matching->groups.count && matching->groups.items[group].item == i)
			show_rest(matching, i, group_set(matching, &matching->groups.items[group]));
		else
			show_rest(matching, i, BDD_FALSE);
	}
}

/* What decides where no record does. */
static bool starts_right(const struct prove *prove, const struct table *table)
{
	return (uint32_t)table->start == ANSWER((uint32_t)prove->input->ruleset->default_verdict, SLOT_DEFAULT);
}

void family_prove(struct family *family)
{
	struct prove *prove = family->prove;
	struct matching matching = { .family = family, .prove = prove };

	family->packets = contract_packets(prove, false);
	family->likely = with_constants(prove, family->packets);
	family->mark = prove->bdd->nodes.count;
	if (!starts_right(prove, family->table))
		family->suspects.all = true;
	if (family->suspects.all || !items_lay(prove, &matching.items))
		return;
	matching.done = ARENA_ARRAY(prove->arena, bool, matching.items.list.count);
	make_groups(&matching);
	match_groups(&matching);
	for (size_t i = 0; i < matching.groups.count; i++)
		check_resumption(&matching, &matching.groups.items[i]);
	find_hiding(&matching);
	check_all_aside(&matching);
	if (!family->suspects.all && !prove_stopped(prove))
		family_deal(family);
	if (!family->suspects.all && !prove_stopped(prove))
		show_hidden(&matching);
}
