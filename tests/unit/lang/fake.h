/* SPDX-License-Identifier: GPL-2.0-only */
/* A small world for tests of the language: names and files that are the same on every machine. */
#ifndef WEIR_TESTS_UNIT_LANG_FAKE_H
#define WEIR_TESTS_UNIT_LANG_FAKE_H

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lang/lang.h"

struct fake_name {
	const char *name;
	const char *protocol; /* NULL: any */
	uint32_t number;
	uint8_t level;
};

static const struct fake_name fake_users[] = {
	{ .name = "root", .number = 0 },    { .name = "www-data", .number = 33 },   { .name = "alice", .number = 1000 },
	{ .name = "bob", .number = 1001 },  { .name = "nobody", .number = 65534 },  { .name = NULL },
};
static const struct fake_name fake_services[] = {
	{ "ssh", "tcp", 22, 0 },   { "domain", NULL, 53, 0 }, { "http", "tcp", 80, 0 },
	{ "https", "tcp", 443, 0 }, { "ntp", "udp", 123, 0 },  { .name = NULL },
};
static const struct fake_name fake_protocols[] = { { .name = "rsvp", .number = 46 }, { .name = NULL } };
static const struct fake_name fake_interfaces[] = {
	{ .name = "lo", .number = 1 },    { .name = "eth0", .number = 2 },  { .name = "eth1", .number = 3 },
	{ .name = "veth0", .number = 4 }, { .name = "veth1", .number = 5 }, { .name = NULL },
};
static const struct fake_name fake_cgroups[] = {
	{ "/", NULL, 1, 0 },       { "/system.slice", NULL, 10, 1 }, { "/system.slice/ssh.service", NULL, 11, 2 },
	{ "/user.slice", NULL, 12, 1 }, { "/a/b/c", NULL, 13, 3 },  { "/a/b/c/d", NULL, 14, 4 },
	{ .name = NULL },
};

static inline const struct fake_name *fake_find(const struct fake_name *names, const char *name, const char *protocol)
{
	for (; names->name; names++)
		if (!strcmp(names->name, name) &&
		    (!protocol || !names->protocol || !strcmp(names->protocol, protocol)))
			return names;
	return NULL;
}

static inline int fake_user(void *context, const char *name, uint32_t *ret_uid)
{
	const struct fake_name *found = fake_find(fake_users, name, NULL);

	(void)context;
	if (!found)
		return -ENOENT;
	*ret_uid = found->number;
	return 0;
}

/* wheel: alice and bob; empty: nobody */
static inline int fake_members(void *context, const char *group, void (*found)(void *data, uint32_t uid), void *data)
{
	(void)context;
	if (!strcmp(group, "empty"))
		return 0;
	if (strcmp(group, "wheel"))
		return -ENOENT;
	found(data, 1001);
	found(data, 1000);
	return 2;
}

static inline int fake_service(void *context, const char *name, const char *protocol, uint16_t *ret_port)
{
	const struct fake_name *found = fake_find(fake_services, name, protocol);

	(void)context;
	if (!found)
		return -ENOENT;
	*ret_port = (uint16_t)found->number;
	return 0;
}

static inline int fake_protocol(void *context, const char *name, uint8_t *ret_number)
{
	const struct fake_name *found = fake_find(fake_protocols, name, NULL);

	(void)context;
	if (!found)
		return -ENOENT;
	*ret_number = (uint8_t)found->number;
	return 0;
}

static inline int fake_interface(void *context, const char *glob, void (*found)(void *data, uint32_t index),
				 void *data)
{
	int count = 0;

	(void)context;
	for (const struct fake_name *name = fake_interfaces; name->name; name++) {
		if (fnmatch(glob, name->name, 0))
			continue;
		found(data, name->number);
		count++;
	}
	return count;
}

static inline int fake_cgroup(void *context, const char *path, uint8_t *ret_level, uint64_t *ret_id)
{
	const struct fake_name *found = fake_find(fake_cgroups, path, NULL);

	(void)context;
	if (!found)
		return -ENOENT;
	*ret_level = found->level;
	*ret_id = found->number;
	return 0;
}

/* /programs/N is one, of inode N. */
static inline int fake_program(void *context, const char *path, struct program *ret_program)
{
	unsigned inode;

	(void)context;
	if (sscanf(path, "/programs/%u", &inode) != 1)
		return -ENOENT;
	*ret_program = (struct program){ .device = 1, .inode = inode };
	return 0;
}

static const struct names fake_names = {
	.user = fake_user,
	.members = fake_members,
	.service = fake_service,
	.protocol = fake_protocol,
	.interfaces = fake_interface,
	.cgroup = fake_cgroup,
	.program = fake_program,
};

/* A real file, whole; NULL with errno. The caller frees it. */
static inline char *fake_slurp(const char *path, size_t *ret_length)
{
	FILE *file = fopen(path, "rb");
	size_t room = 1 << 16, length = 0;
	char *text = file ? malloc(room) : NULL;

	while (text) {
		size_t got = fread(text + length, 1, room - length - 1, file);

		length += got;
		if (!got)
			break;
		if (room - length < 2)
			text = realloc(text, room *= 2);
	}
	if (file)
		fclose(file);
	if (text) {
		text[length] = '\0';
		*ret_length = length;
	}
	return text;
}

/* lang_read for real files. Nothing is open or owned across an allocation from the arena. */
static inline int fake_read(void *context, struct arena *arena, const char *path, const struct source **ret_source)
{
	FILE *file = fopen(path, "rb");
	struct source *source;
	long size = -1;
	char *text;

	(void)context;
	if (!file)
		return -errno;
	if (!fseek(file, 0, SEEK_END))
		size = ftell(file);
	fclose(file);
	if (size < 0)
		return -EIO;
	source = ARENA_NEW(arena, struct source);
	text = arena_alloc(arena, (size_t)size + 1);
	file = fopen(path, "rb");
	if (!file)
		return -errno;
	source->length = fread(text, 1, (size_t)size, file);
	fclose(file);
	source->text = text;
	source->name = path;
	*ret_source = source;
	return 0;
}

#endif
