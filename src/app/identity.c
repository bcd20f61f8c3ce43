/* SPDX-License-Identifier: GPL-2.0-only */
/* In: names of a user and a group. Out: a process that is them and cannot go back. Fails if anything of it does. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/app.h"

static bool number(const char *text, uint32_t *ret_number)
{
	unsigned long value;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (*end || errno || value >= UINT32_MAX)
		return false;
	*ret_number = (uint32_t)value;
	return true;
}

static int find_user(struct app *app, const char *user, struct app_identity *identity)
{
	const struct passwd *entry = getpwnam(user);

	identity->change_user = true;
	if (!entry && number(user, &identity->uid))
		entry = getpwuid(identity->uid);
	else if (!entry)
		return app_fail(app, -ENOENT, "there is no user `%s`", user);
	if (!entry) {
		identity->gid = identity->uid;
		return 0;
	}
	identity->uid = entry->pw_uid;
	identity->gid = entry->pw_gid;
	snprintf(identity->user, sizeof identity->user, "%s", entry->pw_name);
	snprintf(identity->home, sizeof identity->home, "%s", entry->pw_dir);
	return 0;
}

static int find_group(struct app *app, const char *group, struct app_identity *identity)
{
	const struct group *entry = getgrnam(group);

	if (entry)
		identity->gid = entry->gr_gid;
	else if (!number(group, &identity->gid))
		return app_fail(app, -ENOENT, "there is no group `%s`", group);
	return 0;
}

int identity_find(struct app *app, const char *user, const char *group, struct app_identity *identity)
{
	struct app_identity found = { .drop_caps = identity->drop_caps, .change_group = user || group };
	int error = user ? find_user(app, user, &found) : 0;

	if (!error && group)
		error = find_group(app, group, &found);
	if (!error)
		*identity = found;
	return error;
}

/* Who is that group already, and has no right to change groups, keeps those it has. */
static int become_group(struct app *app, const struct app_identity *identity)
{
	int error = 0;

	if (getegid() == identity->gid && getgid() == identity->gid && geteuid() != 0)
		return 0;
	if (identity->user[0])
		error = initgroups(identity->user, identity->gid);
	else
		error = setgroups(0, NULL);
	if (error || setresgid(identity->gid, identity->gid, identity->gid))
		return app_fail(app, -errno, "becoming group %u: %s (CAP_SETGID is needed)", identity->gid,
				strerror(errno));
	return 0;
}

static int become_user(struct app *app, const struct app_identity *identity)
{
	if (setresuid(identity->uid, identity->uid, identity->uid))
		return app_fail(app, -errno, "becoming user %s: %s (CAP_SETUID is needed)",
				identity->user[0] ? identity->user : "by number", strerror(errno));
	if (!identity->user[0])
		return 0;
	setenv("USER", identity->user, 1);
	setenv("LOGNAME", identity->user, 1);
	setenv("HOME", identity->home, 1);
	return 0;
}

/* While there is a right to; without it no_new_privs must do. */
static void shrink_bounds(void)
{
	for (unsigned long capability = 0; capability < 64; capability++)
		prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
}

/* No capability now, and none by executing anything later. */
static int drop_capabilities(struct app *app)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_capset, &header, none))
		return app_fail(app, -errno, "giving up capabilities: %s", strerror(errno));
	return 0;
}

int identity_become(struct app *app, const struct app_identity *identity)
{
	int error;

	if (identity->drop_caps)
		shrink_bounds();
	error = identity->change_group ? become_group(app, identity) : 0;
	if (!error && identity->change_user)
		error = become_user(app, identity);
	if (!error && identity->drop_caps)
		error = drop_capabilities(app);
	return error;
}
