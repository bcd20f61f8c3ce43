/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Proof: does a finished classifier do what its rules say, for all packets? In: the bytes of the object, the tables
 * that the loader will install beside it, and the rule set. Out: yes, a packet that is judged differently, or that it
 * cannot be said, and why.
 *
 * The instructions are decoded here and walked with symbolic values; the rules are turned into sets of packets here,
 * condition by condition. Nothing is shared with the planner and the emitter. What walks a table is proven, too, if it is
 * given. What is trusted: the data plane (its parser fills struct packet as packet/packet.h says and carries answers out
 * as bpf/plane_abi.h says), the loader and the kernel. See docs/proof.md.
 */
#ifndef WEIR_PROVE_PROVE_H
#define WEIR_PROVE_PROVE_H

#include "bpf/cache_abi.h"
#include "bpf/plane_abi.h"
#include "bpf/table_abi.h"
#include "ir/ir.h"

enum prove_key { PROVE_KEY_IPV4, PROVE_KEY_IPV6, PROVE_KEY_VALUE }; /* key layouts in bpf/plane_abi.h */

/* A map of the object, as the loader will make and fill it. */
struct prove_map {
	const char *name;
	enum prove_key key;
	bool lpm;
	int32_t named;                /* index into ruleset.sets, or -1: constants of rules, which never change */
	const struct range *elements; /* sorted, disjoint */
	size_t count;
};

/* A finished object file. */
struct prove_object {
	const char *name;
	const void *data;
	size_t size;
};

enum { PROVE_WALKERS = 2 };

/*
 * A table whose rules were changed one by one since it was built: the blob is as it is then, and rules count and ask where they
 * did when they came. By rule number, those of what comes with a knock not included.
 */
struct prove_changed {
	uint64_t epoch;        /* that has come: which version is in force depends on it */
	const uint32_t *slots; /* of its counter */
	uint32_t counters;     /* slot of the first named counter */
	const uint32_t *logs;  /* index of its first log statement */
	const uint32_t *rates; /* of its first rate */
};

struct prove_input {
	const struct ruleset *ruleset;
	enum hook hook;
	const void *object;
	size_t object_size;
	field_mask needed; /* bit f: the data plane fills in enum field f */
	uint32_t slots;  /* counters that there are */
	const struct step *steps;
	size_t step_count;
	const struct log_limit *logs;
	size_t log_count;
	const struct rate_limit *rates;
	size_t rate_count;
	const struct prove_map *maps;
	size_t map_count;
	const struct table_config *table; /* the classifier is a table (bpf/table_abi.h): its constants, or NULL */
	const uint64_t *table_words;      /* and its blob; the loader adds zeros */
	size_t table_count;               /* of words */
	const struct prove_changed *changed; /* or NULL: as it was built */
	const struct cache_config *cache; /* by what answers are kept (bpf/cache_abi.h); NULL: none are */
	struct prove_object walkers[PROVE_WALKERS]; /* builds of bpf/table.bpf.c, any of which may walk it; none: no name */
	unsigned milliseconds; /* most time to take; 0: no limit */
	size_t node_max;       /* most nodes of all diagrams; 0: PROVE_NODES_MAX */
};

enum { PROVE_NODES_MAX = 8 << 20 };

enum prove_outcome {
	PROVE_EQUAL,     /* for every packet that can be, and whatever named sets hold */
	PROVE_DIFFERENT, /* see the example */
	PROVE_TOO_LARGE, /* time or memory ran out: nothing is known */
	PROVE_UNKNOWN,   /* something in the object is not understood: nothing is known */
};

struct prove_result {
	enum prove_outcome outcome;
	const char *reason;   /* TOO_LARGE, UNKNOWN: one sentence without a full stop */
	struct packet packet; /* DIFFERENT: an example */
	const char *example;  /* the packet as a person reads it */
	const char *rules;    /* what the rules say: "drop (rule 3)", with what else is counted, logged or marked */
	const char *program;  /* what the program does */
	const char *assumed;  /* what the example needs of named sets: "ip.src in blocked", or NULL */
	size_t insn_count;
	size_t node_count;    /* of all diagrams made on the way, as far as they are kept */
	size_t record_count;  /* different records of the table */
	size_t suspect_count; /* kinds of packets for which its records alone show nothing, so that diagrams were compared */
	size_t walker_steps;  /* different ones that its walkers were shown to take as the table says */
	uint64_t nanoseconds;
};

/* Only inside arena_run(); texts are in the arena, which also holds the diagrams: give it one of its own. */
void prove_run(struct arena *arena, const struct prove_input *input, struct prove_result *ret_result);

#endif
