/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The comparison: program and rules go through the packets side by side. In: both as diagrams, and the packets that
 * there are; out: equal, or the packets that are judged differently.
 *
 * A step compares, for a set of packets, a diagram of the program with one of the rules. Where the leaves of the rules
 * go on elsewhere (a rule that acts and does not decide, a chain), the packets that came there wait for a step with
 * the next diagram of the rules; where the program's answer ends in STEP_RESUME, with the program's diagram from
 * there. Where both ask for the same token, the packets wait in two places, with it and without. What the rules did and the program has not done yet is kept as owed. Steps are taken in the order of the
 * rules, so that packets which meet again are compared together.
 */
#include <stddef.h>
#include <string.h>

#include "prove/table.h"

/* Effects that the rules have had and the program owes, the last first. Zeroed before it is filled. */
struct owed {
	struct effect effect;
	uint32_t before; /* number of the ones before; OWED_NONE */
};
#define OWED_NONE UINT32_MAX

/* Where packets are. Zeroed before it is filled. */
struct meeting {
	uint32_t resume; /* the program answers from here, */
	uint32_t step;   /* or is in the run of steps from index `step` - 1 on; 0: it is not */
	uint32_t owed;
	uint32_t place;  /* of the rules; if `decided` meaningless */
	uint32_t decided, verdict, slot;
};

/* A part of the packet that should be this answer. */
struct part {
	uint32_t value, answer;
};

enum { OWED_MAX = STEPS_MAX, MEETINGS_MAX = 200000 };

struct comparing {
	struct prove *prove;
	struct intern meetings, owed, parts;
	VEC(bdd_ref) waiting; /* by meeting: packets */
	VEC(bdd_ref) seen;
	VEC(uint32_t) twins;  /* by meeting: the meeting of the same packets without the token, + 1; or 0 */
	const struct meeting *now;
	bdd_ref different;
	struct effect owing[OWED_MAX];
};

/* Leaf values of a joined diagram. */
enum { JOIN_FINE = 0, JOIN_DIFFERENT = LEAF_FIRST, JOIN_TROUBLED, JOIN_MEETING };
#define JOIN_PART (1u << 31)

/* --- answers -------------------------------------------------------------------------------------------- */

static struct effect effect_of_step(const struct step *step)
{
	struct effect effect = { step->kind, step->slot, 0, 0 };

	if (step->kind == STEP_MARK || step->kind == STEP_KNOCK)
		effect.slot = 0;
	if (step->kind != STEP_COUNT) {
		effect.a = step->a;
		effect.b = step->b;
	}
	if (step->kind == STEP_MARK)
		effect.a &= effect.b;
	return effect;
}

static bool changes_set(const struct step *step)
{
	return step->kind == STEP_ADD || step->kind == STEP_REMOVE;
}

static struct answer_run read_steps(struct prove *prove, uint32_t first)
{
	const struct prove_input *input = prove->input;
	struct answer_run run = { .broken = NULL };
	struct effect *effects;
	uint32_t at = first;

	while (at < input->step_count && input->steps[at].kind != STEP_VERDICT &&
	       input->steps[at].kind != STEP_RESUME && input->steps[at].kind != STEP_RATE)
		at++;
	if (at >= input->step_count)
		return (struct answer_run){ .broken = "a run of steps without an end" };
	effects = ARENA_ARRAY(prove->arena, struct effect, at - first);
	for (uint32_t i = first; i < at; i++) {
		const struct step *step = &input->steps[i];

		if (changes_set(step) && (step->a >= FIELD_COUNT || !(input->needed >> step->a & 1)))
			run.broken = "a set changed by what the data plane does not fill in";
		else if (step->kind != STEP_COUNT && step->kind != STEP_LOG && step->kind != STEP_MARK &&
			 step->kind != STEP_KNOCK && step->kind != STEP_CAPTURE &&
			 step->kind != STEP_THROTTLE && !changes_set(step))
			run.broken = "an unknown step";
		if (step->kind == STEP_COUNT && step->slot >= input->slots)
			run.broken = "a counter that there is not";
		effects[run.effect_count++] = effect_of_step(step);
	}
	run.effects = effects;
	run.asks = input->steps[at].kind == STEP_RATE;
	run.rate = input->steps[at].a;
	run.with = at + 1;
	run.without = input->steps[at].b;
	if (run.asks && (run.without >= input->step_count || run.rate >= input->rate_count))
		run.broken = "a rate or a step that there is not";
	run.resumes = input->steps[at].kind == STEP_RESUME;
	run.resume = run.verdict = input->steps[at].a;
	run.slot = input->steps[at].slot;
	return run;
}

struct answer_run answer_read(struct prove *prove, uint64_t number)
{
	uint32_t answer = (uint32_t)number;
	struct answer_run run = { .verdict = answer & 3, .slot = answer >> ANSWER_SHIFT };

	if (number & TROUBLE)
		run.broken = prove->troubles.items[number & ~TROUBLE];
	else if (number & NO_ANSWER)
		run.broken = "a part of the packet as the answer";
	else if (answer & ANSWER_STEPS)
		run = read_steps(prove, answer >> ANSWER_SHIFT);
	if (!run.broken && !run.resumes && !run.asks && (run.verdict > ANSWER_REJECT || run.slot >= prove->input->slots))
		run.broken = "an answer out of bounds";
	return run;
}

bdd_ref rest_at(struct prove *prove, uint32_t resume)
{
	uint8_t bits[LEVELS];

	memset(bits, 2, sizeof bits);
	for (unsigned i = 0; prove->fixed && i < PACKET_BITS; i++)
		bits[prove->level_of_bit[i]] = prove->fixed[i];
	for (unsigned i = 0; i < 32; i++)
		bits[prove->level_of_bit[offsetof(struct packet, resume) * 8 + i]] = resume >> i & 1;
	return bdd_restrict(prove->bdd, prove->program, bits, LEVELS);
}

bdd_ref program_at(struct prove *prove, uint32_t resume)
{
	if (prove->walked && prove->walked->resume == resume)
		return leaf_of_number(prove, prove->walked->answer);
	return prove->table ? table_program(prove, resume) : rest_at(prove, resume);
}

bdd_ref program_in_run(struct prove *prove, uint32_t step)
{
	return leaf_of_number(prove, ANSWER_RUN(step));
}

/* --- meetings ------------------------------------------------------------------------------------------- */

static uint32_t meeting_number(struct comparing *comparing, const struct meeting *meeting)
{
	uint32_t number = intern_number(&comparing->meetings, meeting);

	if (number == comparing->waiting.count) {
		VEC_PUSH(comparing->prove->arena, &comparing->waiting) = BDD_FALSE;
		VEC_PUSH(comparing->prove->arena, &comparing->seen) = BDD_FALSE;
		VEC_PUSH(comparing->prove->arena, &comparing->twins) = 0;
	}
	if (number > MEETINGS_MAX)
		comparing->prove->bdd->over = true;
	return number;
}

/* What is owed in order of time, in comparing->owing; returns how many. */
static size_t list_owed(struct comparing *comparing, uint32_t owed)
{
	size_t count = 0;

	for (uint32_t at = owed; at != OWED_NONE; at = ((const struct owed *)intern_at(&comparing->owed, at))->before)
		count++;
	for (size_t i = count; i; i--) {
		const struct owed *item = intern_at(&comparing->owed, owed);

		comparing->owing[i - 1] = item->effect;
		owed = item->before;
	}
	return count;
}

static uint32_t owe(struct comparing *comparing, const struct effect *effects, size_t count)
{
	uint32_t owed = OWED_NONE;

	for (size_t i = 0; i < count; i++) {
		struct owed item = { effects[i], owed };

		owed = intern_number(&comparing->owed, &item);
	}
	return owed;
}

static bdd_ref meet(struct comparing *comparing, const struct spec_leaf *leaf, uint32_t resume, uint32_t step,
		    const struct effect *effects, size_t count)
{
	struct meeting meeting;

	memset(&meeting, 0, sizeof meeting);
	meeting.resume = resume;
	meeting.step = step;
	meeting.owed = owe(comparing, effects, count);
	if (leaf->decided) {
		meeting.decided = 1;
		meeting.verdict = leaf->verdict;
		meeting.slot = leaf->slot;
	} else {
		meeting.place = leaf->place;
	}
	return bdd_leaf(comparing->prove->bdd, JOIN_MEETING + meeting_number(comparing, &meeting));
}

/* Both ask for the same token. */
static bdd_ref meet_twice(struct comparing *comparing, const struct spec_leaf *leaf, const struct answer_run *run)
{
	struct meeting with, without;
	uint32_t number;

	memset(&with, 0, sizeof with);
	with.resume = comparing->now->resume;
	with.owed = OWED_NONE;
	without = with;
	with.step = run->with + 1;
	with.place = leaf->place;
	without.step = run->without + 1;
	without.place = leaf->without;
	number = meeting_number(comparing, &with);
	comparing->twins.items[number] = meeting_number(comparing, &without) + 1;
	return bdd_leaf(comparing->prove->bdd, JOIN_MEETING + number);
}

/* --- leaves --------------------------------------------------------------------------------------------- */

static struct spec_leaf current_leaf(struct comparing *comparing, uint32_t value)
{
	const struct meeting *now = comparing->now;

	if (now->decided)
		return (struct spec_leaf){ .decided = true, .verdict = now->verdict, .slot = now->slot };
	return spec_leaf(comparing->prove, now->place, value);
}

/* Rules that ask have done nothing yet: they are met again where they are. */
static struct spec_leaf place_of(const struct comparing *comparing)
{
	return (struct spec_leaf){ .place = comparing->now->place };
}

static bdd_ref judge(struct comparing *comparing, const struct answer_run *run, const struct spec_leaf *leaf,
		     size_t owed)
{
	struct bdd *bdd = comparing->prove->bdd;
	const bdd_ref different = bdd_leaf(bdd, JOIN_DIFFERENT);
	size_t both = run->effect_count < owed ? run->effect_count : owed;
	struct spec_leaf asking;

	if (run->broken || (both && memcmp(run->effects, comparing->owing, both * sizeof *run->effects)))
		return different;
	if (leaf->asks) {
		if (run->asks && run->effect_count == owed && run->rate == leaf->rate && run->slot == leaf->slot)
			return meet_twice(comparing, leaf, run);
		if (!run->resumes || run->effect_count > owed)
			return different;
		asking = place_of(comparing);
		leaf = &asking;
	}
	if (run->resumes && run->effect_count <= owed) {
		if (run->resume > comparing->now->resume)
			return meet(comparing, leaf, run->resume, 0, comparing->owing + both, owed - both);
		comparing->prove->backwards = true;
		return bdd_leaf(bdd, JOIN_TROUBLED);
	}
	if (leaf->decided && (run->resumes || run->asks || run->effect_count != owed || run->verdict != leaf->verdict ||
			      run->slot != leaf->slot))
		return different;
	if (leaf->decided)
		return bdd_leaf(bdd, JOIN_FINE);
	if (run->effect_count < owed)
		return different; /* it ends before it has done all */
	return meet(comparing, leaf, comparing->now->resume, comparing->now->step, comparing->owing, owed);
}

/* A part of the packet is the answer: it may be the right one. */
static bdd_ref judge_part(struct comparing *comparing, uint32_t value, const struct spec_leaf *leaf, size_t owed)
{
	struct bdd *bdd = comparing->prove->bdd;
	struct part part = { value, ANSWER(leaf->verdict, leaf->slot) };

	if (owed)
		return bdd_leaf(bdd, JOIN_DIFFERENT);
	if (leaf->asks)
		return bdd_leaf(bdd, JOIN_DIFFERENT);
	if (!leaf->decided)
		return meet(comparing, leaf, comparing->now->resume, comparing->now->step, comparing->owing, 0);
	return bdd_leaf(bdd, JOIN_PART | intern_number(&comparing->parts, &part));
}

/* Where the part is not the right answer. */
static bdd_ref part_differs(struct comparing *comparing, uint32_t number)
{
	struct prove *prove = comparing->prove;
	const struct part *part = intern_at(&comparing->parts, number);
	struct value right;

	memset(&right, 0, sizeof right);
	right.kind = VALUE_BITS;
	for (unsigned i = 0; i < 32; i++)
		right.bits[i] = part->answer >> i & 1 ? SOURCE_1 : SOURCE_0;
	return value_compare(prove, COMPARE_NE, false, value_at(prove, part->value), &right);
}

static bdd_ref join_leaves(void *context, uint32_t program, uint32_t rules)
{
	struct comparing *comparing = context;
	struct prove *prove = comparing->prove;
	uint64_t number = number_of_value(prove, program);
	struct answer_run run = answer_read(prove, number);
	struct spec_leaf leaf = current_leaf(comparing, rules);
	size_t owed = list_owed(comparing, comparing->now->owed);

	if (owed + leaf.effect_count >= OWED_MAX) {
		prove_stop(prove, "a packet may take more than %d steps", STEPS_MAX);
		return BDD_FALSE;
	}
	if (leaf.effect_count)
		memcpy(comparing->owing + owed, leaf.effects, leaf.effect_count * sizeof *leaf.effects);
	if (number & TROUBLE)
		return bdd_leaf(prove->bdd, JOIN_TROUBLED);
	if (number & NO_ANSWER)
		return judge_part(comparing, (uint32_t)number, &leaf, owed + leaf.effect_count);
	return judge(comparing, &run, &leaf, owed + leaf.effect_count);
}

/* --- steps ---------------------------------------------------------------------------------------------- */

static bdd_ref rules_now(struct comparing *comparing)
{
	if (comparing->now->decided)
		return bdd_leaf(comparing->prove->bdd, LEAF_FIRST);
	return spec_diagram(comparing->prove, comparing->now->place);
}

static void await(struct comparing *comparing, uint32_t meeting, bdd_ref packets)
{
	struct bdd *bdd = comparing->prove->bdd;

	packets = bdd_and(bdd, packets, bdd_not(bdd, comparing->seen.items[meeting]));
	comparing->waiting.items[meeting] = bdd_or(bdd, comparing->waiting.items[meeting], packets);
}

/* Hands each set of packets on to where it goes. */
static void part_ways(struct comparing *comparing, bdd_ref joined)
{
	struct bdd *bdd = comparing->prove->bdd;
	size_t count;
	const bdd_ref *leaves = bdd_leaves(bdd, joined, &count);

	for (size_t i = 0; i < count; i++) {
		uint32_t value = bdd_value(bdd, leaves[i]);
		bdd_ref packets;

		if (value == JOIN_FINE)
			continue;
		packets = bdd_where(bdd, joined, leaves[i]);
		if (value == JOIN_DIFFERENT) {
			comparing->different = bdd_or(bdd, comparing->different, packets);
			continue;
		}
		if (value & JOIN_PART) {
			packets = bdd_and(bdd, packets, part_differs(comparing, value & ~JOIN_PART));
			comparing->different = bdd_or(bdd, comparing->different, packets);
			continue;
		}
		if (value == JOIN_TROUBLED) {
			comparing->prove->troubled = bdd_or(bdd, comparing->prove->troubled, packets);
			continue;
		}
		await(comparing, value - JOIN_MEETING, packets);
		if (comparing->twins.items[value - JOIN_MEETING])
			await(comparing, comparing->twins.items[value - JOIN_MEETING] - 1, packets);
	}
}

static int compare_meetings(const struct comparing *comparing, uint32_t left, uint32_t right)
{
	const struct meeting *a = intern_at(&comparing->meetings, left);
	const struct meeting *b = intern_at(&comparing->meetings, right);

	if (a->resume != b->resume)
		return a->resume < b->resume ? -1 : 1;
	if (a->step != b->step)
		return a->step < b->step ? -1 : 1;
	if (a->decided || b->decided)
		return (int)a->decided - (int)b->decided;
	return spec_compare(comparing->prove, a->place, b->place);
}

static bool next_meeting(struct comparing *comparing, uint32_t *ret_number)
{
	bool found = false;

	for (uint32_t i = 0; i < comparing->waiting.count; i++)
		if (comparing->waiting.items[i] != BDD_FALSE &&
		    (!found || compare_meetings(comparing, i, *ret_number) < 0)) {
			*ret_number = i;
			found = true;
		}
	return found;
}

static void take_step(struct comparing *comparing, uint32_t number)
{
	struct prove *prove = comparing->prove;
	bdd_ref packets = comparing->waiting.items[number], program, joined;

	comparing->now = intern_at(&comparing->meetings, number);
	comparing->waiting.items[number] = BDD_FALSE;
	comparing->seen.items[number] = bdd_or(prove->bdd, comparing->seen.items[number], packets);
	program = comparing->now->step ? program_in_run(prove, comparing->now->step - 1) :
					 program_at(prove, comparing->now->resume);
	joined = bdd_join(prove->bdd, packets, program, rules_now(comparing), join_leaves, comparing);
	if (!prove_stopped(prove))
		part_ways(comparing, joined);
}

bool compare_all(struct prove *prove, bdd_ref packets, bdd_ref *ret_different)
{
	struct comparing *comparing = ARENA_NEW(prove->arena, struct comparing);
	struct meeting start;
	uint32_t number;

	comparing->prove = prove;
	prove->troubled = BDD_FALSE;
	intern_init(&comparing->meetings, prove->arena, sizeof(struct meeting));
	intern_init(&comparing->owed, prove->arena, sizeof(struct owed));
	intern_init(&comparing->parts, prove->arena, sizeof(struct part));
	memset(&start, 0, sizeof start);
	start.owed = OWED_NONE;
	start.place = spec_start(prove);
	number = meeting_number(comparing, &start);
	comparing->waiting.items[number] = packets;
	while (comparing->different == BDD_FALSE && !prove_stopped(prove) && next_meeting(comparing, &number))
		take_step(comparing, number);
	*ret_different = comparing->different;
	return comparing->different == BDD_FALSE;
}
