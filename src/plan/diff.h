/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences: the packets that two rule sets treat differently at a hook. In: both rule sets; out: each kind of
 * difference (who decides what on either side) with one packet, judged by the model to be one; or that there is none,
 * which then is proven for all packets; or that it is not known.
 *
 * Only verdicts count: what is counted, logged and marked does not. A rate is the same on both sides if all that the
 * policy says of it is the same; how full its buckets are is not compared: a packet is treated alike if it is with the
 * same tokens there and gone. A named set that only one side has, or both with
 * the same elements, may hold anything; sets of one name with different elements are taken as they are written.
 */
#ifndef WEIR_PLAN_DIFF_H
#define WEIR_PLAN_DIFF_H

#include "ir/model.h"

enum { DIFF_OLD, DIFF_NEW, DIFF_SIDES };

struct diff_side {
	enum verdict verdict;
	int32_t rule; /* that decides, or DECIDED_* */
};

struct diff_kind {
	struct diff_side sides[DIFF_SIDES];
	const char *packet; /* as packet_print() writes it */
	const char *given;  /* what sets must hold for it and which rates have tokens, beside what is written; or NULL */
};

struct diff {
	const struct diff_kind *kinds;
	size_t kind_count;
	const char *unknown; /* why it is not known whether there are more kinds; NULL: there are no more */
	const char *const *notes; /* what else the reader should know */
	size_t note_count;
};

/* Only inside arena_run(). */
void plan_diff(struct arena *arena, const struct ruleset *old, const struct ruleset *new, enum hook hook,
	       struct diff *ret_diff);

#endif
