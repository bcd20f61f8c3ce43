/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Changes of single rules in tables. In: what to add to each table, in words and steps that no packet reads yet; out: the
 * change in force. The order of stores makes it safe against a kill at any instruction:
 *
 *   1. the edit, with the epoch from which on it counts       - from here on rules_recover() knows of the change
 *   2. log statements; words and steps of every table
 *   3. `latest` of every table: packets find the new version, whose epoch has not come, and take the one before it
 *   4. the epoch: all tables at once
 *
 * Before 4, rules_recover() takes back 3, then 1. After it nothing is left to do.
 */
#include "kernel/rules.h"

#include "kernel/attach.h"
#include "kernel/setmap.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { EDITS_BYTES = 1 << 18 };

/* --- mapped maps ------------------------------------------------------------------------------------------------- */

struct mapped {
	void *data;
	size_t size;
	int fd;
};

static void unmap(struct mapped *mapped)
{
	if (mapped->data)
		munmap(mapped->data, mapped->size);
	if (mapped->fd >= 0)
		close(mapped->fd);
	*mapped = (struct mapped){ .fd = -1 };
}

static int map_pin(const char *folder, const char *name, uint32_t index, int protection, struct mapped *ret_mapped)
{
	struct mapped mapped = {
		.fd = index == UINT32_MAX ? pin_open(folder, "%s", name) : pin_open(folder, "%s_%u", name, index),
	};
	int error = mapped.fd < 0 ? mapped.fd : value_map(mapped.fd, protection, &mapped.data, &mapped.size);

	if (!error)
		*ret_mapped = mapped;
	else
		unmap(&mapped);
	return error;
}

static int map_edits(const char *folder, int protection, struct mapped *ret_mapped)
{
	return map_pin(folder, "edits", UINT32_MAX, protection, ret_mapped);
}

/* --- edits ------------------------------------------------------------------------------------------------------- */

static size_t edit_size(const struct rules_edit *edit)
{
	return sizeof *edit + ((size_t)edit->size + 7) / 8 * 8;
}

const struct rules_edit *rules_edit_next(const void *edits, size_t size, const struct rules_edit *edit)
{
	size_t at = edit ? (size_t)((const char *)edit - (const char *)edits) + edit_size(edit) : 0;

	edit = (const struct rules_edit *)((const char *)edits + at);
	return at + sizeof *edit <= size && edit->size && edit_size(edit) <= size - at ? edit : NULL;
}

size_t rules_committed(const void *edits, size_t size, uint64_t epoch)
{
	const struct rules_edit *edit = NULL;
	size_t committed = 0;

	while ((edit = rules_edit_next(edits, size, edit)) && edit->since <= epoch)
		committed += edit_size(edit);
	return committed;
}

static size_t committed_size(const struct mapped *edits, uint64_t epoch)
{
	return rules_committed(edits->data, edits->size, epoch);
}

int rules_edits(struct kernel *kernel, const char *folder, void **ret_edits, size_t *ret_size)
{
	struct mapped edits = { .fd = -1 };
	int error = map_edits(folder, PROT_READ, &edits);

	*ret_size = 0;
	if (error)
		return error == -ENOENT ? 0 : problem_set(kernel, error, "cannot read %s/edits: %s", folder, strerror(-error));
	*ret_size = committed_size(&edits, store_epoch(kernel));
	*ret_edits = *ret_size ? malloc(*ret_size) : NULL;
	if (*ret_edits)
		memcpy(*ret_edits, edits.data, *ret_size);
	error = *ret_size && !*ret_edits ? -ENOMEM : 0;
	unmap(&edits);
	return error;
}

int rules_stage(struct kernel *kernel, const char *folder, const struct install *install)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	CLEANUP_CLOSE int fd = -1;
	int error;

	if (!install->frame)
		return 0;
	error = blob_pin(kernel, folder, "frame", install->frame, install->frame_size);
	if (!error)
		error = blob_pin(kernel, folder, "index", install->index, install->index_size);
	if (error)
		return error;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_edits", sizeof(uint32_t), EDITS_BYTES, 1, &options);
	if (fd < 0)
		return problem_bpf(kernel, -errno, "cannot create a BPF map");
	return pin_make(kernel, fd, folder, "edits");
}

/* --- one policy -------------------------------------------------------------------------------------------------- */

struct kernel_rules {
	struct kernel *kernel;
	struct path folder;
	struct rules_state state;
	struct mapped edits;
	struct mapped *tables;
	struct rules_table *shown; /* state.tables */
	void *frame;
};

static int open_table(struct kernel_rules *rules, uint32_t index)
{
	size_t count = rules->state.table_count;
	struct mapped *tables = reallocarray(rules->tables, count + 1, sizeof *tables);
	struct rules_table *shown = reallocarray(rules->shown, count + 1, sizeof *shown);
	int error;

	rules->tables = tables ? tables : rules->tables;
	rules->shown = shown ? shown : rules->shown;
	rules->state.tables = rules->shown;
	if (!tables || !shown)
		return -ENOMEM;
	error = map_pin(rules->folder.text, "table", index, PROT_READ | PROT_WRITE, &tables[count]);
	if (error)
		return error;
	shown[count] = (struct rules_table){ tables[count].data, tables[count].size / 8 };
	rules->state.table_count++;
	return 0;
}

static int open_tables(struct kernel_rules *rules)
{
	int error = 0;

	for (uint32_t i = 0; !error; i++)
		error = open_table(rules, i);
	return error == -ENOENT && rules->state.table_count ? 0 : error;
}

static int read_entries(const struct kernel_rules *rules, const char *name, uint32_t *ret_entries)
{
	struct bpf_map_info info;
	CLEANUP_CLOSE int fd = pin_open(rules->folder.text, "%s", name);
	int error = fd < 0 ? fd : map_info(fd, &info);

	if (!error)
		*ret_entries = info.max_entries;
	return error;
}

static int read_frame(struct kernel_rules *rules)
{
	struct bpf_map_info info;
	CLEANUP_CLOSE int fd = pin_open(rules->folder.text, "frame");
	int error = fd < 0 ? fd : map_info(fd, &info);

	if (error)
		return error;
	rules->state.frame_size = info.value_size;
	return blob_load(rules->kernel, rules->folder.text, "frame", 0, &rules->frame);
}

int kernel_blob_map(struct kernel *kernel, const char *policy, const char *name, struct diags *diags,
		    struct kernel_blob *ret_blob)
{
	struct path folder;

	path_join(&folder, kernel->root.text, "%s", policy);
	return problem_report(kernel, diags, blob_map(kernel, folder.text, name, ret_blob));
}

bool kernel_rules_attached(struct kernel_rules *rules)
{
	CLEANUP_FREE struct record *record = NULL;
	bool attached = true;

	if (record_load(rules->kernel, rules->folder.text, &record)) {
		problem_forget(rules->kernel);
		return false;
	}
	for (uint32_t i = 0; i < record->place_count; i++)
		attached &= place_attached(rules->folder.text, record, i);
	return attached;
}

static bool set_stays(struct kernel_rules *rules, const struct record *record, const struct install_set *set)
{
	const struct record_set *before = record_find_set(record, set->name, set->key);
	CLEANUP_CLOSE int fd = before ? pin_open(rules->folder.text, "set-%s", before->map) : -1;

	for (size_t i = 0; set->timeouts && i < set->count; i++)
		if (set->timeouts[i])
			return false;
	return !before || (fd >= 0 && setmap_as_given(rules->kernel, fd, set) == 1);
}

bool kernel_rules_sets_stay(struct kernel_rules *rules, const struct install_set *sets, size_t count)
{
	CLEANUP_FREE struct record *record = NULL;
	bool stay = !record_load(rules->kernel, rules->folder.text, &record);

	for (size_t i = 0; stay && i < count; i++)
		stay = set_stays(rules, record, &sets[i]);
	problem_forget(rules->kernel);
	return stay;
}

static int open_rules(struct kernel_rules *rules)
{
	struct rules_state *state = &rules->state;
	int error = map_edits(rules->folder.text, PROT_READ | PROT_WRITE, &rules->edits);

	if (error == -ENOENT && path_exists(rules->folder.text))
		return -EOPNOTSUPP;
	if (!error)
		error = open_tables(rules);
	if (!error)
		error = read_entries(rules, "base", &rules->state.slots);
	if (!error)
		error = read_entries(rules, "logs", &rules->state.logs);
	if (!error)
		error = read_frame(rules);
	if (error)
		return error;
	state->epoch = store_epoch(rules->kernel);
	state->edits = rules->edits.data;
	state->edits_size = committed_size(&rules->edits, state->epoch);
	state->edits_room = rules->edits.size - state->edits_size;
	state->frame = rules->frame;
	return 0;
}

int kernel_rules_open(struct kernel *kernel, const char *policy, struct diags *diags, struct kernel_rules **ret_rules)
{
	struct kernel_rules *rules;
	int error = store_need_write(kernel);

	if (error)
		return problem_report(kernel, diags, error);
	rules = calloc(1, sizeof *rules);
	if (!rules)
		return -ENOMEM;
	rules->kernel = kernel;
	rules->edits.fd = -1;
	path_join(&rules->folder, kernel->root.text, "%s", policy);
	error = open_rules(rules);
	if (!error) {
		*ret_rules = rules;
		return 0;
	}
	if (error != -ENOENT && error != -EOPNOTSUPP)
		problem_set(kernel, error, "cannot open the rules of policy `%s`: %s", policy, strerror(-error));
	kernel_rules_close(rules);
	return error == -ENOENT || error == -EOPNOTSUPP ? error : problem_report(kernel, diags, error);
}

void kernel_rules_close(struct kernel_rules *rules)
{
	if (!rules)
		return;
	for (size_t i = 0; i < rules->state.table_count; i++)
		unmap(&rules->tables[i]);
	unmap(&rules->edits);
	free(rules->tables);
	free(rules->shown);
	free(rules->frame);
	free(rules);
}

const struct rules_state *kernel_rules_state(const struct kernel_rules *rules)
{
	return &rules->state;
}

int kernel_rules_settle(struct kernel_rules *rules, struct diags *diags)
{
	return problem_report(rules->kernel, diags, kernel_grace(rules->kernel));
}

/* --- committing -------------------------------------------------------------------------------------------------- */

static int put_edit(struct kernel_rules *rules, const void *data, size_t size)
{
	struct rules_edit head = { .since = rules->state.epoch + 1, .size = (uint32_t)size };
	struct rules_edit *to = (struct rules_edit *)((char *)rules->edits.data + rules->state.edits_size);

	if (edit_size(&head) + sizeof head > rules->state.edits_room)
		return -ENOSPC;
	to->since = head.since;
	memcpy(to + 1, data, size);
	memset((char *)to + edit_size(&head), 0, sizeof head);
	__atomic_store_n(&to->size, head.size, __ATOMIC_SEQ_CST);
	return 0;
}

static int put_steps(struct kernel_rules *rules, uint32_t index, const struct rules_version *version)
{
	CLEANUP_CLOSE int fd = version->step_count ? pin_open(rules->folder.text, "steps_%u", index) : -1;

	if (version->step_count && fd < 0)
		return fd;
	for (uint32_t i = 0; i < version->step_count; i++) {
		uint32_t key = version->steps_start + i;

		if (bpf_map_update_elem(fd, &key, &version->steps[i], BPF_ANY))
			return -errno;
	}
	return 0;
}

static struct table_header *header_of(const struct mapped *table)
{
	return table->data;
}

static int put_version(struct kernel_rules *rules, uint32_t index, const struct rules_version *version)
{
	const struct mapped *table = &rules->tables[index];

	if (version->end > header_of(table)->room_end || version->start < header_of(table)->room)
		return -EINVAL;
	memcpy((uint64_t *)table->data + version->start, version->words,
	       (version->end - version->start) * sizeof *version->words);
	return put_steps(rules, index, version);
}

static void show_version(struct kernel_rules *rules, uint32_t index, const struct rules_version *version)
{
	__atomic_store_n(&header_of(&rules->tables[index])->latest, version->index, __ATOMIC_SEQ_CST);
}

/* Nothing tells of them yet. */
static int put_logs(struct kernel_rules *rules, const struct rules_change *change)
{
	CLEANUP_CLOSE int fd = change->log_count ? pin_open(rules->folder.text, "logs") : -1;

	for (size_t i = 0; i < change->log_count; i++)
		if (fd < 0 || bpf_map_update_elem(fd, &change->logs[i].index, &change->logs[i].limit, BPF_ANY))
			return fd < 0 ? fd : -errno;
	return 0;
}

static int commit(struct kernel_rules *rules, const struct rules_change *change)
{
	int error = put_edit(rules, change->edit, change->edit_size);

	if (!error)
		error = put_logs(rules, change);
	for (uint32_t i = 0; !error && i < rules->state.table_count; i++)
		error = put_version(rules, i, &change->versions[i]);
	if (error)
		return error;
	for (uint32_t i = 0; i < rules->state.table_count; i++)
		show_version(rules, i, &change->versions[i]);
	store_commit(rules->kernel, rules->state.epoch + 1);
	return 0;
}

int kernel_rules_commit(struct kernel_rules *rules, const struct rules_change *change, struct diags *diags)
{
	int error = commit(rules, change);

	if (!error)
		return 0;
	problem_set(rules->kernel, error, "cannot change the table: %s", strerror(-error));
	rules_recover(rules->kernel);
	return problem_report(rules->kernel, diags, error);
}

/* --- recovery ---------------------------------------------------------------------------------------------------- */

/* Packets leave the version whose epoch has not come. Whether there was one. */
static int hide_version(const char *folder, uint32_t index, uint64_t epoch)
{
	struct mapped table = { .fd = -1 };
	int error = map_pin(folder, "table", index, PROT_READ | PROT_WRITE, &table);
	const struct table_version *version;
	uint64_t latest;

	if (error)
		return error;
	latest = header_of(&table)->latest;
	version = (const struct table_version *)((const uint64_t *)table.data + latest);
	if (latest && version->since > epoch)
		__atomic_store_n(&header_of(&table)->latest, version->before, __ATOMIC_SEQ_CST);
	unmap(&table);
	return 0;
}

/* What no packet may find any more can be written over only when none is there any more. */
static int take_back(struct kernel *kernel, const char *folder, struct rules_edit *edit)
{
	int error = 0;

	for (uint32_t i = 0; !error; i++)
		error = hide_version(folder, i, store_epoch(kernel));
	if (error == -ENOENT)
		error = kernel_grace(kernel);
	if (!error)
		__atomic_store_n(&edit->size, 0, __ATOMIC_SEQ_CST);
	return error;
}

static int recover_policy(struct kernel *kernel, const char *folder)
{
	struct mapped edits = { .fd = -1 };
	int error = map_edits(folder, PROT_READ | PROT_WRITE, &edits);
	struct rules_edit *edit;

	if (error)
		return error == -ENOENT ? 0 : error;
	edit = (struct rules_edit *)((char *)edits.data + committed_size(&edits, store_epoch(kernel)));
	if ((char *)(edit + 1) <= (char *)edits.data + edits.size && edit->size)
		error = take_back(kernel, folder, edit);
	unmap(&edits);
	return error;
}

int rules_recover(struct kernel *kernel)
{
	DIR *dir = opendir(kernel->root.text);
	struct dirent *entry;
	int error = 0;

	if (!dir)
		return -errno;
	while (!error && (entry = readdir(dir))) {
		struct path folder;

		if (entry->d_name[0] == '.' || entry->d_name[0] == '@')
			continue;
		path_join(&folder, kernel->root.text, "%s", entry->d_name);
		error = recover_policy(kernel, folder.text);
	}
	closedir(dir);
	return error ? problem_set(kernel, error, "cannot take back an unfinished change of rules: %s", strerror(-error)) : 0;
}
