/* SPDX-License-Identifier: GPL-2.0-only */
/* Random numbers for tests: the same seed gives the same sequence everywhere (xorshift64*). */
#ifndef WEIR_TESTS_LIB_RANDOM_H
#define WEIR_TESTS_LIB_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct random {
	uint64_t state; /* never 0 */
};

static inline uint64_t random_next(struct random *random)
{
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return random->state * 0x2545f4914f6cdd1dull;
}

static inline struct random random_seed(uint64_t seed)
{
	struct random random = { (seed + 1) * 0x9e3779b97f4a7c15ull };

	if (!random.state)
		random.state = 1;
	for (int i = 0; i < 4; i++)
		random_next(&random);
	return random;
}

/* From 0 to below - 1; `below` at least 1. */
static inline uint32_t random_below(struct random *random, uint32_t below)
{
	return (uint32_t)((random_next(random) >> 32) % below);
}

/* From lo to hi, both possible. */
static inline uint32_t random_between(struct random *random, uint32_t lo, uint32_t hi)
{
	return lo + random_below(random, hi - lo + 1);
}

/* True once in `n` times. */
static inline bool random_once_in(struct random *random, uint32_t n)
{
	return random_below(random, n) == 0;
}

/* A number from the environment: `WEIR_ROUNDS` multiplies the rounds of a test, `WEIR_SEED` moves them. */
static inline uint64_t random_setting(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 0) : otherwise;
}

#if defined(__SANITIZE_ADDRESS__)
enum { RANDOM_SHARE = 4 };
#else
enum { RANDOM_SHARE = 1 };
#endif

/* How many rounds of a test to run, at least one. Sanitizers take three times as long and see the seeds of the plain build: a part
 * of the rounds shows as much of the memory. */
static inline unsigned random_rounds(unsigned rounds)
{
	rounds *= (unsigned)random_setting("WEIR_ROUNDS", 1);
	return rounds < RANDOM_SHARE ? 1 : rounds / RANDOM_SHARE;
}

#define RANDOM_PICK(random, array) ((array)[random_below((random), sizeof(array) / sizeof *(array))])

#endif
