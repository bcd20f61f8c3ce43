/* SPDX-License-Identifier: GPL-2.0-only */
/* Objects: a data plane and a classifier, linked, configured and loaded. */
#ifndef WEIR_KERNEL_OBJECT_H
#define WEIR_KERNEL_OBJECT_H

#include <bpf/libbpf.h>

#include "bpf/objects.h"
#include "kernel/internal.h"

/* Until Debian's headers know them. */
#define WEIR_PROG_TYPE_NETFILTER 32
#define WEIR_ATTACH_NETFILTER 45

/* A linked ELF object, malloc()ed. */
struct elf {
	void *data;
	size_t size;
};

/* Maps that a program takes over instead of making its own. Descriptors are owned. */
struct share {
	char name[32];
	int fd;
};

struct shares {
	struct share *items;
	size_t count;
};

int shares_add(struct shares *shares, const char *name, int fd); /* takes a duplicate */
int shares_find(const struct shares *shares, const char *name);  /* descriptor or -1 */
void shares_free(struct shares *shares);

/* How to load. */
struct load {
	const struct install *install;
	const struct install_hook *hook;
	enum hook plane;   /* whose plane the object was linked from; differs from hook->hook in stand-ins */
	uint64_t since;
	bool trace;
	bool bare;         /* plane_config.bare */
	bool paces;        /* plane_config.paces */
	uint32_t call;     /* plane_config.call; 0: the plane's own */
	const struct shares *shares;
	bool again;        /* to be compared with one that is loaded already: on its maps (named as the kernel does), which stay as they are */
	uint32_t frames;   /* bench objects: elements of map `frames` */
};

/* libbpf's messages go to a buffer of this thread from now on, not to stderr. */
void object_capture_messages(void);
void object_free_log(struct kernel *kernel);

int object_link(struct kernel *kernel, const struct plane_object *plane, const struct install_hook *hook,
		struct elf *ret_elf);

/* Opens, configures, loads, and fills the maps that are not shared. The caller closes the object. */
int object_load(struct kernel *kernel, const struct elf *elf, const struct load *load,
		struct bpf_object **ret_object, int *ret_prog);

/* A map of the object by its name in plane_abi.h ("epoch" may be a data section); -1: it has none. */
int object_map(const struct bpf_object *object, const char *name);

/* Whether loops may end by may_goto: then the kernel need not follow all of their turns. */
bool kernel_has_may_goto(void);

/* Version of the running kernel, as KERNEL_VERSION(). */
uint32_t kernel_version(void);

/* Whether its structures can be looked into. */
bool kernel_has_types(void);

/* The plane that a hook's rules want. */
const struct plane_object *object_plane(const struct install_hook *hook);

/* Whether what a hook needs from the kernel can be there at all; a sentence if not. */
int object_check_hook(struct kernel *kernel, const struct install_hook *hook);

static inline bool hook_is_netfilter(uint32_t hook)
{
	return hook >= HOOK_NF_PREROUTING && hook <= HOOK_NF_POSTROUTING;
}

static inline bool hook_is_tc(uint32_t hook)
{
	return hook == HOOK_TC_INGRESS || hook == HOOK_TC_EGRESS;
}

#endif
