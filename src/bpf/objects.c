/* SPDX-License-Identifier: GPL-2.0-only */
#include "bpf/objects.h"

#include "bpf/planes.h" /* written by embed.sh */

#define OBJECT(text, symbol) { .name = text, .data = plane_elf_##symbol, .size = PLANE_SIZE_##symbol }

static const struct plane_object plane_xdp_object = OBJECT("xdp", xdp);
static const struct plane_object plane_tc_object = OBJECT("tc", tc);
static const struct plane_object plane_netfilter_object = OBJECT("netfilter", netfilter);
static const struct plane_object plane_cgroup_objects[] = {
	OBJECT("cgroup-ingress", cgroup_ingress),
	OBJECT("cgroup-egress", cgroup_egress),
};

static const struct plane_object owners_tc_object = OBJECT("tc-owners", tc_owners);
static const struct plane_object owners_cgroup_objects[] = {
	OBJECT("cgroup-ingress-owners", cgroup_ingress_owners),
	OBJECT("cgroup-egress-owners", cgroup_egress_owners),
};

static const struct plane_object plane_connect_object = OBJECT("connect", connect);
static const struct plane_object plane_bind_object = OBJECT("bind", bind);
static const struct plane_object plane_record_object = OBJECT("record", record);
static const struct plane_object lineage_object = OBJECT("lineage", lineage);
static const struct plane_object plane_socket_object = OBJECT("socket", socket);

static const struct plane_object empty_xdp_object = OBJECT("empty-xdp", empty_xdp);
static const struct plane_object empty_tc_object = OBJECT("empty-tc", empty_tc);
static const struct plane_object empty_cgroup_objects[] = {
	OBJECT("empty-cgroup-ingress", empty_cgroup_ingress),
	OBJECT("empty-cgroup-egress", empty_cgroup_egress),
};
static const struct plane_object empty_socket_object = OBJECT("empty-socket", empty_socket);

static const struct plane_object table_object = OBJECT("table", table);
static const struct plane_object table_bounded_object = OBJECT("table-bounded", table_bounded);

static const struct plane_object bench_object = OBJECT("bench", bench);
static const struct plane_object bench_empty_object = OBJECT("bench-empty", bench_empty);

static const struct {
	const struct plane_object *plane;
	const struct plane_object *empty;
	const struct plane_object *owners;
} objects[HOOK_COUNT] = {
	[HOOK_XDP] = { &plane_xdp_object, &empty_xdp_object },
	[HOOK_TC_INGRESS] = { &plane_tc_object, &empty_tc_object },
	[HOOK_TC_EGRESS] = { &plane_tc_object, &empty_tc_object, &owners_tc_object },
	[HOOK_NF_PREROUTING] = { &plane_netfilter_object, NULL },
	[HOOK_NF_INPUT] = { &plane_netfilter_object, NULL },
	[HOOK_NF_FORWARD] = { &plane_netfilter_object, NULL },
	[HOOK_NF_OUTPUT] = { &plane_netfilter_object, NULL },
	[HOOK_NF_POSTROUTING] = { &plane_netfilter_object, NULL },
	[HOOK_CGROUP_INGRESS] = { &plane_cgroup_objects[0], &empty_cgroup_objects[0], &owners_cgroup_objects[0] },
	[HOOK_CGROUP_EGRESS] = { &plane_cgroup_objects[1], &empty_cgroup_objects[1], &owners_cgroup_objects[1] },
	[HOOK_CONNECT] = { &plane_connect_object, NULL },
	[HOOK_BIND] = { &plane_bind_object, NULL },
	[HOOK_SOCKET] = { &plane_socket_object, &empty_socket_object },
};

const struct plane_object *plane_for_hook(enum hook hook)
{
	return objects[hook].plane;
}

const struct plane_object *plane_with_owners(enum hook hook)
{
	return objects[hook].owners;
}

const struct plane_object *plane_empty_for_hook(enum hook hook)
{
	return objects[hook].empty;
}

const struct plane_object *plane_record(void)
{
	return &plane_record_object;
}

const struct plane_object *plane_lineage(void)
{
	return &lineage_object;
}

const struct plane_object *plane_table(void)
{
	return &table_object;
}

const struct plane_object *plane_table_bounded(void)
{
	return &table_bounded_object;
}

const struct plane_object *plane_bench(void)
{
	return &bench_object;
}

const struct plane_object *plane_bench_empty(void)
{
	return &bench_empty_object;
}
