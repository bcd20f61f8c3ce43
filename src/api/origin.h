/* SPDX-License-Identifier: GPL-2.0-only */
/* Where records of the kernel's rings come from: the policy's description then, and the process behind the packet. */
#ifndef WEIR_API_ORIGIN_H
#define WEIR_API_ORIGIN_H

#include <limits.h>

#include "api/api.h"

/* Descriptions of the policies that records came from, as they were when the first of each generation came. */
struct descriptions {
	struct kernel *kernel; /* borrowed; NULL: only those that were added are there */
	struct description *first;
};

/* NULL if the policy is gone meanwhile. Lives as long as the list. */
json_t *descriptions_find(struct weir *weir, struct descriptions *descriptions, const struct event_origin *origin);
/* Takes the reference; false without memory, and then it does not. */
bool descriptions_add(struct descriptions *descriptions, uint32_t generation, json_t *meta);
void descriptions_free(struct descriptions *descriptions);

/*
 * The path of the process's executable: one that the policy names (`meta` may be NULL), or the same file still, and the
 * caller may know; else "".
 */
void origin_program(json_t *meta, const struct event *raw, char path[PATH_MAX]);
/* The number of the rule that it names, as edits in force have left it. */
uint32_t origin_rule(const struct event *raw, const struct event_origin *origin);
/* The path of its cgroup if it is still in it, else "". */
void origin_cgroup(const struct event *raw, char path[PATH_MAX]);

#endif
