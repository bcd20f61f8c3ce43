/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A cgroup of one command: made below the caller's own, so that what limits and filters the caller goes on to do so;
 * removed, and with it the filters on it, when its last process is gone. A process without privileges waits for that.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/app.h"

#define CGROUP_PREFIX "weir-run-"

enum { MAKE_TRIES = 100, REMOVE_TRIES = 50, DEPTH_MAX = 64 };

static int find_mount(struct app *app, char *path, size_t size)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *entry;
	int error = -ENOENT;

	while (mounts && error && (entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_type, "cgroup2"))
			error = snprintf(path, size, "%s", entry->mnt_dir) < (int)size ? 0 : -ENAMETOOLONG;
	if (mounts)
		endmntent(mounts);
	return error ? app_fail(app, error, "the unified cgroup hierarchy is not mounted") : 0;
}

/* The caller's own place in it, appended to the mount. */
static int own_cgroup(struct app *app, char *path, size_t size)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	size_t used = strlen(path);
	char line[1024];
	int error = -ENOENT;

	while (file && error && fgets(line, sizeof line, file)) {
		if (strncmp(line, "0::/", 4) || !strncmp(line, "0::/..", 6))
			continue;
		line[strcspn(line, "\n")] = '\0';
		error = snprintf(path + used, size - used, "%s", line[4] ? line + 3 : "") < (int)(size - used)
			? 0 : -ENAMETOOLONG;
	}
	if (file)
		fclose(file);
	return error ? app_fail(app, error, "this process has no place in the unified cgroup hierarchy") : 0;
}

/* --- removing ---------------------------------------------------------------------------------------------------- */

/* A cgroup that is empty of processes, with the ones below it. */
static int remove_tree(int parent, const char *name, unsigned depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	while (folder && depth < DEPTH_MAX && (entry = readdir(folder)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			remove_tree(dirfd(folder), entry->d_name, depth + 1);
	if (folder)
		closedir(folder);
	return unlinkat(parent, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

/* What runs leave whose waiting process was killed. Those with processes in them refuse to go. */
static void sweep(int parent)
{
	DIR *folder = fdopendir(dup(parent));
	struct dirent *entry;
	char path[32];

	while (folder && (entry = readdir(folder))) {
		if (strncmp(entry->d_name, CGROUP_PREFIX, strlen(CGROUP_PREFIX)))
			continue;
		snprintf(path, sizeof path, "/proc/%d", atoi(entry->d_name + strlen(CGROUP_PREFIX)));
		if (access(path, F_OK))
			remove_tree(parent, entry->d_name, 0);
	}
	if (folder)
		closedir(folder);
}

struct removal {
	char name[64];
};

static bool populated(int events)
{
	char text[256];
	ssize_t length = pread(events, text, sizeof text - 1, 0);

	if (length < 0)
		return false;
	text[length] = '\0';
	return strstr(text, "populated 1");
}

/* kept: the pipe, the cgroup's events, its parent. The pipe ends when the command runs, or never will. */
static void hold(const int *kept, const void *context)
{
	const struct removal *removal = context;
	struct pollfd event = { .fd = kept[1], .events = POLLPRI };
	char byte;

	while (read(kept[0], &byte, 1) < 0 && errno == EINTR)
		;
	while (populated(kept[1]))
		poll(&event, 1, -1);
	for (int i = 0; i < REMOVE_TRIES && remove_tree(kept[2], removal->name, 0); i++)
		poll(NULL, 0, 20);
}

/* --- making ------------------------------------------------------------------------------------------------------ */

static int make_folder(struct app *app, int parent, const char *above, struct removal *removal)
{
	for (unsigned i = 0; i < MAKE_TRIES; i++) {
		snprintf(removal->name, sizeof removal->name, CGROUP_PREFIX "%d%s%.0u", (int)getpid(), i ? "-" : "", i);
		if (!mkdirat(parent, removal->name, 0755))
			return 0;
		if (errno != EEXIST)
			break;
	}
	if (errno == EACCES || errno == EPERM || errno == EROFS)
		app_hint(app, "root may, and so may a user whom the cgroup is delegated to (systemd: Delegate=yes)");
	return app_fail(app, -errno, "no cgroup can be made below %s: %s", above, strerror(errno));
}

static int start_holder(struct app *app, int parent, const struct removal *removal, struct app_cgroup *cgroup)
{
	int pipe[2], keep[3], error;

	if (pipe2(pipe, O_CLOEXEC))
		return app_fail(app, -errno, "no pipe: %s", strerror(errno));
	keep[0] = pipe[0];
	keep[1] = openat(cgroup->fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	keep[2] = parent;
	error = keep[1] < 0 ? app_fail(app, -errno, "%s: %s", cgroup->path, strerror(errno))
			    : hold_start(app, "weir-cgroup", keep, 3, hold, removal);
	close(pipe[0]);
	if (keep[1] >= 0)
		close(keep[1]);
	if (error)
		close(pipe[1]);
	else
		cgroup->pipe = pipe[1];
	return error;
}

static int make(struct app *app, int parent, const char *above, struct app_cgroup *cgroup)
{
	struct removal removal;
	int error;

	sweep(parent);
	error = make_folder(app, parent, above, &removal);
	if (error)
		return error;
	if (snprintf(cgroup->path, sizeof cgroup->path, "%s/%s", above, removal.name) >= (int)sizeof cgroup->path)
		error = app_fail(app, -ENAMETOOLONG, "the path of the cgroup is too long");
	cgroup->fd = openat(parent, removal.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!error && cgroup->fd < 0)
		error = app_fail(app, -errno, "%s: %s", cgroup->path, strerror(errno));
	if (!error)
		error = start_holder(app, parent, &removal, cgroup);
	if (error)
		unlinkat(parent, removal.name, AT_REMOVEDIR);
	return error;
}

int cgroup_make(struct app *app, struct app_cgroup *ret_cgroup)
{
	struct app_cgroup cgroup = { .fd = -1, .pipe = -1 };
	char above[400];
	int error = find_mount(app, above, sizeof above), parent;

	if (!error)
		error = own_cgroup(app, above, sizeof above);
	if (error)
		return error;
	parent = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return app_fail(app, -errno, "%s: %s", above, strerror(errno));
	error = make(app, parent, above, &cgroup);
	close(parent);
	if (!error)
		*ret_cgroup = cgroup;
	else if (cgroup.fd >= 0)
		close(cgroup.fd);
	return error;
}

int cgroup_enter(struct app *app, struct app_cgroup *cgroup)
{
	int fd = openat(cgroup->fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	int error = fd < 0 || write(fd, "0", 1) != 1 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return error ? app_fail(app, error, "%s cannot be entered: %s", cgroup->path, strerror(-error)) : 0;
}

void cgroup_close(struct app_cgroup *cgroup)
{
	if (!cgroup->path[0])
		return;
	close(cgroup->fd);
	close(cgroup->pipe);
	cgroup->path[0] = '\0';
}
