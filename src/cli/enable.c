/* SPDX-License-Identifier: GPL-2.0-only */
/* weir enable, weir disable: policies at boot, by instances of weir@.service over files in /etc/weir. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define POLICY_FOLDER "/etc/weir"
#define SUFFIX ".weir"

/* "web" of "web", "web.weir" or "/home/a/web.weir"; to be freed. */
static char *instance_name(const char *operand)
{
	const char *last = strrchr(operand, '/');
	char *name = text_print("%s", last ? last + 1 : operand);
	size_t length = strlen(name);

	if (length > strlen(SUFFIX) && !strcmp(name + length - strlen(SUFFIX), SUFFIX))
		name[length - strlen(SUFFIX)] = '\0';
	return name;
}

static bool good_name(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_-.", *c))
			return false;
	return *name != '\0' && *name != '.';
}

/* The policies as they will be compiled at boot: includes start where the file will be. */
static int check_text(struct cli *cli, const char *path, const char *text, size_t length)
{
	struct weir_program *program;
	int status = weir_compile_text(cli->weir, path, text, length, &program);

	output_diagnostics(cli);
	if (!status)
		weir_program_free(program);
	return status;
}

/* Puts the text at `path`, unless it is there. Something else there is only replaced with --force. */
static int put_text(struct cli *cli, const char *path, const char *text)
{
	char *there = NULL;
	size_t length;
	int error = input_read(path, &there, &length);
	bool same = !error && !strcmp(there, text);

	free(there);
	if (same)
		return WEIR_OK;
	if (!error && !cli->set.force) {
		output_failure(cli, "%s is there already and differs; `--force` replaces it", path);
		return WEIR_INPUT;
	}
	if (mkdir(POLICY_FOLDER, 0755) && errno != EEXIST)
		error = -errno;
	else
		error = file_replace(path, text, strlen(text));
	if (!error)
		return WEIR_OK;
	output_failure(cli, "cannot write %s: %s", path, strerror(-error));
	return WEIR_SYSTEM;
}

static int install_file(struct cli *cli, const char *path)
{
	const char *operand = cli->operands[0], *from = strpbrk(operand, "/.") ? operand : path;
	char *text;
	size_t length;
	int status, error = input_read(from, &text, &length);

	if (error) {
		output_failure(cli, "cannot read %s: %s", from, strerror(-error));
		return WEIR_INPUT;
	}
	status = check_text(cli, path, text, length);
	if (!status)
		status = put_text(cli, path, text);
	free(text);
	return status;
}

static int enable_instance(struct cli *cli, const char *verb, const char *name)
{
	char *unit = text_print("weir@%s.service", name);
	char *arguments[] = { "systemctl", (char *)verb, "--quiet", "--", unit, NULL };
	int status = systemctl(cli, arguments, NULL);

	free(unit);
	return status;
}

static int check_name(struct cli *cli, const char *name)
{
	if (good_name(name))
		return WEIR_OK;
	output_failure(cli, "`%s` is no name for a unit: letters, digits, `_`, `-` and `.` only", name);
	return WEIR_INPUT;
}

static int enable(struct cli *cli)
{
	char *name = instance_name(cli->operands[0]), *path = text_print(POLICY_FOLDER "/%s" SUFFIX, name);
	json_t *object = NULL;
	int status = check_name(cli, name);

	if (!status)
		status = install_file(cli, path);
	if (!status)
		status = enable_instance(cli, "enable", name);
	if (!status && cli->set.json)
		object = json_pack("{s:o, s:s+}", "file", json_text(path), "unit", "weir@", name);
	else if (!status)
		printf("%s: in force from the next boot on; `systemctl start weir@%s` is for now\n", path, name);
	free(name);
	free(path);
	return output_finish(cli, status, object);
}

static int disable(struct cli *cli)
{
	char *name = instance_name(cli->operands[0]);
	int status = check_name(cli, name);

	if (!status)
		status = enable_instance(cli, "disable", name);
	if (!status && !cli->set.json)
		printf(POLICY_FOLDER "/%s" SUFFIX ": not in force at boot any more; what is in force stays\n", name);
	free(name);
	return output_finish(cli, status, NULL);
}

static const struct option enable_options[] = {
	FLAG("force", 0, force, "replace another file of that name in " POLICY_FOLDER),
};

const struct command command_enable = {
	.name = "enable",
	.synopsis = "FILE | NAME",
	.summary = "Put a file's policies in force at every boot",
	.help = "FILE is copied to " POLICY_FOLDER "/NAME" SUFFIX ", and weir@NAME.service applies it before there is a\n"
		"network. NAME stands for a file that is there.",
	OPTIONS(enable_options),
	.least = 1,
	.most = 1,
	.run = enable,
};

const struct command command_disable = {
	.name = "disable",
	.synopsis = "FILE | NAME",
	.summary = "No longer put a file's policies in force at boot",
	.least = 1,
	.most = 1,
	.run = disable,
};
