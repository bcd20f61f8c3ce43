/* SPDX-License-Identifier: GPL-2.0-only */
/* weir verify: proves that the emitted program does what the rules say, for all packets; or shows one that differs. */
#include "cli.h"

#include <string.h>

static const char *const proof_names[] = {
	[WEIR_PROVEN] = "proven", [WEIR_DISPROVEN] = "different", [WEIR_NOT_PROVEN] = "not proven",
};

static void print_verification(const struct weir_verification *verification)
{
	printf("%s at %s: ", verification->policy, verification->hook);
	switch (verification->proof) {
	case WEIR_PROVEN:
		printf("proven for all packets%s (%zu rule%s, %zu instructions, %.1f ms)\n",
		       verification->walker_steps ? ", as is what walks its table" : "", verification->rules,
		       verification->rules == 1 ? "" : "s", verification->instructions,
		       (double)verification->nanoseconds / 1e6);
		break;
	case WEIR_DISPROVEN:
		printf("the program does not do what the rules say\n    packet   %s\n", verification->example);
		if (verification->assumed)
			printf("    given    %s\n", verification->assumed);
		printf("    rules    %s\n    program  %s\n", verification->by_rules, verification->by_program);
		break;
	case WEIR_NOT_PROVEN:
		printf("not proven: %s (%zu rule%s, %zu instructions, %.1f ms)\n", verification->reason,
		       verification->rules, verification->rules == 1 ? "" : "s", verification->instructions,
		       (double)verification->nanoseconds / 1e6);
		if (verification->example)
			printf("    packet   %s\n", verification->example);
		break;
	}
}

static json_t *json_verification(const struct weir_verification *verification)
{
	json_t *object = json_object();

	json_object_set_new(object, "policy", json_text(verification->policy));
	json_object_set_new(object, "hook", json_text(verification->hook));
	json_object_set_new(object, "proof", json_text(proof_names[verification->proof]));
	json_object_set_new(object, "rules", json_number(verification->rules));
	json_object_set_new(object, "instructions", json_number(verification->instructions));
	json_object_set_new(object, "nanoseconds", json_number(verification->nanoseconds));
	json_object_set_new(object, "walker_steps", json_number(verification->walker_steps));
	json_object_set_new(object, "reason", json_text(verification->reason));
	json_object_set_new(object, "packet", json_text(verification->example));
	json_object_set_new(object, "assumed", json_text(verification->assumed));
	json_object_set_new(object, "by_rules", json_text(verification->by_rules));
	json_object_set_new(object, "by_program", json_text(verification->by_program));
	return object;
}

struct results {
	json_t *array;
	size_t proofs, failed;
};

static void add(struct cli *cli, const struct weir_verification *verification, struct results *results)
{
	results->proofs++;
	results->failed += verification->proof != WEIR_PROVEN;
	if (cli->set.json)
		json_array_append_new(results->array, json_verification(verification));
	else
		print_verification(verification);
}

static int verify_one(struct cli *cli, struct weir_program *program, const char *policy, const char *hook,
		      struct results *results)
{
	const struct weir_verification *verification;
	int status = weir_verify(cli->weir, program, policy, hook, (unsigned)cli->set.seconds * 1000, &verification);

	output_diagnostics(cli);
	if (!status)
		add(cli, verification, results);
	return status;
}

/* The same policy at the same kind of hook is the same program. */
static bool seen_before(const struct weir_policy *policy, size_t hook)
{
	for (size_t i = 0; i < hook; i++)
		if (!strcmp(policy->hooks[i].name, policy->hooks[hook].name))
			return true;
	return false;
}

static int verify_policy(struct cli *cli, struct weir_program *program, const struct weir_policy *policy,
			 struct results *results)
{
	int status = WEIR_OK;

	if (!policy->hook_count)
		return verify_one(cli, program, NULL, cli->set.hook, results);
	for (size_t i = 0; i < policy->hook_count && !status; i++)
		if (!seen_before(policy, i) && (!cli->set.hook || !strcmp(cli->set.hook, policy->hooks[i].name)))
			status = verify_one(cli, program, policy->name, policy->hooks[i].name, results);
	return status;
}

static int verify_all(struct cli *cli, struct weir_program *program, struct results *results)
{
	int status = WEIR_OK;

	for (size_t i = 0; i < weir_policy_count(program) && !status; i++) {
		const struct weir_policy *policy = weir_policy(program, i);

		if (!cli->set.policy || !strcmp(cli->set.policy, policy->name))
			status = verify_policy(cli, program, policy, results);
	}
	/* Nothing chosen: let the library say which of the names is wrong. */
	if (!status && !results->proofs)
		status = verify_one(cli, program, cli->set.policy, cli->set.hook, results);
	return status ? status : results->failed ? WEIR_INPUT : WEIR_OK;
}

/* What is in force, whatever files say. */
static int verify_loaded(struct cli *cli, const char *policy)
{
	struct results results = { .array = json_array() };
	struct weir_verifications *verifications = NULL;
	const struct weir_verification *verification;
	int status;

	if (cli->set.expression || cli->set.policy) {
		json_decref(results.array);
		return usage_error(cli->command, "--loaded takes a policy's name");
	}
	status = weir_verify_loaded(cli->weir, policy, cli->set.hook, (unsigned)cli->set.seconds * 1000, &verifications);
	output_diagnostics(cli);
	for (size_t i = 0; !status && (verification = weir_verifications_at(verifications, i)); i++)
		add(cli, verification, &results);
	if (!status && !results.proofs && !cli->set.json)
		fprintf(stderr, "weir: no policy is in force\n");
	weir_verifications_free(verifications);
	return output_finish(cli, status ? status : results.failed ? WEIR_INPUT : WEIR_OK,
			     json_pack("{s:o}", "results", results.array));
}

static int verify(struct cli *cli)
{
	struct weir_program *program;
	struct results results = { .array = json_array() };
	int status;

	if (cli->set.loaded) {
		json_decref(results.array);
		return verify_loaded(cli, cli->operand_count ? cli->operands[0] : NULL);
	}
	status = input_program(cli, &program);

	if (status) {
		json_decref(results.array);
		return status;
	}
	status = verify_all(cli, program, &results);
	weir_program_free(program);
	return output_finish(cli, status, json_pack("{s:o}", "results", results.array));
}

static const struct option verify_options[] = {
	TEXT("policy", 0, "NAME", policy, "only this policy of the file"),
	TEXT("hook", 0, "HOOK", hook, "only at this hook"),
	NUMBER("seconds", 0, "SECONDS", seconds, "give up after that long for each program", 1, 86400),
	TEXT("expression", 'e', "EXPR", expression, "verify a filter expression"),
	FLAG("loaded", 0, loaded, "what is in force, as it is in the kernel: the policy NAME, or all"),
};

const struct command command_verify = {
	.name = "verify",
	.synopsis = "FILE | EXPR | --loaded [NAME]",
	.summary = "Prove that the emitted programs do what the rules say, for all packets",
	.help = "With --loaded, the programs and tables are those in force, after changes of single rules, too.\n"
		"Exit status 0 only if every program is proven. What is too large to be proven is said\n"
		"to be not proven; a difference is shown with a packet.",
	OPTIONS(verify_options),
	.most = 1,
	.run = verify,
};
