/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets written by hand in tests: hexadecimal text, blanks ignored, printf conversions allowed. */
#ifndef WEIR_TESTS_LIB_BYTES_H
#define WEIR_TESTS_LIB_BYTES_H

#include <stddef.h>

struct bytes {
	unsigned char data[4096];
	size_t length;
};

/* Appends the bytes that the formatted text spells; aborts on anything else. */
void bytes_hex(struct bytes *bytes, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends `count` times the octet. */
void bytes_fill(struct bytes *bytes, unsigned char octet, size_t count);

/* Headers with the rest of the lengths given: Ethernet 02::1 to 02::2; 10.0.0.1 to 10.0.0.2; fd00::1 to fd00::2. */
void bytes_ether(struct bytes *bytes, unsigned type);
void bytes_ipv4(struct bytes *bytes, unsigned total, unsigned fragment, unsigned proto);
void bytes_ipv6(struct bytes *bytes, unsigned payload, unsigned next);
void bytes_tcp(struct bytes *bytes, unsigned sport, unsigned dport, unsigned flags); /* 20 bytes */
void bytes_udp(struct bytes *bytes, unsigned sport, unsigned dport, unsigned length); /* 8 bytes */

#endif
