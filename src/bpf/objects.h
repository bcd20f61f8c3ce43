/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The compiled data planes, as part of the library. Each object has one program. All but netfilter's have a
 * section name that libbpf knows; netfilter's needs program type BPF_PROG_TYPE_NETFILTER set.
 */
#ifndef WEIR_BPF_OBJECTS_H
#define WEIR_BPF_OBJECTS_H

#include <stddef.h>

#include "packet/hook.h"

struct plane_object {
	const char *name; /* "xdp", "cgroup-egress", ...; the program is weir_xdp, weir_cgroup, ... */
	const void *data; /* ELF, aligned to 8 bytes, static */
	size_t size;
};

/* The plane of a hook, to be linked with a classifier; NULL if it has none. */
const struct plane_object *plane_for_hook(enum hook hook);
/* The same, knowing the user: it can only be loaded if the kernel has types. NULL if there is none, or it is the same. */
const struct plane_object *plane_with_owners(enum hook hook);

/* A whole object, without a classifier: notes who makes and binds sockets. */
const struct plane_object *plane_record(void);

/* A whole object: follows processes, judges nothing (lineage.bpf.c). */
const struct plane_object *plane_lineage(void);

/* The walker of tables, to be linked between a plane and a classifier that has a table; for kernels without may_goto. */
const struct plane_object *plane_table(void);
const struct plane_object *plane_table_bounded(void);

/* A whole object whose program passes at once, to measure against; NULL if there is none (netfilter). */
const struct plane_object *plane_empty_for_hook(enum hook hook);

/*
 * XDP programs that judge a different packet at each run (see bench.bpf.c): `bench` is to be linked with a
 * classifier, the empty one is whole and does all but the judging.
 */
const struct plane_object *plane_bench(void);
const struct plane_object *plane_bench_empty(void);

#endif
