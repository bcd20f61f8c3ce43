/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Comparing: the diagrams of both rule sets are walked together; where their leaves have different verdicts, the path
 * is a difference, once a packet was found for it that the model judges so. Paths that no packet takes (witness.c)
 * are none. What takes too much effort is not known; nothing is called equal that was not proven.
 */
#include "plan/diff.h"

#include <stdlib.h>
#include <string.h>

#include "ir/packet_build.h"
#include "ir/value_text.h"
#include "plan/diff_work.h"
#include "plan/witness.h"

enum {
	DIFF_RULES_MAX = 60000, /* that may matter, of both */
	DIFF_EFFORT = 1500000,  /* for each attempt; about 300 ms */
	DIFF_ORDERS = 3,        /* attempts */
	DIFF_KINDS_MAX = 1000,  /* kinds that examples are looked for */
	PATH_STEPS_MAX = 200000, /* edges walked in search of one example */
	ALL_STEPS_MAX = 4000000, /* and of all */
};
#define SAME ((diagram_ref)DIAGRAM_LEAF)

/* A pair of leaves with different verdicts; leaf k + 1 of the product stands for kind k. */
struct pair {
	struct diff_side sides[DIFF_SIDES];
	uint32_t tokens; /* what is taken for granted: see `tokens` */
};

/* A rule of the merged rule set has a token, or none; and what was taken for granted before. */
struct token {
	uint32_t rule;
	bool there;
	uint32_t before; /* index + 1; 0: nothing */
};

struct comparing {
	struct arena *arena;
	struct merged merged;
	enum hook hook;
	struct work *work;
	struct attempt *attempt;
	struct diagrams *diagrams;
	VEC(struct pair) pairs;
	VEC(struct token) tokens;
	VEC(struct diff_kind) kinds;
	const char *unknown;
	size_t steps; /* left for all */

	/* the search of one kind's example */
	diagram_ref wanted;
	uint32_t *leads; /* by node: 2 * wanted, or 1 more: the wanted leaf is below */
	VEC(struct demand) path;
	size_t path_steps;
	bool *open;      /* by map: its elements do not count in this search */
	bool doubt;      /* some path could not be decided */
};

/* --- both diagrams ---------------------------------------------------------------------------------------------- */

static bool build_in_order(struct comparing *comparing, unsigned order, diagram_ref *ret_roots)
{
	struct attempt *attempt = attempt_new(comparing->work, order, DIFF_EFFORT);

	attempt->deciders = true;
	for (unsigned side = 0; side < DIFF_SIDES; side++)
		ret_roots[side] = attempt_policy(attempt, comparing->merged.first_chain[side],
						 comparing->merged.sides[side]);
	comparing->attempt = attempt;
	comparing->diagrams = attempt->diagrams;
	return !attempt->diagrams->over;
}

static bool build(struct comparing *comparing, diagram_ref *ret_roots)
{
	for (unsigned order = 0; order < DIFF_ORDERS; order++)
		if (build_in_order(comparing, order, ret_roots))
			return true;
	comparing->unknown = "the policies are too large to be compared within bounds";
	return false;
}

static struct diff_side side_of(const struct comparing *comparing, unsigned side, uint32_t list)
{
	uint32_t rule;

	if (list == LIST_NON_IP)
		return (struct diff_side){ VERDICT_ACCEPT, DECIDED_NON_IP };
	if (list < LIST_ENDS)
		return (struct diff_side){ comparing->merged.sides[side]->default_verdict, DECIDED_DEFAULT };
	rule = comparing->diagrams->cells.items[list].rule;
	return (struct diff_side){ rule_terminal(comparing->work->rules[rule])->verdict,
				   (int32_t)comparing->merged.origin[rule] };
}

/* --- tokens ----------------------------------------------------------------------------------------------------- */

/* The list's first rule needs a token. */
static bool asks(const struct comparing *comparing, uint32_t list)
{
	return list >= LIST_ENDS && comparing->diagrams->cells.items[list].otherwise != LIST_NONE;
}

static uint32_t asking_rule(const struct comparing *comparing, uint32_t list)
{
	return asks(comparing, list) ? comparing->diagrams->cells.items[list].rule : 0;
}

/* Where the list goes on with or without a token. A rule that decides is its own list. */
static uint32_t after_asking(struct comparing *comparing, uint32_t list, bool there)
{
	const struct list_cell cell = comparing->diagrams->cells.items[list];

	if (!there)
		return cell.otherwise;
	if (cell.tail != LIST_DECIDED)
		return cell.tail;
	return diagram_cons(comparing->diagrams, cell.rule, DIAGRAM_LEAF | LIST_DECIDED) & ~DIAGRAM_LEAF;
}

static uint32_t suppose_token(struct comparing *comparing, uint32_t rule, bool there, uint32_t before)
{
	VEC_PUSH(comparing->arena, &comparing->tokens) = (struct token){ rule, there, before };
	return (uint32_t)comparing->tokens.count;
}

static bool find_unlike(struct comparing *comparing, uint32_t left, uint32_t right, uint32_t tokens,
			struct pair *ret_pair);

/* The next tokens are there, or not: on both sides at once if it is the same rate. */
static bool find_unlike_with(struct comparing *comparing, uint32_t left, uint32_t right, bool there, uint32_t tokens,
			     struct pair *ret_pair)
{
	uint32_t old = asking_rule(comparing, left), new = asking_rule(comparing, right);
	const struct rule **rules = comparing->work->rules;
	bool both = old && new && rate_equal(rule_rate(rules[old]), rule_rate(rules[new]));

	if (old) {
		tokens = suppose_token(comparing, old, there, tokens);
		left = after_asking(comparing, left, there);
	}
	if (new && (both || !old)) {
		tokens = suppose_token(comparing, new, there, tokens);
		right = after_asking(comparing, right, there);
	}
	return find_unlike(comparing, left, right, tokens, ret_pair);
}

/* Two lists that do not end in the same verdict, whatever tokens there are. */
static bool find_unlike(struct comparing *comparing, uint32_t left, uint32_t right, uint32_t tokens,
			struct pair *ret_pair)
{
	uint32_t known;

	if (!asks(comparing, left) && !asks(comparing, right)) {
		ret_pair->sides[DIFF_OLD] = side_of(comparing, DIFF_OLD, left);
		ret_pair->sides[DIFF_NEW] = side_of(comparing, DIFF_NEW, right);
		ret_pair->tokens = tokens;
		return ret_pair->sides[DIFF_OLD].verdict != ret_pair->sides[DIFF_NEW].verdict;
	}
	if (!diagram_spend(comparing->diagrams, 1) ||
	    diagram_recall(comparing->diagrams, OP_ALIKE, left, right, &known))
		return false;
	if (find_unlike_with(comparing, left, right, true, tokens, ret_pair) ||
	    find_unlike_with(comparing, left, right, false, tokens, ret_pair))
		return true;
	if (!comparing->diagrams->over)
		diagram_remember(comparing->diagrams, OP_ALIKE, left, right, 1);
	return false;
}

static diagram_ref pair_leaf(struct comparing *comparing, diagram_ref left, diagram_ref right)
{
	struct pair pair;

	if (!find_unlike(comparing, left & ~DIAGRAM_LEAF, right & ~DIAGRAM_LEAF, 0, &pair))
		return SAME;
	VEC_PUSH(comparing->arena, &comparing->pairs) = pair;
	return DIAGRAM_LEAF | (diagram_ref)comparing->pairs.count;
}

/* --- both diagrams together ------------------------------------------------------------------------------------- */

static diagram_ref product(struct comparing *comparing, diagram_ref left, diagram_ref right);

/* Nodes may move while new ones are made, their edges stay. */
static diagram_ref open_nodes(struct comparing *comparing, diagram_ref left, diagram_ref right)
{
	struct diagrams *diagrams = comparing->diagrams;
	uint32_t left_dim = top_dim(diagrams, left), right_dim = top_dim(diagrams, right);
	uint32_t dim = left_dim < right_dim ? left_dim : right_dim;
	struct diagram_edge all[] = { { diagrams->dims[dim].max, left }, { diagrams->dims[dim].max, right } };
	const struct diagram_edge *a = left_dim == dim ? diagrams->nodes.items[left].edges : &all[0];
	const struct diagram_edge *b = right_dim == dim ? diagrams->nodes.items[right].edges : &all[1];
	size_t base = diagram_begin(diagrams);
	uint64_t last;

	do {
		last = a->last < b->last ? a->last : b->last;
		diagram_push(diagrams, base, last, product(comparing, a->to, b->to));
		a += a->last == last;
		b += b->last == last;
	} while (last < diagrams->dims[dim].max && diagram_spend(diagrams, 1));
	return diagram_make(diagrams, dim, base);
}

static diagram_ref product(struct comparing *comparing, diagram_ref left, diagram_ref right)
{
	struct diagrams *diagrams = comparing->diagrams;
	diagram_ref result;

	if (diagrams->over)
		return SAME;
	if (diagram_recall(diagrams, OP_DIFFER, left, right, &result))
		return result;
	result = is_leaf(left) && is_leaf(right) ? pair_leaf(comparing, left, right) :
						   open_nodes(comparing, left, right);
	if (!diagrams->over)
		diagram_remember(diagrams, OP_DIFFER, left, right, result);
	return result;
}

/* --- verifying an example --------------------------------------------------------------------------------------- */

/* What a packet's value must be of an open set: an element, or none. */
struct holding {
	uint32_t set; /* merged */
	bool wide;    /* IPv6 */
	u128 value;
	bool inside;
};

struct example {
	struct model_fields fields;
	VEC(struct holding) holdings; /* that the sets as written do not meet */
	struct model_packet packet;
};

static bool contains(const struct range *ranges, size_t count, u128 value)
{
	for (size_t i = 0; i < count; i++)
		if (value >= ranges[i].lo && value <= ranges[i].hi)
			return true;
	return false;
}

/* The set with the value in it, or without. Order does not matter to the model. */
static struct range *change_ranges(struct arena *arena, const struct range *ranges, size_t *count, u128 value,
				   bool inside)
{
	struct range *changed = ARENA_ARRAY(arena, struct range, *count * 2 + 1);
	size_t kept = 0;

	for (size_t i = 0; i < *count; i++) {
		if (inside || value < ranges[i].lo || value > ranges[i].hi) {
			changed[kept++] = ranges[i];
			continue;
		}
		if (value > ranges[i].lo)
			changed[kept++] = (struct range){ ranges[i].lo, value - 1 };
		if (value < ranges[i].hi)
			changed[kept++] = (struct range){ value + 1, ranges[i].hi };
	}
	if (inside)
		changed[kept++] = (struct range){ value, value };
	*count = kept;
	return changed;
}

static void change_set(struct arena *arena, struct set *set, const struct holding *holding)
{
	if (holding->wide)
		set->ranges6 = change_ranges(arena, set->ranges6, &set->count6, holding->value, holding->inside);
	else
		set->ranges = change_ranges(arena, set->ranges, &set->count, holding->value, holding->inside);
}

/* The side's rule set with sets that hold what the example needs. */
static const struct ruleset *suppose(const struct comparing *comparing, unsigned side, const struct example *example)
{
	const struct ruleset *ruleset = comparing->merged.sides[side];
	struct ruleset *supposed;
	struct set *sets;

	if (!example->holdings.count)
		return ruleset;
	supposed = arena_copy(comparing->arena, ruleset, sizeof *ruleset);
	sets = arena_copy(comparing->arena, ruleset->sets, ruleset->set_count * sizeof *sets);
	supposed->sets = sets;
	for (size_t i = 0; i < ruleset->set_count; i++)
		for (size_t j = 0; j < example->holdings.count; j++)
			if (comparing->merged.set_of[side][i] == example->holdings.items[j].set)
				change_set(comparing->arena, &sets[i], &example->holdings.items[j]);
	return supposed;
}

/* What is taken for granted of the side's rules, by number there. */
static const bool *granted_tokens(const struct comparing *comparing, unsigned side, uint32_t tokens)
{
	const struct merged *merged = &comparing->merged;
	bool *granted = ARENA_ARRAY(comparing->arena, bool, (size_t)merged->sides[side]->rule_count + 1);

	for (; tokens; tokens = comparing->tokens.items[tokens - 1].before) {
		const struct token *token = &comparing->tokens.items[tokens - 1];

		if (merged->side_of[token->rule] == side)
			granted[merged->origin[token->rule]] = token->there;
	}
	return granted;
}

/* Judged by the model, the packet meets what the kind says. */
static bool is_kind(const struct comparing *comparing, const struct example *example, const struct pair *pair)
{
	struct model_state state = { .arena = comparing->arena };

	for (unsigned side = 0; side < DIFF_SIDES; side++) {
		struct model_packet packet = example->packet;
		struct model_result result;

		for (unsigned slot = 0; slot < comparing->merged.sides[side]->cgroup_level_count; slot++)
			packet.cgroup[slot] = example->packet.cgroup[comparing->merged.slot_of[side][slot]];
		state.granted = granted_tokens(comparing, side, pair->tokens);
		packet.state = &state;
		state.sets = NULL; /* each side has its own */
		model_judge(comparing->arena, suppose(comparing, side, example), comparing->hook, &packet, &result);
		if (result.verdict != pair->sides[side].verdict || result.rule != pair->sides[side].rule)
			return false;
	}
	return true;
}

static void add_holding(struct comparing *comparing, struct example *example, const struct demand *demand)
{
	const struct plan_set *map = &comparing->work->sets.items[demand->dim->set];
	enum field field = demand->dim->field;
	struct holding holding = { .wide = field_table[field].bits == 128, .inside = demand->in.lo == 1 };
	struct model_fields found;
	const struct set *set;

	if (map->named < 0 || demand->in.lo != demand->in.hi)
		return;
	model_parse(comparing->hook, &example->packet, &found);
	set = &comparing->merged.ruleset.sets[map->named];
	holding.set = (uint32_t)map->named;
	holding.value = found.value[field];
	if (found.has[field] && holding.inside != contains(holding.wide ? set->ranges6 : set->ranges,
							   holding.wide ? set->count6 : set->count, holding.value))
		VEC_PUSH(comparing->arena, &example->holdings) = holding;
}

static bool make_example(struct comparing *comparing, struct example *example)
{
	if (packet_build(comparing->arena, comparing->hook, &example->fields, &example->packet))
		return false;
	example->holdings.count = 0;
	for (size_t i = 0; i < comparing->path.count; i++)
		if (comparing->path.items[i].dim->kind == DIM_SET)
			add_holding(comparing, example, &comparing->path.items[i]);
	return is_kind(comparing, example, &comparing->pairs.items[(comparing->wanted & ~DIAGRAM_LEAF) - 1]);
}

/* What the packet need not have, it loses. */
static void shrink(struct comparing *comparing, struct example *example)
{
	for (int field = FIELD_COUNT - 1; field >= 0; field--) {
		struct example smaller = *example;

		if (!example->fields.has[field] || field == FIELD_FAMILY)
			continue;
		smaller.fields.has[field] = false;
		memset(&smaller.holdings, 0, sizeof smaller.holdings);
		if (make_example(comparing, &smaller) && smaller.holdings.count <= example->holdings.count)
			*example = smaller;
	}
}

static const char *print_holdings(const struct comparing *comparing, const struct example *example)
{
	const char *text = NULL;

	for (size_t i = 0; i < example->holdings.count; i++) {
		const struct holding *holding = &example->holdings.items[i];
		const struct set *set = &comparing->merged.ruleset.sets[holding->set];
		enum field field = set_element_field(set->type);
		struct value_format format = value_format_of(holding->wide ? FIELD_IPV6_SRC : field);
		char value[RANGE_TEXT_MAX];

		value_print(&format, holding->value, value);
		text = arena_printf(comparing->arena, "%s%sthe set `%s` %s %s", text ? text : "", text ? ", " : "",
				    set->name, holding->inside ? "holds" : "does not hold", value);
	}
	return text;
}

/* In the order of judging, the old side's first. */
static const char *print_tokens(const struct comparing *comparing, uint32_t tokens, const char *text)
{
	static const char *const names[DIFF_SIDES] = { [DIFF_OLD] = "old", [DIFF_NEW] = "new" };
	const struct merged *merged = &comparing->merged;
	const struct token *token;

	if (!tokens)
		return text;
	token = &comparing->tokens.items[tokens - 1];
	text = print_tokens(comparing, token->before, text);
	return arena_printf(comparing->arena, "%s%sthe rate of the %s policy's rule %u %s", text ? text : "",
			    text ? ", " : "", names[merged->side_of[token->rule]], merged->origin[token->rule],
			    token->there ? "has a token left" : "has no token left");
}

static void add_kind(struct comparing *comparing, struct example *example)
{
	const struct pair *pair = &comparing->pairs.items[(comparing->wanted & ~DIAGRAM_LEAF) - 1];

	shrink(comparing, example);
	VEC_PUSH(comparing->arena, &comparing->kinds) = (struct diff_kind){
		.sides = { pair->sides[DIFF_OLD], pair->sides[DIFF_NEW] },
		.packet = packet_print(comparing->arena, comparing->hook, &example->packet, &comparing->merged.ruleset),
		.given = print_tokens(comparing, pair->tokens, print_holdings(comparing, example)),
	};
}

/* --- looking for an example ------------------------------------------------------------------------------------- */

static bool leads(struct comparing *comparing, diagram_ref ref)
{
	uint32_t mark = (comparing->wanted & ~DIAGRAM_LEAF) * 2;
	const struct diagram_node *node;
	bool found = false;

	if (is_leaf(ref))
		return ref == comparing->wanted;
	if ((comparing->leads[ref] & ~1u) == mark)
		return comparing->leads[ref] & 1;
	node = &comparing->diagrams->nodes.items[ref];
	for (uint32_t i = 0; i < node->edge_count && !found; i++)
		found = leads(comparing, node->edges[i].to);
	comparing->leads[ref] = mark | found;
	return found;
}

static struct demands demands_of(const struct comparing *comparing)
{
	return (struct demands){ comparing->path.items, comparing->path.count, comparing->work->sets.items,
				 comparing->open, comparing->hook };
}

/* The path is at its end: is there a packet? */
static bool try_path(struct comparing *comparing)
{
	const struct demands demands = demands_of(comparing);
	struct example example = { 0 };
	enum witness_found found = witness_find(&demands, &example.fields);

	if (found == WITNESS_FOUND && make_example(comparing, &example)) {
		add_kind(comparing, &example);
		return true;
	}
	comparing->doubt |= found != WITNESS_NONE;
	return false;
}

/* Whether values of one field that several dimensions look at can still be had. */
static bool goes_on(struct comparing *comparing)
{
	const struct demand *last = &comparing->path.items[comparing->path.count - 1];
	const struct demands demands = demands_of(comparing);

	if (comparing->path_steps == PATH_STEPS_MAX || comparing->steps == 0) {
		comparing->doubt = true;
		return false;
	}
	comparing->path_steps++;
	comparing->steps--;
	for (size_t i = 0; i + 1 < comparing->path.count; i++)
		if (comparing->path.items[i].dim->field == last->dim->field)
			return witness_field(&demands, last->dim->field) != WITNESS_NONE;
	return last->dim->kind != DIM_SET || witness_field(&demands, last->dim->field) != WITNESS_NONE;
}

static bool search(struct comparing *comparing, diagram_ref ref);

static bool follow(struct comparing *comparing, uint32_t dim, uint64_t lo, const struct diagram_edge *edge)
{
	bool found = false;

	if (!leads(comparing, edge->to))
		return false;
	VEC_PUSH(comparing->arena, &comparing->path) =
		(struct demand){ &comparing->diagrams->dims[dim], { lo, edge->last } };
	if (goes_on(comparing))
		found = search(comparing, edge->to);
	comparing->path.count--;
	return found;
}

/* The value that a plain packet has: its edge is followed first. */
static uint64_t plain_value(const struct dim *dim)
{
	if (dim->mask != ~0ull || dim->kind != DIM_VALUE)
		return 0;
	switch (dim->field) {
	case FIELD_FAMILY:
		return FAMILY_IPV4;
	case FIELD_PROTO:
		return 6;
	case FIELD_SRC_PORT:
	case FIELD_DST_PORT:
		return PLAIN_PORT;
	case FIELD_IP_SRC:
		return 0xc0000201;
	case FIELD_IP_DST:
		return 0xc0000202;
	case FIELD_TTL:
		return PLAIN_TTL;
	case FIELD_TCP_FLAGS:
		return PLAIN_FLAGS;
	case FIELD_USER:
		return ABSENT_OWNER;
	case FIELD_VLAN:
		return ABSENT_VLAN;
	default:
		return 0;
	}
}

static uint64_t edge_begin(const struct diagram_node *node, uint32_t edge)
{
	return edge ? node->edges[edge - 1].last + 1 : 0;
}

static bool search(struct comparing *comparing, diagram_ref ref)
{
	const struct diagram_node *node;
	uint64_t plain;
	uint32_t first = 0;

	if (is_leaf(ref))
		return try_path(comparing);
	node = &comparing->diagrams->nodes.items[ref];
	plain = plain_value(&comparing->diagrams->dims[node->dim]);
	while (first + 1 < node->edge_count && node->edges[first].last < plain)
		first++;
	if (follow(comparing, node->dim, edge_begin(node, first), &node->edges[first]))
		return true;
	for (uint32_t i = 0; i < node->edge_count; i++)
		if (i != first && follow(comparing, node->dim, edge_begin(node, i), &node->edges[i]))
			return true;
	return false;
}

static bool search_with(struct comparing *comparing, diagram_ref root, bool open)
{
	size_t count = comparing->work->sets.count;

	for (size_t i = 0; i < count; i++) {
		int32_t named = comparing->work->sets.items[i].named;

		comparing->open[i] = open && named >= 0 && comparing->merged.open[named];
	}
	comparing->path.count = 0;
	comparing->path_steps = 0;
	return search(comparing, root);
}

/* First with the sets as written; what is a difference only with others in them, is one still. */
static void search_kind(struct comparing *comparing, diagram_ref root, size_t kind)
{
	comparing->wanted = DIAGRAM_LEAF | (diagram_ref)(kind + 1);
	if (!leads(comparing, root) || search_with(comparing, root, false))
		return;
	comparing->doubt = false;
	if (!search_with(comparing, root, true) && comparing->doubt)
		comparing->unknown = "some differences could neither be shown nor ruled out within bounds";
}

static void search_kinds(struct comparing *comparing, diagram_ref root)
{
	comparing->leads = ARENA_ARRAY(comparing->arena, uint32_t, comparing->diagrams->nodes.count);
	comparing->open = ARENA_ARRAY(comparing->arena, bool, comparing->work->sets.count);
	comparing->steps = ALL_STEPS_MAX;
	for (size_t i = 0; i < comparing->pairs.count && i < DIFF_KINDS_MAX; i++)
		search_kind(comparing, root, i);
	if (comparing->pairs.count > DIFF_KINDS_MAX && !comparing->unknown)
		comparing->unknown = "there may be more kinds of difference than are looked at";
}

/* In the order of the text; what no rule decides comes last. */
static int64_t place(const struct diff_side *side)
{
	return side->rule > 0 ? side->rule : (int64_t)INT32_MAX - side->rule;
}

static int compare_kinds(const void *left, const void *right)
{
	const struct diff_kind *a = left, *b = right;

	for (unsigned side = 0; side < DIFF_SIDES; side++)
		if (place(&a->sides[side]) != place(&b->sides[side]))
			return place(&a->sides[side]) < place(&b->sides[side]) ? -1 : 1;
	return 0;
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

static void compare_rules(struct comparing *comparing)
{
	diagram_ref roots[DIFF_SIDES], root;

	if (!build(comparing, roots))
		return;
	comparing->diagrams->effort_max += DIFF_EFFORT;
	root = diagram_prune(comparing->diagrams, product(comparing, roots[DIFF_OLD], roots[DIFF_NEW]));
	if (comparing->diagrams->over)
		comparing->unknown = "the policies differ in too many ways to be compared within bounds";
	else
		search_kinds(comparing, root);
}

static void compare_malformed(struct comparing *comparing)
{
	struct diff_kind kind = { .given = NULL };

	if (comparing->merged.sides[DIFF_OLD]->malformed_accept == comparing->merged.sides[DIFF_NEW]->malformed_accept)
		return;
	for (unsigned side = 0; side < DIFF_SIDES; side++)
		kind.sides[side] = (struct diff_side){
			comparing->merged.sides[side]->malformed_accept ? VERDICT_ACCEPT : VERDICT_DROP,
			DECIDED_MALFORMED };
	kind.packet = "any malformed packet";
	VEC_PUSH(comparing->arena, &comparing->kinds) = kind;
}

static void compare(struct comparing *comparing)
{
	struct work *work = ARENA_NEW(comparing->arena, struct work);

	*work = (struct work){ .arena = comparing->arena, .ruleset = &comparing->merged.ruleset,
			       .hook = comparing->hook, .exact = true, .diags = diags_new(comparing->arena) };
	comparing->work = work;
	compare_malformed(comparing);
	if (comparing->merged.ruleset.rule_count > DIFF_RULES_MAX)
		comparing->unknown = "too many rules are different to be compared within bounds";
	else if (work_prepare(work) || !work_fits_diagram(work))
		comparing->unknown = "the policies look at too much at once";
	else
		compare_rules(comparing);
}

void plan_diff(struct arena *arena, const struct ruleset *old, const struct ruleset *new, enum hook hook,
	       struct diff *ret_diff)
{
	const struct ruleset *sides[DIFF_SIDES] = { old, new };
	struct comparing comparing = { .arena = arena, .hook = hook };

	if (!merged_init(arena, sides, &comparing.merged))
		comparing.unknown = "together they ask about more cgroup levels than a packet can have";
	else
		compare(&comparing);
	if (comparing.kinds.count > 1)
		qsort(comparing.kinds.items, comparing.kinds.count, sizeof *comparing.kinds.items, compare_kinds);
	*ret_diff = (struct diff){
		.kinds = comparing.kinds.items,
		.kind_count = comparing.kinds.count,
		.unknown = comparing.unknown,
		.notes = comparing.merged.notes.items,
		.note_count = comparing.merged.notes.count,
	};
}
