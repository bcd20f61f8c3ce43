/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Trees, leaf by leaf. In: all records of a table; out: each leaf has every record of its tree that agrees with a packet
 * which gets there, or the leaf's packets are suspects.
 *
 * The records of a tree are dealt out anew from its root on: to each child those that some of its packets may agree with.
 * What stands behind a record that hides is dropped in a node if that agrees with all its packets that agree with this.
 * What is in the tree of changes is found there, so it hides in the others, too, whether they have it or not.
 */
#include <string.h>

#include "bpf/table_abi.h"
#include "prove/table.h"

struct dealing {
	struct family *family;
	struct prove *prove;
	VEC(uint32_t) stack; /* lists of members on the path from the root, by order ascending */
	uint32_t *seen;      /* by member: the last leaf that it was read in */
	uint32_t leaf;
	unsigned tree;
	size_t left;         /* nodes */
};

/* A list on the stack. */
struct hand {
	size_t first, count;
};

static const struct member *member_at(const struct dealing *dealing, size_t at)
{
	return dealing->family->members.items[dealing->stack.items[at]];
}

/* Whether this tree must have it. */
static bool is_wanted(const struct dealing *dealing, const struct member *member)
{
	return dealing->tree == TREE_CHANGED || !is_changed(member);
}

/* --- bounds and what is known of a packet --------------------------------------------------------------- */

/* The least number not below `lo` whose bits outside of `open` are `set`. */
static bool least_from(uint64_t lo, uint64_t open, uint64_t set, uint64_t *ret)
{
	uint64_t near = set | (lo & open), differ = near ^ lo, above;
	unsigned top;

	if (!differ) {
		*ret = lo;
		return true;
	}
	top = 63 - (unsigned)__builtin_clzll(differ);
	if (near > lo) {
		*ret = near & ~(open & (((uint64_t)1 << top) - 1));
		return true;
	}
	above = open & ~lo & ~(((uint64_t)2 << top) - 1); /* bits that may be raised instead */
	if (top == 63 || !above)
		return false;
	above &= -above;
	*ret = ((near & ~(above - 1)) | above) | (set & (above - 1));
	return true;
}

/* Whether some packet that is known so far may be within the bound. */
static bool may_agree(const struct bound *bound, uint64_t mask, uint64_t bits)
{
	uint64_t least;

	return bound->wraps || (least_from(bound->lo, bound->mask & ~mask, bound->mask & mask & bits, &least) &&
				least <= bound->hi);
}

/* Whether all are. */
static bool must_agree(const struct bound *bound, const struct known *known)
{
	uint64_t least = bound->mask & known->mask[bound->word] & known->bits[bound->word];
	uint64_t most = least | (bound->mask & ~known->mask[bound->word]);

	return !bound->wraps && bound->lo <= least && most <= bound->hi;
}

/* Whether all packets that agree with the record are within the bound. */
static bool has_bound(const struct record *record, const struct bound *bound)
{
	for (unsigned i = 0; i < record->bound_count; i++) {
		const struct bound *own = &record->bounds[i];

		if (own->word == bound->word && own->mask == bound->mask && !own->wraps && own->lo >= bound->lo && own->hi <= bound->hi)
			return true;
	}
	return false;
}

/* Bounds of a record that hides which packets of a node need not be within; UNMET_MAX + 1: many, or it does not hide. */
enum { UNMET_MAX = 3 };

struct coverer {
	const struct bound *unmet[UNMET_MAX];
	unsigned count;
};

static void find_unmet(const struct member *member, const struct known *known, struct coverer *ret_coverer)
{
	const struct record *record = &member->record;

	ret_coverer->count = !member->hides || record->never || record->question_count ? UNMET_MAX + 1 : 0;
	for (unsigned i = 0; i < record->bound_count && ret_coverer->count <= UNMET_MAX; i++) {
		if (must_agree(&record->bounds[i], known))
			continue;
		if (ret_coverer->count < UNMET_MAX)
			ret_coverer->unmet[ret_coverer->count] = &record->bounds[i];
		ret_coverer->count++;
	}
}

/* Whether all packets of the node that agree with the record agree with the one that hides. */
static bool covers(const struct coverer *coverer, const struct record *record)
{
	for (unsigned i = 0; i < coverer->count; i++)
		if (!has_bound(record, coverer->unmet[i]))
			return false;
	return true;
}

static void suspect_more(struct dealing *dealing, const struct known *known, const struct member *member)
{
	struct known both = *known;

	if (member)
		known_record(&both, &member->record);
	suspect(dealing->prove, &dealing->family->suspects, &both);
}

/* --- leaves --------------------------------------------------------------------------------------------- */

/* A record that should be there: its packets must all be hidden by records that are. */
static void settle_missing(struct dealing *dealing, const struct known *known, const struct member *member)
{
	struct prove *prove = dealing->prove;
	struct bdd *bdd = prove->bdd;
	bdd_ref left;

	family_tidy(dealing->family);
	left = bdd_and(bdd, known_set(prove, known), dealing->family->likely);
	left = bdd_and(bdd, left, record_set(prove, &member->record));
	for (size_t i = 0; i < dealing->family->members.count && left != BDD_FALSE; i++) {
		const struct member *other = dealing->family->members.items[i];

		if (dealing->seen[i] == dealing->leaf && other->hides && other->record.order < member->record.order)
			left = bdd_ite(bdd, record_set(prove, &other->record), BDD_FALSE, left);
	}
	if (left != BDD_FALSE && member->item != NO_ITEM)
		left = family_left_changed(dealing->family, left, member->item);
	if (left != BDD_FALSE && !prove_stopped(prove))
		suspect_more(dealing, known, member);
}

/* Reads the leaf; false if the walker would not find all of its records, or in a wrong order. */
static bool read_leaf(struct dealing *dealing, uint64_t index)
{
	struct family *family = dealing->family;
	const struct table *table = family->table;
	size_t longest = table_longest(&table->families[family->six], dealing->tree);
	struct record record = { .last = false };
	uint32_t order = 0;
	uint64_t raw[8];

	for (size_t i = 0; i < longest && !record.last; i++) {
		uint64_t at = index + i * table_stride(family->six);

		if (!table_record(table, family->six, at, &record) || record.order < order)
			return false;
		order = record.order;
		table_raw(table, family->six, at, raw);
		dealing->seen[intern_number(&family->raws, raw)] = dealing->leaf;
	}
	return record.last;
}

static void check_leaf(struct dealing *dealing, uint64_t index, struct hand hand, const struct known *known)
{
	dealing->leaf++;
	if (index && !read_leaf(dealing, index)) {
		suspect_more(dealing, known, NULL);
		return;
	}
	for (size_t i = 0; i < hand.count && !dealing->family->suspects.all; i++)
		if (dealing->seen[dealing->stack.items[hand.first + i]] != dealing->leaf &&
		    is_wanted(dealing, member_at(dealing, hand.first + i)))
			settle_missing(dealing, known, member_at(dealing, hand.first + i));
}

/* --- dealing -------------------------------------------------------------------------------------------- */

/* Part of a word that a node looks at, as numbers of children. */
struct window {
	unsigned word, shift, bits;
	uint64_t whole;      /* in the word */
};

static uint64_t low_bits(unsigned bits)
{
	return bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
}

/* Children that the record may go to are those with `set` in `care`, and then some of them not. */
static bool sift(const struct record *record, const struct window *window, const struct known *known, uint64_t *ret_care,
		 uint64_t *ret_set)
{
	uint64_t care = known->mask[window->word] & window->whole, set = known->bits[window->word] & care;

	for (unsigned i = 0; i < record->bound_count; i++) {
		const struct bound *bound = &record->bounds[i];
		uint64_t told = bound_told(bound) & window->whole;

		if (bound->word != window->word)
			continue;
		if ((set ^ bound->lo) & told & care)
			return false;
		care |= told;
		set |= bound->lo & told;
	}
	*ret_care = care;
	*ret_set = set;
	return true;
}

static bool may_go(const struct record *record, const struct window *window, const struct known *known, uint64_t child)
{
	uint64_t mask = known->mask[window->word] | window->whole;
	uint64_t bits = (known->bits[window->word] & ~window->whole) | child;

	for (unsigned i = 0; i < record->bound_count; i++)
		if (record->bounds[i].word == window->word && !may_agree(&record->bounds[i], mask, bits))
			return false;
	return true;
}

/* Calls for each child: counts, or writes the member's number where the child's list goes on. */
static void deal_one(struct dealing *dealing, const struct window *window, const struct known *known, uint32_t number,
		     size_t *places, bool write)
{
	const struct record *record = &dealing->family->members.items[number]->record;
	uint64_t care, set, open, some = 0;

	if (record->never || !sift(record, window, known, &care, &set))
		return;
	open = window->whole & ~care;
	do {
		uint64_t child = (set | some) >> window->shift;

		if (may_go(record, window, known, set | some)) {
			if (write)
				dealing->stack.items[places[child]] = number;
			places[child]++;
		}
		some = (some - open) & open;
	} while (some);
}

static void deal_node(struct dealing *dealing, uint64_t index, unsigned depth, struct hand hand,
		      const struct known *known);

/* Deals to all children; places[i] is where the list of child i ends then. */
static void deal_out(struct dealing *dealing, const struct window *window, struct hand hand, const struct known *known,
		     size_t *places)
{
	size_t count = (size_t)1 << window->bits, at = dealing->stack.count;

	for (size_t i = 0; i < hand.count; i++)
		deal_one(dealing, window, known, dealing->stack.items[hand.first + i], places, false);
	for (size_t child = 0; child < count; child++) {
		size_t own = places[child];

		places[child] = at;
		at += own;
	}
	while (dealing->stack.count < at)
		VEC_PUSH(dealing->prove->arena, &dealing->stack) = 0;
	for (size_t i = 0; i < hand.count; i++)
		deal_one(dealing, window, known, dealing->stack.items[hand.first + i], places, true);
}

static void deal_children(struct dealing *dealing, const struct table_node *node, unsigned depth, struct hand hand,
			  const struct known *known)
{
	struct window window = { node->word, node->shift, node->bits, low_bits(node->bits) << node->shift };
	size_t bottom = dealing->stack.count, from = bottom;
	size_t *places = ARENA_ARRAY(dealing->prove->arena, size_t, (size_t)1 << node->bits);
	uint64_t care = known->mask[node->word] & window.whole;

	deal_out(dealing, &window, hand, known, places);
	for (uint64_t child = 0; child < (uint64_t)1 << node->bits; child++) {
		struct hand dealt = { from, places[child] - from };
		uint64_t bits = child << node->shift;
		struct known more = *known;

		from = places[child];
		if (bits >> node->shift != child || ((bits ^ known->bits[node->word]) & care))
			continue; /* no packet gets there */
		known_add(&more, node->word, window.whole, bits);
		deal_node(dealing, node->base + child, depth + 1, dealt, &more);
	}
	dealing->stack.count = bottom;
}

enum { COVERERS = 8 }; /* of a node: those of fewest unmet bounds, first to last */

static void add_coverer(struct coverer *coverers, unsigned *count, const struct coverer *coverer)
{
	unsigned at = *count;

	if (coverer->count > UNMET_MAX || (at == COVERERS && coverers[at - 1].count <= coverer->count))
		return;
	if (at == COVERERS)
		at--;
	else
		++*count;
	for (; at > 0 && coverers[at - 1].count > coverer->count; at--)
		coverers[at] = coverers[at - 1];
	coverers[at] = *coverer;
}

static size_t drop_hidden(struct dealing *dealing, struct hand hand, const struct known *known)
{
	struct coverer coverers[COVERERS], coverer;
	unsigned found = 0, by;
	size_t kept = 0;

	for (size_t i = 0; i < hand.count && !(found && !coverers[0].count); i++) {
		const struct member *member = member_at(dealing, hand.first + i);

		for (by = 0; by < found && !covers(&coverers[by], &member->record); by++)
			;
		if (by < found)
			continue;
		dealing->stack.items[hand.first + kept++] = dealing->stack.items[hand.first + i];
		find_unmet(member, known, &coverer);
		add_coverer(coverers, &found, &coverer);
	}
	return kept;
}

/* Records that the bound lets be skipped though they may be better. */
static void check_bound(struct dealing *dealing, uint64_t bound, struct hand hand, const struct known *known)
{
	for (size_t i = 0; i < hand.count && member_at(dealing, hand.first + i)->record.order < bound; i++)
		if (is_wanted(dealing, member_at(dealing, hand.first + i)))
			suspect_more(dealing, known, member_at(dealing, hand.first + i));
}

static void deal_node(struct dealing *dealing, uint64_t index, unsigned depth, struct hand hand,
		      const struct known *known)
{
	struct table_node node = table_node(dealing->family->table, index);
	bool skipped = node.nowhere || node.bound >= dealing->family->table->start >> 32;

	bdd_look(dealing->prove->bdd);
	table_deep(dealing->prove, depth);
	if (dealing->family->suspects.all || prove_stopped(dealing->prove))
		return;
	if (!dealing->left--) {
		dealing->family->suspects.all = true;
		return;
	}
	hand.count = drop_hidden(dealing, hand, known);
	if (skipped) {
		check_leaf(dealing, 0, hand, known);
		return;
	}
	check_bound(dealing, node.bound, hand, known);
	if (node.bits)
		deal_children(dealing, &node, depth, hand, known);
	else
		check_leaf(dealing, node.base, hand, known);
}

static bool is_dealt(const struct dealing *dealing, const struct member *member)
{
	return !member->masked && (member->trees >> dealing->tree & 1 || is_changed(member));
}

static void deal_tree(struct dealing *dealing, uint32_t root)
{
	const struct family *family = dealing->family;
	struct known known;

	memset(&known, 0, sizeof known);
	dealing->stack.count = 0;
	for (uint32_t i = 0; i < family->members.count; i++)
		if (is_dealt(dealing, family->members.items[family->by_order[i]]))
			VEC_PUSH(dealing->prove->arena, &dealing->stack) = family->by_order[i];
	deal_node(dealing, root, 0, (struct hand){ 0, dealing->stack.count }, &known);
}

void family_deal(struct family *family)
{
	struct dealing dealing = { .family = family, .prove = family->prove, .left = 2 * family->table->count + 1000 };
	uint32_t root;

	dealing.seen = ARENA_ARRAY(family->prove->arena, uint32_t, family->members.count);
	for (dealing.tree = 0; dealing.tree < TREES_ALL; dealing.tree++)
		if (table_tree(&family->table->families[family->six], dealing.tree, &root))
			deal_tree(&dealing, root);
}

/* --- what is hidden ------------------------------------------------------------------------------------- */

/* Packets that are looked for in one tree. */
struct seeking {
	struct family *family;
	uint32_t item;  /* those of items before it hide */
	unsigned tree;
	bool whole;     /* go on though some packets are left */
};

static bdd_ref seek(const struct seeking *seeking, uint64_t index, unsigned depth, bdd_ref packets);

static bdd_ref seek_leaf(const struct seeking *seeking, uint64_t index, bdd_ref packets)
{
	struct family *family = seeking->family;
	struct prove *prove = family->prove;
	size_t longest = table_longest(&family->table->families[family->six], seeking->tree);
	struct record record = { .last = false };
	uint64_t raw[8];

	for (size_t i = 0; i < longest && !record.last && packets != BDD_FALSE; i++) {
		uint64_t at = index + i * table_stride(family->six);
		const struct member *member;

		if (!table_record(family->table, family->six, at, &record))
			break;
		table_raw(family->table, family->six, at, raw);
		member = family->members.items[intern_number(&family->raws, raw)];
		if (member->hides && member->item < seeking->item)
			packets = bdd_ite(prove->bdd, record_set(prove, &record), BDD_FALSE, packets);
	}
	return packets;
}

static bdd_ref seek_children(const struct seeking *seeking, const struct table_node *node, unsigned bits, uint64_t first,
			     unsigned depth, bdd_ref packets)
{
	struct prove *prove = seeking->family->prove;
	unsigned bit = node->shift + bits - 1;
	bdd_ref set, high, low;

	if (packets == BDD_FALSE || prove_stopped(prove))
		return BDD_FALSE;
	if (!bits)
		return seek(seeking, node->base + first, depth + 1, packets);
	set = bit < 64 ? bit_set(prove, (source_bit)(SOURCE_PACKET + node->word * 64 + bit)) : BDD_FALSE;
	low = seek_children(seeking, node, bits - 1, first, depth, bdd_ite(prove->bdd, set, BDD_FALSE, packets));
	if (low != BDD_FALSE && !seeking->whole)
		return low;
	high = seek_children(seeking, node, bits - 1, first + ((uint64_t)1 << (bits - 1)), depth,
			     bdd_and(prove->bdd, packets, set));
	return bdd_or(prove->bdd, low, high);
}

/* What is left of the packets. */
static bdd_ref seek(const struct seeking *seeking, uint64_t index, unsigned depth, bdd_ref packets)
{
	const struct table *table = seeking->family->table;
	struct table_node node = table_node(table, index);

	table_deep(seeking->family->prove, depth);
	if (prove_stopped(seeking->family->prove) || node.nowhere || node.bound >= table->start >> 32)
		return packets;
	if (node.bits)
		return seek_children(seeking, &node, node.bits, 0, depth, packets);
	return node.base ? seek_leaf(seeking, node.base, packets) : packets;
}

static bdd_ref seek_slot(const struct seeking *seeking, uint64_t slot, bdd_ref packets)
{
	const struct family *family = seeking->family;
	uint32_t at = family->at_slot[slot];
	const struct member *member = at ? family->members.items[at - 1] : NULL;

	if (!member || !member->hides || member->item >= seeking->item)
		return packets;
	return bdd_ite(family->prove->bdd, record_set(family->prove, &member->record), BDD_FALSE, packets);
}

/* Most packets that are looked for have one key. */
static bdd_ref seek_hash(const struct seeking *seeking, bdd_ref packets)
{
	const struct family *family = seeking->family;
	const struct table_hash *hash = family->table->families[family->six].hash;
	struct known known;
	uint64_t slot;

	if (!hash)
		return packets;
	known_of_set(family->prove, packets, &known);
	if (table_slot_of(family->table, family->six, &known, &slot))
		return seek_slot(seeking, slot, packets);
	for (slot = 0; slot < hash->slots && packets != BDD_FALSE && !prove_stopped(family->prove); slot++)
		packets = seek_slot(seeking, slot, packets);
	return packets;
}

static bdd_ref seek_tree(struct seeking *seeking, unsigned tree, bdd_ref packets)
{
	uint32_t root;

	seeking->tree = tree;
	if (packets == BDD_FALSE || !table_tree(&seeking->family->table->families[seeking->family->six], tree, &root))
		return packets;
	return seek(seeking, root, 0, packets);
}

bdd_ref family_left(struct family *family, bdd_ref packets, uint32_t item)
{
	struct seeking seeking = { .family = family, .item = item };

	packets = seek_hash(&seeking, packets);
	for (unsigned tree = 0; tree < TREES_ALL && packets != BDD_FALSE; tree++)
		if (seek_tree(&seeking, tree, packets) == BDD_FALSE)
			return BDD_FALSE;
	seeking.whole = true;
	for (unsigned tree = 0; tree < TREES_ALL && packets != BDD_FALSE; tree++)
		packets = seek_tree(&seeking, tree, packets);
	return packets;
}

bdd_ref family_left_changed(struct family *family, bdd_ref packets, uint32_t item)
{
	struct seeking seeking = { .family = family, .item = item, .whole = true };

	return seek_tree(&seeking, TREE_CHANGED, packets);
}
