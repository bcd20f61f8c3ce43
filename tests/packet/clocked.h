/* SPDX-License-Identifier: GPL-2.0-only */
/* A policy's program at one hook, by itself, whose clock the test sets. */
#ifndef WEIR_TESTS_PACKET_CLOCKED_H
#define WEIR_TESTS_PACKET_CLOCKED_H

#include <bpf/bpf.h>

#include "api/api.h"
#include "kernel/tester.h"

/* `paces`: as if the device sent packets when their time has come. 0 or not; the caller closes the object. */
static inline int clocked_load(struct call *call, struct kernel *kernel, const struct ruleset *ruleset, enum hook hook,
			       bool paces, struct bpf_object **ret_object, int *ret_prog)
{
	static const struct source no_source = { "test", "", 0 };
	const struct source *file = &no_source;
	struct bundle bundle = { .files = { &file, 1, 1 } };
	struct load how = { .plane = hook, .trace = true, .paces = paces };
	struct install install;

	if (api_install(call, ruleset, (int)hook, &bundle, &install))
		return -1;
	how.install = &install;
	how.hook = &install.hooks[0];
	return tester_load(kernel, plane_for_hook(hook), &how, ret_object, ret_prog);
}

static inline bool clocked_set(struct bpf_object *object, uint64_t now_ns)
{
	struct plane_trace trace = { .now_ns = now_ns };
	const uint32_t zero = 0;

	return !bpf_map_update_elem(object_map(object, "trace"), &zero, &trace, BPF_ANY);
}

#endif
