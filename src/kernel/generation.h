/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A generation: one policy as one apply loaded it, in a folder of pins.
 *
 *   record            what is here (struct record), one blob
 *   source, meta, carry  the caller's blobs; carry: int32_t a slot
 *   frame, index, edits  where single rules can be changed in place: the caller's blob, and what was changed (rules.h)
 *   table_N, steps_N  there too: of hook N
 *   counters          per-CPU counts of this generation; base: what they start from
 *   events, captures (if a rule captures), status, logs: each generation has its own, so that a reader can tell whose rules an event names
 *   tunables          if rules compare with any: their values (tunables.h)
 *   set-MAP           each named set's map; changes: what packets could not change in them
 *   state-NAME-LAYOUT what packets change (kernel/statemap.h); shared-NAME-LAYOUT: other policies may have it too
 *   prog_N, control_N, after_N (XDP), before_N (until the change is complete), link_N (not for clsact): place N
 *
 * All of a place's maps that hold programs must stay pinned while packets may come through them: the kernel empties
 * a program array when its last descriptor and pin are gone, whoever else uses it.
 */
#ifndef WEIR_KERNEL_GENERATION_H
#define WEIR_KERNEL_GENERATION_H

#include "kernel/internal.h"

enum { RECORD_VERSION = 5, TARGET_LENGTH = 1024, PLACES_MAX = 512 };

/* How a program hangs on its hook. */
enum how { HOW_NONE, HOW_NATIVE, HOW_GENERIC, HOW_TCX, HOW_CLSACT, HOW_LINK };

/* One program at one place. What identifies a place: hook, family, netns, ifindex, cgroup. */
struct place {
	uint32_t hook;
	uint32_t family;   /* netfilter: NFPROTO_IPV4 or NFPROTO_IPV6; connect, bind, recorders: enum bpf_attach_type */
	uint64_t netns;    /* cookie; 0 for cgroups */
	uint64_t cgroup;   /* id */
	uint32_t ifindex;
	uint32_t how;      /* enum how */
	uint64_t order;    /* XDP: rank on the device, that of the first apply */
	int32_t priority;  /* netfilter, clsact */
	uint32_t handle;   /* clsact */
	uint32_t source;   /* index of the install_hook that asked for it */
	int32_t xdp_mode;  /* enum xdp_mode, as asked for */
	uint32_t bare;     /* tc: packets have no link-layer header there */
	uint32_t paces;    /* tc egress, for a policy that throttles: the device has the fq qdisc */
	char target[TARGET_LENGTH];
};

struct record_set {
	char map[16];
	char name[NAME_LENGTH];
	uint8_t key;
	uint8_t lpm;
	uint8_t shared;
	uint8_t timed;
	uint32_t max_elements;
};

/* The head of the blob; places and sets follow it. */
struct record {
	uint32_t version;
	uint32_t size;
	uint64_t since;
	uint64_t loaded_ns;
	uint32_t slots;
	uint32_t place_count;
	uint32_t set_count;
	uint32_t source_size;
	uint32_t meta_size;
	uint32_t carry_count;
	uint64_t lost_before; /* events lost by the generations before */
	uint64_t captures_lost_before;
	struct place places[];
};

static inline struct record_set *record_sets(const struct record *record)
{
	return (struct record_set *)(record->places + record->place_count);
}

struct record *record_new(uint32_t places, uint32_t sets);
int record_load(struct kernel *kernel, const char *folder, struct record **ret_record);
bool place_same(const struct place *a, const struct place *b);
/* The set of that run-time name and key, or NULL. */
const struct record_set *record_find_set(const struct record *record, const char *name, uint8_t key);

/* Blobs: an array map with one element. A size of 0 is no pin. Loaded ones are malloc()ed. */
int blob_pin(struct kernel *kernel, const char *folder, const char *name, const void *data, size_t size);
int blob_load(struct kernel *kernel, const char *folder, const char *name, size_t size, void **ret_data);
/* The one value of an array map that can be mapped; the caller unmaps it. 0 or -errno, nothing mapped. */
int value_map(int fd, int protection, void **ret_data, size_t *ret_size);
/* Without a copy; kernel_blob_unmap() it. */
int blob_map(struct kernel *kernel, const char *folder, const char *name, struct kernel_blob *ret_blob);
int blob_update(const char *folder, const char *name, const void *data);

/* What the kernel tells of a map. 0 or -errno. */
struct bpf_map_info;
int map_info(int fd, struct bpf_map_info *ret_info);
/* A descriptor of the map that the kernel shows by that name among the program's, or -errno. */
int prog_map(int prog, const char *name);

/* A pin's descriptor, or -errno. */
int pin_open(const char *folder, const char *format, ...) __attribute__((format(printf, 2, 3)));
int pin_make(struct kernel *kernel, int fd, const char *folder, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* What a change under way is about. */
struct journal {
	uint32_t version;
	uint32_t install_count;
	uint32_t removal_count;
	uint32_t reserved;
	uint64_t since;
	char names[][NAME_LENGTH]; /* installs, then removals */
};

/* One policy in force. */
struct generation {
	char policy[NAME_LENGTH];
	struct path folder;
	struct path carry_from; /* not empty: counts of that folder are still to be carried over */
	struct record *record;
	bool seed; /* staged: its table of connections takes over from none */
};

/* The policies in force as of the epoch, wherever their folders are now. Sorted by name. */
struct view {
	struct generation *items;
	size_t count;
	struct journal *journal; /* a change was under way; NULL: none */
	bool committed;          /* and its epoch has come */
};

int view_read(struct kernel *kernel, struct view *ret_view);
void view_free(struct view *view);
const struct generation *view_find(const struct view *view, const char *policy);

#endif
