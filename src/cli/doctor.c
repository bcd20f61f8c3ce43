/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * weir doctor: what this machine has of what weir needs. In: the kernel's answers, capabilities, mounts, settings; out: each with
 * what it is for, what to do where it is missing, and which of weir's features work. Exit status 1 if a main one does not.
 *
 * A check has an id; a feature names the ids that it needs.
 */
#include "cli.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

enum state { STATE_GOOD, STATE_MISSING, STATE_UNKNOWN, STATE_NOTE };

static const char *const state_names[] = { "ok", "missing", "unknown", "note" };

struct check {
	const char *id;
	const char *group;
	enum state state;
	char *detail;           /* what was found; NULL: no more than the state */
	const char *needed_for;
	const char *remedy;     /* where it is missing, or NULL */
};

enum { CHECKS_MAX = 40, NEEDS_MAX = 10 };

struct report {
	struct cli *cli;
	struct check checks[CHECKS_MAX];
	size_t count;
};

static struct check *add(struct report *report, const char *group, const char *id, enum state state,
			 const char *needed_for, const char *remedy)
{
	struct check *check = &report->checks[report->count < CHECKS_MAX - 1 ? report->count++ : CHECKS_MAX - 1];

	*check = (struct check){ .id = id, .group = group, .state = state, .needed_for = needed_for, .remedy = remedy };
	return check;
}

static const struct check *find(const struct report *report, const char *id)
{
	for (size_t i = 0; i < report->count; i++)
		if (!strcmp(report->checks[i].id, id))
			return &report->checks[i];
	return NULL;
}

static bool good(const struct report *report, const char *id)
{
	const struct check *check = find(report, id);

	return check && check->state == STATE_GOOD;
}

/* --- capabilities ------------------------------------------------------------------------------------------------ */

#define BE_ROOT "be root, or give the program capabilities: setcap cap_bpf,cap_net_admin,cap_perfmon+ep"

static const struct {
	const char *id;
	cap_value_t capability;
	const char *needed_for, *remedy;
} capabilities[] = {
	{ "CAP_BPF", CAP_BPF, "loading programs; before Linux 5.19 also reading what is in force", BE_ROOT },
	{ "CAP_NET_ADMIN", CAP_NET_ADMIN, "loading and attaching network programs", BE_ROOT },
	{ "CAP_PERFMON", CAP_PERFMON, "loading programs that compare packet pointers", BE_ROOT },
	{ "CAP_SYS_ADMIN", CAP_SYS_ADMIN, "mounting bpffs where nobody has", NULL },
	{ "CAP_SETUID", CAP_SETUID, "weir run --user", NULL },
};

static void check_capabilities(struct report *report)
{
	cap_t now = cap_get_proc();

	for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++) {
		cap_flag_value_t value = CAP_CLEAR;

		if (now)
			cap_get_flag(now, capabilities[i].capability, CAP_EFFECTIVE, &value);
		add(report, "capabilities", capabilities[i].id, value == CAP_SET ? STATE_GOOD : STATE_MISSING,
		    capabilities[i].needed_for, capabilities[i].remedy);
	}
	cap_free(now);
}

/* --- the kernel -------------------------------------------------------------------------------------------------- */

/* By the names that weir_features() has. */
static const struct {
	const char *name, *needed_for, *remedy;
} features[] = {
	{ "xdp", "policies on xdp", "a kernel with CONFIG_BPF_SYSCALL" },
	{ "xdp link", "policies on xdp", "Linux 5.9" },
	{ "tc", "policies on tc", "a kernel with CONFIG_NET_CLS_BPF" },
	{ "tcx", "policies on tc beside others' programs; else clsact is used", "Linux 6.6" },
	{ "cgroup", "policies on cgroup, weir run --ingress and --egress", "a kernel with CONFIG_CGROUP_BPF" },
	{ "netfilter link", "policies on netfilter", "Linux 6.4 with CONFIG_NETFILTER_BPF_LINK; or hook at tc or cgroup" },
	{ "ring buffer", "every policy; log, capture", "Linux 5.8" },
	{ "batch map operations", "changing large sets fast", "Linux 5.6" },
	{ "bpf_loop", "every policy; log, count, mark, capture", "Linux 5.17" },
	{ "may_goto", "tables that the kernel checks fast", "Linux 6.9" },
	{ "kernel types", "policies on netfilter, connect and bind; user, group and program at tc and cgroup", "a kernel with CONFIG_DEBUG_INFO_BTF" },
	{ "notes on sockets", "group and program of packets", "CAP_PERFMON and a kernel with CONFIG_DEBUG_INFO_BTF" },
	{ "process trace points", "program in tree of",
	  "CAP_PERFMON and a kernel with CONFIG_DEBUG_INFO_BTF and CONFIG_BPF_EVENTS" },
	{ "jit", "speed", "sysctl net.core.bpf_jit_enable=1" },
};

static void check_feature(struct report *report, const struct weir_feature *feature, bool may_ask)
{
	const char *needed_for = "", *remedy = NULL;
	enum state state = feature->there ? STATE_GOOD : may_ask ? STATE_MISSING : STATE_UNKNOWN;
	struct check *check;

	for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
		if (strcmp(features[i].name, feature->name))
			continue;
		needed_for = features[i].needed_for;
		remedy = features[i].remedy;
	}
	check = add(report, "kernel", feature->name, state, needed_for, remedy);
	if (state == STATE_UNKNOWN)
		check->detail = text_print("only who may load programs can find out");
	else
		check->detail = text_print("since Linux %s", feature->since);
}

/* Probes load programs: who may not learns nothing. */
static int check_kernel(struct report *report)
{
	const struct weir_feature *found;
	struct utsname name;
	size_t count;
	int status = weir_features(report->cli->weir, &found, &count);
	bool may_ask = good(report, "CAP_BPF") && good(report, "CAP_NET_ADMIN");

	if (!uname(&name))
		add(report, "kernel", "kernel", STATE_NOTE, "6.1 is the oldest that weir is tested on", NULL)->detail =
			text_print("%s %s %s", name.sysname, name.release, name.machine);
	for (size_t i = 0; !status && i < count; i++)
		check_feature(report, &found[i], may_ask);
	return status;
}

/* --- mounts and settings ----------------------------------------------------------------------------------------- */

static bool is_mounted(const char *path, unsigned long magic)
{
	struct statfs status;

	return !statfs(path, &status) && (unsigned long)status.f_type == magic;
}

static void check_bpffs(struct report *report)
{
	const char *path = getenv("WEIR_BPFFS") ? getenv("WEIR_BPFFS") : "/sys/fs/bpf";
	char *folder = text_print("%s/weir", path);
	bool mounted = is_mounted(path, BPF_FS_MAGIC);
	bool there = !access(folder, F_OK), writable = !access(there ? folder : path, W_OK | X_OK);

	add(report, "system", "bpffs", mounted || good(report, "CAP_SYS_ADMIN") ? STATE_GOOD : STATE_MISSING,
	    "keeping policies in force", "as root: mount -t bpf bpf /sys/fs/bpf")->detail =
		text_print("%s %s", path, mounted ? "is mounted" : "is not mounted; `weir apply` does it, as root");
	add(report, "system", "policies' folder", writable ? STATE_GOOD : STATE_MISSING,
	    "keeping policies in force", "as root: chmod 711 /sys/fs/bpf; install -d -o USER -m 700 /sys/fs/bpf/weir")
		->detail = text_print("%s %s", folder, !there && writable ? "may be made" : writable ? "may be written to" :
				      "may not be written to");
	free(folder);
}

static void check_cgroup(struct report *report)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	const char *found = NULL;

	for (size_t i = 0; i < sizeof places / sizeof *places && !found; i++)
		if (is_mounted(places[i], CGROUP2_SUPER_MAGIC))
			found = places[i];
	add(report, "system", "cgroup2", found ? STATE_GOOD : STATE_MISSING, "policies on cgroup, conditions on cgroups, weir run",
	    "as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup")->detail =
		found ? text_print("mounted at %s", found) : NULL;
}

/* The first line of a file; *ret_text is to be freed. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	bool got = file && fgets(line, (int)size, file);

	if (file)
		fclose(file);
	if (got)
		line[strcspn(line, "\n")] = '\0';
	return got;
}

static const struct {
	const char *id, *path, *means;
	const char *bad; /* a value that costs something */
	const char *remedy;
} settings[] = {
	{ "kernel.unprivileged_bpf_disabled", "/proc/sys/kernel/unprivileged_bpf_disabled",
	  "0: every user may load programs; 1, 2: CAP_BPF is needed", "0", "sysctl kernel.unprivileged_bpf_disabled=2" },
	{ "net.core.bpf_jit_enable", "/proc/sys/net/core/bpf_jit_enable", "0: programs are interpreted, which is slow", "0",
	  "sysctl net.core.bpf_jit_enable=1" },
	{ "net.core.bpf_jit_harden", "/proc/sys/net/core/bpf_jit_harden", "2: all programs are blinded, which is slower", "2",
	  "sysctl net.core.bpf_jit_harden=1" },
	{ "net.core.optmem_max", "/proc/sys/net/core/optmem_max",
	  "bytes that a socket's classic filter (weir run without privileges) may take", NULL, NULL },
};

static void check_settings(struct report *report)
{
	char line[128];

	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
		bool there = read_line(settings[i].path, line, sizeof line);
		bool bad = there && settings[i].bad && !strcmp(line, settings[i].bad);
		struct check *check = add(report, "system", settings[i].id, bad ? STATE_MISSING : STATE_NOTE,
					  settings[i].means, settings[i].remedy);

		check->detail = text_print("%s", there ? line : "not to be read");
	}
}

static void check_memory(struct report *report)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	add(report, "system", "locked memory", STATE_NOTE, "maps count against it before Linux 5.11 only", NULL)->detail =
		limit.rlim_cur == RLIM_INFINITY ? text_print("unlimited") :
						  text_print("%llu bytes", (unsigned long long)limit.rlim_cur);
}

static void check_security(struct report *report)
{
	char line[256];
	bool locked;

	add(report, "system", "security modules", STATE_NOTE, "selinux and apparmor may forbid bpf(2) by their rules", NULL)
		->detail = text_print("%s", read_line("/sys/kernel/security/lsm", line, sizeof line) ? line :
				      "not to be read, as securityfs is not mounted");
	if (!read_line("/sys/kernel/security/lockdown", line, sizeof line))
		return;
	locked = strstr(line, "[confidentiality]");
	add(report, "system", "lockdown", locked ? STATE_MISSING : STATE_GOOD, "conditions on cgroups at netfilter output",
	    "boot without lockdown=confidentiality")->detail = text_print("%s", line);
}

/* --- what works -------------------------------------------------------------------------------------------------- */

static const struct ability {
	const char *name;
	bool is_main;
	const char *needs[NEEDS_MAX];
} abilities[] = {
#define LOADING "CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "ring buffer", "bpf_loop"
	{ "policies at xdp", true, { LOADING, "bpffs", "policies' folder", "xdp link" } },
	{ "policies at tc", true, { LOADING, "bpffs", "policies' folder", "tc" } },
	{ "policies at cgroups", true, { LOADING, "cgroup2", "policies' folder", "cgroup" } },
	{ "policies at netfilter", false, { LOADING, "policies' folder", "netfilter link", "kernel types" } },
	{ "policies at connect and bind", false, { LOADING, "cgroup2", "policies' folder", "cgroup", "kernel types" } },
	{ "group and program of packets", false, { LOADING, "cgroup2", "cgroup", "notes on sockets" } },
	{ "program in tree of", false, { LOADING, "cgroup2", "cgroup", "process trace points" } },
	{ "weir log, capture, metrics, show, set", true, { "bpffs", "policies' folder" } },
	{ "weir test, bench and load", true, { LOADING } },
	{ "weir run with filters in eBPF", true, { LOADING } },
	{ "weir run --ingress, --egress", false, { LOADING, "cgroup2", "cgroup" } },
	{ "weir run --user", false, { "CAP_SETUID" } },
	{ "weir run with classic filters", true, { NULL } },
	{ "weir check, compile, verify, explain, diff", true, { NULL } },
#undef LOADING
};

enum { ABILITIES = sizeof abilities / sizeof *abilities };

/* The next one from *at on that is not there, or NULL. */
static const char *next_missing(const struct report *report, const struct ability *ability, size_t *at)
{
	while (*at < NEEDS_MAX && ability->needs[*at]) {
		const char *need = ability->needs[(*at)++];

		if (!good(report, need))
			return need;
	}
	return NULL;
}

static bool works(const struct report *report, const struct ability *ability)
{
	size_t at = 0;

	return !next_missing(report, ability, &at);
}

/* --- output ------------------------------------------------------------------------------------------------------ */

static void print_check(const struct check *check)
{
	printf("  %-8s %s", state_names[check->state], check->id);
	if (check->detail)
		printf(": %s", check->detail);
	if (check->needed_for[0])
		printf(" (%s)", check->needed_for);
	printf("\n");
	if (check->remedy && check->state == STATE_MISSING)
		printf("           to have it: %s\n", check->remedy);
}

static void print_ability(const struct report *report, const struct ability *ability)
{
	const char *need, *before = ": needs ";
	size_t at = 0;

	printf("  %-8s %s", works(report, ability) ? "yes" : "no", ability->name);
	while ((need = next_missing(report, ability, &at))) {
		printf("%s%s", before, need);
		before = ", ";
	}
	printf("\n");
}

static void print_report(const struct report *report)
{
	const char *group = "";

	for (size_t i = 0; i < report->count; i++) {
		if (strcmp(report->checks[i].group, group))
			printf("%s%s\n", *group ? "\n" : "", report->checks[i].group);
		group = report->checks[i].group;
		print_check(&report->checks[i]);
	}
	printf("\nwhat works\n");
	for (size_t i = 0; i < ABILITIES; i++)
		print_ability(report, &abilities[i]);
}

static json_t *text_or_null(const char *text)
{
	return text ? json_text(text) : json_null();
}

static json_t *json_checks(const struct report *report)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->count; i++) {
		const struct check *check = &report->checks[i];
		json_t *object = json_object();

		json_object_set_new(object, "id", json_text(check->id));
		json_object_set_new(object, "group", json_text(check->group));
		json_object_set_new(object, "state", json_text(state_names[check->state]));
		json_object_set_new(object, "detail", text_or_null(check->detail));
		json_object_set_new(object, "needed_for", json_text(check->needed_for));
		json_object_set_new(object, "remedy", text_or_null(check->remedy));
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *json_abilities(const struct report *report)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ABILITIES; i++) {
		json_t *object = json_object(), *missing = json_array();
		const char *need;
		size_t at = 0;

		while ((need = next_missing(report, &abilities[i], &at)))
			json_array_append_new(missing, json_text(need));
		json_object_set_new(object, "name", json_text(abilities[i].name));
		json_object_set_new(object, "main", json_boolean(abilities[i].is_main));
		json_object_set_new(object, "works", json_boolean(!json_array_size(missing)));
		json_object_set_new(object, "missing", missing);
		json_array_append_new(array, object);
	}
	return array;
}

static bool main_ones_work(const struct report *report)
{
	for (size_t i = 0; i < ABILITIES; i++)
		if (abilities[i].is_main && !works(report, &abilities[i]))
			return false;
	return true;
}

static int doctor(struct cli *cli)
{
	struct report report = { .cli = cli };
	json_t *object = NULL;
	int status;

	check_capabilities(&report);
	status = check_kernel(&report);
	output_diagnostics(cli);
	check_bpffs(&report);
	check_cgroup(&report);
	check_settings(&report);
	check_memory(&report);
	check_security(&report);
	if (cli->set.json) {
		object = json_object();
		json_object_set_new(object, "checks", json_checks(&report));
		json_object_set_new(object, "features", json_abilities(&report));
	} else {
		print_report(&report);
	}
	if (!status && !main_ones_work(&report))
		status = WEIR_INPUT;
	for (size_t i = 0; i < report.count; i++)
		free(report.checks[i].detail);
	return output_finish(cli, status, object);
}

const struct command command_doctor = {
	.name = "doctor",
	.synopsis = "",
	.summary = "Tell what weir needs of this machine, what is missing, and what works",
	.help = "Capabilities of the caller, features of the kernel, mounts and settings: each with what it is for, and what to\n"
		"do where it is missing. Exit status 1 if something that weir is for does not work.",
	.run = doctor,
};
