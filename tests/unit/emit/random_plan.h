/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random plans made by hand, packets that meet their boundaries, and a plain evaluator to compare with. Nothing
 * here comes from plan/: the emitter is tested alone.
 */
#ifndef WEIR_TESTS_RANDOM_PLAN_H
#define WEIR_TESTS_RANDOM_PLAN_H

#include <stddef.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/lib/random.h"

#define MEMBER_AT(member) offsetof(struct packet, member), sizeof(((struct packet *)0)->member)

enum { SETS = 7, ANSWERS = 40, RULES = 20, SET_DIMS = 9 };

/* In the order of a diagram: some of every kind of load and lookup. */
static const struct dim all_dims[] = {
	{ DIM_VALUE, FIELD_FAMILY, MEMBER_AT(family), ~0ull, 6, 0, "family" },
	{ DIM_VALUE, FIELD_PROTO, MEMBER_AT(proto), ~0ull, 256, 0, "proto" },
	{ DIM_VALUE, FIELD_DST_PORT, MEMBER_AT(dst_port), ~0ull, 0x10000, 0, "dst_port" },
	{ DIM_VALUE, FIELD_IP_SRC, MEMBER_AT(src4), ~0ull, UINT32_MAX, 0, "ip.src" },
	{ DIM_VALUE, FIELD_IPV6_SRC, MEMBER_AT(src_hi), ~0ull, UINT64_MAX, 0, "ipv6.src.hi" },
	{ DIM_VALUE, FIELD_IPV6_DST, MEMBER_AT(dst_lo), ~0ull, UINT64_MAX, 0, "ipv6.dst.lo" },
	{ DIM_VALUE, FIELD_ETH_SRC, MEMBER_AT(eth_src), ~0ull, UINT64_MAX, 0, "eth.src" },
	{ DIM_VALUE, FIELD_MARK, MEMBER_AT(mark), 0xf0ff00ff, 0xf0ff00ff, 0, "mark & 0xf0ff00ff" },
	{ DIM_VALUE, FIELD_MARK, MEMBER_AT(mark), 0x100, 0x100, 0, "mark & 0x100" },
	{ DIM_VALUE, FIELD_ETH_DST, MEMBER_AT(eth_dst), 0x010000000000, 0x010000000000, 0, "eth.dst & multicast" },
	{ DIM_VALUE, FIELD_IPV6_DST, MEMBER_AT(dst_hi), 0xffffffff80000000, 0xffffffff80000000, 0, "ipv6.dst.hi & m" },
	{ DIM_VALUE, FIELD_CGROUP_0, MEMBER_AT(cgroup[0]), 0xff, 0xff, 0, "cgroup.0 & 0xff" },
	{ DIM_VALUE, FIELD_TTL, MEMBER_AT(ttl), ~0ull, 255, 0, "ttl" },
	{ DIM_SET, FIELD_IP_SRC, MEMBER_AT(src4), ~0ull, 1, 0, "ip.src in a" },
	{ DIM_SET, FIELD_IP_DST, MEMBER_AT(dst4), ~0ull, 1, 1, "ip.dst in b" },
	{ DIM_SET, FIELD_IPV6_SRC, offsetof(struct packet, src_hi), 16, ~0ull, 1, 2, "ipv6.src in c" },
	{ DIM_SET, FIELD_IPV6_DST, offsetof(struct packet, dst_hi), 16, ~0ull, 1, 3, "ipv6.dst in d" },
	{ DIM_SET, FIELD_DST_PORT, MEMBER_AT(dst_port), ~0ull, 1, 4, "dst_port in e" },
	{ DIM_SET, FIELD_ETH_SRC, MEMBER_AT(eth_src), ~0ull, 1, 5, "eth.src in f" },
	{ DIM_SET, FIELD_PROTO, MEMBER_AT(proto), ~0ull, 1, 4, "proto in e" },
	{ DIM_SET, FIELD_USER, MEMBER_AT(user), ~0ull, 1, 6, "user in g" },
	{ DIM_SET, FIELD_TTL, MEMBER_AT(ttl), ~0ull, 1, 4, "ttl in e" },
};

enum { DIMS = sizeof all_dims / sizeof all_dims[0] };

static const struct range ranges_a[] = { { 0x0a000001, 0x0a000001 }, { 0xc0a80000, 0xc0a800ff } };
static const struct range ranges_b[] = { { 0x0a000000, 0x0affffff }, { 0xc0a80100, 0xc0a801ff } };
static struct range ranges_c[1], ranges_d[2];
static const struct range ranges_e[] = { { 6, 6 }, { 17, 17 }, { 80, 90 }, { 443, 443 }, { 65535, 65535 } };
static const struct range ranges_f[] = { { 0x020000000001, 0x020000000009 } };
static const struct range ranges_g[] = { { 0, 0 }, { 1000, 1005 } };

#define ELEMENTS(array) (array), sizeof(array) / sizeof(array)[0]

/* The sets that all_dims refers to. */
static inline struct plan_set *random_plan_sets(struct arena *arena)
{
	const struct plan_set sets[SETS] = {
		{ "set_0_4", 0, KEY_IPV4, false, 300, ELEMENTS(ranges_a) },
		{ "set_1_4", 1, KEY_IPV4, true, 300, ELEMENTS(ranges_b) },
		{ "set_0_6", 0, KEY_IPV6, false, 300, ELEMENTS(ranges_c) },
		{ "set_1_6", 1, KEY_IPV6, true, 300, ELEMENTS(ranges_d) },
		{ "inline_0", -1, KEY_VALUE, false, 300, ELEMENTS(ranges_e) },
		{ "inline_1", -1, KEY_VALUE, false, 300, ELEMENTS(ranges_f) },
		{ "inline_2", -1, KEY_VALUE, false, 300, ELEMENTS(ranges_g) },
	};

	ranges_c[0] = (struct range){ u128_make(0x20010db800000000, 1), u128_make(0x20010db800000000, 4) };
	ranges_d[0] = (struct range){ u128_make(0x20010db800000000, 0), u128_make(0x20010db8ffffffff, UINT64_MAX) };
	ranges_d[1] = (struct range){ u128_make(0xfe80000000000000, 0), u128_make(0xfe80000000000000, UINT64_MAX) };
	return arena_copy(arena, sets, sizeof sets);
}

static inline bool in_ranges(const struct plan_set *set, u128 value)
{
	for (size_t i = 0; i < set->count; i++)
		if (value >= set->elements[i].lo && value <= set->elements[i].hi)
			return true;
	return false;
}

/* --- evaluation -------------------------------------------------------------------------------- */

static inline uint64_t member_of(const struct packet *packet, unsigned offset, unsigned size)
{
	const unsigned char *at = (const unsigned char *)packet + offset;
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++) /* little endian, as the machines that run these tests are */
		value |= (uint64_t)at[i] << 8 * i;
	return value;
}

static inline uint64_t dim_of(const struct plan *plan, uint32_t number, const struct packet *packet)
{
	const struct dim *dim = &plan->dims[number];

	if (dim->kind == DIM_VALUE)
		return member_of(packet, dim->offset, dim->size) & dim->mask;
	if (dim->size == 16)
		return in_ranges(&plan->sets[dim->set], u128_make(member_of(packet, dim->offset, 8),
								  member_of(packet, dim->offset + 8u, 8)));
	return in_ranges(&plan->sets[dim->set], member_of(packet, dim->offset, dim->size));
}

static inline uint32_t evaluate_diagram(const struct plan *plan, const struct packet *packet)
{
	diagram_ref ref = plan->diagram.root;

	while (!(ref & DIAGRAM_LEAF)) {
		const struct diagram_node *node = &plan->diagram.nodes[ref];
		uint64_t value = dim_of(plan, node->dim, packet);
		uint32_t edge = 0;

		while (edge + 1 < node->edge_count && value > node->edges[edge].last)
			edge++;
		ref = node->edges[edge].to;
	}
	return plan->answers[ref & ~DIAGRAM_LEAF];
}

static inline bool holds(const struct plan *plan, const struct test *test, const struct packet *packet)
{
	uint64_t value;

	switch (test->kind) {
	case TEST_AND:
	case TEST_OR:
		for (size_t i = 0; i < test->list.count; i++)
			if (holds(plan, test->list.items[i], packet) == (test->kind == TEST_OR))
				return test->kind == TEST_OR;
		return test->kind == TEST_AND;
	case TEST_NOT:
		return !holds(plan, test->inner, packet);
	default:
		value = dim_of(plan, test->in.dim, packet);
		for (size_t i = 0; i < test->in.count; i++)
			if (value >= test->in.intervals[i].lo && value <= test->in.intervals[i].hi)
				return true;
		return false;
	}
}

static inline uint32_t evaluate_list(const struct plan *plan, const struct packet *packet)
{
	uint32_t at = 0;

	for (uint32_t i = 0; packet->resume && i < plan->item_count; i++)
		if (plan->items[i].resume == packet->resume)
			at = i;
	for (;;) {
		const struct list_item *item = &plan->items[at];

		if (item->test && !holds(plan, item->test, packet))
			at++;
		else if (item->answers)
			return plan->answers[item->answer];
		else
			at = item->target;
	}
}

static inline uint32_t evaluate(const struct plan *plan, const struct packet *packet)
{
	return plan->kind == PLAN_DIAGRAM ? evaluate_diagram(plan, packet) : evaluate_list(plan, packet);
}

/* The maps' side of ebpf_sim: `context` is the plan. */
static inline bool lookup(void *context, uint32_t number, const void *key)
{
	const struct plan *plan = context;
	const struct plan_set *set = &plan->sets[number];
	const unsigned char *octets = key;
	u128 value = 0;
	uint64_t parts[2];
	uint32_t v4;

	if (set->lpm) {
		unsigned size = set->key == KEY_IPV4 ? 4 : 16;

		if (member_of((const void *)key, 0, 4) != size * 8)
			return false;
		for (unsigned i = 0; i < size; i++)
			value = value << 8 | octets[4 + i];
	} else if (set->key == KEY_IPV4) {
		memcpy(&v4, key, sizeof v4);
		value = v4;
	} else if (set->key == KEY_IPV6) {
		memcpy(parts, key, sizeof parts);
		value = u128_make(parts[0], parts[1]);
	} else {
		memcpy(parts, key, sizeof parts[0]);
		value = parts[0];
	}
	return in_ranges(set, value);
}

/* --- plans ------------------------------------------------------------------------------------- */

struct random_plan {
	struct arena *arena;
	struct random random;
	struct plan *plan;
	uint64_t pool[256]; /* boundaries, for packets */
	uint32_t pool_count;
};

static inline void pool_add(struct random_plan *self, uint64_t value)
{
	if (self->pool_count < 256)
		self->pool[self->pool_count++] = value;
	else
		self->pool[random_below(&self->random, 256)] = value;
}

static const char policy_text[] = "policy test {\n\taccept if tcp\n\tdrop if udp\n}\n";
static const struct source policy_source = { "test.weir", policy_text, sizeof policy_text - 1 };

static inline const struct ruleset *random_plan_ruleset(struct arena *arena)
{
	struct rule *rules = ARENA_ARRAY(arena, struct rule, RULES);
	struct chain *chain = ARENA_NEW(arena, struct chain);
	struct ruleset *ruleset = ARENA_NEW(arena, struct ruleset);

	for (uint32_t i = 0; i < RULES; i++)
		rules[i] = (struct rule){ .number = i + 1,
					  .span = { i % 3 ? &policy_source : NULL, i % 2 ? 15 : 30, 13 } };
	*chain = (struct chain){ .name = "main", .rules = rules, .rule_count = RULES };
	*ruleset = (struct ruleset){ .name = "test", .span = { &policy_source, 0, 13 }, .chains = chain,
				     .chain_count = 1, .rule_count = RULES };
	return ruleset;
}

static inline void random_plan_begin(struct random_plan *self, struct arena *arena, uint64_t seed,
				     enum plan_kind kind)
{
	uint32_t *answers = ARENA_ARRAY(arena, uint32_t, ANSWERS);
	uint32_t *rules = ARENA_ARRAY(arena, uint32_t, ANSWERS);

	*self = (struct random_plan){ .arena = arena, .random = random_seed(seed),
				      .plan = ARENA_NEW(arena, struct plan) };
	for (uint32_t i = 0; i < ANSWERS; i++) {
		answers[i] = i % 5 ? ANSWER(i % 3, i) : ANSWER_RUN(i);
		rules[i] = i % 4 ? i % (RULES + 1) : 0;
	}
	*self->plan = (struct plan){
		.kind = kind, .hook = HOOK_XDP, .ruleset = random_plan_ruleset(arena), .dims = all_dims,
		.dim_count = DIMS, .sets = random_plan_sets(arena), .set_count = SETS, .answers = answers,
		.answer_count = ANSWERS, .answer_rules = rules,
	};
}

/* Of any size up to the dimension's width, often small or near its ends. */
static inline uint64_t random_value(struct random_plan *self, uint64_t max)
{
	uint64_t value = random_next(&self->random) >> random_below(&self->random, 64);

	if (random_once_in(&self->random, 3) && self->pool_count)
		value = self->pool[random_below(&self->random, self->pool_count)] +
			random_below(&self->random, 3) - 1;
	if (random_once_in(&self->random, 10))
		value = max - random_below(&self->random, 3);
	return value > max ? max ? value % max : 0 : value;
}

/* One of the nodes made so far that look at later dimensions, or a leaf. */
static inline diagram_ref random_target(struct random_plan *self, uint32_t nodes, const struct diagram_node *all,
					uint32_t dim)
{
	uint32_t window = nodes < 2000 ? nodes : 2000;

	for (int tries = 0; nodes && tries < 8; tries++) {
		uint32_t node = nodes - 1 - random_below(&self->random, window);

		if (all[node].dim > dim)
			return node;
	}
	return DIAGRAM_LEAF | random_below(&self->random, ANSWERS);
}

/* Fills edges that ascend to the dimension's max and lead to different neighbours; at least two. */
static inline uint32_t random_edges(struct random_plan *self, uint32_t nodes, const struct diagram_node *all,
				    uint32_t dim, uint32_t wanted, struct diagram_edge *edges)
{
	uint64_t max = all_dims[dim].max, last = UINT64_MAX;
	bool scattered = random_once_in(&self->random, 2), masked = all_dims[dim].mask != UINT64_MAX;
	uint32_t count = 0;

	if (masked) /* the kernel takes long to remove branches on values that the mask makes impossible */
		wanted = 2;
	while (count + 1 < wanted && last + 1 < max) {
		uint64_t room = max - last - 1;
		uint64_t step = random_once_in(&self->random, 2) ? 0 : random_next(&self->random) % (room / wanted + 1);
		diagram_ref to = random_target(self, nodes, all, dim);

		if (scattered && count % 2 == 0)
			to = DIAGRAM_LEAF;
		if (count && edges[count - 1].to == to)
			to = DIAGRAM_LEAF | (ANSWERS - 1 - (edges[count - 1].to == (DIAGRAM_LEAF | (ANSWERS - 1))));
		last += 1 + step;
		if (masked)
			last &= all_dims[dim].mask;
		pool_add(self, last);
		edges[count++] = (struct diagram_edge){ last, to };
	}
	edges[count] = (struct diagram_edge){ max, random_target(self, nodes, all, dim) };
	if (edges[count].to == edges[count - 1].to)
		edges[count].to = edges[count - 1].to == (DIAGRAM_LEAF | 1) ? DIAGRAM_LEAF | 2 : DIAGRAM_LEAF | 1;
	return count + 1;
}

static inline void mark_node(const struct diagram_node *nodes, uint32_t count, bool *used)
{
	for (uint32_t n = count; n-- > 0;)
		for (uint32_t e = 0; used[n] && e < nodes[n].edge_count; e++)
			if (!(nodes[n].edges[e].to & DIAGRAM_LEAF))
				used[nodes[n].edges[e].to] = true;
}

/* Drops nodes that the root, the last one, does not reach. */
static inline void finish_diagram(struct random_plan *self, struct diagram_node *nodes, uint32_t count)
{
	bool *used = ARENA_ARRAY(self->arena, bool, count);
	uint32_t *number = ARENA_ARRAY(self->arena, uint32_t, count);
	uint32_t kept = 0;
	size_t edges = 0;

	used[count - 1] = true;
	mark_node(nodes, count, used);
	for (uint32_t n = 0; n < count; n++) {
		struct diagram_edge *list = (struct diagram_edge *)nodes[n].edges;

		if (!used[n])
			continue;
		for (uint32_t e = 0; e < nodes[n].edge_count; e++)
			if (!(list[e].to & DIAGRAM_LEAF))
				list[e].to = number[list[e].to];
		edges += nodes[n].edge_count;
		number[n] = kept;
		nodes[kept++] = nodes[n];
	}
	self->plan->diagram = (struct diagram){ nodes, kept, kept - 1, edges };
}

/* A diagram with about `size` nodes, one of them with `fan` edges if not 0. */
static inline void random_diagram(struct random_plan *self, struct arena *arena, uint64_t seed, uint32_t size,
				  uint32_t fan)
{
	struct diagram_node *nodes = ARENA_ARRAY(arena, struct diagram_node, size);

	random_plan_begin(self, arena, seed, PLAN_DIAGRAM);
	for (uint32_t n = 0; n < size; n++) {
		uint32_t dim = DIMS - 1 - (uint32_t)((uint64_t)n * DIMS / size);
		uint32_t wanted = 2 + random_below(&self->random, random_once_in(&self->random, 4) ? 40 : 6);
		struct diagram_edge *edges;

		if (fan && n + 1 == size) {
			dim = 2; /* dst_port */
			wanted = fan;
		}
		edges = ARENA_ARRAY(arena, struct diagram_edge, (size_t)wanted + 1);
		nodes[n] = (struct diagram_node){ dim, 0, edges };
		nodes[n].edge_count = random_edges(self, n, nodes, dim, wanted, edges);
	}
	finish_diagram(self, nodes, size);
}

static inline const struct test *random_test(struct random_plan *self, unsigned depth);

static inline struct test *random_in(struct random_plan *self)
{
	struct test *test = ARENA_NEW(self->arena, struct test);
	uint32_t dim = random_below(&self->random, DIMS), wanted = 1 + random_below(&self->random, 5);
	uint64_t max = all_dims[dim].max, next = 0;
	struct interval *intervals = ARENA_ARRAY(self->arena, struct interval, wanted);
	uint32_t count = 0;

	while (count < wanted && next < max) {
		uint64_t lo = next + random_next(&self->random) % (max - next) / (1 + random_below(&self->random, 1000));
		uint64_t hi = lo + (random_once_in(&self->random, 2) ? 0 : random_next(&self->random) % (max - lo + 1) / 2);

		pool_add(self, lo);
		pool_add(self, hi);
		intervals[count++] = (struct interval){ lo, hi };
		if (hi >= max - 1)
			break;
		next = hi + 2;
	}
	if (!count)
		intervals[count++] = (struct interval){ 0, 0 };
	if (all_dims[dim].kind == DIM_SET) {
		intervals[0] = (struct interval){ 1, 1 };
		count = 1;
	} else if (all_dims[dim].mask != UINT64_MAX) {
		/* A value that the mask leaves possible: the kernel takes long to remove what it sees cannot be. */
		intervals[0].lo = intervals[0].hi = intervals[0].lo & all_dims[dim].mask;
		count = 1;
	}
	test->kind = TEST_IN;
	test->in.dim = dim;
	test->in.intervals = intervals;
	test->in.count = count;
	return test;
}

static inline const struct test *random_test(struct random_plan *self, unsigned depth)
{
	struct test *test = ARENA_NEW(self->arena, struct test);
	const struct test **items;
	uint32_t kind = random_below(&self->random, depth ? 6 : 1);

	if (kind < 3)
		return random_in(self);
	if (kind == 3) {
		test->kind = TEST_NOT;
		test->inner = random_test(self, depth - 1);
		return test;
	}
	test->kind = kind == 4 ? TEST_AND : TEST_OR;
	test->list.count = 1 + random_below(&self->random, 4);
	items = ARENA_ARRAY(self->arena, const struct test *, test->list.count);
	for (size_t i = 0; i < test->list.count; i++)
		items[i] = random_test(self, depth - 1);
	test->list.items = items;
	return test;
}

/* A list of `size` items whose tests nest at most `depth` deep. */
static inline void random_list(struct random_plan *self, struct arena *arena, uint64_t seed, uint32_t size,
			       unsigned depth)
{
	struct list_item *items = ARENA_ARRAY(arena, struct list_item, size);
	uint32_t resume = 0;

	random_plan_begin(self, arena, seed, PLAN_LIST);
	for (uint32_t i = 0; i < size; i++) {
		bool last = i + 1 == size;

		items[i].test = last || random_once_in(&self->random, 50) ? NULL : random_test(self, depth);
		items[i].answers = last || !random_once_in(&self->random, 4);
		items[i].answer = random_below(&self->random, ANSWERS);
		items[i].target = last ? 0 : i + 1 + random_below(&self->random, size - i - 1 < 30 ? size - i - 1 : 30);
		items[i].resume = i && random_once_in(&self->random, 10) ? ++resume : 0;
		items[i].rule = i % (RULES + 1);
	}
	self->plan->items = items;
	self->plan->item_count = size;
}

/* --- packets ----------------------------------------------------------------------------------- */

static inline void set_member(struct packet *packet, const struct dim *dim, uint64_t value)
{
	for (unsigned i = 0; i < dim->size && i < 8; i++)
		((unsigned char *)packet)[dim->offset + i] = (unsigned char)(value >> 8 * i);
}

/* Values beside the plan's boundaries, some in the sets. */
static inline void random_packet(struct random_plan *self, struct packet *packet)
{
	static const uint64_t known[] = { 0x0a000001, 0x0a000002, 0xc0a80003, 0xc0a80101, 6, 17, 80, 443, 1000,
					  0x020000000001 };

	memset(packet, 0, sizeof *packet);
	for (uint32_t i = 0; i < DIMS; i++)
		if (all_dims[i].kind == DIM_VALUE || random_once_in(&self->random, 2))
			set_member(packet, &all_dims[i],
				   random_once_in(&self->random, 4) ? RANDOM_PICK(&self->random, known) :
				   random_value(self, all_dims[i].kind == DIM_VALUE ? all_dims[i].max : UINT32_MAX));
	if (random_once_in(&self->random, 4)) {
		packet->src_hi = packet->dst_hi = 0x20010db800000000;
		packet->src_lo = random_below(&self->random, 6);
	}
	for (size_t i = 0; self->plan->kind == PLAN_LIST && random_once_in(&self->random, 2) &&
	     i < self->plan->item_count; i++)
		if (self->plan->items[i].resume && random_once_in(&self->random, 5))
			packet->resume = self->plan->items[i].resume;
}

#endif
