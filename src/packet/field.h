/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The field table: every field that a rule may look at. Everything that knows fields (checker, planner, emitter,
 * printer) is driven by it; a new field is a row here and its parse in the data planes and the model.
 */
#ifndef WEIR_PACKET_FIELD_H
#define WEIR_PACKET_FIELD_H

#include "base/u128.h"
#include "packet/hook.h"

enum field {
	FIELD_FAMILY, /* enum packet_family; in IR text the numbers 0, 1, 4, 6 */
	FIELD_ETH_TYPE,
	FIELD_VLAN,
	FIELD_ETH_SRC,
	FIELD_ETH_DST,
	FIELD_DIRECTION, /* enum direction; constant in a program, so not in struct packet */
	FIELD_IN_IFACE,
	FIELD_OUT_IFACE,
	FIELD_PROTO,
	FIELD_ICMP_TYPE,
	FIELD_ICMP_CODE,
	FIELD_TCP_FLAGS,
	FIELD_FRAGMENT,
	FIELD_DST_PORT,
	FIELD_SRC_PORT,
	FIELD_IP_DST,
	FIELD_IP_SRC,
	FIELD_IPV6_DST,
	FIELD_IPV6_SRC,
	FIELD_TTL,
	FIELD_DSCP,
	FIELD_ECN,
	FIELD_LENGTH,
	FIELD_FLOW, /* enum packet_flow */
	FIELD_MARK,
	FIELD_KNOCKED, /* struct packet's bits; in IR text a number */
	FIELD_USER,
	FIELD_GROUP,
	FIELD_PROGRAM, /* place in the policy's table of programs, see packet.h */
	FIELD_TREE,    /* bits of TREE_IN() and TREE_OUT(), see packet.h */
	FIELD_CGROUP_0, /* slots: the ruleset says which ancestor level each one holds */
	FIELD_CGROUP_1,
	FIELD_CGROUP_2,
	FIELD_COUNT,
};

/* Sets of fields. */
typedef unsigned long long field_mask;
#define FIELD_BIT(field) ((field_mask)1 << (field))

/* When a packet has the field. */
enum presence {
	PRESENT_ALWAYS,
	PRESENT_IP,   /* family 4 or 6 */
	PRESENT_IPV4, /* family 4 */
	PRESENT_IPV6, /* family 6 */
	PRESENT_VALUE, /* its value is not `absent` */
};

/* How text forms show values. */
enum field_form { FORM_NUMBER, FORM_IPV4, FORM_IPV6, FORM_MAC };

struct field_info {
	const char *name;      /* in IR text and diagnostics */
	uint8_t bits;          /* width of present values */
	uint8_t offset;        /* in struct packet; IPv6: of the more significant half, the other 8 bytes on */
	uint8_t size;          /* in struct packet: 1, 2, 4, 8; IPv6: 16; direction: 0 */
	enum presence presence;
	uint64_t absent;       /* with PRESENT_VALUE: outside 0 .. 2^bits-1, or a value no test may name */
	enum field_form form;
	bool owner;            /* an unknown value satisfies neither a test nor its negation */
	hook_mask hooks;       /* where the data planes fill it */
	const char *source;    /* RFC section or kernel header */
	hook_mask noted;       /* of these hooks, those that know it only from what calls have noted (bpf/note.h) */
};

extern const struct field_info field_table[FIELD_COUNT];

/* The field of that name, or -1. */
int field_by_name(const char *name);

#endif
