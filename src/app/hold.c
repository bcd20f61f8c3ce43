/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process that outlives the command and belongs to nobody: it holds what must stay while the application runs, and
 * ends when that is over. In: the descriptors it keeps and what it does; it has no terminal, and no privileges but
 * those it needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/app.h"

static int ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* A pipe of the caller left open here would keep its reader waiting. */
static void close_others(const int *keep, size_t count)
{
	int sorted[APP_KEEP_MAX + 1];
	unsigned from = 3;

	memcpy(sorted, keep, count * sizeof *keep);
	qsort(sorted, count, sizeof *sorted, ascending);
	for (size_t i = 0; i < count; i++) {
		if ((unsigned)sorted[i] > from)
			close_range(from, (unsigned)sorted[i] - 1, 0);
		from = (unsigned)sorted[i] + 1;
	}
	close_range(from, ~0u, 0);
}

static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (chdir("/"))
		return; /* it keeps a folder busy, no more */
}

static void drop_capabilities(uint32_t but)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct now[2] = { 0 }, kept[2] = { 0 };

	if (!syscall(SYS_capget, &header, now))
		kept[0].permitted = kept[0].effective = now[0].permitted & but;
	syscall(SYS_capset, &header, kept);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	for (int number = 1; number < 32; number++)
		signal(number, SIG_DFL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* keep[0] is the pipe on which the parent waits until all is in order. */
static _Noreturn void become_holder(const struct app_hold *how, const int *keep, size_t count)
{
	prctl(PR_SET_NAME, how->name, 0, 0, 0);
	leave_terminal();
	close_others(keep, count);
	reset_signals();
	drop_capabilities(how->capabilities);
	if (write(keep[0], "", 1) != 1)
		_exit(1);
	close(keep[0]);
	how->hold(keep + 1, how->context);
	_exit(0);
}

/* Forks twice: the holder is nobody's child here, so the application never meets a child that it did not start. */
static int fork_twice(const struct app_hold *how, const int *keep, size_t count)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return -errno;
	if (!child) {
		setsid();
		child = fork();
		if (!child)
			become_holder(how, keep, count);
		_exit(child < 0);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return errno == ECHILD ? 0 : -errno; /* the caller ignores SIGCHLD; the pipe tells */
	return status ? -EAGAIN : 0;
}

int hold_start(struct app *app, const struct app_hold *how, const int *keep, size_t keep_count)
{
	int ready[2], kept[APP_KEEP_MAX + 1], error;
	char byte;

	if (pipe2(ready, O_CLOEXEC))
		return app_fail(app, -errno, "no pipe: %s", strerror(errno));
	kept[0] = ready[1];
	memcpy(kept + 1, keep, keep_count * sizeof *keep);
	error = fork_twice(how, kept, keep_count + 1);
	close(ready[1]);
	while (!error && read(ready[0], &byte, 1) != 1)
		if (errno != EINTR)
			error = -ECHILD;
	close(ready[0]);
	return error ? app_fail(app, error, "%s cannot be started: %s", how->name, strerror(-error)) : 0;
}
