/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Questions to the kernel about TCP sockets that are not ours (NETLINK_SOCK_DIAG; no privileges needed). In: a local
 * port; out: whether a listener lives, or the connections that wait to be accepted. -errno where the kernel was built
 * without it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"

enum { STATE_ESTABLISHED = 1, STATE_CLOSE_WAIT = 8, STATE_LISTEN = 10, BUFFER_SIZE = 32768 };

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 body;
};

typedef void (*visitor)(void *context, const struct inet_diag_msg *message);

static int ask(int family, uint16_t port, uint32_t states)
{
	struct request request = {
		.header = { .nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = states,
			  .id.idiag_sport = htons(port) },
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	if (send(fd, &request, sizeof request, 0) != sizeof request) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

/* One datagram of answers: 1 if more follow, 0 at the end, -errno. */
static int read_some(int fd, char *buffer, visitor visit, void *context)
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
			visit(context, NLMSG_DATA(header));
	}
	return 1;
}

static int dump(int family, uint16_t port, uint32_t states, visitor visit, void *context)
{
	_Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
	int fd = ask(family, port, states), more = 1;

	if (fd < 0)
		return fd;
	while (more > 0)
		more = read_some(fd, buffer, visit, context);
	close(fd);
	return more;
}

struct search {
	uint64_t cookie;
	bool found;
};

static void compare(void *context, const struct inet_diag_msg *message)
{
	struct search *search = context;
	uint64_t cookie = (uint64_t)message->id.idiag_cookie[1] << 32 | message->id.idiag_cookie[0];

	search->found |= cookie == search->cookie;
}

int sockdiag_listens(int family, uint16_t port, uint64_t cookie)
{
	struct search search = { cookie, false };
	int error = dump(family, port, 1u << STATE_LISTEN, compare, &search);

	return error ? error : search.found;
}

struct peers {
	uint16_t port;
	void (*found)(void *context, const struct sockdiag_peer *peer);
	void *context;
};

/* Connections that no process has accepted have no inode. */
static void report(void *context, const struct inet_diag_msg *message)
{
	const struct peers *peers = context;
	struct sockdiag_peer peer = { .family = message->idiag_family, .interface = message->id.idiag_if };

	if (message->idiag_inode || ntohs(message->id.idiag_sport) != peers->port)
		return;
	memcpy(peer.local, message->id.idiag_src, sizeof peer.local);
	memcpy(peer.remote, message->id.idiag_dst, sizeof peer.remote);
	peer.local_port = ntohs(message->id.idiag_sport);
	peer.remote_port = ntohs(message->id.idiag_dport);
	peers->found(peers->context, &peer);
}

int sockdiag_waiting(int family, uint16_t port, void (*found)(void *context, const struct sockdiag_peer *peer),
		     void *context)
{
	struct peers peers = { port, found, context };

	return dump(family, port, 1u << STATE_ESTABLISHED | 1u << STATE_CLOSE_WAIT, report, &peers);
}
