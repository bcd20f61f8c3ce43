/* SPDX-License-Identifier: GPL-2.0-only */
/* Random policies: policies.h says what comes out. Sets first, then rules for each chain, jumps only to later chains. */
#include "tests/lib/policies.h"

#include <string.h>

#include "tests/lib/random.h"

enum { FIELDS_MAX = FIELD_COUNT, VALUES_MAX = 12 };

struct making {
	struct arena *arena;
	struct random random;
	enum hook hook;
	struct policy_options options;
	struct ruleset *ruleset;
	enum field fields[FIELDS_MAX]; /* that the hook sees */
	uint32_t field_count;
	uint32_t next_number;
	bool named; /* the condition being made names eth.type */
};

static const struct span nowhere;

/* --- values --------------------------------------------------------------------------------------------------- */

/* Values that mean something; others come at random. */
static const struct known {
	uint8_t count;
	uint64_t values[VALUES_MAX];
} known_values[FIELD_COUNT] = {
	[FIELD_FAMILY] = { 4, { 4, 6, 0, 1 } },
	[FIELD_ETH_TYPE] = { 8, { 0x0806, 0x0800, 0x86dd, 0x888e, 0x88cc, 0x8864, 0x8100, 0x0026 } },
	[FIELD_VLAN] = { 5, { 0, 1, 2, 100, 4095 } },
	[FIELD_ETH_SRC] = { 4, { 0x020000000001, 0xffffffffffff, 0x0180c2000000, 0 } },
	[FIELD_ETH_DST] = { 4, { 0x020000000002, 0xffffffffffff, 0x0180c2000000, 0 } },
	[FIELD_DIRECTION] = { 3, { 0, 1, 2 } },
	[FIELD_IN_IFACE] = { 3, { 1, 2, 3 } },
	[FIELD_OUT_IFACE] = { 3, { 1, 2, 3 } },
	[FIELD_PROTO] = { 9, { 6, 17, 1, 58, 132, 136, 0, 51, 255 } },
	[FIELD_ICMP_TYPE] = { 6, { 8, 0, 3, 128, 135, 255 } },
	[FIELD_ICMP_CODE] = { 4, { 0, 1, 4, 255 } },
	[FIELD_TCP_FLAGS] = { 6, { 0x02, 0x12, 0x10, 0x04, 0x00, 0xff } },
	[FIELD_FRAGMENT] = { 3, { 0, 1, 2 } },
	[FIELD_DST_PORT] = { 9, { 0, 22, 53, 80, 443, 8080, 0x7fff, 0x8000, 0xffff } },
	[FIELD_SRC_PORT] = { 7, { 0, 53, 67, 80, 0x7fff, 0x8000, 0xffff } },
	[FIELD_IP_DST] = { 5, { 0x0a000001, 0x7f000001, 0xc0a80101, 0, 0xffffffff } },
	[FIELD_IP_SRC] = { 5, { 0x0a000001, 0x7f000001, 0xc0a80101, 0, 0xffffffff } },
	[FIELD_TTL] = { 4, { 0, 1, 64, 255 } },
	[FIELD_DSCP] = { 3, { 0, 46, 63 } },
	[FIELD_ECN] = { 4, { 0, 1, 2, 3 } },
	[FIELD_LENGTH] = { 6, { 20, 40, 48, 60, 100, 1500 } },
	[FIELD_FLOW] = { 4, { FLOW_NEW, FLOW_ESTABLISHED, FLOW_RELATED, FLOW_INVALID } },
	[FIELD_MARK] = { 4, { 0, 1, 2, 0xffffffff } },
	[FIELD_KNOCKED] = { 6, { 0, 1, 2, 3, 4, 255 } },
	[FIELD_USER] = { 4, { 0, 1, 1000, 65534 } },
	[FIELD_GROUP] = { 3, { 0, 1, 1000 } },
	[FIELD_PROGRAM] = { 4, { 1, 2, 3, 17 } },
	[FIELD_CGROUP_0] = { 3, { 1, 2, 0xffffffffffffffff } },
	[FIELD_CGROUP_1] = { 3, { 1, 2, 3 } },
	[FIELD_CGROUP_2] = { 3, { 1, 2, 3 } },
};

/* Least and greatest value that a test may name. */
static u128 least(enum field field)
{
	const struct field_info *info = &field_table[field];

	return info->presence == PRESENT_VALUE && info->absent == 0 ? 1 : 0;
}

static u128 greatest(enum field field)
{
	u128 max = u128_max(field_table[field].bits);

	return field_table[field].presence == PRESENT_VALUE && field_table[field].absent == max ? max - 1 : max;
}

static u128 clamp(enum field field, u128 value)
{
	value &= u128_max(field_table[field].bits);
	if (value < least(field))
		return least(field);
	return value > greatest(field) ? greatest(field) : value;
}

static u128 above(enum field field, u128 value, uint32_t by)
{
	return by > greatest(field) - value ? greatest(field) : value + by;
}

static u128 some_value(struct making *making, enum field field)
{
	const struct known *known = &known_values[field];
	uint64_t hi;

	if (known->count && !random_once_in(&making->random, 4))
		return clamp(field, known->values[random_below(&making->random, known->count)]);
	hi = random_next(&making->random);
	if (field_table[field].bits == 128 && random_once_in(&making->random, 2))
		return u128_make(0xfd00000000000000, random_below(&making->random, 4));
	return clamp(field, u128_make(hi, random_next(&making->random)));
}

static struct range prefix_around(struct making *making, enum field field)
{
	unsigned host = random_below(&making->random, field_table[field].bits + 1u);
	u128 value = some_value(making, field) & ~u128_max(host);

	return (struct range){ clamp(field, value), clamp(field, value | u128_max(host)) };
}

static struct range some_range(struct making *making, enum field field)
{
	struct range range;

	range.lo = range.hi = some_value(making, field);
	switch (random_below(&making->random, 6)) {
	case 0:
		range.hi = some_value(making, field);
		break;
	case 1:
		range = prefix_around(making, field);
		break;
	case 2:
		range.hi = above(field, range.lo, random_below(&making->random, 5));
		break;
	case 3:
		range.lo = least(field);
		break;
	default:
		break;
	}
	if (range.lo > range.hi) {
		u128 lo = range.hi;

		range.hi = range.lo;
		range.lo = lo;
	}
	return range;
}

/* --- sets ----------------------------------------------------------------------------------------------------- */

/* Fields that a set of that type may be compared with, for values of either family. */
static const enum field set_fields[SET_TYPE_COUNT][4] = {
	[SET_ADDRESS] = { FIELD_IP_SRC, FIELD_IP_DST, FIELD_IPV6_SRC, FIELD_IPV6_DST },
	[SET_PREFIX] = { FIELD_IP_SRC, FIELD_IP_DST, FIELD_IPV6_SRC, FIELD_IPV6_DST },
	[SET_PORT] = { FIELD_SRC_PORT, FIELD_DST_PORT, FIELD_SRC_PORT, FIELD_DST_PORT },
	[SET_MAC] = { FIELD_ETH_SRC, FIELD_ETH_DST, FIELD_ETH_SRC, FIELD_ETH_DST },
	[SET_MARK] = { FIELD_MARK, FIELD_MARK, FIELD_MARK, FIELD_MARK },
	[SET_USER] = { FIELD_USER, FIELD_USER, FIELD_USER, FIELD_USER },
};

static bool visible(const struct making *making, enum field field)
{
	return field_table[field].hooks & HOOK_BIT(making->hook) &&
	       (field != FIELD_KNOCKED || making->options.knocks);
}

static struct range some_element(struct making *making, enum set_type type, enum field field)
{
	u128 value = some_value(making, field);

	if (type == SET_PREFIX)
		return prefix_around(making, field);
	if (type == SET_PORT && random_once_in(&making->random, 3))
		return (struct range){ value, above(field, value, random_below(&making->random, 9)) };
	return (struct range){ value, value };
}

static bool overlaps(const struct range *ranges, size_t count, struct range range)
{
	for (size_t i = 0; i < count; i++)
		if (range.lo <= ranges[i].hi && ranges[i].lo <= range.hi)
			return true;
	return false;
}

static const struct range *some_elements(struct making *making, enum set_type type, enum field field, size_t *ret_count)
{
	uint32_t wanted = random_below(&making->random, 9);
	struct range *ranges = ARENA_ARRAY(making->arena, struct range, wanted);
	size_t count = 0;

	for (uint32_t i = 0; i < wanted; i++) {
		struct range range = some_element(making, type, field);
		size_t at = count;

		if (overlaps(ranges, count, range))
			continue;
		for (; at && ranges[at - 1].lo > range.lo; at--)
			ranges[at] = ranges[at - 1];
		ranges[at] = range;
		count++;
	}
	*ret_count = count;
	return ranges;
}

static uint32_t some_timeout(struct making *making)
{
	static const uint32_t timeouts[] = { 0, 1, 100, 150, 400, 1000, 3000, UINT32_MAX };

	return RANDOM_PICK(&making->random, timeouts);
}

static const uint32_t *some_timeouts(struct making *making, size_t count)
{
	uint32_t *timeouts = ARENA_ARRAY(making->arena, uint32_t, count);

	for (size_t i = 0; i < count; i++)
		timeouts[i] = some_timeout(making);
	return timeouts;
}

static size_t entries(const struct set *set, const struct range *ranges, size_t count)
{
	size_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += set->type == SET_PREFIX ? 1 : (size_t)(ranges[i].hi - ranges[i].lo) + 1;
	return sum;
}

/* Elements come and go in it. */
static void make_memory(struct making *making, struct set *set)
{
	size_t four = entries(set, set->ranges, set->count), six = entries(set, set->ranges6, set->count6);

	set->max_elements = (uint32_t)(four > six ? four : six) + random_between(&making->random, 1, 4);
	set->timed = !random_once_in(&making->random, 4);
	if (!set->timed)
		return;
	set->timeout_ms = some_timeout(making);
	set->timeouts = some_timeouts(making, set->count);
	set->timeouts6 = some_timeouts(making, set->count6);
}

static void make_set(struct making *making, struct set *set, size_t index)
{
	do
		set->type = (enum set_type)random_below(&making->random, SET_TYPE_COUNT);
	while (!visible(making, set_fields[set->type][0]));
	set->name = arena_printf(making->arena, "set%zu", index);
	set->max_elements = 1024;
	set->shared = random_once_in(&making->random, 8);
	set->ranges = some_elements(making, set->type, set_fields[set->type][0], &set->count);
	if (set->type == SET_ADDRESS || set->type == SET_PREFIX)
		set->ranges6 = some_elements(making, set->type, FIELD_IPV6_SRC, &set->count6);
	if (making->options.memory)
		make_memory(making, set);
}

static void make_sets(struct making *making)
{
	uint32_t count = random_below(&making->random, making->options.sets + 1);
	struct set *sets = ARENA_ARRAY(making->arena, struct set, count);

	for (uint32_t i = 0; i < count; i++)
		make_set(making, &sets[i], i);
	making->ruleset->sets = sets;
	making->ruleset->set_count = count;
}

/* --- conditions ----------------------------------------------------------------------------------------------- */

/* Fields whose absent value is one of their own cannot be masked. */
static bool maskable(enum field field)
{
	const struct field_info *info = &field_table[field];

	return !info->owner && !(info->presence == PRESENT_VALUE && info->absent <= u128_max(info->bits));
}

static u128 some_mask(struct making *making, enum field field)
{
	unsigned bits = field_table[field].bits;
	u128 mask = u128_max(bits) & (u128)random_next(&making->random);

	if (random_once_in(&making->random, 2))
		mask = u128_max(bits) & ~u128_max(random_below(&making->random, bits));
	else if (random_once_in(&making->random, 2))
		mask = (u128)1 << random_below(&making->random, bits);
	return mask ? mask : u128_max(bits);
}

static const struct cond *masked_match(struct making *making, enum field field)
{
	u128 mask = some_mask(making, field);
	u128 lo = some_value(making, field) & mask;
	u128 hi = random_once_in(&making->random, 4) ? some_value(making, field) & mask : lo;
	struct cond *cond = cond_match(making->arena, field, lo < hi ? lo : hi, lo < hi ? hi : lo, nowhere);

	cond->match.mask = mask;
	return cond;
}

/* Fields that the plane can compare with a tunable: ruleset_check(). */
static bool comparable(enum field field)
{
	const struct field_info *info = &field_table[field];

	return info->size && info->bits <= 64 && !info->owner && field != FIELD_ETH_TYPE &&
	       (info->presence != PRESENT_VALUE || info->absent > u128_max(info->bits));
}

static uint32_t comparison_number(struct making *making, struct comparison wanted)
{
	struct comparison *items = (struct comparison *)making->ruleset->comparisons; /* ours, with room for all */
	size_t *count = &making->ruleset->comparison_count;

	for (size_t i = 0; i < *count; i++)
		if (items[i].field == wanted.field && items[i].relation == wanted.relation &&
		    items[i].tunable == wanted.tunable)
			return (uint32_t)i + 1;
	if (*count == COMPARISONS_MAX)
		return 0;
	items[(*count)++] = wanted;
	return (uint32_t)*count;
}

/* A comparison with a tunable, or NULL: the value does not fit the field, or none has the relation to it. */
static const struct cond *tuned_match(struct making *making, enum field field)
{
	const struct comparison comparison = {
		.field = field, .relation = (uint8_t)random_between(&making->random, 1, 6),
		.tunable = random_below(&making->random, (uint32_t)making->ruleset->tunable_count),
	};
	uint64_t value = making->ruleset->tunables[comparison.tunable].value;
	struct cond *cond;
	struct range ranges[2];
	size_t count;

	if (!comparable(field) || value > u128_max(field_table[field].bits))
		return NULL;
	count = comparison_ranges(&comparison, value, ranges);
	if (!count)
		return NULL;
	cond = cond_match_ranges(making->arena, field, ranges, count, nowhere);
	cond->match.comparison = comparison_number(making, comparison);
	return cond;
}

static void make_tunables(struct making *making)
{
	static const uint64_t values[] = { 0, 1, 6, 17, 53, 60, 64, 80, 100, 443, 1500, 0xffff, 0x0a000001 };
	uint32_t count = random_below(&making->random, making->options.tunables + 1);
	struct tunable *tunables = ARENA_ARRAY(making->arena, struct tunable, count);

	for (uint32_t i = 0; i < count; i++)
		tunables[i] = (struct tunable){ arena_printf(making->arena, "tunable%u", i),
						RANDOM_PICK(&making->random, values), random_once_in(&making->random, 2) };
	making->ruleset->tunables = tunables;
	making->ruleset->tunable_count = count;
	making->ruleset->comparisons = ARENA_ARRAY(making->arena, struct comparison, COMPARISONS_MAX);
}

static enum field some_field(struct making *making)
{
	static const enum field common[] = { FIELD_PROTO, FIELD_DST_PORT, FIELD_SRC_PORT, FIELD_IP_SRC, FIELD_IP_DST,
					     FIELD_IPV6_SRC, FIELD_IPV6_DST, FIELD_FAMILY };

	if (random_once_in(&making->random, 2))
		return RANDOM_PICK(&making->random, common);
	if (making->ruleset->knock_count && random_once_in(&making->random, 3))
		return FIELD_KNOCKED;
	return making->fields[random_below(&making->random, making->field_count)];
}

static const struct cond *match(struct making *making, enum field field)
{
	struct range ranges[4];
	uint32_t count = random_once_in(&making->random, 4) ? random_between(&making->random, 1, 4) : 1;
	const struct cond *tuned = making->ruleset->tunable_count && random_once_in(&making->random, 3) ?
					   tuned_match(making, field) : NULL;

	if (tuned)
		return tuned;
	if (field == FIELD_ETH_TYPE)
		making->named = true;
	if (!making->options.simple && maskable(field) &&
	    random_once_in(&making->random,
			   field == FIELD_TCP_FLAGS || field == FIELD_MARK || field == FIELD_KNOCKED ? 2 : 10))
		return masked_match(making, field);
	for (uint32_t i = 0; i < count; i++)
		ranges[i] = some_range(making, field);
	return cond_match_ranges(making->arena, field, ranges, count, nowhere);
}

static const struct cond *member(struct making *making)
{
	uint32_t index = random_below(&making->random, (uint32_t)making->ruleset->set_count);
	struct cond *cond = cond_new(making->arena, COND_SET, nowhere);

	cond->set.set = index;
	cond->set.field = set_fields[making->ruleset->sets[index].type][random_below(&making->random, 4)];
	return cond;
}

static const struct cond *leaf(struct making *making)
{
	if (making->ruleset->set_count && random_once_in(&making->random, making->options.memory ? 3 : 8))
		return member(making);
	if (!making->options.simple && random_once_in(&making->random, 30))
		return cond_new(making->arena, random_once_in(&making->random, 2) ? COND_TRUE : COND_FALSE, nowhere);
	return match(making, some_field(making));
}

static const struct cond *list(struct making *making, enum cond_kind kind, const struct cond **items, size_t count)
{
	struct cond *cond = cond_new(making->arena, kind, nowhere);

	cond->list.items = arena_copy(making->arena, items, count * sizeof *items);
	cond->list.count = count;
	return cond;
}

/* Owners must not stand under a negation: a leaf about one is replaced by another field's. */
static const struct cond *without_owners(struct making *making, const struct cond *cond)
{
	const struct cond *items[8];

	switch (cond->kind) {
	case COND_MATCH:
		return field_table[cond->match.field].owner ? match(making, FIELD_PROTO) : cond;
	case COND_SET:
		return field_table[cond->set.field].owner ? match(making, FIELD_TTL) : cond;
	case COND_NOT:
		return cond_not(making->arena, without_owners(making, cond->inner), nowhere);
	case COND_AND:
	case COND_OR:
		for (size_t i = 0; i < cond->list.count; i++)
			items[i] = without_owners(making, cond->list.items[i]);
		return list(making, cond->kind, items, cond->list.count);
	default:
		return cond;
	}
}

/* The user is known, and not one of the set. */
static const struct cond *stranger(struct making *making)
{
	const struct cond *known = cond_match(making->arena, FIELD_USER, 0, ABSENT_OWNER - 1, nowhere);
	const struct cond *in = member(making);

	if (in->set.field != FIELD_USER)
		return in;
	return cond_pair(making->arena, COND_AND, known, cond_not(making->arena, in, nowhere), nowhere);
}

static const struct cond *condition(struct making *making, unsigned depth)
{
	const struct cond *items[4];
	uint32_t choice = random_below(&making->random, 10), count;

	if (!depth || choice < 4)
		return leaf(making);
	if (choice < 6)
		return cond_not(making->arena, without_owners(making, condition(making, depth - 1)), nowhere);
	if (choice == 6 && making->ruleset->set_count)
		return stranger(making);
	count = random_between(&making->random, 1, 4);
	for (uint32_t i = 0; i < count; i++)
		items[i] = condition(making, depth - 1);
	return list(making, random_once_in(&making->random, 2) ? COND_AND : COND_OR, items, count);
}

/* What people write: protocol and port, prefixes, now and then something else. */
static const struct cond *simple_condition(struct making *making)
{
	const struct cond *items[5];
	uint32_t count = random_between(&making->random, 1, 5);

	for (uint32_t i = 0; i < count; i++)
		items[i] = leaf(making);
	return list(making, COND_AND, items, count);
}

/* --- knocks --------------------------------------------------------------------------------------------------- */

/* Coarse tests, so that packets match steps often, and several at once. */
static const struct cond *step(struct making *making)
{
	static const enum field fields[] = { FIELD_DST_PORT, FIELD_DST_PORT, FIELD_SRC_PORT, FIELD_PROTO, FIELD_FAMILY,
					     FIELD_FRAGMENT, FIELD_KNOCKED };
	enum field field = RANDOM_PICK(&making->random, fields);
	const struct cond *cond = match(making, field);

	return random_once_in(&making->random, 6) ? cond_not(making->arena, cond, nowhere) : cond;
}

static void make_knock(struct making *making, struct knock *knock, size_t index)
{
	uint32_t count = random_between(&making->random, 1, random_once_in(&making->random, 4) ? KNOCK_STEPS_MAX : 3);
	const struct cond **steps = ARENA_ARRAY(making->arena, const struct cond *, count);

	knock->name = arena_printf(making->arena, "knock%zu", index);
	for (uint32_t i = 0; i < count; i++)
		steps[i] = step(making);
	knock->steps = steps;
	knock->step_count = count;
	knock->within_ns = random_between(&making->random, 1, random_once_in(&making->random, 2) ? 4 : 40) * 1000000000ull;
	knock->open_ns = random_between(&making->random, 1, random_once_in(&making->random, 3) ? 40 : 4) * 1000000000ull;
	knock->extend = random_once_in(&making->random, 2);
	knock->whole = random_once_in(&making->random, 2);
	knock->max_sources = random_once_in(&making->random, 2) ? random_between(&making->random, 4096, 65536) : 0;
}

/* One step, and a key that no file needs to hold. */
static void make_keyed(struct making *making, struct knock *knock)
{
	const struct cond **steps = ARENA_ARRAY(making->arena, const struct cond *, 1);

	steps[0] = random_once_in(&making->random, 3) ? step(making) :
							cond_match(making->arena, FIELD_PROTO, 17, 17, nowhere);
	knock->steps = steps;
	knock->step_count = 1;
	knock->within_ns = 0;
	knock->extend = false;
	knock->key_file = "/nowhere";
	knock->bind = random_once_in(&making->random, 2);
	knock->skew_ns = random_between(&making->random, 1, 40) * 1000000000ull;
	knock->key[0] = random_next(&making->random) | 1;
	knock->key[1] = random_next(&making->random);
}

static void make_knocks(struct making *making)
{
	uint32_t count = visible(making, FIELD_KNOCKED) ? random_below(&making->random, making->options.knocks + 1) : 0;
	struct knock *knocks = ARENA_ARRAY(making->arena, struct knock, count);

	for (uint32_t i = 0; i < count; i++) {
		make_knock(making, &knocks[i], i);
		if (random_once_in(&making->random, 3))
			make_keyed(making, &knocks[i]);
	}
	making->named = false;
	making->ruleset->knocks = knocks;
	making->ruleset->knock_count = count;
}

/* --- rules ---------------------------------------------------------------------------------------------------- */

static void make_verdict(struct making *making, struct action *action)
{
	bool can_reject = hook_table[making->hook].reject != REJECT_NEVER && !making->options.no_reject;

	action->kind = ACTION_VERDICT;
	action->verdict = (enum verdict)random_below(&making->random, can_reject ? 3 : 2);
}

static void make_log(struct making *making, struct action *action)
{
	static const char *const texts[] = { "", "dropped", "a \"quoted\" text\\", "tab\there", "\xc3\xa9t\xc3\xa9" };

	action->kind = ACTION_LOG;
	action->log.text = RANDOM_PICK(&making->random, texts);
	if (random_once_in(&making->random, 2)) {
		action->log.period_ns = random_between(&making->random, 1, 2000000000);
		action->log.burst = random_below(&making->random, 20);
	}
}

/* Tokens whose price is a round number of nanoseconds, as the kernel counts those. */
static void make_rate(struct making *making, struct action *action, enum action_kind kind)
{
	static const uint64_t amounts[] = { 1, 2, 5, 10, 100, 1000 };
	struct rate *rate = ARENA_NEW(making->arena, struct rate);

	action->kind = kind;
	action->rate = rate;
	rate->amount = RANDOM_PICK(&making->random, amounts);
	rate->period_ns = random_once_in(&making->random, 4) ? 60000000000 : 1000000000;
	rate->burst = random_between(&making->random, 1, 8);
	rate->key = (enum rate_key)random_below(&making->random, RATE_KEY_COUNT);
	if (rate->key == RATE_KEY_USER && !(field_table[FIELD_USER].hooks & HOOK_BIT(making->hook)))
		rate->key = RATE_KEY_NONE;
	if ((rate->key == RATE_KEY_SRC || rate->key == RATE_KEY_FLOW) && hook_table[making->hook].call)
		rate->key = RATE_KEY_NONE; /* a call has no source */
	if (making->hook == HOOK_XDP && random_once_in(&making->random, 3)) {
		rate->unit = RATE_BYTES;
		rate->burst *= 100;
		rate->amount *= 100;
		rate->period_ns = 1000000000;
	}
	if (random_once_in(&making->random, 2))
		rate->reserve = rate->burst + random_below(&making->random, 6) * (rate->unit == RATE_BYTES ? 100 : 1);
	if (rate->key == RATE_KEY_SRC || rate->key == RATE_KEY_DST) {
		rate->bits4 = (uint8_t)(random_once_in(&making->random, 2) ? 32 : random_below(&making->random, 33));
		rate->bits6 = (uint8_t)(random_once_in(&making->random, 2) ? 64 : random_below(&making->random, 65));
	}
	rate->max = rate->key == RATE_KEY_NONE ? 0 : 4096;
}

/* False if there is no set that packets can change. */
static bool make_change(struct making *making, struct action *action)
{
	uint32_t index = random_below(&making->random, (uint32_t)making->ruleset->set_count);
	const struct set *set = &making->ruleset->sets[index];

	if (set->type != SET_ADDRESS && set->type != SET_PORT)
		return false;
	action->kind = random_once_in(&making->random, 4) ? ACTION_REMOVE : ACTION_ADD;
	action->change.set = index;
	action->change.field = set_fields[set->type][random_below(&making->random, 4)];
	action->change.timeout_ms = set->timed && action->kind == ACTION_ADD ? some_timeout(making) : 0;
	return true;
}

static void make_side_action(struct making *making, struct action *action)
{
	uint32_t choice;

	if (making->options.memory && making->ruleset->set_count && !random_once_in(&making->random, 3) &&
	    make_change(making, action))
		return;
	choice = random_below(&making->random, 4);

	if (choice == 3) {
		action->kind = ACTION_CAPTURE;
		action->snap = random_once_in(&making->random, 2) ? 0 : random_between(&making->random, 1, 65535);
	} else if (choice == 2 && hook_table[making->hook].mark) {
		action->kind = ACTION_MARK;
		action->mark.value = (uint32_t)some_value(making, FIELD_MARK);
		action->mark.mask = random_once_in(&making->random, 2) ? 0xffffffff :
									 (uint32_t)random_next(&making->random);
	} else if (choice) {
		make_log(making, action);
	} else {
		action->kind = ACTION_COUNT;
		action->counter = random_below(&making->random, (uint32_t)making->ruleset->counter_count);
	}
}

/* A terminal action of some kind; jumps only to chains behind this one, so that there are no cycles. */
static void make_terminal(struct making *making, struct action *action, size_t chain)
{
	uint32_t later = (uint32_t)(making->ruleset->chain_count - 1 - chain);
	uint32_t choice = random_below(&making->random, 8);

	if (making->options.terminal_only || choice < 5 || (choice > 5 && !later)) {
		make_verdict(making, action);
		return;
	}
	action->kind = choice == 5 ? ACTION_RETURN : choice == 6 ? ACTION_JUMP : ACTION_GOTO;
	if (later)
		action->chain = (uint32_t)chain + 1 + random_below(&making->random, later);
	if (action->kind == ACTION_GOTO && random_once_in(&making->random, 2))
		action->kind = ACTION_JUMP;
}

static void make_rule(struct making *making, struct rule *rule, size_t chain)
{
	struct action *actions = ARENA_ARRAY(making->arena, struct action, 5);
	size_t count = 0, first;

	rule->number = making->next_number++;
	making->named = false;
	if (rule->number == 1 && making->ruleset->knock_count && random_once_in(&making->random, 2))
		rule->cond = masked_match(making, FIELD_KNOCKED);
	else if (making->options.simple)
		rule->cond = simple_condition(making);
	else if (!random_once_in(&making->random, 12))
		rule->cond = condition(making, random_below(&making->random, making->options.depth + 1));
	rule->names_link = making->named;
	if (making->options.rates && random_once_in(&making->random, 3))
		make_rate(making, &actions[count++], ACTION_RATE);
	first = count;
	if (!making->options.terminal_only)
		while (count < first + 3 && random_once_in(&making->random, making->options.memory ? 2 : 4))
			make_side_action(making, &actions[count++]);
	if (count == first || !random_once_in(&making->random, 2))
		make_terminal(making, &actions[count++], chain);
	rule->actions = actions;
	rule->action_count = count;
}

static void make_chain(struct making *making, struct chain *chain, size_t index, size_t rules)
{
	struct rule *list_of_rules = ARENA_ARRAY(making->arena, struct rule, rules);

	chain->name = index ? arena_printf(making->arena, "chain%zu", index) : "main";
	for (size_t i = 0; i < rules; i++)
		make_rule(making, &list_of_rules[i], index);
	chain->rules = list_of_rules;
	chain->rule_count = rules;
}

static void make_chains(struct making *making)
{
	uint32_t rules = making->options.exact_rules ? making->options.rules :
						       random_between(&making->random, 1, making->options.rules);
	uint32_t count = making->options.terminal_only ? 1 : random_between(&making->random, 1, making->options.chains);
	struct chain *chains = ARENA_ARRAY(making->arena, struct chain, count);

	making->ruleset->chains = chains;
	making->ruleset->chain_count = count;
	making->ruleset->rule_count = rules;
	making->next_number = 1;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t share = i + 1 == count ? rules : rules / 2 + rules % 2;

		make_chain(making, &chains[i], i, share);
		rules -= share;
	}
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

static void make_attach(struct making *making)
{
	static const char *const targets[] = {
		[TARGET_IFACE] = "lo", [TARGET_NONE] = NULL, [TARGET_CGROUP] = "/", [TARGET_SOCKET] = NULL,
	};
	struct attach *attach = ARENA_NEW(making->arena, struct attach);

	attach->hook = making->hook;
	attach->target = targets[hook_table[making->hook].target];
	attach->priority = PRIORITY_DEFAULT;
	making->ruleset->attaches = attach;
	making->ruleset->attach_count = 1;
}

static void make_frame(struct making *making, uint64_t seed)
{
	static const char *const counters[] = { "web", "dns", "other" };
	struct ruleset *ruleset = making->ruleset;

	ruleset->name = arena_printf(making->arena, "random%llu", (unsigned long long)seed);
	ruleset->counters = counters;
	ruleset->counter_count = 3;
	ruleset->default_verdict = (enum verdict)random_below(&making->random, 2);
	ruleset->malformed_accept = random_once_in(&making->random, 4);
	ruleset->non_ip_accept = random_once_in(&making->random, 4);
	ruleset->captures_size = 1u << random_between(&making->random, 18, 28);
	ruleset->cgroup_level_count = PACKET_CGROUPS;
	for (unsigned i = 0; i < PACKET_CGROUPS; i++)
		ruleset->cgroup_levels[i] = (uint8_t)(i + 1);
	make_attach(making);
}

static void take_options(struct making *making, const struct policy_options *options)
{
	struct policy_options *own = &making->options;

	if (options)
		*own = *options;
	own->rules = own->rules ? own->rules : 12;
	own->chains = own->chains ? own->chains : 4;
	own->sets = own->sets ? own->sets : 3;
	own->depth = own->depth ? own->depth : 4;
}

const struct ruleset *policies_random(struct arena *arena, uint64_t seed, enum hook hook,
				      const struct policy_options *options)
{
	struct making making = { .arena = arena, .random = random_seed(seed), .hook = hook };

	making.ruleset = ARENA_NEW(arena, struct ruleset);
	take_options(&making, options);
	for (int field = 0; field < FIELD_COUNT; field++)
		if (visible(&making, (enum field)field))
			making.fields[making.field_count++] = (enum field)field;
	make_frame(&making, seed);
	make_sets(&making);
	if (making.options.tunables)
		make_tunables(&making);
	make_knocks(&making);
	make_chains(&making);
	return making.ruleset;
}
