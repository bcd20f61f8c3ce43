/* SPDX-License-Identifier: GPL-2.0-only */
/* Loads a plane joined with a test's classifier, and runs packets through it. Needs root. */
#ifndef WEIR_TESTS_PLANE_LOAD_H
#define WEIR_TESTS_PLANE_LOAD_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "bpf/objects.h"
#include "bpf/plane_abi.h"
#include "packet/packet.h"

/* Newer than the headers may be. */
#define TYPE_NETFILTER ((enum bpf_prog_type)32)
#define ATTACH_NETFILTER ((enum bpf_attach_type)45)

struct plane {
	struct bpf_object *object;
	struct bpf_program *program;
	int fd;
};

static inline int add_object(struct bpf_linker *linker, const void *data, size_t size)
{
	int fd = memfd_create("object", MFD_CLOEXEC), error;
	char path[32];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return -errno;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	error = bpf_linker__add_file(linker, path, NULL);
	close(fd);
	return error;
}

/* `classifier`: path of an object file, or NULL for a whole object. */
static inline struct bpf_object *plane_link(const struct plane_object *object, const char *classifier)
{
	char path[32];
	int fd = memfd_create("linked", MFD_CLOEXEC);
	struct bpf_linker *linker;
	struct bpf_object *linked = NULL;

	if (!classifier)
		return bpf_object__open_mem(object->data, object->size, NULL);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	linker = bpf_linker__new(path, NULL);
	if (!add_object(linker, object->data, object->size) && !bpf_linker__add_file(linker, classifier, NULL) &&
	    !bpf_linker__finalize(linker))
		linked = bpf_object__open_file(path, NULL);
	bpf_linker__free(linker);
	close(fd);
	return linked;
}

static inline void map_counters(struct bpf_map *map, const struct plane_config *config)
{
	bpf_map__set_max_entries(map, ((config->slots - 1) >> config->chunk_bits) + 1);
	bpf_map__set_value_size(map, (uint32_t)sizeof(struct counter) << config->chunk_bits);
}

static inline int plane_config_set(struct bpf_object *object, const struct plane_config *config)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, MAP_CONFIG);

	if (!map)
		return 0;
	if (config->steps)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "steps"), config->steps);
	map_counters(bpf_object__find_map_by_name(object, "counters"), config);
	if (config->captures)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "captures"), 1 << 18);
	return bpf_map__set_initial_value(map, config, sizeof *config);
}

static inline int plane_load(const struct plane_object *object, const char *classifier,
			     const struct plane_config *config, struct plane *ret_plane)
{
	struct plane plane = { .object = plane_link(object, classifier) };
	int error;

	if (!plane.object)
		return -errno;
	plane.program = bpf_object__next_program(plane.object, NULL);
	if (!strcmp(object->name, "netfilter")) {
		bpf_program__set_type(plane.program, TYPE_NETFILTER);
		bpf_program__set_expected_attach_type(plane.program, ATTACH_NETFILTER);
	}
	error = plane_config_set(plane.object, config);
	if (!error)
		error = bpf_object__load(plane.object);
	if (error) {
		bpf_object__close(plane.object);
		return error;
	}
	plane.fd = bpf_program__fd(plane.program);
	*ret_plane = plane;
	return 0;
}

static inline void plane_close(struct plane *plane)
{
	bpf_object__close(plane->object);
	plane->object = NULL;
}

static inline int plane_map(const struct plane *plane, const char *name)
{
	return bpf_object__find_map_fd_by_name(plane->object, name);
}

/* Netfilter programs came with Linux 6.4; its kfuncs tell. */
static inline bool plane_possible(enum hook hook)
{
	struct btf *btf;
	bool possible;

	if (!plane_for_hook(hook))
		return false;
	if (hook < HOOK_NF_PREROUTING || hook > HOOK_NF_POSTROUTING)
		return true;
	btf = btf__load_vmlinux_btf();
	possible = btf && btf__find_by_name_kind(btf, "bpf_dynptr_from_skb", BTF_KIND_FUNC) > 0;
	btf__free(btf);
	return possible;
}

/* One counter, summed over CPUs. */
static inline struct counter plane_counter(const struct plane *plane, __u32 slot)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(plane->object, "counters");
	size_t size = bpf_map__value_size(map) / sizeof(struct counter);
	struct counter *each = calloc(size * (size_t)libbpf_num_possible_cpus(), sizeof *each), sum = { 0 };
	__u32 chunk = slot / (__u32)size;

	if (each && !bpf_map_lookup_elem(bpf_map__fd(map), &chunk, each))
		for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++) {
			sum.packets += each[(size_t)cpu * size + slot % size].packets;
			sum.bytes += each[(size_t)cpu * size + slot % size].bytes;
		}
	free(each);
	return sum;
}

#endif
