/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets from field values, and text from either: what `weir diff` shows as an example and `weir explain` judges.
 * What is not said is as plain as can be: 192.0.2.1 > 192.0.2.2 or 2001:db8::1 > 2001:db8::2, ports 1024, TCP flags S,
 * TTL 64, no VLAN tag, mark 0, no owner, no interface, as short as it can be.
 */
#ifndef WEIR_IR_PACKET_BUILD_H
#define WEIR_IR_PACKET_BUILD_H

#include "ir/model.h"

/* Longer ones do not occur: the kernel joins at most 8 * 65535 bytes (GSO_MAX_SIZE). */
enum { BUILT_LENGTH_MAX = 1 << 20 };

enum { PLAIN_PORT = 1024, PLAIN_FLAGS = 2, PLAIN_TTL = 64 };

/* The least and the greatest `length` of an IP packet with these, all headers whole. */
uint32_t built_length_min(enum packet_family family, unsigned proto, enum packet_fragment fragment);

/*
 * The packet that has these fields as the hook meets it. NULL, or in the arena why there is no such packet; then
 * nothing is returned. Interfaces and owners need not exist.
 */
const char *packet_build(struct arena *arena, enum hook hook, const struct model_fields *fields,
			 struct model_packet *ret_packet);

/* A packet that is malformed: an IPv4 header that ends too early. */
void packet_build_malformed(struct arena *arena, enum hook hook, struct model_packet *ret_packet);

/*
 * The packet on one line, as `weir log` writes it, for `weir explain` to read:
 *     tcp 192.0.2.1:1024 > 10.0.0.1:22 SA vlan=5 user=1000
 * Of what is not in front, only what is not plain. `ruleset` says which levels the cgroups are of; NULL: no cgroups.
 */
char *packet_print(struct arena *arena, enum hook hook, const struct model_packet *packet,
		   const struct ruleset *ruleset);

#endif
