/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file applied that differs in a few rules from the policy in force: these are changed in place. In: the file's rules; out:
 * they are in force, and the kept text is the file's. Refuses (RULE_REBUILD) whatever else differs.
 *
 * Rules are the same if their texts are, and what they mean (names may have come to mean something else). What stands
 * between rules that stay is compared byte by byte, and changed where it differs.
 */
#include <stdlib.h>
#include <string.h>

#include "api/rule.h"
#include "api/rule_places.h"

enum { DIFFERENCES_MAX = 64 }; /* rules that come or go */

struct applying {
	struct in_place in_place;
	const struct ruleset *ruleset;
	const struct bundle *bundle;
	void *source, *index; /* as installed */
	size_t source_size, index_size;
	struct edited edited; /* in force */
	uint64_t *hashes;     /* of the new rules */
	uint32_t *match;      /* by new rule: index of the same old one + 1, or 0 */
	VEC(char) edit;
	int status;
};

/* --- the index: a mark for each rule, and one for the policy ---------------------------------------------------------------------------------------------------- */

const void *api_rule_index(struct arena *arena, const struct ruleset *ruleset, size_t *ret_size)
{
	const struct chain *main = &ruleset->chains[0];
	struct rule_mark *marks = ARENA_ARRAY(arena, struct rule_mark, main->rule_count + 1);

	for (size_t i = 0; i < main->rule_count; i++)
		marks[i] = (struct rule_mark){ main->rules[i].span.offset, main->rules[i].span.length,
					       rule_hash(&main->rules[i]) };
	marks[main->rule_count] = (struct rule_mark){ ruleset->span.offset, ruleset->span.length, 0 };
	*ret_size = (main->rule_count + 1) * sizeof *marks;
	return marks;
}

/* --- what is in force -------------------------------------------------------------------------------------------- */

static bool read_edited(struct applying *applying)
{
	struct call *call = applying->in_place.call;
	const struct rules_state *state = applying->in_place.state;
	const struct rule_mark *marks = applying->index;
	struct op_cursor cursor = { .edits = state->edits, .size = state->edits_size };
	struct edited *edited = &applying->edited;
	size_t count = applying->index_size / sizeof *marks - 1;
	const struct rule_op *op;
	struct bundle bundle;

	if (bundle_decode(call->arena, applying->source, applying->source_size, &bundle) ||
	    strcmp(bundle.files.items[0]->name, applying->bundle->files.items[0]->name))
		return false;
	edited->arena = call->arena;
	edited->source = bundle.files.items[0];
	edited->policy = (struct span){ edited->source, marks[count].at, marks[count].size };
	for (size_t i = 0; i < count; i++)
		VEC_PUSH(call->arena, &edited->rules) = (struct edited_rule){
			.span = { edited->source, marks[i].at, marks[i].size }, .hash = marks[i].hash };
	while ((op = op_next(&cursor)))
		edited_apply(edited, op);
	return true;
}

/* All but the rules. */
static bool same_frame(struct applying *applying)
{
	const struct rules_state *state = applying->in_place.state;
	size_t size;
	const void *frame = api_frame(applying->in_place.call->arena, applying->ruleset, applying->bundle, &size);

	return frame && size == state->frame_size &&
	       !memcmp((const char *)frame + sizeof(uint64_t), (const char *)state->frame + sizeof(uint64_t),
		       size - sizeof(uint64_t));
}

/* Sets may have been changed at run time, interfaces may have come, and no program there may compare with a tunable. */
static bool is_plain(const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->attach_count; i++)
		if (ruleset->attaches[i].optional ||
		    (ruleset->attaches[i].target && strpbrk(ruleset->attaches[i].target, "*?[")))
			return false;
	return !ruleset->set_count && !ruleset->tunable_count && ruleset->chain_count == 1;
}

/* --- differences ------------------------------------------------------------------------------------------------- */

static bool same_rule(const struct applying *applying, size_t old, size_t new)
{
	return applying->edited.rules.items[old].hash == applying->hashes[new];
}

/*
 * Myers' way of finding the fewest changes. On diagonal k (old index - new index) so many old rules can be passed with d
 * changes, for each d; -1: none lead there.
 */
enum { WIDTH = 2 * DIFFERENCES_MAX + 3, MIDDLE = DIFFERENCES_MAX + 1 };

struct differing {
	struct applying *applying;
	int64_t olds, news;
	int64_t (*reach)[WIDTH]; /* by d, then MIDDLE + k */
};

/* Where diagonal k is entered with the dth change: a new rule comes (from k + 1), or an old one goes (from k - 1). */
static int64_t enter(const struct differing *differing, int d, int k, int *ret_from)
{
	const int64_t *before = differing->reach[d ? d - 1 : 0];
	int64_t comes = d ? before[MIDDLE + k + 1] : -1, goes = d ? before[MIDDLE + k - 1] : -1;

	*ret_from = k;
	if (!d)
		return 0;
	if (comes >= 0 && comes - k > differing->news)
		comes = -1;
	goes = goes < 0 || goes >= differing->olds ? -1 : goes + 1;
	*ret_from = comes >= goes ? k + 1 : k - 1;
	return comes >= goes ? comes : goes;
}

static void take_way(const struct differing *differing, int d, int k)
{
	for (; d >= 0; d--) {
		int from;
		int64_t start = enter(differing, d, k, &from);

		for (int64_t old = differing->reach[d][MIDDLE + k]; old > start; old--)
			differing->applying->match[old - 1 - k] = (uint32_t)old;
		k = from;
	}
}

/* Fills in `match`; false if it takes more than DIFFERENCES_MAX. */
static bool find_matches(struct applying *applying, size_t old_count, size_t new_count)
{
	struct differing differing = { applying, (int64_t)old_count, (int64_t)new_count, NULL };

	differing.reach = (void *)ARENA_ARRAY(applying->in_place.call->arena, int64_t, (DIFFERENCES_MAX + 1) * WIDTH);
	memset(differing.reach, 0xff, (DIFFERENCES_MAX + 1) * sizeof *differing.reach);
	for (int d = 0; d <= DIFFERENCES_MAX; d++) {
		for (int k = -d; k <= d; k += 2) {
			int from;
			int64_t old = enter(&differing, d, k, &from);

			while (old >= 0 && old < differing.olds && old - k < differing.news &&
			       same_rule(applying, (size_t)old, (size_t)(old - k)))
				old++;
			differing.reach[d][MIDDLE + k] = old;
			if (old != differing.olds || old - k != differing.news)
				continue;
			take_way(&differing, d, k);
			return true;
		}
	}
	return false;
}

/* --- the edit ---------------------------------------------------------------------------------------------------- */

static void put(struct applying *applying, const struct rule_op *op, const char *text)
{
	struct arena *arena = applying->in_place.call->arena;
	const char *bytes = (const char *)op;
	size_t size = op_size(op->length);

	for (size_t i = 0; i < size; i++)
		VEC_PUSH(arena, &applying->edit) = i < sizeof *op ? bytes[i] :
						   i < sizeof *op + op->length ? text[i - sizeof *op] : 0;
}

/* A stretch of text between what stays, in the old file and in the new one. */
struct gap {
	size_t old_from, old_to, new_from, new_to;
};

static void collect_gaps(struct applying *applying, struct gap *gaps)
{
	const struct chain *main = &applying->ruleset->chains[0];
	struct gap gap = { 0 };
	size_t count = 0;

	for (size_t i = 0; i < main->rule_count; i++) {
		const struct edited_rule *old;

		if (!applying->match[i])
			continue;
		old = &applying->edited.rules.items[applying->match[i] - 1];
		gap.old_to = old->span.offset;
		gap.new_to = main->rules[i].span.offset;
		gaps[count++] = gap;
		gap.old_from = old->span.offset + old->span.length;
		gap.new_from = main->rules[i].span.offset + main->rules[i].span.length;
	}
	gap.old_to = applying->edited.source->length;
	gap.new_to = applying->ruleset->span.source->length;
	gaps[count] = gap;
}

/* From the last to the first, so that places before stay what they are. */
static bool put_texts(struct applying *applying, size_t matches)
{
	struct gap *gaps = ARENA_ARRAY(applying->in_place.call->arena, struct gap, matches + 1);
	const char *old = applying->edited.source->text, *new = applying->ruleset->span.source->text;

	collect_gaps(applying, gaps);
	for (size_t i = matches + 1; i-- > 0;) {
		const struct gap *gap = &gaps[i];
		struct rule_op op = { .operation = RULE_TEXT, .number = (uint32_t)gap->old_from,
				      .order = (uint32_t)gap->old_to, .length = (uint32_t)(gap->new_to - gap->new_from) };

		if (gap->old_to - gap->old_from == op.length && !memcmp(old + gap->old_from, new + gap->new_from, op.length))
			continue;
		if (applying->edit.count + op_size(op.length) > applying->in_place.state->edits_room)
			return false;
		put(applying, &op, new + gap->new_from);
	}
	return true;
}

static uint32_t *new_numbers(struct arena *arena)
{
	return ARENA_ARRAY(arena, uint32_t, DIFFERENCES_MAX + 2);
}

/* From the last to the first. */
static void put_deletions(struct applying *applying)
{
	struct rule_places *places = &applying->in_place.places;
	struct plan_delta *delta = &applying->in_place.delta;
	uint32_t *gone = new_numbers(applying->in_place.call->arena);
	bool *stays = ARENA_ARRAY(applying->in_place.call->arena, bool, applying->edited.rules.count + 1);

	for (size_t i = 0; i < applying->ruleset->chains[0].rule_count; i++)
		stays[applying->match[i]] = true;
	for (uint32_t number = (uint32_t)applying->edited.rules.count; number > 0; number--) {
		const struct rule_op op = { .operation = WEIR_RULE_DELETE, .number = number, .placed = 1 };

		if (stays[number])
			continue;
		gone[delta->gone_count++] = places_order(places, number);
		places_apply(places, &op);
		put(applying, &op, NULL);
	}
	delta->gone = gone;
}

static bool put_addition(struct applying *applying, const struct rule *rule, uint32_t *ret_order, uint32_t *ret_slot)
{
	struct rule_places *places = &applying->in_place.places;
	struct rule_op op = { .operation = WEIR_RULE_ADD, .number = rule->number, .placed = rule->span.offset + 1,
			      .size = rule->span.length, .verdict = rule_ending_verdict(rule),
			      .hash = applying->hashes[rule->number - 1] };

	if (!in_place_give(&applying->in_place, places_order(places, op.number - 1), places_order(places, op.number), &op))
		return false;
	*ret_order = op.order;
	*ret_slot = op.slot;
	places_apply(places, &op);
	put(applying, &op, NULL);
	return true;
}

/* The new rules alone, numbered from 1. */
static bool put_additions(struct applying *applying)
{
	struct arena *arena = applying->in_place.call->arena;
	const struct chain *main = &applying->ruleset->chains[0];
	struct ruleset *ruleset = arena_copy(arena, applying->ruleset, sizeof *ruleset);
	struct chain *chain = arena_copy(arena, main, sizeof *chain);
	struct rule *rules = ARENA_ARRAY(arena, struct rule, DIFFERENCES_MAX + 1);
	uint32_t *orders = new_numbers(arena), *slots = new_numbers(arena), count = 0;

	for (size_t i = 0; i < main->rule_count; i++) {
		if (applying->match[i])
			continue;
		rules[count] = main->rules[i];
		rules[count].number = count + 1;
		count++;
		if (!put_addition(applying, &main->rules[i], &orders[count], &slots[count]))
			return false;
	}
	chain->rules = rules;
	chain->rule_count = ruleset->rule_count = count;
	ruleset->chains = chain;
	applying->in_place.delta.rules = count ? ruleset : NULL;
	applying->in_place.delta.orders = orders;
	applying->in_place.delta.slots = slots;
	return true;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

static int apply(struct applying *applying)
{
	struct arena *arena = applying->in_place.call->arena;
	const struct chain *main = &applying->ruleset->chains[0];
	size_t matches = 0;

	if (!same_frame(applying) || !read_edited(applying))
		return RULE_REBUILD;
	applying->hashes = ARENA_ARRAY(arena, uint64_t, main->rule_count + 1);
	applying->match = ARENA_ARRAY(arena, uint32_t, main->rule_count + 1);
	for (size_t i = 0; i < main->rule_count; i++)
		applying->hashes[i] = rule_hash(&main->rules[i]);
	if (!find_matches(applying, applying->edited.rules.count, main->rule_count))
		return RULE_REBUILD;
	for (size_t i = 0; i < main->rule_count; i++)
		matches += applying->match[i] != 0;
	in_place_read(&applying->in_place);
	if (!put_texts(applying, matches))
		return RULE_REBUILD;
	put_deletions(applying);
	if (!put_additions(applying))
		return RULE_REBUILD;
	return applying->edit.count ? in_place_commit(&applying->in_place, applying->edit.items, applying->edit.count) :
				      WEIR_OK;
}

static int run_apply(void *context)
{
	struct applying *applying = context;

	applying->status = apply(applying);
	return 0;
}

static int apply_opened(struct applying *applying)
{
	struct call *call = applying->in_place.call;
	int error;

	if (!kernel_rules_attached(applying->in_place.rules))
		return RULE_REBUILD;
	if (kernel_rules_blob(applying->in_place.rules, "source", call->diags, &applying->source, &applying->source_size) ||
	    kernel_rules_blob(applying->in_place.rules, "index", call->diags, &applying->index, &applying->index_size))
		return WEIR_SYSTEM;
	error = arena_run(call->arena, run_apply, applying);
	return error ? error : applying->status;
}

int rule_apply_in_place(struct call *call, struct kernel *kernel, const struct ruleset *ruleset,
			const struct bundle *bundle)
{
	struct applying applying = { .in_place = { .call = call, .policy = ruleset->name }, .ruleset = ruleset,
				     .bundle = bundle };
	int status = is_plain(ruleset) ? in_place_open(&applying.in_place, kernel) : RULE_REBUILD;

	if (status)
		return status;
	status = apply_opened(&applying);
	kernel_rules_close(applying.in_place.rules);
	free(applying.source);
	free(applying.index);
	return status;
}
