/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An interpreter for a build of bpf/table.bpf.c, from its object file: every access is checked, and what was never written
 * may not be read. Shares nothing with the prover.
 */
#ifndef WEIR_TESTS_LIB_WALKER_SIM_H
#define WEIR_TESTS_LIB_WALKER_SIM_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/table_abi.h"
#include "packet/packet.h"

struct walker_sim {
	const void *object; /* ELF */
	size_t object_size;
	const struct table_config *config;
	const uint64_t *words; /* the blob, */
	size_t count;          /* zeros behind it */
	uint32_t (*rest)(void *context, const struct packet *packet); /* classify_rest() */
	void *context;
	bool *reached; /* by instruction: set where it was run; or NULL */
	const char *error; /* what was wrong */
};

/* The object's code, to be harmed, and how many instructions it has. NULL: it is no such object. */
struct bpf_insn *walker_sim_code(void *object, size_t size, size_t *ret_count);
/* Runs classify(packet). False: `error`. */
bool walker_sim_run(struct walker_sim *sim, const struct packet *packet, uint32_t *ret_answer);

#endif
