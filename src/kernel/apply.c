/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Applying a change: journal, stage, arm, commit by one store, finish. In: installs and removals; out: all of them in
 * force, or on failure everything as it was. A kill at any instruction leaves what recover.c can undo (before the
 * store) or finish (after it); packets meet the old policies or the new ones throughout.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel/change.h"
#include "kernel/lineage.h"
#include "kernel/recover.h"
#include "kernel/statemap.h"

static bool good_name(const char *name)
{
	size_t length = strlen(name);

	if (!length || length >= NAME_LENGTH || !(isalpha((unsigned char)name[0]) || name[0] == '_'))
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == length;
}

static int check_installs(const struct change *change)
{
	for (size_t i = 0; i < change->install_count; i++) {
		const char *name = change->installs[i].policy;

		if (!good_name(name))
			return problem_set(change->kernel, -EINVAL, "`%.60s` is not a policy's name", name);
		if (change_removes(change, name))
			return problem_set(change->kernel, -EINVAL, "policy `%s` is to be applied and removed", name);
		for (size_t j = 0; j < i; j++)
			if (!strcmp(change->installs[j].policy, name))
				return problem_set(change->kernel, -EINVAL, "policy `%s` is there twice", name);
	}
	return 0;
}

static int check(const struct change *change)
{
	for (size_t i = 0; i < change->removal_count; i++)
		if (!view_find(&change->view, change->removals[i]))
			return problem_set(change->kernel, -ENOENT, "there is no policy `%s`", change->removals[i]);
	return check_installs(change);
}

static int make_journal(const struct change *change)
{
	size_t count = change->install_count + change->removal_count;
	size_t size = sizeof(struct journal) + count * NAME_LENGTH;
	CLEANUP_FREE struct journal *journal = calloc(1, size);

	if (!journal)
		return -ENOMEM;
	journal->version = RECORD_VERSION;
	journal->install_count = (uint32_t)change->install_count;
	journal->removal_count = (uint32_t)change->removal_count;
	journal->since = change->since;
	for (size_t i = 0; i < count; i++)
		strcpy(journal->names[i], i < change->install_count ? change->installs[i].policy :
								      change->removals[i - change->install_count]);
	return blob_pin(change->kernel, change->stage.text, JOURNAL_NAME, journal, size);
}

static int begin(struct change *change)
{
	path_join(&change->stage, change->kernel->root.text, STAGE_NAME);
	if (mkdir(change->stage.text, 0700))
		return problem_set(change->kernel, -errno, "cannot make %s: %s", change->stage.text, strerror(errno));
	return make_journal(change);
}

static int prepare(struct change *change)
{
	int error = begin(change);

	if (!error)
		error = stage_make(change);
	if (!error)
		error = lineage_start(change, change->flags & APPLY_DRY_RUN);
	if (error || change->flags & APPLY_DRY_RUN)
		return error;
	state_seed(change);
	change->armed = true;
	return arm(change);
}

/* Keeps the words of the failure that led here. */
static void undo(const struct change *change)
{
	if (change->armed ? recover(change->kernel) : recover_unarmed(change->kernel))
		problem_note(
			change->kernel,
			"undoing the change failed half-way; packets still meet the old policies, and the next "
			"command tries again");
}

static void finish(struct kernel *kernel)
{
	if (!recover(kernel))
		return;
	problem_note(kernel, "the policies are in force, but tidying up failed (%s); the next command tries again",
		     kernel->problem[0] ? kernel->problem : "no memory");
	problem_forget(kernel);
}

static int run(struct change *change)
{
	struct kernel *kernel = change->kernel;
	int error = check(change);

	if (error)
		return error;
	error = prepare(change);
	if (error || (change->flags & APPLY_DRY_RUN)) {
		undo(change);
		return error;
	}
	state_seed(change); /* what was opened since */
	store_commit(kernel, change->since);
	finish(kernel);
	return 0;
}

static void change_free(struct change *change)
{
	for (size_t i = 0; change->staged && i < change->install_count; i++)
		free(change->staged[i].record);
	free(change->staged);
	view_free(&change->view);
}

static int apply(struct change *change)
{
	struct kernel *kernel = change->kernel;
	int error = store_need_write(kernel);

	if (!error)
		error = view_read(kernel, &change->view);
	if (error || (!change->install_count && !change->removal_count))
		return error;
	change->since = store_epoch(kernel) + 1;
	change->next_order = change->since << 16;
	change->staged = calloc(change->install_count + 1, sizeof *change->staged);
	return change->staged ? run(change) : -ENOMEM;
}

int kernel_apply(struct kernel *kernel, const struct install *installs, size_t install_count,
		 const char *const *removals, size_t removal_count, unsigned flags, struct diags *diags)
{
	struct change change = { .kernel = kernel, .installs = installs, .install_count = install_count,
				 .removals = removals, .removal_count = removal_count, .flags = flags };
	int error = apply(&change);

	change_free(&change);
	return problem_report(kernel, diags, error);
}
