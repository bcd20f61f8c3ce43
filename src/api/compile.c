/* SPDX-License-Identifier: GPL-2.0-only */
/* From text to rule sets, and from those to any stage that is asked for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/noted.h"

enum { FILE_BYTES_MAX = 256 << 20 };

WEIR_EXPORT void weir_program_free(struct weir_program *program)
{
	api_free(program);
}

/* Reads all of an open file; the caller frees the text. */
static int read_stream(FILE *file, char **ret_text, size_t *ret_length)
{
	size_t length = 0, room = 64 * 1024;
	char *text = malloc(room + 1);

	while (text) {
		size_t got = fread(text + length, 1, room - length, file);
		char *bigger;

		length += got;
		if (ferror(file) || length > FILE_BYTES_MAX) {
			int error = ferror(file) ? (errno ? errno : EIO) : EFBIG;

			free(text);
			return -error;
		}
		if (length < room) {
			text[length] = '\0';
			*ret_text = text;
			*ret_length = length;
			return 0;
		}
		room *= 2;
		bigger = realloc(text, room + 1);
		if (!bigger)
			free(text);
		text = bigger;
	}
	return -ENOMEM;
}

int api_read_path(const char *path, char **ret_text, size_t *ret_length)
{
	bool standard_input = !strcmp(path, "-");
	FILE *file = standard_input ? stdin : fopen(path, "re");
	int error;

	if (!file)
		return -errno;
	error = read_stream(file, ret_text, ret_length);
	if (!standard_input)
		fclose(file);
	return error;
}

static const struct source *bundle_add(struct arena *arena, struct bundle *bundle, const char *name,
				       const char *text, size_t length)
{
	struct source *source = ARENA_NEW(arena, struct source);

	source->name = arena_strndup(arena, name, strlen(name));
	source->text = arena_strndup(arena, text, length);
	source->length = length;
	VEC_PUSH(arena, &bundle->files) = source;
	return source;
}

struct adding {
	struct reading to;
	const char *name;
	const char *text;
	size_t length;
	const struct source *source;
};

static int add_source(void *context)
{
	struct adding *adding = context;

	adding->source = bundle_add(adding->to.arena, adding->to.bundle, adding->name, adding->text, adding->length);
	return 0;
}

/* Reads with malloc, then copies: the arena may unwind, and nothing may leak then. */
int api_read_file(void *context, struct arena *arena, const char *path, const struct source **ret_source)
{
	struct adding adding = { .to = *(const struct reading *)context, .name = path };
	char *text;
	int error = api_read_path(path, &text, &adding.length);

	(void)arena; /* the one of what is read */
	if (error)
		return error;
	adding.text = text;
	error = arena_run(adding.to.arena, add_source, &adding);
	free(text);
	if (!error)
		*ret_source = adding.source;
	return error;
}

int api_read_bundle(void *context, struct arena *arena, const char *path, const struct source **ret_source)
{
	const struct bundle *bundle = context;

	(void)arena;
	for (size_t i = 1; i < bundle->files.count; i++) {
		if (strcmp(bundle->files.items[i]->name, path))
			continue;
		*ret_source = bundle->files.items[i];
		return 0;
	}
	return -ENOENT;
}

typedef VEC(struct weir_left) left_list;

static const struct weir_hook *describe_hooks(struct arena *arena, const struct ruleset *ruleset)
{
	struct weir_hook *hooks = ARENA_ARRAY(arena, struct weir_hook, ruleset->attach_count);

	for (size_t i = 0; i < ruleset->attach_count; i++) {
		hooks[i].name = hook_table[ruleset->attaches[i].hook].name;
		hooks[i].target = ruleset->attaches[i].target;
	}
	return hooks;
}

/* Rules that the call at `hook` leaves to others. */
static void describe_left(struct arena *arena, const struct ruleset *ruleset, enum hook hook, const char *to,
			  left_list *lefts)
{
	for (size_t i = 0; i < ruleset->chain_count; i++) {
		for (size_t j = 0; j < ruleset->chains[i].rule_count; j++) {
			const struct rule *rule = &ruleset->chains[i].rules[j];

			if (rule_split(ruleset, rule, hook) == SPLIT_DECIDED)
				continue;
			VEC_PUSH(arena, lefts) = (struct weir_left){
				.hook = hook_table[hook].name,
				.to = to,
				.rule = rule->number,
				.line = source_position(rule->span.source, rule->span.offset).line,
				.text = span_fold(arena, rule->span),
			};
		}
	}
}

static left_list describe_lefts(struct arena *arena, const struct ruleset *ruleset)
{
	hook_mask hooks = 0, told = 0;
	left_list lefts = { 0 };

	for (size_t i = 0; i < ruleset->attach_count; i++)
		hooks |= HOOK_BIT(ruleset->attaches[i].hook);
	for (size_t i = 0; i < ruleset->attach_count; i++) {
		enum hook hook = ruleset->attaches[i].hook;
		char to[256];

		if (!hook_table[hook].call || told & HOOK_BIT(hook))
			continue;
		told |= HOOK_BIT(hook);
		hook_mask_print(hooks_behind(hooks, hook), to, sizeof to);
		describe_left(arena, ruleset, hook, arena_strndup(arena, to, strlen(to)), &lefts);
	}
	return lefts;
}

void api_describe_policies(struct weir_program *program)
{
	struct arena *arena = program->arena;

	program->policies = ARENA_ARRAY(arena, struct weir_policy, program->rulesets->count);
	for (size_t i = 0; i < program->rulesets->count; i++) {
		const struct ruleset *ruleset = &program->rulesets->items[i];
		const left_list lefts = describe_lefts(arena, ruleset);

		program->policies[i] = (struct weir_policy){
			.name = ruleset->name,
			.rules = ruleset->rule_count,
			.hooks = describe_hooks(arena, ruleset),
			.hook_count = ruleset->attach_count,
			.left = lefts.items,
			.left_count = lefts.count,
		};
	}
}

struct compiling {
	struct weir_program *program;
	bool expression;
};

static int compile(struct call *call, void *context)
{
	struct compiling *compiling = context;
	struct weir_program *program = compiling->program;
	struct noted *names = noted_new(program->arena);
	struct reading reading = { program->arena, &program->bundle };
	const struct lang_input input = { .source = program->bundle.files.items[0], .expression = compiling->expression,
					  .names = &names->names, .read = api_read_file, .read_context = &reading };
	const char *wrong;

	program->bundle.names = names;
	if (lang_compile(call->arena, &input, call->diags, &program->rulesets))
		return WEIR_INPUT;
	for (size_t i = 0; i < program->rulesets->count; i++) {
		wrong = ruleset_check(call->arena, &program->rulesets->items[i]);
		if (wrong)
			return api_fail(call, WEIR_SYSTEM, "a bug in weir: policy `%s`: %s",
					program->rulesets->items[i].name, wrong);
	}
	program->expression = program->rulesets->count == 1 && program->rulesets->items[0].expression;
	program->diags = call->diags;
	api_describe_policies(program);
	return WEIR_OK;
}

struct unreadable {
	const char *path;
	int error;
};

static int fail_to_read(struct call *call, void *context)
{
	const struct unreadable *file = context;

	return api_fail(call, WEIR_INPUT, "%s: cannot be read: %s", file->path, strerror(-file->error));
}

int api_unreadable(struct weir *weir, const char *path, int error)
{
	return api_call(weir, NULL, false, fail_to_read, &(struct unreadable){ path, error });
}

static int out_of_memory(struct call *call, void *context)
{
	(void)context;
	return api_fail(call, WEIR_SYSTEM, "out of memory");
}

int api_out_of_memory(struct weir *weir)
{
	return api_call(weir, NULL, false, out_of_memory, NULL);
}

static int compile_source(struct weir *weir, const char *name, const char *text, size_t length, bool expression,
			  struct weir_program **ret_program)
{
	struct weir_program *program = api_new(sizeof *program);
	struct adding adding = { .name = name, .text = text, .length = length };
	struct compiling compiling;
	int status;

	if (program)
		adding.to = (struct reading){ program->arena, &program->bundle };
	if (!program || arena_run(program->arena, add_source, &adding)) {
		weir_program_free(program);
		return api_out_of_memory(weir);
	}
	compiling = (struct compiling){ program, expression };
	status = api_result(weir, program, compile, &compiling);
	if (!status)
		*ret_program = program;
	return status;
}

WEIR_EXPORT int weir_compile_file(struct weir *weir, const char *path, struct weir_program **ret_program)
{
	size_t length;
	char *text;
	int error = api_read_path(path, &text, &length), status;

	if (error)
		return api_unreadable(weir, path, error);
	status = compile_source(weir, path, text, length, false, ret_program);
	free(text);
	return status;
}

WEIR_EXPORT int weir_compile_text(struct weir *weir, const char *name, const char *text, size_t length,
				  struct weir_program **ret_program)
{
	return compile_source(weir, name, text, length, false, ret_program);
}

WEIR_EXPORT int weir_compile_expression(struct weir *weir, const char *text, struct weir_program **ret_program)
{
	return compile_source(weir, "expression", text, strlen(text), true, ret_program);
}

WEIR_EXPORT size_t weir_policy_count(const struct weir_program *program)
{
	return program->rulesets->count;
}

WEIR_EXPORT const struct weir_policy *weir_policy(const struct weir_program *program, size_t index)
{
	return index < program->rulesets->count ? &program->policies[index] : NULL;
}

/* --- choosing a policy and a hook -------------------------------------------------------------------------------- */

static int select_policy(struct call *call, struct weir_program *program, const char *policy,
			 const struct ruleset **ret_ruleset)
{
	const struct rulesets *all = program->rulesets;

	if (!policy && all->count == 1) {
		*ret_ruleset = &all->items[0];
		return WEIR_OK;
	}
	if (!policy)
		return api_fail(call, WEIR_INPUT, "the file holds %zu policies: say which one is meant", all->count);
	for (size_t i = 0; i < all->count; i++) {
		if (strcmp(all->items[i].name, policy))
			continue;
		*ret_ruleset = &all->items[i];
		return WEIR_OK;
	}
	return api_fail(call, WEIR_INPUT, "no policy `%s` in the file", policy);
}

/* An expression says nothing of hooks: compile it again for this one, with its errors. */
static int bind_expression(struct arena *arena, struct weir_program *program, enum hook hook, struct diags *diags,
			   const struct ruleset **ret_ruleset)
{
	const struct lang_input input = { .source = program->bundle.files.items[0], .expression = true, .hooks = HOOK_BIT(hook),
					  .names = &names_system, .read = api_read_bundle, .read_context = &program->bundle };
	const struct rulesets *rulesets;

	if (lang_compile(arena, &input, diags, &rulesets))
		return WEIR_INPUT;
	*ret_ruleset = &rulesets->items[0];
	return WEIR_OK;
}

static int hook_for_expression(struct call *call, struct weir_program *program, const struct ruleset **ret_ruleset,
			       enum hook *ret_hook)
{
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		if (bind_expression(call->arena, program, (enum hook)hook, diags_new(call->arena), ret_ruleset))
			continue;
		*ret_hook = (enum hook)hook;
		return WEIR_OK;
	}
	return api_fail(call, WEIR_INPUT, "no hook can answer all of this expression");
}

static int attached_hook(struct call *call, const struct ruleset *ruleset, int wanted, enum hook *ret_hook)
{
	for (size_t i = 0; i < ruleset->attach_count; i++) {
		if (wanted >= 0 && (int)ruleset->attaches[i].hook != wanted)
			continue;
		*ret_hook = ruleset->attaches[i].hook;
		return WEIR_OK;
	}
	return api_fail(call, WEIR_INPUT, "policy `%s` is not on hook %s", ruleset->name, hook_table[wanted].name);
}

int api_select(struct call *call, struct weir_program *program, const char *policy, const char *hook,
	       const struct ruleset **ret_ruleset, enum hook *ret_hook)
{
	int wanted = hook ? hook_by_name(hook) : -1;
	int status = select_policy(call, program, policy, ret_ruleset);

	if (status)
		return status;
	if (hook && wanted < 0)
		return api_fail(call, WEIR_INPUT, "no hook `%s`; hooks are xdp, tc-ingress, tc-egress, cgroup-ingress, "
						  "cgroup-egress, connect, bind, socket and netfilter-prerouting, -input, -forward, "
						  "-output, -postrouting", hook);
	if (!(*ret_ruleset)->expression) {
		status = attached_hook(call, *ret_ruleset, wanted, ret_hook);
		if (!status)
			*ret_ruleset = ruleset_at(call->arena, *ret_ruleset, *ret_hook);
		return status;
	}
	if (wanted < 0)
		return hook_for_expression(call, program, ret_ruleset, ret_hook);
	*ret_hook = (enum hook)wanted;
	return bind_expression(call->arena, program, *ret_hook, call->diags, ret_ruleset);
}

int api_build(struct call *call, const struct ruleset *ruleset, enum hook hook, struct built *ret_built)
{
	struct built built;

	if (plan_build(call->arena, ruleset, hook, NULL, call->diags, &built.plan) ||
	    emit_code(call->arena, built.plan, call->diags, &built.code))
		return WEIR_INPUT;
	if (emit_object(call->arena, built.plan, built.code, &built.object))
		return api_fail(call, WEIR_SYSTEM, "a bug in weir: the object cannot be written");
	*ret_built = built;
	return WEIR_OK;
}

/* --- analyses and stages ----------------------------------------------------------------------------------------- */

/* All that the language had to say: where it spoke of a condition, the planner need not. */
static struct diags *earlier_diags(struct arena *arena, const struct weir_program *program)
{
	struct diags *diags = diags_new(arena);

	for (size_t i = 0; i < program->diags->list.count; i++)
		VEC_PUSH(arena, &diags->list) = program->diags->list.items[i];
	return diags;
}

static void take_new_diags(struct call *call, const struct diags *diags, size_t known)
{
	for (size_t i = known; i < diags->list.count; i++)
		VEC_PUSH(call->arena, &call->diags->list) = diags->list.items[i];
	call->diags->errors += diags->errors;
	call->diags->warnings += diags->warnings;
}

/* Every hook may hide different rules; one warning a rule is enough, so the first hook speaks for all. */
static int analyse(struct call *call, void *context)
{
	struct weir_program *program = context;
	struct diags *diags = earlier_diags(call->arena, program);

	for (size_t i = 0; i < program->rulesets->count; i++) {
		const struct ruleset *ruleset = &program->rulesets->items[i];
		enum hook hook = ruleset->attach_count ? ruleset->attaches[0].hook : HOOK_XDP;

		if (ruleset->expression &&
		    hook_for_expression(call, program, &ruleset, &hook))
			continue;
		plan_warn(call->arena, ruleset, hook, diags);
	}
	take_new_diags(call, diags, program->diags->list.count);
	return WEIR_OK;
}

WEIR_EXPORT int weir_analyse(struct weir *weir, struct weir_program *program)
{
	return api_call(weir, program->arena, true, analyse, program);
}

struct emitting {
	struct weir_program *program;
	const char *policy, *hook, *stage;
	const char *text;
	struct object object;
};

static char *stage_diagram(struct arena *arena, const struct built *built)
{
	return plan_print_diagram(arena, built->plan);
}

static char *stage_plan(struct arena *arena, const struct built *built)
{
	return plan_print_summary(arena, built->plan);
}

static char *stage_bpf(struct arena *arena, const struct built *built)
{
	return emit_disassemble(arena, built->plan, built->code);
}

static char *stage_dot(struct arena *arena, const struct built *built)
{
	return plan_print_dot(arena, built->plan);
}

static char *stage_ir(struct arena *arena, const struct built *built)
{
	return ruleset_print(arena, built->plan->ruleset);
}

static const struct stage {
	const char *name;
	char *(*print)(struct arena *arena, const struct built *built);
} stages[] = {
	{ "ir", stage_ir }, { "diagram", stage_diagram }, { "plan", stage_plan },
	{ "bpf", stage_bpf }, { "dot", stage_dot },
};

/* Classic BPF is a program of its own, for sockets. */
static int emit_classic(struct call *call, struct emitting *emitting)
{
	const struct ruleset *ruleset;
	struct cbpf_program program;
	enum hook hook;
	int status = api_select(call, emitting->program, emitting->policy, emitting->hook ? emitting->hook : "socket",
				&ruleset, &hook);

	if (status)
		return status;
	if (hook != HOOK_SOCKET)
		return api_fail(call, WEIR_INPUT, "classic BPF judges at the hook socket only");
	if (emit_cbpf(call->arena, ruleset, NULL, call->diags, &program))
		return WEIR_INPUT;
	emitting->text = cbpf_print(call->arena, &program);
	return WEIR_OK;
}

static int emit(struct call *call, void *context)
{
	struct emitting *emitting = context;
	const struct ruleset *ruleset;
	struct built built;
	enum hook hook;
	int status;

	if (emitting->stage && !strcmp(emitting->stage, "cbpf"))
		return emit_classic(call, emitting);
	status = api_select(call, emitting->program, emitting->policy, emitting->hook, &ruleset, &hook);
	if (!status)
		status = api_build(call, ruleset, hook, &built);
	if (status)
		return status;
	emitting->object = built.object;
	if (!emitting->stage)
		return WEIR_OK;
	for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
		if (strcmp(stages[i].name, emitting->stage))
			continue;
		emitting->text = stages[i].print(call->arena, &built);
		return WEIR_OK;
	}
	return api_fail(call, WEIR_INPUT, "no stage `%s`; stages are ir, diagram, plan, bpf, cbpf and dot", emitting->stage);
}

WEIR_EXPORT int weir_emit(struct weir *weir, struct weir_program *program, const char *policy, const char *hook,
			  const char *stage, const char **ret_text)
{
	struct emitting emitting = { .program = program, .policy = policy, .hook = hook, .stage = stage };
	int status = api_call(weir, program->arena, false, emit, &emitting);

	if (!status)
		*ret_text = emitting.text;
	return status;
}

WEIR_EXPORT int weir_emit_object(struct weir *weir, struct weir_program *program, const char *policy,
				 const char *hook, const void **ret_data, size_t *ret_size)
{
	struct emitting emitting = { .program = program, .policy = policy, .hook = hook };
	int status = api_call(weir, program->arena, false, emit, &emitting);

	if (!status) {
		*ret_data = emitting.object.data;
		*ret_size = emitting.object.size;
	}
	return status;
}
