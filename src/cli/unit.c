/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What systemd calls a unit: its state, asked from systemctl(1), and the ways to write text in unit files and instance
 * names (systemd.unit(5), "String escaping"; systemd.syntax(7)).
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { OUTPUT_MAX = 65536 };

/* Starts `argv` with its standard output in a pipe; 0 or -errno. */
static int spawn_piped(char *const *argv, pid_t *ret_child, int *ret_fd)
{
	posix_spawn_file_actions_t actions;
	int ends[2], error;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	error = posix_spawnp(ret_child, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (error) {
		close(ends[0]);
		return -error;
	}
	*ret_fd = ends[0];
	return 0;
}

static char *read_output(int fd)
{
	char *text = memory_grow(NULL, OUTPUT_MAX, 1);
	size_t used = 0;
	ssize_t got;

	while (used < OUTPUT_MAX - 1 && ((got = read(fd, text + used, OUTPUT_MAX - 1 - used)) > 0 ||
					 (got < 0 && errno == EINTR)))
		used += got > 0 ? (size_t)got : 0;
	text[used] = '\0';
	return text;
}

int systemctl(struct cli *cli, char *const *arguments, char **ret_output)
{
	int fd = -1, state = 0, error;
	pid_t child;
	char *output;

	error = spawn_piped(arguments, &child, &fd);
	if (error) {
		output_failure(cli, "cannot run %s: %s", arguments[0], strerror(-error));
		return WEIR_SYSTEM;
	}
	output = read_output(fd);
	close(fd);
	while (waitpid(child, &state, 0) < 0 && errno == EINTR)
		;
	if (ret_output && state == 0)
		*ret_output = output;
	else
		free(output);
	if (state == 0)
		return WEIR_OK;
	output_failure(cli, "`%s %s` failed", arguments[0], arguments[1]);
	return WEIR_SYSTEM;
}

/* The value of line `NAME=value`, as a new string; "" if there is none. */
static char *property(const char *output, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = output; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length) && line[length] == '=')
			return text_print("%.*s", (int)strcspn(line + length + 1, "\n"), line + length + 1);
	}
	return text_print("%s", "");
}

int unit_query(struct cli *cli, const char *name, struct unit *ret_unit)
{
	char *arguments[] = { "systemctl", "show", "--property=LoadState,ControlGroup,TriggeredBy", "--",
			      (char *)name, NULL };
	char *output, *load;
	int status = systemctl(cli, arguments, &output);

	if (status)
		return status;
	load = property(output, "LoadState");
	if (strcmp(load, "loaded")) {
		if (!strcmp(load, "not-found"))
			output_failure(cli, "there is no unit %s", name);
		else
			output_failure(cli, "unit %s cannot be used: systemd says `%s`", name, load);
		status = WEIR_INPUT;
	} else {
		*ret_unit = (struct unit){ text_print("%s", name), property(output, "ControlGroup"),
					   property(output, "TriggeredBy") };
	}
	free(load);
	free(output);
	return status;
}

void unit_free(struct unit *unit)
{
	free(unit->name);
	free(unit->cgroup);
	free(unit->triggered_by);
}

char *unit_own_cgroup(void)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[4096], *found = NULL;

	while (file && !found && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "0::/", 4) && strncmp(line, "0::/..", 6))
			found = text_print("%s", line + 3);
	}
	if (file)
		fclose(file);
	return found;
}

char *unit_policy_name(const char *unit)
{
	char *name = text_print("%s%s", isalpha((unsigned char)unit[0]) ? "" : "_", unit);

	for (char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-')
			*c = '_';
	return name;
}

/* One argument of ExecStart= and its like: in double quotes, without specifiers, variables and escapes. */
char *unit_quote(const char *text)
{
	char *quoted = memory_grow(NULL, 2 * strlen(text) + 3, 1), *to = quoted;

	*to++ = '"';
	for (; *text; text++) {
		bool escaped = *text == '"' || *text == '\\' || *text == '\n';

		if (*text == '%' || *text == '$')
			*to++ = *text;
		else if (escaped)
			*to++ = '\\';
		*to++ = *text == '\n' ? 'n' : *text;
	}
	*to++ = '"';
	*to = '\0';
	return quoted;
}

/*
 * As systemd-escape(1) does it, and dots and colons as well: `%i` becomes the name of a pin, and bpffs takes none with a
 * dot.
 */
char *unit_escape(const char *text)
{
	char *name = memory_grow(NULL, 4 * strlen(text) + 1, 1), *to = name;

	for (; *text; text++) {
		if (*text == '/')
			*to++ = '-';
		else if (isalnum((unsigned char)*text) || *text == '_')
			*to++ = *text;
		else
			to += sprintf(to, "\\x%02x", (unsigned char)*text);
	}
	*to = '\0';
	return name;
}
