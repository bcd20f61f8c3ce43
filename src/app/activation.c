/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket activation protocol (sd_listen_fds(3)), both ways: sockets that were passed to us, from descriptor 3 on
 * with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES, and the same for the application.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"

static bool parse_number(const char *text, unsigned long most, unsigned long *ret_number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret_number = strtoul(text, &end, 10);
	return !*end && !errno && *ret_number <= most;
}

int activation_count(struct app *app, size_t *ret_count)
{
	const char *count_text = getenv("LISTEN_FDS"), *pid_text = getenv("LISTEN_PID");
	unsigned long count = 0, pid = 0;

	*ret_count = 0;
	if (!count_text || !pid_text)
		return 0;
	if (!parse_number(pid_text, INT32_MAX, &pid))
		return app_fail(app, -EINVAL, "LISTEN_PID is `%.20s`, no process", pid_text);
	if (pid != (unsigned long)getpid()) /* for a process before us that did not clean up */
		return 0;
	if (!parse_number(count_text, APP_SOCKETS_MAX, &count))
		return app_fail(app, -EINVAL, "LISTEN_FDS is `%.20s`, no number of sockets", count_text);
	*ret_count = count;
	return 0;
}

static void take_names(struct app_socket *sockets, size_t count)
{
	const char *names = getenv("LISTEN_FDNAMES");

	for (size_t i = 0; names && i < count; i++) {
		size_t length = strcspn(names, ":");

		if (length < sizeof sockets[i].name) {
			memcpy(sockets[i].name, names, length);
			sockets[i].name[length] = '\0';
		}
		names = names[length] ? names + length + 1 : NULL;
	}
}

int activation_sockets(struct app *app, struct app_socket *sockets, size_t count)
{
	int error = 0;

	for (size_t i = 0; !error && i < count; i++) {
		int fd = APP_PASSED_FIRST + (int)i;

		sockets[i] = (struct app_socket){ .fd = -1 };
		snprintf(sockets[i].text, sizeof sockets[i].text, "passed descriptor %d", fd);
		if (fcntl(fd, F_GETFD) < 0) {
			error = app_fail(app, -EINVAL, "LISTEN_FDS promises %zu sockets, but descriptor %d is not open",
					 count, fd);
			break;
		}
		error = socket_describe(app, fd, &sockets[i]);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	take_names(sockets, count);
	return error;
}

/* --- passing on -------------------------------------------------------------------------------------------------- */

/* Out of the way of the numbers that will be needed. */
static int move_up(struct app *app, struct app_socket *sockets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int fd = fcntl(sockets[i].fd, F_DUPFD_CLOEXEC, APP_PASSED_FIRST + (int)count);

		if (fd < 0)
			return app_fail(app, -errno, "%s cannot be passed on: %s", sockets[i].text, strerror(errno));
		close(sockets[i].fd);
		sockets[i].fd = fd;
	}
	return 0;
}

static int move_down(struct app *app, struct app_socket *sockets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int to = APP_PASSED_FIRST + (int)i;

		if (dup2(sockets[i].fd, to) < 0)
			return app_fail(app, -errno, "%s cannot be passed on: %s", sockets[i].text, strerror(errno));
		close(sockets[i].fd);
		sockets[i].fd = to;
	}
	return 0;
}

static int set_names(struct app *app, const struct app_socket *sockets, size_t count)
{
	char *names = malloc(count * (APP_NAME_SIZE + 1)), *end = names;
	int error;

	if (!names)
		return app_fail(app, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		end += sprintf(end, "%s%s", i ? ":" : "", sockets[i].name[0] ? sockets[i].name : "unknown");
	error = setenv("LISTEN_FDNAMES", names, 1) ? app_fail(app, -ENOMEM, "out of memory") : 0;
	free(names);
	return error;
}

int activation_pass(struct app *app, struct app_socket *sockets, size_t count)
{
	char number[24];
	int error;

	if (!count) {
		unsetenv("LISTEN_FDS");
		unsetenv("LISTEN_PID");
		unsetenv("LISTEN_FDNAMES");
		return 0;
	}
	error = move_up(app, sockets, count);
	if (!error)
		error = move_down(app, sockets, count);
	if (!error)
		error = set_names(app, sockets, count);
	if (error)
		return error;
	snprintf(number, sizeof number, "%zu", count);
	if (setenv("LISTEN_FDS", number, 1))
		return app_fail(app, -ENOMEM, "out of memory");
	snprintf(number, sizeof number, "%d", (int)getpid());
	return setenv("LISTEN_PID", number, 1) ? app_fail(app, -ENOMEM, "out of memory") : 0;
}
