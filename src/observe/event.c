/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events to fields and lines. In: a record of the ring buffer, whose bytes are whatever was on the wire. Out: text.
 * Bytes that are not there, or make no sense, only leave fields empty.
 */
#include "observe/event.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "packet/names.h"
#include "packet/packet.h"

enum {
	ETHER_BYTES = 14,
	TYPE_IPV4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_VLAN = 0x8100,
	TYPE_IPV6 = 0x86dd,
	TYPE_SERVICE_VLAN = 0x88a8,
	NUMBER_ICMP = 1,
	NUMBER_TCP = 6,
	NUMBER_UDP = 17,
	NUMBER_ICMPV6 = 58,
	NUMBER_SCTP = 132,
	NUMBER_UDP_LITE = 136,
};

/* The bytes not looked at yet. */
struct view {
	const unsigned char *at;
	size_t left;
};

static unsigned get16(const unsigned char *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static bool skip(struct view *view, size_t bytes)
{
	if (view->left < bytes)
		return false;
	view->at += bytes;
	view->left -= bytes;
	return true;
}

static void put_name(char *buffer, size_t size, const char *name, unsigned number)
{
	if (name)
		snprintf(buffer, size, "%s", name);
	else
		snprintf(buffer, size, "%u", number);
}

static void put_protocol(unsigned number, struct event_fields *fields)
{
	put_name(fields->protocol, sizeof fields->protocol, protocol_name(number), number);
}

static void put_icmp_type(bool ipv6, unsigned type, struct event_fields *fields)
{
	put_name(fields->flags, sizeof fields->flags, icmp_type_name(ipv6, type), type);
}

/* --- transport ------------------------------------------------------------------------------------------------ */

static bool has_ports(unsigned number)
{
	return number == NUMBER_TCP || number == NUMBER_UDP || number == NUMBER_SCTP || number == NUMBER_UDP_LITE;
}

static void describe_transport(unsigned number, struct view view, bool ipv6, struct event_fields *fields)
{
	put_protocol(number, fields);
	if (has_ports(number) && view.left >= 4) {
		fields->sport = (uint16_t)get16(view.at);
		fields->dport = (uint16_t)get16(view.at + 2);
	}
	if (number == NUMBER_TCP && view.left >= 14)
		tcp_flags_print(view.at[13], fields->flags);
	if (number == NUMBER_ICMP && !ipv6 && view.left)
		put_icmp_type(false, view.at[0], fields);
	if (number == NUMBER_ICMPV6 && ipv6 && view.left)
		put_icmp_type(true, view.at[0], fields);
}

static void describe_fragment(unsigned number, struct event_fields *fields)
{
	put_protocol(number, fields);
	snprintf(fields->flags, sizeof fields->flags, "fragment");
}

/* --- network -------------------------------------------------------------------------------------------------- */

static int describe_ipv4(struct view view, struct event_fields *fields)
{
	const unsigned char *ip = view.at;

	if (view.left < 20)
		return -EINVAL;
	inet_ntop(AF_INET, ip + 12, fields->src, sizeof fields->src);
	inet_ntop(AF_INET, ip + 16, fields->dst, sizeof fields->dst);
	if (get16(ip + 6) & 0x1fff)
		describe_fragment(ip[9], fields);
	else if (skip(&view, (ip[0] & 15) * 4u))
		describe_transport(ip[9], view, false, fields);
	else
		put_protocol(ip[9], fields);
	return 0;
}

static bool is_extension(unsigned number)
{
	return number == 0 || number == 43 || number == 44 || number == 51 || number == 60 || number == 135;
}

static size_t extension_bytes(unsigned number, const unsigned char *at)
{
	if (number == 44)
		return 8;
	return number == 51 ? (at[1] + 2u) * 4 : (at[1] + 1u) * 8;
}

/* Each header is at least 8 bytes of at most EVENT_BYTES: this ends. */
static void describe_extensions(unsigned number, struct view view, struct event_fields *fields)
{
	while (is_extension(number) && view.left >= 8) {
		const unsigned char *at = view.at;

		if (number == 44 && get16(at + 2) >> 3) {
			describe_fragment(at[0], fields);
			return;
		}
		if (!skip(&view, extension_bytes(number, at)))
			view.left = 0;
		number = at[0];
	}
	describe_transport(number, view, true, fields);
}

static int describe_ipv6(struct view view, struct event_fields *fields)
{
	const unsigned char *ip = view.at;

	if (!skip(&view, 40))
		return -EINVAL;
	inet_ntop(AF_INET6, ip + 8, fields->src, sizeof fields->src);
	inet_ntop(AF_INET6, ip + 24, fields->dst, sizeof fields->dst);
	describe_extensions(ip[6], view, fields);
	return 0;
}

/* RFC 826 with IPv4: sender and target. */
static void describe_arp(struct view view, struct event_fields *fields)
{
	if (view.left < 28 || get16(view.at + 2) != TYPE_IPV4 || view.at[4] != 6 || view.at[5] != 4)
		return;
	inet_ntop(AF_INET, view.at + 14, fields->src, sizeof fields->src);
	inet_ntop(AF_INET, view.at + 24, fields->dst, sizeof fields->dst);
	snprintf(fields->flags, sizeof fields->flags, "%s",
		 get16(view.at + 6) == 1 ? "request" : get16(view.at + 6) == 2 ? "reply" : "");
}

static void put_mac(char *buffer, size_t size, const unsigned char *mac)
{
	snprintf(buffer, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static int describe_network(unsigned type, struct view view, struct event_fields *fields)
{
	if (type == TYPE_IPV4)
		return describe_ipv4(view, fields);
	if (type == TYPE_IPV6)
		return describe_ipv6(view, fields);
	if (type == TYPE_ARP) {
		snprintf(fields->protocol, sizeof fields->protocol, "arp");
		describe_arp(view, fields);
	} else {
		snprintf(fields->protocol, sizeof fields->protocol, "0x%04x", type & 0xffff);
	}
	return 0;
}

static int describe_frame(struct view view, struct event_fields *fields)
{
	const unsigned char *frame = view.at;
	unsigned type;

	if (!skip(&view, ETHER_BYTES))
		return -EINVAL;
	type = get16(frame + 12);
	for (int tags = 0; tags < 2 && (type == TYPE_VLAN || type == TYPE_SERVICE_VLAN) && view.left >= 4; tags++) {
		type = get16(view.at + 2);
		skip(&view, 4);
	}
	if (type != TYPE_IPV4 && type != TYPE_IPV6) {
		put_mac(fields->src, sizeof fields->src, frame + 6);
		put_mac(fields->dst, sizeof fields->dst, frame);
	}
	return describe_network(type, view, fields);
}

int event_describe(const struct event *event, struct event_fields *ret_fields)
{
	struct view view = { event->data, event->captured < EVENT_BYTES ? event->captured : EVENT_BYTES };

	memset(ret_fields, 0, sizeof *ret_fields);
	if (event->frame)
		return describe_frame(view, ret_fields);
	if (!view.left)
		return -EINVAL;
	return describe_network(view.at[0] >> 4 == 6 ? TYPE_IPV6 : TYPE_IPV4, view, ret_fields);
}

/* --- lines ---------------------------------------------------------------------------------------------------- */

static const char *verdict_word(uint32_t verdict)
{
	static const char *const words[] = { "accept", "drop", "reject" };

	return verdict < sizeof words / sizeof *words ? words[verdict] : "log";
}

/* "10.0.0.1:80", "[fd00::1]:80", or the address alone. */
static void put_end(char *buffer, size_t size, const char *address, unsigned port)
{
	if (!port)
		snprintf(buffer, size, "%s", address);
	else if (strchr(address, ':'))
		snprintf(buffer, size, "[%s]:%u", address, port);
	else
		snprintf(buffer, size, "%s:%u", address, port);
}

static void put_user(char *buffer, size_t size, uint32_t user)
{
	if (user == ABSENT_OWNER)
		buffer[0] = '\0';
	else
		snprintf(buffer, size, " user %u", user);
}

int event_line(const struct event *event, const struct event_fields *fields, const char *policy,
	       const char *interface, char *buffer, size_t size)
{
	char src[80], dst[80], user[24];

	put_end(src, sizeof src, fields->src, fields->sport);
	put_end(dst, sizeof dst, fields->dst, fields->dport);
	put_user(user, sizeof user, event->user);
	return snprintf(buffer, size, "%s %s:%u%s%s %s %s > %s%s%s length %u%s", verdict_word(event->verdict), policy,
			event->rule, *interface ? " " : "", interface, *fields->protocol ? fields->protocol : "?",
			*src ? src : "?", *dst ? dst : "?", *fields->flags ? " " : "", fields->flags, event->length,
			user);
}
