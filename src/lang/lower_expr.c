/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Conditions: AST to IR. Checks that fields exist, that the hooks know them and that values fit. Negations stay where
 * they were written, except around owners (ir.h says why), where they are pushed down to the comparisons.
 */
#include <string.h>

#include "lang/lower.h"
#include "lang/parse.h"

/* --- hooks --------------------------------------------------------------------------------------------------- */

hook_mask hooks_of_direction(enum direction direction)
{
	hook_mask mask = 0;

	for (int hook = 0; hook < HOOK_COUNT; hook++)
		if (hook_table[hook].direction == direction)
			mask |= HOOK_BIT(hook);
	return mask;
}

hook_mask hooks_that_leave(const struct lower *lower, hook_mask hooks)
{
	hook_mask mask = 0;

	for (int hook = 0; hook < HOOK_COUNT; hook++)
		if (hooks & HOOK_BIT(hook) && hook_table[hook].call && hooks_behind(lower->hooks, (enum hook)hook))
			mask |= HOOK_BIT(hook);
	return mask;
}

static bool is_side(const struct expr *expr, enum direction *ret_direction)
{
	if (expr->kind != EXPR_WORD)
		return false;
	if (!strcmp(expr->field.text, "ingress"))
		*ret_direction = DIRECTION_INGRESS;
	else if (!strcmp(expr->field.text, "egress"))
		*ret_direction = DIRECTION_EGRESS;
	else
		return false;
	return true;
}

/* An `ingress` that stands in an `and` (or is negated there) leaves only some of the hooks. */
hook_mask expr_hooks(const struct expr *expr, hook_mask hooks)
{
	enum direction direction;

	if (is_side(expr, &direction))
		return hooks & hooks_of_direction(direction);
	if (expr->kind == EXPR_NOT && is_side(expr->items[0], &direction))
		return hooks & ~hooks_of_direction(direction);
	for (size_t i = 0; expr->kind == EXPR_AND && i < expr->count; i++)
		hooks = expr_hooks(expr->items[i], hooks);
	return hooks;
}

static const char *hooks_text(struct lower *lower, hook_mask mask)
{
	int length = hook_mask_print(mask, NULL, 0);
	char *text = arena_alloc(lower->arena, (size_t)length + 1);

	hook_mask_print(mask, text, (size_t)length + 1);
	return text;
}

/* A bare expression goes wherever all its fields are known; somewhere that must be. */
static void narrow(struct lower *lower, const struct word *word, hook_mask known)
{
	if (lower->possible && !(lower->possible & known))
		diag_error(lower->diags, word->span, "no hook knows `%s` and also the fields before it", word->text);
	lower->possible &= known;
}

/* Those of a cgroup, where system calls can be noted. */
static hook_mask noting_hooks(void)
{
	hook_mask mask = 0;

	for (int hook = 0; hook < HOOK_COUNT; hook++)
		if (hook_table[hook].target == TARGET_CGROUP)
			mask |= HOOK_BIT(hook);
	return mask;
}

/* What packets know of their owner only because a system call in a cgroup of the same policy has noted it. */
static void check_noted(struct lower *lower, const struct word *word, enum field field, hook_mask hooks)
{
	hook_mask packets = hooks & field_table[field].noted & ~noting_hooks();
	struct diag *diag;

	if (!packets || lower->hooks & noting_hooks())
		return;
	diag = diag_error(lower->diags, word->span, "`%s` is known at %s only where the policy is at a cgroup too",
			  word->text, hooks_text(lower, packets));
	diag_hint(lower->diags, diag, "system calls in it note who owns a socket: add `on connect \"/\"`");
}

static void check_hooks(struct lower *lower, const struct word *word, enum field field, hook_mask hooks)
{
	hook_mask known = field_table[field].hooks & ~(lower->hooks ? 0 : field_table[field].noted);
	hook_mask missing = hooks & ~known & ~hooks_that_leave(lower, hooks);
	enum direction side;
	struct diag *diag;

	if (lower->shorthand)
		return;
	if (!lower->hooks) {
		narrow(lower, word, known);
		return;
	}
	if (!missing) {
		check_noted(lower, word, field, hooks);
		return;
	}
	diag = diag_error(lower->diags, word->span, "`%s` is not known at %s", word->text,
			  hooks_text(lower, missing));
	side = hooks & known & hooks_of_direction(DIRECTION_INGRESS) ? DIRECTION_INGRESS : DIRECTION_EGRESS;
	if (hooks & known && !(missing & hooks_of_direction(side)))
		diag_hint(lower->diags, diag, "`%s and ...` asks for it only at %s, which knows it",
			  side == DIRECTION_INGRESS ? "ingress" : "egress", hooks_text(lower, hooks & known));
	else
		diag_hint(lower->diags, diag, "hooks that know it: %s", hooks_text(lower, known));
}

/* --- owners -------------------------------------------------------------------------------------------------- */

static bool is_owner(const struct field_word *field)
{
	return field->field < FIELD_COUNT && field_table[field->field].owner;
}

static bool has_owner(const struct expr *expr)
{
	const struct field_word *field;

	switch (expr->kind) {
	case EXPR_AND:
	case EXPR_OR:
	case EXPR_NOT:
		for (size_t i = 0; i < expr->count; i++)
			if (has_owner(expr->items[i]))
				return true;
		return false;
	case EXPR_COMPARE:
	case EXPR_KNOWN:
		field = words_field(expr->field.text);
		return field && is_owner(field);
	default:
		return false;
	}
}

/* --- interfaces ---------------------------------------------------------------------------------------------- */

static const struct cond *iface_at(struct lower *lower, enum direction direction, const struct operand *operand,
				   struct span span)
{
	enum field field = direction == DIRECTION_INGRESS ? FIELD_IN_IFACE : FIELD_OUT_IFACE;

	return cond_match_ranges(lower->arena, field, operand->ranges.items, operand->ranges.count, span);
}

/* `iface` is the one on the hook's side; a policy with hooks on both sides asks for the side first. */
static const struct cond *either_iface(struct lower *lower, const struct operand *operand, hook_mask hooks,
				       struct span span)
{
	hook_mask sides = hooks ? hooks : HOOK_BIT(HOOK_COUNT) - 1;
	const struct cond *parts[2];

	if (!(sides & hooks_of_direction(DIRECTION_EGRESS)))
		return iface_at(lower, DIRECTION_INGRESS, operand, span);
	if (!(sides & hooks_of_direction(DIRECTION_INGRESS)))
		return iface_at(lower, DIRECTION_EGRESS, operand, span);
	for (int side = 0; side < 2; side++)
		parts[side] = cond_pair(lower->arena, COND_AND,
					cond_match(lower->arena, FIELD_DIRECTION, (u128)side, (u128)side, span),
					iface_at(lower, (enum direction)side, operand, span), span);
	return cond_pair(lower->arena, COND_OR, parts[0], parts[1], span);
}

static const struct cond *iface(struct lower *lower, const struct word *word, const struct operand *operand,
				hook_mask hooks, struct span span)
{
	struct diag *diag;

	if (hooks & HOOK_BIT(HOOK_NF_FORWARD) && lower->hooks) {
		diag = diag_error(lower->diags, word->span, "`%s` could be either of two at netfilter-forward",
				  word->text);
		diag_hint(lower->diags, diag, "write `in_iface` or `out_iface`");
		return cond_false(lower, span);
	}
	if (!lower->hooks)
		lower->possible &= ~HOOK_BIT(HOOK_NF_FORWARD);
	return either_iface(lower, operand, hooks, span);
}

/* `loopback`: as `iface == lo`, and at forward, where it never is, either. */
static const struct cond *loopback(struct lower *lower, hook_mask hooks, struct span span)
{
	static const struct field_word field = { NAMED("loopback"), TYPE_IFACE, FIELD_IN_IFACE, FIELD_COUNT, 0, 0, NULL };
	struct operand operand = { .field = &field, .subject = "`loopback`" };
	const struct word lo = { .text = "lo", .span = span, .quoted = true };

	operand_name(lower, &operand, &lo);
	return either_iface(lower, &operand, hooks & ~HOOK_BIT(HOOK_NF_FORWARD), span);
}

/* --- comparisons --------------------------------------------------------------------------------------------- */

static bool is_negative(enum compare op)
{
	return op == COMPARE_NE || op == COMPARE_NOT_IN;
}

static bool is_ordered(enum compare op)
{
	return op >= COMPARE_LT && op <= COMPARE_GE;
}

/* The values that are on that side of the one given; none: an empty operand. */
static void order(struct lower *lower, const struct expr *expr, struct operand *operand)
{
	bool v6 = operand->ranges6.count;
	struct range *range = v6 ? operand->ranges6.items : operand->ranges.items;
	size_t *count = v6 ? &operand->ranges6.count : &operand->ranges.count;
	u128 max = operand_max(operand->field);
	u128 value = *count ? range->lo : 0;

	if (operand->failed)
		return;
	if (*count != 1 || range->lo != range->hi || operand->sets.count || operand->pairs.count) {
		diag_error(lower->diags, expr->value.span, "`<` and the like compare with one number");
		operand->failed = true;
		return;
	}
	if (expr->op == COMPARE_LT || expr->op == COMPARE_LE)
		*range = (struct range){ 0, expr->op == COMPARE_LT ? value - 1 : value };
	else
		*range = (struct range){ expr->op == COMPARE_GT ? value + 1 : value, max };
	if ((expr->op == COMPARE_LT && !value) || (expr->op == COMPARE_GT && value == max)) {
		diag_warning(lower->diags, expr->span, "no packet meets this: %s is from 0 to %llu", operand->subject,
			     (unsigned long long)max);
		*count = 0;
	}
}

static bool op_fits(struct lower *lower, const struct expr *expr, const struct field_word *field)
{
	if (is_ordered(expr->op) && (!type_table[field->type].ordered || expr->mask)) {
		diag_error(lower->diags, expr->op_span, expr->mask ? "a masked field has no order" :
			   "`%s` has no order: compare it with `==`, `!=` or `in`", field->name);
		return false;
	}
	if (expr->op == COMPARE_GLOB && field->type != TYPE_IFACE) {
		diag_error(lower->diags, expr->op_span, "`~` compares names of interfaces only");
		return false;
	}
	if (expr->mask && !type_table[field->type].maskable) {
		diag_error(lower->diags, expr->mask->span, "`%s` cannot be masked", field->name);
		return false;
	}
	return true;
}

/* The mask as one value of the field's type; which family it is of shows in where it lies. */
static bool mask_value(struct lower *lower, const struct expr *expr, const struct field_word *field, u128 *ret_mask,
		       bool *ret_v6)
{
	struct operand mask = { .field = field, .subject = field->quoted,
				.single = true };
	const struct range *range;

	operand_value(lower, &mask, expr->mask);
	if (mask.failed)
		return false;
	range = mask.ranges6.count ? mask.ranges6.items : mask.ranges.items;
	if (mask.ranges.count + mask.ranges6.count != 1 || range->lo != range->hi) {
		diag_error(lower->diags, expr->mask->span, "a mask is one value");
		return false;
	}
	*ret_mask = range->lo;
	*ret_v6 = mask.ranges6.count;
	return true;
}

/* Every value must be one that is left by the mask. */
static bool mask_fits(struct lower *lower, const struct expr *expr, const struct operand *operand, u128 mask, bool v6)
{
	const struct range *ranges = v6 ? operand->ranges6.items : operand->ranges.items;
	size_t count = v6 ? operand->ranges6.count : operand->ranges.count;

	if (operand->sets.count || (v6 ? operand->ranges.count : operand->ranges6.count)) {
		diag_error(lower->diags, expr->value.span,
			   operand->sets.count ? "a masked field is not looked up in a set" :
			   "the mask and the value are of different families");
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (ranges[i].lo != ranges[i].hi)
			diag_error(lower->diags, expr->value.span, "a masked field is compared with single values");
		else if (ranges[i].lo & ~mask)
			diag_error(lower->diags, expr->value.span,
				   "this can never be: the value has bits that the mask takes away");
		else
			continue;
		return false;
	}
	return true;
}

static const struct cond *masked(struct lower *lower, const struct expr *expr, const struct operand *operand,
				 struct span span)
{
	enum field field = operand->field->field;
	struct cond *cond;
	u128 mask;
	bool v6;

	if (!mask_value(lower, expr, operand->field, &mask, &v6) || !mask_fits(lower, expr, operand, mask, v6))
		return cond_false(lower, span);
	if (v6)
		field = operand->field->field6;
	cond = v6 ? cond_match_ranges(lower->arena, field, operand->ranges6.items, operand->ranges6.count, span) :
		    cond_match_ranges(lower->arena, field, operand->ranges.items, operand->ranges.count, span);
	if (cond->kind == COND_MATCH)
		cond->match.mask = mask;
	return cond;
}

static void unknown_field(struct lower *lower, const struct word *word)
{
	const char *nearest = words_nearest_condition(word->text);
	struct local local = scope_find(lower, word->text);
	struct diag *diag;

	if (local.kind != LOCAL_NONE) {
		diag = diag_error(lower->diags, word->span, "`%s` is a %s, not a field", word->text,
				  local.kind == LOCAL_SET ? "set" : local.kind == LOCAL_CHAIN ? "chain" : "define");
		diag_hint(lower->diags, diag, "a field comes first, as in `src in %s`", word->text);
		return;
	}
	diag = diag_error(lower->diags, word->span, "unknown field `%s`", word->text);
	if (nearest)
		diag_hint(lower->diags, diag, "did you mean `%s`?", nearest);
	else if (word->text[0] >= '0' && word->text[0] <= '9')
		diag_hint(lower->diags, diag, "the field comes first: `dst_port == 53`");
}

/* The field of a comparison, checked; NULL after an error. */
static const struct field_word *compared_field(struct lower *lower, const struct expr *expr, hook_mask hooks)
{
	const struct field_word *field = words_field(expr->field.text);
	struct diag *diag;

	if (!field && words_predicate(expr->field.text)) {
		diag = diag_error(lower->diags, expr->field.span,
				  "`%s` is a condition by itself, nothing to compare with", expr->field.text);
		if (expr->mask)
			diag_hint(lower->diags, diag, "`&` masks a field; conditions are joined with `and` or `&&`");
		return NULL;
	}
	if (!field) {
		unknown_field(lower, &expr->field);
		return NULL;
	}
	for (int i = 0; i < 2; i++) {
		enum field at = i ? field->field6 : field->field;

		if (at < FIELD_COUNT)
			check_hooks(lower, &expr->field, at, hooks);
	}
	return field;
}

static void check_empty(struct lower *lower, const struct expr *expr)
{
	if (expr->value.kind == VALUE_LIST && !expr->value.count)
		diag_error(lower->diags, expr->value.span, "this list is empty: nothing is in it");
}

/* The value, if it is one and of IPv4 or a number; NULL: it is not. */
static const struct range *only_value(struct lower *lower, const struct operand *operand)
{
	if (operand->ranges.count != 1 || operand->ranges6.count || operand->sets.count || operand->pairs.count ||
	    operand->cgroups.count)
		return NULL;
	return arena_copy(lower->arena, operand->ranges.items, sizeof *operand->ranges.items);
}

/* Those bits of FIELD_TREE: any of them, or all. */
static const struct cond *tree_bits(struct lower *lower, unsigned bits, bool any, struct span span)
{
	struct cond *cond = cond_match(lower->arena, FIELD_TREE, any ? bits & -bits : bits, bits, span);

	cond->match.mask = bits;
	return cond;
}

/* `program in tree of`: in one of them, or outside of each. */
static const struct cond *in_tree(struct lower *lower, const struct expr *expr, hook_mask hooks, bool negate)
{
	const struct field_word *field = words_field(expr->field.text);
	struct operand operand = { .field = field, .of_tree = true, .subject = "`program in tree of`" };
	struct span span = lower_span(lower, expr->span);
	unsigned in = 0, out = 0;

	if (!field || field->field != FIELD_PROGRAM || expr->mask) {
		diag_error(lower->diags, expr->op_span, "only a program has a tree: `program in tree of \"/usr/bin/agent\"`");
		return cond_false(lower, span);
	}
	check_hooks(lower, &expr->field, FIELD_TREE, hooks);
	check_empty(lower, expr);
	operand_value(lower, &operand, &expr->value);
	if (operand.failed || !operand.ranges.count)
		return cond_false(lower, span);
	for (size_t i = 0; i < operand.ranges.count; i++) {
		in |= TREE_IN(operand.ranges.items[i].lo);
		out |= TREE_OUT(operand.ranges.items[i].lo);
	}
	negate = negate != is_negative(expr->op);
	return negate ? tree_bits(lower, out, false, span) : tree_bits(lower, in, true, span);
}

static const struct cond *compare(struct lower *lower, const struct expr *expr, hook_mask hooks, bool negate)
{
	const struct field_word *field = compared_field(lower, expr, hooks);
	struct span span = lower_span(lower, expr->span);
	struct operand operand = { .field = field, .single = expr->op != COMPARE_IN && expr->op != COMPARE_NOT_IN };
	unsigned uses = lower->tuned_uses;
	const struct range *value;
	const struct cond *cond;
	bool owner;

	if (!field || !op_fits(lower, expr, field))
		return cond_false(lower, span);
	operand.subject = field->quoted;
	check_empty(lower, expr);
	operand_value(lower, &operand, &expr->value);
	value = only_value(lower, &operand);
	if (is_ordered(expr->op))
		order(lower, expr, &operand);
	if (operand.failed)
		return cond_false(lower, span);
	negate = negate != is_negative(expr->op);
	owner = is_owner(field);
	if (expr->mask)
		cond = masked(lower, expr, &operand, span);
	else if (field->type == TYPE_IFACE && field->field == FIELD_COUNT)
		cond = iface(lower, &expr->field, &operand, hooks, span);
	else
		cond = tunable_compare(lower, expr, field, value, uses,
				       cond_from_operand(lower, &operand, owner && negate, span));
	return negate && !owner ? cond_not(lower->arena, cond, span) : cond;
}

/* --- words --------------------------------------------------------------------------------------------------- */

/* A short name is what it says in the language, at its own place and without checks of hooks. */
static const struct cond *shorthand(struct lower *lower, const struct predicate_word *word, hook_mask hooks,
				    struct span span)
{
	struct source *source = ARENA_NEW(lower->arena, struct source);
	struct parser parser;
	struct expr *expr;
	const struct cond *cond;
	const struct span *outer = lower->shorthand;

	*source = (struct source){ .name = word->name, .text = word->meaning, .length = strlen(word->meaning) };
	parser = parse_start(lower->arena, source, lower->diags);
	expr = parse_only_expression(&parser);
	lower->shorthand = &span;
	cond = expr ? lower_expr(lower, expr, hooks, false) : cond_false(lower, span);
	lower->shorthand = outer;
	return cond;
}

static const struct cond *side(struct lower *lower, enum direction direction, hook_mask hooks, struct span span)
{
	hook_mask here = hooks & hooks_of_direction(direction);

	if (lower->hooks && hooks && !here && !lower->shorthand)
		diag_warning(lower->diags, span, "this policy is at no %s hook",
			     direction == DIRECTION_INGRESS ? "ingress" : "egress");
	return cond_match(lower->arena, FIELD_DIRECTION, (u128)direction, (u128)direction, span);
}

static const struct cond *predicate(struct lower *lower, const struct expr *expr, const struct predicate_word *word,
				    hook_mask hooks)
{
	struct span span = lower_span(lower, expr->span);
	const struct cond *cond;
	enum direction direction;

	if (is_side(expr, &direction))
		return side(lower, direction, lower->hooks, span);
	if (!strcmp(word->name, "loopback"))
		return loopback(lower, hooks, span);
	cond = flow_state(lower, &expr->field, hooks);
	if (cond)
		return cond;
	if (!strcmp(word->name, "ip"))
		return cond_match(lower->arena, FIELD_FAMILY, FAMILY_IPV4, FAMILY_IPV4, span);
	if (!strcmp(word->name, "ipv6"))
		return cond_match(lower->arena, FIELD_FAMILY, FAMILY_IPV6, FAMILY_IPV6, span);
	if (!strcmp(word->name, "arp"))
		check_hooks(lower, &expr->field, FIELD_ETH_TYPE, hooks);
	if (!strcmp(word->name, "vlan"))
		check_hooks(lower, &expr->field, FIELD_VLAN, hooks);
	return shorthand(lower, word, hooks, span);
}

static const struct cond *word(struct lower *lower, const struct expr *expr, hook_mask hooks)
{
	const struct predicate_word *known = words_predicate(expr->field.text);
	struct diag *diag;

	if (known)
		return predicate(lower, expr, known, hooks);
	if (words_field(expr->field.text)) {
		diag = diag_error(lower->diags, expr->span, "`%s` has to be compared with something",
				  expr->field.text);
		if (is_owner(words_field(expr->field.text)))
			diag_hint(lower->diags, diag, "`%s known` asks whether there is one", expr->field.text);
	} else {
		unknown_field(lower, &expr->field);
	}
	return cond_false(lower, expr->span);
}

static const struct cond *known(struct lower *lower, const struct expr *expr, hook_mask hooks, bool negate)
{
	const struct field_word *field = words_field(expr->field.text);
	struct diag *diag;

	if (!field || !is_owner(field)) {
		diag_error(lower->diags, expr->span, "only of the owner one asks whether it is known: `user known`");
		return cond_false(lower, expr->span);
	}
	check_hooks(lower, &expr->field, field->field == FIELD_CGROUP_0 ? FIELD_USER : field->field, hooks);
	if (negate) {
		diag = diag_error(lower->diags, expr->span, "`%s known` cannot be negated", expr->field.text);
		diag_hint(lower->diags, diag, "put a rule `... if %s known` before: what is left has no known owner",
			  expr->field.text);
	}
	if (field->field == FIELD_CGROUP_0)
		field = words_field("user");
	return cond_match(lower->arena, field->field, field_table[field->field].absent == 0, operand_max(field),
			  expr->span);
}

/* --- logic --------------------------------------------------------------------------------------------------- */

static const struct cond *logic(struct lower *lower, struct expr *expr, hook_mask hooks, bool negate)
{
	bool conjunction = (expr->kind == EXPR_AND) != negate;
	const struct cond **items = ARENA_ARRAY(lower->arena, const struct cond *, expr->count);

	if (conjunction && !negate)
		hooks = expr_hooks(expr, hooks);
	for (size_t i = 0; i < expr->count; i++)
		items[i] = lower_expr(lower, expr->items[i], hooks, negate);
	return cond_list(lower, conjunction ? COND_AND : COND_OR, items, expr->count, lower_span(lower, expr->span));
}

/* The negation is pushed down; what comes of it stands for the words from `not` on. */
static const struct cond *negation(struct lower *lower, struct expr *expr, hook_mask hooks, bool negate)
{
	const struct cond *inner = lower_expr(lower, expr->items[0], hooks, !negate);
	struct cond *cond = arena_copy(lower->arena, inner, sizeof *inner);

	cond->span = lower_span(lower, expr->span);
	return cond;
}

static const struct cond *lower_kind(struct lower *lower, struct expr *expr, hook_mask hooks, bool negate)
{
	switch (expr->kind) {
	case EXPR_AND:
	case EXPR_OR:
		return logic(lower, expr, hooks, negate);
	case EXPR_NOT:
		return negation(lower, expr, hooks, negate);
	case EXPR_COMPARE:
		return expr->tree ? in_tree(lower, expr, hooks, negate) : compare(lower, expr, hooks, negate);
	case EXPR_KNOWN:
		return known(lower, expr, hooks, negate);
	case EXPR_KNOCKED:
		check_hooks(lower, &expr->field, FIELD_KNOCKED, hooks);
		return knocked_lower(lower, expr);
	case EXPR_RATE:
		rate_misplaced(lower, expr->span);
		return cond_false(lower, expr->span);
	default:
		return word(lower, expr, hooks);
	}
}

const struct cond *lower_expr(struct lower *lower, struct expr *expr, hook_mask hooks, bool negate)
{
	bool outside = negate && (expr->kind == EXPR_WORD || expr->kind == EXPR_KNOCKED ||
				  ((expr->kind == EXPR_AND || expr->kind == EXPR_OR) && !has_owner(expr)));
	const struct cond *cond = lower_kind(lower, expr, hooks, negate && !outside);

	if (outside)
		cond = cond_not(lower->arena, cond, lower_span(lower, expr->span));
	expr->cond = cond;
	return cond;
}
