/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Measuring. In: a policy at one hook, frames; out: nanoseconds a packet of it and of an empty program, in
 * alternate rounds on one CPU, by the clock around whole test runs (the kernel's own figure is rounded to
 * nanoseconds).
 *
 * At XDP the program itself goes through the frames, a different one each run (bpf/bench.bpf.c). Test runs of
 * skb programs repeat one packet, so there each frame is repeated in turn: branch predictors have it easier
 * than on a wire.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "bpf/bench_abi.h"
#include "bpf/flow_abi.h"
#include "kernel/cache.h"
#include "kernel/tester.h"

enum {
	RUNS = 1000000,
	RUNS_LEAST = 1000,
	ROUNDS_NORMAL = 7,
	ROUNDS_MOST = 1000,
	FRAME_MOST = 3000,
	FRAMES_MOST = 1 << 20
};

struct bench {
	struct kernel *kernel;
	const struct install *install;
	const struct bench_frame *frames;
	size_t count;
	unsigned rounds;
	uint32_t flows;
	struct bpf_object *object;
	struct bpf_object *empty;
	int prog;
	int empty_prog;
	double *samples; /* rounds, then rounds of the empty program */
};

/* --- loading ---------------------------------------------------------------------------------------------------- */

static int load_empty(struct bench *bench, const struct plane_object *plane, const struct load *load)
{
	const struct elf elf = { (void *)plane->data, plane->size };

	return object_load(bench->kernel, &elf, load, &bench->empty, &bench->empty_prog);
}

static int write_frames(const struct bench *bench, int map)
{
	for (uint32_t i = 0; i < bench->count; i++) {
		const struct bench_frame *frame = &bench->frames[i];
		struct bench_slot slot = { 0 };

		memcpy(&slot, frame->data, frame->length < sizeof slot ? frame->length : sizeof slot);
		if (bpf_map_update_elem(map, &i, &slot, BPF_ANY))
			return -errno;
	}
	return 0;
}

static int load_xdp(struct bench *bench, const struct load *load)
{
	int error = tester_load(bench->kernel, plane_bench(), load, &bench->object, &bench->prog);

	if (!error)
		error = load_empty(bench, plane_bench_empty(), load);
	if (!error)
		error = write_frames(bench, object_map(bench->object, "frames"));
	return error ? error : write_frames(bench, object_map(bench->empty, "frames"));
}

static int load_all(struct bench *bench)
{
	const struct install_hook *hook = &bench->install->hooks[0];
	const struct load load = { .install = bench->install, .hook = hook, .plane = hook->hook,
				   .frames = (uint32_t)bench->count };
	int error;

	if (hook_is_netfilter(hook->hook) || hook_table[hook->hook].call) {
		problem_set(bench->kernel, -EOPNOTSUPP, "the kernel cannot measure programs for %s",
			    hook_table[hook->hook].name);
		problem_hint(bench->kernel, "measure at xdp, tc or cgroup: the classifier is the same");
		return -EOPNOTSUPP;
	}
	if (hook->hook == HOOK_XDP)
		return load_xdp(bench, &load);
	error = tester_load(bench->kernel, object_plane(hook), &load, &bench->object, &bench->prog);
	return error ? error : load_empty(bench, plane_empty_for_hook(hook->hook), &load);
}

/* --- running ---------------------------------------------------------------------------------------------------- */

/*
 * Nanoseconds a run, or negative: -errno. The kernel's own figure, in whole nanoseconds: time by the wall would count
 * its 10 to 25 ms of preparation.
 */
static double time_runs(int prog, const void *data, size_t length, unsigned repeat)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = data, .data_size_in = (uint32_t)length,
		    .repeat = (int)repeat);

	if (bpf_prog_test_run_opts(prog, &options))
		return -errno;
	return options.duration;
}

static double round_xdp(const struct bench *bench, int prog)
{
	static const uint8_t nothing[FRAME_MOST];
	size_t length = BENCH_BYTES;

	for (size_t i = 0; i < bench->count; i++)
		if (bench->frames[i].length > length)
			length = bench->frames[i].length;
	return time_runs(prog, nothing, length < FRAME_MOST ? length : FRAME_MOST, RUNS);
}

/* Of each frame, where each is repeated. */
static unsigned repeats(const struct bench *bench)
{
	unsigned repeat = (unsigned)(RUNS / bench->count);

	return repeat < RUNS_LEAST ? RUNS_LEAST : repeat;
}

static double round_each(const struct bench *bench, int prog)
{
	unsigned repeat = repeats(bench);
	double sum = 0;

	for (size_t i = 0; i < bench->count; i++) {
		double ns = time_runs(prog, bench->frames[i].data, bench->frames[i].length, repeat);

		if (ns < 0)
			return ns;
		sum += ns;
	}
	return sum / (double)bench->count;
}

static size_t runs_of_round(const struct bench *bench)
{
	return bench->install->hooks[0].hook == HOOK_XDP ? RUNS : repeats(bench) * bench->count;
}

static double time_round(const struct bench *bench, int prog)
{
	return bench->install->hooks[0].hook == HOOK_XDP ? round_xdp(bench, prog) : round_each(bench, prog);
}

static bool first_flow(int map, struct flow_key *key, struct flow *flow)
{
	return !bpf_map_get_next_key(map, NULL, key) && !bpf_map_lookup_elem(map, key, flow);
}

/* Copies of a connection that the frames open, beside it, under keys that no packet has. */
static int add_flows(struct bench *bench)
{
	int map = object_map(bench->object, "state_flows");
	struct flow_key key;
	struct flow flow;

	if (!bench->flows)
		return 0;
	if (map < 0)
		return problem_set(bench->kernel, -EINVAL, "no rule asks for connections, so there is no table to fill");
	if (time_round(bench, bench->prog) >= 0 && !first_flow(map, &key, &flow))
		map = object_map(bench->object, "state_flows_fresh");
	if (!first_flow(map, &key, &flow))
		return problem_set(bench->kernel, -EINVAL, "the packets open no connection that could be copied");
	for (uint32_t i = 1; i <= bench->flows; i++) {
		key.b_lo = ~(uint64_t)i;
		if (bpf_map_update_elem(map, &key, &flow, BPF_ANY))
			return problem_bpf(bench->kernel, -errno, "cannot fill the table of connections");
	}
	return 0;
}

static int measure(struct bench *bench)
{
	const int progs[2] = { bench->prog, bench->empty_prog };

	for (unsigned i = 0; i < bench->rounds * 2; i++) {
		int prog = progs[i % 2];
		double ns = time_round(bench, prog);

		if (ns < 0)
			return problem_set(bench->kernel, (int)ns, "the kernel's test run refused a frame: %s",
					   strerror((int)-ns));
		bench->samples[i % 2 * bench->rounds + i / 2] = ns;
	}
	return 0;
}

/* Runs stay on the CPU they begin on. */
static int measure_pinned(struct bench *bench)
{
	cpu_set_t before, one;
	int cpu = sched_getcpu(), error;

	if (cpu < 0 || sched_getaffinity(0, sizeof before, &before))
		return measure(bench);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof one, &one);
	error = measure(bench);
	sched_setaffinity(0, sizeof before, &before);
	return error;
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static double median(double *samples, unsigned count)
{
	qsort(samples, count, sizeof *samples, by_size);
	return count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

/* Of all packets, which part was answered from the cache. */
static double share_cached(const struct bench *bench)
{
	int map = object_map(bench->object, CACHE_MAP);
	uint64_t hits = 0;

	if (map < 0 || cache_hits(map, &hits))
		return 0;
	return (double)hits / ((double)bench->rounds * (double)runs_of_round(bench));
}

static void summarize(const struct bench *bench, struct bench_result *ret_result)
{
	double *own = bench->samples, *empty = own + bench->rounds;

	ret_result->ns = median(own, bench->rounds);
	ret_result->empty_ns = median(empty, bench->rounds);
	ret_result->min_ns = own[0];
	ret_result->max_ns = own[bench->rounds - 1];
	ret_result->empty_min_ns = empty[0];
	ret_result->empty_max_ns = empty[bench->rounds - 1];
	ret_result->rounds = bench->rounds;
	ret_result->packets = bench->count;
	ret_result->cached = share_cached(bench);
}

static int run(struct bench *bench)
{
	int error;

	if (!bench->count || bench->count > FRAMES_MOST)
		return problem_set(bench->kernel, -EINVAL, "between 1 and %d packets can be measured, not %zu",
				   FRAMES_MOST, bench->count);
	bench->samples = calloc(bench->rounds, 2 * sizeof *bench->samples);
	if (!bench->samples)
		return -ENOMEM;
	error = load_all(bench);
	if (!error)
		error = add_flows(bench);
	return error ? error : measure_pinned(bench);
}

int kernel_bench(struct kernel *kernel, const struct install *install, const struct bench_frame *frames, size_t count,
		 unsigned rounds, uint32_t flows, struct diags *diags, struct bench_result *ret_result)
{
	struct bench bench = { .kernel = kernel, .install = install, .frames = frames, .count = count, .flows = flows };
	int error;

	bench.rounds = !rounds ? ROUNDS_NORMAL : rounds < ROUNDS_MOST ? rounds : ROUNDS_MOST;
	error = run(&bench);
	if (!error)
		summarize(&bench, ret_result);
	bpf_object__close(bench.object);
	bpf_object__close(bench.empty);
	free(bench.samples);
	return problem_report(kernel, diags, error);
}
