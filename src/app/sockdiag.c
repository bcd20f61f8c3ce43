/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Questions to the kernel about TCP sockets that are not ours (NETLINK_SOCK_DIAG; no privileges needed). In: a local
 * port; out: whether a listener lives, or the connections that wait to be accepted. -errno where the kernel was built
 * without it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "app/app.h"
#include "base/inet_diag.h"

enum { STATE_ESTABLISHED = 1, STATE_CLOSE_WAIT = 8, STATE_LISTEN = 10 };

static int dump(int family, uint16_t port, uint32_t states, inet_diag_visit visit, void *context)
{
	const struct inet_diag_req_v2 request = {
		.sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = states,
		.id.idiag_sport = htons(port),
	};

	return inet_diag_dump(&request, visit, context);
}

struct search {
	uint64_t cookie;
	bool found;
};

static void compare(void *context, const struct inet_diag_msg *message, size_t length)
{
	struct search *search = context;
	uint64_t cookie = (uint64_t)message->id.idiag_cookie[1] << 32 | message->id.idiag_cookie[0];

	(void)length;
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
static void report(void *context, const struct inet_diag_msg *message, size_t length)
{
	const struct peers *peers = context;
	struct sockdiag_peer peer = { .family = message->idiag_family, .interface = message->id.idiag_if };

	(void)length;
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
