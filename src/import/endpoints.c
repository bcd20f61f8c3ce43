/* SPDX-License-Identifier: GPL-2.0-only */
/* See endpoints.h. In: nodes; out: endpoints. Fails with errors at the places of what is not as it should be. */
#include "import/endpoints.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "ir/value_text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct reading {
	struct arena *arena;
	const struct source *source;
	const struct document *document;
	struct diags *diags;
};

static struct diag *fault(const struct reading *reading, node_ref ref, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static struct diag *fault(const struct reading *reading, node_ref ref, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = arena_vprintf(reading->arena, format, args);
	va_end(args);
	return diag_error(reading->diags, document_span(reading->document, ref, reading->source), "%s", text);
}

/* For a message: neither long nor able to play with a terminal. */
static const char *shown(const struct reading *reading, const char *text)
{
	enum { SHOWN_MAX = 60 };
	char *copy = arena_strndup(reading->arena, text, strnlen(text, SHOWN_MAX));

	for (char *c = copy; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return copy;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

/* Whether it can stand in quotes. */
static bool is_quotable(const char *text)
{
	for (const char *c = text; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
	return text[0];
}

static const char *read_interface(const struct reading *reading, node_ref ref, const char *text)
{
	if (is_quotable(text) && strlen(text) < IFNAMSIZ && !strpbrk(text, " /*?["))
		return text;
	fault(reading, ref, "`%s` is no name of an interface", shown(reading, text));
	return NULL;
}

static const char *read_user(const struct reading *reading, node_ref ref, const char *text)
{
	if (is_quotable(text))
		return text;
	fault(reading, ref, "`%s` is no name of a user", shown(reading, text));
	return NULL;
}

/* The network that the address is in, where bits behind the prefix length are set; NULL if it is something else. */
static const char *network_of(const struct reading *reading, const struct value_format *format, const char *text)
{
	const char *slash = strchr(text, '/');
	struct range length;
	u128 address;
	char network[RANGE_TEXT_MAX];
	const struct value_format number = { .form = FORM_NUMBER, .bits = 8 };

	if (!slash || !value_parse(format, text, (size_t)(slash - text), &address) ||
	    !range_parse(&number, slash + 1, strlen(slash + 1), &length) || length.hi > format->bits)
		return NULL;
	address &= ~u128_max(format->bits - (unsigned)length.hi);
	range_print(format, (struct range){ address, address | u128_max(format->bits - (unsigned)length.hi) }, network);
	return arena_strndup(reading->arena, network, strlen(network));
}

static const char *read_range(const struct reading *reading, node_ref ref, const char *text)
{
	const enum field fields[] = { FIELD_IP_DST, FIELD_IPV6_DST };
	const char *network = NULL;
	char printed[RANGE_TEXT_MAX];
	struct range range;

	for (size_t i = 0; i < COUNT(fields); i++) {
		struct value_format format = value_format_of(fields[i]);

		if (!strchr(text, '-') && range_parse(&format, text, strlen(text), &range)) {
			range_print(&format, range, printed);
			return arena_strndup(reading->arena, printed, strlen(printed));
		}
		if (!network)
			network = network_of(reading, &format, text);
	}
	if (network)
		diag_hint(reading->diags,
			  fault(reading, ref, "`%s` has bits set behind its prefix length", shown(reading, text)),
			  "the network is `%s`", network);
	else
		fault(reading, ref, "`%s` is no address and no prefix like `169.254.169.254/32`", shown(reading, text));
	return NULL;
}

/* --- an endpoint ------------------------------------------------------------------------------------------------- */

typedef const char *read_value(const struct reading *reading, node_ref ref, const char *text);

static const struct key {
	const char *name;
	const char *what;
	read_value *read;
	size_t offset; /* in struct endpoint */
	bool may_be_empty;
} keys[] = {
	{ "iface", "interfaces", read_interface, offsetof(struct endpoint, interfaces), false },
	{ "range", "addresses and prefixes", read_range, offsetof(struct endpoint, ranges), false },
	{ "allow", "users", read_user, offsetof(struct endpoint, users), true },
};

static const struct key *key_find(const char *name)
{
	for (size_t i = 0; i < COUNT(keys); i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static void read_list(const struct reading *reading, const struct key *key, node_ref ref, struct endpoint_list *list)
{
	node_ref item;

	if (!document_is_sequence(reading->document, ref)) {
		fault(reading, ref, "`%s` is a list of %s", key->name, key->what);
		return;
	}
	for (size_t i = 0; (item = document_item(reading->document, ref, i)); i++) {
		const char *text = document_text(reading->document, item);

		if (!text)
			fault(reading, item, "`%s` is a list of %s, and of nothing else", key->name, key->what);
		else if ((text = key->read(reading, item, text)))
			VEC_PUSH(reading->arena, list) = text;
	}
	if (!document_item(reading->document, ref, 0) && !key->may_be_empty)
		fault(reading, ref, "`%s` names no %s", key->name, key->what);
}

static void unknown_key(const struct reading *reading, node_ref ref, const char *name, const char *const *known,
			size_t count)
{
	const char *nearest = nearest_word(name, strlen(name), known, count);
	struct diag *diag = fault(reading, ref, "unknown key `%s`", shown(reading, name));

	if (nearest)
		diag_hint(reading->diags, diag, "did you mean `%s`?", nearest);
}

/* A key's text; NULL after an error. */
static const char *key_text(const struct reading *reading, node_ref ref)
{
	const char *text = document_text(reading->document, ref);

	if (!text)
		fault(reading, ref, "a key is a word");
	return text;
}

static void read_key(const struct reading *reading, node_ref ref, node_ref value, node_ref *seen,
		     struct endpoint *endpoint)
{
	const char *names[COUNT(keys)], *text = key_text(reading, ref);
	const struct key *key = text ? key_find(text) : NULL;

	for (size_t i = 0; i < COUNT(keys); i++)
		names[i] = keys[i].name;
	if (text && !key)
		unknown_key(reading, ref, text, names, COUNT(names));
	if (!key)
		return;
	if (seen[key - keys])
		diag_relate(reading->diags, fault(reading, ref, "`%s` is given twice", shown(reading, text)),
			    document_span(reading->document, seen[key - keys], reading->source), "here first");
	else
		read_list(reading, key, value, (struct endpoint_list *)((char *)endpoint + key->offset));
	seen[key - keys] = ref;
}

static void read_endpoint(const struct reading *reading, node_ref name, node_ref ref, struct endpoint *endpoint)
{
	node_ref seen[COUNT(keys)] = { 0 }, key, value;

	endpoint->name = key_text(reading, name);
	if (!document_is_mapping(reading->document, ref)) {
		fault(reading, ref, "an endpoint has the keys `iface`, `range` and `allow`");
		return;
	}
	for (size_t i = 0; document_pair(reading->document, ref, i, &key, &value); i++)
		read_key(reading, key, value, seen, endpoint);
	for (size_t i = 0; i < COUNT(keys); i++)
		if (!seen[i])
			fault(reading, name, "`%s` is missing in this endpoint", keys[i].name);
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

static void read_endpoints(const struct reading *reading, node_ref list, struct endpoints *endpoints)
{
	node_ref item, name, value;

	if (!document_is_sequence(reading->document, list)) {
		fault(reading, list, "`endpoints` is a list: `- NAME:`");
		return;
	}
	for (size_t i = 0; (item = document_item(reading->document, list, i)); i++) {
		if (!document_is_mapping(reading->document, item) ||
		    !document_pair(reading->document, item, 0, &name, &value)) {
			fault(reading, item, "an endpoint is a name and what belongs to it: `NAME: { iface: ... }`");
			continue;
		}
		for (size_t j = 0; document_pair(reading->document, item, j, &name, &value); j++)
			read_endpoint(reading, name, value, &VEC_PUSH(reading->arena, endpoints));
	}
	if (!document_item(reading->document, list, 0))
		fault(reading, list, "there are no endpoints");
}

static void read_file(const struct reading *reading, struct endpoints *endpoints)
{
	static const char *const known[] = { "endpoints" };
	node_ref root = document_root(reading->document), key, value, seen = 0;

	if (!document_is_mapping(reading->document, root)) {
		fault(reading, root, "expected `endpoints:`");
		return;
	}
	for (size_t i = 0; document_pair(reading->document, root, i, &key, &value); i++) {
		const char *text = key_text(reading, key);

		if (!text)
			continue;
		if (strcmp(text, known[0]))
			unknown_key(reading, key, text, known, 1);
		else if (seen)
			fault(reading, key, "`endpoints` is given twice");
		else
			read_endpoints(reading, value, endpoints);
		seen = strcmp(text, known[0]) ? seen : key;
	}
	if (!seen)
		fault(reading, root, "`endpoints` is missing");
}

int endpoints_read(struct arena *arena, const struct source *source, const struct document *document,
		   struct diags *diags, struct endpoints *ret_endpoints)
{
	const struct reading reading = { arena, source, document, diags };
	struct endpoints endpoints = { 0 };
	unsigned before = diags->errors;

	if (document_check(document, source, diags))
		read_file(&reading, &endpoints);
	if (diags->errors > before)
		return -EINVAL;
	*ret_endpoints = endpoints;
	return 0;
}
