/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Proof of the walker of tables. In: its finished object, and the table's constants; out: whether it does what
 * bpf/table_abi.h says, for all packets and whatever the trees, records and tests hold; or where that was not shown.
 *
 * Two go side by side: the instructions, run with symbolic values (walker_machine.c), and the layout, read step by step
 * (walker_abi.c). They meet where the layout says what is read next (a node, a record, a test), and where the instructions
 * first read of it; or where a function is called and something is asked. There, what is read becomes words that nobody
 * knows, where it lies becomes an index that nobody knows, and what was read before is forgotten, but for the best found so
 * far: so the same meeting comes up again for each node and each record, and is looked at once. All that the instructions
 * still need must be one of these, or a function of them and the packet.
 *
 * Each function of the object is shown by itself, for all of its arguments.
 */
#include <stddef.h>
#include <string.h>

#include "prove/walker.h"

/* Zeroed before it is filled. */
struct meeting {
	struct machine machine;
	struct reading reading;
};

struct meetings {
	struct walker *walker;
	struct intern seen; /* struct meeting */
	bool called[FUNCTION_COUNT];
};

enum { MEETINGS_MAX = 200000 };

static const char *function_at(const struct walker *walker, uint32_t at, uint32_t *ret_offset)
{
	for (size_t i = 0; i < walker->image.function_count; i++) {
		const struct image_function *function = &walker->image.functions[i];

		*ret_offset = at - function->first;
		if (at >= function->first && *ret_offset < function->count)
			return function->name;
	}
	*ret_offset = at;
	return "the code";
}

void walker_fail(struct walker *walker, uint32_t at, const char *what)
{
	uint32_t offset;
	const char *name = function_at(walker, at, &offset);

	if (!walker->why)
		walker->why = arena_printf(walker->prove->arena, "instruction %u of %s %s", offset, name, what);
}

/* --- what is still known where both meet -------------------------------------------------------------------------- */

/* New names for what they still need of what they know. */
struct translation {
	struct walker *walker;
	bdd_ref set;        /* in which they meet */
	uint32_t kept;      /* SOURCE_BIT() of what keeps its name; */
	uint32_t known;     /* of what there is then */
	uint32_t op;        /* for bdd_rename() */
	bdd_ref from[160], to[160];
	unsigned count;
	bdd_ref *names;     /* by level */
};

static void add_name(struct translation *translation, bdd_ref from, bdd_ref to)
{
	if (translation->count < sizeof translation->from / sizeof translation->from[0]) {
		translation->from[translation->count] = from;
		translation->to[translation->count++] = to;
	}
}

/* What the bit always is in the set, if it is. */
static bool always(const struct translation *translation, bdd_ref bit, bdd_ref *ret)
{
	struct bdd *bdd = translation->walker->bdd;

	*ret = bdd_meet(bdd, translation->set, bit) ? BDD_TRUE : BDD_FALSE;
	return *ret == BDD_FALSE || !bdd_meet(bdd, translation->set, bdd_not(bdd, bit));
}

static bool kept(const struct translation *translation, bdd_ref bit)
{
	return !(vec_sources(translation->walker, bit) & ~translation->kept);
}

/* A vector of the reading: bits get names of their own, if they cannot keep what they are. */
static vec name_vector(struct translation *translation, vec v, enum origin source)
{
	struct walker *walker = translation->walker;
	struct bdd *bdd = walker->bdd;
	const bdd_ref *bits = vec_bits(walker, v), *fresh = vec_bits(walker, vec_source(walker, source, 0));
	bdd_ref result[WORD_BITS];

	for (unsigned i = 0; i < WORD_BITS; i++) {
		struct bdd_node node = bdd->nodes.items[bits[i]];

		result[i] = bits[i];
		if (kept(translation, bits[i]))
			continue;
		if (!always(translation, bits[i], &result[i]))
			result[i] = fresh[i];
		add_name(translation, bits[i], result[i]);
		if (node.high == BDD_TRUE && node.low == BDD_FALSE)
			translation->names[node.level] = result[i];
	}
	return vec_make(walker, result);
}

/* The name of one that is the same, or is the same in the set. */
static bool find_name(const struct translation *translation, bdd_ref bit, bool exactly, bdd_ref *ret)
{
	struct bdd *bdd = translation->walker->bdd;

	for (unsigned i = 0; i < translation->count; i++) {
		bdd_ref from = translation->from[i];

		if (from != bit && (exactly || bdd_meet(bdd, translation->set, bdd_ite(bdd, from, bdd_not(bdd, bit), bit))))
			continue;
		*ret = translation->to[i];
		return true;
	}
	return false;
}

static bool translate_bit(struct translation *translation, bdd_ref bit, bdd_ref *ret)
{
	*ret = bit;
	if (kept(translation, bit) || find_name(translation, bit, true, ret))
		return true;
	*ret = bdd_rename(translation->walker->bdd, translation->op, bit, translation->names);
	if (*ret != BDD_NONE && !(vec_sources(translation->walker, *ret) & ~translation->known))
		return true;
	return always(translation, bit, ret) || find_name(translation, bit, false, ret);
}

static bool translate(struct translation *translation, vec *v)
{
	const bdd_ref *bits = vec_bits(translation->walker, *v);
	bdd_ref result[WORD_BITS];

	for (unsigned i = 0; i < WORD_BITS; i++)
		if (!translate_bit(translation, bits[i], &result[i]))
			return false;
	*v = vec_make(translation->walker, result);
	return true;
}

static bool translate_word(struct translation *translation, struct word *word, bool live)
{
	if (!live || word->kind == WORD_NONE) {
		*word = (struct word){ WORD_NONE, 0 };
		return true;
	}
	return translate(translation, &word->bits);
}

static uint32_t kept_at(enum reading_kind kind)
{
	const uint32_t always = SOURCE_BIT(FROM_PACKET) | SOURCE_BIT(FROM_LATEST) | SOURCE_BIT(FROM_EPOCH) |
				SOURCE_BIT(FROM_WHOLE) | SOURCE_BIT(FROM_FIRST) | SOURCE_BIT(FROM_OPAQUE);

	switch (kind) {
	case READ_TEST:
	case ASK_TESTS:
		return always | SOURCE_BIT(FROM_INDEX) | SOURCE_BIT(FROM_BEST) | SOURCE_BIT(FROM_ENTRY);
	case READ_LISTED:
		return always & ~SOURCE_BIT(FROM_FIRST);
	case ASK_LISTED:
		return (always & ~SOURCE_BIT(FROM_FIRST)) | SOURCE_BIT(FROM_INDEX) | SOURCE_BIT(FROM_TEST);
	case READ_VERSION:
		return always | SOURCE_BIT(FROM_BEST);
	case READ_VERSION_BEFORE:
		return always | SOURCE_BIT(FROM_BEST) | SOURCE_BIT(FROM_VERSION);
	default:
		return always;
	}
}

/* Gives what both know new names; false: the machine needs more than the reading has. */
static bool rename_all(struct walker *walker, bdd_ref set, struct machine *machine, struct reading *reading, uint32_t live)
{
	struct translation translation = { .walker = walker, .set = set, .names = walker->names, .op = bdd_op(walker->bdd) };
	bool named = true;

	translation.kept = kept_at((enum reading_kind)reading->kind);
	if (reading->stored)
		translation.kept &= ~SOURCE_BIT(FROM_WHOLE);
	reading->stored = 0; /* from now on, it is anything */
	reading->whole = 0;
	translation.known = translation.kept | SOURCE_BIT(FROM_WHOLE) | SOURCE_BIT(FROM_BEST) | SOURCE_BIT(FROM_INDEX);
	memcpy(walker->names, walker->own_names, WALKER_LEVELS * sizeof *walker->names);
	reading->best = name_vector(&translation, reading->best, FROM_BEST);
	reading->index = name_vector(&translation, reading->index, FROM_INDEX);
	for (unsigned i = 0; i < FP; i++)
		named = translate_word(&translation, &machine->registers[i], live >> i & 1) && named;
	for (unsigned i = 0; i < STACK_WORDS; i++)
		named = translate_word(&translation, &machine->stack[i], live >> (REGISTERS + i) & 1) && named;
	for (unsigned i = 0; i < IMAGE_WORDS; i++)
		machine->packet[i] = reading_packet(walker, reading, i);
	return named;
}

/* --- meeting ------------------------------------------------------------------------------------------------------ */

static bool packet_is_right(struct walker *walker, bdd_ref set, const struct machine *machine, const struct reading *reading)
{
	for (unsigned i = 0; i < IMAGE_WORDS; i++)
		if (!vec_equal(walker, set, WORD_BITS, machine->packet[i], reading_packet(walker, reading, i)))
			return false;
	return true;
}

static void add_meeting(struct meetings *meetings, const struct machine *machine, const struct reading *reading)
{
	struct meeting meeting;

	memset(&meeting, 0, sizeof meeting);
	meeting.machine = *machine;
	meeting.reading = *reading;
	intern_number(&meetings->seen, &meeting);
	if (meetings->seen.records.count > MEETINGS_MAX)
		walker_fail(meetings->walker, machine->at, "is reached in too many ways");
}

/* All nodes or tests that it may be. */
static void add_all(struct meetings *meetings, const struct machine *machine, struct reading reading)
{
	size_t count;
	const uint32_t *controls = reading_controls(meetings->walker, &reading, &count);

	for (size_t i = 0; i < count; i++) {
		reading.control = controls[i];
		add_meeting(meetings, machine, &reading);
	}
}

static void meet(struct meetings *meetings, bdd_ref set, struct machine *machine, struct reading reading)
{
	struct walker *walker = meetings->walker;
	uint32_t at = machine->at;

	if (!packet_is_right(walker, set, machine, &reading))
		walker_fail(walker, at, "finds the packet changed");
	else if (!rename_all(walker, set, machine, &reading, walker->live[at]))
		walker_fail(walker, at, "needs what the table does not say");
	else
		add_all(meetings, machine, reading);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static vec argument(const struct machine *machine, unsigned number)
{
	return machine->registers[number].bits;
}

static bool is_number(const struct machine *machine, unsigned number)
{
	return machine->registers[number].kind == WORD_NUMBER;
}

static bool passes_packet(const struct walker *walker, const struct machine *machine)
{
	uint64_t offset;

	return machine->registers[1].kind == WORD_PACKET && vec_known(walker, argument(machine, 1), &offset) && !offset;
}

/* Whether the call asks what is to be asked. */
static bool asks_right(struct walker *walker, bdd_ref set, const struct machine *machine, const struct reading *reading,
		       unsigned function)
{
	unsigned six = reading->six;

	if (!passes_packet(walker, machine))
		return false;
	if (reading->kind == ASK_CHANGES)
		return function == FUNCTION_CHANGES;
	if (!is_number(machine, 2))
		return false;
	switch (reading->kind) {
	case ASK_TESTS:
		return function == FUNCTION_TESTS && vec_equal(walker, set, 32, argument(machine, 2), reading->first);
	case ASK_WALK:
	case ASK_ON:
		return function == (reading->kind == ASK_WALK ? FUNCTION_WALK4 : FUNCTION_GO_ON4) + six &&
		       is_number(machine, 3) && vec_equal(walker, set, 64, argument(machine, 2), reading->index) &&
		       vec_equal(walker, set, 64, argument(machine, 3), reading->best);
	default:
		return false;
	}
}

/* The answer is one that nobody knows, and so is packet.whole after table_changes(). */
static void return_from(struct meetings *meetings, bdd_ref set, struct machine *machine, struct reading reading)
{
	struct walker *walker = meetings->walker;

	memset(machine->registers, 0, 6 * sizeof machine->registers[0]);
	if (reading.kind == ASK_CHANGES)
		reading.stored = 1;
	if (!rename_all(walker, set, machine, &reading, walker->live[machine->at + 1])) {
		walker_fail(walker, machine->at, "needs what the table does not say");
		return;
	}
	machine_return(walker, machine, vec_source(walker, FROM_ANSWER, 0));
	add_meeting(meetings, machine, &reading);
}

static void call(struct meetings *meetings, bdd_ref set, struct machine *machine, const struct reading *reading,
		 unsigned function)
{
	struct walker *walker = meetings->walker;

	if (!asks_right(walker, set, machine, reading, function) || !packet_is_right(walker, set, machine, reading)) {
		walker_fail(walker, machine->at, "calls what the table does not ask for");
		return;
	}
	meetings->called[function] = true;
	return_from(meetings, set, machine, *reading);
}

/* A question is asked in packet.resume. */
static void call_rest(struct meetings *meetings, bdd_ref set, struct machine *machine, struct reading reading)
{
	struct walker *walker = meetings->walker;
	const unsigned word = offsetof(struct packet, resume) / 8, bit = offsetof(struct packet, resume) % 8 * 8;
	struct machine asked = *machine;
	bool right = reading.kind == ASK_REST || reading.kind == ASK_LISTED;

	if (reading.kind == ASK_LISTED) {
		right = vec_equal(walker, set, 32, vec_part(walker, asked.packet[word], bit, 32), reading.first);
		asked.packet[word] = vec_with(walker, asked.packet[word], bit, 32,
					      vec_part(walker, reading_packet(walker, &reading, word), bit, 32));
	}
	if (!right || !passes_packet(walker, machine) || !packet_is_right(walker, set, &asked, &reading)) {
		walker_fail(walker, machine->at, "asks what is not to be asked");
		return;
	}
	return_from(meetings, set, machine, reading);
}

/* --- side by side ------------------------------------------------------------------------------------------------- */

static bool is_within(struct walker *walker, bdd_ref set, const struct open *open, vec index)
{
	for (unsigned i = 0; i < open->count; i++)
		if (vec_equal(walker, set, 61, index, vec_add(walker, open->index, i)))
			return true;
	return false;
}

/* A word that is not to be read now, but whose index is known. */
static vec known_word(struct walker *walker, uint64_t index)
{
	if (index == 0 && walker->config->changes)
		return vec_source(walker, FROM_LATEST, 0);
	return vec_number(walker, index < walker->table->count ? walker->table->words[index] : 0);
}

/* True: both meet where it is read. */
static bool read_word(struct meetings *meetings, bdd_ref set, struct machine *machine, const struct reading *next,
		      struct opened *opened, vec index)
{
	struct walker *walker = meetings->walker;
	struct reading reading = *next;
	struct open open;
	uint64_t number;

	if (reading_opens(walker, &reading, &open) && reading.kind != ASK_LISTED && is_within(walker, set, &open, index)) {
		if (reading.kind == ASK_TESTS)
			reading.kind = READ_TEST;
		meet(meetings, set, machine, reading);
		return true;
	}
	if (!vec_known(walker, index, &number) || opened->count == OPEN_MAX) {
		walker_fail(walker, machine->at, "reads what the table does not say is next");
		return true;
	}
	opened->list[opened->count++] = (struct open){ .index = index, .count = 1, .words = { known_word(walker, number) } };
	return false;
}

/* What functions return that look for the best. */
static bool returns_sane(struct walker *walker, bdd_ref set, const struct reading *reading)
{
	bdd_ref good = reading_sane(walker, reading->best);

	if (reading->narrow || reading->function == FUNCTION_CHANGES)
		return true;
	good = bdd_or(walker->bdd, good, vec_bits(walker, reading->best)[63]); /* TABLE_GOES_ON */
	return !bdd_meet(walker->bdd, set, bdd_not(walker->bdd, good));
}

static void finish(struct meetings *meetings, bdd_ref set, const struct machine *machine, const struct reading *reading)
{
	struct walker *walker = meetings->walker;

	if (reading->kind != READ_END || !is_number(machine, 0) ||
	    !vec_equal(walker, set, reading->narrow ? 32 : 64, argument(machine, 0), reading->best) ||
	    !packet_is_right(walker, set, machine, reading) || !returns_sane(walker, set, reading))
		walker_fail(walker, machine->at, "returns something else than the table says");
}

static void follow(struct meetings *meetings, bdd_ref set, struct machine machine, const struct reading *next,
		   struct opened opened);

/* Follows one way of two; returns the set in which the machine itself goes the other. */
static bdd_ref part_ways(struct meetings *meetings, bdd_ref set, struct machine *machine, bdd_ref condition,
			 const struct reading *next, const struct opened *opened)
{
	struct walker *walker = meetings->walker;
	bdd_ref yes = bdd_and(walker->bdd, set, condition), no = bdd_ite(walker->bdd, condition, BDD_FALSE, set);

	if (yes != BDD_FALSE && no != BDD_FALSE) {
		struct machine other = *machine;

		machine_branch(walker, &other, true);
		follow(meetings, yes, other, next, *opened);
		yes = BDD_FALSE;
	}
	machine_branch(walker, machine, yes != BDD_FALSE);
	return yes != BDD_FALSE ? yes : no;
}

/* All that the machine does in packets of the set, until it gets to where the reading is then. */
static void follow(struct meetings *meetings, bdd_ref set, struct machine machine, const struct reading *next,
		   struct opened opened)
{
	struct walker *walker = meetings->walker;

	while (!walker_over(walker) && set != BDD_FALSE) {
		struct stopped stopped = machine_run(walker, &machine, set, &opened);

		switch (stopped.stop) {
		case STOP_BRANCH:
			set = part_ways(meetings, set, &machine, stopped.condition, next, &opened);
			break;
		case STOP_READ:
			if (read_word(meetings, set, &machine, next, &opened, stopped.index))
				return;
			break;
		case STOP_CALL:
			call(meetings, set, &machine, next, stopped.function);
			return;
		case STOP_REST:
			call_rest(meetings, set, &machine, *next);
			return;
		case STOP_EXIT:
			finish(meetings, set, &machine, next);
			return;
		case STOP_FAILED:
			return;
		}
	}
}

static void go_on(struct meetings *meetings, uint32_t number)
{
	struct walker *walker = meetings->walker;
	const struct meeting *meeting = intern_at(&meetings->seen, number);
	struct outcome outcomes[OUTCOMES_MAX];
	unsigned count = reading_next(walker, &meeting->reading, outcomes);
	struct opened opened;

	reading_known(walker, &meeting->reading, &opened);
	for (unsigned i = 0; i < count && !walker_over(walker); i++)
		follow(meetings, outcomes[i].condition, meeting->machine, &outcomes[i].next, opened);
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

static void begin_function(struct meetings *meetings, unsigned function, const struct image_function *image)
{
	static const uint8_t arguments[FUNCTION_COUNT][2] = {
		[FUNCTION_TESTS] = { FROM_FIRST },
		[FUNCTION_WALK4] = { FROM_INDEX, FROM_BEST },  [FUNCTION_WALK6] = { FROM_INDEX, FROM_BEST },
		[FUNCTION_GO_ON4] = { FROM_INDEX, FROM_BEST }, [FUNCTION_GO_ON6] = { FROM_INDEX, FROM_BEST },
	};
	struct walker *walker = meetings->walker;
	struct machine machine;
	struct reading reading;

	memset(&machine, 0, sizeof machine);
	memset(&reading, 0, sizeof reading);
	machine.at = image->first;
	machine.registers[1] = (struct word){ WORD_PACKET, vec_number(walker, 0) };
	for (unsigned i = 0; i < 2 && arguments[function][i]; i++)
		machine.registers[2 + i] =
			(struct word){ WORD_NUMBER, vec_source(walker, (enum origin)arguments[function][i], 0) };
	reading.kind = READ_BEGIN;
	reading.function = (uint8_t)function;
	reading.six = function == FUNCTION_WALK6 || function == FUNCTION_GO_ON6;
	reading.best = function == FUNCTION_CLASSIFY ? vec_number(walker, walker->config->start) :
						       vec_source(walker, FROM_BEST, 0);
	reading.index = vec_source(walker, FROM_INDEX, 0);
	reading.first = reading.whole = vec_number(walker, 0);
	if (function == FUNCTION_CHANGES)
		reading.best = vec_number(walker, 0);
	if (function == FUNCTION_TESTS) {
		reading.first = vec_part(walker, vec_source(walker, FROM_FIRST, 0), 0, 32);
		reading.index = vec_operate(walker, INSN_LEFT, true, reading.first, vec_number(walker, 2));
		reading.best = vec_number(walker, 0);
	}
	for (unsigned i = 0; i < IMAGE_WORDS; i++)
		machine.packet[i] = vec_source(walker, FROM_PACKET, i);
	add_meeting(meetings, &machine, &reading);
}

static void prove_function(struct meetings *meetings, unsigned function)
{
	struct walker *walker = meetings->walker;

	for (uint32_t i = 0; i < walker->image.function_count; i++)
		if (walker_function(walker, i) == function) {
			begin_function(meetings, function, &walker->image.functions[i]);
			return;
		}
	walker_fail(walker, 0, "has none of the functions of a walker beside it");
}

static void prove_all(struct meetings *meetings)
{
	struct walker *walker = meetings->walker;
	bool done[FUNCTION_COUNT] = { false }, more = true;
	uint32_t number = 0;

	meetings->called[FUNCTION_CLASSIFY] = true;
	while (more && !walker_over(walker)) {
		more = false;
		for (unsigned i = 0; i < FUNCTION_COUNT; i++) {
			if (!meetings->called[i] || done[i])
				continue;
			done[i] = more = true;
			prove_function(meetings, i);
		}
		for (; number < meetings->seen.records.count && !walker_over(walker); number++)
			go_on(meetings, number);
	}
	walker->steps = number;
}

struct walker *walker_prove(struct prove *prove, struct bdd *bdd, const struct prove_object *object)
{
	struct walker *walker = ARENA_NEW(prove->arena, struct walker);
	struct meetings *meetings = ARENA_NEW(prove->arena, struct meetings);

	walker->prove = prove;
	walker->bdd = bdd;
	walker->table = prove->table;
	walker->config = prove->input->table;
	walker->image.walker = true;
	image_read(prove, object->data, object->size, &walker->image);
	if (prove->why)
		return NULL;
	walker->insns = decode_all(prove->arena, &walker->image);
	walker->names = ARENA_ARRAY(prove->arena, bdd_ref, WALKER_LEVELS);
	vec_init(walker);
	vec_own_names(walker);
	walker_flow(walker);
	reading_collect(walker);
	meetings->walker = walker;
	intern_init(&meetings->seen, prove->arena, sizeof(struct meeting));
	prove_all(meetings);
	return walker;
}
