/* SPDX-License-Identifier: GPL-2.0-only */
/* Names of values: protocols, TCP flags, Ethernet types, DSCP and ECN, fragments, ICMP types and codes. */
#include <string.h>

#include "lang/words.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 9293 3.1, RFC 3168 */
static const struct value_name flag_names[] = {
	{ "fin", 0x01 }, { "syn", 0x02 }, { "rst", 0x04 }, { "psh", 0x08 },
	{ "ack", 0x10 }, { "urg", 0x20 }, { "ece", 0x40 }, { "cwr", 0x80 },
};

/* IANA; the rest comes from the system's protocol names */
static const struct value_name protocol_names[] = {
	{ "icmp", 1 },      { "igmp", 2 },       { "ipip", 4 },   { "tcp", 6 },   { "udp", 17 },     { "dccp", 33 },
	{ "ipv6", 41 },     { "gre", 47 },       { "esp", 50 },   { "ah", 51 },   { "icmpv6", 58 },  { "icmp6", 58 },
	{ "ipv6-icmp", 58 }, { "eigrp", 88 },    { "ospf", 89 },  { "pim", 103 }, { "vrrp", 112 },   { "l2tp", 115 },
	{ "sctp", 132 },    { "udplite", 136 },
};

/* linux/if_ether.h */
static const struct value_name ethertype_names[] = {
	{ "ip", 0x0800 },   { "arp", 0x0806 },      { "rarp", 0x8035 },  { "vlan", 0x8100 },
	{ "ipx", 0x8137 },  { "ipv6", 0x86dd },     { "mpls", 0x8847 },  { "pppoe_discovery", 0x8863 },
	{ "pppoe", 0x8864 }, { "eapol", 0x888e },   { "qinq", 0x88a8 },  { "lldp", 0x88cc },
	{ "macsec", 0x88e5 }, { "ptp", 0x88f7 },    { "loop", 0x9000 },
};

/* RFC 2474, 2597, 3246, 5865, 8622 */
static const struct value_name dscp_names[] = {
	{ "cs0", 0 },   { "cs1", 8 },   { "cs2", 16 },  { "cs3", 24 },  { "cs4", 32 },  { "cs5", 40 },  { "cs6", 48 },
	{ "cs7", 56 },  { "af11", 10 }, { "af12", 12 }, { "af13", 14 }, { "af21", 18 }, { "af22", 20 }, { "af23", 22 },
	{ "af31", 26 }, { "af32", 28 }, { "af33", 30 }, { "af41", 34 }, { "af42", 36 }, { "af43", 38 }, { "ef", 46 },
	{ "voice-admit", 44 }, { "le", 1 },
};

/* RFC 3168 5 */
static const struct value_name ecn_names[] = { { "not-ect", 0 }, { "ect1", 1 }, { "ect0", 2 }, { "ce", 3 } };

static const struct value_name state_names[] = {
	{ "new", FLOW_NEW }, { "established", FLOW_ESTABLISHED }, { "related", FLOW_RELATED }, { "invalid", FLOW_INVALID },
};
static const struct value_name fragment_names[] = { { "first", FRAGMENT_FIRST }, { "later", FRAGMENT_LATER } };

static const struct {
	const struct value_name *names;
	size_t count;
} tables[TYPE_COUNT] = {
	[TYPE_FLAGS] = { flag_names, COUNT(flag_names) },
	[TYPE_PROTO] = { protocol_names, COUNT(protocol_names) },
	[TYPE_ETHERTYPE] = { ethertype_names, COUNT(ethertype_names) },
	[TYPE_DSCP] = { dscp_names, COUNT(dscp_names) },
	[TYPE_ECN] = { ecn_names, COUNT(ecn_names) },
	[TYPE_FLOW] = { state_names, COUNT(state_names) },
	[TYPE_FRAGMENT] = { fragment_names, COUNT(fragment_names) },
};

#define TYPES(name, type4, type6) { name, type4, -1, type6, -1 }
#define CODE4(name, code) { name, 3, code, -1, -1 }

/* IANA "ICMP Parameters" and "ICMPv6 Parameters" */
static const struct icmp_name icmp_names[] = {
	TYPES("echo-request", 8, 128),
	TYPES("echo-reply", 0, 129),
	TYPES("destination-unreachable", 3, 1),
	TYPES("packet-too-big", -1, 2),
	TYPES("time-exceeded", 11, 3),
	TYPES("parameter-problem", 12, 4),
	TYPES("redirect", 5, 137),
	TYPES("source-quench", 4, -1),
	TYPES("router-solicitation", 10, 133),
	TYPES("router-advertisement", 9, 134),
	TYPES("neighbour-solicitation", -1, 135),
	TYPES("neighbour-advertisement", -1, 136),
	TYPES("neighbor-solicitation", -1, 135),
	TYPES("neighbor-advertisement", -1, 136),
	TYPES("timestamp-request", 13, -1),
	TYPES("timestamp-reply", 14, -1),
	TYPES("address-mask-request", 17, -1),
	TYPES("address-mask-reply", 18, -1),
	TYPES("mld-query", -1, 130),
	TYPES("mld-report", -1, 131),
	TYPES("mld-done", -1, 132),
	TYPES("mld2-report", -1, 143),
	{ "network-unreachable", 3, 0, 1, 0 },
	{ "host-unreachable", 3, 1, 1, 3 },
	{ "port-unreachable", 3, 3, 1, 4 },
	{ "administratively-prohibited", 3, 13, 1, 1 },
	CODE4("protocol-unreachable", 2),
	CODE4("fragmentation-needed", 4),
	CODE4("source-route-failed", 5),
	CODE4("network-unknown", 6),
	CODE4("host-unknown", 7),
	CODE4("network-prohibited", 9),
	CODE4("host-prohibited", 10),
	{ "no-route", -1, -1, 1, 0 },
	{ "beyond-scope", -1, -1, 1, 2 },
	{ "address-unreachable", -1, -1, 1, 3 },
	{ "source-address-failed", -1, -1, 1, 5 },
	{ "reject-route", -1, -1, 1, 6 },
	{ "ttl-exceeded", 11, 0, 3, 0 },
	{ "hop-limit-exceeded", 11, 0, 3, 0 },
	{ "reassembly-time-exceeded", 11, 1, 3, 1 },
};

int words_value(enum value_type type, const char *name)
{
	for (size_t i = 0; i < tables[type].count; i++)
		if (!strcmp(tables[type].names[i].name, name))
			return tables[type].names[i].value;
	return -1;
}

const struct icmp_name *words_icmp(const char *name)
{
	for (size_t i = 0; i < COUNT(icmp_names); i++)
		if (!strcmp(icmp_names[i].name, name))
			return &icmp_names[i];
	return NULL;
}

static bool is_icmp(enum value_type type)
{
	return type >= TYPE_ICMP && type <= TYPE_ICMP6_CODE;
}

const char *words_nearest_value(enum value_type type, const char *name)
{
	const char *candidates[64];
	size_t count = 0;

	_Static_assert(COUNT(icmp_names) <= 64 && COUNT(dscp_names) <= 64 && COUNT(protocol_names) <= 64, "fits");
	if (is_icmp(type))
		for (size_t i = 0; i < COUNT(icmp_names); i++)
			candidates[count++] = icmp_names[i].name;
	for (size_t i = 0; i < tables[type].count; i++)
		candidates[count++] = tables[type].names[i].name;
	return nearest_word(name, strlen(name), candidates, count);
}
