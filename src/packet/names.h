/* SPDX-License-Identifier: GPL-2.0-only */
/* Names for numbers in packets, as people are shown them: in events, examples and explanations. */
#ifndef WEIR_PACKET_NAMES_H
#define WEIR_PACKET_NAMES_H

#include <stdbool.h>

/* "tcp", "icmp6", ...; NULL if it has none here. */
const char *protocol_name(unsigned number);
/* The number, or -1. */
int protocol_by_name(const char *name);

/* "echo-request", ...; types of ICMP and ICMPv6 are different numbers. NULL or -1 if there is none. */
const char *icmp_type_name(bool ipv6, unsigned type);
int icmp_type_by_name(bool ipv6, const char *name);

/* The letters of TCP flags from FIN on, bit by bit. */
#define TCP_FLAG_LETTERS "FSRPAUEW"
enum { TCP_FLAGS_TEXT = sizeof TCP_FLAG_LETTERS };

/* "S", "SA", "FPU"; at most TCP_FLAGS_TEXT bytes with the NUL. */
void tcp_flags_print(unsigned flags, char *buffer);
/* The flags octet, or -1 if a letter is none or stands there twice. */
int tcp_flags_parse(const char *text);

#endif
