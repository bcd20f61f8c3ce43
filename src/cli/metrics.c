/* SPDX-License-Identifier: GPL-2.0-only */
/* weir metrics: counters and sizes as OpenMetrics text, to standard output, a file, or whoever asks by HTTP. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Where samples go: text, or with --json an array of objects. */
struct exposition {
	FILE *stream;
	bool openmetrics; /* else the text format that came before it */
	json_t *array;    /* NULL: text */
};

enum kind { COUNTER, GAUGE };

/* All policies, with the sets of each. */
struct scene {
	struct weir_views *views;
	size_t count;
	struct weir_set_sizes **sets;
};

struct family {
	const char *name; /* a counter's samples add _total */
	enum kind kind;
	const char *unit; /* or NULL; the name ends with it */
	const char *help;
	void (*put)(struct exposition *to, const struct family *family, const struct scene *scene,
		    const struct weir_view *view, size_t index);
};

/* --- samples ----------------------------------------------------------------------------------------------------- */

/* Backslash, quote and line end are escaped; what is not UTF-8 becomes question marks. */
static void put_value(FILE *stream, const char *value)
{
	json_t *valid = json_string(value);

	for (const char *c = value; *c; c++) {
		if (*c == '\\' || *c == '"')
			putc('\\', stream);
		if (*c == '\n')
			fputs("\\n", stream);
		else
			putc(valid || !((unsigned char)*c & 0x80) ? *c : '?', stream);
	}
	json_decref(valid);
}

static void put_json(struct exposition *to, const struct family *family, double value, va_list labels)
{
	json_t *object = json_object(), *pairs = json_object();
	const char *name, *text;

	while ((name = va_arg(labels, const char *))) {
		text = va_arg(labels, const char *);
		json_object_set_new(pairs, name, json_text(text));
	}
	json_object_set_new(object, "name", json_text(family->name));
	json_object_set_new(object, "labels", pairs);
	json_object_set_new(object, "value", json_real(value));
	json_array_append_new(to->array, object);
}

static void put_text(struct exposition *to, const struct family *family, uint64_t value, va_list labels)
{
	const char *before = "{", *name;

	fprintf(to->stream, "%s%s", family->name, family->kind == COUNTER ? "_total" : "");
	while ((name = va_arg(labels, const char *))) {
		fprintf(to->stream, "%s%s=\"", before, name);
		put_value(to->stream, va_arg(labels, const char *));
		putc('"', to->stream);
		before = ",";
	}
	fprintf(to->stream, "%s %" PRIu64 "\n", *before == ',' ? "}" : "", value);
}

/* Names and values of labels follow, and a NULL. */
static void sample(struct exposition *to, const struct family *family, uint64_t value, ...)
{
	va_list labels;

	va_start(labels, value);
	if (to->array)
		put_json(to, family, (double)value, labels);
	else
		put_text(to, family, value, labels);
	va_end(labels);
}

/* --- families ---------------------------------------------------------------------------------------------------- */

static bool is_bytes(const struct family *family)
{
	return family->unit && !strcmp(family->unit, "bytes");
}

static uint64_t of_counter(const struct family *family, const struct weir_counter *counter)
{
	return is_bytes(family) ? counter->bytes : counter->packets;
}

static void put_loaded(struct exposition *to, const struct family *family, const struct scene *scene,
		       const struct weir_view *view, size_t index)
{
	(void)scene;
	(void)index;
	sample(to, family, view->loaded_ns / 1000000000, "policy", view->name, NULL);
}

static uint64_t decided(const struct family *family, const struct weir_view *view, const char *verdict)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < view->rule_count; i++)
		if (!strcmp(view->rules[i].verdict, verdict))
			sum += of_counter(family, &view->rules[i].counter);
	if (!strcmp(view->default_verdict, verdict))
		sum += of_counter(family, &view->by_default);
	if (!strcmp(view->malformed_verdict, verdict))
		sum += of_counter(family, &view->malformed);
	if (!strcmp("accept", verdict))
		sum += of_counter(family, &view->non_ip);
	return sum;
}

static void put_decided(struct exposition *to, const struct family *family, const struct scene *scene,
			const struct weir_view *view, size_t index)
{
	static const char *const verdicts[] = { "accept", "drop", "reject" };

	(void)scene;
	(void)index;
	for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
		sample(to, family, decided(family, view, verdicts[i]), "policy", view->name, "verdict", verdicts[i], NULL);
}

static void put_special(struct exposition *to, const struct family *family, const struct weir_view *view,
			const char *rule, const char *verdict, const struct weir_counter *counter)
{
	sample(to, family, of_counter(family, counter), "policy", view->name, "rule", rule, "verdict", verdict, NULL);
}

/* A rule that decides nothing has the verdict "none". */
static void put_rules(struct exposition *to, const struct family *family, const struct scene *scene,
		      const struct weir_view *view, size_t index)
{
	char number[16];

	(void)scene;
	(void)index;
	for (size_t i = 0; i < view->rule_count; i++) {
		const struct weir_rule_view *rule = &view->rules[i];

		snprintf(number, sizeof number, "%" PRIu32, rule->number);
		put_special(to, family, view, number, rule->verdict[0] ? rule->verdict : "none", &rule->counter);
	}
	put_special(to, family, view, "default", view->default_verdict, &view->by_default);
	put_special(to, family, view, "malformed", view->malformed_verdict, &view->malformed);
	put_special(to, family, view, "non_ip", "accept", &view->non_ip);
}

static void put_texts(struct exposition *to, const struct family *family, const struct scene *scene,
		      const struct weir_view *view, size_t index)
{
	char number[16];

	(void)scene;
	(void)index;
	for (size_t i = 0; i < view->rule_count; i++) {
		snprintf(number, sizeof number, "%" PRIu32, view->rules[i].number);
		sample(to, family, 1, "policy", view->name, "rule", number, "text", view->rules[i].text, NULL);
	}
}

static void put_counters(struct exposition *to, const struct family *family, const struct scene *scene,
			 const struct weir_view *view, size_t index)
{
	(void)scene;
	(void)index;
	for (size_t i = 0; i < view->counter_count; i++)
		sample(to, family, of_counter(family, &view->counters[i].counter), "policy", view->name, "counter",
		       view->counters[i].name, NULL);
}

static void put_hooks(struct exposition *to, const struct family *family, const struct scene *scene,
		      const struct weir_view *view, size_t index)
{
	(void)scene;
	(void)index;
	for (size_t i = 0; i < view->hook_count; i++)
		sample(to, family, view->hooks[i].attached, "policy", view->name, "hook", view->hooks[i].name, "target",
		       view->hooks[i].target ? view->hooks[i].target : "", NULL);
}

static void put_cached(struct exposition *to, const struct family *family, const struct scene *scene,
		       const struct weir_view *view, size_t index)
{
	(void)scene;
	(void)index;
	for (size_t i = 0; i < view->hook_count; i++)
		sample(to, family, view->hooks[i].cached, "policy", view->name, "hook", view->hooks[i].name, "target",
		       view->hooks[i].target ? view->hooks[i].target : "", NULL);
}

static void put_events_lost(struct exposition *to, const struct family *family, const struct scene *scene,
			    const struct weir_view *view, size_t index)
{
	(void)scene;
	(void)index;
	sample(to, family, view->events_lost, "policy", view->name, NULL);
}

static void put_captures_lost(struct exposition *to, const struct family *family, const struct scene *scene,
			      const struct weir_view *view, size_t index)
{
	(void)scene;
	(void)index;
	sample(to, family, view->captures_lost, "policy", view->name, NULL);
}

/* Those of sets, or those of what is remembered; how many there are, or how many there is room for. */
static void put_sizes(struct exposition *to, const struct family *family, const struct weir_set_sizes *sizes,
		      const char *policy, bool state, bool most)
{
	const struct weir_set_size *size;

	for (size_t i = 0; (size = weir_set_size(sizes, i)); i++) {
		uint64_t value = most ? size->most : size->elements;

		if (size->state != state)
			continue;
		if (state)
			sample(to, family, value, "policy", policy, "state", size->name, NULL);
		else
			sample(to, family, value, "policy", policy, "set", size->name, "family", size->family, NULL);
	}
}

static void put_elements(struct exposition *to, const struct family *family, const struct scene *scene,
			 const struct weir_view *view, size_t index)
{
	put_sizes(to, family, scene->sets[index], view->name, false, false);
}

static void put_elements_max(struct exposition *to, const struct family *family, const struct scene *scene,
			     const struct weir_view *view, size_t index)
{
	put_sizes(to, family, scene->sets[index], view->name, false, true);
}

static void put_states(struct exposition *to, const struct family *family, const struct scene *scene,
		       const struct weir_view *view, size_t index)
{
	put_sizes(to, family, scene->sets[index], view->name, true, false);
}

static void put_states_max(struct exposition *to, const struct family *family, const struct scene *scene,
			   const struct weir_view *view, size_t index)
{
	put_sizes(to, family, scene->sets[index], view->name, true, true);
}

static const struct family families[] = {
	{ "weir_policy_loaded_timestamp_seconds", GAUGE, "seconds", "When the policy was applied.", put_loaded },
	{ "weir_policy_packets", COUNTER, NULL, "Packets by what the policy decided.", put_decided },
	{ "weir_policy_bytes", COUNTER, "bytes", "Bytes by what the policy decided.", put_decided },
	{ "weir_rule_packets", COUNTER, NULL, "Packets that a rule met, or that were decided without one.", put_rules },
	{ "weir_rule_bytes", COUNTER, "bytes", "Bytes that a rule met, or that were decided without one.", put_rules },
	{ "weir_rule_info", GAUGE, NULL, "The rule's text.", put_texts },
	{ "weir_counter_packets", COUNTER, NULL, "Packets in a named counter.", put_counters },
	{ "weir_counter_bytes", COUNTER, "bytes", "Bytes in a named counter.", put_counters },
	{ "weir_hook_attached", GAUGE, NULL, "Whether the policy's program is at its hook.", put_hooks },
	{ "weir_hook_cached_packets", COUNTER, NULL, "Packets whose answer was kept from an earlier one.", put_cached },
	{ "weir_events_lost", COUNTER, NULL, "Events of log that nobody read in time.", put_events_lost },
	{ "weir_captures_lost", COUNTER, NULL, "Packets of capture that nobody read in time.", put_captures_lost },
	{ "weir_set_elements", GAUGE, NULL, "Elements that a set holds.", put_elements },
	{ "weir_set_elements_max", GAUGE, NULL, "Elements that a set has room for.", put_elements_max },
	{ "weir_state_entries", GAUGE, NULL, "What a policy remembers of packets: rates, knocks and the like.", put_states },
	{ "weir_state_entries_max", GAUGE, NULL, "What a policy can remember.", put_states_max },
};

static const struct family build = { "weir_build_info", GAUGE, NULL, "The version of weir that tells this.", NULL };

/* In the older format a counter's name has its suffix here too, and there is no unit. */
static void put_head(struct exposition *to, const struct family *family)
{
	const char *suffix = family->kind == COUNTER && !to->openmetrics ? "_total" : "";

	if (to->array)
		return;
	fprintf(to->stream, "# TYPE %s%s %s\n", family->name, suffix, family->kind == COUNTER ? "counter" : "gauge");
	if (family->unit && to->openmetrics)
		fprintf(to->stream, "# UNIT %s %s\n", family->name, family->unit);
	fprintf(to->stream, "# HELP %s%s %s\n", family->name, suffix, family->help);
}

static void put_all(struct exposition *to, const struct scene *scene)
{
	put_head(to, &build);
	sample(to, &build, 1, "version", weir_version(), NULL);
	for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
		put_head(to, &families[i]);
		for (size_t j = 0; j < scene->count; j++)
			families[i].put(to, &families[i], scene, weir_view(scene->views, j), j);
	}
	if (to->openmetrics)
		fputs("# EOF\n", to->stream);
}

/* --- the scene --------------------------------------------------------------------------------------------------- */

static void scene_free(struct scene *scene)
{
	for (size_t i = 0; scene->sets && i < scene->count; i++)
		weir_set_sizes_free(scene->sets[i]);
	free(scene->sets);
	weir_views_free(scene->views);
}

/* A policy that goes meanwhile has no sets. */
static int scene_read(struct weir *weir, struct scene *scene)
{
	int status = weir_list(weir, &scene->views);

	if (status)
		return status;
	scene->count = weir_view_count(scene->views);
	scene->sets = memory_grow(NULL, scene->count + 1, sizeof *scene->sets);
	memset(scene->sets, 0, (scene->count + 1) * sizeof *scene->sets);
	for (size_t i = 0; i < scene->count; i++)
		weir_set_sizes(weir, weir_view(scene->views, i)->name, &scene->sets[i]);
	return WEIR_OK;
}

static int expose(struct weir *weir, struct exposition *to)
{
	struct scene scene = { .sets = NULL };
	int status = scene_read(weir, &scene);

	if (!status)
		put_all(to, &scene);
	scene_free(&scene);
	return status;
}

int metrics_text(struct weir *weir, bool openmetrics, char **ret_text, size_t *ret_length)
{
	struct exposition to = { .openmetrics = openmetrics };
	int status;

	*ret_text = NULL;
	to.stream = open_memstream(ret_text, ret_length);
	if (!to.stream)
		return WEIR_SYSTEM;
	status = expose(weir, &to);
	if (fclose(to.stream))
		status = WEIR_SYSTEM;
	if (!status)
		return WEIR_OK;
	free(*ret_text);
	return status;
}

/* --- a file ------------------------------------------------------------------------------------------------------ */

static int write_file(struct cli *cli)
{
	size_t length;
	char *text;
	int status = metrics_text(cli->weir, false, &text, &length), error;

	output_diagnostics(cli);
	if (status)
		return output_finish(cli, status, NULL);
	error = file_replace(cli->set.textfile, text, length);
	free(text);
	if (error)
		output_failure(cli, "cannot write `%s`: %s", cli->set.textfile, strerror(-error));
	return output_finish(cli, error ? WEIR_SYSTEM : WEIR_OK, NULL);
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static int print_metrics(struct cli *cli)
{
	struct exposition to = { .stream = stdout, .openmetrics = !cli->set.json,
				 .array = cli->set.json ? json_array() : NULL };
	json_t *object = NULL;
	int status = expose(cli->weir, &to);

	output_diagnostics(cli);
	if (to.array) {
		object = json_object();
		json_object_set_new(object, "metrics", to.array);
	}
	return output_finish(cli, status, object);
}

static int metrics(struct cli *cli)
{
	const struct settings *set = &cli->set;

	if (set->listen.count + !!set->textfile > 1)
		return usage_error(cli->command, "one `--listen` or `--textfile` only");
	if (set->listen.count)
		return metrics_serve(cli, set->listen.items[0]);
	return set->textfile ? write_file(cli) : print_metrics(cli);
}

static const struct option metrics_options[] = {
	TEXTS("listen", 0, "ADDR", listen, "answer HTTP requests there: HOST:PORT or unix:PATH"),
	TEXT("textfile", 0, "PATH", textfile, "replace PATH, for node_exporter's textfile collector"),
};

const struct command command_metrics = {
	.name = "metrics",
	.synopsis = "",
	.summary = "Print counters, losses and sizes of all policies as OpenMetrics",
	.help = "Counters of policies, rules and names, events and captures that were lost, how full sets are, and whether\n"
		"programs are at their hooks.",
	OPTIONS(metrics_options),
	.run = metrics,
};
