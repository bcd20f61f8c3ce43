/* SPDX-License-Identifier: GPL-2.0-only */
/* A proof from beginning to end; see prove.h. */
#include "prove/prove.h"

#include <string.h>

#include "prove/walker.h"

void prove_stop(struct prove *prove, const char *format, ...)
{
	va_list args;

	if (prove->why)
		return;
	va_start(args, format);
	prove->why = arena_vprintf(prove->arena, format, args);
	va_end(args);
}

bdd_ref leaf_of_number(struct prove *prove, uint64_t number)
{
	return bdd_leaf(prove->bdd, LEAF_FIRST + intern_number(&prove->numbers, &number));
}

uint64_t number_of_value(const struct prove *prove, uint32_t leaf_value)
{
	uint64_t number;

	memcpy(&number, intern_at(&prove->numbers, leaf_value - LEAF_FIRST), sizeof number);
	return number;
}

uint64_t number_of_leaf(const struct prove *prove, bdd_ref leaf)
{
	return number_of_value(prove, bdd_value(prove->bdd, leaf));
}

static void begin(struct prove *prove, struct arena *arena, const struct prove_input *input)
{
	uint64_t deadline = input->milliseconds ? bdd_clock() + input->milliseconds * 1000000ull : 0;
	size_t node_max = input->node_max ? input->node_max : PROVE_NODES_MAX;

	prove->arena = arena;
	prove->input = input;
	prove->bdd = bdd_new(arena, node_max, deadline);
	intern_init(&prove->values, arena, sizeof(struct value));
	intern_init(&prove->atoms, arena, sizeof(struct atom));
	intern_init(&prove->numbers, arena, sizeof(uint64_t));
	value_simple(prove, VALUE_NONE, 0); /* is value 0 */
}

enum { EXAMPLE_NODES = 2 << 20 };

bdd_ref with_constants(struct prove *prove, bdd_ref set)
{
	for (uint32_t i = 0; i < prove->atoms.records.count && !prove_stopped(prove); i++) {
		const struct atom *atom = intern_at(&prove->atoms, i);
		bdd_ref found = atom_set(prove, atom);
		int64_t meaning;

		if (prove->input->maps[atom->map].named >= 0)
			continue;
		meaning = atom_meaning(prove, atom);
		if (meaning >= 0)
			set = bdd_and(prove->bdd, set, bdd_ite(prove->bdd, (bdd_ref)meaning, found,
							       bdd_not(prove->bdd, found)));
	}
	return set;
}

/* First as if lookups could find anything, which is quick; if that shows a difference, as maps of constants do. */
bool compare_fully(struct prove *prove, bdd_ref packets, bdd_ref *ret_different)
{
	bdd_ref likely;

	if ((compare_all(prove, packets, ret_different) && prove->troubled == BDD_FALSE) || prove_stopped(prove))
		return true;
	/* Of lookups that came up meanwhile, too. */
	likely = with_constants(prove, bdd_and(prove->bdd, packets, contract_packets(prove, false)));
	return likely == packets ? *ret_different == BDD_FALSE : compare_all(prove, likely, ret_different);
}

/* What is left is short. */
static void choose(struct prove *prove, bdd_ref packets, struct prove_result *result)
{
	prove->bdd->deadline = 0;
	prove->bdd->node_max += EXAMPLE_NODES;
	example_choose(prove, packets, result);
}

/* A packet for which the walker does something else than the table says; its stories are told as any other's. */
static enum prove_outcome blame_walker(struct prove *prove, const struct walker_trial *trial, struct prove_result *result)
{
	struct known known;

	memset(known.mask, 0xff, sizeof known.mask);
	memcpy(known.bits, &trial->packet, sizeof known.bits);
	prove->walked = trial;
	table_fix(prove, trial->packet.family == FAMILY_IPV6, &known);
	choose(prove, contract_packets(prove, false), result);
	return prove->why ? PROVE_UNKNOWN : PROVE_DIFFERENT;
}

/* Nothing is known of the walker, but of some packets. */
static enum prove_outcome doubt_walker(struct prove *prove, const struct walker *walker, const char *name,
				       struct prove_result *result)
{
	struct walker_trial *trial = ARENA_NEW(prove->arena, struct walker_trial);

	walker_try(walker, trial);
	if (trial->found)
		return blame_walker(prove, trial, result);
	prove_stop(prove, "of the walker of tables (%s), %s; for %zu packets that were tried it does what the table says",
		   name, walker->why ? walker->why : "the proof takes too long", trial->tried);
	return walker->why ? PROVE_UNKNOWN : PROVE_TOO_LARGE;
}

static enum prove_outcome prove_walkers(struct prove *prove, struct prove_result *result)
{
	struct bdd *bdd = bdd_new(prove->arena, prove->bdd->node_max, prove->bdd->deadline);
	size_t none = bdd->nodes.count;

	for (unsigned i = 0; i < PROVE_WALKERS; i++) {
		const struct prove_object *object = &prove->input->walkers[i];
		const struct walker *walker = object->name ? walker_prove(prove, bdd, object) : NULL;

		if (prove->why)
			return PROVE_UNKNOWN;
		if (walker && (walker->why || bdd->over))
			return doubt_walker(prove, walker, object->name, result);
		result->walker_steps += walker ? walker->steps : 0;
		bdd_release(bdd, none);
	}
	return PROVE_EQUAL;
}

static enum prove_outcome work(struct prove *prove, struct prove_result *result)
{
	bdd_ref different = BDD_FALSE;
	bool equal;

	image_read(prove, prove->input->object, prove->input->object_size, &prove->image);
	if (prove->why)
		return PROVE_UNKNOWN;
	prove->insns = decode_all(prove->arena, &prove->image);
	order_choose(prove);
	spec_init(prove);
	prove->program = walk_program(prove);
	if (prove->input->table && !prove->why)
		prove->table = table_read(prove);
	if (prove_stopped(prove))
		return PROVE_UNKNOWN;
	if (prove->table)
		equal = table_compare(prove, &different);
	else
		equal = compare_fully(prove, contract_packets(prove, false), &different);
	if (prove_stopped(prove))
		return PROVE_UNKNOWN;
	if (!equal) {
		choose(prove, different, result);
		return prove->why ? PROVE_UNKNOWN : PROVE_DIFFERENT;
	}
	if (prove->troubled != BDD_FALSE) {
		choose(prove, prove->troubled, result);
		prove_stop(prove, "%s", prove->backwards ? "the program resumes where it has been" : result->program);
		return PROVE_UNKNOWN;
	}
	if (prove->unfilled) {
		prove_stop(prove, "the program reads %s, which the data plane was not asked to fill in", prove->unfilled);
		return PROVE_UNKNOWN;
	}
	cache_check(prove);
	if (prove->why)
		return PROVE_UNKNOWN;
	return prove->table ? prove_walkers(prove, result) : PROVE_EQUAL;
}

void prove_run(struct arena *arena, const struct prove_input *input, struct prove_result *ret_result)
{
	struct prove *prove = ARENA_NEW(arena, struct prove);
	struct prove_result result = { .reason = NULL };
	uint64_t start = bdd_clock();

	begin(prove, arena, input);
	result.outcome = work(prove, &result);
	result.reason = prove->why;
	if (prove->bdd->over && !prove->why) {
		result.outcome = PROVE_TOO_LARGE;
		result.reason = prove->bdd->nodes.count < prove->bdd->node_max ? "it takes too long" :
										"its diagrams take too much memory";
	}
	result.insn_count = prove->image.insn_count;
	result.node_count = prove->bdd->nodes.count;
	result.record_count = prove->record_count;
	result.suspect_count = prove->suspect_count;
	result.nanoseconds = bdd_clock() - start;
	*ret_result = result;
}
