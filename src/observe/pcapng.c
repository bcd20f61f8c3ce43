/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pcapng blocks. In: what is to be said of a section, an interface, a packet; out: one block each, built in memory
 * and written at once, so that a reader of a pipe never waits for the rest of one.
 */
#include "observe/pcapng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6,
	BYTE_ORDER_MAGIC = 0x1a2b3c4d,
};

enum {
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	SECTION_OS = 3,
	SECTION_APPLICATION = 4,
	INTERFACE_NAME = 2,
	INTERFACE_DESCRIPTION = 3,
	INTERFACE_RESOLUTION = 9,
	PACKET_FLAGS = 2,
	PACKET_VERDICT = 7,
	STATISTICS_RECEIVED = 4,
	STATISTICS_OS_DROPPED = 7,
};

/* All options of a block are at most a few strings and numbers. */
enum { TEXT_MAX = 1024, BLOCK_MAX = PCAPNG_PACKET_MAX + 4 * (TEXT_MAX + 8) + 128, NANOSECONDS = 9 };

struct pcapng {
	FILE *stream;
	uint32_t interfaces;
	size_t length; /* of the block so far */
	unsigned char block[BLOCK_MAX];
};

/* --- parts of a block ------------------------------------------------------------------------------------------- */

static void put_bytes(struct pcapng *pcapng, const void *bytes, size_t length)
{
	memcpy(pcapng->block + pcapng->length, bytes, length);
	pcapng->length += length;
	while (pcapng->length % 4)
		pcapng->block[pcapng->length++] = 0;
}

static void put_number(struct pcapng *pcapng, uint64_t number, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		pcapng->block[pcapng->length++] = (unsigned char)(number >> 8 * i);
}

static void put_time(struct pcapng *pcapng, uint64_t time_ns)
{
	put_number(pcapng, time_ns >> 32, 4);
	put_number(pcapng, time_ns & 0xffffffff, 4);
}

static void put_option(struct pcapng *pcapng, unsigned code, const void *value, size_t length)
{
	put_number(pcapng, code, 2);
	put_number(pcapng, length, 2);
	put_bytes(pcapng, value, length);
}

static void put_text(struct pcapng *pcapng, unsigned code, const char *text)
{
	size_t length = text ? strnlen(text, TEXT_MAX) : 0;

	if (length)
		put_option(pcapng, code, text, length);
}

static void put_number_option(struct pcapng *pcapng, unsigned code, uint64_t number, unsigned bytes)
{
	put_number(pcapng, code, 2);
	put_number(pcapng, bytes, 2);
	put_number(pcapng, number, bytes);
}

static void begin(struct pcapng *pcapng, uint32_t type)
{
	pcapng->length = 0;
	put_number(pcapng, type, 4);
	put_number(pcapng, 0, 4); /* the length, see end() */
}

static void end(struct pcapng *pcapng)
{
	size_t length;

	put_number(pcapng, OPTION_END, 4);
	length = pcapng->length + 4;
	put_number(pcapng, length, 4);
	pcapng->length = 4;
	put_number(pcapng, length, 4);
	fwrite(pcapng->block, 1, length, pcapng->stream);
}

/* --- blocks ----------------------------------------------------------------------------------------------------- */

static void section(struct pcapng *pcapng, const struct pcapng_head *head)
{
	begin(pcapng, BLOCK_SECTION);
	put_number(pcapng, BYTE_ORDER_MAGIC, 4);
	put_number(pcapng, 1, 2); /* version 1.0 */
	put_number(pcapng, 0, 2);
	put_number(pcapng, UINT64_MAX, 8); /* the section's length: not known */
	put_text(pcapng, SECTION_OS, head->os);
	put_text(pcapng, SECTION_APPLICATION, head->application);
	end(pcapng);
}

struct pcapng *pcapng_new(FILE *stream, const struct pcapng_head *head)
{
	struct pcapng *pcapng = malloc(sizeof *pcapng);

	if (!pcapng)
		return NULL;
	pcapng->stream = stream;
	pcapng->interfaces = 0;
	section(pcapng, head);
	return pcapng;
}

uint32_t pcapng_interface(struct pcapng *pcapng, const struct pcapng_interface *interface)
{
	const unsigned char resolution = NANOSECONDS;

	begin(pcapng, BLOCK_INTERFACE);
	put_number(pcapng, interface->link, 2);
	put_number(pcapng, 0, 2);
	put_number(pcapng, interface->snaplen, 4);
	put_text(pcapng, INTERFACE_NAME, interface->name);
	put_text(pcapng, INTERFACE_DESCRIPTION, interface->description);
	put_option(pcapng, INTERFACE_RESOLUTION, &resolution, 1);
	end(pcapng);
	return pcapng->interfaces++;
}

/* Its type in one octet, then the value in eight. */
static void put_verdict(struct pcapng *pcapng, const struct pcapng_packet *packet)
{
	unsigned char value[9] = { (unsigned char)packet->verdict_type };

	for (unsigned i = 0; i < 8; i++)
		value[1 + i] = (unsigned char)((uint64_t)packet->verdict >> 8 * i);
	put_option(pcapng, PACKET_VERDICT, value, sizeof value);
}

void pcapng_packet(struct pcapng *pcapng, const struct pcapng_packet *packet)
{
	size_t captured = packet->captured < PCAPNG_PACKET_MAX ? packet->captured : PCAPNG_PACKET_MAX;

	begin(pcapng, BLOCK_PACKET);
	put_number(pcapng, packet->interface, 4);
	put_time(pcapng, packet->time_ns);
	put_number(pcapng, captured, 4);
	put_number(pcapng, packet->original > captured ? packet->original : captured, 4);
	put_bytes(pcapng, packet->data, captured);
	put_text(pcapng, OPTION_COMMENT, packet->comment);
	if (packet->direction)
		put_number_option(pcapng, PACKET_FLAGS, packet->direction, 4);
	if (packet->verdict_type)
		put_verdict(pcapng, packet);
	end(pcapng);
}

void pcapng_statistics(struct pcapng *pcapng, const struct pcapng_statistics *statistics)
{
	begin(pcapng, BLOCK_STATISTICS);
	put_number(pcapng, statistics->interface, 4);
	put_time(pcapng, statistics->time_ns);
	put_text(pcapng, OPTION_COMMENT, statistics->comment);
	put_number_option(pcapng, STATISTICS_RECEIVED, statistics->received, 8);
	if (statistics->has_dropped)
		put_number_option(pcapng, STATISTICS_OS_DROPPED, statistics->dropped, 8);
	end(pcapng);
}

int pcapng_flush(struct pcapng *pcapng)
{
	return fflush(pcapng->stream) || ferror(pcapng->stream) ? -EIO : 0;
}

void pcapng_free(struct pcapng *pcapng)
{
	free(pcapng);
}
