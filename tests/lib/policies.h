/* SPDX-License-Identifier: GPL-2.0-only */
/* Random policies for tests, and what makes a failing one small. */
#ifndef WEIR_TESTS_LIB_POLICIES_H
#define WEIR_TESTS_LIB_POLICIES_H

#include "ir/ir.h"

/* 0 is a small default for each. */
struct policy_options {
	unsigned rules;    /* about so many, 1 to it, over all chains; 0: 12 */
	unsigned chains;   /* at most, the main one included; 0: 4 */
	unsigned sets;     /* at most; 0: 3 */
	unsigned depth;    /* of conditions; 0: 4 */
	unsigned tunables; /* at most; 0: none, and no rule compares with one */
	unsigned knocks;   /* at most; 0: none, and no rule asks who has knocked */
	bool exact_rules;  /* `rules` is the number, not the bound */
	bool terminal_only; /* every rule is one verdict: no log, mark, count, jump, goto, return */
	bool simple;       /* every condition is one AND of plain matches without masks, as firewalls' rules are */
	bool no_reject;
	bool rates;        /* some rules have a rate; of bytes at XDP only, as bytes are counted differently elsewhere */
	bool memory;       /* sets with timeouts, and little room in them; rules that add to them and remove from them */
};

/*
 * A rule set that passes ruleset_check(), made of the fields that the hook sees and the verdicts and actions that it
 * can take; attached to that hook ("lo", or cgroup "/"). The same seed gives the same one. Only inside arena_run().
 */
const struct ruleset *policies_random(struct arena *arena, uint64_t seed, enum hook hook,
				      const struct policy_options *options);

/*
 * Makes a rule set for which `still_fails` holds smaller, as long as it holds: drops rules, actions, parts of
 * conditions, ranges, chains' users, set elements. `still_fails` may allocate from the arena. Only inside arena_run().
 */
const struct ruleset *policies_shrink(struct arena *arena, const struct ruleset *ruleset,
				      bool (*still_fails)(const struct ruleset *ruleset, void *context), void *context);

#endif
