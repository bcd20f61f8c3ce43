/* SPDX-License-Identifier: GPL-2.0-only */
/* Tokens, and where words end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lang/lexer.h"

struct lexing {
	struct arena *arena;
	struct source source;
	struct tokens tokens;
	struct diags *diags;
};

static int work(void *context)
{
	struct lexing *lexing = context;

	lexing->diags = diags_new(lexing->arena);
	lexing->tokens = lexer_run(lexing->arena, &lexing->source, lexing->diags);
	return 0;
}

/* The tokens' texts, each followed by a blank; newlines as "/". */
static void check(const char *text, const char *expected, unsigned errors)
{
	struct lexing lexing = { .arena = arena_new(), .source = { "t", text, strlen(text) } };
	char got[1024] = "";

	assert_int_equal(arena_run(lexing.arena, work, &lexing), 0);
	for (size_t i = 0; i + 1 < lexing.tokens.count; i++) {
		const struct token *token = &lexing.tokens.items[i];

		if (token->kind == TOKEN_NEWLINE)
			strcat(got, "/");
		else
			strncat(got, text + token->offset, token->length);
		strcat(got, " ");
	}
	assert_string_equal(got, expected);
	assert_int_equal(lexing.tokens.items[lexing.tokens.count - 1].kind, TOKEN_END);
	assert_int_equal(lexing.diags->errors, errors);
	arena_free(lexing.arena);
}

static void words(void **state)
{
	(void)state;
	check("host-unreachable tcp.dst_port veth* 10.0.0.0/8", "host-unreachable tcp.dst_port veth* 10.0.0.0/8 ", 0);
	check("fd00::/8 ::1 :: 02:00:00:00:00:01", "fd00::/8 ::1 :: 02:00:00:00:00:01 ", 0);
	check("fd00::1-fd00::9 80-90 -100 10/s", "fd00::1-fd00::9 80-90 -100 10/s ", 0);
	check("/system.slice/user@1000.service", "/system.slice/user@1000.service ", 0);
	check("", "", 0);
}

static void colons(void **state)
{
	(void)state;
	check("set blocked:prefix", "set blocked : prefix ", 0);
	check("set blocked: prefix", "set blocked : prefix ", 0);
	check("set bad:address", "set bad : address ", 0);
	check("set bad : address", "set bad : address ", 0);
}

static void operators(void **state)
{
	(void)state;
	check("a&&b||!c", "a && b || ! c ", 0);
	check("a==b!=c<=d>=e<f>g=h", "a == b != c <= d >= e < f > g = h ", 0);
	check("tcp.flags&(syn|ack)==syn", "tcp.flags & ( syn | ack ) == syn ", 0);
	check("{80,443}~", "{ 80 , 443 } ~ ", 0);
}

static void comments_and_lines(void **state)
{
	(void)state;
	check("a # b { \"\nc\r\n#\n", "a / c / / ", 0);
	check("# only", "", 0);
}

static void strings(void **state)
{
	(void)state;
	check("\"a b\" \"\\\"\" \"\\\\\"", "\"a b\" \"\\\"\" \"\\\\\" ", 0);
	check("\"a", "\"a ", 1);
	check("\"a\\", "\"a\\ ", 1);
	check("\"a\nb", "\"a / b ", 1);
}

static void trouble(void **state)
{
	(void)state;
	check("$ a", "$ a ", 1);
	check("$$$$ a", "$$$$ a ", 1);
	check("a - b", "a - b ", 1);
	check("\x80\xff", "\x80 \xff ", 2);
	check("\xe2\x80", "\xe2\x80 ", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words), cmocka_unit_test(colons), cmocka_unit_test(operators),
		cmocka_unit_test(comments_and_lines), cmocka_unit_test(strings), cmocka_unit_test(trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
