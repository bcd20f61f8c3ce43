/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptions of packets: [INTERFACE] PROTOCOL [SOURCE > DESTINATION] [WORD]... In: one line; out: the values of the
 * fields that it speaks of. Errors and warnings are queued at the words.
 */
#include <errno.h>
#include <string.h>

#include "lang/lang.h"
#include "lang/literal.h"
#include "lang/words.h"
#include "packet/names.h"

enum { PROTO_ICMP = 1, PROTO_ICMPV6 = 58, TYPE_ARP = 0x0806, WORDS_MAX = 200 };

struct token {
	const char *text; /* without quotes */
	struct span span;
	bool quoted;
};

struct reading {
	struct arena *arena;
	struct diags *diags;
	const struct source *source;
	const struct names *names;
	const struct ruleset *ruleset;
	enum hook hook;
	struct token tokens[WORDS_MAX];
	size_t count;
	struct model_fields fields;
	bool link; /* not IP: addresses are of other kinds */
};

/* --- words ------------------------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t word_length(const char *text, size_t left)
{
	size_t length = 1;

	if (text[0] == '"') {
		while (length < left && text[length] != '"')
			length += text[length] == '\\' && length + 1 < left ? 2 : 1;
		return length < left ? length + 1 : left;
	}
	while (length < left && !is_blank(text[length]))
		length++;
	return length;
}

static void split(struct reading *reading)
{
	const struct source *source = reading->source;
	size_t length;

	for (size_t at = 0; at < source->length; at += length) {
		const char *text = source->text + at;
		struct token *token = &reading->tokens[reading->count];

		length = is_blank(*text) ? 1 : word_length(text, source->length - at);
		if (is_blank(*text))
			continue;
		token->span = (struct span){ source, (uint32_t)at, (uint32_t)length };
		if (reading->count == WORDS_MAX) {
			diag_error(reading->diags, token->span, "too many words for one packet");
			return;
		}
		token->quoted = *text == '"';
		token->text = arena_strndup(reading->arena, text, length);
		if (memchr(text, '\0', length))
			diag_error(reading->diags, token->span, "a NUL byte has no place here");
		reading->count++;
	}
}

static bool fail(struct reading *reading, struct span span, const char *what, const char *text)
{
	diag_error(reading->diags, span, what, text);
	return false;
}

/* --- fields ----------------------------------------------------------------------------------------------------- */

static bool is_ipv6(const struct reading *reading)
{
	return reading->fields.has[FIELD_IPV6_SRC] || reading->fields.has[FIELD_IPV6_DST];
}

/* Sets a field that the hook sees. */
static bool set(struct reading *reading, enum field field, u128 value, struct span span)
{
	const struct field_info *info = &field_table[field];

	if (value > u128_max(info->bits) ||
	    (info->presence == PRESENT_VALUE && value == info->absent)) {
		diag_error(reading->diags, span, "%s is at most %llu", info->name,
			   (unsigned long long)u128_max(info->bits));
		return false;
	}
	if (!(info->hooks & HOOK_BIT(reading->hook))) {
		diag_warning(reading->diags, span, "%s is not known at %s: nothing looks at this", info->name,
			     hook_table[reading->hook].name);
		return true;
	}
	if (reading->fields.has[field] && reading->fields.value[field] != value) {
		diag_error(reading->diags, span, "%s was given before, with another value", info->name);
		return false;
	}
	reading->fields.has[field] = true;
	reading->fields.value[field] = value;
	return true;
}

static bool set_number(struct reading *reading, enum field field, const char *text, struct span span)
{
	u128 value;

	if (!literal_number(text, strlen(text), &value))
		return fail(reading, span, "`%s` is no number", text);
	return set(reading, field, value, span);
}

static void found_iface(void *data, uint32_t index)
{
	*(uint32_t *)data = index;
}

static bool set_iface(struct reading *reading, enum field field, const char *text, struct span span)
{
	const struct names *names = reading->names;
	uint32_t index = 0;
	u128 value;

	if (literal_number(text, strlen(text), &value))
		return set(reading, field, value, span);
	if (strpbrk(text, "*?[") || !names->interfaces ||
	    names->interfaces(names->context, text, found_iface, &index) < 1 || !index)
		return fail(reading, span, "no interface `%s`", text);
	return set(reading, field, index, span);
}

/* `iface`: in or out, by the hook. */
static bool set_side(struct reading *reading, const char *text, struct span span)
{
	switch (hook_table[reading->hook].direction) {
	case DIRECTION_INGRESS:
		return set_iface(reading, FIELD_IN_IFACE, text, span);
	case DIRECTION_EGRESS:
		return set_iface(reading, FIELD_OUT_IFACE, text, span);
	default:
		return fail(reading, span, "at netfilter-forward say `in_iface=%s` or `out_iface=...`", text);
	}
}

static bool set_user(struct reading *reading, enum field field, const char *text, struct span span)
{
	const struct names *names = reading->names;
	uint32_t id;
	u128 value;

	if (literal_number(text, strlen(text), &value))
		return set(reading, field, value, span);
	if (field == FIELD_USER ? !names->user || names->user(names->context, text, &id) :
				  !names->group || names->group(names->context, text, &id))
		return fail(reading, span, field == FIELD_USER ? "no user `%s`" : "no group `%s`", text);
	return set(reading, field, id, span);
}

static bool set_mac(struct reading *reading, enum field field, const char *text, struct span span)
{
	u128 value;

	if (!literal_mac(text, strlen(text), &value))
		return fail(reading, span, "`%s` is no MAC address", text);
	return set(reading, field, value, span);
}

static bool set_flags(struct reading *reading, const char *text, struct span span)
{
	int flags = strcmp(text, "none") ? tcp_flags_parse(text) : 0;
	u128 value;

	if (flags >= 0 && *text)
		return set(reading, FIELD_TCP_FLAGS, (u128)flags, span);
	if (literal_number(text, strlen(text), &value))
		return set(reading, FIELD_TCP_FLAGS, value, span);
	return fail(reading, span, "`%s` are no TCP flags: letters of FSRPAUEW, or `none`", text);
}

static bool is_icmpv6(const struct reading *reading)
{
	return reading->fields.value[FIELD_PROTO] == PROTO_ICMPV6;
}

/* Names of the log's and of the language's. -1: none. */
static int icmp_type(const struct reading *reading, const char *text)
{
	const struct icmp_name *name = words_icmp(text);
	bool ipv6 = is_icmpv6(reading);

	if (name && name->code4 < 0 && name->code6 < 0)
		return ipv6 ? name->type6 : name->type4;
	return icmp_type_by_name(ipv6, text);
}

static bool set_icmp_type(struct reading *reading, const char *text, struct span span)
{
	int type = icmp_type(reading, text);

	if (type >= 0)
		return set(reading, FIELD_ICMP_TYPE, (u128)type, span);
	return set_number(reading, FIELD_ICMP_TYPE, text, span);
}

static bool set_fragment(struct reading *reading, const char *text, struct span span)
{
	int value = words_value(TYPE_FRAGMENT, text);

	if (value < 0)
		return fail(reading, span, "a fragment is `first` or `later`, not `%s`", text);
	return set(reading, FIELD_FRAGMENT, (u128)value, span);
}

static bool set_cgroup_level(struct reading *reading, unsigned level, u128 id, struct span span)
{
	const struct ruleset *ruleset = reading->ruleset;

	for (unsigned i = 0; i < ruleset->cgroup_level_count; i++)
		if (ruleset->cgroup_levels[i] == level)
			return set(reading, FIELD_CGROUP_0 + i, id, span);
	return true; /* no rule looks at it */
}

static bool set_cgroup_at(struct reading *reading, const char *path, struct span span)
{
	const struct names *names = reading->names;
	uint8_t level;
	uint64_t id;

	if (!names->cgroup || names->cgroup(names->context, path, &level, &id))
		return fail(reading, span, "no cgroup `%s`", path);
	return set_cgroup_level(reading, level, id, span);
}

/* A path stands for all its ancestors too. */
static bool set_cgroup(struct reading *reading, const char *text, struct span span)
{
	char *path = arena_strndup(reading->arena, text, strlen(text));
	char *slash;

	do {
		if (!set_cgroup_at(reading, *path ? path : "/", span))
			return false;
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	} while (slash && *path);
	return true;
}

/* Names of knocks that are open for the source; or bits, as packet_print() writes those without a name. */
static bool set_knocked(struct reading *reading, const char *text, struct span span)
{
	const struct ruleset *ruleset = reading->ruleset;
	char *names = arena_strndup(reading->arena, text, strlen(text)), *rest = NULL;
	u128 open = 0;

	if (literal_number(text, strlen(text), &open))
		return set(reading, FIELD_KNOCKED, open, span);
	for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		size_t i = 0;

		while (i < ruleset->knock_count && strcmp(ruleset->knocks[i].name, name))
			i++;
		if (i == ruleset->knock_count)
			return fail(reading, span, "the policy has no knock `%s`", name);
		open |= (u128)1 << i;
	}
	return set(reading, FIELD_KNOCKED, open, span);
}

/* --- KEY=VALUE -------------------------------------------------------------------------------------------------- */

enum key_kind { KEY_NUMBER, KEY_NAMED, KEY_SIDE, KEY_IFACE, KEY_USER, KEY_MAC, KEY_FLAGS, KEY_ICMP, KEY_FRAGMENT,
		KEY_CGROUP, KEY_KNOCKED, KEY_PROGRAM, KEY_TREE };

static const struct key {
	const char *name;
	enum key_kind kind;
	enum field field;
	enum value_type type; /* KEY_NAMED */
} keys[] = {
	{ "length", KEY_NUMBER, FIELD_LENGTH, TYPE_COUNT },
	{ "user", KEY_USER, FIELD_USER, TYPE_COUNT },
	{ "group", KEY_USER, FIELD_GROUP, TYPE_COUNT },
	{ "program", KEY_PROGRAM, FIELD_PROGRAM, TYPE_COUNT },
	{ "tree", KEY_TREE, FIELD_TREE, TYPE_COUNT },
	{ "flow", KEY_NAMED, FIELD_FLOW, TYPE_FLOW },
	{ "mark", KEY_NUMBER, FIELD_MARK, TYPE_COUNT },
	{ "iface", KEY_SIDE, FIELD_COUNT, TYPE_COUNT },
	{ "in_iface", KEY_IFACE, FIELD_IN_IFACE, TYPE_COUNT },
	{ "out_iface", KEY_IFACE, FIELD_OUT_IFACE, TYPE_COUNT },
	{ "flags", KEY_FLAGS, FIELD_TCP_FLAGS, TYPE_COUNT },
	{ "type", KEY_ICMP, FIELD_ICMP_TYPE, TYPE_COUNT },
	{ "code", KEY_NUMBER, FIELD_ICMP_CODE, TYPE_COUNT },
	{ "src_port", KEY_NUMBER, FIELD_SRC_PORT, TYPE_COUNT },
	{ "dst_port", KEY_NUMBER, FIELD_DST_PORT, TYPE_COUNT },
	{ "fragment", KEY_FRAGMENT, FIELD_FRAGMENT, TYPE_COUNT },
	{ "ttl", KEY_NUMBER, FIELD_TTL, TYPE_COUNT },
	{ "dscp", KEY_NAMED, FIELD_DSCP, TYPE_DSCP },
	{ "ecn", KEY_NAMED, FIELD_ECN, TYPE_ECN },
	{ "vlan", KEY_NUMBER, FIELD_VLAN, TYPE_COUNT },
	{ "eth.src", KEY_MAC, FIELD_ETH_SRC, TYPE_COUNT },
	{ "eth.dst", KEY_MAC, FIELD_ETH_DST, TYPE_COUNT },
	{ "eth.type", KEY_NAMED, FIELD_ETH_TYPE, TYPE_ETHERTYPE },
	{ "knocked", KEY_KNOCKED, FIELD_KNOCKED, TYPE_COUNT },
	{ "cgroup", KEY_CGROUP, FIELD_COUNT, TYPE_COUNT },
};
enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

/* A path, which may be one that the policy names, or its place as packet_print() writes it. */
static bool set_program(struct reading *reading, const char *text, struct span span)
{
	const struct ruleset *ruleset = reading->ruleset;

	if (text[0] != '/')
		return set_number(reading, FIELD_PROGRAM, text, span);
	for (size_t i = 0; ruleset && i < ruleset->program_count; i++)
		if (!strcmp(ruleset->programs[i].path, text))
			return set(reading, FIELD_PROGRAM, PROGRAM_FIRST + i, span);
	return set(reading, FIELD_PROGRAM, PROGRAM_OTHER, span);
}

/*
 * Paths of the programs from which the owner descends, of all that the policy asks for, or `none`; or bits, as packet_print()
 * writes what is known in part.
 */
static bool set_tree(struct reading *reading, const char *text, struct span span)
{
	const struct ruleset *ruleset = reading->ruleset;
	char *paths = arena_strndup(reading->arena, text, strlen(text)), *rest = NULL;
	size_t roots = ruleset ? ruleset->root_count : 0;
	u128 tree = 0;

	if (literal_number(text, strlen(text), &tree))
		return set_number(reading, FIELD_TREE, text, span);
	for (size_t i = 0; i < roots; i++)
		tree |= TREE_OUT(i);
	for (char *path = strtok_r(paths, ",", &rest); path && strcmp(text, "none"); path = strtok_r(NULL, ",", &rest)) {
		size_t i = 0;

		while (i < roots && strcmp(ruleset->roots[i].path, path))
			i++;
		if (i == roots)
			return fail(reading, span, "no rule asks for the tree of `%s`", path);
		tree ^= TREE_IN(i) | TREE_OUT(i);
	}
	return set(reading, FIELD_TREE, tree, span);
}

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static bool set_named(struct reading *reading, const struct key *key, const char *text, struct span span)
{
	int value = words_value(key->type, text);

	return value >= 0 ? set(reading, key->field, (u128)value, span) : set_number(reading, key->field, text, span);
}

static bool set_key(struct reading *reading, const struct key *key, const char *text, struct span span)
{
	switch (key->kind) {
	case KEY_NUMBER:
		return set_number(reading, key->field, text, span);
	case KEY_NAMED:
		return set_named(reading, key, text, span);
	case KEY_SIDE:
		return set_side(reading, text, span);
	case KEY_IFACE:
		return set_iface(reading, key->field, text, span);
	case KEY_USER:
		return set_user(reading, key->field, text, span);
	case KEY_MAC:
		return set_mac(reading, key->field, text, span);
	case KEY_FLAGS:
		return set_flags(reading, text, span);
	case KEY_ICMP:
		return set_icmp_type(reading, text, span);
	case KEY_FRAGMENT:
		return set_fragment(reading, text, span);
	case KEY_CGROUP:
		return set_cgroup(reading, text, span);
	case KEY_KNOCKED:
		return set_knocked(reading, text, span);
	case KEY_PROGRAM:
		return set_program(reading, text, span);
	case KEY_TREE:
		return set_tree(reading, text, span);
	}
	return false;
}

/* `cgroup.2=4711`, as packet_print() writes it. */
static bool is_cgroup_level(const char *name, unsigned *ret_level)
{
	u128 level;

	if (strncmp(name, "cgroup.", 7) || !literal_number(name + 7, strlen(name + 7), &level) || level > 255)
		return false;
	*ret_level = (unsigned)level;
	return true;
}

static bool unknown_word(struct reading *reading, const char *name, struct span span)
{
	struct diag *diag = diag_error(reading->diags, span, "`%s` says nothing of a packet", name);
	const char *names[KEY_COUNT], *nearest;

	for (size_t i = 0; i < KEY_COUNT; i++)
		names[i] = keys[i].name;
	nearest = nearest_word(name, strlen(name), names, KEY_COUNT);
	if (nearest)
		diag_hint(reading->diags, diag, "did you mean `%s=...`?", nearest);
	return false;
}

static bool read_pair(struct reading *reading, const struct token *token, const char *equals)
{
	size_t length = (size_t)(equals - token->text);
	char *name = arena_strndup(reading->arena, token->text, length);
	struct span span = { token->span.source, token->span.offset + (uint32_t)length + 1,
			     token->span.length - (uint32_t)length - 1 };
	const struct key *key = find_key(name);
	unsigned level;
	u128 id;

	if (!span.length)
		return fail(reading, token->span, "what is `%s`?", name);
	if (key)
		return set_key(reading, key, equals + 1, span);
	if (is_cgroup_level(name, &level) && literal_number(equals + 1, span.length, &id))
		return set_cgroup_level(reading, level, id, span);
	span = (struct span){ token->span.source, token->span.offset, (uint32_t)length };
	return unknown_word(reading, name, span);
}

/* A word behind the addresses: KEY=VALUE, or as in the log: flags, an ICMP type, `fragment`, `length 60`; or `new`. */
static bool read_word(struct reading *reading, size_t *at)
{
	const struct token *token = &reading->tokens[(*at)++];
	const char *equals = strchr(token->text, '=');
	const struct key *key = find_key(token->text);
	bool later = !strcmp(token->text, "fragment");

	if (equals)
		return read_pair(reading, token, equals);
	if (later)
		return set(reading, FIELD_FRAGMENT, FRAGMENT_LATER, token->span);
	if (key && *at < reading->count) {
		const struct token *value = &reading->tokens[(*at)++];

		return set_key(reading, key, value->text, value->span);
	}
	if (words_value(TYPE_FLOW, token->text) >= 0)
		return set(reading, FIELD_FLOW, (u128)words_value(TYPE_FLOW, token->text), token->span);
	if (tcp_flags_parse(token->text) > 0)
		return set_flags(reading, token->text, token->span);
	if (icmp_type(reading, token->text) >= 0)
		return set_icmp_type(reading, token->text, token->span);
	if (reading->link && (!strcmp(token->text, "request") || !strcmp(token->text, "reply")))
		return true; /* of ARP: no field */
	return unknown_word(reading, token->text, token->span);
}

/* --- protocol and addresses ------------------------------------------------------------------------------------- */

static bool read_link_protocol(struct reading *reading, const struct token *token, u128 type)
{
	if (!hook_table[reading->hook].frames)
		return fail(reading, token->span, "%s: this hook sees IP packets only", token->text);
	reading->link = true;
	return set(reading, FIELD_ETH_TYPE, type, token->span);
}

static bool read_protocol(struct reading *reading, const struct token *token)
{
	const struct names *names = reading->names;
	int number = protocol_by_name(token->text);
	uint8_t proto;
	u128 value;

	if (!strcmp(token->text, "arp"))
		return read_link_protocol(reading, token, TYPE_ARP);
	if (number < 0)
		number = words_value(TYPE_PROTO, token->text);
	if (number < 0 && literal_number(token->text, strlen(token->text), &value)) {
		if (!strncmp(token->text, "0x", 2) && value <= 0xffff)
			return read_link_protocol(reading, token, value);
		number = value <= 255 ? (int)value : -1;
	}
	if (number < 0 && names->protocol && !names->protocol(names->context, token->text, &proto))
		number = proto;
	if (number < 0)
		return fail(reading, token->span, "`%s` is no protocol", token->text);
	return set(reading, FIELD_PROTO, (u128)number, token->span);
}

struct end {
	enum field ipv4, ipv6, port, mac;
};

static const struct end ends[2] = {
	{ FIELD_IP_SRC, FIELD_IPV6_SRC, FIELD_SRC_PORT, FIELD_ETH_SRC },
	{ FIELD_IP_DST, FIELD_IPV6_DST, FIELD_DST_PORT, FIELD_ETH_DST },
};

/* Where the address ends and the port begins: at a colon behind a bracket or dots. */
static const char *find_port(const char *text)
{
	const char *bracket = strchr(text, ']'), *colon = strrchr(text, ':');

	if (bracket)
		return bracket[1] == ':' ? bracket + 1 : NULL;
	return colon && strchr(text, '.') && strchr(text, ':') == colon ? colon : NULL;
}

static bool read_address(struct reading *reading, const struct end *end, const char *text, size_t length,
			 struct span span)
{
	u128 value;

	if (length > 1 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	if (literal_ipv4(text, length, &value))
		return reading->link || set(reading, end->ipv4, value, span);
	if (literal_ipv6(text, length, &value))
		return set(reading, end->ipv6, value, span);
	if (literal_mac(text, length, &value))
		return set(reading, end->mac, value, span);
	return fail(reading, span, "`%s` is no address", arena_strndup(reading->arena, text, length));
}

static bool read_end(struct reading *reading, const struct token *token, const struct end *end)
{
	const char *port = find_port(token->text);
	size_t length = port ? (size_t)(port - token->text) : strlen(token->text);

	if (!strcmp(token->text, "?")) /* not said */
		return true;
	if (!read_address(reading, end, token->text, length, token->span))
		return false;
	return !port || set_number(reading, end->port, port + 1, token->span);
}

/* Both ends, and what follows from their family. */
static bool read_ends(struct reading *reading, const struct token *protocol, size_t arrow)
{
	if (!read_end(reading, &reading->tokens[arrow - 1], &ends[0]) ||
	    !read_end(reading, &reading->tokens[arrow + 1], &ends[1]))
		return false;
	if (is_ipv6(reading) && (reading->fields.has[FIELD_IP_SRC] || reading->fields.has[FIELD_IP_DST]))
		return fail(reading, span_join(reading->tokens[arrow - 1].span, reading->tokens[arrow + 1].span),
			    "%s: one address is IPv4 and the other IPv6", protocol->text);
	if (is_ipv6(reading) && !strcmp(protocol->text, "icmp"))
		reading->fields.value[FIELD_PROTO] = PROTO_ICMPV6;
	return true;
}

/* --- what a line of the log has in front ------------------------------------------------------------------------ */

/* NAME:NUMBER, the policy and rule. */
static bool is_rule(const char *text)
{
	const char *colon = strrchr(text, ':');
	u128 number;

	return colon && colon > text && literal_number(colon + 1, strlen(colon + 1), &number);
}

static bool is_verdict(const char *text)
{
	return !strcmp(text, "accept") || !strcmp(text, "drop") || !strcmp(text, "reject") || !strcmp(text, "log");
}

/* How many words are [DATE TIME] VERDICT POLICY:RULE ["TEXT"]. */
static size_t log_words(const struct reading *reading, size_t count)
{
	for (size_t at = 0; at + 1 < count && at < 3; at++)
		if (is_verdict(reading->tokens[at].text) && is_rule(reading->tokens[at + 1].text))
			return at + 2 + (at + 2 < count && reading->tokens[at + 2].quoted);
	return 0;
}

/* Those, and an interface. */
static bool read_front(struct reading *reading, size_t count)
{
	size_t at = log_words(reading, count);
	const struct token *token = &reading->tokens[at];

	if (at == count)
		return true;
	if (at + 1 == count && !token->quoted)
		return set_side(reading, token->text, token->span);
	return fail(reading, token->span, "`%s` is not where a packet begins: PROTOCOL SOURCE > DESTINATION",
		    token->text);
}

static size_t find_arrow(const struct reading *reading)
{
	size_t at = 0;

	while (at < reading->count && strcmp(reading->tokens[at].text, ">"))
		at++;
	return at;
}

static bool read_packet(struct reading *reading)
{
	struct span all = { reading->source, 0, (uint32_t)reading->source->length };
	size_t arrow = find_arrow(reading), at = 1;
	const struct token *protocol = &reading->tokens[0];

	if (!reading->count)
		return fail(reading, all, "%s is missing: PROTOCOL SOURCE > DESTINATION", "the packet");
	if (arrow < reading->count) {
		if (arrow < 2 || arrow + 1 == reading->count)
			return fail(reading, reading->tokens[arrow].span, "%s: PROTOCOL SOURCE > DESTINATION",
				    "something is missing here");
		protocol = &reading->tokens[arrow - 2];
		at = arrow + 2;
		if (!read_front(reading, arrow - 2))
			return false;
	}
	if (!read_protocol(reading, protocol) ||
	    (arrow < reading->count && !read_ends(reading, protocol, arrow)))
		return false;
	while (at < reading->count)
		if (!read_word(reading, &at))
			return false;
	return true;
}

int lang_packet(struct arena *arena, const struct source *source, enum hook hook, const struct ruleset *ruleset,
		const struct names *names, struct diags *diags, struct model_fields *ret_fields)
{
	struct reading *reading = ARENA_NEW(arena, struct reading);
	unsigned errors = diags->errors;

	reading->arena = arena;
	reading->diags = diags;
	reading->source = source;
	reading->names = names;
	reading->ruleset = ruleset;
	reading->hook = hook;
	split(reading);
	if (diags->errors != errors || !read_packet(reading))
		return -EINVAL;
	*ret_fields = reading->fields;
	return 0;
}
