/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Applications behind filters: listening sockets with a filter on them before the first packet, socket activation,
 * privileges, cgroups of one command. In: addresses, filters as programs; out: descriptors and a process.
 *
 * Functions return 0 or -errno; the one that knows what to do about a failure says so with app_fail(). Nothing here
 * uses an arena: the caller queues the sentences with app_report() once no descriptor depends on it.
 */
#ifndef WEIR_APP_APP_H
#define WEIR_APP_APP_H

#include <linux/filter.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/diag.h"

/* --- words: words.c ---------------------------------------------------------------------------------------------- */

enum { APP_NOTES_MAX = 8 };

struct app {
	char problem[1024];
	char hint[512];
	char notes[APP_NOTES_MAX][384]; /* warnings */
	unsigned note_count;
};

/* Keeps the first sentence and returns `error`. */
int app_fail(struct app *app, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void app_hint(struct app *app, const char *format, ...) __attribute__((format(printf, 2, 3)));
void app_warn(struct app *app, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Queues what was kept, forgets it, and returns `result`. May unwind. */
int app_report(struct app *app, struct diags *diags, int result);

/* --- filters ----------------------------------------------------------------------------------------------------- */

/* The rungs of the ladder, the strongest first. */
enum app_backend {
	APP_AUTO,
	APP_EBPF,      /* a program of our own */
	APP_PINNED,    /* one that somebody with privileges pinned */
	APP_CBPF,      /* classic BPF by SO_ATTACH_FILTER */
	APP_REUSEPORT, /* TCP: refused connections are steered to a decoy that never answers */
	APP_BACKEND_COUNT,
};

extern const char *const app_backend_names[APP_BACKEND_COUNT];

/* A packet as the filter would have met it, made up from what the socket knows of it. */
struct app_packet {
	unsigned char data[128]; /* from the IP header on; the payload is only counted */
	size_t length;
	uint16_t ethertype;
	unsigned interface; /* 0: unknown */
};

struct app_filter {
	void *context;
	/* Loads the program; the descriptor stays the filter's. */
	int (*program)(void *context, struct app *app, int *ret_prog);
	/* The classic program, for the socket or for steering (1 real, 0 decoy). Lives with the filter. */
	int (*classic)(void *context, struct app *app, bool steering, struct sock_fprog *ret_program);
	/* Would the rules accept it? NULL: nobody knows. */
	bool (*judge)(void *context, const struct app_packet *packet);
	const char *pinned; /* path of a pinned program, or NULL */
	int (*open_pinned)(void *context, struct app *app, const char *path, int *ret_prog);
};

/* Why each rung could not be taken; empty: not tried. */
struct app_reasons {
	char text[APP_BACKEND_COUNT][256];
};

/*
 * Puts the filter on a socket by the strongest rung that `wanted` allows and that needs nothing but the descriptor
 * (not APP_REUSEPORT). -EPERM with reasons if none works.
 */
int ladder_attach(const struct app_filter *filter, int fd, enum app_backend wanted, struct app_reasons *reasons,
		  enum app_backend *ret_backend);
/* The sentence for a ladder without a rung. Returns -EPERM. */
int ladder_fail(struct app *app, const char *what, enum app_backend wanted, const struct app_reasons *reasons);
/* From now on nobody can take the filter off or change it. */
int ladder_lock(struct app *app, int fd);
int ladder_detach(struct app *app, int fd);

/* --- sockets ----------------------------------------------------------------------------------------------------- */

enum app_kind { APP_TCP, APP_UDP, APP_UNIX, APP_SCTP };
enum { APP_NAME_SIZE = 256, APP_TEXT_SIZE = 160, APP_PASSED_FIRST = 3, APP_SOCKETS_MAX = 512 };

struct app_address {
	enum app_kind kind;
	char name[APP_NAME_SIZE]; /* "": none given */
	char text[APP_TEXT_SIZE]; /* without the name */
	struct sockaddr_storage address;
	socklen_t length;
	bool any; /* no address was given: IPv6 and IPv4, or IPv4 where there is no IPv6 */
};

/* "[NAME=]tcp:ADDR:PORT", and so on. -EINVAL. */
int address_parse(struct app *app, const char *text, struct app_address *ret_address);

/* Is it the beginning of NAME=...? The name's length, else 0. */
size_t address_name(const char *text);

struct app_listen {
	bool reuse_port, freebind, no_lock;
	int backlog;
	enum app_backend wanted;
};

/* A socket to pass on. */
struct app_socket {
	char name[APP_NAME_SIZE];
	char text[APP_TEXT_SIZE];
	int fd;
	int domain, type, protocol;
	bool listening;
	enum app_backend backend; /* APP_AUTO: no filter on it */
};

/* Makes the socket: filter first, then lock, bind, listen. `filter` NULL: none. */
int app_listen(struct app *app, const struct app_address *address, const struct app_filter *filter,
	       const struct app_listen *options, struct app_socket *ret_socket);

/* Finds out what a descriptor is; -ENOTSOCK, -EISCONN for a connected one. */
int socket_describe(struct app *app, int fd, struct app_socket *socket);
bool socket_is_network(const struct app_socket *socket);

/* Puts a filter on a socket that exists already. What waits in it is judged too if `drain`. */
int socket_protect(struct app *app, struct app_socket *socket, const struct app_filter *filter,
		   const struct app_listen *options, bool drain);

/* steer.c: a real listener in socket->fd (already made, not bound) and its decoy, held by a process of its own. */
int steer_listen(struct app *app, const struct app_address *address, const struct app_filter *filter,
		 const struct app_listen *options, struct app_socket *socket, struct app_reasons *reasons);
/* listen.c, for steer.c: a socket with the options that the address asks for. */
int listen_socket(struct app *app, const struct app_address *address, const struct app_listen *options, int *ret_fd);
int listen_bind(struct app *app, int fd, const struct app_address *address);

/* --- socket activation: activation.c ----------------------------------------------------------------------------- */

/* The number of sockets that were passed to this process from descriptor 3 on; -EINVAL if the environment is wrong. */
int activation_count(struct app *app, size_t *ret_count);
/* Describes them, with their names. */
int activation_sockets(struct app *app, struct app_socket *sockets, size_t count);
/* Moves the sockets to 3, 4, ... and says so in the environment; other descriptors stay. */
int activation_pass(struct app *app, struct app_socket *sockets, size_t count);

/* drain.c: what came before the filter is judged too; refused packets are discarded. */
int drain_socket(struct app *app, const struct app_socket *socket, const struct app_filter *filter);

/* --- socket diagnostics: sockdiag.c ------------------------------------------------------------------------------ */

/* Does a listener with that cookie exist? 1, 0 or -errno. */
int sockdiag_listens(int family, uint16_t port, uint64_t cookie);
/* Calls found() for both ends of each connection to that local port that nobody has accepted yet. 0 or -errno. */
struct sockdiag_peer {
	int family;
	unsigned char local[16], remote[16];
	uint16_t local_port, remote_port;
	unsigned interface;
};
int sockdiag_waiting(int family, uint16_t port, void (*found)(void *context, const struct sockdiag_peer *peer),
		     void *context);

/* --- the process ------------------------------------------------------------------------------------------------- */

struct app_identity {
	bool change_user, change_group, drop_caps;
	uid_t uid;
	gid_t gid;
	char user[APP_NAME_SIZE]; /* for supplementary groups and the environment; "": a number without a name */
	char home[APP_NAME_SIZE];
};

/* Looks names up; either may be NULL. -ENOENT. */
int identity_find(struct app *app, const char *user, const char *group, struct app_identity *ret_identity);
/* Becomes it, for good. */
int identity_become(struct app *app, const struct app_identity *identity);

/* A cgroup of one command, below the caller's own. */
struct app_cgroup {
	bool made, entered;
	int fd;
	int parent; /* the cgroup that it is in */
	int pipe;   /* to the process that removes it */
};
int cgroup_make(struct app *app, struct app_cgroup *ret_cgroup);
/* Moves this process into it. Sockets belong to the cgroup that they were made in. */
int cgroup_enter(struct app *app, struct app_cgroup *cgroup);
/* Leaves it, if that is allowed still; the cgroup is removed when its last process is gone. */
void cgroup_close(struct app_cgroup *cgroup);

/* A process that holds descriptors while something else lives. */
struct app_hold {
	const char *name;
	uint32_t capabilities; /* to keep of those it has; bits */
	void (*hold)(const int *kept, const void *context);
	const void *context;
};
enum { APP_KEEP_MAX = 64 };

/* Forks it: nobody's child, without a terminal, with only the descriptors of `keep`. */
int hold_start(struct app *app, const struct app_hold *how, const int *keep, size_t keep_count);

struct app_serve {
	struct app_socket *sockets;
	size_t count;
	unsigned limit;
	char *const *argv;
};
/* One process a connection until told to end; the exit status. */
int app_serve(struct app *app, const struct app_serve *serve, int *ret_status);

/* Executes; returns only on failure: -ENOENT if there is no such command. */
int app_exec(struct app *app, char *const *argv);

#endif
