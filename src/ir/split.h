/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What of a policy can be told at a system call, before there is a packet.
 *
 * A call at HOOK_CONNECT or HOOK_BIND does not show all that the packets behind it will have. Where the policy has packet
 * hooks that meet those packets, a condition has three values at the call: it holds for all of them, for none, or that
 * depends. What depends is left to the packet hooks: a rule that would refuse acts only if it holds for all, one that
 * accepts lets the call pass as soon as it may hold. So a call is refused only if the packet hooks would refuse every
 * packet of it. Without such hooks nothing is left: the call is judged by what it shows.
 */
#ifndef WEIR_IR_SPLIT_H
#define WEIR_IR_SPLIT_H

#include "ir/ir.h"

/*
 * The policy as `hook` judges it: at packet hooks the same, at calls another one that says it in rules. Rules keep their
 * numbers, actions their places (those that the packet hooks take are marked `left`). In the arena.
 */
const struct ruleset *ruleset_at(struct arena *arena, const struct ruleset *ruleset, enum hook hook);

enum split { SPLIT_DECIDED, SPLIT_LEFT };

/* Whether some of the rule is left to the packet hooks at that hook. */
enum split rule_split(const struct ruleset *ruleset, const struct rule *rule, enum hook hook);

#endif
