/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Emission: a plan becomes eBPF, and that a relocatable BPF ELF object with BTF, which libbpf's linker joins to a
 * data plane. Pure functions over arena memory; no kernel is asked.
 */
#ifndef WEIR_EMIT_EMIT_H
#define WEIR_EMIT_EMIT_H

#include <linux/bpf.h>

#include "plan/plan.h"

/* A load of a map's address (BPF_LD_IMM64, first slot) that the linker fills in. */
struct map_use {
	uint32_t insn;
	uint32_t set; /* index into plan.sets */
};

/* A global function of the object, in the order of the code. The first argument is the packet. */
struct code_function {
	const char *name;   /* functions[0]: "classify" */
	uint32_t first;     /* instruction index */
	uint32_t count;
	uint32_t arguments; /* 1; or 2: the second a number */
};

/* A call to another function of the code (BPF_PSEUDO_CALL). */
struct call_use {
	uint32_t insn;
	uint32_t function;
};

struct code {
	const struct bpf_insn *insns;
	size_t insn_count;
	const uint32_t *rules; /* for each instruction: the rule it decides for, 0: none */
	const struct code_function *functions;
	size_t function_count;
	const struct map_use *maps;
	size_t map_count;
	const struct call_use *calls;
	size_t call_count;
};

struct object {
	const void *data;
	size_t size;
};

/* Code for int classify(struct packet *packet). -E2BIG with a diagnostic if it outgrows what the kernel takes. */
int emit_code(struct arena *arena, const struct plan *plan, struct diags *diags, const struct code **ret_code);

/* The code as an ELF object: .text, .maps, .BTF, .BTF.ext with function and line info (the rules' text), relocations. */
int emit_object(struct arena *arena, const struct plan *plan, const struct code *code, struct object *ret_object);

/* Disassembly for `weir compile --emit bpf`. In the arena. */
char *emit_disassemble(struct arena *arena, const struct plan *plan, const struct code *code);

#endif
