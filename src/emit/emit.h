/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Emission: a plan becomes eBPF, and that a relocatable BPF ELF object with BTF, which libbpf's linker joins to a
 * data plane. Pure functions over arena memory; no kernel is asked.
 */
#ifndef WEIR_EMIT_EMIT_H
#define WEIR_EMIT_EMIT_H

#include <linux/bpf.h>
#include <linux/filter.h>

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

/* A call to another function of the code (BPF_PSEUDO_CALL), or to the plane's element_lives(). */
struct call_use {
	uint32_t insn;
	uint32_t function; /* CALL_LIVES: not of the code */
};
#define CALL_LIVES UINT32_MAX

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

/*
 * Code for int classify(struct packet *packet); beside a table, for classify_rest(). -E2BIG with a diagnostic if it
 * outgrows what the kernel takes.
 */
int emit_code(struct arena *arena, const struct plan *plan, struct diags *diags, const struct code **ret_code);

/* The code as an ELF object: .text, .maps, .BTF, .BTF.ext with function and line info (the rules' text), relocations. */
int emit_object(struct arena *arena, const struct plan *plan, const struct code *code, struct object *ret_object);

/* Disassembly for `weir compile --emit bpf`. In the arena. */
char *emit_disassemble(struct arena *arena, const struct plan *plan, const struct code *code);

/* --- classic BPF --------------------------------------------------------------------------------------------- */

/*
 * A socket filter for who may not load eBPF (SO_ATTACH_FILTER), or a program that chooses between listeners
 * (SO_ATTACH_REUSEPORT_CBPF). All loads are relative to the network header, so it does not matter where the data begins.
 * It holds verdicts only: no counters, no log, no marks; sets are what they were when it was made.
 *
 * What a socket never gets is dropped rather than judged: fragments, anything but IPv4 and IPv6, loads beyond the packet.
 * So are packets with more than CBPF_EXTENSIONS_MAX IPv6 extension headers, where the rules look behind them. IP and
 * UDP lengths have been checked by the kernel before a socket's filter runs, and are not checked again.
 */
enum { CBPF_INSNS_MAX = BPF_MAXINSNS, CBPF_EXTENSIONS_MAX = 4 };

/*
 * Bytes of option memory that a socket may hold (net.core.optmem_max): 20,480 by default on older kernels, 131,072 on newer
 * ones. The kernel takes 8 for each instruction of its own translation.
 */
enum { CBPF_CHARGE_USUAL = 20480 };

struct cbpf_options {
	bool reuseport; /* returns 1 (accept) or 0; sees only what opens a connection: rules on later packets are errors */
	uint32_t limit; /* most instructions; 0: CBPF_INSNS_MAX */
};

struct cbpf_program {
	const struct sock_filter *insns; /* returns 0xffffffff (all of the packet) or 0; reuseport: 1 or 0 */
	uint16_t insn_count;
	uint32_t charge; /* bytes of option memory, estimated */
};

/*
 * Rules to classic BPF at HOOK_SOCKET. -EINVAL with diagnostics where rules do what it cannot; -E2BIG if they do not fit,
 * with by how much, and the rules that cost most. A warning if charge is above CBPF_CHARGE_USUAL. `options` may be NULL.
 */
int emit_cbpf(struct arena *arena, const struct ruleset *ruleset, const struct cbpf_options *options,
	      struct diags *diags, struct cbpf_program *ret_program);

/* One instruction a line, as `tcpdump -d` writes it. In the arena. */
char *cbpf_print(struct arena *arena, const struct cbpf_program *program);

#endif
