/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which rules a policy has after changes in place: numbers as users see them, and what the table knows rules by. Edits as
 * they are kept in the kernel: struct rules_edit, each with one or more struct rule_op and their texts.
 */
#ifndef WEIR_API_RULE_PLACES_H
#define WEIR_API_RULE_PLACES_H

#include "api/api.h"

/*
 * Beside enum weir_rule_operation: bytes of the text that are no rule's, `number` .. `order`, become the op's text; and the log
 * statement of index `number`, which came with a rule, says the op's text, NUL-terminated.
 */
enum { RULE_TEXT = WEIR_RULE_REPLACE + 1, RULE_LOG };

/* One change of one rule, as it was made. */
struct rule_op {
	uint32_t operation; /* enum weir_rule_operation, or RULE_TEXT */
	uint32_t number;    /* that the new rule got, or the old one had */
	uint32_t order, slot; /* of the new rule */
	uint32_t verdict;   /* that it ends in + 1; 0: none */
	uint32_t length;    /* of its text, which follows, up to 7 bytes of nothing behind it */
	uint32_t placed;    /* RULE_TEXTs before it have changed the text for it: it begins there - 1; 0: none has */
	uint32_t size;      /* and is so long */
	uint64_t hash;      /* of what it means: rule_hash() */
	uint32_t named;     /* it asked for names of the machine that the index does not keep */
	uint32_t log;       /* index of its log statement, if it has one */
	uint32_t chain;     /* that the new rule stands in */
	uint32_t last;      /* it came behind the last rule of the main chain, not before the one that had its number */
};

static inline bool op_is_of_rule(const struct rule_op *op)
{
	return op->operation < RULE_TEXT;
}

/* The op behind `op` (NULL: the first) of all edits of those bytes, or NULL. Ops of one edit follow each other. */
struct op_cursor {
	const void *edits;
	size_t size;
	const struct rules_edit *edit;
	const struct rule_op *op;
};
const struct rule_op *op_next(struct op_cursor *cursor);
const char *op_text(const struct rule_op *op);
/* What the log statement of that index says, if it came by one of those edits; or NULL. */
const char *edits_log_text(const void *edits, size_t size, uint32_t log);
size_t op_size(uint32_t length);

/* A run of rules as they were built, or one that came later. */
struct rule_run {
	uint32_t first;       /* number as built; 0: came later */
	uint32_t count;
	uint32_t order, slot, chain; /* of one that came later */
	uint32_t size;        /* and, in struct edited, its text */
	const char *text;
	const struct rule_op *op;
};

struct rule_places {
	struct arena *arena;
	uint32_t stride;
	uint32_t first; /* rules have orders above this one */
	const struct table_site *sites; /* of the table; NULL: it has no chains */
	uint32_t site_count;
	uint32_t *site_of; /* by number built: its only site; 0: it has none, or several */
	uint32_t built; /* rules */
	uint32_t count; /* now */
	uint32_t came;  /* rules that came, those that went again too */
	VEC(struct rule_run) runs;
};

struct rule_places places_built(struct arena *arena, uint32_t rules, uint32_t stride);
/* The table has chains, and these are its sites. */
void places_take_sites(struct rule_places *places, const struct table_site *sites, uint32_t count);
void places_apply(struct rule_places *places, const struct rule_op *op);
/* The present number of the rule that has, or had, this counter slot; the last one if it is gone. */
uint32_t places_number(const void *edits, size_t size, uint32_t slot);
/* The rule of that number: its run, and its place in it. NULL: there is none. */
struct rule_run *places_find(const struct rule_places *places, uint32_t number, uint32_t *ret_index);
/* The number that a rule gets behind all of the main chain; 0: that has no rules, but there are others. */
uint32_t places_last(const struct rule_places *places);
/* Order of the rule of that number, or of the main chain's end; 0: it is judged in several places. */
uint32_t places_order(const struct rule_places *places, uint32_t number);
/* An order for a new rule right before what has that order; 0: there is none left. */
uint32_t places_before(const struct rule_places *places, uint32_t behind);
/* Order of the chain's end; 0: it has several. Without chains, of the main one's. */
uint32_t places_end(const struct rule_places *places, uint32_t chain);
/* The chain in which rules of that order stand. */
uint32_t places_chain(const struct rule_places *places, uint32_t order);

/* --- changing them: rule_in_place.c ------------------------------------------------------------------------------ */

struct in_place {
	struct call *call;
	const char *policy;
	struct kernel_rules *rules;
	const struct rules_state *state;
	struct rule_places places;
	struct plan_delta delta;
	VEC(char) edit;             /* ops that it is kept as, and their texts */
	VEC(struct rules_log) logs; /* that come */
};

/* A status, or RULE_REBUILD; kernel_rules_close() what was opened. */
int in_place_open(struct in_place *in_place, struct kernel *kernel);
/* Fills in the places. Only inside arena_run(). */
void in_place_read(struct in_place *in_place);
/* Gives a new rule its order, right before that one, its chain, slot and an index for a log statement. False if there is none. */
bool in_place_give(struct in_place *in_place, uint32_t behind, struct rule_op *op);
/* Adds to the edit: the op, and its text if it has a length; or what the log statements of the op's rule say. */
void in_place_put(struct in_place *in_place, const struct rule_op *op, const char *text);
void in_place_put_logs(struct in_place *in_place, const struct rule_op *op, const struct rule *rule);
/* Puts the delta in force, and keeps the edit. A status, or RULE_REBUILD. */
int in_place_commit(struct in_place *in_place);
uint32_t rule_ending_verdict(const struct rule *rule);

/* --- the text with its rules: rule_edited.c ---------------------------------------------------------------------- */

/* What is kept of each rule of a policy, by number. */
struct rule_mark {
	uint32_t at, size; /* in the policy's file */
	uint64_t hash;
};
uint64_t rule_hash(const struct ruleset *ruleset, const struct rule *rule, uint32_t chain);

/* The index that is kept beside a frame; in front of the marks. */
struct rule_index {
	uint32_t rules;      /* marks */
	uint32_t chains;     /* of the policy */
	uint32_t reserved;
	uint32_t names_size; /* behind them: noted_encode() */
	uint32_t at, size;   /* of the policy in its file */
};
/* Takes a kept one apart, in place; false if it is none. */
bool rule_index_read(const void *data, size_t size, struct rule_index *ret_index, const struct rule_mark **ret_marks,
		     const void **ret_names);

/* A stretch of text that edits left in one piece: of the file as it was, or of what an edit brought. */
struct piece {
	const char *text;
	size_t size;
};

/* A policy's file and its rules: as they were built, then as each op has left them. What is not touched is not looked at. */
struct edited {
	struct arena *arena;
	const char *name;  /* of the file */
	VEC(struct piece) pieces; /* its text */
	size_t length;
	size_t policy, policy_size; /* where the policy is in it */
	const char *built; /* the text as built, which the marks are of */
	const struct rule_mark *marks;
	struct rule_places places;
};

/* One of its rules. No edit divides a rule's text: it is in one piece. */
struct edited_rule {
	const char *text;
	uint32_t size;
	uint32_t built;           /* its number then; 0: it came later */
	const struct rule_op *op; /* that it came by */
	uint64_t hash;
};

/* The file's text need not end in NUL. */
struct edited edited_built(struct arena *arena, const struct source *file, struct span policy, const struct rule_mark *marks,
			   uint32_t rules);
void edited_apply(struct edited *edited, const struct rule_op *op);
struct edited_rule edited_rule(const struct edited *edited, uint32_t number);
/* Where it begins in the text. */
size_t edited_place(const struct edited *edited, const struct edited_rule *rule);
/* So many rules, and where they begin. */
void edited_rules(const struct edited *edited, uint32_t first, uint32_t count, struct edited_rule *rules, uint32_t *places);
/* In its piece; NULL behind the end. */
const char *edited_byte(const struct edited *edited, size_t at);
/* The whole text. */
const struct source *edited_source(const struct edited *edited);

#endif
