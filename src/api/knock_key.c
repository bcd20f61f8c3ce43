/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A key file is one line of 32 hexadecimal digits: 16 random bytes. The key of a knock is SipHash-2-4 under them of a
 * byte 0 and the knock's name, and of a byte 1 and the name: a packet for one knock does not open another.
 */
#include "api/knock_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/siphash.h"

enum { KEY_DIGITS = 32, NAME_BYTES = 256 };

/* --- files ------------------------------------------------------------------------------------------------------ */

static const char *check_file(struct arena *arena, int fd)
{
	struct stat status;

	if (fstat(fd, &status))
		return arena_printf(arena, "%s", strerror(errno));
	if (!S_ISREG(status.st_mode))
		return "it is no file";
	if (status.st_mode & 077)
		return arena_printf(arena, "others than its owner may use it (mode %04o): `chmod 600` it",
				    (unsigned)status.st_mode & 07777);
	if (status.st_uid && status.st_uid != geteuid())
		return "it belongs to another user";
	return NULL;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse(const char *text, struct master_key *ret_key)
{
	struct master_key key = { { 0 } };

	for (size_t i = 0; i < KEY_DIGITS; i++) {
		if (digit(text[i]) < 0)
			return false;
		key.words[i / 16] = key.words[i / 16] << 4 | (unsigned)digit(text[i]);
	}
	*ret_key = key;
	explicit_bzero(&key, sizeof key);
	return true;
}

static const char *read_open(struct arena *arena, int fd, struct master_key *ret_key)
{
	const char *wrong = check_file(arena, fd);
	char text[KEY_DIGITS + 2];
	ssize_t length;

	if (wrong)
		return wrong;
	length = read(fd, text, sizeof text);
	if (length < 0)
		wrong = arena_printf(arena, "%s", strerror(errno));
	else if (length != KEY_DIGITS + 1 || text[KEY_DIGITS] != '\n' || !parse(text, ret_key))
		wrong = "it is no key: `weir knock --new-key` makes one";
	explicit_bzero(text, sizeof text);
	return wrong;
}

const char *key_read(struct arena *arena, const char *path, struct master_key *ret_key)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	const char *wrong;

	if (fd < 0)
		return arena_printf(arena, "%s", strerror(errno));
	wrong = read_open(arena, fd, ret_key);
	close(fd);
	return wrong;
}

static bool write_all(int fd, const char *text, size_t length)
{
	ssize_t written = write(fd, text, length);

	if (written >= 0 && (size_t)written != length)
		errno = ENOSPC;
	return written >= 0 && (size_t)written == length && !fsync(fd);
}

const char *key_make(struct arena *arena, const char *path)
{
	struct master_key key;
	char text[KEY_DIGITS + 2];
	const char *wrong = NULL;
	int fd;

	if (getrandom(&key, sizeof key, 0) != sizeof key)
		return "the kernel gives no random bytes";
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return arena_printf(arena, "%s", strerror(errno));
	snprintf(text, sizeof text, "%016llx%016llx\n", (unsigned long long)key.words[0],
		 (unsigned long long)key.words[1]);
	if (!write_all(fd, text, KEY_DIGITS + 1)) {
		wrong = arena_printf(arena, "%s", strerror(errno));
		unlink(path);
	}
	close(fd);
	explicit_bzero(text, sizeof text);
	explicit_bzero(&key, sizeof key);
	return wrong;
}

/* --- what is made of them --------------------------------------------------------------------------------------- */

void key_of_knock(const struct master_key *master, const char *name, uint64_t ret_key[2])
{
	__u8 message[NAME_BYTES] = { 0 };
	const __u64 key[2] = { master->words[0], master->words[1] };
	size_t length = strnlen(name, sizeof message - 1);

	memcpy(message + 1, name, length);
	for (__u8 half = 0; half < 2; half++) {
		message[0] = half;
		ret_key[half] = siphash_bytes(key, message, length + 1);
	}
}

static void put_big_endian(uint64_t value, uint8_t *bytes)
{
	for (unsigned i = 8; i--; value >>= 8)
		bytes[i] = (uint8_t)value;
}

static void put_little_endian(uint64_t value, uint8_t *bytes)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		bytes[i] = (uint8_t)value;
}

void knock_packet_make(const uint64_t key[2], uint64_t stamp, const uint8_t *source, struct knock_packet *ret_packet)
{
	struct knock_packet packet = { .magic = { KNOCK_MAGIC_0, KNOCK_MAGIC_1 }, .version = KNOCK_VERSION,
				       .flags = source ? KNOCK_BOUND : 0 };
	const __u64 words[2] = { key[0], key[1] };
	uint8_t message[32] = { 0 };

	put_big_endian(stamp, packet.stamp);
	memcpy(message, &packet, 16);
	if (source)
		memcpy(message + 16, source, 16);
	put_little_endian(siphash_bytes(words, message, sizeof message), packet.mac);
	*ret_packet = packet;
}
