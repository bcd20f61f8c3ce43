/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections of a policy in force: listed, filtered by words, deleted. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "lang/literal.h"
#include "packet/names.h"

enum { TEXT_MAX = INET6_ADDRSTRLEN };

struct shown {
	struct weir_flow flow;
	struct flow_key key;
	char source[TEXT_MAX], destination[TEXT_MAX], protocol[16];
};

struct weir_flows {
	struct shown *items;
	size_t count;
	struct weir_flow_totals totals;
};

/* --- showing ----------------------------------------------------------------------------------------------------- */

void api_address_text(uint32_t family, uint64_t hi, uint64_t lo, char text[INET6_ADDRSTRLEN])
{
	const uint64_t halves[2] = { htobe64(hi), htobe64(lo) };
	const uint32_t word = htonl((uint32_t)hi);

	if (family == FAMILY_IPV4)
		inet_ntop(AF_INET, &word, text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, halves, text, INET6_ADDRSTRLEN);
}

static void print_address(const struct flow_key *key, unsigned side, char text[TEXT_MAX])
{
	if (side == FLOW_A)
		api_address_text(key->family, key->a_hi, key->a_lo, text);
	else
		api_address_text(key->family, key->b_hi, key->b_lo, text);
}

static const char *state_of(const struct flow_key *key, uint32_t flags)
{
	const uint32_t fins = FLOW_OF(FLOW_A, FLOW_FIN) | FLOW_OF(FLOW_B, FLOW_FIN);

	if (key->proto == IPPROTO_TCP || key->proto == IPPROTO_SCTP)
		return flags & FLOW_CLOSED ? "closed" : flags & fins ? "closing" :
		       flags & FLOW_ASSURED ? "established" : "opening";
	return flags & FLOW_REPLIED ? "established" : "new";
}

static uint64_t milliseconds(uint64_t later, uint64_t earlier)
{
	return later > earlier ? (later - earlier) / 1000000 : 0;
}

/* Who began stands in front; of ICMP, both ports are the identifier. */
static void show(const struct kernel_flow *from, uint64_t now_ns, struct shown *shown)
{
	const struct flow_key *key = &from->key;
	bool icmp = key->proto == IPPROTO_ICMP || key->proto == IPPROTO_ICMPV6;
	unsigned first = FLOW_FIRST(from->flow.flags);
	const char *name = protocol_name(key->proto);
	struct weir_flow *flow = &shown->flow;

	shown->key = *key;
	print_address(key, first, shown->source);
	print_address(key, first ^ 1, shown->destination);
	if (name)
		snprintf(shown->protocol, sizeof shown->protocol, "%s", name);
	else
		snprintf(shown->protocol, sizeof shown->protocol, "%u", key->proto);
	flow->protocol = shown->protocol;
	flow->source = shown->source;
	flow->destination = shown->destination;
	flow->source_port = first == FLOW_A || icmp ? key->a_port : key->b_port;
	flow->destination_port = first == FLOW_A && !icmp ? key->b_port : key->a_port;
	flow->state = state_of(key, from->flow.flags);
	flow->assured = from->flow.flags & FLOW_ASSURED;
	flow->seeded = from->flow.flags & FLOW_SEEDED;
	flow->age_ms = milliseconds(now_ns, from->flow.created_ns);
	flow->left_ms = milliseconds(from->flow.expires_ns, now_ns);
}

/* --- filtering --------------------------------------------------------------------------------------------------- */

/* What one word asks for; all of a filter's must hold. */
struct wish {
	enum { WISH_PROTOCOL, WISH_STATE, WISH_ASSURED, WISH_SEEDED, WISH_END } kind;
	const char *text;
	bool no;
	bool address;        /* END: of the given family, from lo to hi */
	bool ipv6;
	u128 lo, hi;
	int port;            /* END: -1: any */
};

typedef VEC(struct wish) wishes;

static u128 address_of(const struct flow_key *key, unsigned side)
{
	uint64_t hi = side == FLOW_A ? key->a_hi : key->b_hi, lo = side == FLOW_A ? key->a_lo : key->b_lo;

	return key->family == FAMILY_IPV6 ? u128_make(hi, lo) : (uint32_t)hi;
}

static bool end_fits(const struct wish *wish, const struct flow_key *key, unsigned side)
{
	int port = side == FLOW_A ? key->a_port : key->b_port;
	u128 address = address_of(key, side);

	if (wish->port >= 0 && wish->port != port)
		return false;
	return !wish->address || ((key->family == FAMILY_IPV6) == wish->ipv6 && address >= wish->lo &&
				  address <= wish->hi);
}

static bool fits(const struct wish *wish, const struct shown *shown)
{
	switch (wish->kind) {
	case WISH_PROTOCOL:
		return !strcmp(wish->text, shown->protocol);
	case WISH_STATE:
		return !strcmp(wish->text, shown->flow.state);
	case WISH_ASSURED:
		return shown->flow.assured != wish->no;
	case WISH_SEEDED:
		return shown->flow.seeded;
	case WISH_END:
		return end_fits(wish, &shown->key, FLOW_A) || end_fits(wish, &shown->key, FLOW_B);
	}
	return false;
}

/* Where the port begins: behind `[...]:`, or an IPv4 address and a colon, or a lone colon. */
static const char *find_port(const char *text)
{
	const char *bracket = strchr(text, ']'), *colon = strrchr(text, ':');

	if (bracket)
		return bracket[1] == ':' ? bracket + 1 : NULL;
	return colon && strchr(text, ':') == colon ? colon : NULL;
}

static bool read_end(const char *text, struct wish *wish)
{
	const char *port = find_port(text);
	size_t length = port ? (size_t)(port - text) : strlen(text);
	struct literal literal;
	u128 number;

	wish->kind = WISH_END;
	wish->port = -1;
	if (!port && literal_number(text, length, &number)) {
		port = text - 1;
		length = 0;
	}
	if (port) {
		if (!literal_number(port + 1, strlen(port + 1), &number) || number > 65535)
			return false;
		wish->port = (int)number;
	}
	if (length > 1 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	if (!length)
		return port;
	literal = literal_parse(text, length);
	wish->address = true;
	wish->ipv6 = literal.kind == LITERAL_IPV6;
	wish->lo = literal.lo;
	wish->hi = literal.hi;
	return (literal.kind == LITERAL_IPV4 || wish->ipv6) && literal.fault == FAULT_NONE;
}

static bool read_wish(const char *text, struct wish *wish)
{
	static const char *const states[] = { "new", "opening", "established", "closing", "closed" };

	*wish = (struct wish){ .text = text };
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		if (!strcmp(states[i], text)) {
			wish->kind = WISH_STATE;
			return true;
		}
	if (!strcmp(text, "assured") || !strcmp(text, "unassured")) {
		wish->kind = WISH_ASSURED;
		wish->no = *text == 'u';
		return true;
	}
	if (!strcmp(text, "seeded")) {
		wish->kind = WISH_SEEDED;
		return true;
	}
	if (protocol_by_name(text) >= 0) {
		wish->kind = WISH_PROTOCOL;
		return true;
	}
	return read_end(text, wish);
}

static int read_filter(struct call *call, const char *const *words, size_t count, wishes *ret_wishes)
{
	for (size_t i = 0; i < count; i++) {
		if (read_wish(words[i], &VEC_PUSH(call->arena, ret_wishes)))
			continue;
		api_fail(call, WEIR_INPUT, "`%s` is no protocol, state, address or port", words[i]);
		diag_hint(call->diags, &call->diags->list.items[call->diags->list.count - 1],
			  "as in `tcp established 192.0.2.1:22`, `fd00::/8`, `:53` or `unassured`");
		return WEIR_INPUT;
	}
	return WEIR_OK;
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

struct listing {
	const char *policy;
	const char *const *words;
	size_t word_count;
	bool delete;
	struct kernel *kernel;
	struct kernel_flows read;
	struct weir_flows *flows;
};

static bool wanted(const wishes *all, const struct shown *shown)
{
	for (size_t i = 0; i < all->count; i++)
		if (!fits(&all->items[i], shown))
			return false;
	return true;
}

static int choose(struct call *call, struct listing *listing, const wishes *all)
{
	struct weir_flows *flows = calloc(1, sizeof *flows);

	listing->flows = flows;
	if (flows)
		flows->items = calloc(listing->read.count ? listing->read.count : 1, sizeof *flows->items);
	if (!flows || !flows->items)
		return api_fail(call, WEIR_SYSTEM, "out of memory");
	for (size_t i = 0; i < listing->read.count; i++) {
		show(&listing->read.items[i], listing->read.now_ns, &flows->items[flows->count]);
		flows->count += wanted(all, &flows->items[flows->count]);
	}
	for (size_t i = 0; i < flows->count; i++) { /* where they stay */
		flows->items[i].flow.protocol = flows->items[i].protocol;
		flows->items[i].flow.source = flows->items[i].source;
		flows->items[i].flow.destination = flows->items[i].destination;
	}
	flows->totals = api_flow_totals(&listing->read);
	return WEIR_OK;
}

static int delete(struct call *call, struct listing *listing)
{
	const struct weir_flows *flows = listing->flows;
	struct flow_key *keys = ARENA_ARRAY(call->arena, struct flow_key, flows->count);

	for (size_t i = 0; i < flows->count; i++)
		keys[i] = flows->items[i].key;
	return kernel_flows_delete(listing->kernel, listing->policy, keys, flows->count, call->diags) ? WEIR_SYSTEM :
													 WEIR_OK;
}

static int list(struct call *call, void *context)
{
	struct listing *listing = context;
	wishes all = { 0 };
	int error, status = read_filter(call, listing->words, listing->word_count, &all);

	if (status)
		return status;
	if (kernel_open(listing->delete ? KERNEL_WRITE : KERNEL_READ, call->diags, &listing->kernel))
		return WEIR_SYSTEM;
	error = kernel_flows_read(listing->kernel, listing->policy, FLOWS_ENTRIES, call->diags, &listing->read);
	if (error)
		return error == -ENOENT || error == -ENODATA ? WEIR_INPUT : WEIR_SYSTEM;
	status = choose(call, listing, &all);
	return status || !listing->delete ? status : delete(call, listing);
}

static int run(struct weir *weir, struct listing *listing)
{
	int status = api_call(weir, NULL, false, list, listing);

	kernel_flows_free(&listing->read);
	kernel_close(listing->kernel);
	if (status) {
		weir_flows_free(listing->flows);
		listing->flows = NULL;
	}
	return status;
}

struct weir_flow_totals api_flow_totals(const struct kernel_flows *flows)
{
	return (struct weir_flow_totals){
		.max = flows->max,
		.memory = flows->memory,
		.created = flows->counts.created,
		.assured = flows->counts.assured,
		.refused = flows->counts.refused,
		.invalid = flows->counts.invalid,
	};
}

WEIR_EXPORT int weir_flows_list(struct weir *weir, const char *policy, const char *const *filter, size_t words,
				struct weir_flows **ret_flows)
{
	struct listing listing = { .policy = policy, .words = filter, .word_count = words };
	int status = run(weir, &listing);

	if (!status)
		*ret_flows = listing.flows;
	return status;
}

WEIR_EXPORT int weir_flows_delete(struct weir *weir, const char *policy, const char *const *filter, size_t words,
				  size_t *ret_count)
{
	struct listing listing = { .policy = policy, .words = filter, .word_count = words, .delete = true };
	int status = run(weir, &listing);

	if (!status)
		*ret_count = listing.flows->count;
	weir_flows_free(listing.flows);
	return status;
}

WEIR_EXPORT size_t weir_flow_count(const struct weir_flows *flows)
{
	return flows->count;
}

WEIR_EXPORT const struct weir_flow *weir_flow(const struct weir_flows *flows, size_t index)
{
	return index < flows->count ? &flows->items[index].flow : NULL;
}

WEIR_EXPORT const struct weir_flow_totals *weir_flows_totals(const struct weir_flows *flows)
{
	return &flows->totals;
}

WEIR_EXPORT void weir_flows_free(struct weir_flows *flows)
{
	if (!flows)
		return;
	free(flows->items);
	free(flows);
}
