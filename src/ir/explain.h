/* SPDX-License-Identifier: GPL-2.0-only */
/* Why a condition has the value it has for one packet: the words that decide, and the facts that they meet. */
#ifndef WEIR_IR_EXPLAIN_H
#define WEIR_IR_EXPLAIN_H

#include "ir/model.h"

/* How values are called that only the system has names for; NULL, or a call that gives NULL: the number. */
struct explain_names {
	void *context;
	const char *(*iface)(void *context, struct arena *arena, uint32_t index);
};

struct explanation {
	bool holds;
	struct span words; /* the smallest part of the condition that decides */
	const char *facts; /* "dst_port is 22"; more than one are separated by "; " */
};

/* In the arena; only inside arena_run(). */
struct explanation cond_explain(struct arena *arena, const struct ruleset *ruleset, const struct model_fields *fields,
				const struct explain_names *names, const struct cond *cond);

#endif
