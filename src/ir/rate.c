/* SPDX-License-Identifier: GPL-2.0-only */
/* Rates: what they are worth in time, and the bounds within which that is exact. See ir.h. */
#include "ir/ir.h"

enum {
	RATE_FRACTION = 1024,   /* of a nanosecond */
	RATE_PACKET_MAX = 1024, /* tokens, or kilobytes, that a packet may cost */
};
static const uint64_t amount_max = 1000000000000; /* units a second; then a unit still is worth a fraction */

const char *const rate_unit_names[RATE_UNIT_COUNT] = { "packets", "bytes" };
const char *const rate_key_names[RATE_KEY_COUNT] = { "none", "src", "dst", "flow", "user" };

const struct rate *rule_rate(const struct rule *rule)
{
	const struct action *first = rule->actions;

	return rule->action_count && first->kind == ACTION_RATE && !first->left ? first->rate : NULL;
}

bool rate_equal(const struct rate *left, const struct rate *right)
{
	return left->amount == right->amount && left->period_ns == right->period_ns && left->burst == right->burst &&
	       left->reserve == right->reserve && left->unit == right->unit && left->key == right->key && left->bits4 == right->bits4 &&
	       left->bits6 == right->bits6 && left->max == right->max;
}

uint64_t rate_period(const struct rate *rate)
{
	return (uint64_t)((u128)rate->period_ns * RATE_FRACTION / rate->amount);
}

uint64_t rate_burst_ns(const struct rate *rate)
{
	return (uint64_t)((u128)rate->period_ns * rate->burst / rate->amount);
}

uint64_t rate_reserve_ns(const struct rate *rate)
{
	return rate->reserve ? (uint64_t)((u128)rate->period_ns * rate->reserve / rate->amount) : rate_burst_ns(rate);
}

/* Costs of packets and full buckets must fit 63 bits. */
static bool fits(const struct rate *rate)
{
	u128 period = (u128)rate->period_ns * RATE_FRACTION / rate->amount;
	u128 costly = (u128)RATE_PACKET_MAX * (rate->unit == RATE_BYTES ? 1024 : 1);
	u128 most = rate->reserve ? rate->reserve : rate->burst;

	return period * costly <= INT64_MAX && (u128)rate->period_ns * most / rate->amount <= INT64_MAX / 4;
}

const char *rate_check(struct arena *arena, const struct rate *rate)
{
	if (!rate->amount || !rate->period_ns || !rate->burst)
		return "an amount, a period or a burst of 0";
	if (rate->reserve && rate->reserve < rate->burst)
		return "a reserve that is less than the burst";
	if ((unsigned)rate->unit >= RATE_UNIT_COUNT || (unsigned)rate->key >= RATE_KEY_COUNT)
		return "no such unit or key";
	if ((u128)rate->amount * 1000000000 > (u128)amount_max * rate->period_ns)
		return arena_printf(arena, "more than %llu a second", (unsigned long long)amount_max);
	if (!fits(rate))
		return "too slow to be counted, or its burst too large";
	if (rate->bits4 > 32 || rate->bits6 > 64)
		return "a prefix longer than 32 bits for IPv4 or 64 for IPv6";
	if (!rate->max != (rate->key == RATE_KEY_NONE))
		return "a number of buckets belongs to a key";
	return NULL;
}
