/* SPDX-License-Identifier: GPL-2.0-only */
/* weir set: elements of a run-time set of a policy in force, from arguments or from a file. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OPERANDS = 3 }; /* operation, policy, set; then elements */

struct operation {
	const char *name;
	int (*run)(struct cli *cli, const struct operation *operation);
	enum weir_set_operation change;
	size_t least, most; /* elements as arguments */
	bool file;          /* -f instead of them */
	bool timeout;       /* --timeout */
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
					 length, cli->set.timeout);
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

/* --- listing ----------------------------------------------------------------------------------------------------- */

static int open_listing(struct cli *cli, struct weir_set_listing **ret_listing)
{
	int status = weir_set_list(cli->weir, cli->operands[1], cli->operands[2], ret_listing);

	output_diagnostics(cli);
	return status;
}

/* As a policy or a file of elements has it: "1h30min". From 10 seconds on, full seconds, rounded up. */
static void write_time(FILE *stream, uint64_t ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "min", 60000 }, { "s", 1000 }, { "ms", 1 } };

	if (ms >= 10000)
		ms = (ms + 999) / 1000 * 1000;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (ms >= units[i].ms)
			fprintf(stream, "%llu%s", (unsigned long long)(ms / units[i].ms), units[i].name);
		ms %= units[i].ms;
	}
}

static void write_element(FILE *stream, const struct weir_set_element *element, bool origin)
{
	fputs(element->text, stream);
	if (element->left_ms) {
		fputs(" timeout ", stream);
		write_time(stream, element->left_ms);
	}
	if (origin && !strcmp(element->origin, "packet"))
		fputs(" # added by a packet", stream);
	putc('\n', stream);
}

static void json_member(const char *name, const char *text)
{
	json_t *string = json_text(text);
	char *quoted = json_dumps(string, JSON_ENCODE_ANY);

	printf("  \"%s\": %s,\n", name, quoted ? quoted : "null");
	free(quoted);
	json_decref(string);
}

/* A million elements are not made into one object first. Their texts have nothing that JSON would want escaped. */
static int print_json(struct cli *cli, struct weir_set_listing *listing)
{
	struct weir_set_element element;
	bool first = true;

	fputs("{\n", stdout);
	json_member("policy", cli->operands[1]);
	json_member("set", cli->operands[2]);
	printf("  \"count\": %zu,\n  \"refused\": %llu,\n  \"elements\": [", weir_set_count(listing),
	       (unsigned long long)weir_set_refused(listing));
	for (; weir_set_next(listing, &element); first = false)
		printf("%s\n    \"%s\"", first ? "" : ",", element.text);
	fputs("],\n  \"members\": [", stdout);
	weir_set_rewind(listing);
	for (first = true; weir_set_next(listing, &element); first = false) {
		printf("%s\n    {\"element\": \"%s\", \"origin\": \"%s\"", first ? "" : ",", element.text,
		       element.origin);
		if (element.left_ms)
			printf(", \"left_ms\": %llu", (unsigned long long)element.left_ms);
		putchar('}');
	}
	putchar(']');
	return output_finish_open(cli, WEIR_OK);
}

static int list(struct cli *cli, const struct operation *operation)
{
	struct weir_set_listing *listing = NULL;
	struct weir_set_element element;
	int status = open_listing(cli, &listing);

	(void)operation;
	if (!status && cli->set.json) {
		status = print_json(cli, listing);
		weir_set_listing_free(listing);
		return status;
	}
	while (!status && weir_set_next(listing, &element))
		write_element(stdout, &element, true);
	weir_set_listing_free(listing);
	return output_finish(cli, status, NULL);
}

static int write_set(const struct cli *cli, FILE *stream, struct weir_set_listing *listing)
{
	size_t count = weir_set_count(listing);
	struct weir_set_element element;

	fprintf(stream, "# %s %s: %zu element%s\n", cli->operands[1], cli->operands[2], count, count == 1 ? "" : "s");
	while (weir_set_next(listing, &element))
		write_element(stream, &element, false);
	return fflush(stream) || ferror(stream) ? -errno : 0;
}

static int replace_file(const struct cli *cli, struct weir_set_listing *listing)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);
	int error = stream ? write_set(cli, stream, listing) : -ENOMEM;

	if (stream && fclose(stream) && !error)
		error = -errno;
	if (!error)
		error = file_replace(cli->set.file, text, length);
	free(text);
	return error;
}

static int save(struct cli *cli, const struct operation *operation)
{
	bool to_file = cli->set.file && strcmp(cli->set.file, "-");
	struct weir_set_listing *listing = NULL;
	int error = 0, status = open_listing(cli, &listing);

	(void)operation;
	if (!status && cli->set.json && !to_file) {
		status = print_json(cli, listing);
		weir_set_listing_free(listing);
		return status;
	}
	if (!status)
		error = to_file ? replace_file(cli, listing) : write_set(cli, stdout, listing);
	weir_set_listing_free(listing);
	if (error && to_file) {
		output_failure(cli, "cannot write %s: %s", cli->set.file, strerror(-error));
		status = WEIR_SYSTEM;
	}
	return output_finish(cli, status, NULL);
}

static const struct operation operations[] = {
	{ "add", change, WEIR_SET_ADD, 1, SIZE_MAX, true, true },
	{ "del", change, WEIR_SET_DELETE, 1, SIZE_MAX, true, false },
	{ "replace", change, WEIR_SET_REPLACE, 1, SIZE_MAX, true, true },
	{ "flush", change, WEIR_SET_FLUSH, 0, 0, false, false },
	{ "list", list, 0, 0, 0, false, false },
	{ "save", save, 0, 0, 0, true, false },
	{ "test", test, 0, 1, 1, false, false },
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
	if (cli->set.timeout && !operation->timeout)
		return usage_error(cli->command, "`%s` takes no `--timeout`", operation->name);
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
	TEXT("timeout", 0, "TIME", timeout, "elements that name no timeout expire after TIME: 10min, 1h30min, never"),
};

const struct command command_set = {
	.name = "set",
	.synopsis = "add|del|list|test|flush|replace|save POLICY SET [ELEMENT]...",
	.summary = "Show or change a run-time set of a policy in force",
	.help = "`test` prints yes or no and exits 0 or 1. `replace` is atomic. `save` prints what `include` reads. "
		"An ELEMENT may be followed by `timeout TIME`.",
	OPTIONS(set_options),
	.least = OPERANDS,
	.most = SIZE_MAX,
	.run = set,
};
