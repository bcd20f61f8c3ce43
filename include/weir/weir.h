/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libweir: from the text of a policy to a firewall in the kernel.
 *
 *     struct weir *weir = weir_new();
 *     struct weir_program *program;
 *
 *     if (weir_compile_file(weir, "web.weir", &program) == 0)
 *             status = weir_apply(weir, program, NULL);
 *     for (size_t i = 0; i < weir_diagnostic_count(weir); i++)
 *             fputs(weir_diagnostic_text(weir, i, false), stderr);
 *     weir_program_free(program);
 *     weir_free(weir);
 *
 * Conventions. Functions return 0 or one of enum weir_status; nothing is printed and nothing exits. What went wrong,
 * and every warning, are the context's diagnostics, replaced by the next call that takes the context. Results are
 * written on success only. Strings and arrays that a function returns belong to the object they come from and live
 * as long as it. Addresses and ports in structures are in host byte order, times in nanoseconds, sizes in bytes.
 * A context and what was made with it may be used by one thread at a time; different contexts are independent, but
 * the loading functions (weir_apply, weir_pin, weir_tester_new, weir_bench) must not run at the same time in one
 * process, for libbpf's message callback is process-wide.
 */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The closed set of results. The command line's exit status is the negated value; usage errors are its own. */
enum weir_status {
	WEIR_OK = 0,
	WEIR_INPUT = -1,  /* the text, a name or an element is wrong, or the answer is no */
	WEIR_SYSTEM = -2, /* the kernel or the system refused, or memory ran out */
};

struct weir;

/* A new context; NULL without memory. */
struct weir *weir_new(void);
void weir_free(struct weir *weir);

/* "0.1.0". Static. */
const char *weir_version(void);

/* --- diagnostics ------------------------------------------------------------------------------------------------- */

enum weir_severity { WEIR_ERROR, WEIR_WARNING, WEIR_NOTE };

struct weir_diagnostic {
	enum weir_severity severity;
	const char *file;  /* NULL: about no place */
	uint32_t line;     /* from 1 */
	uint32_t column;   /* from 1, in bytes */
	uint32_t length;   /* of the words it is about, in bytes */
	const char *text;
	const char *hint;  /* or NULL */
};

size_t weir_diagnostic_count(const struct weir *weir);
/* The number of them that are errors or warnings. */
size_t weir_error_count(const struct weir *weir);
size_t weir_warning_count(const struct weir *weir);
const struct weir_diagnostic *weir_diagnostic(const struct weir *weir, size_t index);
/* As a person reads it, with the source line and a caret; ends with a newline. `colour`: ANSI colours. */
const char *weir_diagnostic_text(struct weir *weir, size_t index, bool colour);

/* --- compiling --------------------------------------------------------------------------------------------------- */

struct weir_program;

/* Compiles a policy file; "-" is standard input. */
int weir_compile_file(struct weir *weir, const char *path, struct weir_program **ret_program);

/* Compiles a policy's text; `name` stands in its diagnostics, and is where relative includes start. */
int weir_compile_text(struct weir *weir, const char *name, const char *text, size_t length,
		      struct weir_program **ret_program);

/* Compiles a bare filter expression: accept if it holds, else drop. Diagnostics read "expression:1:17: error: ...". */
int weir_compile_expression(struct weir *weir, const char *text, struct weir_program **ret_program);

void weir_program_free(struct weir_program *program);

/*
 * Analyses beyond the language: rules that can never match, conditions that no packet meets. Warnings only, queued
 * behind those of the compilation if called next.
 */
int weir_analyse(struct weir *weir, struct weir_program *program);

struct weir_hook {
	const char *name;   /* "xdp", "tc-ingress", "cgroup-egress", "netfilter-input", ... */
	const char *target; /* interface, cgroup path, or NULL */
	const char *how;    /* in force: "native", "generic", "tcx", "clsact", "link"; else NULL */
	bool attached;      /* in force: false if the device or cgroup is gone */
	uint64_t cached;    /* in force: packets whose answer was kept from an earlier one (`cache =`) */
};

/* What a policy's system call hook leaves to its packet hooks. */
struct weir_left {
	const char *hook;   /* "connect" or "bind" */
	const char *to;     /* the hooks that it is left to: "cgroup-egress and tc-egress" */
	uint32_t rule;      /* number */
	uint32_t line;
	const char *text;
};

struct weir_policy {
	const char *name; /* "expression" for a bare expression */
	size_t rules;
	const struct weir_hook *hooks; /* none for an expression */
	size_t hook_count;
	const struct weir_left *left; /* the rules that a system call does not decide, by hook */
	size_t left_count;
};

size_t weir_policy_count(const struct weir_program *program);
const struct weir_policy *weir_policy(const struct weir_program *program, size_t index);

/*
 * A stage as text: "ir", "diagram", "plan", "bpf", "cbpf", "dot". `policy` NULL: the only one (an error if there are
 * more); `hook` NULL: the policy's first, or for an expression the first that sees all its fields; "cbpf" (classic BPF) is for
 * the hook "socket" only. Lives with the program.
 */
int weir_emit(struct weir *weir, struct weir_program *program, const char *policy, const char *hook, const char *stage,
	      const char **ret_text);

/* The object of one policy at one hook as ELF ("elf" above, as bytes). Lives with the program. */
int weir_emit_object(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
		     const void **ret_data, size_t *ret_size);

/* --- other programs' configuration ------------------------------------------------------------------------------ */

/* Nothing in them needs an escape between quotes. */
struct weir_names {
	const char *const *items;
	size_t count;
};

/* Which users may reach which addresses by which interfaces. */
struct weir_endpoint {
	const char *name;             /* as in the file: any text */
	struct weir_names interfaces;
	struct weir_names ranges;     /* addresses and prefixes */
	struct weir_names users;      /* names, or numbers; may be none */
};

struct weir_import;

/* Reads the metadata service study's YAML; "-" is standard input. No name is looked up. */
int weir_import_file(struct weir *weir, const char *path, struct weir_import **ret_import);
size_t weir_import_count(const struct weir_import *import);
const struct weir_endpoint *weir_import_endpoint(const struct weir_import *import, size_t index);
void weir_import_free(struct weir_import *import);

/* --- proofs ------------------------------------------------------------------------------------------------------ */

enum weir_proof {
	WEIR_PROVEN,     /* the program does what the rules say, for every packet and whatever named sets hold */
	WEIR_DISPROVEN,  /* a bug in weir: see the example */
	WEIR_NOT_PROVEN, /* nothing is known: see the reason */
};

struct weir_verification {
	const char *policy;
	const char *hook;
	enum weir_proof proof;
	const char *reason;     /* WEIR_NOT_PROVEN: "it takes too long"; else NULL */
	const char *example;    /* a packet, "tcp 10.0.0.1:40000 > 10.0.0.2:80"; WEIR_NOT_PROVEN: that gets there; or NULL */
	const char *assumed;    /* what it needs of named sets that they do not hold in the file, or NULL */
	const char *by_rules;   /* what becomes of it: "drop (rule 3)" */
	const char *by_program;
	size_t rules;
	size_t instructions;
	uint64_t nanoseconds;
	size_t walker_steps;    /* WEIR_PROVEN: the walker of its table is proven, too, in so many different steps; 0: no table */
};

/*
 * Proves one policy at one hook (as for weir_emit()) from the finished object, independently of the compiler.
 * `milliseconds` 0: as long as it takes. The data plane's parser, the execution of steps, the loader and the kernel
 * are trusted. Lives with the program. 0 whatever the proof says.
 */
int weir_verify(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
		unsigned milliseconds, const struct weir_verification **ret_verification);

/*
 * The same of what is in force: reads from the kernel what the policy's hooks have, tables with their changes in place included,
 * and proves it from the policy's text as weir_show() shows it. The programs must be those that the text becomes when it is
 * compiled once more; where they are not, or are not attached, nothing is proven. One verification a hook of the policy (NULL:
 * of all policies), in order; free with weir_verifications_free(). Changes nothing. 0 whatever the proofs say; WEIR_INPUT: no
 * such policy is in force.
 */
struct weir_verifications;
int weir_verify_loaded(struct weir *weir, const char *policy, const char *hook, unsigned milliseconds,
		       struct weir_verifications **ret_verifications);
/* NULL behind the last one. Lives as long as they all do. */
const struct weir_verification *weir_verifications_at(const struct weir_verifications *verifications, size_t index);
void weir_verifications_free(struct weir_verifications *verifications);

/* --- in force ---------------------------------------------------------------------------------------------------- */

struct weir_apply_options {
	size_t size;     /* sizeof(struct weir_apply_options) of the caller */
	bool dry_run;    /* everything but attaching */
	bool force;      /* even if it cuts the caller's own remote session */
	bool prune;      /* remove policies loaded from the same file earlier and no longer in it */
	bool reset_sets; /* forget what was added to sets at run time */
	bool no_verify;  /* do not prove the programs first (which takes at most a second; a difference is an error) */
};

/*
 * Puts all policies of the program in force, replacing those of the same names, in one step. `options` NULL: none.
 * Needs CAP_BPF and CAP_NET_ADMIN (and CAP_SYS_ADMIN to mount bpffs the first time). On failure nothing has changed.
 */
int weir_apply(struct weir *weir, struct weir_program *program, const struct weir_apply_options *options);

/*
 * What weir_compile_file() and weir_apply() do for a file that differs in a few rules from the policy that came from it: these
 * are changed in the policy's tables, and the others are not even read. *ret_program knows weir_policy() only. NULL there, with
 * WEIR_OK: nothing has changed, and only those two can tell.
 */
int weir_apply_difference(struct weir *weir, const char *path, const struct weir_apply_options *options,
			  struct weir_program **ret_program);

/* Removes policies, all in one step. WEIR_INPUT if one is not there. */
int weir_delete(struct weir *weir, const char *const *names, size_t count);

/* Removes every policy. */
int weir_flush(struct weir *weir);

/*
 * Compiles the texts in force anew and replaces the policies by the results, all in one step: for after a change of what
 * names in them mean (users, groups, programs, cgroups that were made anew). Counters, and what was added to sets at run
 * time, stay. `names` NULL: all policies. WEIR_INPUT if one is not there, or a name means nothing any more; then nothing
 * has changed.
 */
int weir_refresh(struct weir *weir, const char *const *names, size_t count);

/*
 * The state that applying `program` would replace, to go back to. Restoring removes policies that were not there and
 * applies the former text of the others, in one step.
 */
struct weir_snapshot;
int weir_snapshot_take(struct weir *weir, const struct weir_program *program, struct weir_snapshot **ret_snapshot);
int weir_snapshot_restore(struct weir *weir, struct weir_snapshot *snapshot);
void weir_snapshot_free(struct weir_snapshot *snapshot);

struct weir_counter {
	uint64_t packets;
	uint64_t bytes;
};

struct weir_rule_view {
	uint32_t number;
	uint32_t line;  /* in the policy's source text, from 1 */
	const char *text; /* the rule as written, blanks folded to one */
	const char *verdict; /* that the rule ends in: "accept", "drop", "reject"; "": none */
	struct weir_counter counter;
};

struct weir_named_counter {
	const char *name;
	struct weir_counter counter;
};

struct weir_view {
	const char *name;
	const char *file;     /* it was applied from; "-": standard input */
	const char *source;   /* the policy's own text, comments and all */
	uint32_t source_line; /* of its first line in the file */
	uint64_t loaded_ns;   /* CLOCK_REALTIME */
	const struct weir_hook *hooks;
	size_t hook_count;
	const char *default_verdict; /* "accept", "drop", "reject" */
	const char *malformed_verdict;
	bool observe;         /* it only observes: what it would drop or reject, it counts and lets pass */
	const struct weir_rule_view *rules;
	size_t rule_count;
	const struct weir_named_counter *counters;
	size_t counter_count;
	struct weir_counter by_default, malformed, non_ip;
	struct weir_counter judged;  /* all packets */
	struct weir_counter dropped; /* drop and reject */
	uint64_t events_lost;
	uint64_t captures_lost;
	uint64_t captures_size; /* bytes of memory that captured packets wait in; 0: no rule captures */
	const struct weir_flow_totals *flows; /* NULL: it tracks no connections */
};

/* All policies in force, by name; free with weir_views_free(). */
struct weir_views;
int weir_list(struct weir *weir, struct weir_views **ret_views);
/* One of them; WEIR_INPUT if it is not there. */
int weir_show(struct weir *weir, const char *name, struct weir_views **ret_views);
size_t weir_view_count(const struct weir_views *views);
const struct weir_view *weir_view(const struct weir_views *views, size_t index);
void weir_views_free(struct weir_views *views);

/* Counts of the policy start from zero again. */
int weir_counters_reset(struct weir *weir, const char *name);

/* How to knock at a host whose policy has a `knock`: with a key, or in a sequence. */
struct weir_knock {
	size_t size;          /* of this structure: sizeof(struct weir_knock) */
	const char *host;     /* name or address; all its addresses are knocked at */
	const char *name;     /* with a key: of the knock in the host's policy */
	const char *key;      /* the key's file; or NULL */
	const char *sequence; /* "tcp:7000,udp:8000"; or NULL */
	unsigned port;        /* with a key: where the packet goes */
	bool bind;            /* with a key: only this host's address may use the packet; not through NAT */
	unsigned pause_ms;    /* between steps of a sequence; 0: 100 */
};
/* Sends the packets; nothing comes back. How many addresses they went to. Needs no privileges. */
int weir_knock(struct weir *weir, const struct weir_knock *knock, size_t *ret_addresses);
/* A source that knocks at a policy in force. */
struct weir_knocker {
	const char *knock;
	const char *source;  /* an address, or for IPv6 its /64 where the knock goes by that */
	unsigned step;       /* on its way: the step that it takes next, from 2 on; 0: it is open for it */
	uint64_t left_ms;    /* until it is closed, or must have arrived */
};
struct weir_knockers;
/* All of them, by knock; of a policy without knocks none. Free with weir_knockers_free(). */
int weir_knockers_list(struct weir *weir, const char *policy, struct weir_knockers **ret_knockers);
/* NULL behind the last, and of NULL. */
const struct weir_knocker *weir_knocker(const struct weir_knockers *knockers, size_t index);
void weir_knockers_free(struct weir_knockers *knockers);
/* Makes a key in a new file that only its owner may read. */
int weir_knock_new_key(struct weir *weir, const char *path);

/* Loads one hook's program and pins it at `path` without attaching it, for systemd, bpftool and others. */
int weir_pin(struct weir *weir, struct weir_program *program, const char *policy, const char *hook, const char *path);

/* --- single rules ------------------------------------------------------------------------------------------------ */

enum weir_rule_operation { WEIR_RULE_ADD, WEIR_RULE_DELETE, WEIR_RULE_REPLACE };

struct weir_rule_options {
	size_t size; /* sizeof(struct weir_rule_options) of the caller */
	bool force;  /* even if it cuts the caller's own remote session */
};

struct weir_rule_result {
	uint32_t number; /* of the new rule now, or of the deleted one until now */
	uint32_t rules;  /* how many the policy has now */
	bool in_place;   /* the table was changed; else everything was built anew */
};

/*
 * Changes one rule of a policy in force, and its text accordingly, in one step on all of its hooks; all other rules keep
 * their counts. `number`: the rule that is deleted or replaced, or before which the new one comes (ADD; 0: behind the
 * last one of the main chain). `text` is the new rule, which may use the policy's names; its diagnostics are named
 * "rule". `options` and `ret_result` may be NULL. WEIR_INPUT if the policy or the rule is not there, or `text` is wrong.
 */
int weir_rule_change(struct weir *weir, const char *policy, enum weir_rule_operation operation, uint32_t number,
		     const char *text, const struct weir_rule_options *options, struct weir_rule_result *ret_result);

/* --- tunables ---------------------------------------------------------------------------------------------------- */

/* A `define ... tunable` of a policy in force. */
struct weir_tunable {
	const char *name;
	const char *value; /* as in the policy's text */
};

/* In the order of the text, from index 0; NULL behind the last one. */
struct weir_tunables;
int weir_tunables_get(struct weir *weir, const char *policy, struct weir_tunables **ret_tunables);
const struct weir_tunable *weir_tunable(const struct weir_tunables *tunables, size_t index);
void weir_tunables_free(struct weir_tunables *tunables);
/*
 * Gives a tunable another value, one word of the policy language, in one step on all of the policy's hooks; counts, sets and
 * what the policy remembers of packets stay. `options` may be NULL. WEIR_INPUT if it is not there, or the value is wrong where
 * the policy uses it.
 */
int weir_tune(struct weir *weir, const char *policy, const char *name, const char *value,
	      const struct weir_rule_options *options);

/* --- run-time sets ----------------------------------------------------------------------------------------------- */

enum weir_set_operation { WEIR_SET_ADD, WEIR_SET_DELETE, WEIR_SET_REPLACE, WEIR_SET_FLUSH };

/*
 * Changes a set of a policy in force. `text` holds elements as in a policy, separated by blanks, commas or newlines,
 * `timeout TIME` behind one says when it expires, `#` starts a comment; `name` stands in its diagnostics. `timeout` is
 * for elements that name none: "10min" or "never"; NULL: the set's own. All or nothing on bad input; REPLACE is atomic.
 */
int weir_set_change(struct weir *weir, const char *policy, const char *set, enum weir_set_operation operation,
		    const char *name, const char *text, size_t length, const char *timeout);

/* One element of a set. */
struct weir_set_element {
	const char *text;   /* "10.0.0.0/8"; until the next element is asked for */
	const char *origin; /* "file", "run-time", "packet" */
	uint64_t left_ms;   /* until it expires; 0: it does not */
};

/* What a set holds at one moment, sorted, without what has expired. Outlives the session. */
struct weir_set_listing;
int weir_set_list(struct weir *weir, const char *policy, const char *set, struct weir_set_listing **ret_listing);
size_t weir_set_count(const struct weir_set_listing *listing);
/* Changes that packets could not make since the policy was loaded, as the set was full. */
uint64_t weir_set_refused(const struct weir_set_listing *listing);
/* The next element, from the first on; false behind the last. */
bool weir_set_next(struct weir_set_listing *listing, struct weir_set_element *ret_element);
/* From the first on again. */
void weir_set_rewind(struct weir_set_listing *listing);
void weir_set_listing_free(struct weir_set_listing *listing);

/* Is the value an element? 0: yes, WEIR_INPUT: no (without a diagnostic) or bad input (with one). */
int weir_set_test(struct weir *weir, const char *policy, const char *set, const char *element);

/*
 * How full the maps of a policy in force are: one entry a set, or for addresses one a family; and one for each thing that
 * it remembers of packets, as rates and knocks do. Every element is visited.
 */
struct weir_set_size {
	const char *name;
	const char *family; /* "ipv4", "ipv6", or "" */
	bool state;         /* no set, but what is remembered */
	uint64_t elements;
	uint64_t most;      /* that there is room for */
	uint64_t memory;    /* bytes that the kernel took for it; 0: it does not say */
};

struct weir_set_sizes;
int weir_set_sizes(struct weir *weir, const char *policy, struct weir_set_sizes **ret_sizes);
/* NULL behind the last, and of NULL. */
const struct weir_set_size *weir_set_size(const struct weir_set_sizes *sizes, size_t index);
void weir_set_sizes_free(struct weir_set_sizes *sizes);

/* --- connections -------------------------------------------------------------------------------------------------- */

struct weir_flow {
	const char *protocol;
	const char *source;        /* who began */
	const char *destination;
	uint16_t source_port;      /* 0 if none; ICMP: both are the identifier */
	uint16_t destination_port;
	const char *state;         /* "new", "opening", "established", "closing", "closed" */
	bool assured;              /* a flood of new ones does not push it out */
	bool seeded;               /* from a socket that was open before the policy came */
	uint64_t age_ms;
	uint64_t left_ms;          /* until it is forgotten, if no packet comes */
};

struct weir_flow_totals {
	uint32_t max;      /* assured ones; half as many others beside them */
	uint64_t memory;   /* bytes, all taken from the beginning */
	uint64_t created, assured; /* since the policy tracks connections */
	uint64_t refused;  /* for which there was no room */
	uint64_t invalid;  /* packets */
};

/*
 * The connections of a policy in force, in no order. `filter`: words that must all hold, see weir(1). WEIR_INPUT if the policy
 * is not there or tracks none, or a word is wrong. Free with weir_flows_free().
 */
struct weir_flows;
int weir_flows_list(struct weir *weir, const char *policy, const char *const *filter, size_t words,
		    struct weir_flows **ret_flows);
size_t weir_flow_count(const struct weir_flows *flows);
const struct weir_flow *weir_flow(const struct weir_flows *flows, size_t index);
const struct weir_flow_totals *weir_flows_totals(const struct weir_flows *flows);
void weir_flows_free(struct weir_flows *flows);

/* Forgets those that the filter chooses (no words: all). */
int weir_flows_delete(struct weir *weir, const char *policy, const char *const *filter, size_t words,
		      size_t *ret_count);

/* --- events ------------------------------------------------------------------------------------------------------ */

struct weir_event {
	uint64_t time_ns;       /* CLOCK_REALTIME */
	const char *policy;
	uint32_t rule;
	const char *text;       /* of the log action; "" */
	const char *verdict;    /* "accept", "drop", "reject", or "log" where judging went on */
	bool observed;          /* the policy only observes: the packet went on */
	const char *hook;
	const char *interface;  /* "" if none */
	const char *protocol;   /* "tcp", "udp", "icmp", ..., or a number */
	const char *source;     /* address; "" if none */
	const char *destination;
	uint16_t source_port;   /* 0 if none */
	uint16_t destination_port;
	const char *flags;      /* TCP flags or ICMP type: "SA", "echo-request"; "" */
	uint32_t length;
	int64_t user;           /* uid; -1: unknown */
	int64_t pid;            /* the process that asked; -1: unknown */
	const char *command;    /* its name; "" */
	const char *program;    /* path of its executable, while it is still there; "" */
	const char *cgroup;     /* path of its cgroup, likewise */
	int64_t group;          /* gid of the process; -1: unknown */
	uint32_t mark;
	const unsigned char *data; /* the packet's first bytes */
	size_t captured;
	bool frame;             /* data begins with the link-layer header */
};

struct weir_events;

/* Events of one policy, or of all (NULL). */
int weir_events_open(struct weir *weir, const char *policy, struct weir_events **ret_events);
/*
 * Waits up to timeout_ms (-1: for ever). 1: an event, valid until the next call; 0: time is over, or a signal came;
 * WEIR_SYSTEM.
 */
int weir_events_next(struct weir *weir, struct weir_events *events, int timeout_ms, const struct weir_event **ret_event);
/* Events that were lost because nobody read them in time. */
uint64_t weir_events_lost(struct weir_events *events);
void weir_events_close(struct weir_events *events);

/* --- captures ---------------------------------------------------------------------------------------------------- */

/* A packet that a rule with `capture` copied. */
struct weir_captured {
	uint64_t time_ns;      /* CLOCK_REALTIME */
	const char *policy;
	uint32_t rule;
	const char *verdict;   /* the rule's: "accept", "drop", "reject"; NULL: judging went on */
	const char *hook;
	const char *interface; /* "" if none */
	uint32_t length;       /* of the packet as the hook saw it */
	int64_t user;          /* uid; -1: unknown */
	int64_t pid;           /* of the process behind it; -1: unknown */
	const char *command;   /* its name; "" if unknown */
	const char *program;   /* path of its executable; "" if unknown */
	uint32_t mark;
	const unsigned char *data;
	size_t captured;
	bool frame;            /* data begins with the link-layer header, else with the IP header */
};

struct weir_captures;

/*
 * Packets of one policy, or of all (NULL), beginning with those that nobody has read yet. Any number of readers may read at
 * the same time and each gets all. WEIR_INPUT if no rule captures.
 */
int weir_captures_open(struct weir *weir, const char *policy, struct weir_captures **ret_captures);
/*
 * Waits up to timeout_ms (-1: for ever). 1: a packet, valid until the next call; 0: time is over, or a signal came;
 * WEIR_SYSTEM.
 */
int weir_captures_next(struct weir *weir, struct weir_captures *captures, int timeout_ms,
		       const struct weir_captured **ret_captured);
/* Packets that were lost since it was opened, because they were not read in time. */
uint64_t weir_captures_lost(struct weir_captures *captures);
void weir_captures_close(struct weir_captures *captures);

/* A pcapng file of such packets; `path` "-" is standard output. `snap`: bytes of a packet at most; 0: all. */
struct weir_pcapng;
int weir_pcapng_create(struct weir *weir, const char *path, uint32_t snap, struct weir_pcapng **ret_pcapng);
/* WEIR_SYSTEM, without a diagnostic, if memory ran out. What cannot be written shows at the next of the others. */
int weir_pcapng_write(struct weir_pcapng *pcapng, const struct weir_captured *captured);
int weir_pcapng_flush(struct weir *weir, struct weir_pcapng *pcapng);
/* Writes each interface's statistics, with `lost` packets, and closes the file also on failure. */
int weir_pcapng_finish(struct weir *weir, struct weir_pcapng *pcapng, uint64_t lost);

/* --- trying out -------------------------------------------------------------------------------------------------- */

/* Packets of a pcap or pcapng file, as Ethernet frames. */
struct weir_capture;
int weir_capture_open(struct weir *weir, const char *path, struct weir_capture **ret_capture);
/* 1: a frame, valid until the next call; 0: the end; WEIR_INPUT: the file is broken. */
int weir_capture_next(struct weir *weir, struct weir_capture *capture, const void **ret_frame, size_t *ret_length);
/* When the last frame was captured: nanoseconds since 1970. */
uint64_t weir_capture_time(const struct weir_capture *capture);
void weir_capture_close(struct weir_capture *capture);

enum weir_engine { WEIR_KERNEL, WEIR_MODEL };

enum { WEIR_RULE_DEFAULT = 0, WEIR_RULE_MALFORMED = -1, WEIR_RULE_NON_IP = -2 };

struct weir_judgement {
	const char *verdict; /* "accept", "drop", "reject" */
	int32_t rule;        /* number from 1, or WEIR_RULE_* */
};

/* One policy at one hook, not attached. `policy` and `hook` as for weir_emit(). */
struct weir_tester;
int weir_tester_new(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
		    enum weir_engine engine, struct weir_tester **ret_tester);
int weir_tester_run(struct weir *weir, struct weir_tester *tester, const void *frame, size_t length,
		    struct weir_judgement *ret_judgement);
/* The packets that follow come at that time, for rules that remember; it does not go back. */
void weir_tester_clock(struct weir_tester *tester, uint64_t time_ns);
void weir_tester_free(struct weir_tester *tester);

/* A rule that the packet met on its way. */
struct weir_explained_rule {
	uint32_t number;
	const char *file;   /* NULL: nowhere */
	uint32_t line;      /* from 1 */
	const char *text;   /* as written, blanks folded to one */
	const char *chain;  /* "main", or the chain it stands in */
	bool matched;       /* its condition holds */
	bool acted;         /* false also for a frame that is not IP, where the rule does not name the link layer */
	const char *words;  /* the part of the condition that decides whether it holds; "" if there is no condition */
	uint32_t words_line, words_column;
	const char *facts;  /* what the packet has there: "dst_port is 22"; "" */
	const char *rate;   /* `rate <= 10/s` whose token it took; it is taken to have one. NULL: none was asked for */
	const char *throttle; /* `throttle 1MB/s` that it keeps to; the packet is taken to be within. NULL: none */
};

struct weir_explanation {
	const char *policy;
	const char *hook;
	const char *packet;  /* all that it is taken to be, on one line */
	const char *verdict; /* "accept", "drop", "reject" */
	int32_t rule;        /* that decides: number from 1, or WEIR_RULE_* */
	uint32_t mark;       /* afterwards */
	const struct weir_explained_rule *rules; /* in the order in which they were read; the deciding one last */
	size_t rule_count;
};

/*
 * Judges one packet by the model and says why. `packet` is a line as `weir log` prints it, or a part of that, or words
 * after it as "user=1000 vlan=5"; what is not said is plain. `policy` and `hook` as for weir_emit(). Lives with the
 * program. WEIR_INPUT: the description is wrong.
 */
int weir_explain(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
		 const char *packet, const struct weir_explanation **ret_explanation);

enum weir_diff_result { WEIR_DIFF_EQUIVALENT, WEIR_DIFF_DIFFERENT, WEIR_DIFF_NOT_KNOWN };

/* What one of the two says to the packet. */
struct weir_diff_side {
	const char *verdict; /* "accept", "drop", "reject" */
	int32_t rule;        /* that decides: number from 1, or WEIR_RULE_* */
	const char *file;    /* of the rule, or of the policy; NULL: nowhere */
	uint32_t line;       /* from 1; 0: nowhere */
	const char *text;    /* the rule as written, blanks folded to one; "" */
};

/* One kind of difference: all packets that these two rules decide. */
struct weir_difference {
	const char *policy;
	const char *hook;
	struct weir_diff_side old_side, new_side;
	const char *packet; /* one of them, as weir_explain() reads it */
	const char *given;  /* NULL, or what sets must hold for it: "the set `blocked` holds 192.0.2.1" */
};

struct weir_diff {
	enum weir_diff_result result; /* WEIR_DIFF_EQUIVALENT only if that is proven for all packets */
	const struct weir_difference *differences;
	size_t difference_count;
	const char *const *changes; /* sentences: policies and hooks that are only in one of the two */
	size_t change_count;
	const char *const *notes;   /* sentences: what was assumed */
	size_t note_count;
	const char *unknown;        /* why it is not known whether there are more differences; NULL: there are none */
};

/*
 * Which packets two programs treat differently. Policies are matched by name (`policy` NULL: all), or an expression
 * with the only policy of the other; they are compared at the hooks that both are at (`hook` NULL: all of them). Only
 * verdicts count, not counters, events and marks. Lives with `new_program`.
 */
int weir_diff(struct weir *weir, struct weir_program *old_program, struct weir_program *new_program,
	      const char *policy, const char *hook, const struct weir_diff **ret_diff);

struct weir_bench {
	double ns, min_ns, max_ns;                   /* a packet: median, least, most of the rounds */
	double empty_ns, empty_min_ns, empty_max_ns; /* of an empty program in the same run */
	size_t packets;
	unsigned rounds;
	double cached; /* part of the packets, 0 to 1, whose answer was kept from an earlier one (`cache =`) */
};

/*
 * Runs all packets of a capture in turn through one policy at one hook, `rounds` times (0: 7). The table of connections has
 * `flows` of them besides, which are copies of one that the packets open.
 */
int weir_bench(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
	       const char *capture, unsigned rounds, uint32_t flows, struct weir_bench *ret_bench);

/* --- applications ------------------------------------------------------------------------------------------------ */

/*
 * A filter that an application puts on its own sockets, usually without any privileges:
 *
 *     if (weir_filter_compile(weir, "src in { 10.0.0.0/8, ::1 }", &filter) == 0 &&
 *         weir_filter_attach(weir, filter, fd) == 0 && weir_filter_lock(weir, fd) == 0)
 *             bind(fd, ...), listen(fd, ...);
 *
 * Connections that a listening socket accepts inherit it. Attach before bind(), or let weir_listen() do all of it.
 */
struct weir_filter;

/* How a filter sits on its socket, the strongest first. */
enum weir_backend {
	WEIR_BACKEND_AUTO,      /* the first of these that works */
	WEIR_BACKEND_EBPF,      /* an eBPF program; loading it needs CAP_BPF */
	WEIR_BACKEND_PINNED,    /* one that root pinned with `weir load --hook socket --pin PATH` */
	WEIR_BACKEND_CBPF,      /* classic BPF; recent kernels want CAP_NET_ADMIN for TCP */
	WEIR_BACKEND_REUSEPORT, /* weir_listen() on TCP only: refused clients are steered to a decoy that never answers */
};

/* "auto", "ebpf", "pinned", "cbpf", "reuseport". Static. */
const char *weir_backend_name(enum weir_backend backend);

/* From an expression, or the text of one policy `on socket`. */
int weir_filter_compile(struct weir *weir, const char *text, struct weir_filter **ret_filter);

/* From a file. `policy` NULL: the only one. */
int weir_filter_compile_file(struct weir *weir, const char *path, const char *policy, struct weir_filter **ret_filter);

/*
 * Users have the last word: from $XDG_CONFIG_HOME/weir/APP.weir (~/.config if it is not set), else from
 * /etc/weir/apps/APP.weir, else from `text`, the application's own rules. No file and `text` NULL: *ret_filter is NULL.
 */
int weir_filter_for_app(struct weir *weir, const char *app, const char *text, struct weir_filter **ret_filter);

/* Only a pinned program, no rules. */
int weir_filter_pinned(struct weir *weir, const char *path, struct weir_filter **ret_filter);

/* Forces a backend. `pinned` (or NULL): the path of a program that does what the rules say, for WEIR_BACKEND_PINNED. */
int weir_filter_choose(struct weir *weir, struct weir_filter *filter, enum weir_backend backend, const char *pinned);

void weir_filter_free(struct weir_filter *filter);

/*
 * Puts the filter on a socket, replacing one that is there and not locked. What waits in the socket already is judged
 * too. WEIR_INPUT: not a socket, a connected one, or one that takes no filters (unix, MPTCP); WEIR_SYSTEM: no backend
 * works. Any number of sockets may have the same filter, and keep it when it is freed.
 */
int weir_filter_attach(struct weir *weir, struct weir_filter *filter, int fd);

/* The backend of the last success. */
enum weir_backend weir_filter_backend(const struct weir_filter *filter);

/* Makes the filter on the socket stay, and as it is, for as long as the socket. Not for WEIR_BACKEND_REUSEPORT. */
int weir_filter_lock(struct weir *weir, int fd);

/* Takes the filter off, unless it is locked. */
int weir_filter_detach(struct weir *weir, int fd);

struct weir_listen_options {
	size_t size;     /* sizeof(struct weir_listen_options) of the caller */
	int backlog;     /* 0: as long as the system allows */
	bool reuse_port; /* SO_REUSEPORT */
	bool freebind;   /* IP_FREEBIND: the address need not be there yet */
	bool no_lock;    /* do not lock the filter */
};

/*
 * A listening (or datagram) socket with the filter on it, and locked, before any packet can arrive. `address`:
 * "tcp:ADDR:PORT", "udp:...", "sctp:...", "unix:PATH"; IPv6 in brackets; "tcp:PORT" is every address, IPv6 and IPv4.
 * `filter` NULL: none; `options` NULL: none. The descriptor is closed on exec. With WEIR_BACKEND_REUSEPORT a process
 * that holds the decoy is forked; it ends with the listener.
 */
int weir_listen(struct weir *weir, const char *address, struct weir_filter *filter,
		const struct weir_listen_options *options, int *ret_fd);

/* Did the last call fail because there was no way to put a filter on a socket? */
bool weir_unfiltered(const struct weir *weir);

/* A command behind filters, by the socket activation protocol (sd_listen_fds(3)). */
struct weir_run;

struct weir_run_filter {
	const char *socket; /* its name; NULL: all sockets of the network without a filter of their own */
	struct weir_filter *filter;
};

struct weir_run_options {
	size_t size;                           /* sizeof(struct weir_run_options) of the caller */
	const char *const *listen;             /* "[NAME=]tcp:ADDR:PORT" and so on; see weir_listen() */
	size_t listen_count;
	const struct weir_run_filter *filters; /* used until weir_run_new() returns */
	size_t filter_count;
	const struct weir_listen_options *listening; /* NULL: none */
	struct weir_program *ingress, *egress; /* expressions for a cgroup of the command's own; NULL: none */
	const char *user, *group;              /* names or numbers; NULL: no change */
	bool drop_caps;                        /* no capabilities, and none to be gained by executing anything */
	unsigned accept;                       /* one process a connection on its standard input and output, at most so
						  many at once; 0: no */
	/*
	 * Events of the filters' rules with `log`, one call each, in a process of its own: its standard error is the
	 * caller's, and it ends when the command has. NULL: nobody is told.
	 */
	void (*log)(void *context, const struct weir_event *event);
	void *log_context;
};

/*
 * Makes all that the command will find: sockets that were passed to this process (LISTEN_FDS) come first, then those of
 * `listen`; filters, the cgroup, which this process enters. Nothing is started yet.
 */
int weir_run_new(struct weir *weir, const struct weir_run_options *options, struct weir_run **ret_run);

struct weir_run_socket {
	const char *name; /* "" if it has none */
	const char *address;
	int fd;
	enum weir_backend backend; /* WEIR_BACKEND_AUTO: no filter */
};

size_t weir_run_socket_count(const struct weir_run *run);
struct weir_run_socket weir_run_socket(const struct weir_run *run, size_t index);

enum { WEIR_RUN_FAILED = 125, WEIR_RUN_NOT_EXECUTABLE = 126, WEIR_RUN_NOT_FOUND = 127 };

/*
 * Becomes the command: returns only on failure, when the process may already be another user. With
 * `accept` it serves, and ends by the signal that ends it. argv ends with NULL. *ret_status: the exit status to end with.
 */
int weir_run_exec(struct weir *weir, struct weir_run *run, char *const *argv, int *ret_status);

/* Closes what was made; the cgroup goes. */
void weir_run_free(struct weir_run *run);

/* --- what this machine can do ------------------------------------------------------------------------------------ */

struct weir_feature {
	const char *name;
	bool there;
	const char *since; /* kernel version */
};

/* Lives with the context, until the next call. */
int weir_features(struct weir *weir, const struct weir_feature **ret_features, size_t *ret_count);

#ifdef __cplusplus
}
#endif

#endif
