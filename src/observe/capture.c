/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Capture files through libpcap. In: a file of any supported link type. Out: Ethernet frames. Fails with a sentence
 * when it is opened, with -EIO where a record is broken.
 *
 * A packet shorter than its link-layer header becomes an empty frame, and a packet of no known protocol one of that
 * unknown type: both are for the data planes to judge, as any other bytes.
 */
#include "observe/capture.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/pcap_calls.h"

enum { ETHER_BYTES = 14, TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPES_BEGIN = 1536, LENGTH_MAX = 1500 };

struct link_type {
	int type;      /* DLT_* */
	size_t header; /* bytes before the IP header */
	/* Ethernet type of a packet that has at least the header; NULL: it is Ethernet. */
	unsigned (*ethertype)(const unsigned char *data, size_t length);
};

struct capture {
	const struct pcap_calls *calls;
	pcap_t *pcap;
	const struct link_type *link;
	unsigned char *buffer; /* a synthetic frame */
	size_t size;
};

struct capture_writer {
	const struct pcap_calls *calls;
	pcap_t *pcap;
	pcap_dumper_t *dumper;
	size_t snaplen;
};

/* --- link types ----------------------------------------------------------------------------------------------- */

static unsigned get16(const unsigned char *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

/* What is not IPv6 is called IPv4, and is malformed if it is not that either. */
static unsigned type_of_version(const unsigned char *data, size_t length)
{
	return length && data[0] >> 4 == 6 ? TYPE_IPV6 : TYPE_IPV4;
}

static unsigned type_ipv4(const unsigned char *data, size_t length)
{
	(void)data;
	(void)length;
	return TYPE_IPV4;
}

static unsigned type_ipv6(const unsigned char *data, size_t length)
{
	(void)data;
	(void)length;
	return TYPE_IPV6;
}

/* Cooked protocols below 1536 say how an 802.3 frame goes on: its type field was the length. */
static unsigned type_of_cooked(unsigned protocol, size_t payload)
{
	if (protocol >= TYPES_BEGIN)
		return protocol;
	return payload < LENGTH_MAX ? (unsigned)payload : LENGTH_MAX;
}

static unsigned type_of_sll(const unsigned char *data, size_t length)
{
	return type_of_cooked(get16(data + 14), length - 16);
}

static unsigned type_of_sll2(const unsigned char *data, size_t length)
{
	return type_of_cooked(get16(data), length - 20);
}

/*
 * Four bytes hold the address family, in the byte order of the machine that captured (BSD loopback) or of the network
 * (OpenBSD's). AF_INET is 2 everywhere; AF_INET6 differs, so the packet itself says which it is.
 */
static unsigned type_of_loopback(const unsigned char *data, size_t length)
{
	return type_of_version(data + 4, length - 4);
}

static const struct link_type link_types[] = {
	{ DLT_EN10MB, 0, NULL },
	{ DLT_RAW, 0, type_of_version },
	{ DLT_IPV4, 0, type_ipv4 },
	{ DLT_IPV6, 0, type_ipv6 },
	{ DLT_LINUX_SLL, 16, type_of_sll },
	{ DLT_LINUX_SLL2, 20, type_of_sll2 },
	{ DLT_NULL, 4, type_of_loopback },
	{ DLT_LOOP, 4, type_of_loopback },
};

static const struct link_type *find_link(int type)
{
	for (size_t i = 0; i < sizeof link_types / sizeof *link_types; i++)
		if (link_types[i].type == type)
			return &link_types[i];
	return NULL;
}

static const char no_library[] = "libpcap is not installed";

/* --- reading -------------------------------------------------------------------------------------------------- */

/* libpcap begins some messages with the path, some not. */
static const char *without_path(const char *reason, const char *path)
{
	size_t length = strlen(path);
	bool begins = !strncmp(reason, path, length) && !strncmp(reason + length, ": ", 2);

	return begins ? reason + length + 2 : reason;
}

static int cannot_open(const char *path, const char *reason, char *error, size_t error_size)
{
	snprintf(error, error_size, "cannot read `%s`: %s", path, without_path(reason, path));
	return -EINVAL;
}

static int check_link(const struct pcap_calls *calls, const char *path, pcap_t *pcap, char *error, size_t error_size)
{
	const char *name = calls->datalink_val_to_description_or_dlt(calls->datalink(pcap));

	if (find_link(calls->datalink(pcap)))
		return 0;
	snprintf(error, error_size,
		 "cannot use `%s`: its link type is %s, not Ethernet, raw IP, Linux cooked or loopback", path, name);
	return -EINVAL;
}

int capture_open(const char *path, char *error, size_t error_size, struct capture **ret_capture)
{
	const struct pcap_calls *calls = pcap_calls();
	char reason[PCAP_ERRBUF_SIZE] = "";
	pcap_t *pcap = calls ? calls->open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, reason) : NULL;
	struct capture *capture;
	int result;

	if (!pcap)
		return cannot_open(path, calls ? reason : no_library, error, error_size);
	result = check_link(calls, path, pcap, error, error_size);
	capture = result ? NULL : calloc(1, sizeof *capture);
	if (!capture) {
		calls->close(pcap);
		if (!result)
			snprintf(error, error_size, "cannot read `%s`: out of memory", path);
		return result ? result : -ENOMEM;
	}
	*capture = (struct capture){ .calls = calls, .pcap = pcap, .link = find_link(calls->datalink(pcap)) };
	*ret_capture = capture;
	return 0;
}

void capture_close(struct capture *capture)
{
	if (!capture)
		return;
	capture->calls->close(capture->pcap);
	free(capture->buffer);
	free(capture);
}

const char *capture_error(struct capture *capture)
{
	return capture->calls->geterr(capture->pcap);
}

static int reserve(struct capture *capture, size_t size)
{
	unsigned char *buffer;

	if (size <= capture->size)
		return 0;
	buffer = realloc(capture->buffer, size);
	if (!buffer)
		return -ENOMEM;
	capture->buffer = buffer;
	capture->size = size;
	return 0;
}

/* Puts an Ethernet header in the place of what the link type has before the IP header. */
static int normalize(struct capture *capture, const unsigned char *data, struct frame *frame)
{
	static const unsigned char addresses[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };
	size_t header = capture->link->header, length = frame->length;
	unsigned type;

	if (length < header) {
		frame->data = addresses;
		frame->length = 0;
		return 1;
	}
	if (reserve(capture, ETHER_BYTES + length - header))
		return -ENOMEM;
	type = capture->link->ethertype(data, length);
	memcpy(capture->buffer, addresses, sizeof addresses);
	capture->buffer[12] = (unsigned char)(type >> 8);
	capture->buffer[13] = (unsigned char)type;
	memcpy(capture->buffer + ETHER_BYTES, data + header, length - header);
	frame->data = capture->buffer;
	frame->length = ETHER_BYTES + length - header;
	frame->original = ETHER_BYTES + frame->original - header;
	return 1;
}

int capture_next(struct capture *capture, struct frame *ret_frame)
{
	struct pcap_pkthdr *header;
	const unsigned char *data;
	struct frame frame;
	int got = capture->calls->next_ex(capture->pcap, &header, &data);

	if (got == PCAP_ERROR_BREAK)
		return 0;
	if (got != 1)
		return -EIO;
	frame.data = data;
	frame.length = header->caplen;
	frame.original = header->len > header->caplen ? header->len : header->caplen;
	frame.time_ns = (uint64_t)header->ts.tv_sec * 1000000000u + (uint64_t)header->ts.tv_usec;
	got = capture->link->ethertype ? normalize(capture, data, &frame) : 1;
	if (got == 1)
		*ret_frame = frame;
	return got;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static int cannot_create(const char *path, const char *reason, char *error, size_t error_size,
			 struct capture_writer *writer)
{
	snprintf(error, error_size, "cannot write `%s`: %s", path, without_path(reason, path));
	if (writer && writer->pcap)
		writer->calls->close(writer->pcap);
	free(writer);
	return -EIO;
}

int capture_create(const char *path, size_t snaplen, char *error, size_t error_size,
		   struct capture_writer **ret_writer)
{
	struct capture_writer *writer = calloc(1, sizeof *writer);

	if (!writer)
		return cannot_create(path, "out of memory", error, error_size, NULL);
	writer->calls = pcap_calls();
	if (!writer->calls)
		return cannot_create(path, no_library, error, error_size, writer);
	writer->snaplen = snaplen;
	writer->pcap = writer->calls->open_dead_with_tstamp_precision(DLT_EN10MB, (int)snaplen, PCAP_TSTAMP_PRECISION_NANO);
	if (!writer->pcap)
		return cannot_create(path, "out of memory", error, error_size, writer);
	writer->dumper = writer->calls->dump_open(writer->pcap, path);
	if (!writer->dumper)
		return cannot_create(path, writer->calls->geterr(writer->pcap), error, error_size, writer);
	*ret_writer = writer;
	return 0;
}

void capture_write(struct capture_writer *writer, const struct frame *frame)
{
	size_t length = frame->length < writer->snaplen ? frame->length : writer->snaplen;
	struct pcap_pkthdr header = {
		.ts = { (time_t)(frame->time_ns / 1000000000u), (suseconds_t)(frame->time_ns % 1000000000u) },
		.caplen = (bpf_u_int32)length,
		.len = (bpf_u_int32)(frame->original > frame->length ? frame->original : frame->length),
	};

	writer->calls->dump((unsigned char *)writer->dumper, &header, frame->data);
}

int capture_finish(struct capture_writer *writer)
{
	const struct pcap_calls *calls;
	bool failed;

	if (!writer)
		return 0;
	calls = writer->calls;
	failed = calls->dump_flush(writer->dumper) || ferror(calls->dump_file(writer->dumper));
	calls->dump_close(writer->dumper);
	calls->close(writer->pcap);
	free(writer);
	return failed ? -EIO : 0;
}
