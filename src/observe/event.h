/* SPDX-License-Identifier: GPL-2.0-only */
/* Decoding events of `log` actions: what the packet's first bytes say, for people. */
#ifndef WEIR_OBSERVE_EVENT_H
#define WEIR_OBSERVE_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/plane_abi.h"

struct event_fields {
	char protocol[16]; /* "tcp", "icmp6", "arp", a protocol number, or "0x8864": an Ethernet type */
	char src[64];      /* address: IPv4, IPv6 or MAC; "" if there is none */
	char dst[64];
	uint16_t sport; /* 0 if there are no ports */
	uint16_t dport;
	char flags[32]; /* TCP: "S", "SA", "FPU" ...; ICMP: the type's name or number; "fragment"; else "" */
};

/* Decodes as far as the captured bytes reach. -EINVAL if they hold not even an address; the rest of fields is "". */
int event_describe(const struct event *event, struct event_fields *ret_fields);

/*
 * One line without newline, as `weir log` shows it:
 *     drop web:3 tcp 10.0.0.1:999 > 10.0.0.2:80 S length 60 user 1000
 * `policy` and `interface` are looked up by the caller; an empty interface is left out. Returns what snprintf() would.
 */
int event_line(const struct event *event, const struct event_fields *fields, const char *policy,
	       const char *interface, char *buffer, size_t size);

#endif
