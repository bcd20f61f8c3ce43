/* SPDX-License-Identifier: GPL-2.0-only */
/* What walk.c (execution) and flow.c (what is known of the code without it) share. */
#ifndef WEIR_PROVE_WALK_H
#define WEIR_PROVE_WALK_H

#include "prove/work.h"

/* Zeroed before it is filled: compared byte by byte. */
struct state {
	uint32_t at;
	uint32_t registers[FP]; /* values; those that do not matter are 0, which is VALUE_NONE */
};

/* What a state leads to. */
struct next {
	bool expanded, done;
	bdd_ref result;
	bdd_ref condition; /* `to[0]` where it holds, else to[1] */
	uint32_t to[2];
	bdd_ref called;    /* with `leads`: a function's result, and where each leaf leads */
	const bdd_ref *leaves;
	uint32_t *leads;   /* NO_STATE: nothing is known there, as the leaf says */
	size_t leaf_count;
};

#define NO_STATE UINT32_MAX

struct walk {
	struct prove *prove;
	struct intern states;
	VEC(struct next) nexts; /* by state */
	bool *joins;            /* by instruction: a jump leads here */
	uint16_t *live;         /* by instruction: registers that matter before it */
	uint32_t *function_end; /* by instruction: end of its function; 0: none */
	uint8_t *live_known;    /* by function: 0 no, 1 under way, 2 yes */
	unsigned depth;
	size_t trouble;         /* index + 1: the way that is walked cannot be understood any further */
	VEC(uint32_t) pending;
};

/* "instruction N of FUNCTION " and what it does; and stops the proof with it. */
const char *walk_text(const struct walk *walk, uint32_t at, const char *what);
/* Stops the proof: "instruction N of FUNCTION " and what it does. */
void walk_stop(struct walk *walk, uint32_t at, const char *what);

/* Fills in joins, live, function_end. Stops the proof at jumps that do not go forward within their function. */
void flow_find(struct walk *walk);

static inline uint32_t flow_target(uint32_t at, const struct insn *insn)
{
	return (uint32_t)((int64_t)at + 1 + insn->offset);
}

#endif
