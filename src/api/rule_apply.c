/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file applied that differs in a few rules from the policy in force: these are changed in place. In: the rules of a stretch
 * of the file, or of all of it; out: they are in force, and the kept text is the file's. Refuses (RULE_REBUILD) whatever else
 * differs.
 *
 * Rules are the same if their texts are, and what they mean (names may have come to mean something else). What stands
 * between rules that stay is compared byte by byte, and changed where it differs.
 */
#include <stdlib.h>
#include <string.h>

#include "api/noted.h"
#include "api/rule_apply.h"

enum { DIFFERENCES_MAX = 64 }; /* rules that come or go */

/* What becomes of the stretch. */
struct difference {
	struct applying *applying;
	const struct edited_rule *olds; /* the rules in force there */
	uint32_t *olds_at;              /* where they begin */
	uint32_t old_count;
	const struct rule *news;
	const uint32_t *chains; /* of the new ones */
	uint32_t new_count;
	uint64_t *hashes; /* of the new ones */
	uint32_t *match;  /* by new rule: index of the same old one + 1, or 0 */
	bool named;       /* names were asked for that the index does not keep */
};

/* --- the index: a head, a mark for each rule, names -------------------------------------------------------------- */

/* By number; and the chain of each. */
static const struct rule *rules_by_number(struct arena *arena, const struct ruleset *ruleset, const uint32_t **ret_chains)
{
	struct rule *rules = ARENA_ARRAY(arena, struct rule, ruleset->rule_count);
	uint32_t *chains = ARENA_ARRAY(arena, uint32_t, ruleset->rule_count);

	for (uint32_t i = 0; i < ruleset->chain_count; i++)
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++) {
			const struct rule *rule = &ruleset->chains[i].rules[j];

			rules[rule->number - 1] = *rule;
			chains[rule->number - 1] = i;
		}
	*ret_chains = chains;
	return rules;
}

const void *api_rule_index(struct arena *arena, const struct ruleset *ruleset, const struct bundle *bundle,
			   size_t *ret_size)
{
	const uint32_t *chains;
	const struct rule *rules = rules_by_number(arena, ruleset, &chains);
	struct rule_index head = { .rules = ruleset->rule_count, .chains = (uint32_t)ruleset->chain_count,
				   .at = ruleset->span.offset, .size = ruleset->span.length };
	size_t names_size, marks_size = ruleset->rule_count * sizeof(struct rule_mark);
	const void *names = noted_encode(arena, bundle->names, &names_size);
	struct rule_mark *marks;
	char *data;

	head.names_size = (uint32_t)names_size;
	*ret_size = sizeof head + marks_size + names_size;
	data = arena_alloc(arena, *ret_size);
	memcpy(data, &head, sizeof head);
	marks = (struct rule_mark *)(data + sizeof head);
	for (size_t i = 0; i < ruleset->rule_count; i++)
		marks[i] = (struct rule_mark){ rules[i].span.offset, rules[i].span.length,
					       rule_hash(ruleset, &rules[i], chains[i]) };
	memcpy(data + sizeof head + marks_size, names, names_size);
	return data;
}

bool rule_index_read(const void *data, size_t size, struct rule_index *ret_index, const struct rule_mark **ret_marks,
		     const void **ret_names)
{
	const struct rule_index *head = data;

	if (size < sizeof *head || size != sizeof *head + (uint64_t)head->rules * sizeof **ret_marks + head->names_size)
		return false;
	*ret_index = *head;
	*ret_marks = (const struct rule_mark *)(head + 1);
	*ret_names = *ret_marks + head->rules;
	return true;
}

/* --- what is in force -------------------------------------------------------------------------------------------- */

static bool read_edited(struct applying *applying)
{
	const struct rules_state *state = applying->in_place.state;
	struct op_cursor cursor = { .edits = state->edits, .size = state->edits_size };
	const struct rule_op *op;
	struct source file;

	if (!bundle_first_is(applying->source.data, applying->source.size, applying->file->name, &file) ||
	    !rule_index_read(applying->index.data, applying->index.size, &applying->head, &applying->marks,
			     &applying->names))
		return false;
	applying->edited = edited_built(applying->in_place.call->arena, &file,
					(struct span){ NULL, applying->head.at, applying->head.size }, applying->marks,
					applying->head.rules);
	while ((op = op_next(&cursor)))
		edited_apply(&applying->edited, op);
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

/* Interfaces may have come, and no program there may compare with a tunable. */
static bool is_plain(const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->attach_count; i++)
		if (ruleset->attaches[i].optional ||
		    (ruleset->attaches[i].target && strpbrk(ruleset->attaches[i].target, "*?[")))
			return false;
	return !ruleset->tunable_count;
}

/* Sets may have been changed at run time. */
static bool sets_stay(struct applying *applying)
{
	size_t count;
	const struct install_set *sets = api_install_sets(applying->in_place.call->arena, applying->ruleset, &count);

	return !count || kernel_rules_sets_stay(applying->in_place.rules, sets, count);
}

/* --- differences ------------------------------------------------------------------------------------------------- */

static bool same_rule(const struct difference *difference, size_t old, size_t new)
{
	return difference->olds[old].hash == difference->hashes[new];
}

/*
 * Myers' way of finding the fewest changes. On diagonal k (old index - new index) so many old rules can be passed with d
 * changes, for each d; -1: none lead there.
 */
enum { WIDTH = 2 * DIFFERENCES_MAX + 3, MIDDLE = DIFFERENCES_MAX + 1 };

struct differing {
	struct difference *difference;
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
			differing->difference->match[old - 1 - k] = (uint32_t)old;
		k = from;
	}
}

/* Fills in `match`; false if it takes more than DIFFERENCES_MAX. */
static bool find_matches(struct difference *difference)
{
	struct differing differing = { difference, difference->old_count, difference->new_count, NULL };

	differing.reach = (void *)ARENA_ARRAY(difference->applying->in_place.call->arena, int64_t, (DIFFERENCES_MAX + 1) * WIDTH);
	memset(differing.reach, 0xff, (DIFFERENCES_MAX + 1) * sizeof *differing.reach);
	for (int d = 0; d <= DIFFERENCES_MAX; d++) {
		for (int k = -d; k <= d; k += 2) {
			int from;
			int64_t old = enter(&differing, d, k, &from);

			while (old >= 0 && old < differing.olds && old - k < differing.news &&
			       same_rule(difference, (size_t)old, (size_t)(old - k)))
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

/* A stretch of text between what stays, in the text in force and in the file. */
struct gap {
	size_t old_from, old_to, new_from, new_to;
};

static uint32_t new_place(const struct difference *difference, uint32_t index)
{
	return part_place(difference->applying, difference->news[index].span.offset);
}

/* Where what is known to be the same ends, and where it begins again. */
static struct gap outer_gap(const struct applying *applying)
{
	const struct edited *edited = &applying->edited;
	struct gap gap = { 0, edited->length, 0, applying->file->length };

	if (applying->before) {
		const struct edited_rule rule = edited_rule(edited, applying->before);

		gap.old_from = gap.new_from = edited_place(edited, &rule) + rule.size;
	}
	if (applying->behind) {
		const struct edited_rule rule = edited_rule(edited, edited->places.count - applying->behind + 1);

		gap.old_to = edited_place(edited, &rule);
		gap.new_to -= edited->length - gap.old_to;
	}
	return gap;
}

static size_t collect_gaps(struct difference *difference, struct gap *gaps)
{
	const struct gap outer = outer_gap(difference->applying);
	struct gap gap = outer;
	size_t count = 0;

	for (uint32_t i = 0; i < difference->new_count; i++) {
		uint32_t old = difference->match[i];

		if (!old)
			continue;
		gap.old_to = difference->olds_at[old - 1];
		gap.new_to = new_place(difference, i);
		gaps[count++] = gap;
		gap.old_from = gap.old_to + difference->olds[old - 1].size;
		gap.new_from = gap.new_to + difference->news[i].span.length;
	}
	gap.old_to = outer.old_to;
	gap.new_to = outer.new_to;
	gaps[count++] = gap;
	return count;
}

static char byte_of(const struct applying *applying, size_t at)
{
	return *edited_byte(&applying->edited, at);
}

/* No further than the first rule of either text. */
static void trim_front(const struct difference *difference, struct gap *gap)
{
	const struct applying *applying = difference->applying;
	size_t old_end = difference->old_count ? difference->olds_at[0] : gap->old_to;
	size_t new_end = difference->new_count ? new_place(difference, 0) : gap->new_to;

	while (gap->old_from < old_end && gap->new_from < new_end &&
	       byte_of(applying, gap->old_from) == applying->file->text[gap->new_from]) {
		gap->old_from++;
		gap->new_from++;
	}
}

/* Nor than the last. */
static void trim_back(const struct difference *difference, struct gap *gap)
{
	const struct applying *applying = difference->applying;
	uint32_t old = difference->old_count, new = difference->new_count;
	size_t old_end = old ? difference->olds_at[old - 1] + difference->olds[old - 1].size : gap->old_from;
	size_t new_end = new ? new_place(difference, new - 1) + difference->news[new - 1].span.length : gap->new_from;

	old_end = old_end > gap->old_from ? old_end : gap->old_from;
	new_end = new_end > gap->new_from ? new_end : gap->new_from;
	while (gap->old_to > old_end && gap->new_to > new_end &&
	       byte_of(applying, gap->old_to - 1) == applying->file->text[gap->new_to - 1]) {
		gap->old_to--;
		gap->new_to--;
	}
}

static bool same_gap(const struct applying *applying, const struct gap *gap)
{
	size_t size = gap->old_to - gap->old_from;

	for (size_t i = 0; i < size && size == gap->new_to - gap->new_from; i++)
		if (byte_of(applying, gap->old_from + i) != applying->file->text[gap->new_from + i])
			return false;
	return size == gap->new_to - gap->new_from;
}

/*
 * From the last to the first, so that places before stay what they are. What stands before the first rule and behind the
 * last, the policy's braces among it, goes in part only: an edit is to be short, and never has half a rule.
 */
static bool put_texts(struct difference *difference)
{
	struct applying *applying = difference->applying;
	struct gap *gaps = ARENA_ARRAY(applying->in_place.call->arena, struct gap, difference->new_count + 1);
	size_t count = collect_gaps(difference, gaps);

	trim_front(difference, &gaps[0]);
	trim_back(difference, &gaps[count - 1]);
	while (count-- > 0) {
		const struct gap *gap = &gaps[count];
		struct rule_op op = { .operation = RULE_TEXT, .number = (uint32_t)gap->old_from,
				      .order = (uint32_t)gap->old_to, .length = (uint32_t)(gap->new_to - gap->new_from) };

		if (same_gap(applying, gap))
			continue;
		if (applying->in_place.edit.count + op_size(op.length) > applying->in_place.state->edits_room)
			return false;
		in_place_put(&applying->in_place, &op, applying->file->text + gap->new_from);
	}
	return true;
}

static uint32_t *new_numbers(struct arena *arena)
{
	return ARENA_ARRAY(arena, uint32_t, DIFFERENCES_MAX + 2);
}

/* From the last to the first. */
static bool put_deletions(struct difference *difference)
{
	struct applying *applying = difference->applying;
	struct rule_places *places = &applying->in_place.places;
	struct plan_delta *delta = &applying->in_place.delta;
	uint32_t *gone = new_numbers(applying->in_place.call->arena);
	bool *stays = ARENA_ARRAY(applying->in_place.call->arena, bool, difference->old_count + 1);

	for (uint32_t i = 0; i < difference->new_count; i++)
		stays[difference->match[i]] = true;
	for (uint32_t old = difference->old_count; old > 0; old--) {
		const struct rule_op op = { .operation = WEIR_RULE_DELETE, .number = applying->before + old, .placed = 1 };

		if (stays[old])
			continue;
		gone[delta->gone_count] = places_order(places, op.number);
		if (!gone[delta->gone_count++])
			return false;
		places_apply(places, &op);
		in_place_put(&applying->in_place, &op, NULL);
	}
	delta->gone = gone;
	return true;
}

/* Of what the new rule comes before, in its chain: one that stays, or the chain's end. */
static uint32_t order_behind(const struct difference *difference, uint32_t index, uint32_t number)
{
	const struct rule_places *places = &difference->applying->in_place.places;
	uint32_t chain = difference->chains[index];

	for (uint32_t i = index + 1; places->sites && i < difference->new_count; i++) {
		if (difference->match[i] && difference->chains[i] == chain)
			return places_order(places, number);
		number += difference->match[i] != 0;
	}
	return places->sites ? places_end(places, chain) : places_order(places, number);
}

static bool put_addition(struct difference *difference, uint32_t index, struct rule_op *ret_op)
{
	struct in_place *in_place = &difference->applying->in_place;
	struct rule_places *places = &in_place->places;
	const struct rule *rule = &difference->news[index];
	struct rule_op op = { .operation = WEIR_RULE_ADD, .number = difference->applying->before + index + 1,
			      .placed = new_place(difference, index) + 1, .size = rule->span.length,
			      .verdict = rule_ending_verdict(rule), .hash = difference->hashes[index],
			      .named = difference->named };

	if (!in_place_give(in_place, order_behind(difference, index, op.number), &op) || op.chain != difference->chains[index])
		return false;
	*ret_op = op;
	places_apply(places, &op);
	in_place_put(in_place, &op, NULL);
	in_place_put_logs(in_place, &op, rule);
	return true;
}

/* The new rules alone, numbered from 1. */
static bool put_additions(struct difference *difference)
{
	struct applying *applying = difference->applying;
	struct arena *arena = applying->in_place.call->arena;
	struct ruleset *ruleset = arena_copy(arena, applying->ruleset, sizeof *ruleset);
	struct chain *chain = arena_copy(arena, &ruleset->chains[0], sizeof *chain);
	struct rule *rules = ARENA_ARRAY(arena, struct rule, DIFFERENCES_MAX + 1);
	uint32_t *orders = new_numbers(arena), *slots = new_numbers(arena), *logs = new_numbers(arena), count = 0;
	struct rule_op op;

	for (uint32_t i = 0; i < difference->new_count; i++) {
		if (difference->match[i])
			continue;
		rules[count] = difference->news[i];
		rules[count].number = count + 1;
		count++;
		if (!put_addition(difference, i, &op))
			return false;
		orders[count] = op.order;
		slots[count] = op.slot;
		logs[count] = op.log;
	}
	chain->rules = rules;
	chain->rule_count = ruleset->rule_count = count;
	ruleset->chains = chain;
	ruleset->chain_count = 1;
	applying->in_place.delta.rules = count ? ruleset : NULL;
	applying->in_place.delta.orders = orders;
	applying->in_place.delta.slots = slots;
	applying->in_place.delta.logs = logs;
	return true;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

static void collect_olds(struct difference *difference)
{
	const struct applying *applying = difference->applying;
	struct edited_rule *olds = ARENA_ARRAY(applying->in_place.call->arena, struct edited_rule, difference->old_count);
	const struct edited *edited = &applying->edited;

	difference->olds_at = ARENA_ARRAY(applying->in_place.call->arena, uint32_t, difference->old_count);
	edited_rules(edited, applying->before + 1, difference->old_count, olds, difference->olds_at);
	difference->olds = olds;
}

static int change(struct applying *applying)
{
	struct arena *arena = applying->in_place.call->arena;
	struct difference difference = { .applying = applying, .new_count = applying->ruleset->rule_count };

	difference.news = rules_by_number(arena, applying->ruleset, &difference.chains);
	difference.old_count = applying->edited.places.count - applying->before - applying->behind;
	difference.named = !noted_among(applying->bundle->names, applying->names, applying->head.names_size);
	difference.hashes = ARENA_ARRAY(arena, uint64_t, difference.new_count + 1);
	difference.match = ARENA_ARRAY(arena, uint32_t, difference.new_count + 1);
	for (uint32_t i = 0; i < difference.new_count; i++)
		difference.hashes[i] = rule_hash(applying->ruleset, &difference.news[i], difference.chains[i]);
	collect_olds(&difference);
	if (!find_matches(&difference))
		return RULE_REBUILD;
	in_place_read(&applying->in_place);
	if (!put_texts(&difference) || !put_deletions(&difference) || !put_additions(&difference))
		return RULE_REBUILD;
	return applying->in_place.edit.count ? in_place_commit(&applying->in_place) : WEIR_OK;
}

struct running {
	struct applying *applying;
	struct bundle *bundle; /* of what is yet to be read; NULL: the ruleset is there */
	int status;
};

static int run(void *context)
{
	struct running *running = context;
	struct applying *applying = running->applying;

	running->status = RULE_REBUILD;
	if (!read_edited(applying) ||
	    (running->bundle && (applying->head.chains > 1 || !stretch_read(applying, running->bundle))))
		return 0;
	if (is_plain(applying->ruleset) && same_frame(applying) && sets_stay(applying))
		running->status = change(applying);
	return 0;
}

static int run_opened(struct applying *applying, struct kernel *kernel, struct bundle *bundle)
{
	struct call *call = applying->in_place.call;
	const char *policy = applying->in_place.policy;
	struct running running = { applying, bundle, WEIR_OK };
	int error;

	if (!kernel_rules_attached(applying->in_place.rules))
		return RULE_REBUILD;
	if (kernel_blob_map(kernel, policy, "source", call->diags, &applying->source) ||
	    kernel_blob_map(kernel, policy, "index", call->diags, &applying->index))
		return WEIR_SYSTEM;
	error = arena_run(call->arena, run, &running);
	return error ? error : running.status;
}

static int run_applying(struct applying *applying, struct kernel *kernel, struct bundle *bundle)
{
	int status = in_place_open(&applying->in_place, kernel);

	if (status)
		return status;
	status = run_opened(applying, kernel, bundle);
	kernel_rules_close(applying->in_place.rules);
	kernel_blob_unmap(&applying->source);
	kernel_blob_unmap(&applying->index);
	return status;
}

int rule_apply_in_place(struct call *call, struct kernel *kernel, const struct ruleset *ruleset,
			const struct bundle *bundle)
{
	const struct source *file = bundle->files.items[0];
	struct applying applying = { .in_place = { .call = call, .policy = ruleset->name }, .file = file,
				     .ruleset = ruleset, .bundle = bundle };

	applying.parts[2] = (struct part){ 0, file->length, 0 };
	return is_plain(ruleset) ? run_applying(&applying, kernel, NULL) : RULE_REBUILD;
}

/* --- a file that has yet to be read ------------------------------------------------------------------------------ */

struct file_call {
	struct weir_apply_options options;
	struct source file;
	struct weir_program *program;
	struct kernel *kernel;
	bool applied;
};

/* The only policy that came from the file, or NULL. */
static const char *policy_of(struct call *call, const struct file_call *file_call)
{
	const char *const *names, *found = NULL;
	size_t count;

	if (kernel_policies(file_call->kernel, call->arena, call->diags, &names, &count))
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (!api_came_from(call, file_call->kernel, names[i], file_call->file.name))
			continue;
		if (found)
			return NULL;
		found = names[i];
	}
	return found;
}

static int apply_file(struct call *call, struct file_call *file_call)
{
	const char *policy = policy_of(call, file_call);
	struct applying applying = { .in_place = { .call = call, .policy = policy }, .file = &file_call->file };
	struct bundle *bundle = ARENA_NEW(call->arena, struct bundle);
	int status = policy ? run_applying(&applying, file_call->kernel, bundle) : RULE_REBUILD;

	if (status)
		return status;
	file_call->program->rulesets = ARENA_NEW(call->arena, struct rulesets);
	*(struct rulesets *)file_call->program->rulesets = (struct rulesets){ applying.ruleset, 1 };
	api_describe_policies(file_call->program);
	file_call->program->policies[0].rules = applying.in_place.places.count;
	return WEIR_OK;
}

/* What may cut the caller's own session is judged with all rules, and what goes wrong is said with all of them. */
static int try_file(struct call *call, void *context)
{
	struct file_call *file_call = context;

	if (!file_call->options.force && session_there(call))
		return WEIR_OK;
	file_call->applied = !kernel_open(KERNEL_WRITE, call->diags, &file_call->kernel) && !apply_file(call, file_call);
	if (!file_call->applied)
		*call->diags = *diags_new(call->arena);
	return WEIR_OK;
}

WEIR_EXPORT int weir_apply_difference(struct weir *weir, const char *path, const struct weir_apply_options *options,
				      struct weir_program **ret_program)
{
	struct file_call file_call = { .file = { .name = path } };
	char *text = NULL;
	int status;

	*ret_program = NULL;
	if (options)
		memcpy(&file_call.options, options,
		       options->size < sizeof file_call.options ? options->size : sizeof file_call.options);
	if (file_call.options.dry_run || file_call.options.prune || file_call.options.reset_sets || !strcmp(path, "-") ||
	    api_read_path(path, &text, &file_call.file.length))
		return WEIR_OK;
	file_call.file.text = text;
	file_call.program = api_new(sizeof *file_call.program);
	status = file_call.program ? api_call(weir, file_call.program->arena, false, try_file, &file_call) :
				     api_out_of_memory(weir);
	kernel_close(file_call.kernel);
	free(text);
	if (file_call.applied)
		*ret_program = file_call.program;
	else
		weir_program_free(file_call.program);
	return status;
}
