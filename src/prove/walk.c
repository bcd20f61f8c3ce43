/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Walks the instructions. In: prove->insns; out: the diagram of what classify() returns for each packet. What is not
 * understood stops the proof, with the instruction named.
 *
 * A state is an instruction and what the registers that still matter hold there, symbolically. Jumps go forward, so
 * states form a graph without cycles; each one's diagram is made once, from those of the states it leads to. A branch
 * on what is known leads to one state, any other to two under a condition on the packet; so does a lookup, under an
 * atom. A called function's diagram is walked first, and each number that it returns leads on to a state.
 */
#include <stddef.h>
#include <string.h>

#include "prove/walk.h"

enum { CALLS_MAX = 8, STACK_BYTES = 64, HELPER_LOOKUP = 1, STATES_MAX = 4000000 };

/* Straight-line execution from a state. */
struct run {
	uint32_t at;
	uint32_t registers[REGISTERS];
	source_bit stack[STACK_BYTES * 8]; /* from the frame pointer downwards: byte -n at n - 1 */
	bool written[STACK_BYTES];
};

/* --- states --------------------------------------------------------------------------------------------- */

static uint32_t state_of(struct walk *walk, uint32_t at, const uint32_t *registers)
{
	struct state state;
	uint32_t number;

	memset(&state, 0, sizeof state);
	state.at = at;
	for (unsigned i = 0; i < FP; i++)
		if (walk->live[at] >> i & 1)
			state.registers[i] = registers[i];
	number = intern_number(&walk->states, &state);
	if (number == walk->nexts.count)
		VEC_PUSH(walk->prove->arena, &walk->nexts).done = false;
	if (walk->nexts.count > STATES_MAX)
		walk->prove->bdd->over = true;
	return number;
}

static const struct value *register_at(const struct walk *walk, const struct run *run, unsigned number)
{
	return value_at(walk->prove, run->registers[number]);
}

static const struct value *operand(const struct walk *walk, const struct run *run, const struct insn *insn)
{
	return insn->by_register ? register_at(walk, run, insn->src) :
				   value_at(walk->prove, value_number(walk->prove, insn->number));
}

/* From here on nothing is known: packets that get here are told apart from all others. */
static void trouble(struct walk *walk, uint32_t at, const char *what)
{
	struct prove *prove = walk->prove;

	if (walk->trouble)
		return;
	VEC_PUSH(prove->arena, &prove->troubles) = walk_text(walk, at, what);
	walk->trouble = prove->troubles.count;
}

static void set_register(struct walk *walk, struct run *run, unsigned number, const struct value *value)
{
	if (number == FP)
		trouble(walk, run->at, "writes the frame pointer");
	run->registers[number] = intern_number(&walk->prove->values, value);
}

/* --- single instructions -------------------------------------------------------------------------------- */

static void do_move(struct walk *walk, struct run *run, const struct insn *insn)
{
	struct value value = *operand(walk, run, insn);

	if (value.kind == VALUE_NONE || (!insn->wide && value.kind != VALUE_BITS)) {
		trouble(walk, run->at, "copies what is not known to be a number");
		return;
	}
	if (!insn->wide)
		memset(value.bits + 32, 0, 32 * sizeof value.bits[0]); /* SOURCE_0 */
	set_register(walk, run, insn->dst, &value);
}

static void do_and(struct walk *walk, struct run *run, const struct insn *insn)
{
	struct value value = *register_at(walk, run, insn->dst);
	const struct value *mask = operand(walk, run, insn);

	if (value.kind != VALUE_BITS || mask->kind != VALUE_BITS) {
		trouble(walk, run->at, "masks what is not a number");
		return;
	}
	for (unsigned i = 0; i < 64; i++) {
		if (mask->bits[i] == SOURCE_0 || value.bits[i] == SOURCE_0 || (!insn->wide && i >= 32))
			value.bits[i] = SOURCE_0;
		else if (value.bits[i] == SOURCE_1)
			value.bits[i] = mask->bits[i];
		else if (mask->bits[i] != SOURCE_1 && mask->bits[i] != value.bits[i])
			trouble(walk, run->at, "masks one part of the packet with another");
	}
	set_register(walk, run, insn->dst, &value);
}

static void do_add(struct walk *walk, struct run *run, const struct insn *insn)
{
	struct value value = *register_at(walk, run, insn->dst);
	uint64_t number, more;

	if (!insn->wide || !value_known(operand(walk, run, insn), &more)) {
		trouble(walk, run->at, "adds what is not understood");
		return;
	}
	if (value.kind == VALUE_STACK && (int64_t)more >= -STACK_BYTES && (int64_t)more <= STACK_BYTES) {
		value.number += (int32_t)(int64_t)more;
		set_register(walk, run, insn->dst, &value);
	} else if (value_known(&value, &number)) {
		run->registers[insn->dst] = value_number(walk->prove, number + more);
	} else {
		trouble(walk, run->at, "adds to what is not understood");
	}
}

static void do_bytes(struct walk *walk, struct run *run, const struct insn *insn)
{
	const struct value old = *register_at(walk, run, insn->dst);
	struct value value = old;

	if (old.kind != VALUE_BITS) {
		trouble(walk, run->at, "turns round what is not a number");
		return;
	}
	memset(value.bits, 0, sizeof value.bits);
	for (unsigned i = 0; i < insn->size * 8u; i++) {
		unsigned from = insn->kind == INSN_CUT ? i : (insn->size - 1 - i / 8) * 8 + i % 8;

		value.bits[i] = old.bits[from];
	}
	set_register(walk, run, insn->dst, &value);
}

/* Which field the byte is of; of two families' addresses, one that is filled in. */
void note_byte(struct prove *prove, int byte)
{
	bool filled = byte >= (int)offsetof(struct packet, tuned); /* and what lies behind it */
	const char *name = "a reserved member";

	for (int field = 0; field < FIELD_COUNT; field++) {
		const struct field_info *info = &field_table[field];

		if (byte < info->offset || byte >= info->offset + info->size)
			continue;
		prove->fields |= FIELD_BIT(field);
		filled |= prove->input->needed >> field & 1;
		name = info->name;
	}
	prove->reads_tuned |= byte >= (int)offsetof(struct packet, tuned) && byte < (int)offsetof(struct packet, resume);
	if (!filled && !prove->unfilled)
		prove->unfilled = name;
}

static void do_load(struct walk *walk, struct run *run, const struct insn *insn)
{
	const struct value *from = register_at(walk, run, insn->src);
	struct value value;

	if (from->kind != VALUE_PACKET || insn->offset < 0 || insn->offset + insn->size > PACKET_BYTES) {
		trouble(walk, run->at, "reads memory that is not of struct packet");
		return;
	}
	memset(&value, 0, sizeof value);
	value.kind = VALUE_BITS;
	for (unsigned i = 0; i < insn->size * 8u; i++)
		value.bits[i] = (source_bit)(SOURCE_PACKET + insn->offset * 8 + (int)i);
	for (int i = 0; i < insn->size; i++)
		note_byte(walk->prove, insn->offset + i);
	set_register(walk, run, insn->dst, &value);
}

static void do_store(struct walk *walk, struct run *run, const struct insn *insn)
{
	const struct value *to = register_at(walk, run, insn->dst), *value = operand(walk, run, insn);
	int at = to->number + insn->offset;

	if (to->kind != VALUE_STACK || at < -STACK_BYTES || at + insn->size > 0 || value->kind != VALUE_BITS) {
		trouble(walk, run->at, "writes what is not a number or not to the stack");
		return;
	}
	for (int i = 0; i < insn->size; i++) {
		memcpy(run->stack + (-(at + i) - 1) * 8, value->bits + i * 8, 8 * sizeof value->bits[0]);
		run->written[-(at + i) - 1] = true;
	}
}

/* The condition under which the lookup finds something, and which lookup it is. */
static bdd_ref look_up(struct walk *walk, struct run *run, uint32_t *ret_atom)
{
	const struct value *map = register_at(walk, run, 1), *key = register_at(walk, run, 2);
	struct atom atom;
	bdd_ref found;
	unsigned bytes;

	if (map->kind != VALUE_MAP || key->kind != VALUE_STACK) {
		trouble(walk, run->at, "looks up in what is not a map, or what is not on the stack");
		return BDD_FALSE;
	}
	memset(&atom, 0, sizeof atom);
	atom.map = (uint32_t)map->number;
	bytes = key_bytes(&walk->prove->input->maps[atom.map]);
	for (unsigned i = 0; i < bytes; i++) {
		int at = -(key->number + (int)i) - 1;

		if (at < 0 || at >= STACK_BYTES || !run->written[at]) {
			trouble(walk, run->at, "looks up a key that is not all written");
			return BDD_FALSE;
		}
		memcpy(atom.key + i * 8, run->stack + at * 8, 8 * sizeof atom.key[0]);
	}
	walk->prove->reads_sets |= walk->prove->input->maps[atom.map].named >= 0;
	found = atom_set(walk->prove, &atom);
	*ret_atom = intern_number(&walk->prove->atoms, &atom);
	return found;
}

/* --- states to states ----------------------------------------------------------------------------------- */

static void lead(struct walk *walk, uint32_t from, bdd_ref condition, uint32_t yes, uint32_t no)
{
	struct next *next = &walk->nexts.items[from];

	next->expanded = true;
	next->condition = condition;
	next->to[0] = condition == BDD_FALSE ? no : yes;
	next->to[1] = condition == BDD_TRUE ? yes : no;
}

enum { NO_ADDRESS = 4096 }; /* nothing is there or within as much of the end */

static void end_branch(struct walk *walk, uint32_t from, struct run *run, const struct insn *insn)
{
	const struct value *left = register_at(walk, run, insn->dst), *right = operand(walk, run, insn);
	bool pointer = left->kind == VALUE_PACKET || left->kind == VALUE_ELEMENT || left->kind == VALUE_STACK;
	uint32_t yes, no;
	uint64_t number;
	bdd_ref condition;

	if (left->kind == VALUE_BITS && right->kind == VALUE_BITS) {
		condition = value_compare(walk->prove, insn->compare, insn->wide, left, right);
	} else if (pointer && insn->wide && value_known(right, &number) &&
		   (number < NO_ADDRESS || number > -(uint64_t)NO_ADDRESS) &&
		   (insn->compare == COMPARE_EQ || insn->compare == COMPARE_NE)) {
		condition = insn->compare == COMPARE_NE ? BDD_TRUE : BDD_FALSE;
	} else {
		trouble(walk, run->at, "compares what is not understood");
		return;
	}
	yes = state_of(walk, flow_target(run->at, insn), run->registers);
	no = state_of(walk, run->at + 1, run->registers);
	lead(walk, from, condition, yes, no);
}

static void forget_scratch(struct run *run)
{
	memset(run->registers, 0, 6 * sizeof run->registers[0]); /* VALUE_NONE */
	memset(run->written, 0, sizeof run->written);
}

static void end_helper(struct walk *walk, uint32_t from, struct run *run, const struct insn *insn)
{
	uint32_t yes, no, atom = 0;
	bdd_ref found;

	if (insn->number != HELPER_LOOKUP) {
		trouble(walk, run->at, "calls a helper that is not understood");
		return;
	}
	found = look_up(walk, run, &atom);
	forget_scratch(run);
	run->registers[0] = value_simple(walk->prove, VALUE_ELEMENT, (int32_t)atom);
	yes = state_of(walk, run->at + 1, run->registers);
	run->registers[0] = value_number(walk->prove, 0);
	no = state_of(walk, run->at + 1, run->registers);
	lead(walk, from, found, yes, no);
}

/* Which field the plane shall ask shorter prefixes for, which only tries have. */
static bool right_field(const struct prove *prove, const struct atom *atom, uint64_t field)
{
	struct atom expected;

	if (!prove->input->maps[atom->map].lpm)
		return field == FIELD_COUNT;
	if (field >= FIELD_COUNT || field_table[field].size + 4u != key_bytes(&prove->input->maps[atom->map]))
		return false;
	expected = expected_atom(prove, atom->map, (enum field)field);
	return !memcmp(&expected, atom, sizeof expected);
}

/* Asks the plane whether the element that was found lives. */
static void end_lives(struct walk *walk, uint32_t from, struct run *run)
{
	struct prove *prove = walk->prove;
	const struct value *element = register_at(walk, run, 1);
	uint64_t set, field;
	struct atom atom;
	uint32_t yes, no;

	if (element->kind != VALUE_ELEMENT || register_at(walk, run, 2)->kind != VALUE_PACKET ||
	    !value_known(register_at(walk, run, 3), &set) || !value_known(register_at(walk, run, 4), &field)) {
		walk_stop(walk, run->at, "asks for the life of what is not an element");
		return;
	}
	atom = *(const struct atom *)intern_at(&prove->atoms, (uint32_t)element->number);
	if (!map_timed(prove, atom.map) || set != (uint64_t)prove->input->maps[atom.map].named ||
	    !right_field(prove, &atom, field)) {
		walk_stop(walk, run->at, "asks for the life of an element in another set");
		return;
	}
	atom.lives = 1;
	forget_scratch(run);
	run->registers[0] = value_number(prove, 1);
	yes = state_of(walk, run->at + 1, run->registers);
	run->registers[0] = value_number(prove, 0);
	no = state_of(walk, run->at + 1, run->registers);
	lead(walk, from, atom_set(prove, &atom), yes, no);
}

static bdd_ref evaluate(struct walk *walk, uint32_t state);

/* The callee sees its arguments, and a frame of its own. */
static bdd_ref call_result(struct walk *walk, const struct run *run, uint32_t function)
{
	uint32_t registers[REGISTERS] = { 0 };
	bdd_ref result;

	for (unsigned i = 1; i <= 5; i++) {
		if (register_at(walk, run, i)->kind == VALUE_STACK)
			trouble(walk, run->at, "passes a place on its stack on");
		registers[i] = run->registers[i];
	}
	if (++walk->depth > CALLS_MAX)
		trouble(walk, run->at, "calls too deep");
	result = prove_stopped(walk->prove) || walk->trouble ? BDD_FALSE :
		 evaluate(walk, state_of(walk, walk->prove->image.functions[function].first, registers));
	walk->depth--;
	return result;
}

static void end_call(struct walk *walk, uint32_t from, struct run *run, const struct insn *insn)
{
	struct prove *prove = walk->prove;
	bdd_ref result = call_result(walk, run, (uint32_t)insn->number);
	const bdd_ref *leaves;
	uint32_t *leads;
	size_t count;

	if (prove_stopped(prove) || walk->trouble)
		return;
	leaves = bdd_leaves(prove->bdd, result, &count);
	leads = ARENA_ARRAY(prove->arena, uint32_t, count);
	forget_scratch(run);
	for (size_t i = 0; i < count; i++) {
		uint64_t number = number_of_leaf(prove, leaves[i]);

		run->registers[0] = value_number(prove, number);
		leads[i] = number & TROUBLE ? NO_STATE : state_of(walk, run->at + 1, run->registers);
	}
	walk->nexts.items[from].expanded = true;
	walk->nexts.items[from].called = result;
	walk->nexts.items[from].leaves = leaves;
	walk->nexts.items[from].leads = leads;
	walk->nexts.items[from].leaf_count = count;
}

static void end_exit(struct walk *walk, uint32_t from, const struct run *run)
{
	uint64_t number = 0;

	if (value_known(register_at(walk, run, 0), &number)) {
		/* classify() returns an int; within it, the upper bits would count. */
		if (!walk->depth)
			number = (uint32_t)number;
		else if (number & (NO_ANSWER | TROUBLE))
			trouble(walk, run->at, "returns too large a number");
	} else {
		/* A part of the packet as the answer: no answer at all. */
		if (walk->depth || register_at(walk, run, 0)->kind != VALUE_BITS)
			trouble(walk, run->at, "returns what is not a constant");
		number = NO_ANSWER | run->registers[0];
	}
	walk->nexts.items[from].expanded = walk->nexts.items[from].done = true;
	walk->nexts.items[from].result = leaf_of_number(walk->prove, number);
}

/* --- running -------------------------------------------------------------------------------------------- */

/* One instruction that goes on at the next. */
static void step(struct walk *walk, struct run *run, const struct insn *insn)
{
	struct value map;

	switch (insn->kind) {
	case INSN_MOVE:
		do_move(walk, run, insn);
		break;
	case INSN_AND:
		do_and(walk, run, insn);
		break;
	case INSN_ADD:
		do_add(walk, run, insn);
		break;
	case INSN_REVERSE:
	case INSN_CUT:
		do_bytes(walk, run, insn);
		break;
	case INSN_LOAD:
		do_load(walk, run, insn);
		break;
	case INSN_STORE:
		do_store(walk, run, insn);
		break;
	case INSN_MAP:
		memset(&map, 0, sizeof map);
		map.kind = VALUE_MAP;
		map.number = (int32_t)insn->number;
		set_register(walk, run, insn->dst, &map);
		break;
	default:
		trouble(walk, run->at, "is not understood");
	}
}

/* Where control goes after this one alone; false: elsewhere, which is settled in nexts. */
static bool advance(struct walk *walk, uint32_t from, struct run *run)
{
	const struct insn *insn = &walk->prove->insns[run->at];
	uint32_t next = run->at + 1;

	switch (insn->kind) {
	case INSN_BRANCH:
		end_branch(walk, from, run, insn);
		return false;
	case INSN_HELPER:
		end_helper(walk, from, run, insn);
		return false;
	case INSN_CALL:
		end_call(walk, from, run, insn);
		return false;
	case INSN_LIVES:
		end_lives(walk, from, run);
		return false;
	case INSN_EXIT:
		end_exit(walk, from, run);
		return false;
	case INSN_GOTO:
		next = flow_target(run->at, insn);
		break;
	default:
		step(walk, run, insn);
		if (next < walk->prove->image.insn_count && walk->prove->insns[next].kind == INSN_SECOND)
			next++;
	}
	run->at = next;
	return true;
}

static void end_in_trouble(struct walk *walk, uint32_t from)
{
	struct next *next = &walk->nexts.items[from];

	next->expanded = next->done = true;
	next->result = leaf_of_number(walk->prove, TROUBLE | (walk->trouble - 1));
	walk->trouble = 0;
}

/* Runs on from a state to the next place where ways part or meet. */
static void expand(struct walk *walk, uint32_t from)
{
	const struct state *state = intern_at(&walk->states, from);
	struct run run = { .at = state->at };
	uint32_t end = walk->function_end[state->at];

	memcpy(run.registers, state->registers, sizeof state->registers);
	run.registers[FP] = value_simple(walk->prove, VALUE_STACK, 0);
	do {
		bool on = advance(walk, from, &run);

		if (on && run.at >= end)
			trouble(walk, end - 1, "runs out of its function");
		if (walk->trouble)
			end_in_trouble(walk, from);
		if (!on || run.at >= end || prove_stopped(walk->prove) || walk->nexts.items[from].done)
			return;
	} while (!walk->joins[run.at]);
	lead(walk, from, BDD_TRUE, state_of(walk, run.at, run.registers), state_of(walk, run.at, run.registers));
}

/* Puts states that are not done on the stack; true if there are none. */
static bool all_done(struct walk *walk, const uint32_t *states, size_t count)
{
	bool done = true;

	for (size_t i = 0; i < count; i++) {
		if (states[i] == NO_STATE || walk->nexts.items[states[i]].done)
			continue;
		VEC_PUSH(walk->prove->arena, &walk->pending) = states[i];
		done = false;
	}
	return done;
}

static bdd_ref join_call(struct walk *walk, const struct next *next)
{
	bdd_ref *to = ARENA_ARRAY(walk->prove->arena, bdd_ref, next->leaf_count);

	for (size_t i = 0; i < next->leaf_count; i++)
		to[i] = next->leads[i] == NO_STATE ? next->leaves[i] : walk->nexts.items[next->leads[i]].result;
	return bdd_replace(walk->prove->bdd, next->called, next->leaves, to, next->leaf_count);
}

/* Finishes the state, or puts what it needs on the stack. */
static void work_on(struct walk *walk, uint32_t state)
{
	struct next *next = &walk->nexts.items[state];

	if (!next->expanded) {
		expand(walk, state);
		return;
	}
	if (next->leads ? !all_done(walk, next->leads, next->leaf_count) : !all_done(walk, next->to, 2))
		return;
	if (next->leads)
		next->result = join_call(walk, next);
	else
		next->result = bdd_ite(walk->prove->bdd, next->condition, walk->nexts.items[next->to[0]].result,
				       walk->nexts.items[next->to[1]].result);
	next->done = true;
}

static bdd_ref evaluate(struct walk *walk, uint32_t state)
{
	size_t base = walk->pending.count;

	VEC_PUSH(walk->prove->arena, &walk->pending) = state;
	while (walk->pending.count > base && !prove_stopped(walk->prove)) {
		uint32_t top = walk->pending.items[walk->pending.count - 1];

		if (walk->nexts.items[top].done)
			walk->pending.count--;
		else
			work_on(walk, top);
	}
	walk->pending.count = base;
	return walk->nexts.items[state].result;
}

static int find_classify(const struct prove *prove)
{
	const char *name = prove->input->table ? "classify_rest" : "classify";

	for (size_t i = 0; i < prove->image.function_count; i++)
		if (!strcmp(prove->image.functions[i].name, name))
			return (int)i;
	return -1;
}

bdd_ref walk_program(struct prove *prove)
{
	struct walk walk = { .prove = prove };
	uint32_t registers[REGISTERS] = { 0 };
	int classify = find_classify(prove);

	if (classify < 0) {
		prove_stop(prove, "the object has no function that classifies");
		return BDD_FALSE;
	}
	intern_init(&walk.states, prove->arena, sizeof(struct state));
	flow_find(&walk);
	if (prove_stopped(prove))
		return BDD_FALSE;
	registers[1] = value_simple(prove, VALUE_PACKET, 0);
	return evaluate(&walk, state_of(&walk, prove->image.functions[classify].first, registers));
}
