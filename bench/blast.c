/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * blast OBJECT DEVICE SOURCE_MAC DESTINATION_MAC NETWORK PREFIX DESTINATION PORT COUNT
 *
 * Sends COUNT UDP packets of 60 bytes out of DEVICE as fast as one CPU can, by an XDP program on live frames, and prints
 * the nanoseconds that all of them took. NETWORK/PREFIX: where source addresses come from. Root. For bench/live.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FRAME = 60, BATCH = 64 };

static void fail(const char *what)
{
	fprintf(stderr, "blast: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void make_frame(char *frame, const char *source_mac, const char *destination_mac, const char *destination,
		       const char *port)
{
	struct ethhdr ethernet = { .h_proto = htons(ETH_P_IP) };
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
			    .tot_len = htons(FRAME - sizeof ethernet), .daddr = inet_addr(destination) };
	struct udphdr udp = { .dest = htons((uint16_t)atoi(port)),
			      .len = htons(FRAME - sizeof ethernet - sizeof ip) };
	struct ether_addr mac;

	if (!ether_aton_r(source_mac, &mac))
		fail(source_mac);
	memcpy(ethernet.h_source, &mac, ETH_ALEN);
	if (!ether_aton_r(destination_mac, &mac))
		fail(destination_mac);
	memcpy(ethernet.h_dest, &mac, ETH_ALEN);
	memset(frame, 0, FRAME);
	memcpy(frame, &ethernet, sizeof ethernet);
	memcpy(frame + sizeof ethernet, &ip, sizeof ip);
	memcpy(frame + sizeof ethernet + sizeof ip, &udp, sizeof udp);
}

static int load(const char *path, const char *network, const char *prefix)
{
	const uint32_t range[] = { ntohl(inet_addr(network)), atoi(prefix) ? ~0u >> atoi(prefix) : ~0u };
	struct bpf_object *object = bpf_object__open(path);
	struct bpf_map *constants = object ? bpf_object__find_map_by_name(object, ".rodata") : NULL;

	if (!constants || bpf_map__set_initial_value(constants, range, sizeof range) || bpf_object__load(object))
		fail(path);
	return bpf_program__fd(bpf_object__find_program_by_name(object, "blast"));
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	char frame[FRAME];
	struct xdp_md context = { .data_end = FRAME };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = FRAME, .ctx_in = &context,
		    .ctx_size_in = sizeof context, .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);
	uint64_t begin;
	int program;

	if (argc != 10) {
		fprintf(stderr, "usage: blast OBJECT DEVICE SOURCE_MAC DESTINATION_MAC NETWORK PREFIX DESTINATION PORT COUNT\n");
		return 3;
	}
	context.ingress_ifindex = if_nametoindex(argv[2]);
	if (!context.ingress_ifindex)
		fail(argv[2]);
	make_frame(frame, argv[3], argv[4], argv[7], argv[8]);
	program = load(argv[1], argv[5], argv[6]);
	options.repeat = atoi(argv[9]);
	begin = now_ns();
	if (bpf_prog_test_run_opts(program, &options))
		fail("BPF_PROG_TEST_RUN");
	printf("%llu\n", (unsigned long long)(now_ns() - begin));
	return 0;
}
