/* SPDX-License-Identifier: GPL-2.0-only */
/* Plans of small policies: their text, forms and limits; sets; invariants; warnings; allocation failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "plan/plan.h"
#include "tests/lib/ir_text.h"
#include "tests/lib/policies.h"
#include "tests/unit/plan/judge.h"

static struct arena *arena;

static int open_arena(void **state)
{
	(void)state;
	arena = arena_new();
	return arena ? 0 : -1;
}

static int close_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

/* --- helpers -------------------------------------------------------------------------------------------- */

struct call {
	const struct ruleset *ruleset;
	enum hook hook;
	struct plan_options options;
	struct diags *diags;
	const struct plan *plan;
	char *text;
};

static int build(void *context)
{
	struct call *call = context;

	call->diags = diags_new(arena);
	return plan_build(arena, call->ruleset, call->hook, &call->options, call->diags, &call->plan);
}

static const struct plan *plan_with(const char *text, enum hook hook, const struct plan_options *options)
{
	struct call call = { .ruleset = ir_text_parse(arena, text), .hook = hook };

	if (options)
		call.options = *options;
	assert_int_equal(arena_run(arena, build, &call), 0);
	return call.plan;
}

static const struct plan *plan_of(const char *text)
{
	return plan_with(text, HOOK_XDP, NULL);
}

/* The diagnostic of a plan that cannot be made. */
static const char *refusal(const char *text, const struct plan_options *options)
{
	struct call call = { .ruleset = ir_text_parse(arena, text), .options = *options };

	assert_int_equal(arena_run(arena, build, &call), -EINVAL);
	assert_int_equal(call.diags->errors, 1);
	return call.diags->list.items[0].text;
}

static int print(void *context)
{
	struct call *call = context;

	call->text = plan_print_diagram(arena, call->plan);
	assert_non_null(plan_print_summary(arena, call->plan));
	assert_non_null(plan_print_dot(arena, call->plan));
	return 0;
}

static const char *printed(const struct plan *plan)
{
	struct call call = { .plan = plan };

	assert_int_equal(arena_run(arena, print, &call), 0);
	return call.text;
}

static int warn(void *context)
{
	struct call *call = context;

	call->diags = diags_new(arena);
	plan_warn(arena, call->ruleset, call->hook, call->diags);
	return 0;
}

static const struct diags *warnings(const char *text)
{
	struct call call = { .ruleset = ir_text_parse(arena, text) };

	call.hook = call.ruleset->attach_count ? call.ruleset->attaches[0].hook : HOOK_XDP;
	assert_int_equal(arena_run(arena, warn, &call), 0);
	return call.diags;
}

/* A TCP packet over IPv4; other fields as a data plane fills them in. */
static struct packet tcp_packet(uint32_t src, uint32_t dst_port)
{
	struct model_fields none = { 0 };
	struct packet packet;

	judge_fill(&packet, &none);
	packet.family = FAMILY_IPV4;
	packet.eth_type = 0x0800;
	packet.proto = 6;
	packet.src4 = src;
	packet.dst_port = dst_port;
	packet.src_port = 1024;
	packet.tcp_flags = 2;
	return packet;
}

static uint32_t answer(const struct plan *plan, struct packet packet)
{
	return plan_evaluate(plan, &packet);
}

#define XDP(rules) "policy \"p\" { attach xdp \"lo\" default drop chain \"main\" { " rules " } }"
#define XDP_WITH(head, rules) "policy \"p\" { attach xdp \"lo\" default drop " head " chain \"main\" { " rules " } }"

/* --- diagrams ------------------------------------------------------------------------------------------- */

static void a_port_is_two_comparisons(void **state)
{
	(void)state;
	assert_string_equal(printed(plan_of(XDP("rule 1 accept if all(proto = 6, dst_port = 22)"))),
			    "root: node 2\n"
			    "node 2: family\n"
			    "    0 -> drop by default\n"
			    "    1 -> accept by non-ip\n"
			    "    2-6 -> node 1\n"
			    "node 1: proto\n"
			    "    0-5 -> drop by default\n"
			    "    6 -> node 0\n"
			    "    7-absent -> drop by default\n"
			    "node 0: dst_port\n"
			    "    0-21 -> drop by default\n"
			    "    22 -> accept by rule 1\n"
			    "    23-absent -> drop by default\n");
}

static void without_frames_no_family_is_asked(void **state)
{
	(void)state;
	assert_string_equal(printed(plan_with("policy \"p\" { attach cgroup-egress \"/\" default drop "
					      "chain \"main\" { rule 1 accept if proto = 17 } }",
					      HOOK_CGROUP_EGRESS, NULL)),
			    "root: node 0\n"
			    "node 0: proto\n"
			    "    0-16 -> drop by default\n"
			    "    17 -> accept by rule 1\n"
			    "    18-absent -> drop by default\n");
}

static void what_a_protocol_lacks_is_not_tested(void **state)
{
	const struct plan *plan = plan_of(XDP("rule 1 accept if dst_port = 53 rule 2 drop if proto = 1"));

	(void)state;
	assert_null(strstr(printed(plan), "absent -> drop by rule 2"));
	assert_int_equal(plan->needed, FIELD_BIT(FIELD_FAMILY) | FIELD_BIT(FIELD_PROTO) | FIELD_BIT(FIELD_DST_PORT));
}

static void link_rules_judge_frames(void **state)
{
	const struct plan *plan = plan_of(XDP("rule 1 accept rule 2 link drop if eth.type = 0x806"));
	const struct plan *named = plan_of(XDP("rule 1 link drop if eth.type in {0x806, 0x8864} rule 2 drop"));
	struct packet arp = { .family = FAMILY_EXEMPT, .eth_type = 0x0806, .proto = ABSENT_PROTO };
	struct packet pppoe = { .family = FAMILY_OTHER, .eth_type = 0x8864, .proto = ABSENT_PROTO };
	struct packet lldp = { .family = FAMILY_EXEMPT, .eth_type = 0x88cc, .proto = ABSENT_PROTO };

	(void)state;
	assert_int_equal(answer(plan, arp), ANSWER(ANSWER_DROP, SLOT_RULE(2)));
	assert_int_equal(answer(plan, lldp), ANSWER(ANSWER_ACCEPT, SLOT_NON_IP));
	assert_int_equal(answer(plan, pppoe), ANSWER(ANSWER_DROP, SLOT_DEFAULT));
	assert_int_equal(answer(named, pppoe), ANSWER(ANSWER_DROP, SLOT_RULE(1)));
	assert_int_equal(answer(named, lldp), ANSWER(ANSWER_ACCEPT, SLOT_NON_IP));
}

static void other_frames_may_pass(void **state)
{
	const struct plan *plan = plan_of(XDP_WITH("non_ip accept", "rule 1 drop if proto = 6"));
	struct packet pppoe = { .family = FAMILY_OTHER, .eth_type = 0x8864, .proto = ABSENT_PROTO };

	(void)state;
	assert_int_equal(answer(plan, pppoe), ANSWER(ANSWER_ACCEPT, SLOT_NON_IP));
}

static void matched_rules_become_steps(void **state)
{
	const struct plan *plan = plan_of(XDP_WITH("counter \"c\"",
						   "rule 1 log \"l\" every 1000 burst 3 if proto = 6 "
						   "rule 2 count \"c\", accept if dst_port = 22"));
	static const struct step expected[] = {
		{ STEP_LOG, SLOT_RULE(1), 0, LOG_ONLY },
		{ STEP_COUNT, SLOT_RULE(1), 0, 0 },
		{ STEP_COUNT, SLOT_RULES + 2, 0, 0 },
		{ STEP_VERDICT, SLOT_RULE(2), ANSWER_ACCEPT, 0 },
	};
	uint32_t code = answer(plan, tcp_packet(1, 22));

	(void)state;
	assert_true(code & ANSWER_STEPS);
	assert_memory_equal(plan->steps + (code >> ANSWER_SHIFT), expected, sizeof expected);
	assert_int_equal(plan->slots, SLOT_RULES + 3);
	assert_int_equal(plan->log_count, 1);
	assert_int_equal(plan->logs[0].period_ns, 1000);
	assert_int_equal(plan->logs[0].burst_ns, 3000);
	assert_int_equal(plan->log_rules[0], 1);
}

static void chains_return(void **state)
{
	const struct plan *plan = plan_with("policy \"p\" { attach xdp \"lo\" default drop "
					    "chain \"main\" { rule 1 jump \"c\" if proto = 6 rule 2 accept } "
					    "chain \"c\" { rule 3 return if dst_port = 22 rule 4 goto \"d\" } "
					    "chain \"d\" { rule 5 reject if dst_port = 23 rule 6 return } }",
					    HOOK_XDP, NULL);
	struct judged ssh = judge(plan, tcp_packet(1, 22), plan_evaluate);
	struct judged telnet = judge(plan, tcp_packet(1, 23), plan_evaluate);
	struct judged web = judge(plan, tcp_packet(1, 80), plan_evaluate);
	static const uint32_t ssh_hits[] = { 1, 3, 2 }, telnet_hits[] = { 1, 4, 5 }, web_hits[] = { 1, 4, 6, 2 };

	(void)state;
	assert_int_equal(ssh.hit_count, 3);
	assert_memory_equal(ssh.hits, ssh_hits, sizeof ssh_hits);
	assert_int_equal(telnet.verdict, ANSWER_REJECT);
	assert_memory_equal(telnet.hits, telnet_hits, sizeof telnet_hits);
	assert_int_equal(web.hit_count, 4);
	assert_memory_equal(web.hits, web_hits, sizeof web_hits);
}

/* --- limits --------------------------------------------------------------------------------------------- */

static const char scattered[] = XDP("rule 1 accept if all(ip.src = 10.0.0.1, dst_port = 1) "
				    "rule 2 drop if all(ip.src = 10.0.0.3, dst_port = 5) "
				    "rule 3 accept if all(ip.src = 10.0.0.5, dst_port = 9)");

static void over_budget_becomes_a_table(void **state)
{
	const struct plan_options small = { .diagram_budget = 10 };
	const struct plan *plan = plan_with(scattered, HOOK_XDP, &small);

	(void)state;
	assert_int_equal(plan_of(scattered)->kind, PLAN_DIAGRAM);
	assert_int_equal(plan->kind, PLAN_TABLE);
	assert_string_equal(plan->reason, "a diagram would need more than 10 edges");
	assert_int_equal(answer(plan, tcp_packet(0x0a000003, 5)), ANSWER(ANSWER_DROP, SLOT_RULE(2)));
	assert_int_equal(answer(plan, tcp_packet(0x0a000003, 6)), ANSWER(ANSWER_DROP, SLOT_DEFAULT));
}

static void a_list_resumes(void **state)
{
	const struct plan *plan = plan_of(XDP_WITH("classifier list", "rule 1 log \"x\" if proto = 6 rule 2 accept"));
	struct packet packet = tcp_packet(1, 80);
	uint32_t code = answer(plan, packet);

	(void)state;
	assert_string_equal(printed(plan),
			    "item 0: if family = 0-3: go to 4\n"
			    "item 1: if proto = 6: log 0, count rule 1, go on at item 2\n"
			    "resume 2: accept by rule 2\n"
			    "item 3: drop by default\n"
			    "item 4: if family = 1: accept by non-ip\n"
			    "item 5: drop by default\n");
	assert_int_equal(plan->steps[(code >> ANSWER_SHIFT) + 2].kind, STEP_RESUME);
	packet.resume = plan->steps[(code >> ANSWER_SHIFT) + 2].a;
	assert_int_equal(answer(plan, packet), ANSWER(ANSWER_ACCEPT, SLOT_RULE(2)));
}

static void what_was_asked_for_is_refused(void **state)
{
	const struct plan_options small = { .diagram_budget = 2 };

	(void)state;
	assert_string_equal(refusal(XDP_WITH("classifier diagram", "rule 1 accept if dst_port = 1"), &small),
			    "the policy's diagram would need more than 2 edges");
}

/* Twelve chains that each jump four times to the next. */
static void exploding_chains_are_refused(void **state)
{
	char text[8192];
	char *place = text;
	unsigned rule = 1;

	(void)state;
	place += sprintf(place, "policy \"p\" { attach xdp \"lo\" default drop classifier list chain \"main\" {");
	for (int chain = 1; chain < 12; chain++) {
		for (int i = 0; i < 4; i++)
			place += sprintf(place, " rule %u jump \"c%d\" if ttl = %d", rule++, chain, i);
		place += sprintf(place, " } chain \"c%d\" {", chain);
	}
	sprintf(place, " rule %u accept if dst_port = 1 } }", rule);
	assert_non_null(strstr(refusal(text, &(struct plan_options){ 0 }),
			       "makes the list of tests longer than 1000000"));
}

/* --- sets ----------------------------------------------------------------------------------------------- */

static void named_sets_have_their_maps(void **state)
{
	const struct plan *plan = plan_of(XDP_WITH("set \"a\" prefix max 10 { 10.0.0.0/8 2001:db8::/32 } "
						   "set \"b\" address max 20 { 10.0.0.1 } "
						   "set \"c\" port max 30 { 1-3 }",
						   "rule 1 accept if ip.src in set \"a\" "
						   "rule 2 drop if dst_port in set \"c\""));
	static const struct { const char *map; enum set_key key; bool lpm; size_t count; } expected[] = {
		{ "set_0_4", KEY_IPV4, true, 1 },  { "set_0_6", KEY_IPV6, true, 1 }, { "set_1_4", KEY_IPV4, false, 1 },
		{ "set_1_6", KEY_IPV6, false, 0 }, { "set_2_v", KEY_VALUE, false, 1 },
	};

	(void)state;
	assert_int_equal(plan->set_count, 5);
	for (size_t i = 0; i < plan->set_count; i++) {
		assert_string_equal(plan->sets[i].map, expected[i].map);
		assert_int_equal(plan->sets[i].key, expected[i].key);
		assert_int_equal(plan->sets[i].lpm, expected[i].lpm);
		assert_int_equal(plan->sets[i].count, expected[i].count);
	}
	assert_int_equal(answer(plan, tcp_packet(0x0a010203, 9)), ANSWER(ANSWER_ACCEPT, SLOT_RULE(1)));
	assert_int_equal(answer(plan, tcp_packet(0x0b010203, 2)), ANSWER(ANSWER_DROP, SLOT_RULE(2)));
	assert_int_equal(answer(plan, tcp_packet(0x0b010203, 4)), ANSWER(ANSWER_DROP, SLOT_DEFAULT));
}

static void many_constants_become_a_hash(void **state)
{
	const struct plan_options options = { .inline_set_min = 4 };
	const char *text = XDP("rule 1 accept if ip.src in {10.0.0.1, 10.0.0.3, 10.0.0.5, 10.0.0.7} "
			       "rule 2 drop if ip.dst in {10.0.0.1, 10.0.0.3, 10.0.0.5, 10.0.0.7} "
			       "rule 3 drop if ip.dst in {10.0.0.1, 10.0.0.3}");
	const struct plan *plan = plan_with(text, HOOK_XDP, &options);

	(void)state;
	assert_int_equal(plan->set_count, 1); /* the same constants, the same map */
	assert_string_equal(plan->sets[0].map, "inline_0");
	assert_int_equal(plan->sets[0].named, -1);
	assert_int_equal(plan->sets[0].max_elements, 4);
	assert_int_equal(answer(plan, tcp_packet(0x0a000005, 1)), ANSWER(ANSWER_ACCEPT, SLOT_RULE(1)));
	assert_int_equal(plan_of(text)->set_count, 0);
}

static void ranges_become_prefixes(void **state)
{
	const struct plan_options options = { .inline_set_min = 1 };
	static const char text[] = XDP("rule 1 accept if ip.src in {10.0.0.1-10.0.0.6, 10.1.0.0/16, 10.3.0.0/24, "
				       "10.5.0.0/24, 10.7.0.0/24, 10.9.0.0/24, 10.11.0.0/24, 10.13.0.0/24}");
	const struct plan *plan = plan_with(text, HOOK_XDP, &options);
	static const struct range first[] = { { 0x0a000001, 0x0a000001 }, { 0x0a000002, 0x0a000003 },
					      { 0x0a000004, 0x0a000005 }, { 0x0a000006, 0x0a000006 },
					      { 0x0a010000, 0x0a01ffff } };

	(void)state;
	assert_int_equal(plan->set_count, 1);
	assert_true(plan->sets[0].lpm);
	assert_int_equal(plan->sets[0].count, 11);
	assert_int_equal(plan->sets[0].max_elements, 11);
	assert_memory_equal(plan->sets[0].elements, first, sizeof first);
}

/* --- masks and wide fields ------------------------------------------------------------------------------ */

static void masks_do_not_let_absent_fields_in(void **state)
{
	const struct plan *flags = plan_of(XDP("rule 1 accept if tcp.flags & 0x12 = 0x12"));
	const struct plan *port = plan_of(XDP("rule 1 accept if dst_port & 0xff = 0"));
	struct packet udp = tcp_packet(1, 53), later = tcp_packet(1, ABSENT_PORT), ack = tcp_packet(1, 80);

	(void)state;
	udp.proto = 17;
	udp.tcp_flags = ABSENT_FLAGS;
	later.fragment = FRAGMENT_LATER;
	later.tcp_flags = ABSENT_FLAGS;
	ack.tcp_flags = 0x1a;
	assert_int_equal(answer(flags, udp), ANSWER(ANSWER_DROP, SLOT_DEFAULT));
	assert_int_equal(answer(flags, later), ANSWER(ANSWER_DROP, SLOT_DEFAULT));
	assert_int_equal(answer(flags, ack), ANSWER(ANSWER_ACCEPT, SLOT_RULE(1)));
	assert_int_equal(answer(port, later), ANSWER(ANSWER_DROP, SLOT_DEFAULT));
	assert_int_equal(answer(port, tcp_packet(1, 0x1200)), ANSWER(ANSWER_ACCEPT, SLOT_RULE(1)));
}

static void wide_ranges_are_exact(void **state)
{
	const struct plan *plan = plan_of(XDP("rule 1 accept if ipv6.src in {2001:db8::5-2001:db8:0:3::9}"));
	static const struct { uint64_t hi, lo; bool inside; } cases[] = {
		{ 0x20010db800000000, 4, false },     { 0x20010db800000000, 5, true },
		{ 0x20010db800000000, ~0ull, true },  { 0x20010db800000001, 0, true },
		{ 0x20010db800000002, ~0ull, true },  { 0x20010db800000003, 9, true },
		{ 0x20010db800000003, 10, false },    { 0x20010db700000003, 9, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct packet packet = tcp_packet(0, 80);

		packet.family = FAMILY_IPV6;
		packet.eth_type = 0x86dd;
		packet.src_hi = cases[i].hi;
		packet.src_lo = cases[i].lo;
		assert_int_equal(answer(plan, packet), cases[i].inside ? ANSWER(ANSWER_ACCEPT, SLOT_RULE(1)) :
									 ANSWER(ANSWER_DROP, SLOT_DEFAULT));
	}
}

/* --- invariants ----------------------------------------------------------------------------------------- */

static const char *broken_node(const struct plan *plan, size_t index)
{
	const struct diagram_node *node = &plan->diagram.nodes[index];

	if (node->dim >= plan->dim_count || node->edge_count < 2)
		return "dimension or edges";
	for (uint32_t i = 0; i < node->edge_count; i++) {
		const struct diagram_edge *edge = &node->edges[i];

		if (i && (edge->last <= edge[-1].last || edge->to == edge[-1].to))
			return "edges do not ascend or lead to the same";
		if (edge->to & DIAGRAM_LEAF) {
			if ((edge->to & ~DIAGRAM_LEAF) >= plan->answer_count)
				return "answer";
		} else if (edge->to >= index || plan->diagram.nodes[edge->to].dim <= node->dim) {
			return "child";
		}
	}
	return node->edges[node->edge_count - 1].last == plan->dims[node->dim].max ? NULL : "last edge";
}

static const char *broken_plan(const struct plan *plan)
{
	size_t edges = 0;

	for (size_t i = 0; i < plan->diagram.node_count; i++) {
		const char *broken = broken_node(plan, i);

		if (broken)
			return broken;
		edges += plan->diagram.nodes[i].edge_count;
	}
	if (edges != plan->diagram.edge_count)
		return "edge count";
	for (size_t i = 0; i < plan->item_count; i++) {
		const struct list_item *item = &plan->items[i];

		if (item->answers ? item->answer >= plan->answer_count : item->target <= i ||
									 item->target >= plan->item_count)
			return "item";
		if (item->test && (item->test->kind == TEST_AND || item->test->kind == TEST_OR) &&
		    !item->test->list.count)
			return "empty test";
	}
	if (plan->item_count && (plan->items[plan->item_count - 1].test || !plan->items[plan->item_count - 1].answers))
		return "end of the list";
	return NULL;
}

static int random_plan(void *context)
{
	struct call *call = context;
	struct ruleset *copy;

	call->ruleset = policies_random(arena, call->options.diagram_budget, call->hook, NULL);
	copy = arena_copy(arena, call->ruleset, sizeof *copy);
	copy->classifier = call->options.diagram_budget % 3 ? CLASSIFIER_AUTO : CLASSIFIER_LIST;
	call->ruleset = copy;
	call->options.diagram_budget = 0;
	return build(call);
}

static void plans_keep_their_promises(void **state)
{
	(void)state;
	for (size_t seed = 1; seed < 200; seed++) {
		struct call call = { .hook = (enum hook)(seed % HOOK_COUNT), .options.diagram_budget = seed };
		const char *broken;

		assert_int_equal(arena_run(arena, random_plan, &call), 0);
		broken = broken_plan(call.plan);
		if (broken)
			fail_msg("seed %zu: %s", seed, broken);
	}
}

static void the_same_policy_prints_the_same(void **state)
{
	(void)state;
	for (size_t seed = 1; seed < 30; seed++) {
		struct call first = { .hook = HOOK_XDP, .options.diagram_budget = seed };
		struct call second = first;

		assert_int_equal(arena_run(arena, random_plan, &first), 0);
		assert_int_equal(arena_run(arena, random_plan, &second), 0);
		assert_string_equal(printed(first.plan), printed(second.plan));
	}
}

static void memory_may_run_out(void **state)
{
	struct call call = { .ruleset = ir_text_parse(arena, scattered), .hook = HOOK_XDP };
	int error = -ENOMEM;
	long nth = 0;

	(void)state;
	for (; error == -ENOMEM; nth++) {
		arena_fail_at(arena, nth);
		error = arena_run(arena, build, &call);
	}
	arena_fail_at(arena, -1);
	assert_int_equal(error, 0);
	assert_true(nth > 50);
}

/* --- warnings ------------------------------------------------------------------------------------------- */

static const char *only_warning(const char *text)
{
	const struct diags *diags = warnings(text);

	assert_int_equal(diags->errors, 0);
	assert_int_equal(diags->list.count, 1);
	return diags->list.items[0].text;
}

static void hidden_rules_are_named(void **state)
{
	(void)state;
	assert_string_equal(only_warning(XDP("rule 1 drop if proto = 6 rule 2 accept if all(proto = 6, dst_port = 80)")),
			    "rule can never match: an earlier rule takes every packet it asks for");
	assert_string_equal(only_warning(XDP("rule 1 drop if dst_port in {0-99} rule 2 drop if dst_port in {100-200} "
					     "rule 3 log \"x\" if dst_port in {50-150}")),
			    "rule can never match: rules 1 and 2 together take every packet it asks for");
	assert_string_equal(only_warning(XDP("rule 1 drop if dst_port in {0-60} rule 2 drop if ttl = 1 "
					     "rule 3 drop if dst_port in {61-99} rule 4 drop if dst_port in {100-120} "
					     "rule 5 drop if dst_port in {121-200} rule 6 drop if dst_port in {50-150}")),
			    "rule can never match: rules 1, 3 and 2 more together take every packet it asks for");
	assert_string_equal(only_warning(XDP("rule 1 link drop if eth.type in {0-0x7ff} rule 2 drop if family = 4 "
					     "rule 3 drop if family = 6 rule 4 drop")),
			    "rule can never match: rules 2 and 3 together take every packet it asks for");
	assert_string_equal(only_warning(XDP("rule 1 accept if all(proto = 6, proto = 17)")),
			    "no packet can satisfy this condition");
	assert_string_equal(only_warning(XDP("rule 1 accept if all(proto = 1, dst_port = 17)")),
			    "no packet can satisfy this condition");
	assert_string_equal(only_warning(XDP("rule 1 drop if tcp.flags & 0x2 = 0x2 "
					     "rule 2 accept if tcp.flags & 0x12 = 0x2")),
			    "rule can never match: an earlier rule takes every packet it asks for");
}

static void what_can_match_is_not_warned_about(void **state)
{
	(void)state;
	assert_int_equal(warnings(XDP("rule 1 log \"x\" rule 2 accept if proto = 6 rule 3 drop"))->list.count, 0);
	assert_int_equal(warnings(XDP("rule 1 drop rule 2 link accept if eth.type = 0x806"))->list.count, 0);
	/* Hidden at one hook, met at the other. */
	assert_int_equal(warnings("policy \"p\" { attach tc-egress \"lo\" attach tc-ingress \"lo\" default drop "
				  "chain \"main\" { rule 1 accept if direction = 0 rule 2 accept if direction = 1 "
				  "rule 3 drop if all(direction = 0, proto = 6) } }")->list.count, 1);
}

static void chains_are_looked_into(void **state)
{
	(void)state;
	assert_string_equal(only_warning("policy \"p\" { attach xdp \"lo\" default drop "
					 "chain \"main\" { rule 1 jump \"c\" if proto = 6 } "
					 "chain \"c\" { rule 2 accept if proto = 17 rule 3 drop } }"),
			    "rule can never match: no packet that it may judge reaches it");
	assert_string_equal(only_warning("policy \"p\" { attach xdp \"lo\" default drop "
					 "chain \"main\" { rule 1 jump \"c\" if proto = 6 rule 2 drop if dst_port = 80 "
					 "rule 3 accept if all(dst_port = 80, proto = 6) } "
					 "chain \"c\" { rule 4 accept if src_port = 17 } }"),
			    "rule can never match: an earlier rule takes every packet it asks for");
	assert_string_equal(only_warning("policy \"p\" { attach xdp \"lo\" default drop "
					 "chain \"main\" { rule 1 jump \"c\" if proto = 6 rule 2 drop if proto in {0-5} "
					 "rule 3 accept if proto in {4-6} } "
					 "chain \"c\" { rule 4 accept } }"),
			    "rule can never match: rules 1 and 2 together take every packet it asks for");
}

/* --- size ----------------------------------------------------------------------------------------------- */

/* What so many rules in one chain become, each of which accepts by two conditions. */
static int build_pairs(struct call *call, uint32_t count, enum classifier classifier,
		       void (*fill)(uint32_t i, const struct cond *ret_pair[2]))
{
	static const struct action accept = { .kind = ACTION_VERDICT, .verdict = VERDICT_ACCEPT };
	static const struct span nowhere;
	struct rule *rules = ARENA_ARRAY(arena, struct rule, count);
	struct chain *chain = ARENA_NEW(arena, struct chain);
	struct ruleset *ruleset = ARENA_NEW(arena, struct ruleset);

	for (uint32_t i = 0; i < count; i++) {
		const struct cond *pair[2];

		fill(i, pair);
		rules[i] = (struct rule){ .number = i + 1, .actions = &accept, .action_count = 1,
					  .cond = cond_pair(arena, COND_AND, pair[0], pair[1], nowhere) };
	}
	*chain = (struct chain){ .name = "main", .rules = rules, .rule_count = count };
	*ruleset = (struct ruleset){ .name = "p", .chains = chain, .chain_count = 1, .rule_count = count,
				     .classifier = classifier };
	call->ruleset = ruleset;
	return build(call);
}

enum { NESTED = 600, NESTED_MIDDLE = 32768 };

/* Ranges of both ports, each within the one behind it. */
static void nested_range(uint32_t i, const struct cond *ret_pair[2])
{
	const struct span nowhere = { 0 };
	const uint32_t lo = NESTED_MIDDLE - 1 - i, hi = NESTED_MIDDLE + 1 + i;

	ret_pair[0] = cond_match(arena, FIELD_SRC_PORT, lo, hi, nowhere);
	ret_pair[1] = cond_match(arena, FIELD_DST_PORT, lo, hi, nowhere);
}

static int nested_ranges(void *context)
{
	return build_pairs(context, NESTED, CLASSIFIER_TABLE, nested_range);
}

static void ranges_that_overlap_are_bisected(void **state)
{
	struct call call = { .hook = HOOK_XDP };

	(void)state;
	assert_int_equal(arena_run(arena, nested_ranges, &call), 0);
	assert_true(call.plan->table.bisects);
	assert_true(call.plan->table.records < 64); /* half of all rules otherwise */
	for (uint32_t from = 0; from <= NESTED + 1; from += 7)
		for (uint32_t to = 0; to <= NESTED + 1; to += 11) {
			struct packet packet = tcp_packet(0x0a000001, (uint16_t)(NESTED_MIDDLE + to));
			uint32_t outer = from > to ? from : to, rule = outer ? outer : 1;

			packet.src_port = NESTED_MIDDLE - from;
			assert_int_equal(answer(call.plan, packet), rule > NESTED ? ANSWER(ANSWER_DROP, SLOT_DEFAULT) :
										    ANSWER(ANSWER_ACCEPT, SLOT_RULE(rule)));
		}
}

/* An address and a port, which look like chance. */
static void exact_rule(uint32_t i, const struct cond *ret_pair[2])
{
	const struct span nowhere = { 0 };
	const uint32_t random = (i + 1) * 2654435761u;

	ret_pair[0] = cond_match(arena, FIELD_IP_SRC, random, random, nowhere);
	ret_pair[1] = cond_match(arena, FIELD_DST_PORT, random >> 16, random >> 16, nowhere);
}

static int many_exact_rules(void *context)
{
	return build_pairs(context, 10000, CLASSIFIER_DIAGRAM, exact_rule);
}

static void ten_thousand_rules_fit(void **state)
{
	struct call call = { .hook = HOOK_XDP };
	struct timespec begin, end;
	double ms;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(arena_run(arena, many_exact_rules, &call), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ms = (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
	print_message("# 10,000 rules: %zu edges, %.0f ms, %zu bytes\n", call.plan->diagram.edge_count, ms,
		      arena_used(arena));
	assert_int_equal(call.plan->kind, PLAN_DIAGRAM);
	assert_true(ms < 5000); /* unsanitized, about 60 */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_port_is_two_comparisons),
		TEST(without_frames_no_family_is_asked),
		TEST(what_a_protocol_lacks_is_not_tested),
		TEST(link_rules_judge_frames),
		TEST(other_frames_may_pass),
		TEST(matched_rules_become_steps),
		TEST(chains_return),
		TEST(over_budget_becomes_a_table),
		TEST(a_list_resumes),
		TEST(what_was_asked_for_is_refused),
		TEST(exploding_chains_are_refused),
		TEST(named_sets_have_their_maps),
		TEST(many_constants_become_a_hash),
		TEST(ranges_become_prefixes),
		TEST(masks_do_not_let_absent_fields_in),
		TEST(wide_ranges_are_exact),
		TEST(plans_keep_their_promises),
		TEST(the_same_policy_prints_the_same),
		TEST(memory_may_run_out),
		TEST(hidden_rules_are_named),
		TEST(what_can_match_is_not_warned_about),
		TEST(chains_are_looked_into),
		TEST(ranges_that_overlap_are_bisected), TEST(ten_thousand_rules_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
