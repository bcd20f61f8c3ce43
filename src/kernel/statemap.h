/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State maps: what a policy remembers of packets (struct install_state). Each is pinned in the policy's folder as
 * state-NAME-LAYOUT, or shared-NAME-LAYOUT, and is one map for all of the policy's hooks. The policy that takes over
 * from another of its name takes over its state maps; they go with the last policy that has them.
 */
#ifndef WEIR_KERNEL_STATEMAP_H
#define WEIR_KERNEL_STATEMAP_H

#include "kernel/change.h"
#include "kernel/object.h"

/* A map of an object that is a state map; those that the install does not name are not created. */
#define STATE_PREFIX "state_"

/* The state of that map's name, or NULL. */
const struct install_state *state_find(const struct install *install, const char *map);

/* Before loading: maps of the policy in force, or of others that share, which fit. Says whether `staged` is to be seeded. */
int state_share(struct change *change, const struct install *install, struct generation *staged,
		struct shares *shares);

/* After loading: pins them all; what a map of another size held is copied. */
int state_stage(struct change *change, const struct install *install, struct generation *staged,
		const struct shares *loaded);

/* Gives new tables of connections those of open sockets. Can be repeated: before the commit and after it. */
void state_seed(const struct change *change);

/* After the commit: what came into the map of another size meanwhile is copied too. Can be repeated. */
int state_carry(struct kernel *kernel, const char *folder, const struct generation *successor);

/* Opens the pin of a policy's state map, shared or not; -ENOENT. */
int state_open(const char *folder, const char *name, uint32_t layout);

/*
 * Elements of a map, in batches: `count` keys and values, one after another. 0 to go on. The map may change
 * meanwhile: an element may be missed or met twice then.
 */
typedef int (*state_work)(void *context, const void *keys, const void *values, uint32_t count);
int state_each(int fd, state_work work, void *context);

/* Bytes that the kernel says it took for a map, and all that is in it. */
uint64_t map_memory(int fd);

/* What the policy's maps take, as the hint of a problem: for when the kernel has said that there is no room. */
void state_hint_memory(struct kernel *kernel, const struct install *install);

/* See kernel_state_read(). */
int state_read(struct kernel *kernel, const struct generation *generation, const char *name, struct kernel_state *state);

/* See kernel_state_sizes(). */
int state_sizes(struct kernel *kernel, const struct generation *generation, struct kernel_state_size *ret_sizes,
		size_t *ret_count);

#endif
