/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * weir apply: puts a file's policies in force. With --confirm, a watchdog that owns the former state is started first
 * and told afterwards, so that there is no moment in which new rules are in force without it.
 */
#include "cli.h"

#include <errno.h>
#include <string.h>

/* A file, for an expression has no hook. */
static int choose_file(struct cli *cli, const char **ret_path)
{
	enum input_kind kind;
	int status = input_choose(cli, &kind, ret_path);

	if (status)
		return status;
	if (kind == INPUT_EXPRESSION)
		return usage_error(cli->command,
				   "`%s` is an expression, which has no hook to be attached to; a file's name has a "
				   "`/` or ends in `.weir` (`weir load` pins an expression)", *ret_path);
	if (cli->set.confirm && cli->set.dry_run)
		return usage_error(cli->command, "`--confirm` and `--dry-run` at once");
	return 0;
}

/* An unconfirmed apply stands in the way; with --force it is rolled back, so that its base stays the base. */
static int settle_pending(struct cli *cli)
{
	struct pending_reply reply;
	int error = pending_ask(PENDING_STATUS, &reply);

	/* Who may not ask may not apply either, and the library says that better. */
	if (error || !pending_open(reply.state))
		return WEIR_OK;
	if (!cli->set.force) {
		output_failure(cli, "%s was applied and waits for `weir confirm` (%u seconds left); confirm it, let "
				    "it be rolled back, or roll it back now with `--force`",
			       reply.file, reply.seconds_left);
		return WEIR_SYSTEM;
	}
	error = pending_ask(PENDING_ROLLBACK, &reply);
	if (error || (reply.state != PENDING_ROLLED_BACK && reply.state != PENDING_NONE)) {
		output_failure(cli, "the unconfirmed apply cannot be rolled back%s%s", error ? ": " : "",
			       error ? strerror(-error) : "");
		return WEIR_SYSTEM;
	}
	if (!cli->set.json)
		fprintf(stderr, "weir: the unconfirmed %s was rolled back\n", reply.file);
	return WEIR_OK;
}

static struct weir_apply_options options_of(const struct cli *cli)
{
	return (struct weir_apply_options){
		.size = sizeof(struct weir_apply_options),
		.dry_run = cli->set.dry_run,
		.force = cli->set.force || cli->set.confirm,
		.prune = cli->set.prune,
		.reset_sets = cli->set.reset_sets,
		.no_verify = cli->set.no_verify,
	};
}

static int apply_program(struct cli *cli, struct weir_program *program)
{
	struct weir_apply_options options = options_of(cli);
	int status = weir_apply(cli->weir, program, &options);

	output_diagnostics(cli);
	return status;
}

static int roll_back_here(struct cli *cli, struct weir_snapshot *snapshot)
{
	int status = weir_snapshot_restore(cli->weir, snapshot);

	output_diagnostics(cli);
	output_failure(cli, status ? "the process that would roll back is gone, and rolling back now failed: the new "
				     "policies are in force" :
				     "the process that would roll back is gone; the former state is back");
	return WEIR_SYSTEM;
}

static int apply_guarded(struct cli *cli, struct weir_program *program, struct weir_snapshot *snapshot,
			 const char *file)
{
	struct watchdog watchdog;
	int status, error = watchdog_start(cli->weir, snapshot, file, (unsigned)cli->set.confirm, &watchdog);

	if (error == -EBUSY) {
		output_failure(cli, "another apply waits for `weir confirm`");
		return WEIR_SYSTEM;
	}
	if (error) {
		output_failure(cli, "cannot start the process that would roll back: %s", strerror(-error));
		return WEIR_SYSTEM;
	}
	status = apply_program(cli, program);
	if (status)
		watchdog_cancel(&watchdog);
	else if (watchdog_applied(&watchdog))
		status = roll_back_here(cli, snapshot);
	return status;
}

static int apply_with_confirm(struct cli *cli, struct weir_program *program, const char *file)
{
	struct weir_snapshot *snapshot;
	int status = weir_snapshot_take(cli->weir, program, &snapshot);

	output_diagnostics(cli);
	if (status)
		return status;
	status = apply_guarded(cli, program, snapshot, file);
	weir_snapshot_free(snapshot);
	return status;
}

static json_t *json_applied(const struct cli *cli, const struct weir_program *program, const char *file)
{
	json_t *object = json_object(), *policies = json_array();

	for (size_t i = 0; i < weir_policy_count(program); i++) {
		const struct weir_policy *policy = weir_policy(program, i);
		json_t *entry = json_object();

		json_object_set_new(entry, "name", json_text(policy->name));
		json_object_set_new(entry, "rules", json_number(policy->rules));
		json_object_set_new(entry, "hooks", json_hooks(policy->hooks, policy->hook_count));
		json_array_append_new(policies, entry);
	}
	json_object_set_new(object, "file", json_text(file));
	json_object_set_new(object, "dry_run", json_boolean(cli->set.dry_run));
	json_object_set_new(object, "confirm_seconds",
			    cli->set.confirm ? json_number(cli->set.confirm) : json_null());
	json_object_set_new(object, "policies", policies);
	return object;
}

static void print_applied(const struct cli *cli, const struct weir_program *program)
{
	for (size_t i = 0; i < weir_policy_count(program); i++) {
		const struct weir_policy *policy = weir_policy(program, i);

		printf("%s: %zu rule%s on ", policy->name, policy->rules, policy->rules == 1 ? "" : "s");
		print_hooks(stdout, policy->hooks, policy->hook_count);
		printf("\n");
	}
	if (cli->set.dry_run)
		printf("dry run: the kernel accepts it, nothing was attached\n");
	else
		printf("in force until `weir delete` or the next reboot\n");
	if (cli->set.confirm)
		printf("to keep it, type `weir confirm` within %llu seconds; else it is rolled back\n",
		       (unsigned long long)cli->set.confirm);
}

static int apply_compiled(struct cli *cli, struct weir_program *program, const char *file)
{
	int status = cli->set.dry_run ? WEIR_OK : settle_pending(cli);

	if (status)
		return status;
	if (cli->set.confirm)
		return apply_with_confirm(cli, program, file);
	return apply_program(cli, program);
}

/* A few rules changed in place. False: all of the file has to be compiled. */
static bool apply_difference(struct cli *cli, const char *path, struct weir_program **ret_program)
{
	struct weir_apply_options options = options_of(cli);
	struct pending_reply reply;

	if (cli->set.confirm || (!pending_ask(PENDING_STATUS, &reply) && pending_open(reply.state)) ||
	    weir_apply_difference(cli->weir, path, &options, ret_program) || !*ret_program)
		return false;
	output_diagnostics(cli);
	return true;
}

static int compile_and_apply(struct cli *cli, const char *path, const char *file, struct weir_program **ret_program)
{
	int status = input_compile(cli, INPUT_FILE, path, ret_program);

	output_diagnostics(cli);
	return status ? status : apply_compiled(cli, *ret_program, file);
}

static int apply(struct cli *cli)
{
	struct weir_program *program = NULL;
	json_t *object = NULL;
	const char *path, *file;
	int status = choose_file(cli, &path);

	if (status)
		return status;
	file = input_name(INPUT_FILE, path);
	if (!apply_difference(cli, path, &program))
		status = compile_and_apply(cli, path, file, &program);
	if (!status && cli->set.json)
		object = json_applied(cli, program, file);
	else if (!status)
		print_applied(cli, program);
	weir_program_free(program);
	return output_finish(cli, status, object);
}

static const struct option apply_options[] = {
	FLAG("dry-run", 0, dry_run, "do everything but attach"),
	NUMBER("confirm", 0, "SECONDS", confirm, "roll back unless `weir confirm` comes in time", 1, 86400),
	FLAG("force", 0, force, "even if it cuts this remote session, or another apply is unconfirmed"),
	FLAG("prune", 0, prune, "remove policies loaded from FILE earlier and no longer in it"),
	FLAG("no-verify", 0, no_verify, "do not prove the programs first"),
	FLAG("reset-sets", 0, reset_sets, "forget what was added to sets at run time"),
};

const struct command command_apply = {
	.name = "apply",
	.synopsis = "FILE",
	.summary = "Put a file's policies in force, replacing those of the same names",
	.help = "All policies of the file change in one step. On failure nothing has changed.",
	OPTIONS(apply_options),
	.most = 1,
	.run = apply,
};
