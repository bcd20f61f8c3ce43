/* SPDX-License-Identifier: GPL-2.0-only */
/* See origin.h. In: records; out: descriptions and paths, which may be missing: nothing here is an error. */
#include "api/origin.h"
#include "api/rule_places.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- descriptions ------------------------------------------------------------------------------------------------ */

struct description {
	struct description *next;
	uint32_t generation;
	json_t *meta;
};

struct describing {
	struct kernel *kernel;
	const char *policy;
	json_t *meta;
};

static int read_meta(struct call *call, void *context)
{
	struct describing *describing = context;
	struct policy_state state;

	if (!api_policy(call, describing->kernel, describing->policy, call->diags, &state))
		describing->meta = meta_decode(state.meta, state.meta_size);
	return WEIR_OK;
}

bool descriptions_add(struct descriptions *descriptions, uint32_t generation, json_t *meta)
{
	struct description *added = calloc(1, sizeof *added);

	if (!added)
		return false;
	*added = (struct description){ descriptions->first, generation, meta };
	descriptions->first = added;
	return true;
}

json_t *descriptions_find(struct weir *weir, struct descriptions *descriptions, const struct event_origin *origin)
{
	struct describing describing = { descriptions->kernel, origin->policy, NULL };
	struct description *found = descriptions->first;

	while (found && found->generation != origin->generation)
		found = found->next;
	if (found || !descriptions->kernel)
		return found ? found->meta : NULL;
	api_call(weir, NULL, false, read_meta, &describing);
	if (!describing.meta || descriptions_add(descriptions, origin->generation, describing.meta))
		return describing.meta;
	json_decref(describing.meta);
	return NULL;
}

void descriptions_free(struct descriptions *descriptions)
{
	for (struct description *at = descriptions->first, *next; at; at = next) {
		next = at->next;
		json_decref(at->meta);
		free(at);
	}
}

/* --- processes --------------------------------------------------------------------------------------------------- */

/* A program that the policy names; false if it is none of those. */
static bool find_named(json_t *meta, const struct event *raw, char path[PATH_MAX])
{
	json_t *item;
	size_t index;

	json_array_foreach(meta ? json_object_get(meta, "programs") : NULL, index, item) {
		json_t *generation = json_object_get(item, "generation"); /* null: not known */

		if ((uint64_t)json_integer_value(json_object_get(item, "inode")) != raw->program ||
		    json_integer_value(json_object_get(item, "device")) != raw->device ||
		    (json_is_integer(generation) && json_integer_value(generation) != raw->generation))
			continue;
		snprintf(path, PATH_MAX, "%s", json_string_value(json_object_get(item, "path")));
		return true;
	}
	return false;
}

void origin_program(json_t *meta, const struct event *raw, char path[PATH_MAX])
{
	struct stat status;
	char link[40];
	ssize_t length;

	if (raw->pid && find_named(meta, raw, path))
		return;
	snprintf(link, sizeof link, "/proc/%u/exe", raw->pid);
	length = raw->pid && !stat(link, &status) && status.st_ino == raw->program ? readlink(link, path, PATH_MAX - 1) : 0;
	path[length > 0 ? length : 0] = '\0';
}

uint32_t origin_rule(const struct event *raw, const struct event_origin *origin)
{
	return origin->edits_size ? places_number(origin->edits, origin->edits_size, SLOT_RULE(raw->rule)) : raw->rule;
}

void origin_cgroup(const struct event *raw, char path[PATH_MAX])
{
	char name[40], line[PATH_MAX + 4];
	uint64_t id = 0;
	uint8_t level;
	FILE *file;

	path[0] = '\0';
	snprintf(name, sizeof name, "/proc/%u/cgroup", raw->pid);
	file = raw->pid ? fopen(name, "re") : NULL;
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, "0::", 3))
			snprintf(path, PATH_MAX, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
	if (file)
		fclose(file);
	if (!path[0] || names_system.cgroup(names_system.context, path, &level, &id) || id != raw->cgroup)
		path[0] = '\0';
}
