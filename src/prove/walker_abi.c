/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What bpf/table_abi.h says, step by step: which word of the blob comes next, and what it means. In: where a reading of the
 * table is; out: where it may be next, and for which packets, words of the blob, and best found so far.
 */
#include <stddef.h>
#include <string.h>

#include "prove/walker.h"

#define WORD_OF(member) (offsetof(struct packet, member) / 8)
#define BIT_OF(member) (offsetof(struct packet, member) % 8 * 8)

/* --- small things ------------------------------------------------------------------------------------------------- */

static vec packet_part(struct walker *walker, unsigned word, unsigned bit, unsigned count)
{
	return vec_part(walker, vec_source(walker, FROM_PACKET, word), bit, count);
}

#define PACKET_PART(walker, member) \
	packet_part(walker, WORD_OF(member), BIT_OF(member), sizeof ((struct packet *)NULL)->member * 8)

static bdd_ref compare_number(struct walker *walker, enum compare compare, vec v, uint64_t number)
{
	return vec_compare(walker, compare, true, v, vec_number(walker, number));
}

static bdd_ref is_inside(struct walker *walker, vec index)
{
	return compare_number(walker, COMPARE_LE, index, walker->config->limit);
}

static vec order_of(struct walker *walker, vec best)
{
	return vec_part(walker, best, 32, 32);
}

/* Nothing is worse than what a search begins with. */
bdd_ref reading_sane(struct walker *walker, vec best)
{
	return compare_number(walker, COMPARE_LE, order_of(walker, best), walker->config->start >> 32);
}

vec reading_packet(struct walker *walker, const struct reading *reading, unsigned word)
{
	vec plain = vec_source(walker, FROM_PACKET, word);

	if (word != WORD_OF(whole) || !reading->stored)
		return plain;
	return vec_with(walker, plain, BIT_OF(whole), 8, reading->whole);
}

/* --- lists of outcomes -------------------------------------------------------------------------------------------- */

struct list {
	struct walker *walker;
	const struct reading *from;
	struct outcome *outcomes;
	unsigned count;
};

/* A copy of where it comes from, at something else. */
static struct reading at(const struct list *list, enum reading_kind kind)
{
	struct reading next = *list->from;

	next.kind = (uint8_t)kind;
	next.control = 0;
	return next;
}

static void give(struct list *list, bdd_ref condition, struct reading next)
{
	if (condition == BDD_FALSE || next.kind == READ_ANYTHING)
		return;
	if (list->count == OUTCOMES_MAX)
		walker_fail(list->walker, 0, "leads to too many places");
	else
		list->outcomes[list->count++] = (struct outcome){ condition, next };
}

/* Parts of a set: where the condition holds and where not. */
static bdd_ref where(struct list *list, bdd_ref set, bdd_ref condition)
{
	return bdd_and(list->walker->bdd, set, condition);
}

static bdd_ref unless(struct list *list, bdd_ref set, bdd_ref condition)
{
	return bdd_ite(list->walker->bdd, condition, BDD_FALSE, set);
}

static void give_end(struct list *list, bdd_ref set, vec best, bool narrow)
{
	struct reading next = at(list, READ_END);

	next.best = best;
	next.narrow = narrow;
	give(list, set, next);
}

/* --- trees -------------------------------------------------------------------------------------------------------- */

static vec child_of(struct walker *walker, const struct reading *reading, const struct table_node *node, vec base)
{
	unsigned bits = node->shift + node->bits > WORD_BITS ? WORD_BITS - node->shift : node->bits;
	vec word = reading_packet(walker, reading, node->word);

	return vec_operate(walker, INSN_ADD, true, base, vec_part(walker, word, node->shift, bits));
}

/* The node there is looked at, if there is one. */
static void give_node(struct list *list, bdd_ref set, struct reading next)
{
	next.kind = READ_NODE;
	give(list, where(list, set, is_inside(list->walker, next.index)), next);
}

static void begin_search(struct list *list, bdd_ref set, struct reading next);
static void end_tree(struct list *list, bdd_ref set, struct reading done);

/* A tree from its root on, or from behind it. */
static void begin_walk(struct list *list, bdd_ref set, struct reading next)
{
	next.depth = 0;
	next.kind = ASK_WALK;
	next.page = 0;
	if (list->walker->counts) {
		give(list, set, next);
		return;
	}
	give_node(list, set, next);
	end_tree(list, unless(list, set, is_inside(list->walker, next.index)), next);
}

/* Tree `next.tree` of the family. Those that are read ahead begin behind their roots. */
static void begin_tree(struct list *list, bdd_ref set, struct reading next)
{
	struct walker *walker = list->walker;
	const struct table_trees *trees = &walker->table->families[next.six];
	uint32_t touched = next.six ? walker->config->touch6 : walker->config->touch4;

	if (next.tree >= trees->count) {
		give_end(list, set, next.best, true);
		return;
	}
	next.index = vec_number(walker, trees->roots[next.tree]);
	if (touched >> next.tree & 1) {
		struct table_node node = table_node(walker->table, trees->roots[next.tree]);

		next.index = child_of(walker, &next, &node, vec_number(walker, node.base));
	}
	begin_walk(list, set, next);
}

/* --- hashes ------------------------------------------------------------------------------------------------------- */

static vec multiply(struct walker *walker, vec left, uint64_t right)
{
	return vec_opaque(walker, INSN_MULTIPLY, left, vec_number(walker, right));
}

static vec key_of(struct walker *walker, const struct reading *reading, const struct table_key *key)
{
	vec result = vec_number(walker, 0);

	for (unsigned i = 0; i < TABLE_KEY_PARTS; i++) {
		vec part = reading_packet(walker, reading, key->words[i] % PACKET_WORDS);

		part = vec_operate(walker, INSN_AND, true, part, vec_number(walker, key->masks[i]));
		part = vec_operate(walker, INSN_LEFT, true, part, vec_number(walker, key->shifts[i]));
		result = vec_operate(walker, INSN_ADD, true, result, part);
	}
	return result;
}

/* The packet's slot; `ret_there`: where its pilot is in the blob. */
static vec slot_of(struct walker *walker, const struct reading *reading, const struct table_hash *hash, bdd_ref *ret_there)
{
	vec sum = vec_number(walker, 0), index, pilot, mixed;

	for (unsigned i = 0; i < hash->keys && i < TABLE_KEY_WORDS; i++)
		sum = vec_operate(walker, INSN_ADD, true, sum,
				  multiply(walker, key_of(walker, reading, &hash->key[i]), hash->key[i].factor));
	index = vec_operate(walker, INSN_RIGHT, true, sum, vec_number(walker, hash->shift));
	index = vec_add(walker, index, hash->pilots);
	*ret_there = compare_number(walker, COMPARE_LE, index, (uint64_t)walker->config->limit * 4);
	pilot = vec_part(walker, vec_opaque(walker, PILOT, vec_part(walker, index, 0, 63), 0), 0, 16);
	mixed = vec_operate(walker, INSN_RIGHT, true, sum, vec_number(walker, 32));
	mixed = vec_operate(walker, INSN_XOR, true, vec_operate(walker, INSN_XOR, true, mixed, sum), pilot);
	mixed = multiply(walker, mixed, 0x9e3779b97f4a7c15u);
	mixed = multiply(walker, vec_operate(walker, INSN_RIGHT, true, mixed, vec_number(walker, 32)), hash->slots);
	mixed = vec_operate(walker, INSN_RIGHT, true, mixed, vec_number(walker, 32));
	return vec_add(walker, multiply(walker, mixed, hash->stride), hash->base);
}

/* The family's hash, if it has one, and then its trees. */
static void begin_search(struct list *list, bdd_ref set, struct reading next)
{
	struct walker *walker = list->walker;
	const struct table_hash *hash = walker->table->families[next.six].hash;
	struct reading slot = next;
	bdd_ref there;

	if (!hash) {
		begin_tree(list, set, next);
		return;
	}
	slot.kind = READ_SLOT;
	slot.control = 0;
	slot.index = slot_of(walker, &next, hash, &there);
	there = where(list, there, is_inside(walker, slot.index));
	give(list, where(list, set, there), slot);
	begin_tree(list, unless(list, set, there), next);
}

static void next_of_slot(struct list *list)
{
	struct walker *walker = list->walker;
	const struct reading *from = list->from;
	const struct table_hash *hash = walker->table->families[from->six].hash;
	bdd_ref set = reading_sane(walker, from->best), taken = set;
	vec slot = vec_slot(walker, from->six, 0), found;
	struct reading next = *from;

	found = vec_with(walker, vec_part(walker, slot, 32, 32), 32, 32, vec_part(walker, slot, 0, 32));
	for (unsigned i = 0; i < hash->keys; i++)
		taken = where(list, taken, vec_compare(walker, COMPARE_EQ, true, vec_slot(walker, from->six, i + 1),
						       key_of(walker, from, &hash->key[i])));
	taken = where(list, taken, vec_compare(walker, COMPARE_LT, true, order_of(walker, found), order_of(walker, from->best)));
	if (walker->config->resumes)
		taken = unless(list, taken, vec_compare(walker, COMPARE_LT, true, order_of(walker, found),
							PACKET_PART(walker, resume)));
	begin_tree(list, unless(list, set, taken), next);
	next.best = found;
	begin_tree(list, taken, next);
}

/* Nothing more of the tree matters: `done.best` is what it says. */
static void end_tree(struct list *list, bdd_ref set, struct reading done)
{
	if (set == BDD_FALSE)
		return;
	if (done.function != FUNCTION_CLASSIFY) {
		give_end(list, set, done.best, false);
		return;
	}
	done.tree++; /* behind CHANGED_TREE comes 0 */
	if (done.tree)
		begin_tree(list, set, done);
	else
		begin_search(list, set, done);
}

static void end_with(struct list *list, bdd_ref set, vec best)
{
	struct reading done = *list->from;

	done.best = best;
	end_tree(list, set, done);
}

static struct table_node node_of_control(uint32_t control)
{
	uint32_t bits = control >> (TABLE_BITS_AT - TABLE_WORD_AT) & 15;

	return (struct table_node){ .word = control & 15, .shift = control >> (TABLE_SHIFT_AT - TABLE_WORD_AT) & 63,
				    .bits = bits ? 16 - bits : 0 };
}

static void next_of_node(struct list *list)
{
	struct walker *walker = list->walker;
	const struct reading *from = list->from;
	struct table_node node = node_of_control(from->control);
	vec word = vec_node(walker, from->control);
	vec base = vec_part(walker, word, TABLE_BASE_AT, TABLE_BOUND_AT - TABLE_BASE_AT);
	vec bound = vec_operate(walker, INSN_LEFT, true, vec_part(walker, word, TABLE_BOUND_AT, 64 - TABLE_BOUND_AT),
				vec_number(walker, walker->config->scale));
	bdd_ref set = reading_sane(walker, from->best);
	bdd_ref worse = vec_compare(walker, COMPARE_GE, true, bound, order_of(walker, from->best)), nowhere;
	struct reading next = at(list, node.bits ? READ_NODE : READ_RECORD);

	next.index = node.bits ? child_of(walker, from, &node, base) : base;
	next.count = 0;
	nowhere = bdd_not(walker->bdd, is_inside(walker, next.index));
	if (!node.bits)
		nowhere = bdd_or(walker->bdd, nowhere, compare_number(walker, COMPARE_EQ, base, 0));
	end_with(list, where(list, set, bdd_or(walker->bdd, worse, nowhere)), from->best);
	set = unless(list, unless(list, set, worse), nowhere);
	next.depth = walker->counts && node.bits ? next.depth + 1 : 0;
	if (next.depth >= TABLE_DEPTH_MAX)
		next.kind = READ_ANYTHING;
	give(list, set, next);
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static vec entry_part(struct walker *walker, bool six, unsigned bit, unsigned count)
{
	return vec_part(walker, vec_record(walker, six, bit / 64), bit % 64, count);
}

#define ENTRY4(walker, member) \
	entry_part(walker, false, offsetof(struct table_record4, member) * 8, sizeof ((struct table_record4 *)NULL)->member * 8)
#define ENTRY6(walker, member) \
	entry_part(walker, true, offsetof(struct table_record6, member) * 8, sizeof ((struct table_record6 *)NULL)->member * 8)

/* From `lo` on, at most `span` further, round and round. */
static bdd_ref port_agrees(struct walker *walker, vec port, vec lo, vec span)
{
	vec over = vec_part(walker, vec_operate(walker, INSN_SUB, true, port, lo), 0, 16);

	return vec_compare(walker, COMPARE_LE, true, over, span);
}

static bdd_ref rest_agrees(struct walker *walker, vec value, vec mask)
{
	bdd_ref has_ports = bdd_not(walker->bdd, vec_bits(walker, PACKET_PART(walker, dst_port))[16]);
	vec ports = vec_choose(walker, has_ports, vec_number(walker, TABLE_HAS_PORTS), vec_number(walker, 0));
	vec key = vec_operate(walker, INSN_OR, true, PACKET_PART(walker, proto), ports);

	return compare_number(walker, COMPARE_EQ, vec_operate(walker, INSN_AND, true, mask,
							      vec_operate(walker, INSN_XOR, true, key, value)), 0);
}

/* Above so many bits, of which the lowest six are taken. */
static vec above(struct walker *walker, vec v, vec shift)
{
	return vec_operate(walker, INSN_RIGHT, true, v, shift);
}

static bdd_ref address_agrees(struct walker *walker, vec packet, vec record, vec first_shift, vec second_shift)
{
	vec differ = vec_operate(walker, INSN_XOR, true, packet, record);

	return compare_number(walker, COMPARE_EQ, above(walker, above(walker, differ, first_shift), second_shift), 0);
}

static bdd_ref agrees4(struct walker *walker)
{
	vec none = vec_number(walker, 0);
	bdd_ref set = address_agrees(walker, PACKET_PART(walker, src4), ENTRY4(walker, src), ENTRY4(walker, src_shift), none);

	set = bdd_and(walker->bdd, set, address_agrees(walker, PACKET_PART(walker, dst4), ENTRY4(walker, dst),
						       ENTRY4(walker, dst_shift), none));
	set = bdd_and(walker->bdd, set, rest_agrees(walker, ENTRY4(walker, value), ENTRY4(walker, mask)));
	set = bdd_and(walker->bdd, set, port_agrees(walker, PACKET_PART(walker, src_port), ENTRY4(walker, src_port),
						    ENTRY4(walker, src_span)));
	return bdd_and(walker->bdd, set, port_agrees(walker, PACKET_PART(walker, dst_port), ENTRY4(walker, dst_port),
						     ENTRY4(walker, dst_span)));
}

static bdd_ref agrees6(struct walker *walker)
{
	static const uint8_t words[] = { WORD_OF(src_hi), WORD_OF(src_lo), WORD_OF(dst_hi), WORD_OF(dst_lo) };
	bdd_ref set = rest_agrees(walker, ENTRY6(walker, value), ENTRY6(walker, mask));

	set = bdd_and(walker->bdd, set, port_agrees(walker, PACKET_PART(walker, src_port), ENTRY6(walker, src_port),
						    ENTRY6(walker, src_span)));
	set = bdd_and(walker->bdd, set, port_agrees(walker, PACKET_PART(walker, dst_port), ENTRY6(walker, dst_port),
						    ENTRY6(walker, dst_span)));
	for (unsigned i = 0; i < 4; i++) {
		vec address = entry_part(walker, true, (offsetof(struct table_record6, addresses) + i * 8) * 8, 64);
		size_t shifts = offsetof(struct table_record6, shifts) + 2 * i;

		set = bdd_and(walker->bdd, set,
			      address_agrees(walker, packet_part(walker, words[i], 0, 64), address,
					     entry_part(walker, true, (unsigned)shifts * 8, 8),
					     entry_part(walker, true, (unsigned)shifts * 8 + 8, 8)));
	}
	return set;
}

static vec tests_of4(struct walker *walker)
{
	vec tests = ENTRY4(walker, tests);

	tests = vec_with(walker, tests, 16, 2, vec_part(walker, ENTRY4(walker, src_shift), 6, 2));
	return vec_with(walker, tests, 18, 2, vec_part(walker, ENTRY4(walker, dst_shift), 6, 2));
}

static vec found_in(struct walker *walker, bool six)
{
	vec answer = six ? ENTRY6(walker, answer) : ENTRY4(walker, answer);

	return vec_with(walker, answer, 32, 32, six ? ENTRY6(walker, order) : ENTRY4(walker, order));
}

/* To the next record, if there is one. */
static void pass(struct list *list, bdd_ref set)
{
	struct walker *walker = list->walker;
	const struct reading *from = list->from;
	vec value = from->six ? ENTRY6(walker, value) : ENTRY4(walker, value);
	bdd_ref last = vec_bits(walker, value)[15], inside;
	unsigned most = from->function == FUNCTION_GO_ON4 || from->function == FUNCTION_GO_ON6 ? TABLE_PAGE_MAX : TABLE_SCAN_MAX;
	struct reading next = at(list, READ_RECORD);

	_Static_assert(TABLE_LAST == 1 << 15, "the last bit");
	end_with(list, where(list, set, last), from->best);
	set = unless(list, set, last);
	next.index = vec_add(walker, from->index, table_stride(from->six));
	if (walker->counts && ++next.count == most) {
		give_end(list, set, vec_operate(walker, INSN_OR, true, next.index, vec_number(walker, TABLE_GOES_ON)), false);
		return;
	}
	inside = is_inside(walker, next.index);
	end_with(list, unless(list, set, inside), from->best);
	give(list, where(list, set, inside), next);
}

/* Pages of leaves have their tests looked at by calls alone. */
static bool calls_for_tests(const struct reading *reading)
{
	return reading->function == FUNCTION_GO_ON4 || reading->function == FUNCTION_GO_ON6;
}

static vec index_of_tests(struct walker *walker, vec first)
{
	return vec_operate(walker, INSN_LEFT, true, first, vec_number(walker, 2));
}

static void next_of_record(struct list *list)
{
	struct walker *walker = list->walker;
	const struct reading *from = list->from;
	vec found = found_in(walker, from->six), tests = from->six ? ENTRY6(walker, tests) : tests_of4(walker);
	bdd_ref set = reading_sane(walker, from->best), agrees = from->six ? agrees6(walker) : agrees4(walker);
	bdd_ref taken = where(list, set, agrees), passed = unless(list, set, agrees), more;
	bdd_ref better = vec_compare(walker, COMPARE_LT, true, order_of(walker, found), order_of(walker, from->best));
	struct reading next = at(list, ASK_TESTS);

	end_with(list, unless(list, taken, better), from->best);
	taken = where(list, taken, better);
	if (walker->config->resumes) {
		bdd_ref below = vec_compare(walker, COMPARE_LT, true, order_of(walker, found), PACKET_PART(walker, resume));

		passed = bdd_or(walker->bdd, passed, where(list, taken, below));
		taken = unless(list, taken, below);
	}
	if (walker->config->tests) {
		more = unless(list, taken, compare_number(walker, COMPARE_EQ, tests, 0));
		taken = unless(list, taken, more);
		next.first = tests;
		if (!calls_for_tests(from)) {
			bdd_ref inside = is_inside(walker, index_of_tests(walker, tests));

			passed = bdd_or(walker->bdd, passed, unless(list, more, inside));
			more = where(list, more, inside);
		}
		give(list, more, next);
	}
	end_with(list, taken, found);
	pass(list, passed);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static vec test_word(const struct list *list, unsigned word)
{
	return vec_test(list->walker, list->from->control, word);
}

static bool asks_rest(const struct list *list)
{
	return list->from->control >= TABLE_REST;
}

/* All that are about such a word. */
static bdd_ref such_tests(const struct list *list)
{
	if (!asks_rest(list))
		return BDD_TRUE;
	return compare_number(list->walker, COMPARE_GE, vec_part(list->walker, test_word(list, 3), 0, 32), TABLE_REST);
}

static bdd_ref has_more(const struct list *list)
{
	return compare_number(list->walker, COMPARE_NE, vec_part(list->walker, test_word(list, 3), 32, 32), 0);
}

/* Of one that compares. */
static bdd_ref test_holds(const struct list *list)
{
	struct walker *walker = list->walker;
	vec number = reading_packet(walker, list->from, list->from->control);

	number = vec_operate(walker, INSN_AND, true, number, test_word(list, 0));
	number = vec_operate(walker, INSN_SUB, true, number, test_word(list, 1));
	return vec_compare(walker, COMPARE_LE, true, number, test_word(list, 2));
}

/* Tests are looked at where the record is better. */
static bdd_ref where_better(struct list *list)
{
	struct walker *walker = list->walker;

	return where(list, reading_sane(walker, list->from->best),
		     vec_compare(walker, COMPARE_LT, true, order_of(walker, found_in(walker, list->from->six)),
				 order_of(walker, list->from->best)));
}

static void next_of_test(struct list *list)
{
	struct walker *walker = list->walker;
	bdd_ref set = where(list, where_better(list), such_tests(list)), harder = has_more(list), holds;

	if (asks_rest(list)) {
		give(list, set, at(list, ASK_TESTS));
		return;
	}
	give(list, where(list, set, harder), at(list, ASK_TESTS));
	set = unless(list, set, harder);
	holds = test_holds(list);
	end_with(list, where(list, set, holds), found_in(walker, list->from->six));
	pass(list, unless(list, set, holds));
}

static void next_of_tests(struct list *list)
{
	struct walker *walker = list->walker;
	vec answer = vec_part(walker, vec_source(walker, FROM_ANSWER, 0), 0, 32);
	bdd_ref no = compare_number(walker, COMPARE_EQ, answer, 0), set = where_better(list);

	end_with(list, unless(list, set, no), found_in(walker, list->from->six));
	pass(list, where(list, set, no));
}

/* The test holds: the next one, or yes. */
static void list_on(struct list *list, bdd_ref set)
{
	struct walker *walker = list->walker;
	bdd_ref more = has_more(list), inside;
	struct reading next = at(list, READ_LISTED);

	give_end(list, unless(list, set, more), vec_number(walker, 1), true);
	set = where(list, set, more);
	if (walker->counts && ++next.count >= TABLE_TESTS_MAX)
		return; /* the table has no such record */
	next.index = vec_add(walker, list->from->index, sizeof(struct table_test) / 8);
	inside = is_inside(walker, next.index);
	give(list, where(list, set, inside), next);
	give_end(list, unless(list, set, inside), vec_number(walker, 0), true);
}

static void next_of_listed(struct list *list)
{
	struct walker *walker = list->walker;
	struct reading next = at(list, ASK_LISTED);
	bdd_ref holds;

	if (asks_rest(list)) {
		next.first = vec_part(walker, test_word(list, 1), 0, 32);
		next.control = list->from->control;
		give(list, such_tests(list), next);
		return;
	}
	holds = test_holds(list);
	give_end(list, bdd_not(walker->bdd, holds), vec_number(walker, 0), true);
	list_on(list, holds);
}

static void next_of_answer(struct list *list)
{
	struct walker *walker = list->walker;
	vec answer = vec_part(walker, vec_source(walker, FROM_ANSWER, 0), 0, 32);
	bdd_ref yes = compare_number(walker, COMPARE_EQ, answer, TABLE_YES);

	give_end(list, bdd_not(walker->bdd, yes), vec_number(walker, 0), true);
	list_on(list, where(list, yes, such_tests(list)));
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static vec version_part(struct walker *walker, enum origin source, size_t offset)
{
	return vec_part(walker, vec_source(walker, source, (unsigned)offset / 8), offset % 8 * 8, 32);
}

#define VERSION(walker, source, member) version_part(walker, source, offsetof(struct table_version, member))

static bdd_ref began_with(struct walker *walker, vec tag)
{
	vec whole = PACKET_PART(walker, whole);

	return vec_compare(walker, COMPARE_EQ, true, vec_part(walker, whole, TABLE_TAG_SHIFT, 8 - TABLE_TAG_SHIFT), tag);
}

/* The root of this version's tree, or none. */
static void use_version(struct list *list, bdd_ref set, struct reading next, bool any, enum origin source)
{
	struct walker *walker = list->walker;
	bdd_ref six = compare_number(walker, COMPARE_EQ, PACKET_PART(walker, family), FAMILY_IPV6);

	next.best = vec_number(walker, 0);
	if (any)
		next.best = vec_choose(walker, six, VERSION(walker, source, roots[1]), VERSION(walker, source, roots[0]));
	give(list, set, next);
}

/* What is returned for a packet that began with a version which is gone. */
#define NO_ROOT UINT64_MAX

/* A packet's first run is marked with the version; later ones need the same. */
static void choose_version(struct list *list, bdd_ref set, bool resumed, bool any, enum origin source)
{
	struct walker *walker = list->walker;
	vec tag = any ? VERSION(walker, source, tag) : vec_number(walker, 0);
	struct reading next = at(list, READ_END);
	bdd_ref began;

	if (!resumed) {
		next.stored = 1;
		next.whole = vec_with(walker, vec_part(walker, PACKET_PART(walker, whole), 0, TABLE_TAG_SHIFT),
				      TABLE_TAG_SHIFT, 8 - TABLE_TAG_SHIFT, tag);
		use_version(list, set, next, any, source);
		return;
	}
	began = began_with(walker, tag);
	use_version(list, where(list, set, began), next, any, source);
	give_end(list, unless(list, set, began), vec_number(walker, NO_ROOT), false);
}

/* The version at that index, or none. */
static void find_version(struct list *list, bdd_ref set, bool resumed, enum reading_kind kind, vec index)
{
	struct walker *walker = list->walker;
	bdd_ref there = unless(list, is_inside(walker, index), compare_number(walker, COMPARE_EQ, index, 0));
	struct reading next = at(list, kind);

	next.index = index;
	next.resumed = resumed;
	give(list, where(list, set, there), next);
	choose_version(list, unless(list, set, there), resumed, false, FROM_VERSION);
}

static bdd_ref such_packets(struct list *list, bool resumed)
{
	return compare_number(list->walker, resumed ? COMPARE_NE : COMPARE_EQ, PACKET_PART(list->walker, resume), 0);
}

static void next_of_version(struct list *list)
{
	struct walker *walker = list->walker;
	bdd_ref early = vec_compare(walker, COMPARE_LT, true, vec_source(walker, FROM_EPOCH, 0),
				    vec_source(walker, FROM_VERSION, 0));
	bdd_ref other = bdd_not(walker->bdd, began_with(walker, VERSION(walker, FROM_VERSION, tag)));
	bool resumed = list->from->resumed;
	bdd_ref set = such_packets(list, resumed), old = resumed ? other : early;

	choose_version(list, unless(list, set, old), resumed, true, FROM_VERSION);
	find_version(list, where(list, set, old), resumed, READ_VERSION_BEFORE, VERSION(walker, FROM_VERSION, before));
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

static void begin_family(struct list *list, bdd_ref set, bool six)
{
	struct walker *walker = list->walker;
	struct reading next = at(list, ASK_CHANGES);
	bdd_ref changed = BDD_FALSE;

	next.six = six;
	next.tree = 0;
	if (walker->config->changes)
		changed = compare_number(walker, COMPARE_NE, vec_source(walker, FROM_LATEST, 0), 0);
	give(list, where(list, set, changed), next);
	begin_search(list, unless(list, set, changed), next);
}

static void begin(struct list *list)
{
	struct walker *walker = list->walker;
	const struct reading *from = list->from;
	vec family = PACKET_PART(walker, family);
	bdd_ref four = compare_number(walker, COMPARE_EQ, family, FAMILY_IPV4), inside = is_inside(walker, from->index);
	bdd_ref six = compare_number(walker, COMPARE_EQ, family, FAMILY_IPV6), set = reading_sane(walker, from->best);
	bool record = from->function == FUNCTION_GO_ON4 || from->function == FUNCTION_GO_ON6;

	switch (from->function) {
	case FUNCTION_CLASSIFY:
		give(list, bdd_not(walker->bdd, bdd_or(walker->bdd, four, six)), at(list, ASK_REST));
		begin_family(list, four, false);
		begin_family(list, six, true);
		break;
	case FUNCTION_TESTS:
		give(list, inside, at(list, READ_LISTED));
		give_end(list, bdd_not(walker->bdd, inside), vec_number(walker, 0), true);
		break;
	case FUNCTION_CHANGES:
		for (unsigned resumed = 0; resumed < 2; resumed++)
			find_version(list, such_packets(list, resumed), resumed, READ_VERSION,
				     vec_source(walker, FROM_LATEST, 0));
		break;
	default:
		give(list, where(list, set, inside), at(list, record ? READ_RECORD : READ_NODE));
		give_end(list, unless(list, set, inside), from->best, false);
	}
}

/* What a call said of a tree or more of a leaf. */
static void next_of_walk(struct list *list, unsigned page)
{
	struct walker *walker = list->walker;
	vec answer = vec_source(walker, FROM_ANSWER, 0);
	bdd_ref more = vec_bits(walker, answer)[63];
	struct reading next = at(list, ASK_ON);
	bool is_long = next.six ? walker->config->long6 : walker->config->long4;

	_Static_assert(TABLE_GOES_ON == 1ull << 63, "the last bit");
	end_with(list, unless(list, reading_sane(walker, answer), more), answer);
	if (!is_long || page >= TABLE_PAGES || next.function != FUNCTION_CLASSIFY || next.tree == CHANGED_TREE)
		return; /* the table has no such leaf */
	next.page = (uint8_t)page;
	next.index = vec_part(walker, answer, 0, 63);
	give(list, more, next);
}

static void next_of_changes(struct list *list)
{
	struct walker *walker = list->walker;
	vec root = vec_source(walker, FROM_ANSWER, 0);
	bdd_ref lost = compare_number(walker, COMPARE_EQ, root, NO_ROOT), none = compare_number(walker, COMPARE_EQ, root, 0), set;
	struct reading next = *list->from;

	set = compare_number(walker, COMPARE_EQ, PACKET_PART(walker, family), next.six ? FAMILY_IPV6 : FAMILY_IPV4);
	give_end(list, where(list, set, lost), vec_number(walker, ANSWER(ANSWER_DROP, SLOT_MALFORMED)), true);
	set = unless(list, set, lost);
	begin_search(list, where(list, set, none), next);
	next.tree = CHANGED_TREE;
	next.index = root;
	begin_walk(list, unless(list, set, none), next);
}

unsigned reading_next(struct walker *walker, const struct reading *reading, struct outcome *outcomes)
{
	struct list list = { .walker = walker, .from = reading, .outcomes = outcomes };

	switch (reading->kind) {
	case READ_BEGIN:
		begin(&list);
		break;
	case READ_NODE:
		next_of_node(&list);
		break;
	case READ_SLOT:
		next_of_slot(&list);
		break;
	case READ_RECORD:
		next_of_record(&list);
		break;
	case READ_TEST:
		next_of_test(&list);
		break;
	case READ_LISTED:
		next_of_listed(&list);
		break;
	case READ_VERSION:
		next_of_version(&list);
		break;
	case READ_VERSION_BEFORE:
		choose_version(&list, such_packets(&list, reading->resumed), reading->resumed, true, FROM_VERSION_BEFORE);
		break;
	case ASK_REST:
		give_end(&list, BDD_TRUE, vec_source(walker, FROM_ANSWER, 0), true);
		break;
	case ASK_LISTED:
		next_of_answer(&list);
		break;
	case ASK_TESTS:
		next_of_tests(&list);
		break;
	case ASK_CHANGES:
		next_of_changes(&list);
		break;
	case ASK_WALK:
		next_of_walk(&list, 0);
		break;
	case ASK_ON:
		next_of_walk(&list, reading->page + 1u);
		break;
	}
	return list.count;
}

/* --- what is read ------------------------------------------------------------------------------------------------- */

static void open_words(struct walker *walker, struct open *open, vec index, enum origin source, unsigned count)
{
	open->index = index;
	open->count = count;
	for (unsigned i = 0; i < count; i++)
		open->words[i] = vec_source(walker, source, i);
}

static void open_test(struct walker *walker, struct open *open, vec index, uint32_t control)
{
	open->index = index;
	open->count = sizeof(struct table_test) / 8;
	for (unsigned i = 0; i < open->count; i++)
		open->words[i] = vec_test(walker, control, i);
}

static void open_record(struct walker *walker, struct open *open, const struct reading *reading)
{
	open->index = reading->index;
	open->count = table_stride(reading->six);
	for (unsigned i = 0; i < open->count; i++)
		open->words[i] = vec_record(walker, reading->six, i);
}

bool reading_opens(struct walker *walker, const struct reading *reading, struct open *ret_open)
{
	switch (reading->kind) {
	case READ_NODE:
		*ret_open = (struct open){ .index = reading->index, .count = 1 };
		ret_open->words[0] = vec_node(walker, reading->control);
		return true;
	case READ_SLOT:
		*ret_open = (struct open){ .index = reading->index,
					   .count = 1u + walker->table->families[reading->six].hash->keys };
		for (unsigned i = 0; i < ret_open->count; i++)
			ret_open->words[i] = vec_slot(walker, reading->six, i);
		return true;
	case READ_RECORD:
		open_record(walker, ret_open, reading);
		return true;
	case READ_TEST:
	case ASK_TESTS:
		open_test(walker, ret_open, index_of_tests(walker, reading->first), reading->control);
		return true;
	case READ_LISTED:
	case ASK_LISTED:
		open_test(walker, ret_open, reading->index, reading->control);
		return true;
	case READ_VERSION:
		open_words(walker, ret_open, reading->index, FROM_VERSION, sizeof(struct table_version) / 8);
		return true;
	case READ_VERSION_BEFORE:
		open_words(walker, ret_open, reading->index, FROM_VERSION_BEFORE, sizeof(struct table_version) / 8);
		return true;
	default:
		return false;
	}
}

void reading_known(struct walker *walker, const struct reading *reading, struct opened *ret_opened)
{
	ret_opened->count = 0;
	if (reading->kind != ASK_TESTS && reading_opens(walker, reading, &ret_opened->list[0]))
		ret_opened->count = 1;
	if (reading->kind == READ_TEST || reading->kind == ASK_TESTS)
		open_record(walker, &ret_opened->list[ret_opened->count++], reading);
}

/* --- nodes of the table ------------------------------------------------------------------------------------------- */

static uint32_t control_of(const struct table_node *node)
{
	return node->word | node->shift << (TABLE_SHIFT_AT - TABLE_WORD_AT) |
	       (node->bits ? 16 - node->bits : 0) << (TABLE_BITS_AT - TABLE_WORD_AT);
}

enum { CONTROLS = 1 << 14 };

static void add_control(struct walker *walker, struct controls *controls, uint32_t control, unsigned depth)
{
	uint32_t *number = &controls->there[control];

	if (!*number) {
		VEC_PUSH(walker->prove->arena, &controls->list) = (struct control){ .control = control };
		*number = (uint32_t)controls->list.count;
	}
	controls->list.items[*number - 1].depths |= 1u << depth;
}

static uint64_t word_at(const struct walker *walker, uint64_t index)
{
	return index < walker->table->count ? walker->table->words[index] : 0;
}

/* The words that these tests are about. */
static void collect_tests(struct walker *walker, uint64_t first)
{
	for (unsigned i = 0; i < TABLE_TESTS_MAX; i++) {
		uint64_t index = (first + i) * (sizeof(struct table_test) / 8), last = word_at(walker, index + 3);
		uint32_t word, more;

		memcpy(&word, &last, sizeof word);
		memcpy(&more, (const char *)&last + sizeof word, sizeof more);
		if (index <= walker->table->limit)
			add_control(walker, &walker->tests, word < TABLE_REST ? word : TABLE_REST, 0);
		if (!more)
			return;
	}
}

static void collect_leaf(struct walker *walker, uint64_t index, bool six)
{
	size_t most = walker->table->families[six].longest;
	unsigned stride = table_stride(six);
	uint16_t value = 0;

	for (size_t i = 0; i < most && !(value & TABLE_LAST) && index <= walker->table->limit; i++, index += stride) {
		struct table_record4 four;
		struct table_record6 wide;
		uint64_t words[sizeof wide / 8];

		for (unsigned word = 0; word < stride; word++)
			words[word] = word_at(walker, index + word);
		memcpy(&four, words, sizeof four);
		memcpy(&wide, words, six ? sizeof wide : sizeof four);
		value = six ? wide.value : four.value;
		collect_tests(walker, six ? wide.tests : table_tests_of4(&four));
	}
}

static void collect(struct walker *walker, uint8_t *seen, uint64_t index, bool six, unsigned depth)
{
	struct table_node node = table_node(walker->table, index);

	if (node.nowhere || depth > TABLE_DEPTH_MAX)
		return;
	add_control(walker, &walker->nodes[six], control_of(&node), depth);
	if (seen[index / 8] >> index % 8 & 1)
		return;
	seen[index / 8] |= (uint8_t)(1 << index % 8);
	if (!node.bits && node.base && walker->config->tests)
		collect_leaf(walker, node.base, six);
	for (uint64_t i = 0; node.bits && i < (uint64_t)1 << node.bits; i++)
		collect(walker, seen, node.base + i, six, depth + 1);
}

void reading_collect(struct walker *walker)
{
	struct arena *arena = walker->prove->arena;

	walker->tests.there = ARENA_ARRAY(arena, uint32_t, TABLE_REST + 1);
	for (unsigned six = 0; six < 2; six++) {
		const struct table_trees *trees = &walker->table->families[six];
		uint8_t *seen = ARENA_ARRAY(arena, uint8_t, walker->table->limit / 8 + 1u);
		uint32_t root;

		walker->nodes[six].there = ARENA_ARRAY(arena, uint32_t, CONTROLS);
		for (unsigned tree = 0; tree < TREES_ALL; tree++)
			if (table_tree(trees, tree, &root))
				collect(walker, seen, root, six, 0);
	}
}

const uint32_t *reading_controls(struct walker *walker, const struct reading *reading, size_t *ret_count)
{
	const struct controls *all = reading->kind == READ_NODE ? &walker->nodes[reading->six] : &walker->tests;
	uint32_t *controls = ARENA_ARRAY(walker->prove->arena, uint32_t, all->list.count + 1);
	bool test = reading->kind == READ_TEST || reading->kind == READ_LISTED;
	struct table_node node;
	uint64_t index;

	*ret_count = 0;
	if (reading->kind == READ_NODE && vec_known(walker, reading->index, &index)) {
		node = table_node(walker->table, index);
		controls[(*ret_count)++] = control_of(&node);
	} else if (reading->kind != READ_NODE && !test) {
		controls[(*ret_count)++] = 0;
	} else {
		/* Trees that are read ahead are a node less deep. */
		for (size_t i = 0; i < all->list.count; i++)
			if (test || !walker->counts || all->list.items[i].depths >> reading->depth & 3)
				controls[(*ret_count)++] = all->list.items[i].control;
	}
	return controls;
}
