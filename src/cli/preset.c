/* SPDX-License-Identifier: GPL-2.0-only */
/* weir preset: policies for common needs, as text to read and edit. Nothing is loaded. */
#include "cli.h"

#include <string.h>

/* Where clouds hand out credentials and user data; see `man weir`. */
struct provider {
	const char *name;
	const char *addresses[4];
	const char *name_servers; /* its resolver (and time server) has an address of these, too: "" or NULL */
};

static const struct provider providers[] = {
	{ "aws", { "169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23, fd00:ec2::23" }, NULL },
	{ "azure", { "169.254.169.254", "168.63.129.16" }, "168.63.129.16" },
	{ "gcp", { "169.254.169.254", "fd20:ce::254" }, "169.254.169.254" },
	{ "oracle", { "169.254.169.254", "fd00:c1::a9fe:a9fe" }, "169.254.169.254" },
	{ "alibaba", { "100.100.100.200" }, NULL },
	{ "openstack", { "169.254.169.254", "fe80::a9fe:a9fe" }, NULL },
	{ "digitalocean", { "169.254.169.254" }, NULL },
	{ "hetzner", { "169.254.169.254" }, NULL },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_chosen(const char *wanted, const struct provider *provider)
{
	return !wanted || !strcmp(wanted, "all") || !strcmp(wanted, provider->name);
}

static int check_provider(struct cli *cli)
{
	const char *wanted = cli->set.provider;

	if (!wanted || !strcmp(wanted, "all"))
		return WEIR_OK;
	for (size_t i = 0; i < COUNT(providers); i++)
		if (!strcmp(wanted, providers[i].name))
			return WEIR_OK;
	return usage_error(cli->command, "`--provider` is all, aws, azure, gcp, oracle, alibaba, openstack, digitalocean or "
			   "hetzner, not `%s`", wanted);
}

/* --- who may ask ------------------------------------------------------------------------------------------------- */

static const struct allow_kind {
	const char *name;
	const char *condition; /* that has a list behind it */
	bool members; /* of a group */
	bool path;
} allow_kinds[] = {
	{ "user", "user in", false, false },
	{ "members", "user in", true, false },
	{ "group", "group in", false, false },
	{ "program", "program in", false, true },
	{ "tree", "program in tree of", false, true },
	{ "cgroup", "cgroup in", false, true },
};

/* The name behind `KIND=` if it is one; NULL if not. */
static const char *allowed_name(const char *text, const char *kind)
{
	size_t length = strlen(kind);

	return !strncmp(text, kind, length) && text[length] == '=' ? text + length + 1 : NULL;
}

static int check_allow(struct cli *cli, const char *text)
{
	const char *name = NULL;
	bool path = false;

	for (size_t i = 0; i < COUNT(allow_kinds) && !name; i++) {
		name = allowed_name(text, allow_kinds[i].name);
		path = allow_kinds[i].path;
	}
	if (!name || !*name)
		return usage_error(cli->command, "`--allow` takes user=NAME, members=GROUP, group=NAME, program=PATH, tree=PATH "
				   "or cgroup=PATH, not `%s`", text);
	if (path && *name != '/')
		return usage_error(cli->command, "`--allow %.*s` takes a whole path, from / on, not `%s`", (int)(name - text - 1),
				   text, name);
	if (strpbrk(name, "\"\\\n"))
		return usage_error(cli->command, "`%s` cannot stand in a policy", name);
	return WEIR_OK;
}

/* One rule for all of a kind. */
static void put_allowed(FILE *out, const struct texts *allow, const struct allow_kind *kind)
{
	size_t count = 0;

	for (size_t i = 0; i < allow->count; i++) {
		const char *name = allowed_name(allow->items[i], kind->name);

		if (!name)
			continue;
		if (!count++)
			fprintf(out, "    accept  if dst in metadata and %s { ", kind->condition);
		else
			fprintf(out, ", ");
		if (kind->members)
			fprintf(out, "members(\"%s\")", name);
		else
			guard_put_name(out, name);
	}
	if (count)
		fprintf(out, " }\n");
}

/* --- the policy -------------------------------------------------------------------------------------------------- */

static bool seen_before(const struct cli *cli, size_t provider, size_t address)
{
	for (size_t i = 0; i <= provider; i++)
		for (size_t j = 0; j < COUNT(providers[i].addresses) && providers[i].addresses[j]; j++) {
			if (i == provider && j == address)
				return false;
			if (is_chosen(cli->set.provider, &providers[i]) &&
			    !strcmp(providers[i].addresses[j], providers[provider].addresses[address]))
				return true;
		}
	return false;
}

static void put_addresses(FILE *out, const struct cli *cli)
{
	fprintf(out, "define metadata = {\n");
	for (size_t i = 0; i < COUNT(providers); i++)
		for (size_t j = 0; j < COUNT(providers[i].addresses) && providers[i].addresses[j]; j++)
			if (is_chosen(cli->set.provider, &providers[i]) && !seen_before(cli, i, j))
				fprintf(out, "    %s, # %s\n", providers[i].addresses[j], providers[i].name);
	fprintf(out, "}\n\n");
}

static void put_name_servers(FILE *out, const struct cli *cli)
{
	bool azure = false, others = false;

	for (size_t i = 0; i < COUNT(providers); i++) {
		if (!providers[i].name_servers || !is_chosen(cli->set.provider, &providers[i]))
			continue;
		azure = azure || !strcmp(providers[i].name_servers, "168.63.129.16");
		others = others || strcmp(providers[i].name_servers, "168.63.129.16") != 0;
	}
	if (!azure && !others)
		return;
	fprintf(out, "    # the cloud's name and time servers have the same address\n"
		     "    accept  if dst in { %s%s%s } and dst_port in { 53, 123 }\n", others ? "169.254.169.254" : "",
		azure && others ? ", " : "", azure ? "168.63.129.16" : "");
}

static void put_policy(FILE *out, const struct cli *cli, const void *unused)
{
	(void)unused;
	fprintf(out, "# Who may ask the cloud's metadata service, which hands out credentials to whoever asks from this\n"
		     "# machine, containers included. Written by `weir preset metadata`; edit it as you like, then:\n");
	guard_put_advice(out, cli, "metadata");
	put_addresses(out, cli);
	guard_put_begin(out, cli, "metadata");
	fprintf(out, "    on connect \"/\"            # connect() and sendto() fail at once, with EPERM\n"
		     "    on cgroup \"/\" egress      # and nothing gets around it, raw sockets neither\n"
		     "    default accept\n\n");
	for (size_t i = 0; i < COUNT(allow_kinds); i++)
		put_allowed(out, &cli->set.allow, &allow_kinds[i]);
	put_name_servers(out, cli);
	guard_put_refusal(out, "metadata", "dst in metadata");
	fprintf(out, "}\n");
}

static int preset(struct cli *cli)
{
	int status;

	if (strcmp(cli->operands[0], "metadata"))
		return usage_error(cli->command, "no preset `%s`: there is `metadata`", cli->operands[0]);
	if (cli->set.json)
		return usage_error(cli->command, "a policy is no JSON");
	status = check_provider(cli);
	for (size_t i = 0; i < cli->set.allow.count && !status; i++)
		status = check_allow(cli, cli->set.allow.items[i]);
	return status ? status : output_finish(cli, guard_write(cli, put_policy, NULL), NULL);
}

static const struct option preset_options[] = {
	TEXTS("allow", 0, "KIND=NAME", allow, "user=NAME, members=GROUP, group=NAME, program=PATH, tree=PATH (a program and all that it starts) or cgroup=PATH: who may ask; may be given again"),
	TEXT("provider", 0, "NAME", provider, "all (the default), aws, azure, gcp, oracle, alibaba, openstack, digitalocean, hetzner"),
	FLAG("observe", 0, observe, "log and count what would be refused, refuse nothing"),
	TEXT("output", 'o', "FILE", output, "write to a new file, not to standard output"),
};

const struct command command_preset = {
	.name = "preset",
	.synopsis = "metadata",
	.summary = "Write a ready policy, to read, edit and apply",
	.help = "metadata: only those named by --allow may talk to the cloud's metadata service; everybody else is\n"
		"refused at once and logged.",
	OPTIONS(preset_options),
	.least = 1,
	.most = 1,
	.run = preset,
};
