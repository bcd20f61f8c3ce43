/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ladder: the strongest way to put a filter on a socket that the caller may use. In: a filter and a descriptor;
 * out: the rung that was taken. Fails with the reason of each rung, and then the socket is as it was.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/app.h"

const char *const app_backend_names[APP_BACKEND_COUNT] = {
	[APP_AUTO] = "auto", [APP_EBPF] = "ebpf", [APP_PINNED] = "pinned", [APP_CBPF] = "cbpf",
	[APP_REUSEPORT] = "reuseport",
};

static bool capable(unsigned capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &header, data))
		return false;
	return data[capability / 32].effective & (1u << capability % 32);
}

static int attach_program(struct app *app, int fd, int prog)
{
	if (!setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof prog))
		return 0;
	return app_fail(app, -errno, "the kernel refuses: %s", strerror(errno));
}

/* Asking the kernel costs a failed load of milliseconds, so who cannot load is not tried. */
static int attach_ebpf(const struct app_filter *filter, int fd, struct app *app)
{
	int prog, error;

	if (!filter->program)
		return app_fail(app, -EINVAL, "there are no rules to compile, only a pinned program");
	if (!capable(CAP_BPF) && !capable(CAP_SYS_ADMIN))
		return app_fail(app, -EPERM, "loading programs needs CAP_BPF");
	error = filter->program(filter->context, app, &prog);
	return error ? error : attach_program(app, fd, prog);
}

static int attach_pinned(const struct app_filter *filter, int fd, struct app *app)
{
	int prog, error;

	if (!filter->pinned)
		return app_fail(app, -ENOENT, "no pinned program was named");
	error = filter->open_pinned(filter->context, app, filter->pinned, &prog);
	if (error)
		return error;
	error = attach_program(app, fd, prog);
	close(prog);
	return error;
}

static int attach_classic(const struct app_filter *filter, int fd, struct app *app)
{
	struct sock_fprog program;
	int error;

	if (!filter->classic)
		return app_fail(app, -EINVAL, "there are no rules to compile, only a pinned program");
	error = filter->classic(filter->context, app, false, &program);
	if (error)
		return error;
	if (!setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
		return 0;
	error = -errno;
	if (error == -EPERM)
		return app_fail(app, error, "this kernel wants CAP_NET_ADMIN for it on such a socket, or the socket's "
					    "filter is locked");
	if (error == -ENOMEM)
		return app_fail(app, error, "%u instructions are more than net.core.optmem_max has room for",
				program.len);
	return app_fail(app, error, "the kernel refuses %u instructions: %s", program.len, strerror(-error));
}

static int (*const rungs[APP_BACKEND_COUNT])(const struct app_filter *filter, int fd, struct app *app) = {
	[APP_EBPF] = attach_ebpf, [APP_PINNED] = attach_pinned, [APP_CBPF] = attach_classic,
};

int ladder_attach(const struct app_filter *filter, int fd, enum app_backend wanted, struct app_reasons *reasons,
		  enum app_backend *ret_backend)
{
	for (int rung = APP_EBPF; rung < APP_REUSEPORT; rung++) {
		struct app why = { 0 };

		if (wanted != APP_AUTO && (int)wanted != rung)
			continue;
		if (!rungs[rung](filter, fd, &why)) {
			*ret_backend = (enum app_backend)rung;
			return 0;
		}
		snprintf(reasons->text[rung], sizeof reasons->text[rung], "%.255s", why.problem);
	}
	return -EPERM;
}

int ladder_fail(struct app *app, const char *what, enum app_backend wanted, const struct app_reasons *reasons)
{
	size_t used;

	if (wanted != APP_AUTO)
		return app_fail(app, -EPERM, "no filter on %s by %s: %s", what, app_backend_names[wanted],
				reasons->text[wanted]);
	app_fail(app, -EPERM, "no filter can be put on %s:", what);
	for (int rung = APP_EBPF; rung < APP_BACKEND_COUNT; rung++) {
		used = strlen(app->problem);
		if (reasons->text[rung][0])
			snprintf(app->problem + used, sizeof app->problem - used, "%s %s: %s",
				 rung == APP_EBPF ? "" : ";", app_backend_names[rung], reasons->text[rung]);
	}
	return -EPERM;
}

int ladder_lock(struct app *app, int fd)
{
	const int on = 1;

	if (!setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on))
		return 0;
	return app_fail(app, -errno, "the filter cannot be locked: %s", strerror(errno));
}

int ladder_detach(struct app *app, int fd)
{
	const int off = 0;
	int error;

	if (!setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &off, sizeof off))
		return 0;
	error = -errno;
	if (error == -ENOENT)
		return app_fail(app, error, "there is no filter on the socket");
	if (error == -EPERM)
		return app_fail(app, error, "the socket's filter is locked: it stays as long as the socket");
	return app_fail(app, error, "the filter cannot be taken off: %s", strerror(-error));
}
