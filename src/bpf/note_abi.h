/* SPDX-License-Identifier: GPL-2.0-only */
/* Programs that a policy names, and notes of who a socket belongs to: shared by the planes and user space. */
#ifndef WEIR_BPF_NOTE_ABI_H
#define WEIR_BPF_NOTE_ABI_H

#include <linux/types.h>

enum { PLANE_PROGRAMS = 16 };

/* Set before load; in section MAP_PROGRAMS what struct packet's `program` counts from PROGRAM_FIRST on. */
struct plane_programs {
	__u32 count;
	__u32 generations; /* bit i: that of item i is known, and must be the same */
	struct {
		__u64 inode;
		__u32 device; /* as the kernel encodes it */
		__u32 generation;
	} items[PLANE_PROGRAMS];
};
/* Whether item `i` is that executable. */
static inline __attribute__((always_inline)) int plane_program_is(const volatile struct plane_programs *programs, __u32 i,
								   __u64 inode, __u32 device, __u32 generation)
{
	return i < programs->count && programs->items[i].inode == inode && programs->items[i].device == device &&
	       (!(programs->generations >> i & 1) || programs->items[i].generation == generation);
}

#define MAP_PROGRAMS ".rodata.programs"

/* Socket storage NOTES_MAP, of all policies together: the process that last made a call which a plane judged. */
struct owner_note {
	__u64 program; /* inode of its executable */
	__u64 cgroup;
	__u32 device;
	__u32 pid;
	__u32 group;
	__u32 generation; /* of the inode */
	char command[16];
};
#define NOTES_MAP "state_owners"
enum { NOTES_LAYOUT = 2 };

#endif
