/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A generator of packets: each run takes the frame it is given (Ethernet, IPv4 without options, UDP without a checksum),
 * gives it the next source address and source port, and sends it out of the device that it is said to have come from.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Odd, so that it goes through all values before any returns. */
#define STRIDE 0x9e3779b1u

const volatile __u32 network = 0;   /* host byte order */
const volatile __u32 host_mask = 0; /* which bits of the source address change */

__u32 number;

static __always_inline __u16 checksum(const __u16 *words)
{
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

SEC("xdp")
int blast(struct xdp_md *context)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);
	__u32 mixed = number++ * STRIDE;

	if ((void *)(udp + 1) > end)
		return XDP_DROP;
	ip->saddr = bpf_htonl(network | (mixed & host_mask));
	ip->check = 0;
	ip->check = checksum((const __u16 *)ip);
	udp->source = bpf_htons(1024 + (mixed >> 17));
	return XDP_TX;
}

char LICENSE[] SEC("license") = "GPL";
