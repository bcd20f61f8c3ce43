/* SPDX-License-Identifier: GPL-2.0-only */
/* Proofs, as the files that ask for them share them. */
#ifndef WEIR_API_VERIFY_H
#define WEIR_API_VERIFY_H

#include "api/api.h"
#include "prove/prove.h"

/* What was built, as the prover takes it. In the arena. */
struct prove_input verify_input(struct arena *arena, const struct built *built);
/* Proves it, and on demand the walkers of its table. */
void verify_run(struct call *call, const struct prove_input *input, bool walkers, struct weir_verification *ret_verification);

#endif
