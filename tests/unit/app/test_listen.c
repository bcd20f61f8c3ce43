/* SPDX-License-Identifier: GPL-2.0-only */
/* Sockets without filters, what descriptors are taken for, and the ladder's reasons; no privileges, only loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/app.h"

static const struct app_listen plain = { .backlog = 8 };

static int listen_on(struct app *app, const char *text, const struct app_filter *filter, struct app_socket *ret_socket)
{
	struct app_address address;

	memset(app, 0, sizeof *app);
	assert_int_equal(address_parse(app, text, &address), 0);
	return app_listen(app, &address, filter, &plain, ret_socket);
}

static void test_unix_path_is_taken_over(void **state)
{
	char folder[] = "/tmp/weir-unit-XXXXXX", text[64];
	struct app_socket first, second;
	struct app app;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(text, sizeof text, "unix:%s/s", folder);
	assert_int_equal(listen_on(&app, text, NULL, &first), 0);
	assert_true(first.listening);
	assert_int_equal(listen_on(&app, text, NULL, &second), -EADDRINUSE); /* somebody listens */
	assert_non_null(strstr(app.problem, "in use"));
	close(first.fd);
	assert_int_equal(listen_on(&app, text, NULL, &second), 0); /* nobody any more */
	close(second.fd);
	unlink(text + 5);
	rmdir(folder);
}

static void test_describe(void **state)
{
	struct app_socket socket_ = { 0 };
	struct app app = { 0 };
	int pair[2];

	(void)state;
	assert_int_equal(socket_describe(&app, 1000, &socket_), -EBADF);
	assert_int_equal(pipe(pair), 0);
	memset(&app, 0, sizeof app);
	assert_int_equal(socket_describe(&app, pair[0], &socket_), -ENOTSOCK);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	memset(&app, 0, sizeof app);
	assert_int_equal(socket_describe(&app, pair[0], &socket_), -EISCONN);
	assert_non_null(strstr(app.problem, "connected"));
	close(pair[0]);
	close(pair[1]);
}

static int no_program(void *context, struct app *app, int *ret_prog)
{
	(void)context;
	(void)ret_prog;
	return app_fail(app, -EPERM, "not today");
}

static int no_classic(void *context, struct app *app, bool steering, struct sock_fprog *ret_program)
{
	(void)context;
	(void)ret_program;
	return app_fail(app, -E2BIG, "%s too large", steering ? "steering" : "filter");
}

static void test_no_rung(void **state)
{
	const struct app_filter filter = { .program = no_program, .classic = no_classic };
	struct app_socket socket_ = { .fd = -1 };
	struct app app;

	(void)state;
	assert_int_equal(listen_on(&app, "tcp:127.0.0.1:0", &filter, &socket_), -EPERM);
	assert_int_equal(socket_.fd, -1);
	assert_non_null(strstr(app.problem, "pinned: no pinned program was named; cbpf: filter too large; reuseport: "));
	assert_int_equal(listen_on(&app, "udp:127.0.0.1:0", &filter, &socket_), -EPERM);
	assert_non_null(strstr(app.problem, "reuseport: steering is for TCP"));
	assert_int_equal(listen_on(&app, "unix:@weir-unit", &filter, &socket_), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unix_path_is_taken_over), cmocka_unit_test(test_describe),
		cmocka_unit_test(test_no_rung),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
