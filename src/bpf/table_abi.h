/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table classifier's data, which the planner writes (plan/table*.c) and the walker reads (bpf/table.bpf.c). One
 * blob of 8-byte words in map `table`, the value of its only element; host byte order.
 *
 * The blob holds trees. A node picks one of 2^bits children by a group of bits of one 8-byte word of struct packet:
 *   index of the child = base + ((word >> shift) & (2^bits - 1))
 * A leaf is a run of records, by order ascending; the last has TABLE_LAST set. Of all records that match, in all trees
 * of the packet's family, the one of least order that is not below packet.resume decides.
 *
 * Single rules are changed without building the trees anew: all that differs from them is in one more tree a family, which
 * is built anew with each change and is searched first. It lies in the table's room, in words that no packet reads yet;
 * `latest` then leads to it, and the epoch puts it in force. docs/classifier.md, "Changing single rules".
 *
 * Most of a family's records may be in a hash instead, which is looked at before the trees: all of them that fix the same bits
 * of the packet. Records of other trees compete with the one that is found there, by order.
 *
 * The blob: header, tests, room, hashes, trees; and for user space alone, beyond table_config.limit, the entries as records.
 */
#ifndef WEIR_BPF_TABLE_ABI_H
#define WEIR_BPF_TABLE_ABI_H

#include <linux/types.h>

/*
 * A node, in one word:
 *   bits 0-2    0
 *   bits 3-6    index of the word in struct packet
 *   bits 7-12   shift
 *   bits 13-16  16 - bits; 0: a leaf
 *   bits 17-44  base: of the children, or of the first record, as an index of words
 *   bits 45-63  bound: the least order below, >> table_config.scale; TABLE_BOUND_MAX: nothing below
 * The walker tells by one comparison of the whole node what cannot be better than what it has, needs only a mask to find
 * the word, and gives the shifts what stands above them, too: they look at six bits.
 */
enum {
	TABLE_WORD_AT = 3,
	TABLE_SHIFT_AT = 7,
	TABLE_BITS_AT = 13,
	TABLE_BASE_AT = 17,
	TABLE_BOUND_AT = 45,
	TABLE_BITS_MAX = 15,
	TABLE_BOUND_MAX = (1 << 19) - 1,
	TABLE_BASE_MAX = (1 << 28) - 1,
};

static inline __attribute__((always_inline)) __u32 table_node_bits(__u64 node)
{
	return (16 - (node >> TABLE_BITS_AT)) & TABLE_BITS_MAX;
}

static inline __attribute__((always_inline)) __u64 table_node_base(__u64 node)
{
	return node >> TABLE_BASE_AT & TABLE_BASE_MAX;
}

enum {
	TABLE_TREES = 4,       /* at most, for each family */
	TABLE_DEPTH_MAX = 20,  /* nodes on a path, the leaf included */
	TABLE_SCAN_MAX = 128,  /* records of a leaf that are read at first; of a longer one, so many pages follow at most */
	TABLE_PAGES = 8,
	TABLE_PAGE_MAX = 1024, /* the kernel follows no loop with 8,192 branches */
	TABLE_LEAF_MAX = TABLE_SCAN_MAX + TABLE_PAGES * TABLE_PAGE_MAX,
	TABLE_TESTS_MAX = 32,  /* tests of one record */
	TABLE_SLACK = 128,     /* bytes behind the last word that may be read */
};

/* Of a packet, what `value` and `mask` of a record look at. */
enum {
	TABLE_PROTO = 0x1ff,     /* ABSENT_PROTO included */
	TABLE_HAS_PORTS = 1 << 9,
	TABLE_LAST = 1 << 15,    /* in `value`: the leaf ends here */
};

/* An IPv4 record matches if each address agrees above its shift, both ports are in their spans, and the rest agrees. */
struct table_record4 {
	__u32 order;
	__u32 answer;      /* of classify() */
	__u32 src, dst;
	__u16 src_port;    /* the least; with the span 0xffff the port does not matter, nor whether there is one */
	__u16 src_span;
	__u16 dst_port;
	__u16 dst_span;
	__u16 value, mask;
	__u16 tests;       /* 0, or where further tests begin, in units of 32 bytes; the higher bits are in the shifts */
	__u8 src_shift;    /* bits 0-5: 0 .. 32; bits 6-7: bits 16-17 of tests */
	__u8 dst_shift;    /* bits 6-7: bits 18-19 of tests */
};

static inline __attribute__((always_inline)) __u32 table_tests_of4(const struct table_record4 *record)
{
	return record->tests | (__u32)(record->src_shift >> 6) << 16 | (__u32)(record->dst_shift >> 6) << 18;
}

/* As above; a half of an address is shifted twice, by at most 63, since a shift by 64 is none. */
struct table_record6 {
	__u32 order;
	__u32 answer;
	__u16 src_port;
	__u16 src_span;
	__u16 dst_port;
	__u16 dst_span;
	__u16 value, mask;
	__u32 tests;
	__u8 shifts[8];    /* src_hi twice, src_lo twice, dst_hi twice, dst_lo twice */
	__u64 addresses[4]; /* src_hi, src_lo, dst_hi, dst_lo */
};

/* One further test: (word & mask) - lo <= span, without a sign. */
struct table_test {
	__u64 mask;
	__u64 lo;
	__u64 span;
	__u32 word; /* of struct packet; or TABLE_REST: classify_rest() is called with packet.resume = lo */
	__u32 more; /* 1: another one follows */
};
enum { TABLE_REST = 16 };

/* What classify_rest() answers when it is asked by a test; all else is no. */
enum { TABLE_YES = 1 << 3 };

/* What the functions of the walker return in place of an order: the leaf goes on at the word in the lower half. */
#define TABLE_GOES_ON (1ull << 63)

enum {
	TABLE_HEADER = 320,      /* bytes: tests begin behind it */
	TABLE_HIDES = 1 << 14,   /* in `value` of an entry: trees lack something behind it */
	TABLE_OPEN = 1 << 12,    /* of an entry: steps may jump over it, so it hides nothing */
	TABLE_GONE = 1 << 13,    /* of a version's: a rule that was built and is no more; judging goes on behind it */
	TABLE_TAGS = 127,
	TABLE_TAG_SHIFT = 1,     /* bit 0 is the data plane's */
	TABLE_LINKS = 40,
};

/* What rules that come may mean by name. For user space alone. */
enum table_name_kind { TABLE_QUESTION = 1, TABLE_COUNTER = 2 };
struct table_name {
	__u32 number;  /* question: of table_test.lo; counter: its slot */
	__u16 kind;
	__u8 field;    /* question: whether the value of this enum field */
	__u8 value;    /* is (1) in the named set, or is not (0) */
	char text[56]; /* ends in NUL */
};

/*
 * Where a rule is judged, once for each way of jumps to it, or where a chain ends; in the order in which that is judged. Site n,
 * counted from 1, has order n * stride. Without chains, and without a list of them, site n is rule n, and the last one the end.
 */
struct table_site {
	__u32 rule;  /* number; 0: the chain ends */
	__u32 jump;  /* site of the rule that led to the chain; 0: the main one */
	__u32 chain; /* index */
	__u32 reserved;
};

/* At the beginning of the blob. */
struct table_header {
	__u64 latest;         /* index of the newest struct table_version; 0: none. All that the walker reads of this. */
	__u64 needed;         /* plane_config.needed */
	__u32 stride;         /* orders from site to site; 0: rules cannot be changed in place */
	__u32 rules;          /* as built, of those that users see */
	__u32 first;          /* those have orders above this one */
	__u32 sites, site_count; /* index of struct table_site, or 0; and how many there are, the main chain's end included */
	__u32 room, room_end; /* words that versions may take */
	__u32 entries[2];     /* index of each family's entries: records by order, flagged with TABLE_HIDES */
	__u32 entry_count[2];
	__u32 steps, steps_end; /* room in map `steps` */
	__u32 scale;
	__u32 hook;           /* enum hook */
	__u32 rejects;        /* some answer is ANSWER_REJECT */
	__u32 captures;       /* there is a ring for them */
	__u32 levels;         /* cgroup levels, one a byte, and how many */
	__u32 names, name_count; /* index of struct table_name */
	__u32 link;           /* some rule names the link layer: chains may judge what is not IP, too */
	__u32 link_count;     /* of the main chain: rules that judge what is not IP, too: they cannot be changed in place */
	__u32 links[TABLE_LINKS];
};

/* What differs from the trees as they were built. Followed by nothing that another version needs. */
struct table_version {
	__u64 since;    /* the epoch from which on it is in force */
	__u32 before;   /* index of the one before; 0: none */
	__u32 tag;      /* 1 .. TABLE_TAGS, in turn; kept in packet.whole while a packet's judging is interrupted */
	__u32 roots[2]; /* IPv4, IPv6; 0: no tree */
	__u32 start, end;             /* its words */
	__u32 steps_start, steps_end; /* its steps */
	__u32 entries[2];             /* for user space: its entries, as records by order */
	__u32 entry_count[2];
	__u32 limit;                  /* where words begin that packets may still read */
	__u32 reserved;
};

/*
 * A hash of records that fix the same fields of the packet and ask nothing else, one a slot. It has no collisions: each key
 * that records name has a slot of its own. Of a packet,
 *   key[i] = the sum of (word & mask) << shift, over the parts of that key word that have a mask; no two share a bit
 *   sum    = the sum of key[i] * factor[i]
 *   pilot  = pilots[sum >> shift]
 *   slot   = table_hash_slot(sum, pilot, slots)
 * and the record there agrees if it has the same key. Slots that would be empty have a copy of any other: what a record says
 * is true wherever it stands.
 */
enum { TABLE_KEY_WORDS = 5, TABLE_KEY_PARTS = 3 };

struct table_key {
	__u64 masks[TABLE_KEY_PARTS]; /* of the word of struct packet; 0: no part */
	__u64 factor;
	__u8 words[4], shifts[4];
};

struct table_hash {
	__u32 slots;  /* 0: there is no hash */
	__u32 base;   /* index of the first slot */
	__u32 pilots; /* where they begin, numbers of 2 bytes each, in units of these */
	__u8 shift;   /* 32 .. 63 */
	__u8 keys;    /* words of a key */
	__u8 stride;  /* words from slot to slot */
	__u8 reserved;
	struct table_key key[TABLE_KEY_WORDS];
};

/* What is in a slot. */
struct table_slot {
	__u32 order;
	__u32 answer;
	__u64 key[]; /* table_hash.keys words */
};

static inline __attribute__((always_inline)) __u64 table_hash_slot(__u64 sum, __u64 pilot, __u64 slots)
{
	__u64 mixed = (sum ^ sum >> 32 ^ pilot) * 0x9e3779b97f4a7c15u;

	return (mixed >> 32) * slots >> 32;
}

/* Set before load, in section .rodata.table. */
struct table_config {
	__u32 roots4[TABLE_TREES]; /* indexes of root nodes */
	__u32 roots6[TABLE_TREES];
	__u32 trees4, trees6;
	__u64 start;    /* what the search begins with: an order above all others << 32 | the default's answer */
	__u32 scale;
	__u32 limit;    /* the last word of the blob */
	__u8 resumes;   /* packet.resume may be set */
	__u8 tests;     /* some record has tests */
	__u8 long4;     /* some leaf is longer than TABLE_SCAN_MAX */
	__u8 long6;
	__u32 zero;     /* the blob's key */
	__u8 changes;   /* the blob has room for versions */
	__u8 touch4;    /* bit i: tree i is read ahead, together with others */
	__u8 touch6;
	__u8 reserved[5];
	struct table_hash hashes[2]; /* IPv4, IPv6 */
};

#define TABLE_CONFIG ".rodata.table"

_Static_assert(sizeof(struct table_record4) == 32, "ABI");
_Static_assert(sizeof(struct table_record6) == 64, "ABI");
_Static_assert(sizeof(struct table_test) == 32, "ABI");
_Static_assert(sizeof(struct table_config) == 72 + 2 * 216, "ABI");
_Static_assert(sizeof(struct table_header) <= TABLE_HEADER, "ABI");
_Static_assert(sizeof(struct table_name) == 64, "ABI");
_Static_assert(sizeof(struct table_site) == 16, "ABI");
_Static_assert(sizeof(struct table_version) == 64, "ABI");

#endif
