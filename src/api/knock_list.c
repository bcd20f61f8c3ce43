/* SPDX-License-Identifier: GPL-2.0-only */
/* Who knocks. In: the state maps of a policy in force and its description; out: sources, how far they are, for how long. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/clock.h"

struct weir_knockers {
	struct arena *arena;
	VEC(struct weir_knocker) list;
};

struct listing {
	const char *policy;
	struct weir_knockers *knockers;
	struct kernel *kernel;
	json_t *meta;
	struct kernel_state open, way;
	uint64_t now_ns;
};

/* Knock i as the description has it. */
static json_t *knock_at(const struct listing *listing, size_t index)
{
	return json_array_get(json_object_get(listing->meta, "knocks"), index);
}

static const char *source_text(struct arena *arena, const struct knock_source *source, bool whole)
{
	char text[INET6_ADDRSTRLEN];

	api_address_text(source->family, source->hi, source->lo, text);
	return arena_printf(arena, source->family == FAMILY_IPV4 || whole ? "%s" : "%s/64", text);
}

static void add(struct call *call, struct listing *listing, size_t index, const void *key, unsigned step, uint64_t until_ns)
{
	json_t *knock = knock_at(listing, index);
	const char *name = json_string_value(json_object_get(knock, "name"));

	if (!name || until_ns <= listing->now_ns)
		return;
	VEC_PUSH(call->arena, &listing->knockers->list) = (struct weir_knocker){
		.knock = arena_strndup(call->arena, name, strlen(name)),
		.source = source_text(call->arena, key, json_is_true(json_object_get(knock, "whole"))),
		.step = step,
		.left_ms = (until_ns - listing->now_ns) / 1000000,
	};
}

static void list_open(struct call *call, struct listing *listing, size_t index)
{
	for (size_t i = 0; i < listing->open.count; i++) {
		const struct knock_open *open = (const struct knock_open *)listing->open.values + i;

		add(call, listing, index, (const struct knock_source *)listing->open.keys + i, 0, open->until_ns[index]);
	}
}

static void list_way(struct call *call, struct listing *listing, size_t index)
{
	uint64_t within = (uint64_t)json_integer_value(json_object_get(knock_at(listing, index), "within"));

	for (size_t i = 0; i < listing->way.count; i++) {
		uint64_t at = ((const struct knock_way *)listing->way.values + i)->at[index];

		if (at && at != KNOCK_ARRIVED)
			add(call, listing, index, (const struct knock_source *)listing->way.keys + i,
			    (unsigned)(at & KNOCK_STEP_MASK) + 1, (at >> KNOCK_STEP_BITS) + within);
	}
}

static int read_maps(struct call *call, struct listing *listing)
{
	struct policy_state state;
	int error = api_policy(call, listing->kernel, listing->policy, call->diags, &state);

	if (error)
		return error == -ENOENT ? WEIR_INPUT : WEIR_SYSTEM;
	listing->meta = meta_decode(state.meta, state.meta_size);
	listing->open.key_size = listing->way.key_size = sizeof(struct knock_source);
	listing->open.value_size = sizeof(struct knock_open);
	listing->way.value_size = sizeof(struct knock_way);
	if (!listing->meta ||
	    kernel_state_read(listing->kernel, listing->policy, KNOCKS_OPEN, call->diags, &listing->open) ||
	    kernel_state_read(listing->kernel, listing->policy, KNOCKS_WAY, call->diags, &listing->way))
		return WEIR_SYSTEM;
	listing->now_ns = clock_ns(CLOCK_MONOTONIC);
	return WEIR_OK;
}

static int list_all(struct call *call, void *context)
{
	struct listing *listing = context;
	int status = WEIR_SYSTEM;

	if (!kernel_open(KERNEL_READ, call->diags, &listing->kernel))
		status = read_maps(call, listing);
	for (size_t i = 0; !status && i < KNOCK_SLOTS; i++) {
		list_open(call, listing, i);
		list_way(call, listing, i);
	}
	return status;
}

WEIR_EXPORT int weir_knockers_list(struct weir *weir, const char *policy, struct weir_knockers **ret_knockers)
{
	struct weir_knockers *knockers = api_new(sizeof *knockers);
	struct listing listing = { .policy = policy, .knockers = knockers };
	int status = api_result(weir, knockers, list_all, &listing);

	kernel_state_free(&listing.open);
	kernel_state_free(&listing.way);
	json_decref(listing.meta);
	kernel_close(listing.kernel);
	if (!status)
		*ret_knockers = knockers;
	return status;
}

WEIR_EXPORT const struct weir_knocker *weir_knocker(const struct weir_knockers *knockers, size_t index)
{
	return knockers && index < knockers->list.count ? &knockers->list.items[index] : NULL;
}

WEIR_EXPORT void weir_knockers_free(struct weir_knockers *knockers)
{
	api_free(knockers);
}
