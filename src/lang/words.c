/* SPDX-License-Identifier: GPL-2.0-only */
/* Tables of fields, short names, actions and reserved words. Names of values are in words_values.c. */
#include "lang/words.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SET(type) (1u << SET_##type)
#define ADDRESSES (SET(ADDRESS) | SET(PREFIX))

const struct type_info type_table[TYPE_COUNT] = {
	[TYPE_NUMBER] = { "a number", NULL, true, true, true, 0 },
	[TYPE_LENGTH] = { "a size", NULL, true, true, true, 0 },
	[TYPE_PORT] = { "a port", "service", true, true, true, SET(PORT) },
	[TYPE_PROTO] = { "a protocol", "protocol", true, true, true, 0 },
	[TYPE_ADDRESS] = { "an address", NULL, false, false, true, ADDRESSES },
	[TYPE_MAC] = { "a MAC address", NULL, false, false, true, SET(MAC) },
	[TYPE_ETHERTYPE] = { "an Ethernet type", "Ethernet type", true, true, true, 0 },
	[TYPE_MARK] = { "a mark", NULL, true, true, true, SET(MARK) },
	[TYPE_USER] = { "a user", "user", true, true, false, SET(USER) },
	[TYPE_GROUP] = { "a group", "group", true, true, false, 0 },
	[TYPE_PROGRAM] = { "a program's path", "program", false, false, false, 0 },
	[TYPE_CGROUP] = { "a cgroup's path", "cgroup", false, false, false, 0 },
	[TYPE_UNIT] = { "a unit's name", "unit", false, false, false, 0 },
	[TYPE_IFACE] = { "an interface", "interface", false, false, false, 0 },
	[TYPE_ICMP] = { "the name of an ICMP type", "ICMP type", false, false, false, 0 },
	[TYPE_ICMP4_TYPE] = { "an ICMP type", "ICMP type", true, true, false, 0 },
	[TYPE_ICMP6_TYPE] = { "an ICMPv6 type", "ICMPv6 type", true, true, false, 0 },
	[TYPE_ICMP4_CODE] = { "an ICMP code", "ICMP code", true, true, false, 0 },
	[TYPE_ICMP6_CODE] = { "an ICMPv6 code", "ICMPv6 code", true, true, false, 0 },
	[TYPE_FLAGS] = { "TCP flags", "TCP flag", true, false, true, 0 },
	[TYPE_DSCP] = { "a DSCP value", "DSCP class", true, true, true, 0 },
	[TYPE_ECN] = { "an ECN value", "ECN codepoint", true, true, true, 0 },
	[TYPE_FLOW] = { "the state of a connection", NULL, false, false, false, 0 },
	[TYPE_FRAGMENT] = { "`first` or `later`", "kind of fragment", false, false, false, 0 },
};

enum { TCP = 6, UDP = 17, SCTP = 132, UDPLITE = 136 };

#define PORTS(prefix, proto, service) \
	{ NAMED(prefix "src_port"), TYPE_PORT, FIELD_SRC_PORT, FIELD_COUNT, 0, proto, service }, \
	{ NAMED(prefix "dst_port"), TYPE_PORT, FIELD_DST_PORT, FIELD_COUNT, 0, proto, service }
#define PLAIN(name, type, field) { NAMED(name), type, field, FIELD_COUNT, 0, 0, NULL }
#define BOTH (FAMILY4 | FAMILY6)

static const struct field_word fields[] = {
	{ NAMED("src"), TYPE_ADDRESS, FIELD_IP_SRC, FIELD_IPV6_SRC, BOTH, 0, NULL },
	{ NAMED("dst"), TYPE_ADDRESS, FIELD_IP_DST, FIELD_IPV6_DST, BOTH, 0, NULL },
	{ NAMED("ip.src"), TYPE_ADDRESS, FIELD_IP_SRC, FIELD_COUNT, FAMILY4, 0, NULL },
	{ NAMED("ip.dst"), TYPE_ADDRESS, FIELD_IP_DST, FIELD_COUNT, FAMILY4, 0, NULL },
	{ NAMED("ipv6.src"), TYPE_ADDRESS, FIELD_COUNT, FIELD_IPV6_SRC, FAMILY6, 0, NULL },
	{ NAMED("ipv6.dst"), TYPE_ADDRESS, FIELD_COUNT, FIELD_IPV6_DST, FAMILY6, 0, NULL },
	PORTS("", 0, NULL),
	PORTS("tcp.", TCP, "tcp"),
	PORTS("udp.", UDP, "udp"),
	PORTS("sctp.", SCTP, "sctp"),
	PORTS("udplite.", UDPLITE, "udplite"),
	PLAIN("proto", TYPE_PROTO, FIELD_PROTO),
	PLAIN("tcp.flags", TYPE_FLAGS, FIELD_TCP_FLAGS),
	{ NAMED("icmp.type"), TYPE_ICMP, FIELD_ICMP_TYPE, FIELD_COUNT, BOTH, 0, NULL },
	{ NAMED("icmp4.type"), TYPE_ICMP4_TYPE, FIELD_ICMP_TYPE, FIELD_COUNT, FAMILY4, 0, NULL },
	{ NAMED("icmp6.type"), TYPE_ICMP6_TYPE, FIELD_ICMP_TYPE, FIELD_COUNT, FAMILY6, 0, NULL },
	{ NAMED("icmp4.code"), TYPE_ICMP4_CODE, FIELD_ICMP_CODE, FIELD_COUNT, FAMILY4, 0, NULL },
	{ NAMED("icmp6.code"), TYPE_ICMP6_CODE, FIELD_ICMP_CODE, FIELD_COUNT, FAMILY6, 0, NULL },
	PLAIN("ttl", TYPE_NUMBER, FIELD_TTL),
	PLAIN("hoplimit", TYPE_NUMBER, FIELD_TTL),
	PLAIN("dscp", TYPE_DSCP, FIELD_DSCP),
	PLAIN("ecn", TYPE_ECN, FIELD_ECN),
	PLAIN("length", TYPE_LENGTH, FIELD_LENGTH),
	PLAIN("fragment", TYPE_FRAGMENT, FIELD_FRAGMENT),
	PLAIN("eth.src", TYPE_MAC, FIELD_ETH_SRC),
	PLAIN("eth.dst", TYPE_MAC, FIELD_ETH_DST),
	PLAIN("eth.type", TYPE_ETHERTYPE, FIELD_ETH_TYPE),
	PLAIN("vlan", TYPE_NUMBER, FIELD_VLAN),
	PLAIN("iface", TYPE_IFACE, FIELD_COUNT),
	PLAIN("in_iface", TYPE_IFACE, FIELD_IN_IFACE),
	PLAIN("out_iface", TYPE_IFACE, FIELD_OUT_IFACE),
	PLAIN("mark", TYPE_MARK, FIELD_MARK),
	PLAIN("user", TYPE_USER, FIELD_USER),
	PLAIN("group", TYPE_GROUP, FIELD_GROUP),
	PLAIN("program", TYPE_PROGRAM, FIELD_PROGRAM),
	PLAIN("cgroup", TYPE_CGROUP, FIELD_CGROUP_0),
	PLAIN("unit", TYPE_UNIT, FIELD_CGROUP_0),
};

/*
 * `icmp_error` and `neighbour` are what RFC 4890 4.4.1 and RFC 4861 need; RFC 1191 the fragmentation needed; the
 * ports are those of RFC 2131 and RFC 8415.
 */
static const struct predicate_word predicates[] = {
	{ "ip", "" },
	{ "ipv6", "" },
	{ "ingress", "" },
	{ "egress", "" },
	{ "loopback", "" },
	{ "new", "" },
	{ "established", "" },
	{ "related", "" },
	{ "invalid", "" },
	{ "arp", "eth.type == 0x0806" },
	{ "tcp", "proto == 6" },
	{ "udp", "proto == 17" },
	{ "udplite", "proto == 136" },
	{ "sctp", "proto == 132" },
	{ "icmp4", "ip and proto == 1" },
	{ "icmp6", "ipv6 and proto == 58" },
	{ "icmp", "(ip and proto == 1) or (ipv6 and proto == 58)" },
	{ "tcp.fin", "tcp.flags & fin == fin" },
	{ "tcp.syn", "tcp.flags & syn == syn" },
	{ "tcp.rst", "tcp.flags & rst == rst" },
	{ "tcp.psh", "tcp.flags & psh == psh" },
	{ "tcp.ack", "tcp.flags & ack == ack" },
	{ "tcp.urg", "tcp.flags & urg == urg" },
	{ "tcp.ece", "tcp.flags & ece == ece" },
	{ "tcp.cwr", "tcp.flags & cwr == cwr" },
	{ "fragment", "fragment in { first, later }" },
	{ "vlan", "vlan in 0-4095" },
	{ "broadcast", "ip.dst == 255.255.255.255 or eth.dst == ff:ff:ff:ff:ff:ff" },
	{ "multicast", "ip.dst == 224.0.0.0/4 or ipv6.dst == ff00::/8" },
	{ "neighbour", "icmp6.type in 133-136 and ttl == 255" },
	{ "icmp_error", "(icmp4.type == 3 and icmp4.code == 4) or icmp4.type in 11-12 or icmp6.type in 2-4" },
	{ "dhcp_client", "(ip and udp.src_port == 67 and udp.dst_port == 68) or "
			 "(ipv6 and udp.src_port == 547 and udp.dst_port == 546)" },
};

static const char *const calls[] = { "knocked", "rate" }; /* conditions with a form of their own */
static const char *const reserved_prefixes[] = { "http.", "tls.", "dns." };

const char *const action_words[ACTION_WORD_COUNT] = {
	"accept", "drop", "reject", "throttle", "count", "log", "mark", "capture", "add", "remove", "jump", "goto", "return",
};

static const char *const structure_words[] = {
	"policy", "define", "set", "chain", "on", "default", "malformed", "non_ip", "classifier", "cache", "captures", "include", "tunable",
	"track", "observe", "knock", "flows", "and", "or", "not", "in", "if", "known", "knocked", "main",
	"members",
};

static bool among(const char *const *words, size_t count, const char *text, size_t length)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(words[i]) == length && !memcmp(words[i], text, length))
			return true;
	return false;
}

const struct field_word *words_field(const char *name)
{
	for (size_t i = 0; i < COUNT(fields); i++)
		if (fields[i].name[0] == name[0] && !strcmp(fields[i].name, name))
			return &fields[i];
	return NULL;
}

const struct predicate_word *words_predicate(const char *name)
{
	for (size_t i = 0; i < COUNT(predicates); i++)
		if (!strcmp(predicates[i].name, name))
			return &predicates[i];
	return NULL;
}

int words_action(const char *text, size_t length)
{
	for (int i = 0; i < ACTION_WORD_COUNT; i++)
		if (action_words[i][0] == text[0] && strlen(action_words[i]) == length && !memcmp(action_words[i], text, length))
			return i;
	return -1;
}

bool words_reserved_condition(const char *text, size_t length)
{
	for (size_t i = 0; i < COUNT(reserved_prefixes); i++)
		if (length > strlen(reserved_prefixes[i]) &&
		    !memcmp(text, reserved_prefixes[i], strlen(reserved_prefixes[i])))
			return true;
	return false;
}

bool words_is_condition(const char *text, size_t length)
{
	for (size_t i = 0; i < COUNT(fields); i++)
		if (strlen(fields[i].name) == length && !memcmp(fields[i].name, text, length))
			return true;
	for (size_t i = 0; i < COUNT(predicates); i++)
		if (strlen(predicates[i].name) == length && !memcmp(predicates[i].name, text, length))
			return true;
	return among(calls, COUNT(calls), text, length) || words_reserved_condition(text, length);
}

bool words_taken(const char *text)
{
	size_t length = strlen(text);

	return words_is_condition(text, length) || words_action(text, length) >= 0 ||
	       among(structure_words, COUNT(structure_words), text, length);
}

const char *words_nearest_condition(const char *text)
{
	const char *candidates[COUNT(fields) + COUNT(predicates)];
	size_t count = 0;

	for (size_t i = 0; i < COUNT(fields); i++)
		candidates[count++] = fields[i].name;
	for (size_t i = 0; i < COUNT(predicates); i++)
		candidates[count++] = predicates[i].name;
	return nearest_word(text, strlen(text), candidates, count);
}
