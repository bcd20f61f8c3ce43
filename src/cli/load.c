/* SPDX-License-Identifier: GPL-2.0-only */
/* weir load: one program, loaded and pinned for others to attach. */
#include "cli.h"

/* An expression names no hook; systemd's IPIngressFilterPath= is what it is mostly for. */
static const char expression_hook[] = "cgroup-ingress";

/* The hook: as asked, the expressions' default, or a policy's only one (NULL leaves the rest to the library). */
static int choose_hook(struct cli *cli, const struct weir_program *program, enum input_kind kind,
		       const char **ret_hook)
{
	const struct weir_policy *policy = weir_policy_count(program) == 1 ? weir_policy(program, 0) : NULL;

	*ret_hook = cli->set.hook;
	if (cli->set.hook)
		return WEIR_OK;
	if (kind == INPUT_EXPRESSION)
		*ret_hook = expression_hook;
	else if (policy && policy->hook_count == 1)
		*ret_hook = policy->hooks[0].name;
	else if (!policy || policy->hook_count > 1) {
		output_failure(cli, "more than one hook; choose with `--hook` (and `--policy`)");
		return WEIR_INPUT;
	}
	return WEIR_OK;
}

static int pin(struct cli *cli, enum input_kind kind, struct weir_program *program, json_t **ret_object)
{
	const char *hook;
	int status = choose_hook(cli, program, kind, &hook);

	if (status)
		return status;
	status = weir_pin(cli->weir, program, cli->set.policy, hook, cli->set.pin);
	output_diagnostics(cli);
	if (status)
		return status;
	if (cli->set.json)
		*ret_object = json_pack("{s:o, s:o}", "pin", json_text(cli->set.pin), "hook", json_text(hook));
	else
		printf("%s: pinned for %s, not attached\n", cli->set.pin, hook ? hook : "its hook");
	return WEIR_OK;
}

static int load(struct cli *cli)
{
	struct weir_program *program;
	json_t *object = NULL;
	enum input_kind kind;
	const char *text;
	int status = input_choose(cli, &kind, &text);

	if (status)
		return status;
	if (!cli->set.pin)
		return usage_error(cli->command, "`--pin PATH` is missing: a place below /sys/fs/bpf");
	status = input_program(cli, &program);
	if (status)
		return status;
	status = pin(cli, kind, program, &object);
	weir_program_free(program);
	return output_finish(cli, status, object);
}

static const struct option load_options[] = {
	TEXT("hook", 0, "HOOK", hook, "for which hook; default: the only one, or cgroup-ingress for an expression"),
	TEXT("pin", 0, "PATH", pin, "where to pin it, below /sys/fs/bpf (required)"),
	TEXT("policy", 0, "NAME", policy, "which policy of the file"),
	TEXT("expression", 'e', "EXPR", expression, "load a filter expression"),
};

const struct command command_load = {
	.name = "load",
	.synopsis = "--pin PATH FILE | EXPR",
	.summary = "Load one program and pin it for others to attach",
	.help = "For systemd's IPIngressFilterPath= and IPEgressFilterPath= (hooks cgroup-ingress and\n"
		"cgroup-egress), bpftool and others; what is pinned for the hook socket may be attached\n"
		"by every user to own sockets (SO_ATTACH_BPF).",
	OPTIONS(load_options),
	.most = 1,
	.run = load,
};
