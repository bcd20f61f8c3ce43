/* SPDX-License-Identifier: GPL-2.0-only */
/* weir attach, weir detach: the filter on a socket of a running process. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int take_number(struct cli *cli, const char *text, const char *what, int *ret_number)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || number > INT32_MAX)
		return usage_error(cli->command, "`%s` is no %s", text, what);
	*ret_number = (int)number;
	return 0;
}

/* A duplicate of the process's descriptor; weir_status. */
static int take_descriptor(struct cli *cli, int pid, int fd, int *ret_fd)
{
	int process = (int)syscall(SYS_pidfd_open, pid, 0), taken = -1, error = errno;

	if (process < 0) {
		output_failure(cli, "there is no process %d: %s", pid, strerror(error));
		return error == ESRCH || error == EINVAL ? WEIR_INPUT : WEIR_SYSTEM;
	}
	taken = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
	error = errno;
	close(process);
	if (taken >= 0) {
		*ret_fd = taken;
		return WEIR_OK;
	}
	if (error == EBADF)
		output_failure(cli, "process %d has no descriptor %d", pid, fd);
	else if (error == EPERM)
		output_failure(cli, "the sockets of process %d are not yours to change: it is another user's, or has "
				    "privileges", pid);
	else
		output_failure(cli, "descriptor %d of process %d: %s", fd, pid, strerror(error));
	return error == EBADF ? WEIR_INPUT : WEIR_SYSTEM;
}

/* PID and FD of the operands; an exit status, or 0. */
static int take_socket(struct cli *cli, int *ret_fd)
{
	int pid, fd, status = take_number(cli, cli->operands[0], "process id", &pid);

	if (!status)
		status = take_number(cli, cli->operands[1], "descriptor", &fd);
	if (status)
		return status;
	status = take_descriptor(cli, pid, fd, ret_fd);
	return status ? output_finish(cli, status, NULL) : 0;
}

static int make_filter(struct cli *cli, struct weir_filter **ret_filter)
{
	const char *text = cli->set.expression ? cli->set.expression
			 : cli->operand_count > 2 ? cli->operands[2] : NULL;
	size_t length = text ? strlen(text) : 0;
	bool file = text && !cli->set.expression &&
		    (strchr("/.", text[0]) || (length > 5 && !strcmp(text + length - 5, ".weir")));
	int status;

	if (!text)
		status = weir_filter_pinned(cli->weir, cli->set.pinned, ret_filter);
	else if (file)
		status = weir_filter_compile_file(cli->weir, text, cli->set.policy, ret_filter);
	else
		status = weir_filter_compile(cli->weir, text, ret_filter);
	output_diagnostics(cli);
	return status;
}

static int attach_to(struct cli *cli, int fd, enum weir_backend backend, json_t **ret_object)
{
	struct weir_filter *filter;
	const char *how;
	int status = make_filter(cli, &filter);

	if (status)
		return status;
	status = weir_filter_choose(cli->weir, filter, backend, cli->set.pinned);
	if (!status)
		status = weir_filter_attach(cli->weir, filter, fd);
	if (status || weir_diagnostic_count(cli->weir))
		output_diagnostics(cli);
	how = weir_backend_name(weir_filter_backend(filter));
	if (!status && cli->set.lock) {
		status = weir_filter_lock(cli->weir, fd);
		output_diagnostics(cli);
	}
	if (!status && cli->set.json)
		*ret_object = json_pack("{s:s}", "backend", how);
	else if (!status)
		printf("filtered by %s\n", how);
	weir_filter_free(filter);
	return status;
}

static int attach(struct cli *cli)
{
	enum weir_backend backend;
	json_t *object = NULL;
	int fd, status;

	if (cli->operand_count > 2 && cli->set.expression)
		return usage_error(cli->command, "`-e` and `%s` at once", cli->operands[2]);
	if (cli->operand_count < 3 && !cli->set.expression && !cli->set.pinned)
		return usage_error(cli->command, "a filter is missing");
	status = backend_choose(cli, &backend);
	if (!status)
		status = take_socket(cli, &fd);
	if (status)
		return status;
	status = attach_to(cli, fd, backend, &object);
	close(fd);
	return output_finish(cli, status, object);
}

static int detach(struct cli *cli)
{
	int fd, status = take_socket(cli, &fd);

	if (status)
		return status;
	status = weir_filter_detach(cli->weir, fd);
	output_diagnostics(cli);
	close(fd);
	return output_finish(cli, status, NULL);
}

static const struct option attach_options[] = {
	TEXT("expression", 'e', "EXPR", expression, "the filter as an expression"),
	TEXT("policy", 0, "NAME", policy, "which policy of the file"),
	TEXT("backend", 0, "NAME", backend, "auto, ebpf, pinned or cbpf"),
	TEXT("pinned", 0, "PATH", pinned, "a program that `weir load` pinned for sockets, as the filter"),
	FLAG("lock", 0, lock, "the filter stays as long as the socket"),
};

const struct command command_attach = {
	.name = "attach",
	.synopsis = "PID FD [EXPR | FILE]",
	.summary = "Put a filter on a socket of a running process",
	.help = "For processes of the same user, or as root. The descriptors are in /proc/PID/fd.",
	OPTIONS(attach_options),
	.least = 2,
	.most = 3,
	.run = attach,
};

const struct command command_detach = {
	.name = "detach",
	.synopsis = "PID FD",
	.summary = "Take the filter off a socket of a running process",
	.least = 2,
	.most = 2,
	.run = detach,
};
