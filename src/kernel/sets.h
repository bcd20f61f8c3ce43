/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Run-time sets. Those that policies share are pinned once more in @sets/NAME_KEY. New contents of a set in
 * force wait in the stage, at @fill/ and the path of its pin, until the change is committed.
 */
#ifndef WEIR_KERNEL_SETS_H
#define WEIR_KERNEL_SETS_H

#include "kernel/change.h"
#include "kernel/object.h"

/* Before loading: shared sets that exist already. */
int sets_share(struct change *change, const struct install *install, struct shares *shares);

/* After loading: pins the policy's named sets, keeps what was added at run time, records them. */
int sets_stage(struct change *change, const struct install *install, const struct generation *staged,
	       const struct shares *loaded);

/* A map like `live`, for what it shall hold. */
int sets_create_like(struct kernel *kernel, int live);

/* Has the stage bring the map's contents to FOLDER/NAME of the store. */
int sets_pin_fill(struct kernel *kernel, const char *folder, const char *name, int fd);

/* After the commit: new shared sets and contents take their places. Can be repeated. */
int sets_finish(struct kernel *kernel);

/* Removes shared sets that no policy has. */
int sets_collect_garbage(struct kernel *kernel, const struct view *view);

#endif
