/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The map of a policy's tunables. In: a value and how it is written; out: both in force by one store. The way of writing
 * is put down first, where no value points to yet, so a command that is killed has changed all or nothing.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/tunables.h"

static int map_tunables(const char *folder, int protection, struct plane_tunables **ret_tunables)
{
	CLEANUP_CLOSE int fd = pin_open(folder, "tunables");
	void *data;

	if (fd < 0)
		return fd;
	data = mmap(NULL, sizeof **ret_tunables, protection, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	*ret_tunables = data;
	return 0;
}

int tunables_read(struct kernel *kernel, const char *folder, struct plane_tunables **ret_tunables)
{
	struct plane_tunables *mapped, *copy;
	int error = map_tunables(folder, PROT_READ, &mapped);

	if (error)
		return error == -ENOENT ? 0 : problem_set(kernel, error, "cannot read %s/tunables: %s", folder,
							  strerror(-error));
	copy = malloc(sizeof *copy);
	if (copy)
		memcpy(copy, mapped, sizeof *copy);
	munmap(mapped, sizeof *mapped);
	*ret_tunables = copy;
	return copy ? 0 : -ENOMEM;
}

const struct tunable_form *tunable_form(const struct plane_tunables *tunables, uint32_t index)
{
	for (int i = 0; i < 2; i++) {
		const struct tunable_form *form = &tunables->forms[index][i];

		if (*form->text && form->value == tunables->values[index])
			return form;
	}
	return NULL;
}

/* Where the form of another value goes: over the one that is not of the present value. */
static struct tunable_form *free_form(struct plane_tunables *tunables, uint32_t index)
{
	return &tunables->forms[index][tunable_form(tunables, index) == &tunables->forms[index][0]];
}

static void change(struct plane_tunables *tunables, const struct kernel_tuning *tuning)
{
	struct tunable_form *form;

	if (tunables->values[tuning->index] == tuning->value)
		return; /* however it is written */
	form = free_form(tunables, tuning->index);
	*form = (struct tunable_form){ .value = tuning->value };
	strcpy(form->text, tuning->text);
	__atomic_store_n(&tunables->values[tuning->index], tuning->value, __ATOMIC_SEQ_CST);
}

int tunables_change(struct kernel *kernel, const struct generation *generation, void *tuning)
{
	struct plane_tunables *mapped;
	int error = map_tunables(generation->folder.text, PROT_READ | PROT_WRITE, &mapped);

	if (error)
		return problem_set(kernel, error, "cannot write %s/tunables: %s", generation->folder.text,
				   strerror(-error));
	change(mapped, tuning);
	munmap(mapped, sizeof *mapped);
	return 0;
}
