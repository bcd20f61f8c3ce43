/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program that passes every packet at once, for the floor of measurements. Built for each hook, with SECTION
 * and PASS.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC(SECTION)
int weir_empty(void *context)
{
	(void)context;
	return PASS;
}

char LICENSE[] SEC("license") = "GPL";
