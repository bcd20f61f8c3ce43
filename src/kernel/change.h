/* SPDX-License-Identifier: GPL-2.0-only */
/* A change under way: from what is in force to what shall be. */
#ifndef WEIR_KERNEL_CHANGE_H
#define WEIR_KERNEL_CHANGE_H

#include "kernel/generation.h"

struct change {
	struct kernel *kernel;
	const struct install *installs;
	size_t install_count;
	const char *const *removals;
	size_t removal_count;
	unsigned flags;
	uint64_t since;            /* the epoch that commits it */
	uint64_t next_order;       /* for XDP places that are new */
	struct path stage;
	struct view view;          /* what is in force */
	struct generation *staged; /* one for each install */
	bool armed;                /* staged programs may hang on hooks */
};

bool change_removes(const struct change *change, const char *policy);
/* The generation that takes over from the policy's present one, or NULL. */
struct generation *change_successor(const struct change *change, const char *policy);
/* The place of the record that is the same as `place`, or NULL. */
struct place *change_place(const struct record *record, const struct place *place);

/* stage.c: loads everything and pins it under the stage. Attaches nothing. */
int stage_make(struct change *change);

/* arm.c: hangs the staged programs on their hooks, where they do as before until the commit. */
int arm(struct change *change);

/* A program's last epoch; ~0: none. */
int control_set(const char *folder, uint32_t index, uint64_t until);

#endif
