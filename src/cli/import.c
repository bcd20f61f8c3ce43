/* SPDX-License-Identifier: GPL-2.0-only */
/* weir import: the metadata service study's configuration as a policy to read and edit. Nothing is loaded. */
#include "cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define POLICY "endpoints"
enum { NAME_MAX_LENGTH = 40 };

struct importing {
	const struct weir_import *import;
	char (*names)[NAME_MAX_LENGTH + 16]; /* what the policy calls each endpoint */
	size_t count;
};

static const struct weir_endpoint *endpoint_at(const struct importing *importing, size_t index)
{
	return weir_import_endpoint(importing->import, index);
}

static bool names(const struct weir_names *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (!strcmp(list->items[i], name))
			return true;
	return false;
}

/* --- names ------------------------------------------------------------------------------------------------------- */

static bool is_taken(const struct importing *importing, size_t before, const char *name)
{
	for (size_t i = 0; i < before; i++)
		if (!strcmp(importing->names[i], name))
			return true;
	return false;
}

/* A word of the language: what cannot be in one becomes `_`; the second of a name gets a number. */
static void name_endpoint(struct importing *importing, size_t index)
{
	const char *from = endpoint_at(importing, index)->name;
	char word[NAME_MAX_LENGTH + 1] = "endpoint", *name = importing->names[index];
	size_t length = strnlen(from, NAME_MAX_LENGTH);

	if (isalpha((unsigned char)from[0])) {
		for (size_t i = 0; i < length; i++)
			word[i] = (char)(isalnum((unsigned char)from[i]) ? from[i] : '_');
		word[length] = '\0';
	}
	strcpy(name, word);
	for (unsigned number = 2; is_taken(importing, index, name); number++)
		sprintf(name, "%s_%u", word, number);
}

/* --- the policy -------------------------------------------------------------------------------------------------- */

static void put_list(FILE *out, const struct weir_names *list, void (*put)(FILE *out, const char *name))
{
	fprintf(out, "{ ");
	for (size_t i = 0; i < list->count; i++) {
		fprintf(out, "%s", i ? ", " : "");
		put(out, list->items[i]);
	}
	fprintf(out, " }");
}

static void put_plain(FILE *out, const char *text)
{
	fprintf(out, "%s", text);
}

static void put_quoted(FILE *out, const char *text)
{
	fprintf(out, "\"%s\"", text);
}

static bool seen_before(const struct importing *importing, size_t index, size_t interface)
{
	const struct weir_names *list = &endpoint_at(importing, index)->interfaces;
	const char *name = list->items[interface];

	for (size_t i = 0; i < index; i++)
		if (names(&endpoint_at(importing, i)->interfaces, name))
			return true;
	for (size_t i = 0; i < interface; i++)
		if (!strcmp(list->items[i], name))
			return true;
	return false;
}

static void put_hooks(FILE *out, const struct importing *importing)
{
	for (size_t i = 0; i < importing->count; i++) {
		const struct weir_names *list = &endpoint_at(importing, i)->interfaces;

		for (size_t j = 0; j < list->count; j++)
			if (!seen_before(importing, i, j))
				fprintf(out, "    on tc \"%s\" egress\n", list->items[j]);
	}
}

/* The endpoint is not at all interfaces of the policy. */
static bool is_elsewhere(const struct importing *importing, const struct weir_endpoint *endpoint)
{
	for (size_t i = 0; i < importing->count; i++)
		for (size_t j = 0; j < endpoint_at(importing, i)->interfaces.count; j++)
			if (!names(&endpoint->interfaces, endpoint_at(importing, i)->interfaces.items[j]))
				return true;
	return false;
}

static char *condition(const struct importing *importing, size_t index)
{
	const struct weir_endpoint *endpoint = endpoint_at(importing, index);
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return text_print("%s", "");
	fprintf(out, "dst in %s_addresses", importing->names[index]);
	if (is_elsewhere(importing, endpoint)) {
		fprintf(out, " and iface in ");
		put_list(out, &endpoint->interfaces, put_quoted);
	}
	fclose(out);
	return text;
}

static void put_allowed(FILE *out, const struct importing *importing, size_t index)
{
	const struct weir_endpoint *endpoint = endpoint_at(importing, index);
	char *cond;

	if (!endpoint->users.count)
		return;
	cond = condition(importing, index);
	fprintf(out, "    accept  if %s and user in ", cond);
	put_list(out, &endpoint->users, guard_put_name);
	fprintf(out, "\n");
	free(cond);
}

/* All that are accepted come first: the ranges of endpoints may overlap. */
static void put_rules(FILE *out, const struct cli *cli, const struct importing *importing)
{
	if (cli->set.block_others)
		fprintf(out, "    accept  if neighbour # else no IPv6 address is reached\n");
	for (size_t i = 0; i < importing->count; i++)
		put_allowed(out, importing, i);
	for (size_t i = 0; i < importing->count; i++) {
		char *cond = condition(importing, i);

		guard_put_refusal(out, importing->names[i], cond);
		free(cond);
	}
	if (cli->set.block_others)
		guard_put_refusal(out, "others", NULL);
}

static void put_policy(FILE *out, const struct cli *cli, const void *data)
{
	const struct importing *importing = data;

	fprintf(out, "# Which users may reach which addresses by which interfaces. Written by `weir import`; edit it as you\n"
		     "# like, then:\n");
	guard_put_advice(out, cli, POLICY);
	for (size_t i = 0; i < importing->count; i++) {
		fprintf(out, "define %s_addresses = ", importing->names[i]);
		put_list(out, &endpoint_at(importing, i)->ranges, put_plain);
		fprintf(out, "\n");
	}
	fprintf(out, "\n");
	guard_put_begin(out, cli, POLICY);
	put_hooks(out, importing);
	fprintf(out, cli->set.block_others ? "    # all else that leaves there is refused, too: name servers are not asked, sshd does not answer\n"
					     "    default drop\n"
					     "    non_ip accept\n\n" :
					     "    default accept\n\n");
	put_rules(out, cli, importing);
	fprintf(out, "}\n");
}

static int import(struct cli *cli)
{
	struct importing importing = { 0 };
	struct weir_import *file;
	int status;

	if (cli->set.json)
		return usage_error(cli->command, "a policy is no JSON");
	status = weir_import_file(cli->weir, cli->operands[0], &file);
	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	importing.import = file;
	importing.count = weir_import_count(file);
	importing.names = memory_grow(NULL, importing.count, sizeof *importing.names);
	for (size_t i = 0; i < importing.count; i++)
		name_endpoint(&importing, i);
	status = guard_write(cli, put_policy, &importing);
	free(importing.names);
	weir_import_free(file);
	return output_finish(cli, status, NULL);
}

static const struct option import_options[] = {
	FLAG("block-others", 0, block_others, "refuse everything else that leaves by these interfaces, too"),
	FLAG("observe", 0, observe, "log and count what would be refused, refuse nothing"),
	TEXT("output", 'o', "FILE", output, "write to a new file, not to standard output"),
};

const struct command command_import = {
	.name = "import",
	.synopsis = "FILE",
	.summary = "Write a policy from another program's configuration, to read, edit and apply",
	.help = "FILE is the YAML of the metadata service study: `endpoints`, each with `iface`, `range` and `allow`. Only those\n"
		"users may send to these addresses by these interfaces. `-` is standard input.",
	OPTIONS(import_options),
	.least = 1,
	.most = 1,
	.run = import,
};
