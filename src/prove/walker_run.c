/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a walker of tables was not shown to do what its table says: a packet for which it does something else. In: the
 * finished instructions; out: the packet. They are run on packets of each leaf: one that each of its records agrees with,
 * and one of any kind; the table is read for the same packets, record by record (table_read.c).
 */
#include <stddef.h>
#include <string.h>

#include "prove/walker.h"

/* --- one packet --------------------------------------------------------------------------------------------------- */

struct sample {
	struct prove *prove;
	const struct table *table;
	union {
		struct packet packet;
		uint64_t words[IMAGE_WORDS];
	};
};

/* What classify_rest() says; as a question, packet.resume is its number. */
static uint32_t rest_of(const struct sample *sample, uint32_t resume)
{
	const struct prove *prove = sample->prove;
	const unsigned at = offsetof(struct packet, resume) * 8;
	uint8_t bits[LEVELS];

	memset(bits, 0, sizeof bits); /* nothing is in named sets */
	for (unsigned i = 0; i < PACKET_BITS; i++)
		bits[prove->level_of_bit[i]] = sample->words[i / 64] >> i % 64 & 1;
	for (unsigned i = 0; i < 32; i++)
		bits[prove->level_of_bit[at + i]] = resume >> i & 1;
	return (uint32_t)number_of_value(prove, bdd_follow(prove->bdd, prove->program, bits));
}

static bool within(const struct sample *sample, const struct bound *bound)
{
	uint64_t number = sample->words[bound->word] & bound->mask;

	return bound->wraps ? number >= bound->lo || number <= bound->hi : number >= bound->lo && number <= bound->hi;
}

/* Within the first of the record's bounds. */
static bool all_within(const struct sample *sample, const struct record *record, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!within(sample, &record->bounds[i]))
			return false;
	return true;
}

static bool agrees(const struct sample *sample, const struct record *record)
{
	if (record->never || !all_within(sample, record, record->bound_count))
		return false;
	for (unsigned i = 0; i < record->question_count; i++)
		if (rest_of(sample, record->questions[i]) != TABLE_YES)
			return false;
	return true;
}

static void read_leaf(const struct sample *sample, uint64_t index, bool six, size_t most, uint64_t *best)
{
	struct record record = { .last = false };

	for (size_t i = 0; i < most && !record.last; i++, index += table_stride(six)) {
		if (!table_record(sample->table, six, index, &record))
			return;
		if (record.order >= *best >> 32 && !record.own_never && all_within(sample, &record, record.own_count))
			return; /* whatever its tests say */
		if (record.order >= *best >> 32 || record.order < sample->packet.resume || !agrees(sample, &record))
			continue;
		*best = (uint64_t)record.order << 32 | record.answer;
		return;
	}
}

static void read_tree(const struct sample *sample, uint64_t index, bool six, size_t most, uint64_t *best)
{
	for (unsigned depth = 0; depth < TABLE_DEPTH_MAX; depth++) {
		struct table_node node = table_node(sample->table, index);

		if (node.nowhere || node.bound >= *best >> 32)
			return;
		if (!node.bits) {
			if (node.base)
				read_leaf(sample, node.base, six, most, best);
			return;
		}
		index = node.base + (sample->words[node.word] >> node.shift & (((uint64_t)1 << node.bits) - 1));
	}
}

static void read_hash(const struct sample *sample, bool six, uint64_t *best)
{
	struct record record;
	struct known known;
	uint64_t slot;

	memset(known.mask, 0xff, sizeof known.mask);
	memcpy(known.bits, sample->words, sizeof known.bits);
	if (table_slot_of(sample->table, six, &known, &slot) && table_slot(sample->table, six, slot, &record) &&
	    record.order < *best >> 32 && record.order >= sample->packet.resume && agrees(sample, &record))
		*best = (uint64_t)record.order << 32 | record.answer;
}

/* What the table says. */
static uint32_t read_table(const struct sample *sample)
{
	bool six = sample->packet.family == FAMILY_IPV6;
	const struct table_trees *trees = &sample->table->families[six];
	uint64_t best = sample->table->start;
	uint32_t root;

	if (table_tree(trees, TREE_CHANGED, &root))
		read_tree(sample, root, six, table_longest(trees, TREE_CHANGED), &best);
	if (trees->hash)
		read_hash(sample, six, &best);
	for (unsigned tree = 0; tree < trees->count; tree++)
		read_tree(sample, trees->roots[tree], six, trees->longest, &best);
	return (uint32_t)best;
}

/* --- the instructions --------------------------------------------------------------------------------------------- */

/* Addresses: which memory, and how far behind its beginning. */
enum { MEMORY_PACKET = 1, MEMORY_BLOB, MEMORY_CONFIG, MEMORY_EPOCH, MEMORY_TABLE, MEMORY_STACK, MEMORY_SHIFT = 40 };
enum { STACK_BYTES = 512, FRAMES_MAX = 4, TURNS_MAX = 4000000 };

struct run {
	const struct walker *walker;
	struct sample *sample;
	unsigned turns, depth;
	bool broken;
};

struct frame {
	uint64_t registers[REGISTERS];
	unsigned char stack[STACK_BYTES];
};

static uint64_t address(unsigned memory)
{
	return (uint64_t)memory << MEMORY_SHIFT;
}

/* Copies to or from there; false: there is nothing. */
static bool touch(struct run *run, struct frame *frame, uint64_t at, void *bytes, unsigned size, bool write)
{
	const struct prove_changed *changed = run->walker->prove->input->changed;
	uint64_t epoch = changed ? changed->epoch : 0;
	const struct table *table = run->walker->table;
	uint64_t offset = at & (address(1) - 1);
	size_t length = 0;
	char *there = NULL;

	switch (at >> MEMORY_SHIFT) {
	case MEMORY_PACKET:
		there = (char *)&run->sample->packet;
		length = sizeof run->sample->packet;
		break;
	case MEMORY_STACK:
		there = (char *)frame->stack;
		length = sizeof frame->stack;
		break;
	case MEMORY_BLOB:
		length = table->count * 8;
		if (offset >= length && offset <= length + TABLE_SLACK - size && !write) {
			memset(bytes, 0, size);
			return true;
		}
		there = (char *)table->words;
		break;
	case MEMORY_CONFIG:
		there = (char *)run->walker->config;
		length = sizeof *run->walker->config;
		break;
	case MEMORY_EPOCH:
		there = (char *)&epoch;
		length = sizeof epoch;
		break;
	}
	if (offset > length || size > length - offset || (write && at >> MEMORY_SHIFT != MEMORY_PACKET &&
							  at >> MEMORY_SHIFT != MEMORY_STACK))
		return false;
	if (write)
		memcpy(there + offset, bytes, size);
	else
		memcpy(bytes, there + offset, size);
	return true;
}

static uint64_t low_bytes(uint64_t number, unsigned size)
{
	return size == 8 ? number : number & (((uint64_t)1 << size * 8) - 1);
}

/* Numbers are kept in memory as little-endian hosts do. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as are all machines that eBPF programs of ours run on");

static void run_memory(struct run *run, struct frame *frame, const struct insn *insn)
{
	uint64_t *registers = frame->registers, number = 0;
	bool write = insn->kind == INSN_STORE;
	uint64_t at = registers[write ? insn->dst : insn->src] + (uint64_t)(int64_t)insn->offset;

	if (write)
		number = insn->by_register ? registers[insn->src] : insn->number;
	if (!touch(run, frame, at, &number, insn->size, write))
		run->broken = true;
	if (!write)
		registers[insn->dst] = low_bytes(number, insn->size);
}

static uint64_t calculated(const struct insn *insn, uint64_t left, uint64_t right)
{
	unsigned by = right & (insn->wide ? 63 : 31);

	switch (insn->kind) {
	case INSN_MOVE:
		return right;
	case INSN_ADD:
		return left + right;
	case INSN_SUB:
		return left - right;
	case INSN_MULTIPLY:
		return left * right;
	case INSN_AND:
		return left & right;
	case INSN_OR:
		return left | right;
	case INSN_XOR:
		return left ^ right;
	case INSN_LEFT:
		return left << by;
	case INSN_RIGHT:
		return (insn->wide ? left : (uint32_t)left) >> by;
	case INSN_RIGHT_SIGNED:
		return insn->wide ? (uint64_t)((int64_t)left >> by) : (uint64_t)((int32_t)left >> by);
	default:
		return -left;
	}
}

static bool compares(const struct insn *insn, uint64_t left, uint64_t right)
{
	int64_t a = insn->wide ? (int64_t)left : (int32_t)left, b = insn->wide ? (int64_t)right : (int32_t)right;

	left = insn->wide ? left : (uint32_t)left;
	right = insn->wide ? right : (uint32_t)right;
	switch ((enum compare)insn->compare) {
	case COMPARE_EQ:
		return left == right;
	case COMPARE_NE:
		return left != right;
	case COMPARE_GT:
		return left > right;
	case COMPARE_GE:
		return left >= right;
	case COMPARE_LT:
		return left < right;
	case COMPARE_LE:
		return left <= right;
	case COMPARE_SET:
		return left & right;
	case COMPARE_SGT:
		return a > b;
	case COMPARE_SGE:
		return a >= b;
	case COMPARE_SLT:
		return a < b;
	case COMPARE_SLE:
		return a <= b;
	}
	return false;
}

static uint64_t run_function(struct run *run, uint32_t at, const uint64_t *arguments);

static void run_call(struct run *run, struct frame *frame, const struct insn *insn)
{
	static const uint8_t memories[] = { [PLACE_TABLE] = MEMORY_TABLE, [PLACE_CONFIG] = MEMORY_CONFIG,
					    [PLACE_EPOCH] = MEMORY_EPOCH };
	uint64_t *registers = frame->registers;

	switch (insn->kind) {
	case INSN_PLACE:
		registers[insn->dst] = address(memories[insn->number]);
		break;
	case INSN_HELPER:
		registers[0] = address(MEMORY_BLOB);
		run->broken |= registers[1] != address(MEMORY_TABLE);
		break;
	case INSN_REST:
		registers[0] = rest_of(run->sample, run->sample->packet.resume);
		run->broken |= registers[1] != address(MEMORY_PACKET);
		break;
	default:
		registers[0] = run_function(run, run->walker->image.functions[insn->number].first, registers);
	}
}

/* Runs one instruction; returns where the next one is. */
static uint32_t run_one(struct run *run, struct frame *frame, uint32_t at)
{
	const struct insn *insn = &run->walker->insns[at];
	uint64_t *registers = frame->registers, right = insn->by_register ? registers[insn->src] : insn->number, result;
	uint32_t target = (uint32_t)((int64_t)at + 1 + insn->offset);

	switch (insn->kind) {
	case INSN_ODD:
	case INSN_SECOND:
		run->broken = true;
		break;
	case INSN_GOTO:
		return target;
	case INSN_BRANCH:
		return compares(insn, registers[insn->dst], right) ? target : at + 1;
	case INSN_MAY_GOTO:
		break;
	case INSN_LOAD:
	case INSN_STORE:
		run_memory(run, frame, insn);
		break;
	case INSN_PLACE:
	case INSN_HELPER:
	case INSN_REST:
	case INSN_CALL:
		run_call(run, frame, insn);
		break;
	default:
		result = calculated(insn, registers[insn->dst], right);
		registers[insn->dst] = insn->wide ? result : (uint32_t)result;
	}
	return at + 1 < run->walker->image.insn_count && run->walker->insns[at + 1].kind == INSN_SECOND ? at + 2 : at + 1;
}

static uint64_t run_function(struct run *run, uint32_t at, const uint64_t *arguments)
{
	struct frame frame = { .registers = { [FP] = address(MEMORY_STACK) + STACK_BYTES } };

	memcpy(&frame.registers[1], arguments + 1, 5 * sizeof *arguments);
	if (++run->depth > FRAMES_MAX)
		run->broken = true;
	while (!run->broken && run->walker->insns[at].kind != INSN_EXIT) {
		at = run_one(run, &frame, at);
		run->broken |= at >= run->walker->image.insn_count || ++run->turns > TURNS_MAX;
	}
	run->depth--;
	return frame.registers[0];
}

/* What the walker says; false: it breaks a rule that the kernel sees to. */
static bool run_walker(const struct walker *walker, struct sample *sample, uint32_t *ret_answer)
{
	const uint64_t arguments[6] = { [1] = address(MEMORY_PACKET) };
	struct run run = { .walker = walker, .sample = sample };
	struct sample copy = *sample;

	for (uint32_t i = 0; i < walker->image.function_count; i++)
		if (walker_function(walker, i) == FUNCTION_CLASSIFY)
			*ret_answer = (uint32_t)run_function(&run, walker->image.functions[i].first, arguments);
	*sample = copy; /* as it was */
	return !run.broken;
}

/* --- the search --------------------------------------------------------------------------------------------------- */

struct search {
	const struct walker *walker;
	struct walker_trial *trial;
	bool six;
	uint64_t random;
	bdd_ref packets; /* that there are */
	size_t mark;
};

enum { TRIED_MAX = 20000, PASSES = 40 };

static bool search_over(const struct search *search)
{
	return search->trial->found || search->trial->tried >= TRIED_MAX * (1u + search->six) ||
	       prove_stopped(search->walker->prove);
}

/* From the beginning, and then from wherever judging goes on. */
static void try_packet(struct search *search, struct sample *sample)
{
	struct walker_trial *trial = search->trial;
	uint32_t answer = 0, right;
	struct answer_run run;

	trial->tried++;
	for (sample->packet.resume = 0;; sample->packet.resume = run.resume) {
		if (sample->packet.resume) /* the version that it began with */
			sample->packet.whole = (uint8_t)(sample->table->tag << TABLE_TAG_SHIFT);
		right = read_table(sample);
		if (!run_walker(search->walker, sample, &answer))
			return;
		if (answer != right)
			break;
		run = answer_read(search->walker->prove, right);
		if (run.broken || !run.resumes || run.resume <= sample->packet.resume)
			return;
	}
	trial->found = true;
	trial->resume = sample->packet.resume;
	trial->answer = answer;
	trial->packet = sample->packet;
}

/* One of the set, if there is any. */
static void try_set(struct search *search, bdd_ref set)
{
	struct prove *prove = search->walker->prove;
	struct sample sample = { .prove = prove, .table = search->walker->table };
	struct known known;

	set = bdd_and(prove->bdd, set, search->packets);
	if (set != BDD_FALSE && !prove_stopped(prove)) {
		known = table_pick(prove, set, &search->random);
		memcpy(sample.words, known.bits, sizeof known.bits);
		sample.packet.family = search->six ? FAMILY_IPV6 : FAMILY_IPV4;
		try_packet(search, &sample);
	}
	bdd_release(prove->bdd, search->mark);
}

static void try_leaf(struct search *search, uint64_t index, const struct known *known)
{
	struct prove *prove = search->walker->prove;
	const struct table *table = search->walker->table;
	struct record record = { .last = false };

	try_set(search, known_set(prove, known));
	for (size_t i = 0; index && i < table->families[search->six].longest && !record.last && !search_over(search); i++) {
		struct record plain;

		if (!table_record(table, search->six, index + i * table_stride(search->six), &record))
			return;
		plain = record;
		plain.question_count = 0;
		try_set(search, bdd_and(prove->bdd, known_set(prove, known), record_set(prove, &plain)));
	}
}

static void try_tree(struct search *search, uint64_t index, unsigned depth, const struct known *known)
{
	struct table_node node = table_node(search->walker->table, index);

	if (node.nowhere || depth >= TABLE_DEPTH_MAX || search_over(search))
		return;
	if (!node.bits) {
		try_leaf(search, node.base, known);
		return;
	}
	for (uint64_t child = 0; child < (uint64_t)1 << node.bits && !search_over(search); child++) {
		uint64_t whole = (((uint64_t)1 << node.bits) - 1) << node.shift, bits = child << node.shift;
		struct known more = *known;

		if ((bits ^ known->bits[node.word]) & known->mask[node.word] & whole)
			continue;
		known_add(&more, node.word, whole, bits);
		try_tree(search, node.base + child, depth + 1, &more);
	}
}

static void try_slot(struct search *search, uint64_t slot)
{
	struct record record;

	if (table_slot(search->walker->table, search->six, slot, &record))
		try_set(search, record_set(search->walker->prove, &record));
}

static void try_family(struct search *search)
{
	const struct table_trees *trees = &search->walker->table->families[search->six];
	struct known known;
	uint32_t root;

	memset(&known, 0, sizeof known);
	table_fix(search->walker->prove, search->six, NULL);
	search->packets = contract_packets(search->walker->prove, true);
	search->mark = search->walker->prove->bdd->nodes.count;
	for (unsigned pass = 0; pass < PASSES && !search_over(search); pass++) {
		try_set(search, BDD_TRUE);
		for (uint64_t slot = 0; trees->hash && slot < trees->hash->slots && !search_over(search); slot++)
			try_slot(search, slot);
		for (unsigned tree = 0; tree < TREES_ALL; tree++)
			if (table_tree(trees, tree, &root))
				try_tree(search, root, 0, &known);
	}
}

void walker_try(const struct walker *walker, struct walker_trial *trial)
{
	for (unsigned six = 0; six < 2 && !trial->found; six++) {
		struct search search = { .walker = walker, .trial = trial, .six = six, .random = 1 };

		try_family(&search);
	}
}
