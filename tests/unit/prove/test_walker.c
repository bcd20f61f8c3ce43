/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The finished walkers of tables: both builds are proven for tables of all kinds; a bug that once was in one is shown with a
 * packet; and of bugs that are planted in single instructions, each is shown with a packet for which an interpreter does
 * something else (tests/lib/walker_sim.c), or is not proven, or does for random packets what the right one does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bpf/objects.h"
#include "tests/lib/bytes.h"
#include "tests/lib/ebpf_sim.h"
#include "tests/lib/policies.h"
#include "tests/lib/random.h"
#include "tests/lib/walker_sim.h"
#include "tests/unit/prove/hunt.h"

static const struct hunt_policy plain = { "addresses and ports", HOOK_XDP, { 0 },
	"policy \"p\" { attach xdp \"lo\" default drop classifier table chain \"main\" {\n"
	"rule 1 accept if all(ip.src in {10.1.0.0/16}, ip.dst in {192.0.2.0/24}, proto = 6, dst_port = 80)\n"
	"rule 2 reject if all(ip.src in {10.2.3.0/24}, proto = 17, dst_port in {1000-1999})\n"
	"rule 3 drop if all(ip.src = 10.3.0.1, ip.dst = 192.0.2.7)\n"
	"rule 4 accept if all(ip.src in {10.4.0.0/14}, ip.dst in {198.51.100.0/24}, proto = 1)\n"
	"rule 5 reject if all(ip.src in {10.6.0.0-10.6.2.255}, proto = 6, dst_port in {25, 110, 143})\n"
	"rule 6 accept if all(ip.src in {10.3.0.0/24}, proto = 6, src_port in {1024-65535}, dst_port = 22)\n"
	"rule 7 accept if ip.dst in {10.7.7.0/24} } }" };

static const struct hunt_policy mixed = { "both families, tests, chains and questions", HOOK_TC_INGRESS, { 0 },
	"policy \"p\" { attach tc-ingress \"lo\" default accept counter \"web\" classifier table\n"
	"set \"blocked\" prefix max 64 { 192.0.2.0/24 2001:db8::/32 }\n"
	"chain \"main\" {\n"
	"rule 1 log \"seen\" every 1000000 burst 5 if ip.src in {10.0.0.0/8}\n"
	"rule 2 drop if all(ipv6.src in {2001:db8:1::/48}, proto = 6, dst_port = 80)\n"
	"rule 3 reject if all(ipv6.src in {2001:db8:2:1::/64}, proto = 17, dst_port in {5000-5999})\n"
	"rule 4 drop if all(ipv6.src = 2001:db8:3::1, tcp.flags & 0x12 = 0x2)\n"
	"rule 5 jump \"tcp\" if proto = 6\n"
	"rule 6 drop if all(ip.src in {10.1.0.0/16}, ttl = 1, dst_port in {1-1023})\n"
	"rule 7 drop if any(ip.dst in set \"blocked\", ipv6.dst in set \"blocked\")\n"
	"rule 8 accept if ttl in {64-255} }\n"
	"chain \"tcp\" {\n"
	"rule 9 return if not(dst_port in {80, 443, 8000-8999})\n"
	"rule 10 count \"web\", accept if tcp.flags & 0x12 = 0x2\n"
	"rule 11 reject if ip.src in {10.8.0.0/16} } }" };

/* Their texts are long. */
static const struct hunt_policy hashed = { "hashed", HOOK_XDP, { 0 }, NULL };
static const struct hunt_policy ahead = { "four trees read ahead", HOOK_XDP, { .hash_min = SIZE_MAX }, NULL };
static const struct hunt_policy ahead6 = { "four trees of IPv6 read ahead", HOOK_XDP, { .hash_min = SIZE_MAX }, NULL };

enum { LONG_RULES = 400 };

static const char *const verdicts[] = { "accept", "drop", "reject" };

/* Half of the rules are of exact sources, half of exact destinations; most are in a hash. */
static const char *hashed_text(struct arena *arena)
{
	const char *text = "policy \"p\" { attach xdp \"lo\" default drop classifier table chain \"main\" {\n";
	struct random random = random_seed(5);

	for (unsigned i = 1; i <= LONG_RULES; i++) {
		unsigned port = random_below(&random, 60000);

		text = arena_printf(arena, "%srule %u %s if all(ip.src = %u.%u.%u.%u, proto = 6, ip.dst = 192.0.2.%u, dst_port = %u)\n",
				    text, i, verdicts[random_below(&random, 3)], random_below(&random, 223) + 1,
				    random_below(&random, 256), random_below(&random, 256), random_below(&random, 256), port % 256,
				    port);
	}
	return arena_printf(arena, "%s} }", text);
}

/* A host, or a wide prefix. */
static const char *some_prefix(struct arena *arena, struct random *random, bool six, bool host)
{
	unsigned high = random_below(random, 200) + 1;

	if (six)
		return host ? arena_printf(arena, "2001:db8:%x::%x/128", random_below(random, 65536), high) :
			      arena_printf(arena, "%x00::/8", high % 64 + 32);
	return host ? arena_printf(arena, "%u.%u.%u.%u/32", high, random_below(random, 256), random_below(random, 256),
				   random_below(random, 256)) :
		      arena_printf(arena, "%u.0.0.0/8", high);
}

/* Each mix of hosts and wide prefixes is put into a tree of its own. */
static const char *ahead_text(struct arena *arena, bool six)
{
	const char *text = "policy \"p\" { attach xdp \"lo\" default drop classifier table chain \"main\" {\n";
	const char *family = six ? "ipv6" : "ip";
	struct random random = random_seed(5);

	for (unsigned i = 1; i <= LONG_RULES; i++) {
		const char *src = some_prefix(arena, &random, six, i & 1), *dst = some_prefix(arena, &random, six, i & 2);
		unsigned port = random_below(&random, 60000);

		text = arena_printf(arena, "%srule %u %s if all(%s.src in {%s}, %s.dst in {%s}, proto = %u, dst_port in {%u-%u})\n",
				    text, i, verdicts[random_below(&random, 3)], family, src, family, dst, i % 3 ? 6 : 17, port,
				    port + 9);
	}
	return arena_printf(arena, "%s} }", text);
}

static const char *text_of(struct arena *arena, const struct hunt_policy *policy)
{
	if (policy == &hashed)
		return hashed_text(arena);
	return policy->text ? policy->text : ahead_text(arena, policy == &ahead6);
}

/* --- a walker beside a table ------------------------------------------------------------------------------------- */

struct trial {
	struct arena *arena; /* of the subject; proofs have their own */
	const struct hunt_policy *policy;
	struct hunt hunt;    /* its subject and its packets */
	struct walker_sim sim;
	void *object;        /* harmed */
	size_t object_size;
	struct prove_result result;
	bool refused;        /* a packet was run to where the kernel does not let it */
	unsigned caught, doubted, same;
};

static uint32_t answer_rest(void *context, const struct packet *packet)
{
	struct trial *trial = context;
	struct ebpf_sim sim = { .plan = trial->hunt.subject.plan, .code = trial->hunt.subject.code, .lookup = harm_find,
				.context = (void *)trial->hunt.subject.plan };
	uint32_t answer;

	return ebpf_sim_run(&sim, packet, &answer) ? ANSWER(3, 0) : answer;
}

/* The planner does so in large tables. */
static void read_all_ahead(struct plan *plan)
{
	struct table_config *config = &plan->table.config;
	bool six = config->trees6;
	const uint32_t *roots = six ? config->roots6 : config->roots4;

	assert_int_equal(six ? config->trees6 : config->trees4, TABLE_TREES);
	for (unsigned i = 0; i < TABLE_TREES; i++)
		assert_true(table_node_bits(plan->table.words[roots[i]]));
	*(six ? &config->touch6 : &config->touch4) = (1 << TABLE_TREES) - 1;
}

static void begin(struct trial *trial)
{
	struct plan *plan;

	trial->hunt = (struct hunt){ .arena = trial->arena, .policy = trial->policy };
	hunt_begin(&trial->hunt, text_of(trial->arena, trial->policy), 200);
	plan = arena_copy(trial->arena, trial->hunt.subject.plan, sizeof *plan);
	trial->hunt.subject.plan = plan;
	assert_int_equal(plan->kind, PLAN_TABLE);
	if (trial->policy == &ahead || trial->policy == &ahead6)
		read_all_ahead(plan);
	if (trial->policy == &hashed)
		assert_true(plan->table.config.hashes[0].slots);
	trial->sim = (struct walker_sim){ .config = &plan->table.config, .words = trial->hunt.words,
					  .count = plan->table.word_count, .rest = answer_rest, .context = trial };
}

enum { HARMED_NODES = 3 << 20 }; /* what harmed ones do may be too large for any */

struct proving {
	struct arena *arena;
	struct prove_input input;
	struct prove_result result;
};

static int run_proof(void *context)
{
	struct proving *proving = context;

	prove_run(proving->arena, &proving->input, &proving->result);
	if (proving->result.reason)
		print_message("# %s\n", proving->result.reason);
	return 0;
}

/* With one or two builds of the walker. */
static void prove(struct trial *trial, const struct prove_object *walkers, size_t count, size_t node_max)
{
	struct proving proving = { .arena = arena_new(), .input = subject_input(&trial->hunt.subject) };

	memcpy(proving.input.walkers, walkers, count * sizeof *walkers);
	proving.input.node_max = node_max;
	assert_int_equal(arena_run(proving.arena, run_proof, &proving), 0);
	trial->result = proving.result;
	arena_free(proving.arena);
}

static struct prove_object object_of(const struct plane_object *object)
{
	return (struct prove_object){ object->name, object->data, object->size };
}

static void with_trial(const struct hunt_policy *policy, int (*work)(void *context))
{
	struct trial trial = { .arena = arena_new(), .policy = policy };

	assert_int_equal(arena_run(trial.arena, work, &trial), 0);
	arena_free(trial.arena);
}

/* --- right ones -------------------------------------------------------------------------------------------------- */

static int prove_both(void *context)
{
	struct trial *trial = context;
	const struct prove_object walkers[] = { object_of(plane_table()), object_of(plane_table_bounded()) };

	begin(trial);
	prove(trial, walkers, 2, 0);
	print_message("# %s: %zu steps, %.1f s\n", trial->policy->name, trial->result.walker_steps,
		      (double)trial->result.nanoseconds / 1e9);
	assert_int_equal(trial->result.outcome, PROVE_EQUAL);
	assert_true(trial->result.walker_steps > 20);
	return 0;
}

static void walkers_are_proven(void **state)
{
	(void)state;
	with_trial(&ahead, prove_both);
	with_trial(&ahead6, prove_both);
	with_trial(&mixed, prove_both);
	with_trial(&hashed, prove_both);
}

/* --- random ones -------------------------------------------------------------------------------------------------- */

enum { RANDOM_TABLES = 2 };

struct random_table {
	struct arena *arena;
	uint64_t seed;
	bool made; /* the policy fits into a table */
	struct prove_result result;
};

/* Any of those whose roots are no leaves. */
static uint8_t some_trees(struct random *random, const struct plan *plan, bool six)
{
	const struct table_config *config = &plan->table.config;
	const uint32_t *roots = six ? config->roots6 : config->roots4;
	uint8_t trees = 0;

	for (unsigned i = 0; i < (six ? config->trees6 : config->trees4); i++)
		if (table_node_bits(plan->table.words[roots[i]]) && random_below(random, 4))
			trees |= (uint8_t)(1 << i);
	return trees;
}

static int prove_random(void *context)
{
	static const struct policy_options kinds[] = {
		{ .rules = 100, .exact_rules = true, .simple = true, .terminal_only = true },
		{ .rules = 20, .depth = 2 },
	};
	struct random_table *table = context;
	struct random random = random_seed(table->seed);
	const struct plan_options options = { .hash_min = random_below(&random, 2) ? 1 : SIZE_MAX,
					      .bisect_min = random_below(&random, 2) };
	enum hook hook = random_below(&random, 2) ? HOOK_XDP : HOOK_TC_INGRESS;
	struct ruleset *ruleset;
	struct prove_input input;
	struct subject subject;
	struct plan *plan;

	ruleset = arena_copy(table->arena, policies_random(table->arena, table->seed, hook, &kinds[table->seed % 2]), sizeof *ruleset);
	ruleset->classifier = CLASSIFIER_TABLE;
	if (subject_make(table->arena, ruleset, hook, &options, &subject) || subject.plan->kind != PLAN_TABLE)
		return 0;
	plan = arena_copy(table->arena, subject.plan, sizeof *plan);
	plan->table.config.touch4 = some_trees(&random, plan, false);
	plan->table.config.touch6 = some_trees(&random, plan, true);
	subject.plan = plan;
	input = subject_input(&subject);
	input.walkers[0] = object_of(plane_table());
	input.walkers[1] = object_of(plane_table_bounded());
	prove_run(table->arena, &input, &table->result);
	table->made = true;
	print_message("# seed %llu: %u and %u trees, %x and %x read ahead, %zu steps, %.1f s\n", (unsigned long long)table->seed,
		      plan->table.config.trees4, plan->table.config.trees6, plan->table.config.touch4, plan->table.config.touch6,
		      table->result.walker_steps, (double)table->result.nanoseconds / 1e9);
	return 0;
}

static void walkers_of_random_tables_are_proven(void **state)
{
	uint64_t first = random_setting("WEIR_SEED", 1);
	unsigned rounds = random_rounds(RANDOM_TABLES), made = 0;

	(void)state;
	for (uint64_t seed = first; seed < first + rounds; seed++) {
		struct random_table table = { .arena = arena_new(), .seed = seed };

		assert_int_equal(arena_run(table.arena, prove_random, &table), 0);
		made += table.made;
		if (table.made && table.result.outcome != PROVE_EQUAL)
			fail_msg("seed %llu: %s", (unsigned long long)seed, table.result.reason ? table.result.reason : "different");
		arena_free(table.arena);
	}
	assert_true(made * 2 >= rounds);
}

/* --- harmed ones -------------------------------------------------------------------------------------------------- */

static struct trial *running;

static uint32_t run_harmed(const struct plan *plan, const struct packet *packet)
{
	uint32_t answer;

	(void)plan;
	if (walker_sim_run(&running->sim, packet, &answer))
		return answer;
	running->refused = true;
	return ANSWER(3, 0);
}

/* Of what the kernel lets run: it checks addresses where nothing depends on what is read, and the prover does not. */
static bool some_run_and_differ(struct trial *trial)
{
	for (size_t i = 0; i < trial->hunt.packet_count; i++) {
		trial->refused = false;
		if (hunt_differs(&trial->hunt, &trial->hunt.packets[i]) && !trial->refused)
			return true;
	}
	return false;
}

/* Reads a file into the arena. */
static void *read_file(struct arena *arena, const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "rb");
	char *data = arena_alloc(arena, 1 << 20);

	assert_non_null(file);
	*ret_size = fread(data, 1, 1 << 20, file);
	assert_true(*ret_size > 0 && *ret_size < 1 << 20);
	fclose(file);
	return data;
}

static void harm_begin(struct trial *trial)
{
	begin(trial);
	trial->hunt.run = run_harmed;
	running = trial;
}

/* What the prover says of the harmed object must be what the interpreter shows. */
static void judge_harm(struct trial *trial, const char *what, size_t at)
{
	const struct prove_object harmed = { "harmed", trial->object, trial->object_size };

	trial->sim.object = trial->object;
	trial->sim.object_size = trial->object_size;
	prove(trial, &harmed, 1, HARMED_NODES);
	if (trial->result.outcome == PROVE_EQUAL) {
		trial->same++;
		if (some_run_and_differ(trial))
			fail_msg("%s at %zu: proven, but a packet differs", what, at);
	} else if (trial->result.outcome == PROVE_DIFFERENT) {
		trial->caught++;
		if (!hunt_differs(&trial->hunt, &trial->result.packet))
			fail_msg("%s at %zu: the packet does not differ", what, at);
	} else {
		trial->doubted++;
		print_message("# %s at %zu: not proven%s\n", what, at,
			      hunt_some_differ(&trial->hunt) ? ", and random packets differ" : "");
	}
}

/* As the walker was once: where what is behind a leaf was not in the table, no tree was searched. */
static int plant_old_bug(void *context)
{
	static const char *const names[] = { "WEIR_PLANTED_WALKER", "WEIR_PLANTED_WALKER_BOUNDED" };
	struct trial *trial = context;

	harm_begin(trial);
	assert_true(trial->hunt.subject.plan->table.config.touch4);
	for (size_t i = 0; i < 2; i++) {
		assert_non_null(getenv(names[i]));
		trial->object = read_file(trial->arena, getenv(names[i]), &trial->object_size);
		judge_harm(trial, "the old bug", i);
	}
	assert_int_equal(trial->caught, 2);
	return 0;
}

static void the_old_bug_is_found(void **state)
{
	(void)state;
	with_trial(&ahead, plant_old_bug);
}

/* A tree that is not read ahead never comes there. */
static int plant_elsewhere(void *context)
{
	struct trial *trial = context;

	harm_begin(trial);
	trial->object = read_file(trial->arena, getenv("WEIR_PLANTED_WALKER"), &trial->object_size);
	judge_harm(trial, "the old bug", 0);
	assert_int_equal(trial->same, 1);
	return 0;
}

static void where_nothing_is_read_ahead_it_does_no_harm(void **state)
{
	(void)state;
	with_trial(&plain, plant_elsewhere);
}

enum harm { HARM_CONDITION, HARM_TARGET, HARM_NUMBER, HARM_OFFSET, HARM_REGISTER, HARM_OPERATION, HARMS };

static const char *const harm_names[HARMS] = { "turned condition", "other target", "other number", "other offset",
					       "other register", "other operation" };

/* False: the instruction cannot be harmed so. */
static bool harm_insn(struct bpf_insn *insn, enum harm harm)
{
	unsigned class = BPF_CLASS(insn->code);
	bool jump = (class == BPF_JMP || class == BPF_JMP32) && BPF_OP(insn->code) != BPF_CALL &&
		    BPF_OP(insn->code) != BPF_EXIT && BPF_OP(insn->code) != 0xe0;
	bool memory = class == BPF_LDX || class == BPF_STX, alu = class == BPF_ALU || class == BPF_ALU64;

	switch (harm) {
	case HARM_CONDITION:
		if (!jump || BPF_OP(insn->code) == BPF_JA)
			return false;
		insn->code ^= BPF_OP(insn->code) == BPF_JEQ || BPF_OP(insn->code) == BPF_JNE ? BPF_JEQ ^ BPF_JNE :
			      BPF_OP(insn->code) == BPF_JGT || BPF_OP(insn->code) == BPF_JGE ? BPF_JGT ^ BPF_JGE :
			      BPF_OP(insn->code) == BPF_JSGT || BPF_OP(insn->code) == BPF_JSLT ? BPF_JSGT ^ BPF_JSLT :
												 BPF_JLT ^ BPF_JLE;
		return true;
	case HARM_TARGET:
		insn->off++;
		return jump;
	case HARM_NUMBER:
		insn->imm++;
		return (alu || (jump && BPF_OP(insn->code) != BPF_JA)) && BPF_SRC(insn->code) == BPF_K &&
		       BPF_OP(insn->code) != BPF_NEG;
	case HARM_OFFSET:
		insn->off = (int16_t)(insn->off + (BPF_SIZE(insn->code) == BPF_DW ? 8 : BPF_SIZE(insn->code) == BPF_W ? 4 : 1));
		return memory && insn->dst_reg != 10 && insn->src_reg != 10;
	case HARM_REGISTER:
		insn->src_reg = (insn->src_reg + 1) % 10;
		return alu && BPF_SRC(insn->code) == BPF_X;
	default:
		insn->code ^= BPF_OP(insn->code) == BPF_LSH || BPF_OP(insn->code) == BPF_RSH ? BPF_LSH ^ BPF_RSH :
			      BPF_OP(insn->code) == BPF_ADD || BPF_OP(insn->code) == BPF_SUB ? BPF_ADD ^ BPF_SUB :
			      BPF_OP(insn->code) == BPF_OR || BPF_OP(insn->code) == BPF_XOR ? BPF_OR ^ BPF_XOR :
											      BPF_AND ^ BPF_OR;
		return alu && BPF_OP(insn->code) != BPF_MOV && BPF_OP(insn->code) != BPF_NEG && BPF_OP(insn->code) != BPF_ARSH;
	}
}

enum { BUGS = 8 };

/* Marks the instructions that the random packets get to. */
static const bool *reached_code(struct trial *trial, size_t count)
{
	bool *reached = ARENA_ARRAY(trial->arena, bool, count);
	uint32_t answer;

	trial->sim.object = trial->object;
	trial->sim.object_size = trial->object_size;
	trial->sim.reached = reached;
	for (size_t i = 0; i < trial->hunt.packet_count; i++)
		assert_true(walker_sim_run(&trial->sim, &trial->hunt.packets[i], &answer));
	trial->sim.reached = NULL;
	return reached;
}

static void harm_object(struct trial *trial, const struct plane_object *object, struct random *random, unsigned bugs)
{
	struct bpf_insn *code;
	const bool *reached;
	size_t count;

	trial->object = arena_copy(trial->arena, object->data, object->size);
	trial->object_size = object->size;
	code = walker_sim_code(trial->object, trial->object_size, &count);
	assert_non_null(code);
	reached = reached_code(trial, count);
	for (unsigned planted = 0; planted < bugs;) {
		size_t at = random_below(random, (unsigned)count);
		enum harm harm = (enum harm)random_below(random, HARMS);
		struct bpf_insn old = code[at];

		if (reached[at] && harm_insn(&code[at], harm)) {
			judge_harm(trial, harm_names[harm], at);
			planted++;
		}
		code[at] = old;
	}
}

static int harm_walkers(void *context)
{
	struct trial *trial = context;
	uint64_t seed = random_setting("WEIR_SEED", 1);
	struct random random = random_seed(seed);
	unsigned bugs = BUGS * (unsigned)random_setting("WEIR_ROUNDS", 1);

	print_message("# seed %llu\n", (unsigned long long)seed);
	harm_begin(trial);
	harm_object(trial, plane_table(), &random, bugs / 2);
	harm_object(trial, plane_table_bounded(), &random, bugs - bugs / 2);
	print_message("# %s: %u planted, %u caught with a packet, %u not proven, %u equal\n", trial->policy->name, bugs,
		      trial->caught, trial->doubted, trial->same);
	assert_true(trial->caught * 4 >= bugs);
	return 0;
}

static void planted_bugs_are_found(void **state)
{
	(void)state;
	with_trial(&plain, harm_walkers);
	with_trial(&ahead, harm_walkers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walkers_are_proven),
		cmocka_unit_test(walkers_of_random_tables_are_proven),
		cmocka_unit_test(the_old_bug_is_found),
		cmocka_unit_test(where_nothing_is_read_ahead_it_does_no_harm),
		cmocka_unit_test(planted_bugs_are_found),
	};

	return cmocka_run_group_tests_name("prove/walker", tests, NULL, NULL);
}
