/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A table of connections that is new gets those of the host's open sockets (NETLINK_SOCK_DIAG), so that nobody's session
 * dies when a policy first comes. In: the sockets of this network namespace; out: entries that take the first packet of
 * each side as it is. A kernel that cannot be asked is a note, not a failure.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/inet_diag.h"
#include "kernel/flows.h"
#include "packet/packet.h"

/* States of sockets that have another end (include/net/tcp_states.h): all but CLOSE, LISTEN, TIME_WAIT and SYN_SENT. */
enum {
	STATE_ESTABLISHED = 1 << 1, STATE_SYN_RECV = 1 << 3, STATE_FIN_WAIT1 = 1 << 4, STATE_FIN_WAIT2 = 1 << 5,
	STATE_CLOSE_WAIT = 1 << 8, STATE_LAST_ACK = 1 << 9, STATE_CLOSING = 1 << 11, STATE_NEW_SYN_RECV = 1 << 12,
	TCP_STATES = STATE_ESTABLISHED | STATE_SYN_RECV | STATE_FIN_WAIT1 | STATE_FIN_WAIT2 | STATE_CLOSE_WAIT |
		     STATE_LAST_ACK | STATE_CLOSING | STATE_NEW_SYN_RECV,
};

/* One dump. */
struct seeding {
	int fd;  /* of the table */
	uint8_t proto;
	uint64_t now_ns;
	uint64_t timeout_ns;
	int error; /* of the table */
};

/* --- keys ------------------------------------------------------------------------------------------------------- */

/* As packets have them: an IPv4 connection on an IPv6 socket is IPv4 on the wire. */
struct socket_end {
	uint64_t hi, lo;
	uint16_t port;
};

static uint64_t half_of(const unsigned char *bytes)
{
	uint64_t half = 0;

	for (int i = 0; i < 8; i++)
		half = half << 8 | bytes[i];
	return half;
}

static bool is_mapped(const void *address)
{
	static const unsigned char prefix[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(address, prefix, sizeof prefix);
}

static struct socket_end end_of(const void *address, bool ipv4, __be16 port)
{
	struct socket_end end = { .port = ntohs(port) };
	union { uint64_t hi; uint32_t v4; } first = { 0 };
	uint32_t word;

	if (ipv4) {
		memcpy(&word, address, sizeof word);
		first.v4 = ntohl(word);
		end.hi = first.hi;
	} else {
		end.hi = half_of(address);
		end.lo = half_of((const unsigned char *)address + 8);
	}
	return end;
}

static bool is_less(const struct socket_end *a, const struct socket_end *b)
{
	if (a->hi != b->hi)
		return a->hi < b->hi;
	return a->lo != b->lo ? a->lo < b->lo : a->port <= b->port;
}

/* Returns the side of the local end. */
static unsigned make_key(const struct inet_diag_msg *message, uint8_t proto, struct flow_key *ret_key)
{
	const struct inet_diag_sockid *id = &message->id;
	bool mapped = message->idiag_family == AF_INET6 && is_mapped(id->idiag_dst);
	bool ipv4 = message->idiag_family == AF_INET || mapped;
	struct socket_end local = end_of((const char *)id->idiag_src + (mapped ? 12 : 0), ipv4, id->idiag_sport);
	struct socket_end remote = end_of((const char *)id->idiag_dst + (mapped ? 12 : 0), ipv4, id->idiag_dport);
	bool less = is_less(&local, &remote);
	const struct socket_end *a = less ? &local : &remote, *b = less ? &remote : &local;

	*ret_key = (struct flow_key){ a->hi, a->lo, b->hi, b->lo, a->port, b->port,
				      ipv4 ? FAMILY_IPV4 : FAMILY_IPV6, proto, 0 };
	return less ? FLOW_A : FLOW_B;
}

/* --- entries ---------------------------------------------------------------------------------------------------- */

static const struct tcp_info *find_info(const struct inet_diag_msg *message, size_t length)
{
	const struct rtattr *attribute = (const struct rtattr *)(message + 1);
	int left = (int)(length - sizeof *message);

	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
		if (attribute->rta_type == INET_DIAG_INFO && RTA_PAYLOAD(attribute) >= 12)
			return RTA_DATA(attribute);
	return NULL;
}

/* Windows that come from a side are scaled as that side said. */
static uint32_t scale_flags(const struct tcp_info *info, unsigned local)
{
	unsigned remote = local ^ 1;

	if (!info || !(info->tcpi_options & TCPI_OPT_WSCALE))
		return 0;
	return FLOW_OF(FLOW_A, FLOW_SCALES) | FLOW_OF(FLOW_B, FLOW_SCALES) |
	       (uint32_t)info->tcpi_rcv_wscale << (FLOW_SCALE_SHIFT + local * 4) |
	       (uint32_t)info->tcpi_snd_wscale << (FLOW_SCALE_SHIFT + remote * 4);
}

static void seed_socket(void *context, const struct inet_diag_msg *message, size_t length)
{
	struct seeding *seeding = context;
	struct flow flow = { .created_ns = seeding->now_ns, .expires_ns = seeding->now_ns + seeding->timeout_ns };
	struct flow_key key;
	unsigned local = make_key(message, seeding->proto, &key);

	if (!key.a_port || !key.b_port)
		return; /* no other end */
	flow.flags = FLOW_REPLIED | FLOW_ASSURED | FLOW_SEEDED | (local == FLOW_B ? FLOW_B_FIRST : 0);
	if (seeding->proto == IPPROTO_TCP)
		flow.flags |= scale_flags(find_info(message, length), local);
	if (bpf_map_update_elem(seeding->fd, &key, &flow, BPF_NOEXIST) && errno != EEXIST)
		seeding->error = -errno;
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

/* There may be no sockets of that family. */
static int dump(struct seeding *seeding, int family, uint32_t states)
{
	const struct inet_diag_req_v2 request = {
		.sdiag_family = (uint8_t)family, .sdiag_protocol = seeding->proto, .idiag_states = states,
		.idiag_ext = 1 << (INET_DIAG_INFO - 1),
	};
	int error = inet_diag_dump(&request, seed_socket, seeding);

	return error && error != -ENOENT ? error : seeding->error;
}

int flows_from_sockets(int fd, const uint64_t timeout_ns[FLOW_TIMEOUT_COUNT])
{
	struct seeding tcp = { .fd = fd, .proto = IPPROTO_TCP, .now_ns = clock_ns(CLOCK_MONOTONIC),
			       .timeout_ns = timeout_ns[FLOW_TCP_ESTABLISHED] };
	struct seeding udp = { .fd = fd, .proto = IPPROTO_UDP, .now_ns = tcp.now_ns,
			       .timeout_ns = timeout_ns[FLOW_UDP_ESTABLISHED] };
	static const int families[] = { AF_INET, AF_INET6 };
	int error = 0;

	for (int i = 0; i < 2 && !error; i++)
		error = dump(&tcp, families[i], TCP_STATES);
	for (int i = 0; i < 2 && !error; i++)
		error = dump(&udp, families[i], STATE_ESTABLISHED);
	return error;
}
