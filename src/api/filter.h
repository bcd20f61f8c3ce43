/* SPDX-License-Identifier: GPL-2.0-only */
/* Filters of applications, as api/filter.c and api/run.c share them. */
#ifndef WEIR_API_FILTER_H
#define WEIR_API_FILTER_H

#include "api/api.h"
#include "app/app.h"

struct weir_filter {
	struct weir_program *program;  /* NULL: only a pinned program */
	const struct ruleset *ruleset; /* bound to HOOK_SOCKET */
	struct kernel *kernel;
	int prog;                      /* loaded; -1: not yet */
	struct sock_fprog classic[2];  /* for the socket, for steering; no length: not yet */
	enum app_backend wanted, used;
	char *pinned;                  /* path, or NULL */
	struct app_filter app;
	/* Of the call under way: where the callbacks' own diagnostics go. */
	struct weir *weir;
};

_Static_assert((int)APP_BACKEND_COUNT == WEIR_BACKEND_REUSEPORT + 1, "one list of backends");

/* The library's status for what app/ returned. */
int app_status(int error);
/* Options as app/ takes them, for one filter (or NULL). */
struct app_listen app_listening(const struct weir_listen_options *options, const struct weir_filter *filter);

#endif
