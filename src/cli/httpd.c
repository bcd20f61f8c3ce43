/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * weir metrics --listen: metrics for whoever asks by HTTP. In: an address; out: answers to GET and HEAD of /metrics, in the format
 * that the request accepts. One thread answers; the main one waits for a signal. Fails when it cannot listen.
 */
#include "cli.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16, IDLE_SECONDS = 30 };

#define MICROHTTPD "libmicrohttpd.so.12"
#define TYPE_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define TYPE_TEXT "text/plain; version=0.0.4; charset=utf-8"

/* --- listening --------------------------------------------------------------------------------------------------- */

/* A socket that nobody listens on any more is in the way; one that somebody does is not ours. */
static void remove_stale(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) && errno == ECONNREFUSED)
		unlink(address->sun_path);
	if (fd >= 0)
		close(fd);
}

/* A listening socket, or -errno. */
static int listen_at(int family, const struct sockaddr *address, socklen_t size)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, error;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (!bind(fd, address, size) && !listen(fd, CONNECTIONS_MAX))
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (!*path || strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	remove_stale(&address);
	return listen_at(AF_UNIX, (const struct sockaddr *)&address, sizeof address);
}

static int listen_host(const char *host, const char *port)
{
	const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *found = NULL;
	int fd = -EADDRNOTAVAIL;

	if (getaddrinfo(*host ? host : NULL, port, &wanted, &found))
		return -EADDRNOTAVAIL;
	for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
		fd = listen_at(at->ai_family, at->ai_addr, at->ai_addrlen);
	freeaddrinfo(found);
	return fd;
}

/* "127.0.0.1:9469", "[::1]:9469", "unix:/run/weir.sock"; -EINVAL for what is none of these. */
static int open_listener(const char *address)
{
	const char *colon = strrchr(address, ':');
	bool brackets = address[0] == '[';
	char *host;
	int fd;

	if (!strncmp(address, "unix:", 5))
		return listen_unix(address + 5);
	if (!colon || colon == address || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
	    (brackets ? colon[-1] != ']' : memchr(address, ':', (size_t)(colon - address)) != NULL))
		return -EINVAL;
	host = strndup(address + brackets, (size_t)(colon - address) - 2 * brackets);
	fd = host ? listen_host(host, colon + 1) : -ENOMEM;
	free(host);
	return fd;
}

/* --- libmicrohttpd: with what it brings along it takes 3 ms to load, so only the command that serves does ------------- */

#define CALLS(CALL) \
	CALL(start_daemon) CALL(stop_daemon) CALL(create_response_from_buffer) CALL(destroy_response) \
	CALL(add_response_header) CALL(queue_response) CALL(lookup_connection_value)

/* What answers need. */
struct server {
	struct weir *weir;
#define MEMBER(name) __typeof__(&MHD_##name) name;
	CALLS(MEMBER)
#undef MEMBER
};

/* False if it is not there. It stays loaded. */
static bool load_calls(struct server *server)
{
	void *library = dlopen(MICROHTTPD, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return false;
#define LOAD(name) \
	server->name = (__typeof__(server->name))dlsym(library, "MHD_" #name); \
	if (!server->name) \
		return false;
	CALLS(LOAD)
#undef LOAD
	return true;
}

/* --- answering --------------------------------------------------------------------------------------------------- */

static enum MHD_Result answer(const struct server *server, struct MHD_Connection *connection, unsigned code,
			      const char *type, char *text, size_t length, enum MHD_ResponseMemoryMode memory)
{
	struct MHD_Response *response = server->create_response_from_buffer(length, text, memory);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	server->add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		server->add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = server->queue_response(connection, code, response);
	server->destroy_response(response);
	return result;
}

static enum MHD_Result answer_briefly(const struct server *server, struct MHD_Connection *connection, unsigned code,
				      const char *text)
{
	return answer(server, connection, code, "text/plain; charset=utf-8", (char *)text, strlen(text),
		      MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer_metrics(const struct server *server, struct MHD_Connection *connection)
{
	const char *accepts = server->lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	bool openmetrics = accepts && strstr(accepts, "application/openmetrics-text");
	size_t length;
	char *text;

	if (metrics_text(server->weir, openmetrics, &text, &length))
		return answer_briefly(server, connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
				      "the policies in force cannot be read\n");
	return answer(server, connection, MHD_HTTP_OK, openmetrics ? TYPE_OPENMETRICS : TYPE_TEXT, text, length,
		      MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *data, size_t *data_size, void **state)
{
	const struct server *server = context;

	(void)version;
	(void)data;
	(void)state;
	*data_size = 0;
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return answer_briefly(server, connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (!strcmp(url, "/metrics"))
		return answer_metrics(server, connection);
	return answer_briefly(server, connection, MHD_HTTP_NOT_FOUND, "metrics are at /metrics\n");
}

/* --- the command ------------------------------------------------------------------------------------------------- */

/* The signals that end it go to sigwait(): blocked before there is another thread. */
static void serve(int fd, struct server *server, sigset_t *signals, bool *ret_started)
{
	struct MHD_Daemon *daemon;
	int signal;

	pthread_sigmask(SIG_BLOCK, signals, NULL);
	daemon = server->start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC, 0, NULL, NULL, handle, server,
				  MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
				  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
	*ret_started = daemon != NULL;
	if (!daemon)
		return;
	notify_ready();
	sigwait(signals, &signal);
	server->stop_daemon(daemon); /* closes the socket */
}

static int say_failure(struct cli *cli, const char *format, const char *about, int error)
{
	output_failure(cli, format, about, strerror(-error));
	return output_finish(cli, WEIR_SYSTEM, NULL);
}

int metrics_serve(struct cli *cli, const char *address)
{
	struct server server = { .weir = cli->weir };
	bool loaded = load_calls(&server), started;
	int fd = open_listener(address), error;
	sigset_t signals;

	if (fd == -EINVAL)
		return usage_error(cli->command, "`%s` is no address like `127.0.0.1:9469`, `[::1]:9469` or "
				   "`unix:/run/weir.sock`", address);
	if (fd < 0)
		return say_failure(cli, "cannot listen at %s: %s", address, fd);
	if (!loaded) {
		close(fd);
		return say_failure(cli, "cannot load %s: %s", MICROHTTPD, -ELIBACC);
	}
	error = caps_drop(KEEP_EVENTS);
	if (error) {
		close(fd);
		return say_failure(cli, "cannot drop %s: %s", "privileges", error);
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	serve(fd, &server, &signals, &started);
	if (!started) {
		close(fd);
		return say_failure(cli, "cannot serve at %s: %s", address, -ENOMEM);
	}
	if (!strncmp(address, "unix:", 5))
		unlink(address + 5);
	return output_finish(cli, WEIR_OK, NULL);
}
