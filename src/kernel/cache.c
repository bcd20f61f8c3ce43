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

/* Those of a map, if it is a cache. */
static uint64_t hits_of_map(uint32_t id)
{
	CLEANUP_CLOSE int map = bpf_map_get_fd_by_id(id);
	struct bpf_map_info info;
	uint64_t hits = 0;

	if (map < 0 || map_info(map, &info) || strcmp(info.name, CACHE_MAP) ||
	    info.type != BPF_MAP_TYPE_PERCPU_ARRAY || info.value_size != CACHE_CHUNK)
		return 0;
	return cache_hits(map, &hits) ? 0 : hits;
}

enum { MAPS_MAX = 64 }; /* that a program of ours has */

uint64_t cache_hits_of(int prog)
{
	uint32_t ids[MAPS_MAX];
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)ids };
	uint32_t size = sizeof info;
	uint64_t hits = 0;

	if (prog < 0 || bpf_obj_get_info_by_fd(prog, &info, &size))
		return 0;
	for (uint32_t i = 0; i < info.nr_map_ids && i < MAPS_MAX; i++)
		hits += hits_of_map(ids[i]);
	return hits;
}
