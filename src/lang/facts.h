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
	struct {
		const struct range *ranges; /* NULL: any value, or none */
		size_t count;
	} fields[FIELD_COUNT];
};

/* With `warn`, also warns where operands of an `and` exclude each other. */
void facts_of(struct lower *lower, const struct cond *cond, bool warn, struct facts *ret_facts);
/* Adds what `other` says. */
void facts_meet(struct lower *lower, struct facts *facts, const struct facts *other);
/* The packet has that field. */
bool facts_imply(const struct facts *facts, enum field field);

#endif
