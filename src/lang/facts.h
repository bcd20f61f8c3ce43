/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Facts: what a condition says of every packet that meets it. An over-approximation: fields and their possible
 * values, each by itself. For warnings only; the planner's diagram knows better where it fits.
 */
#ifndef WEIR_LANG_FACTS_H
#define WEIR_LANG_FACTS_H

#include "lang/lower.h"

enum { FACTS_RANGES = 8 }; /* values kept exactly; what has more becomes one range around them */

struct facts {
	bool impossible; /* no packet meets it */
	field_mask known; /* bit f: of enum field f; another one has any value, or none, and is not filled in */
	struct {
		const struct range *ranges;
		size_t count;
	} fields[FIELD_COUNT];
};
_Static_assert(FIELD_COUNT <= 64, "a bit for each field");

/* With `warn`, also warns where operands of an `and` exclude each other. */
void facts_of(struct lower *lower, const struct cond *cond, bool warn, struct facts *ret_facts);
void facts_copy(struct facts *facts, const struct facts *from);
/* Adds what `other` says. */
void facts_meet(struct lower *lower, struct facts *facts, const struct facts *other);
/* The packet has that field. */
bool facts_imply(const struct facts *facts, enum field field);

#endif
