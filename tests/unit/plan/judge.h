/* SPDX-License-Identifier: GPL-2.0-only */
/* A data plane in miniature: what becomes of a packet when a plan's answers are carried out. For tests. */
#ifndef WEIR_TESTS_PLAN_JUDGE_H
#define WEIR_TESTS_PLAN_JUDGE_H

#include <string.h>

#include "ir/model.h"
#include "plan/plan.h"

enum { JUDGE_HITS_MAX = 512 };

struct judged {
	const char *error;   /* the plan broke a rule of plane_abi.h, or NULL */
	uint32_t verdict;
	uint32_t slot;       /* of what decided */
	uint32_t mark;
	uint32_t hits[JUDGE_HITS_MAX]; /* rules counted, in order */
	size_t hit_count;
	size_t others;       /* sum of other slots counted, each plus 1 */
	size_t logs;
	uint64_t steps;      /* a hash of all that was done, in order */
	size_t runs;         /* how often classify() was called */
	const bool *granted; /* by rule number: which rates have tokens; NULL: all */
};

static inline void judge_store(struct packet *packet, unsigned offset, unsigned size, uint64_t value)
{
	memcpy((char *)packet + offset, &value, size); /* little-endian hosts, as BPF tests run on */
}

/* The packet as the planes fill it in from what the model's parser found. */
static inline void judge_fill(struct packet *packet, const struct model_fields *fields)
{
	memset(packet, 0, sizeof *packet);
	for (int field = 0; field < FIELD_COUNT; field++) {
		const struct field_info *info = &field_table[field];
		u128 value = fields->value[field];

		if (!info->size)
			continue;
		if (!fields->has[field] && info->presence != PRESENT_VALUE)
			continue;
		if (!fields->has[field])
			value = info->absent;
		if (info->size == 16) {
			judge_store(packet, info->offset, 8, u128_hi(value));
			judge_store(packet, info->offset + 8u, 8, u128_lo(value));
		} else {
			judge_store(packet, info->offset, info->size, u128_lo(value));
		}
	}
}

static inline void judge_count(struct judged *judged, const struct plan *plan, uint32_t slot)
{
	if (slot >= plan->slots) {
		judged->error = "a slot beyond the counters";
	} else if (slot >= SLOT_RULES && slot <= SLOT_RULE(plan->ruleset->rule_count)) {
		if (judged->hit_count < JUDGE_HITS_MAX)
			judged->hits[judged->hit_count++] = slot - SLOT_RULES + 1;
	} else {
		judged->others += slot + 1;
	}
}

static inline void judge_decide(struct judged *judged, const struct plan *plan, uint32_t verdict, uint32_t slot)
{
	judged->verdict = verdict;
	judged->slot = slot;
	judge_count(judged, plan, slot);
}

static inline void judge_note(struct judged *judged, const struct step *step)
{
	bool marks = step->kind == STEP_MARK, counts = step->kind == STEP_COUNT;
	const uint64_t parts[] = { step->kind, marks ? 0 : step->slot, counts ? 0 : marks ? step->a & step->b : step->a,
				   counts ? 0 : step->b };

	if (step->kind == STEP_RATE || step->kind == STEP_VERDICT || step->kind == STEP_RESUME)
		return;
	for (unsigned i = 0; i < 4; i++)
		judged->steps = (judged->steps ^ parts[i]) * 0x9e3779b97f4a7c15u;
}

/* Takes a run of steps; true if judging goes on. */
static inline bool judge_steps(struct judged *judged, const struct plan *plan, struct packet *packet, size_t first)
{
	for (size_t i = first; i < plan->step_count; i++) {
		const struct step *step = &plan->steps[i];

		judge_note(judged, step);
		switch (step->kind) {
		case STEP_COUNT:
			judge_count(judged, plan, step->slot);
			break;
		case STEP_LOG:
			if (step->a >= plan->log_count || SLOT_RULE(plan->log_rules[step->a]) != step->slot)
				judged->error = "a log of another rule";
			judged->logs++;
			break;
		case STEP_CAPTURE:
			if (step->slot < SLOT_RULES || step->slot > SLOT_RULE(plan->ruleset->rule_count))
				judged->error = "a capture of no rule";
			break;
		case STEP_ADD:
		case STEP_REMOVE:
			if (step->slot >= plan->ruleset->set_count || !(plan->needed >> step->a & 1))
				judged->error = "a change of no set, or by a field that is not filled in";
			break;
		case STEP_MARK:
			judged->mark = (judged->mark & ~step->b) | (step->a & step->b);
			break;
		case STEP_RATE:
			if (step->a >= plan->rate_count || step->b >= plan->step_count)
				judged->error = "a rate or a step that there is not";
			else if (judged->granted && !judged->granted[step->slot - SLOT_RULES + 1])
				i = step->b - (size_t)1;
			break;
		case STEP_THROTTLE:
			if (step->a >= plan->rate_count)
				judged->error = "a rate that there is not";
			if (!judged->granted || judged->granted[step->slot - SLOT_RULES + 1])
				break;
			judge_decide(judged, plan, ANSWER_DROP, step->slot);
			return false;
		case STEP_VERDICT:
			judge_decide(judged, plan, step->a, step->slot);
			return false;
		case STEP_RESUME:
			packet->resume = step->a;
			return true;
		default:
			judged->error = "an unknown step";
			return false;
		}
	}
	judged->error = "a run without an end";
	return false;
}

/* Judges with `classify`, for instance plan_evaluate(). */
static inline struct judged judge_granting(const struct plan *plan, struct packet packet,
					   uint32_t (*classify)(const struct plan *plan, const struct packet *packet),
					   const bool *granted)
{
	struct judged judged = { .mark = packet.mark, .granted = granted };
	uint32_t answer;

	do {
		if (++judged.runs > STEPS_MAX) {
			judged.error = "it goes on for ever";
			return judged;
		}
		answer = classify(plan, &packet);
		if (!(answer & ANSWER_STEPS)) {
			judge_decide(&judged, plan, answer & 3, answer >> ANSWER_SHIFT);
			return judged;
		}
	} while (judge_steps(&judged, plan, &packet, answer >> ANSWER_SHIFT));
	return judged;
}

static inline struct judged judge(const struct plan *plan, struct packet packet,
				  uint32_t (*classify)(const struct plan *plan, const struct packet *packet))
{
	return judge_granting(plan, packet, classify, NULL);
}

#endif
