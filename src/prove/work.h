/* SPDX-License-Identifier: GPL-2.0-only */
/* What the prover's files share. Nothing here is for other stages. */
#ifndef WEIR_PROVE_WORK_H
#define WEIR_PROVE_WORK_H

#include "prove/bdd.h"
#include "prove/prove.h"

/* --- the object (object.c) ------------------------------------------------------------------------------ */

struct image_function {
	const char *name;
	uint32_t first, count; /* instructions */
};

/* Where a walker of tables finds its data (bpf/table.bpf.c). */
enum image_place { PLACE_NONE, PLACE_TABLE /* the map */, PLACE_CONFIG, PLACE_EPOCH };

/* Relocations of one instruction: index + 1, or 0. */
struct image_use {
	uint32_t map;  /* of input.maps */
	uint32_t call; /* of functions */
	bool lives;    /* the plane's element_lives() */
	bool rest;     /* classify_rest(), which is elsewhere */
	uint8_t place; /* enum image_place */
};

struct image {
	bool walker; /* of tables; else what was emitted */
	const unsigned char *text;
	size_t insn_count;
	const struct image_function *functions;
	size_t function_count;
	const struct image_use *uses; /* by instruction */
};

/* --- instructions (decode.c) ---------------------------------------------------------------------------- */

enum insn_kind {
	INSN_ODD,     /* not understood */
	INSN_MOVE,    /* dst = operand */
	INSN_AND,
	INSN_ADD,
	INSN_REVERSE, /* the low `size` bytes in reverse order, the others 0 */
	INSN_CUT,     /* the low `size` bytes, the others 0 */
	INSN_LOAD,    /* dst = *(size *)(src + offset) */
	INSN_STORE,   /* *(size *)(dst + offset) = operand */
	INSN_MAP,     /* dst = map; takes two places */
	INSN_GOTO,
	INSN_BRANCH,  /* if (dst compare operand) goto offset */
	INSN_HELPER,
	INSN_CALL,
	INSN_LIVES,   /* of the plane's element_lives() */
	INSN_EXIT,
	INSN_SECOND,  /* of a wide one */

	/* In walkers of tables only. */
	INSN_SUB,
	INSN_MULTIPLY,
	INSN_OR,
	INSN_XOR,
	INSN_LEFT,    /* shifts, by the low 6 bits of the operand, or 5 */
	INSN_RIGHT,
	INSN_RIGHT_SIGNED,
	INSN_NEGATE,
	INSN_PLACE,   /* dst = an address; takes two places; number: enum image_place */
	INSN_MAY_GOTO, /* goto offset, after very many turns */
	INSN_REST,    /* a call of classify_rest() */
};

enum compare {
	COMPARE_EQ, COMPARE_NE, COMPARE_GT, COMPARE_GE, COMPARE_LT, COMPARE_LE, COMPARE_SET,
	COMPARE_SGT, COMPARE_SGE, COMPARE_SLT, COMPARE_SLE,
};

struct insn {
	uint8_t kind;    /* enum insn_kind */
	uint8_t dst;
	uint8_t src;
	bool by_register; /* the operand is src, else `number` */
	bool wide;       /* 64 bits; else 32, and a result's upper half is 0 */
	uint8_t size;    /* bytes of memory, or of REVERSE and CUT */
	uint8_t compare; /* enum compare */
	int16_t offset;
	uint64_t number; /* sign-extended; of MAP: index of input.maps; of CALL: of the function; of HELPER: its own */
};

enum { FP = 10, REGISTERS = 11 };

/* --- values (value.c) ----------------------------------------------------------------------------------- */

enum { PACKET_BYTES = sizeof(struct packet), PACKET_BITS = PACKET_BYTES * 8 };

/* Where one bit comes from. */
enum { SOURCE_0, SOURCE_1, SOURCE_PACKET };
typedef uint16_t source_bit; /* SOURCE_PACKET + n: bit n % 8 of byte n / 8 of struct packet */

enum value_kind { VALUE_NONE, VALUE_BITS, VALUE_PACKET, VALUE_STACK, VALUE_MAP, VALUE_ELEMENT };

/* What a register holds. Zeroed before it is filled, as values are compared byte by byte. */
struct value {
	uint32_t kind;
	int32_t number;       /* STACK: offset from the frame pointer; MAP: index; ELEMENT: number of its atom */
	source_bit bits[64];  /* BITS: from the least significant on */
};

enum { KEY_BYTES = 20 };

/*
 * A lookup: is this key in that map? As a bit of its own. Where elements may expire, whether what is found lives is
 * another one; a trie's element around the key counts there, too.
 */
struct atom {
	uint32_t map;
	uint32_t lives;
	source_bit key[KEY_BYTES * 8]; /* byte by byte, each from its least significant bit on; unused ones 0 */
};

enum { ATOMS_MAX = 256 };

/* --- records that are told apart by their bytes (intern.c) ------------------------------------------------ */

struct intern {
	struct arena *arena;
	size_t size; /* of a record */
	VEC(void *) records;
	uint32_t *table;
	size_t table_size;
};

void intern_init(struct intern *intern, struct arena *arena, size_t size);
/* The number of the record, which is copied if it is new; then it is the last one. */
uint32_t intern_number(struct intern *intern, const void *record);

static inline const void *intern_at(const struct intern *intern, uint32_t number)
{
	return intern->records.items[number];
}

/* What a walker of tables did with packets. */
struct walker_trial {
	size_t tried;
	bool found;           /* one for which it is not what the table says: */
	struct packet packet;
	uint32_t resume, answer;
};

/* --- one proof ------------------------------------------------------------------------------------------ */

/* Levels of the diagrams: one a bit of struct packet, and some for atoms. */
enum { LOOKUPS_MAX = 128, ATOMS_A_LOOKUP = 4, LEVELS = PACKET_BITS + LOOKUPS_MAX * ATOMS_A_LOOKUP + ATOMS_MAX };

/* Levels that were set aside for lookups in this map of a key that ends in this unit; see order.c. */
struct lookup_place {
	uint32_t map, unit, level, used;
};

struct prove {
	struct arena *arena;
	const struct prove_input *input;
	const char *why; /* not understood: what; work goes on to no avail */
	struct image image;
	struct insn *insns;
	struct bdd *bdd;
	uint32_t level_of_bit[PACKET_BITS];
	uint32_t atom_levels[ATOMS_MAX]; /* by number of the atom */
	uint32_t units[PACKET_BYTES];    /* by byte: its place in the order; see order.c */
	struct lookup_place *lookups;
	size_t lookup_count;
	uint32_t next_level;             /* after all that were set aside */
	struct intern values, atoms, numbers; /* struct value, struct atom, uint64_t */
	struct spec *spec;
	size_t record_count; /* different ones of the table */
	size_t suspect_count;
	bdd_ref program; /* of the object; leaves: see leaf_of_number() */
	const struct table *table; /* which classify() walks, or NULL; then the program is classify_rest() */
	const struct walker_trial *walked; /* a walker was found to say something else than the table; or NULL */
	const uint8_t *fixed;      /* by bit of struct packet: 0 or 1 where only such packets count; NULL: all count */
	VEC(const char *) troubles; /* what is not understood on some way through the program */
	bdd_ref troubled;  /* packets that meet it, of those that were compared last */
	bool backwards;    /* it is that the program resumes where it has been */
	field_mask fields; /* bit f: the rules or the program look at enum field f */
	bool reads_tuned;     /* the program: some bit of struct packet's `tuned`, */
	bool reads_sets;      /* what is in named sets */
	const char *unfilled; /* a member that is read though the data plane need not fill it in, or NULL */
};

/* Records why nothing can be said; the first reason stays. */
void prove_stop(struct prove *prove, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline bool prove_stopped(const struct prove *prove)
{
	return prove->why || prove->bdd->over;
}

/*
 * Leaves of a program's diagram stand for the number it returns. Answers have 32 bits; with this one it is no
 * constant but the symbolic value of that number.
 */
#define NO_ANSWER (1ull << 63)
/* Or nothing is known of it, for the reason of that number. */
#define TROUBLE (1ull << 62)
bdd_ref leaf_of_number(struct prove *prove, uint64_t number);
uint64_t number_of_leaf(const struct prove *prove, bdd_ref leaf);
uint64_t number_of_value(const struct prove *prove, uint32_t leaf_value);

/* Leaf values of all diagrams but sets of packets begin here. */
enum { LEAF_FIRST = 2 };

/* Stops the proof if the object is not as it should be. */
void image_read(struct prove *prove, const void *object, size_t size, struct image *image);
/* In the arena. */
struct insn *decode_all(struct arena *arena, const struct image *image);
void order_choose(struct prove *prove);
/* A level for an atom that is new. */
uint32_t order_atom(struct prove *prove, const struct atom *atom);

uint32_t value_number(struct prove *prove, uint64_t number);
uint32_t value_simple(struct prove *prove, enum value_kind kind, int32_t number);
const struct value *value_at(const struct prove *prove, uint32_t value);
/* Whether all bits are known; then the number. */
bool value_known(const struct value *value, uint64_t *ret_number);
/* Where the comparison holds. */
bdd_ref value_compare(struct prove *prove, enum compare compare, bool wide, const struct value *left,
		      const struct value *right);
bdd_ref bit_set(struct prove *prove, source_bit bit);
/* Where the number that the bits make, most significant first, is in one of the ranges (sorted, disjoint). */
bdd_ref bits_in(struct prove *prove, const bdd_ref *bits, unsigned count, const struct range *ranges,
		size_t range_count);

unsigned key_bytes(const struct prove_map *map);
bdd_ref atom_set(struct prove *prove, const struct atom *atom);
/* Whether elements of the map may expire. */
bool map_timed(const struct prove *prove, uint32_t map);
/* The key that the map has for a field, by bpf/plane_abi.h. */
struct atom expected_atom(const struct prove *prove, uint32_t map, enum field field);
/* What the atom means while the map holds what it held at first; -1: that cannot be said. */
int64_t atom_meaning(struct prove *prove, const struct atom *atom);
/* Where the number in the key may be an element of its map at all. */
bdd_ref atom_possible(struct prove *prove, const struct atom *atom);

/* The bits of a field, most significant first; 64 and 64 of an IPv6 address. Returns their number. */
unsigned field_bits(struct prove *prove, enum field field, bdd_ref bits[128]);
bdd_ref field_present(struct prove *prove, enum field field);
/* Where the field's member, whatever it is, is in lo .. hi. */
bdd_ref field_between(struct prove *prove, enum field field, u128 lo, u128 hi);

/* Evaluates classify(), or beside a table classify_rest(): the diagram of what it returns. */
bdd_ref walk_program(struct prove *prove);
/* Notes that the program looks at this byte of struct packet. */
void note_byte(struct prove *prove, int byte);

/* The packets that there are, as far as they differ in fields that are looked at; or in all fields. */
bdd_ref contract_packets(struct prove *prove, bool all_fields);

/* Stops the proof where answers are kept for packets by less than what the program looks at. After all else is shown. */
void cache_check(struct prove *prove);

/* --- the rules (spec.c) --------------------------------------------------------------------------------- */

struct effect {
	uint32_t kind, slot, a, b; /* as struct step; unused members 0 */
};

/* A place in the rules: a chain, its next rule, and where to go on when it ends. */
struct place {
	uint32_t chain;
	uint32_t next;
	uint32_t named;  /* a rule that led here names the link layer */
	uint32_t outer;  /* number of the place to go on at; PLACE_END */
	uint32_t granted; /* the next rule holds, acts and has its token */
};
#define PLACE_END UINT32_MAX

enum { END_NONE, END_VERDICT };

/* What becomes of a packet at a leaf of the rules. */
struct spec_leaf {
	const struct effect *effects;
	size_t effect_count;
	uint32_t place;   /* where judging goes on, if not decided; if it asks, with a token */
	bool asks;        /* a rule needs a token */
	uint32_t rate;    /* then of which rate, */
	uint32_t slot;    /* and the rule's slot; of what is decided: what counts it */
	uint32_t without; /* and where judging goes on without one */
	bool decided;
	uint32_t verdict; /* enum answer_verdict */
};

void spec_init(struct prove *prove);
/* Where the rule counts; and which rule counts there, or 0. */
uint32_t spec_slot(const struct prove *prove, const struct rule *rule);
uint32_t spec_rule(const struct prove_input *input, uint32_t slot);
/* The index of the rule's rate. */
uint32_t spec_rate(const struct prove *prove, const struct rule *rule);
/* For packets that are not IP only. */
void spec_init_other(struct prove *prove);
/* Where the condition holds. Not kept. */
bdd_ref spec_condition(struct prove *prove, const struct cond *cond);
/* What the rule does before it decides, or before judging goes on. */
const struct effect *spec_effects(struct prove *prove, const struct rule *rule, bool decides, size_t *ret_count);
uint32_t spec_start(struct prove *prove);
/* The diagram of what rules do at a place, up to the first that acts or leaves the chain. */
bdd_ref spec_diagram(struct prove *prove, uint32_t place);
struct spec_leaf spec_leaf(struct prove *prove, uint32_t place, uint32_t leaf_value);
/* Negative, 0, positive: which of two places comes first. */
int spec_compare(struct prove *prove, uint32_t left, uint32_t right);

/* --- the comparison and examples ------------------------------------------------------------------------ */

/* Compares; false and the set of packets that are judged differently. */
bool compare_all(struct prove *prove, bdd_ref packets, bdd_ref *ret_different);
/* The same, also where that depends on what maps of constants hold. */
bool compare_fully(struct prove *prove, bdd_ref packets, bdd_ref *ret_different);
/* The packets for which lookups in maps of constants, which never change, mean what those hold. */
bdd_ref with_constants(struct prove *prove, bdd_ref packets);
/* An answer of classify() in `resume`, and of classify_rest(). */
bdd_ref program_at(struct prove *prove, uint32_t resume);
bdd_ref rest_at(struct prove *prove, uint32_t resume);
/* What is left of a run of steps from this one on. */
bdd_ref program_in_run(struct prove *prove, uint32_t step);

enum { RUN_MAX = STEPS_MAX };

/* What an answer says: effects, and how it ends. */
struct answer_run {
	const struct effect *effects;
	size_t effect_count;
	const char *broken; /* it breaks plane_abi.h, or nothing is known of it */
	bool resumes;
	uint32_t resume;
	bool asks;       /* for a token; the run goes on at the step `with` or `without` */
	uint32_t rate, with, without;
	uint32_t verdict, slot;
};
struct answer_run answer_read(struct prove *prove, uint64_t number);

/* Fills in the example of a result from a set that is not empty. */
void example_choose(struct prove *prove, bdd_ref different, struct prove_result *result);

#endif
