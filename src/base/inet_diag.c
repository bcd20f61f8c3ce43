/* SPDX-License-Identifier: GPL-2.0-only */
/* See inet_diag.h. */
#include "base/inet_diag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_SIZE = 32768 }; /* the kernel fills no larger datagram */

/* A socket that will have the answers, or -errno. */
static int ask(const struct inet_diag_req_v2 *body)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} request = {
		.header = { .nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = *body,
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), error;

	if (fd < 0)
		return -errno;
	if (send(fd, &request, sizeof request, 0) == sizeof request)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* One datagram of answers: 1 if more follow, 0 at the end, -errno. */
static int read_some(int fd, char *buffer, inet_diag_visit visit, void *context)
{
	ssize_t length = recv(fd, buffer, BUFFER_SIZE, 0);
	const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;

	if (length < 0)
		return errno == EINTR ? 1 : -errno;
	for (unsigned left = (unsigned)length; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
		if (header->nlmsg_type == NLMSG_DONE)
			return 0;
		if (header->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
		if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			visit(context, NLMSG_DATA(header), header->nlmsg_len - NLMSG_HDRLEN);
	}
	return 1;
}

int inet_diag_dump(const struct inet_diag_req_v2 *request, inet_diag_visit visit, void *context)
{
	_Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
	int fd = ask(request), more = 1;

	if (fd < 0)
		return fd;
	while (more > 0)
		more = read_some(fd, buffer, visit, context);
	close(fd);
	return more;
}
