/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For programs that speak only on standard input and output: one process a connection, as inetd did; a datagram
 * socket itself goes to one process at a time. In: listening sockets and a command; ends when told to, after its children.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/app.h"

static const int ending[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
enum { ENDING_COUNT = sizeof ending / sizeof ending[0] };

struct child {
	pid_t pid;
	size_t socket;
};

struct server {
	const struct app_serve *serve;
	struct child *children;
	unsigned count;
	struct pollfd *events; /* one a socket, and the signals */
	int signals;
	sigset_t former;
	int ended_by; /* signal; 0: goes on */
};

static void set_peer(int connection)
{
	struct sockaddr_storage peer = { 0 };
	const struct sockaddr_in *in = (const struct sockaddr_in *)&peer;
	char address[INET6_ADDRSTRLEN], port[8];
	socklen_t size = sizeof peer;
	const void *bytes = NULL;

	unsetenv("REMOTE_ADDR");
	unsetenv("REMOTE_PORT");
	if (getpeername(connection, (struct sockaddr *)&peer, &size))
		return;
	if (peer.ss_family == AF_INET)
		bytes = &in->sin_addr;
	else if (peer.ss_family == AF_INET6)
		bytes = &((const struct sockaddr_in6 *)&peer)->sin6_addr;
	if (!bytes || !inet_ntop(peer.ss_family, bytes, address, sizeof address))
		return;
	snprintf(port, sizeof port, "%u", (unsigned)ntohs(in->sin_port));
	setenv("REMOTE_ADDR", address, 1);
	setenv("REMOTE_PORT", port, 1);
}

/* Dies with the server, so that nothing is left when that is killed. */
static _Noreturn void become_child(const struct server *server, int connection, pid_t parent)
{
	struct app app = { 0 };
	int error;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(125);
	sigprocmask(SIG_SETMASK, &server->former, NULL);
	set_peer(connection);
	if (dup2(connection, STDIN_FILENO) < 0 || dup2(connection, STDOUT_FILENO) < 0)
		_exit(125);
	error = app_exec(&app, server->serve->argv);
	dprintf(STDERR_FILENO, "weir: %s\n", app.problem);
	_exit(error == -ENOENT ? 127 : 126);
}

static void start_child(struct server *server, size_t socket, int connection)
{
	pid_t parent = getpid(), child = fork();

	if (!child)
		become_child(server, connection, parent);
	if (child > 0)
		server->children[server->count++] = (struct child){ child, socket };
}

/* A client may be gone again before it is accepted. */
static void serve_socket(struct server *server, size_t index)
{
	const struct app_socket *socket = &server->serve->sockets[index];
	int connection;

	if (!socket->listening) {
		start_child(server, index, socket->fd);
		return;
	}
	connection = accept4(socket->fd, NULL, NULL, SOCK_CLOEXEC);
	if (connection < 0)
		return;
	start_child(server, index, connection);
	close(connection);
}

static void reap(struct server *server)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (unsigned i = 0; i < server->count; i++)
			if (server->children[i].pid == pid) {
				server->children[i] = server->children[--server->count];
				break;
			}
}

static void take_signals(struct server *server)
{
	struct signalfd_siginfo info;

	while (read(server->signals, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		if (server->ended_by) /* told twice: without waiting */
			server->count = 0;
		server->ended_by = (int)info.ssi_signo;
		for (unsigned i = 0; i < server->count; i++)
			kill(server->children[i].pid, server->ended_by);
	}
	reap(server);
}

static bool busy(const struct server *server, size_t socket)
{
	if (server->ended_by || server->count >= server->serve->limit)
		return true;
	for (unsigned i = 0; !server->serve->sockets[socket].listening && i < server->count; i++)
		if (server->children[i].socket == socket)
			return true;
	return false;
}

static void wait_event(struct server *server)
{
	size_t count = server->serve->count;

	for (size_t i = 0; i < count; i++)
		server->events[i] = (struct pollfd){ .fd = busy(server, i) ? -1 : server->serve->sockets[i].fd,
						     .events = POLLIN };
	server->events[count] = (struct pollfd){ .fd = server->signals, .events = POLLIN };
	if (poll(server->events, count + 1, -1) <= 0)
		return;
	if (server->events[count].revents)
		take_signals(server);
	for (size_t i = 0; i < count; i++)
		if (server->events[i].revents && !busy(server, i))
			serve_socket(server, i);
}

/* What the caller ignores (nohup) does not end it. */
static bool ignored(int number)
{
	struct sigaction action;

	return !sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN;
}

static int prepare(struct app *app, struct server *server)
{
	sigset_t set;

	server->children = calloc(server->serve->limit, sizeof *server->children);
	server->events = calloc(server->serve->count + 1, sizeof *server->events);
	if (!server->children || !server->events)
		return app_fail(app, -ENOMEM, "out of memory");
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < ENDING_COUNT; i++)
		if (!ignored(ending[i]))
			sigaddset(&set, ending[i]);
	sigprocmask(SIG_BLOCK, &set, &server->former);
	server->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return server->signals < 0 ? app_fail(app, -errno, "signalfd: %s", strerror(errno)) : 0;
}

/* Another process may take a connection first; it must not make us wait for the next. */
static void set_nonblocking(const struct app_serve *serve)
{
	for (size_t i = 0; i < serve->count; i++)
		if (serve->sockets[i].listening)
			fcntl(serve->sockets[i].fd, F_SETFL, fcntl(serve->sockets[i].fd, F_GETFL) | O_NONBLOCK);
}

int app_serve(struct app *app, const struct app_serve *serve, int *ret_status)
{
	struct server server = { .serve = serve, .signals = -1 };
	int error = prepare(app, &server);

	set_nonblocking(serve);
	while (!error && (!server.ended_by || server.count))
		wait_event(&server);
	free(server.children);
	free(server.events);
	if (server.signals >= 0)
		close(server.signals);
	if (!error) {
		signal(server.ended_by, SIG_DFL);
		sigprocmask(SIG_SETMASK, &server.former, NULL);
		raise(server.ended_by);
		*ret_status = 128 + server.ended_by;
	}
	return error;
}
