/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one apply that may wait for a confirmation. Its watchdog listens on a socket in /run/weir, so that the socket's
 * answer, not a file, says whether it lives. Here: that socket's name, and the asking side.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPLY_TIMEOUT = 120 }; /* seconds; rolling back a large policy takes some */

/* WEIR_RUN is for tests. */
static const char *run_folder(void)
{
	const char *folder = secure_getenv("WEIR_RUN");

	return folder && *folder ? folder : "/run/weir";
}

static int socket_address(struct sockaddr_un *ret_address)
{
	int length;

	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	length = snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s/confirm", run_folder());
	return (size_t)length < sizeof ret_address->sun_path ? 0 : -ENAMETOOLONG;
}

/* A socket connected to the watchdog; -ENOENT or -ECONNREFUSED: there is none. */
static int connect_watchdog(int *ret_socket)
{
	struct timeval timeout = { .tv_sec = REPLY_TIMEOUT };
	struct sockaddr_un address;
	int fd, error = socket_address(&address);

	if (error)
		return error;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
		error = -errno;
		close(fd);
		return error;
	}
	*ret_socket = fd;
	return 0;
}

static int exchange(int fd, enum pending_request request, struct pending_reply *ret_reply)
{
	struct pending_reply reply;
	uint32_t message = request;
	ssize_t got;

	if (send(fd, &message, sizeof message, MSG_NOSIGNAL) < 0)
		return -errno;
	got = recv(fd, &reply, sizeof reply, 0);
	if (got < 0)
		return -errno;
	if (got != sizeof reply)
		return -ECONNRESET;
	reply.file[sizeof reply.file - 1] = '\0';
	*ret_reply = reply;
	return 0;
}

/* The ways in which a watchdog that is not there, or ends this moment, shows. */
static bool is_gone(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED || error == -ECONNRESET || error == -EPIPE;
}

int pending_ask(enum pending_request request, struct pending_reply *ret_reply)
{
	int fd = -1, error = connect_watchdog(&fd);

	if (fd >= 0) {
		error = exchange(fd, request, ret_reply);
		close(fd);
	}
	if (!is_gone(error))
		return error;
	*ret_reply = (struct pending_reply){ .state = PENDING_NONE };
	return 0;
}

/* A folder of our own, or nobody else could be kept from speaking for the watchdog. */
static int make_folder(const char *folder)
{
	struct stat status;

	if (mkdir(folder, 0700) && errno != EEXIST)
		return -errno;
	if (lstat(folder, &status))
		return -errno;
	if (!S_ISDIR(status.st_mode))
		return -ENOTDIR;
	return status.st_uid == geteuid() && !(status.st_mode & 022) ? 0 : -EPERM;
}

static int bind_socket(int *ret_socket)
{
	struct sockaddr_un address;
	struct pending_reply reply;
	int fd, error = pending_ask(PENDING_STATUS, &reply);

	if (error)
		return error;
	if (pending_open(reply.state))
		return -EBUSY;
	error = socket_address(&address);
	if (error)
		return error;
	unlink(address.sun_path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 16)) {
		error = -errno;
		close(fd);
		return error;
	}
	*ret_socket = fd;
	return 0;
}

int pending_listen(int *ret_socket)
{
	const char *folder = run_folder();
	int fd, error = make_folder(folder);

	if (error)
		return error;
	/* Two that start at the same time must not both find the name free. */
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = flock(fd, LOCK_EX) ? -errno : bind_socket(ret_socket);
	close(fd);
	return error;
}

void pending_remove(void)
{
	struct sockaddr_un address;

	if (!socket_address(&address))
		unlink(address.sun_path);
}
