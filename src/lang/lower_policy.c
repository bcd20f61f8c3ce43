/* SPDX-License-Identifier: GPL-2.0-only */
/* A policy: AST to IR. Attachments, settings, chains, rules, and the warnings that need all of it. */
#include <net/if.h>
#include <string.h>

#include "lang/facts.h"
#include "lang/literal.h"

/* --- on ------------------------------------------------------------------------------------------------------ */

static int hook_of(const struct on_node *node)
{
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		const struct hook_info *info = &hook_table[hook];

		if (!strcmp(info->family, node->family.text) &&
		    (!info->point || (node->point.text && !strcmp(info->point, node->point.text))))
			return hook;
	}
	return -1; /* not after the parser */
}

static enum xdp_mode mode_of(const struct on_node *node)
{
	if (!node->mode.text)
		return XDP_ANY;
	return !strcmp(node->mode.text, "native")  ? XDP_NATIVE :
	       !strcmp(node->mode.text, "generic") ? XDP_GENERIC :
						     XDP_OFFLOAD;
}

static int32_t priority(struct lower *lower, const struct word *word)
{
	bool minus = word->text && word->text[0] == '-';
	u128 number;

	if (!word->text)
		return PRIORITY_DEFAULT;
	if (!literal_number(word->text + minus, strlen(word->text) - minus, &number) || number > INT32_MAX) {
		diag_error(lower->diags, word->span, "`%s` is not a priority (from -2147483647 to 2147483647)",
			   word->text);
		return PRIORITY_DEFAULT;
	}
	return minus ? -(int32_t)number : (int32_t)number;
}

static void check_target(struct lower *lower, const struct on_node *node, enum hook hook)
{
	const char *text = node->target.text;

	if (hook_table[hook].target == TARGET_IFACE &&
	    (!*text || strlen(text) >= IFNAMSIZ || strpbrk(text, "/ \t\n:")))
		diag_error(lower->diags, node->target.span, "`%s` cannot be an interface's name", text);
}

static bool same_place(const struct attach *a, const struct attach *b)
{
	if (a->hook != b->hook)
		return false;
	return a->target ? !strcmp(a->target, b->target) : a->priority == b->priority;
}

static void check_duplicate(struct lower *lower, const struct attach *attaches, size_t index)
{
	struct diag *diag;

	for (size_t i = 0; i < index; i++) {
		if (!same_place(&attaches[i], &attaches[index]))
			continue;
		diag = diag_error(lower->diags, attaches[index].span, "this hook is named twice");
		diag_relate(lower->diags, diag, attaches[i].span, "first here");
		return;
	}
}

/* Those of `on ...`, or of `track on ...`. */
static size_t places(struct lower *lower, const struct policy_node *policy, bool track,
		     const struct attach **ret_places)
{
	struct attach *places = ARENA_ARRAY(lower->arena, struct attach, policy->ons.count);
	size_t count = 0;

	for (size_t i = 0; i < policy->ons.count; i++) {
		const struct on_node *node = &policy->ons.items[i];
		enum hook hook = (enum hook)hook_of(node);

		if (node->track != track)
			continue;
		places[count] = (struct attach){ .hook = hook, .target = node->target.text, .span = node->span,
						 .priority = priority(lower, &node->priority),
						 .xdp_mode = mode_of(node), .optional = node->optional };
		if (track)
			lower->tracks |= HOOK_BIT(hook);
		else
			lower->hooks |= HOOK_BIT(hook);
		check_target(lower, node, hook);
		check_duplicate(lower, places, count++);
	}
	*ret_places = places;
	return count;
}

/* What is judged is seen anyway; a socket's packets alone tell nothing. */
static void check_tracks(struct lower *lower, const struct ruleset *ruleset)
{
	struct diag *diag;

	for (size_t i = 0; i < ruleset->track_count; i++) {
		const struct attach *track = &ruleset->tracks[i];

		if (!(field_table[FIELD_FLOW].hooks & HOOK_BIT(track->hook)))
			diag_error(lower->diags, track->span, "connections are not tracked at %s",
				   hook_table[track->hook].name);
		for (size_t j = 0; j < ruleset->attach_count; j++) {
			if (!same_place(track, &ruleset->attaches[j]))
				continue;
			diag = diag_error(lower->diags, track->span, "the policy judges there: it sees all packets anyway");
			diag_relate(lower->diags, diag, ruleset->attaches[j].span, "here");
		}
	}
}

void policy_attaches(struct lower *lower, struct policy_node *policy, struct ruleset *ruleset)
{
	struct diag *diag;

	ruleset->attach_count = places(lower, policy, false, &ruleset->attaches);
	ruleset->track_count = places(lower, policy, true, &ruleset->tracks);
	check_tracks(lower, ruleset);
	if (ruleset->attach_count || policy->broken_on)
		return;
	diag = diag_error(lower->diags, policy->name.span, "the policy `%s` does not say where it sits",
			  policy->name.text);
	diag_hint(lower->diags, diag, "add a line like `on tc eth0 ingress`");
}

/* --- settings ------------------------------------------------------------------------------------------------ */

struct choice {
	const char *word;
	int value; /* -1: not supported yet */
};

static const struct choice defaults[] = {
	{ "accept", VERDICT_ACCEPT }, { "drop", VERDICT_DROP }, { "reject", VERDICT_REJECT }, { NULL, 0 },
};
static const struct choice malformeds[] = { { "accept", true }, { "drop", false }, { NULL, 0 } };
static const struct choice non_ips[] = { { "accept", true }, { "default", false }, { NULL, 0 } };
static const struct choice classifiers[] = {
	{ "auto", CLASSIFIER_AUTO }, { "diagram", CLASSIFIER_DIAGRAM }, { "table", CLASSIFIER_TABLE },
	{ "list", CLASSIFIER_LIST }, { NULL, 0 },
};

static const struct choice caches[] = { { "auto", CACHE_AUTO }, { "yes", CACHE_YES }, { "no", CACHE_NO }, { NULL, 0 } };

static const struct {
	const char *name;
	const struct choice *choices;
	const char *expected;
	int missing;
} settings[SETTING_COUNT] = {
	[SETTING_DEFAULT] = { "default", defaults, "`accept`, `drop` or `reject`", VERDICT_DROP },
	[SETTING_MALFORMED] = { "malformed", malformeds, "`accept` or `drop`", false },
	[SETTING_NON_IP] = { "non_ip", non_ips, "`accept` or `default`", false },
	[SETTING_CLASSIFIER] = { "classifier", classifiers, "`auto`, `diagram`, `table` or `list`", CLASSIFIER_AUTO },
	[SETTING_CACHE] = { "cache", caches, "`auto`, `yes` or `no`", CACHE_AUTO },
};

static int setting(struct lower *lower, const struct policy_node *policy, enum setting_kind kind)
{
	const struct word *word = &policy->settings[kind];

	if (!word->text)
		return settings[kind].missing;
	for (const struct choice *choice = settings[kind].choices; choice->word; choice++) {
		if (strcmp(choice->word, word->text))
			continue;
		if (choice->value >= 0)
			return choice->value;
		diag_error(lower->diags, word->span, "`%s %s` is not supported yet", settings[kind].name, word->text);
		return settings[kind].missing;
	}
	diag_error(lower->diags, word->span, "`%s` is %s, not `%s`", settings[kind].name, settings[kind].expected,
		   word->text);
	return settings[kind].missing;
}

/* "16M": a power of two, so that what is asked for is what is got. */
static uint32_t captures_size(struct lower *lower, const struct word *word)
{
	size_t length = word->text ? strlen(word->text) : 0;
	unsigned shift = 0;
	struct diag *diag;
	u128 size;

	if (!length)
		return CAPTURES_SIZE;
	if (word->text[length - 1] == 'K')
		shift = 10;
	else if (word->text[length - 1] == 'M')
		shift = 20;
	if (literal_number(word->text, length - !!shift, &size) && size <= CAPTURES_SIZE_MOST) {
		size <<= shift;
		if (size >= CAPTURES_SIZE_LEAST && size <= CAPTURES_SIZE_MOST && !(size & (size - 1)))
			return (uint32_t)size;
	}
	diag = diag_error(lower->diags, word->span, "`%s` is not a size that the ring of captures can have", word->text);
	diag_hint(lower->diags, diag, "a power of two from `256K` to `256M`");
	return CAPTURES_SIZE;
}

static bool rule_captures(const struct rule_node *rule)
{
	for (size_t i = 0; i < rule->action_count; i++)
		if (rule->actions[i].kind == WORD_CAPTURE)
			return true;
	return false;
}

static bool policy_captures(const struct policy_node *policy)
{
	for (size_t c = 0; c < policy->chains.count; c++)
		for (size_t r = 0; r < policy->chains.items[c].rules.count; r++)
			if (rule_captures(&policy->chains.items[c].rules.items[r]))
				return true;
	return false;
}

/* None where no rule needs it; a warning if it was asked for. */
static uint32_t captures_wanted(struct lower *lower, const struct policy_node *policy)
{
	uint32_t size = captures_size(lower, &policy->settings[SETTING_CAPTURES]);

	if (policy_captures(policy))
		return size;
	if (policy->settings[SETTING_CAPTURES].text)
		diag_warning(lower->diags, policy->settings[SETTING_CAPTURES].span, "no rule has `capture`");
	return 0;
}

static void check_default(struct lower *lower, const struct policy_node *policy, enum verdict verdict)
{
	const struct word *word = &policy->settings[SETTING_DEFAULT];
	struct diag *diag;

	if (!word->text) {
		diag = diag_error(lower->diags, policy->name.span, "the policy `%s` has no default",
				  policy->name.text);
		diag_hint(lower->diags, diag, "add `default drop` or `default accept`");
		return;
	}
	for (int hook = 0; verdict == VERDICT_REJECT && hook < HOOK_COUNT; hook++) {
		if (!(lower->hooks & HOOK_BIT(hook)) || hook_table[hook].reject != REJECT_NEVER)
			continue;
		diag_error(lower->diags, word->span, "`reject` cannot tell the sender at %s: use `drop`",
			   hook_table[hook].name);
		return;
	}
}

static void apply_settings(struct lower *lower, const struct policy_node *policy, struct ruleset *ruleset)
{
	ruleset->default_verdict = (enum verdict)setting(lower, policy, SETTING_DEFAULT);
	ruleset->observe = policy->observe.text;
	ruleset->malformed_accept = setting(lower, policy, SETTING_MALFORMED);
	ruleset->non_ip_accept = setting(lower, policy, SETTING_NON_IP);
	ruleset->classifier = (enum classifier)setting(lower, policy, SETTING_CLASSIFIER);
	ruleset->cache = (enum cache_choice)setting(lower, policy, SETTING_CACHE);
	ruleset->captures_size = captures_wanted(lower, policy);
	check_default(lower, policy, ruleset->default_verdict);
}

/* --- rules --------------------------------------------------------------------------------------------------- */

bool cond_names_link(const struct cond *cond)
{
	switch (cond->kind) {
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			if (cond_names_link(cond->list.items[i]))
				return true;
		return false;
	case COND_NOT:
		return cond_names_link(cond->inner);
	case COND_MATCH:
		return cond->match.field == FIELD_ETH_TYPE;
	default:
		return false;
	}
}

static void rule_lower(struct lower *lower, const struct rule_node *node, struct rule *rule)
{
	hook_mask hooks = node->cond ? expr_hooks(node->cond, lower->hooks) : lower->hooks;

	rule->number = node->number;
	rule->span = node->span;
	if (node->cond) {
		rule->cond = lower_expr(lower, node->cond, lower->hooks, false);
		rule->names_link = cond_names_link(rule->cond);
	}
	actions_lower(lower, node, hooks, rule);
}

static void chain_lower(struct lower *lower, const struct chain_node *node, struct chain *chain)
{
	struct rule *rules = ARENA_ARRAY(lower->arena, struct rule, node->rules.count);
	size_t count = 0;

	for (size_t i = 0; i < node->rules.count; i++)
		if (!node->rules.items[i].failed)
			rule_lower(lower, &node->rules.items[i], &rules[count++]);
	*chain = (struct chain){ .name = node->name.text, .span = node->name.span, .rules = rules,
				 .rule_count = count };
}

static void chains_lower(struct lower *lower, const struct policy_node *policy, struct ruleset *ruleset)
{
	struct chain *chains = ARENA_ARRAY(lower->arena, struct chain, policy->chains.count);

	for (size_t i = 0; i < policy->chains.count; i++)
		chain_lower(lower, &policy->chains.items[i], &chains[i]);
	ruleset->chains = chains;
	ruleset->chain_count = policy->chains.count;
	ruleset->rule_count = policy->rule_count;
}

/* --- warnings ------------------------------------------------------------------------------------------------ */

static const struct action *last_action(const struct rule *rule)
{
	return rule->action_count ? &rule->actions[rule->action_count - 1] : NULL;
}

static bool has_verdict(const struct rule *rule, enum verdict verdict)
{
	const struct action *last = last_action(rule);

	return last && last->kind == ACTION_VERDICT && last->verdict == verdict;
}

static bool may_be_tcp(struct lower *lower, const struct rule *rule)
{
	const struct range tcp = { 6, 6 };
	struct facts facts, is_tcp = { 0 };

	if (!rule->cond)
		return true;
	is_tcp.fields[FIELD_PROTO].ranges = &tcp;
	is_tcp.fields[FIELD_PROTO].count = 1;
	is_tcp.known = FIELD_BIT(FIELD_PROTO);
	facts_of(lower, rule->cond, false, &facts);
	facts_meet(lower, &facts, &is_tcp);
	return !facts.impossible;
}

/* The first `reject` that TCP may meet. */
static const struct span *tcp_reject(struct lower *lower, const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->chain_count; i++) {
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++) {
			const struct rule *rule = &ruleset->chains[i].rules[j];

			if (has_verdict(rule, VERDICT_REJECT) && may_be_tcp(lower, rule))
				return &last_action(rule)->span;
		}
	}
	if (ruleset->default_verdict == VERDICT_REJECT)
		return &lower->policy->settings[SETTING_DEFAULT].span;
	return NULL;
}

/* Once a policy: where reject is EPERM, TCP's connect() does not see it, unless it is judged itself. */
static void warn_reject(struct lower *lower, const struct ruleset *ruleset)
{
	const struct span *span = tcp_reject(lower, ruleset);

	for (size_t i = 0; i < ruleset->attach_count; i++) {
		const struct hook_info *info = &hook_table[ruleset->attaches[i].hook];
		struct diag *diag;

		if (info->reject != REJECT_EPERM || !span || lower->hooks & HOOK_BIT(HOOK_CONNECT))
			continue;
		diag = diag_warning(lower->diags, *span,
				    "at %s `reject` fails a UDP sender's call at once, but a TCP "
				    "connect() only times out", info->name);
		diag_hint(lower->diags, diag, "with `on connect \"%s\"` too, that fails at once",
			  info->target == TARGET_CGROUP ? ruleset->attaches[i].target : "/");
		return;
	}
}

static void warn_rules(struct lower *lower, const struct policy_node *policy, const struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->chain_count; i++) {
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++) {
			const struct rule *rule = &ruleset->chains[i].rules[j];
			const struct expr *expr = policy->chains.items[i].rules.items[j].cond;

			if (!rule->cond)
				continue;
			facts_warn(lower, rule->cond);
			if (has_verdict(rule, VERDICT_ACCEPT))
				guard_warn(lower, expr);
		}
	}
}

/* --- all of it ----------------------------------------------------------------------------------------------- */

static void start(struct lower *lower, struct policy_node *policy)
{
	lower->policy = policy;
	lower->hooks = 0;
	lower->tracks = 0;
	lower->possible = 0;
	lower->elements = 0;
	lower->level_count = 0;
	memset(&lower->sets, 0, sizeof lower->sets);
	memset(&lower->set_nodes, 0, sizeof lower->set_nodes);
	memset(&lower->counters, 0, sizeof lower->counters);
	memset(&lower->programs, 0, sizeof lower->programs);
	memset(&lower->roots, 0, sizeof lower->roots);
	memset(&lower->tuned, 0, sizeof lower->tuned);
	memset(&lower->comparisons, 0, sizeof lower->comparisons);
	lower->tunable_count = 0;
}

static void finish(struct lower *lower, struct ruleset *ruleset)
{
	ruleset->sets = lower->sets.items;
	ruleset->set_count = lower->sets.count;
	ruleset->programs = lower->programs.items;
	ruleset->program_count = lower->programs.count;
	ruleset->roots = lower->roots.items;
	ruleset->root_count = lower->roots.count;
	ruleset->counters = lower->counters.items;
	ruleset->counter_count = lower->counters.count;
	ruleset->cgroup_level_count = lower->level_count;
	memcpy(ruleset->cgroup_levels, lower->levels, sizeof ruleset->cgroup_levels);
	tunables_finish(lower, ruleset);
}

void policy_lower(struct lower *lower, struct policy_node *policy, struct ruleset *ret_ruleset)
{
	unsigned errors = lower->diags->errors;

	start(lower, policy);
	*ret_ruleset = (struct ruleset){ .name = policy->name.text, .span = policy->span };
	scope_check_policy(lower);
	policy_attaches(lower, policy, ret_ruleset);
	apply_settings(lower, policy, ret_ruleset);
	flows_lower(lower, policy, &ret_ruleset->flows);
	for (size_t i = 0; i < policy->sets.count; i++)
		if (!policy->sets.items[i].failed)
			scope_set(lower, &policy->sets.items[i]);
	knocks_lower(lower, policy, ret_ruleset);
	chains_lower(lower, policy, ret_ruleset);
	finish(lower, ret_ruleset);
	/* a rule that is wrong may have been the one that jumps */
	if (lower->diags->errors == errors && !policy->broken)
		chains_check(lower, ret_ruleset);
	if (lower->diags->errors)
		return;
	warn_rules(lower, policy, ret_ruleset);
	warn_reject(lower, ret_ruleset);
	admit_warn(lower, ret_ruleset);
	scope_warn_unused_policy(lower);
}
