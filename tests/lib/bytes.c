/* SPDX-License-Identifier: GPL-2.0-only */
/* Hand-made packets: bytes.h says what each call appends. Anything wrong aborts: it is a mistake of the test. */
#include "tests/lib/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(struct bytes *bytes, unsigned char octet)
{
	if (bytes->length == sizeof bytes->data)
		abort();
	bytes->data[bytes->length++] = octet;
}

static int digit(char c)
{
	const char *digits = "0123456789abcdef", *at = strchr(digits, c);

	if (!c || !at)
		abort();
	return (int)(at - digits);
}

void bytes_hex(struct bytes *bytes, const char *format, ...)
{
	char text[4096];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= sizeof text)
		abort();
	for (const char *at = text; *at; at++) {
		if (*at == ' ')
			continue;
		append(bytes, (unsigned char)(digit(at[0]) << 4 | digit(at[1])));
		at++;
	}
}

void bytes_fill(struct bytes *bytes, unsigned char octet, size_t count)
{
	while (count--)
		append(bytes, octet);
}

void bytes_ether(struct bytes *bytes, unsigned type)
{
	bytes_hex(bytes, "020000000002 020000000001 %04x", type);
}

void bytes_ipv4(struct bytes *bytes, unsigned total, unsigned fragment, unsigned proto)
{
	bytes_hex(bytes, "45 00 %04x 0001 %04x 40 %02x 0000 0a000001 0a000002", total, fragment, proto);
}

void bytes_ipv6(struct bytes *bytes, unsigned payload, unsigned next)
{
	bytes_hex(bytes, "60000000 %04x %02x 40", payload, next);
	bytes_hex(bytes, "fd00 0000 0000 0000 0000 0000 0000 0001 fd00 0000 0000 0000 0000 0000 0000 0002");
}

void bytes_tcp(struct bytes *bytes, unsigned sport, unsigned dport, unsigned flags)
{
	bytes_hex(bytes, "%04x %04x 00000001 00000000 50 %02x 2000 0000 0000", sport, dport, flags);
}

void bytes_udp(struct bytes *bytes, unsigned sport, unsigned dport, unsigned length)
{
	bytes_hex(bytes, "%04x %04x %04x 0000", sport, dport, length);
}
