/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random packets for tests, biased to boundaries: deterministic for a seed and the values that were added.
 *
 * A source draws field values from its pool (what a policy under test compares with, and the neighbours of that), from
 * well-known values and at random. Most packets are well formed; a good part has a wrong length somewhere, is cut at
 * or beside a header's end, or has padding behind it.
 */
#ifndef WEIR_TESTS_LIB_PACKETS_H
#define WEIR_TESTS_LIB_PACKETS_H

#include "ir/model.h"
#include "tests/lib/random.h"

enum { PACKETS_POOL_MAX = 64, PACKET_BYTES_MAX = 2048 };

struct packet_source {
	struct random random;
	bool well_formed; /* set by the caller: nothing malformed, at most one IPv6 fragment header */
	bool plain;       /* set by the caller: also no fragments, no VLAN tags, no IPv6 extension headers */
	struct {
		u128 values[PACKETS_POOL_MAX];
		uint32_t count;
	} pool[FIELD_COUNT];
};

/* An empty pool, and both choices off. */
void packets_seed(struct packet_source *source, uint64_t seed);

/* Adds one value; a full pool forgets a random one. */
void packets_add(struct packet_source *source, enum field field, u128 value);

/* Adds the ends of every range in the policy's conditions and sets, and the values beside them. */
void packets_add_ruleset(struct packet_source *source, const struct ruleset *ruleset);

/* Writes the next Ethernet frame, at most `size` bytes (cut there); returns its length. */
size_t packets_next(struct packet_source *source, unsigned char *buffer, size_t size);

/*
 * The next packet as the hook meets it, with metadata (interfaces, mark, owner, sometimes a VLAN tag beside the frame)
 * drawn from the pool; its data is in `buffer`. At hooks without frames it is always IP, though maybe malformed.
 */
void packets_next_at(struct packet_source *source, enum hook hook, unsigned char *buffer, size_t size,
		     struct model_packet *ret_packet);

#endif
