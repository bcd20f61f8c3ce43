/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: what a command found out. Out: text or JSON on standard output, diagnostics on standard error or, with --json,
 * in the object. Fails only if standard output cannot be written.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const severity_names[] = { "error", "warning", "note" };

static bool colours(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDERR_FILENO) && !(no && *no);
}

static _Noreturn void out_of_memory(void)
{
	fputs("weir: out of memory\n", stderr);
	exit(EXIT_SYSTEM);
}

static json_t *json_diagnostic(const struct weir_diagnostic *diagnostic)
{
	json_t *object = json_object();

	json_object_set_new(object, "severity", json_string(severity_names[diagnostic->severity]));
	json_object_set_new(object, "file", json_text(diagnostic->file));
	json_object_set_new(object, "line", json_integer(diagnostic->line));
	json_object_set_new(object, "column", json_integer(diagnostic->column));
	json_object_set_new(object, "length", json_integer(diagnostic->length));
	json_object_set_new(object, "text", json_text(diagnostic->text));
	json_object_set_new(object, "hint", json_text(diagnostic->hint));
	return object;
}

/* Diagnostics go into the JSON object. */
static bool collects(const struct cli *cli)
{
	return cli->set.json && !cli->command->stream;
}

static json_t *collected(struct cli *cli)
{
	if (!cli->diagnostics)
		cli->diagnostics = json_array();
	return cli->diagnostics;
}

void output_diagnostics(struct cli *cli)
{
	size_t count = weir_diagnostic_count(cli->weir);

	cli->errors += weir_error_count(cli->weir);
	cli->warnings += weir_warning_count(cli->weir);
	for (size_t i = 0; i < count; i++) {
		if (collects(cli))
			json_array_append_new(collected(cli), json_diagnostic(weir_diagnostic(cli->weir, i)));
		else
			fputs(weir_diagnostic_text(cli->weir, i, colours()), stderr);
	}
}

static void say(struct cli *cli, enum weir_severity severity, const char *colour, const char *format, va_list args)
{
	struct weir_diagnostic diagnostic = { .severity = severity };
	char *text;

	if (vasprintf(&text, format, args) < 0)
		out_of_memory();
	diagnostic.text = text;
	if (collects(cli))
		json_array_append_new(collected(cli), json_diagnostic(&diagnostic));
	else
		fprintf(stderr, "weir: %s%s%s: %s\n", colours() ? colour : "", severity_names[severity],
			colours() ? "\033[0m" : "", text);
	free(text);
}

void output_failure(struct cli *cli, const char *format, ...)
{
	va_list args;

	cli->errors++;
	va_start(args, format);
	say(cli, WEIR_ERROR, "\033[1;31m", format, args);
	va_end(args);
}

void output_warning(struct cli *cli, const char *format, ...)
{
	va_list args;

	cli->warnings++;
	va_start(args, format);
	say(cli, WEIR_WARNING, "\033[1;35m", format, args);
	va_end(args);
}

int output_finish(struct cli *cli, int status, json_t *object)
{
	if (collects(cli)) {
		if (!object)
			object = json_object();
		json_object_set_new(object, "ok", json_boolean(status == WEIR_OK));
		json_object_set(object, "diagnostics", collected(cli));
		if (!object || json_dumpf(object, stdout, JSON_INDENT(2)))
			out_of_memory();
		fputs("\n", stdout);
	}
	json_decref(object);
	return output_flush(-status);
}

int output_finish_open(struct cli *cli, int status)
{
	char *diagnostics = json_dumps(collected(cli), JSON_COMPACT);

	if (!diagnostics)
		out_of_memory();
	printf(",\n  \"ok\": %s,\n  \"diagnostics\": %s\n}\n", status ? "false" : "true", diagnostics);
	free(diagnostics);
	return output_flush(-status);
}

void output_json_line(json_t *object)
{
	if (!object || json_dumpf(object, stdout, JSON_COMPACT))
		out_of_memory();
	fputs("\n", stdout);
	json_decref(object);
}

int output_flush(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	fprintf(stderr, "weir: cannot write to standard output: %s\n", strerror(errno));
	return EXIT_SYSTEM;
}

/* What is not UTF-8 is a file's name or a comment: seen, but not trusted to say what its bytes mean. */
static json_t *json_replaced(const char *text)
{
	static const char replacement[] = "\xef\xbf\xbd";
	char *copy = malloc(strlen(text) * 3 + 1), *end = copy;
	json_t *string;

	if (!copy)
		out_of_memory();
	for (; *text; text++) {
		if ((unsigned char)*text < 0x80)
			*end++ = *text;
		else
			end = stpcpy(end, replacement);
	}
	*end = '\0';
	string = json_string(copy);
	free(copy);
	return string;
}

json_t *json_text(const char *text)
{
	json_t *string;

	if (!text)
		return json_null();
	string = json_string(text);
	return string ? string : json_replaced(text);
}

json_t *json_number(uint64_t number)
{
	return json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number);
}

json_t *json_counter(const struct weir_counter *counter)
{
	json_t *object = json_object();

	json_object_set_new(object, "packets", json_number(counter->packets));
	json_object_set_new(object, "bytes", json_number(counter->bytes));
	return object;
}

json_t *json_flow_totals(const struct weir_flow_totals *totals)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "max", (json_int_t)totals->max, "memory",
			 (json_int_t)totals->memory, "created", (json_int_t)totals->created, "assured",
			 (json_int_t)totals->assured, "refused", (json_int_t)totals->refused, "invalid",
			 (json_int_t)totals->invalid);
}

json_t *json_hooks(const struct weir_hook *hooks, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *object = json_object();

		json_object_set_new(object, "hook", json_text(hooks[i].name));
		json_object_set_new(object, "target", json_text(hooks[i].target));
		if (hooks[i].how) {
			json_object_set_new(object, "how", json_text(hooks[i].how));
			json_object_set_new(object, "attached", json_boolean(hooks[i].attached));
			json_object_set_new(object, "cached", json_integer((json_int_t)hooks[i].cached));
		}
		json_array_append_new(array, object);
	}
	return array;
}

static void print_hook(FILE *stream, const struct weir_hook *hook)
{
	fputs(hook->name, stream);
	if (hook->target)
		fprintf(stream, " %s", hook->target);
	if (hook->how && !hook->attached)
		fputs(" (detached)", stream);
	else if (hook->how && strcmp(hook->how, "link"))
		fprintf(stream, " (%s)", hook->how);
}

void print_hooks(FILE *stream, const struct weir_hook *hooks, size_t count)
{
	if (!count)
		fputs("no hooks", stream);
	for (size_t i = 0; i < count; i++) {
		if (i)
			fputs(", ", stream);
		print_hook(stream, &hooks[i]);
	}
}

void print_escaped(FILE *stream, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(stream, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(stream, "\\x%02x", c);
		else
			putc(c, stream);
	}
}

void time_text(uint64_t time_ns, int digits, char *buffer, size_t size)
{
	time_t seconds = (time_t)(time_ns / 1000000000);
	char fraction[16];
	struct tm tm;

	if (!size || !localtime_r(&seconds, &tm) || !strftime(buffer, size, "%Y-%m-%d %H:%M:%S", &tm)) {
		if (size)
			buffer[0] = '\0';
		return;
	}
	if (digits <= 0 || digits > 9)
		return;
	snprintf(fraction, sizeof fraction, ".%09u", (unsigned)(time_ns % 1000000000));
	fraction[digits + 1] = '\0';
	snprintf(buffer + strlen(buffer), size - strlen(buffer), "%s", fraction);
}

char *text_print(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		out_of_memory();
	va_end(args);
	return text;
}

void *memory_grow(void *memory, size_t count, size_t size)
{
	void *grown = reallocarray(memory, count, size);

	if (!grown && count && size)
		out_of_memory();
	return grown;
}

const char *output_special_rule(int32_t rule)
{
	switch (rule) {
	case WEIR_RULE_DEFAULT:
		return "default";
	case WEIR_RULE_MALFORMED:
		return "malformed";
	case WEIR_RULE_NON_IP:
		return "non_ip";
	default:
		return NULL;
	}
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t written = write(fd, text, length);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			text += written;
			length -= (size_t)written;
		}
	}
	return 0;
}

int file_replace(const char *path, const char *text, size_t length)
{
	char *beside = text_print("%s.XXXXXX", path);
	int fd = mkstemp(beside), error = fd < 0 ? -errno : 0;

	if (!error)
		error = write_all(fd, text, length);
	if (!error && (fchmod(fd, 0644) || fsync(fd)))
		error = -errno;
	if (fd >= 0 && close(fd) && !error)
		error = -errno;
	if (!error && rename(beside, path))
		error = -errno;
	if (fd >= 0 && error)
		unlink(beside);
	free(beside);
	return error;
}
