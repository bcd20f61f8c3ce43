/* SPDX-License-Identifier: GPL-2.0-only */
/* Hooks: where in the kernel a policy may sit, and what it can see and do there. */
#ifndef WEIR_PACKET_HOOK_H
#define WEIR_PACKET_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hook {
	HOOK_XDP,
	HOOK_TC_INGRESS,
	HOOK_TC_EGRESS,
	HOOK_NF_PREROUTING,
	HOOK_NF_INPUT,
	HOOK_NF_FORWARD,
	HOOK_NF_OUTPUT,
	HOOK_NF_POSTROUTING,
	HOOK_CGROUP_INGRESS,
	HOOK_CGROUP_EGRESS,
	HOOK_CONNECT, /* system calls that choose a destination: connect(), sendto() */
	HOOK_BIND,    /* and that choose an own address: bind() */
	HOOK_SOCKET, /* what one socket receives; attached by descriptor, never by `apply` */
	HOOK_COUNT,
};

/* A set of hooks: bit h for enum hook h. */
typedef uint32_t hook_mask;
#define HOOK_BIT(hook) ((hook_mask)1 << (hook))

enum direction { DIRECTION_INGRESS, DIRECTION_EGRESS, DIRECTION_FORWARD };

/* What follows the hook's words in `on ...`. */
enum hook_target { TARGET_IFACE, TARGET_NONE, TARGET_CGROUP, TARGET_SOCKET /* nothing: see HOOK_SOCKET */ };

/* How an XDP program is to be run: native if the driver can, else generic; or only so. */
enum xdp_mode { XDP_ANY, XDP_NATIVE, XDP_GENERIC, XDP_OFFLOAD };

/* Netfilter: whatever priority the loader prefers. */
#define PRIORITY_DEFAULT INT32_MIN

/* What `reject` can do here. */
enum reject_kind {
	REJECT_NEVER, /* an error at the word */
	REJECT_REPLY, /* TCP reset or ICMP administratively prohibited to the sender */
	REJECT_EPERM, /* a UDP sender's system call fails; a TCP connect() only times out */
	REJECT_CALL,  /* the system call fails at once, as it does for `drop` */
};

struct hook_info {
	const char *name;   /* one word, for options, file names and output: "tc-ingress" */
	const char *family; /* first word after `on`: "tc" */
	const char *point;  /* its second word: "ingress"; NULL: none */
	enum direction direction;
	enum hook_target target;
	enum reject_kind reject;
	bool frames; /* sees the link-layer header */
	bool mark;   /* may write the packet mark */
	bool caches; /* may keep answers: no other packet comes in between on the same CPU */
	bool call;   /* judges a system call: what it asks for, before there is a packet */
};

extern const struct hook_info hook_table[HOOK_COUNT];

/* The hook of that name ("tc-ingress"; "tc ingress" too), or -1. */
int hook_by_name(const char *name);

/*
 * Of `hooks`, those that meet the packets of what a system call at `call` allows. What cannot be told at the call yet is
 * left to them.
 */
hook_mask hooks_behind(hook_mask hooks, enum hook call);

/* "xdp, tc-ingress and tc-egress"; returns the length snprintf() would. */
int hook_mask_print(hook_mask mask, char *buffer, size_t size);

#endif
