/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * weir systemd: filters for services. A drop-in makes the unit run `weir systemd enter` before anything else of it, which
 * puts a policy on the cgroup that the unit has just been given; if that fails, the unit does not start. So there is no
 * moment without the filter, at daemon-reload either, and nothing to be pinned before.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNIT_FOLDER "/etc/systemd/system"
#define DROP_IN "50-weir.conf"

enum { UNITS_MAX = 16, INSTANCE_MAX = 255 - sizeof "weir-filter@.service" + 1 };

/* How a kind of unit runs a command before all else, in its own cgroup. */
static const struct kind {
	const char *suffix;
	const char *section;
	const char *setting;
} kinds[] = {
	/* Before ExecStartPre= of the unit's own; an exit status of 255 is a failure, others would skip the start. */
	{ ".service", "Service", "ExecCondition" },
	/* Before the sockets are made, which belong to the cgroup from then on. */
	{ ".socket", "Socket", "ExecStartPre" },
};

static const struct kind *kind_of(const char *unit)
{
	const char *suffix = strrchr(unit, '.');

	for (size_t i = 0; suffix && i < sizeof kinds / sizeof kinds[0]; i++)
		if (!strcmp(kinds[i].suffix, suffix))
			return &kinds[i];
	return NULL;
}

/* --- the policy -------------------------------------------------------------------------------------------------- */

/* An expression that may hold comments must end before what stands behind it. */
static void print_rule(FILE *stream, const char *direction, const char *expression)
{
	const char *own_line = strpbrk(expression, "#\n") ? "\n" : "";

	fprintf(stream, "    accept if %s and (%s%s)\n", direction, expression, own_line);
}

static void print_hook(FILE *stream, const char *how, const char *cgroup, const char *direction)
{
	fprintf(stream, "    %s cgroup \"", how);
	for (; *cgroup; cgroup++)
		fprintf(stream, *cgroup == '"' || *cgroup == '\\' ? "\\%c" : "%c", *cgroup);
	fprintf(stream, "\" %s\n", direction);
}

static const char *how_at(const char *expression, bool track)
{
	return expression ? "on" : track ? "track on" : NULL;
}

/* One policy for one unit, as text. `track`: watch the direction that is not filtered. */
static void print_policy(FILE *stream, const struct settings *set, const char *unit, const char *cgroup, bool track)
{
	char *name = unit_policy_name(unit);

	fprintf(stream, "policy %s {\n", name);
	if (how_at(set->ingress, track))
		print_hook(stream, how_at(set->ingress, track), cgroup, "ingress");
	if (how_at(set->egress, track))
		print_hook(stream, how_at(set->egress, track), cgroup, "egress");
	fputs("    default drop\n\n", stream);
	if (set->ingress)
		print_rule(stream, "ingress", set->ingress);
	if (set->egress)
		print_rule(stream, "egress", set->egress);
	fputs("}\n", stream);
	free(name);
}

static int compile_once(struct cli *cli, const struct unit *units, size_t count, bool track,
			struct weir_program **ret_program)
{
	char *origin = text_print("unit %s", units[0].name), *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);
	int status = WEIR_SYSTEM;

	for (size_t i = 0; stream && i < count; i++) {
		char *cgroup = text_print("%s%s", units[i].cgroup[0] ? "" : "/system.slice/",
					  units[i].cgroup[0] ? units[i].cgroup : units[i].name);

		print_policy(stream, &cli->set, units[i].name, cgroup, track);
		free(cgroup);
	}
	if (stream && !fclose(stream))
		status = weir_compile_text(cli->weir, origin, text, length, ret_program);
	free(text);
	free(origin);
	return status;
}

/* A policy a unit. Connections can only be known where both directions are seen: then the other one is watched. */
static int compile_units(struct cli *cli, const struct unit *units, size_t count, struct weir_program **ret_program)
{
	bool one_direction = !cli->set.ingress || !cli->set.egress;
	int status = compile_once(cli, units, count, false, ret_program);

	if (status && one_direction)
		status = compile_once(cli, units, count, true, ret_program);
	output_diagnostics(cli);
	return status;
}

/* Puts the policies in force, in one step. */
static int apply_units(struct cli *cli, const struct unit *units, size_t count)
{
	struct weir_program *program;
	int status = compile_units(cli, units, count, &program);

	if (status)
		return status;
	status = weir_apply(cli->weir, program, NULL);
	output_diagnostics(cli);
	weir_program_free(program);
	return status;
}

static int need_expressions(struct cli *cli)
{
	if (cli->set.ingress || cli->set.egress)
		return 0;
	return usage_error(cli->command, "`--ingress EXPR` or `--egress EXPR` is missing");
}

/* --- protect ----------------------------------------------------------------------------------------------------- */

/* A unit that is to be protected, or no more, and the drop-in that does it. */
struct drop_in {
	struct unit unit;
	const struct kind *kind;
	char *folder, *path;
	char *text;   /* what it is to hold; NULL: nothing */
	char *former; /* what it held; NULL: it was not there */
};

struct protection {
	struct drop_in items[UNITS_MAX];
	size_t count;
};

static void protection_free(struct protection *protection)
{
	for (size_t i = 0; i < protection->count; i++) {
		struct drop_in *item = &protection->items[i];

		unit_free(&item->unit);
		free(item->folder);
		free(item->path);
		free(item->text);
		free(item->former);
	}
}

static int add_unit(struct cli *cli, struct protection *protection, const char *name)
{
	struct drop_in *item = &protection->items[protection->count];
	size_t length;
	int status;

	if (protection->count == UNITS_MAX) {
		output_failure(cli, "more than %d sockets activate the service", UNITS_MAX - 1);
		return WEIR_INPUT;
	}
	status = unit_query(cli, name, &item->unit);
	if (status)
		return status;
	item->kind = kind_of(name);
	item->folder = text_print(UNIT_FOLDER "/%s.d", name);
	item->path = text_print("%s/" DROP_IN, item->folder);
	if (input_read(item->path, &item->former, &length))
		item->former = NULL;
	protection->count++;
	return WEIR_OK;
}

/* Those of `names`, with blanks between them, that are sockets; timers and paths pass nothing on. */
static int add_sockets(struct cli *cli, struct protection *protection, const char *names)
{
	char *copy = text_print("%s", names), *rest = NULL;
	int status = WEIR_OK;

	for (char *name = strtok_r(copy, " ", &rest); name && !status; name = strtok_r(NULL, " ", &rest))
		if (!strcmp(strrchr(name, '.'), ".socket"))
			status = add_unit(cli, protection, name);
	free(copy);
	return status;
}

/* Of the other kinds systemd.unit(5) knows; others are no suffixes: `my.app` is my.app.service. */
static const struct other_kind {
	const char *suffix;
	const char *instead;
} other_kinds[] = {
	{ ".slice", "a policy `on cgroup` filters all that is in a slice" },
	{ ".scope", "a policy `on cgroup` filters a scope" },
	{ ".timer", "it has no process: protect the service that it starts" },
	{ ".path", "it has no process: protect the service that it starts" },
	{ ".target", "it has no process: protect the services that it wants" },
	{ ".mount", "its sockets are the kernel's: a policy `on tc` filters them" },
	{ ".automount", "it has no sockets" },
	{ ".swap", "it has no sockets" },
	{ ".device", "it has no process: a policy `on tc` or `on xdp` filters a network device" },
};

static const struct other_kind *other_kind_of(const char *unit)
{
	const char *suffix = strrchr(unit, '.');

	for (size_t i = 0; suffix && i < sizeof other_kinds / sizeof other_kinds[0]; i++)
		if (!strcmp(other_kinds[i].suffix, suffix))
			return &other_kinds[i];
	return NULL;
}

/* The service and the sockets that activate it: filters of the one do not cover what the others pass on. */
static int add_units(struct cli *cli, struct protection *protection, const char *operand)
{
	const struct other_kind *other = other_kind_of(operand);
	char *name = text_print("%s%s", operand, other || kind_of(operand) ? "" : ".service");
	int status = WEIR_INPUT;

	if (other)
		output_failure(cli, "`%s` is neither a service nor a socket; %s", name, other->instead);
	else if (strchr(name, '/'))
		output_failure(cli, "`%s` is a path, not a unit's name", operand);
	else
		status = add_unit(cli, protection, name);
	free(name);
	return status ? status : add_sockets(cli, protection, protection->items[0].unit.triggered_by);
}

static char *own_path(void)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);

	return text_print("%.*s", length > 0 ? (int)length : 4, length > 0 ? path : "weir");
}

static char *drop_in_text(const struct settings *set, const struct kind *kind)
{
	char *weir = own_path(), *ingress = unit_quote(set->ingress ? set->ingress : "");
	char *egress = unit_quote(set->egress ? set->egress : "");
	char *text = text_print("# Written by `weir systemd protect`; `weir systemd unprotect` removes it.\n"
				"[%s]\n"
				"%s=+%s systemd enter %%n%s%s%s%s\n",
				kind->section, kind->setting, weir, set->ingress ? " --ingress " : "",
				set->ingress ? ingress : "", set->egress ? " --egress " : "",
				set->egress ? egress : "");

	free(weir);
	free(ingress);
	free(egress);
	return text;
}

/* `text` NULL: the drop-in goes. 0 or -errno. */
static int put_drop_in(const struct drop_in *item, const char *text)
{
	if (text) {
		if (mkdir(item->folder, 0755) && errno != EEXIST)
			return -errno;
		return file_replace(item->path, text, strlen(text));
	}
	if (unlink(item->path) && errno != ENOENT)
		return -errno;
	rmdir(item->folder); /* fails if there is something else in it */
	return 0;
}

/* All drop-ins as they shall be, or on failure as they were. */
static int put_drop_ins(struct cli *cli, const struct protection *protection)
{
	for (size_t i = 0; i < protection->count; i++) {
		int error = put_drop_in(&protection->items[i], protection->items[i].text);

		if (!error)
			continue;
		output_failure(cli, "cannot change %s: %s", protection->items[i].path, strerror(-error));
		while (i--)
			put_drop_in(&protection->items[i], protection->items[i].former);
		return WEIR_SYSTEM;
	}
	return WEIR_OK;
}

static void take_back(const struct protection *protection)
{
	for (size_t i = 0; i < protection->count; i++)
		put_drop_in(&protection->items[i], protection->items[i].former);
}

static int daemon_reload(struct cli *cli)
{
	char *arguments[] = { "systemctl", "daemon-reload", NULL };

	return systemctl(cli, arguments, NULL);
}

/* The units that run, or all of them; how many. */
static size_t list_units(const struct protection *protection, bool running, struct unit *units)
{
	size_t count = 0;

	for (size_t i = 0; i < protection->count; i++)
		if (!running || protection->items[i].unit.cgroup[0])
			units[count++] = protection->items[i].unit;
	return count;
}

static int check_units(struct cli *cli, const struct protection *protection)
{
	struct unit units[UNITS_MAX];
	struct weir_program *program;
	int status = compile_units(cli, units, list_units(protection, false, units), &program);

	if (!status)
		weir_program_free(program);
	return status;
}

/* Drop-ins, then the running units, then systemd; nothing of it if one of the first two fails. */
static int protect_units(struct cli *cli, const struct protection *protection)
{
	struct unit running[UNITS_MAX];
	size_t count = list_units(protection, true, running);
	int status = put_drop_ins(cli, protection);

	if (status)
		return status;
	if (count)
		status = apply_units(cli, running, count);
	if (status)
		take_back(protection);
	return status ? status : daemon_reload(cli);
}

/* Before they are written. */
static void print_drop_ins(const struct protection *protection)
{
	for (size_t i = 0; i < protection->count; i++) {
		const struct drop_in *item = &protection->items[i];

		printf("%s%s:\n%s", i ? "\n" : "", item->path, item->text);
	}
	printf("\n");
	fflush(stdout);
}

static void print_protection(const struct cli *cli, const struct protection *protection)
{
	for (size_t i = 0; i < protection->count && !cli->set.dry_run; i++) {
		const struct unit *unit = &protection->items[i].unit;

		printf("%s: filtered %s\n", unit->name,
		       unit->cgroup[0] ? "from now on, and whenever it starts" : "when it starts");
	}
	if (cli->set.dry_run)
		printf("dry run: nothing was changed\n");
}

static json_t *json_protection(const struct cli *cli, const struct protection *protection)
{
	json_t *units = json_array();

	for (size_t i = 0; i < protection->count; i++) {
		const struct drop_in *item = &protection->items[i];
		char *policy = unit_policy_name(item->unit.name);

		json_array_append_new(units, json_pack("{s:o, s:o, s:o, s:b, s:o}", "unit", json_text(item->unit.name),
						       "policy", json_text(policy), "path", json_text(item->path),
						       "running", item->unit.cgroup[0] != '\0', "text",
						       item->text ? json_text(item->text) : json_null()));
		free(policy);
	}
	return json_pack("{s:o, s:b}", "units", units, "dry_run", cli->set.dry_run);
}

static int protect(struct cli *cli)
{
	struct protection protection = { .count = 0 };
	json_t *object = NULL;
	int status = need_expressions(cli);

	if (status)
		return status;
	status = add_units(cli, &protection, cli->operands[1]);
	if (!status)
		status = check_units(cli, &protection);
	for (size_t i = 0; i < protection.count; i++)
		protection.items[i].text = drop_in_text(&cli->set, protection.items[i].kind);
	if (!status && !cli->set.json)
		print_drop_ins(&protection);
	if (!status && !cli->set.dry_run)
		status = protect_units(cli, &protection);
	if (!status && cli->set.json)
		object = json_protection(cli, &protection);
	else if (!status)
		print_protection(cli, &protection);
	protection_free(&protection);
	return output_finish(cli, status, object);
}

/* --- unprotect --------------------------------------------------------------------------------------------------- */

static bool in_force(struct cli *cli, const char *policy)
{
	struct weir_views *views;
	bool found = false;

	if (weir_list(cli->weir, &views))
		return false;
	for (size_t i = 0; i < weir_view_count(views) && !found; i++)
		found = !strcmp(weir_view(views, i)->name, policy);
	weir_views_free(views);
	return found;
}

/* The policies of the units that have a drop-in, in one step. */
static int delete_policies(struct cli *cli, const struct protection *protection)
{
	char *names[UNITS_MAX];
	size_t count = 0;
	int status = WEIR_OK;

	for (size_t i = 0; i < protection->count; i++) {
		names[count] = unit_policy_name(protection->items[i].unit.name);
		if (protection->items[i].former && in_force(cli, names[count]))
			count++;
		else
			free(names[count]);
	}
	if (count)
		status = weir_delete(cli->weir, (const char *const *)names, count);
	output_diagnostics(cli);
	while (count)
		free(names[--count]);
	return status;
}

static int unprotect_units(struct cli *cli, const struct protection *protection)
{
	bool found = false;
	int status;

	for (size_t i = 0; i < protection->count; i++)
		found |= protection->items[i].former != NULL;
	if (!found) {
		output_failure(cli, "%s is not protected: there is no %s", protection->items[0].unit.name,
			       protection->items[0].path);
		return WEIR_INPUT;
	}
	status = put_drop_ins(cli, protection);
	if (!status)
		status = daemon_reload(cli);
	return status ? status : delete_policies(cli, protection);
}

static int unprotect(struct cli *cli)
{
	struct protection protection = { .count = 0 };
	json_t *object = NULL;
	int status = add_units(cli, &protection, cli->operands[1]);

	if (!status)
		status = unprotect_units(cli, &protection);
	if (!status && cli->set.json)
		object = json_protection(cli, &protection);
	for (size_t i = 0; !status && !cli->set.json && i < protection.count; i++)
		if (protection.items[i].former)
			printf("%s: filtered no more\n", protection.items[i].unit.name);
	protection_free(&protection);
	return output_finish(cli, status, object);
}

/* --- what drop-ins run ------------------------------------------------------------------------------------------- */

enum { EXIT_CONDITION_FAILED = 255 }; /* of ExecCondition=: others up to 254 mean that the unit is skipped, silently */

static int enter(struct cli *cli)
{
	char *cgroup = unit_own_cgroup();
	int status = need_expressions(cli);

	if (!status && (!cgroup || !strcmp(cgroup, "/"))) {
		output_failure(cli, "this process is in no cgroup of a unit; systemd runs the command, from a unit's "
				    "ExecCondition= or ExecStartPre=");
		status = WEIR_SYSTEM;
	}
	if (!status)
		status = apply_units(cli, &(struct unit){ .name = cli->operands[1], .cgroup = cgroup }, 1);
	free(cgroup);
	if (status != EXIT_USAGE)
		status = output_finish(cli, status, NULL);
	return status ? EXIT_CONDITION_FAILED : EXIT_DONE;
}

static int escape(struct cli *cli)
{
	struct weir_program *program;
	char *name;
	int status = weir_compile_expression(cli->weir, cli->operands[1], &program);

	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	weir_program_free(program);
	name = unit_escape(cli->operands[1]);
	if (strlen(name) > INSTANCE_MAX) {
		output_failure(cli, "the expression is too long for a unit's name (%zu characters, %d at most)",
			       strlen(name), INSTANCE_MAX);
		status = WEIR_INPUT;
	} else if (!cli->set.json) {
		printf("%s\n", name);
	}
	return output_finish(cli, status, cli->set.json && !status ? json_pack("{s:s}", "instance", name) : NULL);
}

static const struct operation {
	const char *name;
	int (*run)(struct cli *cli);
} operations[] = {
	{ "protect", protect },
	{ "unprotect", unprotect },
	{ "enter", enter },
	{ "escape", escape },
};

enum { OPERATION_COUNT = sizeof operations / sizeof operations[0] };

static int systemd(struct cli *cli)
{
	const char *names[OPERATION_COUNT];

	for (size_t i = 0; i < OPERATION_COUNT; i++) {
		names[i] = operations[i].name;
		if (!strcmp(names[i], cli->operands[0]))
			return operations[i].run(cli);
	}
	return operation_unknown(cli, names, OPERATION_COUNT);
}

static const struct option systemd_options[] = {
	TEXT("ingress", 0, "EXPR", ingress, "what the unit may receive; all else is dropped"),
	TEXT("egress", 0, "EXPR", egress, "what the unit may send; all else is dropped"),
	FLAG("dry-run", 0, dry_run, "only show the drop-ins"),
};

const struct command command_systemd = {
	.name = "systemd",
	.synopsis = "protect|unprotect|enter UNIT | escape EXPR",
	.summary = "Filter what a systemd service receives and sends",
	.help = "`protect` writes drop-ins for the service and the sockets that activate it, and filters them\n"
		"at once if they run. Units run `enter` by themselves. `escape` prints the instance name of\n"
		"weir-filter@.service for an expression.",
	OPTIONS(systemd_options),
	.least = 2,
	.most = 2,
	.run = systemd,
};
