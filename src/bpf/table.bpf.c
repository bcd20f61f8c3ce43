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

enum { WORDS = sizeof(struct packet) / 8 };

static __always_inline const void *blob(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&table, &zero);
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

static __always_inline bool test_holds(struct packet *packet, const struct table_test *test)
{
	__u32 word = test->word;

	if (word >= WORDS)
		return ask_rest(packet, (__u32)test->lo);
	return (((const __u64 *)packet)[word] & test->mask) - test->lo <= test->span;
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

/* --- records ---------------------------------------------------------------------------------------------------- */

/* What records are compared with. */
struct key {
	__u64 src, src_lo, dst, dst_lo; /* IPv4: the low words are not used */
	__u64 src_port, dst_port;
	__u64 rest; /* TABLE_PROTO and so on */
};

static __always_inline void fill_rest(struct key *key, const struct packet *packet)
{
	key->src_port = packet->src_port;
	key->dst_port = packet->dst_port;
	key->rest = packet->proto | (__u64)(packet->src_port < ABSENT_PORT) * TABLE_HAS_PORTS;
}

/* Not 0 if port - lo, of 16 bits, is beyond the span. */
static __always_inline __u64 port_differs(__u64 port, __u64 lo, __u64 span)
{
	return (span - ((port - lo) & 0xffff)) >> 63;
}

/* Without branches but for the last: they would be guessed wrong. */
static __always_inline __u64 differs4(const struct key *key, const struct table_record4 *record)
{
	return (key->src ^ record->src) >> (record->src_shift & 63) |
	       (key->dst ^ record->dst) >> (record->dst_shift & 63) | ((key->rest ^ record->value) & record->mask) |
	       port_differs(key->src_port, record->src_port, record->src_span) |
	       port_differs(key->dst_port, record->dst_port, record->dst_span);
}

static __always_inline __u64 half_differs(__u64 half, const struct table_record6 *record, int i)
{
	return (half ^ record->addresses[i]) >> (record->shifts[2 * i] & 63) >> (record->shifts[2 * i + 1] & 63);
}

static __always_inline __u64 differs6(const struct key *key, const struct table_record6 *record)
{
	return half_differs(key->src, record, 0) | half_differs(key->src_lo, record, 1) |
	       half_differs(key->dst, record, 2) | half_differs(key->dst_lo, record, 3) |
	       ((key->rest ^ record->value) & record->mask) |
	       port_differs(key->src_port, record->src_port, record->src_span) |
	       port_differs(key->dst_port, record->dst_port, record->dst_span);
}

/* Reading a leaf. */
struct scan {
	struct packet *packet;
	const void *words;
	struct key key;
	__u64 index; /* of the next record */
	__u64 best;  /* order << 32 | answer */
};

enum { SCAN_ON = 0, SCAN_ENDS = 1 };
enum { SLOW_MAX = 1 << 23 }; /* the most that bpf_loop() takes */

/* A record that agrees with the key. Orders ascend, so the search in this leaf ends unless a test refuses. */
static __always_inline long take(struct scan *scan, __u32 order, __u32 answer, __u32 tests)
{
	if (order >= scan->best >> 32)
		return SCAN_ENDS;
	if (table_config.resumes && order < scan->packet->resume)
		return SCAN_ON;
	if (table_config.tests && tests && !table_tests(scan->packet, tests))
		return SCAN_ON;
	scan->best = (__u64)order << 32 | answer;
	return SCAN_ENDS;
}

static __always_inline long scan_one4(struct scan *scan)
{
	const struct table_record4 *record;

	if (!inside(&scan->index))
		return SCAN_ENDS;
	record = scan->words + scan->index * 8;
	scan->index += sizeof *record / 8;
	if (!differs4(&scan->key, record) &&
	    take(scan, record->order, record->answer, record->tests) == SCAN_ENDS)
		return SCAN_ENDS;
	return record->value & TABLE_LAST ? SCAN_ENDS : SCAN_ON;
}

static __always_inline long scan_one6(struct scan *scan)
{
	const struct table_record6 *record;

	if (!inside(&scan->index))
		return SCAN_ENDS;
	record = scan->words + scan->index * 8;
	scan->index += sizeof *record / 8;
	if (!differs6(&scan->key, record) &&
	    take(scan, record->order, record->answer, record->tests) == SCAN_ENDS)
		return SCAN_ENDS;
	return record->value & TABLE_LAST ? SCAN_ENDS : SCAN_ON;
}

static long scan_slowly4(__u32 i, struct scan *scan)
{
	(void)i;
	return scan_one4(scan);
}

/* A copy, so that shorter scans can be kept in registers. */
static __always_inline __u64 scan_long4(struct scan scan)
{
	bpf_loop(SLOW_MAX, scan_slowly4, &scan, 0);
	return scan.best;
}

static long scan_slowly6(__u32 i, struct scan *scan)
{
	(void)i;
	return scan_one6(scan);
}

/* A copy, so that shorter scans can be kept in registers. */
static __always_inline __u64 scan_long6(struct scan scan)
{
	bpf_loop(SLOW_MAX, scan_slowly6, &scan, 0);
	return scan.best;
}

/* --- trees ------------------------------------------------------------------------------------------------------ */

enum { NO_LEAF = 0 };

/* The leaf's first record, or NO_LEAF if nothing there can be better than `best`. */
static __always_inline __u64 find_leaf(const struct packet *packet, const void *words, __u64 index, __u64 best)
{
	for (int i = 0; i < TABLE_DEPTH_MAX; i++) {
		__u64 node, bits, word;

		if (!inside(&index))
			return NO_LEAF;
		node = *(const __u64 *)(words + index * 8);
		if ((node >> TABLE_BOUND_AT & TABLE_BOUND_MAX) << table_config.scale >= best >> 32)
			return NO_LEAF;
		index = node >> TABLE_BASE_AT;
		bits = node & TABLE_BITS_MAX;
		if (!bits)
			return index;
		word = ((const __u64 *)packet)[node >> TABLE_WORD_AT & (WORDS - 1)];
		index += word >> (node >> TABLE_SHIFT_AT & 63) & ((1ull << bits) - 1);
	}
	return NO_LEAF;
}

/* The better of `best` and what the tree says. */
__attribute__((noinline)) __u64 table_walk4(struct packet *packet, __u64 root, __u64 best)
{
	struct scan scan = { .packet = packet, .words = blob(), .best = best };

	if (!packet || !scan.words)
		return best;
	scan.index = find_leaf(packet, scan.words, root, best);
	if (scan.index == NO_LEAF)
		return best;
	scan.key.src = packet->src4;
	scan.key.dst = packet->dst4;
	fill_rest(&scan.key, packet);
	for (int i = 0; i < TABLE_SCAN_MAX; i++)
		if (scan_one4(&scan) == SCAN_ENDS)
			return scan.best;
	return scan_long4(scan);
}

__attribute__((noinline)) __u64 table_walk6(struct packet *packet, __u64 root, __u64 best)
{
	struct scan scan = { .packet = packet, .words = blob(), .best = best };

	if (!packet || !scan.words)
		return best;
	scan.index = find_leaf(packet, scan.words, root, best);
	if (scan.index == NO_LEAF)
		return best;
	scan.key.src = packet->src_hi;
	scan.key.src_lo = packet->src_lo;
	scan.key.dst = packet->dst_hi;
	scan.key.dst_lo = packet->dst_lo;
	fill_rest(&scan.key, packet);
	for (int i = 0; i < TABLE_SCAN_MAX; i++)
		if (scan_one6(&scan) == SCAN_ENDS)
			return scan.best;
	return scan_long6(scan);
}

/* --- the classifier --------------------------------------------------------------------------------------------- */

__attribute__((noinline)) int classify(struct packet *packet)
{
	__u64 best = table_config.start;

	if (!packet)
		return ANSWER(ANSWER_DROP, SLOT_MALFORMED);
	if (packet->family == FAMILY_IPV4) {
#pragma unroll
		for (__u32 i = 0; i < TABLE_TREES; i++)
			if (i < table_config.trees4)
				best = table_walk4(packet, table_config.roots4[i], best);
	} else if (packet->family == FAMILY_IPV6) {
#pragma unroll
		for (__u32 i = 0; i < TABLE_TREES; i++)
			if (i < table_config.trees6)
				best = table_walk6(packet, table_config.roots6[i], best);
	} else {
		return classify_rest(packet);
	}
	return (int)best;
}

