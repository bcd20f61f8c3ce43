/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walker of bpf/table.bpf.c in user space, for evaluation and for predicting costs. In: a plan with a table, a
 * packet; out: the answer, and what was visited. Cannot fail.
 */
#include <string.h>

#include "plan/table.h"

struct walk {
	const struct plan *plan;
	const struct packet *packet;
	struct table_visits *visits;
	uint32_t (*rest)(const struct plan *plan, const struct packet *packet);
};

static uint64_t word_of(const struct packet *packet, unsigned index)
{
	uint64_t word;

	memcpy(&word, (const char *)packet + 8 * (size_t)index, sizeof word);
	return word;
}

static const void *at(const struct walk *walk, uint64_t index)
{
	return &walk->plan->table.words[index];
}

static bool ask_rest(const struct walk *walk, uint32_t question)
{
	struct packet packet = *walk->packet;

	packet.resume = question;
	return walk->rest(walk->plan, &packet) == TABLE_YES;
}

static bool tests_hold(const struct walk *walk, uint32_t first)
{
	const struct table_test *test = at(walk, (uint64_t)first * (sizeof *test / 8));

	for (;; test++) {
		if (test->word == TABLE_REST ? !ask_rest(walk, (uint32_t)test->lo) :
		    (word_of(walk->packet, test->word) & test->mask) - test->lo > test->span)
			return false;
		if (!test->more)
			return true;
	}
}

static bool port_in(uint32_t port, uint16_t lo, uint16_t span)
{
	return ((port - lo) & 0xffff) <= span;
}

static uint32_t rest_key(const struct packet *packet)
{
	return packet->proto | (packet->dst_port < ABSENT_PORT ? (uint32_t)TABLE_HAS_PORTS : 0);
}

static bool agrees4(const struct packet *packet, const struct table_record4 *record)
{
	return !((uint64_t)(packet->src4 ^ record->src) >> (record->src_shift & 63)) &&
	       !((uint64_t)(packet->dst4 ^ record->dst) >> (record->dst_shift & 63)) &&
	       !((rest_key(packet) ^ record->value) & record->mask) &&
	       port_in(packet->src_port, record->src_port, record->src_span) &&
	       port_in(packet->dst_port, record->dst_port, record->dst_span);
}

static bool agrees6(const struct packet *packet, const struct table_record6 *record)
{
	const uint64_t halves[4] = { packet->src_hi, packet->src_lo, packet->dst_hi, packet->dst_lo };

	for (unsigned i = 0; i < 4; i++)
		if ((halves[i] ^ record->addresses[i]) >> record->shifts[2 * i] >> record->shifts[2 * i + 1])
			return false;
	return !((rest_key(packet) ^ record->value) & record->mask) &&
	       port_in(packet->src_port, record->src_port, record->src_span) &&
	       port_in(packet->dst_port, record->dst_port, record->dst_span);
}

/* Returns whether the search in the leaf ends; the tests, order and answer are at different places in the two forms. */
static bool take(const struct walk *walk, uint32_t order, uint32_t answer, uint32_t tests, uint64_t *best)
{
	if (order >= *best >> 32)
		return true;
	if (order < walk->packet->resume || (tests && !tests_hold(walk, tests)))
		return false;
	*best = (uint64_t)order << 32 | answer;
	return true;
}

static void scan4(const struct walk *walk, uint64_t index, uint64_t *best)
{
	for (const struct table_record4 *record = at(walk, index);; record++) {
		walk->visits->records++;
		if (agrees4(walk->packet, record) &&
		    take(walk, record->order, record->answer, table_tests_of4(record), best))
			return;
		if (record->value & TABLE_LAST)
			return;
	}
}

static void scan6(const struct walk *walk, uint64_t index, uint64_t *best)
{
	for (const struct table_record6 *record = at(walk, index);; record++) {
		walk->visits->records++;
		if (agrees6(walk->packet, record) &&
		    take(walk, record->order, record->answer, record->tests, best))
			return;
		if (record->value & TABLE_LAST)
			return;
	}
}

static uint64_t key_word(const struct table_key *key, const struct packet *packet)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < TABLE_KEY_PARTS; i++)
		word += (word_of(packet, key->words[i]) & key->masks[i]) << key->shifts[i];
	return word;
}

static void look_up(const struct walk *walk, const struct table_hash *hash, uint64_t *best)
{
	const uint16_t *pilots = at(walk, 0);
	const struct table_slot *slot;
	uint64_t key[TABLE_KEY_WORDS], sum = 0;

	walk->visits->slots++;
	for (unsigned i = 0; i < hash->keys; i++) {
		key[i] = key_word(&hash->key[i], walk->packet);
		sum += key[i] * hash->key[i].factor;
	}
	slot = at(walk, hash->base + table_hash_slot(sum, pilots[hash->pilots + (sum >> hash->shift)], hash->slots) * hash->stride);
	if (!memcmp(slot->key, key, hash->keys * sizeof *key))
		take(walk, slot->order, slot->answer, 0, best);
}

/* Whether it went beyond the root. */
static bool walk_tree(const struct walk *walk, uint64_t index, uint64_t *best)
{
	bool six = walk->packet->family == FAMILY_IPV6, entered = false;

	for (;;) {
		uint64_t node = walk->plan->table.words[index], bits = table_node_bits(node);

		walk->visits->nodes++;
		if (node >> TABLE_BOUND_AT << walk->plan->table.config.scale >= *best >> 32)
			return entered;
		entered = true;
		index = table_node_base(node);
		if (!bits)
			break;
		index += word_of(walk->packet, node >> TABLE_WORD_AT & 15) >> (node >> TABLE_SHIFT_AT & 63) &
			 (((uint64_t)1 << bits) - 1);
	}
	if (six)
		scan6(walk, index, best);
	else
		scan4(walk, index, best);
	return true;
}

static void walk_trees(const struct walk *walk, bool six, uint64_t *best)
{
	const struct table_config *config = &walk->plan->table.config;
	const uint32_t *roots = six ? config->roots6 : config->roots4, count = six ? config->trees6 : config->trees4;

	walk->visits->packets[six]++;
	if (config->hashes[six].slots)
		look_up(walk, &config->hashes[six], best);
	for (uint32_t i = 0; i < count; i++)
		walk->visits->entered[six][i] += walk_tree(walk, roots[i], best);
}

/* The tree of the newest version of the table, as if it were in force; 0: none. */
static uint32_t changed_root(const struct plan *plan, bool six)
{
	const struct table_header *header = (const struct table_header *)plan->table.words;
	const struct table_version *version = (const struct table_version *)(plan->table.words + header->latest);

	return plan->table.config.changes && header->latest ? version->roots[six] : 0;
}

uint32_t table_walk(const struct plan *plan, const struct packet *packet, struct table_visits *visits,
		    uint32_t (*rest)(const struct plan *plan, const struct packet *packet))
{
	const struct table_config *config = &plan->table.config;
	const struct walk walk = { plan, packet, visits, rest };
	uint64_t best = config->start;
	uint32_t changed = changed_root(plan, packet->family == FAMILY_IPV6);

	if (changed && (packet->family == FAMILY_IPV4 || packet->family == FAMILY_IPV6))
		walk_tree(&walk, changed, &best);
	if (packet->family != FAMILY_IPV4 && packet->family != FAMILY_IPV6)
		return rest(plan, packet);
	walk_trees(&walk, packet->family == FAMILY_IPV6, &best);
	return (uint32_t)best;
}

/* --- samples ---------------------------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33 ^ *state << 13;
}

static uint64_t pick(uint64_t *state, uint64_t lo, unsigned shift)
{
	uint64_t value = next_random(state);

	return shift >= 64 ? value : lo | (value & (((uint64_t)1 << shift) - 1));
}

/* A packet that the entry lets in, further tests apart. */
static void draw_packet(const struct table_family *family, const struct table_entry *entry, uint64_t *state,
			struct packet *packet)
{
	*packet = (struct packet){ .family = family->six ? FAMILY_IPV6 : FAMILY_IPV4, .tcp_flags = ABSENT_FLAGS,
				   .icmp_type = ABSENT_ICMP, .icmp_code = ABSENT_ICMP, .vlan = ABSENT_VLAN };
	packet->src_hi = pick(state, entry->address[0], entry->shift[0]);
	packet->dst_hi = pick(state, entry->address[2], entry->shift[2]);
	if (family->six) {
		packet->src_lo = pick(state, entry->address[1], entry->shift[1]);
		packet->dst_lo = pick(state, entry->address[3], entry->shift[3]);
	}
	packet->src_port = entry->port_lo[0] +
			   (uint32_t)(next_random(state) % (entry->port_hi[0] - entry->port_lo[0] + 1u));
	packet->dst_port = entry->port_lo[1] +
			   (uint32_t)(next_random(state) % (entry->port_hi[1] - entry->port_lo[1] + 1u));
	packet->proto = (uint16_t)((entry->value & TABLE_PROTO) | (entry->mask & TABLE_PROTO ? 0 : 6));
}

/* The one's addresses and the other's ports: a packet that few rules let in. */
static void mix_packets(struct packet *packet, const struct packet *other)
{
	packet->src_port = other->src_port;
	packet->dst_port = other->dst_port;
	packet->proto = other->proto;
	packet->dst_hi = other->dst_hi;
	packet->dst_lo = other->dst_lo;
}

enum { MIXED = 5 }; /* one packet in so many */

static uint32_t refuse(const struct plan *plan, const struct packet *packet)
{
	(void)plan;
	(void)packet;
	return 0;
}

void table_sample(const struct table_work *table, const struct plan *plan, unsigned count,
		  struct table_visits *ret_visits)
{
	uint64_t state = 1;
	size_t all = table->families[0].entries.count + table->families[1].entries.count;

	*ret_visits = (struct table_visits){ 0 };
	for (unsigned six = 0; six < 2; six++) {
		const struct table_family *family = &table->families[six];
		size_t own = all ? (count * family->entries.count + all - 1) / all : 0;

		for (size_t i = 0; i < own; i++) {
			size_t index = next_random(&state) % family->entries.count;
			struct packet packet, other;

			draw_packet(family, &family->entries.items[index], &state, &packet);
			index = next_random(&state) % family->entries.count;
			draw_packet(family, &family->entries.items[index], &state, &other);
			if (i % MIXED == 0)
				mix_packets(&packet, &other);
			table_walk(plan, &packet, ret_visits, refuse);
		}
	}
}
