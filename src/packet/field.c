/* SPDX-License-Identifier: GPL-2.0-only */
#include "packet/field.h"

#include <stddef.h>
#include <string.h>

#include "packet/packet.h"

#define ANYWHERE (HOOK_BIT(HOOK_COUNT) - 1)
#define CALLS (HOOK_BIT(HOOK_CONNECT) | HOOK_BIT(HOOK_BIND))
#define PACKETS (ANYWHERE & ~CALLS)
#define FRAMES (HOOK_BIT(HOOK_XDP) | HOOK_BIT(HOOK_TC_INGRESS) | HOOK_BIT(HOOK_TC_EGRESS))
#define ARRIVING \
	(HOOK_BIT(HOOK_XDP) | HOOK_BIT(HOOK_TC_INGRESS) | HOOK_BIT(HOOK_NF_PREROUTING) | HOOK_BIT(HOOK_NF_INPUT) | \
	 HOOK_BIT(HOOK_NF_FORWARD) | HOOK_BIT(HOOK_CGROUP_INGRESS) | HOOK_BIT(HOOK_SOCKET))
#define LEAVING \
	(HOOK_BIT(HOOK_TC_EGRESS) | HOOK_BIT(HOOK_NF_FORWARD) | HOOK_BIT(HOOK_NF_OUTPUT) | \
	 HOOK_BIT(HOOK_NF_POSTROUTING) | HOOK_BIT(HOOK_CGROUP_EGRESS))
#define OWNED \
	(HOOK_BIT(HOOK_TC_EGRESS) | HOOK_BIT(HOOK_NF_OUTPUT) | HOOK_BIT(HOOK_CGROUP_INGRESS) | \
	 HOOK_BIT(HOOK_CGROUP_EGRESS) | CALLS)
/* Hooks whose packets find the notes of calls. */
#define NOTED (HOOK_BIT(HOOK_TC_EGRESS) | HOOK_BIT(HOOK_CGROUP_INGRESS) | HOOK_BIT(HOOK_CGROUP_EGRESS))
#define SKB (PACKETS & ~HOOK_BIT(HOOK_XDP))

#define AT(member) offsetof(struct packet, member), sizeof(((struct packet *)0)->member)

const struct field_info field_table[FIELD_COUNT] = {
	[FIELD_FAMILY] = { "family", 3, AT(family), PRESENT_ALWAYS, 0, FORM_NUMBER, false, ANYWHERE,
			   "IEEE 802.3, RFC 791, RFC 8200" },
	[FIELD_ETH_TYPE] = { "eth.type", 16, AT(eth_type), PRESENT_ALWAYS, 0, FORM_NUMBER, false, FRAMES,
			     "linux/if_ether.h" },
	[FIELD_VLAN] = { "vlan", 12, AT(vlan), PRESENT_VALUE, ABSENT_VLAN, FORM_NUMBER, false, FRAMES,
			 "IEEE 802.1Q 9.6" },
	[FIELD_ETH_SRC] = { "eth.src", 48, AT(eth_src), PRESENT_VALUE, ABSENT_MAC, FORM_MAC, false, FRAMES,
			    "linux/if_ether.h" },
	[FIELD_ETH_DST] = { "eth.dst", 48, AT(eth_dst), PRESENT_VALUE, ABSENT_MAC, FORM_MAC, false, FRAMES,
			    "linux/if_ether.h" },
	[FIELD_DIRECTION] = { "direction", 2, 0, 0, PRESENT_ALWAYS, 0, FORM_NUMBER, false, ANYWHERE,
			      "packet/hook.h" },
	[FIELD_IN_IFACE] = { "in_iface", 32, AT(in_iface), PRESENT_VALUE, ABSENT_IFACE, FORM_NUMBER, false, ARRIVING,
			     "linux/if_link.h" },
	[FIELD_OUT_IFACE] = { "out_iface", 32, AT(out_iface), PRESENT_VALUE, ABSENT_IFACE, FORM_NUMBER, false,
			      LEAVING, "linux/if_link.h" },
	[FIELD_PROTO] = { "proto", 8, AT(proto), PRESENT_VALUE, ABSENT_PROTO, FORM_NUMBER, false, ANYWHERE,
			  "RFC 791 3.1, RFC 8200 4" },
	[FIELD_ICMP_TYPE] = { "icmp.type", 8, AT(icmp_type), PRESENT_VALUE, ABSENT_ICMP, FORM_NUMBER, false,
			      PACKETS, "RFC 792, RFC 4443" },
	[FIELD_ICMP_CODE] = { "icmp.code", 8, AT(icmp_code), PRESENT_VALUE, ABSENT_ICMP, FORM_NUMBER, false,
			      PACKETS, "RFC 792, RFC 4443" },
	[FIELD_TCP_FLAGS] = { "tcp.flags", 8, AT(tcp_flags), PRESENT_VALUE, ABSENT_FLAGS, FORM_NUMBER, false,
			      PACKETS, "RFC 9293 3.1, RFC 3168" },
	[FIELD_FRAGMENT] = { "fragment", 2, AT(fragment), PRESENT_IP, 0, FORM_NUMBER, false, PACKETS,
			     "RFC 791 3.1, RFC 8200 4.5" },
	[FIELD_DST_PORT] = { "dst_port", 16, AT(dst_port), PRESENT_VALUE, ABSENT_PORT, FORM_NUMBER, false, ANYWHERE,
			     "RFC 9293, RFC 768, RFC 3828, RFC 9260" },
	[FIELD_SRC_PORT] = { "src_port", 16, AT(src_port), PRESENT_VALUE, ABSENT_PORT, FORM_NUMBER, false, PACKETS,
			     "RFC 9293, RFC 768, RFC 3828, RFC 9260" },
	[FIELD_IP_DST] = { "ip.dst", 32, AT(dst4), PRESENT_IPV4, 0, FORM_IPV4, false, ANYWHERE, "RFC 791 3.1" },
	[FIELD_IP_SRC] = { "ip.src", 32, AT(src4), PRESENT_IPV4, 0, FORM_IPV4, false, PACKETS, "RFC 791 3.1" },
	[FIELD_IPV6_DST] = { "ipv6.dst", 128, offsetof(struct packet, dst_hi), 16, PRESENT_IPV6, 0, FORM_IPV6, false,
			     ANYWHERE, "RFC 8200 3" },
	[FIELD_IPV6_SRC] = { "ipv6.src", 128, offsetof(struct packet, src_hi), 16, PRESENT_IPV6, 0, FORM_IPV6, false,
			     PACKETS, "RFC 8200 3" },
	[FIELD_TTL] = { "ttl", 8, AT(ttl), PRESENT_IP, 0, FORM_NUMBER, false, PACKETS, "RFC 791 3.1, RFC 8200 3" },
	[FIELD_DSCP] = { "dscp", 6, AT(dscp), PRESENT_IP, 0, FORM_NUMBER, false, PACKETS, "RFC 2474 3" },
	[FIELD_ECN] = { "ecn", 2, AT(ecn), PRESENT_IP, 0, FORM_NUMBER, false, PACKETS, "RFC 3168 5" },
	[FIELD_LENGTH] = { "length", 32, AT(length), PRESENT_IP, 0, FORM_NUMBER, false, PACKETS,
			   "RFC 791 3.1, RFC 8200 3" },
	[FIELD_FLOW] = { "flow", 3, AT(flow), PRESENT_VALUE, FLOW_UNTRACKED, FORM_NUMBER, false,
			 PACKETS & ~HOOK_BIT(HOOK_SOCKET), "packet/packet.h" },
	[FIELD_MARK] = { "mark", 32, AT(mark), PRESENT_ALWAYS, 0, FORM_NUMBER, false, SKB, "linux/bpf.h __sk_buff" },
	[FIELD_KNOCKED] = { "knocked", 8, AT(knocked), PRESENT_IP, 0, FORM_NUMBER, false, ARRIVING, "ir/ir.h" },
	[FIELD_USER] = { "user", 32, AT(user), PRESENT_VALUE, ABSENT_OWNER, FORM_NUMBER, true, OWNED,
			 "net/sock.h sk_uid" },
	/* Not in the socket: calls know them, and note them for packets of the same policy. Its file has a group, too. */
	[FIELD_GROUP] = { "group", 32, AT(group), PRESENT_VALUE, ABSENT_OWNER, FORM_NUMBER, true,
			  NOTED | CALLS | HOOK_BIT(HOOK_NF_OUTPUT), "linux/cred.h gid", NOTED },
	[FIELD_PROGRAM] = { "program", 16, AT(program), PRESENT_VALUE, ABSENT_PROGRAM, FORM_NUMBER, true, NOTED | CALLS,
			    "linux/mm_types.h exe_file", NOTED },
	[FIELD_TREE] = { "tree", 16, AT(tree), PRESENT_ALWAYS, 0, FORM_NUMBER, true, NOTED | CALLS, "bpf/lineage.bpf.c",
			 NOTED },
	[FIELD_CGROUP_0] = { "cgroup.0", 64, AT(cgroup[0]), PRESENT_VALUE, ABSENT_CGROUP, FORM_NUMBER, true, OWNED,
			     "linux/bpf.h bpf_sk_ancestor_cgroup_id" },
	[FIELD_CGROUP_1] = { "cgroup.1", 64, AT(cgroup[1]), PRESENT_VALUE, ABSENT_CGROUP, FORM_NUMBER, true, OWNED,
			     "linux/bpf.h bpf_sk_ancestor_cgroup_id" },
	[FIELD_CGROUP_2] = { "cgroup.2", 64, AT(cgroup[2]), PRESENT_VALUE, ABSENT_CGROUP, FORM_NUMBER, true, OWNED,
			     "linux/bpf.h bpf_sk_ancestor_cgroup_id" },
};

int field_by_name(const char *name)
{
	for (int field = 0; field < FIELD_COUNT; field++)
		if (!strcmp(name, field_table[field].name))
			return field;
	return -1;
}
