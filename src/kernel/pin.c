/* SPDX-License-Identifier: GPL-2.0-only */
/* `weir load`: one program, loaded and pinned for others to attach. It judges at once and belongs to no policy. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/tester.h"

enum { SOCKET_MODE = 0644 }; /* who can open a program may attach it to own sockets */

static int pin(struct kernel *kernel, const struct install *install, const char *path)
{
	const struct install_hook *hook = &install->hooks[0];
	const struct load load = { .install = install, .hook = hook, .plane = hook->hook };
	struct bpf_object *object = NULL;
	int prog, error = object_check_hook(kernel, hook);

	if (hook_table[hook->hook].call)
		return problem_set(kernel, -EOPNOTSUPP, "hook %s is several programs of the kernel's: apply a policy with "
				   "`on %s PATH`", hook_table[hook->hook].name, hook_table[hook->hook].name);

	if (!error)
		error = tester_load(kernel, object_plane(hook), &load, &object, &prog);
	if (!error && bpf_obj_pin(prog, path)) {
		error = -errno;
		problem_set(kernel, error, "cannot pin %s: %s", path, strerror(-error));
		problem_hint(kernel, strchr(strrchr(path, '/') ? strrchr(path, '/') : path, '.') ?
					     "names in bpffs have no dots" :
					     "the path must be new and in a mounted bpffs such as /sys/fs/bpf");
	}
	if (!error && hook->hook == HOOK_SOCKET && chmod(path, SOCKET_MODE)) {
		error = problem_set(kernel, -errno, "cannot let other users read %s: %s", path, strerror(errno));
		unlink(path);
	}
	bpf_object__close(object);
	return error;
}

int kernel_pin(struct kernel *kernel, const struct install *install, const char *path, struct diags *diags)
{
	return problem_report(kernel, diags, pin(kernel, install, path));
}
