/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections, on the way from rule sets to the loader. */
#ifndef WEIR_API_FLOWS_H
#define WEIR_API_FLOWS_H

#include "api/api.h"

/* Bits for plane_config.needed at that hook: all of a policy's hooks see connections, if one of them asks. */
field_mask flows_needed(const struct ruleset *ruleset, enum hook hook);

/* The state maps and timeouts, if the policy has connections. */
void install_flows(struct arena *arena, const struct ruleset *ruleset, struct install *install, install_states *all);

/* The policy as it is where it only tracks: no rule, everything accepted. */
struct ruleset *flows_tracker(struct arena *arena, const struct ruleset *ruleset);

#endif
