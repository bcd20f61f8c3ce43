/* SPDX-License-Identifier: GPL-2.0-only */
/* Changes of single rules, as api/rule*.c share them. */
#ifndef WEIR_API_RULE_H
#define WEIR_API_RULE_H

#include "api/api.h"

struct rule_change {
	enum weir_rule_operation operation;
	uint32_t number;  /* of the rule that goes, or before which the new one comes; 0: behind all of the main chain */
	struct span rule; /* the new one, in a source of its own */
};

/* A policy's rules as they are now, by number: what they were, and where they count. */
struct rules_now {
	uint32_t count;
	const uint32_t *built; /* number then; 0: came later */
	const uint32_t *slots;
	const struct rule_op *const *ops; /* that it came by */
};
/* Edits the text and the description of a policy in force as its rules were changed in place, like api_policy(). */
int rules_edit_policy(struct call *call, struct policy_state *state, struct rules_now *ret_now);

enum { RULE_REBUILD = 1 }; /* in place of a status: not possible in place, all must be built anew */

/* Puts the rules of a file in force that differ from those of the policy of that name in little else than a few rules. */
int rule_apply_in_place(struct call *call, struct kernel *kernel, const struct ruleset *ruleset,
			const struct bundle *bundle);

/* Changes the rule in place. */
int rule_in_place(struct call *call, struct kernel *kernel, const char *policy, const struct rule_change *change,
		  struct weir_rule_result *ret_result);

/* Points what is said of the new rule, which is at `at` of `edited`, into the text as given. Drops other warnings. */
void rule_point(struct diags *diags, const struct source *edited, size_t at, struct span rule);

/* The bytes from .. to become `text`. */
struct text_edit {
	size_t from, to;
	const char *text;
	size_t rule; /* where the rule begins in the text that results */
};

/* The number must be that of a rule, or 0. */
struct text_edit rule_text_edit(struct arena *arena, const struct lang_rules *rules, const struct rule_change *change);
/* The number that the rule gets, or had. */
uint32_t rule_text_number(const struct lang_rules *rules, const struct rule_change *change);
/* Sets stay as they are, whatever the text says. */
void rule_keep_sets(struct call *call, struct install *install);
const struct source *rule_text_apply(struct arena *arena, const struct source *source, const struct text_edit *edit);

#endif
