/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The policy language: text to rule sets. Input: a source and two ways to ask the outside (included files, system
 * names); output: IR. Errors are queued, all of a file in one go; then nothing is returned.
 */
#ifndef WEIR_LANG_LANG_H
#define WEIR_LANG_LANG_H

#include "ir/model.h"

/* System names. Each returns 0 and the result, or -ENOENT. NULL callbacks know no name. */
struct names {
	void *context;
	int (*user)(void *context, const char *name, uint32_t *ret_uid);
	int (*group)(void *context, const char *name, uint32_t *ret_gid);
	/* Calls found() for each user whose group it is, the first or another one; returns how many, or -errno. */
	int (*members)(void *context, const char *group, void (*found)(void *data, uint32_t uid), void *data);
	/* Port of a service for protocol "tcp", "udp" or NULL (any). */
	int (*service)(void *context, const char *name, const char *protocol, uint16_t *ret_port);
	int (*protocol)(void *context, const char *name, uint8_t *ret_number);
	/* Calls found() for each existing interface that matches the name or glob; returns how many, or -errno. */
	int (*interfaces)(void *context, const char *glob, void (*found)(void *data, uint32_t index), void *data);
	/* The executable file at that absolute path, without the path. */
	int (*program)(void *context, const char *path, struct program *ret_program);
	/* Level (root 0) and id of a cgroup of the unified hierarchy; `path` from its root. */
	int (*cgroup)(void *context, const char *path, uint8_t *ret_level, uint64_t *ret_id);
};

/* The names of this machine (getpwnam, getservbyname, if_nametoindex, name_to_handle_at, ...). */
extern const struct names names_system;

/* Reads a whole included file into the arena; `path` is already relative to the working directory. -errno. */
typedef int (*lang_read)(void *context, struct arena *arena, const char *path, const struct source **ret_source);

struct lang_input {
	const struct source *source;
	bool expression; /* a bare filter expression, else a policy file (which may itself be one bare expression) */
	hook_mask hooks; /* expression: the hooks it must be able to run at; 0: any one that sees all its fields */
	const struct names *names;
	lang_read read;
	void *read_context;
};

/* Compiles. -EINVAL if errors were queued. Only inside arena_run(). */
int lang_compile(struct arena *arena, const struct lang_input *input, struct diags *diags,
		 const struct rulesets **ret_rulesets);

/* Parses and prints the file's canonical form again, which parses to the same. -EINVAL if errors were queued. */
int lang_format(struct arena *arena, const struct lang_input *input, struct diags *diags, char **ret_text);

/* Parses the text as one rule and nothing else: where that is, without blanks and comments around it. -EINVAL. */
int lang_rule(struct arena *arena, const struct source *source, struct diags *diags, struct span *ret_span);

/* Where a policy's rules are in its file; the index is the number - 1. */
struct lang_rules {
	struct span policy; /* to its closing brace */
	const struct lang_rule { struct span span; bool main; } *items;
	size_t count;
};
/* Parses the file. -EINVAL if errors were queued, -ENOENT if there is no such policy. */
int lang_rules(struct arena *arena, const struct source *source, const char *policy, struct diags *diags,
	       struct lang_rules *ret_rules);

/* Defines that `weir tune` may change: the file's, then the policy's. */
struct lang_tunables {
	const struct lang_tunable {
		const char *name;
		const char *text; /* of its value */
		struct span value;
	} *items;
	size_t count;
};
/* As lang_rules(). */
int lang_tunables(struct arena *arena, const struct source *source, const char *policy, struct diags *diags,
		  struct lang_tunables *ret_tunables);

/*
 * Parses elements of a run-time set, as in `{ ... }` ("10.0.0.0/8", "80", "8000-8999", "alice", "10.0.0.1 timeout 1h").
 * `like` has the set's type and whether it has timeouts; elements that name none get `like->timeout_ms`.
 */
int lang_elements(struct arena *arena, const struct source *source, const struct set *like, const struct names *names,
		  struct diags *diags, struct set *ret_set);
/* Parses a timeout as in a set's declaration ("10min", "never"). */
int lang_timeout(struct arena *arena, const struct source *source, struct diags *diags, uint32_t *ret_ms);

/*
 * Parses a packet as `weir log` writes it and packet_print() does: "tcp 10.0.0.1:999 > 10.0.0.2:80 SA user=1000". What
 * stands in front of the protocol in a line of the log may be there too. Only what is said is set; what the hook
 * cannot see is left out, with a warning. `ruleset` says which cgroup levels count. -EINVAL if errors were queued.
 */
int lang_packet(struct arena *arena, const struct source *source, enum hook hook, const struct ruleset *ruleset,
		const struct names *names, struct diags *diags, struct model_fields *ret_fields);

#endif
