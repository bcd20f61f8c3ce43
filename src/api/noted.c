/* SPDX-License-Identifier: GPL-2.0-only */
/* Answers of the machine's names, noted. See noted.h. */
#include "api/noted.h"

#include <string.h>

#include "base/hash.h"

enum kind { NAME_USER = 1, NAME_GROUP, NAME_MEMBERS, NAME_SERVICE, NAME_PROTOCOL, NAME_INTERFACES, NAME_PROGRAM, NAME_CGROUP };

struct noted_name {
	enum kind kind; /* 0: none here */
	const char *name, *protocol; /* of a service, "" if of any */
	uint64_t answer; /* a hash of all that was said */
};

static uint64_t mix_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = hash_mix(hash, (unsigned char)*text);
	return hash_mix(hash, 0);
}

/* --- the table --------------------------------------------------------------------------------------------------- */

static struct noted_name *slot_of(const struct noted *noted, enum kind kind, const char *name, const char *protocol)
{
	size_t at = mix_text(mix_text(kind, name), protocol) & (noted->size - 1);

	for (;; at = (at + 1) & (noted->size - 1)) {
		struct noted_name *slot = &noted->slots[at];

		if (!slot->kind || (slot->kind == kind && !strcmp(slot->name, name) && !strcmp(slot->protocol, protocol)))
			return slot;
	}
}

static void grow(struct noted *noted)
{
	const struct noted old = *noted;

	noted->size *= 2;
	noted->slots = ARENA_ARRAY(noted->arena, struct noted_name, noted->size);
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i].kind)
			*slot_of(noted, old.slots[i].kind, old.slots[i].name, old.slots[i].protocol) = old.slots[i];
}

/* A name that is answered otherwise the second time has no answer to rely on: both together match none. */
static void note(struct noted *noted, enum kind kind, const char *name, const char *protocol, uint64_t answer)
{
	struct noted_name *slot = slot_of(noted, kind, name, protocol);

	if (slot->kind) {
		slot->answer = slot->answer == answer ? answer : hash_mix(slot->answer, answer);
		return;
	}
	*slot = (struct noted_name){ kind, arena_strndup(noted->arena, name, strlen(name)),
				     arena_strndup(noted->arena, protocol, strlen(protocol)), answer };
	if (++noted->count > noted->size / 2)
		grow(noted);
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

static int note_user(void *context, const char *name, uint32_t *ret_uid)
{
	int error = names_system.user(names_system.context, name, ret_uid);

	note(context, NAME_USER, name, "", hash_mix((uint64_t)error, error ? 0 : *ret_uid));
	return error;
}

static int note_group(void *context, const char *name, uint32_t *ret_gid)
{
	int error = names_system.group(names_system.context, name, ret_gid);

	note(context, NAME_GROUP, name, "", hash_mix((uint64_t)error, error ? 0 : *ret_gid));
	return error;
}

static int note_service(void *context, const char *name, const char *protocol, uint16_t *ret_port)
{
	int error = names_system.service(names_system.context, name, protocol, ret_port);

	note(context, NAME_SERVICE, name, protocol ? protocol : "", hash_mix((uint64_t)error, error ? 0 : *ret_port));
	return error;
}

static int note_protocol(void *context, const char *name, uint8_t *ret_number)
{
	int error = names_system.protocol(names_system.context, name, ret_number);

	note(context, NAME_PROTOCOL, name, "", hash_mix((uint64_t)error, error ? 0 : *ret_number));
	return error;
}

static int note_program(void *context, const char *path, struct program *ret_program)
{
	int error = names_system.program(names_system.context, path, ret_program);
	uint64_t answer = (uint64_t)error;

	if (!error)
		answer = hash_mix(hash_mix(hash_mix(hash_mix(answer, ret_program->inode), ret_program->device),
					   ret_program->generation), ret_program->has_generation);
	note(context, NAME_PROGRAM, path, "", answer);
	return error;
}

static int note_cgroup(void *context, const char *path, uint8_t *ret_level, uint64_t *ret_id)
{
	int error = names_system.cgroup(names_system.context, path, ret_level, ret_id);

	note(context, NAME_CGROUP, path, "", error ? (uint64_t)error : hash_mix(hash_mix(0, *ret_level), *ret_id));
	return error;
}

/* What is found is told on. No memory is taken from the arena meanwhile: more than that would be lost if it unwound. */
struct finding {
	void (*found)(void *data, uint32_t number);
	void *data;
	uint64_t answer;
};

static void find(void *data, uint32_t number)
{
	struct finding *finding = data;

	finding->answer = hash_mix(finding->answer, number);
	finding->found(finding->data, number);
}

static int note_members(void *context, const char *group, void (*found)(void *data, uint32_t uid), void *data)
{
	struct finding finding = { found, data, 0 };
	int count = names_system.members(names_system.context, group, find, &finding);

	note(context, NAME_MEMBERS, group, "", hash_mix(finding.answer, (uint64_t)count));
	return count;
}

static int note_interfaces(void *context, const char *glob, void (*found)(void *data, uint32_t index), void *data)
{
	struct finding finding = { found, data, 0 };
	int count = names_system.interfaces(names_system.context, glob, find, &finding);

	note(context, NAME_INTERFACES, glob, "", hash_mix(finding.answer, (uint64_t)count));
	return count;
}

struct noted *noted_new(struct arena *arena)
{
	struct noted *noted = ARENA_NEW(arena, struct noted);

	noted->names = (struct names){
		.context = noted, .user = note_user, .group = note_group, .members = note_members,
		.service = note_service, .protocol = note_protocol, .interfaces = note_interfaces,
		.program = note_program, .cgroup = note_cgroup,
	};
	noted->arena = arena;
	noted->size = 16;
	noted->slots = ARENA_ARRAY(arena, struct noted_name, noted->size);
	return noted;
}

/* --- keeping: for each, its answer, its kind, the name, the protocol, both with their NUL ------------------------- */

enum { HEAD_BYTES = sizeof(uint64_t) + 1 };

static size_t name_size(const struct noted_name *name)
{
	return HEAD_BYTES + strlen(name->name) + 1 + strlen(name->protocol) + 1;
}

const void *noted_encode(struct arena *arena, const struct noted *noted, size_t *ret_size)
{
	size_t size = 0;
	char *data, *to;

	for (size_t i = 0; i < noted->size; i++)
		size += noted->slots[i].kind ? name_size(&noted->slots[i]) : 0;
	data = to = arena_alloc(arena, size);
	for (size_t i = 0; i < noted->size; i++) {
		const struct noted_name *name = &noted->slots[i];

		if (!name->kind)
			continue;
		memcpy(to, &name->answer, sizeof name->answer);
		to[sizeof name->answer] = (char)name->kind;
		strcpy(to + HEAD_BYTES, name->name);
		strcpy(to + HEAD_BYTES + strlen(name->name) + 1, name->protocol);
		to += name_size(name);
	}
	*ret_size = size;
	return data;
}

/* The name there, in place; false at the end, or if the bytes are none of ours. */
static bool next(const char **at, const char *end, struct noted_name *ret_name)
{
	const char *name = *at + HEAD_BYTES, *protocol, *behind;

	if (end - *at <= HEAD_BYTES || !(protocol = memchr(name, '\0', (size_t)(end - name))))
		return false;
	protocol++;
	behind = memchr(protocol, '\0', (size_t)(end - protocol));
	if (!behind)
		return false;
	*ret_name = (struct noted_name){ .kind = (enum kind)*(name - 1), .name = name, .protocol = protocol };
	memcpy(&ret_name->answer, *at, sizeof ret_name->answer);
	*at = behind + 1;
	return true;
}

static void ignore(void *data, uint32_t number)
{
	(void)data;
	(void)number;
}

static void ask(struct noted *noted, const struct noted_name *name)
{
	struct program program;
	uint64_t wide;
	uint32_t number;
	uint16_t port;
	uint8_t byte;

	switch (name->kind) {
	case NAME_USER: note_user(noted, name->name, &number); return;
	case NAME_GROUP: note_group(noted, name->name, &number); return;
	case NAME_MEMBERS: note_members(noted, name->name, ignore, NULL); return;
	case NAME_SERVICE:
		note_service(noted, name->name, *name->protocol ? name->protocol : NULL, &port);
		return;
	case NAME_PROTOCOL: note_protocol(noted, name->name, &byte); return;
	case NAME_INTERFACES: note_interfaces(noted, name->name, ignore, NULL); return;
	case NAME_PROGRAM: note_program(noted, name->name, &program); return;
	case NAME_CGROUP: note_cgroup(noted, name->name, &byte, &wide); return;
	}
}

bool noted_still(struct arena *arena, const void *data, size_t size)
{
	struct noted *now = noted_new(arena);
	const char *at = data, *end = at + size;
	struct noted_name name;

	while (next(&at, end, &name)) {
		ask(now, &name);
		if (slot_of(now, name.kind, name.name, name.protocol)->answer != name.answer)
			return false;
	}
	return at == end;
}

bool noted_among(const struct noted *noted, const void *data, size_t size)
{
	const char *at = data, *end = at + size;
	struct noted_name name;
	size_t found = 0;

	while (next(&at, end, &name)) {
		const struct noted_name *slot = slot_of(noted, name.kind, name.name, name.protocol);

		found += slot->kind && slot->answer == name.answer;
	}
	return at == end && found == noted->count;
}
