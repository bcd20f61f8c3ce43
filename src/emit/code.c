/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A plan to eBPF. In: a plan; out: classify() and, where one function would not do, parts of it. Fails with -E2BIG
 * and a diagnostic where the kernel would refuse the size.
 *
 * One function holds what jumps of 16 bits reach. A bigger classifier is cut, in the order of its blocks, into
 * global functions classify_1, classify_2, ..., which the kernel checks one by one. Each takes the packet and the
 * block to begin with, and returns an answer or, with OTHER_BLOCK set, the block of a later function where judging
 * goes on. classify() then calls one after the other.
 */
#include "emit/blocks.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "packet/packet.h"

enum {
	FUNCTION_INSNS = 32000,    /* jumps reach 32767 instructions */
	BLOCK_INSNS = 16000,       /* two blocks fit a function */
	FUNCTION_BRANCHES = 6000,  /* the verifier keeps at most 8192 branches in mind */
	FUNCTIONS_MAX = 200,       /* 256 with the data plane's */
	PROGRAM_INSNS = 980000,    /* 1,000,000 with the data plane's */
	MAPS_MAX = 48,             /* 64 with the data plane's */
	/*
	 * Lookups of one dimension that are emitted in place; with more, all call one function. The kernel replaces
	 * each by several instructions and moves the whole program for it: 20,000 of them take it 15 s.
	 */
	LOOKUPS_IN_PLACE = 16,
};

#define ANSWER_OF_NULL ANSWER(ANSWER_DROP, SLOT_DEFAULT) /* never given: planes pass a packet */
#define OTHER_BLOCK 0x80000000u /* answers stay below: slots are far fewer than 2^28 */

struct emitter {
	const struct blocks *blocks;
	struct buffer *buffer;
	bool *entries;        /* for each block: some other function goes on here */
	bool lookups;         /* helpers are called: R1 does not last */
	VEC(uint32_t) last;   /* last block of each part */
};

/* Beside a table, the code answers what the table does not. */
static const char *whole_name(const struct plan *plan)
{
	return plan->kind == PLAN_TABLE ? "classify_rest" : "classify";
}

/* --- beginnings ---------------------------------------------------------------------------------- */

static void begin_function(struct buffer *buffer, const char *name, uint32_t arguments)
{
	struct code_function *function = &VEC_PUSH(buffer->arena, &buffer->functions);

	function->name = name;
	function->first = (uint32_t)buffer->insns.count;
	function->arguments = arguments;
}

static void end_function(struct buffer *buffer)
{
	struct code_function *function = &buffer->functions.items[buffer->functions.count - 1];

	function->count = (uint32_t)buffer->insns.count - function->first;
}

static void put_exit(struct buffer *buffer, uint32_t value)
{
	emit_insn(buffer, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, (int32_t)value);
	emit_insn(buffer, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* The kernel checks a global function for any argument, NULL too. `keep`: the packet stays in R6. */
static void put_prologue(struct buffer *buffer, bool keep, uint32_t result_of_null)
{
	label there = label_new(buffer);

	emit_jump(buffer, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_1, 0, there);
	put_exit(buffer, result_of_null);
	label_bind(buffer, there);
	if (keep)
		emit_insn(buffer, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_1, 0, 0);
	buffer->base = keep ? BPF_REG_6 : BPF_REG_1;
}

/* Goes where packet.resume says: `labels` has one for each start. `next`: the label bound after. */
static void put_resume(struct emitter *emitter, const label *labels, label next)
{
	static const struct dim resume = { .kind = DIM_VALUE, .offset = offsetof(struct packet, resume), .size = 4,
					   .mask = UINT64_MAX, .max = UINT32_MAX };
	const struct blocks *blocks = emitter->blocks;
	struct edge *edges = ARENA_ARRAY(emitter->buffer->arena, struct edge, blocks->start_count);

	for (size_t i = 0; i < blocks->start_count; i++)
		edges[i] = (struct edge){ blocks->starts[i].resume, labels[i] };
	if (blocks->start_count > 1)
		emit_load(emitter->buffer, &resume);
	emit_search(emitter->buffer, false, 0, edges, blocks->start_count, next);
}

/* --- the body of a function ---------------------------------------------------------------------- */

/* Emits a block unless nothing leads to it. */
static void put_block(struct emitter *emitter, uint32_t block, bool last)
{
	struct buffer *buffer = emitter->buffer;
	label here = block_label(buffer, block);

	if (!label_reached(buffer, here))
		return;
	label_bind(buffer, here);
	blocks_put(emitter->blocks, buffer, block, last ? NO_LABEL : block_label(buffer, block + 1));
}

/* Where something still waits for an answer or for a block of a later function: give it. */
static void put_exits(struct emitter *emitter)
{
	struct buffer *buffer = emitter->buffer;

	for (size_t i = 0; i < buffer->touched.count; i++) {
		label to = buffer->touched.items[i];

		buffer->labels.items[to].listed = false;
		if (!buffer->labels.items[to].waiting)
			continue;
		label_bind(buffer, to);
		if (to < buffer->answer_count) {
			emit_answer(buffer, to);
		} else {
			emitter->entries[to - buffer->answer_count] = true;
			put_exit(buffer, OTHER_BLOCK | (to - buffer->answer_count));
		}
	}
	buffer->touched.count = 0;
}

/* --- one function -------------------------------------------------------------------------------- */

/* classify() in one piece; false if it does not fit. */
static bool put_whole(struct emitter *emitter)
{
	const struct blocks *blocks = emitter->blocks;
	struct buffer *buffer = emitter->buffer;
	label *labels = ARENA_ARRAY(buffer->arena, label, blocks->start_count);
	size_t before = buffer->insns.count, branches = 0;

	begin_function(buffer, whole_name(blocks->plan), 1);
	put_prologue(buffer, emitter->lookups, ANSWER_OF_NULL);
	for (size_t i = 0; i < blocks->start_count; i++)
		labels[i] = block_label(buffer, blocks->starts[i].block);
	put_resume(emitter, labels, block_label(buffer, 0));
	for (uint32_t i = 0; i < blocks->count; i++) {
		put_block(emitter, i, i + 1 == blocks->count);
		branches += blocks_cost(blocks, i).branches;
		if (buffer->insns.count - before + 2 * buffer->open_answers > FUNCTION_INSNS || branches > FUNCTION_BRANCHES)
			return false;
	}
	put_exits(emitter);
	end_function(buffer);
	return !buffer->overflow;
}

/* --- several functions --------------------------------------------------------------------------- */

/* To the blocks from `first` to before `end` that others go on at; R2 holds the one that is meant. */
static void put_entries(struct emitter *emitter, uint32_t first, uint32_t end)
{
	struct buffer *buffer = emitter->buffer;
	VEC(struct edge) edges = { 0 };

	for (uint32_t i = first; i < end; i++)
		if (emitter->entries[i])
			VEC_PUSH(buffer->arena, &edges) = (struct edge){ OTHER_BLOCK | i, block_label(buffer, i) };
	if (edges.count > 1)
		emit_insn(buffer, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_0, BPF_REG_2, 0, 0);
	emit_search(buffer, false, edges.items[0].last, edges.items, edges.count, block_label(buffer, first));
}

/* The block after the last one that a function which begins with block `first` might hold at best. */
static uint32_t part_bound(const struct emitter *emitter, uint32_t first)
{
	size_t insns = 0;
	uint32_t end = first;

	while (end < emitter->blocks->count && insns < 4 * FUNCTION_INSNS)
		insns += blocks_cost(emitter->blocks, end++).insns;
	return end;
}

/* Whether the function that was begun has room for this block and the next. */
static bool has_room(const struct emitter *emitter, uint32_t block)
{
	const struct buffer *buffer = emitter->buffer;
	size_t insns = buffer->insns.count - buffer->functions.items[buffer->functions.count - 1].first;

	insns += 2 * ((size_t)buffer->open_answers + buffer->open_blocks);
	insns += blocks_cost(emitter->blocks, block).insns + blocks_cost(emitter->blocks, block + 1).insns;
	return insns <= FUNCTION_INSNS;
}

/* Blocks from `first` on, as many as the function holds; returns the block after them. */
static uint32_t put_body(struct emitter *emitter, uint32_t first, uint32_t bound)
{
	size_t branches = 0;
	uint32_t block = first;
	bool last;

	do {
		last = block + 1 == bound || branches > FUNCTION_BRANCHES || !has_room(emitter, block);
		put_block(emitter, block, last);
		branches += blocks_cost(emitter->blocks, block++).branches;
	} while (!last);
	return block;
}

static bool any_entry(const struct emitter *emitter, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++)
		if (emitter->entries[i])
			return true;
	return false;
}

/* One part from block `first` on; returns the block after it. */
static uint32_t put_part(struct emitter *emitter, uint32_t first)
{
	struct buffer *buffer = emitter->buffer;
	uint32_t bound = part_bound(emitter, first);
	uint32_t end;

	if (!any_entry(emitter, first, bound))
		return bound; /* nothing leads here */
	begin_function(buffer, arena_printf(buffer->arena, "classify_%zu", emitter->last.count + 1), 2);
	put_prologue(buffer, emitter->lookups, ANSWER_OF_NULL);
	put_entries(emitter, first, bound);
	end = put_body(emitter, first, bound);
	put_exits(emitter);
	end_function(buffer);
	VEC_PUSH(buffer->arena, &emitter->last) = end - 1;
	return end;
}

/* R0 = the block that each start means, then on to `next`. */
static void put_starts(struct emitter *emitter, label next)
{
	const struct blocks *blocks = emitter->blocks;
	struct buffer *buffer = emitter->buffer;
	label *labels = ARENA_ARRAY(buffer->arena, label, blocks->start_count);

	for (size_t i = 0; i < blocks->start_count; i++)
		labels[i] = label_new(buffer);
	put_resume(emitter, labels, labels[0]);
	for (size_t i = 0; i < blocks->start_count; i++) {
		label_bind(buffer, labels[i]);
		emit_insn(buffer, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0,
		    (int32_t)(OTHER_BLOCK | blocks->starts[i].block));
		emit_goto(buffer, next, i + 1 < blocks->start_count ? NO_LABEL : next);
	}
}

static void put_call(struct buffer *buffer, uint32_t function)
{
	emit_insn(buffer, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0, 0);
	emit_insn(buffer, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_0, 0, 0);
	emit_call(buffer, function);
}

/* classify(): calls the parts in turn until one answers. A block is in the first part whose last is not less. */
static void put_driver(struct emitter *emitter)
{
	struct buffer *buffer = emitter->buffer;
	const size_t parts = emitter->last.count;
	const uint32_t first_part = (uint32_t)(buffer->functions.count - parts) + 1;
	bool starts = emitter->blocks->start_count > 1;
	label done = label_new(buffer);
	label part = label_new(buffer);

	begin_function(buffer, whole_name(emitter->blocks->plan), 1);
	put_prologue(buffer, true, ANSWER_OF_NULL);
	put_starts(emitter, part);
	for (size_t i = 0; i < parts; i++) {
		label following = label_new(buffer);

		label_bind(buffer, part);
		if (i + 1 < parts && (i || starts))
			emit_compare(buffer, BPF_JGT, false, OTHER_BLOCK | emitter->last.items[i], following);
		put_call(buffer, first_part + (uint32_t)i);
		if (i + 1 < parts)
			emit_compare(buffer, BPF_JSGE, false, 0, done);
		part = following;
	}
	label_bind(buffer, done);
	emit_insn(buffer, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	end_function(buffer);
}

static void put_parts(struct emitter *emitter)
{
	const struct blocks *blocks = emitter->blocks;

	for (size_t i = 0; i < blocks->start_count; i++)
		emitter->entries[blocks->starts[i].block] = true;
	for (uint32_t block = 0; block < blocks->count;)
		block = put_part(emitter, block);
	put_driver(emitter);
}

/* --- lookups ----------------------------------------------------------------------------------- */

static uint32_t *count_lookups(struct arena *arena, const struct blocks *blocks)
{
	uint32_t *counts = ARENA_ARRAY(arena, uint32_t, blocks->plan->dim_count);

	for (uint32_t i = 0; i < blocks->count; i++)
		if (blocks->plan->kind == PLAN_DIAGRAM)
			node_count_lookups(blocks, i, counts);
		else
			item_count_lookups(blocks, i, counts);
	return counts;
}

/* int lookup_N(packet): whether the set of dimension N has the packet's value. */
static void put_lookup(struct emitter *emitter, uint32_t dim)
{
	struct buffer *buffer = emitter->buffer;
	const struct plan *plan = emitter->blocks->plan;
	label none = label_new(buffer);

	bool timed = plan->sets[plan->dims[dim].set].timed;

	begin_function(buffer, arena_printf(buffer->arena, "lookup_%u", dim), 1);
	put_prologue(buffer, timed, 0);
	emit_find(buffer, plan, &plan->dims[dim]);
	emit_jump(buffer, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, none);
	if (timed)
		emit_lives(buffer, plan, &plan->dims[dim]);
	else
		emit_insn(buffer, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
	label_bind(buffer, none);
	emit_insn(buffer, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	end_function(buffer);
}

/* The kernel allows 8 frames: behind a table, there is none left for a lookup that itself calls element_lives(). */
static bool calls_too_deep(const struct plan *plan, uint32_t dim)
{
	return plan->kind == PLAN_TABLE && plan->dims[dim].kind == DIM_SET && plan->sets[plan->dims[dim].set].timed;
}

/* Functions for what is looked up often. They come before all others, so that these know their numbers. */
static void put_lookups(struct emitter *emitter)
{
	const struct plan *plan = emitter->blocks->plan;
	struct buffer *buffer = emitter->buffer;
	uint32_t *counts = count_lookups(buffer->arena, emitter->blocks);
	uint32_t *functions = ARENA_ARRAY(buffer->arena, uint32_t, plan->dim_count);

	buffer->lookups = functions;
	for (uint32_t i = 0; i < plan->dim_count; i++) {
		emitter->lookups |= counts[i] != 0;
		if (counts[i] <= LOOKUPS_IN_PLACE || calls_too_deep(plan, i))
			continue;
		put_lookup(emitter, i);
		functions[i] = (uint32_t)buffer->functions.count; /* classify() will be in front */
	}
}

/* --- order ------------------------------------------------------------------------------------- */

/* Where an instruction goes when those from `rest` on change places with those before. */
static uint32_t moved(const struct buffer *buffer, uint32_t rest, uint32_t insn)
{
	return insn < rest ? insn + (uint32_t)buffer->insns.count - rest : insn - rest;
}

/* classify() was emitted last, since it calls the others; it belongs in front. */
static void move_to_front(struct buffer *buffer)
{
	const struct code_function classify = buffer->functions.items[buffer->functions.count - 1];
	const uint32_t rest = classify.first;
	struct bpf_insn *insns = ARENA_ARRAY(buffer->arena, struct bpf_insn, buffer->insns.count);
	uint32_t *rules = ARENA_ARRAY(buffer->arena, uint32_t, buffer->insns.count);

	for (uint32_t i = 0; i < buffer->insns.count; i++) {
		insns[moved(buffer, rest, i)] = buffer->insns.items[i];
		rules[moved(buffer, rest, i)] = buffer->rules.items[i];
	}
	buffer->insns.items = insns;
	buffer->rules.items = rules;
	for (size_t i = 0; i < buffer->maps.count; i++)
		buffer->maps.items[i].insn = moved(buffer, rest, buffer->maps.items[i].insn);
	for (size_t i = 0; i < buffer->calls.count; i++)
		buffer->calls.items[i].insn = moved(buffer, rest, buffer->calls.items[i].insn);
	for (size_t i = buffer->functions.count - 1; i > 0; i--) {
		buffer->functions.items[i] = buffer->functions.items[i - 1];
		buffer->functions.items[i].first = moved(buffer, rest, buffer->functions.items[i].first);
	}
	buffer->functions.items[0] = classify;
	buffer->functions.items[0].first = 0;
}

/* --- limits -------------------------------------------------------------------------------------- */

static struct span rule_span(const struct ruleset *ruleset, uint32_t number)
{
	for (size_t c = 0; c < ruleset->chain_count; c++)
		for (size_t r = 0; r < ruleset->chains[c].rule_count; r++)
			if (ruleset->chains[c].rules[r].number == number)
				return ruleset->chains[c].rules[r].span;
	return ruleset->span;
}

/* Before anything is emitted: blocks that no function can hold. */
static int check_blocks(const struct blocks *blocks, struct diags *diags)
{
	const struct plan *plan = blocks->plan;

	for (uint32_t i = 0; i < blocks->count; i++) {
		if (blocks_cost(blocks, i).insns <= BLOCK_INSNS)
			continue;
		diag_error(diags, rule_span(plan->ruleset, plan->kind != PLAN_DIAGRAM ? plan->items[i].rule : 0),
			   "the condition is too large for one function of the kernel: use a named set or several rules");
		return -E2BIG;
	}
	return 0;
}

static size_t maps_used(struct arena *arena, const struct plan *plan, const struct buffer *buffer)
{
	bool *used = ARENA_ARRAY(arena, bool, plan->set_count);
	size_t count = 0;

	for (size_t i = 0; i < buffer->maps.count; i++) {
		count += !used[buffer->maps.items[i].set];
		used[buffer->maps.items[i].set] = true;
	}
	return count;
}

static int check_size(struct arena *arena, const struct plan *plan, const struct buffer *buffer,
		      struct diags *diags)
{
	size_t maps = maps_used(arena, plan, buffer);

	if (maps > MAPS_MAX) {
		diag_error(diags, plan->ruleset->span,
			   "the policy looks into %zu sets at hook %s, more than the %d that one program may use", maps,
			   hook_table[plan->hook].name, MAPS_MAX);
		return -E2BIG;
	}
	if (buffer->insns.count <= PROGRAM_INSNS && buffer->functions.count <= FUNCTIONS_MAX && !buffer->overflow)
		return 0;
	diag_error(diags, plan->ruleset->span,
		   "the policy needs %zu instructions in %zu functions at hook %s; the kernel takes %d in %d",
		   buffer->insns.count, buffer->functions.count, hook_table[plan->hook].name, PROGRAM_INSNS,
		   FUNCTIONS_MAX);
	return -E2BIG;
}

/* --- the whole ----------------------------------------------------------------------------------- */

struct block_cost blocks_cost(const struct blocks *blocks, uint32_t block)
{
	return blocks->plan->kind == PLAN_DIAGRAM ? node_cost(blocks, block) : item_cost(blocks, block);
}

void blocks_put(const struct blocks *blocks, struct buffer *buffer, uint32_t block, label next)
{
	if (blocks->plan->kind == PLAN_DIAGRAM)
		node_put(blocks, buffer, block, next);
	else
		item_put(blocks, buffer, block, next);
}

static void put_constant(const struct plan *plan, struct buffer *buffer, uint32_t answer)
{
	begin_function(buffer, whole_name(plan), 1);
	emit_answer(buffer, answer);
	end_function(buffer);
}

static const struct code *finish(struct arena *arena, const struct buffer *buffer)
{
	struct code *code = ARENA_NEW(arena, struct code);

	code->insns = buffer->insns.items;
	code->insn_count = buffer->insns.count;
	code->rules = buffer->rules.items;
	code->functions = buffer->functions.items;
	code->function_count = buffer->functions.count;
	code->maps = buffer->maps.items;
	code->map_count = buffer->maps.count;
	code->calls = buffer->calls.items;
	code->call_count = buffer->calls.count;
	return code;
}

static void begin(struct emitter *emitter, struct arena *arena)
{
	emitter->buffer = buffer_new(arena, emitter->blocks->plan, emitter->blocks->count);
	emitter->entries = ARENA_ARRAY(arena, bool, emitter->blocks->count);
	put_lookups(emitter);
}

static struct buffer *put_all(struct arena *arena, const struct blocks *blocks)
{
	struct emitter emitter = { .blocks = blocks };

	begin(&emitter, arena);
	if (!blocks->count) {
		put_constant(blocks->plan, emitter.buffer, blocks->constant);
	} else if (!put_whole(&emitter)) {
		begin(&emitter, arena);
		put_parts(&emitter);
	}
	move_to_front(emitter.buffer);
	return emitter.buffer;
}

int emit_code(struct arena *arena, const struct plan *plan, struct diags *diags, const struct code **ret_code)
{
	struct blocks blocks;
	struct buffer *buffer;
	int error;

	if (plan->kind == PLAN_DIAGRAM)
		blocks_from_diagram(arena, plan, &blocks);
	else
		blocks_from_list(arena, plan, &blocks);
	error = check_blocks(&blocks, diags);
	if (error)
		return error;
	buffer = put_all(arena, &blocks);
	error = check_size(arena, plan, buffer, diags);
	if (error)
		return error;
	*ret_code = finish(arena, buffer);
	return 0;
}
