/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Examples: one packet of a set, as ordinary as the set allows, and what rules and program do with it. In: a set that
 * is not empty; out: the example of a result. Sets hold what they held at first, if that leaves a packet.
 */
#include <stddef.h>
#include <string.h>

#include "bpf/knock_abi.h"
#include "packet/names.h"
#include "prove/work.h"

/* Tried one after the other, kept where they leave a packet. Fields that a packet lacks keep no value. */
static const struct wish {
	enum field field;
	u128 value;
} wishes[] = {
	{ FIELD_FAMILY, FAMILY_IPV4 },
	{ FIELD_FAMILY, FAMILY_IPV6 },
	{ FIELD_FRAGMENT, FRAGMENT_NONE },
	{ FIELD_PROTO, 6 },
	{ FIELD_PROTO, 17 },
	{ FIELD_PROTO, 1 },
	{ FIELD_PROTO, 58 },
	{ FIELD_VLAN, ABSENT_VLAN },
	{ FIELD_IP_SRC, 0x0a000001 },
	{ FIELD_IP_SRC, 0xc0000201 },
	{ FIELD_IP_DST, 0x0a000002 },
	{ FIELD_IP_DST, 0xc0000202 },
	{ FIELD_IPV6_SRC, (u128)0xfd << 120 | 1 },
	{ FIELD_IPV6_DST, (u128)0xfd << 120 | 2 },
	{ FIELD_SRC_PORT, 40000 },
	{ FIELD_DST_PORT, 80 },
	{ FIELD_TCP_FLAGS, 0x02 },
	{ FIELD_ICMP_TYPE, 8 },
	{ FIELD_ICMP_TYPE, 128 },
	{ FIELD_ICMP_CODE, 0 },
	{ FIELD_ETH_TYPE, 0x0806 },
	{ FIELD_ETH_TYPE, 0x8864 },
	{ FIELD_ETH_SRC, 0x020000000001 },
	{ FIELD_ETH_DST, 0x020000000002 },
	{ FIELD_IN_IFACE, 2 },
	{ FIELD_OUT_IFACE, 2 },
	{ FIELD_TTL, 64 },
	{ FIELD_TTL, 63 },
	{ FIELD_TTL, 1 },
	{ FIELD_DSCP, 0 },
	{ FIELD_ECN, 0 },
	{ FIELD_LENGTH, 60 },
	{ FIELD_FLOW, FLOW_NEW },
	{ FIELD_FLOW, FLOW_UNTRACKED },
	{ FIELD_MARK, 0 },
	{ FIELD_USER, 1000 },
	{ FIELD_USER, ABSENT_OWNER },
	{ FIELD_GROUP, ABSENT_OWNER },
	{ FIELD_PROGRAM, ABSENT_PROGRAM },
	{ FIELD_TREE, 0 },
	{ FIELD_CGROUP_0, ABSENT_CGROUP },
	{ FIELD_CGROUP_1, ABSENT_CGROUP },
	{ FIELD_CGROUP_2, ABSENT_CGROUP },
};

struct example {
	struct prove *prove;
	uint8_t bits[LEVELS];
	field_mask chosen; /* bit f: a wish for enum field f was granted */
};

/* --- choosing ------------------------------------------------------------------------------------------- */

static bdd_ref narrowed(struct prove *prove, bdd_ref set, bdd_ref further)
{
	bdd_ref both = bdd_and(prove->bdd, set, further);

	return both == BDD_FALSE ? set : both;
}

enum { CONTENTS_MAX = 5000 }; /* elements of a set that are looked at for an example */

/* What a lookup finds in what its map holds at first; negative if that is not known, or would take long to tell. */
static int64_t meaning_at_first(struct prove *prove, const struct atom *atom)
{
	return prove->input->maps[atom->map].count > CONTENTS_MAX ? -1 : atom_meaning(prove, atom);
}

/* Lookups answer as the maps do at first. */
static bdd_ref with_contents(struct prove *prove, bdd_ref set)
{
	for (uint32_t i = 0; i < prove->atoms.records.count && !prove_stopped(prove); i++) {
		const struct atom *atom = intern_at(&prove->atoms, i);
		bdd_ref found = atom_set(prove, atom);
		int64_t meaning = meaning_at_first(prove, atom);

		if (meaning >= 0)
			set = bdd_and(prove->bdd, set, bdd_ite(prove->bdd, (bdd_ref)meaning, found,
							       bdd_not(prove->bdd, found)));
	}
	return set;
}

static bdd_ref granted(struct example *example, bdd_ref set)
{
	struct prove *prove = example->prove;

	for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
		const struct wish *wish = &wishes[i];
		bdd_ref there = bdd_and(prove->bdd, set, field_present(prove, wish->field));
		bdd_ref both = bdd_and(prove->bdd, set, field_between(prove, wish->field, wish->value, wish->value));
		bool absent = field_table[wish->field].presence == PRESENT_VALUE &&
			      wish->value == field_table[wish->field].absent;

		if (both == BDD_FALSE || example->chosen >> wish->field & 1 || (!absent && there == BDD_FALSE))
			continue;
		example->chosen |= FIELD_BIT(wish->field);
		set = both;
	}
	return set;
}

/* The least numbers: bits are 0 where they can be. */
static void pick(struct example *example, bdd_ref set)
{
	const struct bdd *bdd = example->prove->bdd;

	while (!bdd_is_leaf(bdd, set)) {
		const struct bdd_node *node = &bdd->nodes.items[set];

		example->bits[node->level] = node->low == BDD_FALSE;
		set = node->low == BDD_FALSE ? node->high : node->low;
	}
}

static void fill_packet(const struct example *example, struct packet *packet)
{
	unsigned char *bytes = (unsigned char *)packet;

	memset(packet, 0, sizeof *packet);
	for (unsigned bit = 0; bit < PACKET_BITS; bit++)
		bytes[bit / 8] |= (unsigned char)(example->bits[example->prove->level_of_bit[bit]] << bit % 8);
}

/* --- the packet as text --------------------------------------------------------------------------------- */

static u128 value_of(const struct example *example, enum field field)
{
	const struct field_info *info = &field_table[field];
	u128 value = 0;

	for (unsigned i = 0; i < info->size * 8u; i++) {
		unsigned at = info->size == 16 ? (i < 64 ? i + 64 : i - 64) : i; /* the high half comes first */
		unsigned bit = info->offset * 8u + at;

		value |= (u128)example->bits[example->prove->level_of_bit[bit]] << i;
	}
	return value;
}

static bool has(const struct example *example, enum field field)
{
	const struct field_info *info = &field_table[field];
	uint64_t family = u128_lo(value_of(example, FIELD_FAMILY));

	switch (info->presence) {
	case PRESENT_IP:
		return family == FAMILY_IPV4 || family == FAMILY_IPV6;
	case PRESENT_IPV4:
		return family == FAMILY_IPV4;
	case PRESENT_IPV6:
		return family == FAMILY_IPV6;
	case PRESENT_VALUE:
		return value_of(example, field) != info->absent;
	default:
		return true;
	}
}

static const char *address_text(const struct example *example, enum field field4, enum field field6)
{
	struct arena *arena = example->prove->arena;
	uint64_t four = u128_lo(value_of(example, field4));
	u128 six = value_of(example, field6);
	char *text = arena_printf(arena, "%s", "");

	if (has(example, field4))
		return arena_printf(arena, "%u.%u.%u.%u", (unsigned)(four >> 24) & 255, (unsigned)(four >> 16) & 255,
				    (unsigned)(four >> 8) & 255, (unsigned)four & 255);
	if (six >> 16 << 16 == six >> 112 << 112 && six >> 112) /* one group, zeros, one group */
		return arena_printf(arena, "%x::%x", (unsigned)(six >> 112), (unsigned)six & 0xffff);
	for (int i = 7; i >= 0; i--)
		text = arena_printf(arena, "%s%x%s", text, (unsigned)(six >> i * 16) & 0xffff, i ? ":" : "");
	return text;
}

static const char *end_text(const struct example *example, enum field field4, enum field field6, enum field port)
{
	const char *address = address_text(example, field4, field6);
	struct arena *arena = example->prove->arena;

	if (!has(example, port))
		return address;
	return arena_printf(arena, has(example, field4) ? "%s:%u" : "[%s]:%u", address,
			    (unsigned)value_of(example, port));
}

static const char *protocol_text(const struct example *example)
{
	unsigned proto = (unsigned)value_of(example, FIELD_PROTO);
	const char *name = protocol_name(proto);

	return name ? name : arena_printf(example->prove->arena, "%u", proto);
}

static const char *flags_text(struct arena *arena, unsigned flags)
{
	const char *text = "";

	for (unsigned i = 0; i < 8; i++)
		if (flags >> i & 1)
			text = arena_printf(arena, "%s%c", text, TCP_FLAG_LETTERS[i]);
	return flags ? text : "none";
}

/* The words of `weir explain`, where they are not the fields' names. */
static const char *word_of(enum field field)
{
	switch (field) {
	case FIELD_TCP_FLAGS:
		return "flags";
	case FIELD_ICMP_TYPE:
		return "type";
	case FIELD_ICMP_CODE:
		return "code";
	default:
		return field_table[field].name;
	}
}

static const char *number_text(const struct example *example, enum field field)
{
	struct arena *arena = example->prove->arena;
	unsigned long long value = u128_lo(value_of(example, field));

	if (field_table[field].form == FORM_MAC)
		return arena_printf(arena, "%02llx:%02llx:%02llx:%02llx:%02llx:%02llx", value >> 40 & 255,
				    value >> 32 & 255, value >> 24 & 255, value >> 16 & 255, value >> 8 & 255,
				    value & 255);
	if (field == FIELD_TCP_FLAGS)
		return flags_text(arena, (unsigned)value);
	if (field == FIELD_FRAGMENT && value)
		return value == FRAGMENT_FIRST ? "first" : "later";
	if (field == FIELD_ETH_TYPE || field == FIELD_MARK)
		return arena_printf(arena, "%#llx", value);
	return arena_printf(arena, "%llu", value);
}

/* Fields that some rule or the program looks at and that are not in the first words. */
static const char *details_text(const struct example *example)
{
	const field_mask said = FIELD_BIT(FIELD_FAMILY) | FIELD_BIT(FIELD_PROTO) | FIELD_BIT(FIELD_SRC_PORT) | FIELD_BIT(FIELD_DST_PORT) |
			      FIELD_BIT(FIELD_IP_SRC) | FIELD_BIT(FIELD_IP_DST) | FIELD_BIT(FIELD_IPV6_SRC) | FIELD_BIT(FIELD_IPV6_DST);
	field_mask fields = example->prove->fields & ~said;
	bool ip = has(example, FIELD_TTL);
	const char *text = "";

	if (!ip && hook_table[example->prove->input->hook].frames)
		fields |= FIELD_BIT(FIELD_ETH_TYPE);
	else
		fields &= ~(FIELD_BIT(FIELD_ETH_TYPE));
	for (int field = 0; field < FIELD_COUNT; field++)
		if (fields >> field & 1 && has(example, (enum field)field) &&
		    (field != FIELD_FRAGMENT || value_of(example, FIELD_FRAGMENT)))
			text = arena_printf(example->prove->arena, "%s %s=%s", text, word_of((enum field)field),
					    number_text(example, (enum field)field));
	return text;
}

static const char *packet_text(const struct example *example)
{
	struct arena *arena = example->prove->arena;
	const char *details = details_text(example);

	if (!has(example, FIELD_TTL))
		return arena_printf(arena, "a frame that is not IP%s", details);
	return arena_printf(arena, "%s %s > %s%s", protocol_text(example),
			    end_text(example, FIELD_IP_SRC, FIELD_IPV6_SRC, FIELD_SRC_PORT),
			    end_text(example, FIELD_IP_DST, FIELD_IPV6_DST, FIELD_DST_PORT), details);
}

/* --- what is done with it ------------------------------------------------------------------------------- */

struct story {
	const struct example *example;
	uint32_t granted; /* bit n: the n-th rate that is asked has a token; the last bit: and all behind it */
	unsigned asked;
	bool exact;       /* tell all of each effect */
	const char *text; /* effects so far */
	unsigned effects;
};

enum { TOLD_MAX = 12 }; /* effects in full */

static const char *verdict_text(struct arena *arena, const struct prove_input *input, uint32_t verdict, uint32_t slot)
{
	static const char *const names[] = { "accept", "drop", "reject" };
	const char *name = verdict <= ANSWER_REJECT ? names[verdict] : "an impossible verdict";

	if (slot == SLOT_DEFAULT)
		return arena_printf(arena, "%s (default)", name);
	if (slot == SLOT_NON_IP)
		return arena_printf(arena, "%s (non_ip)", name);
	if (spec_rule(input, slot))
		return arena_printf(arena, "%s (rule %u)", name, spec_rule(input, slot));
	return arena_printf(arena, "%s (counter %u)", name, slot);
}

static const char *effect_text(struct arena *arena, const struct prove_input *input, const struct effect *effect)
{
	uint32_t rule = spec_rule(input, effect->slot);

	switch (effect->kind) {
	case STEP_COUNT:
		if (!rule)
			return arena_printf(arena, "counter %u", effect->slot);
		return arena_printf(arena, "rule %u", rule);
	case STEP_LOG:
		return arena_printf(arena, "log of rule %u", rule);
	case STEP_CAPTURE:
		return arena_printf(arena, "capture of rule %u", rule);
	case STEP_THROTTLE:
		return arena_printf(arena, "throttle by rate %u of rule %u", effect->a + 1, rule);
	case STEP_MARK:
		return arena_printf(arena, "mark %#x/%#x", effect->a, effect->b);
	case STEP_ADD:
	case STEP_REMOVE:
		if (effect->slot >= input->ruleset->set_count || effect->a >= FIELD_COUNT)
			return "an unknown change";
		return arena_printf(arena, "%s in set `%s`, %u ms", effect->kind == STEP_ADD ? "addition" : "removal",
				    input->ruleset->sets[effect->slot].name, effect->b);
	case STEP_KNOCK:
		return arena_printf(arena, "step %u of knock %u", effect->a % KNOCK_SLOT_STEPS + 1,
				    effect->a / KNOCK_SLOT_STEPS + 1);
	default:
		return "an unknown step";
	}
}

/* All that there is in it, where in fewer words two look alike. */
static const char *exact_text(struct arena *arena, const struct effect *effect)
{
	return arena_printf(arena, " [%u %u %#x %#x]", effect->kind, effect->slot, effect->a, effect->b);
}

static void tell(struct story *story, const struct effect *effects, size_t count)
{
	struct prove *prove = story->example->prove;

	for (size_t i = 0; i < count; i++) {
		if (story->effects++ >= TOLD_MAX)
			continue;
		story->text = arena_printf(prove->arena, "%s%s%s%s", story->text, *story->text ? ", " : "",
					   effect_text(prove->arena, prove->input, &effects[i]),
					   story->exact ? exact_text(prove->arena, &effects[i]) : "");
	}
}

static const char *end_story(const struct story *story, const char *end)
{
	struct arena *arena = story->example->prove->arena;

	if (!story->effects)
		return end;
	return arena_printf(arena, "%s after %s%s", end, story->text, story->effects > TOLD_MAX ? ", ..." : "");
}

/* The number that is returned for this packet. */
static uint64_t concrete(const struct example *example, uint64_t number)
{
	const struct value *value;
	uint64_t result = 0;

	if (!(number & NO_ANSWER))
		return number;
	value = value_at(example->prove, (uint32_t)number);
	for (unsigned i = 0; i < 32; i++) {
		source_bit bit = value->bits[i];

		if (bit < SOURCE_PACKET ? bit == SOURCE_1 :
					  example->bits[example->prove->level_of_bit[bit - SOURCE_PACKET]])
			result |= (uint64_t)1 << i;
	}
	return result;
}

/* Whether the rate that is asked now has a token. */
static bool tell_token(struct story *story, uint32_t rate, uint32_t slot)
{
	struct prove *prove = story->example->prove;
	bool granted = story->granted >> (story->asked < 31 ? story->asked : 31) & 1;

	story->text = arena_printf(prove->arena, "%s%s%s of rate %u for rule %u", story->text,
				   *story->text ? ", " : "", granted ? "a token" : "no token", rate + 1,
				   spec_rule(prove->input, slot));
	story->effects++;
	story->asked++;
	return granted;
}

static const char *program_story(const struct example *example, uint32_t granted, bool exact)
{
	struct prove *prove = example->prove;
	struct story story = { .example = example, .granted = granted, .exact = exact, .text = "" };
	bdd_ref program = program_at(prove, 0);
	uint32_t resume = 0;

	for (unsigned runs = 0; runs < STEPS_MAX; runs++) {
		uint32_t leaf = bdd_follow(prove->bdd, program, example->bits);
		struct answer_run run = answer_read(prove, concrete(example, number_of_value(prove, leaf)));

		tell(&story, run.effects, run.effect_count);
		if (run.broken)
			return end_story(&story, run.broken);
		if (run.asks) {
			program = program_in_run(prove, tell_token(&story, run.rate, run.slot) ? run.with : run.without);
			continue;
		}
		if (!run.resumes)
			return end_story(&story, verdict_text(prove->arena, prove->input, run.verdict, run.slot));
		resume = run.resume;
		program = program_at(prove, resume);
	}
	return end_story(&story, "it does not end");
}

static const char *rules_story(const struct example *example, uint32_t granted, bool exact)
{
	struct prove *prove = example->prove;
	struct story story = { .example = example, .granted = granted, .exact = exact, .text = "" };
	uint32_t place = spec_start(prove);

	for (;;) {
		uint32_t value = bdd_follow(prove->bdd, spec_diagram(prove, place), example->bits);
		struct spec_leaf leaf = spec_leaf(prove, place, value);

		tell(&story, leaf.effects, leaf.effect_count);
		if (leaf.decided)
			return end_story(&story, verdict_text(prove->arena, prove->input, leaf.verdict, leaf.slot));
		place = !leaf.asks || tell_token(&story, leaf.rate, leaf.slot) ? leaf.place : leaf.without;
	}
}

enum { TOKENS_TRIED = 10 }; /* rates whose tokens are there or not in every combination */

static bool tell_both(struct example *example, uint32_t granted, bool exact, struct prove_result *result)
{
	result->rules = rules_story(example, granted, exact);
	result->program = program_story(example, granted, exact);
	return strcmp(result->rules, result->program);
}

/* With tokens for all, or else for those that make a difference; in few words if those tell the two apart. */
static void tell_stories(struct example *example, struct prove_result *result)
{
	uint32_t ways = example->prove->input->rate_count ? 1u << TOKENS_TRIED : 1;

	for (uint32_t missing = 0; missing < ways; missing++)
		if (tell_both(example, ~missing, false, result) || tell_both(example, ~missing, true, result))
			return;
	prove_stop(example->prove, "it may go wrong, but only if some of its rates have tokens");
}

/* Of a lookup in a set with timeouts: what was found lives. */
static bool is_alive(const struct example *example, const struct atom *atom)
{
	struct prove *prove = example->prove;
	struct atom lives = *atom;

	lives.lives = 1;
	for (uint32_t i = 0; i < prove->atoms.records.count && i < ATOMS_MAX; i++)
		if (!memcmp(intern_at(&prove->atoms, i), &lives, sizeof lives))
			return example->bits[prove->atom_levels[i]];
	return false;
}

/* False if it is not known. */
static bool found_at_first(const struct example *example, const struct atom *atom)
{
	int64_t meaning = meaning_at_first(example->prove, atom);

	return meaning >= 0 && bdd_follow(example->prove->bdd, (bdd_ref)meaning, example->bits) == BDD_TRUE;
}

/* What the packet's path needs of a named set that is otherwise at first; NULL: nothing. */
static const char *assumption(const struct example *example, const struct atom *atom, bool found)
{
	bool expired = map_timed(example->prove, atom->map) && !atom->lives, had = found_at_first(example, atom);

	if (!found)
		return had && !atom->lives ? "no member" : NULL;
	if (expired)
		return is_alive(example, atom) ? NULL /* told with the other */ : "an expired member";
	return had ? NULL : "a member";
}

static const char *assumed_text(const struct example *example)
{
	struct prove *prove = example->prove;
	const char *text = NULL;

	for (uint32_t i = 0; i < prove->atoms.records.count && i < ATOMS_MAX; i++) {
		const struct atom *atom = intern_at(&prove->atoms, i);
		int32_t named = prove->input->maps[atom->map].named;
		const char *assumed = named < 0 ? NULL : assumption(example, atom, example->bits[prove->atom_levels[i]]);

		if (assumed)
			text = arena_printf(prove->arena, "%s%s%s in set `%s`", text ? text : "", text ? " and " : "", assumed,
					    prove->input->ruleset->sets[named].name);
	}
	return text;
}

void example_choose(struct prove *prove, bdd_ref different, struct prove_result *result)
{
	struct example *example = ARENA_NEW(prove->arena, struct example);
	bdd_ref set = narrowed(prove, different, contract_packets(prove, true));
	bdd_ref likely = with_contents(prove, set);

	example->prove = prove;
	for (unsigned i = 0; prove->fixed && i < PACKET_BITS; i++)
		example->bits[prove->level_of_bit[i]] = prove->fixed[i] == 1;
	if (likely != BDD_FALSE)
		set = likely;
	set = granted(example, set);
	pick(example, set);
	fill_packet(example, &result->packet);
	result->example = packet_text(example);
	tell_stories(example, result);
	result->assumed = likely != BDD_FALSE ? NULL : assumed_text(example);
}
