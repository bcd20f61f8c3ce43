/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: the argument that is a policy file or a filter expression. Out: a compiled program. An argument with a slash or
 * ending in .weir is a path, `-` standard input, anything else an expression; -e EXPR always is one.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_path(const char *text)
{
	size_t length = strlen(text);

	return !strcmp(text, "-") || strchr(text, '/') || (length > 5 && !strcmp(text + length - 5, ".weir"));
}

int input_choose(struct cli *cli, enum input_kind *ret_kind, const char **ret_text)
{
	if (cli->set.expression && cli->operand_count)
		return usage_error(cli->command, "`-e` and `%s` at once", cli->operands[0]);
	if (!cli->set.expression && !cli->operand_count)
		return usage_error(cli->command, "a policy file or an expression is missing");
	*ret_text = cli->set.expression ? cli->set.expression : cli->operands[0];
	*ret_kind = !cli->set.expression && is_path(*ret_text) ? INPUT_FILE : INPUT_EXPRESSION;
	return 0;
}

const char *input_name(enum input_kind kind, const char *text)
{
	if (kind == INPUT_EXPRESSION)
		return "expression";
	return strcmp(text, "-") ? text : "standard input";
}

/* An argument that was taken for the other thing; only a hint, for what it means is fixed. */
static void hint(const struct cli *cli, enum input_kind kind, const char *text)
{
	if (cli->set.json || cli->set.expression)
		return;
	if (kind == INPUT_EXPRESSION && !access(text, F_OK))
		fprintf(stderr, "weir: `%s` was taken for an expression; for the file of that name write `./%s`\n",
			text, text);
	if (kind == INPUT_FILE && strpbrk(text, " {=<>!") && access(text, F_OK))
		fprintf(stderr, "weir: an argument with a `/` is a path; for an expression write `-e '%s'`\n", text);
}

int input_compile(struct cli *cli, enum input_kind kind, const char *text, struct weir_program **ret_program)
{
	int status;

	if (kind == INPUT_FILE)
		status = weir_compile_file(cli->weir, text, ret_program);
	else
		status = weir_compile_expression(cli->weir, text, ret_program);
	if (status == WEIR_INPUT)
		hint(cli, kind, text);
	return status;
}

int input_program(struct cli *cli, struct weir_program **ret_program)
{
	enum input_kind kind;
	const char *text;
	int status = input_choose(cli, &kind, &text);

	if (status)
		return status;
	status = input_compile(cli, kind, text, ret_program);
	output_diagnostics(cli);
	return status ? output_finish(cli, status, NULL) : 0;
}

static int read_all(int fd, char **ret_text, size_t *ret_length)
{
	size_t length = 0, room = 0;
	char *text = NULL;
	ssize_t got;

	do {
		if (room - length < 4096) {
			room = room ? room * 2 : 65536;
			text = memory_grow(text, room, 1);
		}
		got = read(fd, text + length, room - length - 1);
		if (got > 0)
			length += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	if (got < 0) {
		int error = -errno;

		free(text);
		return error;
	}
	text[length] = '\0';
	*ret_text = text;
	*ret_length = length;
	return 0;
}

int input_read(const char *path, char **ret_text, size_t *ret_length)
{
	int fd, error;

	if (!strcmp(path, "-"))
		return read_all(STDIN_FILENO, ret_text, ret_length);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = read_all(fd, ret_text, ret_length);
	close(fd);
	return error;
}
