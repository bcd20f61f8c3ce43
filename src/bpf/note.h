/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who a socket belongs to, beyond what the kernel keeps in it. Calls note the process; packets of the same socket, and
 * of those that it accepts, find the note. A socket without one has an owner that is not known.
 */
#ifndef WEIR_BPF_NOTE_H
#define WEIR_BPF_NOTE_H

#include "bpf/note_abi.h"
#include "bpf/turn.h"

const volatile struct plane_programs programs SEC(MAP_PROGRAMS) = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct owner_note);
} state_owners SEC(".maps");

#define NEEDS_NOTE (NEEDS(FIELD_GROUP) | NEEDS(FIELD_PROGRAM))

/* Its place in the policy's table. */
static __always_inline __u32 program_place(const struct owner_note *note)
{
	if (!note->program)
		return ABSENT_PROGRAM;
	/* The kernel removes turns for programs that there are not. As a loop, it takes more of the stack. */
#pragma unroll
	for (__u32 i = 0; i < PLANE_PROGRAMS; i++)
		if (i < programs.count && plane_program_is(&programs, i, note->program, note->device, note->generation))
			return PROGRAM_FIRST + i;
	return PROGRAM_OTHER;
}

static __always_inline void set_noted(const struct owner_note *note, struct packet *packet)
{
	packet->group = note->group;
	packet->program = program_place(note);
}

static __always_inline void describe_note(const struct owner_note *note, struct event *event)
{
	event->pid = note->pid;
	event->group = note->group;
	event->cgroup = note->cgroup;
	event->program = note->program;
	event->device = note->device;
	event->generation = note->generation;
	__builtin_memcpy(event->command, note->command, sizeof event->command);
}

#endif
