/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tests/golden/import: configurations, and the exact messages or what is read from them.
 * WEIR_GOLDEN_UPDATE=1 writes the expectations instead; read the difference before it is committed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>

#include "import/endpoints.h"
#include "tests/unit/lang/compile.h"
#include "tests/unit/lang/golden.h"

enum { CASES_MAX = 100 };

struct reading {
	struct arena *arena;
	struct source source;
	struct document *document;
	const char *got;
};

static void add_list(struct reading *reading, const char *what, const struct endpoint_list *list)
{
	reading->got = arena_printf(reading->arena, "%s    %s", reading->got, what);
	for (size_t i = 0; i < list->count; i++)
		reading->got = arena_printf(reading->arena, "%s <%s>", reading->got, list->items[i]);
	reading->got = arena_printf(reading->arena, "%s\n", reading->got);
}

static void add_endpoint(struct reading *reading, const struct endpoint *endpoint)
{
	reading->got = arena_printf(reading->arena, "%s<%s>\n", reading->got, endpoint->name);
	add_list(reading, "iface", &endpoint->interfaces);
	add_list(reading, "range", &endpoint->ranges);
	add_list(reading, "allow", &endpoint->users);
}

static int read_it(void *context)
{
	struct reading *reading = context;
	struct diags *diags = diags_new(reading->arena);
	struct endpoints endpoints = { 0 };
	int error = endpoints_read(reading->arena, &reading->source, reading->document, diags, &endpoints);

	reading->got = "";
	assert_int_equal(error, diags->errors ? -EINVAL : 0);
	for (size_t i = 0; i < diags->list.count; i++)
		reading->got = arena_printf(reading->arena, "%s%s", reading->got,
					    diag_format(reading->arena, &diags->list.items[i], false));
	for (size_t i = 0; i < endpoints.count; i++)
		add_endpoint(reading, &endpoints.items[i]);
	return 0;
}

static struct reading read_text(const char *name, const char *text, size_t length)
{
	struct reading reading = { arena_new(), { name, text, length }, document_load(text, length), NULL };

	assert_non_null(reading.document);
	assert_int_equal(arena_run(reading.arena, read_it, &reading), 0);
	return reading;
}

static void end(struct reading *reading)
{
	document_free(reading->document);
	arena_free(reading->arena);
}

static void run_case(void **state)
{
	const char *name = *state;
	struct reading reading;
	size_t length = 0;
	char *text = fake_slurp(name, &length);

	assert_non_null(text);
	reading = read_text(name, text, length);
	golden_compare(name, reading.got);
	end(&reading);
	free(text);
}

/* Each prefix of a good file is read or refused. */
static void cut(void **state)
{
	static const char text[] = "endpoints:\n  - \xc3\xa4: {iface: [eth0], range: ['10.0.0.0/8'], allow: &a [\"x\"]}\n";

	(void)state;
	for (size_t length = 0; length < sizeof text; length++) {
		struct reading reading = read_text("cut.yml", text, length);

		assert_true(reading.got[0]);
		if (length == sizeof text - 1)
			assert_string_equal(reading.got, "<\xc3\xa4>\n    iface <eth0>\n    range <10.0.0.0/8>\n    allow <x>\n");
		end(&reading);
	}
}

/* What files for people cannot hold. */
static void octets(void **state)
{
	static const struct {
		const char *text;
		const char *message;
	} cases[] = {
		{ "endpoints: \xff", "octets.yml:1:12: error: this is not YAML of one document" },
		{ "endpoints: [\"a\\0b\"]", "octets.yml:1:13: error: an endpoint is a name" },
		{ "endpoints: [{e: {iface: [\"e\\0\"], range: [\"1.2.3.4\\0\"], allow: [\"\\e[1m\\\"\"]}}]",
		  "octets.yml:1:26: error: `iface` is a list of interfaces, and of nothing else" },
		{ "endpoints: [{e: {iface: [\"\\e[1m\"], range: ['::1'], allow: []}}]",
		  "octets.yml:1:26: error: `?[1m` is no name of an interface" },
		{ "&a [*a]", "octets.yml:1:1: error: expected `endpoints:`" },
		{ "endpoints: &a [*a]", "octets.yml:1:12: error: an endpoint is a name" },
		{ "endpoints: [{e: &a {iface: *a, range: *a, allow: *a}}]", "octets.yml:1:17: error: `iface` is a list" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct reading reading = read_text("octets.yml", cases[i].text, strlen(cases[i].text));

		if (strncmp(reading.got, cases[i].message, strlen(cases[i].message)))
			fail_msg("%s\n%s", cases[i].text, reading.got);
		end(&reading);
	}
}

static int by_name(const void *left, const void *right)
{
	return strcmp(left, right);
}

int main(void)
{
	static char names[CASES_MAX][256];
	static struct CMUnitTest tests[CASES_MAX + 2] = { cmocka_unit_test(cut), cmocka_unit_test(octets) };
	const char *root = getenv("WEIR_SOURCE");
	struct dirent *entry;
	size_t count = 0;
	char folder[4096];
	DIR *directory;

	snprintf(folder, sizeof folder, "%s/tests/golden/import", root ? root : ".");
	directory = chdir(folder) ? NULL : opendir(".");
	while (directory && (entry = readdir(directory)) && count < CASES_MAX)
		if (strstr(entry->d_name, ".yml"))
			strcpy(names[count++], entry->d_name);
	if (directory)
		closedir(directory);
	if (count < 10) {
		fprintf(stderr, "only %zu configurations found: is WEIR_SOURCE set?\n", count);
		return 1;
	}
	qsort(names, count, sizeof *names, by_name);
	for (size_t i = 0; i < count; i++)
		tests[i + 2] = (struct CMUnitTest){ .name = names[i], .test_func = run_case, .initial_state = names[i] };
	return _cmocka_run_group_tests("endpoints", tests, count + 2, NULL, NULL);
}
