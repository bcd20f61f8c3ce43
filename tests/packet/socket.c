/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random policies on real sockets: packets are put on the loopback of a network namespace of our own, towards a UDP
 * and a TCP socket, filtered by classic BPF and by the eBPF program. What arrives must be what the model accepts,
 * whole.
 *
 *     socket [--policies N] [--packets N] [--seed N]
 *
 * A packet that does not arrive without a filter either (the kernel dislikes its addresses or options) says nothing.
 * Prints TAP, one case a protocol and program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <linux/sock_diag.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api.h"
#include "ir/model.h"
#include "tests/lib/cbpf_sim.h"
#include "tests/lib/packets.h"
#include "tests/lib/plain_rules.h"
#include "tests/lib/policies.h"

static const unsigned char own4[4] = { 10, 9, 9, 9 };
static const unsigned char own6[16] = { 0xfd, 9, [15] = 9 };

enum { PACKETS_MAX = 200, SIZE_MAX_SENT = 1400 };

struct options {
	unsigned policies, packets;
	uint64_t seed;
};

struct sent {
	unsigned char data[SIZE_MAX_SENT];
	size_t length;
	uint16_t ethertype, source_port;
	uint32_t payload; /* UDP: bytes that must arrive */
	bool reaches;     /* without a filter */
	bool accepted;    /* by the model */
};

/* How a socket is filtered. */
enum way { WAY_NONE, WAY_CLASSIC, WAY_EBPF, WAYS };
static const char *const way_names[WAYS] = { "no filter", "classic BPF", "eBPF" };

struct subject {
	const struct options *options;
	struct kernel *kernel;
	int wire;  /* packets of loopback, both ways */
	int type;  /* SOCK_DGRAM or SOCK_STREAM */
	uint16_t port;
	uint64_t seed;
	int prog;
	struct cbpf_program classic;
	struct sent packets[PACKETS_MAX];
	size_t count;
	size_t judged, accepted;
	double charge_error; /* greatest, of the estimate */
};

/* --- packets ----------------------------------------------------------------------------------------------------- */

static uint32_t sum_bytes(uint32_t sum, const unsigned char *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	return sum;
}

static void put_checksum(unsigned char *at, uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	if (!sum)
		sum = 0xffff;
	at[0] = (unsigned char)(sum >> 8);
	at[1] = (unsigned char)sum;
}

static void fix_checksums(unsigned char *ip, const struct cbpf_packet *packet, unsigned proto)
{
	unsigned char *transport = ip + packet->data;
	unsigned char *checksum = transport + (proto == IPPROTO_UDP ? 6 : 16);
	bool ipv4 = packet->protocol == ETH_P_IP;
	size_t length = packet->size - packet->data; /* UDP's own may be less: it is summed over its own */
	uint32_t sum = proto;

	if (proto == IPPROTO_UDP)
		length = packet->length;
	checksum[0] = checksum[1] = 0;
	sum += (uint32_t)length;
	sum = sum_bytes(sum, ipv4 ? ip + 12 : ip + 8, ipv4 ? 8 : 32);
	put_checksum(checksum, sum_bytes(sum, transport, length));
	if (!ipv4)
		return;
	ip[10] = ip[11] = 0;
	put_checksum(ip + 10, sum_bytes(0, ip, packet->data));
}

static bool seen_before(const struct subject *subject, const struct sent *sent)
{
	for (size_t i = 0; i < subject->count; i++)
		if (subject->packets[i].source_port == sent->source_port)
			return true;
	return false;
}

/* Makes a random packet one for our socket; false if it cannot be. */
static bool readdress(const struct subject *subject, struct sent *sent)
{
	unsigned wanted = subject->type == SOCK_DGRAM ? IPPROTO_UDP : IPPROTO_TCP;
	struct model_packet input = { .data = sent->data, .length = sent->length, .ethertype = sent->ethertype };
	struct cbpf_packet packet;
	struct model_fields fields;
	unsigned char *transport;

	model_parse(HOOK_SOCKET, &input, &fields);
	if (fields.malformed || fields.value[FIELD_PROTO] != wanted ||
	    !cbpf_receive(sent->data, sent->length, sent->ethertype, &packet))
		return false;
	if (sent->ethertype == ETH_P_IP)
		memcpy(sent->data + 16, own4, sizeof own4);
	else
		memcpy(sent->data + 24, own6, sizeof own6);
	sent->length = packet.size;
	transport = sent->data + packet.data;
	sent->source_port = (uint16_t)(transport[0] << 8 | transport[1]);
	transport[2] = (unsigned char)(subject->port >> 8);
	transport[3] = (unsigned char)subject->port;
	if (wanted == IPPROTO_TCP)
		transport[13] = 2; /* a SYN */
	sent->payload = packet.length - 8;
	fix_checksums(sent->data, &packet, wanted);
	return !seen_before(subject, sent);
}

static void make_packets(struct subject *subject, struct arena *arena, const struct ruleset *ruleset)
{
	struct packet_source source;

	packets_seed(&source, subject->seed);
	packets_add_ruleset(&source, ruleset);
	source.well_formed = true;
	subject->count = 0;
	for (unsigned i = 0; i < 20 * subject->options->packets && subject->count < subject->options->packets; i++) {
		struct sent *sent = &subject->packets[subject->count];
		struct model_packet input;
		struct model_result result;

		packets_next_at(&source, HOOK_SOCKET, sent->data, sizeof sent->data, &input);
		sent->length = input.length;
		sent->ethertype = input.ethertype;
		if (!readdress(subject, sent))
			continue;
		input = (struct model_packet){ .data = sent->data, .length = sent->length,
					       .ethertype = sent->ethertype, .in_iface = if_nametoindex("lo"),
					       .user = ABSENT_OWNER, .group = ABSENT_OWNER };
		model_judge(arena, ruleset, HOOK_SOCKET, &input, &result);
		sent->accepted = result.verdict == VERDICT_ACCEPT;
		subject->count++;
	}
}

/* --- sockets ----------------------------------------------------------------------------------------------------- */

/* What the kernel took of option memory, against the estimate. */
static void check_charge(struct subject *subject, int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t size = sizeof info;
	double error;

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) || !info[SK_MEMINFO_OPTMEM])
		return;
	error = (double)subject->classic.charge / info[SK_MEMINFO_OPTMEM] - 1;
	if (error < 0)
		error = -error;
	if (error > subject->charge_error)
		subject->charge_error = error;
}

static int attach(struct subject *subject, int fd, enum way way)
{
	const struct sock_fprog program = { subject->classic.insn_count, (struct sock_filter *)subject->classic.insns };

	if (way == WAY_EBPF)
		return setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &subject->prog, sizeof subject->prog);
	if (way == WAY_CLASSIC && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
		return -1;
	if (way == WAY_CLASSIC)
		check_charge(subject, fd);
	return 0;
}

static int open_socket(struct subject *subject, enum way way)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(subject->port) };
	const int on = 1;
	int fd = socket(AF_INET6, subject->type | SOCK_NONBLOCK, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (fd >= 0 && (attach(subject, fd, way) || bind(fd, (struct sockaddr *)&address, sizeof address) ||
			(subject->type == SOCK_STREAM && listen(fd, 1000)))) {
		printf("# seed %llu, %s: %s\n", (unsigned long long)subject->seed, way_names[way], strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static void put_on_wire(const struct subject *subject, const struct sent *sent)
{
	const struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(sent->ethertype),
					.sll_ifindex = (int)if_nametoindex("lo"), .sll_halen = ETH_ALEN };

	sendto(subject->wire, sent->data, sent->length, 0, (const struct sockaddr *)&to, sizeof to);
}

/* Has the listener answered the SYN? Takes all that was seen off the wire. */
static bool answered(const struct subject *subject, const struct sent *sent)
{
	unsigned char data[2048];
	ssize_t length;
	bool found = false;

	while ((length = recv(subject->wire, data, sizeof data, MSG_DONTWAIT)) > 0) {
		size_t at = data[0] >> 4 == 4 ? (data[0] & 15) * 4u : 40;

		if ((size_t)length < at + 20)
			continue;
		found |= (data[at] << 8 | data[at + 1]) == subject->port && data[at + 13] == 0x12 &&
			 (data[at + 2] << 8 | data[at + 3]) == sent->source_port;
	}
	return found;
}

/* 1: arrived, 0: not, -1: not whole. */
static int arrives(const struct subject *subject, int fd, const struct sent *sent)
{
	unsigned char data[2048];
	ssize_t length;

	put_on_wire(subject, sent);
	if (subject->type == SOCK_STREAM)
		return answered(subject, sent);
	length = recv(fd, data, sizeof data, 0);
	if (length < 0)
		return 0;
	return (uint32_t)length == sent->payload ? 1 : -1;
}

/* --- one policy -------------------------------------------------------------------------------------------------- */

static void print_sent(const struct subject *subject, const struct sent *sent, enum way way, int arrived)
{
	printf("# seed %llu, %s, port %u: model %s, the packet %s\n# ", (unsigned long long)subject->seed,
	       way_names[way], subject->port, sent->accepted ? "accepts" : "drops",
	       arrived < 0 ? "was cut" : arrived ? "arrived" : "did not arrive");
	for (size_t i = 0; i < sent->length && i < 96; i++)
		printf("%02x", sent->data[i]);
	printf("\n");
}

static int judge_way(struct subject *subject, enum way way)
{
	int fd = open_socket(subject, way), wrong = 0;

	if (fd < 0)
		return -1;
	for (size_t i = 0; i < subject->count && !wrong; i++) {
		struct sent *sent = &subject->packets[i];
		int arrived = arrives(subject, fd, sent);

		if (way == WAY_NONE) {
			sent->reaches = arrived > 0;
			continue;
		}
		if (!sent->reaches)
			continue;
		subject->judged++;
		subject->accepted += arrived > 0;
		wrong = arrived != sent->accepted;
		if (wrong)
			print_sent(subject, sent, way, arrived);
	}
	close(fd);
	return wrong ? -1 : 0;
}

static int build(struct subject *subject, struct call *call, const struct ruleset *ruleset)
{
	const struct source source = { .name = "random", .text = "", .length = 0 };
	struct bundle bundle = { 0 };
	struct install install;

	VEC_PUSH(call->arena, &bundle.files) = &source;
	if (emit_cbpf(call->arena, ruleset, NULL, call->diags, &subject->classic) ||
	    api_install(call, ruleset, HOOK_SOCKET, &bundle, &install))
		return -1;
	return kernel_socket_load(subject->kernel, &install, call->diags, &subject->prog, NULL);
}

static int judge_policy(struct call *call, void *context)
{
	struct subject *subject = context;
	static const struct policy_options options = { 0 };
	const struct ruleset *ruleset =
		plain_rules(call->arena, policies_random(call->arena, subject->seed, HOOK_SOCKET, &options));
	int error = build(subject, call, ruleset);

	if (error) {
		printf("# seed %llu: cannot be built\n", (unsigned long long)subject->seed);
		return error;
	}
	make_packets(subject, call->arena, ruleset);
	for (int way = 0; way < WAYS && !error; way++)
		error = judge_way(subject, (enum way)way);
	close(subject->prog);
	if (error)
		printf("# %s\n", "the policy:"), fputs(ruleset_print(call->arena, ruleset), stderr);
	return error;
}

static int judge_all(const struct options *options, struct kernel *kernel, int wire, int type, int number)
{
	struct subject *subject = calloc(1, sizeof *subject);
	struct weir *weir = weir_new();
	int error = subject && weir ? 0 : -ENOMEM;

	for (unsigned i = 0; i < options->policies && !error; i++) {
		subject->options = options;
		subject->kernel = kernel;
		subject->wire = wire;
		subject->type = type;
		subject->seed = options->seed + i;
		subject->port = i % 3 == 0 ? 80 : i % 3 == 1 ? 443 : (uint16_t)(1024 + i);
		error = api_call(weir, NULL, false, judge_policy, subject);
	}
	printf("%sok %d - %s: %u policies, %zu judgements, %zu accepted, option memory estimated to %.0f %%\n",
	       error ? "not " : "", number, type == SOCK_DGRAM ? "UDP" : "TCP", options->policies,
	       subject ? subject->judged : 0, subject ? subject->accepted : 0,
	       subject ? 100 * subject->charge_error : 0);
	free(subject);
	weir_free(weir);
	return error;
}

/* --- the namespace ----------------------------------------------------------------------------------------------- */

static int make_namespace(void)
{
	static const char set_up[] =
		"ip link set lo up && ip address add 10.9.9.9/32 dev lo && ip address add fd09::9/128 dev lo nodad && "
		"ip route add default dev lo && ip -6 route add default dev lo && "
		"sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lo.rp_filter=0 net.ipv4.tcp_syncookies=1 "
		"net.ipv4.tcp_max_syn_backlog=100000 net.core.somaxconn=10000 net.ipv6.conf.all.accept_source_route=1";

	return unshare(CLONE_NEWNET) || system(set_up) ? -1 : 0;
}

static int open_wire(void)
{
	int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };

	lo.sll_ifindex = (int)if_nametoindex("lo");
	return fd >= 0 && !bind(fd, (struct sockaddr *)&lo, sizeof lo) ? fd : -1;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {
		{ "policies", required_argument, NULL, 'p' },
		{ "packets", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
		switch (option) {
		case 'p': options->policies = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'n': options->packets = (unsigned)strtoul(optarg, NULL, 0); break;
		case 's': options->seed = strtoull(optarg, NULL, 0); break;
		default: return -1;
		}
	}
	return options->packets > PACKETS_MAX ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct options options = { .policies = 40, .packets = 60, .seed = 1 };
	struct kernel *kernel = NULL;
	int wire, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (parse_options(argc, argv, &options))
		return 3;
	if (geteuid() || make_namespace() || (wire = open_wire()) < 0 || kernel_open(KERNEL_TEST, NULL, &kernel)) {
		printf("1..0 # SKIP a network namespace, packet sockets and programs need root\n");
		return 0;
	}
	printf("1..2\n");
	failed |= judge_all(&options, kernel, wire, SOCK_DGRAM, 1);
	failed |= judge_all(&options, kernel, wire, SOCK_STREAM, 2);
	kernel_close(kernel);
	return failed != 0;
}
