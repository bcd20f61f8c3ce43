/* SPDX-License-Identifier: GPL-2.0-only */
/* A world of their own for tests of the loader: mount and network namespaces, a bpffs, a cgroup, two classifiers. */
#ifndef WEIR_TESTS_WORLD_H
#define WEIR_TESTS_WORLD_H

#include "kernel/kernel.h"
#include "packet/field.h"

enum { WORLD_SLOTS = SLOT_RULES + 3 };

struct world {
	char folder[64]; /* mounted bpffs */
	char cgroup[64]; /* path from the hierarchy's root */
	char cgroup_folder[256];
	void *classifiers[3]; /* A drops port 7001, B port 7002; the verifier refuses the third */
	size_t sizes[3];
	struct arena *arena;
	struct diags *diags;
};

/* False: not as root, or without bpffs or cgroup2; the tests are skipped. */
bool world_make(struct world *world);
void world_remove(struct world *world);

/* A policy of one classifier at some hooks. */
struct policy {
	struct install install;
	struct install_hook hooks[12];
	struct install_set sets[1];
	struct install_state states[1];
	struct range elements[4];
	struct step steps[2];
	struct log_limit logs[1];
	int32_t carry[WORLD_SLOTS];
};
void policy_make(struct policy *policy, const struct world *world, const char *name, int classifier);
void policy_hook(struct policy *policy, enum hook hook, const char *target);

/* Opens, applies, closes; prints what was queued. */
int world_apply(struct world *world, const struct install *installs, size_t count, const char *const *removals,
		size_t removals_count, unsigned flags);
struct policy_state world_state(struct world *world, const char *policy);

/* Whether a UDP datagram over loopback to this port arrives. */
bool world_udp(uint16_t port);

/* Pins and folders under the store, itself included; 0: nothing. */
unsigned world_pins(const struct world *world);
void world_print_diags(struct world *world);

#endif
