/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a policy in force has in the kernel, read back. In: its folder, under the lock; out: copies of its tables, steps and
 * limits, and whether its programs are those that an install would load: that is loaded once more, on the maps of the policy,
 * attached to nothing and filled with nothing, and instruction by instruction the kernel must show the same of both.
 */
#include "kernel/loaded.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "kernel/reach.h"
#include "kernel/setmap.h"
#include "kernel/statemap.h"

/* --- maps of a program ------------------------------------------------------------------------------------------- */

/* A program as the kernel shows it. malloc()ed. */
struct shown {
	struct bpf_insn *insns;
	size_t insn_count;
	uint32_t *maps; /* ids */
	uint32_t map_count;
};

static void shown_free(struct shown *shown)
{
	free(shown->insns);
	free(shown->maps);
}

static int show(int prog, struct shown *ret_shown)
{
	struct bpf_prog_info info = { 0 }, again = { 0 };
	uint32_t size = sizeof info;

	if (bpf_obj_get_info_by_fd(prog, &info, &size))
		return -errno;
	ret_shown->insns = calloc(1, info.xlated_prog_len + 1);
	ret_shown->maps = calloc(info.nr_map_ids + 1, sizeof *ret_shown->maps);
	if (!ret_shown->insns || !ret_shown->maps)
		return -ENOMEM;
	again.xlated_prog_insns = (uintptr_t)ret_shown->insns;
	again.xlated_prog_len = info.xlated_prog_len;
	again.map_ids = (uintptr_t)ret_shown->maps;
	again.nr_map_ids = info.nr_map_ids;
	size = sizeof again;
	if (bpf_obj_get_info_by_fd(prog, &again, &size))
		return -errno;
	ret_shown->insn_count = again.xlated_prog_insns ? again.xlated_prog_len / sizeof(struct bpf_insn) : 0;
	ret_shown->map_count = again.nr_map_ids;
	return ret_shown->insn_count ? 0 : -EPERM;
}

/* Sections of constants, which each program has of its own. */
static bool is_constant(const char *name)
{
	return strstr(name, ".rodata");
}

/* The elements of an array map, which may have room for more behind them. malloc()ed. */
static int read_array(int fd, size_t size, void **ret_items, size_t *ret_count)
{
	struct bpf_map_info info;
	int error = map_info(fd, &info);
	char *items;

	if (error || info.value_size != size)
		return error ? error : -EPROTO;
	items = malloc((size_t)info.max_entries * size + 1);
	for (uint32_t i = 0; items && i < info.max_entries; i++)
		if (bpf_map_lookup_elem(fd, &i, items + i * size)) {
			error = -errno;
			free(items);
			return error;
		}
	*ret_items = items;
	*ret_count = info.max_entries;
	return items ? 0 : -ENOMEM;
}

static int read_value(int fd, void **ret_value, size_t *ret_size)
{
	struct bpf_map_info info;
	int error = map_info(fd, &info);
	size_t count;

	*ret_size = info.value_size;
	return error ? error : read_array(fd, info.value_size, ret_value, &count);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

/* One of the policy's programs, where it is attached. */
struct kept_place {
	struct place place;
	int prog;
	const char *amiss;    /* why it is not to be proven what is judged there, or NULL */
	struct shares maps;   /* all but the constants; those with pins first */
	struct shares constants;
};

struct kernel_loaded {
	struct kernel *kernel;
	struct kept_place *places;
	size_t place_count;
	struct loaded_hook *hooks; /* by index of the install's */
	size_t hook_count;
	uint64_t since;
	uint32_t slots;
	uint64_t epoch;
};

/* As objects call it (object.c). */
static const char *plain_name(const char *name)
{
	return strncmp(name, ".data.", 6) ? name : name + 6;
}

static int keep_maps(struct kept_place *kept, const struct shown *shown)
{
	int error = 0;

	for (uint32_t i = 0; !error && i < shown->map_count; i++) {
		CLEANUP_CLOSE int fd = bpf_map_get_fd_by_id(shown->maps[i]);
		struct bpf_map_info info;

		error = fd < 0 ? -errno : map_info(fd, &info);
		if (!error)
			error = shares_add(is_constant(info.name) ? &kept->constants : &kept->maps, plain_name(info.name), fd);
	}
	return error;
}

/* Named sets may have got their maps from other policies, by other names. */
static int keep_sets(struct kept_place *kept, const struct generation *generation)
{
	const struct record_set *sets = record_sets(generation->record);
	int error = 0;

	for (uint32_t i = 0; !error && i < generation->record->set_count; i++) {
		CLEANUP_CLOSE int fd = pin_open(generation->folder.text, "set-%s", sets[i].map);

		error = fd < 0 ? 0 : shares_add(&kept->maps, sets[i].map, fd);
	}
	return error;
}

static int keep_place(struct kernel *kernel, const struct generation *generation, uint32_t index, struct kept_place *kept)
{
	struct shown shown = { 0 };
	int error;

	kept->place = generation->record->places[index];
	kept->prog = pin_open(generation->folder.text, "prog_%u", index);
	if (kept->prog < 0)
		return problem_set(kernel, -EUCLEAN, "cannot open %s/prog_%u: %s", generation->folder.text, index,
				   strerror(-kept->prog));
	kept->amiss = reach_problem(kernel, generation, index, kept->prog);
	error = show(kept->prog, &shown);
	if (!error)
		error = shares_add(&kept->maps, "epoch", kernel->epoch_fd);
	if (!error)
		error = keep_sets(kept, generation);
	if (!error)
		error = keep_maps(kept, &shown);
	shown_free(&shown);
	return error;
}

/* The table, its constants, steps and limits of a hook, by one of its places. */
static int read_hook(const struct kept_place *kept, struct loaded_hook *hook)
{
	int table = shares_find(&kept->maps, "table"), config = shares_find(&kept->constants, TABLE_CONFIG);
	int steps = shares_find(&kept->maps, "steps"), logs = shares_find(&kept->maps, "logs");
	int rates = shares_find(&kept->maps, RATES_MAP), error = 0;
	size_t size = 0;

	hook->there = true;
	if (table >= 0 && config >= 0) {
		error = read_value(table, &hook->words, &size);
		hook->word_count = size / sizeof(uint64_t);
		if (!error)
			error = read_value(config, &hook->config, &size);
		if (!error && size < sizeof(struct table_config))
			error = -EPROTO;
	}
	if (!error && steps >= 0)
		error = read_array(steps, sizeof(struct step), &hook->steps, &hook->step_count);
	if (!error && logs >= 0)
		error = read_array(logs, sizeof(struct log_limit), &hook->logs, &hook->log_count);
	if (!error && rates >= 0)
		error = read_array(rates, sizeof(struct rate_limit), &hook->rates, &hook->rate_count);
	return error;
}

static uint32_t map_id(const struct kept_place *kept, const char *name)
{
	int fd = shares_find(&kept->maps, name);
	struct bpf_map_info info;

	return fd < 0 || map_info(fd, &info) ? 0 : info.id;
}

/* What was read for a hook is what all of its programs find. */
static void compare_place(const struct kept_place *first, struct kept_place *kept)
{
	static const char *const names[] = { "table", "steps", "logs", RATES_MAP };

	for (size_t i = 0; !kept->amiss && i < sizeof names / sizeof *names; i++)
		if (map_id(first, names[i]) != map_id(kept, names[i]))
			kept->amiss = "has other maps than its hook's other programs";
}

static int read_place(struct kernel_loaded *loaded, struct kept_place *kept)
{
	struct loaded_hook *hook = &loaded->hooks[kept->place.source];
	struct kept_place *first = loaded->places;

	if (!hook->there)
		return read_hook(kept, hook);
	while (first->place.source != kept->place.source)
		first++;
	compare_place(first, kept);
	return 0;
}

static int read_hooks(struct kernel_loaded *loaded)
{
	int error = 0;

	for (size_t i = 0; i < loaded->place_count; i++)
		if (loaded->places[i].place.source >= loaded->hook_count)
			loaded->hook_count = loaded->places[i].place.source + 1ul;
	loaded->hooks = calloc(loaded->hook_count + 1, sizeof *loaded->hooks);
	if (!loaded->hooks)
		return -ENOMEM;
	for (size_t i = 0; !error && i < loaded->place_count; i++)
		error = read_place(loaded, &loaded->places[i]);
	return error;
}

int loaded_read(struct kernel *kernel, const struct generation *generation, struct kernel_loaded **ret_loaded)
{
	struct kernel_loaded *loaded = calloc(1, sizeof *loaded);
	const struct record *record = generation->record;
	int error = 0;

	if (!loaded)
		return -ENOMEM;
	loaded->kernel = kernel;
	loaded->since = record->since;
	loaded->slots = record->slots;
	loaded->epoch = store_epoch(kernel);
	loaded->places = calloc(record->place_count + 1, sizeof *loaded->places);
	if (!loaded->places)
		error = -ENOMEM;
	for (uint32_t i = 0; !error && i < record->place_count; i++) {
		loaded->places[i].prog = -1;
		loaded->place_count++;
		error = keep_place(kernel, generation, i, &loaded->places[i]);
	}
	if (!error)
		error = read_hooks(loaded);
	if (!error) {
		*ret_loaded = loaded;
		return 0;
	}
	kernel_loaded_free(loaded);
	return problem_bpf(kernel, error, "cannot read what is loaded");
}

void kernel_loaded_free(struct kernel_loaded *loaded)
{
	if (!loaded)
		return;
	for (size_t i = 0; i < loaded->place_count; i++) {
		shares_free(&loaded->places[i].maps);
		shares_free(&loaded->places[i].constants);
		close_cleanup(&loaded->places[i].prog);
	}
	for (size_t i = 0; loaded->hooks && i < loaded->hook_count; i++) {
		free(loaded->hooks[i].words);
		free(loaded->hooks[i].config);
		free(loaded->hooks[i].steps);
		free(loaded->hooks[i].logs);
		free(loaded->hooks[i].rates);
	}
	free(loaded->hooks);
	free(loaded->places);
	free(loaded);
}

const struct loaded_hook *kernel_loaded_hook(const struct kernel_loaded *loaded, size_t index)
{
	return index < loaded->hook_count && loaded->hooks[index].there ? &loaded->hooks[index] : NULL;
}

size_t kernel_loaded_hooks(const struct kernel_loaded *loaded)
{
	return loaded->hook_count;
}

uint64_t kernel_loaded_epoch(const struct kernel_loaded *loaded)
{
	return loaded->epoch;
}

uint32_t kernel_loaded_slots(const struct kernel_loaded *loaded)
{
	return loaded->slots;
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

/* Constants of the other program that have the same name and say the same; their map's id. */
static int find_twin(const struct kept_place *kept, uint32_t id, uint32_t *ret_id)
{
	CLEANUP_CLOSE int fd = bpf_map_get_fd_by_id(id);
	CLEANUP_FREE void *ours = NULL, *theirs = NULL;
	struct bpf_map_info info, other;
	size_t size, other_size;
	int twin, error = fd < 0 ? -errno : map_info(fd, &info);

	if (error)
		return error;
	twin = shares_find(&kept->constants, info.name);
	if (twin < 0)
		return -ENOENT;
	error = map_info(twin, &other);
	if (!error)
		error = read_value(fd, &ours, &size);
	if (!error)
		error = read_value(twin, &theirs, &other_size);
	if (error)
		return error;
	*ret_id = other.id;
	return size == other_size && !memcmp(ours, theirs, size) ? 0 : -ENOENT;
}

static bool has_map(const struct shown *shown, uint32_t id)
{
	for (uint32_t i = 0; i < shown->map_count; i++)
		if (shown->maps[i] == id)
			return true;
	return false;
}

/* The map of the one program stands for that of the other. */
struct twin {
	uint32_t ours, theirs;
};

static bool same_insn(const struct bpf_insn *ours, const struct bpf_insn *theirs, const struct twin *twins, size_t count)
{
	struct bpf_insn insn = *ours;
	bool map = insn.code == (BPF_LD | BPF_IMM | BPF_DW) &&
		   (insn.src_reg == BPF_PSEUDO_MAP_FD || insn.src_reg == BPF_PSEUDO_MAP_VALUE);

	for (size_t i = 0; map && i < count; i++)
		if (twins[i].ours == (uint32_t)insn.imm) {
			insn.imm = (int32_t)twins[i].theirs;
			break;
		}
	return !memcmp(&insn, theirs, sizeof insn);
}

static const char other_maps[] = "has other constants or maps than those of its text";

static const char *compare_shown(const struct kept_place *kept, const struct shown *ours, const struct shown *theirs)
{
	struct twin twins[64];
	size_t count = 0;

	for (uint32_t i = 0; i < ours->map_count; i++) {
		if (has_map(theirs, ours->maps[i]))
			continue;
		if (count == sizeof twins / sizeof *twins || find_twin(kept, ours->maps[i], &twins[count].theirs))
			return other_maps;
		twins[count++].ours = ours->maps[i];
	}
	if (ours->insn_count != theirs->insn_count)
		return "is not that of its text";
	for (size_t i = 0; i < ours->insn_count; i++)
		if (!same_insn(&ours->insns[i], &theirs->insns[i], twins, count))
			return "is not that of its text";
	return NULL;
}

static int compare_programs(const struct kept_place *kept, int prog, const char **ret_reason)
{
	struct shown ours = { 0 }, theirs = { 0 };
	int error = show(prog, &ours);

	if (!error)
		error = show(kept->prog, &theirs);
	if (!error)
		*ret_reason = compare_shown(kept, &ours, &theirs);
	shown_free(&ours);
	shown_free(&theirs);
	return error;
}

/* Constants of rules that are a map. */
static bool same_elements(struct kernel *kernel, const struct kept_place *kept, const struct install_hook *hook)
{
	for (size_t i = 0; i < hook->set_count; i++) {
		int fd = shares_find(&kept->maps, hook->sets[i].map);

		if (fd < 0 || setmap_as_given(kernel, fd, &hook->sets[i]) != 1)
			return false;
	}
	return true;
}

static int check_place(struct kernel_loaded *loaded, const struct kept_place *kept, const struct install *install,
		       const struct elf *elf, const char **ret_reason)
{
	const struct install_hook *hook = &install->hooks[kept->place.source];
	bool calls = hook_table[kept->place.hook].target == TARGET_CGROUP;
	const struct load load = { .install = install, .hook = hook, .plane = hook->hook, .since = loaded->since,
				   .bare = kept->place.bare, .paces = kept->place.paces, .call = calls ? kept->place.family : 0,
				   .shares = &kept->maps, .again = true };
	struct bpf_object *object = NULL;
	int error, prog;

	*ret_reason = kept->amiss;
	if (!*ret_reason && !same_elements(loaded->kernel, kept, hook))
		*ret_reason = "has maps that do not hold its text's constants";
	if (*ret_reason)
		return 0;
	error = object_load(loaded->kernel, elf, &load, &object, &prog);
	if (error == -EPROTO) { /* its maps are of other kinds */
		problem_forget(loaded->kernel);
		*ret_reason = other_maps;
		return 0;
	}
	if (!error)
		error = compare_programs(kept, prog, ret_reason);
	bpf_object__close(object);
	return error;
}

static int check_places(struct kernel_loaded *loaded, const struct install *install, size_t index, const char **ret_reason,
			const char **ret_target)
{
	const struct install_hook *hook = &install->hooks[index];
	const struct plane_object *plane = hook->record ? plane_record() : object_plane(hook);
	struct elf elf;
	int error = object_link(loaded->kernel, plane, hook, &elf);

	*ret_reason = NULL;
	if (error)
		return error;
	for (size_t i = 0; !error && !*ret_reason && i < loaded->place_count; i++) {
		if (loaded->places[i].place.source != index || loaded->places[i].place.how == HOW_NONE)
			continue;
		*ret_target = loaded->places[i].place.target;
		error = check_place(loaded, &loaded->places[i], install, &elf, ret_reason);
	}
	free(elf.data);
	return error;
}

int kernel_loaded_check(struct kernel_loaded *loaded, const struct install *install, size_t index, struct diags *diags,
			const char **ret_reason, const char **ret_target)
{
	return problem_report(loaded->kernel, diags, check_places(loaded, install, index, ret_reason, ret_target));
}
