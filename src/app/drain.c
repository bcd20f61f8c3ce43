/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What waited in a socket before its filter came is judged too. In: a socket that has its filter by now; out: nothing
 * in it that the rules refuse. The packet is made up from what the socket tells of it. The queue cannot be changed in
 * its middle, so when a refused datagram waits behind accepted ones, those before it are lost with it.
 *
 * A connection waiting to be accepted is judged by the SYN that it must have begun with.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"

enum { DATAGRAM_MAX = 65536, CONTROL_SIZE = 512, DRAIN_MAX = 65536 };
enum { TTL_UNKNOWN = 64, UDP_HEADER = 8, TCP_HEADER = 20 };

/* One end to end pair, addresses as the wire has them. */
struct flow {
	int family;
	unsigned char source[16], destination[16];
	uint16_t source_port, destination_port;
	unsigned interface;
	uint8_t ttl, traffic_class;
};

static void put16(unsigned char *at, unsigned value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
}

/* IPv4 traffic on an IPv6 socket is IPv4 on the wire. */
static void unmap(struct flow *flow)
{
	static const unsigned char prefix[12] = { [10] = 0xff, [11] = 0xff };

	if (flow->family != AF_INET6 || memcmp(flow->source, prefix, sizeof prefix))
		return;
	flow->family = AF_INET;
	memmove(flow->source, flow->source + 12, 4);
	memmove(flow->destination, flow->destination + 12, 4);
}

static size_t put_ip(const struct flow *flow, unsigned char *to, unsigned protocol, size_t payload)
{
	if (flow->family == AF_INET) {
		to[0] = 0x45;
		to[1] = flow->traffic_class;
		put16(to + 2, (unsigned)(20 + payload));
		to[8] = flow->ttl;
		to[9] = (unsigned char)protocol;
		memcpy(to + 12, flow->source, 4);
		memcpy(to + 16, flow->destination, 4);
		return 20;
	}
	put16(to, 0x6000u | (unsigned)flow->traffic_class << 4);
	put16(to + 4, (unsigned)payload);
	to[6] = (unsigned char)protocol;
	to[7] = flow->ttl;
	memcpy(to + 8, flow->source, 16);
	memcpy(to + 24, flow->destination, 16);
	return 40;
}

static void build(struct flow *flow, unsigned protocol, size_t data, struct app_packet *ret_packet)
{
	size_t header = protocol == IPPROTO_UDP ? UDP_HEADER : TCP_HEADER, ip;
	unsigned char *transport;

	unmap(flow);
	*ret_packet = (struct app_packet){ .ethertype = flow->family == AF_INET ? 0x0800 : 0x86dd,
					   .interface = flow->interface };
	ip = put_ip(flow, ret_packet->data, protocol, header + data);
	transport = ret_packet->data + ip;
	put16(transport, flow->source_port);
	put16(transport + 2, flow->destination_port);
	if (protocol == IPPROTO_UDP) {
		put16(transport + 4, (unsigned)(header + data));
	} else {
		transport[12] = TCP_HEADER / 4 << 4;
		transport[13] = 0x02; /* SYN */
	}
	ret_packet->length = ip + header + data;
}

/* --- datagrams --------------------------------------------------------------------------------------------------- */

/* What must be switched on for recvmsg() to tell where a datagram came to, and how. */
static const struct {
	int family, level, name;
} tellers[] = {
	{ AF_INET, IPPROTO_IP, IP_PKTINFO },		{ AF_INET, IPPROTO_IP, IP_RECVTTL },
	{ AF_INET, IPPROTO_IP, IP_RECVTOS },		{ AF_INET6, IPPROTO_IP, IP_RECVTTL },
	{ AF_INET6, IPPROTO_IP, IP_RECVTOS },		{ AF_INET6, IPPROTO_IPV6, IPV6_RECVPKTINFO },
	{ AF_INET6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT },	{ AF_INET6, IPPROTO_IPV6, IPV6_RECVTCLASS },
};

enum { TELLER_COUNT = sizeof tellers / sizeof tellers[0] };

/* Switches them on, or back to what they were. */
static void tell(const struct app_socket *socket, bool on, int former[TELLER_COUNT])
{
	const int yes = 1;

	for (size_t i = 0; i < TELLER_COUNT; i++) {
		socklen_t size = sizeof former[i];

		if (tellers[i].family != socket->domain)
			continue;
		if (on && getsockopt(socket->fd, tellers[i].level, tellers[i].name, &former[i], &size))
			former[i] = 0;
		setsockopt(socket->fd, tellers[i].level, tellers[i].name, on ? &yes : &former[i], sizeof yes);
	}
}

static void read_control(const struct cmsghdr *control, struct flow *flow)
{
	const unsigned char *data = CMSG_DATA(control);
	struct in6_pktinfo info6;
	struct in_pktinfo info;
	int number;

	memcpy(&number, data, control->cmsg_len >= CMSG_LEN(sizeof number) ? sizeof number : 1);
	if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
		memcpy(&info, data, sizeof info);
		memcpy(flow->destination, &info.ipi_addr, 4);
		flow->interface = (unsigned)info.ipi_ifindex;
	} else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
		memcpy(&info6, data, sizeof info6);
		memcpy(flow->destination, &info6.ipi6_addr, 16);
		flow->interface = info6.ipi6_ifindex;
	} else if ((control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TTL) ||
		   (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_HOPLIMIT)) {
		flow->ttl = (uint8_t)number;
	} else if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TOS) {
		flow->traffic_class = data[0];
	} else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_TCLASS) {
		flow->traffic_class = (uint8_t)number;
	}
}

static uint16_t take_address(const struct sockaddr_storage *from, unsigned char address[16])
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
	const struct sockaddr_in *in = (const struct sockaddr_in *)from;

	if (from->ss_family == AF_INET6)
		memcpy(address, &in6->sin6_addr, 16);
	else
		memcpy(address, &in->sin_addr, 4);
	return ntohs(in->sin_port);
}

/* The next datagram, left in its place; 1, 0 if there is none, -errno. */
static int peek(int fd, unsigned char *buffer, struct flow *flow, size_t *ret_length)
{
	struct sockaddr_storage peer = { 0 }, local = { 0 };
	_Alignas(struct cmsghdr) char control[CONTROL_SIZE];
	struct iovec vector = { buffer, DATAGRAM_MAX };
	struct msghdr message = { .msg_name = &peer, .msg_namelen = sizeof peer, .msg_iov = &vector, .msg_iovlen = 1,
				  .msg_control = control, .msg_controllen = sizeof control };
	socklen_t size = sizeof local;
	ssize_t length = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);

	if (length < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	*flow = (struct flow){ .family = peer.ss_family, .ttl = TTL_UNKNOWN };
	if (!getsockname(fd, (struct sockaddr *)&local, &size))
		flow->destination_port = take_address(&local, flow->destination);
	flow->source_port = take_address(&peer, flow->source);
	for (const struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, (struct cmsghdr *)c))
		read_control(c, flow);
	*ret_length = (size_t)length;
	return 1;
}

static bool accepts(const struct app_filter *filter, struct flow *flow, unsigned protocol, size_t length)
{
	struct app_packet packet;

	if (!filter->judge)
		return false;
	build(flow, protocol, length, &packet);
	return filter->judge(filter->context, &packet);
}

/* How many datagrams from the front on must go, up to the last one that is refused; -errno. */
static long count_refused(int fd, const struct app_filter *filter, unsigned char *buffer)
{
	const int from_start = 0;
	long seen = 0, refused = 0;
	struct flow flow;
	size_t length;
	int got;

	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &from_start, sizeof from_start))
		return -errno;
	while ((got = peek(fd, buffer, &flow, &length)) > 0 && seen < DRAIN_MAX) {
		seen++;
		if (!accepts(filter, &flow, IPPROTO_UDP, length))
			refused = seen;
	}
	return got < 0 ? got : refused;
}

static int drain_datagrams(struct app *app, const struct app_socket *socket, const struct app_filter *filter)
{
	unsigned char *buffer = malloc(DATAGRAM_MAX);
	int former[TELLER_COUNT], offset = -1;
	socklen_t size = sizeof offset;
	long refused;

	if (!buffer)
		return app_fail(app, -ENOMEM, "out of memory");
	getsockopt(socket->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &size);
	tell(socket, true, former);
	refused = count_refused(socket->fd, filter, buffer);
	setsockopt(socket->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
	tell(socket, false, former);
	for (long i = 0; i < refused; i++)
		if (recv(socket->fd, buffer, 1, MSG_DONTWAIT) < 0)
			break;
	free(buffer);
	if (refused >= 0)
		return 0;
	return app_fail(app, (int)refused, "%s: what waits in it cannot be judged: %s", socket->text,
			strerror(-(int)refused));
}

/* --- connections ------------------------------------------------------------------------------------------------- */

struct judging {
	const struct app_filter *filter;
	bool refused;
};

static void judge_peer(void *context, const struct sockdiag_peer *peer)
{
	struct judging *judging = context;
	struct flow flow = { .family = peer->family, .source_port = peer->remote_port, .ttl = TTL_UNKNOWN,
			     .destination_port = peer->local_port, .interface = peer->interface };

	memcpy(flow.source, peer->remote, sizeof flow.source);
	memcpy(flow.destination, peer->local, sizeof flow.destination);
	judging->refused |= !accepts(judging->filter, &flow, IPPROTO_TCP, 0);
}

static void reset_waiting(int fd)
{
	const struct linger at_once = { .l_onoff = 1 };
	int flags = fcntl(fd, F_GETFL), connection;

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while ((connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		close(connection);
	}
	fcntl(fd, F_SETFL, flags);
}

/* The queue gives its connections only to who takes them, so either all may stay or none. */
static int drain_connections(struct app *app, const struct app_socket *socket, const struct app_filter *filter)
{
	struct judging judging = { filter, false };
	struct sockaddr_storage local = { 0 };
	unsigned char address[16];
	socklen_t size = sizeof local;
	int error;

	if (getsockname(socket->fd, (struct sockaddr *)&local, &size))
		return app_fail(app, -errno, "%s: %s", socket->text, strerror(errno));
	error = sockdiag_waiting(socket->domain, take_address(&local, address), judge_peer, &judging);
	if (!error && !judging.refused)
		return 0;
	reset_waiting(socket->fd);
	app_warn(app, "%s: connections that waited in it were reset: not all of them %s", socket->text,
		 error ? "could be judged" : "are accepted by the filter");
	return 0;
}

int drain_socket(struct app *app, const struct app_socket *socket, const struct app_filter *filter)
{
	if (socket->type == SOCK_DGRAM)
		return drain_datagrams(app, socket, filter);
	return socket->listening && socket->type == SOCK_STREAM ? drain_connections(app, socket, filter) : 0;
}
