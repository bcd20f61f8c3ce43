/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Gives privileges up before untrusted input is read. A process without any keeps none; one with privileges keeps at
 * most those named, and cannot get the others back.
 */
#include "cli.h"

#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>

/* Both need bpf(2); who loads a stand-in program for a packet that a test run refuses needs what loading needs. */
static const struct {
	int keep;
	cap_value_t capability;
} kept[] = {
	{ KEEP_EVENTS | KEEP_LOADING, CAP_BPF },
	{ KEEP_LOADING, CAP_NET_ADMIN },
	{ KEEP_LOADING, CAP_PERFMON },
};

static int keep_if_there(cap_t caps, cap_t now, cap_value_t capability)
{
	cap_flag_value_t there;

	if (cap_get_flag(now, capability, CAP_PERMITTED, &there))
		return -errno;
	if (there != CAP_SET)
		return 0;
	if (cap_set_flag(caps, CAP_PERMITTED, 1, &capability, CAP_SET) ||
	    cap_set_flag(caps, CAP_EFFECTIVE, 1, &capability, CAP_SET))
		return -errno;
	return 0;
}

static int fill(cap_t caps, cap_t now, int keep)
{
	int error = 0;

	for (size_t i = 0; !error && i < sizeof kept / sizeof kept[0]; i++)
		if (kept[i].keep & keep)
			error = keep_if_there(caps, now, kept[i].capability);
	return error;
}

int caps_drop(int keep)
{
	cap_t now = cap_get_proc(), caps = cap_init();
	int error = now && caps ? fill(caps, now, keep) : -ENOMEM;

	if (!error && cap_set_proc(caps))
		error = -errno;
	if (!error && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		error = -errno;
	cap_free(now);
	cap_free(caps);
	return error;
}
