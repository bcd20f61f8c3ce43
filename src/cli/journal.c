/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entries for the systemd journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). In: names and values; out: one
 * datagram an entry. Fails with -errno when the journal is not there, or an entry cannot be sent.
 */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_PATH "/run/systemd/journal/socket"

/* Each has an address of its own, so that one that was restarted is found again. */
static int connect_to_journal(int fd)
{
	const char *path = getenv("WEIR_JOURNAL");
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (!path)
		path = SOCKET_PATH;
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	return connect(fd, (const struct sockaddr *)&address, sizeof address) ? -errno : 0;
}

int journal_open(struct journal *journal)
{
	int error;

	*journal = (struct journal){ .fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
	if (journal->fd < 0)
		return -errno;
	error = connect_to_journal(journal->fd);
	if (error)
		journal_close(journal);
	return error;
}

void journal_close(struct journal *journal)
{
	if (journal->stream)
		fclose(journal->stream);
	free(journal->text);
	close(journal->fd);
}

void journal_begin(struct journal *journal)
{
	if (!journal->stream)
		journal->stream = open_memstream(&journal->text, &journal->length);
	if (!journal->stream) {
		fputs("weir: out of memory\n", stderr);
		exit(EXIT_SYSTEM);
	}
	rewind(journal->stream);
}

/* The value's length in eight octets, least significant first, where a line end in it would end the field. */
static void put_binary(FILE *stream, const char *name, const char *value, size_t length)
{
	fprintf(stream, "%s\n", name);
	for (unsigned i = 0; i < 8; i++)
		putc((int)((uint64_t)length >> 8 * i & 255), stream);
	fwrite(value, 1, length, stream);
	putc('\n', stream);
}

void journal_text(struct journal *journal, const char *name, const char *value)
{
	if (!value[0])
		return;
	if (strchr(value, '\n'))
		put_binary(journal->stream, name, value, strlen(value));
	else
		fprintf(journal->stream, "%s=%s\n", name, value);
}

void journal_number(struct journal *journal, const char *name, uint64_t number)
{
	fprintf(journal->stream, "%s=%llu\n", name, (unsigned long long)number);
}

int journal_send(struct journal *journal)
{
	if (fflush(journal->stream))
		return -ENOMEM;
	if (send(journal->fd, journal->text, journal->length, MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno != ECONNREFUSED && errno != ENOTCONN && errno != ECONNRESET)
		return -errno;
	if (connect_to_journal(journal->fd))
		return -ECONNREFUSED;
	return send(journal->fd, journal->text, journal->length, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
