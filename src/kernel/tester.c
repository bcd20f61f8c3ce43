/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Judging single frames with BPF_PROG_TEST_RUN. In: a policy at one hook, frames; out: verdicts from map
 * `trace`.
 *
 * The kernel's test run of skb programs takes no IPv4 frame below 34 bytes and none above some 3.5 KB, that of
 * netfilter programs only IP. Where it refuses, the XDP plane joined with the same classifier stands in: it has
 * the same parser and shares the counters. It knows no owner, mark or metadata, but neither does a test run. So it does
 * for system calls, which have no test run at all: a packet is judged as the call that leads to it.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>

#include "kernel/cache.h"
#include "kernel/counters.h"
#include "kernel/object.h"
#include "kernel/tester.h"

enum { ETHERNET_BYTES = 14 };

struct kernel_tester {
	struct kernel *kernel;
	enum hook hook;
	bool malformed_accept;
	uint32_t slots;
	struct bpf_object *object;
	struct bpf_object *stand_in; /* NULL at XDP */
	int prog;
	int stand_in_prog;
	int trace;
	int counters;
	uint64_t runs;
	uint64_t short_frames; /* below Ethernet's header: never reach a program */
	uint64_t short_bytes;
};

/* The context of a netfilter test run: struct nf_hook_state, whose pointers must be NULL. */
struct netfilter_context {
	uint8_t hook;
	uint8_t family;
	void *pointers[5];
};

int tester_load(struct kernel *kernel, const struct plane_object *plane, const struct load *load,
		struct bpf_object **ret_object, int *ret_prog)
{
	struct elf elf;
	int error = object_link(kernel, plane, load->hook, &elf);

	if (error)
		return error;
	error = object_load(kernel, &elf, load, ret_object, ret_prog);
	free(elf.data);
	return error;
}

static int share_state(const struct kernel_tester *tester, const char *map, struct shares *shares)
{
	int fd = object_map(tester->object, map);

	return fd < 0 ? 0 : shares_add(shares, map, fd);
}

static int load_stand_in(struct kernel_tester *tester, const struct load *load)
{
	struct shares shares = { 0 };
	struct load other = *load;
	int error = shares_add(&shares, "counters", tester->counters);

	for (size_t i = 0; !error && i < load->install->state_count; i++)
		error = share_state(tester, load->install->states[i].map, &shares);
	for (size_t i = 0; !error && i < load->install->set_count; i++)
		error = share_state(tester, load->install->sets[i].map, &shares);
	if (!error)
		error = share_state(tester, "changes", &shares);
	other.plane = HOOK_XDP;
	other.bare = false;
	other.shares = &shares;
	if (!error)
		error = shares_add(&shares, "trace", tester->trace);
	if (!error)
		error = tester_load(tester->kernel, plane_for_hook(HOOK_XDP), &other, &tester->stand_in,
				    &tester->stand_in_prog);
	shares_free(&shares);
	return error;
}

static int load_all(struct kernel_tester *tester, const struct install *install)
{
	const struct install_hook *hook = &install->hooks[0];
	const struct load load = { .install = install, .hook = hook, .plane = hook->hook, .trace = true,
				   .bare = hook->hook == HOOK_SOCKET };
	int error = object_check_hook(tester->kernel, hook);

	if (!error)
		error = tester_load(tester->kernel, object_plane(hook), &load, &tester->object,
				    &tester->prog);
	if (error)
		return error;
	tester->trace = object_map(tester->object, "trace");
	tester->counters = object_map(tester->object, "counters");
	return hook->hook == HOOK_XDP ? 0 : load_stand_in(tester, &load);
}

int kernel_tester_new(struct kernel *kernel, const struct install *install, struct diags *diags,
		      struct kernel_tester **ret_tester)
{
	struct kernel_tester *tester = calloc(1, sizeof *tester);
	int error;

	if (!tester)
		return -ENOMEM;
	tester->kernel = kernel;
	tester->hook = install->hooks[0].hook;
	tester->malformed_accept = install->malformed_accept;
	tester->slots = install->slots;
	error = load_all(tester, install);
	error = problem_report(kernel, diags, error);
	if (error)
		kernel_tester_free(tester);
	else
		*ret_tester = tester;
	return error;
}

void kernel_tester_free(struct kernel_tester *tester)
{
	if (!tester)
		return;
	bpf_object__close(tester->object);
	bpf_object__close(tester->stand_in);
	free(tester);
}

static int test_run(int prog, const void *frame, size_t length, const void *context, uint32_t context_size)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = (uint32_t)length, .repeat = 1,
		    .ctx_in = context, .ctx_size_in = context_size);

	return bpf_prog_test_run_opts(prog, &options) ? -errno : 0;
}

/* The kernel takes output packets without their link-layer header, the others with it. */
static int run_netfilter(const struct kernel_tester *tester, const uint8_t *frame, size_t length)
{
	static const uint8_t numbers[HOOK_COUNT] = {
		[HOOK_NF_PREROUTING] = NF_INET_PRE_ROUTING, [HOOK_NF_INPUT] = NF_INET_LOCAL_IN,
		[HOOK_NF_FORWARD] = NF_INET_FORWARD, [HOOK_NF_OUTPUT] = NF_INET_LOCAL_OUT,
		[HOOK_NF_POSTROUTING] = NF_INET_POST_ROUTING,
	};
	struct netfilter_context context = { .hook = numbers[tester->hook] };
	unsigned type = length >= ETHERNET_BYTES ? (unsigned)frame[12] << 8 | frame[13] : 0;
	size_t skip = tester->hook == HOOK_NF_OUTPUT ? ETHERNET_BYTES : 0;

	if (type != 0x0800 && type != 0x86dd)
		return -EINVAL;
	context.family = type == 0x0800 ? NFPROTO_IPV4 : NFPROTO_IPV6;
	return test_run(tester->prog, frame + skip, length - skip, &context, sizeof context);
}

int kernel_tester_clock(struct kernel_tester *tester, uint64_t now_ns)
{
	const uint32_t zero = 0;
	struct plane_trace trace;

	if (bpf_map_lookup_elem(tester->trace, &zero, &trace))
		return -errno;
	trace.now_ns = now_ns;
	return bpf_map_update_elem(tester->trace, &zero, &trace, BPF_ANY) ? -errno : 0;
}

static int run_once(const struct kernel_tester *tester, const void *frame, size_t length)
{
	int error;

	if (hook_table[tester->hook].call)
		error = -EINVAL;
	else if (hook_is_netfilter(tester->hook))
		error = run_netfilter(tester, frame, length);
	else
		error = test_run(tester->prog, frame, length, NULL, 0);
	if (!error || !tester->stand_in)
		return error;
	return test_run(tester->stand_in_prog, frame, length, NULL, 0);
}

static void judge_short(struct kernel_tester *tester, size_t length, struct plane_trace *ret_trace)
{
	tester->short_frames++;
	tester->short_bytes += length;
	*ret_trace = (struct plane_trace){ .verdict = tester->malformed_accept ? ANSWER_ACCEPT : ANSWER_DROP,
					   .slot = SLOT_MALFORMED };
}

int kernel_tester_run(struct kernel_tester *tester, const void *frame, size_t length, struct plane_trace *ret_trace)
{
	struct plane_trace trace;
	const uint32_t zero = 0;
	int error;

	if (length < ETHERNET_BYTES) {
		judge_short(tester, length, ret_trace);
		return 0;
	}
	error = run_once(tester, frame, length);
	if (error)
		return error == -EINVAL || error == -E2BIG ? -EOPNOTSUPP : error;
	if (bpf_map_lookup_elem(tester->trace, &zero, &trace))
		return -errno;
	if (trace.runs == tester->runs)
		return -EIO;
	tester->runs = trace.runs;
	*ret_trace = trace;
	return 0;
}

int kernel_tester_counters(struct kernel_tester *tester, struct counter *ret_counters, uint32_t slots)
{
	int error = counters_sum(tester->counters, slots < tester->slots ? slots : tester->slots, ret_counters);

	if (!error && slots > SLOT_MALFORMED) {
		ret_counters[SLOT_MALFORMED].packets += tester->short_frames;
		ret_counters[SLOT_MALFORMED].bytes += tester->short_bytes;
	}
	return error;
}

int kernel_tester_hits(const struct kernel_tester *tester, uint64_t *ret_hits)
{
	int map = object_map(tester->object, CACHE_MAP);

	*ret_hits = 0;
	return map < 0 ? 0 : cache_hits(map, ret_hits);
}
