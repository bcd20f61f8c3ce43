/* SPDX-License-Identifier: GPL-2.0-only */
/* Finishing and undoing changes, whether this command's or those of one that was killed. */
#ifndef WEIR_KERNEL_RECOVER_H
#define WEIR_KERNEL_RECOVER_H

#include "kernel/generation.h"

/* Undoes a change that was not committed, finishes one that was; nothing if there is none. Can be repeated. */
int recover(struct kernel *kernel);
/* Undoes a change of which nothing hangs on a hook yet: no packet has met it, so nobody is waited for. */
int recover_unarmed(struct kernel *kernel);

#endif
