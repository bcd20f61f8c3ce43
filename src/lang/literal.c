/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Input: one word; output: its value as an inclusive range. Strict: no octal, no short addresses, no signs or blanks.
 */
#include "lang/literal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

static bool number_in_base(const char *text, size_t length, unsigned base, u128 *ret_value)
{
	u128 value = 0;

	if (!length)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned digit = (unsigned)digit_value(text[i]);

		if (digit >= base || value > (~(u128)0 - digit) / base)
			return false;
		value = value * base + digit;
	}
	*ret_value = value;
	return true;
}

bool literal_number(const char *text, size_t length, u128 *ret_value)
{
	if (length > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		return number_in_base(text + 2, length - 2, 16, ret_value);
	if (length > 1 && text[0] == '0') /* some would read it as octal */
		return false;
	return number_in_base(text, length, 10, ret_value);
}

bool literal_size(const char *text, size_t length, u128 *ret_value)
{
	static const char units[] = "kmg";
	const char *unit = length ? memchr(units, text[length - 1], 3) : NULL;
	u128 value;

	if (!unit)
		return literal_number(text, length, ret_value);
	if (!literal_number(text, length - 1, &value) || value > UINT32_MAX)
		return false;
	*ret_value = value << (10 * (unit - units + 1));
	return true;
}

bool literal_time(const char *text, size_t length, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "min", 60000 }, { "s", 1000 }, { "ms", 1 } };
	size_t at = 0, unit = 0, digits, name;
	u128 sum = 0, number;

	while (at < length) {
		for (digits = 0; at + digits < length && digit_value(text[at + digits]) < 10;)
			digits++;
		for (name = 0; at + digits + name < length && digit_value(text[at + digits + name]) >= 10;)
			name++;
		while (unit < sizeof units / sizeof units[0] &&
		       (strlen(units[unit].name) != name || memcmp(units[unit].name, text + at + digits, name)))
			unit++;
		if (unit == sizeof units / sizeof units[0] || !literal_number(text + at, digits, &number) ||
		    number > UINT32_MAX)
			return false;
		sum += number * units[unit++].ms;
		at += digits + name;
	}
	if (sum > UINT64_MAX / 1000000)
		return false;
	*ret_ns = (uint64_t)sum * 1000000;
	return length != 0;
}

bool literal_ipv4(const char *text, size_t length, u128 *ret_value)
{
	uint32_t value = 0, octet = 0;
	unsigned octets = 1, digits = 0;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c == '.' && digits) {
			value = value << 8 | octet;
			octet = 0;
			digits = 0;
			octets++;
		} else if (c >= '0' && c <= '9' && !(digits && !octet)) {
			octet = octet * 10 + (uint32_t)(c - '0');
			digits++;
			if (octet > 255)
				return false;
		} else {
			return false;
		}
	}
	if (octets != 4 || !digits)
		return false;
	*ret_value = value << 8 | octet;
	return true;
}

/* One group of up to four hexadecimal digits; returns how many. */
static size_t group(const char *text, size_t length, uint16_t *ret_value)
{
	unsigned value = 0;
	size_t used = 0;

	while (used < length && used < 5 && digit_value(text[used]) < 16)
		value = value << 4 | (unsigned)digit_value(text[used++]);
	*ret_value = (uint16_t)value;
	return used;
}

struct groups {
	uint16_t value[8];
	unsigned count;
	int gap; /* groups before the `::`, -1: none */
};

/* The last 32 bits may be written as an IPv4 address. */
static bool ipv4_tail(const char *text, size_t length, struct groups *groups)
{
	u128 value;

	if (groups->count > 6 || !literal_ipv4(text, length, &value))
		return false;
	groups->value[groups->count++] = (uint16_t)(value >> 16);
	groups->value[groups->count++] = (uint16_t)value;
	return true;
}

static bool read_groups(const char *text, size_t length, struct groups *groups)
{
	size_t at = 0;

	if (length >= 2 && text[0] == ':' && text[1] == ':') {
		groups->gap = 0;
		at = 2;
	}
	while (at < length) {
		uint16_t value;
		size_t used = group(text + at, length - at, &value);

		if (at + used < length && text[at + used] == '.')
			return ipv4_tail(text + at, length - at, groups);
		if (!used || used > 4 || groups->count == 8)
			return false;
		groups->value[groups->count++] = value;
		at += used;
		if (at == length)
			return true;
		if (text[at++] != ':' || at == length)
			return false;
		if (text[at] != ':')
			continue;
		if (groups->gap >= 0)
			return false;
		groups->gap = (int)groups->count;
		at++;
	}
	return groups->gap >= 0;
}

bool literal_ipv6(const char *text, size_t length, u128 *ret_value)
{
	struct groups groups = { .gap = -1 };
	u128 value = 0;
	unsigned head;

	if (!read_groups(text, length, &groups) || (groups.gap < 0 ? groups.count != 8 : groups.count > 7))
		return false;
	head = groups.gap < 0 ? 8 : (unsigned)groups.gap;
	for (unsigned i = 0; i < head; i++)
		value |= (u128)groups.value[i] << (112 - 16 * i);
	for (unsigned i = head; i < groups.count; i++)
		value |= (u128)groups.value[i] << (16 * (groups.count - 1 - i));
	*ret_value = value;
	return true;
}

bool literal_mac(const char *text, size_t length, u128 *ret_value)
{
	uint64_t value = 0;

	if (length != 17)
		return false;
	for (size_t i = 0; i < 17; i++) {
		if (i % 3 == 2 ? text[i] != ':' : digit_value(text[i]) > 15)
			return false;
		if (i % 3 != 2)
			value = value << 4 | (unsigned)digit_value(text[i]);
	}
	*ret_value = value;
	return true;
}

static enum literal_kind simple(const char *text, size_t length, u128 *ret_value)
{
	bool colon = memchr(text, ':', length);

	if (!colon && literal_number(text, length, ret_value))
		return LITERAL_NUMBER;
	if (!colon)
		return literal_ipv4(text, length, ret_value) ? LITERAL_IPV4 : LITERAL_NONE;
	if (literal_mac(text, length, ret_value))
		return LITERAL_MAC;
	return literal_ipv6(text, length, ret_value) ? LITERAL_IPV6 : LITERAL_NONE;
}

static struct literal prefix(const char *text, size_t length, size_t slash)
{
	struct literal literal = { .prefix = true };
	u128 bits, host;
	unsigned width;

	literal.kind = simple(text, slash, &literal.lo);
	if (literal.kind != LITERAL_IPV4 && literal.kind != LITERAL_IPV6)
		return (struct literal){ 0 };
	if (!literal_number(text + slash + 1, length - slash - 1, &bits))
		return (struct literal){ 0 };
	width = literal.kind == LITERAL_IPV4 ? 32 : 128;
	if (bits > width) {
		literal.fault = FAULT_LENGTH;
		return literal;
	}
	literal.prefix_length = (uint8_t)bits;
	host = u128_max(width - (unsigned)bits);
	if (literal.lo & host)
		literal.fault = FAULT_HOST_BITS;
	literal.lo &= ~host;
	literal.hi = literal.lo | host;
	return literal;
}

static struct literal range(const char *text, size_t length, size_t dash)
{
	struct literal low = literal_parse(text, dash);
	struct literal high = literal_parse(text + dash + 1, length - dash - 1);

	if (low.kind == LITERAL_NONE || high.kind == LITERAL_NONE || low.range || high.range)
		return (struct literal){ 0 };
	low.range = true;
	low.hi = high.hi;
	if (low.prefix || high.prefix)
		low.fault = FAULT_RANGE_PREFIX;
	else if (low.kind != high.kind)
		low.fault = FAULT_MIXED;
	else if (low.lo > low.hi)
		low.fault = FAULT_REVERSED;
	return low;
}

struct literal literal_parse(const char *text, size_t length)
{
	struct literal literal = { 0 };
	const char *slash, *dash;

	if (!length || (digit_value(text[0]) > 15 && text[0] != ':'))
		return literal;
	dash = memchr(text, '-', length);
	/* a second dash is in no literal, and keeps this from recursing further */
	if (dash && !memchr(dash + 1, '-', length - (size_t)(dash + 1 - text)))
		return range(text, length, (size_t)(dash - text));
	slash = memchr(text, '/', length);
	if (slash)
		return prefix(text, length, (size_t)(slash - text));
	literal.kind = simple(text, length, &literal.lo);
	literal.hi = literal.lo;
	return literal;
}

void literal_print(enum literal_kind kind, u128 value, char *buffer)
{
	struct in_addr v4 = { htonl((uint32_t)value) };
	struct in6_addr v6;

	switch (kind) {
	case LITERAL_IPV4:
		inet_ntop(AF_INET, &v4, buffer, LITERAL_TEXT);
		break;
	case LITERAL_IPV6:
		for (int i = 0; i < 16; i++)
			v6.s6_addr[i] = (uint8_t)(value >> (120 - 8 * i));
		inet_ntop(AF_INET6, &v6, buffer, LITERAL_TEXT);
		break;
	case LITERAL_MAC:
		snprintf(buffer, LITERAL_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", (unsigned)(value >> 40) & 0xff,
			 (unsigned)(value >> 32) & 0xff, (unsigned)(value >> 24) & 0xff,
			 (unsigned)(value >> 16) & 0xff, (unsigned)(value >> 8) & 0xff, (unsigned)value & 0xff);
		break;
	default:
		snprintf(buffer, LITERAL_TEXT, "%llu", (unsigned long long)value);
	}
}

const char *literal_kind_name(enum literal_kind kind)
{
	static const char *const names[] = {
		[LITERAL_NONE] = "a word", [LITERAL_NUMBER] = "a number", [LITERAL_IPV4] = "an IPv4 address",
		[LITERAL_IPV6] = "an IPv6 address", [LITERAL_MAC] = "a MAC address",
	};

	return names[kind];
}
