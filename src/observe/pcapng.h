/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing pcapng files (draft-ietf-opsawg-pcapng): captured packets with what a policy made of them. Always little-endian,
 * times in nanoseconds, one section.
 */
#ifndef WEIR_OBSERVE_PCAPNG_H
#define WEIR_OBSERVE_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct pcapng;

/* Strings are cut at 1024 bytes; NULL or "" leaves the option out. */
struct pcapng_head {
	const char *os;
	const char *application;
};

enum pcapng_link { PCAPNG_ETHERNET = 1, PCAPNG_RAW_IP = 101 }; /* LINKTYPE_ values */

struct pcapng_interface {
	const char *name;
	const char *description;
	enum pcapng_link link;
	uint32_t snaplen; /* 0: no limit */
};

enum pcapng_direction { PCAPNG_UNKNOWN = 0, PCAPNG_INBOUND = 1, PCAPNG_OUTBOUND = 2 };
/* Types of an epb_verdict. */
enum pcapng_verdict { PCAPNG_NO_VERDICT = 0, PCAPNG_EBPF_TC = 1, PCAPNG_EBPF_XDP = 2 };

struct pcapng_packet {
	uint32_t interface;
	uint64_t time_ns;  /* since 1970 */
	const void *data;
	size_t captured;   /* at most PCAPNG_PACKET_MAX */
	size_t original;
	enum pcapng_direction direction;
	enum pcapng_verdict verdict_type;
	int64_t verdict;   /* what the program returned: TC_ACT_* or XDP_* */
	const char *comment;
};

enum { PCAPNG_PACKET_MAX = 65536 };

/* Begins a section on `stream`, which stays the caller's. NULL without memory. Errors show at pcapng_flush(). */
struct pcapng *pcapng_new(FILE *stream, const struct pcapng_head *head);

/* Describes an interface; the first is number 0, and so on. */
uint32_t pcapng_interface(struct pcapng *pcapng, const struct pcapng_interface *interface);
void pcapng_packet(struct pcapng *pcapng, const struct pcapng_packet *packet);

struct pcapng_statistics {
	uint32_t interface;
	uint64_t time_ns;
	uint64_t received;  /* isb_ifrecv: packets that were to be captured */
	uint64_t dropped;   /* isb_osdrop: of them, those that were lost */
	bool has_dropped;
	const char *comment;
};

void pcapng_statistics(struct pcapng *pcapng, const struct pcapng_statistics *statistics);

/* 0, or -EIO if anything so far could not be written. */
int pcapng_flush(struct pcapng *pcapng);
/* NULL is allowed. */
void pcapng_free(struct pcapng *pcapng);

#endif
