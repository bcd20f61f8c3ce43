/* SPDX-License-Identifier: GPL-2.0-only */
/* weir list: the policies in force. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 5 };

/* Left-hand columns are texts, the others numbers. */
static const char *const heads[COLUMNS] = { "POLICY", "HOOKS", "RULES", "PACKETS", "DROPS" };
enum { FIRST_NUMBER = 2 };

struct row {
	char *cells[COLUMNS];
};

static char *hooks_text(const struct weir_view *view)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	if (!stream)
		return text_print("?");
	print_hooks(stream, view->hooks, view->hook_count);
	fclose(stream);
	return text;
}

static struct row row_of(const struct weir_view *view)
{
	return (struct row){ {
		text_print(view->observe ? "%s (observes)" : "%s", view->name),
		hooks_text(view),
		text_print("%zu", view->rule_count),
		text_print("%" PRIu64, view->judged.packets),
		text_print("%" PRIu64, view->dropped.packets),
	} };
}

static void print_row(const char *const *cells, const int *widths)
{
	for (int i = 0; i < COLUMNS; i++)
		printf(i < FIRST_NUMBER ? "%s%-*s" : "%s%*s", i ? "  " : "", widths[i], cells[i]);
	printf("\n");
}

static void print_table(const struct weir_views *views)
{
	size_t count = weir_view_count(views);
	struct row *rows = memory_grow(NULL, count + 1, sizeof *rows);
	int widths[COLUMNS];

	for (int i = 0; i < COLUMNS; i++)
		widths[i] = (int)strlen(heads[i]);
	for (size_t r = 0; r < count; r++) {
		rows[r] = row_of(weir_view(views, r));
		for (int i = 0; i < COLUMNS; i++)
			if ((int)strlen(rows[r].cells[i]) > widths[i])
				widths[i] = (int)strlen(rows[r].cells[i]);
	}
	print_row(heads, widths);
	for (size_t r = 0; r < count; r++) {
		print_row((const char *const *)rows[r].cells, widths);
		for (int i = 0; i < COLUMNS; i++)
			free(rows[r].cells[i]);
	}
	free(rows);
}

static json_t *json_row(const struct weir_view *view)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_text(view->name));
	json_object_set_new(object, "observe", json_boolean(view->observe));
	json_object_set_new(object, "file", json_text(view->file));
	json_object_set_new(object, "loaded", json_real((double)view->loaded_ns / 1e9));
	json_object_set_new(object, "hooks", json_hooks(view->hooks, view->hook_count));
	json_object_set_new(object, "rules", json_number(view->rule_count));
	json_object_set_new(object, "packets", json_number(view->judged.packets));
	json_object_set_new(object, "bytes", json_number(view->judged.bytes));
	json_object_set_new(object, "drops", json_number(view->dropped.packets));
	json_object_set_new(object, "dropped_bytes", json_number(view->dropped.bytes));
	return object;
}

static json_t *json_rows(const struct weir_views *views)
{
	json_t *array = json_array();

	for (size_t i = 0; i < weir_view_count(views); i++)
		json_array_append_new(array, json_row(weir_view(views, i)));
	return json_pack("{s:o}", "policies", array);
}

static int list(struct cli *cli)
{
	struct weir_views *views;
	json_t *object = NULL;
	int status = weir_list(cli->weir, &views);

	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	if (cli->set.json)
		object = json_rows(views);
	else if (weir_view_count(views))
		print_table(views);
	else
		fprintf(stderr, "weir: no policy is in force\n");
	weir_views_free(views);
	return output_finish(cli, status, object);
}

const struct command command_list = {
	.name = "list",
	.synopsis = "",
	.summary = "List the policies in force",
	.run = list,
};
