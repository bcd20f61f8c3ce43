/* SPDX-License-Identifier: GPL-2.0-only */
/* A file applied that differs in a few rules from the policy in force. rule_apply.c; which part of it is read, rule_stretch.c. */
#ifndef WEIR_API_RULE_APPLY_H
#define WEIR_API_RULE_APPLY_H

#include "api/rule.h"
#include "api/rule_places.h"

/* A part of the file: its offsets in what was read of it, and in the file. */
struct part {
	size_t from, to, in_file;
};

struct applying {
	struct in_place in_place;
	const struct source *file; /* all of it */
	struct kernel_blob source, index; /* as installed */
	const struct rule_mark *marks;
	struct rule_index head;
	const void *names;
	struct edited edited; /* in force */

	/* What was read of the file: between so many rules before and behind that are known to be the same. */
	const struct ruleset *ruleset;
	const struct bundle *bundle;
	struct part parts[3];
	uint32_t before, behind;
};

/* Where a place in what was read is in the file. */
uint32_t part_place(const struct applying *applying, uint32_t offset);

/*
 * Compares the file's text with that in force, and compiles what differs: fills in the second half of `applying`. False if that
 * tells too little. Says what is to be said of the rules that were read. Only inside arena_run().
 */
bool stretch_read(struct applying *applying, struct bundle *bundle);

#endif
