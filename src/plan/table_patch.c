/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Changes of single rules in a table in force. In: the table's blob, which rules go and which come; out: a version, that is
 * the trees beside the built ones, with all in them that differs:
 *
 *   - each rule that came, at an order between its neighbours';
 *   - for each built rule that went, an entry in its place whose answer is to go on behind it;
 *   - and copies of what the builder left out of the trees because that rule hid it.
 *
 * A version is made from the one before and the change alone. What has no place in it is refused with a reason.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plan/table.h"

enum {
	ENTRIES_MOST = 4096, /* of a version */
	TEST_WORDS = sizeof(struct table_test) / 8,
};

struct patching {
	struct arena *arena;
	const uint64_t *words;
	const struct table_header *header;
	const struct table_version *live; /* or NULL */
	const struct plan_delta *delta;
	VEC(struct table_entry) entries[2];
	VEC(struct step) steps;
	uint32_t steps_start, start, limit;
	const char *reason;
};

static bool refuse(struct patching *patching, const char *reason)
{
	patching->reason = reason;
	return false;
}

static const uint64_t *entry_at(const struct patching *patching, uint32_t first, size_t index, bool six)
{
	return patching->words + first + index * entry_words(six);
}

static uint32_t order_of(const uint64_t *entry)
{
	uint32_t order;

	memcpy(&order, entry, sizeof order); /* records begin with it */
	return order;
}

/* --- what the version before has --------------------------------------------------------------------------------- */

/* A run of tests of an earlier version moves along; those built stay where they are. */
static uint32_t move_tests(struct patching *patching, struct table_work *table, uint32_t tests)
{
	const struct table_test *run = (const struct table_test *)(patching->words + (size_t)tests * TEST_WORDS);
	uint32_t first = (uint32_t)table->extras.count;

	if ((size_t)tests * TEST_WORDS < patching->header->room)
		return tests;
	do
		VEC_PUSH(patching->arena, &table->extras) = *run;
	while (run++->more);
	return first;
}

static void load_live(struct patching *patching, struct table_work *table)
{
	for (unsigned six = 0; six < 2 && patching->live; six++)
		for (size_t i = 0; i < patching->live->entry_count[six]; i++) {
			struct table_entry *entry = &VEC_PUSH(patching->arena, &patching->entries[six]);

			entry_get(entry_at(patching, patching->live->entries[six], i, six), six, entry);
			entry->tests = move_tests(patching, table, entry->tests);
		}
}

/* --- rules that go ----------------------------------------------------------------------------------------------- */

/* Whether there was anything of that order. */
static bool forget(struct patching *patching, uint32_t order)
{
	size_t before = patching->entries[0].count + patching->entries[1].count;

	for (unsigned six = 0; six < 2; six++) {
		size_t kept = 0;

		for (size_t i = 0; i < patching->entries[six].count; i++)
			if (patching->entries[six].items[i].order != order)
				patching->entries[six].items[kept++] = patching->entries[six].items[i];
		patching->entries[six].count = kept;
	}
	return patching->entries[0].count + patching->entries[1].count < before;
}

static bool is_gone(const struct patching *patching, bool six, uint32_t order)
{
	for (size_t i = 0; i < patching->entries[six].count; i++)
		if (patching->entries[six].items[i].order == order)
			return patching->entries[six].items[i].value & TABLE_GONE;
	return false;
}

static bool meets(const struct table_entry *a, const struct table_entry *b)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned shift = a->shift[i] > b->shift[i] ? a->shift[i] : b->shift[i];

		if (shift < 64 && (a->address[i] ^ b->address[i]) >> shift)
			return false;
	}
	for (unsigned i = 0; i < 2; i++)
		if (a->port_lo[i] > b->port_hi[i] || b->port_lo[i] > a->port_hi[i])
			return false;
	return !((a->value ^ b->value) & a->mask & b->mask);
}

/* Whether every packet that agrees with `inner` agrees with `outer`. */
static bool holds(const struct table_entry *outer, const struct table_entry *inner)
{
	for (unsigned i = 0; i < 4; i++)
		if (outer->shift[i] < inner->shift[i])
			return false;
	for (unsigned i = 0; i < 2; i++)
		if (outer->port_lo[i] > inner->port_lo[i] || outer->port_hi[i] < inner->port_hi[i])
			return false;
	return !(outer->mask & ~inner->mask) && meets(outer, inner);
}

/* All that the entry may have hidden: what it meets behind it, up to what covers it. */
static bool copy_hidden(struct patching *patching, const struct table_entry *gone, size_t from, bool six)
{
	const struct table_header *header = patching->header;

	for (size_t i = from; i < header->entry_count[six]; i++) {
		struct table_entry entry;

		entry_get(entry_at(patching, header->entries[six], i, six), six, &entry);
		entry.value &= (uint16_t)~TABLE_HIDES;
		if (entry.order == gone->order || !meets(gone, &entry) || is_gone(patching, six, entry.order))
			continue;
		if (patching->entries[six].count >= ENTRIES_MOST)
			return refuse(patching, "the rule hides too many others");
		VEC_PUSH(patching->arena, &patching->entries[six]) = entry;
		if (entry.ends && holds(&entry, gone))
			return true;
	}
	return true;
}

/* The first entry of that order. */
static size_t find_entries(const struct patching *patching, uint32_t order, bool six)
{
	size_t lo = 0, hi = patching->header->entry_count[six];

	while (lo < hi) {
		size_t middle = lo + (hi - lo) / 2;

		if (order_of(entry_at(patching, patching->header->entries[six], middle, six)) < order)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

/* One family's entries of a built rule. `copied`: it was hidden itself, and may have been the last that was copied. */
static bool bury(struct patching *patching, uint32_t order, uint32_t answer, bool six, bool copied)
{
	const struct table_header *header = patching->header;
	size_t first = find_entries(patching, order, six);

	for (size_t i = first; i < header->entry_count[six]; i++) {
		struct table_entry entry;
		bool hides;

		entry_get(entry_at(patching, header->entries[six], i, six), six, &entry);
		if (entry.order != order)
			break;
		hides = copied || entry.value & TABLE_HIDES;
		entry.value = (uint16_t)((entry.value & ~TABLE_HIDES) | TABLE_GONE);
		entry.answer = answer;
		entry.ends = false;
		VEC_PUSH(patching->arena, &patching->entries[six]) = entry;
		if (hides && !copy_hidden(patching, &entry, i + 1, six))
			return false;
	}
	return true;
}

/* NULL: without chains. */
static const struct table_site *site_of(const struct patching *patching, uint32_t site)
{
	const struct table_header *header = patching->header;

	return header->sites && site ? (const struct table_site *)(patching->words + header->sites) + site - 1 : NULL;
}

/* What stands in the chain might be hidden, or hide. */
static bool leads_to_chain(const struct patching *patching, uint32_t site)
{
	const struct table_site *next = site_of(patching, site + 1);

	return next && next->jump == site;
}

static bool remove_rule(struct patching *patching, uint32_t order)
{
	const struct table_header *header = patching->header;
	uint32_t site = order / header->stride, answer;
	bool copied = forget(patching, order);

	if (order % header->stride)
		return true; /* it came later: that is all there is of it */
	if (leads_to_chain(patching, site))
		return refuse(patching, "the rule leads to a chain");
	if (header->link && header->sites && site_of(patching, site)->jump)
		return refuse(patching, "the rule's chain may judge what is not IP, too");
	for (uint32_t i = 0; i < header->link_count; i++)
		if (header->links[i] == (header->sites ? site_of(patching, site)->rule : site))
			return refuse(patching, "the rule judges what is not IP, too");
	answer = ANSWER_RUN(patching->steps_start + patching->steps.count);
	VEC_PUSH(patching->arena, &patching->steps) = (struct step){ .kind = STEP_RESUME, .a = order + 1 };
	return bury(patching, order, answer, false, copied) &&
	       bury(patching, order, answer, true, copied);
}

/* --- rules that come --------------------------------------------------------------------------------------------- */

/* NULL: no rule has named that so far. */
static const struct table_name *find_name(const struct patching *patching, const struct table_name *like, const char *text)
{
	const struct table_name *names = (const struct table_name *)(patching->words + patching->header->names);

	for (uint32_t i = 0; i < patching->header->name_count; i++)
		if (names[i].kind == like->kind && names[i].field == like->field && names[i].value == like->value &&
		    !strcmp(names[i].text, text))
			return &names[i];
	return NULL;
}

static const struct table_name *find_counter(const struct patching *patching, uint32_t counter)
{
	return find_name(patching, &(struct table_name){ .kind = TABLE_COUNTER }, patching->delta->rules->counters[counter]);
}

/* NULL if it can be done. */
static const char *bad_action(const struct patching *patching, const struct action *action, unsigned logs)
{
	switch (action->kind) {
	case ACTION_MARK:
		return NULL;
	case ACTION_VERDICT:
		return action->verdict == VERDICT_REJECT && !patching->header->rejects ? "no rule has rejected so far" : NULL;
	case ACTION_COUNT:
		return find_counter(patching, action->counter) ? NULL : "no rule has counted there so far";
	case ACTION_LOG:
		return patching->delta->logs && logs == 1 ? NULL : "the rule logs more than once";
	case ACTION_CAPTURE:
		return patching->header->captures ? NULL : "no rule has captured so far";
	default:
		return "the rule does more than can be added";
	}
}

static bool good_actions(struct patching *patching, const struct rule *rule)
{
	unsigned logs = 0;

	for (size_t i = 0; i < rule->action_count; i++) {
		const char *reason;

		logs += rule->actions[i].kind == ACTION_LOG;
		reason = bad_action(patching, &rule->actions[i], logs);
		if (reason)
			return refuse(patching, reason);
	}
	return true;
}

static bool good_rules(struct patching *patching, const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->chains[0].rule_count; i++) {
		const struct rule *rule = &ruleset->chains[0].rules[i];

		if (rule->names_link)
			return refuse(patching, "the rule judges what is not IP, too");
		if (!good_actions(patching, rule))
			return false;
	}
	if (ruleset->program_count || ruleset->root_count)
		return refuse(patching, "the rule may name programs");
	if (ruleset->cgroup_level_count && table_levels(ruleset) != patching->header->levels)
		return refuse(patching, "the rule looks at other levels of cgroups");
	return true;
}

static bool fields_are_filled(struct patching *patching, const struct work *work)
{
	for (size_t i = 0; i < work->dims.count; i++)
		if (!(patching->header->needed >> work->dims.items[i].field & 1))
			return refuse(patching, "no rule has looked at such a field so far");
	return true;
}

/* Behind the slots of rules are those of named counters. */
static uint32_t real_slot(const struct patching *patching, uint32_t slot)
{
	uint32_t rules = ruleset_shown(patching->delta->rules);

	if (slot < SLOT_RULES)
		return slot;
	if (slot > SLOT_RULE(rules))
		return find_counter(patching, slot - SLOT_RULE(rules + 1))->number;
	return patching->delta->slots[slot - SLOT_RULES + 1];
}

static uint32_t real_answer(const struct patching *patching, uint32_t answer)
{
	if (answer & ANSWER_STEPS)
		return ANSWER_RUN((answer >> ANSWER_SHIFT) + patching->steps_start + patching->steps.count);
	return ANSWER(answer & 3, real_slot(patching, answer >> ANSWER_SHIFT));
}

/* --- what they ask ----------------------------------------------------------------------------------------------- */

/* The number that generated code answers the question by. */
static bool find_question(const struct patching *patching, const struct work *work, const struct test *test, uint32_t *ret_number)
{
	struct table_name name;
	const char *set = table_asks(work, test, &name);
	const struct table_name *found = set ? find_name(patching, &name, set) : NULL;

	if (found)
		*ret_number = found->number;
	return found;
}

/* The tests from `first` on, which are those of rules that come, ask by these numbers. */
static bool number_questions(struct patching *patching, struct table_work *table, size_t first)
{
	uint32_t *numbers = ARENA_ARRAY(patching->arena, uint32_t, table->rests.count);

	for (size_t i = 0; i < table->rests.count; i++)
		if (!find_question(patching, table->work, table->rests.items[i], &numbers[i]))
			return refuse(patching, "no rule has looked at that set so far, or the rule asks too much at once");
	for (size_t i = first; i < table->extras.count; i++)
		if (table->extras.items[i].word == TABLE_REST)
			table->extras.items[i].lo = numbers[table->extras.items[i].lo];
	return true;
}

/* --- rules that come into a chain -------------------------------------------------------------------------------- */

static const struct table_test *test_at(const struct patching *patching, const struct table_work *table, uint32_t index)
{
	if ((size_t)index * TEST_WORDS < patching->header->room)
		return (const struct table_test *)(patching->words + (size_t)index * TEST_WORDS);
	return &table->extras.items[index];
}

/* A copy of the run, which goes on if `more`. How many tests it has. */
static unsigned copy_run(struct patching *patching, struct table_work *table, uint32_t first, bool more)
{
	struct table_test test;
	unsigned count = 0;

	do {
		test = *test_at(patching, table, first + count++);
		VEC_PUSH(patching->arena, &table->extras) = test;
	} while (test.more);
	table->extras.items[table->extras.count - 1].more = more;
	return count;
}

static bool join_tests(struct patching *patching, struct table_work *table, uint32_t a, uint32_t b, uint32_t *ret_tests)
{
	unsigned count;

	*ret_tests = a | b;
	if (!a || !b)
		return true;
	*ret_tests = (uint32_t)table->extras.count;
	count = copy_run(patching, table, a, true) + copy_run(patching, table, b, false);
	return count <= TABLE_TESTS_MAX || refuse(patching, "the rule and the jumps to it ask too much at once");
}

/* What agrees with both, which meet; all but the tests. */
static void narrow(struct table_entry *entry, const struct table_entry *by)
{
	for (unsigned i = 0; i < 4; i++) {
		if (by->shift[i] >= entry->shift[i])
			continue;
		entry->shift[i] = by->shift[i];
		entry->address[i] = by->address[i];
	}
	for (unsigned i = 0; i < 2; i++) {
		entry->port_lo[i] = entry->port_lo[i] > by->port_lo[i] ? entry->port_lo[i] : by->port_lo[i];
		entry->port_hi[i] = entry->port_hi[i] < by->port_hi[i] ? entry->port_hi[i] : by->port_hi[i];
	}
	entry->value |= by->value & by->mask;
	entry->mask |= by->mask;
}

/* Of the packets that the jump's entries let in. Steps may jump over what stands in a chain. */
static bool enter_chain(struct patching *patching, struct table_work *table, const struct table_entry *entry, uint32_t jump,
			bool six)
{
	const struct table_header *header = patching->header;
	uint32_t order = jump * header->stride;

	for (size_t i = find_entries(patching, order, six); i < header->entry_count[six]; i++) {
		struct table_entry by, both = *entry;

		entry_get(entry_at(patching, header->entries[six], i, six), six, &by);
		if (by.order != order)
			break;
		if (!meets(&both, &by))
			continue;
		if (!join_tests(patching, table, both.tests, by.tests, &both.tests))
			return false;
		narrow(&both, &by);
		both.value |= TABLE_OPEN;
		both.ends = false;
		VEC_PUSH(patching->arena, &patching->entries[six]) = both;
	}
	return true;
}

/* The chain that rules of the order stand in: the jump to it; 0: the main one. */
static uint32_t jump_at(const struct patching *patching, uint32_t order)
{
	const struct table_site *behind = site_of(patching, order / patching->header->stride + 1);

	return behind ? behind->jump : 0;
}

static bool take_entry(struct patching *patching, struct table_work *table, struct table_entry entry, bool six)
{
	uint32_t jump = jump_at(patching, entry.order);

	entry.answer = real_answer(patching, entry.answer);
	if (jump && patching->header->link)
		return refuse(patching, "the rule's chain may judge what is not IP, too");
	if (jump)
		return enter_chain(patching, table, &entry, jump, six);
	VEC_PUSH(patching->arena, &patching->entries[six]) = entry;
	return true;
}

static bool take_laid(struct patching *patching, struct table_work *table)
{
	for (unsigned six = 0; six < 2; six++)
		for (size_t i = 0; i < table->families[six].entries.count; i++)
			if (!take_entry(patching, table, table->families[six].entries.items[i], six))
				return false;
	for (size_t i = 0; i < table->answers->steps.count; i++) {
		struct step step = table->answers->steps.items[i];

		if (step.kind == STEP_LOG)
			step.a = patching->delta->logs[step.slot - SLOT_RULES + 1];
		if (step.kind != STEP_MARK && step.kind != STEP_RESUME)
			step.slot = real_slot(patching, step.slot);
		VEC_PUSH(patching->arena, &patching->steps) = step;
	}
	return true;
}

static bool add_rules(struct patching *patching, struct table_work *table)
{
	struct work *work = ARENA_NEW(patching->arena, struct work);
	struct answers answers;
	size_t first = table->extras.count;

	*work = (struct work){ .arena = patching->arena, .ruleset = patching->delta->rules, .hook = (enum hook)patching->header->hook,
			       .diags = diags_new(patching->arena), .options.inline_set_min = SIZE_MAX };
	if (!good_rules(patching, work->ruleset) || work_prepare(work) || !fields_are_filled(patching, work))
		return patching->reason ? false : refuse(patching, "the rule cannot stand alone");
	answers_init(&answers, work);
	table->work = work;
	table->answers = &answers;
	table->orders = (uint32_t *)patching->delta->orders;
	table->stride = 1;
	table->families[1].six = true;
	for (unsigned six = 0; six < 2; six++)
		entries_lay(table, &table->families[six]);
	if (table->refused)
		return refuse(patching, table->refused);
	return number_questions(patching, table, first) && take_laid(patching, table);
}

/* --- the version ------------------------------------------------------------------------------------------------- */

static int by_order(const void *a, const void *b)
{
	const struct table_entry *left = a, *right = b;

	if (left->order != right->order)
		return left->order < right->order ? -1 : 1;
	return memcmp(left, right, sizeof *left);
}

/* Sorted, and each once. */
static void tidy(struct patching *patching, unsigned six)
{
	struct table_entry *items = patching->entries[six].items;
	size_t count = patching->entries[six].count, kept = 0;

	if (count)
		qsort(items, count, sizeof *items, by_order);
	for (size_t i = 0; i < count; i++)
		if (!kept || memcmp(&items[kept - 1], &items[i], sizeof *items))
			items[kept++] = items[i];
	patching->entries[six].count = kept;
}

static void put_list(struct patching *patching, struct blob *blob, unsigned six, struct table_version *version)
{
	size_t words = entry_words(six), count = patching->entries[six].count;
	size_t at = blob_extend(patching->arena, blob, count * words, words);

	version->entries[six] = (uint32_t)at;
	version->entry_count[six] = (uint32_t)count;
	for (size_t i = 0; i < count; i++)
		entry_put(&blob->items[at + i * words], &patching->entries[six].items[i], six, false);
}

static bool put_tree(struct patching *patching, struct table_work *table, struct blob *blob, unsigned six,
		     struct table_version *version)
{
	const struct tree_shape shape = { .growth = 2, .leaf = 4, .words_max = patching->limit };
	struct table_family *family = &table->families[six];
	struct trees trees;

	*family = (struct table_family){ .six = six };
	table_fields(family);
	for (size_t i = 0; i < patching->entries[six].count; i++) {
		struct table_entry *entry = &VEC_PUSH(patching->arena, &family->entries);

		*entry = patching->entries[six].items[i];
		entry->value &= (uint16_t)~(TABLE_GONE | TABLE_OPEN);
	}
	if (!trees_build(table, family, &shape, patching->header->scale, blob, &trees) || trees.longest > TABLE_SCAN_MAX)
		return false;
	version->roots[six] = trees.count ? trees.roots[0] : 0;
	return true;
}

/* Words have the indexes in the blob that they will have in the table. False: they do not fit behind `start`. */
static bool put_version(struct patching *patching, struct table_work *table, struct table_version *version,
			struct plan_patch *patch)
{
	struct blob blob = { .count = table->extras.count * TEST_WORDS };
	size_t at;

	blob.capacity = blob.count + 4096;
	blob.items = ARENA_ARRAY(patching->arena, uint64_t, blob.capacity);
	memcpy(blob.items + patching->start, (const uint64_t *)table->extras.items + patching->start,
	       (blob.count - patching->start) * 8);
	for (unsigned six = 0; six < 2; six++)
		put_list(patching, &blob, six, version);
	for (unsigned six = 0; six < 2; six++)
		if (!put_tree(patching, table, &blob, six, version))
			return false;
	at = blob_extend(patching->arena, &blob, sizeof *version / 8, 1);
	version->start = patching->start;
	version->end = (uint32_t)blob.count;
	version->limit = patching->limit;
	memcpy(blob.items + at, version, sizeof *version);
	*patch = (struct plan_patch){ .words = blob.items + patching->start, .start = version->start,
				      .end = version->end, .index = (uint32_t)at };
	return blob.count <= patching->limit;
}

/* Behind the newest version; once no packet meets another, where there is more room, behind it or before it. */
static void place(struct patching *patching, bool settled)
{
	const struct table_header *header = patching->header;
	const struct table_version *live = patching->live;

	patching->start = live ? live->end : header->room;
	patching->limit = live && !settled ? live->limit : header->room_end;
	if (live && settled && live->start - header->room > header->room_end - live->end) {
		patching->start = header->room;
		patching->limit = live->start;
	}
	patching->start = (patching->start + TEST_WORDS - 1) / TEST_WORDS * TEST_WORDS;
}

static bool make(struct patching *patching, struct table_version *version, struct plan_patch *patch)
{
	struct work work = { .arena = patching->arena };
	struct table_work table = { .work = &work };
	size_t none = patching->start / TEST_WORDS;

	/* Indexes of tests count from the blob's beginning; what is there is none of ours. */
	table.extras.items = ARENA_ARRAY(patching->arena, struct table_test, none + 64);
	table.extras.count = none;
	table.extras.capacity = none + 64;
	load_live(patching, &table);
	for (size_t i = 0; i < patching->delta->gone_count; i++)
		if (!remove_rule(patching, patching->delta->gone[i]))
			return false;
	if (patching->delta->rules && !add_rules(patching, &table))
		return false;
	for (unsigned six = 0; six < 2; six++)
		tidy(patching, six);
	table.work = &work;
	return put_version(patching, &table, version, patch);
}

int plan_patch(struct arena *arena, const uint64_t *words, uint64_t epoch, bool settled,
	       const struct plan_delta *delta, struct plan_patch *ret_patch, const char **ret_reason)
{
	const struct table_header *header = (const struct table_header *)words;
	struct patching patching = { .arena = arena, .words = words, .header = header, .delta = delta };
	struct table_version version = { .since = epoch + 1, .before = (uint32_t)header->latest };
	struct plan_patch patch = { .words = NULL };

	if (header->latest)
		patching.live = (const struct table_version *)(words + header->latest);
	version.tag = patching.live ? patching.live->tag % TABLE_TAGS + 1 : 1;
	patching.steps_start = patching.live ? patching.live->steps_end : header->steps;
	place(&patching, settled);
	*ret_reason = "the table was built for no changes";
	if (!header->stride)
		return -EOPNOTSUPP;
	if (!make(&patching, &version, &patch)) {
		*ret_reason = patching.reason ? patching.reason : "there is no room for more changes";
		return patching.reason || settled || !patching.live ? -EOPNOTSUPP : -EAGAIN;
	}
	version.steps_start = patching.steps_start;
	version.steps_end = patching.steps_start + (uint32_t)patching.steps.count;
	*ret_reason = "there is no room for more changes";
	if (version.steps_end > header->steps_end)
		return -EOPNOTSUPP;
	memcpy((uint64_t *)patch.words + (patch.index - patch.start), &version, sizeof version);
	patch.steps = patching.steps.items;
	patch.steps_start = patching.steps_start;
	patch.step_count = (uint32_t)patching.steps.count;
	*ret_patch = patch;
	return 0;
}
