/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The configuration of the metadata service study: which users may reach which addresses by which interfaces. Input: its
 * YAML; output: lists, with nothing in them that could not stand in a policy. Whatever it does not know is an error.
 *
 *     endpoints:
 *       - imdsv2:
 *           iface: [eth0]
 *           range: [169.254.169.254/32]
 *           allow: [cloud-agent]
 */
#ifndef WEIR_IMPORT_ENDPOINTS_H
#define WEIR_IMPORT_ENDPOINTS_H

#include "import/document.h"

struct endpoint_list {
	const char **items;
	size_t count;
	size_t capacity;
};

struct endpoint {
	const char *name;
	struct endpoint_list interfaces;
	struct endpoint_list ranges; /* addresses and prefixes as the policy language writes them */
	struct endpoint_list users;  /* may be empty */
};

struct endpoints {
	struct endpoint *items;
	size_t count;
	size_t capacity;
};

/* Reads a document. -EINVAL if errors were queued. Only inside arena_run(). */
int endpoints_read(struct arena *arena, const struct source *source, const struct document *document,
		   struct diags *diags, struct endpoints *ret_endpoints);

#endif
