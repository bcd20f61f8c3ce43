/* SPDX-License-Identifier: GPL-2.0-only */
/* What libbpf and the verifier said about a load that failed. */
#ifndef WEIR_KERNEL_VERIFIER_H
#define WEIR_KERNEL_VERIFIER_H

#include <bpf/libbpf.h>

#include "kernel/internal.h"

/* libbpf's warnings since the last clearing, begun by ": ", or "". */
const char *verifier_messages(void);
void verifier_messages_clear(void);

/* Has the kernel write its log for this program if the load fails. */
int verifier_log_attach(struct kernel *kernel, struct bpf_program *program);

/* Words for a load that failed with `error`. */
void verifier_explain(struct kernel *kernel, int error, const char *hook);

/* The last source line that the log names, and its last words; both into buffers. Exposed for tests. */
void verifier_pick(const char *log, char *line, size_t line_size, char *words, size_t words_size);

#endif
