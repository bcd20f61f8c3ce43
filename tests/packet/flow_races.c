/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two CPUs with packets of one connection at the same moment (BPF_PROG_TEST_RUN in two pinned threads): both directions,
 * opening, becoming assured, closing. Each packet must get a state, and the entry must end, as some order of the packets
 * could have it; counters are exact.
 *
 *     flow_races [--rounds N]
 *
 * Prints TAP, one case a race, which is run again and again with other connections.
 */
#include <bpf/bpf.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/flow_abi.h"
#include "kernel/counters.h"
#include "tests/lib/ir_text.h"
#include "tests/packet/clocked.h"

enum {
	TCP = 6, UDP = 17, FIN = 1, SYN = 2, RST = 4, ACK = 16, CLIENT = FLOW_A, SERVER = FLOW_B, MANY = 32, FRAME = 60,
	DATA = 4, /* bytes of it in segments that have some */
	WINDOW = 8192,
};

#define SECOND 1000000000ull
#define DAY (86400 * SECOND)
/* Where the test's clock begins; far enough from 0 for all timeouts. */
#define START (100 * DAY)

/* The rule that accepts tells the state. */
static const char policy_text[] =
	"policy \"races\" {\n\tattach xdp \"lo\"\n\tdefault accept\n\tflows max 8192\n\tchain \"main\" {\n"
	"\t\trule 1 accept if flow = 1\n\t\trule 2 accept if flow = 2\n\t\trule 3 accept if flow = 3\n"
	"\t\trule 4 accept if flow = 4\n\t}\n}\n";

struct subject {
	struct kernel *kernel;
	const struct ruleset *ruleset;
	struct bpf_object *object;
	int prog;
	uint64_t now_ns;
	int cpus[2];
};

/* Packets, one after another on one CPU. */
struct train {
	unsigned char frames[MANY][FRAME];
	unsigned count;
};

struct race {
	const char *name;
	unsigned proto;
	/* What goes before, and what the two CPUs get; by number of the round. */
	void (*make)(struct train *before, struct train sides[2]);
	uint64_t pause_ns; /* between that */
	/* NULL, or what is wrong. */
	const char *(*check)(const struct flow *flow, bool assured, const uint64_t states[5]);
	bool begins; /* the race itself begins the flow */
};

/* --- loading ----------------------------------------------------------------------------------------------------- */

static int load(struct call *call, void *context)
{
	struct subject *subject = context;

	return clocked_load(call, subject->kernel, subject->ruleset, HOOK_XDP, false, &subject->object, &subject->prog);
}

static bool set_clock(struct subject *subject, uint64_t now_ns)
{
	subject->now_ns = now_ns;
	return clocked_set(subject->object, now_ns);
}

/* How many packets had each state so far. */
static void count_states(const struct subject *subject, uint64_t ret_states[5])
{
	struct counter counters[SLOT_RULE(4) + 1];

	memset(ret_states, 0, 5 * sizeof *ret_states);
	if (counters_sum(object_map(subject->object, "counters"), SLOT_RULE(4) + 1, counters))
		return;
	for (uint32_t state = 1; state < 5; state++)
		ret_states[state] = counters[SLOT_RULE(state)].packets;
}

/* --- packets ----------------------------------------------------------------------------------------------------- */

static void put16(unsigned char *at, unsigned value)
{
	at[0] = (unsigned char)(value >> 8);
	at[1] = (unsigned char)value;
}

static void put32(unsigned char *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

/* The client has the lesser address, so it is side `a`. Addresses are completed by number of the round. */
static unsigned char *put_ip(struct train *train, unsigned proto, unsigned from, unsigned length)
{
	static const unsigned char head[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45 };
	unsigned char *frame = train->frames[train->count++];

	memset(frame, 0, FRAME);
	memcpy(frame, head, sizeof head);
	put16(frame + 16, 20 + length);
	frame[22] = 64;
	frame[23] = (unsigned char)proto;
	put32(frame + (from == CLIENT ? 26 : 30), 0x0a000000);
	put32(frame + (from == CLIENT ? 30 : 26), 0x0b000000);
	put16(frame + 34, from == CLIENT ? 40000 : 80);
	put16(frame + 36, from == CLIENT ? 80 : 40000);
	return frame + 34;
}

static void segment(struct train *train, unsigned from, unsigned flags, uint32_t seq, uint32_t ack, bool data)
{
	unsigned char *tcp = put_ip(train, TCP, from, 20 + (data ? DATA : 0));

	put32(tcp + 4, seq);
	put32(tcp + 8, ack);
	tcp[12] = 5 << 4;
	tcp[13] = (unsigned char)flags;
	put16(tcp + 14, WINDOW);
}

static void datagram(struct train *train, unsigned from)
{
	put16(put_ip(train, UDP, from, 12) + 4, 12);
}

static void number(struct train *train, uint32_t round)
{
	for (unsigned i = 0; i < train->count; i++) {
		put16(train->frames[i] + 28, round);
		put16(train->frames[i] + 32, round);
	}
}

static struct flow_key key_of(unsigned proto, uint32_t round)
{
	struct flow_key key = { .a_port = 40000, .b_port = 80, .family = FAMILY_IPV4, .proto = (uint8_t)proto };
	const uint32_t client = 0x0a000000 | round, server = 0x0b000000 | round;

	memcpy(&key.a_hi, &client, sizeof client); /* as in struct packet: the first half, the rest is zero */
	memcpy(&key.b_hi, &server, sizeof server);
	return key;
}

/* --- the races --------------------------------------------------------------------------------------------------- */

static void attempt(struct train *train)
{
	segment(train, CLIENT, SYN, 1000, 0, false);
	segment(train, SERVER, SYN | ACK, 5000, 1001, false);
}

static void handshake(struct train *train)
{
	attempt(train);
	segment(train, CLIENT, ACK, 1001, 5001, false);
}

static void make_both_directions(struct train *before, struct train sides[2])
{
	handshake(before);
	for (uint32_t i = 0; i < MANY; i++) {
		segment(&sides[0], CLIENT, ACK, 1001 + i * DATA, 5001, true);
		segment(&sides[1], SERVER, ACK, 5001 + i * DATA, 1001, true);
	}
}

static const char *check_both_directions(const struct flow *flow, bool assured, const uint64_t states[5])
{
	if (states[FLOW_ESTABLISHED] != 2 * MANY || !assured)
		return "not all packets were established";
	if ((uint32_t)flow->sent[CLIENT] != 1001 + MANY * DATA || (uint32_t)flow->sent[SERVER] != 5001 + MANY * DATA)
		return "what was sent is lost";
	return NULL;
}

static void make_one_direction(struct train *before, struct train sides[2])
{
	handshake(before);
	for (uint32_t i = 0; i < MANY; i++)
		segment(&sides[i % 2], CLIENT, ACK, 1001 + i * DATA, 5001, true);
}

static const char *check_one_direction(const struct flow *flow, bool assured, const uint64_t states[5])
{
	if (states[FLOW_ESTABLISHED] != MANY || !assured)
		return "not all packets were established";
	return (uint32_t)flow->sent[CLIENT] == 1001 + MANY * DATA ? NULL : "what was sent is lost";
}

static void make_both_close(struct train *before, struct train sides[2])
{
	handshake(before);
	segment(&sides[0], CLIENT, FIN | ACK, 1001, 5001, false);
	segment(&sides[1], SERVER, FIN | ACK, 5001, 1001, false);
}

static const char *check_both_close(const struct flow *flow, bool assured, const uint64_t states[5])
{
	const uint32_t both = FLOW_OF(CLIENT, FLOW_FIN) | FLOW_OF(SERVER, FLOW_FIN);

	if (states[FLOW_ESTABLISHED] != 2 || !assured)
		return "not both were established";
	return (flow->flags & both) == both ? NULL : "a FIN is lost";
}

static void make_reset(struct train *before, struct train sides[2])
{
	handshake(before);
	segment(&sides[0], CLIENT, ACK, 1001, 5001, true);
	segment(&sides[1], SERVER, RST, 5001, 0, false);
}

static const char *check_reset(const struct flow *flow, bool assured, const uint64_t states[5])
{
	if (states[FLOW_ESTABLISHED] != 2 || !assured)
		return "not both were established";
	return flow->flags & FLOW_CLOSED ? NULL : "the reset is lost";
}

static void make_one_syn(struct train *before, struct train sides[2])
{
	(void)before;
	for (int i = 0; i < 2; i++)
		segment(&sides[i], CLIENT, SYN, 1000, 0, false);
}

static const char *check_one_syn(const struct flow *flow, bool assured, const uint64_t states[5])
{
	if (states[FLOW_NEW] != 2 || assured)
		return "not both were new";
	return flow->start[CLIENT] == 1000 && (uint32_t)flow->sent[CLIENT] == 1001 ? NULL : "it is not remembered";
}

static void make_two_syns(struct train *before, struct train sides[2])
{
	segment(before, CLIENT, SYN, 1000, 0, false);
	segment(&sides[0], CLIENT, SYN, 2000, 0, false);
	segment(&sides[1], CLIENT, SYN, 3000, 0, true);
}

static const char *check_two_syns(const struct flow *flow, bool assured, const uint64_t states[5])
{
	uint32_t end = (uint32_t)flow->sent[CLIENT];

	if (states[FLOW_NEW] != 2 || assured)
		return "not both were new";
	return (flow->start[CLIENT] == 2000 && end == 2001) || (flow->start[CLIENT] == 3000 && end == 3001 + DATA) ?
		       NULL : "it is neither of them";
}

static void make_third_packet(struct train *before, struct train sides[2])
{
	attempt(before);
	for (int i = 0; i < 2; i++)
		segment(&sides[i], CLIENT, ACK, 1001, 5001, false);
}

static const char *check_third_packet(const struct flow *flow, bool assured, const uint64_t states[5])
{
	(void)flow;
	if (states[FLOW_ESTABLISHED] != 2)
		return "not both were established";
	return assured ? NULL : "it is not assured";
}

static void make_early_data(struct train *before, struct train sides[2])
{
	attempt(before);
	segment(&sides[0], CLIENT, ACK, 1001, 5001, false);
	segment(&sides[1], SERVER, ACK, 5001, 1001, true);
}

static void make_talk(struct train *before, struct train sides[2])
{
	datagram(before, CLIENT);
	datagram(before, SERVER);
	for (int i = 0; i < 8; i++) {
		datagram(&sides[0], CLIENT);
		datagram(&sides[1], SERVER);
	}
}

static const char *check_talk(const struct flow *flow, bool assured, const uint64_t states[5])
{
	(void)flow;
	if (states[FLOW_ESTABLISHED] != 16)
		return "not all packets were established";
	return assured ? NULL : "it is not assured";
}

static void make_first_words(struct train *before, struct train sides[2])
{
	(void)before;
	datagram(&sides[0], CLIENT);
	datagram(&sides[1], SERVER);
}

/* What begins a flow in the same instant as another packet may find nothing and not be remembered. */
static const char *check_first_words(const struct flow *flow, bool assured, const uint64_t states[5])
{
	if (states[FLOW_NEW] + states[FLOW_ESTABLISHED] != 2 || !states[FLOW_NEW] || assured)
		return "one must be new";
	return (states[FLOW_ESTABLISHED] == 1) == !!(flow->flags & FLOW_REPLIED) ? NULL : "an answer is lost";
}

static const struct race races[] = {
	{ "both directions of a connection", TCP, make_both_directions, 0, check_both_directions, false },
	{ "one direction", TCP, make_one_direction, 0, check_one_direction, false },
	{ "both sides close", TCP, make_both_close, 0, check_both_close, false },
	{ "a reset beside data", TCP, make_reset, 0, check_reset, false },
	{ "a SYN twice", TCP, make_one_syn, 0, check_one_syn, true },
	{ "two SYNs", TCP, make_two_syns, 0, check_two_syns, false },
	{ "the third packet twice", TCP, make_third_packet, 0, check_third_packet, false },
	{ "the third packet and early data", TCP, make_early_data, 0, check_third_packet, false },
	{ "a conversation that becomes assured", UDP, make_talk, 3 * SECOND, check_talk, false },
	{ "both sides begin", UDP, make_first_words, 0, check_first_words, true },
};

/* --- running ----------------------------------------------------------------------------------------------------- */

static bool run(const struct subject *subject, const unsigned char *frame)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = FRAME, .repeat = 1);

	return !bpf_prog_test_run_opts(subject->prog, &options);
}

struct worker {
	const struct subject *subject;
	const struct train *train;
	atomic_uint *round; /* to be raced; the main thread counts it up, */
	atomic_uint *done;  /* and waits for this */
	unsigned rounds;
	int cpu;
	bool failed;
};

/* Spins, for waking up would take longer than all that is to be raced. */
static void *work(void *argument)
{
	struct worker *worker = argument;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(worker->cpu, &cpus);
	worker->failed = pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
	for (unsigned round = 1; round <= worker->rounds; round++) {
		while (atomic_load(worker->round) < round)
			sched_yield();
		for (unsigned i = 0; i < worker->train->count; i++)
			worker->failed |= !run(worker->subject, worker->train->frames[i]);
		atomic_fetch_add(worker->done, 1);
	}
	return NULL;
}

static uint64_t timeout_of(unsigned proto, uint32_t flags)
{
	const uint32_t fins = FLOW_OF(FLOW_A, FLOW_FIN) | FLOW_OF(FLOW_B, FLOW_FIN);

	if (proto == UDP)
		return flags & FLOW_ASSURED ? 120 * SECOND : 30 * SECOND;
	return flags & FLOW_CLOSED ? 10 * SECOND : flags & fins ? 120 * SECOND : flags & FLOW_ASSURED ? 5 * DAY : 60 * SECOND;
}

/* NULL, or what is wrong with the entry and the states of the packets. */
static const char *judge(const struct subject *subject, const struct race *race, uint32_t round, const uint64_t states[5])
{
	struct flow_key key = key_of(race->proto, round);
	struct flow flow, other;
	bool assured = !bpf_map_lookup_elem(object_map(subject->object, "state_flows"), &key, &flow);
	bool fresh = !bpf_map_lookup_elem(object_map(subject->object, "state_flows_fresh"), &key, &other);

	if (assured == fresh)
		return assured ? "there are two entries" : "there is no entry";
	if (fresh)
		flow = other;
	if (flow.expires_ns != subject->now_ns + timeout_of(race->proto, flow.flags))
		return "it does not live as long as its state says";
	return race->check(&flow, assured, states);
}

static bool read_counts(const struct subject *subject, struct flow_counts *ret_counts)
{
	int cpus = libbpf_num_possible_cpus();
	struct flow_counts *all = calloc((size_t)cpus, sizeof *all);
	const uint32_t zero = 0;
	bool good = all && !bpf_map_lookup_elem(object_map(subject->object, "state_flow_counts"), &zero, all);

	memset(ret_counts, 0, sizeof *ret_counts);
	for (int i = 0; good && i < cpus; i++) {
		ret_counts->created += all[i].created;
		ret_counts->invalid += all[i].invalid;
	}
	free(all);
	return good;
}

static void make(const struct race *race, uint32_t round, struct train *before, struct train sides[2])
{
	before->count = sides[0].count = sides[1].count = 0;
	race->make(before, sides);
	number(before, round);
	number(&sides[0], round);
	number(&sides[1], round);
}

/* One round, in which the workers take `sides`. */
static const char *race_once(struct subject *subject, const struct race *race, uint32_t round, struct train sides[2],
			     atomic_uint *start, atomic_uint *done)
{
	uint64_t before[5], after[5];
	struct train first;

	make(race, round, &first, sides);
	if (!set_clock(subject, START))
		return "the clock cannot be set";
	for (unsigned i = 0; i < first.count; i++)
		if (!run(subject, first.frames[i]))
			return "test run failed";
	if (race->pause_ns && !set_clock(subject, START + race->pause_ns))
		return "the clock cannot be set";
	count_states(subject, before);
	atomic_fetch_add(start, 1);
	while (atomic_load(done) < 2 * round)
		sched_yield();
	count_states(subject, after);
	for (int state = 0; state < 5; state++)
		after[state] -= before[state];
	return judge(subject, race, round, after);
}

static const char *race_rounds(struct subject *subject, const struct race *race, unsigned rounds, unsigned *ret_round)
{
	static struct train sides[2];
	atomic_uint start = 0, done = 0;
	struct worker workers[2];
	pthread_t threads[2];
	const char *wrong = NULL;

	for (int i = 0; i < 2; i++) {
		workers[i] = (struct worker){ subject, &sides[i], &start, &done, rounds, subject->cpus[i], false };
		if (pthread_create(&threads[i], NULL, work, &workers[i]))
			abort();
	}
	for (unsigned round = 1; round <= rounds; round++) {
		const char *here = race_once(subject, race, round, sides, &start, &done);

		if (here && !wrong) {
			wrong = here;
			*ret_round = round;
		}
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		wrong = workers[i].failed ? "test run failed" : wrong;
	}
	return wrong;
}

/* Each race has maps of its own. */
static bool try(struct weir *weir, struct kernel *kernel, const int cpus[2], const struct race *race, unsigned rounds)
{
	struct arena *arena = arena_new();
	struct subject subject = { .kernel = kernel, .ruleset = ir_text_parse(arena, policy_text),
				   .cpus = { cpus[0], cpus[1] } };
	struct flow_counts counts = { 0 };
	const char *wrong = "it does not load";
	unsigned round = 0;

	if (!api_call(weir, NULL, false, load, &subject)) {
		wrong = race_rounds(&subject, race, rounds, &round);
		if (!wrong && (!read_counts(&subject, &counts) || counts.invalid))
			wrong = "some were invalid";
		if (!wrong && race->begins && counts.created != rounds)
			wrong = "not each round created one flow";
	}
	if (wrong)
		printf("# round %u: %s\n", round, wrong);
	bpf_object__close(subject.object);
	arena_free(arena);
	return !wrong;
}

static bool two_cpus(int ret_cpus[2])
{
	cpu_set_t cpus;
	int found = 0;

	if (sched_getaffinity(0, sizeof cpus, &cpus))
		return false;
	for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
		if (CPU_ISSET(cpu, &cpus))
			ret_cpus[found++] = cpu;
	return found == 2;
}

int main(int argc, char **argv)
{
	static const struct option table[] = { { "rounds", required_argument, NULL, 'n' }, { 0 } };
	enum { COUNT = sizeof races / sizeof races[0] };
	struct weir *weir = weir_new();
	struct kernel *kernel = NULL;
	unsigned rounds = 600;
	int failed = 0, cpus[2];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int letter; (letter = getopt_long(argc, argv, "", table, NULL)) >= 0;)
		rounds = letter == 'n' ? (unsigned)strtoul(optarg, NULL, 10) : rounds;
	if (geteuid() || kernel_open(KERNEL_TEST, NULL, &kernel) || !two_cpus(cpus)) {
		printf("1..0 # SKIP loading programs needs root, racing two CPUs\n");
		weir_free(weir);
		return 0;
	}
	printf("1..%d\n", COUNT);
	for (int i = 0; i < COUNT; i++) {
		bool good = try(weir, kernel, cpus, &races[i], rounds);

		printf("%sok %d - two CPUs, %u times: %s\n", good ? "" : "not ", i + 1, rounds, races[i].name);
		failed += !good;
	}
	kernel_close(kernel);
	weir_free(weir);
	return failed != 0;
}
