/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model against libpcap, where both can say the same: random expressions, random well-formed packets.
 *
 * What libpcap means differently, and how the expressions here avoid it:
 * - It does not look behind VLAN tags, nor behind IPv6 extension headers (but one fragment header): such packets are
 *   left out. IPv4 options and fragments are in.
 * - `port` is of TCP, UDP and SCTP only; weir's ports are UDP-Lite's too: tests of ports name the protocols.
 * - `tcp[13]`, `icmp[0]` are about IPv4 only, `host` also about ARP: tests name the family.
 * - A load behind the packet's end rejects it, whatever the expression: no well-formed packet gets there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#include "ir/model.h"
#include "ir/value_text.h"
#include "tests/lib/packets.h"

enum { EXPRESSIONS = 2500, PACKETS = 80, TEXT_MAX = 4096 };

/* One expression in both languages. */
struct making {
	struct arena *arena;
	struct random random;
	char text[TEXT_MAX];
	size_t length;
};

static const struct span nowhere;

static void say(struct making *making, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct making *making, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	making->length += (size_t)vsnprintf(making->text + making->length, TEXT_MAX - making->length, format, args);
	va_end(args);
	assert_true(making->length < TEXT_MAX);
}

static const struct cond *is(struct making *making, enum field field, u128 value)
{
	return cond_match(making->arena, field, value, value, nowhere);
}

static const struct cond *both(struct making *making, const struct cond *left, const struct cond *right)
{
	return cond_pair(making->arena, COND_AND, left, right, nowhere);
}

static const struct cond *either(struct making *making, const struct cond *left, const struct cond *right)
{
	return cond_pair(making->arena, COND_OR, left, right, nowhere);
}

/* --- atoms ---------------------------------------------------------------------------------------------------- */

static const struct cond *protocol(struct making *making)
{
	static const struct { const char *word; unsigned family, proto; } words[] = {
		{ "ip", 4, 0 }, { "ip6", 6, 0 }, { "tcp", 0, 6 }, { "udp", 0, 17 }, { "sctp", 0, 132 }, { "icmp", 4, 1 },
		{ "icmp6", 6, 58 }, { "ip proto 47", 4, 47 }, { "ip6 proto 17", 6, 17 }, { "ip proto 136", 4, 136 },
	};
	size_t i = random_below(&making->random, sizeof words / sizeof *words);

	say(making, "%s", words[i].word);
	if (!words[i].proto)
		return is(making, FIELD_FAMILY, words[i].family);
	if (!words[i].family)
		return is(making, FIELD_PROTO, words[i].proto);
	return both(making, is(making, FIELD_FAMILY, words[i].family), is(making, FIELD_PROTO, words[i].proto));
}

static const struct cond *with_ports(struct making *making)
{
	const struct range protocols[] = { { 6, 6 }, { 17, 17 }, { 132, 132 } };

	return cond_match_ranges(making->arena, FIELD_PROTO, protocols, 3, nowhere);
}

static const struct cond *port(struct making *making)
{
	static const uint16_t ports[] = { 0, 22, 53, 80, 443, 8080, 0x7fff, 0x8000, 0xffff };
	static const char *const sides[] = { "src ", "dst ", "" };
	uint16_t lo = RANDOM_PICK(&making->random, ports), hi = lo;
	uint32_t side = random_below(&making->random, 3);
	bool tcp = random_once_in(&making->random, 3);
	const struct cond *match, *source, *destination;

	if (random_once_in(&making->random, 3))
		hi = (uint16_t)random_between(&making->random, lo, 0xffff);
	say(making, "%s%s", tcp ? "tcp " : "", sides[side]);
	if (lo == hi)
		say(making, "port %u", lo);
	else
		say(making, "portrange %u-%u", lo, hi);
	source = cond_match(making->arena, FIELD_SRC_PORT, lo, hi, nowhere);
	destination = cond_match(making->arena, FIELD_DST_PORT, lo, hi, nowhere);
	match = side == 0 ? source : side == 1 ? destination : either(making, source, destination);
	return both(making, tcp ? is(making, FIELD_PROTO, 6) : with_ports(making), match);
}

/* An address as a host or a network of the family. */
static const struct cond *address(struct making *making)
{
	static const uint32_t four[] = { 0x7f000001, 0x0a000001, 0xc0a80101, 0xe0000001, 0xa9fea9fe };
	static const uint64_t six[] = { 0xfe80000000000000, 0xff02000000000000, 0xfd00000000000000 };
	bool ipv6 = random_once_in(&making->random, 2), source = random_once_in(&making->random, 2);
	enum field field = ipv6 ? (source ? FIELD_IPV6_SRC : FIELD_IPV6_DST) : source ? FIELD_IP_SRC : FIELD_IP_DST;
	struct value_format format = value_format_of(field);
	u128 value = ipv6 ? u128_make(RANDOM_PICK(&making->random, six), random_below(&making->random, 3)) :
			    RANDOM_PICK(&making->random, four);
	unsigned host = random_once_in(&making->random, 2) ? 0 : random_below(&making->random, format.bits);
	char text[RANGE_TEXT_MAX];

	value &= ~u128_max(host);
	value_print(&format, value, text);
	say(making, "%s %s ", ipv6 ? "ip6" : "ip", source ? "src" : "dst");
	if (host)
		say(making, "net %s/%u", text, format.bits - host);
	else
		say(making, "host %s", text);
	return cond_match(making->arena, field, value, value | u128_max(host), nowhere);
}

static const struct cond *octets(struct making *making)
{
	static const struct { const char *format; unsigned family; enum field field; } loads[] = {
		{ "ip[8] = %u", 4, FIELD_TTL },	     { "ip6[7] = %u", 6, FIELD_TTL },
		{ "icmp[0] = %u", 4, FIELD_ICMP_TYPE }, { "icmp[1] = %u", 4, FIELD_ICMP_CODE },
		{ "icmp6[0] = %u", 6, FIELD_ICMP_TYPE }, { "tcp[13] = %u", 4, FIELD_TCP_FLAGS },
	};
	static const uint8_t values[] = { 0, 1, 2, 3, 8, 16, 18, 64, 128, 134, 135, 255 };
	size_t i = random_below(&making->random, sizeof loads / sizeof *loads);
	uint8_t value = RANDOM_PICK(&making->random, values);

	say(making, loads[i].format, value);
	return both(making, is(making, FIELD_FAMILY, loads[i].family), is(making, loads[i].field, value));
}

static const struct cond *flags(struct making *making)
{
	unsigned mask = 1 + random_below(&making->random, 255), value = random_below(&making->random, 256) & mask;
	struct cond *match = cond_match(making->arena, FIELD_TCP_FLAGS, value, value, nowhere);

	match->match.mask = mask;
	say(making, "tcp[13] & %u = %u", mask, value);
	return both(making, is(making, FIELD_FAMILY, 4), match);
}

static const struct cond *link_layer(struct making *making)
{
	struct cond *match;

	switch (random_below(&making->random, 5)) {
	case 0:
		say(making, "arp");
		return is(making, FIELD_ETH_TYPE, 0x0806);
	case 1:
		say(making, "ether proto 0x8864");
		return is(making, FIELD_ETH_TYPE, 0x8864);
	case 2:
		say(making, "ether src 02:00:00:00:00:01");
		return is(making, FIELD_ETH_SRC, 0x020000000001);
	case 3:
		say(making, "ether dst 01:80:c2:00:00:00");
		return is(making, FIELD_ETH_DST, 0x0180c2000000);
	default:
		say(making, "ether multicast");
		match = cond_match(making->arena, FIELD_ETH_DST, (u128)1 << 40, (u128)1 << 40, nowhere);
		match->match.mask = (u128)1 << 40;
		return match;
	}
}

static const struct cond *other(struct making *making)
{
	switch (random_below(&making->random, 3)) {
	case 0:
		say(making, "ip multicast");
		return cond_match(making->arena, FIELD_IP_DST, 0xe0000000, 0xffffffff, nowhere);
	case 1:
		say(making, "ip6 multicast");
		return cond_match(making->arena, FIELD_IPV6_DST, u128_make(0xff00000000000000, 0), ~(u128)0, nowhere);
	default:
		say(making, "ip[6:2] & 0x1fff != 0");
		return both(making, is(making, FIELD_FAMILY, 4), is(making, FIELD_FRAGMENT, FRAGMENT_LATER));
	}
}

static const struct cond *expression(struct making *making, unsigned depth)
{
	static const struct cond *(*const atoms[])(struct making *making) = { protocol, protocol, port, port,	 address,
									      address,	octets,	  flags, link_layer, other };
	const struct cond *left, *right;
	bool conjunction;

	if (!depth || random_once_in(&making->random, 3))
		return RANDOM_PICK(&making->random, atoms)(making);
	if (random_once_in(&making->random, 4)) {
		say(making, "not (");
		left = expression(making, depth - 1);
		say(making, ")");
		return cond_not(making->arena, left, nowhere);
	}
	conjunction = random_once_in(&making->random, 2);
	say(making, "(");
	left = expression(making, depth - 1);
	say(making, conjunction ? ") and (" : ") or (");
	right = expression(making, depth - 1);
	say(making, ")");
	return conjunction ? both(making, left, right) : either(making, left, right);
}

/* --- comparing ------------------------------------------------------------------------------------------------ */

/* Packets that libpcap and weir parse alike. */
static bool comparable(const unsigned char *frame, size_t length)
{
	static const unsigned char extensions[] = { 0, 43, 44, 51, 60, 135 };
	unsigned type = (unsigned)frame[12] << 8 | frame[13];

	if (type == 0x8100 || type == 0x88a8)
		return false;
	return type != 0x86dd || length < 21 || !memchr(extensions, frame[20], sizeof extensions);
}

struct totals {
	unsigned judged, matched;
};

static void judge_some(struct making *making, const struct ruleset *ruleset, const struct bpf_program *filter,
		       struct totals *totals)
{
	struct packet_source source;

	packets_seed(&source, random_next(&making->random));
	packets_add_ruleset(&source, ruleset);
	source.well_formed = true;
	for (unsigned i = 0; i < PACKETS; i++) {
		unsigned char frame[PACKET_BYTES_MAX];
		struct model_packet packet = { .data = frame, .length = packets_next(&source, frame, sizeof frame) };
		struct pcap_pkthdr header = { .caplen = (unsigned)packet.length, .len = (unsigned)packet.length };
		struct model_result result;
		bool wanted = filter && pcap_offline_filter(filter, &header, frame);

		if (!comparable(frame, packet.length))
			continue;
		model_judge(making->arena, ruleset, HOOK_XDP, &packet, &result);
		totals->judged++;
		totals->matched += wanted;
		if ((result.verdict == VERDICT_ACCEPT) == wanted)
			continue;
		for (size_t j = 0; j < packet.length; j++)
			print_message(j ? " %02x" : "# %02x", frame[j]);
		print_message("\n");
		fail_msg("libpcap says %s, the model %s: %s", wanted ? "yes" : "no", wanted ? "no" : "yes", making->text);
	}
}

static struct ruleset *ruleset_of(struct arena *arena, const struct cond *cond)
{
	struct ruleset *ruleset = ARENA_NEW(arena, struct ruleset);
	struct chain *chain = ARENA_NEW(arena, struct chain);
	struct rule *rules = ARENA_ARRAY(arena, struct rule, 2);
	struct action *actions = ARENA_ARRAY(arena, struct action, 2);

	for (unsigned i = 0; i < 2; i++) {
		actions[i].kind = ACTION_VERDICT;
		actions[i].verdict = i ? VERDICT_DROP : VERDICT_ACCEPT;
		rules[i] = (struct rule){ .number = i + 1, .actions = &actions[i], .action_count = 1, .names_link = true };
	}
	rules[0].cond = cond;
	*chain = (struct chain){ .name = "main", .rules = rules, .rule_count = 2 };
	*ruleset = (struct ruleset){ .name = "expression", .expression = true, .chains = chain, .chain_count = 1,
				     .rule_count = 2 };
	return ruleset;
}

struct work {
	struct arena *arena;
	uint64_t seed;
	pcap_t *pcap;
	struct totals *totals;
};

static int compare(void *context)
{
	struct work *work = context;
	struct making making = { .arena = work->arena, .random = random_seed(work->seed) };
	const struct ruleset *ruleset = ruleset_of(work->arena, expression(&making, 4));
	const char *error = ruleset_check(work->arena, ruleset);
	struct bpf_program filter;

	if (error)
		fail_msg("%s: %s", making.text, error);
	if (!pcap_compile(work->pcap, &filter, making.text, 1, PCAP_NETMASK_UNKNOWN)) {
		judge_some(&making, ruleset, &filter, work->totals);
		pcap_freecode(&filter);
	} else if (strstr(pcap_geterr(work->pcap), "rejects all packets")) {
		judge_some(&making, ruleset, NULL, work->totals);
	} else {
		fail_msg("%s: %s", making.text, pcap_geterr(work->pcap));
	}
	return 0;
}

static void test_same_as_libpcap(void **state)
{
	const char *chosen = getenv("WEIR_SEED");
	uint64_t seed = chosen ? strtoull(chosen, NULL, 10) : 1;
	struct totals totals = { 0, 0 };
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, 65535);

	(void)state;
	for (unsigned i = 0; i < EXPRESSIONS; i++) {
		struct work work = { arena_new(), seed + i, pcap, &totals };

		assert_int_equal(arena_run(work.arena, compare, &work), 0);
		arena_free(work.arena);
	}
	pcap_close(pcap);
	print_message("# %u packets judged, %u matched\n", totals.judged, totals.matched);
	assert_true(totals.matched > totals.judged / 10 && totals.matched < totals.judged / 10 * 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_as_libpcap) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
