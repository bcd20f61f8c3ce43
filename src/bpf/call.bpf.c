/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The planes of system calls: connect() and sendto() (built with BIND 0), bind() (BIND 1). What the call asks for is
 * judged as the packet that it would lead to: for bind() one that arrives. A refused call fails with EPERM.
 *
 * One program is loaded once for each of the kernel's attach types; config.call says for which, and the verifier
 * removes what is for others.
 */
#include <linux/bpf.h>

typedef struct bpf_sock_addr plane_context;
enum { PLANE_PREEMPTIBLE = 1 };

#define PLANE_OF_CALLS /* no packets: no connections */
#include "bpf/plane.h"

typedef struct bpf_sock_addr parse_source;

/* There are no bytes to parse yet. */
static __always_inline int source_copy(parse_source *source, __u32 offset, void *buffer, __u32 size)
{
	(void)source;
	(void)offset;
	(void)buffer;
	(void)size;
	return -1;
}

#include "bpf/owner.h"
#include "bpf/process.h"

#if BIND
#define SECTION "cgroup/bind4"
#else
#define SECTION "cgroup/connect4"
#endif

enum { CALL_REFUSE = 0, CALL_PASS = 1 };
enum { LOOPBACK4 = 0x7f000001, MAPPED_WORD = 0xffff, PROTOCOL_ANY = 0, STREAM = 1 /* SOCK_STREAM */ };

static __always_inline bool is_ipv6(void)
{
	return config.call == BPF_CGROUP_INET6_CONNECT || config.call == BPF_CGROUP_UDP6_SENDMSG ||
	       config.call == BPF_CGROUP_INET6_BIND;
}

static __always_inline bool is_sendmsg(void)
{
	return config.call == BPF_CGROUP_UDP4_SENDMSG || config.call == BPF_CGROUP_UDP6_SENDMSG;
}

static __always_inline __u32 host32(__u32 value)
{
	return SWAP(32, value);
}

/* Where the stack takes no address for: the socket's own, else loopback's. */
static __always_inline __u32 address4(struct bpf_sock_addr *call)
{
	__u32 address = call->user_ip4, own = 0;

	if (BIND || address)
		return host32(address);
	if (is_sendmsg())
		own = call->msg_src_ip4;
	if (!own && call->sk)
		own = call->sk->src_ip4;
	return own ? host32(own) : LOOPBACK4;
}

static __always_inline void set_destination4(struct packet *packet, __u32 address)
{
	packet->family = FAMILY_IPV4;
	set_addresses4(packet, 0, address);
}

static __always_inline void set_destination6(struct bpf_sock_addr *call, struct packet *packet)
{
	__u32 a = call->user_ip6[0], b = call->user_ip6[1], c = call->user_ip6[2], d = call->user_ip6[3];

	if (!a && !b && c == host32(MAPPED_WORD)) { /* IPv4 through an IPv6 socket */
		set_destination4(packet, d || BIND ? host32(d) : LOOPBACK4);
		return;
	}
	packet->family = FAMILY_IPV6;
	packet->src_hi = packet->src_lo = 0;
	packet->dst_hi = (__u64)host32(a) << 32 | host32(b);
	packet->dst_lo = (__u64)host32(c) << 32 | host32(d);
	if (BIND || packet->dst_hi || packet->dst_lo)
		return;
	if (call->sk && call->sk->src_ip6[2] == host32(MAPPED_WORD)) /* a socket bound to IPv4 */
		set_destination4(packet, LOOPBACK4);
	else
		packet->dst_lo = 1;
}

/* The protocol that packets will have: sockets of the default protocol say so by their type. */
static __always_inline __u32 protocol_of(const struct bpf_sock_addr *call)
{
	__u32 protocol = call->protocol;

	if (protocol != PROTOCOL_ANY)
		return protocol;
	return call->type == STREAM ? PROTO_TCP : PROTO_UDP;
}

static __always_inline bool has_ports(__u32 protocol)
{
	return protocol == PROTO_TCP || protocol == PROTO_UDP || protocol == PROTO_UDP_LITE || protocol == PROTO_SCTP;
}

static __always_inline struct sock *socket_of(struct bpf_sock_addr *call)
{
	return call->sk ? kernel_socket(call->sk) : NULL;
}

/* For the packets behind the call. The rest is written in place: the stack has no room for it (Linux 6.1). */
static __always_inline void leave_note(struct bpf_sock_addr *call, struct task_struct *task, const struct owner_note *note)
{
	struct owner_note *there;

	there = bpf_sk_storage_get(&state_owners, call->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!there)
		return;
	there->program = note->program;
	there->device = note->device;
	there->generation = note->generation;
	there->group = note->group;
	complete_note(task, there);
}

/* Their own functions, so that their parts of the stack are free while rules judge. */
OUT_OF_LINE void set_process(struct bpf_sock_addr *call, struct packet *packet)
{
	struct task_struct *task = this_task();
	struct owner_note note;

	if (config.notes || config.needed & NEEDS_NOTE) {
		take_note(task, &note);
		set_noted(&note, packet);
	}
	if (config.trees)
		packet->tree = lineage_of(task->tgid);
	if (!config.notes || !call->sk)
		return;
	leave_note(call, task, &note);
	if (config.trees)
		leave_lineage(call->sk, packet->tree);
}

OUT_OF_LINE void set_owner(struct bpf_sock_addr *call, struct packet *packet)
{
	struct sock *sk = socket_of(call);

	if (sk)
		set_owner_of(sk, packet, config.needed);
}

static __always_inline int plane_parse(struct bpf_sock_addr *call, struct packet *packet)
{
	__u32 protocol = protocol_of(call);

	packet_clear(packet);
	packet->proto = protocol;
	if (is_ipv6())
		set_destination6(call, packet);
	else
		set_destination4(packet, address4(call));
	if (has_ports(protocol))
		packet->dst_port = SWAP(16, (__u16)call->user_port);
	if (config.notes || config.needed & (NEEDS_NOTE | NEEDS(FIELD_TREE)))
		set_process(call, packet);
	if (config.needed & (NEEDS(FIELD_USER) | NEEDS_CGROUPS))
		set_owner(call, packet);
	return PARSE_OK;
}

/* A call counts as one packet without bytes. */
static __always_inline struct weight plane_weigh(struct bpf_sock_addr *call)
{
	(void)call;
	return (struct weight){ .packets = 1 };
}

enum { PORTS_SIZE = 4 };

/* The headers of the packet that the call leads to, as far as they are known: readers of events want no other form. */
static __always_inline void plane_describe_parsed(const struct packet *packet, struct event *event)
{
	__u8 *at = event->data;
	bool ipv6 = packet->family == FAMILY_IPV6;

	if (ipv6) {
		at[0] = 0x60;
		at[6] = packet->proto;
		*(__u64 *)(at + 24) = SWAP(64, packet->dst_hi);
		*(__u64 *)(at + 32) = SWAP(64, packet->dst_lo);
	} else {
		at[0] = 0x45;
		at[9] = packet->proto;
		*(__u32 *)(at + 16) = host32(packet->dst4);
	}
	event->captured = ipv6 ? IPV6_SIZE : IPV4_SIZE;
	if (!has_ports(packet->proto))
		return;
	at += ipv6 ? IPV6_SIZE : IPV4_SIZE;
	at[2] = packet->dst_port >> 8;
	at[3] = packet->dst_port;
	event->captured += PORTS_SIZE;
}

static __always_inline void plane_describe(struct bpf_sock_addr *call, struct event *event)
{
	struct owner_note note;
	struct sock *sk = socket_of(call);

	take_note(this_task(), &note);
	complete_note(this_task(), &note);
	describe_note(&note, event);
	event->user = sk ? READ(sk, sk_uid.val) : ABSENT_OWNER;
}

/* There is no packet to copy: such a rule is another hook's (ir/split.h). */
static __always_inline __u32 plane_length(struct bpf_sock_addr *call)
{
	(void)call;
	return 0;
}

static __always_inline int plane_copy(struct bpf_sock_addr *call, __u32 offset, void *buffer, __u32 size)
{
	(void)call;
	(void)offset;
	(void)buffer;
	(void)size;
	return -1;
}

/* Nobody knocks by a call. */
VERIFIED_ONCE int plane_knock_keys(struct bpf_sock_addr *call, struct packet *packet, __u64 matched)
{
	(void)call;
	(void)packet;
	(void)matched;
	return 0;
}

/* No rule there sets it: struct hook_info. */
static __always_inline __u32 plane_mark(struct bpf_sock_addr *call)
{
	(void)call;
	return 0;
}

static __always_inline void plane_set_mark(struct bpf_sock_addr *call, __u32 mark)
{
	(void)call;
	(void)mark;
}

SEC(SECTION)
int weir_call(struct bpf_sock_addr *call)
{
	enum turn turn = plane_turn();
	struct packet packet;

	if (turn == TURN_BEFORE)
		bpf_tail_call(call, &before, 0);
	if (turn != TURN_OURS)
		return CALL_PASS;
	return judge(call, &packet) == ANSWER_ACCEPT ? CALL_PASS : CALL_REFUSE;
}
