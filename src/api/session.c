/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Would a policy cut the branch that its user sits on? The caller's remote session is found through the sockets of
 * its ancestors (so also under sudo), and two packets of it, one each way, are judged by the model.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "ir/model.h"

enum { ANCESTORS_MAX = 64, TCP_ESTABLISHED_STATE = 1 };

struct session {
	int family;
	unsigned char local[16], remote[16];
	uint16_t local_port, remote_port;
	uint32_t user;
	unsigned long inode;
	pid_t pid; /* the ancestor that holds it */
};

struct owned_socket {
	unsigned long inode;
	pid_t pid;
};

typedef VEC(struct owned_socket) sockets;
struct sessions {
	VEC(struct session) list;
};

static pid_t parent_of(pid_t pid)
{
	char path[64], line[512];
	FILE *file;
	const char *rest;
	int parent = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	/* The command's name in brackets may hold anything, so look behind the last one. */
	if (fgets(line, sizeof line, file) && (rest = strrchr(line, ')')))
		sscanf(rest + 1, " %*c %d", &parent);
	fclose(file);
	return parent;
}

static void collect_sockets(struct arena *arena, pid_t pid, sockets *found)
{
	char path[320], target[64];
	DIR *folder;
	struct dirent *entry;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	folder = opendir(path);
	if (!folder)
		return;
	while ((entry = readdir(folder))) {
		unsigned long inode;
		ssize_t length;

		snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
		length = readlink(path, target, sizeof target - 1);
		if (length < 0 && errno == EACCES)
			break; /* and so would be all others of this process */
		if (length < 0)
			continue;
		target[length] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) == 1)
			VEC_PUSH(arena, found) = (struct owned_socket){ inode, pid };
	}
	closedir(folder);
}

/* The process that holds the socket, or 0. */
static pid_t holder(const sockets *found, unsigned long inode)
{
	for (size_t i = 0; i < found->count; i++)
		if (found->items[i].inode == inode)
			return found->items[i].pid;
	return 0;
}

/* /proc prints addresses as 32-bit words in host order, each in network order in memory. */
static bool parse_address(const char *text, unsigned char address[16])
{
	size_t words = strlen(text) / 8;

	for (size_t i = 0; i < words && i < 4; i++) {
		uint32_t word;

		if (sscanf(text + 8 * i, "%8x", &word) != 1)
			return false;
		memcpy(address + 4 * i, &word, 4);
	}
	return words == 1 || words == 4;
}

/* An IPv4 connection on an IPv6 socket is IPv4 on the wire. */
static void unmap(struct session *session)
{
	static const unsigned char prefix[12] = { [10] = 0xff, [11] = 0xff };

	if (session->family != AF_INET6 || memcmp(session->local, prefix, sizeof prefix))
		return;
	session->family = AF_INET;
	memmove(session->local, session->local + 12, 4);
	memmove(session->remote, session->remote + 12, 4);
}

static bool parse_session(const char *line, int family, struct session *session)
{
	char local[33], remote[33];
	unsigned local_port, remote_port, state, user;

	if (sscanf(line, " %*d: %32[0-9A-F]:%x %32[0-9A-F]:%x %x %*x:%*x %*x:%*x %*x %u %*d %lu", local, &local_port,
		   remote, &remote_port, &state, &user, &session->inode) != 7)
		return false;
	session->family = family;
	session->local_port = (uint16_t)local_port;
	session->remote_port = (uint16_t)remote_port;
	session->user = user;
	if (state != TCP_ESTABLISHED_STATE || !parse_address(local, session->local) ||
	    !parse_address(remote, session->remote))
		return false;
	unmap(session);
	return true;
}

static bool is_remote(const struct session *session)
{
	static const unsigned char loopback6[16] = { [15] = 1 };

	if (session->family == AF_INET)
		return session->remote[0] != 127;
	return memcmp(session->remote, loopback6, 16) != 0;
}

static void collect_sessions(struct arena *arena, const char *path, int family, struct sessions *found)
{
	char line[512];
	FILE *file = fopen(path, "re");

	if (!file)
		return;
	while (fgets(line, sizeof line, file)) {
		struct session session = { 0 };

		if (parse_session(line, family, &session) && is_remote(&session))
			VEC_PUSH(arena, &found->list) = session;
	}
	fclose(file);
}

static void find_sessions(struct arena *arena, struct sessions *found)
{
	sockets owned = { 0 };
	struct sessions all = { 0 };
	pid_t pid = getpid();

	for (int i = 0; i < ANCESTORS_MAX && pid > 0; i++, pid = parent_of(pid))
		collect_sockets(arena, pid, &owned);
	if (!owned.count)
		return; /* the kernel takes a millisecond to list connections */
	collect_sessions(arena, "/proc/self/net/tcp", AF_INET, &all);
	collect_sessions(arena, "/proc/self/net/tcp6", AF_INET6, &all);
	for (size_t i = 0; i < all.list.count; i++) {
		all.list.items[i].pid = holder(&owned, all.list.items[i].inode);
		if (all.list.items[i].pid)
			VEC_PUSH(arena, &found->list) = all.list.items[i];
	}
}

/* They are looked for once a call, though it may check twice: what it finds does not become other in between. */
static const struct sessions *sessions_of(struct call *call)
{
	struct sessions *found;

	if (!call->sessions) {
		found = ARENA_NEW(call->arena, struct sessions);
		find_sessions(call->arena, found);
		call->sessions = found;
	}
	return call->sessions;
}

/* --- judging ----------------------------------------------------------------------------------------------------- */

enum { FRAME_MAX = 14 + 40 + 20 };

static size_t put_ip(unsigned char *to, int family, const unsigned char *src, const unsigned char *dst)
{
	if (family == AF_INET) {
		to[0] = 0x45;
		to[3] = 40;
		to[8] = 64;
		to[9] = IPPROTO_TCP;
		memcpy(to + 12, src, 4);
		memcpy(to + 16, dst, 4);
		return 20;
	}
	to[0] = 0x60;
	to[5] = 20;
	to[6] = IPPROTO_TCP;
	to[7] = 64;
	memcpy(to + 8, src, 16);
	memcpy(to + 24, dst, 16);
	return 40;
}

/* An Ethernet frame with a bare acknowledgement of the session. */
static size_t session_frame(const struct session *session, bool incoming, unsigned char frame[FRAME_MAX])
{
	const unsigned char *src = incoming ? session->remote : session->local;
	const unsigned char *dst = incoming ? session->local : session->remote;
	uint16_t sport = incoming ? session->remote_port : session->local_port;
	uint16_t dport = incoming ? session->local_port : session->remote_port;
	unsigned char *tcp;

	memset(frame, 0, FRAME_MAX);
	frame[0] = frame[6] = 2; /* locally administered, not a group */
	frame[12] = session->family == AF_INET ? 0x08 : 0x86;
	frame[13] = session->family == AF_INET ? 0x00 : 0xdd;
	tcp = frame + 14 + put_ip(frame + 14, session->family, src, dst);
	tcp[0] = (unsigned char)(sport >> 8);
	tcp[1] = (unsigned char)sport;
	tcp[2] = (unsigned char)(dport >> 8);
	tcp[3] = (unsigned char)dport;
	tcp[12] = 0x50;
	tcp[13] = 0x10;
	return (size_t)(tcp + 20 - frame);
}

/* Index of the interface that has the session's local address; 0 if unknown. */
static unsigned session_interface(const struct session *session)
{
	struct ifaddrs *all, *at;
	unsigned index = 0;

	if (getifaddrs(&all))
		return 0;
	for (at = all; at && !index; at = at->ifa_next) {
		const void *address;

		if (!at->ifa_addr || at->ifa_addr->sa_family != session->family)
			continue;
		address = session->family == AF_INET
			? (const void *)&((struct sockaddr_in *)at->ifa_addr)->sin_addr
			: (const void *)&((struct sockaddr_in6 *)at->ifa_addr)->sin6_addr;
		if (!memcmp(address, session->local, session->family == AF_INET ? 4 : 16))
			index = if_nametoindex(at->ifa_name);
	}
	freeifaddrs(all);
	return index;
}

/* Is the process in this cgroup of the unified hierarchy, or in one below it? */
static bool in_cgroup(pid_t pid, const char *cgroup)
{
	char path[64], line[4200];
	size_t length = strlen(cgroup);
	bool inside = false;
	FILE *file;

	while (length && cgroup[length - 1] == '/')
		length--;
	snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return true;
	while (fgets(line, sizeof line, file))
		if (!strncmp(line, "0::", 3))
			inside = !strncmp(line + 3, cgroup, length) && strchr("/\n", line[3 + length]);
	fclose(file);
	return inside;
}

static bool meets(const struct attach *attach, const struct session *session, unsigned interface)
{
	char name[IF_NAMESIZE];

	if (hook_table[attach->hook].call) /* sessions that stand make none any more */
		return false;
	switch (hook_table[attach->hook].target) {
	case TARGET_IFACE:
		return interface && if_indextoname(interface, name) && !fnmatch(attach->target, name, 0);
	case TARGET_CGROUP:
		return in_cgroup(session->pid, attach->target);
	case TARGET_NONE:
		return attach->hook != HOOK_NF_FORWARD;
	case TARGET_SOCKET:
		return false;
	}
	return false;
}

static const struct model_result *judge(struct arena *arena, const struct ruleset *ruleset,
					const struct attach *attach, const struct session *session,
					unsigned interface)
{
	struct model_result *result = ARENA_NEW(arena, struct model_result);
	bool incoming = hook_table[attach->hook].direction == DIRECTION_INGRESS;
	unsigned char *frame = arena_alloc(arena, FRAME_MAX);
	struct model_packet packet;

	frame_for_hook(attach->hook, frame, session_frame(session, incoming, frame), &packet);
	packet.in_iface = incoming ? interface : 0;
	packet.out_iface = incoming ? 0 : interface;
	packet.user = session->user;
	packet.flow = FLOW_ESTABLISHED; /* flows are seeded from open sockets */
	model_judge(arena, ruleset, attach->hook, &packet, result);
	return result;
}

static void report(struct call *call, const struct ruleset *ruleset, const struct attach *attach,
		   const struct session *session, bool force)
{
	char address[INET6_ADDRSTRLEN];
	struct diag *diag;

	inet_ntop(session->family, session->remote, address, sizeof address);
	diag = (force ? diag_warning : diag_error)(call->diags, attach->span,
						   "policy `%s` would cut your own session from %s, port %u",
						   ruleset->name, address, session->remote_port);
	diag_hint(call->diags, diag, "let it in, or use --confirm SECONDS, or --force");
}

static bool cuts(struct call *call, const struct ruleset *ruleset, const struct session *session, bool force)
{
	unsigned interface = session_interface(session);

	if (ruleset->observe)
		return false;
	for (size_t i = 0; i < ruleset->attach_count; i++) {
		const struct attach *attach = &ruleset->attaches[i];

		if (!meets(attach, session, interface) ||
		    judge(call->arena, ruleset, attach, session, interface)->verdict == VERDICT_ACCEPT)
			continue;
		report(call, ruleset, attach, session, force);
		return true;
	}
	return false;
}

bool session_check(struct call *call, const struct rulesets *rulesets, bool force)
{
	const struct sessions *found = sessions_of(call);
	bool cut = false;

	for (size_t i = 0; i < found->list.count; i++)
		for (size_t j = 0; j < rulesets->count; j++)
			cut |= cuts(call, &rulesets->items[j], &found->list.items[i], force);
	return cut && !force;
}

bool session_there(struct call *call)
{
	return sessions_of(call)->list.count > 0;
}
