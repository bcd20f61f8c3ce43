/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What matters where in the code of a walker of tables. In: its instructions; out: `live`, `joins`, `counts`.
 *
 * A register or a word of the stack matters if what calls, stores, returns or chooses a way may come to depend on it.
 * What is read ahead for the processor's sake does not, and neither do the addresses that it is read from.
 *
 * A branch is idle if both ways only lead forward to where they meet again, and on them is only set what does not matter
 * there: so it makes no difference which way is taken, and the condition does not matter. Code that goes from each idle
 * branch straight to where its ways meet does the same, and less matters in it; so it is looked at again, until no further
 * branch is idle.
 */
#include <string.h>

#include "prove/walker.h"

/* --- single instructions ------------------------------------------------------------------------------------------ */

enum { ARGUMENTS_OF_LOOKUP = 1 << 1 | 1 << 2, CLOBBERED = 0x3f };

unsigned walker_stack_word(const struct insn *insn, unsigned base)
{
	int place = -insn->offset - 1;

	return base == FP && place >= 0 && place < STACK_WORDS * 8 ? (unsigned)place / 8 : STACK_WORDS;
}

static uint32_t bit_of_stack(const struct insn *insn, unsigned base)
{
	unsigned word = walker_stack_word(insn, base);

	return word < STACK_WORDS ? 1u << (REGISTERS + word) : 0;
}

/* Whether it does nothing but set a register. */
static bool only_sets(const struct insn *insn)
{
	static const bool only[] = {
		[INSN_MOVE] = true, [INSN_LOAD] = true,  [INSN_PLACE] = true, [INSN_ADD] = true,   [INSN_SUB] = true,
		[INSN_AND] = true,  [INSN_OR] = true,    [INSN_XOR] = true,   [INSN_LEFT] = true,  [INSN_RIGHT] = true,
		[INSN_NEGATE] = true, [INSN_RIGHT_SIGNED] = true, [INSN_MULTIPLY] = true,
	};

	return insn->kind < sizeof only && only[insn->kind];
}

static uint32_t set_by(const struct insn *insn)
{
	switch (insn->kind) {
	case INSN_STORE:
		return bit_of_stack(insn, insn->dst);
	case INSN_HELPER:
	case INSN_CALL:
	case INSN_REST:
		return CLOBBERED;
	default:
		return only_sets(insn) ? 1u << insn->dst : 0;
	}
}

/* `after`: what matters behind it. */
static uint32_t used_by(const struct walker *walker, const struct insn *insn, uint32_t after)
{
	uint32_t dst = 1u << insn->dst, src = insn->by_register ? 1u << insn->src : 0;

	if (only_sets(insn) && !(after & dst))
		return 0;
	switch (insn->kind) {
	case INSN_MOVE:
		return src;
	case INSN_LOAD:
		return 1u << insn->src | bit_of_stack(insn, insn->src);
	case INSN_HELPER:
		return ARGUMENTS_OF_LOOKUP;
	case INSN_REST:
		return 1u << 1;
	case INSN_CALL:
		return ((2u << walker_arguments(walker_function(walker, (uint32_t)insn->number))) - 1) & ~1u;
	case INSN_EXIT:
		return 1;
	case INSN_PLACE:
	case INSN_GOTO:
	case INSN_MAY_GOTO:
		return 0;
	default:
		return dst | src;
	}
}

/* --- ways --------------------------------------------------------------------------------------------------------- */

static uint32_t following(const struct walker *walker, uint32_t at)
{
	return at + 1 < walker->image.insn_count && walker->insns[at + 1].kind == INSN_SECOND ? at + 2 : at + 1;
}

uint32_t walker_target(const struct walker *walker, uint32_t at)
{
	return (uint32_t)((int64_t)at + 1 + walker->insns[at].offset);
}

uint32_t walker_next(const struct walker *walker, uint32_t at)
{
	if (walker->joins[at])
		return walker->joins[at];
	return walker->insns[at].kind == INSN_GOTO ? walker_target(walker, at) : following(walker, at);
}

/* Where it leads: to none, one or two places. */
static unsigned leads_to(const struct walker *walker, uint32_t at, uint32_t ret_places[2])
{
	const struct insn *insn = &walker->insns[at];

	if (insn->kind == INSN_EXIT)
		return 0;
	ret_places[0] = walker_next(walker, at);
	ret_places[1] = walker_target(walker, at);
	return insn->kind == INSN_BRANCH && !walker->joins[at] ? 2 : 1;
}

/* --- what matters ------------------------------------------------------------------------------------------------- */

static uint32_t live_at(const struct walker *walker, uint32_t at)
{
	return at < walker->image.insn_count ? walker->live[at] : 0;
}

static uint32_t live_before(const struct walker *walker, uint32_t at)
{
	const struct insn *insn = &walker->insns[at];
	uint32_t places[2], after = 0;
	unsigned count = leads_to(walker, at, places);

	for (unsigned i = 0; i < count; i++)
		after |= live_at(walker, places[i]);
	return walker->joins[at] ? after : (after & ~set_by(insn)) | used_by(walker, insn, after);
}

static void find_live(struct walker *walker)
{
	bool changed = true;

	memset(walker->live, 0, walker->image.insn_count * sizeof *walker->live);
	while (changed) {
		changed = false;
		for (uint32_t at = (uint32_t)walker->image.insn_count; at-- > 0;) {
			uint32_t live = live_before(walker, at);

			changed |= live != walker->live[at];
			walker->live[at] = live;
		}
	}
}

bool walker_idles(const struct walker *walker, uint32_t at)
{
	const struct insn *insn = &walker->insns[at];

	return only_sets(insn) && insn->dst < FP && !(live_at(walker, following(walker, at)) >> insn->dst & 1);
}

/* --- idle branches ------------------------------------------------------------------------------------------------ */

/* The ways from one branch on. */
struct ways {
	const struct walker *walker;
	uint32_t *reached; /* by instruction: the branch whose ways last led there + 1 */
	uint32_t branch;
	unsigned count;    /* places that they have reached and not left yet */
};

/* False: one leads backwards or out of the code. */
static bool lead_on(struct ways *ways, uint32_t at)
{
	uint32_t places[2];
	unsigned count = leads_to(ways->walker, at, places);

	for (unsigned i = 0; i < count; i++) {
		if (places[i] <= at || places[i] >= ways->walker->image.insn_count)
			return false;
		ways->count += ways->reached[places[i]] != ways->branch + 1;
		ways->reached[places[i]] = ways->branch + 1;
	}
	return true;
}

/* Whether it does no more than set registers and whole words of the stack, and choose a way. */
static bool is_harmless(const struct insn *insn)
{
	if (insn->kind == INSN_STORE)
		return bit_of_stack(insn, insn->dst) && insn->offset % 8 == 0;
	return only_sets(insn) || insn->kind == INSN_GOTO || insn->kind == INSN_BRANCH;
}

/* Where the ways meet again, if the branch is idle; else 0. */
static uint32_t idle_to(struct ways *ways)
{
	const struct walker *walker = ways->walker;
	uint32_t set = 0, at = ways->branch;

	while (lead_on(ways, at)) {
		while (ways->reached[++at] != ways->branch + 1)
			;
		if (!--ways->count)
			return set & live_at(walker, at) ? 0 : at;
		if (!is_harmless(&walker->insns[at]))
			return 0;
		set |= set_by(&walker->insns[at]);
	}
	return 0;
}

/* True: there are more than were known. */
static bool find_idle(struct walker *walker, uint32_t *reached)
{
	bool more = false;

	memset(reached, 0, walker->image.insn_count * sizeof *reached);
	for (uint32_t at = 0; at < walker->image.insn_count; at++) {
		struct ways ways = { .walker = walker, .reached = reached, .branch = at };

		if (walker->insns[at].kind != INSN_BRANCH || walker->joins[at])
			continue;
		walker->joins[at] = idle_to(&ways);
		more |= walker->joins[at] != 0;
	}
	return more;
}

void walker_flow(struct walker *walker)
{
	struct arena *arena = walker->prove->arena;
	uint32_t *reached = ARENA_ARRAY(arena, uint32_t, walker->image.insn_count);

	walker->live = ARENA_ARRAY(arena, uint32_t, walker->image.insn_count);
	walker->joins = ARENA_ARRAY(arena, uint32_t, walker->image.insn_count);
	walker->counts = true;
	for (uint32_t at = 0; at < walker->image.insn_count; at++)
		if (walker->insns[at].kind == INSN_MAY_GOTO)
			walker->counts = false;
	do
		find_live(walker);
	while (find_idle(walker, reached));
}
