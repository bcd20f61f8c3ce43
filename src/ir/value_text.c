/* SPDX-License-Identifier: GPL-2.0-only */
/* Values and ranges to text and back. Pure functions; bad text is `false`, nothing else can fail. */
#include "ir/value_text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

struct value_format value_format_of(enum field field)
{
	return (struct value_format){
		.form = field_table[field].form,
		.bits = field_table[field].bits,
		.hexadecimal = field == FIELD_ETH_TYPE || field == FIELD_MARK || field == FIELD_TCP_FLAGS,
		.prefixes = field_table[field].form == FORM_IPV4 || field_table[field].form == FORM_IPV6,
	};
}

enum field set_element_field(enum set_type type)
{
	static const enum field fields[SET_TYPE_COUNT] = {
		[SET_ADDRESS] = FIELD_IP_SRC, [SET_PREFIX] = FIELD_IP_SRC, [SET_PORT] = FIELD_SRC_PORT,
		[SET_MAC] = FIELD_ETH_SRC,    [SET_MARK] = FIELD_MARK,	   [SET_USER] = FIELD_USER,
	};

	return fields[type];
}

/* --- printing ------------------------------------------------------------------------------------------------- */

static void put_bytes(u128 value, unsigned char *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		bytes[i] = (unsigned char)(value >> (8 * (count - 1 - i)));
}

static void print_mac(const unsigned char *mac, char *buffer)
{
	snprintf(buffer, RANGE_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

void value_print(const struct value_format *format, u128 value, char *buffer)
{
	unsigned char bytes[16];

	switch (format->form) {
	case FORM_NUMBER:
		snprintf(buffer, RANGE_TEXT_MAX, format->hexadecimal ? "0x%llx" : "%llu",
			 (unsigned long long)u128_lo(value));
		return;
	case FORM_IPV4:
		put_bytes(value, bytes, 4);
		inet_ntop(AF_INET, bytes, buffer, RANGE_TEXT_MAX);
		return;
	case FORM_IPV6:
		put_bytes(value, bytes, 16);
		inet_ntop(AF_INET6, bytes, buffer, RANGE_TEXT_MAX);
		return;
	case FORM_MAC:
		put_bytes(value, bytes, 6);
		print_mac(bytes, buffer);
		return;
	}
}

/* Number of host bits if the range is a prefix shorter than an address, else -1. */
static int host_bits(const struct value_format *format, struct range range)
{
	u128 host = range.hi - range.lo;

	if (!format->prefixes || !host || (host & (host + 1)) || (range.lo & host))
		return -1;
	for (int bits = 1; bits < format->bits; bits++)
		if (host == u128_max((unsigned)bits))
			return bits;
	return format->bits;
}

void range_print(const struct value_format *format, struct range range, char *buffer)
{
	char lo[RANGE_TEXT_MAX], hi[RANGE_TEXT_MAX];
	int bits = host_bits(format, range);

	value_print(format, range.lo, lo);
	value_print(format, range.hi, hi);
	if (range.lo == range.hi)
		snprintf(buffer, RANGE_TEXT_MAX, "%.45s", lo);
	else if (bits >= 0)
		snprintf(buffer, RANGE_TEXT_MAX, "%.45s/%d", lo, format->bits - bits);
	else
		snprintf(buffer, RANGE_TEXT_MAX, "%.45s-%.45s", lo, hi);
}

/* --- parsing -------------------------------------------------------------------------------------------------- */

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

static bool parse_digits(const char *text, size_t length, unsigned base, u128 max, u128 *ret_value)
{
	u128 value = 0;

	if (!length)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned digit = (unsigned)digit_value(text[i]);

		if (digit >= base || value > (max - digit) / base || digit > max)
			return false;
		value = value * base + digit;
	}
	*ret_value = value;
	return true;
}

static bool parse_number(const char *text, size_t length, u128 max, u128 *ret_value)
{
	if (length > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		return parse_digits(text + 2, length - 2, 16, max, ret_value);
	return parse_digits(text, length, 10, max, ret_value);
}

static bool parse_address(const char *text, size_t length, int family, unsigned bytes, u128 *ret_value)
{
	char copy[INET6_ADDRSTRLEN + 1];
	unsigned char address[16];
	u128 value = 0;

	if (length >= sizeof copy)
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (strlen(copy) != length || inet_pton(family, copy, address) != 1)
		return false;
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | address[i];
	*ret_value = value;
	return true;
}

static bool parse_mac(const char *text, size_t length, u128 *ret_value)
{
	u128 value = 0, octet = 0;

	if (length != 17)
		return false;
	for (size_t i = 0; i < 6; i++) {
		if (!parse_digits(text + 3 * i, 2, 16, 255, &octet) || (i < 5 && text[3 * i + 2] != ':'))
			return false;
		value = value << 8 | octet;
	}
	*ret_value = value;
	return true;
}

bool value_parse(const struct value_format *format, const char *text, size_t length, u128 *ret_value)
{
	switch (format->form) {
	case FORM_NUMBER:
		return parse_number(text, length, u128_max(format->bits), ret_value);
	case FORM_IPV4:
		return parse_address(text, length, AF_INET, 4, ret_value);
	case FORM_IPV6:
		return parse_address(text, length, AF_INET6, 16, ret_value);
	case FORM_MAC:
		return parse_mac(text, length, ret_value);
	}
	return false;
}

static bool parse_prefix(const struct value_format *format, const char *text, size_t length, const char *slash,
			 struct range *ret_range)
{
	u128 address, prefix, host;

	if (!format->prefixes || !value_parse(format, text, (size_t)(slash - text), &address) ||
	    !parse_digits(slash + 1, length - (size_t)(slash + 1 - text), 10, format->bits, &prefix))
		return false;
	host = u128_max(format->bits - (unsigned)prefix);
	if (address & host)
		return false;
	*ret_range = (struct range){ address, address | host };
	return true;
}

bool range_parse(const struct value_format *format, const char *text, size_t length, struct range *ret_range)
{
	const char *slash = memchr(text, '/', length), *dash = memchr(text, '-', length);
	struct range range;

	if (slash)
		return parse_prefix(format, text, length, slash, ret_range);
	if (!value_parse(format, text, dash ? (size_t)(dash - text) : length, &range.lo))
		return false;
	range.hi = range.lo;
	if (dash && !value_parse(format, dash + 1, length - (size_t)(dash + 1 - text), &range.hi))
		return false;
	if (range.lo > range.hi)
		return false;
	*ret_range = range;
	return true;
}
