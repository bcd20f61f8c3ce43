/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The netfilter plane: IPv4 and IPv6 packets at the five hooks, as a BPF link (kernel 6.4). A context is made
 * of kernel structures here, read through BTF.
 */
#include <linux/bpf.h>

typedef struct bpf_nf_ctx plane_context;
enum { PLANE_PREEMPTIBLE = 1 };
#define PLANE_CLOCK bpf_ktime_get_ns

#include "bpf/plane.h"

typedef struct bpf_dynptr parse_source;

static __always_inline int source_copy(parse_source *source, __u32 offset, void *buffer, __u32 size)
{
	return bpf_dynptr_read(buffer, size, source, offset, 0);
}

#include "bpf/parse.h"
#include "bpf/owner.h"
#include "bpf/task.h"

/* --- of the kernel --------------------------------------------------------------------------------------------- */

struct net_device {
	int ifindex;
} KERNEL;

struct sk_buff {
	struct sock *sk;
	unsigned int len;
	__u32 mark;
	unsigned int end;
	unsigned char *head;
} KERNEL;

struct skb_shared_info {
	unsigned short gso_size;
	unsigned short gso_segs;
} KERNEL;

struct nf_hook_state {
	__u8 pf;
	struct net_device *in;
	struct net_device *out;
} KERNEL;

struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};

enum { PF_IPV6 = 10 };
enum { NETFILTER_DROP = 0, NETFILTER_ACCEPT = 1 };

extern int bpf_dynptr_from_skb(struct sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr__uninit) __ksym;

/* --- owners --------------------------------------------------------------------------------------------------- */

static __always_inline struct sock *owner_of(const struct sk_buff *skb)
{
	return full_socket(CAST(struct sock, skb->sk));
}

/*
 * The group of the process that made the socket, from the socket's file. Without one (not accepted yet, closed) it is not
 * known. A file that is closed meanwhile may be another's at once: so it must still be the socket's when it has been read.
 */
static __always_inline __u32 group_of(struct sock *sk)
{
	struct socket *socket = sk->sk_socket;
	struct file *file = socket ? socket->file : NULL;
	__u32 group;

	if (!file)
		return ABSENT_OWNER;
	group = file->f_cred->gid.val;
	return sk->sk_socket == socket && socket->file == file ? group : ABSENT_OWNER;
}

/* Its own function, so that its part of the stack is free while rules judge. */
OUT_OF_LINE void set_owner(struct bpf_nf_ctx *context, struct packet *packet)
{
	struct sock *sk = owner_of(context->skb);

	if (!sk)
		return;
	set_owner_of(sk, packet, config.needed);
	if (config.needed & NEEDS(FIELD_GROUP))
		packet->group = group_of(sk);
}

/* --- what plane.h asks for ------------------------------------------------------------------------------------ */

static __always_inline __u32 index_of(const struct net_device *device)
{
	return device ? device->ifindex : ABSENT_IFACE;
}

static __always_inline void set_metadata(struct bpf_nf_ctx *context, struct packet *packet, field_mask needed)
{
	const struct nf_hook_state *state = context->state;

	if (needed & NEEDS(FIELD_IN_IFACE))
		packet->in_iface = index_of(state->in);
	if (needed & NEEDS(FIELD_OUT_IFACE))
		packet->out_iface = index_of(state->out);
	if (needed & NEEDS(FIELD_MARK))
		packet->mark = context->skb->mark;
	if (config.hook == HOOK_NF_OUTPUT && needed & NEEDS_OWNER)
		set_owner(context, packet);
}

/* Its own function, so that its part of the stack is free while rules judge. */
OUT_OF_LINE int parse_bytes(struct bpf_nf_ctx *context, struct packet *packet)
{
	struct sk_buff *skb = context->skb;
	struct bpf_dynptr bytes;
	struct view view = { .source = &bytes, .length = skb->len, .needed = config.needed };

	if (bpf_dynptr_from_skb(skb, 0, &bytes))
		return PARSE_MALFORMED;
	return parse_network(&view, packet, RAW16(context->state->pf == PF_IPV6 ? ETHER_IPV6 : ETHER_IPV4), 0, NULL);
}

static __always_inline int plane_parse(struct bpf_nf_ctx *context, struct packet *packet)
{
	packet_clear(packet);
	if (!config.trace)
		set_metadata(context, packet, config.needed);
	return parse_bytes(context, packet);
}

static __always_inline struct weight plane_weigh(struct bpf_nf_ctx *context)
{
	const struct sk_buff *skb = context->skb;
	const struct skb_shared_info *shared = CAST(struct skb_shared_info, skb->head + skb->end);
	struct weight weight = { .packets = 1, .bytes = skb->len };

	if (shared->gso_segs)
		weight.packets = shared->gso_segs;
	else if (shared->gso_size)
		weight.packets = (skb->len + shared->gso_size - 1) / shared->gso_size;
	return weight;
}

static __always_inline void plane_describe(struct bpf_nf_ctx *context, struct event *event)
{
	const struct nf_hook_state *state = context->state;
	struct sk_buff *skb = context->skb;
	struct sock *sk = config.hook == HOOK_NF_OUTPUT ? owner_of(skb) : NULL;
	__u32 size = skb->len;
	struct bpf_dynptr bytes;

	event->in_iface = index_of(state->in);
	event->out_iface = index_of(state->out);
	event->user = sk ? sk->sk_uid.val : ABSENT_OWNER;
	event->mark = skb->mark;
	event->length = size;
	size = bounded(size, EVENT_BYTES);
	if (!bpf_dynptr_from_skb(skb, 0, &bytes) && !bpf_dynptr_read(event->data, size, &bytes, 0, 0))
		event->captured = size;
}

static __always_inline __u32 plane_length(struct bpf_nf_ctx *context)
{
	return context->skb->len;
}

/* Its own function: the verifier wants no dynptr beside what is written at unknown offsets. */
OUT_OF_LINE int copy_bytes(struct bpf_nf_ctx *context, __u32 offset, void *buffer, __u32 size)
{
	struct bpf_dynptr bytes;

	if (bpf_dynptr_from_skb(context->skb, 0, &bytes))
		return -1;
	return bpf_dynptr_read(buffer, size, &bytes, offset, 0);
}

static __always_inline int plane_copy(struct bpf_nf_ctx *context, __u32 offset, void *buffer, __u32 size)
{
	return copy_bytes(context, offset, buffer, size);
}

/* A policy with `mark` is refused at netfilter: programs may not write it. */
static __always_inline __u32 plane_mark(struct bpf_nf_ctx *context)
{
	return context->skb->mark;
}

static __always_inline void plane_set_mark(struct bpf_nf_ctx *context, __u32 mark)
{
	(void)context;
	(void)mark;
}

#include "bpf/knock_key.h"
#include "bpf/flow_plane.h"

/* The kernel turns a drop at output into EPERM for the sender; that is all that `reject` can do here. */
SEC("netfilter")
int weir_netfilter(struct bpf_nf_ctx *context)
{
	enum turn turn = plane_turn();
	struct packet packet;

	if (turn == TURN_BEFORE)
		bpf_tail_call(context, &before, 0);
	if (turn != TURN_OURS)
		return NETFILTER_ACCEPT;
	return judge(context, &packet) == ANSWER_ACCEPT ? NETFILTER_ACCEPT : NETFILTER_DROP;
}
