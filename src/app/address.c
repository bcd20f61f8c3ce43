/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: what `--listen` says: [NAME=]tcp:ADDR:PORT, udp:..., sctp:..., unix:PATH. Out: a socket address. Fails with
 * -EINVAL and a sentence. Addresses are numeric; none at all (`tcp:80`, `tcp::80`) means every one of the host's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "app/app.h"

static const struct kind {
	const char *name;
	enum app_kind kind;
} kinds[] = { { "tcp", APP_TCP }, { "udp", APP_UDP }, { "unix", APP_UNIX }, { "sctp", APP_SCTP } };

enum { KIND_COUNT = sizeof kinds / sizeof kinds[0], HOST_SIZE = 64 };

size_t address_name(const char *text)
{
	size_t length = strcspn(text, "=:/ ");

	return text[length] == '=' && text[length + 1] != '=' ? length : 0;
}

static int parse_name(struct app *app, const char **text, struct app_address *address)
{
	size_t length = strcspn(*text, "=:");

	if ((*text)[length] != '=')
		return 0;
	if (!length || length >= sizeof address->name)
		return app_fail(app, -EINVAL, "`%.60s`: a socket's name has from 1 to %zu characters", *text,
				sizeof address->name - 1);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)(*text)[i] <= ' ' || (unsigned char)(*text)[i] > '~')
			return app_fail(app, -EINVAL, "a socket's name is made of visible ASCII characters");
	memcpy(address->name, *text, length);
	*text += length + 1;
	return 0;
}

static int parse_kind(struct app *app, const char **text, struct app_address *address)
{
	for (size_t i = 0; i < KIND_COUNT; i++) {
		size_t length = strlen(kinds[i].name);

		if (strncmp(*text, kinds[i].name, length) || (*text)[length] != ':')
			continue;
		address->kind = kinds[i].kind;
		*text += length + 1;
		return 0;
	}
	return app_fail(app, -EINVAL, "`%.100s` is no place to listen: it begins with tcp:, udp:, sctp: or unix:",
			*text);
}

/* `@name` is a socket in the abstract namespace. */
static int parse_unix(struct app *app, const char *path, struct app_address *address)
{
	struct sockaddr_un *to = (struct sockaddr_un *)&address->address;
	size_t length = strlen(path);

	if (!length || length >= sizeof to->sun_path)
		return app_fail(app, -EINVAL, "`unix:%.60s`: a socket's path has from 1 to %zu bytes", path,
				sizeof to->sun_path - 1);
	to->sun_family = AF_UNIX;
	memcpy(to->sun_path, path, length);
	address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	if (path[0] == '@') {
		to->sun_path[0] = '\0';
		address->length--;
	}
	return 0;
}

static int parse_port(struct app *app, const char *text, enum app_kind kind, uint16_t *ret_port)
{
	static const char *const protocols[] = { [APP_TCP] = "tcp", [APP_UDP] = "udp", [APP_SCTP] = "sctp" };
	const struct servent *service;
	char *end;
	unsigned long port;

	if (*text >= '0' && *text <= '9') {
		errno = 0;
		port = strtoul(text, &end, 10);
		if (*end || errno || port > 65535)
			return app_fail(app, -EINVAL, "`%.40s` is no port: ports go from 0 (any free one) to 65535",
					text);
		*ret_port = (uint16_t)port;
		return 0;
	}
	service = *text ? getservbyname(text, protocols[kind]) : NULL;
	if (!service)
		return app_fail(app, -EINVAL, "`%.40s` is neither a port number nor a service", text);
	*ret_port = ntohs((uint16_t)service->s_port);
	return 0;
}

static int set_ipv6(struct app *app, char *host, struct app_address *address)
{
	struct sockaddr_in6 *to = (struct sockaddr_in6 *)&address->address;
	char *zone = strchr(host, '%');

	if (zone)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, host, &to->sin6_addr) != 1)
		return app_fail(app, -EINVAL, "`%s` is no IPv6 address", host);
	to->sin6_family = AF_INET6;
	address->length = sizeof *to;
	if (!zone)
		return 0;
	to->sin6_scope_id = if_nametoindex(zone);
	return to->sin6_scope_id ? 0 : app_fail(app, -EINVAL, "there is no interface `%s`", zone);
}

static int set_ipv4(struct app *app, const char *host, struct app_address *address)
{
	struct sockaddr_in *to = (struct sockaddr_in *)&address->address;

	if (inet_pton(AF_INET, host, &to->sin_addr) != 1) {
		app_hint(app, "write an IPv4 address, an IPv6 address in brackets, or only the port");
		return app_fail(app, -EINVAL, "`%s` is no address; names are not looked up", host);
	}
	to->sin_family = AF_INET;
	address->length = sizeof *to;
	return 0;
}

static int set_host(struct app *app, char *host, bool brackets, struct app_address *address)
{
	if (brackets)
		return set_ipv6(app, host, address);
	if (host[0] && strcmp(host, "*"))
		return set_ipv4(app, host, address);
	address->any = true;
	((struct sockaddr_in6 *)&address->address)->sin6_family = AF_INET6;
	address->length = sizeof(struct sockaddr_in6);
	return 0;
}

/* Splits ADDR:PORT, [ADDR]:PORT, :PORT and PORT. */
static int split(struct app *app, const char *text, char host[HOST_SIZE], bool *ret_brackets, const char **ret_port)
{
	const char *begin = text, *end, *port;

	*ret_brackets = text[0] == '[';
	if (*ret_brackets) {
		begin = text + 1;
		end = strchr(begin, ']');
		if (!end || end[1] != ':')
			return app_fail(app, -EINVAL, "`%.60s`: after `[` follow an IPv6 address, `]:` and a port",
					text);
		port = end + 2;
	} else {
		end = strrchr(text, ':');
		port = end ? end + 1 : text;
		end = end ? end : text;
		if (memchr(text, ':', (size_t)(end - text)))
			return app_fail(app, -EINVAL, "`%.60s`: an IPv6 address is written in brackets, `[::1]:80`",
					text);
	}
	if (end - begin >= HOST_SIZE)
		return app_fail(app, -EINVAL, "`%.60s...` is no address", text);
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = '\0';
	*ret_port = port;
	return 0;
}

static int parse_inet(struct app *app, const char *text, struct app_address *address)
{
	char host[HOST_SIZE];
	bool brackets = false;
	const char *port_text = "";
	uint16_t port = 0;
	int error = split(app, text, host, &brackets, &port_text);

	if (!error)
		error = set_host(app, host, brackets, address);
	if (!error)
		error = parse_port(app, port_text, address->kind, &port);
	if (error)
		return error;
	((struct sockaddr_in *)&address->address)->sin_port = htons(port); /* at the same place in IPv6 */
	return 0;
}

int address_parse(struct app *app, const char *text, struct app_address *ret_address)
{
	struct app_address address = { 0 };
	int error = parse_name(app, &text, &address);

	snprintf(address.text, sizeof address.text, "%s", text);
	if (!error)
		error = parse_kind(app, &text, &address);
	if (!error)
		error = address.kind == APP_UNIX ? parse_unix(app, text, &address) : parse_inet(app, text, &address);
	if (!error)
		*ret_address = address;
	return error;
}
