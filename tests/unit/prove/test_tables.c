/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bugs planted in tables: single changes in nodes, records, tests, constants, code and steps. As for code (test_mutation.c): a
 * bug must be found, with a packet for which the walker, run on the changed table, does something else than the plan; what
 * is still proven must do the same for random packets. Nothing may be left undecided, but in large tables very little.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/ebpf_sim.h"
#include "tests/lib/random.h"
#include "tests/unit/prove/hunt.h"
#include "tests/unit/prove/walker.h"

static const struct hunt_policy policies[] = {
	{ "addresses and ports", HOOK_XDP, { 0 },
	  "policy \"p\" { attach xdp \"lo\" default drop classifier table chain \"main\" {\n"
	  "rule 1 accept if all(ip.src in {10.1.0.0/16}, ip.dst in {192.0.2.0/24}, proto = 6, dst_port = 80)\n"
	  "rule 2 accept if all(ip.src in {10.2.0.0/16}, ip.dst in {192.0.2.0/24}, proto = 6, dst_port = 443)\n"
	  "rule 3 reject if all(ip.src in {10.2.3.0/24}, proto = 17, dst_port in {1000-1999})\n"
	  "rule 4 drop if all(ip.src = 10.3.0.1, ip.dst = 192.0.2.7)\n"
	  "rule 5 accept if all(ip.src in {10.3.0.0/24}, proto = 6, src_port in {1024-65535}, dst_port = 22)\n"
	  "rule 6 accept if all(ip.src in {10.4.0.0/14}, ip.dst in {198.51.100.0/24}, proto = 1)\n"
	  "rule 7 drop if all(ip.dst = 198.51.100.9, proto in {6, 17})\n"
	  "rule 8 accept if all(ip.src in {10.5.1.0/24}, ip.dst in {203.0.113.128/25})\n"
	  "rule 9 reject if all(ip.src in {10.6.0.0-10.6.2.255}, proto = 6, dst_port in {25, 110, 143})\n"
	  "rule 10 drop if all(ip.src in {10.7.0.0/16}, not(proto = 6))\n"
	  "rule 11 accept if ip.src in {10.7.7.0/24}\n"
	  "rule 12 drop if all(ip.src in {10.7.7.7}, proto = 6)\n"
	  "rule 13 accept if all(proto = 17, dst_port = 53) } }" },
	{ "both families and other fields", HOOK_TC_INGRESS, { 0 },
	  "policy \"p\" { attach tc-ingress \"lo\" default accept classifier table chain \"main\" {\n"
	  "rule 1 drop if all(ipv6.src in {2001:db8:1::/48}, proto = 6, dst_port = 80)\n"
	  "rule 2 drop if all(ipv6.src in {2001:db8:2::/48}, ipv6.dst = fd00::1)\n"
	  "rule 3 reject if all(ipv6.src in {2001:db8:2:1::/64}, proto = 17, dst_port in {5000-5999})\n"
	  "rule 4 drop if all(ipv6.src = 2001:db8:3::1, tcp.flags & 0x12 = 0x2)\n"
	  "rule 5 drop if all(ipv6.dst in {fd00::/64}, ttl in {1-9})\n"
	  "rule 6 accept if all(ipv6.src in {2001:db8:3::/64}, proto = 58)\n"
	  "rule 7 drop if all(ip.src in {10.0.0.0/8}, tcp.flags & 0x3f = 0)\n"
	  "rule 8 drop if all(ip.src in {10.1.0.0/16}, ttl = 1, dst_port in {1-1023})\n"
	  "rule 9 drop if all(eth.src = 02:00:00:00:00:66, ip.dst in {192.0.2.0/24})\n"
	  "rule 10 drop if all(eth.src = 02:00:00:00:00:67, ip.dst in {192.0.2.0/24})\n"
	  "rule 11 reject if all(ip.src in {172.16.0.0/12}, mark & 0xff = 0x7)\n"
	  "rule 12 drop if all(ip.src in {172.16.5.0/24}, icmp.type = 8)\n"
	  "rule 13 link drop if eth.type = 0x88cc } }" },
	{ "chains and actions", HOOK_TC_INGRESS, { 0 },
	  "policy \"p\" { attach tc-ingress \"lo\" default drop counter \"web\" classifier table chain \"main\" {\n"
	  "rule 1 log \"seen\" every 1000000 burst 5 if ip.src in {10.0.0.0/8}\n"
	  "rule 2 mark 0x10/0xf0 if all(proto = 17, dst_port = 53)\n"
	  "rule 3 jump \"tcp\" if proto = 6\n"
	  "rule 4 goto \"other\" if ip.dst in {192.0.2.0/24}\n"
	  "rule 5 count \"web\", accept if ttl in {64-255}\n"
	  "rule 6 return if ip.src = 10.9.9.9\n"
	  "rule 7 accept if ip.src in {10.9.0.0/16} }\n"
	  "chain \"tcp\" {\n"
	  "rule 8 return if not(dst_port in {80, 443, 8000-8999})\n"
	  "rule 9 count \"web\", accept if tcp.flags & 0x12 = 0x2\n"
	  "rule 10 jump \"other\" if ip.dst in {198.51.100.0/24}\n"
	  "rule 11 reject if ip.src in {10.8.0.0/16} }\n"
	  "chain \"other\" {\n"
	  "rule 12 log \"other\" if ip.src in {10.0.0.0/9}\n"
	  "rule 13 drop if ip.dst in {192.0.2.128/25} } }" },
	{ "sets and questions", HOOK_TC_EGRESS, { .inline_set_min = 4 },
	  "policy \"p\" { attach tc-egress \"lo\" default accept classifier table\n"
	  "set \"blocked\" prefix max 64 { 192.0.2.0/24 198.51.100.7 2001:db8::/32 }\n"
	  "set \"hosts\" address max 64 { 10.0.0.1 10.0.0.2 fd00::1 }\n"
	  "chain \"main\" {\n"
	  "rule 1 drop if all(any(ip.dst in set \"blocked\", ipv6.dst in set \"blocked\"), proto = 6)\n"
	  "rule 2 accept if all(any(ip.src in set \"hosts\", ipv6.src in set \"hosts\"), dst_port = 22)\n"
	  "rule 3 reject if all(ip.src in {10.0.0.1, 10.0.0.3, 10.0.0.9, 10.0.0.77}, proto = 17)\n"
	  "rule 4 accept if all(ip.dst in {10.1.0.0/16}, dst_port = 80)\n"
	  "rule 5 drop if all(ip.dst in {10.1.2.0/24}, dst_port in {1-1023})\n"
	  "rule 6 drop if all(ip.dst in {10.2.0.0/16}, user = 1000)\n"
	  "rule 7 reject if all(ip.dst = 10.3.0.1, not(ip.src in set \"hosts\"))\n"
	  "rule 8 drop if all(proto = 50, not(ip.dst in set \"blocked\"), not(ipv6.dst in set \"blocked\"), "
	  "not(ipv6.src in set \"hosts\")) } }" }, /* all that can be asked is */
	{ "addresses and ports in a hash", HOOK_XDP, { .hash_min = 4 },
	  "policy \"p\" { attach xdp \"lo\" default drop classifier table chain \"main\" {\n"
	  "rule 1 accept if all(ip.dst = 192.0.2.1, proto = 6, dst_port = 80)\n"
	  "rule 2 reject if all(ip.dst = 192.0.2.1, proto = 6, dst_port = 443)\n"
	  "rule 3 drop if all(ip.src in {10.0.0.0/8}, ip.dst = 192.0.2.2)\n"
	  "rule 4 accept if all(ip.dst = 192.0.2.2, proto = 6, dst_port = 80)\n"
	  "rule 5 drop if all(ip.dst = 192.0.2.1, proto = 6, dst_port = 80)\n"
	  "rule 6 reject if all(ip.dst in {192.0.2.3, 192.0.2.5}, proto = 6, dst_port in {22, 53})\n"
	  "rule 7 accept if all(ip.dst = 192.0.2.3, proto = 17, dst_port = 53)\n"
	  "rule 8 accept if all(ip.dst in {192.0.2.0/24}, proto = 6, dst_port in {1000-1999})\n"
	  "rule 9 accept if all(ipv6.src = 2001:db8::1, ipv6.dst = fd00::1, proto = 6, src_port = 0, dst_port = 80)\n"
	  "rule 10 reject if all(ipv6.src = 2001:db8::1, ipv6.dst = fd00::2, proto = 17, src_port = 53, dst_port = 0)\n"
	  "rule 11 accept if all(ipv6.src = 2001:db8::2, ipv6.dst = fd00::1, proto = 6, src_port = 5, dst_port in {81, 83})\n"
	  "rule 12 drop if ipv6.dst in {fd00::/64} } }" },
	{ "frames in a hash", HOOK_TC_INGRESS, { .hash_min = 3 },
	  "policy \"p\" { attach tc-ingress \"lo\" default accept counter \"seen\" classifier table chain \"main\" {\n"
	  "rule 1 drop if all(eth.src = 02:00:00:00:00:66, vlan = 5, ttl = 1, dst_port = 7)\n"
	  "rule 2 mark 0x10/0xf0 if all(eth.src = 02:00:00:00:00:67, vlan = 5, ttl = 1, dst_port = 7)\n"
	  "rule 3 count \"seen\" if all(eth.src = 02:00:00:00:00:67, vlan = 5, ttl = 1, dst_port = 8)\n"
	  "rule 4 reject if all(eth.src = 02:00:00:00:00:67, vlan = 5, ttl = 1, dst_port = 8)\n"
	  "rule 5 drop if all(eth.src = 02:00:00:00:00:67, vlan = 6, ttl = 1, dst_port = 7) } }" },
};
enum { POLICIES = sizeof policies / sizeof policies[0], PACKETS = 500, SPARSE = 3 };

/* --- running ---------------------------------------------------------------------------------------------------- */

static const struct hunt *running;

int classify_rest(struct packet *packet)
{
	struct ebpf_sim sim = { .plan = running->subject.plan, .code = &running->code, .lookup = harm_find,
				.context = (void *)running->subject.plan, .any_comparison = true };
	uint32_t answer;

	return ebpf_sim_run(&sim, packet, &answer) ? (int)ANSWER(3, 0) : (int)answer;
}

static uint32_t run_walker(const struct plan *plan, const struct packet *packet)
{
	struct packet copy = *packet;

	running = hunt_of(plan);
	walker_blob = running->words;
	table_config = running->config;
	return (uint32_t)classify(&copy);
}

/* --- planting --------------------------------------------------------------------------------------------------- */

/* `size` bytes of the blob become others. */
static void try_bytes(struct hunt *hunt, size_t word, const void *harmed, size_t size, const char *what)
{
	uint64_t old[8];

	memcpy(old, &hunt->words[word], size);
	if (!memcmp(old, harmed, size))
		return;
	memcpy(&hunt->words[word], harmed, size);
	hunt_try(hunt, what, word);
	memcpy(&hunt->words[word], old, size);
}

static void try_node(struct hunt *hunt, size_t at, uint64_t node, const char *what)
{
	try_bytes(hunt, at, &node, sizeof node, what);
}

static void harm_node(struct hunt *hunt, size_t at)
{
	uint64_t node = hunt->words[at], base = (uint64_t)1 << TABLE_BASE_AT, bound = (uint64_t)1 << TABLE_BOUND_AT;
	uint64_t one = (uint64_t)1 << TABLE_BITS_AT;

	try_node(hunt, at, node + bound, "bound of a node");
	try_node(hunt, at, node - bound, "bound of a node");
	try_node(hunt, at, node | (uint64_t)TABLE_BOUND_MAX << TABLE_BOUND_AT, "dropped part of a tree");
	if (!table_node_base(node))
		return;
	try_node(hunt, at, node + base, "where a node leads");
	try_node(hunt, at, node - base, "where a node leads");
	if (!table_node_bits(node)) {
		try_node(hunt, at, node + base * 4, "leaf without its first record");
		return;
	}
	try_node(hunt, at, node - one, "bits of a node");
	try_node(hunt, at, node + one, "bits of a node");
	try_node(hunt, at, node + (1 << TABLE_SHIFT_AT), "shift of a node");
	try_node(hunt, at, node - (1 << TABLE_SHIFT_AT), "shift of a node");
	try_node(hunt, at, node ^ 1 << TABLE_WORD_AT, "word of a node");
	try_node(hunt, at, node ^ 2 << TABLE_WORD_AT, "word of a node");
}

static void swap_children(struct hunt *hunt, size_t first, size_t count)
{
	for (size_t i = 0; i + 1 < count; i++) {
		uint64_t pair[2] = { hunt->words[first + i + 1], hunt->words[first + i] };

		try_bytes(hunt, first + i, pair, sizeof pair, "exchanged children");
	}
}

static uint32_t other_answer(const struct hunt *hunt, uint32_t answer)
{
	const struct plan *plan = hunt->subject.plan;

	for (size_t i = 0; i < plan->answer_count; i++)
		if (plan->answers[i] == answer)
			return plan->answers[(i + 1) % plan->answer_count];
	return answer ^ 1;
}

/* Changes of a member, whatever form the record has. */
#define TRY(record, member, value, what) \
	do { \
		harmed = (record); \
		harmed.member = (value); \
		try_bytes(hunt, at, &harmed, sizeof harmed, what); \
	} while (0)

#define HARM_COMMON(record) \
	do { \
		TRY(record, order, (record).order + 1, "order of a record"); \
		TRY(record, order, (record).order - 1, "order of a record"); \
		TRY(record, order, (record).order + 7, "order of a record"); \
		TRY(record, answer, (record).answer ^ 1, "verdict of a record"); \
		TRY(record, answer, (record).answer + (1 << ANSWER_SHIFT), "slot of a record"); \
		TRY(record, answer, other_answer(hunt, (record).answer), "exchanged answer"); \
		TRY(record, src_port, (uint16_t)((record).src_port + 1), "port of a record"); \
		TRY(record, src_span, (uint16_t)((record).src_span - 1), "span of ports"); \
		TRY(record, src_span, (uint16_t)((record).src_span + 1), "span of ports"); \
		TRY(record, dst_port, (uint16_t)((record).dst_port + 1), "port of a record"); \
		TRY(record, dst_port, __builtin_bswap16((record).dst_port), "byte order of a port"); \
		TRY(record, dst_span, (uint16_t)((record).dst_span - 1), "span of ports"); \
		TRY(record, dst_span, (uint16_t)((record).dst_span + 1), "span of ports"); \
		TRY(record, value, (record).value ^ 1, "protocol of a record"); \
		TRY(record, mask, (record).mask ^ 1, "mask of a record"); \
		TRY(record, value, (record).value ^ TABLE_HAS_PORTS, "with or without ports"); \
		TRY(record, mask, (record).mask ^ TABLE_HAS_PORTS, "with or without ports"); \
		TRY(record, value, (record).value ^ TABLE_LAST, "end of a leaf"); \
		TRY(record, value, (record).value ^ 1 << 12, "an unused bit"); \
		TRY(record, mask, (record).mask | TABLE_LAST, "an unused bit"); \
		TRY(record, tests, (record).tests + 1, "tests of a record"); \
		TRY(record, tests, 0, "tests of a record"); \
	} while (0)

static void harm_record4(struct hunt *hunt, size_t at)
{
	struct table_record4 record, harmed;

	memcpy(&record, &hunt->words[at], sizeof record);
	HARM_COMMON(record);
	TRY(record, src, record.src ^ 1u << (record.src_shift & 31), "address of a record");
	TRY(record, src, __builtin_bswap32(record.src), "byte order of an address");
	TRY(record, src_shift, (uint8_t)(record.src_shift + 1), "shift of an address");
	TRY(record, src_shift, (uint8_t)(record.src_shift - 1), "shift of an address");
	TRY(record, dst, record.dst ^ 1u << (record.dst_shift & 31), "address of a record");
	TRY(record, dst, record.src, "the other address");
	TRY(record, dst_shift, (uint8_t)(record.dst_shift + 1), "shift of an address");
	TRY(record, dst_shift, (uint8_t)(record.dst_shift - 1), "shift of an address");
}

static void harm_record6(struct hunt *hunt, size_t at)
{
	struct table_record6 record, harmed;

	memcpy(&record, &hunt->words[at], sizeof record);
	HARM_COMMON(record);
	for (unsigned i = 0; i < 4; i++) {
		TRY(record, addresses[i], record.addresses[i] ^ (uint64_t)1 << 63, "address of a record");
		TRY(record, addresses[i], __builtin_bswap64(record.addresses[i]), "byte order of an address");
		TRY(record, addresses[i], record.addresses[i ^ 1], "the other half of an address");
		TRY(record, shifts[2 * i], (uint8_t)(record.shifts[2 * i] + 1), "shift of an address");
		TRY(record, shifts[2 * i + 1], (uint8_t)(record.shifts[2 * i + 1] - 1), "shift of an address");
	}
}

/* Two neighbours of a leaf change places; the end stays where it is. */
static void swap_records(struct hunt *hunt, size_t at, size_t stride)
{
	size_t half = stride * 8, value = offsetof(struct table_record4, value);
	unsigned char pair[2 * sizeof(struct table_record6)], *end;

	_Static_assert(sizeof(uint64_t) * 8 >= 2 * sizeof(struct table_record4), "room in try_bytes()");
	if (half != sizeof(struct table_record4))
		return;
	memcpy(pair, &hunt->words[at + stride], half);
	memcpy(pair + half, &hunt->words[at], half);
	end = pair + half + value + 1;
	end[0] |= pair[value + 1] & 0x80;
	pair[value + 1] &= 0x7f;
	try_bytes(hunt, at, pair, 2 * half, "exchanged records");
}

static void harm_leaf(struct hunt *hunt, size_t at, bool six)
{
	size_t stride = (six ? sizeof(struct table_record6) : sizeof(struct table_record4)) / 8;
	uint16_t value = 0;

	for (; !(value & TABLE_LAST); at += stride) {
		memcpy(&value, (const char *)&hunt->words[at] + (six ? offsetof(struct table_record6, value) :
								       offsetof(struct table_record4, value)), 2);
		if (six)
			harm_record6(hunt, at);
		else
			harm_record4(hunt, at);
		if (!(value & TABLE_LAST))
			swap_records(hunt, at, stride);
	}
}

static void harm_tree(struct hunt *hunt, size_t at, bool six)
{
	uint64_t node = hunt->words[at];
	size_t base = table_node_base(node), bits = table_node_bits(node);

	harm_node(hunt, at);
	if (!bits && base)
		harm_leaf(hunt, base, six);
	if (!bits)
		return;
	swap_children(hunt, base, (size_t)1 << bits);
	for (size_t i = 0; i < (size_t)1 << bits; i++)
		harm_tree(hunt, base + i, six);
}

static const struct table_header *header_of(const struct hunt *hunt)
{
	return (const struct table_header *)hunt->words;
}

/* Tests are behind the header, before the first root and the room for changes. */
static void harm_tests(struct hunt *hunt)
{
	size_t words = sizeof(struct table_test) / 8, end = hunt->subject.plan->table.word_count;

	for (unsigned i = 0; i < hunt->config.trees4; i++)
		end = hunt->config.roots4[i] < end ? hunt->config.roots4[i] : end;
	for (unsigned i = 0; i < hunt->config.trees6; i++)
		end = hunt->config.roots6[i] < end ? hunt->config.roots6[i] : end;
	if (hunt->config.changes)
		end = header_of(hunt)->room;
	for (size_t at = TABLE_HEADER / 8; at + words <= end; at += words) {
		struct table_test test, harmed;

		memcpy(&test, &hunt->words[at], sizeof test);
		TRY(test, lo, test.lo + 1, "least of a test");
		TRY(test, lo, test.lo - 1, "least of a test");
		TRY(test, span, test.span + 1, "span of a test");
		TRY(test, span, test.span - 1, "span of a test");
		TRY(test, mask, test.mask << 1, "mask of a test");
		TRY(test, mask, test.mask & (test.mask - 1), "mask of a test");
		TRY(test, word, test.word ^ 1, "word of a test");
		TRY(test, word, TABLE_REST, "word of a test");
		TRY(test, more, !test.more, "further test");
	}
}

static void harm_config(struct hunt *hunt)
{
	struct table_config old = hunt->config;

#define TRY_CONFIG(member, value) \
	do { \
		hunt->config.member = (value); \
		hunt_try(hunt, "constant " #member, 0); \
		hunt->config = old; \
	} while (0)
	if (old.trees4)
		TRY_CONFIG(trees4, old.trees4 - 1);
	if (old.trees6)
		TRY_CONFIG(trees6, old.trees6 - 1);
	for (unsigned i = 0; i < old.trees4; i++) {
		TRY_CONFIG(roots4[i], old.roots4[i] + 1);
		TRY_CONFIG(roots4[i], old.roots4[(i + 1) % old.trees4]);
	}
	for (unsigned i = 0; i < old.trees6; i++)
		TRY_CONFIG(roots6[i], old.roots6[(i + 1) % old.trees6] + 1);
	TRY_CONFIG(start, old.start ^ 1);
	TRY_CONFIG(start, (old.start & 0xffffffff) | (uint64_t)6 << 32);
	TRY_CONFIG(scale, old.scale + 1);
	TRY_CONFIG(limit, old.limit / 2);
	TRY_CONFIG(limit, old.limit - 9);
	TRY_CONFIG(resumes, !old.resumes);
	TRY_CONFIG(tests, !old.tests);
	TRY_CONFIG(long4, !old.long4);
	TRY_CONFIG(long6, !old.long6);
#undef TRY_CONFIG
}

/* What a hash has: slots, those that no key has among them, and pilots. */
static void harm_slots(struct hunt *hunt, const struct table_hash *hash)
{
	for (size_t i = 0; i < hash->slots; i++) {
		size_t at = hash->base + i * hash->stride;
		struct table_slot slot, harmed;
		uint64_t moved[8];

		memcpy(&slot, &hunt->words[at], sizeof slot);
		TRY(slot, order, slot.order + 1, "order in a slot");
		TRY(slot, order, slot.order - 1, "order in a slot");
		TRY(slot, order, slot.order + 7 * 4096, "order in a slot");
		TRY(slot, answer, slot.answer ^ 1, "verdict in a slot");
		TRY(slot, answer, other_answer(hunt, slot.answer), "exchanged answer");
		for (unsigned key = 1; key <= hash->keys; key++) {
			try_node(hunt, at + key, hunt->words[at + key] ^ 1, "key in a slot");
			try_node(hunt, at + key, hunt->words[at + key] ^ (uint64_t)1 << 63, "key in a slot");
			try_node(hunt, at + key, __builtin_bswap64(hunt->words[at + key]), "byte order of a key");
		}
		memcpy(moved, &hunt->words[hash->base + (i + 1) % hash->slots * hash->stride], hash->stride * 8ul);
		try_bytes(hunt, at, moved, hash->stride * 8ul, "slot with another's record");
	}
	for (size_t i = 0; i < (size_t)1 << (64 - hash->shift); i++) {
		size_t at = hash->pilots / 4 + i / 4;
		uint64_t one = (uint64_t)1 << i % 4 * 16;

		try_node(hunt, at, hunt->words[at] ^ one, "pilot");
		try_node(hunt, at, hunt->words[at] ^ one << 15, "pilot");
	}
}

/* Parts that cannot be told apart are refused: nothing is said of what such a table does. */
static bool parts_overlap(const struct table_key *key)
{
	uint64_t used = 0;

	for (unsigned i = 0; i < TABLE_KEY_PARTS; i++) {
		uint64_t part = key->masks[i] << key->shifts[i];

		if (part >> key->shifts[i] != key->masks[i] || part & used)
			return true;
		used |= part;
	}
	return false;
}

static void harm_key(struct hunt *hunt, struct table_key *key)
{
	struct table_key old = *key;

#define TRY_KEY(member, value) \
	do { \
		key->member = (value); \
		hunt->open_max += parts_overlap(key); \
		hunt_try(hunt, "key " #member, 0); \
		*key = old; \
	} while (0)
	TRY_KEY(factor, old.factor + 2);
	for (unsigned part = 0; part < TABLE_KEY_PARTS; part++) {
		TRY_KEY(words[part], old.words[part] ^ 1);
		TRY_KEY(shifts[part], (uint8_t)(old.shifts[part] + 1));
		TRY_KEY(masks[part], old.masks[part] << 1);
		TRY_KEY(masks[part], old.masks[part] & (old.masks[part] - 1));
		TRY_KEY(masks[part], old.masks[part] | old.masks[part] << 1);
	}
#undef TRY_KEY
}

static void harm_hash(struct hunt *hunt, struct table_hash *hash)
{
	struct table_hash old = *hash;

#define TRY_HASH(member, value) \
	do { \
		hash->member = (value); \
		hunt_try(hunt, "hash " #member, 0); \
		*hash = old; \
	} while (0)
	TRY_HASH(slots, 0);
	TRY_HASH(slots, old.slots - 1);
	TRY_HASH(slots, old.slots + 1);
	TRY_HASH(base, old.base + old.stride);
	TRY_HASH(base, old.base + 1);
	TRY_HASH(base, 1 << 30);
	TRY_HASH(pilots, old.pilots + 1);
	TRY_HASH(pilots, 1 << 30);
	TRY_HASH(shift, (uint8_t)(old.shift + 1));
	TRY_HASH(keys, (uint8_t)(old.keys - 1));
	TRY_HASH(keys, (uint8_t)(old.keys + 1));
	TRY_HASH(stride, (uint8_t)(old.stride / 2));
#undef TRY_HASH
	for (unsigned i = 0; i < old.keys; i++)
		harm_key(hunt, &hash->key[i]);
	harm_slots(hunt, &old);
}

static void try_insn(struct hunt *hunt, size_t at, struct bpf_insn harmed, const char *what)
{
	struct bpf_insn old = hunt->insns[at];

	hunt->insns[at] = harmed;
	hunt_try(hunt, what, at);
	hunt->insns[at] = old;
}

/* Answers to questions, turned conditions, bounds, targets of jumps, members. */
static void harm_code(struct hunt *hunt)
{
	for (size_t at = 2; at < hunt->code.insn_count; at++) {
		struct bpf_insn insn = hunt->insns[at], harmed = insn;
		uint8_t class = BPF_CLASS(insn.code), operation = BPF_OP(insn.code);

		if (insn.code == (BPF_LD | BPF_IMM | BPF_DW)) {
			at++;
		} else if (insn.code == (BPF_ALU | BPF_MOV | BPF_K)) {
			harmed.imm ^= TABLE_YES;
			try_insn(hunt, at, harmed, "answer to a question");
		} else if (class == BPF_LDX) {
			harmed.off = (int16_t)(insn.off ^ 4);
			try_insn(hunt, at, harmed, "wrong member");
		} else if ((class == BPF_JMP || class == BPF_JMP32) &&
			   (operation == BPF_JEQ || operation == BPF_JNE || operation == BPF_JGT || operation == BPF_JLE)) {
			harmed.code = (uint8_t)(insn.code ^ (operation == BPF_JEQ || operation == BPF_JNE ?
								     BPF_JEQ ^ BPF_JNE : BPF_JGT ^ BPF_JLE));
			try_insn(hunt, at, harmed, "turned condition");
			harmed = insn;
			harmed.off = 0;
			try_insn(hunt, at, harmed, "dropped jump");
		}
	}
}

static void harm_steps(struct hunt *hunt)
{
	for (size_t i = 0; i < hunt->plan.step_count; i++) {
		struct step old = hunt->steps[i];

		hunt->steps[i].slot++;
		hunt_try(hunt, "slot of a step", i);
		hunt->steps[i] = old;
		hunt->steps[i].a++;
		hunt_try(hunt, "number of a step", i);
		hunt->steps[i].a = old.a - 1;
		hunt_try(hunt, "number of a step", i);
		hunt->steps[i] = old;
	}
}

/* --- the test --------------------------------------------------------------------------------------------------- */

static void begin_hunt(struct hunt *hunt, const char *text)
{
	hunt->run = run_walker;
	hunt->sparse = random_setting("WEIR_ROUNDS", 1) == 1 ? SPARSE : 1;
	hunt_begin(hunt, text, PACKETS);
	assert_non_null(hunt->words);
	hunt_try(hunt, "nothing", 0);
	assert_int_equal(hunt->tally.same, 1);
}

static int plant(void *context)
{
	struct hunt *hunt = context;

	begin_hunt(hunt, hunt->policy->text);
	for (unsigned i = 0; i < hunt->config.trees4; i++)
		harm_tree(hunt, hunt->config.roots4[i], false);
	for (unsigned i = 0; i < hunt->config.trees6; i++)
		harm_tree(hunt, hunt->config.roots6[i], true);
	for (unsigned i = 0; i < 2; i++)
		if (hunt->config.hashes[i].slots)
			harm_hash(hunt, &hunt->config.hashes[i]);
	harm_tests(hunt);
	harm_config(hunt);
	harm_code(hunt);
	harm_steps(hunt);
	return 0;
}

static void planted_bugs_are_found(void **state)
{
	(void)state;
	hunt_all(policies, POLICIES, plant);
}

/* --- large tables, where not all of the packets can be compared at once ------------------------------------------ */

enum { LARGE_RULES = 1500, LARGE_BUGS = 30, OPEN_MAX = 2 };

/* Prefixes, protocols and ports, as firewalls have them. */
static const char *large_text(struct arena *arena)
{
	static const char *const verdicts[] = { "accept", "drop", "reject" };
	struct random random = random_seed(5);
	const char *text = "policy \"p\" { attach xdp \"lo\" default drop classifier table chain \"main\" {\n";

	for (unsigned i = 1; i <= LARGE_RULES; i++) {
		unsigned low = random_below(&random, 60000);
		const char *port = random_below(&random, 3) ? arena_printf(arena, "%u", low) :
							      arena_printf(arena, "{%u-%u}", low, low + 500);

		text = arena_printf(arena, "%srule %u %s if all(ip.src in {10.%u.%u.0/24}, ip.dst in {192.%u.0.0/%u}, "
				    "proto = %u, dst_port %s %s)\n", text, i, verdicts[random_below(&random, 3)],
				    random_below(&random, 8), random_below(&random, 256), random_below(&random, 4),
				    random_below(&random, 2) ? 16 : 18, random_below(&random, 2) ? 6 : 17,
				    *port == '{' ? "in" : "=", port);
	}
	return arena_printf(arena, "%s} }", text);
}

/* Single bits, anywhere. */
static int run_large(void *context)
{
	struct hunt *hunt = context;
	struct random random = random_seed(random_setting("WEIR_SEED", 1));

	begin_hunt(hunt, large_text(hunt->arena));
	while (hunt->tally.planted < LARGE_BUGS) {
		uint32_t first = hunt->config.changes ? header_of(hunt)->room_end : 0;
		size_t at = first + random_below(&random, hunt->config.limit - first);
		uint64_t harmed = hunt->words[at] ^ (uint64_t)1 << random_below(&random, 64);

		try_bytes(hunt, at, &harmed, sizeof harmed, "a bit");
	}
	return 0;
}

static void bugs_in_a_large_table_are_found(void **state)
{
	static const struct hunt_policy policy = { .name = "large", .hook = HOOK_XDP };
	struct hunt hunt = { .arena = arena_new(), .policy = &policy, .open_max = OPEN_MAX };

	(void)state;
	assert_int_equal(arena_run(hunt.arena, run_large, &hunt), 0);
	print_message("# %zu planted, %zu caught with a packet, %zu equal, %zu undecided\n", hunt.tally.planted,
		      hunt.tally.caught, hunt.tally.same, hunt.tally.open);
	arena_free(hunt.arena);
	assert_false(hunt.wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(planted_bugs_are_found),
		cmocka_unit_test(bugs_in_a_large_table_are_found),
	};

	return cmocka_run_group_tests_name("prove/tables", tests, NULL, NULL);
}
