/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An eBPF interpreter for emitted classifiers: the subset of instructions that the emitter uses and no more, every
 * access checked. Registers and stack bytes that were never written may not be read, jumps must go forward.
 */
#ifndef WEIR_TESTS_LIB_EBPF_SIM_H
#define WEIR_TESTS_LIB_EBPF_SIM_H

#include "emit/emit.h"
#include "packet/packet.h"

struct ebpf_sim {
	const struct plan *plan;
	const struct code *code;
	/* Whether the map of plan.sets[set] has the key (layouts in bpf/plane_abi.h). */
	bool (*lookup)(void *context, uint32_t set, const void *key);
	/* What the plane says of an element that was found in a set with timeouts; NULL: that it lives. */
	bool (*lives)(void *context, uint32_t set);
	void *context;
	bool any_comparison; /* for harmed programs: all that the kernel knows */
	uint64_t steps;    /* instructions run so far */
	const char *error; /* what was wrong, after -EFAULT */
	size_t at;         /* and at which instruction */
};

/* Runs classify(packet). 0 and its answer, or -EFAULT. */
int ebpf_sim_run(struct ebpf_sim *sim, const struct packet *packet, uint32_t *ret_answer);

/* What the verifier refuses before it looks at values: NULL, or what is wrong. No instruction may be unreachable. */
const char *ebpf_sim_check(struct arena *arena, const struct code *code);

#endif
