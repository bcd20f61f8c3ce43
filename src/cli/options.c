/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: the arguments behind the command's name and its option table. Out: struct settings and the operands. Fails with
 * EXIT_USAGE and a message. Options and operands may be mixed; `--` ends the options.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const struct option common_options[] = {
	FLAG("json", 0, json, "print JSON"),
	FLAG("help", 'h', help, "explain this command"),
};

enum { COMMON_COUNT = sizeof common_options / sizeof common_options[0], WORD_MAX = 32 };

static const struct option *option_at(const struct command *command, size_t index)
{
	if (index < command->option_count)
		return &command->options[index];
	index -= command->option_count;
	return index < COMMON_COUNT ? &common_options[index] : NULL;
}

static const struct option *by_name(const struct command *command, const char *name, size_t length)
{
	const struct option *option;

	for (size_t i = 0; (option = option_at(command, i)); i++)
		if (strlen(option->name) == length && !memcmp(option->name, name, length))
			return option;
	return NULL;
}

static const struct option *by_letter(const struct command *command, char letter)
{
	const struct option *option;

	for (size_t i = 0; (option = option_at(command, i)); i++)
		if (option->letter == letter)
			return option;
	return NULL;
}

/* Edit distance of words up to WORD_MAX, row by row. */
static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], a_length = strlen(a), b_length = strlen(b);

	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_length];
}

int operation_unknown(struct cli *cli, const char *const *names, size_t count)
{
	const char *nearest = word_nearest(cli->operands[0], names, count);

	return usage_error(cli->command, "unknown operation `%s`%s%s%s", cli->operands[0],
			   nearest ? "; did you mean `" : "", nearest ? nearest : "", nearest ? "`?" : "");
}

const char *word_nearest(const char *word, const char *const *candidates, size_t count)
{
	size_t nearest = strlen(word) / 3 + 2;
	const char *found = NULL;

	if (!*word || strlen(word) > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t d = strlen(candidates[i]) > WORD_MAX ? nearest : distance(word, candidates[i]);

		if (d < nearest) {
			nearest = d;
			found = candidates[i];
		}
	}
	return found;
}

static int unknown_option(const struct command *command, const char *dashes, const char *name, size_t length)
{
	const char *names[32], *nearest = NULL;
	char word[WORD_MAX + 1] = "";
	size_t count = 0;

	for (const struct option *option; count < 32 && (option = option_at(command, count)); count++)
		names[count] = option->name;
	if (length > 1 && length <= WORD_MAX) {
		memcpy(word, name, length);
		nearest = word_nearest(word, names, count);
	}
	if (nearest)
		return usage_error(command, "unknown option `%s%.*s`; did you mean `--%s`?", dashes, (int)length,
				   name, nearest);
	return usage_error(command, "unknown option `%s%.*s`", dashes, (int)length, name);
}

static int set_number(const struct command *command, const struct option *option, const char *value, uint64_t *ret)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || errno || number < option->least || number > option->most)
		return usage_error(command, "`--%s` needs a number from %llu to %llu, not `%s`", option->name,
				   (unsigned long long)option->least, (unsigned long long)option->most, value);
	*ret = number;
	return 0;
}

static void add_text(struct texts *texts, const char *value)
{
	texts->items = memory_grow(texts->items, texts->count + 1, sizeof *texts->items);
	texts->items[texts->count++] = value;
}

static int set_value(struct cli *cli, const struct option *option, const char *value)
{
	void *member = (char *)&cli->set + option->offset;

	if (option->kind == OPTION_TEXTS) {
		add_text(member, value);
		return 0;
	}
	if (option->kind == OPTION_NUMBER)
		return set_number(cli->command, option, value, member);
	*(const char **)member = value;
	return 0;
}

static void set_flag(struct cli *cli, const struct option *option)
{
	*(bool *)((char *)&cli->set + option->offset) = true;
}

/* `argument` without its dashes: name, or name=value; `next` is the following argument. Counts those used up. */
static int long_option(struct cli *cli, const char *argument, const char *next, int *used)
{
	size_t length = strcspn(argument, "=");
	const struct option *option = by_name(cli->command, argument, length);

	if (!option)
		return unknown_option(cli->command, "--", argument, length);
	if (option->kind == OPTION_FLAG) {
		if (argument[length])
			return usage_error(cli->command, "`--%s` takes no value", option->name);
		set_flag(cli, option);
		return 0;
	}
	if (argument[length])
		return set_value(cli, option, argument + length + 1);
	if (!next)
		return usage_error(cli->command, "`--%s` needs %s", option->name, option->value);
	*used = 2;
	return set_value(cli, option, next);
}

/* `argument` without its dash: flags in a row, the last of which may be an option with a value. */
static int short_options(struct cli *cli, const char *argument, const char *next, int *used)
{
	for (const char *letter = argument; *letter; letter++) {
		const struct option *option = by_letter(cli->command, *letter);

		if (!option)
			return unknown_option(cli->command, "-", letter, 1);
		if (option->kind == OPTION_FLAG) {
			set_flag(cli, option);
			continue;
		}
		if (letter[1])
			return set_value(cli, option, letter + 1);
		if (!next)
			return usage_error(cli->command, "`-%c` needs %s", *letter, option->value);
		*used = 2;
		return set_value(cli, option, next);
	}
	return 0;
}

static int check_operands(const struct cli *cli)
{
	const struct command *command = cli->command;

	if (cli->operand_count > command->most)
		return usage_error(command, "unexpected argument `%s`", cli->operands[command->most]);
	if (cli->operand_count < command->least)
		return usage_error(command, "an argument is missing");
	return 0;
}

int options_parse(struct cli *cli, int argc, char **argv)
{
	bool options = true;

	cli->operands = argv;
	for (int i = 0; i < argc;) {
		char *argument = argv[i];
		int used = 1, error = 0;

		if (!options || argument[0] != '-' || !argument[1]) {
			cli->operands[cli->operand_count++] = argument;
			options = options && !cli->command->command;
		} else if (argument[1] != '-')
			error = short_options(cli, argument + 1, i + 1 < argc ? argv[i + 1] : NULL, &used);
		else if (argument[2])
			error = long_option(cli, argument + 2, i + 1 < argc ? argv[i + 1] : NULL, &used);
		else
			options = false;
		if (error)
			return error;
		i += used;
	}
	cli->operands[cli->operand_count] = NULL; /* a command's argv ends so */
	return cli->set.help ? 0 : check_operands(cli);
}

static void print_option(const struct option *option, FILE *stream)
{
	char left[64], letter[8] = "    ";

	if (option->letter)
		snprintf(letter, sizeof letter, "-%c, ", option->letter);
	snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->value ? " " : "",
		 option->value ? option->value : "");
	fprintf(stream, "  %-24s %s\n", left, option->help);
}

static void print_usage(const struct command *command, FILE *stream)
{
	fprintf(stream, "usage: weir %s%s%s%s\n", command->name, command->option_count ? " [OPTION]..." : "",
		command->synopsis[0] ? " " : "", command->synopsis);
}

void options_help(const struct command *command, FILE *stream)
{
	const struct option *option;

	print_usage(command, stream);
	fprintf(stream, "\n%s.\n", command->summary);
	if (command->help)
		fprintf(stream, "\n%s\n", command->help);
	fputs("\n", stream);
	for (size_t i = 0; (option = option_at(command, i)); i++)
		print_option(option, stream);
}

int usage_error(const struct command *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "weir %s: ", command->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\n", stderr);
	print_usage(command, stderr);
	fprintf(stderr, "`weir help %s` says more\n", command->name);
	return EXIT_USAGE;
}
