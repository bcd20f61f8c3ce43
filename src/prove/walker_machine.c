/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs instructions of a walker of tables. In: a machine, whose words are symbolic numbers or addresses; out: why it stops.
 * Each instruction is exact; what is not understood (an address that is not one of the few that walkers have, say) fails.
 * Those that only set what does not matter (walker_flow.c) are passed over.
 * The packet may be written to. may_goto never jumps: tables that take so many turns are not proven (table_deep()).
 */
#include <stddef.h>
#include <string.h>

#include "prove/walker.h"

static const struct {
	const char *name;
	unsigned arguments;
} functions[FUNCTION_COUNT] = {
	[FUNCTION_CLASSIFY] = { "classify", 1 },     [FUNCTION_TESTS] = { "table_tests", 2 },
	[FUNCTION_CHANGES] = { "table_changes", 1 }, [FUNCTION_WALK4] = { "table_walk4", 3 },
	[FUNCTION_WALK6] = { "table_walk6", 3 },     [FUNCTION_GO_ON4] = { "table_go_on4", 3 },
	[FUNCTION_GO_ON6] = { "table_go_on6", 3 },
};

unsigned walker_function(const struct walker *walker, uint32_t image_function)
{
	unsigned function = 0;

	while (function < FUNCTION_COUNT &&
	       strcmp(functions[function].name, walker->image.functions[image_function].name))
		function++;
	return function;
}

unsigned walker_arguments(unsigned function)
{
	return function < FUNCTION_COUNT ? functions[function].arguments : 5;
}

enum { HELPER_LOOKUP = 1 };

/* --- words -------------------------------------------------------------------------------------------------------- */

struct running {
	struct walker *walker;
	struct machine *machine;
	bdd_ref set;
	struct opened *opened;
	struct stopped stopped;
	bool stops;
};

static void stop(struct running *running, enum stop why)
{
	running->stopped.stop = why;
	running->stops = true;
}

static void fail(struct running *running, const char *what)
{
	walker_fail(running->walker, running->machine->at, what);
	stop(running, STOP_FAILED);
}

static struct word number_word(struct walker *walker, uint64_t number)
{
	return (struct word){ WORD_NUMBER, vec_number(walker, number) };
}

static struct word operand(const struct running *running, const struct insn *insn)
{
	return insn->by_register ? running->machine->registers[insn->src] : number_word(running->walker, insn->number);
}

static void set_register(struct running *running, unsigned number, struct word word)
{
	if (number >= FP)
		fail(running, "writes the frame pointer");
	else
		running->machine->registers[number] = word;
}

/* --- arithmetic --------------------------------------------------------------------------------------------------- */

static void do_move(struct running *running, const struct insn *insn)
{
	struct word word;

	if (insn->by_register && insn->src >= FP) {
		fail(running, "copies the frame pointer");
		return;
	}
	word = operand(running, insn);
	if (word.kind == WORD_NONE || (!insn->wide && word.kind != WORD_NUMBER)) {
		fail(running, "copies what is no number");
		return;
	}
	if (!insn->wide)
		word.bits = vec_part(running->walker, word.bits, 0, 32);
	set_register(running, insn->dst, word);
}

static bool is_address(const struct word *word)
{
	return word->kind >= WORD_PACKET;
}

static void do_arithmetic(struct running *running, const struct insn *insn)
{
	struct word left, right;

	if (insn->dst >= FP || (insn->by_register && insn->src >= FP)) {
		fail(running, "calculates with the frame pointer");
		return;
	}
	left = running->machine->registers[insn->dst];
	right = operand(running, insn);
	if (insn->kind == INSN_ADD && insn->wide && is_address(&right)) {
		struct word swap = left;

		left = right;
		right = swap;
	}
	if (right.kind != WORD_NUMBER ||
	    (left.kind != WORD_NUMBER && !(is_address(&left) && insn->kind == INSN_ADD && insn->wide))) {
		fail(running, "calculates with what is no number");
		return;
	}
	left.bits = vec_operate(running->walker, (enum insn_kind)insn->kind, insn->wide, left.bits, right.bits);
	set_register(running, insn->dst, left);
}

/* Of numbers that are not both known, nobody knows the product but that it is theirs. */
static void do_multiply(struct running *running, const struct insn *insn)
{
	struct word left = running->machine->registers[insn->dst % FP], right;
	uint64_t a, b;

	if (insn->dst >= FP || (insn->by_register && insn->src >= FP) || !insn->wide) {
		fail(running, "multiplies what is not understood");
		return;
	}
	right = operand(running, insn);
	if (left.kind != WORD_NUMBER || right.kind != WORD_NUMBER)
		fail(running, "multiplies what is no number");
	else if (vec_known(running->walker, left.bits, &a) && vec_known(running->walker, right.bits, &b))
		set_register(running, insn->dst, number_word(running->walker, a * b));
	else
		set_register(running, insn->dst, (struct word){ WORD_NUMBER, vec_opaque(running->walker, INSN_MULTIPLY,
											left.bits, right.bits) });
}

static void do_negate(struct running *running, const struct insn *insn)
{
	struct word word = running->machine->registers[insn->dst % FP];

	if (word.kind != WORD_NUMBER || insn->dst >= FP) {
		fail(running, "negates what is no number");
		return;
	}
	word.bits = vec_operate(running->walker, INSN_SUB, insn->wide, vec_number(running->walker, 0), word.bits);
	set_register(running, insn->dst, word);
}

static void do_place(struct running *running, const struct insn *insn)
{
	static const uint8_t kinds[] = { [PLACE_TABLE] = WORD_TABLE, [PLACE_CONFIG] = WORD_CONFIG,
					 [PLACE_EPOCH] = WORD_EPOCH };
	struct word word = number_word(running->walker, 0);

	word.kind = kinds[insn->number];
	set_register(running, insn->dst, word);
}

static void do_branch(struct running *running, const struct insn *insn)
{
	struct word left = running->machine->registers[insn->dst % FP], right;
	uint64_t number;

	if (insn->dst >= FP || (insn->by_register && insn->src >= FP)) {
		fail(running, "compares the frame pointer");
		return;
	}
	right = operand(running, insn);
	if (left.kind == WORD_NUMBER && right.kind == WORD_NUMBER) {
		running->stopped.condition =
			vec_compare(running->walker, (enum compare)insn->compare, insn->wide, left.bits, right.bits);
	} else if (is_address(&left) && insn->wide && right.kind == WORD_NUMBER &&
		   vec_known(running->walker, right.bits, &number) && !number &&
		   (insn->compare == COMPARE_EQ || insn->compare == COMPARE_NE)) {
		running->stopped.condition = insn->compare == COMPARE_NE ? BDD_TRUE : BDD_FALSE; /* no address is 0 */
	} else {
		fail(running, "compares what is no number");
		return;
	}
	stop(running, STOP_BRANCH);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* Of a word, the bytes from `at` on. */
static struct word bytes_of(struct walker *walker, vec word, unsigned at, unsigned size)
{
	return (struct word){ WORD_NUMBER, vec_part(walker, word, at * 8, size * 8) };
}

static vec address_of(struct running *running, const struct word *base, int16_t offset)
{
	return vec_add(running->walker, base->bits, (uint64_t)(int64_t)offset);
}

static void load_stack(struct running *running, const struct insn *insn)
{
	unsigned word = walker_stack_word(insn, FP);
	const struct word *there = &running->machine->stack[word % STACK_WORDS];

	if (word >= STACK_WORDS || insn->offset % 8 ||
	    (insn->size == 8 ? there->kind == WORD_NONE || there->kind == WORD_HALF :
			       insn->size != 4 || (there->kind != WORD_HALF && there->kind != WORD_NUMBER))) {
		fail(running, "reads a part of the stack that was not written so");
		return;
	}
	if (insn->size == 8)
		set_register(running, insn->dst, *there);
	else
		set_register(running, insn->dst, bytes_of(running->walker, there->bits, 0, 4));
}

/* One of the packet's words, whichever bits 3 to 7 of the address say. */
static vec packet_word(struct running *running, vec address)
{
	struct walker *walker = running->walker;
	const bdd_ref *bits = vec_bits(walker, address);
	vec words[32];
	unsigned count = 32;

	for (unsigned i = 0; i < 32; i++)
		words[i] = running->machine->packet[i % IMAGE_WORDS];
	for (unsigned bit = 3; bit < 8; bit++) {
		count /= 2;
		for (unsigned i = 0; i < count; i++)
			words[i] = vec_choose(walker, bits[bit], words[2 * i + 1], words[2 * i]);
	}
	return words[0];
}

static void load_packet(struct running *running, const struct insn *insn, vec address)
{
	struct walker *walker = running->walker;
	bdd_ref low = BDD_FALSE, inside;
	uint64_t number;

	if (vec_known(walker, address, &number)) {
		if (number % insn->size || number > sizeof(struct packet) - insn->size)
			fail(running, "reads behind struct packet");
		else
			set_register(running, insn->dst, bytes_of(walker, running->machine->packet[number / 8],
								  number % 8, insn->size));
		return;
	}
	for (unsigned i = 0; i < 3; i++)
		low = bdd_or(walker->bdd, low, vec_bits(walker, address)[i]);
	inside = vec_compare(walker, COMPARE_LE, true, address, vec_number(walker, sizeof(struct packet) - 8));
	if (low != BDD_FALSE || insn->size != 8 || bdd_meet(walker->bdd, bdd_not(walker->bdd, inside), running->set)) {
		fail(running, "may read behind struct packet");
		return;
	}
	set_register(running, insn->dst, (struct word){ WORD_NUMBER, packet_word(running, address) });
}

static void load_config(struct running *running, const struct insn *insn, vec address)
{
	uint64_t number, value = 0;

	if (!vec_known(running->walker, address, &number) || number % insn->size ||
	    number > sizeof(struct table_config) - insn->size) {
		fail(running, "reads behind table_config");
		return;
	}
	memcpy(&value, (const char *)running->walker->config + number, insn->size);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value >>= 64 - insn->size * 8;
#endif
	set_register(running, insn->dst, number_word(running->walker, value));
}

static void load_epoch(struct running *running, const struct insn *insn, vec address)
{
	uint64_t number;

	if (!vec_known(running->walker, address, &number) || number || insn->size != 8)
		fail(running, "reads beside `epoch`");
	else
		set_register(running, insn->dst,
			     (struct word){ WORD_NUMBER, vec_source(running->walker, FROM_EPOCH, 0) });
}

/* Which of the words that are known it is; false: none. */
static bool find_open(struct running *running, vec index, vec *ret_word)
{
	struct walker *walker = running->walker;

	for (unsigned i = 0; i < running->opened->count; i++) {
		const struct open *open = &running->opened->list[i];

		for (unsigned word = 0; word < open->count; word++) {
			if (!vec_equal(walker, running->set, 61, index, vec_add(walker, open->index, word)))
				continue;
			*ret_word = open->words[word];
			return true;
		}
	}
	return false;
}

static void load_blob(struct running *running, const struct insn *insn, vec address)
{
	struct walker *walker = running->walker;
	const bdd_ref *bits = vec_bits(walker, address);
	unsigned byte = 0;
	vec word;

	if (insn->size == 2 && bits[1] > BDD_TRUE && bits[0] == BDD_FALSE) {
		word = vec_opaque(walker, PILOT, vec_part(walker, address, 1, 63), 0);
		set_register(running, insn->dst, bytes_of(walker, word, 0, 2));
		return;
	}
	for (unsigned i = 0; i < 3; i++) {
		if (bits[i] > BDD_TRUE)
			fail(running, "reads at an odd place of the table");
		byte |= (bits[i] == BDD_TRUE) << i;
	}
	running->stopped.index = vec_part(walker, address, 3, 61);
	if (byte % insn->size)
		fail(running, "reads at an odd place of the table");
	if (running->stops)
		return;
	if (find_open(running, running->stopped.index, &word))
		set_register(running, insn->dst, bytes_of(walker, word, byte, insn->size));
	else
		stop(running, STOP_READ);
}

static void do_load(struct running *running, const struct insn *insn)
{
	const struct word *base;
	vec address;

	if (insn->src == FP) {
		load_stack(running, insn);
		return;
	}
	base = &running->machine->registers[insn->src];
	if (!is_address(base) || base->kind == WORD_TABLE) {
		fail(running, "reads at what is no address");
		return;
	}
	address = address_of(running, base, insn->offset);
	if (base->kind == WORD_PACKET)
		load_packet(running, insn, address);
	else if (base->kind == WORD_CONFIG)
		load_config(running, insn, address);
	else if (base->kind == WORD_EPOCH)
		load_epoch(running, insn, address);
	else
		load_blob(running, insn, address);
}

static void store_stack(struct running *running, const struct insn *insn, struct word word)
{
	unsigned at = walker_stack_word(insn, FP);

	if (at >= STACK_WORDS || insn->offset % 8 || word.kind == WORD_NONE ||
	    (insn->size != 8 && (insn->size != 4 || word.kind != WORD_NUMBER))) {
		fail(running, "writes to the stack what is not understood");
		return;
	}
	if (insn->size == 4)
		word = (struct word){ WORD_HALF, vec_part(running->walker, word.bits, 0, 32) };
	running->machine->stack[at] = word;
}

static void do_store(struct running *running, const struct insn *insn)
{
	struct word word = insn->by_register && insn->src >= FP ? (struct word){ WORD_NONE, 0 } : operand(running, insn);
	const struct word *base;
	uint64_t number;
	vec *there;

	if (insn->dst == FP) {
		store_stack(running, insn, word);
		return;
	}
	base = &running->machine->registers[insn->dst];
	if (base->kind != WORD_PACKET || word.kind != WORD_NUMBER ||
	    !vec_known(running->walker, address_of(running, base, insn->offset), &number) || number % insn->size ||
	    number > sizeof(struct packet) - insn->size) {
		fail(running, "writes what is not understood");
		return;
	}
	there = &running->machine->packet[number / 8];
	*there = vec_with(running->walker, *there, number % 8 * 8, insn->size * 8u, word.bits);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static void forget_scratch(struct machine *machine)
{
	memset(machine->registers, 0, 6 * sizeof machine->registers[0]); /* WORD_NONE */
}

/* The blob is the only element, of key table_config.zero. */
static void do_lookup(struct running *running, const struct insn *insn)
{
	const struct word *map = &running->machine->registers[1], *key = &running->machine->registers[2];
	uint64_t number;

	if (insn->number != HELPER_LOOKUP || map->kind != WORD_TABLE || key->kind != WORD_CONFIG ||
	    !vec_known(running->walker, key->bits, &number) || number != offsetof(struct table_config, zero) ||
	    running->walker->config->zero) {
		fail(running, "looks up what is not understood");
		return;
	}
	forget_scratch(running->machine);
	running->machine->registers[0] = (struct word){ WORD_BLOB, vec_number(running->walker, 0) };
}

static void do_call(struct running *running, const struct insn *insn)
{
	running->stopped.function = insn->kind == INSN_CALL ?
		walker_function(running->walker, (uint32_t)insn->number) : FUNCTION_COUNT;
	stop(running, insn->kind == INSN_CALL ? STOP_CALL : STOP_REST);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static void step(struct running *running, const struct insn *insn)
{
	switch (insn->kind) {
	case INSN_MOVE:
		do_move(running, insn);
		break;
	case INSN_ADD:
	case INSN_SUB:
	case INSN_AND:
	case INSN_OR:
	case INSN_XOR:
	case INSN_LEFT:
	case INSN_RIGHT:
	case INSN_RIGHT_SIGNED:
		do_arithmetic(running, insn);
		break;
	case INSN_MULTIPLY:
		do_multiply(running, insn);
		break;
	case INSN_NEGATE:
		do_negate(running, insn);
		break;
	case INSN_PLACE:
		do_place(running, insn);
		break;
	case INSN_LOAD:
		do_load(running, insn);
		break;
	case INSN_STORE:
		do_store(running, insn);
		break;
	case INSN_BRANCH:
		do_branch(running, insn);
		break;
	case INSN_HELPER:
		do_lookup(running, insn);
		break;
	case INSN_CALL:
	case INSN_REST:
		do_call(running, insn);
		break;
	case INSN_EXIT:
		stop(running, STOP_EXIT);
		break;
	case INSN_GOTO:
	case INSN_MAY_GOTO:
		break;
	default:
		fail(running, "is not understood");
	}
}

enum { TURNS_MAX = 20000 };

struct stopped machine_run(struct walker *walker, struct machine *machine, bdd_ref set, struct opened *opened)
{
	struct running running = { .walker = walker, .machine = machine, .set = set, .opened = opened };

	for (unsigned turn = 0; !running.stops; turn++) {
		const struct insn *insn = &walker->insns[machine->at];

		if (walker_idles(walker, machine->at))
			machine->registers[insn->dst] = (struct word){ WORD_NONE, 0 };
		else if (!walker->joins[machine->at])
			step(&running, insn);
		if (turn > TURNS_MAX)
			fail(&running, "is reached again and again");
		if (walker_over(walker))
			stop(&running, STOP_FAILED);
		if (running.stops)
			break;
		machine->at = walker_next(walker, machine->at);
		if (machine->at >= walker->image.insn_count) {
			machine->at = (uint32_t)walker->image.insn_count - 1;
			fail(&running, "runs out of the code");
		}
	}
	return running.stopped;
}

void machine_branch(struct walker *walker, struct machine *machine, bool taken)
{
	machine->at = taken ? walker_target(walker, machine->at) : machine->at + 1;
	if (machine->at >= walker->image.insn_count) {
		machine->at = 0;
		walker_fail(walker, 0, "is jumped to from elsewhere");
	}
}

void machine_return(struct walker *walker, struct machine *machine, vec answer)
{
	(void)walker;
	forget_scratch(machine);
	machine->registers[0] = (struct word){ WORD_NUMBER, answer };
	machine->at++;
}
