/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: the compiled data plane of a hook, the emitted classifier, what to configure. Out: a loaded program with
 * its maps filled. Fails with a sentence; a program that the verifier refused, with its last words and the
 * rule's line.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/version.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include "bpf/bench_abi.h"
#include "kernel/cache.h"
#include "kernel/counters.h"
#include "kernel/levels.h"
#include "kernel/object.h"
#include "kernel/setmap.h"
#include "kernel/statemap.h"
#include "kernel/verifier.h"

/* --- shares ----------------------------------------------------------------------------------------------------- */

int shares_add(struct shares *shares, const char *name, int fd)
{
	struct share *items = reallocarray(shares->items, shares->count + 1, sizeof *items);

	if (!items)
		return -ENOMEM;
	shares->items = items;
	snprintf(items[shares->count].name, sizeof items->name, "%s", name);
	items[shares->count].fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (items[shares->count].fd < 0)
		return -errno;
	shares->count++;
	return 0;
}

int shares_find(const struct shares *shares, const char *name)
{
	for (size_t i = 0; shares && i < shares->count; i++)
		if (!strcmp(shares->items[i].name, name))
			return shares->items[i].fd;
	return -1;
}

/* The kernel keeps the beginning of names. */
static int find_shared(const struct load *load, const char *name)
{
	char begin[BPF_OBJ_NAME_LEN];
	int fd = shares_find(load->shares, name);

	if (fd >= 0 || !load->again)
		return fd;
	snprintf(begin, sizeof begin, "%s", name);
	return shares_find(load->shares, begin);
}

void shares_free(struct shares *shares)
{
	for (size_t i = 0; i < shares->count; i++)
		close(shares->items[i].fd);
	free(shares->items);
	memset(shares, 0, sizeof *shares);
}

/* --- linking ---------------------------------------------------------------------------------------------------- */

/* libbpf's linker takes file names only. */
struct memory_file {
	int fd;
	char path[32];
};

static void memory_file_close(struct memory_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
}

static int memory_file_make(struct memory_file *file, const void *data, size_t size)
{
	size_t done = 0;

	file->fd = memfd_create("weir", MFD_CLOEXEC);
	if (file->fd < 0)
		return -errno;
	snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->fd);
	while (done < size) {
		ssize_t written = write(file->fd, (const char *)data + done, size - done);

		if (written < 0 && errno != EINTR)
			return -errno;
		done += written > 0 ? (size_t)written : 0;
	}
	return 0;
}

/* WEIR_TEST_BOUNDED: as on kernels before 6.9. */
static const struct plane_object *walker(void)
{
	return kernel_has_may_goto() && !secure_getenv("WEIR_TEST_BOUNDED") ? plane_table() : plane_table_bounded();
}

static int read_elf(int fd, struct elf *ret_elf)
{
	struct stat status;
	size_t done = 0;
	char *data;

	if (fstat(fd, &status))
		return -errno;
	data = malloc((size_t)status.st_size + 1);
	if (!data)
		return -ENOMEM;
	while (done < (size_t)status.st_size) {
		ssize_t got = pread(fd, data + done, (size_t)status.st_size - done, (off_t)done);

		if (got <= 0) {
			free(data);
			return -EIO;
		}
		done += (size_t)got;
	}
	ret_elf->data = data;
	ret_elf->size = done;
	return 0;
}

#define CLEANUP_FILE __attribute__((cleanup(memory_file_close)))

/* The plane, the walker of tables if there is one (its descriptor is not -1), and what was emitted. */
static int link_files(struct memory_file *output, const struct memory_file *plane, const struct memory_file *table,
		      const struct memory_file *classifier)
{
	struct bpf_linker *linker = bpf_linker__new(output->path, NULL);
	int error;

	if (!linker)
		return -errno;
	error = bpf_linker__add_file(linker, plane->path, NULL);
	if (!error && table->fd >= 0)
		error = bpf_linker__add_file(linker, table->path, NULL);
	if (!error)
		error = bpf_linker__add_file(linker, classifier->path, NULL);
	if (!error)
		error = bpf_linker__finalize(linker);
	bpf_linker__free(linker);
	return error;
}

/* A plane that is whole by itself. */
static int copy_elf(const struct plane_object *plane, struct elf *ret_elf)
{
	void *data = malloc(plane->size);

	if (!data)
		return -ENOMEM;
	memcpy(data, plane->data, plane->size);
	*ret_elf = (struct elf){ data, plane->size };
	return 0;
}

int object_link(struct kernel *kernel, const struct plane_object *plane, const struct install_hook *hook,
		struct elf *ret_elf)
{
	CLEANUP_FILE struct memory_file a = { .fd = -1 }, b = { .fd = -1 }, out = { .fd = -1 }, table = { .fd = -1 };
	const struct plane_object *table_walker = hook->table ? walker() : NULL;
	int error;

	if (!plane)
		return problem_set(kernel, -EOPNOTSUPP, "there is no data plane for this hook yet");
	if (plane == plane_with_owners(hook->hook) && !kernel_has_types())
		return problem_set(kernel, -EOPNOTSUPP, "who the user is at %s is known only on a kernel with type information "
				   "(/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF)", hook_table[hook->hook].name);
	verifier_messages_clear();
	if (hook->record)
		return copy_elf(plane, ret_elf);
	error = memory_file_make(&a, plane->data, plane->size);
	if (!error)
		error = memory_file_make(&b, hook->classifier, hook->classifier_size);
	if (!error && table_walker)
		error = memory_file_make(&table, table_walker->data, table_walker->size);
	if (!error)
		error = memory_file_make(&out, NULL, 0);
	if (!error)
		error = link_files(&out, &a, &table, &b);
	if (!error)
		error = read_elf(out.fd, ret_elf);
	if (error)
		problem_set(kernel, error, "cannot join the classifier with the data plane `%s`: %s%s", plane->name,
			    strerror(-error), verifier_messages());
	return error;
}

/* --- configuring ------------------------------------------------------------------------------------------------ */

static struct bpf_map *find_map(const struct bpf_object *object, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	char section[32];

	if (map)
		return map;
	snprintf(section, sizeof section, ".data.%s", name);
	return bpf_object__find_map_by_name(object, section);
}

int object_map(const struct bpf_object *object, const char *name)
{
	const struct bpf_map *map = find_map(object, name);

	return map ? bpf_map__fd(map) : -1;
}

/* The name by which maps are shared: data sections without their prefix. */
static const char *map_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);

	return strncmp(name, ".data.", 6) ? name : name + 6;
}

static const struct install_set *find_set(const struct load *load, const char *map)
{
	for (size_t i = 0; i < load->hook->set_count; i++)
		if (!strcmp(load->hook->sets[i].map, map))
			return &load->hook->sets[i];
	for (size_t i = 0; i < load->install->set_count; i++)
		if (!strcmp(load->install->sets[i].map, map))
			return &load->install->sets[i];
	return NULL;
}

static uint32_t at_least_one(size_t count)
{
	return count ? (uint32_t)count : 1;
}

/* --- sets with timeouts, and sets that packets change ----------------------------------------------------------- */

/* The plane's maps of named sets, by kind of key. */
static const struct set_maps {
	const char *name;
	uint8_t key;
	bool lpm;
} set_maps[] = { { "sets_4", 0, false }, { "sets_6", 1, false }, { "sets_v", 2, false }, { "tries_4", 0, true },
		 { "tries_6", 1, true } };

static const struct set_maps *find_set_maps(const char *name)
{
	for (size_t i = 0; i < sizeof set_maps / sizeof *set_maps; i++)
		if (!strcmp(set_maps[i].name, name))
			return &set_maps[i];
	return NULL;
}

static bool step_changes_set(const struct install_hook *hook)
{
	for (size_t i = 0; i < hook->step_count; i++)
		if (hook->steps[i].kind == STEP_ADD || hook->steps[i].kind == STEP_REMOVE)
			return true;
	return false;
}

/* plane_config.sets */
static uint32_t sets_of_plane(const struct load *load)
{
	const struct install *install = load->install;
	bool wanted = step_changes_set(load->hook);
	uint32_t count = 0;

	for (size_t i = 0; i < install->set_count; i++) {
		wanted |= install->sets[i].timed;
		if (install->sets[i].index >= count)
			count = install->sets[i].index + 1;
	}
	return wanted ? count : 0;
}

static int fill_set_maps(const struct bpf_object *object, const struct load *load, const struct set_maps *kind, int fd)
{
	for (size_t i = 0; i < load->install->set_count; i++) {
		const struct install_set *set = &load->install->sets[i];
		int inner = object_map(object, set->map);

		if (set->key != kind->key || set->lpm != kind->lpm || inner < 0)
			continue;
		if (bpf_map_update_elem(fd, &set->index, &inner, BPF_ANY))
			return -errno;
	}
	return 0;
}

/* --- configuring maps ------------------------------------------------------------------------------------------- */

/* How many elements the map shall have; 0: as it is. */
static uint32_t map_size(const struct load *load, const char *name)
{
	const struct install_state *state = state_find(load->install, name);
	const struct install_set *set;

	if (state)
		return state->max_elements; /* 0: of socket storage */
	if (!strcmp(name, "counters"))
		return counters_chunks(load->install->slots);
	if (!strcmp(name, CACHE_MAP))
		return cache_chunks(load->hook);
	if (!strcmp(name, "steps"))
		return at_least_one(load->hook->step_count + load->hook->step_room);
	if (!strcmp(name, "captures"))
		return load->install->captures_size;
	if (!strcmp(name, "logs"))
		return at_least_one(load->install->log_count + load->install->log_room);
	if (!strcmp(name, "frames"))
		return at_least_one(load->frames);
	if (!strcmp(name, "changes") || find_set_maps(name))
		return at_least_one(sets_of_plane(load));
	set = find_set(load, name);
	return set ? at_least_one(set->max_elements > set->count ? set->max_elements : set->count) : 0;
}

/* What the walker may read: it does not go beyond the last word by more than this. */
static uint32_t table_bytes(const struct install_hook *hook)
{
	return (uint32_t)hook->table_size + TABLE_SLACK;
}

/* Of the kind that the object says. */
static bool is_alike(const struct bpf_map *map, int fd)
{
	struct bpf_map_info info;

	return !map_info(fd, &info) && info.type == (uint32_t)bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map);
}

static int configure_map(struct bpf_map *map, const struct load *load)
{
	const char *name = map_name(map);
	int fd = find_shared(load, name);
	uint32_t size = map_size(load, name);
	int error = 0;

	if (fd >= 0 && load->again && !is_alike(map, fd))
		return -EPROTO;
	if (fd >= 0)
		return bpf_map__reuse_fd(map, fd);
	if (!strncmp(name, STATE_PREFIX, strlen(STATE_PREFIX)) && !state_find(load->install, name))
		return bpf_map__set_autocreate(map, false);
	if ((find_set_maps(name) || !strcmp(name, "changes")) && !sets_of_plane(load))
		return bpf_map__set_autocreate(map, false);
	if (!strcmp(name, CACHE_MAP) && !size)
		return bpf_map__set_autocreate(map, false);
	if (size)
		error = bpf_map__set_max_entries(map, size);
	if (!error && !strcmp(name, "counters"))
		error = bpf_map__set_value_size(map, (uint32_t)sizeof(struct counter) << counters_chunk_bits(load->install->slots));
	if (!strcmp(name, "table") && load->hook->table)
		error = bpf_map__set_value_size(map, table_bytes(load->hook));
	if (!error && !strcmp(name, "table") && load->hook->step_room)
		error = bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_MMAPABLE);
	if (!error && bpf_map__type(map) == BPF_MAP_TYPE_LPM_TRIE)
		error = bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_NO_PREALLOC);
	return error;
}

/* `above`: rules count cgroups from the root that is mounted, the kernel from its own. */
static void fill_config(struct plane_config *config, const struct load *load, unsigned above)
{
	const struct install *install = load->install;

	memset(config, 0, sizeof *config);
	config->since = load->since;
	config->hook = load->hook->hook;
	config->needed = load->hook->needed;
	config->slots = install->slots;
	config->chunk_bits = (uint8_t)counters_chunk_bits(install->slots);
	config->steps = (uint32_t)load->hook->step_count;
	config->malformed_accept = install->malformed_accept;
	config->observe = install->observe;
	config->notes = state_find(install, NOTES_MAP) != NULL;
	config->trees = state_find(install, LINEAGE_MAP) != NULL;
	config->plain = kernel_version() < KERNEL_VERSION(6, 2, 0) || secure_getenv("WEIR_TEST_PLAIN"); /* as there */
	config->bare = load->bare;
	config->paces = load->paces;
	config->call = (uint16_t)load->call;
	config->no_reject = load->hook->no_reject;
	config->captures = install->captures_size > 0;
	config->trace = load->trace;
	config->sets = sets_of_plane(load);
	for (uint32_t i = 0; i < install->level_count; i++)
		config->levels[i] = (uint8_t)(install->levels[i] + above);
	config->level_count = install->level_count;
	for (size_t i = 0; i < install->rate_count; i++)
		config->rated |= (uint8_t)(1 << install->rates[i].key);
}

static void fill_flow_config(struct flow_config *config, const struct load *load)
{
	memset(config, 0, sizeof *config);
	memcpy(config->timeout_ns, load->install->flow_timeout_ns, sizeof config->timeout_ns);
	config->track = load->hook->track;
}

/* Those that some rule of the hook asks for. */
static void fill_comparisons(struct plane_comparisons *comparisons, const struct load *load)
{
	const struct plane_comparisons *all = &load->install->comparisons;

	memset(comparisons, 0, sizeof *comparisons);
	for (uint32_t i = 0; i < all->count; i++)
		if (load->hook->tuned >> all->items[i].bit & 1)
			comparisons->items[comparisons->count++] = all->items[i];
}

/* The bytes of a variable in a read-only section of its own, or NULL. */
static void *rodata(struct bpf_object *object, const char *section, size_t size)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(object, section);
	size_t there = 0;
	void *value = map ? (void *)bpf_map__initial_value((struct bpf_map *)map, &there) : NULL;

	return there >= size ? value : NULL;
}

static int configure(struct bpf_object *object, const struct load *load, unsigned above)
{
	struct plane_config *config = rodata(object, ".rodata.config", sizeof *config);
	struct plane_comparisons *comparisons = rodata(object, MAP_TUNED, sizeof *comparisons);
	uint32_t *frames = rodata(object, ".rodata.frames", sizeof *frames);
	struct flow_config *flow = rodata(object, FLOW_CONFIG, sizeof *flow);
	struct table_config *table = rodata(object, TABLE_CONFIG, sizeof *table);
	struct plane_knocks *knocks = rodata(object, MAP_KNOCKS, sizeof *knocks);
	struct plane_programs *programs = rodata(object, MAP_PROGRAMS, sizeof *programs);
	struct cache_config *cache = rodata(object, CACHE_CONFIG, sizeof *cache);
	struct bpf_map *map;

	if (config)
		fill_config(config, load, above);
	if (flow)
		fill_flow_config(flow, load);
	if (table && load->hook->table)
		*table = *load->hook->table;
	if (knocks)
		*knocks = load->install->knocks;
	if (cache && cache_chunks(load->hook))
		*cache = *load->hook->cache;
	if (comparisons)
		fill_comparisons(comparisons, load);
	if (programs)
		*programs = load->install->programs;
	if (frames)
		*frames = at_least_one(load->frames);
	bpf_object__for_each_map(map, object) {
		int error = configure_map(map, load);

		if (error)
			return error;
	}
	return 0;
}

/* --- filling ---------------------------------------------------------------------------------------------------- */

static int fill_array(int fd, const void *items, size_t count, size_t size)
{
	for (uint32_t i = 0; i < count; i++)
		if (bpf_map_update_elem(fd, &i, (const char *)items + i * size, BPF_ANY))
			return -errno;
	return 0;
}

/* The blob is the value of one element, with room behind it. */
static int fill_table(int fd, const struct install_hook *hook)
{
	CLEANUP_FREE char *value = calloc(1, table_bytes(hook));
	const uint32_t zero = 0;

	if (!value)
		return -ENOMEM;
	memcpy(value, hook->table_words, hook->table_size);
	return bpf_map_update_elem(fd, &zero, value, BPF_ANY) ? -errno : 0;
}

/* Packets from before this map are refused: nobody knows which of them have opened a knock already. */
static int fill_stamps(int fd)
{
	struct knock_stamps stamps;
	const uint32_t zero = 0;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (size_t i = 0; i < KNOCK_SLOTS; i++)
		stamps.at[i] = ((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000) << KNOCK_COUNTER_BITS;
	return bpf_map_update_elem(fd, &zero, &stamps, BPF_ANY) ? -errno : 0;
}

static int fill_map(struct kernel *kernel, const struct bpf_object *object, const struct bpf_map *map,
		    const struct load *load)
{
	const char *name = map_name(map);
	const struct set_maps *kind = find_set_maps(name);
	struct setmap_start start = { ORIGIN_FILE, load->trace ? KERNEL_TESTER_START_NS : setmap_now() };
	const struct install_set *set;
	int fd = bpf_map__fd(map);

	if (kind && fd >= 0)
		return fill_set_maps(object, load, kind, fd);
	if (shares_find(load->shares, name) >= 0)
		return 0;
	if (!strcmp(name, "steps"))
		return fill_array(fd, load->hook->steps, load->hook->step_count, sizeof(struct step));
	if (!strcmp(name, "logs"))
		return fill_array(fd, load->install->logs, load->install->log_count, sizeof(struct log_limit));
	if (!strcmp(name, "tunables"))
		return fill_array(fd, &load->install->tunables, 1, sizeof load->install->tunables);
	if (!strcmp(name, RATES_MAP))
		return fill_array(fd, load->install->rates, load->install->rate_count, sizeof(struct rate_limit));
	if (!strcmp(name, "table") && load->hook->table)
		return fill_table(fd, load->hook);
	if (!strcmp(name, MAP_KNOCK_STAMPS))
		return load->trace || fd < 0 ? 0 : fill_stamps(fd); /* in a test run it is any time */
	set = find_set(load, name);
	if (!set || set->filling == SET_AS_IT_IS)
		return 0;
	if (set->filling == SET_AS_GIVEN)
		start.origin = ORIGIN_RUN_TIME;
	return setmap_fill(kernel, fd, set, start);
}

static int fill_maps(struct kernel *kernel, const struct bpf_object *object, const struct load *load)
{
	const struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		int error = fill_map(kernel, object, map, load);

		if (error)
			return problem_set(kernel, error, "cannot fill map `%s`: %s", bpf_map__name(map),
					   strerror(-error));
	}
	return 0;
}

/* --- loading ---------------------------------------------------------------------------------------------------- */

static int prepare_program(struct kernel *kernel, struct bpf_object *object, const struct load *load,
			   struct bpf_program **ret_program)
{
	struct bpf_program *program = bpf_object__next_program(object, NULL);

	if (!program)
		return -ENOENT;
	if (hook_is_netfilter(load->plane)) {
		bpf_program__set_type(program, (enum bpf_prog_type)WEIR_PROG_TYPE_NETFILTER);
		bpf_program__set_expected_attach_type(program, (enum bpf_attach_type)WEIR_ATTACH_NETFILTER);
	}
	if (load->call)
		bpf_program__set_expected_attach_type(program, (enum bpf_attach_type)load->call);
	*ret_program = program;
	return verifier_log_attach(kernel, program);
}

int object_load(struct kernel *kernel, const struct elf *elf, const struct load *load,
		struct bpf_object **ret_object, int *ret_prog)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "weir");
	struct bpf_program *program;
	struct bpf_object *object;
	unsigned above = 0;
	int error = load->install->level_count && !load->trace ? levels_above(kernel, &above) : 0;

	if (error)
		return error;
	verifier_messages_clear();
	object = bpf_object__open_mem(elf->data, elf->size, &options);
	if (!object)
		return problem_set(kernel, -errno, "cannot open the linked program: %s%s", strerror(errno),
				   verifier_messages());
	error = prepare_program(kernel, object, load, &program);
	if (!error)
		error = configure(object, load, above);
	if (!error)
		error = bpf_object__load(object);
	if (error)
		verifier_explain(kernel, error, hook_table[load->plane].name);
	else if (!load->again)
		error = fill_maps(kernel, object, load);
	if (error) {
		if (error == -ENOMEM || error == -E2BIG)
			state_hint_memory(kernel, load->install);
		bpf_object__close(object);
		return error;
	}
	*ret_object = object;
	*ret_prog = bpf_program__fd(program);
	return 0;
}

/* --- what the kernel must have ---------------------------------------------------------------------------------- */

uint32_t kernel_version(void)
{
	unsigned major = 0, minor = 0, patch = 0;
	struct utsname name;

	if (uname(&name) || sscanf(name.release, "%u.%u.%u", &major, &minor, &patch) < 2)
		return 0;
	return KERNEL_VERSION(major, minor, patch > 255 ? 255 : patch);
}

bool kernel_has_types(void)
{
	return path_exists("/sys/kernel/btf/vmlinux");
}

/* Events and captures name the user. */
static bool tells(const struct install_hook *hook)
{
	for (size_t i = 0; i < hook->step_count; i++)
		if (hook->steps[i].kind == STEP_LOG || hook->steps[i].kind == STEP_CAPTURE)
			return true;
	return false;
}

/* Looking into sockets takes the kernel's types, which takes time: where nobody asks for it, it is left out. */
const struct plane_object *object_plane(const struct install_hook *hook)
{
	const struct plane_object *owners = plane_with_owners(hook->hook);

	bool asks = hook->needed & FIELD_BIT(FIELD_USER) || (tells(hook) && kernel_has_types());

	return owners && asks ? owners : plane_for_hook(hook->hook);
}

int object_check_hook(struct kernel *kernel, const struct install_hook *hook)
{
	const struct hook_info *info = &hook_table[hook->hook];
	unsigned minor = info->call ? 1 : 4; /* where a cgroup's ancestors are; netfilter programs */
	struct utsname name = { 0 };

	if (!hook_is_netfilter(hook->hook) && !info->call)
		return 0;
	uname(&name);
	if (kernel_version() < KERNEL_VERSION(6, minor, 0))
		return problem_set(kernel, -EOPNOTSUPP, "hook %s needs Linux 6.%u or later, this is %s; hook at tc or "
				   "cgroup instead", info->name, minor, name.release);
	if (!kernel_has_types())
		return problem_set(kernel, -EOPNOTSUPP, "hook %s needs a kernel with type information "
				   "(/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF); hook at tc or cgroup instead",
				   info->name);
	return 0;
}
