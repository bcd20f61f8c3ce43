/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: an address and a filter. Out: a listening socket that never held a packet the filter had not judged: the filter
 * is attached and locked before the socket is bound. Fails without leaving anything behind but a unix socket's path.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/app.h"

enum { MPTCP_PROTOCOL = 262, SCTP_PROTOCOL = 132 };

bool socket_is_network(const struct app_socket *socket)
{
	return socket->domain == AF_INET || socket->domain == AF_INET6;
}

static int number_option(int fd, int name)
{
	int value = -1;
	socklen_t size = sizeof value;

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) ? -1 : value;
}

int socket_describe(struct app *app, int fd, struct app_socket *socket)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof peer;
	struct stat status;

	if (fstat(fd, &status))
		return app_fail(app, -EBADF, "descriptor %d is not open", fd);
	if (!S_ISSOCK(status.st_mode))
		return app_fail(app, -ENOTSOCK, "descriptor %d is no socket", fd);
	socket->fd = fd;
	socket->domain = number_option(fd, SO_DOMAIN);
	socket->type = number_option(fd, SO_TYPE);
	socket->protocol = number_option(fd, SO_PROTOCOL);
	socket->listening = number_option(fd, SO_ACCEPTCONN) == 1;
	if (!socket->text[0])
		snprintf(socket->text, sizeof socket->text, "descriptor %d", fd);
	if (getpeername(fd, (struct sockaddr *)&peer, &size))
		return 0;
	app_hint(app, "a filter belongs on the socket that listens, or that receives datagrams from many");
	return app_fail(app, -EISCONN, "%s is a connected socket", socket->text);
}

int socket_protect(struct app *app, struct app_socket *socket, const struct app_filter *filter,
		   const struct app_listen *options, bool drain)
{
	struct app_reasons reasons = { 0 };
	int error;

	if (!socket_is_network(socket))
		return app_fail(app, -EINVAL, "%s is no socket of the network: packet filters do not apply",
				socket->text);
	if (socket->protocol == MPTCP_PROTOCOL)
		return app_fail(app, -EOPNOTSUPP, "%s speaks MPTCP, whose sockets take no filter", socket->text);
	error = ladder_attach(filter, socket->fd, options->wanted, &reasons, &socket->backend);
	if (error) {
		snprintf(reasons.text[APP_REUSEPORT], sizeof reasons.text[0],
			 "the socket exists already, steering is for one that weir makes");
		return ladder_fail(app, socket->text, options->wanted, &reasons);
	}
	if (drain)
		error = drain_socket(app, socket, filter);
	if (!error && !options->no_lock)
		error = ladder_lock(app, socket->fd);
	return error;
}

/* --- making ------------------------------------------------------------------------------------------------------ */

static const struct kind_info {
	int type, protocol;
} kind_table[] = {
	[APP_TCP] = { SOCK_STREAM, 0 },
	[APP_UDP] = { SOCK_DGRAM, 0 },
	[APP_UNIX] = { SOCK_STREAM, 0 },
	[APP_SCTP] = { SOCK_STREAM, SCTP_PROTOCOL },
};

static int set_flag(struct app *app, int fd, int level, int name, int value, const char *what)
{
	if (!setsockopt(fd, level, name, &value, sizeof value))
		return 0;
	return app_fail(app, -errno, "%s: %s", what, strerror(errno));
}

static int set_options(struct app *app, int fd, int family, const struct app_listen *options)
{
	int error = set_flag(app, fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");

	if (!error && family == AF_INET6)
		error = set_flag(app, fd, IPPROTO_IPV6, IPV6_V6ONLY, 0, "dual-stack sockets");
	if (!error && options->reuse_port)
		error = set_flag(app, fd, SOL_SOCKET, SO_REUSEPORT, 1, "--reuse-port");
	if (!error && options->freebind)
		error = set_flag(app, fd, IPPROTO_IP, IP_FREEBIND, 1, "--freebind");
	return error;
}

int listen_socket(struct app *app, const struct app_address *address, const struct app_listen *options, int *ret_fd)
{
	const struct kind_info *kind = &kind_table[address->kind];
	int fd = socket(address->address.ss_family, kind->type | SOCK_CLOEXEC, kind->protocol);
	int error;

	if (fd < 0 && errno == EPROTONOSUPPORT)
		return app_fail(app, -EPROTONOSUPPORT, "%s: this kernel does not speak that protocol", address->text);
	if (fd < 0)
		return app_fail(app, -errno, "%s: %s", address->text, strerror(errno));
	error = address->kind == APP_UNIX ? 0 : set_options(app, fd, address->address.ss_family, options);
	if (error)
		close(fd);
	else
		*ret_fd = fd;
	return error;
}

/* A path whose server is gone stands in the way of the next one; one that somebody listens on does not move. */
static void remove_stale(const struct app_address *address)
{
	const struct sockaddr_un *path = (const struct sockaddr_un *)&address->address;
	struct stat status;
	int fd;

	if (!path->sun_path[0] || lstat(path->sun_path, &status) || !S_ISSOCK(status.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)path, address->length) && errno == ECONNREFUSED)
		unlink(path->sun_path);
	close(fd);
}

int listen_bind(struct app *app, int fd, const struct app_address *address)
{
	int error;

	if (address->kind == APP_UNIX)
		remove_stale(address);
	if (!bind(fd, (const struct sockaddr *)&address->address, address->length))
		return 0;
	error = -errno;
	if (error == -EADDRINUSE)
		return app_fail(app, error, "%s is in use by another process", address->text);
	if (error == -EACCES && address->kind != APP_UNIX)
		return app_fail(app, error, "%s: this port needs CAP_NET_BIND_SERVICE", address->text);
	if (error == -EADDRNOTAVAIL)
		app_hint(app, "`--freebind` binds to an address that this host does not have yet");
	return app_fail(app, error, "%s: %s", address->text, strerror(-error));
}

static int start_listening(struct app *app, const struct app_address *address, const struct app_listen *options,
			   struct app_socket *socket)
{
	if (address->kind == APP_UDP)
		return 0;
	if (listen(socket->fd, options->backlog))
		return app_fail(app, -errno, "%s: %s", address->text, strerror(errno));
	socket->listening = true;
	return 0;
}

/* Attaches by the first three rungs; steers if they fail and it may. */
static int listen_filtered(struct app *app, const struct app_address *address, const struct app_filter *filter,
			   const struct app_listen *options, struct app_socket *socket)
{
	struct app_reasons reasons = { 0 };
	int error = ladder_attach(filter, socket->fd, options->wanted, &reasons, &socket->backend);

	if (!error && !options->no_lock)
		error = ladder_lock(app, socket->fd);
	else if (error && (options->wanted == APP_AUTO || options->wanted == APP_REUSEPORT))
		return steer_listen(app, address, filter, options, socket, &reasons);
	else if (error)
		return ladder_fail(app, address->text, options->wanted, &reasons);
	if (!error)
		error = listen_bind(app, socket->fd, address);
	return error ? error : start_listening(app, address, options, socket);
}

static int listen_plain(struct app *app, const struct app_address *address, const struct app_listen *options,
			struct app_socket *socket)
{
	int error = listen_bind(app, socket->fd, address);

	return error ? error : start_listening(app, address, options, socket);
}

/* Without IPv6, "every address" is every IPv4 address. */
static void without_ipv6(struct app_address *address)
{
	const struct sockaddr_in6 *from = (const struct sockaddr_in6 *)&address->address;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = from->sin6_port };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		close(fd);
		return;
	}
	memcpy(&address->address, &to, sizeof to);
	address->length = sizeof to;
}

int app_listen(struct app *app, const struct app_address *address, const struct app_filter *filter,
	       const struct app_listen *options, struct app_socket *ret_socket)
{
	struct app_address place = *address;
	struct app_socket made = { .fd = -1, .type = kind_table[address->kind].type,
				   .protocol = kind_table[address->kind].protocol };
	int error;

	if (place.any)
		without_ipv6(&place);
	made.domain = place.address.ss_family;
	snprintf(made.name, sizeof made.name, "%s", place.name);
	snprintf(made.text, sizeof made.text, "%s", place.text);
	if (filter && !socket_is_network(&made))
		return app_fail(app, -EINVAL, "%s is no socket of the network: packet filters do not apply",
				made.text);
	error = listen_socket(app, &place, options, &made.fd);
	if (!error && filter)
		error = listen_filtered(app, &place, filter, options, &made);
	else if (!error)
		error = listen_plain(app, &place, options, &made);
	if (!error)
		*ret_socket = made;
	else if (made.fd >= 0)
		close(made.fd);
	return error;
}
