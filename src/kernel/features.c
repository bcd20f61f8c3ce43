/* SPDX-License-Identifier: GPL-2.0-only */
/* What this kernel can do, found out by trying: probes load or attach something harmless and let it go. No state. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

#include "kernel/attach.h"
#include "kernel/object.h"

enum { NO_SUCH_INTERFACE = 0x7ffffffe, ATTACH_TCX_INGRESS = 46, JUMP_MAY_GOTO = 0xe0 };

static int load(enum bpf_prog_type type, enum bpf_attach_type attach, const struct bpf_insn *code, size_t count)
{
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = attach);

	return bpf_prog_load(type, "weir_probe", "GPL", code, count, &options);
}

static int load_trivial(enum bpf_prog_type type, enum bpf_attach_type attach, int answer)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = answer },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return load(type, attach, code, sizeof code / sizeof *code);
}

static bool has_program(enum bpf_prog_type type, enum bpf_attach_type attach, int answer)
{
	CLEANUP_CLOSE int fd = load_trivial(type, attach, answer);

	return fd >= 0;
}

static bool has_xdp(void)
{
	return has_program(BPF_PROG_TYPE_XDP, BPF_XDP, 2);
}

static bool has_tc(void)
{
	return has_program(BPF_PROG_TYPE_SCHED_CLS, (enum bpf_attach_type)0, 0);
}

static bool has_cgroup(void)
{
	return has_program(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 1);
}

static bool has_netfilter(void)
{
	return has_program((enum bpf_prog_type)WEIR_PROG_TYPE_NETFILTER,
			   (enum bpf_attach_type)WEIR_ATTACH_NETFILTER, 1);
}

/* A kernel that knows tcx looks for the interface; one that does not finds the attach type invalid. */
static bool has_tcx(void)
{
	CLEANUP_CLOSE int prog = load_trivial(BPF_PROG_TYPE_SCHED_CLS, (enum bpf_attach_type)0, 0);
	const struct link_request request = { (uint32_t)prog, NO_SUCH_INTERFACE, ATTACH_TCX_INGRESS, 0, { { 0 } } };

	return prog >= 0 && attach_link_create(&request) == -ENODEV;
}

static bool has_xdp_link(void)
{
	CLEANUP_CLOSE int prog = load_trivial(BPF_PROG_TYPE_XDP, BPF_XDP, 2);
	const struct link_request request = { (uint32_t)prog, NO_SUCH_INTERFACE, BPF_XDP, 0, { { 0 } } };
	int link = prog < 0 ? prog : attach_link_create(&request);

	return link == -EINVAL || link == -ENODEV;
}

static bool has_ring_buffer(void)
{
	CLEANUP_CLOSE int fd =
		bpf_map_create(BPF_MAP_TYPE_RINGBUF, "weir_probe", 0, 0, (uint32_t)sysconf(_SC_PAGESIZE), NULL);

	return fd >= 0;
}

static bool has_batches(void)
{
	const uint32_t key = 1, value = 1;
	uint32_t count = 1;
	CLEANUP_CLOSE int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "weir_probe", 4, 4, 1, NULL);

	return fd >= 0 && !bpf_map_update_batch(fd, &key, &value, &count, NULL);
}

/* bpf_loop() came with 5.17; it needs types to be called, so its being known is asked by number. */
static bool has_loop(void)
{
	return kernel_version() >= (5u << 16 | 17u << 8);
}

bool kernel_has_may_goto(void)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 2 },
		{ .code = BPF_JMP | JUMP_MAY_GOTO, .off = 1 }, /* older kernels refuse one to the next instruction */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 2 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	CLEANUP_CLOSE int fd = load(BPF_PROG_TYPE_XDP, BPF_XDP, code, sizeof code / sizeof *code);

	return fd >= 0;
}

/* Whether a whole object loads, as it is. */
static bool loads(const struct plane_object *plane)
{
	struct bpf_object *object = bpf_object__open_mem(plane->data, plane->size, NULL);
	bool loaded = object && !bpf_object__load(object);

	bpf_object__close(object);
	return loaded;
}

static bool has_recorder(void)
{
	object_capture_messages();
	return loads(plane_record());
}

static bool has_lineage(void)
{
	object_capture_messages();
	return loads(plane_lineage());
}

static bool has_jit(void)
{
	FILE *file = fopen("/proc/sys/net/core/bpf_jit_enable", "r");
	int value = 0;

	if (!file)
		return true; /* not to be switched off */
	if (fscanf(file, "%d", &value) != 1)
		value = 0;
	fclose(file);
	return value != 0;
}

static const struct probe {
	const char *name;
	const char *since;
	bool (*there)(void);
} probes[] = {
	{ "xdp", "4.8", has_xdp },
	{ "xdp link", "5.9", has_xdp_link },
	{ "tc", "4.1", has_tc },
	{ "tcx", "6.6", has_tcx },
	{ "cgroup", "4.10", has_cgroup },
	{ "netfilter link", "6.4", has_netfilter },
	{ "ring buffer", "5.8", has_ring_buffer },
	{ "batch map operations", "5.6", has_batches },
	{ "bpf_loop", "5.17", has_loop },
	{ "may_goto", "6.9", kernel_has_may_goto },
	{ "kernel types", "5.2", kernel_has_types },
	{ "notes on sockets", "5.11", has_recorder },
	{ "process trace points", "5.11", has_lineage },
	{ "jit", "4.18", has_jit },
};

enum { PROBES = sizeof probes / sizeof *probes };

struct features_call {
	struct arena *arena;
	struct kernel_feature found[PROBES];
	const struct kernel_feature *features;
};

static int copy_features(void *context)
{
	struct features_call *call = context;

	call->features = arena_copy(call->arena, call->found, sizeof call->found);
	return 0;
}

int kernel_features(struct kernel *kernel, struct arena *arena, const struct kernel_feature **ret_features,
		    size_t *ret_count)
{
	struct features_call call = { .arena = arena };
	int error;

	(void)kernel;
	for (size_t i = 0; i < PROBES; i++)
		call.found[i] = (struct kernel_feature){ probes[i].name, probes[i].there(), probes[i].since };
	error = arena_run(arena, copy_features, &call);
	if (error)
		return error;
	*ret_features = call.features;
	*ret_count = PROBES;
	return 0;
}
