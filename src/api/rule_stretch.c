/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which rules of a file are read, if it is to replace a policy in force. In: both texts; out: the rules of the stretch in which
 * they differ, compiled with the file without its other rules.
 *
 * That all others mean the same is sure: their bytes are the same, so is all of the file that is no rule (it is compared as
 * the frame), and so are the answers of the machine to all names that were asked for. That they are rules, and begin and end
 * where they did: the parser is deterministic and looks one token ahead. Before the stretch, one more rule than is kept is the
 * same. Behind it, the parser came out of the last rule of the stretch where it had come out of that rule before.
 */
#include <errno.h>
#include <string.h>

#include "api/noted.h"
#include "api/rule_apply.h"

/* --- both texts -------------------------------------------------------------------------------------------------- */

enum { BLOCK = 4096 };

static size_t same_bytes(const char *a, const char *b, size_t size)
{
	size_t same = 0;

	while (size - same >= BLOCK && !memcmp(a + same, b + same, BLOCK))
		same += BLOCK;
	while (same < size && a[same] == b[same])
		same++;
	return same;
}

/* Those before the ends. */
static size_t same_bytes_back(const char *a_end, const char *b_end, size_t size)
{
	size_t same = 0;

	while (size - same >= BLOCK && !memcmp(a_end - same - BLOCK, b_end - same - BLOCK, BLOCK))
		same += BLOCK;
	while (same < size && a_end[-(ptrdiff_t)same - 1] == b_end[-(ptrdiff_t)same - 1])
		same++;
	return same;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* At the beginning. */
static size_t same_before(const struct edited *edited, const struct source *file)
{
	size_t at = 0;

	for (size_t i = 0; i < edited->pieces.count; i++) {
		const struct piece *piece = &edited->pieces.items[i];
		size_t size = least(piece->size, file->length - at), same = same_bytes(piece->text, file->text + at, size);

		at += same;
		if (same < piece->size)
			break;
	}
	return at;
}

/* At the end; at most so much. */
static size_t same_behind(const struct edited *edited, const struct source *file, size_t most)
{
	size_t same = 0;

	for (size_t i = edited->pieces.count; i-- > 0 && same < most;) {
		const struct piece *piece = &edited->pieces.items[i];
		size_t size = least(piece->size, most - same);
		size_t here = same_bytes_back(piece->text + piece->size, file->text + file->length - same, size);

		same += here;
		if (here < piece->size)
			break;
	}
	return same;
}

/* --- which rules -------------------------------------------------------------------------------------------------- */

/* In the text in force. */
static size_t begin_of(const struct edited *edited, uint32_t number)
{
	const struct edited_rule rule = edited_rule(edited, number);

	return edited_place(edited, &rule);
}

static size_t end_of(const struct edited *edited, uint32_t number)
{
	const struct edited_rule rule = edited_rule(edited, number);

	return edited_place(edited, &rule) + rule.size;
}

/* How many rules end there or before. */
static uint32_t rules_before(const struct edited *edited, size_t at)
{
	uint32_t low = 0, high = edited->places.count;

	while (low < high) {
		uint32_t middle = low + (high - low + 1) / 2;

		if (end_of(edited, middle) <= at)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* How many begin there or behind. */
static uint32_t rules_behind(const struct edited *edited, size_t at)
{
	uint32_t count = edited->places.count, before = rules_before(edited, at);

	while (before < count && begin_of(edited, before + 1) < at)
		before++;
	return count - before;
}

/* Of the rules that are the same, the one next to the stretch is read again. Returns how much longer the file is. */
static ptrdiff_t choose(struct applying *applying)
{
	const struct edited *edited = &applying->edited;
	size_t length = applying->file->length, before = same_before(edited, applying->file);
	size_t behind = same_behind(edited, applying->file, least(length, edited->length) - before);
	uint32_t rules = rules_before(edited, before);

	applying->before = rules ? rules - 1 : 0;
	rules = rules_behind(edited, edited->length - behind);
	applying->behind = rules ? rules - 1 : 0;
	return (ptrdiff_t)length - (ptrdiff_t)edited->length;
}

/* --- compiling them ----------------------------------------------------------------------------------------------- */

/* Before the first rule, between the rules that are kept, behind the last: of the text in force, or, so much longer, the file. */
static void divide(struct applying *applying, ptrdiff_t longer, size_t length, struct part *parts)
{
	const struct edited *edited = &applying->edited;
	uint32_t count = edited->places.count, last = count - applying->behind;
	size_t head = applying->before ? begin_of(edited, 1) : 0;
	size_t from = applying->before ? end_of(edited, applying->before) : 0;
	size_t to = applying->behind ? end_of(edited, last) + (size_t)longer : length;
	size_t tail = applying->behind ? end_of(edited, count) + (size_t)longer : length;

	parts[0] = (struct part){ 0, head, 0 };
	parts[1] = (struct part){ head, head + to - from, from };
	parts[2] = (struct part){ parts[1].to, parts[1].to + length - tail, tail };
}

uint32_t part_place(const struct applying *applying, uint32_t offset)
{
	const struct part *part = applying->parts;

	while (part < &applying->parts[2] && offset >= part->to)
		part++;
	return (uint32_t)(offset - part->from + part->in_file);
}

static void copy_text(const struct edited *edited, size_t from, size_t size, char *to)
{
	for (size_t i = 0; i < edited->pieces.count && size; i++) {
		const struct piece *piece = &edited->pieces.items[i];
		size_t here = from < piece->size ? least(piece->size - from, size) : 0;

		memcpy(to, piece->text + least(from, piece->size), here);
		to += here;
		size -= here;
		from -= least(from, piece->size);
	}
}

/* `file` NULL: of the text in force. */
static struct source *join(struct applying *applying, const struct part *parts, const struct source *file)
{
	struct arena *arena = applying->in_place.call->arena;
	struct source *source = ARENA_NEW(arena, struct source);
	char *text = arena_alloc(arena, parts[2].to + 1);

	for (int i = 0; i < 3; i++) {
		if (file)
			memcpy(text + parts[i].from, file->text + parts[i].in_file, parts[i].to - parts[i].from);
		else
			copy_text(&applying->edited, parts[i].in_file, parts[i].to - parts[i].from, text + parts[i].from);
	}
	*source = (struct source){ applying->edited.name, text, parts[2].to };
	return source;
}

/* One policy and nothing wrong. */
static bool compile(struct applying *applying, const struct source *source, struct diags *diags, struct bundle *bundle,
		    const struct ruleset **ret_ruleset)
{
	struct arena *arena = applying->in_place.call->arena;
	struct reading reading = { arena, bundle };
	struct lang_input input = { .source = source, .read = api_read_file, .read_context = &reading };
	const struct rulesets *rulesets;

	VEC_PUSH(arena, &bundle->files) = source;
	bundle->names = noted_new(arena);
	input.names = &bundle->names->names;
	if (lang_compile(arena, &input, diags, &rulesets) || rulesets->count != 1 || rulesets->items[0].expression)
		return false;
	*ret_ruleset = rulesets->items;
	return !ruleset_check(arena, rulesets->items);
}

/* --- what is said ------------------------------------------------------------------------------------------------- */

static bool is_of_rules(const struct part *parts, const struct diag *diag, const struct source *source)
{
	return diag->span.source == source && diag->span.offset >= parts[1].from && diag->span.offset < parts[1].to;
}

static const struct diag *next_general(const struct diags *diags, const struct part *parts, const struct source *source,
				       size_t *at)
{
	while (*at < diags->list.count) {
		const struct diag *diag = &diags->list.items[(*at)++];

		if (!is_of_rules(parts, diag, source))
			return diag;
	}
	return NULL;
}

/*
 * Whether the same is said of all but the stretch's rules. Such warnings tell that no rule does something: if they are the
 * same for both stretches, they are for both files, and were told when the policy was put in force.
 */
static bool same_warnings(struct applying *applying, const struct diags *now, const struct source *source)
{
	struct diags *diags = diags_new(applying->in_place.call->arena);
	struct bundle bundle = { 0 };
	const struct ruleset *ruleset;
	const struct diag *a, *b;
	struct part parts[3];
	const struct source *old;
	size_t at = 0, old_at = 0;

	divide(applying, 0, applying->edited.length, parts);
	old = join(applying, parts, NULL);
	if (!compile(applying, old, diags, &bundle, &ruleset))
		return false;
	do {
		a = next_general(now, applying->parts, source, &at);
		b = next_general(diags, parts, old, &old_at);
		if (a && b && strcmp(a->text, b->text))
			return false;
	} while (a && b);
	return !a && !b;
}

static void point(struct applying *applying, struct span *span)
{
	if (span->source != applying->ruleset->span.source)
		return;
	span->offset = part_place(applying, span->offset);
	span->source = applying->file;
}

/* What is said of rules that were read points into the file. */
static void tell(struct applying *applying, const struct diags *said)
{
	struct diags *diags = applying->in_place.call->diags;

	for (size_t i = 0; i < said->list.count; i++) {
		struct diag diag = said->list.items[i];

		if (!is_of_rules(applying->parts, &diag, applying->ruleset->span.source))
			continue;
		point(applying, &diag.span);
		for (unsigned j = 0; j < diag.related_count; j++)
			point(applying, &diag.related[j].span);
		VEC_PUSH(diags->arena, &diags->list) = diag;
		diags->warnings += diag.severity == SEVERITY_WARNING;
	}
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* A rule that came in place may have asked for more names than are kept. */
static bool names_still(const struct applying *applying)
{
	const struct rules_state *state = applying->in_place.state;
	struct op_cursor cursor = { .edits = state->edits, .size = state->edits_size };
	const struct rule_op *op;

	while ((op = op_next(&cursor)))
		if (op_is_of_rule(op) && op->named)
			return false;
	return noted_still(applying->in_place.call->arena, applying->names, applying->head.names_size);
}

static bool stands(const struct applying *applying, const struct rule *rule, uint32_t number, ptrdiff_t longer)
{
	const struct edited_rule old = edited_rule(&applying->edited, number);

	return rule->span.length == old.size &&
	       part_place(applying, rule->span.offset) == edited_place(&applying->edited, &old) + (size_t)longer;
}

/* The rules next to those that are kept came out as they had been. */
static bool borders_stand(const struct applying *applying, ptrdiff_t longer)
{
	const struct chain *main = &applying->ruleset->chains[0];
	uint32_t last = applying->edited.places.count - applying->behind;

	if ((applying->before || applying->behind) && !main->rule_count)
		return false;
	return (!applying->before || stands(applying, &main->rules[0], applying->before + 1, 0)) &&
	       (!applying->behind || stands(applying, &main->rules[main->rule_count - 1], last, longer));
}

bool stretch_read(struct applying *applying, struct bundle *bundle)
{
	struct diags *diags = diags_new(applying->in_place.call->arena);
	const struct source *source;
	ptrdiff_t longer;

	if (!names_still(applying))
		return false;
	longer = choose(applying);
	divide(applying, longer, applying->file->length, applying->parts);
	source = join(applying, applying->parts, applying->file);
	if (!compile(applying, source, diags, bundle, &applying->ruleset) ||
	    strcmp(applying->ruleset->name, applying->in_place.policy) || !borders_stand(applying, longer) ||
	    !same_warnings(applying, diags, source))
		return false;
	applying->bundle = bundle;
	tell(applying, diags);
	return true;
}
