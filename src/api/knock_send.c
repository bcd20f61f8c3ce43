/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The knocking client. In: a host, and a key or a sequence of ports; out: packets to every address of the host. Needs no
 * privileges. Fails if no address could be sent to.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "api/knock_key.h"

enum { ADDRESSES_MAX = 16, PAUSE_MS = 100 };

struct knocking {
	struct weir_knock knock;
	struct addrinfo *addresses; /* freed by weir_knock() */
	uint64_t key[2];
	uint64_t counter;           /* packets of this call so far */
	size_t reached;
	int error;                  /* of the last address that was not */
};

static void pause_ms(unsigned milliseconds)
{
	const struct timespec time = { milliseconds / 1000, (long)(milliseconds % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

/* A socket that is, or for TCP may become, connected to the address at that port; -errno. */
static int open_to(const struct addrinfo *address, int type, unsigned port)
{
	int fd = socket(address->ai_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage to;

	if (fd < 0)
		return -errno;
	memcpy(&to, address->ai_addr, address->ai_addrlen);
	if (address->ai_family == AF_INET6)
		((struct sockaddr_in6 *)&to)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)&to)->sin_port = htons((uint16_t)port);
	if (connect(fd, (struct sockaddr *)&to, address->ai_addrlen) && errno != EINPROGRESS) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

/* --- by a key ---------------------------------------------------------------------------------------------------- */

/* The address that packets of the socket come from, IPv4 mapped. */
static int source_of(int fd, uint8_t *ret_source)
{
	struct sockaddr_storage from;
	socklen_t length = sizeof from;

	if (getsockname(fd, (struct sockaddr *)&from, &length))
		return -errno;
	memset(ret_source, 0, 16);
	if (from.ss_family == AF_INET6) {
		memcpy(ret_source, &((struct sockaddr_in6 *)&from)->sin6_addr, 16);
	} else {
		memset(ret_source + 10, 0xff, 2);
		memcpy(ret_source + 12, &((struct sockaddr_in *)&from)->sin_addr, 4);
	}
	return 0;
}

static uint64_t stamp_now(struct knocking *knocking)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000) << KNOCK_COUNTER_BITS |
	       (knocking->counter++ & ((1u << KNOCK_COUNTER_BITS) - 1));
}

static int send_key(struct knocking *knocking, const struct addrinfo *address)
{
	struct knock_packet packet;
	uint8_t source[16];
	int fd = open_to(address, SOCK_DGRAM, knocking->knock.port), error;

	if (fd < 0)
		return fd;
	error = knocking->knock.bind ? source_of(fd, source) : 0;
	if (!error) {
		knock_packet_make(knocking->key, stamp_now(knocking), knocking->knock.bind ? source : NULL, &packet);
		error = send(fd, &packet, sizeof packet, 0) == sizeof packet ? 0 : -errno;
	}
	close(fd);
	return error;
}

/* --- by a sequence ----------------------------------------------------------------------------------------------- */

/* One step, as "tcp:7000"; where the next one begins, or NULL with a reason. */
static const char *read_step(const char *text, int *ret_type, unsigned *ret_port)
{
	unsigned long port = 0;
	bool tcp = !strncmp(text, "tcp:", 4);

	if (!tcp && strncmp(text, "udp:", 4))
		return NULL;
	for (text += 4; *text >= '0' && *text <= '9' && port <= UINT16_MAX; text++)
		port = port * 10 + (unsigned long)(*text - '0');
	if (!port || port > UINT16_MAX || (*text && (*text != ',' || !text[1])))
		return NULL;
	*ret_type = tcp ? SOCK_STREAM : SOCK_DGRAM;
	*ret_port = (unsigned)port;
	return *text ? text + 1 : text;
}

static bool sequence_is_good(const char *text)
{
	unsigned port;
	int type;

	if (!*text)
		return false;
	while (text && *text)
		text = read_step(text, &type, &port);
	return text != NULL;
}

/* A TCP step is a SYN, whatever comes back; an ICMP error that an earlier step has earned is none of this one. */
static int send_step(const struct addrinfo *address, int type, unsigned port)
{
	int fd = open_to(address, type, port), error = 0;

	if (fd < 0)
		return fd == -ECONNREFUSED ? 0 : fd;
	if (type == SOCK_DGRAM && send(fd, "", 0, 0) < 0 && errno != ECONNREFUSED)
		error = -errno;
	close(fd);
	return error;
}

static int send_sequence(struct knocking *knocking, const struct addrinfo *address)
{
	unsigned pause = knocking->knock.pause_ms ? knocking->knock.pause_ms : PAUSE_MS, port;
	const char *at = knocking->knock.sequence;
	int type, error = 0;

	while (!error && *at) {
		at = read_step(at, &type, &port);
		error = send_step(address, type, port);
		if (*at)
			pause_ms(pause);
	}
	return error;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

static int prepare(struct call *call, struct knocking *knocking)
{
	const struct weir_knock *knock = &knocking->knock;
	struct master_key master;
	const char *wrong;

	if (!knock->key == !knock->sequence)
		return api_fail(call, WEIR_INPUT, "one knocks with a key or with a sequence");
	if (knock->sequence && !sequence_is_good(knock->sequence))
		return api_fail(call, WEIR_INPUT, "`%s` is no sequence like `tcp:7000,udp:8000`", knock->sequence);
	if (!knock->key)
		return WEIR_OK;
	wrong = key_read(call->arena, knock->key, &master);
	if (wrong)
		return api_fail(call, WEIR_INPUT, "the key %s: %s", knock->key, wrong);
	key_of_knock(&master, knock->name, knocking->key);
	explicit_bzero(&master, sizeof master);
	return WEIR_OK;
}

static int knock_at(struct call *call, void *context)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG };
	struct knocking *knocking = context;
	size_t tried = 0;
	int status = prepare(call, knocking), error;

	if (status)
		return status;
	error = getaddrinfo(knocking->knock.host, NULL, &hints, &knocking->addresses);
	if (error)
		return api_fail(call, WEIR_INPUT, "`%s`: %s", knocking->knock.host, gai_strerror(error));
	for (struct addrinfo *at = knocking->addresses; at && tried < ADDRESSES_MAX; at = at->ai_next, tried++) {
		error = knocking->knock.key ? send_key(knocking, at) : send_sequence(knocking, at);
		knocking->reached += !error;
		knocking->error = error ? error : knocking->error;
	}
	explicit_bzero(knocking->key, sizeof knocking->key);
	return knocking->reached ? WEIR_OK : api_fail(call, WEIR_SYSTEM, "`%s` cannot be sent to: %s",
						      knocking->knock.host, strerror(-knocking->error));
}

WEIR_EXPORT int weir_knock(struct weir *weir, const struct weir_knock *knock, size_t *ret_addresses)
{
	struct knocking knocking = { .reached = 0 };
	int status;

	memcpy(&knocking.knock, knock, knock->size < sizeof *knock ? knock->size : sizeof *knock);
	status = api_call(weir, NULL, false, knock_at, &knocking);
	if (knocking.addresses)
		freeaddrinfo(knocking.addresses);
	if (!status)
		*ret_addresses = knocking.reached;
	return status;
}

static int new_key(struct call *call, void *context)
{
	const char *path = context, *wrong = key_make(call->arena, path);

	return wrong ? api_fail(call, WEIR_SYSTEM, "cannot write the key %s: %s", path, wrong) : WEIR_OK;
}

WEIR_EXPORT int weir_knock_new_key(struct weir *weir, const char *path)
{
	return api_call(weir, NULL, false, new_key, (void *)path);
}
