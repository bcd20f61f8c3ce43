/* SPDX-License-Identifier: GPL-2.0-only */
/* weir show: a policy's text as it was written, with the counters of the rule that begins on a line beside it. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

struct widths {
	int packets, bytes;
};

static int digits(uint64_t number)
{
	return snprintf(NULL, 0, "%" PRIu64, number);
}

static void widen(struct widths *widths, const struct weir_counter *counter)
{
	if (digits(counter->packets) > widths->packets)
		widths->packets = digits(counter->packets);
	if (digits(counter->bytes) > widths->bytes)
		widths->bytes = digits(counter->bytes);
}

static struct widths widths_of(const struct weir_view *view)
{
	struct widths widths = { .packets = (int)strlen("packets"), .bytes = (int)strlen("bytes") };

	for (size_t i = 0; i < view->rule_count; i++)
		widen(&widths, &view->rules[i].counter);
	for (size_t i = 0; i < view->counter_count; i++)
		widen(&widths, &view->counters[i].counter);
	widen(&widths, &view->by_default);
	widen(&widths, &view->malformed);
	widen(&widths, &view->non_ip);
	return widths;
}

static void print_counter(struct widths widths, const struct weir_counter *counter)
{
	if (counter)
		printf("%*" PRIu64 "  %*" PRIu64 "  ", widths.packets, counter->packets, widths.bytes,
		       counter->bytes);
	else
		printf("%*s", widths.packets + widths.bytes + 4, "");
}

/* Tabs go to the text's own stops: behind the counters, the terminal's are elsewhere. */
static void print_expanded(const char *text, size_t length)
{
	size_t column = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] != '\t') {
			putchar(text[i]);
			column += ((unsigned char)text[i] & 0xc0) != 0x80;
			continue;
		}
		do
			putchar(' ');
		while (++column % 8);
	}
}

static void print_line(struct widths widths, const struct weir_counter *counter, const char *text, size_t length)
{
	if (!counter && !length) {
		printf("\n");
		return;
	}
	print_counter(widths, counter);
	print_expanded(text, length);
	printf("\n");
}

/* Rules are in the order of the text, so one walk over both suffices; `next` is the first rule not printed yet. */
static void print_source(const struct weir_view *view, struct widths widths)
{
	const char *text = view->source;
	size_t next = 0;

	for (uint32_t line = 1; *text; line++) {
		size_t length = strcspn(text, "\n");
		const struct weir_rule_view *rules = view->rules;
		bool begins = next < view->rule_count && rules[next].line == line;

		print_line(widths, begins ? &rules[next++].counter : NULL, text, length);
		for (; next < view->rule_count && rules[next].line <= line; next++) {
			print_counter(widths, &rules[next].counter);
			printf("  (%s)\n", rules[next].text);
		}
		text += length + (text[length] == '\n');
	}
}

/* --- what it remembers ------------------------------------------------------------------------------------------- */

/* Sets, and what packets have left behind; who is interested in single elements asks `weir set` and `weir flows`. */
struct memory {
	struct weir_set_sizes *sizes;
	struct weir_knockers *knockers;
};

static int memory_read(struct cli *cli, const char *policy, struct memory *ret_memory)
{
	int status = weir_set_sizes(cli->weir, policy, &ret_memory->sizes);

	return status ? status : weir_knockers_list(cli->weir, policy, &ret_memory->knockers);
}

static void memory_free(struct memory *memory)
{
	weir_set_sizes_free(memory->sizes);
	weir_knockers_free(memory->knockers);
}

static void print_sizes(const struct weir_set_sizes *sizes)
{
	const struct weir_set_size *size;

	for (size_t i = 0; (size = weir_set_size(sizes, i)); i++) {
		printf("%s%s%s%s: %" PRIu64 " of %" PRIu64, size->state ? "" : "set ", size->name, *size->family ? " " : "",
		       size->family, size->elements, size->most);
		if (size->memory)
			printf(" in %" PRIu64 " KiB", size->memory / 1024);
		printf("\n");
	}
}

enum { KNOCKERS_SHOWN = 20 };

static void print_knockers(const struct weir_knockers *knockers)
{
	const struct weir_knocker *knocker;
	size_t i;

	for (i = 0; (knocker = weir_knocker(knockers, i)); i++) {
		if (i >= KNOCKERS_SHOWN)
			continue;
		if (knocker->step)
			printf("knock %s: %s takes step %u next, within %.1f s\n", knocker->knock, knocker->source,
			       knocker->step, (double)knocker->left_ms / 1000);
		else
			printf("knock %s: open for %s, another %.1f s\n", knocker->knock, knocker->source,
			       (double)knocker->left_ms / 1000);
	}
	if (i > KNOCKERS_SHOWN)
		printf("and %zu more\n", i - KNOCKERS_SHOWN);
}

static json_t *json_sizes(const struct weir_set_sizes *sizes)
{
	json_t *array = json_array();
	const struct weir_set_size *size;

	for (size_t i = 0; (size = weir_set_size(sizes, i)); i++)
		json_array_append_new(array, json_pack("{s:o, s:s, s:s, s:o, s:o, s:o}", "name", json_text(size->name),
						       "kind", size->state ? "state" : "set", "family", size->family,
						       "elements", json_number(size->elements), "max",
						       json_number(size->most), "memory", json_number(size->memory)));
	return array;
}

static json_t *json_knockers(const struct weir_knockers *knockers)
{
	json_t *array = json_array();
	const struct weir_knocker *knocker;

	for (size_t i = 0; (knocker = weir_knocker(knockers, i)); i++)
		json_array_append_new(array, json_pack("{s:o, s:o, s:b, s:i, s:f}", "knock", json_text(knocker->knock),
						       "source", json_text(knocker->source), "open", !knocker->step,
						       "next_step", (int)knocker->step, "left",
						       (double)knocker->left_ms / 1000));
	return array;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static void print_view(const struct weir_view *view, const struct memory *memory)
{
	struct widths widths = widths_of(view);
	char loaded[32];

	time_text(view->loaded_ns, 0, loaded, sizeof loaded);
	printf("# %s, loaded %s from %s, on ", view->name, loaded, view->file ? view->file : "?");
	print_hooks(stdout, view->hooks, view->hook_count);
	if (view->observe)
		printf("; only observes");
	printf("\n%*s  %*s\n", widths.packets, "packets", widths.bytes, "bytes");
	print_source(view, widths);
	print_counter(widths, &view->by_default);
	printf("default %s\n", view->default_verdict);
	print_counter(widths, &view->malformed);
	printf("malformed\n");
	print_counter(widths, &view->non_ip);
	printf("non_ip\n");
	for (size_t i = 0; i < view->counter_count; i++) {
		print_counter(widths, &view->counters[i].counter);
		printf("counter %s\n", view->counters[i].name);
	}
	if (view->events_lost)
		printf("%" PRIu64 " events lost\n", view->events_lost);
	if (view->captures_size)
		printf("%" PRIu64 " KiB for captured packets\n", view->captures_size >> 10);
	if (view->flows)
		printf("flows: room for %" PRIu32 " in %" PRIu64 " KiB; %" PRIu64 " begun, %" PRIu64 " assured, %" PRIu64
		       " refused; %" PRIu64 " invalid packets\n", view->flows->max, view->flows->memory / 1024,
		       view->flows->created, view->flows->assured, view->flows->refused, view->flows->invalid);
	if (view->captures_lost)
		printf("%" PRIu64 " captured packets lost\n", view->captures_lost);
	print_sizes(memory->sizes);
	print_knockers(memory->knockers);
}



static json_t *json_rules(const struct weir_view *view)
{
	json_t *array = json_array();

	for (size_t i = 0; i < view->rule_count; i++) {
		const struct weir_rule_view *rule = &view->rules[i];
		json_t *object = json_object();

		json_object_set_new(object, "number", json_integer(rule->number));
		json_object_set_new(object, "line", json_integer(rule->line));
		json_object_set_new(object, "text", json_text(rule->text));
		json_object_set_new(object, "packets", json_number(rule->counter.packets));
		json_object_set_new(object, "bytes", json_number(rule->counter.bytes));
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *json_counters(const struct weir_view *view)
{
	json_t *array = json_array();

	for (size_t i = 0; i < view->counter_count; i++) {
		json_t *object = json_counter(&view->counters[i].counter);

		json_object_set_new(object, "name", json_text(view->counters[i].name));
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *json_view(const struct weir_view *view, const struct memory *memory)
{
	json_t *object = json_object();

	json_object_set_new(object, "name", json_text(view->name));
	json_object_set_new(object, "observe", json_boolean(view->observe));
	json_object_set_new(object, "file", json_text(view->file));
	json_object_set_new(object, "loaded", json_real((double)view->loaded_ns / 1e9));
	json_object_set_new(object, "hooks", json_hooks(view->hooks, view->hook_count));
	json_object_set_new(object, "source", json_text(view->source));
	json_object_set_new(object, "source_line", json_integer(view->source_line));
	json_object_set_new(object, "rules", json_rules(view));
	json_object_set_new(object, "default_verdict", json_text(view->default_verdict));
	json_object_set_new(object, "default", json_counter(&view->by_default));
	json_object_set_new(object, "malformed", json_counter(&view->malformed));
	json_object_set_new(object, "non_ip", json_counter(&view->non_ip));
	json_object_set_new(object, "judged", json_counter(&view->judged));
	json_object_set_new(object, "dropped", json_counter(&view->dropped));
	json_object_set_new(object, "counters", json_counters(view));
	json_object_set_new(object, "events_lost", json_number(view->events_lost));
	json_object_set_new(object, "captures_lost", json_number(view->captures_lost));
	json_object_set_new(object, "captures_size", json_number(view->captures_size));
	json_object_set_new(object, "flows", view->flows ? json_flow_totals(view->flows) : json_null());
	json_object_set_new(object, "state", json_sizes(memory->sizes));
	json_object_set_new(object, "knocks", json_knockers(memory->knockers));
	return object;
}

static void print_text(const struct weir_view *view)
{
	size_t length = strlen(view->source);

	fputs(view->source, stdout);
	if (length && view->source[length - 1] != '\n')
		putchar('\n');
}

static int show(struct cli *cli)
{
	struct weir_views *views;
	json_t *object = NULL;
	struct memory memory = { 0 };
	int status = weir_show(cli->weir, cli->operands[0], &views);

	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	if (!cli->set.source || cli->set.json)
		status = memory_read(cli, cli->operands[0], &memory);
	if (status)
		output_diagnostics(cli);
	if (cli->set.json)
		object = json_view(weir_view(views, 0), &memory);
	else if (cli->set.source)
		print_text(weir_view(views, 0));
	else
		print_view(weir_view(views, 0), &memory);
	memory_free(&memory);
	weir_views_free(views);
	if (cli->set.reset) {
		status = weir_counters_reset(cli->weir, cli->operands[0]);
		output_diagnostics(cli);
	}
	return output_finish(cli, status, object);
}

static const struct option show_options[] = {
	FLAG("source", 0, source, "the text alone, without counters"),
	FLAG("reset", 0, reset, "counters start from zero again afterwards"),
};

const struct command command_show = {
	.name = "show",
	.synopsis = "NAME",
	.summary = "Show a policy's text with a packet and byte counter beside each rule",
	OPTIONS(show_options),
	.least = 1,
	.most = 1,
	.run = show,
};
