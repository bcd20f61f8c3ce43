/* SPDX-License-Identifier: GPL-2.0-only */
/* Literals: numbers, addresses, prefixes, MAC addresses and ranges of them, from one word each. */
#ifndef WEIR_LANG_LITERAL_H
#define WEIR_LANG_LITERAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/u128.h"

enum literal_kind { LITERAL_NONE, LITERAL_NUMBER, LITERAL_IPV4, LITERAL_IPV6, LITERAL_MAC };

/* What is wrong with a word that is a literal by its looks. */
enum literal_fault {
	FAULT_NONE,
	FAULT_HOST_BITS,   /* lo, hi: the network that contains the address */
	FAULT_LENGTH,      /* prefix longer than the address */
	FAULT_REVERSED,
	FAULT_MIXED,       /* the ends of the range are of different kinds */
	FAULT_RANGE_PREFIX, /* an end of the range is a prefix */
};

struct literal {
	enum literal_kind kind;
	enum literal_fault fault;
	bool prefix; /* written with a prefix length, */
	uint8_t prefix_length; /* which is this */
	bool range;  /* written as a range */
	u128 lo;
	u128 hi;
};

/* LITERAL_NONE if the word is none. A quick and exact parser: sets may have a million elements. */
struct literal literal_parse(const char *text, size_t length);

/* Parts, all of which must use up the text. */
bool literal_number(const char *text, size_t length, u128 *ret_value);
bool literal_ipv4(const char *text, size_t length, u128 *ret_value);
bool literal_ipv6(const char *text, size_t length, u128 *ret_value);
bool literal_mac(const char *text, size_t length, u128 *ret_value);
/* A decimal or hexadecimal number, then nothing, k, m or g (of 1024). */
bool literal_size(const char *text, size_t length, u128 *ret_value);

/* A time: numbers with units, the greater ones first: 250ms, 30s, 5min, 1h30min, 2d. In nanoseconds. */
bool literal_time(const char *text, size_t length, uint64_t *ret_ns);

/* "10.0.0.0", "fd00::", ... as text for messages; `buffer` of at least LITERAL_TEXT bytes. */
enum { LITERAL_TEXT = 64 };
void literal_print(enum literal_kind kind, u128 value, char *buffer);
const char *literal_kind_name(enum literal_kind kind);

#endif
