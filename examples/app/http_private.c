/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A web server for private networks only, in one call: weir_listen() makes the socket, puts the filter on it by the
 * strongest means that this user has, and only then lets packets come.
 *
 *     cc -o http_private http_private.c $(pkg-config --cflags --libs weir)
 *     ./http_private tcp:8080
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weir/weir.h>

static const char rules[] = "src in { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8, fc00::/7, ::1 }";
static const char page[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nonly for us\n";

static int complain(struct weir *weir)
{
	for (size_t i = 0; i < weir_diagnostic_count(weir); i++)
		fputs(weir_diagnostic_text(weir, i, false), stderr);
	return 1;
}

static void answer(int connection)
{
	char request[4096];

	if (recv(connection, request, sizeof request, 0) > 0)
		send(connection, page, strlen(page), MSG_NOSIGNAL);
	close(connection);
}

int main(int argc, char **argv)
{
	struct weir *weir = weir_new();
	struct weir_filter *filter;
	int fd, connection;

	if (!weir)
		return 1;
	if (weir_filter_for_app(weir, "http-private", rules, &filter) ||
	    weir_listen(weir, argc > 1 ? argv[1] : "tcp:8080", filter, NULL, &fd))
		return complain(weir);
	weir_filter_free(filter);
	weir_free(weir);
	puts("started");
	fflush(stdout);
	while ((connection = accept(fd, NULL, NULL)) >= 0)
		answer(connection);
	return 0;
}
