/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP filtering for who may neither load programs nor attach classic ones to TCP sockets: two listeners share the
 * port, and a classic program steers each SYN to the real one or to a decoy. The decoy's queue of one is full (we
 * connected to it ourselves), so the kernel drops what is steered there: a refused client gets no answer.
 *
 * Socket 0 of the group is the decoy, 1 the real one. Were the decoy closed while the real one lives, the kernel would
 * send refused clients to the real one; so a process of its own holds decoy and filler for as long as the listener
 * exists, whatever the application does with its descriptors.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "app/app.h"

enum { FILL_TIMEOUT_MS = 1000, WATCH_ALIVE_MS = 5000, WATCH_DEAD_MS = 100 };

struct steering {
	struct app_address address; /* with the port that was given */
	int decoy, filler;
};

static int fail(struct app *app, const char *what)
{
	return app_fail(app, -errno, "%s: %s", what, strerror(errno));
}

/*
 * The decoy is bound without SO_REUSEPORT, so that a port in use is found out; only then it opens the port to the real
 * one, which no other user's process could join.
 */
static int make_decoy(struct app *app, const struct app_listen *options, struct steering *steering)
{
	struct app_address *address = &steering->address;
	const int on = 1;
	int error = listen_socket(app, address, options, &steering->decoy);

	if (!error)
		error = listen_bind(app, steering->decoy, address);
	if (error)
		return error;
	if (setsockopt(steering->decoy, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) || listen(steering->decoy, 0))
		return fail(app, "no decoy");
	address->length = sizeof address->address;
	if (getsockname(steering->decoy, (struct sockaddr *)&address->address, &address->length))
		return fail(app, "no decoy");
	return 0;
}

/* How many connections wait in a listener's queue. */
static unsigned queued(int listener)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof info;

	return getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size) ? 0 : info.tcpi_unacked;
}

/* Where to reach our own listener: its address, or loopback for one of every address. */
static void own_address(const struct app_address *address, bool four, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_address;

	*ret_address = address->address;
	if (in->sin_family == AF_INET && in->sin_addr.s_addr == htonl(INADDR_ANY))
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (in6->sin6_family != AF_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
		return;
	in6->sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
	if (four)
		inet_pton(AF_INET6, "::ffff:127.0.0.1", &in6->sin6_addr);
}

static int connect_filler(const struct steering *steering, bool four, int *ret_filler)
{
	struct sockaddr_storage to;
	struct pollfd event = { .events = POLLOUT };

	own_address(&steering->address, four, &to);
	event.fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (event.fd < 0)
		return -errno;
	if (connect(event.fd, (struct sockaddr *)&to, steering->address.length) && errno != EINPROGRESS) {
		int error = -errno;

		close(event.fd);
		return error;
	}
	for (int waited = 0; !queued(steering->decoy) && waited < FILL_TIMEOUT_MS; waited += 10)
		poll(&event, 1, 10);
	*ret_filler = event.fd;
	return 0;
}

/* Whoever sits in the queue keeps it full, ourselves or a stranger who came first. */
static int fill(struct app *app, struct steering *steering)
{
	int error = connect_filler(steering, false, &steering->filler);

	if (error && steering->address.address.ss_family == AF_INET6)
		error = connect_filler(steering, true, &steering->filler);
	if (!error && !queued(steering->decoy))
		error = -ETIMEDOUT;
	return error ? app_fail(app, error, "the decoy cannot be reached (is loopback up?): %s", strerror(-error)) : 0;
}

static int attach(struct app *app, const struct app_filter *filter, int decoy)
{
	struct sock_fprog program;
	int error = filter->classic ? filter->classic(filter->context, app, true, &program)
				    : app_fail(app, -EINVAL, "there are no rules to compile, only a pinned program");

	if (error)
		return error;
	if (!setsockopt(decoy, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program))
		return 0;
	return fail(app, "the kernel refuses the program");
}

static int open_real(struct app *app, const struct steering *steering, const struct app_listen *options, int real)
{
	const int on = 1;

	if (setsockopt(real, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on))
		return fail(app, "SO_REUSEPORT");
	if (bind(real, (const struct sockaddr *)&steering->address.address, steering->address.length) ||
	    listen(real, options->backlog))
		return fail(app, "no listener beside the decoy");
	return 0;
}

/* --- holding ----------------------------------------------------------------------------------------------------- */

struct watch {
	int family;
	uint16_t port;
	uint64_t cookie;
	pid_t application;
};

/* Holds until the listener is gone; looks seldom while the application's first process lives. */
static void hold(const int *kept, const void *context)
{
	const struct watch *watch = context;
	struct pollfd event = { .fd = (int)syscall(SYS_pidfd_open, watch->application, 0), .events = POLLIN };

	(void)kept;
	while (sockdiag_listens(watch->family, watch->port, watch->cookie) != 0) {
		if (event.fd < 0)
			poll(NULL, 0, WATCH_DEAD_MS);
		else if (poll(&event, 1, WATCH_ALIVE_MS) > 0) {
			close(event.fd);
			event.fd = -1;
		}
	}
}

static int start_holder(struct app *app, const struct steering *steering, int real)
{
	struct watch watch = { .family = steering->address.address.ss_family, .application = getpid() };
	const struct app_hold how = { .name = "weir-decoy", .hold = hold, .context = &watch };
	const int keep[] = { steering->decoy, steering->filler };
	socklen_t size = sizeof watch.cookie;
	int there;

	watch.port = ntohs(((const struct sockaddr_in *)&steering->address.address)->sin_port);
	if (getsockopt(real, SOL_SOCKET, SO_COOKIE, &watch.cookie, &size))
		return fail(app, "SO_COOKIE");
	there = sockdiag_listens(watch.family, watch.port, watch.cookie);
	if (there != 1)
		return app_fail(app, there < 0 ? there : -ENOTSUP,
				"the decoy's holder could not see the listener (INET_DIAG)");
	return hold_start(app, &how, keep, 2);
}

static int steer(struct app *app, const struct app_filter *filter, const struct app_listen *options, int real,
		 struct steering *steering)
{
	int error;

	if (options->reuse_port)
		return app_fail(app, -EINVAL, "it does not go with --reuse-port");
	error = make_decoy(app, options, steering);
	if (!error)
		error = fill(app, steering);
	if (!error)
		error = attach(app, filter, steering->decoy);
	if (!error)
		error = open_real(app, steering, options, real);
	if (!error)
		error = start_holder(app, steering, real);
	return error;
}

int steer_listen(struct app *app, const struct app_address *address, const struct app_filter *filter,
		 const struct app_listen *options, struct app_socket *socket, struct app_reasons *reasons)
{
	struct steering steering = { .address = *address, .decoy = -1, .filler = -1 };
	struct app why = { 0 };
	int error;

	if (address->kind == APP_TCP)
		error = steer(&why, filter, options, socket->fd, &steering);
	else
		error = app_fail(&why, -EINVAL, "steering is for TCP");
	if (steering.decoy >= 0)
		close(steering.decoy);
	if (steering.filler >= 0)
		close(steering.filler);
	if (error == -EADDRINUSE || error == -EACCES || error == -EADDRNOTAVAIL) { /* not the filter's fault */
		*app = why;
		return error;
	}
	if (error) {
		snprintf(reasons->text[APP_REUSEPORT], sizeof reasons->text[0], "%.255s", why.problem);
		return ladder_fail(app, address->text, options->wanted, reasons);
	}
	socket->listening = true;
	socket->backend = APP_REUSEPORT;
	app_warn(app, "%s: filtered by steering: only the opening of connections is judged, and the application itself "
		      "could undo it", address->text);
	return 0;
}
