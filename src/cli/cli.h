/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the commands share: the command table's row, the options' values, output. The command line talks to the
 * library through weir.h only. Diagnostics and messages go to standard error, results to standard output.
 */
#ifndef WEIR_CLI_CLI_H
#define WEIR_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <weir/weir.h>

enum exit_status {
	EXIT_DONE = 0,
	EXIT_INPUT = 1,  /* the input is wrong or the answer is no */
	EXIT_SYSTEM = 2, /* the kernel or the system refused */
	EXIT_USAGE = 3,
};

/* The values of an option that may be given more than once. */
struct texts {
	const char **items;
	size_t count;
};

/* Values of all options of all commands; an option's row says which member it sets. */
struct settings {
	bool help, json, verbose;
	bool no_verify;
	bool loaded;
	bool strict, dry_run, force, prune, reset_sets, source, reset, all, follow, log;
	uint64_t confirm, rounds, seconds, flows;
	bool now, journal, once;
	uint64_t count, snap;
	const char *textfile;
	const char *expression, *policy, *pcap, *hook, *engine, *emit, *output, *pin, *file, *timeout;
	bool drop_caps, accept, inetd, reuse_port, freebind, no_lock, lock;
	uint64_t limit, backlog;
	const char *ingress, *egress, *user, *group, *backend, *pinned, *app;
	struct texts listen, filters, allow;
	bool udp, tcp, bind;
	uint64_t port, pause;
	const char *key, *new_key, *sequence;
	const char *provider;
	bool observe, block_others;
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER, OPTION_TEXTS };

struct option {
	const char *name;
	char letter;          /* 0: none */
	enum option_kind kind;
	const char *value;    /* what the help calls it; NULL for a flag */
	size_t offset;        /* in struct settings */
	const char *help;
	uint64_t least, most; /* of a number */
};

#define FLAG(name, letter, member, help) \
	{ name, letter, OPTION_FLAG, NULL, offsetof(struct settings, member), help, 0, 0 }
#define TEXT(name, letter, value, member, help) \
	{ name, letter, OPTION_TEXT, value, offsetof(struct settings, member), help, 0, 0 }
#define TEXTS(name, letter, value, member, help) \
	{ name, letter, OPTION_TEXTS, value, offsetof(struct settings, member), help, 0, 0 }
#define NUMBER(name, letter, value, member, help, least, most) \
	{ name, letter, OPTION_NUMBER, value, offsetof(struct settings, member), help, least, most }

struct cli;
struct journal;

struct command {
	const char *name;
	const char *synopsis;         /* what follows the options */
	const char *summary;          /* one line of `weir help` */
	const char *help;             /* a paragraph of `weir help COMMAND`, or NULL */
	const struct option *options; /* own ones; --json and --help come with every command */
	size_t option_count;
	size_t least, most;           /* operands */
	bool command;                 /* operands are another program's: the first one ends the options */
	bool stream;                  /* --json: one object a line, and diagnostics stay on standard error */
	int (*run)(struct cli *cli);  /* returns enum exit_status */
};

#define OPTIONS(table) .options = (table), .option_count = sizeof(table) / sizeof((table)[0])

/* One run of a command. */
struct cli {
	const struct command *command;
	struct settings set;
	char **operands;
	size_t operand_count;
	struct weir *weir;
	json_t *diagnostics; /* with --json: all so far */
	size_t errors, warnings;
	struct journal *journal; /* log --journal: where events go */
};

extern const struct command
	command_check,
	command_apply,
	command_confirm,
	command_list,
	command_show,
	command_delete,
	command_flush,
	command_load,
	command_knock,
	command_test,
	command_bench,
	command_compile,
	command_set,
	command_flows,
	command_rule,
	command_tune,
	command_top,
	command_log,
	command_capture,
	command_metrics,
	command_doctor,
	command_verify,
	command_explain,
	command_diff,
	command_run,
	command_attach,
	command_detach,
	command_systemd,
	command_enable,
	command_disable,
	command_refresh,
	command_preset,
	command_import,
	command_version,
	command_help;

/* --- options.c ------------------------------------------------------------------------------------------------- */

/* Fills cli->set and the operands (argv is reordered in place); 0 or EXIT_USAGE, with a message. */
int options_parse(struct cli *cli, int argc, char **argv);
void options_help(const struct command *command, FILE *stream);
/* Says what is wrong and how the command is used; returns EXIT_USAGE. */
int usage_error(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for the first operand of a command that has operations. */
int operation_unknown(struct cli *cli, const char *const *names, size_t count);
/* The candidate that `word` was probably meant to be, or NULL. */
const char *word_nearest(const char *word, const char *const *candidates, size_t count);

/* --- main.c ---------------------------------------------------------------------------------------------------- */

/* The commands, to the first NULL. */
const struct command *command_at(size_t index);
const struct command *command_find(const char *name);
/* "unknown command `chekc`", or that it is not supported yet; returns EXIT_USAGE. */
int command_unknown(const char *name);

/* --- output.c -------------------------------------------------------------------------------------------------- */

/* "default", "malformed" or "non_ip" for a WEIR_RULE_*; NULL for a rule's number. */
const char *output_special_rule(int32_t rule);

/* Prints, or collects for --json, the context's diagnostics; the next library call would replace them. */
void output_diagnostics(struct cli *cli);
/* Same for a failure that only the command line knows of. */
void output_failure(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A warning of the same kind. */
void output_warning(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/*
 * Ends a command: queued diagnostics are put out, with --json `object` (NULL: an empty one) too, with "ok" and
 * "diagnostics" added. Takes the object. Returns the exit status that goes with the library's `status`.
 */
int output_finish(struct cli *cli, int status, json_t *object);
/* The same where the object's first members are printed already: its last ones, and the closing brace. */
int output_finish_open(struct cli *cli, int status);
/* One JSON value on a line of its own, for commands that print a stream. Takes it. */
void output_json_line(json_t *object);
/* Makes the file hold the text, whole or not at all, mode 0644. 0 or -errno. */
int file_replace(const char *path, const char *text, size_t length);
/* Flushes standard output; EXIT_SYSTEM and a message if not all of it could be written. */
int output_flush(int status);
/* Tells the service manager that what the command is for has begun. */
void notify_ready(void);
/* A JSON string, also of text that is not UTF-8. */
json_t *json_text(const char *text);
json_t *json_number(uint64_t number);
json_t *json_counter(const struct weir_counter *counter);
json_t *json_flow_totals(const struct weir_flow_totals *totals);
json_t *json_hooks(const struct weir_hook *hooks, size_t count);
/* "tc-ingress eth0, netfilter-input"; "no hooks". */
void print_hooks(FILE *stream, const struct weir_hook *hooks, size_t count);
/* With quotes escaped and control characters as \xNN, so that no text can play with a terminal. */
void print_escaped(FILE *stream, const char *text);
/* One line of `weir log`. */
void print_event_line(FILE *stream, const struct weir_event *event);
/* Time as "2026-11-23 03:30:15" and so many digits of the second's fraction, local. */
void time_text(uint64_t time_ns, int digits, char *buffer, size_t size);
/* asprintf() that ends the program without memory. */
char *text_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *memory_grow(void *memory, size_t count, size_t size);

/* --- input.c --------------------------------------------------------------------------------------------------- */

enum input_kind { INPUT_FILE, INPUT_EXPRESSION };

/* The command's FILE, EXPR or -e EXPR; 0 or EXIT_USAGE. */
int input_choose(struct cli *cli, enum input_kind *ret_kind, const char **ret_text);
/* The name that messages have for it: the path, "standard input", "expression". */
const char *input_name(enum input_kind kind, const char *text);
/* Compiles it; weir_status. */
int input_compile(struct cli *cli, enum input_kind kind, const char *text, struct weir_program **ret_program);
/* Both; an exit status, after output_finish() if it is not 0. */
int input_program(struct cli *cli, struct weir_program **ret_program);
/* Reads a whole file or standard input ("-"); *ret_text is to be freed. 0 or -errno. */
int input_read(const char *path, char **ret_text, size_t *ret_length);

/* --- guard.c --------------------------------------------------------------------------------------------------- */

/* Policies, as text, that let some reach an address and refuse everybody else. */

/*
 * Writes to the command's --output, a new file, or to standard output; weir_status. What does not compile on this machine is
 * a warning, since it may be written for another one.
 */
int guard_write(struct cli *cli, void (*put)(FILE *out, const struct cli *cli, const void *data), const void *data);
/* What a reader does with the text; `policy` is its name. */
void guard_put_advice(FILE *out, const struct cli *cli, const char *policy);
void guard_put_begin(FILE *out, const struct cli *cli, const char *policy);
/* A user, group, ...: a number is one, anything else a name of the system's. */
void guard_put_name(FILE *out, const char *name);
/* The rule that refuses and logs whom none before it accepted; `cond` NULL: all others. */
void guard_put_refusal(FILE *out, const char *log, const char *cond);

/* --- run.c ----------------------------------------------------------------------------------------------------- */

/* What `--backend` and `--pinned` ask for; 0 or EXIT_USAGE. */
int backend_choose(struct cli *cli, enum weir_backend *ret_backend);

/* --- unit.c ---------------------------------------------------------------------------------------------------- */

/* A unit as systemd knows it. */
struct unit {
	char *name;
	char *cgroup;       /* from the hierarchy's root; "" while there is none */
	char *triggered_by; /* units that start it, with blanks between them */
};

/* Asks systemd; WEIR_INPUT and a message if there is no such unit. */
int unit_query(struct cli *cli, const char *name, struct unit *ret_unit);
void unit_free(struct unit *unit);
/* Runs systemctl (arguments[0]); its output in *ret_output if that is not NULL, to be freed. weir_status. */
int systemctl(struct cli *cli, char *const *arguments, char **ret_output);
/* The cgroup of this process from the hierarchy's root, or NULL; to be freed. */
char *unit_own_cgroup(void);
/* All to be freed: a unit's policy; an argument of Exec...=; an instance's name. */
char *unit_policy_name(const char *unit);
char *unit_quote(const char *text);
char *unit_escape(const char *text);

/* --- caps.c ---------------------------------------------------------------------------------------------------- */

enum { KEEP_EVENTS = 1, KEEP_LOADING = 2 };

/* Gives up every privilege but those that the rest of the command needs, for good; 0 or -errno. */
int caps_drop(int keep);

/* --- metrics.c, httpd.c ----------------------------------------------------------------------------------------- */

/* All metrics, in OpenMetrics' format or the older one; *ret_text is to be freed. weir_status. */
int metrics_text(struct weir *weir, bool openmetrics, char **ret_text, size_t *ret_length);
/* Answers HTTP requests at the address until a signal ends it; an exit status. */
int metrics_serve(struct cli *cli, const char *address);

/* --- journal.c -------------------------------------------------------------------------------------------------- */

/* A connection to the systemd journal, and the entry that is being made. $WEIR_JOURNAL is another socket, for tests. */
struct journal {
	int fd;
	FILE *stream;
	char *text;
	size_t length;
};

/* 0 or -errno. */
int journal_open(struct journal *journal);
void journal_close(struct journal *journal);
/* Begins an entry; fields are added, also by printing "NAME=value\n" to `stream`. */
void journal_begin(struct journal *journal);
/* An empty text is left out. */
void journal_text(struct journal *journal, const char *name, const char *value);
void journal_number(struct journal *journal, const char *name, uint64_t number);
/* 0 or -errno. */
int journal_send(struct journal *journal);

/* --- pending.c, watchdog.c ------------------------------------------------------------------------------------- */

/* The unconfirmed apply, if there is one; talks to its watchdog. */
enum pending_request { PENDING_STATUS, PENDING_CONFIRM, PENDING_ROLLBACK };
enum pending_state {
	PENDING_NONE,        /* nothing waits for a confirmation */
	PENDING_APPLYING,    /* the command that applies is not done yet */
	PENDING_WAITING,
	PENDING_CONFIRMED,
	PENDING_ROLLED_BACK,
	PENDING_STUCK,       /* rolling back failed */
};

struct pending_reply {
	uint32_t state; /* enum pending_state */
	int32_t pid;
	uint32_t seconds_left;
	char file[256];
};

/* Not decided yet: stands in the way of another apply. */
static inline bool pending_open(uint32_t state)
{
	return state == PENDING_APPLYING || state == PENDING_WAITING;
}

/* 0 or -errno. No watchdog: 0 and PENDING_NONE. */
int pending_ask(enum pending_request request, struct pending_reply *ret_reply);
/* A socket for a watchdog to listen on; -EBUSY if another one is pending. */
int pending_listen(int *ret_socket);
/* Removes the socket's name. */
void pending_remove(void);

struct watchdog {
	int channel; /* to the watchdog */
};

/*
 * Starts the process that restores `snapshot` `seconds` after watchdog_applied(), or after this process died. Returns
 * when it is ready. 0 or -errno.
 */
int watchdog_start(struct weir *weir, struct weir_snapshot *snapshot, const char *file, unsigned seconds,
		   struct watchdog *ret_watchdog);
/* The policies are in force, time begins to run; -errno if the watchdog is gone. */
int watchdog_applied(struct watchdog *watchdog);
/* Nothing was applied after all. */
void watchdog_cancel(struct watchdog *watchdog);

#endif
