/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs for sockets. In: a policy at HOOK_SOCKET, or a pin of one; out: a descriptor, which is all that
 * SO_ATTACH_BPF asks for. Fails with a sentence.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "kernel/tester.h"

/* A copy, which stays open when the object is gone; -1: there is no such map. */
static int copy_map(const struct bpf_object *object, const char *name)
{
	int fd = object_map(object, name);

	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int load(struct kernel *kernel, const struct install *install, int *ret_prog, struct event_source *ret_source)
{
	const struct install_hook *hook = &install->hooks[0];
	const struct load load = { .install = install, .hook = hook, .plane = hook->hook };
	struct bpf_object *object = NULL;
	int prog, error = tester_load(kernel, object_plane(hook), &load, &object, &prog);

	if (!error) {
		*ret_prog = fcntl(prog, F_DUPFD_CLOEXEC, 3);
		error = *ret_prog < 0 ? -errno : 0;
	}
	if (!error && ret_source)
		*ret_source = (struct event_source){ copy_map(object, "events"), copy_map(object, "status"), NULL };
	bpf_object__close(object);
	return error;
}

int kernel_socket_load(struct kernel *kernel, const struct install *install, struct diags *diags, int *ret_prog,
		       struct event_source *ret_source)
{
	int prog = -1;
	int error = problem_report(kernel, diags, load(kernel, install, &prog, ret_source));

	if (!error)
		*ret_prog = prog;
	return error;
}

/* Only the owner of the pin may ask for write access too. */
static int open_read_only(const char *path)
{
	LIBBPF_OPTS(bpf_obj_get_opts, options, .file_flags = BPF_F_RDONLY);
	int fd = bpf_obj_get_opts(path, &options);

	return fd < 0 ? -errno : fd;
}

static int check_type(struct kernel *kernel, const char *path, int prog)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof info;

	if (!bpf_obj_get_info_by_fd(prog, &info, &size) && info.type == BPF_PROG_TYPE_SOCKET_FILTER)
		return 0;
	return problem_set(kernel, -EINVAL, "%s is no program for sockets", path);
}

static int open_pin(struct kernel *kernel, const char *path, int *ret_prog)
{
	CLEANUP_CLOSE int prog = open_read_only(path);
	int error;

	if (prog < 0) {
		problem_set(kernel, prog, "cannot open the program %s: %s", path, strerror(-prog));
		if (prog == -EACCES)
			problem_hint(kernel, "its folders must let you through; `weir load --hook socket` pins it for "
				     "all to read");
		return prog;
	}
	error = check_type(kernel, path, prog);
	if (error)
		return error;
	*ret_prog = prog;
	prog = -1;
	return 0;
}

int kernel_socket_open(struct kernel *kernel, const char *path, struct diags *diags, int *ret_prog)
{
	return problem_report(kernel, diags, open_pin(kernel, path, ret_prog));
}
