/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside libweir: the pipeline, top to bottom. The only folder that joins stages.
 *
 * Every public call runs its work through api_call(): inside it arena allocations cannot fail visibly, diagnostics
 * are queued, and afterwards they are copied into the context. Work functions return enum weir_status; what owns
 * anything but arena memory hangs on a structure outside the call.
 */
#ifndef WEIR_API_API_H
#define WEIR_API_API_H

#include <jansson.h>
#include <netinet/in.h>
#include <weir/weir.h>

#include "base/arena.h"
#include "base/diag.h"
#include "emit/emit.h"
#include "ir/ir.h"
#include "ir/split.h"
#include "kernel/kernel.h"
#include "lang/lang.h"
#include "plan/plan.h"

#define WEIR_EXPORT __attribute__((visibility("default")))

/* A queued diagnostic, copied out of the compilation that made it. */
struct report {
	struct weir_diagnostic diagnostic;
	const char *plain;
	const char *colour;
};

enum { FEATURES_MAX = 32 };

struct weir {
	struct arena *arena; /* of the reports */
	VEC(struct report) reports;
	size_t errors;
	size_t warnings;
	struct weir_feature features[FEATURES_MAX];
	bool unfiltered; /* weir_unfiltered() */
};

struct built;
typedef VEC(struct built) builts;

/* One public call under way. */
struct call {
	struct weir *weir;
	struct arena *arena;
	struct diags *diags;
	builts *builts; /* api_install() adds what each hook's program was built from; NULL: nobody asks */
	unsigned *proof_milliseconds; /* left for proving what api_install() builds; NULL: it is not proven */
	const struct sessions *sessions; /* of the caller, remote ones (session.c); NULL: nobody has asked yet */
};

/* `arena` NULL: a temporary one. Keeps the context's earlier diagnostics if `append`. */
int api_call(struct weir *weir, struct arena *arena, bool append, int (*work)(struct call *call, void *context),
	     void *context);

/*
 * What public calls hand out and what owns its memory: objects that begin with their arena, zeroed otherwise. NULL without memory,
 * and nothing is done to NULL.
 */
void *api_new(size_t size);
void api_free(void *object);
/* Fills a new one in by api_call(); it is freed on failure. */
int api_result(struct weir *weir, void *object, int (*work)(struct call *call, void *context), void *context);

/* Queues an error about no place and returns `status`. */
int api_fail(struct call *call, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* --- programs ---------------------------------------------------------------------------------------------------- */

/* A file that the compilation read; the first is the policy file itself. */
struct bundle {
	VEC(const struct source *) files;
	const struct noted *names; /* what it asked the machine (noted.h); NULL: it was not compiled yet */
};

struct weir_program {
	struct arena *arena;
	struct bundle bundle;
	bool expression;
	const struct rulesets *rulesets;
	const struct diags *diags;     /* the language's */
	struct weir_policy *policies; /* one for each ruleset */
};

/* Fills in its policies from its rulesets. */
void api_describe_policies(struct weir_program *program);

/* Reads a whole file, or standard input for "-"; the caller frees the text, which a NUL follows. 0 or -errno. */
int api_read_path(const char *path, char **ret_text, size_t *ret_length);
/* Calls that only fail: WEIR_INPUT with what is wrong with the file, WEIR_SYSTEM. */
int api_unreadable(struct weir *weir, const char *path, int error);
int api_out_of_memory(struct weir *weir);

/* lang_read over the file system; what is read is added to the bundle, in the arena. Context: a struct reading. */
struct reading {
	struct arena *arena;
	struct bundle *bundle;
};
int api_read_file(void *reading, struct arena *arena, const char *path, const struct source **ret_source);

/* lang_read over a struct bundle: included files as they were read the first time. */
int api_read_bundle(void *context, struct arena *arena, const char *path, const struct source **ret_source);

/*
 * The ruleset and hook that `policy` and `hook` (as in weir_emit()) mean; an expression is checked for that hook. The
 * policy is as that hook judges it (ir/split.h).
 */
int api_select(struct call *call, struct weir_program *program, const char *policy, const char *hook,
	       const struct ruleset **ret_ruleset, enum hook *ret_hook);

/* What one policy becomes at one hook. In the program's arena. */
struct built {
	const struct plan *plan;
	const struct code *code;
	struct object object;
};
int api_build(struct call *call, const struct ruleset *ruleset, enum hook hook, struct built *ret_built);

/* Proves what was built, and on demand the walkers of its table; see weir_verify(). */
void api_prove(struct call *call, const struct built *built, unsigned milliseconds, bool walkers,
	       struct weir_verification *ret_verification);

/* A difference is an error, what is not proven a warning. Takes from the time that is left. */
int api_require_proof(struct call *call, const struct built *built, unsigned *milliseconds);

/* --- what is pinned beside a policy ------------------------------------------------------------------------------ */

/* Sources as one blob, and back. */
int bundle_encode(struct arena *arena, const struct bundle *bundle, const void **ret_data, size_t *ret_size);
int bundle_decode(struct arena *arena, const void *data, size_t size, struct bundle *ret_bundle);

/* Whether the first file has that name, and its text, in place: it does not end in NUL. Allocates nothing. */
bool bundle_first_is(const void *data, size_t size, const char *name, struct source *ret_file);

/* The text of the first file, in place: it does not end in NUL. False: there is none. Allocates nothing. */
bool bundle_text(const void *data, size_t size, struct source *ret_file);

/* A rule in a policy's description. */
struct meta_rule {
	uint32_t at, size; /* in the policy's file */
	uint32_t slot;     /* where it is counted */
	uint32_t chain;    /* index in "chains" */
	uint32_t verdict;  /* that it ends in + 1; 0: none */
};
/*
 * The description, in the arena: its rules, and JSON of all else (names, chains, sets, log texts). -EILSEQ if the policy's
 * name or a rule is not UTF-8.
 */
int meta_describe(struct arena *arena, const struct ruleset *ruleset, const struct plan *plan, const char *file,
		  const void **ret_data, size_t *ret_size);
int meta_encode(struct arena *arena, json_t *meta, const struct meta_rule *rules, size_t count, const void **ret_data,
		size_t *ret_size);
/* The JSON; NULL if the blob is not one of ours. */
json_t *meta_decode(const void *data, size_t size);
/* The rules, by number - 1, in place. */
const struct meta_rule *meta_rules(const void *data, size_t size, size_t *ret_count);

/* A description with the text that it is of. */
struct described {
	json_t *json;
	const struct meta_rule *rules;
	size_t rule_count;
	struct source source;
};
/* False if a blob is not one of ours; else json_decref(ret_described->json). */
bool meta_open(const void *meta, size_t meta_size, const void *source, size_t source_size, struct described *ret_described);
struct span meta_span(const struct described *described, const struct meta_rule *rule);

/* Where the named counter of that index is counted. */
uint32_t meta_counter_slot(json_t *meta, size_t index);
/* For each slot of the new policy the slot of the old one whose count it takes over, or -1. In the arena. */
const int32_t *meta_carry(struct arena *arena, const struct described *old, const struct described *now, uint32_t slots);

/* --- installing -------------------------------------------------------------------------------------------------- */

typedef VEC(struct install_state) install_states;

struct weir_flow_totals api_flow_totals(const struct kernel_flows *flows);
/* An address as planes keep it in two words: an IPv4 one in the low half of `hi`. */
void api_address_text(uint32_t family, uint64_t hi, uint64_t lo, char text[INET6_ADDRSTRLEN]);

/* All that a policy says of its knocks, in the order of FIELD_KNOCKED's bits; without times or numbers if not `times`. */
const char *knocks_text(struct arena *arena, const struct ruleset *ruleset, bool times);
/* A copy whose knocks have their keys, which are read from files unless they are there already. */
int knocks_load_keys(struct call *call, const struct ruleset *ruleset, const struct ruleset **ret_ruleset);
/* The state maps of knocks, by the names that they are pinned under. */
#define KNOCKS_OPEN "knock-open"
#define KNOCKS_WAY "knock-way"
/* Tells of the policy's knocks, which have their keys (knock.c). */
void install_knocks(struct arena *arena, const struct ruleset *ruleset, struct install *install, install_states *states);

/* Describes one policy for the loader: at its own hooks, or (`only` not -1) at one hook without a target. */
/* The maps of the policy's named sets, as api_install() has them. */
struct install_set *api_install_sets(struct arena *arena, const struct ruleset *ruleset, size_t *ret_count);
int api_install(struct call *call, const struct ruleset *ruleset, int only, const struct bundle *bundle,
		struct install *ret_install);

/* Whether the policy in force was read from that file. The kernel is open for writing. */
bool api_came_from(struct call *call, struct kernel *kernel, const char *policy, const char *file);

/* Has `install` keep, by the rules' texts, the counts of the policy that it replaces. */
void api_carry_counters(struct call *call, struct kernel *kernel, struct install *install);

/* A policy of a file, as it shall be in force: what `weir tune` changed since stays, where the file says what it said. */
struct tuned {
	const struct ruleset *ruleset;
	const struct bundle *bundle;
	const char *changes; /* JSON: by tunable, the file's value and the one that was given; NULL: none */
};
struct tuned tune_recall(struct call *call, const struct ruleset *ruleset, const struct bundle *bundle);
/* The changes made to a policy in force, as in struct tuned. */
const char *tune_changes(struct call *call, struct kernel *kernel, const char *policy);
/* Puts into the text and the description of a policy in force what its map of tunables says. */
int tune_edit(struct call *call, const char *policy, struct diags *diags, struct policy_state *state);
/* Notes them in what is installed. */
void tune_note(struct call *call, const char *changes, struct install *install);

enum { RULE_CHANGES_MAX = 512 }; /* of tables, in place; then they are built anew */

/* What changes of single rules in place need: the policy's file without its rules. NULL: not in place. */
const void *api_frame(struct arena *arena, const struct ruleset *ruleset, const struct bundle *bundle, size_t *ret_size);

/* Beside it, where each rule is and what it means, and what the names that the bundle's files have mean. */
const void *api_rule_index(struct arena *arena, const struct ruleset *ruleset, const struct bundle *bundle,
			   size_t *ret_size);

/* kernel_policy(), whose text and description are as single rules or tunables were changed since. */
int api_policy(struct call *call, struct kernel *kernel, const char *policy, struct diags *diags,
	       struct policy_state *ret_state);

/* Compiles a pinned bundle again: the policy of that name. */
int api_recompile(struct call *call, const char *policy, struct bundle *bundle, struct ruleset *ret_ruleset);

/* For programs without a policy in force: an error if the rules capture, as nobody could read what they do. */
int api_refuse_captures(struct call *call, const struct ruleset *ruleset);

/* And if the rules ask packets for what system calls note. */
int api_refuse_notes(struct call *call, const struct install *install);

/* Gives a set of a policy in force, which is not shared, other elements in one step. */
int api_replace_set(struct call *call, struct kernel *kernel, const struct policy_state *state, const char *name,
		    const struct set *elements);

/* Are there remote sessions of the caller that the rule sets would cut? An error each, with `force` a warning. */
bool session_check(struct call *call, const struct rulesets *rulesets, bool force);
/* Are there any? */
bool session_there(struct call *call);

/* The frame as the hook meets it, for the model; false if such a hook never meets it. */
struct model_packet;
bool frame_for_hook(enum hook hook, const void *frame, size_t length, struct model_packet *ret_packet);

const char *verdict_name(unsigned verdict);

/* The span's text on one line: runs of blanks become one, comments go. In the arena. */
char *span_fold(struct arena *arena, struct span span);

#endif
