/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The model: the slow, obvious evaluator that everything else is compared with. Its packet parser and its
 * evaluation share no code with the data planes, the planner or the emitter.
 */
#ifndef WEIR_IR_MODEL_H
#define WEIR_IR_MODEL_H

#include "ir/ir.h"

/* How far one source has come with one knock. */
struct model_knocker {
	u128 source;
	uint8_t family;
	uint8_t knock;
	size_t next; /* step */
	uint64_t began_ns;
	uint64_t until_ns; /* open before this */
};

/* A token bucket of one rule. */
struct model_bucket {
	struct model_bucket_key {
		const struct rate *rate;
		uint64_t family;
		u128 parts[5]; /* what it is per; unused ones 0 */
	} key;
	u128 missing;       /* to be full: what comes in so much time, in 1/1024 ns */
	uint64_t looked_ns; /* when that was */
};

struct model_flow;

/* What a policy remembers between packets; all zero at first. The clock is the caller's. */
struct model_state {
	uint64_t now_ns;
	struct arena *arena;
	struct model_set *sets; /* what named sets hold; see model_sets_begin() */
	struct model_flow *flows; /* newest first */
	VEC(struct model_knocker) knockers;
	VEC(struct model_bucket) buckets;
	const bool *granted; /* by rule number: instead of buckets, which rates have tokens, and packets say who has
				knocked and what their connections are; NULL: what is remembered counts */
	uint64_t stamps[KNOCKS_MAX]; /* the latest that opened each knock with a key */
};

/* One packet as a hook meets it. */
struct model_packet {
	const unsigned char *data; /* with the Ethernet header at hooks that see frames, else from the IP header on */
	size_t length;
	uint16_t ethertype; /* at hooks without frames: what the kernel says follows: 0x0800 or 0x86dd */
	bool vlan_metadata; /* TC: a VLAN tag beside the frame */
	uint16_t vlan_tci;
	uint32_t in_iface;
	uint32_t out_iface;
	uint32_t mark;
	uint32_t user;  /* ABSENT_OWNER: unknown */
	uint32_t group;
	uint16_t program; /* ABSENT_PROGRAM: unknown */
	uint16_t tree;    /* TREE_IN(), TREE_OUT() */
	uint64_t cgroup[PACKET_CGROUPS];
	uint8_t flow;    /* enum packet_flow, where there is no state */
	uint8_t knocked; /* FIELD_KNOCKED, where there is no state */
	struct model_state *state; /* NULL: nothing is remembered, and rates have tokens */
};

/* What decided: a rule number from 1, or one of these. */
enum { DECIDED_DEFAULT = 0, DECIDED_MALFORMED = -1, DECIDED_NON_IP = -2 };

struct model_result {
	enum verdict verdict;
	int32_t rule;   /* deciding rule, or DECIDED_* */
	uint32_t mark;  /* after all mark actions that ran */
	const uint32_t *hits; /* numbers of all rules that matched, in order, with repeats; the deciding one last */
	size_t hit_count;
};

/* The field values that the model's parser finds; for tests of the data planes' parser. */
struct model_fields {
	bool malformed;
	bool has[FIELD_COUNT];
	u128 value[FIELD_COUNT];
	const unsigned char *transport; /* the transport header, up to the end of the IP packet; NULL: there is none */
	size_t transport_length;
};

/* Judges one packet. Only inside arena_run(); the result's hits are in the arena. */
void model_judge(struct arena *arena, const struct ruleset *ruleset, enum hook hook,
		 const struct model_packet *packet, struct model_result *ret_result);

/* A rule that was read. */
struct model_visit {
	const struct rule *rule;
	bool holds;   /* its condition */
	bool applies; /* it held, and acts: on frames that are not IP, only rules that name the link layer do */
	bool refused; /* but for want of a token it did not match */
};

/* How the packet was judged: all rules that were read, in order, with repeats. */
struct model_trace {
	struct model_result result;
	struct model_fields fields;
	const struct model_visit *visits;
	size_t visit_count;
};

/* As model_judge(), step by step. */
void model_trace(struct arena *arena, const struct ruleset *ruleset, enum hook hook,
		 const struct model_packet *packet, struct model_trace *ret_trace);

/* Whether a condition of the policy holds for a packet with these fields. */
bool model_holds(const struct ruleset *ruleset, const struct model_fields *fields, const struct cond *cond);

/* --- sets (model_sets.c) -------------------------------------------------------------------------------------- */

/* Sets hold what the rule set says, and time begins for it; else that is when the first packet is judged. */
void model_sets_begin(struct model_state *state, const struct ruleset *ruleset);
/* Changes that were refused, for want of room or because a packet asked for too many. */
uint64_t model_sets_refused(const struct model_state *state, uint32_t set);
bool model_set_has(const struct model_state *state, uint32_t set, bool six, u128 value);
/* Carries out an ACTION_ADD or ACTION_REMOVE, the packet's change number `nth` from 0. */
void model_set_change(struct model_state *state, const struct ruleset *ruleset, const struct action *action,
		      const struct model_fields *fields, size_t nth);

/* --- knocks (model_knock.c) ----------------------------------------------------------------------------------- */

/* The value of FIELD_KNOCKED. */
uint8_t model_knocked(const struct model_state *state, const struct ruleset *ruleset,
		      const struct model_fields *fields);
/* The packet takes the steps that it matches. */
void model_knock(const struct ruleset *ruleset, enum hook hook, const struct model_packet *packet,
		 const struct model_fields *fields);

/* --- rates (model_rate.c) ------------------------------------------------------------------------------------- */

/* Takes the tokens that the packet costs from a bucket of the rule's rate, if they are there. */
bool model_take_tokens(struct model_state *state, const struct rule *rule, const struct rate *rate,
		       const struct model_packet *packet, const struct model_fields *fields);

/* --- connections (model_flow.c) ------------------------------------------------------------------------------- */

/* Whether the packets of a policy have FIELD_FLOW at that hook. */
bool model_tracks(const struct ruleset *ruleset, enum hook hook);
/* The value of FIELD_FLOW; FLOW_UNTRACKED: the packet has none. Changes nothing. */
enum packet_flow model_flow(const struct model_state *state, const struct model_fields *fields);
/* The packet, whose state was asked for just before, was accepted. */
void model_flow_accept(struct model_state *state, const struct ruleset *ruleset, const struct model_fields *fields);
/* Connections that have not run out. */
size_t model_flow_count(const struct model_state *state);

void model_parse(enum hook hook, const struct model_packet *packet, struct model_fields *ret_fields);

#endif
