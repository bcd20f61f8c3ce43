/* SPDX-License-Identifier: GPL-2.0-only */
/* What every program of a policy has, whether it judges or not: configuration, whose turn it is, the predecessor. */
#ifndef WEIR_BPF_TURN_H
#define WEIR_BPF_TURN_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "bpf/plane_abi.h"
#include "packet/field.h"
#include "packet/hook.h"
#include "packet/packet.h"

/* --- maps and configuration: see plane_abi.h ------------------------------------------------------------------- */

volatile __u64 epoch SEC(".data.epoch") = 0;
volatile struct plane_control control SEC(".data.control") = { .until = ~0ull };
const volatile struct plane_config config SEC(".rodata.config") = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} before SEC(".maps");

/* --- whose turn it is -------------------------------------------------------------------------------------------- */

enum turn { TURN_OURS, TURN_BEFORE, TURN_OVER };

/*
 * Whose turn is it? A new generation of programs is in place before the one store to `epoch` that puts it in
 * force: until then each calls its predecessor, through `before`. From control.until on a program has nothing
 * to say.
 */
static __always_inline enum turn plane_turn(void)
{
	__u64 now = epoch;

	if (__builtin_expect(now < config.since, 0))
		return TURN_BEFORE;
	return __builtin_expect(now >= control.until, 0) ? TURN_OVER : TURN_OURS;
}

char LICENSE[] SEC("license") = "GPL";

#endif
