/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Trees: entries cut by bits of the packet until few are left in a leaf. In: one family's entries, how to build; out:
 * nodes and records appended to the blob. False if the blob outgrows its limit; nothing else fails.
 *
 * At each node the cut is taken that promises the shortest leaves by a sample of the entries, among those that do not
 * copy entries too often. Entries with short prefixes would be copied most: they get trees of their own.
 */
#include <string.h>

#include "plan/table.h"

enum {
	SAMPLE = 256,       /* entries that decide on a cut */
	CUT_BITS_MAX = 12,
	WORD_BYTES = 8,
};

/* What is known of a field inside a node: value & mask == bits. */
struct region {
	uint64_t mask, bits;
};

struct tree {
	struct table_work *table;
	const struct table_family *family;
	const struct tree_shape *shape;
	unsigned scale;
	struct blob *blob;
	VEC(uint32_t) stack; /* lists of entries on the path from the root */
	struct region regions[TABLE_FIELDS_MAX];
	size_t longest;      /* leaf, in records */
	bool *hides;
	bool full;           /* the blob is */
};

struct cut {
	unsigned field, shift, bits;
	double score;
};

/* --- the blob --------------------------------------------------------------------------------------------------- */

static void blob_grow(struct arena *arena, struct blob *blob, size_t room)
{
	while (blob->capacity < blob->count + room)
		blob->items = arena_grow(arena, blob->items, blob->count, &blob->capacity, sizeof *blob->items);
}

size_t blob_extend(struct arena *arena, struct blob *blob, size_t count, size_t align)
{
	size_t at = (blob->count + align - 1) & ~(align - 1);

	blob_grow(arena, blob, at + count - blob->count);
	blob->count = at + count;
	return at;
}

/* As blob_extend(), within the shape's limit. */
static uint32_t blob_add(struct tree *tree, size_t count, size_t align)
{
	struct blob *blob = tree->blob;
	size_t at = (blob->count + align - 1) & ~(align - 1);

	if (at + count > tree->shape->words_max) {
		tree->full = true;
		return 0;
	}
	return (uint32_t)blob_extend(tree->table->work->arena, blob, count, align);
}

static uint64_t node_word(const struct tree *tree, uint32_t order, uint32_t base, const struct cut *cut)
{
	uint64_t node = (uint64_t)(order >> tree->scale) << TABLE_BOUND_AT | (uint64_t)base << TABLE_BASE_AT;

	if (!cut)
		return node;
	return node | (uint64_t)(16 - cut->bits) << TABLE_BITS_AT | (uint64_t)(tree->family->fields[cut->field].bit + cut->shift) << TABLE_SHIFT_AT |
	       (uint64_t)tree->family->fields[cut->field].word << TABLE_WORD_AT;
}

static const uint64_t nothing = (uint64_t)TABLE_BOUND_MAX << TABLE_BOUND_AT;

/* --- leaves ----------------------------------------------------------------------------------------------------- */

static void put_record4(uint64_t *to, const struct table_entry *entry, bool last)
{
	struct table_record4 record = {
		.order = entry->order, .answer = entry->answer,
		.src = (uint32_t)entry->address[BOX_SRC], .dst = (uint32_t)entry->address[BOX_DST],
		.src_port = entry->port_lo[0], .src_span = (uint16_t)(entry->port_hi[0] - entry->port_lo[0]),
		.dst_port = entry->port_lo[1], .dst_span = (uint16_t)(entry->port_hi[1] - entry->port_lo[1]),
		.value = (uint16_t)(entry->value | (last ? TABLE_LAST : 0)), .mask = entry->mask,
		.tests = (uint16_t)entry->tests,
		.src_shift = (uint8_t)(entry->shift[BOX_SRC] | (entry->tests >> 16 & 3) << 6),
		.dst_shift = (uint8_t)(entry->shift[BOX_DST] | (entry->tests >> 18 & 3) << 6),
	};

	memcpy(to, &record, sizeof record);
}

static void put_record6(uint64_t *to, const struct table_entry *entry, bool last)
{
	struct table_record6 record = {
		.order = entry->order, .answer = entry->answer,
		.src_port = entry->port_lo[0], .src_span = (uint16_t)(entry->port_hi[0] - entry->port_lo[0]),
		.dst_port = entry->port_lo[1], .dst_span = (uint16_t)(entry->port_hi[1] - entry->port_lo[1]),
		.value = (uint16_t)(entry->value | (last ? TABLE_LAST : 0)), .mask = entry->mask,
		.tests = entry->tests,
	};

	for (unsigned i = 0; i < 4; i++) {
		record.shifts[2 * i] = entry->shift[i] / 2;
		record.shifts[2 * i + 1] = (uint8_t)(entry->shift[i] - entry->shift[i] / 2);
		record.addresses[i] = entry->address[i];
	}
	memcpy(to, &record, sizeof record);
}

size_t entry_words(bool six)
{
	return (six ? sizeof(struct table_record6) : sizeof(struct table_record4)) / WORD_BYTES;
}

void entry_put(uint64_t *to, const struct table_entry *entry, bool six, bool last)
{
	if (six)
		put_record6(to, entry, last);
	else
		put_record4(to, entry, last);
}

static void get_ports(struct table_entry *entry, unsigned i, uint16_t lo, uint16_t span)
{
	entry->port_lo[i] = lo;
	entry->port_hi[i] = (uint16_t)(lo + span);
}

static void get_record4(const uint64_t *from, struct table_entry *entry)
{
	struct table_record4 record;

	memcpy(&record, from, sizeof record);
	*entry = (struct table_entry){ .order = record.order, .answer = record.answer, .value = record.value,
				       .mask = record.mask, .tests = table_tests_of4(&record) };
	entry->address[BOX_SRC] = record.src;
	entry->address[BOX_DST] = record.dst;
	entry->shift[BOX_SRC] = record.src_shift & 63;
	entry->shift[BOX_DST] = record.dst_shift & 63;
	get_ports(entry, 0, record.src_port, record.src_span);
	get_ports(entry, 1, record.dst_port, record.dst_span);
}

static void get_record6(const uint64_t *from, struct table_entry *entry)
{
	struct table_record6 record;

	memcpy(&record, from, sizeof record);
	*entry = (struct table_entry){ .order = record.order, .answer = record.answer, .value = record.value,
				       .mask = record.mask, .tests = record.tests };
	for (unsigned i = 0; i < 4; i++) {
		entry->address[i] = record.addresses[i];
		entry->shift[i] = (uint8_t)(record.shifts[2 * i] + record.shifts[2 * i + 1]);
	}
	get_ports(entry, 0, record.src_port, record.src_span);
	get_ports(entry, 1, record.dst_port, record.dst_span);
}

void entry_get(const uint64_t *from, bool six, struct table_entry *ret_entry)
{
	if (six)
		get_record6(from, ret_entry);
	else
		get_record4(from, ret_entry);
	ret_entry->value &= (uint16_t)~TABLE_LAST;
	ret_entry->ends = !(ret_entry->value & TABLE_OPEN) && !ret_entry->tests && !(ret_entry->answer & ANSWER_STEPS);
}

static uint64_t put_leaf(struct tree *tree, size_t first, size_t count)
{
	bool six = tree->family->six;
	size_t words = entry_words(six);
	uint32_t base;

	if (!count)
		return nothing;
	tree->longest = count > tree->longest ? count : tree->longest;
	base = blob_add(tree, count * words, words);
	for (size_t i = 0; i < count && !tree->full; i++) {
		const struct table_entry *entry = &tree->family->entries.items[tree->stack.items[first + i]];

		entry_put(&tree->blob->items[base + i * words], entry, six, i + 1 == count);
	}
	return node_word(tree, tree->family->entries.items[tree->stack.items[first]].order, base, NULL);
}

/* --- values under a cut ----------------------------------------------------------------------------------------- */

/* Whether some x of the interval has (x & mask) == bits. */
static bool meets(struct interval in, struct region region)
{
	uint64_t free = ~region.mask, x = (in.lo & free) | region.bits, differ = x ^ in.lo, up;
	unsigned top;

	if (!differ)
		return true;
	top = 63 - (unsigned)__builtin_clzll(differ);
	if (x > in.lo) {
		x &= ~(free & low_bits(top));
		return x <= in.hi;
	}
	up = free & ~in.lo & ~low_bits(top);
	if (!up)
		return false;
	up &= -up;
	x = ((x | up) & ~(free & (up - 1)));
	return x <= in.hi;
}

static bool is_block(struct interval in)
{
	uint64_t differ = in.lo ^ in.hi;

	return !(differ & (differ + 1)) && !(in.lo & differ);
}

/* The children, first to last, that a block gets into. Others may have gaps between, and are asked one by one. */
static bool child_range(struct interval in, const struct cut *cut, uint32_t *ret_first, uint32_t *ret_last)
{
	uint64_t window = low_bits(cut->bits);
	uint64_t differ = in.lo ^ in.hi;
	unsigned top = differ ? 64 - (unsigned)__builtin_clzll(differ) : 0;
	uint64_t base = in.lo & ~low_bits(top);

	*ret_first = (uint32_t)(base >> cut->shift & window);
	*ret_last = (uint32_t)((base | low_bits(top)) >> cut->shift & window);
	return is_block(in);
}

/* The logarithm, linear between powers of two: near enough, and cheap. */
static double binary_log(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof bits);
	return (double)(bits & 0xfffffffffffff) * 0x1p-52 + (double)(bits >> 52) - 1023;
}

/* --- choosing --------------------------------------------------------------------------------------------------- */

/* A sample of a list, one field of it: blocks around the intervals. */
struct sample {
	uint64_t value[SAMPLE], care[SAMPLE];
	unsigned count;
};

static void take_sample(const struct tree *tree, unsigned field, size_t first, size_t count, struct sample *sample)
{
	uint64_t full = low_bits(tree->family->fields[field].width);

	sample->count = (unsigned)(count < SAMPLE ? count : SAMPLE);
	for (unsigned i = 0; i < sample->count; i++) {
		size_t at = first + (count <= SAMPLE ? i : i * count / SAMPLE);
		const struct table_entry *entry = &tree->family->entries.items[tree->stack.items[at]];
		struct interval in;
		uint64_t differ;

		if (!entry_interval(tree->table, tree->family, entry, field, &in)) {
			sample->value[i] = sample->care[i] = 0;
			continue;
		}
		differ = in.lo ^ in.hi;
		sample->care[i] = full & ~(differ ? low_bits(64 - (unsigned)__builtin_clzll(differ)) : 0);
		sample->value[i] = in.lo & sample->care[i];
	}
}

/* Bits in which entries differ that care for them. */
static uint64_t telling_bits(const struct sample *sample)
{
	uint64_t ones = 0, zeros = 0;

	for (unsigned i = 0; i < sample->count; i++) {
		ones |= sample->value[i];
		zeros |= sample->care[i] & ~sample->value[i];
	}
	return ones & zeros;
}

/* Fills in the score; smaller is better: what is left to search, in powers of two. */
static bool weigh_cut(const struct tree *tree, const struct sample *sample, size_t count, struct cut *cut)
{
	uint32_t children[(1 << CUT_BITS_MAX) + 1];
	const uint32_t size = 1u << cut->bits;
	double copies = 0, squares = 0, scale = (double)count / sample->count, growth, mean;
	uint32_t now = 0;

	memset(children, 0, (size + 1) * sizeof *children);
	for (unsigned i = 0; i < sample->count; i++) {
		uint64_t care = sample->care[i] >> cut->shift, value = sample->value[i] >> cut->shift & (size - 1);
		uint32_t open = (uint32_t)(~care & (size - 1));

		children[value]++;
		children[value + open + 1 <= size ? value + open + 1 : size]--;
		copies += open + 1;
	}
	for (uint32_t i = 0; i < size; i++) {
		now += children[i];
		squares += (double)now * now;
	}
	growth = copies / sample->count;
	if (growth > tree->shape->growth)
		return false;
	/* A packet of a random entry meets so many in its child; the children's words are paid for as well. */
	mean = squares / copies * scale;
	if (count > SAMPLE && mean < scale)
		mean = scale;
	cut->score = binary_log(mean + 0.3) + 0.7 * binary_log(growth) + 0.35 * binary_log(1 + (double)size / (double)count / 2);
	return true;
}

/* The next telling bit beside the cut, as bits to add; 0: none. */
static unsigned room_below(uint64_t telling, const struct cut *cut)
{
	uint64_t below = telling & low_bits(cut->shift);

	return below ? cut->shift - (63 - (unsigned)__builtin_clzll(below)) : 0;
}

static unsigned room_above(uint64_t telling, const struct cut *cut)
{
	uint64_t above = telling & ~low_bits(cut->shift + cut->bits);

	return above ? (unsigned)__builtin_ctzll(above) + 1 - cut->shift - cut->bits : 0;
}

static bool try_cut(const struct tree *tree, const struct sample *sample, size_t count, unsigned most,
		    struct cut *cut, struct cut *best)
{
	if (cut->bits > most || !weigh_cut(tree, sample, count, cut))
		return false;
	if (cut->score < best->score)
		*best = *cut;
	return true;
}

enum { PATIENCE = 3 }; /* widenings that need not be better than what there was */

/* Widens a cut of one bit to the better side, as long as that helps. */
static void grow_cut(const struct tree *tree, const struct sample *sample, uint64_t telling, size_t count,
		     unsigned most, struct cut cut, struct cut *best)
{
	unsigned worse = 0;

	if (!try_cut(tree, sample, count, most, &cut, best))
		return;
	while (worse < PATIENCE) {
		unsigned below = room_below(telling, &cut), above = room_above(telling, &cut);
		struct cut down = cut, up = cut;
		double score = cut.score;
		bool can_down, can_up;

		down.shift -= below;
		down.bits += below;
		up.bits += above;
		can_down = below && try_cut(tree, sample, count, most, &down, best);
		can_up = above && try_cut(tree, sample, count, most, &up, best);
		if (!can_down && !can_up)
			return;
		cut = can_down && (!can_up || down.score <= up.score) ? down : up;
		worse = cut.score < score ? 0 : worse + 1;
	}
}

enum { STARTS = 3 }; /* bits from which cuts are grown */

/* The bits that split best alone. */
static unsigned find_starts(const struct sample *sample, uint64_t telling, unsigned *ret_bits)
{
	unsigned found = 0;
	unsigned most[STARTS];

	for (; telling; telling &= telling - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(telling), counts[2] = { 0, 0 }, at, least;

		for (unsigned i = 0; i < sample->count; i++)
			counts[sample->value[i] >> bit & 1] += sample->care[i] >> bit & 1;
		least = counts[0] < counts[1] ? counts[0] : counts[1];
		for (at = found; at > 0 && most[at - 1] <= least; at--)
			if (at < STARTS) {
				most[at] = most[at - 1];
				ret_bits[at] = ret_bits[at - 1];
			}
		if (at == STARTS)
			continue;
		most[at] = least;
		ret_bits[at] = bit;
		found += found < STARTS;
	}
	return found;
}

static void weigh_field(const struct tree *tree, unsigned field, size_t first, size_t count, struct cut *best)
{
	struct sample sample;
	unsigned starts[STARTS], found, most = 1;
	uint64_t telling;

	take_sample(tree, field, first, count, &sample);
	telling = telling_bits(&sample);
	while (most < CUT_BITS_MAX && (1u << most) < 2 * count)
		most++;
	found = find_starts(&sample, telling, starts);
	for (unsigned i = 0; i < found; i++)
		grow_cut(tree, &sample, telling, count, most,
			 (struct cut){ .field = field, .shift = starts[i], .bits = 1 }, best);
}

/* The packets of a node that an entry holds for, as far as one field tells. False: all of them. */
static bool part_of(const struct tree *tree, uint32_t index, unsigned field, struct interval *ret_part)
{
	const struct table_entry *entry = &tree->family->entries.items[index];
	struct region region = tree->regions[field];
	struct interval all = { region.bits, region.bits | (low_bits(tree->family->fields[field].width) & ~region.mask) };

	if (!entry_interval(tree->table, tree->family, entry, field, ret_part) ||
	    (ret_part->lo <= all.lo && ret_part->hi >= all.hi))
		return false;
	ret_part->lo = ret_part->lo > all.lo ? ret_part->lo : all.lo;
	ret_part->hi = ret_part->hi < all.hi ? ret_part->hi : all.hi;
	return true;
}

/* Halves what is around; with the bits above, for what is known of a field is to stay an interval. */
static struct cut half_of(const struct tree *tree, unsigned field, struct interval around)
{
	uint64_t open = low_bits(tree->family->fields[field].width) & ~tree->regions[field].mask;
	unsigned top = 64 - (unsigned)__builtin_clzll(open | 1);
	unsigned half = 63 - (unsigned)__builtin_clzll(((around.lo ^ around.hi) & open) | 1);
	unsigned bits = top - half < CUT_BITS_MAX ? top - half : CUT_BITS_MAX;

	return (struct cut){ .field = field, .shift = top - bits, .bits = bits };
}

/*
 * Bisects the field in which most entries hold for a part of the node only. Lists of ranges that overlap get shorter some cuts
 * later, where one of them covers a node and hides those behind it.
 */
static bool bisect(const struct tree *tree, size_t first, size_t count, struct cut *ret_cut)
{
	size_t step = count <= SAMPLE ? 1 : count / SAMPLE;
	unsigned most = 0;

	for (unsigned field = 0; field < tree->family->field_count; field++) {
		struct interval around = { UINT64_MAX, 0 }, part;
		unsigned parts = 0;

		for (size_t i = 0; i < count; i += step) {
			if (!part_of(tree, tree->stack.items[first + i], field, &part))
				continue;
			parts++;
			around.lo = part.lo < around.lo ? part.lo : around.lo;
			around.hi = part.hi > around.hi ? part.hi : around.hi;
		}
		if (parts <= most)
			continue;
		most = parts;
		*ret_cut = half_of(tree, field, around);
	}
	return most;
}

static bool choose_cut(const struct tree *tree, size_t first, size_t count, struct cut *ret_cut)
{
	struct cut best = { .score = binary_log((double)count + 0.3) - 0.2 };
	double worst = best.score;

	if (tree->shape->bisects)
		return bisect(tree, first, count, ret_cut);
	for (unsigned field = 0; field < tree->family->field_count; field++)
		weigh_field(tree, field, first, count, &best);
	*ret_cut = best;
	return best.score < worst;
}

/* --- building --------------------------------------------------------------------------------------------------- */

/* An entry that holds for all packets of a node whose protocol and ports' presence agree with `key` below `open`. */
struct coverer {
	uint32_t entry;
	uint16_t open, key;
};

static bool find_coverer(const struct tree *tree, uint32_t index, struct coverer *ret_coverer)
{
	const struct table_entry *entry = &tree->family->entries.items[index];
	struct interval part;

	*ret_coverer = (struct coverer){ index, entry->mask, entry->value & entry->mask };
	for (unsigned i = 0; entry->ends && i < tree->family->field_count; i++) {
		struct region region = tree->regions[i];

		if (tree->family->fields[i].box == BOX_PROTO) {
			if ((region.bits ^ entry->value) & entry->mask & region.mask & TABLE_PROTO)
				return false;
			ret_coverer->open &= (uint16_t)~(region.mask & TABLE_PROTO);
		} else if (part_of(tree, index, i, &part)) {
			return false;
		}
	}
	return entry->ends;
}

/* Whether it hides an entry behind it: all packets of the node that this holds for are its own. */
static bool hides(const struct coverer *coverer, const struct table_entry *entry)
{
	return !(coverer->open & ~entry->mask) && !((coverer->key ^ entry->value) & coverer->open);
}

enum { COVERERS = 8 };

/* Takes entries off the list that those before them hide in this node. */
static size_t drop_hidden(const struct tree *tree, size_t first, size_t count)
{
	struct coverer coverers[COVERERS];
	unsigned found = 0, by;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t index = tree->stack.items[first + i];

		for (by = 0; by < found && !hides(&coverers[by], &tree->family->entries.items[index]); by++)
			;
		if (by < found) {
			tree->hides[coverers[by].entry] = true;
			continue;
		}
		tree->stack.items[first + kept++] = index;
		if (found == COVERERS || !find_coverer(tree, index, &coverers[found]))
			continue;
		if (!coverers[found++].open && i + 1 < count) {
			tree->hides[index] = true;
			break;
		}
	}
	return kept;
}

/* A list of entries dealt out to children. */
struct deal {
	const struct cut *cut;
	struct region region; /* of the field, before the cut */
	size_t *starts;       /* by child, and one more: where its list is on the stack */
};

/* Calls for each child the entry gets into: counts, or writes its index. */
static void deal_one(struct tree *tree, struct deal *deal, uint32_t index, bool write)
{
	const struct cut *cut = deal->cut;
	struct interval in;
	uint32_t first = 0, last = (1u << cut->bits) - 1;
	bool some = entry_interval(tree->table, tree->family, &tree->family->entries.items[index], cut->field, &in);
	bool block = !some || child_range(in, cut, &first, &last);

	for (uint32_t child = first; child <= last; child++) {
		struct region region = { deal->region.mask | low_bits(cut->bits) << cut->shift,
					 deal->region.bits | (uint64_t)child << cut->shift };

		if (!block && !meets(in, region))
			continue;
		if (write)
			tree->stack.items[deal->starts[child]] = index;
		deal->starts[child]++;
	}
}

/* starts[c] .. starts[c + 1]: the list of child c. */
static void deal_all(struct tree *tree, struct deal *deal, size_t first, size_t count)
{
	struct arena *arena = tree->table->work->arena;
	uint32_t size = 1u << deal->cut->bits;
	size_t bottom = tree->stack.count, at = bottom;

	for (size_t i = 0; i < count; i++)
		deal_one(tree, deal, tree->stack.items[first + i], false);
	for (uint32_t child = 0; child < size; child++) {
		size_t length = deal->starts[child];

		deal->starts[child] = at;
		at += length;
	}
	while (tree->stack.count < at)
		VEC_PUSH(arena, &tree->stack) = 0;
	for (size_t i = 0; i < count; i++)
		deal_one(tree, deal, tree->stack.items[first + i], true);
	for (uint32_t child = size; child > 0; child--)
		deal->starts[child] = deal->starts[child - 1];
	deal->starts[0] = bottom;
}

static uint64_t build_node(struct tree *tree, size_t first, size_t count, unsigned depth);

static uint64_t build_children(struct tree *tree, size_t first, size_t count, const struct cut *cut, unsigned depth)
{
	uint32_t size = 1u << cut->bits;
	size_t starts[(1 << CUT_BITS_MAX) + 1];
	struct region *region = &tree->regions[cut->field];
	struct deal deal = { cut, *region, starts };
	size_t bottom = tree->stack.count;
	uint32_t base = blob_add(tree, size, size < 8 ? size : 8);

	memset(starts, 0, (size + 1) * sizeof *starts);
	deal_all(tree, &deal, first, count);
	for (uint32_t child = 0; child < size && !tree->full; child++) {
		uint64_t node;

		region->mask = deal.region.mask | low_bits(cut->bits) << cut->shift;
		region->bits = deal.region.bits | (uint64_t)child << cut->shift;
		node = build_node(tree, starts[child], starts[child + 1] - starts[child], depth + 1);
		if (!tree->full)
			tree->blob->items[base + child] = node;
	}
	*region = deal.region;
	tree->stack.count = bottom;
	return node_word(tree, tree->family->entries.items[tree->stack.items[first]].order, base, cut);
}

static uint64_t build_node(struct tree *tree, size_t first, size_t count, unsigned depth)
{
	struct cut cut;

	count = drop_hidden(tree, first, count);
	if (count <= tree->shape->leaf || depth + 1 >= TABLE_DEPTH_MAX || tree->full ||
	    !choose_cut(tree, first, count, &cut))
		return put_leaf(tree, first, count);
	return build_children(tree, first, count, &cut, depth);
}

/* --- groups ----------------------------------------------------------------------------------------------------- */

static unsigned group_of(const struct table_family *family, const struct table_entry *entry, unsigned threshold)
{
	unsigned bits = family->six ? 64 : 32;

	if (!threshold)
		return 0;
	return (bits - entry->shift[BOX_SRC] < threshold) + 2 * (bits - entry->shift[BOX_DST] < threshold);
}

static size_t push_group(struct tree *tree, unsigned group)
{
	const struct hashed *hashed = tree->shape->hash ? tree->table->hashed[tree->family->six] : NULL;

	tree->stack.count = 0;
	for (uint32_t i = 0; i < tree->family->entries.count; i++)
		if (!(hashed && hashed->taken[i]) && group_of(tree->family, &tree->family->entries.items[i], tree->shape->threshold) == group)
			VEC_PUSH(tree->table->work->arena, &tree->stack) = i;
	return tree->stack.count;
}

bool trees_build(struct table_work *table, const struct table_family *family, const struct tree_shape *shape,
		 unsigned scale, struct blob *blob, struct trees *ret_trees)
{
	struct tree tree = { .table = table, .family = family, .shape = shape, .scale = scale, .blob = blob };

	tree.hides = ARENA_ARRAY(table->work->arena, bool, family->entries.count);
	if (shape->hash && table->hashed[family->six])
		memcpy(tree.hides, table->hashed[family->six]->hides, family->entries.count * sizeof *tree.hides);
	ret_trees->hides = tree.hides;
	ret_trees->count = 0;
	for (unsigned group = 0; group < TABLE_TREES && !tree.full; group++) {
		size_t count = push_group(&tree, group);
		uint64_t node;
		uint32_t root;

		if (!count)
			continue;
		root = blob_add(&tree, 1, 1);
		if (tree.full)
			break;
		ret_trees->roots[ret_trees->count++] = root;
		node = build_node(&tree, 0, count, 0);
		blob->items[root] = node;
	}
	ret_trees->longest = tree.longest;
	return !tree.full && tree.longest <= TABLE_LEAF_MAX;
}
