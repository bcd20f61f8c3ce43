/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets as a line of text. In: a packet as a hook meets it; out: what the model's parser finds. Cannot fail. */
#include "ir/packet_build.h"
#include "ir/value_text.h"
#include "packet/names.h"

enum { TYPE_ARP = 0x0806 };

struct line {
	struct arena *arena;
	char *text;
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line->text = arena_printf(line->arena, "%s%s", line->text, arena_vprintf(line->arena, format, args));
	va_end(args);
}

static void add_end(struct line *line, const struct model_fields *fields, enum field field, enum field port)
{
	struct value_format format = value_format_of(field);
	bool brackets = fields->has[port] && format.form == FORM_IPV6;
	char text[RANGE_TEXT_MAX];

	if (!fields->has[field]) { /* the hook does not see it */
		add(line, " ?");
		return;
	}
	value_print(&format, fields->value[field], text);
	add(line, " %s%s%s", brackets ? "[" : "", text, brackets ? "]" : "");
	if (fields->has[port])
		add(line, ":%llu", (unsigned long long)u128_lo(fields->value[port]));
}

static void add_protocol(struct line *line, const struct model_fields *fields)
{
	unsigned number = (unsigned)u128_lo(fields->value[FIELD_PROTO]);
	/* `icmp` would be read as ICMPv6. */
	bool other_icmp = number == 1 && fields->value[FIELD_FAMILY] == FAMILY_IPV6;
	const char *name = other_icmp ? NULL : protocol_name(number);

	if (name)
		add(line, "%s", name);
	else
		add(line, "%u", number);
}

static void add_transport(struct line *line, const struct model_fields *fields)
{
	unsigned type = (unsigned)u128_lo(fields->value[FIELD_ICMP_TYPE]);
	const char *name = icmp_type_name(fields->value[FIELD_FAMILY] == FAMILY_IPV6, type);
	char flags[TCP_FLAGS_TEXT];

	if (fields->has[FIELD_ICMP_TYPE] && name)
		add(line, " %s", name);
	else if (fields->has[FIELD_ICMP_TYPE])
		add(line, " type=%u", type);
	if (fields->has[FIELD_ICMP_CODE] && fields->value[FIELD_ICMP_CODE])
		add(line, " code=%u", (unsigned)u128_lo(fields->value[FIELD_ICMP_CODE]));
	tcp_flags_print((unsigned)u128_lo(fields->value[FIELD_TCP_FLAGS]), flags);
	if (fields->has[FIELD_TCP_FLAGS] && fields->value[FIELD_TCP_FLAGS] != PLAIN_FLAGS)
		add(line, flags[0] ? " %s" : " flags=%s", flags[0] ? flags : "none");
}

static void add_ip(struct line *line, const struct model_fields *fields)
{
	bool ipv6 = fields->value[FIELD_FAMILY] == FAMILY_IPV6;

	add_protocol(line, fields);
	add_end(line, fields, ipv6 ? FIELD_IPV6_SRC : FIELD_IP_SRC, FIELD_SRC_PORT);
	add(line, " >");
	add_end(line, fields, ipv6 ? FIELD_IPV6_DST : FIELD_IP_DST, FIELD_DST_PORT);
	add_transport(line, fields);
	if (fields->value[FIELD_FRAGMENT] == FRAGMENT_LATER)
		add(line, " fragment");
	else if (fields->value[FIELD_FRAGMENT] == FRAGMENT_FIRST)
		add(line, " fragment=first");
}

/* The link layer's part: all of it in frames that are not IP. */
static void add_link(struct line *line, const struct model_fields *fields)
{
	static const enum field addresses[] = { FIELD_ETH_SRC, FIELD_ETH_DST };
	const struct value_format format = value_format_of(FIELD_ETH_SRC);
	char text[RANGE_TEXT_MAX];

	for (unsigned i = 0; i < 2; i++) {
		if (!fields->has[addresses[i]] || fields->value[addresses[i]] == u128_make(0, 0x020000000001 + i))
			continue;
		value_print(&format, fields->value[addresses[i]], text);
		add(line, " %s=%s", field_table[addresses[i]].name, text);
	}
}

static const struct {
	enum field field;
	const char *format;
	uint64_t plain;
} extras[] = {
	{ FIELD_VLAN, " vlan=%llu", ABSENT_VLAN },
	{ FIELD_TTL, " ttl=%llu", PLAIN_TTL },
	{ FIELD_DSCP, " dscp=%llu", 0 },
	{ FIELD_ECN, " ecn=%llu", 0 },
	{ FIELD_IN_IFACE, " in_iface=%llu", ABSENT_IFACE },
	{ FIELD_OUT_IFACE, " out_iface=%llu", ABSENT_IFACE },
	{ FIELD_USER, " user=%llu", ABSENT_OWNER },
	{ FIELD_GROUP, " group=%llu", ABSENT_OWNER },
	{ FIELD_PROGRAM, " program=%llu", ABSENT_PROGRAM },
	{ FIELD_MARK, " mark=0x%llx", 0 },
};

static void add_state(struct line *line, const struct model_fields *fields)
{
	static const char *const names[] = { NULL, "new", "established", "related", "invalid" };
	uint64_t state = u128_lo(fields->value[FIELD_FLOW]);

	if (fields->has[FIELD_FLOW] && state < sizeof names / sizeof *names && names[state])
		add(line, " flow=%s", names[state]);
}

static void add_extras(struct line *line, const struct model_fields *fields)
{
	for (size_t i = 0; i < sizeof extras / sizeof *extras; i++)
		if (fields->has[extras[i].field] && fields->value[extras[i].field] != extras[i].plain)
			add(line, extras[i].format, (unsigned long long)u128_lo(fields->value[extras[i].field]));
}

static void add_cgroups(struct line *line, const struct model_fields *fields, const struct ruleset *ruleset)
{
	for (unsigned i = 0; ruleset && i < ruleset->cgroup_level_count; i++)
		if (fields->has[FIELD_CGROUP_0 + i])
			add(line, " cgroup.%u=%llu", ruleset->cgroup_levels[i],
			    (unsigned long long)u128_lo(fields->value[FIELD_CGROUP_0 + i]));
}

/* Names of knocks that are open; their number if one has none. */
static void add_knocked(struct line *line, const struct model_fields *fields, const struct ruleset *ruleset)
{
	uint64_t open = fields->has[FIELD_KNOCKED] ? u128_lo(fields->value[FIELD_KNOCKED]) : 0;
	const char *before = " knocked=";

	if (open >> (ruleset ? ruleset->knock_count : 0)) {
		add(line, " knocked=%llu", (unsigned long long)open);
		return;
	}
	for (unsigned i = 0; open >> i; i++) {
		if (!(open >> i & 1))
			continue;
		add(line, "%s%s", before, ruleset->knocks[i].name);
		before = ",";
	}
}

/* Of which programs the owner descends, and that it does not of the others; bits where there are no paths for them. */
static void add_tree(struct line *line, const struct model_fields *fields, const struct ruleset *ruleset)
{
	uint32_t tree = fields->has[FIELD_TREE] ? (uint32_t)u128_lo(fields->value[FIELD_TREE]) : 0, all = 0, in = 0;
	const char *before = " tree=";

	for (size_t i = 0; ruleset && i < ruleset->root_count; i++) {
		all |= tree & TREE_IN(i) ? TREE_IN(i) : TREE_OUT(i);
		in |= tree & TREE_IN(i);
	}
	if (tree && tree != all) {
		add(line, " tree=%u", tree);
		return;
	}
	if (tree && !in)
		add(line, " tree=none");
	for (size_t i = 0; in && i < ruleset->root_count; i++) {
		if (!(in & TREE_IN(i)))
			continue;
		add(line, "%s%s", before, ruleset->roots[i].path);
		before = ",";
	}
}

static bool has_plain_length(const struct model_fields *fields)
{
	return u128_lo(fields->value[FIELD_LENGTH]) ==
	       built_length_min((enum packet_family)u128_lo(fields->value[FIELD_FAMILY]),
				(unsigned)u128_lo(fields->value[FIELD_PROTO]),
				(enum packet_fragment)u128_lo(fields->value[FIELD_FRAGMENT]));
}

char *packet_print(struct arena *arena, enum hook hook, const struct model_packet *packet,
		   const struct ruleset *ruleset)
{
	struct line line = { arena, arena_strndup(arena, "", 0) };
	struct model_fields fields;

	model_parse(hook, packet, &fields);
	if (fields.malformed)
		return arena_strndup(arena, "malformed", 9);
	if (fields.has[FIELD_PROTO])
		add_ip(&line, &fields);
	else if (fields.value[FIELD_ETH_TYPE] == TYPE_ARP)
		add(&line, "arp");
	else
		add(&line, "0x%04llx", (unsigned long long)u128_lo(fields.value[FIELD_ETH_TYPE]));
	if (fields.has[FIELD_LENGTH] && !has_plain_length(&fields))
		add(&line, " length=%llu", (unsigned long long)u128_lo(fields.value[FIELD_LENGTH]));
	add_link(&line, &fields);
	add_state(&line, &fields);
	add_extras(&line, &fields);
	add_cgroups(&line, &fields, ruleset);
	add_knocked(&line, &fields, ruleset);
	add_tree(&line, &fields, ruleset);
	return line.text;
}
