/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Numbers whose bits are diagrams, exactly. In: vectors, by number; out: vectors. Equal ones have equal numbers.
 *
 * What is compared or added stands side by side in the order of bits, bit by bit, the most significant first: so diagrams
 * stay small. By what is shifted comes before all of that.
 */
#include <stddef.h>
#include <string.h>

#include "prove/walker.h"

struct vec_memo {
	uint32_t operation;
	vec left, right;
	uint32_t result; /* a vector; of comparisons, a set */
};
enum { MEMOS = 1 << 16, VEC_ZERO = 0 };

void vec_init(struct walker *walker)
{
	intern_init(&walker->vectors, walker->prove->arena, WORD_BITS * sizeof(bdd_ref));
	walker->memos = ARENA_ARRAY(walker->prove->arena, struct vec_memo, MEMOS);
	walker->sources = ARENA_ARRAY(walker->prove->arena, vec, SOURCES * OPAQUE_MAX);
	walker->own_names = ARENA_ARRAY(walker->prove->arena, bdd_ref, WALKER_LEVELS);
	intern_init(&walker->opaque, walker->prove->arena, sizeof(struct making));
	vec_number(walker, 0); /* is VEC_ZERO */
}

vec vec_make(struct walker *walker, const bdd_ref bits[WORD_BITS])
{
	return intern_number(&walker->vectors, bits);
}

const bdd_ref *vec_bits(const struct walker *walker, vec v)
{
	return intern_at(&walker->vectors, v);
}

vec vec_number(struct walker *walker, uint64_t number)
{
	bdd_ref bits[WORD_BITS];

	for (unsigned i = 0; i < WORD_BITS; i++)
		bits[i] = number >> i & 1 ? BDD_TRUE : BDD_FALSE;
	return vec_make(walker, bits);
}

bool vec_known(const struct walker *walker, vec v, uint64_t *ret_number)
{
	const bdd_ref *bits = vec_bits(walker, v);
	uint64_t number = 0;

	for (unsigned i = 0; i < WORD_BITS; i++) {
		if (bits[i] > BDD_TRUE)
			return false;
		number |= (uint64_t)bits[i] << i;
	}
	*ret_number = number;
	return true;
}

/* --- order of bits ------------------------------------------------------------------------------------------------ */

/*
 * A block for each word of the packet: by what it is shifted, then its bits, each with those that it is compared with or
 * added to in the places behind it.
 */
enum { HEAD = 32, PLACES = 16, BLOCK = HEAD + WORD_BITS * PLACES };
enum {
	PLACE_OF_PACKET,
	PLACE_OF_ENTRY, /* two, of a record's */
	PLACE_OF_TEST = 4, /* three */
	PLACE_OF_NODE = 7,
	PLACE_OF_BEST,
	PLACE_OF_TAG, /* two, of versions; beside packet.whole */
	PLACE_OF_KEY = PLACE_OF_TAG + 2, /* one for each word of a slot's */
};
enum { NO_WORD = IMAGE_WORDS - 1, /* nothing looks at that one */
       ORDERS = offsetof(struct packet, resume) / 8 };

/* Behind these, what is compared with numbers alone, or with each other; a place for each word of theirs. */
enum { OTHERS = IMAGE_WORDS * BLOCK, OTHER_PLACES = (WALKER_LEVELS - OTHERS) / WORD_BITS };

static const uint8_t places[SOURCES] = {
	[FROM_INDEX] = 0, [FROM_LATEST] = 1, [FROM_EPOCH] = 2, [FROM_FIRST] = 4, [FROM_ANSWER] = 5,
	[FROM_TEST] = 6, /* its last word */
	[FROM_VERSION] = 8, [FROM_VERSION_BEFORE] = 16, [FROM_OPAQUE] = 24,
};
_Static_assert(PLACE_OF_KEY + TABLE_KEY_WORDS == PLACES, "room for all");
_Static_assert(OTHER_PLACES >= 24 + OPAQUE_MAX && (int)OPAQUE_MAX >= (int)IMAGE_WORDS && WORD_BITS * OTHER_PLACES + OTHERS == WALKER_LEVELS, "room for all");

static uint32_t level_in(unsigned word, unsigned bit, unsigned place)
{
	return word * BLOCK + HEAD + (WORD_BITS - 1 - bit % WORD_BITS) * PLACES + place;
}

static uint32_t level_of_other(enum origin source, unsigned word, unsigned bit)
{
	return OTHERS + (WORD_BITS - 1 - bit) * OTHER_PLACES + places[source] + word;
}

static enum origin source_of_other(unsigned place)
{
	enum origin source = FROM_INDEX;

	for (unsigned i = 0; i < SOURCES; i++)
		if (places[i] <= place && places[i] > places[source])
			source = (enum origin)i;
	return source;
}

#define WORD_OF(member) (offsetof(struct packet, member) / 8)
#define BIT_OF(member) (offsetof(struct packet, member) % 8 * 8)

static bool is_whole(uint32_t level)
{
	return level <= level_in(WORD_OF(whole), BIT_OF(whole), PLACE_OF_PACKET) &&
	       level >= level_in(WORD_OF(whole), BIT_OF(whole) + 7, PLACE_OF_PACKET) &&
	       (level % BLOCK - HEAD) % PLACES == PLACE_OF_PACKET;
}

static enum origin source_of_level(uint32_t level)
{
	static const uint8_t sources[PLACES] = {
		[PLACE_OF_PACKET] = FROM_PACKET, [PLACE_OF_ENTRY] = FROM_ENTRY,	[PLACE_OF_ENTRY + 1] = FROM_ENTRY,
		[PLACE_OF_ENTRY + 2] = FROM_ENTRY, [PLACE_OF_TEST] = FROM_TEST, [PLACE_OF_TEST + 1] = FROM_TEST,
		[PLACE_OF_TEST + 2] = FROM_TEST, [PLACE_OF_NODE] = FROM_ENTRY, [PLACE_OF_BEST] = FROM_BEST,
		[PLACE_OF_TAG] = FROM_VERSION, [PLACE_OF_TAG + 1] = FROM_VERSION_BEFORE,
		[PLACE_OF_KEY] = FROM_ENTRY, [PLACE_OF_KEY + 1] = FROM_ENTRY, [PLACE_OF_KEY + 2] = FROM_ENTRY,
		[PLACE_OF_KEY + 3] = FROM_ENTRY, [PLACE_OF_KEY + 4] = FROM_ENTRY,
	};

	if (level >= OTHERS)
		return source_of_other((level - OTHERS) % OTHER_PLACES);
	if (is_whole(level))
		return FROM_WHOLE;
	return level % BLOCK < HEAD ? FROM_ENTRY : (enum origin)sources[(level % BLOCK - HEAD) % PLACES];
}

/* What by eight bits of a record say by how much a word is shifted: the second time before the first. */
static uint32_t level_of_shift(unsigned word, bool second, unsigned bit)
{
	return word * BLOCK + (second ? 0 : 8) + 7 - bit;
}

/* Ports and their spans, in 16 bits each. */
static uint32_t level_of_ports(unsigned bit)
{
	unsigned place = PLACE_OF_ENTRY + bit / 16 % 2;

	return bit < 32 ? level_in(WORD_OF(src_port), BIT_OF(src_port) + bit % 16, place) :
			  level_in(WORD_OF(dst_port), BIT_OF(dst_port) + bit % 16, place);
}

/* `value`, `mask` and `tests`. */
static uint32_t level_of_rest(unsigned bit)
{
	if (bit >= 32)
		return level_in(ORDERS, bit - 32, PLACE_OF_ENTRY + 1);
	return level_in(WORD_OF(proto), BIT_OF(proto) + bit % 16, PLACE_OF_ENTRY + bit / 16);
}

/* Of a record, beside what it is compared with. */
static uint32_t level_of_record4(unsigned word, unsigned bit)
{
	switch (word) {
	case 1:
		return level_in(bit < 32 ? WORD_OF(src4) : WORD_OF(dst4), bit % 32, PLACE_OF_ENTRY);
	case 2:
		return level_of_ports(bit);
	default:
		return bit < 48 ? level_of_rest(bit) : level_of_shift(bit < 56 ? WORD_OF(src4) : WORD_OF(dst4), false, bit % 8);
	}
}

static uint32_t level_of_record6(unsigned word, unsigned bit)
{
	static const uint8_t words[] = { WORD_OF(src_hi), WORD_OF(src_lo), WORD_OF(dst_hi), WORD_OF(dst_lo) };

	switch (word) {
	case 1:
		return level_of_ports(bit);
	case 2:
		return level_of_rest(bit);
	case 3:
		return level_of_shift(words[bit / 16], bit / 8 % 2, bit % 8);
	default:
		return level_in(words[word - 4], bit, PLACE_OF_ENTRY);
	}
}

static uint32_t level_of_record(unsigned word, unsigned bit, bool six)
{
	if (word == 0) /* order and answer */
		return level_in(ORDERS, (bit + BIT_OF(resume)) % WORD_BITS, PLACE_OF_ENTRY);
	return six ? level_of_record6(word, bit) : level_of_record4(word, bit);
}

static bdd_ref bit_at(struct walker *walker, uint32_t level)
{
	return bdd_make(walker->bdd, level, BDD_TRUE, BDD_FALSE);
}

/* A protocol has 9 bits. */
static bool never_set(unsigned word, unsigned bit)
{
	return word == WORD_OF(proto) && bit >= BIT_OF(proto) + 9 && bit < BIT_OF(proto) + 16;
}

enum { TAGS = offsetof(struct table_version, tag) * 8 };

static uint32_t level_of_source(enum origin source, unsigned word, unsigned bit)
{
	switch (source) {
	case FROM_PACKET:
		return level_in(word, bit, PLACE_OF_PACKET);
	case FROM_BEST:
		return level_in(ORDERS, bit, PLACE_OF_BEST);
	case FROM_VERSION:
	case FROM_VERSION_BEFORE:
		if (word == TAGS / 64 && bit >= TAGS % 64 && bit < TAGS % 64 + 8 - TABLE_TAG_SHIFT)
			return level_in(WORD_OF(whole), BIT_OF(whole) + TABLE_TAG_SHIFT + bit - TAGS % 64,
					PLACE_OF_TAG + (source == FROM_VERSION_BEFORE));
		return level_of_other(source, word, bit);
	default:
		return level_of_other(source, word, bit);
	}
}

vec vec_source(struct walker *walker, enum origin source, unsigned word)
{
	vec *known = &walker->sources[source * OPAQUE_MAX + word];
	bdd_ref bits[WORD_BITS];

	if (*known)
		return *known;
	for (unsigned i = 0; i < WORD_BITS; i++)
		bits[i] = source == FROM_PACKET && never_set(word, i) ?
				  BDD_FALSE : bit_at(walker, level_of_source(source, word, i));
	*known = vec_make(walker, bits);
	return *known;
}

/* A key's bits stand beside those of the packet that they are compared with. */
vec vec_slot(struct walker *walker, bool six, unsigned word)
{
	const struct table_key *key = &walker->config->hashes[six].key[(word - 1) % TABLE_KEY_WORDS];
	bdd_ref bits[WORD_BITS];

	if (word == 0)
		return vec_record(walker, six, 0);
	for (unsigned i = 0; i < WORD_BITS; i++)
		bits[i] = bit_at(walker, level_in(NO_WORD, i, PLACE_OF_KEY + word - 1));
	for (unsigned part = 0; part < TABLE_KEY_PARTS; part++)
		for (unsigned i = 0; i < WORD_BITS; i++)
			if (key->masks[part] >> i & 1 && i + key->shifts[part] < WORD_BITS)
				bits[i + key->shifts[part]] = bit_at(walker, level_in(key->words[part] % PACKET_WORDS, i,
										      PLACE_OF_KEY + word - 1));
	return vec_make(walker, bits);
}

vec vec_record(struct walker *walker, bool six, unsigned word)
{
	bdd_ref bits[WORD_BITS];

	for (unsigned i = 0; i < WORD_BITS; i++)
		bits[i] = bit_at(walker, level_of_record(word, i, six));
	return vec_make(walker, bits);
}

/* The base beside what is added to it, the bound beside orders. */
vec vec_node(struct walker *walker, uint32_t control)
{
	unsigned shift = control >> (TABLE_SHIFT_AT - TABLE_WORD_AT) & 63, word = control & (PACKET_WORDS - 1);
	bdd_ref bits[WORD_BITS] = { BDD_FALSE };

	for (unsigned i = TABLE_WORD_AT; i < TABLE_BASE_AT; i++)
		bits[i] = control >> (i - TABLE_WORD_AT) & 1 ? BDD_TRUE : BDD_FALSE;
	for (unsigned i = TABLE_BASE_AT; i < TABLE_BOUND_AT; i++)
		bits[i] = bit_at(walker, level_in(shift + i - TABLE_BASE_AT < WORD_BITS ? word : NO_WORD,
						  shift + i - TABLE_BASE_AT, PLACE_OF_NODE));
	for (unsigned i = TABLE_BOUND_AT; i < WORD_BITS; i++)
		bits[i] = bit_at(walker, level_in(ORDERS, i - TABLE_BOUND_AT + 32 + walker->table->scale, PLACE_OF_NODE));
	return vec_make(walker, bits);
}

vec vec_test(struct walker *walker, uint32_t control, unsigned word)
{
	unsigned about = control < TABLE_REST ? control : NO_WORD;
	bdd_ref bits[WORD_BITS];

	for (unsigned i = 0; i < WORD_BITS; i++) {
		if (word < 3)
			bits[i] = bit_at(walker, level_in(about, i, PLACE_OF_TEST + word));
		else if (i < 32 && control < TABLE_REST)
			bits[i] = control >> i & 1 ? BDD_TRUE : BDD_FALSE;
		else
			bits[i] = bit_at(walker, level_of_other(FROM_TEST, 0, i));
	}
	return vec_make(walker, bits);
}

uint32_t vec_sources(struct walker *walker, bdd_ref bit)
{
	struct bdd_node node = walker->bdd->nodes.items[bit];
	uint32_t mask;

	while (walker->masks.count <= bit)
		VEC_PUSH(walker->prove->arena, &walker->masks) = 0;
	if (node.level == BDD_LEAF)
		return 0;
	if (walker->masks.items[bit])
		return walker->masks.items[bit] - 1;
	mask = SOURCE_BIT(source_of_level(node.level)) | vec_sources(walker, node.high) | vec_sources(walker, node.low);
	walker->masks.items[bit] = mask + 1;
	return mask;
}

void vec_own_names(struct walker *walker)
{
	const uint32_t own = SOURCE_BIT(FROM_OPAQUE) | SOURCE_BIT(FROM_PACKET) | SOURCE_BIT(FROM_WHOLE) | SOURCE_BIT(FROM_LATEST) | SOURCE_BIT(FROM_EPOCH);

	for (uint32_t level = 0; level < WALKER_LEVELS; level++)
		walker->own_names[level] = own >> source_of_level(level) & 1 ? bit_at(walker, level) : BDD_NONE;
}

/* --- operations --------------------------------------------------------------------------------------------------- */

static bdd_ref exclusive(struct bdd *bdd, bdd_ref a, bdd_ref b)
{
	return a == BDD_FALSE ? b : b == BDD_FALSE ? a : bdd_ite(bdd, a, bdd_not(bdd, b), b);
}

static bdd_ref majority(struct bdd *bdd, bdd_ref a, bdd_ref b, bdd_ref c)
{
	return bdd_ite(bdd, a, bdd_or(bdd, b, c), bdd_and(bdd, b, c));
}

/* left + right + carry. */
static void add(struct bdd *bdd, const bdd_ref *left, const bdd_ref *right, bdd_ref carry, unsigned width, bdd_ref *result)
{
	for (unsigned i = 0; i < width; i++) {
		result[i] = exclusive(bdd, exclusive(bdd, left[i], right[i]), carry);
		carry = majority(bdd, left[i], right[i], carry);
	}
}

static void subtract(struct bdd *bdd, const bdd_ref *left, const bdd_ref *right, unsigned width, bdd_ref *result)
{
	bdd_ref inverse[WORD_BITS];

	for (unsigned i = 0; i < width; i++)
		inverse[i] = bdd_not(bdd, right[i]);
	add(bdd, left, inverse, BDD_TRUE, width, result);
}

/* One bit of `by` after the other, from the least on. */
static void shift(struct bdd *bdd, enum insn_kind kind, const bdd_ref *left, const bdd_ref *by, unsigned width,
		  bdd_ref *result)
{
	bdd_ref fill = kind == INSN_RIGHT_SIGNED ? left[width - 1] : BDD_FALSE, old[WORD_BITS];

	memcpy(result, left, width * sizeof *left);
	for (unsigned step = 0; 1u << step < width; step++) {
		unsigned far = 1u << step;

		if (by[step] == BDD_FALSE)
			continue;
		memcpy(old, result, width * sizeof *old);
		for (unsigned i = 0; i < width; i++) {
			bdd_ref from = kind == INSN_LEFT ? (i >= far ? old[i - far] : BDD_FALSE) :
							   (i + far < width ? old[i + far] : fill);

			result[i] = bdd_ite(bdd, by[step], from, old[i]);
		}
	}
}

static void operate(struct bdd *bdd, enum insn_kind kind, const bdd_ref *left, const bdd_ref *right, unsigned width,
		    bdd_ref *result)
{
	switch (kind) {
	case INSN_ADD:
		add(bdd, left, right, BDD_FALSE, width, result);
		break;
	case INSN_SUB:
		subtract(bdd, left, right, width, result);
		break;
	case INSN_LEFT:
	case INSN_RIGHT:
	case INSN_RIGHT_SIGNED:
		shift(bdd, kind, left, right, width, result);
		break;
	case INSN_AND:
		for (unsigned i = 0; i < width; i++)
			result[i] = bdd_and(bdd, left[i], right[i]);
		break;
	case INSN_OR:
		for (unsigned i = 0; i < width; i++)
			result[i] = bdd_or(bdd, left[i], right[i]);
		break;
	default:
		for (unsigned i = 0; i < width; i++)
			result[i] = exclusive(bdd, left[i], right[i]);
	}
}

static struct vec_memo *memo_of(struct walker *walker, uint32_t operation, vec left, vec right)
{
	uint64_t hash = ((left * 0x9e3779b97f4a7c15ull ^ right) * 0xff51afd7ed558ccdull ^ operation) * 0x9e3779b97f4a7c15ull;

	return &walker->memos[hash >> 32 & (MEMOS - 1)];
}

vec vec_opaque(struct walker *walker, uint32_t kind, vec left, vec right)
{
	struct making making = { kind, left < right ? left : right, left < right ? right : left };
	uint32_t number = intern_number(&walker->opaque, &making);

	if (number >= OPAQUE_MAX)
		walker_fail(walker, 0, "is followed by more products than are told apart");
	return vec_source(walker, FROM_OPAQUE, number % OPAQUE_MAX);
}

/* What a vector was made of, the first time. */
static void note_making(struct walker *walker, vec v, enum insn_kind kind, vec left, vec right)
{
	while (walker->makings.count <= v)
		VEC_PUSH(walker->prove->arena, &walker->makings) = (struct making){ 0 };
	if (!walker->makings.items[v].kind && v > left && v > right)
		walker->makings.items[v] = (struct making){ (uint32_t)kind, left, right };
}

vec vec_operate(struct walker *walker, enum insn_kind kind, bool wide, vec left, vec right)
{
	uint32_t operation = (uint32_t)kind * 2 + wide + 1;
	struct vec_memo *memo = memo_of(walker, operation, left, right);
	bdd_ref result[WORD_BITS] = { BDD_FALSE };

	if (memo->operation == operation && memo->left == left && memo->right == right)
		return memo->result;
	operate(walker->bdd, kind, vec_bits(walker, left), vec_bits(walker, right), wide ? 64 : 32, result);
	*memo = (struct vec_memo){ operation, left, right, vec_make(walker, result) };
	if (wide && (kind == INSN_OR || kind == INSN_RIGHT))
		note_making(walker, memo->result, kind, left, right);
	return memo->result;
}

/* --- comparisons -------------------------------------------------------------------------------------------------- */

/* From the least significant bit on; equal numbers give `equal`. */
static bdd_ref less(struct bdd *bdd, const bdd_ref *left, const bdd_ref *right, unsigned width, bool is_signed, bdd_ref equal)
{
	bdd_ref result = equal;

	for (unsigned i = 0; i < width; i++) {
		bool swap = is_signed && i + 1 == width;
		bdd_ref a = swap ? right[i] : left[i], b = swap ? left[i] : right[i];

		result = bdd_ite(bdd, a, bdd_and(bdd, b, result), bdd_or(bdd, b, result));
	}
	return result;
}

static bdd_ref differs(struct bdd *bdd, const bdd_ref *left, const bdd_ref *right, unsigned width)
{
	bdd_ref result = BDD_FALSE;

	for (unsigned i = 0; i < width; i++)
		result = bdd_or(bdd, exclusive(bdd, left[i], right[i]), result);
	return result;
}

static bdd_ref share_a_bit(struct bdd *bdd, const bdd_ref *left, const bdd_ref *right, unsigned width)
{
	bdd_ref result = BDD_FALSE;

	for (unsigned i = 0; i < width; i++)
		result = bdd_or(bdd, bdd_and(bdd, left[i], right[i]), result);
	return result;
}

static bdd_ref compare_bits(struct bdd *bdd, enum compare compare, const bdd_ref *a, const bdd_ref *b, unsigned width)
{
	switch (compare) {
	case COMPARE_EQ:
		return bdd_not(bdd, differs(bdd, a, b, width));
	case COMPARE_NE:
		return differs(bdd, a, b, width);
	case COMPARE_SET:
		return share_a_bit(bdd, a, b, width);
	case COMPARE_LT:
	case COMPARE_SLT:
		return less(bdd, a, b, width, compare == COMPARE_SLT, BDD_FALSE);
	case COMPARE_LE:
	case COMPARE_SLE:
		return less(bdd, a, b, width, compare == COMPARE_SLE, BDD_TRUE);
	case COMPARE_GT:
	case COMPARE_SGT:
		return less(bdd, b, a, width, compare == COMPARE_SGT, BDD_FALSE);
	case COMPARE_GE:
	case COMPARE_SGE:
		return less(bdd, b, a, width, compare == COMPARE_SGE, BDD_TRUE);
	}
	return BDD_FALSE;
}

/* Bit i: whether any is set from there on. What is shifted is told by less than each of its bits. */
static void set_above(struct walker *walker, vec v, bdd_ref *result)
{
	struct making making = v < walker->makings.count ? walker->makings.items[v] : (struct making){ 0 };
	bdd_ref above[WORD_BITS], any = BDD_FALSE;

	if (making.kind == INSN_RIGHT) {
		set_above(walker, making.left, above);
		shift(walker->bdd, INSN_RIGHT, above, vec_bits(walker, making.right), WORD_BITS, result);
		return;
	}
	for (unsigned i = WORD_BITS; i-- > 0;)
		result[i] = any = bdd_or(walker->bdd, vec_bits(walker, v)[i], any);
}

static bdd_ref is_set(struct walker *walker, vec v)
{
	struct making making = v < walker->makings.count ? walker->makings.items[v] : (struct making){ 0 };
	bdd_ref above[WORD_BITS];

	if (making.kind == INSN_OR)
		return bdd_or(walker->bdd, is_set(walker, making.left), is_set(walker, making.right));
	set_above(walker, v, above);
	return above[0];
}

static bool is_short(const struct walker *walker, vec v)
{
	for (unsigned i = 32; i < WORD_BITS; i++)
		if (vec_bits(walker, v)[i] != BDD_FALSE)
			return false;
	return true;
}

static bdd_ref compare_any(struct walker *walker, enum compare compare, bool wide, vec left, vec right)
{
	if (right == VEC_ZERO && (wide || is_short(walker, left)) && compare == COMPARE_NE)
		return is_set(walker, left);
	if (right == VEC_ZERO && (wide || is_short(walker, left)) && compare == COMPARE_EQ)
		return bdd_not(walker->bdd, is_set(walker, left));
	return compare_bits(walker->bdd, compare, vec_bits(walker, left), vec_bits(walker, right), wide ? 64 : 32);
}

bdd_ref vec_compare(struct walker *walker, enum compare compare, bool wide, vec left, vec right)
{
	uint32_t operation = 1000 + (uint32_t)compare * 2 + wide;
	struct vec_memo *memo = memo_of(walker, operation, left, right);

	if (memo->operation == operation && memo->left == left && memo->right == right)
		return memo->result;
	*memo = (struct vec_memo){ operation, left, right, compare_any(walker, compare, wide, left, right) };
	return memo->result;
}

bool vec_equal(struct walker *walker, bdd_ref set, unsigned count, vec left, vec right)
{
	const bdd_ref *a = vec_bits(walker, left), *b = vec_bits(walker, right);

	if (left == right)
		return true;
	for (unsigned i = 0; i < count; i++)
		if (a[i] != b[i] && bdd_meet(walker->bdd, set, exclusive(walker->bdd, a[i], b[i])))
			return false;
	return !walker->bdd->over;
}

/* --- parts -------------------------------------------------------------------------------------------------------- */

vec vec_part(struct walker *walker, vec v, unsigned first, unsigned count)
{
	bdd_ref bits[WORD_BITS] = { BDD_FALSE };

	memcpy(bits, vec_bits(walker, v) + first, count * sizeof *bits);
	return vec_make(walker, bits);
}

vec vec_with(struct walker *walker, vec v, unsigned first, unsigned count, vec part)
{
	bdd_ref bits[WORD_BITS];

	memcpy(bits, vec_bits(walker, v), sizeof bits);
	memcpy(bits + first, vec_bits(walker, part), count * sizeof *bits);
	return vec_make(walker, bits);
}

vec vec_choose(struct walker *walker, bdd_ref set, vec yes, vec no)
{
	bdd_ref bits[WORD_BITS];

	for (unsigned i = 0; i < WORD_BITS; i++)
		bits[i] = bdd_ite(walker->bdd, set, vec_bits(walker, yes)[i], vec_bits(walker, no)[i]);
	return vec_make(walker, bits);
}
