/* SPDX-License-Identifier: GPL-2.0-only */
/* Values and ranges as IR text shows them: 80, 0x806, 10.0.0.1, fd00::/8, 02:00:00:00:00:01, 8000-8999. */
#ifndef WEIR_IR_VALUE_TEXT_H
#define WEIR_IR_VALUE_TEXT_H

#include "ir/ir.h"

enum { RANGE_TEXT_MAX = 96 };

/* How the values of something are written. */
struct value_format {
	enum field_form form;
	uint8_t bits;
	bool hexadecimal; /* numbers */
	bool prefixes;    /* ranges of addresses that are a prefix are written as one */
};

struct value_format value_format_of(enum field field);

/* The field whose values a set of that type holds; IPv6 addresses are ipv6.src's. */
enum field set_element_field(enum set_type type);

/* Writes a value or a range (one value if both ends are equal); at most RANGE_TEXT_MAX bytes with the NUL. */
void value_print(const struct value_format *format, u128 value, char *buffer);
void range_print(const struct value_format *format, struct range range, char *buffer);

/* Reads what the above write. False if the text is no value, does not fit the bits, or ends before it begins. */
bool value_parse(const struct value_format *format, const char *text, size_t length, u128 *ret_value);
bool range_parse(const struct value_format *format, const char *text, size_t length, struct range *ret_range);

#endif
