/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table classifier: walks the trees that the planner made (table_abi.h). Linked between a data plane and the emitted
 * object, whose function is classify_rest() then: it judges what is not IP, and answers tests that are no comparisons.
 *
 * In: a packet. Out: the answer of the first record that matches, else the default's. Reads stay below config.limit, which
 * the kernel knows at load.
 *
 * Built twice. With BOUNDED 0 loops end by may_goto (Linux 6.9), of which the kernel checks a turn or two; nothing but
 * broken data ever makes it end one. With BOUNDED 1, for older kernels, it follows every turn, so loops are counted, long
 * leaves are read page by page, and functions are global, for each to be checked once, whatever calls it.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "bpf/key.h"
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

#if BOUNDED
#define UP_TO(turns) for (int turn = 0; turn < (turns); turn++)
#define WALKER __attribute__((noinline))
#else
#define UP_TO(turns) while (goes_on())
#define WALKER static __always_inline

/* may_goto, which this compiler need not know: past the loop, but not before some ten thousand turns. */
static __always_inline bool goes_on(void)
{
	asm volatile goto("1: .byte 0xe5; .byte 0; .long ((%l[ended] - 1b - 8) / 8) & 0xffff; .short 0" : : : : ended);
	return true;
ended:
	return false;
}
#endif

enum { WORDS = KEY_OF_WORDS }; /* of struct packet, that tests and nodes can name, too */

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

/* By the lowest six bits, as processors and BPF do it, and C does not. */
static __always_inline __u64 shifted_right(__u64 value, __u64 by)
{
#ifdef __bpf__
	asm("%0 >>= %1" : "+r"(value) : "r"(by));
	return value;
#else
	return value >> (by & 63);
#endif
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
	__u64 index = (__u64)first * (sizeof(struct table_test) / 8);
	const void *words = blob();

	if (!packet || !words)
		return 0;
	UP_TO(TABLE_TESTS_MAX) {
		const struct table_test *test;

		if (!inside(&index))
			return 0;
		test = words + index * 8;
		if (!test_holds(packet, test))
			return 0;
		if (!test->more)
			return 1;
		index += sizeof *test / 8;
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

/*
 * Two branches a record, after the addresses and at the end: most are skipped by the first, and more would be guessed wrong
 * too often.
 */
static __always_inline bool differs4(const struct packet *packet, const struct table_record4 *record)
{
	return (shifted_right(FIELD(packet, src4) ^ record->src, record->src_shift) |
		shifted_right(FIELD(packet, dst4) ^ record->dst, record->dst_shift)) ||
	       rest_differs(packet, record->value, record->mask) |
	       port_differs(FIELD(packet, src_port), record->src_port, record->src_span) |
	       port_differs(FIELD(packet, dst_port), record->dst_port, record->dst_span);
}

static __always_inline __u64 half_differs(__u64 half, const struct table_record6 *record, int i)
{
	return shifted_right(shifted_right(half ^ record->addresses[i], record->shifts[2 * i]), record->shifts[2 * i + 1]);
}

static __always_inline bool differs6(const struct packet *packet, const struct table_record6 *record)
{
	return (half_differs(FIELD(packet, src_hi), record, 0) | half_differs(FIELD(packet, src_lo), record, 1) |
		half_differs(FIELD(packet, dst_hi), record, 2) | half_differs(FIELD(packet, dst_lo), record, 3)) ||
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

/* Reads the record there. True: `best` is the better of it and that; false: `index` is the next one's. */
static __always_inline bool decided(struct packet *packet, const void *words, bool calls, __u64 *index, __u64 *best, bool six)
{
	const struct table_record4 *four;
	const struct table_record6 *wide;
	enum taken taken = TAKEN_NOT;

	if (!inside(index))
		return true;
	four = words + *index * 8;
	wide = words + *index * 8;
	if (six ? !differs6(packet, wide) : !differs4(packet, four))
		taken = take(packet, calls ? NULL : words, four->order, six ? wide->tests : table_tests_of4(four), *best);
	if (taken == TAKEN_BETTER)
		*best = found_at(words, *index);
	if (taken != TAKEN_NOT || (six ? FIELD(wide, value) : FIELD(four, value)) & TABLE_LAST)
		return true;
	*index += (six ? sizeof *wide : sizeof *four) / 8;
	return false;
}

/* Reads records from `index` on: the better of `best` and what they say; or, if counted, TABLE_GOES_ON | the next index. */
static __always_inline __u64 scan(struct packet *packet, const void *words, __u64 index, __u64 best, int most, bool six)
{
	UP_TO(most / 2) {
		if (decided(packet, words, most > TABLE_SCAN_MAX, &index, &best, six))
			return best;
		if (decided(packet, words, most > TABLE_SCAN_MAX, &index, &best, six))
			return best;
	}
	return TABLE_GOES_ON | index;
}

/* --- the hash --------------------------------------------------------------------------------------------------- */

/* The slot of the key, as an index; beyond the blob if there is none. */
static __always_inline __u64 slot_of(const void *words, const volatile struct table_hash *hash, __u64 sum)
{
	__u64 index = hash->pilots + shifted_right(sum, hash->shift);

	asm volatile("" : "+r"(index));
	if (index > (__u64)table_config.limit * 4)
		return index;
	return hash->base + table_hash_slot(sum, *(const __u16 *)(words + index * 2), hash->slots) * hash->stride;
}

/* The better of `best` and what is in the packet's slot. */
static __always_inline __u64 search_hash(struct packet *packet, __u64 best, bool six)
{
	const volatile struct table_hash *hash = &table_config.hashes[six];
	const void *words = blob();
	const struct table_slot *slot;
	__u64 index, sum = 0, differs = 0;

	if (!words)
		return best;
#pragma unroll
	for (int i = 0; i < TABLE_KEY_WORDS; i++)
		if (hash->keys > i)
			sum += key_word(packet, &hash->key[i]) * hash->key[i].factor;
	index = slot_of(words, hash, sum);
	if (!inside(&index))
		return best;
	slot = words + index * 8;
	asm volatile("" : "+r"(packet)); /* or the key is kept on the stack, whose 512 bytes all callers share */
#pragma unroll
	for (int i = 0; i < TABLE_KEY_WORDS; i++)
		if (hash->keys > i)
			differs |= slot->key[i] ^ key_word(packet, &hash->key[i]);
	if (differs || take(packet, words, slot->order, 0, best) != TAKEN_BETTER)
		return best;
	return found_at(words, index);
}

/* --- trees ------------------------------------------------------------------------------------------------------ */

enum { NO_LEAF = 0 };

/* The bits that a node cuts by are the lowest ones. */
static __always_inline __u64 word_of_node(const struct packet *packet, __u64 node)
{
	__u64 word = *(const __u64 *)((const char *)packet + (node >> TABLE_WORD_AT & (WORDS - 1)) * 8);

	return shifted_right(word, node >> TABLE_SHIFT_AT);
}

/* What is behind a node that is no leaf: in fewer instructions than behind() needs. */
static __always_inline __u64 child(const struct packet *packet, __u64 node)
{
	__u64 others = node >> TABLE_BITS_AT | 48; /* 64 - bits */

	return table_node_base(node) + shifted_right(shifted_left(word_of_node(packet, node), others), others);
}

/* What is behind any node; behind a leaf, its first record. No branch, which would be guessed wrong. */
static __always_inline __u64 behind(const struct packet *packet, __u64 node)
{
	return table_node_base(node) + (word_of_node(packet, node) & ((1ull << table_node_bits(node)) - 1));
}

/* The least node below which nothing is better. */
static __always_inline __u64 node_beyond(__u64 best)
{
	return ((best >> 32) + (1ull << table_config.scale) - 1) >> table_config.scale << TABLE_BOUND_AT;
}

/* Goes on from the node there. True: to the leaf's first record, or to NO_LEAF if nothing there can be better. */
static __always_inline bool arrived(const struct packet *packet, const void *words, __u64 *index, __u64 beyond)
{
	__u64 node;

	if (!inside(index)) {
		*index = NO_LEAF;
		return true;
	}
	node = *(const __u64 *)(words + *index * 8);
	if (node >= beyond) {
		*index = NO_LEAF;
		return true;
	}
	if (!(node & (__u64)TABLE_BITS_MAX << TABLE_BITS_AT)) {
		*index = table_node_base(node);
		return true;
	}
	*index = child(packet, node);
	return false;
}

static __always_inline __u64 find_leaf(const struct packet *packet, const void *words, __u64 index, __u64 best)
{
	__u64 beyond = node_beyond(best);

	UP_TO(TABLE_DEPTH_MAX / 2) {
		if (arrived(packet, words, &index, beyond))
			return index;
		if (arrived(packet, words, &index, beyond))
			return index;
	}
	return NO_LEAF;
}

static __always_inline __u64 walk(struct packet *packet, const void *words, __u64 root, __u64 best, bool six)
{
	__u64 index = find_leaf(packet, words, root, best);

	return index == NO_LEAF ? best : scan(packet, words, index, best, TABLE_SCAN_MAX, six);
}

/* The better of `best` and what the tree says; or TABLE_GOES_ON | where the leaf goes on. */
WALKER __u64 table_walk4(struct packet *packet, __u64 root, __u64 best)
{
	const void *words = blob();

	return packet && words ? walk(packet, words, root, best, false) : best;
}

WALKER __u64 table_walk6(struct packet *packet, __u64 root, __u64 best)
{
	const void *words = blob();

	return packet && words ? walk(packet, words, root, best, true) : best;
}

#if BOUNDED
static __always_inline __u64 go_on(struct packet *packet, __u64 index, __u64 best, bool six)
{
	const void *words = blob();

	if (!packet || !words || !(six ? table_config.long6 : table_config.long4))
		return best; /* the kernel knows that it always gets here, if it does */
	return scan(packet, words, index, best, TABLE_PAGE_MAX, six);
}

WALKER __u64 table_go_on4(struct packet *packet, __u64 index, __u64 best)
{
	return go_on(packet, index, best, false);
}

WALKER __u64 table_go_on6(struct packet *packet, __u64 index, __u64 best)
{
	return go_on(packet, index, best, true);
}
#endif

static __always_inline __u64 walk_of(struct packet *packet, __u64 root, __u64 best, bool six)
{
	return six ? table_walk6(packet, root, best) : table_walk4(packet, root, best);
}

/* The better of `best` and what the tree says. Unrolled: in loops within loops, the kernel would have to follow too many ways. */
static __always_inline __u64 search(struct packet *packet, __u64 root, __u64 best, bool six)
{
	__u64 found = walk_of(packet, root, best, six);

#if BOUNDED
#pragma unroll
	for (int i = 0; i < TABLE_PAGES; i++)
		if ((six ? table_config.long6 : table_config.long4) && found & TABLE_GOES_ON)
			found = six ? table_go_on6(packet, found & ~TABLE_GOES_ON, best) :
				      table_go_on4(packet, found & ~TABLE_GOES_ON, best);
#endif
	return found;
}

/* --- single rules that were changed ------------------------------------------------------------------------------ */

/* No root: the packet cannot be judged. */
#define LOST (~0ull)

/* Whether the packet, whose judging goes on, began with this version (0: none). */
static __always_inline bool began_with(const struct packet *packet, __u32 tag)
{
	return packet->whole >> TABLE_TAG_SHIFT == tag;
}

static __always_inline const struct table_version *version_at(const void *words, __u64 index)
{
	return index && inside(&index) ? words + index * 8 : NULL;
}

/*
 * The root of the tree that is built beside the others, in the version of the table in force; 0: there is none. Who asks
 * walks it: this function's part of the stack is free then.
 */
__attribute__((noinline)) __u64 table_changes(struct packet *packet)
{
	const void *words = blob();
	const struct table_version *version;
	__u64 index;
	__u32 tag;

	if (!packet || !words || !table_config.changes)
		return 0;
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
	return version ? version->roots[packet->family == FAMILY_IPV6] : 0;
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

static __always_inline __u32 touched(bool six)
{
	return six ? table_config.touch6 : table_config.touch4;
}

/* Goes to what is behind the node there. False: that is no node. */
static __always_inline bool descend(const struct packet *packet, const void *words, __u64 *index)
{
	if (!inside(index))
		return false;
	*index = behind(packet, *(const volatile __u64 *)(words + *index * 8));
	return true;
}

/*
 * From the roots of trees that are touched, which are no leaves, to where they lead. What comes behind that is read, too, in
 * all such trees side by side: the processor waits for all of it at once, and finds it in the cache later.
 * False, for the kernel alone: a root is none.
 */
static __always_inline bool read_ahead(const struct packet *packet, bool six, __u64 starts[TABLE_TREES])
{
	const void *words = blob();
	__u64 index;

	if (!words)
		return false;
#pragma unroll
	for (__u32 i = 0; i < TABLE_TREES; i++)
		if (touched(six) >> i & 1 && !descend(packet, words, &starts[i]))
			return false;
#pragma unroll
	for (__u32 i = 0; i < TABLE_TREES; i++) {
		index = starts[i];
		if (touched(six) >> i & 1 && descend(packet, words, &index) && inside(&index))
			(void)*(const volatile __u64 *)(words + index * 8);
	}
	return true;
}

/* All trees of a family, after what was changed in them. */
static __always_inline __u64 search_all(struct packet *packet, __u64 changed, bool six)
{
	__u32 trees = six ? table_config.trees6 : table_config.trees4;
	__u64 starts[TABLE_TREES], best = table_config.start;

	if (changed)
		best = walk_of(packet, changed, best, six); /* its leaves are short */
#pragma unroll
	for (__u32 i = 0; i < TABLE_TREES; i++)
		starts[i] = six ? table_config.roots6[i] : table_config.roots4[i];
	if (touched(six) && !read_ahead(packet, six, starts))
		return best;
	if (table_config.hashes[six].slots)
		best = search_hash(packet, best, six);
	if (trees > 0)
		best = search(packet, starts[0], best, six);
	if (trees > 1)
		best = search(packet, starts[1], best, six);
	if (trees > 2)
		best = search(packet, starts[2], best, six);
	if (trees > 3)
		best = search(packet, starts[3], best, six);
	return best;
}
_Static_assert(TABLE_TREES == 4, "search_all() goes through them one by one: what has may_goto cannot be unrolled");

__attribute__((noinline)) int classify(struct packet *packet)
{
	__u64 changed = 0;

	if (!packet)
		return ANSWER(ANSWER_DROP, SLOT_MALFORMED);
	if (packet->family != FAMILY_IPV4 && packet->family != FAMILY_IPV6)
		return classify_rest(packet);
	if (has_changes())
		changed = table_changes(packet);
	if (changed == LOST)
		return ANSWER(ANSWER_DROP, SLOT_MALFORMED);
	return packet->family == FAMILY_IPV6 ? (int)search_all(packet, changed, true) : (int)search_all(packet, changed, false);
}
