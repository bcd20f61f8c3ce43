/* SPDX-License-Identifier: GPL-2.0-only */
/* What `--listen` takes, and what it says of the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "app/app.h"

static struct app_address parse(const char *text)
{
	struct app_address address;
	struct app app = { 0 };

	assert_int_equal(address_parse(&app, text, &address), 0);
	return address;
}

/* "4 0.0.0.0 80": family, address, port. */
static void expect(const char *text, enum app_kind kind, const char *name, const char *wanted)
{
	struct app_address address = parse(text);
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address.address;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&address.address;
	char host[INET6_ADDRSTRLEN], got[80];

	assert_int_equal(address.kind, kind);
	assert_string_equal(address.name, name);
	inet_ntop(in->sin_family, in->sin_family == AF_INET ? (const void *)&in->sin_addr : (const void *)&in6->sin6_addr,
		  host, sizeof host);
	snprintf(got, sizeof got, "%d %s %d", in->sin_family == AF_INET ? 4 : 6, host, ntohs(in->sin_port));
	assert_string_equal(got, wanted);
	assert_int_equal(address.length, in->sin_family == AF_INET ? sizeof *in : sizeof *in6);
}

static void test_network(void **state)
{
	(void)state;
	expect("tcp:127.0.0.1:80", APP_TCP, "", "4 127.0.0.1 80");
	expect("udp:[::1]:5353", APP_UDP, "", "6 ::1 5353");
	expect("sctp:[::]:0", APP_SCTP, "", "6 :: 0");
	expect("tcp:80", APP_TCP, "", "6 :: 80");
	expect("tcp::443", APP_TCP, "", "6 :: 443");
	expect("tcp:*:443", APP_TCP, "", "6 :: 443");
	expect("tcp:0.0.0.0:65535", APP_TCP, "", "4 0.0.0.0 65535");
	expect("tcp:[::ffff:10.0.0.1]:1", APP_TCP, "", "6 ::ffff:10.0.0.1 1");
	expect("web=tcp::443", APP_TCP, "web", "6 :: 443");
	expect("a-b.c=udp:53", APP_UDP, "a-b.c", "6 :: 53");
	assert_true(parse("tcp:80").any);
	assert_false(parse("tcp:[::]:80").any);
	assert_string_equal(parse("web=tcp::443").text, "tcp::443");
}

static void test_zone(void **state)
{
	struct app_address address = parse("tcp:[fe80::1%lo]:80");

	(void)state;
	assert_int_equal(((const struct sockaddr_in6 *)&address.address)->sin6_scope_id, 1);
}

static void test_unix(void **state)
{
	struct app_address address = parse("local=unix:/run/x.sock");
	const struct sockaddr_un *path = (const struct sockaddr_un *)&address.address;

	(void)state;
	assert_string_equal(path->sun_path, "/run/x.sock");
	address = parse("unix:@x=y");
	assert_int_equal(path->sun_path[0], 0);
	assert_memory_equal(path->sun_path + 1, "x=y", 3);
	assert_int_equal(address.length, offsetof(struct sockaddr_un, sun_path) + 4);
	assert_string_equal(address.name, "");
}

static void refuse(const char *text, const char *words)
{
	struct app_address address = { .kind = APP_SCTP };
	struct app app = { 0 };

	assert_int_equal(address_parse(&app, text, &address), -EINVAL);
	if (!strstr(app.problem, words))
		fail_msg("`%s`: %s", text, app.problem);
	assert_int_equal(address.kind, APP_SCTP); /* untouched */
}

static void test_refused(void **state)
{
	char text[600];

	(void)state;
	refuse("", "no place to listen");
	refuse("80", "no place to listen");
	refuse("http:80", "no place to listen");
	refuse("tcp", "no place to listen");
	refuse("=tcp:80", "a socket's name");
	refuse("a b=tcp:80", "visible");
	refuse("tcp:", "neither a port number nor a service");
	refuse("tcp:1.2.3.4:", "neither a port number nor a service");
	refuse("tcp:65536", "no port");
	refuse("tcp:99999999999999999999", "no port");
	refuse("tcp:80x", "no port");
	refuse("tcp:-1", "neither a port");
	refuse("tcp:1.2.3:80", "no address");
	refuse("tcp:localhost:80", "names are not looked up");
	refuse("tcp:::1:80", "brackets");
	refuse("tcp:[::1]", "after `[`");
	refuse("tcp:[::1]80", "after `[`");
	refuse("tcp:[::g]:80", "no IPv6 address");
	refuse("tcp:[fe80::1%no-such-if]:80", "no interface");
	refuse("unix:", "path");
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	memcpy(text, "unix:", 5);
	refuse(text, "path");
	memcpy(text, "tcp:x", 5);
	refuse(text, "neither a port number nor a service");
	text[300] = ':';
	refuse(text, "no address");
	text[300] = '=';
	refuse(text + 5, "a socket's name");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_network), cmocka_unit_test(test_zone), cmocka_unit_test(test_unix),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
