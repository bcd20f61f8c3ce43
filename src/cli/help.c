/* SPDX-License-Identifier: GPL-2.0-only */
/* weir help, weir version. */
#include <string.h>
#include <sys/utsname.h>

#include "cli.h"

static void list_commands(void)
{
	const struct command *command;

	printf("usage: weir COMMAND [OPTION]... [ARGUMENT]...\n\nweir compiles firewall policies to eBPF.\n\n");
	for (size_t i = 0; (command = command_at(i)); i++)
		printf("  %-10s %s\n", command->name, command->summary);
	printf("\n`weir help COMMAND` says more; so do weir(1), and weir.policy(5) for the language.\n");
}

static json_t *json_commands(void)
{
	const struct command *command;
	json_t *array = json_array();

	for (size_t i = 0; (command = command_at(i)); i++) {
		json_t *object = json_object();

		json_object_set_new(object, "name", json_string(command->name));
		json_object_set_new(object, "synopsis", json_string(command->synopsis));
		json_object_set_new(object, "summary", json_string(command->summary));
		json_array_append_new(array, object);
	}
	return array;
}

static int help(struct cli *cli)
{
	const struct command *command = cli->operand_count ? command_find(cli->operands[0]) : NULL;
	json_t *object = NULL;

	if (cli->operand_count && !command)
		return command_unknown(cli->operands[0]);
	if (cli->set.json)
		object = json_pack("{s:o}", "commands", json_commands());
	else if (command)
		options_help(command, stdout);
	else
		list_commands();
	return output_finish(cli, WEIR_OK, object);
}

const struct command command_help = {
	.name = "help",
	.synopsis = "[COMMAND]",
	.summary = "List the commands, or explain one",
	.most = 1,
	.run = help,
};

static json_t *json_features(const struct weir_feature *features, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *object = json_object();

		json_object_set_new(object, "name", json_text(features[i].name));
		json_object_set_new(object, "there", json_boolean(features[i].there));
		json_object_set_new(object, "since", json_text(features[i].since));
		json_array_append_new(array, object);
	}
	return array;
}

static void print_features(const struct weir_feature *features, size_t count)
{
	struct utsname kernel;

	if (!uname(&kernel))
		printf("%s %s\n", kernel.sysname, kernel.release);
	for (size_t i = 0; i < count; i++)
		printf("  %-32s %-3s  (since %s)\n", features[i].name, features[i].there ? "yes" : "no",
		       features[i].since);
}

static int version(struct cli *cli)
{
	const struct weir_feature *features = NULL;
	json_t *object = NULL;
	size_t count = 0;
	int status = WEIR_OK;

	if (cli->set.verbose) {
		status = weir_features(cli->weir, &features, &count);
		output_diagnostics(cli);
	}
	if (cli->set.json) {
		object = json_pack("{s:s}", "version", weir_version());
		if (features)
			json_object_set_new(object, "features", json_features(features, count));
		return output_finish(cli, status, object);
	}
	printf("weir %s\n", weir_version());
	if (features)
		print_features(features, count);
	return output_finish(cli, status, NULL);
}

static const struct option version_options[] = {
	FLAG("verbose", 'v', verbose, "also what weir needs of the kernel, and whether it is there (root)"),
};

const struct command command_version = {
	.name = "version",
	.synopsis = "",
	.summary = "Show the version",
	OPTIONS(version_options),
	.run = version,
};
