/* SPDX-License-Identifier: GPL-2.0-only */
/* What the loader is told of knocks. In: a rule set; out: constants and state maps of an install. */
#include <string.h>

#include "api/api.h"

_Static_assert((int)KNOCKS_MAX == (int)KNOCK_SLOTS && (int)KNOCK_STEPS_MAX == (int)KNOCK_SLOT_STEPS,
	       "planes have room for all of a policy's knocks");

const char *knocks_text(struct arena *arena, const struct ruleset *ruleset, bool times)
{
	struct knock *knocks = arena_copy(arena, ruleset->knocks, ruleset->knock_count * sizeof *knocks);
	const struct ruleset bare = { .name = "", .sets = ruleset->sets, .knocks = knocks,
				      .knock_count = ruleset->knock_count };

	for (size_t i = 0; !times && i < bare.knock_count; i++)
		knocks[i].within_ns = knocks[i].open_ns = knocks[i].max_sources = knocks[i].extend = 0;
	return ruleset_print(arena, &bare);
}

/*
 * A number for what the maps mean: they are taken over by a policy with the same knocks, in that order, of the same
 * steps and sources. Times may change.
 */
static uint32_t layout_of(struct arena *arena, const struct ruleset *ruleset)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (const char *text = knocks_text(arena, ruleset, false); *text; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return hash;
}

static struct plane_knock constants(const struct knock *knock)
{
	return (struct plane_knock){ .within_ns = knock->within_ns, .open_ns = knock->open_ns,
				     .steps = (uint32_t)knock->step_count, .extend = knock->extend };
}

void install_knocks(struct arena *arena, const struct ruleset *ruleset, struct install *install, install_states *states)
{
	static const struct {
		const char *map, *name;
	} maps[] = { { MAP_KNOCK_OPEN, "knock-open" }, { MAP_KNOCK_WAY, "knock-way" } };
	uint32_t sources = 0, layout;

	if (!ruleset->knock_count)
		return;
	install->knocks.count = (uint32_t)ruleset->knock_count;
	for (size_t i = 0; i < ruleset->knock_count; i++) {
		const struct knock *knock = &ruleset->knocks[i];

		install->knocks.whole |= (uint32_t)knock->whole << i;
		install->knocks.items[i] = constants(knock);
		sources = knock->max_sources > sources ? knock->max_sources : sources;
	}
	layout = layout_of(arena, ruleset);
	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
		VEC_PUSH(arena, states) = (struct install_state){
			.map = maps[i].map, .name = maps[i].name, .layout = layout,
			.max_elements = sources ? sources : KNOCK_SOURCES,
		};
}
