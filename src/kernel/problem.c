/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures in words. In: an errno and what was tried; out: one sentence that says what to do, kept in the store until
 * the public function that failed has let go of everything, because queueing a diagnostic may unwind.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/internal.h"

int problem_set(struct kernel *kernel, int error, const char *format, ...)
{
	va_list args;

	if (kernel->problem[0])
		return error;
	va_start(args, format);
	vsnprintf(kernel->problem, sizeof kernel->problem, format, args);
	va_end(args);
	return error;
}

void problem_hint(struct kernel *kernel, const char *format, ...)
{
	va_list args;

	if (kernel->hint[0])
		return;
	va_start(args, format);
	vsnprintf(kernel->hint, sizeof kernel->hint, format, args);
	va_end(args);
}

void problem_note(struct kernel *kernel, const char *format, ...)
{
	va_list args;

	if (kernel->note_count == NOTES_MAX)
		return;
	va_start(args, format);
	vsnprintf(kernel->notes[kernel->note_count++], sizeof kernel->notes[0], format, args);
	va_end(args);
}

void problem_forget(struct kernel *kernel)
{
	kernel->problem[0] = '\0';
	kernel->hint[0] = '\0';
}

struct report_call {
	struct kernel *kernel;
	struct diags *diags;
	int result;
};

static int queue(void *context)
{
	const struct report_call *call = context;
	const struct span nowhere = { 0 };
	struct kernel *kernel = call->kernel;

	for (unsigned i = 0; i < kernel->note_count; i++)
		diag_warning(call->diags, nowhere, "%s", kernel->notes[i]);
	if (call->result < 0) {
		struct diag *diag;

		if (kernel->problem[0])
			diag = diag_error(call->diags, nowhere, "%s", kernel->problem);
		else
			diag = diag_error(call->diags, nowhere, "the kernel refused: %s", strerror(-call->result));
		if (kernel->hint[0])
			diag_hint(call->diags, diag, "%s", kernel->hint);
	}
	return 0;
}

int problem_report(struct kernel *kernel, struct diags *diags, int result)
{
	struct report_call call = { kernel, diags, result };
	int error = 0;

	if (diags && (result < 0 || kernel->note_count))
		error = arena_run(diags->arena, queue, &call);
	problem_forget(kernel);
	kernel->note_count = 0;
	return result < 0 ? result : error;
}

/* Bit by number; all of them if they are not known. */
static uint64_t capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return UINT64_MAX;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

bool problem_lacks(char *buffer, size_t size)
{
	static const struct {
		int number;
		const char *name;
	} wanted[] = { { CAP_BPF, "CAP_BPF" }, { CAP_NET_ADMIN, "CAP_NET_ADMIN" }, { CAP_PERFMON, "CAP_PERFMON" } };
	uint64_t there = capabilities();
	int used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted && !(there >> CAP_SYS_ADMIN & 1); i++)
		if (!(there >> wanted[i].number & 1))
			used += snprintf(buffer + used, size - (size_t)used, "%s %s", used ? "," : "without", wanted[i].name);
	return used;
}

int problem_bpf(struct kernel *kernel, int error, const char *what)
{
	char lacks[80];

	switch (-error) {
	case EPERM:
	case EACCES:
		problem_lacks(lacks, sizeof lacks);
		problem_set(kernel, error, "%s: not permitted%s%s; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
			    what, lacks[0] ? " " : "", lacks);
		break;
	case ENOMEM:
		problem_set(kernel, error,
			    "%s: out of memory (see the memory limits of this service or container)", what);
		break;
	case ENOSYS:
		problem_set(kernel, error,
			    "%s: this kernel has no bpf(); it needs CONFIG_BPF_SYSCALL and Linux 5.15 or later",
			    what);
		break;
	default:
		problem_set(kernel, error, "%s: %s", what, strerror(-error));
	}
	return error;
}
