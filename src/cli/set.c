/* SPDX-License-Identifier: GPL-2.0-only */
/* weir set: elements of a run-time set of a policy in force, from arguments or from a file. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPERANDS = 3 }; /* operation, policy, set; then elements */

struct operation {
	const char *name;
	int (*run)(struct cli *cli, const struct operation *operation);
	enum weir_set_operation change;
	size_t least, most; /* elements as arguments */
	bool file;          /* -f instead of them */
};

/* Arguments become lines, so that the library's error names the argument by its line. */
static char *join_elements(const struct cli *cli, size_t *ret_length)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	if (!stream)
		return NULL;
	for (size_t i = OPERANDS; i < cli->operand_count; i++)
		fprintf(stream, "%s\n", cli->operands[i]);
	if (fclose(stream)) {
		free(text);
		return NULL;
	}
	*ret_length = length;
	return text;
}

static int read_elements(struct cli *cli, char **ret_text, size_t *ret_length)
{
	int error;

	if (cli->set.file) {
		error = input_read(cli->set.file, ret_text, ret_length);
		if (error)
			output_failure(cli, "cannot read %s: %s", cli->set.file, strerror(-error));
		return error ? WEIR_INPUT : WEIR_OK;
	}
	*ret_text = join_elements(cli, ret_length);
	return *ret_text ? WEIR_OK : WEIR_SYSTEM;
}

static int change(struct cli *cli, const struct operation *operation)
{
	const char *name = cli->set.file ? input_name(INPUT_FILE, cli->set.file) : "arguments";
	char *text = NULL;
	size_t length = 0;
	int status = read_elements(cli, &text, &length);

	if (!status) {
		status = weir_set_change(cli->weir, cli->operands[1], cli->operands[2], operation->change, name, text,
					 length);
		output_diagnostics(cli);
	}
	free(text);
	return output_finish(cli, status, NULL);
}

static int test(struct cli *cli, const struct operation *operation)
{
	json_t *object = NULL;
	int status = weir_set_test(cli->weir, cli->operands[1], cli->operands[2], cli->operands[OPERANDS]);
	bool answered = status == WEIR_OK || (status == WEIR_INPUT && !weir_error_count(cli->weir));

	(void)operation;
	output_diagnostics(cli);
	if (cli->set.json && answered) {
		/* "no" is an answer, not a failure, so "ok" cannot say it. */
		object = json_pack("{s:o, s:b}", "element", json_text(cli->operands[OPERANDS]), "member",
				   status == WEIR_OK);
		output_finish(cli, WEIR_OK, object);
		return -status;
	}
	if (answered)
		printf("%s\n", status ? "no" : "yes");
	return output_finish(cli, status, NULL);
}

static json_t *json_elements(const struct cli *cli, const char *text)
{
	json_t *array = json_array();

	while (*text) {
		size_t length = strcspn(text, "\n");

		if (length)
			json_array_append_new(array, json_stringn(text, length));
		text += length + (text[length] == '\n');
	}
	return json_pack("{s:o, s:o, s:I, s:o}", "policy", json_text(cli->operands[1]), "set",
			 json_text(cli->operands[2]), "count", (json_int_t)json_array_size(array), "elements", array);
}

static int list(struct cli *cli, const struct operation *operation)
{
	json_t *object = NULL;
	char *text = NULL;
	size_t count;
	int status = weir_set_list(cli->weir, cli->operands[1], cli->operands[2], &text, &count);

	(void)operation;
	output_diagnostics(cli);
	if (!status && cli->set.json)
		object = json_elements(cli, text);
	else if (!status)
		fputs(text, stdout);
	free(text);
	return output_finish(cli, status, object);
}

static int write_set(const struct cli *cli, FILE *stream, const char *text, size_t count)
{
	fprintf(stream, "# %s %s: %zu element%s\n%s", cli->operands[1], cli->operands[2], count,
		count == 1 ? "" : "s", text);
	return fflush(stream) || ferror(stream) ? -errno : 0;
}

/* Written beside the file and renamed, so that whoever includes it never reads half of it. */
static int replace_file(const struct cli *cli, const char *text, size_t count)
{
	char *name = text_print("%s.%d", cli->set.file, getpid());
	FILE *stream = fopen(name, "wxe");
	int error;

	if (!stream) {
		error = -errno;
		free(name);
		return error;
	}
	error = write_set(cli, stream, text, count);
	if (!error && (fsync(fileno(stream)) || rename(name, cli->set.file)))
		error = -errno;
	fclose(stream);
	if (error)
		unlink(name);
	free(name);
	return error;
}

static int save(struct cli *cli, const struct operation *operation)
{
	bool to_file = cli->set.file && strcmp(cli->set.file, "-");
	char *text = NULL;
	size_t count;
	int error, status = weir_set_list(cli->weir, cli->operands[1], cli->operands[2], &text, &count);

	(void)operation;
	output_diagnostics(cli);
	if (status || (cli->set.json && !to_file))
		return output_finish(cli, status, status ? NULL : json_elements(cli, text));
	error = to_file ? replace_file(cli, text, count) : write_set(cli, stdout, text, count);
	free(text);
	if (error && to_file) {
		output_failure(cli, "cannot write %s: %s", cli->set.file, strerror(-error));
		status = WEIR_SYSTEM;
	}
	return output_finish(cli, status, NULL);
}

static const struct operation operations[] = {
	{ "add", change, WEIR_SET_ADD, 1, SIZE_MAX, true },
	{ "del", change, WEIR_SET_DELETE, 1, SIZE_MAX, true },
	{ "replace", change, WEIR_SET_REPLACE, 1, SIZE_MAX, true },
	{ "flush", change, WEIR_SET_FLUSH, 0, 0, false },
	{ "list", list, 0, 0, 0, false },
	{ "save", save, 0, 0, 0, true },
	{ "test", test, 0, 1, 1, false },
};

enum { OPERATION_COUNT = sizeof operations / sizeof operations[0] };

static int find_operation(struct cli *cli, const struct operation **ret_operation)
{
	const char *names[OPERATION_COUNT];

	for (size_t i = 0; i < OPERATION_COUNT; i++) {
		names[i] = operations[i].name;
		if (strcmp(names[i], cli->operands[0]))
			continue;
		*ret_operation = &operations[i];
		return 0;
	}
	return operation_unknown(cli, names, OPERATION_COUNT);
}

static int set(struct cli *cli)
{
	const struct operation *operation = NULL;
	size_t elements = cli->operand_count - OPERANDS;
	int status = find_operation(cli, &operation);

	if (!operation)
		return status;
	if (cli->set.file && !operation->file)
		return usage_error(cli->command, "`%s` takes no `-f`", operation->name);
	if (cli->set.file && elements)
		return usage_error(cli->command, "elements and `-f` at once");
	if (elements > operation->most)
		return usage_error(cli->command, "unexpected argument `%s`",
				   cli->operands[OPERANDS + operation->most]);
	if (!cli->set.file && elements < operation->least)
		return usage_error(cli->command, operation->file ? "`%s` needs elements, or `-f FILE`" :
								   "`%s` needs an element", operation->name);
	return operation->run(cli, operation);
}

static const struct option set_options[] = {
	TEXT("file", 'f', "FILE", file, "elements are in FILE (`-`: standard input); `save` writes there"),
};

const struct command command_set = {
	.name = "set",
	.synopsis = "add|del|list|test|flush|replace|save POLICY SET [ELEMENT]...",
	.summary = "Show or change a run-time set of a policy in force",
	.help = "`test` prints yes or no and exits 0 or 1. `replace` is atomic. `save` prints what `include` reads.",
	OPTIONS(set_options),
	.least = OPERANDS,
	.most = SIZE_MAX,
	.run = set,
};
