/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table classifier: walks the trees that the planner made (table_abi.h). Linked between a data plane and the emitted
 * object, whose function is classify_rest() then: it judges what is not IP, and answers tests that are no comparisons.
 *
 * In: a packet. Out: the answer of the first record that matches, else the default's. Functions are global so that the
 * kernel checks each of them once, whatever calls it. Reads stay below config.limit, which the kernel knows at load.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "bpf/plane_abi.h"
#include "bpf/table_abi.h"
#include "packet/packet.h"

const volatile struct table_config table_config SEC(TABLE_CONFIG) = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, TABLE_SLACK + 8);
} table SEC(".maps");

extern int classify_rest(struct packet *packet);
extern volatile __u64 epoch;

enum { WORDS = TABLE_REST }; /* of struct packet, that tests and nodes can name: all that rules look at */
_Static_assert(WORDS * 8 <= sizeof(struct packet) && WORDS == 16, "they are words of the packet, in 4 bits");

/* The stack's 512 bytes are shared with all callers: even the key is elsewhere. */
static __always_inline const void *blob(void)
{
	return bpf_map_lookup_elem(&table, (const void *)&table_config.zero);
}

/* Whether `index` is a word of the blob; opaque, so that the compiler keeps the comparison where the kernel needs it. */
static __always_inline bool inside(__u64 *index)
{
	asm volatile("" : "+r"(*index));
	return *index <= table_config.limit;
}

/* --- further tests ---------------------------------------------------------------------------------------------- */

static __always_inline bool ask_rest(struct packet *packet, __u32 question)
{
	__u32 resume = packet->resume;
	int answer;

	packet->resume = question;
	answer = classify_rest(packet);
	packet->resume = resume;
	return answer == TABLE_YES;
}

static __always_inline bool comparison_holds(const struct packet *packet, const struct table_test *test)
{
	__u64 word = ((const __u64 *)packet)[test->word & (WORDS - 1)];

	return (word & test->mask) - test->lo <= test->span;
}

static __always_inline bool test_holds(struct packet *packet, const struct table_test *test)
{
	if (test->word >= WORDS)
		return ask_rest(packet, (__u32)test->lo);
	return comparison_holds(packet, test);
}

/* Whether the tests that begin there hold. */
__attribute__((noinline)) int table_tests(struct packet *packet, __u32 first)
{
	const void *words = blob();

	if (!packet || !words)
		return 0;
	for (int i = 0; i < TABLE_TESTS_MAX; i++) {
		__u64 index = ((__u64)first + i) * (sizeof(struct table_test) / 8);
		const struct table_test *test;

		if (!inside(&index))
			return 0;
		test = words + index * 8;
		if (!test_holds(packet, test))
			return 0;
		if (!test->more)
			return 1;
	}
	return 0;
}

/* The same; the first one without a call, as most runs are but one comparison. */
static __always_inline bool tests_hold(struct packet *packet, const void *words, __u32 first)
{
	__u64 index = (__u64)first * (sizeof(struct table_test) / 8);
	const struct table_test *test;

	if (!inside(&index))
		return false;
	test = words + index * 8;
	if (test->word >= WORDS || test->more)
		return table_tests(packet, first);
	return comparison_holds(packet, test);
}

/* --- records ---------------------------------------------------------------------------------------------------- */

/*
 * The packet is read anew for each record: it is in the first-level cache as the stack would be, whose 512 bytes all
 * callers share.
 */
#define FIELD(packet, member) (*(const volatile typeof((packet)->member) *)&(packet)->member)

/* Not 0 if port - lo, of 16 bits, is beyond the span. */
static __always_inline __u64 port_differs(__u64 port, __u64 lo, __u64 span)
{
	__u64 over = span - ((port - lo) & 0xffff);

	asm volatile("" : "+r"(over)); /* or it becomes a branch */
	return over >> 63;
}

/* Protocol and ports. */
static __always_inline __u64 rest_differs(const struct packet *packet, __u64 value, __u64 mask)
{
	__u64 key = FIELD(packet, proto) | ((~(__u64)FIELD(packet, dst_port) >> 7) & TABLE_HAS_PORTS);

	return (key ^ value) & mask;
}

/* Without branches but for the last: they would be guessed wrong. */
static __always_inline __u64 differs4(const struct packet *packet, const struct table_record4 *record)
{
	return (__u64)(FIELD(packet, src4) ^ record->src) >> (record->src_shift & 63) |
	       (__u64)(FIELD(packet, dst4) ^ record->dst) >> (record->dst_shift & 63) |
	       rest_differs(packet, record->value, record->mask) |
	       port_differs(FIELD(packet, src_port), record->src_port, record->src_span) |
	       port_differs(FIELD(packet, dst_port), record->dst_port, record->dst_span);
}

static __always_inline __u64 half_differs(__u64 half, const struct table_record6 *record, int i)
{
	return (half ^ record->addresses[i]) >> (record->shifts[2 * i] & 63) >> (record->shifts[2 * i + 1] & 63);
}

static __always_inline __u64 differs6(const struct packet *packet, const struct table_record6 *record)
{
	return half_differs(FIELD(packet, src_hi), record, 0) | half_differs(FIELD(packet, src_lo), record, 1) |
	       half_differs(FIELD(packet, dst_hi), record, 2) | half_differs(FIELD(packet, dst_lo), record, 3) |
	       rest_differs(packet, record->value, record->mask) |
	       port_differs(FIELD(packet, src_port), record->src_port, record->src_span) |
	       port_differs(FIELD(packet, dst_port), record->dst_port, record->dst_span);
}

enum taken { TAKEN_NOT, TAKEN_BETTER, TAKEN_WORSE };

/* What a record that agrees means. Those behind it are worse. `words`: or NULL, to have tests looked at by a call. */
static __always_inline enum taken take(struct packet *packet, const void *words, __u32 order, __u32 tests,
				       __u64 best)
{
	if (order >= best >> 32)
		return TAKEN_WORSE;
	if (table_config.resumes && order < packet->resume)
		return TAKEN_NOT;
	if (table_config.tests && tests && !(words ? tests_hold(packet, words, tests) : table_tests(packet, tests)))
		return TAKEN_NOT;
	return TAKEN_BETTER;
}

/* Order and answer; both forms of records begin with them. Read once more rather than kept on the stack. */
static __always_inline __u64 found_at(const void *words, __u64 index)
{
	const volatile __u32 *record = words + index * 8;

	return (__u64)record[0] << 32 | record[1];
}

/* Reads at most so many records from `index` on: the better of `best` and what they say; or TABLE_GOES_ON | the next index. */
static __always_inline __u64 scan(struct packet *packet, const void *words, __u64 index, __u64 best, int most, bool six)
{
	for (int i = 0; i < most; i++) {
		const struct table_record4 *four;
		const struct table_record6 *wide;
		enum taken taken = TAKEN_NOT;

		if (!inside(&index))
			return best;
		four = words + index * 8;
		wide = words + index * 8;
		if (six ? !differs6(packet, wide) : !differs4(packet, four))
			taken = take(packet, most > TABLE_SCAN_MAX ? NULL : words, four->order,
				     six ? wide->tests : table_tests_of4(four), best);
		if (taken == TAKEN_BETTER)
			return found_at(words, index);
		if (taken == TAKEN_WORSE || (six ? FIELD(wide, value) : FIELD(four, value)) & TABLE_LAST)
			return best;
		index += (six ? sizeof *wide : sizeof *four) / 8;
	}
	return TABLE_GOES_ON | index;
}

/* --- trees ------------------------------------------------------------------------------------------------------ */

enum { NO_LEAF = 0 };

/* Of a leaf, its first record. */
static __always_inline __u64 child(const struct packet *packet, __u64 node)
{
	__u64 word = ((const __u64 *)packet)[node >> TABLE_WORD_AT & (WORDS - 1)];
	__u64 bits = node & TABLE_BITS_MAX;

	return (node >> TABLE_BASE_AT) + (word >> (node >> TABLE_SHIFT_AT & 63) & ((1ull << bits) - 1));
}

/* The leaf's first record, or NO_LEAF if nothing there can be better than `best`. */
static __always_inline __u64 find_leaf(const struct packet *packet, const void *words, __u64 index, __u64 best)
{
	for (int i = 0; i < TABLE_DEPTH_MAX; i++) {
		__u64 node;

		if (!inside(&index))
			return NO_LEAF;
		node = *(const __u64 *)(words + index * 8);
		if ((node >> TABLE_BOUND_AT & TABLE_BOUND_MAX) << table_config.scale >= best >> 32)
			return NO_LEAF;
		if (!(node & TABLE_BITS_MAX))
			return node >> TABLE_BASE_AT;
		index = child(packet, node);
	}
	return NO_LEAF;
}

static __always_inline __u64 walk(struct packet *packet, __u64 root, __u64 best, bool six)
{
	const void *words = blob();
	__u64 index;

	if (!packet || !words)
		return best;
	index = find_leaf(packet, words, root, best);
	return index == NO_LEAF ? best : scan(packet, words, index, best, TABLE_SCAN_MAX, six);
}

static __always_inline __u64 go_on(struct packet *packet, __u64 index, __u64 best, bool six)
{
	const void *words = blob();

	if (!packet || !words || !(six ? table_config.long6 : table_config.long4))
		return best; /* the kernel knows that it always gets here, if it does */
	return scan(packet, words, index, best, TABLE_PAGE_MAX, six);
}

/* The better of `best` and what the tree says; or TABLE_GOES_ON | where the leaf goes on. */
__attribute__((noinline)) __u64 table_walk4(struct packet *packet, __u64 root, __u64 best)
{
	return walk(packet, root, best, false);
}

__attribute__((noinline)) __u64 table_walk6(struct packet *packet, __u64 root, __u64 best)
{
	return walk(packet, root, best, true);
}

__attribute__((noinline)) __u64 table_go_on4(struct packet *packet, __u64 index, __u64 best)
{
	return go_on(packet, index, best, false);
}

__attribute__((noinline)) __u64 table_go_on6(struct packet *packet, __u64 index, __u64 best)
{
	return go_on(packet, index, best, true);
}

/* --- single rules that were changed ------------------------------------------------------------------------------ */

/* Below any order and answer: the packet cannot be judged. */
#define LOST 0

/* Whether the packet, whose judging goes on, began with this version (0: none). */
static __always_inline bool began_with(const struct packet *packet, __u32 tag)
{
	return packet->whole >> TABLE_TAG_SHIFT == tag;
}

static __always_inline const struct table_version *version_at(const void *words, __u64 index)
{
	return index && inside(&index) ? words + index * 8 : NULL;
}

/* The better of `best` and what the version of the table in force says that is built beside the trees. */
__attribute__((noinline)) __u64 table_changes(struct packet *packet, __u64 best)
{
	const void *words = blob();
	const struct table_version *version;
	__u64 root, leaf, index;
	__u32 tag;
	bool six;

	if (!packet || !words || !table_config.changes)
		return best;
	index = *(const volatile __u64 *)words;
	version = version_at(words, index);
	if (version && (packet->resume ? !began_with(packet, version->tag) : epoch < version->since)) {
		index = version->before;
		version = version_at(words, index);
	}
	tag = version ? version->tag : 0;
	if (!packet->resume)
		packet->whole = (packet->whole & 1) | tag << TABLE_TAG_SHIFT;
	else if (!began_with(packet, tag))
		return LOST;
	if (!version)
		return best;
	six = packet->family == FAMILY_IPV6;
	root = six ? version->roots[1] : version->roots[0];
	leaf = root ? find_leaf(packet, words, root, best) : NO_LEAF;
	if (leaf == NO_LEAF)
		return best;
	return six ? scan(packet, words, leaf, best, TABLE_SCAN_MAX, true) :
		     scan(packet, words, leaf, best, TABLE_SCAN_MAX, false);
}

static __always_inline bool has_changes(void)
{
	const void *words;

	if (!table_config.changes)
		return false;
	words = blob();
	return words && *(const volatile __u64 *)words;
}

/* --- the classifier --------------------------------------------------------------------------------------------- */

static __always_inline bool touched(__u32 tree, bool six)
{
	return (six ? table_config.touch6 : table_config.touch4) >> tree & 1;
}

/* Goes to the child of the node there. False: there is none. */
static __always_inline bool descend(const struct packet *packet, const void *words, __u64 *index)
{
	if (!inside(index))
		return false;
	*index = child(packet, *(const volatile __u64 *)(words + *index * 8));
	return true;
}

/*
 * Fills in where to begin in each tree: at the root; or where it leads to, if the tree is touched. What comes behind
 * that is read, too, in all such trees side by side: the processor waits for all of it at once, and finds it in the
 * cache later.
 * False, for the kernel alone: a tree leads nowhere.
 */
static __always_inline bool begin(const struct packet *packet, const void *words, bool six, __u64 starts[TABLE_TREES])
{
	__u64 index;

#pragma unroll
	for (__u32 i = 0; i < TABLE_TREES; i++) {
		starts[i] = six ? table_config.roots6[i] : table_config.roots4[i];
		if (touched(i, six) && !descend(packet, words, &starts[i]))
			return false;
	}
#pragma unroll
	for (__u32 i = 0; i < TABLE_TREES; i++) {
		index = starts[i];
		if (touched(i, six) && (!descend(packet, words, &index) || !inside(&index)))
			return false;
		if (touched(i, six))
			(void)*(const volatile __u64 *)(words + index * 8);
	}
	return true;
}

/* All trees of a family, where no leaf is long: what calls cost is saved. */
static __always_inline __u64 walk_all(struct packet *packet, __u64 best, bool six)
{
	const void *words = blob();
	__u64 starts[TABLE_TREES];

	if (!packet || !words || (six ? table_config.long6 : table_config.long4))
		return best;
	if (!begin(packet, words, six, starts))
		return best;
#pragma unroll
	for (__u32 i = 0; i < TABLE_TREES; i++) {
		__u64 index;

		if (i >= (six ? table_config.trees6 : table_config.trees4))
			break;
		index = find_leaf(packet, words, starts[i], best);
		if (index != NO_LEAF)
			best = scan(packet, words, index, best, TABLE_SCAN_MAX, six);
	}
	return best;
}

__attribute__((noinline)) __u64 table_walk_all4(struct packet *packet, __u64 best)
{
	return walk_all(packet, best, false);
}

__attribute__((noinline)) __u64 table_walk_all6(struct packet *packet, __u64 best)
{
	return walk_all(packet, best, true);
}

/* Unrolled: in loops within loops, the kernel would have to follow too many ways. */
static __always_inline __u64 search4(struct packet *packet, __u32 root, __u64 best)
{
	__u64 found = table_walk4(packet, root, best);

#pragma unroll
	for (int i = 0; i < TABLE_PAGES; i++)
		if (table_config.long4 && found & TABLE_GOES_ON)
			found = table_go_on4(packet, found & ~TABLE_GOES_ON, best);
	return found;
}

static __always_inline __u64 search6(struct packet *packet, __u32 root, __u64 best)
{
	__u64 found = table_walk6(packet, root, best);

#pragma unroll
	for (int i = 0; i < TABLE_PAGES; i++)
		if (table_config.long6 && found & TABLE_GOES_ON)
			found = table_go_on6(packet, found & ~TABLE_GOES_ON, best);
	return found;
}

__attribute__((noinline)) int classify(struct packet *packet)
{
	__u64 best = table_config.start;

	if (!packet)
		return ANSWER(ANSWER_DROP, SLOT_MALFORMED);
	if ((packet->family == FAMILY_IPV4 || packet->family == FAMILY_IPV6) && has_changes())
		best = table_changes(packet, best);
	if (best == LOST)
		return ANSWER(ANSWER_DROP, SLOT_MALFORMED);
	if (packet->family == FAMILY_IPV4 && !table_config.long4) {
		best = table_walk_all4(packet, best);
	} else if (packet->family == FAMILY_IPV6 && !table_config.long6) {
		best = table_walk_all6(packet, best);
	} else if (packet->family == FAMILY_IPV4) {
#pragma unroll
		for (__u32 i = 0; i < TABLE_TREES; i++)
			if (i < table_config.trees4)
				best = search4(packet, table_config.roots4[i], best);
	} else if (packet->family == FAMILY_IPV6) {
#pragma unroll
		for (__u32 i = 0; i < TABLE_TREES; i++)
			if (i < table_config.trees6)
				best = search6(packet, table_config.roots6[i], best);
	} else {
		return classify_rest(packet);
	}
	return (int)best;
}
