/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A cgroup of one command: made below the caller's own, so that what limits and filters the caller goes on to do so;
 * removed, and with it the filters on it, when its last process is gone. A process without privileges waits for that.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <mntent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/app.h"

#define CGROUP_PREFIX "weir-run-"

enum { REMOVE_TRIES = 50, DEPTH_MAX = 64 };

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

/* kept: a pipe that ends when the command runs, or never will; the folder that the cgroup is made in. */
static void hold(const int *kept, const void *context)
{
	const struct removal *removal = context;
	struct pollfd event = { .events = POLLPRI };
	char path[96], byte;

	while (read(kept[0], &byte, 1) < 0 && errno == EINTR)
		;
	snprintf(path, sizeof path, "%s/cgroup.events", removal->name);
	event.fd = openat(kept[1], path, O_RDONLY | O_CLOEXEC);
	while (event.fd >= 0 && populated(event.fd))
		poll(&event, 1, -1);
	for (int i = 0; i < REMOVE_TRIES && remove_tree(kept[1], removal->name, 0); i++)
		poll(NULL, 0, 20);
}

/* --- making ------------------------------------------------------------------------------------------------------ */

/* Unlike any other: not even that of an earlier process with the same number, whose children still run. */
static void choose_name(struct removal *removal)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	snprintf(removal->name, sizeof removal->name, CGROUP_PREFIX "%d-%llx", (int)getpid(),
		 (unsigned long long)now.tv_sec * 1000000000ull + (unsigned long long)now.tv_nsec);
}

/* Before there is anything to remove, so that no moment to be killed in leaves it behind. */
static int start_holder(struct app *app, const struct removal *removal, struct app_cgroup *cgroup)
{
	/* The hierarchy's root may be written to by nobody without that capability. */
	const struct app_hold how = { .name = "weir-cgroup", .hold = hold, .context = removal,
				      .capabilities = 1u << CAP_DAC_OVERRIDE };
	int pipe[2], keep[2], error;

	if (pipe2(pipe, O_CLOEXEC))
		return app_fail(app, -errno, "no pipe: %s", strerror(errno));
	keep[0] = pipe[0];
	keep[1] = cgroup->parent;
	cgroup->pipe = pipe[1];
	error = hold_start(app, &how, keep, 2);
	close(pipe[0]);
	return error;
}

static int make_folder(struct app *app, const char *above, const struct removal *removal, struct app_cgroup *cgroup)
{
	if (mkdirat(cgroup->parent, removal->name, 0755)) {
		if (errno == EACCES || errno == EPERM || errno == EROFS)
			app_hint(app, "root may, and so may a user whom the cgroup is delegated to (systemd: "
				      "Delegate=yes) and who has CAP_BPF and CAP_NET_ADMIN");
		return app_fail(app, -errno, "no cgroup can be made below %s: %s", above, strerror(errno));
	}
	cgroup->fd = openat(cgroup->parent, removal->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return cgroup->fd < 0 ? app_fail(app, -errno, "%s/%s: %s", above, removal->name, strerror(errno)) : 0;
}

int cgroup_make(struct app *app, struct app_cgroup *ret_cgroup)
{
	struct app_cgroup cgroup = { .made = true, .fd = -1, .pipe = -1, .parent = -1 };
	struct removal removal;
	char above[512];
	int error = find_mount(app, above, sizeof above);

	if (!error)
		error = own_cgroup(app, above, sizeof above);
	if (error)
		return error;
	cgroup.parent = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup.parent < 0)
		return app_fail(app, -errno, "%s: %s", above, strerror(errno));
	sweep(cgroup.parent);
	choose_name(&removal);
	error = start_holder(app, &removal, &cgroup);
	if (!error)
		error = make_folder(app, above, &removal, &cgroup);
	if (error)
		cgroup_close(&cgroup);
	else
		*ret_cgroup = cgroup;
	return error;
}

static int move_to(int folder)
{
	int fd = openat(folder, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	int error = fd < 0 || write(fd, "0", 1) != 1 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

int cgroup_enter(struct app *app, struct app_cgroup *cgroup)
{
	int error = move_to(cgroup->fd);

	cgroup->entered = !error;
	return error ? app_fail(app, error, "the command's cgroup cannot be entered: %s", strerror(-error)) : 0;
}

void cgroup_close(struct app_cgroup *cgroup)
{
	if (!cgroup->made)
		return;
	if (cgroup->entered)
		move_to(cgroup->parent);
	if (cgroup->fd >= 0)
		close(cgroup->fd);
	if (cgroup->pipe >= 0)
		close(cgroup->pipe);
	close(cgroup->parent);
	cgroup->made = false;
}
