/* SPDX-License-Identifier: GPL-2.0-only */
/* Paths in bpffs. A path that would be too long becomes the empty one, which no call accepts. */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/internal.h"

void path_join(struct path *path, const char *folder, const char *format, ...)
{
	struct path joined;
	va_list args;
	size_t used = strlen(folder);
	int length;

	if (used + 2 > sizeof joined.text) {
		path->text[0] = '\0';
		return;
	}
	memcpy(joined.text, folder, used);
	joined.text[used++] = '/';
	va_start(args, format);
	length = vsnprintf(joined.text + used, sizeof joined.text - used, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= sizeof joined.text - used)
		joined.text[0] = '\0';
	*path = joined;
}

bool path_exists(const char *path)
{
	struct stat status;

	return !stat(path, &status);
}

static int remove_content(const char *folder, const char *last);

int path_remove(const char *path, const char *last)
{
	int error;

	if (!unlink(path) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	error = remove_content(path, last);
	if (error)
		return error;
	return rmdir(path) && errno != ENOENT ? -errno : 0;
}

/* One pass; a folder may show fewer names while it is being emptied, so the caller repeats. */
static int remove_pass(DIR *dir, const char *folder, const char *last, unsigned *ret_removed)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		struct path path;
		int error;

		if (entry->d_name[0] == '.' || (last && !strcmp(entry->d_name, last)))
			continue;
		path_join(&path, folder, "%s", entry->d_name);
		error = path_remove(path.text, NULL);
		if (error)
			return error;
		++*ret_removed;
	}
	return 0;
}

static int remove_content(const char *folder, const char *last)
{
	struct path path;
	unsigned removed;
	int error = 0;

	do {
		DIR *dir = opendir(folder);

		removed = 0;
		if (!dir)
			return errno == ENOENT ? 0 : -errno;
		error = remove_pass(dir, folder, last, &removed);
		closedir(dir);
	} while (!error && removed);
	if (error || !last)
		return error;
	path_join(&path, folder, "%s", last);
	return path_remove(path.text, NULL);
}
