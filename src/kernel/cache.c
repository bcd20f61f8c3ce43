/* SPDX-License-Identifier: GPL-2.0-only */
#include "kernel/cache.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "kernel/generation.h"

/* Such kernels stop programs half-way for others, on whose answers they would come in between. */
static bool kernel_is_real_time(void)
{
	struct utsname name;

	return uname(&name) || strstr(name.version, "PREEMPT_RT");
}

uint32_t cache_chunks(const struct install_hook *hook)
{
	return hook->cache_chunks && !kernel_is_real_time() ? hook->cache_chunks : 0;
}

int cache_hits(int map, uint64_t *ret_hits)
{
	int cpus = libbpf_num_possible_cpus();
	CLEANUP_FREE char *values = NULL;
	uint32_t key = 0, *before = NULL;

	if (cpus < 1)
		return cpus;
	values = calloc((size_t)cpus, CACHE_CHUNK);
	if (!values)
		return -ENOMEM;
	*ret_hits = 0;
	while (!bpf_map_get_next_key(map, before, &key)) {
		if (bpf_map_lookup_elem(map, &key, values))
			return -errno;
		for (int i = 0; i < cpus; i++)
			*ret_hits += ((const struct cache_account *)(values + (size_t)i * CACHE_CHUNK))->hits;
		before = &key;
	}
	return errno == ENOENT ? 0 : -errno;
}

uint64_t cache_hits_of(int prog)
{
	CLEANUP_CLOSE int map = prog_map(prog, CACHE_MAP);
	struct bpf_map_info info;
	uint64_t hits = 0;

	if (map < 0 || map_info(map, &info) || info.type != BPF_MAP_TYPE_PERCPU_ARRAY || info.value_size != CACHE_CHUNK)
		return 0;
	return cache_hits(map, &hits) ? 0 : hits;
}
