/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a memory access costs that waits for the one before it, by how much memory is gone through at random: the bound below which no
 * classifier whose data is that large can come. Prints KiB and nanoseconds, the least of some rounds.
 *
 *     ninja -C build bench/memory && build/bench/memory
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LINE = 64, LEAST_KIB = 16, MOST_KIB = 128 << 10, STEPS = 2000000, ROUNDS = 5 };

struct line {
	_Alignas(LINE) struct line *next;
};

static uint64_t random_below(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % below;
}

/* One circle through all lines (Sattolo's shuffle). */
static void join(struct line *lines, size_t count)
{
	uint64_t state = 88172645463325252;

	for (size_t i = 0; i < count; i++)
		lines[i].next = &lines[i];
	for (size_t i = count - 1; i > 0; i--) {
		size_t other = random_below(&state, i);
		struct line *next = lines[i].next;

		lines[i].next = lines[other].next;
		lines[other].next = next;
	}
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double measure(struct line *lines)
{
	struct line *volatile end;
	struct line *at = lines;
	double best = 1e9;

	for (int round = 0; round < ROUNDS; round++) {
		double begin = seconds(), took;

		for (int i = 0; i < STEPS; i++)
			at = at->next;
		end = at;
		took = (seconds() - begin) / STEPS * 1e9;
		best = took < best ? took : best;
	}
	(void)end;
	return best;
}

int main(void)
{
	for (size_t kib = LEAST_KIB; kib <= MOST_KIB; kib *= 2) {
		size_t count = kib * 1024 / LINE;
		struct line *lines = aligned_alloc(LINE, count * sizeof *lines);

		if (!lines)
			return 1;
		join(lines, count);
		printf("%7zu KiB %6.1f ns\n", kib, measure(lines));
		free(lines);
	}
	return 0;
}
