/* SPDX-License-Identifier: GPL-2.0-only */
/* Attaching: one table of operations for each kind of hook. */
#ifndef WEIR_KERNEL_ATTACH_H
#define WEIR_KERNEL_ATTACH_H

#include "kernel/generation.h"

struct places {
	struct place *items;
	size_t count;
	size_t capacity;
};

struct attach_ops {
	/* Appends the places that a hook's target means now. */
	int (*resolve)(struct kernel *kernel, const struct install_hook *hook, struct places *places);
	/* Hangs the program on the place, behind those there. Sets place->how and what else was chosen; the link's
	 * descriptor, or -1 at clsact. */
	int (*attach)(struct kernel *kernel, struct place *place, int prog, int *ret_link);
};

extern const struct attach_ops attach_xdp_ops, attach_tc_ops, attach_netfilter_ops, attach_cgroup_ops;

const struct attach_ops *attach_ops(uint32_t hook);
const char *attach_how_name(uint32_t how);

/* A zeroed place at the end, or NULL. */
struct place *places_add(struct places *places);
void places_free(struct places *places);

/* Makes an attached place run another program; at once, for the next packet. -ENOLINK: the place is gone. */
int attach_update(struct kernel *kernel, const struct place *place, int link, int prog);

/* What a link is and does now. */
struct link_state {
	bool alive; /* the device or cgroup is there still */
	uint32_t id;
	uint32_t prog_id;
};
int attach_state(const struct place *place, int link, struct link_state *ret_state);

/* Whether the place's program is still where it was attached. */
bool place_attached(const char *folder, const struct record *record, uint32_t index);

/* clsact only: the filter is of the kernel's, not of a pin's, lifetime. 0 if it is not there. */
int attach_remove_filter(struct kernel *kernel, const struct place *place);
bool attach_filter_there(const struct place *place);
/* The id of the filter's program; 0: it is not there, or in another network namespace. */
uint32_t attach_filter_prog(const struct place *place);

/* Where the unified hierarchy is mounted; false: nowhere. */
bool attach_cgroup_mount(struct path *ret_path);
/* Is the cgroup still the one of that path? A removed one goes on filtering the sockets that were made in it. */
bool attach_cgroup_there(const struct place *place);

/* Interfaces by name or glob; used by XDP and TC. */
int attach_resolve_interfaces(struct kernel *kernel, const struct install_hook *hook, struct places *places);
uint64_t attach_netns(void);

/* BPF_LINK_CREATE, with the members that Debian's headers lack. */
struct link_request {
	uint32_t prog, target, attach_type, flags;
	union {
		struct { uint32_t pf, hook; int32_t priority; uint32_t flags; } netfilter;
		struct { uint32_t relative, pad; uint64_t revision; } tcx;
	};
};
int attach_link_create(const struct link_request *request);

/* "`name` (id 7)" of a program, for conflicts. */
void attach_prog_name(uint32_t id, char *buffer, size_t size);
uint32_t attach_prog_id(int prog);

#endif
