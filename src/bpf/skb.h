/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What plane.h asks of the planes whose context is a struct __sk_buff: TC, cgroup and socket. A socket
 * filter's data begins at the transport header: its file defines SKB_LENGTH, and SKB_OF_SOCKET to have bytes
 * copied from the IP header on. OWNERS: sockets are looked into, for which the kernel must have types.
 */
#ifndef WEIR_BPF_SKB_H
#define WEIR_BPF_SKB_H

#include "bpf/plane.h"

typedef struct __sk_buff parse_source;

#ifndef SKB_OF_SOCKET
#define PLANE_IN_PLACE /* the context says where the packet's linear part is */
#endif

static __always_inline int source_copy(parse_source *source, __u32 offset, void *buffer, __u32 size)
{
#ifdef SKB_OF_SOCKET
	return bpf_skb_load_bytes_relative(source, offset, buffer, size, BPF_HDR_START_NET);
#else
	return bpf_skb_load_bytes(source, offset, buffer, size);
#endif
}

#ifndef SKB_LENGTH
#define SKB_LENGTH(skb) ((skb)->len)
#endif

#ifdef PLANE_IN_PLACE
/* Read again rather than kept on the stack, which is as much of a load. */
static __always_inline const __u8 *skb_end(struct __sk_buff *skb)
{
	asm volatile("" : "+r"(skb));
	return (const __u8 *)(long)skb->data_end;
}
#define VIEW_END(view) skb_end((view)->source)
#endif

#include "bpf/parse.h"

#include "bpf/lineage.h"
#include "bpf/note.h"
#if OWNERS
#include "bpf/owner.h"
#endif

static __always_inline struct view skb_view(struct __sk_buff *skb, bool fast)
{
	return (struct view){
		.source = skb,
		.data = (const __u8 *)(long)skb->data,
		.length = skb->len,
		.needed = config.needed,
		.fast = fast,
	};
}

/*
 * The kernel's own uid: bpf_get_socket_uid() gives that of the user namespace which the socket's network namespace belongs to,
 * and there anybody is root who made it. OWNERS 0: nobody asks, or the kernel has no types.
 */
static __always_inline __u32 skb_owner(struct __sk_buff *skb)
{
#if OWNERS
	struct bpf_sock *there = skb->sk;
	struct sock *sk = there ? full_socket(kernel_socket(there)) : NULL;

	return sk ? READ(sk, sk_uid.val) : ABSENT_OWNER;
#else
	(void)skb;
	return ABSENT_OWNER;
#endif
}

/* What calls have noted of the packet's socket, or NULL. */
static __always_inline void *skb_noted(struct __sk_buff *skb, void *map)
{
	struct bpf_sock *sk = skb->sk;

	return sk ? bpf_sk_storage_get(map, sk, NULL, 0) : NULL; /* which knows that only full sockets have any */
}

static __always_inline const struct owner_note *skb_note(struct __sk_buff *skb)
{
	return skb_noted(skb, &state_owners);
}

static __always_inline __u32 skb_tree(struct __sk_buff *skb)
{
	const __u32 *tree = skb_noted(skb, &state_trees);

	return tree ? *tree : 0;
}

/* Its own function, so that its part of the stack is free while rules judge. */
OUT_OF_LINE void read_owner(struct __sk_buff *skb, struct packet *packet)
{
	const field_mask needed = config.needed;

	if (needed & NEEDS(FIELD_USER))
		packet->user = skb_owner(skb);
	if (config.notes && needed & NEEDS_NOTE) {
		const struct owner_note *note = skb_note(skb);

		if (note)
			set_noted(note, packet);
	}
	if (config.trees && needed & NEEDS(FIELD_TREE))
		packet->tree = skb_tree(skb);
	if (needed & NEEDS(FIELD_CGROUP_0))
		packet->cgroup[0] = bpf_skb_ancestor_cgroup_id(skb, config.levels[0]);
	if (needed & NEEDS(FIELD_CGROUP_1))
		packet->cgroup[1] = bpf_skb_ancestor_cgroup_id(skb, config.levels[1]);
	if (needed & NEEDS(FIELD_CGROUP_2))
		packet->cgroup[2] = bpf_skb_ancestor_cgroup_id(skb, config.levels[2]);
}

/* Tells what the kernel knows beside the bytes, where the hook has an owner. */
static __always_inline void set_owner(struct __sk_buff *skb, struct packet *packet)
{
	if (config.needed & NEEDS_OWNER && !config.trace)
		read_owner(skb, packet);
}

static __always_inline void describe_noted(struct __sk_buff *skb, struct event *event)
{
	const struct owner_note *note = config.notes ? skb_note(skb) : NULL;

	if (note)
		describe_note(note, event);
}

/* `leaving`: at the egress side. */
static __always_inline void set_metadata(struct __sk_buff *skb, struct packet *packet, bool leaving)
{
	const field_mask needed = config.needed;

	if (config.trace)
		return;
	if (needed & NEEDS(FIELD_IN_IFACE) && !leaving)
		packet->in_iface = skb->ifindex;
	if (needed & NEEDS(FIELD_OUT_IFACE) && leaving)
		packet->out_iface = skb->ifindex;
	if (needed & NEEDS(FIELD_MARK))
		packet->mark = skb->mark;
}

/* A GRO or GSO packet counts its segments; where only their size is known yet, as many as that makes. */
static __always_inline struct weight plane_weigh(struct __sk_buff *skb)
{
	struct weight weight = { .packets = skb->gso_segs, .bytes = SKB_LENGTH(skb) };

	if (weight.packets)
		return weight;
	weight.packets = 1;
	if (skb->gso_size)
		weight.packets = (skb->len + skb->gso_size - 1) / skb->gso_size;
	return weight;
}

static __always_inline void describe_skb(struct __sk_buff *skb, struct event *event, bool leaving, bool frame)
{
	__u32 size = SKB_LENGTH(skb);

	if (leaving)
		event->out_iface = skb->ifindex;
	else
		event->in_iface = skb->ifindex;
	event->mark = skb->mark;
	event->length = size;
	event->frame = frame;
	size = bounded(size, EVENT_BYTES);
	if (!source_copy(skb, 0, event->data, size))
		event->captured = size;
}

static __always_inline __u32 plane_length(struct __sk_buff *skb)
{
	return SKB_LENGTH(skb);
}

static __always_inline int plane_copy(struct __sk_buff *skb, __u32 offset, void *buffer, __u32 size)
{
	return source_copy(skb, offset, buffer, size);
}

static __always_inline __u32 plane_mark(struct __sk_buff *skb)
{
	return skb->mark;
}

static __always_inline void plane_set_mark(struct __sk_buff *skb, __u32 mark)
{
#ifdef SKB_OF_SOCKET
	(void)skb; /* no rule there sets it: struct hook_info */
	(void)mark;
#else
	skb->mark = mark;
#endif
}

#include "bpf/knock_key.h"
#include "bpf/flow_plane.h"

#endif
