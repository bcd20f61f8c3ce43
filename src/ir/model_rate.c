/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the model remembers of rates. Buckets are what the textbook says: a number of tokens and when it was last looked at, in exact
 * fractions; nothing is ever forgotten. In: a packet and its time. Out: whether there was a token.
 */
#include <string.h>

#include "ir/model.h"

static u128 prefix(const struct model_fields *fields, enum field v4, enum field v6, const struct rate *rate)
{
	bool four = fields->value[FIELD_FAMILY] == FAMILY_IPV4;
	unsigned width = four ? 32 : 128, bits = four ? rate->bits4 : rate->bits6;
	enum field field = four ? v4 : v6;

	if (!fields->has[field] || !bits)
		return 0;
	return fields->value[field] >> (width - bits);
}

static void add(struct model_bucket_key *key, unsigned part, const struct model_fields *fields, enum field field)
{
	if (fields->has[field])
		key->parts[part] = fields->value[field];
}

static void add_flow(struct model_bucket_key *key, const struct model_fields *fields)
{
	bool four = fields->value[FIELD_FAMILY] == FAMILY_IPV4;

	add(key, 0, fields, four ? FIELD_IP_SRC : FIELD_IPV6_SRC);
	add(key, 1, fields, four ? FIELD_IP_DST : FIELD_IPV6_DST);
	add(key, 2, fields, FIELD_SRC_PORT);
	add(key, 3, fields, FIELD_DST_PORT);
	add(key, 4, fields, FIELD_PROTO);
}

static struct model_bucket_key key_of(const struct rate *rate, const struct model_fields *fields)
{
	struct model_bucket_key key;

	memset(&key, 0, sizeof key);
	key.rate = rate;
	if (rate->key != RATE_KEY_NONE && rate->key != RATE_KEY_USER)
		key.family = (uint64_t)fields->value[FIELD_FAMILY];
	switch (rate->key) {
	case RATE_KEY_SRC:
		key.parts[0] = prefix(fields, FIELD_IP_SRC, FIELD_IPV6_SRC, rate);
		break;
	case RATE_KEY_DST:
		key.parts[0] = prefix(fields, FIELD_IP_DST, FIELD_IPV6_DST, rate);
		break;
	case RATE_KEY_USER: /* those without an owner are one more user */
		key.parts[0] = fields->has[FIELD_USER] ? fields->value[FIELD_USER] : UINT64_MAX;
		break;
	case RATE_KEY_FLOW:
		add_flow(&key, fields);
		break;
	default:
		break;
	}
	return key;
}

static struct model_bucket *find(struct model_state *state, const struct model_bucket_key *key)
{
	struct model_bucket *bucket;

	for (size_t i = 0; i < state->buckets.count; i++)
		if (!memcmp(&state->buckets.items[i].key, key, sizeof *key))
			return &state->buckets.items[i];
	bucket = &VEC_PUSH(state->arena, &state->buckets);
	memset(bucket, 0, sizeof *bucket);
	bucket->key = *key;
	return bucket;
}

static void fill(struct model_bucket *bucket, uint64_t now_ns)
{
	u128 filled = (u128)(now_ns - bucket->looked_ns) * 1024;

	bucket->missing = filled < bucket->missing ? bucket->missing - filled : 0;
	bucket->looked_ns = now_ns;
}

bool model_take_tokens(struct model_state *state, const struct rule *rule, const struct rate *rate,
		       const struct model_packet *packet, const struct model_fields *fields)
{
	struct model_bucket_key key = key_of(rate, fields);
	u128 burst = (u128)rate->period_ns * 1024 * rate->burst / rate->amount;
	u128 most = rate->reserve ? (u128)rate->period_ns * 1024 * rate->reserve / rate->amount : burst;
	u128 cost = (u128)rate->period_ns * 1024 / rate->amount * (rate->unit == RATE_BYTES ? packet->length : 1);
	struct model_bucket *bucket;

	if (!state)
		return true;
	if (state->granted)
		return state->granted[rule->number];
	bucket = find(state, &key);
	fill(bucket, state->now_ns);
	if (!bucket->missing) /* nobody has used it for long */
		bucket->missing = most - burst;
	if (bucket->missing + (cost < burst ? cost : burst) > most)
		return false;
	bucket->missing += cost;
	return true;
}
