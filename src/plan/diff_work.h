/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of plan_diff() share. */
#ifndef WEIR_PLAN_DIFF_WORK_H
#define WEIR_PLAN_DIFF_WORK_H

#include "plan/diff.h"
#include "plan/work.h"

/* Two rule sets as one, so that one store holds both diagrams. */
struct merged {
	const struct ruleset *sides[DIFF_SIDES];
	struct ruleset ruleset;           /* main jumps to both */
	uint32_t first_chain[DIFF_SIDES]; /* where their chains are */
	uint32_t *origin;                 /* by rule: its number on its side, */
	uint8_t *side_of;                 /* which is this one */
	uint32_t *set_of[DIFF_SIDES];     /* by set of the side: the merged one's index */
	uint8_t slot_of[DIFF_SIDES][PACKET_CGROUPS]; /* by cgroup slot of the side: the merged one's */
	bool *open;                       /* by merged set: it may hold anything */
	VEC(const char *) notes;
};

/* By side and rule number: the rules that may matter to a difference; see diff_region.c. */
void diff_region(struct arena *arena, const struct ruleset *const *sides, bool **ret_keep);
/* Of the same name, type and elements. */
bool diff_same_set(const struct set *a, const struct set *b);

/* False: their cgroup levels are too many for one packet. */
bool merged_init(struct arena *arena, const struct ruleset *const *sides, struct merged *ret_merged);

#endif
