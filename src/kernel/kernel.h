/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's side: objects in, links and pins out. The only user of libbpf. Knows nothing of rules; what it
 * installs is described in `struct install`. Protocol, pins and crash safety: docs/architecture.md, "One store
 * commits".
 *
 * Functions return 0 or -errno and queue a sentence (without a source place) that says what to do. Not thread safe;
 * processes exclude each other with the store's lock.
 */
#ifndef WEIR_KERNEL_KERNEL_H
#define WEIR_KERNEL_KERNEL_H

#include "base/diag.h"
#include "base/u128.h"
#include "bpf/cache_abi.h"
#include "bpf/flow_abi.h"
#include "bpf/knock_abi.h"
#include "bpf/lineage_abi.h"
#include "bpf/note_abi.h"
#include "bpf/plane_abi.h"
#include "bpf/table_abi.h"
#include "packet/field.h"
#include "packet/hook.h"

#define KERNEL_ROOT "/sys/fs/bpf/weir"

struct kernel;

enum kernel_access {
	KERNEL_READ,  /* list, show, log: shares the lock, changes nothing */
	KERNEL_WRITE, /* apply, delete, set: owns the lock, and first finishes or undoes what a killed command left */
	KERNEL_TEST,  /* load only (test, bench, load): no lock, no bpffs */
};

/*
 * Opens the store; KERNEL_WRITE mounts bpffs and makes the folder if it may, and waits for the lock. WEIR_BPFFS
 * in the environment names a mounted bpffs to use instead of /sys/fs/bpf (for tests).
 */
int kernel_open(enum kernel_access access, struct diags *diags, struct kernel **ret_kernel);
void kernel_close(struct kernel *kernel);

/* Where a named set's elements come from when its policy is installed over an earlier one. */
enum set_filling {
	SET_FROM_TEXT, /* `elements`, and what was added to the set in force at run time */
	SET_AS_GIVEN,  /* `elements` alone, as if added at run time */
	SET_AS_IT_IS,  /* what the set in force holds; `elements` if it is new there */
};

/* Elements of a set; see struct plan_set, which this mirrors. */
struct install_set {
	const char *map;       /* map name in the classifier objects */
	const char *name;      /* run-time name, or NULL for a rule's constants */
	uint8_t key;           /* 0: IPv4, 1: IPv6, 2: other */
	bool lpm;
	bool shared;           /* one map for every policy that has this name */
	bool timed;            /* elements may expire */
	uint32_t index;        /* of the named set: what steps and the plane's maps of sets call it by */
	enum set_filling filling;
	uint32_t max_elements;
	const struct range *elements;
	const uint32_t *timeouts; /* milliseconds, for each range; 0: never; NULL: none expires */
	size_t count;
	uint64_t bytes;        /* as in install_state */
};

/* A map of what packets change: it outlives its policy's programs (kernel/statemap.h). */
struct install_state {
	const char *map;   /* its name in the objects; begins with "state_" */
	const char *name;  /* what it is: a state of the same name and layout in the policy in force is taken over */
	uint32_t layout;   /* another number whenever a key or value means something else */
	uint32_t max_elements;
	bool shared;       /* one map for all policies that share this name */
	uint64_t bytes;    /* what it and those that come with it will take, for a sentence if that is not there; 0: little */
};

/* One place to attach to. */
struct install_hook {
	enum hook hook;
	const char *target;    /* interface name or glob (expanded here), or cgroup path; NULL at netfilter */
	int32_t priority;      /* netfilter; INT32_MIN: the default */
	int xdp_mode;          /* enum xdp_mode */
	bool optional;         /* a missing interface is a warning */
	bool no_reject;        /* no rule rejects: plane_config.no_reject */
	bool track;            /* sees connections, judges nothing: flow_config.track */
	bool record;           /* of a cgroup: notes who makes and binds sockets, judges nothing; no classifier */
	const void *classifier; /* object from emit/ */
	size_t classifier_size;
	const struct table_config *table; /* the classifier has a table (bpf/table_abi.h): its constants, or NULL */
	const void *table_words; /* and its blob */
	size_t table_size;     /* in bytes */
	size_t step_room;      /* steps to be kept free behind `steps` */
	field_mask needed;     /* plane_config.needed */
	const struct cache_config *cache; /* the answers that are kept */
	uint32_t cache_chunks; /* 0: none */
	uint32_t tuned;        /* bits of struct packet's `tuned` that the classifier looks at */
	const struct step *steps; /* each hook has its own steps */
	size_t step_count;
	const struct install_set *sets; /* constants of this hook's rules (no name); looked up before install.sets */
	size_t set_count;
};

/* One policy to be in force. All borrowed. */
struct install {
	const char *policy;
	const struct install_hook *hooks;
	size_t hook_count;
	const struct install_set *sets;
	size_t set_count;
	const struct install_state *states;
	size_t state_count;
	uint32_t slots;
	const struct log_limit *logs;
	size_t log_count;
	uint32_t log_room; /* so many more may come */
	uint32_t captures_size; /* bytes of the ring of captures; 0: no rule captures */
	const struct rate_limit *rates;
	size_t rate_count;
	bool malformed_accept;
	bool observe; /* plane_config.observe */
	uint8_t levels[3];
	uint8_t level_count;
	struct plane_knocks knocks; /* count 0: none */
	struct plane_programs programs;
	struct plane_programs roots; /* if there is the state LINEAGE_MAP */
	struct plane_comparisons comparisons; /* of all hooks */
	struct plane_tunables tunables;
	uint32_t tunable_count; /* 0: no map of them is kept */
	uint64_t flow_timeout_ns[FLOW_TIMEOUT_COUNT];
	const void *source;    /* blob for `show` and rollback; opaque here */
	size_t source_size;
	const void *meta;      /* blob (JSON) that the API writes and reads */
	size_t meta_size;
	const void *frame;     /* blob for changes of single rules; NULL: they cannot be made in place */
	size_t frame_size;
	const void *index;     /* with a frame: one more blob */
	size_t index_size;
	const int32_t *carry; /* for each slot: the slot of the policy in force whose count it takes over, or
				 -1; NULL: none */
};

enum { APPLY_DRY_RUN = 1, APPLY_RESET_SETS = 2 };

/*
 * Makes the policies of `installs` be in force and those named in `removals` gone, all in one step that a kill
 * cannot halve. On failure everything is as it was.
 */
int kernel_apply(struct kernel *kernel, const struct install *installs, size_t install_count,
		 const char *const *removals, size_t removal_count, unsigned flags, struct diags *diags);

/* --- what is in force ------------------------------------------------------------------------------------------ */

struct policy_hook {
	enum hook hook;
	const char *target;
	const char *how;  /* "native", "generic", "tcx", "clsact", "link": for `weir list` */
	bool attached;    /* false: the device or cgroup is gone, or somebody detached it */
	uint64_t cached;  /* packets whose answer was kept from an earlier one */
};

struct policy_state {
	const char *policy;
	const struct policy_hook *hooks;
	size_t hook_count;
	const struct counter *counters; /* summed over CPUs, what was carried over included */
	uint32_t slots;
	uint64_t events_lost;
	uint64_t captures_lost;
	uint64_t loaded_ns;  /* CLOCK_REALTIME of the apply */
	const void *source;
	size_t source_size;
	const void *meta;
	size_t meta_size;
	const struct plane_tunables *tunables; /* NULL: none */
	const void *edits;   /* what kernel_rules_commit() was given since, one struct rules_edit after the other */
	size_t edits_size;
	bool unfollowed; /* it asks for trees of processes, and nothing follows them any more */
};

/* Names of all policies in force, sorted; in the arena. */
int kernel_policies(struct kernel *kernel, struct arena *arena, struct diags *diags, const char *const **ret_names,
		    size_t *ret_count);

/* One of them; -ENOENT. In the arena. */
int kernel_policy(struct kernel *kernel, struct arena *arena, const char *policy, struct diags *diags,
		  struct policy_state *ret_state);

/* One blob of a policy (`source`, `meta`, `index`) as it was installed, mapped; what was changed since is not in it. */
struct kernel_blob {
	const void *data;
	size_t size;
};
/* The kernel is open for writing. */
int kernel_blob_map(struct kernel *kernel, const char *policy, const char *name, struct diags *diags,
		    struct kernel_blob *ret_blob);
void kernel_blob_unmap(struct kernel_blob *blob);

/* What a policy remembers of packets: one of its state maps. */
struct kernel_state_size {
	char name[64];
	uint64_t elements;
	uint64_t most;
	uint64_t memory; /* bytes, as the kernel counts them; 0: it does not say */
};

/* How full they are; `ret_sizes` has room for KERNEL_STATES_MAX. Each element is visited. */
enum { KERNEL_STATES_MAX = 16 };
int kernel_state_sizes(struct kernel *kernel, const char *policy, struct diags *diags,
		       struct kernel_state_size *ret_sizes, size_t *ret_count);

/* All elements of one of them, which is a hash; there is none of that name: none. Keys and values, malloc()ed. */
struct kernel_state {
	char *keys, *values;
	size_t count;
	size_t key_size, value_size; /* as the caller knows them */
};
int kernel_state_read(struct kernel *kernel, const char *policy, const char *name, struct diags *diags,
		      struct kernel_state *state);
void kernel_state_free(struct kernel_state *state);

/* How the present value of a tunable was written when it was given, or NULL: as in the policy's text. */
const struct tunable_form *tunable_form(const struct plane_tunables *tunables, uint32_t index);

/* --- what is loaded, read back: loaded.c ------------------------------------------------------------------------- */

/* What one hook of the policy has, whatever was installed. */
struct loaded_hook {
	bool there;
	void *words;  /* of its table (bpf/table_abi.h), and struct table_config; NULL: it has none */
	void *config;
	size_t word_count;
	void *steps, *logs, *rates; /* struct step, struct log_limit, struct rate_limit, room behind them included */
	size_t step_count, log_count, rate_count;
};

/* Of one policy, with its state as kernel_policy() says it, at one moment. -ENOENT. Free with kernel_loaded_free(). */
struct kernel_loaded;
int kernel_loaded_read(struct kernel *kernel, struct arena *arena, const char *policy, struct diags *diags,
		       struct policy_state *ret_state, struct kernel_loaded **ret_loaded);
void kernel_loaded_free(struct kernel_loaded *loaded);
size_t kernel_loaded_hooks(const struct kernel_loaded *loaded);
/* By index of the install's; NULL: it is attached nowhere. */
const struct loaded_hook *kernel_loaded_hook(const struct kernel_loaded *loaded, size_t index);
uint64_t kernel_loaded_epoch(const struct kernel_loaded *loaded);
uint32_t kernel_loaded_slots(const struct kernel_loaded *loaded);
/*
 * Whether the programs of the hook of that index are attached and are those that the install loads: loads them once more, on
 * the maps that there are, to compare. *ret_reason NULL: they are; else what one of them is instead, at *ret_target.
 */
int kernel_loaded_check(struct kernel_loaded *loaded, const struct install *install, size_t index, struct diags *diags,
			const char **ret_reason, const char **ret_target);

/* Gives a tunable of a policy another value, by one store for all of its programs. `text` is shorter than TUNABLE_TEXT. */
struct kernel_tuning {
	uint32_t index;
	uint64_t value;
	const char *text;
};
int kernel_tune(struct kernel *kernel, const char *policy, const struct kernel_tuning *tuning, struct diags *diags);

/* Counters start from zero again, without losing a packet. */
int kernel_counters_reset(struct kernel *kernel, const char *policy, struct diags *diags);

/* --- single rules of tables, in place ---------------------------------------------------------------------------- */

/* How the edits of a policy are kept: this, then `size` bytes, then up to 7 of nothing. */
struct rules_edit {
	uint64_t since; /* the epoch from which on it is in force */
	uint32_t size;
	uint32_t reserved;
};

/* The edit behind `edit` (NULL: the first one) in `size` bytes, or NULL. */
const struct rules_edit *rules_edit_next(const void *edits, size_t size, const struct rules_edit *edit);

/* One hook's table (bpf/table_abi.h), mapped; only kernel_rules_commit() writes. */
struct rules_table {
	const uint64_t *words;
	size_t count;
};

/* A policy whose rules can be changed in place. */
struct kernel_rules;
struct rules_state {
	const struct rules_table *tables; /* by hook */
	size_t table_count;
	const void *edits; /* in force */
	size_t edits_size, edits_room; /* and so many bytes more may come */
	const void *frame; /* as installed */
	size_t frame_size;
	uint32_t slots;
	uint32_t logs;     /* there is room for */
	uint64_t epoch;    /* a change will be in force from the next one on */
};

/* What a change adds to one hook's table. */
struct rules_version {
	const uint64_t *words; /* of start .. end */
	uint32_t start, end;
	uint32_t index;        /* of the struct table_version among them */
	const struct step *steps;
	uint32_t steps_start, step_count;
};

/* A log statement that comes. */
struct rules_log {
	uint32_t index;
	struct log_limit limit;
};

/* A change of all of a policy's tables, and the edit that it comes from. */
struct rules_change {
	const struct rules_version *versions; /* one a table */
	const void *edit;
	size_t edit_size;
	const struct rules_log *logs;
	size_t log_count;
};

/* -ENOENT without a diagnostic: no such policy, -EOPNOTSUPP: not in place. Close before anything else is done with the policy. */
int kernel_rules_open(struct kernel *kernel, const char *policy, struct diags *diags, struct kernel_rules **ret_rules);
const struct rules_state *kernel_rules_state(const struct kernel_rules *rules);
/* Whether all of the policy's programs are where they were attached. */
bool kernel_rules_attached(struct kernel_rules *rules);
/*
 * Whether each of the sets, as far as rules look at it, holds what putting the policy in force anew would leave it: all of its
 * elements, none with a timeout that would begin again, whatever was added at run time.
 */
bool kernel_rules_sets_stay(struct kernel_rules *rules, const struct install_set *sets, size_t count);
/* Waits until no packet meets any version but the newest. */
int kernel_rules_settle(struct kernel_rules *rules, struct diags *diags);
/* Puts the versions in force in one step, and keeps the edit. On failure nothing has changed. */
int kernel_rules_commit(struct kernel_rules *rules, const struct rules_change *change, struct diags *diags);
void kernel_rules_close(struct kernel_rules *rules);

/* --- run-time sets --------------------------------------------------------------------------------------------- */

enum set_change { SET_ADD, SET_DELETE, SET_REPLACE, SET_FLUSH };

/* `sets` has one entry for each family that the change touches (name, key, lpm, elements, timeouts are used). */
int kernel_set_change(struct kernel *kernel, const char *policy, enum set_change change,
		      const struct install_set *sets, size_t count, struct diags *diags);

struct set_element {
	uint8_t key;       /* as in install_set */
	u128 lo;
	uint8_t prefix;    /* LPM: length */
	uint8_t origin;    /* enum set_origin */
	uint32_t left_ms;  /* until it expires; 0: it does not */
};

struct set_listing {
	const struct set_element *elements;
	size_t count;
	uint64_t memory[3]; /* bytes of the map for each key, as the kernel counts them; 0: it does not say */
};
int kernel_set_list(struct kernel *kernel, struct arena *arena, const char *policy, const char *set,
		    struct diags *diags, struct set_listing *ret_listing);

/* Whether a packet with that value would find it in the set: 1 or 0. */
int kernel_set_test(struct kernel *kernel, const char *policy, const char *set, uint8_t key, u128 value,
		    struct diags *diags);

/* How many changes packets could not make in the named set of that index since the policy was loaded; 0 if none can. */
int kernel_set_refused(struct kernel *kernel, const char *policy, uint32_t index, struct diags *diags,
		       uint64_t *ret_count);

/* --- connections: flows.c --------------------------------------------------------------------------------------- */

struct kernel_flow {
	struct flow_key key;
	struct flow flow;
};

struct kernel_flows {
	struct kernel_flow *items; /* that have not run out */
	size_t count;
	struct flow_counts counts;
	uint32_t max;
	uint64_t memory; /* bytes, of both tables */
	uint64_t now_ns; /* by the clock of `expires_ns` */
};

enum {
	FLOWS_ENTRIES = 1, /* `items` too */
	FLOWS_IF_ANY = 2,  /* a policy without connections is -ENODATA without a word */
};

/* Free with kernel_flows_free(). -ENOENT: no such policy; -ENODATA: it has no connections. */
int kernel_flows_read(struct kernel *kernel, const char *policy, unsigned what, struct diags *diags,
		      struct kernel_flows *ret_flows);
void kernel_flows_free(struct kernel_flows *flows);
int kernel_flows_delete(struct kernel *kernel, const char *policy, const struct flow_key *keys, size_t count,
			struct diags *diags);

/* --- events ----------------------------------------------------------------------------------------------------- */

struct kernel_events;

/* Where a program that no policy in force has writes its events: descriptors of maps, the caller's. */
struct event_source {
	int ring, status;
	const char *name;    /* of what the events are said to be of */
};
#define NO_EVENT_SOURCE ((struct event_source){ -1, -1, NULL })

/* Events of these alone. Takes the descriptors; needs no privileges. */
int kernel_events_of(const struct event_source *sources, size_t count, struct kernel_events **ret_events);
/* What `generation` says in events of the source of that index. */
uint32_t kernel_events_generation(const struct kernel_events *events, size_t index);

/* Events of the named policy, or of all (NULL). Follows replacements of the policy. */
int kernel_events_open(struct kernel *kernel, const char *policy, struct diags *diags,
		       struct kernel_events **ret_events);
/* Where an event comes from. */
struct event_origin {
	const char *policy;  /* lives as long as the reader */
	uint32_t generation; /* differs after the policy was replaced */
	const void *edits;   /* of its rules (struct rules_edit), in force by now; valid until the next call */
	size_t edits_size;
};
/* Waits up to timeout_ms (-1: for ever). 1 and an event, 0 at the timeout or after a signal, -errno. */
int kernel_events_next(struct kernel_events *events, int timeout_ms, struct event *ret_event,
		       struct event_origin *ret_origin);
uint64_t kernel_events_lost(struct kernel_events *events);

/*
 * The same for packets that `capture` copied, closed likewise. -ENOENT if the policy (NULL: every policy) has no rule that
 * does. A captured event's data goes on to `captured` bytes; it is valid until the next call.
 */
int kernel_captures_open(struct kernel *kernel, const char *policy, struct diags *diags,
			 struct kernel_events **ret_captures);
int kernel_captures_next(struct kernel_events *captures, int timeout_ms, const struct event **ret_event,
			 struct event_origin *ret_origin);
void kernel_events_close(struct kernel_events *events);

/* --- without attaching ------------------------------------------------------------------------------------------ */

/* Loads one hook's program and pins it at `path`, for others to attach; a socket's for every user (mode 0644). */
int kernel_pin(struct kernel *kernel, const struct install *install, const char *path, struct diags *diags);

/*
 * A program for HOOK_SOCKET, to be attached by SO_ATTACH_BPF: loaded from `install`, which has that one hook, or opened where
 * kernel_pin() put it, which needs no privileges. The caller closes the descriptor; sockets keep the program.
 */
int kernel_socket_load(struct kernel *kernel, const struct install *install, struct diags *diags, int *ret_prog,
		       struct event_source *ret_source);
int kernel_socket_open(struct kernel *kernel, const char *path, struct diags *diags, int *ret_prog);

/* Attaches a program (kernel_socket_load() loads those too) to a cgroup for as long as that exists. */
int kernel_cgroup_attach(struct kernel *kernel, int cgroup, enum hook hook, int prog, struct diags *diags);

/* A loaded, unattached program for BPF_PROG_TEST_RUN. `install` has one hook. */
struct kernel_tester;
int kernel_tester_new(struct kernel *kernel, const struct install *install, struct diags *diags,
		      struct kernel_tester **ret_tester);
void kernel_tester_free(struct kernel_tester *tester);

/*
 * Judges one frame (Ethernet header first, also for hooks that see only IP). -EOPNOTSUPP: the kernel's test run
 * refuses frames of this size at this hook, and no stand-in could take it.
 */
int kernel_tester_run(struct kernel_tester *tester, const void *frame, size_t length,
		      struct plane_trace *ret_trace);
/* Where a tester's clock begins: elements of sets that have timeouts live from then on. */
#define KERNEL_TESTER_START_NS 1000000000ull
/* The time from now on, by the clock of rules with memory (plane_now()); it does not go on by itself. */
int kernel_tester_clock(struct kernel_tester *tester, uint64_t now_ns);
/* All counters of the tester's program so far. */
int kernel_tester_counters(struct kernel_tester *tester, struct counter *ret_counters, uint32_t slots);
/* Packets so far that its program answered from its cache; 0, too, if it has none. */
int kernel_tester_hits(const struct kernel_tester *tester, uint64_t *ret_hits);

struct bench_result {
	double ns, empty_ns; /* median a packet: this program, an empty one, same run */
	double min_ns, max_ns;
	double empty_min_ns, empty_max_ns;
	unsigned rounds;
	size_t packets;      /* different ones, in turn */
	double cached;       /* part of them, 0 to 1, that the cache of answers answered */
};
struct bench_frame { const void *data; size_t length; };
/* `flows`: so many connections are in the table besides. */
int kernel_bench(struct kernel *kernel, const struct install *install, const struct bench_frame *frames, size_t count,
		 unsigned rounds, uint32_t flows, struct diags *diags, struct bench_result *ret_result);

/* --- what this kernel can do ------------------------------------------------------------------------------------ */

struct kernel_feature {
	const char *name;   /* "tcx", "netfilter link", ... */
	bool there;
	const char *since;  /* kernel version that brought it */
};
int kernel_features(struct kernel *kernel, struct arena *arena, const struct kernel_feature **ret_features,
		    size_t *ret_count);

#endif
