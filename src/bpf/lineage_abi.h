/* SPDX-License-Identifier: GPL-2.0-only */
/* From which programs processes descend: shared by the planes, the program that follows processes, and user space. */
#ifndef WEIR_BPF_LINEAGE_ABI_H
#define WEIR_BPF_LINEAGE_ABI_H

#include "bpf/note_abi.h"
#include "packet/packet.h"

/* Set before load, a struct plane_programs: the programs that TREE_IN() and TREE_OUT() count. */
#define MAP_ROOTS ".rodata.roots"

/*
 * State maps of all policies that ask for the same programs. LINEAGE_MAP: a hash; process id -> __u32, TREE_IN() and
 * TREE_OUT(). Socket storage TREES_MAP: the same of the process that last made a call which was noted.
 */
#define LINEAGE_PREFIX "lineage_" /* of the state's name; what follows tells the programs */
#define LINEAGE_MAP "state_lineage"
#define TREES_MAP "state_trees"
enum { LINEAGE_LAYOUT = 1, LINEAGE_MAX = 65536 };
_Static_assert((int)TREES_MAX <= (int)PLANE_PROGRAMS, "roots are a struct plane_programs");

#endif
