/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A classic BPF interpreter for socket filters, with the loads that the kernel adds: relative to the network header, and
 * ancillary data. It also says what of an IP packet a socket's filter would get, and what the kernel's checker refuses.
 */
#ifndef WEIR_TESTS_LIB_CBPF_SIM_H
#define WEIR_TESTS_LIB_CBPF_SIM_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cbpf_packet {
	const unsigned char *network; /* from the IP header on */
	size_t size;                  /* bytes there */
	size_t data;                  /* offset of the filter's data: the transport header */
	uint32_t length;              /* of the data */
	uint16_t protocol;            /* ethertype */
	uint32_t interface;
	uint32_t mark;
};

/* What a socket of that packet's protocol would get; false if no socket ever gets such a packet. */
bool cbpf_receive(const unsigned char *packet, size_t size, uint16_t ethertype, struct cbpf_packet *ret_packet);

/* What the program returns; a load that fails ends it with 0. The program must have passed cbpf_check(). */
uint32_t cbpf_run(const struct sock_filter *insns, size_t count, const struct cbpf_packet *packet);

/* NULL, or what the kernel would refuse: a wrong instruction or jump, memory read before it was written. */
const char *cbpf_check(const struct sock_filter *insns, size_t count);

#endif
