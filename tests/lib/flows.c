/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "tests/lib/flows.h"

enum { TCP = 6, UDP = 17, ICMP = 1, ICMPV6 = 58, SCTP = 132, GRE = 47, FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

/* Conversation i is of this protocol, over IPv6 if i is odd. */
static const unsigned protocols[FLOWS_CONVERSATIONS] = { TCP, TCP, UDP, ICMP, SCTP, GRE };

struct frame {
	unsigned char *bytes;
	size_t length;
};

static void put(struct frame *frame, uint64_t value, unsigned bytes)
{
	while (bytes--)
		frame->bytes[frame->length++] = (unsigned char)(value >> bytes * 8);
}

void flows_seed(struct flows_source *source, uint64_t seed)
{
	memset(source, 0, sizeof *source);
	source->random = random_seed(seed);
	for (int i = 0; i < FLOWS_CONVERSATIONS; i++)
		for (int side = 0; side < 2; side++) {
			struct flows_end *end = &source->ends[i][side];

			end->next = (uint32_t)random_next(&source->random);
			if (random_once_in(&source->random, 3))
				end->next = (uint32_t)-100; /* wraps soon */
			end->tag = (uint32_t)random_next(&source->random) | 1;
		}
	for (int i = 0; i < FLOWS_CONVERSATIONS; i++)
		for (int side = 0; side < 2; side++)
			source->ends[i][side].got = source->ends[i][!side].next;
}

/* --- transport -------------------------------------------------------------------------------------------------- */

static unsigned tcp_flags(struct random *random)
{
	static const unsigned char usual[] = { SYN, SYN, SYN | ACK, SYN | ACK, ACK, ACK, ACK, ACK | PSH, ACK | PSH,
					       FIN | ACK, RST, RST | ACK };

	return random_once_in(random, 40) ? random_below(random, 256) : RANDOM_PICK(random, usual);
}

/* A number near the right one, or the right one. */
static uint32_t near(struct random *random, uint32_t right)
{
	static const uint32_t offsets[] = { 1, 2, 100, 1000, 65535, 65536, 66000, 67000, 100000, 1 << 20, 1u << 31 };

	if (!random_once_in(random, 6))
		return right;
	return random_once_in(random, 2) ? right + RANDOM_PICK(random, offsets) : right - RANDOM_PICK(random, offsets);
}

static void put_tcp_options(struct frame *frame, struct random *random, unsigned words)
{
	size_t end = frame->length + words * 4;

	while (frame->length + 4 <= end) {
		switch (random_below(random, 4)) {
		case 0:
			put(frame, 0x01030300 | random_below(random, 16), 4);
			break;
		case 1:
			put(frame, 0x020405b4, 4);
			break;
		case 2:
			put(frame, 0x01010402, 4);
			break;
		default:
			put(frame, random_once_in(random, 4) ? 0 : 0x01010101, 4);
		}
	}
}

static void put_tcp(struct flows_source *source, struct frame *frame, int i, int side)
{
	static const uint16_t windows[] = { 0, 1, 500, 29200, 64240, 65535 };
	struct random *random = &source->random;
	struct flows_end *end = &source->ends[i][side];
	unsigned flags = tcp_flags(random), words = random_below(random, 4);
	unsigned data = flags & (SYN | RST) && !random_once_in(random, 10) ? 0 : random_below(random, 3) * 50;
	uint32_t seq = near(random, end->next);

	put(frame, side ? 80 : 40000, 2);
	put(frame, side ? 40000 : 80, 2);
	put(frame, seq, 4);
	put(frame, flags & ACK || random_once_in(random, 8) ? near(random, end->got) : 0, 4);
	put(frame, (5 + words) << 4, 1);
	put(frame, flags, 1);
	put(frame, RANDOM_PICK(random, windows), 2);
	put(frame, 0, 4);
	put_tcp_options(frame, random, words);
	for (unsigned n = 0; n < data; n++)
		put(frame, n, 1);
	if (random_once_in(random, 8) || seq != end->next)
		return; /* lost, or nonsense: the other end does not get it */
	seq += data + !!(flags & SYN) + !!(flags & FIN);
	if (!(flags & RST))
		end->next = seq;
	if (!random_once_in(random, 10))
		source->ends[i][!side].got = seq;
}

static void put_udp(struct frame *frame, int side)
{
	put(frame, side ? 53 : 5000, 2);
	put(frame, side ? 5000 : 53, 2);
	put(frame, 12, 2);
	put(frame, 0, 2);
	put(frame, 0, 4);
}

static void put_echo(struct frame *frame, struct random *random, bool ipv6)
{
	static const unsigned char types4[] = { 8, 8, 0, 0, 13, 14, 5, 9 }, types6[] = { 128, 128, 129, 129, 137, 135 };

	put(frame, ipv6 ? RANDOM_PICK(random, types6) : RANDOM_PICK(random, types4), 1);
	put(frame, 0, 3);
	put(frame, 7 + random_below(random, 2), 2);
	put(frame, 1, 2);
}

static void put_sctp(struct flows_source *source, struct frame *frame, int i, int side)
{
	static const unsigned char chunks[] = { 1, 1, 2, 2, 10, 10, 11, 11, 0, 3, 7, 8, 14, 6 };
	struct random *random = &source->random;
	unsigned chunk = RANDOM_PICK(random, chunks);
	uint32_t tag = chunk == 1 ? 0 : source->ends[i][!side].tag;
	bool reflect = random_once_in(random, 4);

	if (random_once_in(random, 10))
		tag = (uint32_t)random_next(random);
	else if (reflect && (chunk == 6 || chunk == 14))
		tag = source->ends[i][side].tag;
	put(frame, side ? 36412 : 5000, 2);
	put(frame, side ? 5000 : 36412, 2);
	put(frame, tag, 4);
	put(frame, 0, 4);
	put(frame, chunk, 1);
	put(frame, reflect, 1);
	put(frame, 20, 2);
	if (random_once_in(random, 20))
		return; /* cut short */
	put(frame, source->ends[i][side].tag, 4);
	put(frame, 0, 8);
	put(frame, 0, 4);
}

/* --- the rest of a packet ---------------------------------------------------------------------------------------- */

static void put_ethernet(struct frame *frame, bool ipv6)
{
	put(frame, 0x020000000002, 6);
	put(frame, 0x020000000001, 6);
	put(frame, ipv6 ? 0x86dd : 0x0800, 2);
}

/* The length is put in later. */
static void put_ip(struct frame *frame, struct random *random, bool ipv6, unsigned proto, int i, int side)
{
	unsigned ttl = random_once_in(random, 8) ? 13 : 64;
	unsigned fragment = random_once_in(random, 20) ? random_once_in(random, 3) ? 1 : 0x2000 : 0; /* later; first */

	if (ipv6) {
		put(frame, 0x60000000, 4);
		put(frame, 0, 2);
		put(frame, proto, 1);
		put(frame, ttl, 1);
		for (int n = 0; n < 2; n++) {
			put(frame, 0xfd00000000000000, 8);
			put(frame, (uint64_t)i << 8 | (n ? !side : side), 8);
		}
		return;
	}
	put(frame, 0x45000000, 4);
	put(frame, fragment, 4);
	put(frame, ttl, 1);
	put(frame, proto, 1);
	put(frame, 0, 2);
	for (int n = 0; n < 2; n++)
		put(frame, 0x0a000000 | (unsigned)i << 8 | (unsigned)(n ? !side : side), 4);
}

static void end_ip(struct frame *frame, bool ipv6)
{
	size_t length = frame->length - 14, at = ipv6 ? 18 : 16;

	if (ipv6)
		length -= 40;
	frame->bytes[at] = (unsigned char)(length >> 8);
	frame->bytes[at + 1] = (unsigned char)length;
}

/* An error about what the other end sent last; mostly to it. */
static bool put_error(struct flows_source *source, struct frame *frame, int i, int side)
{
	static const unsigned char types4[] = { 3, 11, 12, 5, 4 }, types6[] = { 1, 2, 3, 4, 100 };
	struct random *random = &source->random;
	size_t length = source->last_length[i][!side];
	bool ipv6 = i % 2;
	size_t ip = ipv6 ? 40 : 20;

	if (length < 14 + ip + 8)
		return false;
	put_ethernet(frame, ipv6);
	put_ip(frame, random, ipv6, ipv6 ? ICMPV6 : ICMP, i, random_once_in(random, 8) ? !side : side);
	put(frame, ipv6 ? RANDOM_PICK(random, types6) : RANDOM_PICK(random, types4), 1);
	put(frame, 0, 7);
	length = random_once_in(random, 10) ? random_below(random, (uint32_t)(ip + 8)) : ip + 8;
	memcpy(frame->bytes + frame->length, source->last[i][!side] + 14, length);
	frame->length += length;
	end_ip(frame, ipv6);
	return true;
}

static void put_packet(struct flows_source *source, struct frame *frame, int i, int side)
{
	unsigned proto = protocols[i];
	bool ipv6 = i % 2;

	if (proto == ICMP && ipv6)
		proto = ICMPV6;
	put_ethernet(frame, ipv6);
	put_ip(frame, &source->random, ipv6, proto, i, side);
	if (proto == TCP)
		put_tcp(source, frame, i, side);
	else if (proto == UDP)
		put_udp(frame, side);
	else if (proto == SCTP)
		put_sctp(source, frame, i, side);
	else if (proto == GRE)
		put(frame, 0x08000000, 4);
	else
		put_echo(frame, &source->random, ipv6);
	end_ip(frame, ipv6);
	memcpy(source->last[i][side], frame->bytes, frame->length);
	source->last_length[i][side] = frame->length;
}

static uint64_t pause(struct random *random)
{
	static const uint64_t seconds[] = { 1, 3, 9, 11, 31, 61, 119, 121, 700, 6 * 86400 };

	if (!random_once_in(random, 30))
		return random_below(random, 3) * 1000000ull;
	return RANDOM_PICK(random, seconds) * 1000000000ull;
}

size_t flows_next(struct flows_source *source, unsigned char bytes[FLOWS_FRAME_MAX], uint64_t *ret_pause_ns)
{
	struct random *random = &source->random;
	struct frame frame = { bytes, 0 };
	int i = (int)random_below(random, FLOWS_CONVERSATIONS + 4), side = (int)random_below(random, 2);

	if (i >= FLOWS_CONVERSATIONS)
		i %= 2; /* mostly TCP */
	*ret_pause_ns = pause(random);
	if (!random_once_in(random, 12) || !put_error(source, &frame, i, side)) {
		frame.length = 0;
		put_packet(source, &frame, i, side);
	}
	return frame.length;
}
