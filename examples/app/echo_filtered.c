/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An application that ships its own rules: three calls between socket() and bind(). Users have the last word, in
 * ~/.config/weir/echo.weir or /etc/weir/apps/echo.weir.
 *
 *     cc -o echo_filtered echo_filtered.c $(pkg-config --cflags --libs weir)
 *     ./echo_filtered 4242
 *
 * A datagram echo server: there it needs no privileges on any kernel. See http_private.c for TCP.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <weir/weir.h>

static const char rules[] = "src in { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8, fc00::/7, ::1 }";

/* The library says what is wrong; the application decides where to. */
static int complain(struct weir *weir)
{
	for (size_t i = 0; i < weir_diagnostic_count(weir); i++)
		fputs(weir_diagnostic_text(weir, i, false), stderr);
	return 1;
}

static int serve(int fd)
{
	struct sockaddr_in6 client;
	char data[65536];

	for (;;) {
		socklen_t size = sizeof client;
		ssize_t length = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&client, &size);

		if (length < 0 || sendto(fd, data, (size_t)length, 0, (struct sockaddr *)&client, size) < 0)
			return 1;
	}
}

int main(int argc, char **argv)
{
	int port = atoi(argc > 1 ? argv[1] : "4242");
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons((in_port_t)port) };
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	struct weir *weir = weir_new();
	struct weir_filter *filter;

	if (fd < 0 || !weir)
		return 1;
	if (weir_filter_for_app(weir, "echo", rules, &filter) || weir_filter_attach(weir, filter, fd) ||
	    weir_filter_lock(weir, fd))
		return complain(weir);
	fprintf(stderr, "filtered by %s\n", weir_backend_name(weir_filter_backend(filter)));
	weir_filter_free(filter);
	weir_free(weir);
	if (bind(fd, (struct sockaddr *)&address, sizeof address)) {
		perror("bind");
		return 1;
	}
	puts("started");
	fflush(stdout);
	return serve(fd);
}
