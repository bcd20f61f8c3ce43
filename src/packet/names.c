/* SPDX-License-Identifier: GPL-2.0-only */
#include "packet/names.h"

#include <stddef.h>
#include <string.h>

struct number_name {
	unsigned number;
	const char *name;
};

/* IANA "Protocol Numbers" */
static const struct number_name protocol_names[] = {
	{ 1, "icmp" },	 { 2, "igmp" },	 { 4, "ipip" },	 { 6, "tcp" },	 { 17, "udp" },	  { 41, "ipv6" },  { 47, "gre" },
	{ 50, "esp" },	 { 51, "ah" },	 { 58, "icmp6" }, { 59, "none" }, { 89, "ospf" }, { 112, "vrrp" },
	{ 132, "sctp" }, { 136, "udplite" },
};

/* IANA "ICMP Parameters" */
static const struct number_name icmp_names[] = {
	{ 0, "echo-reply" }, { 3, "unreachable" }, { 4, "source-quench" }, { 5, "redirect" },
	{ 8, "echo-request" }, { 9, "router-advertisement" }, { 10, "router-solicitation" }, { 11, "time-exceeded" },
	{ 12, "parameter-problem" }, { 13, "timestamp-request" }, { 14, "timestamp-reply" },
};

/* IANA "ICMPv6 Parameters" */
static const struct number_name icmp6_names[] = {
	{ 1, "unreachable" }, { 2, "packet-too-big" }, { 3, "time-exceeded" }, { 4, "parameter-problem" },
	{ 128, "echo-request" }, { 129, "echo-reply" }, { 130, "listener-query" }, { 131, "listener-report" },
	{ 132, "listener-done" }, { 133, "router-solicitation" }, { 134, "router-advertisement" },
	{ 135, "neighbour-solicitation" }, { 136, "neighbour-advertisement" }, { 137, "redirect" },
	{ 143, "listener-report-v2" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *find_name(const struct number_name *names, size_t count, unsigned number)
{
	for (size_t i = 0; i < count; i++)
		if (names[i].number == number)
			return names[i].name;
	return NULL;
}

static int find_number(const struct number_name *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(names[i].name, name))
			return (int)names[i].number;
	return -1;
}

const char *protocol_name(unsigned number)
{
	return find_name(protocol_names, COUNT(protocol_names), number);
}

int protocol_by_name(const char *name)
{
	return find_number(protocol_names, COUNT(protocol_names), name);
}

const char *icmp_type_name(bool ipv6, unsigned type)
{
	return ipv6 ? find_name(icmp6_names, COUNT(icmp6_names), type) : find_name(icmp_names, COUNT(icmp_names), type);
}

int icmp_type_by_name(bool ipv6, const char *name)
{
	return ipv6 ? find_number(icmp6_names, COUNT(icmp6_names), name) :
		      find_number(icmp_names, COUNT(icmp_names), name);
}

void tcp_flags_print(unsigned flags, char *buffer)
{
	for (unsigned bit = 0; bit < sizeof TCP_FLAG_LETTERS - 1; bit++)
		if (flags & 1u << bit)
			*buffer++ = TCP_FLAG_LETTERS[bit];
	*buffer = '\0';
}

int tcp_flags_parse(const char *text)
{
	int flags = 0;

	for (; *text; text++) {
		const char *letter = strchr(TCP_FLAG_LETTERS, *text);

		if (!letter || flags & 1 << (letter - TCP_FLAG_LETTERS))
			return -1;
		flags |= 1 << (letter - TCP_FLAG_LETTERS);
	}
	return flags;
}
