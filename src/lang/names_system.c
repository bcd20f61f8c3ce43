/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The names of this machine. Input: names; output: numbers, 0 or -errno. Nothing here allocates from an arena, so
 * nothing is left open when one unwinds.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <grp.h>
#include <limits.h>
#include <linux/fs.h>
#include <mntent.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lang/lang.h"

enum {
	LOOKUP_BYTES = 64 * 1024,         /* getpwnam_r() and its like: large enough for long member lists */
	MEMBERS_BYTES = 64 * 1024 * 1024, /* and this for the longest */
};

static int system_user(void *context, const char *name, uint32_t *ret_uid)
{
	char *buffer = malloc(LOOKUP_BYTES);
	struct passwd entry, *found = NULL;
	int error = buffer ? getpwnam_r(name, &entry, buffer, LOOKUP_BYTES, &found) : ENOMEM;

	(void)context;
	if (found)
		*ret_uid = found->pw_uid;
	free(buffer);
	return found ? 0 : error ? -error : -ENOENT;
}

static int system_group(void *context, const char *name, uint32_t *ret_gid)
{
	char *buffer = malloc(LOOKUP_BYTES);
	struct group entry, *found = NULL;
	int error = buffer ? getgrnam_r(name, &entry, buffer, LOOKUP_BYTES, &found) : ENOMEM;

	(void)context;
	if (found)
		*ret_gid = found->gr_gid;
	free(buffer);
	return found ? 0 : error ? -error : -ENOENT;
}

/* A group's entry; getgrnam_r() wants room for all of its members. *ret_buffer is to be freed. */
static int group_entry(const char *name, struct group *ret_entry, char **ret_buffer)
{
	struct group *found = NULL;
	char *buffer = NULL;
	int error = ERANGE;

	for (size_t size = LOOKUP_BYTES; error == ERANGE && size <= MEMBERS_BYTES; size *= 4) {
		free(buffer);
		buffer = malloc(size);
		error = buffer ? getgrnam_r(name, ret_entry, buffer, size, &found) : ENOMEM;
	}
	*ret_buffer = buffer;
	return found ? 0 : error ? -error : -ENOENT;
}

static int count_found(uint32_t uid, void (*found)(void *data, uint32_t uid), void *data)
{
	found(data, uid);
	return 1;
}

/* Users whose first group it is. The database's cursor is the process's: one at a time. */
static int first_members(gid_t gid, void (*found)(void *data, uint32_t uid), void *data)
{
	static pthread_mutex_t cursor = PTHREAD_MUTEX_INITIALIZER;
	char *buffer = malloc(LOOKUP_BYTES);
	struct passwd entry, *user;
	int count = 0, error;

	if (!buffer)
		return -ENOMEM;
	pthread_mutex_lock(&cursor);
	setpwent();
	while (!(error = getpwent_r(&entry, buffer, LOOKUP_BYTES, &user)))
		if (user->pw_gid == gid)
			count += count_found(user->pw_uid, found, data);
	endpwent();
	pthread_mutex_unlock(&cursor);
	free(buffer);
	return error == ENOENT ? count : -error;
}

/* A name that is no user's (any more) is nobody. */
static int system_members(void *context, const char *name, void (*found)(void *data, uint32_t uid), void *data)
{
	struct group group = { 0 };
	char *buffer;
	uint32_t uid;
	int count = group_entry(name, &group, &buffer);

	if (!count)
		count = first_members(group.gr_gid, found, data);
	for (char **member = group.gr_mem; count >= 0 && *member; member++)
		if (!system_user(context, *member, &uid))
			count += count_found(uid, found, data);
	free(buffer);
	return count;
}

/* The device of the file system, which stat() does not tell where each subvolume has one of its own. */
static int mount_device(const char *path, uint32_t *ret_device)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	unsigned mount, major, minor;
	struct statx status;
	char *line = NULL;
	size_t room = 0;
	int error = -ENOENT;

	if (!mounts || statx(AT_FDCWD, path, 0, STATX_MNT_ID, &status))
		error = -errno;
	while (mounts && error == -ENOENT && getline(&line, &room, mounts) > 0)
		if (sscanf(line, "%u %*u %u:%u", &mount, &major, &minor) == 3 && mount == status.stx_mnt_id) {
			*ret_device = major << 20 | minor;
			error = 0;
		}
	free(line);
	if (mounts)
		fclose(mounts);
	return error;
}

/* A file that is deleted gives its inode's number to another one, which has another generation. Not all file systems tell. */
static bool file_generation(const char *path, uint32_t *ret_generation)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	long generation = 0; /* of which the kernel writes as much as an int */
	bool told = fd >= 0 && !ioctl(fd, FS_IOC_GETVERSION, &generation);

	if (fd >= 0)
		close(fd);
	if (told)
		*ret_generation = (uint32_t)generation;
	return told;
}

static int system_program(void *context, const char *path, struct program *ret_program)
{
	struct program program = { 0 };
	struct stat status;
	int error;

	(void)context;
	if (path[0] != '/' || stat(path, &status) || !S_ISREG(status.st_mode) || !(status.st_mode & 0111))
		return -ENOENT;
	error = mount_device(path, &program.device);
	if (error)
		return error;
	program.inode = status.st_ino;
	program.has_generation = file_generation(path, &program.generation);
	*ret_program = program;
	return 0;
}

static int system_service(void *context, const char *name, const char *protocol, uint16_t *ret_port)
{
	char buffer[4096];
	struct servent entry, *found = NULL;

	(void)context;
	getservbyname_r(name, protocol, &entry, buffer, sizeof buffer, &found);
	if (!found)
		return -ENOENT;
	*ret_port = (uint16_t)(((unsigned)found->s_port & 0xff) << 8 | ((unsigned)found->s_port >> 8 & 0xff));
	return 0;
}

static int system_protocol(void *context, const char *name, uint8_t *ret_number)
{
	char buffer[4096];
	struct protoent entry, *found = NULL;

	(void)context;
	getprotobyname_r(name, &entry, buffer, sizeof buffer, &found);
	if (!found || found->p_proto < 0 || found->p_proto > UINT8_MAX)
		return -ENOENT;
	*ret_number = (uint8_t)found->p_proto;
	return 0;
}

static int system_interfaces(void *context, const char *glob, void (*found)(void *data, uint32_t index), void *data)
{
	struct if_nameindex *list = if_nameindex();
	int count = 0;

	(void)context;
	if (!list)
		return -errno;
	for (struct if_nameindex *entry = list; entry->if_name; entry++) {
		if (fnmatch(glob, entry->if_name, 0))
			continue;
		found(data, entry->if_index);
		count++;
	}
	if_freenameindex(list);
	return count;
}

/* Where the unified hierarchy is mounted. */
static int cgroup_mount(char *path, size_t size)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	char buffer[4096];
	int result = -ENOENT;

	if (!mounts)
		return -errno;
	while (result && getmntent_r(mounts, &entry, buffer, sizeof buffer))
		if (!strcmp(entry.mnt_type, "cgroup2"))
			result = (size_t)snprintf(path, size, "%s", entry.mnt_dir) < size ? 0 : -ENAMETOOLONG;
	endmntent(mounts);
	return result;
}

/* Directories below the root; blank parts ("//") are none. */
static int path_level(const char *path, uint8_t *ret_level)
{
	unsigned level = 0;

	for (const char *part = path; *part; part += strcspn(part, "/")) {
		part += strspn(part, "/");
		if (!*part)
			break;
		if (part[0] == '.' && strspn(part, ".") == strcspn(part, "/"))
			return -ENOENT; /* the level would be another one */
		level++;
	}
	if (level > UINT8_MAX)
		return -ENOENT;
	*ret_level = (uint8_t)level;
	return 0;
}

/* A cgroup's id is the handle of its directory. */
static int directory_id(const char *path, uint64_t *ret_id)
{
	_Alignas(struct file_handle) char room[sizeof(struct file_handle) + sizeof *ret_id] = { 0 };
	struct file_handle *handle = (struct file_handle *)room;
	int mount_id;

	handle->handle_bytes = sizeof *ret_id;
	if (name_to_handle_at(AT_FDCWD, path, handle, &mount_id, 0))
		return -errno;
	if (handle->handle_bytes != sizeof *ret_id)
		return -ENOTSUP;
	memcpy(ret_id, room + sizeof *handle, sizeof *ret_id);
	return 0;
}

static int system_cgroup(void *context, const char *path, uint8_t *ret_level, uint64_t *ret_id)
{
	char full[PATH_MAX];
	uint8_t level;
	uint64_t id = 0;
	size_t length;
	int error = cgroup_mount(full, sizeof full);

	(void)context;
	if (error)
		return error;
	length = strlen(full);
	if ((size_t)snprintf(full + length, sizeof full - length, "/%s", path) >= sizeof full - length)
		return -ENAMETOOLONG;
	error = path_level(path, &level);
	if (!error)
		error = directory_id(full, &id);
	if (error)
		return error;
	*ret_level = level;
	*ret_id = id;
	return 0;
}

const struct names names_system = {
	.user = system_user,
	.group = system_group,
	.members = system_members,
	.program = system_program,
	.service = system_service,
	.protocol = system_protocol,
	.interfaces = system_interfaces,
	.cgroup = system_cgroup,
};
