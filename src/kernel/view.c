/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The view: which policies are in force, read from the folders, the journal and the epoch, without changing anything.
 * Also right in the middle of a change whose command was killed.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "kernel/generation.h"

static bool listed(const struct journal *journal, const char *policy, uint32_t from, uint32_t count)
{
	for (uint32_t i = from; i < from + count; i++)
		if (!strcmp(journal->names[i], policy))
			return true;
	return false;
}

static int read_journal(struct kernel *kernel, struct view *view)
{
	struct path stage, path;
	void *data;
	int error;

	path_join(&stage, kernel->root.text, STAGE_NAME);
	path_join(&path, stage.text, JOURNAL_NAME);
	if (!path_exists(path.text))
		return 0;
	error = blob_load(kernel, stage.text, JOURNAL_NAME, 0, &data);
	if (error)
		return error;
	view->journal = data;
	view->committed = store_epoch(kernel) >= view->journal->since;
	return 0;
}

static struct generation *add(struct view *view, const char *policy)
{
	struct generation *items = reallocarray(view->items, view->count + 1, sizeof *items);

	if (!items)
		return NULL;
	view->items = items;
	memset(&items[view->count], 0, sizeof *items);
	snprintf(items[view->count].policy, sizeof items->policy, "%s", policy);
	return &items[view->count++];
}

static int load(struct kernel *kernel, struct view *view, const char *policy, const char *folder)
{
	struct generation *item = add(view, policy);

	if (!item)
		return -ENOMEM;
	path_join(&item->folder, folder, "%s", policy);
	return record_load(kernel, item->folder.text, &item->record);
}

/* Of a committed change: its staged folder counts, unless it has taken its place already. */
static int load_installed(struct kernel *kernel, struct view *view, const char *policy)
{
	struct record *record = NULL;
	struct path stage, old;
	int error;

	path_join(&old, kernel->root.text, "%s", policy);
	if (path_exists(old.text)) {
		error = record_load(kernel, old.text, &record);
		if (error)
			return error;
	}
	if (record && record->since >= view->journal->since) {
		free(record);
		return load(kernel, view, policy, kernel->root.text);
	}
	path_join(&stage, kernel->root.text, STAGE_NAME);
	error = load(kernel, view, policy, stage.text);
	if (!error && record)
		view->items[view->count - 1].carry_from = old;
	free(record);
	return error;
}

static int load_entry(struct kernel *kernel, struct view *view, const char *name)
{
	const struct journal *journal = view->committed ? view->journal : NULL;

	if (name[0] == '.' || name[0] == '@' || strlen(name) >= NAME_LENGTH)
		return 0;
	if (journal && listed(journal, name, 0, journal->install_count + journal->removal_count))
		return 0;
	return load(kernel, view, name, kernel->root.text);
}

static int load_all(struct kernel *kernel, struct view *view)
{
	DIR *dir = opendir(kernel->root.text);
	struct dirent *entry;
	int error = 0;

	if (!dir)
		return -errno;
	while (!error && (entry = readdir(dir)))
		error = load_entry(kernel, view, entry->d_name);
	closedir(dir);
	for (uint32_t i = 0; !error && view->committed && i < view->journal->install_count; i++)
		error = load_installed(kernel, view, view->journal->names[i]);
	return error;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct generation *)a)->policy, ((const struct generation *)b)->policy);
}

int view_read(struct kernel *kernel, struct view *ret_view)
{
	struct view view = { 0 };
	int error = read_journal(kernel, &view);

	if (!error)
		error = load_all(kernel, &view);
	if (error) {
		view_free(&view);
		return error;
	}
	if (view.count)
		qsort(view.items, view.count, sizeof *view.items, by_name);
	*ret_view = view;
	return 0;
}

void view_free(struct view *view)
{
	for (size_t i = 0; i < view->count; i++)
		free(view->items[i].record);
	free(view->items);
	free(view->journal);
	memset(view, 0, sizeof *view);
}

const struct generation *view_find(const struct view *view, const char *policy)
{
	for (size_t i = 0; i < view->count; i++)
		if (!strcmp(view->items[i].policy, policy))
			return &view->items[i];
	return NULL;
}
