/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Witnesses: a packet for a path through a diagram. In: what the path asks of dimensions; out: values of fields, plain
 * where the path leaves a choice, or that no packet takes the path. Exact: relations between the fields of a packet,
 * between masked and plain values of a field and between values and what sets hold are all kept.
 */
#ifndef WEIR_PLAN_WITNESS_H
#define WEIR_PLAN_WITNESS_H

#include "ir/model.h"
#include "plan/plan.h"

/* The dimension's value is in the interval. */
struct demand {
	const struct dim *dim;
	struct interval in;
};

struct demands {
	const struct demand *items;
	size_t count;
	const struct plan_set *sets;
	const bool *open; /* by set: it may hold anything; NULL: none is */
	enum hook hook;
};

enum witness_found {
	WITNESS_NONE,    /* no packet meets all demands */
	WITNESS_FOUND,
	WITNESS_UNKNOWN, /* it would take too long to find out */
};

/* Whether the demands on this field alone can be met at all; cheap. */
enum witness_found witness_field(const struct demands *demands, enum field field);

enum witness_found witness_find(const struct demands *demands, struct model_fields *ret_fields);

#endif
