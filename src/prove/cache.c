/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cache of answers: keys must have all that the classifier may look at, or one packet would get another's answer. In: the
 * configuration, and what the proof so far has shown that the program reads. Out: nothing, or why it is not proven.
 */
#include <string.h>

#include "prove/table.h"

/* In every key, as bpf/cache_abi.h says. */
static bool is_fixed(enum field field)
{
	static const enum field fixed[] = {
		FIELD_FAMILY, FIELD_IP_SRC, FIELD_IP_DST, FIELD_IPV6_SRC, FIELD_IPV6_DST, FIELD_SRC_PORT, FIELD_DST_PORT,
		FIELD_PROTO, FIELD_TCP_FLAGS, FIELD_ICMP_TYPE, FIELD_ICMP_CODE,
	};

	for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
		if (fixed[i] == field)
			return true;
	return false;
}

/* Adds the bits of the packet that a word of the key tells; false if it mixes some of them. */
static bool read_key(const struct table_key *key, uint64_t told[PACKET_WORDS])
{
	uint64_t taken = 0;

	for (unsigned i = 0; i < TABLE_KEY_PARTS; i++) {
		uint64_t mask = key->masks[i], moved = mask << (key->shifts[i] & 63);

		if (!mask)
			continue;
		if (moved >> (key->shifts[i] & 63) != mask || moved & taken || key->words[i] >= TABLE_REST)
			return false;
		taken |= moved;
		told[key->words[i]] |= mask;
	}
	return true;
}

static bool tells(const uint64_t told[PACKET_WORDS], enum field field)
{
	const struct field_info *info = &field_table[field];

	for (unsigned byte = info->offset; byte < (unsigned)info->offset + info->size; byte++)
		if ((told[byte / 8] >> byte % 8 * 8 & 0xff) != 0xff)
			return false;
	return true;
}

static void check_key(struct prove *prove, const struct cache_family *family, bool six)
{
	unsigned fixed = six ? CACHE_FIXED6 : CACHE_FIXED4;
	uint64_t told[PACKET_WORDS] = { 0 };

	if (family->words < fixed || family->words > CACHE_KEY_WORDS || family->bits > CACHE_CHUNK_BITS_MAX) {
		prove_stop(prove, "the cache of answers has keys of %u words", family->words);
		return;
	}
	for (unsigned i = 0; i < family->words - fixed; i++)
		if (!read_key(&family->extra[i], told))
			prove_stop(prove, "keys of the cache of answers mix parts of packets");
	for (int field = 0; field < FIELD_COUNT; field++)
		if (prove->input->needed & FIELD_BIT(field) && field_table[field].size && !is_fixed((enum field)field) &&
		    !tells(told, (enum field)field))
			prove_stop(prove, "keys of the cache of answers lack %s", field_table[field].name);
}

/* What may change without another epoch. */
static void check_sources(struct prove *prove)
{
	if (prove->reads_sets)
		prove_stop(prove, "answers are kept that depend on a named set");
	if (prove->reads_tuned)
		prove_stop(prove, "answers are kept that depend on a tunable");
}

void cache_check(struct prove *prove)
{
	const struct cache_family *families = prove->input->cache ? prove->input->cache->families : NULL;

	if (!families || (!families[0].words && !families[1].words))
		return;
	check_sources(prove);
	for (unsigned six = 0; six < 2; six++)
		if (families[six].words)
			check_key(prove, &families[six], six);
	if (families[0].words && families[1].words && families[0].first < families[1].first + (1u << families[1].bits) &&
	    families[1].first < families[0].first + (1u << families[0].bits))
		prove_stop(prove, "answers for IPv4 and IPv6 are kept in the same place");
}
