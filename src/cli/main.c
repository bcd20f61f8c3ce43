/* SPDX-License-Identifier: GPL-2.0-only */
/* Finds the command, parses its options, runs it. */
#include "cli.h"

#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
	&command_check,
	&command_apply,
	&command_confirm,
	&command_list,
	&command_show,
	&command_delete,
	&command_flush,
	&command_rule,
	&command_set,
	&command_tune,
	&command_top,
	&command_flows,
	&command_log,
	&command_capture,
	&command_metrics,
	&command_doctor,
	&command_test,
	&command_explain,
	&command_diff,
	&command_bench,
	&command_compile,
	&command_verify,
	&command_load,
	&command_knock,
	&command_run,
	&command_attach,
	&command_detach,
	&command_systemd,
	&command_enable,
	&command_disable,
	&command_refresh,
	&command_preset,
	&command_import,
	&command_version,
	&command_help,
};

static const char *const not_yet[] = {
	"ip6tables",
	"ip6tables-restore",
	"ip6tables-save",
	"iptables",
	"iptables-restore",
	"iptables-save",
	"knock",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct command *command_at(size_t index)
{
	return index < COUNT(commands) ? commands[index] : NULL;
}

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

int command_unknown(const char *name)
{
	const char *names[COUNT(commands)], *nearest;

	for (size_t i = 0; i < COUNT(not_yet); i++) {
		if (strcmp(not_yet[i], name))
			continue;
		fprintf(stderr, "weir: `%s` is not supported yet\n", name);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < COUNT(commands); i++)
		names[i] = commands[i]->name;
	nearest = word_nearest(name, names, COUNT(names));
	if (nearest)
		fprintf(stderr, "weir: unknown command `%s`; did you mean `%s`?\n", name, nearest);
	else
		fprintf(stderr, "weir: unknown command `%s`; `weir help` lists them\n", name);
	return EXIT_USAGE;
}

static int run(struct cli *cli)
{
	int status;

	if (cli->set.help) {
		options_help(cli->command, stdout);
		return output_flush(EXIT_DONE);
	}
	cli->weir = weir_new();
	if (!cli->weir) {
		fputs("weir: out of memory\n", stderr);
		return EXIT_SYSTEM;
	}
	status = cli->command->run(cli);
	json_decref(cli->diagnostics);
	free(cli->set.listen.items);
	free(cli->set.filters.items);
	free(cli->set.allow.items);
	weir_free(cli->weir);
	return status;
}

/* The options that stand for a command. */
static const char *command_name(const char *word)
{
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		return "help";
	return !strcmp(word, "--version") ? "version" : word;
}

/* Files opened later must not become standard output by having its number. */
static void open_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct cli cli = { 0 };
	int status;

	open_standard_streams();
	setlocale(LC_CTYPE, "");
	if (argc < 2) {
		fputs("usage: weir COMMAND [OPTION]... [ARGUMENT]...\n`weir help` lists the commands\n", stderr);
		return EXIT_USAGE;
	}
	cli.command = command_find(command_name(argv[1]));
	if (!cli.command)
		return command_unknown(argv[1]);
	status = options_parse(&cli, argc - 2, argv + 2);
	return status ? status : run(&cli);
}
