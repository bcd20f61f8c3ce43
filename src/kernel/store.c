/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The store: weir's folder in bpffs, its lock and its epoch.
 *
 * In: what kind of access; out: a store whose lock is held (KERNEL_WRITE) or taken for each operation (KERNEL_READ).
 * Fails with a sentence when bpffs is missing and may not be mounted, or without privileges.
 *
 *   @epoch     map: the one number whose store commits a change
 *   @stage/    only while a change is under way, or after a command was killed: recover.c
 *   @sets/     sets shared by policies: NAME_KEY
 *   POLICY/    one folder a policy in force: generation.h
 *
 * WEIR_BPFFS (a mounted bpffs) takes the place of /sys/fs/bpf, for tests; not in set-user-ID programs.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "kernel/internal.h"
#include "kernel/object.h"
#include "kernel/recover.h"
#include "kernel/rules.h"

static bool is_bpffs(const char *path)
{
	struct statfs status;

	return !statfs(path, &status) && (unsigned long)status.f_type == BPF_FS_MAGIC;
}

/* Pins live as long as the mount: a mount of our own namespace goes away with its last process. */
static void note_private_mount(struct kernel *kernel)
{
	struct stat own, first;

	if (stat("/proc/self/ns/mnt", &own) || stat("/proc/1/ns/mnt", &first))
		return;
	if (own.st_ino != first.st_ino)
		problem_note(
			kernel,
			"%s was mounted in this mount namespace only: what is loaded is gone when the last "
			"process in it ends (enter network namespaces with `nsenter --net=`, not `ip netns "
			"exec`)",
			kernel->bpffs.text);
}

static int mount_bpffs(struct kernel *kernel)
{
	if (is_bpffs(kernel->bpffs.text))
		return 0;
	if (mount("bpf", kernel->bpffs.text, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700")) {
		int error = -errno;

		problem_set(kernel, error, "no bpffs at %s, and mounting it failed: %s", kernel->bpffs.text,
			    strerror(errno));
		problem_hint(kernel, "as root: mount -t bpf bpf %s", kernel->bpffs.text);
		return error;
	}
	note_private_mount(kernel);
	return 0;
}

/* The folder may have been removed by its last owner between open() and flock(): then not locked. */
static int lock_folder(struct kernel *kernel, int operation)
{
	struct stat locked, now;
	int fd = open(kernel->root.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (flock(fd, operation)) {
		if (errno != EINTR) {
			int error = -errno;

			close(fd);
			return error;
		}
	}
	if (fstat(fd, &locked) || stat(kernel->root.text, &now) || locked.st_ino != now.st_ino) {
		close(fd);
		return -ESTALE;
	}
	kernel->dir = fd;
	return 0;
}

static int make_and_lock(struct kernel *kernel)
{
	int error;

	do {
		if (mkdir(kernel->root.text, 0700) && errno != EEXIST) {
			error = -errno;
			return problem_set(kernel, error, "cannot make %s: %s", kernel->root.text, strerror(errno));
		}
		error = lock_folder(kernel, LOCK_EX);
	} while (error == -ESTALE || error == -ENOENT);
	return error ? problem_set(kernel, error, "cannot lock %s: %s", kernel->root.text, strerror(-error)) : 0;
}

static int map_epoch(struct kernel *kernel, int fd)
{
	void *memory = mmap(NULL, sizeof(uint64_t), PROT_READ | (kernel->access == KERNEL_WRITE ? PROT_WRITE : 0),
			    MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED) {
		int error = -errno;

		close(fd);
		return problem_set(kernel, error, "cannot map the epoch: %s", strerror(-error));
	}
	kernel->epoch = memory;
	kernel->epoch_fd = fd;
	return 0;
}

static void unmap_epoch(struct kernel *kernel)
{
	if (kernel->epoch_fd < 0)
		return;
	munmap(kernel->epoch, sizeof(uint64_t));
	close(kernel->epoch_fd);
	kernel->epoch_fd = -1;
	kernel->epoch = NULL;
}

/* Whether some policy is in the folder, whatever its state. */
static bool has_policies(const struct kernel *kernel)
{
	DIR *dir = opendir(kernel->root.text);
	struct dirent *entry;
	bool found = false;

	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' && entry->d_name[0] != '@';
	closedir(dir);
	return found;
}

static int create_epoch(struct kernel *kernel, const char *path)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	int error, fd;

	if (has_policies(kernel))
		return problem_set(kernel, -EUCLEAN,
				   "%s is damaged: its epoch is gone; remove the folder and apply again",
				   kernel->root.text);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_epoch", sizeof(uint32_t), sizeof(uint64_t), 1, &options);
	if (fd < 0)
		return problem_bpf(kernel, -errno, "cannot create a BPF map");
	if (bpf_obj_pin(fd, path)) {
		error = -errno;
		close(fd);
		return problem_bpf(kernel, error, "cannot pin the epoch");
	}
	return map_epoch(kernel, fd);
}

static int open_epoch(struct kernel *kernel)
{
	struct path path;
	int fd;

	path_join(&path, kernel->root.text, EPOCH_NAME);
	fd = bpf_obj_get(path.text);
	if (fd >= 0)
		return map_epoch(kernel, fd);
	if (errno != ENOENT)
		return problem_bpf(kernel, -errno, "cannot open the store");
	return kernel->access == KERNEL_WRITE ? create_epoch(kernel, path.text) : -ENOENT;
}

/* Before Linux 5.11 maps are charged to this limit. */
static void raise_memory_limit(void)
{
	const struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &limit);
}

static int open_write(struct kernel *kernel)
{
	int error = mount_bpffs(kernel);

	if (!error)
		error = make_and_lock(kernel);
	if (!error)
		error = open_epoch(kernel);
	if (!error)
		error = recover(kernel);
	return error ? error : rules_recover(kernel);
}

static void set_paths(struct kernel *kernel)
{
	const char *mount_point = secure_getenv("WEIR_BPFFS");

	if (mount_point && *mount_point) {
		snprintf(kernel->bpffs.text, sizeof kernel->bpffs.text, "%s", mount_point);
		path_join(&kernel->root, mount_point, "weir");
		return;
	}
	snprintf(kernel->bpffs.text, sizeof kernel->bpffs.text, "/sys/fs/bpf");
	snprintf(kernel->root.text, sizeof kernel->root.text, KERNEL_ROOT);
}

int kernel_open(enum kernel_access access, struct diags *diags, struct kernel **ret_kernel)
{
	struct kernel *kernel = calloc(1, sizeof *kernel);
	int error = 0;

	if (!kernel)
		return -ENOMEM;
	kernel->access = access;
	kernel->dir = -1;
	kernel->epoch_fd = -1;
	set_paths(kernel);
	object_capture_messages();
	if (access != KERNEL_READ)
		raise_memory_limit();
	if (access == KERNEL_WRITE)
		error = open_write(kernel);
	error = problem_report(kernel, diags, error);
	if (error) {
		kernel_close(kernel);
		return error;
	}
	*ret_kernel = kernel;
	return 0;
}

/* Nothing stays behind when no policy does. */
static void remove_if_empty(struct kernel *kernel)
{
	struct path path;

	path_join(&path, kernel->root.text, STAGE_NAME);
	if (has_policies(kernel) || path_exists(path.text))
		return;
	path_join(&path, kernel->root.text, SETS_NAME);
	path_remove(path.text, NULL);
	path_join(&path, kernel->root.text, EPOCH_NAME);
	unlink(path.text);
	rmdir(kernel->root.text);
}

void kernel_close(struct kernel *kernel)
{
	if (!kernel)
		return;
	if (kernel->access == KERNEL_WRITE && kernel->dir >= 0)
		remove_if_empty(kernel);
	unmap_epoch(kernel);
	if (kernel->dir >= 0)
		close(kernel->dir);
	object_free_log(kernel);
	free(kernel);
}

static int lock_shared(struct kernel *kernel)
{
	int error;

	if (!is_bpffs(kernel->bpffs.text))
		return -ENOENT;
	do
		error = lock_folder(kernel, LOCK_SH);
	while (error == -ESTALE);
	if (error == -ENOENT)
		return error;
	if (error)
		return problem_set(kernel, error, "cannot look into %s: %s; run as root", kernel->root.text,
				   strerror(-error));
	error = open_epoch(kernel);
	if (error) {
		close(kernel->dir);
		kernel->dir = -1;
	}
	return error;
}

int store_lock(struct kernel *kernel)
{
	int error = 0;

	if (kernel->access == KERNEL_TEST)
		return problem_set(kernel, -EINVAL, "this store was opened for tests only");
	if (kernel->access == KERNEL_READ && !kernel->lock_depth)
		error = lock_shared(kernel);
	if (!error)
		kernel->lock_depth++;
	return error;
}

void store_unlock(struct kernel *kernel)
{
	if (--kernel->lock_depth || kernel->access != KERNEL_READ)
		return;
	unmap_epoch(kernel);
	close(kernel->dir);
	kernel->dir = -1;
}

uint64_t store_epoch(const struct kernel *kernel)
{
	return __atomic_load_n(kernel->epoch, __ATOMIC_ACQUIRE);
}

void store_commit(struct kernel *kernel, uint64_t epoch)
{
	__atomic_store_n(kernel->epoch, epoch, __ATOMIC_SEQ_CST);
}

int store_need_write(struct kernel *kernel)
{
	if (kernel->access == KERNEL_WRITE)
		return 0;
	return problem_set(kernel, -EINVAL, "the store was not opened for writing");
}

/* Updating a map of maps waits for all running programs, on every kernel and number of CPUs. */
int kernel_grace(struct kernel *kernel)
{
	const uint32_t zero = 0;
	LIBBPF_OPTS(bpf_map_create_opts, options);
	CLEANUP_CLOSE int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_inner", 4, 4, 1, NULL);
	CLEANUP_CLOSE int outer = -1;

	if (inner < 0)
		return problem_bpf(kernel, -errno, "cannot create a BPF map");
	options.inner_map_fd = (uint32_t)inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "weir_grace", 4, 4, 1, &options);
	if (outer < 0 || bpf_map_update_elem(outer, &zero, &inner, BPF_ANY))
		return problem_bpf(kernel, -errno, "cannot wait for running programs");
	return 0;
}
