/* SPDX-License-Identifier: GPL-2.0-only */
/* Filters of applications, as api/filter.c and api/run.c share them. */
#ifndef WEIR_API_FILTER_H
#define WEIR_API_FILTER_H

#include "api/api.h"
#include "app/app.h"

/* Where events of rules with `log` come from, and what they mean. */
struct run_log {
	struct event_source source; /* its name is the meta's */
	json_t *meta;               /* NULL: no rule has `log` */
};

/* Describes the log of what is about to be loaded; returns where its source goes, or NULL if no rule has `log`. */
struct event_source *run_log_describe(struct run_log *log, const struct install *install);
void run_log_close(struct run_log *log);
/* Reads them; takes all of the logs. NULL on failure. */
struct weir_events *run_log_open(struct run_log *logs, size_t count);

struct weir_filter {
	struct weir_program *program;  /* NULL: only a pinned program */
	const struct ruleset *ruleset; /* bound to HOOK_SOCKET */
	struct kernel *kernel;
	int prog;                      /* loaded; -1: not yet */
	struct sock_fprog classic[2];  /* for the socket, for steering; no length: not yet */
	enum app_backend wanted, used;
	char *pinned;                  /* path, or NULL */
	struct app_filter app;
	struct run_log log;            /* of the loaded program */
	/* Of the call under way: where the callbacks' own diagnostics go. */
	struct weir *weir;
};

_Static_assert((int)APP_BACKEND_COUNT == WEIR_BACKEND_REUSEPORT + 1, "one list of backends");

/* The library's status for what app/ returned. */
int app_status(int error);
/* Options as app/ takes them, for one filter (or NULL). */
struct app_listen app_listening(const struct weir_listen_options *options, const struct weir_filter *filter);

#endif
