/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System names and the built-in names of values. Input: a word of a field's type; output: its value in the operand,
 * or an error with the nearest name that is known.
 */
#include <errno.h>
#include <string.h>

#include "lang/literal.h"
#include "lang/lower.h"

static void add(struct lower *lower, struct operand *operand, u128 value)
{
	VEC_PUSH(lower->arena, &operand->ranges) = (struct range){ value, value };
}

/* The callback must not allocate (the arena unwinds): it fills what is there; more room is made for a second try. */
struct found {
	uint32_t *items;
	size_t count;
	size_t room;
};

typedef int look_up(void *context, const char *name, void (*found)(void *data, uint32_t number), void *data);

static void found_one(void *data, uint32_t number)
{
	struct found *found = data;

	if (found->count < found->room)
		found->items[found->count] = number;
	found->count++;
}

/* All numbers that the name stands for; false: there is no such name. */
static bool find_all(struct lower *lower, look_up *look_up_all, const char *name, struct found *ret_found)
{
	struct found found = { .room = 32 };

	for (;;) {
		found.items = ARENA_ARRAY(lower->arena, uint32_t, found.room);
		found.count = 0;
		if (!look_up_all || look_up_all(lower->input->names->context, name, found_one, &found) < 0)
			return false;
		if (found.count <= found.room)
			break;
		found.room = found.count * 2;
	}
	*ret_found = found;
	return true;
}

static bool service(struct lower *lower, struct operand *operand, const struct word *word)
{
	const struct names *names = lower->input->names;
	const char *protocol = operand->field->service;
	uint16_t port;

	if (!names || !names->service)
		return false;
	if (names->service(names->context, word->text, protocol, &port) &&
	    (!protocol || names->service(names->context, word->text, NULL, &port)))
		return false;
	add(lower, operand, port);
	return true;
}

static bool builtin(struct lower *lower, struct operand *operand, const struct word *word)
{
	int value = words_value(operand->field->type, word->text);

	if (value >= 0)
		add(lower, operand, (u128)value);
	return value >= 0;
}

static bool protocol(struct lower *lower, struct operand *operand, const struct word *word)
{
	const struct names *names = lower->input->names;
	uint8_t number;

	if (builtin(lower, operand, word))
		return true;
	if (!names || !names->protocol || names->protocol(names->context, word->text, &number))
		return false;
	add(lower, operand, number);
	return true;
}

static bool user(struct lower *lower, struct operand *operand, const struct word *word)
{
	const struct names *names = lower->input->names;
	uint32_t uid;

	if (!names || !names->user || names->user(names->context, word->text, &uid) ||
	    uid > operand_max(operand->field))
		return false;
	add(lower, operand, uid);
	return true;
}

static bool group(struct lower *lower, struct operand *operand, const struct word *word)
{
	const struct names *names = lower->input->names;
	uint32_t gid;

	if (!names || !names->group || names->group(names->context, word->text, &gid) ||
	    gid > operand_max(operand->field))
		return false;
	add(lower, operand, gid);
	return true;
}

/* Its place in the policy's table of programs, or of roots, which gets it if it is not there yet. */
static bool program(struct lower *lower, struct operand *operand, const struct word *word)
{
	const struct names *names = lower->input->names;
	size_t max = operand->of_tree ? TREES_MAX : PROGRAMS_MAX, count, place = 0;
	const struct program *programs;
	struct program found;

	if (!names || !names->program || names->program(names->context, word->text, &found))
		return false;
	found.path = word->text;
	programs = operand->of_tree ? lower->roots.items : lower->programs.items;
	count = operand->of_tree ? lower->roots.count : lower->programs.count;
	while (place < count && (programs[place].device != found.device || programs[place].inode != found.inode))
		place++;
	if (place == max) {
		diag_error(lower->diags, lower_span(lower, word->span), "a policy names at most %zu programs%s", max,
			   operand->of_tree ? " and all that they start" : "");
		operand->failed = true;
		return true;
	}
	if (place == count && operand->of_tree)
		VEC_PUSH(lower->arena, &lower->roots) = found;
	else if (place == count)
		VEC_PUSH(lower->arena, &lower->programs) = found;
	add(lower, operand, operand->of_tree ? place : PROGRAM_FIRST + place);
	return true;
}

static bool interfaces(struct lower *lower, struct operand *operand, const struct word *word)
{
	const struct names *names = lower->input->names;
	struct found found;

	if (!names || !find_all(lower, names->interfaces, word->text, &found))
		return false;
	for (size_t i = 0; i < found.count; i++)
		add(lower, operand, found.items[i]);
	return found.count;
}

/* Whether a group's members may stand there. */
static bool members_fit(struct lower *lower, const struct operand *operand, const struct value *members)
{
	struct diag *diag;

	if (operand->field->type != TYPE_USER) {
		diag_error(lower->diags, members->span, "`members` is of users, but %s needs %s", operand->subject,
			   operand_needs(operand));
	} else if (operand->of_set) {
		diag_error(lower->diags, members->span, "a set holds users, not who is in a group");
	} else if (operand->single) {
		diag = diag_error(lower->diags, members->span, "a comparison takes one value, not all members of a group");
		diag_hint(lower->diags, diag, "write `in` or `not in`");
	} else {
		return true;
	}
	return false;
}

void operand_members(struct lower *lower, struct operand *operand, const struct value *members)
{
	const struct names *names = lower->input->names;
	const struct word *group = &members->word;
	struct found found;

	operand->failed = operand->failed || !members_fit(lower, operand, members);
	if (operand->failed)
		return;
	if (!names || !find_all(lower, names->members, group->text, &found)) {
		diag_error(lower->diags, group->span, "unknown group `%s`", group->text);
		operand->failed = true;
		return;
	}
	if (!found.count)
		diag_warning(lower->diags, members->span, "nobody is in group `%s`", group->text);
	for (size_t i = 0; i < found.count; i++)
		if (found.items[i] <= operand_max(operand->field))
			add(lower, operand, found.items[i]);
}

/* The slot of struct packet for ancestors at that level. */
static int cgroup_slot(struct lower *lower, uint8_t level)
{
	for (uint8_t slot = 0; slot < lower->level_count; slot++)
		if (lower->levels[slot] == level)
			return slot;
	if (lower->level_count == PACKET_CGROUPS)
		return -1;
	lower->levels[lower->level_count] = level;
	return lower->level_count++;
}

static bool cgroup(struct lower *lower, struct operand *operand, const struct word *word)
{
	const struct names *names = lower->input->names;
	struct cgroup_ref ref;
	struct diag *diag;
	uint8_t level;
	int slot;

	if (word->text[0] != '/' || !names || !names->cgroup ||
	    names->cgroup(names->context, word->text, &level, &ref.id))
		return false;
	slot = cgroup_slot(lower, level);
	if (slot < 0) {
		diag = diag_error(lower->diags, lower_span(lower, word->span),
				  "this policy's cgroups are at more than %d different depths", PACKET_CGROUPS);
		diag_hint(lower->diags, diag, "split the policy, or compare with a common ancestor");
		operand->failed = true;
		return true;
	}
	ref.slot = (uint8_t)slot;
	VEC_PUSH(lower->arena, &operand->cgroups) = ref;
	return true;
}

/* Where systemd puts units whose slice nobody chose; the path of another one is for `cgroup`. */
static const char *const unit_slices[] = { "/system.slice/", "/", "/user.slice/", "/machine.slice/" };

static bool unit(struct lower *lower, struct operand *operand, const struct word *word)
{
	struct word path = *word;

	for (size_t i = 0; i < sizeof unit_slices / sizeof *unit_slices && !strchr(word->text, '/'); i++) {
		path.text = arena_printf(lower->arena, "%s%s", unit_slices[i], word->text);
		if (cgroup(lower, operand, &path))
			return true;
	}
	return false;
}

/* --- ICMP ---------------------------------------------------------------------------------------------------- */

static bool wants_code(const struct operand *operand)
{
	return operand->field->type == TYPE_ICMP4_CODE || operand->field->type == TYPE_ICMP6_CODE;
}

static bool icmp_family(struct lower *lower, struct operand *operand, bool v6, int type, int code)
{
	if (type < 0 || (wants_code(operand) && code < 0))
		return false;
	if (code >= 0)
		VEC_PUSH(lower->arena, &operand->pairs) = (struct icmp_pair){ v6, (uint8_t)type, (uint8_t)code };
	else if (v6)
		VEC_PUSH(lower->arena, &operand->ranges6) = (struct range){ (u128)type, (u128)type };
	else
		add(lower, operand, (u128)type);
	return true;
}

static bool icmp(struct lower *lower, struct operand *operand, const struct word *word)
{
	const struct icmp_name *name = words_icmp(word->text);
	bool known = false;

	if (!name)
		return false;
	if (operand->field->families & FAMILY4)
		known |= icmp_family(lower, operand, false, name->type4, name->code4);
	if (operand->field->families & FAMILY6)
		known |= icmp_family(lower, operand, true, name->type6, name->code6);
	return known;
}

/* --- all of them --------------------------------------------------------------------------------------------- */

static bool (*const lookups[TYPE_COUNT])(struct lower *lower, struct operand *operand, const struct word *word) = {
	[TYPE_PORT] = service,       [TYPE_PROTO] = protocol,  [TYPE_ETHERTYPE] = builtin,
	[TYPE_USER] = user,          [TYPE_GROUP] = group,     [TYPE_PROGRAM] = program,
	[TYPE_UNIT] = unit,          [TYPE_CGROUP] = cgroup,   [TYPE_IFACE] = interfaces,
	[TYPE_ICMP] = icmp,          [TYPE_ICMP4_TYPE] = icmp, [TYPE_ICMP6_TYPE] = icmp,
	[TYPE_ICMP4_CODE] = icmp,    [TYPE_ICMP6_CODE] = icmp, [TYPE_FLAGS] = builtin,
	[TYPE_DSCP] = builtin,       [TYPE_ECN] = builtin,     [TYPE_FRAGMENT] = builtin,
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A number or address that is written in a way that this language does not have. */
static bool looks_numeric(const char *text)
{
	return is_digit(text[0]);
}

static bool all_digits(const char *text)
{
	return strspn(text, "0123456789") == strlen(text);
}

static const char *nearest_value(struct lower *lower, const struct operand *operand, const struct word *word)
{
	const char *nearest = words_nearest_value(operand->field->type, word->text);

	if (!nearest)
		nearest = scope_nearest(lower, word->text, LOCAL_NONE);
	return nearest && !word->quoted && strcmp(nearest, word->text) ? nearest : NULL;
}

static void hint_unknown(struct lower *lower, struct operand *operand, const struct word *word, struct diag *diag)
{
	enum value_type type = operand->field->type;
	const char *nearest = nearest_value(lower, operand, word);

	if (all_digits(word->text) && word->text[0] == '0' && !word->quoted)
		diag_hint(lower->diags, diag, "numbers are decimal without leading zeros, or hexadecimal: `0x10`");
	else if (type == TYPE_ADDRESS && strchr(word->text, '.') && !looks_numeric(word->text))
		diag_hint(lower->diags, diag, "host names are not addresses");
	else if (type == TYPE_PROGRAM)
		diag_hint(lower->diags, diag, "a program is an executable file by its whole path: \"/usr/bin/curl\"");
	else if (type == TYPE_UNIT)
		diag_hint(lower->diags, diag, "a unit that runs, with its suffix: \"nginx.service\"; where it is not in "
			  "system.slice, name its cgroup");
	else if (type == TYPE_CGROUP && word->text[0] != '/')
		diag_hint(lower->diags, diag, "a cgroup's path begins with `/`");
	else if (nearest)
		diag_hint(lower->diags, diag, "did you mean `%s`?", nearest);
	else if (type == TYPE_FRAGMENT)
		diag_hint(lower->diags, diag, "a fragment is `first` or `later`");
	else if (words_icmp(word->text))
		diag_hint(lower->diags, diag, "it is one of the other family, or a type where a code is asked for");
	else if (word->quoted && (looks_numeric(word->text) || type == TYPE_ADDRESS))
		diag_hint(lower->diags, diag, "a quoted word is always a name: leave the quotes away");
	else if (type_table[type].numeric && strchr(word->text, '-') && type_table[type].ordered)
		diag_hint(lower->diags, diag, "a range is of literals, like `80-90`");
}

static void unknown(struct lower *lower, struct operand *operand, const struct word *word)
{
	struct span span = lower_span(lower, word->span);
	enum value_type type = operand->field->type;
	const char *system = type_table[type].system;
	struct diag *diag;

	operand->failed = true;
	if (operand->probe)
		return;
	if (!word->quoted && all_digits(word->text) && word->text[0] != '0')
		diag = diag_error(lower->diags, span, "`%s` is too large for %s", word->text, operand->subject);
	else if (system && (word->quoted || type == TYPE_IFACE || !looks_numeric(word->text)))
		diag = diag_error(lower->diags, span, "unknown %s `%s`", system, word->text);
	else
		diag = diag_error(lower->diags, span, "`%s` is not %s", word->text, operand_needs(operand));
	hint_unknown(lower, operand, word, diag);
}

void operand_name(struct lower *lower, struct operand *operand, const struct word *word)
{
	enum value_type type = operand->field->type;

	if (!lookups[type] || !lookups[type](lower, operand, word))
		unknown(lower, operand, word);
}
