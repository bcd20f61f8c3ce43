/* SPDX-License-Identifier: GPL-2.0-only */
/* The words of IR text: reader.h says what each takes and how it fails. */
#include "ir/reader.h"

#include <string.h>

#include "ir/value_text.h"

const char *const reader_verdicts[3] = { "accept", "drop", "reject" };

bool reader_fail(struct reader *reader, struct text_token token, const char *text)
{
	if (token.kind != TEXT_ERROR)
		diag_error(reader->diags, token.span, "%s", text);
	return false;
}

/* --- tokens --------------------------------------------------------------------------------------------------- */

struct text_token reader_take(struct reader *reader)
{
	struct text_token token = reader->token;

	if (token.kind != TEXT_ERROR)
		reader->token = text_token_next(reader->arena, reader->source, &reader->offset, reader->diags);
	return token;
}

bool reader_at_sign(const struct reader *reader, char sign)
{
	return reader->token.kind == TEXT_SIGN && *reader->token.text == sign;
}

bool reader_token_is(struct text_token token, const char *word)
{
	return token.kind == TEXT_WORD && strlen(word) == token.length && !memcmp(token.text, word, token.length);
}

bool reader_accept_sign(struct reader *reader, char sign)
{
	if (!reader_at_sign(reader, sign))
		return false;
	reader_take(reader);
	return true;
}

bool reader_accept_word(struct reader *reader, const char *word)
{
	if (!reader_token_is(reader->token, word))
		return false;
	reader_take(reader);
	return true;
}

bool reader_expect_sign(struct reader *reader, char sign)
{
	if (reader_accept_sign(reader, sign))
		return true;
	return reader_fail(reader, reader->token, arena_printf(reader->arena, "expected `%c`", sign));
}

bool reader_expect_string(struct reader *reader, const char *what, const char **ret_text)
{
	struct text_token token = reader_take(reader);

	if (token.kind != TEXT_STRING)
		return reader_fail(reader, token, arena_printf(reader->arena, "expected %s in quotes", what));
	*ret_text = token.text;
	return true;
}

bool reader_expect_number(struct reader *reader, unsigned bits, uint64_t *ret_number)
{
	const struct value_format format = { .form = FORM_NUMBER, .bits = (uint8_t)bits };
	struct text_token token = reader_take(reader);
	u128 value;

	if (token.kind != TEXT_WORD || !value_parse(&format, token.text, token.length, &value))
		return reader_fail(reader, token, arena_printf(reader->arena, "expected a number of %u bits", bits));
	*ret_number = u128_lo(value);
	return true;
}

bool reader_expect_number32(struct reader *reader, uint32_t *ret_number)
{
	uint64_t number;

	if (!reader_expect_number(reader, 32, &number))
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

bool reader_expect_name(struct reader *reader, const char *what, const char *const *names, size_t count,
			unsigned *ret_index)
{
	struct text_token token = reader_take(reader);

	for (unsigned i = 0; i < count; i++) {
		if (reader_token_is(token, names[i])) {
			*ret_index = i;
			return true;
		}
	}
	return reader_fail(reader, token, arena_printf(reader->arena, "expected %s", what));
}

/* --- ranges --------------------------------------------------------------------------------------------------- */

bool reader_expect_range(struct reader *reader, enum field field, struct range *ret_range)
{
	struct value_format format = value_format_of(field);
	struct text_token token = reader_take(reader);

	if (token.kind != TEXT_WORD || !range_parse(&format, token.text, token.length, ret_range))
		return reader_fail(reader, token,
				   arena_printf(reader->arena, "expected a value or range of %s",
						field_table[field].name));
	return true;
}

bool reader_expect_value(struct reader *reader, enum field field, u128 *ret_value)
{
	struct value_format format = value_format_of(field);
	struct text_token token = reader_take(reader);

	if (token.kind != TEXT_WORD || !value_parse(&format, token.text, token.length, ret_value))
		return reader_fail(reader, token,
				   arena_printf(reader->arena, "expected a value of %s", field_table[field].name));
	return true;
}
