/* SPDX-License-Identifier: GPL-2.0-only */
/* Rule sets without what classic BPF cannot do, made from random ones. */
#ifndef WEIR_TESTS_LIB_PLAIN_RULES_H
#define WEIR_TESTS_LIB_PLAIN_RULES_H

#include "ir/ir.h"

/* A copy whose rules neither count, log nor mark; one that did nothing else never matches. */
const struct ruleset *plain_rules(struct arena *arena, const struct ruleset *ruleset);

#endif
