/* SPDX-License-Identifier: GPL-2.0-only */
/* Knocks: AST to IR. Checks that all is said that must be, and that the policy's hooks see who knocks. */
#include <string.h>

#include "lang/facts.h"
#include "lang/literal.h"

enum { SOURCES_MAX = 1 << 20 };

static const uint64_t usual_skew_ns = 60ull * 1000000000; /* unless the policy says otherwise */
static const uint64_t year_ns = 365ull * 24 * 3600 * 1000000000;

/* A time that must be given. 1 in its place after an error. */
static uint64_t needed_time(struct lower *lower, const struct knock_node *node, enum knock_clause kind,
			    const char *what)
{
	const struct word *word = &node->clauses[kind];
	uint64_t time;
	struct diag *diag;

	if (!word->text) {
		diag = diag_error(lower->diags, node->name.span, "the knock `%s` does not say %s", node->name.text, what);
		diag_hint(lower->diags, diag, node->clauses[KNOCK_KEY].text ? "`key file` \"PATH\" `open` TIME" :
			  "`sequence` EXPR, EXPR ... `within` TIME `open` TIME");
		return 1;
	}
	if (!literal_time(word->text, strlen(word->text), &time)) {
		diag_error(lower->diags, word->span, "`%s` is not a time like `500ms`, `30s`, `5min` or `1h`",
			   word->text);
		return 1;
	}
	if (time && time <= year_ns)
		return time;
	diag_error(lower->diags, word->span, "`%s` is no time from 1ms to 365d", word->text);
	return 1;
}

static bool whole_address(struct lower *lower, const struct word *word)
{
	struct diag *diag;

	if (!word->text || !strcmp(word->text, "src") || !strcmp(word->text, "src/32/64"))
		return false;
	if (!strcmp(word->text, "src/32/128"))
		return true;
	diag = diag_error(lower->diags, word->span, "a knock cannot be kept per `%s`", word->text);
	diag_hint(lower->diags, diag, "`src` is an IPv4 address or an IPv6 /64; `src/32/128` a whole address of either");
	return false;
}

static uint32_t most_sources(struct lower *lower, const struct word *word)
{
	u128 number;

	if (!word->text)
		return 0;
	if (literal_number(word->text, strlen(word->text), &number) && number && number <= SOURCES_MAX)
		return (uint32_t)number;
	diag_error(lower->diags, word->span, "`%s` is not a number of sources from 1 to %d", word->text, SOURCES_MAX);
	return 0;
}

/* Only packets that arrive have knocked; without any other hook there would be nobody to open. */
static void check_hooks(struct lower *lower, const struct knock_node *node)
{
	hook_mask known = field_table[FIELD_KNOCKED].hooks;
	struct diag *diag;

	if (!lower->hooks || lower->hooks & known)
		return;
	diag = diag_error(lower->diags, node->name.span, "nobody knocks at the hooks of this policy");
	diag_hint(lower->diags, diag, "knocks are seen where packets arrive: xdp, tc ingress, cgroup ingress, socket, "
		  "netfilter prerouting, input and forward");
}

static const struct cond *step(struct lower *lower, struct expr *expr)
{
	const struct cond *cond = lower_expr(lower, expr, lower->hooks & field_table[FIELD_KNOCKED].hooks, false);

	if (cond_names_link(cond))
		diag_error(lower->diags, expr->span,
			   "a step cannot name the link layer: who knocks has an IP address");
	return cond;
}

static void steps(struct lower *lower, const struct knock_node *node, struct knock *knock)
{
	const struct cond **conds = ARENA_ARRAY(lower->arena, const struct cond *, node->steps.count);

	for (size_t i = 0; i < node->steps.count; i++)
		conds[i] = step(lower, node->steps.items[i]);
	knock->steps = conds;
	knock->step_count = node->steps.count;
	if (node->steps.count > KNOCK_STEPS_MAX)
		diag_error(lower->diags, node->steps.items[KNOCK_STEPS_MAX]->span, "a sequence has at most %d steps",
			   KNOCK_STEPS_MAX);
	if (!node->steps.count)
		diag_error(lower->diags, node->name.span, "the knock `%s` has neither a `sequence` nor a `key`",
			   node->name.text);
}

/* --- keys ------------------------------------------------------------------------------------------------------ */

enum { PROTO_UDP = 17, KEY_PORT = 62201 };

/* The packets that are looked at: UDP, and else what `on` says. */
static const struct cond *key_packets(struct lower *lower, const struct knock_node *node)
{
	struct span span = node->clauses[KNOCK_KEY].span;
	const struct cond *udp = cond_match(lower->arena, FIELD_PROTO, PROTO_UDP, PROTO_UDP, span), *on;
	struct facts facts, udp_facts;
	struct diag *diag;

	if (!node->on)
		return cond_pair(lower->arena, COND_AND, udp,
				 cond_match(lower->arena, FIELD_DST_PORT, KEY_PORT, KEY_PORT, span), span);
	on = step(lower, node->on);
	facts_of(lower, on, false, &facts);
	facts_of(lower, udp, false, &udp_facts);
	facts_meet(lower, &facts, &udp_facts);
	if (!facts.impossible)
		return cond_pair(lower->arena, COND_AND, udp, on, node->on->span);
	diag = diag_error(lower->diags, node->on->span, "no UDP packet is like that, and only UDP brings a key's MAC");
	diag_hint(lower->diags, diag, "a TCP SYN has no room for it that firewalls on the way would leave alone");
	return on;
}

/* What makes sense only with sequences, or only with keys. */
static void check_clauses(struct lower *lower, const struct knock_node *node)
{
	static const struct {
		enum knock_clause clause;
		bool keyed;
		const char *name;
	} rows[] = {
		{ KNOCK_SEQUENCE, false, "sequence" }, { KNOCK_WITHIN, false, "within" },
		{ KNOCK_EXTEND, false, "extend" },     { KNOCK_ON, true, "on" },
		{ KNOCK_SKEW, true, "skew" },          { KNOCK_BIND, true, "bind" },
	};
	bool keyed = node->clauses[KNOCK_KEY].text;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (node->clauses[rows[i].clause].text && rows[i].keyed != keyed)
			diag_error(lower->diags, node->clauses[rows[i].clause].span, keyed ?
				   "`%s` belongs to a sequence, and this knock has a key" :
				   "`%s` belongs to a key, and this knock has none", rows[i].name);
}

static void key_lower(struct lower *lower, const struct knock_node *node, struct knock *knock)
{
	const struct word *file = &node->clauses[KNOCK_KEY];
	const struct cond **conds = ARENA_ARRAY(lower->arena, const struct cond *, 1);

	if (file->text[0] != '/')
		diag_error(lower->diags, file->span, "the path of a key begins with `/`");
	conds[0] = key_packets(lower, node);
	knock->steps = conds;
	knock->step_count = 1;
	knock->key_file = file->text;
	knock->bind = node->clauses[KNOCK_BIND].text;
	knock->skew_ns = usual_skew_ns;
	if (node->clauses[KNOCK_SKEW].text)
		knock->skew_ns = needed_time(lower, node, KNOCK_SKEW, "");
}

/* --- all of it ------------------------------------------------------------------------------------------------- */

static void knock_lower(struct lower *lower, const struct knock_node *node, struct knock *knock)
{
	*knock = (struct knock){ .name = node->name.text, .span = node->span };
	check_hooks(lower, node);
	check_clauses(lower, node);
	if (node->clauses[KNOCK_KEY].text) {
		key_lower(lower, node, knock);
	} else {
		steps(lower, node, knock);
		knock->within_ns = needed_time(lower, node, KNOCK_WITHIN, "within what time");
	}
	knock->open_ns = needed_time(lower, node, KNOCK_OPEN, "for how long it opens");
	knock->extend = node->clauses[KNOCK_EXTEND].text;
	knock->whole = whole_address(lower, &node->clauses[KNOCK_PER]);
	knock->max_sources = most_sources(lower, &node->clauses[KNOCK_MAX]);
}

void knocks_lower(struct lower *lower, const struct policy_node *policy, struct ruleset *ruleset)
{
	struct knock *knocks = ARENA_ARRAY(lower->arena, struct knock, policy->knocks.count);

	if (policy->knocks.count > KNOCKS_MAX)
		diag_error(lower->diags, policy->knocks.items[KNOCKS_MAX].name.span, "a policy has at most %d knocks",
			   KNOCKS_MAX);
	for (size_t i = 0; i < policy->knocks.count; i++)
		if (!policy->knocks.items[i].failed)
			knock_lower(lower, &policy->knocks.items[i], &knocks[i]);
	ruleset->knocks = knocks;
	ruleset->knock_count = policy->knocks.count;
}

const struct cond *knocked_lower(struct lower *lower, const struct expr *expr)
{
	const struct word *name = &expr->value.word;
	struct local local = scope_find(lower, name->text);
	const char *nearest;
	struct diag *diag;
	struct cond *cond;

	if (local.kind != LOCAL_KNOCK) {
		diag = diag_error(lower->diags, name->span, lower->policy ? "there is no knock `%s` in this policy" :
				  "there is no knock `%s`: an expression has none", name->text);
		nearest = scope_nearest(lower, name->text, LOCAL_KNOCK);
		if (nearest)
			diag_hint(lower->diags, diag, "did you mean `%s`?", nearest);
		else
			diag_hint(lower->diags, diag, "`knock %s { sequence ... }` in a policy makes one", name->text);
		return cond_false(lower, expr->span);
	}
	local.knock->used = true;
	cond = cond_match(lower->arena, FIELD_KNOCKED, (u128)1 << local.index, (u128)1 << local.index, expr->span);
	cond->match.mask = (u128)1 << local.index;
	return cond;
}
