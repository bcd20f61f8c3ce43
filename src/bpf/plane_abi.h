/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the data planes (BPF C), the emitted classifier and user space agree on: answers, steps, counters,
 * events, configuration, set elements. Fixed widths, host byte order unless said. Included from BPF C and from
 * user space.
 */
#ifndef WEIR_BPF_PLANE_ABI_H
#define WEIR_BPF_PLANE_ABI_H

#include <linux/types.h>

/*
 * int classify(struct packet *packet): the emitted function. Its answer:
 *   bits 0-1  verdict (enum answer_verdict)
 *   bit  2    ANSWER_STEPS: the rest is the index of the first of a run of steps to take, which end the judging
 *   bits 3-31 without ANSWER_STEPS: the counter slot of what decided
 * An answer outside the configured bounds is a bug: the plane drops the packet.
 */
enum answer_verdict { ANSWER_ACCEPT = 0, ANSWER_DROP = 1, ANSWER_REJECT = 2 };
#define ANSWER_STEPS 4u
#define ANSWER_SHIFT 3
#define ANSWER(verdict, slot) ((__u32)(slot) << ANSWER_SHIFT | (verdict))
#define ANSWER_RUN(first_step) ((__u32)(first_step) << ANSWER_SHIFT | ANSWER_STEPS)

/* Counter slots: these, then rule number n at SLOT_RULE(n), then the named counters. */
enum { SLOT_DEFAULT = 0, SLOT_MALFORMED = 1, SLOT_NON_IP = 2, SLOT_RULES = 3 };
#define SLOT_RULE(number) (SLOT_RULES - 1 + (number))

struct counter {
	__u64 packets; /* a GRO packet counts its segments */
	__u64 bytes;   /* from the IP header on at hooks without frames, else whole frames */
};

/*
 * An element of map `counters` is a chunk of 2^config.chunk_bits of them: the map's own pointers to chunks stay in the
 * first-level cache, which those to single counters do not.
 */
enum { COUNTER_CHUNK_BITS_MAX = 11 }; /* 32 KiB: the most that a CPU can have as one value */

/* A run of steps: what a packet meets that does more than be counted once. */
enum step_kind {
	STEP_COUNT = 1,   /* slot */
	STEP_LOG = 2,     /* slot: the rule's; a: index of the log statement, b: verdict the rule ends in, or LOG_ONLY */
	STEP_MARK = 3,    /* a: value, b: mask */
	STEP_VERDICT = 4, /* slot: counted; a: enum answer_verdict. Ends the run. */
	STEP_RESUME = 5,  /* a: value for packet.resume; classify() is called again. Ends the run. */
	STEP_RATE = 24,   /* slot: the rule's; a: index in RATES_MAP, b: the step to go on at if there is no token */
	STEP_THROTTLE = 25, /* slot: the rule's; a: index in RATES_MAP. What is over is delayed, or dropped: that ends the run */

	STEP_ADD = 16,     /* slot: index of a named set; a: enum field: the element; b: milliseconds, 0: until removed */
	STEP_REMOVE = 17,  /* slot, a: likewise */
	STEP_KNOCK = 28,  /* a: STEP_OF_KNOCK() (bpf/knock_abi.h): the packet takes that step when it has been judged */
	STEP_CAPTURE = 32, /* slot: the rule's; a: bytes of a packet at most, or 0; b: as in STEP_LOG */
};
#define LOG_ONLY 0xffffffffu

struct step {
	__u32 kind;
	__u32 slot;
	__u32 a;
	__u32 b;
};

enum { STEPS_MAX = 4096 }; /* steps that one packet may take; beyond it is dropped and counted as malformed */

/*
 * STEP_ADD and STEP_REMOVE take effect when the packet is decided, in their order: every rule sees the sets that the
 * packet came to. More of them than this are refused, as are additions to a full set.
 */
enum { CHANGES_MAX = 8 };

/* Most elements of a set that packets add to: expired ones are found by looking at all, which must not take long. */
enum { SET_CHANGED_MAX = 65536 };

/* Map `changes`: an element for each named set. */
struct set_changes {
	__u64 refused;  /* changes that could not be made */
	__u64 swept_ns; /* when expired elements were last looked for, */
	__u64 swept;    /* and among how many */
};

/* One log statement: its limit, and the limit's state. Array map `logs`, index as in STEP_LOG. */
struct log_limit {
	__u64 period_ns; /* 0: no limit */
	__u64 burst_ns;  /* period_ns * burst */
	__u64 next_ns;   /* virtual time of the token bucket (GCRA); updated by the plane */
	__u64 suppressed; /* events not sent because of the limit */
};

/* What has a token bucket of its own. */
enum bucket_key { BUCKET_ONE, BUCKET_SRC, BUCKET_DST, BUCKET_FLOW, BUCKET_USER };

/*
 * One rate: what a token costs, and the bucket if there is but one (next_ns as in struct log_limit). Map RATES_MAP, index as in
 * STEP_RATE. A packet that costs more than the burst passes if the bucket holds that.
 */
struct rate_limit {
	__u64 period;   /* of one unit, in 1/1024 ns */
	__u64 burst_ns; /* what a bucket is worth that was not used for long, */
	__u64 reserve_ns; /* and at most while it is in use: at least as much */
	__u64 next_ns;  /* BUCKET_ONE */
	__u8 key;       /* enum bucket_key */
	__u8 bytes;     /* units are bytes, else packets, as counters count them */
	__u8 fine;      /* the bucket fills in less than RATE_COARSE_NS: the coarse clock would not do */
	__u8 bits4;     /* SRC, DST: prefix lengths of one bucket; of IPv6 at most 64 */
	__u8 bits6;
	__u8 reserved[3];
};
#define RATE_SHIFT 10
#define RATES_MAP "state_rates"
#define BUCKETS_MAP "state_buckets"
#define FLOW_BUCKETS_MAP "state_flow_buckets"
enum { RATE_COARSE_NS = 20000000 }; /* two ticks of the slowest clock that kernels are built with */
enum { PACE_HORIZON_NS = 2000000000 }; /* what would be delayed by more is dropped */
enum { RATE_SEGMENTS_MAX = 1024 };  /* a packet costs no more tokens than that */

/* Keys of BUCKETS_MAP (SRC, DST, USER) and FLOW_BUCKETS_MAP (FLOW); values are struct bucket. */
struct bucket_of {
	__u64 value;  /* address or its upper half, within the prefix; user */
	__u32 rate;   /* index */
	__u32 family; /* enum packet_family */
};

struct bucket_of_flow {
	__u64 src[2]; /* as in struct packet */
	__u64 dst[2];
	__u16 src_port; /* 0: none */
	__u16 dst_port;
	__u16 proto;    /* and from bit 12 on, enum packet_family */
	__u16 rate;
};

struct bucket {
	__u64 next_ns;
};

enum { EVENT_BYTES = 128, COMMAND_BYTES = 16 };

enum { CAPTURE_BYTES_MAX = 65535 }; /* of one packet */

/*
 * A ring-buffer record of map `events`. Those of map `captures` have the same head, and as many of the packet's bytes
 * as the rule asks for in `data`, which goes on behind this structure.
 */
struct event {
	__u64 time_ns;   /* CLOCK_BOOTTIME */
	__u32 rule;      /* number */
	__u32 log;       /* index of the log statement; in `captures`: number of the record, modulo 2^32 */
	__u32 verdict;   /* enum answer_verdict, or LOG_ONLY: judging went on */
	__u32 hook;      /* enum hook */
	__u32 in_iface;
	__u32 out_iface;
	__u32 user;      /* ABSENT_OWNER: unknown */
	__u32 mark;
	__u32 length;    /* of the packet as the hook saw it, in bytes */
	__u16 captured;  /* bytes in `data` */
	__u8 frame;      /* 1: data begins with the link-layer header, 0: with the IP header */
	__u8 reserved;
	__u32 pid;       /* of the process, as far as the hook knows it; 0: unknown, as is what follows */
	__u32 group;
	__u64 cgroup;    /* id of the process's own */
	__u64 program;   /* inode of its executable, */
	__u32 device;    /* the file system's device, as the kernel encodes it, */
	__u32 generation; /* and the inode's generation */
	char command[COMMAND_BYTES]; /* its name, NUL-terminated unless as long as that */
	__u8 data[EVENT_BYTES];
};

/* Map `status`: one element. */
struct plane_status {
	__u64 events_lost; /* the ring buffer was full */
	__u64 captures_lost; /* and that of captures */
	__u64 captures;      /* records written to it so far */
};

/* Set before load (`const volatile struct plane_config config`, map MAP_CONFIG). */
struct plane_config {
	__u64 since;         /* the program judges from this epoch on; before it, its predecessor does */
	__u64 needed;        /* bit f: the classifier looks at enum field f */
	__u32 hook;          /* enum hook */
	__u32 slots;         /* counter slots */
	__u32 steps;         /* steps in map `steps` */
	__u8 malformed_accept;
	__u8 trace;          /* a test run: the last packet's answer goes to map `trace`; no interface, mark or owner */
	__u8 levels[3];      /* cgroup ancestor levels behind packet.cgroup[] */
	__u8 level_count;
	__u8 bare;           /* TC: the device has no link-layer header (tun, WireGuard): packets begin with the IP header */
	__u8 no_reject;      /* the classifier never answers ANSWER_REJECT: what would answer packets may be left out */
	__u8 captures;       /* some step is STEP_CAPTURE: else what would copy packets may be left out */
	__u8 rated;          /* bit k: some rate has key k, of enum bucket_key */
	__u8 paces;          /* TC egress: the device sends packets when their time has come (fq), so they can be delayed */
	__u8 observe;        /* whatever the answer, packets go on */
	__u8 notes;          /* calls note who a socket belongs to (bpf/note_abi.h): else there is no such map */
	__u8 chunk_bits;     /* of counters; 0: each for itself */
	__u8 trees;          /* a rule asks from what a socket's owner descends (bpf/lineage.h): else there are no such maps */
	__u8 plain;          /* the kernel has no bpf_rdonly_cast(): its structures are copied from */
	__u32 sets;          /* named sets in maps `sets_*`, `tries_*`; 0: no set has timeouts, no step changes one */
	__u16 call;          /* connect, bind: enum bpf_attach_type that the program is loaded for */
	__u16 reserved2;
};

/*
 * What the plane compares with tunables before it calls classify() (MAP_TUNED, set before load): bit `bit` of
 * struct packet's `tuned` says whether the field, which is (words[word] >> shift) & mask of the structure, is no more than
 * `max` (so it is there) and lies to the tunable's value as `relation` says. In the order of tunables.
 */
struct plane_comparison {
	__u64 mask;
	__u64 max;
	__u8 word;
	__u8 shift;
	__u8 relation; /* 1 below, 2 equal, 4 above: any of them */
	__u8 tunable;
	__u8 bit;
	__u8 reserved[3];
};
enum { PLANE_TUNABLES = 16, PLANE_COMPARISONS = 32, TUNABLE_TEXT = 40 };
struct plane_comparisons {
	__u32 count;
	__u32 reserved;
	struct plane_comparison items[PLANE_COMPARISONS];
};
#define MAP_TUNED ".rodata.tuned"

/*
 * Map MAP_TUNABLES, one element, memory-mapped by user space; shared by all hooks of a policy. A value is changed by one
 * store. `forms` are for user space: how the present value and another one were written; that of the present value counts.
 */
struct plane_tunables {
	__u64 values[PLANE_TUNABLES];
	struct tunable_form {
		__u64 value;
		char text[TUNABLE_TEXT]; /* NUL-terminated; empty: none */
	} forms[PLANE_TUNABLES][2];
};
#define MAP_TUNABLES ".data.tunables"

/* Map MAP_CONTROL, one element, memory-mapped by user space; one a policy's program generation. */
struct plane_control {
	__u64 until; /* from this epoch on the program abstains: it passes every packet on. ~0: never */
};

/* Map `trace`, one element, only used if config.trace. */
struct plane_trace {
	__u32 verdict; /* enum answer_verdict */
	__u32 slot;    /* of what decided */
	__u64 runs;    /* packets judged so far */
	__u64 now_ns;  /* set by the test: the time, for all that remembers packets */
};

/*
 * The maps every data plane object has, by name. The first three are data sections, read without a lookup;
 * libbpf names their maps as the sections.
 *   MAP_EPOCH    array, 1 x __u64, BPF_F_MMAPABLE: shared by all of weir's programs
 *   MAP_CONTROL  array, 1 x struct plane_control, BPF_F_MMAPABLE; its initial value says "never"
 *   MAP_CONFIG   array, 1 x struct plane_config: constants, to be set before load
 *   MAP_TUNABLES  array, 1 x struct plane_tunables, BPF_F_MMAPABLE
 *   counters  per-CPU array of chunks of struct counter, for config.slots; shared by all hooks of a policy
 *   steps     array of struct step
 *   logs      array of struct log_limit
 *   events    ring buffer of struct event; shared by all hooks of a policy
 *   captures  ring buffer of captured packets: struct event, going on; shared by all hooks of a policy
 *   status    array, 1 x struct plane_status
 *   trace     array, 1 x struct plane_trace
 *   state_*   what a policy remembers of packets (kernel/statemap.h); not created where no rule needs them
 *     RATES_MAP    array of struct rate_limit
 *     BUCKETS_MAP, FLOW_BUCKETS_MAP  LRU hashes of struct bucket, by struct bucket_of and struct bucket_of_flow
 *   changes   array of struct set_changes, by index of named set; shared by all hooks of a policy
 *   sets_4, sets_6, sets_v, tries_4, tries_6
 *             arrays of the named sets' maps, by index of the set: one for each kind of key
 *   before    program array, 1: the predecessor, called while epoch < config.since
 *   after     program array, 1 (XDP only): the next policy on this device, called instead of passing
 *
 * Sets are maps of the classifier object, named by the plan. Keys, in host byte order as in struct packet:
 *   hash, IPv4 address: __u32; IPv6 address: two __u64, most significant first; others: __u64
 *   LPM, IPv4: struct prefix4_key; IPv6: struct prefix6_key, whose address is in network byte order
 */
#define MAP_EPOCH ".data.epoch"
#define MAP_CONTROL ".data.control"
#define MAP_CONFIG ".rodata.config"

struct prefix4_key {
	__u32 length;
	__u8 address[4];
};

struct prefix6_key {
	__u32 length;
	__u8 address[16];
};

/*
 * An element is one until it expires: from then on it is none, whoever takes it out of the map later. Sets that can have
 * timeouts say so before load, and generated code asks int element_lives(struct set_value *, struct packet *, set
 * index, enum field, or FIELD_COUNT for a hash) about what it finds in one; the plane has the clock.
 */
struct set_value {
	__u64 expires_ns; /* CLOCK_MONOTONIC; 0: never */
	__u32 origin;     /* enum set_origin */
	__u32 reserved;   /* LPM: this element's length, so that a lookup shows which one it found */
};

enum set_origin { ORIGIN_FILE = 0, ORIGIN_RUN_TIME = 1, ORIGIN_PACKET = 2 };

_Static_assert(sizeof(struct counter) == 16, "ABI");
_Static_assert(sizeof(struct step) == 16, "ABI");
_Static_assert(sizeof(struct log_limit) == 32, "ABI");
_Static_assert(sizeof(struct event) == 96 + EVENT_BYTES, "ABI");
_Static_assert(sizeof(struct plane_config) == 56, "ABI");
_Static_assert(sizeof(struct plane_trace) == 24, "ABI");
_Static_assert(sizeof(struct rate_limit) == 40, "ABI");
_Static_assert(sizeof(struct bucket_of) == 16, "ABI");
_Static_assert(sizeof(struct bucket_of_flow) == 40, "ABI");
_Static_assert(sizeof(struct set_changes) == 24, "ABI");
_Static_assert(sizeof(struct set_value) == 16, "ABI");
_Static_assert(sizeof(struct plane_comparison) == 24, "ABI");
_Static_assert(sizeof(struct plane_tunables) == 128 + 32 * 48, "ABI");

#endif
