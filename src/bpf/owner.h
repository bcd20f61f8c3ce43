/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The owner of a socket, read from the kernel's own structures: for the planes whose context leads to a struct sock. The
 * uid is the kernel's, whatever user namespace the socket is in.
 *
 * config.plain: kernels before 6.2 have no bpf_rdonly_cast(). There each field is copied, where else it is read in place.
 */
#ifndef WEIR_BPF_OWNER_H
#define WEIR_BPF_OWNER_H

#include "bpf/kernel.h"
#include "bpf/parse.h"
#include "bpf/plane.h"

struct sock_cgroup_data {
	struct cgroup *cgroup;
} KERNEL;

enum { STATE_TIME_WAIT = 6, STATE_NEW_SYN_RECV = 12 };

struct sock_common {
	unsigned char skc_state;
	struct sock *skc_listener;
} KERNEL;

typedef struct {
	__u32 val;
} kuid_t;

struct socket {
	struct file *volatile file;
} KERNEL;

struct sock {
	struct sock_common __sk_common;
	struct socket *volatile sk_socket;
	kuid_t sk_uid;
	struct sock_cgroup_data sk_cgrp_data;
} KERNEL;

extern void *bpf_rdonly_cast(void *object, __u32 type) __ksym __weak;

#define CAST(type, object) \
	((type *)(config.plain ? (object) : \
		  bpf_rdonly_cast((object), __builtin_btf_type_id(*(type *)0, 1 /* of the kernel */))))
#define READ(object, field) ({ \
	typeof((object)->field) read_value = { 0 }; \
	if (config.plain) \
		bpf_probe_read_kernel(&read_value, sizeof read_value, \
				      __builtin_preserve_access_index(&(object)->field)); \
	else \
		read_value = (object)->field; \
	read_value; \
})

/* The kernel's own of a socket that the context has: for the verifier a pointer that was computed with is a number. */
static __always_inline struct sock *kernel_socket(struct bpf_sock *sk)
{
	__u64 address = (__u64)sk;

	if (!config.plain)
		return CAST(struct sock, sk);
	asm volatile("%0 = -%0\n%0 = -%0" : "+r"(address));
	return (struct sock *)address;
}

/* A full socket: a listener for what answers in its name; NULL: there is none. */
static __always_inline struct sock *full_socket(struct sock *sk)
{
	if (sk && READ(sk, __sk_common.skc_state) == STATE_NEW_SYN_RECV)
		sk = CAST(struct sock, READ(sk, __sk_common.skc_listener)); /* in a union: no type of its own */
	return sk && READ(sk, __sk_common.skc_state) != STATE_TIME_WAIT ? sk : NULL;
}

static __always_inline __u64 ancestor_id(struct sock *sk, int level)
{
	struct cgroup *cgroup = READ(sk, sk_cgrp_data.cgroup), *ancestor = NULL;
	struct kernfs_node *node;

	if (!cgroup || READ(cgroup, level) < level)
		return ABSENT_CGROUP;
	/* The verifier follows no pointer out of an array of unknown length. */
	bpf_probe_read_kernel(&ancestor, sizeof ancestor, __builtin_preserve_access_index(&cgroup->ancestors[level]));
	if (!ancestor)
		return ABSENT_CGROUP;
	ancestor = CAST(struct cgroup, ancestor);
	node = READ(ancestor, kn);
	return READ(node, id);
}

/* Of a full socket. */
static __always_inline void set_owner_of(struct sock *sk, struct packet *packet, field_mask needed)
{
	packet->user = READ(sk, sk_uid.val);
	if (needed & NEEDS(FIELD_CGROUP_0))
		packet->cgroup[0] = ancestor_id(sk, config.levels[0]);
	if (needed & NEEDS(FIELD_CGROUP_1))
		packet->cgroup[1] = ancestor_id(sk, config.levels[1]);
	if (needed & NEEDS(FIELD_CGROUP_2))
		packet->cgroup[2] = ancestor_id(sk, config.levels[2]);
}

#endif
