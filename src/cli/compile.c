/* SPDX-License-Identifier: GPL-2.0-only */
/* weir compile: any stage of the compiler as text, or the object. */
#include "cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char *const stages[] = { "ir", "diagram", "plan", "bpf", "cbpf", "dot", "elf" };
enum { STAGE_COUNT = sizeof stages / sizeof stages[0] };

static int check_stage(struct cli *cli)
{
	const char *nearest;

	if (!cli->set.emit)
		return usage_error(cli->command, "`--emit` is missing: ir, diagram, plan, bpf, cbpf, dot or elf");
	for (size_t i = 0; i < STAGE_COUNT; i++)
		if (!strcmp(cli->set.emit, stages[i]))
			return 0;
	nearest = word_nearest(cli->set.emit, stages, STAGE_COUNT);
	return usage_error(cli->command, "`--emit` is ir, diagram, plan, bpf, cbpf, dot or elf, not `%s`%s%s%s",
			   cli->set.emit, nearest ? "; did you mean `" : "", nearest ? nearest : "",
			   nearest ? "`?" : "");
}

static int check_output(struct cli *cli)
{
	if (strcmp(cli->set.emit, "elf"))
		return 0;
	if (cli->set.json)
		return usage_error(cli->command, "an ELF object is no JSON");
	if (!cli->set.output && isatty(STDOUT_FILENO))
		return usage_error(cli->command, "an ELF object is not for a terminal: `-o FILE`");
	return 0;
}

static int emit_stage(struct cli *cli, struct weir_program *program, const void **ret_data, size_t *ret_size)
{
	const char *text;
	int status;

	if (!strcmp(cli->set.emit, "elf"))
		return weir_emit_object(cli->weir, program, cli->set.policy, cli->set.hook, ret_data, ret_size);
	status = weir_emit(cli->weir, program, cli->set.policy, cli->set.hook, cli->set.emit, &text);
	if (status)
		return status;
	*ret_data = text;
	*ret_size = strlen(text);
	return 0;
}

static int write_file(struct cli *cli, const void *data, size_t size)
{
	const char *path = cli->set.output;
	FILE *stream = path ? fopen(path, "we") : stdout;

	if (!stream) {
		output_failure(cli, "cannot write %s: %s", path, strerror(errno));
		return WEIR_SYSTEM;
	}
	fwrite(data, 1, size, stream);
	if (!path)
		return WEIR_OK; /* output_finish() flushes it */
	if (!ferror(stream) && !fflush(stream)) {
		fclose(stream);
		return WEIR_OK;
	}
	output_failure(cli, "cannot write %s: %s", path, strerror(errno));
	fclose(stream);
	return WEIR_SYSTEM;
}

static int compile(struct cli *cli)
{
	struct weir_program *program;
	json_t *object = NULL;
	const void *data;
	size_t size;
	int status = check_stage(cli);

	if (!status)
		status = check_output(cli);
	if (!status)
		status = input_program(cli, &program);
	if (status)
		return status;
	status = emit_stage(cli, program, &data, &size);
	output_diagnostics(cli);
	if (!status && cli->set.json && !cli->set.output)
		object = json_pack("{s:s, s:o}", "stage", cli->set.emit, "text", json_text(data));
	else if (!status)
		status = write_file(cli, data, size);
	weir_program_free(program);
	return output_finish(cli, status, object);
}

static const struct option compile_options[] = {
	TEXT("emit", 0, "STAGE", emit, "ir, diagram, plan, bpf, cbpf, dot, or elf (required)"),
	TEXT("policy", 0, "NAME", policy, "which policy of the file"),
	TEXT("hook", 0, "HOOK", hook, "for which hook; default: the policy's first"),
	TEXT("output", 'o', "FILE", output, "write there, not to standard output"),
	TEXT("expression", 'e', "EXPR", expression, "compile a filter expression"),
};

const struct command command_compile = {
	.name = "compile",
	.synopsis = "--emit STAGE FILE | EXPR",
	.summary = "Show a stage of the compilation",
	OPTIONS(compile_options),
	.most = 1,
	.run = compile,
};
