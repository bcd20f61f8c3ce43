/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The answer cache: whether a plan's answers are worth keeping, and by which words of a packet (bpf/cache_abi.h). In: a
 * finished plan; out: the configuration of its cache, or none. Fails with a diagnostic where a policy asks for what cannot be.
 */
#include <errno.h>

#include "plan/table.h"

enum {
	NS_LEAST = 50,     /* what judging is predicted to take: to look in the cache takes a third of that */
	ITEMS_LEAST = 64,  /* of a list */
	ENTRIES_LEAST = 64, /* of a table's family */
	CHUNK_BITS = 2,    /* 4,096 answers of IPv4 in 128 KiB, or half as many of IPv6 */
};

_Static_assert((int)CHUNK_BITS <= (int)CACHE_CHUNK_BITS_MAX, "the kernel's part knows no more");

/* In every key. Of addresses, those of the key's family. */
static const field_mask fixed_fields =
	FIELD_BIT(FIELD_FAMILY) | FIELD_BIT(FIELD_IP_SRC) | FIELD_BIT(FIELD_IP_DST) | FIELD_BIT(FIELD_IPV6_SRC) |
	FIELD_BIT(FIELD_IPV6_DST) | FIELD_BIT(FIELD_SRC_PORT) | FIELD_BIT(FIELD_DST_PORT) | FIELD_BIT(FIELD_PROTO) |
	FIELD_BIT(FIELD_TCP_FLAGS) | FIELD_BIT(FIELD_ICMP_TYPE) | FIELD_BIT(FIELD_ICMP_CODE);

/* --- the layout of keys ----------------------------------------------------------------------------------------- */

/* One word of a key being filled: the bits that are taken, and its parts so far. */
struct key_word {
	uint64_t taken;
	unsigned parts;
};

/* Puts the bits of a word of the packet into a word of the key, shifted to where there is room; false if there is none. */
static bool put_part(struct table_key *key, struct key_word *room, unsigned word, uint64_t mask)
{
	for (unsigned shift = 0; shift <= (unsigned)__builtin_clzll(mask) && room->parts < TABLE_KEY_PARTS; shift++) {
		if (room->taken & mask << shift)
			continue;
		room->taken |= mask << shift;
		key->masks[room->parts] = mask;
		key->words[room->parts] = (uint8_t)word;
		key->shifts[room->parts++] = (uint8_t)shift;
		return true;
	}
	return false;
}

/* Of each word of the packet, the bits that rules look at and that are not in every key. */
static void collect_extras(field_mask needed, uint64_t masks[TABLE_REST])
{
	for (int field = 0; field < FIELD_COUNT; field++) {
		const struct field_info *info = &field_table[field];

		if (needed & ~fixed_fields & FIELD_BIT(field) && info->size)
			masks[info->offset / 8] |= low_bits(info->size * 8u) << info->offset % 8 * 8;
	}
}

/* False if the key would be too long. */
static bool lay_out(field_mask needed, bool six, struct cache_family *family)
{
	unsigned fixed = six ? CACHE_FIXED6 : CACHE_FIXED4, extras = 0;
	struct key_word rooms[CACHE_EXTRAS] = { 0 };
	uint64_t masks[TABLE_REST] = { 0 };

	collect_extras(needed, masks);
	for (unsigned word = 0; word < TABLE_REST; word++) {
		unsigned at = 0;

		while (masks[word] && at < CACHE_KEY_WORDS - fixed && !put_part(&family->extra[at], &rooms[at], word, masks[word]))
			at++;
		if (at == CACHE_KEY_WORDS - fixed)
			return false;
		if (masks[word] && at >= extras)
			extras = at + 1;
	}
	family->words = (uint8_t)(fixed + extras);
	return true;
}

/* --- whether ---------------------------------------------------------------------------------------------------- */

/* Why answers cannot be kept, or NULL. */
static const char *why_not(const struct plan *plan)
{
	if (plan->tuned)
		return "its rules compare with tunables";
	for (size_t i = 0; i < plan->dim_count; i++)
		if (plan->dims[i].kind == DIM_SET && plan->sets[plan->dims[i].set].named >= 0)
			return "its rules ask what is in named sets";
	return NULL;
}

static bool is_worth_it(const struct plan *plan, bool six)
{
	switch (plan->kind) {
	case PLAN_TABLE:
		return plan->table.ns >= NS_LEAST && plan->table.entries[six] >= ENTRIES_LEAST;
	case PLAN_LIST:
		return plan->item_count >= ITEMS_LEAST;
	default:
		return false; /* the largest diagrams take less time than the cache's memory would */
	}
}

static int refuse(struct work *work, const char *why)
{
	struct diag *diag = diag_error(work->diags, work->ruleset->span, "the policy's answers cannot be kept: %s", why);

	diag_hint(work->diags, diag, "leave `cache = yes` out");
	return -EINVAL;
}

int cache_choose(struct work *work, struct plan *plan)
{
	bool wanted = work->ruleset->cache == CACHE_YES;
	const char *why = why_not(plan);
	struct cache_config config = { 0 };
	uint32_t chunks = 0;

	if (work->ruleset->cache == CACHE_NO || !hook_table[plan->hook].caches)
		return 0;
	for (unsigned six = 0; six < 2 && !why; six++) {
		struct cache_family family = { .first = chunks, .bits = CHUNK_BITS };

		if (!wanted && !is_worth_it(plan, six))
			continue;
		if (!lay_out(plan->needed, six, &family)) {
			why = "its rules look at too much of a packet";
			break;
		}
		config.families[six] = family;
		chunks += 1u << CHUNK_BITS;
	}
	if (why)
		return wanted ? refuse(work, why) : 0;
	plan->cache = config;
	plan->cache_chunks = chunks;
	return 0;
}
