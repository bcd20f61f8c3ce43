/* SPDX-License-Identifier: GPL-2.0-only */
/* Run-time sets: elements as text, changed and listed in a policy in force. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"

struct set_call {
	const char *policy, *set;
	enum weir_set_operation operation;
	struct source text;
	struct source timeout; /* no text: the set's own */
	struct kernel *kernel;
	json_t *meta;
	struct set like; /* type, timed, timeout_ms */
	uint32_t index;
	json_t *maps; /* borrowed from meta */
	bool shared;
	struct policy_state state;
	const struct set_element *elements;
	size_t count;
	uint64_t refused;
	bool found;
};

static int type_by_name(const char *name)
{
	for (int type = 0; type < SET_TYPE_COUNT; type++)
		if (name && !strcmp(set_type_names[type], name))
			return type;
	return -1;
}

static int find_set(struct call *call, struct set_call *at)
{
	json_t *set;
	size_t index;

	json_array_foreach(json_object_get(at->meta, "sets"), index, set) {
		int type = type_by_name(json_string_value(json_object_get(set, "type")));

		if (type < 0 || strcmp(json_string_value(json_object_get(set, "name")), at->set))
			continue;
		at->like.type = (enum set_type)type;
		at->like.timed = json_is_true(json_object_get(set, "timed"));
		at->like.timeout_ms = (uint32_t)json_integer_value(json_object_get(set, "timeout"));
		at->index = (uint32_t)index;
		at->maps = json_object_get(set, "maps");
		at->shared = json_is_true(json_object_get(set, "shared"));
		return WEIR_OK;
	}
	return api_fail(call, WEIR_INPUT, "policy `%s` has no set `%s`", at->policy, at->set);
}

/* Opens the store and looks the set up in the policy's description. */
static int open_set(struct call *call, struct set_call *at, enum kernel_access access)
{
	int error;

	if (kernel_open(access, call->diags, &at->kernel))
		return WEIR_SYSTEM;
	error = api_policy(call, at->kernel, at->policy, call->diags, &at->state);
	if (error == -ENOENT)
		return api_fail(call, WEIR_INPUT, "no policy `%s` is in force", at->policy);
	if (error)
		return WEIR_SYSTEM;
	at->meta = meta_decode(at->state.meta, at->state.meta_size);
	if (!at->meta)
		return api_fail(call, WEIR_SYSTEM, "the pinned description of policy `%s` is damaged", at->policy);
	return find_set(call, at);
}

static void close_set(struct set_call *at)
{
	kernel_close(at->kernel);
	json_decref(at->meta);
}

/* The maps that a change touches, with their new elements. */
static size_t changed_maps(struct call *call, struct set_call *at, const struct set *elements,
			   struct install_set **ret_maps)
{
	struct install_set *maps = ARENA_ARRAY(call->arena, struct install_set, json_array_size(at->maps));
	bool whole = at->operation == WEIR_SET_REPLACE || at->operation == WEIR_SET_FLUSH;
	size_t index, count = 0;
	json_t *map;

	json_array_foreach(at->maps, index, map) {
		struct install_set *to = &maps[count];
		bool six;

		to->map = json_string_value(json_object_get(map, "map"));
		to->name = at->set;
		to->key = (uint8_t)json_integer_value(json_object_get(map, "key"));
		to->lpm = json_is_true(json_object_get(map, "lpm"));
		six = to->key == KEY_IPV6;
		to->elements = six ? elements->ranges6 : elements->ranges;
		to->timeouts = six ? elements->timeouts6 : elements->timeouts;
		to->count = six ? elements->count6 : elements->count;
		if (whole || to->count)
			count++;
	}
	*ret_maps = maps;
	return count;
}

/* What elements that name no timeout get. */
static int default_timeout(struct call *call, struct set_call *at)
{
	if (at->operation == WEIR_SET_DELETE || at->operation == WEIR_SET_FLUSH)
		at->like.timeout_ms = 0;
	if (!at->timeout.text)
		return WEIR_OK;
	if (!at->like.timed) {
		diag_hint(call->diags, diag_error(call->diags, (struct span){ 0 }, "the set `%s` has no timeouts",
						  at->set),
			  "declare it with a default in the policy: `timeout 1h`, or `timeout never`");
		return WEIR_INPUT;
	}
	return lang_timeout(call->arena, &at->timeout, call->diags, &at->like.timeout_ms) ? WEIR_INPUT : WEIR_OK;
}

static int change(struct call *call, void *context)
{
	static const enum set_change changes[] = { SET_ADD, SET_DELETE, SET_REPLACE, SET_FLUSH };
	struct set_call *at = context;
	struct set elements = { 0 };
	struct install_set *maps;
	size_t count;
	int status = open_set(call, at, KERNEL_WRITE);

	if (!status)
		status = default_timeout(call, at);
	if (status)
		return status;
	if (lang_elements(call->arena, &at->text, &at->like, &names_system, call->diags, &elements))
		return WEIR_INPUT;
	if (at->operation >= WEIR_SET_REPLACE && !at->shared)
		return api_replace_set(call, at->kernel, &at->state, at->set, &elements);
	count = changed_maps(call, at, &elements, &maps);
	if (kernel_set_change(at->kernel, at->policy, changes[at->operation], maps, count, call->diags))
		return WEIR_SYSTEM;
	return WEIR_OK;
}

WEIR_EXPORT int weir_set_change(struct weir *weir, const char *policy, const char *set,
				enum weir_set_operation operation, const char *name, const char *text, size_t length,
				const char *timeout)
{
	struct set_call at = { .policy = policy, .set = set, .operation = operation, .text = { name, text, length },
			       .timeout = { "timeout", timeout, timeout ? strlen(timeout) : 0 } };
	int status = api_call(weir, NULL, false, change, &at);

	close_set(&at);
	return status;
}

/* --- listing ----------------------------------------------------------------------------------------------------- */

static int print_address(int family, u128 value, char *buffer, size_t size)
{
	unsigned char octets[16];
	int length = family == AF_INET ? 4 : 16;

	for (int i = 0; i < length; i++)
		octets[i] = (unsigned char)(value >> 8 * (length - 1 - i));
	inet_ntop(family, octets, buffer, (socklen_t)size);
	return (int)strlen(buffer);
}

static int print_mac(u128 value, char *buffer, size_t size)
{
	return snprintf(buffer, size, "%02x:%02x:%02x:%02x:%02x:%02x", (unsigned)(value >> 40) & 255,
			(unsigned)(value >> 32) & 255, (unsigned)(value >> 24) & 255, (unsigned)(value >> 16) & 255,
			(unsigned)(value >> 8) & 255, (unsigned)value & 255);
}

static void print_element(enum set_type type, const struct set_element *element, char *buffer, size_t size)
{
	int family = element->key == KEY_IPV4 ? AF_INET : AF_INET6, used;

	if (type == SET_MAC) {
		print_mac(element->lo, buffer, size);
	} else if (element->key == KEY_VALUE) {
		snprintf(buffer, size, "%llu", (unsigned long long)element->lo);
	} else {
		used = print_address(family, element->lo, buffer, size);
		if (type == SET_PREFIX && element->prefix < (family == AF_INET ? 32 : 128))
			snprintf(buffer + used, size - (size_t)used, "/%u", element->prefix);
	}
}

static int by_value(const void *left, const void *right)
{
	const struct set_element *a = left, *b = right;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return (a->prefix > b->prefix) - (a->prefix < b->prefix);
}

struct weir_set_listing {
	struct arena *arena;
	enum set_type type;
	const struct set_element *elements;
	size_t count, next;
	uint64_t refused;
	char text[80];
};

static bool is_sorted(const struct set_element *elements, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (by_value(&elements[i - 1], &elements[i]) > 0)
			return false;
	return true;
}

static int list(struct call *call, void *context)
{
	struct set_call *at = context;
	struct set_listing listing = { 0 };
	struct set_element *sorted;
	int status = open_set(call, at, KERNEL_READ);

	if (status)
		return status;
	if (kernel_set_list(at->kernel, call->arena, at->policy, at->set, call->diags, &listing) ||
	    kernel_set_refused(at->kernel, at->policy, at->index, call->diags, &at->refused))
		return WEIR_SYSTEM;
	at->elements = listing.elements;
	at->count = listing.count;
	if (is_sorted(at->elements, at->count))
		return WEIR_OK;
	sorted = arena_copy(call->arena, at->elements, at->count * sizeof *at->elements);
	qsort(sorted, at->count, sizeof *sorted, by_value);
	at->elements = sorted;
	return WEIR_OK;
}

WEIR_EXPORT int weir_set_list(struct weir *weir, const char *policy, const char *set,
			      struct weir_set_listing **ret_listing)
{
	struct set_call at = { .policy = policy, .set = set };
	struct weir_set_listing *listing = api_new(sizeof *listing);
	int status = api_result(weir, listing, list, &at);

	close_set(&at);
	if (status)
		return status;
	listing->type = at.like.type;
	listing->elements = at.elements;
	listing->count = at.count;
	listing->refused = at.refused;
	*ret_listing = listing;
	return WEIR_OK;
}

WEIR_EXPORT size_t weir_set_count(const struct weir_set_listing *listing)
{
	return listing->count;
}

WEIR_EXPORT uint64_t weir_set_refused(const struct weir_set_listing *listing)
{
	return listing->refused;
}

WEIR_EXPORT bool weir_set_next(struct weir_set_listing *listing, struct weir_set_element *ret_element)
{
	static const char *const origins[] = { [ORIGIN_FILE] = "file", [ORIGIN_RUN_TIME] = "run-time",
					       [ORIGIN_PACKET] = "packet" };
	const struct set_element *element;

	if (listing->next == listing->count)
		return false;
	element = &listing->elements[listing->next++];
	print_element(listing->type, element, listing->text, sizeof listing->text);
	*ret_element = (struct weir_set_element){
		listing->text, origins[element->origin <= ORIGIN_PACKET ? element->origin : ORIGIN_RUN_TIME],
		element->left_ms };
	return true;
}

WEIR_EXPORT void weir_set_rewind(struct weir_set_listing *listing)
{
	listing->next = 0;
}

WEIR_EXPORT void weir_set_listing_free(struct weir_set_listing *listing)
{
	api_free(listing);
}

/* --- testing ----------------------------------------------------------------------------------------------------- */

static int test(struct call *call, void *context)
{
	struct set_call *at = context;
	struct set wanted = { 0 };
	int status = open_set(call, at, KERNEL_READ), answer;
	uint8_t key;

	if (status)
		return status;
	if (lang_elements(call->arena, &at->text, &at->like, &names_system, call->diags, &wanted))
		return WEIR_INPUT;
	if (wanted.count + wanted.count6 != 1)
		return api_fail(call, WEIR_INPUT, "`%s`: one element is asked for", at->text.text);
	key = at->like.type != SET_ADDRESS && at->like.type != SET_PREFIX ? KEY_VALUE :
	      wanted.count6						    ? KEY_IPV6 : KEY_IPV4;
	answer = kernel_set_test(at->kernel, at->policy, at->set, key,
				 wanted.count6 ? wanted.ranges6[0].lo : wanted.ranges[0].lo, call->diags);
	if (answer < 0)
		return WEIR_SYSTEM;
	at->found = answer;
	return WEIR_OK;
}

WEIR_EXPORT int weir_set_test(struct weir *weir, const char *policy, const char *set, const char *element)
{
	struct set_call at = { .policy = policy, .set = set, .text = { "element", element, strlen(element) } };
	int status = api_call(weir, NULL, false, test, &at);

	close_set(&at);
	return status ? status : at.found ? WEIR_OK : WEIR_INPUT;
}
