/* SPDX-License-Identifier: GPL-2.0-only */
/* What a policy's connections need of the loader: tables, times, the hooks that only see. */
#include "api/api.h"
#include "api/flows.h"

_Static_assert((int)AGE_COUNT == (int)FLOW_TIMEOUT_COUNT && (int)AGE_UDP_NEW == (int)FLOW_UDP_NEW &&
	       (int)AGE_OTHER == (int)FLOW_OTHER, "one list in two places");

field_mask flows_needed(const struct ruleset *ruleset, enum hook hook)
{
	if (!(field_table[FIELD_FLOW].hooks & HOOK_BIT(hook)) || !flows_used(ruleset))
		return 0;
	return FIELD_BIT(FIELD_FLOW) | FIELD_BIT(FIELD_SRC_PORT) | FIELD_BIT(FIELD_DST_PORT) | FIELD_BIT(FIELD_ICMP_TYPE);
}

void install_flows(struct arena *arena, const struct ruleset *ruleset, struct install *install, install_states *all)
{
	uint32_t max = flows_max(&ruleset->flows);
	bool shared = ruleset->flows.shared;
	const struct install_state states[] = {
		{ "state_flows", FLOWS_STATE, FLOW_LAYOUT, max, shared, flows_memory(&ruleset->flows) },
		{ "state_flows_fresh", FLOWS_FRESH_STATE, FLOW_LAYOUT, flows_fresh_max(max), shared, 0 },
		{ "state_flow_counts", FLOW_COUNTS_STATE, FLOW_LAYOUT, 1, shared, 0 },
	};

	if (!flows_used(ruleset))
		return;
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		VEC_PUSH(arena, all) = states[i];
	for (int age = 0; age < AGE_COUNT; age++)
		install->flow_timeout_ns[age] = flows_seconds(&ruleset->flows, (enum flow_age)age) * 1000000000ull;
}

struct ruleset *flows_tracker(struct arena *arena, const struct ruleset *ruleset)
{
	struct ruleset *tracker = arena_copy(arena, ruleset, sizeof *ruleset);
	struct chain *chain = ARENA_NEW(arena, struct chain);

	chain->name = "main";
	tracker->chains = chain;
	tracker->chain_count = 1;
	tracker->rule_count = 0;
	tracker->default_verdict = VERDICT_ACCEPT;
	tracker->classifier = CLASSIFIER_AUTO;
	tracker->cache = CACHE_AUTO;
	return tracker;
}
