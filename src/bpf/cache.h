/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The answer cache (cache_abi.h): the same packets need not be judged again. In: a packet that is to be judged from the first
 * rule on; out: its answer, as classify() would give it.
 *
 * An answer depends on nothing but the fields that the classifier looks at, all of which are in the key, and on the rules,
 * which no change in place touches without another epoch. Where named sets or tunables are asked, or the kernel may stop
 * a program half-way for another packet on the same CPU (PLANE_PREEMPTIBLE, real-time kernels), nothing is kept.
 */
#ifndef WEIR_BPF_CACHE_H
#define WEIR_BPF_CACHE_H

#include "bpf/cache_abi.h"
#include "bpf/key.h"

const volatile struct cache_config cache_config SEC(CACHE_CONFIG) = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, CACHE_CHUNK);
} cache SEC(".maps");

/* It is read in the pieces in which parsing wrote it: for a word from several stores that are under way, the processor would wait. */
static __always_inline __u64 cache_key(const struct packet *packet, bool six, int word)
{
	int fixed = six ? CACHE_FIXED6 : CACHE_FIXED4;

	if (word == fixed - 2)
		return *(const volatile __u64 *)&packet->src_port; /* both */
	if (word == fixed - 1)
		return (__u64)FIELD(packet, tcp_flags) << 48 | (__u64)FIELD(packet, proto) << 32 |
		       (__u64)FIELD(packet, icmp_code) << 16 | FIELD(packet, icmp_type);
	if (word >= fixed)
		return key_word(packet, &cache_config.families[six].extra[word - fixed]);
	if (six)
		return ((const volatile __u64 *)packet)[word];
	return (__u64)FIELD(packet, src4) << 32 | FIELD(packet, dst4);
}

#define CACHE_EACH_WORD(word, six) \
	_Pragma("unroll") for (int word = 0; word < CACHE_KEY_WORDS; word++) if (cache_config.families[six].words > word)

/* Odd numbers whose bits are as good as random. */
static const __u64 cache_factors[CACHE_KEY_WORDS] = {
	0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f, 0xd6e8feb86659fd93, 0xa0761d6478bd642f,
	0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3,
};

static __always_inline __u64 cache_hash(const struct packet *packet, bool six)
{
	__u64 sum = 0;

	CACHE_EACH_WORD(word, six)
		sum += cache_key(packet, six, word) * cache_factors[word];
	return (sum ^ sum >> 32) * cache_factors[0];
}

static __always_inline __u32 cache_slot_size(bool six)
{
	return cache_config.families[six].words > CACHE_NARROW_WORDS ? 64 : 32;
}

/* The chunk of that number. */
static __always_inline void *cache_chunk(__u32 number)
{
	return bpf_map_lookup_elem(&cache, &number);
}

/* The first of the two slots where the packet's answer may be; or NULL. */
static __always_inline struct cache_slot *cache_slots(const struct packet *packet, bool six)
{
	const volatile struct cache_family *family = &cache_config.families[six];
	__u64 hash = cache_hash(packet, six);
	__u32 at = hash >> 49 & ~(2 * cache_slot_size(six) - 1);
	void *chunk = cache_chunk(family->first + ((__u32)(hash >> 32) & ((1u << family->bits) - 1)));

	if (!chunk || !at) /* an account's place */
		return NULL;
	return chunk + at;
}

/* What `head` is in slots of the rules in force, in the bits that cache_expired() looks at. */
static __always_inline __u64 cache_head(void)
{
	return epoch << CACHE_EPOCH_AT | CACHE_HELD;
}

/* 0 in slots of the rules in force. */
static __always_inline __u64 cache_expired(const struct cache_slot *slot, __u64 head)
{
	return (slot->head ^ head) & (~0ull << CACHE_EPOCH_AT | CACHE_HELD);
}

/* 1 unless the slot holds the packet's answer. A number, for which of two slots has it is a branch that would be guessed wrong. */
static __always_inline __u64 cache_lacks(const struct packet *packet, bool six, const struct cache_slot *slot, __u64 head)
{
	__u64 differs = cache_expired(slot, head);

	asm volatile("" : "+r"(packet));
	CACHE_EACH_WORD(word, six)
		differs |= slot->key[word] ^ cache_key(packet, six, word);
	differs = (differs | -differs) >> 63;
	asm volatile("" : "+r"(differs));
	return differs;
}

static __always_inline __u32 cache_found(struct cache_account *account, struct cache_slot *slot)
{
	__u64 head = slot->head;

	account->hits++;
	if (account->spent >= CACHE_SPENT_MAX)
		account->spent -= CACHE_REFUND;
	else if (account->spent)
		account->spent--;
	if (!(head & CACHE_USED))
		slot->head = head | CACHE_USED;
	return (__u32)(head & ~CACHE_HELD);
}

static __always_inline bool cache_keeps(const struct cache_slot *slot, __u64 head)
{
	return slot->head & CACHE_USED && !cache_expired(slot, head);
}

/*
 * Empties the slot that is to have the packet's answer: one that was not found since it was last wanted. If both were, neither,
 * but now and then they count as not found from then on: what comes once does not drive out what comes often.
 */
static __always_inline void cache_take(const struct cache_account *account, struct cache_slot *slot, struct cache_slot *next,
				       __u64 head)
{
	if (!cache_keeps(slot, head)) {
		slot->head = head & ~CACHE_HELD;
	} else if (!cache_keeps(next, head)) {
		next->head = head & ~CACHE_HELD;
	} else if (account->misses % CACHE_PATIENCE == 0) {
		slot->head &= ~CACHE_USED;
		next->head &= ~CACHE_USED;
	}
}

/* What is no answer, as it has ANSWER_STEPS: none is kept; or room was made for it. */
enum { CACHE_NONE = ANSWER_RUN(0), CACHE_ROOM = ANSWER_RUN(1) };

/* The answer that is kept for the packet, or one of those. */
static __always_inline __u32 cache_look(const struct packet *packet, bool six, struct cache_account *account)
{
	struct cache_slot *slot = cache_slots(packet, six), *next;
	__u64 head = cache_head(), lacks;

	if (!slot)
		return CACHE_NONE;
	next = (void *)slot + cache_slot_size(six);
	lacks = cache_lacks(packet, six, slot, head);
	if (!(lacks & cache_lacks(packet, six, next, head)))
		return cache_found(account, (void *)slot + lacks * cache_slot_size(six));
	account->misses++;
	if (account->spent < CACHE_SPENT_MAX && (account->spent += CACHE_LOSS) >= CACHE_SPENT_MAX)
		account->spent += CACHE_DEBT;
	cache_take(account, slot, next, head);
	return CACHE_ROOM;
}

/*
 * Puts the answer into a slot that was emptied, if one was. Its epoch is from before the packet was judged: what is kept may be
 * newer than that, but never older.
 */
static __always_inline void cache_keep(const struct packet *packet, bool six, __u32 answer)
{
	struct cache_slot *slot = cache_slots(packet, six);

	if (slot && slot->head & CACHE_HELD)
		slot = (void *)slot + cache_slot_size(six);
	if (!slot || slot->head & CACHE_HELD)
		return;
	CACHE_EACH_WORD(word, six)
		slot->key[word] = cache_key(packet, six, word);
	slot->head |= answer | CACHE_HELD;
}

/* Functions, for the stack that they take is then free while rules judge. */
OUT_OF_LINE __u32 cache_answer(const struct packet *packet, struct cache_account *account)
{
	return packet->family == FAMILY_IPV6 ? cache_look(packet, true, account) : cache_look(packet, false, account);
}

OUT_OF_LINE void cache_note(const struct packet *packet, __u32 answer)
{
	if (packet->family == FAMILY_IPV6)
		cache_keep(packet, true, answer);
	else
		cache_keep(packet, false, answer);
}

/* The account of the packet's family; NULL if there is no cache for it. */
static __always_inline struct cache_account *cache_account_of(const struct packet *packet)
{
	if (cache_config.families[0].words && packet->family == FAMILY_IPV4)
		return cache_chunk(cache_config.families[0].first);
	if (cache_config.families[1].words && packet->family == FAMILY_IPV6)
		return cache_chunk(cache_config.families[1].first);
	return NULL;
}

static __always_inline bool cache_is_worth_it(struct cache_account *account)
{
	return account->spent < CACHE_SPENT_MAX || ++account->passed % CACHE_SAMPLE == 0;
}

/* classify(), or what it said before. */
static __always_inline __u32 cache_classify(struct packet *packet)
{
	struct cache_account *account = cache_account_of(packet);
	__u32 kept = CACHE_NONE, answer;

	if (account && cache_is_worth_it(account))
		kept = cache_answer(packet, account);
	if (!(kept & ANSWER_STEPS))
		return kept;
	answer = classify(packet);
	if (kept == CACHE_ROOM && !(answer & ANSWER_STEPS))
		cache_note(packet, answer);
	return answer;
}

#endif
