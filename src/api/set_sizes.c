/* SPDX-License-Identifier: GPL-2.0-only */
/* How full the sets and state maps of a policy in force are. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"

enum { KEYS = 3 }; /* IPv4, IPv6, other: enum of install_set.key */

struct weir_set_sizes {
	struct arena *arena;
	VEC(struct weir_set_size) list;
};

struct sizing {
	const char *policy;
	struct weir_set_sizes *sizes;
	struct kernel *kernel;
	json_t *meta;
};

static int size_set(struct call *call, struct sizing *sizing, json_t *set)
{
	static const char *const families[KEYS] = { "ipv4", "ipv6", "" };
	const char *name = json_string_value(json_object_get(set, "name"));
	uint64_t counts[KEYS] = { 0 }, most = (uint64_t)json_integer_value(json_object_get(set, "max"));
	const char *type = json_string_value(json_object_get(set, "type"));
	struct set_listing listing = { 0 };
	bool addresses;

	if (!name || !type ||
	    kernel_set_list(sizing->kernel, call->arena, sizing->policy, name, call->diags, &listing))
		return WEIR_SYSTEM;
	for (size_t i = 0; i < listing.count; i++)
		counts[listing.elements[i].key < KEYS ? listing.elements[i].key : KEYS - 1]++;
	addresses = !strcmp(type, set_type_names[SET_ADDRESS]) || !strcmp(type, set_type_names[SET_PREFIX]);
	name = arena_strndup(call->arena, name, strlen(name));
	for (unsigned key = addresses ? 0 : KEYS - 1; key < (addresses ? KEYS - 1 : KEYS); key++)
		VEC_PUSH(call->arena, &sizing->sizes->list) =
			(struct weir_set_size){ name, families[key], false, counts[key], most, listing.memory[key] };
	return WEIR_OK;
}

/* What users know of it: which programs a map of processes is about does not belong to its name. */
static const char *state_name(struct arena *arena, const char *name)
{
	if (!strncmp(name, LINEAGE_PREFIX, strlen(LINEAGE_PREFIX)))
		return "processes";
	return arena_strndup(arena, name, strlen(name));
}

static int size_states(struct call *call, struct sizing *sizing)
{
	struct kernel_state_size states[KERNEL_STATES_MAX];
	size_t count;

	if (kernel_state_sizes(sizing->kernel, sizing->policy, call->diags, states, &count))
		return WEIR_SYSTEM;
	for (size_t i = 0; i < count; i++)
		VEC_PUSH(call->arena, &sizing->sizes->list) = (struct weir_set_size){
			state_name(call->arena, states[i].name), "", true, states[i].elements,
			states[i].most, states[i].memory };
	return WEIR_OK;
}

static int size_all(struct call *call, void *context)
{
	struct sizing *sizing = context;
	struct policy_state state;
	json_t *set;
	size_t index;
	int error;

	if (kernel_open(KERNEL_READ, call->diags, &sizing->kernel))
		return WEIR_SYSTEM;
	error = kernel_policy(sizing->kernel, call->arena, sizing->policy, call->diags, &state);
	if (error)
		return error == -ENOENT ? WEIR_INPUT : WEIR_SYSTEM;
	sizing->meta = meta_decode(state.meta, state.meta_size);
	json_array_foreach(json_object_get(sizing->meta, "sets"), index, set)
		if (size_set(call, sizing, set))
			return WEIR_SYSTEM;
	return size_states(call, sizing);
}

WEIR_EXPORT int weir_set_sizes(struct weir *weir, const char *policy, struct weir_set_sizes **ret_sizes)
{
	struct weir_set_sizes *sizes = api_new(sizeof *sizes);
	struct sizing sizing = { .policy = policy, .sizes = sizes };
	int status = api_result(weir, sizes, size_all, &sizing);

	kernel_close(sizing.kernel);
	json_decref(sizing.meta);
	if (!status)
		*ret_sizes = sizes;
	return status;
}

WEIR_EXPORT const struct weir_set_size *weir_set_size(const struct weir_set_sizes *sizes, size_t index)
{
	return sizes && index < sizes->list.count ? &sizes->list.items[index] : NULL;
}

WEIR_EXPORT void weir_set_sizes_free(struct weir_set_sizes *sizes)
{
	api_free(sizes);
}
