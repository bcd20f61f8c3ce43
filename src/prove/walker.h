/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Proof of the walker of tables: what its files share. The finished code of bpf/table.bpf.c goes along with what
 * bpf/table_abi.h says of the blob, step by step; see walker.c.
 */
#ifndef WEIR_PROVE_WALKER_H
#define WEIR_PROVE_WALKER_H

#include "prove/table.h"

enum { WORD_BITS = 64, IMAGE_WORDS = PACKET_BYTES / 8, STACK_WORDS = 16 };

/*
 * Sixty-four bits, each a diagram, from the least significant on; by its number. What a diagram is over: bits of the packet,
 * and of whatever else is not known. Each of these sources has a class.
 */
typedef uint32_t vec;

enum origin {
	FROM_PACKET,
	FROM_INDEX,    /* of the node or record that is read */
	FROM_BEST,
	FROM_ENTRY,    /* the node or record itself: up to 8 words */
	FROM_TEST,     /* of a record: 4 words */
	FROM_VERSION,  /* the newest of the table's: 8 words */
	FROM_VERSION_BEFORE,
	FROM_LATEST,   /* where that is */
	FROM_EPOCH,
	FROM_WHOLE,    /* packet.whole, which table_changes() writes to */
	FROM_FIRST,    /* an argument: of table_tests() */
	FROM_OPAQUE,   /* what is a function of others, and nobody looks how; see vec_opaque() */
	FROM_ANSWER,   /* a call's */
	SOURCES,
};

#define SOURCE_BIT(source) (1u << (source))

struct control {
	uint32_t control;
	uint32_t depths; /* bit i: it is in that depth of a tree */
};

/* How a vector was calculated, if by one of a few kinds of instructions; see walker_vector.c. */
struct making {
	uint32_t kind;
	vec left, right;
};

/* What is known of nodes or tests that a table has. */
struct controls {
	VEC(struct control) list;
	uint32_t *there; /* by control: index + 1 */
};

struct walker {
	struct prove *prove;
	const struct table *table;
	const struct table_config *config;
	struct image image;
	const struct insn *insns;
	struct bdd *bdd;
	struct intern vectors;
	struct vec_memo *memos;
	struct intern opaque; /* struct making: those of FROM_OPAQUE */
	VEC(struct making) makings; /* by vector */
	VEC(uint32_t) masks; /* by node of a diagram: SOURCE_BIT() of all that it looks at + 1, or 0 */
	uint32_t *live;      /* by instruction: registers that matter, and from bit REGISTERS on words of the stack */
	uint32_t *joins;     /* by instruction: where both ways of an idle branch meet again; or 0 */
	bool counts;         /* loops are counted: the build has no may_goto */
	struct controls nodes[2]; /* by family: what there are, but for where they lead; see vec_node() */
	struct controls tests;    /* see vec_test() */
	vec *sources;        /* see vec_source() */
	bdd_ref *names, *own_names; /* by level: for use for a while; and of each bit that is always known */
	const char *why;     /* it was not shown: where and why */
	size_t steps;        /* of both side by side, all different */
};

/* The first one stays. */
void walker_fail(struct walker *walker, uint32_t at, const char *what);

static inline bool walker_over(const struct walker *walker)
{
	return walker->why || walker->bdd->over;
}

/* --- numbers (walker_vector.c) ------------------------------------------------------------------------------------ */

void vec_init(struct walker *walker);
vec vec_make(struct walker *walker, const bdd_ref bits[WORD_BITS]);
const bdd_ref *vec_bits(const struct walker *walker, vec v);
vec vec_number(struct walker *walker, uint64_t number);
bool vec_known(const struct walker *walker, vec v, uint64_t *ret_number);
/* kinds: of instructions, ADD to RIGHT_SIGNED. Shifts: by the lowest six bits, or five. */
vec vec_operate(struct walker *walker, enum insn_kind kind, bool wide, vec left, vec right);
bdd_ref vec_compare(struct walker *walker, enum compare compare, bool wide, vec left, vec right);
/* `count` bits from bit `first` on, the others 0. */
vec vec_part(struct walker *walker, vec v, unsigned first, unsigned count);
/* The low `count` bits of `part` in place of those from bit `first` on. */
vec vec_with(struct walker *walker, vec v, unsigned first, unsigned count, vec part);
vec vec_choose(struct walker *walker, bdd_ref set, vec yes, vec no);
/* Whether they are equal for all that is in the set, in the low `count` bits. */
bool vec_equal(struct walker *walker, bdd_ref set, unsigned count, vec left, vec right);

static inline vec vec_add(struct walker *walker, vec v, uint64_t number)
{
	return vec_operate(walker, INSN_ADD, true, v, vec_number(walker, number));
}

/* Word `word` of a source, which nobody knows; not of an entry or a test. */
vec vec_source(struct walker *walker, enum origin source, unsigned word);
/* Of an entry that is a slot of the hash, */
vec vec_slot(struct walker *walker, bool six, unsigned word);
/* a record; */
vec vec_record(struct walker *walker, bool six, unsigned word);
/* or a node with these controls: word, shift and bits are known, base and bound are not. */
vec vec_node(struct walker *walker, uint32_t control);
/* Of a test of this word of the packet; TABLE_REST: of any such number or above. */
vec vec_test(struct walker *walker, uint32_t control, unsigned word);
/*
 * A number that depends on two others alone: the same for the same two. Of instructions: their product; of PILOT, the 16 bits of
 * the blob there, in units of 2 bytes.
 */
vec vec_opaque(struct walker *walker, uint32_t kind, vec left, vec right);
enum { PILOT = 1000, OPAQUE_MAX = 40 /* no source has more words */ };
/* Fills in `own_names`. */
void vec_own_names(struct walker *walker);
/* SOURCE_BIT() of all that the diagram looks at. */
uint32_t vec_sources(struct walker *walker, bdd_ref bit);
enum { WALKER_LEVELS = 18 * 1056 + 64 * 64 };

/* --- what matters where (walker_flow.c) ---------------------------------------------------------------------------- */

/* Fills in `live`, `joins`, `counts`. */
void walker_flow(struct walker *walker);
/* Whether the instruction does nothing but set a register that does not matter behind it. */
bool walker_idles(const struct walker *walker, uint32_t at);
/* Where a jump or branch leads. */
uint32_t walker_target(const struct walker *walker, uint32_t at);
/* What is run next, if no branch that matters jumps. */
uint32_t walker_next(const struct walker *walker, uint32_t at);
/* Index of the word of the stack that the instruction is about, if its address is `base`; STACK_WORDS: none. */
unsigned walker_stack_word(const struct insn *insn, unsigned base);

/* --- the machine (walker_machine.c) ------------------------------------------------------------------------------- */

enum word_kind {
	WORD_NONE, /* not written; or it does not matter any more */
	WORD_NUMBER,
	WORD_HALF,  /* 32 bits on the stack */
	WORD_PACKET, /* addresses: `bits` is how far behind the beginning */
	WORD_BLOB,
	WORD_TABLE,
	WORD_CONFIG,
	WORD_EPOCH,
};

struct word {
	uint32_t kind;
	vec bits;
};

/* All that code of one function may look at. Zeroed before it is filled: compared byte by byte. */
struct machine {
	uint32_t at;
	struct word registers[FP];
	struct word stack[STACK_WORDS]; /* from the frame pointer downwards */
	vec packet[IMAGE_WORDS];
};

enum { FUNCTION_CLASSIFY, FUNCTION_TESTS, FUNCTION_CHANGES, FUNCTION_WALK4, FUNCTION_WALK6, FUNCTION_GO_ON4,
       FUNCTION_GO_ON6, FUNCTION_COUNT };

/* FUNCTION_COUNT: none of these. */
unsigned walker_function(const struct walker *walker, uint32_t image_function);
/* How many arguments it takes. */
unsigned walker_arguments(unsigned function);

/* What stops the machine, at the instruction where it stands. */
enum stop {
	STOP_BRANCH, /* `condition` */
	STOP_READ,   /* word `index` of the blob, which it does not know */
	STOP_CALL,   /* of `function` */
	STOP_REST,
	STOP_EXIT,
	STOP_FAILED,
};

struct stopped {
	enum stop stop;
	bdd_ref condition;
	vec index;
	unsigned function;
};

/* Words of the blob that are known: those from `index` on. */
struct open {
	vec index;
	unsigned count;
	vec words[8];
};
enum { OPEN_MAX = 24 };

struct opened {
	struct open list[OPEN_MAX];
	unsigned count;
};

/* Runs until it stops, in packets (and all else) of the set. */
struct stopped machine_run(struct walker *walker, struct machine *machine, bdd_ref set, struct opened *opened);
/* Goes on behind a branch, or behind a call that returned this. */
void machine_branch(struct walker *walker, struct machine *machine, bool taken);
void machine_return(struct walker *walker, struct machine *machine, vec answer);

/* --- the layout (walker_abi.c) ------------------------------------------------------------------------------------ */

enum reading_kind {
	/* Where a function begins. */
	READ_BEGIN,
	/* Something is read: the machine gets there when it reads of it. */
	READ_NODE,
	READ_SLOT,
	READ_RECORD,
	READ_TEST,       /* the first of a record's, beside it */
	READ_LISTED,     /* in table_tests() */
	READ_VERSION,
	READ_VERSION_BEFORE,
	/* Something is asked: the machine gets there when it calls. */
	ASK_REST,        /* for the answer */
	ASK_LISTED,      /* for an answer to a test */
	ASK_TESTS,       /* whether those of a record hold; READ_TEST may come first */
	ASK_CHANGES,
	ASK_WALK,        /* what a tree says; READ_NODE of its root may come instead */
	ASK_ON,          /* what more a leaf says */
	/* Nothing more. */
	READ_END,        /* `best` is returned */
	READ_ANYTHING,   /* there is no such table */
};

enum { CHANGED_TREE = 255 };

/* Where the reading of a table is. Zeroed before it is filled. */
struct reading {
	uint8_t kind, function, six;
	uint8_t tree, depth, page; /* `tree`: or CHANGED_TREE, that of a version */
	uint16_t count;    /* records or tests read, if they are counted */
	uint8_t stored;    /* packet.whole has become `whole` */
	uint8_t narrow;    /* END: 32 bits are returned */
	uint8_t resumed;   /* VERSION: packet.resume is not 0 */
	uint8_t unused;
	uint32_t control;  /* of a node or test */
	vec index, best, first, whole;
};

struct outcome {
	bdd_ref condition;
	struct reading next;
};
enum { OUTCOMES_MAX = 40 };

/* What comes next, each in a set of its own that all are part of. */
unsigned reading_next(struct walker *walker, const struct reading *reading, struct outcome *outcomes);
/* The words of the blob that are read there; false: none. */
bool reading_opens(struct walker *walker, const struct reading *reading, struct open *ret_open);
/* All that are known then: beside a test, the record's, too. */
void reading_known(struct walker *walker, const struct reading *reading, struct opened *ret_opened);
/* A word of the packet, as it should be by then. */
vec reading_packet(struct walker *walker, const struct reading *reading, unsigned word);
/* The controls that the node or test there may have; of anything else, 0. In the arena. */
const uint32_t *reading_controls(struct walker *walker, const struct reading *reading, size_t *ret_count);
/* Where the best may be so. */
bdd_ref reading_sane(struct walker *walker, vec best);
/* Reads the table for what nodes there are. */
void reading_collect(struct walker *walker);

/* --- the proof (walker.c) ----------------------------------------------------------------------------------------- */

/* The walker of that object, with `why` filled in if it was not shown to do what the layout says. NULL: it is none. */
struct walker *walker_prove(struct prove *prove, struct bdd *bdd, const struct prove_object *object);
/* Runs it on packets of each leaf of the table, until one is found for which it says something else (walker_run.c). */
void walker_try(const struct walker *walker, struct walker_trial *trial);

#endif
