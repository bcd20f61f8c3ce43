/* SPDX-License-Identifier: GPL-2.0-only */
/* Programs that are loaded and run without being attached. */
#ifndef WEIR_KERNEL_TESTER_H
#define WEIR_KERNEL_TESTER_H

#include "kernel/object.h"

/* Links and loads one program. */
int tester_load(struct kernel *kernel, const struct plane_object *plane, const struct load *load,
		struct bpf_object **ret_object, int *ret_prog);

#endif
