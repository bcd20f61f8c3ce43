/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The intermediate form: one policy as rules, whatever dialect it was written in.
 *
 * Every front ends here, every analysis and back end starts here. Const once built; lives in the compilation's
 * arena. Semantics: docs/architecture.md, "What a rule set means".
 */
#ifndef WEIR_IR_IR_H
#define WEIR_IR_IR_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/diag.h"
#include "base/u128.h"
#include "packet/field.h"
#include "packet/packet.h"

enum verdict { VERDICT_ACCEPT, VERDICT_DROP, VERDICT_REJECT };

enum cond_kind {
	COND_TRUE,
	COND_FALSE,
	COND_AND,
	COND_OR,
	COND_NOT,
	COND_MATCH, /* the packet has the field, and (value & mask) is in one of the ranges */
	COND_SET,   /* the packet has the field, and its value is an element of the set */
};

/*
 * A condition. A test on a field that the packet does not have, or that the hook cannot see, is false. Owner
 * fields (field_table[].owner) never stand under COND_NOT: the front writes the complement of the ranges instead, and
 * for sets AND(present, NOT(set)), for cgroups AND(user known, NOT(match)).
 */
struct cond {
	enum cond_kind kind;
	struct span span;
	union {
		struct {
			const struct cond **items;
			size_t count; /* at least 1 */
		} list; /* AND, OR */
		const struct cond *inner; /* NOT */
		struct {
			enum field field;
			u128 mask; /* u128_max(bits) unless written with & */
			const struct range *ranges; /* sorted, disjoint, not adjacent, inside the mask */
			size_t count; /* at least 1 */
			uint32_t comparison; /* 1 + index into ruleset.comparisons, which says the same; 0: of none */
		} match;
		struct {
			enum field field;
			uint32_t set; /* index into ruleset.sets */
		} set;
	};
};

enum rate_unit { RATE_PACKETS, RATE_BYTES, RATE_UNIT_COUNT };
/* What has a token bucket of its own. A flow is one direction of it. */
enum rate_key { RATE_KEY_NONE, RATE_KEY_SRC, RATE_KEY_DST, RATE_KEY_FLOW, RATE_KEY_USER, RATE_KEY_COUNT };
extern const char *const rate_unit_names[RATE_UNIT_COUNT], *const rate_key_names[RATE_KEY_COUNT];

/*
 * A token bucket for each key: it fills by `amount` tokens in `period_ns` and holds `burst`. A packet takes one token (a
 * merged one as many as it has segments) or its bytes; one that asks for more than the burst passes with that many.
 *
 * A bucket in use may gather more, `reserve`, so that a sender that pauses because of what was dropped does not lose what
 * comes meanwhile. Once it is full of that it is not in use, and holds `burst` again.
 */
struct rate {
	uint64_t amount;
	uint64_t period_ns;
	uint64_t burst;
	uint64_t reserve; /* at least `burst`; 0: as much as that */
	enum rate_unit unit;
	enum rate_key key;
	uint8_t bits4, bits6; /* SRC, DST: prefix lengths of one bucket; of IPv6 at most 64 */
	uint32_t max;         /* buckets that are kept; 0 without a key */
};

enum action_kind {
	ACTION_RATE,    /* first in its rule: without a token, the rule has not matched */
	ACTION_THROTTLE, /* what is over the rate is dropped, or paced where the hook can */
	ACTION_COUNT,   /* named counter */
	ACTION_LOG,
	ACTION_MARK,    /* mark = (mark & ~mask) | (value & mask) */
	ACTION_CAPTURE, /* copy the packet to the policy's ring */
	ACTION_ADD,     /* the field's value to a set; it is in force for the next packet */
	ACTION_REMOVE,
	ACTION_KNOCK,   /* a step of a knock; only in hidden rules */
	ACTION_VERDICT, /* terminal, and so are the next three: last in their rule */
	ACTION_JUMP,
	ACTION_GOTO,
	ACTION_RETURN,
};

struct action {
	enum action_kind kind;
	struct span span;
	bool left; /* does nothing here: another hook of the policy does it (ir/split.h); never a verdict or jump */
	union {
		const struct rate *rate;
		uint32_t counter; /* index into ruleset.counters */
		struct {
			const char *text;
			uint64_t period_ns; /* at most one event each; 0: no limit */
			uint32_t burst;     /* and so many at once; 0: no limit */
		} log;
		struct {
			uint32_t value;
			uint32_t mask;
		} mark;
		uint32_t snap; /* CAPTURE: bytes of a packet at most; 0: all that there is room for */
		struct {
			uint8_t index; /* into ruleset.knocks */
			uint8_t step;
		} knock;
		struct {
			enum field field; /* a packet without it changes nothing: two actions for addresses of either family */
			uint32_t set;     /* index into ruleset.sets */
			uint32_t timeout_ms; /* ADD: 0: until it is removed */
		} change;
		enum verdict verdict;
		uint32_t chain; /* JUMP, GOTO: index into ruleset.chains */
	};
};

/*
 * Number, counter and text of a rule belong together: `number` counts from 1 in the order of the text over all of
 * the policy's chains, and is what users see.
 */
struct rule {
	uint32_t number;
	struct span span;
	const struct cond *cond; /* NULL: always */
	const struct action *actions;
	size_t action_count; /* at least 1 */
	bool names_link; /* the condition names `arp` or `eth.type` */
};

/* The action keeps to a rate: it has one, whose buckets it takes tokens from. */
static inline bool action_is_rated(const struct action *action)
{
	return action->kind == ACTION_RATE || action->kind == ACTION_THROTTLE;
}

/* The rate that the rule needs a token of, or NULL. */
const struct rate *rule_rate(const struct rule *rule);
bool rate_equal(const struct rate *left, const struct rate *right);
/* Time that a unit is worth, in 1/1024 ns; the burst, and the reserve, in ns. */
uint64_t rate_period(const struct rate *rate);
uint64_t rate_burst_ns(const struct rate *rate);
uint64_t rate_reserve_ns(const struct rate *rate);
/* What is wrong with it, or NULL; in the arena. */
const char *rate_check(struct arena *arena, const struct rate *rate);

struct chain {
	const char *name; /* chains[0]: "main" */
	struct span span;
	const struct rule *rules;
	size_t rule_count;
};

enum set_type { SET_ADDRESS, SET_PREFIX, SET_PORT, SET_MAC, SET_MARK, SET_USER, SET_TYPE_COUNT };
extern const char *const set_type_names[SET_TYPE_COUNT];

/* Most elements of a set that rules add to. */
enum { SET_ADDED_MAX = 65536 };

/*
 * A named set. Ports, MACs, marks and users: `ranges`. Addresses and prefixes: IPv4 in `ranges`, IPv6 in `ranges6`.
 * A front that sees `src in blocked` writes OR(COND_SET ip.src, COND_SET ipv6.src).
 *
 * Elements of a timed set may expire. Time begins when the policy comes into force; then they are none any more.
 */
struct set {
	const char *name;
	enum set_type type;
	bool shared; /* declared outside a policy */
	bool timed;
	uint32_t timeout_ms; /* timed: of what is added at run time and names no other; 0: none */
	uint32_t max_elements; /* per family */
	struct span span;
	const struct range *ranges; /* sorted, disjoint; element boundaries kept (prefixes are not merged) */
	size_t count;
	const struct range *ranges6;
	size_t count6;
	const uint32_t *timeouts, *timeouts6; /* timed: milliseconds, by element, 0: never; NULL: no element has one */
};

enum { KNOCKS_MAX = 8, KNOCK_STEPS_MAX = 8 }; /* a policy, a knock */

/*
 * A knock: a source opens it by packets that match its steps in their order, all within a time. Bit i of
 * FIELD_KNOCKED says that knock i is open. A packet that matches the step whose turn it is goes one step on, one that
 * matches the step just taken changes nothing, one that matches another begins anew (with it, if it is the first).
 * Packets take steps whatever the rules make of them, and after they were judged; not if they are malformed or not IP.
 *
 * Or with a key: one packet opens it, if it matches the only step and its payload is genuine and new. bpf/knock_abi.h
 * (struct knock_packet) says what that is; it is a UDP packet, no fragment, in IPv6 without extension headers.
 */
struct knock {
	const char *name;
	struct span span;
	const struct cond *const *steps;
	size_t step_count;  /* 1 to KNOCK_STEPS_MAX */
	uint64_t within_ns; /* from the first step to the last; not 0; with a key: 0 */
	uint64_t open_ns;   /* from the last step on; not 0 */
	bool extend;        /* knocking while it is open keeps it open; else steps change nothing then */
	bool whole;         /* an IPv6 source is an address, else its /64 */
	const char *key_file; /* NULL: a sequence */
	uint64_t skew_ns;   /* with a key: most difference between a packet's stamp and the time; not 0 */
	bool bind;          /* with a key: the packet must name its source */
	uint64_t key[2];    /* of this knock, made from the file's; all 0 until it is needed */
	uint32_t max_sources; /* to be remembered; the policy's knocks share the most of these; 0: the planes' default */
};

/*
 * A value that `weir tune` may change while the policy is in force. If it is live, nothing asks for it but comparisons:
 * then changing it changes a number in a map, and no program.
 */
struct tunable {
	const char *name;
	uint64_t value; /* at present */
	bool live;
};

/* How a field's value lies to the tunable's: any of these. */
enum { RELATION_BELOW = 1, RELATION_EQUAL = 2, RELATION_ABOVE = 4, RELATION_COUNT = 3 };
extern const char *const relation_names[RELATION_COUNT]; /* by bit */

/*
 * A comparison with a tunable, which the planes answer before the rules judge: bit i of struct packet's `tuned` says that
 * comparison i holds. The field is neither an owner nor as wide as an IPv6 address. Who knows no more than the present
 * values takes the ranges of the match that names it.
 */
struct comparison {
	enum field field;
	uint8_t relation; /* RELATION_*: at least one, not all */
	uint32_t tunable; /* index into ruleset.tunables */
};
enum { TUNABLES_MAX = 16, COMPARISONS_MAX = 32 };

/* Values that the field of a comparison may have, `value` being the tunable's: at most two ranges, perhaps none. */
size_t comparison_ranges(const struct comparison *comparison, uint64_t value, struct range *ret_ranges);
/* Those of the comparisons that hold for the packet: bits as in `tuned`. */
uint32_t comparisons_hold(const struct comparison *comparisons, size_t count, const struct tunable *tunables,
			  const struct packet *packet);

/* An executable, as it was when the policy was compiled: what struct packet's `program` counts from PROGRAM_FIRST. */
struct program {
	const char *path;
	uint32_t device; /* as the kernel encodes it: major << 20 | minor */
	uint64_t inode;
	bool has_generation; /* the file system tells which of the files that had this inode's number it is: */
	uint32_t generation;
};

struct attach {
	enum hook hook;
	const char *target; /* interface name or glob, cgroup path ("/" is the hierarchy's root); NULL at netfilter */
	struct span span;
	int32_t priority;   /* netfilter; PRIORITY_DEFAULT unless given */
	enum xdp_mode xdp_mode;
	bool optional;      /* `eth0 optional`: no error while there is no such interface */
};

/* The ring of captures is allocated whole; its largest record must fit. */
enum { CAPTURES_SIZE = 8 << 20, CAPTURES_SIZE_LEAST = 256 << 10, CAPTURES_SIZE_MOST = 256 << 20,
       CAPTURE_SNAP_MAX = 65535 };

/*
 * How long a connection is remembered from its last packet on, by what it has come to. docs/flows.md; the order is that
 * of enum flow_timeout (bpf/flow_abi.h).
 */
enum flow_age {
	AGE_TCP_OPENING,
	AGE_TCP_ESTABLISHED,
	AGE_TCP_CLOSING,
	AGE_TCP_CLOSED,
	AGE_UDP_NEW,
	AGE_UDP_ESTABLISHED,
	AGE_ICMP,
	AGE_SCTP_OPENING,
	AGE_SCTP_ESTABLISHED,
	AGE_SCTP_CLOSING,
	AGE_OTHER,
	AGE_COUNT,
};
struct flow_age_info {
	const char *name; /* "tcp.established" */
	uint32_t seconds; /* unless the policy says otherwise */
};
extern const struct flow_age_info flow_ages[AGE_COUNT];

/* The table of connections. 0: as it is without a word of the policy. */
struct flow_settings {
	uint32_t max;  /* assured ones; half as many others beside them */
	bool shared;   /* with all policies that say so */
	uint32_t seconds[AGE_COUNT];
};
enum { FLOWS_DEFAULT_MAX = 65536, FLOWS_MAX = 1000000000, FLOW_SECONDS_MAX = 365 * 86400 };

struct ruleset;
/* A rule asks for the state of connections, or `track on` asks to see them. */
bool flows_used(const struct ruleset *ruleset);

/* Room for connections that are not assured, beside `max` others. */
uint32_t flows_fresh_max(uint32_t max);
/* Bytes that both tables take. */
uint64_t flows_memory(const struct flow_settings *flows);

static inline uint32_t flows_max(const struct flow_settings *flows)
{
	return flows->max ? flows->max : FLOWS_DEFAULT_MAX;
}

static inline uint32_t flows_seconds(const struct flow_settings *flows, enum flow_age age)
{
	return flows->seconds[age] ? flows->seconds[age] : flow_ages[age].seconds;
}

/* What sets, rates and knocks take, besides connections. */
struct state_needs {
	uint32_t buckets, flow_buckets; /* of rates, by the size of their keys */
	uint32_t knockers; /* sources, in each of two maps */
	uint64_t sets;     /* bytes, from the beginning */
	uint64_t prefixes; /* bytes at most, as prefixes come */
};
struct state_needs state_needs(const struct ruleset *ruleset);
/* Bytes of key and value of each (bpf/plane_abi.h, bpf/knock_abi.h), and what the policy says where it says nothing. */
enum { BUCKET_STATE = 16 + 8, FLOW_BUCKET_STATE = 40 + 8, KNOCKER_STATE = 24 + 64, KNOCKERS_DEFAULT = 16384 };
/* Bytes that a hash of `max` elements takes, all from the beginning; `bytes`: key and value. */
uint64_t state_memory(uint32_t max, uint32_t bytes);
/* The same of one map of a set, from the beginning; one of prefixes takes it as they come, at most. */
enum { SET_VALUE_BYTES = 16 }; /* struct set_value */
uint64_t set_memory(bool prefixes, uint32_t max, uint32_t key_bytes);

enum classifier { CLASSIFIER_AUTO, CLASSIFIER_DIAGRAM, CLASSIFIER_TABLE, CLASSIFIER_LIST };

/* Whether answers are kept, for packets that look the same. */
enum cache_choice { CACHE_AUTO, CACHE_YES, CACHE_NO };

struct ruleset {
	const char *name; /* the policy's; "expression" for a bare expression */
	struct span span; /* the policy's text, from its first word to the closing brace */
	bool expression;
	const struct attach *attaches;
	size_t attach_count; /* 0 only for expressions */
	const struct attach *tracks; /* where packets are seen for the sake of connections, and not judged */
	size_t track_count;
	struct flow_settings flows;
	const struct chain *chains; /* [0] is where judging begins */
	size_t chain_count;
	uint32_t rule_count; /* over all chains: the greatest rule number */
	uint32_t hidden_count; /* the last so many rules are hidden: put there by ruleset_expand() */
	const struct knock *knocks;
	size_t knock_count;
	const struct set *sets;
	size_t set_count;
	const char *const *counters; /* names given by `count NAME` */
	size_t counter_count;
	enum verdict default_verdict;
	bool observe;          /* verdicts are counted and logged, but everything passes; the model says what would be */
	bool malformed_accept; /* else dropped */
	bool non_ip_accept;    /* FAMILY_OTHER passes instead of taking the default */
	enum classifier classifier;
	enum cache_choice cache;
	uint32_t captures_size; /* bytes of the ring of captures, a power of two; 0: no rule captures */
	const struct program *programs;
	size_t program_count; /* at most PROGRAMS_MAX */
	const struct program *roots; /* of `program in tree of`: what FIELD_TREE has bits for */
	size_t root_count; /* at most TREES_MAX */
	const struct tunable *tunables; /* that are compared with */
	size_t tunable_count;
	const struct comparison *comparisons; /* each of them once */
	size_t comparison_count;
	uint8_t cgroup_levels[PACKET_CGROUPS]; /* ancestor level behind FIELD_CGROUP_0..2; root is 0 */
	uint8_t cgroup_level_count;
};

/* All policies of one file, in its order. */
struct rulesets {
	const struct ruleset *items;
	size_t count;
};

/* --- conditions ---------------------------------------------------------------------------------------------- */

struct cond *cond_new(struct arena *arena, enum cond_kind kind, struct span span);
struct cond *cond_not(struct arena *arena, const struct cond *inner, struct span span);
/* AND or OR of two; flattens nothing. */
struct cond *cond_pair(struct arena *arena, enum cond_kind kind, const struct cond *left, const struct cond *right,
		       struct span span);
struct cond *cond_match(struct arena *arena, enum field field, u128 lo, u128 hi, struct span span);
/* Sorts and merges `ranges` (a private copy is taken) and matches under the full mask. */
struct cond *cond_match_ranges(struct arena *arena, enum field field, const struct range *ranges, size_t count,
			       struct span span);

/* Sorts, then merges overlapping and adjacent ranges in place; returns how many are left. */
size_t ranges_normalize(struct range *ranges, size_t count);

/* --- hidden rules (expand.c) ---------------------------------------------------------------------------------- */

/*
 * The rule set with the steps of its knocks as rules in front of all others. They are numbered behind the rules that
 * users see, and have no counters. For the planner and what comes after it; the same rule set where there are none.
 */
const struct ruleset *ruleset_expand(struct arena *arena, const struct ruleset *ruleset);

/* Rules that users see: those with the numbers from 1 to this have counters. */
static inline uint32_t ruleset_shown(const struct ruleset *ruleset)
{
	return ruleset->rule_count - ruleset->hidden_count;
}

/* --- text form: `weir compile --emit ir`; docs/ir.md ---------------------------------------------------------- */

/* Prints one policy; parses back to an equal one (spans apart). In the arena. */
char *ruleset_print(struct arena *arena, const struct ruleset *ruleset);

/* Parses one or more policies; errors are queued in `diags`, -EINVAL then. Only inside arena_run(). */
int ruleset_parse(struct arena *arena, const struct source *source, struct diags *diags,
		  const struct rulesets **ret_rulesets);

/*
 * Checks every invariant named in this header (and: chain graph without cycles, rule numbers 1..rule_count each
 * once, verdicts last). Returns NULL, or what is wrong, in the arena.
 */
const char *ruleset_check(struct arena *arena, const struct ruleset *ruleset);

#endif
