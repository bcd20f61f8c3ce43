/* SPDX-License-Identifier: GPL-2.0-only */
/* Rates: AST to IR. In: the words of `rate <= LIMIT [burst N] [per KEY [max N]]`; out: a rate of the IR, or an error. */
#include <string.h>

#include "lang/literal.h"
#include "lang/lower.h"

static const uint64_t second_ns = 1000000000;

enum {
	BURST_PACKETS = 5,    /* where none is named, as in iptables and nftables; but no less than */
	BURST_BYTES = 65536,  /* (bytes: so that the largest packet passes) */
	BURST_PART = 50,      /* this part of what comes in a second, so that the coarse clock is exact */
	RESERVE_MS = 1000,    /* of a throttle: TCP waits 200 ms before it sends again what is lost, then 400 more */
	BUCKETS = 65536,      /* that are kept where no `max` says else */
	BUCKETS_MAX = 16777216,
};

/* What stands behind the number. Bits are counted in eighths of bytes. */
static const struct unit {
	const char *name;
	uint64_t seconds;
	uint64_t factor;
	uint64_t divisor;
	enum rate_unit unit;
} units[] = {
	{ "/s", 1, 1, 1, RATE_PACKETS },
	{ "/min", 60, 1, 1, RATE_PACKETS },
	{ "/h", 3600, 1, 1, RATE_PACKETS },
	{ "bit", 1, 1, 8, RATE_BYTES },
	{ "kbit", 1, 1000, 8, RATE_BYTES },
	{ "mbit", 1, 1000000, 8, RATE_BYTES },
	{ "gbit", 1, 1000000000, 8, RATE_BYTES },
	{ "B/s", 1, 1, 1, RATE_BYTES },
	{ "kB/s", 1, 1000, 1, RATE_BYTES },
	{ "MB/s", 1, 1000000, 1, RATE_BYTES },
	{ "GB/s", 1, 1000000000, 1, RATE_BYTES },
};

bool rate_parse(const char *text, struct rate *ret_rate)
{
	size_t digits = strspn(text, "0123456789");
	u128 number, amount;

	if (!digits || digits > 15 || !literal_number(text, digits, &number))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (strcmp(text + digits, units[i].name))
			continue;
		amount = number * units[i].factor / units[i].divisor;
		if (!amount || amount > UINT64_MAX)
			return false;
		*ret_rate = (struct rate){ .amount = (uint64_t)amount, .period_ns = units[i].seconds * second_ns,
					   .unit = units[i].unit };
		return true;
	}
	return false;
}

void rate_misplaced(struct lower *lower, struct span span)
{
	struct diag *diag = diag_error(lower->diags, span, "`rate` stands in a rule only, alone or joined by `and` with all "
				       "of the condition");

	diag_hint(lower->diags, diag, "it takes its token last, once the rest of the rule holds: under `or`, `not` or "
		  "parentheses it could not be said when");
}

/* --- burst ------------------------------------------------------------------------------------------------------ */

static uint64_t default_burst(const struct rate *rate)
{
	u128 divisor = (u128)BURST_PART * rate->period_ns;
	uint64_t part = (uint64_t)(((u128)rate->amount * second_ns + divisor - 1) / divisor);
	uint64_t least = rate->unit == RATE_BYTES ? BURST_BYTES : BURST_PACKETS;

	return part > least ? part : least;
}

/* A throttle of whose burst nothing is said gathers what TCP leaves unused while it waits. */
static uint64_t default_reserve(const struct rate *rate)
{
	u128 most = (u128)rate->amount * (RESERVE_MS * (second_ns / 1000)) / rate->period_ns;

	return most > rate->burst && most <= UINT64_MAX ? (uint64_t)most : 0;
}

static void burst(struct lower *lower, const struct word *word, bool throttle, struct rate *rate)
{
	u128 number;

	rate->burst = default_burst(rate);
	if (!word->text) {
		rate->reserve = throttle ? default_reserve(rate) : 0;
		return;
	}
	if (!literal_size(word->text, strlen(word->text), &number) || !number || number > UINT32_MAX)
		diag_error(lower->diags, word->span, "`%s` is not a %s from 1 to %u", word->text,
			   rate->unit == RATE_BYTES ? "size like `64k`" : "number of packets", UINT32_MAX);
	else
		rate->burst = (uint64_t)number;
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

static int key_of(const char *text, size_t length)
{
	for (int key = RATE_KEY_SRC; key < RATE_KEY_COUNT; key++)
		if (strlen(rate_key_names[key]) == length && !memcmp(rate_key_names[key], text, length))
			return key;
	return RATE_KEY_NONE;
}

/* "/24/56": prefix lengths for IPv4 and IPv6. */
static bool prefixes(const char *text, struct rate *rate)
{
	const char *second = *text == '/' ? strchr(text + 1, '/') : NULL;
	u128 bits4, bits6;

	if (!second || !literal_number(text + 1, (size_t)(second - text - 1), &bits4) ||
	    !literal_number(second + 1, strlen(second + 1), &bits6) || bits4 > 32 || bits6 > 64)
		return false;
	rate->bits4 = (uint8_t)bits4;
	rate->bits6 = (uint8_t)bits6;
	return true;
}

/* That every hook knows what there is a bucket for each of. */
static void check_field(struct lower *lower, const struct word *word, enum field field, hook_mask hooks)
{
	hook_mask missing = hooks & ~field_table[field].hooks & ~hooks_that_leave(lower, hooks);

	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		if (!(missing & HOOK_BIT(hook)))
			continue;
		diag_error(lower->diags, word->span, "`%s` is not known at %s", word->text,
			   hook_table[hook].name);
		return;
	}
}

static void key(struct lower *lower, const struct word *word, hook_mask hooks, struct rate *rate)
{
	size_t length = strcspn(word->text, "/");
	bool address;
	struct diag *diag;

	rate->key = (enum rate_key)key_of(word->text, length);
	address = rate->key == RATE_KEY_SRC || rate->key == RATE_KEY_DST;
	rate->max = BUCKETS;
	if (address) {
		rate->bits4 = 32;
		rate->bits6 = 64;
	}
	if (rate->key == RATE_KEY_USER)
		check_field(lower, word, FIELD_USER, hooks);
	if (rate->key == RATE_KEY_SRC || rate->key == RATE_KEY_FLOW)
		check_field(lower, word, FIELD_IP_SRC, hooks);
	if (rate->key != RATE_KEY_NONE && (!word->text[length] || (address && prefixes(word->text + length, rate))))
		return;
	rate->key = RATE_KEY_NONE;
	rate->max = 0;
	diag = diag_error(lower->diags, word->span, address ? "`%s` is not an address within prefix lengths" :
			  "`%s` is nothing that a rate can be per", word->text);
	diag_hint(lower->diags, diag, address ? "`src/24/56`: lengths for IPv4 (at most 32) and IPv6 (at most 64)" :
		  "`src`, `dst`, `flow`, `user`, or a prefix like `src/24/56`");
}

static void max(struct lower *lower, const struct word *word, struct rate *rate)
{
	u128 number;

	if (!word->text || !rate->max)
		return;
	if (!literal_size(word->text, strlen(word->text), &number) || !number || number > BUCKETS_MAX)
		diag_error(lower->diags, word->span, "`%s` is not a number from 1 to %d", word->text, BUCKETS_MAX);
	else
		rate->max = (uint32_t)number;
}

const struct rate *rate_lower(struct lower *lower, const struct rate_node *node, bool throttle, hook_mask hooks)
{
	struct rate *rate = ARENA_NEW(lower->arena, struct rate);
	const char *wrong;
	struct diag *diag;

	if (!rate_parse(node->limit.text, rate)) {
		diag = diag_error(lower->diags, node->limit.span, "`%s` is not a rate", node->limit.text);
		diag_hint(lower->diags, diag, "packets: `10/s`, `10/min`, `10/h`; bytes: `10mbit`, `64kbit`, `10MB/s`");
		return NULL;
	}
	burst(lower, &node->burst, throttle, rate);
	if (node->key.text)
		key(lower, &node->key, hooks, rate);
	max(lower, &node->max, rate);
	wrong = rate_check(lower->arena, rate);
	if (wrong)
		diag_error(lower->diags, node->limit.span, "`%s` is not a rate that can be kept: %s", node->limit.text,
			   wrong);
	return rate;
}
