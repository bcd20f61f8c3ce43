/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * weir top: what the rules of a policy, or of all, count at this moment. On a terminal a picture that is drawn anew every
 * second, and keys for tunables; else, or with --once, --count or --json, lines of text.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { INTERVAL_MS = 1000, LINES_MAX = 500, WIDTH_MAX = 400, KEY_UP = 256, KEY_DOWN, KEY_QUIT, KEY_NONE };

/* One look at the counters. */
struct sample {
	struct weir_views *views;
	uint64_t time_ns;
};

struct top {
	struct cli *cli;
	const char *policy;  /* NULL: all */
	struct sample before, now;
	struct weir_tunables *tunables; /* of the one policy; NULL: not asked for */
	size_t selected;
	bool live;           /* on a terminal */
	size_t lines, width; /* that there is room for */
	size_t drawn;
	char message[200];
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- samples ----------------------------------------------------------------------------------------------------- */

static int take(struct top *top, struct sample *ret_sample)
{
	struct sample sample = { .time_ns = clock_ns() };
	int status = top->policy ? weir_show(top->cli->weir, top->policy, &sample.views) :
				   weir_list(top->cli->weir, &sample.views);

	if (!status)
		*ret_sample = sample;
	return status;
}

static const struct weir_view *find_view(const struct sample *sample, const char *name)
{
	for (size_t i = 0; sample->views && i < weir_view_count(sample->views); i++)
		if (!strcmp(weir_view(sample->views, i)->name, name))
			return weir_view(sample->views, i);
	return NULL;
}

/* The same rule a sample before; counts of another one, or of one that began anew, are none. */
static struct weir_counter rule_before(const struct top *top, const struct weir_view *view, size_t index)
{
	const struct weir_view *old = find_view(&top->before, view->name);
	const struct weir_rule_view *rule = &view->rules[index];
	const struct weir_rule_view *was = old && index < old->rule_count ? &old->rules[index] : NULL;

	if (!was || strcmp(was->text, rule->text) || was->counter.packets > rule->counter.packets)
		return rule->counter;
	return was->counter;
}

static double per_second(const struct top *top, uint64_t now, uint64_t before)
{
	double seconds = (double)(top->now.time_ns - top->before.time_ns) / 1e9;

	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

/* --- text -------------------------------------------------------------------------------------------------------- */

static void line(struct top *top, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As wide as the terminal is, and no more lines than there are. */
static void line(struct top *top, const char *format, ...)
{
	char text[WIDTH_MAX + 1];
	va_list args;

	if (top->live && top->drawn + 1 >= top->lines)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (top->live && top->width < WIDTH_MAX)
		text[top->width] = '\0';
	printf("%s%s\n", text, top->live ? "\033[K" : "");
	top->drawn++;
}

static void draw_counter(struct top *top, struct weir_counter now, struct weir_counter before, const char *what)
{
	line(top, "%12.0f %14.0f %14" PRIu64 "  %s", per_second(top, now.packets, before.packets),
	     per_second(top, now.bytes, before.bytes), now.packets, what);
}

static void draw_view(struct top *top, const struct weir_view *view)
{
	const struct weir_view *old = find_view(&top->before, view->name);

	line(top, "%12s %14s %14s  policy %s", "packets/s", "bytes/s", "packets", view->name);
	for (size_t i = 0; i < view->rule_count && i < LINES_MAX; i++)
		draw_counter(top, view->rules[i].counter, rule_before(top, view, i), view->rules[i].text);
	draw_counter(top, view->by_default, old ? old->by_default : view->by_default, "default");
	draw_counter(top, view->malformed, old ? old->malformed : view->malformed, "malformed");
}

static void draw_tunables(struct top *top)
{
	for (size_t i = 0; top->tunables && weir_tunable(top->tunables, i); i++)
		line(top, "%c %s=%s", top->live && i == top->selected ? '>' : ' ', weir_tunable(top->tunables, i)->name,
		     weir_tunable(top->tunables, i)->value);
}

static void draw(struct top *top)
{
	top->drawn = 0;
	if (top->live)
		printf("\033[H");
	for (size_t i = 0; i < weir_view_count(top->now.views); i++)
		draw_view(top, weir_view(top->now.views, i));
	draw_tunables(top);
	if (top->live)
		printf("%.*s\033[K\033[J", (int)top->width, top->message[0] ? top->message :
		       "q: quit   up, down: select a tunable   +, -: change it");
	fflush(stdout);
}

static json_t *counter_json(const struct top *top, struct weir_counter now, struct weir_counter before)
{
	return json_pack("{s:I, s:I, s:f, s:f}", "packets", (json_int_t)now.packets, "bytes", (json_int_t)now.bytes,
			 "packets_per_second", per_second(top, now.packets, before.packets), "bytes_per_second",
			 per_second(top, now.bytes, before.bytes));
}

static void print_json(const struct top *top)
{
	for (size_t i = 0; i < weir_view_count(top->now.views); i++) {
		const struct weir_view *view = weir_view(top->now.views, i), *old = find_view(&top->before, view->name);
		json_t *rules = json_array(), *tunables = json_object();

		for (size_t r = 0; r < view->rule_count; r++) {
			json_t *rule = counter_json(top, view->rules[r].counter, rule_before(top, view, r));

			json_object_set_new(rule, "number", json_number(view->rules[r].number));
			json_object_set_new(rule, "text", json_text(view->rules[r].text));
			json_array_append_new(rules, rule);
		}
		for (size_t t = 0; top->tunables && weir_tunable(top->tunables, t); t++)
			json_object_set_new(tunables, weir_tunable(top->tunables, t)->name,
					    json_text(weir_tunable(top->tunables, t)->value));
		output_json_line(json_pack("{s:o, s:o, s:o, s:o}", "policy", json_text(view->name), "rules", rules,
					   "default", counter_json(top, view->by_default,
								   old ? old->by_default : view->by_default),
					   "tunables", tunables));
	}
}

/* --- keys -------------------------------------------------------------------------------------------------------- */

static int read_key(void)
{
	char bytes[8];
	ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);

	if (got <= 0 || bytes[0] == 'q' || bytes[0] == 3)
		return KEY_QUIT;
	if (got >= 3 && bytes[0] == 27 && bytes[1] == '[')
		return bytes[2] == 'A' ? KEY_UP : bytes[2] == 'B' ? KEY_DOWN : KEY_NONE;
	return (unsigned char)bytes[0];
}

/* A decimal number, one more or less; other values are not for keys. */
static void change_tunable(struct top *top, int by)
{
	const struct weir_tunable *tunable = top->tunables ? weir_tunable(top->tunables, top->selected) : NULL;
	char value[32];
	long long number;

	if (!tunable)
		return;
	number = atoll(tunable->value);
	if (tunable->value[strspn(tunable->value, "0123456789")] || strlen(tunable->value) > 15 || number + by < 0) {
		snprintf(top->message, sizeof top->message, "%s is not a number that can be changed so", tunable->name);
		return;
	}
	snprintf(value, sizeof value, "%lld", number + by);
	top->message[0] = '\0';
	if (weir_tune(top->cli->weir, top->policy, tunable->name, value, NULL))
		snprintf(top->message, sizeof top->message, "%s cannot be %s", tunable->name, value);
}

static int refresh_tunables(struct top *top)
{
	struct weir_tunables *tunables;
	int status = weir_tunables_get(top->cli->weir, top->policy, &tunables);

	if (status)
		return status;
	weir_tunables_free(top->tunables);
	top->tunables = tunables;
	return 0;
}

/* False: quit. */
static bool take_key(struct top *top, int key)
{
	switch (key) {
	case KEY_QUIT:
		return false;
	case KEY_UP:
		top->selected -= top->selected > 0;
		break;
	case KEY_DOWN:
		top->selected += top->tunables && weir_tunable(top->tunables, top->selected + 1);
		break;
	case '+':
	case '-':
		change_tunable(top, key == '+' ? 1 : -1);
		refresh_tunables(top);
		break;
	default:
		break;
	}
	draw(top);
	return true;
}

/* Until the interval is over; false: quit. */
static bool wait_for_keys(struct top *top)
{
	uint64_t until = clock_ns() + (uint64_t)INTERVAL_MS * 1000000, now;

	while (!interrupted && (now = clock_ns()) < until) {
		struct pollfd input = { .fd = top->live ? STDIN_FILENO : -1, .events = POLLIN };
		int ready = poll(&input, 1, (int)((until - now) / 1000000) + 1);

		if (ready > 0 && !take_key(top, read_key()))
			return false;
	}
	return !interrupted;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static void measure_terminal(struct top *top)
{
	struct winsize size;

	top->lines = 24;
	top->width = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
		return;
	top->lines = size.ws_row;
	top->width = size.ws_col;
}

static int next_sample(struct top *top)
{
	struct sample sample;
	int status = take(top, &sample);

	if (status)
		return status;
	weir_views_free(top->before.views);
	top->before = top->now;
	top->now = sample;
	return top->policy ? refresh_tunables(top) : 0;
}

static int show_frames(struct top *top)
{
	uint64_t frames = top->cli->set.once ? 1 : top->cli->set.count;
	int status = next_sample(top);

	if (!status && top->live) {
		measure_terminal(top);
		draw(top);
	}
	for (uint64_t frame = 0; !status && (!frames || frame < frames) && wait_for_keys(top); frame++) {
		status = next_sample(top);
		if (status)
			break;
		if (top->live)
			measure_terminal(top);
		if (top->cli->set.json)
			print_json(top);
		else
			draw(top);
	}
	return status;
}

static int show_live(struct top *top)
{
	struct termios former, raw;
	int status;

	if (tcgetattr(STDIN_FILENO, &former))
		return show_frames(top);
	raw = former;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	printf("\033[?1049h\033[?25l\033[2J");
	status = show_frames(top);
	printf("\033[?25h\033[?1049l");
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &former);
	return status;
}

static int top(struct cli *cli)
{
	const struct sigaction action = { .sa_handler = interrupt };
	struct top top = { .cli = cli, .policy = cli->operand_count ? cli->operands[0] : NULL };
	int status;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	top.live = !cli->set.once && !cli->set.count && !cli->set.json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	status = top.live ? show_live(&top) : show_frames(&top);
	output_diagnostics(cli);
	weir_views_free(top.before.views);
	weir_views_free(top.now.views);
	weir_tunables_free(top.tunables);
	return output_finish(cli, status, NULL);
}

static const struct option top_options[] = {
	FLAG("once", '1', once, "print once what a second brings, and end"),
	NUMBER("count", 'c', "N", count, "print N times, once a second", 1, UINT64_MAX),
};

const struct command command_top = {
	.name = "top",
	.synopsis = "[NAME]",
	.summary = "Show live what rules count; change tunables by keys",
	.help = "Keys: q ends; up and down select a tunable, + and - change it. Without a terminal, text is printed once a "
		"second.",
	OPTIONS(top_options),
	.most = 1,
	.stream = true,
	.run = top,
};
