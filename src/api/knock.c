/* SPDX-License-Identifier: GPL-2.0-only */
/* What the loader is told of knocks. In: a rule set; out: constants and state maps of an install. */
#include <string.h>
#include <time.h>

#include "api/api.h"
#include "api/knock_key.h"

_Static_assert((int)KNOCKER_STATE == sizeof(struct knock_source) + sizeof(struct knock_open) &&
	       (int)KNOCKERS_DEFAULT == (int)KNOCK_SOURCES, "what sources take");
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

/* A knock whose key is not known yet gets it from its file. */
static int load_key(struct call *call, struct knock *knock)
{
	struct master_key master;
	const char *wrong;
	struct diag *diag;

	if (!knock->key_file || knock->key[0] || knock->key[1])
		return WEIR_OK;
	wrong = key_read(call->arena, knock->key_file, &master);
	if (wrong) {
		diag = diag_error(call->diags, knock->span, "the key %s of knock `%s`: %s", knock->key_file,
				  knock->name, wrong);
		diag_hint(call->diags, diag, "`weir knock --new-key %s` makes one", knock->key_file);
		return WEIR_INPUT;
	}
	key_of_knock(&master, knock->name, knock->key);
	explicit_bzero(&master, sizeof master);
	return WEIR_OK;
}

int knocks_load_keys(struct call *call, const struct ruleset *ruleset, const struct ruleset **ret_ruleset)
{
	struct ruleset *copy = arena_copy(call->arena, ruleset, sizeof *ruleset);
	struct knock *knocks = arena_copy(call->arena, ruleset->knocks, ruleset->knock_count * sizeof *knocks);
	int status = WEIR_OK;

	for (size_t i = 0; i < ruleset->knock_count; i++) {
		int one = load_key(call, &knocks[i]);

		status = status ? status : one;
	}
	copy->knocks = knocks;
	if (!status)
		*ret_ruleset = copy;
	return status;
}

/* How much TAI is ahead of UTC, by what the kernel has been told: the planes have no clock of UTC. */
static int64_t tai_ahead(void)
{
	const int64_t second = 1000000000;
	struct timespec tai, utc;
	int64_t ahead;

	clock_gettime(CLOCK_TAI, &tai);
	clock_gettime(CLOCK_REALTIME, &utc);
	ahead = ((int64_t)tai.tv_sec - utc.tv_sec) * second + tai.tv_nsec - utc.tv_nsec;
	return (ahead + second / 2) / second * second; /* whole seconds, and one clock was read after the other */
}

static struct plane_knock constants(const struct knock *knock)
{
	return (struct plane_knock){ .within_ns = knock->within_ns, .open_ns = knock->open_ns,
				     .steps = (uint32_t)knock->step_count, .extend = knock->extend,
				     .key = { knock->key[0], knock->key[1] }, .skew_us = knock->skew_ns / 1000,
				     .bind = knock->bind };
}

void install_knocks(struct arena *arena, const struct ruleset *ruleset, struct install *install, install_states *states)
{
	static const struct {
		const char *map, *name;
	} maps[] = { { MAP_KNOCK_OPEN, KNOCKS_OPEN }, { MAP_KNOCK_WAY, KNOCKS_WAY },
		     { MAP_KNOCK_STAMPS, "knock-stamps" } };
	uint32_t sources = 0, layout;

	if (!ruleset->knock_count)
		return;
	install->knocks.count = (uint32_t)ruleset->knock_count;
	for (size_t i = 0; i < ruleset->knock_count; i++) {
		const struct knock *knock = &ruleset->knocks[i];

		install->knocks.whole |= (uint32_t)knock->whole << i;
		install->knocks.keyed |= (uint32_t)(knock->key_file != NULL) << i;
		install->knocks.items[i] = constants(knock);
		sources = knock->max_sources > sources ? knock->max_sources : sources;
	}
	install->knocks.tai_ahead_ns = install->knocks.keyed ? tai_ahead() : 0;
	layout = layout_of(arena, ruleset);
	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
		VEC_PUSH(arena, states) = (struct install_state){
			.map = maps[i].map, .name = maps[i].name, .layout = layout,
			.max_elements = !strcmp(maps[i].map, MAP_KNOCK_STAMPS) ? 1 : sources ? sources : KNOCK_SOURCES,
		};
}
