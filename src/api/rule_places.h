/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which rules a policy has after changes in place: numbers as users see them, and what the table knows rules by. Edits as
 * they are kept in the kernel: struct rules_edit, each with one or more struct rule_op and their texts.
 */
#ifndef WEIR_API_RULE_PLACES_H
#define WEIR_API_RULE_PLACES_H

#include "api/api.h"

/* One change of one rule, as it was made. */
struct rule_op {
	uint32_t operation; /* enum weir_rule_operation */
	uint32_t number;    /* that the new rule got, or the old one had */
	uint32_t order, slot; /* of the new rule */
	uint32_t verdict;   /* that it ends in + 1; 0: none */
	uint32_t length;    /* of its text, which follows, up to 7 bytes of nothing behind it */
};

/* The op behind `op` (NULL: the first) of all edits of those bytes, or NULL. Ops of one edit follow each other. */
struct op_cursor {
	const void *edits;
	size_t size;
	const struct rules_edit *edit;
	const struct rule_op *op;
};
const struct rule_op *op_next(struct op_cursor *cursor);
const char *op_text(const struct rule_op *op);
size_t op_size(uint32_t length);

/* A run of rules as they were built, or one that came later. */
struct rule_run {
	uint32_t first;       /* number as built; 0: came later */
	uint32_t count;
	uint32_t order, slot; /* of one that came later */
};

struct rule_places {
	struct arena *arena;
	uint32_t stride;
	uint32_t built; /* rules */
	uint32_t count; /* now */
	uint32_t came;  /* rules that came, those that went again too */
	VEC(struct rule_run) runs;
};

struct rule_places places_built(struct arena *arena, uint32_t rules, uint32_t stride);
void places_apply(struct rule_places *places, const struct rule_op *op);
/* Order of the rule of that number, or what lies before the first and behind the last. */
uint32_t places_order(const struct rule_places *places, uint32_t number);
/* An order for a new rule between two others; 0: there is none left. */
uint32_t places_between(const struct rule_places *places, uint32_t before, uint32_t behind);

#endif
