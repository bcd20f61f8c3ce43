/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the files of kernel/: the store's state, paths, and how failures are worded.
 *
 * Functions return 0 (or a descriptor) or -errno. The one that knows what to do about a failure says so with
 * problem_set(); the public functions queue that sentence once everything they opened is closed again.
 */
#ifndef WEIR_KERNEL_INTERNAL_H
#define WEIR_KERNEL_INTERNAL_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel/kernel.h"

enum { PATH_LENGTH = 512, NOTES_MAX = 16, NAME_LENGTH = 128 };

struct path {
	char text[PATH_LENGTH];
};

struct kernel {
	enum kernel_access access;
	struct path root;  /* the folder: KERNEL_ROOT unless WEIR_BPFFS says otherwise */
	struct path bpffs; /* the mount above it */
	int dir;           /* the root folder, whose lock is held; -1 */
	unsigned lock_depth;
	int epoch_fd;      /* -1: not there yet */
	uint64_t *epoch;   /* mapped */
	char *verifier_log; /* anonymous memory, touched only when a load fails; NULL until needed */
	char problem[1024];
	char hint[512];
	char notes[NOTES_MAX][320];
	unsigned note_count;
};

/* --- words: problem.c ------------------------------------------------------------------------------------------- */

/* Keeps the first sentence and returns `error`. */
int problem_set(struct kernel *kernel, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void problem_hint(struct kernel *kernel, const char *format, ...) __attribute__((format(printf, 2, 3)));
void problem_note(struct kernel *kernel, const char *format, ...) __attribute__((format(printf, 2, 3)));
void problem_forget(struct kernel *kernel);
/* Queues what was kept and returns `result`. Holds nothing while it may unwind. */
int problem_report(struct kernel *kernel, struct diags *diags, int result);
/* A sentence for a bpf(2) call that failed for want of privileges, memory or support, else strerror(). */
int problem_bpf(struct kernel *kernel, int error, const char *what);
/* "without CAP_BPF, CAP_PERFMON": what the process lacks of what bpf(2) wants. False: nothing. */
bool problem_lacks(char *buffer, size_t size);

/* --- paths ------------------------------------------------------------------------------------------------------ */

void path_join(struct path *path, const char *folder, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Removes a pin or a folder with all in it; `last` (or NULL) is removed after its siblings. 0 if it is not there. */
int path_remove(const char *path, const char *last);
bool path_exists(const char *path);

/* --- the store: store.c ----------------------------------------------------------------------------------------- */

#define STAGE_NAME "@stage" /* policies' names begin with a letter or underscore: no clash */
#define SETS_NAME "@sets"
#define FILL_NAME "@fill"
#define EPOCH_NAME "@epoch"
#define JOURNAL_NAME "journal"

/* Shares the lock for one reading operation; nests. -ENOENT: there is no store, hence no policy. */
int store_lock(struct kernel *kernel);
void store_unlock(struct kernel *kernel);
uint64_t store_epoch(const struct kernel *kernel);
/* The commit: one aligned 8-byte store. */
void store_commit(struct kernel *kernel, uint64_t epoch);
int store_need_write(struct kernel *kernel);

/* --- small helpers ---------------------------------------------------------------------------------------------- */

static inline void close_cleanup(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void free_cleanup(void *memory)
{
	free(*(void **)memory);
}

#define CLEANUP_CLOSE __attribute__((cleanup(close_cleanup)))
#define CLEANUP_FREE __attribute__((cleanup(free_cleanup)))

/* Waits until every program that was running at the time of the call is done. */
int kernel_grace(struct kernel *kernel);

#endif
